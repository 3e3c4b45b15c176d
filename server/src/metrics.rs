//! What is measured, and how it reads at `/metrics`: the Prometheus text format, version 0.0.4.

use hyper::{Method, StatusCode};
use meridian_core::node::Figures;
use metrics::{
    Counter, Gauge, Histogram, Label, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

const SECONDS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
const METHODS: [&str; 6] = ["GET", "HEAD", "PUT", "POST", "DELETE", "other"];
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// Everything that the node counts.
pub struct Metrics {
    handle: PrometheusHandle,
    requests: Vec<Counter>,
    /// From a request's head to its answer.
    pub read_seconds: Histogram,
    /// The same, for writes.
    pub write_seconds: Histogram,
    /// Connections that are open.
    pub connections: Gauge,
    /// Connections that were turned away.
    pub connections_refused: Counter,
    /// Turns of the driver.
    pub turns: Counter,
    /// Requests in a turn.
    pub turn_requests: Histogram,
    /// How long a sync of the log takes.
    pub sync_seconds: Histogram,
    /// Members of the cluster that this node knows, itself among them.
    pub members: Gauge,
    /// Peers that are connected.
    pub peers_connected: Gauge,
    /// Connections of peers that were not taken.
    pub peers_refused: Counter,
    /// Bytes of messages sent to peers.
    pub peer_bytes_sent: Counter,
    /// Bytes of messages received from peers.
    pub peer_bytes_received: Counter,
    /// Messages for which a peer's queue had no room.
    pub peer_messages_dropped: Counter,
    /// When the node's certificate expires, in seconds since 1970.
    pub certificate_expires: Gauge,
    /// Replicas out of service.
    pub quarantined: Gauge,
    /// Large removals that are not swept yet.
    pub masks: Gauge,
    /// Most origins in one version vector; 1,024 is the end.
    pub origins: Gauge,
    /// Bytes free on the database's disk.
    pub disk_free: Gauge,
    /// Whether writes are refused because the disk is nearly full.
    pub disk_full: Gauge,
    /// Bytes of bodies that are held now.
    pub bytes_in_flight: Gauge,
    /// Bytes of the database's files.
    pub disk_used: Gauge,
    /// Bytes of the database's memtables.
    pub memtable_bytes: Gauge,
    /// Bytes in the database's cache.
    pub cache_bytes: Gauge,
    /// Flushes and compactions that failed.
    pub background_errors: Gauge,
    /// Whether the database makes writers wait.
    pub write_stopped: Gauge,
    /// Corruptions that the database reported.
    pub corruptions: Gauge,
    /// Bytes of deltas in the log, where they are counted.
    pub log_bytes: Gauge,
    /// Deltas that were cut off the log.
    pub deltas_cut: Counter,
    /// Replicas that a repair brought further.
    pub repairs: Counter,
    /// Repairs that were given up.
    pub repairs_given_up: Counter,
    /// Rows that repairs fetched.
    pub repair_rows: Counter,
    /// Their bytes.
    pub repair_row_bytes: Counter,
    /// Requests that repairs made.
    pub repair_requests: Counter,
    /// Bytes of repairs' messages sent, rows among them.
    pub repair_bytes_sent: Counter,
    /// Bytes of repairs' messages received, rows among them.
    pub repair_bytes_received: Counter,
    /// Replicas that were emptied and filled again.
    pub refilled: Counter,
    /// Deltas that a refilled replica had applied and nobody could give back.
    pub deltas_lost: Counter,
    /// Deltas of the log that cannot be read.
    pub deltas_unread: Counter,
    /// Equal version vectors with unequal content.
    pub divergence: Counter,
    /// Deltas of a damaged database that was set aside, which no peer had that was reached.
    pub handed_over: Counter,
    /// Deltas of damaged databases that were set aside and cannot be read.
    pub unreadable: Gauge,
}

impl Metrics {
    /// Everything at nought, under the node's name and place.
    ///
    /// # Panics
    /// Never: the buckets are not empty.
    pub fn new(name: &str, region: &str, zone: &str) -> Self {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
            .and_then(|builder| {
                let sizes = [1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 32.0];
                builder.set_buckets_for_metric(Matcher::Suffix("_turn_requests".into()), &sizes)
            })
            .expect("buckets are given")
            .build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe();
            let requests = METHODS.iter().flat_map(|method| {
                CLASSES.iter().map(
                    |class| counter!("meridian_http_requests_total", "method" => *method, "status" => *class),
                )
            });
            let labels =
                [("version", env!("CARGO_PKG_VERSION")), ("node", name), ("region", region), ("zone", zone)];
            let labels: Vec<Label> =
                labels.into_iter().map(|(key, is)| Label::new(key, is.to_string())).collect();
            gauge!("meridian_info", labels).set(1.0);
            Metrics {
                requests: requests.collect(),
                read_seconds: histogram!("meridian_http_read_seconds"),
                write_seconds: histogram!("meridian_http_write_seconds"),
                connections: gauge!("meridian_http_connections"),
                connections_refused: counter!("meridian_http_connections_refused_total"),
                turns: counter!("meridian_turns_total"),
                turn_requests: histogram!("meridian_turn_requests"),
                sync_seconds: histogram!("meridian_sync_seconds"),
                members: gauge!("meridian_members"),
                peers_connected: gauge!("meridian_peers_connected"),
                peers_refused: counter!("meridian_peers_refused_total"),
                peer_bytes_sent: counter!("meridian_peer_bytes_sent_total"),
                peer_bytes_received: counter!("meridian_peer_bytes_received_total"),
                peer_messages_dropped: counter!("meridian_peer_messages_dropped_total"),
                certificate_expires: gauge!("meridian_certificate_expires_seconds"),
                quarantined: gauge!("meridian_quarantined_replicas"),
                masks: gauge!("meridian_masks"),
                origins: gauge!("meridian_origins_max"),
                disk_free: gauge!("meridian_disk_free_bytes"),
                disk_full: gauge!("meridian_disk_full"),
                bytes_in_flight: gauge!("meridian_http_bytes_in_flight"),
                disk_used: gauge!("meridian_database_disk_bytes"),
                memtable_bytes: gauge!("meridian_database_memtable_bytes"),
                cache_bytes: gauge!("meridian_database_cache_bytes"),
                background_errors: gauge!("meridian_database_background_errors"),
                write_stopped: gauge!("meridian_database_write_stopped"),
                corruptions: gauge!("meridian_database_corruptions"),
                log_bytes: gauge!("meridian_log_bytes"),
                deltas_cut: zero("meridian_log_cut_deltas_total"),
                repairs: zero("meridian_repairs_total"),
                repairs_given_up: zero("meridian_repairs_given_up_total"),
                repair_rows: zero("meridian_repair_rows_total"),
                repair_row_bytes: zero("meridian_repair_row_bytes_total"),
                repair_requests: zero("meridian_repair_requests_total"),
                repair_bytes_sent: zero("meridian_repair_bytes_sent_total"),
                repair_bytes_received: zero("meridian_repair_bytes_received_total"),
                refilled: zero("meridian_refilled_replicas_total"),
                deltas_lost: zero("meridian_lost_deltas_total"),
                deltas_unread: zero("meridian_unread_deltas_total"),
                divergence: zero("meridian_divergence_total"),
                handed_over: zero("meridian_handed_over_deltas_total"),
                unreadable: gauge!("meridian_unreadable_rows"),
                handle,
            }
        })
    }

    /// Counts a repair.
    pub fn repaired(&self, figures: Figures) {
        self.repairs.increment(1);
        self.repair_rows.increment(figures.rows);
        self.repair_row_bytes.increment(figures.row_bytes);
        self.repair_requests.increment(figures.requests);
    }

    /// Counts an answer.
    pub fn request(&self, method: &Method, status: StatusCode) {
        let method = METHODS.iter().position(|name| *name == method.as_str()).unwrap_or(METHODS.len() - 1);
        let class = usize::from(status.as_u16() / 100).clamp(2, 5) - 2;
        self.requests[method * CLASSES.len() + class].increment(1);
    }

    /// All of it, as text.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Folds what was recorded since, so that it takes bounded memory. To be called every second or so.
    pub fn fold(&self) {
        self.handle.run_upkeep();
    }
}

