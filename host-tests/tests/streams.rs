//! Stream semantics, state by state: every probe of `streams/probes.txt` under every exchange below, on the embedded engine and on a
//! real Envoy; whatever client, upstream and filters saw must be alike.
//!
//! 1. A probe stands between two filters that only say which callbacks came, so that what it does to others is seen too.
//! 2. Words below a probe's title: `stop_iteration` (Envoy's `allow_on_headers_stop_iteration`), `cluster` (there is a cluster to call),
//!    `tick` (a timer of 20 ms, and a wait), `fresh` (a gateway for each exchange, and a second request through it, under both
//!    failure policies that don't reload), `reload` (the policy that does, and a wait), `get` (the first exchange only), `limit` (paused bodies may have 4
//!    bytes), `faults` (the upstream fails),
//!    `trailers_twice` (an Envoy bug: it sends request trailers twice, and an upstream takes the second ones for another request, so what
//!    the upstream saw is not compared), `races` (whether the upstream gets the request is a race), `undefined` (Envoy uses freed memory, so it crashes in some runs; ours must say so).
//! 3. `SCRIM_PROBE=WORDS` runs the probes whose title contains the words, and prints what happened.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use scrim::envoy::Envoy;
use scrim::exchange::{
    Answer, Body, Cluster, ClusterAnswer, End, Engine, FailurePolicy, Fault, Filter, Outcome, Request, Setup,
};
use scrim::wasm::{Crashed, Hung, Wasmtime};

const PRELUDE: &str = include_str!("streams/prelude.wat");
const PROBES: &str = include_str!("streams/probes.txt");

/// Callback, its parameters, whether it returns something, and what a probe says when it comes.
const CALLBACKS: &[(&str, usize, bool, &str)] = &[
    ("context_create", 2, false, ""),
    ("vm_start", 2, true, ""),
    ("configure", 2, true, ""),
    ("tick", 1, false, ""),
    (
        "http_call_response",
        5,
        false,
        "(call $note (i32.const 99) (i32.const 0) (local.get 3))",
    ),
    (
        "request_headers",
        3,
        true,
        "(call $note (i32.const 104) (local.get 2) (i32.const 0))",
    ),
    (
        "request_body",
        3,
        true,
        "(call $note (i32.const 98) (local.get 2) (local.get 1))",
    ),
    (
        "request_trailers",
        2,
        true,
        "(call $note (i32.const 116) (local.get 1) (i32.const 0))",
    ),
    (
        "response_headers",
        3,
        true,
        "(call $note (i32.const 72) (local.get 2) (i32.const 0))",
    ),
    (
        "response_body",
        3,
        true,
        "(call $note (i32.const 66) (local.get 2) (local.get 1))",
    ),
    (
        "response_trailers",
        2,
        true,
        "(call $note (i32.const 84) (local.get 1) (i32.const 0))",
    ),
    (
        "log",
        1,
        false,
        "(call $note (i32.const 76) (i32.const 0) (i32.const 0))",
    ),
    (
        "done",
        1,
        true,
        "(call $note (i32.const 68) (i32.const 0) (i32.const 0))",
    ),
    (
        "delete",
        1,
        false,
        "(call $note (i32.const 88) (i32.const 0) (i32.const 0))",
    ),
];

#[derive(Default)]
struct Probe {
    title: String,
    words: Vec<String>,
    /// By callback: what it returns, and what it does.
    does: BTreeMap<String, (String, String)>,
}

fn probes() -> Vec<Probe> {
    let mut probes: Vec<Probe> = Vec::new();
    for line in PROBES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(title) = line.strip_prefix("== ") {
            probes.push(Probe {
                title: title.to_owned(),
                ..Probe::default()
            });
            continue;
        }
        let probe = probes.last_mut().expect("a title first");
        match line.split_once(" -> ") {
            Some((callback, rest)) => {
                assert!(CALLBACKS.iter().any(|known| known.0 == callback), "{line}");
                let (result, code) = rest.split_once(':').expect("`CALLBACK -> N: WAT`");
                probe
                    .does
                    .insert(callback.to_owned(), (result.to_owned(), code.to_owned()));
            }
            None => probe.words.push(line.to_owned()),
        }
    }
    probes
}

