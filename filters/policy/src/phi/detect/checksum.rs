//! Check digits.

/// Luhn's formula (ISO/IEC 7812-1, annex B) over digits, the check digit last, with the sum of what stands before.
pub(super) fn luhn(digits: impl DoubleEndedIterator<Item = u8>, sum_before: u32) -> bool {
    let mut sum = sum_before;
    for (place, digit) in digits.rev().enumerate() {
        let value = u32::from(digit.wrapping_sub(b'0'));
        let value = if place & 1 == 0 { value } else { value.saturating_mul(2) };
        sum = sum.saturating_add(value / 10).saturating_add(value % 10);
    }
    sum.is_multiple_of(10)
}

/// ISO 7064's MOD 97-10 as an IBAN has it (ISO 13616-1): the first four characters at the end, letters as 10 to 35.
pub(super) fn mod97(characters: &[u8]) -> bool {
    let (head, tail) = characters.split_at_checked(4).unwrap_or((characters, &[]));
    let rest = tail.iter().chain(head).fold(0_u32, |rest, &b| match b {
        b'0'..=b'9' => rest.saturating_mul(10).saturating_add(u32::from(b.wrapping_sub(b'0'))) % 97,
        _ => {
            let value = u32::from((b | 0x20).wrapping_sub(b'a')).saturating_add(10);
            rest.saturating_mul(100).saturating_add(value) % 97
        }
    });
    rest == 1
}

/// Verhoeff's check over the dihedral group of order ten.
pub(super) fn verhoeff(code: &[u8]) -> bool {
    const PERMUTE: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    fn multiply(a: u8, b: u8) -> u8 {
        let (a, b) = (a % 10, b % 10);
        match (a < 5, b < 5) {
            (true, true) => a.wrapping_add(b) % 5,
            (true, false) => (a.wrapping_add(b.wrapping_sub(5)) % 5).wrapping_add(5),
            (false, true) => (a.wrapping_sub(b) % 5).wrapping_add(5),
            (false, false) => a.wrapping_add(5).wrapping_sub(b) % 5,
        }
    }
    let mut check = 0;
    for (place, digit) in code.iter().rev().enumerate() {
        let mut value = digit.wrapping_sub(b'0');
        for _ in 0..place % 8 {
            value = PERMUTE.get(usize::from(value)).copied().unwrap_or_default();
        }
        check = multiply(check, value);
    }
    check == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tells_right_from_wrong() {
        let luhn = |text: &str| super::luhn(text.bytes(), 0);
        assert!(luhn("4111111111111111") && !luhn("4111111111111112") && luhn("808401234567893"));
        assert!(mod97(b"GB82WEST12345698765432") && mod97(b"de89370400440532013000"));
        assert!(!mod97(b"GB83WEST12345698765432") && !mod97(b"") && !mod97(b"GB"));
        assert!(verhoeff(b"271649006") && !verhoeff(b"271649007"));
    }
}
