//! The pure core.

pub mod scope;
