//! Every decoder of core, on seeds of every kind and on mutations of them; and that none is missing.
//!
//! `make fuzz` runs the same targets for longer, guided by coverage. The server's are beside its code (`server/src/decoders.rs`).

use meridian_core::cell::Type;
use meridian_core::delta::Effect;
use meridian_core::delta_log::Rest;
use meridian_core::message::Message;
use meridian_core::repair::{Answer, Ask, Leaves, Unwilling};
use meridian_core::replica::inspect::{FieldShown, Finding, Inspection, Piece};
use meridian_core::storage::Space;
use meridian_tests::decoders::{self, samples};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Mutations of each target's seeds.
const MUTATIONS: u64 = 50_000;

/// The target of each type that can be written down; of one that is only a part of others, that of one of them.
const TYPES: [(&str, &str); 28] = [
    ("()", "small-values"),
    ("Answer", "answer"),
    ("Ask", "ask"),
    ("Cell<P>", "head-cell"),
    ("Content", "inspection"),
    ("ContentType", "content-type"),
    ("Context", "context"),
    ("Delta", "delta"),
    ("Dot", "small-values"),
    ("FieldShown", "inspection"),
    ("Head", "head"),
    ("Inspection", "inspection"),
    ("Mark", "small-values"),
    ("MemberShown", "inspection"),
    ("Message", "message-fresh"),
    ("Path", "path"),
    ("Position", "row-sent"),
    ("RepairTurn", "small-values"),
    ("Rest", "small-values"),
    ("RowSent", "row-sent"),
    ("Seen", "seen"),
    ("ShardId", "small-values"),
    ("SiblingShown", "inspection"),
    ("Slot", "slot"),
    ("SlotSeen", "slot-seen"),
    ("SlotShown", "inspection"),
    ("Type", "small-values"),
    ("VersionVector", "version-vector"),
];

/// The target of each kind of row that a byte of its name tells, by the name of that byte.
const KINDS_OF_ROWS: [(&str, &str); 14] = [
    ("FIELD_HEAD_KIND", "row-field-head"),
    ("FIELD_MEMBER_KIND", "row-field-member"),
    ("FIELD_SLOT_KIND", "row-field-slot"),
    ("HELD", "row-held"),
    ("MEMBER_KIND", "row-member"),
    ("META_APPLIED", "row-applied"),
    ("META_FORMAT", "row-format"),
    ("META_MASK", "row-mask"),
    ("META_ORIGIN", "row-origin"),
    ("META_STANDING", "row-standing"),
    ("META_STRETCH", "row-stretch"),
    ("META_TREE", "row-tree"),
    ("SLOT_KIND", "row-slot"),
    ("STAGED", "row-staged"),
];

#[test]
fn no_bytes_break_a_decoder() {
    for target in decoders::all() {
        let measure = |run: &mut dyn FnMut()| allocation_counter::measure(run).bytes_max;
        let tally = decoders::short_run(&target, &decoders::found(target.name), MUTATIONS, &measure);
        println!("{:18} {:7} executions, {:6} accepted", target.name, tally.executions, tally.accepted);
    }
}

#[test]
fn no_decoder_is_missing() {
    let core = Path::new(env!("CARGO_MANIFEST_DIR")).join("../server/core/src");
    let texts: Vec<String> = rust_files(&core).iter().map(|path| read(path)).collect();
    let types = texts.iter().flat_map(|text| text.lines()).filter_map(encoded_type).collect();
    assert_eq!(keys(&TYPES), types, "types with `Encode`, and those with a target");
    let kinds = read(&core.join("rows/keys.rs"));
    let kinds = kinds.lines().filter_map(kind_of_row).collect();
    assert_eq!(keys(&KINDS_OF_ROWS), kinds, "kinds of rows, and those with a target");
    let names: BTreeSet<&str> = decoders::all().iter().map(|target| target.name).collect();
    assert_eq!(names.len(), decoders::all().len(), "each has a name of its own");
    let named = TYPES.iter().chain(&KINDS_OF_ROWS).map(|(_, target)| *target);
    let of_messages = samples::messages();
    let of_messages = of_messages.iter().map(decoders::target_of_message);
    let of_spaces = Space::ALL.into_iter().flat_map(decoders::targets_of_space).copied();
    for target in named.chain(of_messages).chain(of_spaces) {
        assert!(names.contains(target), "there is no target {target}");
    }
}

/// Each number below the highest is there: those of an exhaustive match, so that a new variant needs a sample.
fn check_all<T>(samples: &[T], number: impl Fn(&T) -> usize, count: usize) {
    let found: BTreeSet<usize> = samples.iter().map(number).collect();
    assert_eq!(found, (0..count).collect(), "samples of each kind of {}", std::any::type_name::<T>());
}

