//! Sights are those of the asker and of now.

use super::*;
use kernel::{Document, DocumentId, Principal, Untrusted};
use segment::{Spec, Tail};

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
    Index::Tail(
        Tail::new(
            &Spec { dimensions: 0, distance: kernel::Distance::Cosine, language: kernel::Language::English },
            docs,
        )
        .unwrap(),
    )
}

fn eyes(name: &str) -> Audience {
    Audience::Principals(vec![Principal::parse(name).unwrap()])
}

#[test]
fn a_remembered_sight_is_the_askers_and_of_its_time() {
    let (index, dead, sights) = (index(), RoaringBitmap::new(), Sights::default());
    let see = |who: &Audience, at| {
        let sight = sights.of(&index, &dead, who, Timestamp::from_millis(at)).unwrap();
        assert_eq!(sight.docs, sight.rows);
        sight.docs.iter().collect::<Vec<_>>()
    };
    // Twice each, in turns: the second answer is the remembered one.
    for _ in 0..2 {
        assert_eq!(see(&eyes("user:b"), 10), [0, 1, 3]);
        assert_eq!(see(&eyes("user:c"), 10), [0, 2, 3]);
        assert_eq!(see(&Audience::Principals(Vec::new()), 10), [0, 3]);
        assert_eq!(see(&Audience::Everything, 10), [0, 1, 2, 3]);
    }
    assert_eq!(see(&eyes("user:c"), 49), [0, 2, 3]);
    assert_eq!(see(&eyes("user:c"), 50), [0, 3]);
    assert_eq!(see(&eyes("user:c"), 90), [0]);
    // A clock that was set back.
    assert_eq!(see(&eyes("user:c"), 10), [0, 2, 3]);
}

#[test]
fn the_same_sight_is_looked_up_once_and_the_oldest_gives_way() {
    let (index, dead, sights, now) = (index(), RoaringBitmap::new(), Sights::default(), Timestamp::from_millis(1));
    let see = |who: &Audience| sights.of(&index, &dead, who, now).unwrap();
    let first = see(&eyes("user:b"));
    assert!(Arc::ptr_eq(&first, &see(&eyes("user:b"))));
    for n in 0..limits::SIGHTS_KEPT_MAX {
        see(&eyes(&format!("user:{n}")));
    }
    assert!(!Arc::ptr_eq(&first, &see(&eyes("user:b"))));
    assert_eq!(sights.lock().len(), limits::SIGHTS_KEPT_MAX);
}

#[test]
fn the_dead_are_not_seen() {
    let (index, sights) = (index(), Sights::default());
    let dead = RoaringBitmap::from_iter([0]);
    let sight = sights.of(&index, &dead, &Audience::Everything, Timestamp::from_millis(1)).unwrap();
    assert_eq!(sight.docs.iter().collect::<Vec<_>>(), [1, 2, 3]);
}
