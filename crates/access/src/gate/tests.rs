use super::*;
use crate::{
    Audit, Browse, Delete, Erase, Identity, Ingest, Manage, Operations, Patch, Pepper, Read, Review, RotateKey, Search,
    Whoami,
};
use kernel::{
    Audience, Entropy, ManualClock, NamespaceName, Principal, Quotas, ReadersRule, Scope, SeededEntropy, Timestamp,
    limits,
};
use proptest::prelude::*;
use rstest::rstest;
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use zeroize::Zeroizing;

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// A minimal registry for the gate. It counts the MACs that it computes.
struct TestCredentials {
    pepper: Pepper,
    keys: Mutex<HashMap<String, Arc<KeyRecord>>>,
    operators: Mutex<HashMap<String, Arc<OperatorRecord>>>,
    tenants: Mutex<HashMap<TenantId, TenantFacts>>,
    macs: AtomicUsize,
    entropy: SeededEntropy,
}

impl Credentials for TestCredentials {
    fn key(&self, id: &KeyId) -> Option<Arc<KeyRecord>> {
        self.keys.lock().get(id.as_str()).cloned()
    }
    fn operator(&self, id: &KeyId) -> Option<Arc<OperatorRecord>> {
        self.operators.lock().get(id.as_str()).cloned()
    }
    fn tenant(&self, id: &TenantId) -> Option<TenantFacts> {
        self.tenants.lock().get(id).copied()
    }
    fn mac(&self, secret: &[u8]) -> [u8; 32] {
        self.macs.fetch_add(1, Ordering::SeqCst);
        self.pepper.mac(secret)
    }
}

struct Fixture {
    credentials: Arc<TestCredentials>,
    clock: Arc<ManualClock>,
    gate: Gate,
}

fn fixture() -> Fixture {
    let entropy = SeededEntropy::new(11);
    let (pepper, _) = Pepper::generate(&entropy);
    let credentials = Arc::new(TestCredentials {
        pepper,
        keys: Mutex::default(),
        operators: Mutex::default(),
        tenants: Mutex::default(),
        macs: AtomicUsize::new(0),
        entropy,
    });
    let clock = Arc::new(ManualClock::new(START));
    let gate = Gate::new(credentials.clone(), clock.clone());
    let fixture = Fixture { credentials, clock, gate };
    fixture.create_tenant("acme", |_| {});
    fixture
}

fn tenant(id: &str) -> TenantId {
    TenantId::parse(id).unwrap()
}

fn principal(text: &str) -> Principal {
    Principal::parse(text).unwrap()
}

fn namespace(text: &str) -> NamespaceName {
    NamespaceName::parse(text).unwrap()
}

fn request_info(ns: Option<&str>) -> RequestInfo {
    RequestInfo {
        namespace: ns.map(namespace),
        request: RequestId::from_bytes([1; 16]),
        trace: None,
        cancel: kernel::CancelFlag::default(),
    }
}

impl Fixture {
    /// Creates a tenant, or a new incarnation of it.
    fn create_tenant(&self, id: &str, change: impl FnOnce(&mut TenantFacts)) {
        let mut facts = TenantFacts {
            incarnation: Incarnation::random(&self.credentials.entropy),
            state: TenantState::Active,
            quotas: Quotas::default(),
        };
        change(&mut facts);
        self.credentials.tenants.lock().insert(tenant(id), facts);
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut TenantFacts)) {
        change(self.credentials.tenants.lock().get_mut(&tenant(id)).unwrap());
    }

    fn key(&self, id: &str, scopes: &[Scope], change: impl FnOnce(&mut KeyRecord)) -> Zeroizing<String> {
        let (key, token_text, secret) = token::mint(TokenKind::Key, &self.credentials.entropy);
        let mut record = KeyRecord {
            id: key.clone(),
            tenant: tenant(id),
            incarnation: self.credentials.tenant(&tenant(id)).unwrap().incarnation,
            name: "test".into(),
            mac: self.credentials.pepper.mac(secret.as_bytes()),
            scopes: scopes.to_vec(),
            principals: Vec::new(),
            namespaces: Vec::new(),
            created_at: START,
            expires_at: None,
        };
        change(&mut record);
        self.credentials.keys.lock().insert(key.as_str().to_owned(), Arc::new(record));
        token_text
    }

    fn operator_token(&self, role: Role) -> Zeroizing<String> {
        let (id, token_text, secret) = token::mint(TokenKind::Operator, &self.credentials.entropy);
        let record = OperatorRecord {
            id: id.clone(),
            name: OperatorName::parse(role.as_str()).unwrap(),
            role,
            mac: self.credentials.pepper.mac(secret.as_bytes()),
            created_at: START,
        };
        self.credentials.operators.lock().insert(id.as_str().to_owned(), Arc::new(record));
        token_text
    }

    fn refusal<A: Action>(&self, bearer: Option<&str>, ns: Option<&str>) -> Refusal {
        self.gate.admit::<A>(bearer, request_info(ns)).expect_err("should have been refused")
    }
}

