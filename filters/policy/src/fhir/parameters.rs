//! Search parameters: what they are called, and which other resources they make a server read.

use memchr::memmem;

use super::definitions::Type;
use super::{Access, Extent, Reach, Resource, Unclear};
use crate::scope::Permissions;
use crate::url::{Parameter, Target};

/// How many accesses one interaction may need; more are refused.
const MAX_ACCESSES: usize = 256;

/// How many types a reference may lead to before it counts as leading anywhere.
const MAX_TARGETS: usize = 16;

/// How many links a chain may have.
const MAX_LINKS: usize = 8;

/// Parameters that change what others mean, or read more: an upstream may know them in other letters, so those are refused.
const SPECIAL: [&str; 22] = [
    "_cascade",
    "_contained",
    "_containedType",
    "_elements",
    "_expunge",
    "_filter",
    "_getpages",
    "_graph",
    "_has",
    "_id",
    "_in",
    "_include",
    "_list",
    "_method",
    "_query",
    "_revinclude",
    "_sort",
    "_summary",
    "_type",
    "_typeFilter",
    "includeAssociatedData",
    "persist",
];

/// Parameters of every type that read the resource itself and nothing else (FHIR R4 search.html, parameters for all resources).
const OF_ALL: [&str; 9] = [
    "_content",
    "_id",
    "_lastUpdated",
    "_language",
    "_profile",
    "_security",
    "_source",
    "_tag",
    "_text",
];

/// Names and values, in order. They stand in one text, so that many of them cost few allocations.
#[derive(Clone, Default)]
pub(super) struct Parameters {
    text: String,
    items: Vec<Item>,
}

#[derive(Clone, Copy)]
struct Item {
    name: (usize, usize),
    value: (usize, usize),
    /// Whether the value reads the same to whoever decodes once.
    is_plain: bool,
}

/// One parameter.
#[derive(Clone, Copy)]
pub(super) struct Pair<'p> {
    pub(super) name: &'p str,
    pub(super) value: &'p str,
    /// Whether the value reads the same to whoever decodes once: only such a value can show anything.
    pub(super) is_plain: bool,
}

impl Parameters {
    /// The parameters of a target.
    pub(super) fn of(target: &Target<'_>) -> Result<Self, Unclear> {
        let mut parameters = Self::default();
        parameters.add(target)?;
        Ok(parameters)
    }

    /// The parameters of a query, as it stands in `If-None-Exist` or a form.
    pub(super) fn parse(query: &[u8]) -> Result<Self, Unclear> {
        let mut parameters = Self::default();
        parameters.add_query(query)?;
        Ok(parameters)
    }

    pub(super) fn add_query(&mut self, query: &[u8]) -> Result<(), Unclear> {
        let raw = [b"/?", query].concat();
        let target = Target::parse(&raw).map_err(|ambiguity| Unclear(ambiguity.code()))?;
        self.add(&target)
    }

    fn add(&mut self, target: &Target<'_>) -> Result<(), Unclear> {
        let parameters = target.parameters();
        if parameters.is_empty() {
            return Ok(());
        }
        self.text.reserve(target.raw().len());
        self.items.reserve(parameters.len());
        parameters.iter().try_for_each(|parameter| self.push(target, parameter))
    }

