//! What a body can do wrong.

use std::fmt;

/// What is wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// No value at all.
    Empty,
    /// The body ends inside its value.
    Truncated,
    /// More than white space follows the value.
    Trailing,
    /// A byte order mark, or UTF-16.
    Bom,
    /// A value is expected, and something else stands there.
    Value,
    /// A name is expected, and something else stands there.
    Name,
    /// A colon is expected, and something else stands there.
    Colon,
    /// A comma or the end of the container is expected, and something else stands there.
    Comma,
    /// Neither `true` nor `false` nor `null`.
    Literal,
    /// Not a number of RFC 8259 section 6.
    Number,
    /// A control character in a string.
    Control,
    /// An escape that RFC 8259 section 7 does not know.
    Escape,
    /// Half a surrogate pair.
    Surrogate,
    /// Not UTF-8.
    Utf8,
    /// Nested too deep.
    Depth,
    /// A name too long to be compared.
    NameLength,
    /// More would have to be held to decide than may be.
    Hold,
    /// A member that a filter reads stands there twice.
    Ambiguous,
    /// No `resourceType` where FHIR has a resource, one that is no string, or none in time where something may be a resource's.
    NoType,
    /// A second `resourceType`, or one where no resource may stand.
    StrayType,
}

/// Why a body cannot be trimmed, and where. Says nothing of what stands in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrimError {
    fault: Fault,
    offset: u64,
}

impl TrimError {
    pub(super) fn new(fault: Fault, offset: u64) -> TrimError {
        TrimError { fault, offset }
    }

    /// What is wrong.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// Where, in bytes from the start of the body.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// A short name that stays the same between versions, for metrics and audit.
    pub fn code(&self) -> &'static str {
        match self.fault {
            Fault::Empty => "json_empty",
            Fault::Truncated => "json_truncated",
            Fault::Trailing => "json_trailing",
            Fault::Bom => "json_bom",
            Fault::Value => "json_value",
            Fault::Name => "json_name",
            Fault::Colon => "json_colon",
            Fault::Comma => "json_comma",
            Fault::Literal => "json_literal",
            Fault::Number => "json_number",
            Fault::Control => "json_control",
            Fault::Escape => "json_escape",
            Fault::Surrogate => "json_surrogate",
            Fault::Utf8 => "json_utf8",
            Fault::Depth => "json_depth",
            Fault::NameLength => "json_name_length",
            Fault::Hold => "json_hold",
            Fault::Ambiguous => "json_ambiguous",
            Fault::NoType => "fhir_no_type",
            Fault::StrayType => "fhir_stray_type",
        }
    }
}

impl fmt::Display for TrimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.fault {
            Fault::Empty => "the body is empty",
            Fault::Truncated => "the body ends inside its value",
            Fault::Trailing => "something follows the value",
            Fault::Bom => "a byte order mark, or not UTF-8",
            Fault::Value => "a value is expected",
            Fault::Name => "a member name is expected",
            Fault::Colon => "a colon is expected",
            Fault::Comma => "a comma or the end of the container is expected",
            Fault::Literal => "an unknown literal",
            Fault::Number => "not a number",
            Fault::Control => "a control character in a string",
            Fault::Escape => "an unknown escape in a string",
            Fault::Surrogate => "half a surrogate pair in a string",
            Fault::Utf8 => "not UTF-8",
            Fault::Depth => "nested too deep",
            Fault::NameLength => "a member name is too long",
            Fault::Hold => "a value is too long for the filter on it",
            Fault::Ambiguous => "a member that a filter reads stands there twice",
            Fault::NoType => "no `resourceType`, or too late, where a resource must or could stand",
            Fault::StrayType => "a second or stray `resourceType`",
        };
        write!(f, "{}: {what}, at byte {}", self.code(), self.offset)
    }
}

impl std::error::Error for TrimError {}
