//! The engine: one Envoy between a test client and a scripted upstream.

use super::client;
use super::cluster;
use super::find::{Found, find};
use super::process::{Line, Process};
use super::upstream::Upstream;
use super::wire::{self, Framing, Head};
use crate::exchange::{
    self, Answer, Called, EXCHANGE_TIMEOUT, Engine, Fault, Gateway, Outcome, Record, Request, Setup, changes,
};
use crate::render::{self, AccessLog, Bootstrap, Environment, Intake, LISTENER, Sink};
use anyhow::Context;
use saphyr::Yaml;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A real Envoy.
#[derive(Clone, Debug)]
pub struct Envoy {
    found: Found,
}

impl Envoy {
    /// The engine with the Envoy that [`find`] finds or fetches.
    ///
    /// # Errors
    /// Those of [`find`].
    pub fn find() -> anyhow::Result<Self> {
        find().map(Self::new)
    }

    /// The engine with this Envoy.
    pub fn new(found: Found) -> Self {
        Self { found }
    }

    /// The engine for a test; none where Envoy cannot be had, which is said on standard error.
    ///
    /// # Panics
    /// Under `CI=true` a missing Envoy is a failure.
    pub fn in_tests() -> Option<Self> {
        match Self::find() {
            Ok(envoy) => Some(envoy),
            Err(error) if std::env::var_os("CI").is_some_and(|ci| ci == "true") => {
                panic!("{error:#}")
            }
            Err(error) => {
                eprintln!("skipped, for want of Envoy: {error:#}");
                None
            }
        }
    }

    /// Which Envoy it is.
    pub fn found(&self) -> &Found {
        &self.found
    }
}

impl Engine for Envoy {
    fn name(&self) -> &'static str {
        "envoy"
    }

    fn start(&self, setup: &Setup) -> anyhow::Result<Box<dyn Gateway>> {
        Ok(Box::new(Running::start(&self.found, setup)?))
    }

    fn start_tcp(&self, setup: &Setup) -> anyhow::Result<Box<dyn exchange::tcp::Gateway>> {
        Ok(Box::new(super::tcp::Running::start(&self.found, setup)?))
    }
}

/// Envoy ended by itself, with every stream that it carried: a filter did something that Envoy does not stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crashed;

impl fmt::Display for Crashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Envoy crashed: what a filter did ended its process")
    }
}

impl std::error::Error for Crashed {}

/// How long a process takes to be gone once its connections are.
const CRASH_TIME: Duration = Duration::from_secs(2);
/// A listener that leads to a port where nobody listens.
const REFUSED: &str = "refused";
/// A listener that answers by itself. There is one worker, so when it has answered, all that was asked before is done.
pub(super) const BARRIER: &str = "barrier";
/// The key by which the harness knows its own access log lines.
const KIND: &str = "harness";
/// What else the harness wants of the access log, by its own keys.
const RECORD: [(&str, &str); 4] = [
    ("harness.details", "%RESPONSE_CODE_DETAILS%"),
    ("harness.flags", "%RESPONSE_FLAGS%"),
    ("harness.received", "%BYTES_RECEIVED%"),
    ("harness.sent", "%BYTES_SENT%"),
];

/// A gateway. The process comes first: it is dropped before its upstream.
struct Running {
    process: Process,
    upstream: Upstream,
    clusters: BTreeMap<String, cluster::Server>,
    listening: SocketAddr,
    refused: SocketAddr,
    barrier: BufReader<TcpStream>,
    /// The metrics of the filters after the exchange before.
    metrics: BTreeMap<String, u64>,
    /// Keeps a port taken on which nobody listens.
    _nobody: Nobody,
}

/// What the access log and the plugins wrote between two barriers.
#[derive(Default)]
struct Written {
    logs: Vec<(String, String)>,
    /// The filter state of each finished exchange, and what else the log says of it.
    streams: Vec<(BTreeMap<String, String>, Record)>,
}

