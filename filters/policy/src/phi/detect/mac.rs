//! Hardware addresses.
//!
//! Format: six or eight pairs of hexadecimal digits with colons or dashes, three groups of four with dots, or twelve bare (IEEE 802, EUI-48 and EUI-64).
//! No checksum. Bare ones need context (`mac`), and so do digits alone with dashes or dots, which dates and numbers look like.

use super::text::{before, byte, run};

/// An address at `at`.
pub(super) fn body(bytes: &[u8], at: usize, labelled: bool) -> Option<(usize, usize)> {
    let (mut place, mut groups, mut letters) = (at, 0_usize, false);
    let hex = |place: usize| run(bytes, place, 17, |b| b.is_ascii_hexdigit());
    let width = hex(at);
    let mark = byte(bytes, at.saturating_add(width));
    loop {
        if hex(place) != width {
            return None;
        }
        let group = bytes.get(place..place.saturating_add(width)).unwrap_or_default();
        letters |= group.iter().any(u8::is_ascii_alphabetic);
        groups = groups.saturating_add(1);
        place = place.saturating_add(width);
        if groups > 8 || byte(bytes, place) != mark || !b":-.".contains(&mark) {
            break;
        }
        place = place.saturating_add(1);
    }
    // The rest of a longer run of pairs.
    let goes_on = before(bytes, at, 1) == mark && before(bytes, at, 2).is_ascii_hexdigit();
    let fits = match (width, mark, groups) {
        (2, b':', 6 | 8) => true,
        (2, b'-', 6 | 8) | (4, b'.', 3) => letters || labelled,
        (12, _, 1) => labelled,
        _ => false,
    };
    (fits && !goes_on && !byte(bytes, place).is_ascii_alphanumeric()).then_some((at, place))
}
