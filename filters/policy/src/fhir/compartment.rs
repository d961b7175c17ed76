//! Whose data a resource is: the patient's compartment (FHIR R4 compartmentdefinition-patient.html), read from JSON.
//!
//! 1. Patient is of the patient with its id.
//! 2. A resource of another type that holds a patient's data belongs to the patient when one of its type's elements refers to it, as `Patient/ID` or
//!    `Patient/ID/_history/V`, and none of them refers, or may refer, to another patient: by another id, an absolute URL, a `urn:`, a search, an
//!    identifier, or to a contained Patient. So what is about two patients belongs to none.
//! 3. Device, which may be nobody's, belongs to anyone where it refers to no patient.
//! 4. Types that hold no patient's data belong to anyone, and so does OperationOutcome.
//! 5. A Bundle belongs when each resource in it does, Bundles among them.
//!    There a Provenance belongs, too, all of whose targets are resources of the same Bundle that are the patient's: what a server returns for
//!    `_revinclude=Provenance:target` need not name the patient.
//! 6. Parameters, and types that FHIR R4 does not have, belong to nobody.

use super::Unclear;
use super::definitions::{Holding, Type};
use super::interaction::is_id;
use crate::token::json::{Json, JsonError, Limits, Object, parse_object};

/// For a body of a few MiB: FHIR nests some ten deep, and a MiB of it has some 50,000 values.
pub(super) const LIMITS: Limits = Limits {
    depth: 64,
    values: 262_144,
};

/// How deep Bundles may stand in Bundles: a batch's answer holds searches' answers.
const MAX_BUNDLES: usize = 4;

/// Whether a resource, or each one in a Bundle, belongs to the compartment of the patient whose ids `is_own` knows.
///
/// # Errors
/// [`Unclear`]: the body is not one JSON object of a resource, has a name twice, or is too deep or too large.
pub fn belongs(json: &[u8], is_own: &dyn Fn(&str) -> bool) -> Result<bool, Unclear> {
    resource_belongs(&parse(json)?, is_own, 0)
}

/// Whether a body is a resource of that type and belongs to the compartment: for [`super::Judged::check_request`].
///
/// # Errors
/// As for [`belongs`]; besides, names that differ only in case, of which a lenient upstream could take the other, and references that are searches
/// (`Encounter?identifier=..`), which upstreams may resolve among others' resources.
pub fn belongs_as(json: &[u8], resource_type: &str, is_own: &dyn Fn(&str) -> bool) -> Result<bool, Unclear> {
    let object = parse(json)?;
    refuse_twins(&object)?;
    if object
        .iter()
        .any(|(name, value)| has_conditional_reference(name, value))
    {
        return Err(Unclear("conditional_reference"));
    }
    let is_type = object.get("resourceType").and_then(Json::as_text) == Some(resource_type);
    Ok(is_type && resource_belongs(&object, is_own, 0)?)
}

pub(super) fn parse(json: &[u8]) -> Result<Object<'_>, Unclear> {
    parse_object(json, LIMITS).map_err(|error| match error {
        JsonError::Syntax => Unclear("json"),
        JsonError::DuplicateName => Unclear("json_duplicate_name"),
        JsonError::Limit => Unclear("json_limit"),
    })
}

/// Refuses names in one object that are equal but for their case, everywhere in it.
pub(super) fn refuse_twins(object: &Object<'_>) -> Result<(), Unclear> {
    let mut names: Vec<String> = object.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort_unstable();
    if names.iter().zip(names.iter().skip(1)).any(|(one, next)| one == next) {
        return Err(Unclear("json_duplicate_name"));
    }
    object.iter().try_for_each(|(_, value)| refuse_twins_in(value))
}

fn refuse_twins_in(value: &Json<'_>) -> Result<(), Unclear> {
    match value {
        Json::Object(object) => refuse_twins(object),
        Json::Array(list) => list.iter().try_for_each(refuse_twins_in),
        _ => Ok(()),
    }
}

