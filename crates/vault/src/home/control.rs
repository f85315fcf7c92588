//! The control place's keys, which a provider's key wraps and no tenant's: changed like any other place's.

use super::{CONTROL, Home, NO_EPOCH, PlaceKeys, control_context};
use crate::{Error, PlaceKind, Result, RootKey, SecretKey, WrappedKey, crypto::same, identity::Wrap};
use kernel::Entropy;
use std::sync::{PoisonError, atomic::Ordering};

impl Home {
    /// The wrap of the control place's keys and a next one. Nothing is sealed under it before
    /// [`refresh_control`](Self::refresh_control).
    ///
    /// # Errors
    /// As [`rewrap_control`](Self::rewrap_control).
    pub fn with_next_control_key(&self, provider: &dyn RootKey, entropy: &dyn Entropy) -> Result<WrappedKey> {
        self.wrap_control(&self.keys().with_next(entropy), provider, entropy)
    }

    /// The wrap of the control place's newest key alone.
    ///
    /// # Errors
    /// As [`rewrap_control`](Self::rewrap_control).
    pub fn without_old_control_keys(&self, provider: &dyn RootKey, entropy: &dyn Entropy) -> Result<WrappedKey> {
        self.wrap_control(&self.keys().newest_only(), provider, entropy)
    }

    /// Has the keys of this wrap from now on, which must be durable and the control place's.
    ///
    /// # Errors
    /// As [`control`](Self::control); [`Error::Misplaced`] for another server's.
    pub fn refresh_control(&self, provider: &dyn RootKey, wrapped: &WrappedKey) -> Result<()> {
        let other = Self::control(provider, wrapped)?;
        if self.kind != PlaceKind::Control || !same(other.mac_key.bytes(), self.mac_key.bytes()) {
            return Err(Error::Misplaced("the control place's keys"));
        }
        let newer = other.epoch() != self.epoch();
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = other.keys();
        if newer {
            self.wraps.store(0, Ordering::Relaxed);
        }
        Ok(())
    }

    /// What [`create_signer`](Self::create_signer) made, under this place's newest key.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for anything else; as [`seal`](Self::seal).
    pub fn rewrap_signer(&self, wrapped: &WrappedKey, entropy: &dyn Entropy) -> Result<WrappedKey> {
        let [seed] = self.unwrap_one(Wrap::Signer, None, None, wrapped)?;
        self.wrap_one(Wrap::Signer, None, None, &[&seed], entropy)
    }

    /// These keys under a fresh secret that the provider wraps.
    pub(super) fn wrap_control(
        &self,
        keys: &PlaceKeys,
        provider: &dyn RootKey,
        entropy: &dyn Entropy,
    ) -> Result<WrappedKey> {
        if (self.kind, self.uuid) != (PlaceKind::Control, CONTROL) {
            return Err(Error::Misplaced("a tenant's place"));
        }
        let root = SecretKey::random(entropy);
        let outer = provider.wrap(&control_context(Wrap::Root).encode(), &root)?;
        let length = u16::try_from(outer.len()).map_err(|_| Error::TooLarge {
            what: "wrapped root key",
            bytes: outer.len(),
            max: usize::from(u16::MAX),
        })?;
        let inner = keys.wrap(&root, control_context(Wrap::Place), &self.mac_key, entropy);
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
    fn the_control_places_keys_change_and_what_an_old_one_sealed_opens_no_more() {
        let entropy = Arc::new(SeededEntropy::new(8));
        let key = |n: &str| LocalProvider::from_env_value(&n.repeat(32), entropy.clone()).unwrap();
        let (old, new) = (key("0a"), key("0b"));
        let (home, first) = Home::create_control(&old, &*entropy).unwrap();
        let object = ObjectUuid::random(&*entropy);
        let seal = |home: &Home| home.seal_whole(ObjectKind::Control, object, b"x", &*entropy).unwrap();
        let opens = |home: &Home, sealed: &[u8]| home.open_whole(ObjectKind::Control, object, sealed).is_ok();
        let before = seal(&home);
        let (signer, wrapped) = home.create_signer(&*entropy).unwrap();
        let public = signer.public("s").to_string();

        let two = home.with_next_control_key(&new, &*entropy).unwrap();
        assert_eq!(home.epochs().len(), 1, "nothing is sealed under it yet");
        home.refresh_control(&new, &two).unwrap();
        let after = seal(&home);
        assert!(opens(&home, &before) && opens(&home, &after) && home.epochs().len() == 2);
        let signed = home.rewrap_signer(&wrapped, &*entropy).unwrap();

        let one = home.without_old_control_keys(&new, &*entropy).unwrap();
        home.refresh_control(&new, &one).unwrap();
        assert!(!opens(&home, &before) && opens(&home, &after));
        assert!(home.signer(&wrapped).is_err());
        assert_eq!(home.signer(&signed).unwrap().public("s").to_string(), public, "the signing key stays");
        let again = Home::control(&new, &one).unwrap();
        assert!(opens(&again, &after) && !opens(&again, &before));
        assert_eq!(again.mac(b"l", &[b"p"]), home.mac(b"l", &[b"p"]), "tokens are judged as before");
        assert!(Home::control(&old, &one).is_err());
        assert!(opens(&Home::control(&old, &first).unwrap(), &before), "a copy of the wrap of before does");

        let (other, theirs) = Home::create_control(&new, &*entropy).unwrap();
        assert!(matches!(home.refresh_control(&new, &theirs), Err(Error::Misplaced(_))), "another server's");
        assert!(other.refresh_control(&new, &one).is_err());
    }
}