/// The parts of an error that a caller can see.
fn body(error: &Error) -> (Code, String, Option<String>, Option<Duration>, bool) {
    (error.code, error.message.clone(), error.param.clone(), error.retry_after, error.outcome_unknown)
}

/// The token with another secret and a correct checksum.
fn with_other_secret(token_text: &str) -> String {
    let flip = |b: u8| if b == b'A' { 'B' } else { 'A' };
    let at = token_text.len() - 10;
    let mut changed: String = token_text[..at].to_owned();
    changed.push(flip(token_text.as_bytes()[at]));
    changed.push_str(&token_text[at + 1..token_text.len() - 6]);
    // The checksum is computed independently, as a secret scanner would.
    let check = token_checksum(&changed);
    changed + &check
}

fn token_checksum(text: &str) -> String {
    let mut crc = u32::MAX;
    for byte in text.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    crc = !crc;
    let digits = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    (0..6).rev().map(|digit| char::from(digits[(crc / 62u32.pow(digit) % 62) as usize])).collect()
}

#[test]
fn every_bad_credential_gets_one_body_after_one_mac() {
    let fixture = fixture();
    let good = fixture.key("acme", &[Scope::Search], |_| {});
    let expired = fixture.key("acme", &[Scope::Search], |k| k.expires_at = Some(START));
    let former = fixture.key("acme", &[Scope::Search], |k| k.incarnation = Incarnation::from_bytes([9; 16]));
    let orphan = fixture.key("acme", &[Scope::Search], |k| k.tenant = tenant("gone"));
    let operator = fixture.operator_token(Role::Admin);
    let (_, unknown, _) = token::mint(TokenKind::Key, &SeededEntropy::new(99));
    let wrong_secret = with_other_secret(&good);
    assert!(token::parse(&wrong_secret).is_ok(), "the secret is wrong, not the form");
    let mut wrong_crc = good.to_string();
    let last = if wrong_crc.pop() == Some('0') { '1' } else { '0' };
    wrong_crc.push(last);

    let cases = [
        None,
        Some(""),
        Some("rf_"),
        Some("Bearer x"),
        Some(unknown.as_str()),
        Some(&wrong_secret),
        Some(&wrong_crc),
        Some(expired.as_str()),
        Some(former.as_str()),
        Some(orphan.as_str()),
        Some(operator.as_str()),
    ];
    let expected = body(&unauthenticated());
    for bearer in cases {
        let before = fixture.credentials.macs.load(Ordering::SeqCst);
        let refusal = fixture.refusal::<Search>(bearer, Some("docs"));
        assert_eq!(body(&refusal.error), expected, "{bearer:?}");
        assert!(refusal.error.source.is_none());
        assert_eq!(fixture.credentials.macs.load(Ordering::SeqCst), before + 1, "{bearer:?}");
    }
    fixture.gate.admit::<Search>(Some(&good), request_info(Some("docs"))).unwrap();
}

