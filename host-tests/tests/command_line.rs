//! The command line as a user meets it: the built binary, its words and its exit codes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What a run said.
struct Said {
    code: i32,
    out: String,
    err: String,
}

/// A folder of the test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("command-line-{name}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        fs::write(self.0.join(name), content).unwrap();
        self
    }

    /// Runs `scrim` in the folder, without the keys that the caller's environment may have.
    fn scrim(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scrim"));
        command
            .args(arguments)
            .current_dir(&self.0)
            .env_remove("SCRIM_PSEUDONYM_KEY")
            .env_remove("GITHUB_ACTIONS")
            .env_remove("ENVOY");
        run(&mut command)
    }
}

fn run(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = Said {
        code: output.status.code().unwrap_or(-1),
        out: text(&output.stdout),
        err: text(&output.stderr),
    };
    // Nothing here is a terminal.
    assert!(
        !said.out.contains('\x1b') && !said.err.contains('\x1b'),
        "colours: {}{}",
        said.out,
        said.err
    );
    assert!(!said.err.contains("panicked"), "{}", said.err);
    said
}

/// One line that begins with `error: ` and says all of `wanted`.
#[track_caller]
fn assert_one_error(said: &Said, code: i32, wanted: &[&str]) {
    assert_eq!(said.code, code, "{}{}", said.out, said.err);
    let errors: Vec<&str> = said.err.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{}", said.err);
    for word in wanted {
        assert!(errors[0].contains(word), "{word:?} is not in {}", said.err);
    }
    assert!(
        !errors[0].ends_with('.') && said.out.is_empty(),
        "{}{}",
        said.out,
        said.err
    );
}

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/fhir-gateway")
        .join(name);
    path.canonicalize().unwrap().display().to_string()
}

const WARNS: &str = "version: 1\npolicies:\n  a: {cache_control: {class: public}}\ndefault: allow\n";
const WARNING: &str =
    "warns.yaml:4:10: warning: `default: allow` lets every request pass that no route matches, `deny` is safer\n";

#[test]
fn check_says_that_a_policy_is_usable() {
    let folder = Folder::new("check");
    let said = folder.scrim(&["check", &example("policy.yaml")]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("policy.yaml: ok, policy digest "), "{}", said.out);

    folder.file("warns.yaml", WARNS);
    let said = folder.scrim(&["check", "warns.yaml"]);
    assert_eq!((said.code, said.err.as_str()), (0, WARNING));
    assert!(said.out.starts_with("warns.yaml: ok, policy digest "), "{}", said.out);
    let said = folder.scrim(&["check", "--strict", "warns.yaml"]);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (1, "", WARNING));
}

#[test]
fn check_tells_every_problem_with_its_place_and_mend() {
    let folder = Folder::new("problems");
    folder.file(
        "bad.yaml",
        "version: 1\n\
         polcies: {}\n\
         issuers:\n  ehr:\n    issuer: https://idp.example.org\n    audiences: [https://fhir.example.org]\n    algorithms: [RS256]\n    jwks: {file: nowhere.json}\n\
         policies:\n  a:\n    cache_control: {class: phy}\n    phi_url: {preset: fhir-r4, on_qery: reject}\n",
    );
    let said = folder.scrim(&["check", "bad.yaml"]);
    let wanted = "bad.yaml:2:1: error: unknown key `polcies`, did you mean `policies`?\n\
         bad.yaml:8:18: error: key set `nowhere.json` can't be read: No such file or directory (os error 2); the path is relative to the policy file\n\
         bad.yaml:11:28: error: unknown value `phy`, did you mean `phi`?\n\
         bad.yaml:12:32: error: unknown key `on_qery`, did you mean `on_query`?\n";
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (1, "", wanted));

    let said = folder.scrim(&["check", "--json", "bad.yaml"]);
    let list: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        (said.code, list.as_array().unwrap().len(), said.err.as_str()),
        (1, 4, "")
    );
    assert_eq!(
        (
            list[0]["line"].as_u64(),
            list[0]["column"].as_u64(),
            list[0]["severity"].as_str()
        ),
        (Some(2), Some(1), Some("error"))
    );

    folder.file(
        "wrong.yaml",
        "version: 1\npolicies: {a: {cache_control: {class: phi}}}\nroutes:\n  - match: {path: x}\n    policy: b\n",
    );
    let wanted = "wrong.yaml:4:19: error: `x` does not begin with `/`, paths do\n\
         wrong.yaml:5:13: error: no policy is named `b`, did you mean `a`?\n";
    assert_eq!(folder.scrim(&["check", "wrong.yaml"]).err, wanted);
}

