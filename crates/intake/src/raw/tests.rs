//! Tests of documents' ids and content hashes.

use crate::{RawBody, RawDocument, identify, testing::raw};
use kernel::{AttrValue, DocumentId, Principal, Pseudonymiser, Scalar, Timestamp, Untrusted};
use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
};

/// A pseudonymiser that is not secret but distinguishes parts.
struct TestPseudonymiser(u64);

impl Pseudonymiser for TestPseudonymiser {
    fn pseudonym(&self, parts: &[&[u8]]) -> [u8; 16] {
        let half = |salt: u8| {
            let mut hasher = DefaultHasher::new();
            (self.0, salt, parts).hash(&mut hasher);
            hasher.finish().to_le_bytes()
        };
        let mut out = [0; 16];
        out[..8].copy_from_slice(&half(0));
        out[8..].copy_from_slice(&half(1));
        out
    }
}

fn text(text: &str) -> RawDocument {
    raw("text/plain", text)
}

#[test]
fn equal_documents_have_equal_names_under_one_key_only() {
    let (id, hash) = identify(&text("a"), &[], &TestPseudonymiser(1));
    assert_eq!(identify(&text("a"), &[], &TestPseudonymiser(1)), (id.clone(), hash));
    assert_ne!(identify(&text("a"), &[], &TestPseudonymiser(2)), (id.clone(), hash));
    assert!(id.as_str().len() == 34 && id.as_str().starts_with("h-"));
    assert_ne!(hash[..16], hash[16..]);
    // Under other settings the same document counts as changed.
    let judged = identify(&text("a"), &[1], &TestPseudonymiser(1));
    assert_eq!(judged.0, id);
    assert_ne!(judged.1, hash);
}

#[test]
fn a_given_id_stays_and_the_hash_is_of_the_content() {
    let given = DocumentId::parse("a/b.md").expect("an id");
    let (id, hash) = identify(&RawDocument { id: Some(given.clone()), ..text("a") }, &[], &TestPseudonymiser(1));
    assert_eq!((id, hash), (given, identify(&text("a"), &[], &TestPseudonymiser(1)).1));
}

#[test]
fn every_field_changes_the_hash() {
    let one = |s: &str| AttrValue::One(Scalar::Str(s.into()));
    let with = |pairs: &[(&str, AttrValue)]| RawDocument {
        attributes: pairs.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect(),
        ..text("a")
    };
    let reader = |names: &[&str]| names.iter().map(|n| Principal::parse(n).expect("a principal")).collect::<Vec<_>>();
    let variants = [
        text("a"),
        text("b"),
        RawDocument { body: RawBody::None, ..text("a") },
        RawDocument { body: RawBody::Bytes { media_type: None, bytes: b"a".to_vec() }, ..text("a") },
        RawDocument {
            body: RawBody::Bytes { media_type: Some("text/html".into()), bytes: b"a".to_vec() },
            ..text("a")
        },
        RawDocument { media_type: None, ..text("a") },
        RawDocument { title: Some(Untrusted::new("t")), ..text("a") },
        RawDocument { uri: Some(Untrusted::new("t")), ..text("a") },
        with(&[("k", one("v"))]),
        with(&[("k", AttrValue::Many(vec![Scalar::Str("v".into())]))]),
        with(&[("kv", one(""))]),
        with(&[("k", AttrValue::One(Scalar::Num(1.0.into())))]),
        with(&[("k", AttrValue::One(Scalar::Bool(true)))]),
        RawDocument { readers: Some(reader(&["user:a"])), ..text("a") },
        RawDocument { readers: Some(reader(&["user:a", "user:b"])), ..text("a") },
        RawDocument { vector: Some(vec![1.0]), ..text("a") },
        RawDocument { vector: Some(vec![1.0, 0.0]), ..text("a") },
        RawDocument { expires_at: Some(Timestamp::from_millis(1)), ..text("a") },
    ];
    let hashes: HashSet<_> = variants.iter().map(|v| identify(v, &[], &TestPseudonymiser(1)).1).collect();
    let ids: HashSet<_> = variants.iter().map(|v| identify(v, &[], &TestPseudonymiser(1)).0).collect();
    assert_eq!((hashes.len(), ids.len()), (variants.len(), variants.len()));
}

#[test]
fn debug_shows_no_text() {
    let raw = RawDocument { title: Some(Untrusted::new("secret title")), ..text("secret text") };
    assert!(!format!("{raw:?}").contains("secret"));
}
