//! Recognisers of identifiers in text. They read folded, decoded text, in time linear in its length.

use super::rules::{Action, DetectEntry, RulesError};

/// What a policy looks for, and what is looked for besides because no log may hold it.
pub(super) struct Detectors {
    entries: Vec<DetectEntry>,
}

/// Who found something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finder {
    /// A recogniser.
    Known(Detector),
    /// The entry of that index, by its own pattern.
    Own(u16),
}

impl Detectors {
    /// Compiles entries.
    ///
    /// # Errors
    /// A pattern that can't be used.
    pub(super) fn new(entries: Vec<DetectEntry>) -> Result<Self, RulesError> {
        Ok(Self { entries })
    }

    /// A policy that looks for nothing.
    pub(super) fn none() -> Self {
        Self { entries: Vec::new() }
    }

    /// Whether the policy looks for anything.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether anything could be found in any piece of these raw bytes of a target: plain ASCII without escapes.
    pub(super) fn may_hold(&self, raw: &[u8]) -> bool {
        may_hold(raw)
    }

    /// Every hit in a folded text, in order and apart. `context` is the folded name of the parameter or of the segment before.
    pub(super) fn scan(&self, text: &str, context: &str) -> Vec<Hit> {
        if announces_mrn(context) && is_mrn_body(text) {
            let finder = Finder::Known(Detector::Mrn);
            return vec![Hit {
                finder,
                start: 0,
                end: text.len(),
            }];
        }
        scan(text)
    }

    /// What the policy does with what was found: `None` where only logs hide it, `Some(None)` where `on_detect` says.
    pub(super) fn action(&self, finder: Finder) -> Option<Option<Action>> {
        self.entry(finder).map(|entry| entry.action)
    }

    /// The name of who found it, for answers, audit records and metrics.
    pub(super) fn code(&self, finder: Finder) -> String {
        match finder {
            Finder::Known(detector) => detector.code().to_owned(),
            Finder::Own(_) => self.entry(finder).map_or_else(String::new, |entry| entry.name.clone()),
        }
    }

    fn entry(&self, finder: Finder) -> Option<&DetectEntry> {
        match finder {
            Finder::Known(detector) => self.entries.iter().find(|entry| entry.name == detector.code()),
            Finder::Own(index) => self.entries.get(usize::from(index)),
        }
    }
}

/// A recogniser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detector {
    /// A US social security number, with dashes, spaces, dots or as nine bare digits. Areas 000, 666 and 900 to 999,
    /// group 00 and serial 0000 were never issued (SSA, POMS RM 10201.035). No sample number is let through.
    Ssn,
    /// An e-mail address with a domain of two labels or more.
    Email,
    /// A phone number of the North American Numbering Plan, as it is usually written in the US; ten bare digits count.
    Phone,
    /// `MRN`, then up to three of ` :-=#|._/`, then 5 to 10 letters and digits, at least 3 of them digits.
    Mrn,
}

impl Detector {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ssn, Self::Email, Self::Phone, Self::Mrn];

    /// Its name in a policy file, in audit records and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Ssn => "ssn",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Mrn => "mrn",
        }
    }

    /// The recogniser of this name in a policy file.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|detector| detector.code() == code)
    }
}

/// A stretch of text that a recogniser found, in bytes. Stretches do not overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) finder: Finder,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Every hit in a folded text, in order.
pub(super) fn scan(text: &str) -> Vec<Hit> {
    let bytes = text.as_bytes();
    let mut hits = Vec::new();
    // The shortest of all that can be found is `a@b.cd`.
    if bytes.len() < 6 {
        return hits;
    }
    let (digits, at, letter) = ingredients(bytes);
    if digits >= 9 {
        scan_digits(bytes, &mut hits);
    }
    if at {
        scan_email(bytes, &mut hits);
    }
    if letter && digits >= 3 {
        scan_mrn(bytes, &mut hits);
    }
    if hits.len() > 1 {
        hits.sort_by_key(|hit| (hit.start, hit.end));
        // Where two meet, the first one's stretch grows over the other: all of it goes.
        hits.dedup_by(|next, kept| {
            let meets = next.start < kept.end;
            if meets {
                kept.end = kept.end.max(next.end);
            }
            meets
        });
    }
    hits
}

