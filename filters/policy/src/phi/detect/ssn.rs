//! US social security numbers.
//!
//! Format: three, two and four digits with dashes, spaces, dots, underscores, slashes or nothing between. No checksum. Areas 000, 666 and 900 to 999, group 00 and serial
//! 0000 were never issued (SSA, POMS RM 10201.035); since 2011 all other areas may be. No sample number is let through. No context is asked for:
//! nine bare digits count, but for SNOMED CT codes named as such or as codes.

use super::checksum::verhoeff;
use super::text::{before, byte, digits, is_dotted, number, separator};
use super::{Detector, Hit};

fn is_issued(area: u32, group: u32, serial: u32) -> bool {
    area != 0 && area != 666 && area < 900 && group != 0 && serial != 0
}

/// At a run of three digits.
pub(super) fn separated(bytes: &[u8], start: usize) -> Option<Hit> {
    let (group, dot1) = separator(bytes, start.saturating_add(3))?;
    if digits(bytes, group) != 2 {
        return None;
    }
    let (serial, dot2) = separator(bytes, group.saturating_add(2))?;
    if digits(bytes, serial) != 4 {
        return None;
    }
    let end = serial.saturating_add(4);
    let issued = is_issued(
        number(bytes, start, 3),
        number(bytes, group, 2),
        number(bytes, serial, 4),
    );
    if !issued || (dot1 && dot2 && is_dotted(bytes, start, end)) {
        return None;
    }
    Some(Hit::of(Detector::Ssn, start, end))
}

/// At a run of nine digits; `coded` where the name says that a code follows.
pub(super) fn bare(bytes: &[u8], start: usize, coded: bool) -> Option<Hit> {
    let end = start.saturating_add(9);
    let named = start
        .checked_sub(3)
        .and_then(|at| bytes.get(at..start))
        .is_some_and(|word| word.eq_ignore_ascii_case(b"ssn"));
    if (before(bytes, start, 1).is_ascii_alphanumeric() && !named) || byte(bytes, end).is_ascii_alphanumeric() {
        return None;
    }
    let group = start.saturating_add(3);
    let issued = is_issued(
        number(bytes, start, 3),
        number(bytes, group, 2),
        number(bytes, group.saturating_add(2), 4),
    );
    if !issued || is_dotted(bytes, start, end) || is_snomed(bytes, start, end, coded) {
        return None;
    }
    Some(Hit::of(Detector::Ssn, start, end))
}

/// Whether a name is that of a code, as FHIR has them: `code`, `reason-code`, `value-concept`.
pub(super) fn is_coded(name: &str) -> bool {
    ["code", "concept"].iter().any(|word| {
        let at = name.len().checked_sub(word.len());
        at.and_then(|at| name.get(at..))
            .is_some_and(|end| end.eq_ignore_ascii_case(word))
    })
}

/// A SNOMED CT code of nine digits: named as one or as a code, with a partition that exists and the right check digit
/// (SNOMED CT release file specification, 6). A random SSN after that system passes in one case of some hundreds.
fn is_snomed(bytes: &[u8], start: usize, end: usize, coded: bool) -> bool {
    const SYSTEM: &[u8] = b"snomed.info/sct|";
    let named = coded || bytes.get(..start).is_some_and(|head| head.ends_with(SYSTEM));
    let partition = bytes.get(end.saturating_sub(3)..end.saturating_sub(1));
    named && partition == Some(b"00") && bytes.get(start..end).is_some_and(verhoeff)
}
