//! Ready profiles of rules by FHIR resource type, to start a view from.
//!
//! 1. `demographics`: what identifies and addresses a person, of Patient, RelatedPerson and Person; all other resources go, but Bundle, Parameters and
//!    OperationOutcome, which hold them or tell of errors. No identifiers, photos, narrative, extensions.
//! 2. `safe-harbor`: the eighteen identifiers of 45 CFR 164.514(b)(2)(i) are removed or made coarser. Kept are types that say something about nobody; of
//!    others, and of types that FHIR R4 does not define, nothing comes.
//! 3. `limited-data-set`: the sixteen direct identifiers of 45 CFR 164.514(e)(2) are removed; dates, ages, city, state and ZIP code stay, and so do logical ids.
//! 4. `clinical-no-narrative`: everything stays but narrative, attachments, and free text that is a note. What a reference displays stays: of a
//!    medication it may be all that is told.
//!
//! Codes stay as they are: a code that tells of one person, or a value that does (a rare disease, a job in an Observation), is for the operator to know. Under the
//! Safe Harbor method that must be so with "actual knowledge" (164.514(b)(2)(ii)). Logical ids and references are not pseudonymised: a code derived from an id is
//! derived from information about the individual, which 164.514(c) does not allow.
//!
//! The lists are generated from HL7's definitions, so that no element is forgotten: by datatype, as far as a name at any depth (`**.name`) holds on every type.

mod fhir_r4;

use self::fhir_r4::{
    IDENTIFYING, LIMITED, LIMITED_KEPT, LIMITED_TRANSFORMS, LIMITED_TYPES, NOTES, NOTES_TYPES, SAFE_HARBOR,
    SAFE_HARBOR_KEPT, SAFE_HARBOR_TRANSFORMS, SAFE_HARBOR_TYPES,
};

use crate::trim::{FhirPath, FhirPathError, FhirRules, Others, Transform, TypeRules};

/// A profile, in the shape that `fhir` has in a view of the policy file.
#[derive(Debug)]
pub struct Profile {
    /// Its name in the policy file.
    pub name: &'static str,
    /// The rules of every resource type, besides its own.
    pub all: Rules,
    types: &'static [(&'static str, Rules)],
    /// Types that are kept and have no rules of their own.
    kept: &'static str,
    /// What becomes of resources of other types: [`Others::Remove`] leaves Bundle, Parameters and OperationOutcome all the same.
    pub others: Others,
    /// The groups that go, by their names in the policy file: `narrative`, `reference_display`, `attachments`, `extensions`.
    pub remove: &'static [&'static str],
    /// Whether resources are tagged.
    pub tag: bool,
    unsafe_paths: &'static str,
}

/// Rules for resources of a type.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    allow: Option<&'static str>,
    /// Lists of paths.
    deny: &'static [&'static str],
    /// Transforms by name, each with the paths.
    transform: &'static [(&'static str, &'static str)],
}

const NONE: Rules = Rules {
    allow: None,
    deny: &[],
    transform: &[],
};

/// Every profile.
pub static PROFILES: [Profile; 4] = [
    Profile {
        name: "demographics",
        all: NONE,
        types: &[
            (
                "Patient",
                allowing(
                    "id meta implicitRules language modifierExtension active name telecom gender birthDate deceased[x] \
                     address contact communication managingOrganization link",
                ),
            ),
            (
                "Person",
                allowing(
                    "id meta implicitRules language modifierExtension active name telecom gender birthDate address \
                     managingOrganization link",
                ),
            ),
            (
                "RelatedPerson",
                allowing(
                    "id meta implicitRules language modifierExtension active patient relationship name telecom gender \
                     birthDate address period communication",
                ),
            ),
            // Values of parameters could be anything. A resource in it has its own rules.
            (
                "Parameters",
                Rules {
                    allow: None,
                    deny: &["**.value[x]"],
                    transform: &[],
                },
            ),
        ],
        kept: "Bundle OperationOutcome",
        others: Others::Remove,
        remove: &["narrative", "attachments", "extensions"],
        tag: true,
        unsafe_paths: "",
    },
    Profile {
        name: "safe-harbor",
        all: Rules {
            allow: None,
            deny: &["**.id", IDENTIFYING, SAFE_HARBOR],
            transform: SAFE_HARBOR_TRANSFORMS,
        },
        types: SAFE_HARBOR_TYPES,
        kept: SAFE_HARBOR_KEPT,
        others: Others::Remove,
        remove: &["narrative", "reference_display", "attachments", "extensions"],
        tag: true,
        unsafe_paths: "",
    },
    Profile {
        name: "limited-data-set",
        all: Rules {
            allow: None,
            deny: &[IDENTIFYING, LIMITED],
            transform: LIMITED_TRANSFORMS,
        },
        types: LIMITED_TYPES,
        kept: LIMITED_KEPT,
        others: Others::Remove,
        remove: &["narrative", "reference_display", "attachments", "extensions"],
        tag: true,
        unsafe_paths: "",
    },
    Profile {
        name: "clinical-no-narrative",
        all: Rules {
            allow: None,
            deny: &[NOTES],
            transform: &[],
        },
        types: NOTES_TYPES,
        kept: "",
        others: Others::Keep,
        remove: &["narrative", "attachments"],
        tag: true,
        unsafe_paths: "",
    },
];

