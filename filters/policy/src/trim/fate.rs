//! What a program does to an element of a resource, asked before any body comes.

use std::collections::BTreeSet;

use super::program::{Action, Ask, DROPPED, KEPT, Program};

/// What becomes of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It stays as it is, with all that it can hold.
    Keep,
    /// It depends on what it is or holds: parts of it may go, or it as a whole may under some condition.
    Partly,
    /// It goes.
    Drop,
    /// Something else stands in its place.
    Change,
}

/// A kind of value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Scalar,
    Object,
    Array,
}

impl Program {
    /// What becomes of the element at `path` in a resource of the type `resource` that is the body; in any other body without one.
    ///
    /// The path is one of JSON names, for example `["name", "family"]`. A name may be that of an array or not: what both would
    /// give is weighed. A name with `[]` behind it, as in `["name[]", "family"]`, is an array's for sure; of an array the
    /// first element is taken.
    pub fn fate(&self, resource: Option<&str>, path: &[&str]) -> Fate {
        let (shapes, ends) = self.ends(resource, path, &[Shape::Scalar, Shape::Object, Shape::Array]);
        self.merged(&ends, shapes)
    }

    /// As [`Self::fate`] for an element that holds a string, a number or a boolean (or an array of these): never [`Fate::Partly`]
    /// because of what it could hold.
    pub fn fate_of_primitive(&self, resource: Option<&str>, path: &[&str]) -> Fate {
        let (shapes, ends) = self.ends(resource, path, &[Shape::Scalar]);
        self.merged(&ends, shapes)
    }

    /// The nodes that a path may lead to, and the kinds of value to ask about there.
    fn ends<'s>(&self, resource: Option<&str>, path: &[&str], shapes: &'s [Shape]) -> (&'s [Shape], BTreeSet<Place>) {
        let mut places = BTreeSet::from([Place::At(self.start())]);
        places = self.answered(&places, Shape::Object, resource);
        for name in path {
            let (name, array) = match name.strip_suffix("[]") {
                Some(name) => (name, true),
                None => (*name, false),
            };
            let mut next = BTreeSet::new();
            for place in self.answered(&places, Shape::Object, None) {
                next.insert(self.below(place, |program, node| program.member(node, name.as_bytes())));
            }
            let elements: BTreeSet<Place> = self
                .answered(&next, Shape::Array, None)
                .into_iter()
                .map(|place| self.below(place, |program, node| program.element(node, 0)))
                .collect();
            if array {
                next = elements;
            } else {
                next.extend(elements);
            }
            places = next;
        }
        (shapes, places)
    }

    /// The places that the answers to all questions lead to, for a value of this kind.
    fn answered(&self, places: &BTreeSet<Place>, shape: Shape, resource: Option<&str>) -> BTreeSet<Place> {
        let (mut found, mut todo): (_, Vec<Place>) = (BTreeSet::new(), places.iter().copied().collect());
        while let Some(place) = todo.pop() {
            let Place::At(node) = place else {
                found.insert(place);
                continue;
            };
            let Action::Ask(ask) = self.action(node, shape != Shape::Scalar) else {
                found.insert(place);
                continue;
            };
            match self.ask(ask) {
                Some(Ask::Kind { array, object, scalar }) => todo.push(Place::At(match shape {
                    Shape::Array => *array,
                    Shape::Object => *object,
                    Shape::Scalar => *scalar,
                })),
                Some(Ask::Filters { variants, .. }) => todo.extend(variants.iter().map(|node| Place::At(*node))),
                Some(Ask::Resource { types, other, none, .. }) => todo.push(match (resource, none) {
                    (Some(name), _) => Place::At(types.get(name.as_bytes()).unwrap_or(*other)),
                    (None, Some(none)) => Place::At(*none),
                    // Another resource, by rules of its own.
                    (None, None) => Place::Elsewhere,
                }),
                Some(Ask::Display { then }) => todo.extend([Place::At(*then), Place::At(DROPPED)]),
                Some(
                    Ask::Code { then }
                    | Ask::Type { then }
                    | Ask::Untyped { then }
                    | Ask::LateType { then }
                    | Ask::Label { then, .. },
                ) => todo.push(Place::At(*then)),
                // Refused, so nothing of it gets out.
                Some(Ask::Stray | Ask::Misfit | Ask::NoResource { .. }) | None => todo.push(Place::At(DROPPED)),
            }
        }
        found
    }

    fn below(&self, place: Place, step: impl Fn(&Program, u32) -> u32) -> Place {
        let Place::At(node) = place else {
            return place;
        };
        match self.action(node, true) {
            Action::Enter => Place::At(step(self, node)),
            Action::Keep => Place::At(KEPT),
            Action::Change(_) => Place::Changed,
            Action::Drop | Action::Ask(_) => Place::At(DROPPED),
        }
    }

    fn merged(&self, places: &BTreeSet<Place>, shapes: &[Shape]) -> Fate {
        let mut fates = Vec::new();
        for shape in shapes {
            for place in self.answered(places, *shape, None) {
                fates.push(match place {
                    Place::Changed => Fate::Change,
                    Place::Elsewhere => Fate::Partly,
                    Place::At(node) => match self.action(node, *shape != Shape::Scalar) {
                        Action::Keep => Fate::Keep,
                        Action::Change(_) => Fate::Change,
                        Action::Enter if self.is_whole(node) => Fate::Keep,
                        Action::Enter => Fate::Partly,
                        Action::Drop | Action::Ask(_) => Fate::Drop,
                    },
                });
            }
        }
        match fates.split_first() {
            Some((first, rest)) if rest.iter().all(|fate| fate == first) => *first,
            Some(_) => Fate::Partly,
            None => Fate::Drop,
        }
    }
}

