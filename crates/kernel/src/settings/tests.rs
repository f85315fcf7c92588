//! Tests the limits and the names of settings.

use super::*;
use rstest::rstest;
use std::collections::HashSet;

#[test]
fn a_document_expires_at_the_earlier_end() {
    let at = Timestamp::from_millis;
    let day = MILLIS_A_DAY;
    let two = Retention { days: Some(2) };
    assert_eq!(two.end_of(at(5), None), Some(at(5 + 2 * day)));
    assert_eq!(two.end_of(at(5), Some(at(7))), Some(at(7)));
    assert_eq!(two.end_of(at(5), Some(at(9 * day))), Some(at(5 + 2 * day)));
    assert_eq!(Retention::default().end_of(at(5), Some(at(9 * day))), Some(at(9 * day)));
    assert_eq!(Retention::default().end_of(at(5), None), None);
    assert_eq!(two.end_of(at(i64::MAX), Some(at(7))), Some(at(7)), "never is later than any end");
}

#[test]
fn each_setting_that_judges_a_document_is_in_the_judgement() {
    let change = |change: fn(&mut NamespaceSettings)| {
        let mut settings = NamespaceSettings::default();
        change(&mut settings);
        settings.policy_bytes()
    };
    let all = [
        change(|_| {}),
        change(|s| s.screening.injection = ScreenAction::Reject),
        change(|s| s.screening.pii = ScreenAction::Reject),
        change(|s| s.screening.secret = ScreenAction::Reject),
        change(|s| s.require_readers = true),
        change(|s| s.retention.days = Some(1)),
        change(|s| s.chunking.max_tokens = 16),
        change(|s| s.chunking.overlap_tokens = 16),
    ];
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
}

/// Sets one member of the settings to a number.
type SetMember = fn(&mut NamespaceSettings, u32);

fn own_dimensions(settings: &mut NamespaceSettings, dimensions: u32) {
    settings.embedding = Embedding::Own { dimensions };
}

fn model_dimensions(settings: &mut NamespaceSettings, dimensions: u32) {
    settings.embedding = Embedding::Model { name: "m".to_owned(), dimensions };
}

fn max_tokens(settings: &mut NamespaceSettings, tokens: u32) {
    settings.chunking = Chunking { max_tokens: tokens, overlap_tokens: 0 };
}

fn overlap_of_33(settings: &mut NamespaceSettings, tokens: u32) {
    settings.chunking = Chunking { max_tokens: 33, overlap_tokens: tokens };
}

fn retention(settings: &mut NamespaceSettings, days: u32) {
    settings.retention.days = Some(days);
}

/// Each member at its limits and beyond them. An error names the member and what it may be.
#[rstest]
#[case::text_only(own_dimensions, &[0, 2, 4_096], &[1, 4_097, u32::MAX], "embedding.dimensions: must be 2 to 4096, or 0")]
#[case::a_model_decides_itself(model_dimensions, &[1, 2, 8_192], &[], "")]
#[case::tokens(max_tokens, &[16, 8_192], &[0, 15, 8_193, u32::MAX], "chunking.max_tokens: must be 16 to 8192")]
#[case::overlap(overlap_of_33, &[0, 16], &[17, 33, u32::MAX], "chunking.overlap_tokens: must be at most half of max_tokens")]
#[case::days(retention, &[1, 36_500], &[0, 36_501, u32::MAX], "retention.days: must be 1 to 36500")]
fn members_have_limits(#[case] set: SetMember, #[case] accepted: &[u32], #[case] refused: &[u32], #[case] error: &str) {
    let validate = |value| {
        let mut settings = NamespaceSettings::default();
        set(&mut settings, value);
        settings.validate()
    };
    for value in accepted {
        assert!(validate(*value).is_ok(), "{value}");
    }
    for value in refused {
        let found = validate(*value).unwrap_err();
        assert!(found.code == crate::Code::InvalidRequest && found.to_string().starts_with(error), "{value}: {found}");
    }
}

#[test]
fn the_defaults_are_valid_and_fill_the_default_model() {
    let settings = NamespaceSettings::default();
    assert!(settings.validate().is_ok());
    assert_eq!((settings.embedding.dimensions(), settings.readers()), (0, ReadersRule::Optional));
    let action = |kind| settings.screening.action(kind);
    assert_eq!(action(FindingKind::Injection), ScreenAction::Quarantine);
    assert_eq!((action(FindingKind::Pii), action(FindingKind::Secret)), (ScreenAction::Tag, ScreenAction::Tag));
}

/// Every value of the contract is read back from its name, and an error lists all of them.
#[test]
fn values_have_names_of_their_own() {
    macro_rules! check {
        ($name:ident, $param:literal) => {
            let names: Vec<_> = $name::ALL.iter().map(|value| value.as_str()).collect();
            assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
            for (value, name) in $name::ALL.iter().zip(&names) {
                assert_eq!($name::parse(name).unwrap(), *value);
                assert!($name::parse(&name.to_uppercase()).is_err() && $name::parse(&name[1..]).is_err());
            }
            let error = $name::parse("private").unwrap_err().to_string();
            assert_eq!(error, format!("{}: must be one of {}", $param, names.join(" ")));
        };
    }
    check!(Language, "text.language");
    check!(Scope, "scopes");
    check!(Role, "role");
    for name in ["allow", "tag", "mask", "quarantine", "reject"] {
        assert_eq!(ScreenAction::parse(name, "p").unwrap().as_str(), name);
    }
    let error = ScreenAction::parse("Allow", "screening.pii").unwrap_err().to_string();
    assert_eq!(error, "screening.pii: must be one of allow tag mask quarantine reject");
    assert!(ScreenAction::Allow < ScreenAction::Tag && ScreenAction::Quarantine < ScreenAction::Reject);
}
