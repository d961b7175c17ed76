//! Words that say what follows, in the text itself or as the name of a parameter or of the path segment before.

use super::text::{byte, run, starts_word};

/// What a label says that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// A provider identifier.
    Npi,
    /// A DEA number.
    Dea,
    /// A Medicare identifier.
    Medicare,
    /// A date of birth.
    BirthDate,
    /// An IP address.
    Ip,
    /// A hardware address.
    Mac,
    /// A number of an account, a health plan, a certificate or a licence.
    Account,
    /// A licence plate.
    Plate,
    /// A vehicle identification number.
    Vin,
    /// A postal address.
    Address,
    /// A ZIP code.
    Zip,
    /// A city, a county or the like.
    Place,
    /// A latitude or a longitude.
    Coordinate,
}

/// A set of labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Labels(u16);

impl Labels {
    pub(super) const NONE: Self = Self(0);

    pub(super) const fn of(label: Label) -> Self {
        Self(1 << label as u16)
    }

    #[must_use]
    pub(super) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn has(self, label: Label) -> bool {
        self.0 & Self::of(label).0 != 0
    }

    pub(super) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Label> {
        ALL.into_iter().filter(move |label| self.has(*label))
    }
}

const ALL: [Label; 13] = [
    Label::Npi,
    Label::Dea,
    Label::Medicare,
    Label::BirthDate,
    Label::Ip,
    Label::Mac,
    Label::Account,
    Label::Plate,
    Label::Vin,
    Label::Address,
    Label::Zip,
    Label::Place,
    Label::Coordinate,
];

/// Labels by their first letter. A blank stands for none or one of ` _-.+`.
fn beginning_with(letter: u8) -> &'static [(&'static str, Label)] {
    use Label::{Account, Address, BirthDate, Coordinate, Dea, Ip, Mac, Medicare, Npi, Place, Plate, Vin, Zip};
    match letter | 0x20 {
        b'a' => &[
            ("account", Account),
            ("accounts", Account),
            ("acct", Account),
            ("a/c", Account),
            ("address", Address),
            ("addr", Address),
        ],
        b'b' => &[
            ("birth date", BirthDate),
            ("birth day", BirthDate),
            ("birth dt", BirthDate),
            ("born", BirthDate),
            ("born on", BirthDate),
            ("bday", BirthDate),
            ("beneficiary", Account),
            ("borough", Place),
        ],
        b'c' => &[
            ("city", Place),
            ("county", Place),
            ("certificate", Account),
            ("cert", Account),
            ("car registration", Plate),
            ("coordinates", Coordinate),
            ("chassis", Vin),
        ],
        b'd' => &[
            ("dob", BirthDate),
            ("d.o.b", BirthDate),
            ("date of birth", BirthDate),
            ("dea", Dea),
            ("district", Place),
            ("drivers license", Account),
            ("driver license", Account),
        ],
        b'g' => &[("geo", Coordinate), ("gps", Coordinate)],
        b'h' => &[("hicn", Medicare), ("health plan", Account), ("hometown", Place)],
        b'i' => &[("iban", Account), ("ip", Ip), ("ip addr", Ip), ("ip address", Ip)],
        b'l' => &[
            ("license plate", Plate),
            ("licence plate", Plate),
            ("lic plate", Plate),
            ("license", Account),
            ("licence", Account),
            ("lat", Coordinate),
            ("latitude", Coordinate),
            ("lon", Coordinate),
            ("lng", Coordinate),
            ("long", Coordinate),
            ("longitude", Coordinate),
        ],
        b'm' => &[
            ("mbi", Medicare),
            ("medicare", Medicare),
            ("mac", Mac),
            ("mac addr", Mac),
            ("mac address", Mac),
            ("member", Account),
            ("medicaid", Account),
            ("municipality", Place),
        ],
        b'n' => &[
            ("npi", Npi),
            ("national provider", Npi),
            ("national provider identifier", Npi),
            ("number plate", Plate),
            ("near", Coordinate),
        ],
        b'p' => &[
            ("provider", Npi),
            ("practitioner", Npi),
            ("physician", Npi),
            ("prescriber", Npi),
            ("plate", Plate),
            ("plates", Plate),
            ("policy", Account),
            ("postal code", Zip),
            ("post code", Zip),
            ("postal", Zip),
            ("parish", Place),
            ("precinct", Place),
        ],
        b'r' => &[("remote addr", Ip)],
        b's' => &[("subscriber", Account), ("street", Address), ("suburb", Place)],
        b't' => &[("town", Place), ("township", Place)],
        b'v' => &[
            ("vin", Vin),
            ("vehicle", Vin),
            ("vehicle identification", Vin),
            ("vehicle registration", Plate),
            ("village", Place),
        ],
        b'z' => &[("zip", Zip), ("zip code", Zip), ("zip4", Zip), ("zip 4", Zip)],
        _ => &[],
    }
}

