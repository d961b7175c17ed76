//! Compiles `oauth_scope` sections, and the requirements in them and in views.

use std::borrow::Cow;

use super::{
    Asked, At, ClaimPaths, Fact, Mode, Need, OauthScope, Policy, PolicyFile, Requirement, Reserved, Section, Span,
    policy_file, suggestion,
};
use crate::break_glass::{BreakGlass, PURPOSES};
use crate::cors::Cors;
use crate::fhir::{Base, Contexts};
use crate::oauth_scope::Smart;
use crate::policy_file::{ClaimPath, ScopeContext, SenderBinding, Unproven};
use crate::sender::{Dpop, Sender};

/// Headers that carry something of the protocol's own; none of them can tell the upstream who calls.
const TAKEN: [&str; 22] = [
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "if-match",
    "if-none-match",
    "keep-alive",
    "origin",
    "prefer",
    "referer",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-client-cert",
];

/// Roles are asked for where any requirement or broken glass names one; so are purposes. The patient is, where SMART's scopes are judged.
pub(super) fn asked(file: &PolicyFile) -> Asked {
    let mut asked = Asked::default();
    for (_, policy) in &file.policies.entries {
        let views = policy.response_trim.iter().flat_map(|trim| &trim.views.value);
        let needs = views
            .filter_map(|view| view.value.when.as_ref())
            .chain(policy.oauth_scope.as_ref().map(|section| &section.require));
        for need in needs {
            note(need, &mut asked);
        }
        if policy
            .oauth_scope
            .as_ref()
            .is_some_and(|section| section.break_glass.is_some())
        {
            asked.roles = true;
            asked.purposes = true;
        }
    }
    asked
}

fn note(need: &policy_file::Need, asked: &mut Asked) {
    use policy_file::Need as N;
    match need {
        N::Scope(_) | N::BreakGlass(_) | N::Claim(_) => {}
        N::Smart(_) => asked.patient = true,
        N::Role(_) | N::Permission(_) => asked.roles = true,
        N::Purpose(_) => asked.purposes = true,
        N::AnyOf(list) | N::AllOf(list) | N::NoneOf(list) => list.value.iter().for_each(|each| note(each, asked)),
    }
}

/// Where a path stands in a list, to which it is added where it does not.
fn place(list: &mut Vec<Vec<String>>, path: &[String]) -> usize {
    list.iter().position(|have| have == path).unwrap_or_else(|| {
        list.push(path.to_vec());
        list.len().saturating_sub(1)
    })
}

pub(super) fn claims(claims: Option<&policy_file::Claims>) -> ClaimPaths {
    let mut paths = ClaimPaths::default();
    let Some(claims) = claims else {
        return paths;
    };
    paths.scopes = claims.scopes.as_ref().map(|path| path.0.clone());
    for (path, given) in [
        (&mut paths.roles, &claims.roles),
        (&mut paths.purposes, &claims.purpose),
        (&mut paths.patient, &claims.patient),
    ] {
        if let Some(given) = given {
            *path = given.0.clone();
        }
    }
    paths
}

pub(super) fn reserved(policies: &[Policy]) -> Reserved {
    let sections = policies.iter().filter_map(|policy| policy.oauth_scope.as_ref());
    Reserved::new(sections.flat_map(|section| {
        let identity = section.identity.iter().map(|(name, _)| name.to_string());
        identity.chain(section.break_glass.as_ref().map(|glass| glass.header.clone()))
    }))
}

