//! What FHIR R4 says of the elements of resources, and what `scrim check` says of views by it.
//!
//! 1. A resource type or element path that FHIR R4 does not define is an error, with the nearest one that it does ([`known_type`], [`known_path`]).
//! 2. A view that removes a mandatory or modifier element, but keeps what it stands in, is an error ([`removals`]). A modifier element changes what the rest
//!    means (FHIR R4 2.20.0.1 "Is Modifier"): without `status` an observation that was `entered-in-error` reads as valid. Without a mandatory one (minimum
//!    cardinality 1 or more) clients' parsers refuse the resource. What a view names under `unsafe` may go all the same.
//! 3. A transform that makes a value which its datatype can't hold gives a warning ([`misfit`]).
//!
//! None of this is in a guest: the table is for the command line alone.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::LazyLock;

use scrim_policy::document::nearest;
use scrim_policy::trim::{Fate, Program};

mod fhir_r4;
mod judge;
#[cfg(test)]
mod profiles;
#[cfg(test)]
mod tests;

pub use self::judge::judge;

/// How many names a path may have where elements are walked through: datatypes hold each other.
const DEPTH: usize = 8;

/// How many resource types a message names.
const NAMED: usize = 3;

/// What a type of FHIR is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What resources have in common.
    Abstract,
    /// A resource type.
    Resource,
    /// A datatype with elements.
    Datatype,
    /// A datatype with a value.
    Primitive,
}

/// An element as it is defined.
#[derive(Debug)]
pub struct Element {
    /// The type that defines it.
    pub of: &'static str,
    /// The path within the type that defines it; a choice ends with `[x]`.
    path: &'static str,
    /// Minimum cardinality 1 or more, within what it stands in.
    pub mandatory: bool,
    /// It changes what other elements mean.
    pub modifier: bool,
    /// It may stand more than once, in an array.
    pub repeats: bool,
    types: Vec<&'static str>,
}

/// A member of a JSON object that FHIR defines: an element, or one choice of it.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name in JSON: `deceasedBoolean` for `deceased[x]`.
    pub name: String,
    /// The element.
    pub element: &'static Element,
    /// The name, with `[]` where it is an array's.
    place: String,
    /// The datatype, by FHIR's name. `BackboneElement` and `Element` for elements in place.
    pub datatype: &'static str,
    inside: Place,
}

/// Where members are: within a type, at a path of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    of: &'static str,
    path: &'static str,
}

/// A compiled view, as far as it can be asked.
pub trait Fates {
    /// What becomes of the member at `path`, by JSON's names with `[]` behind those of arrays, in a resource of that type; of the resource itself where the path
    /// is empty. `primitive`: whether its value is no object.
    fn fate(&self, resource: &str, path: &[&str], primitive: bool) -> Fate;
}

impl Fates for Program {
    fn fate(&self, resource: &str, path: &[&str], primitive: bool) -> Fate {
        if primitive {
            self.fate_of_primitive(Some(resource), path)
        } else {
            self.fate(Some(resource), path)
        }
    }
}

/// An element that a view removes and should not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The resource types, sorted.
    pub types: Vec<&'static str>,
    /// The element's path within them.
    pub path: String,
    /// Whether it is a modifier; else it is mandatory.
    pub modifier: bool,
}

/// What `unsafe` says that is not so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removals {
    /// What is removed and is not named there, the most types first.
    pub found: Vec<Removal>,
    /// What is named there, by its place, and is not removed.
    pub idle: Vec<usize>,
}

struct Type {
    kind: Kind,
    base: &'static str,
    elements: Vec<Element>,
}

static TYPES: LazyLock<BTreeMap<&'static str, Type>> = LazyLock::new(|| {
    fhir_r4::TYPES
        .iter()
        .map(|(name, kind, base, elements)| {
            let elements = elements
                .split(' ')
                .filter(|each| !each.is_empty())
                .map(|line| Element::parse(name, line));
            let kind = *kind;
            (
                *name,
                Type {
                    kind,
                    base,
                    elements: elements.collect(),
                },
            )
        })
        .collect()
});

impl Element {
    /// A line of the table.
    fn parse(of: &'static str, line: &'static str) -> Element {
        let (marked, types) = line.split_once(':').unwrap_or((line, ""));
        let path = marked.trim_end_matches(['!', '?', '*']);
        let marks = &marked[path.len()..];
        Element {
            of,
            path,
            mandatory: marks.contains('!'),
            modifier: marks.contains('?'),
            repeats: marks.contains('*'),
            types: types.split('|').collect(),
        }
    }

