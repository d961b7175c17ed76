//! What goes through a gateway: plain data that cases, both engines and the command line share.
//!
//! 1. An [`Engine`] starts a [`Gateway`] from a [`Setup`]; a gateway carries one [`Request`] at a time to a scripted
//!    upstream and says what everybody saw, as an [`Outcome`].
//! 2. Both engines must give equal outcomes for equal input; what can't be compared has no field here.
//! 3. Header names are lowercase; values are bytes; every line is kept, in order.
//!
//! ```
//! use scrim::exchange::{Answer, Body, Engine, Filter, Outcome, Request, Setup};
//! use scrim::wasm::Wasmtime;
//!
//! /// The same test on any engine; [`Envoy`](crate::envoy::Envoy) is the other one.
//! fn refused(engine: &dyn Engine, plugin: Filter) -> anyhow::Result<Outcome> {
//!     let setup = Setup { buffer_limit: Some(1024), ..Setup::of([plugin]) };
//!     let mut request = Request::post("/records").header("content-type", "text/plain");
//!     request.body = Body::chunked(["in ", "three ", "pieces"]);
//!     engine.start(&setup)?.exchange(&request, &Answer::of_status(503).header("retry-after", "1"))
//! }
//!
//! // A module that does nothing lets everything pass.
//! let nothing = Filter::from_wat(r#"(module
//!     (memory (export "memory") 1)
//!     (func (export "malloc") (param i32) (result i32) (i32.const 1024))
//!     (func (export "proxy_abi_version_0_2_1")))"#)?;
//! let outcome = refused(&Wasmtime::new()?, nothing)?;
//! assert_eq!(outcome.status(), Some(503));
//! assert_eq!(outcome.upstream.unwrap().body, b"in three pieces");
//! assert_eq!(outcome.client.unwrap().header("Retry-After"), ["1"]);
//! # anyhow::Ok(())
//! ```

mod build;

mod cluster;
pub mod tcp;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use self::cluster::{Called, Cluster, ClusterAnswer, ClusterFault, GrpcAnswer, Piece, Rule, Script, When};
pub(crate) use self::cluster::{framed, unframed};
use crate::failure::Failure;

/// Header lines in order, names lowercase.
pub type Headers = Vec<(String, Vec<u8>)>;

/// An engine that can host filters: wasmtime inside this process, or a real Envoy.
pub trait Engine {
    /// `wasmtime` or `envoy`.
    fn name(&self) -> &'static str;
    /// Loads and configures the filters; a module that refuses its configuration is an error here.
    fn start(&self, setup: &Setup) -> anyhow::Result<Box<dyn Gateway>>;

    /// As [`Engine::start`], for network filters: they see TCP connections. The setup's routes, buffer limit and
    /// reported filter state mean nothing there. Clusters can be called in the embedded engine only.
    ///
    /// # Errors
    /// As [`Engine::start`], and where the engine has no TCP.
    fn start_tcp(&self, setup: &Setup) -> anyhow::Result<Box<dyn tcp::Gateway>> {
        let _ = setup;
        anyhow::bail!("the engine `{}` hosts no network filters", self.name())
    }
}

impl<E: Engine + ?Sized> Engine for &E {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn start(&self, setup: &Setup) -> anyhow::Result<Box<dyn Gateway>> {
        (**self).start(setup)
    }

    fn start_tcp(&self, setup: &Setup) -> anyhow::Result<Box<dyn tcp::Gateway>> {
        (**self).start_tcp(setup)
    }
}

/// A running chain of filters in front of a scripted upstream.
pub trait Gateway {
    /// Sends one request through the chain and waits until the stream is over and logged.
    fn exchange(&mut self, request: &Request, answer: &Answer) -> anyhow::Result<Outcome>;

    /// Lets time pass, and timers go off.
    ///
    /// # Errors
    /// When what the timers set off does not end.
    fn wait(&mut self, time: Duration) -> anyhow::Result<()>;
}

