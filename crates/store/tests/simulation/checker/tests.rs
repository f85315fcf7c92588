//! The checker itself: what it must take, and what it must not.

use super::{Deed, Op, Verdict, check};
use crate::rng::Rng;

fn op(called: u64, returned: u64, deed: Deed) -> Op {
    Op { called, returned: Some(returned), deed }
}

fn lost(called: u64, deed: Deed) -> Op {
    Op { called, returned: None, deed }
}

const READ_NOTHING: Deed = Deed::Read(None);

fn read(version: u64) -> Deed {
    Deed::Read(Some(version))
}

#[track_caller]
fn fine(ops: &[Op]) {
    assert_eq!(check(ops), Verdict::Fine);
}

#[track_caller]
fn wrong(ops: &[Op], at: u64) {
    match check(ops) {
        Verdict::Wrong { stuck_at } => assert_eq!(stuck_at.called, at),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_acknowledged_is_seen() {
    fine(&[
        op(1, 2, Deed::Put(1)),
        op(3, 4, read(1)),
        op(5, 6, Deed::Delete { was: Some(true) }),
        op(7, 8, READ_NOTHING),
    ]);
    wrong(&[op(1, 2, Deed::Put(1)), op(3, 4, READ_NOTHING)], 3);
    wrong(&[op(1, 2, Deed::Put(1)), op(3, 4, Deed::Put(2)), op(5, 6, read(1))], 5);
    wrong(&[op(1, 2, Deed::Put(1)), op(3, 4, Deed::Has { version: 1, found: false })], 3);
    wrong(&[op(1, 2, Deed::Put(1)), op(3, 4, Deed::Delete { was: Some(false) })], 3);
}

#[test]
fn what_nobody_wrote_is_not_seen() {
    wrong(&[op(1, 2, read(9))], 1);
    wrong(&[op(1, 2, Deed::Put(1)), op(3, 4, Deed::Has { version: 9, found: true })], 3);
    wrong(&[op(3, 4, read(1)), op(5, 6, Deed::Put(1))], 3);
}

#[test]
fn operations_that_overlap_come_in_either_order() {
    let (first, second) = (op(1, 10, Deed::Put(1)), op(2, 9, Deed::Put(2)));
    fine(&[first, second, op(11, 12, read(1))]);
    fine(&[first, second, op(11, 12, read(2))]);
    fine(&[first, second, op(3, 4, read(2)), op(5, 6, read(1))]);
    // But in one order for everybody.
    wrong(&[first, second, op(3, 4, read(2)), op(5, 6, read(1)), op(11, 12, read(2))], 11);
    wrong(&[first, second, op(11, 12, read(1)), op(13, 14, read(2))], 13);
}

#[test]
fn an_unknown_write_counts_once_it_is_seen_and_not_again() {
    let put = op(1, 2, Deed::Put(1));
    let unknown = lost(3, Deed::Put(2));
    fine(&[put, unknown, op(5, 6, read(1))]);
    fine(&[put, unknown, op(5, 6, read(2))]);
    fine(&[put, unknown, op(5, 6, read(1)), op(7, 8, read(1)), op(9, 10, read(2))]);
    wrong(&[put, unknown, op(5, 6, read(2)), op(7, 8, read(1))], 7);
    wrong(&[put, unknown, op(5, 6, read(2)), op(7, 8, Deed::Put(3)), op(9, 10, read(2))], 9);
    // Not before it was called.
    wrong(&[put, op(3, 4, read(2)), lost(5, Deed::Put(2))], 3);
}

#[test]
fn an_unknown_delete_takes_one_thing_away() {
    let (put, unknown) = (op(1, 2, Deed::Put(1)), lost(3, Deed::Delete { was: None }));
    fine(&[put, unknown, op(5, 6, READ_NOTHING), op(7, 8, READ_NOTHING)]);
    fine(&[put, unknown, op(5, 6, op_put_if_absent(2, true))]);
    wrong(&[put, unknown, op(5, 6, READ_NOTHING), op(7, 8, read(1))], 7);
    let again = [put, unknown, op(5, 6, READ_NOTHING), op(7, 8, Deed::Put(2)), op(9, 10, READ_NOTHING)];
    wrong(&again, 9);
    fine(&[&again[..], &[lost(4, Deed::Delete { was: None })]].concat());
}

fn op_put_if_absent(version: u64, stored: bool) -> Deed {
    Deed::PutIfAbsent { version, stored: Some(stored) }
}

#[test]
fn a_write_if_absent_says_what_was_there() {
    fine(&[op(1, 2, op_put_if_absent(1, true)), op(3, 4, op_put_if_absent(2, false)), op(5, 6, read(1))]);
    wrong(&[op(1, 2, op_put_if_absent(1, true)), op(3, 4, op_put_if_absent(2, true))], 3);
    wrong(&[op(1, 2, op_put_if_absent(1, false))], 1);
    let unknown = lost(1, Deed::PutIfAbsent { version: 1, stored: None });
    fine(&[unknown, op(3, 4, op_put_if_absent(2, false)), op(5, 6, read(1))]);
    wrong(&[unknown, op(3, 4, op_put_if_absent(2, false)), op(5, 6, read(2))], 5);
    // One that nobody knows of may stand behind a delete that nobody knows of.
    let held = op(2, 3, Deed::Put(7));
    fine(&[
        held,
        lost(4, Deed::Delete { was: None }),
        lost(5, Deed::PutIfAbsent { version: 8, stored: None }),
        op(6, 7, read(8)),
    ]);
    wrong(&[held, lost(5, Deed::PutIfAbsent { version: 8, stored: None }), op(6, 7, read(8))], 6);
}

/// A register that is asked by several at once, with calls and returns around the moment that counts.
fn history(rng: &mut Rng, ops: usize) -> Vec<Op> {
    let mut held = None;
    let mut out = Vec::new();
    for n in 0..ops as u64 {
        let at = 1_000 * (n + 1);
        let version = n + 1;
        let unknown = rng.chance(150);
        let applied = !unknown || rng.chance(500);
        let deed = match rng.below(6) {
            0 | 1 => Deed::Put(version),
            2 => Deed::PutIfAbsent { version, stored: Some(held.is_none()) },
            3 => Deed::Delete { was: Some(held.is_some()) },
            4 => Deed::Has { version: held.unwrap_or(version), found: held.is_some() },
            _ => Deed::Read(held),
        };
        if applied && let Some(next) = deed.step(held) {
            held = next;
        }
        let deed = match deed {
            Deed::PutIfAbsent { version, .. } if unknown => Deed::PutIfAbsent { version, stored: None },
            Deed::Delete { .. } if unknown => Deed::Delete { was: None },
            other => other,
        };
        let returned = at + 1 + rng.below(3_500);
        out.push(Op { called: at - 1 - rng.below(3_500).min(at - 2), returned: (!unknown).then_some(returned), deed });
    }
    // No two times alike.
    let mut times: Vec<(u64, usize, bool)> = Vec::new();
    for (n, op) in out.iter().enumerate() {
        times.push((op.called, n, false));
        times.extend(op.returned.map(|t| (t, n, true)));
    }
    times.sort_unstable();
    for (event, (_, n, is_return)) in times.into_iter().enumerate() {
        if is_return { out[n].returned = Some(event as u64) } else { out[n].called = event as u64 }
    }
    out
}

#[test]
fn histories_of_a_register_pass_and_altered_ones_do_not() {
    let mut caught = 0;
    for seed in 0..200 {
        let mut rng = Rng::new(seed, 1);
        let mut ops = history(&mut rng, 120);
        assert_eq!(check(&ops), Verdict::Fine, "seed {seed}");
        // One answer is exchanged for another version's.
        let reads: Vec<usize> =
            (0..ops.len()).filter(|n| matches!(ops[*n].deed, Deed::Read(Some(_))) && *n > 20).collect();
        let Some(n) = reads.first() else { continue };
        let old = ops.iter().take(5).find_map(|op| if let Deed::Put(v) = op.deed { Some(v) } else { None });
        ops[*n].deed = Deed::Read(old);
        caught += u32::from(matches!(check(&ops), Verdict::Wrong { .. }));
    }
    assert!(caught > 100, "{caught} of 200 altered histories were caught");
}
