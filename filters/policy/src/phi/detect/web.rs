//! Web addresses within a value.
//!
//! Format: `http://`, `https://` or `ftp://` and an authority, or `www.` and a domain (RFC 3986; WHATWG URL). No checksum, no context. The names of code
//! systems and profiles are no addresses of persons: what a `|` follows (FHIR R4 search, 3.1.1.4.10), and the hosts of HL7, LOINC, SNOMED,
//! UCUM, NLM, W3C and DICOM.

use super::text::{before, byte, run};
use super::{Detector, Hit};

static TERMINOLOGIES: [&str; 10] = [
    "hl7.org",
    "loinc.org",
    "snomed.info",
    "unitsofmeasure.org",
    "nlm.nih.gov",
    "fhir.org",
    "w3.org",
    "nema.org",
    "ihe.net",
    "ama-assn.org",
];

pub(super) fn scan(bytes: &[u8], hits: &mut Vec<Hit>) {
    let mut end = 0_usize;
    for at in memchr::memchr3_iter(b':', b'w', b'W', bytes) {
        if at < end {
            continue;
        }
        let rest = bytes.get(at..).unwrap_or_default();
        let (start, host) = if rest.starts_with(b"://") {
            let length = bytes.get(..at).unwrap_or_default();
            let length = length
                .iter()
                .rev()
                .take(6)
                .take_while(|b| b.is_ascii_alphabetic())
                .count();
            let start = at.saturating_sub(length);
            let scheme = bytes.get(start..at).unwrap_or_default();
            let known = [&b"http"[..], b"https", b"ftp"]
                .iter()
                .any(|known| known.eq_ignore_ascii_case(scheme));
            if !known {
                continue;
            }
            (start, at.saturating_add(3))
        } else if rest.get(..4).is_some_and(|w| w.eq_ignore_ascii_case(b"www."))
            && !before(bytes, at, 1).is_ascii_alphanumeric()
        {
            (at, at)
        } else {
            continue;
        };
        let host_length = run(bytes, host, usize::MAX, |b| {
            b.is_ascii_alphanumeric() || b"-._~@[]".contains(&b) || !b.is_ascii()
        });
        let host_end = host.saturating_add(host_length);
        let length = run(bytes, host_end, usize::MAX, |b| {
            b > b' ' && !b"|,\"'<>()\\^`{}".contains(&b)
        });
        end = host_end.saturating_add(length);
        if host_length == 0 || byte(bytes, end) == b'|' {
            continue;
        }
        let authority = bytes.get(host..host_end).unwrap_or_default();
        if TERMINOLOGIES.iter().any(|known| is_within(authority, known.as_bytes())) {
            continue;
        }
        while end > host_end && matches!(byte(bytes, end.saturating_sub(1)), b'.' | b';' | b'!' | b'?') {
            end = end.saturating_sub(1);
        }
        hits.push(Hit::of(Detector::Url, start, end));
    }
}

/// Whether a host is a domain or within it.
fn is_within(host: &[u8], domain: &[u8]) -> bool {
    let Some(at) = host.len().checked_sub(domain.len()) else {
        return false;
    };
    let same = host.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(domain));
    same && (at == 0 || before(host, at, 1) == b'.')
}
