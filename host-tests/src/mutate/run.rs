//! Runs case files against mutants: who notices?
//!
//! 1. Case files are put together by the policy file that they name. Files without one are left out.
//! 2. They must pass as they are; else nothing is told of mutants.
//! 3. A mutant is **caught** when any case fails, or can't be run. It is **unasserted** when none fails though some outcome is another one than
//!    without it: a case comes by the rule and doesn't say what it does. It is **unexercised** when all outcomes stay the same.
//! 4. A mutant of a policy is tried with the files in which that policy governed something; any other mutant with all.
//! 5. Each body is delivered in one way, whole: how it is cut is another question.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, bail};
use regex::Regex;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Mutant, mutants};
use crate::cases::{self, Delivery, Options, PolicySource, Runner, Suite, Summary};
use crate::exchange::{Engine, Outcome};
use crate::gateway;
use crate::policy_file::PolicyFile;
use crate::recording::Recording;

/// What to try.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Case files, or folders that are searched for them.
    pub paths: Vec<PathBuf>,
    /// Only mutants whose rule contains this.
    pub rule: Option<String>,
    /// How many are tried at a time, at least 1.
    pub jobs: usize,
    /// Where the modules' files are put.
    pub modules: PathBuf,
}

/// What became of one mutant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// The policy file.
    pub file: PathBuf,
    /// The line of the rule, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
    /// The rule, from the file's root.
    pub rule: String,
    /// What was done to it.
    pub change: String,
    /// Who noticed.
    #[serde(flatten)]
    pub fate: Fate,
}

/// Whether cases notice a mutant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "fate", rename_all = "snake_case")]
pub enum Fate {
    /// A case fails.
    Caught {
        /// The first one.
        by: String,
    },
    /// No case fails, though something else came out.
    Unasserted,
    /// Nothing that cases do comes by that rule.
    Unexercised,
}

