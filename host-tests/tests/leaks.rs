//! The leak sweep: values planted in URLs, in every spelling and place, and then looked for in everything that leaves a real Envoy with the suite in it.
//!
//! 1. Each request is one [`Plant`] under one action (`reject`, `mask`, `strip`, `tokenize`, `observe`), through a listener with the settings
//!    that `scrim render envoy` prints and through one that normalises nothing.
//! 2. Looked through are: what the upstream gets (request line, headers, body), Envoy's default access log, the rendered JSON access log, the
//!    spans that a collector gets, the answer's headers and body, what Envoy logs at `info` and the plugins at `debug`, `/stats` and `/stats/prometheus`.
//! 3. A value counts as found in any decoding: percent-decoded again and again, JSON's `\u`, full-width letters and digits, any case,
//!    the SSN with and without its dashes.
//! 4. It may be in none of them, but for the upstream under `observe`.
//!
//! Out of scope: Envoy's own log at `debug` and below, which prints every request's head.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use scrim::cases::Modules;
use scrim::envoy::{Envoy, Line, Process};
use scrim::gateway;
use scrim::policy_file::PolicyFile;
use scrim::render::{AccessLog, Admin, Bootstrap, LISTENER, Sink};

const PATIENCE: Duration = Duration::from_secs(10);
const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Base64 of `synthetic-test-key-not-a-secret!`.
const KEY: &str = "c3ludGhldGljLXRlc3Qta2V5LW5vdC1hLXNlY3JldCE=";

/// A name, for parameters and ids that carry PHI whatever their value is.
const NAME: &str = "zquillfeather";
/// A number, for what only a recogniser can find.
const SSN: &str = "536-22-8741";

const ACTIONS: [&str; 6] = ["reject", "mask", "strip", "tokenize", "seal", "observe"];
/// The listener that normalises nothing; the other is [`LISTENER`].
const RAW: &str = "raw";

/// Something planted.
struct Plant {
    name: String,
    method: &'static str,
    /// The target; `{}` is where the action's prefix stands.
    target: String,
    headers: Vec<(&'static str, String)>,
    /// The response header in which the upstream says the value.
    answered_in: &'static str,
}

/// A place where a value was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Leak {
    action: &'static str,
    plant: String,
    listener: &'static str,
    sink: &'static str,
}

#[test]
fn nothing_leaves_but_what_the_policy_lets_through() {
    let Some(envoy) = Envoy::in_tests() else { return };
    let mut gateway = Gateway::start(&envoy);
    let mut leaks = BTreeSet::new();
    let mut requests = 0;
    let mut observed = 0;
    for listener in [LISTENER, RAW] {
        for action in ACTIONS {
            for plant in plants().iter().filter(|plant| applies(action, plant)) {
                requests += 1;
                let exchange = gateway.ask(listener, action, plant);
                observed += usize::from(action == "observe" && holds(&exchange.upstream));
                for (sink, content) in exchange.sinks() {
                    // What is observed passes, both ways.
                    if holds(content) && !(action == "observe" && ["upstream", "answer"].contains(&sink)) {
                        leaks.insert(Leak {
                            action,
                            plant: plant.name.clone(),
                            listener,
                            sink,
                        });
                    }
                }
            }
        }
    }
    for (row, span) in gateway.spans(requests) {
        if holds(span.as_bytes()) {
            let mut parts = row.splitn(3, '|');
            let mut part = || parts.next().unwrap_or_default().to_owned();
            let (listener, action, plant) = (part(), part(), part());
            leaks.insert(Leak {
                action: ACTIONS.into_iter().find(|known| *known == action).unwrap_or("?"),
                plant,
                listener: if listener == RAW { RAW } else { LISTENER },
                sink: "trace",
            });
        }
    }
    for (sink, content) in gateway.whole() {
        assert!(!content.is_empty() || sink.starts_with("log"), "{sink} is empty");
        assert!(!holds(content.as_bytes()), "a planted value is in the {sink}");
    }
    let told: String = leaks
        .iter()
        .map(|leak| {
            format!(
                "  {}, {}, {} listener: {}\n",
                leak.action, leak.plant, leak.listener, leak.sink
            )
        })
        .collect();
    assert!(
        observed > 100,
        "only {observed} plants reach the upstream under `observe`: this test looks for nothing"
    );
    println!("{requests} requests");
    assert!(told.is_empty(), "planted values were found:\n{told}");
}

