//! Each written key is accepted, or refused by name; nothing is ignored.

use super::*;

fn environment(pairs: &[(&str, &str)]) -> Environment {
    let home = [("HOME", "/home/x")];
    Environment::of(home.iter().chain(pairs).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
}

fn settings(toml: &str, pairs: &[(&str, &str)]) -> Result<Settings> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ringfence.toml");
    std::fs::write(&file, toml).expect("written");
    let environment = environment(pairs);
    Settings::new(&Config::load(Some(&file), &environment)?, None, &environment)
}

fn refusal(toml: &str, pairs: &[(&str, &str)]) -> String {
    format!("{:#}", settings(toml, pairs).err().expect("is refused"))
}

#[test]
fn defaults_listen_on_loopback() {
    let s = settings("", &[]).expect("fits");
    assert_eq!(s.data_plane.address.to_string(), "127.0.0.1:7171");
    assert_eq!(s.control_plane.address.to_string(), "127.0.0.1:7172");
    assert_eq!(s.storage.folder().expect("a folder"), Path::new("/home/x/.local/share/ringfence"));
    assert!(matches!(s.root_key, RootKeySource::File(p) if p == Path::new("/home/x/.config/ringfence/root.key")));
    assert!(!s.models.configured && s.models.enabled);
}

#[test]
fn the_environment_overrides_the_file() {
    let s = settings(
        "[data_plane]\nlisten = \"127.0.0.1:1\"\n[storage]\nurl = \"file:///srv/rf\"\n",
        &[
            ("RINGFENCE__DATA_PLANE__LISTEN", "127.0.0.1:0"),
            ("RINGFENCE__LIMITS__SEARCHES", "7"),
            ("RINGFENCE__AUDIT__STRICT", "true"),
        ],
    )
    .expect("fits");
    assert_eq!(s.data_plane.address.to_string(), "127.0.0.1:0");
    assert_eq!((s.searches_max, s.strict_audit), (Some(7), true));
    assert_eq!(s.storage.folder().expect("a folder"), Path::new("/srv/rf"));
}

#[test]
fn an_invalid_value_is_named_with_its_source() {
    let text = refusal("[data_plane]\nlistn = \"x\"\n", &[]);
    assert!(text.contains("ringfence.toml: data_plane.listn is unknown here; known are listen, tls_cert"), "{text}");
    let text = refusal("[limits]\nsearches = \"many\"\n", &[]);
    assert!(text.contains("limits.searches must be a whole number, 0 or more (it is \"many\")"), "{text}");
    let text = refusal("", &[("RINGFENCE__LOG__LEVEL", "loud")]);
    assert!(text.contains("RINGFENCE__LOG__LEVEL: log.level must be one of error, warn, info, debug, trace"), "{text}");
    let text = refusal("", &[("RINGFENCE__DATA_PLANE", "x")]);
    assert!(text.contains("RINGFENCE__DATA_PLANE") && text.contains("RINGFENCE__SECTION__KEY"), "{text}");
    let text = refusal("[limits]\nsearches = 0\n", &[]);
    assert!(text.contains("limits.searches = 0: must be 1 to"), "{text}");
    let text = refusal("[storage]\nurl = \"ftp://bucket\"\n", &[]);
    assert!(text.contains("storage.url = \"ftp://bucket\": must be file:///"), "{text}");
    let text = refusal("[data_plane\n", &[]);
    assert!(text.contains("is not valid TOML"), "{text}");
}

#[test]
fn an_address_beyond_loopback_needs_tls_or_permission() {
    let text = refusal("[data_plane]\nlisten = \"0.0.0.0:7171\"\n", &[]);
    assert!(text.contains("without TLS") && text.contains("data_plane.insecure = true"), "{text}");
    settings("[data_plane]\nlisten = \"0.0.0.0:7171\"\ninsecure = true\n", &[]).expect("permitted");
    settings("[data_plane]\nlisten = \"0.0.0.0:7171\"\ntls_cert = \"c\"\ntls_key = \"k\"\n", &[]).expect("tls");
    let text = refusal("[control_plane]\ntls_cert = \"c\"\n", &[]);
    assert!(text.contains("control_plane.tls_key is missing"), "{text}");
}

