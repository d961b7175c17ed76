//! Renders the Envoy configuration that puts filters in front of an upstream.
//!
//! 1. One function for all: what `scrim render envoy` prints is what `scrim serve --engine envoy` and the tests run.
//! 2. The output is YAML for people to read and keep: settings in a fixed order, JSON configurations as literal blocks.
//! 3. The filters fail closed, and nothing that the access log prints comes from a URL: its path is the one that
//!    `phi-url` published as safe.
//!
//! ```
//! use scrim::render::{AccessLog, Bootstrap, Sink, Upstream};
//!
//! let upstream = "fhir.internal:8080".parse::<Upstream>()?;
//! let mut bootstrap = Bootstrap::new("127.0.0.1:8000".parse()?, upstream);
//! bootstrap.access_log = Some(AccessLog::standard(Sink::Stdout));
//! assert!(bootstrap.to_yaml().contains("fhir.internal"));
//! # anyhow::Ok(())
//! ```

use crate::exchange::{FailurePolicy, Filter, Metadata, Route};
use anyhow::Context;
use base64::Engine as _;
use saphyr::{Scalar, Yaml, YamlEmitter};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// As the cache-control filter has it: what the proxy answers by itself is never kept either.
const NO_STORE_PRIVATE: &str = "no-store, private";

/// What an Envoy bootstrap is made of.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// Where clients connect; port 0 lets Envoy choose.
    pub listen: SocketAddr,
    /// Where requests go.
    pub upstream: Upstream,
    /// The clusters that filters call.
    pub clusters: Vec<Cluster>,
    /// The filters, outermost first.
    pub filters: Vec<Filter>,
    /// The routes, the first match wins; none: one for everything, named `default`.
    pub routes: Vec<Route>,
    /// Metadata of the virtual host.
    pub virtual_host_metadata: Metadata,
    /// What a connection or a paused body may hold, in bytes.
    pub buffer_limit: Option<u32>,
    /// What the modules see of the environment.
    pub environment: Environment,
    /// What Envoy does with a request before the filters see it.
    pub intake: Intake,
    /// The access log.
    pub access_log: Option<AccessLog>,
    /// The administration interface; it lets anybody who reaches it stop Envoy.
    pub admin: Option<Admin>,
    /// Lines to print at the top, as comments.
    pub comments: Vec<String>,
}

/// A server that requests go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// A name or an IP address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// A cluster that filters call, to fetch keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its name, as in the policy.
    pub name: String,
    /// Where it is.
    pub server: Upstream,
    /// What it speaks.
    pub protocol: Protocol,
    /// How the connection is protected; none: it is not.
    pub tls: Option<Tls>,
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, as gRPC does.
    Http2,
}

/// TLS to a server whose certificate is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The name or IP address that its certificate must have.
    pub host: String,
    /// The certificate authorities to trust, as PEM.
    pub ca_file: PathBuf,
}

/// Where Debian and those after it keep the certificate authorities; Envoy has no default of its own.
pub const CA_FILE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The environment of the modules' VMs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Names that are passed on from Envoy's own environment: the way for secrets, which so are in no file.
    pub host_keys: Vec<String>,
    /// Names and values, written down as they are.
    pub values: BTreeMap<String, String>,
}

/// What Envoy does with a request before the filters see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Intake {
    /// What an edge should do, for deployments:
    ///
    /// 1. The peer is the client: what it says in `x-envoy-*` is dropped (also `x-envoy-original-path`, which would reach
    ///    logs), and its address is added to `x-forwarded-for`.
    /// 2. The path is brought into its canonical form (RFC 3986, section 6.2.2; `//` merged), and `%2F` and `%5C` in it
    ///    are refused with 400, so that Envoy's route matcher and the filters cannot disagree about what a path means.
    /// 3. Header names with underscores are refused, since many upstreams take them for dashes.
    /// 4. What Envoy answers by itself is `no-store, private`, also what no filter sees: 400 and 431 of its codec, 408.
    #[default]
    Edge,
    /// Nothing: for tests that prove that the filters by themselves see through every spelling. Connections are closed
    /// without the usual second's delay, which a test would wait for.
    Raw,
}

