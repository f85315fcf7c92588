//! The control keyspace's keys, which a provider's key wraps instead of a tenant's. They are rotated like those of any
//! other keyspace.

use super::{CONTROL, Keyspace, KeyspaceKeys, NO_EPOCH, control_context};
use crate::{
    Error, KeyspaceKind, Result, RootKey, SecretKey, WrappedKey, crypto::constant_time_eq, identity::WrapKind,
};
use kernel::Entropy;
use std::sync::atomic::Ordering;

impl Keyspace {
    /// Wraps the control keyspace's keys together with a new one. Nothing is sealed under the new key before
    /// [`install_control_keys`](Self::install_control_keys).
    ///
    /// # Errors
    /// As [`rewrap_control`](Self::rewrap_control).
    pub fn with_next_control_key(&self, provider: &dyn RootKey, entropy: &dyn Entropy) -> Result<WrappedKey> {
        self.wrap_control(&self.keys().with_next(entropy), provider, entropy)
    }

    /// Wraps only the control keyspace's newest key.
    ///
    /// # Errors
    /// As [`rewrap_control`](Self::rewrap_control).
    pub fn without_old_control_keys(&self, provider: &dyn RootKey, entropy: &dyn Entropy) -> Result<WrappedKey> {
        self.wrap_control(&self.keys().newest_only(), provider, entropy)
    }

    /// Uses the keys of this wrap from now on. The wrap must be durable and the control keyspace's.
    ///
    /// # Errors
    /// As [`control`](Self::control); [`Error::Mismatch`] for another server's wrap.
    pub fn install_control_keys(&self, provider: &dyn RootKey, wrapped: &WrappedKey) -> Result<()> {
        let other = Self::control(provider, wrapped)?;
        if self.kind != KeyspaceKind::Control || !constant_time_eq(other.mac_key.bytes(), self.mac_key.bytes()) {
            return Err(Error::Mismatch("the control keyspace's keys"));
        }
        let newer = other.epoch() != self.epoch();
        *self.keys.write() = other.keys();
        if newer {
            self.wraps.store(0, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Rewraps a signing key that [`create_signer`](Self::create_signer) wrapped, under this keyspace's newest key.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for anything else; as [`seal`](Self::seal).
    pub fn rewrap_signer(&self, wrapped: &WrappedKey, entropy: &dyn Entropy) -> Result<WrappedKey> {
        let [seed] = self.unwrap_secrets(WrapKind::Signer, None, None, wrapped)?;
        self.wrap_secrets(WrapKind::Signer, None, None, &[&seed], entropy)
    }

    /// Wraps these keys under a fresh root secret that the provider wraps.
    pub(super) fn wrap_control(
        &self,
        keys: &KeyspaceKeys,
        provider: &dyn RootKey,
        entropy: &dyn Entropy,
    ) -> Result<WrappedKey> {
        if (self.kind, self.uuid) != (KeyspaceKind::Control, CONTROL) {
            return Err(Error::Mismatch("a tenant's keyspace"));
        }
        let root = SecretKey::random(entropy);
        let outer = provider.wrap(&control_context(WrapKind::Root).encode(), &root)?;
        let length = u16::try_from(outer.len()).map_err(|_| Error::TooLarge {
            what: "wrapped root key",
            bytes: outer.len(),
            max: usize::from(u16::MAX),
        })?;
        let inner = keys.wrap(&root, control_context(WrapKind::KeyspaceKey), &self.mac_key, entropy);
        let bytes = [&length.to_be_bytes()[..], &outer, &inner].concat();
        Ok(WrappedKey { epoch: NO_EPOCH, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LocalProvider, ObjectKind};
    use kernel::{ObjectUuid, SeededEntropy};
    use std::sync::Arc;

    #[test]
    fn control_keys_rotate_and_what_an_old_key_sealed_no_longer_opens() {
        let entropy = Arc::new(SeededEntropy::new(8));
        let key = |n: &str| LocalProvider::from_env_value(&n.repeat(32), entropy.clone()).unwrap();
        let (old, new) = (key("0a"), key("0b"));
        let (keyspace, first) = Keyspace::create_control(&old, &*entropy).unwrap();
        let object = ObjectUuid::random(&*entropy);
        let seal = |keyspace: &Keyspace| keyspace.seal_whole(ObjectKind::Control, object, b"x", &*entropy).unwrap();
        let opens =
            |keyspace: &Keyspace, sealed: &[u8]| keyspace.open_whole(ObjectKind::Control, object, sealed).is_ok();
        let before = seal(&keyspace);
        let (signer, wrapped) = keyspace.create_signer(&*entropy).unwrap();
        let public = signer.public("s").to_string();

        let two = keyspace.with_next_control_key(&new, &*entropy).unwrap();
        assert_eq!(keyspace.epochs().len(), 1, "nothing is sealed under it yet");
        keyspace.install_control_keys(&new, &two).unwrap();
        let after = seal(&keyspace);
        assert!(opens(&keyspace, &before) && opens(&keyspace, &after) && keyspace.epochs().len() == 2);
        let signed = keyspace.rewrap_signer(&wrapped, &*entropy).unwrap();

        let one = keyspace.without_old_control_keys(&new, &*entropy).unwrap();
        keyspace.install_control_keys(&new, &one).unwrap();
        assert!(!opens(&keyspace, &before) && opens(&keyspace, &after));
        assert!(keyspace.signer(&wrapped).is_err());
        assert_eq!(keyspace.signer(&signed).unwrap().public("s").to_string(), public, "the signing key stays");
        let again = Keyspace::control(&new, &one).unwrap();
        assert!(opens(&again, &after) && !opens(&again, &before));
        assert_eq!(again.mac(b"l", &[b"p"]), keyspace.mac(b"l", &[b"p"]), "tokens verify as before");
        assert!(Keyspace::control(&old, &one).is_err());
        assert!(
            opens(&Keyspace::control(&old, &first).unwrap(), &before),
            "a copy of the previous wrap still opens it"
        );

        let (other, theirs) = Keyspace::create_control(&new, &*entropy).unwrap();
        assert!(
            matches!(keyspace.install_control_keys(&new, &theirs), Err(Error::Mismatch(_))),
            "another server's keys"
        );
        assert!(other.install_control_keys(&new, &one).is_err());
    }
}
