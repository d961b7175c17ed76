//! `scrim explain`

use std::io::Write as _;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};

use scrim::policy_file::PolicyFile;
use scrim_policy::audit::Timestamp;
use scrim_policy::chain::{
    CACHE_CONTROL, OAUTH_SCOPE, Opening, PHI_URL, RESPONSE_TRIM, RequestFacts, Stream, Vault, Verdict,
};
use scrim_policy::compile::{Compiled, Policy};
use scrim_policy::head::{Edit, RequestHead};
use scrim_policy::policy_file::TlsVersion;
use scrim_policy::route::{Facts, Governs};
use scrim_policy::sender::Connection;
use scrim_policy::url::Target;

#[derive(Args)]
#[command(after_help = "\
Examples:
  scrim explain policy.yaml GET /fhir/Patient/1
  scrim explain policy.yaml GET 'https://api.example.org/fhir/Patient?name=x' --header 'Authorization: Bearer ...'
  scrim explain policy.yaml GET / --route-metadata clinician

Where a key's environment variable is not set, a stand-in key makes the pseudonyms.")]
pub(crate) struct Explain {
    /// The policy file
    policy: PathBuf,
    /// The request's method
    method: String,
    /// A path, or a whole URL whose host then counts
    url: String,
    /// A header line of the request, `Name: value`; may be repeated
    #[arg(long, value_name = "LINE")]
    header: Vec<String>,
    /// The policy that the proxy's route metadata names
    #[arg(long, value_name = "NAME")]
    route_metadata: Option<String>,
    /// The policy that the proxy's virtual host metadata names
    #[arg(long, value_name = "NAME")]
    virtual_host_metadata: Option<String>,
    /// The proxy's own name of the route
    #[arg(long, value_name = "NAME")]
    route_name: Option<String>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// What one filter would do.
struct Step {
    filter: &'static str,
    demands: String,
    does: String,
    denies: bool,
}

impl Explain {
    pub(crate) fn run(&self) -> anyhow::Result<u8> {
        let file = match PolicyFile::read(&self.policy) {
            Ok(file) => file,
            Err(diagnostics) => {
                eprintln!("{diagnostics}");
                return Ok(1);
            }
        };
        let (compiled, diagnostics) = match file.compile(&|name| std::env::var(name).ok()) {
            (Some(compiled), diagnostics) => (Some(compiled), diagnostics),
            (None, _) => file.check(),
        };
        let Some(compiled) = compiled else {
            eprintln!("{diagnostics}");
            return Ok(1);
        };
        let compiled = Rc::new(compiled);
        let (head, target) = self.request()?;
        let mut report = json!({"method": self.method});
        let mut lines = Vec::new();
        let mut steps = Vec::new();
        match Target::parse(&target) {
            Err(ambiguity) => {
                let does = format!("answers 400 ambiguous_url ({})", ambiguity.code());
                report["decision"] = json!({"decision": "deny", "denied_by": "route", "does": does});
                lines.push(format!(
                    "refused with 400 before any policy: the URL can be read in more than one way ({})",
                    ambiguity.code()
                ));
            }
            Ok(parsed) => {
                let facts = Facts {
                    route_metadata: self.route_metadata.as_deref().map(str::as_bytes),
                    virtual_host_metadata: self.virtual_host_metadata.as_deref().map(str::as_bytes),
                    route_name: self.route_name.as_deref().map(str::as_bytes),
                    method: self.method.as_bytes(),
                    authority: head.authority(),
                    path: parsed.path(),
                };
                let (governs, why) = compiled.routes().choose(&facts);
                lines.push(format!("canonical path  {}", parsed.path()));
                report["canonical_path"] = json!(parsed.path());
                report["why"] = json!(why.to_string());
                let policy = match governs {
                    Governs::Policy(index) => compiled.policy(index),
                    _ => None,
                };
                let who = match (governs, policy) {
                    (_, Some(policy)) => format!("policy `{}`", policy.name()),
                    (Governs::Allow, _) => "no policy: the request passes as it is".to_owned(),
                    (Governs::Unknown, _) => "a policy that does not exist: the request is denied".to_owned(),
                    _ => "no policy: the request is denied".to_owned(),
                };
                lines.push(format!("governed by     {who}, because {}", because(&why.to_string())));
                report["policy"] = policy.map_or(Value::Null, |policy| json!(policy.name()));
                match policy {
                    Some(policy) => steps = self.steps(&compiled, policy, &head),
                    None => {
                        let (does, denies) = outcome(&mut self.open::<CACHE_CONTROL>(&compiled, &head).1);
                        let (decision, by) = if denies {
                            ("deny", Some("route"))
                        } else {
                            ("allow", None)
                        };
                        report["decision"] = json!({"decision": decision, "denied_by": by, "does": does});
                        lines.push(format!("so              {does}"));
                    }
                }
                lines.push(format!(
                    "log-safe path   {}",
                    self.open::<CACHE_CONTROL>(&compiled, &head)
                        .1
                        .log_safe
                        .unwrap_or_default()
                ));
            }
        }
        let denied = steps.iter().find(|step| step.denies);
        if self.json {
            report["filters"] = steps
                .iter()
                .map(|step| json!({"filter": step.filter, "demands": step.demands, "does": step.does}))
                .collect();
            if let Some(step) = denied {
                report["decision"] = json!({"decision": "deny", "denied_by": step.filter, "does": step.does});
            } else if !steps.is_empty() {
                report["decision"] = json!({"decision": "allow", "denied_by": null, "does": "the request goes on"});
            }
            writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&report)?)?;
            return Ok(0);
        }
        writeln!(std::io::stdout(), "{} {}", self.method, self.url)?;
        for line in lines {
            writeln!(std::io::stdout(), "  {line}")?;
        }
        for step in &steps {
            writeln!(
                std::io::stdout(),
                "  {:<15} {}\n  {:<15} -> {}",
                step.filter,
                step.demands,
                "",
                step.does
            )?;
        }
        match denied {
            Some(step) => writeln!(
                std::io::stdout(),
                "  so              {} refuses the request",
                step.filter
            )?,
            None if !steps.is_empty() => writeln!(std::io::stdout(), "  so              the request goes on")?,
            None => {}
        }
        Ok(0)
    }

    /// The head that a proxy would show the filters, and its target.
    fn request(&self) -> anyhow::Result<(RequestHead, Vec<u8>)> {
        let (authority, path) = match self.url.split_once("://") {
            Some((_, rest)) => {
                let cut = rest.find(['/', '?']).unwrap_or(rest.len());
                let (host, path) = rest.split_at(cut);
                (
                    host.to_owned(),
                    if path.starts_with('/') {
                        path.to_owned()
                    } else {
                        format!("/{path}")
                    },
                )
            }
            None => ("localhost".to_owned(), self.url.clone()),
        };
        let mut lines = vec![
            (":authority".to_owned(), authority.into_bytes()),
            (":path".to_owned(), path.clone().into_bytes()),
            (":method".to_owned(), self.method.clone().into_bytes()),
            (":scheme".to_owned(), b"https".to_vec()),
        ];
        for line in &self.header {
            let Some((name, value)) = line.split_once(':') else {
                bail!("`--header` takes `Name: value`, and one has no colon");
            };
            let name = match name.trim().to_ascii_lowercase() {
                host if host == "host" => {
                    lines.retain(|(name, _)| name != ":authority");
                    ":authority".to_owned()
                }
                name => name,
            };
            lines.push((name, value.trim().as_bytes().to_vec()));
        }
        Ok((RequestHead::new(lines), path.into_bytes()))
    }

    /// One filter alone over the request.
    fn open<const FILTER: u8>(&self, compiled: &Rc<Compiled>, head: &RequestHead) -> (RequestHead, Opening) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let facts = RequestFacts {
            now: Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)),
            route_metadata: self.route_metadata.clone().map(String::into_bytes),
            virtual_host_metadata: self.virtual_host_metadata.clone().map(String::into_bytes),
            route_name: self.route_name.clone().map(String::into_bytes),
            handover: None,
            body: None,
            body_too_large: false,
        };
        let mut head = head.clone();
        let mut vault = Vault {
            connection: Some(Rc::new(Demanded)),
            ..Vault::default()
        };
        let opening = Stream::<FILTER>::new(Rc::clone(compiled)).request_head(&mut head, &facts, &mut vault);
        (head, opening)
    }

    fn steps(&self, compiled: &Rc<Compiled>, policy: &Policy, head: &RequestHead) -> Vec<Step> {
        let absent = || "no such section: passes".to_owned();
        let mut steps = Vec::new();
        let mut step = |filter, demands: Option<String>, mut opening: Opening| {
            let (does, denies) = match demands {
                Some(_) => outcome(&mut opening),
                None => ("passes".to_owned(), false),
            };
            steps.push(Step {
                filter,
                demands: demands.unwrap_or_else(absent),
                does,
                denies,
            });
        };
        let oauth = policy.demands().map(|demands| format!("a valid token, with {demands}"));
        step("oauth-scope", oauth, self.open::<OAUTH_SCOPE>(compiled, head).1);
        let phi = policy.phi_url().map(|_| "no PHI in the URL".to_owned());
        step("phi-url", phi, self.open::<PHI_URL>(compiled, head).1);
        let cache = policy.cache_control().map(|cache| {
            let hsts = cache
                .hsts()
                .map(|value| format!(", strict-transport-security: {value}"))
                .unwrap_or_default();
            let tls = cache.tls().map(|tls| format!("; only {tls}")).unwrap_or_default();
            format!("responses of class {}{hsts}{tls}", cache.class().as_str())
        });
        step("cache-control", cache, self.open::<CACHE_CONTROL>(compiled, head).1);
        let trim = policy.response_trim().map(|trim| {
            if trim.observes() {
                return "nothing; it counts the fields of JSON bodies".to_owned();
            }
            format!(
                "JSON asked for, and its bodies through the first of {} view(s) that fits caller, status and type",
                trim.len()
            )
        });
        step("response-trim", trim, self.open::<RESPONSE_TRIM>(compiled, head).1);
        steps
    }
}

