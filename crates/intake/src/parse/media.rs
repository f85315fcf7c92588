//! Chooses the parser of a document, and checks that its bytes are text.

use super::formats::{UnsupportedFormat, unsupported_format};
use crate::Error;

/// The kinds of content that can be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentKind {
    Plain,
    Markdown,
    Html,
}

/// Determines the kind by the declared type, otherwise the extension of a name, otherwise the first bytes.
pub(super) fn kind(declared: Option<&str>, names: &[Option<&str>], text: &str) -> Result<ContentKind, Error> {
    if let Some(declared) = declared {
        return from_media_type(declared);
    }
    let named = names.iter().flatten().find_map(|name| from_extension(name));
    Ok(named.unwrap_or_else(|| sniff(text)))
}

fn from_media_type(declared: &str) -> Result<ContentKind, Error> {
    let mut parts = declared.split(';');
    let essence = parts.next().unwrap_or("").trim().to_ascii_lowercase();
    for parameter in parts {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        let value = value.trim().trim_matches('"').to_ascii_lowercase();
        let utf8 = matches!(value.as_str(), "utf-8" | "utf8" | "us-ascii");
        if name.trim().eq_ignore_ascii_case("charset") && !utf8 {
            return Err(Error::invalid("documents[].media_type", "names a charset that is not read; convert to UTF-8"));
        }
    }
    match essence.as_str() {
        "text/plain" => Ok(ContentKind::Plain),
        "text/markdown" | "text/x-markdown" => Ok(ContentKind::Markdown),
        "text/html" | "application/xhtml+xml" => Ok(ContentKind::Html),
        _ => Err(Error::invalid(
            "documents[].media_type",
            "is not one that is read here: text/plain, text/markdown or text/html; convert the document to one of these",
        )),
    }
}

fn from_extension(name: &str) -> Option<ContentKind> {
    // A URI may have a query or fragment after its path.
    let path = name.split(['?', '#']).next().unwrap_or(name);
    let file = path.rsplit(['/', '\\']).next().unwrap_or(path);
    let (_, extension) = file.rsplit_once('.')?;
    match extension.to_ascii_lowercase().as_str() {
        "md" | "markdown" | "mdown" | "mkd" => Some(ContentKind::Markdown),
        "html" | "htm" | "xhtml" => Some(ContentKind::Html),
        "txt" | "text" | "log" | "csv" | "tsv" => Some(ContentKind::Plain),
        _ => None,
    }
}

fn sniff(text: &str) -> ContentKind {
    let start = text.trim_start_matches('\u{feff}').trim_start();
    let starts = |tag: &str| start.get(..tag.len()).is_some_and(|s| s.eq_ignore_ascii_case(tag));
    if starts("<!doctype html") || starts("<html") { ContentKind::Html } else { ContentKind::Plain }
}

/// Refuses content in a format without a parser, whatever its declared type, because its source code would be indexed
/// as text.
pub(super) fn check_format(bytes: &[u8], param: &'static str) -> Result<(), Error> {
    match unsupported_format(bytes) {
        Some(UnsupportedFormat { name, .. }) => {
            Err(Error::invalid(param, format!("is {name}, which is not read here; send its text instead")))
        }
        None => Ok(()),
    }
}

/// Decodes UTF-8 text, without a byte-order mark.
pub(super) fn decode(bytes: &[u8]) -> Result<&str, Error> {
    const PARAM: &str = "documents[].content_base64";
    check_format(bytes, PARAM)?;
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(Error::invalid(PARAM, "is UTF-16 text; convert it to UTF-8"));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|e| {
        Error::invalid(PARAM, format!("is not UTF-8 text (byte {}); convert it to UTF-8 text first", e.valid_up_to()))
    })
}
