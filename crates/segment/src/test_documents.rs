//! Documents for tests: small ones built by hand, and strategies that generate unusual ones.

use kernel::{
    AttrValue, Attributes, CommitNo, Document, DocumentId, Entropy, Finding, FindingKind, Passage, Principal, Scalar,
    ScreenAction, SeededEntropy, Severity, Span, Status, Timestamp, Untrusted,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

/// A document of one passage per text.
pub(crate) fn doc(id: &str, passages: &[&str]) -> Document {
    let mut text = String::new();
    let mut list = Vec::new();
    for passage in passages {
        let start = text.len() as u32;
        text.push_str(passage);
        let span = Span { byte_start: start, byte_end: text.len() as u32, ..Span::default() };
        list.push(Passage { span, tokens: passage.len() as u32 / 4 });
        text.push('\n');
    }
    Document {
        id: DocumentId::parse(id).unwrap(),
        status: Status::Indexed,
        content_hash: [7; 32],
        title: Untrusted::default(),
        uri: Untrusted::default(),
        attributes: Attributes::new(),
        readers: None,
        created_at: Timestamp::from_millis(1_700_000_000_000),
        updated_at: Timestamp::from_millis(1_700_000_000_000),
        expires_at: None,
        commit: CommitNo(1),
        findings: Vec::new(),
        text: Untrusted::new(text),
        passages: list,
        vectors: Vec::new(),
    }
}

/// Deterministic pseudorandom numbers.
pub(crate) struct Random(SeededEntropy);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SeededEntropy::new(seed))
    }

    pub(crate) fn below(&self, n: u64) -> u64 {
        u64::from_le_bytes(self.0.array()) % n
    }

    /// About normally distributed: the sum of twelve uniform numbers.
    pub(crate) fn normal(&self) -> f32 {
        (0..12).map(|_| self.below(1 << 20) as f32 / (1 << 20) as f32).sum::<f32>() - 6.0
    }

    /// `n` points around `centres` centres.
    pub(crate) fn clustered(&self, n: usize, centres: usize, dimensions: usize) -> Vec<Vec<f32>> {
        let centres: Vec<Vec<f32>> = (0..centres).map(|_| (0..dimensions).map(|_| self.normal()).collect()).collect();
        let point = || {
            let centre = &centres[self.below(centres.len() as u64) as usize];
            centre.iter().map(|x| x + self.normal() * 0.6).collect()
        };
        (0..n).map(|_| point()).collect()
    }
}

fn words() -> impl Strategy<Value = String> {
    let word = select(vec![
        "the",
        "Running",
        "runs",
        "leave",
        "policy",
        "Urlaub",
        "naïve",
        "42",
        "rust-lang",
        "日本語",
        "x",
        "holidays",
        "of",
    ]);
    vec(word, 0..12).prop_map(|w| w.join(" "))
}

pub(crate) fn scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        select(vec![
            "",
            "a",
            "ab",
            "abc",
            "Hand book",
            "book of HAND",
            "2024-06-01T00:00:00Z",
            "2024-06-01T02:00:00+02:00",
            "2024-06-01t00:00:00.000000001z",
            "0000-01-01T00:00:00Z",
            "1990-12-31T23:59:60Z",
            "1991-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59.9999-23:59",
            "ß"
        ])
        .prop_map(|s| Scalar::Str(s.to_owned())),
        select(vec![-1.5, -0.0, 0.0, 1.0, 2.0, 9_007_199_254_740_992.0, 1e300, -1e300])
            .prop_map(|x| Scalar::Num(x.into())),
        select(vec![9_007_199_254_740_992, 9_007_199_254_740_993, u64::MAX - 1, u64::MAX])
            .prop_map(|n| Scalar::Num(n.into())),
        select(vec![i64::MIN, i64::MIN + 1, -9_007_199_254_740_993]).prop_map(|n| Scalar::Num(n.into())),
        any::<bool>().prop_map(Scalar::Bool),
    ]
}

pub(crate) const KEYS: [&str; 4] = ["k", "year", "tags", "nobody"];

pub(crate) fn timestamp() -> impl Strategy<Value = Timestamp> {
    select(vec![
        i64::MIN,
        -400_000_000_000_000,
        -377_705_023_201_001,
        -377_705_023_201_000,
        -62_167_219_200_001,
        -1,
        0,
        1_717_200_000_000,
        1_717_200_000_001,
        253_402_207_200_999,
        253_402_207_201_000,
        253_402_300_799_000,
        253_402_300_800_000,
        253_402_387_140_000,
        i64::MAX,
    ])
    .prop_map(Timestamp::from_millis)
}

pub(crate) fn status() -> impl Strategy<Value = Status> {
    select(vec![Status::Indexed, Status::Quarantined, Status::Pending])
}

fn value() -> impl Strategy<Value = AttrValue> {
    prop_oneof![scalar().prop_map(AttrValue::One), vec(scalar(), 0..4).prop_map(AttrValue::Many)]
}

fn finding() -> impl Strategy<Value = Finding> {
    (
        select(vec![FindingKind::Injection, FindingKind::Pii, FindingKind::Secret]),
        select(vec![Severity::Low, Severity::Medium, Severity::High]),
        select(vec![
            ScreenAction::Allow,
            ScreenAction::Tag,
            ScreenAction::Mask,
            ScreenAction::Quarantine,
            ScreenAction::Reject,
        ]),
        any::<u32>(),
    )
        .prop_map(|(kind, severity, action, count)| Finding {
            kind,
            severity,
            action,
            count,
            rule: "pii.email".into(),
        })
}

prop_compose! {
    /// Any document, with vectors of `dimensions` values or without vectors.
    pub(crate) fn document(dimensions: usize)(
        id in "[a-c]{1,2}",
        passages in vec(words(), 0..4),
        title in words(),
        uri in select(vec!["", "https://example.com/ab", "ab"]),
        attributes in proptest::collection::btree_map(select(KEYS[..3].to_vec()).prop_map(str::to_owned), value(), 0..3),
        readers in option::of(vec(select(vec!["user:a", "user:b", "group:g"]), 1..3)),
        times in (timestamp(), timestamp(), option::of(timestamp())),
        status in status(),
        findings in vec(finding(), 0..2),
        values in vec(-2.0f32..2.0, 4 * dimensions),
        has in any::<bool>(),
    ) -> Document {
        let refs: Vec<&str> = passages.iter().map(String::as_str).collect();
        let count = refs.len();
        Document {
            title: Untrusted::new(title),
            uri: Untrusted::new(uri),
            attributes,
            readers: readers.map(|list| list.into_iter().map(|r| Principal::parse(r).unwrap()).collect()),
            created_at: times.0,
            updated_at: times.1,
            expires_at: times.2,
            status,
            findings,
            vectors: if has { values[..count * dimensions].to_vec() } else { Vec::new() },
            ..doc(&id, &refs)
        }
    }
}
