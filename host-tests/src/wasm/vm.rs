//! One VM: an instance of a module with its own memory and contexts, and the calls into it.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use wasmtime::{Instance, Store, StoreLimitsBuilder, Trap, TypedFunc, WasmParams, WasmResults};

use super::abi::Way;
use super::host::{Context, Host};
use super::world::World;
use super::{CallAnswer, Compiled, EPOCH, Limits, plain};
use crate::exchange::Filter;
use crate::line_coverage::Counters;

/// See the module.
pub(crate) struct Vm {
    pub(crate) store: Store<Host>,
    exports: Exports,
    /// A trap happened, or the plugin could not be started: nothing is called any more.
    pub(crate) failed: bool,
    pub(crate) allow_stop_iteration: bool,
    next_context: u32,
    root: u32,
    time_limit: Duration,
    fuel_limit: Option<u64>,
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

/// The guest has trapped; the VM is failed and the log says why.
#[derive(Debug)]
pub(crate) struct Trapped;

type Call<P, R> = Option<TypedFunc<P, R>>;

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
    headers: [Call<(u32, u32, u32), u32>; 2],
    body: [Call<(u32, u32, u32), u32>; 2],
    trailers: [Call<(u32, u32), u32>; 2],
}

impl Vm {
    /// Instantiates, initialises, starts and configures a filter.
    pub(crate) fn start(
        module: &Compiled,
        world: &mut Box<World>,
        filter: &Filter,
        at: usize,
        environment: &BTreeMap<String, String>,
        limits: &Limits,
    ) -> anyhow::Result<Vm> {
        let host = Host {
            world: Box::new(World::placeholder()),
            filter: at,
            name: filter.name.clone(),
            root_id: filter.root_id.clone(),
            configuration: filter.configuration.clone(),
            environment: environment
                .iter()
                .map(|(key, value)| format!("{key}={value}").into_bytes())
                .collect(),
            contexts: BTreeMap::new(),
            current: 0,
            effective: 0,
            deferred: VecDeque::new(),
            stop_iteration: false,
            initialising: true,
            configuring: false,
            call_answer: None,
            status: (0, ""),
            next_call: 0,
            tick_period: 0,
            metric_names: BTreeMap::new(),
            next_metric: [0, 1, 2],
            random: limits.seed.wrapping_add(at as u64),
            memory: None,
            allocate: None,
            limits: StoreLimitsBuilder::new().memory_size(limits.memory).build(),
        };
        let mut store = Store::new(module.pre.module().engine(), host);
        store.limiter(|host| &mut host.limits);
        store.set_epoch_deadline(ticks(limits.callback_time));
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
        let exports = Exports::find(&instance, &mut store)?;
        let lines = module.lines.as_ref();
        let counters = lines.and_then(|lines| Counters::find(&instance, &mut store, lines));
        let mut vm = Vm {
            counters,
            store,
            exports,
            failed: false,
            allow_stop_iteration: filter.allow_on_headers_stop_iteration,
            next_context: 1,
            root: 0,
            time_limit: limits.callback_time,
            fuel_limit: limits.fuel,
        };
        vm.initialise(&instance, world)
            .map_err(|Trapped| anyhow::anyhow!("the module trapped while it initialised"))?;
        vm.configure(world)?;
        Ok(vm)
    }

    fn initialise(&mut self, instance: &Instance, world: &mut Box<World>) -> Result<(), Trapped> {
        let mut find = |name| instance.get_typed_func::<(), ()>(&mut self.store, name).ok();
        let calls = match find("_initialize") {
            Some(initialise) => {
                let main = instance.get_typed_func::<(u32, u32), u32>(&mut self.store, "main").ok();
                self.call(world, "_initialize", 0, &initialise, ())?;
                if let Some(main) = main {
                    self.call(world, "main", 0, &main, (0, 0))?;
                }
                None
            }
            None => find("_start"),
        };
        if let Some(start) = calls {
            self.call(world, "_start", 0, &start, ())?;
        }
        self.store.data_mut().initialising = false;
        Ok(())
    }

    fn configure(&mut self, world: &mut Box<World>) -> anyhow::Result<()> {
        let trapped = |callback: &str| anyhow::anyhow!("the module trapped in {callback}");
        self.root = self.new_context(false);
        let root = self.root;
        let host = self.store.data_mut();
        host.configuring = true;
        let size = host.configuration.len() as u32;
        self.create_context(world, root, 0)
            .map_err(|Trapped| trapped("proxy_on_context_create"))?;
        self.store.data_mut().configuring = false;
        if let Some(start) = self.exports.vm_start.clone()
            && self
                .call(world, "proxy_on_vm_start", root, &start, (root, 0))
                .map_err(|Trapped| trapped("proxy_on_vm_start"))?
                == 0
        {
            bail!("the module refused to start (proxy_on_vm_start returned false)");
        }
        if let Some(configure) = self.exports.configure.clone() {
            self.store.data_mut().configuring = true;
            let accepted = self
                .call(world, "proxy_on_configure", root, &configure, (root, size))
                .map_err(|Trapped| trapped("proxy_on_configure"))?;
            self.store.data_mut().configuring = false;
            if accepted == 0 {
                bail!("the module refused its configuration (proxy_on_configure returned false)");
            }
        }
        Ok(())
    }