/// Whether anything could be found in any piece of these bytes: a quick look at what every recogniser needs.
pub(super) fn may_hold(bytes: &[u8]) -> bool {
    let (digits, at, letter) = ingredients(bytes);
    let word = || {
        memchr::memchr2_iter(b'm', b'M', bytes).any(|at| {
            bytes
                .get(at..)
                .and_then(|rest| rest.get(..3))
                .is_some_and(|w| w.eq_ignore_ascii_case(b"mrn"))
        })
    };
    digits >= 9 || at || (letter && digits >= 3 && word())
}

/// How many digits, whether an `@`, whether an `m`.
fn ingredients(bytes: &[u8]) -> (usize, bool, bool) {
    let (mut digits, mut at, mut letter) = (0_usize, false, false);
    for &b in bytes {
        digits = digits.wrapping_add(usize::from(b.is_ascii_digit()));
        at |= b == b'@';
        letter |= b | 0x20 == b'm';
    }
    (digits, at, letter)
}

/// Whether a parameter's name or a path segment says that a medical record number follows: `mrn`, `patient_mrn`.
pub(super) fn announces_mrn(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes
        .len()
        .checked_sub(3)
        .and_then(|at| bytes.get(at..))
        .is_some_and(|end| end.eq_ignore_ascii_case(b"mrn"))
}

/// Whether a value alone could be a medical record number.
pub(super) fn is_mrn_body(value: &str) -> bool {
    let value = value.trim();
    !value.is_empty() && mrn_body(value.as_bytes(), 0) == Some(value.len())
}

fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or_default()
}

fn before(bytes: &[u8], at: usize, back: usize) -> u8 {
    at.checked_sub(back).map_or(0, |at| byte(bytes, at))
}

/// How many digits stand at `at`, counted up to 16.
fn digits(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.iter().take(16).take_while(|b| b.is_ascii_digit()).count()
}

fn number(bytes: &[u8], at: usize, length: usize) -> u32 {
    let digits = bytes.get(at..at.saturating_add(length)).unwrap_or_default();
    digits.iter().fold(0, |n: u32, &b| {
        n.wrapping_mul(10).wrapping_add(u32::from(b.wrapping_sub(b'0')))
    })
}

/// A dash or dot, or none, with blanks around it: its end, and whether it is a dot. `None` where nothing separates.
fn separator(bytes: &[u8], at: usize) -> Option<(usize, bool)> {
    let mut end = at;
    let mut dot = false;
    let mut mark = false;
    for &b in bytes.get(at..).unwrap_or_default().iter().take(3) {
        match b {
            b' ' | b'+' => {}
            b'-' | b'.' if !mark => {
                mark = true;
                dot = b == b'.';
            }
            _ => break,
        }
        end = end.saturating_add(1);
    }
    (end > at).then_some((end, dot))
}

/// Part of a dotted run of numbers: an OID, a version, an IP address.
fn is_dotted(bytes: &[u8], start: usize, end: usize) -> bool {
    (before(bytes, start, 1) == b'.' && before(bytes, start, 2).is_ascii_digit())
        || (byte(bytes, end) == b'.' && byte(bytes, end.saturating_add(1)).is_ascii_digit())
}

fn scan_digits(bytes: &[u8], hits: &mut Vec<Hit>) {
    let mut at = 0_usize;
    while let Some(skip) = bytes
        .get(at..)
        .and_then(|rest| rest.iter().position(u8::is_ascii_digit))
    {
        let start = at.saturating_add(skip);
        let rest = bytes.get(start..).unwrap_or_default();
        let run = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        at = start.saturating_add(run);
        let found = match run {
            3 => separated_ssn(bytes, start).or_else(|| separated_phone(bytes, start)),
            9 => bare_ssn(bytes, start),
            10 | 11 => bare_phone(bytes, start, run),
            _ => None,
        };
        if let Some(hit) = found {
            at = at.max(hit.end);
            hits.push(hit);
        }
    }
}

fn is_issued(area: u32, group: u32, serial: u32) -> bool {
    area != 0 && area != 666 && area < 900 && group != 0 && serial != 0
}

fn separated_ssn(bytes: &[u8], start: usize) -> Option<Hit> {
    let (group, dot1) = separator(bytes, start.saturating_add(3))?;
    if digits(bytes, group) != 2 {
        return None;
    }
    let (serial, dot2) = separator(bytes, group.saturating_add(2))?;
    if digits(bytes, serial) != 4 {
        return None;
    }
    let end = serial.saturating_add(4);
    let issued = is_issued(
        number(bytes, start, 3),
        number(bytes, group, 2),
        number(bytes, serial, 4),
    );
    if !issued || (dot1 && dot2 && is_dotted(bytes, start, end)) {
        return None;
    }
    Some(Hit {
        finder: Finder::Known(Detector::Ssn),
        start,
        end,
    })
}

