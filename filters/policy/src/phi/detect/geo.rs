//! Geographic units below state.
//!
//! 45 CFR 164.514(b)(2)(i)(B) lists street address, city, county, precinct, ZIP code and their equivalent geocodes. No checksum. Found are:
//! a street: a number, one to four words and a word for a street (`12 Main St`, `12-main-street`); words that mean other things too (`ct`, `dr`,
//! `pl`, `way` ..) count where `address` or `street` announces them (USPS Publication 28, appendix C1, lists them); a PO box.
//! a ZIP code: five digits, or nine as 5-4, where `zip` or `postal code` announces it (British and Canadian ones too), or after a comma and a state's letters (`, MA 02139`).
//! a city or county: letters where `city`, `county`, `town`, `district` and so on is the name, or stands before with `:` or `=`; a capitalised word before
//! `County` or `Parish`.
//! a position: a number with three decimals or more, where `lat`, `lon`, `near` and so on announces it; fewer tell no place below a county.

use super::text::{before, byte, digits, run, starts_word};
use super::{Detector, Hit};

static STREETS: [&str; 24] = [
    "street",
    "str",
    "st",
    "avenue",
    "ave",
    "av",
    "road",
    "rd",
    "boulevard",
    "blvd",
    "lane",
    "ln",
    "drive",
    "terrace",
    "ter",
    "highway",
    "hwy",
    "parkway",
    "pkwy",
    "circle",
    "turnpike",
    "tpke",
    "alley",
    "crescent",
];
static OTHER_STREETS: [&str; 14] = [
    "court", "ct", "dr", "pl", "place", "way", "cir", "square", "sq", "loop", "trail", "trl", "run", "pike",
];
static STATES: &[u8] =
    b"ALAKAZARCACOCTDEDCFLGAHIIDILINIAKSKYLAMEMDMAMIMNMSMOMTNENVNHNJNMNYNCNDOHOKORPARISCSDTNTXUTVTVAWAWVWIWYPRVIGU";

fn is_blank(b: u8) -> bool {
    b" +-_".contains(&b)
}

fn word(bytes: &[u8], at: usize) -> &[u8] {
    let length = run(bytes, at, 24, |b| {
        b.is_ascii_alphanumeric() || b == b'\'' || !b.is_ascii()
    });
    bytes.get(at..at.saturating_add(length)).unwrap_or_default()
}

/// A street whose number starts at `at`.
pub(super) fn street(bytes: &[u8], at: usize, announced: bool) -> Option<(usize, usize)> {
    let number = digits(bytes, at);
    let mut place = at.saturating_add(number);
    // `12B Main St`.
    if byte(bytes, place).is_ascii_alphabetic() && !byte(bytes, place.saturating_add(1)).is_ascii_alphanumeric() {
        place = place.saturating_add(1);
    }
    if !(1..=6).contains(&number) {
        return None;
    }
    for index in 0..6 {
        if !is_blank(byte(bytes, place)) {
            return None;
        }
        place = place.saturating_add(1);
        let word = word(bytes, place);
        let end = place.saturating_add(word.len());
        let is = |known: &&&str| known.as_bytes().eq_ignore_ascii_case(word);
        // `12 St Mary Rd`: the first word is a name, whatever it is.
        let known = STREETS.iter().find(is).is_some() || (announced && OTHER_STREETS.iter().find(is).is_some());
        if index > 0 && known {
            return Some((at, end));
        }
        let ordinal =
            word.len() > 2 && byte(word, 0).is_ascii_digit() && word.last().is_some_and(u8::is_ascii_alphabetic);
        if word.is_empty() || !(byte(word, 0).is_ascii_alphabetic() || !byte(word, 0).is_ascii() || ordinal) {
            return None;
        }
        place = end.saturating_add(usize::from(byte(bytes, end) == b'.'));
    }
    None
}

/// `P.O. Box 123` at `at`.
pub(super) fn box_number(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let mut place = at;
    for letter in b"po" {
        if !byte(bytes, place).eq_ignore_ascii_case(letter) {
            return None;
        }
        place = place.saturating_add(1);
        place = place.saturating_add(run(bytes, place, 2, |b| b == b'.' || is_blank(b)));
    }
    let box_word = bytes.get(place..place.saturating_add(3)).unwrap_or_default();
    let after = place.saturating_add(3);
    let gap = run(bytes, after, 2, |b| b == b'#' || is_blank(b));
    let start = after.saturating_add(gap);
    let length = digits(bytes, start);
    let fits = box_word.eq_ignore_ascii_case(b"box") && gap > 0 && (1..=6).contains(&length);
    fits.then_some((at, start.saturating_add(length)))
}

