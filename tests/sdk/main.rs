//! The Rust client against real nodes: every call does what it says, and killing nodes loses none that was safe to be sent again.

mod calls;
mod killed;
