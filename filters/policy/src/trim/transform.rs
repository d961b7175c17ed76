//! What may stand in the place of a value.

use std::fmt::Write as _;

use crate::phi::generalize::zip_area;

/// What hides a value.
pub(super) const MASK: &[u8] = b"\"***\"";

/// Makes the keyed pseudonym of a value, so that equal values stay comparable without being shown.
pub type Pseudonymise = dyn Fn(&[u8]) -> String + Send + Sync;

/// Rewrites a string, unescaped, by the rewriter of that number; `None` where it stays as it is.
pub type Rewrite<'r> = dyn Fn(u8, &str) -> Option<String> + 'r;

/// Replaces a value by something that says less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transform {
    /// A date becomes its year: the first four characters, when they are digits; anything else is masked.
    Year,
    /// A date of birth becomes its year, unless that is 90 or more years before the current one: 45 CFR
    /// 164.514(b)(2)(i)(C). Masked where the current year is not known.
    BirthYear,
    /// A date or time becomes its year and month; anything else is masked.
    YearMonth,
    /// A ZIP code becomes its first three digits, or `000` where its area has 20,000 people or fewer: 45 CFR
    /// 164.514(b)(2)(i)(B). Anything else is masked.
    Zip3,
    /// A number, or a string that is one, becomes the nearest whole number, halves away from zero; anything else is masked.
    Round,
    /// All but the last four characters become `***`; a value of four or fewer is masked.
    Last4,
    /// Any value, containers too, becomes `"***"`.
    Mask,
    /// A keyed pseudonym of the value.
    Tokenize,
    /// Any value, containers too, becomes `null`.
    Null,
    /// What the caller's rewriter of this number makes of a string; no policy file names it.
    Rewrite(u8),
}

impl Transform {
    /// Every transform under the name that it has in a policy file.
    pub const NAMES: [(&'static str, Transform); 9] = [
        ("year", Transform::Year),
        ("birth-year", Transform::BirthYear),
        ("year-month", Transform::YearMonth),
        ("zip3", Transform::Zip3),
        ("round", Transform::Round),
        ("last4", Transform::Last4),
        ("mask", Transform::Mask),
        ("tokenize", Transform::Tokenize),
        ("null", Transform::Null),
    ];

    /// The transform that a policy file calls `name`.
    pub fn from_name(name: &str) -> Option<Transform> {
        Transform::NAMES
            .into_iter()
            .find(|(own, _)| *own == name)
            .map(|(_, transform)| transform)
    }

    /// What stands for a value that starts with `first`, if that says enough already. `Err(())` when the whole scalar
    /// is needed.
    pub(super) fn at_once(self, first: u8) -> Result<&'static [u8], ()> {
        match (self, first) {
            (Transform::Mask, _) => Ok(MASK),
            (Transform::Null, _) | (_, b'n') => Ok(b"null"),
            (Transform::Rewrite(_), b'-' | b'0'..=b'9') => Ok(MASK),
            (_, b'"' | b'-' | b'0'..=b'9') => Err(()),
            _ => Ok(MASK),
        }
    }

    /// Writes what stands for `raw`, a whole string with its quotes or a whole number. `now`: the current year.
    pub(super) fn apply(
        self,
        raw: &[u8],
        tokens: Option<&Pseudonymise>,
        now: Option<u16>,
        scratch: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) {
        let (value, number) = match raw {
            [b'"', inner @ .., b'"'] => {
                unescape(inner, scratch);
                (scratch.as_slice(), false)
            }
            number => (number, true),
        };
        let shown = match self {
            Transform::Year => year(value).map(|digits| String::from_utf8_lossy(digits).into_owned()),
            Transform::BirthYear => birth_year(value, now),
            Transform::YearMonth => year_month(value).map(|month| String::from_utf8_lossy(month).into_owned()),
            Transform::Zip3 => std::str::from_utf8(value).ok().and_then(zip_area),
            Transform::Round => match (round(value), number) {
                // A number stays one.
                (Some(whole), true) => return out.extend_from_slice(whole.as_bytes()),
                (whole, _) => whole,
            },
            Transform::Last4 => {
                let text = String::from_utf8_lossy(value);
                let mut ends = text.char_indices().rev().map(|(at, _)| at).skip(3);
                match (ends.next(), ends.next()) {
                    (Some(from), Some(_)) => Some(format!("***{}", text.get(from..).unwrap_or_default())),
                    _ => None,
                }
            }
            Transform::Tokenize => tokens.map(|tokens| tokens(value)),
            Transform::Null => return out.extend_from_slice(b"null"),
            Transform::Mask | Transform::Rewrite(_) => None,
        };
        match shown {
            Some(shown) => write_string(&shown, out),
            None => out.extend_from_slice(MASK),
        }
    }
}

