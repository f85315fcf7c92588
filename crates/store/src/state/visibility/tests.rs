//! Cached sets are those of the audience and of now.

use super::*;
use kernel::{Document, DocumentId, Principal, Untrusted};
use segment::{Spec, WriteBuffer};

fn document(id: &str, readers: Option<&str>, expires_at: Option<i64>) -> Document {
    Document {
        id: DocumentId::parse(id).unwrap(),
        status: Status::Indexed,
        content_hash: [0; 32],
        title: Untrusted::default(),
        uri: Untrusted::default(),
        attributes: kernel::Attributes::new(),
        readers: readers.map(|name| vec![Principal::parse(name).unwrap()]),
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
        expires_at: expires_at.map(Timestamp::from_millis),
        commit: kernel::CommitNo(1),
        findings: Vec::new(),
        text: Untrusted::new("word"),
        passages: vec![kernel::Passage::default()],
        vectors: Vec::new(),
    }
}

fn index() -> Index {
    let docs = vec![
        document("a", None, None),
        document("b", Some("user:b"), None),
        document("c", Some("user:c"), Some(50)),
        document("d", None, Some(90)),
    ];
    Index::WriteBuffer(
        WriteBuffer::new(
            &Spec { dimensions: 0, distance: kernel::Distance::Cosine, language: kernel::Language::English },
            docs,
        )
        .unwrap(),
    )
}

fn reader(name: &str) -> Audience {
    Audience::Principals(vec![Principal::parse(name).unwrap()])
}

#[test]
fn a_cached_set_is_of_its_audience_and_of_its_time() {
    let (index, deleted, visibility) = (index(), RoaringBitmap::new(), VisibilityCache::default());
    let see = |audience: &Audience, at| {
        let visible_set = visibility.of(&index, &deleted, audience, Timestamp::from_millis(at)).unwrap();
        assert_eq!(visible_set.docs, visible_set.rows);
        visible_set.docs.iter().collect::<Vec<_>>()
    };
    // Twice each, in turns: the second answer is the remembered one.
    for _ in 0..2 {
        assert_eq!(see(&reader("user:b"), 10), [0, 1, 3]);
        assert_eq!(see(&reader("user:c"), 10), [0, 2, 3]);
        assert_eq!(see(&Audience::Principals(Vec::new()), 10), [0, 3]);
        assert_eq!(see(&Audience::Everything, 10), [0, 1, 2, 3]);
    }
    assert_eq!(see(&reader("user:c"), 49), [0, 2, 3]);
    assert_eq!(see(&reader("user:c"), 50), [0, 3]);
    assert_eq!(see(&reader("user:c"), 90), [0]);
    // A clock that was set back.
    assert_eq!(see(&reader("user:c"), 10), [0, 2, 3]);
}

#[test]
fn the_same_set_is_looked_up_once_and_the_oldest_is_evicted() {
    let (index, deleted, visibility, now) =
        (index(), RoaringBitmap::new(), VisibilityCache::default(), Timestamp::from_millis(1));
    let see = |audience: &Audience| visibility.of(&index, &deleted, audience, now).unwrap();
    let first = see(&reader("user:b"));
    assert!(Arc::ptr_eq(&first, &see(&reader("user:b"))));
    for n in 0..limits::VISIBLE_SETS_KEPT_MAX {
        see(&reader(&format!("user:{n}")));
    }
    assert!(!Arc::ptr_eq(&first, &see(&reader("user:b"))));
    assert_eq!(visibility.lock().len(), limits::VISIBLE_SETS_KEPT_MAX);
}

#[test]
fn deleted_documents_are_not_visible() {
    let (index, visibility) = (index(), VisibilityCache::default());
    let deleted = RoaringBitmap::from_iter([0]);
    let visible_set = visibility.of(&index, &deleted, &Audience::Everything, Timestamp::from_millis(1)).unwrap();
    assert_eq!(visible_set.docs.iter().collect::<Vec<_>>(), [1, 2, 3]);
}
