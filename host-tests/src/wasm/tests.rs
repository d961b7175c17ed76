//! Tests over probe modules: a few lines of WebAssembly text each, one stream behaviour each.

mod failures;
mod host_calls;
mod lengths;
mod limits;
mod properties;
mod script;
mod semantics;
mod traces;
mod versions;

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::exchange::{Answer, Body, End, Fault, Filter, Gateway as _, Metadata, Outcome, Request, Route};

/// One engine for all tests of this file: modules are compiled once, and gateways share nothing.
fn engine() -> &'static Wasmtime {
    static ENGINE: OnceLock<Wasmtime> = OnceLock::new();
    ENGINE.get_or_init(|| Wasmtime::new().unwrap())
}

/// What every probe has: imports, memory, an allocator that only grows, texts at fixed places, and `$say`, which logs.
const PRELUDE: &str = r#"
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_buffer_bytes" (func $get_buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_buffer_bytes" (func $set_buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_value" (func $get_header (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_pairs" (func $get_headers (param i32 i32 i32) (result i32)))
  (import "env" "proxy_add_header_map_value" (func $add_header (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_replace_header_map_value" (func $replace_header (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_remove_header_map_value" (func $remove_header (param i32 i32 i32) (result i32)))
  (import "env" "proxy_send_local_response" (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
  (import "env" "proxy_close_stream" (func $close (param i32) (result i32)))
  (import "env" "proxy_http_call" (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
  (import "env" "proxy_get_property" (func $get_property (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_property" (func $set_property (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (global $heap (mut i32) (i32.const 65536))
  (global $stream (mut i32) (i32.const 0))
  (func (export "malloc") (param $size i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (local.get $size))))
  (func (export "proxy_abi_version_0_2_1"))
  ;; 0: pointer and 4: size of what the host gives
  (data (i32.const 16) "x-probe")      ;; 7
  (data (i32.const 32) "seen")         ;; 4
  (data (i32.const 48) ":path")        ;; 5
  (data (i32.const 64) "/other")       ;; 6
  (data (i32.const 80) "denied")       ;; 6
  (data (i32.const 96) "scrim.note")   ;; 10
  (data (i32.const 112) "cluster")     ;; 7
  (data (i32.const 128) "content-length") ;; 14
  (data (i32.const 160) "\03\00\00\00\05\00\00\00\01\00\00\00\07\00\00\00\03\00\00\00\0a\00\00\00\01\00\00\00:path\00/\00:method\00GET\00:authority\00a\00") ;; 61
  (func $say (param $at i32) (param $size i32)
    (drop (call $log (i32.const 2) (local.get $at) (local.get $size))))
  ;; logs one letter and one digit
  (func $note (param $letter i32) (param $digit i32)
    (i32.store8 (i32.const 8) (local.get $letter))
    (i32.store8 (i32.const 9) (i32.add (i32.const 48) (local.get $digit)))
    (call $say (i32.const 8) (i32.const 2)))
  ;; logs the body of callback kind $buffer
  (func $say_body (param $buffer i32)
    (drop (call $get_buffer (local.get $buffer) (i32.const 0) (i32.const 0x7fffffff) (i32.const 0) (i32.const 4)))
    (call $say (i32.load (i32.const 0)) (i32.load (i32.const 4))))
  (func $mark (param $map i32)
    (drop (call $add_header (local.get $map) (i32.const 16) (i32.const 7) (i32.const 32) (i32.const 4))))
  (func $deny (param $status i32)
    (drop (call $reply (local.get $status) (i32.const 0) (i32.const 0) (i32.const 80) (i32.const 6)
      (i32.const 0) (i32.const 0) (i32.const -1))))
  (func $headers_call
    (drop (call $call (i32.const 112) (i32.const 7) (i32.const 160) (i32.const 61)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 8))))
"#;

/// The module of a probe's own part, as a file.
fn probe(text: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let bytes = wat::parse_str(format!("(module {PRELUDE} {text})")).unwrap();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("scrim-probe-{}-{number}.wasm", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    path
}

fn filter(name: &str, text: &str) -> Filter {
    Filter {
        name: name.to_owned(),
        root_id: "root".to_owned(),
        module: probe(text),
        configuration: Vec::new(),
        allow_on_headers_stop_iteration: false,
        ..Filter::default()
    }
}

fn holding(name: &str, text: &str) -> Filter {
    Filter {
        allow_on_headers_stop_iteration: true,
        ..filter(name, text)
    }
}

fn start(filters: Vec<Filter>) -> Chain {
    start_with(Setup {
        filters,
        ..Setup::default()
    })
}

fn start_with(setup: Setup) -> Chain {
    let chain = engine().start_chain(&setup);
    for filter in &setup.filters {
        let _ = std::fs::remove_file(&filter.module);
    }
    chain.unwrap_or_else(|error| panic!("{error:#}"))
}

fn get() -> Request {
    Request {
        method: "GET".into(),
        target: b"/a?b=c".to_vec(),
        authority: "example.org".into(),
        ..Request::default()
    }
}

fn post(chunks: &[&str]) -> Request {
    Request {
        method: "POST".into(),
        body: body(chunks),
        ..get()
    }
}

fn body(chunks: &[&str]) -> Body {
    Body {
        chunks: chunks.iter().map(|chunk| chunk.as_bytes().to_vec()).collect(),
        ..Body::default()
    }
}

fn answer(chunks: &[&str]) -> Answer {
    let headers = vec![("content-type".to_owned(), b"text/html".to_vec())];
    Answer {
        status: 200,
        headers,
        body: body(chunks),
        fault: None,
    }
}

fn lines(outcome: &Outcome) -> Vec<&str> {
    outcome.logs.iter().map(|(_, line)| line.as_str()).collect()
}

fn client(outcome: &Outcome) -> (u16, String, bool) {
    let got = outcome.client.as_ref().expect("the client got an answer");
    (
        got.status,
        String::from_utf8_lossy(&got.body).into_owned(),
        got.complete,
    )
}

fn upstream_body(outcome: &Outcome) -> String {
    String::from_utf8_lossy(&outcome.upstream.as_ref().expect("the upstream got a request").body).into_owned()
}

fn hung(error: &anyhow::Error) -> &Hung {
    error.downcast_ref().unwrap_or_else(|| panic!("{error:#}"))
}

/// Marks request and response, and says which callbacks came with which end.
const WATCH: &str = r#"
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (call $note (i32.const 104) (local.get 2)) (call $mark (i32.const 0)) (i32.const 0))
  (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
    (call $note (i32.const 98) (local.get 2)) (i32.const 0))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    (call $note (i32.const 72) (local.get 2)) (call $mark (i32.const 2)) (i32.const 0))
  (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
    (call $note (i32.const 66) (local.get 2)) (i32.const 0))
"#;

#[test]
fn a_request_and_its_response_pass() {
    let mut chain = start(vec![filter("watch", WATCH)]);
    let outcome = chain.exchange(&get(), &answer(&["hello"])).unwrap();
    assert_eq!(lines(&outcome), ["h1", "H0", "B0", "B1"]);
    assert_eq!(client(&outcome), (200, "hello".into(), true));
    let seen = outcome.upstream.unwrap();
    assert_eq!((seen.method.as_str(), seen.target.as_slice()), ("GET", &b"/a?b=c"[..]));
    assert_eq!(seen.authority, "example.org");
    assert_eq!(seen.headers, [("x-probe".to_owned(), b"seen".to_vec())]);
    let headers = outcome.client.unwrap().headers;
    assert_eq!(headers[0].0, "content-type");
    assert_eq!(headers[1].0, "x-probe");
}

#[test]
fn a_body_ends_in_an_empty_callback_or_with_its_last_chunk() {
    let mut chain = start(vec![filter("watch", WATCH)]);
    let mut request = post(&["a", "b"]);
    let outcome = chain.exchange(&request, &answer(&[])).unwrap();
    assert_eq!(lines(&outcome), ["h0", "b0", "b0", "b1", "H1"]);
    assert_eq!(upstream_body(&outcome), "ab");
    request.body.end = End::WithLastChunk;
    let outcome = chain.exchange(&request, &answer(&[])).unwrap();
    assert_eq!(lines(&outcome), ["h0", "b0", "b1", "H1"]);
}

#[test]
fn responses_pass_in_reverse() {
    const FIRST: &str = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $note (i32.const 97) (i32.const 1)) (i32.const 0))
      (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
        (call $note (i32.const 97) (i32.const 2)) (i32.const 0))"#;
    let second = FIRST.replace("97", "98");
    let mut chain = start(vec![filter("first", FIRST), filter("second", &second)]);
    let outcome = chain.exchange(&get(), &answer(&[])).unwrap();
    assert_eq!(lines(&outcome), ["a1", "b1", "b2", "a2"]);
}

/// Pauses in the request's headers callback.
const PAUSE_HEADERS: &str = r#"
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (call $say_body (i32.const 0)) (i32.const 0))
"#;

#[test]
fn a_pause_at_headers_that_nobody_resumes_hangs() {
    let mut chain = start(vec![filter("watch", WATCH), filter("pause", PAUSE_HEADERS)]);
    for request in [get(), post(&["x"])] {
        let error = chain.exchange(&request, &answer(&[])).unwrap_err();
        assert_eq!(hung(&error).filter.as_deref(), Some("pause"));
        assert_eq!(hung(&error).way, "request");
        assert!(
            !hung(&error).logs.iter().any(|(_, line)| line == "x"),
            "its body callback does not come"
        );
    }
}

#[test]
fn with_stop_iteration_allowed_the_body_comes_while_headers_are_held() {
    let mut chain = start(vec![holding("pause", PAUSE_HEADERS), filter("watch", WATCH)]);
    let outcome = chain.exchange(&post(&["x", "y"]), &answer(&[])).unwrap();
    assert_eq!(lines(&outcome), ["x", "h0", "b0", "y", "b0", "", "b1", "H1"]);
    assert_eq!(upstream_body(&outcome), "xy");
    assert!(
        chain.exchange(&get(), &answer(&[])).is_err(),
        "no body, so nobody resumes"
    );
}

/// Pauses in each body callback until the end, and says what is there.
const BUFFER_REQUEST: &str = r#"
  (func (export "proxy_on_request_body") (param $id i32) (param $size i32) (param $end i32) (result i32)
    (call $note (i32.const 115) (local.get $size))
    (call $say_body (i32.const 0))
    (i32.eqz (local.get $end)))
"#;

#[test]
fn a_paused_body_accumulates() {
    let mut chain = start(vec![filter("buffer", BUFFER_REQUEST), filter("watch", WATCH)]);
    let mut request = post(&["a", "bc"]);
    let outcome = chain.exchange(&request, &answer(&[])).unwrap();
    assert_eq!(lines(&outcome), ["h0", "s1", "a", "s3", "abc", "s3", "abc", "b1", "H1"]);
    assert_eq!(upstream_body(&outcome), "abc");
    request.body.end = End::WithLastChunk;
    let outcome = chain.exchange(&request, &answer(&[])).unwrap();
    assert_eq!(lines(&outcome), ["h0", "s1", "a", "s3", "abc", "b1", "H1"]);
}

#[test]
fn a_buffer_over_its_limit_is_413_or_500() {
    let limited = |filters| {
        start_with(Setup {
            filters,
            buffer_limit: Some(4),
            ..Setup::default()
        })
    };
    let mut chain = limited(vec![filter("watch", WATCH), filter("buffer", BUFFER_REQUEST)]);
    let outcome = chain.exchange(&post(&["abc", "de", "f"]), &answer(&[])).unwrap();
    assert_eq!(client(&outcome), (413, "Payload Too Large".into(), true));
    assert!(
        outcome
            .client
            .unwrap()
            .headers
            .iter()
            .any(|(name, _)| name == "x-probe"),
        "through the filters"
    );

    let response = BUFFER_REQUEST
        .replace("request", "response")
        .replace("say_body (i32.const 0)", "say_body (i32.const 1)");
    let mut chain = limited(vec![holding(
        "buffer",
        &format!(
            "{response} (func (export \"proxy_on_response_headers\") (param i32 i32 i32) (result i32) (i32.const 1))"
        ),
    )]);
    let outcome = chain.exchange(&get(), &answer(&["abc", "de"])).unwrap();
    assert_eq!(
        client(&outcome),
        (500, "Internal Server Error".into(), true),
        "the headers were still held"
    );

    let mut chain = limited(vec![filter("buffer", &response)]);
    let outcome = chain.exchange(&get(), &answer(&["abc", "de"])).unwrap();
    assert_eq!(client(&outcome), (200, String::new(), false), "the headers had gone");
}

#[test]
fn bodies_are_changed_as_envoy_allows() {
    // Before, behind, in the middle, all.
    const CHANGE: &str = r#"
      (func $set (param $start i32) (param $length i32)
        (call $note (i32.const 114)
          (call $set_buffer (i32.const 1) (local.get $start) (local.get $length) (i32.const 32) (i32.const 4))))
      (func (export "proxy_on_response_body") (param $id i32) (param $size i32) (param $end i32) (result i32)
        (if (i32.eqz (local.get $end)) (then
          (call $set (i32.const 0) (i32.const 0))
          (call $set (i32.const 1) (i32.const 1))
          (call $set (i32.const 0) (i32.const 2))
          (call $set (i32.const 99) (i32.const 0))
          (call $say_body (i32.const 1))
          (drop (call $set_buffer (i32.const 1) (i32.const 0) (i32.const 99) (i32.const 80) (i32.const 6)))))
        (i32.const 0))"#;
    let mut chain = start(vec![filter("change", CHANGE)]);
    let outcome = chain.exchange(&get(), &answer(&["body"])).unwrap();
    assert_eq!(lines(&outcome), ["r0", "r2", "r0", "r0", "seenenbodyseen"]);
    assert_eq!(client(&outcome).1, "denied");
}

/// Denies in the request's headers callback, and says which callbacks come.
const DENY: &str = r#"
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $deny (i32.const 403)) (i32.const 0))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    (call $note (i32.const 68) (local.get 2)) (i32.const 0))
  (func (export "proxy_on_log") (param i32) (call $note (i32.const 76) (i32.const 0)))