/// An access log of one JSON object a line, one line a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// Where the lines go.
    pub sink: Sink,
    /// Names and Envoy's command operators (`%RESPONSE_CODE%`), in order.
    pub fields: Vec<(String, String)>,
}

/// Where a log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// Standard output.
    Stdout,
    /// This file; lines are appended.
    File(PathBuf),
}

/// Where the administration interface is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admin {
    /// A port.
    Tcp(SocketAddr),
    /// A socket in the file system, for its owner only.
    Socket(PathBuf),
}

impl AccessLog {
    /// The log of the contract: who, when and what came of it, without `:path`, which may hold PHI.
    pub fn standard(sink: Sink) -> Self {
        let fields = [
            ("time", "%START_TIME%"),
            ("request_id", "%REQ(X-REQUEST-ID)%"),
            ("method", "%REQ(:METHOD)%"),
            ("path", "%FILTER_STATE(wasm.scrim.path:PLAIN)%"),
            ("route", "%ROUTE_NAME%"),
            ("status", "%RESPONSE_CODE%"),
            ("details", "%RESPONSE_CODE_DETAILS%"),
            ("flags", "%RESPONSE_FLAGS%"),
            ("duration_ms", "%DURATION%"),
            ("bytes_received", "%BYTES_RECEIVED%"),
            ("bytes_sent", "%BYTES_SENT%"),
            ("audit", "%FILTER_STATE(wasm.scrim.audit:PLAIN)%"),
        ];
        Self {
            sink,
            fields: fields.map(|(name, format)| (name.to_owned(), format.to_owned())).into(),
        }
    }

    /// Prints nothing but this filter state, each under its own name.
    pub fn filter_state(sink: Sink, names: &[String]) -> Self {
        let field = |name: &String| (name.clone(), format!("%FILTER_STATE(wasm.{name}:PLAIN)%"));
        Self {
            sink,
            fields: names.iter().map(field).collect(),
        }
    }
}

impl FromStr for Upstream {
    type Err = anyhow::Error;

    /// Reads `host:port`, `1.2.3.4:80` or `[::1]:80`.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let wanted = || format!("`{text}` is no upstream; write host:port, such as `127.0.0.1:8080`");
        let (host, port) = text.rsplit_once(':').with_context(wanted)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let plain = |host: &str| {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        };
        let host = match bracketed {
            Some(address) => address
                .parse::<std::net::Ipv6Addr>()
                .ok()
                .map(|address| address.to_string()),
            None => plain(host).then(|| host.to_owned()),
        };
        let port = port.parse().ok().filter(|port| *port != 0);
        Ok(Self {
            host: host.with_context(wanted)?,
            port: port.with_context(wanted)?,
        })
    }
}

impl From<SocketAddr> for Upstream {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: address.ip().to_string(),
            port: address.port(),
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl Bootstrap {
    /// A bootstrap without filters, for everything on `listen` to `upstream`.
    pub fn new(listen: SocketAddr, upstream: Upstream) -> Self {
        Self {
            listen,
            upstream,
            clusters: Vec::new(),
            filters: Vec::new(),
            routes: Vec::new(),
            virtual_host_metadata: Metadata::new(),
            buffer_limit: None,
            environment: Environment::default(),
            intake: Intake::default(),
            access_log: None,
            admin: None,
            comments: Vec::new(),
        }
    }

    /// The configuration as YAML, comments first.
    pub fn to_yaml(&self) -> String {
        let comments: String = self
            .comments
            .iter()
            .flat_map(|text| text.lines())
            .map(|line| format!("# {line}").trim_end().to_owned() + "\n")
            .collect();
        comments + &emit(&self.document(Vec::new()))
    }

    /// The configuration as data, with more listeners after the main one.
    pub(crate) fn document(&self, more: Vec<(Yaml<'static>, Option<Yaml<'static>>)>) -> Yaml<'static> {
        let (listeners, clusters): (Vec<_>, Vec<_>) = more.into_iter().unzip();
        let listeners = [self.listener(LISTENER, self.listen, CLUSTER)]
            .into_iter()
            .chain(listeners);
        let clusters = [cluster(CLUSTER, &self.upstream)]
            .into_iter()
            .chain(self.clusters.iter().map(Cluster::entry))
            .chain(clusters.into_iter().flatten());
        let mut entries = Vec::new();
        if let Some(admin) = &self.admin {
            let address = match admin {
                Admin::Tcp(address) => socket_address(*address),
                Admin::Socket(path) => map([("pipe", map([("path", text(path.display())), ("mode", number(0o600))]))]),
            };
            entries.push(("admin", map([("address", address)])));
        }
        entries.push((
            "static_resources",
            map([("listeners", list(listeners)), ("clusters", list(clusters))]),
        ));
        entries.push(("overload_manager", overload_manager()));
        map(entries)
    }

