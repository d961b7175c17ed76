//! URL references (RFC 3986 4.1) within headers and bodies.

use super::{Outcome, PhiPolicy, Rejection, Scene, Way};
use crate::url::Target;

/// What becomes of a reference.
pub(super) enum Fate {
    /// It stays.
    Keep,
    /// It becomes this.
    Replace(String),
    /// It can't be read, so it can't stay.
    Unreadable,
    /// The request is refused.
    Reject(Rejection),
}

impl PhiPolicy {
    /// Judges a URL reference.
    pub(super) fn judge_reference(&self, text: &str, way: Way, scene: &Scene<'_>) -> Fate {
        let Ok(target) = Target::parse(text.as_bytes()) else {
            return Fate::Unreadable;
        };
        match self.judge_target(&target, way, scene).outcome {
            Outcome::Pass => Fate::Keep,
            Outcome::Rewrite(bytes) => String::from_utf8(bytes).map_or(Fate::Unreadable, Fate::Replace),
            Outcome::Reject(rejection) => Fate::Reject(rejection),
        }
    }
}
