//! TCP connections through network filters, on both engines: scripts through a probe that logs what it is called for (`tcp/probe.wat`).
//!
//! `tcp/expected.txt` has what passes; the embedded engine is held to it, and a real Envoy to the embedded engine.

use std::fmt::Write as _;
use std::time::Duration;

use scrim::exchange::tcp::{Connection, Deed, Event, Passed, Side};
use scrim::exchange::{FailurePolicy, Setup};
use scrim::{Engine, Envoy, Filter, Wasmtime};

const PROBE: &str = include_str!("tcp/probe.wat");
const EXPECTED: &str = include_str!("tcp/expected.txt");

/// The probe, by the name that it logs; `new` is what it does with a new connection.
fn probe(name: char, new: &str, policy: FailurePolicy) -> Filter {
    let text = PROBE.replace("NAME", &u32::from(name).to_string()).replace("NEW", new);
    let mut filter = Filter::from_wat(&text).unwrap().named(&name.to_string());
    filter.vm_id = name.to_lowercase().to_string();
    filter.failure_policy = policy;
    filter
}

const PASS: &str = "i32.const 0";
const HOLD: &str = "i32.const 1";
const ODD: &str = "i32.const 2";
const LATER: &str = "call $later";
const SHUT: &str = "call $shut";
const FAIL: &str = "call $fail";

