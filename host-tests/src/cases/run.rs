//! Runs case files on all cores, and compares what came out.
//!
//! 1. What runs beside each other are gateways: one for each file, engine and way of loading. The cases of a file go through each of them in
//!    their order.
//! 2. What is printed and compared is in the order of one core, whatever finished first.
//! 3. What can't be run is told, and the rest goes on. Tokens are redacted in all that is told.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::capture;
use super::delivery::Delivery;
use super::format::{Case, Modules, Step, Suite, Uncompared, Wait};
use super::load::{self, Loaded, Prepared};
use super::render::{self, Part};
use super::report::{Report, Test, Verdict};
use super::snapshot::Snapshots;
use super::{Compiled, Options, PolicySource, Runner, Summary, discover};
use crate::exchange::{Body, End, Gateway, Outcome, Route, Setup};

impl Runner<'_> {
    /// Runs the case files at `paths` (files, or folders that are searched) and writes to `out` in the form that `options` name, by
    /// default as `cargo test` does.
    ///
    /// # Errors
    /// When there is no case file at all, or `out` or the JUnit file can't be written. Failed cases and broken files
    /// are no errors: the [`Summary`] counts them.
    pub fn run(&self, paths: &[PathBuf], options: &Options, out: &mut dyn Write) -> Result<Summary> {
        let begin = Instant::now();
        let files = discover(paths)?;
        if files.is_empty() {
            let places: Vec<String> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
            bail!(
                "no case files under {}: they are named `*.cases.yaml` or lie in a folder `cases`",
                places.join(", ")
            );
        }
        let mut report = Report::new(out, options);
        let engines: Vec<&str> = self.engines.iter().map(|engine| engine.name()).collect();
        report.begin(files.len(), &engines)?;
        let threads = options
            .jobs
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get));

        let mut suites: Vec<Option<Result<Suite>>> = Vec::new();
        in_order(
            threads,
            &files,
            |file, tell| tell(load::parse(file)),
            |_, suite| {
                suites.extend(suite.map(Some));
                Ok(())
            },
        )?;
        let jobs = self.jobs(&files, &suites);
        let stop = AtomicBool::new(false);
        let stopped =
            || stop.load(Ordering::Relaxed) || options.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed));
        let mut merger = Merger {
            options,
            files: &files,
            current: None,
        };
        report.expect(jobs.len());
        in_order(
            threads,
            &jobs,
            |job, tell| {
                if !stopped() && job.place.is_some() {
                    self.run_job(job, options, &stopped, tell);
                }
            },
            |index, event| {
                if stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let Some(job) = jobs.get(index) else { return Ok(()) };
                let is_last = jobs.get(index + 1).is_none_or(|next| next.number != job.number);
                let good = match event {
                    None => merger.end(is_last, stopped(), &mut report)?,
                    Some(event) => merger.take(job, event, &mut report)?,
                };
                let broken = suites
                    .get_mut(job.number)
                    .and_then(|suite| suite.take_if(|suite| suite.is_err()));
                let good = match broken {
                    Some(Err(error)) => {
                        report.broken(&job.file.display().to_string(), job.file, &error)?;
                        false
                    }
                    _ => good,
                };
                if options.fail_fast && !good {
                    stop.store(true, Ordering::Relaxed);
                }
                Ok(())
            },
        )?;
        let summary = report.finish(begin.elapsed(), stopped())?;
        if let Some(junit) = &options.junit {
            std::fs::write(junit, report.junit()).with_context(|| format!("cannot write `{}`", junit.display()))?;
        }
        Ok(summary)
    }

    /// One gateway of one file each; one without a place for a file that can't be read.
    fn jobs<'f>(&self, files: &'f [PathBuf], suites: &[Option<Result<Suite>>]) -> Vec<Job<'f>> {
        let mut jobs = Vec::new();
        for (number, (file, suite)) in files.iter().zip(suites).enumerate() {
            let Some(Ok(suite)) = suite else {
                jobs.push(Job {
                    number,
                    file,
                    place: None,
                    engine: 0,
                });
                continue;
            };
            for modules in load::variants(suite) {
                for (engine, running) in self.engines.iter().enumerate() {
                    let place = Some(Place {
                        engine: running.name(),
                        modules,
                    });
                    jobs.push(Job {
                        number,
                        file,
                        place,
                        engine,
                    });
                }
            }
        }
        jobs
    }

    fn run_job(&self, job: &Job<'_>, options: &Options, stopped: &dyn Fn() -> bool, tell: &mut dyn FnMut(Event)) {
        let (Some(place), Some(engine)) = (job.place, self.engines.get(job.engine)) else {
            return;
        };
        let broken = |what: String, error: anyhow::Error| Event::Broken { what, error };
        // Tokens are made anew for each gateway, so that how long the ones before took doesn't age them.
        let loaded = match Loaded::read(job.file) {
            Ok(loaded) => loaded,
            Err(error) => return tell(broken(load::short_name(job.file), error)),
        };
        let named = || format!("{} [{place}]", loaded.name);
        if options.list {
            for (index, case) in loaded.suite.cases.iter().enumerate() {
                for delivery in deliveries(&loaded, index, case, options) {
                    let label = label(&loaded, case, place, &delivery);
                    if options.selects(&label) {
                        tell(Event::Ran(Box::new(Ran::new(
                            case,
                            index,
                            label,
                            &delivery,
                            Verdict::Ok,
                        ))));
                    }
                }
            }
            return;
        }
        let setup = match self.setup(&loaded, place.modules) {
            Ok(setup) => setup,
            Err(error) => return tell(broken(named(), error)),
        };
        let mut gateway: Option<Box<dyn Gateway>> = None;
        for (index, case) in loaded.suite.cases.iter().enumerate() {
            let mut first: Option<(String, String)> = None;
            for delivery in deliveries(&loaded, index, case, options) {
                if stopped() {
                    return;
                }
                let label = label(&loaded, case, place, &delivery);
                if !options.selects(&label) {
                    continue;
                }
                let ran = |verdict| Ran::new(case, index, label.clone(), &delivery, verdict);
                if case
                    .engines
                    .as_ref()
                    .is_some_and(|only| !only.iter().any(|name| name == place.engine))
                {
                    tell(Event::Ran(Box::new(ran(Verdict::Ignored))));
                    continue;
                }
                let begin = Instant::now();
                let mut turns = loaded.shapes(index, &delivery).len();
                let mut tested = ran(Verdict::Ok);
                let mut wrong = Vec::new();
                let mut turn = 0;
                while turn < turns {
                    let running = match &mut gateway {
                        Some(running) => running,
                        None => match engine.start(&setup) {
                            Ok(started) => gateway.insert(started),
                            Err(error) => {
                                return tell(broken(named(), error.context("cannot start")));
                            }
                        },
                    };
                    let exchanged = run_steps(&loaded, index, case, &delivery, turn, running.as_mut());
                    turn += 1;
                    turns = turns.max(exchanged.turns);
                    wrong = exchanged.wrong;
                    if exchanged.lost {
                        // It may be in any state now: the next exchange gets a fresh one.
                        gateway = None;
                        if wrong.is_empty() {
                            continue;
                        }
                        break;
                    }
                    let whole = loaded.redact(&exchanged.whole);
                    let state = loaded.redact(&exchanged.state);
                    if wrong.is_empty() && !exchanged.free {
                        wrong.extend(differs(first.as_ref(), (&delivery.to_string(), &state)));
                        if first.is_none() {
                            first = Some((delivery.to_string(), state));
                            tested.first = true;
                        }
                        tested.compared.push(Printed {
                            wire: loaded.redact(&exchanged.wire),
                            agreed: loaded.redact(&exchanged.agreed),
                            whole: whole.clone(),
                        });
                    }
                    if !wrong.is_empty() {
                        wrong.push(format!("what was seen\n{whole}"));
                        wrong.extend(exchanged.failures);
                        break;
                    }
                }
                tested.turns = turns;
                tested.time = begin.elapsed();
                if !wrong.is_empty() {
                    tested.compared.clear();
                    tested.verdict = Verdict::Failed(loaded.redact(&wrong.join("\n")));
                }
                tell(Event::Ran(Box::new(tested)));
            }
        }
    }

    pub(super) fn setup(&self, loaded: &Loaded, modules: Option<Modules>) -> Result<Setup> {
        let suite = &loaded.suite;
        let mut compiled = match (&suite.policy, modules) {
            (Some(policy), Some(modules)) => {
                let file = loaded.folder.join(policy);
                let source = PolicySource {
                    file: file.clone(),
                    modules,
                    environment: suite.environment.clone(),
                };
                (self.compile)(&source).with_context(|| format!("policy `{}`", file.display()))?
            }
            _ => Compiled {
                filters: loaded.filters()?,
                environment: BTreeMap::new(),
            },
        };
        compiled.environment.extend(suite.environment.clone());
        let mut report: BTreeSet<String> = suite
            .cases
            .iter()
            .flat_map(|case| &case.steps)
            .flat_map(|step| &step.expect.any)
            .flat_map(|expect| expect.filter_state.keys().cloned())
            .collect();
        if suite.policy.is_some() {
            report.extend(["scrim.path".to_owned(), "scrim.audit".to_owned()]);
        }
        let routes = suite.proxy.routes.iter();
        Ok(Setup {
            filters: compiled.filters,
            routes: routes
                .map(|route| Route {
                    name: route.name.clone(),
                    prefix: route.prefix.clone(),
                    metadata: route.metadata.clone(),
                })
                .collect(),
            virtual_host_metadata: suite.proxy.virtual_host_metadata.clone(),
            buffer_limit: suite.proxy.buffer_limit,
            environment: compiled.environment,
            clusters: loaded.clusters()?,
            report: report.into_iter().collect(),
            limits: suite.limits.map(Into::into),
        })
    }
}

