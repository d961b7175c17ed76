//! One VM: an instance of a module with its own memory and contexts, and the calls into it.

mod connection;
mod grpc;

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use wasmtime::{Instance, Store, Trap, TypedFunc, WasmBacktrace, WasmParams, WasmResults};

use self::connection::ConnectionExports;
use self::grpc::GrpcExports;
use super::abi::{Abi, Way};
use super::host::{Context, Host, MemoryLimit, Phase, Plugin, Received};
use super::trace::{Arguments, Returned, Step};
use super::world::World;
use super::{CallAnswer, Compiled, EPOCH, Limits, plain};
use crate::exchange::Filter;
use crate::failure::{Cause, Failure, Frame, demangle};
use crate::line_coverage::Counters;

/// See the module.
pub(crate) struct Vm {
    pub(crate) store: Store<Host>,
    exports: Exports,
    /// A trap happened, or the plugin could not be started: nothing is called any more.
    pub(crate) failed: bool,
    next_context: u32,
    limits: Limits,
    /// Where the module's lines are counted.
    counters: Option<Counters>,
}

impl Drop for Vm {
    fn drop(&mut self) {
        if let Some(counters) = &self.counters {
            counters.collect(&mut self.store);
        }
    }
}

/// The guest has trapped; the VM is failed, and the world's failures say why.
#[derive(Debug)]
pub(crate) struct Trapped;

type Call<P, R> = Option<TypedFunc<P, R>>;

/// The headers callback: ABI 0.1.0 does not say whether the stream ends.
#[derive(Clone)]
enum HeadersCall {
    V0_1(Call<(u32, u32), u32>),
    V0_2(Call<(u32, u32, u32), u32>),
}

/// What the host calls, as far as the module has it.
struct Exports {
    context_create: Call<(u32, u32), ()>,
    vm_start: Call<(u32, u32), u32>,
    configure: Call<(u32, u32), u32>,
    done: Call<u32, u32>,
    log: Call<u32, ()>,
    delete: Call<u32, ()>,
    tick: Call<u32, ()>,
    queue_ready: Call<(u32, u32), ()>,
    http_call_response: Call<(u32, u32, u32, u32, u32), ()>,
    headers: [HeadersCall; 2],
    body: [Call<(u32, u32, u32), u32>; 2],
    trailers: [Call<(u32, u32), u32>; 2],
    grpc: GrpcExports,
    connection: ConnectionExports,
}

impl Vm {
    /// Instantiates and initialises the module of a filter.
    pub(crate) fn start(
        module: &Compiled,
        world: &mut Box<World>,
        filter: &Filter,
        at: usize,
        environment: &BTreeMap<String, String>,
        limits: &Limits,
        seed: u64,
    ) -> anyhow::Result<Vm> {
        let host = Host {
            world: Box::new(World::placeholder()),
            abi: module.abi,
            vm_id: filter.vm_id().to_owned(),
            vm_configuration: filter.vm_configuration.clone(),
            plugins: Vec::new(),
            name: filter.name.clone(),
            filter: at,
            environment: environment
                .iter()
                .map(|(key, value)| format!("{key}={value}").into_bytes())
                .collect(),
            contexts: BTreeMap::new(),
            current: 0,
            effective: 0,
            deferred: VecDeque::new(),
            stop_iteration: false,
            phase: Phase::Initialise,
            configuring: None,
            call_answer: None,
            received: Received::Nothing,
            status: (0, String::new()),
            next_call: 0,
            next_grpc: [1, 2],
            declared: BTreeMap::new(),
            tick_periods: BTreeMap::new(),
            metric_names: BTreeMap::new(),
            next_metric: [0, 1, 2],
            random: seed.wrapping_add(at as u64),
            memory: None,
            allocate: None,
            allocation_error: None,
            limits: MemoryLimit {
                bytes: limits.memory,
                refused: false,
            },
            calls: VecDeque::new(),
            moved: Default::default(),
        };
        let mut store = Store::new(module.pre.module().engine(), host);
        store.limiter(|host| &mut host.limits);
        store.set_epoch_deadline(ticks(limits.time));
        if let Some(fuel) = limits.fuel {
            store.set_fuel(fuel).map_err(plain)?;
        }
        let instance = module
            .pre
            .instantiate(&mut store)
            .map_err(plain)
            .context("the module could not be instantiated")?;
        let host = store.data_mut();
        mem::swap(&mut host.world, world);
        let memory = instance.get_memory(&mut store, "memory");
        let allocate = match instance.get_typed_func(&mut store, "malloc") {
            Ok(allocate) => Some(allocate),
            Err(_) => instance.get_typed_func(&mut store, "proxy_on_memory_allocate").ok(),
        };
        let host = store.data_mut();
        (host.memory, host.allocate) = (memory, allocate);
        mem::swap(&mut host.world, world);
        if host.memory.is_none() {
            bail!("the module exports no memory named `memory`");
        }
        if host.allocate.is_none() {
            bail!("the module exports neither `malloc` nor `proxy_on_memory_allocate`");
        }
        let exports = Exports::find(&instance, &mut store, module.abi)?;
        let lines = module.lines.as_ref();
        let counters = lines.and_then(|lines| Counters::find(&instance, &mut store, lines));
        let mut vm = Vm {
            counters,
            store,
            exports,
            failed: false,
            next_context: 1,
            limits: *limits,
        };
        vm.initialise(&instance, world).map_err(|Trapped| trapped(world))?;
        Ok(vm)
    }

