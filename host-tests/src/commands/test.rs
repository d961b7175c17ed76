//! `scrim test`

use std::io::{IsTerminal as _, stdout};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use scrim::cases::{Delivery, Options, Runner};
use scrim::envoy::Envoy;
use scrim::exchange::Engine;
use scrim::line_coverage::LineCoverage;
use scrim::wasm::Wasmtime;

#[derive(Args)]
#[command(after_help = "\
In a folder, `*.cases.yaml` and the YAML files of folders named `cases` are case files.
Exit codes: 0 all passed, 1 a case failed, 2 a file or an engine could not be run.")]
pub(crate) struct Test {
    /// Case files, or folders that are searched for them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// What runs them; with `both`, their outcomes are compared
    #[arg(long, value_enum, default_value_t = Engines::Wasmtime)]
    engine: Engines,
    /// Only tests whose name contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// How bodies are cut, instead of what the files say; may be repeated
    #[arg(long, value_name = "HOW", value_parser = Delivery::parse)]
    deliver: Vec<Delivery>,
    /// Write a JUnit report
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Count which source lines of the modules are run, and write an lcov tracefile; modules need line tables for it
    #[arg(long, value_name = "FILE")]
    lcov: Option<PathBuf>,
    /// With --lcov, also files of libraries and files that are not on this machine
    #[arg(long, requires = "lcov")]
    lcov_all: bool,
    /// Write snapshots instead of comparing them
    #[arg(long)]
    bless: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Engines {
    /// The embedded engine
    Wasmtime,
    /// A real Envoy
    Envoy,
    /// Both
    Both,
}

impl Test {
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        if self.lcov.is_some() && matches!(self.engine, Engines::Envoy) {
            anyhow::bail!("lines can't be counted in Envoy; use --engine wasmtime or both");
        }
        let lines = self.lcov.as_ref().map(|_| Arc::new(LineCoverage::default()));
        let mut engines: Vec<Box<dyn Engine>> = Vec::new();
        if !matches!(self.engine, Engines::Envoy) {
            let engine = match &lines {
                Some(lines) => Wasmtime::builder().line_coverage(Arc::clone(lines)).build()?,
                None => Wasmtime::new()?,
            };
            engines.push(Box::new(engine));
        }
        if !matches!(self.engine, Engines::Wasmtime) {
            engines.push(Box::new(Envoy::find()?));
        }
        let folder = scrim::modules::default_folder()?;
        let runner = Runner {
            engines,
            compile: Box::new(move |source| scrim::gateway::compile_cases(source, &folder)),
        };
        let options = Options {
            filter: self.filter,
            deliver: (!self.deliver.is_empty()).then_some(self.deliver),
            junit: self.junit,
            bless: self.bless,
            color: stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        };
        let summary = runner.run(&self.paths, &options, &mut stdout().lock())?;
        if let (Some(file), Some(lines)) = (&self.lcov, &lines) {
            write_lcov(file, lines, self.lcov_all)?;
        }
        Ok(summary.exit_code())
    }
}

/// Writes the tracefile, and tells on standard error what is in it: standard output is the report's.
fn write_lcov(file: &Path, lines: &LineCoverage, all: bool) -> anyhow::Result<()> {
    let mut report = lines.report();
    let left_out = if all { 0 } else { report.leave_out_foreign() };
    std::fs::write(file, report.to_string()).with_context(|| format!("cannot write `{}`", file.display()))?;
    let (hit, there) = report.lines();
    let files = report.files.len();
    eprint!(
        "{}: {hit} of {there} lines of {files} source files were run",
        file.display()
    );
    match left_out {
        0 => eprintln!(),
        left_out => {
            eprintln!("; {left_out} files of libraries or not on this machine are left out (--lcov-all keeps them)")
        }
    }
    Ok(())
}
