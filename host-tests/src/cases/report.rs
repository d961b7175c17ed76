//! What a run prints, in the manner of `cargo test` or for machines, and its JUnit form.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use super::problem::{Problem, Problems};
use super::{Format, Options, Summary};

/// One test's end.
pub(crate) struct Test {
    /// The file's name without its endings.
    pub(crate) file: String,
    pub(crate) path: PathBuf,
    /// Where the case's name stands, from 1.
    pub(crate) line: u64,
    pub(crate) column: u64,
    pub(crate) case: String,
    pub(crate) engine: &'static str,
    pub(crate) modules: Option<String>,
    pub(crate) delivery: String,
    pub(crate) label: String,
    pub(crate) verdict: Verdict,
    pub(crate) time: Duration,
}

pub(crate) enum Verdict {
    Ok,
    Ignored,
    Failed(String),
}

/// What could not be run.
struct Broken {
    what: String,
    path: PathBuf,
    why: String,
    /// Where, if that is known.
    problems: Vec<Problem>,
}

pub(crate) struct Report<'a> {
    out: &'a mut dyn Write,
    options: &'a Options,
    tests: Vec<Test>,
    broken: Vec<Broken>,
    notes: Vec<String>,
    /// Gateways that are done, and all.
    gateways: (usize, usize),
    shown: Option<Instant>,
    failed: usize,
    /// Cases in which the engines are known to differ.
    pub(crate) differences: usize,
}

/// How often a terminal's line is rewritten at most.
const BLINK: Duration = Duration::from_millis(50);

impl<'a> Report<'a> {
    pub(crate) fn new(out: &'a mut dyn Write, options: &'a Options) -> Self {
        Self {
            out,
            options,
            tests: Vec::new(),
            broken: Vec::new(),
            notes: Vec::new(),
            gateways: (0, 0),
            shown: None,
            failed: 0,
            differences: 0,
        }
    }

    fn is_human(&self) -> bool {
        self.options.format != Format::Json
    }

    pub(crate) fn begin(&mut self, files: usize, engines: &[&str]) -> Result<()> {
        if self.is_human() && !self.options.list {
            let plural = if files == 1 { "" } else { "s" };
            let engines = engines.join(" and ");
            writeln!(self.out, "\nrunning {files} case file{plural} on {engines}")?;
        }
        Ok(())
    }

    /// How many gateways there will be.
    pub(crate) fn expect(&mut self, gateways: usize) {
        self.gateways = (0, gateways);
    }

    pub(crate) fn gateway_done(&mut self) -> Result<()> {
        self.gateways.0 += 1;
        self.show_progress()
    }

    pub(crate) fn test(&mut self, test: Test) -> Result<()> {
        let end = match test.verdict {
            Verdict::Ok => self.paint("ok", GREEN),
            Verdict::Ignored => self.paint("ignored", YELLOW),
            Verdict::Failed(_) => self.paint("FAILED", RED),
        };
        self.failed += usize::from(matches!(test.verdict, Verdict::Failed(_)));
        if self.options.list {
            if self.is_human() {
                writeln!(self.out, "{}: test", test.label)?;
            }
        } else {
            self.line(&format!("test {} ... {end}", test.label))?;
        }
        self.tests.push(test);
        self.show_progress()
    }

    /// Something that could not be run at all.
    pub(crate) fn broken(&mut self, what: &str, path: &Path, error: &anyhow::Error) -> Result<()> {
        let end = self.paint("BROKEN", RED);
        self.line(&format!("test {what} ... {end}"))?;
        self.broken.push(Broken {
            what: what.to_owned(),
            path: path.to_owned(),
            why: format!("{error:#}"),
            problems: error
                .downcast_ref::<Problems>()
                .map(|problems| problems.0.clone())
                .unwrap_or_default(),
        });
        Ok(())
    }

    /// Something to know that is no failure.
    pub(crate) fn note(&mut self, note: String) -> Result<()> {
        self.line(&format!("note: {note}"))?;
        self.notes.push(note);
        Ok(())
    }

    /// A line, in place of the one that shows how far it is.
    fn line(&mut self, line: &str) -> Result<()> {
        if self.is_human() {
            self.hide_progress()?;
            writeln!(self.out, "{line}")?;
        }
        Ok(())
    }