"#;

#[test]
fn a_denial_passes_the_filters_that_saw_the_request() {
    let last = WATCH.replace("72", "90");
    let mut chain = start(vec![
        filter("watch", WATCH),
        filter("deny", DENY),
        filter("last", &last),
    ]);
    for request in [get(), post(&["x"])] {
        let end = if request.body.chunks.is_empty() { "h1" } else { "h0" };
        let outcome = chain.exchange(&request, &answer(&[])).unwrap();
        assert_eq!(lines(&outcome), [end, "D0", "H0", "B1", "L0"]);
        assert_eq!(client(&outcome), (403, "denied".into(), true));
        assert_eq!(outcome.upstream, None);
        let headers = outcome.client.unwrap().headers;
        let text: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(text, ["content-type", "x-probe"]);
    }
}

#[test]
fn a_denial_of_a_response_goes_straight_to_the_client_or_resets_it() {
    const DENY_HEADERS: &str = r#"(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
        (call $deny (i32.const 502)) (i32.const 0))"#;
    let mut chain = start(vec![filter("watch", WATCH), filter("deny", DENY_HEADERS)]);
    let outcome = chain.exchange(&get(), &answer(&["secret"])).unwrap();
    assert_eq!(client(&outcome), (502, "denied".into(), true));
    assert_eq!(lines(&outcome), ["h1"], "past the filters");

    const DENY_BODY: &str = r#"(func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
        (call $deny (i32.const 502)) (i32.const 0))"#;
    let mut chain = start(vec![filter("deny", DENY_BODY)]);
    let outcome = chain.exchange(&get(), &answer(&["secret"])).unwrap();
    assert_eq!(client(&outcome), (200, String::new(), false), "the headers had gone");

    let hold = format!(
        "{DENY_BODY} (func (export \"proxy_on_response_headers\") (param i32 i32 i32) (result i32) (i32.const 1))"
    );
    let mut chain = start(vec![holding("deny", &hold)]);
    let outcome = chain.exchange(&get(), &answer(&["secret"])).unwrap();
    assert_eq!(
        client(&outcome),
        (502, "denied".into(), true),
        "the headers were still held"
    );
}

