//! The deliberate bugs that the schedules and the simulator must catch: the engine's, and the shell's, which they play.

use meridian_core::planted::{Bug, Planted};
use std::fmt;
use std::str::FromStr;

/// One deliberate bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// In the engine.
    Engine(Bug),
    /// In the shell: outputs are delivered before the batch is synced.
    SyncSkipped,
    /// In the shell: what waits for a sync is delivered though the sync has failed. (The schedules know no sync that fails.)
    SyncErrorIgnored,
}

/// All of them, with their names on the command line.
pub const FAULTS: [(&str, Fault); 35] = [
    ("gap-accepted", Fault::Engine(Bug::GapAccepted)),
    ("no-causal-gate", Fault::Engine(Bug::NoCausalGate)),
    ("losing-siblings-dropped", Fault::Engine(Bug::LosingSiblingsDropped)),
    ("error-read-as-absence", Fault::Engine(Bug::ErrorReadAsAbsence)),
    ("absence-answered", Fault::Engine(Bug::AbsenceAnswered)),
    ("write-unmade", Fault::Engine(Bug::WriteUnmade)),
    ("delta-dropped", Fault::Engine(Bug::DeltaDropped)),
    ("range-kill-by-receiver", Fault::Engine(Bug::RangeKillByReceiver)),
    ("reset-by-receiver", Fault::Engine(Bug::ResetByReceiver)),
    ("context-trusted", Fault::Engine(Bug::ContextTrusted)),
    ("duplicate-applied", Fault::Engine(Bug::DuplicateApplied)),
    ("origin-reused", Fault::Engine(Bug::OriginReused)),
    ("clock-without-bound", Fault::Engine(Bug::ClockWithoutBound)),
    ("announcement-skipped", Fault::Engine(Bug::AnnouncementSkipped)),
    ("no-freeze", Fault::Engine(Bug::NoFreeze)),
    ("repair-rows-newer", Fault::Engine(Bug::RepairRowsNewer)),
    ("repair-vector-newer", Fault::Engine(Bug::RepairVectorNewer)),
    ("repair-joined-early", Fault::Engine(Bug::RepairJoinedEarly)),
    ("repair-partly-installed", Fault::Engine(Bug::RepairPartlyInstalled)),
    ("row-merged-alone", Fault::Engine(Bug::RowMergedAlone)),
    ("repair-row-lost", Fault::Engine(Bug::RepairRowLost)),
    ("leaf-skipped", Fault::Engine(Bug::LeafSkipped)),
    ("log-hole", Fault::Engine(Bug::LogHole)),
    ("spent-slot-purged", Fault::Engine(Bug::SpentSlotPurged)),
    ("truncation-denied", Fault::Engine(Bug::TruncationDenied)),
    ("room-ignored", Fault::Engine(Bug::RoomIgnored)),
    ("mask-hides-newer", Fault::Engine(Bug::MaskHidesNewer)),
    ("mask-forgotten", Fault::Engine(Bug::MaskForgotten)),
    ("mask-swept-half", Fault::Engine(Bug::MaskSweptHalf)),
    ("masked-root-told", Fault::Engine(Bug::MaskedRootTold)),
    ("subtree-not-deep", Fault::Engine(Bug::SubtreeNotDeep)),
    ("context-of-answer-whole", Fault::Engine(Bug::ContextOfAnswerWhole)),
    ("disable-by-receiver", Fault::Engine(Bug::DisableByReceiver)),
    ("sync-skipped", Fault::SyncSkipped),
    ("sync-error-ignored", Fault::SyncErrorIgnored),
];

impl Fault {
    /// What a node's configuration is told.
    pub fn planted(self) -> Planted {
        match self {
            Fault::Engine(bug) => Planted::bug(bug),
            Fault::SyncSkipped | Fault::SyncErrorIgnored => Planted::default(),
        }
    }

    /// Whether the schedules can show it: their disks are never full.
    pub fn is_for_schedules(self) -> bool {
        !matches!(self, Fault::SyncErrorIgnored | Fault::Engine(Bug::RoomIgnored))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = FAULTS.iter().find(|(_, fault)| fault == self).expect("all are listed");
        f.write_str(name)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = || FAULTS.map(|(name, _)| name).join(", ");
        let found = FAULTS.iter().find(|(name, _)| *name == text);
        found.map(|(_, fault)| *fault).ok_or_else(|| format!("no such bug; there are {}", known()))
    }
}