const fn allowing(paths: &'static str) -> Rules {
    Rules {
        allow: Some(paths),
        deny: &[],
        transform: &[],
    }
}

impl Profile {
    /// The profile of that name.
    pub fn named(name: &str) -> Option<&'static Profile> {
        PROFILES.iter().find(|profile| profile.name == name)
    }

    /// The resource types with their rules; those of [`Self::all`] hold besides.
    pub fn types(&self) -> impl Iterator<Item = (&'static str, Rules)> + Clone + use<> {
        let kept = self.kept.split_ascii_whitespace().map(|name| (name, NONE));
        self.types.iter().copied().chain(kept)
    }

    /// The profile as what is compiled. A transform of a name that is not known masks.
    ///
    /// # Errors
    /// None: every path of every profile is tested to parse.
    pub fn rules(&self) -> Result<FhirRules, FhirPathError> {
        let types = self.types().map(|(name, rules)| Ok((name.to_owned(), rules.parse()?)));
        let group = |name| self.remove.contains(&name);
        Ok(FhirRules {
            types: types.collect::<Result<_, FhirPathError>>()?,
            all: self.all.parse()?,
            others: self.others,
            narrative: group("narrative"),
            reference_display: group("reference_display"),
            attachments: group("attachments"),
            extensions: group("extensions"),
            tag: self.tag,
        })
    }

    /// The mandatory and modifier elements that the profile removes all the same, as `unsafe` has them.
    pub fn unsafe_paths(&self) -> impl Iterator<Item = &'static str> + Clone + use<> {
        self.unsafe_paths.split_ascii_whitespace()
    }
}

impl Rules {
    fn parse(&self) -> Result<TypeRules, FhirPathError> {
        let transforms = self.transforms().map(|(path, transform)| {
            let transform = Transform::from_name(transform).unwrap_or(Transform::Mask);
            Ok((FhirPath::parse(path)?, transform))
        });
        Ok(TypeRules {
            deny: self.deny().map(FhirPath::parse).collect::<Result<_, _>>()?,
            allow: self
                .allow()
                .map(|paths| paths.map(FhirPath::parse).collect())
                .transpose()?,
            transforms: transforms.collect::<Result<_, FhirPathError>>()?,
        })
    }

    /// What alone stays; `None` for everything.
    pub fn allow(&self) -> Option<impl Iterator<Item = &'static str> + Clone + use<>> {
        self.allow.map(str::split_ascii_whitespace)
    }

    /// What goes.
    pub fn deny(&self) -> impl Iterator<Item = &'static str> + Clone + use<> {
        self.deny.iter().flat_map(|list| list.split_ascii_whitespace())
    }

    /// What is made coarser, each path with the transform's name in the policy file.
    pub fn transforms(&self) -> impl Iterator<Item = (&'static str, &'static str)> + Clone + use<> {
        self.transform
            .iter()
            .flat_map(|(transform, list)| list.split_ascii_whitespace().map(|path| (path, *transform)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_found_by_name_and_name_each_type_once() {
        assert!(Profile::named("safe harbor").is_none());
        for profile in &PROFILES {
            assert_eq!(Profile::named(profile.name).map(|found| found.name), Some(profile.name));
            let mut types: Vec<_> = profile.types().map(|(name, _)| name).collect();
            types.sort_unstable();
            let all = types.len();
            types.dedup();
            assert_eq!(types.len(), all, "{}", profile.name);
        }
    }

    #[test]
    fn no_path_is_written_twice_nor_both_denied_and_transformed() {
        for profile in &PROFILES {
            for (of, rules) in profile.types().chain([("all", profile.all)]) {
                let mut paths: Vec<_> = rules.deny().chain(rules.transforms().map(|(path, _)| path)).collect();
                paths.sort_unstable();
                let all = paths.len();
                paths.dedup();
                assert_eq!(paths.len(), all, "{} {of}", profile.name);
            }
        }
    }

    #[test]
    fn every_profile_compiles() {
        for profile in &PROFILES {
            let fhir = profile.rules().expect(profile.name);
            let groups = [
                fhir.narrative,
                fhir.reference_display,
                fhir.attachments,
                fhir.extensions,
            ];
            assert_eq!(groups.into_iter().filter(|group| *group).count(), profile.remove.len());
            let rules = crate::trim::Rules {
                fhir: Some(fhir),
                ..Default::default()
            };
            crate::trim::Program::compile(rules).expect(profile.name);
        }
    }

    /// All of it is in every module that trims.
    #[test]
    fn the_text_is_small() {
        let mut seen = std::collections::BTreeSet::new();
        for profile in &PROFILES {
            for (of, rules) in profile.types().chain([("all", profile.all)]) {
                let lists = rules
                    .deny
                    .iter()
                    .copied()
                    .chain(rules.transform.iter().map(|(_, list)| *list));
                seen.extend(lists.chain(rules.allow).chain([of]));
            }
        }
        let text: usize = seen.iter().map(|text| text.len()).sum();
        assert!(text < 9_000, "{text}");
    }
}