#[test]
fn a_closed_stream_breaks() {
    const CLOSE: &str = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (call $close (i32.const 0))) (i32.const 0))"#;
    let outcome = start(vec![filter("close", CLOSE)])
        .exchange(&get(), &answer(&[]))
        .unwrap();
    assert_eq!((outcome.client, outcome.upstream), (None, None));
}

#[test]
fn a_trap_fails_closed_for_good() {
    const TRAP: &str = r#"(func $inner unreachable)
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $inner) (i32.const 0))"#;
    let mut chain = start(vec![filter("watch", WATCH), filter("trap", TRAP)]);
    let outcome = chain.exchange(&get(), &answer(&[])).unwrap();
    assert_eq!(client(&outcome), (503, String::new(), true));
    let [failure] = &outcome.failures[..] else {
        panic!("{:?}", outcome.failures)
    };
    assert_eq!(
        (failure.filter.as_str(), failure.callback),
        ("trap", "proxy_on_request_headers")
    );
    assert_eq!(failure.backtrace[0].function, "inner");
    assert!(!lines(&outcome).iter().any(|line| line.contains("trap")), "{outcome:?}");
    let outcome = chain.exchange(&get(), &answer(&[])).unwrap();
    assert_eq!(client(&outcome).0, 503, "later requests too");
}

