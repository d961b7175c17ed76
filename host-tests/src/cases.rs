//! Declarative cases: YAML files that say what is sent through a chain of filters and what everybody must have seen.
//!
//! 1. One file is one suite. Its filters come from Scrim's own `policy`, or are anybody's modules (`filters`).
//! 2. A case is a `request`, what the `upstream` answers (by default 200 with `{}`), and what to `expect`; or several of
//!    these as `steps`, in which values captured from one answer serve the next. What an
//!    expectation doesn't mention isn't checked, except that the answer came to its end and that no token of the
//!    request shows up at the client, at a cluster or in what is noted: logs, the access log, filter state, metrics' names. With `filters`
//!    that goes for the token that is sent by `token` only.
//! 3. Every case runs once for each engine, each of `modules` and each of `deliver` (how bodies are cut into chunks, and how they
//!    end), through a gateway that its file's cases share. Gateways run beside each other on all cores; what is told is in the order
//!    of one core.
//! 4. Outcomes of one case must be equal under all deliveries, on all engines, and on the wire for all `modules`.
//!    Only a case whose `expect` is a list of alternatives is free of that: it says that they may differ.
//! 5. `${name}` stands for a variable, and a `matrix` makes one case of each combination of values; see `cases/expand.rs`.
//! 6. Unknown keys and values, keys that stand twice and unknown variables are refused with their place and the mend, all of a file at
//!    once; the other files still run.
//! 7. An expectation that would check nothing is refused, and a run without a test is none that passed.
//! 8. In a folder, `*.cases.yaml` and the YAML files of folders named `cases` are case files, recursively; a name that
//!    begins with `_` is a file to `include`.
//!
//! ```yaml
//! policy: ../policy.yaml
//! modules: [suite, chain]
//! tokens:
//!   clinician:
//!     key: ../keys/rs256.jwk.json
//!     claims: {iss: "https://idp.example.org", aud: "https://fhir.example.org", exp: +1h, scope: user/Patient.rs}
//! cases:
//!   - name: no token, no record
//!     request: {url: /fhir/Patient/1}
//!     expect: {upstream: none, status: 401, headers: {www-authenticate: Bearer}}
//!   - name: a clinician reads a record, and no cache keeps it
//!     request: {url: /fhir/Patient/1, token: clinician}
//!     upstream: {json: {resourceType: Patient, id: "1"}}
//!     expect: {status: 200, headers: {cache-control: "no-store, private"}, body: {unchanged: true}}
//! ```
//!
//! The JSON Schema of the format is [`Suite::schema`]; its types are in [`format`](mod@format).

mod assemble;
mod calls;
mod capture;
mod check;
pub mod delivery;
pub mod exchanges;
mod expand;
mod fixture;
pub mod format;
mod load;
mod matchers;
mod matching;
pub mod problem;
mod render;
pub(crate) mod report;
mod run;
mod snapshot;
mod tree;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result};

pub use self::delivery::Delivery;
pub use self::format::{Modules, Suite};
pub use self::problem::{Problem, Problems};
pub use self::watch::watch;
use crate::exchange::{Engine, Filter};

/// What runs cases: engines, and a way from a policy file to filters.
pub struct Runner<'a> {
    /// Every case runs on each; with more than one, their outcomes are compared.
    pub engines: Vec<Box<dyn Engine + Sync + 'a>>,
    /// Turns Scrim's policy file into filters.
    pub compile: Box<Compile<'a>>,
}

/// Turns Scrim's policy file into filters.
pub type Compile<'a> = dyn Fn(&PolicySource) -> Result<Compiled> + Sync + 'a;

/// A policy file and how its filters are to be loaded.
#[derive(Clone, Debug)]
pub struct PolicySource {
    /// The policy file.
    pub file: PathBuf,
    /// One module or four.
    pub modules: Modules,
    /// The environment that the case file gives, where keys may be.
    pub environment: BTreeMap<String, String>,
}

/// What a policy file becomes.
#[derive(Clone, Debug, Default)]
pub struct Compiled {
    /// The filters, outermost first.
    pub filters: Vec<Filter>,
    /// More environment for the VMs; the case file's own wins.
    pub environment: BTreeMap<String, String>,
}

