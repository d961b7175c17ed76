//! Licence plates.
//!
//! Format: each state's own; 5 to 8 letters and digits, both among them, in one or in two groups with a dash or blank. No checksum. Context is asked
//! for: `plate`, `license plate`, `registration` before, or as the end of the name. A plate of letters alone is not told from a word.

use super::text::{byte, run};

/// A plate at `at`.
pub(super) fn body(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let group = |from: usize| run(bytes, from, 9, |b| b.is_ascii_alphanumeric());
    let first = group(at);
    let middle = at.saturating_add(first);
    let mut end = middle;
    if matches!(byte(bytes, middle), b'-' | b' ') {
        let second = group(middle.saturating_add(1));
        let both = middle.saturating_add(1).saturating_add(second);
        let told = bytes
            .get(middle..both)
            .unwrap_or_default()
            .iter()
            .any(u8::is_ascii_digit);
        let tail = bytes.get(middle.saturating_add(1)..both).unwrap_or_default();
        // `96-well` goes on with a word.
        let number = bytes.get(at..middle).unwrap_or_default().iter().all(u8::is_ascii_digit);
        if number && tail.len() > 3 && tail.iter().all(u8::is_ascii_lowercase) {
            return None;
        }
        let wanted = first < 5 || told;
        if second > 0 && wanted && first.saturating_add(second) <= 8 {
            end = both;
        }
    }
    let plate = bytes.get(at..end).unwrap_or_default();
    let digits = plate.iter().filter(|b| b.is_ascii_digit()).count();
    let letters = plate.iter().filter(|b| b.is_ascii_alphabetic()).count();
    let fits = digits > 0 && letters > 0 && (5..=8).contains(&digits.saturating_add(letters));
    (fits && !byte(bytes, end).is_ascii_alphanumeric()).then_some((at, end))
}
