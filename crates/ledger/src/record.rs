//! Encoding of a record: canonical JSON with OCSF's names, the record's sequence number, and the fingerprint of its
//! predecessor.

use crate::event::PendingRecord;
use aws_lc_rs::digest::{SHA256, digest};
use kernel::{AuditPosition, DocumentId, NamespaceName, NamespaceUuid, Principal, Pseudonymiser, Timestamp};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use vault::Keyspace;

/// SHA-256 of a record's canonical bytes.
pub(crate) type Fingerprint = [u8; 32];

/// The predecessor's fingerprint in the first record.
pub(crate) const GENESIS: Fingerprint = [0; 32];

/// Position of a record in its chain.
pub(crate) struct ChainPosition<'a> {
    pub(crate) keyspace: &'a Keyspace,
    pub(crate) seq: u64,
    pub(crate) prev: Fingerprint,
    /// The commit that carried the record, for a mutation.
    pub(crate) commit: Option<(NamespaceUuid, AuditPosition)>,
}

/// Encodes the record: its canonical bytes and its fingerprint.
pub(crate) fn write(draft: &PendingRecord, position: &ChainPosition<'_>) -> (Vec<u8>, Fingerprint) {
    let (mut record, fingerprint_at) = body(draft, position);
    let fingerprint = sha256(&record);
    let mut member = b",\"fingerprint\":".to_vec();
    quoted_hex(&mut member, &fingerprint);
    record.splice(fingerprint_at..fingerprint_at, member);
    (record, fingerprint)
}

/// Computes the fingerprint of a record whose own fingerprint member was removed.
pub(crate) fn fingerprint(record: &Value) -> Fingerprint {
    sha256(&canonical(record))
}

fn sha256(bytes: &[u8]) -> Fingerprint {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// Pseudonym of a document in this tenant's records.
pub(crate) fn document(keyspace: &Keyspace, id: &DocumentId) -> String {
    pseudonym(keyspace, b"document", id.as_str())
}

/// Pseudonym of a namespace in this tenant's records.
pub(crate) fn namespace(keyspace: &Keyspace, name: &NamespaceName) -> String {
    pseudonym(keyspace, b"namespace", name.as_str())
}

/// Pseudonym of a principal in this tenant's records.
pub(crate) fn principal(keyspace: &Keyspace, principal: &Principal) -> String {
    pseudonym(keyspace, b"principal", principal.as_str())
}

/// RFC 8785 for the values that occur in records: keys sorted, no blanks, whole numbers only.
pub(crate) fn canonical(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write_canonical(value, &mut out);
    out
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    digits(bytes).map(char::from).collect()
}

fn digits(bytes: &[u8]) -> impl Iterator<Item = u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
}

/// Encodes the record without its fingerprint, canonically: members in the order of their names. Also returns the
/// offset where the fingerprint member belongs.
fn body(draft: &PendingRecord, position: &ChainPosition<'_>) -> (Vec<u8>, usize) {
    let keyspace = position.keyspace;
    let (class, activity, name) = ocsf_class(&draft.operation);
    let mut out = Vec::with_capacity(RECORD_BASE_BYTES + 64 * draft.documents.len());
    let mut fingerprint_at = 0;
    object(&mut out, |record| {
        record.number("activity_id", activity);
        record.text("activity_name", name);
        record.object("actor", |actor| {
            if let Some(policy) = &draft.policy {
                actor.list("authorizations", [policy], |out, policy| {
                    object(out, |one| one.object("policy", |o| o.text("name", policy)));
                });
            }
            actor.object("user", |user| {
                user.text("type", &draft.actor.kind);
                user.text("uid", &draft.actor.uid);
            });
        });
        record.object("api", |api| {
            api.text("operation", &draft.operation);
            if !draft.request.is_empty() {
                api.object("request", |request| request.text("uid", &draft.request));
            }
        });
        record.number("category_uid", class / 1000);
        record.number("class_uid", class);
        if let Some(route) = &draft.route {
            record.object("http_request", |http| http.object("url", |url| url.text("path", route)));
        }
        record.object("metadata", |metadata| {
            if let Some(trace) = &draft.trace {
                metadata.text("correlation_uid", trace);
            }
            metadata.object("product", |product| product.text("name", "ringfence"));
            metadata.number("sequence", position.seq);
            metadata.text("version", "1.8.0");
        });
        record.object("record_integrity", |integrity| {
            integrity.text("chain_uid", &keyspace.uuid().to_string());
            fingerprint_at = integrity.next_member_at();
            integrity.hex("prev_hash", &position.prev);
            integrity.number("sequence", position.seq);
        });
        if !draft.documents.is_empty() {
            record.list("resources", &draft.documents, |out, id| {
                object(out, |resource| {
                    resource.text("type", "document");
                    resource.hex("uid", &keyspace.pseudonym(&[b"document", id.as_bytes()]));
                });
            });
        }
        record.number("severity_id", 1);
        record.text("status", if draft.failure.is_some() { "Failure" } else { "Success" });
        if let Some(code) = &draft.failure {
            record.text("status_code", code);
        }
        record.number("status_id", if draft.failure.is_some() { 2 } else { 1 });
        record.number("time", draft.time);
        record.text("time_dt", &Timestamp::from_millis(draft.time).to_string());
        record.number("type_uid", class * 100 + activity);
        record.object("unmapped", |unmapped| self::unmapped(unmapped, draft, position));
    });
    (out, fingerprint_at)
}

