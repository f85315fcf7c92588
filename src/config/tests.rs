//! What is written is taken or refused by name; nothing is ignored.

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
    assert_eq!(s.data, Path::new("/home/x/.local/share/ringfence"));
    assert!(matches!(s.root_key, RootKey::File(p) if p == Path::new("/home/x/.config/ringfence/root.key")));
    assert!(!s.models.configured && s.models.enabled);
}

#[test]
fn the_environment_lies_over_the_file() {
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
    assert_eq!(s.data, Path::new("/srv/rf"));
}

#[test]
fn what_does_not_fit_is_named_with_its_source() {
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
    let text = refusal("[storage]\nurl = \"s3://bucket\"\n", &[]);
    assert!(text.contains("storage.url = \"s3://bucket\": must be file:///"), "{text}");
    let text = refusal("[data_plane\n", &[]);
    assert!(text.contains("is not valid TOML"), "{text}");
}

#[test]
fn beyond_loopback_wants_tls_or_a_word() {
    let text = refusal("[data_plane]\nlisten = \"0.0.0.0:7171\"\n", &[]);
    assert!(text.contains("without TLS") && text.contains("data_plane.insecure = true"), "{text}");
    settings("[data_plane]\nlisten = \"0.0.0.0:7171\"\ninsecure = true\n", &[]).expect("said so");
    settings("[data_plane]\nlisten = \"0.0.0.0:7171\"\ntls_cert = \"c\"\ntls_key = \"k\"\n", &[]).expect("tls");
    let text = refusal("[control_plane]\ntls_cert = \"c\"\n", &[]);
    assert!(text.contains("control_plane.tls_key is missing"), "{text}");
}

#[test]
fn a_secret_comes_from_one_place() {
    let text = refusal("", &[("RINGFENCE_ROOT_KEY", "a"), ("RINGFENCE_ROOT_KEY_FILE", "b")]);
    assert!(text.contains("both set"), "{text}");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "rfop_x\n").expect("written");
    let e = environment(&[("RINGFENCE_OPERATOR_TOKEN_FILE", file.to_str().expect("utf-8"))]);
    assert_eq!(e.secret("RINGFENCE_OPERATOR_TOKEN").expect("read").expect("there").as_str(), "rfop_x");
    assert!(!format!("{e:?}").contains("token\": "), "names only");
}

#[test]
fn the_reference_names_every_key_and_no_other() {
    let mut keys = Vec::new();
    let tree = serde_json::to_value(Config::default()).expect("serialises");
    for (section, members) in tree.as_object().expect("object") {
        keys.extend(members.as_object().expect("object").keys().map(|key| format!("{section}.{key}")));
    }
    keys.sort();
    let mut named: Vec<String> = reference::KEYS.iter().map(|(k, _, _)| (*k).to_owned()).collect();
    named.sort();
    assert_eq!(keys, named);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/config.md");
    let stored = std::fs::read_to_string(file).unwrap_or_default();
    assert!(stored == reference(), "schemas/config.md is out of date: run `ringfence schemas schemas`");
}
