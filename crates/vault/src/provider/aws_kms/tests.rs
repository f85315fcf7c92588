use super::*;

fn config() -> AwsKmsConfig {
    AwsKmsConfig {
        name: "kms".to_owned(),
        region: "eu-central-1".to_owned(),
        endpoint: Some("http://127.0.0.1:1".to_owned()),
        key: "alias/ringfence".to_owned(),
        key_per_tenant: true,
        credentials: AwsCredentials::Key {
            id: "AKIDEXAMPLE".to_owned(),
            secret: Zeroizing::new("hunter2".to_owned()),
            token: None,
        },
        ca_certificates: None,
        timeout: Duration::from_secs(2),
    }
}

/// The error codes of KMS's reference, and those that all of Amazon's services share.
#[test]
fn outages_and_denials_are_distinguished() {
    use Denial::{Disabled, Forbidden, Missing, NotAuthentic};
    for (code, means) in [
        ("AccessDeniedException", KmsErrorClass::Denied(Forbidden)),
        ("UnrecognizedClientException", KmsErrorClass::Denied(Forbidden)),
        ("ExpiredTokenException", KmsErrorClass::Denied(Forbidden)),
        ("DisabledException", KmsErrorClass::Denied(Disabled)),
        ("KMSInvalidStateException", KmsErrorClass::Denied(Disabled)),
        ("NotFoundException", KmsErrorClass::Denied(Missing)),
        ("InvalidCiphertextException", KmsErrorClass::Denied(NotAuthentic)),
        ("IncorrectKeyException", KmsErrorClass::Denied(NotAuthentic)),
        ("InvalidKeyUsageException", KmsErrorClass::Unfit),
        ("InvalidArnException", KmsErrorClass::Unfit),
        ("ThrottlingException", KmsErrorClass::Outage),
        ("LimitExceededException", KmsErrorClass::Outage),
        ("KeyUnavailableException", KmsErrorClass::Outage),
        ("DependencyTimeoutException", KmsErrorClass::Outage),
        ("KMSInternalException", KmsErrorClass::Outage),
        ("InternalFailure", KmsErrorClass::Outage),
        ("ServiceUnavailable", KmsErrorClass::Outage),
        ("", KmsErrorClass::Outage),
    ] {
        assert_eq!(classify(code), means, "{code}");
    }
    assert_eq!(
        [printable_code("Abc9"), printable_code(""), printable_code("a b"), printable_code(&"a".repeat(65))],
        ["Abc9", "an error", "an error", "an error"]
    );
}

#[test]
fn only_an_enabled_key_is_usable() {
    assert_eq!(usability(Some(&KeyState::Enabled)), KeyUsability::Usable);
    for denied in [KeyState::Disabled, KeyState::PendingDeletion, KeyState::PendingImport] {
        assert_eq!(usability(Some(&denied)), KeyUsability::Denied);
    }
    for waiting in [Some(KeyState::Unavailable), Some(KeyState::Creating), Some("New".into()), None] {
        assert_eq!(usability(waiting.as_ref()), KeyUsability::Waiting, "{waiting:?}");
    }
}

#[test]
fn no_answer_is_an_outage_and_the_error_hides_the_secret() {
    let provider = Arc::new(AwsKmsProvider::new(config()).unwrap());
    for name in ["", "a b", "alias/\u{e9}", "a?b", &"a".repeat(257)] {
        assert!(matches!(provider.clone().key(name), Err(Error::KeyName { .. })), "{name}");
    }
    let key = provider.key("alias/ringfence").unwrap();
    let error = key.facts().unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }) && !error.to_string().contains("hunter2"), "{error}");
    // No ciphertext has such a length, so KMS is not called.
    for wrap in [&[][..], &[0; WRAP_BYTES_MAX + 1]] {
        assert!(matches!(key.unwrap(b"c", wrap), Err(Error::Denied { why: Denial::NotAuthentic, .. })));
    }
}

/// The provider's runtime must neither be awaited nor dropped inside a task, but a task may use the provider and drop
/// it.
#[tokio::test]
async fn a_task_may_use_and_drop_the_provider() {
    let key = Arc::new(AwsKmsProvider::new(config()).unwrap()).key("alias/ringfence").unwrap();
    assert!(matches!(key.facts(), Err(Error::Unavailable { .. })));
    drop(key);
}

#[test]
fn an_unusable_configuration_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.pem");
    std::fs::write(&text, "no certificate").unwrap();
    let refused = |config: AwsKmsConfig| AwsKmsProvider::new(config).err().unwrap().to_string();
    let error = refused(AwsKmsConfig { key: "ringfence".to_owned(), ..config() });
    assert!(error.contains("the beginning of an alias"), "{error}");
    let error = refused(AwsKmsConfig { ca_certificates: Some(text), ..config() });
    assert!(error.contains("hold no certificate"), "{error}");
    let error = refused(AwsKmsConfig { ca_certificates: Some(folder.path().join("absent")), ..config() });
    assert!(error.contains("cannot be read"), "{error}");
}
