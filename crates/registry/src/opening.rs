//! Opening the registry: the first start, every later one, and recovery of a lost operator token.
//!
//! Order of a first start, and what a crash leaves: `ctl/root.wrap` (the control place's wrapped
//! key; alone it is an empty server) → `Founded` (the server's own keys) → the first operator. A
//! crash after the last one, before the token was printed, leaves an operator whose token is unknown:
//! `ringfence operator recover` makes another.

use crate::{
    Error, Registry, Result,
    book::{Book, World},
    control::{ControlEvent, ControlState},
    house::{Root, RootWrap},
    key_events::KeyEvents,
    keys::{Asking, KeyConfig},
    numbers,
    record::{EpochRecord, HouseRecord, KeyringRecord, Life, Operator, PlaceRecord, TenantRecord},
    registry::{Inner, mac},
    residence::place,
    seats::Seats,
};
use access::{OperatorRecord, TokenKind, token};
use journal::Storage;
use kernel::{Clock, Entropy, OperatorName, Role};
use std::sync::{Arc, RwLock, atomic::AtomicU64};
use tokio_util::task::TaskTracker;
use vault::{Home, Key, PlaceKind, Signer, TenantKeys, WrappedKey};
use zeroize::Zeroizing;

impl Registry {
    /// Opens what `storage` holds, or founds it. On a first start that adopts no token, the answer
    /// holds the one operator token, to be shown once.
    ///
    /// # Errors
    /// The root key is another one; the control journal does not open; an adopted token is none.
    ///
    /// Opens no tenant: cost is the control journal's, whatever the tenants have. `tracker` owns what
    /// continues after a request.
    pub async fn open(
        storage: Storage,
        keys: impl Into<KeyConfig>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        tracker: TaskTracker,
        adopt_operator: Option<&str>,
    ) -> kernel::Result<(Self, Option<Zeroizing<String>>)> {
        let world = World { storage, clock, entropy };
        let asking = Asking::new(keys.into(), tracker.clone());
        let (control, root) = open_control(&world, &asking).await?;
        let (house_audit, signer) = found(&world, &asking, &control).await?;
        let fresh = admit_operator(&world, &control, adopt_operator).await?;
        let inner = Arc::new(Inner {
            world,
            asking,
            tracker,
            control,
            root,
            house_audit: Arc::new(house_audit),
            signer,
            seats: Seats::new(),
            live: RwLock::default(),
            key_events: KeyEvents::default(),
            agreed: AtomicU64::new(0),
        });
        let registry = Self { inner };
        if registry.inner.world.storage.is_shared() {
            // The server that starts last owns the bucket; the previous one finds out within a second.
            registry.inner.control.hold().await?;
        }
        registry.settle_in().await?;
        Ok((registry, fresh))
    }