    fn initialise(&mut self, instance: &Instance, world: &mut Box<World>) -> Result<(), Trapped> {
        let mut find = |name| instance.get_typed_func::<(), ()>(&mut self.store, name).ok();
        let calls = match find("_initialize") {
            Some(initialise) => {
                let main = instance.get_typed_func::<(u32, u32), u32>(&mut self.store, "main").ok();
                let main_void = instance.get_typed_func::<(), u32>(&mut self.store, "__main_void").ok();
                self.call(world, "_initialize", 0, &initialise, ())?;
                if let Some(main) = main {
                    self.call(world, "main", 0, &main, (0, 0))?;
                } else if let Some(main) = main_void {
                    self.call(world, "__main_void", 0, &main, ())?;
                }
                None
            }
            None => find("_start"),
        };
        if let Some(start) = calls {
            self.call(world, "_start", 0, &start, ())?;
        }
        self.store.data_mut().phase = Phase::Run;
        Ok(())
    }

    /// Makes the filter's plugin, unless an equal one is here: its root context is created, the VM started for it, and it is
    /// configured. The plugin, an index, and whether it is new.
    pub(crate) fn plug(&mut self, world: &mut Box<World>, filter: &Filter, at: usize) -> anyhow::Result<(usize, bool)> {
        let host = self.store.data_mut();
        let equal = |plugin: &Plugin| {
            plugin.name == filter.name
                && plugin.root_id == filter.root_id
                && plugin.configuration == filter.configuration
        };
        if let Some(plugin) = host.plugins.iter().position(equal) {
            return Ok((plugin, false));
        }
        let plugin = host.plugins.len();
        host.plugins.push(Plugin {
            filter: at,
            name: filter.name.clone(),
            root_id: filter.root_id.clone(),
            configuration: filter.configuration.clone(),
            root: self.next_context,
        });
        let root = self.new_context(plugin, false);
        self.configure(world, root, filter.configuration.len() as u32)?;
        Ok((plugin, true))
    }

