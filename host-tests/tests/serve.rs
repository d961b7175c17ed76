//! `scrim serve` on both engines, before a small upstream of the test's own: answers, the access log, failures, the end.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use scrim::envoy::Envoy;
use scrim::tokens::{self, TokenSpec};

/// Base64 of `synthetic-test-key-not-a-secret!`.
const KEY: &str = "c3ludGhldGljLXRlc3Qta2V5LW5vdC1hLXNlY3JldCE=";

/// How long anything may take; a gateway that hangs is a failure, not an endless test.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_embedded_engine_serves() {
    serves("wasmtime", "suite");
    serves("wasmtime", "chain");
}

#[test]
fn a_real_envoy_serves() {
    if let Some(envoy) = envoy() {
        serves_with("envoy", "suite", Some(&envoy));
        serves_with("envoy", "chain", Some(&envoy));
    }
}

fn serves(engine: &str, modules: &str) {
    serves_with(engine, modules, None);
}

fn serves_with(engine: &str, modules: &str, envoy: Option<&Path>) {
    let folder = Folder::new(&format!("{engine}-{modules}"));
    let log = folder.0.join("access.jsonl");
    let upstream = upstream();
    let arguments = [
        "--engine",
        engine,
        "--modules",
        modules,
        "--access-log",
        log.to_str().unwrap(),
    ];
    let mut gateway = Gateway::start(&folder, envoy, &upstream.to_string(), &arguments);
    let token = token("user/Patient.rs");

    let answer = gateway.get("/fhir/Patient/pat-0001", None);
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    assert_eq!(answer.header("cache-control"), Some("no-store, private"));

    let answer = gateway.get("/fhir/Patient/pat-0001", Some(&token));
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, answer.complete), (200, true));
    assert_eq!(
        body,
        json!({"resourceType": "Patient", "id": "pat-0001", "name": [{"family": "Quill"}]}),
        "trimmed"
    );
    assert_eq!(answer.header("cache-control"), Some("no-store, private"));
    // The tag of the whole body became one of this view.
    let tag = answer.header("etag").unwrap_or_default();
    assert!(tag.starts_with("W/\"1~s"), "{tag}");

    let answer = gateway.get("/fhir/Patient?birthdate=1974-12-25", Some(&token));
    assert_eq!(answer.status, 400);
    assert!(!answer.text().contains("1974"), "{}", answer.text());
    let answer = gateway.get("/fhir/metadata", None);
    assert_eq!(
        (answer.status, answer.header("cache-control")),
        (200, Some("public, max-age=60"))
    );
    assert_eq!(gateway.get("/admin", Some(&token)).status, 403);
    assert_eq!(gateway.get("/fhir/%2e%2e%2fadmin", Some(&token)).status, 400);

    // What breaks off can't be inspected: a short body is a 502, a long one that is on its way already ends in the middle.
    let answer = gateway.get("/fhir/Patient/short", Some(&token));
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(!answer.text().contains("Quill"), "{}", answer.text());
    let answer = gateway.get("/fhir/Patient/long", Some(&token));
    assert!(!answer.complete || answer.status == 502, "{}", answer.status);
    assert!(!answer.text().contains("SECRET"), "{}", answer.text());

    let answer = gateway.get("/fhir/Patient/chunked", Some(&token));
    assert!(
        answer.status == 502 || (answer.status == 0 && !answer.complete),
        "{} {}",
        answer.status,
        answer.text()
    );
    eprintln!("{engine}: a short chunked body that breaks off gives {}", answer.status);

    // Nine requests, nine lines, and none has anything of a URL, a token or a body.
    let lines = lines_of(&log, 9);
    let text = lines.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for phi in ["pat-0001", "1974", "Quill", "dr-quinn", token.as_str()] {
        assert!(!text.contains(phi), "{phi}: {text}");
    }
    let paths: Vec<&str> = lines.iter().map(|line| line["path"].as_str().unwrap_or("-")).collect();
    assert_eq!(
        &paths[..5],
        [
            "/fhir/Patient/***",
            "/fhir/Patient/***",
            "/fhir/Patient?birthdate=***",
            "/fhir/metadata",
            "/***"
        ]
    );
    assert_eq!(lines[0]["status"].as_u64(), Some(401));
    let audit = audit(&lines[1]);
    assert_eq!(
        (audit["policy"].as_str(), audit["decision"].as_str()),
        (Some("clinician"), Some("allow")),
        "{audit}"
    );
    assert_eq!(audit["counts"]["removed"].as_u64(), Some(2), "{audit}");

    // Each engine hears of both signals, one for each way of loading the modules.
    gateway.ends_cleanly(if modules == "suite" { "TERM" } else { "INT" });
}

