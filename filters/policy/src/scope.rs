//! OAuth scopes and SMART on FHIR scopes: what a token grants, what a route needs, and whether the one covers the other.
//!
//! 1. A scope is a `scope-token` of RFC 6749 section 3.3; it compares by exact bytes, case and all.
//! 2. A SMART scope is `patient|user|system / Resource|* . permissions`. Permissions are spelled `read`, `write` or `*` (SMART v1) or as a subset of
//!    the letters `cruds` in that order (SMART v2). `read` is `rs`, `write` is `cud`, `*` is `cruds`. No other order of letters is a SMART scope.
//! 3. Grants add up: `user/Patient.r` and `user/Patient.s` together cover `user/Patient.rs`. The resource `*` covers all.
//! 4. The contexts `patient`, `user` and `system` never stand for one another.
//! 5. A grant with a constraint (`?category=laboratory`) never covers a need without one. A need with a constraint is covered by a grant without one, or by
//!    one whose constraint is the same text.
//! 6. Under `none_of` a scope counts as held as soon as any part of it is granted: one permission, one resource under `*`, a constrained grant, or a scope
//!    that is nearly SMART (`system/Patient.sr`) and that a laxer server behind the gateway might honour.
//!
//! ```
//! use scrim_policy::scope::{Need, Requirement, ScopeSet};
//!
//! let held = ScopeSet::from_text("openid user/Patient.r user/Patient.s").unwrap();
//! let need = Requirement::AnyOf(vec![Requirement::Scope(Need::parse("user/Patient.rs").unwrap())]);
//! assert!(need.is_met_by(&held));
//! assert_eq!(need.scopes(), "user/Patient.rs");
//! ```

/// The most scopes that one token may carry; a token with more is refused.
pub const MAX_SCOPES: usize = 256;

/// The most bytes that the scopes of one token may have together.
pub const MAX_SCOPE_BYTES: usize = 8 * 1024;

/// The scopes that a token grants: the union of its `scope` and `scp` claims.
///
/// Has no `Debug`, `Display` or `Serialize`: what a caller may do is not for a log.
#[derive(Clone, Default)]
pub struct ScopeSet {
    smart: Vec<Smart>,
    near_smart: Vec<NearSmart>,
    plain: Vec<Box<str>>,
    count: usize,
    bytes: usize,
}

impl ScopeSet {
    /// Reads a space-delimited list, as in the claim `scope` (RFC 6749 section 3.3, RFC 9068 section 2.2.3) or a string `scp`.
    ///
    /// An empty text is an empty set; several spaces in a row count as one.
    ///
    /// # Errors
    /// See [`ScopeError`].
    pub fn from_text(text: &str) -> Result<Self, ScopeError> {
        let mut set = Self::default();
        set.add_text(text)?;
        Ok(set)
    }

    /// Adds the scopes of a space-delimited list.
    ///
    /// # Errors
    /// See [`ScopeError`]; the set is then of no use.
    pub fn add_text(&mut self, text: &str) -> Result<(), ScopeError> {
        text.split(' ')
            .filter(|scope| !scope.is_empty())
            .try_for_each(|scope| self.add(scope))
    }

    /// Adds one scope, as an element of an array `scp`.
    ///
    /// # Errors
    /// See [`ScopeError`]; the set is then of no use.
    pub fn add(&mut self, scope: &str) -> Result<(), ScopeError> {
        if !is_scope_token(scope) {
            return Err(ScopeError::InvalidCharacter);
        }
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(scope.len());
        if self.count > MAX_SCOPES || self.bytes > MAX_SCOPE_BYTES {
            return Err(ScopeError::TooMany);
        }
        match Context::split(scope) {
            None => self.plain.push(scope.into()),
            Some((context, rest)) => match Smart::parse(context, rest) {
                Ok(smart) => self.smart.push(smart),
                Err(_) => self.near_smart.push(NearSmart::new(context, rest)),
            },
        }
        Ok(())
    }

