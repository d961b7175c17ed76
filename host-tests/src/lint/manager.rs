//! HTTP connection managers: where Scrim stands in the chain, and the settings around it.

use serde_json::Value as Json;

use scrim_policy::document::{Node, Severity, Value};

use super::config::{at, field, is_true, items, list, members, text_of, typed_config};
use super::filters::role;
use super::formats::Place;
use super::scrim::{self, Lets, Module};
use super::{Linter, Options, Rule};
use crate::modules::CHAIN;

/// The place of `phi-url` in [`CHAIN`]: what looks at URLs.
const PHI_URL: usize = 2;

/// A chain of HTTP filters with Scrim's in it.
pub(super) struct Chain<'d> {
    /// All filters.
    pub(super) filters: &'d [Node],
    /// Where Scrim's stand.
    pub(super) modules: Vec<(usize, Module)>,
    /// Those of them that a matcher wraps.
    pub(super) wrapped: Vec<usize>,
    /// Where the one stands that looks at URLs.
    pub(super) scrim: Option<usize>,
    /// What the policy lets through.
    pub(super) lets: Lets,
    /// Whether spans have paths in `http.url`.
    pub(super) traces_paths: bool,
    /// Whether the router leaves `x-envoy-original-path` alone.
    pub(super) suppresses: bool,
    /// Whether the chain itself is not in the file.
    pub(super) unseen: bool,
    /// Scrim's filters elsewhere in the file, for such a chain.
    pub(super) names: Vec<String>,
}

impl<'d> Chain<'d> {
    pub(super) fn of(filters: &'d [Node], manager: &Node, options: &Options) -> Self {
        let mut modules = Vec::new();
        let mut wrapped = Vec::new();
        let mut policy: Option<Json> = options.policy.clone();
        for (place, filter) in filters.iter().enumerate() {
            // A filter in a matcher stands in `extension_config`.
            let inner = typed_config(filter).and_then(|typed| field(typed.message, "extension_config"));
            let within = inner.and_then(|inner| scrim::module(inner, &options.filter_names));
            if let Some(module) = scrim::module(filter, &options.filter_names).or(within) {
                modules.push((place, module));
                if within.is_some() {
                    wrapped.push(place);
                }
                policy = policy.or_else(|| scrim::policy(filter));
            }
        }
        let looks = |module: &Module| matches!(module, Module::Suite | Module::Single(PHI_URL));
        let router = filters
            .iter()
            .filter_map(typed_config)
            .find(|typed| typed.name.ends_with(".router.v3.Router"));
        let tracing = field(manager, "tracing");
        Chain {
            filters,
            scrim: modules
                .iter()
                .find(|(_, module)| looks(module))
                .map(|(place, _)| *place),
            modules,
            wrapped,
            lets: Lets::of(policy.as_ref()),
            traces_paths: tracing.is_some_and(|tracing| number(tracing, "max_path_tag_length") != Some("0")),
            suppresses: router.is_some_and(|router| is_true(router.message, "suppress_envoy_headers")),
            unseen: false,
            names: Vec::new(),
        }
    }

    /// A chain that is not in the file.
    pub(super) fn unseen(manager: &Node, options: &Options) -> Chain<'static> {
        Chain {
            unseen: true,
            ..Chain::of(&[], manager, options)
        }
    }

    /// How bad it is when the filter at this place shows a URL; none: it cannot show PHI.
    pub(super) fn severity_at(&self, place: usize) -> Option<Severity> {
        match self.scrim {
            Some(scrim) if place < scrim => Some(Severity::Error),
            _ => (self.lets != Lets::Nothing).then_some(Severity::Warning),
        }
    }

    /// Whether a filter of this name is Scrim's.
    pub(super) fn is_scrims(&self, name: &str, options: &Options) -> bool {
        if self.unseen {
            let mut known = options.filter_names.iter().chain(&self.names);
            return name.starts_with("scrim") || known.any(|known| known == name);
        }
        let named = |place: &usize| self.filters.get(*place).and_then(|filter| text_of(filter, "name")) == Some(name);
        self.modules.iter().any(|(place, _)| named(place))
    }
}

