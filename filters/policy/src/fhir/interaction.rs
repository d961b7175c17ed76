//! From method and path to an interaction.
use super::{Base, Interaction, Reading, Request, Unclear};
use crate::head::RequestHead;
use crate::url::Target;
pub(super) fn read(_head: &RequestHead, _target: &Target<'_>, _base: Option<&Base>) -> Result<Reading, Unclear> {
    Err(Unclear("not_implemented"))
}
pub(super) fn with_form(_interaction: Interaction, _body: &[u8]) -> Result<Request, Unclear> {
    Err(Unclear("not_implemented"))
}
