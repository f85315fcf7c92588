//! Records are written member by member; the result must equal sorting a parsed record, whatever its content.

use super::*;
use crate::{
    event::{Actor, ApiKeyFields, RollbackFields},
    verify::verify_records,
};
use kernel::{Incarnation, SeededEntropy};
use proptest::prelude::*;
use std::sync::Arc;
use vault::{LocalProvider, TenantKeys};

fn mark(commit: u64) -> AuditPosition {
    AuditPosition { commit: kernel::CommitNo(commit), digest: [7; 16], documents: commit, bytes: 5 }
}

fn keyspace() -> Keyspace {
    let entropy = Arc::new(SeededEntropy::new(3));
    let provider = LocalProvider::from_env_value(&"01".repeat(32), entropy.clone()).unwrap();
    let (keys, _) = TenantKeys::create(&provider, Incarnation::random(&*entropy), &*entropy).unwrap();
    Keyspace::create(&keys, vault::KeyspaceKind::Audit, NamespaceUuid::random(&*entropy), &*entropy).unwrap().0
}

/// Encoded drafts, because a draft has no `Debug`.
fn drafts() -> impl Strategy<Value = Vec<u8>> {
    let text = || "\\PC{0,6}|[\"\\\\\u{0}-\u{20}]{0,4}";
    let maybe = || prop::option::of(text());
    let operation = prop::sample::select(vec!["search", "document.upsert", "key.rotate", "auth.refused", "x"]);
    let words = || prop::collection::vec(text(), 0..3);
    let counts = prop::collection::vec((prop::sample::select(vec!["tokens", "hits", "bytes_in"]), any::<u64>()), 0..4);
    let first = (operation, 0..4_102_444_800_000_i64, text(), text(), counts);
    let second = (maybe(), maybe(), maybe(), maybe(), maybe(), maybe(), words(), words());
    (first, second).prop_map(
        |((operation, time, request, uid, counts), (trace, policy, failure, ns, tenant, route, d, p))| {
            let mut draft = PendingRecord::without_grant("api_key", uid, operation, Timestamp::from_millis(time));
            (draft.request, draft.trace, draft.policy, draft.failure) = (request, trace, policy, failure);
            if let Some(uid) = &draft.trace {
                let (uid, scopes) = (uid.clone(), d.clone());
                draft.api_key = Some(ApiKeyFields { id: uid.clone(), scopes, expires_at: Some(time) });
                (draft.namespaces, draft.ended) = (d.clone(), Some(uid.clone()));
                draft.note = Some(uid.clone());
                draft.rollback = Some(RollbackFields { log: uid, recorded: 3, found: 2 });
            }
            (draft.namespace, draft.tenant, draft.route, draft.documents, draft.principals) = (ns, tenant, route, d, p);
            draft.counts = counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
            draft.encode()
        },
    )
}

proptest! {
    #[test]
    fn every_record_is_canonical_and_carries_its_own_fingerprint(draft in drafts(), commit in any::<Option<u64>>()) {
        let (keyspace, draft) = (keyspace(), PendingRecord::decode(&draft).unwrap());
        let commit = commit.map(|n| (NamespaceUuid::random(&SeededEntropy::new(9)), mark(n)));
        let (bytes, own) = write(&draft, &ChainPosition { keyspace: &keyspace, seq: 1, prev: GENESIS, commit });
        let record: Value = serde_json::from_slice(&bytes).unwrap();
        prop_assert_eq!(String::from_utf8(canonical(&record)), String::from_utf8(bytes.clone()));
        let mut without_fingerprint = record.clone();
        let integrity = without_fingerprint["record_integrity"].as_object_mut().unwrap();
        prop_assert_eq!(integrity.remove("fingerprint"), Some(hex(&own).into()));
        prop_assert_eq!(fingerprint(&without_fingerprint), own);
        prop_assert!(verify_records(std::slice::from_ref(&record)).is_ok());
        // The record contains what was drafted, with ids only as pseudonyms.
        prop_assert_eq!(record["actor"]["user"]["uid"].as_str(), Some(draft.actor.uid.as_str()));
        prop_assert_eq!(record["resources"].as_array().map_or(0, Vec::len), draft.documents.len());
        for (listed, id) in record["resources"].as_array().into_iter().flatten().zip(&draft.documents) {
            prop_assert_eq!(&listed["uid"], &Value::from(pseudonym(&keyspace, b"document", id)));
        }
        let note = draft.note.as_ref().map(|note| Value::from(pseudonym(&keyspace, b"note", note)));
        prop_assert_eq!(record["unmapped"].get("note"), note.as_ref());
        let names = record["unmapped"]["principals"].as_array().map_or(0, Vec::len);
        prop_assert_eq!((names, record["status"] == "Failure"), (draft.principals.len(), draft.failure.is_some()));
        for (pointer, value) in [
            ("/api/request/uid", Some(&draft.request).filter(|request| !request.is_empty())),
            ("/metadata/correlation_uid", draft.trace.as_ref()),
            ("/actor/authorizations/0/policy/name", draft.policy.as_ref()),
            ("/status_code", draft.failure.as_ref()),
            ("/http_request/url/path", draft.route.as_ref()),
            ("/unmapped/tenant", draft.tenant.as_ref()),
        ] {
            prop_assert_eq!(record.pointer(pointer).and_then(Value::as_str), value.map(String::as_str), "{}", pointer);
        }
        let counted = record["unmapped"]["counts"].as_object().unwrap();
        for (name, count) in &draft.counts {
            let last = draft.counts.iter().rev().find(|(other, _)| other == name).map(|(_, count)| *count);
            prop_assert!(last != Some(*count) || counted[name].as_u64() == Some(*count));
        }
        let number = &record["unmapped"]["commit"]["number"];
        prop_assert_eq!(number.as_u64(), commit.map(|(_, mark)| mark.commit.0));
    }
}

#[test]
fn the_record_format_is_stable() {
    let mut draft = PendingRecord::without_grant("api_key", "k1".to_owned(), "search", Timestamp::from_millis(0));
    draft.actor = Actor { kind: "operator".to_owned(), uid: "ada".to_owned() };
    draft.counts = vec![("hits".to_owned(), 2)];
    let (bytes, _) = write(&draft, &ChainPosition { keyspace: &keyspace(), seq: 7, prev: GENESIS, commit: None });
    let text = String::from_utf8(bytes).unwrap();
    let (before, after) = text.split_once("\"record_integrity\"").unwrap();
    assert_eq!(
        before,
        r#"{"activity_id":4,"activity_name":"Query","actor":{"user":{"type":"operator","uid":"ada"}},"api":{"operation":"search"},"category_uid":6,"class_uid":6005,"metadata":{"product":{"name":"ringfence"},"sequence":7,"version":"1.8.0"},"#
    );
    assert!(after.ends_with(
        r#","severity_id":1,"status":"Success","status_id":1,"time":0,"time_dt":"1970-01-01T00:00:00.000Z","type_uid":600504,"unmapped":{"counts":{"hits":2}}}"#
    ), "{after}");
}
