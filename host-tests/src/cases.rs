//! Declarative cases: YAML files that say what is sent through a chain of filters and what everybody must have seen.
//!
//! 1. One file is one suite. Its filters come from Scrim's own `policy`, or are anybody's modules (`filters`).
//! 2. A case is a `request`, what the `upstream` answers (by default 200 with `{}`), and what to `expect`. What an
//!    expectation doesn't mention isn't checked, except that the answer came to its end and that no token of the
//!    request shows up at the client, in logs or in filter state (with `policy`).
//! 3. Every case runs once for each engine, each of `modules` and each of `deliver` (how bodies are cut into chunks),
//!    through a gateway that its file's cases share.
//! 4. Outcomes of one case must be equal under all deliveries, on all engines, and on the wire for all `modules`.
//!    Only a case whose `expect` is a list of alternatives is free of that: it says that they may differ.
//! 5. Unknown keys and values are refused with their place and the mend; the other files still run.
//! 6. In a folder, `*.cases.yaml` and the YAML files of folders named `cases` are case files, recursively; a name that
//!    begins with `_` is a file to `include`.
//!
//! ```yaml
//! policy: ../policy.yaml
//! modules: [suite, chain]
//! tokens:
//!   clinician:
//!     key: ../keys/rs256.jwk.json
//!     claims: {iss: "https://idp.example.org", aud: "https://fhir.example.org", exp: +1h, scope: user/Patient.rs}
//! cases:
//!   - name: no token, no record
//!     request: {url: /fhir/Patient/1}
//!     expect: {upstream: none, status: 401, headers: {www-authenticate: Bearer}}
//!   - name: a clinician reads a record, and no cache keeps it
//!     request: {url: /fhir/Patient/1, token: clinician}
//!     upstream: {json: {resourceType: Patient, id: "1"}}
//!     expect: {status: 200, headers: {cache-control: "no-store, private"}, body: {unchanged: true}}
//! ```
//!
//! The JSON Schema of the format is [`Suite::schema`]; its types are in [`format`](mod@format).

mod calls;
pub mod delivery;
pub mod format;
mod matching;
pub mod problem;
mod render;
mod report;
mod snapshot;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

pub use self::delivery::Delivery;
use self::format::Wait;
use self::format::{BodySpec, Case, FaultSpec, Shared, TextOr};
pub use self::format::{Modules, Suite};
use self::matching::Sent;
pub use self::problem::Problem;
use self::render::Part;
use self::report::{Report, Test, Verdict};
use self::snapshot::Snapshots;
use crate::exchange::{Answer, Body, Engine, Fault, Filter, Gateway, Outcome, Request, Route, Setup};
use crate::tokens;

/// What runs cases: engines, and a way from a policy file to filters.
pub struct Runner<'a> {
    /// Every case runs on each; with more than one, their outcomes are compared.
    pub engines: Vec<Box<dyn Engine + 'a>>,
    /// Turns Scrim's policy file into filters.
    pub compile: Box<Compile<'a>>,
}

/// Turns Scrim's policy file into filters.
pub type Compile<'a> = dyn Fn(&PolicySource) -> Result<Compiled> + 'a;

/// A policy file and how its filters are to be loaded.
#[derive(Clone, Debug)]
pub struct PolicySource {
    /// The policy file.
    pub file: PathBuf,
    /// One module or four.
    pub modules: Modules,
    /// The environment that the case file gives, where keys may be.
    pub environment: BTreeMap<String, String>,
}

/// What a policy file becomes.
#[derive(Clone, Debug, Default)]
pub struct Compiled {
    /// The filters, outermost first.
    pub filters: Vec<Filter>,
    /// More environment for the VMs; the case file's own wins.
    pub environment: BTreeMap<String, String>,
}

/// How to run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only tests whose full name (`file::case [engine, modules, delivery]`) contains this.
    pub filter: Option<String>,
    /// Instead of the deliveries that files and cases name.
    pub deliver: Option<Vec<Delivery>>,
    /// Where to write a JUnit report.
    pub junit: Option<PathBuf>,
    /// Whether snapshots are written instead of compared.
    pub bless: bool,
    /// Whether to colour; ask the terminal.
    pub color: bool,
}