    /// How many scopes were granted, repeated ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether no scope was granted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The SMART grants of one context, in order.
    pub(crate) fn grants(&self, context: Context) -> impl Iterator<Item = Grant<'_>> {
        let of_context = self.smart.iter().filter(move |grant| grant.context == context);
        of_context.map(|grant| Grant {
            resource: match &grant.resource {
                Resource::Any => None,
                Resource::Type(resource) => Some(resource),
            },
            permissions: grant.permissions,
            constraint: grant.constraint.as_deref(),
        })
    }

    /// Whether all of `need` is granted (rules 1 to 5).
    fn covers(&self, need: &Need) -> bool {
        match &need.kind {
            Kind::Plain => self.plain.iter().any(|scope| **scope == *need.text),
            Kind::Smart(need) => {
                let granted = self
                    .smart
                    .iter()
                    .filter(|grant| grant.context == need.context && grant.resource.covers(&need.resource))
                    .filter(|grant| grant.constraint.is_none() || grant.constraint == need.constraint)
                    .fold(Permissions::NONE, |sum, grant| sum.union(grant.permissions));
                granted.contains(need.permissions)
            }
        }
    }

    /// Whether any part of `need` is granted (rule 6).
    fn touches(&self, need: &Need) -> bool {
        match &need.kind {
            Kind::Plain => self.plain.iter().any(|scope| **scope == *need.text),
            Kind::Smart(need) => {
                self.smart.iter().any(|grant| {
                    grant.context == need.context
                        && grant.resource.overlaps(&need.resource)
                        && grant.permissions.overlaps(need.permissions)
                }) || self
                    .near_smart
                    .iter()
                    .any(|grant| grant.context == need.context && grant.resource.overlaps(&need.resource))
            }
        }
    }
}

/// One SMART scope that a token holds.
pub(crate) struct Grant<'a> {
    /// The resource type; `None` for `*`.
    pub(crate) resource: Option<&'a str>,
    pub(crate) permissions: Permissions,
    /// What follows `?`: pairs `parameter=value`, joined by `&`, neither part empty.
    pub(crate) constraint: Option<&'a str>,
}

/// Why the scopes of a token cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeError {
    /// A scope is empty or has a character outside `NQCHAR` of RFC 6749 appendix A.4.
    InvalidCharacter,
    /// More than [`MAX_SCOPES`] scopes, or more than [`MAX_SCOPE_BYTES`] bytes of them.
    TooMany,
}

/// What a caller holds, for a [`Requirement`] to ask.
pub trait Holder {
    /// The token's scopes.
    fn scopes(&self) -> &ScopeSet;

    /// Whether this holds of the caller; `None`: nobody can tell, which denies.
    fn holds(&self, fact: &Fact) -> Option<bool>;
}

/// Scopes alone: of all else nobody can tell.
impl Holder for ScopeSet {
    fn scopes(&self) -> &ScopeSet {
        self
    }

    fn holds(&self, _: &Fact) -> Option<bool> {
        None
    }
}

/// What a policy can demand beyond a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The token has the SMART scopes for what the request does.
    Smart,
    /// The token has one of these roles, as tokens write them.
    Role(Vec<Box<str>>),
    /// The token has this purpose of use.
    Purpose(Box<str>),
    /// The glass was broken for this request, or was not.
    BreakGlass(bool),
    /// A claim is, or holds, one of these values.
    Claim {
        /// Its place in [`crate::token::Asked::compared`].
        index: usize,
        /// Its name, or the way to it, for people.
        name: Box<str>,
        /// The values, as the policy file writes them.
        values: Vec<Box<str>>,
    },
}

/// What a policy demands of a token.
///
/// A list without members is never met; [`Requirement::check`] tells a policy's author where that is surely a mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// This scope.
    Scope(Need),
    /// What is no scope.
    Fact(Fact),
    /// At least one of these. Empty, it is never met.
    AnyOf(Vec<Requirement>),
    /// Each of these.
    AllOf(Vec<Requirement>),
    /// None of these; strict about a scope that is granted in part (rule 6).
    NoneOf(Vec<Requirement>),
}

impl Requirement {
    /// Whether who holds this meets the requirement.
    #[must_use]
    pub fn is_met_by<H: Holder + ?Sized>(&self, held: &H) -> bool {
        self.holds(held, Reading::Whole)
    }

