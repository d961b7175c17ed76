//! The case file's types: what YAML and the JSON Schema know. Everything is parsed here once, and refused here.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::calls::{CallSpec, GrpcAnswerSpec, PieceSpec, RuleSpec};
use super::delivery::Deliveries;
use super::expand::Scope;
pub use super::matchers::{HeaderMatch, NumberMatch, StatusMatch};
use super::problem::{Problem, Problems};
pub use super::tree::Placed;
use super::tree::{Node, written};
use crate::exchange::{FailurePolicy, Limits, Metadata};
use crate::tokens::TokenSpec;

/// A case file: one chain of filters, and the cases that go through it.
#[derive(Clone, Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Scrim cases")]
pub struct Suite {
    /// Scrim's own policy file, relative to this file. Give this or `filters`.
    pub policy: Option<PathBuf>,
    /// Any proxy-wasm modules, outermost first. Give this or `policy`.
    #[serde(default)]
    pub filters: Vec<FilterSpec>,
    /// How Scrim's filters are loaded; every case runs under each. With `policy` only; default: suite.
    pub modules: Option<Vec<Modules>>,
    /// Files whose `variables`, `environment`, `tokens` and `bodies` are taken over; what this file says itself wins.
    #[serde(default)]
    pub include: Vec<PathBuf>,
    /// Values by name, for `${NAME}` anywhere in this file's texts; `$${` stands for `${`. One may use those before it.
    #[serde(default)]
    pub variables: BTreeMap<String, Value>,
    /// Makes every case once for each combination of these variables' values; see a case's `matrix`.
    #[serde(default)]
    pub matrix: BTreeMap<String, Vec<Value>>,
    /// The environment of the modules' VMs.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Tokens made on the spot, by name: for `request.token`, or as `${token:NAME}` in a URL, header or text body.
    #[serde(default)]
    pub tokens: BTreeMap<String, TokenSpec>,
    /// Bodies by name, for `body: {named: NAME}`.
    #[serde(default)]
    pub bodies: BTreeMap<String, BodySpec>,
    /// The proxy in which the filters run: its routes, metadata and limits.
    #[serde(default)]
    pub proxy: ProxySpec,
    /// What the filters may use up.
    pub limits: Option<LimitsSpec>,
    /// How bodies are cut into chunks; every case runs under each. Default: whole, last_chunk_ends, bytes.
    pub deliver: Option<Deliveries>,
    /// On what engines need not agree in this file, since it depends on when a timer goes off.
    #[serde(default)]
    pub uncompared: Vec<Uncompared>,
    /// Values that no case may let out anywhere, as `expect.nowhere`.
    #[serde(default)]
    pub nowhere: Vec<String>,
    /// The cases, run in this order through one gateway.
    pub cases: Vec<Case>,
}

/// On what engines need not agree.
#[derive(Clone, Copy, Debug, serde::Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Uncompared {
    /// Lines that the filters logged.
    Logs,
    /// The filters' metrics.
    Metrics,
}

/// What an included file may hold.
#[derive(Clone, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shared {
    /// Values by name, for this file and those that include it.
    #[serde(default)]
    pub variables: BTreeMap<String, Value>,
    /// The environment of the modules' VMs.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Tokens by name.
    #[serde(default)]
    pub tokens: BTreeMap<String, TokenSpec>,
    /// Bodies by name; files are relative to the included file.
    #[serde(default)]
    pub bodies: BTreeMap<String, BodySpec>,
}

/// How Scrim's filters are loaded.
#[derive(Clone, Copy, Debug, serde::Deserialize, JsonSchema, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "snake_case")]
pub enum Modules {
    /// All four in one module.
    Suite,
    /// Four modules, one after another.
    Chain,
}

impl fmt::Display for Modules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Suite => "suite",
            Self::Chain => "chain",
        })
    }
}