/// Tries all mutants of the policies that the case files name. `told` is called for each, with how many are done and how many there are.
///
/// # Errors
/// When there is no case file with a policy, when one can't be read, or when cases fail without any mutant: their names are told.
pub fn run(
    plan: &Plan,
    engine: &(dyn Engine + Sync),
    told: &(dyn Fn(&Judged, usize, usize) + Sync),
) -> anyhow::Result<Vec<Judged>> {
    let mut groups: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for file in cases::discover(&plan.paths)? {
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
        let suite = Suite::parse(&file, &text)?;
        if let Some(policy) = suite.policy {
            let policy = file.parent().unwrap_or(Path::new(".")).join(policy);
            let policy = policy.canonicalize().unwrap_or(policy);
            groups.entry(policy).or_default().push(file);
        }
    }
    if groups.is_empty() {
        bail!("no case file names a `policy`: mutants are made of policies");
    }
    let mut tasks = Vec::new();
    for (path, files) in groups {
        let policy = PolicyFile::read(&path).map_err(|told| anyhow::anyhow!("{told}"))?;
        let mut environment = BTreeMap::new();
        let mut baselines = Vec::new();
        for file in files {
            let (summary, seen) = try_file(plan, engine, &file, Trial::AsItIs(&mut environment))?;
            if let Some((name, why)) = summary.failures.first() {
                bail!("cases fail without any mutant, mend them first: {name}\n{why}");
            }
            baselines.push(Baseline::new(file, seen));
        }
        let baselines = std::sync::Arc::new(baselines);
        let secret = |name: &str| environment.get(name).cloned();
        for mutant in mutants(&policy, &secret) {
            if plan
                .rule
                .as_ref()
                .is_none_or(|part| mutant.rule.contains(part.as_str()))
            {
                tasks.push((mutant, std::sync::Arc::clone(&baselines)));
            }
        }
    }
    if tasks.is_empty() {
        bail!(
            "no rule has a name with that text: rules are named from the file's root, such as `policies.clinician.phi_url`"
        );
    }
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let results: Mutex<Vec<(usize, anyhow::Result<Judged>)>> = Mutex::default();
    let work = || {
        while let Some((at, (mutant, baselines))) = {
            let at = next.fetch_add(1, Ordering::Relaxed);
            tasks.get(at).map(|task| (at, task))
        } {
            let judged = judge(plan, engine, mutant, baselines);
            let count = done.fetch_add(1, Ordering::Relaxed) + 1;
            if let Ok(judged) = &judged {
                told(judged, count, tasks.len());
            }
            results
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((at, judged));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..plan.jobs.max(1) {
            scope.spawn(work);
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, judged)| judged).collect()
}

/// A case file as it runs without mutants.
struct Baseline {
    file: PathBuf,
    /// The policies that governed something.
    policies: BTreeSet<String>,
    outcomes: Vec<Fingerprint>,
}

impl Baseline {
    fn new(file: PathBuf, seen: Vec<Kept>) -> Self {
        let policies = seen.iter().filter_map(|kept| kept.policy.clone()).collect();
        Baseline {
            file,
            policies,
            outcomes: sorted(seen),
        }
    }

    /// Whether a rule could have a say in it.
    fn concerns(&self, rule: &str) -> bool {
        let Some(inside) = rule.strip_prefix("policies") else {
            return true;
        };
        self.policies.iter().any(|name| {
            let member = super::member(name);
            inside
                .strip_prefix(&member)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }
}

fn sorted(seen: Vec<Kept>) -> Vec<Fingerprint> {
    let mut prints: Vec<Fingerprint> = seen.into_iter().map(|kept| kept.print).collect();
    // Which of two exchanges in two gateways came first may vary.
    prints.sort_unstable();
    prints
}

type Fingerprint = [u8; 32];

/// What is kept of an outcome.
struct Kept {
    policy: Option<String>,
    print: Fingerprint,
}

fn judge(plan: &Plan, engine: &(dyn Engine + Sync), mutant: &Mutant, baselines: &[Baseline]) -> anyhow::Result<Judged> {
    let mut fate = Fate::Unexercised;
    for baseline in baselines.iter().filter(|baseline| baseline.concerns(&mutant.rule)) {
        let (summary, seen) = try_file(plan, engine, &baseline.file, Trial::Mutant(&mutant.policy))?;
        if let Some((name, _)) = summary.failures.into_iter().next() {
            fate = Fate::Caught { by: name };
            break;
        }
        if sorted(seen) != baseline.outcomes {
            fate = Fate::Unasserted;
        }
    }
    Ok(Judged {
        file: near(&mutant.policy.path),
        line: mutant.place.line,
        column: mutant.place.column,
        rule: mutant.rule.clone(),
        change: mutant.change.to_string(),
        fate,
    })
}

/// A path as somebody in the current folder writes it.
pub fn near(path: &Path) -> PathBuf {
    let here = std::env::current_dir().and_then(|here| here.canonicalize()).ok();
    let short = here.and_then(|here| Some(path.strip_prefix(here).ok()?.to_owned()));
    short.unwrap_or_else(|| path.to_owned())
}

/// The policy with which a file runs.
enum Trial<'a> {
    /// The one that it names; the environment in which it is compiled is told.
    AsItIs(&'a mut BTreeMap<String, String>),
    /// Another.
    Mutant(&'a PolicyFile),
}

fn try_file(
    plan: &Plan,
    engine: &(dyn Engine + Sync),
    file: &Path,
    trial: Trial<'_>,
) -> anyhow::Result<(Summary, Vec<Kept>)> {
    let recording = Recording::new(engine, keep);
    let kept = recording.kept();
    let trial = Mutex::new(trial);
    let compile = |source: &PolicySource| match &mut *trial.lock().unwrap_or_else(PoisonError::into_inner) {
        Trial::AsItIs(environment) => {
            environment.extend(source.environment.clone());
            gateway::compile_cases(source, &plan.modules)
        }
        Trial::Mutant(policy) => Ok(cases::Compiled {
            filters: gateway::filters(policy, source.modules, &plan.modules)?,
            environment: policy.environment.clone(),
        }),
    };
    let runner = Runner {
        engines: vec![Box::new(recording)],
        compile: Box::new(compile),
    };
    let options = Options {
        deliver: Some(vec![Delivery::DEFAULT[0]]),
        // Mutants run beside each other already.
        jobs: Some(1),
        ..Options::default()
    };
    let summary = runner.run(&[file.to_owned()], &options, &mut std::io::sink())?;
    let kept = std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((summary, kept))
}

fn keep(outcome: &Outcome) -> Kept {
    let audit = outcome
        .filter_state
        .get("scrim.audit")
        .and_then(|record| serde_json::from_str::<Value>(record).ok());
    let policy = audit
        .as_ref()
        .and_then(|record| Some(record.get("policy")?.as_str()?.to_owned()));
    Kept {
        policy,
        print: print(outcome, audit),
    }
}

/// A digest of what came out, without what differs from run to run, tokens, and the digest of the policy file.
fn print(outcome: &Outcome, audit: Option<Value>) -> Fingerprint {
    let mut plain = outcome.clone();
    plain.logs.clear();
    if let Some(Value::Object(mut record)) = audit {
        // Places in the policy file move when something before them goes.
        for name in ["time", "request_id", "policy_digest", "route", "view"] {
            record.remove(name);
        }
        plain
            .filter_state
            .insert("scrim.audit".to_owned(), Value::Object(record).to_string());
    }
    // Headers as text, so that tokens can be found in them.
    let mut lines = String::new();
    for headers in [
        plain.upstream.as_mut().map(|seen| std::mem::take(&mut seen.headers)),
        plain.client.as_mut().map(|got| std::mem::take(&mut got.headers)),
    ]
    .into_iter()
    .flatten()
    {
        for (name, value) in headers {
            lines.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(&value)));
        }
    }
    let lines = token().map_or(lines.clone(), |token| token.replace_all(&lines, "TOKEN").into_owned());
    let rest = format!("{:?} {:?} {:?}", plain.upstream, plain.client, plain.filter_state);
    Sha256::new().chain_update(lines).chain_update(rest).finalize().into()
}

/// A JWT, as it is made anew for each run.
fn token() -> Option<&'static Regex> {
    static TOKEN: std::sync::OnceLock<Option<Regex>> = std::sync::OnceLock::new();
    TOKEN
        .get_or_init(|| Regex::new(r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*").ok())
        .as_ref()
}

/// How many of each fate: caught, unasserted, unexercised.
pub fn count(judged: &[Judged]) -> [usize; 3] {
    let mut counts = [0; 3];
    for one in judged {
        let at = match one.fate {
            Fate::Caught { .. } => 0,
            Fate::Unasserted => 1,
            Fate::Unexercised => 2,
        };
        counts[at] += 1;
    }
    counts
}
