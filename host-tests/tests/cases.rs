//! The case files of `examples/` and `cases/`, discovered, crossed with engines: wasmtime, and a real Envoy beside it.
//!
//! The same files run by hand: `scrim test examples host-tests/cases --engine both`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use scrim::cases::{self, Options, Runner, Suite, Summary};
use scrim::envoy::Envoy;
use scrim::exchange::{Answer, Engine, Gateway, Outcome, Request, Setup};
use scrim::wasm::Wasmtime;

const FILTERS: [&str; 4] = ["oauth_scope", "phi_url", "cache_control", "response_trim"];

#[test]
fn every_case_passes_on_wasmtime_and_together_they_cover_filters_and_route_levels() {
    let files = files();
    let seen = Seen::default();
    let summary = run(&files, || {
        vec![Box::new(Listening {
            engine: Wasmtime::new().unwrap(),
            seen: Arc::clone(&seen),
        })]
    });
    assert_passed(&summary);

    // What was decided where, told by the audit records themselves: a case that only claims to reach a filter isn't counted.
    let mut decided: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for audit in seen.lock().unwrap().iter() {
        let text = |value: &Value| value.as_str().unwrap_or("nothing").to_owned();
        let level = audit["route"]
            .as_str()
            .unwrap_or("none")
            .split('[')
            .next()
            .unwrap_or_default()
            .to_owned();
        decided.entry(level).or_default().insert(text(&audit["decision"]));
        for filter in FILTERS {
            decided
                .entry(filter.to_owned())
                .or_default()
                .insert(text(&audit["filters"][filter]["decision"]));
        }
    }
    // Nothing is denied because of caches: there the other half is that a denial's own answer is covered too.
    let both = [
        "oauth_scope",
        "phi_url",
        "response_trim",
        "route_metadata",
        "virtual_host_metadata",
        "routes",
        "default",
    ];
    for what in both {
        let how = decided.get(what).cloned().unwrap_or_default();
        assert!(
            how.contains("allow") && how.contains("deny"),
            "no case has `{what}` both allow and deny: {decided:?}"
        );
    }
    assert!(decided["cache_control"].contains("allow"), "{decided:?}");
}

#[test]
fn every_case_passes_in_envoy_and_comes_out_as_on_wasmtime() {
    let Some(envoy) = Envoy::in_tests() else { return };
    let found = envoy.found().clone();
    let summary = run(&files(), || {
        vec![Box::new(Wasmtime::new().unwrap()), Box::new(Envoy::new(found.clone()))]
    });
    assert_passed(&summary);
}

#[test]
fn the_example_has_enough_cases() {
    let mut count = 0;
    let mut denials = BTreeMap::new();
    for file in cases::discover(&[root().join("examples/fhir-gateway")]).unwrap() {
        let suite = Suite::parse(&file, &std::fs::read_to_string(&file).unwrap()).unwrap();
        count += suite.cases.len();
        let denied = suite.cases.iter().filter(|case| {
            case.steps.iter().flat_map(|step| &step.expect.any).all(|expect| {
                expect
                    .status
                    .as_ref()
                    .is_some_and(|status| !(100..400).any(|one| status.accepts(one)))
            })
        });
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        denials.insert(name, (denied.count(), suite.cases.len()));
    }
    assert!(count >= 60, "{count} cases");
    for name in [
        "oauth-scope",
        "phi-url",
        "cache-control",
        "response-trim",
        "routes",
        "routes-metadata",
        "routes-virtual-host",
        "routes-default",
    ] {
        let (denied, all) = denials.get(name).copied().unwrap_or_default();
        assert!(
            0 < denied && denied < all,
            "`{name}.yaml` has {denied} denials among {all} cases"
        );
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn files() -> Vec<PathBuf> {
    cases::discover(&[root().join("examples"), root().join("host-tests/cases")]).unwrap()
}

/// Runs the files two at a time: most of an exchange with Envoy is waiting.
fn run(files: &[PathBuf], engines: impl Fn() -> Vec<Box<dyn Engine + Sync>> + Sync) -> Summary {
    let modules = Path::new(env!("CARGO_TARGET_TMPDIR")).join("modules");
    let queue = Mutex::new(files.iter());
    let total = Mutex::new(Summary::default());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        let modules = modules.clone();
        let compile = Box::new(move |source: &cases::PolicySource| scrim::gateway::compile_cases(source, &modules));
        let runner = Runner {
            engines: engines(),
            compile,
        };
        while let Some(file) = next() {
            let summary = runner
                .run(std::slice::from_ref(file), &Options::default(), &mut std::io::sink())
                .unwrap();
            let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
            total.passed += summary.passed;
            total.failed += summary.failed;
            total.ignored += summary.ignored;
            total.broken += summary.broken;
            total.failures.extend(summary.failures);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    total.into_inner().unwrap()
}

fn assert_passed(summary: &Summary) {
    let Summary {
        passed, failed, broken, ..
    } = summary;
    let told: Vec<String> = summary
        .failures
        .iter()
        .map(|(name, why)| format!("---- {name} ----\n{why}"))
        .collect();
    println!("{passed} passed, {failed} failed, {broken} could not be run");
    assert!(
        told.is_empty(),
        "{failed} failed, {broken} could not be run, {passed} passed\n{}",
        told.join("\n")
    );
    assert!(*passed > 0);
}

/// An engine that keeps the audit records of its exchanges.
struct Listening {
    engine: Wasmtime,
    seen: Seen,
}

type Seen = Arc<Mutex<Vec<Value>>>;

impl Engine for Listening {
    fn name(&self) -> &'static str {
        self.engine.name()
    }

    fn start(&self, setup: &Setup) -> anyhow::Result<Box<dyn Gateway>> {
        Ok(Box::new(Heard {
            gateway: self.engine.start(setup)?,
            seen: Arc::clone(&self.seen),
        }))
    }
}

struct Heard {
    gateway: Box<dyn Gateway>,
    seen: Seen,
}

impl Gateway for Heard {
    fn exchange(&mut self, request: &Request, answer: &Answer) -> anyhow::Result<Outcome> {
        let outcome = self.gateway.exchange(request, answer)?;
        if let Some(audit) = outcome.filter_state.get("scrim.audit") {
            self.seen
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(serde_json::from_str(audit)?);
        }
        Ok(outcome)
    }

    fn wait(&mut self, time: Duration) -> anyhow::Result<()> {
        self.gateway.wait(time)
    }
}