    /// Makes a new admin token with the server stopped: possession of the root key and the data proves
    /// the server. Replaces the operator `recovered` if there is one.
    ///
    /// # Errors
    /// As [`Registry::open`].
    pub async fn recover_operator(
        storage: Storage,
        keys: impl Into<KeyConfig>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> kernel::Result<Zeroizing<String>> {
        let world = World { storage, clock, entropy };
        let asking = Asking::new(keys.into(), TaskTracker::new());
        let (control, _) = open_control(&world, &asking).await?;
        let (record, whole) = minted(&world, control.home(), OperatorName::parse("recovered")?, Role::Admin);
        control.write(|_| Ok((Some(ControlEvent::OperatorPut(Operator(Arc::new(record)))), ()))).await?;
        Ok(whole)
    }

    /// Finishes what a stop interrupted. Which rotations and erasures those are stands in the control
    /// book, so no tenant is opened for it: those whose operation has not ended go on with it, and
    /// what an erasure that failed has left is removed after the start.
    async fn settle_in(&self) -> kernel::Result<()> {
        let remains: Vec<_> = self.inner.control.read(|s| {
            let resumed =
                |t: &TenantRecord| s.operations.iter().any(|o| o.end.is_none() && o.incarnation == t.incarnation);
            s.tenants.values().filter(|t| t.life == Life::Deleting && !resumed(t)).cloned().collect()
        });
        for record in remains {
            let registry = self.clone();
            self.inner.tracker.spawn(async move {
                if let Err(error) = registry.remove_remains(&record, None).await {
                    tracing::error!(incarnation = %record.incarnation, error = &error as &dyn std::error::Error,
                        "an erased tenant's objects could not be removed; its keys are gone");
                }
            });
        }
        self.fail_interrupted().await
    }
}

/// An operator and the token that is shown once.
pub(crate) fn minted(
    world: &World,
    control: &Home,
    name: OperatorName,
    role: Role,
) -> (OperatorRecord, Zeroizing<String>) {
    let (id, whole, secret) = token::mint(TokenKind::Operator, &*world.entropy);
    let mac = mac(control, secret.as_bytes());
    (OperatorRecord { id, name, role, mac, created_at: world.clock.now() }, whole)
}

async fn open_control(world: &World, asking: &Asking) -> Result<(Book<ControlState>, Root)> {
    let (root, home) = match Root::find(&world.storage, asking).await? {
        Some(found) => found,
        None => {
            let key = root_key(asking)?;
            let names = (key.provider().to_owned(), key.name().to_owned());
            let entropy = world.entropy.clone();
            let (home, wrapped) = asking.ask(key, move |key| Home::create_control(&**key, &*entropy)).await?;
            let wrap = RootWrap::new(names, wrapped, world.clock.now());
            let Some(root) = Root::found(&world.storage, wrap).await? else {
                return Err(Error::Damaged("another server founded this data folder at the same moment"));
            };
            (root, home)
        }
    };
    Ok((Book::open(world.clone(), Arc::new(home)).await?, root))
}

/// The key of the server's own places: the default provider's.
fn root_key(asking: &Asking) -> Result<Key> {
    let provider = asking.config.providers.provider(asking.config.providers.default_provider())?;
    let name = provider.default_key().to_owned();
    Ok(provider.key(&name)?)
}

/// The server's own audit place and its signing key; made at the first start.
async fn found(world: &World, asking: &Asking, control: &Book<ControlState>) -> Result<(Home, Signer)> {
    if let Some(house) = control.read(|s| s.house.clone()) {
        let keys = asking.ring(Registry::HOUSE, &house.keys).await?;
        let signer = control.home().signer(&WrappedKey::from(&house.signer))?;
        return Ok((place(&keys, PlaceKind::Audit, &house.audit)?, signer));
    }
    let (keys, ring) = new_ring(world, asking, Registry::HOUSE, root_key(asking)?, false).await?;
    let (home, audit) = new_place(world, control.home(), &keys, PlaceKind::Audit)?;
    let (signer, wrapped) = control.home().create_signer(&*world.entropy)?;
    let house = HouseRecord { keys: ring, audit, signer: wrapped.into() };
    control.write(|_| Ok((Some(ControlEvent::Founded(house)), ()))).await?;
    Ok((home, signer))
}

/// A fresh key ring with one epoch.
pub(crate) async fn new_ring(
    world: &World,
    asking: &Asking,
    incarnation: kernel::Incarnation,
    key: Key,
    made: bool,
) -> Result<(TenantKeys, KeyringRecord)> {
    let (provider, name) = (key.provider().to_owned(), key.name().to_owned());
    let entropy = world.entropy.clone();
    let create = move |key: &Key| {
        if made {
            key.create()?;
        }
        TenantKeys::create(&**key, incarnation, &*entropy)
    };
    let (keys, wrapped) = asking.ask(key, create).await?;
    let epoch = EpochRecord { provider, key: name, made, wrapped: wrapped.into(), created_at: world.clock.now() };
    Ok((keys, KeyringRecord { epochs: vec![epoch] }))
}

/// A fresh place.
pub(crate) fn new_place(
    world: &World,
    control: &Home,
    keys: &TenantKeys,
    kind: PlaceKind,
) -> Result<(Home, PlaceRecord)> {
    let uuid = numbers::fresh(control, keys.incarnation(), &*world.entropy);
    let (home, wrapped) = Home::create_place(keys, kind, uuid, &*world.entropy)?;
    Ok((home, PlaceRecord { uuid, wrapped: wrapped.into() }))
}

/// The first operator, or the one that the environment brings. A fresh token is handed back.
async fn admit_operator(
    world: &World,
    control: &Book<ControlState>,
    adopt: Option<&str>,
) -> Result<Option<Zeroizing<String>>> {
    let first = control.read(|s| s.operators.is_empty());
    let name = OperatorName::parse(if first { "root" } else { "environment" })?;
    let (record, fresh) = match adopt {
        Some(text) => {
            let token = token::adopt(text)?;
            let mac = mac(control.home(), token.secret.as_bytes());
            (OperatorRecord { id: token.id, name, role: Role::Admin, mac, created_at: world.clock.now() }, None)
        }
        None if first => {
            let (record, whole) = minted(world, control.home(), name, Role::Admin);
            (record, Some(whole))
        }
        None => return Ok(None),
    };
    let put = move |state: &ControlState| match state.operators.get(&record.id) {
        Some(known) if known.0.mac == record.mac && known.0.role == Role::Admin => Ok((None, ())),
        Some(known) if known.0.name != record.name => Err(Error::Refused(kernel::Error::invalid(
            "RINGFENCE_OPERATOR_TOKEN",
            "has the public part of another operator's token; use that token whole or another one",
        ))),
        _ => Ok((Some(ControlEvent::OperatorPut(Operator(Arc::new(record)))), ())),
    };
    control.write(put).await?;
    Ok(fresh)
}