impl Running {
    fn start(found: &Found, setup: &Setup) -> anyhow::Result<Self> {
        let upstream = Upstream::start().context("cannot start an upstream on the loopback")?;
        let nobody = Nobody::new()?;
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut bootstrap = Bootstrap::new(anywhere, upstream.address().into());
        bootstrap.filters = setup.filters.clone();
        bootstrap.routes = setup.routes.clone();
        bootstrap.virtual_host_metadata = setup.virtual_host_metadata.clone();
        bootstrap.buffer_limit = setup.buffer_limit;
        let mut clusters = BTreeMap::new();
        for (name, script) in &setup.clusters {
            let server = cluster::Server::start(script).context("cannot start a cluster on the loopback")?;
            bootstrap.clusters.push(render::Cluster {
                name: name.clone(),
                server: server.address().into(),
                protocol: match script.grpc.is_empty() {
                    true => render::Protocol::Http1,
                    false => render::Protocol::Http2,
                },
                tls: None,
            });
            clusters.insert(name.clone(), server);
        }
        bootstrap.environment = Environment {
            values: setup.environment.clone(),
            ..Environment::default()
        };
        // The filters have to see through every spelling by themselves, and the other engine rewrites nothing either.
        bootstrap.intake = Intake::Raw;
        let mut log = AccessLog::filter_state(Sink::Stdout, &setup.report);
        log.fields.push((KIND.to_owned(), "exchange".to_owned()));
        log.fields
            .extend(RECORD.map(|(name, format)| (name.to_owned(), format.to_owned())));
        bootstrap.access_log = Some(log);

        let process = Process::start_with(found, &bootstrap, |bootstrap| {
            let refused = bootstrap.listener(REFUSED, anywhere, REFUSED);
            let refused = (refused, Some(render::cluster(REFUSED, &nobody.address().into())));
            let mut document = bootstrap.document(vec![refused, (barrier(anywhere), None)]);
            // Histograms are merged when somebody asks, not every few seconds.
            if let Yaml::Mapping(entries) = &mut document {
                entries.insert(render::text("stats_flush_on_admin"), render::truth(true));
            }
            render::emit(&document)
        })?;
        let barrier = TcpStream::connect(process.listener(BARRIER)?)?;
        barrier.set_nodelay(true)?;
        barrier.set_read_timeout(Some(EXCHANGE_TIMEOUT))?;
        let listening = process.listener(LISTENER)?;
        let refused = process.listener(REFUSED)?;
        let mut running = Self {
            process,
            upstream,
            clusters,
            listening,
            refused,
            barrier: BufReader::new(barrier),
            metrics: BTreeMap::new(),
            _nobody: nobody,
        };
        // What was logged and counted while configuring belongs to no exchange.
        running.settle(0)?;
        running.metrics_changed()?;
        running.take_calls();
        Ok(running)
    }

    /// By how much metrics changed since this was asked last.
    fn metrics_changed(&mut self) -> anyhow::Result<BTreeMap<String, i64>> {
        let now = self.process.metrics()?;
        let before = std::mem::replace(&mut self.metrics, now.clone());
        Ok(changes(&before, &now))
    }