#[test]
fn an_upstream_that_is_down_is_told_at_once() {
    for (engine, envoy) in engines() {
        let folder = Folder::new(&format!("down-{engine}"));
        // A port that was free a moment ago, and nobody listens on.
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let gateway = Gateway::start(&folder, envoy.as_deref(), &nobody.to_string(), &["--engine", engine]);
        let begin = Instant::now();
        let answer = gateway.get("/fhir/metadata", None);
        assert!(matches!(answer.status, 502 | 503), "{engine}: {}", answer.status);
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "{engine}: {:?}",
            begin.elapsed()
        );
    }
}

#[test]
fn requests_at_the_same_time_are_all_answered() {
    let folder = Folder::new("together");
    let gateway = Gateway::start(&folder, None, &upstream().to_string(), &[]);
    let token = token("user/Patient.rs");
    std::thread::scope(|scope| {
        for number in 0..16 {
            let (gateway, token) = (&gateway, &token);
            let (url, token, status) = if number % 2 == 0 {
                ("/fhir/Patient/1", Some(token.as_str()), 200)
            } else {
                ("/fhir/Patient/2", None, 401)
            };
            scope.spawn(move || assert_eq!(gateway.get(url, token).status, status));
        }
    });
}

#[test]
fn a_changed_policy_is_taken_over_and_a_broken_one_is_not() {
    let folder = Folder::new("reload");
    let gateway = Gateway::start(&folder, None, &upstream().to_string(), &[]);
    assert_eq!(gateway.get("/admin", None).status, 403);
    let file = folder.0.join("policy.yaml");
    let policy = fs::read_to_string(&file).unwrap();
    let open = policy.replace("\ndefault: deny", "\ndefault: allow");
    assert_ne!(open, policy);

    fs::write(&file, &open).unwrap();
    gateway.get_until("/admin", |status| status != 403);
    // What does not compile leaves everything as it is.
    fs::write(&file, open.replace("\ndefault: allow", "\ndefault: nowhere")).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert_ne!(gateway.get("/admin", None).status, 403);
    fs::write(&file, &policy).unwrap();
    gateway.get_until("/admin", |status| status == 403);
}

#[test]
fn what_is_recorded_runs_as_cases() {
    let folder = Folder::new("record");
    let file = folder.0.join("recorded.cases.yaml");
    let key = example("keys/rs256.synthetic.jwk.json");
    let arguments = [
        "--record",
        file.to_str().unwrap(),
        "--record-key",
        key.to_str().unwrap(),
    ];
    let gateway = Gateway::start(&folder, None, &upstream().to_string(), &arguments);
    let token = token("user/Patient.rs");
    assert_eq!(gateway.get("/fhir/Patient/pat-0001", Some(&token)).status, 200);
    assert_eq!(gateway.get("/fhir/Patient/pat-0001", None).status, 401);
    assert_eq!(gateway.get("/fhir/metadata", None).status, 200);
    drop(gateway);

    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains(token.rsplit('.').next().unwrap()), "{text}");
    fs::write(&file, text.replace("FILL-IN", KEY)).unwrap();
    let mut test = Command::new(env!("CARGO_BIN_EXE_scrim"));
    let output = test.arg("test").arg(&file).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{told}{text}");
    assert!(told.contains("3: GET /fhir/metadata gives 200"), "{told}");

    // They tell when another policy trims less.
    let policy = folder.0.join("policy.yaml");
    fs::write(
        &policy,
        fs::read_to_string(&policy).unwrap().replace("\"$..photo\", ", ""),
    )
    .unwrap();
    let mut test = Command::new(env!("CARGO_BIN_EXE_scrim"));
    let output = test.arg("test").arg(&file).output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
fn a_port_in_use_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (engine, envoy) in engines() {
        let folder = Folder::new(&format!("taken-{engine}"));
        let (code, out, err) = refused(&folder, envoy.as_deref(), &["--engine", engine, "--listen", &address]);
        assert_eq!((code, out.as_str()), (2, ""), "{engine}: {err}");
        let last = err.lines().last().unwrap();
        assert!(
            last.starts_with("error: cannot listen on ")
                && last.contains(&address)
                && last.contains("choose another address"),
            "{engine}: {err}"
        );
    }
}

#[test]
fn a_policy_with_problems_is_not_served() {
    for (engine, envoy) in engines() {
        let folder = Folder::new(&format!("problems-{engine}"));
        fs::write(folder.0.join("policy.yaml"), "version: 1\npolcies: {}\nroutez: []\n").unwrap();
        let (code, out, err) = refused(&folder, envoy.as_deref(), &["--engine", engine]);
        assert_eq!((code, out.as_str()), (1, ""), "{engine}: {err}");
        assert!(
            err.contains(":2:1: error: unknown key `polcies`, did you mean `policies`?\n"),
            "{err}"
        );
        assert!(
            err.contains(":3:1: error: unknown key `routez`, did you mean `routes`?\n"),
            "{err}"
        );
    }
}

