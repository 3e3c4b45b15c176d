//! `/v1/inspect/{bucket}/{key…}`: one key on every replica. Each member is asked how its replica has the key; what they say is
//! compared, and shown side by side.

use super::answer::{Answer, Refused, with_body};
use super::cluster::ASK_TIME_MAX;
use super::{App, request};
use crate::peers::Standing;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use meridian_api::kv::key64;
use meridian_api::value::Embedded;
use meridian_core::cell::{Blob, Head, Mark, Register, Type};
use meridian_core::hlc::Hlc;
use meridian_core::id::Dot;
use meridian_core::name::{Bucket, ContentType, Key};
use meridian_core::path::Path;
use meridian_core::replica::inspect::{
    Content, FieldShown, Finding, Inspection, MemberShown, Piece, SHOWN_MAX, SiblingShown, SlotShown, agree,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;
use tokio::task::JoinSet;

const JSON: &str = "application/json";

#[derive(Serialize)]
struct InspectView<'a> {
    bucket: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    /// In place of a key that is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    key64: Option<String>,
    shard: u16,
    /// `null` where it cannot be said: not all of a large set or map was compared.
    agree: Option<bool>,
    /// How many members were asked, the node itself among them.
    asked: usize,
    unreachable: Vec<String>,
    replicas: Vec<ReplicaView<'a>>,
}

#[derive(Serialize)]
struct ReplicaView<'a> {
    node: &'a str,
    vv: BTreeMap<String, u64>,
    /// The replica is out of service: a row of it is damaged.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    quarantined: bool,
    /// A row of this key is damaged: how.
    #[serde(skip_serializing_if = "Option::is_none")]
    damaged: Option<&'a str>,
    /// Much was removed here, and is in the way until it is swept away.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    sweeping: bool,
    #[serde(flatten)]
    content: Option<ContentView<'a>>,
    /// Dots that others show and this replica has not applied.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lacking: Vec<String>,
    /// Dots that others show and this replica has taken away.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    killed: Vec<String>,
}

#[derive(Serialize)]
struct ContentView<'a> {
    digest: String,
    head: Vec<SiblingView<'a>>,
    slots: Vec<SlotView>,
    /// Of all slots; only where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    sum: Option<i128>,
    members: Vec<MemberView<'a>>,
    member_count: u64,
    fields: Vec<FieldView<'a>>,
    /// A list goes on beyond what is shown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
    /// The set has more members, or the map more in its fields, than is counted and compared.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    uncounted: bool,
}

#[derive(Serialize)]
struct SiblingView<'a> {
    dot: String,
    #[serde(rename = "type")]
    key_type: &'static str,
    #[serde(flatten)]
    stamp: Option<StampView>,
    #[serde(flatten)]
    bytes: Option<BytesView<'a>>,
    /// A flag's or a number's.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<PlainView>,
    /// Whether it is the write that a register reads as.
    #[serde(skip_serializing_if = "Option::is_none")]
    wins: Option<bool>,
}

#[derive(Serialize)]
struct StampView {
    hlc: String,
    hlc_counter: u64,
}

#[derive(Serialize)]
struct BytesView<'a> {
    content_type: &'a str,
    bytes: u64,
    value: Embedded<'a>,
    /// The value goes on beyond what is shown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum PlainView {
    Flag(bool),
    Number(i64),
}

#[derive(Serialize)]
struct FieldView<'a> {
    /// As a JSON Pointer (RFC 6901).
    path: String,
    #[serde(flatten)]
    piece: PieceView<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum PieceView<'a> {
    Sibling(SiblingView<'a>),
    Slot {
        #[serde(rename = "type")]
        key_type: &'static str,
        #[serde(flatten)]
        slot: SlotView,
    },
    Member {
        #[serde(rename = "type")]
        key_type: &'static str,
        #[serde(flatten)]
        member: MemberView<'a>,
    },
}

#[derive(Serialize)]
struct SlotView {
    origin: String,
    birth: u64,
    base: MarkView,
    last: MarkView,
    value: i128,
    spent: bool,
}

#[derive(Serialize)]
struct MarkView {
    seq: u64,
    total: i128,
}

#[derive(Serialize)]
struct MemberView<'a> {
    member: &'a str,
    dots: Vec<String>,
}

/// Asks every member how its replica has a key, and compares.
pub(super) async fn handle(app: &App, parts: &Parts, bucket: &str, key: Option<&str>) -> Answer {
    respond(app, parts, bucket, key).await.unwrap_or_else(Answer::from)
}

