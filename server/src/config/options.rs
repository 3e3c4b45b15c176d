//! The table of a node's options. The command line, the `MERIDIAN_*` variables and the file are all made from it, so
//! that none of them has an option that another lacks.

use clap::{Arg, ArgAction};

/// What stands before an option's name in its variable: `http` is `MERIDIAN_HTTP`.
pub(super) const VARIABLE_PREFIX: &str = "MERIDIAN_";

/// How an option is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A string, in the file too.
    Text,
    /// A whole number, in the file too.
    Number,
    /// `true` or `false`; on the command line the option alone is `true`.
    Switch,
    /// Several strings: the option again and again, a variable with commas, an array in the file.
    List,
}

/// One row of the table.
#[derive(Debug)]
pub(super) struct Row {
    /// Its name in the file, and (in capitals, with underscores, after [`VARIABLE_PREFIX`]) as a variable.
    pub(super) name: &'static str,
    /// Its name on the command line. It differs for a list, of which the command line gives one at a time.
    pub(super) flag: &'static str,
    /// What the help shows in the value's place.
    pub(super) value: &'static str,
    /// How it is written.
    pub(super) kind: Kind,
    /// What holds when nobody says anything; `None` is *not set*.
    pub(super) default: Option<&'static str>,
    /// What it is.
    pub(super) what: &'static str,
    /// What is accepted: the end of "must be …".
    pub(super) accepts: &'static str,
}

impl Row {
    const fn new(name: &'static str, value: &'static str, kind: Kind, default: Option<&'static str>) -> Self {
        Row { name, flag: name, value, kind, default, what: "", accepts: "" }
    }

    const fn says(self, what: &'static str, accepts: &'static str) -> Self {
        Row { what, accepts, ..self }
    }

    const fn flag(self, flag: &'static str) -> Self {
        Row { flag, ..self }
    }

    /// The variable that gives this option.
    pub(super) fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }

    /// The argument that gives this option.
    pub(super) fn argument(&self) -> Arg {
        let arg = Arg::new(self.name).long(self.flag).value_name(self.value).help(self.help());
        match self.kind {
            Kind::Text | Kind::Number => arg.action(ArgAction::Set),
            Kind::List => arg.action(ArgAction::Append),
            Kind::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        }
    }

    fn help(&self) -> String {
        let default = self.default.map(|default| format!(" [default: {default}]")).unwrap_or_default();
        format!("{}: {}{default} [{}]", self.what, self.accepts, self.variable())
    }
}

/// What the name of a node, a region or a zone may be.
pub const LABEL: &str = "1 to 63 of a-z 0-9 -, not beginning with -";
const MILLISECONDS: &str = "milliseconds, 1 to 3600000";

/// All options of a node, in the order in which they are shown.
pub(super) const OPTIONS: [Row; 27] = [
    Row::new("data-dir", "DIR", Kind::Text, None)
        .says("Where this node keeps its data, made if it is missing", "a directory"),
    Row::new("name", "NAME", Kind::Text, Some("n1")).says("What this node is called in its cluster", LABEL),
    Row::new("region", "REGION", Kind::Text, Some("local")).says("The place that this node is in", LABEL),
    Row::new("zone", "ZONE", Kind::Text, None).says("The part of the region that fails together", LABEL),
    Row::new("http", "ADDR", Kind::Text, Some("127.0.0.1:7480"))
        .says("Where to serve HTTP", "an IP address and a port, like 127.0.0.1:7480 or [::1]:7480"),
    Row::new("peer", "ADDR", Kind::Text, Some("127.0.0.1:7481")).says(
        "Where to listen for peers, over UDP",
        "an IP address and a port, like 127.0.0.1:7481 or [::1]:7481",
    ),
    Row::new("advertise", "HOST:PORT", Kind::Text, None).says(
        "Where peers reach this node, if not at --peer",
        "a host and a port, like db1.example.org:7481",
    ),
    Row::new("join", "HOST:PORT", Kind::List, None).says(
        "A node of the cluster to meet, given once for each; an empty node then serves when it is filled",
        "a host and a port, like 127.0.0.1:7481",
    ),
    Row::new("tls-dir", "DIR", Kind::Text, None).says(
        "What `meridian tls issue` made for this node; without it, this user's development authority",
        "a directory",
    ),
    Row::new("faults", "BOOL", Kind::Switch, Some("false"))
        .says("Let PUT /v1/dev/links cut links, for tests; only on loopback", "true or false"),
    Row::new("allow-unauthenticated-http", "BOOL", Kind::Switch, Some("false"))
        .says("Serve HTTP beyond this machine though anyone may then read and write", "true or false"),
    Row::new("http-cors-origins", "ORIGIN", Kind::List, None).flag("http-cors-origin").says(
        "A web page's origin that may use this node, given once for each",
        "scheme://host or scheme://host:port in lower case, without a path",
    ),
    Row::new("http-connections-max", "N", Kind::Number, Some("1024"))
        .says("HTTP connections at a time", "a number from 1 to 1000000"),
    Row::new("http-bytes-in-flight-max", "BYTES", Kind::Number, Some("67108864"))
        .says("Memory for the bodies of HTTP requests at a time", "a number of bytes, at least 1"),
    Row::new("http-header-timeout-ms", "MS", Kind::Number, Some("10000"))
        .says("How long a request's headers may take", MILLISECONDS),
    Row::new("http-body-timeout-ms", "MS", Kind::Number, Some("30000"))
        .says("How long a request's body may take", MILLISECONDS),
    Row::new("http-idle-timeout-ms", "MS", Kind::Number, Some("75000"))
        .says("How long a connection may be idle between requests", MILLISECONDS),
    Row::new("value-bytes-max", "BYTES", Kind::Number, Some("1048576"))
        .says("Longest value that a PUT may store", "a number of bytes from 1 to 8388608"),
    Row::new("disk-reserve-bytes", "BYTES", Kind::Number, Some("268435456")).says(
        "Free space on the disk below which writes are refused, and what other nodes write waits",
        "a number of bytes",
    ),
    Row::new("cache-bytes", "BYTES", Kind::Number, Some("67108864"))
        .says("Memory for what was read from the disk", "a number of bytes"),
    Row::new("log-keep-bytes", "BYTES", Kind::Number, Some("33554432")).says(
        "Disk for deltas that every member has, kept for those that come back with less",
        "a number of bytes",
    ),
    Row::new("log-bytes-max", "BYTES", Kind::Number, Some("4294967296")).says(
        "Disk for deltas; beyond it the oldest go, and a member that lacks them is repaired",
        "a number of bytes",
    ),
    Row::new("repair-bytes-per-second", "BYTES", Kind::Number, Some("33554432"))
        .says("How much repairs fetch in a second, on average", "a number of bytes, at least 1"),
    Row::new("deep-check-hours", "HOURS", Kind::Number, Some("24")).says(
        "How long it takes until all data was read and checked once",
        "a number of hours from 1 to 8760",
    ),
    Row::new("refill-timeout-ms", "MS", Kind::Number, Some("30000")).says(
        "How long a node whose database is damaged looks for a peer to be refilled by; then it ends",
        MILLISECONDS,
    ),
    Row::new("shards", "N", Kind::Number, Some("256")).says(
        "Shards of the cluster, set when it is made and never changed",
        "a power of two from 1 to 32768",
    ),
    Row::new("log", "FILTER", Kind::Text, Some("info"))
        .says("What is logged", "a level or directives, like info or warn,meridian_server=debug"),
];
