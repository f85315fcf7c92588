//! A line of the chain: canonical JSON with OCSF's names, its number, and the fingerprint of the
//! line before it.

use crate::deed::Draft;
use aws_lc_rs::digest::{SHA256, digest};
use kernel::{AuditMark, DocumentId, NamespaceName, NamespaceUuid, Principal, Pseudonymiser, Timestamp};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use vault::Home;

/// SHA-256 of a line's canonical bytes.
pub(crate) type Fingerprint = [u8; 32];

/// Before the first line.
pub(crate) const GENESIS: Fingerprint = [0; 32];

/// Where a line stands.
pub(crate) struct Place<'a> {
    pub(crate) home: &'a Home,
    pub(crate) seq: u64,
    pub(crate) prev: Fingerprint,
    /// The commit that carried it, for a mutation's line.
    pub(crate) commit: Option<(NamespaceUuid, AuditMark)>,
}

/// Makes the line: its canonical bytes and its fingerprint.
pub(crate) fn write(draft: &Draft, place: &Place<'_>) -> (Vec<u8>, Fingerprint) {
    let (mut line, seam) = body(draft, place);
    let fingerprint = sha256(&line);
    let mut member = b",\"fingerprint\":".to_vec();
    quoted_hex(&mut member, &fingerprint);
    line.splice(seam..seam, member);
    (line, fingerprint)
}

/// The fingerprint that a line without its own should carry.
pub(crate) fn fingerprint(line: &Value) -> Fingerprint {
    sha256(&canonical(line))
}

