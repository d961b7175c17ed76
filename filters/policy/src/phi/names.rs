//! Which parameter names, path segments and references carry PHI, by the generated table.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::LazyLock;

use super::fhir_r4::{ANY, RESOURCES};
use crate::url::{Parameter, Target, fold};

/// A FHIR resource type and its search parameters that carry PHI, sorted without regard to case.
pub(super) struct Resource {
    pub(super) name: &'static str,
    pub(super) in_compartment: bool,
    pub(super) is_person: bool,
    pub(super) phi: &'static [&'static str],
    /// Those that carry none, though others of their names do; without the ones that all types have (`_id`, `_text`), sorted alike.
    pub(super) harmless: &'static [&'static str],
}

impl Resource {
    /// Whether the type defines a parameter of this name that carries no PHI. The name is one that carries PHI on some type.
    fn is_harmless(&self, name: &str) -> bool {
        let defined = name.starts_with('_') || find(self.harmless, name).is_some();
        defined && find(self.phi, name).is_none()
    }
}

/// Parameters that say how to answer and not what to search for (FHIR R4 search, 3.1.1.5 and on; bulk data).
pub(super) static RESULT_PARAMETERS: &[&str] = &[
    "_contained",
    "_containedType",
    "_count",
    "_elements",
    "_format",
    "_include",
    "_lastUpdated",
    "_offset",
    "_outputFormat",
    "_pretty",
    "_revinclude",
    "_score",
    "_since",
    "_sort",
    "_summary",
    "_total",
    "_type",
];

/// Free text and expressions: PHI by name, and worth the detectors' look besides.
static FREE_TEXT: &[&str] = &["_content", "_filter", "_text"];

static PERSONS: &[&str] = &["Patient", "Person", "RelatedPerson"];

/// The resource types that a path names. A parameter carries PHI when it does on any of them. Where none of them defines it, an upstream may still know it
/// (FHIR R4 search, 3.1.1.3, lets servers add some), and it goes on and is logged: so it carries PHI when it does on any type at all. So it does where the path
/// names no type, or an operation (`$everything`) that has parameters of its own.
pub(super) struct Scope {
    types: [Option<&'static Resource>; 4],
    any: bool,
}

impl Scope {
    pub(super) fn of(target: &Target<'_>) -> Self {
        let mut types = [None; 4];
        let mut found = 0_usize;
        let mut operation = false;
        for segment in target.segments() {
            if segment.text().starts_with('$') {
                operation = true;
            } else if let Some(resource) = resource(&fold(segment.text())) {
                if let Some(slot) = types.get_mut(found) {
                    *slot = Some(resource);
                }
                found = found.saturating_add(1);
            }
        }
        Self {
            types,
            any: operation || found == 0 || found > types.len(),
        }
    }

    fn find(&self, token: &str) -> Option<&'static str> {
        // Most names carry PHI on no type at all.
        let known = any(token)?;
        if self.any {
            return Some(known);
        }
        let mut types = self.types.iter().flatten();
        let harmless = types.clone().any(|resource| resource.is_harmless(known))
            && types.all(|resource| find(resource.phi, known).is_none());
        (!harmless).then_some(known)
    }
}

/// Whether a text is the name of a resource type, exactly.
pub(super) fn is_type(text: &str) -> bool {
    resource(text).is_some_and(|resource| resource.name == text)
}

/// Whether a path below an unknown base shows by itself where FHIR's part of it begins, so that its first segment is no person's id: a type follows. Not where
/// that could be the search of a person's compartment, `7/Observation` below `/Patient/` (FHIR R4 search, 3.1.1.2).
pub(super) fn shows_its_base(target: &Target<'_>) -> bool {
    let mut segments = target.segments().iter().map(|segment| segment.text());
    let before = segments.clone().take_while(|text| !is_type(text));
    let length = before.clone().count();
    let Some(found) = segments.nth(length).and_then(resource) else {
        return false;
    };
    let searches = segments.next().is_none_or(|next| next.is_empty() || next == "_search");
    let words = before.clone().any(|text| text.starts_with(['$', '_']));
    let may_be_compartment = length < 2 && searches && found.in_compartment;
    !words && !may_be_compartment
}

