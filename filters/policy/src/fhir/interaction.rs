//! From method, path and parameters to an interaction (FHIR R4 http.html).

use memchr::memmem;

use super::definitions::{Level, Need, Operation, Type, is_nearly_type, operation};
use super::parameters::Parameters;
use super::{Access, Base, Extent, Interaction, Pending, PendingKind, Reading, Request, Resource, Unclear};
use crate::head::RequestHead;
use crate::scope::Permissions;
use crate::url::{Segment, Target};

/// The longest path, in segments after the base: `Type/id/_history/version/$operation`.
const MAX_SEGMENTS: usize = 5;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    pub(super) fn parse(method: &[u8]) -> Result<Self, Unclear> {
        match method {
            b"GET" => Ok(Self::Get),
            b"HEAD" => Ok(Self::Head),
            b"POST" => Ok(Self::Post),
            b"PUT" => Ok(Self::Put),
            b"PATCH" => Ok(Self::Patch),
            b"DELETE" => Ok(Self::Delete),
            _ => Err(Unclear("method")),
        }
    }

    fn reads(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }
}

/// What a path and a method say.
pub(super) enum Line {
    Interaction(&'static str, Interaction),
    /// `metadata`: needs nothing.
    Capabilities,
    /// A search by POST, whose form may say more.
    Form(Form),
    /// A POST to the base.
    Bundle,
}

/// A search by POST before its form was read.
pub(super) struct Form {
    resource: Resource,
    compartment: Option<(Type, Box<str>)>,
    parameters: Parameters,
    content: bool,
}

pub(super) fn read(head: &RequestHead, target: &Target<'_>, base: Option<&Base>) -> Result<Reading, Unclear> {
    let method = Method::parse(head.method())?;
    if head.has_any(names_method) {
        return Err(Unclear("method_override"));
    }
    if target.is_asterisk() {
        return Err(Unclear("path"));
    }
    // The filter decodes to a fixed point, an upstream perhaps once.
    if !target.is_plain() && memmem::find(target.raw().get(target.path_range()).unwrap_or_default(), b"%25").is_some() {
        return Err(Unclear("encoded_twice"));
    }
    let path = after_base(target.segments(), base)?;
    let parameters = Parameters::of(target)?;
    let condition = || criteria_header(head);
    match line(
        method,
        path,
        parameters,
        &condition,
        method == Method::Delete && head.has("x-cascade"),
    )? {
        Line::Interaction(name, interaction) => Ok(Reading::Request(Request {
            interactions: vec![interaction],
            form: None,
            name,
        })),
        Line::Capabilities => Ok(Reading::Request(Request {
            interactions: Vec::new(),
            form: None,
            name: "capabilities",
        })),
        Line::Form(mut form) => {
            form.content = content_type(head, &["application/x-www-form-urlencoded"])?;
            Ok(Reading::NeedsBody(Pending {
                kind: PendingKind::Form(form),
            }))
        }
        Line::Bundle => {
            if !content_type(head, &["application/fhir+json", "application/json"])? {
                return Err(Unclear("content_type"));
            }
            Ok(Reading::NeedsBody(Pending {
                kind: PendingKind::Bundle,
            }))
        }
    }
}

pub(super) fn with_form(form: Form, body: &[u8]) -> Result<Request, Unclear> {
    let Form {
        resource,
        compartment,
        mut parameters,
        content,
    } = form;
    if !body.is_empty() {
        if !content {
            return Err(Unclear("content_type"));
        }
        parameters.add_query(body)?;
    }
    let mut own = Parameters::default();
    own.add_query(body)?;
    let (_, form) = search(Method::Post, resource, compartment.clone(), own)?;
    let (name, interaction) = search(Method::Post, resource, compartment, parameters)?;
    Ok(Request {
        interactions: vec![interaction],
        form: Some(form),
        name,
    })
}

/// Whether a header names another method than the judged one, for an upstream that follows it.
fn names_method(name: &[u8]) -> bool {
    name.starts_with(b"x-")
        && matches!(
            name,
            b"x-http-method-override" | b"x-http-method" | b"x-method-override" | b"x-method"
        )
}

/// Whether there is a content type, which must be one of these, in UTF-8 and not compressed.
fn content_type(head: &RequestHead, allowed: &[&str]) -> Result<bool, Unclear> {
    if head
        .all("content-encoding")
        .any(|value| !value.eq_ignore_ascii_case(b"identity"))
    {
        return Err(Unclear("content_encoding"));
    }
    let mut values = head.all("content-type");
    let Some(value) = values.next() else { return Ok(false) };
    let text = std::str::from_utf8(value).map_err(|_| Unclear("content_type"))?;
    let mut parts = text.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    let is_known = |part: &str| match part.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        Some((name, _)) => name.eq_ignore_ascii_case("fhirversion"),
        None => part.is_empty(),
    };
    if values.next().is_some() || !allowed.iter().any(|each| each.eq_ignore_ascii_case(media)) || !parts.all(is_known) {
        return Err(Unclear("content_type"));
    }
    Ok(true)
}

