//! Measures what cases cost: `scrim bench CASES`.
//!
//! 1. Fuel is about one a WebAssembly instruction, host calls not counted. It is exact: the same modules, cases and harness give the
//!    same numbers in every run and on every machine, because guests' clock, randomness and tokens are fixed.
//! 2. Each case gets a gateway of its own. After [`WARM_UP`] exchanges it is measured over [`MEASURED`] more: fuel is their mean, rounded down.
//!    Time is taken on a gateway that counts no fuel, over as many exchanges as one wants: what all callbacks of one exchange took, host calls
//!    included.
//! 3. Memory is what the VMs of that gateway have in the end. WebAssembly memory never shrinks, so that is its peak.
//! 4. The leak slope is a file's, not a case's: all its cases in turn through one gateway, for so many streams. After the first quarter, a
//!    straight line is laid through the memory (least squares): bytes per 1,000 streams. Memory grows by pages of 64 KiB, so a leak of `b` bytes a
//!    stream shows after about `65536 / b` streams.
//! 5. A baseline is such a report, kept in a file. Fuel, memory and leak that are over it by more than so many percent fail; time only where asked.
//!
//! A case whose exchange fails is no measurement: the file is broken, and the others are still measured.

mod compare;
mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

pub use self::compare::{Limits, Over, compare, missing};
pub use self::table::Detail;
use crate::cases::Runner;
use crate::cases::exchanges::{CaseExchange, Exchanges};
use crate::exchange::Gateway as _;
use crate::wasm::{Chain, Clock, Cost, LogLevel, Wasmtime};

/// Exchanges before anything is measured: caches fill, allocators settle.
pub const WARM_UP: u64 = 3;

/// Exchanges over which fuel is averaged.
pub const MEASURED: u64 = 10;

/// The time at which guests live while they are measured, seconds since the Unix epoch: 2026-01-01.
pub const NOW: u64 = 1_767_225_600;

/// How much to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Exchanges over which time is taken, for each case; 0: no time.
    pub runs: u64,
    /// Streams over which leaks are looked for, for each file; 0: no leaks.
    pub streams: u64,
    /// Only cases whose full name (`file [modules]::case`) contains this.
    pub filter: Option<String>,
}

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The form of this report: 1.
    pub version: u32,
    /// By file and modules (`trim [suite]`).
    pub files: BTreeMap<String, FileCost>,
}

/// What a case file's gateway and cases cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FileCost {
    /// Starting and configuring all its filters.
    pub start: Spent,
    /// What memory grew by, in bytes per 1,000 streams; none: not looked for.
    pub leak: Option<Leak>,
    /// By case.
    pub cases: BTreeMap<String, CaseCost>,
}

/// What memory does over many streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Leak {
    /// How many streams.
    pub streams: u64,
    /// The slope, in bytes per 1,000 streams, rounded.
    pub bytes_per_1000: i64,
    /// Memory of all VMs at the end, in bytes.
    pub memory: u64,
}

/// What one exchange of a case costs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CaseCost {
    /// All callbacks of all filters.
    pub fuel: u64,
    /// Memory of all VMs in the end, in bytes.
    pub memory: u64,
    /// The time of all callbacks; none: not taken.
    pub time: Option<Times>,
    /// By filter and callback: fuel.
    pub callbacks: BTreeMap<String, BTreeMap<String, u64>>,
}

/// What something cost once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// Fuel of all callbacks.
    pub fuel: u64,
    /// Memory of all VMs after it, in bytes.
    pub memory: u64,
    /// The time that it took, compiled modules being at hand, in nanoseconds.
    pub nanoseconds: u64,
}

/// Times of many runs, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// A quarter of the runs were faster.
    pub lower: u64,
    /// Half of them were.
    pub median: u64,
    /// A quarter of the runs were slower.
    pub upper: u64,
}

/// Files that could not be measured, and why.
pub type Broken = Vec<(PathBuf, String)>;

/// Measures case files.
///
/// # Errors
/// When this machine can't run WebAssembly. A file that can't be measured is told, and the others are measured.
pub fn measure(files: &[PathBuf], runner: &Runner<'_>, options: &Options) -> Result<(Measured, Broken)> {
    let settings = Wasmtime::builder()
        .clock(Clock::Fixed(Duration::from_secs(NOW)))
        .log_level(LogLevel::Info);
    let bench = Bench {
        metered: settings.clone().metered().build()?,
        plain: settings.build()?,
        options,
    };
    let mut measured = Measured {
        version: 1,
        ..Measured::default()
    };
    let mut broken = Broken::new();
    for file in files {
        let costs = runner.exchanges(file, NOW as i64).and_then(|all| {
            let costs = all.iter().map(|exchanges| bench.file(exchanges));
            costs.collect::<Result<Vec<_>>>()
        });
        match costs {
            Ok(costs) => {
                for (name, cost) in costs.into_iter().flatten() {
                    // Two files may have one name in two folders.
                    let name = match measured.files.contains_key(&name) {
                        true => format!("{name} ({})", file.display()),
                        false => name,
                    };
                    measured.files.insert(name, cost);
                }
            }
            Err(error) => broken.push((file.clone(), format!("{error:#}"))),
        }
    }
    Ok((measured, broken))
}

