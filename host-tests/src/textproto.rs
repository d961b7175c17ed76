//! Runs the test files of Google's service-extensions plugins as they are: `scrim test tests.textpb --module plugin.wasm`.
//!
//! 1. The format is `plugins/test/runner.proto` of <https://github.com/GoogleCloudPlatform/service-extensions>, in the text format of
//!    protocol buffers. Unknown fields are refused at their `FILE:LINE:COL`.
//! 2. Each test gets a VM of its own and one stream. Its phases (request headers, request body, response headers, response body) are
//!    called one by one with their own inputs and checked one by one, on a clock that stands still, as Google's runner does.
//! 3. This is not Envoy's stream: see [`phases`](crate::wasm::phases). A filter that pauses without an answer fails its test; bodies
//!    are not gathered while it pauses; properties are those that the test gives. To see what client and upstream get, write a case.
//! 4. Several values of a header count as one, joined by `, `. Names match in any case; `headers` matchers see each line both with the
//!    name as Envoy has it (lowercase) and as it was spelled last.
//! 5. Where Google's runner and Envoy differ in a host call, Envoy is right: a body is replaced as a whole, or something is put before or
//!    behind it, and the plugin's configuration can be read at start only.
//! 6. Google's runner can't see an answer sent from a body callback. Here `immediate` works there too; where it is not expected, such
//!    an answer is passed over, as there.
//! 7. The module and the configuration come from `--module` and `--config`, else from `env`, whose paths count from where one is, and
//!    if nothing is there, from the file's folder.

mod http1;
mod suite;
mod syntax;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use self::suite::{Chunking, Expectation, Input, Invocation, Matcher, Suite, Test, Wanted};
use crate::cases::problem::Problem;
use crate::cases::report::{Report, Test as Ran, Verdict};
use crate::cases::{Options, Summary};
use crate::exchange::{Filter, Headers};
use crate::wasm::phases::Phase;
use crate::wasm::{Clock, LogLevel, Phases, Wasmtime};

/// Whether a file is one of these, by its name: `.textpb`, `.textproto`, `.txtpb` or `.pbtxt`.
pub fn is_textproto(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| ["textpb", "textproto", "txtpb", "pbtxt"].contains(&extension))
}

/// What to test, where the files don't say it.
#[derive(Clone, Debug, Default)]
pub struct Plugin {
    /// The module; it wins over a file's `env.wasm_path`.
    pub module: Option<PathBuf>,
    /// The file of the plugin's configuration; it wins over `env.config_path`. None: an empty configuration.
    pub configuration: Option<PathBuf>,
}

/// Runs test files and writes to `out` as `cargo test` does. Of the options `filter`, `junit` and `color` count.
///
/// # Errors
/// When `out` or the JUnit file can't be written, or this machine can't run WebAssembly. Failed tests and broken files are no errors: the
/// [`Summary`] counts them.
pub fn run(paths: &[PathBuf], plugin: &Plugin, options: &Options, out: &mut dyn Write) -> Result<Summary> {
    let begin = Instant::now();
    let mut report = Report::new(out, options);
    report.begin(paths.len(), &["wasmtime"])?;
    for file in paths {
        if let Err(error) = run_file(file, plugin, options, &mut report)? {
            report.broken(&file.display().to_string(), file, &error)?;
        }
    }
    let summary = report.finish(begin.elapsed(), false)?;
    if let Some(junit) = &options.junit {
        std::fs::write(junit, report.junit()).with_context(|| format!("cannot write `{}`", junit.display()))?;
    }
    Ok(summary)
}

/// Outer: the report could not be written. Inner: the file could not be run.
fn run_file(file: &Path, plugin: &Plugin, options: &Options, report: &mut Report<'_>) -> Result<Result<()>> {
    let bench = match Bench::load(file, plugin) {
        Ok(bench) => bench,
        Err(error) => return Ok(Err(error)),
    };
    let name = file
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    for test in &bench.suite.tests {
        let label = format!("{name}::{}", test.name);
        if options
            .filter
            .as_ref()
            .is_some_and(|part| !label.contains(part.as_str()))
        {
            continue;
        }
        let begin = Instant::now();
        let mut wrong = Vec::new();
        if let Err(error) = bench.run(test, &mut wrong) {
            wrong.push(format!("{error:#}"));
        }
        let verdict = if wrong.is_empty() {
            Verdict::Ok
        } else {
            Verdict::Failed(format!("{}:{}\n{}", file.display(), test.place.line, wrong.join("\n")))
        };
        report.test(Ran {
            file: name.clone(),
            path: file.to_owned(),
            line: test.place.line,
            column: test.place.column,
            case: test.name.clone(),
            engine: "wasmtime",
            modules: None,
            delivery: String::new(),
            label,
            verdict,
            time: begin.elapsed(),
        })?;
    }
    Ok(Ok(()))
}

