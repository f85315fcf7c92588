//! The protocol of the sealed-epoch log.

mod exhaustive;
mod put;
mod random;
mod recover;
mod rules;
mod scan;
mod store;
mod takeover;
mod upkeep;
mod world;
mod writer;

use exhaustive::{Bounds, search};
use rules::{Mutant, Order, Rules};
use writer::Budget;

fn rules(width: u8) -> Rules {
    Rules { off: None, width, order: Order::Any, ghosts: true }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |v| v.parse().unwrap())
}

#[test]
fn dev() {
    let n = number("RINGFENCE_SCHEDULES", 20000);
    let from = number("RINGFENCE_SCHEDULES_FROM", 0);
    for width in [1, 3] {
        for order in [Order::Any, Order::Ascending] {
        let (mut steps, mut acked, mut ep) = (0, 0, 0);
        let mut bad = 0;
        for seed in from..from + n {
            match random::run(Rules { order, ..rules(width) }, seed, &mut |_, _| {}) {
                Ok(t) => { steps += t.steps; acked += t.acked; ep += t.epochs; }
                Err(e) => { bad += 1; if bad < 5 { println!("width {width} {order:?} seed {seed}: {e}"); } }
            }
        }
        println!("width {width} {order:?} n {n} steps {steps} acked {acked} epochs {ep} bad {bad}");
        }
    }
}

#[test]
fn dev_mutants() {
    let n = number("RINGFENCE_SCHEDULES", 20000);
    for m in Mutant::ALL {
        let mut line = format!("{m:?}");
        for order in [Order::Any, Order::Ascending] {
            for width in [1u8, 3] {
                if m.pipelined() && width == 1 { continue; }
                let mut first = None; let mut bad = 0;
                for seed in 0..n {
                    if let Err(e) = random::run(Rules { off: Some(*m), order, ..rules(width) }, seed, &mut |_, _| {}) {
                        bad += 1;
                        if first.is_none() { first = Some((seed, e)); break; }
                    }
                }
                line += &format!(" | {order:?} w{width}: {bad} {first:?}");
            }
        }
        println!("{line}");
    }
}

#[test]
fn dev_trace() {
    let Ok(seed) = std::env::var("TRACE") else { return };
    let off = std::env::var("MUTANT").ok().map(|m| *Mutant::ALL.iter().find(|x| format!("{x:?}") == m).unwrap());
    let width = number("WIDTH", 1) as u8;
    let order = if std::env::var("ASC").is_ok() { Order::Ascending } else { Order::Any };
    let r = random::run(Rules { off, order, ..rules(width) }, seed.parse().unwrap(), &mut |w, p| {
        let me = &w.processes[p];
        let log: Vec<String> = w.store.keys().iter().map(|k| format!("{}/{}:{}", k.e, k.n, match w.store.log(*k).unwrap() { store::Rec::Data { id, .. } => format!("d{id}"), store::Rec::Ckpt { last, floor, .. } => format!("C{last}f{}/{}", floor.e, floor.n), store::Rec::Seal { .. } => "S".into() })).collect();
        println!("p{p} e{} slot{} {:?} put={:?} scan(keys {:?} ckpt {:?}) truth {:?} log {}", me.epoch, me.slot, me.next, me.put.as_ref().map(|p| p.object.clone()), me.scan.keys.iter().map(|k| (k.e, k.n)).collect::<Vec<_>>(), me.scan.ckpt.map(|c| (c.at.e, c.at.n)), w.truth, log.join(" "));
    });
    println!("{:?}", r.err());
}

#[test]
fn dev_exhaustive() {
    let b = Bounds {
        writers: number("W", 3) as u8,
        budget: Budget { writes: number("WR", 1) as u8, ckpts: number("CK", 1) as u8, reads: number("RD", 0) as u8, ..Budget::default() },
        faults: number("F", 0) as u8,
        states: number("STATES", 3_000_000) as usize,
    };
    let r = search(Rules { ghosts: number("GH", 0) == 1, ..rules(1) }, b);
    println!("states {} steps {} complete {} wrong {:?}", r.states, r.steps, r.complete, r.wrong);
}
