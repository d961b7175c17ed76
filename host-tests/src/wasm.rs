//! The embedded engine: hosts proxy-wasm HTTP filters on wasmtime, with Envoy's semantics.
//!
//! 1. A module is known only by its file; any module of ABI 0.1.0, 0.2.0 or 0.2.1 runs, in whatever language it was written.
//! 2. Filters with equal VM ids, VM configurations and modules share a VM, others don't. Nothing is global: gateways don't see each other, and tests run in parallel.
//! 3. A compiled module is kept in the engine by the content of its file, so a thousand gateways compile it once.
//! 4. Where Envoy differs from the ABI's text, Envoy is right: the stream machine follows its filter manager state by state.
//! 5. Nothing waits: a stream that no filter resumes is the error [`Hung`], not an endless wait.
//! 6. Randomness is seeded, time comes from a [`Clock`].
//!
//! What a module calls is there too: clusters with scripted answers, a clock that stands still, fuel that is counted.
//!
//! ```
//! use std::time::Duration;
//!
//! use scrim::wasm::{Clock, Wasmtime};
//! use scrim::{Answer, Filter, Gateway as _, Request, Setup};
//!
//! let burner = Filter::from_wat(r#"(module
//!     (memory (export "memory") 1)
//!     (func (export "malloc") (param i32) (result i32) (i32.const 1024))
//!     (func (export "proxy_abi_version_0_2_1"))
//!     (func (export "proxy_on_context_create") (param i32 i32))
//!     (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $n i32)
//!         (loop $again
//!             (local.set $n (i32.add (local.get $n) (i32.const 1)))
//!             (br_if $again (i32.lt_u (local.get $n) (i32.const 500))))
//!         (i32.const 0)))"#)?;
//! let engine = Wasmtime::builder().clock(Clock::Fixed(Duration::from_secs(1_767_225_600))).metered().build()?;
//! let mut chain = engine.start_chain(&Setup::of([burner.named("burner")]))?;
//! chain.take_costs();
//! chain.exchange(&Request::get("/"), &Answer::ok())?;
//! let costs = chain.take_costs();
//! let headers = costs[&("burner".to_owned(), "proxy_on_request_headers")];
//! assert_eq!(headers.calls, 1);
//! assert!(headers.fuel > 500);
//! # anyhow::Ok(())
//! ```

mod abi;
mod agenda;
mod calls;
mod connection;
mod foreign;
mod gateway;
mod headers;
mod host;
pub mod phases;
mod property;
mod rpc;
mod signature;
mod stream;
#[cfg(test)]
mod tests;
mod trace;
mod vm;
mod vms;
mod wasi;
mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use sha2::{Digest, Sha256};
use wasmtime::{Config, InstancePre, Linker, Module};

pub(crate) use self::abi::Abi;
pub use self::foreign::verify_signature;
pub use self::gateway::{Chain, Crashed, Hung};
use self::host::Host;
pub use self::phases::Phases;
pub(crate) use self::signature::{describe, export, import};
pub use self::trace::{Step, Trace};
pub use crate::exchange::Limits;
use crate::exchange::{Engine, Gateway, Headers, Setup, tcp};
use crate::inspect;
use crate::line_coverage::{LineCoverage, Measured};

/// The embedded engine. Cheap to share between threads; each gateway that it starts belongs to one.
pub struct Wasmtime {
    engine: wasmtime::Engine,
    /// One for each version of the ABI, in the order of [`Abi::ALL`].
    linkers: [Linker<Host>; 3],
    modules: Mutex<BTreeMap<[u8; 32], Compiled>>,
    settings: Builder,
    /// Those for setups with limits that are settings of an engine: the stack, and whether fuel is counted.
    others: Mutex<BTreeMap<(usize, bool), Arc<Wasmtime>>>,
}

/// Whose rules hold where Envoy 1.40 does not do what the ABI's text says. The differences are listed in `host-tests/SEMANTICS.md`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Semantics {
    /// Envoy's: what passes here passes there.
    #[default]
    Envoy,
    /// The text's, of ABI 0.2.1: for modules that other hosts run, too.
    Spec,
}

/// A module, compiled and linked.
#[derive(Clone)]
struct Compiled {
    pre: InstancePre<Host>,
    abi: Abi,
    /// Where its lines are counted.
    lines: Option<Arc<Measured>>,
}

/// Settings of a [`Wasmtime`] engine.
#[derive(Clone)]
pub struct Builder {
    clock: Clock,
    limits: Limits,
    seed: u64,
    trace: bool,
    semantics: Semantics,
    log_level: LogLevel,
    clusters: BTreeMap<String, Cluster>,
    line_coverage: Option<Arc<LineCoverage>>,
}

/// Where guests' time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// This time since the Unix epoch; it goes on only where something waits: a stream for a timer, or [`Gateway::wait`].
    Fixed(Duration),
}

/// The least level of log lines that are kept, as Envoy's `--component-log-level wasm:LEVEL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warning,
    Error,
    Critical,
}