/// One proxy-wasm module of anybody's.
#[derive(Clone, Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilterSpec {
    /// The `.wasm` file, relative to the case file; or a `.wat` file, which is assembled.
    pub module: PathBuf,
    /// The filter's name in the chain; default: the module's file name without its ending.
    pub name: Option<String>,
    /// The `plugin_root_id`.
    #[serde(default)]
    pub root_id: String,
    /// The plugin configuration: a text as it is, anything else as JSON.
    pub configuration: Option<Value>,
    /// Envoy's `PluginConfig.allow_on_headers_stop_iteration`.
    #[serde(default)]
    pub allow_on_headers_stop_iteration: bool,
    /// Envoy's `VmConfig.vm_id`. Filters with the same one share data and queues, and the VM if VM configuration and module are equal
    /// too. Default: `scrim`.
    #[serde(default)]
    pub vm_id: String,
    /// The VM configuration: a text as it is, anything else as JSON.
    pub vm_configuration: Option<Value>,
    /// What becomes of streams once the filter has trapped; the one in which it traps gets 503 in any case. Default: closed.
    #[serde(default)]
    pub failure_policy: FailurePolicySpec,
}

/// What becomes of a filter's streams once it has trapped (Envoy's `failure_policy`).
#[derive(Clone, Copy, Debug, Default, serde::Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum FailurePolicySpec {
    /// They get 503 (`FAIL_CLOSED`).
    #[default]
    Closed,
    /// They pass by the filter (`FAIL_OPEN`).
    Open,
    /// The next one gets a new VM, but not within a second of the last (`FAIL_RELOAD`).
    Reload,
}

impl From<FailurePolicySpec> for FailurePolicy {
    fn from(policy: FailurePolicySpec) -> Self {
        match policy {
            FailurePolicySpec::Closed => FailurePolicy::Closed,
            FailurePolicySpec::Open => FailurePolicy::Open,
            FailurePolicySpec::Reload => FailurePolicy::Reload,
        }
    }
}

/// What the filters may use up; a callback that goes over a limit traps, and the failed case says so. A real Envoy has no such limits,
/// so there they do not count.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct LimitsSpec {
    /// What one callback may burn, about one a WebAssembly instruction: the same in every run. Default: no limit.
    pub fuel: Option<u64>,
    /// How long one callback may run, as `200ms`. Default: 5s.
    pub time: Option<Wait>,
    /// How many bytes of memory a VM may have. Default: 1 GiB, as in Envoy.
    pub memory: Option<usize>,
    /// How many bytes of stack the calls of a filter's functions may take, at most 1 MiB. Default: 512 KiB.
    pub stack: Option<usize>,
}

impl From<LimitsSpec> for Limits {
    fn from(limits: LimitsSpec) -> Self {
        let default = Limits::default();
        Limits {
            fuel: limits.fuel,
            time: limits.time.map_or(default.time, |Wait(time)| time),
            memory: limits.memory.unwrap_or(default.memory),
            stack: limits.stack.unwrap_or(default.stack),
        }
    }
}

/// The proxy in which the filters run.
#[derive(Clone, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxySpec {
    /// Its routes; the first match wins. Default: one route for everything, named `default`.
    #[serde(default)]
    pub routes: Vec<RouteSpec>,
    /// Metadata of the virtual host: filter name, key, text.
    #[serde(default)]
    pub virtual_host_metadata: Metadata,
    /// What a paused body may hold, in bytes. Default: 1 MiB.
    pub buffer_limit: Option<u32>,
    /// The clusters that filters call, such as the one through which a policy fetches its keys. A gateway serves all cases of the file, so
    /// where answers are used in turn, name one delivery (`deliver: [whole]`).
    #[serde(default)]
    pub clusters: BTreeMap<String, ClusterSpec>,
}

/// A cluster that filters call, and what it answers.
#[derive(Clone, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterSpec {
    /// What it answers to calls for any path that `paths` does not name: used in turn, the last again and again. None: 404.
    #[serde(default)]
    pub answers: Vec<ClusterAnswerSpec>,
    /// The same by path, with query.
    #[serde(default)]
    pub paths: BTreeMap<String, Vec<ClusterAnswerSpec>>,
    /// The same by what is called; looked at before `paths` and `answers`, top down.
    #[serde(default)]
    pub rules: Vec<RuleSpec>,
    /// What it answers to gRPC, by `/package.Service/Method`: used in turn. A cluster that has any speaks HTTP/2, and answers other
    /// gRPC calls with status 12.
    #[serde(default)]
    pub grpc: BTreeMap<String, Vec<GrpcAnswerSpec>>,
}

