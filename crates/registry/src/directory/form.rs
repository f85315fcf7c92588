//! The body of a directory's checkpoint: a table of settings, then namespaces in the order of their
//! names, as plain bytes. A tenant may have a hundred thousand, and its first request after a start
//! waits for this. Keys and left-over prefixes are few and stand as JSON behind.
//!
//! Layout: `schemas/registry.md`.

use super::DirectoryState;
use crate::{
    Error, Result,
    book::Fold,
    codec::{self, SettingsForm, keyed},
    record::{ApiKey, NamespaceEntry, PlaceRecord, Wrapped},
};
use kernel::{KeyId, NamespaceName, NamespaceSettings, NamespaceUuid, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use zeroize::Zeroizing;

/// What stands as JSON.
#[derive(Serialize, Deserialize)]
struct Rest {
    #[serde(with = "keyed")]
    keys: BTreeMap<KeyId, ApiKey>,
    doomed: Vec<String>,
    wraps: BTreeMap<u32, u64>,
}

/// One row of the table of settings.
#[derive(Serialize, Deserialize)]
struct Row(#[serde(with = "SettingsForm")] NamespaceSettings);

/// The whole state, as stored.
pub(super) fn encode(state: &DirectoryState) -> Result<Zeroizing<Vec<u8>>> {
    let mut table: Vec<&NamespaceSettings> = Vec::new();
    let mut known: HashMap<*const NamespaceSettings, u32> = HashMap::new();
    let mut body = Zeroizing::new(Vec::with_capacity(state.namespaces.len() * 192));
    for (name, entry) in &state.namespaces {
        let row = *known.entry(Arc::as_ptr(&entry.settings)).or_insert_with(|| {
            table.push(&entry.settings);
            count(table.len() - 1)
        });
        let (text, wrapped) = (name.as_str().as_bytes(), &entry.place.wrapped);
        body.push(u8::try_from(text.len()).map_err(|_| Error::Damaged("a namespace's name is too long"))?);
        body.extend_from_slice(text);
        body.extend_from_slice(&row.to_le_bytes());
        body.extend_from_slice(&entry.created_at.as_millis().to_le_bytes());
        body.extend_from_slice(entry.place.uuid.as_bytes());
        body.extend_from_slice(&wrapped.epoch.to_le_bytes());
        let length = u16::try_from(wrapped.bytes.len()).map_err(|_| Error::Damaged("a wrapped key is too long"))?;
        body.extend_from_slice(&length.to_le_bytes());
        body.extend_from_slice(&wrapped.bytes);
    }
    let rows: Vec<Row> = table.into_iter().map(|settings| Row(settings.clone())).collect();
    let table = codec::encode(&rows)?;
    let rest =
        codec::encode(&Rest { keys: state.keys.clone(), doomed: state.doomed.clone(), wraps: state.wraps.clone() })?;
    let mut out = Zeroizing::new(Vec::with_capacity(13 + table.len() + body.len() + rest.len()));
    out.push(VERSION);
    out.extend_from_slice(&count(table.len()).to_le_bytes());
    out.extend_from_slice(&table);
    out.extend_from_slice(&count(state.namespaces.len()).to_le_bytes());
    out.extend_from_slice(&body);
    out.extend_from_slice(&rest);
    Ok(out)
}

/// Reads what [`encode`] wrote, whole and in order.
pub(super) fn decode(bytes: &[u8]) -> Result<DirectoryState> {
    let (version, mut bytes) = bytes.split_first().ok_or(MISREAD)?;
    if *version != VERSION {
        return Err(Error::Version { what: DirectoryState::WHAT, found: u32::from(*version) });
    }
    let bytes = &mut bytes;
    let length = u32::from_le_bytes(take(bytes)?);
    let rows: Vec<Row> = codec::decode(DirectoryState::WHAT, run(bytes, length as usize)?)?;
    let table: Vec<_> = rows.into_iter().map(|row| Arc::new(row.0)).collect();
    let mut namespaces: Vec<(NamespaceName, NamespaceEntry)> = Vec::new();
    for _ in 0..u32::from_le_bytes(take(bytes)?) {
        let next = namespace(bytes, &table)?;
        if namespaces.last().is_some_and(|(name, _)| *name >= next.0) {
            return Err(MISREAD);
        }
        namespaces.push(next);
    }
    let rest: Rest = codec::decode(DirectoryState::WHAT, bytes)?;
    let recent = table.into_iter().take(super::RECENT_MAX).collect();
    // Sorted already, so the map is built in one go and without gaps.
    let namespaces = namespaces.into_iter().collect();
    let Rest { keys, doomed, wraps } = rest;
    Ok(DirectoryState { namespaces, keys, doomed, wraps, purge_due: false, recent })
}

fn namespace(bytes: &mut &[u8], table: &[Arc<NamespaceSettings>]) -> Result<(NamespaceName, NamespaceEntry)> {
    let [length] = take(bytes)?;
    let name = std::str::from_utf8(run(bytes, usize::from(length))?).map_err(|_| MISREAD)?;
    let name = NamespaceName::parse(name).map_err(|_| MISREAD)?;
    let settings = table.get(u32::from_le_bytes(take(bytes)?) as usize).ok_or(MISREAD)?.clone();
    let created_at = Timestamp::from_millis(i64::from_le_bytes(take(bytes)?));
    let uuid = NamespaceUuid::from_bytes(take(bytes)?);
    let epoch = u32::from_le_bytes(take(bytes)?);
    let length = u16::from_le_bytes(take(bytes)?);
    let wrapped = Wrapped { epoch, bytes: run(bytes, usize::from(length))?.into() };
    Ok((name, NamespaceEntry { settings, created_at, place: PlaceRecord { uuid, wrapped } }))
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>().ok_or(MISREAD)?;
    *bytes = rest;
    Ok(*head)
}

fn run<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(length).ok_or(MISREAD)?;
    *bytes = rest;
    Ok(head)
}

fn count(count: usize) -> u32 {
    u32::try_from(count).expect("namespaces and settings are far fewer than 2^32")
}

const MISREAD: Error = Error::Damaged("a directory's checkpoint is not what this server writes");
/// Any other first byte is another version's; JSON begins with 123.
const VERSION: u8 = 0;

#[cfg(test)]
mod tests;
