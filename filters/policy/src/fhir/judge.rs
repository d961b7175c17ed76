//! From a request and grants to a judgement: contexts apart, constraints, and the binding to a patient.

use super::definitions::{Holding, Type};
use super::interaction::is_id;
use super::parameters::{Pair, Parameters};
use super::{Access, Contexts, Extent, Interaction, Judged, Lack, Reach, Request, Resource};
use crate::scope::{Context, Grant, Permissions, ScopeSet};

/// How many accesses a challenge names.
const MAX_NAMED: usize = 16;

/// Parameters of every type by which a constraint may narrow; the others that start with `_` say how to answer, or read more.
const NARROWING: [&str; 8] = [
    "_id",
    "_lastUpdated",
    "_profile",
    "_security",
    "_source",
    "_tag",
    "_content",
    "_text",
];

/// Judges a request by the scopes that a token holds, as far as they are of these contexts.
///
/// `patient` is the token's claim of that name: the id of a Patient. Without one nothing under `patient/` is allowed.
///
/// The contexts are tried in the order user, system, patient: the patient's binds, so a token with a broader one needs no binding.
///
/// `upstream_vouches`: the upstream judges itself whose the resource of an id is, and what it shows to whom. Under `patient/` reading and changing by id, includes
/// and pages then pass without [`Judged::check_response`]; all else is judged the same.
///
/// # Errors
/// A [`Lack`]; answer it with 403. Of several contexts, the one that came furthest tells.
pub fn judge(
    request: &Request,
    held: &ScopeSet,
    contexts: Contexts,
    patient: Option<&str>,
    upstream_vouches: bool,
) -> Result<Judged, Lack> {
    let subject = Subject {
        patient: patient.filter(|id| is_id(id)),
        upstream_vouches,
    };
    let mut judged = Judged::default();
    for interaction in &request.interactions {
        judge_one(interaction, held, contexts, subject, &mut judged)?;
    }
    if let Some(form) = request.form.as_ref().filter(|_| judged.strict_search) {
        let mut alone = Judged::default();
        judge_one(form, held, contexts, subject, &mut alone)?;
        judged.append_to_form = alone.append;
    }
    Ok(judged)
}

/// Whom `patient/` is about, and who shows whose an id is.
#[derive(Clone, Copy)]
struct Subject<'p> {
    patient: Option<&'p str>,
    upstream_vouches: bool,
}

fn judge_one(
    interaction: &Interaction,
    held: &ScopeSet,
    contexts: Contexts,
    subject: Subject<'_>,
    judged: &mut Judged,
) -> Result<(), Lack> {
    let mut worst: Option<Lack> = None;
    for context in [Context::User, Context::System, Context::Patient] {
        if !contexts.has(context) {
            continue;
        }
        match within(interaction, held, context, subject) {
            Ok(found) => {
                judged.append.extend(found.append);
                judged.strict_search |= found.strict_search;
                judged.check_response |= found.check_response;
                judged.check_request = judged.check_request.or(found.check_request);
                return Ok(());
            }
            Err(None) => {}
            Err(Some(lack)) => {
                if worst.as_ref().is_none_or(|worst| rank(worst) < rank(&lack)) {
                    worst = Some(lack);
                }
            }
        }
    }
    Err(worst.unwrap_or_else(|| Lack::Scope(needed(interaction, contexts))))
}

fn rank(lack: &Lack) -> u8 {
    match lack {
        Lack::Scope(_) => 0,
        Lack::Unprovable(_) => 1,
        Lack::Constraint => 2,
        Lack::OtherPatient => 3,
    }
}

/// The scopes that an interaction needs, in each of the contexts.
fn needed(interaction: &Interaction, contexts: Contexts) -> String {
    let mut needs: Vec<(Resource, Permissions)> = Vec::new();
    for access in accesses(interaction) {
        let is_full = needs.len() >= MAX_NAMED;
        match needs.iter_mut().find(|(resource, _)| *resource == access.resource) {
            Some((_, permissions)) => *permissions = permissions.union(access.permissions),
            None if is_full => {}
            None => needs.push((access.resource, access.permissions)),
        }
    }
    let mut scopes = Vec::new();
    for context in Context::ALL.into_iter().filter(|context| contexts.has(*context)) {
        for (resource, permissions) in &needs {
            let resource = match resource {
                Resource::Type(resource) => resource.name(),
                Resource::All => "*",
            };
            scopes.push(format!("{}/{resource}.{}", context.name(), permissions.letters()));
        }
    }
    scopes.join(" ")
}

fn accesses(interaction: &Interaction) -> impl Iterator<Item = &Access> {
    std::iter::once(&interaction.main).chain(&interaction.more)
}