/// What a call of a guest (`http_call`) to a cluster carries.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// All lines, pseudo headers too.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
    /// Trailers.
    pub trailers: Headers,
    /// What the guest wants to wait at most, in milliseconds; nothing waits here.
    pub timeout_milliseconds: u32,
}

/// What a scripted cluster answers.
#[derive(Clone, Debug, Default)]
pub struct CallAnswer {
    /// All lines, beginning with `:status`.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
    /// Trailers.
    pub trailers: Headers,
}

/// A scripted cluster; none: the call fails.
#[derive(Clone)]
struct Cluster(Arc<AnswerCall>);

type AnswerCall = dyn Fn(&Call) -> Option<CallAnswer> + Send + Sync;

/// What calls of one callback came to; see [`Chain::take_costs`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// How often it was called.
    pub calls: u64,
    /// The fuel that the guest burned, about one a WebAssembly instruction: the same in every run. 0 unless the engine is
    /// [metered](Builder::metered).
    pub fuel: u64,
    /// How long it took, host calls included.
    pub time: Duration,
}

/// The most stack that can be given.
const STACK_MAX: usize = 1 << 20;

/// How often running guests look at the clock.
const EPOCH: Duration = Duration::from_millis(10);

impl Wasmtime {
    /// An engine with the settings of [`Wasmtime::builder`].
    ///
    /// # Errors
    ///
    /// When this machine can't run WebAssembly.
    pub fn new() -> anyhow::Result<Self> {
        Self::builder().build()
    }

    /// Settings: the machine's clock, 5 s a callback, 1 GiB of memory a VM (Envoy's own limit), log lines from `info` on,
    /// no clusters to call.
    pub fn builder() -> Builder {
        Builder {
            clock: Clock::System,
            limits: Limits::default(),
            seed: 0,
            trace: false,
            semantics: Semantics::Envoy,
            log_level: LogLevel::Info,
            clusters: BTreeMap::new(),
            line_coverage: None,
        }
    }

    /// As [`Engine::start`], but the gateway that comes is this engine's own, with more to ask it.
    ///
    /// # Errors
    ///
    /// When a module can't be read, compiled, linked or started, or refuses its configuration: the error names the filter and
    /// says what it logged.
    pub fn start_chain(&self, setup: &Setup) -> anyhow::Result<Chain> {
        let own = self.settings.limits;
        let Some(mut limits) = setup.limits else {
            return Chain::start(self, setup, own);
        };
        if own.fuel.is_some() {
            // Where fuel is counted, it has a limit.
            limits.fuel.get_or_insert(u64::MAX);
        }
        // Fuel and stack are settings of a whole engine.
        let key = (limits.stack, limits.fuel.is_some());
        if key == (own.stack, own.fuel.is_some()) {
            return Chain::start(self, setup, limits);
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let other = match others.get(&key) {
            Some(other) => Arc::clone(other),
            None => {
                let other = Arc::new(self.settings.clone().limits(limits).build()?);
                others.insert(key, Arc::clone(&other));
                other
            }
        };
        drop(others);
        Chain::start(&other, setup, limits)
    }

    /// The module of a file, compiled unless the same content was before, and the digest of its content.
    fn module(&self, path: &Path) -> anyhow::Result<(Compiled, [u8; 32])> {
        let bytes = std::fs::read(path).with_context(|| format!("can't read the module `{}`", path.display()))?;
        let key: [u8; 32] = Sha256::digest(&bytes).into();
        // Locked until it is compiled: threads that want the same one wait, instead of compiling it as often as there are threads.
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = modules.get(&key) {
            return Ok((module.clone(), key));
        }
        let module = self
            .compile(&bytes)
            .with_context(|| format!("the module `{}`", path.display()))?;
        modules.insert(key, module.clone());
        Ok((module, key))
    }

    fn compile(&self, bytes: &[u8]) -> anyhow::Result<Compiled> {
        let report = inspect::inspect(bytes)?;
        let Some(abi) = report.abi_version.as_deref().and_then(Abi::from_name) else {
            bail!(
                "is no proxy-wasm module: it exports no `proxy_abi_version_0_2_1`, `proxy_abi_version_0_2_0` or `proxy_abi_version_0_1_0`"
            );
        };
        if !report.missing.is_empty() {
            bail!("imports what Envoy does not have: {}", report.missing.join(", "));
        }
        if let Some(problem) = report.problems.first().filter(|_| report.refused()) {
            bail!("{problem}");
        }
        let collector = self.settings.line_coverage.as_ref();
        let lines = collector.map(|collector| collector.measure(bytes)).transpose()?;
        let bytes = lines.as_ref().map_or(bytes, |lines| lines.module());
        let module = Module::new(&self.engine, bytes)
            .map_err(plain)
            .context("can't be compiled")?;
        let [v0_1_0, v0_2_0, v0_2_1] = &self.linkers;
        let linker = match abi {
            Abi::V0_1_0 => v0_1_0,
            Abi::V0_2_0 => v0_2_0,
            Abi::V0_2_1 => v0_2_1,
        };
        let pre = linker.instantiate_pre(&module).map_err(plain)?;
        Ok(Compiled { pre, abi, lines })
    }
}

/// The engine's error as everybody else's.
fn plain(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}

/// The functions of module `env` that a guest may import, as `proxy_log`.
#[must_use]
pub fn host_calls() -> Vec<&'static str> {
    calls::names()
}