    /// A listener with the whole chain, whose routes all lead to `cluster`.
    pub(crate) fn listener(&self, name: &str, address: SocketAddr, cluster: &str) -> Yaml<'static> {
        let mut manager = vec![
            (
                "@type",
                type_url("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
            ),
            ("stat_prefix", text(name)),
        ];
        if let Some(log) = &self.access_log {
            manager.push(("access_log", list([access_log(log)])));
        }
        let mut protocol = vec![("idle_timeout", text("300s"))];
        match self.intake {
            Intake::Edge => {
                manager.extend([
                    ("use_remote_address", truth(true)),
                    ("normalize_path", truth(true)),
                    ("merge_slashes", truth(true)),
                    ("path_with_escaped_slashes_action", text("REJECT_REQUEST")),
                ]);
                protocol.push(("headers_with_underscores_action", text("REJECT_REQUEST")));
                manager.push(("local_reply_config", local_replies()));
            }
            Intake::Raw => manager.extend([
                ("normalize_path", truth(false)),
                ("merge_slashes", truth(false)),
                ("path_with_escaped_slashes_action", text("KEEP_UNCHANGED")),
                ("delayed_close_timeout", text("0.02s")),
            ]),
        }
        manager.extend([
            ("common_http_protocol_options", map(protocol)),
            ("http_protocol_options", map([("enable_trailers", truth(true))])),
            ("http2_protocol_options", map([("max_concurrent_streams", number(100))])),
            ("stream_idle_timeout", text("300s")),
            ("request_headers_timeout", text("10s")),
            ("route_config", self.route_config(cluster)),
            (
                "http_filters",
                list(
                    self.filters
                        .iter()
                        .map(|filter| self.wasm(filter, "http"))
                        .chain([router()]),
                ),
            ),
        ]);
        let filter = map([
            ("name", text("envoy.filters.network.http_connection_manager")),
            ("typed_config", map(manager)),
        ]);
        let limit = self.buffer_limit.unwrap_or(BUFFER_LIMIT);
        map([
            ("name", text(name)),
            ("address", socket_address(address)),
            ("per_connection_buffer_limit_bytes", number(limit.into())),
            ("filter_chains", list([map([("filters", list([filter]))])])),
        ])
    }

