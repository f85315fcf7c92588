//! Tests of the checker: what it must accept, and what it must reject.

use super::{Action, Op, Verdict, check};
use crate::rng::Rng;

fn op(called: u64, returned: u64, action: Action) -> Op {
    Op { called, returned: Some(returned), action }
}

fn unknown_op(called: u64, action: Action) -> Op {
    Op { called, returned: None, action }
}

const READ_NOTHING: Action = Action::Read(None);

fn read(version: u64) -> Action {
    Action::Read(Some(version))
}

#[track_caller]
fn fine(ops: &[Op]) {
    assert_eq!(check(ops), Verdict::Consistent);
}

#[track_caller]
fn wrong(ops: &[Op], at: u64) {
    match check(ops) {
        Verdict::Inconsistent { failed_at } => assert_eq!(failed_at.called, at),
        other => panic!("{other:?}"),
    }
}

#[test]
fn acknowledged_writes_are_visible() {
    fine(&[
        op(1, 2, Action::Put(1)),
        op(3, 4, read(1)),
        op(5, 6, Action::Delete { was: Some(true) }),
        op(7, 8, READ_NOTHING),
    ]);
    wrong(&[op(1, 2, Action::Put(1)), op(3, 4, READ_NOTHING)], 3);
    wrong(&[op(1, 2, Action::Put(1)), op(3, 4, Action::Put(2)), op(5, 6, read(1))], 5);
    wrong(&[op(1, 2, Action::Put(1)), op(3, 4, Action::Has { version: 1, found: false })], 3);
    wrong(&[op(1, 2, Action::Put(1)), op(3, 4, Action::Delete { was: Some(false) })], 3);
}

#[test]
fn versions_never_written_are_not_visible() {
    wrong(&[op(1, 2, read(9))], 1);
    wrong(&[op(1, 2, Action::Put(1)), op(3, 4, Action::Has { version: 9, found: true })], 3);
    wrong(&[op(3, 4, read(1)), op(5, 6, Action::Put(1))], 3);
}

#[test]
fn operations_that_overlap_come_in_either_order() {
    let (first, second) = (op(1, 10, Action::Put(1)), op(2, 9, Action::Put(2)));
    fine(&[first, second, op(11, 12, read(1))]);
    fine(&[first, second, op(11, 12, read(2))]);
    fine(&[first, second, op(3, 4, read(2)), op(5, 6, read(1))]);
    // But all clients must see the same order.
    wrong(&[first, second, op(3, 4, read(2)), op(5, 6, read(1)), op(11, 12, read(2))], 11);
    wrong(&[first, second, op(11, 12, read(1)), op(13, 14, read(2))], 13);
}

#[test]
fn an_unknown_write_takes_effect_once_it_is_visible_and_only_once() {
    let put = op(1, 2, Action::Put(1));
    let unknown = unknown_op(3, Action::Put(2));
    fine(&[put, unknown, op(5, 6, read(1))]);
    fine(&[put, unknown, op(5, 6, read(2))]);
    fine(&[put, unknown, op(5, 6, read(1)), op(7, 8, read(1)), op(9, 10, read(2))]);
    wrong(&[put, unknown, op(5, 6, read(2)), op(7, 8, read(1))], 7);
    wrong(&[put, unknown, op(5, 6, read(2)), op(7, 8, Action::Put(3)), op(9, 10, read(2))], 9);
    // Not before it was called.
    wrong(&[put, op(3, 4, read(2)), unknown_op(5, Action::Put(2))], 3);
}

#[test]
fn an_unknown_delete_removes_one_version() {
    let (put, unknown) = (op(1, 2, Action::Put(1)), unknown_op(3, Action::Delete { was: None }));
    fine(&[put, unknown, op(5, 6, READ_NOTHING), op(7, 8, READ_NOTHING)]);
    fine(&[put, unknown, op(5, 6, op_put_if_absent(2, true))]);
    wrong(&[put, unknown, op(5, 6, READ_NOTHING), op(7, 8, read(1))], 7);
    let again = [put, unknown, op(5, 6, READ_NOTHING), op(7, 8, Action::Put(2)), op(9, 10, READ_NOTHING)];
    wrong(&again, 9);
    fine(&[&again[..], &[unknown_op(4, Action::Delete { was: None })]].concat());
}

