//! Compares the compiled filter with the definition, and measures its cost.

use crate::{
    AttrValue, Attributes, CancelFlag, Comparison, DocumentView, Field, Filter, Instant, Interrupt, Interrupted,
    ManualClock, MatchWords, Number, Scalar, Status, Timestamp,
};
use proptest::{collection::vec, prelude::*, sample::select};
use std::{sync::Arc, time::Duration};

const TEXTS: [&str; 16] = [
    "",
    "a",
    "ab",
    "abab",
    "b",
    "A b",
    "Hand of the book",
    "book HAND",
    "hand",
    "ΟΔΟΣ ὈΔΟΣ",
    "straße",
    "9999-12-31T23:59:59Z",
    "2024-06-01t00:00:00z",
    "2024-06-01T02:00:00+02:00",
    "1990-12-31T23:59:60Z",
    "indexed",
];

fn number() -> impl Strategy<Value = Number> {
    prop_oneof![
        select(vec![9_007_199_254_740_992_u64, 9_007_199_254_740_993, u64::MAX, 0, 1]).prop_map(Number::from),
        select(vec![i64::MIN, -1, 2]).prop_map(Number::from),
        select(vec![9_007_199_254_740_992.0, -0.0, 0.5, 1.0, 1e300, -1e300, f64::NAN, f64::INFINITY])
            .prop_map(Number::from),
    ]
}

fn scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        3 => select(TEXTS.to_vec()).prop_map(|s| Scalar::Str(s.to_owned())),
        2 => number().prop_map(Scalar::Num),
        1 => any::<bool>().prop_map(Scalar::Bool),
    ]
}

fn field() -> impl Strategy<Value = Field> {
    prop_oneof![
        4 => select(vec!["k", "l"]).prop_map(|k| Field::Attribute(k.to_owned())),
        2 => select(vec![Field::Id, Field::Uri, Field::Status, Field::CreatedAt, Field::ExpiresAt]),
    ]
}

fn leaf() -> impl Strategy<Value = Filter> {
    let op = || select(vec![Comparison::Gt, Comparison::Gte, Comparison::Lt, Comparison::Lte]);
    let instant = select(TEXTS.to_vec()).prop_filter_map("a time", Instant::parse);
    let word = select(vec!["hand", "book", "a", "b", "οδος", "straße", "the", "nothing"]);
    prop_oneof![
        (field(), vec(scalar(), 1..4)).prop_map(|(f, v)| Filter::In(f, v)),
        (field(), op(), number()).prop_map(|(f, op, x)| Filter::Number(f, op, x)),
        (field(), op(), instant).prop_map(|(f, op, t)| Filter::Instant(f, op, t)),
        (field(), scalar()).prop_map(|(f, v)| Filter::Contains(f, v)),
        (field(), "[ab]{0,3}").prop_map(|(f, v)| Filter::Contains(f, Scalar::Str(v))),
        (field(), select(TEXTS.to_vec())).prop_map(|(f, p)| Filter::Prefix(f, p.to_owned())),
        (field(), "[ab]{0,2}").prop_map(|(f, p)| Filter::Prefix(f, p)),
        (field(), vec(word, 1..4)).prop_map(|(f, w)| Filter::Match(f, MatchWords::of(&w.join(" ")))),
        field().prop_map(Filter::Exists),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    let many = vec(leaf(), 1..24).prop_map(Filter::Or);
    prop_oneof![leaf(), many].prop_recursive(3, 48, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 1..6).prop_map(Filter::And),
            vec(inner.clone(), 1..6).prop_map(Filter::Or),
            inner.prop_map(|f| Filter::Not(Box::new(f))),
        ]
    })
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let value = prop_oneof![
        scalar().prop_map(AttrValue::One),
        "[ab]{0,6}".prop_map(|s| AttrValue::One(Scalar::Str(s))),
        vec(scalar(), 0..4).prop_map(AttrValue::Many),
    ];
    proptest::collection::btree_map(select(vec!["k", "l"]).prop_map(str::to_owned), value, 0..3)
}