/// Ids and secrets of both kinds look alike; only the prefix distinguishes the tokens.
#[test]
fn a_token_with_the_other_prefix_is_invalid() {
    let fixture = fixture();
    let swap = |token_text: &str, from: &str, to: &str| {
        let text = token_text[..token_text.len() - 6].replacen(from, to, 1);
        let text = format!("{text}{}", token_checksum(&text));
        assert!(token::parse(&text).is_ok());
        text
    };
    let key = swap(&fixture.key("acme", Scope::ALL, |_| {}), "rf_", "rfop_");
    assert_eq!(fixture.refusal::<Whoami>(Some(&key), None).error.code, Code::Unauthenticated);
    let operator = swap(&fixture.operator_token(Role::Admin), "rfop_", "rf_");
    let refusal = fixture.gate.operator(Some(&operator), Role::ALL, RequestId::from_bytes([4; 16])).unwrap_err();
    assert_eq!(refusal.error.code, Code::Unauthenticated);
}

proptest! {
    #[test]
    fn random_bearers_get_the_same_body(text in "\\PC{0,80}", seed: u64, cut in 0usize..53) {
        let fixture = fixture();
        let (_, foreign, _) = token::mint(TokenKind::Key, &SeededEntropy::new(seed));
        for bearer in [text.as_str(), foreign.as_str(), &foreign[..cut]] {
            let refusal = fixture.refusal::<Whoami>(Some(bearer), None);
            prop_assert_eq!(body(&refusal.error), body(&unauthenticated()));
            prop_assert!(refusal.known.is_none() && !refusal.audit && refusal.background_grant().is_none());
        }
    }
}

#[test]
fn a_key_works_until_it_expires_and_its_tenants_audit_shows_it() {
    let fixture = fixture();
    let key = fixture.key("acme", &[Scope::Search], |k| k.expires_at = Some(START.plus(Duration::from_secs(1))));
    fixture.gate.admit::<Search>(Some(&key), request_info(None)).unwrap();
    fixture.clock.advance(Duration::from_secs(1));
    let refusal = fixture.refusal::<Search>(Some(&key), None);
    let (known_tenant, incarnation, _) = refusal.known.clone().expect("the secret was right");
    assert_eq!(known_tenant, tenant("acme"));
    assert_eq!(refusal.background_grant().unwrap().incarnation(), incarnation);
    assert!(refusal.audit);
}

#[test]
fn a_key_of_a_former_incarnation_is_invalid_in_the_next() {
    let fixture = fixture();
    let key = fixture.key("acme", &[Scope::Search], |_| {});
    fixture.gate.admit::<Search>(Some(&key), request_info(None)).unwrap();
    fixture.create_tenant("acme", |_| {});
    let refusal = fixture.refusal::<Search>(Some(&key), None);
    assert_eq!(refusal.error.code, Code::Unauthenticated);
    assert!(refusal.known.is_none(), "the audit of the next incarnation does not record the former's keys");
}

macro_rules! matrix {
    ($($action:ident: $scope:expr),* $(,)?) => {
        #[test]
        fn scope_matrix() {
            let fixture = fixture();
            $({
                let needed: Option<Scope> = $scope;
                for scope in Scope::ALL {
                    let key = fixture.key("acme", &[*scope], |_| {});
                    let answer = fixture.gate.admit::<$action>(Some(&key), request_info(Some("docs")));
                    let allowed = needed.is_none_or(|n| n == *scope);
                    assert_eq!(answer.is_ok(), allowed, "{} with {}", $action::NAME, scope.as_str());
                    if let Err(refusal) = answer {
                        assert_eq!(refusal.error.code, Code::Forbidden);
                        assert!(refusal.error.message.contains(needed.unwrap().as_str()), "the message names the remedy");
                    }
                }
                let none = fixture.key("acme", &[], |_| {});
                assert_eq!(fixture.gate.admit::<$action>(Some(&none), request_info(None)).is_ok(), needed.is_none());
                let all = fixture.key("acme", Scope::ALL, |_| {});
                assert!(fixture.gate.admit::<$action>(Some(&all), request_info(None)).is_ok());
            })*
        }
    };
}

// This repeats the whole policy by hand: a change of it must be made twice.
matrix! {
    Search: Some(Scope::Search),
    Read: Some(Scope::Search),
    Browse: Some(Scope::Search),
    Ingest: Some(Scope::Ingest),
    Patch: Some(Scope::Ingest),
    Delete: Some(Scope::Delete),
    Review: Some(Scope::Review),
    Manage: Some(Scope::Manage),
    Audit: Some(Scope::Audit),
    Whoami: None,
    Operations: None,
}