async fn respond(app: &App, parts: &Parts, bucket: &str, key: Option<&str>) -> Result<Answer, Refused> {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Err(Refused::method("GET, HEAD"));
    }
    let key64 = request::only_key64(&parts.uri)?;
    let (bucket, key) = request::names(bucket, key, key64)?;
    let (found, unreachable) = ask(app, &bucket, &key).await;
    let asked = found.len() + unreachable.len();
    let inspections: Vec<&Inspection> = found.values().collect();
    // A node that came empty and was to join others does not know yet who they are.
    let all_said = unreachable.is_empty() && !app.state.is_filling();
    let view = InspectView {
        bucket: bucket.as_str(),
        key: str::from_utf8(key.as_bytes()).ok(),
        key64: str::from_utf8(key.as_bytes()).is_err().then(|| key64_of(&key)),
        shard: app.door.published().shard_of(&bucket, &key).0,
        agree: if all_said { agree(&inspections) } else { Some(false) },
        asked,
        unreachable,
        replicas: found.iter().map(|(node, found)| replica_view(node, found, &inspections)).collect(),
    };
    let body = serde_json::to_vec(&view).expect("plain data and checked JSON can be written");
    Ok(with_body(StatusCode::OK, JSON, app.budget.counted(body)?))
}

/// What each member says, by name, and who does not.
async fn ask(app: &App, bucket: &Bucket, key: &Key) -> (BTreeMap<String, Inspection>, Vec<String>) {
    let (mut found, mut unreachable) = (BTreeMap::new(), BTreeSet::new());
    let mut answers = JoinSet::new();
    for view in app.peers.view() {
        let (name, peer) = (view.member.name.clone(), view.member.node());
        if matches!(view.standing, Standing::Own) {
            found.insert(name, app.door.inspect(bucket, key));
            continue;
        }
        // Who does not answer, whyever, is unreachable.
        unreachable.insert(name.clone());
        let (peers, bucket, key) = (app.peers.clone(), bucket.clone(), key.clone());
        answers.spawn(async move { (name, peers.inspect(peer, &bucket, &key, ASK_TIME_MAX).await) });
    }
    while let Some(answered) = answers.join_next().await {
        match answered {
            Ok((name, Ok(inspection))) => {
                unreachable.remove(&name);
                found.insert(name, inspection);
            }
            Ok((name, Err(why))) => tracing::debug!("{name} does not say how it has a key: {why}"),
            Err(panicked) => tracing::error!("asking a member ended by a bug of ours: {panicked}"),
        }
    }
    (found, unreachable.into_iter().collect())
}

fn key64_of(key: &Key) -> String {
    key64(key.as_bytes())
}

// -- what is shown ------------------------------------------------------------------------------------------------------

fn replica_view<'a>(node: &'a str, found: &'a Inspection, all: &[&Inspection]) -> ReplicaView<'a> {
    let content = match &found.finding {
        Finding::Content(content) => Some(content_view(content)),
        Finding::Quarantined | Finding::Damaged(_) | Finding::Sweeping => None,
    };
    let damaged = match &found.finding {
        Finding::Damaged(why) => Some(&why[..]),
        _ => None,
    };
    ReplicaView {
        node,
        vv: found.vector.iter().map(|dot| (dot.origin.to_string(), dot.seq)).collect(),
        quarantined: found.finding == Finding::Quarantined,
        damaged,
        sweeping: found.finding == Finding::Sweeping,
        content,
        lacking: found.lacking(all).into_iter().take(SHOWN_MAX).map(dot_text).collect(),
        killed: found.killed(all).into_iter().take(SHOWN_MAX).map(dot_text).collect(),
    }
}

fn content_view(content: &Content) -> ContentView<'_> {
    ContentView {
        digest: format!("{:032x}", content.digest),
        head: content.head.iter().map(sibling_view).collect(),
        slots: content.slots.iter().map(slot_view).collect(),
        sum: (!content.slots.is_empty()).then_some(content.sum),
        members: content.members.iter().map(member_view).collect(),
        member_count: content.member_count,
        fields: content.fields.iter().map(field_view).collect(),
        more: content.more,
        uncounted: !content.is_whole,
    }
}