impl Options {
    fn selects(&self, label: &str) -> bool {
        self.filter.as_ref().is_none_or(|part| label.contains(part.as_str()))
    }
}

/// The deliveries of a case. Where there is little to cut they are alike, and once is enough.
fn deliveries(loaded: &Loaded, index: usize, case: &Case, options: &Options) -> Vec<Delivery> {
    let named = case
        .deliver
        .as_ref()
        .or(loaded.suite.deliver.as_ref())
        .map(|deliver| &deliver.0);
    let all = options.deliver.as_ref().or(named);
    let mut tried = BTreeSet::new();
    // What the bodies of a late step will be isn't known yet: nothing says that deliveries cut them alike.
    let late = case.steps.iter().any(|step| step.late.is_some());
    all.map_or(Delivery::DEFAULT.as_slice(), Vec::as_slice)
        .iter()
        .filter(|delivery| tried.insert(loaded.shapes(index, delivery)) || late)
        .copied()
        .collect()
}

fn label(loaded: &Loaded, case: &Case, place: Place, delivery: &Delivery) -> String {
    format!("{}::{} [{place}, {delivery}]", loaded.name, case.name.value)
}

/// What the steps of a case came to.
#[derive(Default)]
struct Exchanged {
    wrong: Vec<String>,
    /// All outcomes as text.
    whole: String,
    state: String,
    wire: String,
    /// What engines have to agree on.
    agreed: String,
    /// How guests failed.
    failures: Vec<String>,
    /// An exchange failed by itself.
    lost: bool,
    /// Alternatives were listed: outcomes may differ.
    free: bool,
    /// How many turns the steps need that were not known before.
    turns: usize,
}

