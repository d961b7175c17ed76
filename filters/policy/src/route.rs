//! Which policy governs a request, and why.
//!
//! In this order:
//! 1. the string `filter_metadata["scrim"].policy` of the proxy's route,
//! 2. the same key of the virtual host,
//! 3. the `routes` of the policy file, top down, on the canonical path (see [`crate::url`]),
//! 4. `default`; without one, deny.
//!
//! A name that is no policy denies. A property that can't be read counts as absent, never as allowed.

use std::fmt;

use crate::document::{At, Problems};
use crate::policy_file::{Match, RouteEntry};

/// What governs a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Governs {
    /// The policy of that index.
    Policy(usize),
    /// No policy: the request passes as it is.
    Allow,
    /// No policy: the request is denied.
    Deny,
    /// The proxy's metadata names a policy that does not exist: the request is denied.
    Unknown,
}

/// Why it governs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The metadata of the proxy's route names it.
    RouteMetadata,
    /// The metadata of the proxy's virtual host names it.
    VirtualHostMetadata,
    /// The route of that index in the policy file matches.
    Route(usize),
    /// Nothing else matched.
    Default,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::RouteMetadata => f.write_str("route_metadata"),
            Why::VirtualHostMetadata => f.write_str("virtual_host_metadata"),
            Why::Route(index) => write!(f, "routes[{index}]"),
            Why::Default => f.write_str("default"),
        }
    }
}

/// What the choice is made from.
#[derive(Clone, Copy, Default)]
pub struct Facts<'a> {
    /// The route metadata's policy name, if there is one.
    pub route_metadata: Option<&'a [u8]>,
    /// The virtual host metadata's.
    pub virtual_host_metadata: Option<&'a [u8]>,
    /// The proxy's own name of the route.
    pub route_name: Option<&'a [u8]>,
    /// The method.
    pub method: &'a [u8],
    /// The `:authority`.
    pub authority: &'a [u8],
    /// The canonical path, or what is as canonical.
    pub path: &'a str,
}

/// The compiled table.
#[derive(Clone, Debug)]
pub struct RouteTable {
    names: Vec<String>,
    routes: Vec<Route>,
    default: Governs,
}

#[derive(Clone, Debug)]
struct Route {
    path: PathMatch,
    methods: Vec<String>,
    host: Option<HostMatch>,
    route_name: Option<String>,
    policy: usize,
}

#[derive(Clone, Debug)]
enum PathMatch {
    Any,
    /// `None`: any one segment.
    Segments(Vec<Option<String>>),
    Prefix(String),
}

#[derive(Clone, Debug)]
enum HostMatch {
    Exact(String),
    /// With its leading dot.
    SubdomainsOf(String),
}

impl RouteTable {
    /// Compiles the routes over the policies' names, noting every problem.
    pub fn compile(
        names: Vec<String>,
        entries: &[RouteEntry],
        default: Option<&At<String>>,
        problems: &mut Problems,
    ) -> Self {
        let routes: Vec<Route> = entries
            .iter()
            .filter_map(|entry| Route::compile(entry, &names, problems))
            .collect();
        for (index, entry) in entries.iter().enumerate() {
            let m = &entry.matches.value;
            let catches_all = m.path.is_none()
                && m.path_prefix.is_none()
                && m.methods.is_none()
                && m.host.is_none()
                && m.route_name.is_none();
            if catches_all && index.saturating_add(1) < entries.len() {
                problems.warn(
                    entry.matches.span,
                    "an empty `match` takes every request, so the routes below it never match; move it to the end",
                );
            }
        }
        let default = match default {
            None => Governs::Deny,
            Some(name) => match name.value.as_str() {
                "deny" => Governs::Deny,
                "allow" => {
                    problems.warn(
                        name.span,
                        "`default: allow` lets every request pass that no route matches, `deny` is safer",
                    );
                    Governs::Allow
                }
                other => position(other, &names, name, problems).map_or(Governs::Deny, Governs::Policy),
            },
        };
        RouteTable { names, routes, default }
    }

    /// Whether any route looks at the proxy's own route name, which costs a host call.
    pub fn needs_route_name(&self) -> bool {
        self.routes.iter().any(|route| route.route_name.is_some())
    }

    /// Whether a path segment stands literally in some route, and so is the author's word, not data.
    pub fn has_word(&self, word: &str) -> bool {
        self.routes.iter().any(|route| match &route.path {
            PathMatch::Any => false,
            PathMatch::Segments(list) => list.iter().any(|segment| segment.as_deref() == Some(word)),
            PathMatch::Prefix(prefix) => split(prefix).any(|segment| segment == word),
        })
    }

