//! Text that a customer wrote. It has no `Display`, so it cannot slip into a log or a prompt.

use std::fmt;

/// Document text, a title, a query: any text from outside, which may carry instructions, identify a person or embarrass
/// one.
///
/// It is opened with [`Untrusted::expose`], which `tests/it/tidy.rs` allows in named files only.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Untrusted(String);

impl Untrusted {
    /// Wraps foreign text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. The caller is responsible for where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Unwraps the text. The caller is responsible for where it goes.
    pub fn into_exposed(self) -> String {
        self.0
    }

    /// Length of the text as a JSON string, bytes.
    pub fn json_bytes(&self) -> u64 {
        json_bytes(&self.0)
    }

    /// Length of the text, bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the text is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Length of a text as a JSON string, bytes, with its quotes and escapes. One byte may become six.
pub fn json_bytes(text: &str) -> u64 {
    let extra = |byte: u8| match byte {
        b'"' | b'\\' | 0x08 | 0x09 | 0x0a | 0x0c | 0x0d => 1,
        0..0x20 => 5,
        _ => 0u64,
    };
    2 + text.len() as u64 + text.bytes().map(extra).sum::<u64>()
}

impl From<String> for Untrusted {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Untrusted({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_length_is_the_length_of_the_json() {
        let all: String = (0..0x250).filter_map(char::from_u32).collect();
        for text in ["", "plain", "\"quoted\" \\ \n\t", all.as_str(), "\u{1f600}\u{2028}"] {
            let json = serde_json::to_string(text).unwrap();
            assert_eq!(Untrusted::new(text).json_bytes(), json.len() as u64, "{json}");
        }
    }
}
