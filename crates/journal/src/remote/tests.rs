use super::*;
use zeroize::Zeroizing;

#[test]
fn addresses_are_parsed() {
    let url = RemoteUrl::parse("s3://bucket-1/a/b").expect("fits");
    assert_eq!((url.backend(), url.bucket(), url.prefix().as_ref()), (RemoteBackend::S3, "bucket-1", "a/b"));
    for text in ["s3://bucket", "gs://bucket/x", "az://container/x/y", "memory:"] {
        let url = RemoteUrl::parse(text).expect("fits");
        assert!(RemoteUrl::is_remote(text), "{text}");
        assert_eq!(url.to_string(), text);
    }
    assert_eq!(RemoteUrl::parse("s3://bucket/a/").expect("a slash at the end is fine").to_string(), "s3://bucket/a");
    assert!(!RemoteUrl::is_remote("/srv/s3") && !RemoteUrl::is_remote("file:///srv") && !RemoteUrl::is_remote("s3"));
}

#[test]
fn an_invalid_address_says_why() {
    let cases = [
        ("bucket", "no scheme"),
        ("http://bucket", "none of s3, gs and az"),
        ("s3://", "a bucket's name"),
        ("s3:///x", "a bucket's name"),
        ("s3://key:hunter2@bucket/x", "without credentials"),
        ("s3://host:9000/x", "or a port"),
        ("s3://bucket/x?region=eu", "options have keys of their own"),
        ("s3://bucket/a//b", "single slashes"),
        ("s3://bucket/../b", "single slashes"),
    ];
    for (text, part) in cases {
        let error = RemoteUrl::parse(text).expect_err(text).to_string();
        assert!(error.contains(part), "{text}: {error}");
        assert!(!error.contains("hunter2"), "a password is not repeated: {error}");
    }
}

#[test]
fn debug_output_shows_no_secret() {
    let secret = Zeroizing::new("hunter2".to_owned());
    let token = Some(Zeroizing::new("hunter3".to_owned()));
    let key = StorageCredentials::Key { id: "id".to_owned(), secret, token };
    let role = StorageCredentials::Role(vec![("AWS_ROLE_ARN".to_owned(), Zeroizing::new("hunter4".to_owned()))]);
    let shown = [key, role].map(|credentials| format!("{:?}", RemoteOptions { credentials, ..Default::default() }));
    assert!(shown[0].contains("Key(..)") && shown[1].contains("Role(..)"), "{shown:?}");
    assert!(!shown.concat().contains("hunter"), "{shown:?}");
}

#[tokio::test]
async fn memory_stores_objects() {
    use object_store::{ObjectStoreExt, path::Path};
    let store = connect(&RemoteUrl::parse("memory:").expect("fits"), &RemoteOptions::default()).expect("made");
    store.put(&Path::from("a"), "x".into()).await.expect("put");
    assert_eq!(store.get(&Path::from("a")).await.expect("there").bytes().await.expect("read"), "x");
}

#[cfg(not(feature = "gcs"))]
#[test]
fn a_backend_that_is_not_built_names_its_feature() {
    let url = RemoteUrl::parse("gs://bucket").expect("fits");
    let error = connect(&url, &RemoteOptions::default()).expect_err("left out").to_string();
    assert!(error.contains("Google Cloud Storage") && error.contains("--features gcs"), "{error}");
}

#[cfg(feature = "s3")]
#[test]
fn an_invalid_option_is_named() {
    let url = RemoteUrl::parse("s3://bucket").expect("fits");
    let refusal = |options: RemoteOptions| connect(&url, &options).expect_err("refused").to_string();
    let endpoint = |e: &str| RemoteOptions { endpoint: Some(e.to_owned()), ..Default::default() };
    assert!(refusal(endpoint("http://127.0.0.1:1")).contains("or set allow_http"));
    assert!(refusal(endpoint("s3.example.com")).contains("https://s3.example.com"));
    assert!(refusal(endpoint("https://id:hunter2@host")).contains("no credentials"));
    assert!(!refusal(endpoint("https://id:hunter2@host")).contains("hunter2"));
    assert!(refusal(endpoint("ftp://host")).contains("must begin with https://"));
    let secret = Zeroizing::new("hunter2".to_owned());
    let credentials = StorageCredentials::Key { id: String::new(), secret, token: None };
    assert!(refusal(RemoteOptions { credentials, ..Default::default() }).starts_with("access_key_id: is missing"));
    let account = Some("x".to_owned());
    assert!(refusal(RemoteOptions { account, ..Default::default() }).starts_with("account: is Azure's"));
    let missing = Some("/nowhere/ca.pem".into());
    let text = refusal(RemoteOptions { ca_certificates: missing, ..Default::default() });
    assert!(text.contains("ca_certificates") && text.contains("/nowhere/ca.pem"), "{text}");
}

#[cfg(feature = "s3")]
#[test]
fn valid_options_create_a_store_without_a_request() {
    let url = RemoteUrl::parse("s3://bucket/prefix").expect("fits");
    let endpoint = Some("http://127.0.0.1:1".to_owned());
    let role = StorageCredentials::Role(vec![("AWS_ROLE_ARN".to_owned(), Zeroizing::new("arn".to_owned()))]);
    for credentials in [StorageCredentials::Anonymous, role] {
        let virtual_hosted = true;
        let options = RemoteOptions {
            endpoint: endpoint.clone(),
            allow_http: true,
            virtual_hosted,
            credentials,
            ..Default::default()
        };
        let store = connect(&url, &options).expect("made");
        assert!(store.to_string().contains("prefix"), "{store}");
    }
}