    /// A listener with the filters as network filters, in front of the TCP proxy to the upstream.
    pub(crate) fn tcp_listener(&self, name: &str, address: SocketAddr) -> Yaml<'static> {
        let proxy = map([
            (
                "@type",
                type_url("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"),
            ),
            ("stat_prefix", text(name)),
            ("cluster", text(CLUSTER)),
        ]);
        let proxy = map([
            ("name", text("envoy.filters.network.tcp_proxy")),
            ("typed_config", proxy),
        ]);
        let filters = self.filters.iter().map(|filter| self.wasm(filter, "network"));
        map([
            ("name", text(name)),
            ("address", socket_address(address)),
            (
                "filter_chains",
                list([map([("filters", list(filters.chain([proxy])))])]),
            ),
        ])
    }

    fn route_config(&self, cluster: &str) -> Yaml<'static> {
        let everything = [Route {
            name: "default".to_owned(),
            prefix: "/".to_owned(),
            metadata: Metadata::new(),
        }];
        let routes = if self.routes.is_empty() {
            &everything[..]
        } else {
            &self.routes
        };
        let mut host = vec![("name", text("all")), ("domains", list([text("*")]))];
        host.extend(metadata(&self.virtual_host_metadata));
        host.push(("routes", list(routes.iter().map(|known| route(known, cluster)))));
        map([("name", text("routes")), ("virtual_hosts", list([map(host)]))])
    }

    /// A filter of this layer: `http` or `network`.
    fn wasm(&self, filter: &Filter, layer: &str) -> Yaml<'static> {
        let file = map([("local", map([("filename", text(filter.module.display()))]))]);
        let mut vm = vec![
            ("vm_id", text(filter.vm_id())),
            ("runtime", text("envoy.wasm.runtime.v8")),
            ("code", file),
        ];
        if !filter.vm_configuration.is_empty() {
            vm.push(("configuration", configuration(&filter.vm_configuration)));
        }
        vm.extend(self.environment.entry());
        let failure_policy = match filter.failure_policy {
            FailurePolicy::Closed => "FAIL_CLOSED",
            FailurePolicy::Open => "FAIL_OPEN",
            FailurePolicy::Reload => "FAIL_RELOAD",
        };
        let mut config = vec![
            ("name", text(&filter.name)),
            ("root_id", text(&filter.root_id)),
            ("vm_config", map(vm)),
            ("configuration", configuration(&filter.configuration)),
            ("failure_policy", text(failure_policy)),
        ];
        if filter.allow_on_headers_stop_iteration {
            config.push(("allow_on_headers_stop_iteration", truth(true)));
        }
        let typed = map([
            (
                "@type",
                type_url(&format!("envoy.extensions.filters.{layer}.wasm.v3.Wasm")),
            ),
            ("config", map(config)),
        ]);
        map([("name", text(&filter.name)), ("typed_config", typed)])
    }
}

impl Cluster {
    fn entry(&self) -> Yaml<'static> {
        let mut entry = cluster_of(&self.name, &self.server, self.protocol);
        if let (Some(tls), Yaml::Mapping(entries)) = (&self.tls, &mut entry) {
            entries.insert(text("transport_socket"), tls.entry());
        }
        entry
    }
}

impl Tls {
    fn entry(&self) -> Yaml<'static> {
        let kind = match self.host.parse::<IpAddr>() {
            Ok(_) => "IP_ADDRESS",
            Err(_) => "DNS",
        };
        let name = map([
            ("san_type", text(kind)),
            ("matcher", map([("exact", text(&self.host))])),
        ]);
        let validation = map([
            ("trusted_ca", map([("filename", text(self.ca_file.display()))])),
            ("match_typed_subject_alt_names", list([name])),
        ]);
        let mut context = vec![(
            "@type",
            type_url("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"),
        )];
        // RFC 6066 section 3: no IP addresses.
        if kind == "DNS" {
            context.push(("sni", text(&self.host)));
        }
        context.push(("common_tls_context", map([("validation_context", validation)])));
        map([
            ("name", text("envoy.transport_sockets.tls")),
            ("typed_config", map(context)),
        ])
    }
}

impl Environment {
    fn entry(&self) -> Option<(&'static str, Yaml<'static>)> {
        let mut entries = Vec::new();
        if !self.host_keys.is_empty() {
            entries.push(("host_env_keys", list(self.host_keys.iter().map(text))));
        }
        if !self.values.is_empty() {
            entries.push(("key_values", strings(&self.values)));
        }
        (!entries.is_empty()).then(|| ("environment_variables", map(entries)))
    }
}

/// The main listener's name.
pub const LISTENER: &str = "scrim";
/// The upstream's cluster.
pub const CLUSTER: &str = "upstream";
/// Envoy's own default, written out since a paused body has to fit.
const BUFFER_LIMIT: u32 = 1 << 20;

