//! Masks, as plainly as they can be told: large removals that are done at once, and whose rows are swept away later.
//!
//! This is the design that core's `masks.rs` follows, in a model of its own: no node, disk, key or type, only rows with dots in
//! them. Each site keeps everything twice: in a plain replica, which removes at once, and in a masked one, which removes behind
//! masks and sweeps a portion now and then. [`run`] draws a schedule from a seed, and compares the two after each step.
//!
//! - A mask is a range of rows and what was seen there. It hides dots, never rows: what is written later is seen.
//! - A removal takes all dots in its range that its author had seen, whatever is there where it is applied. All of those were applied
//!   before it, so no dot that is to be hidden comes later, and the sweeper may pass each row once.
//! - A mask that hides all that is in its range knows the rows that were written since: a reader looks at these and jumps over the
//!   rest. After a restart it knows none, and a reader walks.
//! - Masks are kept over a restart. How far they were swept is not: the sweeper begins anew.
//! - A mask goes when its whole range was swept, the oldest first.
//! - The digest counts rows as they lie there, so it is not told while there are masks.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// What a masked replica does wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A restart loses the masks.
    Forgotten,
    /// A mask hides all that is in its rows, written later or not.
    HidesNewer,
    /// A mask goes after the first portion.
    SweptHalf,
    /// The digest is told while there are masks.
    DigestTold,
    /// What was written since is not noted.
    SinceNotNoted,
}

/// What schedules did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Large removals that were done by a mask.
    pub masks: u64,
    /// Readings while there were masks.
    pub masked_readings: u64,
    /// Ranges that a reader jumped over.
    pub jumps: u64,
    /// Portions that were swept.
    pub portions: u64,
    /// Restarts while there were masks.
    pub restarts: u64,
}

/// A site and the number of its event.
type Dot = (usize, u64);
/// How many events of each site were seen.
type Vector = [u64; SITES];
/// What is alive in each row; a row without dots is not there.
type Rows = BTreeMap<u8, BTreeSet<Dot>>;

const SITES: usize = 3;
const ROWS: u8 = 12;
const STEPS: usize = 60;
/// Most rows that a removal takes away without a mask.
const REMOVAL_ROWS_MAX: usize = 2;
/// Most masks. What would need another is removed at once.
const MASKS_MAX: usize = 3;
/// Most rows written since that a mask knows.
const SINCE_MAX: usize = 3;

fn covers(vector: &Vector, (site, number): Dot) -> bool {
    number <= vector[site]
}

fn includes(vector: &Vector, other: &Vector) -> bool {
    vector.iter().zip(other).all(|(own, other)| own >= other)
}

/// Takes dots out of a row, and the row if none is left.
fn take(rows: &mut Rows, row: u8, gone: impl Fn(Dot) -> bool) {
    if let Some(dots) = rows.get_mut(&row) {
        dots.retain(|dot| !gone(*dot));
        if dots.is_empty() {
            rows.remove(&row);
        }
    }
}

/// What one write did.
#[derive(Clone, Debug)]
struct Event {
    dot: Dot,
    /// What its author had applied.
    deps: Vector,
    act: Act,
}

#[derive(Clone, Debug)]
enum Act {
    /// Puts a dot into a row, in place of those that were seen there.
    Put { row: u8, kills: BTreeSet<Dot> },
    /// Takes away what was seen in a range of rows.
    Remove { range: Range<u8>, seen: Vector },
}

/// Removes at once.
fn apply_plainly(rows: &mut Rows, event: &Event) {
    match &event.act {
        Act::Put { row, kills } => {
            take(rows, *row, |dot| kills.contains(&dot));
            rows.entry(*row).or_default().insert(event.dot);
        }
        Act::Remove { range, seen } => range.clone().for_each(|row| take(rows, row, |dot| covers(seen, dot))),
    }
}

/// A large removal that is not swept yet.
#[derive(Clone, Debug)]
struct Mask {
    range: Range<u8>,
    seen: Vector,
    /// The rows that were written since, if all others in the range are hidden and they are few. In memory only.
    since: Option<BTreeSet<u8>>,
}

/// Removes behind masks.
#[derive(Clone, Debug, Default)]
struct Masked {
    /// Rows as they lie there.
    rows: Rows,
    /// Oldest first.
    masks: Vec<Mask>,
    /// Where the sweeper goes on within the oldest. In memory only.
    swept: Option<u8>,
}