/// The year of a FHIR date: it goes on with a dash or ends; nine bare digits are no date but may be an SSN.
fn year(value: &[u8]) -> Option<&[u8]> {
    let (digits, rest) = value.split_at_checked(4)?;
    (digits.iter().all(u8::is_ascii_digit) && matches!(rest, [] | [b'-', ..])).then_some(digits)
}

fn birth_year(value: &[u8], now: Option<u16>) -> Option<String> {
    let text = std::str::from_utf8(year(value)?).ok()?;
    let ago = now?.saturating_sub(text.parse().ok()?);
    (ago < 90).then(|| text.to_owned())
}

/// Year and month of a FHIR date, dateTime or instant (FHIR R4, 2.24.0.1). A year alone says less already.
fn year_month(value: &[u8]) -> Option<&[u8]> {
    let two = |part: &[u8], range: std::ops::RangeInclusive<u8>| match part {
        [a @ b'0'..=b'9', b @ b'0'..=b'9'] => {
            range.contains(&a.wrapping_sub(b'0').wrapping_mul(10).wrapping_add(b.wrapping_sub(b'0')))
        }
        _ => false,
    };
    let (first, rest) = (year(value)?, value.get(4..)?);
    let Some((month, rest)) = rest.split_at_checked(3) else {
        return rest.is_empty().then_some(first);
    };
    let day = match rest.split_at_checked(3) {
        None => rest.is_empty(),
        Some((day, time)) => {
            let timely = |byte: &u8| matches!(byte, b'0'..=b'9' | b':' | b'.' | b'+' | b'-' | b'Z');
            day.first() == Some(&b'-')
                && two(day.get(1..)?, 1..=31)
                && match time {
                    [] => true,
                    [b'T', time @ ..] => time.iter().all(timely),
                    _ => false,
                }
        }
    };
    (two(month.get(1..)?, 1..=12) && day).then(|| value.get(..7))?
}

/// The longest whole number that an exponent may stand for.
const MAX_DIGITS: usize = 1024;

/// The nearest whole number of a JSON number, halves away from zero, by its decimal digits.
fn round(value: &[u8]) -> Option<String> {
    let (negative, text) = match value {
        [b'-', rest @ ..] => (true, rest),
        all => (false, all),
    };
    let mut parts = text.splitn(2, |byte| matches!(byte, b'e' | b'E'));
    let (mantissa, exponent) = (parts.next()?, parts.next());
    let mut parts = mantissa.splitn(2, |byte| *byte == b'.');
    let (whole, fraction) = (parts.next()?, parts.next());
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let leading = whole.len() > 1 && whole.first() == Some(&b'0');
    if leading || !digits(whole) || fraction.is_some_and(|fraction| !digits(fraction)) {
        return None;
    }
    let exponent: i64 = match exponent {
        None => 0,
        Some(text) => {
            let bare = match text {
                [b'+' | b'-', bare @ ..] => bare,
                bare => bare,
            };
            if !digits(bare) {
                return None;
            }
            // Sixteen digits are more than enough to say that it is too large, or nothing.
            let size = std::str::from_utf8(bare).ok()?.parse().unwrap_or(i64::MAX / 2);
            if text.first() == Some(&b'-') {
                size.saturating_neg()
            } else {
                size
            }
        }
    };
    let mut all: Vec<u8> = whole.to_vec();
    all.extend_from_slice(fraction.unwrap_or_default());
    if all.iter().all(|digit| *digit == b'0') {
        return Some("0".to_owned());
    }
    let point = i64::try_from(whole.len()).ok()?.saturating_add(exponent);
    let up = usize::try_from(point)
        .ok()
        .and_then(|point| all.get(point))
        .is_some_and(|digit| *digit >= b'5');
    let point = usize::try_from(point.max(0)).ok()?;
    if point > all.len().max(MAX_DIGITS) {
        return None;
    }
    all.resize(point, b'0');
    let mut carry = up;
    for digit in all.iter_mut().rev() {
        if !carry {
            break;
        }
        carry = *digit == b'9';
        *digit = if carry { b'0' } else { digit.wrapping_add(1) };
    }
    if carry {
        all.insert(0, b'1');
    }
    let bare = all.iter().position(|digit| *digit != b'0');
    let Some(bare) = bare.and_then(|from| all.get(from..)) else {
        return Some("0".to_owned());
    };
    let sign = if negative { "-" } else { "" };
    Some(format!("{sign}{}", std::str::from_utf8(bare).ok()?))
}