/// What a cluster answers to one call.
#[derive(Clone, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterAnswerSpec {
    /// Default: 200.
    pub status: Option<u16>,
    /// Header lines. `content-type: application/json` is set when they have none and there is a body.
    #[serde(default)]
    pub headers: HeaderLines,
    /// The body. Default: none.
    pub body: Option<BodySpec>,
    /// The body as JSON.
    #[serde(default, deserialize_with = "json", skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
    /// More of the body, piece by piece.
    #[serde(default)]
    pub stream: Vec<TextOr<PieceSpec>>,
    /// Trailers.
    #[serde(default)]
    pub trailers: HeaderLines,
    /// How long it takes until the headers come: so the answers of two calls can come in another order than the calls. Default: no time.
    pub delay: Option<Wait>,
    /// What goes wrong instead of an answer.
    pub fault: Option<ClusterFaultSpec>,
}

/// How a call to a cluster fails.
#[derive(Clone, Copy, Debug, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClusterFaultSpec {
    /// Nobody is there; a filter sees the same as with `reset`.
    Refuse,
    /// The connection breaks before any answer; over HTTP/2 the stream is reset.
    Reset,
    /// It breaks behind the headers, and what there is of `body` and `stream`.
    ResetAfterHeaders,
    /// No answer comes before the caller gives up.
    Timeout,
}

/// A time span: a whole number and `ms` or `s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait(pub Duration);

impl<'de> Deserialize<'de> for Wait {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (digits, unit) = match text.strip_suffix("ms") {
            Some(digits) => (digits, 1),
            None => (text.strip_suffix('s').unwrap_or_default(), 1_000),
        };
        let number: Option<u64> = digits.parse().ok().filter(|number| *number <= 60_000);
        match number {
            Some(number) => Ok(Self(Duration::from_millis(number * unit))),
            None => Err(de::Error::custom(format!(
                "`{text}` is no time span: write it as `1500ms` or `2s`"
            ))),
        }
    }
}

impl JsonSchema for Wait {
    fn schema_name() -> Cow<'static, str> {
        "Wait".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[0-9]+(ms|s)$", "description": "A time span, such as `1500ms` or `2s`."})
    }
}

/// One route of the proxy.
#[derive(Clone, Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteSpec {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Requests whose path begins so.
    pub prefix: String,
    /// Its metadata: filter name, key, text.
    #[serde(default)]
    pub metadata: Metadata,
}

/// One case: a request, what the upstream answers, and what everybody must have seen; or several of these in a row, as `steps`.
#[derive(Clone, Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What the case shows, in a few words; unique in its file.
    pub name: Placed<String>,
    /// Values by name for this case, over those of the file.
    #[serde(default)]
    pub variables: BTreeMap<String, Value>,
    /// Makes the case once for each combination of these variables' values, named `case [key=value, ..]`. The key `exclude` lists
    /// combinations, or parts of some, that are left out.
    #[serde(default)]
    pub matrix: BTreeMap<String, Vec<Value>>,
    /// How long to wait before the request is sent, so that timers go off and copies age.
    pub wait: Option<Wait>,
    /// What the client sends.
    pub request: Option<RequestSpec>,
    /// What the upstream answers. Default: 200 with `{}`.
    pub upstream: Option<AnswerSpec>,
    /// What must be seen; a list means that any one of them may be (then deliveries and engines needn't agree).
    pub expect: Option<Expectations>,
    /// Several exchanges in a row, instead of one `request`. After parsing, a single one is here too.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// Instead of the file's `deliver`.
    pub deliver: Option<Deliveries>,
    /// Runs on these engines only (`wasmtime`, `envoy`); default: all.
    pub engines: Option<Vec<String>>,
    /// The engines differ here, and it is known why: they aren't compared, and each has a snapshot of its own. Fails where
    /// they agree in everything after all.
    pub differs: Option<Differs>,
    /// Envoy crashes here, and it is known why: its process must end, and the embedded engine must say that it would. Nothing else is
    /// compared.
    pub crashes: Option<Differs>,
}

/// What is known of a difference between the engines, or of a crash.
#[derive(Clone, Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Differs {
    /// What Envoy does; where engines differ: what the embedded one does instead.
    pub why: String,
    /// Where Envoy's side of it is described.
    pub link: String,
}