#[test]
fn a_secret_has_one_source() {
    let text = refusal("", &[("RINGFENCE_ROOT_KEY", "a"), ("RINGFENCE_ROOT_KEY_FILE", "b")]);
    assert!(text.contains("both set"), "{text}");
    let text = refusal("", &[("RINGFENCE_OLD_ROOT_KEY", "a"), ("RINGFENCE_OLD_ROOT_KEY_FILE", "b")]);
    assert!(text.contains("RINGFENCE_OLD_ROOT_KEY and RINGFENCE_OLD_ROOT_KEY_FILE are both set"), "{text}");
    let changed = settings("", &[("RINGFENCE_OLD_ROOT_KEY_FILE", "/old.key")]).expect("settings");
    assert!(matches!(changed.old_root_key, Some(RootKeySource::File(p)) if p == Path::new("/old.key")));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "rfop_x\n").expect("written");
    let e = environment(&[("RINGFENCE_OPERATOR_TOKEN_FILE", file.to_str().expect("utf-8"))]);
    assert_eq!(e.secret("RINGFENCE_OPERATOR_TOKEN").expect("read").expect("there").as_str(), "rfop_x");
    assert!(!format!("{e:?}").contains("token\": "), "names only");
}

const S3: &str = "[storage]\nurl = \"s3://bucket/prefix\"\nendpoint = \"https://s3.example.com\"\nregion = \"eu\"\n\
                  access_key_id = \"AKIDEXAMPLE\"\nretries = 2\nrequest_timeout_s = 7\n";

fn remote(toml: &str, pairs: &[(&str, &str)]) -> RemoteSettings {
    match settings(toml, pairs).expect("fits").storage {
        StorageLocation::Remote(remote) => *remote,
        StorageLocation::Folder(path) => panic!("a folder: {}", path.display()),
    }
}

#[test]
fn an_object_store_takes_its_options_and_a_secret_that_is_never_shown() {
    let found = remote(S3, &[("RINGFENCE_STORAGE_SECRET", "hunter2"), ("RINGFENCE_STORAGE_TOKEN", "hunter3")]);
    assert_eq!(found.url.to_string(), "s3://bucket/prefix");
    let options = &found.options;
    assert_eq!((options.endpoint.as_deref(), options.region.as_deref()), (Some("https://s3.example.com"), Some("eu")));
    assert_eq!((options.retry.retries_max, options.request_timeout.as_secs()), (2, 7));
    assert_eq!((options.retry.timeout, options.connect_timeout.as_secs()), (journal::RETRY_TIMEOUT, 5));
    let journal::StorageCredentials::Key { id, secret, token } = &options.credentials else { panic!("a key") };
    assert_eq!((id.as_str(), secret.as_str()), ("AKIDEXAMPLE", "hunter2"));
    assert_eq!(token.as_ref().map(|t| t.as_str()), Some("hunter3"));
    assert!(!format!("{found:?}").contains("hunter"), "{found:?}");
}

#[test]
fn the_secret_of_an_object_store_may_come_from_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    std::fs::write(&file, "hunter2\n").expect("written");
    let found = remote(S3, &[("RINGFENCE_STORAGE_SECRET_FILE", file.to_str().expect("utf-8"))]);
    let journal::StorageCredentials::Key { secret, .. } = &found.options.credentials else { panic!("a key") };
    assert_eq!(secret.as_str(), "hunter2");
}