/// The resource type at the end of the path, before an id or what is done with it: that is what a search would be about.
pub(super) fn searched(target: &Target<'_>) -> Option<&'static str> {
    let mut segments = target.segments().iter().rev();
    segments
        .find_map(|segment| resource(segment.text()))
        .map(|resource| resource.name)
}

/// The PHI name that a parameter's name holds, if any: its base name, or any link of its chain
/// (`subject:Patient.name`, `patient.name`, `_has:Observation:patient:code`). Case, compatibility spellings, blanks and
/// brackets around the name are seen through: a lenient upstream may see through them too.
/// `after_first` judges only what comes after the base name.
pub(super) fn phi_name(name: &str, scope: &Scope, after_first: bool) -> Option<&'static str> {
    let folded = fold(name);
    if folded.bytes().all(is_name_byte) {
        return if after_first { None } else { scope.find(&folded) };
    }
    let mut chained: Option<Option<&'static Resource>> = None;
    let (mut after_type, mut reverse) = (false, false);
    for (index, (before, token)) in tokens(&folded).enumerate() {
        if index > 0 && before == b'.' && !after_type {
            chained = Some(None);
        }
        let type_named = if index > 0 && before != b'.' {
            resource(token)
        } else {
            None
        };
        if let Some(resource) = type_named.filter(|resource| resource.name == token) {
            chained = Some(Some(resource));
            after_type = true;
            continue;
        }
        // `organization:identifier=..` is a modifier: an identifier of what is referred to (FHIR R4 search, 3.1.1.5.8). Behind `_has` it is a parameter.
        reverse |= token.eq_ignore_ascii_case("_has");
        let modifier = before == b':' && !after_type && !reverse && token == "identifier";
        let follows_type = std::mem::replace(&mut after_type, false);
        if modifier || (after_first && index == 0) {
            continue;
        }
        let found = match chained {
            None => scope.find(token),
            Some(None) => any(token),
            Some(Some(resource)) => any(token).filter(|known| !resource.is_harmless(known)),
        };
        if found.is_some() {
            return found;
        }
        // A type in another case (`_has:observation:..`), since it is not the parameter of that name. What follows a type is its
        // parameter: `_has:Encounter:location:identifier` asks for the encounter's.
        if type_named.is_some() && !follows_type {
            chained = Some(type_named);
            after_type = true;
        }
    }
    None
}

/// The words of a name, each with the byte that stands before it (0 for the first).
pub(super) fn tokens(name: &str) -> impl Iterator<Item = (u8, &str)> {
    let bytes = name.as_bytes();
    let (mut at, mut before) = (0_usize, 0_u8);
    std::iter::from_fn(move || {
        loop {
            let rest = bytes.get(at..)?;
            let length = rest.iter().take_while(|&&b| is_name_byte(b)).count();
            let start = at;
            let end = start.saturating_add(length);
            let was = before;
            before = match bytes.get(end) {
                Some(&byte) => byte,
                None if length == 0 => return None,
                None => 0,
            };
            at = end.saturating_add(1);
            if length > 0 {
                return Some((was, name.get(start..end)?));
            }
        }
    })
}

fn is_name_byte(b: u8) -> bool {
    !b.is_ascii() || is_plain_name_byte(b)
}

fn is_plain_name_byte(b: u8) -> bool {
    static TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut rest: &mut [bool] = &mut table;
        let mut byte = 0_u8;
        while let Some((slot, tail)) = rest.split_first_mut() {
            *slot = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'$');
            byte = byte.wrapping_add(1);
            rest = tail;
        }
        table
    };
    TABLE.get(usize::from(b)).copied().unwrap_or(false)
}

/// The first word of a name, folded: what rules are written for.
pub(super) fn first_token(name: &str) -> Cow<'_, str> {
    match fold(name) {
        Cow::Borrowed(name) => Cow::Borrowed(tokens(name).next().map_or("", |(_, token)| token)),
        Cow::Owned(name) => Cow::Owned(tokens(&name).next().map_or("", |(_, token)| token).to_owned()),
    }
}

