//! Meridian's HTTP contract: what the server and its clients must agree on, and no more.

pub mod cluster;
pub mod error;
pub mod header;
pub mod kv;
pub mod value;
