//! `scrim bench` as a user meets it: exact numbers, baselines, exit codes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use scrim::Filter;
use serde_json::Value;

/// Burns so much more with every round.
fn plugin(rounds: u32, leak: bool) -> String {
    let leak = if leak { "(drop (memory.grow (i32.const 1)))" } else { "" };
    format!(
        r#"(module
  (memory (export "memory") 1)
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $n i32)
    (loop $again
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $n) (i32.const {rounds}))))
    {leak}
    (i32.const 0)))"#
    )
}

const CASES: &str = "\
filters: [{module: plugin.wasm, name: probe}]
cases:
  - name: a record
    request: {url: /records/7}
    expect: {status: 200}
  - name: another one
    request: {url: /records/8, method: POST, body: {text: abc}}
    expect: {status: 200}
";

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("some.cases.yaml"), CASES).unwrap();
    put(&folder, 100, false);
    folder
}

fn put(folder: &Path, rounds: u32, leak: bool) {
    fs::copy(
        Filter::from_wat(&plugin(rounds, leak)).unwrap().module,
        folder.join("plugin.wasm"),
    )
    .unwrap();
}

fn scrim(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_scrim"))
        .arg("bench")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn fuel_and_memory_are_the_same_in_every_run() {
    let folder = folder("exact");
    let exact = |_: u32| {
        let (code, out, err) = scrim(
            &folder,
            &["some.cases.yaml", "--json", "--runs", "0", "--streams", "100"],
        );
        assert_eq!(code, 0, "{err}");
        let mut measured: Value = serde_json::from_str(&out).unwrap();
        measured["files"]["some"]["start"]["nanoseconds"] = Value::Null;
        measured
    };
    let first = exact(1);
    assert_eq!(first, exact(2));
    let case = &first["files"]["some"]["cases"]["a record"];
    assert!(case["fuel"].as_u64().unwrap() > 400, "{first}");
    assert_eq!(case["memory"], 65_536);
    assert_eq!(first["files"]["some"]["leak"]["bytes_per_1000"], 0);
}

#[test]
fn a_gate_fails_on_more_fuel_and_on_a_leak_and_on_nothing_else() {
    let folder = folder("gate");
    let save = [
        "some.cases.yaml",
        "--runs",
        "5",
        "--streams",
        "100",
        "--save",
        "base.json",
    ];
    let (code, out, err) = scrim(&folder, &save);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("a record") && out.contains("no leak in 100 streams"),
        "{out}"
    );
    let gate = [
        "some.cases.yaml",
        "--streams",
        "100",
        "--runs",
        "0",
        "--baseline",
        "base.json",
        "--fail-over",
    ];
    let gate = |percent: &str| scrim(&folder, &[&gate[..], &[percent]].concat());
    assert_eq!(gate("0%").0, 0, "nothing changed");
    put(&folder, 101, false);
    let (code, _, err) = gate("0%");
    assert_eq!(code, 1);
    assert!(err.contains("over the baseline: some::a record: fuel was "), "{err}");
    assert_eq!(gate("5%").0, 0, "within the limit");
    put(&folder, 100, true);
    let (code, _, err) = gate("5%");
    assert_eq!(code, 1);
    assert!(
        err.contains("over the baseline: some: leak was 0, is 65536000"),
        "{err}"
    );
    assert!(err.contains("some::another one: memory was 65536"), "{err}");
}

#[test]
fn what_cannot_be_measured_is_exit_2() {
    let folder = folder("broken");
    let (code, _, err) = scrim(&folder, &["some.cases.yaml", "--baseline", "none.json"]);
    assert!(
        code == 2 && err.contains("cannot read the baseline `none.json`"),
        "{err}"
    );
    let (code, _, err) = scrim(&folder, &["some.cases.yaml", "--baseline", "some.cases.yaml"]);
    assert!(code == 2 && err.contains("write one with `--save`"), "{err}");
    let (code, _, err) = scrim(&folder, &["some.cases.yaml", "--filter", "nobody"]);
    assert!(code == 2 && err.contains("no case has a name"), "{err}");
    fs::write(folder.join("bad.cases.yaml"), "cases: 5").unwrap();
    let (code, out, err) = scrim(&folder, &[".", "--runs", "0", "--streams", "0"]);
    assert!(
        code == 2 && err.contains("bad.cases.yaml") && out.contains("a record"),
        "{out}{err}"
    );
    let (code, _, err) = scrim(&folder, &["some.cases.yaml", "--baseline", "x", "--fail-over", "much"]);
    assert!(code == 2 && err.contains("write it as `2%`"), "{err}");
}
