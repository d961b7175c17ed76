//! `scrim check`

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use scrim::policy_file::PolicyFile;
use scrim_policy::document::Severity;

#[derive(Args)]
#[command(
    after_help = "Secrets need not be there: a stand-in takes the place of every key.\nExit codes: 0 usable (there may be warnings), 1 not usable."
)]
pub(crate) struct Check {
    /// The policy file
    policy: PathBuf,
    /// Print the problems as a JSON array
    #[arg(long)]
    json: bool,
    /// Treat warnings as errors
    #[arg(long)]
    strict: bool,
}

impl Check {
    pub(crate) fn run(&self) -> anyhow::Result<u8> {
        let (digest, diagnostics) = match PolicyFile::read(&self.policy) {
            Ok(file) => {
                let (compiled, diagnostics) = file.check();
                (compiled.map(|compiled| compiled.digest().to_owned()), diagnostics)
            }
            Err(diagnostics) => (None, diagnostics),
        };
        if self.json {
            let list: Vec<_> = diagnostics
                .problems()
                .iter()
                .map(|problem| {
                    let severity = if problem.severity == Severity::Error { "error" } else { "warning" };
                    json!({"file": self.policy, "line": problem.span.line.max(1), "column": problem.span.column.max(1), "severity": severity, "message": problem.message})
                })
                .collect();
            writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&list)?)?;
        } else if !diagnostics.is_empty() {
            eprintln!("{diagnostics}");
        }
        let failed = digest.is_none() || (self.strict && !diagnostics.is_empty());
        if let Some(digest) = digest.filter(|_| !self.json && !failed) {
            writeln!(
                std::io::stdout(),
                "{}: ok, policy digest {digest}",
                self.policy.display()
            )?;
        }
        Ok(u8::from(failed))
    }
}