    /// Chooses.
    pub fn choose(&self, facts: &Facts<'_>) -> (Governs, Why) {
        for (name, why) in [
            (facts.route_metadata, Why::RouteMetadata),
            (facts.virtual_host_metadata, Why::VirtualHostMetadata),
        ] {
            if let Some(name) = name {
                let known = self.names.iter().position(|have| have.as_bytes() == name);
                return (known.map_or(Governs::Unknown, Governs::Policy), why);
            }
        }
        match self.routes.iter().position(|route| route.matches(facts)) {
            Some(index) => (
                self.routes
                    .get(index)
                    .map_or(Governs::Deny, |route| Governs::Policy(route.policy)),
                Why::Route(index),
            ),
            None => (self.default, Why::Default),
        }
    }
}

fn position(name: &str, names: &[String], at: &At<String>, problems: &mut Problems) -> Option<usize> {
    let found = names.iter().position(|have| have == name);
    if found.is_none() {
        let mend = crate::document::suggestion(name, names.iter().map(String::as_str));
        problems.error(at.span, format!("no policy is named `{name}`{mend}"));
    }
    found
}

impl Route {
    fn compile(entry: &RouteEntry, names: &[String], problems: &mut Problems) -> Option<Route> {
        let Match {
            path,
            path_prefix,
            methods,
            host,
            route_name,
        } = &entry.matches.value;
        let path = match (path, path_prefix) {
            (Some(_), Some(prefix)) => {
                problems.error(prefix.span, "`path` and `path_prefix` exclude each other, remove one");
                None
            }
            (Some(path), None) => segments(path, problems),
            (None, Some(prefix)) => prefix_of(prefix, problems),
            (None, None) => Some(PathMatch::Any),
        };
        for method in methods.iter().flat_map(|methods| &methods.value) {
            if method.value.is_empty()
                || !method
                    .value
                    .bytes()
                    .all(|byte| byte.is_ascii_uppercase() || byte == b'-')
            {
                problems.error(
                    method.span,
                    format!(
                        "`{}` is no method; methods are case-sensitive, such as `GET`",
                        method.value
                    ),
                );
            }
        }
        if let Some(methods) = methods.as_ref().filter(|methods| methods.value.is_empty()) {
            problems.error(
                methods.span,
                "no method at all can match; remove `methods` to take them all",
            );
        }
        let host = match host {
            Some(host) => Some(HostMatch::compile(host, problems)?),
            None => None,
        };
        let policy = position(&entry.policy.value, names, &entry.policy, problems)?;
        let methods = methods
            .iter()
            .flat_map(|methods| &methods.value)
            .map(|method| method.value.clone())
            .collect();
        Some(Route {
            path: path?,
            methods,
            host,
            route_name: route_name.clone(),
            policy,
        })
    }

    fn matches(&self, facts: &Facts<'_>) -> bool {
        self.path.matches(facts.path)
            && (self.methods.is_empty()
                || self
                    .methods
                    .iter()
                    .any(|method| covers(method.as_bytes(), facts.method)))
            && self.host.as_ref().is_none_or(|host| host.matches(facts.authority))
            && self
                .route_name
                .as_ref()
                .is_none_or(|name| Some(name.as_bytes()) == facts.route_name)
    }
}

/// HEAD is GET without the content (RFC 9110 9.3.2), so a rule for GET that HEAD slipped by would be a hole.
fn covers(method: &[u8], asked: &[u8]) -> bool {
    method == asked || (method == b"GET" && asked == b"HEAD")
}

/// Whether the text is a canonical path, which alone can match.
fn literal(path: &At<String>, problems: &mut Problems) -> bool {
    let text = path.value.as_str();
    let wrong = if !text.starts_with('/') {
        "does not begin with `/`, paths do"
    } else if text.contains("//") || text.split('/').any(|segment| segment == "." || segment == "..") {
        "is not canonical and would never match; resolve `//`, `.` and `..`"
    } else if text.contains(['?', '#', '%', '\\', ';']) || text.chars().any(char::is_control) {
        "holds a character that no canonical path has; write it decoded, without query"
    } else if text.contains('*') {
        "holds a `*`; use `{name}` for one segment, or `path_prefix`"
    } else {
        return true;
    };
    problems.error(path.span, format!("`{text}` {wrong}"));
    false
}