/// Judges an interaction within one context. `Err(None)`: a scope lacks.
fn within(
    interaction: &Interaction,
    held: &ScopeSet,
    context: Context,
    subject: Subject<'_>,
) -> Result<Judged, Option<Lack>> {
    let mut judged = Judged::default();
    // What an own reference cannot reach needs no scope.
    let bound = context == Context::Patient;
    let mut lack = None;
    for access in accesses(interaction) {
        if bound && never_reached(access) {
            continue;
        }
        match cover(access, interaction, held, context, &mut judged) {
            Ok(()) => {}
            Err(None) => return Err(None),
            Err(found) => lack = lack.or(found),
        }
    }
    if let Some(lack) = lack {
        return Err(Some(lack));
    }
    if bound {
        let patient = subject.patient.ok_or(Lack::Unprovable("no_patient"))?;
        let mut binding = Judged::default();
        for access in accesses(interaction).filter(|access| !never_reached(access)) {
            bind(access, interaction, patient, subject.upstream_vouches, &mut binding)?;
        }
        binding.check_response &= !subject.upstream_vouches;
        if binding.check_response {
            provable_response(interaction)?;
        }
        binding.append.append(&mut judged.append);
        binding.strict_search |= judged.strict_search;
        return Ok(binding);
    }
    Ok(judged)
}

/// Whether the patient's binding leaves nothing to be reached.
fn never_reached(access: &Access) -> bool {
    matches!(
        access.extent,
        Extent::Include(Reach::Never) | Extent::Probe(Reach::Never)
    )
}

/// Whether the grants of a context cover an access, with what must be appended for that. `Err(None)`: a scope lacks.
fn cover(
    access: &Access,
    interaction: &Interaction,
    held: &ScopeSet,
    context: Context,
    judged: &mut Judged,
) -> Result<(), Option<Lack>> {
    let resource = match access.resource {
        Resource::Type(resource) => Some(resource.name()),
        Resource::All => None,
    };
    let of_resource = |grant: &Grant<'_>| grant.resource.is_none() || grant.resource == resource;
    let (mut granted, mut constrained) = (Permissions::NONE, Permissions::NONE);
    for grant in held.grants(context).filter(of_resource) {
        let sum = if grant.constraint.is_none() {
            &mut granted
        } else {
            &mut constrained
        };
        *sum = sum.union(grant.permissions);
    }
    if granted.contains(access.permissions) {
        return Ok(());
    }
    let missing = access.permissions.without(granted);
    if !constrained.contains(missing) {
        return Err(None);
    }
    // An id, a body or an operation does not show what a constraint is about: only a search does.
    let (parameters, appendable) = match &access.extent {
        Extent::Search(_) => (&interaction.parameters, interaction.appendable),
        Extent::Criteria(parameters) => (parameters, false),
        _ => return Err(Some(Lack::Constraint)),
    };
    if missing != Permissions::SEARCH {
        return Err(Some(Lack::Constraint));
    }
    let mut constraints: Vec<Constraint<'_>> = Vec::new();
    for grant in held
        .grants(context)
        .filter(of_resource)
        .filter(|grant| grant.permissions.contains(missing))
    {
        let Some(constraint) = grant.constraint.and_then(Constraint::parse) else {
            continue;
        };
        if constraint.is_implied_by(parameters) {
            judged.strict_search = true;
            return Ok(());
        }
        if !constraints.contains(&constraint) {
            constraints.push(constraint);
        }
    }
    judged.strict_search = true;
    let append = match constraints.as_slice() {
        [only] => only.lacking_in(parameters),
        several => {
            let (name, value) = union(several).ok_or(Lack::Constraint)?;
            if implies(parameters, &(&name, &value)) {
                return Ok(());
            }
            vec![(name, value)]
        }
    };
    if !appendable {
        return Err(Some(Lack::Constraint));
    }
    judged.append.extend(append);
    Ok(())
}

/// What narrows a grant: parameters that must all hold.
#[derive(PartialEq, Eq)]
struct Constraint<'g>(Vec<(&'g str, &'g str)>);

impl<'g> Constraint<'g> {
    /// Reads what follows `?` in a scope. `None` when it is not certain what it means as search parameters: such a grant covers nothing. So it is with escapes, with
    /// empty values, and with parameters that do not narrow.
    fn parse(text: &'g str) -> Option<Self> {
        let pairs: Vec<(&str, &str)> = text.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let narrows = |(name, value): &(&str, &str)| {
            let base = name.split([':', '.']).next().unwrap_or_default();
            let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
            name.bytes().all(is_name_byte)
                && (!name.starts_with('_') || NARROWING.contains(&base))
                && !value.contains(['%', '+', '\\', ';', '#'])
                && value.split(',').all(|each| !each.is_empty())
        };
        (!pairs.is_empty() && pairs.iter().all(narrows)).then_some(Self(pairs))
    }

