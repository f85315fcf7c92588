//! The rules that can be switched off, one at a time, and the purpose of each.
//!
//! A mutant is the protocol without one rule. The explorers must catch every mutant: a rule whose absence goes
//! unnoticed is either not needed or not tested.

/// The order in which a LIST reads the keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Order {
    /// Each key at a moment of its own between start and end, as with a sharded index.
    Any,
    /// Each key no earlier than the keys before it, as with pages that are read in sequence.
    Ascending,
}

macro_rules! mutants {
    ($($name:ident, $pipelined:literal, $text:literal;)*) => {
        /// A rule that is switched off.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub(crate) enum Mutant { $($name),* }

        impl Mutant {
            /// All mutants.
            pub(crate) const ALL: &[Mutant] = &[$(Mutant::$name),*];

            /// Whether only several PUTs in flight can show the mutant.
            pub(crate) fn pipelined(self) -> bool {
                match self { $(Mutant::$name => $pipelined),* }
            }

            /// Description of the violated rule.
            pub(crate) fn text(self) -> &'static str {
                match self { $(Mutant::$name => $text),* }
            }
        }
    };
}

/// Rules that other rules make redundant: kept as a second line of defence, so no explorer needs to notice their
/// absence. Claims of older epochs: the Seals of those epochs say the same, as long as they exist.
pub(crate) const REDUNDANT: &[Mutant] = &[Mutant::GcDeletesClaims];

mutants! {
    EpochReused, false, "a restarted node continues in its old epoch (R1)";
    AckBeforeLower, true, "acknowledged before all lower slots are written (R2)";
    UnknownIsSuccess, false, "an error of unknown outcome taken for success (R2)";
    CkptResent, false, "a Ckpt record is sent again after an unknown outcome (R7)";
    RetryElsewhere, false, "after an unknown outcome the entry goes to the next slot (R2)";
    CkptBeforeLower, true, "Ckpt written before the slots below it (R3)";
    NoRelist, false, "no second LIST after sealing (R4)";
    AnySealCounts, false, "any Seal in an epoch counts as its end (R4)";
    HoleFromOldest, false, "the hole is counted from the oldest entry (R4)";
    SealAtMax, true, "Seal after the highest slot, not at the first hole (R4)";
    SealNewestOnly, false, "only the newest older epoch is sealed (R4)";
    ClaimUnchecked, false, "recover, claim, and no look for what came between (R5)";
    OpeningUnchecked, false, "log/e/1 taken by another, and continued (R5)";
    RecoverNoAnchor, false, "the Ckpt record is not read again after the replay (R5)";
    EmptyByList, false, "no Ckpt listed taken for an empty keyspace, without the cut mark (R5)";
    GcDeletesSeals, false, "GC deletes Seals (R6)";
    GcDeletesClaims, false, "GC deletes claims of older epochs (R6)";
    GcIgnoresFloor, false, "GC deletes up to the Ckpt, not the floor (R6)";
    GcKeepsHighest, true, "GC keeps the highest slot of an old epoch, not its Seals (R6)";
    GcOwnFirst, false, "GC of the own epoch before the older ones (R6)";
    GcUnordered, false, "GC in descending order (R6)";
    GcUnconfirmed, false, "GC although the Ckpt's outcome is unknown (R6)";
    CkptUnconfirmedObject, false, "Ckpt record before the objects it names (R6)";
    RetireEarly, false, "compaction deletes its inputs before the Ckpt (R6)";
    SweepUnclaimed, false, "sweep by one who has not claimed (R6)";
    SweepNewer, false, "sweep of objects of newer epochs (R6)";
    ExistsIsSuccess, false, "AlreadyExists taken for success (R7)";
    ExistsIsFenced, false, "AlreadyExists taken for a refusal though it is ours (R7)";
    AbsentIsSuccess, false, "absent after AlreadyExists taken for success (R7)";
    OwnerReadUnchecked, false, "the owner reads without a look at its next slot (R8)";
    ReaderGetsNext, false, "a reader asks for the next slot only (R8)";
    ReaderNoAnchor, false, "a reader LISTs, but does not ask for its Ckpt record (R8)";
    ResumeUnchecked, false, "back in its epoch, and no look at where the log ends now (R9)";
    ResumeUnknown, false, "back in its epoch after an unknown outcome (R9)";
}

/// The protocol or one of its mutants, and its environment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Rules {
    /// The rule that is switched off.
    pub(crate) off: Option<Mutant>,
    /// Maximum number of Data PUTs in flight per writer.
    pub(crate) width: u8,
    /// Order in which a LIST reads the keys.
    pub(crate) order: Order,
    /// Whether a PUT that timed out may still arrive at any later moment.
    pub(crate) delayed_puts: bool,
}

impl Rules {
    /// Whether this rule is switched off.
    pub(crate) fn lacks(&self, rule: Mutant) -> bool {
        self.off == Some(rule)
    }
}
