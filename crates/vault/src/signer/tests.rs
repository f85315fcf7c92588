use super::*;
use kernel::SeededEntropy;

fn signer(seed: u64) -> Signer {
    Signer::from_seed(SecretKey::random(&SeededEntropy::new(seed)))
}

/// RFC 8032, section 7.1, test 1: seed, public key and the signature of nothing.
#[test]
fn signatures_are_ed25519() {
    let unhex =
        |s: &str| (0..s.len()).step_by(2).map(|i| u8::from_str_radix(&s[i..i + 2], 16).unwrap()).collect::<Vec<_>>();
    let seed = unhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    let signer = Signer::from_seed(SecretKey::from_slice(&seed).unwrap());
    let public = unhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    assert_eq!(signer.public("x").key.to_vec(), public);
    let signature = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";
    assert_eq!(signer.pair.sign(b"").as_ref(), unhex(signature));
}

/// The example of golang.org/x/mod/sumdb/note: key, text and signature.
#[test]
fn notes_of_other_implementations_verify() {
    let key = PublicKey::parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").unwrap();
    let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    let signed = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    let note = format!("{text}\n{signed}");
    assert_eq!(key.open(&note), Ok(text));
    assert_eq!(key.to_string(), "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
}

#[test]
fn a_note_verifies_with_its_key_and_unchanged_only() {
    let signer = signer(1);
    let key = PublicKey::parse(&signer.public("ringfence").to_string()).unwrap();
    let text = "one\n\ntwo\n";
    let note = signer.note("ringfence", text);
    assert_eq!(key.open(&note), Ok(text), "an empty line in the text does not end it");
    for (at, byte) in note.bytes().enumerate().filter(|(_, byte)| byte.is_ascii()) {
        let mut bytes = note.clone().into_bytes();
        bytes[at] = byte ^ 1;
        let Ok(changed) = String::from_utf8(bytes) else { continue };
        assert!(key.open(&changed).is_err(), "byte {at}");
    }
    assert!((0..note.len()).filter_map(|at| note.get(..at)).all(|cut| key.open(cut).is_err()));
    assert!(matches!(self::signer(2).public("ringfence").open(&note), Err(NoteError::Unsigned(_))));
    assert!(matches!(signer.public("other").open(&note), Err(NoteError::Unsigned(_))));
}

#[test]
fn malformed_public_keys_are_refused() {
    let text = signer(1).public("ringfence").to_string();
    assert!(PublicKey::parse(&text).is_some());
    for wrong in ["", "x", "a+b", &text[1..], &text[..text.len() - 4], &text.replacen('+', "+0", 1)] {
        assert_eq!(PublicKey::parse(wrong), None, "{wrong}");
    }
}
