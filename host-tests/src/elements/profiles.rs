//! Whether the ready profiles reach every element of FHIR R4 that they should, by datatype.

use scrim_policy::profiles::{Others, PROFILES, Profile, Rules};

use super::*;

/// A profile by its documented meaning.
struct Book {
    profile: &'static Profile,
    all: Sheet,
    types: BTreeMap<&'static str, Sheet>,
}

/// Rules, looked up by path.
struct Sheet {
    allow: Option<BTreeSet<&'static str>>,
    deny: BTreeSet<&'static str>,
    change: BTreeSet<&'static str>,
}

impl Sheet {
    fn new(rules: Rules) -> Sheet {
        Sheet {
            allow: rules.allow().map(Iterator::collect),
            deny: rules.deny().collect(),
            change: rules.transforms().map(|(path, _)| path).collect(),
        }
    }
}

impl Book {
    fn named(name: &str) -> Book {
        let profile = Profile::named(name).expect("a profile");
        let types = profile.types().map(|(name, rules)| (name, Sheet::new(rules))).collect();
        Book {
            profile,
            all: Sheet::new(profile.all),
            types,
        }
    }
}

impl Fates for Book {
    fn fate(&self, resource: &str, path: &[&str]) -> Fate {
        let listed = self.types.get(resource);
        if listed.is_none() && self.profile.others == Others::Remove {
            return Fate::Drop;
        }
        let sheets = || listed.into_iter().chain([&self.all]);
        let group = |name: &str| self.profile.remove.contains(&name);
        let in_group = (group("extensions") && path.contains(&"extension"))
            || (group("narrative") && path.first() == Some(&"text"));
        if in_group || sheets().any(|sheet| reached(&sheet.deny, path)) {
            return Fate::Drop;
        }
        let mut partly = false;
        for allow in sheets()
            .filter_map(|sheet| sheet.allow.as_ref())
            .filter(|_| !path.is_empty())
        {
            let leads = |rule: &&str| rule.split('.').zip(path).all(|(one, other)| one == *other);
            if !reached(allow, path) {
                partly |= allow.iter().any(|rule| leads(rule));
                if !partly {
                    return Fate::Drop;
                }
            }
        }
        if sheets().any(|sheet| reached(&sheet.change, path)) {
            Fate::Change
        } else {
            Fate::Partly
        }
    }
}

/// Whether a rule selects the element at this path, or what it stands in.
fn reached(rules: &BTreeSet<&str>, path: &[&str]) -> bool {
    let mut way = String::new();
    path.iter().any(|name| {
        if !way.is_empty() {
            way.push('.');
        }
        let start = way.len();
        way.push_str(name);
        let stem = name
            .find(|letter: char| letter.is_ascii_uppercase())
            .and_then(|at| name.get(..at));
        let choice = stem.is_some_and(|stem| rules.contains(format!("{}{stem}[x]", &way[..start]).as_str()));
        choice || rules.contains(way.as_str()) || rules.contains(format!("**.{name}").as_str())
    })
}

