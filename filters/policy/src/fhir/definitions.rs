//! HL7's definitions of FHIR R4, as far as scopes are judged by them.

use super::fhir_r4::{ANY, HOLDINGS, OPERATIONS, PARAMETERS, PATIENT, REFERENCES, TARGETS, TYPES};

/// A resource type of FHIR R4: its place in the table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Type(u8);

/// How a type that may hold a patient's data says whose it is.
pub(super) struct Holding {
    pub(super) resource: u8,
    /// By HL7's CompartmentDefinition; the others only may refer to a patient, or hold other resources.
    pub(super) in_compartment: bool,
    /// Whether a resource that `by` finds can be about other patients too.
    pub(super) shared: bool,
    /// The search parameters that bind a search to the patient; the first one is what is appended.
    pub(super) by: &'static [&'static str],
    /// The elements with references to the patient.
    pub(super) elements: &'static [&'static str],
}

/// An operation that a definition tells of.
pub(super) struct Operation {
    pub(super) code: &'static str,
    /// The type that it is defined on, or [`ANY`].
    pub(super) on: u8,
    pub(super) system: bool,
    pub(super) of_type: bool,
    pub(super) instance: bool,
    pub(super) need: Need,
    /// Whether it changes something when it is posted, or told to keep its result.
    pub(super) may_change: bool,
}

/// What an operation reads or changes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Reads its type.
    Own,
    /// Reads any type.
    All,
    /// Reads all of a patient.
    Record,
    /// Reads its type as a search does.
    Search,
    /// Reads all, or the types in `_type`.
    Export,
    /// Changes something of its type.
    State,
    /// Changes anything.
    Anything,
}

/// Where an operation is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    System,
    OfType(Type),
    Instance(Type),
}

impl Type {
    pub(super) const PATIENT: Self = Self(PATIENT);

    /// A type by its exact name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        if !name.bytes().next()?.is_ascii_uppercase() {
            return None;
        }
        let index = TYPES.binary_search(&name).ok()?;
        u8::try_from(index).ok().map(Self)
    }

    pub(super) fn name(self) -> &'static str {
        TYPES.get(usize::from(self.0)).copied().unwrap_or_default()
    }

    /// Whether resources of other types are compartments by this type (FHIR R4 compartmentdefinition.html).
    pub(super) fn has_compartment(self) -> bool {
        matches!(
            self.name(),
            "Patient" | "Encounter" | "RelatedPerson" | "Practitioner" | "Device"
        )
    }

    /// `None` for Patient, and for types that hold no patient's data.
    pub(super) fn holding(self) -> Option<&'static Holding> {
        let index = HOLDINGS.binary_search_by_key(&self.0, |each| each.resource).ok()?;
        HOLDINGS.get(index)
    }

    /// Whether no patient's data is in resources of this type.
    pub(super) fn is_open(self) -> bool {
        self != Self::PATIENT && self.holding().is_none()
    }

    /// Whether that parameter shows that a resource of this type is about the patient, and about no other.
    pub(super) fn is_bound_by(self, parameter: &str) -> bool {
        self.holding()
            .is_some_and(|holding| !holding.shared && holding.by.contains(&parameter))
    }

    /// The types that a reference parameter can refer to; empty for any type, `None` for no reference parameter of HL7's.
    pub(super) fn targets(self, parameter: &str) -> Option<impl Iterator<Item = Self> + use<>> {
        let code = u8::try_from(PARAMETERS.binary_search(&parameter).ok()?).ok()?;
        let references = REFERENCES.get(usize::from(self.0))?;
        let index = references.binary_search_by_key(&code, |(each, _)| *each).ok()?;
        let (_, set) = references.get(index)?;
        let targets = TARGETS.get(usize::from(*set))?;
        Some(targets.iter().map(|target| Self(*target)))
    }
}

/// Whether a name is nearly that of a type: it equals one in other letters, or it looks like a type of another release.
pub(super) fn is_nearly_type(name: &str) -> bool {
    let mut letters = name.bytes();
    let looks = letters.next().is_some_and(|first| first.is_ascii_uppercase())
        && letters.next().is_some_and(|second| second.is_ascii_lowercase())
        && letters.all(|each| each.is_ascii_alphabetic());
    let Some(first) = name.bytes().next().map(|first| first.to_ascii_uppercase()) else {
        return false;
    };
    let start = TYPES.partition_point(|each| each.bytes().next() < Some(first));
    let mut alike = TYPES
        .iter()
        .skip(start)
        .take_while(|each| each.bytes().next() == Some(first));
    looks || alike.any(|each| each.eq_ignore_ascii_case(name))
}