fn run_steps(
    loaded: &Loaded,
    index: usize,
    case: &Case,
    delivery: &Delivery,
    turn: usize,
    gateway: &mut dyn Gateway,
) -> Exchanged {
    let mut done = Exchanged {
        free: case.steps.iter().any(|step| step.expect.listed),
        ..Exchanged::default()
    };
    let mut captured: BTreeMap<String, Value> = BTreeMap::new();
    let many = case.steps.len() > 1;
    for (number, step) in case.steps.iter().enumerate() {
        let heading = if many {
            format!("step {}: ", number + 1)
        } else {
            String::new()
        };
        let told = |wrong: &str| format!("{heading}{wrong}");
        let (late, late_prepared): (Step, Prepared);
        let (step, prepared) = match step.with(&loaded.file, &captured) {
            Ok(Some(step)) => {
                late = step;
                late_prepared = match loaded.prepare(&late) {
                    Ok(prepared) => prepared,
                    Err(error) => {
                        done.wrong.push(told(&format!("cannot be sent: {error:#}")));
                        return done;
                    }
                };
                done.turns = done.turns.max(late_prepared.turns(delivery));
                (&late, &late_prepared)
            }
            Ok(None) => match loaded.prepared(index, number) {
                Some(prepared) => (step, prepared),
                None => return done,
            },
            Err(problems) => {
                done.wrong.push(told(&format!("cannot be sent: {problems}")));
                return done;
            }
        };
        let (request, answer) = prepared.exchange(delivery, turn);
        let waited = match step.wait {
            Some(Wait(time)) => gateway.wait(time),
            None => Ok(()),
        };
        let mut outcome = match waited.and_then(|()| gateway.exchange(&request, &answer)) {
            Ok(_) if case.crashes.is_some() => {
                let what = "Envoy crashes here (`crashes`), and this exchange just ended: take the key away";
                done.wrong.push(told(what));
                return done;
            }
            Ok(outcome) => without_added_trailers(outcome, &request.body.trailers, &answer.body.trailers),
            Err(error) if case.crashes.is_some() && is_crash(&error) => {
                (done.lost, done.free) = (true, true);
                return done;
            }
            Err(error) => {
                done.wrong.push(told(&format!("the exchange itself failed: {error:#}")));
                done.lost = true;
                return done;
            }
        };
        let title = if many {
            format!("step {}\n", number + 1)
        } else {
            String::new()
        };
        match loaded.judge(&step.expect, prepared.secrets(), &request, &answer, &outcome) {
            Ok(wrong) => done.wrong.extend(wrong.iter().map(|wrong| told(wrong))),
            Err(error) => done.wrong.push(told(&format!("{error:#}"))),
        }
        // Timers make calls too, and when is the engine's affair: engines are compared where a case asks for calls.
        let asked = |name: &String| step.expect.any.iter().any(|expect| expect.calls.contains_key(name));
        outcome.calls.retain(|name, _| asked(name));
        for (text, part) in [
            (&mut done.whole, Part::All),
            (&mut done.state, Part::State),
            (&mut done.wire, Part::Wire),
        ] {
            text.push_str(&title);
            text.push_str(&render::outcome(&outcome, part));
        }
        done.agreed.push_str(&title);
        let bodies = [&request.body, &answer.body];
        done.agreed
            .push_str(&agreed(&outcome, &loaded.suite.uncompared, bodies));
        done.failures.extend(outcome.failures.iter().map(ToString::to_string));
        for (name, spec) in &step.capture {
            match capture::value(spec, &outcome) {
                Ok(value) => drop(captured.insert(name.clone(), value)),
                Err(why) => done.wrong.push(told(&format!("capture `{name}`: {why}"))),
            }
        }
        if !done.wrong.is_empty() {
            return done;
        }
    }
    done
}

