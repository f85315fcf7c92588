//! What a caller is told at the edges: at a quota, of documents that are held back, of ids as long as they may be, and
//! of reviews where one commit wrote several documents of one id.

use super::fixture::{Draft, INJECTION, ROOMY, World, id, line};

use crate::{
    Decision, Error, Listed, OnConflict, PageEnd, Quarantine, Reviewed, ReviewedState, Upsert, UpsertStatus,
    plan::tests::lookups,
};
use access::{Ingest, Read, Review, Search};
use kernel::{Audience, Clock, Document, Principal, Quotas, Status, limits};

const HOME: (&str, &str) = ("acme", "docs");

fn of(name: &str) -> Audience {
    Audience::Principals(readers(name))
}

fn readers(name: &str) -> Vec<Principal> {
    vec![Principal::parse(&format!("user:{name}")).unwrap()]
}

fn of_board(id: &str, text: &str) -> Draft {
    Draft { readers: Some(readers("board")), ..Draft::new(id, text) }
}

async fn seen(world: &World, who: &Audience) -> Vec<Document> {
    let snapshot = world.enter::<Read>(HOME).await.snapshot(None).await.unwrap();
    let every = snapshot.stored(who, None, Quarantine::Shown, world.clock.now()).unwrap();
    let all = Listed { limit: 100, text: true, quarantine: Quarantine::Shown, ..Listed::default() };
    snapshot.list(&every, &all).unwrap().0
}

/// At the limit the same content again would be stored as it was, were quotas not asked: its caller would learn that a
/// copy is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_quota_does_not_tell_whether_the_content_is_there() {
    let mut told = Vec::new();
    for text in ["the merger", "another plan"] {
        let world = World::new(ROOMY).await;
        let room = world.enter::<Ingest>(HOME).await;
        room.append(vec![of_board("plan", text).upsert()], &of("board"), line()).await.unwrap();
        let tenant = world.grant::<Search>(HOME.0, HOME.1).incarnation();
        let member = of("member");
        let write = |draft: Draft| room.append(vec![draft.upsert()], &member, line());
        world.stores.allow(tenant, Quotas { documents: Some(1), ..Quotas::default() });
        let refused = write(of_board("plan", "the merger")).await.unwrap_err();
        assert!(matches!(refused, Error::Quota { quota: "documents", .. }), "{refused}");
        let message = kernel::Error::from(refused).message;
        world.stores.allow(tenant, Quotas { documents: Some(2), ..Quotas::default() });
        let stored = write(of_board("plan", "the merger")).await.unwrap();
        told.push((message, stored.results, stored.ids));
        let taken = world.stores.tenant_totals(tenant).documents;
        assert_eq!(taken, if text == "the merger" { 1 } else { 2 }, "what was counted and not stored is given back");
    }
    assert_eq!(told[0], told[1]);
}

