//! Routes: what they switch off, say again, or send elsewhere.

use scrim_policy::document::{Node, Value};

use super::config::{field, is, is_true, items, members, typed};
use super::manager::Chain;
use super::scrim::Lets;
use super::{Linter, Rule};

impl Linter<'_> {
    /// Looks through a route configuration, with virtual hosts, routes and matcher trees at any depth.
    pub(super) fn routes(&mut self, node: &Node, chain: &Chain<'_>) {
        match &node.value {
            Value::Sequence(items) => {
                for item in items {
                    self.routes(item, chain);
                }
            }
            Value::Mapping(members) => {
                for (key, value) in members {
                    self.route_member(&key.name, value, chain);
                    self.routes(value, chain);
                }
            }
            _ => {}
        }
    }

    fn route_member(&mut self, key: &str, value: &Node, chain: &Chain<'_>) {
        let shows = chain.lets != Lets::Nothing;
        let clause = chain.lets.clause();
        let named = |name: &str| is(key, name);
        if named("typed_per_filter_config") {
            self.per_filter(value, chain);
        } else if named("internal_redirect_policy") {
            let message =
                "Envoy follows redirects with the full first URL in `x-envoy-original-url`; let clients follow them";
            self.error(Rule::InternalRedirect, value.span, message);
        } else if named("redirect") && !members(value).is_empty() {
            if shows && !says_nothing(value) {
                let message =
                    format!("`Location` repeats what came, and {clause}; set `path_redirect` and `strip_query: true`");
                self.warn(Rule::RedirectEcho, value.span, message);
            }
        } else if named("request_mirror_policies") {
            if shows && !items(value).is_empty() {
                let message = format!(
                    "the mirror gets every URL as the upstream does, and {clause}; mirror only to what may see PHI"
                );
                self.warn(Rule::Mirror, value.span, message);
            }
        } else if named("host_rewrite_path_regex") {
            if shows {
                let message = format!("the upstream's host is made of the path, and {clause}; name the host itself");
                self.warn(Rule::HeaderCopy, value.span, message);
            }
        } else if named("rate_limits") {
            for limit in items(value) {
                self.descriptors(limit, chain);
            }
        } else if named("vhds") {
            let message = "virtual hosts that come by `vhds` are not in this file; lint them where they come from";
            self.warn(Rule::NotLookedInto, value.span, message);
        } else if ["prefix_rewrite", "regex_rewrite", "path_rewrite_policy", "path_rewrite"]
            .iter()
            .any(|name| named(name))
            && shows
            && !chain.suppresses
        {
            let message = format!(
                "rewriting the path, the router overwrites the safe path in `x-envoy-original-path`, which logs and spans show, with the path it got, and {clause}; set `suppress_envoy_headers: true` on the router"
            );
            let what = if chain.unseen {
                "if the router does not suppress it: "
            } else {
                ""
            };
            match chain.lets {
                Lets::Through if !chain.unseen => self.error(Rule::OriginalPath, value.span, message),
                _ => self.warn(Rule::OriginalPath, value.span, format!("{what}{message}")),
            }
        }
    }

    /// Filters switched off for a route.
    fn per_filter(&mut self, configs: &Node, chain: &Chain<'_>) {
        for (key, config) in members(configs) {
            if !chain.is_scrims(&key.name, self.options) {
                continue;
            }
            self.judge(config);
            let disabled =
                typed(config).is_some_and(|typed| is_true(typed.message, "disabled")) || is_true(config, "disabled");
            if disabled {
                let span = field(config, "disabled").map_or(key.span, |disabled| disabled.span);
                let message = "Scrim's filter is disabled here, and a request that is routed twice misses it elsewhere too; leave it on and choose a policy by `filter_metadata.scrim.policy`";
                self.error(Rule::Disabled, span, message);
            }
        }
    }
}

/// Whether a redirect's `Location` has nothing of the request's path and query.
fn says_nothing(redirect: &Node) -> bool {
    field(redirect, "path_redirect").is_some() && is_true(redirect, "strip_query")
}
