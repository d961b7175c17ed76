//! What cache-control does where only a real proxy shows it: TLS by version and client certificate, answers of Envoy's own, early hints, tags that come back.
//!
//! One Envoy is the clients, with a cluster for each way to connect; the other is the gateway, as the suite and as four modules.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use scrim::cases::Modules;
use scrim::envoy::{Envoy, Process};
use scrim::gateway;
use scrim::policy_file::PolicyFile;
use scrim::render::{Bootstrap, LISTENER};

const PATIENCE: Duration = Duration::from_secs(20);
const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The gateway's listener without TLS.
const PLAIN: &str = "plain";
const NO_STORE: Option<&str> = Some("no-store, private");

/// One test, since the Envoys take longer to start than all of it.
#[test]
fn what_only_a_real_proxy_shows() {
    let Some(envoy) = Envoy::in_tests() else { return };
    for modules in [Modules::Suite, Modules::Chain] {
        let proxies = Proxies::start(&envoy, modules);
        what_came_over_less_than_demanded_is_denied(&proxies);
        answers_of_envoys_own_are_stored_by_nobody(&proxies);
        early_hints_reach_no_client(&proxies);
        a_tag_comes_back_as_the_upstreams_own(&proxies);
        no_read_is_answered_from_a_stored_copy(&proxies);
    }
}

fn what_came_over_less_than_demanded_is_denied(proxies: &Proxies) {
    for (way, twelve, thirteen, certificate) in [
        (Some("nobody 1.2"), true, false, false),
        (Some("nobody 1.3"), true, true, false),
        (Some("client-x 1.2"), true, false, true),
        (Some("client-x 1.3"), true, true, true),
        (None, false, false, false),
    ] {
        for (path, met) in [
            ("/v12", twelve),
            ("/v13", thirteen),
            ("/certificate", certificate),
            ("/both", thirteen && certificate),
            ("/any", true),
        ] {
            let got = proxies.ask(way, &format!("GET {path} HTTP/1.1\r\n"));
            assert_eq!(got.status, if met { 200 } else { 403 }, "{way:?} {path}");
            if !met {
                assert!(got.body.contains("\"tls_required\""), "{}", got.body);
                assert_eq!(got.header("cache-control"), NO_STORE);
                assert_eq!(got.header("x-content-type-options"), Some("nosniff"));
            }
            // A client can't say how it came.
            let lying =
                format!("GET {path} HTTP/1.1\r\nx-forwarded-proto: https\r\nx-forwarded-client-cert: Hash=00\r\n");
            assert_eq!(proxies.ask(way, &lying).status, got.status, "{way:?} {path}");
        }
    }
}

fn answers_of_envoys_own_are_stored_by_nobody(proxies: &Proxies) {
    let line = |path: &str| format!("GET {path} HTTP/1.1\r\n");
    // No filter sees these.
    for (request, status) in [
        ("GARBAGE\r\n".to_owned(), 400),
        (line("/phi/a%2Fb"), 400),
        ("GET /phi HTTP/1.1\r\nbad_name: x\r\n".to_owned(), 400),
        (
            format!("GET /phi HTTP/1.1\r\nx-large: {}\r\n", "x".repeat(100_000)),
            431,
        ),
        ("GET /phi HTTP/1.1\r\ntransfer-encoding: x\r\n".to_owned(), 501),
    ] {
        let got = proxies.ask(None, &request);
        assert_eq!(got.status, status, "{}", &request[..request.len().min(60)]);
        assert_eq!(got.header("cache-control"), NO_STORE, "{status}: {:?}", got.headers);
    }
    // Nor that of a request whose head never ends.
    let got = proxies.send(None, "GET /phi HTTP/1.1\r\nhost: fhir.example.org\r\n");
    assert_eq!((got.status, got.header("cache-control")), (408, NO_STORE));
    // These they see: no route, and nobody behind it.
    for (path, status) in [("/unrouted", 404), ("/down", 503)] {
        let got = proxies.ask(None, &line(path));
        assert_eq!(got.status, status, "{path}");
        assert_eq!(got.header("cache-control"), NO_STORE, "{path}");
        assert_eq!(
            got.header("x-content-type-options"),
            Some("nosniff"),
            "a filter of ours was there"
        );
    }
}