#[test]
fn a_namespace_off_the_list_is_the_uniform_404() {
    let fixture = fixture();
    let key = fixture.key("acme", &[Scope::Search], |k| k.namespaces = vec![namespace("docs")]);
    let grant = fixture.gate.admit::<Search>(Some(&key), request_info(Some("docs"))).unwrap();
    assert!(grant.may_enter(&namespace("docs")) && !grant.may_enter(&namespace("hr")));
    assert_eq!(grant.namespace(), Some(&namespace("docs")));
    for other in ["hr", "Docs", "docs2", "doc"] {
        let refusal = fixture.refusal::<Search>(Some(&key), Some(other));
        assert_eq!(body(&refusal.error), body(&Error::not_found()));
    }
    fixture.gate.admit::<Search>(Some(&key), request_info(None)).unwrap();

    let open = fixture.key("acme", &[Scope::Search], |_| {});
    assert!(fixture.gate.admit::<Search>(Some(&open), request_info(Some("hr"))).unwrap().may_enter(&namespace("hr")));
}

#[rstest]
#[case(TenantState::Suspended, Code::TenantSuspended, true)]
#[case(TenantState::Deleting, Code::TenantSuspended, false)]
#[case(TenantState::KeyUnavailable, Code::KeyUnavailable, false)]
fn a_tenant_that_is_not_served(#[case] state: TenantState, #[case] code: Code, #[case] audit: bool) {
    let fixture = fixture();
    let key = fixture.key("acme", Scope::ALL, |_| {});
    fixture.change("acme", |facts| facts.state = state);
    let refusal = fixture.refusal::<Search>(Some(&key), Some("docs"));
    assert_eq!((refusal.error.code, refusal.audit), (code, audit));
    assert!(refusal.known.is_some());
}

#[test]
fn checks_come_in_their_order() {
    let fixture = fixture();
    let key = fixture.key("acme", &[], |k| k.namespaces = vec![namespace("docs")]);
    let code = || fixture.refusal::<Search>(Some(&key), Some("hr")).error.code;
    fixture.change("acme", |f| {
        f.state = TenantState::Suspended;
        f.quotas.requests_per_minute = Some(1);
    });
    assert_eq!(code(), Code::TenantSuspended);
    fixture.change("acme", |f| f.state = TenantState::Active);
    assert_eq!(
        code(),
        Code::Forbidden,
        "this is the one request of the minute; the refusal of the suspended tenant used none"
    );
    assert_eq!(code(), Code::RateLimited);
    fixture.change("acme", |f| f.quotas.requests_per_minute = None);
    assert_eq!(code(), Code::Forbidden, "scope before namespace");
}

#[test]
fn rates_are_the_tenants_own() {
    let fixture = fixture();
    fixture.create_tenant("beta", |f| f.quotas.requests_per_minute = Some(2));
    fixture.change("acme", |f| {
        f.quotas = Quotas { requests_per_minute: Some(2), tokens_per_minute: Some(50), ..f.quotas }
    });
    let (first, second) =
        (fixture.key("acme", &[Scope::Search], |_| {}), fixture.key("acme", &[Scope::Search], |_| {}));
    let other = fixture.key("beta", &[Scope::Search], |_| {});

    let grant = fixture.gate.admit::<Search>(Some(&first), request_info(None)).unwrap();
    fixture.gate.admit::<Search>(Some(&second), request_info(None)).unwrap();
    let refusal = fixture.refusal::<Search>(Some(&first), None);
    assert_eq!(refusal.error.code, Code::RateLimited, "two keys of a tenant share its minute");
    assert_eq!(refusal.error.retry_after, Some(Duration::from_secs(30)));
    fixture.gate.admit::<Search>(Some(&other), request_info(None)).unwrap();

    grant.charge_tokens(50).unwrap();
    assert_eq!(grant.charge_tokens(1).unwrap_err().code, Code::RateLimited);
    fixture.clock.advance(Duration::from_secs(30));
    grant.charge_tokens(25).unwrap();
    fixture.gate.admit::<Search>(Some(&first), request_info(None)).unwrap();

    // The next incarnation starts with a full minute, and the table forgets the previous one.
    fixture.create_tenant("acme", |f| f.quotas.requests_per_minute = Some(2));
    let next = fixture.key("acme", &[Scope::Search], |_| {});
    fixture.gate.admit::<Search>(Some(&next), request_info(None)).unwrap();
    fixture.gate.admit::<Search>(Some(&next), request_info(None)).unwrap();
    assert_eq!(fixture.gate.meters.lock().len(), 2);
}

