//! SMART on FHIR without a list of scopes: what a request does is read from method, URL and body, and judged by what the token grants.
//!
//! 1. What does not read as exactly one FHIR R4 interaction (http.html) is refused, with a code: see [`Unclear`].
//! 2. An interaction needs the permission that SMART App Launch 2 names for it: create `c`; read, vread and an instance's history `r`; update and patch
//!    `u`; delete `d`; search and the history of a type or the system `s`. Conditional ones need `s` besides. `metadata` needs none.
//! 3. What a request reads beside its own type needs a grant of its own: `_include`, `_revinclude`, `_has`, chains, `_contained`, `_list`, `_filter` ..
//! 4. An interaction is covered within one context: grants of `patient/`, `user/` and `system/` never add up.
//! 5. A constrained grant (`user/Observation.rs?category=laboratory`) covers a search that implies the constraint. Where the search does not, the constraint
//!    is appended ([`Judged::append`]). Everything else under a constrained grant alone is denied: an id does not show a category.
//! 6. Under `patient/` an interaction must stay in the compartment of the token's patient, by FHIR's CompartmentDefinition: shown by the URL, by an
//!    appended parameter, or by the body ([`belongs`]). What cannot be shown is denied.
//!
//! What a policy's author must know:
//!
//! - 5 and 6 rely on an upstream that honours the search parameters it is sent; [`Judged::strict_search`] says when.
//! - Operations that no table here knows need `.cruds`: known are HL7's of R4, `$export`, `$docref` and `$summary`.
//! - A compartment is FHIR's: what a search by `patient` or `subject` finds, or a compartment's URL, is taken for the patient's. [`belongs`] is stricter:
//!   what refers to two patients is nobody's.
//! - Links to a next page that do not repeat the search (HAPI's `?_getpages=..` at the base) read as a search of the system, and need `*.s`.
//! - The body of a create or update is read under `patient/` only, and in Bundles: an upstream that resolves `Patient?identifier=..` in the references of any
//!   new resource lets a caller with `.c` find out what such a search finds.
//!
//! ```
//! use scrim_policy::fhir::{Contexts, Reading, judge, read};
//! use scrim_policy::head::RequestHead;
//! use scrim_policy::scope::ScopeSet;
//! use scrim_policy::url::Target;
//!
//! let head = RequestHead::new([(":method".to_owned(), b"GET".to_vec())]);
//! let target = Target::parse(b"/fhir/Observation?code=4548-4").ok().unwrap();
//! let Ok(Reading::Request(request)) = read(&head, &target, None) else { panic!() };
//! let held = ScopeSet::from_text("patient/Observation.rs?category=laboratory").unwrap();
//! let judged = judge(&request, &held, Contexts::ALL, Some("7"), false).ok().unwrap();
//! let append = [("patient".to_owned(), "7".to_owned()), ("category".to_owned(), "laboratory".to_owned())];
//! assert_eq!(judged.append, append);
//! ```

mod bundle;
mod compartment;
mod definitions;
mod fhir_r4;
mod interaction;
mod judge;
mod parameters;

pub(crate) use bundle::replaced;
pub use compartment::{belongs, belongs_as};
pub use judge::judge;

use crate::head::RequestHead;
use crate::scope::{Context, Permissions};
use crate::url::{Part, Target, push_encoded};
use compartment::Owners;
use definitions::Type;
use parameters::Parameters;

/// Where the FHIR API begins in the path, as a policy says it: `/fhir`, `/api/FHIR/R4`, or `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base(Vec<Box<str>>);

impl Base {
    /// Reads a base path from a policy.
    ///
    /// # Errors
    /// It does not start with `/`, or is not a canonical path. The message says how to mend it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mend = || {
            format!(
                "`{text}` is no base path; write where the FHIR API begins, as in `/fhir`, without query and escapes"
            )
        };
        let target = Target::parse(text.as_bytes()).map_err(|_| mend())?;
        if !text.starts_with('/') || !target.is_canonical() || !target.parameters().is_empty() {
            return Err(mend());
        }
        Ok(Self(
            target.segments().iter().map(|segment| segment.text().into()).collect(),
        ))
    }
}

/// Reads what a request does, as far as its head tells.
///
/// Without a `base`, the FHIR path begins at the first segment that is a resource type of R4, `$operation`, `_search`, `_history` or `metadata`; where no
/// segment is, the whole path is the base. A segment before it that looks like another FHIR type (`ActorDefinition`), or like one in other letters
/// (`patient`), is refused: an upstream could know it.
///
/// # Errors
/// [`Unclear`]; answer it with 400.
pub fn read(head: &RequestHead, target: &Target<'_>, base: Option<&Base>) -> Result<Reading, Unclear> {
    interaction::read(head, target, base)
}

