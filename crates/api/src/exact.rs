//! Parses JSON without rounding: an integer of more than 64 bits would silently become a float.

use serde::de::DeserializeOwned;

/// Parses a JSON text.
///
/// # Errors
/// A message for people: the text is no JSON, not of this type, or has an integer that would be rounded.
pub fn exact_json<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let value = serde_json::from_str(text).map_err(|e| e.to_string())?;
    if has_long_integer(text) {
        return Err("it contains an integer of more than 64 bits; write it as a string or as a float".to_owned());
    }
    Ok(value)
}

/// Whether a JSON text contains an integer (a number without fraction and exponent) of more than 64 bits.
pub fn has_long_integer(text: &str) -> bool {
    !long_integers(text).is_empty()
}

/// Integers of a JSON text (numbers without fraction and exponent) that have more than 64 bits, as the floats that JSON
/// parsers make of them.
pub(crate) fn long_integers(text: &str) -> Vec<f64> {
    let text = text.as_bytes();
    let (mut at, mut found) = (0, Vec::new());
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => at = after_string(text, at + 1),
            b'-' | b'0'..=b'9' => {
                let part = |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                let end = text.get(at..).unwrap_or_default().iter().take_while(|byte| part(byte)).count() + at;
                let number = text.get(at..end).and_then(|number| std::str::from_utf8(number).ok()).unwrap_or_default();
                let whole = !number.contains(['.', 'e', 'E']);
                if whole && number.parse::<i64>().is_err() && number.parse::<u64>().is_err() {
                    found.extend(number.parse::<f64>());
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    found
}

/// The position after the quote that ends a string.
fn after_string(text: &[u8], mut at: usize) -> usize {
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_integers_are_distinguished_from_all_other_numbers() {
        for text in ["18446744073709551616", "[1, -9223372036854775809]", r#"{"a":"\"","b":100000000000000000000}"#] {
            assert!(has_long_integer(text), "{text}");
        }
        let fine = [
            "18446744073709551615",
            "-9223372036854775808",
            "1e300",
            "123456789012345678901.5",
            "12345678901234567890123e2",
            r#""18446744073709551616""#,
            r#"{"\\\"99999999999999999999": 1}"#,
            "",
            "-",
            "\"",
        ];
        for text in fine {
            assert!(!has_long_integer(text), "{text}");
        }
        assert_eq!(exact_json::<serde_json::Value>("[18446744073709551615]"), Ok(serde_json::json!([u64::MAX])));
        assert!(exact_json::<serde_json::Value>("[18446744073709551616]").unwrap_err().contains("64 bits"));
    }
}
