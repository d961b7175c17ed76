//! Coarser values: a date's year, a ZIP code's first three digits.
//!
//! 45 CFR 164.514(b)(2)(i) lets both stand, within bounds:
//!
//! 1. A date (FHIR's date and dateTime, `19700312`, `03/12/1970`) becomes its year. A year before the current one by 90 or more tells an age over 89, and
//!    is not told (C). Where the current year is not known, no year is. The year of a date that is not one of birth is bounded alike: what it belongs to
//!    is not known here.
//! 2. A ZIP code of five or nine digits becomes its first three, or `000` where the area of those has 20,000 people or fewer (B). Nine bare digits may be an
//!    SSN and five any number: they are ZIP codes where the name says so, else `12345` and `12345-6789` alone are.
//! 3. A list with commas becomes the list of its elements' coarser forms, if each has one.
//!
//! A coarser search finds all that the finer one does, by FHIR's prefixes (FHIR R4 search, 3.1.1.4.6): what begins or ends within the year must be in it, so
//! `gt` and `sa` become `ge`, `lt` and `eb` become `le` (`lt1970-03-12` is `le1970`), `ge`, `le`, `eq`, `ap` stay. `ne1970-03-12` has no coarser form: it
//! finds all the rest of 1970, and no year alone does. A time with a zone within two days of the turn of the year may stand in the other year where the server
//! is, so `ge` and `le` take that one.
//!
//! What is coarse already comes back as it is where the name says what it is (`birthdate=1970`, `address-postalcode=021`), or FHIR's prefix does. Four digits
//! or three under another name may be an id that happens to be short: they are no coarser form of anything.

use super::detect::{announces_zip, date_at};

/// Areas of 20,000 people or fewer: those that HHS names by the census of 2000 (OCR, "Guidance Regarding Methods for De-identification of Protected Health
/// Information", on ZIP codes), and those that are by the census of 2010 (ZIP Code Tabulation Areas, table P1). An area that was small by either stays.
static SMALL_AREAS: [&str; 23] = [
    "036", "059", "063", "102", "202", "203", "204", "205", "369", "556", "692", "753", "772", "790", "821", "823",
    "830", "831", "878", "879", "884", "890", "893",
];

/// Whether the area of these three digits has 20,000 people or fewer, or nobody counts them: those of military post overseas (USPS Publication 28, 238).
fn is_small(area: &str) -> bool {
    SMALL_AREAS.contains(&area)
        || area.starts_with("09")
        || matches!(area, "340" | "962" | "963" | "964" | "965" | "966")
}

/// The coarser form of a text; `None` where there is none. `name`: the parameter's base name or the segment before; `year`: the current one, where it is known.
pub(super) fn generalize(text: &str, name: &str, year: Option<u16>) -> Option<String> {
    let zips = announces_zip(name);
    let mut out = String::with_capacity(text.len());
    for (index, element) in text.split(',').enumerate() {
        if index > 0 {
            out.push(',');
        }
        let element = element.trim_matches(' ');
        let coarse = if zips {
            zip(element, true)
        } else {
            coarse_date(element, name, year).or_else(|| zip(element, false))
        };
        out.push_str(&coarse?);
    }
    Some(out)
}

fn coarse_date(text: &str, name: &str, now: Option<u16>) -> Option<String> {
    const PREFIXES: [&str; 9] = ["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"];
    let prefix = PREFIXES
        .into_iter()
        .find(|prefix| text.starts_with(prefix))
        .unwrap_or_default();
    let date = text.strip_prefix(prefix)?;
    let bytes = date.as_bytes();
    let alone = bytes.len() == 4 && bytes.iter().all(u8::is_ascii_digit);
    let (prefix, year) = if alone && (!prefix.is_empty() || tells_time(name)) {
        (prefix, date.parse::<u32>().ok()?)
    } else {
        let read = date_at(bytes, 0).filter(|read| read.end == bytes.len())?;
        widened(prefix, date, read.year?)?
    };
    let years_ago = u32::from(now?).saturating_sub(year);
    ((1800..2200).contains(&year) && years_ago < 90).then(|| format!("{prefix}{year}"))
}

/// The prefix and the year that find whatever the prefix and the date find; `None` where none do.
fn widened(prefix: &'static str, date: &str, year: u32) -> Option<(&'static str, u32)> {
    // Zones are 14 hours ahead at most and 12 behind, the date's as well as the server's.
    let zoned = date.get(11..).is_some_and(|time| time.contains(['Z', '+', '-', ' ']));
    let turns = |days: [&str; 2]| zoned && days.iter().any(|day| date.get(5..10) == Some(day));
    match prefix {
        "ge" | "gt" | "sa" if turns(["01-01", "01-02"]) => Some(("ge", year.saturating_sub(1))),
        "ge" | "gt" | "sa" => Some(("ge", year)),
        "le" | "lt" | "eb" if turns(["12-30", "12-31"]) => Some(("le", year.saturating_add(1))),
        "le" | "lt" | "eb" => Some(("le", year)),
        "ne" => None,
        other => Some((other, year)),
    }
}

/// Whether a name is that of a date: those of FHIR R4's date parameters hold one of these.
fn tells_time(name: &str) -> bool {
    const WORDS: [&str; 17] = [
        "date", "birth", "born", "dob", "year", "time", "period", "when", "since", "author", "issued", "created",
        "sent", "received", "started", "onset", "updated",
    ];
    let name = name.to_ascii_lowercase();
    WORDS.iter().any(|word| name.contains(word))
}

