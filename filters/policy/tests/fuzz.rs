//! The bodies of the fuzz targets, run for a moment in every `cargo test`: on their seeds, on bytes near them, and on any bytes.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;

#[path = "../fuzz/bodies.rs"]
mod bodies;

/// By its name, what a target does with its bytes.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 12] = [
    ("token", bodies::token),
    ("jwks", bodies::jwks),
    ("scopes", bodies::scopes),
    ("dpop", bodies::dpop),
    ("json", bodies::json),
    ("cache_control", bodies::cache_control),
    ("url", bodies::url),
    ("places", bodies::places),
    ("detect", bodies::detect),
    ("decode", bodies::decode),
    ("records", bodies::records),
    ("trim", bodies::trim),
];

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn the_seeds_hold() {
    for (target, body) in TARGETS {
        let seeds = seeds(target);
        assert!(!seeds.is_empty(), "{target}");
        seeds.iter().for_each(|seed| body(seed));
    }
}

/// A target without a file here, or the other way round, would be run by nobody.
#[test]
fn every_target_is_here() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let mut targets = TARGETS.map(|(target, _)| target.to_owned());
    files.sort();
    targets.sort();
    assert_eq!(files, targets);
}

proptest! {
    #[test]
    fn bytes_near_the_seeds_hold(
        target in 0..TARGETS.len(),
        seed in any::<Index>(),
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..5),
        cut in prop::option::of(any::<Index>()),
    ) {
        let (name, body) = TARGETS[target];
        let mut bytes = seed.get(&seeds(name)).clone();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        body(&bytes);
    }

    #[test]
    fn any_bytes_hold(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for (_, body) in TARGETS {
            body(&bytes);
        }
    }
}
