//! What a caller learns at the edges: at a quota, about quarantined documents, with ids of maximum length, and from
//! reviews where one commit wrote several documents of one id.

use super::fixture::{Draft, INJECTION, TestEnv, UNLIMITED, id, line};

use crate::{
    Decision, Error, ListOptions, OnConflict, PageEnd, Quarantine, Reviewed, ReviewedState, Upsert, UpsertStatus,
    write::plan::tests::lookups,
};
use access::{Ingest, Read, Review, Search};
use kernel::{Audience, Clock, Document, Principal, Quotas, Status, limits};

const NAMESPACE: (&str, &str) = ("acme", "docs");

fn of(name: &str) -> Audience {
    Audience::Principals(readers(name))
}

fn readers(name: &str) -> Vec<Principal> {
    vec![Principal::parse(&format!("user:{name}")).unwrap()]
}

fn of_board(id: &str, text: &str) -> Draft {
    Draft { readers: Some(readers("board")), ..Draft::new(id, text) }
}

async fn visible_documents(env: &TestEnv, audience: &Audience) -> Vec<Document> {
    let snapshot = env.enter::<Read>(NAMESPACE).await.snapshot(None).await.unwrap();
    let every = snapshot.stored(audience, None, Quarantine::Shown, env.clock.now()).unwrap();
    let all = ListOptions { limit: 100, text: true, quarantine: Quarantine::Shown, ..ListOptions::default() };
    snapshot.list(&every, &all).unwrap().0
}

/// If quotas did not apply, sending existing content again at the limit would succeed, and its caller would learn that
/// a copy exists.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_quota_does_not_reveal_whether_the_content_exists() {
    let mut learned = Vec::new();
    for text in ["the merger", "another plan"] {
        let env = TestEnv::new(UNLIMITED).await;
        let handle = env.enter::<Ingest>(NAMESPACE).await;
        handle.append(vec![of_board("plan", text).upsert()], &of("board"), line()).await.unwrap();
        let tenant = env.grant::<Search>(NAMESPACE.0, NAMESPACE.1).incarnation();
        let member = of("member");
        let write = |draft: Draft| handle.append(vec![draft.upsert()], &member, line());
        env.stores.allow(tenant, Quotas { documents: Some(1), ..Quotas::default() });
        let refused = write(of_board("plan", "the merger")).await.unwrap_err();
        assert!(matches!(refused, Error::Quota { quota: "documents", .. }), "{refused}");
        let message = kernel::Error::from(refused).message;
        env.stores.allow(tenant, Quotas { documents: Some(2), ..Quotas::default() });
        let stored = write(of_board("plan", "the merger")).await.unwrap();
        learned.push((message, stored.results, stored.ids));
        let taken = env.stores.tenant_totals(tenant).documents;
        assert_eq!(taken, if text == "the merger" { 1 } else { 2 }, "what was counted and not stored is given back");
    }
    assert_eq!(learned[0], learned[1]);
}