#[test]
fn check_tells_files_that_are_no_policies() {
    let folder = Folder::new("unreadable");
    folder
        .file("empty.yaml", "")
        .file("binary.yaml", b"\xff\xfe")
        .file("broken.yaml", "version: 1\npolicies: {a: [\n");
    folder.file("key.yaml", "version: 1\nkeys:\n  pseudonyms: {file: no.key}\npolicies:\n  a: {phi_url: {preset: fhir-r4, on_query: tokenize}}\ndefault: a\n");
    let cases = [
        (
            "nowhere.yaml",
            "nowhere.yaml:1:1: error: the policy file can't be read: No such file or directory (os error 2); check the path\n",
        ),
        (
            "empty.yaml",
            "empty.yaml:1:1: error: the file is empty, begin with `version: 1`\n",
        ),
        (
            "binary.yaml",
            "binary.yaml:1:1: error: the policy file is not UTF-8 text; save it as UTF-8\n",
        ),
        (
            "key.yaml",
            "key.yaml:3:22: error: key file `no.key` can't be read: No such file or directory (os error 2); the path is relative to the policy file\n",
        ),
    ];
    for (file, wanted) in cases {
        for arguments in [
            &["check", file][..],
            &["explain", file, "GET", "/"],
            &["render", "envoy", "--policy", file],
        ] {
            let said = folder.scrim(arguments);
            assert_eq!(
                (said.code, said.out.as_str(), said.err.as_str()),
                (1, "", wanted),
                "{arguments:?}"
            );
        }
        let said = folder.scrim(&[
            "serve",
            "--policy",
            file,
            "--listen",
            "127.0.0.1:0",
            "--upstream",
            "127.0.0.1:1",
        ]);
        assert_eq!((said.code, said.err.as_str()), (1, wanted), "serve {file}");
    }
    let said = folder.scrim(&["check", "broken.yaml"]);
    assert!(
        said.code == 1 && said.err.starts_with("broken.yaml:") && said.err.contains(": error: not YAML: "),
        "{}",
        said.err
    );
}

#[test]
fn serve_wants_its_keys() {
    let folder = Folder::new("keys");
    let policy = example("policy.yaml");
    let said = folder.scrim(&[
        "serve",
        "--policy",
        &policy,
        "--listen",
        "127.0.0.1:0",
        "--upstream",
        "127.0.0.1:1",
    ]);
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    let wanted =
        "error: environment variable `SCRIM_PSEUDONYM_KEY` is not set; set it to 32 random bytes or more, in base64";
    assert!(said.err.contains(wanted), "{}", said.err);
}

#[test]
fn explain_tells_each_level_of_route_choice() {
    let folder = Folder::new("explain");
    let (policy, by_default) = (example("policy.yaml"), example("policy-default.yaml"));
    let clinician = "https://fhir.example.org/fhir/Patient/1";
    let cases: [(&str, &str, &[&str], &[&str]); 7] = [
        (
            &policy,
            "/fhir/metadata",
            &["--route-metadata", "strict"],
            &["policy `strict`, because the proxy's route metadata names it"],
        ),
        (
            &policy,
            "/fhir/metadata",
            &["--virtual-host-metadata", "strict"],
            &["policy `strict`, because the proxy's virtual host metadata names it"],
        ),
        (
            &policy,
            clinician,
            &[],
            &[
                "policy `clinician`, because routes[9] is the first that matches",
                "oauth-scope refuses",
                "401",
            ],
        ),
        (
            &policy,
            "/fhir/x",
            &["--route-name", "research"],
            &["policy `research`, because routes[3] is the first that matches"],
        ),
        (
            &by_default,
            "/fhir/x",
            &[],
            &["policy `members`, because no route matches and `default` says so"],
        ),
        (
            &policy,
            "/admin",
            &[],
            &[
                "no policy: the request is denied, because no route matches and `default` says so",
                "answers 403 no_route",
            ],
        ),
        (
            &policy,
            "/admin",
            &["--route-metadata", "nope"],
            &[
                "a policy that does not exist: the request is denied",
                "403 unknown_policy",
            ],
        ),
    ];
    for (policy, url, more, wanted) in cases {
        let said = folder.scrim(&[&["explain", policy, "GET", url], more].concat());
        assert_eq!(said.code, 0, "{}", said.err);
        for words in wanted {
            assert!(said.out.contains(words), "{words:?} is not in {}", said.out);
        }
    }
}

