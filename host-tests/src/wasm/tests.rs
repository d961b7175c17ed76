//! Tests over probe modules.
