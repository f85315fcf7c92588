//! Identities that sealed bytes are bound to: length-prefixed fields, never joined with separators.

use crate::{FORMAT_VERSION, KeyspaceKind, ObjectKind};
use kernel::{Incarnation, KeyEpoch, LogEpoch, NamespaceUuid, ObjectUuid};

/// Encodes fields one after another, each after its length as a big-endian `u32`.
pub(crate) fn fields(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parts.iter().map(|p| p.len() + 4).sum());
    for part in parts {
        out.extend_from_slice(&length(part));
        out.extend_from_slice(part);
    }
    out
}

/// Length prefix of a field.
pub(crate) fn length(part: &[u8]) -> [u8; 4] {
    u32::try_from(part.len()).expect("fields are short").to_be_bytes()
}

/// Associated data of an object. It does not contain the key epoch, so that a rewrap leaves objects as they are.
pub(crate) fn object(
    incarnation: Option<Incarnation>,
    keyspace_id: NamespaceUuid,
    kind: ObjectKind,
    object: ObjectUuid,
) -> Vec<u8> {
    fields(&[&[FORMAT_VERSION], optional(&incarnation), keyspace_id.as_bytes(), &[kind.code()], object.as_bytes()])
}

/// Associated data of a log's frames, up to the sequence number and the previous frame.
pub(crate) fn log(
    incarnation: Option<Incarnation>,
    keyspace_id: NamespaceUuid,
    object: ObjectUuid,
    epoch: LogEpoch,
) -> Vec<u8> {
    let parts = [optional(&incarnation), keyspace_id.as_bytes(), b"log", object.as_bytes(), &epoch.0.to_be_bytes()];
    [fields(&[&[FORMAT_VERSION]]), fields(&parts)].concat()
}

/// Identity that a wrap is bound to.
#[cfg_attr(test, derive(PartialEq))]
pub(crate) struct WrapContext {
    pub(crate) wrap: WrapKind,
    pub(crate) incarnation: Option<Incarnation>,
    pub(crate) keyspace: Option<(KeyspaceKind, NamespaceUuid)>,
    pub(crate) object: Option<ObjectUuid>,
    /// Epoch of the wrapping key.
    pub(crate) epoch: KeyEpoch,
    /// Epoch of a log, so that an empty log cannot pass for one of another epoch.
    pub(crate) log: Option<LogEpoch>,
    /// For a keyspace's wrapped keys, the epoch of the newest one.
    pub(crate) keys: Option<KeyEpoch>,
}

/// Kind of the keys in a wrap.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum WrapKind {
    Root = 1,
    Tenant = 2,
    KeyspaceKey = 3,
    Object = 4,
    Log = 5,
    Signer = 6,
}

impl WrapKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            WrapKind::Root => "root key",
            WrapKind::Tenant => "tenant key",
            WrapKind::KeyspaceKey => "keyspace key",
            WrapKind::Object => "object key",
            WrapKind::Log => "log key",
            WrapKind::Signer => "signing key",
        }
    }
}

impl WrapContext {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let keyspace_kind = self.keyspace.map(|(kind, _)| [kind.code()]);
        let log = self.log.map(|epoch| epoch.0.to_be_bytes());
        let keys = self.keys.map(|epoch| epoch.0.to_be_bytes());
        fields(&[
            &[FORMAT_VERSION],
            &[self.wrap as u8],
            optional(&self.incarnation),
            keyspace_kind.as_ref().map_or(&[], |code| &code[..]),
            self.keyspace.as_ref().map_or(&[], |(_, uuid)| &uuid.as_bytes()[..]),
            self.object.as_ref().map_or(&[], |uuid| &uuid.as_bytes()[..]),
            &self.epoch.0.to_be_bytes(),
            log.as_ref().map_or(&[], |epoch| &epoch[..]),
            keys.as_ref().map_or(&[], |epoch| &epoch[..]),
        ])
    }

    /// The uuid that an error message names.
    pub(crate) fn subject(&self) -> String {
        match (self.object, self.keyspace, self.incarnation) {
            (Some(object), _, _) => object.to_string(),
            (None, Some((_, keyspace_id)), _) => keyspace_id.to_string(),
            (None, None, Some(incarnation)) => incarnation.to_string(),
            (None, None, None) => "of the server".to_owned(),
        }
    }
}

fn optional(incarnation: &Option<Incarnation>) -> &[u8] {
    incarnation.as_ref().map_or(&[], |i| &i.as_bytes()[..])
}