#[test]
fn without_a_key_the_role_of_the_machine_is_used() {
    let pairs = [("AWS_ROLE_ARN", "arn:x"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/run/token"), ("AWS_PROFILE", "y")];
    let found = remote("[storage]\nurl = \"s3://bucket\"\n", &pairs);
    let journal::StorageCredentials::Role(pairs) = &found.options.credentials else { panic!("a role") };
    let names: Vec<_> = pairs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"]);
}

#[test]
fn invalid_settings_of_an_object_store_are_named() {
    const SECRET: (&str, &str) = ("RINGFENCE_STORAGE_SECRET", "hunter2");
    type Pairs = &'static [(&'static str, &'static str)];
    let cases: [(&str, Pairs, &str); 9] = [
        (S3, &[], "RINGFENCE_STORAGE_SECRET (or RINGFENCE_STORAGE_SECRET_FILE) is missing"),
        (S3, &[SECRET, ("RINGFENCE_STORAGE_SECRET_FILE", "x")], "both set"),
        (S3, &[SECRET, ("RINGFENCE_DATA", "/srv")], "remove one of them"),
        ("[storage]\nurl = \"s3://bucket\"\n", &[SECRET], "storage.access_key_id is missing"),
        ("[storage]\nurl = \"gs://bucket\"\naccess_key_id = \"x\"\n", &[SECRET], "is only for S3"),
        ("[storage]\nurl = \"s3://a:hunter2@bucket\"\n", &[], "storage.url: not the address of an object store"),
        ("[storage]\nurl = \"memory:\"\n", &[], "keeps nothing"),
        (
            "[storage]\nurl = \"s3://b\"\nrequest_timeout_s = 0\n",
            &[],
            "storage.request_timeout_s = 0: must be 1 to 3600",
        ),
        ("[storage]\nregion = \"eu\"\n", &[], "storage.region is for an object store"),
    ];
    for (toml, pairs, part) in cases {
        let text = refusal(toml, pairs);
        assert!(text.contains(part), "{toml}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}

const HSM: &str = "[key_providers.my-hsm]\nkind = \"pkcs11\"\nmodule = \"/usr/lib/hsm.so\"\ntoken_label = \"prod\"\n";
const KMS: &str = "[key_providers.kms]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\n";

fn key_provider(toml: &str, pairs: &[(&str, &str)]) -> KeyProviderSettings {
    let keys = settings(toml, pairs).expect("fits").keys;
    assert!(!format!("{keys:?}").contains("hunter"), "{keys:?}");
    keys.providers.into_iter().next().expect("a provider").1
}

#[test]
fn a_token_takes_its_pin_from_the_environment() {
    let KeyProviderSettings::Pkcs11(found) = key_provider(HSM, &[("RINGFENCE_MY_HSM_PIN", "hunter2")]) else {
        panic!("another kind")
    };
    assert_eq!((found.module.as_path(), &*found.token), (Path::new("/usr/lib/hsm.so"), "prod"));
    assert_eq!((found.pin.as_str(), &*found.key, found.key_per_tenant), ("hunter2", "ringfence", false));
}

#[test]
fn aws_kms_takes_an_access_key_or_the_librarys_chain() {
    let KeyProviderSettings::AwsKms(found) = key_provider(KMS, &[]) else { panic!("another kind") };
    assert_eq!((&*found.region, found.endpoint, &*found.key), ("eu-central-1", None, "alias/ringfence"));
    assert!(found.credentials.is_none() && !found.key_per_tenant && found.timeout.as_secs() == 5);
    let toml = format!("{KMS}access_key_id = \"AKIDEXAMPLE\"\nendpoint = \"http://127.0.0.1:1\"\ntimeout_s = 9\n");
    let pairs = [("RINGFENCE_KMS_SECRET", "hunter2"), ("RINGFENCE_KMS_TOKEN", "hunter3")];
    let KeyProviderSettings::AwsKms(found) = key_provider(&toml, &pairs) else { panic!("another kind") };
    assert_eq!((found.endpoint.as_deref(), found.timeout.as_secs()), (Some("http://127.0.0.1:1"), 9));
    let key = found.credentials.expect("a key");
    assert_eq!((&*key.id, key.secret.as_str()), ("AKIDEXAMPLE", "hunter2"));
    assert_eq!(key.token.as_ref().map(|t| t.as_str()), Some("hunter3"));
}

#[test]
fn invalid_settings_of_a_key_provider_are_named() {
    const PIN: (&str, &str) = ("RINGFENCE_MY_HSM_PIN", "hunter2");
    const TOKEN: (&str, &str) = ("RINGFENCE_BAO_TOKEN", "hunter2");
    const BAO: &str = "[key_providers.bao]\nkind = \"transit\"\naddress = \"https://bao.example\"\n";
    type Pairs = &'static [(&'static str, &'static str)];
    let cases: [(String, Pairs, &str); 13] = [
        (HSM.to_owned(), &[], "RINGFENCE_MY_HSM_PIN (or RINGFENCE_MY_HSM_PIN_FILE) is missing"),
        (HSM.replace("/usr/lib/", ""), &[PIN], "module = \"hsm.so\": must be an absolute path"),
        (HSM.replace("token_label", "#"), &[PIN], "token_label is missing"),
        (format!("{HSM}timeout_s = 5\n"), &[PIN], "timeout_s is for kind transit and aws-kms; this one is pkcs11"),
        (format!("{HSM}region = \"eu\"\n"), &[PIN], "key_providers.my-hsm: region is for kind aws-kms"),
        (format!("{BAO}module = \"/m.so\"\n"), &[TOKEN], "module is for kind pkcs11; this one is transit"),
        (KMS.replace("region", "#"), &[], "region is missing"),
        (format!("{KMS}address = \"https://x\"\n"), &[], "address is for kind transit; this one is aws-kms"),
        (format!("{KMS}endpoint = \"http://kms.example\"\n"), &[], "endpoint = \"http://kms.example\" would send keys"),
        (
            format!("{KMS}access_key_id = \"A\"\n"),
            &[],
            "RINGFENCE_KMS_SECRET (or RINGFENCE_KMS_SECRET_FILE) is missing",
        ),
        (KMS.to_owned(), &[("RINGFENCE_KMS_SECRET", "hunter2")], "access_key_id is missing"),
        (KMS.to_owned(), &[("RINGFENCE_KMS_TOKEN", "hunter2")], "RINGFENCE_KMS_TOKEN is set, but"),
        (format!("{KMS}key = \"ringfence\"\nkey_per_tenant = true\n"), &[], "the beginning of an alias"),
    ];
    for (toml, pairs, part) in cases {
        let text = refusal(&toml, pairs);
        assert!(text.contains(part), "{toml}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    let text = refusal("[key_providers.x]\nkind = \"gcp\"\n", &[]);
    assert!(text.contains("key_providers.x.kind must be one of transit, pkcs11, aws-kms"), "{text}");
}

#[test]
fn the_reference_names_exactly_the_keys_that_exist() {
    let mut keys = Vec::new();
    let mut config = Config::default();
    let provider = toml::from_str("kind = \"transit\"").expect("a provider");
    config.key_providers.insert("NAME".to_owned(), provider);
    let tree = serde_json::to_value(config).expect("serialises");
    for (section, members) in tree.as_object().expect("object") {
        for (key, value) in members.as_object().expect("object") {
            match value.as_object() {
                Some(inner) => keys.extend(inner.keys().map(|inner| format!("{section}.{key}.{inner}"))),
                None => keys.push(format!("{section}.{key}")),
            }
        }
    }
    keys.sort();
    let rows = reference::rows();
    assert!(rows.iter().all(|row| !row.value.is_empty() && !row.meaning.is_empty()), "each comment has its value");
    let mut named: Vec<String> = rows.into_iter().map(|row| row.key).collect();
    named.sort();
    assert_eq!(keys, named);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/config.md");
    let stored = std::fs::read_to_string(file).unwrap_or_default();
    assert!(stored == reference(), "schemas/config.md is out of date: run `ringfence schemas schemas`");
}