/// Writes what a rewriter makes of `raw`, a whole string with its quotes; false where it stays as it is.
pub(super) fn rewrite(
    raw: &[u8],
    rewriter: impl FnOnce(&str) -> Option<String>,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> bool {
    let [b'"', inner @ .., b'"'] = raw else {
        out.extend_from_slice(MASK);
        return true;
    };
    unescape(inner, scratch);
    // What was scanned is UTF-8, and so are its escapes.
    let Ok(text) = std::str::from_utf8(scratch) else {
        out.extend_from_slice(MASK);
        return true;
    };
    match rewriter(text) {
        None => {
            out.extend_from_slice(raw);
            false
        }
        Some(new) => {
            write_string(&new, out);
            true
        }
    }
}

/// Undoes the escapes of a valid JSON string without its quotes.
pub(super) fn unescape(raw: &[u8], into: &mut Vec<u8>) {
    into.clear();
    let mut bytes = raw.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            into.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'b') => into.push(8),
            Some(b'f') => into.push(12),
            Some(b'n') => into.push(b'\n'),
            Some(b'r') => into.push(b'\r'),
            Some(b't') => into.push(b'\t'),
            Some(b'u') => {
                let mut code = hex(&mut bytes);
                if (0xd800..0xdc00).contains(&code) {
                    bytes.by_ref().take(2).for_each(drop);
                    code = 0x1_0000u32.wrapping_add(((code & 0x3ff) << 10) | (hex(&mut bytes) & 0x3ff));
                }
                let mut buffer = [0; 4];
                let found = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                into.extend_from_slice(found.encode_utf8(&mut buffer).as_bytes());
            }
            Some(same) => into.push(same),
            None => {}
        }
    }
}

