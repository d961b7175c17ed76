//! `scrim test`

use std::io::{IsTerminal as _, stdout};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use scrim::cases::{Delivery, Options, Runner};
use scrim::envoy::Envoy;
use scrim::exchange::Engine;
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

#[derive(Clone, Copy, ValueEnum)]
enum Rules {
    /// Envoy's, as modules will meet them
    Envoy,
    /// The text's, as other hosts may have them
    Spec,
}

impl Test {
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        let semantics = match self.semantics {
            Rules::Envoy => Semantics::Envoy,
            Rules::Spec if matches!(self.engine, Engines::Wasmtime) => Semantics::Spec,
            Rules::Spec => anyhow::bail!(
                "`--semantics spec` needs `--engine wasmtime`: a real Envoy has its own rules and no others"
            ),
        };
        let mut engines: Vec<Box<dyn Engine>> = Vec::new();
        if !matches!(self.engine, Engines::Envoy) {
            engines.push(Box::new(Wasmtime::builder().semantics(semantics).build()?));
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
        Ok(summary.exit_code())
    }
}
