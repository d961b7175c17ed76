//! Builds the five modules for `wasm32-wasip1` before the harness itself, so that no stale module can be run or tested.
//!
//! 1. The target is added by rustup where it is missing.
//! 2. Both host profiles share one folder, `<target>/guests`, and so one build. Modules whose debug information the environment
//!    asks for (`CARGO_PROFILE_GUEST_DEBUG`, `CARGO_PROFILE_GUEST_STRIP`) are not what ships: they are built in a folder of their own.
//! 3. Without the feature `policy` nothing is built.
//! 4. The modules' paths reach the harness as `SCRIM_MODULE_<NAME>`; it embeds their bytes.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const TARGET: &str = "wasm32-wasip1";
const MODULES: [&str; 5] = ["oauth-scope", "phi-url", "cache-control", "response-trim", "suite"];

/// What cargo reads instead of the guests' profile.
const DEBUG_SETTINGS: [&str; 2] = ["CARGO_PROFILE_GUEST_DEBUG", "CARGO_PROFILE_GUEST_STRIP"];

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("error: {what}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_POLICY").is_none() {
        return Ok(());
    }
    let root = PathBuf::from(var("CARGO_MANIFEST_DIR")?).join("..");
    for watched in ["filters", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml"] {
        println!("cargo::rerun-if-changed={}", root.join(watched).display());
    }
    for setting in DEBUG_SETTINGS {
        println!("cargo::rerun-if-env-changed={setting}");
    }
    add_target()?;
    let with_debug = DEBUG_SETTINGS.iter().any(|setting| env::var_os(setting).is_some());
    // OUT_DIR is <target>/<profile>/build/<package>-<hash>/out.
    let out = PathBuf::from(var("OUT_DIR")?);
    let target_dir = out
        .ancestors()
        .nth(4)
        .ok_or("the build folder has no parent")?
        .join(if with_debug { "guests-with-lines" } else { "guests" });
    let mut cargo = Command::new(var("CARGO")?);
    cargo
        .current_dir(&root)
        .args([
            "build",
            "--locked",
            "--target",
            TARGET,
            "--profile",
            "guest",
            "--target-dir",
        ])
        .arg(&target_dir);
    for module in MODULES {
        cargo.args(["--package", module]);
    }
    // What the host's build sets must not reach the guests'; what the user sets for the network still does.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let hosts = [
            "CARGO_ENCODED_RUSTFLAGS",
            "RUSTFLAGS",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "CARGO_TARGET_DIR",
            "CLIPPY_ARGS",
        ];
        if hosts.contains(&text.as_ref()) || text.starts_with("CARGO_CFG_") || text.starts_with("CARGO_FEATURE_") {
            cargo.env_remove(&name);
        }
    }
    cargo.env("CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS", "-Ctarget-feature=+simd128");
    run(&mut cargo, "building the modules failed; the lines above say why")?;
    for module in MODULES {
        let file = target_dir
            .join(TARGET)
            .join("guest")
            .join(format!("{}.wasm", module.replace('-', "_")));
        let kept = out.join(format!("{module}.wasm"));
        copy(&file, &kept)?;
        let name = module.replace('-', "_").to_uppercase();
        println!("cargo::rustc-env=SCRIM_MODULE_{name}={}", kept.display());
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    std::fs::copy(from, to)
        .map(|_| ())
        .map_err(|error| format!("`{}` could not be copied: {error}", from.display()))
}

fn add_target() -> Result<(), String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let asked = Command::new(&rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output();
    let there = asked
        .ok()
        .and_then(|said| String::from_utf8(said.stdout).ok())
        .is_some_and(|path| Path::new(path.trim()).is_dir());
    if there {
        return Ok(());
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", TARGET]);
    if let Some(toolchain) = env::var_os("RUSTUP_TOOLCHAIN") {
        rustup.arg("--toolchain").arg(toolchain);
    }
    run(
        &mut rustup,
        "rustc has no `wasm32-wasip1` and rustup could not add it; install the target by hand",
    )
}

fn run(command: &mut Command, otherwise: &str) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(otherwise.to_owned()),
        Err(error) => Err(format!(
            "`{}` did not start: {error}; {otherwise}",
            command.get_program().to_string_lossy()
        )),
    }
}

fn var(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("cargo did not set `{name}`"))
}
