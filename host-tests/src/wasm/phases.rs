//! One callback at a time: calls a plugin's callbacks on a stream and says what each made of headers and body.
//!
//! 1. This is no stream. Nothing is carried on to a next filter or an upstream; every phase is handed its own input. What a callback
//!    returns is told and not acted upon: a body that a filter holds back is not gathered, each callback sees its own piece.
//!    For what a client and an upstream see, use [`Gateway::exchange`](crate::exchange::Gateway::exchange).
//! 2. Headers can be read and changed in their own callback only, a body in its own only, as in Envoy once a filter continues.
//! 3. After a local response nothing more is called on that stream but its end.
//! 4. Host calls are those of the engine, with Envoy's rules. With [`Phases::open_with`] the properties that a stream sees are the
//!    ones that are given, and no others.
//!
//! ```
//! use scrim::exchange::Filter;
//! use scrim::wasm::{Phases, Wasmtime};
//!
//! let plugin = Filter::from_wat(r#"(module
//!     (import "env" "proxy_add_header_map_value"
//!         (func $add (param i32 i32 i32 i32 i32) (result i32)))
//!     (memory (export "memory") 1)
//!     (data (i32.const 0) "x-seenyes")
//!     (func (export "malloc") (param i32) (result i32) (i32.const 1024))
//!     (func (export "proxy_abi_version_0_2_1"))
//!     (func (export "proxy_on_context_create") (param i32 i32))
//!     (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
//!         (call $add (i32.const 0) (i32.const 0) (i32.const 6) (i32.const 6) (i32.const 3))))"#)?;
//! let mut phases = Phases::start(&Wasmtime::new()?, &plugin)?;
//! phases.open()?;
//! let phase = phases.request_headers(&vec![(":path".into(), b"/".to_vec())], false)?;
//! assert!(phase.continues);
//! assert_eq!(phase.headers[1], ("x-seen".to_owned(), b"yes".to_vec()));
//! # anyhow::Ok(())
//! ```

use std::collections::BTreeMap;

use anyhow::bail;

use super::Wasmtime;
use super::abi::Way;
use super::gateway::Chain;
use super::headers::HeaderMap;
use super::host::Deferred;
use super::vm::{Trapped, Vm};
use super::world::{Frame, StreamData, World};
use crate::exchange::{Filter, Headers, Setup};

/// A plugin of its own VM, whose callbacks are called one by one; see the [module](self).
pub struct Phases {
    chain: Chain,
    /// The context of the open stream.
    stream: Option<u32>,
    replied: bool,
}

/// What a callback left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Phase {
    /// It was called. Not where the module lacks it, or where the stream was answered before.
    pub called: bool,
    /// It lets the stream go on. A callback that sent a local response does not, whatever it returned.
    pub continues: bool,
    /// The headers as it left them, lowercase, each line for itself. Empty in the phases of bodies.
    pub headers: Headers,
    /// The body as it left it. Empty in the phases of headers.
    pub body: Vec<u8>,
    /// The local response that it sent.
    pub reply: Option<Reply>,
    /// What it logged, level and text.
    pub logs: Vec<(String, String)>,
    /// Names that were not written in lowercase, by their lowercase form, as they were written last.
    pub(crate) spellings: BTreeMap<String, String>,
}

/// A local response as the plugin sent it; Envoy adds `content-length` and `content-type`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Its headers, names as they were spelled.
    pub headers: Headers,
    /// Its body.
    pub body: Vec<u8>,
    /// Its details, white space as `_`, as Envoy logs them.
    pub details: String,
    /// The gRPC status; none where the plugin gave -1.
    pub grpc_status: Option<u32>,
}

impl Phases {
    /// Starts and configures a plugin in a VM of its own. What it logged so far is [taken](Phases::take_logs) next.
    ///
    /// # Errors
    ///
    /// As [`Wasmtime::start_chain`].
    pub fn start(engine: &Wasmtime, filter: &Filter) -> anyhow::Result<Self> {
        let chain = engine.start_chain(&Setup {
            filters: vec![filter.clone()],
            ..Setup::default()
        })?;
        Ok(Phases {
            chain,
            stream: None,
            replied: false,
        })
    }