/// Why `scrim lint` takes Envoy's default format for a leak: what Envoy refuses before any filter is in it as it came, and in nothing else.
#[test]
fn what_envoy_refuses_itself_is_in_its_default_log_only() {
    let Some(envoy) = Envoy::in_tests() else { return };
    let mut gateway = Gateway::start(&envoy);
    let plant = |name: &str, target: String, headers: Vec<(&'static str, String)>| Plant {
        name: name.to_owned(),
        method: "GET",
        target,
        headers,
        answered_in: "",
    };
    let upgrade = vec![
        ("upgrade", "websocket".to_owned()),
        ("connection", "upgrade".to_owned()),
    ];
    for (plant, status) in [
        (
            plant("escaped slash", format!("{{}}/Patient/{NAME}%2F1"), Vec::new()),
            "400",
        ),
        (plant("fragment", format!("{{}}/Patient#{NAME}"), Vec::new()), "400"),
        (plant("upgrade", format!("{{}}/Patient/{NAME}"), upgrade), "403"),
    ] {
        let exchange = gateway.ask(LISTENER, "reject", &plant);
        assert!(
            String::from_utf8_lossy(&exchange.answer).starts_with(&format!("HTTP/1.1 {status} ")),
            "{}",
            plant.name
        );
        let found: Vec<&str> = exchange
            .sinks()
            .into_iter()
            .filter(|(_, content)| holds(content))
            .map(|(sink, _)| sink)
            .collect();
        assert_eq!(found, ["default log"], "{}", plant.name);
    }
    assert!(gateway.spans(0).is_empty(), "such requests have no spans");
}

#[test]
fn a_value_is_found_in_any_spelling() {
    for text in [
        NAME.to_owned(),
        NAME.to_uppercase(),
        percent(NAME),
        percent(&percent(NAME)),
        percent(&percent(&percent(&wide(SSN)))),
        wide(NAME),
        percent(&wide(SSN)),
        SSN.to_owned(),
        SSN.replace('-', ""),
        SSN.replace('-', "%20"),
        "z\\u0071uillfeather".to_owned(),
    ] {
        assert!(holds(format!("a/{text}?").as_bytes()), "{text}");
    }
    for text in ["", "zquill", "536-22-874", "***", "%zz%7"] {
        assert!(!holds(text.as_bytes()), "{text}");
    }
}

