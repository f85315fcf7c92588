//! Checks and conversions that several resources share.

use super::Convert;
use api::{
    common::{CommitNumber, IdList, PrincipalList, ScreenFinding},
    strict::{FilterTree, SentAttributes},
};
use engine::Include;
use kernel::{Attributes, CommitNo, DocumentId, Error, Filter, Principal, Timestamp, limits};

/// Adds the member's name to an error of a value's own parser.
pub(crate) fn at<T>(param: impl Into<String>, result: Result<T, Error>) -> Result<T, Error> {
    result.map_err(|e| e.with_param(param))
}

/// Checks that there is at least one id.
pub(crate) fn ids(param: &str, list: IdList) -> Result<Vec<DocumentId>, Error> {
    bounded(param, list.0.len(), limits::IDS_PER_REQUEST_MAX)?;
    Ok(list.names())
}

/// Checks that there is at least one principal: an empty list could mean all or none.
pub(crate) fn principals(param: &str, list: PrincipalList) -> Result<Vec<Principal>, Error> {
    bounded(param, list.0.len(), limits::READERS_MAX)?;
    Ok(list.names())
}

/// A keyed hash as hexadecimal digits.
pub(crate) fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Parses a keyed hash from hexadecimal digits.
pub(crate) fn hash(digits: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    let pairs = digits.as_bytes().chunks_exact(2);
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

/// Checks that a list is neither empty nor too long.
pub(crate) fn bounded(param: &str, length: usize, most: usize) -> Result<(), Error> {
    if (1..=most).contains(&length) {
        return Ok(());
    }
    Err(Error::invalid(param, format!("must be a list of 1 to {most}")))
}

/// Parses a time.
pub(crate) fn time(param: &str, text: &str) -> Result<Timestamp, Error> {
    at(param, Timestamp::parse(text))
}

/// Parses a filter. Its errors name the filter as a whole.
pub(crate) fn filter(tree: Option<FilterTree>) -> Result<Option<Filter>, Error> {
    match tree {
        None | Some(FilterTree(serde_json::Value::Null)) => Ok(None),
        Some(FilterTree(value)) => Filter::parse(&value).map(Some),
    }
}

/// Attributes as sent, where null means absence.
pub(crate) fn attributes(param: &str, sent: SentAttributes) -> Result<Attributes, Error> {
    let SentAttributes(sent) = sent;
    let sent = sent.map_err(|fault| fault.at(param))?;
    Ok(sent.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
}

/// Parses the list of optional parts to show. `None` if the list is absent.
pub(crate) fn include(words: Option<&[String]>, known: &[&str]) -> Result<Option<Include>, Error> {
    let Some(words) = words else { return Ok(None) };
    let mut include = Include::default();
    for word in words {
        match word.as_str() {
            w if !known.contains(&w) => {
                return Err(Error::invalid("include", format!("may hold {}", known.join(", "))));
            }
            "text" => include.text = true,
            "attributes" => include.attributes = true,
            "vector" => include.vector = true,
            "highlights" => include.highlights = true,
            _ => include.explain = true,
        }
    }
    Ok(Some(include))
}

impl Convert<CommitNumber> for CommitNo {
    fn convert(self) -> CommitNumber {
        CommitNumber(self.0)
    }
}

/// Findings in the order of the screens.
pub(crate) fn findings(list: &[kernel::Finding]) -> Vec<ScreenFinding> {
    let shown = |f: &kernel::Finding| ScreenFinding {
        kind: f.kind.as_str().to_owned(),
        rule: f.rule.clone(),
        severity: f.severity.as_str().to_owned(),
        count: f.count,
        action: f.action.as_str().to_owned(),
    };
    list.iter().map(shown).collect()
}
