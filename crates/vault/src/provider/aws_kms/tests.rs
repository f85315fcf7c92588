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

/// The error codes of KMS's reference, and those that all of Amazon's services have.
#[test]
fn an_outage_and_a_no_are_told_apart() {
    use Denial::{Disabled, Forbidden, Missing, NotAuthentic};
    for (code, means) in [
        ("AccessDeniedException", Meaning::Denied(Forbidden)),
        ("UnrecognizedClientException", Meaning::Denied(Forbidden)),
        ("ExpiredTokenException", Meaning::Denied(Forbidden)),
        ("DisabledException", Meaning::Denied(Disabled)),
        ("KMSInvalidStateException", Meaning::Denied(Disabled)),
        ("NotFoundException", Meaning::Denied(Missing)),
        ("InvalidCiphertextException", Meaning::Denied(NotAuthentic)),
        ("IncorrectKeyException", Meaning::Denied(NotAuthentic)),
        ("InvalidKeyUsageException", Meaning::Unfit),
        ("InvalidArnException", Meaning::Unfit),
        ("ThrottlingException", Meaning::Outage),
        ("LimitExceededException", Meaning::Outage),
        ("KeyUnavailableException", Meaning::Outage),
        ("DependencyTimeoutException", Meaning::Outage),
        ("KMSInternalException", Meaning::Outage),
        ("InternalFailure", Meaning::Outage),
        ("ServiceUnavailable", Meaning::Outage),
        ("", Meaning::Outage),
    ] {
        assert_eq!(meaning(code), means, "{code}");
    }
    assert_eq!(
        [word("Abc9"), word(""), word("a b"), word(&"a".repeat(65))],
        ["Abc9", "an error", "an error", "an error"]
    );
}

#[test]
fn a_key_is_usable_only_where_it_is_enabled() {
    assert_eq!(state(Some(&KeyState::Enabled)), State::Usable);
    for denied in [KeyState::Disabled, KeyState::PendingDeletion, KeyState::PendingImport] {
        assert_eq!(state(Some(&denied)), State::Denied);
    }
    for waiting in [Some(KeyState::Unavailable), Some(KeyState::Creating), Some("New".into()), None] {
        assert_eq!(state(waiting.as_ref()), State::Waiting, "{waiting:?}");
    }
}

#[test]
fn nobody_who_answers_is_an_outage_without_the_secret_in_it() {
    let provider = Arc::new(AwsKmsProvider::new(config()).unwrap());
    for name in ["", "a b", "alias/\u{e9}", "a?b", &"a".repeat(257)] {
        assert!(matches!(provider.clone().key(name), Err(Error::KeyName { .. })), "{name}");
    }
    let key = provider.key("alias/ringfence").unwrap();
    let error = key.facts().unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }) && !error.to_string().contains("hunter2"), "{error}");
    // Such a length is never a ciphertext: nobody is asked.
    for wrap in [&[][..], &[0; WRAP_BYTES_MAX + 1]] {
        assert!(matches!(key.unwrap(b"c", wrap), Err(Error::Denied { why: Denial::NotAuthentic, .. })));
    }
}

/// Its runtime may be neither waited for nor dropped where tasks run, but it may be used and left there.
#[tokio::test]
async fn a_task_may_use_and_drop_it() {
    let key = Arc::new(AwsKmsProvider::new(config()).unwrap()).key("alias/ringfence").unwrap();
    assert!(matches!(key.facts(), Err(Error::Unavailable { .. })));
    drop(key);
}

#[test]
fn what_cannot_be_used_is_said_at_once() {
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