/// What is known of an operation, called there.
pub(super) fn operation(code: &str, level: Level) -> Option<&'static Operation> {
    let start = OPERATIONS.partition_point(|each| each.code < code);
    let named = OPERATIONS.iter().skip(start).take_while(|each| each.code == code);
    named.into_iter().find(|each| match level {
        Level::System => each.system,
        Level::OfType(Type(on)) => each.of_type && (each.on == on || each.on == ANY),
        Level::Instance(Type(on)) => each.instance && (each.on == on || each.on == ANY),
    })
}

impl Operation {
    /// The type that it is defined on; `None` for any.
    pub(super) fn defined_on(&self) -> Option<Type> {
        (self.on != ANY).then_some(Type(self.on))
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use sha2::{Digest, Sha256};

    use super::super::fhir_r4::DIGEST;
    use super::*;

    #[test]
    fn the_tables_are_what_the_generator_wrote() {
        let mut text = String::new();
        for (name, references) in TYPES.iter().zip(REFERENCES) {
            let list: Vec<String> = references
                .iter()
                .map(|(code, set)| {
                    let targets: Vec<&str> = TARGETS[usize::from(*set)]
                        .iter()
                        .map(|t| TYPES[usize::from(*t)])
                        .collect();
                    format!("{}={}", PARAMETERS[usize::from(*code)], targets.join("|"))
                })
                .collect();
            writeln!(text, "{name}: {}", list.join(" ")).unwrap();
        }
        for each in HOLDINGS {
            let (by, elements) = (each.by.join(" "), each.elements.join(" "));
            let name = TYPES[usize::from(each.resource)];
            writeln!(text, "{name} {} {} {by} < {elements}", each.in_compartment, each.shared).unwrap();
        }
        for each in OPERATIONS {
            let on = each.defined_on().map_or("*", Type::name);
            let need = match each.need {
                Need::Own => "own",
                Need::All => "all",
                Need::Record => "record",
                Need::Search => "search",
                Need::Export => "export",
                Need::State => "state",
                Need::Anything => "anything",
            };
            let Operation {
                code,
                system,
                of_type,
                instance,
                may_change,
                ..
            } = each;
            writeln!(text, "{code} {on} {system} {of_type} {instance} {need} {may_change}").unwrap();
        }
        let digest: String = Sha256::digest(text).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            digest, DIGEST,
            "the tables were edited: run filters/policy/fhir-r4/generate.mjs"
        );
    }

    #[test]
    fn the_tables_are_sorted() {
        assert!(TYPES.is_sorted_by(|a, b| a < b) && PARAMETERS.is_sorted_by(|a, b| a < b));
        assert_eq!(TYPES.len(), REFERENCES.len());
        assert!(REFERENCES.iter().all(|list| list.is_sorted_by(|a, b| a.0 < b.0)));
        assert!(HOLDINGS.is_sorted_by(|a, b| a.resource < b.resource));
        assert!(OPERATIONS.is_sorted_by(|a, b| a.code <= b.code));
        assert_eq!(Type::PATIENT.name(), "Patient");
        assert_eq!(
            HOLDINGS.iter().filter(|each| each.in_compartment).count(),
            66,
            "67 in the compartment, less Patient"
        );
    }

    #[test]
    fn spot_checks() {
        let targets = |name: &str, parameter: &str| {
            let found = Type::parse(name).unwrap().targets(parameter)?;
            Some(found.map(Type::name).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(targets("Observation", "patient").as_deref(), Some("Patient"));
        assert_eq!(
            targets("Observation", "subject").as_deref(),
            Some("Device Group Location Patient")
        );
        assert_eq!(targets("Composition", "subject").as_deref(), Some(""), "any");
        assert_eq!(targets("Observation", "code"), None);
        assert_eq!(targets("Practitioner", "patient"), None);
        for (name, open, by) in [
            ("Observation", false, &["patient", "subject"][..]),
            ("Coverage", false, &["patient"]),
            ("Group", false, &["member"]),
            ("Device", false, &["patient"]),
            ("Binary", false, &[]),
            ("Bundle", false, &[]),
            ("Practitioner", true, &[]),
            ("Organization", true, &[]),
            ("Medication", true, &[]),
            ("Location", true, &[]),
            ("ValueSet", true, &[]),
            ("Questionnaire", true, &[]),
            ("Patient", false, &[]),
        ] {
            let each = Type::parse(name).unwrap();
            assert_eq!(each.is_open(), open, "{name}");
            assert_eq!(each.holding().map_or(&[][..], |holding| holding.by), by, "{name}");
        }
        assert!(
            Type::parse("patient").is_none()
                && Type::parse("ActorDefinition").is_none()
                && Type::parse("Resource").is_none()
        );
        assert!(is_nearly_type("patient") && is_nearly_type("ActorDefinition") && is_nearly_type("Fhir"));
        assert!(!is_nearly_type("fhir") && !is_nearly_type("FHIR") && !is_nearly_type("R4") && !is_nearly_type("7"));
    }
}
