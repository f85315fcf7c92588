//! What sealed bytes are bound to: length-prefixed fields, never joined with separators.

use crate::{FORMAT_VERSION, ObjectKind, PlaceKind};
use kernel::{Incarnation, KeyEpoch, LogEpoch, NamespaceUuid, ObjectUuid};

/// Fields one after another, each behind its length as `u32` big-endian.
pub(crate) fn fields(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parts.iter().map(|p| p.len() + 4).sum());
    for part in parts {
        out.extend_from_slice(&length(part));
        out.extend_from_slice(part);
    }
    out
}

/// A field's length prefix.
pub(crate) fn length(part: &[u8]) -> [u8; 4] {
    u32::try_from(part.len()).expect("fields are short").to_be_bytes()
}

/// Associated data of an object. The key epoch is not in it, so that a rewrap leaves objects as they are.
pub(crate) fn object(
    incarnation: Option<Incarnation>,
    place: NamespaceUuid,
    kind: ObjectKind,
    object: ObjectUuid,
) -> Vec<u8> {
    fields(&[&[FORMAT_VERSION], optional(&incarnation), place.as_bytes(), &[kind.code()], object.as_bytes()])
}

/// Associated data of a log's frames, before the number and the frame before.
pub(crate) fn log(
    incarnation: Option<Incarnation>,
    place: NamespaceUuid,
    object: ObjectUuid,
    epoch: LogEpoch,
) -> Vec<u8> {
    let parts = [optional(&incarnation), place.as_bytes(), b"log", object.as_bytes(), &epoch.0.to_be_bytes()];
    [fields(&[&[FORMAT_VERSION]]), fields(&parts)].concat()
}

/// What a wrap is bound to.
#[cfg_attr(test, derive(PartialEq))]
pub(crate) struct Context {
    pub(crate) wrap: Wrap,
    pub(crate) incarnation: Option<Incarnation>,
    pub(crate) place: Option<(PlaceKind, NamespaceUuid)>,
    pub(crate) object: Option<ObjectUuid>,
    /// Of the wrapping key.
    pub(crate) epoch: KeyEpoch,
    /// Of a log, so that an empty log cannot pass for another epoch's.
    pub(crate) log: Option<LogEpoch>,
    /// Of a place's wrapped keys: the newest one's.
    pub(crate) keys: Option<KeyEpoch>,
}

/// What a wrap holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrap {
    Root = 1,
    Tenant = 2,
    Place = 3,
    Object = 4,
    Log = 5,
    Signer = 6,
}

impl Wrap {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Wrap::Root => "root key",
            Wrap::Tenant => "tenant key",
            Wrap::Place => "place key",
            Wrap::Object => "object key",
            Wrap::Log => "log key",
            Wrap::Signer => "signing key",
        }
    }
}

impl Context {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let place_kind = self.place.map(|(kind, _)| [kind.code()]);
        let log = self.log.map(|epoch| epoch.0.to_be_bytes());
        let keys = self.keys.map(|epoch| epoch.0.to_be_bytes());
        fields(&[
            &[FORMAT_VERSION],
            &[self.wrap as u8],
            optional(&self.incarnation),
            place_kind.as_ref().map_or(&[], |code| &code[..]),
            self.place.as_ref().map_or(&[], |(_, uuid)| &uuid.as_bytes()[..]),
            self.object.as_ref().map_or(&[], |uuid| &uuid.as_bytes()[..]),
            &self.epoch.0.to_be_bytes(),
            log.as_ref().map_or(&[], |epoch| &epoch[..]),
            keys.as_ref().map_or(&[], |epoch| &epoch[..]),
        ])
    }

    /// The uuid that an error names.
    pub(crate) fn subject(&self) -> String {
        match (self.object, self.place, self.incarnation) {
            (Some(object), _, _) => object.to_string(),
            (None, Some((_, place)), _) => place.to_string(),
            (None, None, Some(incarnation)) => incarnation.to_string(),
            (None, None, None) => "of the server".to_owned(),
        }
    }
}

fn optional(incarnation: &Option<Incarnation>) -> &[u8] {
    incarnation.as_ref().map_or(&[], |i| &i.as_bytes()[..])
}
