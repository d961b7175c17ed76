//! What is said of the views of a policy file, where it stands.

use scrim_policy::compile::{Compiled, Policy};
use scrim_policy::document::{At, Problems};
use scrim_policy::policy_file::{Fhir, PolicyFile, ResourceRules, View};
use scrim_policy::profiles::Profile;
use scrim_policy::trim::{Program, Selector};

use super::{known_path, known_type, misfit, removals};

/// Judges every view by FHIR's definitions. `compiled` is what came of `file`.
///
/// A view with `fhir` rules gets errors. One with selectors alone may be of no FHIR at all: where the policy has FHIR's preset for URLs it gets one warning, for what
/// it denies.
pub fn judge(file: &PolicyFile, compiled: &Compiled, problems: &mut Problems) {
    for (index, (_, entry)) in file.policies.entries.iter().enumerate() {
        let Some(section) = &entry.response_trim else {
            continue;
        };
        let is_fhir = entry.phi_url.as_ref().is_some_and(|urls| urls.value.preset.is_some());
        for (place, view) in section.views.value.iter().enumerate() {
            match &view.value.fhir {
                Some(fhir) => {
                    names(&fhir.value, problems);
                    let program = compiled
                        .policy(index)
                        .and_then(Policy::response_trim)
                        .and_then(|trim| trim.program(place));
                    if let Some(program) = program {
                        guard(fhir, program, problems);
                    }
                }
                None if is_fhir => selectors(view, problems),
                None => {}
            }
        }
    }
}

/// Types, elements and transforms that FHIR R4 does not have, or not so.
fn names(fhir: &Fhir, problems: &mut Problems) {
    for (name, own) in &fhir.types.entries {
        match known_type(&name.value) {
            Ok(()) => rules(Some(&name.value), own, problems),
            Err(why) => problems.error(name.span, why),
        }
    }
    if let Some(own) = &fhir.all {
        rules(None, own, problems);
    }
}

fn rules(resource: Option<&str>, own: &ResourceRules, problems: &mut Problems) {
    let lists = own.deny.iter().chain(&own.allow).flatten();
    for path in lists.chain(own.transform.entries.iter().map(|(path, _)| path)) {
        if let Err(why) = known_path(resource, &path.value) {
            problems.error(path.span, why);
        }
    }
    for (path, transform) in &own.transform.entries {
        if let Some(why) = misfit(resource, &path.value, transform.value.as_str()) {
            problems.warn(transform.span, why);
        }
    }
}

/// Mandatory and modifier elements that go.
fn guard(fhir: &At<Fhir>, program: &Program, problems: &mut Problems) {
    let careless = fhir.value.careless.as_deref().unwrap_or_default();
    let profile = fhir
        .value
        .profile
        .as_ref()
        .and_then(|profile| Profile::named(profile.value.as_str()));
    let mut paths: Vec<&str> = careless.iter().map(|path| path.value.as_str()).collect();
    if let Some(profile) = profile {
        for path in profile.unsafe_paths() {
            paths.push(path);
        }
    }
    let told = removals(program, &paths);
    for removal in told.found {
        problems.error(fhir.span, removal.to_string());
    }
    for path in told.idle.into_iter().filter_map(|index| careless.get(index)) {
        problems.warn(
            path.span,
            format!(
                "`{}` under `unsafe` is no mandatory or modifier element that this view removes, take it out",
                path.value
            ),
        );
    }
}

/// What selectors deny, if it is FHIR that they trim.
fn selectors(view: &At<View>, problems: &mut Problems) {
    let texts = view.value.deny.iter().flatten();
    let deny: Vec<Selector> = texts.filter_map(|text| Selector::parse(&text.value).ok()).collect();
    let Ok(program) = Program::new(deny, None, Vec::new()) else {
        return;
    };
    let told = removals(&program, &[]);
    let Some((first, rest)) = told.found.split_first() else {
        return;
    };
    let also = match rest.len() {
        0 => String::new(),
        more => format!(" (and {more} more such)"),
    };
    problems.warn(
        view.span,
        format!("of FHIR resources {first}{also}").replace(
            "keep it, or name it under `unsafe`",
            "rules under `fhir` say it by type",
        ),
    );
}

#[cfg(test)]
mod tests {
    use scrim_policy::chain::ALL;
    use scrim_policy::compile::decode;
    use scrim_policy::document::{Node, Severity};
    use serde_json::{Value as Json, json};

    use super::*;