    /// `proxy_on_vm_start` is called for every plugin, with the VM's configuration, and not once for the VM: so does Envoy.
    fn configure(&mut self, world: &mut Box<World>, root: u32, size: u32) -> anyhow::Result<()> {
        let host = self.store.data_mut();
        let vm_size = host.vm_configuration.len() as u32;
        host.configuring = Some(root);
        let created = self.create_context(world, root, 0);
        self.store.data_mut().configuring = None;
        if created.is_err() {
            // Envoy starts with a VM that has failed, and every stream then meets it.
            return Ok(());
        }
        if let Some(start) = self.exports.vm_start.clone()
            && self
                .call(world, "proxy_on_vm_start", root, &start, (root, vm_size))
                .map_err(|Trapped| trapped(world))?
                == 0
        {
            bail!("the module refused to start (proxy_on_vm_start returned false)");
        }
        if let Some(configure) = self.exports.configure.clone() {
            self.store.data_mut().configuring = Some(root);
            let accepted = self
                .call(world, "proxy_on_configure", root, &configure, (root, size))
                .map_err(|Trapped| trapped(world))?;
            self.store.data_mut().configuring = None;
            if accepted == 0 {
                bail!("the module refused its configuration (proxy_on_configure returned false)");
            }
        }
        Ok(())
    }

    /// A new context of a plugin, of which the guest does not know yet.
    pub(crate) fn new_context(&mut self, plugin: usize, is_stream: bool) -> u32 {
        let id = self.next_context;
        self.next_context += 1;
        self.store.data_mut().contexts.insert(
            id,
            Context {
                is_stream,
                plugin,
                ..Context::default()
            },
        );
        id
    }

    /// A context that exists.
    pub(crate) fn context(&mut self, id: u32) -> &mut Context {
        self.store.data_mut().contexts.entry(id).or_default()
    }

    pub(crate) fn drop_context(&mut self, id: u32) {
        self.store.data_mut().contexts.remove(&id);
    }

    /// Tells the guest of a context, once.
    pub(crate) fn create_context(&mut self, world: &mut Box<World>, id: u32, parent: u32) -> Result<(), Trapped> {
        if mem::replace(&mut self.context(id).created, true) || self.failed {
            return Ok(());
        }
        match self.exports.context_create.clone() {
            Some(create) => self.call(world, "proxy_on_context_create", id, &create, (id, parent)),
            None => Ok(()),
        }
    }

    /// The headers callback: none when the module has none.
    pub(crate) fn on_headers(
        &mut self,
        world: &mut Box<World>,
        way: Way,
        id: u32,
        count: u32,
        end: bool,
    ) -> Option<Result<u32, Trapped>> {
        let name = ["proxy_on_request_headers", "proxy_on_response_headers"][way.at()];
        Some(match self.exports.headers[way.at()].clone() {
            HeadersCall::V0_1(call) => self.call(world, name, id, &call?, (id, count)),
            HeadersCall::V0_2(call) => self.call(world, name, id, &call?, (id, count, u32::from(end))),
        })
    }

    /// The body callback.
    pub(crate) fn on_body(
        &mut self,
        world: &mut Box<World>,
        way: Way,
        id: u32,
        size: u32,
        end: bool,
    ) -> Option<Result<u32, Trapped>> {
        let call = self.exports.body[way.at()].clone()?;
        let name = ["proxy_on_request_body", "proxy_on_response_body"][way.at()];
        Some(self.call(world, name, id, &call, (id, size, u32::from(end))))
    }

    /// The trailers callback.
    pub(crate) fn on_trailers(
        &mut self,
        world: &mut Box<World>,
        way: Way,
        id: u32,
        count: u32,
    ) -> Option<Result<u32, Trapped>> {
        let call = self.exports.trailers[way.at()].clone()?;
        let name = ["proxy_on_request_trailers", "proxy_on_response_trailers"][way.at()];
        Some(self.call(world, name, id, &call, (id, count)))
    }

    pub(crate) fn on_log(&mut self, world: &mut Box<World>, id: u32) {
        if let Some(call) = self.exports.log.clone() {
            let _ = self.call(world, "proxy_on_log", id, &call, id);
        }
    }

    pub(crate) fn on_done(&mut self, world: &mut Box<World>, id: u32) {
        if let Some(call) = self.exports.done.clone() {
            let _ = self.call(world, "proxy_on_done", id, &call, id);
        }
    }

    pub(crate) fn on_delete(&mut self, world: &mut Box<World>, id: u32) {
        if let Some(call) = self.exports.delete.clone() {
            let _ = self.call(world, "proxy_on_delete", id, &call, id);
        }
    }

