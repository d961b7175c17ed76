//! Whole files against a small plugin, as Google's runner would run them.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A plugin that: logs `created ID` as `c`, `d` when done; adds `X-Seen: yes` to request headers; answers a request with
/// the path `/deny` with 403, `stop`, and `/pause` by a pause; puts `foo` behind request bodies and `<` before response bodies; logs the property
/// `a.b` when it sees response headers.
const PLUGIN: &str = r#"(module
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_buffer_bytes" (func $set (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_send_local_response" (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "X-Seenyes")
  (data (i32.const 32) ":path")
  (data (i32.const 40) "stop")
  (data (i32.const 48) "foo<")
  (data (i32.const 56) "a\00b")
  (data (i32.const 64) "cdnr")
  (data (i32.const 72) "\01\00\00\00\06\00\00\00\01\00\00\00Header\001\00")
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_abi_version_0_2_1"))
  (func $say (param $at i32) (param $size i32) (drop (call $log (i32.const 2) (local.get $at) (local.get $size))))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (call $say (i32.const 64) (i32.const 1)) (i32.const 1))
  (func (export "proxy_on_context_create") (param i32 i32)
    (if (local.get 1) (then (call $say (i32.const 66) (i32.const 1)))))
  (func (export "proxy_on_done") (param i32) (result i32) (call $say (i32.const 65) (i32.const 1)) (i32.const 1))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (drop (call $get (i32.const 0) (i32.const 32) (i32.const 5) (i32.const 0) (i32.const 4)))
    (drop (call $add (i32.const 0) (i32.const 16) (i32.const 6) (i32.const 22) (i32.const 3)))
    (if (i32.eq (i32.load (i32.const 4)) (i32.const 5)) (then
      (if (i32.eq (i32.load8_u (i32.const 1025)) (i32.const 100)) (then
        (drop (call $reply (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 40) (i32.const 4)
          (i32.const 72) (i32.const 21) (i32.const 7)))))))
    (i32.eq (i32.load (i32.const 4)) (i32.const 6)))
  (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
    (drop (call $set (i32.const 0) (local.get 1) (i32.const 0) (i32.const 48) (i32.const 3)))
    (if (local.get 2) (then (call $say (i32.const 67) (i32.const 1))))
    (i32.const 1))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    (if (i32.eqz (call $property (i32.const 56) (i32.const 3) (i32.const 0) (i32.const 4))) (then
      (call $say (i32.load (i32.const 0)) (i32.load (i32.const 4)))))
    (i32.const 0))
  (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
    (drop (call $set (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 51) (i32.const 1)))
    (if (i32.eq (local.get 1) (i32.const 13)) (then (unreachable)))
    (i32.const 0)))"#;

/// What is wrong with each test of a file, by name; none: nothing is.
fn run_text(text: &str) -> Vec<(String, String)> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let folder = std::env::temp_dir().join(format!(
        "scrim-textproto-{}-{}",
        std::process::id(),
        NUMBER.fetch_add(1, Ordering::Relaxed)
    ));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("tests.textpb");
    std::fs::write(&file, text).unwrap();
    std::fs::write(folder.join("input.data"), "GET https://h.example/file HTTP/1.1\n").unwrap();
    std::fs::write(folder.join("body.data"), "12foo34foo").unwrap();
    let plugin = Plugin {
        module: Some(Filter::from_wat(PLUGIN).unwrap().module),
        configuration: None,
    };
    let mut out = Vec::new();
    let summary = run(&[file], &plugin, &Options::default(), &mut out).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    summary.failures
}

#[track_caller]
fn passes(text: &str) {
    assert_eq!(run_text(text), []);
}

/// Fails for a reason that holds this.
#[track_caller]
fn fails(test: &str, why: &str) {
    let failures = run_text(&format!("test {{ name: 't' {test} }}"));
    assert!(failures.len() == 1 && failures[0].1.contains(why), "{failures:?}");
}

#[test]
fn a_file_as_googles_runner_takes_it_passes() {
    passes(
        r#"
env { log_level: DEBUG log_path: "/dev/null" time_secs: 5 }
test {
  name: "Headers" benchmark: true
  plugin_init { log { exact: "c" } log { exact: "d" invert: true } }
  stream_init { log { exact: "n" } }
  request_headers {
    input { header { key: ":path" value: "/" } header { key: "One" value: "1" } header { key: "ONE" value: "2" } }
    result {
      has_header { key: "x-seen" value: "yes" }
      has_header { key: "one" value: "1, 2" }
      no_header { key: "two" }
      headers { exact: "X-Seen: yes" } headers { exact: "x-seen: yes" }
      headers { regex: "Two:.*" invert: true }
      log { regex: ".*" invert: true }
    }
  }
  stream_destroy { log { exact: "d" } }
}
test {
  name: "Content"
  request_headers { input { file: "input.data" } result { has_header { key: ":authority" value: "h.example" } } }
}
test {
  name: "Answered"
  request_headers {
    input { header { key: ":path" value: "/deny" } }
    result {
      immediate { http_status: 403 grpc_status: 7 details: "" }
      body { exact: "stop" }
      headers { exact: "Header: 1" }
      no_header { key: "x-seen" }
    }
  }
  response_body { input { content: "x" } result { body { exact: "" } } }
}
test {
  name: "Chunks"
  num_chunks: 2
  request_body { input { content: "1234" } result { body { file: "body.data" } body { regex: "12.*" } log { exact: "r" } } }
}
test {
  name: "Bodies"
  properties { path: "a.b" value: "\001" }
  request_body { input { content: "1" } result { body { exact: "1foo" } } }
  request_body { input { content: "2" } result { body { exact: "2foo" } } }
  response_headers { input { content: "HTTP/1.1 200 OK" } result { has_header { key: ":status" value: "200" } log { exact: "\x01" } } }
  response_body { input { content: "3" } result { body { exact: "<3" } } }
}
"#,
    );
}