    /// What is told of a view in a policy with FHIR's preset: `error` or `warning`, and the message.
    fn told(view: Json) -> Vec<String> {
        let document = Node::from_json(&json!({
            "version": "1",
            "keys": {"pseudonyms": {"env": "K"}},
            "policies": {"p": {"phi_url": {"preset": "fhir-r4"}, "response_trim": {"views": [view]}}},
            "routes": [{"match": {}, "policy": "p"}],
        }));
        let key = "c2NyaW0gY2hlY2tzIHdpdGggYSBzdGFuZC1pbiBrZXk=".to_owned();
        let mut first = Problems::default();
        let compiled = Compiled::new::<ALL>(&document, &|_| Some(key.clone()), &mut first);
        let compiled = compiled.unwrap_or_else(|| panic!("{:?}", first.iter().collect::<Vec<_>>()));
        let file = decode(&document, &mut Problems::default()).expect("decoded");
        let mut problems = Problems::default();
        judge(&file, &compiled, &mut problems);
        let word = |severity| {
            if severity == Severity::Error {
                "error"
            } else {
                "warning"
            }
        };
        problems
            .iter()
            .map(|problem| format!("{}: {}", word(problem.severity), problem.message))
            .collect()
    }

    #[test]
    fn a_view_of_types_is_guarded() {
        let told_of = |careless: Json| {
            told(json!({"fhir": {"types": {"Observation": {"deny": ["status", "note"]}}, "unsafe": careless}}))
        };
        assert_eq!(
            told_of(json!([])),
            [
                "error: this view removes `Observation.status`, a modifier element: without it `entered-in-error` or `cancelled` reads as valid; keep it, or name it under `unsafe`"
            ]
        );
        assert!(told_of(json!(["Observation.status"])).is_empty());
        assert_eq!(
            told_of(json!(["Observation.status", "Observation.code"])),
            [
                "warning: `Observation.code` under `unsafe` is no mandatory or modifier element that this view removes, take it out"
            ]
        );
    }

    #[test]
    fn an_allow_list_names_what_it_must() {
        let allow = |allow: &str| {
            let allow: Vec<_> = allow.split(' ').collect();
            told(json!({"fhir": {"types": {"Patient": {"allow": allow}}}}))
        };
        let told = allow("id name birthDate");
        let removed = ["active", "deceased[x]", "implicitRules", "link", "modifierExtension"];
        assert_eq!(told.len(), removed.len(), "{told:#?}");
        for (line, path) in told.iter().zip(removed) {
            assert!(
                line.starts_with(&format!(
                    "error: this view removes `Patient.{path}`, a modifier element"
                )),
                "{line}"
            );
        }
        assert!(allow("id name birthDate active deceased[x] implicitRules link modifierExtension").is_empty());
    }

    #[test]
    fn names_are_checked_and_transforms_fit() {
        assert_eq!(
            told(json!({"fhir": {"types": {
                "Patent": {"deny": ["x"]},
                "Patient": {"deny": ["name.famliy"], "transform": {"birthDate": "mask", "address.postalCode": "zip3"}},
            }, "all": {"deny": ["meta.sorce", "**.telecom"]}}})),
            [
                "error: `Patent` is no resource type of FHIR R4, did you mean `Patient`?",
                "error: `name.famliy`: `Patient.name` has no element `famliy` in FHIR R4, did you mean `family`?",
                "warning: `mask` makes no valid `date` of `Patient.birthDate`; `year` or `year-month` keeps it a date, else deny it",
                "error: `meta.sorce` is an element of no resource type of FHIR R4, did you mean `source`?",
            ]
        );
    }

    #[test]
    fn selectors_alone_get_a_warning_at_most() {
        assert!(told(json!({"allow": ["$.id"]})).is_empty());
        assert!(told(json!({"deny": ["$..ssn", "$.text"]})).is_empty());
        let told = told(json!({"deny": ["$.status"]}));
        assert_eq!(told.len(), 1);
        let line = told.first().expect("a line");
        assert!(
            line.starts_with(
                "warning: of FHIR resources this view removes `status` of `Account`, `ActivityDefinition`"
            ),
            "{line}"
        );
        assert!(
            line.ends_with("(and 1 more such); rules under `fhir` say it by type"),
            "{line}"
        );
    }

    #[test]
    fn profiles_are_clean() {
        for name in [
            "demographics",
            "safe-harbor",
            "limited-data-set",
            "clinical-no-narrative",
        ] {
            assert_eq!(told(json!({"fhir": {"profile": name}})), [""; 0], "{name}");
        }
    }
}
