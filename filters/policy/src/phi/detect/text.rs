//! What recognisers read text by: bytes beyond the end are 0, which is no letter and no digit.

pub(super) fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or_default()
}

/// The byte `back` bytes before `at`.
pub(super) fn before(bytes: &[u8], at: usize, back: usize) -> u8 {
    at.checked_sub(back).map_or(0, |at| byte(bytes, at))
}

/// How many bytes from `at` on satisfy, counted up to `most`.
pub(super) fn run(bytes: &[u8], at: usize, most: usize, of: impl Fn(u8) -> bool) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.iter().take(most).take_while(|&&b| of(b)).count()
}

/// How many digits stand at `at`, counted up to 20.
pub(super) fn digits(bytes: &[u8], at: usize) -> usize {
    run(bytes, at, 20, |b| b.is_ascii_digit())
}

/// The number that `length` digits at `at` tell.
pub(super) fn number(bytes: &[u8], at: usize, length: usize) -> u32 {
    let digits = bytes.get(at..at.saturating_add(length)).unwrap_or_default();
    digits.iter().fold(0, |n: u32, &b| {
        n.wrapping_mul(10).wrapping_add(u32::from(b.wrapping_sub(b'0')))
    })
}

/// Whether a word starts at `at`: no letter or digit before, or a small letter before a capital, or a digit before a letter.
pub(super) fn starts_word(bytes: &[u8], at: usize) -> bool {
    let (last, this) = (before(bytes, at, 1), byte(bytes, at));
    !last.is_ascii_alphanumeric()
        || (last.is_ascii_lowercase() && this.is_ascii_uppercase())
        || (last.is_ascii_digit() && this.is_ascii_alphabetic())
}

/// Part of a dotted run of numbers: an OID, a version, an IP address.
pub(super) fn is_dotted(bytes: &[u8], start: usize, end: usize) -> bool {
    (before(bytes, start, 1) == b'.' && before(bytes, start, 2).is_ascii_digit())
        || (byte(bytes, end) == b'.' && byte(bytes, end.saturating_add(1)).is_ascii_digit())
}

/// A dash, dot, slash or underscore, or none, with blanks around it: its end, and whether it is a dot. `None` where nothing separates.
pub(super) fn separator(bytes: &[u8], at: usize) -> Option<(usize, bool)> {
    let mut end = at;
    let mut dot = false;
    let mut mark = false;
    for &b in bytes.get(at..).unwrap_or_default().iter().take(3) {
        match b {
            b' ' | b'+' => {}
            b'-' | b'.' | b'_' | b'/' if !mark => {
                mark = true;
                dot = b == b'.';
            }
            _ => break,
        }
        end = end.saturating_add(1);
    }
    (end > at).then_some((end, dot))
}