/// What of those datatypes a profile leaves as it is, by HL7's path, with the resource types where it does.
fn left(profile: &'static str, wanted: &dyn Fn(&Member) -> bool) -> BTreeMap<String, BTreeSet<&'static str>> {
    let view = Book::named(profile);
    let mut found: BTreeMap<String, BTreeSet<&'static str>> = BTreeMap::new();
    for resource in resource_types() {
        if view.fate(resource, &[]) == Fate::Drop {
            continue;
        }
        walk(resource, &mut |way| {
            let names: Vec<&str> = way.iter().map(|each| each.name.as_str()).collect();
            let Some(last) = way.last() else { return false };
            if matches!(view.fate(resource, &names), Fate::Drop | Fate::Change) {
                return false;
            }
            // What can stand in a modifier extension is looked at once for each type.
            if last.name == "modifierExtension" && way.len() > 1 {
                return false;
            }
            if wanted(last) {
                let choice = if last.element.name().ends_with("[x]") {
                    format!(" {}", last.name)
                } else {
                    String::new()
                };
                found
                    .entry(last.element.definition() + &choice)
                    .or_default()
                    .insert(resource);
            }
            true
        });
    }
    found
}

/// Datatypes whose values can tell of somebody whatever the element.
const TELLING: &[&str] = &[
    "Annotation",
    "Attachment",
    "ContactDetail",
    "ContactPoint",
    "Contributor",
    "Expression",
    "HumanName",
    "Identifier",
    "Narrative",
    "RelatedArtifact",
    "Signature",
    "base64Binary",
    "markdown",
    "oid",
    "string",
    "uri",
    "url",
    "uuid",
    "xhtml",
];

/// What stays all the same in both profiles for data that shall not tell who it is about.
const VOCABULARY: &[(&str, &str)] = &[
    (
        "Address.country",
        "164.514(b)(2)(i)(B): subdivisions smaller than a state",
    ),
    (
        "Address.state",
        "164.514(b)(2)(i)(B): subdivisions smaller than a state",
    ),
    ("Bundle.link.relation", "`next` and its like"),
    ("Bundle.link.url", "paging; phi-url judges it"),
    ("Coding.system", "names a code system"),
    ("Coding.version", "names a code system's version"),
    (
        "Extension.url",
        "names a definition; only of modifier extensions, for without it nobody knows that they are there",
    ),
    ("Quantity.system", "names a code system"),
    ("Quantity.unit", "a unit of measure"),
    (
        "QuestionnaireResponse.item.linkId",
        "a question's key in the form; mandatory",
    ),
    ("Reference.type", "a resource type"),
    ("Resource.implicitRules", "a modifier; names a definition"),
    ("SampledData.data", "numbers"),
];

const URLS_OF_BUNDLES: &[(&str, &str)] = &[
    (
        "Bundle.entry.fullUrl",
        "the server's own name of the resource, as its id",
    ),
    ("Bundle.entry.request.ifMatch", "a version"),
    ("Bundle.entry.request.ifNoneMatch", "a version"),
    ("Bundle.entry.request.url", "as fullUrl"),
    ("Bundle.entry.response.etag", "a version"),
    ("Bundle.entry.response.location", "as fullUrl"),
    ("Bundle.entry.response.status", "an HTTP status"),
    ("Reference.reference", "logical ids are none of the sixteen identifiers"),
];

fn assert_left(profile: &'static str, wanted: &dyn Fn(&Member) -> bool, exceptions: &[&[(&str, &str)]]) {
    let mut left = left(profile, wanted);
    for (path, reason) in exceptions.iter().copied().flatten() {
        assert!(!reason.is_empty());
        assert!(
            left.remove(*path).is_some(),
            "{profile} does not leave `{path}`: take it off the list"
        );
    }
    assert!(left.is_empty(), "{profile} leaves {left:#?}");
}

#[test]
fn safe_harbor_leaves_nothing_that_tells_of_somebody() {
    assert_left(
        "safe-harbor",
        &|member| TELLING.contains(&member.datatype),
        &[VOCABULARY],
    );
}

#[test]
fn safe_harbor_leaves_no_date_and_no_age() {
    let dates = |member: &Member| matches!(member.datatype, "date" | "dateTime" | "instant" | "Age");
    assert_left("safe-harbor", &dates, &[]);
}

#[test]
fn safe_harbor_leaves_no_id() {
    let reasons = &[(
        "RequestGroup.action.relatedAction.actionId",
        "an element's id within the resource; mandatory",
    )];
    assert_left(
        "safe-harbor",
        &|member| member.datatype == "id" || member.name == "id",
        &[reasons],
    );
}

#[test]
fn safe_harbor_leaves_state_and_country_of_an_address() {
    let of_address = |member: &Member| member.element.of == "Address";
    let reasons = &[
        ("Address.country", "164.514(b)(2)(i)(B)"),
        ("Address.period", "its dates become years"),
        ("Address.state", "164.514(b)(2)(i)(B)"),
        ("Address.type", "postal or physical"),
        ("Address.use", "a modifier"),
    ];
    assert_left(
        "safe-harbor",
        &of_address,
        &[&reasons
            .iter()
            .copied()
            .filter(|(path, _)| *path != "Address.extension")
            .collect::<Vec<_>>()],
    );
}

#[test]
fn a_limited_data_set_leaves_no_direct_identifier() {
    let address = &[
        (
            "Address.city",
            "164.514(e)(2)(ii): other than town or city, State, and zip code",
        ),
        ("Address.postalCode", "164.514(e)(2)(ii)"),
    ];
    let telling = |member: &Member| TELLING.contains(&member.datatype) && member.name != "id";
    assert_left("limited-data-set", &telling, &[VOCABULARY, URLS_OF_BUNDLES, address]);
}

#[test]
fn a_limited_data_set_keeps_dates_and_ids() {
    let view = Book::named("limited-data-set");
    for (resource, path) in [
        ("Patient", "birthDate"),
        ("Patient", "id"),
        ("Patient", "address.postalCode"),
        ("Encounter", "period.start"),
        ("Condition", "onsetAge.value"),
        ("Observation", "subject.reference"),
        ("Observation", "issued"),
    ] {
        let names: Vec<_> = path.split('.').collect();
        assert_eq!(view.fate(resource, &names), Fate::Partly, "{resource}.{path}");
    }
}

#[test]
fn clinical_no_narrative_takes_notes_and_leaves_findings() {
    let view = Book::named("clinical-no-narrative");
    for (resource, path, fate) in [
        ("Observation", "note", Fate::Drop),
        ("Observation", "valueString", Fate::Partly),
        ("Observation", "code.text", Fate::Partly),
        ("Observation", "text", Fate::Drop),
        ("DiagnosticReport", "conclusion", Fate::Drop),
        ("DiagnosticReport", "conclusionCode", Fate::Partly),
        ("Goal", "description", Fate::Partly),
        ("CarePlan", "description", Fate::Drop),
        ("MedicationRequest", "dosageInstruction.text", Fate::Partly),
        (
            "MedicationRequest",
            "dosageInstruction.patientInstruction",
            Fate::Partly,
        ),
        ("Communication", "payload", Fate::Drop),
        ("Patient", "name", Fate::Partly),
    ] {
        let names: Vec<_> = path.split('.').collect();
        assert_eq!(view.fate(resource, &names), fate, "{resource}.{path}");
    }
}

#[test]
fn demographics_keep_what_addresses_a_person() {
    let view = Book::named("demographics");
    for (resource, path, fate) in [
        ("Patient", "name.family", Fate::Partly),
        ("Patient", "deceasedBoolean", Fate::Partly),
        ("Patient", "identifier", Fate::Drop),
        ("Patient", "photo", Fate::Drop),
        ("Patient", "text", Fate::Drop),
        ("Patient", "maritalStatus", Fate::Drop),
        ("RelatedPerson", "patient", Fate::Partly),
        ("Bundle", "entry", Fate::Partly),
        ("Observation", "", Fate::Drop),
    ] {
        let names: Vec<_> = path.split('.').filter(|name| !name.is_empty()).collect();
        assert_eq!(view.fate(resource, &names), fate, "{resource}.{path}");
    }
}

#[test]
fn a_profile_removes_mandatory_and_modifier_elements_only_as_it_says() {
    for profile in &PROFILES {
        let unsafe_paths: Vec<_> = profile.unsafe_paths().collect();
        let told = removals(&Book::named(profile.name), &unsafe_paths);
        let found: Vec<_> = told.found.iter().map(|each| (&each.types, &each.path)).collect();
        assert!(found.is_empty(), "{}: {found:#?}", profile.name);
        assert!(told.idle.is_empty(), "{}: {:?}", profile.name, told.idle);
    }
}

#[test]
fn what_profiles_name_is_there_and_what_they_transform_stays_valid() {
    for profile in &PROFILES {
        for (resource, rules) in profile.types() {
            assert_eq!(known_type(resource), Ok(()));
            for path in rules
                .deny()
                .chain(rules.allow().into_iter().flatten())
                .chain(rules.transforms().map(|(path, _)| path))
            {
                assert_eq!(known_path(Some(resource), path), Ok(()), "{}", profile.name);
            }
            // What is denied by its own type is not transformed.
            let view = Book::named(profile.name);
            let transforms: BTreeMap<&str, &str> = rules.transforms().chain(profile.all.transforms()).collect();
            walk(resource, &mut |way| {
                let names: Vec<_> = way.iter().map(|each| each.name.as_str()).collect();
                let Some(last) = way.last() else { return false };
                let fate = view.fate(resource, &names);
                if fate == Fate::Change {
                    let exact = names.join(".");
                    let transform = transforms
                        .get(exact.as_str())
                        .or_else(|| transforms.get(format!("**.{}", last.name).as_str()));
                    let transform = transform.copied().unwrap_or_default();
                    assert!(
                        fits(transform, last.datatype),
                        "{}: {transform} of {resource}.{exact}",
                        profile.name
                    );
                }
                fate == Fate::Partly && (names.len() == 1 || last.name != "modifierExtension")
            });
        }
        for path in profile.all.deny().chain(profile.all.transforms().map(|(path, _)| path)) {
            // Choices of an extension's value are no elements of a resource type.
            let of_extension = path.strip_prefix("**.value").is_some();
            assert!(
                of_extension || known_path(None, path).is_ok(),
                "{}: {path}",
                profile.name
            );
        }
    }
}
