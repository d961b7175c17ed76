//! Batches and transactions.
use super::{Request, Unclear};
pub(super) fn read(_body: &[u8]) -> Result<Request, Unclear> {
    Err(Unclear("not_implemented"))
}