/// The criteria of `If-None-Exist` (FHIR R4 http.html, conditional create).
fn criteria_header(head: &RequestHead) -> Result<Option<Box<[u8]>>, Unclear> {
    let mut values = head.all("if-none-exist");
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => Ok(Some(value.into())),
        (Some(_), Some(_)) => Err(Unclear("criteria")),
    }
}

/// The segments of the FHIR path.
fn after_base<'t, 'a>(segments: &'t [Segment<'a>], base: Option<&Base>) -> Result<&'t [Segment<'a>], Unclear> {
    let begin = match base {
        Some(Base(base)) => {
            let is_under =
                base.len() <= segments.len() && base.iter().zip(segments).all(|(one, other)| **one == *other.text());
            if !is_under {
                return Err(Unclear("base"));
            }
            base.len()
        }
        None => {
            let begins = |segment: &Segment<'_>| {
                let text = segment.text();
                text.starts_with('$')
                    || matches!(text, "_search" | "_history" | "metadata" | ".well-known")
                    || Type::parse(text).is_some()
            };
            let begin = segments.iter().position(begins).unwrap_or(segments.len());
            let is_doubtful = |segment: &Segment<'_>| is_nearly_type(segment.text()) || segment.text().starts_with('_');
            if segments.iter().take(begin).any(is_doubtful) {
                return Err(Unclear("unknown_type"));
            }
            begin
        }
    };
    segments.get(begin..).ok_or(Unclear("base"))
}

