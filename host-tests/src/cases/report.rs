//! What a run prints, in the manner of `cargo test`, and its JUnit form.

use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;

use anyhow::Result;

use super::Summary;

/// One test's end.
pub(crate) struct Test {
    pub(crate) file: String,
    pub(crate) label: String,
    pub(crate) verdict: Verdict,
    pub(crate) time: Duration,
}

pub(crate) enum Verdict {
    Ok,
    Ignored,
    Failed(String),
}

pub(crate) struct Report<'a> {
    out: &'a mut dyn Write,
    color: bool,
    tests: Vec<Test>,
    broken: Vec<(String, String)>,
    /// Cases in which the engines are known to differ.
    pub(super) differences: usize,
}

impl<'a> Report<'a> {
    pub(crate) fn new(out: &'a mut dyn Write, color: bool) -> Self {
        Self {
            out,
            color,
            tests: Vec::new(),
            broken: Vec::new(),
            differences: 0,
        }
    }

    pub(crate) fn begin(&mut self, files: usize, engines: &[&str]) -> Result<()> {
        let plural = if files == 1 { "" } else { "s" };
        writeln!(
            self.out,
            "\nrunning {files} case file{plural} on {}",
            engines.join(" and ")
        )?;
        Ok(())
    }

    pub(crate) fn test(&mut self, test: Test) -> Result<()> {
        let end = match test.verdict {
            Verdict::Ok => self.paint("ok", GREEN),
            Verdict::Ignored => self.paint("ignored", YELLOW),
            Verdict::Failed(_) => self.paint("FAILED", RED),
        };
        writeln!(self.out, "test {} ... {end}", test.label)?;
        self.tests.push(test);
        Ok(())
    }

    /// Something that could not be run at all.
    pub(crate) fn broken(&mut self, what: &str, why: &str) -> Result<()> {
        let end = self.paint("BROKEN", RED);
        writeln!(self.out, "test {what} ... {end}")?;
        self.broken.push((what.to_owned(), why.to_owned()));
        Ok(())
    }

    pub(crate) fn finish(&mut self, duration: Duration) -> Result<Summary> {
        let mut summary = Summary {
            duration,
            broken: self.broken.len(),
            differences: self.differences,
            failures: self.broken.clone(),
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
        let end = if summary.exit_code() == 0 {
            self.paint("ok", GREEN)
        } else {
            self.paint("FAILED", RED)
        };
        let Summary {
            passed,
            failed,
            ignored,
            broken,
            differences,
            ..
        } = &summary;
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
        let seconds = summary.duration.as_secs_f64();
        writeln!(
            self.out,
            "\ntest result: {end}. {passed} passed; {failed} failed; {ignored} ignored{broken}{differences}; finished in {seconds:.2}s\n"
        )?;
        self.out.flush()?;
        Ok(summary)
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
            for (what, why) in &self.broken {
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
        if self.color {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
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
