//! A request that object store clients do not make: it creates a bucket, with Amazon's signature of version 4
//! ("Signature Version 4 signing process", AWS General Reference).

use super::StoreKey;
use crate::{Http, Reply};
use aws_lc_rs::{digest, hmac};
use kernel::{Clock, SystemClock};
use std::net::SocketAddr;

/// Creates `bucket`. `None` if the server did not answer.
pub(super) fn make_bucket(address: SocketAddr, key: &StoreKey, bucket: &str) -> Option<Reply> {
    let time = stamp(&SystemClock::new().now().to_string());
    let payload = hex(digest::digest(&digest::SHA256, b"").as_ref());
    let headers = format!("host:{address}\nx-amz-content-sha256:{payload}\nx-amz-date:{time}\n");
    let names = "host;x-amz-content-sha256;x-amz-date";
    let canonical = format!("PUT\n/{bucket}\n\n{headers}\n{names}\n{payload}");
    let scope = format!("{}/us-east-1/s3/aws4_request", &time[..8]);
    let hashed = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{hashed}");
    let mut secret = format!("AWS4{}", key.secret).into_bytes();
    for part in scope.split('/').chain([text.as_str()]) {
        secret = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), part.as_bytes()).as_ref().to_vec();
    }
    let signature = hex(&secret);
    let request = format!(
        "PUT /{bucket} HTTP/1.1\r\nhost: {address}\r\nx-amz-content-sha256: {payload}\r\nx-amz-date: {time}\r\n\
         authorization: AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}\r\n\
         content-length: 0\r\n\r\n",
        key.id
    );
    Http::new(address, None).exchange(request.as_bytes(), &[]).ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A time in the form `20260101T000000Z`.
fn stamp(time: &str) -> String {
    let seconds = time.split('.').next().unwrap_or(time).trim_end_matches('Z');
    format!("{}Z", seconds.replace(['-', ':'], ""))
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_formatted_without_separators() {
        assert_eq!(super::stamp("2026-11-22T02:15:43.312Z"), "20261122T021543Z");
        assert_eq!(super::stamp("2026-11-22T02:15:43Z"), "20261122T021543Z");
    }
}