/// An announced ZIP code at `at`.
pub(super) fn zip(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let end = match digits(bytes, at) {
        5 => {
            let five = at.saturating_add(5);
            let four = five.saturating_add(1);
            if matches!(byte(bytes, five), b'-' | b' ') && digits(bytes, four) == 4 {
                four.saturating_add(4)
            } else {
                five
            }
        }
        9 => at.saturating_add(9),
        _ => return postcode(bytes, at),
    };
    (!byte(bytes, end).is_ascii_alphanumeric()).then_some((at, end))
}

/// A British or Canadian code at `at`: letters and digits in two groups, the second `9AA` or `9A9`.
fn postcode(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let alone = |from: usize| run(bytes, from, 8, |b| b.is_ascii_alphanumeric());
    let first = alone(at);
    let middle = at.saturating_add(first);
    let (outward, inward_at) = match first {
        2..=4 if byte(bytes, middle) == b' ' => (first, middle.saturating_add(1)),
        5..=7 => (first.saturating_sub(3), middle.saturating_sub(3)),
        _ => return None,
    };
    let code = bytes.get(at..at.saturating_add(outward)).unwrap_or_default();
    let kind = |n: usize| byte(bytes, inward_at.saturating_add(n));
    let told = byte(code, 0).is_ascii_alphabetic() && code.iter().any(u8::is_ascii_digit);
    let inward = kind(0).is_ascii_digit() && kind(1).is_ascii_alphabetic();
    let british = kind(2).is_ascii_alphabetic();
    let canadian = kind(2).is_ascii_digit() && outward == 3 && byte(code, 2).is_ascii_alphabetic();
    let end = inward_at.saturating_add(3);
    let fits = told && inward && (british || canadian) && !byte(bytes, end).is_ascii_alphanumeric();
    fits.then_some((at, end))
}

/// A ZIP code after the letters of a state that start at `at`.
pub(super) fn zip_after_state(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let letters = bytes.get(at..at.saturating_add(2))?;
    let start = at.saturating_add(3);
    let comma = before(bytes, at, 1) == b',' || (before(bytes, at, 1) == b' ' && before(bytes, at, 2) == b',');
    let state = STATES.chunks(2).any(|state| state == letters);
    if !state || !is_blank(byte(bytes, at.saturating_add(2))) {
        return None;
    }
    let (start, end) = zip(bytes, start)?;
    let nine = byte(bytes, start.saturating_add(5)) == b'-';
    (comma || nine).then_some((start, end))
}

/// A place's name at `at`, up to the end of the element.
pub(super) fn place(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let length = run(bytes, at, 40, |b| {
        b.is_ascii_alphabetic() || !b.is_ascii() || b" .-'".contains(&b)
    });
    let end = at.saturating_add(length);
    let letters = length > 1 && (byte(bytes, at).is_ascii_alphabetic() || !byte(bytes, at).is_ascii());
    let ends = matches!(byte(bytes, end), 0 | b',' | b'|' | b';' | b'&' | b')' | b']' | b'"');
    (letters && ends).then_some((at, end))
}

/// A coordinate at `at`.
pub(super) fn coordinate(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let start = at.saturating_add(usize::from(matches!(byte(bytes, at), b'-' | b'+')));
    let whole = digits(bytes, start);
    let dot = start.saturating_add(whole);
    let decimals = digits(bytes, dot.saturating_add(1));
    let end = dot.saturating_add(1).saturating_add(decimals);
    let fits = (1..=3).contains(&whole) && byte(bytes, dot) == b'.' && decimals >= 3;
    (fits && !byte(bytes, end).is_ascii_alphanumeric()).then_some((at, end))
}

/// Every capitalised word before `County` or `Parish`.
pub(super) fn scan_counties(bytes: &[u8], hits: &mut Vec<Hit>) {
    for at in memchr::memchr2_iter(b'C', b'P', bytes) {
        let rest = bytes.get(at..).unwrap_or_default();
        let end = at.saturating_add(6);
        let named = rest.starts_with(b"County") || rest.starts_with(b"Parish");
        if !named
            || !starts_word(bytes, at)
            || byte(bytes, end).is_ascii_alphanumeric()
            || !is_blank(before(bytes, at, 1))
        {
            continue;
        }
        let head = bytes.get(..at.saturating_sub(1)).unwrap_or_default();
        let length = head
            .iter()
            .rev()
            .take(24)
            .take_while(|b| b.is_ascii_alphabetic())
            .count();
        let start = head.len().saturating_sub(length);
        if length > 2 && byte(bytes, start).is_ascii_uppercase() {
            hits.push(Hit::of(Detector::Geo, start, end));
        }
    }
}
