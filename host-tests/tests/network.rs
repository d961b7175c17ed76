//! What filters say to others, on both engines: http calls and gRPC, by the probes in `probes/`.
//!
//! Each file of cases runs on wasmtime and in a real Envoy, with the same expectations.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use scrim::cases::{Compiled, Options, Runner};
use scrim::envoy::Envoy;
use scrim::exchange::Engine;
use scrim::wasm::Wasmtime;

/// A folder with the probes of one file of cases as modules, gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn with(name: &str) -> (Self, PathBuf) {
        let probes = Path::new(env!("CARGO_MANIFEST_DIR")).join("probes");
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("scrim-network-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut cases = std::fs::read_to_string(probes.join(format!("{name}.cases.yaml"))).unwrap();
        for entry in std::fs::read_dir(&probes).unwrap() {
            let file = entry.unwrap().file_name().to_string_lossy().into_owned();
            if file.ends_with(".wat") && cases.contains(&format!("module: {file}")) {
                let text = std::fs::read_to_string(probes.join(&file)).unwrap();
                let module = file.replace(".wat", ".wasm");
                std::fs::write(folder.join(&module), wat::parse_str(&text).unwrap()).unwrap();
                cases = cases.replace(&format!("module: {file}"), &format!("module: {module}"));
            }
        }
        let file = folder.join(format!("{name}.cases.yaml"));
        std::fs::write(&file, cases).unwrap();
        (Self(folder), file)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run(name: &str, engine: Box<dyn Engine + Sync>) {
    let (_folder, file) = Folder::with(name);
    let runner = Runner {
        engines: vec![engine],
        compile: Box::new(|_| Ok(Compiled::default())),
    };
    let mut out = Vec::new();
    let summary = runner.run(&[file], &Options::default(), &mut out).unwrap();
    assert!(
        summary.exit_code() == 0 && summary.passed > 0,
        "{}",
        String::from_utf8_lossy(&out)
    );
}

macro_rules! on_both_engines {
    ($($test:ident: $name:literal;)*) => {$(
        mod $test {
            use std::time::Duration;

            use scrim::wasm::Clock;

            #[test]
            fn on_wasmtime() {
                super::run($name, Box::new(super::Wasmtime::new().unwrap()));
            }

            /// What takes time takes it on the engine's clock alone.
            #[test]
            fn with_a_clock_that_stands_still() {
                let clock = Clock::Fixed(Duration::from_secs(1_700_000_000));
                let engine = super::Wasmtime::builder().clock(clock).build().unwrap();
                super::run($name, Box::new(engine));
            }

            #[test]
            fn in_envoy() {
                let Some(envoy) = super::Envoy::in_tests() else { return };
                super::run($name, Box::new(envoy));
            }
        }
    )*};
}

on_both_engines! {
    http_calls: "http-call";
    http_calls_over_http2: "http-call-http2";
    grpc: "grpc";
    answers_to_grpc: "grpc-answers";
}
