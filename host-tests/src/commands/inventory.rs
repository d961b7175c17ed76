//! `scrim inventory`

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;

use scrim::inventory::Recorded;

#[derive(Args)]
#[command(after_help = "\
Prints a draft of a policy file: each field that was seen, on a line of its own, marked `PHI`, `sensitive` or `other` by its name and by what its
values look like. What is marked `other` stays, all else is commented out and so goes; a person has to decide. No value is printed.

Examples:
  scrim inventory recorded/                    a folder of JSON, NDJSON and HAR files
  scrim inventory session.har > draft.yaml     a browser's or proxy's recording
  scrim inventory --json recorded/             the fields, with how often they came

Exit codes: 0 all was read, 1 something was passed over, which is told on standard error.")]
pub(crate) struct Inventory {
    /// HAR files, files of JSON, NDJSON or a JSON text sequence, or folders of such
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Print the fields as JSON
    #[arg(long)]
    json: bool,
}

impl Inventory {
    pub(crate) fn run(&self) -> anyhow::Result<u8> {
        let recorded = Recorded::read(&self.paths);
        let mut out = std::io::stdout();
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&recorded.to_json())?)?;
        } else {
            write!(out, "{}", recorded.draft())?;
        }
        for skipped in &recorded.skipped {
            eprintln!("passed over: {skipped}");
        }
        Ok(u8::from(!recorded.skipped.is_empty() || recorded.bodies == 0))
    }
}