/// The area of what is known to be a ZIP code: of three, five or nine digits, the last four perhaps behind a dash.
pub(crate) fn zip_area(text: &str) -> Option<String> {
    zip(text, true)
}

fn zip(text: &str, announced: bool) -> Option<String> {
    let bytes = text.as_bytes();
    let digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    let whole = match bytes {
        [_, _, _, _, _] => digits(bytes),
        [_, _, _] => announced && digits(bytes),
        [five @ .., b'-', a, b, c, d] if five.len() == 5 => digits(five) && digits(&[*a, *b, *c, *d]),
        _ => announced && bytes.len() == 9 && digits(bytes),
    };
    let area = text.get(..3)?;
    whole.then(|| {
        if is_small(area) {
            "000".to_owned()
        } else {
            area.to_owned()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_become_years() {
        for (text, coarse) in [
            ("1970-03-12", "1970"),
            ("1970-03", "1970"),
            ("1970", "1970"),
            ("ge1970-03-12", "ge1970"),
            ("ap2030-01-01", "ap2030"),
            ("1970-03-12T10:30:00.000+01:00", "1970"),
            ("1970-03-12T10:30:00Z", "1970"),
            ("03/12/1970", "1970"),
            ("3/12/1970", "1970"),
            ("19700312", "1970"),
            ("ge1970", "ge1970"),
            ("ge1970-01-01,lt1980-01-01", "ge1970,le1980"),
            ("1937-01-01", "1937"),
        ] {
            assert_eq!(
                generalize(text, "birthdate", Some(2026)).as_deref(),
                Some(coarse),
                "{text}"
            );
        }
        for text in [
            "",
            "x",
            "1936-12-31",
            "le1936",
            "1970-13-01",
            "1970-03-12x",
            "eq",
            "1970-03-12 or so",
            "03/12/70",
            "1970-01-01,x",
            "512-34-5678",
            "512345678",
            "1970-03-12T512-34-5678",
        ] {
            assert_eq!(generalize(text, "birthdate", Some(2026)), None, "{text}");
        }
        assert_eq!(generalize("1970-03-12", "birthdate", None), None);
    }

    #[test]
    fn coarser_searches_lose_nothing() {
        for (text, coarse) in [
            ("gt1970-03-04", "ge1970"),
            ("sa1970-03-04", "ge1970"),
            ("ge1970-03-04", "ge1970"),
            ("lt1970-03-04", "le1970"),
            ("eb1970-03-04", "le1970"),
            ("le1970-03-04", "le1970"),
            ("eq1970-03-04", "eq1970"),
            ("ap1970-03-04", "ap1970"),
            ("gt1970-03", "ge1970"),
            // What is a year already loses nothing by staying one.
            ("gt1970", "gt1970"),
            ("ne1970", "ne1970"),
            // In the west it was still 1969, in the east it was already 1971.
            ("ge1970-01-01T00:30:00+01:00", "ge1969"),
            ("ge1970-01-01T00:30+01:00", "ge1969"),
            ("gt1970-01-02T00:30:00Z", "ge1969"),
            ("lt1970-12-31T23:30:00-05:00", "le1971"),
            ("lt1970-01-01T00:30:00Z", "le1970"),
            ("ge1970-01-01", "ge1970"),
            ("ge1970-01-01T00:30:00", "ge1970"),
            // The year that is told is the one that counts.
            ("lt1936-12-31T23:30:00Z", "le1937"),
        ] {
            assert_eq!(
                generalize(text, "birthdate", Some(2026)).as_deref(),
                Some(coarse),
                "{text}"
            );
        }
        for text in [
            "ne1970-03-04",
            "ge1970-03-04,ne1970-03-04",
            "lt1936-12-30",
            "le1936-01-01",
            "ge1937-01-01T00:30:00Z",
        ] {
            assert_eq!(generalize(text, "birthdate", Some(2026)), None, "{text}");
        }
    }

    #[test]
    fn zip_codes_become_areas() {
        for (text, name, coarse) in [
            ("02139", "address-postalcode", "021"),
            ("02139-4307", "zip", "021"),
            ("021394307", "zip", "021"),
            ("021", "zip", "021"),
            ("000", "zip", "000"),
            ("03601", "zip", "000"),
            ("82101-1234", "q", "000"),
            ("02139", "q", "021"),
            ("02139,10001", "zip", "021,100"),
            ("19700", "postalCode", "197"),
        ] {
            assert_eq!(generalize(text, name, None).as_deref(), Some(coarse), "{text}");
        }
        for (text, name) in [
            ("021394307", "q"),
            ("021", "q"),
            ("1970", "identifier"),
            ("0213", "zip"),
            ("SW1A", "zip"),
            ("02139-43", "zip"),
            ("02139 x", "zip"),
        ] {
            assert_eq!(generalize(text, name, None), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_coarse_stays(text in "(ge|gt|lt|eb|ne)?[0-9]{1,4}([-/][0-9]{1,2}){0,2}(,[0-9]{3,9}(-[0-9]{4})?)?|[0-9]{3,9}", name in "zip|birthdate|postalCode|q") {
            if let Some(once) = generalize(&text, &name, Some(2026)) {
                let again = generalize(&once, &name, Some(2026));
                // Under another name, what is coarse may be taken for nothing, but for nothing else.
                prop_assert!(again.as_ref() == Some(&once) || (again.is_none() && name != "zip" && name != "postalCode"), "{} {:?}", once, again);
                prop_assert!(again.is_some() || name == "q" || text.split(',').any(|element| zip(element, false).is_some()));
            }
        }
    }
}