    /// The path by which HL7 defines it: `Coding.display`, `Patient.deceased[x]`.
    pub fn definition(&self) -> String {
        format!("{}.{}", self.of, self.path)
    }

    /// The name that it has in FHIR: `deceased[x]`.
    pub fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or_default()
    }
}

impl Place {
    /// Where the members of a type are.
    fn of(name: &'static str) -> Place {
        Place { of: name, path: "" }
    }

    /// Every element here, what is inherited first.
    fn elements(self) -> Vec<&'static Element> {
        let mut found = Vec::new();
        if self.path.is_empty() {
            self.inherited(self.of, &mut found);
        } else {
            self.inherited("BackboneElement", &mut found);
        }
        found
    }

    fn inherited(self, name: &'static str, found: &mut Vec<&'static Element>) {
        let Some(known) = TYPES.get(name) else {
            return;
        };
        if !known.base.is_empty() {
            self.inherited(known.base, found);
        }
        found.extend(known.elements.iter().filter(|each| !each.path.contains('.')));
    }

    /// Every member here: elements, and each choice of one.
    fn members(self) -> Vec<Member> {
        let mut found = self.elements();
        if !self.path.is_empty() {
            let own = TYPES
                .get(self.of)
                .map(|known| known.elements.as_slice())
                .unwrap_or_default();
            found.extend(own.iter().filter(|each| {
                each.path
                    .strip_prefix(self.path)
                    .and_then(|rest| rest.strip_prefix('.'))
                    .is_some_and(|rest| !rest.contains('.'))
            }));
        }
        found
            .into_iter()
            .flat_map(|element| Member::choices(self, element))
            .collect()
    }
}

impl Member {
    fn choices(at: Place, element: &'static Element) -> Vec<Member> {
        let stem = element.name().strip_suffix("[x]");
        element
            .types
            .iter()
            .map(|datatype| {
                let name = match stem {
                    Some(stem) => format!("{stem}{}", capital(datatype)),
                    None => element.name().to_owned(),
                };
                let (datatype, inside) = match datatype.strip_prefix('@') {
                    Some(path) => {
                        let (of, path) = path.split_once('.').unwrap_or((path, ""));
                        ("BackboneElement", Place { of, path })
                    }
                    None if matches!(*datatype, "BackboneElement" | "Element") => (
                        *datatype,
                        Place {
                            of: at.of,
                            path: element.path,
                        },
                    ),
                    None => (*datatype, Place::of(datatype)),
                };
                let place = if element.repeats {
                    format!("{name}[]")
                } else {
                    name.clone()
                };
                Member {
                    name,
                    element,
                    place,
                    datatype,
                    inside,
                }
            })
            .collect()
    }

    /// Whether its value holds members that are defined with it: not in a primitive value, nor in a resource, which has its own rules.
    pub fn has_members(&self) -> bool {
        !matches!(self.kind(), Kind::Primitive | Kind::Abstract | Kind::Resource)
    }

    /// Whether it has the elements of another one, such as the one that it is in: `Questionnaire.item.item`.
    fn is_reference_to_content(&self) -> bool {
        self.element.types.first().is_some_and(|first| first.starts_with('@'))
    }

    fn is_primitive(&self) -> bool {
        self.kind() == Kind::Primitive
    }

    fn kind(&self) -> Kind {
        TYPES.get(self.datatype).map_or(Kind::Primitive, |known| known.kind)
    }
}

fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters
        .next()
        .map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
        .unwrap_or_default()
}

/// Every resource type of FHIR R4, sorted.
pub fn resource_types() -> impl Iterator<Item = &'static str> + Clone {
    TYPES
        .iter()
        .filter(|(_, known)| known.kind == Kind::Resource)
        .map(|(name, _)| *name)
}

/// Goes through the members of a resource type, those of datatypes too, a datatype within itself not, and elements in place
/// once. `visit` gets the way to a member and says whether to go
/// into it. Unknown types have no members.
pub fn walk(resource: &str, visit: &mut dyn FnMut(&[Member]) -> bool) {
    fn inner(at: Place, way: &mut Vec<Member>, visit: &mut dyn FnMut(&[Member]) -> bool) {
        for member in at.members() {
            let holders = way.iter().filter(|each| each.inside == member.inside).count();
            let most = if member.is_reference_to_content() { 2 } else { 1 };
            let into = member.has_members() && holders < most && way.len() + 1 < DEPTH;
            let inside = member.inside;
            way.push(member);
            if visit(way) && into {
                inner(inside, way, visit);
            }
            way.pop();
        }
    }
    if let Some((name, _)) = TYPES.get_key_value(resource) {
        inner(Place::of(name), &mut Vec::new(), visit);
    }
}