#[test]
fn memory_is_limited() {
    let engine = Wasmtime::builder().memory(1 << 20).build().unwrap();
    let filter = filter(
        "grow",
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $note (i32.const 109) (i32.eq (memory.grow (i32.const 100)) (i32.const -1))) (i32.const 0))"#,
    );
    let mut chain = engine
        .start_chain(&Setup {
            filters: vec![filter],
            ..Setup::default()
        })
        .unwrap();
    assert_eq!(lines(&chain.exchange(&get(), &answer(&[])).unwrap()), ["m1"]);
}

/// Asks a cluster and resumes, or denies, when the answer has come.
const CALL: &str = r#"
  (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32)
    (global.set $stream (local.get $id)) (call $headers_call) (i32.const 1))
  (func (export "proxy_on_http_call_response") (param i32 i32) (param $headers i32) (param i32 i32)
    (call $say_body (i32.const 4))
    (drop (call $effective (global.get $stream)))
    (if (local.get $headers) (then (drop (call $continue (i32.const 0)))) (else (call $deny (i32.const 504)))))
"#;

#[test]
fn a_call_is_answered_and_resumes_the_stream() {
    let engine = Wasmtime::builder()
        .cluster("cluster", |call| {
            assert_eq!(call.headers[0], (":path".to_owned(), b"/".to_vec()));
            Some(CallAnswer {
                headers: vec![(":status".into(), b"200".to_vec())],
                body: b"answer".to_vec(),
                ..CallAnswer::default()
            })
        })
        .build()
        .unwrap();
    let setup = Setup {
        filters: vec![filter("call", CALL), filter("watch", WATCH)],
        ..Setup::default()
    };
    let mut chain = engine.start_chain(&setup).unwrap();
    let outcome = chain.exchange(&post(&["a", "b"]), &answer(&[])).unwrap();
    assert_eq!(
        lines(&outcome),
        ["answer", "h0", "b1", "H1"],
        "what came meanwhile is one piece"
    );
    assert_eq!(upstream_body(&outcome), "ab");

    let engine = Wasmtime::builder().cluster("cluster", |_| None).build().unwrap();
    let outcome = engine
        .start_chain(&setup)
        .unwrap()
        .exchange(&get(), &answer(&[]))
        .unwrap();
    assert_eq!(client(&outcome).0, 504);
}

