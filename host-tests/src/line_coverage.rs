//! Which source lines of the guests were run, and how often: line coverage of proxy-wasm modules.
//!
//! 1. Modules are measured as they are: counters are put in before they are compiled (how, says `instrument`), by the line tables
//!    of their own debug information. A module without is refused, with what to build it with.
//! 2. Counts are of all VMs of all gateways of an engine with [`line_coverage`](crate::wasm::Builder::line_coverage), on all
//!    threads. A VM's counts are added when it ends, however it ends; those of one whose module could not be instantiated are lost.
//! 3. A line's count in one function is that of its most run piece. Functions into which the line was compiled (inlined, generic)
//!    and modules are added up.
//! 4. What the compiler or linker left out of the module is in no line table: a function that nothing calls is not in the report
//!    at all, neither as run nor as not run. With optimisation lines may be gone or shared, as in a debugger.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use scrim::exchange::{Engine, Setup};
//! use scrim::line_coverage::LineCoverage;
//! use scrim::wasm::Wasmtime;
//!
//! let lines = Arc::new(LineCoverage::default());
//! let engine = Wasmtime::builder().line_coverage(lines.clone()).build()?;
//! let gateway = engine.start(&Setup::default())?;
//! drop(gateway);
//! let mut report = lines.report();
//! report.leave_out_foreign();
//! std::fs::write("lcov.info", report.to_string())?;
//! # anyhow::Ok(())
//! ```

mod instrument;
mod lcov;
mod lines;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use wasmtime::{AsContextMut, Instance, Memory};

pub use self::lcov::{File, Report};
use self::lines::LineTable;
use crate::failure::demangle;

/// What a module without line tables is refused with.
const WITHOUT_LINES: &str = "has no line tables, so its lines can't be counted; build it with DWARF debug information: \
    in Cargo.toml, `[profile.release]` with `debug = \"line-tables-only\"` and `strip = \"none\"`; TinyGo without `-no-debug`; \
    Go without `-ldflags=-w`; clang with `-g`; and `wasm-opt`, if at all, with `-g`";

/// Collects the counts of an engine's guests.
#[derive(Default)]
pub struct LineCoverage {
    modules: Mutex<Vec<Arc<Measured>>>,
}

/// A module with counters.
pub(crate) struct Measured {
    instrumented: instrument::Instrumented,
    files: Vec<String>,
    /// Of all VMs that have ended, by counter.
    counts: Mutex<Vec<u64>>,
}

/// The counters of one VM.
pub(crate) struct Counters {
    memory: Memory,
    module: Arc<Measured>,
}

impl LineCoverage {
    /// Puts counters into a module, which from now on is in the report.
    pub(crate) fn measure(&self, module: &[u8]) -> anyhow::Result<Arc<Measured>> {
        let table = LineTable::read(module)?.context(WITHOUT_LINES)?;
        let instrumented = instrument::instrument(module, &table)?;
        let measured = Arc::new(Measured {
            counts: Mutex::new(vec![0; instrumented.counters]),
            instrumented,
            files: table.files,
        });
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        modules.push(Arc::clone(&measured));
        Ok(measured)
    }

    /// What was counted so far, by VMs that have ended.
    pub fn report(&self) -> Report {
        let modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut report = Report::default();
        for module in modules {
            module.report(&mut report);
        }
        report
    }
}

impl Measured {
    /// The module with the counters.
    pub(crate) fn module(&self) -> &[u8] {
        &self.instrumented.module
    }

    fn report(&self, report: &mut Report) {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let count = |counter: usize| counts.get(counter).copied().unwrap_or(0);
        let path = |file: usize| self.files.get(file).cloned().unwrap_or_default();
        // A line's pieces in one function are run together or are alternatives, and the most run one says how often it was.
        let mut most: BTreeMap<(usize, u32, u32), u64> = BTreeMap::new();
        for point in &self.instrumented.points {
            let most = most.entry((point.file, point.line, point.function)).or_default();
            *most = (*most).max(count(point.counter));
        }
        for ((file, line, _), count) in most {
            let sum = report
                .files
                .entry(path(file))
                .or_default()
                .lines
                .entry(line)
                .or_default();
            *sum = sum.saturating_add(count);
        }
        for function in &self.instrumented.functions {
            let name = match &function.name {
                Some(name) => demangle(name),
                None => format!("function {}", function.number),
            };
            let functions = &mut report.files.entry(path(function.file)).or_default().functions;
            let sum = functions.entry((function.line, name)).or_default();
            *sum = sum.saturating_add(count(function.counter));
        }
    }
}

impl Counters {
    /// The counters of an instance of the module.
    pub(crate) fn find(instance: &Instance, store: impl AsContextMut, module: &Arc<Measured>) -> Option<Self> {
        let memory = instance.get_memory(store, instrument::MEMORY)?;
        Some(Counters {
            memory,
            module: Arc::clone(module),
        })
    }

    /// Adds what was counted to the module's counts, and begins anew.
    pub(crate) fn collect(&self, mut store: impl AsContextMut) {
        let (counters, _) = self.memory.data_mut(&mut store).as_chunks_mut::<8>();
        let mut counts = self.module.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for (sum, counter) in counts.iter_mut().zip(counters) {
            *sum = sum.saturating_add(u64::from_le_bytes(std::mem::take(counter)));
        }
    }
}

impl fmt::Debug for LineCoverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineCoverage").finish_non_exhaustive()
    }
}