/// What a gateway is made of.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// The filters, outermost first: requests pass top down, responses bottom up.
    pub filters: Vec<Filter>,
    /// The proxy's own routes; the first match wins. None: one route for everything, named `default`, without metadata.
    pub routes: Vec<Route>,
    /// String metadata of the virtual host: filter name, key, value.
    pub virtual_host_metadata: Metadata,
    /// What a paused body may hold before the proxy gives up; Envoy's default is 1 MiB.
    pub buffer_limit: Option<u32>,
    /// Environment of the VMs.
    pub environment: BTreeMap<String, String>,
    /// The clusters that filters may call, beside the upstream.
    pub clusters: BTreeMap<String, Cluster>,
    /// Filter state to report in [`Outcome::filter_state`], as the filters named it (`scrim.path`).
    pub report: Vec<String>,
    /// What the filters may use up; none: what the engine was made with. A real Envoy has no such limits.
    pub limits: Option<Limits>,
}

/// What guests may use up. A callback that goes over a limit traps, and the trap names the limit ([`Failure`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What one call into a guest may burn, about one a WebAssembly instruction; the same in every run. None: fuel is not counted.
    pub fuel: Option<u64>,
    /// How long one call into a guest may run, host calls included; counted in steps of 10 ms.
    pub time: Duration,
    /// How many bytes of memory a VM may have. What is over it is refused, as Envoy does: `memory.grow` answers -1.
    pub memory: usize,
    /// How many bytes of stack a guest's calls may take; at most 1 MiB, since threads have little more.
    pub stack: usize,
}

impl Default for Limits {
    /// No fuel is counted, 5 s a callback, 1 GiB of memory (Envoy's own limit), 512 KiB of stack.
    fn default() -> Self {
        Limits {
            fuel: None,
            time: Duration::from_secs(5),
            memory: 1 << 30,
            stack: 512 << 10,
        }
    }
}

/// filter name -> key -> string.
pub type Metadata = BTreeMap<String, BTreeMap<String, String>>;

/// One proxy-wasm filter of the chain.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The filter's name in the chain.
    pub name: String,
    /// The `plugin_root_id`.
    pub root_id: String,
    /// The module's file.
    pub module: PathBuf,
    /// The plugin configuration, as the module gets it.
    pub configuration: Vec<u8>,
    /// Envoy's `PluginConfig.allow_on_headers_stop_iteration`.
    pub allow_on_headers_stop_iteration: bool,
    /// Envoy's `VmConfig.vm_id`; empty: `scrim`. Filters with equal ones, equal VM configuration and an equal module share a VM.
    pub vm_id: String,
    /// The VM configuration, as the module gets it.
    pub vm_configuration: Vec<u8>,
    /// What becomes of streams once the VM has failed.
    pub failure_policy: FailurePolicy,
}

impl Filter {
    /// The VM's id as both engines take it.
    #[must_use]
    pub fn vm_id(&self) -> &str {
        if self.vm_id.is_empty() { VM_ID } else { &self.vm_id }
    }
}

/// The id of VMs for which none is given. Modules with the same VM id share data; the scope is one Envoy worker's modules of Scrim and
/// nobody else's.
pub const VM_ID: &str = "scrim";

/// What becomes of a filter's streams when its VM has failed (Envoy's `PluginConfig.failure_policy`).
///
/// The stream in which it fails gets 503 under every policy, or is reset if the client has the response's headers already, as seen
/// on Envoy 1.40. A filter that does not start is refused under every policy, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FailurePolicy {
    /// They get 503 (`FAIL_CLOSED`).
    #[default]
    Closed,
    /// Later ones pass by the filter (`FAIL_OPEN`).
    Open,
    /// The next stream gets a new VM, not sooner than after a pause; until then they get 503 (`FAIL_RELOAD`).
    Reload,
}

/// One route of the proxy.
#[derive(Clone, Debug, Default)]
pub struct Route {
    /// The route's name (`xds.route_name`).
    pub name: String,
    /// Requests whose path begins so.
    pub prefix: String,
    /// String metadata of the route.
    pub metadata: Metadata,
}

/// What the client sends.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Such as `GET`.
    pub method: String,
    /// The request target as on the wire, never normalised by the harness.
    pub target: Vec<u8>,
    /// `Host`, which filters see as `:authority`.
    pub authority: String,
    /// The other header lines.
    pub headers: Headers,
    /// The body.
    pub body: Body,
}

/// What the upstream answers.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Header lines.
    pub headers: Headers,
    /// The body.
    pub body: Body,
    /// What goes wrong at the upstream, if anything.
    pub fault: Option<Fault>,
}