#[test]
fn routes_are_matched_again_when_a_filter_changes_the_path() {
    const REWRITE: &str = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (call $replace_header (i32.const 0) (i32.const 48) (i32.const 5) (i32.const 64) (i32.const 6)))
        (i32.const 0))"#;
    let route = |prefix: &str| Route {
        name: prefix.into(),
        prefix: prefix.into(),
        metadata: Metadata::new(),
    };
    let run = |routes| {
        let setup = Setup {
            filters: vec![filter("rewrite", REWRITE), filter("watch", WATCH)],
            routes,
            ..Setup::default()
        };
        start_with(setup).exchange(&get(), &answer(&[])).unwrap()
    };
    let outcome = run(vec![route("/other")]);
    assert_eq!(outcome.upstream.as_ref().unwrap().target, b"/other");
    let outcome = run(vec![route("/a")]);
    assert_eq!(client(&outcome), (404, String::new(), true));
    assert_eq!(lines(&outcome), ["h1", "H1"], "the router's answer passes all filters");
}

/// Sets filter state in the log phase, and reads the path there.
const LOG: &str = r#"
  (data (i32.const 512) "request\00path")
  (func (export "proxy_on_log") (param i32)
    (drop (call $get_property (i32.const 512) (i32.const 12) (i32.const 0) (i32.const 4)))
    (drop (call $set_property (i32.const 96) (i32.const 10) (i32.load (i32.const 0)) (i32.load (i32.const 4)))))
