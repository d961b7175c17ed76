//! `scrim bench`

use std::io::{Write as _, stderr, stdout};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;

use scrim::bench::{Detail, Limits, Measured, Options, compare, measure, missing};
use scrim::cases::{Runner, discover};

#[derive(Args)]
#[command(after_help = "\
Fuel is about one a WebAssembly instruction, and the same in every run. Times are those of all callbacks of one request.
Exit codes: 0 all is well, 1 something is over the baseline, 2 a file could not be measured.")]
pub(crate) struct Bench {
    /// Case files, or folders that are searched for them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Requests over which time is taken, for each case; 0: none
    #[arg(long, value_name = "N", default_value_t = 50)]
    runs: u64,
    /// Streams over which leaks are looked for, for each file; 0: none
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    streams: u64,
    /// Show the fuel of each filter's callbacks too
    #[arg(long)]
    callbacks: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Write what was measured, as a baseline for later
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Compare with what was saved
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// How far fuel, memory and leaks may be over the baseline
    #[arg(long, value_name = "PERCENT", default_value = "2%", value_parser = percent, requires = "baseline")]
    fail_over: f64,
    /// How far the median of times may be over the baseline [default: time is not compared]
    #[arg(long, value_name = "PERCENT", value_parser = percent, requires = "baseline")]
    fail_over_time: Option<f64>,
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    let parsed = number
        .parse::<f64>()
        .ok()
        .filter(|percent| percent.is_finite() && *percent >= 0.0);
    parsed.ok_or_else(|| format!("`{text}` is no share, write it as `2%`"))
}

impl Bench {
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        // Before an hour is measured for nothing.
        let baseline = self.baseline.as_ref().map(read).transpose()?;
        let files = discover(&self.paths)?;
        if files.is_empty() {
            bail!("no case files there: they are named `*.cases.yaml` or lie in a folder `cases`");
        }
        let folder = scrim::modules::default_folder()?;
        let runner = Runner {
            engines: Vec::new(),
            compile: Box::new(move |source| scrim::gateway::compile_cases(source, &folder)),
        };
        let filtered = self.filter.is_some();
        let options = Options {
            runs: self.runs,
            streams: self.streams,
            filter: self.filter,
        };
        let (measured, broken) = measure(&files, &runner, &options)?;
        if measured.files.is_empty() && broken.is_empty() {
            bail!("no case has a name with that text: look at `scrim test` for their names");
        }
        if self.json {
            writeln!(stdout(), "{}", serde_json::to_string_pretty(&measured)?)?;
        } else {
            let detail = if self.callbacks {
                Detail::Callbacks
            } else {
                Detail::Cases
            };
            write!(stdout(), "{}", measured.table(detail))?;
        }
        for (file, why) in &broken {
            writeln!(stderr(), "error: {}: {why}", file.display())?;
        }
        if let Some(file) = &self.save {
            if !broken.is_empty() {
                bail!(
                    "the baseline was not written: {} of the files could not be measured",
                    broken.len()
                );
            }
            std::fs::write(file, serde_json::to_string_pretty(&measured)? + "\n")
                .with_context(|| format!("cannot write `{}`", file.display()))?;
        }
        let limits = Limits {
            exact: self.fail_over,
            time: self.fail_over_time,
        };
        let mut over = Vec::new();
        if let Some(baseline) = baseline {
            let common = measured.files.keys().any(|name| baseline.files.contains_key(name));
            if !common && broken.is_empty() {
                bail!("nothing that was measured is in the baseline: write it from the same files with `--save`");
            }
            if !filtered {
                for place in missing(&measured, &baseline) {
                    writeln!(stderr(), "warning: in the baseline and not measured: {place}")?;
                }
            }
            over = compare(&measured, &baseline, limits);
        }
        for over in &over {
            let more = match over.was {
                0 => String::new(),
                was => format!(", {:+.1}%", (over.is - was) as f64 / was as f64 * 100.0),
            };
            writeln!(
                stderr(),
                "over the baseline: {}: {} was {}, is {}{more}",
                over.place,
                over.what,
                over.was,
                over.is
            )?;
        }
        Ok(match (broken.is_empty(), over.is_empty()) {
            (true, true) => 0,
            (true, false) => 1,
            (false, _) => 2,
        })
    }
}

fn read(file: &PathBuf) -> anyhow::Result<Measured> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read the baseline `{}`", file.display()))?;
    let measured: Measured = serde_json::from_str(&text)
        .with_context(|| format!("`{}` is no baseline: write one with `--save`", file.display()))?;
    if measured.version != 1 {
        bail!(
            "the baseline `{}` has version {}, which this `scrim` does not know: write it anew with `--save`",
            file.display(),
            measured.version
        );
    }
    Ok(measured)
}