    /// Waits until the calls that somebody answers are over, as long as a client would.
    fn await_calls(&self) -> anyhow::Result<()> {
        if self.clusters.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + EXCHANGE_TIMEOUT;
        while Instant::now() < deadline {
            let active = self.process.calls(self.clusters.keys())?;
            let held: usize = self.clusters.values().map(cluster::Server::held).sum();
            if active <= held as u64 {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// The calls that clusters got since this was asked last.
    fn take_calls(&self) -> BTreeMap<String, Vec<Called>> {
        let calls = self
            .clusters
            .iter()
            .map(|(name, server)| (name.clone(), server.take_calls()));
        calls.filter(|(_, calls)| !calls.is_empty()).collect()
    }

    /// Waits until `streams` exchanges are logged and Envoy has done with them.
    fn settle(&mut self, streams: usize) -> anyhow::Result<Written> {
        let mut written = Written::default();
        let deadline = Instant::now() + EXCHANGE_TIMEOUT;
        while written.streams.len() < streams {
            self.line(&mut written, deadline)?;
        }
        self.await_calls()?;
        self.barrier
            .get_mut()
            .write_all(b"GET / HTTP/1.1\r\nhost: barrier\r\n\r\n")?;
        let head = Head::read(&mut self.barrier)?.context("Envoy closed the connection")?;
        wire::read_body(&mut self.barrier, head.framing(Framing::Empty)?)?;
        while !self.line(&mut written, deadline)? {}
        Ok(written)
    }

    /// Takes one line; true for the barrier's.
    fn line(&mut self, written: &mut Written, deadline: Instant) -> anyhow::Result<bool> {
        let left = deadline
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(1));
        match self
            .process
            .next_line(left)?
            .context("Envoy did not log the exchange in time")?
        {
            Line::Plugin { level, text } => {
                let level = if level == "warn" { "warning".to_owned() } else { level };
                written.logs.push((level, text));
            }
            Line::Log { .. } => {}
            Line::Access(line) => {
                let line: BTreeMap<String, Option<Value>> =
                    serde_json::from_str(&line).context("an access log line that is no JSON")?;
                let mut state: BTreeMap<String, String> = line
                    .into_iter()
                    .filter_map(|(name, value)| match value? {
                        Value::String(text) => Some((name, text)),
                        // Envoy writes a lone number as one.
                        other => Some((name, other.to_string())),
                    })
                    .collect();
                if state.remove(KIND).is_some_and(|kind| kind == BARRIER) {
                    return Ok(true);
                }
                let record = record(&mut state);
                written.streams.push((state, record));
            }
        }
        Ok(false)
    }
}

impl Gateway for Running {
    fn exchange(&mut self, request: &Request, answer: &Answer) -> anyhow::Result<Outcome> {
        self.upstream.play(answer);
        let to = if answer.fault == Some(Fault::Refuse) {
            self.refused
        } else {
            self.listening
        };
        let sent = client::send(to, request);
        // Also after a failure: what it wrote must not be taken for the next exchange's.
        let written = self.settle(1);
        if written.is_err() && self.process.ended_within(CRASH_TIME) {
            return Err(Crashed.into());
        }
        let (client, mut written) = (sent?, written?);
        let (filter_state, record) = written.streams.pop().unwrap_or_default();
        Ok(Outcome {
            upstream: self.upstream.seen(),
            client,
            logs: written.logs,
            filter_state,
            failures: Vec::new(),
            metrics: self.metrics_changed()?,
            calls: self.take_calls(),
            record,
        })
    }

    fn wait(&mut self, time: Duration) -> anyhow::Result<()> {
        std::thread::sleep(time);
        // What was logged meanwhile belongs to no exchange.
        self.settle(0)?;
        self.metrics_changed().map(drop)
    }
}

/// Takes what is the harness's own out of an access log line.
fn record(line: &mut BTreeMap<String, String>) -> Record {
    let [details, flags, received, sent] = RECORD.map(|(name, _)| line.remove(name).filter(|value| value != "-"));
    let number = |text: Option<String>| text.and_then(|text| text.parse().ok()).unwrap_or_default();
    Record {
        details,
        flags: flags.unwrap_or_default(),
        received: number(received),
        sent: number(sent),
    }
}

/// A port that is taken and refuses connections: the near end of a connection to somewhere else.
struct Nobody {
    near: TcpStream,
    _far: TcpListener,
}

impl Nobody {
    fn new() -> std::io::Result<Self> {
        let far = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let near = TcpStream::connect(far.local_addr()?)?;
        Ok(Self { near, _far: far })
    }

    fn address(&self) -> SocketAddr {
        self.near
            .local_addr()
            .unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)))
    }
}