    /// A new context, of which the guest does not know yet.
    pub(crate) fn new_context(&mut self, is_stream: bool) -> u32 {
        let id = self.next_context;
        self.next_context += 1;
        self.store.data_mut().contexts.insert(
            id,
            Context {
                is_stream,
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

    pub(crate) fn root(&self) -> u32 {
        self.root
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
        let call = self.exports.headers[way.at()].clone()?;
        let name = ["proxy_on_request_headers", "proxy_on_response_headers"][way.at()];
        Some(self.call(world, name, id, &call, (id, count, u32::from(end))))
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

    pub(crate) fn on_tick(&mut self, world: &mut Box<World>) {
        if let Some(call) = self.exports.tick.clone() {
            let root = self.root;
            let _ = self.call(world, "proxy_on_tick", root, &call, root);
        }
    }

    pub(crate) fn on_queue_ready(&mut self, world: &mut Box<World>, token: u32) {
        if let Some(call) = self.exports.queue_ready.clone() {
            let root = self.root;
            let _ = self.call(world, "proxy_on_queue_ready", root, &call, (root, token));
        }
    }

    /// The answer to a call; none: it failed, which the guest sees as no headers and a status.
    pub(crate) fn on_http_call_response(&mut self, world: &mut Box<World>, token: u32, answer: Option<CallAnswer>) {
        let Some(call) = self.exports.http_call_response.clone() else {
            return;
        };
        let root = self.root;
        let host = self.store.data_mut();
        let (headers, size, trailers) = answer.as_ref().map_or((0, 0, 0), |answer| {
            (
                answer.headers.len() as u32,
                answer.body.len() as u32,
                answer.trailers.len() as u32,
            )
        });
        if answer.is_none() {
            host.status = (super::abi::Status::BrokenConnection as u32, "reset");
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
        host.status.1 = "";
    }

    /// One call into the guest. The world is lent to it; a trap fails the VM and is logged with the guest's backtrace.
    fn call<P: WasmParams, R: WasmResults>(
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
        mem::swap(&mut host.world, world);
        let before = (
            mem::replace(&mut host.current, context),
            mem::replace(&mut host.effective, 0),
        );
        let filter = host.filter;
        self.store.set_epoch_deadline(ticks(self.time_limit));
        if let Some(fuel) = self.fuel_limit {
            // Fails only where the engine counts no fuel.
            let _ = self.store.set_fuel(fuel);
        }
        let begin = Instant::now();
        let result = function.call(&mut self.store, arguments);
        let time = begin.elapsed();
        let burned = self.fuel_limit.map_or(0, |limit| {
            limit.saturating_sub(self.store.get_fuel().unwrap_or_default())
        });
        let host = self.store.data_mut();
        mem::swap(&mut host.world, world);
        (host.current, host.effective) = before;
        let cost = world.costs.entry((filter, name)).or_default();
        cost.calls += 1;
        cost.fuel += burned;
        cost.time += time;
        result.map_err(|error| {
            self.failed = true;
            let why = match error.downcast_ref::<Trap>() {
                Some(Trap::Interrupt) => format!("ran longer than {:?}", self.time_limit),
                _ => error.root_cause().to_string(),
            };
            let filter = &self.store.data().name;
            let mut text = format!("filter `{filter}`: {name} trapped: {why}");
            if let Some(trace) = error.downcast_ref::<wasmtime::WasmBacktrace>() {
                text.push_str(&format!("\n{trace}"));
            }
            world.log(5, text.as_bytes());
            Trapped
        })
    }
}

impl Exports {
    fn find(instance: &Instance, store: &mut Store<Host>) -> anyhow::Result<Self> {
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
        Ok(Exports {
            context_create: one(instance, store, "proxy_on_context_create")?,
            vm_start: one(instance, store, "proxy_on_vm_start")?,
            configure: one(instance, store, "proxy_on_configure")?,
            done: one(instance, store, "proxy_on_done")?,
            log: one(instance, store, "proxy_on_log")?,
            delete: one(instance, store, "proxy_on_delete")?,
            tick: one(instance, store, "proxy_on_tick")?,
            queue_ready: one(instance, store, "proxy_on_queue_ready")?,
            http_call_response: one(instance, store, "proxy_on_http_call_response")?,
            headers: [
                one(instance, store, "proxy_on_request_headers")?,
                one(instance, store, "proxy_on_response_headers")?,
            ],
            body: [
                one(instance, store, "proxy_on_request_body")?,
                one(instance, store, "proxy_on_response_body")?,
            ],
            trailers: [
                one(instance, store, "proxy_on_request_trailers")?,
                one(instance, store, "proxy_on_response_trailers")?,
            ],
        })
    }
}

/// A time in ticks of the epoch, at least two so that a call gets one whole tick.
fn ticks(time: Duration) -> u64 {
    (time.as_millis() / EPOCH.as_millis()).max(1) as u64 + 1
}