/// A delivery may add a line to let a body end with trailers; it is no part of what a case says.
fn without_added_trailers(mut outcome: Outcome, sent: &[(String, Vec<u8>)], answered: &[(String, Vec<u8>)]) -> Outcome {
    let added = |lines: &[(String, Vec<u8>)]| lines.iter().any(|(name, _)| name == super::delivery::TRAILER);
    if let Some(got) = outcome.client.as_mut().filter(|_| added(answered)) {
        got.trailers.retain(|(name, _)| name != super::delivery::TRAILER);
    }
    if let Some(seen) = outcome.upstream.as_mut().filter(|_| added(sent)) {
        seen.trailers.retain(|(name, _)| name != super::delivery::TRAILER);
    }
    outcome
}

/// One gateway of one file.
struct Job<'f> {
    /// The file's, in their order.
    number: usize,
    file: &'f Path,
    /// None: the file can't be read.
    place: Option<Place>,
    engine: usize,
}

enum Event {
    Broken { what: String, error: anyhow::Error },
    Ran(Box<Ran>),
}

/// One test, before it is compared with those elsewhere.
struct Ran {
    index: usize,
    case: String,
    label: String,
    delivery: String,
    line: u64,
    column: u64,
    verdict: Verdict,
    time: Duration,
    turns: usize,
    /// What came out of each split; empty where it isn't to be compared.
    compared: Vec<Printed>,
    /// Whether it is the first of its case in this gateway.
    first: bool,
    snapshot: bool,
    /// The engines are known to differ.
    differs: bool,
}

