//! What would still leak PHI from URLs although Scrim is in place: reads an Envoy configuration and names it.
//!
//! 1. Every HTTP connection manager is looked into: in listeners of whatever kind, in each filter chain and the default one, in API
//!    listeners; in a bootstrap, a single resource, a list of them (`resources:`) or the dump of `/config_dump`. YAML and JSON, names in snake or
//!    camel case.
//! 2. The rules, their reasons and what each was tried with are in [`Rule`]; `scrim lint --rules` prints them.
//! 3. Nothing is passed silently: a typed configuration that no rule knows is told as `not-looked-into`, and every format string
//!    anywhere in the file is read for operators that print URLs.
//! 4. What only stands *after* Scrim sees what the upstream gets. It leaks where the policy lets PHI through (`observe`, sealed ids, no
//!    `phi_url`), so such findings are judged by the policy in the filter's configuration, or by the one given.
//! 5. Not in such a file, so not judged: Envoy's own log level. At `debug` and below Envoy prints every request's head.
//!
//! A listener's own `access_log` is not judged: it prints `-` for everything of a request (seen on Envoy 1.40).
//!
//! ```
//! use scrim::lint::{Options, Rule, lint};
//! let findings = lint("http_filters: []\n", &Options::default());
//! assert!(findings.iter().any(|finding| finding.rule == Rule::NoScrim));
//! ```

mod config;
mod dump;
mod filters;
mod formats;
mod manager;
mod operators;
mod routes;
mod rules;
mod scrim;
mod types;

use std::collections::HashSet;
use std::fmt;

use serde_json::Value as Json;

use scrim_policy::document::{Node, Problems, Severity, Span};

pub use rules::Rule;

use crate::policy_file;
use config::{at, field, items, list, members, text, text_of, typed, typed_config};
use scrim::Lets;

/// What a finding is, where, and the mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// An error leaks; a warning may, or was not looked into.
    pub severity: Severity,
    /// Where; line and column are 0 where the file's format has no places.
    pub span: Span,
    /// What is wrong and the mend, in one line without a full stop.
    pub message: String,
}

impl fmt::Display for Finding {
    /// `LINE:COL: error: what; the mend [rule]`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding {
            rule, span, message, ..
        } = self;
        let (line, column) = (span.line.max(1), span.column.max(1));
        write!(f, "{line}:{column}: {}: {message} [{rule}]", self.word())
    }
}

impl Finding {
    /// `error` or `warning`.
    pub fn word(&self) -> &'static str {
        match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// What the user knows better.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Names of HTTP filters that are Scrim's suite, whatever they look like.
    pub filter_names: Vec<String>,
    /// Names of listeners to leave out.
    pub skip_listeners: Vec<String>,
    /// Rules to leave out.
    pub allow: Vec<Rule>,
    /// The policy, where it is not in the filter's configuration.
    pub policy: Option<Json>,
}

/// Looks through a configuration. The findings stand in the order of the file.
pub fn lint(text: &str, options: &Options) -> Vec<Finding> {
    let mut linter = Linter {
        options,
        findings: Vec::new(),
        judged: HashSet::new(),
        lets: Lets::of(options.policy.as_ref()),
        names: Vec::new(),
        dumps_routes: false,
    };
    match read(text) {
        Ok(mut node) => {
            dump::inline(&mut node);
            if linter.lets == Lets::Unknown {
                // Clusters may stand before the listeners whose filters have the policy.
                linter.lets = Lets::of(scrim::policy_within(&node).as_ref());
            }
            linter.document(&node);
        }
        Err((span, why)) => linter.error(Rule::Unreadable, span, why),
    }
    let mut findings = linter.findings;
    findings.sort_by_key(|finding| (finding.span, finding.rule));
    findings.dedup();
    findings
}

fn read(text: &str) -> Result<Node, (Span, String)> {
    let start = Span { line: 1, column: 1 };
    if text.trim().is_empty() {
        return Err((start, "the file is empty; name an Envoy configuration".to_owned()));
    }
    let mut problems = Problems::default();
    let node = policy_file::parse(text, &mut problems);
    match (node, problems.iter().next()) {
        (Some(node), None) => Ok(node),
        (_, problem) => {
            // JSON may be indented by tabs, which YAML refuses; it then has no places.
            if let Ok(node) = serde_json::from_str(text) {
                return Ok(node);
            }
            let (span, why) = problem.map_or((start, "not YAML"), |problem| (problem.span, problem.message.as_str()));
            let why = match why.contains("second document") {
                true => "a second document begins here; give each its own file",
                false => why,
            };
            Err((span, why.to_owned()))
        }
    }
}

/// The state of one run.
struct Linter<'o> {
    options: &'o Options,
    findings: Vec<Finding>,
    /// Parts of the document that a rule looked into, so that the search for unknown types passes over them.
    judged: HashSet<*const Node>,
    /// What the last policy that was seen lets through.
    lets: Lets,
    /// Names of Scrim's filters that were seen.
    names: Vec<String>,
    /// Whether this is a dump, which has the routes that came from elsewhere.
    dumps_routes: bool,
}

