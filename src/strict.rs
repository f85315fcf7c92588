//! Strict reading of JSON and TOML into types, with errors that a person can act on.
//!
//! serde's messages quote the offending value; a value may be a customer's text. So an error keeps
//! the path, which the caller wrote, and the rule, which we wrote, and nothing else.

mod bounded;
mod given;
mod tree;
mod whole;

pub(crate) use bounded::{List, Parsed, Unread};
pub(crate) use given::{Given, Principals, Vector};
pub(crate) use tree::Tree;

use serde::de::DeserializeOwned;

/// What does not fit, and what would fit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// Whether a member is unknown, rather than invalid.
    pub(crate) unknown: bool,
    /// Where, as the caller wrote it: `documents[3].vektor`.
    pub(crate) path: String,
    /// What would be right; it reads as the end of a sentence that begins with the path.
    pub(crate) rule: String,
}

/// Reads one JSON document and nothing after it.
///
/// # Errors
/// The first misfit.
pub(crate) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Complaint> {
    let body = |rule: &str| Complaint { unknown: false, path: ROOT.to_owned(), rule: rule.to_owned() };
    let text = std::str::from_utf8(bytes).map_err(|_| body("is not valid UTF-8"))?;
    if text.trim_ascii().is_empty() {
        return Err(body("is empty; expected a JSON object"));
    }
    // Tracking the path costs as much as reading numbers, so it is done only after an error.
    given::begin();
    whole::begin();
    let mut reader = serde_json::Deserializer::from_str(text);
    if let Ok(value) = T::deserialize(&mut reader)
        && reader.end().is_ok()
        && !whole::was_rounded(text)
    {
        return Ok(value);
    }
    given::begin();
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|e| {
        let path = e.path().to_string();
        let inner = e.into_inner();
        let place = format!("(line {}, column {})", inner.line(), inner.column());
        let message = inner.to_string();
        complaint(&path, message.rsplit_once(" at line ").map_or(message.as_str(), |(m, _)| m), inner.is_data(), &place)
    })?;
    reader.end().map_err(|e| body(&format!("is not valid JSON (line {}, column {})", e.line(), e.column())))?;
    Ok(value)
}

/// Reads a TOML table that was put together from several places.
///
/// # Errors
/// The first misfit.
pub(crate) fn table<T: DeserializeOwned>(table: toml::Table) -> Result<T, Complaint> {
    serde_path_to_error::deserialize(toml::Value::Table(table)).map_err(|e| {
        let path = e.path().to_string();
        complaint(&path, e.into_inner().message(), true, "")
    })
}

fn complaint(path: &str, message: &str, data: bool, place: &str) -> Complaint {
    let path = if path == "." { "" } else { path };
    let at = |unknown, path: String, rule: String| Complaint {
        unknown,
        path: if path.is_empty() { ROOT.to_owned() } else { path.chars().take(PATH_CHARS_MAX).collect() },
        rule,
    };
    let named = |prefix: &str| message.strip_prefix(prefix).and_then(|rest| rest.split('`').next());
    // The expectation is ours and comes last; what precedes it may quote the caller.
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
    // The path itself is as deep as the mistake: its first member is enough.
    let top = || path.split(['.', '[']).next().unwrap_or_default().to_owned();
    if message == "recursion limit exceeded" {
        return at(false, top(), "is nested too deeply".to_owned());
    }
    if message.starts_with(bounded::TOO_MANY_IN_ALL) {
        return at(false, top(), message.to_owned());
    }
    if message.starts_with(bounded::SURPLUS) {
        // The list is wrong, not the first element too many.
        let list = path.strip_suffix(']').and_then(|p| p.rsplit_once('[')).map_or(path, |(list, _)| list);
        return at(false, list.to_owned(), message.to_owned());
    }
    let rule = match message {
        "number out of range" => "must be a finite number".to_owned(),
        m if data => m.to_owned(),
        m if m.starts_with("EOF") => format!("ends too early {place}"),
        _ => format!("is not valid JSON {place}"),
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

/// Rust's words for types, translated for callers.
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

/// The name of an empty path.
const ROOT: &str = "body";
/// Longest part of a member's name that an error shows: a name may be as long as the body.
const PATH_CHARS_MAX: usize = 300;

#[cfg(test)]
mod tests;