/// How to run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only tests whose full name (`file::case [engine, modules, delivery]`) contains this.
    pub filter: Option<String>,
    /// Instead of the deliveries that files and cases name.
    pub deliver: Option<Vec<Delivery>>,
    /// Where to write a JUnit report.
    pub junit: Option<PathBuf>,
    /// Whether snapshots are written instead of compared.
    pub bless: bool,
    /// Whether to colour; ask the terminal.
    pub color: bool,
    /// How many gateways run beside each other; default: as many as there are cores.
    pub jobs: Option<usize>,
    /// Whether to stop at the first failure.
    pub fail_fast: bool,
    /// Whether tests are only listed, and nothing is run.
    pub list: bool,
    /// In what form to tell.
    pub format: Format,
    /// Whether to show how far it is, in a line that is rewritten; for terminals.
    pub progress: bool,
    /// Ends the run early once it is true; what runs by then comes to its end.
    pub stop: Option<Arc<AtomicBool>>,
}

/// In what form a run is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// As `cargo test` does.
    #[default]
    Human,
    /// That, and an annotation for each failure, as GitHub Actions takes them.
    Github,
    /// One JSON document at the end: `passed`, `failed`, `ignored`, `broken` and `seconds`; `tests`, a list of `file`, `line`, `column`,
    /// `case`, `engine`, `modules`, `delivery`, `status` (`ok`, `failed`, `ignored`), `seconds` and, where it failed, `message`;
    /// `problems`, what could not be run: `what`, `message`, and `file`, `line` and `column` where they are known; and `notes`.
    Json,
}

/// How a run went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed.
    pub failed: usize,
    /// Tests that an engine was told to leave out.
    pub ignored: usize,
    /// Files that could not be read, or whose filters could not be started.
    pub broken: usize,
    /// Cases in which the engines are known to differ (`differs`), in the files that ran.
    pub differences: usize,
    /// Names and texts of what failed or was broken.
    pub failures: Vec<(String, String)>,
    /// How long it took.
    pub duration: Duration,
}

impl Summary {
    /// Whether there was no test at all: no file has a case, or the filter takes none.
    pub fn nothing_ran(&self) -> bool {
        self.passed + self.failed + self.ignored + self.broken == 0
    }

    /// 0: all is well; 1: a case failed; 2: something could not be run, or there was nothing to run.
    pub fn exit_code(&self) -> u8 {
        match (self.broken, self.failed) {
            (0, 0) if self.nothing_ran() => 2,
            (0, 0) => 0,
            (0, _) => 1,
            _ => 2,
        }
    }
}
/// The case files at some paths: files as they are, folders searched; sorted, each once.
///
/// # Errors
/// When a path can't be read.
pub fn discover(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut once = BTreeSet::new();
    for path in paths {
        let about = std::fs::metadata(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        if about.is_dir() {
            search(path, &mut found)?;
        } else {
            found.insert(path.clone());
        }
    }
    // One file may be named in more than one way.
    Ok(found
        .into_iter()
        .filter(|file| once.insert(file.canonicalize().unwrap_or_else(|_| file.clone())))
        .collect())
}

fn search(folder: &Path, found: &mut BTreeSet<PathBuf>) -> Result<()> {
    let in_cases = folder
        .canonicalize()
        .is_ok_and(|folder| folder.file_name().is_some_and(|name| name == "cases"));
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let yaml = name.ends_with(".yaml") || name.ends_with(".yml");
        let kind = entry.file_type()?;
        if kind.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" {
            search(&entry.path(), found)?;
        } else if !kind.is_dir() && yaml && !name.starts_with('_') && (in_cases || name.contains(".cases.")) {
            found.insert(entry.path());
        }
    }
    Ok(())
}

/// `known are a, b, c`, for messages.
pub(crate) fn known<T: AsRef<str>>(names: impl Iterator<Item = T>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{}`", name.as_ref())).collect();
    if names.is_empty() {
        "none is known".to_owned()
    } else {
        format!("known are {}", names.join(", "))
    }
}

#[cfg(test)]
mod tests;
