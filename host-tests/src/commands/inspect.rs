//! `scrim inspect`

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

#[derive(Args)]
pub(crate) struct Inspect {
    /// The module
    module: PathBuf,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub(crate) fn run(&self) -> anyhow::Result<u8> {
        let place = || format!("`{}`", self.module.display());
        let bytes =
            std::fs::read(&self.module).with_context(|| format!("{} can't be read; check the path", place()))?;
        let report = scrim::inspect::inspect(&bytes).with_context(place)?;
        if self.json {
            writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&report)?)?;
        } else {
            writeln!(std::io::stdout(), "{}\n{report}", self.module.display())?;
        }
        Ok(u8::from(report.refused() || report.abi_version.is_none()))
    }
}
