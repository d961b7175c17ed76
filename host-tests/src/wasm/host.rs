//! What one VM's host calls work on: its contexts, its plugin, and the world while a callback runs.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};

use wasmtime::{Memory, ResourceLimiter, Result, TypedFunc, bail};

use super::abi::{Abi, MapType, Way};
use super::headers::HeaderMap;
use super::trace::Step;
use super::world::{Frame, StreamData, World};
use super::{CallAnswer, Semantics};
use crate::exchange::Headers;
use crate::failure::{HOST_CALLS, HostCall};

/// The data of a VM's store.
pub(crate) struct Host {
    pub(crate) world: Box<World>,
    pub(crate) abi: Abi,
    pub(crate) vm_id: String,
    pub(crate) vm_configuration: Vec<u8>,
    /// The plugins that share the VM.
    pub(crate) plugins: Vec<Plugin>,
    /// The name of the filter that it was made for.
    pub(crate) name: String,
    /// The filter for which the VM was started.
    pub(crate) filter: usize,
    pub(crate) environment: Vec<Vec<u8>>,
    pub(crate) contexts: BTreeMap<u32, Context>,
    /// The context of the callback in progress.
    pub(crate) current: u32,
    /// The one that the guest chose instead; 0: none.
    pub(crate) effective: u32,
    /// What host calls put off until the callback has returned.
    pub(crate) deferred: VecDeque<Deferred>,
    /// A local response was sent during this callback: whatever it returns means stop.
    pub(crate) stop_iteration: bool,
    /// What the guest may call.
    pub(crate) phase: Phase,
    /// The root context whose plugin configuration can be read.
    pub(crate) configuring: Option<u32>,
    pub(crate) call_answer: Option<CallAnswer>,
    /// What came over gRPC, while the callback for it runs.
    pub(crate) received: Received,
    pub(crate) status: (u32, String),
    /// The last token of `proxy_http_call`; the two low bits of tokens say what they are.
    pub(crate) next_call: u32,
    /// The last tokens of gRPC calls and streams.
    pub(crate) next_grpc: [u32; 2],
    /// Properties declared by context and name, and whether they can be set once only.
    pub(crate) declared: BTreeMap<(u32, Vec<u8>), bool>,
    /// The timers' periods in milliseconds by root context; 0: none.
    pub(crate) tick_periods: BTreeMap<u32, u32>,
    /// Metric ids to names; the two low bits of an id are its type.
    pub(crate) metric_names: BTreeMap<u32, String>,
    pub(crate) next_metric: [u32; 3],
    pub(crate) random: u64,
    pub(crate) memory: Option<Memory>,
    pub(crate) allocate: Option<TypedFunc<u32, u32>>,
    /// The trap of the guest's allocator, during this callback.
    pub(crate) allocation_error: Option<wasmtime::Error>,
    pub(crate) limits: MemoryLimit,
    /// The last host calls, oldest first.
    pub(crate) calls: VecDeque<HostCall>,
    /// How many bytes the call in progress has taken from the guest's memory, and given to it.
    pub(crate) moved: (Cell<u32>, Cell<u32>),
}

/// A plugin: what a filter of the chain runs in a VM. Filters that are equal in everything are one.
#[derive(Clone, Debug)]
pub(crate) struct Plugin {
    /// The first filter that runs it.
    pub(crate) filter: usize,
    pub(crate) name: String,
    pub(crate) root_id: String,
    pub(crate) configuration: Vec<u8>,
    /// Its root context.
    pub(crate) root: u32,
}

/// What a guest may call just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Module initialisation runs: logs, and those parts of WASI that runtimes use.
    Initialise,
    /// The guest allocates memory for the host: logs and time.
    Allocate,
    /// Everything.
    Run,
}

/// A root context or a stream's context, with what the guest may see through it just now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Context {
    /// Belongs to a stream; root contexts don't.
    pub(crate) is_stream: bool,
    /// Which of the VM's plugins it is of.
    pub(crate) plugin: usize,
    /// The guest knows of it.
    pub(crate) created: bool,
    /// By way: the headers can be read and changed.
    pub(crate) headers: [bool; 2],
    /// By way: the body of the callback can be read and changed.
    pub(crate) body: [bool; 2],
    /// By way: the trailers can be read and changed.
    pub(crate) trailers: [bool; 2],
    /// By way: this filter holds the body back, so that it sees the whole buffer.
    pub(crate) buffering: [bool; 2],
    /// By way: the connection's buffer can be read and changed.
    pub(crate) connection: [bool; 2],
    pub(crate) end_of_stream: bool,
    /// `on_log` runs: maps can be read only.
    pub(crate) logging: bool,
    pub(crate) destroyed: bool,
    /// The stream was failed because the VM has.
    pub(crate) stream_failed: bool,
    /// A 503 was sent for that; the guest is not called any more.
    pub(crate) failure_reply_sent: bool,
}

