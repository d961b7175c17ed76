//! The response-trim filter.
