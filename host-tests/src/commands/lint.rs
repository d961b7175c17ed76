//! `scrim lint`

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value as Json, json};

use scrim::lint::{Finding, Options, Rule, lint};
use scrim::policy_file::PolicyFile;
use scrim_policy::document::{Severity, Span};

#[derive(Args)]
#[command(after_help = "\
A finding is `FILE:LINE:COL: error|warning: what; the mend [rule]`: an error leaks, a warning may, or was not looked into. `--rules` says why.

What stands after Scrim sees what the upstream gets: it is judged by the policy in the filter's configuration, or by `--policy`.
Envoy's own log level is not in such a file: at `debug` and below Envoy prints every request's head.

Examples:
  scrim lint envoy.yaml
  curl -s localhost:9901/config_dump | scrim lint -        what Envoy really runs, with what came by xDS
  scrim lint --allow edge --skip-listener metrics envoy.yaml

Exit codes: 0 no errors (there may be warnings), 1 errors.")]
pub(crate) struct Lint {
    /// Envoy bootstraps, listeners, HTTP connection managers, route configurations or config dumps; `-`: standard input
    #[arg(value_name = "ENVOY.yaml", required_unless_present = "rules")]
    files: Vec<PathBuf>,
    /// Print the findings as a JSON array
    #[arg(long)]
    json: bool,
    /// Treat warnings as errors
    #[arg(long)]
    deny_warnings: bool,
    /// The policy file, where the filter's configuration does not hold it
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// An HTTP filter that is Scrim's though it does not look so
    #[arg(long = "filter-name", value_name = "NAME")]
    filter_names: Vec<String>,
    /// A listener to leave out
    #[arg(long = "skip-listener", value_name = "NAME")]
    skip_listeners: Vec<String>,
    /// A rule to leave out
    #[arg(long, value_name = "RULE", value_parser = rule)]
    allow: Vec<Rule>,
    /// Print what each rule finds, why that leaks, and the mend
    #[arg(long)]
    rules: bool,
}

fn rule(code: &str) -> Result<Rule, String> {
    Rule::named(code).ok_or_else(|| format!("no rule is called `{code}`; `scrim lint --rules` lists them"))
}

impl Lint {
    pub(crate) fn run(&self) -> anyhow::Result<u8> {
        let mut out = std::io::stdout();
        if self.rules {
            if self.json {
                let list: Vec<_> = Rule::ALL
                    .iter()
                    .map(|rule| json!({"rule": rule.code(), "finds": rule.what(), "why": rule.why(), "mend": rule.mend()}))
                    .collect();
                writeln!(out, "{}", serde_json::to_string_pretty(&list)?)?;
            } else {
                write!(out, "{}", Rule::reference())?;
            }
            return Ok(0);
        }
        let options = Options {
            filter_names: self.filter_names.clone(),
            skip_listeners: self.skip_listeners.clone(),
            allow: self.allow.clone(),
            policy: match &self.policy {
                Some(path) => match policy(path) {
                    Ok(policy) => Some(policy),
                    Err(problems) => {
                        eprintln!("{problems}");
                        return Ok(1);
                    }
                },
                None => None,
            },
        };
        let mut failed = false;
        let mut list = Vec::new();
        for file in &self.files {
            let findings = match read(file) {
                Ok(text) => lint(&text, &options),
                Err(why) => vec![Finding {
                    rule: Rule::Unreadable,
                    severity: Severity::Error,
                    span: Span { line: 1, column: 1 },
                    message: format!("the file can't be read: {why}; check the path"),
                }],
            };
            failed |= findings
                .iter()
                .any(|finding| self.deny_warnings || finding.severity == Severity::Error);
            for finding in &findings {
                if self.json {
                    list.push(json!({
                        "file": file, "line": finding.span.line.max(1), "column": finding.span.column.max(1), "severity": finding.word(),
                        "rule": finding.rule.code(), "message": finding.message,
                    }));
                } else {
                    eprintln!("{}:{finding}", file.display());
                }
            }
            if !self.json && findings.is_empty() {
                writeln!(out, "{}: ok", file.display())?;
            }
        }
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&list)?)?;
        }
        Ok(u8::from(failed))
    }
}

fn read(file: &Path) -> std::io::Result<String> {
    if file != Path::new("-") {
        return fs::read_to_string(file);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// A policy file as the modules get it, or its problems.
fn policy(path: &Path) -> Result<Json, String> {
    let file = PolicyFile::read(path).map_err(|diagnostics| diagnostics.to_string())?;
    let (compiled, diagnostics) = file.check();
    match compiled {
        Some(_) => Ok(file.configuration(true)),
        None => Err(diagnostics.to_string()),
    }
}