/// Parses a file: how many tests it holds.
///
/// # Errors
/// When it can't be read, or the first problem in it, as `FILE:LINE:COL: error: ..`.
pub fn check(file: &Path) -> Result<usize> {
    Ok(read(file)?.tests.len())
}

fn read(file: &Path) -> Result<Suite> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let problem = |line, column, what: &str| Problem {
        file: file.to_owned(),
        line,
        column,
        what: what.to_owned(),
    };
    let text = String::from_utf8(bytes).map_err(|_| problem(1, 1, "this is no text: a test file is UTF-8"))?;
    Ok(Suite::parse(&text).map_err(|wrong| problem(wrong.place.line, wrong.place.column, &wrong.what))?)
}

/// A file's tests and what they run on.
struct Bench {
    suite: Suite,
    folder: PathBuf,
    engine: Wasmtime,
    filter: Filter,
}

impl Bench {
    fn load(file: &Path, plugin: &Plugin) -> Result<Self> {
        let suite = read(file)?;
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        let path = |path: &String| {
            let path = PathBuf::from(path);
            if path.exists() { path } else { folder.join(path) }
        };
        let module = plugin.module.clone().or_else(|| suite.env.wasm_path.as_ref().map(path));
        let Some(module) = module else {
            bail!("which module? Name it with `--module plugin.wasm`, or as `env {{ wasm_path: \"..\" }}` in the file");
        };
        let configuration = plugin
            .configuration
            .clone()
            .or_else(|| suite.env.config_path.as_ref().map(path));
        let configuration = match configuration {
            Some(file) => {
                std::fs::read(&file).with_context(|| format!("cannot read the configuration `{}`", file.display()))?
            }
            None => Vec::new(),
        };
        // Go's runtime wants a clock that is not 0; Google's runner gives it 1 ms.
        let clock = suite
            .env
            .time_secs
            .filter(|seconds| *seconds > 0)
            .map_or(Duration::from_millis(1), Duration::from_secs);
        let engine = Wasmtime::builder()
            .clock(Clock::Fixed(clock))
            .log_level(suite.env.log_level.unwrap_or(LogLevel::Info))
            .build()?;
        let filter = Filter {
            name: "test".to_owned(),
            module,
            configuration,
            ..Filter::default()
        };
        // One that does not start is wrong once, and not with each test.
        Phases::start(&engine, &filter)?;
        Ok(Bench {
            suite,
            folder,
            engine,
            filter,
        })
    }

    /// What is wrong is pushed; an error ends the test.
    fn run(&self, test: &Test, wrong: &mut Vec<String>) -> Result<()> {
        let mut phases = Phases::start(&self.engine, &self.filter)?;
        let logs = phases.take_logs();
        self.check_logs("plugin_init", &test.plugin_init, &logs, wrong)?;
        let properties: BTreeMap<_, _> = test.properties.iter().rev().cloned().collect();
        phases.open_with(properties).context("[stream_init]")?;
        let logs = phases.take_logs();
        self.check_logs("stream_init", &test.stream_init, &logs, wrong)?;
        if let Some(invocation) = &test.request_headers {
            let headers = self
                .headers(&invocation.input, http1::request)
                .context("[request_headers]")?;
            let phase = phases.request_headers(&headers, false).context("[request_headers]")?;
            self.check_headers("request_headers", invocation, &phase, wrong)?;
        }
        self.bodies("request_body", test, &test.request_body, wrong, &mut |chunk, end| {
            phases.request_body(chunk, end)
        })?;
        if let Some(invocation) = &test.response_headers {
            let headers = self
                .headers(&invocation.input, http1::response)
                .context("[response_headers]")?;
            let phase = phases.response_headers(&headers, false).context("[response_headers]")?;
            self.check_headers("response_headers", invocation, &phase, wrong)?;
        }
        self.bodies("response_body", test, &test.response_body, wrong, &mut |chunk, end| {
            phases.response_body(chunk, end)
        })?;
        phases.close().context("[stream_destroy]")?;
        let logs = phases.take_logs();
        self.check_logs("stream_destroy", &test.stream_destroy, &logs, wrong)?;
        phases.shut_down().context("[plugin_destroy]")
    }