/// Whether the segment after one called `before` is the id of a person (or, under `compartment`, of any
/// resource in the patient's compartment).
pub(super) fn is_id(before: &str, segment: &str, compartment: bool) -> bool {
    let Some(resource) = resource(&fold(before)) else {
        return false;
    };
    if !(resource.is_person || (compartment && resource.in_compartment)) {
        return false;
    }
    let operation = segment
        .strip_prefix('$')
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-'));
    !operation && segment != "_search" && segment != "_history"
}

/// Whether a value refers to a person (`Patient/7`, also within an absolute URL) or holds a query of its own with a PHI
/// name in it (`redirect=/Patient?name=..`).
pub(super) fn refers_to_person(value: &str) -> bool {
    let bytes = value.as_bytes();
    memchr::memchr2_iter(b'/', b'=', bytes).any(|at| {
        let Some(head) = value.get(..at) else {
            return false;
        };
        let length = head.bytes().rev().take(129).take_while(|&b| is_name_byte(b)).count();
        let token = head
            .len()
            .checked_sub(length)
            .and_then(|start| head.get(start..))
            .unwrap_or_default();
        if bytes.get(at) == Some(&b'=') {
            // No more than a name's length is looked back, or a long value would cost its square.
            let from = head.len().saturating_sub(128);
            let near = (from..head.len()).find_map(|from| head.get(from..)).unwrap_or_default();
            let name = near.rsplit(['?', '&', ';', ' ', '=']).next().unwrap_or_default();
            let scope = Scope {
                types: [None; 4],
                any: true,
            };
            return phi_name(name, &scope, false).is_some();
        }
        let more = bytes
            .get(at.saturating_add(1))
            .is_some_and(|b| !matches!(b, b',' | b'|' | b' ' | b'/'));
        more && PERSONS.iter().any(|person| person.eq_ignore_ascii_case(token))
    })
}

/// Whether a name is in a sorted list, without regard to case; gives the list's own spelling.
pub(super) fn find(list: &'static [&'static str], token: &str) -> Option<&'static str> {
    let index = list.binary_search_by(|probe| compare(probe, token)).ok()?;
    list.get(index).copied()
}

pub(super) fn is_free_text(name: &str) -> bool {
    find(FREE_TEXT, name).is_some()
}

pub(super) fn is_result_parameter(parameter: &Parameter<'_>) -> bool {
    RESULT_PARAMETERS.contains(&parameter.base_name())
}

pub(super) fn is_phi_anywhere(name: &str) -> bool {
    any(name).is_some()
}

/// The name, in the table's spelling, where it carries PHI on any type.
fn any(token: &str) -> Option<&'static str> {
    static INDEX: LazyLock<Index> = LazyLock::new(|| Index::of(ANY.iter().copied()));
    INDEX
        .candidates(token)
        .find_map(|at| ANY.get(at).filter(|name| name.eq_ignore_ascii_case(token)).copied())
}

/// All names of which anything is to be said: those that carry PHI on any type, secrets, and those of a policy's rules.
pub(super) struct Known {
    index: Index,
    names: Vec<String>,
}

impl Known {
    pub(super) fn with<'n>(rules: impl Iterator<Item = &'n str>) -> Self {
        let names: Vec<String> = ANY
            .iter()
            .copied()
            .chain(SECRETS)
            .chain(rules)
            .map(str::to_owned)
            .collect();
        let index = Index::of(names.iter().map(String::as_str));
        Known { index, names }
    }

    /// Whether a name is one word, in ASCII, and none of them.
    pub(super) fn excludes(&self, name: &str) -> bool {
        let is = |at| {
            self.names
                .get(at)
                .is_some_and(|known: &String| known.eq_ignore_ascii_case(name))
        };
        name.bytes().all(is_plain_name_byte) && !self.index.candidates(name).any(is)
    }
}

/// Where names stand in a list, by hash, without regard to case.
struct Index {
    /// Indexes into the list, one more than they are; 0 is none.
    slots: Vec<u16>,
}