fn hex(bytes: &mut impl Iterator<Item = u8>) -> u32 {
    bytes.take(4).fold(0, |value, digit| {
        (value << 4) | char::from(digit).to_digit(16).unwrap_or_default()
    })
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for found in text.chars() {
        match found {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\0'..='\u{1f}' => {
                let mut escape = String::new();
                // Writing into a string cannot fail.
                let _ = write!(escape, "\\u{:04x}", u32::from(found));
                out.extend_from_slice(escape.as_bytes());
            }
            other => {
                let mut buffer = [0; 4];
                out.extend_from_slice(other.encode_utf8(&mut buffer).as_bytes());
            }
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(transform: Transform, raw: &str) -> String {
        let tokens = |value: &[u8]| format!("<{}>", String::from_utf8_lossy(value));
        let mut out = Vec::new();
        transform.apply(raw.as_bytes(), Some(&tokens), Some(2026), &mut Vec::new(), &mut out);
        let out = String::from_utf8(out).expect("UTF-8");
        assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok(), "{out}");
        out
    }

    #[test]
    fn rule_9_year_keeps_four_digits_or_nothing() {
        for (raw, shown) in [
            (r#""1974-12-25""#, r#""1974""#),
            (r#""1974-12-25T14:35:45-05:00""#, r#""1974""#),
            (r#""1974""#, r#""1974""#),
            (r#""\u00319\u00374-12""#, r#""1974""#),
            (r#""974-12""#, r#""***""#),
            (r#""25.12.1974""#, r#""***""#),
            (r#""""#, r#""***""#),
            (r#"" 1974""#, r#""***""#),
            (r#""١٩٧٤""#, r#""***""#),
            (r#""123456789""#, r#""***""#),
            (r#""19741225""#, r#""***""#),
            ("19741225", r#""***""#),
            ("1974", r#""1974""#),
            ("1974.5", r#""***""#),
            ("-1974", r#""***""#),
            ("974", r#""***""#),
        ] {
            assert_eq!(applied(Transform::Year, raw), shown, "{raw}");
        }
    }

    #[test]
    fn rule_9_birth_years_of_the_very_old_are_not_told() {
        for (raw, shown) in [
            (r#""1974-12-25""#, r#""1974""#),
            (r#""1937-01-01""#, r#""1937""#),
            (r#""1936-12-31""#, r#""***""#),
            (r#""0001""#, r#""***""#),
            (r#""2026""#, r#""2026""#),
            (r#""2027-01-01""#, r#""2027""#),
            (r#""19741225""#, r#""***""#),
            ("1974", r#""1974""#),
        ] {
            assert_eq!(applied(Transform::BirthYear, raw), shown, "{raw}");
        }
        let mut out = Vec::new();
        Transform::BirthYear.apply(b"\"1974\"", None, None, &mut Vec::new(), &mut out);
        assert_eq!(out, MASK);
    }

    #[test]
    fn rule_9_months_of_dates() {
        for (raw, shown) in [
            (r#""1974-12-25""#, r#""1974-12""#),
            (r#""1974-12""#, r#""1974-12""#),
            (r#""1974""#, r#""1974""#),
            (r#""1974-12-25T14:35:45.123-05:00""#, r#""1974-12""#),
            (r#""1974-12-25T14:35:45Z""#, r#""1974-12""#),
            (r#""1974-13-25""#, r#""***""#),
            (r#""1974-00""#, r#""***""#),
            (r#""1974-12-32""#, r#""***""#),
            (r#""1974-12-25 14:35""#, r#""***""#),
            (r#""1974-12-25Tcanary""#, r#""***""#),
            (r#""1974-12-2""#, r#""***""#),
            (r#""1974-1""#, r#""***""#),
            (r#""1974-""#, r#""***""#),
            (r#""12/25/1974""#, r#""***""#),
            ("197412", r#""***""#),
        ] {
            assert_eq!(applied(Transform::YearMonth, raw), shown, "{raw}");
        }
    }

    #[test]
    fn rule_9_areas_of_zip_codes() {
        for (raw, shown) in [
            (r#""02139""#, r#""021""#),
            (r#""02139-4307""#, r#""021""#),
            (r#""021394307""#, r#""021""#),
            (r#""021""#, r#""021""#),
            (r#""03601""#, r#""000""#),
            (r#""82101-1234""#, r#""000""#),
            ("12345", r#""123""#),
            ("2139", r#""***""#),
            ("12345.0", r#""***""#),
            (r#""K1A 0B1""#, r#""***""#),
            (r#"" 02139""#, r#""***""#),
            (r#""""#, r#""***""#),
        ] {
            assert_eq!(applied(Transform::Zip3, raw), shown, "{raw}");
        }
    }

    #[test]
    fn rule_9_numbers_are_rounded_by_their_digits() {
        for (raw, shown) in [
            ("72.5", "73"),
            ("72.4999999999999999999999999999", "72"),
            ("-72.5", "-73"),
            ("-0.4", "0"),
            ("-0.5", "-1"),
            ("0.5", "1"),
            ("0.05", "0"),
            ("99.95", "100"),
            ("999999999999999999999999999.5", "1000000000000000000000000000"),
            ("1.5e1", "15"),
            ("1.5E+3", "1500"),
            ("15e-1", "2"),
            ("5e-1", "1"),
            ("5e-2", "0"),
            ("5e-99999999999999999999999", "0"),
            ("0e99999999999999999999999", "0"),
            ("-0", "0"),
            ("1.10", "1"),
            ("12", "12"),
            ("1e99999999999999999999999", r#""***""#),
            ("1e1025", r#""***""#),
            (r#""72.5""#, r#""73""#),
            (r#""-1e2""#, r#""-100""#),
            (r#""072""#, r#""***""#),
            (r#""72 kg""#, r#""***""#),
            (r#""7.""#, r#""***""#),
            (r#"".5""#, r#""***""#),
            (r#""+5""#, r#""***""#),
            (r#""1e""#, r#""***""#),
            (r#""""#, r#""***""#),
            (r#""-""#, r#""***""#),
        ] {
            assert_eq!(applied(Transform::Round, raw), shown, "{raw}");
        }
    }

    #[test]
    fn rule_9_last4_counts_characters_after_unescaping() {
        for (raw, shown) in [
            (r#""123-45-6789""#, r#""***6789""#),
            (r#""12345""#, r#""***2345""#),
            (r#""1234""#, r#""***""#),
            (r#""""#, r#""***""#),
            (r#""\u0031\u0032\u0033\u0034""#, r#""***""#),
            (r#""éééé""#, r#""***""#),
            (r#""aéééé""#, r#""***éééé""#),
            (r#""a😀😀\ud83d\ude00😀""#, r#""***😀😀😀😀""#),
            (r#""abc\"\\\n\u0001""#, r#""***\"\\\u000a\u0001""#),
            ("123456789", r#""***6789""#),
            ("1.10", r#""***""#),
        ] {
            assert_eq!(applied(Transform::Last4, raw), shown, "{raw}");
        }
    }

    #[test]
    fn tokenize_sees_the_plain_value() {
        assert_eq!(applied(Transform::Tokenize, r#""\u0061\/b""#), r#""<a/b>""#);
        assert_eq!(applied(Transform::Tokenize, r#""a\"b""#), r#""<a\"b>""#);
        assert_eq!(applied(Transform::Tokenize, "1.10"), r#""<1.10>""#);
        let mut out = Vec::new();
        Transform::Tokenize.apply(b"\"a\"", None, None, &mut Vec::new(), &mut out);
        assert_eq!(out, MASK);
    }

    #[test]
    fn names_are_those_of_the_policy_file() {
        assert_eq!(Transform::from_name("last4"), Some(Transform::Last4));
        assert_eq!(Transform::from_name("Last4"), None);
    }
}