/// An outcome as text.
struct Printed {
    wire: String,
    agreed: String,
    whole: String,
}

impl Ran {
    fn new(case: &Case, index: usize, label: String, delivery: &Delivery, verdict: Verdict) -> Self {
        Self {
            index,
            case: case.name.value.clone(),
            label,
            delivery: delivery.to_string(),
            line: case.line(),
            column: case.name.column.max(1),
            verdict,
            time: Duration::ZERO,
            turns: 1,
            compared: Vec::new(),
            first: false,
            snapshot: case.snapshot(),
            differs: case.differs.is_some(),
        }
    }
}

/// Takes tests in their order, and compares those of one file with each other and with snapshots.
struct Merger<'a> {
    options: &'a Options,
    files: &'a [PathBuf],
    current: Option<File>,
}

struct File {
    number: usize,
    snapshots: Option<Snapshots>,
    /// What came out for one case, delivery and split, by place.
    seen: BTreeMap<(usize, String, usize), Vec<Compared>>,
    told: BTreeSet<String>,
    /// Cases in which the engines are known to differ.
    differing: BTreeMap<usize, KnownDifference>,
}

/// A case with `differs`.
struct KnownDifference {
    case: String,
    line: u64,
    column: u64,
    /// It failed somewhere, so that nothing can be said of the difference.
    failed: bool,
}

impl File {
    /// Cases with `differs` in which no engine differs from another, in anything.
    fn agreeing(&self) -> impl Iterator<Item = &KnownDifference> {
        self.differing.iter().filter_map(|(index, known)| {
            let seen = || {
                self.seen
                    .iter()
                    .filter(|((case, ..), _)| case == index)
                    .map(|(_, all)| all)
            };
            let pairs = || {
                seen().flat_map(|all| {
                    all.iter().enumerate().flat_map(|(number, one)| {
                        let others = all.iter().skip(number + 1);
                        others
                            .filter(|other| other.place.engine != one.place.engine)
                            .filter(|other| other.place.modules == one.place.modules)
                            .map(move |other| one.agreed == other.agreed)
                    })
                })
            };
            (!known.failed && pairs().next().is_some() && pairs().all(|agreed| agreed)).then_some(known)
        })
    }
}

struct Compared {
    place: Place,
    wire: String,
    agreed: String,
}