    pub(crate) fn on_tick(&mut self, world: &mut Box<World>, root: u32) {
        if let Some(call) = self.exports.tick.clone() {
            let _ = self.call(world, "proxy_on_tick", root, &call, root);
        }
    }

    pub(crate) fn on_queue_ready(&mut self, world: &mut Box<World>, root: u32, token: u32) {
        if let Some(call) = self.exports.queue_ready.clone() {
            let _ = self.call(world, "proxy_on_queue_ready", root, &call, (root, token));
        }
    }

    /// The answer to a call; none: it failed, which the guest sees as no headers and a status.
    pub(crate) fn on_http_call_response(
        &mut self,
        world: &mut Box<World>,
        root: u32,
        token: u32,
        answer: Option<CallAnswer>,
    ) {
        let Some(call) = self.exports.http_call_response.clone() else {
            return;
        };
        let host = self.store.data_mut();
        let (headers, size, trailers) = answer.as_ref().map_or((0, 0, 0), |answer| {
            (
                answer.headers.len() as u32,
                answer.body.len() as u32,
                answer.trailers.len() as u32,
            )
        });
        if answer.is_none() {
            host.status = (super::abi::Status::BrokenConnection as u32, "reset".to_owned());
        }
        host.call_answer = answer;
        let _ = self.call(
            world,
            "proxy_on_http_call_response",
            root,
            &call,
            (root, token, headers, size, trailers),
        );
        let host = self.store.data_mut();
        host.call_answer = None;
        host.status.1.clear();
    }

    /// One call into the guest. The world is lent to it; a trap fails the VM and is kept with the guest's backtrace.
    fn call<P: WasmParams + Arguments, R: WasmResults + Returned>(
        &mut self,
        world: &mut Box<World>,
        name: &'static str,
        context: u32,
        function: &TypedFunc<P, R>,
        arguments: P,
    ) -> Result<R, Trapped> {
        if self.failed {
            return Err(Trapped);
        }
        let host = self.store.data_mut();
        let running = host.name_of(context);
        world.trace(|| Step::Enter {
            filter: running.to_owned(),
            callback: name,
            arguments: arguments.numbers(),
        });
        mem::swap(&mut host.world, world);
        host.limits.refused = false;
        let before = (
            mem::replace(&mut host.current, context),
            mem::replace(&mut host.effective, 0),
        );
        let filter = host.filter_of(context);
        self.store.set_epoch_deadline(ticks(self.limits.time));
        if let Some(fuel) = self.limits.fuel {
            // Fails only where the engine counts no fuel.
            let _ = self.store.set_fuel(fuel);
        }
        let begin = Instant::now();
        let result = function.call(&mut self.store, arguments);
        let time = begin.elapsed();
        let burned = self.limits.fuel.map_or(0, |limit| {
            limit.saturating_sub(self.store.get_fuel().unwrap_or_default())
        });
        let host = self.store.data_mut();
        mem::swap(&mut host.world, world);
        (host.current, host.effective) = before;
        let result = match host.allocation_error.take() {
            Some(error) => Err(error),
            None => result,
        };
        let cost = world.costs.entry((filter, name)).or_default();
        cost.calls += 1;
        cost.fuel += burned;
        cost.time += time;
        match result {
            Ok(returned) => {
                world.trace(|| Step::Leave {
                    result: returned.number(),
                });
                Ok(returned)
            }
            Err(error) => {
                self.failed = true;
                world.trace(|| Step::Trap);
                let failure = self.failure(name, context, &error);
                world.failures.push(failure);
                Err(Trapped)
            }
        }
    }