impl Section<'_> {
    pub(super) fn oauth(&mut self, section: &policy_file::OauthScope) -> Option<OauthScope> {
        let issuers = self.issuers(section);
        let require = self.need(&section.require);
        let uses_smart = require
            .as_ref()
            .is_none_or(|require| require.any(&|fact| *fact == Fact::Smart));
        let smart = self.smart(section.smart.as_ref(), uses_smart);
        if let Some(require) = &require
            && require.any(&|fact| matches!(fact, Fact::BreakGlass(_)))
        {
            self.problems.error(
                span_of(&section.require),
                "`break_glass` stands in the `when` of views only; `require` is what the glass is broken for",
            );
        }
        let break_glass = section.break_glass.as_ref().map(|glass| self.break_glass(glass));
        let mut identity = Vec::new();
        for (name, path) in &section.identity.entries {
            if self.is_header_name(name) {
                identity.push((Cow::Owned(name.value.to_ascii_lowercase()), self.claim(path)));
            }
        }
        if let Some(metadata) = &section.resource_metadata
            && (!metadata.value.starts_with("https://")
                || metadata
                    .value
                    .bytes()
                    .any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'"' | b'\\' | b'#')))
        {
            self.problems.error(
                metadata.span,
                "the metadata's URL is an https URL without fragment (RFC 9728 section 1.2), write it as clients shall fetch it",
            );
        }
        let sender = section
            .sender
            .as_ref()
            .map(|sender| self.sender(sender))
            .unwrap_or_default();
        let cors = section.cors.as_ref().map(|cors| self.cors(cors));
        let mode = match &section.mode {
            None => Mode::Enforce,
            Some(mode) => match mode.value {
                policy_file::Mode::Enforce => Mode::Enforce,
                policy_file::Mode::Shadow => {
                    self.problems.warn(
                        mode.span,
                        "`shadow` lets every request pass that `enforce` would deny; see the metric `scrim_shadow_denied_*`, then enforce",
                    );
                    Mode::Shadow
                }
                policy_file::Mode::Off => {
                    self.problems.warn(
                        mode.span,
                        "`off` lets every request pass unseen; remove the section, or enforce it",
                    );
                    Mode::Off
                }
            },
        };
        Some(OauthScope {
            issuers,
            require: require?,
            mode,
            smart: smart?,
            break_glass: super::transpose(break_glass)?,
            identity,
            sender,
            resource_metadata: section.resource_metadata.as_ref().map(|url| url.value.clone()),
            cors,
        })
    }

    fn issuers(&mut self, section: &policy_file::OauthScope) -> Vec<usize> {
        if section.issuers.value.is_empty() && self.whole {
            self.problems.error(
                section.issuers.span,
                "without an issuer no token can be valid; name at least one",
            );
        }
        let mut issuers = Vec::new();
        for alias in &section.issuers.value {
            match self.file.issuers.position(&alias.value) {
                Some(index) => issuers.push(index),
                // Its own error was told at its own place.
                None if self.file.issuers.unread.contains(&alias.value) => {}
                None => {
                    let mend = suggestion(&alias.value, self.file.issuers.names());
                    self.problems
                        .error(alias.span, format!("no issuer is named `{}`{mend}", alias.value));
                }
            }
        }
        issuers
    }

    /// Compiles a tree of needs, as it stands in `require` and in `when`.
    pub(super) fn need(&mut self, need: &policy_file::Need) -> Option<Requirement> {
        self.need_under(need, false)
    }

    fn need_under(&mut self, need: &policy_file::Need, forbidden: bool) -> Option<Requirement> {
        use policy_file::Need as N;
        let mut list = |needs: &[policy_file::Need], forbidden| {
            let compiled: Vec<_> = needs.iter().map(|need| self.need_under(need, forbidden)).collect();
            compiled.into_iter().collect::<Option<Vec<_>>>()
        };
        match need {
            N::Scope(scope) => match Need::parse(&scope.value) {
                Ok(need) => Some(Requirement::Scope(need)),
                Err(why) => {
                    self.problems.error(scope.span, why);
                    None
                }
            },
            N::Smart(span) => {
                if forbidden {
                    self.problems.error(
                        *span,
                        "`smart` under `none_of` would forbid what every other route demands; name the scopes to forbid",
                    );
                }
                Some(Requirement::Fact(Fact::Smart))
            }
            N::Role(name) => self.role(name).map(|values| Requirement::Fact(Fact::Role(values))),
            N::Permission(name) => self
                .permission(name)
                .map(|values| Requirement::Fact(Fact::Role(values))),
            N::Purpose(code) => {
                if code.value.is_empty() || code.value.contains(char::is_whitespace) {
                    self.problems.error(
                        code.span,
                        format!(
                            "`{}` is no purpose of use; write a code such as `TREAT`, or `system|code`",
                            code.value
                        ),
                    );
                }
                Some(Requirement::Fact(Fact::Purpose(code.value.as_str().into())))
            }
            N::BreakGlass(broken) => Some(Requirement::Fact(Fact::BreakGlass(broken.value))),
            N::Claim(claim) => {
                let path = &claim.value.name.0;
                if claim.value.is.value.is_empty() {
                    self.problems
                        .error(claim.value.is.span, "`is` of nothing, name at least one value");
                }
                Some(Requirement::Fact(Fact::Claim {
                    index: place(&mut self.asked.compared, path),
                    name: path.join(".").into(),
                    values: claim
                        .value
                        .is
                        .value
                        .iter()
                        .map(|value| value.0.as_str().into())
                        .collect(),
                }))
            }
            N::AnyOf(needs) => list(&needs.value, forbidden).map(Requirement::AnyOf),
            N::AllOf(needs) => list(&needs.value, forbidden).map(Requirement::AllOf),
            N::NoneOf(needs) => list(&needs.value, true).map(Requirement::NoneOf),
        }
    }

    /// How tokens write a role.
    fn role(&mut self, name: &At<String>) -> Option<Vec<Box<str>>> {
        let Some(role) = self.file.roles.get(&name.value) else {
            if !self.file.roles.unread.contains(&name.value) {
                let mend = suggestion(&name.value, self.file.roles.names());
                self.problems.error(
                    name.span,
                    format!("no role is named `{}`{mend}; roles stand under `roles`", name.value),
                );
            }
            return None;
        };
        match &role.values {
            None => Some(vec![name.value.as_str().into()]),
            Some(values) => {
                if values.value.is_empty() {
                    self.problems.error(
                        values.span,
                        "a role without values is nobody's; name how tokens write it",
                    );
                }
                Some(values.value.iter().map(|value| value.value.as_str().into()).collect())
            }
        }
    }

    /// How tokens write the roles that permit it.
    fn permission(&mut self, name: &At<String>) -> Option<Vec<Box<str>>> {
        let permits = |role: &policy_file::Role| role.permissions.iter().flatten().any(|each| each.value == name.value);
        let roles: Vec<At<String>> = self
            .file
            .roles
            .entries
            .iter()
            .filter(|(_, role)| permits(role))
            .map(|(role, _)| role.clone())
            .collect();
        if roles.is_empty() && self.whole {
            let known: Vec<&str> = self
                .file
                .roles
                .entries
                .iter()
                .flat_map(|(_, role)| role.permissions.iter().flatten())
                .map(|permission| permission.value.as_str())
                .collect();
            let mend = suggestion(&name.value, known.iter().copied());
            self.problems.error(
                name.span,
                format!("no role permits `{}`{mend}; roles stand under `roles`", name.value),
            );
        }
        let values: Vec<_> = roles.iter().map(|role| self.role(role)).collect();
        values
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .map(|lists| lists.concat())
    }

    fn smart(&mut self, section: Option<&At<policy_file::Smart>>, uses_smart: bool) -> Option<Smart> {
        let mut smart = Smart {
            base: None,
            contexts: Contexts::ALL,
            upstream_vouches: false,
        };
        let Some(At { value: section, span }) = section else {
            return Some(smart);
        };
        if !uses_smart && self.whole {
            self.problems.error(
                *span,
                "`smart` has no effect without `{smart: auto}` in `require`; add it there or remove it",
            );
        }
        if let Some(contexts) = &section.contexts {
            if contexts.value.is_empty() {
                self.problems.error(
                    contexts.span,
                    "without a context no scope counts; name at least one or leave it out",
                );
            }
            smart.contexts = contexts.value.iter().fold(Contexts::NONE, |sum, context| {
                sum.with(match context {
                    ScopeContext::Patient => Contexts::PATIENT,
                    ScopeContext::User => Contexts::USER,
                    ScopeContext::System => Contexts::SYSTEM,
                })
            });
        }
        if let Some(unproven) = &section.unproven
            && unproven.value == Unproven::Upstream
        {
            self.problems.warn(
                unproven.span,
                "`unproven: upstream` lets a patient's app read, change and delete by id, and include, what may be another patient's; only an upstream that judges that itself makes it safe",
            );
            smart.upstream_vouches = true;
        }
        if let Some(base) = &section.base {
            match Base::parse(&base.value) {
                Ok(base) => smart.base = Some(base),
                Err(why) => {
                    self.problems.error(base.span, why);
                    return None;
                }
            }
        }
        Some(smart)
    }

    fn break_glass(&mut self, at: &At<policy_file::BreakGlass>) -> Option<BreakGlass> {
        let glass = &at.value;
        self.is_header_name(&glass.header);
        for (list, what) in [(&glass.reasons, "reason"), (&glass.roles, "role")] {
            if list.value.is_empty() && self.whole {
                self.problems.error(
                    list.span,
                    format!("without a {what} nobody can break the glass; name at least one"),
                );
            }
        }
        for reason in &glass.reasons.value {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            if reason.value.is_empty() || !reason.value.bytes().all(plain) {
                self.problems.error(
                    reason.span,
                    format!("`{}` is no code; use letters, digits, `-`, `_` and `.`", reason.value),
                );
            }
        }
        let per_hour = glass.per_hour.unwrap_or(10);
        if !(1..=1000).contains(&per_hour) {
            self.problems.error(
                at.span,
                "`per_hour` goes from 1 to 1000; remove the section to let nobody",
            );
        }
        let roles: Vec<_> = glass.roles.value.iter().map(|role| self.role(role)).collect();
        Some(BreakGlass {
            header: glass.header.value.to_ascii_lowercase(),
            reasons: glass.reasons.value.iter().map(|reason| reason.value.clone()).collect(),
            roles: roles.into_iter().collect::<Option<Vec<_>>>()?.concat(),
            purposes: match &glass.purposes {
                None => PURPOSES.map(Box::from).into(),
                Some(purposes) => purposes
                    .value
                    .iter()
                    .map(|purpose| purpose.value.as_str().into())
                    .collect(),
            },
            max_age: glass.max_age.map_or(300, |age| age.0),
            per_hour,
        })
    }

    fn sender(&mut self, at: &At<policy_file::Sender>) -> Sender {
        let hops = at.value.trusted_hops.iter().flat_map(|hops| &hops.value);
        for hop in hops.clone() {
            if !hop.value.contains(':') || hop.value.contains(char::is_whitespace) {
                self.problems.error(
                    hop.span,
                    format!(
                        "`{}` is no URI; write the URI name of the hop's certificate, such as `spiffe://mesh/edge`",
                        hop.value
                    ),
                );
            }
        }
        if let Some(hops) = at.value.trusted_hops.as_ref().filter(|hops| !hops.value.is_empty()) {
            self.problems.warn(
                hops.span,
                "a trusted hop says who the client is: the listener must verify client certificates against authorities that only such hops have",
            );
        }
        if let Some(origin) = &at.value.origin {
            let host = origin
                .value
                .strip_prefix("https://")
                .or_else(|| origin.value.strip_prefix("http://"));
            if !host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@', ' '])) {
                self.problems.error(
                    origin.span,
                    format!(
                        "`{}` is no origin; write scheme and host, such as `https://fhir.example.org`",
                        origin.value
                    ),
                );
            }
            if at.value.dpop.is_none() {
                self.problems.error(
                    origin.span,
                    "`origin` has no effect without `dpop`; add it or remove this",
                );
            }
        }
        if at.value.dpop.is_some() && at.value.origin.is_none() {
            self.problems.warn(
                at.span,
                "without `origin` a proof need only name the host that the client itself wrote into its request; add `origin`, such as `https://fhir.example.org`",
            );
        }
        if at.value.dpop.is_some() && at.value.certificate == Some(SenderBinding::Required) {
            self.problems.error(
                at.span,
                "a token is bound to a certificate or to a key, not to both: one that comes with a proof needs no certificate; remove `dpop`, or don't require certificates",
            );
        }
        Sender {
            dpop: at.value.dpop.map(|binding| Dpop {
                required: binding == SenderBinding::Required,
                origin: at.value.origin.as_ref().map(|origin| origin.value.clone()),
            }),
            certificate_required: at.value.certificate == Some(SenderBinding::Required),
            trusted_hops: hops.map(|hop| hop.value.clone()).collect(),
        }
    }

    fn cors(&mut self, at: &At<policy_file::Cors>) -> Cors {
        let cors = &at.value;
        if cors.origins.value.is_empty() && self.whole {
            self.problems.error(
                cors.origins.span,
                "without an origin nobody may call; name at least one or remove `cors`",
            );
        }
        for origin in &cors.origins.value {
            let rest = origin
                .value
                .strip_prefix("https://")
                .or_else(|| origin.value.strip_prefix("http://"));
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:[]".contains(&byte);
            if !rest.is_some_and(|host| !host.is_empty() && host.bytes().all(plain)) {
                self.problems.error(
                    origin.span,
                    format!(
                        "`{}` is no origin; write scheme, host and port as browsers do, such as `https://app.example.org`",
                        origin.value
                    ),
                );
            }
        }
        let list = |given: &Option<At<Vec<At<String>>>>, default: &[&str]| match given {
            None => default.iter().map(|each| (*each).to_owned()).collect(),
            Some(given) => given.value.iter().map(|each| each.value.clone()).collect(),
        };
        let (methods, headers): (Vec<String>, Vec<String>) = (
            list(&cors.methods, &["GET", "HEAD", "POST"]),
            list(&cors.headers, &["accept", "authorization", "content-type"]),
        );
        for text in methods.iter().chain(&headers) {
            if text.is_empty()
                || !text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            {
                self.problems.error(
                    at.span,
                    format!("`{text}` is no name of a method or header; there is no `*` here"),
                );
            }
        }
        Cors {
            origins: cors.origins.value.iter().map(|origin| origin.value.clone()).collect(),
            methods,
            headers: headers.iter().map(|name| name.to_ascii_lowercase()).collect(),
            max_age: cors.max_age.map_or(600, |age| age.0),
        }
    }

    fn claim(&mut self, path: &ClaimPath) -> usize {
        place(&mut self.asked.identity, &path.0)
    }

    fn is_header_name(&mut self, name: &At<String>) -> bool {
        let lower = name.value.to_ascii_lowercase();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let mend = if lower.is_empty() || !lower.bytes().all(plain) {
            "is no header name here; use letters, digits, `-` and `_`"
        } else if TAKEN.contains(&lower.as_str()) || lower.starts_with("x-envoy-") {
            "means something of its own; choose a name such as `x-auth-subject`"
        } else {
            return true;
        };
        self.problems.error(name.span, format!("`{}` {mend}", name.value));
        false
    }
}