/// A cluster of one server.
pub(crate) fn cluster(name: &str, upstream: &Upstream) -> Yaml<'static> {
    cluster_of(name, upstream, Protocol::Http1)
}

fn cluster_of(name: &str, upstream: &Upstream, protocol: Protocol) -> Yaml<'static> {
    let address = map([
        ("address", text(&upstream.host)),
        ("port_value", number(upstream.port.into())),
    ]);
    let endpoint = map([("endpoint", map([("address", map([("socket_address", address)]))]))]);
    let endpoints = list([map([("lb_endpoints", list([endpoint]))])]);
    let discovery = if upstream.host.parse::<IpAddr>().is_ok() {
        "STATIC"
    } else {
        "STRICT_DNS"
    };
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let http = match protocol {
        Protocol::Http1 => map([("http_protocol_options", map([("enable_trailers", truth(true))]))]),
        Protocol::Http2 => map([("http2_protocol_options", map([("max_concurrent_streams", number(100))]))]),
    };
    let typed = map([("@type", type_url(options)), ("explicit_http_config", http)]);
    map([
        ("name", text(name)),
        ("type", text(discovery)),
        ("connect_timeout", text("2s")),
        ("typed_extension_protocol_options", map([(options, typed)])),
        (
            "load_assignment",
            map([("cluster_name", text(name)), ("endpoints", endpoints)]),
        ),
    ])
}

/// Makes every answer of Envoy's own `no-store, private`. A cache may store a 404, 405, 410, 414 or 501 that says nothing else (RFC 9110 15.1).
fn local_replies() -> Yaml<'static> {
    let any_status = map([
        ("op", text("GE")),
        (
            "value",
            map([
                ("default_value", number(0)),
                ("runtime_key", text("scrim.local_reply_status")),
            ]),
        ),
    ]);
    let header = map([("key", text("cache-control")), ("value", text(NO_STORE_PRIVATE))]);
    let mapper = map([
        (
            "filter",
            map([("status_code_filter", map([("comparison", any_status)]))]),
        ),
        (
            "headers_to_add",
            list([map([
                ("header", header),
                ("append_action", text("OVERWRITE_IF_EXISTS_OR_ADD")),
            ])]),
        ),
    ]);
    map([("mappers", list([mapper]))])
}

/// The YAML text of a document.
pub(crate) fn emit(document: &Yaml<'_>) -> String {
    let mut text = String::new();
    let mut emitter = YamlEmitter::new(&mut text);
    emitter.multiline(true);
    // Writing to a string cannot fail, and no node has a style that the emitter lacks.
    let _ = emitter.dump(document);
    let body = text.strip_prefix("---\n").unwrap_or(&text);
    format!("{}\n", body.trim_end_matches('\n'))
}

pub(crate) fn map<K: AsRef<str>>(entries: impl IntoIterator<Item = (K, Yaml<'static>)>) -> Yaml<'static> {
    Yaml::Mapping(
        entries
            .into_iter()
            .map(|(key, value)| (text(key.as_ref()), value))
            .collect(),
    )
}

pub(crate) fn list(items: impl IntoIterator<Item = Yaml<'static>>) -> Yaml<'static> {
    Yaml::Sequence(items.into_iter().collect())
}

pub(crate) fn text(value: impl fmt::Display) -> Yaml<'static> {
    Yaml::Value(Scalar::String(value.to_string().into()))
}

pub(crate) fn number(value: i64) -> Yaml<'static> {
    Yaml::Value(Scalar::Integer(value))
}

pub(crate) fn type_url(name: &str) -> Yaml<'static> {
    text(format_args!("type.googleapis.com/{name}"))
}

pub(crate) fn socket_address(address: SocketAddr) -> Yaml<'static> {
    map([(
        "socket_address",
        map([
            ("address", text(address.ip())),
            ("port_value", number(address.port().into())),
        ]),
    )])
}

