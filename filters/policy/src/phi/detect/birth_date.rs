//! Dates of birth.
//!
//! Format: a date as [`super::date`] reads it, also after a FHIR prefix (`ge1970-01-01`). A year alone is none: 45 CFR 164.514(b)(2)(i)(C) lets it
//! stand. No checksum. Context is asked for: `dob`, `birth date`, `born` and so on before it or right behind it, or as the end of the name.

use super::date;
use super::text::{byte, starts_word};

/// FHIR's prefixes of ordered parameters (FHIR R4 search, 3.1.1.5.2).
pub(super) const PREFIXES: [&[u8]; 9] = [b"eq", b"ne", b"gt", b"lt", b"ge", b"le", b"sa", b"eb", b"ap"];

/// Where the prefix at `at` ends; `at` where none is.
pub(super) fn after_prefix(bytes: &[u8], at: usize) -> usize {
    let two = at.saturating_add(2);
    let prefix = bytes.get(at..two).unwrap_or_default();
    let known = byte(bytes, two).is_ascii_digit() && PREFIXES.iter().any(|known| known.eq_ignore_ascii_case(prefix));
    if known { two } else { at }
}

/// Where a date starts and ends that stands before a label which starts at `label`: `1970-03-12 (DOB)`.
pub(super) fn before(bytes: &[u8], label: usize) -> Option<(usize, usize)> {
    let head = bytes.get(..label).unwrap_or_default();
    let gap = head.iter().rev().take(3).take_while(|b| b" (,-/[".contains(b)).count();
    let end = label.saturating_sub(gap);
    (6_usize..=18).find_map(|back| {
        let start = end.checked_sub(back)?;
        let date = date::at(bytes, start).filter(|date| date.end == end)?;
        starts_word(bytes, start).then_some((start, date.end))
    })
}

/// Where a labelled date at `at` starts and ends, with its prefix: a coarser date may need another.
pub(super) fn body(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    date::at(bytes, after_prefix(bytes, at)).map(|date| (at, date.end))
}