impl Probe {
    fn has(&self, word: &str) -> bool {
        self.words.iter().any(|there| there == word)
    }

    fn module(&self, letter: u8) -> Vec<u8> {
        let mut text = PRELUDE.replace("@SELF@", &letter.to_string());
        for (name, parameters, returns, says) in CALLBACKS {
            let does = self.does.get(*name);
            let (mut result, mut code) = match does {
                Some((result, code)) => (result.clone(), code.clone()),
                None => (String::from(if says.is_empty() { "1" } else { "0" }), String::new()),
            };
            if *name == "done" && does.is_none() {
                result = "1".to_owned();
            }
            if *name == "configure" && self.has("tick") {
                code.push_str("(drop (call $tick_every (i32.const 20)))");
            }
            if result.parse::<i64>().is_ok() {
                result = format!("(i32.const {result})");
            }
            let parameters = "i32 ".repeat(*parameters);
            let (kind, result) = if *returns {
                ("(result i32)", result.as_str())
            } else {
                ("", "")
            };
            writeln!(
                text,
                "(func (export \"proxy_on_{name}\") (param {parameters}) {kind} {says} {code} {result})"
            )
            .unwrap();
        }
        wat::parse_str(format!("(module {text})")).unwrap_or_else(|error| panic!("{}: {error}", self.title))
    }
}

/// A module as a file that goes away.
struct File(PathBuf);

impl File {
    fn new(bytes: &[u8]) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("scrim-stream-{}-{number}.wasm", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn body(chunks: &[&str], end: End, trailers: &[(&str, &str)]) -> Body {
    Body {
        chunks: chunks.iter().map(|chunk| chunk.as_bytes().to_vec()).collect(),
        end,
        trailers: headers(trailers),
    }
}

fn headers(lines: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), value.as_bytes().to_vec());
    lines.iter().map(owned).collect()
}

fn request(method: &str, body: Body) -> Request {
    Request {
        method: method.to_owned(),
        target: b"/a?b=c".to_vec(),
        authority: "example.org".to_owned(),
        headers: headers(&[("x-sent", "1"), ("x-sent", "2")]),
        body,
    }
}

fn answer(status: u16, body: Body) -> Answer {
    Answer {
        status,
        headers: headers(&[("x-got", "1"), ("x-got", "2")]),
        body,
        fault: None,
    }
}

/// Name, request and answer.
fn exchanges() -> Vec<(&'static str, Request, Answer)> {
    let none = Body::default;
    vec![
        (
            "get",
            request("GET", none()),
            answer(200, body(&["abcd"], End::Empty, &[])),
        ),
        (
            "chunks",
            request("GET", none()),
            answer(200, body(&["ab", "cd"], End::Empty, &[])),
        ),
        (
            "post",
            request("POST", body(&["one", "two"], End::Empty, &[])),
            answer(200, none()),
        ),
        (
            "trailers",
            request("POST", body(&["one"], End::Empty, &[("x-t", "1")])),
            answer(200, body(&["ab"], End::Empty, &[("x-u", "1")])),
        ),
        ("head", request("HEAD", none()), answer(200, none())),
        ("empty", request("GET", none()), answer(204, none())),
    ]
}

/// Exchanges in which the upstream fails.
fn faults() -> Vec<(&'static str, Request, Answer)> {
    let fault = |name, request, fault| {
        let broken = Answer {
            fault: Some(fault),
            ..answer(200, body(&["abcd"], End::Empty, &[]))
        };
        (name, request, broken)
    };
    let get = || request("GET", Body::default());
    let post = || request("POST", body(&["one"], End::Empty, &[("x-t", "1")]));
    vec![
        fault("refused", get(), Fault::Refuse),
        fault("reset", get(), Fault::ResetBeforeHeaders),
        fault("reset after a body", post(), Fault::ResetBeforeHeaders),
        fault("broken", get(), Fault::ResetAfterBody),
        fault("broken after trailers", post(), Fault::ResetAfterBody),
    ]
}

