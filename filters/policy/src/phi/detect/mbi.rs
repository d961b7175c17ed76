//! Medicare beneficiary identifiers, and the health insurance claim numbers before them.
//!
//! Format: eleven characters, `C A AN N A AN N A A N N` (C 1 to 9, A a letter but S, L, O, I, B, Z, AN either, N a digit), in one or as 4-3-4 with dashes
//! or blanks (CMS, "Understanding the Medicare Beneficiary Identifier Format"). No checksum; no context, since the format is narrow.
//! A claim number (an SSN and a letter, with a letter or digit more at most) needs context: `medicare`, `hicn`.

use super::text::{byte, digits};

fn is_letter(b: u8) -> bool {
    b.is_ascii_alphabetic() && !b"SLOIBZ".contains(&b.to_ascii_uppercase())
}

/// An identifier at `at`.
pub(super) fn body(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let mut place = at;
    let mut mark = 0;
    for (index, kind) in b"CAXNAXNAANN".iter().enumerate() {
        let mut this = byte(bytes, place);
        if matches!(index, 4 | 7) && matches!(this, b'-' | b' ') && (index == 4 || this == mark) {
            mark = this;
            place = place.saturating_add(1);
            this = byte(bytes, place);
        } else if index == 7 && mark != 0 {
            return None;
        }
        let fits = match kind {
            b'C' => matches!(this, b'1'..=b'9'),
            b'A' => is_letter(this),
            b'N' => this.is_ascii_digit(),
            _ => is_letter(this) || this.is_ascii_digit(),
        };
        if !fits {
            return None;
        }
        place = place.saturating_add(1);
    }
    (!byte(bytes, place).is_ascii_alphanumeric()).then_some((at, place))
}

/// A claim number at `at`.
pub(super) fn claim(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let mut place = at;
    match digits(bytes, at) {
        9 => place = place.saturating_add(9),
        3 => {
            for (length, mark) in [(3_usize, true), (2, true), (4, false)] {
                if digits(bytes, place) != length {
                    return None;
                }
                place = place.saturating_add(length);
                if mark {
                    if byte(bytes, place) != b'-' {
                        return None;
                    }
                    place = place.saturating_add(1);
                }
            }
            place = place.saturating_add(usize::from(byte(bytes, place) == b'-'));
        }
        _ => return None,
    }
    if !byte(bytes, place).is_ascii_alphabetic() {
        return None;
    }
    place = place.saturating_add(1);
    place = place.saturating_add(usize::from(byte(bytes, place).is_ascii_alphanumeric()));
    (!byte(bytes, place).is_ascii_alphanumeric()).then_some((at, place))
}