#[test]
fn the_table_of_rates_forgets_deleted_tenants() {
    let fixture = fixture();
    for n in 0..100 {
        let id = format!("t{n}");
        fixture.create_tenant(&id, |_| {});
        let key = fixture.key(&id, &[], |_| {});
        fixture.gate.admit::<Whoami>(Some(&key), request_info(None)).unwrap();
        fixture.credentials.tenants.lock().remove(&tenant(&id));
    }
    assert!(fixture.gate.meters.lock().len() <= 3);
}

#[test]
fn refusals_reach_the_audit_a_bounded_number_of_times() {
    let fixture = fixture();
    let key = fixture.key("acme", &[], |_| {});
    let audited = (0..500).filter(|_| fixture.refusal::<Search>(Some(&key), None).audit).count();
    assert_eq!(audited as u64, limits::REFUSALS_AUDITED_PER_MINUTE);
}

#[test]
fn audiences() {
    let fixture = fixture();
    let me = vec![principal("user:me")];
    let them = vec![principal("user:them"), principal("group:x")];
    let audience = |scopes: &[Scope], acting: Option<&[Principal]>| {
        let key = fixture.key("acme", scopes, |k| k.principals = me.clone());
        fixture.gate.admit::<Whoami>(Some(&key), request_info(None)).unwrap().audience(acting, ReadersRule::Optional)
    };
    let some = |list: &[Principal]| Audience::Principals(list.to_vec());

    assert_eq!(audience(&[], None).unwrap(), some(&me));
    assert_eq!(audience(&[Scope::ActAs], None).unwrap(), some(&me));
    assert_eq!(audience(&[Scope::ActAs], Some(&them)).unwrap(), some(&them));
    assert_eq!(audience(&[Scope::ActAs], Some(&[])).unwrap(), some(&[]));
    assert_eq!(audience(&[Scope::ReadAll], None).unwrap(), Audience::Everything);
    assert_eq!(audience(&[Scope::Overwrite], None).unwrap(), some(&me), "the right to overwrite is no right to read");
    assert_eq!(audience(&[Scope::ReadAll, Scope::ActAs], Some(&them)).unwrap(), some(&them));
    for scopes in [&[][..], &[Scope::ReadAll], &[Scope::Search]] {
        let error = audience(scopes, Some(&them)).unwrap_err();
        assert_eq!((error.code, error.param.as_deref()), (Code::Forbidden, Some("as")));
    }
    for rule in [ReadersRule::Optional, ReadersRule::Required] {
        let grant = |scopes: &[Scope]| {
            let key = fixture.key("acme", scopes, |k| k.principals = me.clone());
            fixture.gate.admit::<Whoami>(Some(&key), request_info(None)).unwrap()
        };
        let mine = grant(&[]).audience(None, rule).unwrap();
        assert_eq!(mine.may_see(None), rule == ReadersRule::Optional);
        assert!(mine.may_see(Some(&me)) && !mine.may_see(Some(&them)));
        assert_eq!(grant(&[Scope::Ingest, Scope::Delete]).write_audience(rule), mine);
        for scope in [Scope::Overwrite, Scope::ReadAll] {
            assert_eq!(grant(&[scope]).write_audience(rule), Audience::Everything);
        }
        assert_eq!(grant(&[Scope::ReadAll]).audience(None, rule).unwrap(), Audience::Everything);
    }
    let crowd = vec![principal("user:x"); limits::READERS_MAX + 1];
    assert_eq!(audience(&[Scope::ActAs], Some(&crowd)).unwrap_err().code, Code::InvalidRequest);
}