#[test]
fn explain_tells_what_the_url_really_is() {
    let folder = Folder::new("explain-url");
    let policy = example("policy.yaml");
    let said = folder.scrim(&["explain", &policy, "GET", "/fhir/%2e%2e%2fPatient"]);
    assert!(
        said.code == 0 && said.out.contains("refused with 400 before any policy"),
        "{}",
        said.out
    );
    let said = folder.scrim(&["explain", &policy, "GET", "/fhir/x/..//metadat%61"]);
    assert!(said.out.contains("canonical path  /fhir/metadata\n"), "{}", said.out);
    // A PHI parameter is refused, and the log-safe path shows none of its value.
    let said = folder.scrim(&[
        "explain",
        &policy,
        "GET",
        "https://fhir.example.org/fhir/Patient?birthdate=1974-12-25",
    ]);
    let safe = said
        .out
        .lines()
        .find(|line| line.contains("log-safe path"))
        .unwrap_or_default();
    assert!(
        said.out.contains("answers 400 phi_in_url") && !safe.is_empty() && !safe.contains("1974"),
        "{}",
        said.out
    );
}

#[test]
fn explain_as_json_always_decides() {
    let folder = Folder::new("explain-json");
    let policy = example("policy.yaml");
    let cases = [
        ("/fhir/metadata", "allow", Value::Null, Value::from("public")),
        (
            "https://fhir.example.org/fhir/Patient/1",
            "deny",
            "oauth-scope".into(),
            "clinician".into(),
        ),
        ("/admin", "deny", "route".into(), Value::Null),
        ("/a%2fb", "deny", "route".into(), Value::Null),
    ];
    for (url, decision, by, governs) in cases {
        let said = folder.scrim(&["explain", &policy, "GET", url, "--json"]);
        let report: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(report["decision"]["decision"], decision, "{}", said.out);
        assert_eq!(
            (&report["decision"]["denied_by"], &report["policy"]),
            (&by, &governs),
            "{}",
            said.out
        );
        assert!(report["decision"]["does"].is_string(), "{}", said.out);
    }
}

#[test]
fn inspect_describes_modules_and_refuses_other_files() {
    let folder = Folder::new("inspect");
    folder
        .file("suite.wasm", scrim::modules::SUITE.bytes)
        .file("text.wasm", "hello")
        .file("cut.wasm", &scrim::modules::SUITE.bytes[..1000]);
    folder.file("other.wasm", wat::parse_str("(module (func (export \"f\")))").unwrap());
    let said = folder.scrim(&["inspect", "suite.wasm"]);
    assert_eq!(said.code, 0, "{}", said.err);
    for words in [
        "proxy-wasm ABI 0.2.1",
        "simd       yes",
        "envoy      has every import",
        "env.proxy_get_buffer_bytes",
    ] {
        assert!(said.out.contains(words), "{words:?} is not in {}", said.out);
    }
    let report: Value = serde_json::from_str(&folder.scrim(&["inspect", "--json", "suite.wasm"]).out).unwrap();
    assert_eq!(report["size"].as_u64(), Some(scrim::modules::SUITE.bytes.len() as u64));

    assert_one_error(
        &folder.scrim(&["inspect", "text.wasm"]),
        2,
        &["`text.wasm`", "not a WebAssembly module"],
    );
    assert_one_error(
        &folder.scrim(&["inspect", "cut.wasm"]),
        2,
        &["`cut.wasm`", "not a valid WebAssembly module"],
    );
    assert_one_error(
        &folder.scrim(&["inspect", "nowhere.wasm"]),
        2,
        &["`nowhere.wasm` can't be read", "check the path"],
    );
    let said = folder.scrim(&["inspect", "other.wasm"]);
    assert!(
        said.code == 1 && said.out.contains("no proxy-wasm module"),
        "{}{}",
        said.out,
        said.err
    );
}