    /// Lines logged outside the phases: at start, and when a stream opened or closed. They are taken.
    pub fn take_logs(&mut self) -> Vec<(String, String)> {
        self.chain.take_logs()
    }

    /// Opens a stream, which closes the one before: the plugin creates its context.
    ///
    /// # Errors
    ///
    /// When the plugin traps; the error holds its log.
    pub fn open(&mut self) -> anyhow::Result<()> {
        self.open_stream(None)
    }

    /// As [`open`](Phases::open), with the only properties that the stream has, by path with points (`request.path`).
    ///
    /// # Errors
    ///
    /// As [`open`](Phases::open).
    pub fn open_with(&mut self, properties: BTreeMap<String, Vec<u8>>) -> anyhow::Result<()> {
        self.open_stream(Some(properties))
    }

    fn open_stream(&mut self, properties: Option<BTreeMap<String, Vec<u8>>>) -> anyhow::Result<()> {
        self.close()?;
        let root = self.chain.first_root();
        let (vm, world) = self.chain.first();
        let mut data = StreamData::empty();
        data.start_nanoseconds = world.now().as_nanos() as u64;
        world.stream = Some(data);
        world.given_properties = properties;
        let id = vm.new_context(0, true);
        let created = vm.create_context(world, id, root);
        vm.store.data_mut().deferred.clear();
        vm.store.data_mut().stop_iteration = false;
        self.stream = Some(id);
        self.replied = false;
        self.healthy(created, "proxy_on_context_create")
    }

    /// `proxy_on_request_headers`.
    ///
    /// # Errors
    ///
    /// When no stream is open or the plugin traps; the error holds its log.
    pub fn request_headers(&mut self, headers: &Headers, end_of_stream: bool) -> anyhow::Result<Phase> {
        self.headers(Way::Request, headers, end_of_stream)
    }

    /// `proxy_on_request_body`.
    ///
    /// # Errors
    ///
    /// As [`request_headers`](Phases::request_headers).
    pub fn request_body(&mut self, body: &[u8], end_of_stream: bool) -> anyhow::Result<Phase> {
        self.body(Way::Request, body, end_of_stream)
    }

    /// `proxy_on_response_headers`.
    ///
    /// # Errors
    ///
    /// As [`request_headers`](Phases::request_headers).
    pub fn response_headers(&mut self, headers: &Headers, end_of_stream: bool) -> anyhow::Result<Phase> {
        self.headers(Way::Response, headers, end_of_stream)
    }

    /// `proxy_on_response_body`.
    ///
    /// # Errors
    ///
    /// As [`request_headers`](Phases::request_headers).
    pub fn response_body(&mut self, body: &[u8], end_of_stream: bool) -> anyhow::Result<Phase> {
        self.body(Way::Response, body, end_of_stream)
    }

    /// Ends the stream, if one is open: `proxy_on_done` and `proxy_on_delete`.
    ///
    /// # Errors
    ///
    /// When the plugin traps; the error holds its log.
    pub fn close(&mut self) -> anyhow::Result<()> {
        let Some(id) = self.stream.take() else {
            return Ok(());
        };
        let (vm, world) = self.chain.first();
        if !vm.failed {
            vm.on_done(world, id);
            vm.on_delete(world, id);
        }
        vm.store.data_mut().deferred.clear();
        vm.drop_context(id);
        world.stream = None;
        world.given_properties = None;
        self.healthy(Ok(()), "proxy_on_done or proxy_on_delete")
    }

    /// Ends the plugin: `proxy_on_done` and `proxy_on_delete` of its root context.
    ///
    /// # Errors
    ///
    /// When the plugin traps; the error holds its log.
    pub fn shut_down(mut self) -> anyhow::Result<()> {
        self.close()?;
        let root = self.chain.first_root();
        let (vm, world) = self.chain.first();
        vm.on_done(world, root);
        vm.on_delete(world, root);
        self.healthy(Ok(()), "proxy_on_done or proxy_on_delete")
    }