/// One exchange of a case.
#[derive(Clone, Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// How long to wait before the request is sent.
    pub wait: Option<Wait>,
    /// What the client sends.
    pub request: RequestSpec,
    /// What the upstream answers. Default: 200 with `{}`.
    #[serde(default)]
    pub upstream: AnswerSpec,
    /// What must be seen; a list means that any one of them may be.
    pub expect: Expectations,
    /// Values of the answer that the steps behind this one may use as `${NAME}`.
    #[serde(default)]
    pub capture: BTreeMap<String, CaptureSpec>,
    /// The step as it was written, where it uses what others capture.
    #[serde(skip)]
    #[schemars(skip)]
    pub(super) late: Option<Late>,
}

/// A step that isn't known before others have run.
#[derive(Clone, Debug)]
pub(super) struct Late {
    pub(super) node: Node,
    pub(super) scope: Scope,
}

/// A value of the answer that the client got.
#[derive(Clone, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaptureSpec {
    /// The value of this header; of several lines the first.
    pub header: Option<String>,
    /// What is at this JSON pointer (RFC 6901) in the body.
    pub json: Option<String>,
    /// What this regular expression's first group matches, or all of it where it has none: in the header's value, in the text
    /// at the pointer, or in the body where neither is given.
    pub regex: Option<String>,
}

/// What the client sends.
#[derive(Clone, Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestSpec {
    /// Default: GET; POST when there is a body.
    pub method: Option<String>,
    /// The request target as it goes on the wire.
    pub url: String,
    /// The authority. Default: `fhir.example.org`.
    pub host: Option<String>,
    /// A token's name; sent as `authorization: Bearer ..`.
    pub token: Option<String>,
    /// Header lines.
    #[serde(default)]
    pub headers: HeaderLines,
    /// The body.
    pub body: Option<BodySpec>,
    /// The body as JSON; sets `content-type: application/fhir+json` unless `headers` have one.
    #[serde(default, deserialize_with = "json", skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
    /// Trailers; they need a body.
    #[serde(default)]
    pub trailers: HeaderLines,
    /// The sizes in bytes of the chunks in which the body comes, whatever the delivery; what remains comes in one more.
    pub chunks: Option<Vec<usize>>,
}

/// What the upstream answers.
#[derive(Clone, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerSpec {
    /// Default: 200.
    pub status: Option<u16>,
    /// Header lines. `content-type: application/fhir+json` is set when they have none and there is a body.
    #[serde(default)]
    pub headers: HeaderLines,
    /// The body. Default: `{}`, or none for 204, 304 and HEAD.
    pub body: Option<BodySpec>,
    /// The body as JSON.
    #[serde(default, deserialize_with = "json", skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
    /// Trailers.
    #[serde(default)]
    pub trailers: HeaderLines,
    /// The sizes in bytes of the chunks in which the body comes, whatever the delivery; what remains comes in one more.
    pub chunks: Option<Vec<usize>>,
    /// What goes wrong at the upstream.
    pub fault: Option<FaultSpec>,
}

/// What goes wrong at the upstream.
#[derive(Clone, Copy, Debug, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultSpec {
    /// It refuses connections.
    Refuse,
    /// It breaks the connection before any answer.
    ResetBeforeHeaders,
    /// It breaks the connection after the last chunk.
    ResetAfterBody,
    /// It breaks the connection after so many bytes of the body.
    ResetAfter(usize),
}

/// A body: a text, or one of the ways below.
#[derive(Clone, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BodyWays {
    /// A text as it is.
    pub text: Option<String>,
    /// A file's bytes; relative to the file that says so.
    pub file: Option<PathBuf>,
    /// JSON, in one line.
    #[serde(default, deserialize_with = "json", skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
    /// Bytes as base64.
    pub base64: Option<String>,
    /// A body of the file's `bodies`.
    pub named: Option<String>,
    /// A JSON or YAML file, sent as JSON in one line; relative to the file that says so.
    pub fixture: Option<PathBuf>,
    /// Laid over the JSON of the ways above as a merge patch (RFC 7396): `null` removes a member.
    pub merge: Option<Value>,
    /// Put into the JSON of the ways above, by JSON pointer (RFC 6901), after `merge`; `-` at the end of a pointer appends to an array.
    #[serde(default)]
    pub set: BTreeMap<String, Value>,
}

/// A body: a text, or [`BodyWays`].
pub type BodySpec = TextOr<BodyWays>;

impl FromText for BodyWays {
    fn from_text(text: String) -> Self {
        Self {
            text: Some(text),
            ..Self::default()
        }
    }
}