pub(crate) fn router() -> Yaml<'static> {
    // Envoy's own `x-envoy-*` lines tell clients and upstreams about the inside.
    let typed = map([
        ("@type", type_url("envoy.extensions.filters.http.router.v3.Router")),
        ("suppress_envoy_headers", truth(true)),
    ]);
    map([("name", text("envoy.filters.http.router")), ("typed_config", typed)])
}

pub(crate) fn access_log(log: &AccessLog) -> Yaml<'static> {
    let format = map([(
        "json_format",
        map(log.fields.iter().map(|(name, format)| (name, text(format)))),
    )]);
    let (name, typed) = match &log.sink {
        Sink::Stdout => (
            "envoy.access_loggers.stdout",
            vec![(
                "@type",
                type_url("envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"),
            )],
        ),
        Sink::File(path) => (
            "envoy.access_loggers.file",
            vec![
                (
                    "@type",
                    type_url("envoy.extensions.access_loggers.file.v3.FileAccessLog"),
                ),
                ("path", text(path.display())),
            ],
        ),
    };
    map([
        ("name", text(name)),
        ("typed_config", map(typed.into_iter().chain([("log_format", format)]))),
    ])
}

pub(crate) fn truth(value: bool) -> Yaml<'static> {
    Yaml::Value(Scalar::Boolean(value))
}

fn strings(of: &BTreeMap<String, String>) -> Yaml<'static> {
    map(of.iter().map(|(key, value)| (key, text(value))))
}

fn route(known: &Route, cluster: &str) -> Yaml<'static> {
    let mut entries = vec![
        ("name", text(&known.name)),
        ("match", map([("prefix", text(&known.prefix))])),
    ];
    entries.extend(metadata(&known.metadata));
    entries.push(("route", map([("cluster", text(cluster)), ("timeout", text("60s"))])));
    map(entries)
}

fn metadata(of: &Metadata) -> Option<(&'static str, Yaml<'static>)> {
    let filters = map(of.iter().map(|(filter, values)| (filter, strings(values))));
    (!of.is_empty()).then(|| ("metadata", map([("filter_metadata", filters)])))
}

/// A plugin configuration: a string where it is text, as JSON is, so that the module gets exactly these bytes.
fn configuration(bytes: &[u8]) -> Yaml<'static> {
    let (kind, value) = match std::str::from_utf8(bytes) {
        Ok(string) => ("google.protobuf.StringValue", text(string)),
        Err(_) => (
            "google.protobuf.BytesValue",
            text(base64::engine::general_purpose::STANDARD.encode(bytes)),
        ),
    };
    map([("@type", type_url(kind)), ("value", value)])
}