/// What was seen, as text that can be compared.
fn describe(outcome: &anyhow::Result<Outcome>) -> String {
    let mut text = String::new();
    match outcome {
        Ok(outcome) => {
            let lines: Vec<&str> = outcome.logs.iter().map(|(_, line)| line.as_str()).collect();
            writeln!(text, "    filters  {}", lines.join(" ")).unwrap();
            match &outcome.upstream {
                Some(seen) => {
                    let target = String::from_utf8_lossy(&seen.target);
                    write!(text, "    upstream {} {target} {}", seen.method, seen.authority).unwrap();
                    show(&mut text, &seen.headers, &seen.body);
                }
                None => text.push_str("    upstream -"),
            }
            match &outcome.client {
                Some(got) => {
                    write!(text, "\n    client   {}", got.status).unwrap();
                    show(&mut text, &got.headers, &got.body);
                    for (name, value) in &got.trailers {
                        write!(text, " ~{name}={}", String::from_utf8_lossy(value)).unwrap();
                    }
                    text.push_str(if got.complete { "" } else { " BROKEN" });
                }
                None => text.push_str("\n    client   -"),
            }
        }
        Err(error) => {
            let error_text = format!("{error:#}");
            let crashes = error.is::<Crashed>()
                || error.is::<scrim::envoy::Crashed>()
                || error_text.contains("Envoy closed the connection");
            if error.is::<Hung>() || error_text.contains("hangs") {
                text.push_str("    hangs");
            } else if crashes {
                text.push_str("    Envoy crashes");
            } else {
                text.push_str("    ");
                text.push_str(&error_text);
            }
        }
    }
    text.push('\n');
    text
}

fn show(text: &mut String, headers: &[(String, Vec<u8>)], body: &[u8]) {
    for (name, value) in headers {
        write!(text, " {name}={}", String::from_utf8_lossy(value)).unwrap();
    }
    write!(text, " {:?}", String::from_utf8_lossy(body)).unwrap();
}

fn run(engine: &dyn Engine, probe: &Probe, policy: FailurePolicy) -> String {
    let quiet = Probe::default();
    let files = [(&quiet, b'o'), (probe, b'p'), (&quiet, b'i')]
        .map(|(probe, letter)| (letter, File::new(&probe.module(letter))));
    let filters = files.iter().map(|(letter, file)| Filter {
        name: char::from(*letter).to_string(),
        root_id: "root".to_owned(),
        module: file.0.clone(),
        configuration: b"set".to_vec(),
        allow_on_headers_stop_iteration: *letter == b'p' && probe.has("stop_iteration"),
        failure_policy: if *letter == b'p' { policy } else { FailurePolicy::Closed },
        ..Filter::default()
    });
    let mut setup = Setup {
        filters: filters.collect(),
        ..Setup::default()
    };
    if probe.has("cluster") {
        let answer = ClusterAnswer {
            status: 200,
            body: b"ok".to_vec(),
            ..ClusterAnswer::default()
        };
        let cluster = Cluster {
            answers: BTreeMap::from([("*".to_owned(), vec![answer])]),
            ..Cluster::default()
        };
        setup.clusters.insert("cluster".to_owned(), cluster);
    }
    let mut text = String::new();
    let mut gateway = None;
    if probe.has("limit") {
        setup.buffer_limit = Some(4);
    }
    let exchanges = match probe.has("faults") {
        true => faults(),
        false => self::exchanges(),
    };
    for (name, request, answer) in exchanges {
        // When the answer to a call comes, and when pieces of a body, is a race on a real Envoy.
        let bodies = !request.body.chunks.is_empty() || !answer.body.chunks.is_empty();
        if probe.has("cluster") && bodies || name == "chunks" && (probe.has("fresh") || probe.has("reload")) {
            continue;
        }
        if probe.has("get") && name != "get" {
            continue;
        }
        if gateway.is_none() || probe.has("fresh") {
            match engine.start(&setup) {
                Ok(started) => gateway = Some(started),
                Err(_) => {
                    text.push_str("  does not start\n");
                    return text;
                }
            }
        }
        let running = gateway.as_mut().unwrap();
        if probe.has("tick") {
            running.wait(Duration::from_millis(100)).unwrap();
        }
        if probe.has("reload") && name == "post" {
            running.wait(Duration::from_millis(1600)).unwrap();
        }
        let outcome = running.exchange(&request, &answer);
        writeln!(text, "  {name}").unwrap();
        text.push_str(&describe(&outcome));
        if outcome.is_err() {
            gateway = None;
        } else if probe.has("fresh") || probe.has("reload") {
            text.push_str("   and then\n");
            let (_, request, answer) = self::exchanges().remove(0);
            text.push_str(&describe(&running.exchange(&request, &answer)));
        }
    }
    if probe.has("trailers_twice") || probe.has("races") {
        let lines = text.lines().filter(|line| !line.contains(" upstream "));
        text = lines.map(|line| format!("{line}\n")).collect();
    }
    text
}

