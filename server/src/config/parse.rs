//! From an option's text to its type. `None` is a text that its row in the table does not accept.

use hyper::http::uri::Authority;
use meridian_core::name::ShardCount;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// The largest value that any node may be told to take, in bytes.
pub const VALUE_BYTES_LIMIT: usize = 8 << 20;
/// Longest name of a node, a region or a zone, in bytes.
const LABEL_BYTES_MAX: usize = 63;
/// Most HTTP connections that may be asked for.
const CONNECTIONS_LIMIT: usize = 1_000_000;
/// The longest time-out, in milliseconds.
const TIMEOUT_MS_LIMIT: u64 = 3_600_000;
/// The longest time for a check of all data, in hours: a year.
const HOURS_LIMIT: u64 = 8_760;

pub(super) fn directory(text: &str) -> Option<PathBuf> {
    (!text.is_empty() && !text.contains('\0')).then(|| PathBuf::from(text))
}

/// The name of a node, a region or a zone.
pub fn label(text: &str) -> Option<String> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let fits = (1..=LABEL_BYTES_MAX).contains(&text.len()) && !text.starts_with('-');
    (fits && text.bytes().all(allowed)).then(|| text.to_owned())
}

pub(super) fn address(text: &str) -> Option<SocketAddr> {
    text.parse().ok()
}

/// A host and a port, neither empty.
pub(super) fn place(text: &str) -> Option<String> {
    let (_, port) = text.rsplit_once(':')?;
    (is_host_and_port(text) && port.parse::<u16>().is_ok_and(|port| port > 0)).then(|| text.to_owned())
}

pub(super) fn switch(text: &str) -> Option<bool> {
    text.parse().ok()
}

pub(super) fn origin(text: &str) -> Option<String> {
    let (scheme, authority) = text.split_once("://")?;
    let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.');
    let is_scheme =
        scheme.starts_with(|first: char| first.is_ascii_lowercase()) && scheme.bytes().all(letters);
    let is_bare =
        !authority.contains(['/', '?', '#', '@', '*']) && authority.to_ascii_lowercase() == authority;
    (is_scheme && is_bare && is_host_and_port(authority)).then(|| text.to_owned())
}

pub(super) fn connections(text: &str) -> Option<usize> {
    text.parse().ok().filter(|count| (1..=CONNECTIONS_LIMIT).contains(count))
}

pub(super) fn bytes(text: &str) -> Option<u64> {
    text.parse().ok()
}

pub(super) fn some_bytes(text: &str) -> Option<u64> {
    bytes(text).filter(|bytes| *bytes >= 1)
}

pub(super) fn hours(text: &str) -> Option<Duration> {
    let hours = text.parse().ok().filter(|hours| (1..=HOURS_LIMIT).contains(hours));
    hours.map(|hours: u64| Duration::from_secs(hours * 60 * 60))
}

pub(super) fn memory(text: &str) -> Option<usize> {
    text.parse().ok()
}

pub(super) fn some_memory(text: &str) -> Option<usize> {
    memory(text).filter(|bytes| *bytes >= 1)
}

pub(super) fn value_bytes(text: &str) -> Option<usize> {
    some_memory(text).filter(|bytes| *bytes <= VALUE_BYTES_LIMIT)
}

pub(super) fn milliseconds(text: &str) -> Option<Duration> {
    let ms = text.parse().ok().filter(|ms| (1..=TIMEOUT_MS_LIMIT).contains(ms));
    ms.map(Duration::from_millis)
}

pub(super) fn shards(text: &str) -> Option<ShardCount> {
    text.parse().ok().and_then(ShardCount::new)
}

pub(super) fn filter(text: &str) -> Option<String> {
    (!text.trim().is_empty() && EnvFilter::try_new(text).is_ok()).then(|| text.to_owned())
}

fn is_host_and_port(authority: &str) -> bool {
    let Ok(parsed) = authority.parse::<Authority>() else { return false };
    let without_port = parsed.host().len() == authority.len();
    !parsed.host().is_empty() && (without_port || parsed.port_u16().is_some())
}
