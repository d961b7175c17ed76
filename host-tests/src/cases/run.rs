//! Runs case files: engine after engine, gateway after gateway, and compares what came out.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::delivery::Delivery;
use super::format::{Case, Modules, Uncompared, Wait};
use super::load::Loaded;
use super::render::{self, Part};
use super::report::{Report, Test, Verdict};
use super::snapshot::Snapshots;
use super::{Compiled, Options, PolicySource, Runner, Summary, discover};
use crate::exchange::{Body, Gateway, Outcome, Route, Setup};

impl Runner<'_> {
    /// Runs the case files at `paths` (files, or folders that are searched) and writes to `out` as `cargo test` does.
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
        let mut report = Report::new(out, options.color);
        let engines: Vec<&str> = self.engines.iter().map(|engine| engine.name()).collect();
        report.begin(files.len(), &engines)?;
        for file in &files {
            match Loaded::read(file) {
                Ok(loaded) => self.run_file(&loaded, options, &mut report)?,
                Err(error) => report.broken(&file.display().to_string(), &format!("{error:#}"))?,
            }
        }
        let summary = report.finish(begin.elapsed())?;
        if let Some(junit) = &options.junit {
            std::fs::write(junit, report.junit()).with_context(|| format!("cannot write `{}`", junit.display()))?;
        }
        Ok(summary)
    }

    fn run_file(&self, loaded: &Loaded, options: &Options, report: &mut Report<'_>) -> Result<()> {
        let mut snapshots = match Snapshots::read(&loaded.file, options.bless) {
            Ok(snapshots) => snapshots,
            Err(error) => return report.broken(&loaded.name, &format!("{error:#}")),
        };
        report.differences += loaded.suite.cases.iter().filter(|case| case.differs.is_some()).count();
        // What came out for one case, delivery and split, by engine and modules: equal on the wire wherever it ran.
        let mut seen: BTreeMap<(usize, String, usize), Vec<Ran>> = BTreeMap::new();
        for modules in loaded.variants() {
            for engine in &self.engines {
                let place = Place {
                    engine: engine.name(),
                    modules,
                };
                let setup = match self.setup(loaded, modules) {
                    Ok(setup) => setup,
                    Err(error) => {
                        report.broken(&format!("{} [{place}]", loaded.name), &format!("{error:#}"))?;
                        continue;
                    }
                };
                // Tokens are made anew for each gateway, so that how long the ones before took doesn't age them.
                let loaded = &match Loaded::read(&loaded.file) {
                    Ok(loaded) => loaded,
                    Err(error) => return report.broken(&loaded.name, &format!("{error:#}")),
                };
                let mut gateway = None;
                for (index, case) in loaded.suite.cases.iter().enumerate() {
                    let start = || engine.start(&setup);
                    let Run::On = self.run_case(
                        loaded,
                        index,
                        case,
                        place,
                        options,
                        &start,
                        &mut gateway,
                        &mut seen,
                        &mut snapshots,
                        report,
                    )?
                    else {
                        break;
                    };
                }
            }
        }
        snapshots.write()?;
        Ok(())
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the state of one run over a file; a struct of them would be used once"
    )]
    fn run_case(
        &self,
        loaded: &Loaded,
        index: usize,
        case: &Case,
        place: Place,
        options: &Options,
        start: &dyn Fn() -> Result<Box<dyn Gateway>>,
        gateway: &mut Option<Box<dyn Gateway>>,
        seen: &mut BTreeMap<(usize, String, usize), Vec<Ran>>,
        snapshots: &mut Snapshots,
        report: &mut Report<'_>,
    ) -> Result<Run> {
        let mut first: Option<(String, String)> = None;
        let mut tried = BTreeSet::new();
        let deliveries = options
            .deliver
            .as_ref()
            .or(case.deliver.as_ref())
            .or(loaded.suite.deliver.as_ref());
        for delivery in deliveries.map_or(Delivery::DEFAULT.as_slice(), Vec::as_slice) {
            let exchanges = loaded.exchanges(index, delivery);
            // Where there is little to cut, deliveries are alike: once is enough.
            if !tried.insert(
                exchanges
                    .iter()
                    .map(|(request, answer)| (shape(&request.body), shape(&answer.body)))
                    .collect::<Vec<_>>(),
            ) {
                continue;
            }
            let label = format!("{}::{} [{place}, {delivery}]", loaded.name, case.name.value);
            if options
                .filter
                .as_ref()
                .is_some_and(|part| !label.contains(part.as_str()))
            {
                continue;
            }
            let test = |verdict, time| Test {
                file: loaded.name.clone(),
                label: label.clone(),
                verdict,
                time,
            };
            if case
                .engines
                .as_ref()
                .is_some_and(|only| !only.iter().any(|name| name == place.engine))
            {
                report.test(test(Verdict::Ignored, Duration::ZERO))?;
                continue;
            }
            let begin = Instant::now();
            let mut wrong = Vec::new();
            for (split, (request, answer)) in exchanges.iter().enumerate() {
                let running = match gateway {
                    Some(running) => running,
                    None => match start() {
                        Ok(started) => gateway.insert(started),
                        Err(error) => {
                            report.broken(
                                &format!("{} [{place}]", loaded.name),
                                &format!("cannot start: {error:#}"),
                            )?;
                            return Ok(Run::Off);
                        }
                    },
                };
                let waited = match case.wait {
                    Some(Wait(time)) => running.wait(time),
                    None => Ok(()),
                };
                let outcome = match waited.and_then(|()| running.exchange(request, answer)) {
                    Ok(outcome) => outcome,
                    Err(error) => {
                        wrong.push(format!("the exchange itself failed: {error:#}"));
                        // It may be in any state now: the next exchange gets a fresh one.
                        *gateway = None;
                        break;
                    }
                };
                wrong = loaded.judge(index, request, answer, &outcome)?;
                let whole = loaded.redact(&render::outcome(&outcome, Part::All));
                if wrong.is_empty() && !case.expect.listed {
                    let wire = loaded.redact(&render::outcome(&outcome, Part::Wire));
                    let state = loaded.redact(&render::outcome(&outcome, Part::State));
                    wrong.extend(differs(first.as_ref(), (&delivery.to_string(), &state)));
                    if first.is_none() {
                        if case.expect.any.iter().any(|expect| expect.snapshot) {
                            let name = &case.name.value;
                            wrong.extend(match &case.differs {
                                None => snapshots.compare(name, &whole),
                                Some(_) => snapshots.compare(&format!("{name} [{}]", place.engine), &whole),
                            });
                        }
                        first = Some((delivery.to_string(), state));
                    }
                    let others = seen.entry((index, delivery.to_string(), split)).or_default();
                    if wrong.is_empty() && case.differs.is_none() {
                        let ran = Ran {
                            place,
                            wire,
                            whole: loaded.redact(&compared(&outcome, &loaded.suite.uncompared)),
                        };
                        wrong.extend(others.iter().find_map(|other| other.differs(&ran)));
                        if !others.iter().any(|other| other.place == place) {
                            others.push(ran);
                        }
                    }
                }
                if !wrong.is_empty() {
                    wrong.push(format!("what was seen\n{whole}"));
                    wrong.extend(outcome.failures.iter().map(ToString::to_string));
                    break;
                }
            }
            let verdict = if wrong.is_empty() {
                Verdict::Ok
            } else {
                let chunks = exchanges.len();
                let line = case.line();
                let many = if chunks > 1 {
                    format!(" (one of {chunks} splits)")
                } else {
                    String::new()
                };
                Verdict::Failed(format!("{}:{line}{many}\n{}", loaded.file.display(), wrong.join("\n")))
            };
            report.test(test(verdict, begin.elapsed()))?;
        }
        Ok(Run::On)
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
            .flat_map(|case| &case.expect.any)
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

/// Whether to go on with the next case.
#[derive(PartialEq, Eq)]
enum Run {
    On,
    Off,
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

/// What came out at a place.
struct Ran {
    place: Place,
    wire: String,
    whole: String,
}

impl Ran {
    /// Engines must agree on everything, loading the filters otherwise on what is on the wire.
    fn differs(&self, other: &Self) -> Option<String> {
        let (mine, its) = if self.place.modules == other.place.modules {
            (&self.whole, &other.whole)
        } else {
            (&self.wire, &other.wire)
        };
        let diff = render::diff(&self.place.to_string(), mine, &other.place.to_string(), its);
        (!diff.is_empty()).then(|| format!("{} and {} differ\n{diff}", self.place, other.place))
    }
}

/// What engines have to agree on.
fn compared(outcome: &Outcome, uncompared: &[Uncompared]) -> String {
    let mut outcome = outcome.clone();
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

/// How a body is cut, to tell deliveries apart.
fn shape(body: &Body) -> (Vec<usize>, bool) {
    let cuts: Vec<usize> = body.chunks.iter().map(Vec::len).collect();
    let ends = !cuts.is_empty() && body.end == crate::exchange::End::WithLastChunk;
    (cuts, ends)
}
