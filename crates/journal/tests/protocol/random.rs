//! Random schedules, each from a seed: which process acts and for how long, what fails, and which process crashes.
//!
//! Each seed also draws its own parameters (writers, faults, length of bursts, checkpoints), so that some schedules are
//! nearly quiet and others full of faults. During long bursts the other writers appear stalled.

use super::{
    model::{Choose, Model},
    rules::Rules,
    writer::{Budget, Process},
};

/// A small generator (SplitMix64): equal seeds give equal schedules on every machine.
pub(crate) struct Random(u64);

impl Random {
    /// Creates a generator; similar seeds give unrelated streams.
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

/// Totals of one or more schedules.
#[derive(Clone, Copy, Default)]
pub(crate) struct Totals {
    /// Number of steps, each with at most one request.
    pub(crate) steps: u64,
    /// Number of acknowledged writes.
    pub(crate) acked: u64,
    /// Number of claimed epochs.
    pub(crate) epochs: u64,
    /// Number of owners that detached and resumed in their epoch.
    pub(crate) resumes: u64,
}

/// Parameters of one schedule, most of them probabilities in thousandths.
struct ScheduleParams {
    switch: u32,
    start_process: u32,
    crash: u32,
    all_crash: u32,
    delayed_arrival: u32,
    steps: u32,
}

/// Runs one schedule to its end.
pub(crate) fn run(rules: Rules, seed: u64) -> Result<Totals, &'static str> {
    let mut rng = Random::new(seed);
    let rules = Rules { delayed_puts: rules.delayed_puts && rng.pick(2) == 0, ..rules };
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
    let mut model = Model::new(rules, writers, budget, if rate == 0 { 0 } else { u8::MAX }, rate);
    let params = ScheduleParams {
        switch: rng.one(&[20, 80, 250, 600]),
        start_process: rng.one(&[5, 30, 200]),
        crash: rng.one(&[0, 0, 3, 15]),
        all_crash: rng.one(&[0, 0, 2]),
        delayed_arrival: rng.one(&[10, 50]),
        steps: 60 + rng.below(400),
    };
    let (steps, resumes) = run_steps(&mut model, &mut rng, &params);
    if model.violation.is_none() {
        model.verify();
    }
    let acked = model.acked.len();
    if model.violation.is_none() {
        finish(&mut model, &mut rng);
    }
    let epochs = model.store.claims.len() as u64;
    model.violation.map_or(Ok(Totals { steps, acked: acked as u64, epochs, resumes }), Err)
}

/// Returns the number of steps taken and of resumed sessions.
fn run_steps(model: &mut Model, rng: &mut Random, params: &ScheduleParams) -> (u64, u64) {
    let (mut started, mut current, mut resumes) = (1, 0, 0);
    for step in 0..params.steps {
        if started < model.processes.len() && rng.rare(params.start_process) {
            (current, started) = (started, started + 1);
        } else if model.processes[current].idle() || rng.rare(params.switch) {
            current = rng.pick(started);
        }
        if !model.delayed_puts.is_empty() && rng.rare(params.delayed_arrival) {
            model.delayed_put_arrives(rng);
        }
        if rng.rare(params.crash) {
            model.crash(current, rng);
        }
        if rng.rare(params.all_crash) {
            (0..model.processes.len()).for_each(|p| model.crash(p, rng));
        }
        let was_detached = model.processes[current].session.is_some();
        model.step(current, rng);
        resumes += u64::from(was_detached && model.processes[current].owns());
        let all_idle = started == model.processes.len() && model.processes.iter().all(Process::idle);
        if all_idle || model.violation.is_some() || model.exhausted() {
            return (u64::from(step) + 1, resumes);
        }
    }
    (u64::from(params.steps), resumes)
}

/// Number of steps within which one live writer without faults must have written.
const LIVENESS_STEPS_MAX: u32 = 800;

/// All processes but one new one stop, and nothing fails any more: it must take over, write, and find everything. What
/// is still in the network arrives then, and must change nothing.
fn finish(model: &mut Model, choose: &mut impl Choose) {
    model.faults = 0;
    model.crash(0, choose);
    model.processes[0].budget = Budget { writes: 1, claims: 40, ..Budget::default() };
    let before = model.acked.len();
    for _ in 0..LIVENESS_STEPS_MAX {
        if model.violation.is_some() {
            return;
        }
        if model.acked.len() > before {
            while !model.delayed_puts.is_empty() {
                model.delayed_put_arrives(choose);
            }
            return model.verify();
        }
        model.step(0, choose);
    }
    model.report_violation("one live writer without faults does not come to an end");
}