#[test]
fn each_expectation_can_fail() {
    let request = |path: &str, result: &str| {
        format!("request_headers {{ input {{ header {{ key: ':path' value: '{path}' }} }} result {{ {result} }} }}")
    };
    fails(
        &request("/", "has_header { key: 'two' value: '' }"),
        "the header `two` is missing",
    );
    fails(&request("/", "has_header { key: 'x-seen' value: 'no' }"), "-no\n+yes");
    fails(
        &request("/", "no_header { key: 'X-SEEN' }"),
        "expected no header `X-SEEN`",
    );
    fails(
        &request("/", "headers { regex: 'x-seen: y' }"),
        "expected a header that is\n-x-seen: y\n",
    );
    fails(
        &request("/", "headers { regex: 'x-seen:.*' invert: true }"),
        "expected no header",
    );
    fails(
        &request("/", "headers { exact: 'X-SEEN: yes' }"),
        "expected a header that is",
    );
    fails(&request("/", "immediate { http_status: 403 }"), "the plugin sent none");
    fails(&request("/deny", ""), "and the plugin sent 403");
    fails(&request("/deny", "immediate { http_status: 404 }"), "-404\n+403");
    fails(&request("/deny", "immediate { grpc_status: 1 }"), "-1\n+7");
    fails(&request("/deny", "immediate { details: 'why' }"), "details");
    fails(
        &request("/deny", "immediate { } body { exact: 'halt' }"),
        "-halt\n+stop",
    );
    fails(&request("/pause", ""), "the plugin paused it");
    fails(
        &request("/pause", "immediate { http_status: 403 }"),
        "the plugin sent none",
    );
    fails(
        "plugin_init { log { exact: 'z' } }",
        "[plugin_init] expected a log line",
    );
    fails("stream_destroy { log { exact: 'd' invert: true } }", "[stream_destroy]");
    fails(
        "response_body { input { content: '3' } result { body { exact: '3' } } }",
        "-3\n+<3",
    );
    fails(
        "response_body { input { content: '1234567890abc' } }",
        "the plugin trapped",
    );
    fails(
        "response_body { result { immediate { http_status: 500 } } }",
        "the plugin sent none",
    );
    fails(
        "num_chunks: 3 response_body { input { content: '12' } }",
        "can't be cut into 3 pieces",
    );
    fails("response_headers { input { content: 'HTTP/1.1' } }", "no status line");
    fails("response_body { input { file: 'nowhere' } }", "cannot read");
}

#[test]
fn only_given_properties_are_there() {
    fails(
        "response_headers { result { log { regex: '.+' } } }",
        "expected a log line",
    );
    passes(
        "test { name: 'others' properties { path: 'a.c' value: 'x' } response_headers { result { log { regex: '.*' invert: true } } } }",
    );
}

#[test]
fn a_file_that_cannot_be_read_names_the_place_and_the_others_run() {
    let failures = run_text("test {\n  nam: 'x'\n}");
    assert!(
        failures[0]
            .1
            .ends_with("tests.textpb:2:3: error: unknown field `nam`: did you mean `name`?"),
        "{failures:?}"
    );
    let mut out = Vec::new();
    let nowhere = [PathBuf::from("nowhere.textpb"), PathBuf::from("nowhere2.textpb")];
    let summary = run(&nowhere, &Plugin::default(), &Options::default(), &mut out).unwrap();
    assert_eq!((summary.broken, summary.exit_code()), (2, 2));
}

#[test]
fn pieces_are_those_of_googles_runner() {
    let cut = |body: &str, chunking| {
        let chunks = cut(body.as_bytes(), Some(chunking)).unwrap();
        chunks
            .iter()
            .map(|chunk| String::from_utf8(chunk.clone()).unwrap())
            .collect::<Vec<_>>()
            .join("|")
    };
    assert_eq!(cut("12345678901", Chunking::Count(5)), "12|34|56|78|901");
    assert_eq!(cut("1234", Chunking::Count(1)), "1234");
    assert_eq!(cut("12345", Chunking::Size(2)), "12|34|5");
    assert_eq!(cut("1234", Chunking::Size(2)), "12|34");
    assert_eq!(cut("", Chunking::Size(2)), "");
}
