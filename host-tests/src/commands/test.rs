//! `scrim test`

use std::io::{IsTerminal as _, stdout};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

use scrim::cases::{Delivery, Options, Runner};
use scrim::envoy::Envoy;
use scrim::exchange::Engine;
use scrim::line_coverage::LineCoverage;
use scrim::textproto;
use scrim::wasm::{Semantics, Wasmtime};

#[derive(Args)]
#[command(after_help = "\
In a folder, `*.cases.yaml` and the YAML files of folders named `cases` are case files.
A `.textpb`, `.textproto`, `.txtpb` or `.pbtxt` file is one of Google's service-extensions plugins: name the plugin with --module.
Exit codes: 0 all passed, 1 a case failed, 2 a file or an engine could not be run.")]
pub(crate) struct Test {
    /// Case files, or folders that are searched for them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// What runs them; with `both`, their outcomes are compared
    #[arg(long, value_enum, default_value_t = Engines::Wasmtime)]
    engine: Engines,
    /// Whose rules hold where Envoy differs from the ABI's text
    #[arg(long, value_enum, default_value_t = Rules::Envoy)]
    semantics: Rules,
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
    /// The plugin that text-format test files (`*.textpb`) test, instead of their `env.wasm_path`
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// The plugin's configuration, instead of their `env.config_path`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
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

#[derive(Clone, Copy, ValueEnum)]
enum Rules {
    /// Envoy's, as modules will meet them
    Envoy,
    /// The text's, as other hosts may have them
    Spec,
}

impl Test {
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        if self.paths.iter().any(|path| textproto::is_textproto(path)) {
            return self.run_textproto();
        }
        if self.module.is_some() || self.config.is_some() {
            bail!("`--module` and `--config` are for `.textpb` files; a case file names its modules under `filters`");
        }
        let semantics = match self.semantics {
            Rules::Envoy => Semantics::Envoy,
            Rules::Spec if matches!(self.engine, Engines::Wasmtime) => Semantics::Spec,
            Rules::Spec => anyhow::bail!(
                "`--semantics spec` needs `--engine wasmtime`: a real Envoy has its own rules and no others"
            ),
        };
        if self.lcov.is_some() && matches!(self.engine, Engines::Envoy) {
            bail!("lines can't be counted in Envoy; use `--engine wasmtime` or `both`");
        }
        let lines = self.lcov.as_ref().map(|_| Arc::new(LineCoverage::default()));
        let mut engines: Vec<Box<dyn Engine>> = Vec::new();
        if !matches!(self.engine, Engines::Envoy) {
            let mut engine = Wasmtime::builder().semantics(semantics);
            if let Some(lines) = &lines {
                engine = engine.line_coverage(Arc::clone(lines));
            }
            engines.push(Box::new(engine.build()?));
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

    /// Test files of Google's service-extensions plugins.
    fn run_textproto(self) -> anyhow::Result<u8> {
        if let Some(path) = self.paths.iter().find(|path| !textproto::is_textproto(path)) {
            bail!(
                "`{}` is no text-format test file: run it apart from them",
                path.display()
            );
        }
        if !matches!(self.engine, Engines::Wasmtime) || !self.deliver.is_empty() || self.bless || self.lcov.is_some() {
            bail!(
                "text-format tests call one callback at a time, on the embedded engine: leave `--engine`, `--deliver`, `--lcov` and `--bless` away"
            );
        }
        let plugin = textproto::Plugin {
            module: self.module,
            configuration: self.config,
        };
        let options = Options {
            filter: self.filter,
            junit: self.junit,
            color: stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
            ..Options::default()
        };
        let summary = textproto::run(&self.paths, &plugin, &options, &mut stdout().lock())?;
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
