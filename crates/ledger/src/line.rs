//! A line of the chain: canonical JSON with OCSF's names, its number, and the fingerprint of the
//! line before it.

use crate::deed::Draft;
use aws_lc_rs::digest::{SHA256, digest};
use kernel::{CommitNo, DocumentId, NamespaceUuid, Principal, Pseudonymiser, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value, json};
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
    pub(crate) commit: Option<(NamespaceUuid, CommitNo)>,
}

/// Makes the line: its canonical bytes and its fingerprint.
pub(crate) fn write(draft: &Draft, place: &Place<'_>) -> (Vec<u8>, Fingerprint) {
    let mut line = canonical(&body(draft, place));
    let fingerprint = sha256(&line);
    // The member that follows it in the order of names. Quotes in values are escaped: only a name can be this.
    let at = line.windows(NEXT.len()).position(|bytes| bytes == NEXT).expect("every line has the member");
    line.splice(at..at, format!("\"fingerprint\":\"{}\",", hex(&fingerprint)).into_bytes());
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
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn body(draft: &Draft, place: &Place<'_>) -> Value {
    let home = place.home;
    let (class, activity, name) = class(&draft.operation);
    let mut line = json!({
        "category_uid": class / 1000,
        "class_uid": class,
        "type_uid": class * 100 + activity,
        "activity_id": activity,
        "activity_name": name,
        "severity_id": 1,
        "time": draft.time,
        "time_dt": Timestamp::from_millis(draft.time).to_string(),
        "metadata": { "version": "1.8.0", "product": { "name": "ringfence" }, "sequence": place.seq },
        "actor": { "user": { "uid": draft.actor.uid, "type": draft.actor.kind } },
        "api": { "operation": draft.operation },
        "status": if draft.failure.is_some() { "Failure" } else { "Success" },
        "status_id": if draft.failure.is_some() { 2 } else { 1 },
        "record_integrity": {
            "chain_uid": home.uuid().to_string(), "sequence": place.seq, "prev_hash": hex(&place.prev),
        },
    });
    if !draft.request.is_empty() {
        line["api"]["request"] = json!({ "uid": draft.request });
    }
    if let Some(policy) = &draft.policy {
        line["actor"]["authorizations"] = json!([{ "policy": { "name": policy } }]);
    }
    if let Some(code) = &draft.failure {
        line["status_code"] = json!(code);
    }
    if let Some(trace) = &draft.trace {
        line["metadata"]["correlation_uid"] = json!(trace);
    }
    if let Some(route) = &draft.route {
        line["http_request"] = json!({ "url": { "path": route } });
    }
    if !draft.documents.is_empty() {
        let resource = |id: &String| json!({ "type": "document", "uid": pseudonym(home, b"document", id) });
        line["resources"] = draft.documents.iter().map(resource).collect();
    }
    line["unmapped"] = unmapped(draft, place);
    line
}

fn unmapped(draft: &Draft, place: &Place<'_>) -> Value {
    let mut out = Map::new();
    let counts: Map<String, Value> = draft.counts.iter().map(|(name, count)| (name.clone(), json!(count))).collect();
    out.insert("counts".to_owned(), counts.into());
    if let Some(name) = &draft.namespace {
        out.insert("namespace".to_owned(), pseudonym(place.home, b"namespace", name).into());
    }
    if !draft.principals.is_empty() {
        let names = draft.principals.iter().map(|p| pseudonym(place.home, b"principal", p)).collect::<Vec<_>>();
        out.insert("principals".to_owned(), names.into());
    }
    if let Some(tenant) = &draft.tenant {
        out.insert("tenant".to_owned(), tenant.clone().into());
    }
    if let Some((namespace, commit)) = place.commit {
        out.insert("commit".to_owned(), json!({ "log": namespace.to_string(), "number": commit.0 }));
    }
    out.into()
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
            out.push(b'{');
            for (i, (key, member)) in members.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                plain(key, out);
                out.push(b':');
                put(member, out);
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                put(item, out);
            }
            out.push(b']');
        }
        scalar => plain(scalar, out),
    }
}

fn plain(value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("a buffer takes every string and number");
}

/// Before it stands the fingerprint.
const NEXT: &[u8] = b"\"prev_hash\":";