fn unmapped(out: &mut ObjectWriter<'_>, draft: &PendingRecord, position: &ChainPosition<'_>) {
    if let Some(key) = &draft.api_key {
        out.object("api_key", |o| {
            if let Some(at) = key.expires_at {
                o.text("expires_dt", &Timestamp::from_millis(at).to_string());
            }
            o.list("scopes", &key.scopes, |out, scope| write_scalar(scope, out));
            o.text("uid", &key.id);
        });
    }
    if let Some((namespace, mark)) = position.commit {
        out.object("commit", |o| {
            o.number("bytes", mark.bytes);
            o.hex("digest", &mark.digest);
            o.number("documents", mark.documents);
            o.text("log", &namespace.to_string());
            o.number("number", mark.commit.0);
        });
    }
    let counts: BTreeMap<&str, u64> = draft.counts.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    out.object("counts", |o| counts.into_iter().for_each(|(name, count)| o.number(name, count)));
    if let Some(log) = &draft.ended {
        out.text("ended", log);
    }
    if let Some(name) = &draft.namespace {
        out.hex("namespace", &position.keyspace.pseudonym(&[b"namespace", name.as_bytes()]));
    }
    if !draft.namespaces.is_empty() {
        out.list("namespaces", &draft.namespaces, |out, name| {
            quoted_hex(out, &position.keyspace.pseudonym(&[b"namespace", name.as_bytes()]));
        });
    }
    if let Some(note) = &draft.note {
        out.hex("note", &position.keyspace.pseudonym(&[b"note", note.as_bytes()]));
    }
    if !draft.principals.is_empty() {
        out.list("principals", &draft.principals, |out, name| {
            quoted_hex(out, &position.keyspace.pseudonym(&[b"principal", name.as_bytes()]));
        });
    }
    if let Some(rollback) = &draft.rollback {
        out.object("rollback", |o| {
            o.number("found", rollback.found);
            o.text("log", &rollback.log);
            o.number("recorded", rollback.recorded);
        });
    }
    if let Some(tenant) = &draft.tenant {
        out.text("tenant", tenant);
    }
}

/// Writes the members of a JSON object. The caller must write them in the order of their names; a test compares every
/// record with [`canonical`].
struct ObjectWriter<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

fn object(out: &mut Vec<u8>, write: impl FnOnce(&mut ObjectWriter<'_>)) {
    out.push(b'{');
    write(&mut ObjectWriter { out, is_empty: true });
    out.push(b'}');
}

fn list<T>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>, write: impl Fn(&mut Vec<u8>, T)) {
    out.push(b'[');
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

fn quoted_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    out.extend(digits(bytes));
    out.push(b'"');
}

impl ObjectWriter<'_> {
    fn name(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.is_empty {
            self.out.push(b',');
        }
        self.is_empty = false;
        write_scalar(name, self.out);
        self.out.push(b':');
        self.out
    }

    fn text(&mut self, name: &str, value: &str) {
        write_scalar(value, self.name(name));
    }

    fn number(&mut self, name: &str, value: impl Serialize) {
        write_scalar(&value, self.name(name));
    }

    fn hex(&mut self, name: &str, bytes: &[u8]) {
        quoted_hex(self.name(name), bytes);
    }

    fn object(&mut self, name: &str, write: impl FnOnce(&mut ObjectWriter<'_>)) {
        object(self.name(name), write);
    }

    fn list<T>(&mut self, name: &str, items: impl IntoIterator<Item = T>, write: impl Fn(&mut Vec<u8>, T)) {
        list(self.name(name), items, write);
    }

    /// Offset where the next member will begin, with a comma before it.
    fn next_member_at(&self) -> usize {
        self.out.len()
    }
}

fn pseudonym(keyspace: &Keyspace, kind: &[u8], text: &str) -> String {
    hex(&keyspace.pseudonym(&[kind, text.as_bytes()]))
}

/// OCSF class, activity and the activity's name: 6005 Datastore Activity, 6003 API Activity, 3002 Authentication.
fn ocsf_class(operation: &str) -> (u32, u32, &'static str) {
    match operation {
        "search" => (6005, 4, "Query"),
        "document.read" => (6005, 1, "Read"),
        "document.upsert" => (6005, 5, "Write"),
        "document.patch" | "document.review" => (6005, 2, "Update"),
        "document.delete" => (6005, 7, "Delete"),
        crate::usage::REFUSED => (3002, 1, "Logon"),
        "namespace.read" | "audit.read" | "whoami" | "operation.read" => (6003, 2, "Read"),
        _ => match operation.rsplit('.').next() {
            Some("create") => (6003, 1, "Create"),
            Some("manage" | "update" | "suspend" | "resume" | "rotate") => (6003, 3, "Update"),
            Some("delete" | "erase" | "revoke") => (6003, 4, "Delete"),
            _ => (6003, 99, "Other"),
        },
    }
}

fn write_canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().collect();
            // RFC 8785 sorts by UTF-16 units; every key that we write is ASCII, where all orders agree.
            members.sort_unstable_by_key(|(key, _)| *key);
            object(out, |object| {
                members.into_iter().for_each(|(key, member)| write_canonical(member, object.name(key)))
            });
        }
        Value::Array(items) => list(out, items, |out, item| write_canonical(item, out)),
        scalar => write_scalar(scalar, out),
    }
}

fn write_scalar(value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("a buffer takes every string and number");
}

/// Typical size in bytes of a record without its documents.
const RECORD_BASE_BYTES: usize = 1_024;

#[cfg(test)]
mod tests;