/// Checks a resource type's name.
///
/// # Errors
/// What is wrong with it, and the mend.
pub fn known_type(name: &str) -> Result<(), String> {
    if resource_types().any(|known| known == name) {
        return Ok(());
    }
    Err(match nearest(name, resource_types()) {
        Some(near) => format!("`{name}` is no resource type of FHIR R4, did you mean `{near}`?"),
        None => format!("`{name}` is no resource type of FHIR R4, see hl7.org/fhir/R4/resourcelist.html"),
    })
}

/// Checks an element path: dotted names, `x[x]` for all choices of x, `**.name` or `..name` at any depth; filters are not looked into. With a resource type it is of that type, without one of some type.
///
/// # Errors
/// What is wrong with it, and the mend.
pub fn known_path(resource: Option<&str>, path: &str) -> Result<(), String> {
    let path = &*without_filters(path);
    let Some(resource) = resource else {
        let deep = path.strip_prefix("**.").or_else(|| path.strip_prefix(".."));
        if deep.is_some_and(|name| NAMES.contains(name)) {
            return Ok(());
        }
        if resource_types().any(|each| known_path(Some(each), path).is_ok()) {
            return Ok(());
        }
        let last = path.rsplit('.').next().unwrap_or_default();
        return Err(match nearest(last, NAMES.iter().map(String::as_str)) {
            Some(near) if near != last => {
                format!("`{path}` is an element of no resource type of FHIR R4, did you mean `{near}`?")
            }
            _ => format!("`{path}` is an element of no resource type of FHIR R4"),
        });
    };
    let Some((name, _)) = TYPES.get_key_value(resource) else {
        return Err(format!("`{resource}` is no resource type of FHIR R4"));
    };
    let mut places = vec![Place::of(name)];
    let mut before = String::new();
    let mut deep = false;
    for step in path.split('.') {
        // `..` is another way to write `**.`.
        if step == "**" || step.is_empty() {
            deep = true;
            continue;
        }
        let members = members_at(&places, deep);
        let next: Vec<_> = members.iter().filter(|member| member.is_called(step)).collect();
        if next.is_empty() {
            let names: BTreeSet<&str> = members
                .iter()
                .flat_map(|each| [each.name.as_str(), each.element.name()])
                .collect();
            let so_far = format!("{resource}{before}");
            if members.is_empty() {
                return Err(format!("`{path}`: `{so_far}` has no elements in FHIR R4"));
            }
            return Err(match nearest(step, names) {
                Some(near) => {
                    format!("`{path}`: `{so_far}` has no element `{step}` in FHIR R4, did you mean `{near}`?")
                }
                None => format!("`{path}`: `{so_far}` has no element `{step}` in FHIR R4"),
            });
        }
        places = next
            .iter()
            .filter(|each| each.has_members())
            .map(|each| each.inside)
            .collect();
        before = format!("{before}{}{step}", if deep { ".**." } else { "." });
        deep = false;
    }
    Ok(())
}

/// A path without its `[?..]`, which pick among the elements of an array.
fn without_filters(path: &str) -> Cow<'_, str> {
    let mut plain = String::new();
    let mut rest = path;
    while let Some((before, filter)) = rest.split_once("[?") {
        plain.push_str(before);
        let (mut open, mut quote) = (1, None);
        let end = filter.char_indices().find_map(|(at, letter)| {
            match (quote, letter) {
                (Some(mark), _) if mark == letter => quote = None,
                (Some(_), _) => {}
                (None, '\'' | '"') => quote = Some(letter),
                (None, '[') => open += 1,
                (None, ']') => open -= 1,
                (None, _) => {}
            }
            (open == 0).then_some(at + 1)
        });
        rest = end.and_then(|end| filter.get(end..)).unwrap_or_default();
    }
    if plain.is_empty() {
        return Cow::Borrowed(path);
    }
    Cow::Owned(plain + rest)
}