impl Engine for Wasmtime {
    fn name(&self) -> &'static str {
        "wasmtime"
    }

    fn start(&self, setup: &Setup) -> anyhow::Result<Box<dyn Gateway>> {
        Ok(Box::new(self.start_chain(setup)?))
    }

    fn start_tcp(&self, setup: &Setup) -> anyhow::Result<Box<dyn tcp::Gateway>> {
        Ok(Box::new(self.start_chain(setup)?))
    }
}

impl Builder {
    /// Where guests' time comes from.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// How long one call into a guest may run before it traps; counted in steps of 10 ms.
    #[must_use]
    pub fn callback_time(mut self, limit: Duration) -> Self {
        self.limits.time = limit;
        self
    }

    /// Counts the fuel that guests burn, without a limit. Guests run somewhat slower for it.
    #[must_use]
    pub fn metered(mut self) -> Self {
        self.limits.fuel.get_or_insert(u64::MAX);
        self
    }

    /// What one call into a guest may burn before it traps, about one a WebAssembly instruction.
    #[must_use]
    pub fn fuel(mut self, limit: u64) -> Self {
        self.limits.fuel = Some(limit);
        self
    }

    /// Every limit at once.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Keeps what guests are called for and what they call; see [`Chain::take_trace`].
    #[must_use]
    pub fn trace(mut self) -> Self {
        self.trace = true;
        self
    }

    /// Whose rules hold where Envoy differs from the ABI's text.
    #[must_use]
    pub fn semantics(mut self, semantics: Semantics) -> Self {
        self.semantics = semantics;
        self
    }

    /// How many bytes of memory a VM may have.
    #[must_use]
    pub fn memory(mut self, bytes: usize) -> Self {
        self.limits.memory = bytes;
        self
    }

    /// The seed of guests' randomness; the same seed gives the same bytes.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The least level of log lines that are kept, and that guests are told.
    #[must_use]
    pub fn log_level(mut self, level: LogLevel) -> Self {
        self.log_level = level;
        self
    }

    /// A cluster that guests may call. Calls to other names are refused as Envoy does. The answer reaches the guest after the
    /// callback that made the call; none: the call fails.
    #[must_use]
    pub fn cluster(mut self, name: &str, answer: impl Fn(&Call) -> Option<CallAnswer> + Send + Sync + 'static) -> Self {
        self.clusters.insert(name.to_owned(), Cluster(Arc::new(answer)));
        self
    }

    /// Counts which source lines of the guests are run; see [`line_coverage`](crate::line_coverage). Guests run slower for it, and
    /// burn more fuel. Their counters have to be within [`Builder::memory`], too: 8 bytes for each piece of a line.
    #[must_use]
    pub fn line_coverage(mut self, collector: Arc<LineCoverage>) -> Self {
        self.line_coverage = Some(collector);
        self
    }

    /// The engine.
    ///
    /// # Errors
    ///
    /// When a limit can't be kept, or this machine can't run WebAssembly.
    pub fn build(self) -> anyhow::Result<Wasmtime> {
        if !(1 << 12..=STACK_MAX).contains(&self.limits.stack) {
            anyhow::bail!(
                "a stack of {} bytes can't be had; ask for 4096 to {STACK_MAX}",
                self.limits.stack
            );
        }
        let mut config = Config::new();
        config.max_wasm_stack(self.limits.stack);
        config.wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Enable);
        config.epoch_interruption(true);
        config.consume_fuel(self.limits.fuel.is_some());
        if self.line_coverage.is_some() {
            config.wasm_multi_memory(true);
        }
        let engine = wasmtime::Engine::new(&config)
            .map_err(plain)
            .context("this machine can't run WebAssembly")?;
        let linker = |abi| -> anyhow::Result<Linker<Host>> {
            let mut linker = Linker::new(&engine);
            calls::link(&mut linker, abi).map_err(plain)?;
            wasi::link(&mut linker).map_err(plain)?;
            Ok(linker)
        };
        let linkers = [linker(Abi::V0_1_0)?, linker(Abi::V0_2_0)?, linker(Abi::V0_2_1)?];
        let weak = engine.weak();
        // Ends with the engine. Guests can't be stopped without somebody who counts.
        std::thread::Builder::new()
            .name("scrim-epoch".to_owned())
            .spawn(move || {
                while let Some(engine) = weak.upgrade() {
                    engine.increment_epoch();
                    drop(engine);
                    std::thread::sleep(EPOCH);
                }
            })?;
        Ok(Wasmtime {
            engine,
            linkers,
            modules: Mutex::default(),
            others: Mutex::default(),
            settings: self,
        })
    }
}

impl fmt::Debug for Wasmtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wasmtime").finish_non_exhaustive()
    }
}
