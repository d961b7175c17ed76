//! The cache-control filter.
