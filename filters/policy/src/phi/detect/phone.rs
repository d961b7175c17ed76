//! Phone and fax numbers.
//!
//! Format: ten digits of the North American Numbering Plan in the usual US spellings, bare ones too, with or without the country's 1; elsewhere's
//! numbers as `+`, country code and 9 to 15 digits in all (ITU-T E.164), in groups. A blank at the very start stands for a `+` that a query turned
//! into one. No checksum; areas and exchanges are `NXX`, neither `N11` nor (for an area) `N9X`, which are not assigned (NANPA). No context.

use super::text::{before, byte, digits, is_dotted, number, separator};
use super::{Detector, Hit};

fn is_nanp(area: u32, exchange: u32) -> bool {
    let assigned = |n: u32| n >= 200 && n % 100 != 11;
    assigned(area) && assigned(exchange) && area / 10 % 10 != 9
}

/// At a run of three digits.
pub(super) fn separated(bytes: &[u8], start: usize) -> Option<Hit> {
    let after_area = start.saturating_add(3);
    let bracket = before(bytes, start, 1) == b'(' && byte(bytes, after_area) == b')';
    let (exchange, dot1) = if bracket {
        let after = after_area.saturating_add(1);
        separator(bytes, after).unwrap_or((after, false))
    } else {
        separator(bytes, after_area)?
    };
    let (line, dot2) = match digits(bytes, exchange) {
        3 => separator(bytes, exchange.saturating_add(3))?,
        7 if bracket => (exchange.saturating_add(3), false),
        _ => return None,
    };
    let line_end = line.saturating_add(4);
    if digits(bytes, line) != 4 || !is_nanp(number(bytes, start, 3), number(bytes, exchange, 3)) {
        return None;
    }
    let country = before(bytes, start, 2) == b'1' && !before(bytes, start, 3).is_ascii_alphanumeric();
    if dot1 && dot2 && is_dotted(bytes, start, line_end) && !(country && byte(bytes, line_end) != b'.') {
        return None;
    }
    let start = if bracket { start.saturating_sub(1) } else { start };
    Some(Hit::of(Detector::Phone, start, line_end))
}

/// At a run of ten or eleven digits.
pub(super) fn bare(bytes: &[u8], start: usize, run: usize) -> Option<Hit> {
    let end = start.saturating_add(run);
    let area = end.saturating_sub(10);
    if run == 11 && byte(bytes, start) != b'1' {
        return None;
    }
    if before(bytes, start, 1).is_ascii_alphanumeric() || byte(bytes, end).is_ascii_alphanumeric() {
        return None;
    }
    if is_dotted(bytes, start, end) || !is_nanp(number(bytes, area, 3), number(bytes, area.saturating_add(3), 3)) {
        return None;
    }
    Some(Hit::of(Detector::Phone, start, end))
}

/// At a `+`, or the blank that was one. Country code 1 is the plan's own.
pub(super) fn international(bytes: &[u8], plus: usize) -> Option<Hit> {
    let first = plus.saturating_add(1);
    if before(bytes, plus, 1).is_ascii_alphanumeric() || !matches!(byte(bytes, first), b'2'..=b'9') {
        return None;
    }
    let (mut at, mut count) = (first, 0_usize);
    let end = loop {
        let run = digits(bytes, at);
        count = count.saturating_add(run);
        let end = at.saturating_add(run);
        // One blank, dash or dot, brackets around an area.
        let mut next = end;
        for _ in 0..2 {
            next = next.saturating_add(usize::from(b" -.()".contains(&byte(bytes, next))));
        }
        if next == end || count >= 15 || !byte(bytes, next).is_ascii_digit() {
            break end;
        }
        at = next;
    };
    // `+2024-01-01` is a date.
    let dated = digits(bytes, first) == 4 && byte(bytes, first.saturating_add(4)) == b'-';
    let whole = !byte(bytes, end).is_ascii_alphanumeric();
    ((9..=15).contains(&count) && whole && !dated).then(|| Hit::of(Detector::Phone, plus, end))
}
