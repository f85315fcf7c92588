//! Any change to a copy of the records is detected.

use super::*;
use crate::{
    event::PendingRecord,
    record::{self, ChainPosition, GENESIS},
};
use kernel::{Incarnation, NamespaceUuid, SeededEntropy, Timestamp};
use proptest::prelude::*;
use serde_json::json;
use std::sync::Arc;
use vault::{Keyspace, KeyspaceKind, LocalProvider, TenantKeys};

fn chain(count: u64) -> Vec<Value> {
    let entropy = Arc::new(SeededEntropy::new(3));
    let provider = LocalProvider::from_env_value(&"01".repeat(32), entropy.clone()).unwrap();
    let (keys, _) = TenantKeys::create(&provider, Incarnation::random(&*entropy), &*entropy).unwrap();
    let uuid = NamespaceUuid::random(&*entropy);
    let (keyspace, _) = Keyspace::create(&keys, KeyspaceKind::Audit, uuid, &*entropy).unwrap();
    let mut prev = GENESIS;
    (1..=count)
        .map(|seq| {
            let mut draft = PendingRecord::without_grant(
                "api_key",
                "abc".to_owned(),
                "search",
                Timestamp::from_millis(1_000 * seq as i64),
            );
            draft.documents = vec!["a".to_owned(), "b".to_owned()];
            draft.counts = vec![("hits".to_owned(), seq)];
            draft.trace = Some("00-\u{7f}".to_owned());
            let (bytes, fingerprint) =
                record::write(&draft, &ChainPosition { keyspace: &keyspace, seq, prev, commit: None });
            prev = fingerprint;
            let record: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(record::canonical(&record), bytes, "a stored record is canonical");
            record
        })
        .collect()
}

/// Collects every leaf of a value as a JSON pointer.
fn leaves(value: &Value, path: &str, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, member)| leaves(member, &format!("{path}/{key}"), out)),
        Value::Array(items) => items.iter().enumerate().for_each(|(i, item)| leaves(item, &format!("{path}/{i}"), out)),
        _ => out.push(path.to_owned()),
    }
}

#[test]
fn an_unchanged_chain_and_its_slices_verify() {
    let lines = chain(6);
    let report = verify_records(&lines).unwrap();
    assert_eq!((report.first, report.lines), (1, 6));
    assert_eq!(report.head, lines[5]["record_integrity"]["fingerprint"]);
    assert_eq!(verify_records(&lines[2..5]).unwrap().first, 3);
    assert_eq!(verify_records(&[]).unwrap(), ChainReport { first: 0, lines: 0, head: "0".repeat(64) });
}

#[test]
fn every_change_of_every_leaf_is_detected() {
    let lines = chain(3);
    let mut paths = Vec::new();
    leaves(&lines[1], "", &mut paths);
    assert!(paths.len() > 20);
    for path in paths {
        for other in [json!("0"), json!(17), Value::Null] {
            let mut copy = lines.clone();
            *copy[1].pointer_mut(&path).unwrap() = other;
            assert!(verify_records(&copy).is_err(), "{path}");
        }
    }
    let mut copy = lines.clone();
    copy[2]["added"] = json!(true);
    assert!(matches!(verify_records(&copy), Err(Error::Broken { index: 2, sequence: 3, .. })));
    copy[2] = json!("not a record");
    assert!(verify_records(&copy).is_err());
}

#[test]
fn removed_duplicated_and_moved_records_are_detected() {
    let lines = chain(5);
    for i in 1..4 {
        let mut removed = lines.clone();
        removed.remove(i);
        assert!(verify_records(&removed).is_err());
        let mut doubled = lines.clone();
        doubled.insert(i, lines[i].clone());
        assert!(verify_records(&doubled).is_err());
        let mut moved = lines.clone();
        moved.swap(i, i + 1);
        assert!(verify_records(&moved).is_err());
    }
    let truncated = verify_records(&lines[..4]).unwrap();
    assert_ne!(
        truncated.head,
        verify_records(&lines).unwrap().head,
        "a truncated end shows in the head that the tenant kept"
    );
}

#[test]
fn a_recomputed_fingerprint_breaks_the_next_record() {
    let mut lines = chain(3);
    lines[1]["status"] = json!("Failure");
    lines[1]["record_integrity"].as_object_mut().unwrap().remove("fingerprint");
    let forged = hex(&fingerprint(&lines[1]));
    lines[1]["record_integrity"]["fingerprint"] = json!(forged);
    assert!(matches!(verify_records(&lines), Err(Error::Broken { index: 2, .. })));
}

proptest! {
    #[test]
    fn one_changed_byte_of_an_exported_record_is_detected(at in any::<prop::sample::Index>(), bit in 0..7u8) {
        let lines = chain(2);
        let mut bytes = record::canonical(&lines[0]);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(changed) = serde_json::from_slice::<Value>(&bytes) {
            prop_assert!(changed == lines[0] || verify_records(&[changed, lines[1].clone()]).is_err());
        }
    }
}
