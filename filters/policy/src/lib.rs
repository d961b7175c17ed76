//! The pure core.

pub mod trim;
