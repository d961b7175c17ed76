//! National provider identifiers.
//!
//! Format: ten digits that begin with 1 or 2; Luhn with the prefix 80840, which may stand before them (45 CFR 162.406; CMS, "Requirements for NPI and NPI
//! Check Digit"). Bare, they need context, since every tenth number of ten digits passes Luhn, timestamps among them: `npi`, `provider`, `practitioner`, `physician` or `prescriber`
//! before, in a system (`us-npi|`) or in the name. With the prefix they need none.

use super::checksum::luhn;
use super::text::{byte, digits};

/// What the digits of 80840 add to the sum, once they stand before ten more.
const PREFIX_SUM: u32 = 24;

/// Ten digits at `at`, or fifteen with the prefix.
pub(super) fn body(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let (start, length) = match digits(bytes, at) {
        10 => (at, 10_usize),
        15 if bytes.get(at..)?.starts_with(b"80840") => (at.saturating_add(5), 15),
        _ => return None,
    };
    let end = at.saturating_add(length);
    let number = bytes.get(start..end)?;
    let valid = matches!(byte(bytes, start), b'1' | b'2') && luhn(number.iter().copied(), PREFIX_SUM);
    (valid && !byte(bytes, end).is_ascii_alphanumeric()).then_some((at, end))
}
