//! The `scrim` command line.
//!
//! Exit codes: 0 all is well; 1 what was asked for failed (a case, a check, a refused configuration); 2 it could not be run at all.

mod commands;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = commands::Cli::parse();
    match commands::run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // A reader that went away (`scrim .. | head`) is no failure of ours to talk about.
            if is_broken_pipe(&error) {
                return ExitCode::SUCCESS;
            }
            let (red, off) = if std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
                ("\x1b[1;31m", "\x1b[0m")
            } else {
                ("", "")
            };
            let _ = writeln!(std::io::stderr(), "{red}error{off}: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io =
        |cause: &(dyn std::error::Error + 'static)| cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    error
        .chain()
        .any(|cause| io(cause) == Some(std::io::ErrorKind::BrokenPipe))
}
