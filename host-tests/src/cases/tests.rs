//! The runner against a double of an engine: a gateway of a few lines in this process.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::bail;
use serde_json::Value;

use super::load::Loaded;
use super::*;
use crate::exchange::{Answer, Gateway, Got, Outcome, Request, Seen, Setup};

/// What a [`Double`] does other than carry.
#[derive(Clone, Copy, Default)]
struct Manners {
    /// Answers 401 to what has no token.
    gate: bool,
    /// Puts the number of the body's chunks in a header.
    counts_chunks: bool,
    /// Adds this line.
    adds: Option<(&'static str, &'static str)>,
    /// Logs the authorization.
    logs_tokens: bool,
    /// Fails every exchange.
    fails: bool,
    /// Crashes in each exchange.
    crashes: bool,
    /// What filters log.
    logs: Option<&'static str>,
    /// Refuses to start.
    refuses: bool,
    /// Answers otherwise for each way of loading.
    names_modules: bool,
    /// Adds a line where an answer of `a long value` comes as all but its last byte, and that.
    marks_the_last_split: bool,
}

struct Double {
    name: &'static str,
    manners: Manners,
    started: Arc<AtomicUsize>,
}

impl Engine for Double {
    fn name(&self) -> &'static str {
        self.name
    }

    fn start(&self, setup: &Setup) -> Result<Box<dyn Gateway>> {
        if self.manners.refuses {
            bail!("the module refuses its configuration");
        }
        self.started.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Running(self.manners, setup.clone())))
    }
}

struct Running(Manners, Setup);

impl Gateway for Running {
    fn wait(&mut self, _: Duration) -> Result<()> {
        Ok(())
    }

    fn exchange(&mut self, request: &Request, answer: &Answer) -> Result<Outcome> {
        let Self(manners, setup) = self;
        if manners.fails {
            bail!("timed out");
        }
        if manners.crashes {
            return Err(crate::envoy::Crashed.into());
        }
        let token = request.headers.iter().find(|(name, _)| name == "authorization");
        let mut outcome = Outcome {
            filter_state: [("scrim.path".to_owned(), "/safe".to_owned())].into(),
            ..Outcome::default()
        };
        outcome
            .logs
            .extend(manners.logs.map(|line| ("info".to_owned(), line.to_owned())));
        outcome.filter_state.insert(
            "scrim.audit".to_owned(),
            format!(r#"{{"time":{},"decision":"allow"}}"#, request.target.len()),
        );
        if manners.gate && token.is_none() {
            outcome.client = Some(Got {
                status: 401,
                complete: true,
                ..Got::default()
            });
            return Ok(outcome);
        }
        if let Some((_, value)) = token.filter(|_| manners.logs_tokens) {
            outcome
                .logs
                .push(("info".into(), String::from_utf8_lossy(value).into_owned()));
        }
        outcome.upstream = Some(Seen {
            method: request.method.clone(),
            target: request.target.clone(),
            authority: request.authority.clone(),
            headers: request.headers.clone(),
            body: request.body.chunks.concat(),
            trailers: request.body.trailers.clone(),
        });
        let mut headers = answer.headers.clone();
        headers.extend(
            manners
                .adds
                .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())),
        );
        for filter in &setup.filters {
            headers.push(("x-filter".into(), filter.name.clone().into_bytes()));
        }
        for route in &setup.routes {
            headers.push((
                "x-route".into(),
                format!("{}={:?}", route.name, route.metadata).into_bytes(),
            ));
        }
        if manners.marks_the_last_split && answer.body.chunks == [b"a long valu".to_vec(), b"e".to_vec()] {
            headers.push(("x-last".into(), b"1".to_vec()));
        }
        if manners.names_modules {
            headers.push(("x-modules".into(), format!("{:?}", setup.environment).into_bytes()));
        }
        if manners.counts_chunks {
            headers.push(("x-chunks".into(), answer.body.chunks.len().to_string().into_bytes()));
        }
        outcome.client = Some(Got {
            status: answer.status,
            headers,
            body: answer.body.chunks.concat(),
            complete: answer.fault.is_none(),
            trailers: answer.body.trailers.clone(),
        });
        Ok(outcome)
    }
}

