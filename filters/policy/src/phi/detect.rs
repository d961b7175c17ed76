//! Recognisers of identifiers in text. They read folded, decoded text, in time linear in its length.
//!
//! What is looked for are the identifiers of 45 CFR 164.514(b)(2)(i) that can stand in a URL. Each recogniser has a module that says its format, its
//! checksum, the context it asks for, and their sources. No value is let through for being a well-known sample.
//!
//! Context is a label in the text itself (`npi 1234567893`, `us-npi|1234567893`) or the name of the parameter or of the path segment before
//! (`npi=1234567893`, `/npi/1234567893`); see [`label`].
//!
//! SSNs, e-mail addresses, phone numbers and labelled medical record numbers are looked for whatever the policy names, since no log may hold them.
//! The others are looked for where the policy names them, and so are its own patterns.

mod account;
mod birth_date;
mod checksum;
mod date;
mod dea;
mod email;
mod geo;
mod ip;
mod label;
mod mac;
mod mbi;
mod mrn;
mod npi;
mod phone;
mod plate;
mod quick;
mod ssn;
mod text;
mod vin;
mod web;

use super::PhiPolicy;
use super::pattern::Patterns;
use super::rules::{Action, DetectEntry, RulesError};
use label::{Label, Labels};
use text::{byte, run};

pub(super) use date::at as date_at;

/// What a policy looks for, and what is looked for besides because no log may hold it.
pub(super) struct Detectors {
    entries: Vec<DetectEntry>,
    set: Set,
    patterns: Patterns,
}

/// Who found something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finder {
    /// A recogniser.
    Known(Detector),
    /// The entry of that index, by its own pattern.
    Own(u16),
}

/// A recogniser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detector {
    /// A US social security number, with dashes, spaces, dots or as nine bare digits. Areas 000, 666 and 900 to 999,
    /// group 00 and serial 0000 were never issued (SSA, POMS RM 10201.035). No sample number is let through.
    Ssn,
    /// An e-mail address with a domain of two labels or more.
    Email,
    /// A phone or fax number of the North American Numbering Plan, as it is usually written in the US; ten bare digits count. Others with `+`.
    Phone,
    /// `MRN`, then up to three of ` :-=#|._/`, then 5 to 10 letters and digits, at least 3 of them digits.
    Mrn,
    /// A national provider identifier: ten digits with their checksum, labelled, or with the prefix 80840 (45 CFR 162.406).
    Npi,
    /// A DEA registration number: two letters and seven digits with their checksum.
    Dea,
    /// A Medicare beneficiary identifier in CMS's format; labelled, a claim number as it was before.
    Mbi,
    /// A date that a label says is one of birth.
    BirthDate,
    /// An IP address, version 4 or 6.
    Ip,
    /// A hardware address.
    Mac,
    /// A payment card or an IBAN by checksum, or a labelled number of an account, a health plan, a certificate or a licence.
    Account,
    /// A labelled licence plate.
    Plate,
    /// A vehicle identification number with its checksum (49 CFR 565).
    Vin,
    /// A web address within a value.
    Url,
    /// A street address; a labelled ZIP code, city, county or position.
    Geo,
}

impl Detector {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Ssn,
        Self::Email,
        Self::Phone,
        Self::Mrn,
        Self::Npi,
        Self::Dea,
        Self::Mbi,
        Self::BirthDate,
        Self::Ip,
        Self::Mac,
        Self::Account,
        Self::Plate,
        Self::Vin,
        Self::Url,
        Self::Geo,
    ];

    /// Its name in a policy file, in audit records and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Ssn => "ssn",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Mrn => "mrn",
            Self::Npi => "npi",
            Self::Dea => "dea",
            Self::Mbi => "mbi",
            Self::BirthDate => "birth-date",
            Self::Ip => "ip",
            Self::Mac => "mac",
            Self::Account => "account",
            Self::Plate => "plate",
            Self::Vin => "vin",
            Self::Url => "url",
            Self::Geo => "geo",
        }
    }

    /// The recogniser of this name in a policy file.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|detector| detector.code() == code)
    }

    /// The labels that mean something to it.
    const fn labels(self) -> Labels {
        match self {
            Self::Npi => Labels::of(Label::Npi),
            Self::Dea => Labels::of(Label::Dea),
            Self::Mbi => Labels::of(Label::Medicare),
            Self::BirthDate => Labels::of(Label::BirthDate),
            Self::Ip => Labels::of(Label::Ip),
            Self::Mac => Labels::of(Label::Mac),
            Self::Account => Labels::of(Label::Account),
            Self::Plate => Labels::of(Label::Plate),
            Self::Vin => Labels::of(Label::Vin),
            Self::Geo => Labels::of(Label::Address)
                .with(Labels::of(Label::Zip))
                .with(Labels::of(Label::Place))
                .with(Labels::of(Label::Coordinate)),
            Self::Ssn | Self::Email | Self::Phone | Self::Mrn | Self::Url => Labels::NONE,
        }
    }
}