fn segments(path: &At<String>, problems: &mut Problems) -> Option<PathMatch> {
    if !literal(path, problems) {
        return None;
    }
    let mut list = Vec::new();
    for segment in split(&path.value) {
        let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        match name {
            Some(name) if !name.is_empty() && !name.contains(['{', '}']) => list.push(None),
            None if !segment.contains(['{', '}']) => list.push(Some(segment.to_owned())),
            _ => {
                problems.error(
                    path.span,
                    format!("`{segment}` is no segment; a placeholder is a whole segment, such as `{{id}}`"),
                );
                return None;
            }
        }
    }
    Some(PathMatch::Segments(list))
}

fn prefix_of(prefix: &At<String>, problems: &mut Problems) -> Option<PathMatch> {
    if !literal(prefix, problems) {
        return None;
    }
    if prefix.value.contains(['{', '}']) {
        problems.error(
            prefix.span,
            "placeholders stand in `path` only; end the prefix before it",
        );
        return None;
    }
    Some(PathMatch::Prefix(prefix.value.clone()))
}

/// The segments between the slashes, without the empty ones before the first and after a trailing slash.
fn split(path: &str) -> impl Iterator<Item = &str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    path.split('/').filter(|segment| !segment.is_empty())
}

impl PathMatch {
    fn matches(&self, path: &str) -> bool {
        match self {
            PathMatch::Any => true,
            PathMatch::Segments(wanted) => {
                let mut have = split(path);
                let all = wanted.iter().all(|want| {
                    have.next()
                        .is_some_and(|have| want.as_deref().is_none_or(|want| want == have))
                });
                all && have.next().is_none()
            }
            PathMatch::Prefix(prefix) => match path.strip_prefix(prefix.as_str()) {
                Some(rest) => prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/'),
                None => false,
            },
        }
    }
}

impl HostMatch {
    fn compile(host: &At<String>, problems: &mut Problems) -> Option<Self> {
        let text = host.value.to_ascii_lowercase();
        let (name, wild) = match text.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (text.as_str(), false),
        };
        if name.is_empty() || name.contains(['*', ':', '/', '@']) || name.ends_with('.') {
            problems.error(
                host.span,
                format!(
                    "`{}` is no host; write it without port, or `*.` and a domain",
                    host.value
                ),
            );
            return None;
        }
        Some(if wild {
            HostMatch::SubdomainsOf(format!(".{name}"))
        } else {
            HostMatch::Exact(name.to_owned())
        })
    }

    fn matches(&self, authority: &[u8]) -> bool {
        let host = bare_host(authority).to_ascii_lowercase();
        match self {
            HostMatch::Exact(name) => host == name.as_bytes(),
            HostMatch::SubdomainsOf(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_bytes()),
        }
    }
}