impl Index {
    fn of<'n>(names: impl ExactSizeIterator<Item = &'n str>) -> Self {
        let size = names.len().saturating_mul(4).next_power_of_two();
        let mut slots = vec![0; size];
        for (at, name) in names.enumerate() {
            let start = hash(name);
            let free = (0..size).map(|step| start.wrapping_add(step) & size.wrapping_sub(1));
            for slot in free {
                if let Some(slot @ 0) = slots.get_mut(slot) {
                    *slot = u16::try_from(at.saturating_add(1)).unwrap_or(0);
                    break;
                }
            }
        }
        Index { slots }
    }

    /// The indexes that may be the name's.
    fn candidates(&self, name: &str) -> impl Iterator<Item = usize> {
        let mut slot = hash(name);
        std::iter::from_fn(move || {
            let at = self.slots.get(slot & self.slots.len().wrapping_sub(1)).copied()?;
            slot = slot.wrapping_add(1);
            usize::from(at).checked_sub(1)
        })
    }
}

/// A hash of the small letters, eight bytes at a time. Other bytes that differ in that bit alone may meet; names are compared behind it.
fn hash(name: &str) -> usize {
    const SMALL: u64 = 0x2020_2020_2020_2020;
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = 0_u64;
    let mut rest = name.as_bytes();
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at_checked(8).unwrap_or((rest, &[]));
        let word = match <[u8; 8]>::try_from(chunk) {
            Ok(eight) => u64::from_le_bytes(eight),
            Err(_) => chunk.iter().fold(1, |word, byte| (word << 8) | u64::from(*byte)),
        };
        hash = (hash ^ (word | SMALL)).wrapping_mul(FACTOR);
        hash ^= hash >> 32;
        rest = after;
    }
    usize::try_from(hash & u64::from(u32::MAX)).unwrap_or(0)
}

/// Whether a parameter of that name is known to filter: PHI does, and so do those that every resource has (FHIR R4 search 3.1.1.4).
pub(super) fn filters(name: &str) -> bool {
    static COMMON: &[&str] = &[
        "_has",
        "_id",
        "_lastUpdated",
        "_list",
        "_profile",
        "_query",
        "_security",
        "_source",
        "_tag",
        "_type",
    ];
    is_phi_anywhere(name) || find(COMMON, name).is_some()
}

/// Whether a path segment is a word of FHIR's own REST API or of well-known URIs (RFC 8615), and so no data.
pub(super) fn is_word(segment: &str) -> bool {
    const WORDS: [&str; 10] = [
        "metadata",
        "_history",
        "_search",
        "_typefilter",
        "fhir",
        ".well-known",
        "smart-configuration",
        "openid-configuration",
        "oauth-protected-resource",
        "jwks.json",
    ];
    let operation = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-');
    WORDS.contains(&segment) || segment.strip_prefix('$').is_some_and(operation) || resource(segment).is_some()
}

const SECRETS: [&str; 14] = [
    "access_token",
    "id_token",
    "refresh_token",
    "token",
    "id_token_hint",
    "code_verifier",
    "client_secret",
    "client_assertion",
    "assertion",
    "password",
    "api_key",
    "apikey",
    "signature",
    "sig",
];

/// Whether a parameter of that name carries a secret that no log may hold, whatever the policy says of it.
pub(super) fn is_secret(name: &str) -> bool {
    let first = name.as_bytes().first().map_or(0, |first| first | 0x20);
    b"aciprst".contains(&first) && SECRETS.iter().any(|secret| secret.eq_ignore_ascii_case(name))
}

fn resource(token: &str) -> Option<&'static Resource> {
    // Some servers drop blanks and dots at the end of a segment.
    let token = token.trim_matches([' ', '.']);
    static INDEX: LazyLock<Index> = LazyLock::new(|| Index::of(RESOURCES.iter().map(|resource| resource.name)));
    let named = |at| {
        RESOURCES
            .get(at)
            .filter(|resource: &&Resource| resource.name.eq_ignore_ascii_case(token))
    };
    INDEX.candidates(token).find_map(named)
}