/// Recognisers that are looked for besides the usual four.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Set {
    bits: u16,
    labels: Labels,
}

impl Set {
    fn add(&mut self, detector: Detector) {
        let usual = matches!(
            detector,
            Detector::Ssn | Detector::Email | Detector::Phone | Detector::Mrn
        );
        if !usual {
            self.bits |= 1 << detector as u16;
            self.labels = self.labels.with(detector.labels());
        }
    }

    fn has(self, detector: Detector) -> bool {
        self.bits & (1 << detector as u16) != 0
    }

    fn labels(self) -> Labels {
        self.labels
    }

    fn is_empty(self) -> bool {
        self.bits == 0
    }
}

/// A stretch of text that a recogniser found, in bytes. Stretches do not overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) finder: Finder,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Hit {
    fn of(detector: Detector, start: usize, end: usize) -> Self {
        Self {
            finder: Finder::Known(detector),
            start,
            end,
        }
    }
}

impl Detectors {
    /// Compiles entries. An entry with a recogniser's name and a pattern adds to that recogniser.
    ///
    /// # Errors
    /// A pattern that can't be used.
    pub(super) fn new(entries: Vec<DetectEntry>) -> Result<Self, RulesError> {
        let patterns = Patterns::new(&entries)?;
        let mut set = Set::default();
        entries
            .iter()
            .filter_map(|entry| Detector::from_code(&entry.name))
            .for_each(|detector| set.add(detector));
        Ok(Self { entries, set, patterns })
    }

    /// A policy that looks for nothing.
    pub(super) fn none() -> Self {
        Self {
            entries: Vec::new(),
            set: Set::default(),
            patterns: Patterns::default(),
        }
    }

    /// Whether the policy looks for anything.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether anything could be found in any piece of these raw bytes of a target: plain ASCII without escapes. A piece's context stands in them too.
    pub(super) fn may_hold(&self, raw: &[u8]) -> bool {
        quick::may_hold_usual(raw)
            || (!self.set.is_empty() && quick::may_hold_more(raw, self.set))
            || self.patterns.may_hold(raw)
    }

    /// Every hit in a folded text, in order and apart. `context` is the folded name of the parameter or of the segment before.
    pub(super) fn scan(&self, text: &str, context: &str) -> Vec<Hit> {
        let bytes = text.as_bytes();
        let mut hits = Vec::new();
        if mrn::announced_by(context) {
            mrn::announced(text, &mut hits);
        }
        scan_usual(bytes, ssn::is_coded(context), &mut hits);
        if !self.set.is_empty() {
            scan_more(bytes, context, self.set, &mut hits);
        }
        self.patterns.scan(text, &mut hits);
        self.settle(&mut hits);
        hits
    }

    /// What the policy does with what was found: `None` where only logs hide it, `Some(None)` where `on_detect` says.
    /// So it is in the contexts that an entry excepts.
    pub(super) fn action(&self, finder: Finder, context: &str) -> Option<Option<Action>> {
        let excepts = |entry: &DetectEntry| entry.except.iter().any(|name| name.eq_ignore_ascii_case(context));
        match finder {
            Finder::Known(detector) => {
                let mut named = self
                    .entries
                    .iter()
                    .filter(|entry| entry.name == detector.code())
                    .peekable();
                named.peek()?;
                if self
                    .entries
                    .iter()
                    .any(|entry| entry.name == detector.code() && excepts(entry))
                {
                    return None;
                }
                Some(named.find_map(|entry| entry.action))
            }
            Finder::Own(index) => {
                let entry = self.entries.get(usize::from(index)).filter(|entry| !excepts(entry));
                entry.map(|entry| entry.action)
            }
        }
    }

    /// The name of who found it, for answers, audit records and metrics.
    pub(super) fn code(&self, finder: Finder) -> String {
        match finder {
            Finder::Known(detector) => detector.code().to_owned(),
            Finder::Own(index) => {
                let entry = self.entries.get(usize::from(index));
                entry.map_or_else(String::new, |entry| entry.name.clone())
            }
        }
    }

    /// Puts hits in order and apart: where two meet, the first one's stretch grows over the other, since all of it goes.
    fn settle(&self, hits: &mut Vec<Hit>) {
        if hits.len() < 2 {
            return;
        }
        hits.sort_by_key(|hit| (hit.start, hit.end));
        hits.dedup_by(|next, kept| {
            let meets = next.start < kept.end;
            if meets {
                kept.end = kept.end.max(next.end);
                kept.finder = self.weightier(kept.finder, next.finder);
            }
            meets
        });
    }

