//! The HTTP filters around Scrim's.

use scrim_policy::document::{Node, Severity};

use super::config::{Typed, at, field, is, is_true, items, list, members, text_of, typed_config};
use super::manager::{Chain, switched_on};
use super::operators::is_url_header;
use super::scrim::Lets;
use super::{Linter, Rule};

/// What a filter does with what it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Neither shows a URL nor answers for the upstream.
    Harmless,
    /// May answer by itself, so that what stands after it sees nothing.
    Answers,
    /// Sends heads, or the URL, to another server.
    Sends,
    /// Can do anything: a script, a module, a choice of filters.
    Anything,
    /// Answers with what it kept.
    Cache,
    /// Has a rule of its own.
    Own,
    /// Nobody looked.
    Unknown,
}

/// The role of a filter by the package of its type, `envoy.extensions.filters.http.PACKAGE.v3`.
pub(super) fn role(name: &str) -> Role {
    let Some(package) = package(name) else {
        return match name {
            "envoy.extensions.common.matching.v3.ExtensionWithMatcher" => Role::Anything,
            _ => Role::Unknown,
        };
    };
    match package {
        "alternate_protocols_cache"
        | "bandwidth_limit"
        | "bandwidth_share"
        | "body_size_limit"
        | "buffer"
        | "cdn_loop"
        | "compressor"
        | "connect_grpc_bridge"
        | "credential_injector"
        | "decompressor"
        | "dynamic_forward_proxy"
        | "gcp_authn"
        | "geoip"
        | "grpc_http1_bridge"
        | "grpc_http1_reverse_bridge"
        | "grpc_web"
        | "health_check"
        | "ip_tagging"
        | "json_to_metadata"
        | "on_demand"
        | "original_src"
        | "sse_to_metadata"
        | "stateful_session"
        | "thrift_to_metadata"
        | "upstream_codec"
        | "aws_request_signing" => Role::Harmless,
        "adaptive_concurrency"
        | "admission_control"
        | "api_key_auth"
        | "basic_auth"
        | "cors"
        | "csrf"
        | "fault"
        | "jwt_authn"
        | "local_ratelimit"
        | "rbac" => Role::Answers,
        "ext_authz"
        | "ext_proc"
        | "oauth2"
        | "aws_lambda"
        | "grpc_json_transcoder"
        | "grpc_json_reverse_transcoder" => Role::Sends,
        "lua" | "rate_limit_quota" | "golang" | "wasm" | "dynamic_modules" | "composite" | "match_delegate"
        | "filter_chain" | "custom_response" => Role::Anything,
        "cache" | "cache_v2" => Role::Cache,
        "router" | "file_system_buffer" | "tap" | "ratelimit" | "grpc_stats" | "header_mutation"
        | "header_to_metadata" | "set_metadata" | "set_filter_state" => Role::Own,
        _ => Role::Unknown,
    }
}

/// The package of an HTTP filter's type.
fn package(name: &str) -> Option<&str> {
    name.strip_prefix("envoy.extensions.filters.http.")?.split('.').next()
}

/// What a filter is called in findings.
fn called(filter: &Node) -> &str {
    text_of(filter, "name").unwrap_or("without a name")
}

