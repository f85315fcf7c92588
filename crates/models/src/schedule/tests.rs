use super::*;
use crate::Job;
use kernel::Untrusted;
use std::sync::atomic::{AtomicBool, Ordering};

const SHAPE: Shape = Shape { batch_max: 1, tokens_max: 256 };

/// A job of `texts` texts that cost about `tokens` each. Its lane is the first letter of `who`.
fn job(who: u8, kind: Kind, texts: usize, tokens: usize) -> (Arc<Pending>, Arc<AtomicBool>) {
    let cancelled = Arc::new(AtomicBool::new(false));
    let job = Job {
        model: String::new(),
        lane: Lane([who; 16]),
        kind,
        texts: vec![Untrusted::new("x".repeat((tokens - 2) * 4)); texts],
        question: None,
        cancelled: Arc::clone(&cancelled),
        done: Box::new(|_| {}),
    };
    (Arc::new(Pending::new(job, 0, 2, false)), cancelled)
}

fn push(schedule: &mut Schedule, who: u8, kind: Kind, texts: usize, tokens: usize) {
    assert!(schedule.push(job(who, kind, texts, tokens).0));
}

/// Who is served, in order, until the queue is empty.
fn order(schedule: &mut Schedule) -> String {
    let mut served = String::new();
    while let Some(unit) = schedule.take(|_| SHAPE).unit {
        served.push(char::from(unit.pending.lane.0[0]));
    }
    assert_eq!(schedule.waiting(), 0);
    served
}

#[test]
fn a_late_lane_does_not_wait_for_a_long_job() {
    let mut schedule = Schedule::new(100);
    push(&mut schedule, b'a', Kind::Passage, 6, 32);
    push(&mut schedule, b'b', Kind::Passage, 2, 32);
    assert_eq!(order(&mut schedule), "abab".to_owned() + "aaaa");
}

#[test]
fn lanes_share_tokens_and_not_texts() {
    let mut schedule = Schedule::new(1000);
    push(&mut schedule, b'a', Kind::Passage, 40, 128);
    push(&mut schedule, b'b', Kind::Passage, 400, 16);
    let mut tokens = HashMap::new();
    for _ in 0..160 {
        let unit = schedule.take(|_| SHAPE).unit.expect("both lanes have work");
        *tokens.entry(unit.pending.lane).or_insert(0) += unit.charged;
    }
    let (a, b) = (tokens[&Lane([b'a'; 16])], tokens[&Lane([b'b'; 16])]);
    assert!(a.abs_diff(b) <= 160, "{a} and {b} tokens");
}

#[test]
fn what_a_text_really_cost_counts() {
    let mut schedule = Schedule::new(100);
    push(&mut schedule, b'a', Kind::Passage, 4, 32);
    push(&mut schedule, b'b', Kind::Passage, 4, 32);
    let first = schedule.take(|_| SHAPE).unit.expect("there is work");
    assert_eq!(first.pending.lane.0[0], b'a');
    // It cost three times the guess, so the other lane has two turns more.
    schedule.settle(&first, 96);
    assert_eq!(order(&mut schedule), "bbbabaa");
}

#[test]
fn queries_go_first_and_passages_get_every_fourth_turn() {
    let mut schedule = Schedule::new(100);
    push(&mut schedule, b'p', Kind::Passage, 3, 32);
    for _ in 0..9 {
        push(&mut schedule, b'q', Kind::Query, 1, 8);
    }
    assert_eq!(order(&mut schedule), "qqqpqqqpqqqp");
}

#[test]
fn queries_without_passages_leave_no_debt() {
    let mut schedule = Schedule::new(100);
    for _ in 0..5 {
        push(&mut schedule, b'q', Kind::Query, 1, 8);
    }
    assert_eq!(order(&mut schedule), "qqqqq");
    push(&mut schedule, b'p', Kind::Passage, 1, 32);
    push(&mut schedule, b'q', Kind::Query, 1, 8);
    assert_eq!(order(&mut schedule), "qp");
}

#[test]
fn a_cancelled_job_is_skipped_where_it_stands() {
    let mut schedule = Schedule::new(100);
    let (gone, cancelled) = job(b'a', Kind::Passage, 3, 32);
    assert!(schedule.push(Arc::clone(&gone)));
    push(&mut schedule, b'a', Kind::Passage, 1, 32);
    assert!(schedule.take(|_| SHAPE).unit.is_some_and(|u| Arc::ptr_eq(&u.pending, &gone)));
    cancelled.store(true, Ordering::Relaxed);
    let mut skipped = Vec::new();
    let unit = loop {
        let taken = schedule.take(|_| SHAPE);
        skipped.extend(taken.skipped);
        if let Some(unit) = taken.unit {
            break unit;
        }
    };
    assert!(!Arc::ptr_eq(&unit.pending, &gone));
    assert!(skipped.iter().all(|job| Arc::ptr_eq(job, &gone)) && skipped.len() == 1);
    assert_eq!(schedule.waiting(), 0);
}

#[test]
fn one_lane_leaves_room_for_others_and_passages_for_queries() {
    let mut schedule = Schedule::new(16);
    push(&mut schedule, b'a', Kind::Passage, 8, 32);
    assert!(!schedule.push(job(b'a', Kind::Passage, 1, 32).0), "the lane has its half");
    push(&mut schedule, b'b', Kind::Passage, 6, 32);
    assert!(!schedule.push(job(b'c', Kind::Passage, 1, 32).0), "the last eighth is for queries");
    push(&mut schedule, b'c', Kind::Query, 2, 8);
    assert!(!schedule.push(job(b'd', Kind::Query, 1, 8).0), "full");
    schedule.take(|_| SHAPE);
    push(&mut schedule, b'd', Kind::Query, 1, 8);
}

#[test]
fn a_job_above_the_share_enters_an_empty_lane() {
    let mut schedule = Schedule::new(16);
    push(&mut schedule, b'a', Kind::Passage, 100, 32);
    assert!(!schedule.push(job(b'a', Kind::Passage, 1, 32).0));
    assert_eq!(order(&mut schedule).len(), 100);
}

#[test]
fn batches_stay_inside_a_job() {
    let mut schedule = Schedule::new(100);
    push(&mut schedule, b'a', Kind::Passage, 10, 8);
    push(&mut schedule, b'a', Kind::Passage, 1, 8);
    let shape = Shape { batch_max: 8, ..SHAPE };
    let sizes: Vec<usize> = std::iter::from_fn(|| schedule.take(|_| shape).unit).map(|u| u.range.len()).collect();
    assert_eq!(sizes, [8, 2, 1]);
}

#[test]
fn draining_gives_every_job_back() {
    let mut schedule = Schedule::new(100);
    push(&mut schedule, b'a', Kind::Passage, 3, 8);
    push(&mut schedule, b'b', Kind::Query, 1, 8);
    assert_eq!(schedule.drain().len(), 2);
    assert_eq!(schedule.waiting(), 0);
    assert!(schedule.take(|_| SHAPE).unit.is_none());
}