/// A connection that is all that `tls` can demand: what is explained is the request that came over such a one. It has no certificate that a token could be bound to.
struct Demanded;

impl Connection for Demanded {
    fn peer_certificate_digest(&self) -> Option<Vec<u8>> {
        None
    }

    fn peer_uri(&self) -> Option<Vec<u8>> {
        None
    }

    fn tls_version(&self) -> Option<Vec<u8>> {
        Some(TlsVersion::V13.as_str().into())
    }

    fn has_peer_certificate(&self) -> Option<bool> {
        Some(true)
    }
}

fn because(why: &str) -> String {
    match why {
        "route_metadata" => "the proxy's route metadata names it".to_owned(),
        "virtual_host_metadata" => "the proxy's virtual host metadata names it".to_owned(),
        "default" => "no route matches and `default` says so".to_owned(),
        route => format!("{route} is the first that matches"),
    }
}

/// What the filter does, in words; header values of the request's own are not repeated.
fn outcome(opening: &mut Opening) -> (String, bool) {
    match &opening.verdict {
        Verdict::Deny(denial) => {
            let detail = denial
                .reason
                .detail()
                .map(|detail| format!(" ({detail})"))
                .unwrap_or_default();
            (
                format!("answers {} {}{detail}", denial.answer.status, denial.reason.code()),
                true,
            )
        }
        Verdict::AwaitBody => (
            "waits for the request's body, and judges it with that".to_owned(),
            false,
        ),
        Verdict::Reply(answer) => (format!("answers {} to the preflight", answer.status), true),
        Verdict::Continue(edits) | Verdict::Hold(edits) if edits.is_empty() => ("passes".to_owned(), false),
        Verdict::Continue(edits) | Verdict::Hold(edits) => {
            let told: Vec<String> = edits
                .iter()
                .map(|edit| match edit {
                    Edit::Set(line) => format!("sets {}: {}", line.name, String::from_utf8_lossy(&line.value)),
                    Edit::Remove(name) => format!("removes {name}"),
                })
                .collect();
            (told.join("; "), false)
        }
    }
}
