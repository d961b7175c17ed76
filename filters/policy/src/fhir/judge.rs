//! From a request and grants to a judgement.
use super::{Contexts, Judged, Lack, Request};
use crate::scope::ScopeSet;
/// Judges a request by the scopes that a token holds, as far as they are of these contexts. `patient` is the token's claim of that name, an id; without one
/// nothing under `patient/` is allowed that needs it.
///
/// # Errors
/// A [`Lack`]; answer it with 403.
pub fn judge(
    _request: &Request,
    _held: &ScopeSet,
    _contexts: Contexts,
    _patient: Option<&str>,
) -> Result<Judged, Lack> {
    Err(Lack::Unprovable("not_implemented"))
}
