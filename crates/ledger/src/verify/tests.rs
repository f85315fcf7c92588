//! Whatever is done to a copy of the lines is seen.

use super::*;
use crate::{
    deed::Draft,
    line::{self, GENESIS, Place},
};
use kernel::{Incarnation, NamespaceUuid, SeededEntropy, Timestamp};
use proptest::prelude::*;
use serde_json::json;
use std::sync::Arc;
use vault::{Home, LocalProvider, PlaceKind, TenantKeys};

fn chain(count: u64) -> Vec<Value> {
    let entropy = Arc::new(SeededEntropy::new(3));
    let provider = LocalProvider::from_env_value(&"01".repeat(32), entropy.clone()).unwrap();
    let (keys, _) = TenantKeys::create(&provider, Incarnation::random(&*entropy), &*entropy).unwrap();
    let uuid = NamespaceUuid::random(&*entropy);
    let (home, _) = Home::create_place(&keys, PlaceKind::Audit, uuid, &*entropy).unwrap();
    let mut prev = GENESIS;
    (1..=count)
        .map(|seq| {
            let mut draft =
                Draft::bare("api_key", "abc".to_owned(), "search", Timestamp::from_millis(1_000 * seq as i64));
            draft.documents = vec!["a".to_owned(), "b".to_owned()];
            draft.counts = vec![("hits".to_owned(), seq)];
            draft.trace = Some("00-\u{7f}".to_owned());
            let (bytes, fingerprint) = line::write(&draft, &Place { home: &home, seq, prev, commit: None });
            prev = fingerprint;
            let line: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(line::canonical(&line), bytes, "a stored line is canonical");
            line
        })
        .collect()
}

/// Every leaf of a value, as a JSON pointer.
fn leaves(value: &Value, at: &str, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, member)| leaves(member, &format!("{at}/{key}"), out)),
        Value::Array(items) => items.iter().enumerate().for_each(|(i, item)| leaves(item, &format!("{at}/{i}"), out)),
        _ => out.push(at.to_owned()),
    }
}

#[test]
fn an_untouched_chain_and_its_parts_verify() {
    let lines = chain(6);
    let report = verify_lines(&lines).unwrap();
    assert_eq!((report.first, report.lines), (1, 6));
    assert_eq!(report.head, lines[5]["record_integrity"]["fingerprint"]);
    assert_eq!(verify_lines(&lines[2..5]).unwrap().first, 3);
    assert_eq!(verify_lines(&[]).unwrap(), ChainReport { first: 0, lines: 0, head: "0".repeat(64) });
}

#[test]
fn every_change_of_every_leaf_is_seen() {
    let lines = chain(3);
    let mut paths = Vec::new();
    leaves(&lines[1], "", &mut paths);
    assert!(paths.len() > 20);
    for path in paths {
        for other in [json!("0"), json!(17), Value::Null] {
            let mut copy = lines.clone();
            *copy[1].pointer_mut(&path).unwrap() = other;
            assert!(verify_lines(&copy).is_err(), "{path}");
        }
    }
    let mut copy = lines.clone();
    copy[2]["added"] = json!(true);
    assert!(matches!(verify_lines(&copy), Err(Error::Broken { index: 2, sequence: 3, .. })));
    copy[2] = json!("no line at all");
    assert!(verify_lines(&copy).is_err());
}

#[test]
fn removed_doubled_and_moved_lines_are_seen() {
    let lines = chain(5);
    for i in 1..4 {
        let mut removed = lines.clone();
        removed.remove(i);
        assert!(verify_lines(&removed).is_err());
        let mut doubled = lines.clone();
        doubled.insert(i, lines[i].clone());
        assert!(verify_lines(&doubled).is_err());
        let mut moved = lines.clone();
        moved.swap(i, i + 1);
        assert!(verify_lines(&moved).is_err());
    }
    let cut = verify_lines(&lines[..4]).unwrap();
    assert_ne!(cut.head, verify_lines(&lines).unwrap().head, "a cut end shows in the head that the tenant kept");
}

#[test]
fn a_recomputed_line_breaks_the_next() {
    let mut lines = chain(3);
    lines[1]["status"] = json!("Failure");
    lines[1]["record_integrity"].as_object_mut().unwrap().remove("fingerprint");
    let forged = hex(&fingerprint(&lines[1]));
    lines[1]["record_integrity"]["fingerprint"] = json!(forged);
    assert!(matches!(verify_lines(&lines), Err(Error::Broken { index: 2, .. })));
}

proptest! {
    #[test]
    fn one_changed_byte_of_an_exported_line_is_seen(at in any::<prop::sample::Index>(), bit in 0..7u8) {
        let lines = chain(2);
        let mut bytes = line::canonical(&lines[0]);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(changed) = serde_json::from_slice::<Value>(&bytes) {
            prop_assert!(changed == lines[0] || verify_lines(&[changed, lines[1].clone()]).is_err());
        }
    }
}