fn sibling_view(shown: &SiblingShown) -> SiblingView<'_> {
    let mut view = SiblingView {
        dot: dot_text(shown.dot),
        key_type: shown.head.key_type().as_str(),
        stamp: None,
        bytes: None,
        value: None,
        wins: None,
    };
    match &shown.head {
        Head::Register(Register { hlc, content_type, value }) => {
            let (hlc, hlc_counter) = stamp(*hlc);
            view.stamp = Some(StampView { hlc, hlc_counter });
            view.bytes = Some(bytes_view(content_type, value, shown.bytes));
            view.wins = Some(shown.wins);
        }
        Head::Multi(Blob { content_type, value }) => {
            view.bytes = Some(bytes_view(content_type, value, shown.bytes));
        }
        Head::Flag(enabled) => view.value = Some(PlainView::Flag(*enabled)),
        Head::Max(number) | Head::Min(number) => view.value = Some(PlainView::Number(*number)),
        Head::Counter | Head::Set | Head::Map => {}
    }
    view
}

/// What is there of a value that is so many bytes long.
fn bytes_view<'a>(content_type: &'a ContentType, value: &'a [u8], bytes: u64) -> BytesView<'a> {
    let (content_type, truncated) = (content_type.as_str(), bytes > value.len() as u64);
    let value = match truncated {
        // The beginning of JSON may be JSON, and another value.
        true => Embedded::of(None, whole_letters(value)),
        false => Embedded::of(Some(content_type), value),
    };
    BytesView { content_type, bytes, value, truncated }
}

fn field_view(shown: &FieldShown) -> FieldView<'_> {
    let piece = match &shown.piece {
        Piece::Sibling(sibling) => PieceView::Sibling(sibling_view(sibling)),
        Piece::Slot(slot) => PieceView::Slot { key_type: Type::Counter.as_str(), slot: slot_view(slot) },
        Piece::Member(member) => {
            PieceView::Member { key_type: Type::Set.as_str(), member: member_view(member) }
        }
    };
    FieldView { path: pointer(&shown.path), piece }
}

/// A path as a JSON Pointer.
fn pointer(path: &Path) -> String {
    let names = path.fields().iter().map(|field| field.as_str().replace('~', "~0").replace('/', "~1"));
    names.map(|name| format!("/{name}")).collect()
}

/// A text without the letter that it was cut off in; other bytes as they are.
fn whole_letters(bytes: &[u8]) -> &[u8] {
    match str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => &bytes[..error.valid_up_to()],
        _ => bytes,
    }
}

fn slot_view(shown: &SlotShown) -> SlotView {
    let mark = |mark: Mark| MarkView { seq: mark.seq, total: mark.total };
    SlotView {
        origin: shown.id.origin.to_string(),
        birth: shown.id.birth,
        base: mark(shown.slot.base),
        last: mark(shown.slot.last),
        value: shown.slot.value(),
        spent: shown.slot.is_spent(),
    }
}

fn member_view(shown: &MemberShown) -> MemberView<'_> {
    MemberView { member: shown.member.as_str(), dots: shown.cell.dots().map(dot_text).collect() }
}

fn dot_text(dot: Dot) -> String {
    format!("{}.{}", dot.origin, dot.seq)
}

/// A stamp as a time (RFC 3339) and a counter. Beyond the year 9999, where there are no such times, in milliseconds.
fn stamp(hlc: Hlc) -> (String, u64) {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(hlc.ms()) * 1_000_000);
    let text = match time {
        Ok(time) => format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            time.year(),
            u8::from(time.month()),
            time.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.millisecond()
        ),
        Err(_) => format!("{}ms", hlc.ms()),
    };
    (text, hlc.0 & 0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_core::path::Field;

    #[test]
    fn a_stamp_reads_as_a_time_and_a_counter() {
        let at = |ms: u64, counter| stamp(Hlc(Hlc::from_ms(ms).0 + counter));
        assert_eq!(at(0, 0), ("1970-01-01T00:00:00.000Z".into(), 0));
        assert_eq!(at(1_795_342_502_117, 3), ("2026-11-22T10:15:02.117Z".into(), 3));
        assert_eq!(stamp(Hlc(u64::MAX)), ("281474976710655ms".into(), 65_535));
    }

    #[test]
    fn a_path_is_told_as_a_json_pointer() {
        let fields = ["a/b", "~1", "c"].map(|name| Field::new(name).expect("a name"));
        assert_eq!(pointer(&Path::new(fields.into()).expect("a path")), "/a~1b/~01/c");
    }

    #[test]
    fn a_text_is_cut_off_between_letters() {
        assert_eq!(whole_letters("grün".as_bytes()), "grün".as_bytes());
        assert_eq!(whole_letters(&"grü".as_bytes()[..3]), b"gr");
        assert_eq!(whole_letters(b"\xff\xc3"), b"\xff\xc3", "no text at all");
    }
}
