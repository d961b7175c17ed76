//! IP addresses.
//!
//! Format: four numbers up to 255 without leading zeros and with dots (RFC 3986, 3.2.2), the first not 0; IPv6 as RFC 4291, 2.2 writes it. No checksum.
//! Look-alikes are left alone: longer dotted runs (OIDs, versions), what follows `v`, `version`, `release`, `build` or a product's slash, what goes on
//! as a version does (`1.2.3.4-rc1`), and four single digits unless `ip` announces them.

use std::net::Ipv6Addr;

use super::text::{before, byte, digits, number, run};
use super::{Detector, Hit};

/// Four numbers at `at`.
pub(super) fn v4(bytes: &[u8], at: usize, labelled: bool) -> Option<(usize, usize)> {
    let mut place = at;
    let mut single = true;
    for index in 0..4 {
        let length = digits(bytes, place);
        let value = number(bytes, place, length);
        let padded = length > 1 && byte(bytes, place) == b'0';
        if !(1..=3).contains(&length) || value > 255 || padded || (index == 0 && value == 0) {
            return None;
        }
        single &= length == 1;
        place = place.saturating_add(length);
        if index < 3 {
            if byte(bytes, place) != b'.' {
                return None;
            }
            place = place.saturating_add(1);
        }
    }
    let next = byte(bytes, place);
    let after = byte(bytes, place.saturating_add(1));
    let goes_on = next.is_ascii_alphanumeric()
        || (next == b'.' && after.is_ascii_digit())
        || (matches!(next, b'-' | b'+') && after.is_ascii_alphabetic());
    let dotted = before(bytes, at, 1) == b'.';
    let version = !labelled && (single || follows_version(bytes, at));
    (!goes_on && !dotted && !version).then_some((at, place))
}

static VERSIONS: [&[u8]; 12] = [
    b"v",
    b"ver",
    b"version",
    b"versions",
    b"release",
    b"releases",
    b"tag",
    b"tags",
    b"builds",
    b"build",
    b"oid",
    b"section",
];

/// Whether a name is that of a version.
pub(super) fn is_version(name: &str) -> bool {
    let bytes = name.as_bytes();
    follows_version(bytes, bytes.len())
}

fn follows_version(bytes: &[u8], at: usize) -> bool {
    let head = bytes.get(..at).unwrap_or_default();
    let gap = head
        .iter()
        .rev()
        .take(3)
        .take_while(|b| b" :=/-_+.\"".contains(b))
        .count();
    let product = head.last() == Some(&b'/') && before(bytes, at, 2).is_ascii_alphanumeric();
    let end = at.saturating_sub(gap);
    let head = bytes.get(..end).unwrap_or_default();
    let length = head
        .iter()
        .rev()
        .take(10)
        .take_while(|b| b.is_ascii_alphabetic())
        .count();
    let word = head.get(end.saturating_sub(length)..).unwrap_or_default();
    product || VERSIONS.iter().any(|version| version.eq_ignore_ascii_case(word))
}

/// Every IPv6 address.
pub(super) fn scan_v6(bytes: &[u8], hits: &mut Vec<Hit>) {
    let of_address = |b: u8| b.is_ascii_hexdigit() || b == b':' || b == b'.';
    let mut at = 0_usize;
    while let Some(skip) = bytes
        .get(at..)
        .and_then(|rest| rest.iter().position(|&b| of_address(b)))
    {
        let mut start = at.saturating_add(skip);
        let length = run(bytes, start, usize::MAX, of_address);
        at = start.saturating_add(length);
        let mut end = at;
        // `ip:2001:db8::1`: the letter that belongs to the word before goes with it.
        if before(bytes, start, 1).is_ascii_alphanumeric() {
            let word = run(bytes, start, 8, |b| b != b':');
            start = start.saturating_add(word);
        }
        if byte(bytes, start) == b':' && byte(bytes, start.saturating_add(1)) != b':' {
            start = start.saturating_add(1);
        }
        while end > start
            && matches!(byte(bytes, end.saturating_sub(1)), b'.' | b':')
            && !(byte(bytes, end.saturating_sub(1)) == b':' && before(bytes, end, 2) == b':')
        {
            end = end.saturating_sub(1);
        }
        let token = bytes.get(start..end).unwrap_or_default();
        let told = token.iter().any(u8::is_ascii_digit);
        let apart = !byte(bytes, end).is_ascii_alphanumeric();
        if !(6..=45).contains(&token.len()) || !told || !apart {
            continue;
        }
        let parsed = std::str::from_utf8(token)
            .ok()
            .and_then(|text| text.parse::<Ipv6Addr>().ok());
        if parsed.is_some() {
            hits.push(Hit::of(Detector::Ip, start, end));
        }
    }
}
