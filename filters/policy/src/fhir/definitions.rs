//! HL7's definitions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Type(u8);
impl Type {
    pub(super) fn name(self) -> &'static str {
        ""
    }
}
