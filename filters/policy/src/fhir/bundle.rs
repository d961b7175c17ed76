//! Batches and transactions (FHIR R4 http.html, batch/transaction): each entry is read like a request of its own.
//!
//! What is refused, since an upstream may take it otherwise: names that differ in case only, URLs that are absolute or not canonical, batches within
//! batches, searches by POST, a resource of another type than the URL's.

use super::compartment::{Owners, parse, refuse_twins};
use super::definitions::Type;
use super::interaction::{self, Line, Method};
use super::parameters::Parameters;
use super::{Access, Extent, Interaction, Request, Resource, Unclear};
use crate::scope::Permissions;
use crate::token::json::{Json, Object};
use crate::url::Target;

/// How many accesses all entries may need together.
const MAX_ACCESSES: usize = 32_768;

pub(super) fn read(body: &[u8]) -> Result<Request, Unclear> {
    let bundle = parse(body)?;
    refuse_twins(&bundle)?;
    if text(&bundle, "resourceType") != Some("Bundle") {
        return Err(Unclear("not_a_bundle"));
    }
    let name = match text(&bundle, "type") {
        Some("batch") => "batch",
        Some("transaction") => "transaction",
        _ => return Err(Unclear("bundle_type")),
    };
    let entries = match bundle.get("entry") {
        None => &[][..],
        Some(Json::Array(entries)) => entries.as_slice(),
        Some(_) => return Err(Unclear("bundle_entry")),
    };
    let mut interactions = Vec::with_capacity(entries.len());
    let mut accesses = 0_usize;
    for entry in entries {
        let Json::Object(entry) = entry else {
            return Err(Unclear("bundle_entry"));
        };
        let Some(interaction) = read_entry(entry)? else {
            continue;
        };
        accesses = accesses.saturating_add(interaction.more.len()).saturating_add(1);
        if accesses > MAX_ACCESSES {
            return Err(Unclear("too_complex"));
        }
        interactions.push(interaction);
    }
    Ok(Request {
        interactions,
        form: None,
        name,
    })
}

/// The URLs that a batch or a transaction puts a resource to, each with whether it is only to be made; none for another resource than a Bundle.
///
/// # Errors
/// [`Unclear`]: an upstream might read it otherwise.
pub(crate) fn replaced(body: &[u8]) -> Result<Vec<(String, bool)>, Unclear> {
    let bundle = parse(body)?;
    refuse_twins(&bundle)?;
    if text(&bundle, "resourceType") != Some("Bundle") {
        return Ok(Vec::new());
    }
    let entries = match bundle.get("entry") {
        None => return Ok(Vec::new()),
        Some(Json::Array(entries)) => entries,
        Some(_) => return Err(Unclear("bundle_entry")),
    };
    let mut urls = Vec::new();
    for entry in entries {
        let Json::Object(entry) = entry else {
            return Err(Unclear("bundle_entry"));
        };
        let request = match entry.get("request") {
            None => continue,
            Some(Json::Object(request)) => request,
            Some(_) => return Err(Unclear("bundle_entry")),
        };
        let method = text(request, "method").ok_or(Unclear("method"))?;
        if Method::parse(method.as_bytes())? != Method::Put {
            continue;
        }
        let creates = text(request, "ifNoneMatch") == Some("*");
        urls.push((text(request, "url").ok_or(Unclear("entry_url"))?.to_owned(), creates));
    }
    Ok(urls)
}

fn read_entry(entry: &Object<'_>) -> Result<Option<Interaction>, Unclear> {
    let Some(Json::Object(request)) = entry.get("request") else {
        return Err(Unclear("bundle_entry"));
    };
    let method = text(request, "method").ok_or(Unclear("method"))?;
    let method = Method::parse(method.as_bytes())?;
    let url = text(request, "url").ok_or(Unclear("entry_url"))?;
    let raw = [b"/", url.as_bytes()].concat();
    // A lone slash is the base, for a server that takes it for one; a scheme, a host or a second slash names something else.
    if url.is_empty() || url.starts_with('/') || url.split('?').next().unwrap_or_default().contains([':', '%']) {
        return Err(Unclear("entry_url"));
    }
    let target = Target::parse(&raw).map_err(|ambiguity| Unclear(ambiguity.code()))?;
    let path = raw.get(target.path_range()).unwrap_or_default();
    if path != target.path().as_bytes() || target.has_dot_segments() || target.has_trailing_slash() {
        return Err(Unclear("entry_url"));
    }
    let resource = match entry.get("resource") {
        None => None,
        Some(Json::Object(resource)) => Some(resource),
        Some(_) => return Err(Unclear("bundle_entry")),
    };
    let criteria = || match request.get("ifNoneExist") {
        None => Ok(None),
        Some(Json::Text(text)) => Ok(Some(text.as_bytes().into())),
        Some(_) => Err(Unclear("criteria")),
    };
    let parameters = Parameters::of(&target)?;
    let mut interaction = match interaction::line(method, target.segments(), parameters, &criteria, false)? {
        Line::Interaction(_, interaction) => interaction,
        Line::Capabilities => return Ok(None),
        Line::Form(_) => return Err(Unclear("entry_search")),
        Line::Bundle => return Err(Unclear("nested_batch")),
    };
    interaction.appendable = false;
    match resource {
        Some(resource) => with_resource(&mut interaction, method, resource)?,
        None if matches!(interaction.main.extent, Extent::Create(_)) => return Err(Unclear("bundle_entry")),
        None => {}
    }
    Ok(Some(interaction))
}

/// Adds what the resource of an entry tells: whose it is, and the searches in its references.
fn with_resource(interaction: &mut Interaction, method: Method, resource: &Object<'_>) -> Result<(), Unclear> {
    let name = text(resource, "resourceType").ok_or(Unclear("resource_type"))?;
    let is_create = matches!(interaction.main.extent, Extent::Create(_));
    if let Resource::Type(of) = interaction.main.resource
        && (is_create || method == Method::Put)
        && of.name() != name
    {
        return Err(Unclear("resource_type"));
    }
    if is_create && let Some(holding) = Type::parse(name).and_then(Type::holding) {
        interaction.main.extent = Extent::Create(Some(Owners::of(resource, holding)));
    }
    resource
        .iter()
        .try_for_each(|(name, value)| conditional_references(name, value, &mut interaction.more))
}

/// In a transaction `"reference": "Patient?identifier=.."` is a search, and what it finds decides (FHIR R4 http.html, conditional references).
fn conditional_references(name: &str, value: &Json<'_>, more: &mut Vec<Access>) -> Result<(), Unclear> {
    match value {
        Json::Object(object) => object
            .iter()
            .try_for_each(|(name, value)| conditional_references(name, value, more)),
        Json::Array(list) => list
            .iter()
            .try_for_each(|value| conditional_references(name, value, more)),
        Json::Text(text) if name == "reference" => {
            let Some((before, query)) = text.split_once('?') else {
                return Ok(());
            };
            let Some(of) = before.rsplit('/').next().and_then(Type::parse) else {
                return Ok(());
            };
            if more.len() > MAX_ACCESSES {
                return Err(Unclear("too_complex"));
            }
            let parameters = Parameters::parse(query.as_bytes())?;
            parameters.beside(Resource::Type(of), true, more)?;
            more.push(Access::new(
                Permissions::SEARCH,
                Resource::Type(of),
                Extent::Criteria(parameters),
            ));
            Ok(())
        }
        _ => Ok(()),
    }
}

fn text<'o>(object: &'o Object<'_>, name: &str) -> Option<&'o str> {
    object.get(name).and_then(Json::as_text)
}
