//! Checksums and structure, which distinguish card, account and other numbers from arbitrary ones.

/// Luhn check (ISO/IEC 7812-1 annex B) over ASCII digits.
pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(n, d)| {
            let d = u32::from(d - b'0');
            if n % 2 == 0 { d } else { d * 2 / 10 + d * 2 % 10 }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Whether digits are a payment card number: they pass the Luhn check, and either have an issuer's prefix and length or
/// stand after a word such as "card".
pub(super) fn card(digits: &[u8], called_card: bool) -> bool {
    let head = |n: usize| digits[..n].iter().fold(0_u32, |all, d| all * 10 + u32::from(d - b'0'));
    if !(12..=19).contains(&digits.len()) || digits.iter().all(|d| *d == digits[0]) {
        return false;
    }
    let known = called_card
        || CARDS.iter().any(|(prefix_digits, from, to, lengths)| {
            lengths.contains(&digits.len()) && (*from..=*to).contains(&head(*prefix_digits))
        });
    known && luhn(digits)
}

/// Number of digits of the prefix, first and last prefix, and lengths of the numbers.
const CARDS: &[(usize, u32, u32, &[usize])] = &[
    (1, 4, 4, &[13, 16, 19]),                   // Visa
    (2, 51, 55, &[16]),                         // Mastercard
    (4, 2221, 2720, &[16]),                     // Mastercard
    (2, 34, 34, &[15]),                         // American Express
    (2, 37, 37, &[15]),                         // American Express
    (4, 6011, 6011, &[16, 19]),                 // Discover
    (3, 644, 649, &[16, 19]),                   // Discover
    (2, 65, 65, &[16, 19]),                     // Discover
    (4, 3528, 3589, &[16]),                     // JCB
    (4, 1800, 1800, &[15]),                     // JCB, old
    (4, 2131, 2131, &[15]),                     // JCB, old
    (3, 300, 305, &[14]),                       // Diners
    (2, 36, 36, &[14]),                         // Diners
    (2, 38, 39, &[14]),                         // Diners
    (2, 62, 62, &[16, 17, 18, 19]),             // UnionPay
    (4, 5018, 5018, &[12, 13, 14, 15, 16, 19]), // Maestro
    (4, 5020, 5020, &[12, 13, 14, 15, 16, 19]), // Maestro
    (4, 5038, 5038, &[12, 13, 14, 15, 16, 19]), // Maestro
    (4, 5893, 5893, &[12, 13, 14, 15, 16, 19]), // Maestro
    (4, 6304, 6304, &[12, 13, 14, 15, 16, 19]), // Maestro
    (4, 6759, 6763, &[12, 13, 14, 15, 16, 19]), // Maestro
];

/// ISO 7064 mod 97-10 check over an IBAN without spaces.
pub(super) fn iban(compact: &[u8]) -> bool {
    let turned = compact[4..].iter().chain(&compact[..4]);
    let rest = turned.fold(0_u32, |rest, c| match c {
        b'0'..=b'9' => (rest * 10 + u32::from(c - b'0')) % 97,
        _ => (rest * 100 + u32::from(c.to_ascii_uppercase().wrapping_sub(b'A')) + 10) % 97,
    });
    rest == 1
}

/// Length of an IBAN of this country (SWIFT's registry).
pub(super) fn iban_length(country: [u8; 2]) -> Option<usize> {
    IBANS.iter().find(|(_, codes)| codes.as_bytes().chunks(3).any(|code| code[..2] == country)).map(|(n, _)| *n)
}

const IBANS: &[(usize, &str)] = &[
    (15, "NO"),
    (16, "BE"),
    (18, "DK FO FI GL NL SD"),
    (19, "MK SI"),
    (20, "AT BA EE KZ LT LU MN XK"),
    (21, "CH HR LI LV"),
    (22, "BG BH CR DE GB GE IE ME RS VA"),
    (23, "AE GI IL IQ OM TL SO"),
    (24, "AD CZ ES MD PK RO SA SE SK TN VG"),
    (25, "LY PT ST"),
    (26, "IS TR"),
    (27, "BI DJ FR GR IT MC MR SM"),
    (28, "AL AZ BY CY DO GT HU LB NI PL SV"),
    (29, "BR EG PS QA UA"),
    (30, "JO KW MU YE"),
    (31, "MT SC"),
    (32, "LC"),
    (33, "RU"),
];

/// Whether a number may be a social security number. Numbers that the Social Security Administration never issues, and
/// well-known examples, are not.
pub(super) fn us_ssn(area: u32, group: u32, serial: u32) -> bool {
    let issued = area != 0 && area != 666 && area < 900 && group != 0 && serial != 0;
    issued && !matches!((area, group, serial), (78, 5, 1120) | (219, 9, 9999) | (123, 45, 6789))
}

/// Shannon entropy in bits per byte.
pub(super) fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    bytes.iter().for_each(|b| counts[usize::from(*b)] += 1);
    #[expect(clippy::cast_precision_loss, reason = "candidates have at most a few hundred bytes")]
    let n = bytes.len() as f64;
    counts.iter().filter(|c| **c > 0).map(|c| f64::from(*c) / n).map(|p| -p * p.log2()).sum()
}
