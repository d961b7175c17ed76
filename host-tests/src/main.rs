//! The `scrim` command line.
fn main() {}