    /// Whose action holds for a stretch that two found: one that the policy names, and of two such the stricter one; the first where that is open.
    fn weightier(&self, first: Finder, second: Finder) -> Finder {
        // An action that is left to `on_detect` counts as the strictest, as it usually is.
        let strict = |action: Option<Action>| action.unwrap_or(Action::Reject);
        match (self.action(first, ""), self.action(second, "")) {
            (None, Some(_)) => second,
            (Some(one), Some(other))
                if strict(one) != strict(other) && PhiPolicy::stricter(strict(one), strict(other)) == strict(other) =>
            {
                second
            }
            _ => first,
        }
    }
}

/// Whether a name says that a ZIP code follows.
pub(super) fn announces_zip(name: &str) -> bool {
    label::of_name(name).has(Label::Zip)
}

/// What is looked for always.
fn scan_usual(bytes: &[u8], coded: bool, hits: &mut Vec<Hit>) {
    // The shortest of all that can be found is `a@b.cd`.
    if bytes.len() < 6 {
        return;
    }
    let (mut digits, mut at, mut plus, mut letter) = (0_usize, false, bytes.first() == Some(&b' '), false);
    for &b in bytes {
        digits = digits.wrapping_add(usize::from(b.is_ascii_digit()));
        at |= b == b'@';
        plus |= b == b'+';
        letter |= b | 0x20 == b'm';
    }
    if digits >= 9 {
        if plus {
            let marks = memchr::memchr_iter(b'+', bytes);
            let first = (bytes.first() == Some(&b' ')).then_some(0);
            hits.extend(
                first
                    .into_iter()
                    .chain(marks)
                    .filter_map(|at| phone::international(bytes, at)),
            );
        }
        scan_digits(bytes, coded, hits);
    }
    if at {
        email::scan(bytes, hits);
    }
    if letter && digits >= 3 {
        mrn::scan(bytes, hits);
    }
}

fn scan_digits(bytes: &[u8], coded: bool, hits: &mut Vec<Hit>) {
    let mut at = 0_usize;
    while let Some(skip) = bytes
        .get(at..)
        .and_then(|rest| rest.iter().position(u8::is_ascii_digit))
    {
        let start = at.saturating_add(skip);
        let run = run(bytes, start, usize::MAX, |b| b.is_ascii_digit());
        at = start.saturating_add(run);
        let found = match run {
            3 => ssn::separated(bytes, start).or_else(|| phone::separated(bytes, start)),
            9 => ssn::bare(bytes, start, coded),
            10 | 11 => phone::bare(bytes, start, run),
            _ => None,
        };
        if let Some(hit) = found {
            at = at.max(hit.end);
            hits.push(hit);
        }
    }
}

/// What is looked for where the policy names it: word by word, with labels on the way.
fn scan_more(bytes: &[u8], context: &str, set: Set, hits: &mut Vec<Hit>) {
    let announced = if set.labels.is_empty() {
        Labels::NONE
    } else {
        label::of_name(context)
    };
    scan_announced(bytes, announced, set, hits);
    if set.has(Detector::Url) {
        web::scan(bytes, hits);
    }
    if set.has(Detector::Geo) {
        geo::scan_counties(bytes, hits);
    }
    if set.has(Detector::Ip) && memchr::memchr_iter(b':', bytes).take(2).count() == 2 {
        ip::scan_v6(bytes, hits);
    }
    let version = set.has(Detector::Ip) && ip::is_version(context);
    let mut last = 0_u8;
    for (start, &this) in bytes.iter().enumerate() {
        let apart = !last.is_ascii_alphanumeric();
        // As `starts_word` has it.
        let starts = apart
            || (last.is_ascii_lowercase() && this.is_ascii_uppercase())
            || (last.is_ascii_digit() && this.is_ascii_alphabetic());
        last = this;
        if !starts || !this.is_ascii_alphanumeric() {
            continue;
        }
        if apart {
            scan_word(bytes, start, set, (announced, version), hits);
        }
        if set.labels.is_empty() {
            continue;
        }
        let Some((label, end)) = label::at(bytes, start).filter(|(label, _)| set.labels.has(*label)) else {
            continue;
        };
        let value = label::after(bytes, end);
        // `city of ..` and `county jail` are words; `city: ..` is a label.
        let gap = bytes.get(end..value).unwrap_or_default();
        if label == Label::Place && !gap.iter().any(|b| matches!(b, b':' | b'=')) {
            continue;
        }
        let hit = labelled(bytes, value, label);
        if label == Label::BirthDate && hit.is_none() {
            let behind = birth_date::before(bytes, start);
            hits.extend(behind.map(|(start, end)| Hit::of(Detector::BirthDate, start, end)));
        }
        hits.extend(hit);
    }
}

