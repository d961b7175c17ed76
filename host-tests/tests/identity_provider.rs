//! A real identity provider (npm `oidc-provider`) and a real FHIR client (npm `fhir-kit-client`) before a real Envoy, all on the loopback.
//!
//! The rule for keys that rotate, which this test holds against traffic:
//!
//! 1. A token signed by a key that the provider publishes is never denied, however new the key: its first request waits for it.
//! 2. A token signed by a key that the provider has withdrawn is refused as soon as the copy has been renewed: at most `refresh`, and the
//!    time of a tick and of a fetch, after the withdrawal. Once refused it is never accepted again.
//! 3. A token that no published key has signed is never accepted.
//!
//! Node and npm are needed; where they are missing the test says so, and under `CI=true` it fails.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use scrim::envoy::Envoy;
use scrim::tokens::{self, TokenSpec};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The policy's `refresh`.
const REFRESH: Duration = Duration::from_secs(2);
/// The timer's period, and what fetching takes on a busy machine.
const SLACK: Duration = Duration::from_secs(3);
/// How many times the keys rotate.
const ROTATIONS: usize = 3;

#[test]
fn keys_rotate_during_traffic_with_no_wrong_denial_and_no_wrong_allow() {
    let (Some(envoy), Some(packages)) = (Envoy::in_tests(), packages()) else {
        return;
    };
    let mut provider = Provider::start(packages);
    let gateway = Gateway::start("envoy", &envoy.found().path, &provider);
    let mut kid = "first".to_owned();
    let mut token = provider.token("system/Patient.rs");
    let traffic = Traffic::start(gateway.address, &token, &provider.forged(&kid));
    for rotation in 0..ROTATIONS {
        std::thread::sleep(Duration::from_millis(300));
        // The new key signs from the moment that it is published.
        let next = format!("key-{rotation}");
        provider.order(&format!("keys {next} {kid}"));
        let old = std::mem::replace(&mut token, provider.token("system/Patient.rs"));
        assert_eq!(kid_of(&token), next);
        traffic.use_token(&token, &provider.forged(&next));
        assert_eq!(
            gateway.get("/fhir/Patient/pat-0001", Some(&old)),
            200,
            "it is still published"
        );
        std::thread::sleep(Duration::from_millis(300));
        provider.order(&format!("keys {next}"));
        kid = next;
        let withdrawn = Instant::now();
        loop {
            let asked = Instant::now();
            match gateway.get("/fhir/Patient/pat-0001", Some(&old)) {
                401 => break,
                200 => assert!(
                    asked - withdrawn < REFRESH + SLACK,
                    "a withdrawn key still counts {:?} after",
                    asked - withdrawn
                ),
                status => panic!("a token of a withdrawn key: {status}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        for _ in 0..10 {
            assert_eq!(gateway.get("/fhir/Patient/pat-0001", Some(&old)), 401);
        }
    }
    let (carried, wrong) = traffic.stop();
    assert_eq!(wrong, [""; 0], "of {carried}");
    assert!(carried > 100, "only {carried} requests were carried");
}

#[test]
fn a_fhir_client_reads_and_searches_and_is_told_in_its_own_language() {
    let (Some(envoy), Some(packages)) = (Envoy::in_tests(), packages()) else {
        return;
    };
    let provider = Provider::start(packages.clone());
    let token = provider.token("system/Patient.rs");
    for engine in ["envoy", "wasmtime"] {
        let gateway = Gateway::start(engine, &envoy.found().path, &provider);
        let run = Command::new("node")
            .arg(packages.join("client.mjs"))
            .arg(format!("http://{}/fhir", gateway.address))
            .env("TOKEN", &token)
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let seen: Value = serde_json::from_slice(&run.stdout).unwrap();
        assert_eq!(seen["read"]["resource"], patient(), "{engine}: {seen}");
        assert_eq!(seen["search"]["resource"]["resourceType"], "Bundle", "{engine}: {seen}");
        for (what, status, code) in [("forbidden", 403, "insufficient_scope"), ("anonymous", 401, "no_token")] {
            let told = &seen[what];
            assert_eq!(told["status"], status, "{engine}: {told}");
            assert_eq!(told["resource"]["resourceType"], "OperationOutcome", "{engine}: {told}");
            assert_eq!(told["resource"]["issue"][0]["diagnostics"], code, "{engine}: {told}");
        }
    }
}

/// Requests one after another: with the newest token, which must pass, and with a forged one, which must not.
struct Traffic {
    tokens: Arc<Mutex<(String, String)>>,
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<(usize, Vec<String>)>>,
}

impl Traffic {
    fn start(address: SocketAddr, good: &str, forged: &str) -> Self {
        let tokens = Arc::new(Mutex::new((good.to_owned(), forged.to_owned())));
        let stop = Arc::<AtomicBool>::default();
        let carry = |forges: bool| {
            let (tokens, stop) = (Arc::clone(&tokens), Arc::clone(&stop));
            std::thread::spawn(move || {
                let (mut carried, mut wrong) = (0, Vec::new());
                while !stop.load(Ordering::SeqCst) {
                    let (good, forged) = tokens.lock().unwrap().clone();
                    let (token, wanted) = if forges { (forged, 401) } else { (good, 200) };
                    let status = get(address, "/fhir/Patient/pat-0001", Some(&token));
                    if status != wanted {
                        wrong.push(format!("request {carried} with kid {}: {status}", kid_of(&token)));
                    }
                    carried += 1;
                    std::thread::sleep(Duration::from_millis(10));
                }
                (carried, wrong)
            })
        };
        let threads = vec![carry(false), carry(false), carry(true)];
        Self { tokens, stop, threads }
    }

    fn use_token(&self, good: &str, forged: &str) {
        *self.tokens.lock().unwrap() = (good.to_owned(), forged.to_owned());
    }

    fn stop(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = (0, Vec::new());
        for thread in self.threads {
            let (carried, wrong) = thread.join().unwrap();
            all.0 += carried;
            all.1.extend(wrong);
        }
        all
    }
}

/// The identity provider.
struct Provider {
    child: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
    issuer: String,
}

impl Provider {
    fn start(packages: PathBuf) -> Self {
        let mut child = Command::new("node")
            .arg(packages.join("server.mjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let orders = child.stdin.take().unwrap();
        let answers = lines(child.stdout.take().unwrap());
        let mut provider = Self {
            child,
            orders,
            answers,
            issuer: String::new(),
        };
        let line = provider.answer("issuer ");
        provider.issuer = line.trim_start_matches("issuer ").to_owned();
        provider
    }

    fn order(&mut self, line: &str) {
        writeln!(self.orders, "{line}").unwrap();
        assert_eq!(self.answer("keys "), line);
    }

    /// The next line that begins so; the library may say more.
    fn answer(&self, begin: &str) -> String {
        loop {
            let line = self.answers.recv_timeout(PATIENCE).expect("the provider says nothing");
            if line.starts_with(begin) {
                return line;
            }
        }
    }

    fn address(&self) -> SocketAddr {
        self.issuer.trim_start_matches("http://").parse().unwrap()
    }

    /// By the grant of RFC 6749 section 4.4.
    fn token(&self, scope: &str) -> String {
        let body = format!("grant_type=client_credentials&scope={scope}");
        // `backend:synthetic-secret`
        let head = format!(
            "authorization: Basic YmFja2VuZDpzeW50aGV0aWMtc2VjcmV0\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n",
            body.len()
        );
        let (status, answer) = exchange(self.address(), &format!("POST /token HTTP/1.1\r\n{head}"), &body);
        assert_eq!(status, 200, "{answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// A token that says the same, with that `kid`, by a key that was never published.
    fn forged(&self, kid: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let claims = json!({
            "iss": self.issuer, "aud": "https://fhir.example.org", "sub": "backend", "exp": now + 600, "scope": "system/Patient.rs",
        });
        let spec: TokenSpec =
            serde_json::from_value(json!({"key": "keys/es256.synthetic.jwk.json", "kid": kid, "claims": claims}))
                .unwrap();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/fhir-gateway");
        tokens::mint(&spec, &example, i64::try_from(now).unwrap()).unwrap()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `scrim serve` with a policy that finds the provider's keys by discovery.
struct Gateway {
    child: Child,
    address: SocketAddr,
}

impl Gateway {
    fn start(engine: &str, envoy: &Path, provider: &Provider) -> Self {
        let policy = json!({
            "version": "1",
            "issuers": {"idp": {
                "issuer": provider.issuer, "audiences": ["https://fhir.example.org"], "algorithms": ["ES256"],
                "jwks": {"discovery": {"cluster": "idp", "refresh": format!("{}s", REFRESH.as_secs()), "max_stale": "1m"}},
            }},
            "policies": {
                "patients": {"oauth_scope": {"issuers": ["idp"], "require": "system/Patient.rs"}, "cache_control": {"class": "phi"}},
                "others": {"oauth_scope": {"issuers": ["idp"], "require": "system/*.rs"}, "cache_control": {"class": "phi"}},
            },
            "routes": [{"match": {"path_prefix": "/fhir/Patient"}, "policy": "patients"}, {"match": {"path_prefix": "/fhir/"}, "policy": "others"}],
        });
        let file = folder().join(format!("policy-{}-{engine}.json", provider.address().port()));
        fs::write(&file, policy.to_string()).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_scrim"))
            .env("ENVOY", envoy)
            .args(["serve", "--engine", engine, "--listen", "127.0.0.1:0", "--upstream"])
            .arg(upstream().to_string())
            .arg("--policy")
            .arg(&file)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = lines(child.stdout.take().unwrap());
        let mut gateway = Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        let line = said.recv_timeout(PATIENCE).expect("the gateway says nothing");
        gateway.address = line
            .strip_prefix("listening on ")
            .unwrap_or_else(|| panic!("{line}"))
            .parse()
            .unwrap();
        gateway
    }

    fn get(&self, target: &str, token: Option<&str>) -> u16 {
        get(self.address, target, token)
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

fn get(address: SocketAddr, target: &str, token: Option<&str>) -> u16 {
    let token = token
        .map(|token| format!("authorization: Bearer {token}\r\n"))
        .unwrap_or_default();
    exchange(address, &format!("GET {target} HTTP/1.1\r\n{token}"), "").0
}

/// Status and body.
fn exchange(address: SocketAddr, head: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "{head}host: {address}\r\nconnection: close\r\n\r\n{body}").unwrap();
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    // Not to the end of the connection: Envoy keeps one on which it has answered by itself for a second.
    loop {
        let text = String::from_utf8_lossy(&bytes);
        let whole = text.split_once("\r\n\r\n").filter(|(head, body)| {
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")
                    .map(str::to_owned)
            });
            length
                .and_then(|length| length.parse().ok())
                .is_some_and(|length: usize| body.len() >= length)
        });
        let count = if whole.is_some() {
            0
        } else {
            stream.read(&mut buffer).unwrap()
        };
        if count == 0 {
            let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
            let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
            return (status.unwrap_or(0), body.unwrap_or_default());
        }
        bytes.extend_from_slice(&buffer[..count]);
    }
}

fn kid_of(token: &str) -> String {
    use base64::Engine as _;
    let header = token.split('.').next().unwrap();
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap_or_default().to_owned()
}

fn lines(from: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    // Reads on to the end, so that what is printed never blocks it.
    std::thread::spawn(move || {
        let from = BufReader::new(from);
        from.lines()
            .map_while(Result::ok)
            .for_each(|line| drop(sender.send(line)));
    });
    lines
}

fn patient() -> Value {
    json!({"resourceType": "Patient", "id": "pat-0001", "name": [{"family": "Quill"}]})
}

/// A small FHIR server on a port of its own, for as long as the test runs.
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
        let mut line = String::new();
        while from.read_line(&mut line)? > 2 {
            line.clear();
        }
        let target = first.split(' ').nth(1).unwrap_or_default();
        let body = if target.starts_with("/fhir/Patient/") {
            patient()
        } else {
            json!({"resourceType": "Bundle", "type": "searchset", "total": 1, "entry": [{"resource": patient()}]})
        };
        let body = body.to_string();
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-type: application/fhir+json\r\ncontent-length: {length}\r\n\r\n{body}"
        )?;
    }
}

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("identity-provider");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The folder with the scripts and what the lock file names; none where Node or npm is missing, which is said on standard error.
fn packages() -> Option<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/identity_provider");
    let to = folder().join("packages");
    fs::create_dir_all(&to).unwrap();
    for name in ["package.json", "package-lock.json", "server.mjs", "client.mjs"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
    let lock = fs::read(to.join("package-lock.json")).unwrap();
    // What was installed by this very lock file.
    let stamp = to.join("installed.json");
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Some(to);
    }
    let install = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&to)
        .output();
    let why = match install {
        Ok(done) if done.status.success() => {
            fs::write(&stamp, &lock).unwrap();
            return Some(to);
        }
        Ok(done) => format!("`npm ci` failed: {}", String::from_utf8_lossy(&done.stderr)),
        Err(error) => format!("`npm` can't be run: {error}"),
    };
    let wanted = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    assert!(
        !wanted,
        "an identity provider is needed here; install Node 20 or later: {why}"
    );
    eprintln!("skipped, for want of Node and npm: {why}");
    None
}
