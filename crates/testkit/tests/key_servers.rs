//! The key servers that other tests start: they keep keys, lose them and return as those tests assume, and these are
//! the messages with which they refuse. Providers tell an outage from a denial by these messages.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first unexpected result")]

use kernel::{Clock, SystemClock};
use serde_json::{Value, json};
use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    thread,
    time::Duration,
};
use testkit::{Http, Moto, OpenBao, ProxyMode, Reply, SlowProxy, SoftHsm};

/// `tenant-a`, `tenant-b` and `a key to wrap` in base64, as the API expects them.
const OURS: &str = "dGVuYW50LWE=";
const THEIRS: &str = "dGVuYW50LWI=";
const PLAINTEXT: &str = "YSBrZXkgdG8gd3JhcA==";

#[test]
fn a_derived_key_opens_for_its_own_context_only() {
    let Some(bao) = OpenBao::start() else { return };
    bao.create_key("root", true);
    let sealed = encrypt(&bao, "root", OURS);
    assert!(sealed.starts_with("vault:v1:"), "{sealed}");
    assert_eq!(decrypted(&decrypt(&bao, bao.token(), "root", &sealed, OURS)), PLAINTEXT);
    assert_refused(&decrypt(&bao, bao.token(), "root", &sealed, THEIRS), 400, "cipher: message authentication failed");
    let bare = bao.request(bao.token(), "POST", "transit/decrypt/root", &json!({"ciphertext": sealed})).unwrap();
    assert_eq!(bare.status, 400);
    assert!(error(&bare).starts_with("missing 'context' for key derivation"), "{}", error(&bare));
    let broken = decrypt(&bao, bao.token(), "root", "vault:v1:AAAA", OURS);
    assert_refused(&broken, 400, "invalid ciphertext length");
}

#[test]
fn old_versions_decrypt_until_they_are_disallowed_and_are_rewrapped_inside() {
    let Some(bao) = OpenBao::start() else { return };
    bao.create_key("root", true);
    let old = encrypt(&bao, "root", OURS);
    bao.rotate("root");
    assert_eq!(bao.key_info("root")["latest_version"], 2);
    assert_eq!(decrypted(&decrypt(&bao, bao.token(), "root", &old, OURS)), PLAINTEXT);
    let body = json!({"ciphertext": old, "context": OURS});
    let new = bao.request(bao.token(), "POST", "transit/rewrap/root", &body).unwrap().ok();
    let new = new["data"]["ciphertext"].as_str().unwrap();
    assert!(new.starts_with("vault:v2:"), "{new}");
    bao.set_min_decryption_version("root", 2);
    let refusal = "ciphertext or signature version is disallowed by policy (too old)";
    assert_refused(&decrypt(&bao, bao.token(), "root", &old, OURS), 400, refusal);
    assert_refused(&bao.request(bao.token(), "POST", "transit/rewrap/root", &body).unwrap(), 400, refusal);
    assert_eq!(decrypted(&decrypt(&bao, bao.token(), "root", new, OURS)), PLAINTEXT);
    bao.set_min_decryption_version("root", 1);
    assert_eq!(decrypted(&decrypt(&bao, bao.token(), "root", &old, OURS)), PLAINTEXT);
}