/// What begins with the word at `start` and needs no label; what is `announced`, and whether it is a `version`, bears on some.
fn scan_word(bytes: &[u8], start: usize, set: Set, (announced, version): (Labels, bool), hits: &mut Vec<Hit>) {
    let length = run(bytes, start, 20, |b| b.is_ascii_alphanumeric());
    let mut add = |detector: Detector, found: Option<(usize, usize)>| {
        hits.extend(found.map(|(start, end)| Hit::of(detector, start, end)));
    };
    let wanted = |detector: Detector, fits: bool| fits && set.has(detector);
    if wanted(Detector::Npi, length == 15) {
        add(Detector::Npi, npi::body(bytes, start));
    }
    if wanted(Detector::Dea, length == 9) {
        add(Detector::Dea, dea::body(bytes, start, false));
    }
    if wanted(Detector::Mbi, length == 4 || length == 11) {
        add(Detector::Mbi, mbi::body(bytes, start));
    }
    if wanted(Detector::Mac, length == 2 || length == 4) {
        add(Detector::Mac, mac::body(bytes, start, false));
    }
    if wanted(Detector::Vin, length == 17) {
        add(Detector::Vin, vin::body(bytes, start));
    }
    let numeric = byte(bytes, start).is_ascii_digit();
    if wanted(Detector::Ip, numeric && length <= 3 && !version) {
        add(Detector::Ip, ip::v4(bytes, start, announced.has(Label::Ip)));
    }
    if wanted(Detector::Account, numeric && matches!(length, 4 | 13..=19)) {
        add(Detector::Account, account::card(bytes, start));
    }
    if wanted(Detector::Geo, numeric) {
        add(Detector::Geo, geo::street(bytes, start, announced.has(Label::Address)));
    }
    if wanted(Detector::Account, !numeric && length >= 4) {
        add(Detector::Account, account::iban(bytes, start));
    }
    if wanted(Detector::Geo, matches!(length, 1 | 2 | 5)) {
        add(Detector::Geo, geo::box_number(bytes, start));
    }
    if wanted(Detector::Geo, length == 2) {
        add(Detector::Geo, geo::zip_after_state(bytes, start));
    }
}

/// What the name announces: at the beginning of each element between commas and bars.
fn scan_announced(bytes: &[u8], announced: Labels, set: Set, hits: &mut Vec<Hit>) {
    let announced: Vec<Label> = announced.iter().filter(|label| set.labels.has(*label)).collect();
    if announced.is_empty() {
        return;
    }
    let mut start = 0_usize;
    for element in bytes.split(|b| matches!(b, b',' | b'|')) {
        let end = start.saturating_add(element.len());
        let blank = element.iter().take_while(|b| b" \"'#".contains(b)).count();
        let so_far = bytes.get(..end).unwrap_or_default();
        for label in &announced {
            hits.extend(labelled(so_far, start.saturating_add(blank), *label));
        }
        start = end.saturating_add(1);
    }
}

/// What a label says stands at `at`.
fn labelled(bytes: &[u8], at: usize, label: Label) -> Option<Hit> {
    let (detector, found) = match label {
        Label::Npi => (Detector::Npi, npi::body(bytes, at)),
        Label::Dea => (Detector::Dea, dea::body(bytes, at, true)),
        Label::Medicare => (Detector::Mbi, mbi::body(bytes, at).or_else(|| mbi::claim(bytes, at))),
        Label::BirthDate => (Detector::BirthDate, birth_date::body(bytes, at)),
        Label::Ip => (Detector::Ip, ip::v4(bytes, at, true)),
        Label::Mac => (Detector::Mac, mac::body(bytes, at, true)),
        Label::Account => (Detector::Account, account::labelled(bytes, at)),
        Label::Plate => (Detector::Plate, plate::body(bytes, at)),
        Label::Vin => (Detector::Vin, vin::body(bytes, at)),
        Label::Address => (Detector::Geo, geo::street(bytes, at, true)),
        Label::Zip => (Detector::Geo, geo::zip(bytes, at)),
        Label::Place => (Detector::Geo, geo::place(bytes, at)),
        Label::Coordinate => (Detector::Geo, geo::coordinate(bytes, at)),
    };
    found.map(|(start, end)| Hit::of(detector, start, end))
}

#[cfg(test)]
mod tests;