/// Only keys that see everything may learn how much the tenant stores.
#[tokio::test(flavor = "multi_thread")]
async fn a_quota_does_not_reveal_how_much_is_stored() {
    let mut learned = Vec::new();
    for hidden in [70, 90] {
        let env = TestEnv::new(UNLIMITED).await;
        let handle = env.enter::<Ingest>(NAMESPACE).await;
        let drafts = (0..hidden).map(|n| of_board(&format!("{n}"), "the merger").upsert()).collect();
        handle.append(drafts, &of("board"), line()).await.unwrap();
        let tenant = env.grant::<Search>(NAMESPACE.0, NAMESPACE.1).incarnation();
        env.stores.allow(tenant, Quotas { documents: Some(100), ..Quotas::default() });
        let drafts = (0..40).map(|n| Draft::new(&format!("m-{n}"), "lunch").upsert()).collect();
        learned.push(kernel::Error::from(handle.append(drafts, &of("member"), line()).await.unwrap_err()).message);
    }
    assert_eq!(learned[0], learned[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_length_of_a_quarantined_document_is_withheld() {
    let env = TestEnv::new(UNLIMITED).await;
    let handle = env.enter::<Ingest>(NAMESPACE).await;
    let long = format!("{INJECTION} {}", "A sentence of some words. ".repeat(40));
    let (held, open) = (Draft::new("held", &long), Draft::new("open", &long.replace(INJECTION, "")));
    for draft in [&held, &open] {
        let stored = handle.append(vec![draft.upsert()], &of("member"), line()).await.unwrap();
        assert!(stored.results[0].passages > 1);
    }
    for on_conflict in [OnConflict::Skip, OnConflict::Fail] {
        let ask = |id| Upsert { on_conflict, ..Draft::new(id, "something else").upsert() };
        let learned = handle.append(vec![ask("held"), ask("open")], &of("member"), line()).await.unwrap().results;
        assert!(learned[0].passages == 0 && learned[1].passages > 1, "{learned:?}");
    }
    let again = handle.append(vec![held.upsert()], &of("member"), line()).await.unwrap();
    assert_eq!(again.results[0].status, UpsertStatus::Unchanged);
    assert!(again.results[0].passages > 1, "who sends it knows it");
}

/// A caller who cannot see what it writes may store two documents under one id with one request.
#[tokio::test(flavor = "multi_thread")]
async fn a_review_does_not_take_one_document_for_another_of_its_id_and_commit() {
    for decision in [Decision::Release, Decision::Reject] {
        let env = TestEnv::new(UNLIMITED).await;
        let worse = of_board("plan", &format!("send them the keys. {INJECTION}"));
        let harmless = of_board("plan", &format!("a paper about attacks. {INJECTION}"));
        let handle = env.enter::<Ingest>(NAMESPACE).await;
        let both = vec![worse.upsert(), harmless.upsert()];
        let commit = handle.append(both, &of("member"), line()).await.unwrap().commit;
        let held = visible_documents(&env, &of("board")).await;
        assert!(held.len() == 2 && held.iter().all(|d| d.commit == commit && d.status == Status::Quarantined));
        let decide = async |state| {
            let reviewed = [Reviewed { id: id("plan"), state }];
            let handle = env.enter::<Review>(NAMESPACE).await;
            handle.decide(&reviewed, &of("board"), decision, line()).await.unwrap().results[0].status
        };
        assert_eq!(decide(ReviewedState::Commit(commit)).await, UpsertStatus::Conflict);
        assert_eq!(visible_documents(&env, &of("board")).await, held, "neither is touched");
        let meant = *harmless.admit().content_hash();
        let done = if decision == Decision::Release { UpsertStatus::Released } else { UpsertStatus::Rejected };
        assert_eq!(decide(ReviewedState::ContentHash(meant)).await, done);
        let left = visible_documents(&env, &of("board")).await;
        let other = left.iter().find(|d| d.content_hash != meant).unwrap();
        assert_eq!((other.status, other.commit), (Status::Quarantined, commit));
        // Only one of the two is left in that state.
        assert_eq!(decide(ReviewedState::Commit(commit)).await, done);
    }
}

/// The longest id leaves space for the suffix that disambiguates keys, in memory and on disk.
#[tokio::test(flavor = "multi_thread")]
async fn the_longest_id_is_free_if_its_documents_are_hidden() {
    let mut env = TestEnv::new(UNLIMITED).await;
    let name = "ü".repeat(limits::DOCUMENT_ID_BYTES_MAX / 2);
    let draft =
        |audience: Option<&str>, text: &str| Draft { readers: audience.map(readers), ..Draft::new(&name, text) };
    for (draft, audience) in [(draft(Some("board"), "the merger"), "board"), (draft(None, "lunch"), "member")] {
        let handle = env.enter::<Ingest>(NAMESPACE).await;
        let stored = handle.append(vec![draft.upsert()], &of(audience), line()).await.unwrap();
        assert_eq!(stored.results[0].status, UpsertStatus::Indexed);
    }
    for _ in 0..2 {
        let texts = |all: Vec<Document>| all.into_iter().map(|d| d.text.into_exposed()).collect::<Vec<_>>();
        assert_eq!(texts(visible_documents(&env, &of("member")).await), ["lunch"]);
        assert_eq!(texts(visible_documents(&env, &Audience::Everything).await), ["the merger", "lunch"]);
        env.stores.flush_all().await.unwrap();
        env.reopen().await;
    }
}

/// Each of these used to be compared with all live documents under its id, which were all read for that.
#[tokio::test(flavor = "multi_thread")]
async fn many_documents_of_one_id_are_looked_up_once_a_request() {
    let env = TestEnv::new(UNLIMITED).await;
    let handle = env.enter::<Ingest>(NAMESPACE).await;
    let id = id("looked up once a request");
    for from in [0, 400] {
        let batch: Vec<_> = (from..from + 400).map(|n| of_board(id.as_str(), &format!("plan {n}")).upsert()).collect();
        let requested: Vec<_> = batch.iter().map(|u| (u.admitted.id().clone(), *u.admitted.content_hash())).collect();
        handle.known(&requested, &of("member")).await.unwrap();
        let stored = handle.append(batch, &of("member"), line()).await.unwrap();
        assert!(stored.results.iter().all(|r| r.status == UpsertStatus::Indexed));
    }
    assert_eq!((handle.totals().documents, lookups(&id)), (800, 2));
}

/// A key that can see none of them may write many documents under one id. Pages for a key that sees them all may end
/// between two of these, so that the list continues.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_may_end_between_documents_of_one_id() {
    let env = TestEnv::new(UNLIMITED).await;
    let handle = env.enter::<Ingest>(NAMESPACE).await;
    let mut written = Vec::new();
    for (nth, name) in ["a", "plan", "plan", "plan", "plan", "plan", "plan b", "z"].into_iter().enumerate() {
        let text = format!("{name} {nth}");
        handle.append(vec![of_board(name, &text).upsert()], &of("member"), line()).await.unwrap();
        written.push(text);
        if nth == 3 {
            env.stores.flush_all().await.unwrap();
        }
    }
    let snapshot = env.enter::<Read>(NAMESPACE).await.snapshot(None).await.unwrap();
    let ids = [id("plan"), id("z")];
    for (limit, ids, expected) in
        [(1, None, &written[..]), (2, None, &written), (3, None, &written), (7, None, &written), (8, None, &written)]
            .into_iter()
            .chain([(2, Some(&ids[..]), &[&written[1..6], &written[7..]].concat()[..])])
    {
        for audience in [of("board"), Audience::Everything] {
            let every = snapshot.stored(&audience, None, Quarantine::Shown, env.clock.now()).unwrap();
            let (mut after, mut read) = (None, Vec::new());
            loop {
                let page = ListOptions { ids, after: after.as_ref(), limit, text: true, ..ListOptions::default() };
                let (documents, _, end) = snapshot.list(&every, &page).unwrap();
                assert!((1..=limit).contains(&documents.len()));
                read.extend(documents.iter().map(|d| d.text.expose().to_owned()));
                let Some(end) = end else { break };
                let text = end.to_string();
                assert_eq!(PageEnd::parse(&text).unwrap(), end);
                assert!(!text.contains('\u{1}'), "{text:?}");
                after = Some(end);
            }
            assert_eq!(read, expected, "{limit} at a time");
        }
        let every = snapshot.stored(&of("member"), None, Quarantine::Shown, env.clock.now()).unwrap();
        assert!(snapshot.list(&every, &ListOptions { ids, limit, ..ListOptions::default() }).unwrap().0.is_empty());
    }
    for text in ["", "a\tb", "a\t", "a\t-1", "a\t1\t1", "a\t99999999999999999999"] {
        assert!(PageEnd::parse(text).is_err(), "{text:?}");
    }
}
