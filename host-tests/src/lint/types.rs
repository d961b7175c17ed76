//! The search for typed configurations that no rule knows.

use scrim_policy::document::Node;

use super::config::{items, members, typed};
use super::filters::{Role, role};
use super::{Linter, Rule};

/// Beginnings of types that hold nothing about URLs, or whose format strings are read wherever they stand.
const KNOWN: [&str; 46] = [
    "envoy.admin.",
    "envoy.config.",
    "envoy.data.",
    "envoy.service.",
    "envoy.type.",
    "envoy.extensions.access_loggers.file.",
    "envoy.extensions.access_loggers.filters.",
    "envoy.extensions.access_loggers.fluentd.",
    "envoy.extensions.access_loggers.grpc.",
    "envoy.extensions.access_loggers.open_telemetry.",
    "envoy.extensions.access_loggers.stats.",
    "envoy.extensions.access_loggers.stream.",
    "envoy.extensions.bootstrap.internal_listener.",
    "envoy.extensions.clusters.",
    "envoy.extensions.compression.",
    "envoy.extensions.common.",
    "envoy.extensions.early_data.",
    "envoy.extensions.filters.listener.",
    "envoy.extensions.formatter.cel.",
    "envoy.extensions.formatter.metadata.",
    "envoy.extensions.formatter.req_without_query.",
    "envoy.extensions.health_check",
    "envoy.extensions.http.cache",
    "envoy.extensions.http.early_header_mutation.header_mutation.",
    "envoy.extensions.http.header_formatters.preserve_case.",
    "envoy.extensions.http.header_validators.",
    "envoy.extensions.http.injected_credentials.",
    "envoy.extensions.http.original_ip_detection.",
    "envoy.extensions.http.stateful_session.",
    "envoy.extensions.internal_redirect.",
    "envoy.extensions.load_balancing_policies.",
    "envoy.extensions.matching.",
    "envoy.extensions.network.",
    "envoy.extensions.outlier_detection_monitors.",
    "envoy.extensions.path.",
    "envoy.extensions.quic.",
    "envoy.extensions.rate_limit_descriptors.",
    "envoy.extensions.regex_engines.",
    "envoy.extensions.request_id.",
    "envoy.extensions.resource_monitors.",
    "envoy.extensions.retry.",
    "envoy.extensions.stat_sinks.",
    "envoy.extensions.transport_sockets.",
    "envoy.extensions.upstreams.",
    "google.protobuf.",
    "xds.",
];

/// Network filters that are no way for HTTP past Scrim, or that have a rule.
const NETWORK: [&str; 16] = [
    "http_connection_manager",
    "connection_limit",
    "direct_response",
    "echo",
    "ext_authz",
    "geoip",
    "local_ratelimit",
    "mongo_proxy",
    "ratelimit",
    "rbac",
    "redis_proxy",
    "set_filter_state",
    "sni_cluster",
    "sni_dynamic_forward_proxy",
    "tcp_proxy",
    "zookeeper_proxy",
];

/// Tracers whose spans have the URL in `http.url` and nowhere else (seen with each).
const TRACERS: [&str; 2] = ["opentelemetry", "fluentd"];
const OLD_TRACERS: [&str; 4] = ["ZipkinConfig", "OpenTelemetryConfig", "DatadogConfig", "XRayConfig"];
/// One that names spans by the path as it comes.
const SKYWALKING: &str = "envoy.config.trace.v3.SkyWalkingConfig";

impl Linter<'_> {
    /// Tells taps and unknown types everywhere in the document.
    pub(super) fn types(&mut self, node: &Node) {
        let tapped = typed(node).is_some_and(|typed| typed.name.starts_with("envoy.extensions.transport_sockets.tap."));
        if tapped {
            let message = "a tap on a transport socket writes down every byte; take it out";
            self.error(Rule::Tap, node.span, message);
        } else if typed(node).is_some_and(|typed| typed.name == SKYWALKING) {
            let message = "SkyWalking's spans are named by the path as it comes, before any filter; use another tracer";
            self.error(Rule::TraceUrl, node.span, message);
        } else if self.judged.contains(&std::ptr::from_ref(node))
            // What is used of it stands in its filter's place.
            || typed(node).is_some_and(|typed| typed.name == "envoy.admin.v3.EcdsConfigDump")
        {
            return;
        } else if let Some(typed) = typed(node)
            && !known(typed.name)
        {
            let message = format!(
                "it is not known what `{}` does with URLs; look, and say `--allow not-looked-into`",
                typed.name
            );
            self.warn(Rule::NotLookedInto, node.span, message);
        }
        for (_, member) in members(node) {
            self.types(member);
        }
        for item in items(node) {
            self.types(item);
        }
    }
}

fn known(name: &str) -> bool {
    let package = |prefix: &str| name.strip_prefix(prefix).and_then(|rest| rest.split('.').next());
    // Modules of anybody's do what they like, wherever they are.
    if name.contains("dynamic_module") || name.contains(".wasm.") || name.contains(".golang.") {
        return false;
    }
    if let Some(tracer) = name.strip_prefix("envoy.config.trace.v3.") {
        return OLD_TRACERS.contains(&tracer);
    }
    match (
        package("envoy.extensions.filters.network."),
        package("envoy.extensions.tracers."),
    ) {
        (Some(filter), _) => NETWORK.contains(&filter),
        (_, Some(tracer)) => TRACERS.contains(&tracer),
        _ if name.starts_with("envoy.extensions.filters.http.") => role(name) != Role::Unknown,
        _ => KNOWN.iter().any(|known| name.starts_with(known)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_known_or_not() {
        for (name, wanted) in [
            ("envoy.config.trace.v3.ZipkinConfig", true),
            ("envoy.config.trace.v3.LightstepConfig", false),
            ("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", true),
            (
                "envoy.extensions.transport_sockets.dynamic_modules.v3.DynamicModuleTransportSocket",
                false,
            ),
            ("envoy.extensions.filters.http.lua.v3.LuaPerRoute", true),
            ("envoy.extensions.filters.http.mcp.v3.Mcp", false),
            ("envoy.extensions.filters.network.generic_proxy.v3.GenericProxy", false),
            ("envoy.extensions.stat_sinks.wasm.v3.Wasm", false),
            ("com.example.Mine", false),
        ] {
            assert_eq!(known(name), wanted, "{name}");
        }
    }
}