/// Words between a label and what it labels.
static FILLERS: [&str; 13] = [
    "number",
    "numbers",
    "no",
    "num",
    "nbr",
    "id",
    "ids",
    "identifier",
    "code",
    "is",
    "on",
    "the",
    "eq",
];

/// The longest label that starts at `at`, and where it ends.
pub(super) fn at(bytes: &[u8], at: usize) -> Option<(Label, usize)> {
    let mut best: Option<(Label, usize)> = None;
    let second = byte(bytes, at.saturating_add(1)) | 0x20;
    for (words, label) in beginning_with(byte(bytes, at)) {
        let is = byte(words.as_bytes(), 1);
        if is.is_ascii_alphabetic() && is != second {
            continue;
        }
        if let Some(end) = matches(bytes, at, words)
            && best.is_none_or(|(_, longest)| end > longest)
        {
            best = Some((*label, end));
        }
    }
    best
}

pub(super) fn matches(bytes: &[u8], start: usize, words: &str) -> Option<usize> {
    let mut at = start;
    for letter in words.bytes() {
        let this = byte(bytes, at);
        if letter == b' ' {
            at = at.saturating_add(usize::from(b" _-.+".contains(&this)));
        } else if this.eq_ignore_ascii_case(&letter) {
            at = at.saturating_add(1);
        } else {
            return None;
        }
    }
    // `dobson` is no `dob`; `dobEq` is.
    let (last, next) = (byte(bytes, at.saturating_sub(1)), byte(bytes, at));
    (!next.is_ascii_alphabetic() || (last.is_ascii_lowercase() && next.is_ascii_uppercase())).then_some(at)
}

/// Where what a label labels starts: after punctuation and words such as `number`.
pub(super) fn after(bytes: &[u8], label_end: usize) -> usize {
    let mut at = label_end;
    for _ in 0..2 {
        let word = gap(bytes, at);
        let Some(end) = FILLERS.iter().filter_map(|filler| matches(bytes, word, filler)).max() else {
            break;
        };
        at = end;
    }
    gap(bytes, at)
}

fn gap(bytes: &[u8], at: usize) -> usize {
    at.saturating_add(run(bytes, at, 4, |b| b" :=#|._/-\"'([]".contains(&b)))
}

/// What a name announces: its last words are a label.
pub(super) fn of_name(name: &str) -> Labels {
    let bytes = name.as_bytes();
    let mut labels = Labels::NONE;
    for start in 0..bytes.len() {
        if !starts_word(bytes, start) {
            continue;
        }
        if let Some((label, end)) = at(bytes, start)
            && after(bytes, end) >= bytes.len()
        {
            labels = labels.with(Labels::of(label));
        }
    }
    labels
}

/// Every label in raw bytes of a target, whatever follows it.
pub(super) fn anywhere(bytes: &[u8]) -> Labels {
    let mut labels = Labels::NONE;
    let mut last = 0_u8;
    for (start, &this) in bytes.iter().enumerate() {
        // As `starts_word` has it.
        let starts = this.is_ascii_alphabetic()
            && (!last.is_ascii_alphabetic() || (last.is_ascii_lowercase() && this.is_ascii_uppercase()));
        last = this;
        if starts && let Some((label, _)) = at(bytes, start) {
            labels = labels.with(Labels::of(label));
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_announce_by_their_last_words() {
        for (name, label) in [
            ("dob", Label::BirthDate),
            ("patientDob", Label::BirthDate),
            ("patient.birthDate", Label::BirthDate),
            ("date_of_birth", Label::BirthDate),
            ("DATE-OF-BIRTH", Label::BirthDate),
            ("npi", Label::Npi),
            ("provider_npi", Label::Npi),
            ("npi_number", Label::Npi),
            ("acctNo", Label::Account),
            ("account[]", Label::Account),
            ("address-postalcode", Label::Zip),
            ("address-city", Label::Place),
            ("ip_address", Label::Ip),
        ] {
            assert!(of_name(name).has(label), "{name}");
        }
        for name in [
            "",
            "dobson",
            "_count",
            "capacity",
            "address-state",
            "account_type",
            "zipper",
            "marvin",
        ] {
            assert!(of_name(name).is_empty(), "{name}");
        }
    }

    #[test]
    fn what_is_labelled_follows_punctuation_and_fillers() {
        for (text, rest) in [
            ("dob: 1970", "1970"),
            ("dob1970", "1970"),
            ("dob is 1970", "1970"),
            ("DOB_1970", "1970"),
        ] {
            let (_, end) = at(text.as_bytes(), 0).unwrap();
            assert_eq!(&text[after(text.as_bytes(), end)..], rest);
        }
        let text = b"account no. #123";
        assert_eq!(at(text, 0), Some((Label::Account, 7)));
        assert_eq!(after(text, 7), 13);
    }
}
