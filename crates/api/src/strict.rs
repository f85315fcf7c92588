//! Strict parsing of requests into types, with errors that a person can act on, and the types whose parsing is bounded.
//!
//! serde's messages quote the offending value, which may be a customer's text. Therefore an error keeps only the path,
//! which the caller wrote, and the rule, which we wrote.

mod bounded;
mod lenient;
mod long_integers;
mod tree;

pub use bounded::{BoundedList, IgnoredObject, ParseName, Parsed};
pub use lenient::{Fault, Lenient, SentAttributes, SentPrincipals, SentVector};
pub use tree::FilterTree;

use serde::de::DeserializeOwned;

/// An error in the input: what is wrong, and what would be valid.
#[derive(Debug, PartialEq, Eq)]
pub struct InputError {
    /// Whether a member is unknown, rather than invalid.
    pub unknown: bool,
    /// Path of the member, as the caller wrote it: `documents[3].vektor`.
    pub path: String,
    /// What would be valid, as the end of a sentence that begins with the path.
    pub rule: String,
}

/// Parses one JSON document; nothing may follow it.
///
/// # Errors
/// The first error in the input.
pub fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, InputError> {
    let body = |rule: &str| InputError { unknown: false, path: ROOT.to_owned(), rule: rule.to_owned() };
    let text = std::str::from_utf8(bytes).map_err(|_| body("is not valid UTF-8"))?;
    if text.trim_ascii().is_empty() {
        return Err(body("is empty; expected a JSON object"));
    }
    // Tracking the path costs as much as parsing numbers, so it is done only after an error.
    lenient::begin();
    long_integers::begin();
    let mut reader = serde_json::Deserializer::from_str(text);
    if let Ok(value) = T::deserialize(&mut reader)
        && reader.end().is_ok()
        && !long_integers::was_rounded(text)
    {
        return Ok(value);
    }
    lenient::begin();
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|e| {
        let path = e.path().to_string();
        let inner = e.into_inner();
        let position = format!("(line {}, column {})", inner.line(), inner.column());
        let message = inner.to_string();
        input_error(
            &path,
            message.rsplit_once(" at line ").map_or(message.as_str(), |(m, _)| m),
            inner.is_data(),
            &position,
        )
    })?;
    reader.end().map_err(|e| body(&format!("is not valid JSON (line {}, column {})", e.line(), e.column())))?;
    Ok(value)
}

impl InputError {
    /// Error for a message of serde about the member at `path` of a text that is not JSON, such as TOML.
    pub fn of(path: &str, message: &str) -> Self {
        input_error(path, message, true, "")
    }
}

fn input_error(path: &str, message: &str, data: bool, position: &str) -> InputError {
    let path = if path == "." { "" } else { path };
    let at = |unknown, path: String, rule: String| InputError {
        unknown,
        path: if path.is_empty() { ROOT.to_owned() } else { path.chars().take(PATH_CHARS_MAX).collect() },
        rule,
    };
    let named = |prefix: &str| message.strip_prefix(prefix).and_then(|rest| rest.split('`').next());
    // The expectation is our text and comes last; the part before it may quote the caller.
    let expected = message.rsplit_once(", expected ").map(|(_, e)| e.replace('`', ""));
    if message.starts_with("unknown field `") {
        let known = expected.map_or("no members".to_owned(), |e| list(&e));
        return at(true, path.to_owned(), format!("is unknown here; known are {known}"));
    }
    if let Some(member) = named("missing field `") {
        return at(false, join(path, member), "is missing".to_owned());
    }
    if let Some(member) = named("duplicate field `") {
        return at(false, join(path, member), "is given twice".to_owned());
    }
    if message.starts_with("unknown variant `") {
        return at(false, path.to_owned(), format!("must be one of {}", list(&expected.unwrap_or_default())));
    }
    if let (true, Some(expected)) = (message.starts_with("invalid "), expected) {
        return at(false, path.to_owned(), format!("must be {}", plain(&expected)));
    }
    // The path itself is as deep as the mistake, so its first member is enough.
    let top = || path.split(['.', '[']).next().unwrap_or_default().to_owned();
    if message == "recursion limit exceeded" {
        return at(false, top(), "is nested too deeply".to_owned());
    }
    if message.starts_with(bounded::TOO_MANY_IN_ALL) {
        return at(false, top(), message.to_owned());
    }
    if message.starts_with(bounded::SURPLUS) {
        // Name the list, not its first surplus element.
        let list = path.strip_suffix(']').and_then(|p| p.rsplit_once('[')).map_or(path, |(list, _)| list);
        return at(false, list.to_owned(), message.to_owned());
    }
    let rule = match message {
        "number out of range" => "must be a finite number".to_owned(),
        m if data => m.to_owned(),
        m if m.starts_with("EOF") => format!("ends too early {position}"),
        _ => format!("is not valid JSON {position}"),
    };
    at(false, path.to_owned(), rule)
}

fn join(path: &str, member: &str) -> String {
    match path {
        "" => member.to_owned(),
        p if p == member || p.ends_with(&format!(".{member}")) => p.to_owned(),
        p => format!("{p}.{member}"),
    }
}

fn list(expected: &str) -> String {
    expected.strip_prefix("one of ").unwrap_or(expected).replace(" or ", ", ")
}

/// Translates Rust's names of types for callers.
fn plain(expected: &str) -> &str {
    match expected {
        "f32" | "f64" | "a floating point number" => "a number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i32" | "i64" | "isize" => "a whole number",
        "a sequence" => "a list",
        "a map" => "an object",
        "a boolean" => "true or false",
        e if e.starts_with("struct ") => "an object",
        e => e,
    }
}

/// Name shown for an empty path.
const ROOT: &str = "body";
/// Maximum number of characters of a path that an error shows: a name may be as long as the body.
const PATH_CHARS_MAX: usize = 300;

#[cfg(test)]
mod tests;