/// How a run went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed.
    pub failed: usize,
    /// Tests that an engine was told to leave out.
    pub ignored: usize,
    /// Files that could not be read, or whose filters could not be started.
    pub broken: usize,
    /// Names and texts of what failed or was broken.
    pub failures: Vec<(String, String)>,
    /// How long it took.
    pub duration: Duration,
}

impl Summary {
    /// 0: all is well; 1: a case failed; 2: something could not be run.
    pub fn exit_code(&self) -> u8 {
        match (self.broken, self.failed) {
            (0, 0) => 0,
            (0, _) => 1,
            _ => 2,
        }
    }
}

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
        let variants: Vec<Option<Modules>> = match (&loaded.suite.policy, &loaded.suite.modules) {
            (None, _) => vec![None],
            (Some(_), None) => vec![Some(Modules::Suite)],
            (Some(_), Some(modules)) => modules.iter().copied().map(Some).collect(),
        };
        let mut snapshots = match Snapshots::read(&loaded.file, options.bless) {
            Ok(snapshots) => snapshots,
            Err(error) => return report.broken(&loaded.name, &format!("{error:#}")),
        };
        // What came out for one case and delivery, by engine and modules: equal on the wire wherever it ran.
        let mut seen: BTreeMap<(usize, String), Vec<Ran>> = BTreeMap::new();
        for modules in variants {
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
        seen: &mut BTreeMap<(usize, String), Vec<Ran>>,
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
            for (request, answer) in &exchanges {
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
                let mut outcome = match waited.and_then(|()| running.exchange(request, answer)) {
                    Ok(outcome) => outcome,
                    Err(error) => {
                        wrong.push(format!("the exchange itself failed: {error:#}"));
                        // It may be in any state now: the next exchange gets a fresh one.
                        *gateway = None;
                        break;
                    }
                };
                wrong = loaded.judge(index, request, answer, &outcome)?;
                // Timers make calls too, and when is the engine's affair: engines are compared where a case asks for calls.
                let asked = |name: &String| case.expect.any.iter().any(|expect| expect.calls.contains_key(name));
                outcome.calls.retain(|name, _| asked(name));
                let whole = loaded.redact(&render::outcome(&outcome, Part::All));
                if wrong.is_empty() && !case.expect.listed {
                    let wire = loaded.redact(&render::outcome(&outcome, Part::Wire));
                    wrong.extend(differs(first.as_ref(), (&delivery.to_string(), &whole)));
                    if first.is_none() {
                        if case.expect.any.iter().any(|expect| expect.snapshot) {
                            wrong.extend(snapshots.compare(&case.name.value, &whole));
                        }
                        first = Some((delivery.to_string(), whole.clone()));
                    }
                    let others = seen.entry((index, delivery.to_string())).or_default();
                    if wrong.is_empty() {
                        wrong.extend(others.iter().find_map(|other| other.differs(place, &wire, &whole)));
                        if !others.iter().any(|other| other.place == place) {
                            others.push(Ran {
                                place,
                                wire,
                                whole: whole.clone(),
                            });
                        }
                    }
                }
                if !wrong.is_empty() {
                    wrong.push(format!("what was seen\n{whole}{}", logged(&outcome)));
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

    fn setup(&self, loaded: &Loaded, modules: Option<Modules>) -> Result<Setup> {
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
    fn differs(&self, place: Place, wire: &str, whole: &str) -> Option<String> {
        let (mine, other) = if self.place.modules == place.modules {
            (&self.whole, whole)
        } else {
            (&self.wire, wire)
        };
        let diff = render::diff(&self.place.to_string(), mine, &place.to_string(), other);
        (!diff.is_empty()).then(|| format!("{} and {place} differ\n{diff}", self.place))
    }
}

fn differs(first: Option<&(String, String)>, now: (&str, &str)) -> Option<String> {
    let (name, text) = first?;
    let diff = render::diff(name, text, now.0, now.1);
    (!diff.is_empty()).then(|| format!("deliveries differ: {name} and {}\n{diff}", now.0))
}

fn logged(outcome: &Outcome) -> String {
    outcome
        .logs
        .iter()
        .map(|(level, line)| format!("log {level}: {line}\n"))
        .collect()
}

/// How a body is cut, to tell deliveries apart.
fn shape(body: &Body) -> (Vec<usize>, bool) {
    let cuts: Vec<usize> = body.chunks.iter().map(Vec::len).collect();
    let ends = !cuts.is_empty() && body.end == crate::exchange::End::WithLastChunk;
    (cuts, ends)
}

/// A case file with all that it names.
struct Loaded {
    file: PathBuf,
    folder: PathBuf,
    /// The file's name without its endings.
    name: String,
    suite: Suite,
    tokens: BTreeMap<String, String>,
    prepared: Vec<Prepared>,
}

/// A case's exchange, with bodies still whole.
struct Prepared {
    request: Request,
    request_body: Vec<u8>,
    answer: Answer,
    answer_body: Vec<u8>,
    secrets: Vec<String>,
}

impl Loaded {
    fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
        let mut suite = Suite::parse(file, &text)?;
        let folder = file.parent().unwrap_or(Path::new(".")).to_owned();
        for include in suite.include.clone() {
            let path = folder.join(&include);
            let text = std::fs::read_to_string(&path).with_context(|| {
                format!(
                    "{}: error: cannot read the included `{}`",
                    file.display(),
                    path.display()
                )
            })?;
            let shared: Shared = problem::parse(&path, &text)?;
            let base = include.parent().unwrap_or(Path::new(""));
            for (name, value) in shared.environment {
                suite.environment.entry(name).or_insert(value);
            }
            for (name, mut token) in shared.tokens {
                token.key = token.key.map(|key| base.join(key));
                suite.tokens.entry(name).or_insert(token);
            }
            for (name, mut body) in shared.bodies {
                body.0.file = body.0.file.map(|file| base.join(file));
                suite.bodies.entry(name).or_insert(body);
            }
        }
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
        let tokens =
            tokens::mint_all(&suite.tokens, &folder, now).with_context(|| format!("{}: error", file.display()))?;
        let name = file
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let name = name
            .trim_end_matches(".yaml")
            .trim_end_matches(".yml")
            .trim_end_matches(".cases")
            .to_owned();
        let mut loaded = Self {
            file: file.to_owned(),
            folder,
            name,
            suite,
            tokens,
            prepared: Vec::new(),
        };
        for case in &loaded.suite.cases {
            let prepared = loaded
                .prepare(case)
                .map_err(|error| case.problem(file, format!("case `{}`: {error:#}", case.name.value)))?;
            loaded.prepared.push(prepared);
        }
        Ok(loaded)
    }

    fn prepare(&self, case: &Case) -> Result<Prepared> {
        let mut used = BTreeSet::new();
        let request = &case.request;
        let mut headers = Vec::new();
        for (name, value) in &request.headers.0 {
            headers.push((name.clone(), self.fill(value, &mut used)?.into_bytes()));
        }
        if let Some(name) = &request.token {
            headers.push((
                "authorization".to_owned(),
                self.fill(&format!("Bearer ${{token:{name}}}"), &mut used)?.into_bytes(),
            ));
        }
        let request_body = self.body(request.body.as_ref(), request.json.as_ref(), &mut used)?;
        if request.json.is_some() && !headers.iter().any(|(name, _)| name == "content-type") {
            headers.push(("content-type".to_owned(), b"application/fhir+json".to_vec()));
        }
        let method = request
            .method
            .clone()
            .unwrap_or_else(|| if request_body.is_some() { "POST" } else { "GET" }.to_owned());
        let sent = Request {
            target: self.fill(&request.url, &mut used)?.into_bytes(),
            authority: request.host.clone().unwrap_or_else(|| "fhir.example.org".to_owned()),
            headers,
            body: Body::default(),
            method,
        };

        let status = case.upstream.status.unwrap_or(200);
        let bodiless = matches!(status, 204 | 304) || sent.method == "HEAD";
        let answer_body = self.body(case.upstream.body.as_ref(), case.upstream.json.as_ref(), &mut used)?;
        let answer_body = match answer_body {
            Some(body) => body,
            None if bodiless => Vec::new(),
            None => b"{}".to_vec(),
        };
        if bodiless && !answer_body.is_empty() {
            bail!(
                "an answer of status {status} to {} has no body: take `body` away",
                sent.method
            );
        }
        let lines = |lines: &format::HeaderLines| {
            lines
                .0
                .iter()
                .map(|(name, value)| (name.clone(), value.clone().into_bytes()))
                .collect::<Vec<_>>()
        };
        let mut headers = lines(&case.upstream.headers);
        if !answer_body.is_empty() && !headers.iter().any(|(name, _)| name == "content-type") {
            headers.push(("content-type".to_owned(), b"application/fhir+json".to_vec()));
        }
        let fault = case.upstream.fault.map(|fault| match fault {
            FaultSpec::Refuse => Fault::Refuse,
            FaultSpec::ResetBeforeHeaders => Fault::ResetBeforeHeaders,
            FaultSpec::ResetAfterBody => Fault::ResetAfterBody,
        });
        let body = Body {
            trailers: lines(&case.upstream.trailers),
            ..Body::default()
        };
        // A signature of a few characters, or none, would be found by chance.
        let signature = |token: &String| {
            token
                .rsplit('.')
                .next()
                .filter(|signature| signature.len() > 16)
                .map(str::to_owned)
        };
        let secrets = if self.suite.policy.is_some() {
            used.iter()
                .filter_map(|name| self.tokens.get(name))
                .filter_map(signature)
                .collect()
        } else {
            Vec::new()
        };
        Ok(Prepared {
            request: sent,
            request_body: request_body.unwrap_or_default(),
            answer: Answer {
                status,
                headers,
                body,
                fault,
            },
            answer_body,
            secrets,
        })
    }

    fn body(
        &self,
        body: Option<&BodySpec>,
        json: Option<&Value>,
        used: &mut BTreeSet<String>,
    ) -> Result<Option<Vec<u8>>> {
        use base64::Engine as _;
        if let Some(json) = json {
            return Ok(Some(serde_json::to_vec(json)?));
        }
        let Some(TextOr(body)) = body else {
            return Ok(None);
        };
        let bytes = match (&body.text, &body.file, &body.json, &body.base64, &body.named) {
            (Some(text), None, None, None, None) => self.fill(text, used)?.into_bytes(),
            (None, Some(file), None, None, None) => {
                let file = self.folder.join(file);
                std::fs::read(&file).with_context(|| format!("cannot read the body `{}`", file.display()))?
            }
            (None, None, Some(json), None, None) => serde_json::to_vec(json)?,
            (None, None, None, Some(text), None) => base64::engine::general_purpose::STANDARD
                .decode(text.split_whitespace().collect::<String>())
                .context("`base64` holds none")?,
            (None, None, None, None, Some(name)) => {
                let named = self
                    .suite
                    .bodies
                    .get(name)
                    .ok_or_else(|| anyhow!("there is no body `{name}`: {}", known(self.suite.bodies.keys())))?;
                if named.0.named.is_some() {
                    bail!("the body `{name}` is `named` itself: give its bytes");
                }
                return self.body(Some(named), None, used);
            }
            _ => bail!("a body is given in one way: keep one of text, file, json, base64, named"),
        };
        Ok(Some(bytes))
    }

    /// Puts tokens in for `${token:NAME}`.
    fn fill(&self, text: &str, used: &mut BTreeSet<String>) -> Result<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${token:") {
            let (name, after) = after
                .split_once('}')
                .ok_or_else(|| anyhow!("`${{token:` without its `}}`"))?;
            let token = self.tokens.get(name).ok_or_else(|| {
                match problem::nearest(name, self.tokens.keys().map(String::as_str)) {
                    Some(near) => anyhow!("there is no token `{name}`: did you mean `{near}`?"),
                    None => anyhow!("there is no token `{name}`: {}", known(self.tokens.keys())),
                }
            })?;
            used.insert(name.to_owned());
            out.push_str(before);
            out.push_str(token);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    fn filters(&self) -> Result<Vec<Filter>> {
        self.suite
            .filters
            .iter()
            .map(|filter| {
                let module = self.folder.join(&filter.module);
                if !module.is_file() {
                    bail!("there is no module `{}`: build it first", module.display());
                }
                let stem = || {
                    module
                        .file_stem()
                        .map(|stem| stem.to_string_lossy().into_owned())
                        .unwrap_or_default()
                };
                Ok(Filter {
                    name: filter.name.clone().unwrap_or_else(stem),
                    root_id: filter.root_id.clone(),
                    configuration: match &filter.configuration {
                        None => Vec::new(),
                        Some(Value::String(text)) => text.clone().into_bytes(),
                        Some(json) => serde_json::to_vec(json)?,
                    },
                    allow_on_headers_stop_iteration: filter.allow_on_headers_stop_iteration,
                    module,
                    ..Filter::default()
                })
            })
            .collect()
    }

    /// The exchanges of a case under a delivery: one, or one for each split.
    fn exchanges(&self, index: usize, delivery: &Delivery) -> Vec<(Request, Answer)> {
        let prepared = &self.prepared[index];
        let requests = delivery.bodies(&prepared.request_body, &Vec::new());
        let answers = delivery.bodies(&prepared.answer_body, &prepared.answer.body.trailers);
        let count = requests.len().max(answers.len());
        requests
            .iter()
            .cycle()
            .zip(answers.iter().cycle())
            .take(count)
            .map(|(request, answer)| {
                (
                    Request {
                        body: request.clone(),
                        ..prepared.request.clone()
                    },
                    Answer {
                        body: answer.clone(),
                        ..prepared.answer.clone()
                    },
                )
            })
            .collect()
    }

    /// What is wrong with an outcome; with alternatives: with each, if none holds.
    fn judge(&self, index: usize, request: &Request, answer: &Answer, outcome: &Outcome) -> Result<Vec<String>> {
        let sent = Sent {
            request_body: &request.body.chunks.concat(),
            answer_body: &answer.body.chunks.concat(),
            folder: &self.folder,
            nowhere: &self.suite.nowhere,
            secrets: &self.prepared[index].secrets,
        };
        let expect = &self.suite.cases[index].expect;
        let mut all = Vec::new();
        for (number, expect) in expect.any.iter().enumerate() {
            let wrong = matching::mismatches(expect, &sent, outcome)?;
            if wrong.is_empty() {
                return Ok(Vec::new());
            }
            all.extend(
                wrong
                    .into_iter()
                    .map(|wrong| if number > 0 { format!("or else {wrong}") } else { wrong }),
            );
        }
        Ok(all)
    }

    /// Tokens differ from run to run; their names don't.
    fn redact(&self, text: &str) -> String {
        self.tokens.iter().fold(text.to_owned(), |text, (name, token)| {
            text.replace(token.as_str(), &format!("<token {name}>"))
        })
    }
}

/// The case files at some paths: files as they are, folders searched; sorted, each once.
///
/// # Errors
/// When a path can't be read.
pub fn discover(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = BTreeSet::new();
    for path in paths {
        let about = std::fs::metadata(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        if about.is_dir() {
            search(path, &mut found)?;
        } else {
            found.insert(path.clone());
        }
    }
    Ok(found.into_iter().collect())
}

fn search(folder: &Path, found: &mut BTreeSet<PathBuf>) -> Result<()> {
    let in_cases = folder
        .canonicalize()
        .is_ok_and(|folder| folder.file_name().is_some_and(|name| name == "cases"));
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let yaml = name.ends_with(".yaml") || name.ends_with(".yml");
        let kind = entry.file_type()?;
        if kind.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" {
            search(&entry.path(), found)?;
        } else if !kind.is_dir() && yaml && !name.starts_with('_') && (in_cases || name.contains(".cases.")) {
            found.insert(entry.path());
        }
    }
    Ok(())
}

/// `known are a, b, c`, for messages.
pub(crate) fn known<T: AsRef<str>>(names: impl Iterator<Item = T>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{}`", name.as_ref())).collect();
    if names.is_empty() {
        "none is known".to_owned()
    } else {
        format!("known are {}", names.join(", "))
    }
}

#[cfg(test)]
mod tests;
