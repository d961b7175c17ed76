//! The pure core.

pub mod phi;
pub mod url;
