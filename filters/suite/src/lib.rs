//! The suite filter.
