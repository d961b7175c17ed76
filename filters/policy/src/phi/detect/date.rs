//! Calendar dates in the spellings that URLs have.

use super::text::{byte, digits, number, run};

/// A date that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::phi) struct Date {
    /// Where it ends.
    pub(in crate::phi) end: usize,
    /// Its year; `None` where it has two digits only.
    pub(in crate::phi) year: Option<u32>,
}

static MONTHS: [&[u8]; 12] = [
    b"january",
    b"february",
    b"march",
    b"april",
    b"may",
    b"june",
    b"july",
    b"august",
    b"september",
    b"october",
    b"november",
    b"december",
];

fn is_year(year: u32) -> bool {
    (1800..2200).contains(&year)
}

fn is_day(month: u32, day: u32) -> bool {
    (1..=12).contains(&month) && (1..=31).contains(&day)
}

/// A date that starts at `at` and says more than a year: FHIR's `1970-03`, `1970-03-12` (with or without a time), `19700312`, `03/12/1970` and
/// `12.3.1970` in either order, `03121970`, two-digit years with slashes or dashes, and months by name.
pub(in crate::phi) fn at(bytes: &[u8], at: usize) -> Option<Date> {
    let date = match digits(bytes, at) {
        0 => by_month_name(bytes, at, None),
        1 | 2 => day_or_month_first(bytes, at),
        4 => year_first(bytes, at),
        8 => eight_digits(bytes, at),
        _ => None,
    }?;
    let next = byte(bytes, date.end);
    (!next.is_ascii_digit()).then_some(date)
}

fn eight_digits(bytes: &[u8], at: usize) -> Option<Date> {
    let two = |from: usize| number(bytes, at.saturating_add(from), 2);
    let four = |from: usize| number(bytes, at.saturating_add(from), 4);
    let end = at.saturating_add(8);
    if is_year(four(0)) && is_day(two(4), two(6)) {
        return Some(Date {
            end,
            year: Some(four(0)),
        });
    }
    let either = is_day(two(0), two(2)) || is_day(two(2), two(0));
    (is_year(four(4)) && either).then(|| Date {
        end,
        year: Some(four(4)),
    })
}

fn year_first(bytes: &[u8], at: usize) -> Option<Date> {
    let year = number(bytes, at, 4);
    let mark = byte(bytes, at.saturating_add(4));
    let month = at.saturating_add(5);
    let length = digits(bytes, month);
    if !is_year(year) || !b"-/._".contains(&mark) || !(1..=2).contains(&length) {
        return None;
    }
    let month_end = month.saturating_add(length);
    let month = number(bytes, month, length);
    let day = month_end.saturating_add(1);
    let length = digits(bytes, day);
    if byte(bytes, month_end) == mark && (1..=2).contains(&length) {
        let end = time_end(bytes, day.saturating_add(length));
        return is_day(month, number(bytes, day, length)).then_some(Date { end, year: Some(year) });
    }
    let alone = mark == b'-' && !matches!(byte(bytes, month_end), b'-' | b'_');
    (alone && is_day(month, 1)).then_some(Date {
        end: month_end,
        year: Some(year),
    })
}

/// The end of `T10:30:00.000+01:00` (FHIR R4 dateTime), as far as it follows.
fn time_end(bytes: &[u8], at: usize) -> usize {
    let pair = |at: usize| digits(bytes, at) == 2;
    let mut end = at;
    for (index, mark) in [b'T', b':', b':'].into_iter().enumerate() {
        let after = end.saturating_add(1);
        if byte(bytes, end) != mark || !pair(after) {
            if index == 0 {
                return at;
            }
            break;
        }
        end = after.saturating_add(2);
    }
    if byte(bytes, end) == b'.' {
        end = end
            .saturating_add(1)
            .saturating_add(digits(bytes, end.saturating_add(1)));
    }
    // A `+` that a query turned into a blank.
    let zone = end.saturating_add(1);
    match byte(bytes, end) {
        b'Z' => zone,
        b'+' | b'-' | b' '
            if pair(zone) && byte(bytes, zone.saturating_add(2)) == b':' && pair(zone.saturating_add(3)) =>
        {
            zone.saturating_add(5)
        }
        _ => end,
    }
}

