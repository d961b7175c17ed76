//! The phi-url filter.