#[test]
fn both_engines_go_through_the_same_states() {
    let Some(envoy) = Envoy::in_tests() else {
        return;
    };
    let embedded = Wasmtime::new().unwrap();
    let wanted = std::env::var("SCRIM_PROBE").ok();
    let mut jobs = Vec::new();
    for probe in probes() {
        if wanted
            .as_ref()
            .is_some_and(|wanted| !probe.title.contains(wanted.as_str()))
        {
            continue;
        }
        let policies = match probe.has("fresh") {
            true => &[FailurePolicy::Closed, FailurePolicy::Open][..],
            false if probe.has("reload") => &[FailurePolicy::Reload][..],
            false => &[FailurePolicy::Closed][..],
        };
        jobs.extend(policies.iter().map(|policy| (probe.title.clone(), *policy)));
    }
    let next = AtomicUsize::new(0);
    let failures = std::sync::Mutex::new(BTreeMap::new());
    // Most of the time is waiting for streams that hang.
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let all = probes();
                while let Some((title, policy)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let probe = all.iter().find(|probe| &probe.title == title).unwrap();
                    let ours = run(&embedded, probe, *policy);
                    if probe.has("undefined") {
                        let expected = ours
                            .lines()
                            .all(|line| !line.starts_with("   ") || line == "    Envoy crashes");
                        assert!(expected, "{title}\n{ours}");
                        continue;
                    }
                    let mut theirs = run(&envoy, probe, *policy);
                    for _ in 0..6 {
                        // On a busy machine two writes may come as one.
                        if ours != theirs {
                            theirs = run(&envoy, probe, *policy);
                        }
                    }
                    if wanted.is_some() {
                        println!("{title} ({policy:?})\n{theirs}");
                    }
                    if ours != theirs {
                        let report = format!("{title} ({policy:?})\n{}", difference(&ours, &theirs));
                        failures
                            .lock()
                            .unwrap()
                            .insert((title.clone(), format!("{policy:?}")), report);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    let texts: Vec<&str> = failures.values().map(String::as_str).collect();
    assert!(
        texts.is_empty(),
        "{} of {} differ\n{}",
        texts.len(),
        jobs.len(),
        texts.join("\n")
    );
}

/// The exchanges that differ.
fn difference(ours: &str, theirs: &str) -> String {
    let split = |text: &str| -> Vec<String> {
        let mut parts: Vec<String> = Vec::new();
        for line in text.lines() {
            if !line.starts_with("   ") || parts.is_empty() {
                parts.push(String::new());
            }
            let last = parts.last_mut().unwrap();
            last.push_str(line);
            last.push('\n');
        }
        parts
    };
    let (ours, theirs) = (split(ours), split(theirs));
    let mut text = String::new();
    for at in 0..ours.len().max(theirs.len()) {
        let (our, their) = (ours.get(at), theirs.get(at));
        if our != their {
            let get = |part: Option<&String>| part.cloned().unwrap_or_else(|| "  -\n".to_owned());
            write!(text, " embedded:\n{} envoy:\n{}", get(our), get(their)).unwrap();
        }
    }
    text
}

#[test]
fn every_probe_is_a_module() {
    for probe in probes() {
        assert!(!probe.module(b'p').is_empty());
    }
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/streams").is_dir());
}