    fn push(&mut self, target: &Target<'_>, parameter: &Parameter<'_>) -> Result<(), Unclear> {
        let name = parameter.name();
        let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':' | b'$');
        if name.is_empty() || !name.bytes().all(is_name_byte) {
            return Err(Unclear("parameter_name"));
        }
        let base = parameter.base_name();
        if SPECIAL
            .iter()
            .any(|special| special.eq_ignore_ascii_case(base) && *special != base)
        {
            return Err(Unclear("parameter_spelling"));
        }
        if base == "_method" {
            return Err(Unclear("method_override"));
        }
        let is_twice_encoded =
            |range| !target.is_plain() && memmem::find(target.raw().get(range).unwrap_or_default(), b"%25").is_some();
        if is_twice_encoded(parameter.name_range()) {
            return Err(Unclear("encoded_twice"));
        }
        let is_plain = !parameter.value_range().is_some_and(is_twice_encoded);
        let name = self.append(name);
        let value = self.append(parameter.value());
        self.items.push(Item { name, value, is_plain });
        Ok(())
    }

    fn append(&mut self, text: &str) -> (usize, usize) {
        let start = self.text.len();
        self.text.push_str(text);
        (start, self.text.len())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Pair<'_>> {
        let cut = |(start, end): (usize, usize)| self.text.get(start..end).unwrap_or_default();
        self.items.iter().map(move |item| Pair {
            name: cut(item.name),
            value: cut(item.value),
            is_plain: item.is_plain,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether there is a parameter of that base name, whatever its modifier.
    pub(super) fn has(&self, base: &str) -> bool {
        self.iter().any(|pair| pair.base() == base)
    }

    /// The types that `_type` names; `None` without it, and where a server might not take it for a list of types.
    pub(super) fn types(&self) -> Result<Option<Vec<Type>>, Unclear> {
        let mut types: Option<Vec<Type>> = None;
        let mut is_certain = true;
        for pair in self.iter().filter(|pair| pair.base() == "_type") {
            if pair.name != "_type" {
                is_certain = false;
                continue;
            }
            if !pair.is_plain {
                return Err(Unclear("encoded_twice"));
            }
            for name in pair.value.split(',') {
                // A server may ignore a type that it does not know, and so search all.
                let each = Type::parse(name).ok_or(Unclear("unknown_type"))?;
                let types = types.get_or_insert_default();
                if !types.contains(&each) {
                    types.push(each);
                }
            }
        }
        Ok(types.filter(|_| is_certain))
    }

    /// Adds what a server reads beside the resource itself because of these parameters. `bound` says whether under a patient's binding the resources that
    /// are found are certain to refer to the patient by the parameters that bind.
    pub(super) fn beside(&self, resource: Resource, bound: bool, more: &mut Vec<Access>) -> Result<(), Unclear> {
        let main = match resource {
            Resource::Type(resource) => Some(resource),
            Resource::All => None,
        };
        for pair in self.iter() {
            self.pair_beside(pair, main, bound, more)?;
            if more.len() > MAX_ACCESSES {
                return Err(Unclear("too_complex"));
            }
        }
        Ok(())
    }

    fn pair_beside(
        &self,
        pair: Pair<'_>,
        main: Option<Type>,
        bound: bool,
        more: &mut Vec<Access>,
    ) -> Result<(), Unclear> {
        match pair.base() {
            base @ ("_include" | "_revinclude") => {
                let modifier = pair.name.get(base.len()..).unwrap_or_default();
                if !matches!(modifier, "" | ":iterate" | ":recurse") || !pair.is_plain {
                    return Err(Unclear("include"));
                }
                include(pair.value, base == "_revinclude", main, bound, more)
            }
            "_sort" => pair
                .value
                .split(',')
                .map(|key| key.trim_start_matches('-'))
                .filter(|key| key.contains('.') || key.starts_with("_has"))
                .try_for_each(|key| name_beside(main.as_slice(), false, 0, key, more)),
            "_contained" if pair.name == "_contained" && pair.value == "false" && pair.is_plain => Ok(()),
            "_contained" | "_filter" | "_graph" | "_in" | "_query" => {
                more.push(Access::new(
                    Permissions::READ_SEARCH,
                    Resource::All,
                    Extent::Probe(Reach::Any),
                ));
                Ok(())
            }
            "_list" => {
                let list = Type::parse("List").map_or(Resource::All, Resource::Type);
                more.push(Access::new(Permissions::READ_SEARCH, list, Extent::Probe(Reach::Any)));
                Ok(())
            }
            // An upstream (HAPI) that knows it answers with a page of an earlier search, whatever else the URL says.
            "_getpages" => {
                more.push(Access::new(Permissions::SEARCH, Resource::All, Extent::Page));
                Ok(())
            }
            _ => name_beside(main.as_slice(), bound, 0, pair.name, more),
        }
    }
}

impl<'p> Pair<'p> {
    /// The name without modifiers and chains.
    pub(super) fn base(&self) -> &'p str {
        self.name.split([':', '.']).next().unwrap_or_default()
    }
}

/// What a parameter's name makes a server read: the types along a chain (`subject:Patient.name`) and of `_has`. `types` are those that the name is a parameter of;
/// none of them stands for any.
fn name_beside(types: &[Type], bound: bool, depth: usize, name: &str, more: &mut Vec<Access>) -> Result<(), Unclear> {
    if depth > MAX_LINKS {
        return Err(Unclear("chain"));
    }
    let deeper = depth.saturating_add(1);
    if let Some(rest) = name.strip_prefix("_has:") {
        let mut parts = rest.splitn(3, ':');
        let (Some(source), Some(reference), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Unclear("has"));
        };
        let source = Type::parse(source).ok_or(Unclear("has"))?;
        let reach = backward(bound, matches!(types, [Type::PATIENT]), source, reference);
        more.push(Access::new(
            Permissions::SEARCH,
            Resource::Type(source),
            Extent::Probe(reach),
        ));
        return name_beside(&[source], false, deeper, rest, more);
    }
    let Some((link, rest)) = name.split_once('.') else {
        let base = name.split(':').next().unwrap_or_default();
        if base == "_has" || name.is_empty() {
            return Err(Unclear("has"));
        }
        if depth > 0 && base.starts_with('_') && !OF_ALL.contains(&base) {
            more.push(Access::new(
                Permissions::READ_SEARCH,
                Resource::All,
                Extent::Probe(Reach::Any),
            ));
        }
        return Ok(());
    };
    let (code, named) = match link.split_once(':') {
        Some((code, named)) => (code, Some(Type::parse(named).ok_or(Unclear("chain"))?)),
        None => (link, None),
    };
    let own = bound && matches!(types, [only] if only.is_bound_by(code));
    let targets = match named {
        Some(named) => Some(vec![named]),
        None => targets(types, code),
    };
    match &targets {
        None => more.push(Access::new(
            Permissions::SEARCH,
            Resource::All,
            Extent::Probe(Reach::Any),
        )),
        Some(targets) => more.extend(targets.iter().map(|target| {
            Access::new(
                Permissions::SEARCH,
                Resource::Type(*target),
                Extent::Probe(forward(own, *target)),
            )
        })),
    }
    // What the own patient refers to is not the patient's own by that.
    name_beside(targets.as_deref().unwrap_or_default(), false, deeper, rest, more)
}

