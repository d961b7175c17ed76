//! Streams that wait for keys in a real Envoy: many at once, some that leave, bodies that wait with them, and who stays when the keys come.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use scrim::cases::Modules;
use scrim::envoy::Envoy;
use scrim::exchange::{Answer, Body, Cluster, ClusterAnswer, Engine as _, Request, Setup};
use scrim::gateway;
use scrim::policy_file::PolicyFile;
use scrim::tokens::{self, TokenSpec};
use scrim::wasm::Wasmtime;

const PATIENCE: Duration = Duration::from_secs(30);
const STREAMS: usize = 60;

#[test]
fn streams_wait_together_may_leave_and_go_on_when_the_keys_come() {
    let Some(envoy) = Envoy::in_tests() else { return };
    for modules in ["suite", "chain"] {
        waits(&envoy, modules);
    }
}

fn waits(envoy: &Envoy, modules: &str) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let (asked, was_asked) = mpsc::channel();
    let (tell, told) = mpsc::channel::<()>();
    let address = server.local_addr().unwrap();
    // Answers the first call when told, and then every one.
    std::thread::spawn(move || {
        let keys = fs::read_to_string(example().join("jwks.json")).unwrap();
        for (call, stream) in server.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut from = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while from.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            let _ = asked.send(Instant::now());
            if call == 0 && told.recv().is_err() {
                return;
            }
            let length = keys.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{keys}"
            );
        }
    });
    let gateway = Gateway::start(envoy, modules, address);
    let token = token("https://idp.example.org");
    let mut streams: Vec<TcpStream> = (0..STREAMS)
        .map(|number| {
            let mut stream = TcpStream::connect(gateway.address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let body = "x".repeat(number * 100);
            write!(
                stream,
                "POST /fhir/{number} HTTP/1.1\r\nhost: fhir.example.org\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
            .unwrap();
            stream
        })
        .collect();
    was_asked.recv_timeout(PATIENCE).expect("no call was made");
    std::thread::sleep(Duration::from_millis(300));
    // Every third leaves.
    let mut number = 0;
    streams.retain(|_| {
        number += 1;
        number % 3 != 0
    });
    std::thread::sleep(Duration::from_millis(200));
    assert!(was_asked.try_recv().is_err(), "one call serves them all");
    tell.send(()).unwrap();
    for stream in &mut streams {
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        assert_eq!(String::from_utf8_lossy(&start), "HTTP/1.1 200");
    }
    // And who comes later does not wait at all.
    let mut stream = TcpStream::connect(gateway.address).unwrap();
    write!(
        stream,
        "GET /fhir/x HTTP/1.1\r\nhost: fhir.example.org\r\nauthorization: Bearer {token}\r\n\r\n"
    )
    .unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(String::from_utf8_lossy(&start), "HTTP/1.1 200");
}

#[test]
fn a_proxy_that_holds_all_callbacks_lets_requests_wait_too() {
    let policy =
        PolicyFile::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/policies/remote-keys.yaml")).unwrap();
    let mut filters = gateway::filters(&policy, Modules::Suite, Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    for filter in &mut filters {
        // As Istio and Envoy Gateway run them.
        filter.allow_on_headers_stop_iteration = false;
        filter.configuration = policy.configuration(false).to_string().into_bytes();
    }
    let keys = ClusterAnswer {
        status: 200,
        body: fs::read(example().join("jwks.json")).unwrap(),
        ..ClusterAnswer::default()
    };
    let failure = ClusterAnswer {
        status: 500,
        ..ClusterAnswer::default()
    };
    let cluster = |answers: &[&ClusterAnswer]| Cluster {
        answers: [("*".to_owned(), answers.iter().map(|answer| (*answer).clone()).collect())].into(),
        ..Cluster::default()
    };
    let setup = Setup {
        filters,
        clusters: [
            ("steady".to_owned(), cluster(&[&keys])),
            ("flaky".to_owned(), cluster(&[&failure, &keys])),
        ]
        .into(),
        ..Setup::default()
    };
    let answer = Answer {
        status: 200,
        headers: Vec::new(),
        body: Body::default(),
        fault: None,
    };
    let request = |name: &str| {
        let token = token(&format!("https://{name}.example.org"));
        Request {
            method: "POST".into(),
            target: format!("/{name}").into_bytes(),
            authority: "fhir.example.org".into(),
            headers: vec![("authorization".into(), format!("Bearer {token}").into_bytes())],
            body: Body {
                chunks: vec![b"one".to_vec(), b"two".to_vec()],
                ..Body::default()
            },
        }
    };
    let run = |gateway: &mut dyn scrim::exchange::Gateway| {
        let passed = gateway.exchange(&request("steady"), &answer).unwrap();
        assert_eq!(passed.client.unwrap().status, 200);
        assert_eq!(passed.upstream.unwrap().body, b"onetwo");
        let denied = gateway.exchange(&request("flaky"), &answer).unwrap();
        assert_eq!((denied.client.unwrap().status, denied.upstream), (503, None));
        gateway.wait(Duration::from_millis(1_100)).unwrap();
        let passed = gateway.exchange(&request("flaky"), &answer).unwrap();
        assert_eq!(passed.client.unwrap().status, 200);
    };
    let mut chain = Wasmtime::new().unwrap().start_chain(&setup).unwrap();
    run(&mut chain);
    // The fetches are counted, and so is who had to be turned away.
    for (metric, count) in [
        ("scrim_jwks_fetch_ok", 2),
        ("scrim_jwks_fetch_failed_status", 1),
        ("scrim_jwks_unavailable", 1),
        ("scrim_denied_keys_unavailable", 1),
    ] {
        assert_eq!(chain.metric(metric), Some(count), "{metric}");
    }
    if let Some(envoy) = Envoy::in_tests() {
        run(&mut *envoy.start(&setup).unwrap());
    }
}

/// `scrim serve` before an upstream that says how long the body was.
struct Gateway {
    child: Child,
    address: SocketAddr,
}

impl Gateway {
    fn start(envoy: &Envoy, modules: &str, keys: SocketAddr) -> Self {
        let policy = json!({
            "version": "1",
            "issuers": {"idp": {
                "issuer": "https://idp.example.org", "audiences": ["https://fhir.example.org"], "algorithms": ["RS256"],
                "jwks": {"remote": {"cluster": "idp", "url": "http://idp.example.org/jwks"}},
            }},
            "policies": {"all": {"oauth_scope": {"issuers": ["idp"], "require": "user/Patient.rs"}}},
            "default": "all",
        });
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("remote-keys-{modules}.json"));
        fs::write(&file, policy.to_string()).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_scrim"))
            .env("ENVOY", &envoy.found().path)
            .args([
                "serve",
                "--engine",
                "envoy",
                "--listen",
                "127.0.0.1:0",
                "--modules",
                modules,
                "--cluster",
            ])
            .arg(format!("idp={keys}"))
            .arg("--upstream")
            .arg(upstream().to_string())
            .arg("--policy")
            .arg(&file)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .unwrap_or_else(|| panic!("{line}"))
            .parse();
        Self {
            child,
            address: address.unwrap(),
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // By SIGTERM first: killed at once it could not end its Envoy. The standard library has no signals; every POSIX shell has.
        let _ = Command::new("/bin/sh")
            .args(["-c", "kill -TERM \"$0\"", &self.child.id().to_string()])
            .status();
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers 200 when the whole body came, else 400.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
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
    loop {
        let mut first = String::new();
        if from.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let (mut line, mut length) = (String::new(), 0);
        while from.read_line(&mut line)? > 2 {
            if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap_or(0);
            }
            line.clear();
        }
        let mut body = vec![0; length];
        from.read_exact(&mut body)?;
        let number = first
            .split(['/', ' '])
            .filter_map(|part| part.parse::<usize>().ok())
            .next();
        let status = if number.is_none_or(|number| number * 100 == length) {
            200
        } else {
            400
        };
        write!(stream, "HTTP/1.1 {status} Told\r\ncontent-length: 2\r\n\r\n{{}}")?;
    }
}

fn token(issuer: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims =
        json!({"iss": issuer, "aud": "https://fhir.example.org", "exp": now + 600, "scope": "user/Patient.rs"});
    let spec: TokenSpec =
        serde_json::from_value(json!({"key": "keys/rs256.synthetic.jwk.json", "claims": claims})).unwrap();
    tokens::mint(&spec, &example(), i64::try_from(now).unwrap()).unwrap()
}

fn example() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/fhir-gateway")
}