/// What came over gRPC.
#[derive(Clone, Debug, Default)]
pub(crate) enum Received {
    #[default]
    Nothing,
    InitialMetadata(Headers),
    Message(Vec<u8>),
    TrailingMetadata(Headers),
}

/// What happens after a callback has returned.
#[derive(Debug)]
pub(crate) enum Deferred {
    Continue(u32, Way),
    /// A connection's downstream data goes on.
    Read(u32),
    Close(u32),
    Reply(u32, LocalReply),
}

/// An answer that a filter or the proxy itself makes.
#[derive(Clone, Debug)]
pub(crate) struct LocalReply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) details: String,
    /// For gRPC calls; none: what the HTTP status comes to.
    pub(crate) grpc_status: Option<u32>,
}

/// What a VM's memory may grow to.
pub(crate) struct MemoryLimit {
    pub(crate) bytes: usize,
    /// More was asked for since the callback began.
    pub(crate) refused: bool,
}

impl ResourceLimiter for MemoryLimit {
    /// `memory.grow` beyond the limit answers -1, as in Envoy.
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = desired <= self.bytes;
        self.refused |= !allowed;
        Ok(allowed)
    }

    /// V8 has no tables above ten million entries.
    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= 10_000_000)
    }
}

impl Host {
    /// Keeps a host call that has ended; no status: it trapped.
    pub(crate) fn called(&mut self, name: &'static str, what: Option<u32>, status: Option<u32>) {
        let call = HostCall {
            name,
            what,
            status,
            took: self.moved.0.take(),
            gave: self.moved.1.take(),
        };
        if self.calls.len() == HOST_CALLS {
            self.calls.pop_front();
        }
        self.calls.push_back(call);
        self.world.trace(|| Step::Call(call));
    }

    /// Counts bytes that went from the guest to the host.
    pub(crate) fn took(&self, bytes: usize) {
        count(&self.moved.0, bytes);
    }

    /// Counts bytes that went from the host to the guest.
    pub(crate) fn gave(&self, bytes: usize) {
        count(&self.moved.1, bytes);
    }

    /// The context that host calls work on: the one that the guest chose, else the callback's.
    pub(crate) fn context_id(&self) -> u32 {
        if self.effective != 0 && self.contexts.contains_key(&self.effective) {
            self.effective
        } else {
            self.current
        }
    }

    pub(crate) fn context(&self) -> Option<&Context> {
        self.contexts.get(&self.context_id())
    }

    /// Traps a call that Envoy would trap just now.
    pub(crate) fn allow(&self, call: &str) -> Result<()> {
        // Envoy's host has these lists in `WasmBase::startVm` and `WasmBase::allocMemory`.
        let (allowed, while_it) = match self.phase {
            Phase::Run => return Ok(()),
            Phase::Allocate => (
                matches!(call, "proxy_log" | "fd_write" | "clock_time_get" | "poll_oneoff"),
                "allocates memory for the host",
            ),
            Phase::Initialise => {
                let wasi = !call.starts_with("proxy_") && !call.starts_with("envoy_") && call != "pthread_equal";
                let left_out = [
                    "fd_read",
                    "fd_seek",
                    "fd_close",
                    "path_open",
                    "sched_yield",
                    "proc_exit",
                ];
                (call == "proxy_log" || wasi && !left_out.contains(&call), "initialises")
            }
        };
        if !allowed {
            bail!("{call} was called while the module {while_it}, where Envoy does not allow it");
        }
        Ok(())
    }

    /// The plugin of the context that host calls work on.
    pub(crate) fn plugin(&self) -> Option<&Plugin> {
        self.plugins.get(self.context()?.plugin)
    }

    /// The root context of the context that host calls work on.
    pub(crate) fn root(&self) -> Option<u32> {
        self.plugin().map(|plugin| plugin.root)
    }

