//! Medical record numbers.
//!
//! Format: each hospital's own; 5 to 10 letters and digits, at least 3 of them digits, or 5 to 10 digits with single dashes. No checksum. Context is
//! asked for: `MRN` or `medical record number` before, with up to three of ` :-=#|._/` between, or as the end of the name. Other formats are own patterns
//! under this name.

use super::label;
use super::text::{before, byte};
use super::{Detector, Hit};

/// Written out. A blank stands for none or one of ` _-.+`.
const LONG: &str = "medical record";

pub(super) fn scan(bytes: &[u8], hits: &mut Vec<Hit>) {
    for start in memchr::memchr2_iter(b'm', b'M', bytes) {
        let word = bytes.get(start..start.saturating_add(3)).unwrap_or_default();
        if before(bytes, start, 1).is_ascii_alphabetic() {
            continue;
        }
        let after = if word.eq_ignore_ascii_case(b"mrn") {
            start.saturating_add(3)
        } else if let Some(end) = label::matches(bytes, start, LONG) {
            label::after(bytes, end)
        } else {
            continue;
        };
        let gap = bytes.get(after..).unwrap_or_default().iter().take(3);
        let gap = gap.take_while(|b| b" :-=#|._/".contains(b)).count();
        if let Some(end) = body(bytes, after.saturating_add(gap)) {
            hits.push(Hit::of(Detector::Mrn, start, end));
        }
    }
}

/// Whether a parameter's name or a path segment says that a medical record number follows: `mrn`, `patient_mrn`.
pub(super) fn announced_by(name: &str) -> bool {
    let bytes = name.as_bytes();
    let short = bytes
        .len()
        .checked_sub(3)
        .and_then(|at| bytes.get(at..))
        .is_some_and(|end| end.eq_ignore_ascii_case(b"mrn"));
    short
        || memchr::memchr2_iter(b'm', b'M', bytes)
            .filter_map(|at| label::matches(bytes, at, LONG))
            .any(|end| label::after(bytes, end) >= bytes.len())
}

/// The elements of an announced value, between commas and bars, that could be medical record numbers.
pub(super) fn announced(text: &str, hits: &mut Vec<Hit>) {
    let mut start = 0_usize;
    for element in text.split([',', '|']) {
        if is_body(element) {
            hits.push(Hit::of(Detector::Mrn, start, start.saturating_add(element.len())));
        }
        start = start.saturating_add(element.len()).saturating_add(1);
    }
}

/// Whether a value alone could be a medical record number.
fn is_body(value: &str) -> bool {
    let value = value.trim_matches([' ', '"', '\'', '#']);
    !value.is_empty() && body(value.as_bytes(), 0) == Some(value.len())
}

/// Where a medical record number that starts at `at` ends.
fn body(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let length = rest.iter().take(11).take_while(|b| b.is_ascii_alphanumeric()).count();
    let numerals = rest.iter().take(length).filter(|b| b.is_ascii_digit()).count();
    if (5..=10).contains(&length) && numerals >= 3 {
        return Some(at.saturating_add(length));
    }
    let mut end = 0_usize;
    let mut numerals = 0_usize;
    for (index, &b) in rest.iter().take(20).enumerate() {
        match b {
            b'0'..=b'9' => {
                numerals = numerals.saturating_add(1);
                end = index.saturating_add(1);
            }
            b'-' if end == index && index > 0 => {}
            _ => break,
        }
    }
    let bounded = !byte(rest, end).is_ascii_alphanumeric();
    ((5..=10).contains(&numerals) && bounded).then_some(at.saturating_add(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_announce_and_values_look_like_one() {
        assert!(announced_by("mrn") && announced_by("patientMRN") && !announced_by("rn") && !announced_by("mrnx"));
        assert!(
            announced_by("medicalRecordNumber")
                && announced_by("medical_record_no")
                && !announced_by("medical_records_office")
        );
        assert!(is_body("A123456") && is_body(" 12345 ") && !is_body("1234") && !is_body("lookup"));
    }
}
