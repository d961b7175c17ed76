//! The house itself: which crate may know which, and how big the modules may be.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// The arrows, and no others: `policy <- shell <- {4 filters, suite}`; `policy <- host-tests <- benches`. Whoever may know
/// a crate may know what that crate knows.
const MAY_KNOW: [(&str, &[&str]); 9] = [
    ("scrim-policy", &[]),
    ("scrim-shell", &["scrim-policy"]),
    ("oauth-scope", &["scrim-shell", "scrim-policy"]),
    ("phi-url", &["scrim-shell", "scrim-policy"]),
    ("cache-control", &["scrim-shell", "scrim-policy"]),
    ("response-trim", &["scrim-shell", "scrim-policy"]),
    ("suite", &["scrim-shell", "scrim-policy"]),
    ("scrim", &["scrim-policy"]),
    ("scrim-benches", &["scrim", "scrim-policy"]),
];

/// What the suite may have, in bytes: a mesh loads it once for each worker of each proxy. Half a megabyte of it came with `response-trim`'s decoders (0.28), rules by
/// resource type and profiles.
const SUITE_LIMIT: usize = 2_560_000;

#[test]
fn the_crates_know_each_other_only_along_the_arrows() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let own: BTreeSet<&str> = packages
        .iter()
        .map(|package| package["name"].as_str().unwrap())
        .collect();
    let may: BTreeMap<&str, &[&str]> = MAY_KNOW.into();
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let allowed = may
            .get(name)
            .unwrap_or_else(|| panic!("`{name}` is new: say in MAY_KNOW and ARCHITECTURE.md whom it may know"));
        // Dependencies of every kind: for tests and for the build too.
        for known in package["dependencies"].as_array().unwrap() {
            let known = known["name"].as_str().unwrap();
            assert!(
                !own.contains(known) || allowed.contains(&known),
                "`{name}` must not know `{known}`"
            );
        }
    }
    assert_eq!(
        own,
        may.keys().copied().collect(),
        "MAY_KNOW names a crate that is gone"
    );
}

/// `cargo run` at the root is `scrim`.
#[test]
fn the_workspace_has_one_binary_by_default() {
    let metadata = metadata();
    let default = metadata["workspace_default_members"].as_array().unwrap();
    let binaries: Vec<&str> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| default.contains(&package["id"]))
        .flat_map(|package| package["targets"].as_array().unwrap())
        .filter(|target| target["kind"].as_array().unwrap().iter().any(|kind| kind == "bin"))
        .map(|target| target["name"].as_str().unwrap())
        .collect();
    assert_eq!(binaries, ["scrim"]);
}

#[test]
fn the_modules_stay_small_and_load_in_envoy() {
    for module in scrim::modules::all() {
        let report = scrim::inspect::inspect(module.bytes).unwrap();
        println!("{:<14} {:>9} bytes", module.name, module.bytes.len());
        assert_eq!(report.missing, [""; 0], "Envoy would refuse `{}`", module.name);
        assert_eq!(report.abi_version.as_deref(), Some("0.2.1"), "{}", module.name);
    }
    let size = scrim::modules::SUITE.bytes.len();
    assert!(
        size < SUITE_LIMIT,
        "the suite has {size} bytes, {SUITE_LIMIT} is the limit"
    );
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--locked",
            "--format-version",
            "1",
            "--manifest-path",
        ])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
