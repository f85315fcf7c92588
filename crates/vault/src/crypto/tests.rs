use super::{portable::Portable, *};
use kernel::{Entropy, SeededEntropy};
use proptest::prelude::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Test case 14 of McGrew and Viega, "The Galois/Counter Mode of Operation".
fn known_answer<C: Aead>() {
    let mut data = [0; 16];
    let tag = C::new(&[0; 32]).seal(&[0; 12], &[], &mut data);
    assert_eq!(hex(&data), "cea7403d4d606b6e074ec5d3baf39d18");
    assert_eq!(hex(&tag), "d0d1c8a799996bf0265b98b5d48ab919");
    C::new(&[0; 32]).open(&[0; 12], &[], &mut data, &tag).unwrap();
    assert_eq!(data, [0; 16]);
}

#[test]
fn both_ciphers_give_the_known_answer() {
    known_answer::<AwsLc>();
    known_answer::<Portable>();
}

proptest! {
    #[test]
    fn each_cipher_opens_what_the_other_sealed(seed: u64, len in 0usize..3_000, aad in prop::collection::vec(any::<u8>(), 0..70)) {
        let entropy = SeededEntropy::new(seed);
        let (key, nonce): ([u8; KEY], [u8; NONCE]) = (entropy.array(), entropy.array());
        let mut plain = vec![0; len];
        entropy.fill(&mut plain);
        let (fast, slow) = (AwsLc::new(&key), Portable::new(&key));

        let mut data = plain.clone();
        let tag = fast.seal(&nonce, &aad, &mut data);
        let mut other_data = plain.clone();
        prop_assert_eq!(slow.seal(&nonce, &aad, &mut other_data), tag);
        prop_assert_eq!(&other_data, &data);

        slow.open(&nonce, &aad, &mut data, &tag).unwrap();
        prop_assert_eq!(&data, &plain);
        fast.open(&nonce, &aad, &mut other_data, &tag).unwrap();
        prop_assert_eq!(&other_data, &plain);
    }

    #[test]
    fn both_ciphers_refuse_the_same_changes(seed: u64, at in 0usize..64, bit in 0u32..8) {
        let entropy = SeededEntropy::new(seed);
        let (key, nonce): ([u8; KEY], [u8; NONCE]) = (entropy.array(), entropy.array());
        let mut data = vec![7; 48];
        let mut tag = AwsLc::new(&key).seal(&nonce, b"aad", &mut data);
        match at {
            0..48 => data[at] ^= 1 << bit,
            _ => tag[at - 48] ^= 1 << bit,
        }
        prop_assert_eq!(AwsLc::new(&key).open(&nonce, b"aad", &mut data.clone(), &tag), Err(AuthenticationFailed));
        prop_assert_eq!(Portable::new(&key).open(&nonce, b"aad", &mut data, &tag), Err(AuthenticationFailed));
    }
}

/// RFC 4231, test case 1; HMAC pads short keys with zeroes, so 20 bytes and 32 are the same key.
#[test]
fn hmac_gives_the_known_answer() {
    let mut key = [0; 32];
    key[..20].fill(0x0b);
    let expected = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
    assert_eq!(hex(&HmacKey::new(&key).mac(&[b"Hi There"])), expected);
    assert_eq!(hex(&HmacKey::new(&key).mac(&[b"Hi", b"", b" There"])), expected);
}

#[test]
fn sha256_gives_the_known_answer() {
    assert_eq!(hex(&sha256(b"abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn equality_compares_content_and_length() {
    assert!(constant_time_eq(b"abc", b"abc") && constant_time_eq(b"", b""));
    assert!(!constant_time_eq(b"abc", b"abd") && !constant_time_eq(b"abc", b"ab"));
}

#[test]
fn the_nonce_log_detects_a_repetition() {
    let (seals, pairs) = nonce_log::count_nonces(|| {
        let cipher = AwsLc::new(&[1; KEY]);
        cipher.seal(&[0; NONCE], &[], &mut []);
        cipher.seal(&[0; NONCE], &[], &mut []);
        AwsLc::new(&[2; KEY]).seal(&[0; NONCE], &[], &mut []);
    });
    assert_eq!((seals, pairs), (3, 2));
}
