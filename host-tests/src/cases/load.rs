//! A case file with all that it names: included files, tokens, bodies.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use super::delivery::Delivery;
use super::format::{
    self, BodySpec, Case, ClusterAnswerSpec, ClusterFaultSpec, FaultSpec, Modules, Shared, Suite, TextOr,
};
use super::matching::{self, Sent};
use super::{assemble, known, problem};
use crate::exchange::{Answer, Body, Cluster, ClusterAnswer, ClusterFault, Fault, Filter, Outcome, Request};
use crate::tokens;

/// A case file with all that it names.
pub(super) struct Loaded {
    pub(super) file: PathBuf,
    pub(super) folder: PathBuf,
    /// The file's name without its endings.
    pub(super) name: String,
    pub(super) suite: Suite,
    pub(super) tokens: BTreeMap<String, String>,
    pub(super) prepared: Vec<Prepared>,
    /// The modules that were assembled for this file, as long as it runs.
    assembled: OnceCell<assemble::Assembled>,
}

/// A case's exchange, with bodies still whole.
pub(super) struct Prepared {
    pub(super) request: Request,
    pub(super) request_body: Vec<u8>,
    pub(super) answer: Answer,
    pub(super) answer_body: Vec<u8>,
    pub(super) secrets: Vec<String>,
}

impl Loaded {
    pub(super) fn read(file: &Path) -> Result<Self> {
        Self::read_at(
            file,
            i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?,
        )
    }

    /// With tokens as of `now`, seconds since the Unix epoch.
    pub(super) fn read_at(file: &Path, now: i64) -> Result<Self> {
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
            assembled: OnceCell::new(),
        };
        for case in &loaded.suite.cases {
            let prepared = loaded
                .prepare(case)
                .map_err(|error| case.problem(file, format!("case `{}`: {error:#}", case.name.value)))?;
            loaded.prepared.push(prepared);
        }
        Ok(loaded)
    }

    /// Which of Scrim's modules the file runs under; none for anybody's own.
    pub(super) fn variants(&self) -> Vec<Option<Modules>> {
        match (&self.suite.policy, &self.suite.modules) {
            (None, _) => vec![None],
            (Some(_), None) => vec![Some(Modules::Suite)],
            (Some(_), Some(modules)) => modules.iter().copied().map(Some).collect(),
        }
    }

    pub(super) fn prepare(&self, case: &Case) -> Result<Prepared> {
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
    pub(super) fn fill(&self, text: &str, used: &mut BTreeSet<String>) -> Result<String> {
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

    pub(super) fn clusters(&self) -> Result<BTreeMap<String, Cluster>> {
        let clusters = self.suite.proxy.clusters.iter().map(|(name, spec)| {
            let everywhere = spec.answers.iter().map(|answer| ("*", answer));
            let somewhere = spec
                .paths
                .iter()
                .flat_map(|(path, answers)| answers.iter().map(move |answer| (path.as_str(), answer)));
            let mut cluster = Cluster::default();
            for (path, answer) in everywhere.chain(somewhere) {
                let made = self
                    .cluster_answer(answer)
                    .with_context(|| format!("cluster `{name}`"))?;
                cluster.answers.entry(path.to_owned()).or_default().push(made);
            }
            Ok((name.clone(), cluster))
        });
        clusters.collect()
    }

    pub(super) fn cluster_answer(&self, spec: &ClusterAnswerSpec) -> Result<ClusterAnswer> {
        let body = self.body(spec.body.as_ref(), spec.json.as_ref(), &mut BTreeSet::new())?;
        let mut headers: Vec<_> = spec
            .headers
            .0
            .iter()
            .map(|(name, value)| (name.clone(), value.clone().into_bytes()))
            .collect();
        if body.is_some() && !headers.iter().any(|(name, _)| name == "content-type") {
            headers.push(("content-type".to_owned(), b"application/json".to_vec()));
        }
        Ok(ClusterAnswer {
            status: spec.status.unwrap_or(200),
            headers,
            body: body.unwrap_or_default(),
            fault: spec.fault.map(|fault| match fault {
                ClusterFaultSpec::Refuse | ClusterFaultSpec::Reset => ClusterFault::Reset,
                ClusterFaultSpec::Timeout => ClusterFault::Timeout,
            }),
        })
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

    /// The exchanges of a case under a delivery: one, or one for each split.
    pub(super) fn exchanges(&self, index: usize, delivery: &Delivery) -> Vec<(Request, Answer)> {
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
    pub(super) fn judge(
        &self,
        index: usize,
        request: &Request,
        answer: &Answer,
        outcome: &Outcome,
    ) -> Result<Vec<String>> {
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
    pub(super) fn redact(&self, text: &str) -> String {
        self.tokens.iter().fold(text.to_owned(), |text, (name, token)| {
            text.replace(token.as_str(), &format!("<token {name}>"))
        })
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
