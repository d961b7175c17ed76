//! Scripted clusters in case files, and what they must have got.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use schemars::JsonSchema;

use super::format::{
    BodyMatch, BodySpec, ClusterAnswerSpec, ClusterFaultSpec, ClusterSpec, HeaderLines, HeaderMatch, TextMatch, TextOr,
    Wait,
};
use super::load::Loaded;
use super::matching::Wrong;
use super::render;
use crate::exchange::{Called, Cluster, ClusterAnswer, ClusterFault, GrpcAnswer, Headers, Piece, Rule, When};

/// Answers to the calls that a description takes; the first that takes a call has it.
#[derive(Clone, Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    /// Which calls. What isn't mentioned may be anything.
    pub when: CallSpec,
    /// What it answers to them: used in turn, the last again and again.
    pub answers: Vec<ClusterAnswerSpec>,
}

/// A call to a cluster. What isn't mentioned may be anything.
#[derive(Clone, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallSpec {
    /// The method.
    pub method: Option<String>,
    /// The path, with its query.
    pub path: Option<TextOr<TextMatch>>,
    /// The authority.
    pub host: Option<TextOr<TextMatch>>,
    /// Header lines.
    #[serde(default)]
    pub headers: BTreeMap<String, HeaderMatch>,
    /// Headers that must not be there.
    #[serde(default)]
    pub absent: Vec<String>,
    /// The body.
    pub body: Option<TextOr<BodyMatch>>,
    /// The messages of a gRPC call, in order.
    pub messages: Option<Vec<TextOr<BodyMatch>>>,
}

/// A piece of a body, or a gRPC message: a text, or one of the ways below.
#[derive(Clone, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PieceSpec {
    /// The pause before it.
    pub after: Option<Wait>,
    /// A text as it is.
    pub text: Option<String>,
    /// JSON, in one line.
    #[serde(
        default,
        deserialize_with = "super::format::json",
        skip_serializing_if = "Option::is_none"
    )]
    pub json: Option<serde_json::Value>,
    /// Bytes as base64.
    pub base64: Option<String>,
}

impl super::format::FromText for PieceSpec {
    fn from_text(text: String) -> Self {
        Self {
            text: Some(text),
            ..Self::default()
        }
    }
}

/// What a cluster answers to one gRPC call or stream. One without `initial_metadata` and `messages` whose `status` is not 0 is sent in
/// one head, as gRPC servers do.
#[derive(Clone, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrpcAnswerSpec {
    /// It answers when so many messages have come, or the call's last. Default: 1.
    pub after_messages: Option<usize>,
    /// How long it takes until the initial metadata comes. Default: no time.
    pub delay: Option<Wait>,
    /// The initial metadata.
    #[serde(default)]
    pub initial_metadata: HeaderLines,
    /// The messages.
    #[serde(default)]
    pub messages: Vec<TextOr<PieceSpec>>,
    /// The pause before the trailing metadata. Default: none.
    pub pause: Option<Wait>,
    /// The trailing metadata, beside status and message.
    #[serde(default)]
    pub trailing_metadata: HeaderLines,
    /// The `grpc-status`. Default: 0.
    #[serde(default)]
    pub status: u32,
    /// The `grpc-message`, as on the wire.
    #[serde(default)]
    pub message: String,
    /// What goes wrong instead.
    pub fault: Option<ClusterFaultSpec>,
}

impl CallSpec {
    /// Adds what of a call is otherwise.
    fn compare(&self, place: &str, call: &Called, folder: &Path, wrong: &mut Wrong) -> Result<()> {
        if let Some(method) = self.method.as_ref().filter(|method| **method != call.method) {
            wrong.add(&format!("method {place}"), method, &call.method);
        }
        if let Some(TextOr(path)) = &self.path {
            wrong.text(&format!("path {place}"), path, Some(&render::text(&call.path)));
        }
        if let Some(TextOr(host)) = &self.host {
            wrong.text(&format!("host {place}"), host, Some(&call.authority));
        }
        for (name, wanted) in &self.headers {
            wrong.header(place, name, wanted, &call.headers);
        }
        wrong.absent(place, &self.absent, &call.headers);
        if let Some(TextOr(body)) = &self.body {
            wrong.body(&format!("body {place}"), body, &call.body, b"", folder)?;
        }
        if let Some(messages) = &self.messages {
            if messages.len() != call.messages.len() {
                wrong.add(&format!("messages {place}"), messages.len(), call.messages.len());
            }
            for (TextOr(wanted), message) in messages.iter().zip(&call.messages) {
                wrong.body(&format!("message {place}"), wanted, message, b"", folder)?;
            }
        }
        Ok(())
    }

    /// The same as a condition.
    fn condition(&self, folder: &Path) -> When {
        let (spec, folder) = (self.clone(), folder.to_owned());
        When::new(move |call| {
            let mut wrong = Wrong::default();
            spec.compare("", call, &folder, &mut wrong).is_ok() && wrong.is_empty()
        })
    }
}

