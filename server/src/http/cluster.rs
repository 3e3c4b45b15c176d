//! `/v1/cluster`, `/v1/cluster/convergence`, `/v1/dev/links`: who the members are, whether all replicas agree, and links
//! that are cut on purpose.

use super::answer::{Answer, Refused, no_content, with_body};
use super::{App, body};
use crate::peers::{PeerView, Standing, Vectors};
use crate::published::ReplicaStanding;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use meridian_api::cluster::{Cluster, Convergence, Member, Replica, Shard};
use meridian_api::error::Code;
use meridian_core::id::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long a member may take to say what it has.
pub(super) const ASK_TIME_MAX: Duration = Duration::from_secs(1);
/// Longest body of a PUT to `/v1/dev/links`, in bytes.
const LINKS_BYTES_MAX: usize = 64 << 10;
const JSON: &str = "application/json";

/// The members, and this node's view of its peers.
pub(super) fn view(app: &App) -> Answer {
    let members = app.peers.view();
    let own = members.iter().find(|view| matches!(view.standing, Standing::Own));
    let node = own.map(|view| view.member.name.clone()).unwrap_or_default();
    json(&Cluster {
        cluster: app.peers.cluster().to_string(),
        node,
        shards: app.door.published().standings.all().count(),
        placement: "every member holds every shard".into(),
        epoch: 0,
        coordinator: None,
        members: members.into_iter().map(member_view).collect(),
    })
}

fn member_view(view: PeerView) -> Member {
    let member = view.member;
    let (name, region, address) = (member.name, member.region, member.address);
    let base = |state: &str| Member {
        name,
        id: member.id.to_string(),
        region,
        address,
        state: state.into(),
        silent_ms: None,
        round_trip_ms: None,
        queued_bytes: None,
        unreachable_ms: None,
    };
    match view.standing {
        Standing::Own => base("self"),
        Standing::Connected { silence, round_trip, queued_bytes } => Member {
            silent_ms: Some(silence.as_millis() as u64),
            round_trip_ms: Some((round_trip.as_secs_f64() * 1e5).round() / 100.0),
            queued_bytes: Some(queued_bytes),
            ..base("connected")
        },
        Standing::Unreachable { since } => {
            Member { unreachable_ms: since.map(|since| since.as_millis() as u64), ..base("unreachable") }
        }
    }
}

// -- convergence --------------------------------------------------------------------------------------------------------

/// Asks every member what it has applied, and compares.
pub(super) async fn convergence(app: &App, parts: &Parts) -> Answer {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Refused::method("GET, HEAD").into();
    }
    let all = match wants_all(parts.uri.query().unwrap_or_default()) {
        Ok(all) => all,
        Err(refused) => return refused.into(),
    };
    let (members, mut answers) = (app.peers.view(), JoinSet::new());
    for view in &members {
        if !matches!(view.standing, Standing::Own) {
            let (peers, peer): (_, NodeId) = (app.peers.clone(), view.member.node());
            let name = view.member.name.clone();
            answers.spawn(async move { (name, peers.vectors(peer, ASK_TIME_MAX).await) });
        }
    }
    let (mut replicas, mut unreachable) = (BTreeMap::new(), Vec::new());
    while let Some(answered) = answers.join_next().await {
        match answered {
            Ok((name, Ok(vectors))) => drop(replicas.insert(name, vectors)),
            Ok((name, Err(_))) => unreachable.push(name),
            Err(panicked) => tracing::error!("asking a member ended by a bug of ours: {panicked}"),
        }
    }
    unreachable.sort();
    let published = app.door.published();
    let own: Vectors = published.standings.all().cloned().collect();
    let shards = own.len();
    if let Some(view) = members.iter().find(|view| matches!(view.standing, Standing::Own)) {
        replicas.insert(view.member.name.clone(), own);
    }
    let shards: Vec<Shard> = (0..shards).map(|shard| compare(shard, &replicas)).collect();
    // A node that came empty and was to join others does not know yet who they are.
    let met = !app.state.is_filling();
    let converged = met && shards.iter().all(|shard| shard.converged) && replicas.len() == members.len();
    let shards = shards.into_iter().filter(|shard| all || !shard.converged).collect();
    json(&Convergence { converged, asked: members.len(), unreachable, shards })
}

fn wants_all(query: &str) -> Result<bool, Refused> {
    match query {
        "" | "all=false" => Ok(false),
        "all=true" => Ok(true),
        other if other.starts_with("all=") => {
            Err(Refused::new(Code::InvalidParameter, "?all= is true or false"))
        }
        _ => Err(Refused::new(Code::UnknownParameter, "this page has one parameter, ?all=true")),
    }
}

/// Replicas agree when they have applied the same and hold the same: equal version vectors and equal roots, all in service.
fn compare(shard: usize, replicas: &BTreeMap<String, Vectors>) -> Shard {
    let found: Vec<(&String, &ReplicaStanding)> =
        replicas.iter().filter_map(|(name, standings)| Some((name, standings.get(shard)?))).collect();
    let equal = found.windows(2).all(|two| two[0].1 == two[1].1);
    let proven = found.iter().all(|(_, standing)| standing.in_service && standing.root.is_some());
    let replicas = found.into_iter().map(|(name, standing)| Replica {
        node: name.clone(),
        vv: standing.vector.iter().map(|dot| (dot.origin.to_string(), dot.seq)).collect(),
        root: standing.root.map(|root| format!("{root:032x}")),
        quarantined: !standing.in_service,
    });
    Shard { shard, converged: equal && proven, replicas: replicas.collect() }
}

// -- links --------------------------------------------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Links {
    cut: Vec<String>,
}

/// Cuts the links that the body names, and no others.
pub(super) async fn links(app: &App, parts: &Parts, incoming: Incoming) -> Answer {
    set_links(app, parts, incoming).await.unwrap_or_else(Answer::from)
}

async fn set_links(app: &App, parts: &Parts, incoming: Incoming) -> Result<Answer, Refused> {
    if parts.method != Method::PUT {
        return Err(Refused::method("PUT"));
    }
    if parts.uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(Refused::new(Code::UnknownParameter, "this page has no parameters"));
    }
    let time_max = app.limits.body_time_max;
    let (bytes, _share) =
        body::read(incoming, LINKS_BYTES_MAX, Code::RequestTooLarge, time_max, &app.budget).await?;
    let links: Links = serde_json::from_slice(&bytes).map_err(|error| {
        Refused::new(Code::BodyInvalid, format!("the body is like {{\"cut\":[\"n2\"]}}: {error}"))
    })?;
    match app.peers.cut(&links.cut) {
        Some(Ok(())) => Ok(no_content()),
        Some(Err(name)) => Err(Refused::new(
            Code::BodyInvalid,
            format!(
                "{name:?} is no other member whose packets can be dropped: GET /v1/cluster lists the members"
            ),
        )),
        None => Err(Refused::new(
            Code::NotAvailable,
            "links are cut only on a node that was started with --faults",
        )),
    }
}

fn json(view: &impl Serialize) -> Answer {
    with_body(StatusCode::OK, JSON, serde_json::to_vec(view).expect("plain data can be written"))
}
