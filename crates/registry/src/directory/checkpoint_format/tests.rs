use super::*;
use crate::{record::StoredApiKey, tests::name};
use access::KeyRecord;
use kernel::{Embedding, Incarnation, TenantId};
use proptest::prelude::*;

fn state(names: &[(u8, u32)]) -> DirectoryState {
    let mut state = DirectoryState::default();
    for (i, (kind, epoch)) in names.iter().enumerate() {
        let embedding = Embedding::Own { dimensions: 2 + u32::from(*kind) };
        let settings = Arc::new(NamespaceSettings { embedding, ..NamespaceSettings::default() });
        let bytes = vec![*kind; usize::from(*kind)].into();
        let uuid = NamespaceUuid::from_bytes([*kind; 16]);
        let keyspace = KeyspaceRecord { uuid, wrapped: Wrapped { epoch: *epoch, bytes } };
        let entry = NamespaceEntry { settings, created_at: Timestamp::from_millis(i64::from(*epoch)), keyspace };
        state.put(name(&format!("n{i}")), entry);
    }
    state
}

fn summary(state: &DirectoryState) -> Vec<(String, NamespaceSettings, Timestamp, KeyspaceRecord)> {
    let summary = state
        .namespaces
        .iter()
        .map(|(name, n)| (name.as_str().to_owned(), (*n.settings).clone(), n.created_at, n.keyspace.clone()));
    summary.collect()
}

proptest! {
    #[test]
    fn a_checkpoint_decodes_to_what_was_encoded(names in proptest::collection::vec((0u8..40, any::<u32>()), 0..60)) {
        let mut before = state(&names);
        before.pending_prefixes = vec!["ns/00/x/".to_owned()];
        let id = KeyId::parse("abcdefghijkl").unwrap();
        let (tenant, incarnation) = (TenantId::parse("t").unwrap(), Incarnation::from_bytes([7; 16]));
        let key = KeyRecord { id: id.clone(), tenant, incarnation, name: "k".into(), mac: [9; 32], scopes: vec![],
            principals: vec![], namespaces: vec![], created_at: Timestamp::from_millis(5), expires_at: None };
        before.keys.insert(id.clone(), StoredApiKey(Arc::new(key)));
        let bytes = encode(&before).unwrap();
        let after = decode(&bytes).unwrap();
        prop_assert_eq!(summary(&before), summary(&after));
        prop_assert_eq!(&before.pending_prefixes, &after.pending_prefixes);
        prop_assert_eq!(after.keys[&id].0.mac, [9; 32]);
        let rows: std::collections::HashSet<_> = after.namespaces.values().map(|n| Arc::as_ptr(&n.settings)).collect();
        let kinds: std::collections::HashSet<_> = names.iter().map(|(kind, _)| kind).collect();
        prop_assert!(rows.len() <= names.len() && rows.len() >= kinds.len());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>()) {
        drop(decode(&bytes));
        let whole = encode(&state(&[(1, 2), (3, 4)])).unwrap();
        prop_assert!(decode(&whole[..cut.index(whole.len())]).is_err());
        let mut changed = whole.to_vec();
        changed[flip.index(whole.len())] ^= 0x41;
        drop(decode(&changed));
    }
}

#[test]
fn another_version_is_refused_by_name() {
    let error = decode(br#"{"v":0}"#).err().unwrap();
    assert!(error.to_string().contains("version 123"), "{error}");
    assert!(matches!(decode(&[]), Err(Error::Malformed(_))));
}

#[test]
fn names_out_of_order_are_refused() {
    let whole = encode(&state(&[(1, 2), (1, 2)])).unwrap();
    let at = |text: &[u8]| whole.windows(text.len()).position(|w| w == text).unwrap();
    let mut swapped = whole.to_vec();
    swapped[at(b"n0") + 1] = b'1';
    assert!(decode(&swapped).is_err());
}