fn op_put_if_absent(version: u64, stored: bool) -> Action {
    Action::PutIfAbsent { version, stored: Some(stored) }
}

#[test]
fn a_conditional_write_reveals_what_was_there() {
    fine(&[op(1, 2, op_put_if_absent(1, true)), op(3, 4, op_put_if_absent(2, false)), op(5, 6, read(1))]);
    wrong(&[op(1, 2, op_put_if_absent(1, true)), op(3, 4, op_put_if_absent(2, true))], 3);
    wrong(&[op(1, 2, op_put_if_absent(1, false))], 1);
    let unknown = unknown_op(1, Action::PutIfAbsent { version: 1, stored: None });
    fine(&[unknown, op(3, 4, op_put_if_absent(2, false)), op(5, 6, read(1))]);
    wrong(&[unknown, op(3, 4, op_put_if_absent(2, false)), op(5, 6, read(2))], 5);
    // An unknown write may come after an unknown delete.
    let held = op(2, 3, Action::Put(7));
    fine(&[
        held,
        unknown_op(4, Action::Delete { was: None }),
        unknown_op(5, Action::PutIfAbsent { version: 8, stored: None }),
        op(6, 7, read(8)),
    ]);
    wrong(&[held, unknown_op(5, Action::PutIfAbsent { version: 8, stored: None }), op(6, 7, read(8))], 6);
}

/// History of a register with concurrent operations, whose calls and returns surround the moment of their effect.
fn history(rng: &mut Rng, ops: usize) -> Vec<Op> {
    let mut held = None;
    let mut out = Vec::new();
    for n in 0..ops as u64 {
        let at = 1_000 * (n + 1);
        let version = n + 1;
        let unknown = rng.chance(150);
        let applied = !unknown || rng.chance(500);
        let action = match rng.below(6) {
            0 | 1 => Action::Put(version),
            2 => Action::PutIfAbsent { version, stored: Some(held.is_none()) },
            3 => Action::Delete { was: Some(held.is_some()) },
            4 => Action::Has { version: held.unwrap_or(version), found: held.is_some() },
            _ => Action::Read(held),
        };
        if applied && let Some(next) = action.step(held) {
            held = next;
        }
        let action = match action {
            Action::PutIfAbsent { version, .. } if unknown => Action::PutIfAbsent { version, stored: None },
            Action::Delete { .. } if unknown => Action::Delete { was: None },
            other => other,
        };
        let returned = at + 1 + rng.below(3_500);
        out.push(Op {
            called: at - 1 - rng.below(3_500).min(at - 2),
            returned: (!unknown).then_some(returned),
            action,
        });
    }
    // Makes all times different.
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
fn histories_of_a_register_pass_and_altered_ones_fail() {
    let mut caught = 0;
    for seed in 0..200 {
        let mut rng = Rng::new(seed, 1);
        let mut ops = history(&mut rng, 120);
        assert_eq!(check(&ops), Verdict::Consistent, "seed {seed}");
        // One answer is replaced by another version's.
        let reads: Vec<usize> =
            (0..ops.len()).filter(|n| matches!(ops[*n].action, Action::Read(Some(_))) && *n > 20).collect();
        let Some(n) = reads.first() else { continue };
        let old = ops.iter().take(5).find_map(|op| if let Action::Put(v) = op.action { Some(v) } else { None });
        ops[*n].action = Action::Read(old);
        caught += u32::from(matches!(check(&ops), Verdict::Inconsistent { .. }));
    }
    assert!(caught > 100, "{caught} of 200 altered histories were caught");
}
