//! The rules that can be switched off, one at a time, and what each is there for.
//!
//! A mutant is the protocol less one rule. The explorers must catch every one: a rule whose loss
//! nobody notices is either not needed or not tested.

/// The order in which a LIST looks at the keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Order {
    /// Each key at a moment of its own between start and end: a sharded index behind one page.
    Any,
    /// Each key no earlier than the keys before it: pages read one after the other.
    Ascending,
}

macro_rules! mutants {
    ($($name:ident, $pipelined:literal, $text:literal;)*) => {
        /// One rule that is not kept.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub(crate) enum Mutant { $($name),* }

        impl Mutant {
            /// Every one.
            pub(crate) const ALL: &[Mutant] = &[$(Mutant::$name),*];

            /// Only several PUTs in flight can show it.
            pub(crate) fn pipelined(self) -> bool {
                match self { $(Mutant::$name => $pipelined),* }
            }

            /// What goes wrong, in words.
            pub(crate) fn text(self) -> &'static str {
                match self { $(Mutant::$name => $text),* }
            }
        }
    };
}

/// Rules that other rules make up for: kept as a second line, and no explorer need notice.
/// Claims of older epochs: the Seals of those epochs say the same, as long as they stand.
pub(crate) const REDUNDANT: &[Mutant] = &[Mutant::GcDeletesClaims];

mutants! {
    EpochReused, false, "a restarted node goes on in its old epoch (R1)";
    AckBeforeLower, true, "acknowledged before all lower slots are written (R2)";
    UnknownIsSuccess, false, "an error of unknown outcome taken for success (R2)";
    CkptResent, false, "a Ckpt record is sent again after an unknown outcome (R7)";
    RetryElsewhere, false, "after an unknown outcome the entry goes to the next slot (R2)";
    CkptBeforeLower, true, "Ckpt written before the slots below it (R3)";
    NoRelist, false, "no second LIST after sealing (R4)";
    AnySealCounts, false, "any Seal in an epoch counts as its end (R4)";
    HoleFromOldest, false, "the hole is counted from the oldest entry (R4)";
    SealAtMax, true, "Seal behind the highest slot, not at the first hole (R4)";
    SealNewestOnly, false, "only the newest older epoch is sealed (R4)";
    ClaimUnchecked, false, "recover, claim, and no look for what came between (R5)";
    OpeningUnchecked, false, "log/e/1 taken by another, and gone on (R5)";
    RecoverNoAnchor, false, "the Ckpt record is not read again after the replay (R5)";
    EmptyByList, false, "no Ckpt listed taken for an empty place, without the cut mark (R5)";
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
    ResumeUnknown, false, "back in its epoch after an outcome that nobody knows (R9)";
}

/// The protocol, or one of its mutants, and the world it runs in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Rules {
    /// The rule that is off.
    pub(crate) off: Option<Mutant>,
    /// Data PUTs in flight per writer.
    pub(crate) width: u8,
    /// How a LIST looks.
    pub(crate) order: Order,
    /// A PUT that timed out may still land, at any later moment.
    pub(crate) ghosts: bool,
}

impl Rules {
    /// This rule is off.
    pub(crate) fn lacks(&self, rule: Mutant) -> bool {
        self.off == Some(rule)
    }
}