    fn is_implied_by(&self, parameters: &Parameters) -> bool {
        self.0.iter().all(|pair| implies(parameters, pair))
    }

    fn lacking_in(&self, parameters: &Parameters) -> Vec<(String, String)> {
        let lacking = self.0.iter().filter(|pair| !implies(parameters, pair));
        lacking
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }
}

/// Whether a parameter of a search is at least as narrow: the same, or, without modifiers, some of the values (a comma means or). Values compare by their
/// exact text, `system|code` as a whole.
fn implies(parameters: &Parameters, (name, value): &(&str, &str)) -> bool {
    parameters
        .iter()
        .filter(|pair| pair.is_plain && pair.name == *name)
        .any(|pair| {
            let is_one_of =
                |each: &str| !each.is_empty() && !each.contains('\\') && value.split(',').any(|value| value == each);
            pair.value == *value || (!name.contains(':') && pair.value.split(',').all(is_one_of))
        })
}

/// One parameter that says the same as all these constraints together, if there is one.
fn union(constraints: &[Constraint<'_>]) -> Option<(String, String)> {
    let mut values: Vec<&str> = Vec::new();
    let mut name = None;
    for Constraint(pairs) in constraints {
        let [(each, value)] = pairs.as_slice() else { return None };
        if each.contains(':') || *name.get_or_insert(*each) != *each {
            return None;
        }
        for value in value.split(',') {
            if !values.contains(&value) {
                values.push(value);
            }
        }
    }
    Some((name?.to_owned(), values.join(",")))
}

/// Shows that an access stays with the patient, or how it does.
fn bind(
    access: &Access,
    interaction: &Interaction,
    patient: &str,
    upstream_vouches: bool,
    judged: &mut Judged,
) -> Result<(), Lack> {
    let reads_only = Permissions::READ_SEARCH.contains(access.permissions);
    let resource = match access.resource {
        Resource::Type(resource) => resource,
        Resource::All => return bind_all(&access.extent, patient, judged),
    };
    let holding = resource.holding();
    match &access.extent {
        Extent::Instance(id) if resource == Type::PATIENT => own(id, patient),
        Extent::Search(Some((of, id))) if *of == Type::PATIENT => {
            own(id, patient)?;
            judged.check_response |= resource == Type::PATIENT || holding.is_some_and(|holding| holding.shared);
            Ok(())
        }
        Extent::Search(Some(_)) if resource.is_open() => Err(Lack::Unprovable("search_through_others")),
        Extent::Export => Err(Lack::Unprovable("export")),
        _ if resource.is_open() => {
            if reads_only {
                return Ok(());
            }
            Err(Lack::Unprovable("write_outside_compartment"))
        }
        Extent::Instance(_) if upstream_vouches => Ok(()),
        Extent::Instance(_) => {
            if !reads_only {
                return Err(Lack::Unprovable("write_by_id"));
            }
            if holding.is_some_and(|holding| holding.elements.is_empty()) && resource.name() != "Bundle" {
                return Err(Lack::Unprovable("owner_unknown"));
            }
            judged.check_response = true;
            Ok(())
        }
        Extent::Search(_) => {
            if !bind_search(resource, &interaction.parameters, patient)? {
                if !interaction.appendable {
                    return Err(Lack::Unprovable("search_not_bound"));
                }
                judged.append.extend(binding(resource, patient));
            }
            judged.strict_search = true;
            judged.check_response |= holding.is_some_and(|holding| holding.shared);
            Ok(())
        }
        Extent::Criteria(parameters) => {
            if !bind_search(resource, parameters, patient)? {
                return Err(Lack::Unprovable("search_not_bound"));
            }
            judged.strict_search = true;
            Ok(())
        }
        Extent::Include(Reach::Own | Reach::Never) | Extent::Probe(Reach::Own | Reach::Never) => Ok(()),
        Extent::Include(Reach::Any) | Extent::Page => {
            judged.check_response = true;
            Ok(())
        }
        Extent::Probe(Reach::Any) => Err(Lack::Unprovable("search_through_others")),
        Extent::Create(owners) => match (owners, holding) {
            (_, holding) if !holding.is_some_and(|holding| holding.in_compartment) => {
                Err(Lack::Unprovable("write_outside_compartment"))
            }
            (None, _) => {
                judged.check_request = Some(resource.name());
                Ok(())
            }
            (Some(owners), _) if owners.are(&|id| id == patient, false) => Ok(()),
            (Some(_), _) => Err(Lack::OtherPatient),
        },
        Extent::History => Err(Lack::Unprovable("history")),
        Extent::Record(id) => own(id, patient),
        Extent::Operation => Err(Lack::Unprovable("operation")),
    }
}

/// As [`bind`], for what reaches all types.
fn bind_all(extent: &Extent, patient: &str, judged: &mut Judged) -> Result<(), Lack> {
    match extent {
        Extent::Record(id) => own(id, patient),
        Extent::Search(Some((of, id))) if *of == Type::PATIENT => {
            own(id, patient)?;
            judged.check_response = true;
            Ok(())
        }
        Extent::Include(_) | Extent::Page => {
            judged.check_response = true;
            Ok(())
        }
        Extent::Search(_) => Err(Lack::Unprovable("search_not_bound")),
        Extent::Probe(_) => Err(Lack::Unprovable("search_through_others")),
        Extent::History => Err(Lack::Unprovable("history")),
        Extent::Export => Err(Lack::Unprovable("export")),
        Extent::Instance(_) | Extent::Criteria(_) | Extent::Create(_) | Extent::Operation => {
            Err(Lack::Unprovable("operation"))
        }
    }
}

fn own(id: &str, patient: &str) -> Result<(), Lack> {
    if id == patient { Ok(()) } else { Err(Lack::OtherPatient) }
}

/// Whether a search shows by itself that it finds the patient's resources only.
fn bind_search(resource: Type, parameters: &Parameters, patient: &str) -> Result<bool, Lack> {
    let by = match resource.holding() {
        _ if resource == Type::PATIENT => &["_id"][..],
        Some(Holding { by: [], .. }) | None => return Err(Lack::Unprovable("search_not_bound")),
        Some(holding) => holding.by,
    };
    let mut is_bound = false;
    for pair in parameters
        .iter()
        .filter(|pair| by.contains(&pair.base()) && pair.is_plain)
    {
        is_bound |= is_of_patient(resource, &pair, patient)?;
    }
    Ok(is_bound)
}

/// Whether a parameter that binds names the patient, and nothing else.
fn is_of_patient(resource: Type, pair: &Pair<'_>, patient: &str) -> Result<bool, Lack> {
    let base = pair.base();
    let is_bare = match pair.name.get(base.len()..).unwrap_or_default() {
        "" => takes_bare_ids(resource, base),
        ":Patient" if base != "_id" => true,
        // A modifier or a chain says something else; it narrows at most.
        _ => return Ok(false),
    };
    let mut all = true;
    for value in pair.value.split(',') {
        if value.contains("://") || value.starts_with("urn:") {
            return Err(Lack::Unprovable("absolute_reference"));
        }
        let id = match value.strip_prefix("Patient/") {
            Some(id) if base != "_id" => Some(id),
            _ if is_bare && !value.is_empty() => Some(value),
            _ => None,
        };
        match id {
            Some(id) => own(id, patient)?,
            None => all = false,
        }
    }
    Ok(all)
}

/// Whether a parameter takes an id without its type: it can refer to patients only (FHIR R4 search.html, reference), or is `_id`.
fn takes_bare_ids(resource: Type, parameter: &str) -> bool {
    if resource == Type::PATIENT {
        return parameter == "_id";
    }
    resource
        .targets(parameter)
        .is_some_and(|mut targets| targets.next() == Some(Type::PATIENT) && targets.next().is_none())
}

/// The parameter that binds a search to the patient.
fn binding(resource: Type, patient: &str) -> Option<(String, String)> {
    let by = match resource.holding() {
        None => "_id",
        Some(holding) => *holding.by.first()?,
    };
    let value = if takes_bare_ids(resource, by) {
        patient.to_owned()
    } else {
        format!("Patient/{patient}")
    };
    Some((by.to_owned(), value))
}

/// Whether a response can be checked at all: it has a body, and `_elements` or `_summary` does not leave out of it whose
/// each resource is.
fn provable_response(interaction: &Interaction) -> Result<(), Lack> {
    if !interaction.has_response {
        return Err(Lack::Unprovable("head"));
    }
    let leaves_out = |pair: Pair<'_>| match pair.base() {
        "_elements" => true,
        "_summary" => pair.name != "_summary" || pair.value != "false" || !pair.is_plain,
        _ => false,
    };
    if interaction.parameters.iter().any(leaves_out) {
        return Err(Lack::Unprovable("response_in_part"));
    }
    let is_other = |pair: Pair<'_>| pair.base() == "_format" && !pair.value.contains("json");
    if interaction.parameters.iter().any(is_other) {
        return Err(Lack::Unprovable("response_not_json"));
    }
    Ok(())
}