/// Envoy drops what comes before the response, so no filter has to look at it.
fn early_hints_reach_no_client(proxies: &Proxies) {
    let got = proxies.ask(None, "GET /phi/early HTTP/1.1\r\n");
    assert_eq!((got.status, got.header("cache-control")), (200, NO_STORE));
    assert!(!got.headers.contains_key("link"), "{:?}", got.headers);
    assert!(!got.whole.contains("103"), "{}", got.whole);
}

fn a_tag_comes_back_as_the_upstreams_own(proxies: &Proxies) {
    let ask = |path: &str, more: &str| proxies.ask(None, &format!("GET {path} HTTP/1.1\r\n{more}"));
    let first = ask("/trimmed", "");
    let tag = first.header("etag").unwrap_or_default().to_owned();
    assert!(tag.starts_with("W/\"abc~s"), "{tag}");
    assert_eq!(first.body, "{\"name\":\"x\"}");
    let again = ask("/trimmed", &format!("if-none-match: {tag}\r\n"));
    assert_eq!((again.status, again.header("etag")), (304, Some(tag.as_str())));
    assert_eq!(again.header("cache-control"), NO_STORE);
    // The upstream knows this tag, but this caller was never given what it names. Nor does a date do.
    let full = ask(
        "/trimmed",
        "if-none-match: \"abc\"\r\nif-modified-since: Thu, 01 Jan 2099 00:00:00 GMT\r\n",
    );
    assert_eq!((full.status, full.header("x-seen-date")), (200, None));
    // Envoy folds two lines into one, in both directions.
    let two = ask("/trimmed", &format!("if-none-match: \"x\"\r\nif-none-match: {tag}\r\n"));
    assert_eq!(two.status, 304);
    assert_eq!(ask("/trimmed/two-tags", "").header("etag"), None);
    assert_eq!(
        ask("/phi", "").header("etag"),
        Some("\"abc\""),
        "nothing is trimmed here"
    );
}

fn no_read_is_answered_from_a_stored_copy(proxies: &Proxies) {
    let seen = |path: &str, more: &str| {
        let got = proxies.ask(None, &format!("GET {path} HTTP/1.1\r\n{more}"));
        got.header("x-seen-caching").map(str::to_owned)
    };
    let games = "cache-control: only-if-cached, max-stale=60\r\ncache-control: no-store\r\npragma: no-cache\r\n";
    assert_eq!(seen("/phi", "").as_deref(), Some("no-cache"));
    assert_eq!(seen("/phi", games).as_deref(), Some("no-cache, no-store"));
    assert_eq!(seen("/any", "").as_deref(), None);
}

/// A response.
struct Got {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
    whole: String,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

struct Proxies {
    clients: Process,
    gateway: Process,
}

impl Proxies {
    fn start(envoy: &Envoy, modules: Modules) -> Self {
        let gateway = start_gateway(envoy, modules);
        let server = gateway.listener(LISTENER).unwrap();
        let clients = start(envoy, &Bootstrap::new(ANYWHERE, ANYWHERE.into()), |document| {
            let clusters: Vec<Value> = ["nobody", "client-x"]
                .into_iter()
                .flat_map(|who| ["1.2", "1.3"].map(|version| cluster(who, version, server)))
                .collect();
            document["static_resources"]["clusters"] = json!(clusters);
            let manager = manager(&mut document["static_resources"]["listeners"][0]);
            manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"] = json!({"cluster_header": "x-way"});
            manager["delayed_close_timeout"] = "0.02s".into();
            manager["use_remote_address"] = false.into();
            manager["forward_client_cert_details"] = "ALWAYS_FORWARD_ONLY".into();
        });
        Self { clients, gateway }
    }

    /// Sends a request's first lines and what belongs to each request. `way`: as whom, and by which version; none: without TLS.
    fn ask(&self, way: Option<&str>, request: &str) -> Got {
        let way = way.map(|way| format!("x-way: {way}\r\n")).unwrap_or_default();
        let request =
            format!("{request}host: fhir.example.org\r\naccept: application/json\r\nconnection: close\r\n{way}\r\n");
        self.send((!way.is_empty()).then_some(()), &request)
    }

