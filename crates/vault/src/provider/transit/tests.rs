use super::*;

fn provider() -> TransitProvider {
    TransitProvider::new(TransitConfig {
        name: "bao".to_owned(),
        address: "https://127.0.0.1:1".to_owned(),
        mount: "transit".to_owned(),
        namespace: None,
        key: "ringfence".to_owned(),
        key_per_tenant: false,
        token: TransitToken::Value(Zeroizing::new("s.secret".to_owned())),
        ca_certificates: None,
        timeout: Duration::from_secs(1),
    })
    .unwrap()
}

/// Statuses and messages as returned by OpenBao 2.7.2.
#[test]
fn outages_and_denials_are_distinguished() {
    let denied = |status, said: &str| {
        let reply = json!({ "errors": [said] }).to_string();
        match provider().translate_error(status, reply.as_bytes()) {
            Error::Denied { why, .. } => Some(why),
            Error::Unavailable { .. } => None,
            other => panic!("{other}"),
        }
    };
    for (status, said, why) in [
        (400, "refusing to use soft-deleted key", Some(Denial::Disabled)),
        (500, "1 error occurred:\n\t* refusing to use soft-deleted key\n\n", Some(Denial::Disabled)),
        (400, "ciphertext or signature version is disallowed by policy (too old)", Some(Denial::Disabled)),
        (400, "encryption key not found", Some(Denial::Missing)),
        (404, "", Some(Denial::Missing)),
        (404, "no handler for route \"elsewhere/decrypt/root\". route entry not found.", Some(Denial::Missing)),
        (403, "1 error occurred:\n\t* permission denied\n\n", Some(Denial::Forbidden)),
        (403, "permission denied", Some(Denial::Forbidden)),
        (400, "cipher: message authentication failed", Some(Denial::NotAuthentic)),
        (400, "invalid ciphertext: version is too new", Some(Denial::NotAuthentic)),
        (503, "Vault is sealed", None),
        (500, "local node not active but active cluster node not found", None),
        (429, "request path \"transit/decrypt/x\": rate limit quota exceeded", None),
        (502, "", None),
    ] {
        assert_eq!(denied(status, said), why, "{status} {said}");
    }
    assert!(matches!(provider().translate_error(503, b"<html>"), Error::Unavailable { .. }));
}

#[test]
fn a_name_that_could_change_the_request_path_is_refused() {
    let provider = Arc::new(provider());
    for name in ["", ".", "..", "a/b", "a?b", "a b", "a%2fb", "\u{e9}", &"a".repeat(129)] {
        assert!(matches!(provider.clone().key(name), Err(Error::KeyName { .. })), "{name}");
    }
    assert_eq!(provider.key("tenant-1.x_Y").unwrap().name(), "tenant-1.x_Y");
}

#[test]
fn no_answer_is_an_outage_and_the_error_hides_the_token() {
    let key = Arc::new(provider()).key("k").unwrap();
    let error = key.unwrap(b"context", b"vault:v1:xx").err().unwrap();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    assert!(!format!("{error} {error:?}").contains("s.secret"));
}