fn view(attributes: &Attributes) -> DocumentView<'_> {
    DocumentView {
        id: "abab",
        uri: "",
        status: Status::Indexed,
        created_at: Timestamp::from_millis(1_717_200_000_000),
        updated_at: Timestamp::from_millis(0),
        expires_at: Some(Timestamp::from_millis(253_402_300_799_000)),
        attributes,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn a_compiled_filter_accepts_what_its_definition_accepts(filter in filter(), documents in vec(attributes(), 1..4)) {
        let compiled = filter.compile();
        let mut matcher = compiled.matcher();
        for attributes in &documents {
            let view = view(attributes);
            prop_assert_eq!(matcher.matches(&view), Ok(filter.matches(&view)), "{:?} {:?}", filter, attributes);
        }
    }

    /// Patterns of two letters overlap in every possible way.
    #[test]
    fn every_pattern_in_a_text_is_found(patterns in vec("[ab]{0,5}", 5..12), text in "[abc]{0,16}") {
        let key = || Field::Attribute("k".to_owned());
        let attributes = [("k".to_owned(), AttrValue::One(Scalar::Str(text.clone())))].into();
        for pattern in &patterns {
            let others = patterns.iter().map(|p| Filter::Contains(key(), Scalar::Str(p.clone())));
            // The pattern under test comes last; the others are in the automaton but cannot change the result.
            let nothing = Filter::And(others.chain([Filter::In(key(), vec![Scalar::Bool(true)])]).collect());
            let one = Filter::Contains(key(), Scalar::Str(pattern.clone()));
            let compiled = Filter::Or(vec![nothing, one]).compile();
            prop_assert_eq!(compiled.matcher().matches(&view(&attributes)), Ok(text.contains(pattern.as_str())));
        }
    }
}

/// Cost of evaluating a filter on a document, in checks of the interrupt.
fn checks(filter: &Filter, attributes: &Attributes) -> u64 {
    struct CountingClock(std::sync::atomic::AtomicU64);
    impl crate::Clock for CountingClock {
        fn now(&self) -> Timestamp {
            Timestamp::default()
        }
        fn monotonic(&self) -> Duration {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Duration::ZERO
        }
    }
    let clock = Arc::new(CountingClock(0.into()));
    let interrupt = Interrupt::new(CancelFlag::default(), clock.clone(), Duration::from_secs(1));
    let compiled = filter.compile();
    interrupt.scope(|| compiled.matcher().matches(&view(attributes))).expect("not interrupted");
    clock.0.load(std::sync::atomic::Ordering::Relaxed)
}

/// 256 strings of 4 KB, whose words are all different.
fn large() -> Attributes {
    let value = |n: usize| {
        let words: Vec<String> = (0..4_096 / 8).map(|w| format!("w{:06x}", n * 512 + w)).collect();
        Scalar::Str(words.join(" "))
    };
    [("k".to_owned(), AttrValue::Many((0..256).map(value).collect()))].into()
}

/// Makes the nth leaf.
type MakeLeaf<'a> = Box<dyn Fn(usize) -> Filter + 'a>;

/// The words of a filter times the words of a value once froze a server. The cost is counted, not timed.
#[test]
fn a_thousand_leaves_cost_about_as_much_as_one() {
    let (attributes, key) = (large(), || Field::Attribute("k".to_owned()));
    let words = |n: usize| (0..1_365).map(|w| format!("w{:06x}", 1_000_000 + n + w)).collect::<Vec<_>>();
    let kinds: [(&str, MakeLeaf<'_>); 4] = [
        ("match", Box::new(|n| Filter::Match(key(), MatchWords::of(&words(n).join(" "))))),
        ("contains", Box::new(|n| Filter::Contains(key(), Scalar::Str(format!("zz{n}"))))),
        ("prefix", Box::new(|n| Filter::Prefix(key(), format!("zz{n}")))),
        ("in", Box::new(|n| Filter::In(key(), (0..64).map(|v| Scalar::Str(format!("zz{n} {v}"))).collect()))),
    ];
    for (kind, leaf) in kinds {
        let one = checks(&leaf(0), &attributes);
        let many = checks(&Filter::Or((0..1_000).map(&leaf).collect()), &attributes);
        assert!(many <= 4 * one + 4, "{kind}: {one} checks for one leaf, {many} for a thousand");
    }
}

#[test]
fn evaluation_ends_when_the_caller_disconnects() {
    let (attributes, cancel) = (large(), CancelFlag::default());
    drop(cancel.drop_guard());
    let clock = Arc::new(ManualClock::new(Timestamp::default()));
    let interrupt = Interrupt::new(cancel, clock, Duration::from_secs(1));
    let compiled = Filter::Match(Field::Attribute("k".to_owned()), MatchWords::of("nothing")).compile();
    let end = interrupt.scope(|| compiled.matcher().matches(&view(&attributes)));
    assert_eq!(end, Err(Interrupted::Disconnected));
}