/// Holds the calls that clusters got against `expect.calls`: as many, one by one, in order.
pub(super) fn compare(
    wanted: &BTreeMap<String, Vec<CallSpec>>,
    calls: &BTreeMap<String, Vec<Called>>,
    folder: &Path,
    wrong: &mut Wrong,
) -> Result<()> {
    for (cluster, wanted) in wanted {
        let got = calls.get(cluster).map_or(&[][..], Vec::as_slice);
        if wanted.len() != got.len() {
            wrong.add(&format!("calls to cluster `{cluster}`"), wanted.len(), list(got));
            continue;
        }
        for (number, (wanted, got)) in wanted.iter().zip(got).enumerate() {
            let place = format!("of call {} to cluster `{cluster}`", number + 1);
            wanted.compare(&place, got, folder, wrong)?;
        }
    }
    Ok(())
}

fn list(calls: &[Called]) -> String {
    let lines = calls
        .iter()
        .map(|call| format!("\n{} {}", call.method, render::text(&call.path)));
    format!("{}{}", calls.len(), lines.collect::<String>())
}

impl Loaded {
    /// The clusters of the file.
    pub(super) fn clusters(&self) -> Result<BTreeMap<String, Cluster>> {
        let clusters = self.suite.proxy.clusters.iter().map(|(name, spec)| {
            let cluster = self.cluster(spec).with_context(|| format!("cluster `{name}`"))?;
            Ok((name.clone(), cluster))
        });
        clusters.collect()
    }

    fn cluster(&self, spec: &ClusterSpec) -> Result<Cluster> {
        let mut cluster = Cluster::default();
        for rule in &spec.rules {
            if rule.answers.is_empty() {
                bail!("a rule without `answers`: give at least one");
            }
            cluster.rules.push(Rule {
                when: rule.when.condition(&self.folder),
                answers: self.cluster_answers(&rule.answers)?,
            });
        }
        if !spec.answers.is_empty() {
            cluster
                .answers
                .insert("*".to_owned(), self.cluster_answers(&spec.answers)?);
        }
        for (path, answers) in &spec.paths {
            let answers = self.cluster_answers(answers)?;
            cluster.answers.entry(path.clone()).or_default().extend(answers);
        }
        for (path, answers) in &spec.grpc {
            if path.split('/').count() != 3 || !path.starts_with('/') {
                bail!("`{path}` is no gRPC method: write `/package.Service/Method`");
            }
            let answers = answers.iter().map(|answer| self.grpc_answer(answer));
            cluster.grpc.insert(path.clone(), answers.collect::<Result<_>>()?);
        }
        Ok(cluster)
    }

    fn cluster_answers(&self, specs: &[ClusterAnswerSpec]) -> Result<Vec<ClusterAnswer>> {
        specs.iter().map(|spec| self.cluster_answer(spec)).collect()
    }

    fn cluster_answer(&self, spec: &ClusterAnswerSpec) -> Result<ClusterAnswer> {
        let body = self.body(spec.body.as_ref(), spec.json.as_ref(), &mut Default::default())?;
        let mut headers = lines(&spec.headers);
        let has_body = body.is_some() || !spec.stream.is_empty();
        if has_body && !headers.iter().any(|(name, _)| name == "content-type") {
            headers.push(("content-type".to_owned(), b"application/json".to_vec()));
        }
        Ok(ClusterAnswer {
            status: spec.status.unwrap_or(200),
            headers,
            body: body.unwrap_or_default(),
            pieces: self.pieces(&spec.stream)?,
            trailers: lines(&spec.trailers),
            delay: span(spec.delay),
            fault: spec.fault.map(fault),
        })
    }

    fn grpc_answer(&self, spec: &GrpcAnswerSpec) -> Result<GrpcAnswer> {
        Ok(GrpcAnswer {
            after_messages: spec.after_messages.unwrap_or(1),
            delay: span(spec.delay),
            initial_metadata: lines(&spec.initial_metadata),
            messages: self.pieces(&spec.messages)?,
            pause: span(spec.pause),
            trailing_metadata: lines(&spec.trailing_metadata),
            status: spec.status,
            message: spec.message.clone(),
            fault: spec.fault.map(fault),
        })
    }

    fn pieces(&self, specs: &[TextOr<PieceSpec>]) -> Result<Vec<Piece>> {
        let piece = |TextOr(spec): &TextOr<PieceSpec>| {
            let body: BodySpec = TextOr(super::format::BodyWays {
                text: spec.text.clone(),
                json: spec.json.clone(),
                base64: spec.base64.clone(),
                ..Default::default()
            });
            let bytes = self.body(Some(&body), None, &mut Default::default())?;
            Ok(Piece {
                after: span(spec.after),
                bytes: bytes.unwrap_or_default(),
            })
        };
        specs.iter().map(piece).collect()
    }
}

fn lines(lines: &HeaderLines) -> Headers {
    let lines = lines.0.iter();
    lines
        .map(|(name, value)| (name.clone(), value.clone().into_bytes()))
        .collect()
}

fn span(wait: Option<Wait>) -> Duration {
    wait.map_or(Duration::ZERO, |Wait(span)| span)
}

fn fault(spec: ClusterFaultSpec) -> ClusterFault {
    match spec {
        ClusterFaultSpec::Refuse | ClusterFaultSpec::Reset => ClusterFault::Reset,
        ClusterFaultSpec::ResetAfterHeaders => ClusterFault::ResetAfterHeaders,
        ClusterFaultSpec::Timeout => ClusterFault::Timeout,
    }
}
