//! Tests which texts are names, and the round trips of names and ids.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

#[test]
fn documents_of_one_id_have_adjacent_keys_of_their_own() {
    let id = |text: &str| DocumentId::parse(text).unwrap();
    let first = id("plan");
    let [second, third] = [CommitNo(9), CommitNo(10)].map(|commit| first.disambiguated(commit, 0));
    let fourth = second.disambiguated(CommitNo(10), 1);
    for other in [&second, &third, &fourth] {
        assert_eq!((other.as_str(), other.plain()), ("plan", first.clone()));
        assert_ne!(*other, first);
        assert_eq!(DocumentId::from_key(other.key()).unwrap(), *other);
        assert_eq!(DocumentId::id_in(other.key()), "plan");
        assert!(DocumentId::parse(other.key()).is_err(), "no caller names a key");
    }
    let all = [id("plan b"), fourth.clone(), id("plam"), third.clone(), id("plan!"), second.clone(), first.clone()];
    let ordered: Vec<DocumentId> = all.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    assert_eq!(ordered, [id("plam"), first, second, third, fourth, id("plan b"), id("plan!")]);
}

#[test]
fn malformed_keys_are_refused() {
    let longest = "x".repeat(crate::limits::DOCUMENT_ID_BYTES_MAX);
    let long = DocumentId::parse(&longest).unwrap().disambiguated(CommitNo(u64::MAX), u32::MAX);
    assert_eq!(DocumentId::from_key(long.key()).unwrap(), long);
    let digits = "0".repeat(24);
    for (id, rest) in [("", &*digits), ("a", "0"), ("a", &"G".repeat(24)), ("a", &"A".repeat(24)), ("a", "")] {
        assert!(DocumentId::from_key(&format!("{id}{DISAMBIGUATOR_SEPARATOR}{rest}")).is_err(), "{id} {rest}");
    }
    assert!(
        DocumentId::from_key(&format!("a{DISAMBIGUATOR_SEPARATOR}{digits}{DISAMBIGUATOR_SEPARATOR}{digits}")).is_err()
    );
    assert!(DocumentId::from_key("a\u{2}").is_err() && DocumentId::from_key("a").is_ok());
}

/// Parses a name, and returns its text or the field that the error names.
type ParseName = fn(&str) -> Result<String, Option<String>>;

macro_rules! names {
    ($($name:ident),*) => {
        [$((stringify!($name), (|raw| {
            $name::parse(raw).map(|name| name.as_str().to_owned()).map_err(|error| error.param)
        }) as ParseName)),*]
    };
}

/// Every kind of name.
const NAMES: [(&str, ParseName); 6] = names!(TenantId, NamespaceName, Principal, KeyId, OperatorName, DocumentId);

