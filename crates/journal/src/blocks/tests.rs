use super::*;

fn block(byte: u8) -> Arc<[u8]> {
    vec![byte; 10].into()
}

#[test]
fn what_was_asked_for_longest_ago_goes_first() {
    let blocks = Blocks::new(30);
    let (a, b) = (blocks.reader(), blocks.reader());
    assert_ne!(a, b);
    for (id, byte) in [((a, 0), 1), ((a, 1), 2), ((b, 0), 3)] {
        blocks.put(id, block(byte));
    }
    assert_eq!(blocks.get((a, 0), false).unwrap()[0], 1);
    blocks.put((b, 1), block(4));
    assert!(!blocks.has((a, 1)), "the one that nobody asked for");
    assert!(blocks.has((a, 0)) && blocks.has((b, 0)) && blocks.has((b, 1)));
    assert_eq!(blocks.bytes(), 30);
    blocks.put((b, 1), block(5));
    assert_eq!((blocks.bytes(), blocks.get((b, 1), false).unwrap()[0]), (30, 5), "put twice, here once");
}

#[test]
fn what_is_taken_and_whose_reader_goes_is_here_no_longer() {
    let blocks = Blocks::new(100);
    let (a, b) = (blocks.reader(), blocks.reader());
    for id in [(a, 0), (a, 1), (b, 0)] {
        blocks.put(id, block(1));
    }
    assert!(blocks.get((a, 0), true).is_some() && blocks.get((a, 0), true).is_none());
    blocks.forget(a);
    assert_eq!((blocks.bytes(), blocks.has((a, 1)), blocks.has((b, 0))), (10, false, true));
    let small = Blocks::new(5);
    small.put((0, 0), block(1));
    assert_eq!(small.bytes(), 0, "larger than all there may be");
}
