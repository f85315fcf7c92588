//! Decoders as plain functions, for fuzzers (feature `fuzzing`) and for the test below. They are in no build that is
//! shipped.

use crate::{
    codec,
    control::ControlState,
    directory::{DirectoryEvent, DirectoryState},
    event_store::State,
    record::{KeyspaceRecord, NamespaceEntry, RegisteredKey, Wrapped},
};
use kernel::{FuzzTarget, Incarnation, KeyId, NamespaceName, NamespaceUuid, Timestamp};
use std::sync::Arc;

/// Every decoder of this crate.
pub const TARGETS: &[FuzzTarget] = &[
    ("registry_directory_event", directory_events, event::<DirectoryState>),
    ("registry_control_event", control_events, event::<ControlState>),
    ("registry_directory_checkpoint", directories, checkpoint::<DirectoryState>),
    ("registry_control_checkpoint", controls, checkpoint::<ControlState>),
];

fn event<S: State>(bytes: &[u8]) {
    let Ok(read) = codec::decode::<S::Event>(S::NAME, bytes) else { return };
    let once = codec::encode(&read).expect("what was just read");
    let again: S::Event = codec::decode(S::NAME, &once).expect("what was just written");
    assert_eq!(*codec::encode(&again).expect("what was just read"), *once);
    let mut state = S::default();
    state.apply(read);
    // Replay may see the same entry a second time.
    state.apply(again);
    checkpoint::<S>(&state.encode().expect("a state of events"));
}

fn checkpoint<S: State>(bytes: &[u8]) {
    let Ok(mut state) = S::decode(bytes) else { return };
    let once = state.encode().expect("what was just read");
    let again = S::decode(&once).expect("what was just written");
    assert_eq!((again.size(), &*again.encode().expect("what was just read")), (state.size(), &*once));
    state.apply(S::barrier());
}

fn entry(n: u8) -> NamespaceEntry {
    let wrapped = Wrapped { epoch: n.into(), bytes: vec![n; 60].into() };
    let keyspace = KeyspaceRecord { uuid: NamespaceUuid::from_bytes([n; 16]), wrapped };
    NamespaceEntry { settings: Arc::default(), created_at: Timestamp::from_millis(n.into()), keyspace }
}

fn puts() -> Vec<DirectoryEvent> {
    let names = ["docs", "notes", "z"].iter().zip(1u8..);
    let put = |(name, n): (&&str, u8)| {
        NamespaceName::parse(name).ok().map(|name| DirectoryEvent::NamespacePut { name, entry: entry(n) })
    };
    names.filter_map(put).collect()
}

fn directory_events() -> Vec<Vec<u8>> {
    let plain = |body: &str| format!(r#"{{"v":0,"body":{body}}}"#).into_bytes();
    let mut all: Vec<_> = puts().iter().filter_map(|e| codec::encode(e).ok()).map(|b| b.to_vec()).collect();
    all.push(plain(r#"{"namespace_dropped":{"name":"docs","prefix":"ns/00/x/"}}"#));
    all.push(plain(r#"{"rewrapped":[{"name":"docs","wrapped":{"epoch":4294967295,"bytes":"AAAA"}}]}"#));
    all.push(plain(r#""barrier""#));
    all
}

fn directories() -> Vec<Vec<u8>> {
    let mut state = DirectoryState::default();
    puts().into_iter().for_each(|event| state.apply(event));
    [DirectoryState::default(), state].iter().filter_map(|s| s.encode().ok()).map(|b| b.to_vec()).collect()
}

fn control_events() -> Vec<Vec<u8>> {
    let plain = |body: &str| format!(r#"{{"v":0,"body":{body}}}"#).into_bytes();
    let id = "01890000-0000-7000-8000-000000000001";
    let end =
        r#"{"status":"failed","at":5,"result":{"a":[1]},"error":{"code":"internal","message":"m"},"progress":[1,2]}"#;
    let keyspace = r#"{"uuid":"01890000-0000-7000-8000-000000000001","wrapped":{"epoch":1,"bytes":"AAAA"}}"#;
    vec![
        plain(&format!(
            r#"{{"tenant_created":{{"id":"acme","incarnation":"{id}","life":"active","display_name":null,"governance_class":"c","quotas":{{"documents":9,"bytes":null,"namespaces":null,"requests_per_minute":null,"tokens_per_minute":18446744073709551615}},"created_at":7,"rotate_days":null,"keys":{{"epochs":[{{"provider":"local","key":"root","made":false,"wrapped":{{"epoch":1,"bytes":"AAAA"}},"created_at":3}}]}},"directory":{keyspace},"audit":{keyspace},"pending_prefixes":["ns/00/x/"],"shredding":null}}}}"#
        )),
        plain(
            r#"{"tenant_deleting":{"id":"acme","prefixes":["ns/00/x/"],"shredding":{"begun_at":"x","directory_opened":true,"keys":[],"canary":{"keyspace":"dir/00/x/","object":"01890000-0000-4000-8000-000000000001","sealed":"AAAA","sealed_sha256":"00","plain_sha256":"00","opened_before":true,"before":"opened"},"samples":[{"object":"ns/00/x/log/1","bytes":7,"sha256":"00","kind":"log","opened_before":false,"before":"not"}]}}}"#,
        ),
        plain(
            r#"{"system_rotation_begun":{"reencrypt":true,"begun_at":5,"root":1,"epoch":1,"provider":"local","key":"root","destroyed":[{"of":"control keyspace","provider":"local","key":"root","wrapped_sha256":"00"}]}}"#,
        ),
        plain(r#"{"signer_rewrapped":{"epoch":2,"bytes":"AAAA"}}"#),
        plain(
            r#"{"system_rotated":{"certificate":{"tenant":"(server)","incarnation":"x","kind":"server.rotated","at":"x","note":"n"}}}"#,
        ),
        plain(&format!(r#"{{"operation_ended":{{"id":"{id}","end":{end}}}}}"#)),
        plain(r#"{"keys_unregistered":{"ids":["abcdefghijkl","mnopqrstuvwx"]}}"#),
        plain(r#""barrier""#),
    ]
}

fn controls() -> Vec<Vec<u8>> {
    let mut state = ControlState::default();
    for event in control_events().iter().filter_map(|bytes| codec::decode(ControlState::NAME, bytes).ok()) {
        state.apply(event);
    }
    if let Ok(id) = KeyId::parse("abcdefghijkl") {
        let incarnation = Incarnation::from_bytes([7; 16]);
        state.keys.insert(id, RegisteredKey { incarnation, mac: [9; 32], expires_at: None });
    }
    [ControlState::default(), state].iter().filter_map(|s| s.encode().ok()).map(|b| b.to_vec()).collect()
}

#[cfg(test)]
mod tests {
    #[global_allocator]
    static ALLOCATOR: testkit::Largest = testkit::Largest;

    #[test]
    fn no_bytes_break_a_decoder() {
        let read = |bytes: &Vec<u8>| super::codec::decode::<crate::control::ControlEvent>("control", bytes).is_ok();
        assert!(super::control_events().iter().all(read), "the seeds are entries");
        let read = |bytes: &Vec<u8>| super::codec::decode::<super::DirectoryEvent>("directory", bytes).is_ok();
        assert!(super::directory_events().iter().all(read), "the seeds are entries");
        testkit::fuzz(super::TARGETS);
    }
}
