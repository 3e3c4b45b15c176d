//! A Meridian node: everything that touches the world, around the core that decides.
//!
//! ```text
//!   curl --> http --> driver (the core's turns) --> committer (syncs, publishes) --> http --> curl
//!              \\--reads--> published snapshot <--/
//! ```
//!
//! The modules stand in reading order, from the ground up.

// -- the disk ----------------------------------------------------------------------------------------------------
pub mod rocks;
pub mod data_dir;

// -- the node ----------------------------------------------------------------------------------------------------
pub mod metrics;
pub mod outbox;
pub mod published;
pub mod desk;
pub mod committer;
pub mod remembered;
pub mod door;
pub mod driver;

// -- its peers ---------------------------------------------------------------------------------------------------
pub mod identity;
pub mod peers;

// -- its clients -------------------------------------------------------------------------------------------------
pub mod token;
pub mod http;

// -- the process -------------------------------------------------------------------------------------------------
pub mod config;
pub mod refill;
pub mod run;
pub mod ceiling;
pub mod dev;
pub mod cli;

// -- what reads bytes from outside, for tests and fuzzers ---------------------------------------------------------
#[cfg(any(test, fuzzing))]
pub mod decoders;