#[test]
fn what_cannot_be_had_is_told() {
    let folder = Folder::new("wanting");
    let (code, _, err) = refused(&folder, Some(Path::new("/nonexistent")), &["--engine", "envoy"]);
    let last = err.lines().last().unwrap();
    assert_eq!(code, 2, "{err}");
    assert!(
        last.starts_with("error: `$ENVOY` does not name an Envoy that runs; unset it, or set it to the binary: "),
        "{err}"
    );
    for (engine, envoy) in engines() {
        let (code, _, err) = refused(
            &folder,
            envoy.as_deref(),
            &["--engine", engine, "--access-log", "/nonexistent/log"],
        );
        let last = err.lines().last().unwrap();
        assert!(
            code == 2 && last.starts_with("error: the access log `/nonexistent/log` can't be opened; check the path: "),
            "{err}"
        );
    }
}

/// The engines that are there, and what `$ENVOY` is to be.
fn engines() -> Vec<(&'static str, Option<PathBuf>)> {
    let envoy = envoy().map(|path| ("envoy", Some(path)));
    [("wasmtime", None)].into_iter().chain(envoy).collect()
}

fn envoy() -> Option<PathBuf> {
    Envoy::in_tests().map(|envoy| envoy.found().path.clone())
}

/// A folder of the test's own, with the example's policy and a place for temporary files.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("serve-{name}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        for file in ["policy.yaml", "jwks.json"] {
            fs::copy(example(file), path.join(file)).unwrap();
        }
        Folder(path)
    }

    fn command(&self, envoy: Option<&Path>, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scrim"));
        command
            .arg("serve")
            .arg("--policy")
            .arg(self.0.join("policy.yaml"))
            .args(arguments);
        command
            .env("SCRIM_PSEUDONYM_KEY", KEY)
            .env_remove("ENVOY")
            .stdin(Stdio::null());
        if let Some(envoy) = envoy {
            command.env("ENVOY", envoy);
        }
        command
    }
}

/// Exit code, standard output and standard error of a `serve` that must not start.
fn refused(folder: &Folder, envoy: Option<&Path>, arguments: &[&str]) -> (i32, String, String) {
    let mut command = folder.command(envoy, arguments);
    command.args(["--upstream", "127.0.0.1:1"]);
    if !arguments.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut gateway = Gateway {
        child,
        address: "127.0.0.1:0".parse().unwrap(),
    };
    let code = gateway.exit_code(PATIENCE);
    let mut texts = [String::new(), String::new()];
    gateway
        .child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut texts[0])
        .unwrap();
    gateway
        .child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut texts[1])
        .unwrap();
    let [out, err] = texts;
    (code, out, err)
}

/// A running `scrim serve`; killed when dropped.
struct Gateway {
    child: Child,
    address: SocketAddr,
}

impl Gateway {
    fn start(folder: &Folder, envoy: Option<&Path>, upstream: &str, arguments: &[&str]) -> Self {
        let mut command = folder.command(envoy, arguments);
        command.args(["--listen", "127.0.0.1:0", "--upstream", upstream]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, line) = mpsc::channel();
        // Reads on to the end, so that what the gateway prints never blocks it.
        std::thread::spawn(move || {
            out.lines()
                .map_while(Result::ok)
                .for_each(|line| drop(sender.send(line)))
        });
        let mut gateway = Gateway {
            child,
            address: "127.0.0.1:0".parse().unwrap(),
        };
        let line = line.recv_timeout(PATIENCE).expect("the gateway says nothing");
        gateway.address = line
            .strip_prefix("listening on ")
            .unwrap_or_else(|| panic!("{line}"))
            .parse()
            .unwrap();
        gateway
    }

