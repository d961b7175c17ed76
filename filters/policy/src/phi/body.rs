//! URLs and search forms in bodies.

use super::{Counts, PhiPolicy, Rejection, Scene};
use crate::head::RequestHead;
use crate::url::Target;

impl PhiPolicy {
    /// Whether the body of a request is looked into.
    pub fn wants_body(&self, _head: &RequestHead, _target: &Target<'_>) -> bool {
        false
    }

    /// What becomes of a request's body; `None`: it stays.
    ///
    /// # Errors
    /// What is to be rejected, or can't be read.
    pub fn judge_body(
        &self,
        _body: &[u8],
        _head: &RequestHead,
        _target: &Target<'_>,
        _scene: &Scene<'_>,
    ) -> Result<(Option<Vec<u8>>, Counts), Rejection> {
        Ok((None, Counts::default()))
    }

    /// The body with what is sealed in it opened, for who judges what is asked for; `None`: nothing is.
    ///
    /// # Errors
    /// What is sealed does not open, or it can't be read.
    pub fn open_body(
        &self,
        _body: &[u8],
        _head: &RequestHead,
        _target: &Target<'_>,
    ) -> Result<Option<Vec<u8>>, Rejection> {
        Ok(None)
    }
}
