use super::*;
use crate::EmbedJob;
use kernel::Untrusted;
use std::sync::atomic::{AtomicBool, Ordering};

const LIMITS: ModelLimits = ModelLimits { batch_max: 1, tokens_max: 256 };

/// A job of `texts` texts that cost about `tokens` each, and its cancellation flag. `tenant` identifies the tenant.
fn job(tenant: u8, kind: TaskKind, texts: usize, tokens: usize) -> (Arc<Pending>, Arc<AtomicBool>) {
    let cancelled = Arc::new(AtomicBool::new(false));
    let job = EmbedJob {
        model: String::new(),
        queue: TenantQueueId([tenant; 16]),
        kind,
        texts: vec![Untrusted::new("x".repeat((tokens - 2) * 4)); texts],
        question: None,
        cancelled: Arc::clone(&cancelled),
        done: Box::new(|_| {}),
    };
    (Arc::new(Pending::new(job, 0, 2, false)), cancelled)
}

fn push(schedule: &mut FairScheduler, tenant: u8, kind: TaskKind, texts: usize, tokens: usize) {
    assert!(schedule.push(job(tenant, kind, texts, tokens).0));
}

/// The tenants in the order in which they are served, until the queue is empty.
fn order(schedule: &mut FairScheduler) -> String {
    let mut served = String::new();
    while let Some(unit) = schedule.take(|_| LIMITS).unit {
        served.push(char::from(unit.pending.queue.0[0]));
    }
    assert_eq!(schedule.waiting(), 0);
    served
}

#[test]
fn a_late_tenant_does_not_wait_for_a_long_job() {
    let mut schedule = FairScheduler::new(100);
    push(&mut schedule, b'a', TaskKind::Passage, 6, 32);
    push(&mut schedule, b'b', TaskKind::Passage, 2, 32);
    assert_eq!(order(&mut schedule), "abab".to_owned() + "aaaa");
}

#[test]
fn tenants_share_tokens_and_not_texts() {
    let mut schedule = FairScheduler::new(1000);
    push(&mut schedule, b'a', TaskKind::Passage, 40, 128);
    push(&mut schedule, b'b', TaskKind::Passage, 400, 16);
    let mut tokens = HashMap::new();
    for _ in 0..160 {
        let unit = schedule.take(|_| LIMITS).unit.expect("both tenants have work");
        *tokens.entry(unit.pending.queue).or_insert(0) += unit.charged;
    }
    let (a, b) = (tokens[&TenantQueueId([b'a'; 16])], tokens[&TenantQueueId([b'b'; 16])]);
    assert!(a.abs_diff(b) <= 160, "{a} and {b} tokens");
}

#[test]
fn the_actual_cost_of_a_text_counts() {
    let mut schedule = FairScheduler::new(100);
    push(&mut schedule, b'a', TaskKind::Passage, 4, 32);
    push(&mut schedule, b'b', TaskKind::Passage, 4, 32);
    let first = schedule.take(|_| LIMITS).unit.expect("there is work");
    assert_eq!(first.pending.queue.0[0], b'a');
    // It cost three times the estimate, so the other tenant gets two more turns.
    schedule.charge(&first, 96);
    assert_eq!(order(&mut schedule), "bbbabaa");
}

#[test]
fn queries_go_first_and_passages_get_every_fourth_turn() {
    let mut schedule = FairScheduler::new(100);
    push(&mut schedule, b'p', TaskKind::Passage, 3, 32);
    for _ in 0..9 {
        push(&mut schedule, b'q', TaskKind::Query, 1, 8);
    }
    assert_eq!(order(&mut schedule), "qqqpqqqpqqqp");
}

#[test]
fn queries_without_passages_are_not_counted() {
    let mut schedule = FairScheduler::new(100);
    for _ in 0..5 {
        push(&mut schedule, b'q', TaskKind::Query, 1, 8);
    }
    assert_eq!(order(&mut schedule), "qqqqq");
    push(&mut schedule, b'p', TaskKind::Passage, 1, 32);
    push(&mut schedule, b'q', TaskKind::Query, 1, 8);
    assert_eq!(order(&mut schedule), "qp");
}

#[test]
fn a_cancelled_job_is_skipped_in_the_queue() {
    let mut schedule = FairScheduler::new(100);
    let (cancelled_job, cancelled) = job(b'a', TaskKind::Passage, 3, 32);
    assert!(schedule.push(Arc::clone(&cancelled_job)));
    push(&mut schedule, b'a', TaskKind::Passage, 1, 32);
    assert!(schedule.take(|_| LIMITS).unit.is_some_and(|u| Arc::ptr_eq(&u.pending, &cancelled_job)));
    cancelled.store(true, Ordering::Relaxed);
    let mut skipped = Vec::new();
    let unit = loop {
        let taken = schedule.take(|_| LIMITS);
        skipped.extend(taken.skipped);
        if let Some(unit) = taken.unit {
            break unit;
        }
    };
    assert!(!Arc::ptr_eq(&unit.pending, &cancelled_job));
    assert!(skipped.iter().all(|job| Arc::ptr_eq(job, &cancelled_job)) && skipped.len() == 1);
    assert_eq!(schedule.waiting(), 0);
}

#[test]
fn one_tenant_cannot_fill_the_queue_nor_passages_exclude_queries() {
    let mut schedule = FairScheduler::new(16);
    push(&mut schedule, b'a', TaskKind::Passage, 8, 32);
    assert!(!schedule.push(job(b'a', TaskKind::Passage, 1, 32).0), "the tenant has its half");
    push(&mut schedule, b'b', TaskKind::Passage, 6, 32);
    assert!(!schedule.push(job(b'c', TaskKind::Passage, 1, 32).0), "the last eighth is for queries");
    push(&mut schedule, b'c', TaskKind::Query, 2, 8);
    assert!(!schedule.push(job(b'd', TaskKind::Query, 1, 8).0), "full");
    schedule.take(|_| LIMITS);
    push(&mut schedule, b'd', TaskKind::Query, 1, 8);
}

#[test]
fn a_job_above_the_share_enters_an_empty_queue() {
    let mut schedule = FairScheduler::new(16);
    push(&mut schedule, b'a', TaskKind::Passage, 100, 32);
    assert!(!schedule.push(job(b'a', TaskKind::Passage, 1, 32).0));
    assert_eq!(order(&mut schedule).len(), 100);
}

#[test]
fn batches_stay_inside_a_job() {
    let mut schedule = FairScheduler::new(100);
    push(&mut schedule, b'a', TaskKind::Passage, 10, 8);
    push(&mut schedule, b'a', TaskKind::Passage, 1, 8);
    let shape = ModelLimits { batch_max: 8, ..LIMITS };
    let sizes: Vec<usize> = std::iter::from_fn(|| schedule.take(|_| shape).unit).map(|u| u.range.len()).collect();
    assert_eq!(sizes, [8, 2, 1]);
}

#[test]
fn draining_gives_every_job_back() {
    let mut schedule = FairScheduler::new(100);
    push(&mut schedule, b'a', TaskKind::Passage, 3, 8);
    push(&mut schedule, b'b', TaskKind::Query, 1, 8);
    assert_eq!(schedule.drain().len(), 2);
    assert_eq!(schedule.waiting(), 0);
    assert!(schedule.take(|_| LIMITS).unit.is_none());
}
