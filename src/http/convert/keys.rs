//! Encryption keys: rotation, inventory, certificates.

use super::{Convert, admin::label, common};
use crate::http::request_data::RequestBody;
use api::{
    keys::{
        Algorithms, Epoch, KeyHeld, KeyWanted, Keys, Rotate, RotateAll, RotateServer, RotateWord, RotatingAll,
        RotatingServer, ServerEpoch, ServerKeyStatus, SignedCertificate,
    },
    operations::Progress,
};
use engine::{KeyChoice, KeyState, KeyStatus, RotateMode};
use kernel::{Error, Timestamp};
use std::borrow::Cow;

/// Checks the names of a key and of its provider.
pub(super) fn key_choice(wanted: KeyWanted) -> Result<KeyChoice, Error> {
    Ok(KeyChoice { provider: label("key.provider", wanted.provider)?, key: label("key.name", wanted.name)? })
}

/// The provider's key that wraps a tenant's keys, and its state.
pub(super) fn key_held((provider, name): (String, String), held: KeyState) -> KeyHeld {
    let state = held.as_str().into();
    let (why, since, serves_for_s) = match held {
        KeyState::Unavailable { why, since, serves_for } => {
            (Some(why.as_str().into()), Some(since.to_string()), Some(serves_for.as_secs()))
        }
        KeyState::Sealed(why) => (Some(why.as_str().into()), None, None),
        KeyState::Active | KeyState::Shredded => (None, None, None),
    };
    KeyHeld { provider, name, state, why, since, serves_for_s }
}

impl RequestBody for Rotate {
    type Checked = (RotateMode, Option<KeyChoice>);

    fn check(self) -> Result<Self::Checked, Error> {
        let mode = match self.mode {
            RotateWord::Rewrap => RotateMode::Rewrap,
            RotateWord::Reencrypt => {
                let deadline = self.deadline.as_deref().map(|at| common::at("deadline", Timestamp::parse(at)));
                RotateMode::Reencrypt(deadline.transpose()?)
            }
        };
        if self.deadline.is_some() && mode == RotateMode::Rewrap {
            return Err(Error::invalid("deadline", "is only for mode reencrypt"));
        }
        Ok((mode, self.key.map(key_choice).transpose()?))
    }
}

impl RequestBody for RotateAll {
    type Checked = (bool, u32);

    fn check(self) -> Result<Self::Checked, Error> {
        Ok((matches!(self.mode, RotateWord::Reencrypt), self.concurrency.unwrap_or(4)))
    }
}

impl RequestBody for RotateServer {
    type Checked = (bool, Option<KeyChoice>);

    fn check(self) -> Result<Self::Checked, Error> {
        Ok((matches!(self.mode, RotateWord::Reencrypt), self.key.map(key_choice).transpose()?))
    }
}

/// The name of a rotation's mode.
fn mode(reencrypt: bool) -> Cow<'static, str> {
    if reencrypt { "reencrypt" } else { "rewrap" }.into()
}

impl Convert<ServerKeyStatus> for engine::ServerKeys {
    fn convert(self) -> ServerKeyStatus {
        let engine::ServerKeys { key: (provider, key), created_at, control_epochs, audit_epochs, rotating } = self;
        let audit_epochs = audit_epochs.into_iter().map(|(epoch, created_at, provider, key)| ServerEpoch {
            epoch: epoch.0,
            created_at: created_at.to_string(),
            provider,
            key,
        });
        ServerKeyStatus {
            provider,
            key,
            created_at: created_at.to_string(),
            control_epochs: control_epochs.into_iter().map(|epoch| epoch.0).collect(),
            audit_epochs: audit_epochs.collect(),
            rotating: rotating
                .map(|(begun_at, reencrypt)| RotatingServer { mode: mode(reencrypt), begun_at: begun_at.to_string() }),
        }
    }
}

impl Convert<RotatingAll> for engine::BulkRotation {
    fn convert(self) -> RotatingAll {
        let engine::BulkRotation { reencrypt, begun_at, concurrency, done, total } = self;
        RotatingAll {
            mode: mode(reencrypt),
            begun_at: begun_at.to_string(),
            concurrency,
            progress: Progress { done, total, unit: "tenants".into() },
        }
    }
}

impl Convert<Keys> for KeyStatus {
    fn convert(self) -> Keys {
        let epochs = self.epochs.into_iter();
        let epochs = epochs.map(|e| Epoch {
            epoch: e.epoch.0,
            created_at: e.created_at.to_string(),
            age_days: e.age.as_secs() / 86_400,
            provider: e.provider,
            key: e.key,
            objects: e.objects,
            wraps: e.wraps,
            wraps_max: vault::WRAPS_MAX,
        });
        Keys {
            current: self.current.0,
            key: key_held(self.key, self.state),
            algorithms: Algorithms {
                keys: "AES-256-GCM".into(),
                objects: "FLOE (AES-256-GCM, HKDF-Expand-SHA-384)".into(),
                log: "AES-256-GCM, HMAC-SHA-256".into(),
            },
            next_rotation: self.next_rotation.map(|at| at.to_string()),
            epochs: epochs.collect(),
            rotating: self.rotating.map(|(done, total)| Progress { done, total, unit: "keys".into() }),
        }
    }
}

impl Convert<SignedCertificate> for engine::Certificate {
    fn convert(self) -> SignedCertificate {
        let engine::Certificate { tenant, incarnation, kind, at, note } = self;
        SignedCertificate { tenant, incarnation, kind, at, note }
    }
}
