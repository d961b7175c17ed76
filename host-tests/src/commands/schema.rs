//! `scrim schema`

use clap::{Args, ValueEnum};
use std::io::Write as _;

#[derive(Args)]
pub(crate) struct Schema {
    /// Of which kind of file
    #[arg(value_enum)]
    of: Kind,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// Policy files
    Policy,
    /// Case files
    Cases,
}

impl Schema {
    pub(crate) fn run(&self) -> anyhow::Result<u8> {
        let schema = match self.of {
            Kind::Policy => {
                scrim_policy::document::schema_of::<scrim_policy::policy_file::PolicyFile>("Scrim policy file")
            }
            Kind::Cases => serde_json::to_value(scrim::cases::Suite::schema())?,
        };
        writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&schema)?)?;
        Ok(0)
    }
}
