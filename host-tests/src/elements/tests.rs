//! Tests of the elements and of what is said by them.

use super::*;

use sha2::{Digest as _, Sha256};

/// A view that removes what `gone` names: `Type.path` or `path`, and all in it.
struct Fake {
    gone: Vec<&'static str>,
    types: Option<Vec<&'static str>>,
}

impl Fates for Fake {
    fn fate(&self, resource: &str, path: &[&str], _: bool) -> Fate {
        if path.is_empty() && self.types.as_ref().is_some_and(|types| !types.contains(&resource)) {
            return Fate::Drop;
        }
        let path = path.join(".").replace("[]", "");
        let inside = |gone: &&str| {
            let of_type = gone.strip_prefix(resource).and_then(|rest| rest.strip_prefix('.'));
            path.is_empty()
                || of_type
                    .unwrap_or(gone)
                    .strip_prefix(&path)
                    .is_some_and(|rest| rest.starts_with('.'))
        };
        if self.gone.iter().any(|gone| covers(gone, resource, &path)) {
            Fate::Drop
        } else if self.gone.iter().any(inside) {
            Fate::Partly
        } else {
            Fate::Keep
        }
    }
}

fn messages(gone: &[&'static str], types: Option<&[&'static str]>, unsafe_paths: &[&str]) -> Vec<String> {
    let fake = Fake {
        gone: gone.to_vec(),
        types: types.map(<[_]>::to_vec),
    };
    removals(&fake, unsafe_paths)
        .found
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn element(resource: &str, path: &str) -> Member {
    let mut found = None;
    walk(resource, &mut |way| {
        let names: Vec<_> = way.iter().map(|each| each.name.as_str()).collect();
        if names.join(".") == path {
            found = way.last().cloned();
        }
        path.split('.').zip(&names).all(|(one, other)| one == *other)
    });
    found.unwrap_or_else(|| panic!("{resource} has no {path}"))
}

#[test]
fn the_table_is_what_the_generator_wrote() {
    let mut text = String::new();
    for (name, kind, base, elements) in fhir_r4::TYPES {
        text += &format!("{name} {base} {kind:?} {elements}\n");
    }
    assert_eq!(format!("{:x}", Sha256::digest(text)), fhir_r4::DIGEST);
    assert!(fhir_r4::TYPES.is_sorted_by_key(|(name, ..)| *name));
}

/// What a type inherits and what it defines are together what HL7's snapshots list.
#[test]
fn expanding_gives_back_hl7s_counts() {
    fn count(at: Place, counts: &mut [usize; 4]) {
        let mut elements = at.members();
        elements.dedup_by_key(|member| member.element.path);
        for member in elements {
            counts[1] += 1;
            counts[2] += usize::from(member.element.mandatory);
            counts[3] += usize::from(member.element.modifier);
            if matches!(member.datatype, "BackboneElement" | "Element") && !member.element.types[0].starts_with('@') {
                count(member.inside, counts);
            }
        }
    }
    let mut counts = [0; 4];
    for resource in resource_types() {
        counts[0] += 1;
        count(Place::of(resource), &mut counts);
    }
    assert_eq!(counts, fhir_r4::COUNTS);
    // FHIR 4.0.1 without what the package adds: some hundred elements.
    assert_eq!(counts, [146, 6_987, 728, 882]);
}

#[test]
fn well_known_elements_are_what_hl7_says() {
    for (resource, path, mandatory, modifier, repeats, datatype) in [
        ("Patient", "active", false, true, false, "boolean"),
        ("Patient", "link", false, true, true, "BackboneElement"),
        ("Patient", "link.other", true, false, false, "Reference"),
        ("Patient", "deceasedDateTime", false, true, false, "dateTime"),
        ("Patient", "name.family", false, false, false, "string"),
        ("Patient", "name.use", false, true, false, "code"),
        ("Patient", "birthDate", false, false, false, "date"),
        ("Patient", "text.div", true, false, false, "xhtml"),
        ("Patient", "contained", false, false, true, "Resource"),
        ("Patient", "implicitRules", false, true, false, "uri"),
        ("Patient", "meta.security", false, false, true, "Coding"),
        ("Observation", "status", true, true, false, "code"),
        ("Observation", "code", true, false, false, "CodeableConcept"),
        ("Observation", "valueQuantity.comparator", false, true, false, "code"),
        (
            "Observation",
            "component.referenceRange.low.value",
            false,
            false,
            false,
            "decimal",
        ),
        (
            "Observation",
            "component.modifierExtension",
            false,
            true,
            true,
            "Extension",
        ),
        (
            "AllergyIntolerance",
            "verificationStatus",
            false,
            true,
            false,
            "CodeableConcept",
        ),
        ("AllergyIntolerance", "onsetAge.comparator", false, true, false, "code"),
        ("MedicationRequest", "doNotPerform", false, true, false, "boolean"),
        ("MedicationRequest", "intent", true, true, false, "code"),
        (
            "MedicationRequest",
            "dosageInstruction.timing.repeat.boundsPeriod.start",
            false,
            false,
            false,
            "dateTime",
        ),
        ("Questionnaire", "item.item.linkId", true, false, false, "string"),
        ("Bundle", "entry.link.url", true, false, false, "uri"),
    ] {
        let found = element(resource, path);
        let is = (
            found.element.mandatory,
            found.element.modifier,
            found.element.repeats,
            found.datatype,
        );
        assert_eq!(is, (mandatory, modifier, repeats, datatype), "{resource}.{path}");
    }
}

#[test]
fn a_walk_ends() {
    let mut most = 0;
    for resource in resource_types() {
        let mut seen = 0;
        walk(resource, &mut |way| {
            seen += 1;
            assert!(way.len() <= DEPTH);
            !matches!(way.last().map(|each| each.datatype), Some("Extension"))
        });
        most = most.max(seen);
    }
    assert!((1_000..200_000).contains(&most), "{most}");
}

#[test]
fn rule_1_unknown_names_get_the_nearest() {
    assert_eq!(known_type("Observation"), Ok(()));
    for (name, told) in [
        (
            "Observatoin",
            "`Observatoin` is no resource type of FHIR R4, did you mean `Observation`?",
        ),
        (
            "observation",
            "`observation` is no resource type of FHIR R4, did you mean `Observation`?",
        ),
        (
            "HumanName",
            "`HumanName` is no resource type of FHIR R4, see hl7.org/fhir/R4/resourcelist.html",
        ),
        (
            "DomainResource",
            "`DomainResource` is no resource type of FHIR R4, see hl7.org/fhir/R4/resourcelist.html",
        ),
    ] {
        assert_eq!(known_type(name), Err(told.to_owned()));
    }
    for (resource, path) in [
        (Some("Patient"), "name.family"),
        (Some("Patient"), "_birthDate"),
        (Some("Patient"), "deceased[x]"),
        (Some("Patient"), "deceasedBoolean"),
        (Some("Patient"), "**.family"),
        (Some("Patient"), "extension.valueString"),
        (Some("Questionnaire"), "item.item.item.text"),
        (Some("Observation"), "performer.display"),
        (Some("Observation"), "value[x].comparator"),
        (None, "meta.source"),
        (None, "**.telecom"),
        (None, "**.subject.reference"),
        (None, "subject.display"),
        (Some("Patient"), "..family"),
        (Some("Patient"), "telecom[?@.system == 'a]b' && @['x'] == \"y\"].value"),
    ] {
        assert_eq!(known_path(resource, path), Ok(()), "{path}");
    }
    for (resource, path, told) in [
        (
            Some("Patient"),
            "name.famliy",
            "`name.famliy`: `Patient.name` has no element `famliy` in FHIR R4, did you mean `family`?",
        ),
        (
            Some("Patient"),
            "birthdate",
            "`birthdate`: `Patient` has no element `birthdate` in FHIR R4, did you mean `birthDate`?",
        ),
        (
            Some("Patient"),
            "birthDate.year",
            "`birthDate.year`: `Patient.birthDate` has no elements in FHIR R4",
        ),
        (
            Some("Patient"),
            "note",
            "`note`: `Patient` has no element `note` in FHIR R4, did you mean `name`?",
        ),
        (
            Some("Patient"),
            "**.telcom",
            "`**.telcom`: `Patient` has no element `telcom` in FHIR R4, did you mean `telecom`?",
        ),
        (
            None,
            "meta.sorce",
            "`meta.sorce` is an element of no resource type of FHIR R4, did you mean `source`?",
        ),
        (
            None,
            "**.ssnumber",
            "`**.ssnumber` is an element of no resource type of FHIR R4, did you mean `number`?",
        ),
    ] {
        assert_eq!(known_path(resource, path), Err(told.to_owned()));
    }
}

#[test]
fn rule_2_mandatory_and_modifier_elements_are_guarded() {
    for (gone, told) in [
        (
            "Observation.status",
            "this view removes `Observation.status`, a modifier element: without it `entered-in-error` or `cancelled` reads as valid; keep it, or name it under `unsafe`",
        ),
        (
            "Observation.code",
            "this view removes `Observation.code`, a mandatory element: without it the resource is not valid, and clients may refuse it; keep it, or name it under `unsafe`",
        ),
        (
            "Patient.active",
            "this view removes `Patient.active`, a modifier element: without it a record that is no longer in use reads as current; keep it, or name it under `unsafe`",
        ),
        (
            "Patient.link",
            "this view removes `Patient.link`, a modifier element: without it a record that was replaced reads as current; keep it, or name it under `unsafe`",
        ),
        (
            "Patient.deceasedBoolean",
            "this view removes `Patient.deceased[x]`, a modifier element: without it a dead person reads as living; keep it, or name it under `unsafe`",
        ),
        (
            "AllergyIntolerance.verificationStatus",
            "this view removes `AllergyIntolerance.verificationStatus`, a modifier element: without it `refuted` or `entered-in-error` reads as true; keep it, or name it under `unsafe`",
        ),
        (
            "MedicationRequest.doNotPerform",
            "this view removes `MedicationRequest.doNotPerform`, a modifier element: without it a prohibition reads as an order; keep it, or name it under `unsafe`",
        ),
        (
            "Patient.name.use",
            "this view removes `Patient.name.use`, a modifier element: without it an old or temporary one reads as current; keep it, or name it under `unsafe`",
        ),
        (
            "implicitRules",
            "this view removes `implicitRules` of `Account`, `ActivityDefinition`, `AdverseEvent` and 143 more types, a modifier element: without it what stays is read by rules that do not hold for it; keep it, or name it under `unsafe`",
        ),
    ] {
        assert_eq!(messages(&[gone], None, &[]), [told]);
        assert_eq!(
            messages(&[gone], None, &[gone.trim_end_matches("Boolean")]).len(),
            usize::from(gone.ends_with("Boolean"))
        );
    }
}

#[test]
fn rule_2_what_goes_whole_takes_its_mandatory_elements_along() {
    for gone in [
        "Observation.component",
        "Patient.contact",
        "text",
        "Observation.note",
        "Patient.birthDate",
    ] {
        assert!(messages(&[gone], None, &[]).is_empty(), "{gone}");
    }
    assert!(messages(&["Observation.status"], Some(&["Patient"]), &[]).is_empty());
    // One form of a mandatory choice is enough to be valid.
    assert!(messages(&["MedicationAdministration.effectivePeriod"], None, &[]).is_empty());
    let both = [
        "MedicationAdministration.effectivePeriod",
        "MedicationAdministration.effectiveDateTime",
    ];
    assert_eq!(messages(&both, None, &[]).len(), 1);
}

#[test]
fn rule_2_unsafe_lifts_and_what_it_lifts_not_is_told() {
    let fake = Fake {
        gone: vec!["Observation.status", "Patient.name.use", "modifierExtension"],
        types: None,
    };
    let told = removals(
        &fake,
        &[
            "Observation.status",
            "**.use",
            "modifierExtension",
            "Patient.active",
            "statu",
        ],
    );
    assert_eq!(
        told,
        Removals {
            found: vec![],
            idle: vec![3, 4]
        }
    );
    let told = removals(&fake, &["status", "Patient.name"]);
    assert_eq!(
        told.found.iter().map(|each| each.path.as_str()).collect::<Vec<_>>(),
        ["modifierExtension"]
    );
    assert!(told.idle.is_empty());
}

#[test]
fn rule_3_transforms_fit_their_datatypes() {
    for (resource, path, transform) in [
        ("Patient", "birthDate", "birth-year"),
        ("Patient", "birthDate", "year-month"),
        ("Patient", "name.family", "mask"),
        ("Patient", "address.postalCode", "zip3"),
        ("Patient", "id", "tokenize"),
        ("Observation", "valueQuantity.value", "round"),
        ("Observation", "subject.reference", "tokenize"),
    ] {
        assert_eq!(misfit(Some(resource), path, transform), None, "{path} {transform}");
    }
    for (resource, path, transform, told) in [
        (
            Some("Patient"),
            "birthDate",
            "mask",
            "`mask` makes no valid `date` of `Patient.birthDate`; `year` or `year-month` keeps it a date, else deny it",
        ),
        (
            Some("Patient"),
            "gender",
            "null",
            "`null` makes no valid `code` of `Patient.gender`; FHIR has no null there; deny it instead",
        ),
        (
            Some("Patient"),
            "name",
            "mask",
            "`mask` makes no valid `HumanName` of `Patient.name`; name an element in it",
        ),
        (
            Some("Encounter"),
            "period",
            "year",
            "`year` makes no valid `Period` of `Encounter.period`; name its `start` and `end`",
        ),
        (
            Some("Observation"),
            "issued",
            "year",
            "`year` makes no valid `instant` of `Observation.issued`; an instant has a time; deny it instead",
        ),
        (
            Some("Observation"),
            "valueInteger",
            "last4",
            "`last4` makes no valid `integer` of `Observation.valueInteger`; `round` keeps it a number, else deny it",
        ),
        (
            Some("Patient"),
            "id",
            "mask",
            "`mask` makes no valid `id` of `Patient.id`; deny it instead",
        ),
        (
            None,
            "meta.lastUpdated",
            "year",
            "`year` makes no valid `instant` of `meta.lastUpdated`; an instant has a time; deny it instead",
        ),
    ] {
        assert_eq!(misfit(resource, path, transform).as_deref(), Some(told));
    }
}
