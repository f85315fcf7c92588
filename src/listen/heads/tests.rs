//! Which bytes pass and which heads are refused, for every split of the bytes.

use super::*;

/// Scans `bytes` in pieces of this length, and returns the result.
fn passed(bytes: &[u8], piece: usize) -> (Vec<u8>, Position) {
    let mut scan = Scan::default();
    let mut out = bytes.to_vec();
    out.chunks_mut(piece).for_each(|piece| scan.pass(piece));
    (out, scan.at)
}

fn assert_passes(bytes: &[u8], at: Position) {
    for piece in [1, 2, 3, 7, 64, usize::MAX] {
        let (out, end) = passed(bytes, piece);
        assert!(out == bytes && end == at, "{piece}: {:?}", String::from_utf8_lossy(bytes));
    }
}

/// Asserts that the head is refused at the line end after `before`.
fn assert_refused(bytes: &[u8], before: &[u8]) {
    assert!(bytes.starts_with(before) && bytes[before.len()] == b'\n', "the test's own input is valid");
    for piece in [1, 2, 3, 7, 64, usize::MAX] {
        let (out, end) = passed(bytes, piece);
        let mut expected = bytes.to_vec();
        expected[before.len()] = INVALID_BYTE;
        assert!(out == expected && end == Position::Refused, "{piece}: {:?}", String::from_utf8_lossy(&out));
    }
}

#[test]
fn whole_requests_pass_as_they_are_and_bodies_may_hold_anything() {
    assert_passes(b"\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP/1.1\r\n\r\n", Position::Start);
    assert_passes(
        b"POST / HTTP/1.1\r\nContent-Length: 9\r\ncontent-length: 9\r\n\r\n\n\n\r\n\r\n\0\n\nGET",
        Position::Start,
    );
    assert_passes(b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n", Position::Start);
    assert_passes(b"POST / HTTP/1.1\r\ncontent-length: 12\r\n\r\nten bytes\n", Position::Bytes(2));
    let chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n4\r\n\n\n\n\n\r\na;x=\"y\"\r\n0123456789\r\n0\r\nt: v\r\n\r\nGET";
    assert_passes(chunked, Position::Start);
    let long =
        format!("GET /{} HTTP/1.1\r\nx: {}\r\ncontent-length: 3\r\n\r\n\n\n\n", "a".repeat(500), "b".repeat(5_000));
    assert_passes(long.as_bytes(), Position::Start);
}

#[test]
fn a_line_that_ends_with_a_bare_line_feed_is_refused() {
    assert_refused(b"GET / HTTP/1.1\nhost: x\n\n", b"GET / HTTP/1.1");
    assert_refused(b"GET / HTTP/1.1\r\nhost: x\nb: c\r\n\r\n", b"GET / HTTP/1.1\r\nhost: x");
    assert_refused(b"GET / HTTP/1.1\r\nhost: x\r\n\nGET", b"GET / HTTP/1.1\r\nhost: x\r\n");
    assert_refused(b"\nGET / HTTP/1.1\r\n\r\n", b"");
    let head = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_refused(&[head, &b"4\nabcd\r\n"[..]].concat(), &[head, &b"4"[..]].concat());
    assert_refused(
        &[head, &b"4;x\r\nabcd\r\n0\r\nt: v\n\r\n"[..]].concat(),
        &[head, &b"4;x\r\nabcd\r\n0\r\nt: v"[..]].concat(),
    );
    // Line feeds in a body are ignored; those in the next head are not.
    let two = b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n\n\nGET / HTTP/1.1\n\n";
    assert_refused(two, &two[..two.len() - 2]);
}

#[test]
fn a_body_with_two_lengths_is_refused() {
    for (first, second) in [
        ("content-length: 4", "transfer-encoding: chunked"),
        ("transfer-encoding: chunked", "Content-Length: 4"),
        ("content-length: 4", "content-length: 5"),
        ("transfer-encoding: chunked", "transfer-encoding: chunked"),
    ] {
        let head = format!("POST / HTTP/1.1\r\n{first}\r\n{second}\r");
        assert_refused(format!("{head}\n\r\n4\r\n").as_bytes(), head.as_bytes());
    }
    for only in [
        "content-length: +4",
        "content-length: 4, 4",
        "content-length:",
        "content-length: 99999999999999999999",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: xchunked",
        &format!("transfer-encoding: {}chunked", " ".repeat(200)),
    ] {
        let head = format!("POST / HTTP/1.1\r\n{only}\r");
        assert_refused(format!("{head}\n\r\n").as_bytes(), head.as_bytes());
    }
}
