//! Tokens bound to client certificates (RFC 8705) behind real TLS: one Envoy has the certificates of clients, one is the hop in front, one runs the suite.
//!
//! A request names its way by two headers, `x-first` and `x-second`: which certificate goes where, see [`forwarder`]. What the gateway saw and judged is in
//! its access log.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use scrim::cases::Modules;
use scrim::envoy::{Envoy, Line, Process};
use scrim::gateway;
use scrim::policy_file::PolicyFile;
use scrim::render::{AccessLog, Admin, Bootstrap, LISTENER, Sink};
use scrim::tokens::{self, TokenSpec};

const PATIENCE: Duration = Duration::from_secs(20);
const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Who connects somewhere: the certificates' names, and nobody's.
const NOBODY: &str = "nobody";
const CERTIFICATES: [&str; 6] = ["client-x", "client-y", "edge", "other-edge", "second-name", "stranger"];

/// The gateway's listeners by what Envoy does with `X-Forwarded-Client-Cert`. They want a certificate of our authority.
const DETAILS: [&str; 5] = [
    "SANITIZE",
    "FORWARD_ONLY",
    "ALWAYS_FORWARD_ONLY",
    "APPEND_FORWARD",
    "SANITIZE_SET",
];
/// As `APPEND_FORWARD`, but goes without a certificate.
const OPTIONAL: &str = "optional";
/// As `FORWARD_ONLY`, but takes a certificate of any authority: a mistake.
const UNVERIFIED: &str = "unverified";
/// Wants a certificate and names no authority, so Envoy asks for none.
const UNASKED: &str = "unasked";
/// No TLS, and the header passes.
const PLAIN: &str = "plain";

/// The hop's listeners, by what Envoy does with the header, and whether they want a certificate.
const EDGES: [(&str, &str, bool); 4] = [
    ("EDGE", "SANITIZE_SET", true),
    ("OPEN_EDGE", "SANITIZE_SET", false),
    ("APPENDING_EDGE", "APPEND_FORWARD", true),
    ("FORWARDING_EDGE", "FORWARD_ONLY", true),
];

/// Whether clients are asked for a certificate.
enum Asked {
    Required,
    Optional,
    /// Required, of whatever authority.
    Unverified,
    /// Required, and no authority named.
    Unnamed,
}

/// One test, since the Envoys take longer to start than all of it.
#[test]
fn certificates_count_behind_real_tls() {
    let Some(envoy) = Envoy::in_tests() else { return };
    let mut mesh = Mesh::start(&envoy);
    a_bound_token_needs_its_certificate(&mut mesh);
    the_header_of_a_client_does_not_count(&mut mesh);
    a_trusted_hop_speaks_for_its_client(&mut mesh);
    hops_in_a_row_are_not_believed(&mut mesh);
    a_gateway_that_drops_the_header_refuses(&mut mesh);
    what_the_proxy_must_do_nobody_else_does(&mut mesh);
}

fn a_bound_token_needs_its_certificate(mesh: &mut Mesh) {
    let x = token("client-x");
    let unbound = token(NOBODY);
    for listener in DETAILS {
        let mut ask = |certificate, path, token| mesh.ask(path, token, &[(certificate, listener)], &[]);
        assert_eq!(ask("client-x", "/bound", &x), ALLOWED, "{listener}");
        assert_eq!(ask("client-y", "/bound", &x), denied("other_certificate"), "{listener}");
        // A trusted hop is not its clients.
        assert_eq!(ask("client-x", "/unhopped", &x), ALLOWED, "{listener}");
        assert_eq!(
            ask("client-y", "/unhopped", &x),
            denied("other_certificate"),
            "{listener}"
        );
        assert_eq!(ask("client-x", "/strict", &x), ALLOWED, "{listener}");
        assert_eq!(ask("client-x", "/strict", &unbound), denied("not_bound"), "{listener}");
        assert_eq!(ask("client-y", "/bound", &unbound), ALLOWED, "{listener}");
        // Envoy lets neither in, and the gateway sees nothing of them.
        for stranger in [NOBODY, "stranger"] {
            assert_eq!(ask(stranger, "/bound", &x).0, 503, "{listener} {stranger}");
        }
    }
    for listener in [PLAIN, OPTIONAL] {
        let mut ask = |path, token| mesh.ask(path, token, &[(NOBODY, listener)], &[]);
        assert_eq!(ask("/bound", &x), denied("no_certificate"), "{listener}");
        assert_eq!(ask("/strict", &x), denied("no_certificate"), "{listener}");
        assert_eq!(ask("/bound", &unbound), ALLOWED, "{listener}");
        assert_eq!(ask("/strict", &unbound), denied("not_bound"), "{listener}");
    }
    assert_eq!(mesh.ask("/bound", &x, &[("client-x", OPTIONAL)], &[]), ALLOWED);
    assert!(
        mesh.resumed_sessions() > 0,
        "a resumed session knows the certificate too"
    );
}

