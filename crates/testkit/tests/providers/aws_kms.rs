//! Amazon's KMS as moto emulates it: requests and replies have the form that both sides expect. No test here covers
//! what moto lacks, such as the refusal of callers.

use super::{denial, fingerprint, outage, secret};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use testkit::{Http, Moto, ProxyMode, SlowProxy};
use vault::{AwsCredentials, AwsKmsConfig, AwsKmsProvider, Denial, Error, Key, KeyProvider};
use zeroize::Zeroizing;

fn provider(moto: &Moto, endpoint: String, key: &str, key_per_tenant: bool) -> Arc<AwsKmsProvider> {
    let own = moto.credentials();
    let config = AwsKmsConfig {
        name: "kms".to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: Some(endpoint),
        key: key.to_owned(),
        key_per_tenant,
        credentials: AwsCredentials::Key { id: own.id, secret: Zeroizing::new(own.secret), token: None },
        ca_certificates: None,
        timeout: Duration::from_secs(5),
    };
    Arc::new(AwsKmsProvider::new(config).unwrap())
}

/// Sends a request of the customer's key administrators.
fn administrator(moto: &Moto, action: &str, body: Value) -> Value {
    let address = moto.endpoint().strip_prefix("http://").unwrap().parse().unwrap();
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/20260101/us-east-1/kms/aws4_request, Signature=0",
        moto.credentials().id
    );
    let headers = [("x-amz-target", &*format!("TrentService.{action}")), ("authorization", &*authorization)];
    let reply = Http::new(address, None).send_bytes("POST", "/", body.to_string().as_bytes(), &headers);
    reply.unwrap().ok()
}

/// Creates a key of the administrators and opens it by its id.
fn create_key(moto: &Moto, how: Value) -> (String, Key) {
    let id = administrator(moto, "CreateKey", how)["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    let key = provider(moto, moto.endpoint(), &id, false).key(&id).unwrap();
    (id, key)
}

#[test]
fn a_wrap_opens_with_its_key_and_context_only() {
    let Some(moto) = Moto::start() else { return };
    let ((id, ours), (_, theirs), secret) = (create_key(&moto, json!({})), create_key(&moto, json!({})), secret());
    let wrap = ours.wrap(b"tenant-a", &secret).unwrap();
    assert_eq!(fingerprint(&ours.unwrap(b"tenant-a", &wrap).unwrap()), fingerprint(&secret));
    assert_eq!(denial(ours.unwrap(b"tenant-b", &wrap)), Denial::NotAuthentic);
    // Moto's error for what Amazon calls an incorrect key.
    assert_eq!(denial(theirs.unwrap(b"tenant-a", &wrap)), Denial::Forbidden);
    let last = wrap.len() - 1;
    let altered = [&wrap[..last], &[wrap[last] ^ 1]].concat();
    assert_eq!(denial(ours.unwrap(b"tenant-a", &altered)), Denial::NotAuthentic);
    let again = ours.rewrap(b"tenant-a", &wrap).unwrap();
    assert_ne!(again, wrap);
    assert_eq!(fingerprint(&ours.unwrap(b"tenant-a", &again).unwrap()), fingerprint(&secret));
    assert_eq!(denial(ours.rewrap(b"tenant-b", &wrap)), Denial::NotAuthentic);
    // An alias is another name of the same key.
    administrator(&moto, "CreateAlias", json!({"AliasName": "alias/shared", "TargetKeyId": id}));
    let alias = provider(&moto, moto.endpoint(), "alias/shared", false).key("alias/shared").unwrap();
    assert_eq!(fingerprint(&alias.unwrap(b"tenant-a", &wrap).unwrap()), fingerprint(&secret));
}

#[test]
fn a_disabled_key_is_refused_until_it_is_enabled() {
    let Some(moto) = Moto::start() else { return };
    let (id, key) = create_key(&moto, json!({}));
    let wrap = key.wrap(b"c", &secret()).unwrap();
    assert_eq!(key.facts().unwrap().algorithm, "aws-kms symmetric-default");
    administrator(&moto, "DisableKey", json!({"KeyId": id}));
    assert_eq!(denial(key.facts()), Denial::Disabled);
    assert_eq!(denial(key.unwrap(b"c", &wrap)), Denial::Disabled);
    administrator(&moto, "EnableKey", json!({"KeyId": id}));
    key.unwrap(b"c", &wrap).unwrap();

    let missing = "11111111-2222-3333-4444-555555555555";
    let missing = provider(&moto, moto.endpoint(), missing, false).key(missing).unwrap();
    assert_eq!(denial(missing.wrap(b"c", &secret())), Denial::Missing);
    assert_eq!(denial(missing.facts()), Denial::Missing);
    let (_, signs) = create_key(&moto, json!({"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"}));
    let error = signs.facts().unwrap_err();
    assert!(matches!(error, Error::Provider { .. }) && error.to_string().contains("symmetric"), "{error}");
}

#[test]
fn a_tenants_own_key_is_created_once_and_scheduled_for_deletion() {
    let Some(moto) = Moto::start() else { return };
    let provider = provider(&moto, moto.endpoint(), "alias/rf", true);
    assert_eq!((provider.kind(), provider.key_per_tenant()), ("aws-kms", Some("alias/rf")));
    let key = provider.clone().key("alias/rf-tenant-1").unwrap();
    assert_eq!(denial(key.facts()), Denial::Missing);
    key.create().unwrap();
    let wrap = key.wrap(b"c", &secret()).unwrap();
    key.create().unwrap();
    key.unwrap(b"c", &wrap).unwrap();
    let keys = || administrator(&moto, "ListKeys", json!({}))["Keys"].as_array().unwrap().len();
    assert_eq!(keys(), 1);

    for _ in 0..2 {
        let receipt = key.destroy().unwrap();
        assert!(receipt.destroyed, "{receipt:?}");
        // The receipt names a date in readable form.
        assert!(receipt.said.contains("deleted at 20") && receipt.said.contains("T"), "{receipt:?}");
    }
    assert_eq!(denial(key.unwrap(b"c", &wrap)), Denial::Disabled);
    assert_eq!(denial(key.facts()), Denial::Disabled);
    assert_eq!(denial(key.create()), Denial::Disabled);
    // A key without an alias cannot be created, and a failure leaves no unknown key behind.
    assert!(matches!(provider.clone().key("rf").unwrap().create(), Err(Error::KeyName { .. })));
    assert_eq!(keys(), 1);
    assert!(provider.key("alias/rf-tenant-2").unwrap().destroy().unwrap().destroyed);
}

#[test]
fn a_slow_or_unreachable_server_is_an_outage() {
    let Some(moto) = Moto::start() else { return };
    let (id, there) = create_key(&moto, json!({}));
    let wrap = there.wrap(b"c", &secret()).unwrap();
    let socket = moto.endpoint().strip_prefix("http://").unwrap().parse().unwrap();
    let proxy = SlowProxy::in_front_of(socket);
    let key = provider(&moto, proxy.address(), &id, false).key(&id).unwrap();
    key.unwrap(b"c", &wrap).unwrap();
    proxy.set(ProxyMode::Refuse);
    let reason = outage(key.unwrap(b"c", &wrap));
    assert!(reason.contains("reached"), "{reason}");
    proxy.set(ProxyMode::Hang);
    let reason = outage(key.facts());
    assert!(reason.contains("too long"), "{reason}");
    proxy.set(ProxyMode::Pass);
    key.unwrap(b"c", &wrap).unwrap();
}