    /// The headers of an input, values of one name joined.
    fn headers(&self, input: &Input, parse: fn(&[u8]) -> Result<Headers>) -> Result<Headers> {
        let lines = if !input.file.is_empty() {
            parse(&self.file(&input.file)?)?
        } else if !input.content.is_empty() {
            parse(&input.content)?
        } else {
            input.headers.clone()
        };
        Ok(joined(&lines))
    }

    fn bodies(
        &self,
        place: &str,
        test: &Test,
        invocations: &[Invocation],
        wrong: &mut Vec<String>,
        call: &mut dyn FnMut(&[u8], bool) -> Result<Phase>,
    ) -> Result<()> {
        for invocation in invocations {
            let input = &invocation.input;
            let body = match input.file.as_str() {
                "" => input.content.clone(),
                file => self.file(file)?,
            };
            let chunks = cut(&body, test.chunking).with_context(|| format!("[{place}]"))?;
            let (mut whole, mut reply, mut logs) = (Vec::new(), None, Vec::new());
            for (at, chunk) in chunks.iter().enumerate() {
                let phase = call(chunk, at + 1 == chunks.len()).with_context(|| format!("[{place}]"))?;
                whole.extend(phase.body);
                reply = reply.or(phase.reply);
                // Google's runner forgets what earlier pieces logged.
                logs = phase.logs;
            }
            let expect = &invocation.result;
            if let Some(immediate) = &expect.immediate {
                match &reply {
                    None => wrong.push(format!(
                        "[{place}] expected an immediate response, and the plugin sent none"
                    )),
                    Some(reply) => {
                        check_immediate(place, immediate, reply, wrong);
                        self.check_lines(place, expect, &joined(&reply.headers), &BTreeMap::new(), wrong)?;
                        self.check_all(place, "body", &expect.body, std::slice::from_ref(&reply.body), wrong)?;
                    }
                }
            } else {
                self.check_lines(place, expect, &Headers::new(), &BTreeMap::new(), wrong)?;
                self.check_all(place, "body", &expect.body, &[whole], wrong)?;
            }
            self.check_logs(place, expect, &logs, wrong)?;
        }
        Ok(())
    }

    fn check_headers(
        &self,
        place: &str,
        invocation: &Invocation,
        phase: &Phase,
        wrong: &mut Vec<String>,
    ) -> Result<()> {
        let expect = &invocation.result;
        let (headers, body) = match &phase.reply {
            Some(reply) => (&reply.headers, reply.body.clone()),
            None => (&phase.headers, Vec::new()),
        };
        self.check_lines(place, expect, &joined(headers), &phase.spellings, wrong)?;
        self.check_all(place, "body", &expect.body, &[body], wrong)?;
        match (&expect.immediate, &phase.reply) {
            (Some(immediate), Some(reply)) => check_immediate(place, immediate, reply, wrong),
            (Some(_), None) => wrong.push(format!(
                "[{place}] expected an immediate response, and the plugin sent none"
            )),
            (None, Some(reply)) => wrong.push(format!(
                "[{place}] expected no immediate response, and the plugin sent {}",
                reply.status
            )),
            (None, None) if !phase.continues => {
                wrong.push(format!(
                    "[{place}] expected the stream to go on, and the plugin paused it"
                ));
            }
            (None, None) => {}
        }
        self.check_logs(place, expect, &phase.logs, wrong)
    }

    /// Headers by name, and as lines.
    fn check_lines(
        &self,
        place: &str,
        expect: &Expectation,
        headers: &Headers,
        spellings: &BTreeMap<String, String>,
        wrong: &mut Vec<String>,
    ) -> Result<()> {
        let find = |wanted: &str| headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        for (name, value) in &expect.has_header {
            match find(name) {
                None => wrong.push(format!("[{place}] the header `{name}` is missing\n{}", listed(headers))),
                Some((_, there)) if there != value => {
                    wrong.push(format!(
                        "[{place}] header `{name}`\n-{}\n+{}",
                        shown(value),
                        shown(there)
                    ));
                }
                Some(_) => {}
            }
        }
        for name in &expect.no_header {
            if let Some((_, there)) = find(name) {
                wrong.push(format!(
                    "[{place}] expected no header `{name}`, and it is `{}`",
                    shown(there)
                ));
            }
        }
        let line = |name: &str, value: &[u8]| [name.as_bytes(), b": ", value].concat();
        for matcher in &expect.headers {
            let mut lines: Vec<Vec<u8>> = Vec::new();
            for (name, value) in headers {
                lines.push(line(&name.to_ascii_lowercase(), value));
                let spelled = spellings.get(name).unwrap_or(name);
                if name.chars().any(|letter| letter.is_ascii_uppercase()) || spelled != name {
                    lines.push(line(spelled, value));
                }
            }
            self.check_one(place, "header", matcher, &lines, wrong)?;
        }
        Ok(())
    }