/// The host without port and without the root's dot.
fn bare_host(authority: &[u8]) -> &[u8] {
    let digits = authority.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let host = match authority.len().checked_sub(digits).and_then(|end| authority.get(..end)) {
        Some(front) => front.strip_suffix(b":").unwrap_or(authority),
        None => authority,
    };
    host.strip_suffix(b".").unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Decode as _, Node};
    use serde_json::json;

    fn table(routes: serde_json::Value, default: Option<&str>) -> (RouteTable, Vec<String>) {
        let mut problems = Problems::default();
        let node = Node::from_json(&routes);
        let entries = Vec::<RouteEntry>::decode(&node, &mut problems).unwrap_or_default();
        let default = default.map(|name| At {
            value: name.to_owned(),
            span: Default::default(),
        });
        let names = vec!["a".to_owned(), "b".to_owned()];
        let table = RouteTable::compile(names, &entries, default.as_ref(), &mut problems);
        (table, problems.iter().map(|problem| problem.message.clone()).collect())
    }

    fn chosen(routes: serde_json::Value, method: &str, authority: &str, path: &str) -> Governs {
        let (table, problems) = table(routes, None);
        assert!(problems.is_empty(), "{problems:?}");
        table
            .choose(&Facts {
                method: method.as_bytes(),
                authority: authority.as_bytes(),
                path,
                ..Facts::default()
            })
            .0
    }

    #[test]
    fn metadata_wins_over_routes_and_an_unknown_name_denies() {
        let (table, _) = table(json!([{"match": {}, "policy": "a"}]), None);
        let with = |route: Option<&'static [u8]>, host: Option<&'static [u8]>| {
            table.choose(&Facts {
                route_metadata: route,
                virtual_host_metadata: host,
                path: "/",
                ..Facts::default()
            })
        };
        assert_eq!(with(Some(b"b"), Some(b"a")), (Governs::Policy(1), Why::RouteMetadata));
        assert_eq!(with(None, Some(b"b")), (Governs::Policy(1), Why::VirtualHostMetadata));
        assert_eq!(with(None, None), (Governs::Policy(0), Why::Route(0)));
        for unknown in [&b"c"[..], b"", b"allow", b"A", b"\xff"] {
            assert_eq!(with(Some(unknown), None).0, Governs::Unknown);
            assert_eq!(with(None, Some(unknown)).0, Governs::Unknown);
        }
    }

    #[test]
    fn without_default_denies() {
        let (table, _) = table(json!([]), None);
        assert_eq!(table.choose(&Facts::default()), (Governs::Deny, Why::Default));
    }

    #[test]
    fn default_allow_is_a_warning_and_an_unknown_default_an_error() {
        assert_eq!(table(json!([]), Some("allow")).1.len(), 1);
        assert_eq!(table(json!([]), Some("c")).1.len(), 1);
        assert_eq!(
            table(json!([]), Some("b")).0.choose(&Facts::default()).0,
            Governs::Policy(1)
        );
    }

    #[test]
    fn a_path_matches_segment_by_segment() {
        let route = json!([{"match": {"path": "/fhir/Patient/{id}"}, "policy": "a"}]);
        for (path, matches) in [
            ("/fhir/Patient/1", true),
            ("/fhir/Patient/1/", true),
            ("/fhir/Patient/", false),
            ("/fhir/Patient", false),
            ("/fhir/Patient/1/_history", false),
            ("/fhir/patient/1", false),
        ] {
            assert_eq!(
                chosen(route.clone(), "GET", "", path) == Governs::Policy(0),
                matches,
                "{path}"
            );
        }
    }

    #[test]
    fn a_prefix_ends_where_a_segment_ends() {
        for (prefix, path, matches) in [
            ("/fhir", "/fhir", true),
            ("/fhir", "/fhir/x", true),
            ("/fhir", "/fhirx", false),
            ("/fhir/", "/fhir", false),
            ("/fhir/", "/fhir/", true),
            ("/", "/x", true),
        ] {
            let route = json!([{"match": {"path_prefix": prefix}, "policy": "a"}]);
            assert_eq!(
                chosen(route, "GET", "", path) == Governs::Policy(0),
                matches,
                "{prefix} {path}"
            );
        }
    }

    #[test]
    fn get_includes_head_and_nothing_else() {
        let route = json!([{"match": {"methods": ["GET"]}, "policy": "a"}]);
        for (method, matches) in [
            ("GET", true),
            ("HEAD", true),
            ("POST", false),
            ("get", false),
            ("", false),
        ] {
            assert_eq!(
                chosen(route.clone(), method, "", "/") == Governs::Policy(0),
                matches,
                "{method}"
            );
        }
    }

    #[test]
    fn words_of_the_routes_are_known() {
        let (table, _) = table(
            json!([{"match": {"path": "/api/{id}/notes"}, "policy": "a"}, {"match": {"path_prefix": "/pub"}, "policy": "a"}]),
            None,
        );
        assert!(table.has_word("api") && table.has_word("notes") && table.has_word("pub"));
        assert!(!table.has_word("{id}") && !table.has_word("id") && !table.has_word(""));
    }

    #[test]
    fn hosts_match_without_port_and_case() {
        for (host, authority, matches) in [
            ("api.example.org", "API.example.org:8443", true),
            ("api.example.org", "api.example.org.", true),
            ("api.example.org", "api.example.org.evil.example", false),
            ("*.example.org", "a.b.example.org", true),
            ("*.example.org", "example.org", false),
            ("*.example.org", "evilexample.org", false),
        ] {
            let route = json!([{"match": {"host": host}, "policy": "a"}]);
            assert_eq!(
                chosen(route, "GET", authority, "/") == Governs::Policy(0),
                matches,
                "{host} {authority}"
            );
        }
    }

    #[test]
    fn patterns_that_could_never_match_are_errors() {
        for wrong in [
            "fhir", "/a//b", "/a/../b", "/a?b", "/a%20b", "/a/*", "/a/x{id}", "/a/{}",
        ] {
            let (_, problems) = table(json!([{"match": {"path": wrong}, "policy": "a"}]), None);
            assert_eq!(problems.len(), 1, "{wrong}: {problems:?}");
        }
        let (_, problems) = table(
            json!([{"match": {"path": "/a", "path_prefix": "/a"}, "policy": "c"}]),
            None,
        );
        assert_eq!(problems.len(), 2, "{problems:?}");
    }
}