/// What must be seen: one description, or several of which any may hold.
#[derive(Clone, Debug)]
pub struct Expectations {
    /// The descriptions, at least one.
    pub any: Vec<Expect>,
    /// Whether they were written as a list.
    pub listed: bool,
}

/// What everybody must have seen. What isn't mentioned isn't checked, except that the answer must be complete.
#[derive(Clone, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// `none`: nothing reached the upstream; `reached`: something did; or what it saw.
    pub upstream: Option<TextOr<SeenSpec>>,
    /// The status that the client got: 200, `2xx`, or a list of such.
    pub status: Option<StatusMatch>,
    /// Header lines that the client got.
    #[serde(default)]
    pub headers: BTreeMap<String, HeaderMatch>,
    /// Headers that the client must not have got.
    #[serde(default)]
    pub absent: Vec<String>,
    /// Headers that the client must have got in this order, whatever stands between them.
    #[serde(default)]
    pub header_order: Vec<String>,
    /// Trailers that the client got.
    #[serde(default)]
    pub trailers: BTreeMap<String, HeaderMatch>,
    /// The body that the client got: a text that it equals, or matchers.
    pub body: Option<TextOr<BodyMatch>>,
    /// The body that the client got equals this JSON.
    #[serde(default, deserialize_with = "json", skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
    /// Whether the answer came to its proper end; false: the stream was reset. Default: true.
    pub complete: Option<bool>,
    /// Scrim's log-safe path (filter state `scrim.path`).
    pub log_safe_path: Option<TextOr<TextMatch>>,
    /// A part of Scrim's audit record (filter state `scrim.audit`), compared as `body.json_subset`.
    pub audit: Option<Value>,
    /// Filter state by name.
    #[serde(default)]
    pub filter_state: BTreeMap<String, TextOr<TextMatch>>,
    /// Lines that the filters logged, joined by line feeds.
    pub logs: Option<TextMatch>,
    /// By how much metrics of the filters changed since the exchange before, by name; what didn't change is 0.
    #[serde(default)]
    pub metrics: BTreeMap<String, NumberMatch>,
    /// The calls that clusters got since the case before, by cluster: as many, in this order.
    #[serde(default)]
    pub calls: BTreeMap<String, Vec<CallSpec>>,
    /// Values that must be nowhere: not upstream, nor at clusters, nor at the client, nor in logs, the access log, filter state or metrics' names,
    /// in whatever case.
    #[serde(default)]
    pub nowhere: Vec<String>,
    /// Values that may reach the upstream, and nothing else of what `nowhere` names.
    #[serde(default)]
    pub upstream_only: Vec<String>,
    /// Values that must be neither in logs, the access log, filter state or metrics' names, nor at clusters.
    #[serde(default)]
    pub unlogged: Vec<String>,
    /// Compares everything that was seen with the `.snap` file beside the case file; `--bless` writes it. No step of the case may list
    /// alternatives then.
    #[serde(default)]
    pub snapshot: bool,
}

/// What the upstream must have seen.
#[derive(Clone, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SeenSpec {
    /// The method.
    pub method: Option<String>,
    /// The request target.
    pub url: Option<TextOr<TextMatch>>,
    /// The authority.
    pub host: Option<TextOr<TextMatch>>,
    /// Header lines.
    #[serde(default)]
    pub headers: BTreeMap<String, HeaderMatch>,
    /// Headers that must not be there.
    #[serde(default)]
    pub absent: Vec<String>,
    /// Headers that must be there in this order, whatever stands between them.
    #[serde(default)]
    pub header_order: Vec<String>,
    /// Trailers.
    #[serde(default)]
    pub trailers: BTreeMap<String, HeaderMatch>,
    /// The body.
    pub body: Option<TextOr<BodyMatch>>,
    /// `none` or `reached`, from the short spelling.
    #[serde(skip)]
    pub word: Option<String>,
}

impl FromText for SeenSpec {
    fn from_text(text: String) -> Self {
        Self {
            word: Some(text),
            ..Self::default()
        }
    }

    fn check_text(text: &str) -> Result<(), String> {
        match text {
            "none" | "reached" => Ok(()),
            other => Err(format!(
                "`{other}` says nothing about the upstream: write `none`, `reached` or what it saw"
            )),
        }
    }
}