impl Masked {
    /// Applies an event to a replica that has applied `applied` before it.
    fn apply(&mut self, event: &Event, applied: &Vector, fault: Option<Fault>) {
        match &event.act {
            Act::Remove { range, seen } if self.is_large(range) => {
                let since = includes(seen, applied).then(BTreeSet::new);
                self.masks.push(Mask { range: range.clone(), seen: *seen, since });
            }
            _ => apply_plainly(&mut self.rows, event),
        }
        if let Act::Put { row, .. } = &event.act
            && fault != Some(Fault::SinceNotNoted)
        {
            self.masks.iter_mut().for_each(|mask| mask.wrote(*row));
        }
    }

    fn is_large(&self, range: &Range<u8>) -> bool {
        self.masks.len() < MASKS_MAX && self.rows.range(range.clone()).count() > REMOVAL_ROWS_MAX
    }

    /// What is seen of a row.
    fn row(&self, row: u8, fault: Option<Fault>) -> BTreeSet<Dot> {
        let mut dots = self.rows.get(&row).cloned().unwrap_or_default();
        for mask in self.masks.iter().filter(|mask| mask.range.contains(&row)) {
            dots.retain(|dot| !covers(&mask.seen, *dot) && fault != Some(Fault::HidesNewer));
        }
        dots
    }

    /// All that is seen, as a reader comes by it: it jumps over ranges of which all live rows are known.
    fn reading(&self, tally: &mut Tally, fault: Option<Fault>) -> Rows {
        tally.masked_readings += u64::from(!self.masks.is_empty());
        let (mut seen, mut from) = (Rows::new(), 0);
        while let Some((&row, _)) = self.rows.range(from..).next() {
            let known = self.masks.iter().find(|mask| mask.range.contains(&row) && mask.since.is_some());
            let (some, next) = match known {
                Some(Mask { range, since: Some(since), .. }) => {
                    tally.jumps += 1;
                    (since.range(row..).copied().collect(), range.end)
                }
                _ => (vec![row], row + 1),
            };
            seen.extend(some.into_iter().map(|row| (row, self.row(row, fault))));
            from = next;
        }
        seen.retain(|_, dots| !dots.is_empty());
        seen
    }

    /// Takes away what is hidden in a few rows of the oldest mask, and the mask after the last of them.
    fn sweep(&mut self, rows_max: usize, fault: Option<Fault>) {
        let Some(Mask { range, .. }) = self.masks.first().cloned() else { return };
        let from = self.swept.take().unwrap_or(range.start);
        let mut lying = self.rows.range(from..range.end).map(|(row, _)| *row);
        let portion: Vec<u8> = lying.by_ref().take(rows_max).collect();
        self.swept = lying.next().filter(|_| fault != Some(Fault::SweptHalf));
        for row in portion {
            let dots = self.row(row, fault);
            take(&mut self.rows, row, |dot| !dots.contains(&dot));
        }
        if self.swept.is_none() {
            self.masks.remove(0);
        }
    }

    fn restart(&mut self, fault: Option<Fault>) {
        self.swept = None;
        self.masks.iter_mut().for_each(|mask| mask.since = None);
        if fault == Some(Fault::Forgotten) {
            self.masks.clear();
        }
    }

    /// What the digest stands for, where it is told: the rows as they lie there.
    fn digest(&self, fault: Option<Fault>) -> Option<&Rows> {
        (self.masks.is_empty() || fault == Some(Fault::DigestTold)).then_some(&self.rows)
    }
}

impl Mask {
    fn wrote(&mut self, row: u8) {
        if let Some(since) = self.since.as_mut().filter(|_| self.range.contains(&row)) {
            since.insert(row);
            if since.len() > SINCE_MAX {
                self.since = None;
            }
        }
    }
}

// -- schedules -------------------------------------------------------------------------------------------------------

#[derive(Clone, Debug, Default)]
struct Site {
    vector: Vector,
    /// What it had applied some time ago: what a client may have seen.
    earlier: Vector,
    plain: Rows,
    masked: Masked,
}

struct Schedule {
    random: ChaCha8Rng,
    sites: [Site; SITES],
    /// Of each site, in their order.
    events: [Vec<Event>; SITES],
    fault: Option<Fault>,
    tally: Tally,
}