fn bare_ssn(bytes: &[u8], start: usize) -> Option<Hit> {
    let end = start.saturating_add(9);
    let named = start
        .checked_sub(3)
        .and_then(|at| bytes.get(at..start))
        .is_some_and(|word| word.eq_ignore_ascii_case(b"ssn"));
    if (before(bytes, start, 1).is_ascii_alphanumeric() && !named) || byte(bytes, end).is_ascii_alphanumeric() {
        return None;
    }
    let group = start.saturating_add(3);
    let issued = is_issued(
        number(bytes, start, 3),
        number(bytes, group, 2),
        number(bytes, group.saturating_add(2), 4),
    );
    if !issued || is_dotted(bytes, start, end) || is_snomed(bytes, start, end) {
        return None;
    }
    Some(Hit {
        finder: Finder::Known(Detector::Ssn),
        start,
        end,
    })
}

/// A SNOMED CT code of nine digits: named as one, with a partition that exists and the right check digit
/// (SNOMED CT release file specification, 6). A random SSN after that system passes in one case of some hundreds.
fn is_snomed(bytes: &[u8], start: usize, end: usize) -> bool {
    const SYSTEM: &[u8] = b"snomed.info/sct|";
    let named = bytes.get(..start).is_some_and(|head| head.ends_with(SYSTEM));
    let partition = bytes.get(end.saturating_sub(3)..end.saturating_sub(1));
    named && partition == Some(b"00") && bytes.get(start..end).is_some_and(verhoeff)
}

/// Verhoeff's check over the dihedral group of order ten.
fn verhoeff(code: &[u8]) -> bool {
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

/// `NXX`, neither `N11` nor (for an area) `N9X`, which are not assigned (NANPA).
fn is_nanp(area: u32, exchange: u32) -> bool {
    let assigned = |n: u32| n >= 200 && n % 100 != 11;
    assigned(area) && assigned(exchange) && area / 10 % 10 != 9
}

fn separated_phone(bytes: &[u8], start: usize) -> Option<Hit> {
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
    Some(Hit {
        finder: Finder::Known(Detector::Phone),
        start,
        end: line_end,
    })
}

fn bare_phone(bytes: &[u8], start: usize, run: usize) -> Option<Hit> {
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
    Some(Hit {
        finder: Finder::Known(Detector::Phone),
        start,
        end,
    })
}

fn is_email_local(b: u8) -> bool {
    !b.is_ascii() || b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b)
}

fn scan_email(bytes: &[u8], hits: &mut Vec<Hit>) {
    for at in memchr::memchr_iter(b'@', bytes) {
        let head = bytes.get(..at).unwrap_or_default();
        // A `+` at the end of the local part was read as a space.
        let blank = usize::from(head.last() == Some(&b' '));
        let local = head
            .iter()
            .rev()
            .skip(blank)
            .take_while(|&&b| is_email_local(b))
            .count();
        let domain_start = at.saturating_add(1);
        let domain = bytes.get(domain_start..).unwrap_or_default();
        let allowed = |b: u8| !b.is_ascii() || b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
        let mut length = domain.iter().take_while(|&&b| allowed(b)).count();
        while length > 0 && matches!(byte(domain, length.wrapping_sub(1)), b'.' | b'-') {
            length = length.wrapping_sub(1);
        }
        let domain = domain.get(..length).unwrap_or_default();
        let Some(dot) = memchr::memrchr(b'.', domain) else {
            continue;
        };
        let top = domain.get(dot.saturating_add(1)..).unwrap_or_default();
        if local == 0 || dot == 0 || top.len() < 2 || top.iter().any(u8::is_ascii_digit) {
            continue;
        }
        hits.push(Hit {
            finder: Finder::Known(Detector::Email),
            start: at.saturating_sub(blank).saturating_sub(local),
            end: domain_start.saturating_add(length),
        });
    }
}

fn scan_mrn(bytes: &[u8], hits: &mut Vec<Hit>) {
    for start in memchr::memchr2_iter(b'm', b'M', bytes) {
        let word = bytes.get(start..start.saturating_add(3)).unwrap_or_default();
        if !word.eq_ignore_ascii_case(b"mrn") || before(bytes, start, 1).is_ascii_alphabetic() {
            continue;
        }
        let after = start.saturating_add(3);
        let gap = bytes.get(after..).unwrap_or_default().iter().take(3);
        let gap = gap.take_while(|b| b" :-=#|._/".contains(b)).count();
        if let Some(end) = mrn_body(bytes, after.saturating_add(gap)) {
            hits.push(Hit {
                finder: Finder::Known(Detector::Mrn),
                start,
                end,
            });
        }
    }
}

