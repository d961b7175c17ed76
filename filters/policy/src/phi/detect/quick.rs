//! The quick look over the raw bytes of a whole target: what it says is not there, no recogniser finds in any piece.

use super::label;
use super::text::{before, byte, digits, run};
use super::{Detector, Set};

/// Whether an SSN, a phone number, an e-mail address or a labelled medical record number could stand in these bytes.
///
/// Numbers begin with a run of three digits or more: a look at every third byte meets them all.
pub(super) fn may_hold_usual(bytes: &[u8]) -> bool {
    // An `@` may be an address; a `+` before a digit a phone number, where no letter or digit stands before.
    let marks = memchr::memchr2_iter(b'@', b'+', bytes).any(|at| {
        byte(bytes, at) == b'@'
            || (byte(bytes, at.saturating_add(1)).is_ascii_digit() && !before(bytes, at, 1).is_ascii_alphanumeric())
    });
    if marks {
        return true;
    }
    let mut index = 2_usize;
    while let Some(&b) = bytes.get(index) {
        if b.is_ascii_digit() {
            let behind = bytes.get(..index).unwrap_or_default();
            let behind = behind.iter().rev().take(12).take_while(|b| b.is_ascii_digit()).count();
            let ahead = digits(bytes, index);
            if could_start(bytes, index.saturating_sub(behind), behind.saturating_add(ahead)) {
                return true;
            }
            // Past the run, whose end is no part of the next one.
            index = index.saturating_add(ahead.saturating_sub(1));
        }
        index = index.saturating_add(3);
    }
    // `mrn` and `medical record`.
    let word = memchr::memchr2_iter(b'm', b'M', bytes).any(|at| {
        let near = |offset: usize| byte(bytes, at.saturating_add(offset)) | 0x20;
        matches!((near(1), near(2)), (b'r', b'n') | (b'e', b'd'))
    });
    word && bytes.iter().filter(|b| b.is_ascii_digit()).take(3).count() == 3
}

/// Whether a run of so many digits at `start` could be, or begin, an SSN or a phone number.
fn could_start(bytes: &[u8], start: usize, length: usize) -> bool {
    match length {
        9..=11 => true,
        3 => {
            let after = start.saturating_add(3);
            // `(415)` is followed by a separator or none.
            let bracket = usize::from(byte(bytes, after) == b')');
            let gap_at = after.saturating_add(bracket);
            let gap = gap(bytes, gap_at);
            let second = gap_at.saturating_add(gap);
            let length = digits(bytes, second);
            match length {
                7 => bracket == 1,
                2 | 3 if gap.saturating_add(bracket) > 0 => {
                    let end = second.saturating_add(length);
                    let gap = self::gap(bytes, end);
                    gap > 0 && digits(bytes, end.saturating_add(gap)) == 4
                }
                _ => false,
            }
        }
        _ => false,
    }
}

/// What may stand between groups, at most.
fn gap(bytes: &[u8], at: usize) -> usize {
    run(bytes, at, 3, |b| b" +-._/".contains(&b))
}

/// Whether what the other recognisers of a set need stands in these bytes.
pub(super) fn may_hold_more(bytes: &[u8], set: Set) -> bool {
    let (mut digits, mut dots, mut colons, mut dashes) = (0_usize, 0_usize, 0_usize, 0_usize);
    for &b in bytes {
        digits = digits.wrapping_add(usize::from(b.is_ascii_digit()));
        dots = dots.wrapping_add(usize::from(b == b'.'));
        colons = colons.wrapping_add(usize::from(b == b':'));
        dashes = dashes.wrapping_add(usize::from(b == b'-'));
    }
    let holds = |text: &[u8]| memchr::memmem::find(bytes, text).is_some();
    let could = |detector| match detector {
        Detector::Npi => digits >= 15 && holds(b"80840"),
        Detector::Dea => digits >= 7,
        Detector::Mbi => digits >= 5,
        Detector::Ip => (digits >= 4 && dots >= 3) || (digits >= 1 && colons >= 2),
        Detector::Mac => colons >= 5 || dashes >= 5 || dots >= 2,
        Detector::Account => digits >= 2,
        Detector::Vin => digits >= 4,
        Detector::Url => holds(b"://") || bytes.windows(4).any(|word| word.eq_ignore_ascii_case(b"www.")),
        Detector::Geo => digits >= 1 || holds(b"County") || holds(b"Parish"),
        // Found by their labels alone, or by the usual look.
        Detector::BirthDate | Detector::Plate | Detector::Ssn | Detector::Email | Detector::Phone | Detector::Mrn => {
            false
        }
    };
    Detector::ALL
        .into_iter()
        .any(|detector| set.has(detector) && could(detector))
        || label::anywhere(bytes).meets(set.labels())
}