/// Every name that an element, or a choice of one, has in some type.
static NAMES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let elements = TYPES
        .iter()
        .flat_map(|(name, known)| known.elements.iter().map(|element| (*name, element)));
    let members = elements.flat_map(|(name, element)| Member::choices(Place::of(name), element));
    members
        .flat_map(|member| [member.element.name().to_owned(), member.name])
        .collect()
});

impl Member {
    fn is_called(&self, step: &str) -> bool {
        let plain = step.strip_prefix('_').unwrap_or(step);
        self.name == plain || self.element.name() == plain
    }
}

/// The members at these places, and `deep` in them.
fn members_at(places: &[Place], deep: bool) -> Vec<Member> {
    let mut found: Vec<Member> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut todo = places.to_vec();
    while let Some(place) = todo.pop() {
        if !seen.insert((place.of, place.path)) {
            continue;
        }
        for member in place.members() {
            if deep && member.has_members() {
                todo.push(member.inside);
            }
            found.push(member);
        }
    }
    found
}

/// The mandatory and modifier elements that a view removes from resources and leaves what they stand in. `unsafe_paths` are those that may go: `Observation.status`,
/// `status` or `**.use` on all types; with all that is in them.
pub fn removals(view: &dyn Fates, unsafe_paths: &[&str]) -> Removals {
    let mut found: BTreeMap<(String, bool), BTreeSet<&'static str>> = BTreeMap::new();
    let mut idle: BTreeSet<usize> = (0..unsafe_paths.len()).collect();
    for resource in resource_types() {
        if view.fate(resource, &[], false) == Fate::Drop {
            continue;
        }
        let mut gone: Vec<(String, &'static Element)> = Vec::new();
        let mut kept: BTreeSet<String> = BTreeSet::new();
        walk(resource, &mut |way| {
            let Some(last) = way.last() else { return false };
            let fate = fate_of(view, resource, way);
            let path = dotted(way);
            if fate != Fate::Drop {
                kept.insert(path);
            } else if last.element.mandatory || last.element.modifier {
                gone.push((path, last.element));
            }
            fate == Fate::Partly && !matches!(last.datatype, "Extension")
        });
        for (path, element) in gone {
            // Of a choice it is enough that one form stays: a view may keep `deceasedBoolean` alone and say so.
            if element.path.ends_with("[x]") && kept.contains(&path) && !element.modifier {
                continue;
            }
            let mut named = false;
            for (index, each) in unsafe_paths
                .iter()
                .enumerate()
                .filter(|(_, each)| covers(each, resource, &path))
            {
                named |= !each.is_empty();
                idle.remove(&index);
            }
            if !named {
                found.entry((path, element.modifier)).or_default().insert(resource);
            }
        }
    }
    let mut found: Vec<_> = found
        .into_iter()
        .map(|((path, modifier), types)| Removal {
            types: types.into_iter().collect(),
            path,
            modifier,
        })
        .collect();
    found.sort_by_key(|each| std::cmp::Reverse(each.types.len()));
    Removals {
        found,
        idle: idle.into_iter().collect(),
    }
}

/// What becomes of the last member of a way.
fn fate_of(view: &dyn Fates, resource: &str, way: &[Member]) -> Fate {
    let names: Vec<&str> = way.iter().map(|each| each.place.as_str()).collect();
    view.fate(resource, &names, way.last().is_some_and(|last| last.is_primitive()))
}

/// The way as FHIR writes it, choices as `x[x]`.
fn dotted(way: &[Member]) -> String {
    way.iter().map(|each| each.element.name()).collect::<Vec<_>>().join(".")
}

/// Whether what `unsafe` names is this element, or what it stands in.
fn covers(named: &str, resource: &str, path: &str) -> bool {
    let of_type = named.strip_prefix(resource).and_then(|rest| rest.strip_prefix('.'));
    let named = of_type.unwrap_or(named);
    match named.strip_prefix("**.") {
        Some(deep) => path.match_indices(deep).any(|(at, _)| {
            let (before, after) = (&path[..at], &path[at + deep.len()..]);
            (before.is_empty() || before.ends_with('.')) && (after.is_empty() || after.starts_with('.'))
        }),
        None => path
            .strip_prefix(named)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
    }
}

impl Removal {
    /// What goes wrong without it.
    fn harm(&self) -> &'static str {
        if !self.modifier {
            return "without it the resource is not valid, and clients may refuse it";
        }
        match self.path.rsplit('.').next().unwrap_or_default() {
            "status" => "without it `entered-in-error` or `cancelled` reads as valid",
            "verificationStatus" => "without it `refuted` or `entered-in-error` reads as true",
            "clinicalStatus" => "without it what is resolved reads as active",
            "intent" => "without it a proposal reads as an order",
            "doNotPerform" => "without it a prohibition reads as an order",
            "comparator" => "without it `<5` reads as `5`",
            "use" => "without it an old or temporary one reads as current",
            "active" => "without it a record that is no longer in use reads as current",
            "deceased[x]" => "without it a dead person reads as living",
            "link" => "without it a record that was replaced reads as current",
            "implicitRules" | "modifierExtension" => "without it what stays is read by rules that do not hold for it",
            _ => "without it the rest may mean something else",
        }
    }
}

