//! The probes: small modules that show host calls and stream behaviours, on wasmtime and in a real Envoy, alike to the last line.
//!
//! The same by hand: `scrim test host-tests/probes --engine both`.

use std::path::{Path, PathBuf};

use scrim::cases::{self, Options, Runner, Summary};
use scrim::envoy::Envoy;
use scrim::exchange::Engine;
use scrim::wasm::Wasmtime;

#[test]
fn every_probe_shows_on_wasmtime_what_was_kept_of_envoy() {
    assert_passed(&run(vec![Box::new(Wasmtime::new().unwrap())]));
}

#[test]
fn every_probe_comes_out_alike_on_wasmtime_and_in_envoy() {
    let Some(envoy) = Envoy::in_tests() else { return };
    assert_passed(&run(vec![Box::new(Wasmtime::new().unwrap()), Box::new(envoy)]));
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("probes")
}

fn run(engines: Vec<Box<dyn Engine>>) -> Summary {
    let runner = Runner {
        engines,
        compile: Box::new(|_| anyhow::bail!("a probe has no policy")),
    };
    let files = cases::discover(&[folder()]).unwrap();
    runner.run(&files, &Options::default(), &mut std::io::sink()).unwrap()
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