fn the_header_of_a_client_does_not_count(mesh: &mut Mesh) {
    let token = token("client-x");
    let names_x = format!("Hash={}", hex(&digest("client-x")));
    for listener in DETAILS.into_iter().chain([OPTIONAL, UNVERIFIED]) {
        for path in ["/bound", "/unhopped", "/strict"] {
            // Nor does that of a hop that is not trusted.
            for certificate in ["client-y", "other-edge", "second-name"] {
                let got = mesh.ask(path, &token, &[(certificate, listener)], &[&names_x]);
                assert_eq!(got, denied("other_certificate"), "{listener} {path} {certificate}");
            }
            // And one's own certificate counts whatever the header says.
            let got = mesh.ask(path, &token, &[("client-x", listener)], &["Hash=0"]);
            assert_eq!(got, ALLOWED, "{listener} {path}");
        }
    }
    for way in [
        (NOBODY, PLAIN),
        (NOBODY, OPTIONAL),
        ("client-x", UNASKED),
        ("stranger", UNASKED),
    ] {
        let got = mesh.ask("/bound", &token, &[way], &[&names_x]);
        assert_eq!(got, denied("no_certificate"), "{way:?}");
    }
}

fn a_trusted_hop_speaks_for_its_client(mesh: &mut Mesh) {
    let x = token("client-x");
    let of_the_hop = token("edge");
    let names_x = format!("Hash={}", hex(&digest("client-x")));
    for listener in ["FORWARD_ONLY", "ALWAYS_FORWARD_ONLY", "APPEND_FORWARD", OPTIONAL] {
        for lines in [&[][..], &[&names_x[..]], &[&names_x, &names_x]] {
            let mut ask =
                |path, token, certificate, hop| mesh.ask(path, token, &[(certificate, "EDGE"), (hop, listener)], lines);
            assert_eq!(ask("/bound", &x, "client-x", "edge"), ALLOWED, "{listener}");
            assert_eq!(ask("/strict", &x, "client-x", "edge"), ALLOWED, "{listener}");
            assert_eq!(
                ask("/bound", &x, "client-y", "edge"),
                denied("other_certificate"),
                "{listener}"
            );
            assert_eq!(
                ask("/unhopped", &x, "client-x", "edge"),
                denied("other_certificate"),
                "{listener}"
            );
            // Only the first URI name counts, which is all that Envoy tells.
            for hop in ["other-edge", "second-name"] {
                assert_eq!(
                    ask("/bound", &x, "client-x", hop),
                    denied("other_certificate"),
                    "{listener} {hop}"
                );
            }
            // What is bound to the hop's own certificate is not its clients' to use.
            assert_eq!(
                ask("/bound", &of_the_hop, "client-x", "edge"),
                denied("other_certificate"),
                "{listener}"
            );
            let of_nobody = [(NOBODY, "OPEN_EDGE"), ("edge", listener)];
            for token in [&x, &of_the_hop] {
                let got = mesh.ask("/bound", token, &of_nobody, lines);
                assert_eq!(got, denied("forwarded_certificate"), "{listener}");
            }
        }
        // Nor the hop's: it could be a client's that showed none.
        let got = mesh.ask("/bound", &of_the_hop, &[("edge", listener)], &[]);
        assert_eq!(got, denied("forwarded_certificate"), "{listener}");
    }
}

/// Where Envoy removes or replaces the hop's header, nothing gets through.
fn a_gateway_that_drops_the_header_refuses(mesh: &mut Mesh) {
    for listener in ["SANITIZE", "SANITIZE_SET"] {
        for bound_to in ["client-x", "edge"] {
            let got = mesh.ask(
                "/bound",
                &token(bound_to),
                &[("client-x", "EDGE"), ("edge", listener)],
                &[],
            );
            assert_eq!(got, denied("forwarded_certificate"), "{listener} {bound_to}");
        }
    }
}

