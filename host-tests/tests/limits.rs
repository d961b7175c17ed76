//! Limits and failure policies in case files, run as `scrim test` runs them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use scrim::cases::{Options, Runner, Summary};
use scrim::wasm::{Builder, Wasmtime};

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("scrim-limits-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let file = self.0.join(name);
        std::fs::write(&file, bytes).unwrap();
        file
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Spins for POST, and recurses for PUT, without end.
const GREEDY: &str = r#"(module
  (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 65536))
  (data (i32.const 16) ":method")
  (func $spin (loop (br 0)))
  (func $deeper (param i32) (result i32) (i32.add (i32.const 1) (call $deeper (local.get 0))))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (drop (call $get (i32.const 0) (i32.const 16) (i32.const 7) (i32.const 0) (i32.const 4)))
    (if (i32.eq (i32.load8_u offset=1 (i32.load (i32.const 0))) (i32.const 79)) (then (call $spin)))
    (if (i32.eq (i32.load8_u offset=1 (i32.load (i32.const 0))) (i32.const 85)) (then (drop (call $deeper (i32.const 0)))))
    (i32.const 0)))"#;

fn run(builder: Builder, head: &str, cases: &str) -> (Summary, String) {
    let folder = Folder::new();
    folder.write("greedy.wasm", wat::parse_str(GREEDY).unwrap());
    let text = format!("filters:\n  - module: greedy.wasm\n{head}deliver: [whole]\ncases:\n{cases}");
    let file = folder.write("a.cases.yaml", text);
    let runner = Runner {
        engines: vec![Box::new(builder.build().unwrap())],
        compile: Box::new(|_| anyhow::bail!("no policy here")),
    };
    let mut out = Vec::new();
    let summary = runner.run(&[file], &Options::default(), &mut out).unwrap();
    (summary, String::from_utf8(out).unwrap())
}

const SPIN: &str = "  - name: spin\n    request: {url: /secret, method: POST}\n    expect: {status: 200}\n";

#[test]
fn a_failed_case_says_which_limit_ended_the_guest_and_where() {
    let head = "limits: {fuel: 5000, time: 3s, memory: 131072, stack: 65536}\n";
    let deep = "  - name: deep\n    request: {url: /, method: PUT}\n    expect: {status: 200}\n";
    let (summary, out) = run(Wasmtime::builder(), head, SPIN);
    assert_eq!(summary.failed, 1, "{out}");
    let wanted = "filter `greedy`: proxy_on_request_headers trapped: it burned more than 5000 units of fuel";
    assert!(out.contains(wanted), "{out}");
    assert!(out.contains("spin"), "{out}");
    let report = out.split(wanted).nth(1).unwrap();
    assert!(
        report.contains("proxy_get_header_map_value(0): ok, took 7 B, gave 4 B"),
        "{out}"
    );
    let (_, out) = run(Wasmtime::builder(), "limits: {stack: 65536}\n", deep);
    assert!(out.contains("its calls took more than 65536 bytes of stack"), "{out}");
}

#[test]
fn limits_of_a_file_hold_for_an_engine_that_has_others() {
    let (_, out) = run(Wasmtime::builder().metered(), "limits: {time: 50ms}\n", SPIN);
    assert!(out.contains("it ran longer than 50ms"), "{out}");
    let (summary, out) = run(
        Wasmtime::builder(),
        "limits: {fuel: 5000}\n",
        "  - name: modest\n    request: {url: /}\n    expect: {status: 200}\n",
    );
    assert_eq!((summary.passed, summary.failed), (1, 0), "{out}");
}

#[test]
fn a_stack_that_cannot_be_had_breaks_the_file_and_not_the_run() {
    let (summary, out) = run(Wasmtime::builder(), "limits: {stack: 99999999}\n", SPIN);
    assert_eq!(summary.exit_code(), 2, "{out}");
    assert!(out.contains("99999999"), "{out}");
}

#[test]
fn the_failure_policy_of_a_case_file_holds() {
    let cases = |second: u16| {
        format!(
            "  - name: first\n    request: {{url: /, method: POST}}\n    expect: {{status: 503}}\n  - name: second\n    request: {{url: \
             /}}\n    expect: {{status: {second}}}\n"
        )
    };
    for (policy, second) in [("closed", 503), ("open", 200), ("reload", 503)] {
        let head = format!("    failure_policy: {policy}\nlimits: {{fuel: 5000}}\n");
        let (summary, out) = run(Wasmtime::builder(), &head, &cases(second));
        assert_eq!((summary.passed, summary.failed), (2, 0), "{policy}: {out}");
    }
}