    fn failure(&self, callback: &'static str, context: u32, error: &wasmtime::Error) -> Failure {
        let cause = match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => Cause::Time(self.limits.time),
            Some(Trap::OutOfFuel) => Cause::Fuel(self.limits.fuel.unwrap_or(u64::MAX)),
            Some(Trap::StackOverflow) => Cause::Stack(self.limits.stack),
            _ => Cause::Trap(error.root_cause().to_string()),
        };
        let host = self.store.data();
        Failure {
            filter: host.name_of(context).to_owned(),
            callback,
            cause,
            refused_memory: host.limits.refused.then_some(self.limits.memory),
            backtrace: error.downcast_ref::<WasmBacktrace>().map_or_else(Vec::new, frames),
            host_calls: host.calls.iter().copied().collect(),
        }
    }
}

/// The guest's functions that were running, those that the compiler put into others too.
fn frames(trace: &WasmBacktrace) -> Vec<Frame> {
    let mut frames = Vec::new();
    for frame in trace.frames() {
        let function = match frame.func_name() {
            Some(name) => demangle(name),
            None => format!("function {}", frame.func_index()),
        };
        if frame.symbols().is_empty() {
            frames.push(Frame { function, place: None });
            continue;
        }
        for symbol in frame.symbols() {
            let place = symbol.file().map(|file| match (symbol.line(), symbol.column()) {
                (Some(line), Some(column)) => format!("{file}:{line}:{column}"),
                (Some(line), None) => format!("{file}:{line}"),
                _ => file.to_owned(),
            });
            frames.push(Frame {
                function: symbol.name().map_or_else(|| function.clone(), demangle),
                place,
            });
        }
    }
    frames
}

/// What a guest that trapped while it started is refused with.
fn trapped(world: &mut World) -> anyhow::Error {
    match world.failures.pop() {
        Some(failure) => failure.into(),
        None => anyhow::anyhow!("the module trapped"),
    }
}

impl Exports {
    /// A callback; none: the module has none.
    fn one<P: WasmParams, R: WasmResults>(
        instance: &Instance,
        store: &mut Store<Host>,
        name: &str,
    ) -> anyhow::Result<Call<P, R>> {
        let Some(function) = instance.get_func(&mut *store, name) else {
            return Ok(None);
        };
        let function = function
            .typed(&*store)
            .map_err(plain)
            .with_context(|| format!("the export `{name}` has a wrong signature"))?;
        Ok(Some(function))
    }

    fn find(instance: &Instance, store: &mut Store<Host>, abi: Abi) -> anyhow::Result<Self> {
        let mut headers = |name| -> anyhow::Result<HeadersCall> {
            Ok(match abi {
                Abi::V0_1_0 => HeadersCall::V0_1(Self::one(instance, store, name)?),
                Abi::V0_2_0 | Abi::V0_2_1 => HeadersCall::V0_2(Self::one(instance, store, name)?),
            })
        };
        Ok(Exports {
            headers: [
                headers("proxy_on_request_headers")?,
                headers("proxy_on_response_headers")?,
            ],
            context_create: Self::one(instance, store, "proxy_on_context_create")?,
            vm_start: Self::one(instance, store, "proxy_on_vm_start")?,
            configure: Self::one(instance, store, "proxy_on_configure")?,
            done: Self::one(instance, store, "proxy_on_done")?,
            log: Self::one(instance, store, "proxy_on_log")?,
            delete: Self::one(instance, store, "proxy_on_delete")?,
            tick: Self::one(instance, store, "proxy_on_tick")?,
            queue_ready: Self::one(instance, store, "proxy_on_queue_ready")?,
            http_call_response: Self::one(instance, store, "proxy_on_http_call_response")?,
            body: [
                Self::one(instance, store, "proxy_on_request_body")?,
                Self::one(instance, store, "proxy_on_response_body")?,
            ],
            trailers: [
                Self::one(instance, store, "proxy_on_request_trailers")?,
                Self::one(instance, store, "proxy_on_response_trailers")?,
            ],
            grpc: GrpcExports::find(instance, store)?,
            connection: ConnectionExports::find(instance, store)?,
        })
    }
}

/// A time in ticks of the epoch, at least two so that a call gets one whole tick.
fn ticks(time: Duration) -> u64 {
    (time.as_millis() / EPOCH.as_millis()).max(1) as u64 + 1
}