    fn check_logs(
        &self,
        place: &str,
        expect: &Expectation,
        logs: &[(String, String)],
        wrong: &mut Vec<String>,
    ) -> Result<()> {
        let lines: Vec<Vec<u8>> = logs.iter().map(|(_, line)| line.clone().into_bytes()).collect();
        self.check_all(place, "log line", &expect.log, &lines, wrong)
    }

    fn check_all(
        &self,
        place: &str,
        what: &str,
        matchers: &[Matcher],
        there: &[Vec<u8>],
        wrong: &mut Vec<String>,
    ) -> Result<()> {
        matchers
            .iter()
            .try_for_each(|matcher| self.check_one(place, what, matcher, there, wrong))
    }

    /// One of `there` must match, or none where it is inverted.
    fn check_one(
        &self,
        place: &str,
        what: &str,
        matcher: &Matcher,
        there: &[Vec<u8>],
        wrong: &mut Vec<String>,
    ) -> Result<()> {
        let (found, wanted) = match &matcher.wanted {
            Wanted::Exact(text) => (there.contains(text), shown(text)),
            Wanted::Regex(regex, text) => (there.iter().any(|line| regex.is_match(line)), text.clone()),
            Wanted::File(file) => (there.contains(&self.file(file)?), format!("the content of {file}")),
        };
        if found == matcher.invert {
            let no = if matcher.invert { "no" } else { "a" };
            let lines: String = there.iter().map(|line| format!("\n+{}", shown(line))).collect();
            wrong.push(format!("[{place}] expected {no} {what} that is\n-{wanted}{lines}"));
        }
        Ok(())
    }

    fn file(&self, path: &str) -> Result<Vec<u8>> {
        let path = self.folder.join(path);
        std::fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))
    }
}

fn check_immediate(
    place: &str,
    wanted: &suite::Immediate,
    reply: &crate::wasm::phases::Reply,
    wrong: &mut Vec<String>,
) {
    if let Some(status) = wanted.http_status
        && status != u32::from(reply.status)
    {
        wrong.push(format!(
            "[{place}] status of the immediate response\n-{status}\n+{}",
            reply.status
        ));
    }
    // -1, which SDKs send for none, is the highest number there.
    let grpc_status = reply.grpc_status.unwrap_or(u32::MAX);
    if let Some(status) = wanted.grpc_status
        && status != grpc_status
    {
        wrong.push(format!(
            "[{place}] gRPC status of the immediate response\n-{status}\n+{grpc_status}"
        ));
    }
    if let Some(details) = &wanted.details {
        // As Envoy has them.
        let details = details.split_whitespace().collect::<Vec<_>>().join("_");
        if details != reply.details {
            wrong.push(format!(
                "[{place}] details of the immediate response\n-{details}\n+{}",
                reply.details
            ));
        }
    }
}

/// Lines of one name joined by `, ` at the place of the first, which keeps its spelling.
fn joined(headers: &Headers) -> Headers {
    let mut joined = Headers::new();
    for (name, value) in headers {
        match joined.iter_mut().find(|(there, _)| there.eq_ignore_ascii_case(name)) {
            Some((_, there)) if there.is_empty() => there.clone_from(value),
            Some((_, there)) => {
                there.extend(b", ");
                there.extend(value);
            }
            None => joined.push((name.clone(), value.clone())),
        }
    }
    joined
}

/// The pieces of a body: at least one, and the last is the end.
fn cut(body: &[u8], chunking: Option<Chunking>) -> Result<Vec<Vec<u8>>> {
    let (size, most) = match chunking {
        None => return Ok(vec![body.to_vec()]),
        Some(Chunking::Size(size)) => (size, usize::MAX),
        Some(Chunking::Count(count)) => (body.len() / count, count),
    };
    if size == 0 {
        bail!(
            "a body of {} bytes can't be cut into {most} pieces: lower `num_chunks`",
            body.len()
        );
    }
    let mut chunks = Vec::new();
    let mut rest = body;
    while chunks.len() + 1 < most && rest.len() > size {
        let (chunk, more) = rest.split_at(size);
        chunks.push(chunk.to_vec());
        rest = more;
    }
    chunks.push(rest.to_vec());
    Ok(chunks)
}

fn listed(headers: &Headers) -> String {
    let lines = headers.iter().map(|(name, value)| format!("+{name}: {}", shown(value)));
    lines.collect::<Vec<_>>().join("\n")
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests;
