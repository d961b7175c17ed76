//! The patient's compartment.
use super::Unclear;
pub(super) struct Owners;
/// Whether a resource, or each entry of a Bundle, belongs to the compartment of that patient.
///
/// # Errors
/// [`Unclear`]: the body does not read as FHIR JSON.
pub fn belongs(_json: &[u8], _patient: &str) -> Result<bool, Unclear> {
    Err(Unclear("not_implemented"))
}
/// Whether a body is a resource of that type and belongs to the compartment of that patient: for [`super::Judged::check_request`].
///
/// # Errors
/// [`Unclear`]: the body does not read as FHIR JSON.
pub fn belongs_as(_json: &[u8], _resource_type: &str, _patient: &str) -> Result<bool, Unclear> {
    Err(Unclear("not_implemented"))
}
