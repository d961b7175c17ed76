//! The rules and what each is about: what `scrim lint --rules` prints.
//!
//! Where a rule says *seen*, it was tried on Envoy 1.40.0 with a filter that does to the URL what Scrim does.

use std::fmt;

/// Declares the rules once: variant, code, what it finds, why that leaks, the mend.
macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $what:literal, $why:literal, $mend:literal;)*) => {
        /// A rule, with a code that stays.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule { $($(#[$doc])* $variant,)* }

        impl Rule {
            /// Every rule.
            pub const ALL: &[Rule] = &[$(Rule::$variant,)*];

            /// The code that `--allow` takes and findings end with.
            pub fn code(self) -> &'static str {
                match self { $(Rule::$variant => $code,)* }
            }

            /// What it finds.
            pub fn what(self) -> &'static str {
                match self { $(Rule::$variant => $what,)* }
            }

            /// Why that leaks, and where that is known from.
            pub fn why(self) -> &'static str {
                match self { $(Rule::$variant => $why,)* }
            }

            /// What to do about it.
            pub fn mend(self) -> &'static str {
                match self { $(Rule::$variant => $mend,)* }
            }
        }
    };
}

rules! {
    /// The file is no Envoy configuration.
    Unreadable = "unreadable",
        "the file cannot be read, or is no Envoy configuration",
        "nothing in it was looked at",
        "name a bootstrap, a listener, an HTTP connection manager, a route configuration, a list of resources or a config dump, as YAML or JSON";
    /// No filter of Scrim.
    NoScrim = "no-scrim",
        "an HTTP connection manager without Scrim's `suite`, or without its `phi-url` among the single modules",
        "what comes in there is not looked at: URLs reach upstreams, logs and traces as they are. A warning where every route is a redirect or a direct response",
        "put the filter that `scrim render envoy` prints there; `--filter-name` names one that is not known as Scrim's; `--skip-listener` leaves a listener out";
    /// A fault opens the way.
    FailsOpen = "scrim-fails-open",
        "`failure_policy: FAIL_OPEN`, `fail_open: true` or `is_optional: true` on Scrim's filter",
        "with a module that does not load, or has trapped, every request passes unjudged (Envoy, `PluginConfig.failure_policy`)",
        "FAIL_CLOSED, which is also what Envoy does when nothing is said";
    /// Switched off for some.
    Disabled = "scrim-disabled",
        "Scrim's filter is `disabled`, for a route or altogether",
        "Envoy fixes a stream's filters at its first route, and a later match does not add a disabled one: one request that is routed twice is enough to get by. A warning where the filter is disabled and every route that is in the file switches it on, as Envoy Gateway has it",
        "leave the filter on; choose the policy by the route's metadata `filter_metadata.scrim.policy`, or a policy without sections";
    /// An upgrade gets other filters.
    Bypassed = "scrim-bypassed",
        "`upgrade_configs` with a filter chain of its own that has no Scrim",
        "a request with `Upgrade: websocket` gets those filters alone, and an upstream that does not upgrade answers it like any other (seen)",
        "leave `filters` out of the upgrade, so that it gets the same chain, or put Scrim's filter first there";
    /// Modules in another order.
    Order = "scrim-order",
        "the single modules do not stand as `cache-control`, `oauth-scope`, `phi-url`, `response-trim`, or one of them is missing or stands after the router",
        "`cache-control` must see the answers of all others, and `phi-url` the request before anything that shows it; without a module its section of the policy is not enforced",
        "the order that `scrim render envoy --modules chain` prints";
    /// Something before Scrim gets the raw URL.
    FilterBefore = "filter-before",
        "a filter before Scrim that sends the URL elsewhere, may do so (scripts, unknown ones), or answers requests itself while traces are on",
        "filters run in order: before Scrim the URL is as the client sent it (seen with `ext_authz`). A request answered there never reaches Scrim, so its span has the raw URL too (seen with `cors`)",
        "put Scrim's filter first";
    /// Something after Scrim gets what a policy lets through.
    FilterAfter = "filter-after",
        "a filter after Scrim, or of a cluster, that sends the URL elsewhere or may do so, where the policy lets PHI through (`observe`, sealed ids, no `phi_url`)",
        "after Scrim the URL is what the upstream gets, and there that is the value itself",
        "let that service get only the headers it needs, or use another action than `observe`";
    /// A cache whose hits skip Scrim.
    CacheBefore = "cache-before",
        "a cache filter before Scrim, or before one of its modules",
        "the cache answers hits itself and fetches misses itself, so no filter after it sees either: the upstream gets the raw URL, no token is checked, nothing trimmed (seen with `cache` and `cache_v2`); and what is kept is keyed by the raw URL",
        "put the cache after Scrim's filter";
    /// Records of whole exchanges.
    Tap = "tap",
        "a tap: the HTTP filter, or the transport socket of a listener or cluster. A warning for `file_system_buffer`, which writes bodies to disk",
        "a tap writes heads and bodies down, the URL among them: streamed ones as they come, buffered ones with what the upstream gets (seen)",
        "take it out";
    /// A log format with URLs.
    LogUrl = "log-url",
        "an access log format that prints the path, a query parameter or a header that holds URLs (Referer, Location ..)",
        "what Scrim rewrites is logged as rewritten, but what a policy lets through is logged as it came; so is a request that Envoy itself refuses before any filter, as for `%2F` in the path or an upgrade (seen: 400 `path_normalization_failed` and 403 `upgrade_failed` print the raw path)",
        "`%FILTER_STATE(wasm.scrim.path:PLAIN)%` prints the path that Scrim declares safe";
    /// Envoy's own format.
    LogDefaultFormat = "log-default-format",
        "an access log without a format",
        "Envoy's own format has `%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%`: safe for requests that Scrim saw, but the raw path for those that Envoy refuses before any filter (seen), for the lines that `flush_access_log_on_new_request` writes at a stream's start (seen), and for all after a route that rewrites the path",
        "give a format, such as the one `scrim render envoy` prints";
    /// A logger that always sends the path.
    LogGrpc = "log-grpc",
        "the HTTP gRPC access logger",
        "its entries always hold `path`, `original_path` and `referer`; no setting leaves them out (seen)",
        "the OpenTelemetry, fluentd or file logger with a format of safe operators";
    /// A format that prints what nobody knows.
    LogUnknown = "log-unknown",
        "an access log format with dynamic metadata, filter state of others, or an operator that is not known here",
        "other filters put into these what they like, paths among it (`header_to_metadata`, `set_filter_state`, scripts)",
        "leave it out, or make sure that it never holds a part of a URL and say `--allow log-unknown`";
    /// Span tags with URLs.
    TraceUrl = "trace-url",
        "a span's tag or name made of the path, a query parameter or a header that holds URLs; the SkyWalking tracer",
        "tags and operations are made at the stream's end from what the upstream got (seen): under `observe` the value itself. (Envoy's own `http.url` prefers `x-envoy-original-path`, which Scrim sets to the safe path.) SkyWalking names spans by the path as the client sent it, whatever Scrim makes of it (seen; not so Zipkin, OpenTelemetry, Datadog, X-Ray, fluentd). A warning where the policy lets nothing through",
        "take the tag out; a literal or `%ROUTE_NAME%` names a span as well";
    /// The router puts the raw path into a header.
    OriginalPath = "original-path",
        "a route that rewrites the path or redirects, with a router that does not have `suppress_envoy_headers`",
        "the router then overwrites `x-envoy-original-path`, which Scrim set to the safe path, with the path it got (seen); Envoy's default log format, gRPC logs and the span tag `http.url` take it from there, and the upstream gets it",
        "`suppress_envoy_headers: true` on the router, as `scrim render envoy` prints it (seen: the header then stays)";
    /// Redirects that Envoy follows.
    InternalRedirect = "internal-redirect",
        "`internal_redirect_policy`",
        "Envoy follows the redirect with the full first URL in `x-envoy-original-url`, to whatever upstream (seen)",
        "let clients follow redirects, so that each URL is judged";
    /// Redirects that say the URL again.
    RedirectEcho = "redirect-echo",
        "a redirect action that keeps the path or the query, where the policy lets PHI through",
        "`Location` repeats what Scrim let through (seen), and so do the histories and logs of whoever follows it",
        "`strip_query: true` and a fixed `path_redirect`";
    /// `%2F` redirected.
    UnescapeRedirect = "unescape-redirect",
        "`path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT`",
        "Envoy answers before any filter with a `Location` that repeats path and query, unjudged (seen)",
        "REJECT_REQUEST";
    /// Headers made of the URL.
    HeaderCopy = "header-copy",
        "a header, filter state or metadata that is made of the URL: before Scrim, or after it where the policy lets PHI through",
        "a copy under another name is not looked at by Scrim (seen with `early_header_mutation_extensions`, `header_mutation`, `set_filter_state` and `header_to_metadata`); on a response it goes to the client and what stands between",
        "take it out";
    /// Rate-limit descriptors of the URL.
    RateLimitUrl = "rate-limit-url",
        "a rate limit whose descriptor is made of the path, a query parameter or a header that holds URLs",
        "descriptors are sent to the rate limit service, which logs and counts by them (seen)",
        "count by something else, such as the route or the client's address";
    /// Envoy's own answers with URLs.
    LocalReplyUrl = "local-reply-url",
        "`local_reply_config` with a body or header made of the URL",
        "it is the client's raw URL where Envoy answers before Scrim, and what the upstream would get elsewhere (seen)",
        "take the operator out";
    /// Copies of requests.
    Mirror = "mirror",
        "`request_mirror_policies`, where the policy lets PHI through",
        "the mirror gets the same URL as the upstream (seen)",
        "mirror only to what may see PHI";
    /// Paths that are not brought into one form.
    Normalization = "normalization",
        "`normalize_path`, `merge_slashes`, `path_with_escaped_slashes_action: REJECT_REQUEST` or `headers_with_underscores_action: REJECT_REQUEST` is missing",
        "Scrim sees through every spelling by itself, but Envoy's route matcher and the upstream may read `//`, `..` or `%2F` otherwise than it; an upstream that takes `_` for `-` reads `x_original_url` as the header that Scrim judged under its right name",
        "the four settings, as `scrim render envoy` prints them";
    /// Headers of Envoy's own from outside.
    Edge = "edge",
        "`use_remote_address: true` is missing",
        "Envoy then takes everybody for inside and keeps the `x-envoy-original-path` that a client sends, which logs and span tags prefer to the path (seen)",
        "`use_remote_address: true` at the edge; behind another proxy that does this, `--allow edge`";
    /// Statistics named by URLs.
    StatsUrl = "stats-url",
        "`grpc_stats` with `stats_for_all_methods`",
        "each path that a client calls as gRPC becomes a statistic's name, which `/stats` shows for as long as Envoy runs: the raw one before Scrim, after it the one that the upstream gets (seen)",
        "name the methods in `individual_method_stats_allowlist`";
    /// The administration interface is open.
    Admin = "admin",
        "the administration interface listens on more than the loopback",
        "whoever reaches it can turn on debug logging, which prints every URL, or attach a tap",
        "bind it to 127.0.0.1, or to a socket in the file system";
    /// What was not looked into.
    NotLookedInto = "not-looked-into",
        "something that this command does not know or that is not in the file",
        "it may show URLs; nobody looked",
        "lint the file it comes from too, or look yourself and say `--allow not-looked-into`";
}

impl Rule {
    /// The rule with this code.
    pub fn named(code: &str) -> Option<Rule> {
        Rule::ALL.iter().copied().find(|rule| rule.code() == code)
    }

    /// The rules as text for a terminal.
    pub fn reference() -> String {
        Rule::ALL
            .iter()
            .map(|rule| {
                format!(
                    "{}\n  finds: {}\n  why:   {}\n  mend:  {}\n",
                    rule.code(),
                    rule.what(),
                    rule.why(),
                    rule.mend()
                )
            })
            .collect::<Vec<_>>()
            .join("\n")
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_one_of_its_own() {
        for rule in Rule::ALL {
            assert_eq!(Rule::named(rule.code()), Some(*rule));
            for text in [rule.what(), rule.why(), rule.mend()] {
                assert!(!text.is_empty() && !text.ends_with('.'), "{rule}: {text}");
            }
        }
        assert_eq!(Rule::named("nothing"), None);
    }
}