impl Lets {
    /// Why what stands after Scrim may show PHI.
    pub(super) fn clause(self) -> &'static str {
        match self {
            Lets::Through => "the policy lets PHI through",
            Lets::Unknown => "no policy is in sight that lets none through (give `--policy`)",
            Lets::Nothing => "the policy lets none through",
        }
    }
}

/// A number's text, whatever protobuf's JSON allows for it.
fn number<'d>(node: &'d Node, name: &str) -> Option<&'d str> {
    match &field(node, name)?.value {
        Value::Number(text) | Value::String(text) => Some(text),
        _ => None,
    }
}

impl Linter<'_> {
    /// Looks into a manager; always true.
    pub(super) fn manager(&mut self, manager: &Node) -> bool {
        let chain = Chain::of(list(manager, "http_filters"), manager, self.options);
        if chain.scrim.is_some() {
            self.lets = chain.lets;
            let places = chain.modules.iter().filter_map(|(place, _)| chain.filters.get(*place));
            self.names
                .extend(places.filter_map(|filter| text_of(filter, "name")).map(str::to_owned));
        }
        self.presence(manager, &chain);
        self.trust(&chain, manager);
        self.around(&chain);
        self.upgrades(manager);
        for entry in list(manager, "access_log") {
            self.access_log(entry);
        }
        self.settings(manager);
        self.route_source(manager, &chain);
        self.formats(manager, Place::Elsewhere, &chain);
        true
    }

    fn presence(&mut self, manager: &Node, chain: &Chain<'_>) {
        let span = field(manager, "http_filters").unwrap_or(manager).span;
        let router = chain
            .filters
            .iter()
            .position(|filter| typed_config(filter).is_some_and(|typed| typed.name.ends_with(".router.v3.Router")));
        let singles: Vec<usize> = chain
            .modules
            .iter()
            .filter_map(|(_, module)| match module {
                Module::Single(place) => Some(*place),
                Module::Suite => None,
            })
            .collect();
        let missing: Vec<String> = CHAIN
            .iter()
            .enumerate()
            .filter(|(place, _)| !singles.contains(place))
            .map(|(_, module)| format!("`{}`", module.name))
            .collect();
        if chain.scrim.is_none() && singles.is_empty() {
            if only_answers(manager) {
                let message = "Scrim is not here: nothing goes to an upstream, but redirects say the URL again, and logs and traces are not safe; put its filter first here too";
                return self.warn(Rule::NoScrim, span, message);
            }
            let message = "Scrim is not here, so URLs pass unjudged; put the filter in that `scrim render envoy` prints, or name yours by `--filter-name`";
            return self.error(Rule::NoScrim, span, message);
        }
        if chain.scrim.is_none() {
            let message = format!(
                "`phi-url` is not among Scrim's modules here, so URLs pass unjudged; add {}",
                missing.join(", ")
            );
            return self.error(Rule::NoScrim, span, message);
        }
        if !singles.is_empty() && !chain.modules.iter().any(|(_, module)| *module == Module::Suite) {
            if !singles.is_sorted() {
                let order = CHAIN.map(|module| format!("`{}`", module.name)).join(", ");
                self.error(
                    Rule::Order,
                    span,
                    format!("Scrim's modules stand in another order; they belong as {order}"),
                );
            }
            if !missing.is_empty() {
                let message = format!(
                    "{} of Scrim's modules are not here, so their sections of the policy are not enforced; add them",
                    missing.join(", ")
                );
                self.warn(Rule::Order, span, message);
            }
        }
        if let (Some(router), Some((scrim, _))) = (router, chain.modules.last())
            && router < *scrim
        {
            self.error(
                Rule::Order,
                span,
                "Scrim's filter stands after the router, where no request comes; put it first",
            );
        }
    }

    fn settings(&mut self, manager: &Node) {
        let action = number(manager, "path_with_escaped_slashes_action").unwrap_or_default();
        if matches!(action, "UNESCAPE_AND_REDIRECT" | "3") {
            let span = field(manager, "path_with_escaped_slashes_action")
                .unwrap_or(manager)
                .span;
            let message = "a path with `%2F` is answered with a redirect that says path and query again, before Scrim sees it; set REJECT_REQUEST";
            self.error(Rule::UnescapeRedirect, span, message);
        }
        let underscores = at(manager, &["common_http_protocol_options"])
            .and_then(|options| number(options, "headers_with_underscores_action"))
            .unwrap_or_default();
        let wanted = [
            ("normalize_path: true", is_true(manager, "normalize_path")),
            ("merge_slashes: true", is_true(manager, "merge_slashes")),
            (
                "path_with_escaped_slashes_action: REJECT_REQUEST",
                // What Envoy unescapes itself Scrim sees unescaped.
                matches!(
                    action,
                    "REJECT_REQUEST" | "UNESCAPE_AND_FORWARD" | "UNESCAPE_AND_REDIRECT" | "2" | "3" | "4"
                ),
            ),
            (
                "common_http_protocol_options.headers_with_underscores_action: REJECT_REQUEST",
                matches!(underscores, "REJECT_REQUEST" | "DROP_HEADER" | "1" | "2"),
            ),
        ];
        let missing: Vec<String> = wanted
            .into_iter()
            .filter(|(_, there)| !there)
            .map(|(setting, _)| format!("`{setting}`"))
            .collect();
        if !missing.is_empty() {
            let message = format!(
                "Envoy's router and the upstream may read a path or a header otherwise than Scrim; set {}",
                missing.join(", ")
            );
            self.warn(Rule::Normalization, manager.span, message);
        }
        if !is_true(manager, "use_remote_address") {
            let message = "what clients send in `x-envoy-*` is believed, `x-envoy-original-path` among it, which logs and spans prefer to the path; set `use_remote_address: true` at the edge";
            self.warn(Rule::Edge, manager.span, message);
        }
    }

    fn route_source(&mut self, manager: &Node, chain: &Chain<'_>) {
        for name in ["rds", "scoped_routes"] {
            let Some(source) = field(manager, name) else { continue };
            if field(source, "scoped_route_configurations_list").is_none() && !self.dumps_routes {
                let message =
                    format!("routes come by `{name}` and are not in this file; lint them where they come from");
                self.warn(Rule::NotLookedInto, source.span, message);
            }
        }
        for name in ["route_config", "scoped_routes"] {
            if let Some(routes) = field(manager, name) {
                self.routes(routes, chain);
            }
        }
    }

    /// A route configuration whose manager is not in the file.
    pub(super) fn lone_routes(&mut self, routes: &Node) -> bool {
        let chain = Chain {
            lets: self.lets,
            names: self.names.clone(),
            ..Chain::unseen(routes, self.options)
        };
        self.routes(routes, &chain);
        self.formats(routes, Place::Elsewhere, &chain);
        true
    }
}

