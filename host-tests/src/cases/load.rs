//! A case file with all that it names: included files, tokens, bodies.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use super::delivery::Delivery;
use super::format::{self, BodySpec, Expectations, FaultSpec, Modules, Step, Suite, TextOr};
use super::matching::{self, Secret, Sent};
use super::problem::Problems;
use super::{assemble, fixture, known, problem};
use crate::exchange::{Answer, Body, End, Fault, Filter, Outcome, Request};
use crate::tokens;

/// A case file with all that it names.
pub(super) struct Loaded {
    pub(super) file: PathBuf,
    pub(super) folder: PathBuf,
    /// The file's name without its endings.
    pub(super) name: String,
    pub(super) suite: Suite,
    tokens: BTreeMap<String, String>,
    /// By case and step.
    prepared: Vec<Vec<Prepared>>,
    /// The modules that were assembled for this file, as long as it runs.
    assembled: OnceCell<assemble::Assembled>,
}

/// A step's exchange, with bodies still whole.
pub(super) struct Prepared {
    request: Request,
    request_body: Vec<u8>,
    request_chunks: Option<Vec<usize>>,
    answer: Answer,
    answer_body: Vec<u8>,
    answer_chunks: Option<Vec<usize>>,
    secrets: Vec<Secret>,
}

/// A case file's name without its endings.
pub(super) fn short_name(file: &Path) -> String {
    let name = file
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    name.trim_end_matches(".yaml")
        .trim_end_matches(".yml")
        .trim_end_matches(".cases")
        .to_owned()
}

/// Reads and parses a case file, without what it names.
///
/// # Errors
/// When it can't be read; [`Problems`] when something is wrong with it.
pub(super) fn parse(file: &Path) -> Result<Suite> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    Ok(Suite::parse(file, &text)?)
}

impl Loaded {
    /// Everything anew: tokens too, whose times are relative to now.
    ///
    /// # Errors
    /// As [`parse`], and [`Problems`] where a token, body or file that a case names can't be had.
    pub(super) fn read(file: &Path) -> Result<Self> {
        Self::read_at(
            file,
            i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?,
        )
    }