struct Bench<'a> {
    metered: Wasmtime,
    plain: Wasmtime,
    options: &'a Options,
}

impl Bench<'_> {
    /// None: the filter leaves nothing of it.
    fn file(&self, exchanges: &Exchanges) -> Result<Option<(String, FileCost)>> {
        let wanted = |case: &&CaseExchange| {
            let name = format!("{}::{}", exchanges.name, case.name);
            self.options
                .filter
                .as_ref()
                .is_none_or(|part| name.contains(part.as_str()))
        };
        let cases: Vec<&CaseExchange> = exchanges.cases.iter().filter(wanted).collect();
        if cases.is_empty() {
            return Ok(None);
        }
        let mut cost = FileCost {
            start: self.start(exchanges)?,
            ..FileCost::default()
        };
        for case in &cases {
            let measured = self
                .case(exchanges, case)
                .with_context(|| format!("case `{}`", case.name))?;
            cost.cases.insert(case.name.clone(), measured);
        }
        if self.options.streams > 0 {
            cost.leak = Some(self.leak(exchanges, &cases)?);
        }
        Ok(Some((exchanges.name.clone(), cost)))
    }

    fn start(&self, exchanges: &Exchanges) -> Result<Spent> {
        let mut chain = self.metered.start_chain(&exchanges.setup)?;
        let fuel = chain.take_costs().values().map(|cost| cost.fuel).sum();
        // Once to compile, once to measure.
        self.plain.start_chain(&exchanges.setup)?;
        let begin = Instant::now();
        let started = self.plain.start_chain(&exchanges.setup)?;
        let time = begin.elapsed();
        Ok(Spent {
            fuel,
            memory: memory(&started),
            nanoseconds: nanoseconds(time),
        })
    }

    fn case(&self, exchanges: &Exchanges, case: &CaseExchange) -> Result<CaseCost> {
        let mut chain = self.metered.start_chain(&exchanges.setup)?;
        for _ in 0..WARM_UP {
            send(&mut chain, case)?;
        }
        chain.take_costs();
        for _ in 0..MEASURED {
            send(&mut chain, case)?;
        }
        let mut cost = CaseCost {
            memory: memory(&chain),
            ..CaseCost::default()
        };
        let mut fuel = 0;
        for ((filter, callback), spent) in chain.take_costs() {
            fuel += spent.fuel;
            let callbacks = cost.callbacks.entry(filter).or_default();
            callbacks.insert(callback.to_owned(), spent.fuel / MEASURED);
        }
        cost.fuel = fuel / MEASURED;
        if self.options.runs > 0 {
            cost.time = Some(self.times(exchanges, case)?);
        }
        Ok(cost)
    }

    fn times(&self, exchanges: &Exchanges, case: &CaseExchange) -> Result<Times> {
        let mut chain = self.plain.start_chain(&exchanges.setup)?;
        for _ in 0..WARM_UP {
            send(&mut chain, case)?;
        }
        chain.take_costs();
        let mut times = Vec::new();
        for _ in 0..self.options.runs {
            send(&mut chain, case)?;
            let spent: Duration = chain.take_costs().values().map(|cost: &Cost| cost.time).sum();
            times.push(nanoseconds(spent));
        }
        Ok(quartiles(times))
    }

    fn leak(&self, exchanges: &Exchanges, cases: &[&CaseExchange]) -> Result<Leak> {
        let mut chain = self.plain.start_chain(&exchanges.setup)?;
        let streams = self.options.streams;
        let mut points = Vec::new();
        for (number, case) in (0..streams).zip(cases.iter().cycle()) {
            send(&mut chain, case).with_context(|| format!("case `{}`, stream {number}", case.name))?;
            chain.take_costs();
            if number >= streams / 4 {
                points.push((number as f64, memory(&chain) as f64));
            }
        }
        Ok(Leak {
            streams,
            bytes_per_1000: (slope(&points) * 1000.0).round() as i64,
            memory: memory(&chain),
        })
    }
}

fn send(chain: &mut Chain, case: &CaseExchange) -> Result<()> {
    if let Some(time) = case.wait {
        chain.wait(time)?;
    }
    let outcome = chain.exchange(&case.request, &case.answer)?;
    // A guest that traps costs little: that is no gain.
    match outcome.failures.into_iter().next() {
        Some(failure) => Err(failure.into()),
        None => Ok(()),
    }
}

fn memory(chain: &Chain) -> u64 {
    chain.memory().iter().map(|(_, bytes)| *bytes as u64).sum()
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Of at least one run.
fn quartiles(mut times: Vec<u64>) -> Times {
    times.sort_unstable();
    let at = |part: usize| {
        times
            .get((times.len() * part / 4).min(times.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    };
    Times {
        lower: at(1),
        median: at(2),
        upper: at(3),
    }
}

/// The slope of the straight line nearest to the points, by least squares; 0 where they don't give one.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean_x = points.iter().map(|point| point.0).sum::<f64>() / count;
    let mean_y = points.iter().map(|point| point.1).sum::<f64>() / count;
    let (mut above, mut below) = (0.0, 0.0);
    for (x, y) in points {
        above += (x - mean_x) * (y - mean_y);
        below += (x - mean_x) * (x - mean_x);
    }
    if below > 0.0 { above / below } else { 0.0 }
}

#[cfg(test)]
mod tests;
