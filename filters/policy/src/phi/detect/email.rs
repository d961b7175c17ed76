//! E-mail addresses.
//!
//! Format: RFC 5322's dot-atom, `@`, a domain of two labels or more, of which the last has two letters or more and no digit; letters of any script
//! (RFC 6531); or an address in brackets. No checksum, no context.

use super::text::{byte, run};
use super::{Detector, Hit};

fn is_local(b: u8) -> bool {
    !b.is_ascii() || b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b)
}

pub(super) fn scan(bytes: &[u8], hits: &mut Vec<Hit>) {
    let mut last = 0_usize;
    for at in memchr::memchr_iter(b'@', bytes) {
        // What stands before the last `@` was looked at then.
        let head = bytes.get(last..at).unwrap_or_default();
        last = at.saturating_add(1);
        // A `+` at the end of the local part was read as a space.
        let blank = usize::from(head.last() == Some(&b' '));
        let local = head.iter().rev().skip(blank).take_while(|&&b| is_local(b)).count();
        let domain_start = at.saturating_add(1);
        let domain = bytes.get(domain_start..).unwrap_or_default();
        let start = at.saturating_sub(blank).saturating_sub(local);
        // An address in brackets stands for a domain (RFC 5321, 4.1.3).
        if local > 0 && domain.first() == Some(&b'[') {
            let length = run(domain, 1, 60, |b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b':'));
            if length > 1 && byte(domain, length.saturating_add(1)) == b']' {
                let end = domain_start.saturating_add(length).saturating_add(2);
                hits.push(Hit::of(Detector::Email, start, end));
            }
            continue;
        }
        let allowed = |b: u8| !b.is_ascii() || b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
        let mut length = domain.iter().take_while(|&&b| allowed(b)).count();
        while length > 0 && matches!(byte(domain, length.wrapping_sub(1)), b'.' | b'-') {
            length = length.wrapping_sub(1);
        }
        let domain = domain.get(..length).unwrap_or_default();
        let Some(dot) = memchr::memrchr(b'.', domain) else {
            continue;
        };
        // `logo@2x.png`: no domain ends so (IANA, root zone database).
        const PICTURES: [&[u8]; 6] = [b"png", b"jpg", b"jpeg", b"gif", b"svg", b"webp"];
        let top = domain.get(dot.saturating_add(1)..).unwrap_or_default();
        let picture = PICTURES.iter().any(|end| end.eq_ignore_ascii_case(top));
        if picture || local == 0 || dot == 0 || top.len() < 2 || top.iter().any(u8::is_ascii_digit) {
            continue;
        }
        hits.push(Hit::of(Detector::Email, start, domain_start.saturating_add(length)));
    }
}