/// A counter that is shown from the beginning.
fn zero(name: &'static str) -> Counter {
    let counter = counter!(name);
    counter.absolute(0);
    counter
}

fn describe_repair() {
    describe_gauge!("meridian_log_bytes", "Bytes of deltas in the log, of shards whose rows are counted");
    describe_counter!("meridian_log_cut_deltas_total", "Deltas that were cut off the log");
    describe_counter!("meridian_repairs_total", "Replicas of this node that a repair brought further");
    describe_counter!("meridian_repairs_given_up_total", "Repairs that were given up; another follows");
    describe_counter!("meridian_repair_rows_total", "Rows that repairs fetched");
    describe_counter!("meridian_repair_row_bytes_total", "Bytes of the rows that repairs fetched");
    describe_counter!("meridian_repair_requests_total", "Requests that repairs made: their round trips");
    describe_counter!("meridian_repair_bytes_sent_total", "Bytes of repairs' messages sent, rows among them");
    describe_counter!(
        "meridian_repair_bytes_received_total",
        "Bytes of repairs' messages received, rows among them"
    );
    describe_counter!(
        "meridian_refilled_replicas_total",
        "Replicas with a damaged row that were emptied and filled again"
    );
    describe_counter!(
        "meridian_lost_deltas_total",
        "Deltas that a refilled replica had applied and nobody could give back"
    );
    describe_counter!(
        "meridian_unread_deltas_total",
        "Deltas of the log that cannot be read: it does not reach back over them"
    );
}