    /// Whether any of the tree is such.
    pub fn any(&self, is: &impl Fn(&Fact) -> bool) -> bool {
        match self {
            Self::Scope(_) => false,
            Self::Fact(fact) => is(fact),
            Self::AnyOf(list) | Self::AllOf(list) | Self::NoneOf(list) => list.iter().any(|each| each.any(is)),
        }
    }

    /// The scopes that would meet the requirement, joined by spaces and each named once, for the `scope` attribute of `WWW-Authenticate`
    /// (RFC 6750 section 3). What stands under `none_of` is left out.
    #[must_use]
    pub fn scopes(&self) -> String {
        let mut names = Vec::new();
        self.collect(&mut names);
        names.join(" ")
    }

    /// The requirement in words, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let all = |list: &[Self], word: &str| {
            let parts: Vec<String> = list.iter().map(Self::describe).collect();
            match parts.as_slice() {
                [one] if word != "none" => one.clone(),
                parts => format!("{word} of ({})", parts.join(", ")),
            }
        };
        match self {
            Self::Scope(need) => need.as_str().to_owned(),
            Self::Fact(Fact::Smart) => "the SMART scopes for what the request does".to_owned(),
            Self::Fact(Fact::Role(values)) => format!("a role of {}", values.join(" | ")),
            Self::Fact(Fact::Purpose(purpose)) => format!("purpose of use {purpose}"),
            Self::Fact(Fact::Claim { name, values, .. }) => format!("claim {name} of {}", values.join(" | ")),
            Self::Fact(Fact::BreakGlass(true)) => "the glass broken".to_owned(),
            Self::Fact(Fact::BreakGlass(false)) => "the glass unbroken".to_owned(),
            Self::AnyOf(list) => all(list, "any"),
            Self::AllOf(list) => all(list, "all"),
            Self::NoneOf(list) => all(list, "none"),
        }
    }

    /// Refuses a tree that cannot mean what its author wanted.
    ///
    /// # Errors
    /// An empty `all_of` or `none_of`, anywhere in the tree, with the mend.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Scope(_) | Self::Fact(_) => Ok(()),
            Self::AllOf(list) if list.is_empty() => {
                Err("`all_of` is empty and would demand nothing; name the scopes that the route needs".to_owned())
            }
            Self::NoneOf(list) if list.is_empty() => Err(
                "`none_of` is empty and would forbid nothing; name the scopes to forbid, or leave it out".to_owned(),
            ),
            Self::AnyOf(list) | Self::AllOf(list) | Self::NoneOf(list) => list.iter().try_for_each(Self::check),
        }
    }

    fn holds<H: Holder + ?Sized>(&self, held: &H, reading: Reading) -> bool {
        match self {
            Self::Scope(need) => match reading {
                Reading::Whole => held.scopes().covers(need),
                Reading::Part => held.scopes().touches(need),
            },
            Self::Fact(fact) => held.holds(fact).unwrap_or(reading == Reading::Part),
            Self::AnyOf(list) => list.iter().any(|each| each.holds(held, reading)),
            // Empty lists are a policy error; should one come this far, it denies: it is unmet where that denies and met where that does.
            Self::AllOf(list) if list.is_empty() => reading == Reading::Part,
            Self::NoneOf(list) if list.is_empty() => reading == Reading::Part,
            Self::AllOf(list) => list.iter().all(|each| each.holds(held, reading)),
            Self::NoneOf(list) => !list.iter().any(|each| each.holds(held, reading.flip())),
        }
    }

    fn collect<'a>(&'a self, names: &mut Vec<&'a str>) {
        match self {
            Self::Scope(need) if !names.contains(&need.as_str()) => names.push(need.as_str()),
            Self::Scope(_) | Self::Fact(_) | Self::NoneOf(_) => {}
            Self::AnyOf(list) | Self::AllOf(list) => list.iter().for_each(|each| each.collect(names)),
        }
    }
}

/// How a scope that is granted in part counts: always in the way that denies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Required, so a part is not enough.
    Whole,
    /// Forbidden, so a part is enough.
    Part,
}

impl Reading {
    fn flip(self) -> Self {
        match self {
            Self::Whole => Self::Part,
            Self::Part => Self::Whole,
        }
    }
}

