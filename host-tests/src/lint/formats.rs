//! Access logs, span tags, headers and bodies: everything in which Envoy puts format strings.

use scrim_policy::document::{Node, Severity, Value};

use super::config::{Typed, field, is, members, text, text_of, typed_config};
use super::manager::Chain;
use super::operators::{Operator, Prints, is_url_header, operators};
use super::scrim::Lets;
use super::{Linter, Rule};

/// Where a format string stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// An access log of requests.
    Log,
    /// A span's tags and names.
    Trace,
    /// Envoy's own answers.
    LocalReply,
    /// Headers changed before any filter.
    Early,
    /// What a route adds to a request.
    RequestHeader,
    /// What a route adds to a response.
    ResponseHeader,
    /// Where Envoy reads no format.
    Literal,
    /// In the filter at this place of the chain.
    Filter(usize),
    /// Anywhere else.
    Elsewhere,
}

/// The mend for an access log.
const SAFE: &str = "`%FILTER_STATE(wasm.scrim.path:PLAIN)%` prints the path that Scrim declares safe";

impl Linter<'_> {
    /// An access logger and what it prints.
    pub(super) fn access_log(&mut self, entry: &Node) {
        let Some(typed) = typed_config(entry) else {
            let message = "the configuration of this access log is not in this file; lint it where it comes from";
            return self.warn(Rule::NotLookedInto, entry.span, message);
        };
        match typed
            .name
            .strip_prefix("envoy.extensions.access_loggers.")
            .unwrap_or(typed.name)
        {
            "file.v3.FileAccessLog" | "stream.v3.StdoutAccessLog" | "stream.v3.StderrAccessLog" => {
                self.stream_log(entry, typed)
            }
            "grpc.v3.HttpGrpcAccessLogConfig" => {
                let message = "the gRPC access log always sends path, original path and referer; use the OpenTelemetry logger with a format of safe operators";
                self.error(Rule::LogGrpc, entry.span, message);
            }
            // What these print is in their formats, and the TCP one has nothing of a request.
            "open_telemetry.v3.OpenTelemetryAccessLogConfig"
            | "fluentd.v3.FluentdAccessLogConfig"
            | "stats.v3.Config"
            | "grpc.v3.TcpGrpcAccessLogConfig" => {}
            name => {
                let message = format!(
                    "it is not known what access logger `{name}` prints of URLs; look, and say `--allow not-looked-into`"
                );
                self.warn(Rule::NotLookedInto, entry.span, message);
                self.judge(typed.message);
            }
        }
    }

    fn stream_log(&mut self, entry: &Node, typed: Typed<'_>) {
        let format = field(typed.message, "log_format").unwrap_or(typed.message);
        let names = [
            "text_format",
            "text_format_source",
            "json_format",
            "typed_json_format",
            "format",
        ];
        let given = names.iter().find_map(|name| field(format, name));
        match given {
            Some(given) if text(given) != Some("") => {}
            _ => {
                let message = format!(
                    "without a format Envoy prints the raw path of requests that it refuses before any filter; {SAFE}, as in what `scrim render envoy` prints"
                );
                self.error(Rule::LogDefaultFormat, entry.span, message);
            }
        }
    }

    /// Reads every format string in `node`.
    pub(super) fn formats(&mut self, node: &Node, place: Place, chain: &Chain<'_>) {
        if self.judged.contains(&std::ptr::from_ref(node)) && chain_filter(node, chain) {
            return;
        }
        match &node.value {
            Value::String(format) => self.format(node, format, place, chain),
            Value::Sequence(list) => {
                for item in list {
                    self.formats(item, place, chain);
                }
            }
            Value::Mapping(members) => {
                self.named(node, place, chain);
                for (key, value) in members {
                    if is(&key.name, "http_filters") && place == Place::Elsewhere {
                        self.filter_formats(value, chain);
                    } else {
                        self.formats(value, within(&key.name, place), chain);
                    }
                }
            }
            _ => {}
        }
    }

    fn filter_formats(&mut self, filters: &Node, chain: &Chain<'_>) {
        for (place, filter) in super::config::items(filters).iter().enumerate() {
            if !chain.modules.iter().any(|(module, _)| *module == place) {
                self.formats(filter, Place::Filter(place), chain);
            }
        }
    }

    /// Places that name a header instead of having a format, and sources that are not in the file.
    fn named(&mut self, node: &Node, place: Place, chain: &Chain<'_>) {
        if matches!(place, Place::Log) {
            for (key, value) in members(node) {
                for header in super::config::items(value) {
                    let url = text(header).is_some_and(|name| {
                        (is(&key.name, "additional_request_headers_to_log") && is_url_header(name))
                            || (is(&key.name, "additional_response_headers_to_log")
                                && !operators(&format!("%RESP({name})%")).is_empty())
                    });
                    if url {
                        let message = "the access log sends a header that holds URLs; take it out";
                        self.error(Rule::LogUrl, header.span, message);
                    }
                    if is(&key.name, "filter_state_objects_to_log")
                        && !text(header).is_some_and(|name| name.starts_with("wasm.scrim."))
                    {
                        let message = "the access log sends filter state of others, which may hold URLs; take it out, or look and say `--allow log-unknown`";
                        self.warn(Rule::LogUnknown, header.span, message);
                    }
                }
                if is(&key.name, "text_format_source") && field(value, "inline_string").is_none() {
                    let message = "the format is not in this file; write it inline, so that it can be looked into";
                    self.warn(Rule::NotLookedInto, value.span, message);
                }
            }
        }
        if place == Place::Trace {
            if let Some(header) = field(node, "request_header")
                && text_of(header, "name").is_some_and(is_url_header)
            {
                self.trace(header, "a span tag is made of a header that holds URLs", chain);
            }
            if let Some(kind) = field(node, "metadata").and_then(|metadata| field(metadata, "kind"))
                && field(kind, "request").is_some()
            {
                let message = "a span tag is made of dynamic metadata, which may hold URLs; take it out, or look and say `--allow log-unknown`";
                self.warn(Rule::LogUnknown, kind.span, message);
            }
        }
    }

    fn trace(&mut self, node: &Node, what: &str, chain: &Chain<'_>) {
        let severity = match chain.lets {
            Lets::Through | Lets::Unknown => Severity::Error,
            Lets::Nothing => Severity::Warning,
        };
        let message = format!(
            "{what}, and {}; take it out, `%ROUTE_NAME%` names a span as well",
            chain.lets.clause()
        );
        self.tell(Rule::TraceUrl, severity, node.span, message);
    }

    fn format(&mut self, node: &Node, format: &str, place: Place, chain: &Chain<'_>) {
        let found = operators(format);
        let urls = names(&found, Prints::Url);
        let unknown = names(&found, Prints::Unknown);
        if !unknown.is_empty() && matches!(place, Place::Log | Place::Trace) {
            let message = format!(
                "{unknown} may hold URLs; take it out, or make sure that it never does and say `--allow log-unknown`"
            );
            self.warn(Rule::LogUnknown, node.span, message);
        }
        if urls.is_empty() {
            return;
        }
        let clause = chain.lets.clause();
        match place {
            Place::Log => self.error(Rule::LogUrl, node.span, format!("the access log prints {urls}; {SAFE}")),
            Place::Trace => self.trace(node, &format!("a span gets {urls}"), chain),
            Place::LocalReply => {
                let message =
                    format!("Envoy's own answers say {urls}, raw where Envoy answers before Scrim; take it out");
                self.error(Rule::LocalReplyUrl, node.span, message);
            }
            Place::Early => {
                let message = format!("before any filter {urls} is copied to where Scrim does not look; take it out");
                self.error(Rule::HeaderCopy, node.span, message);
            }
            Place::Filter(place) => {
                if let Some(severity) = chain.severity_at(place) {
                    let message = match severity {
                        Severity::Error => format!(
                            "a filter before Scrim copies {urls} to where Scrim does not look; take it out, or put Scrim first"
                        ),
                        Severity::Warning => format!("a filter after Scrim copies {urls}, and {clause}; take it out"),
                    };
                    self.tell(Rule::HeaderCopy, severity, node.span, message);
                }
            }
            Place::RequestHeader if chain.lets != Lets::Nothing => {
                let message = format!("a header to the upstream is made of {urls}, and {clause}; take it out");
                self.warn(Rule::HeaderCopy, node.span, message);
            }
            Place::ResponseHeader if chain.lets != Lets::Nothing => {
                let severity = match chain.lets {
                    Lets::Through => Severity::Error,
                    _ => Severity::Warning,
                };
                let message = format!("a response header is made of {urls}, and {clause}; take it out");
                self.tell(Rule::HeaderCopy, severity, node.span, message);
            }
            Place::RequestHeader | Place::ResponseHeader | Place::Literal => {}
            Place::Elsewhere => {
                let message = format!(
                    "{urls} stands where it is not known what becomes of it; look, and say `--allow not-looked-into`"
                );
                self.warn(Rule::NotLookedInto, node.span, message);
            }
        }
    }
}

