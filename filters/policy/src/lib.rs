//! The pure core of Scrim: a request head goes in, a verdict comes out. No host call, clock, randomness or I/O.

pub mod answer;
pub mod audit;
pub mod cache_control;
pub mod chain;
pub mod compile;
pub mod document;
pub mod head;
pub mod phi;
pub mod policy_file;
pub mod pseudonym;
pub mod response_trim;
pub mod route;
pub mod scope;
pub mod token;
pub mod trim;
pub mod url;
