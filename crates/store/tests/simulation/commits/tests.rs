//! Tests of the commit checker: what it must accept, and what it must reject.

use super::{Effect, View, Write, check};

fn put(doc: u8, version: u64) -> Effect {
    Effect { doc, version: Some(version), maybe: false }
}

fn delete(doc: u8) -> Effect {
    Effect { doc, version: None, maybe: false }
}

fn write(called: u64, done: Option<(u64, u64)>, effects: &[Effect]) -> Write {
    Write { called, done, effects: effects.to_vec() }
}

fn view(called: u64, commit: u64, docs: &[(u8, Option<(u64, u64)>)]) -> View {
    View { called, returned: called + 1, commit, docs: docs.iter().copied().collect() }
}

#[track_caller]
fn wrong(writes: &[Write], views: &[View], says: &str) {
    let found = check(writes, views).unwrap_err();
    assert!(found.contains(says), "{found}");
}

fn two() -> Vec<Write> {
    vec![write(1, Some((2, 1)), &[put(0, 10), put(1, 11)]), write(3, Some((4, 2)), &[delete(0), put(1, 12)])]
}

#[test]
fn views_are_the_sum_of_their_commits() {
    let late = view(5, 2, &[(0, None), (1, Some((12, 2)))]);
    let early = View { called: 1, returned: 9, ..view(0, 1, &[(0, Some((10, 1))), (1, Some((11, 1)))]) };
    assert_eq!(check(&two(), &[late, early]), Ok(()));
}

#[test]
fn lost_resurrected_and_stale_documents_are_detected() {
    wrong(&two(), &[view(5, 2, &[(1, None)])], "has None for document 1");
    wrong(&two(), &[view(5, 2, &[(0, Some((10, 1)))])], "has Some((10, 1)) for document 0");
    wrong(&two(), &[view(5, 2, &[(1, Some((11, 1)))])], "for document 1");
    wrong(&two(), &[view(5, 1, &[(1, Some((11, 1)))])], "saw commit 1, when 2 had been acknowledged");
    wrong(&two(), &[view(5, 2, &[(1, Some((99, 2)))])], "never written here");
    wrong(&two(), &[view(5, 2, &[(1, Some((12, 1)))])], "is of commit 2");
}

#[test]
fn commit_numbers_are_unique_and_grow() {
    wrong(&[write(1, Some((2, 1)), &[]), write(3, Some((4, 1)), &[])], &[], "is two writes");
    wrong(&[write(1, Some((2, 2)), &[]), write(3, Some((4, 1)), &[])], &[], "became commit 1, when 2");
    wrong(&[write(1, Some((2, 7)), &[])], &[], "commit 7 of 1 writes");
    assert_eq!(check(&[write(1, Some((5, 2)), &[]), write(3, Some((4, 1)), &[])], &[]), Ok(()));
}

#[test]
fn an_unknown_batch_is_visible_in_full_or_not_at_all() {
    let writes = vec![write(1, Some((2, 1)), &[put(0, 10)]), write(3, None, &[put(0, 20), put(1, 21), delete(2)])];
    assert_eq!(check(&writes, &[view(5, 1, &[(0, Some((10, 1))), (1, None)])]), Ok(()));
    assert_eq!(check(&writes, &[view(5, 2, &[(0, Some((20, 2))), (1, Some((21, 2)))])]), Ok(()));
    wrong(&writes, &[view(5, 2, &[(0, Some((20, 2))), (1, None)])], "has None for document 1");
    let read_then_deleted = [view(5, 2, &[(0, Some((20, 2)))]), view(7, 3, &[(0, Some((10, 1)))])];
    wrong(&writes, &read_then_deleted, "for document 0");
}

#[test]
fn an_unknown_delete_explains_one_absence() {
    let mut writes = vec![write(1, Some((2, 1)), &[put(0, 10)]), write(3, None, &[delete(0)])];
    let absent = [view(5, 2, &[(0, None)]), view(7, 2, &[(0, None)])];
    assert_eq!(check(&writes, &absent), Ok(()));
    writes.push(write(9, Some((10, 3)), &[put(0, 30)]));
    let again = [absent[0].clone(), view(11, 3, &[(0, None)])];
    wrong(&writes, &again, "has None for document 0");
    let before = [View { called: 2, returned: 2, ..view(0, 2, &[(0, None)]) }];
    wrong(&writes, &before, "has None for document 0");
}

#[test]
fn an_unknown_conditional_write_may_have_left_the_document_unchanged() {
    let maybe = Effect { maybe: true, ..put(0, 20) };
    let writes = vec![write(1, Some((2, 1)), &[put(0, 10)]), write(3, None, &[maybe, put(1, 21)])];
    assert_eq!(check(&writes, &[view(5, 2, &[(0, Some((10, 1))), (1, Some((21, 2)))])]), Ok(()));
}