/// Whether this part is a filter of Scrim's.
fn chain_filter(node: &Node, chain: &Chain<'_>) -> bool {
    chain
        .modules
        .iter()
        .filter_map(|(place, _)| chain.filters.get(*place))
        .any(|filter| std::ptr::eq(filter, node))
}

/// What a member of this name makes of the place.
fn within(key: &str, place: Place) -> Place {
    let known = [
        ("access_log", Place::Log),
        ("upstream_log", Place::Log),
        ("tracing", Place::Trace),
        // Envoy takes its operation as it stands.
        ("decorator", Place::Literal),
        ("local_reply_config", Place::LocalReply),
        ("early_header_mutation_extensions", Place::Early),
        ("request_headers_to_add", Place::RequestHeader),
        ("response_headers_to_add", Place::ResponseHeader),
    ];
    // An answer's headers stay an answer's.
    if place == Place::LocalReply {
        return place;
    }
    known
        .iter()
        .find(|(name, _)| is(key, name))
        .map_or(place, |(_, known)| *known)
}

/// The operators of a kind, for a message.
fn names(found: &[Operator], prints: Prints) -> String {
    let of_kind = found.iter().filter(|operator| operator.prints == prints);
    of_kind
        .map(|operator| format!("`{}`", operator.text))
        .collect::<Vec<_>>()
        .join(", ")
}