    fn headers(&mut self, way: Way, headers: &Headers, end: bool) -> anyhow::Result<Phase> {
        let map = HeaderMap::headers(way).with(headers);
        let count = map.len() as u32;
        let mut phase = self.call(way, |vm, world, id| {
            world.stream.get_or_insert_with(StreamData::empty).headers[way.at()] = Some(map);
            vm.context(id).headers[way.at()] = true;
            vm.context(id).end_of_stream = end;
            let result = vm.on_headers(world, way, id, count, end);
            vm.context(id).headers[way.at()] = false;
            // 2 is ContinueAndEndStream, which Envoy treats as 0.
            result.map(|result| result.map(|status| status == 0 || status == 2))
        })?;
        let map = self
            .chain
            .first()
            .1
            .stream
            .as_ref()
            .and_then(|stream| stream.headers[way.at()].clone());
        if let Some(map) = map.filter(|_| phase.called || !self.replied) {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            phase.headers = map.iter().map(|(name, value)| (text(name), value.to_vec())).collect();
            phase.spellings = map
                .spellings()
                .map(|(name, spelled)| (text(name), text(spelled)))
                .collect();
        }
        Ok(phase)
    }

    fn body(&mut self, way: Way, body: &[u8], end: bool) -> anyhow::Result<Phase> {
        let mut left = Vec::new();
        let mut phase = self.call(way, |vm, world, id| {
            let stream = world.stream.get_or_insert_with(StreamData::empty);
            stream.flows[way.at()].in_flight = Frame::Fresh(body.to_vec());
            vm.context(id).body[way.at()] = true;
            vm.context(id).end_of_stream = end;
            let result = vm.on_body(world, way, id, body.len() as u32, end);
            vm.context(id).body[way.at()] = false;
            let stream = world.stream.get_or_insert_with(StreamData::empty);
            if let Frame::Fresh(data) = std::mem::take(&mut stream.flows[way.at()].in_flight) {
                left = data;
            }
            result.map(|result| result.map(|status| status == 0))
        })?;
        phase.body = left;
        Ok(phase)
    }

    /// A callback, and what it left to do. None: the module has none, which continues.
    fn call(
        &mut self,
        way: Way,
        callback: impl FnOnce(&mut Vm, &mut Box<World>, u32) -> Option<Result<bool, Trapped>>,
    ) -> anyhow::Result<Phase> {
        let Some(id) = self.stream else {
            bail!("no stream is open: call `open` first");
        };
        let mut phase = Phase {
            continues: true,
            ..Phase::default()
        };
        if self.replied {
            return Ok(phase);
        }
        let (vm, world) = self.chain.first();
        world.logs.clear();
        let result = callback(vm, world, id);
        phase.called = result.is_some();
        let host = vm.store.data_mut();
        let stopped = std::mem::take(&mut host.stop_iteration);
        for deferred in host.deferred.drain(..) {
            let Deferred::Reply(_, reply) = deferred else { continue };
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            phase.reply = Some(Reply {
                status: reply.status,
                headers: reply
                    .headers
                    .into_iter()
                    .map(|(name, value)| (text(name), value))
                    .collect(),
                body: reply.body,
                details: reply.details,
                grpc_status: reply.grpc_status,
            });
        }
        self.replied = phase.reply.is_some();
        match result {
            Some(Ok(continues)) => phase.continues = continues && !stopped,
            Some(Err(Trapped)) => self.healthy(Err(Trapped), way.name())?,
            None => {}
        }
        phase.logs = self.take_logs();
        Ok(phase)
    }

    /// An error with the log, if the VM has failed.
    fn healthy(&mut self, result: Result<(), Trapped>, place: &str) -> anyhow::Result<()> {
        let (vm, _) = self.chain.first();
        if result.is_ok() && !vm.failed {
            return Ok(());
        }
        let mut text = format!("the plugin trapped ({place})");
        for failure in self.chain.take_failures() {
            text.push_str(&format!("\n  {failure}"));
        }
        for (level, line) in self.take_logs() {
            text.push_str(&format!("\n  [{level}] {line}"));
        }
        bail!(text)
    }
}
