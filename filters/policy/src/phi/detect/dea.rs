//! DEA registration numbers.
//!
//! Format: the type of registrant, the first letter of the name (or 9), seven digits (21 CFR 1301; DEA Diversion Control Division). Checksum: the first,
//! third and fifth digit, and twice the sum of the second, fourth and sixth, end in the seventh. No context where the type is one of practitioners'
//! and mid-level practitioners' (A, B, C, F, G, M) or distributors' (P, R); with `DEA` before, any type, and a dash or blank before the digits.

use super::text::{byte, digits};

/// A number at `at`; `labelled` where `DEA` announces it.
pub(super) fn body(bytes: &[u8], at: usize, labelled: bool) -> Option<(usize, usize)> {
    let kind = byte(bytes, at).to_ascii_uppercase();
    let name = byte(bytes, at.saturating_add(1));
    let kinds: &[u8] = if labelled { b"ABCDEFGHJKLMPRSTUX" } else { b"ABCFGMPR" };
    if !kinds.contains(&kind) || !(name.is_ascii_alphabetic() || name == b'9') {
        return None;
    }
    let mut start = at.saturating_add(2);
    if labelled && matches!(byte(bytes, start), b'-' | b' ') {
        start = start.saturating_add(1);
    }
    // `B9` is followed by seven more.
    let end = start.saturating_add(7);
    if digits(bytes, start) != 7 || byte(bytes, end).is_ascii_alphanumeric() {
        return None;
    }
    let place = |n: usize| u32::from(byte(bytes, start.saturating_add(n)).wrapping_sub(b'0'));
    let sum = |places: [usize; 3]| places.into_iter().map(place).fold(0_u32, u32::saturating_add);
    let total = sum([0, 2, 4]).saturating_add(sum([1, 3, 5]).saturating_mul(2));
    (total % 10 == place(6)).then_some((at, end))
}