fn plants() -> Vec<Plant> {
    let mut plants = Vec::new();
    let mut at = |name: String, target: String| {
        plants.push(Plant {
            name,
            method: "GET",
            target,
            headers: Vec::new(),
            answered_in: "",
        });
    };
    let spellings = |value: &str| {
        [
            ("plain", value.to_owned()),
            ("upper case", value.to_uppercase()),
            ("percent", percent(value)),
            ("half percent", format!("{}{}", percent(&value[..4]), &value[4..])),
            ("double", percent(&percent(value))),
            ("wide", percent(&wide(value))),
            ("wide, double", percent(&percent(&wide(value)))),
        ]
    };
    for (spelling, value) in spellings(NAME) {
        at(format!("path id, {spelling}"), format!("{{}}/Patient/{value}"));
        at(
            format!("path id of history, {spelling}"),
            format!("{{}}/Patient/{value}/_history/1"),
        );
        at(
            format!("compartment, {spelling}"),
            format!("{{}}/Patient/{value}/Observation?_count=1"),
        );
        at(format!("query, {spelling}"), format!("{{}}/Patient?name={value}"));
        at(
            format!("query with modifier, {spelling}"),
            format!("{{}}/Patient?_count=1&name:exact={value}"),
        );
        at(
            format!("query of an encoded name, {spelling}"),
            format!("{{}}/Patient?n%61me={value}"),
        );
        at(
            format!("token, {spelling}"),
            format!("{{}}/Patient?identifier=urn:x%7C{value}"),
        );
        at(format!("list, {spelling}"), format!("{{}}/Patient?name=a,{value}"));
        at(
            format!("repeated, {spelling}"),
            format!("{{}}/Patient?name=a&name={value}"),
        );
        at(
            format!("chain, {spelling}"),
            format!("{{}}/Observation?subject:Patient.name={value}"),
        );
        at(
            format!("reverse chain, {spelling}"),
            format!("{{}}/Observation?_has:Patient:link:name={value}"),
        );
        at(
            format!("reference, {spelling}"),
            format!("{{}}/Observation?subject=Patient/{value}"),
        );
        at(
            format!("strip, {spelling}"),
            format!("{{}}/Patient?session={value}&_count=1"),
        );
        at(
            format!("absolute form, {spelling}"),
            format!("http://fhir.example.org{{}}/Patient?name={value}"),
        );
        at(
            format!("dots, {spelling}"),
            format!("{{}}/Patient/{value}/../x?_count=1"),
        );
        at(format!("slashes, {spelling}"), format!("{{}}//Patient//{value}"));
        at(format!("matrix, {spelling}"), format!("{{}}/Patient;name={value}"));
        at(
            format!("semicolon, {spelling}"),
            format!("{{}}/Patient?_count=1;name={value}"),
        );
    }
    for (spelling, value) in spellings(SSN)
        .into_iter()
        .chain([("bare", SSN.replace('-', "")), ("spaces", SSN.replace('-', "%20"))])
    {
        at(
            format!("found in a value, {spelling}"),
            format!("{{}}/Medication?code={value}"),
        );
        at(
            format!("found in a name, {spelling}"),
            format!("{{}}/Medication?{value}=1"),
        );
        at(format!("found in a path, {spelling}"), format!("{{}}/Binary/{value}"));
        at(
            format!("found where no rule governs, {spelling}"),
            format!("/elsewhere/{value}?{value}={value}"),
        );
    }
    let url = format!("https://fhir.example.org/fhir/Patient?name={NAME}");
    let path = format!("/fhir/Patient?name={NAME}");
    let headers = [
        ("referer", url.clone()),
        (
            "referer",
            format!("https://fhir.example.org/fhir/Patient/{}", percent(NAME)),
        ),
        ("origin", format!("https://{SSN}.example.org")),
        ("origin", url.clone()),
        ("forwarded", format!("for=192.0.2.1;host=\"{SSN}.example.org\"")),
        ("x-envoy-original-path", path.clone()),
        ("x-original-url", path.clone()),
        ("x-rewrite-url", path.clone()),
        ("x-envoy-original-url", url.clone()),
        ("x-original-path", path.clone()),
        ("x-forwarded-path", path.clone()),
        ("x-original-uri", path.clone()),
        ("x-forwarded-uri", path.clone()),
        ("x-forwarded-url", url.clone()),
        ("if-none-exist", format!("name={NAME}")),
        ("if-none-exist", format!("name={}", percent(&percent(NAME)))),
    ];
    for (number, (header, value)) in headers.into_iter().enumerate() {
        plants.push(Plant {
            // It goes into a header itself, so it may not have the value.
            name: format!("header {header}, {number}"),
            method: if header == "if-none-exist" { "POST" } else { "GET" },
            target: "{}/Patient?_count=1".to_owned(),
            headers: vec![(header, value)],
            answered_in: "",
        });
    }
    for answered_in in ["location", "content-location", "link", "refresh"] {
        plants.push(Plant {
            name: format!("answer {answered_in}"),
            method: "GET",
            target: "{}/Patient?_count=1".to_owned(),
            headers: Vec::new(),
            answered_in,
        });
    }
    plants
}

/// A plant that is stripped is one that the policy for it names.
fn applies(action: &str, plant: &Plant) -> bool {
    let stripped = plant.name.starts_with("strip");
    stripped == (action == "strip")
}

const POLICY: &str = "\
version: 1
keys: {pseudonyms: {env: SCRIM_PSEUDONYM_KEY}, sealing: {env: SCRIM_SEALING_KEY}}
policies:
  reject:
    phi_url: {preset: fhir-r4, on_query: reject, on_path: reject, detect: [ssn, email, phone, mrn], on_detect: reject}
    cache_control: {class: phi}
  mask:
    phi_url: {preset: fhir-r4, on_query: mask, on_path: mask, detect: [ssn, email, phone, mrn], on_detect: mask}
  strip:
    phi_url: {preset: fhir-r4, on_query: reject, on_path: reject, query: {session: strip, _count: pass}, detect: [ssn], on_detect: reject}
  tokenize:
    phi_url: {preset: fhir-r4, on_query: tokenize, on_path: tokenize, detect: [ssn, email, phone, mrn], on_detect: tokenize}
  seal:
    phi_url: {preset: fhir-r4, on_query: seal, on_path: seal, detect: [ssn, email, phone, mrn], on_detect: seal}
  observe:
    phi_url: {preset: fhir-r4, on_query: observe, on_path: observe, detect: [ssn, email, phone, mrn], on_detect: observe}