#[test]
fn a_disabled_key_returns_and_a_deleted_one_does_not() {
    let Some(bao) = OpenBao::start() else { return };
    bao.create_key("root", true);
    bao.create_key("other", true);
    let sealed = encrypt(&bao, "root", OURS);
    let open = || decrypt(&bao, bao.token(), "root", &sealed, OURS);
    bao.soft_delete("root");
    assert_refused(&open(), 400, "refusing to use soft-deleted key");
    assert_eq!(bao.key_info("root")["soft_deleted"], true);
    bao.soft_restore("root");
    assert_eq!(decrypted(&open()), PLAINTEXT);
    bao.delete("root");
    assert_refused(&open(), 400, "encryption key not found");
    let info = bao.request(bao.token(), "GET", "transit/keys/root", &Value::Null).unwrap();
    assert_eq!((info.status, info.body.trim_ascii()), (404, &br#"{"errors":[]}"#[..]));
    // A new key of that name is another key.
    bao.create_key("root", true);
    assert_refused(&open(), 400, "cipher: message authentication failed");
}

#[test]
fn a_token_does_what_its_policies_say_until_it_is_revoked() {
    let Some(bao) = OpenBao::start() else { return };
    bao.create_key("root", true);
    bao.policy("wrap", r#"path "transit/encrypt/*" { capabilities = ["update"] }"#);
    bao.policy("unwrap", r#"path "transit/decrypt/*" { capabilities = ["update"] }"#);
    let (some, all) = (bao.token_with(&["wrap"]), bao.token_with(&["wrap", "unwrap"]));
    let sealed = encrypt(&bao, "root", OURS);
    assert_eq!(decrypted(&decrypt(&bao, &all, "root", &sealed, OURS)), PLAINTEXT);
    let denied = "1 error occurred:\n\t* permission denied\n\n";
    assert_refused(&decrypt(&bao, &some, "root", &sealed, OURS), 403, denied);
    // With the capability `create`, or as root, this would create the key.
    let body = json!({"plaintext": PLAINTEXT, "context": OURS});
    assert_refused(&bao.request(&some, "POST", "transit/encrypt/missing", &body).unwrap(), 403, denied);
    assert_refused(&decrypt(&bao, &all, "missing", &sealed, OURS), 400, "encryption key not found");
    bao.revoke_token(&all);
    assert_refused(&decrypt(&bao, &all, "root", &sealed, OURS), 403, "permission denied");
    assert_refused(&decrypt(&bao, "s.nobody", "root", &sealed, OURS), 403, "permission denied");
    // A missing engine is not the refusal of a key.
    let elsewhere = bao.request(bao.token(), "POST", "elsewhere/decrypt/root", &json!({})).unwrap();
    assert_refused(&elsewhere, 404, "no handler for route \"elsewhere/decrypt/root\". route entry not found.");
}

#[test]
fn keys_survive_a_kill_a_seal_and_a_freeze() {
    let Some(mut bao) = OpenBao::start() else { return };
    bao.create_key("root", true);
    bao.policy("unwrap", r#"path "transit/decrypt/*" { capabilities = ["update"] }"#);
    let token = bao.token_with(&["unwrap"]);
    let (sealed, address) = (encrypt(&bao, "root", OURS), bao.address());
    bao.kill();
    let gone = bao.request(&token, "POST", "transit/decrypt/root", &json!({})).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::ConnectionRefused);
    bao.restart_sealed();
    assert_refused(&decrypt(&bao, &token, "root", &sealed, OURS), 503, "Vault is sealed");
    bao.unseal();
    assert_eq!(bao.address(), address);
    assert_eq!(decrypted(&decrypt(&bao, &token, "root", &sealed, OURS)), PLAINTEXT);
    bao.seal();
    assert_refused(&decrypt(&bao, &token, "root", &sealed, OURS), 503, "Vault is sealed");
    bao.unseal();
    bao.freeze();
    let mut stream = TcpStream::connect(bao.socket()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    stream.write_all(b"GET /v1/sys/health HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let silence = stream.read(&mut [0; 1]).unwrap_err();
    assert!(matches!(silence.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silence}");
    bao.thaw();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 1);
    bao.restart();
    assert_eq!(decrypted(&decrypt(&bao, &token, "root", &sealed, OURS)), PLAINTEXT);
}

#[test]
fn the_proxy_passes_delays_refuses_and_hangs() {
    let server = echo();
    let proxy = SlowProxy::in_front_of(server);
    let mut stream = connect(&proxy);
    assert_eq!(exchange(&mut stream, b"one"), b"one");

    let clock = SystemClock::new();
    let before = clock.monotonic();
    proxy.set(ProxyMode::Delay(Duration::from_millis(300)));
    assert_eq!(exchange(&mut stream, b"two"), b"two");
    assert_eq!(exchange(&mut stream, b"three"), b"three");
    let took = clock.monotonic() - before;
    assert!(took >= Duration::from_millis(600), "{took:?}");

    // Bytes that are delayed when the mode changes are delayed no longer.
    proxy.set(ProxyMode::Delay(Duration::from_secs(600)));
    stream.write_all(b"four").unwrap();
    assert_silent(&mut stream);
    proxy.set(ProxyMode::Hang);
    assert_silent(&mut stream);
    let mut new = connect(&proxy);
    new.write_all(b"five").unwrap();
    assert_silent(&mut new);
    proxy.set(ProxyMode::Pass);
    assert_eq!(receive(&mut stream, 4), b"four");
    assert_eq!(receive(&mut new, 4), b"five");

    proxy.set(ProxyMode::Refuse);
    assert!(is_closed(&mut stream) && is_closed(&mut new) && is_closed(&mut connect(&proxy)));
    proxy.set(ProxyMode::Pass);
    assert_eq!(exchange(&mut connect(&proxy), b"six"), b"six");
    assert_eq!(proxy.accepted(), 4);
}

#[test]
fn a_dead_server_behind_the_proxy_closes_its_connections() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = SlowProxy::in_front_of(listener.local_addr().unwrap());
    drop(listener);
    assert!(is_closed(&mut connect(&proxy)));
    proxy.set(ProxyMode::Hang);
    assert_silent(&mut connect(&proxy));
}

#[test]
fn openbao_is_reached_through_the_proxy() {
    let Some(mut bao) = OpenBao::start() else { return };
    let proxy = SlowProxy::in_front_of(bao.socket());
    let health = || Http::new(proxy.socket(), None).send("GET", "/v1/sys/health", &Value::Null);
    assert_eq!(health().unwrap().status, 200);
    bao.kill();
    assert!(health().is_err());
    bao.restart();
    assert_eq!(health().unwrap().status, 200);
}

#[test]
fn softhsm_has_a_token() {
    let Some(hsm) = SoftHsm::start() else { return };
    assert!(hsm.module().is_file(), "{}", hsm.module().display());
    let program = hsm.module().parent().unwrap().join("../../bin/softhsm2-util");
    let output = Command::new(program)
        .arg("--module")
        .arg(hsm.module())
        .arg("--show-slots")
        .env("SOFTHSM2_CONF", hsm.conf())
        .output()
        .unwrap();
    let slots = String::from_utf8_lossy(&output.stdout);
    for line in [&format!("Slot {}", hsm.slot()), "Initialized:      yes", "User PIN init.:   yes", hsm.label()] {
        assert!(slots.contains(line), "{slots}");
    }
}

#[test]
fn moto_keeps_keys_and_states() {
    let Some(moto) = Moto::start() else { return };
    let kms = |action: &str, body: Value| {
        let address = moto.endpoint().strip_prefix("http://").unwrap().parse().unwrap();
        let id = moto.credentials().id;
        // It reads the name of a service here, and checks no signature.
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={id}/20260101/us-east-1/kms/aws4_request, Signature=0");
        let headers = [("x-amz-target", &*format!("TrentService.{action}")), ("authorization", &*authorization)];
        Http::new(address, None).send_bytes("POST", "/", body.to_string().as_bytes(), &headers).unwrap()
    };
    let create = || kms("CreateKey", json!({})).ok()["KeyMetadata"]["KeyId"].clone();
    let (key, other) = (create(), create());
    let ours = json!({"tenant": "a"});
    let sealed = json!({"KeyId": key, "Plaintext": PLAINTEXT, "EncryptionContext": ours});
    let sealed = kms("Encrypt", sealed).ok()["CiphertextBlob"].clone();
    let open = |context: &Value| kms("Decrypt", json!({"CiphertextBlob": sealed, "EncryptionContext": context}));
    assert_eq!(open(&ours).ok()["Plaintext"], PLAINTEXT);
    let wrong = open(&json!({"tenant": "b"}));
    assert_eq!((wrong.status, wrong.json()), (400, json!({"__type": "InvalidCiphertextException"})));
    let again = json!({
        "CiphertextBlob": sealed, "SourceEncryptionContext": ours,
        "DestinationKeyId": other, "DestinationEncryptionContext": ours,
    });
    let again = kms("ReEncrypt", again).ok()["CiphertextBlob"].clone();
    let again = kms("Decrypt", json!({"CiphertextBlob": again, "EncryptionContext": ours})).ok();
    assert_eq!(again["Plaintext"], PLAINTEXT);
    let data = kms("GenerateDataKey", json!({"KeyId": key, "KeySpec": "AES_256"})).ok();
    assert!(data["Plaintext"].is_string() && data["CiphertextBlob"].is_string());

    // This is the behaviour that our patch adds.
    let refusal = |reply: Reply| (reply.status, reply.json()["__type"].as_str().unwrap().to_owned());
    kms("DisableKey", json!({"KeyId": key})).ok();
    assert_eq!(refusal(open(&ours)), (400, "DisabledException".to_owned()));
    let data = kms("GenerateDataKey", json!({"KeyId": key, "KeySpec": "AES_256"}));
    assert_eq!(refusal(data), (400, "DisabledException".to_owned()));
    kms("EnableKey", json!({"KeyId": key})).ok();
    assert_eq!(open(&ours).ok()["Plaintext"], PLAINTEXT);
    kms("ScheduleKeyDeletion", json!({"KeyId": key, "PendingWindowInDays": 7})).ok();
    assert_eq!(refusal(open(&ours)), (400, "KMSInvalidStateException".to_owned()));
    let missing = json!({"KeyId": "11111111-2222-3333-4444-555555555555", "Plaintext": PLAINTEXT});
    assert_eq!(refusal(kms("Encrypt", missing)), (400, "NotFoundException".to_owned()));
}

fn encrypt(bao: &OpenBao, key: &str, context: &str) -> String {
    let body = json!({"plaintext": PLAINTEXT, "context": context});
    let reply = bao.request(bao.token(), "POST", &format!("transit/encrypt/{key}"), &body).unwrap().ok();
    reply["data"]["ciphertext"].as_str().unwrap().to_owned()
}

fn decrypt(bao: &OpenBao, token: &str, key: &str, ciphertext: &str, context: &str) -> Reply {
    let body = json!({"ciphertext": ciphertext, "context": context});
    bao.request(token, "POST", &format!("transit/decrypt/{key}"), &body).unwrap()
}

fn decrypted(reply: &Reply) -> String {
    reply.clone().ok()["data"]["plaintext"].as_str().unwrap().to_owned()
}

/// The single error message in OpenBao's reply.
fn error(reply: &Reply) -> String {
    let body = reply.json();
    assert_eq!(body["errors"].as_array().map(Vec::len), Some(1), "{body}");
    body["errors"][0].as_str().unwrap().to_owned()
}

fn assert_refused(reply: &Reply, status: u16, words: &str) {
    assert_eq!((reply.status, &*error(reply)), (status, words));
}

/// Starts a server that echoes all bytes.
fn echo() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || std::io::copy(&mut stream.try_clone().unwrap(), &mut stream));
        }
    });
    address
}

fn connect(proxy: &SlowProxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.socket()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

fn exchange(stream: &mut TcpStream, bytes: &[u8]) -> Vec<u8> {
    stream.write_all(bytes).unwrap();
    receive(stream, bytes.len())
}

fn receive(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// Checks that no byte arrives for a while.
fn assert_silent(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let error = stream.read(&mut [0; 1]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
}

/// Whether the other side has closed the connection.
fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 1]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}