impl Merger<'_> {
    /// Whether it is good.
    fn take(&mut self, job: &Job<'_>, event: Event, report: &mut Report<'_>) -> Result<bool> {
        if self.current.as_ref().is_none_or(|file| file.number != job.number) {
            let mut file = File {
                number: job.number,
                snapshots: None,
                seen: BTreeMap::new(),
                told: BTreeSet::new(),
                differing: BTreeMap::new(),
            };
            match Snapshots::read(job.file, self.options.bless) {
                Ok(snapshots) => file.snapshots = Some(snapshots),
                Err(error) => report.broken(&load::short_name(job.file), job.file, &error)?,
            }
            self.current = Some(file);
        }
        let (Some(file), Some(place)) = (self.current.as_mut(), job.place) else {
            return Ok(true);
        };
        let mut ran = match event {
            Event::Broken { what, error } => {
                // What is wrong with a file is wrong at all its gateways.
                if file.told.insert(format!("{what}{error:#}")) {
                    report.broken(&what, job.file, &error)?;
                }
                return Ok(false);
            }
            Event::Ran(ran) => *ran,
        };
        if ran.differs {
            if !file.differing.contains_key(&ran.index) {
                report.differences += 1;
            }
            let known = file.differing.entry(ran.index).or_insert_with(|| KnownDifference {
                case: ran.case.clone(),
                line: ran.line,
                column: ran.column,
                failed: false,
            });
            known.failed |= matches!(ran.verdict, Verdict::Failed(_));
        }
        for (split, printed) in std::mem::take(&mut ran.compared).into_iter().enumerate() {
            let Printed { wire, agreed, whole } = printed;
            let mut wrong = Vec::new();
            if split == 0
                && ran.first
                && ran.snapshot
                && let Some(snapshots) = &mut file.snapshots
            {
                let name = snapshot_name(&ran.case, ran.differs.then_some(place.engine));
                wrong.extend(snapshots.compare(&name, &whole));
            }
            let others = file.seen.entry((ran.index, ran.delivery.clone(), split)).or_default();
            if wrong.is_empty() {
                let mut others = others.iter();
                wrong.extend(others.find_map(|other| {
                    let known = ran.differs && other.place.engine != place.engine;
                    (!known).then(|| other.differs(place, &wire, &agreed)).flatten()
                }));
            }
            if !wrong.is_empty() {
                wrong.push(format!("what was seen\n{whole}"));
                ran.verdict = Verdict::Failed(wrong.join("\n"));
                if let Some(known) = file.differing.get_mut(&ran.index) {
                    known.failed = true;
                }
                break;
            }
            others.push(Compared { place, wire, agreed });
        }
        let many = if ran.turns > 1 {
            format!(" (one of {} splits)", ran.turns)
        } else {
            String::new()
        };
        let verdict = match ran.verdict {
            Verdict::Failed(why) => Verdict::Failed(format!("{}:{}{many}\n{why}", job.file.display(), ran.line)),
            other => other,
        };
        let good = !matches!(verdict, Verdict::Failed(_));
        report.test(Test {
            file: load::short_name(job.file),
            path: job.file.to_owned(),
            line: ran.line,
            column: ran.column,
            case: ran.case,
            engine: place.engine,
            modules: place.modules.map(|modules| modules.to_string()),
            delivery: ran.delivery,
            label: ran.label,
            verdict,
            time: ran.time,
        })?;
        Ok(good)
    }

    /// A gateway is done; `stopped`: maybe not with everything. Whether all is good.
    fn end(&mut self, is_last: bool, stopped: bool, report: &mut Report<'_>) -> Result<bool> {
        report.gateway_done()?;
        let Some(mut current) = self.current.take_if(|_| is_last) else {
            return Ok(true);
        };
        let mut good = true;
        // Where only a part was asked for, the difference may be in the other.
        let whole = self.options.filter.is_none() && self.options.deliver.is_none() && !self.options.list && !stopped;
        let path = self.files.get(current.number).filter(|_| whole);
        for (path, known) in path
            .into_iter()
            .flat_map(|path| current.agreeing().map(move |known| (path, known)))
        {
            good = false;
            let short = load::short_name(path);
            report.test(Test {
                label: format!("{short}::{} [engines]", known.case),
                file: short,
                path: path.clone(),
                line: known.line,
                column: known.column,
                case: known.case.clone(),
                engine: "engines",
                modules: None,
                delivery: "all".to_owned(),
                verdict: Verdict::Failed(format!(
                    "{}:{}\nthe engines agree here, and are said to differ (`differs`): take the key away",
                    path.display(),
                    known.line
                )),
                time: Duration::ZERO,
            })?;
        }
        let number = current.number;
        if let Some(mut snapshots) = current.snapshots.take()
            && let Some(file) = self.files.get(number)
            && !self.options.list
        {
            let cases: BTreeSet<String> = load::parse(file)
                .map(|suite| {
                    suite
                        .cases
                        .iter()
                        .filter(|case| case.snapshot())
                        .flat_map(|case| {
                            let engines = match case.differs {
                                None => vec![None],
                                Some(_) => vec![Some("wasmtime"), Some("envoy")],
                            };
                            let name = &case.name.value;
                            engines.into_iter().map(move |engine| snapshot_name(name, engine))
                        })
                        .collect()
                })
                .unwrap_or_default();
            for note in snapshots.finish(&cases)? {
                report.note(note)?;
            }
        }
        Ok(good)
    }
}

