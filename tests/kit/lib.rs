//! The kit: what Meridian is tested with.
//!
//! - [`writes`]: what clients write, in few words;
//! - [`seeds`]: many of them at once, on all cores;
//! - [`trace`]: the hash of what nodes do;
//! - [`lab`]: a few nodes on a bench, moved by hand;
//! - [`script`]: cases as transcripts, played on that bench;
//! - [`model`]: the reference model of a replica, as plain as it can be, sharing no decision with the engine;
//! - [`masked`]: a model of large removals alone, against removals that are done at once;
//! - [`content`]: what is in an engine's replica, read back from its rows in the model's terms;
//! - [`schedule`]: random schedules that drive real nodes and the model side by side and compare them at every step;
//! - [`history`]: what clients asked and were answered, as JSON lines too;
//! - [`checker`]: what must hold of that whatever happened;
//! - [`sim`]: a whole cluster in one thread, from one seed;
//! - [`storage_suite`]: what every storage must do;
//! - [`decoders`]: every decoder of core, with what must hold of it whatever bytes it is given;
//! - [`http`], [`process`] and [`cluster`]: the binary as it ships, as one process and as several, over real sockets;
//! - [`mod@bench`]: one such process, asked one request after the other;
//! - [`faults`]: the deliberate bugs that the schedules must catch.

pub mod storage_suite;
pub mod writes;
pub mod seeds;
pub mod trace;
pub mod lab;
pub mod script;
pub mod model;
pub mod masked;
pub mod content;
pub mod faults;
pub mod schedule;
pub mod history;
pub mod checker;
pub mod sim;
pub mod decoders;
pub mod http;
pub mod process;
pub mod bench;
pub mod cluster;
