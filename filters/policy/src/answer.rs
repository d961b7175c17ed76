//! What a denied caller is told: status, challenge and body, and never a value from the request.
//!
//! 1. 401 with `WWW-Authenticate: Bearer` and no error code when no token came, 401 `invalid_token`, 403 `insufficient_scope` with
//!    the scopes needed, 400 `invalid_request` for two tokens (RFC 6750 3).
//! 2. 400 for PHI in a URL, advising POST `_search`; 400 for a URL that can be read two ways.
//! 3. 403 where no policy governs, or one that does not exist.
//! 4. 502 when a response can't be inspected; an error response keeps its status, its body is replaced.
//! 5. Bodies are a FHIR `OperationOutcome` where the client takes FHIR, else `application/problem+json` (RFC 9457).
//! 6. gRPC clients get a status of theirs (<https://grpc.github.io/grpc/core/md_doc_statuscodes.html>), with the same text.
//! 7. Where the policy names the protected resource metadata, challenges do too (RFC 9728 5.1).
//! 8. Every denial is `no-store, private`, with HSTS and the other headers for browsers where the policy has them: a denial in the response phase passes no
//!    filter, so it carries its own headers.
//! 9. 403 where the connection is less than what the policy demands.
//! 10. 406 where nothing but what can't be trimmed is asked for; 409 where a PUT would replace a record that its sender reads trimmed.

use std::borrow::Cow;

use crate::cache_control::{CacheControl, NO_STORE_PRIVATE};
use crate::cors::Cors;
use crate::head::RequestHead;
use crate::sender::Dpop;
use crate::token::Algorithm;

/// Which filter decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FilterKind {
    /// The choice of the policy, before any filter.
    Route,
    /// `cache-control`
    CacheControl,
    /// `oauth-scope`
    OauthScope,
    /// `phi-url`
    PhiUrl,
    /// `response-trim`
    ResponseTrim,
}

impl FilterKind {
    /// The name in audit records: the section's key in the policy file.
    pub fn as_str(self) -> &'static str {
        match self {
            FilterKind::Route => "route",
            FilterKind::CacheControl => "cache_control",
            FilterKind::OauthScope => "oauth_scope",
            FilterKind::PhiUrl => "phi_url",
            FilterKind::ResponseTrim => "response_trim",
        }
    }
}