/// How an upstream can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Refuses connections.
    Refuse,
    /// Breaks the connection before any answer.
    ResetBeforeHeaders,
    /// Breaks the connection after the body's last chunk, without ending it.
    ResetAfterBody,
}

/// A body as it is delivered, chunk by chunk.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// The chunks; none: no body at all (the stream ends with the headers).
    pub chunks: Vec<Vec<u8>>,
    /// How the end comes.
    pub end: End,
    /// Trailers; their presence makes the end come with them.
    pub trailers: Headers,
}

/// How a filter learns of a body's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum End {
    /// In an empty callback after the last chunk, as Envoy does for `transfer-encoding: chunked`.
    #[default]
    Empty,
    /// With the last chunk, as Envoy does by HTTP/2, for bodies that it held back, and for its own replies. The length is in `content-length`. A real Envoy is
    /// spoken to by HTTP/1 here, where the end comes in an empty callback all the same; engines are compared by what is on the wire then.
    WithLastChunk,
}

/// What everybody saw of one exchange.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What reached the upstream; none when nothing did.
    pub upstream: Option<Seen>,
    /// What the client got; none when the stream was reset before any header.
    pub client: Option<Got>,
    /// Lines that the filters logged during this exchange, in order: level (`trace`, `debug`, `info`, `warning`, `error`, `critical`) and text.
    pub logs: Vec<(String, String)>,
    /// Filter state that [`Setup::report`] names, when the stream ended.
    pub filter_state: BTreeMap<String, String>,
    /// The calls that clusters got since the exchange before, in order; a cluster that got none is not there.
    pub calls: BTreeMap<String, Vec<Called>>,
    /// By how much each metric of the filters changed since the exchange before, those that did not left out: the values of counters and
    /// gauges, the number of a histogram's samples.
    pub metrics: BTreeMap<String, i64>,
    /// What the access log says of the stream.
    pub record: Record,
    /// How guests failed during this exchange, or since the one before. Only the embedded engine knows, so engines are not
    /// compared by it.
    pub failures: Vec<Failure>,
}

/// What Envoy's access log says of a stream, beside what can be seen on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Why there was this response (`%RESPONSE_CODE_DETAILS%`), such as `via_upstream`; none: nobody said so.
    pub details: Option<String>,
    /// What went wrong on Envoy's side, in short (`%RESPONSE_FLAGS%`), such as `UF`; empty: nothing.
    pub flags: String,
    /// Bytes of the request's body (`%BYTES_RECEIVED%`).
    pub received: u64,
    /// Bytes of the response's body (`%BYTES_SENT%`).
    pub sent: u64,
}

/// By how much metrics changed, those that did not left out.
pub(crate) fn changes(before: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>) -> BTreeMap<String, i64> {
    let change = |(name, value): (&String, &u64)| {
        let before = before.get(name).copied().unwrap_or_default();
        (name.clone(), value.wrapping_sub(before).cast_signed())
    };
    now.iter().map(change).filter(|(_, change)| *change != 0).collect()
}

/// A request as the upstream saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// The request target.
    pub target: Vec<u8>,
    /// The `Host`.
    pub authority: String,
    /// The other lines, without those that the proxy itself adds (see [`PROXY_HEADERS`]).
    pub headers: Headers,
    /// The whole body.
    pub body: Vec<u8>,
    /// Trailers.
    pub trailers: Headers,
}

/// A response as the client got it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Got {
    /// The status.
    pub status: u16,
    /// The lines, without those that the proxy itself adds.
    pub headers: Headers,
    /// The body as far as it came.
    pub body: Vec<u8>,
    /// Whether the body came to its proper end; false: the stream was reset.
    pub complete: bool,
    /// Trailers.
    pub trailers: Headers,
}

/// Lines that a proxy adds by itself on the way; neither engine reports them.
pub const PROXY_HEADERS: &[&str] = &[
    "x-request-id",
    "x-forwarded-proto",
    "x-forwarded-for",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-upstream-service-time",
    "x-envoy-internal",
    "x-envoy-external-address",
    "server",
    "date",
    "connection",
    "transfer-encoding",
    "content-length",
    "keep-alive",
];

/// How long an exchange may take on either engine.
pub const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