#[test]
fn the_committed_schemas_are_fresh() {
    let folder = Folder::new("schema");
    for (of, known) in [
        ("policy", "/$defs/PolicyFile/properties/default"),
        ("cases", "/properties/cases"),
    ] {
        let said = folder.scrim(&["schema", of]);
        assert_eq!(said.code, 0, "{}", said.err);
        let schema: Value = serde_json::from_str(&said.out).unwrap();
        assert!(
            schema.pointer(known).is_some() && schema["$schema"].is_string(),
            "{}",
            said.out
        );
        let name = format!("schemas/{of}.schema.json");
        let committed = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&name)).unwrap_or_default();
        assert!(
            committed == said.out,
            "`host-tests/{name}` is stale; renew it: cargo run --release -q -- schema {of} > host-tests/{name}"
        );
    }
}

#[test]
fn render_envoy_prints_a_configuration_without_urls_and_secrets() {
    let folder = Folder::new("render");
    let secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldC0=";
    let policy = fs::read_to_string(example("policy.yaml")).unwrap();
    folder.file(
        "policy.yaml",
        policy.replace("{env: SCRIM_PSEUDONYM_KEY}", "{file: pseudonym.key}"),
    );
    folder
        .file("pseudonym.key", secret)
        .file("jwks.json", fs::read(example("jwks.json")).unwrap());
    let files = [
        ("suite", &["suite"][..]),
        ("chain", &["cache-control", "oauth-scope", "phi-url", "response-trim"]),
    ];
    for (modules, names) in files {
        let arguments = [
            "render",
            "envoy",
            "--policy",
            "policy.yaml",
            "--modules",
            modules,
            "--module-dir",
            "modules",
        ];
        let said = folder.scrim(&arguments);
        assert_eq!(said.code, 0, "{}", said.err);
        let yaml: Value = yaml(&said.out);
        let filters =
            &yaml["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"];
        assert_eq!(filters.as_array().unwrap().len(), names.len() + 1, "{}", said.out);
        for (filter, name) in filters.as_array().unwrap().iter().zip(names) {
            let file = filter
                .pointer("/typed_config/config/vm_config/code/local/filename")
                .unwrap()
                .as_str()
                .unwrap();
            assert!(
                file.contains(&format!("/modules/{name}-")) && Path::new(file).is_file(),
                "{file}"
            );
        }
        // The access log has the safe path, never `:path`; keys come from the environment.
        assert!(
            !said.out.to_lowercase().contains("%req(:path") && !said.out.to_lowercase().contains("original-path"),
            "{}",
            said.out
        );
        assert!(
            !said.out.contains(secret) && said.out.contains("SCRIM_KEY_PSEUDONYMS"),
            "{}",
            said.out
        );

        let there = [
            &arguments[..6],
            &["--module-path", "/etc/envoy/scrim", "--module-dir", "plain"],
        ]
        .concat();
        let said = folder.scrim(&there);
        for name in names {
            assert!(
                said.out.contains(&format!("filename: /etc/envoy/scrim/{name}.wasm\n")),
                "{}",
                said.out
            );
            assert!(folder.0.join("plain").join(format!("{name}.wasm")).is_file(), "{name}");
        }
    }
}

#[test]
fn render_says_what_is_not_there_yet() {
    let folder = Folder::new("render-later");
    for proxy in ["istio", "envoy-gateway"] {
        let said = folder.scrim(&["render", proxy, "--policy", &example("policy.yaml")]);
        assert_one_error(
            &said,
            2,
            &[&format!("`render {proxy}` is not there yet; use `render envoy`")],
        );
    }
}

