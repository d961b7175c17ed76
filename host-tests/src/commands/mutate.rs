//! `scrim mutate`

use std::io::{IsTerminal as _, Write as _, stderr, stdout};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

use scrim::mutate::run::{Fate, Judged, Plan, count, run};
use scrim::wasm::Wasmtime;

#[derive(Args)]
#[command(after_help = "\
Of each policy that the case files name, one rule at a time is taken away or weakened, and the cases run. A mutant that no
case catches is a rule that nobody would miss: write the case, or take the rule away. Some mutants mean the same as the file.

  unexercised   no case comes by the rule
  unasserted    a case comes by it, and something else came out, but no expectation says so

Exit codes: 0 all mutants were caught, 1 some were not, 2 it could not be run (also when a case fails without any mutant).")]
pub(crate) struct Mutate {
    /// Case files, or folders that are searched for them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Only rules whose name contains this, such as `policies.clinician.phi_url`
    #[arg(long, value_name = "TEXT")]
    rule: Option<String>,
    /// How many mutants are tried at a time [default: one a processor]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Print all mutants as JSON
    #[arg(long)]
    json: bool,
}

impl Mutate {
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        let plan = Plan {
            paths: self.paths,
            rule: self.rule,
            jobs: self
                .jobs
                .or_else(|| std::thread::available_parallelism().ok())
                .map_or(1, NonZeroUsize::get),
            modules: scrim::modules::default_folder()?,
        };
        let terminal = stderr().is_terminal();
        let progress = |_: &Judged, done: usize, all: usize| {
            if terminal {
                // A terminal that is gone is nobody's progress.
                let _ = write!(
                    stderr(),
                    "\r{done} of {all} mutants{}",
                    if done == all { "\n" } else { "" }
                );
            }
        };
        let judged = run(&plan, &Wasmtime::new()?, &progress)?;
        let [caught, unasserted, unexercised] = count(&judged);
        let mut out = stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&judged)?)?;
        } else {
            for one in &judged {
                let fate = match one.fate {
                    Fate::Caught { .. } => continue,
                    Fate::Unasserted => "unasserted",
                    Fate::Unexercised => "unexercised",
                };
                writeln!(
                    out,
                    "{}:{}:{}: {fate}: `{}` {}",
                    one.file.display(),
                    one.line,
                    one.column,
                    one.rule,
                    one.change
                )?;
            }
            let all = judged.len();
            writeln!(
                out,
                "{all} mutants: {caught} caught, {unasserted} unasserted, {unexercised} unexercised"
            )?;
        }
        Ok(u8::from(unasserted + unexercised > 0))
    }
}
