//! `scrim test tests.textpb` as a user meets it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use scrim::Filter;

/// Adds `x-seen`, with its configuration's first three bytes as the value.
const PLUGIN: &str = r#"(module
  (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_buffer_bytes" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "x-seen")
  (data (i32.const 1024) "yes")
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (drop (call $get (i32.const 7) (i32.const 0) (i32.const 3) (i32.const 0) (i32.const 4)))
    (i32.const 1))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (call $add (i32.const 0) (i32.const 16) (i32.const 6) (i32.const 1024) (i32.const 3))))"#;

const TESTS: &str = r#"
test {
  name: "Seen"
  request_headers { result { has_header { key: "X-Seen" value: "yes" } } }
}
test {
  name: "Configured"
  request_headers { result { has_header { key: "x-seen" value: "cfg" } } }
}
"#;

/// A folder with tests, the plugin and a configuration.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("textproto-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("tests.textpb"), TESTS).unwrap();
    fs::write(folder.join("plugin.config"), "cfg").unwrap();
    fs::copy(Filter::from_wat(PLUGIN).unwrap().module, folder.join("plugin.wasm")).unwrap();
    folder
}

fn scrim(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_scrim"))
        .arg("test")
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
fn failed_tests_are_exit_1_with_what_was_and_what_is() {
    let folder = folder("fails");
    let (code, out, _) = scrim(
        &folder,
        &["tests.textpb", "--module", "plugin.wasm", "--junit", "out.xml"],
    );
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("test tests.textpb::Seen ... ok\n"), "{out}");
    assert!(out.contains("test tests.textpb::Configured ... FAILED\n"), "{out}");
    assert!(
        out.contains("tests.textpb:6\n[request_headers] header `x-seen`\n-cfg\n+yes\n"),
        "{out}"
    );
    let junit = fs::read_to_string(folder.join("out.xml")).unwrap();
    assert!(
        junit.contains(r#"<testsuite name="tests.textpb" tests="2" failures="1""#),
        "{junit}"
    );
}

#[test]
fn configuration_and_filter_are_the_commands() {
    let folder = folder("passes");
    let plugin = ["tests.textpb", "--module", "plugin.wasm"];
    let (code, out, _) = scrim(
        &folder,
        &[&plugin[..], &["--config", "plugin.config", "--filter", "Configured"]].concat(),
    );
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("1 passed; 0 failed"), "{out}");
}

#[test]
fn the_file_may_name_the_plugin_itself() {
    let folder = folder("env");
    let env = "env { wasm_path: 'plugin.wasm' config_path: 'plugin.config' }\n";
    fs::write(folder.join("own.textproto"), format!("{env}{TESTS}")).unwrap();
    // From elsewhere: paths count from the file then.
    let (code, out, _) = scrim(
        Path::new("/"),
        &[folder.join("own.textproto").to_str().unwrap(), "--filter", "Configured"],
    );
    assert_eq!(code, 0, "{out}");
}

#[test]
fn what_cannot_be_run_is_exit_2_and_says_the_mend() {
    let folder = folder("broken");
    let (code, out, _) = scrim(&folder, &["tests.textpb"]);
    assert_eq!(code, 2);
    assert!(
        out.contains("which module? Name it with `--module plugin.wasm`"),
        "{out}"
    );
    fs::write(folder.join("bad.textpb"), "test {\n  nam: 'x'\n}").unwrap();
    let (code, out, _) = scrim(&folder, &["bad.textpb", "tests.textpb", "--module", "plugin.wasm"]);
    assert_eq!(code, 2);
    assert!(
        out.contains("bad.textpb:2:3: error: unknown field `nam`: did you mean `name`?"),
        "{out}"
    );
    assert!(
        out.contains("tests.textpb::Seen ... ok"),
        "the other file still runs: {out}"
    );
    let (code, _, err) = scrim(
        &folder,
        &["tests.textpb", "--module", "plugin.wasm", "--engine", "both"],
    );
    assert!(code == 2 && err.contains("leave `--engine`"), "{err}");
    let (code, _, err) = scrim(&folder, &["tests.textpb", "x.cases.yaml"]);
    assert!(code == 2 && err.contains("run it apart"), "{err}");
    let (code, _, err) = scrim(&folder, &["x.cases.yaml", "--module", "plugin.wasm"]);
    assert!(
        code == 2 && err.contains("`--module` and `--config` are for `.textpb` files"),
        "{err}"
    );
}