fn has_conditional_reference(name: &str, value: &Json<'_>) -> bool {
    match value {
        Json::Object(object) => object
            .iter()
            .any(|(name, value)| has_conditional_reference(name, value)),
        Json::Array(list) => list.iter().any(|value| has_conditional_reference(name, value)),
        Json::Text(text) => name == "reference" && text.contains('?'),
        _ => false,
    }
}

fn resource_belongs(object: &Object<'_>, is_own: &dyn Fn(&str) -> bool, depth: usize) -> Result<bool, Unclear> {
    let name = object
        .get("resourceType")
        .and_then(Json::as_text)
        .ok_or(Unclear("resource_type"))?;
    let Some(resource) = Type::parse(name) else {
        return Ok(false);
    };
    match name {
        "Bundle" => bundle_belongs(object, is_own, depth),
        "Patient" => Ok(object.get("id").and_then(Json::as_text).is_some_and(is_own)),
        _ => Ok(match resource.holding() {
            None => true,
            Some(holding) => Owners::of(object, holding).are(is_own, name == "Device"),
        }),
    }
}

fn bundle_belongs(object: &Object<'_>, is_own: &dyn Fn(&str) -> bool, depth: usize) -> Result<bool, Unclear> {
    if depth >= MAX_BUNDLES {
        return Err(Unclear("json_limit"));
    }
    let entries = match object.get("entry") {
        None => return Ok(true),
        Some(Json::Array(entries)) => entries,
        Some(_) => return Err(Unclear("bundle_entry")),
    };
    let mut own = Vec::new();
    let mut provenances = Vec::new();
    for entry in entries {
        let Json::Object(entry) = entry else {
            return Err(Unclear("bundle_entry"));
        };
        let outcome = match entry.get("response") {
            Some(Json::Object(response)) => response.get("outcome"),
            _ => None,
        };
        for resource in entry.get("resource").into_iter().chain(outcome) {
            let Json::Object(resource) = resource else {
                return Err(Unclear("bundle_entry"));
            };
            if resource_belongs(resource, is_own, depth.saturating_add(1))? {
                own.extend(name_and_id(resource));
            } else if resource.get("resourceType").and_then(Json::as_text) == Some("Provenance") {
                provenances.push(resource);
            } else {
                return Ok(false);
            }
        }
    }
    own.sort_unstable();
    Ok(provenances.into_iter().all(|provenance| is_about(provenance, &own)))
}

/// Type and id of a resource that holds a patient's data.
fn name_and_id<'o>(resource: &'o Object<'_>) -> Option<(&'o str, &'o str)> {
    let text = |name| resource.get(name).and_then(Json::as_text);
    let (name, id) = (text("resourceType")?, text("id")?);
    let holds = Type::parse(name).is_some_and(|of| !of.is_open());
    holds.then_some((name, id))
}

/// Whether all targets of a Provenance, and there are some, are among these.
fn is_about(provenance: &Object<'_>, own: &[(&str, &str)]) -> bool {
    let Some(Json::Array(targets)) = provenance.get("target") else {
        return false;
    };
    let is_own = |target: &Json<'_>| match target {
        Json::Object(target) => target
            .get("reference")
            .and_then(Json::as_text)
            .and_then(relative)
            .is_some_and(|target| own.binary_search(&target).is_ok()),
        _ => false,
    };
    !targets.is_empty() && targets.iter().all(is_own)
}

/// The patients that a resource's elements refer to.
pub(super) struct Owners {
    ids: Vec<Box<str>>,
    /// Whether something refers, or may refer, to a patient whose id is not shown.
    unknown: bool,
}

impl Owners {
    pub(super) fn of(resource: &Object<'_>, holding: &Holding) -> Self {
        let mut owners = Self {
            ids: Vec::new(),
            unknown: false,
        };
        for element in holding.elements {
            owners.collect(resource, element, resource);
        }
        owners
    }