/// Whether this is the name of a resource type of R4.
#[must_use]
pub fn is_resource_type(name: &str) -> bool {
    Type::parse(name).is_some()
}

/// What a request's head tells of it. Has no `Debug`: it may hold ids.
pub enum Reading {
    /// All that is needed.
    Request(Request),
    /// Its body is needed, whole: a search by POST, a batch, a transaction.
    NeedsBody(Pending),
}

impl Reading {
    /// Whether it is a batch or a transaction.
    #[must_use]
    pub fn is_batch(&self) -> bool {
        matches!(
            self,
            Reading::NeedsBody(Pending {
                kind: PendingKind::Bundle
            })
        )
    }
}

/// A request that is judged only with its body. Has no `Debug`: it may hold ids.
pub struct Pending {
    kind: PendingKind,
}

enum PendingKind {
    Form(interaction::Form),
    Bundle,
}

impl Pending {
    /// Reads the rest from the body, which must be all of it, and not be compressed.
    ///
    /// # Errors
    /// [`Unclear`]; answer it with 400.
    pub fn with_body(self, body: &[u8]) -> Result<Request, Unclear> {
        match self.kind {
            PendingKind::Form(form) => interaction::with_form(form, body),
            PendingKind::Bundle => bundle::read(body),
        }
    }
}

/// What a request does: one interaction, or those of each entry of a batch or transaction. Has no `Debug`: it may hold ids.
pub struct Request {
    interactions: Vec<Interaction>,
    /// A search by POST as an upstream takes it that reads the form only.
    form: Option<Interaction>,
    name: &'static str,
}

impl Request {
    /// The interaction in FHIR's code system `restful-interaction`: `read`, `search-type`, `transaction` ..; for an audit record.
    #[must_use]
    pub fn interaction(&self) -> &'static str {
        self.name
    }

    /// The type that it is about: none for the whole system, and for batches.
    #[must_use]
    pub fn resource_type(&self) -> Option<&'static str> {
        match self.interactions.as_slice() {
            [only] => match only.main.resource {
                Resource::Type(resource) => Some(resource.name()),
                Resource::All => None,
            },
            _ => None,
        }
    }
}

/// One interaction: what it does itself, and what it reads beside.
struct Interaction {
    main: Access,
    /// Conditions and criteria, included types, chains.
    more: Vec<Access>,
    /// The parameters of the main access, for searches and operations.
    parameters: Parameters,
    /// Whether the gateway can append parameters to it: not to entries of a batch, and not to the criteria of conditional interactions.
    appendable: bool,
    /// Whether the response has a body, as it has not for HEAD.
    has_response: bool,
}

/// What one access needs, and what narrows it.
struct Access {
    permissions: Permissions,
    resource: Resource,
    extent: Extent,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Resource {
    Type(Type),
    All,
}

enum Extent {
    /// The resource with that id, or its versions.
    Instance(Box<str>),
    /// A search with the interaction's parameters, in a compartment if the path names one.
    Search(Option<(Type, Box<str>)>),
    /// The search that finds what a conditional interaction is about, or what a reference in a transaction means.
    Criteria(Parameters),
    /// Resources that are returned beside the found ones.
    Include(Reach),
    /// Resources whose content decides what is found: chains, `_has`, named queries.
    Probe(Reach),
    /// A page of an earlier search.
    Page,
    /// A new resource; `None` when the body was not read.
    Create(Option<Owners>),
    /// All versions of all resources.
    History,
    /// All that belongs to one patient (`$everything`).
    Record(Box<str>),
    /// A bulk export.
    Export,
    /// An operation, or a change of what the criteria find.
    Operation,
}

/// Which resources an include or a chain reaches when the found ones are bound to a patient.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Anybody's.
    Any,
    /// The patient's: it goes by the reference that binds.
    Own,
    /// None: the reference that binds leads to a Patient, and to no other type.
    Never,
}

impl Access {
    fn new(permissions: Permissions, resource: Resource, extent: Extent) -> Self {
        Self {
            permissions,
            resource,
            extent,
        }
    }
}

/// Which contexts of SMART scopes count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contexts(u8);

impl Contexts {
    /// `patient/`.
    pub const PATIENT: Self = Self(1);
    /// `user/`.
    pub const USER: Self = Self(2);
    /// `system/`.
    pub const SYSTEM: Self = Self(4);
    /// All three.
    pub const ALL: Self = Self(7);
    /// None: nothing is allowed.
    pub const NONE: Self = Self(0);

    /// These and those.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn has(self, context: Context) -> bool {
        let bit = match context {
            Context::Patient => Self::PATIENT.0,
            Context::User => Self::USER.0,
            Context::System => Self::SYSTEM.0,
        };
        self.0 & bit != 0
    }
}