"#;

#[test]
fn filter_state_set_in_the_log_phase_is_reported() {
    let filters = vec![filter("log", LOG)];
    let report = vec!["scrim.note".to_owned(), "scrim.other".to_owned()];
    let mut chain = start_with(Setup {
        filters,
        report,
        ..Setup::default()
    });
    let outcome = chain.exchange(&get(), &answer(&[])).unwrap();
    assert_eq!(
        outcome.filter_state.into_iter().collect::<Vec<_>>(),
        [("scrim.note".into(), "/a?b=c".into())]
    );
}

#[test]
fn the_log_phase_sees_the_response_as_the_client_got_it() {
    const LOOK: &str = r#"
      (data (i32.const 512) "transfer-encoding")
      (func $look
        (call $note (i32.const 116)
          (call $get_header (i32.const 2) (i32.const 512) (i32.const 17) (i32.const 0) (i32.const 4))))
      (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (call $look) (i32.const 0))
      (func (export "proxy_on_log") (param i32) (call $look))"#;
    let outcome = start(vec![filter("look", LOOK)])
        .exchange(&get(), &answer(&["body"]))
        .unwrap();
    assert_eq!(lines(&outcome), ["t0", "t1"]);
}

#[test]
fn filter_state_passes_to_later_filters() {
    const SET: &str = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (call $set_property (i32.const 96) (i32.const 10) (i32.const 32) (i32.const 4))) (i32.const 0))"#;
    const GET: &str = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $note (i32.const 112)
          (call $get_property (i32.const 96) (i32.const 10) (i32.const 0) (i32.const 4)))
        (call $say (i32.load (i32.const 0)) (i32.load (i32.const 4))) (i32.const 0))"#;
    let mut chain = start(vec![filter("set", SET), filter("get", GET)]);
    assert_eq!(lines(&chain.exchange(&get(), &answer(&[])).unwrap()), ["p0", "seen"]);
    let mut chain = start(vec![filter("get", GET), filter("set", SET)]);
    assert_eq!(
        lines(&chain.exchange(&get(), &answer(&[])).unwrap())[0],
        "p1",
        "not found"
    );
}

