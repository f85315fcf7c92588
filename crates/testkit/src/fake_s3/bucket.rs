//! The objects, and what the requests do to them. Every request is one step: nothing is between
//! the look and the write.

use super::wire::{Answer, Op, Request};
use std::{collections::BTreeMap, fmt::Write as _, ops::Bound};

pub(super) struct Bucket {
    objects: BTreeMap<String, Object>,
    writes: u64,
    /// Most keys in one answer to a list.
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

/// Nobody asks how old an object is.
const MODIFIED: &str = "Thu, 01 Jan 2026 00:00:00 GMT";

impl Bucket {
    pub(super) fn apply(&mut self, request: &Request) -> Answer {
        match request.op {
            Op::Put => self.put(request),
            Op::Get | Op::Head => self.get(request),
            Op::Delete => {
                self.objects.remove(&request.key);
                Answer::new(204)
            }
            Op::BulkDelete => self.bulk_delete(request),
            Op::List => self.list(request),
            // A bucket is there before anybody makes it.
            Op::Other if request.key.is_empty() => Answer::new(200),
            Op::Other => Answer::error(501),
        }
    }

    pub(super) fn object(&self, key: &str) -> Option<Vec<u8>> {
        self.objects.get(key).map(|o| o.bytes.clone())
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.objects.keys().cloned().collect()
    }

    pub(super) fn plant(&mut self, key: &str, bytes: &[u8]) -> String {
        self.writes += 1;
        let etag = format!("\"{:032x}\"", self.writes);
        self.objects.insert(key.to_owned(), Object { bytes: bytes.to_vec(), etag: etag.clone() });
        etag
    }

    fn put(&mut self, request: &Request) -> Answer {
        if request.header("if-match").is_some() {
            return Answer::error(501);
        }
        if request.header("if-none-match") == Some("*") && self.objects.contains_key(&request.key) {
            return Answer::error(412);
        }
        let etag = self.plant(&request.key, &request.body);
        Answer::new(200).header("etag", etag)
    }

    fn get(&self, request: &Request) -> Answer {
        let Some(object) = self.objects.get(&request.key) else { return Answer::error(404) };
        let size = object.bytes.len();
        let answer = match request.header("range") {
            None => Answer::new(200).body(object.bytes.clone()),
            Some(range) => match bounds(range, size) {
                Some((from, to)) => Answer::new(206)
                    .header("content-range", format!("bytes {from}-{}/{size}", to - 1))
                    .body(object.bytes[from..to].to_vec()),
                None => return Answer::error(416),
            },
        };
        answer.header("etag", object.etag.clone()).header("last-modified", MODIFIED)
    }

    fn bulk_delete(&mut self, request: &Request) -> Answer {
        let text = String::from_utf8_lossy(&request.body).into_owned();
        let mut out = "<DeleteResult>".to_owned();
        for part in text.split("<Key>").skip(1) {
            let key = part.split("</Key>").next().unwrap_or_default();
            self.objects.remove(&unescaped(key));
            let _ = write!(out, "<Deleted><Key>{key}</Key></Deleted>");
        }
        Answer::xml(200, &(out + "</DeleteResult>"))
    }

    fn list(&self, request: &Request) -> Answer {
        let (prefix, delimiter) = (request.key.as_str(), request.asked("delimiter").filter(|d| !d.is_empty()));
        let behind = request.asked("continuation-token").or(request.asked("start-after"));
        // Keys with one prefix stand together: a list costs what it names, not what the bucket holds.
        let behind = behind.filter(|key| *key >= prefix);
        let from = behind.map_or(Bound::Included(prefix.to_owned()), |key| Bound::Excluded(key.to_owned()));
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
        let cut = out.contains("<NextContinuationToken>");
        Answer::xml(200, &format!("<ListBucketResult><IsTruncated>{cut}</IsTruncated>{out}</ListBucketResult>"))
    }
}

/// From and to of `bytes=…`, or none when the object has no such part.
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