/// One scope that a policy names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    text: Box<str>,
    kind: Kind,
}

impl Need {
    /// Reads a scope from a policy.
    ///
    /// # Errors
    /// The text is no `scope-token` (RFC 6749 section 3.3), or starts like a SMART scope and is none. The message says how to mend it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains(' ') {
            return Err(format!(
                "`{text}` is more than one scope; list them one by one under `all_of` or `any_of`"
            ));
        }
        if !is_scope_token(text) {
            return Err(format!(
                "`{}` is not a scope; use printable ASCII without spaces, quotes and backslashes",
                text.escape_debug()
            ));
        }
        let kind = match Context::split(text) {
            Some((context, rest)) => {
                Kind::Smart(Smart::parse(context, rest).map_err(|fault| fault.explain(text, context, rest))?)
            }
            None => {
                if let Some((context, rest)) = Context::split_any_case(text) {
                    return Err(format!(
                        "`{text}` is not a SMART scope: write `{}/{rest}`",
                        context.name()
                    ));
                }
                Kind::Plain
            }
        };
        Ok(Self {
            text: text.into(),
            kind,
        })
    }

    /// The scope as the policy spells it. It holds neither a space nor a quote, so it can stand in a header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Smart(Smart),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Smart {
    context: Context,
    resource: Resource,
    permissions: Permissions,
    constraint: Option<Box<str>>,
}

impl Smart {
    /// Reads what follows `context/`.
    fn parse(context: Context, rest: &str) -> Result<Self, SmartFault> {
        let (scope, constraint) = match rest.split_once('?') {
            Some((scope, constraint)) => (scope, Some(constraint)),
            None => (rest, None),
        };
        let (resource, permissions) = scope.split_once('.').ok_or(SmartFault::NoPermissions)?;
        let resource = Resource::parse(resource).ok_or(SmartFault::Resource)?;
        if let Some(constraint) = constraint {
            // SMART v2 alone has constraints; what `.read?..` would mean is nowhere said.
            if matches!(permissions, "read" | "write" | "*") {
                return Err(SmartFault::ConstraintOnV1);
            }
            let is_pair = |pair: &str| {
                pair.split_once('=')
                    .is_some_and(|(name, value)| !name.is_empty() && !value.is_empty())
            };
            if !constraint.split('&').all(is_pair) {
                return Err(SmartFault::Constraint);
            }
        }
        let permissions = Permissions::parse(permissions)?;
        Ok(Self {
            context,
            resource,
            permissions,
            constraint: constraint.map(Into::into),
        })
    }
}

/// What starts like a SMART scope and is none. It satisfies no need, and is remembered for rule 6.
#[derive(Clone)]
struct NearSmart {
    context: Context,
    resource: Resource,
}

