//! The pure core.

pub mod scope;
pub mod token;
