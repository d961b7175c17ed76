//! The embedded engine: hosts proxy-wasm HTTP filters on wasmtime, with Envoy's semantics.
//!
//! 1. A module is known only by its file; any module of ABI 0.2.0 or 0.2.1 runs, in whatever language it was written.
//! 2. Each filter of a chain has its own VM. Nothing is global: gateways don't see each other, and tests run in parallel.
//! 3. A compiled module is kept in the engine by the content of its file, so a thousand gateways compile it once.
//! 4. Where Envoy differs from the ABI's text, Envoy is right: the stream machine follows its filter manager state by state.
//! 5. Nothing waits: a stream that no filter resumes is the error [`Hung`], not an endless wait.
//! 6. Randomness is seeded, time comes from a [`Clock`].
//!
//! ```no_run
//! use scrim::exchange::{Answer, Body, Engine, Filter, Request, Setup};
//! use scrim::wasm::Wasmtime;
//!
//! let engine = Wasmtime::new()?;
//! let filter = Filter {
//!     name: "mine".into(),
//!     module: "mine.wasm".into(),
//!     configuration: b"{}".to_vec(),
//!     ..Filter::default()
//! };
//! let mut gateway = engine.start(&Setup { filters: vec![filter], ..Setup::default() })?;
//! let request =
//!     Request { method: "GET".into(), target: b"/".to_vec(), authority: "example.org".into(), ..Request::default() };
//! let answer = Answer { status: 200, headers: vec![], body: Body::default(), fault: None };
//! let outcome = gateway.exchange(&request, &answer)?;
//! assert_eq!(outcome.client.map(|got| got.status), Some(200));
//! # anyhow::Ok(())
//! ```

mod abi;
mod calls;
mod foreign;
mod gateway;
mod headers;
mod host;
mod property;
mod stream;
#[cfg(test)]
mod tests;
mod vm;
mod wasi;
mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use sha2::{Digest, Sha256};
use wasmtime::{Config, InstancePre, Linker, Module};

pub use self::foreign::verify_signature;
pub use self::gateway::{Chain, Hung};
use self::host::Host;
use crate::exchange::{Engine, Gateway, Headers, Setup};
use crate::inspect;
use crate::line_coverage::{LineCoverage, Measured};

/// The embedded engine. Cheap to share between threads; each gateway that it starts belongs to one.
pub struct Wasmtime {
    linker: Linker<Host>,
    modules: Mutex<BTreeMap<[u8; 32], Compiled>>,
    settings: Builder,
}

/// A module, compiled and linked.
#[derive(Clone)]
struct Compiled {
    pre: InstancePre<Host>,
    /// Where its lines are counted.
    lines: Option<Arc<Measured>>,
}

/// Settings of a [`Wasmtime`] engine.
#[derive(Clone)]
pub struct Builder {
    clock: Clock,
    limits: Limits,
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

#[derive(Clone, Debug)]
struct Limits {
    callback_time: Duration,
    /// What a call may burn, where fuel is counted at all.
    fuel: Option<u64>,
    memory: usize,
    seed: u64,
}

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
            limits: Limits {
                callback_time: Duration::from_secs(5),
                fuel: None,
                memory: 1 << 30,
                seed: 0,
            },
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
        Chain::start(self, setup)
    }

    /// The module of a file, compiled unless the same content was before.
    fn module(&self, path: &Path) -> anyhow::Result<Compiled> {
        let bytes = std::fs::read(path).with_context(|| format!("can't read the module `{}`", path.display()))?;
        let key: [u8; 32] = Sha256::digest(&bytes).into();
        // Locked until it is compiled: threads that want the same one wait, instead of compiling it as often as there are threads.
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = modules.get(&key) {
            return Ok(module.clone());
        }
        let module = self
            .compile(&bytes)
            .with_context(|| format!("the module `{}`", path.display()))?;
        modules.insert(key, module.clone());
        Ok(module)
    }

    fn compile(&self, bytes: &[u8]) -> anyhow::Result<Compiled> {
        let report = inspect::inspect(bytes)?;
        match report.abi_version.as_deref() {
            Some("0.2.0" | "0.2.1") => {}
            Some(other) => {
                anyhow::bail!("speaks proxy-wasm ABI {other}; build it for 0.2.1 or 0.2.0")
            }
            None => anyhow::bail!(
                "is no proxy-wasm module: it exports no `proxy_abi_version_0_2_1` or `proxy_abi_version_0_2_0`"
            ),
        }
        if !report.missing.is_empty() {
            anyhow::bail!("imports what Envoy does not have: {}", report.missing.join(", "));
        }
        let collector = self.settings.line_coverage.as_ref();
        let lines = collector.map(|collector| collector.measure(bytes)).transpose()?;
        let bytes = lines.as_ref().map_or(bytes, |lines| lines.module());
        let module = Module::new(self.linker.engine(), bytes)
            .map_err(plain)
            .context("can't be compiled")?;
        let pre = self.linker.instantiate_pre(&module).map_err(plain)?;
        Ok(Compiled { pre, lines })
    }
}

/// The engine's error as everybody else's.
fn plain(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}

/// Whether Envoy 1.40 has an import, `module.name`, for a module of that ABI version.
pub(crate) fn envoy_has(abi: &str, import: &str) -> bool {
    let Some((module, name)) = import.split_once('.') else {
        return false;
    };
    match (module, name) {
        ("env", "proxy_get_log_level") => abi == "0.2.1",
        ("env", "proxy_continue_stream" | "proxy_close_stream") => abi != "0.1.0",
        (
            "env",
            "proxy_get_configuration"
            | "proxy_continue_request"
            | "proxy_continue_response"
            | "proxy_clear_route_cache",
        ) => abi == "0.1.0",
        ("env", name) => calls::PROVIDED.contains(&name),
        (module, name) => wasi::MODULES.contains(&module) && wasi::PROVIDED.contains(&name),
    }
}

impl Engine for Wasmtime {
    fn name(&self) -> &'static str {
        "wasmtime"
    }

    fn start(&self, setup: &Setup) -> anyhow::Result<Box<dyn Gateway>> {
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
        self.limits.callback_time = limit;
        self
    }

    /// Counts the fuel that guests burn, without a limit. Guests run somewhat slower for it.
    #[must_use]
    pub fn metered(mut self) -> Self {
        self.limits.fuel.get_or_insert(u64::MAX);
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
        self.limits.seed = seed;
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
    /// When this machine can't run WebAssembly.
    pub fn build(self) -> anyhow::Result<Wasmtime> {
        let mut config = Config::new();
        config.epoch_interruption(true);
        config.consume_fuel(self.limits.fuel.is_some());
        if self.line_coverage.is_some() {
            config.wasm_multi_memory(true);
        }
        let engine = wasmtime::Engine::new(&config)
            .map_err(plain)
            .context("this machine can't run WebAssembly")?;
        let mut linker = Linker::new(&engine);
        calls::link(&mut linker).map_err(plain)?;
        wasi::link(&mut linker).map_err(plain)?;
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
            linker,
            modules: Mutex::default(),
            settings: self,
        })
    }
}

impl fmt::Debug for Wasmtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wasmtime").finish_non_exhaustive()
    }
}
