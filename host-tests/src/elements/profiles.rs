//! Whether the ready profiles reach every element of FHIR R4 that they should, by datatype.

use scrim_policy::profiles::{PROFILES, Profile};

use super::*;

/// The compiled profile.
fn view(profile: &str) -> &'static Program {
    static COMPILED: LazyLock<BTreeMap<&str, Program>> = LazyLock::new(|| {
        let compiled = |profile: &'static Profile| {
            let rules = scrim_policy::trim::Rules {
                fhir: Some(profile.rules().expect("paths")),
                ..Default::default()
            };
            (profile.name, Program::compile(rules).expect("small"))
        };
        PROFILES.iter().map(compiled).collect()
    });
    COMPILED.get(profile).expect("a profile")
}

/// What becomes of an element, by its path.
fn fate(profile: &str, resource: &str, path: &str) -> Fate {
    let mut found = None;
    walk(resource, &mut |way| {
        let names: Vec<_> = way.iter().map(|each| each.name.as_str()).collect();
        if names.join(".") == path {
            found = Some(fate_of(view(profile), resource, way));
        }
        path.split('.').zip(&names).all(|(one, other)| one == *other)
    });
    found.unwrap_or_else(|| panic!("{resource} has no {path}"))
}

/// What of those datatypes a profile leaves as it is, by HL7's path, with the resource types where it does.
fn left(profile: &'static str, wanted: &dyn Fn(&Member) -> bool) -> BTreeMap<String, BTreeSet<&'static str>> {
    let view = view(profile);
    let mut found: BTreeMap<String, BTreeSet<&'static str>> = BTreeMap::new();
    for resource in resource_types() {
        if Fates::fate(view, resource, &[], false) == Fate::Drop {
            continue;
        }
        walk(resource, &mut |way| {
            let Some(last) = way.last() else { return false };
            if matches!(fate_of(view, resource, way), Fate::Drop | Fate::Change) {
                return false;
            }
            // What can stand in a modifier extension is looked at once for each type, and not far down.
            let depth = way
                .iter()
                .rev()
                .take_while(|each| each.name != "modifierExtension")
                .count();
            if depth < way.len() && (depth + 1 < way.len() || depth > 3) {
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
    (
        "Parameters.parameter.name",
        "the operation's definition gives it; mandatory",
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
    for (resource, path) in [
        ("Patient", "birthDate"),
        ("Patient", "id"),
        ("Patient", "address.postalCode"),
        ("Encounter", "period.start"),
        ("Condition", "onsetAge.value"),
        ("Observation", "subject.reference"),
        ("Observation", "issued"),
    ] {
        assert_eq!(
            fate("limited-data-set", resource, path),
            Fate::Keep,
            "{resource}.{path}"
        );
    }
}

#[test]
fn clinical_no_narrative_takes_notes_and_leaves_findings() {
    for (resource, path, stays) in [
        ("Observation", "note", false),
        ("Observation", "valueString", true),
        ("Observation", "code.text", true),
        ("Observation", "text", false),
        ("DiagnosticReport", "conclusion", true),
        ("NutritionOrder", "oralDiet.instruction", true),
        ("DiagnosticReport", "conclusionCode", true),
        ("Goal", "description", true),
        ("CarePlan", "description", false),
        ("MedicationRequest", "dosageInstruction.text", true),
        ("MedicationRequest", "dosageInstruction.patientInstruction", true),
        ("Communication", "payload", false),
        ("Patient", "name", true),
    ] {
        assert_eq!(
            fate("clinical-no-narrative", resource, path) != Fate::Drop,
            stays,
            "{resource}.{path}"
        );
    }
}

#[test]
fn demographics_keep_what_addresses_a_person() {
    for (resource, path, stays) in [
        ("Patient", "name.family", true),
        ("Patient", "deceasedBoolean", true),
        ("Patient", "identifier", false),
        ("Patient", "photo", false),
        ("Patient", "text", false),
        ("Patient", "maritalStatus", false),
        ("RelatedPerson", "patient", true),
        ("Bundle", "entry", true),
    ] {
        assert_eq!(
            fate("demographics", resource, path) != Fate::Drop,
            stays,
            "{resource}.{path}"
        );
    }
    assert_eq!(Fates::fate(view("demographics"), "Observation", &[], false), Fate::Drop);
}

#[test]
fn a_profile_removes_mandatory_and_modifier_elements_only_as_it_says() {
    for profile in &PROFILES {
        let unsafe_paths: Vec<_> = profile.unsafe_paths().collect();
        let told = removals(view(profile.name), &unsafe_paths);
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
            let transforms: BTreeMap<&str, &str> = rules.transforms().chain(profile.all.transforms()).collect();
            if transforms.is_empty() {
                continue;
            }
            walk(resource, &mut |way| {
                let names: Vec<_> = way.iter().map(|each| each.name.as_str()).collect();
                let Some(last) = way.last() else { return false };
                let fate = fate_of(view(profile.name), resource, way);
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
                fate == Fate::Partly && last.name != "modifierExtension"
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