/// A hop that adds its client to what that client said names two.
fn hops_in_a_row_are_not_believed(mesh: &mut Mesh) {
    let x = token("client-x");
    let names_x = format!("Hash={}", hex(&digest("client-x")));
    for listener in ["FORWARD_ONLY", "APPEND_FORWARD"] {
        let mut ask = |certificate, lines: &[&str]| {
            mesh.ask(
                "/bound",
                &x,
                &[(certificate, "APPENDING_EDGE"), ("edge", listener)],
                lines,
            )
        };
        assert_eq!(ask("client-x", &[]), ALLOWED, "{listener}");
        assert_eq!(ask("client-y", &[]), denied("other_certificate"), "{listener}");
        for certificate in ["client-x", "client-y", "other-edge"] {
            assert_eq!(
                ask(certificate, &[&names_x]),
                denied("forwarded_certificate"),
                "{listener} {certificate}"
            );
        }
    }
}

/// What no filter can know, and why `check` warns: whether Envoy verified a certificate, and whether a hop looked at its client's.
fn what_the_proxy_must_do_nobody_else_does(mesh: &mut Mesh) {
    let x = token("client-x");
    let names_x = format!("Hash={}", hex(&digest("client-x")));
    for way in [
        &[("stranger", UNVERIFIED)][..],
        &[("client-y", "FORWARDING_EDGE"), ("edge", "FORWARD_ONLY")],
    ] {
        assert_eq!(mesh.ask("/bound", &x, way, &[&names_x]), ALLOWED, "{way:?}");
        assert_eq!(
            mesh.ask("/unhopped", &x, way, &[&names_x]),
            denied("other_certificate"),
            "{way:?}"
        );
    }
}

/// Status, and the audit record's detail.
type Judgement = (u16, Option<String>);

const ALLOWED: Judgement = (200, None);

fn denied(detail: &str) -> Judgement {
    (401, Some(detail.to_owned()))
}

/// Three Envoys, in the order in which they end.
struct Mesh {
    clients: Process,
    _edge: Process,
    gateway: Process,
    /// The administration interface of `clients`.
    admin: PathBuf,
}

impl Mesh {
    fn start(envoy: &Envoy) -> Self {
        let gateway = start_gateway(envoy);
        let address = |process: &Process, name: &str| (name.to_owned(), process.listener(name).unwrap());
        let mut servers: BTreeMap<String, SocketAddr> = DETAILS
            .into_iter()
            .chain([OPTIONAL, UNVERIFIED, UNASKED, PLAIN])
            .map(|name| address(&gateway, name))
            .collect();
        let (edge, _) = start(envoy, &Bootstrap::new(ANYWHERE, ANYWHERE.into()), |document| {
            let plain = forwarder(document, "x-second", &servers);
            let listeners = EDGES.map(|(name, details, required)| {
                let mut listener = named(&plain, name, details);
                if details == "SANITIZE_SET" {
                    manager(&mut listener)["set_current_client_cert_details"] =
                        json!({"subject": true, "cert": true, "chain": true, "dns": true, "uri": true});
                }
                with_tls(listener, if required { Asked::Required } else { Asked::Optional })
            });
            document["static_resources"]["listeners"] = json!(listeners);
        });
        servers.extend(EDGES.map(|(name, ..)| address(&edge, name)));
        let (clients, admin) = start(envoy, &Bootstrap::new(ANYWHERE, ANYWHERE.into()), |document| {
            // The header of a client, which this Envoy has to let pass, is a test's.
            let listener = forwarder(document, "x-first", &servers);
            // Envoy's own default for clients is 1.2, which the hop speaks.
            for cluster in document["static_resources"]["clusters"].as_array_mut().unwrap() {
                if let Some(socket) = cluster.get_mut("transport_socket") {
                    socket["typed_config"]["common_tls_context"]["tls_params"] =
                        json!({"tls_maximum_protocol_version": "TLSv1_3"});
                }
            }
            document["static_resources"]["listeners"] = json!([named(&listener, LISTENER, "ALWAYS_FORWARD_ONLY")]);
        });
        Self {
            clients,
            _edge: edge,
            gateway,
            admin,
        }
    }

    /// Sends a request on its way: from whom to where, once or twice. `lines`: the client's `X-Forwarded-Client-Cert`.
    fn ask(&mut self, path: &str, token: &str, way: &[(&str, &str)], lines: &[&str]) -> Judgement {
        let mut head = format!("GET {path} HTTP/1.1\r\nhost: fhir.example.org\r\nauthorization: Bearer {token}\r\n");
        for (name, (certificate, server)) in ["x-first", "x-second"].into_iter().zip(way) {
            head += &format!("{name}: {certificate} to {server}\r\n");
        }
        for line in lines {
            head += &format!("x-forwarded-client-cert: {line}\r\n");
        }
        let mut stream = TcpStream::connect(self.clients.listener(LISTENER).unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "{head}\r\n").unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        let status = String::from_utf8_lossy(&start[9..]).parse().unwrap();
        if status == 503 {
            return (status, None);
        }
        let record = self.record();
        assert_eq!(record["status"], status, "{record}");
        let audit: Value = serde_json::from_str(record["audit"].as_str().unwrap()).unwrap();
        let detail = audit["filters"]["oauth_scope"]["detail"].as_str();
        (status, detail.map(str::to_owned))
    }