/// Why a request or a response is denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// `default: deny` governs.
    NoRoute,
    /// The proxy's metadata names a policy that does not exist.
    UnknownPolicy,
    /// The connection is less than what the policy demands; the code says in what.
    TlsRequired(&'static str),
    /// The URL can be read two ways; the code says how.
    AmbiguousUrl(&'static str),
    /// No bearer token.
    NoToken,
    /// More than one token.
    TwoTokens,
    /// The token is not valid; the code says why, to the audit record only.
    InvalidToken(&'static str),
    /// The issuer's keys can't be had at present; `awaited`: a fetch that may bring them is under way or due.
    KeysUnavailable {
        /// Whether to wait is of use.
        awaited: bool,
    },
    /// The proof of possession is not valid; the code says why, to the audit record only.
    InvalidProof(&'static str),
    /// The token's scopes are not enough; these would be, space-separated, from the policy file.
    InsufficientScope(String),
    /// The token is valid and its scopes may do, and yet it is not permitted; the code says why, to the audit record only.
    NotPermitted(&'static str),
    /// What the request does can't be told; the code says why.
    UnclearRequest(&'static str),
    /// The request's body would have to be read, and is too large for that.
    BodyTooLarge,
    /// A preflight from an origin, or for a method or header, that is not listed.
    Preflight,
    /// PHI in the URL.
    PhiInUrl {
        /// The parameter's name, where the FHIR table or the policy file knows it.
        parameter: Option<String>,
        /// Where it stood or what found it: `path`, `query`, or the recogniser's name.
        place: Cow<'static, str>,
        /// The FHIR resource type that is searched, where the path names one.
        resource: Option<&'static str>,
    },
    /// Nothing is asked for that could be trimmed.
    NotAcceptable,
    /// It would replace a record that this caller reads trimmed.
    WriteBack,
    /// No view's `when` holds for this caller.
    NoView,
    /// The response can't be inspected; the code says why.
    Uninspectable(&'static str),
    /// An error response that can't be inspected; it keeps its status.
    ErrorBody(u16),
}

impl Reason {
    /// Which filter says so.
    pub fn filter(&self) -> FilterKind {
        match self {
            Reason::NoRoute | Reason::UnknownPolicy | Reason::AmbiguousUrl(_) => FilterKind::Route,
            Reason::TlsRequired(_) => FilterKind::CacheControl,
            Reason::NoToken
            | Reason::TwoTokens
            | Reason::InvalidToken(_)
            | Reason::InvalidProof(_)
            | Reason::InsufficientScope(_)
            | Reason::NotPermitted(_)
            | Reason::UnclearRequest(_)
            | Reason::BodyTooLarge
            | Reason::KeysUnavailable { .. }
            | Reason::Preflight => FilterKind::OauthScope,
            Reason::PhiInUrl { .. } => FilterKind::PhiUrl,
            Reason::NotAcceptable
            | Reason::WriteBack
            | Reason::NoView
            | Reason::Uninspectable(_)
            | Reason::ErrorBody(_) => FilterKind::ResponseTrim,
        }
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        match self {
            Reason::NoRoute
            | Reason::UnknownPolicy
            | Reason::TlsRequired(_)
            | Reason::InsufficientScope(_)
            | Reason::NotPermitted(_)
            | Reason::Preflight
            | Reason::NoView => 403,
            Reason::AmbiguousUrl(_) | Reason::TwoTokens | Reason::UnclearRequest(_) | Reason::PhiInUrl { .. } => 400,
            Reason::BodyTooLarge => 413,
            Reason::NotAcceptable => 406,
            Reason::WriteBack => 409,
            Reason::NoToken | Reason::InvalidToken(_) | Reason::InvalidProof(_) => 401,
            Reason::Uninspectable(_) => 502,
            Reason::KeysUnavailable { .. } => 503,
            Reason::ErrorBody(status) => *status,
        }
    }

    /// The stable code that clients and metrics see.
    pub fn code(&self) -> &'static str {
        match self {
            Reason::NoRoute => "no_route",
            Reason::UnknownPolicy => "unknown_policy",
            Reason::TlsRequired(_) => "tls_required",
            Reason::AmbiguousUrl(_) => "ambiguous_url",
            Reason::NoToken => "no_token",
            Reason::TwoTokens => "invalid_request",
            Reason::InvalidToken(_) => "invalid_token",
            Reason::InvalidProof(_) => "invalid_dpop_proof",
            Reason::KeysUnavailable { .. } => "keys_unavailable",
            Reason::InsufficientScope(_) => "insufficient_scope",
            Reason::NotPermitted(_) => "not_permitted",
            Reason::UnclearRequest(_) => "unclear_request",
            Reason::BodyTooLarge => "body_too_large",
            Reason::Preflight => "preflight",
            Reason::PhiInUrl { .. } => "phi_in_url",
            Reason::NotAcceptable => "not_acceptable",
            Reason::WriteBack => "write_back",
            Reason::NoView => "no_view",
            Reason::Uninspectable(_) => "uninspectable_response",
            Reason::ErrorBody(_) => "error_body_replaced",
        }
    }

    /// The finer code, for audit records; never anything from the request.
    pub fn detail(&self) -> Option<Cow<'static, str>> {
        match self {
            Reason::AmbiguousUrl(code)
            | Reason::TlsRequired(code)
            | Reason::InvalidToken(code)
            | Reason::InvalidProof(code)
            | Reason::NotPermitted(code)
            | Reason::UnclearRequest(code)
            | Reason::Uninspectable(code) => Some(Cow::Borrowed(code)),
            Reason::PhiInUrl { place, .. } => Some(place.clone()),
            _ => None,
        }
    }

    /// The `WWW-Authenticate` value, where there is one (RFC 6750 3, RFC 9449 7.1, RFC 9728 5.1).
    fn challenge(&self, additions: &Additions<'_>) -> Option<String> {
        let mut parts = Vec::new();
        match self {
            Reason::NoToken => {}
            Reason::TwoTokens => parts.push("error=\"invalid_request\"".to_owned()),
            Reason::InvalidToken(_) => parts.push("error=\"invalid_token\"".to_owned()),
            Reason::InvalidProof(_) => parts.push("error=\"invalid_dpop_proof\"".to_owned()),
            // A scope-token has neither quote nor backslash (RFC 6749 3.3), which the compiler of the policy checks.
            Reason::InsufficientScope(scopes) => {
                parts.push("error=\"insufficient_scope\"".to_owned());
                if !scopes.is_empty() {
                    parts.push(format!("scope=\"{scopes}\""));
                }
            }
            _ => return None,
        }
        // The compiler of the policy refuses a quote in it.
        parts.extend(
            additions
                .resource_metadata
                .map(|url| format!("resource_metadata=\"{url}\"")),
        );
        let bearer = format!("Bearer {}", parts.join(", ")).trim_end().to_owned();
        let Some(dpop) = additions.dpop else {
            return Some(bearer);
        };
        let names: Vec<&str> = Algorithm::ALL
            .into_iter()
            .filter(|algorithm| !algorithm.is_symmetric())
            .map(Algorithm::name)
            .collect();
        parts.push(format!("algs=\"{}\"", names.join(" ")));
        let proven = format!("DPoP {}", parts.join(", "));
        if dpop.required || matches!(self, Reason::InvalidProof(_)) {
            Some(proven)
        } else {
            Some(format!("{bearer}, {proven}"))
        }
    }

    /// The status of a gRPC call.
    fn grpc_status(&self) -> u8 {
        match self.status() {
            400 | 406 | 413 => 3,
            409 => 9,
            401 => 16,
            403 => 7,
            404 => 5,
            502..=504 => 14,
            _ => 13,
        }
    }

    /// The HTTP title and the FHIR issue code (http://hl7.org/fhir/issue-type).
    fn kinds(&self) -> (&'static str, &'static str) {
        match self.status() {
            400 => (
                "Bad Request",
                if matches!(self, Reason::PhiInUrl { .. }) {
                    "security"
                } else {
                    "invalid"
                },
            ),
            401 => ("Unauthorized", "login"),
            403 => ("Forbidden", "forbidden"),
            404 => ("Not Found", "not-found"),
            406 => ("Not Acceptable", "not-supported"),
            409 => ("Conflict", "conflict"),
            413 => ("Content Too Large", "too-long"),
            502 => ("Bad Gateway", "exception"),
            503 => ("Service Unavailable", "transient"),
            504 => ("Gateway Timeout", "timeout"),
            status if status < 500 => ("Client Error", "processing"),
            _ => ("Server Error", "exception"),
        }
    }

    fn text(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Reason::NoRoute => "no policy allows this request",
            Reason::UnknownPolicy => "the policy of this route does not exist",
            Reason::TlsRequired("client_certificate") => "this needs a connection with a client certificate",
            Reason::TlsRequired(_) => "this needs a connection with a newer version of TLS; use https",
            Reason::AmbiguousUrl(_) => {
                "the URL can be read in more than one way; write it without needless percent-encoding"
            }
            Reason::NoToken => "an access token is needed: send `Authorization: Bearer`",
            Reason::TwoTokens => "exactly one access token may be sent, in one Authorization header",
            Reason::InvalidToken(_) => "the access token is not valid here",
            Reason::InvalidProof(_) => "the proof of possession is not valid; sign a new one for this request",
            Reason::InsufficientScope(scopes) if scopes.is_empty() => "the access token does not grant this request",
            Reason::NotPermitted(_) => "the access token does not grant this request",
            Reason::UnclearRequest(_) => {
                "the request can't be read as a FHIR interaction; write it as FHIR's HTTP API has it"
            }
            Reason::BodyTooLarge => "the request's body is too large to be judged here; send it in smaller parts",
            Reason::Preflight => "this origin, method or header is not allowed here",
            Reason::KeysUnavailable { .. } => {
                "access tokens can't be verified at the moment; try again in a few seconds"
            }
            Reason::InsufficientScope(scopes) => {
                return Cow::Owned(format!("the access token lacks a scope; needed: {scopes}"));
            }
            Reason::PhiInUrl {
                parameter,
                place,
                resource,
            } => return Cow::Owned(phi_advice(parameter.as_deref(), place, *resource)),
            Reason::NotAcceptable => {
                "only JSON can be shown here; ask for `application/fhir+json` or `application/json`"
            }
            Reason::WriteBack => {
                "this record is shown with fields left out, so replacing it would delete them; send what changes with PATCH"
            }
            Reason::NoView => "the scopes of this access token show nothing of this response",
            Reason::Uninspectable(_) => "the upstream's response could not be inspected and was withheld",
            Reason::ErrorBody(_) => "the upstream answered with an error; its body was withheld",
        })
    }
}

/// What to do instead. It names what the FHIR table or the policy file knows, and nothing of the request.
fn phi_advice(parameter: Option<&str>, place: &str, resource: Option<&str>) -> String {
    let instead = match resource {
        Some(resource) => format!("send the search as `POST [base]/{resource}/_search`"),
        None => "send the search as POST to `_search`".to_owned(),
    };
    match (place, parameter) {
        ("sealed", _) => "the URL holds a sealed value that does not open here; use the URL as it was given, where it was given for".to_owned(),
        ("unreadable", _) => {
            "a header or the body can't be read where it could hold health information; write it as FHIR's HTTP API has it".to_owned()
        }
        ("header", Some(name)) => format!("the header `{name}` would carry health information; leave it out"),
        ("path", _) => format!("the path would put health information into the URL; use an opaque id, or {instead}"),
        (_, Some(name)) => format!(
            "the parameter `{name}` would put health information into the URL; {instead}, with `Content-Type: application/x-www-form-urlencoded` and `{name}=..` in the body"
        ),
        (_, None) => format!(
            "the URL holds health information; {instead}, with `Content-Type: application/x-www-form-urlencoded` and the parameters in the body"
        ),
    }
}

/// What shapes a denial's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `application/problem+json` (RFC 9457).
    #[default]
    Problem,
    /// `application/fhir+json` with an `OperationOutcome`.
    OperationOutcome,
    /// A gRPC status.
    Grpc,
}

impl Format {
    /// What the client takes: a gRPC status for a gRPC call, FHIR when `Accept` or `_format` names it.
    pub fn of(head: &RequestHead) -> Self {
        let grpc = |value: &[u8]| {
            value
                .strip_prefix(b"application/grpc")
                .is_some_and(|rest| matches!(rest.first(), None | Some(b'+')))
        };
        if head.first("content-type").is_some_and(grpc) {
            return Format::Grpc;
        }
        let fhir = |bytes: &[u8]| {
            let text = bytes.to_ascii_lowercase();
            memchr::memmem::find(&text, b"application/fhir+").is_some()
        };
        let asks = |target: &[u8]| {
            let query = target.split(|byte| *byte == b'?').nth(1).unwrap_or_default();
            query.split(|byte| *byte == b'&').any(|pair| {
                pair.strip_prefix(b"_format=").is_some_and(|value| {
                    let value = value.to_ascii_lowercase();
                    value == b"json"
                        || value.starts_with(b"application/fhir")
                        || value.starts_with(b"application%2ffhir")
                })
            })
        };
        if head.all("accept").any(fhir) || asks(head.target()) {
            Format::OperationOutcome
        } else {
            Format::Problem
        }
    }
}

/// A complete answer of the filter's own.
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header lines.
    pub headers: Vec<(&'static str, String)>,
    /// The body; for a gRPC call its message.
    pub body: String,
    /// The status of a gRPC call.
    pub grpc_status: Option<u8>,
}

/// What the policy adds to denials.
#[derive(Clone, Copy, Default)]
pub struct Additions<'a> {
    /// The `cache_control` section.
    pub cache: Option<&'a CacheControl>,
    /// The URL of the protected resource metadata.
    pub resource_metadata: Option<&'a str>,
    /// How proofs of possession are taken.
    pub dpop: Option<&'a Dpop>,
    /// Whether answers differ by the origin of the web page that asks.
    pub varies_by_origin: bool,
    /// The origin of the web page that may read the answer.
    pub origin: Option<&'a str>,
}