routes:
  - {match: {path_prefix: /reject/}, policy: reject}
  - {match: {path_prefix: /mask/}, policy: mask}
  - {match: {path_prefix: /strip/}, policy: strip}
  - {match: {path_prefix: /tokenize/}, policy: tokenize}
  - {match: {path_prefix: /seal/}, policy: seal}
  - {match: {path_prefix: /observe/}, policy: observe}
default: deny
";

/// An Envoy with the suite, between a client, an upstream and a collector of spans.
struct Gateway {
    process: Process,
    admin: PathBuf,
    upstream: Server,
    collector: Server,
    default_log: PathBuf,
    json_log: PathBuf,
    plugin_log: String,
}

/// What one request left behind.
struct Exchange {
    upstream: Vec<u8>,
    answer: Vec<u8>,
    default_log: String,
    json_log: String,
}

impl Exchange {
    fn sinks(&self) -> [(&'static str, &[u8]); 4] {
        [
            ("upstream", &self.upstream),
            ("answer", &self.answer),
            ("default log", self.default_log.as_bytes()),
            ("JSON log", self.json_log.as_bytes()),
        ]
    }
}

impl Gateway {
    fn start(envoy: &Envoy) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("leaks-{:?}", std::thread::current().id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("policy.yaml"), POLICY).unwrap();
        let policy = PolicyFile::read(&folder.join("policy.yaml"))
            .map_err(|problems| problems.to_string())
            .unwrap();
        let (upstream, collector) = (
            Server::start(answer),
            Server::start(|_| "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned()),
        );
        let (default_log, json_log) = (folder.join("default.log"), folder.join("json.log"));
        let mut bootstrap = Bootstrap::new(ANYWHERE, upstream.address.into());
        bootstrap.filters = gateway::filters(&policy, Modules::Suite, Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
        bootstrap
            .environment
            .values
            .insert("SCRIM_PSEUDONYM_KEY".to_owned(), KEY.to_owned());
        bootstrap
            .environment
            .values
            .insert("SCRIM_SEALING_KEY".to_owned(), KEY.to_owned());
        bootstrap.access_log = Some(AccessLog::standard(Sink::File(json_log.clone())));
        let mut admin = PathBuf::new();
        let process = Process::start_with(envoy.found(), &bootstrap, |bootstrap| {
            if let Some(Admin::Socket(path)) = &bootstrap.admin {
                admin.clone_from(path);
            }
            let mut document: Value = yaml(&bootstrap.to_yaml());
            instrument(&mut document, &default_log, collector.address);
            document.to_string()
        })
        .unwrap();
        let gateway = Gateway {
            process,
            admin,
            upstream,
            collector,
            default_log,
            json_log,
            plugin_log: String::new(),
        };
        // Envoy's own log as it is by default, and all that plugins say.
        gateway.administration("POST", "/logging?level=info");
        gateway.administration("POST", "/logging?wasm=debug");
        gateway
    }

    fn ask(&mut self, listener: &'static str, action: &str, plant: &Plant) -> Exchange {
        let before = [size(&self.default_log), size(&self.json_log)];
        self.upstream.take();
        let target = plant.target.replace("{}", &format!("/{action}"));
        let mut head = format!("{} {target} HTTP/1.1\r\nhost: fhir.example.org\r\n", plant.method);
        write!(
            head,
            "x-row: {listener}|{action}|{}\r\nx-answered-in: {}\r\n",
            plant.name, plant.answered_in
        )
        .unwrap();
        for (name, value) in &plant.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        if plant.method == "POST" {
            head += "content-length: 2\r\n";
        }
        if !plant.headers.iter().any(|(name, _)| *name == "connection") {
            head += "connection: close\r\n";
        }
        head += "\r\n";
        if plant.method == "POST" {
            head += "{}";
        }
        let mut stream = TcpStream::connect(self.process.listener(listener).unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        // A reset is one of the ways in which a stream may end.
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            answer.extend_from_slice(&buffer[..count]);
        }
        assert!(
            answer.starts_with(b"HTTP/1.1 "),
            "{listener}, {action}, {}: no answer",
            plant.name
        );
        let exchange = Exchange {
            upstream: self.upstream.take().concat(),
            answer,
            default_log: appended(&self.default_log, before[0]),
            json_log: appended(&self.json_log, before[1]),
        };
        while let Ok(Some(line)) = self.process.next_line(Duration::ZERO) {
            let (Line::Plugin { text, .. } | Line::Log { text, .. } | Line::Access(text)) = line;
            self.plugin_log += &text;
            self.plugin_log.push('\n');
        }
        exchange
    }

    /// The spans that the collector got, each by the row it says, until no more come; about this many should.
    fn spans(&self, wanted: usize) -> Vec<(String, String)> {
        let deadline = Instant::now() + PATIENCE;
        let mut quiet = Instant::now();
        let mut spans = Vec::new();
        // Each is sent at once; what Envoy refuses itself has none.
        while Instant::now() < deadline && quiet.elapsed() < Duration::from_secs(1) {
            for request in self.collector.take() {
                quiet = Instant::now();
                let text = String::from_utf8_lossy(&request).into_owned();
                let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
                let list: Vec<Value> = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {text}"));
                let row = |span: &Value| span["tags"]["row"].as_str().unwrap_or("?").to_owned();
                spans.extend(list.iter().map(|span| (row(span), span.to_string())));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let count = spans.len();
        assert!(count * 10 >= wanted * 8, "only {count} spans of {wanted} requests came");
        spans
    }

    /// Sinks that belong to no single request.
    fn whole(&self) -> [(&'static str, String); 3] {
        [
            ("statistics", self.administration("GET", "/stats")),
            ("Prometheus statistics", self.administration("GET", "/stats/prometheus")),
            ("log of Envoy and its plugins", self.plugin_log.clone()),
        ]
    }

    fn administration(&self, method: &str, path: &str) -> String {
        let mut stream = UnixStream::connect(&self.admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// Adds Envoy's default access log, spans, and a listener that normalises nothing.
fn instrument(document: &mut Value, default_log: &Path, collector: SocketAddr) {
    let socket = json!({"socket_address": {"address": collector.ip(), "port_value": collector.port()}});
    document["static_resources"]["clusters"].as_array_mut().unwrap().push(json!({
        "name": "collector", "type": "STATIC",
        "load_assignment": {"cluster_name": "collector", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket}}]}]},
    }));
    // Each span is sent at once.
    document["layered_runtime"] =
        json!({"layers": [{"name": "test", "static_layer": {"tracing.zipkin.min_flush_spans": 1}}]});
    let listeners = document["static_resources"]["listeners"].as_array_mut().unwrap();
    let manager = &mut listeners[0]["filter_chains"][0]["filters"][0]["typed_config"];
    manager["access_log"].as_array_mut().unwrap().push(json!({
        "name": "envoy.access_loggers.file",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog", "path": default_log},
    }));
    manager["delayed_close_timeout"] = json!("0.02s");
    manager["tracing"] = json!({
        "random_sampling": {"value": 100},
        "custom_tags": [{"tag": "row", "request_header": {"name": "x-row"}}],
        "provider": {"name": "envoy.tracers.zipkin", "typed_config": {
            "@type": "type.googleapis.com/envoy.config.trace.v3.ZipkinConfig",
            "collector_cluster": "collector", "collector_endpoint": "/api/v2/spans", "collector_endpoint_version": "HTTP_JSON",
        }},
    });
    let mut raw = listeners[0].clone();
    raw["name"] = RAW.into();
    let manager = &mut raw["filter_chains"][0]["filters"][0]["typed_config"];
    manager["use_remote_address"] = false.into();
    manager["normalize_path"] = false.into();
    manager["merge_slashes"] = false.into();
    manager["path_with_escaped_slashes_action"] = "KEEP_UNCHANGED".into();
    manager["common_http_protocol_options"] = json!({});
    listeners.push(raw);
}

/// What the upstream answers: the URL it got, or the value, where the request says so.
fn answer(request: &str) -> String {
    let header = |name: &str| {
        let line = request.lines().find(|line| line.to_ascii_lowercase().starts_with(name));
        line.and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    let target = request.split(' ').nth(1).unwrap_or_default();
    let url = format!("https://fhir.example.org/fhir/Patient/{NAME}?name={}", percent(NAME));
    let said = match header("x-answered-in:").as_str() {
        "link" => format!("link: <{url}>; rel=\"self\"\r\n"),
        "refresh" => format!("refresh: 5; url={url}\r\n"),
        "" => format!(
            "location: {target}\r\ncontent-location: {target}\r\nlink: <{target}>; rel=self\r\nrefresh: 5; url={target}\r\n"
        ),
        name => format!("{name}: {url}\r\n"),
    };
    format!("HTTP/1.1 200 OK\r\n{said}content-type: application/fhir+json\r\ncontent-length: 2\r\n\r\n{{}}")
}

/// A server that keeps what it gets.
struct Server {
    address: SocketAddr,
    got: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Server {
    fn start(answer: impl Fn(&str) -> String + Send + Sync + Copy + 'static) -> Self {
        let listener = TcpListener::bind(ANYWHERE).unwrap();
        let address = listener.local_addr().unwrap();
        let got = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let kept = Arc::clone(&got);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || drop(serve(stream, &kept, answer)));
            }
        });
        Server { address, got }
    }

    fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.got.lock().unwrap())
    }
}

fn serve(mut stream: TcpStream, kept: &Mutex<Vec<Vec<u8>>>, answer: impl Fn(&str) -> String) -> std::io::Result<()> {
    let mut from = BufReader::new(stream.try_clone()?);
    loop {
        let mut request = Vec::new();
        let mut length = 0;
        let mut chunked = false;
        loop {
            let begin = request.len();
            if from.read_until(b'\n', &mut request)? == 0 {
                return Ok(());
            }
            let line = String::from_utf8_lossy(&request[begin..]).to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            chunked |= line.starts_with("transfer-encoding:");
            if line == "\r\n" {
                break;
            }
        }
        let head = String::from_utf8_lossy(&request).into_owned();
        while chunked {
            let mut size = String::new();
            from.read_line(&mut size)?;
            length = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
            let begin = request.len();
            request.resize(begin + length, 0);
            from.read_exact(&mut request[begin..])?;
            from.read_line(&mut size)?;
            chunked = length > 0;
            length = 0;
        }
        let begin = request.len();
        request.resize(begin + length, 0);
        from.read_exact(&mut request[begin..])?;
        kept.lock().unwrap().push(request);
        stream.write_all(answer(&head).as_bytes())?;
    }
}

fn size(file: &Path) -> usize {
    fs::metadata(file).map_or(0, |metadata| usize::try_from(metadata.len()).unwrap())
}