    fn send(&self, by_tls: Option<()>, request: &str) -> Got {
        let address = match by_tls {
            Some(()) => self.clients.listener(LISTENER).unwrap(),
            None => self.gateway.listener(PLAIN).unwrap(),
        };
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut whole = Vec::new();
        // What Envoy refuses it may reset behind its answer.
        let _ = stream.read_to_end(&mut whole);
        let whole = String::from_utf8(whole).unwrap();
        let (head, body) = whole
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("{request}: {whole}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        // One chunk, where there are chunks.
        let body = match body.split_once("\r\n") {
            Some((_, rest)) => rest.split("\r\n").next().unwrap_or_default(),
            None => body,
        };
        Got {
            status,
            headers,
            body: body.to_owned(),
            whole: whole.clone(),
        }
    }
}

fn start_gateway(envoy: &Envoy, modules: Modules) -> Process {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("transport");
    fs::create_dir_all(&folder).unwrap();
    let tls = |demand: Value| json!({"cache_control": {"class": "public", "nosniff": true, "tls": demand}});
    let routes = ["v12", "v13", "certificate", "both", "any", "trimmed"]
        .map(|name| json!({"match": {"path_prefix": format!("/{name}")}, "policy": name}));
    let policy = json!({
        "version": 1,
        "policies": {
            "v12": tls(json!({"min_version": "TLSv1.2"})),
            "v13": tls(json!({"min_version": "TLSv1.3"})),
            "certificate": tls(json!({"client_certificate": "required"})),
            "both": tls(json!({"min_version": "TLSv1.3", "client_certificate": "required"})),
            "any": {"cache_control": {"class": "authenticated"}},
            "trimmed": {"cache_control": {"class": "phi"}, "response_trim": {"views": [{"deny": ["$.ssn"]}]}},
            "phi": {"cache_control": {"class": "phi", "nosniff": true}},
        },
        "routes": routes,
        "default": "phi",
    });
    let file = folder.join(format!("policy-{:?}.json", std::thread::current().id()));
    fs::write(&file, policy.to_string()).unwrap();
    let policy = PolicyFile::read(&file).unwrap_or_else(|why| panic!("{why}"));
    assert!(!policy.check().1.has_errors(), "{}", policy.check().1);

    let mut bootstrap = Bootstrap::new(ANYWHERE, upstream().into());
    bootstrap.filters = gateway::filters(&policy, modules, &folder).unwrap();
    start(envoy, &bootstrap, |document| {
        let mut nobody = document["static_resources"]["clusters"][0].clone();
        nobody["name"] = "nobody".into();
        // A port that was free a moment ago.
        let port = TcpListener::bind(ANYWHERE).unwrap().local_addr().unwrap().port();
        nobody["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]["port_value"] =
            port.into();
        document["static_resources"]["clusters"]
            .as_array_mut()
            .unwrap()
            .push(nobody);
        let mut plain = document["static_resources"]["listeners"][0].clone();
        plain["name"] = PLAIN.into();
        let mut with_tls = plain.clone();
        with_tls["name"] = LISTENER.into();
        let mut context = context("DownstreamTlsContext", Some("gateway"));
        context["typed_config"]["require_client_certificate"] = false.into();
        with_tls["filter_chains"][0]["transport_socket"] = context;
        for listener in [&mut plain, &mut with_tls] {
            let manager = manager(listener);
            manager["request_headers_timeout"] = "1s".into();
            manager["delayed_close_timeout"] = "0.02s".into();
            let routes = &mut manager["route_config"]["virtual_hosts"][0]["routes"];
            let everything = routes[0].take();
            let to = |prefix: &str, cluster: &str| {
                let mut route = everything.clone();
                route["match"] = json!({"prefix": prefix});
                route["route"]["cluster"] = cluster.into();
                route
            };
            let mut all: Vec<Value> = ["/v12", "/v13", "/certificate", "/both", "/any", "/phi", "/trimmed"]
                .map(|prefix| to(prefix, "upstream"))
                .into();
            all.push(to("/down", "nobody"));
            *routes = json!(all);
        }
        document["static_resources"]["listeners"] = json!([plain, with_tls]);
    })
}

/// Starts an Envoy with a bootstrap that is changed.
fn start(envoy: &Envoy, bootstrap: &Bootstrap, change: impl FnOnce(&mut Value)) -> Process {
    let process = Process::start_with(envoy.found(), bootstrap, |bootstrap| {
        let mut document = yaml(&bootstrap.to_yaml());
        change(&mut document);
        document.to_string()
    });
    process.unwrap()
}

fn manager(listener: &mut Value) -> &mut Value {
    &mut listener["filter_chains"][0]["filters"][0]["typed_config"]
}

fn cluster(who: &str, version: &str, address: SocketAddr) -> Value {
    let socket = json!({"socket_address": {"address": address.ip(), "port_value": address.port()}});
    let mut context = context("UpstreamTlsContext", (who != "nobody").then_some(who));
    let version_name = format!("TLSv{}", version.replace('.', "_"));
    context["typed_config"]["common_tls_context"]["tls_params"] =
        json!({"tls_minimum_protocol_version": version_name, "tls_maximum_protocol_version": version_name});
    json!({
        "name": format!("{who} {version}"),
        "load_assignment": {"cluster_name": who, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket}}]}]},
        "transport_socket": context,
    })
}