    fn show_progress(&mut self) -> Result<()> {
        if self.options.progress && self.shown.is_none_or(|at| at.elapsed() >= BLINK) {
            let (done, all) = self.gateways;
            let (tests, failed) = (self.tests.len(), self.failed);
            write!(
                self.out,
                "{CLEAR}{done} of {all} gateways done, {tests} tests, {failed} failed"
            )?;
            self.out.flush()?;
            self.shown = Some(Instant::now());
        }
        Ok(())
    }

    fn hide_progress(&mut self) -> Result<()> {
        if self.shown.is_some() {
            write!(self.out, "{CLEAR}")?;
        }
        Ok(())
    }

    /// Tells the end, and counts; `stopped`: not everything was run.
    pub(crate) fn finish(&mut self, duration: Duration, stopped: bool) -> Result<Summary> {
        let mut summary = Summary {
            duration,
            broken: self.broken.len(),
            differences: self.differences,
            failures: self
                .broken
                .iter()
                .map(|broken| (broken.what.clone(), broken.why.clone()))
                .collect(),
            ..Summary::default()
        };
        for test in &self.tests {
            match &test.verdict {
                Verdict::Ok => summary.passed += 1,
                Verdict::Ignored => summary.ignored += 1,
                Verdict::Failed(why) => {
                    summary.failed += 1;
                    summary.failures.push((test.label.clone(), why.clone()));
                }
            }
        }
        if summary.nothing_ran() && !stopped {
            let why = match &self.options.filter {
                Some(filter) => format!("no test's full name contains `{filter}`: `--list` shows the names"),
                None => "the files have no `cases`: add one".to_owned(),
            };
            self.note(format!("no test ran: {why}"))?;
        }
        self.hide_progress()?;
        match self.options.format {
            Format::Human => self.tell(&summary, stopped)?,
            Format::Github => {
                // What guests and upstreams said may look like a command.
                let token = stop_token();
                writeln!(self.out, "::stop-commands::{token}")?;
                self.tell(&summary, stopped)?;
                writeln!(self.out, "::{token}::")?;
                let annotations = self.annotations();
                write!(self.out, "{annotations}")?;
            }
            Format::Json => {
                let document = serde_json::to_string_pretty(&self.json(&summary, stopped))?;
                writeln!(self.out, "{document}")?;
            }
        }
        self.out.flush()?;
        Ok(summary)
    }

    fn tell(&mut self, summary: &Summary, stopped: bool) -> Result<()> {
        if !summary.failures.is_empty() {
            writeln!(self.out, "\nfailures:")?;
            for (label, why) in &summary.failures {
                writeln!(self.out, "\n---- {label} ----")?;
                for line in why.lines() {
                    let line = match line.as_bytes() {
                        [b'-', ..] => self.paint(line, RED),
                        [b'+', ..] => self.paint(line, GREEN),
                        _ => line.to_owned(),
                    };
                    writeln!(self.out, "{line}")?;
                }
            }
            writeln!(self.out, "\nfailures:")?;
            for (label, _) in &summary.failures {
                writeln!(self.out, "    {label}")?;
            }
        }
        let Summary {
            passed,
            failed,
            ignored,
            broken,
            differences,
            ..
        } = summary;
        if self.options.list && *broken == 0 && !summary.nothing_ran() {
            writeln!(self.out, "\n{passed} tests")?;
            return Ok(());
        }
        let end = if summary.exit_code() == 0 {
            self.paint("ok", GREEN)
        } else {
            self.paint("FAILED", RED)
        };
        let broken = if *broken > 0 {
            format!("; {broken} could not be run")
        } else {
            String::new()
        };
        let differences = match differences {
            0 => String::new(),
            1 => "; 1 known difference between the engines".to_owned(),
            more => format!("; {more} known differences between the engines"),
        };
        let early = if stopped { "; stopped early" } else { "" };
        let seconds = summary.duration.as_secs_f64();
        writeln!(
            self.out,
            "\ntest result: {end}. {passed} passed; {failed} failed; {ignored} ignored{broken}{differences}{early}; finished in {seconds:.2}s\n"
        )?;
        Ok(())
    }

