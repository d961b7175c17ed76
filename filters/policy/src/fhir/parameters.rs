//! Search parameters.
pub(super) struct Parameters;
