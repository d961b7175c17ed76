//! `scrim test`

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _, stdout};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

use scrim::cases::{Delivery, Format, Options, Runner, watch};
use scrim::coverage::{self, Coverage};
use scrim::envoy::Envoy;
use scrim::exchange::Engine;
use scrim::line_coverage::LineCoverage;
use scrim::mutate::run::near;
use scrim::policy_file::PolicyFile;
use scrim::recording::Recording;
use scrim::textproto;
use scrim::wasm::{Semantics, Wasmtime};

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
    /// How bodies are cut, instead of what the files say: `bytes`, `requests=chunks=3`, .., or `all`; may be repeated
    #[arg(long, value_name = "HOW", value_parser = Delivery::parse_all)]
    deliver: Vec<Vec<Delivery>>,
    /// How many gateways run beside each other [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Stop at the first failure
    #[arg(long)]
    fail_fast: bool,
    /// Only list the tests
    #[arg(long)]
    list: bool,
    /// In what form to tell [default: human; github where GITHUB_ACTIONS=true]
    #[arg(long, value_enum)]
    format: Option<Form>,
    /// Print one JSON document, as `--format json`
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Write a JUnit report
    #[arg(long, value_name = "FILE", conflicts_with = "list")]
    junit: Option<PathBuf>,
    /// Count which source lines of the modules are run, and write an lcov tracefile; modules need line tables for it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["list", "watch"])]
    lcov: Option<PathBuf>,
    /// With --lcov, also files of libraries and files that are not on this machine
    #[arg(long, requires = "lcov")]
    lcov_all: bool,
    /// Write snapshots instead of comparing them, and remove unused ones
    #[arg(long)]
    bless: bool,
    /// Run again whenever a file beside the cases, a policy or a module changes, until Ctrl-C
    #[arg(long, conflicts_with = "list")]
    watch: bool,
    /// Whose rules the embedded engine goes by where Envoy differs from the ABI's text
    #[arg(long, value_enum, default_value_t = Rules::Envoy)]
    semantics: Rules,
    /// Say behind the results which parts of the policy files no case came by
    #[arg(long, conflicts_with_all = ["list", "watch", "json", "format"])]
    coverage: bool,
    /// The plugin that text-format test files (`*.textpb`) test, instead of their `env.wasm_path`
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// The plugin's configuration, instead of their `env.config_path`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Rules {
    /// Envoy's, as modules will meet them
    Envoy,
    /// The text's, as other hosts may have them
    Spec,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    /// As `cargo test` does
    Human,
    /// That, and annotations for GitHub Actions
    Github,
    /// One JSON document
    Json,
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
        if self.paths.iter().any(|path| textproto::is_textproto(path)) {
            return self.run_textproto();
        }
        if self.module.is_some() || self.config.is_some() {
            bail!("`--module` and `--config` are for `.textpb` files; a case file names its modules under `filters`");
        }
        let semantics = match self.semantics {
            Rules::Envoy => Semantics::Envoy,
            Rules::Spec if matches!(self.engine, Engines::Wasmtime) => Semantics::Spec,
            Rules::Spec => {
                bail!("`--semantics spec` needs `--engine wasmtime`: a real Envoy has its own rules and no others")
            }
        };
        if self.lcov.is_some() && matches!(self.engine, Engines::Envoy) {
            bail!("lines can't be counted in Envoy; use `--engine wasmtime` or `both`");
        }
        let lines = self.lcov.as_ref().map(|_| Arc::new(LineCoverage::default()));
        let mut engines: Vec<Box<dyn Engine + Sync>> = Vec::new();
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
        // The policy files, with the environments in which they are compiled.
        let policies: Mutex<BTreeMap<PathBuf, BTreeMap<String, String>>> = Mutex::default();
        let recordings: Vec<_> = engines
            .iter()
            .map(|engine| Recording::new(&**engine, coverage::record))
            .collect();
        let records: Vec<_> = recordings.iter().map(Recording::kept).collect();
        let engines: Vec<Box<dyn Engine + Sync + '_>> = if self.coverage {
            recordings
                .into_iter()
                .map(|recording| Box::new(recording) as Box<dyn Engine + Sync>)
                .collect()
        } else {
            engines
                .iter()
                .map(|engine| Box::new(&**engine) as Box<dyn Engine + Sync>)
                .collect()
        };
        let runner = Runner {
            engines,
            compile: Box::new(|source| {
                let file = source.file.canonicalize().unwrap_or_else(|_| source.file.clone());
                let mut policies = policies.lock().unwrap_or_else(PoisonError::into_inner);
                policies.entry(file).or_default().extend(source.environment.clone());
                drop(policies);
                scrim::gateway::compile_cases(source, &folder)
            }),
        };
        let format = form(self.format, self.json);
        let is_terminal = stdout().is_terminal();
        let mut options = Options {
            filter: self.filter,
            deliver: (!self.deliver.is_empty()).then(|| self.deliver.concat()),
            junit: self.junit,
            bless: self.bless,
            color: is_terminal && std::env::var_os("NO_COLOR").is_none(),
            jobs: self.jobs.map(usize::from),
            fail_fast: self.fail_fast,
            list: self.list,
            format,
            progress: is_terminal && format != Format::Json && !self.list,
            stop: None,
        };
        if self.watch {
            let stop = Arc::new(AtomicBool::new(false));
            options.stop = Some(Arc::clone(&stop));
            on_interrupt(&stop)?;
            watch(&runner, &self.paths, &options, &stop, &mut stdout().lock())?;
            return Ok(0);
        }
        let summary = runner.run(&self.paths, &options, &mut stdout().lock())?;
        drop(runner);
        if self.coverage {
            let records: Vec<_> = records
                .iter()
                .flat_map(|kept| std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner)))
                .flatten()
                .collect();
            let policies = policies.into_inner().unwrap_or_else(PoisonError::into_inner);
            if policies.is_empty() {
                writeln!(
                    stdout(),
                    "coverage is of policy files, and no case file names a `policy`"
                )?;
            }
            for (file, environment) in policies {
                // One that can't be read or compiled was told of above.
                let Ok(policy) = PolicyFile::read(&near(&file)) else {
                    continue;
                };
                let covered = Coverage::of(&policy, &|name| environment.get(name).cloned(), &records);
                if let Some(covered) = covered {
                    write!(stdout(), "{covered}")?;
                }
            }
        }
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
        let others = [
            (self.list, "--list"),
            (self.watch, "--watch"),
            (self.coverage, "--coverage"),
            (self.fail_fast, "--fail-fast"),
            (self.jobs.is_some(), "--jobs"),
            (matches!(self.semantics, Rules::Spec), "--semantics"),
        ];
        if let Some((_, name)) = others.iter().find(|(given, _)| *given) {
            bail!("`{name}` is not for text-format test files: leave it away");
        }
        let format = form(self.format, self.json);
        let plugin = textproto::Plugin {
            module: self.module,
            configuration: self.config,
        };
        let options = Options {
            filter: self.filter,
            junit: self.junit,
            color: stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
            format,
            ..Options::default()
        };
        let summary = textproto::run(&self.paths, &plugin, &options, &mut stdout().lock())?;
        Ok(summary.exit_code())
    }
}

fn form(wanted: Option<Form>, json: bool) -> Format {
    let on_actions = std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true");
    match wanted {
        _ if json => Format::Json,
        Some(Form::Json) => Format::Json,
        Some(Form::Human) => Format::Human,
        Some(Form::Github) => Format::Github,
        None if on_actions => Format::Github,
        None => Format::Human,
    }
}

/// Sets the flag when the user or a supervisor wants an end.
fn on_interrupt(stop: &Arc<AtomicBool>) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stop = Arc::clone(stop);
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        stop.store(true, Ordering::Relaxed);
    })?;
    Ok(())
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
