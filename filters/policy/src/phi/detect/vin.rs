//! Vehicle identification numbers.
//!
//! Format: seventeen letters and digits without I, O and Q, the last four digits. Checksum: the ninth, 0 to 9 or X (49 CFR 565.15(c)). No context; letters
//! and digits must both be there, three at least.

use super::text::{byte, run};

const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];

/// A number at `at`.
pub(super) fn body(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    if run(bytes, at, 18, |b| b.is_ascii_alphanumeric()) != 17 {
        return None;
    }
    let end = at.saturating_add(17);
    let number = bytes.get(at..end)?;
    let (mut sum, mut letters) = (0_u32, 0_u32);
    for (&b, weight) in number.iter().zip(WEIGHTS) {
        let upper = b.to_ascii_uppercase();
        let value = match upper {
            b'0'..=b'9' => upper.wrapping_sub(b'0'),
            b'A'..=b'H' => upper.wrapping_sub(b'A').wrapping_add(1),
            b'J'..=b'N' => upper.wrapping_sub(b'J').wrapping_add(1),
            b'P' => 7,
            b'R' => 9,
            b'S'..=b'Z' => upper.wrapping_sub(b'S').wrapping_add(2),
            _ => return None,
        };
        letters = letters.saturating_add(u32::from(b.is_ascii_alphabetic()));
        sum = sum.saturating_add(u32::from(value).saturating_mul(weight));
    }
    let check = match byte(number, 8).to_ascii_uppercase() {
        b'X' => 10,
        digit @ b'0'..=b'9' => u32::from(digit.wrapping_sub(b'0')),
        _ => return None,
    };
    let serial = number.iter().skip(13).all(u8::is_ascii_digit);
    (sum % 11 == check && serial && (3..=13).contains(&letters)).then_some((at, end))
}