/// What came to a log since it had this size; waits for a whole line.
fn appended(file: &Path, before: usize) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = fs::read(file).unwrap_or_default();
        let new = text.get(before..).unwrap_or_default();
        if new.ends_with(b"\n") {
            return String::from_utf8_lossy(new).into_owned();
        }
        assert!(Instant::now() < deadline, "`{}` gets no line", file.display());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Each byte percent-encoded.
fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// Full-width forms (U+FF01 to U+FF5E), which NFKC makes plain.
fn wide(text: &str) -> String {
    let wide = |letter: char| match letter {
        '!'..='~' => char::from_u32(u32::from(letter) + 0xfee0).unwrap(),
        other => other,
    };
    text.chars().map(wide).collect()
}

/// Whether a planted value is there, in whatever spelling.
fn holds(content: &[u8]) -> bool {
    let mut bytes = content.to_vec();
    loop {
        let text: String = String::from_utf8_lossy(&bytes).chars().map(narrow).collect();
        let text = text.to_lowercase();
        let digits = text.replace(['-', ' ', '.'], "");
        if text.contains(NAME) || digits.contains(&SSN.replace('-', "")) {
            return true;
        }
        let next = decoded(text.as_bytes());
        if next == bytes {
            return false;
        }
        bytes = next;
    }
}

fn narrow(letter: char) -> char {
    match letter {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(letter) - 0xfee0).unwrap(),
        other => other,
    }
}

/// Undoes one layer of percent-encoding and of JSON's `\u`.
fn decoded(text: &[u8]) -> Vec<u8> {
    let hex = |digits: Option<&[u8]>| {
        let digits = std::str::from_utf8(digits?).ok()?;
        digits
            .bytes()
            .all(|digit| digit.is_ascii_hexdigit())
            .then(|| u32::from_str_radix(digits, 16).ok())?
    };
    let mut plain = Vec::with_capacity(text.len());
    let mut place = 0;
    while place < text.len() {
        let rest = &text[place..];
        if let (b'%', Some(byte)) = (rest[0], hex(rest.get(1..3))) {
            plain.push(u8::try_from(byte).unwrap());
            place += 3;
        } else if rest.starts_with(b"\\u")
            && let Some(letter) = hex(rest.get(2..6)).and_then(char::from_u32)
        {
            plain.extend(letter.to_string().bytes());
            place += 6;
        } else {
            plain.push(rest[0]);
            place += 1;
        }
    }
    plain
}

/// YAML as JSON.
fn yaml(text: &str) -> Value {
    let node = scrim::policy_file::parse(text, &mut scrim_policy::document::Problems::default());
    node.expect("YAML").to_json()
}