/// What a text must be; everything that is given must hold.
#[derive(Clone, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TextMatch {
    /// It equals this.
    pub exact: Option<String>,
    /// This regular expression (of Rust's `regex`) matches somewhere in it.
    pub regex: Option<String>,
    /// It contains this, or all of these.
    #[serde(default)]
    pub contains: Texts,
    /// It contains none of these.
    #[serde(default)]
    pub not_contains: Texts,
    /// It equals one of these.
    #[serde(default)]
    pub any: Vec<String>,
    /// It isn't there at all.
    #[serde(default)]
    pub absent: bool,
    /// It is a number of at least this.
    pub at_least: Option<f64>,
    /// It is a number of at most this.
    pub at_most: Option<f64>,
    /// It is there, and this doesn't hold.
    pub not: Option<Box<TextOr<TextMatch>>>,
}

impl FromText for TextMatch {
    fn from_text(text: String) -> Self {
        Self {
            exact: Some(text),
            ..Self::default()
        }
    }
}

/// What a body must be; everything that is given must hold.
#[derive(Clone, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BodyMatch {
    /// It equals this text.
    pub text: Option<String>,
    /// It equals this file's bytes.
    pub file: Option<PathBuf>,
    /// It equals this JSON; the order of members doesn't count.
    #[serde(default, deserialize_with = "json", skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
    /// It holds this JSON: every member that is named has this value, arrays are as long and match one by one.
    /// In place of a value: `{$regex: ..}`, `{$contains: ..}`, `{$absent: true}`, `{$present: true}`, `{$any: [..]}`, `{$not: ..}`,
    /// `{$has: ..}` (an array's element), `{$size: ..}` (of an array, object or text), `{$at_least: ..}`, `{$at_most: ..}`.
    #[serde(default, deserialize_with = "json", skip_serializing_if = "Option::is_none")]
    pub json_subset: Option<Value>,
    /// JSON pointers (RFC 6901) at which there must be nothing.
    #[serde(default)]
    pub json_absent: Vec<String>,
    /// This regular expression matches somewhere in it.
    pub regex: Option<String>,
    /// It contains this, or all of these.
    #[serde(default)]
    pub contains: Texts,
    /// It contains none of these.
    #[serde(default)]
    pub not_contains: Texts,
    /// It is valid by this JSON Schema: a file, or the schema itself. Draft 2020-12 unless it says another.
    pub schema: Option<Value>,
    /// It has no bytes.
    #[serde(default)]
    pub empty: bool,
    /// How many bytes it has.
    pub size: Option<NumberMatch>,
    /// This doesn't hold.
    pub not: Option<Box<TextOr<BodyMatch>>>,
    /// Its bytes are those that the other side sent.
    #[serde(default)]
    pub unchanged: bool,
}

impl FromText for BodyMatch {
    fn from_text(text: String) -> Self {
        Self {
            text: Some(text),
            ..Self::default()
        }
    }
}

/// Header lines: a map from names to a value or a list of values, or a list of one-entry maps where the order counts.
#[derive(Clone, Debug, Default)]
pub struct HeaderLines(pub Vec<(String, String)>);

/// One text or a list of texts.
#[derive(Clone, Debug, Default)]
pub struct Texts(pub Vec<String>);

/// A `T` in full, or a text that stands for one.
#[derive(Clone, Debug, Default)]
pub struct TextOr<T>(pub T);

/// What can be written as a mere text.
pub trait FromText: Sized {
    /// What the text stands for.
    fn from_text(text: String) -> Self;
    /// Refuses a text that stands for nothing.
    ///
    /// # Errors
    /// What is wrong with it, and the mend.
    fn check_text(text: &str) -> Result<(), String> {
        let _ = text;
        Ok(())
    }
}