fn day_or_month_first(bytes: &[u8], at: usize) -> Option<Date> {
    let length = digits(bytes, at);
    let one = number(bytes, at, length);
    let after = at.saturating_add(length);
    let mark = byte(bytes, after);
    let other_at = after.saturating_add(1);
    let other_length = digits(bytes, other_at);
    if !(1..=2).contains(&other_length) || !b"/-. _".contains(&mark) {
        let mut after = after;
        let ordinal = bytes.get(after..after.saturating_add(2)).unwrap_or_default();
        if [&b"st"[..], b"nd", b"rd", b"th"].contains(&ordinal) {
            after = after.saturating_add(2);
        }
        let of = bytes.get(after..after.saturating_add(4)).unwrap_or_default();
        if of == b" of " {
            after = after.saturating_add(3);
        }
        let gap = run(bytes, after, 2, |b| b" -._".contains(&b) || b == b'/');
        return by_month_name(bytes, after.saturating_add(gap), Some(one));
    }
    let other = number(bytes, other_at, other_length);
    let other_end = other_at.saturating_add(other_length);
    let year_at = other_end.saturating_add(1);
    let year_length = digits(bytes, year_at);
    let year = match year_length {
        4 => Some(number(bytes, year_at, 4)),
        2 if matches!(mark, b'/' | b'-' | b'.') => None,
        _ => return None,
    };
    let day = is_day(one, other) || is_day(other, one);
    let end = year_at.saturating_add(year_length);
    (byte(bytes, other_end) == mark && day && year.is_none_or(is_year)).then_some(Date { end, year })
}

/// `12 Mar 1970` after its day, or `March 12th, 1970`.
fn by_month_name(bytes: &[u8], at: usize, day: Option<u32>) -> Option<Date> {
    let length = run(bytes, at, 10, |b| b.is_ascii_alphabetic());
    let word = bytes.get(at..at.saturating_add(length)).unwrap_or_default();
    let named = |month: &[u8]| {
        let abbreviated = word.len() == 3 || (word.len() == 4 && month.starts_with(b"sept"));
        (abbreviated || word.len() == month.len())
            && month
                .get(..word.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(word))
    };
    if !MONTHS.iter().any(|month| named(month)) {
        return None;
    }
    let gap = |at: usize| at.saturating_add(run(bytes, at, 2, |b| b" -._,/".contains(&b)));
    let mut at = gap(at.saturating_add(length));
    let day = match day {
        Some(day) => day,
        None => {
            let length = digits(bytes, at);
            let day = number(bytes, at, length);
            at = at.saturating_add(length);
            at = at.saturating_add(run(bytes, at, 2, |b| b.is_ascii_alphabetic()));
            at = gap(at);
            if !(1..=2).contains(&length) {
                return None;
            }
            day
        }
    };
    let year = number(bytes, at, 4);
    let end = at.saturating_add(4);
    (digits(bytes, at) == 4 && is_year(year) && is_day(1, day)).then_some(Date { end, year: Some(year) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        for (text, end, year) in [
            ("1970-03-12", 10, 1970),
            ("1970-03", 7, 1970),
            ("1970-03-12T10:30:00+01:00,x", 25, 1970),
            ("1970/3/12", 9, 1970),
            ("19700312", 8, 1970),
            ("03121970", 8, 1970),
            ("31121970", 8, 1970),
            ("3/12/1970", 9, 1970),
            ("31.12.1970", 10, 1970),
            ("03-12-70", 8, 0),
            ("12 Mar 1970", 11, 1970),
            ("12-MAR-1970", 11, 1970),
            ("12Mar1970", 9, 1970),
            ("2nd of March 1970", 17, 1970),
            ("March 12th, 1970", 16, 1970),
            ("Sept. 3 1970", 12, 1970),
        ] {
            assert_eq!(
                at(text.as_bytes(), 0),
                Some(Date {
                    end,
                    year: (year > 0).then_some(year)
                }),
                "{text}"
            );
        }
        for text in [
            "",
            "1970",
            "1970-13-01",
            "1970-00",
            "99999999",
            "13/13/1970",
            "1.2.3",
            "1970-03-123",
            "12 Foo 1970",
            "123456",
            "Mars 3 1970",
            "1970-",
        ] {
            assert_eq!(at(text.as_bytes(), 0), None, "{text}");
        }
    }
}
