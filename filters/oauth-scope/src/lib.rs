//! The oauth-scope filter.