/// A message for the view: `this view removes ..`.
impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.modifier {
            "a modifier element"
        } else {
            "a mandatory element"
        };
        let harm = self.harm();
        match self.types.as_slice() {
            [only] => write!(
                f,
                "this view removes `{only}.{}`, {kind}: {harm}; keep it, or name it under `unsafe`",
                self.path
            ),
            several => {
                write!(f, "this view removes `{}` of ", self.path)?;
                for (index, name) in several.iter().take(NAMED).enumerate() {
                    write!(f, "{}`{name}`", if index == 0 { "" } else { ", " })?;
                }
                if several.len() > NAMED {
                    write!(f, " and {} more types", several.len() - NAMED)?;
                }
                write!(f, ", {kind}: {harm}; keep it, or name it under `unsafe`")
            }
        }
    }
}

/// Says why a transform, by its name in the policy file, makes no valid value of an element at that path; `None` where it does, and where the path is not known.
/// Without a resource type the path is of any.
pub fn misfit(resource: Option<&str>, path: &str, transform: &str) -> Option<String> {
    let path = &*without_filters(path);
    let datatypes = datatypes_at(resource, path);
    let bad: Vec<_> = datatypes.iter().filter(|datatype| !fits(transform, datatype)).collect();
    let first = bad.first()?;
    let kind = TYPES.get(**first).map_or(Kind::Primitive, |known| known.kind);
    let mend = match (kind, transform, **first) {
        (_, "null", _) => "FHIR has no null there; deny it instead",
        (Kind::Datatype, _, "Period") => "name its `start` and `end`",
        (Kind::Datatype, ..) => "name an element in it",
        (_, "year" | "birth-year" | "year-month", "instant") => "an instant has a time; deny it instead",
        (_, _, "date" | "dateTime") => "`year` or `year-month` keeps it a date, else deny it",
        (_, _, "integer" | "decimal" | "positiveInt" | "unsignedInt") => "`round` keeps it a number, else deny it",
        _ => "deny it instead",
    };
    let whose = resource.map(|resource| format!("{resource}.")).unwrap_or_default();
    Some(format!(
        "`{transform}` makes no valid `{first}` of `{whose}{path}`; {mend}"
    ))
}

/// The datatypes that an element at that path can have.
fn datatypes_at(resource: Option<&str>, path: &str) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    for (name, _) in TYPES
        .iter()
        .filter(|(name, known)| known.kind == Kind::Resource && resource.is_none_or(|only| only == **name))
    {
        let mut places = vec![Place::of(name)];
        let mut deep = false;
        let mut last = Vec::new();
        for step in path.split('.') {
            if step == "**" || step.is_empty() {
                deep = true;
                continue;
            }
            last = members_at(&places, deep)
                .into_iter()
                .filter(|each| each.is_called(step))
                .collect();
            places = last
                .iter()
                .filter(|each| each.has_members())
                .map(|each| each.inside)
                .collect();
            deep = false;
        }
        found.extend(last.iter().map(|each| each.datatype));
    }
    found
}

/// Whether what the transform gives can stand where a value of the datatype stood.
fn fits(transform: &str, datatype: &str) -> bool {
    let text = matches!(datatype, "string" | "markdown");
    match transform {
        "null" => false,
        "year" | "birth-year" | "year-month" => text || matches!(datatype, "date" | "dateTime"),
        "zip3" | "last4" | "mask" => text || matches!(datatype, "uri" | "url" | "canonical"),
        "tokenize" => text || matches!(datatype, "uri" | "url" | "canonical" | "id"),
        "round" => matches!(datatype, "integer" | "decimal" | "positiveInt" | "unsignedInt"),
        _ => true,
    }
}