impl Linter<'_> {
    /// Judges the filters before and after the one that looks at URLs.
    pub(super) fn around(&mut self, chain: &Chain<'_>) {
        for (place, filter) in chain.filters.iter().enumerate() {
            if chain.modules.iter().any(|(module, _)| *module == place) {
                continue;
            }
            let Some(typed) = typed_config(filter) else {
                let message = format!(
                    "the configuration of filter `{}` is not in this file; lint it where it comes from",
                    called(filter)
                );
                self.warn(Rule::NotLookedInto, filter.span, message);
                continue;
            };
            if matches!(role(typed.name), Role::Anything | Role::Unknown) {
                self.judge(typed.message);
            }
            self.own(filter, typed, chain, place);
            match chain.scrim {
                // Without Scrim's filter nothing is before or after it, and that is told already.
                None => {}
                Some(scrim) if place < scrim => self.before(filter, typed, chain),
                Some(_) => self.after(filter, typed, chain),
            }
        }
    }

    fn before(&mut self, filter: &Node, typed: Typed<'_>, chain: &Chain<'_>) {
        let name = called(filter);
        let (severity, message) = match role(typed.name) {
            Role::Harmless | Role::Cache | Role::Own => return,
            Role::Answers if !chain.traces_paths => return,
            Role::Answers => (
                Severity::Warning,
                format!(
                    "filter `{name}` stands before Scrim and answers requests itself: their spans have the raw URL in `http.url`; put Scrim's filter first, or set `max_path_tag_length: 0`"
                ),
            ),
            Role::Sends => (
                Severity::Error,
                format!("filter `{name}` stands before Scrim and passes the raw URL on; put Scrim's filter first"),
            ),
            Role::Anything => (
                Severity::Warning,
                format!(
                    "filter `{name}` stands before Scrim and can do with the raw URL what it likes; put Scrim's filter first"
                ),
            ),
            Role::Unknown => (
                Severity::Warning,
                format!(
                    "filter `{name}` (`{}`) stands before Scrim, and it is not known what it does with the raw URL; put Scrim's filter first",
                    typed.name
                ),
            ),
        };
        self.tell(Rule::FilterBefore, severity, filter.span, message);
    }

    fn after(&mut self, filter: &Node, typed: Typed<'_>, chain: &Chain<'_>) {
        let name = called(filter);
        match role(typed.name) {
            Role::Sends | Role::Anything if chain.lets != Lets::Nothing => {
                let message = format!(
                    "filter `{name}` gets every URL as the upstream does, and {}; do not let it have the path, or use another action than `observe`",
                    chain.lets.clause()
                );
                self.warn(Rule::FilterAfter, filter.span, message);
            }
            Role::Unknown => {
                let message = format!(
                    "it is not known what filter `{name}` (`{}`) does with URLs; look, and say `--allow not-looked-into`",
                    typed.name
                );
                self.warn(Rule::NotLookedInto, filter.span, message);
            }
            _ => {}
        }
    }

    /// Filters with rules of their own, wherever they stand.
    fn own(&mut self, filter: &Node, typed: Typed<'_>, chain: &Chain<'_>, place: usize) {
        let name = called(filter);
        match package(typed.name) {
            Some("tap") => {
                let message = format!("tap `{name}` writes down heads and bodies; take it out");
                self.error(Rule::Tap, filter.span, message);
                self.judge(typed.message);
            }
            Some("file_system_buffer") => {
                let message = format!("`{name}` may write bodies to disk; keep buffers in memory");
                self.warn(Rule::Tap, filter.span, message);
            }
            Some("grpc_stats") if is_true(typed.message, "stats_for_all_methods") => {
                if let Some(severity) = chain.severity_at(place) {
                    let message = format!(
                        "`{name}` makes a statistic of every path that a client calls as gRPC; name the methods in `individual_method_stats_allowlist`"
                    );
                    self.tell(Rule::StatsUrl, severity, filter.span, message);
                }
            }
            Some("cache" | "cache_v2") if chain.modules.iter().any(|(module, _)| *module > place) => {
                let message = format!(
                    "cache `{name}` stands before Scrim: what it answers and what it fetches skips every filter after it; put the cache after Scrim's filter"
                );
                self.error(Rule::CacheBefore, filter.span, message);
            }
            Some("ratelimit") => {
                for limit in list(typed.message, "rate_limits") {
                    self.descriptors(limit, chain);
                }
            }
            Some("header_to_metadata") => {
                for rule in list(typed.message, "request_rules") {
                    if let Some(header) = field(rule, "header")
                        && super::config::text(header).is_some_and(is_url_header)
                        && let Some(severity) = chain.severity_at(place)
                    {
                        let message = format!(
                            "`{name}` copies a header that holds a URL to metadata, where Scrim does not look; take the rule out"
                        );
                        self.tell(Rule::HeaderCopy, severity, header.span, message);
                    }
                }
            }
            Some("router") => {
                for entry in list(typed.message, "upstream_log") {
                    self.access_log(entry);
                }
            }
            _ => {}
        }
    }

    /// Filters of a cluster's own, which see what goes to the upstream.
    pub(super) fn upstream_filters(&mut self, cluster: &Node) {
        let protocols = field(cluster, "typed_extension_protocol_options")
            .map(members)
            .unwrap_or_default();
        let filters = protocols.iter().flat_map(|(_, options)| list(options, "http_filters"));
        for filter in filters {
            let Some(typed) = typed_config(filter) else { continue };
            let name = called(filter);
            if package(typed.name) == Some("tap") {
                let message = format!("tap `{name}` writes down heads and bodies; take it out");
                self.error(Rule::Tap, filter.span, message);
            } else if matches!(role(typed.name), Role::Sends | Role::Anything) && self.lets != Lets::Nothing {
                let message = format!(
                    "filter `{name}` of a cluster gets every URL as the upstream does, and {}; do not let it have the path, or use another action than `observe`",
                    self.lets.clause()
                );
                self.warn(Rule::FilterAfter, filter.span, message);
            } else {
                continue;
            }
            self.judge(typed.message);
        }
    }

    /// Descriptors of rate limits that are made of URLs, anywhere in `node`.
    pub(super) fn descriptors(&mut self, node: &Node, chain: &Chain<'_>) {
        let limiter = chain.filters.iter().position(|filter| {
            typed_config(filter).is_some_and(|typed| matches!(package(typed.name), Some("ratelimit")))
        });
        // A local one counts by itself and sends nothing.
        let severity = match limiter {
            Some(place) => chain.severity_at(place),
            None => chain.unseen.then_some(Severity::Warning),
        };
        let Some(severity) = severity else { return };
        for action in list(node, "actions") {
            for (kind, message) in members(action) {
                let header = text_of(message, "header_name").is_some_and(is_url_header);
                // A match on a header or parameter sends a word of the configuration's own.
                if header || is(&kind.name, "query_parameters") {
                    let told = "a rate limit counts by a part of the URL, which goes to the rate limit service; count by something else";
                    self.tell(Rule::RateLimitUrl, severity, message.span, told.to_owned());
                }
            }
        }
    }

    /// `upgrade_configs` with filters of their own.
    pub(super) fn upgrades(&mut self, manager: &Node) {
        for upgrade in list(manager, "upgrade_configs") {
            let Some(filters) = field(upgrade, "filters") else {
                continue;
            };
            if items(filters).is_empty() {
                continue;
            }
            let chain = Chain::of(items(filters), manager, self.options);
            if chain.scrim.is_none() {
                let kind = text_of(upgrade, "upgrade_type").unwrap_or_default();
                let message = format!(
                    "requests with `Upgrade: {kind}` get filters of their own without Scrim, and reach the upstream unjudged; leave `filters` out"
                );
                self.error(Rule::Bypassed, filters.span, message);
            }
            self.around(&chain);
            self.trust(&chain, manager);
        }
    }

    /// Whether Scrim's own filters are in order, always there and fail closed.
    pub(super) fn trust(&mut self, chain: &Chain<'_>, manager: &Node) {
        for (place, _) in &chain.modules {
            let Some(filter) = chain.filters.get(*place) else {
                continue;
            };
            self.judge(filter);
            if is_true(filter, "disabled") {
                let span = at(filter, &["disabled"]).unwrap_or(filter).span;
                if switched_on(manager, called(filter)) == Some(false) {
                    let message = "Scrim's filter is disabled, and not every route switches it on: the others pass unjudged; leave it on";
                    self.error(Rule::Disabled, span, message);
                } else {
                    let message = "Scrim's filter is disabled but where a route switches it on (as Envoy Gateway does it): what no such route matches it does not see; leave it on, or see that every route has it";
                    self.warn(Rule::Disabled, span, message);
                }
            }
            if is_true(filter, "is_optional") {
                let message = "Scrim's filter is optional: where it cannot be loaded requests pass unjudged; take `is_optional` out";
                self.error(
                    Rule::FailsOpen,
                    at(filter, &["is_optional"]).unwrap_or(filter).span,
                    message,
                );
            }
            let Some(plugin) = super::scrim::plugin(filter) else {
                if field(filter, "config_discovery").is_some() {
                    let message = "Scrim's configuration is not in this file, so how it fails is not known; lint it where it comes from, and give `--policy`";
                    self.warn(Rule::NotLookedInto, filter.span, message);
                } else if chain.wrapped.contains(place) {
                    let message = "Scrim's filter runs only where a matcher says so; put it into the chain itself";
                    self.error(Rule::Disabled, filter.span, message);
                }
                continue;
            };
            if text_of(plugin, "failure_policy") == Some("FAIL_OPEN") || is_true(plugin, "fail_open") {
                let place = field(plugin, "failure_policy").or_else(|| field(plugin, "fail_open"));
                let message = "Scrim's filter fails open: without its module every request passes unjudged; set `failure_policy: FAIL_CLOSED`";
                self.error(Rule::FailsOpen, place.unwrap_or(plugin).span, message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The HTTP filters of Envoy 1.40 that are in its documentation as stable or alpha, and what is known of each.
    #[test]
    fn roles_are_as_documented() {
        for (package, wanted) in [
            ("buffer", Role::Harmless),
            ("ext_authz", Role::Sends),
            ("jwt_authn", Role::Answers),
            ("lua", Role::Anything),
            ("cache_v2", Role::Cache),
            ("mcp", Role::Unknown),
        ] {
            assert_eq!(
                role(&format!("envoy.extensions.filters.http.{package}.v3.X")),
                wanted,
                "{package}"
            );
        }
        assert_eq!(role("com.example.Mine"), Role::Unknown);
    }
}