    /// The filter to which a context belongs; what belongs to none counts as the first one's.
    pub(crate) fn filter_of(&self, context: u32) -> usize {
        let plugin = self
            .contexts
            .get(&context)
            .and_then(|context| self.plugins.get(context.plugin));
        plugin.map_or(self.filter, |plugin| plugin.filter)
    }

    /// The name of the filter whose context it is; the first one's for what belongs to no filter.
    pub(crate) fn name_of(&self, context: u32) -> &str {
        let context = self.contexts.get(&context);
        let plugin = context.and_then(|context| self.plugins.get(context.plugin));
        plugin.map_or(&self.name, |plugin| &plugin.name)
    }

    /// The plugin's configuration, while it can be read.
    pub(crate) fn plugin_configuration(&self) -> Option<&[u8]> {
        self.configuring.filter(|root| *root == self.context_id())?;
        self.plugin().map(|plugin| plugin.configuration.as_slice())
    }

    /// The stream, if the context belongs to one.
    pub(crate) fn stream(&self) -> Option<&StreamData> {
        if self.context()?.is_stream {
            self.world.stream.as_ref()
        } else {
            None
        }
    }

    pub(crate) fn stream_mut(&mut self) -> Option<&mut StreamData> {
        if self.context()?.is_stream {
            self.world.stream.as_mut()
        } else {
            None
        }
    }

    /// A map to read. Outside its callbacks a stream's map is not there; in `on_log` headers are.
    pub(crate) fn map(&self, map: MapType) -> Option<&HeaderMap> {
        let context = self.context()?;
        match map {
            MapType::Headers(way) if context.headers[way.at()] || context.logging => {
                self.stream()?.headers[way.at()].as_ref()
            }
            MapType::Trailers(way)
                if context.trailers[way.at()] && !context.logging
                    || context.logging && (way == Way::Response || self.world.semantics == Semantics::Spec) =>
            {
                self.stream()?.trailers[way.at()].as_ref()
            }
            _ => None,
        }
    }

    /// What a call was answered, while the callback for it runs.
    pub(crate) fn answer_map(&self, map: MapType) -> Option<&Headers> {
        match (map, &self.received) {
            (MapType::CallHeaders, _) => Some(&self.call_answer.as_ref()?.headers),
            (MapType::CallTrailers, _) => Some(&self.call_answer.as_ref()?.trailers),
            (MapType::GrpcInitialMetadata, Received::InitialMetadata(lines))
            | (MapType::GrpcTrailingMetadata, Received::TrailingMetadata(lines)) => Some(lines),
            _ => None,
        }
    }

    /// A map to change. Asking for trailers at the end of a body adds them.
    pub(crate) fn map_mut(&mut self, map: MapType) -> Option<&mut HeaderMap> {
        let context = self.context()?;
        match map {
            MapType::Headers(way) if context.headers[way.at()] => self.stream_mut()?.headers[way.at()].as_mut(),
            MapType::Trailers(way) if context.trailers[way.at()] => self.stream_mut()?.trailers[way.at()].as_mut(),
            MapType::Trailers(way) if context.body[way.at()] && context.end_of_stream => {
                let id = self.context_id();
                if let Some(context) = self.contexts.get_mut(&id) {
                    context.trailers[way.at()] = true;
                }
                Some(self.stream_mut()?.trailers[way.at()].get_or_insert_with(HeaderMap::trailers))
            }
            _ => None,
        }
    }

    /// The body that a callback may read and change.
    pub(crate) fn body_mut(&mut self, way: Way) -> Option<&mut Vec<u8>> {
        let context = self.context()?;
        let (buffering, body) = (context.buffering[way.at()], context.body[way.at()]);
        let flow = &mut self.stream_mut()?.flows[way.at()];
        if buffering {
            return flow.buffered.as_mut();
        }
        match &mut flow.in_flight {
            Frame::Fresh(data) if body => Some(data),
            Frame::Buffered if body => flow.buffered.as_mut(),
            _ => None,
        }
    }

    /// The buffer of a connection that a callback may read and change.
    pub(crate) fn connection_mut(&mut self, way: Way) -> Option<&mut Vec<u8>> {
        self.context().filter(|context| context.connection[way.at()])?;
        self.world.connection.as_mut().map(|buffers| &mut buffers[way.at()])
    }

    /// The next bytes of the seeded generator (SplitMix64): guests get the same ones in every run.
    pub(crate) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn count(counter: &Cell<u32>, bytes: usize) {
    counter.set(counter.get().saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX)));
}