#[test]
fn wrong_arguments_get_help() {
    let folder = Folder::new("arguments");
    let said = folder.scrim(&["chek", "x"]);
    assert!(
        said.code == 2 && said.err.contains("unrecognized subcommand 'chek'") && said.err.contains("'check'"),
        "{}",
        said.err
    );
    let said = folder.scrim(&[]);
    assert!(
        said.code == 2 && said.err.contains("scrim demo") && said.err.contains("Exit codes"),
        "{}",
        said.err
    );
    let said = folder.scrim(&["--help"]);
    assert_eq!(said.code, 0);
    for command in [
        "demo", "check", "explain", "test", "serve", "render", "inspect", "schema",
    ] {
        assert!(said.out.contains(&format!("\n  {command} ")), "{command}: {}", said.out);
        let help = folder.scrim(&[command, "--help"]);
        assert!(help.code == 0 && help.out.contains("Usage: scrim"), "{}", help.out);
    }
    folder.file("warns.yaml", WARNS);
    let said = folder.scrim(&[
        "serve",
        "--policy",
        "warns.yaml",
        "--listen",
        "localhost",
        "--upstream",
        "127.0.0.1:1",
    ]);
    assert_one_error(
        &said,
        2,
        &["`localhost` is no address to listen on, write it as `127.0.0.1:8080`"],
    );
    let said = folder.scrim(&[
        "serve",
        "--policy",
        "warns.yaml",
        "--listen",
        "127.0.0.1:0",
        "--upstream",
        "http://x",
    ]);
    assert_one_error(
        &said,
        2,
        &["`http://x` is no upstream; write host:port, such as `127.0.0.1:8080`"],
    );
    assert_one_error(
        &folder.scrim(&["explain", "warns.yaml", "GET", "/", "--header", "x"]),
        2,
        &["`Name: value`"],
    );
}

#[test]
fn test_exits_by_how_its_cases_went() {
    let folder = Folder::new("test");
    folder.file("warns.yaml", WARNS);
    let case = |status: u16| {
        format!(
            "policy: warns.yaml\ncases:\n  - name: passes\n    request: {{url: /}}\n    expect: {{status: {status}}}\n"
        )
    };
    folder.file("good.cases.yaml", case(200));
    let said = folder.scrim(&["test", "good.cases.yaml", "--junit", "report.xml"]);
    assert!(
        said.code == 0 && said.out.contains("test result: ok. 3 passed; 0 failed"),
        "{}{}",
        said.out,
        said.err
    );
    assert!(
        fs::read_to_string(folder.0.join("report.xml"))
            .unwrap()
            .contains("<testsuite ")
    );
    folder.file("good.cases.yaml", case(404));
    let said = folder.scrim(&["test", "."]);
    assert!(
        said.code == 1 && said.out.contains("test result: FAILED. 0 passed; 3 failed"),
        "{}{}",
        said.out,
        said.err
    );
    folder.file("good.cases.yaml", "policy: nowhere.yaml\ncases: []\ncasez: 1\n");
    let said = folder.scrim(&["test", "."]);
    assert!(
        said.code == 2 && said.out.contains("good.cases.yaml:3:1: error: "),
        "{}{}",
        said.out,
        said.err
    );
    assert_one_error(&folder.scrim(&["test", "nowhere"]), 2, &["cannot read `nowhere`"]);
    for engine in ["envoy", "both"] {
        let said = folder.scrim(&["test", ".", "--semantics", "spec", "--engine", engine]);
        assert_one_error(&said, 2, &["`--semantics spec` needs `--engine wasmtime`"]);
    }
    fs::remove_file(folder.0.join("good.cases.yaml")).unwrap();
    assert_one_error(
        &folder.scrim(&["test", "."]),
        2,
        &["no case files under `.`", "`*.cases.yaml`"],
    );
}