fn sha256(bytes: &[u8]) -> Fingerprint {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// The keyed name under which a document stands in this tenant's lines.
pub(crate) fn document(home: &Home, id: &DocumentId) -> String {
    pseudonym(home, b"document", id.as_str())
}

/// The same for a namespace.
pub(crate) fn namespace(home: &Home, name: &NamespaceName) -> String {
    pseudonym(home, b"namespace", name.as_str())
}

/// The same for a principal.
pub(crate) fn principal(home: &Home, principal: &Principal) -> String {
    pseudonym(home, b"principal", principal.as_str())
}

/// RFC 8785 for what stands in lines: keys sorted, no blanks, whole numbers only.
pub(crate) fn canonical(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    put(value, &mut out);
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

/// The line without its fingerprint, canonical: members in the order of their names. Returns where the fingerprint's
/// member belongs.
fn body(draft: &Draft, place: &Place<'_>) -> (Vec<u8>, usize) {
    let home = place.home;
    let (class, activity, name) = class(&draft.operation);
    let mut out = Vec::with_capacity(LINE_BYTES + 64 * draft.documents.len());
    let mut seam = 0;
    object(&mut out, |line| {
        line.number("activity_id", activity);
        line.text("activity_name", name);
        line.object("actor", |actor| {
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
        line.object("api", |api| {
            api.text("operation", &draft.operation);
            if !draft.request.is_empty() {
                api.object("request", |request| request.text("uid", &draft.request));
            }
        });
        line.number("category_uid", class / 1000);
        line.number("class_uid", class);
        if let Some(route) = &draft.route {
            line.object("http_request", |http| http.object("url", |url| url.text("path", route)));
        }
        line.object("metadata", |metadata| {
            if let Some(trace) = &draft.trace {
                metadata.text("correlation_uid", trace);
            }
            metadata.object("product", |product| product.text("name", "ringfence"));
            metadata.number("sequence", place.seq);
            metadata.text("version", "1.8.0");
        });
        line.object("record_integrity", |integrity| {
            integrity.text("chain_uid", &home.uuid().to_string());
            seam = integrity.seam();
            integrity.hex("prev_hash", &place.prev);
            integrity.number("sequence", place.seq);
        });
        if !draft.documents.is_empty() {
            line.list("resources", &draft.documents, |out, id| {
                object(out, |resource| {
                    resource.text("type", "document");
                    resource.hex("uid", &home.pseudonym(&[b"document", id.as_bytes()]));
                });
            });
        }
        line.number("severity_id", 1);
        line.text("status", if draft.failure.is_some() { "Failure" } else { "Success" });
        if let Some(code) = &draft.failure {
            line.text("status_code", code);
        }
        line.number("status_id", if draft.failure.is_some() { 2 } else { 1 });
        line.number("time", draft.time);
        line.text("time_dt", &Timestamp::from_millis(draft.time).to_string());
        line.number("type_uid", class * 100 + activity);
        line.object("unmapped", |unmapped| self::unmapped(unmapped, draft, place));
    });
    (out, seam)
}

fn unmapped(out: &mut Members<'_>, draft: &Draft, place: &Place<'_>) {
    if let Some(key) = &draft.api_key {
        out.object("api_key", |o| {
            if let Some(at) = key.expires_at {
                o.text("expires_dt", &Timestamp::from_millis(at).to_string());
            }
            o.list("scopes", &key.scopes, |out, scope| plain(scope, out));
            o.text("uid", &key.id);
        });
    }
    if let Some((namespace, mark)) = place.commit {
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
        out.hex("namespace", &place.home.pseudonym(&[b"namespace", name.as_bytes()]));
    }
    if !draft.namespaces.is_empty() {
        out.list("namespaces", &draft.namespaces, |out, name| {
            quoted_hex(out, &place.home.pseudonym(&[b"namespace", name.as_bytes()]));
        });
    }
    if let Some(note) = &draft.note {
        out.hex("note", &place.home.pseudonym(&[b"note", note.as_bytes()]));
    }
    if !draft.principals.is_empty() {
        out.list("principals", &draft.principals, |out, name| {
            quoted_hex(out, &place.home.pseudonym(&[b"principal", name.as_bytes()]));
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

/// Members of an object that is being written. They must come in the order of their names; a test holds every line
/// against [`canonical`].
struct Members<'a> {
    out: &'a mut Vec<u8>,
    any: bool,
}

fn object(out: &mut Vec<u8>, write: impl FnOnce(&mut Members<'_>)) {
    out.push(b'{');
    write(&mut Members { out, any: false });
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

impl Members<'_> {
    fn name(&mut self, name: &str) -> &mut Vec<u8> {
        if self.any {
            self.out.push(b',');
        }
        self.any = true;
        plain(name, self.out);
        self.out.push(b':');
        self.out
    }

    fn text(&mut self, name: &str, value: &str) {
        plain(value, self.name(name));
    }

    fn number(&mut self, name: &str, value: impl Serialize) {
        plain(&value, self.name(name));
    }

    fn hex(&mut self, name: &str, bytes: &[u8]) {
        quoted_hex(self.name(name), bytes);
    }

    fn object(&mut self, name: &str, write: impl FnOnce(&mut Members<'_>)) {
        object(self.name(name), write);
    }

    fn list<T>(&mut self, name: &str, items: impl IntoIterator<Item = T>, write: impl Fn(&mut Vec<u8>, T)) {
        list(self.name(name), items, write);
    }

    /// Where the next member will begin, with a comma before it.
    fn seam(&self) -> usize {
        self.out.len()
    }
}

fn pseudonym(home: &Home, kind: &[u8], text: &str) -> String {
    hex(&home.pseudonym(&[kind, text.as_bytes()]))
}

/// OCSF class, activity and its name: 6005 Datastore Activity, 6003 API Activity, 3002 Authentication.
fn class(operation: &str) -> (u32, u32, &'static str) {
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

fn put(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().collect();
            // RFC 8785 sorts by UTF-16 units; every key that we write is ASCII, where all orders agree.
            members.sort_unstable_by_key(|(key, _)| *key);
            object(out, |object| members.into_iter().for_each(|(key, member)| put(member, object.name(key))));
        }
        Value::Array(items) => list(out, items, |out, item| put(item, out)),
        scalar => plain(scalar, out),
    }
}

fn plain(value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("a buffer takes every string and number");
}

/// What a line takes beside its documents.
const LINE_BYTES: usize = 1_024;

#[cfg(test)]
mod tests;