impl Linter<'_> {
    fn error(&mut self, rule: Rule, span: Span, message: impl Into<String>) {
        self.tell(rule, Severity::Error, span, message.into());
    }

    fn warn(&mut self, rule: Rule, span: Span, message: impl Into<String>) {
        self.tell(rule, Severity::Warning, span, message.into());
    }

    fn tell(&mut self, rule: Rule, severity: Severity, span: Span, message: String) {
        if !self.options.allow.contains(&rule) {
            self.findings.push(Finding {
                rule,
                severity,
                span,
                message,
            });
        }
    }

    /// Marks a part as looked into, with all in it.
    fn judge(&mut self, node: &Node) {
        self.judged.insert(std::ptr::from_ref(node));
    }

    fn document(&mut self, node: &Node) {
        let has = |names: &[&str]| names.iter().any(|name| field(node, name).is_some());
        if typed(node).is_some() || has(&["resources", "configs"]) {
            self.dumps_routes = list(node, "configs")
                .iter()
                .filter_map(typed)
                .any(|dump| dump.name.ends_with(".RoutesConfigDump"));
            if !self.resources(node) {
                self.warn(
                    Rule::NotLookedInto,
                    node.span,
                    "no listener, HTTP connection manager or route configuration is in this file; name one that has them",
                );
            }
        } else if has(&[
            "static_resources",
            "dynamic_resources",
            "admin",
            "node",
            "bootstrap_extensions",
        ]) {
            self.bootstrap(node);
        } else if has(&["filter_chains", "default_filter_chain", "api_listener"]) {
            self.listener(node);
        } else if has(&["http_filters"]) {
            self.manager(node);
        } else if has(&["virtual_hosts"]) {
            self.lone_routes(node);
        } else {
            let what = if has(&["apiVersion"]) {
                "this is a Kubernetes object; lint what the proxy got, from its `/config_dump`"
            } else {
                "this is no Envoy configuration; name a bootstrap, a listener, an HTTP connection manager, a route configuration or a config dump"
            };
            self.error(Rule::Unreadable, node.span, what);
            return;
        }
        self.types(node);
    }

    /// Looks for resources; says whether there are any.
    fn resources(&mut self, node: &Node) -> bool {
        if let Some(typed) = typed(node) {
            match typed.name {
                "envoy.config.bootstrap.v3.Bootstrap" => return self.bootstrap(typed.message),
                "envoy.config.listener.v3.Listener" => return self.listener(typed.message),
                "envoy.config.cluster.v3.Cluster" => self.upstream_filters(typed.message),
                name if name.ends_with(".HttpConnectionManager") => return self.manager(typed.message),
                "envoy.config.route.v3.RouteConfiguration" => return self.lone_routes(typed.message),
                // The dump of listeners has its listeners, and those have the static routes.
                "envoy.admin.v3.BootstrapConfigDump" => {
                    if let Some(bootstrap) = field(typed.message, "bootstrap") {
                        self.administration(bootstrap);
                        if let Some(resources) = field(bootstrap, "static_resources") {
                            self.judge(resources);
                        }
                    }
                    return true;
                }
                "envoy.admin.v3.RoutesConfigDump" => {
                    for routes in list(typed.message, "dynamic_route_configs") {
                        self.resources(routes);
                    }
                    return true;
                }
                _ => {}
            }
        }
        let mut any = false;
        for (_, member) in members(node) {
            any |= self.resources(member);
        }
        for item in items(node) {
            any |= self.resources(item);
        }
        any
    }

    fn administration(&mut self, node: &Node) {
        if let Some(address) = at(node, &["admin", "address", "socket_address", "address"])
            && let Some(host) = text(address)
            && !is_loopback(host)
        {
            let message = format!(
                "the administration interface listens on `{host}`: whoever reaches it can turn on debug logging, which prints every URL, or attach a tap; bind it to 127.0.0.1"
            );
            self.warn(Rule::Admin, address.span, message);
        }
    }

    fn bootstrap(&mut self, node: &Node) -> bool {
        self.administration(node);
        if let Some(dynamic) = field(node, "dynamic_resources")
            && let Some(listeners) = field(dynamic, "lds_config").or_else(|| field(dynamic, "ads_config"))
        {
            let message =
                "listeners that come from elsewhere are not in this file; lint what Envoy got, from its `/config_dump`";
            self.warn(Rule::NotLookedInto, listeners.span, message);
        }
        for listener in at(node, &["static_resources", "listeners"])
            .map(items)
            .unwrap_or_default()
        {
            self.listener(listener);
        }
        for cluster in at(node, &["static_resources", "clusters"])
            .map(items)
            .unwrap_or_default()
        {
            self.upstream_filters(cluster);
        }
        true
    }

    fn listener(&mut self, node: &Node) -> bool {
        let name = text_of(node, "name").unwrap_or_default();
        if self.options.skip_listeners.iter().any(|skipped| skipped == name) {
            self.judge(node);
            return true;
        }
        let chains = list(node, "filter_chains")
            .iter()
            .chain(field(node, "default_filter_chain"));
        for filter in chains.flat_map(|chain| list(chain, "filters")) {
            self.network_filter(filter);
        }
        if let Some(api) = at(node, &["api_listener", "api_listener"]).and_then(typed) {
            // Envoy Mobile's wraps it.
            self.manager(field(api.message, "config").unwrap_or(api.message));
        }
        true
    }

    fn network_filter(&mut self, filter: &Node) {
        let Some(typed) = typed_config(filter) else {
            let message = "a network filter whose configuration is not in this file; lint it where it comes from";
            self.warn(Rule::NotLookedInto, filter.span, message);
            return;
        };
        if typed.name.ends_with(".HttpConnectionManager") {
            self.manager(typed.message);
        } else if typed.name.ends_with(".TcpProxy") {
            let message = "`tcp_proxy` forwards bytes: if they are HTTP in clear, no filter looks at it; use an HTTP connection manager with Scrim";
            self.warn(Rule::NotLookedInto, filter.span, message);
        }
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
