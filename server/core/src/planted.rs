//! Deliberate bugs. A test that cannot fail proves nothing, so each of these must make the tests fail.
//!
//! The switch is a value in the node's configuration, so a thousand nodes in one process may each have another bug.
//! Without the feature `planted-bugs` there is no switch and asking for a bug is `false` at compile time.

/// Whether this build can have deliberate bugs: the feature `planted-bugs`. A binary that says yes is for tests.
pub const PLANTED_BUGS: bool = cfg!(feature = "planted-bugs");

/// One deliberate bug, named after what is left out or done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// A delta is applied though one of its origin before it is missing.
    GapAccepted,
    /// A delta is applied before the deltas that its author had seen.
    NoCausalGate,
    /// A register keeps only the sibling that wins, though no delta killed the others.
    LosingSiblingsDropped,
    /// A row that cannot be read is taken for a row that is not there.
    ErrorReadAsAbsence,
    /// A client that reads a row which cannot be read is told that there is nothing.
    AbsenceAnswered,
    /// One write in eight is acknowledged and not made.
    WriteUnmade,
    /// One delta in eight moves the version vector and changes nothing.
    DeltaDropped,
    /// A range kill kills what its receiver has, not what its author had.
    RangeKillByReceiver,
    /// A reset takes away what its receiver has, not what its author had.
    ResetByReceiver,
    /// A client's context is believed beyond what this replica has seen.
    ContextTrusted,
    /// A delta that was applied before is applied again.
    DuplicateApplied,
    /// A node goes on with the origin of its last run.
    OriginReused,
    /// A remote stamp raises the clock however far ahead it is.
    ClockWithoutBound,
    /// A change is announced once, when it happens, and never again: what was lost on the way stays unknown.
    AnnouncementSkipped,
    /// Deltas of others are applied while a repair is under way.
    NoFreeze,
    /// A repair's rows are read from the live database, while its version vector is that of the snapshot.
    RepairRowsNewer,
    /// A repair's version vector is what the source announced last, while its rows are those of the snapshot.
    RepairVectorNewer,
    /// The version vector covers what a repair will bring as soon as it begins.
    RepairJoinedEarly,
    /// Only some of the rows that a repair has staged are installed.
    RepairPartlyInstalled,
    /// Each row that a repair brings is merged by itself, when it arrives.
    RowMergedAlone,
    /// The source leaves out rows that it could not read.
    RepairRowLost,
    /// The walk down the trees skips one leaf in four.
    LeafSkipped,
    /// After a repair the log is said to reach back as far as before.
    LogHole,
    /// A slot is removed as soon as all of it was reset, though others may still add to it or reset it.
    SpentSlotPurged,
    /// A mask hides all rows in its range, also those that were written later.
    MaskHidesNewer,
    /// A mask is not kept over a restart.
    MaskForgotten,
    /// The sweeper takes a mask away before all its rows are swept.
    MaskSweptHalf,
    /// The root of the tree is told while rows wait to be swept.
    MaskedRootTold,
    /// A subtree's removal leaves the fields that lie below others.
    SubtreeNotDeep,
    /// The context of an answer covers all that its replica had, though the client had not seen all of it.
    ContextOfAnswerWhole,
    /// A disable takes away what its receiver has of the flag.
    DisableByReceiver,
    /// The log is cut although a member lacks what is cut off, and this is said to be all there is.
    TruncationDenied,
    /// What peers send is taken in although the disk has no room for it.
    RoomIgnored,
}

/// Which deliberate bug a node has: none, but in tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Planted {
    #[cfg(feature = "planted-bugs")]
    bug: Option<Bug>,
}

impl Planted {
    /// A node with this bug.
    #[cfg(feature = "planted-bugs")]
    pub fn bug(bug: Bug) -> Self {
        Planted { bug: Some(bug) }
    }

    /// Whether this node has `bug`. Always `false` without the feature `planted-bugs`.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn has(self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Whether this node has `bug`. Always `false` without the feature `planted-bugs`.
    #[cfg(not(feature = "planted-bugs"))]
    pub(crate) const fn has(self, _bug: Bug) -> bool {
        false
    }
}