#[test]
fn operators_by_role() {
    let fixture = fixture();
    let request = RequestId::from_bytes([2; 16]);
    for role in Role::ALL {
        let token = fixture.operator_token(*role);
        for needed in Role::ALL {
            let answer = fixture.gate.operator(Some(&token), &[*needed], request);
            assert_eq!(answer.is_ok(), *role == Role::Admin || role == needed, "{role:?} where {needed:?} is needed");
            if let Err(refusal) = answer {
                assert_eq!(refusal.error.code, Code::Forbidden);
            }
        }
        assert!(fixture.gate.operator(Some(&token), Role::ALL, request).is_ok());
        assert_eq!(fixture.gate.operator(Some(&token), &[], request).is_ok(), *role == Role::Admin);
    }
    let key = fixture.key("acme", Scope::ALL, |_| {});
    for bearer in [None, Some(key.as_str()), Some(&with_other_secret(&fixture.operator_token(Role::Admin)))] {
        let refusal = fixture.gate.operator(bearer, Role::ALL, request).unwrap_err();
        assert_eq!(body(&refusal.error), body(&unauthenticated()));
    }
}

#[test]
fn delegation_is_custodial_and_by_role() {
    let fixture = fixture();
    fixture.change("acme", |f| f.state = TenantState::Suspended);
    for role in Role::ALL {
        let token = fixture.operator_token(*role);
        let operator = fixture.gate.operator(Some(&token), &[*role], RequestId::from_bytes([3; 16])).unwrap();
        let rotate = fixture.gate.delegate::<RotateKey>(&operator, &tenant("acme"));
        let erase = fixture.gate.delegate::<Erase>(&operator, &tenant("acme"));
        assert_eq!(rotate.is_ok(), matches!(role, Role::Admin | Role::Keys));
        assert_eq!(erase.is_ok(), *role == Role::Admin);
        if let Ok(grant) = erase {
            assert_eq!(grant.identity(), &Identity::Operator(operator.name().clone()));
            assert_eq!(grant.request(), operator.request());
            assert!(Scope::ALL.iter().all(|s| !grant.has(*s)), "an operator has no scope");
            assert_eq!(grant.audience(None, ReadersRule::Optional).unwrap(), Audience::Principals(Vec::new()));
            assert!(grant.namespace().is_none() && !grant.may_enter(&namespace("docs")));
            let gone = fixture.gate.delegate::<Erase>(&operator, &tenant("gone")).unwrap_err();
            assert_eq!(body(&gone), body(&Error::not_found()));
        }
    }
}

#[test]
fn debug_shows_ids_and_nothing_a_customer_wrote() {
    let fixture = fixture();
    let key = fixture.key("acme", Scope::ALL, |k| {
        k.principals = vec![principal("user:secretive")];
        k.name = "payroll robot".into();
    });
    let grant = fixture
        .gate
        .admit::<Search>(Some(&key), RequestInfo { trace: Some("tr4ce".into()), ..request_info(Some("merger")) })
        .unwrap();
    assert_eq!(grant.trace(), Some("tr4ce"));
    let shown = format!("{grant:?} {:?}", grant.background_grant());
    for hidden in ["secretive", "payroll", "merger", "tr4ce", &key[3..]] {
        assert!(!shown.contains(hidden), "{shown}");
    }
    assert!(shown.contains("acme") && shown.contains("search"));
}

#[test]
fn a_grant_cannot_be_cloned_or_defaulted() {
    // `some` becomes ambiguous, and this does not compile, as soon as the grant implements one of these traits.
    trait Unless<Marker> {
        fn some() {}
    }
    struct Cloned;
    struct Defaulted;
    impl<T: ?Sized> Unless<()> for T {}
    impl<T: Clone> Unless<Cloned> for T {}
    impl<T: Default> Unless<Defaulted> for T {}
    <Grant<Search> as Unless<_>>::some();
    <Operator as Unless<_>>::some();
}

#[test]
fn peppers_differ() {
    let entropy = SeededEntropy::new(5);
    let (first, bytes) = Pepper::generate(&entropy);
    let (second, _) = Pepper::generate(&entropy);
    assert_eq!(first.mac(b"x"), Pepper::new(&bytes).mac(b"x"));
    assert_ne!(first.mac(b"x"), second.mac(b"x"));
    let mut random = [0; 4];
    entropy.fill(&mut random);
    assert_ne!(first.mac(&random), first.mac(b"x"));
}