    /// Whether these are the own patient and no other; `nobody` says whether that there is none will do.
    pub(super) fn are(&self, is_own: &dyn Fn(&str) -> bool, nobody: bool) -> bool {
        !self.unknown && self.ids.iter().all(|id| is_own(id)) && (nobody || !self.ids.is_empty())
    }

    fn collect(&mut self, object: &Object<'_>, path: &str, resource: &Object<'_>) {
        let (name, rest) = match path.split_once('.') {
            Some((name, rest)) => (name, Some(rest)),
            None => (path, None),
        };
        if let Some(value) = object.get(name) {
            self.value(value, rest, resource);
        }
    }

    fn value(&mut self, value: &Json<'_>, rest: Option<&str>, resource: &Object<'_>) {
        match (value, rest) {
            (Json::Array(list), _) => list.iter().for_each(|each| self.value(each, rest, resource)),
            (Json::Object(object), Some(rest)) => self.collect(object, rest, resource),
            (Json::Object(reference), None) => self.reference(reference, resource),
            // Not what FHIR has here.
            _ => self.unknown = true,
        }
    }

    fn reference(&mut self, reference: &Object<'_>, resource: &Object<'_>) {
        let of_patient = reference
            .get("type")
            .map(|of| of.as_text().is_none_or(|of| of == "Patient"));
        let text = match reference.get("reference") {
            // Only an identifier, or only a text: nothing that another system would follow, but for a patient's identifier.
            None => {
                self.unknown |= reference.has("identifier") && of_patient != Some(false);
                return;
            }
            Some(Json::Text(text)) => &**text,
            Some(_) => {
                self.unknown = true;
                return;
            }
        };
        match points_at(text) {
            Points::Patient(id) => self.ids.push(id.into()),
            Points::Other => self.unknown |= of_patient == Some(true),
            Points::Contained => self.unknown |= of_patient == Some(true) || contains_patient(resource),
            Points::Unknown => self.unknown |= of_patient != Some(false),
            Points::Elsewhere => self.unknown = true,
        }
    }
}

enum Points<'t> {
    Patient(&'t str),
    /// A resource of another type.
    Other,
    Contained,
    /// It does not say of which type.
    Unknown,
    /// A patient, but not as `Patient/ID`.
    Elsewhere,
}

fn points_at(text: &str) -> Points<'_> {
    if text.starts_with('#') {
        return Points::Contained;
    }
    match relative(text) {
        Some(("Patient", id)) => return Points::Patient(id),
        Some((of, _)) if Type::parse(of).is_some() => return Points::Other,
        _ => {}
    }
    // An absolute URL: the patient of another server, or of this one by a name that cannot be known here.
    let mut types = text.split(['/', '?', '|', '#']);
    if types.any(|part| part.trim().eq_ignore_ascii_case("patient")) {
        return Points::Elsewhere;
    }
    let names_other = text.split('/').any(|part| Type::parse(part).is_some());
    if names_other { Points::Other } else { Points::Unknown }
}

/// Type and id of `Type/id` and `Type/id/_history/version`.
fn relative(text: &str) -> Option<(&str, &str)> {
    let mut parts = text.split('/');
    let (of, id) = (parts.next()?, parts.next()?);
    let is_whole = match (parts.next(), parts.next(), parts.next()) {
        (None, ..) => true,
        (Some("_history"), Some(version), None) => is_id(version),
        _ => false,
    };
    (is_whole && is_id(id)).then_some((of, id))
}

fn contains_patient(resource: &Object<'_>) -> bool {
    match resource.get("contained") {
        None => false,
        Some(Json::Array(list)) => !list.iter().all(|each| match each {
            Json::Object(each) => each
                .get("resourceType")
                .and_then(Json::as_text)
                .is_some_and(|name| name != "Patient"),
            _ => false,
        }),
        Some(_) => true,
    }
}
