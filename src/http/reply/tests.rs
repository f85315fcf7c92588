use super::*;
use std::io::Write;

fn written(reply: &Reply<impl Serialize>) -> Option<Vec<u8>> {
    reply.body.as_ref().map(|pieces| pieces.pieces.iter().flatten().copied().collect())
}

fn page(lines: impl IntoIterator<Item = Vec<u8>>) -> AuditReply {
    AuditReply { lines: lines.into_iter().map(Vec::into_boxed_slice).collect(), next: None, head: None }
}

#[test]
fn a_reply_in_pieces_equals_the_json_in_one_piece() {
    for length in [0, 1, limits::REPLY_PIECE_BYTES - 2, limits::REPLY_PIECE_BYTES - 1, 3 * limits::REPLY_PIECE_BYTES] {
        let text = "\u{e4}".repeat(length / 2);
        let reply = Reply::json(&text);
        assert_eq!(written(&reply).unwrap(), serde_json::to_vec(&text).unwrap());
        let pieces = reply.body.unwrap();
        assert_eq!(pieces.length, text.len() as u64 + 2);
        assert!(pieces.pieces.iter().rev().skip(1).all(|piece| piece.len() == limits::REPLY_PIECE_BYTES));
        assert!(pieces.pieces.iter().all(|piece| piece.capacity() <= 2 * limits::REPLY_PIECE_BYTES));
    }
    let lines = Reply::<u8>::ndjson(page([b"1".to_vec(), b"2".to_vec()]));
    assert_eq!(written(&lines).unwrap(), b"1\n2\n");
}

#[test]
fn serialisation_ends_at_the_bound_of_a_reply() {
    let mut pieces = Pieces { pieces: VecDeque::new(), length: limits::REPLY_BYTES_MAX - 3 };
    assert!(pieces.write_all(b"abc").is_ok());
    assert!(pieces.write_all(b"d").is_err());
    assert!(pieces.pieces.iter().map(Vec::len).sum::<usize>() == 3, "nothing was kept of what did not fit");
    let long = std::iter::repeat_with(|| vec![b'x'; 1 << 20]).take(65);
    let refused = Reply::<u8>::ndjson(page(long)).into_response(|_| unreachable!("nothing is sent")).unwrap_err();
    assert_eq!((refused.code, refused.param.as_deref()), (Code::TooLarge, Some("limit")));
    assert!(refused.message.contains("64 MiB") && refused.message.contains("fewer"), "{refused}");
}