/// JSON that is given, `null` too.
pub(super) fn json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Suite {
    /// Takes over what is included, gives each case its steps, and checks what types can't.
    pub(super) fn settle(
        mut self,
        file: &Path,
        shared: Vec<(PathBuf, Shared)>,
        mut late: BTreeMap<(usize, usize), Late>,
    ) -> Result<Self, Problems> {
        for (include, shared) in shared {
            let base = include.parent().unwrap_or(Path::new(""));
            for (name, value) in shared.environment {
                self.environment.entry(name).or_insert(value);
            }
            for (name, mut token) in shared.tokens {
                token.key = token.key.map(|key| base.join(key));
                self.tokens.entry(name).or_insert(token);
            }
            for (name, mut body) in shared.bodies {
                body.0.file = body.0.file.map(|file| base.join(file));
                body.0.fixture = body.0.fixture.map(|file| base.join(file));
                self.bodies.entry(name).or_insert(body);
            }
        }
        let mut problems = Vec::new();
        if let Err(what) = self.check() {
            problems.push(Problem {
                file: file.to_owned(),
                line: 1,
                column: 1,
                what,
            });
        }
        let mut names = BTreeSet::new();
        for (index, case) in self.cases.iter_mut().enumerate() {
            let name = case.name.value.clone();
            if !names.insert(name.clone()) {
                problems.push(case.problem(file, format!("two cases are named `{name}`: give each its own name")));
            }
            if let Err(what) = case.settle() {
                problems.push(case.problem(file, what));
            }
            for (number, step) in case.steps.iter_mut().enumerate() {
                step.late = late.remove(&(index, number));
            }
        }
        for case in &self.cases {
            if let Err(what) = case.check(&self) {
                problems.push(case.problem(file, format!("case `{}`: {what}", case.name.value)));
            }
        }
        if problems.is_empty() {
            Ok(self)
        } else {
            Err(Problems::new(problems))
        }
    }

    fn check(&self) -> Result<(), String> {
        match (&self.policy, self.filters.is_empty()) {
            (Some(_), false) => Err("`policy` and `filters` exclude each other: keep one".into()),
            (None, true) => {
                Err("there is nothing to test: give `policy` (Scrim's own) or `filters` (any module)".into())
            }
            _ if self.policy.is_none() && self.modules.is_some() => {
                Err("`modules` is for `policy` only: take it away".into())
            }
            _ => Ok(()),
        }
    }

    /// The JSON Schema of case files.
    pub fn schema() -> Schema {
        schemars::schema_for!(Self)
    }
}

impl Case {
    /// The line of its name, from 1.
    pub fn line(&self) -> u64 {
        self.name.line.max(1)
    }

    /// Whether what it shows is compared with a snapshot.
    pub(super) fn snapshot(&self) -> bool {
        let mut expects = self.steps.iter().flat_map(|step| &step.expect.any);
        expects.any(|expect| expect.snapshot)
    }

    /// A problem at its name.
    pub(super) fn problem(&self, file: &Path, what: String) -> Problem {
        Problem {
            file: file.to_owned(),
            line: self.line(),
            column: self.name.column.max(1),
            what,
        }
    }

    /// Makes one step of a case without `steps`.
    fn settle(&mut self) -> Result<(), String> {
        match (self.request.take(), self.expect.take(), self.steps.is_empty()) {
            (Some(request), Some(expect), true) => {
                self.steps.push(Step {
                    wait: self.wait.take(),
                    request,
                    upstream: self.upstream.take().unwrap_or_default(),
                    expect,
                    capture: BTreeMap::new(),
                    late: None,
                });
                Ok(())
            }
            (None, None, false) if self.upstream.is_none() && self.wait.is_none() => Ok(()),
            (_, _, false) => Err(
                "a case with `steps` has `request`, `upstream`, `expect` and `wait` in them: move these there".into(),
            ),
            (None, _, true) => Err("the key `request` is missing: add it, or `steps`".into()),
            (Some(_), None, true) => Err("the key `expect` is missing: add it".into()),
        }
    }

    fn check(&self, suite: &Suite) -> Result<(), String> {
        self.steps.iter().try_for_each(|step| step.check(suite))?;
        if self.snapshot() && self.steps.iter().any(|step| step.expect.listed) {
            return Err(
                "`snapshot` can't be where a step lists alternatives: write each `expect` as one description".into(),
            );
        }
        if let Some(other) = self
            .engines
            .iter()
            .flatten()
            .find(|name| !["wasmtime", "envoy"].contains(&name.as_str()))
        {
            return Err(format!("there is no engine `{other}`: use wasmtime or envoy"));
        }
        Ok(())
    }
}