/// A folder of its own, taken away at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("scrim-cases-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.0.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        file
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run_with(engines: &[(&'static str, Manners)], paths: &[PathBuf], options: &Options) -> (Summary, String, usize) {
    let started = Arc::new(AtomicUsize::new(0));
    let runner = Runner {
        engines: engines
            .iter()
            .map(|(name, manners)| {
                Box::new(Double {
                    name,
                    manners: *manners,
                    started: started.clone(),
                }) as Box<dyn Engine + Sync>
            })
            .collect(),
        compile: Box::new(|source| {
            let filter = |name: &str| Filter {
                name: name.into(),
                root_id: String::new(),
                module: source.file.clone(),
                configuration: Vec::new(),
                allow_on_headers_stop_iteration: false,
                ..Filter::default()
            };
            let filters = vec![filter("s")];
            Ok(Compiled {
                filters,
                environment: [("MODULES".to_owned(), source.modules.to_string())].into(),
            })
        }),
    };
    let mut out = Vec::new();
    let summary = runner.run(paths, options, &mut out).unwrap();
    (
        summary,
        String::from_utf8(out).unwrap(),
        started.load(Ordering::Relaxed),
    )
}

fn run(name: &str, manners: Manners, text: &str) -> (Summary, String) {
    let folder = Folder::new(name);
    let file = folder.write("a.cases.yaml", text);
    let (summary, out, _) = run_with(&[("wasmtime", manners)], &[file], &Options::default());
    (summary, out)
}

const KEY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../examples/fhir-gateway/keys/eddsa.synthetic.jwk.json"
);

#[test]
fn cases_run_under_every_delivery_and_way_of_loading_through_one_gateway_each() {
    let folder = Folder::new("dimensions");
    let file = folder.write(
        "cases/reads.yaml",
        "policy: p\nmodules: [suite, chain]\ndeliver: [whole, last_chunk_ends, bytes, {chunks: 2}, every_split]\ncases:\n  - name: read\n    request: {url: /a}\n    upstream: {json: [1, 2]}\n    expect: {status: 200, upstream: reached, body: {unchanged: true}, log_safe_path: /safe, audit: {decision: allow}}\n  - name: without a body there is nothing to cut\n    request: {url: /b, method: HEAD}\n    expect: {status: 200, body: {empty: true}}\n",
    );
    let (summary, out, started) = run_with(
        &[("wasmtime", Manners::default()), ("envoy", Manners::default())],
        std::slice::from_ref(&folder.0),
        &Options::default(),
    );
    assert_eq!(
        (summary.passed, summary.failed, summary.broken, summary.exit_code()),
        (2 * 2 * (5 + 1), 0, 0, 0),
        "{out}"
    );
    assert_eq!(started, 4);
    assert!(
        out.contains("test reads::read [envoy, chain, chunks=2] ... ok\n"),
        "{out}"
    );
    assert!(
        out.contains("test result: ok. 24 passed; 0 failed; 0 ignored; finished in "),
        "{out}"
    );
    let some = Options {
        filter: Some("chain, every".into()),
        ..Options::default()
    };
    let (summary, ..) = run_with(&[("wasmtime", Manners::default())], &[file], &some);
    assert_eq!(summary.passed, 1);
}

#[test]
fn a_failure_says_where_what_was_expected_and_what_was_seen() {
    let (summary, out) = run(
        "fails",
        Manners::default(),
        "policy: p\ncases:\n  - name: bad\n    request: {url: /x}\n    expect: {status: 403, nowhere: [/X]}\n",
    );
    assert_eq!((summary.failed, summary.exit_code()), (3, 1));
    for part in [
        "a.cases.yaml:3\n",
        "status\n  expected: 403\n    actual: 200",
        "`/X` isn't upstream",
        "what was seen\nupstream: GET /x",
        "test result: FAILED. 0 passed; 3 failed",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
}

#[test]
fn a_broken_file_or_engine_is_told_and_the_others_still_run() {
    let folder = Folder::new("broken");
    folder.write("a.cases.yaml", "policy: p\ncasez: []\n");
    folder.write(
        "b.cases.yaml",
        "policy: p\ncases: [{name: ok, request: {url: /, body: x}, upstream: {body: ''}, expect: {status: 200}}]\n",
    );
    folder.write("_shared.cases.yaml", "no case file\n");
    let (summary, out, _) = run_with(
        &[("wasmtime", Manners::default())],
        std::slice::from_ref(&folder.0),
        &Options::default(),
    );
    assert_eq!(
        (summary.passed, summary.broken, summary.exit_code()),
        (2, 1, 2),
        "{out}"
    );
    assert!(
        out.contains("a.cases.yaml:2:1: error: unknown key `casez`: did you mean `cases`?"),
        "{out}"
    );

    let refuses = Manners {
        refuses: true,
        ..Manners::default()
    };
    let (summary, out, _) = run_with(
        &[("envoy", refuses)],
        &[folder.0.join("b.cases.yaml")],
        &Options::default(),
    );
    assert_eq!((summary.broken, summary.exit_code()), (1, 2));
    assert!(out.contains("cannot start: the module refuses"), "{out}");
}

#[test]
fn a_failed_exchange_fails_its_case_and_the_next_gets_a_fresh_gateway() {
    let folder = Folder::new("restart");
    let file = folder.write("a.cases.yaml", "policy: p\ndeliver: [whole]\ncases:\n  - {name: a, request: {url: /}, expect: {status: 200}}\n  - {name: b, request: {url: /}, expect: {status: 200}}\n");
    let fails = Manners {
        fails: true,
        ..Manners::default()
    };
    let (summary, out, started) = run_with(&[("wasmtime", fails)], &[file], &Options::default());
    assert_eq!((summary.failed, started), (2, 2));
    assert!(out.contains("the exchange itself failed: timed out"), "{out}");
}

#[test]
fn outcomes_that_depend_on_the_delivery_fail_unless_alternatives_are_listed() {
    let counts = Manners {
        counts_chunks: true,
        ..Manners::default()
    };
    let case =
        |expect: &str| format!("policy: p\ncases:\n  - name: a\n    request: {{url: /}}\n    expect: {expect}\n");
    let (summary, out) = run("deliveries", counts, &case("{status: 200}"));
    assert_eq!((summary.passed, summary.failed), (2, 1), "{out}");
    assert!(
        out.contains("deliveries differ: whole and bytes\n--- whole\n+++ bytes\n")
            && out.contains("-  x-chunks: 1\n+  x-chunks: 2\n"),
        "{out}"
    );
    let (summary, out) = run(
        "alternatives",
        counts,
        &case("[{headers: {x-chunks: 1}}, {headers: {x-chunks: 2}}]"),
    );
    assert_eq!((summary.passed, summary.failed), (3, 0), "{out}");
    let (summary, out) = run(
        "no-alternative",
        counts,
        &case("[{headers: {x-chunks: 1}}, {status: 201}]"),
    );
    assert_eq!((summary.passed, summary.failed), (2, 1), "{out}");
    assert!(out.contains("or else status"), "{out}");
}

#[test]
fn engines_that_differ_are_shown_side_by_side() {
    let folder = Folder::new("parity");
    let file = folder.write(
        "a.cases.yaml",
        "policy: p\ndeliver: [whole]\ncases:\n  - {name: a, request: {url: /}, expect: {status: 200}}\n",
    );
    let adds = Manners {
        adds: Some(("x-odd", "1")),
        ..Manners::default()
    };
    let (summary, out, _) = run_with(
        &[("wasmtime", Manners::default()), ("envoy", adds)],
        &[file],
        &Options::default(),
    );
    assert_eq!((summary.passed, summary.failed), (1, 1));
    assert!(
        out.contains("wasmtime, suite and envoy, suite differ\n--- wasmtime, suite\n+++ envoy, suite\n")
            && out.contains("+  x-odd: 1\n"),
        "{out}"
    );
}

#[test]
fn a_known_difference_is_counted_and_each_engine_keeps_its_own_snapshot() {
    let folder = Folder::new("differs");
    let case = "policy: p\ndeliver: [whole]\ncases:\n  - {name: a, request: {url: /}, expect: {snapshot: true}KEY}\n";
    let known = ", differs: {why: w, link: l}";
    let file = folder.write("a.cases.yaml", &case.replace("KEY", known));
    let engines = |line| {
        let logs = |logs| Manners {
            logs,
            ..Manners::default()
        };
        [("wasmtime", logs(None)), ("envoy", logs(Some(line)))]
    };
    let bless = Options {
        bless: true,
        ..Options::default()
    };
    let (summary, out, _) = run_with(&engines("one"), std::slice::from_ref(&file), &bless);
    assert_eq!((summary.failed, summary.differences), (0, 1), "{out}");
    assert!(out.contains("1 known difference between the engines"), "{out}");
    let (summary, out, _) = run_with(&engines("one"), std::slice::from_ref(&file), &Options::default());
    assert_eq!((summary.passed, summary.failed), (2, 0), "{out}");
    // Each still has to do what it did.
    let (summary, out, _) = run_with(&engines("two"), std::slice::from_ref(&file), &Options::default());
    assert_eq!((summary.passed, summary.failed), (1, 1), "{out}");
    assert!(out.contains("-log info: one\n+log info: two"), "{out}");
}

#[test]
fn engines_may_differ_in_what_a_file_leaves_out_and_in_nothing_else() {
    let run = |name: &str, left_out: &str| {
        let folder = Folder::new(name);
        let file = folder.write(
            "a.cases.yaml",
            &format!("policy: p\ndeliver: [whole]\nuncompared: [{left_out}]\ncases:\n  - {{name: a, request: {{url: /}}, expect: {{}}}}\n"),
        );
        let logs = Manners {
            logs: Some("now"),
            ..Manners::default()
        };
        run_with(
            &[("wasmtime", Manners::default()), ("envoy", logs)],
            &[file],
            &Options::default(),
        )
    };
    assert_eq!(run("uncompared-logs", "logs").0.failed, 0);
    let (summary, out, _) = run("uncompared-metrics", "metrics");
    assert_eq!(summary.failed, 1);
    assert!(out.contains("+log info: now"), "{out}");
}

#[test]
fn a_crash_that_is_known_has_to_happen() {
    let text = "policy: p\ndeliver: [whole]\ncases:\n  - {name: a, request: {url: /}, expect: {}, crashes: {why: w, link: l}}\n";
    let crashes = Manners {
        crashes: true,
        ..Manners::default()
    };
    let (summary, out) = run("crashes", crashes, text);
    assert_eq!((summary.passed, summary.failed), (1, 0), "{out}");
    let (summary, out) = run("does-not-crash", Manners::default(), text);
    assert!(summary.failed == 1 && out.contains("take the key away"), "{out}");
    let fails = Manners {
        fails: true,
        ..Manners::default()
    };
    let (summary, out) = run("fails-otherwise", fails, text);
    assert!(summary.failed == 1 && out.contains("timed out"), "{out}");
    let (summary, _) = run(
        "crashes-unknown",
        crashes,
        &text.replace(", crashes: {why: w, link: l}", ""),
    );
    assert_eq!(summary.failed, 1);
}

#[test]
fn tokens_are_made_and_never_seen_but_upstream() {
    let text = format!(
        "policy: p\ntokens:\n  base: {{key: '{KEY}', claims: {{sub: s, exp: +1h}}}}\n  other: {{like: base, claims: {{sub: null}}}}\ncases:\n  - name: none\n    request: {{url: /}}\n    expect: {{status: 401, upstream: none}}\n  - name: one\n    request: {{url: '/?t=${{token:other}}', token: base}}\n    expect: {{status: 200, upstream: {{url: {{regex: '^/.t=ey'}}, headers: {{authorization: {{regex: '^Bearer ey[^.]+[.][^.]+[.][^.]{{86}}$'}}}}}}}}\n"
    );
    let gate = Manners {
        gate: true,
        ..Manners::default()
    };
    let (summary, out) = run("tokens", gate, &text);
    assert_eq!((summary.failed, summary.broken), (0, 0), "{out}");
    let (summary, out) = run(
        "leak",
        Manners {
            logs_tokens: true,
            ..gate
        },
        &text,
    );
    assert!(summary.failed > 0 && out.contains("isn't in the logs"), "{out}");
    let (_, out) = run("unknown-token", gate, &text.replace("token: base", "token: bsae"));
    assert!(
        out.contains("a.cases.yaml:9:11: error: case `one`: there is no token `bsae`: did you mean `base`?"),
        "{out}"
    );
}

#[test]
fn anybodys_modules_and_the_proxys_routes_reach_the_engine() {
    let folder = Folder::new("filters");
    folder.write("m.wasm", "");
    folder.write("shared/_more.yaml", "bodies: {hello: {file: hello.txt}}\n");
    folder.write("shared/hello.txt", "hello");
    let file = folder.write(
        "a.cases.yaml",
        "filters: [{module: m.wasm, configuration: {a: 1}}]\ninclude: [shared/_more.yaml]\nproxy: {routes: [{name: r, prefix: /, metadata: {scrim: {policy: x}}}]}\ncases:\n  - name: a\n    request: {url: /, body: {named: hello}}\n    upstream: {status: 204, trailers: {x-t: 1}}\n    expect: {status: 204, upstream: {method: POST, body: hello}, headers: {x-filter: m, x-route: {contains: 'r={\"scrim\"'}}, snapshot: true}\n",
    );
    let engines = [("wasmtime", Manners::default())];
    let (summary, out, _) = run_with(&engines, std::slice::from_ref(&file), &Options::default());
    assert!(summary.failed == 1 && out.contains("there is no snapshot yet"), "{out}");
    let (summary, out, _) = run_with(
        &engines,
        std::slice::from_ref(&file),
        &Options {
            bless: true,
            ..Options::default()
        },
    );
    assert_eq!(summary.failed, 0, "{out}");
    let junit = folder.0.join("junit.xml");
    let (summary, out, _) = run_with(
        &engines,
        std::slice::from_ref(&file),
        &Options {
            junit: Some(junit.clone()),
            ..Options::default()
        },
    );
    assert_eq!(summary.failed, 0, "{out}");
    let xml = std::fs::read_to_string(junit).unwrap();
    assert!(
        xml.contains("<testsuite name=\"a\" tests=\"3\" failures=\"0\" skipped=\"0\" errors=\"0\">"),
        "{xml}"
    );
    let adds = [(
        "wasmtime",
        Manners {
            adds: Some(("x-new", "1")),
            ..Manners::default()
        },
    )];
    let (summary, out, _) = run_with(&adds, &[file], &Options::default());
    assert!(summary.failed > 0 && out.contains("+  x-new: 1"), "{out}");
}

#[test]
fn the_examples_case_files_are_read_and_there_are_enough_of_them() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/fhir-gateway");
    let files = discover(&[example]).unwrap();
    let loaded: Vec<Result<Loaded>> = files.iter().map(|file| Loaded::read(file)).collect();
    let broken: Vec<String> = loaded
        .iter()
        .filter_map(|loaded| loaded.as_ref().err())
        .map(|error| format!("{error:#}"))
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    let cases: usize = loaded.iter().flatten().map(|loaded| loaded.suite.cases.len()).sum();
    assert!(cases >= 60, "{cases} cases in {} files", files.len());
}

#[test]
fn the_schema_knows_every_key_and_refuses_others() {
    let schema = Suite::schema().to_value();
    for key in [
        "policy", "filters", "modules", "include", "tokens", "proxy", "deliver", "nowhere", "cases",
    ] {
        assert!(
            schema.pointer(&format!("/properties/{key}/description")).is_some()
                || schema.pointer(&format!("/properties/{key}/$ref")).is_some(),
            "{key}"
        );
    }
    assert_eq!(schema.pointer("/additionalProperties"), Some(&Value::Bool(false)));
}

/// Every case file of this repository.
fn all_case_files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["../examples", "cases", "probes"].map(|folder| root.join(folder));
    let files = discover(&folders).unwrap();
    assert!(files.len() > 20, "{files:?}");
    files
}