/// What a reference of the found resources reaches; `own` when it is the one that binds them.
fn forward(own: bool, target: Type) -> Reach {
    match (own, target) {
        (false, _) => Reach::Any,
        (true, Type::PATIENT) => Reach::Own,
        (true, _) => Reach::Never,
    }
}

/// What refers to the found resources by a parameter reaches.
fn backward(bound: bool, from_patient: bool, source: Type, parameter: &str) -> Reach {
    if bound && from_patient && source.is_bound_by(parameter) {
        Reach::Own
    } else {
        Reach::Any
    }
}

/// The types that a parameter of any of these types can refer to; `None` for any.
fn targets(types: &[Type], code: &str) -> Option<Vec<Type>> {
    let mut all: Vec<Type> = Vec::new();
    for target in types
        .iter()
        .filter_map(|each| each.targets(code))
        .map(Iterator::collect::<Vec<_>>)
    {
        if target.is_empty() {
            return None;
        }
        target.into_iter().for_each(|each| {
            if !all.contains(&each) {
                all.push(each);
            }
        });
    }
    (!all.is_empty() && all.len() <= MAX_TARGETS).then_some(all)
}

/// What `_include=Observation:subject:Patient` and `_revinclude=Observation:subject` return (FHIR R4 search.html, including other resources).
fn include(value: &str, reverse: bool, main: Option<Type>, bound: bool, more: &mut Vec<Access>) -> Result<(), Unclear> {
    let refuse = || Unclear("include");
    let returned = |resource, reach| Access::new(Permissions::READ_SEARCH, resource, Extent::Include(reach));
    let mut parts = value.split(':');
    let (source, code, target, end) = (parts.next(), parts.next(), parts.next(), parts.next());
    let source = match (source, code) {
        (Some("*"), None) => {
            more.push(returned(Resource::All, Reach::Any));
            return Ok(());
        }
        (Some(source), Some(_)) => Type::parse(source).ok_or_else(refuse)?,
        _ => return Err(refuse()),
    };
    let code = code.unwrap_or_default();
    let is_code = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if end.is_some() || (code != "*" && (code.is_empty() || !code.bytes().all(is_code))) {
        return Err(refuse());
    }
    let target = target.map(|name| Type::parse(name).ok_or_else(refuse)).transpose()?;
    if reverse {
        let reach = backward(bound, main == Some(Type::PATIENT), source, code);
        more.push(returned(Resource::Type(source), reach));
        return Ok(());
    }
    let own = bound && main == Some(source) && source.is_bound_by(code);
    let all = if code == "*" { None } else { targets(&[source], code) };
    match (target, all) {
        // A server may ignore a target that the parameter does not have.
        (Some(target), Some(all)) if !all.contains(&target) => return Err(refuse()),
        (Some(target), _) => more.push(returned(Resource::Type(target), forward(own, target))),
        (None, Some(all)) => more.extend(
            all.into_iter()
                .map(|each| returned(Resource::Type(each), forward(own, each))),
        ),
        (None, None) => more.push(returned(Resource::All, Reach::Any)),
    }
    Ok(())
}
