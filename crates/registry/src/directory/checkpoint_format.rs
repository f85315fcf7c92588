//! The body of a directory's checkpoint: a table of settings, then the namespaces in order of their names, in binary. A
//! tenant may have a hundred thousand namespaces, and its first request after a start waits for this to be decoded. What
//! is little follows as JSON: API keys, prefixes whose objects must still be deleted, and the number of keys that each
//! key epoch has wrapped.
//!
//! The journal has authenticated the bytes that are decoded here, so the checks find faults of ours, not tampering.
//!
//! The layout is in `schemas/registry.md`.

use super::DirectoryState;
use crate::{
    Error, Result,
    codec::{self, SettingsForm, keyed},
    event_store::State,
    record::{KeyspaceRecord, NamespaceEntry, StoredApiKey, Wrapped},
};
use kernel::{ByteReader, KeyId, MalformedBytes, NamespaceName, NamespaceSettings, NamespaceUuid, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use zeroize::Zeroizing;

/// The part of a checkpoint that is JSON.
#[derive(Serialize, Deserialize)]
struct CheckpointTail {
    #[serde(with = "keyed")]
    keys: BTreeMap<KeyId, StoredApiKey>,
    pending_prefixes: Vec<String>,
    /// Number of keys that each key epoch has wrapped so far, those of deleted namespaces included.
    wraps: BTreeMap<u32, u64>,
}

/// One row of the table of settings.
#[derive(Serialize, Deserialize)]
struct SettingsRow(#[serde(with = "SettingsForm")] NamespaceSettings);

/// Encodes the whole state.
pub(super) fn encode(state: &DirectoryState) -> Result<Zeroizing<Vec<u8>>> {
    let mut table: Vec<&NamespaceSettings> = Vec::new();
    let mut known: HashMap<*const NamespaceSettings, u32> = HashMap::new();
    // An estimate for each namespace: 35 bytes, a name and a wrapped key.
    let mut body = Zeroizing::new(Vec::with_capacity(state.namespaces.len() * 192));
    for (name, entry) in &state.namespaces {
        // Entries that share an allocation share a row; equal settings may still have several rows.
        let row = *known.entry(Arc::as_ptr(&entry.settings)).or_insert_with(|| {
            table.push(&entry.settings);
            to_u32(table.len() - 1)
        });
        let (text, wrapped) = (name.as_str().as_bytes(), &entry.keyspace.wrapped);
        body.push(u8::try_from(text.len()).map_err(|_| Error::Damaged("a namespace's name is too long"))?);
        body.extend_from_slice(text);
        body.extend_from_slice(&row.to_le_bytes());
        body.extend_from_slice(&entry.created_at.as_millis().to_le_bytes());
        body.extend_from_slice(entry.keyspace.uuid.as_bytes());
        body.extend_from_slice(&wrapped.epoch.to_le_bytes());
        let length = u16::try_from(wrapped.bytes.len()).map_err(|_| Error::Damaged("a wrapped key is too long"))?;
        body.extend_from_slice(&length.to_le_bytes());
        body.extend_from_slice(&wrapped.bytes);
    }
    let rows: Vec<SettingsRow> = table.into_iter().map(|settings| SettingsRow(settings.clone())).collect();
    let table = codec::encode(&rows)?;
    let rest = codec::encode(&CheckpointTail {
        keys: state.keys.clone(),
        pending_prefixes: state.pending_prefixes.clone(),
        wraps: state.wraps.clone(),
    })?;
    let mut out = Zeroizing::new(Vec::with_capacity(9 + table.len() + body.len() + rest.len()));
    out.push(VERSION);
    out.extend_from_slice(&to_u32(table.len()).to_le_bytes());
    out.extend_from_slice(&table);
    out.extend_from_slice(&to_u32(state.namespaces.len()).to_le_bytes());
    out.extend_from_slice(&body);
    out.extend_from_slice(&rest);
    Ok(out)
}

/// Decodes the output of [`encode`].
///
/// # Errors
/// Another version; bytes that are incomplete; names that are not in strictly ascending order.
pub(super) fn decode(bytes: &[u8]) -> Result<DirectoryState> {
    let mut r = ByteReader::new(bytes, "a directory's checkpoint");
    let version = r.u8()?;
    if version != VERSION {
        return Err(Error::Version { what: DirectoryState::NAME, found: u32::from(version) });
    }
    let length = r.u32()? as usize;
    let rows: Vec<SettingsRow> = codec::decode(DirectoryState::NAME, r.take(length)?)?;
    let table: Vec<_> = rows.into_iter().map(|row| Arc::new(row.0)).collect();
    let mut namespaces: Vec<(NamespaceName, NamespaceEntry)> = Vec::new();
    for _ in 0..r.u32()? {
        let next = namespace(&mut r, &table)?;
        if namespaces.last().is_some_and(|(name, _)| *name >= next.0) {
            return Err(r.malformed().into());
        }
        namespaces.push(next);
    }
    let rest: CheckpointTail = codec::decode(DirectoryState::NAME, r.rest())?;
    let recent_settings = table.into_iter().take(super::RECENT_SETTINGS_MAX).collect();
    // The list is sorted, so that the map is built in one pass, with full nodes.
    let namespaces = namespaces.into_iter().collect();
    let CheckpointTail { keys, pending_prefixes, wraps } = rest;
    Ok(DirectoryState { namespaces, keys, pending_prefixes, wraps, purge_due: false, recent_settings })
}

fn namespace(
    r: &mut ByteReader<'_>,
    table: &[Arc<NamespaceSettings>],
) -> Result<(NamespaceName, NamespaceEntry), MalformedBytes> {
    let length = usize::from(r.u8()?);
    let name = std::str::from_utf8(r.take(length)?).map_err(|_| r.malformed())?;
    let name = NamespaceName::parse(name).map_err(|_| r.malformed())?;
    let settings = table.get(r.u32()? as usize).ok_or_else(|| r.malformed())?.clone();
    let created_at = Timestamp::from_millis(r.i64()?);
    let uuid = NamespaceUuid::from_bytes(r.array()?);
    let epoch = r.u32()?;
    let length = usize::from(r.u16()?);
    let wrapped = Wrapped { epoch, bytes: r.take(length)?.into() };
    Ok((name, NamespaceEntry { settings, created_at, keyspace: KeyspaceRecord { uuid, wrapped } }))
}

fn to_u32(count: usize) -> u32 {
    u32::try_from(count).expect("counts and the table's length are far below 2^32")
}

/// Format version, the first byte. It must never be 123, with which JSON begins.
const VERSION: u8 = 0;

#[cfg(test)]
mod tests;
