//! The body of a directory's checkpoint: a table of settings, then the namespaces in order of their names, in binary. A
//! tenant may have a hundred thousand namespaces, and its first request after a start waits for this to be decoded. API
//! keys and prefixes to be removed are few and follow as JSON.
//!
//! The layout is in `schemas/registry.md`.

use super::DirectoryState;
use crate::{
    Error, Result,
    codec::{self, SettingsForm, keyed},
    event_store::State,
    record::{KeyspaceRecord, NamespaceEntry, StoredApiKey, Wrapped},
};
use kernel::{KeyId, NamespaceName, NamespaceSettings, NamespaceUuid, Timestamp};
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
    wraps: BTreeMap<u32, u64>,
}

/// One row of the table of settings.
#[derive(Serialize, Deserialize)]
struct SettingsRow(#[serde(with = "SettingsForm")] NamespaceSettings);

/// Encodes the whole state.
pub(super) fn encode(state: &DirectoryState) -> Result<Zeroizing<Vec<u8>>> {
    let mut table: Vec<&NamespaceSettings> = Vec::new();
    let mut known: HashMap<*const NamespaceSettings, u32> = HashMap::new();
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
    let mut out = Zeroizing::new(Vec::with_capacity(13 + table.len() + body.len() + rest.len()));
    out.push(VERSION);
    out.extend_from_slice(&to_u32(table.len()).to_le_bytes());
    out.extend_from_slice(&table);
    out.extend_from_slice(&to_u32(state.namespaces.len()).to_le_bytes());
    out.extend_from_slice(&body);
    out.extend_from_slice(&rest);
    Ok(out)
}

/// Decodes the output of [`encode`]. Refuses bytes that are incomplete or out of order.
pub(super) fn decode(bytes: &[u8]) -> Result<DirectoryState> {
    let (version, mut bytes) = bytes.split_first().ok_or(MALFORMED)?;
    if *version != VERSION {
        return Err(Error::Version { what: DirectoryState::NAME, found: u32::from(*version) });
    }
    let bytes = &mut bytes;
    let length = u32::from_le_bytes(take(bytes)?);
    let rows: Vec<SettingsRow> = codec::decode(DirectoryState::NAME, take_slice(bytes, length as usize)?)?;
    let table: Vec<_> = rows.into_iter().map(|row| Arc::new(row.0)).collect();
    let mut namespaces: Vec<(NamespaceName, NamespaceEntry)> = Vec::new();
    for _ in 0..u32::from_le_bytes(take(bytes)?) {
        let next = namespace(bytes, &table)?;
        if namespaces.last().is_some_and(|(name, _)| *name >= next.0) {
            return Err(MALFORMED);
        }
        namespaces.push(next);
    }
    let rest: CheckpointTail = codec::decode(DirectoryState::NAME, bytes)?;
    let recent_settings = table.into_iter().take(super::RECENT_SETTINGS_MAX).collect();
    // The list is sorted already, so the map is built in one pass and without gaps.
    let namespaces = namespaces.into_iter().collect();
    let CheckpointTail { keys, pending_prefixes, wraps } = rest;
    Ok(DirectoryState { namespaces, keys, pending_prefixes, wraps, purge_due: false, recent_settings })
}

fn namespace(bytes: &mut &[u8], table: &[Arc<NamespaceSettings>]) -> Result<(NamespaceName, NamespaceEntry)> {
    let [length] = take(bytes)?;
    let name = std::str::from_utf8(take_slice(bytes, usize::from(length))?).map_err(|_| MALFORMED)?;
    let name = NamespaceName::parse(name).map_err(|_| MALFORMED)?;
    let settings = table.get(u32::from_le_bytes(take(bytes)?) as usize).ok_or(MALFORMED)?.clone();
    let created_at = Timestamp::from_millis(i64::from_le_bytes(take(bytes)?));
    let uuid = NamespaceUuid::from_bytes(take(bytes)?);
    let epoch = u32::from_le_bytes(take(bytes)?);
    let length = u16::from_le_bytes(take(bytes)?);
    let wrapped = Wrapped { epoch, bytes: take_slice(bytes, usize::from(length))?.into() };
    Ok((name, NamespaceEntry { settings, created_at, keyspace: KeyspaceRecord { uuid, wrapped } }))
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>().ok_or(MALFORMED)?;
    *bytes = rest;
    Ok(*head)
}

fn take_slice<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(length).ok_or(MALFORMED)?;
    *bytes = rest;
    Ok(head)
}

fn to_u32(count: usize) -> u32 {
    u32::try_from(count).expect("namespaces and settings are far fewer than 2^32")
}

const MALFORMED: Error = Error::Damaged("a directory's checkpoint is not what this server writes");
/// Format version, the first byte. Any other value is another version; JSON begins with 123.
const VERSION: u8 = 0;

#[cfg(test)]
mod tests;