    fn get(&self, target: &str, token: Option<&str>) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let token = token
            .map(|token| format!("authorization: Bearer {token}\r\n"))
            .unwrap_or_default();
        write!(
            stream,
            "GET {target} HTTP/1.1\r\nhost: fhir.example.org\r\nconnection: close\r\n{token}\r\n"
        )
        .unwrap();
        let mut bytes = Vec::new();
        // A reset is one of the ways in which a stream may end.
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            bytes.extend_from_slice(&buffer[..count]);
        }
        Answer::parse(&bytes)
    }

    /// Asks again and again until the status is as wanted.
    fn get_until(&self, target: &str, wanted: impl Fn(u16) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(self.get(target, None).status) {
            assert!(Instant::now() < deadline, "{target} keeps its status");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn exit_code(&mut self, patience: Duration) -> i32 {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the gateway does not end");
    }

    /// SIGTERM and SIGINT end it soon and with 0, and nothing of it stays behind.
    fn ends_cleanly(&mut self, signal: &str) {
        let number = self.child.id().to_string();
        // Where the gateway's Envoy keeps its configuration; it is in that process's command line.
        let private = std::env::temp_dir().join(format!("scrim-{number}-0"));
        // The standard library has no signals; every POSIX shell has.
        let sent = Command::new("/bin/sh")
            .args(["-c", "kill -\"$1\" \"$0\"", &number, signal])
            .status()
            .unwrap();
        assert!(sent.success());
        assert_eq!(self.exit_code(Duration::from_secs(10)), 0);
        assert!(!private.exists(), "`{}` is left behind", private.display());
        let left = commands()
            .into_iter()
            .find(|command| command.contains(&private.display().to_string()));
        assert_eq!(left, None, "a process is left behind");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // By SIGTERM first: killed at once it could not end its Envoy.
            let _ = Command::new("/bin/sh")
                .args(["-c", "kill -TERM \"$0\"", &self.child.id().to_string()])
                .status();
            let deadline = Instant::now() + Duration::from_secs(10);
            while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command lines of all processes, where the system shows them.
fn commands() -> Vec<String> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).into_owned())
        .collect()
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    complete: bool,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end else {
            return Answer {
                status: 0,
                headers: Vec::new(),
                body: Vec::new(),
                complete: false,
            };
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .and_then(|status| status.parse().ok())
            .unwrap();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
            complete: false,
        };
        let rest = &bytes[end + 4..];
        if answer.header("transfer-encoding") == Some("chunked") {
            (answer.body, answer.complete) = dechunk(rest);
        } else {
            answer.body = rest.to_vec();
            answer.complete = answer
                .header("content-length")
                .is_none_or(|length| length.parse() == Ok(rest.len()));
        }
        answer
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The content, and whether the last chunk came.
fn dechunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(&String::from_utf8_lossy(&rest[..end]), 16).unwrap();
        rest = &rest[end + 2..];
        if size == 0 {
            return (body, true);
        }
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        rest = rest.get(size + 2..).unwrap_or_default();
    }
    (body, false)
}

/// The log's lines, when there are so many.
fn lines_of(log: &Path, count: usize) -> Vec<Value> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let text = fs::read_to_string(log).unwrap_or_default();
        if text.lines().count() >= count || Instant::now() > deadline {
            let lines: Vec<Value> = text
                .lines()
                .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
                .collect();
            assert_eq!(lines.len(), count, "{text}");
            return lines;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The audit record; Envoy prints it as a string.
fn audit(line: &Value) -> Value {
    match &line["audit"] {
        Value::String(text) => serde_json::from_str(text).unwrap(),
        record => record.clone(),
    }
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/fhir-gateway")
        .join(name)
}

fn token(scope: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({"iss": "https://idp.example.org", "aud": "https://fhir.example.org", "sub": "dr-quinn-7f3a", "exp": now + 600, "scope": scope});
    let spec: TokenSpec =
        serde_json::from_value(json!({"key": "keys/rs256.synthetic.jwk.json", "claims": claims})).unwrap();
    tokens::mint(&spec, &example(""), i64::try_from(now).unwrap()).unwrap()
}

/// An upstream on a port of its own, for as long as the test runs.
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
    let mut first = String::new();
    from.read_line(&mut first)?;
    let mut line = String::new();
    while from.read_line(&mut line)? > 2 {
        line.clear();
    }
    let target = first.split(' ').nth(1).unwrap_or_default();
    let patient = json!({
        "resourceType": "Patient", "id": "pat-0001", "photo": [{"data": "SECRET"}], "text": {"div": "SECRET"}, "name": [{"family": "Quill"}],
    });
    let patient = patient.to_string().into_bytes();
    // An address in the middle of which the body ends.
    let long = format!(
        "{{\"resourceType\":\"Patient\",\"photo\":\"SECRET\",\"address\":[\"{}\"]}}",
        "x".repeat(100_000)
    )
    .into_bytes();
    let (cache, body, sent) = match target {
        "/fhir/metadata" => ("public, max-age=60", b"{}".to_vec(), 2),
        "/fhir/Patient/short" => ("public", patient.clone(), patient.len() - 20),
        "/fhir/Patient/long" => ("public", long, 40 << 10),
        _ => ("public", patient.clone(), patient.len()),
    };
    if target == "/fhir/Patient/chunked" {
        return write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-type: application/fhir+json\r\ntransfer-encoding: chunked\r\n\r\n14\r\n{{\"resourceType\":\"Pat\r\n"
        );
    }
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/fhir+json\r\ncache-control: {cache}\r\netag: \"1\"\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body[..sent])
}
