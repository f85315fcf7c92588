//! Parses requests and formats responses. The clients in tests are trusted to speak HTTP, but the sizes that they
//! announce are limited.

use std::{
    fmt::Write as _,
    io::{BufRead, Error, ErrorKind, Result},
};

/// Kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes an object.
    Put,
    /// Reads an object or a range of it.
    Get,
    /// Checks whether an object exists.
    Head,
    /// Deletes one object.
    Delete,
    /// Deletes several objects.
    BulkDelete,
    /// Lists keys.
    List,
    /// Any other request.
    Other,
}

pub(super) struct S3Request {
    pub(super) op: Op,
    pub(super) key: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

pub(super) struct S3Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    pub(super) truncated: bool,
}

/// Largest accepted body, bytes. S3's own limit for one PUT is 5 GiB; tests need less.
const BODY_MAX: usize = 256 << 20;

impl S3Request {
    /// Reads the next request; `None` if the client has disconnected.
    pub(super) fn read(reader: &mut impl BufRead) -> Result<Option<Self>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let bad = || Error::from(ErrorKind::InvalidData);
        let mut words = line.split_ascii_whitespace();
        let (method, target) = (words.next().ok_or_else(bad)?.to_owned(), words.next().ok_or_else(bad)?.to_owned());
        let mut headers = Vec::new();
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
                None => break,
            }
        }
        let length = headers.iter().find(|(n, _)| n == "content-length").map(|(_, v)| v.parse::<usize>());
        let length = length.transpose().map_err(|_| bad())?.unwrap_or(0);
        if length > BODY_MAX {
            return Err(bad());
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        Ok(Some(Self::new(&method, &target, headers, body)))
    }

    fn new(method: &str, target: &str, headers: Vec<(String, String)>, body: Vec<u8>) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query: Vec<_> = query.split('&').filter(|p| !p.is_empty()).map(pair).collect();
        // The first path segment is the bucket.
        let key = path.trim_start_matches('/').split_once('/').map(|(_, key)| decoded(key)).unwrap_or_default();
        let is = |name: &str| query.iter().any(|(n, _)| n == name);
        let op = match method {
            "GET" if is("list-type") => Op::List,
            "POST" if is("delete") => Op::BulkDelete,
            "PUT" | "GET" | "HEAD" | "DELETE" if key.is_empty() || is("uploads") || is("uploadId") => Op::Other,
            "PUT" => Op::Put,
            "GET" => Op::Get,
            "HEAD" => Op::Head,
            "DELETE" => Op::Delete,
            _ => Op::Other,
        };
        let prefix = query.iter().find(|(n, _)| op == Op::List && n == "prefix").map(|(_, v)| v.clone());
        Self { op, key: prefix.unwrap_or(key), query, headers, body }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub(super) fn query_value(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

impl S3Response {
    pub(super) fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), truncated: false }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn body(self, body: Vec<u8>) -> Self {
        Self { body, ..self }
    }

    pub(super) fn xml(status: u16, text: &str) -> Self {
        let whole = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{text}");
        Self::new(status).header("content-type", "application/xml").body(whole.into_bytes())
    }

    /// An error as S3 words it.
    pub(super) fn error(status: u16) -> Self {
        let code = match status {
            403 => "AccessDenied",
            404 => "NoSuchKey",
            409 => "ConditionalRequestConflict",
            412 => "PreconditionFailed",
            416 => "InvalidRange",
            429 | 503 => "SlowDown",
            500 => "InternalError",
            501 => "NotImplemented",
            _ => "Unknown",
        };
        Self::xml(status, &format!("<Error><Code>{code}</Code><Message>a fault on demand</Message></Error>"))
    }

    pub(super) fn truncated(self) -> Self {
        Self { truncated: true, ..self }
    }

    /// The response as bytes. The answer to HEAD names a length and has no body.
    pub(super) fn bytes(&self, head: bool) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} -\r\ncontent-length: {}\r\n", self.status, self.body.len());
        if self.status == 204 {
            text = "HTTP/1.1 204 -\r\n".to_owned();
        }
        for (name, value) in &self.headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        let sent = if self.truncated { self.body.len() / 2 } else { self.body.len() };
        if !head {
            bytes.extend_from_slice(&self.body[..sent]);
        }
        bytes
    }
}

fn pair(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (decoded(name), decoded(&value.replace('+', " ")))
}

/// Decodes percent-encoding. Text that is no valid code stays as it is.
fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.first_chunk::<2>().and_then(|two| std::str::from_utf8(two).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) if *first == b'%' => {
                out.push(byte);
                rest = &after[2..];
            }
            _ => {
                out.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
