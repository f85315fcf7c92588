//! Amazon's KMS as moto plays it: that requests and replies have the form that both sides expect. What Amazon's does
//! that moto does not, such as refusing callers, is in no test here.

use super::{denial, outage, print, secret};
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

/// What the keepers of the keys do.
fn keeper(moto: &Moto, action: &str, body: Value) -> Value {
    let address = moto.endpoint().strip_prefix("http://").unwrap().parse().unwrap();
    let who = format!(
        "AWS4-HMAC-SHA256 Credential={}/20260101/us-east-1/kms/aws4_request, Signature=0",
        moto.credentials().id
    );
    let headers = [("x-amz-target", &*format!("TrentService.{action}")), ("authorization", &*who)];
    let reply = Http::new(address, None).send_bytes("POST", "/", body.to_string().as_bytes(), &headers);
    reply.unwrap().ok()
}

/// A key of the keepers, by its id.
fn made(moto: &Moto, how: Value) -> (String, Key) {
    let id = keeper(moto, "CreateKey", how)["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    let key = provider(moto, moto.endpoint(), &id, false).key(&id).unwrap();
    (id, key)
}

#[test]
fn a_wrap_opens_with_its_key_and_context_only() {
    let Some(moto) = Moto::start() else { return };
    let ((id, ours), (_, theirs), secret) = (made(&moto, json!({})), made(&moto, json!({})), secret());
    let wrap = ours.wrap(b"tenant-a", &secret).unwrap();
    assert_eq!(print(&ours.unwrap(b"tenant-a", &wrap).unwrap()), print(&secret));
    assert_eq!(denial(ours.unwrap(b"tenant-b", &wrap)), Denial::NotAuthentic);
    // Moto's word for what Amazon calls an incorrect key.
    assert_eq!(denial(theirs.unwrap(b"tenant-a", &wrap)), Denial::Forbidden);
    let last = wrap.len() - 1;
    let altered = [&wrap[..last], &[wrap[last] ^ 1]].concat();
    assert_eq!(denial(ours.unwrap(b"tenant-a", &altered)), Denial::NotAuthentic);
    let again = ours.rewrap(b"tenant-a", &wrap).unwrap();
    assert_ne!(again, wrap);
    assert_eq!(print(&ours.unwrap(b"tenant-a", &again).unwrap()), print(&secret));
    assert_eq!(denial(ours.rewrap(b"tenant-b", &wrap)), Denial::NotAuthentic);
    // An alias is another name of the same key.
    keeper(&moto, "CreateAlias", json!({"AliasName": "alias/shared", "TargetKeyId": id}));
    let alias = provider(&moto, moto.endpoint(), "alias/shared", false).key("alias/shared").unwrap();
    assert_eq!(print(&alias.unwrap(b"tenant-a", &wrap).unwrap()), print(&secret));
}

#[test]
fn a_disabled_key_is_refused_until_it_is_enabled() {
    let Some(moto) = Moto::start() else { return };
    let (id, key) = made(&moto, json!({}));
    let wrap = key.wrap(b"c", &secret()).unwrap();
    assert_eq!(key.facts().unwrap().algorithm, "aws-kms symmetric-default");
    keeper(&moto, "DisableKey", json!({"KeyId": id}));
    assert_eq!(denial(key.facts()), Denial::Disabled);
    assert_eq!(denial(key.unwrap(b"c", &wrap)), Denial::Disabled);
    keeper(&moto, "EnableKey", json!({"KeyId": id}));
    key.unwrap(b"c", &wrap).unwrap();

    let missing = "11111111-2222-3333-4444-555555555555";
    let missing = provider(&moto, moto.endpoint(), missing, false).key(missing).unwrap();
    assert_eq!(denial(missing.wrap(b"c", &secret())), Denial::Missing);
    assert_eq!(denial(missing.facts()), Denial::Missing);
    let (_, signs) = made(&moto, json!({"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"}));
    let error = signs.facts().unwrap_err();
    assert!(matches!(error, Error::Provider { .. }) && error.to_string().contains("symmetric"), "{error}");
}

#[test]
fn a_tenants_own_key_is_made_once_and_scheduled_for_deletion() {
    let Some(moto) = Moto::start() else { return };
    let provider = provider(&moto, moto.endpoint(), "alias/rf", true);
    assert_eq!((provider.kind(), provider.key_per_tenant()), ("aws-kms", Some("alias/rf")));
    let key = provider.clone().key("alias/rf-tenant-1").unwrap();
    assert_eq!(denial(key.facts()), Denial::Missing);
    key.create().unwrap();
    let wrap = key.wrap(b"c", &secret()).unwrap();
    key.create().unwrap();
    key.unwrap(b"c", &wrap).unwrap();
    let keys = || keeper(&moto, "ListKeys", json!({}))["Keys"].as_array().unwrap().len();
    assert_eq!(keys(), 1);

    for _ in 0..2 {
        let receipt = key.destroy().unwrap();
        assert!(receipt.destroyed, "{receipt:?}");
        // A day that a person can read.
        assert!(receipt.said.contains("deleted at 20") && receipt.said.contains("T"), "{receipt:?}");
    }
    assert_eq!(denial(key.unwrap(b"c", &wrap)), Denial::Disabled);
    assert_eq!(denial(key.facts()), Denial::Disabled);
    assert_eq!(denial(key.create()), Denial::Disabled);
    // What is no alias cannot be made, and a failure leaves no key that nobody knows of.
    assert!(matches!(provider.clone().key("rf").unwrap().create(), Err(Error::KeyName { .. })));
    assert_eq!(keys(), 1);
    assert!(provider.key("alias/rf-tenant-2").unwrap().destroy().unwrap().destroyed);
}

#[test]
fn who_is_slow_or_gone_is_an_outage() {
    let Some(moto) = Moto::start() else { return };
    let (id, there) = made(&moto, json!({}));
    let wrap = there.wrap(b"c", &secret()).unwrap();
    let socket = moto.endpoint().strip_prefix("http://").unwrap().parse().unwrap();
    let proxy = SlowProxy::before(socket);
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