fn compare(a: &str, b: &str) -> Ordering {
    a.bytes()
        .map(|b| b.to_ascii_lowercase())
        .cmp(b.bytes().map(|b| b.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::super::fhir_r4::{DIGEST, PAIRS};
    use super::*;
    use sha2::{Digest, Sha256};

    fn carries(path: &str, name: &str) -> Option<&'static str> {
        let target = Target::parse(path.as_bytes()).ok().unwrap();
        phi_name(name, &Scope::of(&target), false)
    }

    #[test]
    fn the_table_is_what_the_generator_wrote() {
        let lines: String = RESOURCES
            .iter()
            .map(|r| {
                let (phi, harmless) = (r.phi.join(" "), r.harmless.join(" "));
                format!("{} {} {} {phi} but {harmless}\n", r.name, r.in_compartment, r.is_person)
            })
            .collect();
        let digest: String = Sha256::digest(lines).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            digest, DIGEST,
            "the table was edited: run filters/policy/fhir-r4/generate.mjs"
        );
        assert_eq!(
            (RESOURCES.len(), RESOURCES.iter().filter(|r| r.in_compartment).count()),
            (145, 67)
        );
        let own = |r: &Resource| r.phi.iter().filter(|n| !n.starts_with('_')).count();
        assert_eq!(RESOURCES.iter().map(own).sum::<usize>(), PAIRS);
    }

    #[test]
    fn the_tables_are_sorted_and_agree() {
        assert!(RESOURCES.is_sorted_by(|a, b| compare(a.name, b.name) == Ordering::Less));
        for list in RESOURCES
            .iter()
            .flat_map(|r| [r.phi, r.harmless])
            .chain([ANY, FREE_TEXT, RESULT_PARAMETERS])
        {
            assert!(list.is_sorted_by(|a, b| compare(a, b) == Ordering::Less), "{list:?}");
        }
        let all = |r: &Resource| [r.phi, r.harmless].concat();
        assert!(RESOURCES.iter().flat_map(all).all(is_phi_anywhere));
        assert!(
            RESOURCES
                .iter()
                .all(|r| r.harmless.iter().all(|name| r.is_harmless(name)))
        );
        assert!(ANY.iter().all(|name| any(&name.to_ascii_uppercase()) == Some(name)));
        assert!(
            RESOURCES
                .iter()
                .all(|r| resource(&r.name.to_ascii_lowercase()).is_some_and(|found| found.name == r.name))
        );
        assert!(any("").is_none() && any("nobody").is_none() && resource("Nothing").is_none());
        assert!(ANY.iter().all(|name| RESOURCES.iter().any(|r| r.phi.contains(name))));
        assert!(RESOURCES.iter().filter(|r| r.is_person).map(|r| &r.name).eq(PERSONS));
        assert!(RESULT_PARAMETERS.iter().all(|name| !is_phi_anywhere(name)));
    }

    #[test]
    fn spot_checks_of_the_table() {
        for (path, names, phi) in [
            (
                "/Patient",
                "name family given phonetic birthdate death-date gender identifier address address-city",
                true,
            ),
            (
                "/Patient",
                "address-postalcode telecom phone email link language _id _content _text _filter",
                true,
            ),
            (
                "/Patient",
                "active organization general-practitioner address-use _count _sort _lastUpdated code",
                false,
            ),
            (
                "/Observation",
                "patient subject date identifier value-date value-string performer _text code-value-date",
                true,
            ),
            (
                "/Observation",
                "code category status value-quantity device _id _include",
                false,
            ),
            ("/Encounter", "patient subject date identifier", true),
            // Defined on other types alone: an upstream that knows them here too would be asked in the clear.
            ("/Observation", "name birthdate", true),
            ("/Medication", "patient subject name", true),
            ("/Organization", "birthdate gender family telecom", true),
            ("/Practitioner", "birthdate patient period", true),
            ("/metadata/Binary", "name", true),
            ("/Encounter", "status class type location service-provider", false),
            ("/Device", "patient", true),
            ("/Device", "identifier model", false),
            (
                "/Practitioner",
                "name family gender identifier phone _id _content",
                false,
            ),
            ("/Organization", "name address identifier", false),
            ("/ValueSet", "url name date title description _text", false),
            ("/Medication", "identifier lot-number expiration-date code", false),
        ] {
            for name in names.split(' ') {
                assert_eq!(carries(path, name).is_some(), phi, "{path}?{name}");
            }
        }
    }

    #[test]
    fn names_are_seen_through_modifiers_chains_and_spellings() {
        for (path, name, phi) in [
            ("/Patient", "name:exact", Some("name")),
            ("/Patient", "NAME", Some("name")),
            ("/patient", "BirthDate", Some("birthdate")),
            ("/Patient", "ｂｉｒｔｈｄａｔｅ", Some("birthdate")),
            ("/Patient", "birth\u{200b}date", Some("birthdate")),
            ("/Patient", " birthdate", Some("birthdate")),
            ("/Patient", "birthdate[]", Some("birthdate")),
            ("/Patient", "birthdate[0]", Some("birthdate")),
            ("/Observation", "subject:Patient.name", Some("subject")),
            ("/Observation", "patient.name", Some("patient")),
            ("/Observation", "encounter.patient.name", Some("patient")),
            ("/Observation", "encounter:Encounter.date", Some("date")),
            ("/Observation", "encounter:Encounter.status", None),
            ("/DiagnosticReport", "result.value-string", Some("value-string")),
            ("/Patient", "_has:Observation:patient:code", Some("patient")),
            ("/Patient", "_HAS:observation:subject:code", Some("subject")),
            ("/Patient", "_has:Group:member:_id", Some("member")),
            ("/Practitioner", "_has:Observation:performer:code", Some("performer")),
            ("/Practitioner", "_has:PractitionerRole:practitioner:specialty", None),
            ("/Encounter", "location:Location.name", None),
            ("/Encounter", "location:Location.birthdate", Some("birthdate")),
            ("/Observation", "encounter:Encounter.name", Some("name")),
            ("/Observation", "encounter:encounter.name", Some("name")),
            ("/Location", "_has:PractitionerRole:location:date", None),
            ("/Location", "_has:PractitionerRole:location:name", Some("name")),
            ("/Location", "_has:Encounter:location:identifier", Some("identifier")),
            ("/Location", "_has:encounter:location:identifier", Some("identifier")),
            ("/Organization", "_has:HealthcareService:organization:name", None),
            ("/Organization", "_has:medication:manufacturer:patient", Some("patient")),
            ("/Encounter", "location.name", Some("name")),
            ("/Patient", "organization:identifier", None),
            ("/Patient", "organization:missing", None),
            ("/", "birthdate", Some("birthdate")),
            ("/", "code", None),
            ("/fhir/r4/metadata", "subject", Some("subject")),
            ("/Practitioner/$everything", "patient", Some("patient")),
            ("/Patient/7/Observation", "date", Some("date")),
            ("/Patient/Practitioner", "name", Some("name")),
            ("/Practitioner/Patient", "name", Some("name")),
            ("/Practitioner/7/Medication", "name", None),
            ("/Practitioner/7/Medication", "birthdate", Some("birthdate")),
            ("/Observation/7/Practitioner", "_text", Some("_text")),
            ("/fhir/Patient/_search", "name", Some("name")),
            ("/Practitioner", "", None),
        ] {
            assert_eq!(carries(path, name), phi, "{path}?{name}");
        }
    }

    #[test]
    fn references_to_persons_are_found_in_values() {
        for (value, refers) in [
            ("Patient/7", true),
            ("patient/7", true),
            ("https://ehr.example.org/fhir/RelatedPerson/x", true),
            ("Practitioner/1,Patient/7", true),
            ("/fhir/Patient?name=Chalmers", true),
            ("x&birthdate=1970", true),
            ("Practitioner/7", false),
            ("Patient", false),
            ("Patient/", false),
            ("http://loinc.org|8867-4", false),
            ("application/fhir+json", false),
            ("YWJj==", false),
            ("a=b", false),
        ] {
            assert_eq!(refers_to_person(value), refers, "{value}");
        }
    }

    #[test]
    fn ids_follow_a_person() {
        for (before, segment, id) in [
            ("Patient", "7", true),
            ("patient", "7", true),
            ("Patient ", "7", true),
            ("Patient.", "7", true),
            ("Person", "a-b.c", true),
            ("RelatedPerson", "Observation", true),
            ("Patient", "_search", false),
            ("Patient", "_history", false),
            ("Patient", "$match", false),
            ("Patient", "$512345678", true),
            ("Patient", "_7", true),
            ("Observation", "7", false),
            ("fhir", "7", false),
        ] {
            assert_eq!(is_id(before, segment, false), id, "{before}/{segment}");
        }
        assert!(is_id("Observation", "7", true));
        assert!(!is_id("Organization", "7", true));
    }
}