/// Where a path may lead.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    At(u32),
    /// Below something that is replaced.
    Changed,
    /// Into a resource that has rules of its own.
    Elsewhere,
}

#[cfg(test)]
mod tests {
    use super::super::{FhirPath, FhirRules, Others, Rules, Selector, Transform, TypeRules};
    use super::*;

    fn selectors(texts: &[&str]) -> Vec<Selector> {
        texts.iter().map(|text| Selector::parse(text).expect(text)).collect()
    }

    fn paths(texts: &[&str]) -> Vec<FhirPath> {
        texts.iter().map(|text| FhirPath::parse(text).expect(text)).collect()
    }

    fn compiled(deny: &[&str], allow: Option<&[&str]>, fhir: Option<FhirRules>) -> Program {
        Program::compile(Rules {
            deny: selectors(deny),
            allow: allow.map(selectors),
            transforms: Vec::new(),
            fhir,
        })
        .expect("small")
    }

    #[test]
    fn selectors_have_fates() {
        let program = compiled(&["$.name[*].given", "$..ssn", "$.text"], None, None);
        let fate = |path: &[&str]| program.fate(Some("Patient"), path);
        assert_eq!(fate(&["text"]), Fate::Drop);
        assert_eq!(fate(&["text", "div"]), Fate::Drop);
        assert_eq!(fate(&["name", "given"]), Fate::Partly);
        assert_eq!(fate(&["name[]", "given"]), Fate::Drop);
        assert_eq!(fate(&["name[]", "family"]), Fate::Partly);
        assert_eq!(program.fate_of_primitive(None, &["name[]", "family"]), Fate::Keep);
        assert_eq!(fate(&["a", "b", "ssn"]), Fate::Drop);
        assert!(program.trims());

        let program = compiled(&[], Some(&["$.status", "$..id"]), None);
        assert_eq!(program.fate(Some("Observation"), &["status"]), Fate::Keep);
        assert_eq!(program.fate(Some("Observation"), &["code"]), Fate::Partly);
        assert_eq!(program.fate_of_primitive(Some("Observation"), &["code"]), Fate::Drop);

        let program = compiled(&[], None, None);
        assert!(!program.trims());
        assert_eq!(program.fate(Some("Patient"), &["a"]), Fate::Keep);
        assert!(!compiled(&[], Some(&["$"]), None).trims());
        assert!(compiled(&[], Some(&[]), None).trims());
        assert!(compiled(&["$[?@.a == 1]"], None, None).trims());
        assert_eq!(compiled(&["$[?@.a == 1]"], None, None).fate(None, &["x"]), Fate::Partly);
    }

    #[test]
    fn elements_of_types_have_fates() {
        let rules = FhirRules {
            types: vec![
                (
                    "Patient".to_owned(),
                    TypeRules {
                        deny: paths(&["name.given", "telecom[?@.system == 'phone']"]),
                        allow: None,
                        transforms: paths(&["birthDate", "address.line"])
                            .into_iter()
                            .map(|path| (path, Transform::Mask))
                            .collect(),
                    },
                ),
                (
                    "Observation".to_owned(),
                    TypeRules {
                        allow: Some(paths(&["status", "code.coding"])),
                        ..TypeRules::default()
                    },
                ),
            ],
            reference_display: true,
            tag: true,
            others: Others::Remove,
            ..FhirRules::default()
        };
        let program = compiled(&["$.gender"], None, Some(rules));
        let patient = |path: &[&str]| program.fate_of_primitive(Some("Patient"), path);
        assert_eq!(patient(&["birthDate"]), Fate::Change);
        assert_eq!(patient(&["_birthDate"]), Fate::Drop);
        assert_eq!(patient(&["address", "line"]), Fate::Change);
        assert_eq!(patient(&["name", "given"]), Fate::Drop);
        assert_eq!(patient(&["name", "family"]), Fate::Keep);
        assert_eq!(patient(&["telecom", "value"]), Fate::Partly);
        assert_eq!(patient(&["gender"]), Fate::Drop);
        assert_eq!(patient(&["active"]), Fate::Keep);
        assert_eq!(patient(&["resourceType"]), Fate::Keep);
        let observation = |path: &[&str]| program.fate_of_primitive(Some("Observation"), path);
        assert_eq!(observation(&["status"]), Fate::Keep);
        assert_eq!(observation(&["subject", "reference"]), Fate::Drop);
        assert_eq!(observation(&["code", "coding", "code"]), Fate::Keep);
        assert_eq!(observation(&["code", "coding", "display"]), Fate::Partly);
        assert_eq!(observation(&["code", "text"]), Fate::Drop);
        assert_eq!(program.fate(Some("Encounter"), &["status"]), Fate::Drop);
        assert_eq!(program.fate(Some("Bundle"), &["entry", "resource"]), Fate::Partly);
        assert!(program.trims());
        assert!(!compiled(&[], None, Some(FhirRules::default())).trims());
    }
}
