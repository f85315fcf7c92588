//! Random schedules, each from a seed: who acts, for how long, what fails, who dies.
//!
//! Each seed also draws its own habits (writers, faults, length of bursts, checkpoints), so that
//! some schedules are nearly quiet and some nothing but trouble. Long bursts are what a stalled
//! writer looks like from outside.

use super::{
    rules::Rules,
    world::{Choose, World},
    writer::{Budget, Process},
};

/// A small generator (SplitMix64): equal seeds give equal schedules on every machine.
pub(crate) struct Random(u64);

impl Random {
    /// Near seeds give unlike streams.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5EA1_ED0E_70C4_1065)
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u32) -> u32 {
        u32::try_from(((self.bits() >> 32) * u64::from(n)) >> 32).expect("the model is small")
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.pick(of.len())]
    }

    fn small(&mut self, most: u8) -> u8 {
        u8::try_from(self.below(u32::from(most) + 1)).expect("the model is small")
    }
}

impl Choose for Random {
    fn pick(&mut self, n: usize) -> usize {
        if n == 1 { 0 } else { self.below(u32::try_from(n).expect("the model is small")) as usize }
    }

    fn weigh(&mut self, weights: &[u32]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (i, weight) in weights.iter().enumerate() {
            if left < *weight {
                return i;
            }
            left -= weight;
        }
        unreachable!("the weights sum up to more than was drawn")
    }

    fn rare(&mut self, per_mille: u32) -> bool {
        self.below(1000) < per_mille
    }
}

/// What a schedule came to.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Steps, each at most one request.
    pub(crate) steps: u64,
    /// Acknowledged writes.
    pub(crate) acked: u64,
    /// Epochs claimed.
    pub(crate) epochs: u64,
    /// Owners that left and came back in their epoch.
    pub(crate) returns: u64,
}

/// How one schedule behaves.
struct Habits {
    switch: u32,
    wake: u32,
    crash: u32,
    all_crash: u32,
    ghost: u32,
    steps: u32,
}

/// Runs one schedule to its end.
pub(crate) fn run(rules: Rules, seed: u64) -> Result<Tally, &'static str> {
    let mut rng = Random::new(seed);
    let rules = Rules { ghosts: rules.ghosts && rng.pick(2) == 0, ..rules };
    let busy = 1 + rng.small(5);
    let budget = Budget {
        writes: busy,
        claims: 40,
        ckpts: rng.small(busy),
        reads: rng.small(4),
        sweeps: rng.small(2),
        evictions: rng.small(2),
        segments: rng.pick(2) == 0,
    };
    let writers = 2 + rng.small(3);
    let rate = rng.one(&[0, 0, 20, 80, 250]);
    let mut world = World::new(rules, writers, budget, if rate == 0 { 0 } else { u8::MAX }, rate);
    let habits = Habits {
        switch: rng.one(&[20, 80, 250, 600]),
        wake: rng.one(&[5, 30, 200]),
        crash: rng.one(&[0, 0, 3, 15]),
        all_crash: rng.one(&[0, 0, 2]),
        ghost: rng.one(&[10, 50]),
        steps: 60 + rng.below(400),
    };
    let (steps, returns) = play(&mut world, &mut rng, &habits);
    if world.wrong.is_none() {
        world.audit();
    }
    let acked = world.acked.len();
    if world.wrong.is_none() {
        finish(&mut world, &mut rng);
    }
    let epochs = world.store.claims.len() as u64;
    world.wrong.map_or(Ok(Tally { steps, acked: acked as u64, epochs, returns }), Err)
}

/// Steps taken, and returns.
fn play(world: &mut World, rng: &mut Random, habits: &Habits) -> (u64, u64) {
    let (mut awake, mut now, mut returns) = (1, 0, 0);
    for step in 0..habits.steps {
        if awake < world.processes.len() && rng.rare(habits.wake) {
            (now, awake) = (awake, awake + 1);
        } else if world.processes[now].idle() || rng.rare(habits.switch) {
            now = rng.pick(awake);
        }
        if !world.ghosts.is_empty() && rng.rare(habits.ghost) {
            world.ghost_lands(rng);
        }
        if rng.rare(habits.crash) {
            world.crash(now, rng);
        }
        if rng.rare(habits.all_crash) {
            (0..world.processes.len()).for_each(|p| world.crash(p, rng));
        }
        let away = world.processes[now].left.is_some();
        world.step(now, rng);
        returns += u64::from(away && world.processes[now].owns());
        let asleep = awake == world.processes.len() && world.processes.iter().all(Process::idle);
        if asleep || world.wrong.is_some() || world.exhausted() {
            return (u64::from(step) + 1, returns);
        }
    }
    (u64::from(habits.steps), returns)
}

/// Steps within which one live writer without faults must have written.
const PATIENCE: u32 = 800;

/// All stand still but one new process, nothing fails any more: it must take over, write, and find
/// everything. What is still in the network lands then, and must change nothing.
fn finish(world: &mut World, choose: &mut impl Choose) {
    world.faults = 0;
    world.crash(0, choose);
    world.processes[0].budget = Budget { writes: 1, claims: 40, ..Budget::default() };
    let before = world.acked.len();
    for _ in 0..PATIENCE {
        if world.wrong.is_some() {
            return;
        }
        if world.acked.len() > before {
            while !world.ghosts.is_empty() {
                world.ghost_lands(choose);
            }
            return world.audit();
        }
        world.step(0, choose);
    }
    world.blame("one live writer without faults does not come to an end");
}