    /// With tokens as of `now`, seconds since the Unix epoch.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) fn read_at(file: &Path, now: i64) -> Result<Self> {
        let suite = parse(file)?;
        let folder = file.parent().unwrap_or(Path::new(".")).to_owned();
        let tokens =
            tokens::mint_all(&suite.tokens, &folder, now).with_context(|| format!("{}: error", file.display()))?;
        let mut loaded = Self {
            file: file.to_owned(),
            folder,
            name: short_name(file),
            suite,
            tokens,
            prepared: Vec::new(),
            assembled: OnceCell::new(),
        };
        let mut problems = Vec::new();
        for case in &loaded.suite.cases {
            let steps: Result<Vec<Prepared>> = case.steps.iter().map(|step| loaded.prepare(step)).collect();
            match steps {
                Ok(steps) => loaded.prepared.push(steps),
                Err(error) => problems.push(case.problem(file, format!("case `{}`: {error:#}", case.name.value))),
            }
        }
        if problems.is_empty() {
            Ok(loaded)
        } else {
            Err(Problems::new(problems).into())
        }
    }

    /// Which of Scrim's modules the file runs under; none for anybody's own.
    pub(super) fn variants(&self) -> Vec<Option<Modules>> {
        variants(&self.suite)
    }

    /// How a case's bodies are cut by a delivery: for each exchange of it, the shapes of all its steps. Deliveries that cut alike are alike.
    pub(super) fn shapes(&self, case: usize, delivery: &Delivery) -> Vec<Vec<Shape>> {
        let steps = self.prepared.get(case).map_or(&[][..], Vec::as_slice);
        let bodies: Vec<(Vec<Body>, Vec<Body>)> = steps.iter().map(|step| step.bodies(delivery)).collect();
        let count = bodies
            .iter()
            .map(|(requests, answers)| requests.len().max(answers.len()))
            .max()
            .unwrap_or(0);
        (0..count)
            .map(|turn| {
                let of = |all: &[Body]| all.get(turn % all.len().max(1)).map(shape).unwrap_or_default();
                bodies
                    .iter()
                    .flat_map(|(requests, answers)| [of(requests), of(answers)])
                    .collect()
            })
            .collect()
    }

    /// The step that was prepared when the file was read.
    pub(super) fn prepared(&self, case: usize, step: usize) -> Option<&Prepared> {
        self.prepared.get(case)?.get(step)
    }

    /// What a step sends.
    ///
    /// # Errors
    /// When a body or token can't be had, or the parts don't go together.
    pub(super) fn prepare(&self, step: &Step) -> Result<Prepared> {
        let mut used = BTreeSet::new();
        let request = &step.request;
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
        let lines = |lines: &format::HeaderLines| {
            lines
                .0
                .iter()
                .map(|(name, value)| (name.clone(), value.clone().into_bytes()))
                .collect::<Vec<_>>()
        };
        let sent = Request {
            target: self.fill(&request.url, &mut used)?.into_bytes(),
            authority: request.host.clone().unwrap_or_else(|| "fhir.example.org".to_owned()),
            headers,
            body: Body {
                trailers: lines(&request.trailers),
                ..Body::default()
            },
            method,
        };
        if !sent.body.trailers.is_empty() && request_body.as_ref().is_none_or(Vec::is_empty) {
            bail!("a request with `trailers` has a body: give `body` or `json`");
        }

        let upstream = &step.upstream;
        let status = upstream.status.unwrap_or(200);
        let bodiless = matches!(status, 204 | 304) || sent.method == "HEAD";
        let answer_body = self.body(upstream.body.as_ref(), upstream.json.as_ref(), &mut used)?;
        let mut answer_body = match answer_body {
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
        let mut headers = lines(&upstream.headers);
        if !answer_body.is_empty() && !headers.iter().any(|(name, _)| name == "content-type") {
            headers.push(("content-type".to_owned(), b"application/fhir+json".to_vec()));
        }
        let fault = upstream.fault.map(|fault| match fault {
            FaultSpec::Refuse => Fault::Refuse,
            FaultSpec::ResetBeforeHeaders => Fault::ResetBeforeHeaders,
            FaultSpec::ResetAfterBody | FaultSpec::ResetAfter(_) => Fault::ResetAfterBody,
        });
        if let Some(FaultSpec::ResetAfter(bytes)) = upstream.fault {
            if bytes == 0 || bytes >= answer_body.len() {
                let length = answer_body.len();
                bail!(
                    "`reset_after: {bytes}` is not inside of a body of {length} bytes: use `reset_before_headers`, `reset_after_body` or less"
                );
            }
            answer_body.truncate(bytes);
        }
        let body = Body {
            trailers: lines(&upstream.trailers),
            ..Body::default()
        };
        // What is written into a URL or header goes where the filters send it; a token that is sent as one does not.
        if self.suite.policy.is_none() {
            used.retain(|name| request.token.as_ref() == Some(name));
        }
        let secrets = used
            .iter()
            .filter_map(|name| Some((name, self.tokens.get(name)?)))
            .flat_map(|(name, token)| secrets(name, token))
            .collect();
        Ok(Prepared {
            request: sent,
            request_body: request_body.unwrap_or_default(),
            request_chunks: request.chunks.clone(),
            answer: Answer {
                status,
                headers,
                body,
                fault,
            },
            answer_body,
            answer_chunks: upstream.chunks.clone(),
            secrets,
        })
    }

    pub(super) fn body(
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
        let ways = (
            &body.text,
            &body.file,
            &body.json,
            &body.base64,
            &body.named,
            &body.fixture,
        );
        let bytes = match ways {
            (Some(text), None, None, None, None, None) => self.fill(text, used)?.into_bytes(),
            (None, Some(file), None, None, None, None) => {
                let file = self.folder.join(file);
                std::fs::read(&file).with_context(|| format!("cannot read the body `{}`", file.display()))?
            }
            (None, None, Some(json), None, None, None) => serde_json::to_vec(json)?,
            (None, None, None, Some(text), None, None) => base64::engine::general_purpose::STANDARD
                .decode(text.split_whitespace().collect::<String>())
                .context("`base64` holds none")?,
            (None, None, None, None, Some(name), None) => {
                let named = self
                    .suite
                    .bodies
                    .get(name)
                    .ok_or_else(|| anyhow!("there is no body `{name}`: {}", known(self.suite.bodies.keys())))?;
                if named.0.named.is_some() {
                    bail!("the body `{name}` is `named` itself: give its bytes");
                }
                self.body(Some(named), None, used)?.unwrap_or_default()
            }
            (None, None, None, None, None, Some(file)) => serde_json::to_vec(&fixture::read(&self.folder.join(file))?)?,
            _ => bail!("a body is given in one way: keep one of text, file, json, base64, named, fixture"),
        };
        if body.merge.is_none() && body.set.is_empty() {
            return Ok(Some(bytes));
        }
        let mut json: Value =
            serde_json::from_slice(&bytes).context("`merge` and `set` are for JSON, which this body isn't")?;
        if let Some(patch) = &body.merge {
            fixture::merge(&mut json, patch);
        }
        for (pointer, value) in &body.set {
            fixture::set(&mut json, pointer, value.clone())?;
        }
        let bytes = serde_json::to_vec(&json)?;
        Ok(Some(bytes))
    }

    /// Puts tokens in for `${token:NAME}`.
    pub(super) fn fill(&self, text: &str, used: &mut BTreeSet<String>) -> Result<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${token:") {
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                out.push_str("${token:");
                rest = after;
                continue;
            }
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

    pub(super) fn filters(&self) -> Result<Vec<Filter>> {
        self.suite
            .filters
            .iter()
            .enumerate()
            .map(|(number, filter)| {
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
                    configuration: as_bytes(filter.configuration.as_ref())?,
                    allow_on_headers_stop_iteration: filter.allow_on_headers_stop_iteration,
                    vm_id: filter.vm_id.clone(),
                    vm_configuration: as_bytes(filter.vm_configuration.as_ref())?,
                    failure_policy: filter.failure_policy.into(),
                    module: match module.extension() {
                        Some(ending) if ending == "wat" => self.assembled()?.module(number, &module)?,
                        _ => module,
                    },
                })
            })
            .collect()
    }

    fn assembled(&self) -> Result<&assemble::Assembled> {
        if self.assembled.get().is_none() {
            let _ = self.assembled.set(assemble::Assembled::new()?);
        }
        self.assembled.get().context("the folder of assembled modules is gone")
    }

    /// What is wrong with an outcome; with alternatives: with each, if none holds.
    pub(super) fn judge(
        &self,
        expect: &Expectations,
        secrets: &[Secret],
        request: &Request,
        answer: &Answer,
        outcome: &Outcome,
    ) -> Result<Vec<String>> {
        let sent = Sent {
            request_body: &request.body.chunks.concat(),
            answer_body: &answer.body.chunks.concat(),
            folder: &self.folder,
            nowhere: &self.suite.nowhere,
            secrets,
        };
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

    /// Tokens differ from run to run; their names don't. Parts of them are taken away too, and whatever else looks like one.
    pub(super) fn redact(&self, text: &str) -> String {
        let whole = self.tokens.iter().fold(text.to_owned(), |text, (name, token)| {
            text.replace(token.as_str(), &format!("<token {name}>"))
        });
        let mut text = whole;
        for (name, token) in &self.tokens {
            if let Some((payload, signature)) = parts(token) {
                for (part, value) in [
                    ("payload", payload),
                    ("signature", signature),
                    ("signature", prefix(signature)),
                ] {
                    if value.len() > SHORTEST {
                        text = text.replace(value, &format!("<{part} of token {name}>"));
                    }
                }
            }
        }
        without_tokens(&text)
    }
}