#[test]
fn every_case_file_of_the_repository_parses() {
    let wrong: Vec<String> = all_case_files()
        .iter()
        .filter_map(|file| load::parse(file).err())
        .map(|error| format!("{error:#}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_case_file_of_the_repository_is_valid_by_the_schema() {
    let validator = jsonschema::validator_for(&Suite::schema().to_value()).unwrap();
    let mut wrong = Vec::new();
    for file in all_case_files() {
        let text = std::fs::read_to_string(&file).unwrap();
        let node = tree::parse(&file, &text, &mut Vec::new()).unwrap();
        for error in validator.iter_errors(&tree::json(&node)) {
            wrong.push(format!("{}{}: {error}", file.display(), error.instance_path()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_run_without_a_test_is_no_success() {
    let folder = Folder::new("nothing");
    let empty = folder.write("empty.cases.yaml", "policy: p\ncases: []\n");
    let engines = [("wasmtime", Manners::default())];
    let (summary, out, _) = run_with(&engines, &[empty], &Options::default());
    assert!(summary.nothing_ran() && summary.exit_code() == 2, "{out}");
    assert!(
        out.contains("no test ran: the files have no `cases`") && out.contains("FAILED"),
        "{out}"
    );
    let one = "policy: p\ndeliver: [whole]\ncases:\n  - {name: a, request: {url: /}, expect: {}}\n";
    let one = folder.write("one.cases.yaml", one);
    for list in [false, true] {
        let options = Options {
            filter: Some("zebra".into()),
            list,
            ..Options::default()
        };
        let (summary, out, _) = run_with(&engines, std::slice::from_ref(&one), &options);
        assert_eq!(summary.exit_code(), 2, "{out}");
        assert!(
            out.contains("no test ran: no test's full name contains `zebra`"),
            "{out}"
        );
    }
    let (summary, out, _) = run_with(&engines, &[one], &Options::default());
    assert!(summary.exit_code() == 0 && !out.contains("no test ran"), "{out}");
}

#[test]
fn a_file_that_is_named_twice_runs_once() {
    let folder = Folder::new("twice");
    let file = folder.write("a.cases.yaml", "policy: p\ncases: []\n");
    let again = folder.0.join(".").join("a.cases.yaml");
    let around = folder
        .0
        .join("..")
        .join(folder.0.file_name().unwrap())
        .join("a.cases.yaml");
    assert_eq!(discover(&[file, again, around, folder.0.clone()]).unwrap().len(), 1);
}

#[test]
fn deliveries_of_a_step_that_waits_for_a_value_all_run() {
    let text = "policy: p\ndeliver: [whole, {chunks: 2}, {chunks: 3}]\ncases:\n  - name: a\n    steps:\n      - {request: {url: /}, upstream: {body: '[]', headers: {x-v: a long value}}, expect: {}, capture: {v: {header: x-v}}}\n      - {request: {url: /, body: '${v}'}, upstream: {body: ''}, expect: {upstream: {body: a long value}}}\n";
    let (summary, out) = run("late-deliveries", Manners::default(), text);
    assert_eq!((summary.passed, summary.failed), (3, 0), "{out}");
    // Each split of it, too: the last one comes out otherwise.
    let split = text
        .replace("whole, {chunks: 2}, {chunks: 3}", "every_split")
        .replace("upstream: {body: ''}", "upstream: {body: '${v}'}");
    let marks = Manners {
        marks_the_last_split: true,
        ..Manners::default()
    };
    let (summary, out) = run("late-splits", Manners::default(), &split);
    assert_eq!((summary.passed, summary.failed), (1, 0), "{out}");
    let (summary, out) = run("late-marked", marks, &split);
    assert_eq!((summary.passed, summary.failed), (0, 1), "{out}");
}

#[test]
fn a_known_difference_is_one_between_engines_and_has_to_be_there() {
    let text = "policy: p\ndeliver: [whole]\ncases:\n  - {name: a, request: {url: /}, expect: {}, differs: {why: w, link: l}}\n";
    let folder = Folder::new("no-difference");
    let file = folder.write("a.cases.yaml", text);
    let same = [("wasmtime", Manners::default()), ("envoy", Manners::default())];
    let (summary, out, _) = run_with(&same, std::slice::from_ref(&file), &Options::default());
    assert_eq!((summary.passed, summary.failed), (2, 1), "{out}");
    assert!(
        out.contains("a::a [engines]") && out.contains("the engines agree here"),
        "{out}"
    );
    // One engine alone, or a part of the tests, says nothing of it.
    let (summary, out, _) = run_with(&same[..1], std::slice::from_ref(&file), &Options::default());
    assert_eq!(summary.failed, 0, "{out}");
    let part = Options {
        filter: Some("whole".into()),
        ..Options::default()
    };
    let (summary, out, _) = run_with(&same, std::slice::from_ref(&file), &part);
    assert_eq!(summary.failed, 0, "{out}");
    // Ways of loading have to agree on one engine.
    let both = folder.write(
        "b.cases.yaml",
        &text.replace("deliver", "modules: [suite, chain]\ndeliver"),
    );
    let by_modules = Manners {
        names_modules: true,
        ..Manners::default()
    };
    let (summary, out, _) = run_with(&[("wasmtime", by_modules)], &[both], &Options::default());
    assert_eq!((summary.passed, summary.failed), (1, 1), "{out}");
}

#[test]
fn a_snapshot_stands_in_no_case_that_lists_alternatives() {
    let text = "policy: p\ncases:\n  - name: a\n    steps:\n      - {request: {url: /}, expect: {snapshot: true}}\n      - {request: {url: /}, expect: [{status: 200}, {status: 201}]}\n";
    let told = Suite::parse(Path::new("x"), text).unwrap_err().to_string();
    assert!(
        told.starts_with("x:3:11: error: case `a`: `snapshot` can't be where"),
        "{told}"
    );
}

#[test]
fn a_token_is_looked_for_with_anybodys_modules_too() {
    let folder = Folder::new("filters-leak");
    folder.write("m.wasm", "");
    let file = folder.write(
        "a.cases.yaml",
        &format!(
            "filters: [{{module: m.wasm}}]\ndeliver: [whole]\ntokens: {{base: {{key: '{KEY}', claims: {{sub: somebody}}}}}}\ncases:\n  - {{name: a, request: {{url: /, token: base}}, expect: {{}}}}\n"
        ),
    );
    let leaks = Manners {
        logs_tokens: true,
        ..Manners::default()
    };
    let (summary, out, _) = run_with(&[("wasmtime", leaks)], &[file], &Options::default());
    assert_eq!(summary.failed, 1, "{out}");
    for part in ["payload", "signature"] {
        assert!(
            out.contains(&format!("expected: the {part} of token `base` isn't in the logs")),
            "{out}"
        );
    }
    assert!(!out.contains("eyJ"), "{out}");
}