#[test]
fn the_samples_have_every_variant() {
    let message = |message: &Message| match message {
        Message::Fresh { .. } => 0,
        Message::Pull { .. } => 1,
        Message::Missing { rest: Rest::None, .. } => 2,
        Message::Missing { rest: Rest::More, .. } => 3,
        Message::Missing { rest: Rest::Truncated, .. } => 4,
        Message::Have { root: None, .. } => 5,
        Message::Have { root: Some(_), .. } => 6,
        Message::Ask { .. } => 7,
        Message::Answer { .. } => 8,
    };
    check_all(&samples::messages(), message, 9);
    let ask = |ask: &Ask| match ask {
        Ask::Open { .. } => 0,
        Ask::Walk { .. } => 1,
        Ask::Rows(Leaves::All) => 2,
        Ask::Rows(Leaves::These(_)) => 3,
        Ask::More { .. } => 4,
        Ask::Close => 5,
    };
    check_all(&samples::asks(), ask, 6);
    let answer = |answer: &Answer| match answer {
        Answer::Opened { .. } => 0,
        Answer::Sums(_) => 1,
        Answer::Rows { next: None, .. } => 2,
        Answer::Rows { next: Some(_), .. } => 3,
        Answer::Unwilling(Unwilling::Busy) => 4,
        Answer::Unwilling(Unwilling::NotReady) => 5,
        Answer::Unwilling(Unwilling::Gone) => 6,
    };
    check_all(&samples::answers(), answer, 7);
    let effect = |effect: &Effect| match effect {
        Effect::Remove { seen: None } => 0,
        Effect::Remove { seen: Some(_) } => 1,
        Effect::Clear { seen: None } => 2,
        Effect::Clear { seen: Some(seen) } if seen.dots().is_empty() => 3,
        Effect::Clear { seen: Some(_) } => 4,
        Effect::Member { put: false, .. } => 5,
        Effect::Member { put: true, .. } => 6,
        Effect::Reset { .. } => 7,
        Effect::Increment { .. } => 8,
        Effect::Head { put: None, .. } => 9,
        Effect::Head { put: Some(head), .. } => 9 + head.key_type() as usize,
    };
    check_all(&samples::effects(), effect, 10 + Type::ALL.len());
    let finding = |inspection: &Inspection| match inspection.finding {
        Finding::Content(_) => 0,
        Finding::Quarantined => 1,
        Finding::Damaged(_) => 2,
        Finding::Sweeping => 3,
    };
    check_all(&samples::inspections(), finding, 4);
    let contents = samples::inspections().into_iter().filter_map(|inspection| match inspection.finding {
        Finding::Content(content) => Some(content.fields),
        _ => None,
    });
    let pieces: Vec<_> = contents.flatten().collect();
    let piece = |field: &FieldShown| match field.piece {
        Piece::Sibling(_) => 0,
        Piece::Slot(_) => 1,
        Piece::Member(_) => 2,
    };
    check_all(&pieces, piece, 3);
}

#[test]
fn what_is_written_down_is_seen_in_the_sources() {
    assert_eq!(encoded_type("impl Encode for Slot {"), Some("Slot".into()));
    assert_eq!(encoded_type("impl<P: Encode> Encode for Cell<P> {"), Some("Cell<P>".into()));
    assert_eq!(encoded_type("impl<P: Encode> Cell<P> {"), None);
    assert_eq!(kind_of_row("pub(super) const META_TREE: u8 = 6;"), Some("META_TREE".into()));
    assert_eq!(kind_of_row("pub(super) const PATH_END: u8 = 1;"), None, "a mark within a path");
    assert_eq!(kind_of_row("pub(super) const LOG_ROW_BYTES: usize = 18;"), None);
}

fn encoded_type(line: &str) -> Option<String> {
    let (_, named) = line.strip_prefix("impl")?.split_once("Encode for ")?;
    Some(named.trim_end_matches(" {").to_owned())
}

fn kind_of_row(line: &str) -> Option<String> {
    let (name, _) = line.strip_prefix("pub(super) const ")?.split_once(": u8 = ")?;
    Some(name.to_owned()).filter(|name| !name.starts_with("PATH_"))
}

fn keys(table: &[(&str, &str)]) -> BTreeSet<String> {
    table.iter().map(|(key, _)| (*key).to_owned()).collect()
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("the repository can be read");
    let paths = entries.map(|entry| entry.expect("the repository can be read").path());
    let files = paths.flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("the repository can be read")
}