    /// What the gateway wrote about the last request.
    fn record(&mut self) -> Value {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(Line::Access(line)) = self.gateway.next_line(PATIENCE).unwrap() {
                return serde_json::from_str(&line).unwrap();
            }
        }
        panic!("the gateway wrote nothing")
    }

    /// How many of the clients' TLS handshakes were short ones.
    fn resumed_sessions(&self) -> u64 {
        let mut stream = UnixStream::connect(&self.admin).unwrap();
        write!(
            stream,
            "GET /stats?filter=ssl.session_reused HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text.lines()
            .filter_map(|line| line.strip_prefix("cluster.")?.rsplit_once(": ")?.1.parse::<u64>().ok())
            .sum()
    }
}

/// The suite behind every listener.
fn start_gateway(envoy: &Envoy) -> Process {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("certificates");
    fs::create_dir_all(&folder).unwrap();
    let scope =
        |sender: Value| json!({"oauth_scope": {"issuers": ["idp"], "require": "user/Patient.rs", "sender": sender}});
    let routes = ["bound", "strict", "unhopped"]
        .map(|name| json!({"match": {"path_prefix": format!("/{name}")}, "policy": name}));
    let policy = json!({
        "version": 1,
        "issuers": {"idp": {
            "issuer": "https://idp.example.org", "audiences": ["https://fhir.example.org"], "algorithms": ["RS256"],
            "jwks": {"file": example().join("jwks.json")},
        }},
        "policies": {
            "bound": scope(json!({"trusted_hops": ["spiffe://mesh/edge"]})),
            "strict": scope(json!({"certificate": "required", "trusted_hops": ["spiffe://mesh/edge"]})),
            "unhopped": scope(json!({})),
        },
        "routes": routes,
        "default": "deny",
    });
    let file = folder.join(format!("policy-{:?}.json", std::thread::current().id()));
    fs::write(&file, policy.to_string()).unwrap();
    let policy = PolicyFile::read(&file).unwrap_or_else(|why| panic!("{why}"));
    assert!(!policy.check().1.has_errors(), "{}", policy.check().1);

    let mut bootstrap = Bootstrap::new(ANYWHERE, upstream().into());
    bootstrap.filters = gateway::filters(&policy, Modules::Suite, &folder).unwrap();
    bootstrap.access_log = Some(AccessLog::standard(Sink::Stdout));
    let change = |document: &mut Value| {
        let listener = document["static_resources"]["listeners"][0].take();
        let listeners: Vec<Value> = DETAILS
            .into_iter()
            .map(|details| with_tls(named(&listener, details, details), Asked::Required))
            .chain([
                with_tls(named(&listener, OPTIONAL, "APPEND_FORWARD"), Asked::Optional),
                with_tls(named(&listener, UNVERIFIED, "FORWARD_ONLY"), Asked::Unverified),
                with_tls(named(&listener, UNASKED, "FORWARD_ONLY"), Asked::Unnamed),
                named(&listener, PLAIN, "ALWAYS_FORWARD_ONLY"),
            ])
            .collect();
        document["static_resources"]["listeners"] = json!(listeners);
    };
    start(envoy, &bootstrap, change).0
}

/// Starts an Envoy with a bootstrap that is changed, and says where its administration interface is.
fn start(envoy: &Envoy, bootstrap: &Bootstrap, change: impl FnOnce(&mut Value)) -> (Process, PathBuf) {
    let mut admin = PathBuf::new();
    let process = Process::start_with(envoy.found(), bootstrap, |bootstrap| {
        if let Some(Admin::Socket(path)) = &bootstrap.admin {
            admin.clone_from(path);
        }
        let mut document = yaml(&bootstrap.to_yaml());
        change(&mut document);
        document.to_string()
    });
    (process.unwrap(), admin)
}

/// A copy of a listener by another name, and what it does with `X-Forwarded-Client-Cert`.
fn named(listener: &Value, name: &str, details: &str) -> Value {
    let mut listener = listener.clone();
    listener["name"] = name.into();
    manager(&mut listener)["forward_client_cert_details"] = details.into();
    listener
}

