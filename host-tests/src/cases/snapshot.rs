//! Snapshots: what was seen, kept beside the case file in `FILE.snap` and compared from then on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::render;

const MARK: &str = "=== ";

/// The snapshots of a case file.
pub(super) struct Snapshots {
    file: PathBuf,
    bless: bool,
    by_case: BTreeMap<String, String>,
    blessed: bool,
}

impl Snapshots {
    pub(super) fn read(cases: &Path, bless: bool) -> Result<Self> {
        let mut file = cases.as_os_str().to_owned();
        file.push(".snap");
        let file = PathBuf::from(file);
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read `{}`", file.display()));
            }
        };
        Ok(Self {
            by_case: parse(&text),
            file,
            bless,
            blessed: false,
        })
    }

    /// What differs, if anything. Blessing takes the first outcome of a case; the others are compared with it.
    pub(super) fn compare(&mut self, case: &str, seen: &str) -> Option<String> {
        match self.by_case.get(case) {
            Some(kept) if kept == seen => None,
            _ if self.bless => {
                self.by_case.insert(case.to_owned(), seen.to_owned());
                self.blessed = true;
                None
            }
            Some(kept) => Some(format!(
                "snapshot differs: `--bless` takes what was seen\n{}",
                render::diff("snapshot", kept, "seen", seen)
            )),
            None => Some("there is no snapshot yet: `--bless` takes what was seen".to_owned()),
        }
    }

    pub(super) fn write(&self) -> Result<()> {
        if !self.blessed {
            return Ok(());
        }
        let text: String = self
            .by_case
            .iter()
            .map(|(case, seen)| format!("{MARK}{case}\n{seen}\n"))
            .collect();
        std::fs::write(&self.file, text).with_context(|| format!("cannot write `{}`", self.file.display()))
    }
}

fn parse(text: &str) -> BTreeMap<String, String> {
    let mut by_case: BTreeMap<String, String> = BTreeMap::new();
    let mut current: Option<&mut String> = None;
    for line in text.lines() {
        if let Some(case) = line.strip_prefix(MARK) {
            current = Some(by_case.entry(case.to_owned()).or_default());
        } else if let Some(seen) = current.as_mut() {
            seen.push_str(line);
            seen.push('\n');
        }
    }
    for seen in by_case.values_mut() {
        // One empty line parts the cases.
        seen.pop();
    }
    by_case
}
