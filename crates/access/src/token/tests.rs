use super::*;
use kernel::SeededEntropy;
use proptest::prelude::*;

#[test]
fn crc_is_the_standard_one() {
    assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    assert_eq!(crc32(b""), 0);
}

#[test]
fn checksum_is_six_base62_digits_most_significant_first() {
    assert_eq!(&checksum(b""), b"000000");
    // Decoding the digits gives the CRC again.
    let value = checksum(b"123456789")
        .iter()
        .fold(0u64, |sum, digit| sum * 62 + DIGITS.iter().position(|d| d == digit).unwrap() as u64);
    assert_eq!(value, 0xCBF4_3926);
}

proptest! {
    #[test]
    fn minted_tokens_parse_to_their_parts(seed: u64, operator: bool) {
        let kind = if operator { TokenKind::Operator } else { TokenKind::Key };
        let (id, token_text, secret) = mint(kind, &SeededEntropy::new(seed));
        prop_assert!(token_text.starts_with(kind.prefix()));
        prop_assert_eq!(token_text.len(), kind.prefix().len() + 50);
        let token = parse(&token_text).unwrap_or_else(|_| panic!("own token does not parse"));
        prop_assert_eq!(token.kind, kind);
        prop_assert_eq!(token.id, id);
        prop_assert_eq!(token.secret, secret.as_str());
    }

    #[test]
    fn any_changed_character_is_detected(seed: u64, at in 0usize..53, digit in 0usize..62) {
        let (_, token_text, _) = mint(TokenKind::Key, &SeededEntropy::new(seed));
        let mut bytes = token_text.as_bytes().to_vec();
        prop_assume!(bytes[at] != DIGITS[digit]);
        bytes[at] = DIGITS[digit];
        prop_assert!(parse(std::str::from_utf8(&bytes).unwrap()).is_err());
    }

    #[test]
    fn foreign_text_never_panics(text in ".{0,80}", tail in "(rf_|rfop_)[\\PC]{0,60}") {
        prop_assert!(parse(&text).is_err());
        prop_assert!(parse(&tail).is_err());
    }
}

#[test]
fn truncation_and_extension_are_refused() {
    let (_, token_text, _) = mint(TokenKind::Operator, &SeededEntropy::new(7));
    for end in 0..token_text.len() {
        assert!(parse(&token_text[..end]).is_err());
    }
    assert!(parse(&format!("{}A", token_text.as_str())).is_err());
}

#[test]
fn digits_are_uniform() {
    let mut counts = [0u32; 62];
    let entropy = SeededEntropy::new(1);
    for _ in 0..2_000 {
        for b in base62(32, &entropy).bytes() {
            counts[DIGITS.iter().position(|d| *d == b).unwrap()] += 1;
        }
    }
    // There are 64 000 digits, 1 032 of each expected with a deviation of 32: six deviations each way.
    assert!(counts.iter().all(|c| (840..1_225).contains(c)), "{counts:?}");
}

#[test]
fn adopts_operator_tokens_only() {
    let (id, operator, _) = mint(TokenKind::Operator, &SeededEntropy::new(1));
    let (_, key, _) = mint(TokenKind::Key, &SeededEntropy::new(1));
    assert!(adopt(&format!("{}\n", operator.as_str())).is_ok_and(|t| t.id == id));
    let Err(error) = adopt(&key) else { panic!("an API key passed for an operator token") };
    assert_eq!(error.param.as_deref(), Some("RINGFENCE_OPERATOR_TOKEN"));
    assert!(!error.to_string().contains(key.as_str()));
}
