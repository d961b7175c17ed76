//! The pure core.

pub mod url;