#[test]
fn properties_come_in_envoys_encodings() {
    const ASK: &str = r#"
      (data (i32.const 512) "xds\00route_metadata\00filter_metadata\00scrim\00policy")
      (data (i32.const 576) "connection\00mtls")
      (data (i32.const 608) "plugin_root_id")
      (data (i32.const 640) "request\00headers\00cookie")
      (func $ask (param $at i32) (param $size i32)
        (call $note (i32.const 112) (call $get_property (local.get $at) (local.get $size) (i32.const 0) (i32.const 4)))
        (call $say (i32.load (i32.const 0)) (i32.load (i32.const 4))))
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $ask (i32.const 512) (i32.const 47))
        (call $ask (i32.const 576) (i32.const 15))
        (call $ask (i32.const 608) (i32.const 14))
        (call $note (i32.const 112)
          (call $get_property (i32.const 640) (i32.const 22) (i32.const 0) (i32.const 4)))
        (i32.const 0))"#;
    let metadata = Metadata::from([("scrim".into(), [("policy".into(), "clinician".into())].into())]);
    let routes = vec![Route {
        name: "r".into(),
        prefix: "/".into(),
        metadata,
    }];
    let mut chain = start_with(Setup {
        filters: vec![filter("ask", ASK)],
        routes,
        ..Setup::default()
    });
    let outcome = chain.exchange(&get(), &answer(&[])).unwrap();
    assert_eq!(lines(&outcome), ["p0", "clinician", "p0", "\0", "p0", "root", "p1"]);
}

#[test]
fn request_headers_are_gone_once_the_callback_has_continued() {
    const LATE: &str = r#"
      (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
        (call $note (i32.const 103)
          (call $get_header (i32.const 0) (i32.const 48) (i32.const 5) (i32.const 0) (i32.const 4)))
        (call $note (i32.const 115)
          (call $replace_header (i32.const 0) (i32.const 48) (i32.const 5) (i32.const 64) (i32.const 6)))
        (call $note (i32.const 109) (call $get_headers (i32.const 0) (i32.const 0) (i32.const 4)))
        (call $note (i32.const 110) (i32.load (i32.const 4)))
        (i32.const 0))"#;
    let outcome = start(vec![filter("late", LATE)])
        .exchange(&get(), &answer(&[]))
        .unwrap();
    assert_eq!(lines(&outcome), ["g2", "s2", "m0", "n0"]);
}

#[test]
fn trailers_pass_and_buffered_data_with_them() {
    const HOLD: &str = r#"
      (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) (i32.const 1))
      (func (export "proxy_on_response_trailers") (param $id i32) (param $count i32) (result i32)
        (call $note (i32.const 116) (local.get $count))
        (call $say_body (i32.const 1))
        (drop (call $set_buffer (i32.const 1) (i32.const 0) (i32.const 99) (i32.const 32) (i32.const 4)))
        (call $mark (i32.const 3))
        (i32.const 0))"#;
    let mut answer = answer(&["a", "b"]);
    answer.body.trailers = vec![("grpc-status".into(), b"0".to_vec())];
    let outcome = start(vec![filter("hold", HOLD)]).exchange(&get(), &answer).unwrap();
    assert_eq!(lines(&outcome), ["t1", "ab"]);
    assert_eq!(client(&outcome), (200, "seen".into(), true));
    let names: Vec<_> = outcome
        .client
        .as_ref()
        .unwrap()
        .trailers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["grpc-status", "x-probe"]);
}

#[test]
fn an_upstream_that_fails_is_503_or_a_broken_body() {
    let mut chain = start(vec![filter("watch", WATCH)]);
    let fault = |fault, chunks: &[&str]| Answer {
        fault: Some(fault),
        ..answer(chunks)
    };
    let outcome = chain.exchange(&get(), &fault(Fault::Refuse, &[])).unwrap();
    assert_eq!((client(&outcome).0, outcome.upstream), (503, None));
    let outcome = chain.exchange(&get(), &fault(Fault::ResetBeforeHeaders, &[])).unwrap();
    assert_eq!(client(&outcome).0, 503);
    assert_eq!(lines(&outcome), ["h1", "H0", "B1"]);
    let outcome = chain
        .exchange(&get(), &fault(Fault::ResetAfterBody, &["half"]))
        .unwrap();
    assert_eq!(client(&outcome), (200, "half".into(), false));
}