#[test]
fn a_missing_envoy_is_told_with_its_mend() {
    let folder = Folder::new("no-envoy");
    folder.file("good.cases.yaml", "policy: ../nowhere.yaml\ncases: []\n");
    let mut command = Command::new(env!("CARGO_BIN_EXE_scrim"));
    command
        .current_dir(&folder.0)
        .env("ENVOY", "/nonexistent")
        .args(["test", ".", "--engine", "envoy"]);
    assert_one_error(
        &run(&mut command),
        2,
        &["`$ENVOY` does not name an Envoy that runs; unset it", "`/nonexistent`"],
    );
}

#[test]
fn demo_shows_each_exchange() {
    let said = Folder::new("demo").scrim(&["demo"]);
    assert_eq!(said.code, 0, "{}", said.err);
    for words in [
        "\n1. ",
        "\n8. ",
        " 401",
        " 403",
        " 400",
        " 502",
        "no-store, private",
        "--engine both",
    ] {
        assert!(said.out.contains(words), "{words:?} is not in {}", said.out);
    }
}

/// A module that lets everything pass.
const PASSES: &str = "(module
 (memory (export \"memory\") 2)
 (func (export \"proxy_abi_version_0_2_1\"))
 (func (export \"proxy_on_memory_allocate\") (param i32) (result i32) (i32.const 65536))
 (func (export \"proxy_on_context_create\") (param i32 i32)))
";

const GOOD: &str = "filters: [{module: pass.wat}]\ncases:\n  - {name: fine, request: {url: /a}, expect: {status: 2xx, upstream: {url: /a}}}\n";
const BAD: &str = "filters: [{module: pass.wat}]\ndeliver: [whole]\ncases:\n  - name: not, so\n    request: {url: /a}\n    upstream: {body: \"one\\ntwo\\n\"}\n    expect: {body: \"one\\n2\\n\"}\n";
const WRONG: &str =
    "filters: [{module: pass.wat}]\ncasez: []\ncases:\n  - {name: a, request: {url: '${who}'}, expect: {}}\n";

#[test]
fn test_tells_machines_in_one_document() {
    let folder = Folder::new("test-json");
    folder
        .file("pass.wat", PASSES)
        .file("a.cases.yaml", GOOD)
        .file("b.cases.yaml", BAD)
        .file("c.cases.yaml", WRONG);
    let said = folder.scrim(&["test", ".", "--json", "--jobs", "2"]);
    assert_eq!((said.code, said.err.as_str()), (2, ""), "{}", said.out);
    let told: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        (&told["passed"], &told["failed"], &told["broken"]),
        (&3.into(), &1.into(), &1.into()),
        "{told}"
    );
    let tests = told["tests"].as_array().unwrap();
    let deliveries: Vec<&str> = tests.iter().filter_map(|test| test["delivery"].as_str()).collect();
    assert_eq!(deliveries, ["whole", "last_chunk_ends", "bytes", "whole"]);
    let failed = &tests[3];
    assert_eq!(
        (
            &failed["file"],
            &failed["line"],
            &failed["column"],
            &failed["status"],
            &failed["engine"]
        ),
        (
            &"./b.cases.yaml".into(),
            &4.into(),
            &11.into(),
            &"failed".into(),
            &"wasmtime".into()
        )
    );
    assert!(failed["message"].as_str().unwrap().contains("-2\n+two\n"), "{failed}");
    let problems: Vec<(u64, u64)> = told["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| (problem["line"].as_u64().unwrap(), problem["column"].as_u64().unwrap()))
        .collect();
    assert_eq!(problems, [(2, 1), (4, 30)], "{told}");
    let again: Value =
        serde_json::from_str(&folder.scrim(&["test", ".", "--format", "json", "--jobs", "1"]).out).unwrap();
    let labels = |told: &Value| {
        let tests = told["tests"].as_array().unwrap().iter();
        tests
            .map(|test| format!("{} {} {}", test["case"], test["delivery"], test["status"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(labels(&told), labels(&again));
}

#[test]
fn test_annotates_for_github() {
    let folder = Folder::new("test-github");
    folder
        .file("pass.wat", PASSES)
        .file("b.cases.yaml", BAD)
        .file("c.cases.yaml", WRONG);
    let said = folder.scrim(&["test", ".", "--format", "github"]);
    assert_eq!(said.code, 2);
    let annotations: Vec<&str> = said.out.lines().filter(|line| line.starts_with("::error")).collect();
    assert_eq!(annotations.len(), 3, "{}", said.out);
    assert!(
        annotations[0].starts_with("::error file=./b.cases.yaml,line=4,col=11,title=b%3A%3Anot%2C so [wasmtime%2C whole]::./b.cases.yaml:4%0Abody%0A---"),
        "{}",
        annotations[0]
    );
    assert!(
        annotations[1]
            .starts_with("::error file=./c.cases.yaml,line=2,col=1,title=./c.cases.yaml::unknown key `casez`"),
        "{}",
        annotations[1]
    );
    let by_itself = run(Command::new(env!("CARGO_BIN_EXE_scrim"))
        .args(["test", "b.cases.yaml"])
        .current_dir(&folder.0)
        .env("GITHUB_ACTIONS", "true"));
    assert!(
        by_itself.out.contains("::error file=b.cases.yaml,line=4"),
        "{}",
        by_itself.out
    );
    assert!(!folder.scrim(&["test", "b.cases.yaml"]).out.contains("::error"));
}

#[test]
fn test_lists_and_stops_at_the_first_failure() {
    let folder = Folder::new("test-list");
    folder
        .file("pass.wat", PASSES)
        .file("a.cases.yaml", BAD)
        .file("b.cases.yaml", GOOD);
    let said = folder.scrim(&["test", ".", "--list"]);
    assert_eq!(
        (said.code, said.out.as_str()),
        (
            0,
            "a::not, so [wasmtime, whole]: test\nb::fine [wasmtime, whole]: test\nb::fine [wasmtime, last_chunk_ends]: test\nb::fine [wasmtime, bytes]: test\n\n4 tests\n"
        )
    );
    let said = folder.scrim(&["test", ".", "--fail-fast"]);
    assert_eq!(said.code, 1);
    assert!(
        said.out.contains("0 passed; 1 failed; 0 ignored; stopped early;") && !said.out.contains("b::fine"),
        "{}",
        said.out
    );
}

#[test]
fn test_tells_broken_modules_and_goes_on() {
    let folder = Folder::new("test-modules");
    let with = |module: &str| GOOD.replace("pass.wat", module);
    folder
        .file("pass.wat", PASSES)
        .file("none.wat", "(module (memory (export \"memory\") 1))")
        .file("junk.wasm", b"\0asm\x01\0\0\0junk")
        .file("a.cases.yaml", with("none.wat"))
        .file("b.cases.yaml", with("junk.wasm"))
        .file("c.cases.yaml", with("gone.wasm"))
        .file("d.cases.yaml", GOOD);
    let said = folder.scrim(&["test", "."]);
    assert_eq!(said.code, 2, "{}", said.out);
    for wanted in [
        "is no proxy-wasm module: it exports no `proxy_abi_version_",
        "junk.wasm",
        "there is no module `./gone.wasm`: build it first",
        "test d::fine [wasmtime, whole] ... ok\n",
        "3 passed; 0 failed; 0 ignored; 3 could not be run",
    ] {
        assert!(said.out.contains(wanted), "{wanted}: {}", said.out);
    }
}

#[test]
fn test_runs_steps_under_every_delivery() {
    let folder = Folder::new("test-steps");
    folder.file("pass.wat", PASSES).file(
        "a.cases.yaml",
        "filters: [{module: pass.wat}]\nvariables: {patient: '7'}\ncases:\n  - name: a record is changed\n    steps:\n      - request: {url: '/Patient/${patient}'}\n        upstream: {headers: {etag: 'W/\"3\"'}, json: {id: '${patient}', meta: {versionId: v3}}, trailers: {x-end: '1'}}\n        expect: {status: 200, trailers: {x-end: '1'}}\n        capture: {tag: {header: etag}, version: {json: /meta/versionId, regex: '[0-9]+'}}\n      - request: {url: '/Patient/${patient}/${version}', method: PUT, headers: {if-match: '${tag}'}, json: {id: '${patient}'}, trailers: {x-sum: '${version}'}}\n        upstream: {fault: {reset_after: 1}, body: abc}\n        expect: {complete: false, body: a, upstream: {url: /Patient/7/3, headers: {if-match: 'W/\"3\"'}, trailers: {x-sum: '3'}}}\n",
    );
    let said = folder.scrim(&["test", ".", "--deliver", "all"]);
    assert_eq!(said.code, 0, "{}", said.out);
    assert!(said.out.contains("[wasmtime, every_split] ... ok"), "{}", said.out);
    let without = fs::read_to_string(folder.0.join("a.cases.yaml"))
        .unwrap()
        .replace("header: etag", "header: gone");
    folder.file("a.cases.yaml", without);
    let said = folder.scrim(&["test", ".", "--deliver", "whole"]);
    assert!(
        said.code == 1
            && said
                .out
                .contains("step 1: capture `tag`: the answer has no header `gone`"),
        "{}",
        said.out
    );
}

#[test]
fn test_blesses_and_forgets_snapshots() {
    let folder = Folder::new("test-bless");
    let cases = "filters: [{module: pass.wat}]\ndeliver: [whole]\ncases:\n  - {name: kept, request: {url: /a, headers: {cookie: a=b}}, expect: {snapshot: true}}\n  - {name: gone, request: {url: /b}, expect: {snapshot: true}}\n";
    folder.file("pass.wat", PASSES).file("a.cases.yaml", cases);
    let said = folder.scrim(&["test", ".", "--bless"]);
    assert!(
        said.code == 0
            && said
                .out
                .contains("note: ./a.cases.yaml.snap: wrote the snapshot `kept`\n"),
        "{}",
        said.out
    );
    let snapshots = fs::read_to_string(folder.0.join("a.cases.yaml.snap")).unwrap();
    assert!(
        snapshots.contains("  cookie: <redacted>\n") && snapshots.contains("=== gone\n"),
        "{snapshots}"
    );
    folder.file(
        "a.cases.yaml",
        cases.replace(
            "request: {url: /b}, expect: {snapshot: true}",
            "request: {url: /b}, expect: {}",
        ),
    );
    let said = folder.scrim(&["test", "."]);
    assert!(
        said.code == 0
            && said
                .out
                .contains("nothing uses the snapshot `gone`: `--bless` removes it"),
        "{}",
        said.out
    );
    let said = folder.scrim(&["test", ".", "--bless"]);
    assert!(
        said.code == 0 && said.out.contains("removed the snapshot `gone`"),
        "{}",
        said.out
    );
    assert!(
        !fs::read_to_string(folder.0.join("a.cases.yaml.snap"))
            .unwrap()
            .contains("gone")
    );
}

#[test]
#[cfg(unix)]
fn test_watches_until_it_is_interrupted() {
    use std::io::{BufRead as _, BufReader};
    use std::process::Stdio;
    let folder = Folder::new("test-watch");
    folder.file("pass.wat", PASSES).file("a.cases.yaml", GOOD);
    let mut child = Command::new(env!("CARGO_BIN_EXE_scrim"))
        .args(["test", ".", "--watch"])
        .current_dir(&folder.0)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut until = |part: &str| -> Vec<String> {
        let mut seen = Vec::new();
        for line in lines.by_ref().map_while(Result::ok) {
            let found = line.contains(part);
            seen.push(line);
            if found {
                return seen;
            }
        }
        panic!("`{part}` never came: {seen:?}")
    };
    until("3 passed");
    until("watching ");
    folder.file("a.cases.yaml", GOOD.replace("2xx", "4xx, complete: true"));
    until("changed: ");
    let seen = until("0 passed; 3 failed").join("\n");
    until("watching ");
    assert!(!seen.contains('\x1b'), "{seen}");
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// YAML as JSON.
fn yaml(text: &str) -> Value {
    let node = scrim::policy_file::parse(text, &mut scrim_policy::document::Problems::default());
    node.expect("YAML").to_json()
}
