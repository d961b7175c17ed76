//! A real Envoy as an engine: found or fetched, started from a rendered bootstrap, driven over the loopback.
//!
//! 1. [`find`] says which Envoy; [`Process`] runs one; [`Envoy`] is the [`Engine`](crate::exchange::Engine).
//! 2. One Envoy per gateway, with one worker, so that what it logs comes in the order in which it happened.
//! 3. Nothing outlives its gateway: the process is killed and its folder removed on drop, also during a panic.

pub(crate) mod client;
mod cluster;
mod engine;
mod find;
mod process;
mod tcp;
mod upstream;
mod wire;

pub use engine::{Crashed, Envoy};
pub use find::{Found, VERSION, find};
pub use process::{Line, Process};