impl Step {
    fn check(&self, suite: &Suite) -> Result<(), String> {
        if self.request.body.is_some() && self.request.json.is_some() {
            return Err("`request` has both `body` and `json`: keep one".into());
        }
        if self.upstream.body.is_some() && self.upstream.json.is_some() {
            return Err("`upstream` has both `body` and `json`: keep one".into());
        }
        for expect in &self.expect.any {
            if suite.policy.is_none() && (expect.audit.is_some() || expect.log_safe_path.is_some()) {
                return Err("`audit` and `log_safe_path` need `policy`: use `filter_state` for other modules".into());
            }
        }
        for (name, capture) in &self.capture {
            let ways = (&capture.header, &capture.json, &capture.regex);
            if matches!(ways, (Some(_), Some(_), _) | (None, None, None)) {
                return Err(format!(
                    "`{name}` is captured from one place: give `header`, `json` or `regex`"
                ));
            }
        }
        Ok(())
    }
}

impl<'de, T: Deserialize<'de> + FromText> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de> + FromText> Visitor<'de> for Either<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a map")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
                T::check_text(text).map_err(E::custom)?;
                Ok(T::from_text(text.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(de::value::MapAccessDeserializer::new(map))
            }
        }
        written(deserializer, Either(PhantomData)).map(TextOr)
    }
}

impl<'de> Deserialize<'de> for Expectations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Expectations;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map, or a list of maps of which any may hold")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Expectations, A::Error> {
                let one = Expect::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(Expectations {
                    any: vec![one],
                    listed: false,
                })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Expectations, A::Error> {
                let mut any = Vec::new();
                while let Some(one) = seq.next_element()? {
                    any.push(one);
                }
                if any.is_empty() {
                    return Err(de::Error::custom("`expect` is empty: say what must be seen"));
                }
                Ok(Expectations { any, listed: true })
            }
        }
        deserializer.deserialize_any(OneOrMore)
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Texts;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts(vec![text.to_owned()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Texts, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = seq.next_element()? {
                    texts.push(text);
                }
                Ok(Texts(texts))
            }
        }
        written(deserializer, OneOrMore)
    }
}

impl<'de> Deserialize<'de> for HeaderLines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lines;
        impl Lines {
            fn push<'de, A: MapAccess<'de>>(mut map: A, out: &mut Vec<(String, String)>) -> Result<(), A::Error> {
                while let Some((name, Texts(values))) = map.next_entry::<String, Texts>()? {
                    if name.is_empty() || name.starts_with(':') || name.eq_ignore_ascii_case("host") {
                        return Err(de::Error::custom(format!(
                            "`{name}` can't be set as a header: use `method`, `url` and `host`"
                        )));
                    }
                    out.extend(values.into_iter().map(|value| (name.to_ascii_lowercase(), value)));
                }
                Ok(())
            }
        }
        struct OneMap(Vec<(String, String)>);
        impl<'de> Deserialize<'de> for OneMap {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer
                    .deserialize_map(Lines)
                    .map(|HeaderLines(lines)| Self(lines))
            }
        }
        impl<'de> Visitor<'de> for Lines {
            type Value = HeaderLines;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of header names to values, or a list of such maps")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<HeaderLines, A::Error> {
                let mut lines = Vec::new();
                Self::push(map, &mut lines)?;
                Ok(HeaderLines(lines))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<HeaderLines, A::Error> {
                let mut lines = Vec::new();
                while let Some(OneMap(more)) = seq.next_element()? {
                    lines.extend(more);
                }
                Ok(HeaderLines(lines))
            }
        }
        deserializer.deserialize_any(Lines)
    }
}

impl<T: JsonSchema> JsonSchema for TextOr<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("{}OrText", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let full = generator.subschema_for::<T>();
        json_schema!({"anyOf": [{"type": ["string", "integer"]}, full]})
    }
}

impl JsonSchema for Expectations {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Expectations".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<Expect>();
        json_schema!({
            "description": "What must be seen; a list: any one of them.",
            "anyOf": [one, {"type": "array", "minItems": 1, "items": one}],
        })
    }
}

impl JsonSchema for Texts {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Texts".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"type": ["string", "integer"]}, {"type": "array", "items": {"type": ["string", "integer"]}}]})
    }
}

impl JsonSchema for HeaderLines {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HeaderLines".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let values = generator.subschema_for::<Texts>();
        let map = json_schema!({"type": "object", "additionalProperties": values});
        json_schema!({"anyOf": [map, {"type": "array", "items": map}]})
    }
}