    /// See [`Format::Json`].
    fn json(&self, summary: &Summary, stopped: bool) -> Value {
        let tests = self.tests.iter().map(|test| {
            let status = match test.verdict {
                _ if self.options.list => "listed",
                Verdict::Ok => "ok",
                Verdict::Ignored => "ignored",
                Verdict::Failed(_) => "failed",
            };
            let mut json = json!({
                "file": test.path,
                "line": test.line,
                "column": test.column,
                "case": test.case,
                "engine": test.engine,
                "modules": test.modules,
                "delivery": test.delivery,
                "status": status,
                "seconds": test.time.as_secs_f64(),
            });
            if let (Verdict::Failed(why), Some(members)) = (&test.verdict, json.as_object_mut()) {
                members.insert("message".to_owned(), why.clone().into());
            }
            json
        });
        let problems = self.broken.iter().flat_map(|broken| {
            let placed = broken.problems.iter().map(|problem| {
                json!({
                    "what": broken.what,
                    "file": problem.file,
                    "line": problem.line,
                    "column": problem.column,
                    "message": problem.what,
                })
            });
            let bare = json!({"what": broken.what, "file": broken.path, "message": broken.why});
            placed
                .chain(broken.problems.is_empty().then_some(bare))
                .collect::<Vec<_>>()
        });
        json!({
            "passed": summary.passed,
            "failed": summary.failed,
            "ignored": summary.ignored,
            "broken": summary.broken,
            "known_differences": summary.differences,
            "stopped": stopped,
            "seconds": summary.duration.as_secs_f64(),
            "tests": tests.collect::<Vec<_>>(),
            "problems": problems.collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }

    /// GitHub's workflow commands, one for each failure and problem.
    fn annotations(&self) -> String {
        let mut out = String::new();
        let mut add = |path: &Path, line: u64, column: u64, title: &str, message: &str| {
            let path = property(&path.display().to_string());
            let (title, message) = (property(title), data(message));
            let _ = writeln!(
                out,
                "::error file={path},line={line},col={column},title={title}::{message}"
            );
        };
        for test in &self.tests {
            if let Verdict::Failed(why) = &test.verdict {
                add(&test.path, test.line, test.column, &test.label, why);
            }
        }
        for broken in &self.broken {
            for problem in &broken.problems {
                add(&problem.file, problem.line, problem.column, &broken.what, &problem.what);
            }
            if broken.problems.is_empty() {
                add(&broken.path, 1, 1, &broken.what, &broken.why);
            }
        }
        out
    }

    /// The run as JUnit XML, in the form that CI systems read: one `testsuite` a file.
    pub(crate) fn junit(&self) -> String {
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
        let mut files: Vec<&str> = self.tests.iter().map(|test| test.file.as_str()).collect();
        files.sort_unstable();
        files.dedup();
        for file in files {
            let tests: Vec<&Test> = self.tests.iter().filter(|test| test.file == file).collect();
            let count = |which: fn(&Verdict) -> bool| tests.iter().filter(|test| which(&test.verdict)).count();
            let _ = writeln!(
                out,
                "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\" errors=\"0\">",
                xml(file),
                tests.len(),
                count(|verdict| matches!(verdict, Verdict::Failed(_))),
                count(|verdict| matches!(verdict, Verdict::Ignored)),
            );
            for test in tests {
                let name = test.label.strip_prefix(&format!("{file}::")).unwrap_or(&test.label);
                let _ = write!(
                    out,
                    "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"",
                    xml(file),
                    xml(name),
                    test.time.as_secs_f64()
                );
                let _ = match &test.verdict {
                    Verdict::Ok => writeln!(out, "/>"),
                    Verdict::Ignored => writeln!(out, "><skipped/></testcase>"),
                    Verdict::Failed(why) => {
                        writeln!(out, "><failure>{}</failure></testcase>", xml(why))
                    }
                };
            }
            out.push_str("  </testsuite>\n");
        }
        if !self.broken.is_empty() {
            let count = self.broken.len();
            let _ = writeln!(
                out,
                "  <testsuite name=\"could not be run\" tests=\"{count}\" failures=\"0\" errors=\"{count}\">"
            );
            for Broken { what, why, .. } in &self.broken {
                let _ = writeln!(
                    out,
                    "    <testcase classname=\"broken\" name=\"{}\"><error>{}</error></testcase>",
                    xml(what),
                    xml(why)
                );
            }
            out.push_str("  </testsuite>\n");
        }
        out.push_str("</testsuites>\n");
        out
    }

    fn paint(&self, text: &str, code: &str) -> String {
        if self.options.color {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Goes to the line's beginning and empties it.
const CLEAR: &str = "\r\x1b[K";

/// A message of a workflow command, as GitHub's toolkit escapes it.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";

fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML 1.0 has no way to write the other control characters.
            '\t' | '\n' => out.push(character),
            control if control.is_control() => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}
/// A word that nobody can guess who wrote a test.
fn stop_token() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    format!("scrim-{:016x}", RandomState::new().hash_one(std::process::id()))
}
