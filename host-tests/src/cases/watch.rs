//! Runs cases again whenever something that they are made of changes.
//!
//! 1. Watched are the case files, and all that lies in their folders and in the folders of the policies, modules, keys and included
//!    files that they name, but `target`, `node_modules` and what begins with a dot.
//! 2. Files are looked at twice a second, by time and length: no service of the system is needed, and network drives work.
//! 3. What a run writes itself (snapshots, reports) begins no new one.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Result;

use super::{Format, Options, Runner, discover, load};

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How often it is asked whether to stop.
const BREATH: Duration = Duration::from_millis(50);
/// How deep folders are searched.
const DEEPEST: usize = 6;

/// What there is to see of files.
type Seen = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

/// Runs the cases, and again whenever a file changes, until `stop` is true. Errors of a run are told, and it goes on.
///
/// # Errors
/// When `out` can't be written.
pub fn watch(
    runner: &Runner<'_>,
    paths: &[PathBuf],
    options: &Options,
    stop: &AtomicBool,
    out: &mut dyn Write,
) -> Result<()> {
    loop {
        // What is saved while a run goes on counts too.
        let before = look(paths, options);
        if let Err(error) = runner.run(paths, options, out) {
            writeln!(out, "error: {error:#}")?;
        }
        if options.format != Format::Json && !stop.load(Ordering::Relaxed) {
            writeln!(out, "watching {} files; Ctrl-C ends it", before.len())?;
            out.flush()?;
        }
        let changed = loop {
            let now = look(paths, options);
            if now != before {
                break difference(&before, &now);
            }
            let mut slept = Duration::ZERO;
            while slept < LOOK {
                if stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                std::thread::sleep(BREATH);
                slept += BREATH;
            }
        };
        if options.format != Format::Json {
            writeln!(out, "\nchanged: {}", changed.display())?;
        }
    }
}

/// The first file that differs.
fn difference(before: &Seen, now: &Seen) -> PathBuf {
    let gone = before.keys().find(|path| !now.contains_key(*path));
    let new = now
        .iter()
        .find(|(path, about)| before.get(*path) != Some(about))
        .map(|(path, _)| path);
    new.or(gone).cloned().unwrap_or_default()
}

fn look(paths: &[PathBuf], options: &Options) -> Seen {
    let mut folders = BTreeSet::new();
    let mut seen = Seen::new();
    for path in paths {
        if path.is_dir() {
            folders.insert(path.clone());
        }
    }
    for file in discover(paths).unwrap_or_default() {
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        note(&file, &mut seen);
        // A file that is wrong for the moment names nothing; its folder is watched.
        if let Ok(suite) = load::parse(&file) {
            let named = suite
                .policy
                .iter()
                .chain(suite.filters.iter().map(|filter| &filter.module));
            let named = named
                .chain(&suite.include)
                .chain(suite.tokens.values().filter_map(|token| token.key.as_ref()));
            folders.extend(named.filter_map(|path| folder.join(path).parent().map(Path::to_owned)));
        }
        folders.insert(folder);
    }
    for folder in folders {
        search(&folder, 0, &mut seen);
    }
    seen.retain(|path, _| {
        let written = path.extension().is_some_and(|ending| ending == "snap");
        !written && options.junit.as_ref().is_none_or(|junit| !path.ends_with(junit))
    });
    seen
}

fn search(folder: &Path, depth: usize, seen: &mut Seen) {
    // Folders of whole disks are no fixtures.
    let shown = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    for entry in std::fs::read_dir(shown).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let skipped = name.starts_with('.') || name == "target" || name == "node_modules";
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && !skipped && depth < DEEPEST => search(&folder.join(&name), depth + 1, seen),
            Ok(kind) if !kind.is_dir() && !skipped => note(&folder.join(&name), seen),
            _ => {}
        }
    }
}

fn note(path: &Path, seen: &mut Seen) {
    if let Ok(about) = std::fs::metadata(path) {
        seen.insert(path.to_owned(), (about.modified().ok(), about.len()));
    }
}
