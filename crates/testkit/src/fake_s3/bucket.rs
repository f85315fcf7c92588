//! The objects and the effects of requests on them. Every request is atomic: nothing happens between a check and the
//! write after it.

use super::wire::{Op, S3Request, S3Response};
use std::{collections::BTreeMap, fmt::Write as _, ops::Bound};

pub(super) struct Bucket {
    objects: BTreeMap<String, Object>,
    writes: u64,
    /// Largest number of keys in one answer to a list.
    pub(super) page: usize,
}

struct Object {
    bytes: Vec<u8>,
    etag: String,
}

impl Default for Bucket {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), writes: 0, page: 1000 }
    }
}

/// Time of the last modification of every object. No client uses it.
const MODIFIED: &str = "Thu, 01 Jan 2026 00:00:00 GMT";

impl Bucket {
    pub(super) fn apply(&mut self, request: &S3Request) -> S3Response {
        match request.op {
            Op::Put => self.put(request),
            Op::Get | Op::Head => self.get(request),
            Op::Delete => {
                self.objects.remove(&request.key);
                S3Response::new(204)
            }
            Op::BulkDelete => self.bulk_delete(request),
            Op::List => self.list(request),
            // A bucket exists before it is created.
            Op::Other if request.key.is_empty() => S3Response::new(200),
            Op::Other => S3Response::error(501),
        }
    }

    pub(super) fn object(&self, key: &str) -> Option<Vec<u8>> {
        self.objects.get(key).map(|o| o.bytes.clone())
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.objects.keys().cloned().collect()
    }

    pub(super) fn put_directly(&mut self, key: &str, bytes: &[u8]) -> String {
        self.writes += 1;
        let etag = format!("\"{:032x}\"", self.writes);
        self.objects.insert(key.to_owned(), Object { bytes: bytes.to_vec(), etag: etag.clone() });
        etag
    }

    fn put(&mut self, request: &S3Request) -> S3Response {
        if request.header("if-match").is_some() {
            return S3Response::error(501);
        }
        if request.header("if-none-match") == Some("*") && self.objects.contains_key(&request.key) {
            return S3Response::error(412);
        }
        let etag = self.put_directly(&request.key, &request.body);
        S3Response::new(200).header("etag", etag)
    }

    fn get(&self, request: &S3Request) -> S3Response {
        let Some(object) = self.objects.get(&request.key) else { return S3Response::error(404) };
        let size = object.bytes.len();
        let answer = match request.header("range") {
            None => S3Response::new(200).body(object.bytes.clone()),
            Some(range) => match bounds(range, size) {
                Some((from, to)) => S3Response::new(206)
                    .header("content-range", format!("bytes {from}-{}/{size}", to - 1))
                    .body(object.bytes[from..to].to_vec()),
                None => return S3Response::error(416),
            },
        };
        answer.header("etag", object.etag.clone()).header("last-modified", MODIFIED)
    }

    fn bulk_delete(&mut self, request: &S3Request) -> S3Response {
        let text = String::from_utf8_lossy(&request.body).into_owned();
        let mut out = "<DeleteResult>".to_owned();
        for part in text.split("<Key>").skip(1) {
            let key = part.split("</Key>").next().unwrap_or_default();
            self.objects.remove(&unescaped(key));
            let _ = write!(out, "<Deleted><Key>{key}</Key></Deleted>");
        }
        S3Response::xml(200, &(out + "</DeleteResult>"))
    }

    fn list(&self, request: &S3Request) -> S3Response {
        let (prefix, delimiter) = (request.key.as_str(), request.query_value("delimiter").filter(|d| !d.is_empty()));
        let start_after = request.query_value("continuation-token").or(request.query_value("start-after"));
        // Keys with a common prefix are adjacent, so a list costs what it returns, not what the bucket holds.
        let start_after = start_after.filter(|key| *key >= prefix);
        let from = start_after.map_or(Bound::Included(prefix.to_owned()), |key| Bound::Excluded(key.to_owned()));
        let (mut out, mut keys, mut last, mut folders) = (String::new(), 0, None::<&String>, Vec::new());
        for (key, object) in self.objects.range((from, Bound::Unbounded)).take_while(|(k, _)| k.starts_with(prefix)) {
            if keys == self.page {
                let next = format!("<NextContinuationToken>{}</NextContinuationToken>", escaped(last.unwrap_or(key)));
                out.push_str(&next);
                break;
            }
            (keys, last) = (keys + 1, Some(key));
            let below = delimiter.and_then(|d| Some(&key[..prefix.len() + key[prefix.len()..].find(d)? + d.len()]));
            match below {
                Some(folder) if folders.last() == Some(&folder) => {}
                Some(folder) => folders.push(folder),
                None => {
                    let _ = write!(
                        out,
                        "<Contents><Key>{}</Key><Size>{}</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
                         <ETag>{}</ETag></Contents>",
                        escaped(key),
                        object.bytes.len(),
                        escaped(&object.etag)
                    );
                }
            }
        }
        for folder in folders {
            let _ = write!(out, "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", escaped(folder));
        }
        let is_truncated = out.contains("<NextContinuationToken>");
        S3Response::xml(
            200,
            &format!("<ListBucketResult><IsTruncated>{is_truncated}</IsTruncated>{out}</ListBucketResult>"),
        )
    }
}

/// Start and end of `bytes=…`; `None` if the object has no such range.
fn bounds(range: &str, size: usize) -> Option<(usize, usize)> {
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (from, to) = match (from.parse().ok(), to.parse::<usize>().ok()) {
        (Some(from), Some(last)) => (from, last.saturating_add(1).min(size)),
        (Some(from), None) => (from, size),
        (None, Some(suffix)) => (size.saturating_sub(suffix), size),
        (None, None) => return None,
    };
    (from < to).then_some((from, to))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn unescaped(text: &str) -> String {
    text.replace("&quot;", "\"").replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&")
}