pub(super) fn barrier(address: SocketAddr) -> Yaml<'static> {
    use render::{access_log, list, map, number, router, socket_address, text, type_url};
    let log = AccessLog {
        sink: Sink::Stdout,
        fields: vec![(KIND.to_owned(), BARRIER.to_owned())],
    };
    let route = map([
        ("match", map([("prefix", text("/"))])),
        ("direct_response", map([("status", number(204))])),
    ]);
    let host = map([
        ("name", text("all")),
        ("domains", list([text("*")])),
        ("routes", list([route])),
    ]);
    let manager = map([
        (
            "@type",
            type_url("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        ),
        ("stat_prefix", text(BARRIER)),
        ("access_log", list([access_log(&log)])),
        ("route_config", map([("virtual_hosts", list([host]))])),
        ("http_filters", list([router()])),
    ]);
    let filter = map([
        ("name", text("envoy.filters.network.http_connection_manager")),
        ("typed_config", manager),
    ]);
    map([
        ("name", text(BARRIER)),
        ("address", socket_address(address)),
        ("filter_chains", list([map([("filters", list([filter]))])])),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{Body, End, Filter, Got, Headers, Metadata, Route};
    use std::path::PathBuf;

    fn headers(lines: &[(&str, &str)]) -> Headers {
        lines
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
            .collect()
    }

    fn body(chunks: &[&str], end: End, trailers: &[(&str, &str)]) -> Body {
        let chunks = chunks.iter().map(|chunk| chunk.as_bytes().to_vec()).collect();
        Body {
            chunks,
            end,
            trailers: headers(trailers),
        }
    }

    fn get(target: &str) -> Request {
        Request {
            method: "GET".to_owned(),
            target: target.as_bytes().to_vec(),
            authority: "fhir.example.org".to_owned(),
            headers: Headers::new(),
            body: Body::default(),
        }
    }

    fn answer(status: u16, body: Body) -> Answer {
        Answer {
            status,
            headers: headers(&[("x-a", "1"), ("x-a", "2")]),
            body,
            fault: None,
        }
    }

    #[test]
    fn without_filters_everything_passes_as_it_is() {
        let Some(envoy) = Envoy::in_tests() else {
            return;
        };
        let mut gateway = envoy.start(&Setup::default()).unwrap();
        let bodies = [
            Body::default(),
            body(&["one", "two"], End::Empty, &[]),
            body(&["one", "two"], End::WithLastChunk, &[]),
            body(&["one", "two"], End::Empty, &[("x-t", "v")]),
        ];
        for sent in &bodies {
            for answered in &bodies {
                let mut request = get("/a//b/../c%2fd?name=%41&x");
                request.method = "POST".to_owned();
                request.headers = headers(&[("x-b", "1"), ("x-b", " 2")]);
                request.body = sent.clone();
                let outcome = gateway.exchange(&request, &answer(201, answered.clone())).unwrap();
                let seen = outcome.upstream.unwrap();
                assert_eq!(seen.method, "POST");
                assert_eq!(seen.target, request.target);
                assert_eq!(seen.authority, "fhir.example.org");
                assert_eq!(seen.headers, headers(&[("x-b", "1"), ("x-b", "2")]));
                assert_eq!(seen.body, sent.chunks.concat());
                let wanted = Got {
                    status: 201,
                    headers: headers(&[("x-a", "1"), ("x-a", "2")]),
                    body: answered.chunks.concat(),
                    complete: true,
                    trailers: answered.trailers.clone(),
                };
                assert_eq!(outcome.client, Some(wanted), "{sent:?} {answered:?}");
                assert_eq!((outcome.logs, outcome.filter_state), Default::default());
            }
        }
    }

    #[test]
    fn heads_without_bodies_end_at_once() {
        let Some(envoy) = Envoy::in_tests() else {
            return;
        };
        let mut gateway = envoy.start(&Setup::default()).unwrap();
        let full = body(&["one"], End::WithLastChunk, &[]);
        for (method, status) in [("HEAD", 200), ("GET", 204), ("GET", 304)] {
            let mut request = get("/");
            request.method = method.to_owned();
            let got = gateway
                .exchange(&request, &answer(status, full.clone()))
                .unwrap()
                .client
                .unwrap();
            assert_eq!((got.status, got.body, got.complete), (status, Vec::new(), true));
        }
    }

    #[test]
    fn faults_are_answered_and_the_gateway_goes_on() {
        let Some(envoy) = Envoy::in_tests() else {
            return;
        };
        let mut gateway = envoy.start(&Setup::default()).unwrap();
        let full = body(&["one"], End::Empty, &[]);
        let mut exchange = |fault| {
            gateway
                .exchange(
                    &get("/"),
                    &Answer {
                        fault,
                        ..answer(200, full.clone())
                    },
                )
                .unwrap()
        };

        let refused = exchange(Some(Fault::Refuse));
        assert_eq!((refused.client.unwrap().status, refused.upstream), (503, None));
        let reset = exchange(Some(Fault::ResetBeforeHeaders));
        assert_eq!(reset.client.unwrap().status, 503);
        assert!(reset.upstream.is_some());
        let broken = exchange(Some(Fault::ResetAfterBody)).client.unwrap();
        assert_eq!(
            (broken.status, broken.body.as_slice(), broken.complete),
            (200, &b"one"[..], false)
        );
        assert!(exchange(None).client.unwrap().complete);
    }

    #[test]
    fn what_envoy_itself_refuses_is_an_outcome() {
        let Some(envoy) = Envoy::in_tests() else {
            return;
        };
        let mut gateway = envoy.start(&Setup::default()).unwrap();
        for target in ["/a b", "/\u{e9}", "nowhere"] {
            let outcome = gateway.exchange(&get(target), &answer(200, Body::default())).unwrap();
            assert_eq!(outcome.client.map(|got| got.status), Some(400), "{target}");
            assert_eq!(outcome.upstream, None);
        }
        let mut nameless = get("/");
        nameless.authority.clear();
        assert_eq!(
            gateway
                .exchange(&nameless, &answer(200, Body::default()))
                .unwrap()
                .client
                .unwrap()
                .status,
            400
        );
    }

    #[test]
    fn routes_are_matched() {
        let Some(envoy) = Envoy::in_tests() else {
            return;
        };
        let metadata = Metadata::from([(
            "scrim".to_owned(),
            BTreeMap::from([("policy".to_owned(), "p".to_owned())]),
        )]);
        let routes = vec![Route {
            name: "a".to_owned(),
            prefix: "/a".to_owned(),
            metadata: metadata.clone(),
        }];
        let setup = Setup {
            routes,
            virtual_host_metadata: metadata,
            buffer_limit: Some(4096),
            report: vec!["scrim.path".to_owned()],
            ..Setup::default()
        };
        let mut gateway = envoy.start(&setup).unwrap();
        for (target, status) in [("/a/1", 200), ("/b", 404)] {
            let outcome = gateway.exchange(&get(target), &answer(200, Body::default())).unwrap();
            assert_eq!(outcome.client.unwrap().status, status);
        }
        // An answer that does not wait for the request's end.
        let mut long = get("/b");
        long.body = body(&["x".repeat(1 << 16).as_str(); 20], End::WithLastChunk, &[]);
        assert_eq!(
            gateway
                .exchange(&long, &answer(200, Body::default()))
                .unwrap()
                .client
                .unwrap()
                .status,
            404
        );
    }

    #[test]
    fn a_deployed_configuration_serves_and_guards() {
        let Some(envoy) = Envoy::in_tests() else {
            return;
        };
        let upstream = Upstream::start().unwrap();
        let log = std::env::temp_dir().join(format!("scrim-access-{}.json", std::process::id()));
        let mut bootstrap = Bootstrap::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), upstream.address().into());
        bootstrap.access_log = Some(AccessLog::standard(Sink::File(log.clone())));
        let process = Process::start(envoy.found(), &bootstrap).unwrap();
        let to = process.listener(LISTENER).unwrap();
        let ask = |target: &str, lines: &[(&str, &str)]| {
            upstream.play(&answer(200, Body::default()));
            let got = client::send(
                to,
                &Request {
                    headers: headers(lines),
                    ..get(target)
                },
            )
            .unwrap()
            .unwrap();
            (got.status, upstream.seen())
        };
        let (status, seen) = ask(
            "/a/../b//c?ssn=123-45-6789",
            &[("x-envoy-original-path", "/secret"), ("referer", "/secret")],
        );
        let seen = seen.unwrap();
        assert_eq!((status, seen.target.as_slice()), (200, &b"/b/c?ssn=123-45-6789"[..]));
        assert_eq!(seen.headers, headers(&[("referer", "/secret")]));
        assert_eq!(ask("/a%2fb", &[]), (400, None));
        assert_eq!(ask("/", &[("x_scope", "all")]), (400, None));

        // A port in use is told before Envoy shares it.
        let error = Process::start(
            envoy.found(),
            &Bootstrap {
                listen: to,
                ..bootstrap
            },
        )
        .unwrap_err();
        assert!(format!("{error:#}").contains("in use"), "{error:#}");

        assert!(process.stop().unwrap().success());
        let text = std::fs::read_to_string(&log).unwrap();
        std::fs::remove_file(log).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let statuses: Vec<_> = lines.iter().map(|line| line["status"].as_u64()).collect();
        assert_eq!(statuses, [Some(200), Some(400), Some(400)], "{text}");
        assert!(!text.contains("ssn") && !text.contains("secret"), "{text}");
    }

    #[test]
    fn nothing_outlives_the_process() {
        let Some(envoy) = Envoy::in_tests() else {
            return;
        };
        let nowhere = "127.0.0.1:9".parse().unwrap();
        let bootstrap = Bootstrap::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), nowhere);
        let panicked = std::thread::spawn(move || {
            let process = Process::start(envoy.found(), &bootstrap).unwrap();
            let address = process.listener(LISTENER).unwrap();
            assert!(TcpStream::connect(address).is_ok());
            std::panic::panic_any(address);
        });
        let address: SocketAddr = *panicked.join().unwrap_err().downcast().unwrap();
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn a_module_that_is_none_is_told() {
        let Some(envoy) = Envoy::in_tests() else {
            return;
        };
        let filter = Filter {
            name: "broken".to_owned(),
            root_id: String::new(),
            module: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")),
            configuration: Vec::new(),
            allow_on_headers_stop_iteration: false,
            ..Filter::default()
        };
        let error = envoy
            .start(&Setup {
                filters: vec![filter],
                ..Setup::default()
            })
            .err()
            .unwrap();
        let text = format!("{error:#}");
        assert!(
            text.starts_with("Envoy refused to start: ") && text.contains("broken") && !text.contains('\n'),
            "{text}"
        );
    }
}