#[test]
fn heads_and_not_modified_have_no_body() {
    let mut chain = start(vec![filter("watch", WATCH)]);
    let head = Request {
        method: "HEAD".into(),
        ..get()
    };
    assert_eq!(lines(&chain.exchange(&head, &answer(&["body"])).unwrap()), ["h1", "H1"]);
    let answer = Answer {
        status: 304,
        ..answer(&["body"])
    };
    let outcome = chain.exchange(&get(), &answer).unwrap();
    assert_eq!(
        (lines(&outcome), client(&outcome)),
        (vec!["h1", "H1"], (304, String::new(), true))
    );
}

#[test]
fn a_refused_configuration_names_the_filter_and_what_it_said() {
    const REFUSE: &str = r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
        (call $say_body (i32.const 7)) (i32.const 0))"#;
    let filter = Filter {
        configuration: b"my configuration".to_vec(),
        ..filter("picky", REFUSE)
    };
    let error = engine()
        .start_chain(&Setup {
            filters: vec![filter],
            ..Setup::default()
        })
        .err()
        .unwrap();
    let text = format!("{error:#}");
    assert!(
        text.contains("`picky`") && text.contains("refused its configuration"),
        "{text}"
    );
    assert!(text.contains("[info] my configuration"), "{text}");
}

#[test]
fn a_module_that_envoy_would_refuse_is_refused() {
    let start = |text: &str| {
        let path = std::env::temp_dir().join(format!("scrim-bad-{}.wasm", std::process::id()));
        std::fs::write(&path, wat::parse_str(text).unwrap()).unwrap();
        let filter = Filter {
            module: path,
            ..filter("bad", "")
        };
        let error = engine()
            .start_chain(&Setup {
                filters: vec![filter],
                ..Setup::default()
            })
            .err()
            .unwrap();
        format!("{error:#}")
    };
    assert!(start("(module)").contains("exports no `proxy_abi_version_0_2_1`"));
    let text = start(r#"(module (import "env" "proxy_magic" (func)) (func (export "proxy_abi_version_0_2_1")))"#);
    assert!(
        text.contains("imports what Envoy does not have: env.proxy_magic"),
        "{text}"
    );
    assert!(start(r#"(module (func (export "proxy_abi_version_0_3_0")))"#).contains("is no proxy-wasm module"));
    assert!(start(r#"(module (func (export "proxy_abi_version_0_1_0")))"#).contains("exports neither `malloc`"));
    let error = engine().start_chain(&Setup {
        filters: vec![Filter {
            module: "/nowhere.wasm".into(),
            ..filter("gone", "")
        }],
        ..Setup::default()
    });
    assert!(format!("{:#}", error.err().unwrap()).contains("/nowhere.wasm"));
}

#[test]
fn what_callbacks_burn_is_counted_and_the_same_in_every_run() {
    let setup = Setup {
        filters: vec![filter(
            "burns",
            r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                 (local $i i32)
                 (loop $again (local.set $i (i32.add (local.get $i) (i32.const 1)))
                   (br_if $again (i32.lt_u (local.get $i) (i32.const 1000))))
                 (i32.const 0))"#,
        )],
        ..Setup::default()
    };
    let engine = Wasmtime::builder().metered().build().unwrap();
    let mut spent = Vec::new();
    for _ in 0..2 {
        let mut chain = engine.start_chain(&setup).unwrap();
        chain.take_costs();
        chain.exchange(&get(), &answer(&["x"])).unwrap();
        let costs = chain.take_costs();
        let cost = costs[&("burns".to_owned(), "proxy_on_request_headers")];
        assert_eq!(cost.calls, 1);
        assert!(cost.fuel >= 1000, "{}", cost.fuel);
        assert_eq!(chain.memory(), [("burns".to_owned(), 4 << 16)]);
        assert_eq!(chain.take_costs(), BTreeMap::new());
        spent.push(cost.fuel);
    }
    assert_eq!(spent[0], spent[1]);
    let _ = std::fs::remove_file(&setup.filters[0].module);
}