/// Renders the answer to a denied caller.
pub fn answer(reason: &Reason, format: Format, additions: &Additions<'_>) -> Answer {
    let mut headers = Vec::with_capacity(4);
    match format {
        Format::Problem => headers.push(("content-type", "application/problem+json".to_owned())),
        Format::OperationOutcome => headers.push(("content-type", "application/fhir+json".to_owned())),
        // The proxy writes it.
        Format::Grpc => {}
    }
    headers.push(("cache-control", NO_STORE_PRIVATE.to_owned()));
    let browser_headers = additions.cache.into_iter().flat_map(CacheControl::browser_headers);
    headers.extend(browser_headers.map(|(name, value)| (name, value.to_owned())));
    if let Some(challenge) = reason.challenge(additions) {
        headers.push(("www-authenticate", challenge));
    }
    if let Some(origin) = additions.origin {
        headers.extend(Cors::lines(origin));
    }
    if additions.varies_by_origin {
        headers.push(("vary", "origin".to_owned()));
    }
    if matches!(reason, Reason::KeysUnavailable { .. }) {
        headers.push(("retry-after", "5".to_owned()));
    }
    let (title, issue) = reason.kinds();
    let (status, text, code) = (reason.status(), reason.text(), reason.code());
    let parameter = match reason {
        Reason::PhiInUrl { parameter, .. } => parameter.as_deref(),
        _ => None,
    };
    let body = match format {
        Format::Grpc => text.into_owned(),
        Format::Problem => {
            let mut problem = serde_json::json!({"type": "about:blank", "title": title, "status": status, "detail": text, "code": code});
            if let (Some(name), Some(members)) = (parameter, problem.as_object_mut()) {
                members.insert("parameter".to_owned(), name.into());
            }
            problem.to_string()
        }
        Format::OperationOutcome => {
            let mut issue =
                serde_json::json!({"severity": "error", "code": issue, "details": {"text": text}, "diagnostics": code});
            if let (Some(name), Some(members)) = (parameter, issue.as_object_mut()) {
                // "For HTTP errors, will be "http." + the parameter name" (FHIR R4, OperationOutcome.issue.location).
                members.insert("location".to_owned(), serde_json::json!([format!("http.{name}")]));
            }
            serde_json::json!({"resourceType": "OperationOutcome", "issue": [issue]}).to_string()
        }
    };
    Answer {
        status,
        headers,
        body,
        grpc_status: (format == Format::Grpc).then(|| reason.grpc_status()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &[(&str, &str)]) -> RequestHead {
        RequestHead::new(
            lines
                .iter()
                .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())),
        )
    }

    fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
        answer
            .headers
            .iter()
            .find(|(have, _)| *have == name)
            .map(|(_, value)| value.as_str())
    }

    #[test]
    fn challenges_follow_rfc_6750() {
        for (reason, status, challenge) in [
            (Reason::NoToken, 401, Some("Bearer")),
            (Reason::TwoTokens, 400, Some("Bearer error=\"invalid_request\"")),
            (
                Reason::InvalidToken("expired"),
                401,
                Some("Bearer error=\"invalid_token\""),
            ),
            (
                Reason::InsufficientScope("a b".into()),
                403,
                Some("Bearer error=\"insufficient_scope\", scope=\"a b\""),
            ),
            (Reason::NoRoute, 403, None),
            (Reason::KeysUnavailable { awaited: false }, 503, None),
            (Reason::Uninspectable("json"), 502, None),
        ] {
            let answer = answer(&reason, Format::Problem, &Additions::default());
            assert_eq!(
                (answer.status, header(&answer, "www-authenticate")),
                (status, challenge)
            );
            assert_eq!(header(&answer, "cache-control"), Some("no-store, private"));
        }
    }

    #[test]
    fn challenges_name_the_resource_metadata_where_the_policy_does() {
        let additions = Additions {
            resource_metadata: Some("https://fhir.example.org/.well-known/oauth-protected-resource"),
            origin: Some("https://app.example.org"),
            ..Additions::default()
        };
        for (reason, challenge) in [
            (
                Reason::NoToken,
                Some("Bearer resource_metadata=\"https://fhir.example.org/.well-known/oauth-protected-resource\""),
            ),
            (
                Reason::InvalidToken("expired"),
                Some(
                    "Bearer error=\"invalid_token\", resource_metadata=\"https://fhir.example.org/.well-known/oauth-protected-resource\"",
                ),
            ),
            (Reason::NotPermitted("other_patient"), None),
        ] {
            let answer = answer(&reason, Format::Problem, &additions);
            assert_eq!(header(&answer, "www-authenticate"), challenge);
            assert_eq!(
                header(&answer, "access-control-allow-origin"),
                Some("https://app.example.org")
            );
            assert!(!answer.body.contains("other_patient"));
        }
    }

    #[test]
    fn a_grpc_call_gets_a_grpc_status() {
        let of = |value: &str| Format::of(&head(&[("content-type", value), ("accept", "application/fhir+json")]));
        for (value, grpc) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;x", false),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            assert_eq!(of(value) == Format::Grpc, grpc, "{value}");
        }
        for (reason, status) in [
            (Reason::NoToken, 16),
            (Reason::InsufficientScope(String::new()), 7),
            (Reason::TwoTokens, 3),
            (Reason::Uninspectable("json"), 14),
        ] {
            let answer = answer(&reason, Format::Grpc, &Additions::default());
            assert_eq!(answer.grpc_status, Some(status));
            assert!(header(&answer, "content-type").is_none() && !answer.body.starts_with('{'));
        }
    }

    #[test]
    fn keys_that_are_not_there_are_no_fault_of_the_client() {
        let answer = answer(
            &Reason::KeysUnavailable { awaited: true },
            Format::OperationOutcome,
            &Additions::default(),
        );
        assert_eq!((answer.status, header(&answer, "retry-after")), (503, Some("5")));
        assert!(answer.body.contains("\"transient\""), "{}", answer.body);
    }

    #[test]
    fn the_finer_code_of_a_bad_token_is_not_told_to_the_caller() {
        let answer = answer(
            &Reason::InvalidToken("expired"),
            Format::OperationOutcome,
            &Additions::default(),
        );
        assert!(!answer.body.contains("expired"));
        assert!(answer.headers.iter().all(|(_, value)| !value.contains("expired")));
    }

    #[test]
    fn the_body_is_what_the_client_takes() {
        for (accept, target, format) in [
            ("application/fhir+json", "/", Format::OperationOutcome),
            ("text/html, Application/FHIR+json;q=0.5", "/", Format::OperationOutcome),
            ("*/*", "/", Format::Problem),
            ("*/*", "/x?_format=json", Format::OperationOutcome),
            (
                "*/*",
                "/x?a=1&_format=application/fhir%2Bjson",
                Format::OperationOutcome,
            ),
            ("*/*", "/x?_formatx=json", Format::Problem),
        ] {
            assert_eq!(
                Format::of(&head(&[("accept", accept), (":path", target)])),
                format,
                "{accept} {target}"
            );
        }
        let outcome = answer(&Reason::NoRoute, Format::OperationOutcome, &Additions::default());
        assert_eq!(header(&outcome, "content-type"), Some("application/fhir+json"));
        assert!(outcome.body.contains("OperationOutcome"));
    }

    #[test]
    fn phi_is_answered_with_the_way_out() {
        let reason = Reason::PhiInUrl {
            parameter: Some("birthdate".into()),
            place: "query".into(),
            resource: Some("Patient"),
        };
        let answer = answer(&reason, Format::Problem, &Additions::default());
        assert!(answer.body.contains("`birthdate`") && answer.body.contains("_search"));
    }
}