/// For each kind of name the field that its error names, texts that are names, and texts that are not.
#[test]
fn names_have_their_form() {
    let of = |letter: &str, many: usize| letter.repeat(many);
    let longest_principal = format!("user:{}", of("a", limits::PRINCIPAL_BYTES_MAX - 5));
    let table: [(&str, Vec<String>, Vec<String>); 6] = [
        (
            "tenant",
            vec!["a".into(), "0".into(), "acme-2".into(), "a-".into(), of("a", 63)],
            ["", "-a", "A", "a_b", "a.b", "a b", "a/b", "..", "\u{e4}", "a\0", "a\n"].map(str::to_owned).into(),
        ),
        (
            "namespace",
            vec!["a".into(), "Z".into(), "0".into(), "a..b".into(), "v1.2_x-".into(), of("a", 128)],
            ["", ".", "..", ".a", "-a", "_a", "a/b", "a b", "a%2e", "\u{e4}", "a\0"].map(str::to_owned).into(),
        ),
        (
            "principal",
            vec!["u:a".into(), "user:a:b".into(), "a_b:\u{e4} b".into(), "_:/".into(), longest_principal.clone()],
            vec![
                "".into(),
                "user".into(),
                ":a".into(),
                "user:".into(),
                "User:a".into(),
                "u1:a".into(),
                "user:a\n".into(),
                "user:\u{85}".into(),
                longest_principal + "a",
            ],
        ),
        (
            "key_id",
            vec!["abcDEF012345".into()],
            vec!["".into(), of("a", 11), of("a", 13), "abcDEF01234-".into(), "\u{e4}bcDEF01234".into()],
        ),
        (
            "name",
            vec!["a".into(), "first-operator".into(), of("9", 63)],
            vec!["".into(), "-a".into(), "A".into(), "a_b".into(), of("a", 64)],
        ),
        (
            "id",
            vec![" ".into(), "..".into(), "a/b.md#1".into(), "\u{1f9ea}".into(), of("\u{e4}", 256)],
            vec![
                "".into(),
                "a\0".into(),
                "a\u{1}b".into(),
                "\u{7f}".into(),
                "\u{9f}".into(),
                of("a", 513),
                of("\u{e4}", 257),
            ],
        ),
    ];
    for ((name, parse), (param, accepted, refused)) in NAMES.iter().zip(table) {
        for text in accepted {
            assert_eq!(parse(&text).as_ref(), Ok(&text), "{name}");
        }
        for text in refused {
            assert_eq!(parse(&text), Err(Some(param.to_owned())), "{name}: {text:?}");
        }
    }
    for too_long in [of("a", 64), of("a", 129)] {
        assert!(TenantId::parse(&too_long).is_err());
        assert_eq!(NamespaceName::parse(&too_long).is_ok(), too_long.len() <= 128);
    }
}

#[test]
fn debug_shows_no_name_that_a_customer_chose() {
    let shown = [
        format!("{:?}", NamespaceName::parse("private").unwrap()),
        format!("{:?}", Principal::parse("user:private").unwrap()),
        format!("{:?}", DocumentId::parse("private").unwrap().disambiguated(CommitNo(1), 2)),
    ];
    assert_eq!(shown, ["NamespaceName(7 bytes)", "Principal(12 bytes)", "DocumentId(7 bytes)"]);
}

#[test]
fn numbers_count_up_to_their_end() {
    assert_eq!((CommitNo(7).next(), CommitNo(7).to_string()), (CommitNo(8), "7".to_owned()));
    assert_eq!((LogEpoch(7).next(), KeyEpoch::default().next()), (LogEpoch(8), KeyEpoch(1)));
    assert!(std::panic::catch_unwind(|| CommitNo(u64::MAX).next()).is_err(), "no number is used twice");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    /// Short texts of few characters hit the forms; any others must not panic.
    #[test]
    fn a_name_is_exactly_the_text_that_it_was_made_from(text in prop_oneof!["[a-zA:_.-]{0,14}", any::<String>()]) {
        for (name, parse) in NAMES {
            if let Ok(parsed) = parse(&text) {
                prop_assert_eq!(&parsed, &text, "{}", name);
            }
        }
        if let Ok(id) = DocumentId::from_key(&text) {
            prop_assert_eq!(id.key(), &*text);
            prop_assert!(DocumentId::parse(id.as_str()).is_ok());
        }
        prop_assert!(text.starts_with(DocumentId::id_in(&text)));
    }

    #[test]
    fn a_key_leads_back_to_its_document(id in "\\PC{1,64}", commit in any::<u64>(), nth in any::<u32>()) {
        let plain = DocumentId::parse(&id).unwrap();
        let other = plain.disambiguated(CommitNo(commit), nth);
        prop_assert_eq!(&DocumentId::from_key(other.key()).unwrap(), &other);
        prop_assert_eq!((other.as_str(), other.plain()), (&*id, plain));
    }

    #[test]
    fn uuids_survive_a_round_trip(bytes in any::<[u8; 16]>(), text in "[0-9a-f-]{0,40}") {
        let id = OperationId::from_bytes(bytes);
        prop_assert_eq!((id.as_bytes(), OperationId::parse(&id.to_string()).unwrap()), (&bytes, id));
        prop_assert_eq!(format!("{id:?}"), id.to_string());
        if let Err(error) = RequestId::parse(&text) {
            prop_assert_eq!(error.to_string(), "id: must be a UUID");
        }
    }
}