/// Whether every route switches on the filter of this name; none where the routes are not in the file.
pub(super) fn switched_on(manager: &Node, name: &str) -> Option<bool> {
    let routes = field(manager, "route_config")?;
    let on = |node: &Node| {
        let configs = field(node, "typed_per_filter_config").map(members).unwrap_or_default();
        configs
            .iter()
            .any(|(key, config)| key.name == name && !is_true(config, "disabled"))
    };
    let everywhere = on(routes)
        || list(routes, "virtual_hosts")
            .iter()
            .all(|host| on(host) || list(host, "routes").iter().all(on));
    Some(everywhere)
}

/// Whether no route leads to an upstream.
fn only_answers(manager: &Node) -> bool {
    let hosts = at(manager, &["route_config", "virtual_hosts"])
        .map(items)
        .unwrap_or_default();
    let mut routes = hosts.iter().flat_map(|host| list(host, "routes")).peekable();
    // A filter before the router may answer, or pass on.
    let others = list(manager, "http_filters").iter().any(|filter| {
        typed_config(filter)
            .is_none_or(|typed| !typed.name.ends_with(".Router") && role(typed.name) != super::filters::Role::Harmless)
    });
    routes.peek().is_some()
        && !others
        && routes.all(|route| {
            ["redirect", "direct_response"]
                .iter()
                .any(|name| field(route, name).is_some())
        })
}