/// What must be done so that an allowed request stays within its grants. Has no `Debug`: it may hold a patient's id.
#[derive(Default)]
pub struct Judged {
    /// Search parameters (names and values, not yet percent-encoded) to append to the query: a constraint, or the binding to the patient. A repeated
    /// parameter narrows (FHIR R4 search.html: repeated parameters mean AND).
    pub append: Vec<(String, String)>,
    /// The same to append to the form of a search by POST. FHIR counts query and form together; some upstreams read the form only, so it must be narrow enough by
    /// itself, whatever stands in the query.
    pub append_to_form: Vec<(String, String)>,
    /// The decision relies on search parameters, present or appended: an upstream that ignores what it does not know would widen the search. Send
    /// `Prefer: handling=strict` (FHIR R4 search.html, handling errors).
    pub strict_search: bool,
    /// The request body must be shown by [`belongs_as`] to be a resource of this type in the patient's compartment.
    pub check_request: Option<&'static str>,
    /// The response body must be shown by [`belongs`] to be in the patient's compartment. Ask for JSON, and for all of it.
    pub check_response: bool,
}

impl Judged {
    /// A request target with what is to be appended.
    #[must_use]
    pub fn narrowed(&self, target: &[u8]) -> Vec<u8> {
        let mark = if memchr::memchr(b'?', target).is_some() {
            '&'
        } else {
            '?'
        };
        append_to(target, &self.append, mark)
    }

    /// The form of a search by POST with what is to be appended.
    #[must_use]
    pub fn narrowed_form(&self, form: &[u8]) -> Vec<u8> {
        append_to(form, &self.append_to_form, '&')
    }
}

fn append_to(text: &[u8], parameters: &[(String, String)], mark: char) -> Vec<u8> {
    let mut added = String::new();
    let mut mark = match text.last() {
        None if mark == '&' => None,
        Some(b'?' | b'&') => None,
        _ => Some(mark),
    };
    for (name, value) in parameters {
        added.extend(mark);
        push_encoded(&mut added, name, Part::Name);
        added.push('=');
        push_encoded(&mut added, value, Part::Value);
        mark = Some('&');
    }
    [text, added.as_bytes()].concat()
}

/// Why a request is denied. Has no `Debug`.
pub enum Lack {
    /// Scopes (403 `insufficient_scope`): those that would do, in SMART v2 spelling, in each context that counts, joined by spaces.
    Scope(String),
    /// The patient binding: the request is about another patient.
    OtherPatient,
    /// The patient binding: nothing shows whose data it is, for this reason: `no_patient` (the token names none, or not by an id), `search_not_bound`
    /// (nothing can be appended), `search_through_others` (chains, `_has` and the like through resources that may be others'), `absolute_reference`,
    /// `owner_unknown` (the type does not say whose a resource is), `write_by_id`, `write_outside_compartment`, `history`, `operation`, `export`, and,
    /// where the response would have to be checked, `head`, `response_in_part` (`_elements`, `_summary`) and `response_not_json`
    /// (`_format`).
    Unprovable(&'static str),
    /// A granular constraint: only constrained grants cover the request, and it cannot be narrowed to them.
    Constraint,
}

impl Lack {
    /// A stable code for audit records, metrics and error bodies.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Scope(_) => "insufficient_scope",
            Self::OtherPatient => "other_patient",
            Self::Unprovable(code) => code,
            Self::Constraint => "scope_constraint",
        }
    }
}

/// Why a request or body does not read as FHIR: a stable code for audit records, metrics and error bodies. Nothing of the request is in it.
///
/// | codes | about |
/// | --- | --- |
/// | `method`, `method_override` | the method, or a parameter or header that names another one |
/// | `base`, `path`, `unknown_type`, `id`, `interaction` | the path, and what the method means there |
/// | `operation_name`, `operation_by_get` | an operation's name; one that changes something, called by GET |
/// | `encoded_twice`, and those of [`crate::url::Ambiguity`] | spellings that an upstream may read otherwise |
/// | `parameter_name`, `parameter_spelling` | characters that no search parameter has; `_INCLUDE` for `_include` |
/// | `include`, `chain`, `has`, `criteria`, `too_complex` | search parameters, and `If-None-Exist` |
/// | `content_type`, `content_encoding` | of a form or a Bundle |
/// | `json`, `json_duplicate_name`, `json_limit`, `resource_type`, `conditional_reference` | any JSON body |
/// | `not_a_bundle`, `bundle_type`, `bundle_entry`, `entry_url`, `entry_search`, `nested_batch` | a batch or transaction |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unclear(&'static str);

impl Unclear {
    /// The code.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.0
    }
}

#[cfg(test)]
mod tests;