/// Where a medical record number that starts at `at` ends: 5 to 10 letters and digits with at least 3 digits, or 5 to
/// 10 digits with single dashes between.
fn mrn_body(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let length = rest.iter().take(11).take_while(|b| b.is_ascii_alphanumeric()).count();
    let numerals = rest.iter().take(length).filter(|b| b.is_ascii_digit()).count();
    if (5..=10).contains(&length) && numerals >= 3 {
        return Some(at.saturating_add(length));
    }
    let mut end = 0_usize;
    let mut numerals = 0_usize;
    for (index, &b) in rest.iter().take(20).enumerate() {
        match b {
            b'0'..=b'9' => {
                numerals = numerals.saturating_add(1);
                end = index.saturating_add(1);
            }
            b'-' if end == index && index > 0 => {}
            _ => break,
        }
    }
    let bounded = !byte(rest, end).is_ascii_alphanumeric();
    ((5..=10).contains(&numerals) && bounded).then_some(at.saturating_add(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(text: &str) -> Vec<(Detector, &str)> {
        scan(text)
            .into_iter()
            .map(|hit| match hit.finder {
                Finder::Known(detector) => (detector, &text[hit.start..hit.end]),
                Finder::Own(_) => panic!("no own pattern"),
            })
            .collect()
    }

    #[test]
    fn social_security_numbers() {
        for (text, stretch) in [
            ("512-34-5678", "512-34-5678"),
            ("512 34 5678", "512 34 5678"),
            ("512.34.5678", "512.34.5678"),
            ("512345678", "512345678"),
            ("512 - 34 - 5678", "512 - 34 - 5678"),
            ("512-34 5678", "512-34 5678"),
            ("512+34+5678", "512+34+5678"),
            ("ssn:512-34-5678.", "512-34-5678"),
            ("ssn512345678", "512345678"),
            ("SSN512-34-5678", "512-34-5678"),
            ("id-512-34-5678-x", "512-34-5678"),
            ("a,512345678,b", "512345678"),
            ("http://hl7.org/fhir/sid/us-ssn|512345678", "512345678"),
            ("http://snomed.info/sct|512345678", "512345678"),
            ("_512345678_", "512345678"),
            ("078-05-1120", "078-05-1120"),
            ("899-99-9999", "899-99-9999"),
        ] {
            assert_eq!(found(text), [(Detector::Ssn, stretch)], "{text}");
        }
    }

    #[test]
    fn phone_numbers() {
        for (text, stretch) in [
            ("(415) 555-0132", "(415) 555-0132"),
            ("(415)555-0132", "(415)555-0132"),
            ("(415) 5550132", "(415) 5550132"),
            ("415-555-0132", "415-555-0132"),
            ("415.555.0132", "415.555.0132"),
            ("415 555 0132", "415 555 0132"),
            ("415 555-0132", "415 555-0132"),
            ("+1 415 555 0132", "415 555 0132"),
            ("+1-415-555-0132", "415-555-0132"),
            ("+1 (415) 555-0132", "(415) 555-0132"),
            ("1.415.555.0132", "415.555.0132"),
            ("+14155550132", "14155550132"),
            ("14155550132", "14155550132"),
            ("4155550132", "4155550132"),
            ("tel:4155550132", "4155550132"),
            ("415-555-0132x12", "415-555-0132"),
        ] {
            assert_eq!(found(text), [(Detector::Phone, stretch)], "{text}");
        }
    }

    #[test]
    fn email_addresses() {
        for (text, stretch) in [
            ("peter@example.org", "peter@example.org"),
            ("mailto:p.j+tag@mail.example.co.uk.", "p.j+tag@mail.example.co.uk"),
            ("peter @example.org", "peter @example.org"),
            ("josé@exämple.org", "josé@exämple.org"),
            ("<peter@example.org>", "peter@example.org"),
        ] {
            assert_eq!(found(text), [(Detector::Email, stretch)], "{text}");
        }
    }

    #[test]
    fn medical_record_numbers() {
        for (text, stretch) in [
            ("MRN12345", "MRN12345"),
            ("mrn:12345678", "mrn:12345678"),
            ("MRN-A12345", "MRN-A12345"),
            ("MRN #1234567", "MRN #1234567"),
            ("MRN=1234567", "MRN=1234567"),
            ("http://hospital.example/mrn|1234567", "mrn|1234567"),
            ("MRN 123-456-7", "MRN 123-456-7"),
            ("x_mrn_123456", "mrn_123456"),
        ] {
            assert_eq!(found(text), [(Detector::Mrn, stretch)], "{text}");
        }
        assert!(announces_mrn("mrn") && announces_mrn("patientMRN") && !announces_mrn("rn") && !announces_mrn("mrnx"));
        assert!(is_mrn_body("A123456") && is_mrn_body(" 12345 ") && !is_mrn_body("1234") && !is_mrn_body("lookup"));
    }

    #[test]
    fn look_alikes_are_left_alone() {
        for text in [
            "",
            "000-12-3456",
            "666-12-3456",
            "900-12-3456",
            "123-00-4567",
            "123-45-0000",
            "000123456",
            "1512345678",
            "51234567",
            "512-34-56789",
            "1512-34-5678",
            "5123-45-678",
            "12345-6789",
            "512-345-678",
            "2024-01-15",
            "2024-01-15T10:30:00.000Z",
            "20240115103000",
            "1700000000",
            "1700000000000",
            "550e8400-e29b-41d4-a716-446655440000",
            "123e4567-e89b-12d3-a456-426614174000",
            "a512345678f",
            "d41d8cd98f00b204e9800998ecf8427e",
            "x512345678",
            "512345678x",
            "urn:oid:2.16.840.1.113883.4.1",
            "urn:oid:1.2.512.34.5678.9",
            "2.16.512.34.5678",
            "1.2.512345678.4",
            "192.168.100.200",
            "10.415.555.0132.7",
            "v1.2.3",
            "8867-4",
            "http://loinc.org|55284-4",
            "http://snomed.info/sct|271649006",
            "http://snomed.info/sct|386661006",
            "http://hl7.org/fhir/sid/us-npi|1234567893",
            "0002-7597-01",
            "978-0-13-468599-1",
            "111-1234567-1234567",
            "1-800-FLOWERS",
            "115-555-0132",
            "411-555-0132",
            "415-055-0132",
            "415-911-0132",
            "490-555-01327",
            "290-555-0132",
            "5550132",
            "555-0132",
            "@handle",
            "pkg@1.2.3",
            "user@localhost",
            "a@b",
            "a@b.c",
            "@example.org",
            "mrn",
            "mrn lookup",
            "mrn-search",
            "mrn 1234",
            "MRN:A1234567890B",
            "charmrn12345",
            "internal",
            "ORD-2024-000123",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }

    #[test]
    fn several_hits_come_in_order_and_apart() {
        assert_eq!(
            found("a@b.org 512-34-5678,415-555-0132 mrn:12345"),
            [
                (Detector::Email, "a@b.org"),
                (Detector::Ssn, "512-34-5678"),
                (Detector::Phone, "415-555-0132"),
                (Detector::Mrn, "mrn:12345"),
            ]
        );
        assert_eq!(found("mrn:512345678"), [(Detector::Mrn, "mrn:512345678")]);
        assert_eq!(found("512-34-5678@x.org"), [(Detector::Ssn, "512-34-5678@x.org")]);
    }

    proptest! {
        #[test]
        fn the_quick_look_overlooks_nothing(text in "([0-9]{1,4}|[-. @+()|:]|mrn|Mrn|x\\.org|[a-f]){0,20}") {
            prop_assert!(may_hold(text.as_bytes()) || scan(&text).is_empty());
        }

        #[test]
        fn hits_lie_in_the_text_and_apart(text in "([0-9]{1,4}|[-. @+()|:]|mrn|MRN|x\\.org|é|[a-f]){0,30}") {
            let hits = scan(&text);
            let mut last = 0;
            for hit in hits {
                prop_assert!(hit.start >= last && hit.start < hit.end);
                prop_assert!(text.get(hit.start..hit.end).is_some());
                last = hit.end;
            }
        }

        #[test]
        fn every_issued_ssn_is_found(area in 1u32..900, group in 1u32..100, serial in 1u32..10000, style in 0usize..4, pad in 0usize..3) {
            prop_assume!(area != 666);
            let s = ["-", " ", ".", ""][style];
            let (before, after) = [("", ""), ("a ", " b"), ("x|", ",y")][pad];
            let text = format!("{before}{area:03}{s}{group:02}{s}{serial:04}{after}");
            prop_assert_eq!(scan(&text).len(), 1);
        }
    }
}
