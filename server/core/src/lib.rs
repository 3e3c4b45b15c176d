//! Everything Meridian decides and nothing it does.
//!
//! Core is given time, chance and bytes; it asks for none. It has no clock, socket, file, thread or `async`, so a
//! whole cluster runs in one thread from one seed, and every bug here is a seed. A [`node::Node`] is a value: it
//! takes inputs, and gives a batch to write and outputs to let go once the batch is durable.
//!
//! The modules stand in reading order, from the ground up; each names only those above it (a test checks).
#![no_std]

extern crate alloc;

// -- values ------------------------------------------------------------------------------------------------------
pub mod planted;
pub mod id;
pub mod name;
pub mod hlc;
pub mod codec;
pub mod path;
pub mod version_vector;
pub mod cell;
pub mod context;
pub mod delta;

// -- one replica -------------------------------------------------------------------------------------------------
pub mod storage;
pub mod merkle;
pub mod rows;
pub mod masks;
pub mod types;
pub mod policy;
pub mod delta_log;
pub mod replica;
pub mod listing;
pub mod repair;
pub mod salvage;
pub mod parking;

// -- the whole ---------------------------------------------------------------------------------------------------
pub mod message;
pub mod node;