fn describe() {
    describe_repair();
    describe_counter!("meridian_http_requests_total", "Requests answered, by method and class of status");
    describe_gauge!("meridian_info", "Always 1: the labels say which node this is, and its version");
    describe_counter!(
        "meridian_divergence_total",
        "Replicas with equal version vectors and unequal content: must be 0"
    );
    describe_histogram!("meridian_http_read_seconds", "Time to answer a GET or HEAD of a key");
    describe_histogram!("meridian_http_write_seconds", "Time to answer a write, durable then");
    describe_gauge!("meridian_http_connections", "Open HTTP connections");
    describe_counter!(
        "meridian_http_connections_refused_total",
        "HTTP connections beyond the most that may be open"
    );
    describe_counter!("meridian_turns_total", "Rounds of the driver");
    describe_histogram!("meridian_turn_requests", "Requests decided in one round");
    describe_histogram!("meridian_sync_seconds", "Time to make written rounds durable");
    describe_gauge!("meridian_members", "Members of the cluster that this node knows, itself among them");
    describe_gauge!("meridian_peers_connected", "Peers that this node is connected to");
    describe_counter!("meridian_peers_refused_total", "Connections of peers that were not taken");
    describe_counter!("meridian_peer_bytes_sent_total", "Bytes of messages sent to peers");
    describe_counter!("meridian_peer_bytes_received_total", "Bytes of messages received from peers");
    describe_counter!(
        "meridian_peer_messages_dropped_total",
        "Messages for which a peer's queue had no room; the peer pulls what it lacks"
    );
    describe_gauge!(
        "meridian_certificate_expires_seconds",
        "When the node's certificate expires, in seconds since 1970"
    );
    describe_gauge!("meridian_quarantined_replicas", "Replicas out of service because a row is damaged");
    describe_gauge!("meridian_masks", "Large removals whose rows are not swept away yet");
    describe_gauge!("meridian_origins_max", "Most origins in one shard's version vector, of 1024");
    describe_gauge!("meridian_disk_free_bytes", "Bytes free on the disk of the data directory");
    describe_gauge!(
        "meridian_disk_full",
        "1 while writes are refused, and what peers send waits, because the disk is nearly full"
    );
    describe_gauge!("meridian_http_bytes_in_flight", "Bytes of request and response bodies that are held");
    describe_gauge!(
        "meridian_database_corruptions",
        "Corruptions that the database reported since the start"
    );
    describe_counter!(
        "meridian_handed_over_deltas_total",
        "Deltas of a database that was set aside and that no reached peer had, given to the node"
    );
    describe_gauge!(
        "meridian_unreadable_rows",
        "Rows of the delta log of databases that were set aside that cannot be read, as far as they were looked through \
         since the start"
    );
    describe_gauge!("meridian_database_disk_bytes", "Bytes of the database's files, its log included");
    describe_gauge!("meridian_database_memtable_bytes", "Bytes of the database's tables in memory");
    describe_gauge!("meridian_database_cache_bytes", "Bytes in the database's cache of blocks");
    describe_gauge!(
        "meridian_database_background_errors",
        "Flushes and compactions that failed since the start"
    );
    describe_gauge!("meridian_database_write_stopped", "1 while writes wait for flushes or compactions");
}