/// Where a case ran.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    engine: &'static str,
    modules: Option<Modules>,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.modules {
            Some(modules) => write!(f, "{}, {modules}", self.engine),
            None => f.write_str(self.engine),
        }
    }
}

impl Compared {
    /// Engines must agree on everything, loading the filters otherwise on what is on the wire.
    fn differs(&self, place: Place, wire: &str, agreed: &str) -> Option<String> {
        let (mine, other) = if self.place.modules == place.modules {
            (self.agreed.as_str(), agreed)
        } else {
            (self.wire.as_str(), wire)
        };
        let diff = render::diff(&self.place.to_string(), mine, &place.to_string(), other);
        (!diff.is_empty()).then(|| format!("{} and {place} differ\n{diff}", self.place))
    }
}

/// Envoy is gone, or would be.
fn is_crash(error: &anyhow::Error) -> bool {
    error.is::<crate::wasm::Crashed>() || error.is::<crate::envoy::Crashed>()
}

/// A snapshot's name; where engines are known to differ each has its own.
fn snapshot_name(case: &str, engine: Option<&str>) -> String {
    engine.map_or(case.to_owned(), |engine| format!("{case} [{engine}]"))
}

/// What engines have to agree on. A body that ends with its last chunk is one of HTTP/2: a real Envoy gets it by HTTP/1, where an empty callback
/// ends it, so what filters log of their callbacks can't agree, nor what they add in each.
fn agreed(outcome: &Outcome, uncompared: &[Uncompared], bodies: [&Body; 2]) -> String {
    let mut outcome = outcome.clone();
    if bodies
        .iter()
        .any(|body| body.end == End::WithLastChunk && !body.chunks.is_empty() && body.trailers.is_empty())
    {
        outcome.logs.clear();
        (outcome.record.received, outcome.record.sent) = (0, 0);
    }
    for part in uncompared {
        match part {
            Uncompared::Logs => outcome.logs.clear(),
            Uncompared::Metrics => outcome.metrics.clear(),
        }
    }
    render::outcome(&outcome, Part::All)
}

fn differs(first: Option<&(String, String)>, now: (&str, &str)) -> Option<String> {
    let (name, text) = first?;
    let diff = render::diff(name, text, now.0, now.1);
    (!diff.is_empty()).then(|| format!("deliveries differ: {name} and {}\n{diff}", now.0))
}

/// Works on items with some threads, and takes what they tell as if one had worked on all in their order: `take` gets the item's index, and
/// none when nothing more comes of it.
fn in_order<I: Sync, E: Send>(
    threads: usize,
    items: &[I],
    work: impl Fn(&I, &mut dyn FnMut(E)) + Sync,
    mut take: impl FnMut(usize, Option<E>) -> Result<()>,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let (sender, told) = mpsc::channel::<(usize, Option<E>)>();
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, items.len().max(1)) {
            let (sender, next, work) = (sender.clone(), &next, &work);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { return };
                    // Fails only when nobody takes any more.
                    work(item, &mut |event| drop(sender.send((index, Some(event)))));
                    if sender.send((index, None)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut current = 0;
        let mut waiting: BTreeMap<usize, Vec<Option<E>>> = BTreeMap::new();
        for (index, event) in told {
            if index != current {
                waiting.entry(index).or_default().push(event);
                continue;
            }
            let mut done = event.is_none();
            take(index, event)?;
            while done {
                current += 1;
                done = false;
                for event in waiting.remove(&current).unwrap_or_default() {
                    done = event.is_none();
                    take(current, event)?;
                }
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_in_the_order_of_one_thread() {
        let items: Vec<u64> = (0..40).collect();
        let run = |threads| {
            let mut taken = Vec::new();
            in_order(
                threads,
                &items,
                |item, tell| {
                    for part in 0..3 {
                        // The first ones take longest.
                        std::thread::sleep(Duration::from_micros(40 - item));
                        tell((*item, part));
                    }
                },
                |index, event| {
                    taken.push((index, event));
                    Ok(())
                },
            )
            .unwrap();
            taken
        };
        let serial = run(1);
        assert_eq!(serial.len(), 40 * 4);
        assert_eq!(run(8), serial);
    }
}
