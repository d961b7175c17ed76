//! The pure core of Scrim: a request head goes in, a verdict comes out. No host call, clock, randomness or I/O.

//!
//! | module | what it holds |
//! | --- | --- |
//! | [`document`], [`policy_file`], [`compile`] | from a document to what runs, with every problem placed |
//! | [`head`], [`url`] | message heads and request targets, read once |
//! | [`route`] | which policy governs, and why |
//! | [`scope`], [`token`] | oauth-scope |
//! | [`phi`], [`pseudonym`] | phi-url |
//! | [`mod@cache_control`] | cache-control |
//! | [`trim`], [`response_trim`], [`profiles`], [`decode`], [`framing`], [`inventory`] | response-trim |
//! | [`chain`], [`answer`], [`audit`] | the filters over one stream, what denied callers are told, what is recorded |

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::todo,
    clippy::unimplemented,
    reason = "a trap in a callback can hang the stream, and it fails the VM for every later one"
)]
#![deny(
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "an index out of bounds is a trap; `get` makes the other case a decision"
)]
#![deny(
    clippy::arithmetic_side_effects,
    reason = "overflow is a trap or a wrong size; say saturating, checked or wrapping"
)]
#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::dbg_macro,
    reason = "guests' output is the proxy's log"
)]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::string_slice,
        reason = "a test that traps fails, as it should"
    )
)]

pub mod answer;
pub mod audit;
pub mod break_glass;
pub mod cache_control;
pub mod chain;
pub mod compile;
pub mod cors;
pub mod decode;
pub mod document;
pub mod fhir;
pub mod framing;
pub mod head;
pub mod inventory;
pub mod oauth_scope;
pub mod phi;
pub mod policy_file;
pub mod profiles;
pub mod pseudonym;
pub mod response_trim;
pub mod route;
pub mod scope;
pub mod seal;
pub mod sender;
pub mod token;
pub mod trim;
pub mod url;