fn span_of(need: &policy_file::Need) -> Span {
    use policy_file::Need as N;
    match need {
        N::Scope(at) | N::Role(at) | N::Permission(at) | N::Purpose(at) => at.span,
        N::Smart(span) => *span,
        N::BreakGlass(at) => at.span,
        N::Claim(at) => at.span,
        N::AnyOf(at) | N::AllOf(at) | N::NoneOf(at) => at.span,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Compiled, Node, Problems};
    use crate::chain::ALL;
    use crate::token::fixtures::ED_X;
    use serde_json::{Value as Json, json};

    /// What is told of an `oauth_scope` section with this laid over it.
    fn told(more: Json) -> Vec<String> {
        let mut section = json!({"issuers": ["e"], "require": "user/Patient.rs"});
        if let (Some(section), Json::Object(more)) = (section.as_object_mut(), more) {
            section.extend(more);
        }
        let document = json!({
            "version": "1",
            "issuers": {"e": {
                "issuer": "https://e", "audiences": ["api"], "algorithms": ["EdDSA"],
                "jwks": {"inline": {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": ED_X}]}},
            }},
            "roles": {"clinician": {"permissions": ["chart.read"]}, "nobody": {"values": []}},
            "policies": {"p": {"oauth_scope": section}},
            "routes": [{"match": {}, "policy": "p"}],
        });
        let mut problems = Problems::default();
        let compiled = Compiled::new::<ALL>(&Node::from_json(&document), &|_| None, &mut problems);
        assert_eq!(compiled.is_none(), problems.has_errors());
        problems.iter().map(|problem| problem.message.clone()).collect()
    }

    #[test]
    fn what_is_right_is_told_nothing() {
        for section in [
            json!({}),
            json!({"require": {"smart": "auto"}, "smart": {"base": "/fhir", "contexts": ["user"], "unproven": "deny"}}),
            json!({"require": {"any_of": [{"role": "clinician"}, {"permission": "chart.read"}, {"purpose": "TREAT"}]}}),
            json!({"break_glass": {"header": "x-glass", "reasons": ["cardiac"], "roles": ["clinician"], "purposes": ["BTG"], "max_age": "5m", "per_hour": 3}}),
            json!({"identity": {"x-auth-subject": "sub", "x-auth-dept": ["org", "dept"]}}),
            json!({"sender": {"certificate": "required"}, "mode": "enforce"}),
            json!({"sender": {"dpop": "if_bound", "origin": "https://fhir.example.org"}}),
            json!({"cors": {"origins": ["https://app.example.org:8443"], "methods": ["GET"], "headers": ["Authorization"], "max_age": "1h"}}),
            json!({"resource_metadata": "https://fhir.example.org/.well-known/oauth-protected-resource/fhir"}),
        ] {
            assert_eq!(told(section.clone()), Vec::<String>::new(), "{section}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_the_mend() {
        let glass = |key: &str, value: Json| {
            let mut glass = json!({"header": "x-glass", "reasons": ["cardiac"], "roles": ["clinician"]});
            glass[key] = value;
            json!({"break_glass": glass})
        };
        for (section, part) in [
            (json!({"issuers": []}), "name at least one"),
            (json!({"issuers": ["ee"]}), "did you mean `e`?"),
            (json!({"require": {"role": "clinican"}}), "did you mean `clinician`?"),
            (json!({"require": {"role": "nobody"}}), "a role without values"),
            (
                json!({"require": {"permission": "chart.reed"}}),
                "did you mean `chart.read`?",
            ),
            (
                json!({"require": {"purpose": "to treat"}}),
                "`to treat` is no purpose of use",
            ),
            (json!({"require": {"smart": "v2"}}), "`smart` takes `auto`"),
            (
                json!({"require": {"none_of": [{"smart": "auto"}]}}),
                "`smart` under `none_of`",
            ),
            (
                json!({"require": {"smart": "auto", "role": "clinician"}}),
                "exactly one of",
            ),
            (
                json!({"require": {"break_glass": true}}),
                "stands in the `when` of views only",
            ),
            (json!({"require": {"rolle": "x"}}), "did you mean `role`?"),
            (json!({"smart": {"base": "/fhir"}}), "`smart` has no effect"),
            (
                json!({"require": {"smart": "auto"}, "smart": {"base": "fhir"}}),
                "`fhir` is no base path",
            ),
            (
                json!({"require": {"smart": "auto"}, "smart": {"contexts": []}}),
                "without a context",
            ),
            (
                json!({"require": {"smart": "auto"}, "smart": {"unproven": "upstream"}}),
                "another patient's",
            ),
            (glass("header", json!("authorization")), "means something of its own"),
            (glass("header", json!("x glass")), "is no header name"),
            (glass("reasons", json!([])), "without a reason"),
            (glass("reasons", json!(["he fell"])), "`he fell` is no code"),
            (glass("roles", json!([])), "without a role"),
            (glass("roles", json!(["x"])), "no role is named `x`"),
            (glass("per_hour", json!(0)), "`per_hour` goes from 1"),
            (
                json!({"identity": {"x-envoy-user": "sub"}}),
                "means something of its own",
            ),
            (json!({"identity": {":path": "sub"}}), "is no header name"),
            (json!({"identity": {"x-user": []}}), "an empty name is no claim"),
            (json!({"identity": {"x-user": 7}}), "a claim's name or a list of names"),
            (json!({"sender": {"trusted_hops": ["edge"]}}), "`edge` is no URI"),
            (
                json!({"sender": {"trusted_hops": ["spiffe://mesh/edge"]}}),
                "must verify client certificates",
            ),
            (json!({"sender": {"origin": "https://api"}}), "`origin` has no effect"),
            (
                json!({"sender": {"dpop": "required", "origin": "api/x"}}),
                "is no origin",
            ),
            (
                json!({"sender": {"dpop": "required", "certificate": "required"}}),
                "not to both",
            ),
            (json!({"sender": {"dpop": "if_bound"}}), "the client itself wrote"),
            (
                json!({"sender": {"dpop": "if_bound", "certificate": "required", "origin": "https://api"}}),
                "not to both",
            ),
            (json!({"cors": {"origins": []}}), "without an origin"),
            (json!({"cors": {"origins": ["*"]}}), "`*` is no origin"),
            (
                json!({"cors": {"origins": ["https://app.example.org/"]}}),
                "is no origin",
            ),
            (
                json!({"cors": {"origins": ["https://a"], "headers": ["*"]}}),
                "there is no `*` here",
            ),
            (json!({"resource_metadata": "http://fhir.example.org/x"}), "https URL"),
            (
                json!({"resource_metadata": "https://fhir.example.org/\"x"}),
                "https URL",
            ),
            (json!({"mode": "shadow"}), "`shadow` lets every request pass"),
            (json!({"mode": "off"}), "`off` lets every request pass"),
            (json!({"mode": "dry"}), "unknown value `dry`"),
        ] {
            let told = told(section.clone());
            assert!(told.iter().any(|line| line.contains(part)), "{section}: {told:?}");
        }
    }
}