/// How much the tenant stores is for keys that see all of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_quota_does_not_tell_how_much_is_stored() {
    let mut told = Vec::new();
    for hidden in [70, 90] {
        let world = World::new(ROOMY).await;
        let room = world.enter::<Ingest>(HOME).await;
        let drafts = (0..hidden).map(|n| of_board(&format!("{n}"), "the merger").upsert()).collect();
        room.append(drafts, &of("board"), line()).await.unwrap();
        let tenant = world.grant::<Search>(HOME.0, HOME.1).incarnation();
        world.stores.allow(tenant, Quotas { documents: Some(100), ..Quotas::default() });
        let drafts = (0..40).map(|n| Draft::new(&format!("m-{n}"), "lunch").upsert()).collect();
        told.push(kernel::Error::from(room.append(drafts, &of("member"), line()).await.unwrap_err()).message);
    }
    assert_eq!(told[0], told[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_long_a_quarantined_document_is_stays_withheld() {
    let world = World::new(ROOMY).await;
    let room = world.enter::<Ingest>(HOME).await;
    let long = format!("{INJECTION} {}", "A sentence of some words. ".repeat(40));
    let (held, open) = (Draft::new("held", &long), Draft::new("open", &long.replace(INJECTION, "")));
    for draft in [&held, &open] {
        let stored = room.append(vec![draft.upsert()], &of("member"), line()).await.unwrap();
        assert!(stored.results[0].passages > 1);
    }
    for on_conflict in [OnConflict::Skip, OnConflict::Fail] {
        let ask = |id| Upsert { on_conflict, ..Draft::new(id, "something else").upsert() };
        let told = room.append(vec![ask("held"), ask("open")], &of("member"), line()).await.unwrap().results;
        assert!(told[0].passages == 0 && told[1].passages > 1, "{told:?}");
    }
    let again = room.append(vec![held.upsert()], &of("member"), line()).await.unwrap();
    assert_eq!(again.results[0].status, UpsertStatus::Unchanged);
    assert!(again.results[0].passages > 1, "who sends it knows it");
}

/// A caller who does not see what it writes may put two documents under one id with one request.
#[tokio::test(flavor = "multi_thread")]
async fn a_review_does_not_take_one_document_for_another_of_its_id_and_commit() {
    for decision in [Decision::Release, Decision::Reject] {
        let world = World::new(ROOMY).await;
        let worse = of_board("plan", &format!("send them the keys. {INJECTION}"));
        let harmless = of_board("plan", &format!("a paper about attacks. {INJECTION}"));
        let room = world.enter::<Ingest>(HOME).await;
        let both = vec![worse.upsert(), harmless.upsert()];
        let commit = room.append(both, &of("member"), line()).await.unwrap().commit;
        let held = seen(&world, &of("board")).await;
        assert!(held.len() == 2 && held.iter().all(|d| d.commit == commit && d.status == Status::Quarantined));
        let decide = async |state| {
            let reviewed = [Reviewed { id: id("plan"), state }];
            let room = world.enter::<Review>(HOME).await;
            room.decide(&reviewed, &of("board"), decision, line()).await.unwrap().results[0].status
        };
        assert_eq!(decide(ReviewedState::Commit(commit)).await, UpsertStatus::Conflict);
        assert_eq!(seen(&world, &of("board")).await, held, "neither is touched");
        let meant = *harmless.admit().content_hash();
        let done = if decision == Decision::Release { UpsertStatus::Released } else { UpsertStatus::Rejected };
        assert_eq!(decide(ReviewedState::ContentHash(meant)).await, done);
        let left = seen(&world, &of("board")).await;
        let other = left.iter().find(|d| d.content_hash != meant).unwrap();
        assert_eq!((other.status, other.commit), (Status::Quarantined, commit));
        // Of the two only this one is left in that state.
        assert_eq!(decide(ReviewedState::Commit(commit)).await, done);
    }
}

/// The longest id leaves room for what tells documents apart, wherever they lie.
#[tokio::test(flavor = "multi_thread")]
async fn the_longest_id_is_free_too_where_nothing_is_seen() {
    let mut world = World::new(ROOMY).await;
    let name = "ü".repeat(limits::DOCUMENT_ID_BYTES_MAX / 2);
    let draft = |who: Option<&str>, text: &str| Draft { readers: who.map(readers), ..Draft::new(&name, text) };
    for (draft, who) in [(draft(Some("board"), "the merger"), "board"), (draft(None, "lunch"), "member")] {
        let room = world.enter::<Ingest>(HOME).await;
        let stored = room.append(vec![draft.upsert()], &of(who), line()).await.unwrap();
        assert_eq!(stored.results[0].status, UpsertStatus::Indexed);
    }
    for _ in 0..2 {
        let texts = |all: Vec<Document>| all.into_iter().map(|d| d.text.into_exposed()).collect::<Vec<_>>();
        assert_eq!(texts(seen(&world, &of("member")).await), ["lunch"]);
        assert_eq!(texts(seen(&world, &Audience::Everything).await), ["the merger", "lunch"]);
        world.stores.flush_all().await.unwrap();
        world.reopen().await;
    }
}

/// Each of these was compared with all that lived under its id, and all of them were read for it.
#[tokio::test(flavor = "multi_thread")]
async fn many_documents_of_one_id_are_looked_up_once_a_request() {
    let world = World::new(ROOMY).await;
    let room = world.enter::<Ingest>(HOME).await;
    let id = id("looked up once a request");
    for from in [0, 400] {
        let batch: Vec<_> = (from..from + 400).map(|n| of_board(id.as_str(), &format!("plan {n}")).upsert()).collect();
        let asks: Vec<_> = batch.iter().map(|u| (u.admitted.id().clone(), *u.admitted.content_hash())).collect();
        room.known(&asks, &of("member")).await.unwrap();
        let stored = room.append(batch, &of("member"), line()).await.unwrap();
        assert!(stored.results.iter().all(|r| r.status == UpsertStatus::Indexed));
    }
    assert_eq!((room.totals().documents, lookups(&id)), (800, 2));
}

/// A key that sees none of them may write many documents under one id. Pages of a key that sees them all end between two
/// of these as anywhere else, so that the list goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_may_end_between_documents_of_one_id() {
    let world = World::new(ROOMY).await;
    let room = world.enter::<Ingest>(HOME).await;
    let mut written = Vec::new();
    for (nth, name) in ["a", "plan", "plan", "plan", "plan", "plan", "plan b", "z"].into_iter().enumerate() {
        let text = format!("{name} {nth}");
        room.append(vec![of_board(name, &text).upsert()], &of("member"), line()).await.unwrap();
        written.push(text);
        if nth == 3 {
            world.stores.flush_all().await.unwrap();
        }
    }
    let snapshot = world.enter::<Read>(HOME).await.snapshot(None).await.unwrap();
    let ids = [id("plan"), id("z")];
    for (limit, ids, wanted) in
        [(1, None, &written[..]), (2, None, &written), (3, None, &written), (7, None, &written), (8, None, &written)]
            .into_iter()
            .chain([(2, Some(&ids[..]), &[&written[1..6], &written[7..]].concat()[..])])
    {
        for who in [of("board"), Audience::Everything] {
            let every = snapshot.stored(&who, None, Quarantine::Shown, world.clock.now()).unwrap();
            let (mut after, mut read) = (None, Vec::new());
            loop {
                let page = Listed { ids, after: after.as_ref(), limit, text: true, ..Listed::default() };
                let (documents, _, end) = snapshot.list(&every, &page).unwrap();
                assert!((1..=limit).contains(&documents.len()));
                read.extend(documents.iter().map(|d| d.text.expose().to_owned()));
                let Some(end) = end else { break };
                let text = end.to_string();
                assert_eq!(PageEnd::parse(&text).unwrap(), end);
                assert!(!text.contains('\u{1}'), "{text:?}");
                after = Some(end);
            }
            assert_eq!(read, wanted, "{limit} at a time");
        }
        let every = snapshot.stored(&of("member"), None, Quarantine::Shown, world.clock.now()).unwrap();
        assert!(snapshot.list(&every, &Listed { ids, limit, ..Listed::default() }).unwrap().0.is_empty());
    }
    for text in ["", "a\tb", "a\t", "a\t-1", "a\t1\t1", "a\t99999999999999999999"] {
        assert!(PageEnd::parse(text).is_err(), "{text:?}");
    }
}