/// Chains with the scripts that each carries one after another. `c:` and `s:` say what client and server send; `FIN` is a
/// half-close, `RST` a reset; `WAIT` outlasts the probe's timer, `WAIT2` the time after which a failed VM is made anew.
fn table() -> Vec<(&'static str, Vec<Filter>, &'static [&'static str])> {
    let (closed, open, reload) = (FailurePolicy::Closed, FailurePolicy::Open, FailurePolicy::Reload);
    let one = |new| vec![probe('A', new, closed)];
    let two = |a, b| vec![probe('A', a, closed), probe('B', b, closed)];
    vec![
        (
            "one filter",
            one(PASS),
            &[
                "",
                "c:hi |s:ho |c:FIN|s:bye |s:FIN",
                "c:hi |s:ho |s:FIN|c:more |c:FIN",
                "c:hi |c:RST",
                "c:hi |s:RST",
                "c:FIN|c:RST|s:ho ",
                "s:FIN|s:RST",
                "c:onep|c:twop|c:three |s:x ",
                "s:onep|s:twop|s:three ",
                "c:onep|c:FIN|s:FIN",
                "c:onep|s:c|c:FIN",
                "s:onep|c:c|c:FIN",
                "s:onep|s:FIN|c:FIN",
                "c:onep|s:FIN",
                "c:onep|c:RST",
                "c:1a|c:2b|c:3r|c:4m|c:5e|s:1a|s:2b|s:3r|s:4m|s:5e",
                "c:x",
                "c:y",
                "c:hi |s:x",
                "c:hi |s:y",
                "c:z|s:z|s:ho ",
                "c:onev|s:twov|c:onep|s:twov|s:twop|c:onev",
                "c:l|s:l",
                "c:oneq|c:two |s:oneq|s:two ",
                "c:onek|WAIT|s:ho ",
                "c:hi |c:t|s:ho ",
                "c:hi ",
            ],
        ),
        (
            "two filters",
            two(PASS, PASS),
            &[
                "c:hi |s:ho ",
                "c:onep|c:two |s:onep|s:two ",
                "c:5e|s:5e|c:1a|s:2b",
                "c:onec",
                "s:onec|c:onep|s:twoc",
                "c:x",
                "s:x",
                "c:hi |c:RST",
                "s:t",
                "c:hi ",
            ],
        ),
        ("a held connection", two(HOLD, PASS), &["c:one |s:two |c:FIN", "c:RST"]),
        ("a status that is none", one(ODD), &["c:one |s:two "]),
        (
            "a connection held for a while",
            two(LATER, PASS),
            &["c:one |WAIT|s:two ", "c:one |c:RST|WAIT"],
        ),
        (
            "the second holds for a while",
            two(PASS, LATER),
            &["c:one |WAIT|s:two "],
        ),
        ("a connection closed at once", two(SHUT, PASS), &["c:one "]),
        ("the second closes at once", two(PASS, SHUT), &["c:one "]),
        ("the second traps at once", two(PASS, FAIL), &["c:one ", "c:one "]),
        (
            "a trap that leaves it open",
            vec![probe('A', PASS, open), probe('B', PASS, closed)],
            &["c:one |c:t", "c:one |s:two "],
        ),
        (
            "a trap and a new VM",
            vec![probe('A', PASS, reload)],
            &["c:t|WAIT2", "c:one |s:two "],
        ),
    ]
}

fn script(text: &str) -> Connection {
    Connection::of(text.split('|').filter(|step| !step.is_empty()).map(|step| {
        let (side, what) = match step.split_once(':') {
            Some(("c", what)) => (Side::Client, what),
            Some(("s", what)) => (Side::Server, what),
            _ if step == "WAIT" => return Event::Wait(Duration::from_millis(900)),
            _ if step == "WAIT2" => return Event::Wait(Duration::from_millis(2500)),
            _ => panic!("{step}"),
        };
        match what {
            "FIN" => Event::By(side, Deed::HalfClose),
            "RST" => Event::By(side, Deed::Reset),
            bytes => Event::By(side, Deed::Send(bytes.into())),
        }
    }))
}

fn play(engine: &dyn Engine, filters: &[Filter], scripts: &[&str]) -> Vec<Passed> {
    let mut gateway = engine.start_tcp(&Setup::of(filters.to_vec())).unwrap();
    let played = scripts.iter().map(|text| gateway.connect(&script(text)).unwrap());
    played.collect()
}

fn tell(passed: &Passed) -> String {
    let server = passed.server.as_ref().map(|bytes| String::from_utf8_lossy(bytes));
    let [client_end, server_end] = passed.ends;
    let mut text = format!("  server {server:?} {server_end:?}\n");
    let client = String::from_utf8_lossy(&passed.client);
    writeln!(text, "  client {client:?} {client_end:?}").unwrap();
    for (level, line) in &passed.logs {
        writeln!(text, "  {level} {}", line.trim_end()).unwrap();
    }
    for (name, change) in &passed.metrics {
        writeln!(text, "  {name} {change:+}").unwrap();
    }
    text
}

#[test]
fn the_embedded_engine_carries_connections_as_written() {
    let engine = Wasmtime::new().unwrap();
    let mut told = String::new();
    for (name, filters, scripts) in table() {
        writeln!(told, "# {name}").unwrap();
        for (script, passed) in scripts.iter().zip(play(&engine, &filters, scripts)) {
            write!(told, "{script}\n{}", tell(&passed)).unwrap();
        }
    }
    if told != EXPECTED {
        let at = told.lines().zip(EXPECTED.lines()).position(|(one, other)| one != other);
        panic!(
            "differs from tcp/expected.txt in line {:?} of:\n{told}",
            at.map(|at| at + 1)
        );
    }
}

#[test]
fn envoy_carries_connections_alike() {
    let Some(envoy) = Envoy::in_tests() else { return };
    let engine = Wasmtime::new().unwrap();
    let mut differences = String::new();
    for (name, filters, scripts) in table() {
        let (here, there) = (play(&engine, &filters, scripts), play(&envoy, &filters, scripts));
        for ((script, here), there) in scripts.iter().zip(&here).zip(&there) {
            if here != there {
                let (here, there) = (tell(here), tell(there));
                writeln!(differences, "# {name}: {script}\nwasmtime\n{here}envoy\n{there}").unwrap();
            }
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn an_engine_without_tcp_says_so() {
    struct Other;
    impl Engine for Other {
        fn name(&self) -> &'static str {
            "other"
        }
        fn start(&self, _: &Setup) -> anyhow::Result<Box<dyn scrim::Gateway>> {
            anyhow::bail!("starts nothing")
        }
    }
    let error = Other.start_tcp(&Setup::default()).err().unwrap();
    assert_eq!(error.to_string(), "the engine `other` hosts no network filters");
}
