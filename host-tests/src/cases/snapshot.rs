//! Snapshots: what was seen, kept beside the case file in `FILE.snap` and compared from then on.
//!
//! 1. What is secret or differs from run to run is redacted: values of `authorization`, `proxy-authorization`, `cookie`, `set-cookie` and
//!    `dpop`; tokens of three parts; UUIDs; dates and times.
//! 2. Blessing writes what was seen, and removes what no case asks for any more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use regex::{Captures, Regex};

use super::render;

const MARK: &str = "=== ";

/// The snapshots of a case file.
pub(super) struct Snapshots {
    file: PathBuf,
    bless: bool,
    by_case: BTreeMap<String, String>,
    blessed: BTreeSet<String>,
    redact: Redact,
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
            blessed: BTreeSet::new(),
            redact: Redact::new()?,
        })
    }

    /// What differs, if anything. Blessing takes the first outcome of a case; the others are compared with it.
    pub(super) fn compare(&mut self, case: &str, seen: &str) -> Option<String> {
        let seen = &self.redact.text(seen);
        match self.by_case.get(case) {
            Some(kept) if kept == seen => None,
            _ if self.bless && !self.blessed.contains(case) => {
                self.by_case.insert(case.to_owned(), seen.to_owned());
                self.blessed.insert(case.to_owned());
                None
            }
            Some(kept) => Some(format!(
                "snapshot differs: `--bless` takes what was seen\n{}",
                render::diff("snapshot", kept, "seen", seen)
            )),
            None => Some("there is no snapshot yet: `--bless` takes what was seen".to_owned()),
        }
    }

    /// Writes what was blessed and removes what is unused; `cases` are those that have snapshots. What it did is told.
    pub(super) fn finish(&mut self, cases: &BTreeSet<String>) -> Result<Vec<String>> {
        let file = self.file.display();
        let unused: Vec<String> = self
            .by_case
            .keys()
            .filter(|case| !cases.contains(*case))
            .cloned()
            .collect();
        if !self.bless {
            let told = unused
                .iter()
                .map(|case| format!("{file}: nothing uses the snapshot `{case}`: `--bless` removes it"));
            return Ok(told.collect());
        }
        if self.blessed.is_empty() && unused.is_empty() {
            return Ok(Vec::new());
        }
        let mut told: Vec<String> = self
            .blessed
            .iter()
            .map(|case| format!("{file}: wrote the snapshot `{case}`"))
            .collect();
        for case in unused {
            self.by_case.remove(&case);
            told.push(format!("{file}: removed the snapshot `{case}`, which nothing uses"));
        }
        let failed = || format!("cannot write `{}`", self.file.display());
        if self.by_case.is_empty() {
            std::fs::remove_file(&self.file).with_context(failed)?;
            return Ok(told);
        }
        let text: String = self
            .by_case
            .iter()
            .map(|(case, seen)| format!("{MARK}{case}\n{seen}\n"))
            .collect();
        std::fs::write(&self.file, text).with_context(failed)?;
        Ok(told)
    }
}

/// Takes out what is secret or differs from run to run.
struct Redact {
    lines: Regex,
    patterns: Vec<(Regex, &'static str)>,
}

impl Redact {
    fn new() -> Result<Self> {
        let patterns = [
            (r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*", "<token>"),
            (
                r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b",
                "<uuid>",
            ),
            (
                r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT\b",
                "<date>",
            ),
            (
                r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})",
                "<time>",
            ),
        ];
        let patterns: Result<Vec<_>, regex::Error> = patterns
            .into_iter()
            .map(|(pattern, name)| Ok((Regex::new(pattern)?, name)))
            .collect();
        Ok(Self {
            lines: Regex::new(r"(?m)^(  (?:proxy-)?authorization|  cookie|  set-cookie|  dpop): .*$")?,
            patterns: patterns?,
        })
    }

    fn text(&self, text: &str) -> String {
        let text = self.lines.replace_all(text, |line: &Captures<'_>| {
            let name = line.get(1).map_or("", |name| name.as_str());
            // The names of tokens that the harness made are worth more than nothing.
            let kept = line
                .get(0)
                .and_then(|all| all.as_str().split_once("<token "))
                .filter(|_| name.ends_with("authorization"));
            match kept {
                Some((_, token)) if token.ends_with('>') => format!("{name}: <token {token}"),
                _ => format!("{name}: <redacted>"),
            }
        });
        self.patterns.iter().fold(text.into_owned(), |text, (pattern, name)| {
            pattern.replace_all(&text, *name).into_owned()
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_or_varies_is_redacted() {
        let text = "upstream: GET /a\n  authorization: Basic c2VjcmV0\n  authorization: Bearer <token clinician>\n  cookie: a=secret\n  x-id: 6f9619ff-8b86-d011-b42d-00cf4fc964ff\n  x-t: eyJhbGciOiJub25lIn0.eyJhIjoxfQ.\nclient: 200\n  set-cookie: b=secret; Path=/\n  last-modified: Sun, 22 Nov 2026 11:11:14 GMT\n  {\"at\":\"2026-11-22T11:11:14.5Z\",\"birthDate\":\"1970-01-01\"}\n";
        let wanted = "upstream: GET /a\n  authorization: <redacted>\n  authorization: <token clinician>\n  cookie: <redacted>\n  x-id: <uuid>\n  x-t: <token>\nclient: 200\n  set-cookie: <redacted>\n  last-modified: <date>\n  {\"at\":\"<time>\",\"birthDate\":\"1970-01-01\"}\n";
        assert_eq!(Redact::new().unwrap().text(text), wanted);
    }
}
