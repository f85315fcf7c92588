use super::*;

fn block(byte: u8) -> Arc<[u8]> {
    vec![byte; 10].into()
}

#[test]
fn the_least_recently_used_block_is_evicted_first() {
    let blocks = BlockCache::new(30);
    let (a, b) = (blocks.new_reader(), blocks.new_reader());
    assert_ne!(a, b);
    for (id, byte) in [((a, 0), 1), ((a, 1), 2), ((b, 0), 3)] {
        blocks.put(id, block(byte));
    }
    assert_eq!(blocks.get((a, 0)).unwrap()[0], 1);
    blocks.put((b, 1), block(4));
    assert!(!blocks.contains((a, 1)), "the least recently used one");
    assert!(blocks.contains((a, 0)) && blocks.contains((b, 0)) && blocks.contains((b, 1)));
    assert_eq!(blocks.bytes(), 30);
    blocks.put((b, 1), block(5));
    assert_eq!((blocks.bytes(), blocks.get((b, 1)).unwrap()[0]), (30, 5), "put twice, cached once");
}

#[test]
fn taken_blocks_and_those_of_a_dropped_reader_are_gone() {
    let blocks = BlockCache::new(100);
    let (a, b) = (blocks.new_reader(), blocks.new_reader());
    for id in [(a, 0), (a, 1), (b, 0)] {
        blocks.put(id, block(1));
    }
    assert!(blocks.take((a, 0)).is_some() && blocks.take((a, 0)).is_none());
    blocks.drop_reader(a);
    assert_eq!((blocks.bytes(), blocks.contains((a, 1)), blocks.contains((b, 0))), (10, false, true));
    let small = BlockCache::new(5);
    small.put((0, 0), block(1));
    assert_eq!(small.bytes(), 0, "larger than the cache");
}