/// Reads method, path after the base, and query. `criteria` gives what `If-None-Exist` says, for a create.
pub(super) fn line(
    method: Method,
    path: &[Segment<'_>],
    parameters: Parameters,
    criteria: &dyn Fn() -> Result<Option<Box<[u8]>>, Unclear>,
    cascades: bool,
) -> Result<Line, Unclear> {
    let mut texts = [""; MAX_SEGMENTS];
    if path.len() > MAX_SEGMENTS {
        return Err(Unclear("path"));
    }
    texts
        .iter_mut()
        .zip(path)
        .for_each(|(text, segment)| *text = segment.text());
    let path = texts.get(..path.len()).unwrap_or_default();
    let [first, rest @ ..] = path else {
        return match method {
            Method::Get | Method::Head => found(search(method, Resource::All, None, parameters)),
            Method::Post => {
                if parameters
                    .iter()
                    .any(|pair| !matches!(pair.name, "_format" | "_pretty"))
                {
                    return Err(Unclear("parameter_name"));
                }
                Ok(Line::Bundle)
            }
            _ => Err(Unclear("interaction")),
        };
    };
    if let Some(resource) = Type::parse(first) {
        return of_type(method, resource, rest, parameters, criteria, cascades);
    }
    match (*first, rest) {
        ("metadata", []) if method.reads() => Ok(Line::Capabilities),
        // SMART App Launch 2, conformance: read before there is a token.
        (".well-known", ["smart-configuration"]) if method.reads() => Ok(Line::Capabilities),
        ("_history", []) if method.reads() => {
            let (main, others) = system(&parameters, Permissions::SEARCH, &|| Extent::History)?;
            one("history-system", method, main, others, parameters)
        }
        ("_search", []) => searching(method, Resource::All, None, parameters),
        (name, []) if name.starts_with('$') => operate(method, name, Level::System, None, parameters),
        _ if is_nearly_type(first) => Err(Unclear("unknown_type")),
        _ => Err(Unclear("path")),
    }
}

fn of_type(
    method: Method,
    resource: Type,
    rest: &[&str],
    parameters: Parameters,
    criteria: &dyn Fn() -> Result<Option<Box<[u8]>>, Unclear>,
    cascades: bool,
) -> Result<Line, Unclear> {
    let of = Resource::Type(resource);
    match *rest {
        [] => match method {
            Method::Get | Method::Head => found(search(method, of, None, parameters)),
            Method::Post => create(resource, parameters, criteria()?),
            Method::Put | Method::Patch | Method::Delete => {
                if parameters.is_empty() {
                    return Err(Unclear("interaction"));
                }
                let (name, permission) = change(method);
                let mut more = vec![Access::new(
                    Permissions::SEARCH,
                    of,
                    Extent::Criteria(parameters.clone()),
                )];
                parameters.beside(of, true, &mut more)?;
                cascade(&parameters, cascades, &mut more);
                let main = Access::new(permission, of, Extent::Operation);
                Ok(Line::Interaction(
                    name,
                    Interaction {
                        main,
                        more,
                        parameters: Parameters::default(),
                        appendable: false,
                        has_response: true,
                    },
                ))
            }
        },
        ["_search"] => searching(method, of, None, parameters),
        ["_history"] if method.reads() => {
            let main = Access::new(Permissions::SEARCH, of, Extent::History);
            one("history-type", method, main, Vec::new(), parameters)
        }
        [name] if name.starts_with('$') => operate(method, name, Level::OfType(resource), None, parameters),
        [id] => {
            let id = read_id(id)?;
            let (name, permission) = if method.reads() {
                ("read", Permissions::READ)
            } else {
                change(method)
            };
            if method == Method::Post {
                return Err(Unclear("interaction"));
            }
            let main = Access::new(permission, of, Extent::Instance(id));
            let mut more = Vec::new();
            if method == Method::Delete {
                cascade(&parameters, cascades, &mut more);
            }
            one(name, method, main, more, parameters)
        }
        [id, "_history"] if method.reads() => {
            let main = Access::new(Permissions::READ, of, Extent::Instance(read_id(id)?));
            one("history-instance", method, main, Vec::new(), parameters)
        }
        [id, "_history", version] if method.reads() => {
            read_id(version)?;
            let main = Access::new(Permissions::READ, of, Extent::Instance(read_id(id)?));
            one("vread", method, main, Vec::new(), parameters)
        }
        [id, name] | [id, "_history", _, name] if name.starts_with('$') => {
            operate(method, name, Level::Instance(resource), Some(read_id(id)?), parameters)
        }
        [id, "*" | "_search"] | [id, "*", "_search"] if resource.has_compartment() => {
            searching(method, Resource::All, Some((resource, read_id(id)?)), parameters)
        }
        [id, inner] | [id, inner, "_search"] if resource.has_compartment() => {
            let inner = Type::parse(inner).ok_or(Unclear("path"))?;
            if rest.len() == 2 && method == Method::Post {
                return Err(Unclear("interaction"));
            }
            searching(
                method,
                Resource::Type(inner),
                Some((resource, read_id(id)?)),
                parameters,
            )
        }
        _ => Err(Unclear("path")),
    }
}

/// `[A-Za-z0-9\-\.]{1,64}` (FHIR R4 datatypes.html, id).
pub(super) fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

fn read_id(text: &str) -> Result<Box<str>, Unclear> {
    if is_id(text) {
        Ok(text.into())
    } else {
        Err(Unclear("id"))
    }
}

fn change(method: Method) -> (&'static str, Permissions) {
    match method {
        Method::Put => ("update", Permissions::UPDATE),
        Method::Patch => ("patch", Permissions::UPDATE),
        _ => ("delete", Permissions::DELETE),
    }
}

/// Deletes that some upstreams (HAPI) extend to what refers to the resource, or to its history.
fn cascade(parameters: &Parameters, by_header: bool, more: &mut Vec<Access>) {
    if by_header || parameters.has("_cascade") || parameters.has("_expunge") {
        more.push(Access::new(Permissions::DELETE, Resource::All, Extent::Operation));
    }
}

fn found(search: Result<(&'static str, Interaction), Unclear>) -> Result<Line, Unclear> {
    search.map(|(name, interaction)| Line::Interaction(name, interaction))
}

/// An interaction with parameters that are not its own search.
fn one(
    name: &'static str,
    method: Method,
    main: Access,
    mut more: Vec<Access>,
    parameters: Parameters,
) -> Result<Line, Unclear> {
    parameters.beside(main.resource, false, &mut more)?;
    Ok(Line::Interaction(
        name,
        Interaction {
            main,
            more,
            parameters,
            appendable: false,
            has_response: method != Method::Head,
        },
    ))
}

fn searching(
    method: Method,
    resource: Resource,
    compartment: Option<(Type, Box<str>)>,
    parameters: Parameters,
) -> Result<Line, Unclear> {
    match method {
        Method::Get | Method::Head => found(search(method, resource, compartment, parameters)),
        Method::Post => Ok(Line::Form(Form {
            resource,
            compartment,
            parameters,
            content: false,
        })),
        _ => Err(Unclear("interaction")),
    }
}

/// The accesses of an interaction with all types, or those in `_type`.
fn system(
    parameters: &Parameters,
    permissions: Permissions,
    extent: &dyn Fn() -> Extent,
) -> Result<(Access, Vec<Access>), Unclear> {
    let types = parameters.types()?.unwrap_or_default();
    let mut accesses = types
        .into_iter()
        .map(|each| Access::new(permissions, Resource::Type(each), extent()));
    match accesses.next() {
        Some(main) => Ok((main, accesses.collect())),
        None => Ok((Access::new(permissions, Resource::All, extent()), Vec::new())),
    }
}

pub(super) fn search(
    method: Method,
    resource: Resource,
    compartment: Option<(Type, Box<str>)>,
    parameters: Parameters,
) -> Result<(&'static str, Interaction), Unclear> {
    let name = match (resource, &compartment) {
        (_, Some(_)) => "search-compartment",
        (Resource::Type(_), None) => "search-type",
        (Resource::All, None) => "search-system",
    };
    // A compartment holds what a patient did for another, too: there the parameters that bind do not show whom it is about.
    let bound = compartment.is_none();
    let (main, mut more) = match resource {
        Resource::Type(_) => (
            Access::new(Permissions::SEARCH, resource, Extent::Search(compartment)),
            Vec::new(),
        ),
        Resource::All => system(&parameters, Permissions::SEARCH, &|| {
            Extent::Search(compartment.clone())
        })?,
    };
    // Parameters of a search over several types are judged as those of any.
    let appendable = more.is_empty();
    let of = if appendable { main.resource } else { Resource::All };
    parameters.beside(of, bound, &mut more)?;
    let has_response = method != Method::Head;
    Ok((
        name,
        Interaction {
            main,
            more,
            parameters,
            appendable,
            has_response,
        },
    ))
}

pub(super) fn create(resource: Type, parameters: Parameters, criteria: Option<Box<[u8]>>) -> Result<Line, Unclear> {
    let of = Resource::Type(resource);
    let main = Access::new(Permissions::CREATE, of, Extent::Create(None));
    let mut more = Vec::new();
    if let Some(criteria) = criteria {
        self::criteria(resource, &criteria, &mut more)?;
    }
    one("create", Method::Post, main, more, parameters)
}

/// Adds the search by which a conditional create finds out whether there is one already. Clients write `name=value` or, against the specification,
/// `Type?name=value`.
pub(super) fn criteria(resource: Type, text: &[u8], more: &mut Vec<Access>) -> Result<(), Unclear> {
    let query = match memchr::memchr(b'?', text).and_then(|at| text.split_at_checked(at)) {
        Some((before, query)) if before.is_empty() || before == resource.name().as_bytes() => {
            query.get(1..).unwrap_or_default()
        }
        Some(_) => return Err(Unclear("criteria")),
        None => text,
    };
    let parameters = Parameters::parse(query)?;
    if parameters.is_empty() {
        return Err(Unclear("criteria"));
    }
    let of = Resource::Type(resource);
    parameters.beside(of, true, more)?;
    more.push(Access::new(Permissions::SEARCH, of, Extent::Criteria(parameters)));
    Ok(())
}

fn operate(
    method: Method,
    name: &str,
    level: Level,
    id: Option<Box<str>>,
    parameters: Parameters,
) -> Result<Line, Unclear> {
    if !method.reads() && method != Method::Post {
        return Err(Unclear("interaction"));
    }
    let code = name.get(1..).unwrap_or_default();
    if code.is_empty()
        || !code
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    {
        return Err(Unclear("operation_name"));
    }
    let on = match level {
        Level::System => Resource::All,
        Level::OfType(resource) | Level::Instance(resource) => Resource::Type(resource),
    };
    let Some(known) = operation(code, level).filter(|known| !changes(known, method, &parameters)) else {
        // What nobody knows, and what changes something: everything that there is to permit.
        let known = operation(code, level);
        if method.reads() && known.is_some() {
            return Err(Unclear("operation_by_get"));
        }
        let resource = match known {
            Some(known) if known.need == Need::State => known.defined_on().map_or(on, Resource::Type),
            Some(_) => Resource::All,
            None => on,
        };
        return one(
            "operation",
            method,
            Access::new(Permissions::ALL, resource, Extent::Operation),
            Vec::new(),
            parameters,
        );
    };
    let (resource, extent) = match (known.need, level) {
        (Need::Own, Level::System) => (
            known.defined_on().map_or(Resource::All, Resource::Type),
            Extent::Operation,
        ),
        (Need::Own, _) => (on, Extent::Operation),
        (Need::Record, Level::Instance(Type::PATIENT)) => (Resource::All, Extent::Record(id.unwrap_or_default())),
        (Need::Search, _) if method.reads() => {
            let main = Access::new(Permissions::READ_SEARCH, on, Extent::Search(None));
            let mut more = Vec::new();
            parameters.beside(on, true, &mut more)?;
            let has_response = method != Method::Head;
            return Ok(Line::Interaction(
                "operation",
                Interaction {
                    main,
                    more,
                    parameters,
                    appendable: true,
                    has_response,
                },
            ));
        }
        (Need::Search, _) => (on, Extent::Operation),
        (Need::Export, _) => {
            // `_type` in a posted body is not read; `_typeFilter` and associated data lead to other types.
            let is_plain = method.reads() && !parameters.has("_typeFilter") && !parameters.has("includeAssociatedData");
            let (main, more) = if is_plain {
                system(&parameters, Permissions::READ_SEARCH, &|| Extent::Export)?
            } else {
                (
                    Access::new(Permissions::READ_SEARCH, Resource::All, Extent::Export),
                    Vec::new(),
                )
            };
            return one("operation", method, main, more, parameters);
        }
        (Need::All | Need::Record | Need::State | Need::Anything, _) => (Resource::All, Extent::Operation),
    };
    one(
        "operation",
        method,
        Access::new(Permissions::READ_SEARCH, resource, extent),
        Vec::new(),
        parameters,
    )
}

/// Whether an operation may change something when called so.
fn changes(known: &Operation, method: Method, parameters: &Parameters) -> bool {
    matches!(known.need, Need::State | Need::Anything)
        || (known.may_change && (method == Method::Post || parameters.has("persist")))
}