/// Without a limit on connections Envoy warns that it can be drowned.
fn overload_manager() -> Yaml<'static> {
    let kind = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig";
    let typed = map([
        ("@type", type_url(kind)),
        ("max_active_downstream_connections", number(10_000)),
    ]);
    let monitor = map([
        (
            "name",
            text("envoy.resource_monitors.global_downstream_max_connections"),
        ),
        ("typed_config", typed),
    ]);
    map([("resource_monitors", list([monitor]))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use saphyr::LoadableYamlNode as _;

    #[cfg(feature = "policy")]
    #[test]
    fn the_proxys_own_answers_are_kept_no_more_than_the_filters() {
        assert_eq!(NO_STORE_PRIVATE, scrim_policy::cache_control::NO_STORE_PRIVATE);
    }

    fn full() -> Bootstrap {
        let mut bootstrap = Bootstrap::new("127.0.0.1:8000".parse().unwrap(), "fhir.internal:8080".parse().unwrap());
        let metadata = |policy: &str| {
            Metadata::from([(
                "scrim".to_owned(),
                BTreeMap::from([("policy".to_owned(), policy.to_owned())]),
            )])
        };
        bootstrap.filters = vec![Filter {
            name: "scrim-suite".to_owned(),
            root_id: "suite".to_owned(),
            module: PathBuf::from("/etc/scrim/suite.wasm"),
            configuration: b"{\n  \"version\": 1\n}\n".to_vec(),
            allow_on_headers_stop_iteration: true,
            ..Filter::default()
        }];
        bootstrap.routes = vec![Route {
            name: "search".to_owned(),
            prefix: "/fhir/".to_owned(),
            metadata: metadata("search"),
        }];
        bootstrap.virtual_host_metadata = metadata("123");
        bootstrap.environment.host_keys = vec!["SCRIM_PSEUDONYM_KEY".to_owned()];
        bootstrap.environment.values = BTreeMap::from([("A".to_owned(), "yes".to_owned())]);
        bootstrap.access_log = Some(AccessLog::standard(Sink::File(PathBuf::from("/var/log/scrim.json"))));
        bootstrap.admin = Some(Admin::Tcp("127.0.0.1:9901".parse().unwrap()));
        bootstrap.comments = vec!["Two\nlines".to_owned()];
        bootstrap.clusters = vec![Cluster {
            name: "idp".to_owned(),
            server: "idp.internal:8443".parse().unwrap(),
            protocol: Protocol::Http1,
            tls: Some(Tls {
                host: "idp.example.org".to_owned(),
                ca_file: PathBuf::from(CA_FILE),
            }),
        }];
        bootstrap
    }

    #[test]
    fn text_and_data_are_the_same() {
        let bootstrap = full();
        let text = bootstrap.to_yaml();
        let read = Yaml::load_from_str(&text).unwrap();
        assert_eq!(read, [bootstrap.document(Vec::new())], "{text}");
    }

    #[test]
    fn it_reads_well() {
        let text = full().to_yaml();
        for wanted in [
            "# Two\n# lines\nadmin:\n",
            " value: |\n                            {\n                              \"version\": 1\n                            }\n",
            "policy: \"123\"\n",
            "A: \"yes\"\n",
            "failure_policy: FAIL_CLOSED\n",
            "allow_on_headers_stop_iteration: true\n",
            "- SCRIM_PSEUDONYM_KEY\n",
            "type: STRICT_DNS\n",
            "normalize_path: true\n",
            "sni: idp.example.org\n",
            "exact: idp.example.org\n",
        ] {
            assert!(text.contains(wanted), "{wanted:?} is not in:\n{text}");
        }
    }

    #[test]
    fn the_access_log_prints_no_url() {
        let log = AccessLog::standard(Sink::Stdout);
        for leak in [
            ":PATH",
            "ORIGINAL-PATH",
            "REFERER",
            "AUTHORITY",
            "USER-AGENT",
            "DOWNSTREAM",
        ] {
            assert!(
                !log.fields
                    .iter()
                    .any(|(_, format)| format.to_uppercase().contains(leak)),
                "{leak}"
            );
        }
    }

    #[test]
    fn bytes_that_are_no_text_reach_the_module_too() {
        let mut bootstrap = full();
        bootstrap.filters[0].configuration = vec![0xff, 0x00];
        let text = bootstrap.to_yaml();
        assert!(
            text.contains("google.protobuf.BytesValue") && text.contains("value: /wA="),
            "{text}"
        );
    }

    #[test]
    fn upstreams_are_read() {
        for (text, host) in [
            ("127.0.0.1:80", "127.0.0.1"),
            ("[::1]:80", "::1"),
            ("ehr_1.example.org:80", "ehr_1.example.org"),
        ] {
            let upstream: Upstream = text.parse().unwrap();
            assert_eq!((upstream.host.as_str(), upstream.port), (host, 80));
            assert_eq!(upstream.to_string(), text);
        }
        for text in [
            "",
            "host",
            ":80",
            "host:0",
            "host:99999",
            "http://host:80",
            "a b:80",
            "::1:80",
        ] {
            assert!(text.parse::<Upstream>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_configuration_survives(configuration in "[ -~\n\té€]{0,60}") {
            let mut bootstrap = full();
            bootstrap.filters[0].configuration = configuration.into_bytes();
            let text = bootstrap.to_yaml();
            prop_assert_eq!(&Yaml::load_from_str(&text).unwrap(), &[bootstrap.document(Vec::new())], "{}", text);
        }
    }
}
