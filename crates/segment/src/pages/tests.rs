use super::*;
use std::io;

/// Counts reads.
struct Counting(Vec<u8>, AtomicU64);

impl ReadAt for Counting {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.read_at(offset, into)
    }
}

fn section(len: usize) -> (Vec<u8>, Section, Arc<Counting>) {
    let bytes: Vec<u8> = (0..len).map(|n| (n / 7 % 251) as u8).collect();
    let source = Arc::new(Counting(bytes.clone(), AtomicU64::new(0)));
    (bytes, Section::open(source.clone(), 0).unwrap(), source)
}

#[test]
fn every_range_is_what_it_would_be_in_memory() {
    let page = PAGE as usize;
    let (bytes, paged, _) = section(12 * page + 5);
    let memory = Section::Memory(Slice::whole(Zeroizing::new(bytes.clone())));
    let edges = [0, 1, page - 1, page, page + 1, 3 * page, 9 * page, 11 * page + 9, 12 * page, bytes.len()];
    for from in edges {
        for to in edges.into_iter().filter(|to| *to >= from) {
            let range = from as u64..to as u64;
            assert_eq!(&*paged.read(range.clone()).unwrap(), &bytes[from..to]);
            assert_eq!(&*memory.read(range.clone()).unwrap(), &bytes[from..to]);
            let (inside, middle) = (paged.sub(range.clone()).unwrap(), (to - from) as u64 / 2);
            assert_eq!(inside.len(), (to - from) as u64);
            assert_eq!(&*inside.read(middle..inside.len()).unwrap(), &bytes[from + middle as usize..to]);
            assert!(inside.read(0..inside.len() + 1).is_err(), "no read past the end of the section");
        }
    }
    for section in [paged, memory] {
        let end = section.len();
        assert!(matches!(section.read(0..end + 1), Err(Error::Corrupt { .. })));
        assert!(matches!(section.read(u64::MAX - 1..u64::MAX), Err(Error::Corrupt { .. })));
        assert!(section.sub(end..end + 1).is_none() && section.sub(1..u64::MAX).is_none());
        assert_eq!(section.sub(end..end).unwrap().whole().unwrap().len(), 0);
    }
}

#[test]
fn the_cache_is_bounded_and_counted() {
    let page = PAGE as usize;
    let (bytes, paged, source) = section(600 * page);
    let reads = || source.1.swap(0, Ordering::Relaxed);
    paged.read(5..9).unwrap();
    paged.read(PAGE - 5..PAGE + 9).unwrap();
    paged.read(8..PAGE).unwrap();
    assert_eq!((reads(), paged.resident()), (2, 2 * PAGE));
    for number in 0..600u64 {
        assert_eq!(paged.read(number * PAGE..(number + 1) * PAGE).unwrap()[0], bytes[number as usize * page]);
    }
    // 600 / 32 pages are 18, in two sets of eight.
    assert_eq!(paged.resident(), 16 * PAGE);
    reads();
    // A long read bypasses it.
    assert_eq!(*paged.whole().unwrap(), bytes);
    assert_eq!((reads(), paged.resident()), (1, 16 * PAGE));
    assert_eq!(Section::open(source, 600 * PAGE).unwrap().resident(), 600 * PAGE);
}

#[test]
fn readers_on_several_threads_get_their_ranges() {
    let page = PAGE as usize;
    let (bytes, paged, _) = section(100 * page);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (bytes, paged) = (&bytes, &paged);
            scope.spawn(move || {
                for n in 0..2_000u64 {
                    let at = (n * 7_919 + thread * 104_729) % (99 * PAGE);
                    let read = paged.read(at..at + 1_536).unwrap();
                    assert_eq!(&*read, &bytes[at as usize..at as usize + 1_536]);
                }
            });
        }
    });
    assert!(paged.resident() <= 8 * PAGE, "{}", paged.resident());
}