fn context(kind: &str, certificate: Option<&str>) -> Value {
    let file = |name: &str| -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/certificates/{name}.synthetic.pem"))
    };
    let mut context = json!({"validation_context": {"trusted_ca": {"filename": file("ca")}}});
    if let Some(name) = certificate {
        let file = json!({"filename": file(name)});
        context["tls_certificates"] = json!([{"certificate_chain": file, "private_key": file}]);
    }
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {"@type": format!("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}"), "common_tls_context": context},
    })
}

/// A server for as long as the test runs, which permits all caches all they can be permitted and says what it was asked.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind(ANYWHERE).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || drop(answer(stream)));
        }
    });
    address
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut from = BufReader::new(stream.try_clone()?);
    let (mut request, mut line) = (Vec::new(), String::new());
    while from.read_line(&mut line)? > 0 {
        if line != "\r\n" {
            request.push(std::mem::take(&mut line).trim_end().to_owned());
            continue;
        }
        line.clear();
        let path = request
            .first()
            .and_then(|line| line.split(' ').nth(1))
            .unwrap_or_default()
            .to_owned();
        let sent = |name: &str| {
            let named = |line: &String| {
                line.split_once(": ")
                    .filter(|(have, _)| *have == name)
                    .map(|(_, value)| value.to_owned())
            };
            request.iter().find_map(named)
        };
        if path.ends_with("/early") {
            write!(
                stream,
                "HTTP/1.1 103 Early Hints\r\nlink: </fhir/Patient/7>; rel=preload\r\n\r\n"
            )?;
        }
        let mut head = "cache-control: public, max-age=600\r\ncdn-cache-control: max-age=600\r\nexpires: Thu, 01 Jan 2099 00:00:00 GMT\r\netag: \"abc\"\r\n".to_owned();
        if path.ends_with("/two-tags") {
            head += "etag: \"def\"\r\n";
        }
        for (name, told) in [("cache-control", "caching"), ("if-modified-since", "date")] {
            if let Some(value) = sent(name) {
                head += &format!("x-seen-{told}: {value}\r\n");
            }
        }
        if sent("if-none-match").is_some_and(|tags| tags.split(", ").any(|tag| tag == "\"abc\"")) {
            write!(stream, "HTTP/1.1 304 Not Modified\r\n{head}\r\n")?;
        } else {
            let body = "{\"name\":\"x\",\"ssn\":\"000-00-0000\"}";
            write!(
                stream,
                "HTTP/1.1 200 OK\r\n{head}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )?;
        }
        request.clear();
    }
    Ok(())
}

/// YAML as JSON.
fn yaml(text: &str) -> Value {
    let node = scrim::policy_file::parse(text, &mut scrim_policy::document::Problems::default());
    node.expect("YAML").to_json()
}