/// Runs one schedule: what it did, or where the two replicas of a site differ.
///
/// # Errors
/// The difference, in words.
pub fn run(seed: u64, fault: Option<Fault>) -> Result<Tally, String> {
    let random = ChaCha8Rng::seed_from_u64(seed);
    let mut schedule = Schedule {
        random,
        sites: Default::default(),
        events: Default::default(),
        fault,
        tally: Tally::default(),
    };
    for step in 0..STEPS {
        let at = schedule.step();
        schedule.compare(at).map_err(|difference| format!("seed {seed}, step {step}: {difference}"))?;
    }
    schedule.end().map_err(|difference| format!("seed {seed}, at the end: {difference}"))?;
    Ok(schedule.tally)
}

impl Schedule {
    /// Lets something happen at a site.
    fn step(&mut self) -> usize {
        let at = self.random.random_range(0..SITES);
        match self.random.random_range(0..20) {
            0..7 => self.write(at),
            7..9 => self.remove(at),
            9..15 => _ = self.deliver(at),
            15..18 => self.sweep(at),
            18 => self.sites[at].earlier = self.sites[at].vector,
            _ => self.restart(at),
        }
        at
    }

    fn write(&mut self, at: usize) {
        let row = self.random.random_range(0..ROWS);
        let kills = self.sites[at].plain.get(&row).cloned().unwrap_or_default();
        self.make(at, Act::Put { row, kills });
    }

    fn remove(&mut self, at: usize) {
        let start = self.random.random_range(0..ROWS / 2);
        let range = start..self.random.random_range(start..ROWS) + 1;
        let site = &self.sites[at];
        let seen = if self.random.random_ratio(1, 4) { site.earlier } else { site.vector };
        self.make(at, Act::Remove { range, seen });
    }

    fn make(&mut self, at: usize, act: Act) {
        let deps = self.sites[at].vector;
        let event = Event { dot: (at, deps[at] + 1), deps, act };
        self.apply(at, &event);
        self.events[at].push(event);
    }

    /// Applies an event of another site that is ready. Whether there was one.
    fn deliver(&mut self, at: usize) -> bool {
        let first = self.random.random_range(0..SITES);
        for from in (0..SITES).map(|n| (first + n) % SITES) {
            let place = usize::try_from(self.sites[at].vector[from]).expect("few events");
            let next = self.events[from].get(place).cloned();
            if let Some(event) = next.filter(|event| includes(&self.sites[at].vector, &event.deps)) {
                self.apply(at, &event);
                return true;
            }
        }
        false
    }

    fn apply(&mut self, at: usize, event: &Event) {
        let site = &mut self.sites[at];
        let masks = site.masked.masks.len();
        apply_plainly(&mut site.plain, event);
        site.masked.apply(event, &site.vector, self.fault);
        let (author, number) = event.dot;
        site.vector[author] = number;
        self.tally.masks += u64::from(site.masked.masks.len() > masks);
    }

    fn sweep(&mut self, at: usize) {
        let masked = &mut self.sites[at].masked;
        self.tally.portions += u64::from(!masked.masks.is_empty());
        masked.sweep(self.random.random_range(1..5), self.fault);
    }

    fn restart(&mut self, at: usize) {
        let masked = &mut self.sites[at].masked;
        self.tally.restarts += u64::from(!masked.masks.is_empty());
        masked.restart(self.fault);
    }

    fn compare(&mut self, at: usize) -> Result<(), String> {
        let Site { plain, masked, .. } = &self.sites[at];
        let reading = masked.reading(&mut self.tally, self.fault);
        if reading != *plain {
            return Err(format!(
                "site {at} reads {reading:?}, and without masks {plain:?}; {:?}",
                masked.masks
            ));
        }
        match masked.digest(self.fault) {
            Some(rows) if rows != plain => {
                Err(format!("site {at} tells a digest of {rows:?}, and has {plain:?}"))
            }
            _ => Ok(()),
        }
    }

    /// All apply everything, and sweep: they are alike, and nothing is left of the masks.
    fn end(&mut self) -> Result<(), String> {
        for at in (0..SITES).cycle().take(SITES * SITES) {
            while self.deliver(at) {
                self.compare(at)?;
            }
        }
        for at in 0..SITES {
            while !self.sites[at].masked.masks.is_empty() {
                self.sweep(at);
                self.compare(at)?;
            }
            let [first, site] = [0, at].map(|at| &self.sites[at]);
            if (site.vector, &site.masked.rows) != (first.vector, &first.masked.rows) {
                return Err(format!("site {at} ends as {site:?}, and the first as {first:?}"));
            }
        }
        Ok(())
    }
}