fn manager(listener: &mut Value) -> &mut Value {
    &mut listener["filter_chains"][0]["filters"][0]["typed_config"]
}

/// TLS with the gateway's certificate.
fn with_tls(mut listener: Value, asked: Asked) -> Value {
    let mut context = tls("DownstreamTlsContext", Some("gateway"));
    let typed = &mut context["typed_config"];
    typed["require_client_certificate"] = (!matches!(asked, Asked::Optional)).into();
    let common = &mut typed["common_tls_context"];
    match asked {
        Asked::Required | Asked::Optional => {}
        Asked::Unverified => common["validation_context"]["trust_chain_verification"] = "ACCEPT_UNTRUSTED".into(),
        Asked::Unnamed => drop(common["validation_context"].take()),
    }
    listener["filter_chains"][0]["transport_socket"] = context;
    listener
}

/// Makes the document's servers one for each certificate and server, `<certificate> to <server>`, and gives a listener on which the header says which.
fn forwarder(document: &mut Value, header: &str, servers: &BTreeMap<String, SocketAddr>) -> Value {
    let clusters: Vec<Value> = servers
        .iter()
        .flat_map(|(server, address)| {
            [NOBODY]
                .into_iter()
                .chain(CERTIFICATES)
                .map(move |who| cluster(who, server, *address))
        })
        .collect();
    document["static_resources"]["clusters"] = json!(clusters);
    let mut listener = document["static_resources"]["listeners"][0].take();
    let route = &mut manager(&mut listener)["route_config"]["virtual_hosts"][0]["routes"][0];
    route["route"] = json!({"cluster_header": header});
    listener
}

fn cluster(who: &str, server: &str, address: SocketAddr) -> Value {
    let socket = json!({"socket_address": {"address": address.ip(), "port_value": address.port()}});
    let mut cluster = json!({
        "name": format!("{who} to {server}"),
        "load_assignment": {"cluster_name": server, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket}}]}]},
        // Each request has a connection of its own.
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "common_http_protocol_options": {"max_requests_per_connection": 1},
            "explicit_http_config": {"http_protocol_options": {}},
        }},
    });
    if server != PLAIN {
        cluster["transport_socket"] = tls("UpstreamTlsContext", (who != NOBODY).then_some(who));
    }
    cluster
}

fn tls(kind: &str, certificate: Option<&str>) -> Value {
    let mut context = json!({"validation_context": {"trusted_ca": {"filename": certificate_file("ca")}}});
    if let Some(name) = certificate {
        let file = json!({"filename": certificate_file(name)});
        context["tls_certificates"] = json!([{"certificate_chain": file, "private_key": file}]);
    }
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {"@type": format!("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}"), "common_tls_context": context},
    })
}

fn certificate_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/certificates/{name}.synthetic.pem"))
}

/// SHA-256 of the certificate's DER (RFC 8705 section 3.1).
fn digest(name: &str) -> Vec<u8> {
    let text = fs::read_to_string(certificate_file(name)).unwrap();
    let (_, after) = text.split_once("-----BEGIN CERTIFICATE-----").unwrap();
    let (encoded, _) = after.split_once("-----END CERTIFICATE-----").unwrap();
    let encoded: String = encoded.split_whitespace().collect();
    Sha256::digest(STANDARD.decode(encoded).unwrap()).to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A token bound to that certificate, or to none.
fn token(bound_to: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut claims = json!({
        "iss": "https://idp.example.org", "aud": "https://fhir.example.org", "sub": "synthetic", "exp": now + 600, "scope": "user/Patient.rs",
    });
    if bound_to != NOBODY {
        claims["cnf"] = json!({"x5t#S256": URL_SAFE_NO_PAD.encode(digest(bound_to))});
    }
    let spec: TokenSpec =
        serde_json::from_value(json!({"key": "keys/rs256.synthetic.jwk.json", "claims": claims})).unwrap();
    tokens::mint(&spec, &example(), i64::try_from(now).unwrap()).unwrap()
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/fhir-gateway")
}

/// A small server on a port of its own, for as long as the test runs.
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
    let mut line = String::new();
    while from.read_line(&mut line)? > 0 {
        if line == "\r\n" {
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{{}}")?;
        }
        line.clear();
    }
    Ok(())
}

/// YAML as JSON.
fn yaml(text: &str) -> Value {
    let node = scrim::policy_file::parse(text, &mut scrim_policy::document::Problems::default());
    node.expect("YAML").to_json()
}