/// A part of a token that is not longer would be found by chance.
const SHORTEST: usize = 16;
/// So much of a signature gives it away.
const PREFIX: usize = 20;

/// Payload and signature, as they are sent.
fn parts(token: &str) -> Option<(&str, &str)> {
    let (_, rest) = token.split_once('.')?;
    rest.split_once('.')
}

fn prefix(signature: &str) -> &str {
    signature.get(..PREFIX).unwrap_or(signature)
}

/// What of a token may reach the upstream only.
fn secrets(name: &str, token: &str) -> Vec<Secret> {
    let Some((payload, signature)) = parts(token) else {
        return Vec::new();
    };
    [("payload", payload), ("signature", prefix(signature))]
        .into_iter()
        .filter(|(_, value)| value.len() > SHORTEST)
        .map(|(part, value)| Secret {
            label: format!("the {part} of token `{name}`"),
            value: value.to_owned(),
        })
        .collect()
}

/// Text without what looks like a token: base64 of `{"`, and what hangs on it.
fn without_tokens(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("eyJ") {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let end = from.bytes().position(|byte| !is_part(byte)).unwrap_or(from.len());
        let (found, after) = from.split_at(end);
        out.push_str(if found.len() > SHORTEST { "<a token>" } else { found });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Which of Scrim's modules a suite runs under; none for anybody's own.
pub(super) fn variants(suite: &Suite) -> Vec<Option<Modules>> {
    match (&suite.policy, &suite.modules) {
        (None, _) => vec![None],
        (Some(_), None) => vec![Some(Modules::Suite)],
        (Some(_), Some(modules)) => modules.iter().copied().map(Some).collect(),
    }
}

/// A configuration as the module gets it: a text as it is, anything else as JSON.
fn as_bytes(configuration: Option<&Value>) -> Result<Vec<u8>> {
    Ok(match configuration {
        None => Vec::new(),
        Some(Value::String(text)) => text.clone().into_bytes(),
        Some(json) => serde_json::to_vec(json)?,
    })
}

impl Prepared {
    /// The tokens' parts, which may reach the upstream only.
    pub(super) fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    fn bodies(&self, delivery: &Delivery) -> (Vec<Body>, Vec<Body>) {
        let Self { request, answer, .. } = self;
        (
            delivery.request.bodies(
                &self.request_body,
                &request.body.trailers,
                self.request_chunks.as_deref(),
            ),
            delivery
                .response
                .bodies(&self.answer_body, &answer.body.trailers, self.answer_chunks.as_deref()),
        )
    }

    /// How many turns a delivery needs to have cut the step's bodies in all its ways.
    pub(super) fn turns(&self, delivery: &Delivery) -> usize {
        let (requests, answers) = self.bodies(delivery);
        requests.len().max(answers.len())
    }

    /// The exchange of one turn of a delivery: every split has several.
    pub(super) fn exchange(&self, delivery: &Delivery, turn: usize) -> (Request, Answer) {
        let (requests, answers) = self.bodies(delivery);
        let of = |all: Vec<Body>| {
            let count = all.len().max(1);
            all.into_iter().nth(turn % count).unwrap_or_default()
        };
        (
            Request {
                body: of(requests),
                ..self.request.clone()
            },
            Answer {
                body: of(answers),
                ..self.answer.clone()
            },
        )
    }
}

/// How a body comes, to tell deliveries apart: the sizes of its chunks, whether the last one ends it, how many trailers it has.
pub(super) type Shape = (Vec<usize>, bool, usize);

fn shape(body: &Body) -> Shape {
    let cuts: Vec<usize> = body.chunks.iter().map(Vec::len).collect();
    let ends = !cuts.is_empty() && body.end == End::WithLastChunk && body.trailers.is_empty();
    (cuts, ends, body.trailers.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_token_is_told() {
        let token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJub2JvZHkgYXQgYWxsIn0.c2lnbmF0dXJlLXRoYXQtaXMtbG9uZy1lbm91Z2g";
        let loaded = |tokens: &[(&str, &str)]| Loaded {
            file: PathBuf::new(),
            folder: PathBuf::new(),
            name: String::new(),
            suite: Suite::parse(Path::new("x"), "policy: p\ncases: []\n").unwrap(),
            tokens: tokens
                .iter()
                .map(|(name, token)| ((*name).to_owned(), (*token).to_owned()))
                .collect(),
            prepared: Vec::new(),
            assembled: OnceCell::new(),
        };
        let (payload, signature) = parts(token).unwrap();
        let told = loaded(&[("t", token)]).redact(&format!(
            "{token} {payload}, {signature}; {} and eyJ",
            &signature[..PREFIX]
        ));
        assert_eq!(
            told,
            "<token t> <payload of token t>, <signature of token t>; <signature of token t> and eyJ"
        );
        assert_eq!(loaded(&[]).redact(&format!("a={token}, b")), "a=<a token>, b");
        let labels: Vec<String> = secrets("t", token).into_iter().map(|secret| secret.label).collect();
        assert_eq!(labels, ["the payload of token `t`", "the signature of token `t`"]);
        assert!(secrets("t", "a.b.").is_empty() && secrets("t", "abc").is_empty());
    }
}