impl NearSmart {
    fn new(context: Context, rest: &str) -> Self {
        let resource = rest.split(['.', '?', '/']).next().unwrap_or_default();
        Self {
            context,
            resource: if resource == "*" {
                Resource::Any
            } else {
                Resource::Type(resource.into())
            },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Context {
    Patient,
    User,
    System,
}

impl Context {
    pub(crate) const ALL: [Self; 3] = [Self::Patient, Self::User, Self::System];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Patient => "patient",
            Self::User => "user",
            Self::System => "system",
        }
    }

    fn split(scope: &str) -> Option<(Self, &str)> {
        let (context, rest) = scope.split_once('/')?;
        Some((Self::ALL.into_iter().find(|each| each.name() == context)?, rest))
    }

    fn split_any_case(scope: &str) -> Option<(Self, &str)> {
        let (context, rest) = scope.split_once('/')?;
        Some((
            Self::ALL
                .into_iter()
                .find(|each| each.name().eq_ignore_ascii_case(context))?,
            rest,
        ))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Resource {
    Any,
    Type(Box<str>),
}

impl Resource {
    /// A FHIR resource type or `*`. The types are not checked against a list: a newer FHIR release may have more.
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        let starts_well = text.bytes().next().is_some_and(|first| first.is_ascii_uppercase());
        (starts_well && text.bytes().all(|byte| byte.is_ascii_alphabetic())).then(|| Self::Type(text.into()))
    }

    fn covers(&self, need: &Self) -> bool {
        *self == Self::Any || self == need
    }

    fn overlaps(&self, need: &Self) -> bool {
        *need == Self::Any || self.covers(need)
    }
}

/// A subset of create, read, update, delete, search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Permissions(u8);

impl Permissions {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const CREATE: Self = Self(1);
    pub(crate) const READ: Self = Self(2);
    pub(crate) const UPDATE: Self = Self(4);
    pub(crate) const DELETE: Self = Self(8);
    pub(crate) const SEARCH: Self = Self(16);
    pub(crate) const READ_SEARCH: Self = Self(2 | 16);
    pub(crate) const ALL: Self = Self(31);
    /// In the order that SMART v2 demands.
    const LETTERS: [(char, u8); 5] = [('c', 1), ('r', 2), ('u', 4), ('d', 8), ('s', 16)];

    fn parse(text: &str) -> Result<Self, SmartFault> {
        match text {
            "" => return Err(SmartFault::NoPermissions),
            "read" => return Ok(Self(2 | 16)),
            "write" => return Ok(Self(1 | 4 | 8)),
            "*" => return Ok(Self(31)),
            _ => {}
        }
        let mut sum = 0_u8;
        let mut in_order = true;
        for letter in text.chars() {
            let (_, bit) = Self::LETTERS
                .into_iter()
                .find(|(name, _)| *name == letter)
                .ok_or(SmartFault::Permissions)?;
            in_order &= bit > sum;
            sum |= bit;
        }
        if in_order {
            Ok(Self(sum))
        } else {
            Err(SmartFault::Order(Self(sum)))
        }
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn contains(self, need: Self) -> bool {
        self.0 & need.0 == need.0
    }

    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) fn letters(self) -> String {
        Self::LETTERS
            .into_iter()
            .filter(|(_, bit)| self.0 & bit != 0)
            .map(|(letter, _)| letter)
            .collect()
    }
}

enum SmartFault {
    Resource,
    NoPermissions,
    Permissions,
    Order(Permissions),
    Constraint,
    ConstraintOnV1,
}

impl SmartFault {
    fn explain(&self, text: &str, context: Context, rest: &str) -> String {
        let context = context.name();
        let resource = rest.split(['.', '?']).next().unwrap_or_default();
        let mend = match self {
            Self::Resource => format!(
                "`{resource}` is no FHIR resource type; write one with its capital letters, as in `{context}/Patient.rs`, or `*`"
            ),
            Self::NoPermissions => format!("it permits nothing; say what, as in `{context}/{resource}.rs`"),
            Self::Permissions => {
                "its permissions must be some of the letters `cruds` in that order, or `read`, `write` or `*`"
                    .to_owned()
            }
            Self::Order(permissions) => format!(
                "its letters must stand once each in the order `cruds`; write `{context}/{resource}.{}`",
                permissions.letters()
            ),
            Self::Constraint => "what follows `?` must be `parameter=value`, several joined by `&`".to_owned(),
            Self::ConstraintOnV1 => {
                "`read`, `write` and `*` take no constraint; use letters, as in `.rs?category=laboratory`".to_owned()
            }
        };
        format!("`{text}` is not a SMART scope: {mend}")
    }
}

/// `scope-token = 1*NQCHAR` (RFC 6749 section 3.3 and appendix A.4).
fn is_scope_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn need(text: &str) -> Requirement {
        Requirement::Scope(Need::parse(text).unwrap())
    }

    fn met(required: &Requirement, held: &str) -> bool {
        required.is_met_by(&ScopeSet::from_text(held).unwrap())
    }

    fn covers(held: &str, required: &str) -> bool {
        met(&need(required), held)
    }

    #[test]
    fn plain_scopes_compare_exactly() {
        assert!(covers("openid fhirUser launch/patient", "fhirUser"));
        assert!(covers("openid launch/patient", "launch/patient"));
        assert!(!covers("openid", "OpenID"));
        assert!(!covers("openid2 open id", "openid"));
        assert!(!covers("", "openid"));
    }

    #[test]
    fn v1_and_v2_spellings_mean_the_same() {
        assert!(covers("user/Patient.read", "user/Patient.rs"));
        assert!(covers("user/Patient.rs", "user/Patient.read"));
        assert!(covers("user/Patient.cud", "user/Patient.write"));
        assert!(covers("user/Patient.write", "user/Patient.cud"));
        assert!(covers("user/Patient.*", "user/Patient.cruds"));
        assert!(covers("user/*.*", "user/Patient.read"));
        assert!(!covers("user/Patient.read", "user/Patient.write"));
        assert!(!covers("user/Patient.write", "user/Patient.read"));
        assert!(!covers("user/Patient.read", "user/Patient.*"));
        assert!(!covers("user/Patient.r", "user/Patient.read"));
    }

    #[test]
    fn grants_add_up() {
        assert!(covers("user/Patient.r user/Patient.s", "user/Patient.rs"));
        assert!(covers("user/Patient.r user/*.s", "user/Patient.rs"));
        assert!(covers("user/Patient.read user/Patient.write", "user/Patient.*"));
        assert!(!covers("user/Patient.r user/Observation.s", "user/Patient.rs"));
        assert!(!covers("user/Patient.r patient/Patient.s", "user/Patient.rs"));
    }

    #[test]
    fn the_star_resource_covers_all_and_needs_a_star() {
        assert!(covers("system/*.rs", "system/Observation.rs"));
        assert!(covers("system/*.rs", "system/*.rs"));
        assert!(!covers("system/Patient.rs system/Observation.rs", "system/*.rs"));
    }

    #[test]
    fn contexts_are_not_interchangeable() {
        for (held, required) in [
            ("patient", "user"),
            ("user", "system"),
            ("system", "patient"),
            ("system", "user"),
        ] {
            assert!(
                !covers(&format!("{held}/*.cruds"), &format!("{required}/Patient.r")),
                "{held} {required}"
            );
        }
    }

    #[test]
    fn letters_out_of_order_grant_nothing() {
        for held in [
            "user/Patient.sr",
            "user/Patient.rr",
            "user/Patient.dc",
            "user/Patient.",
            "user/Patient",
            "user/Patient.R",
            "user/patient.rs",
            "user/Patient.rs.rs",
            "user/Patient.reads",
            "User/Patient.rs",
            "user//Patient.rs",
            "user/Patient/.rs",
        ] {
            assert!(!covers(held, "user/Patient.r"), "{held}");
            assert!(!covers(held, "user/Patient.s"), "{held}");
        }
    }

    #[test]
    fn every_subset_in_order_is_a_scope_and_no_other_order() {
        let letters = ['c', 'r', 'u', 'd', 's'];
        for mask in 1..32_usize {
            let subset: String = letters
                .iter()
                .enumerate()
                .filter(|(bit, _)| mask >> bit & 1 == 1)
                .map(|(_, letter)| *letter)
                .collect();
            assert!(covers(
                &format!("user/Patient.{subset}"),
                &format!("user/Patient.{subset}")
            ));
            let backwards: String = subset.chars().rev().collect();
            assert_eq!(
                Need::parse(&format!("user/Patient.{backwards}")).is_ok(),
                subset.len() == 1,
                "{backwards}"
            );
        }
    }

    #[test]
    fn a_constrained_grant_never_covers_an_unconstrained_need() {
        assert!(!covers(
            "user/Observation.rs?category=laboratory",
            "user/Observation.rs"
        ));
        assert!(!covers(
            "user/Observation.r user/Observation.s?category=laboratory",
            "user/Observation.rs"
        ));
        assert!(covers(
            "user/Observation.rs?category=laboratory",
            "user/Observation.rs?category=laboratory"
        ));
        assert!(covers("user/Observation.rs", "user/Observation.rs?category=laboratory"));
        assert!(covers(
            "user/Observation.r user/Observation.s?category=laboratory",
            "user/Observation.rs?category=laboratory"
        ));
        assert!(!covers(
            "user/Observation.rs?category=vital-signs",
            "user/Observation.rs?category=laboratory"
        ));
        assert!(!covers(
            "user/Observation.read?category=laboratory",
            "user/Observation.rs?category=laboratory"
        ));
        assert!(!covers("user/Observation.rs?", "user/Observation.rs"));
    }

    #[test]
    fn trees() {
        let (a, b) = (need("a"), need("b"));
        let any = Requirement::AnyOf(vec![a.clone(), b.clone()]);
        let all = Requirement::AllOf(vec![a.clone(), b.clone()]);
        let none = Requirement::NoneOf(vec![a.clone(), b.clone()]);
        for (held, of_any, of_all, of_none) in [
            ("a b", true, true, false),
            ("a", true, false, false),
            ("b", true, false, false),
            ("c", false, false, true),
            ("", false, false, true),
        ] {
            assert_eq!(
                (met(&any, held), met(&all, held), met(&none, held)),
                (of_any, of_all, of_none),
                "{held}"
            );
        }
        let nested = Requirement::AllOf(vec![
            Requirement::AnyOf(vec![a, need("c")]),
            Requirement::NoneOf(vec![b]),
        ]);
        assert!(met(&nested, "c d"));
        assert!(!met(&nested, "c b"));
        assert!(!met(&nested, "d"));
    }

    #[test]
    fn empty_lists_are_never_met() {
        for empty in [
            Requirement::AnyOf(vec![]),
            Requirement::AllOf(vec![]),
            Requirement::NoneOf(vec![]),
        ] {
            assert!(!met(&empty, "a"));
            assert!(!met(&empty, ""));
        }
        assert!(!met(&Requirement::NoneOf(vec![Requirement::AllOf(vec![])]), "a"));
    }

    #[test]
    fn empty_all_of_and_none_of_are_policy_errors() {
        assert!(
            Requirement::AllOf(vec![])
                .check()
                .unwrap_err()
                .contains("`all_of` is empty")
        );
        assert!(
            Requirement::AnyOf(vec![Requirement::NoneOf(vec![])])
                .check()
                .unwrap_err()
                .contains("`none_of` is empty")
        );
        assert_eq!(Requirement::AnyOf(vec![]).check(), Ok(()));
        assert_eq!(Requirement::AllOf(vec![need("a")]).check(), Ok(()));
    }

    #[test]
    fn a_forbidden_scope_is_held_when_any_part_of_it_is() {
        let forbid = |text| Requirement::NoneOf(vec![need(text)]);
        for held in [
            "system/*.cruds",
            "system/Patient.r",
            "system/Patient.rs?name=x",
            "system/Patient.read",
            "system/Patient.sr",
            "system/Patient",
            "system/x",
        ] {
            assert!(!met(&forbid("system/*.cruds"), held), "{held}");
        }
        assert!(!met(&forbid("user/Patient.cud"), "user/*.cruds"));
        assert!(!met(&forbid("user/Patient.cud"), "user/Patient.dc"));
        assert!(met(&forbid("user/Patient.cud"), "user/Patient.rs"));
        assert!(met(&forbid("user/Patient.cud"), "user/Observation.cud user/profile"));
        assert!(met(&forbid("system/*.cruds"), "user/*.cruds patient/Patient.rs"));
    }

    #[test]
    fn doubt_denies_at_every_depth() {
        // Twice forbidden is required again, so a part is not enough again.
        let twice = Requirement::NoneOf(vec![Requirement::NoneOf(vec![need("user/Patient.rs")])]);
        assert!(!met(&twice, "user/Patient.r"));
        assert!(met(&twice, "user/Patient.rs"));
        let all = Requirement::NoneOf(vec![Requirement::AllOf(vec![need("user/Patient.rs"), need("a")])]);
        assert!(!met(&all, "user/Patient.r a"));
        assert!(met(&all, "user/Patient.r"));
    }

    #[test]
    fn scopes_for_the_challenge() {
        let tree = Requirement::AllOf(vec![
            Requirement::AnyOf(vec![need("user/Patient.rs"), need("patient/Patient.rs")]),
            need("openid"),
            need("user/Patient.rs"),
            Requirement::NoneOf(vec![need("system/*.cruds")]),
        ]);
        assert_eq!(tree.scopes(), "user/Patient.rs patient/Patient.rs openid");
        assert_eq!(Requirement::NoneOf(vec![need("a")]).scopes(), "");
    }

    #[test]
    fn a_malformed_need_is_mended() {
        for (text, mend) in [
            ("user/Patient.sr", "write `user/Patient.rs`"),
            ("user/Patient.rr", "write `user/Patient.r`"),
            ("user/Patient", "as in `user/Patient.rs`"),
            ("user/Patient.", "as in `user/Patient.rs`"),
            ("user/patient.rs", "`patient` is no FHIR resource type"),
            ("user/.rs", "is no FHIR resource type"),
            ("user/Patient.reed", "letters `cruds`"),
            ("User/Patient.rs", "write `user/Patient.rs`"),
            ("user/Patient.rs?", "`parameter=value`"),
            ("user/Patient.rs?a=b&", "`parameter=value`"),
            ("user/Patient.read?a=b", "take no constraint"),
            ("openid profile", "one by one"),
            ("", "is not a scope"),
            ("a\"b", "is not a scope"),
            ("a\nb", "is not a scope"),
        ] {
            let error = Need::parse(text).unwrap_err();
            assert!(error.contains(mend), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_no_scope_token_is_refused() {
        for text in ["a\tb", "a\"b", "a\\b", "\u{e9}", "a\u{7f}", "a\nb"] {
            assert_eq!(
                ScopeSet::from_text(text).err(),
                Some(ScopeError::InvalidCharacter),
                "{text:?}"
            );
        }
        assert_eq!(ScopeSet::default().add("a b").err(), Some(ScopeError::InvalidCharacter));
        assert_eq!(ScopeSet::default().add("").err(), Some(ScopeError::InvalidCharacter));
        assert_eq!(ScopeSet::from_text(" a  b ").map(|set| set.len()), Ok(2));
    }

    #[test]
    fn scopes_are_bounded_in_count_and_size() {
        assert!(ScopeSet::from_text(&"a ".repeat(MAX_SCOPES)).is_ok());
        assert_eq!(
            ScopeSet::from_text(&"a ".repeat(MAX_SCOPES + 1)).err(),
            Some(ScopeError::TooMany)
        );
        assert_eq!(
            ScopeSet::from_text(&"a".repeat(MAX_SCOPE_BYTES + 1)).err(),
            Some(ScopeError::TooMany)
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic_and_grants_no_more_than_it_says(held in "[ -~]{0,80}", required in "\\PC{0,40}") {
            if let (Ok(set), Ok(need)) = (ScopeSet::from_text(&held), Need::parse(&required)) {
                let required = Requirement::Scope(need);
                prop_assert!(!required.is_met_by(&ScopeSet::default()));
                if required.is_met_by(&set) {
                    // What is covered is touched too: a scope cannot be both granted and not forbidden.
                    prop_assert!(!Requirement::NoneOf(vec![required]).is_met_by(&set));
                }
            }
        }

        /// The judge against a slow and plain model: every letter must be granted by some unconstrained grant.
        #[test]
        fn smart_needs_agree_with_a_model(
            grants in prop::collection::vec((0..3_usize, 0..3_usize, 1..32_u8, any::<bool>()), 0..6),
            need in (0..3_usize, 0..3_usize, 1..32_u8),
        ) {
            const CONTEXTS: [&str; 3] = ["patient", "user", "system"];
            const RESOURCES: [&str; 3] = ["*", "Patient", "Observation"];
            let spell = |context: usize, resource: usize, letters: u8| {
                format!("{}/{}.{}", CONTEXTS[context], RESOURCES[resource], Permissions(letters).letters())
            };
            let held: Vec<_> = grants
                .iter()
                .map(|(context, resource, letters, constrained)| spell(*context, *resource, *letters) + if *constrained { "?a=b" } else { "" })
                .collect();
            let model = (0..5).filter(|bit| need.2 >> bit & 1 == 1).all(|bit| {
                grants.iter().any(|grant| {
                    grant.0 == need.0 && (grant.1 == 0 || grant.1 == need.1) && grant.2 >> bit & 1 == 1 && !grant.3
                })
            });
            prop_assert_eq!(covers(&held.join(" "), &spell(need.0, need.1, need.2)), model);
        }
    }
}
