//! How time and memory grow with the body: `benches/trim-curve` builds this for wasm and runs it on V8, and natively.
//!
//! Bundles of 1 KB to 100 MB are made on the fly and trimmed in the pieces of 16 KiB that a proxy delivers, so that what is allocated is the
//! trimmer's own. The time is that of trimming alone, the least of several runs; beside it stands what a megabyte took, the median of all of all
//! runs, which other work on the machine disturbs less.

#![allow(clippy::disallowed_methods, reason = "it measures time, and runs in no filter")]
#![allow(unsafe_code, reason = "an allocator is unsafe to write; this one only counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use scrim_policy::trim::{Limits, Program, Selector, Trimmer};

mod bundle;

/// How a proxy delivers bodies.
const PIECE: usize = 16 * 1024;
/// So many entries are made beforehand, and come over and over.
const RING: u32 = 48;
const MEGABYTE: usize = 1 << 20;

/// Counts what is allocated.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grown(bytes: usize) {
    PEAK.fetch_max(NOW.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

// SAFETY: all is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: as promised to this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as promised to this function.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A body of about that many bytes, piece by piece.
struct Body<'a> {
    ring: &'a [String],
    left: usize,
    entry: u32,
    piece: Vec<u8>,
}

impl Body<'_> {
    /// The next piece, and whether it is the last.
    fn next(&mut self) -> (&[u8], bool) {
        self.piece.drain(..self.piece.len().min(PIECE));
        while self.piece.len() < PIECE && self.left > 0 {
            self.piece
                .extend_from_slice(if self.entry == 0 { bundle::HEAD } else { "," }.as_bytes());
            let entry = &self.ring[(self.entry % RING) as usize];
            self.piece.extend_from_slice(entry.as_bytes());
            self.entry += 1;
            self.left = self.left.saturating_sub(entry.len() + 1);
            if self.left == 0 {
                self.piece.extend_from_slice(bundle::TAIL.as_bytes());
            }
        }
        let end = self.left == 0 && self.piece.len() <= PIECE;
        (&self.piece[..self.piece.len().min(PIECE)], end)
    }
}

/// One body.
struct Run {
    size: usize,
    spent: Duration,
    /// What each full megabyte of it took.
    megabytes: Vec<Duration>,
    /// The most memory that was allocated for it at once.
    peak: usize,
}

fn once(program: &Arc<Program>, ring: &[String], bytes: usize) -> Run {
    let mut body = Body {
        ring,
        left: bytes.saturating_sub(bundle::HEAD.len()).max(1),
        entry: 0,
        piece: Vec::with_capacity(PIECE + 4096),
    };
    let mut out = Vec::with_capacity(PIECE + 64);
    let mut run = Run {
        size: 0,
        spent: Duration::ZERO,
        megabytes: Vec::with_capacity(bytes / MEGABYTE + 1),
        peak: 0,
    };
    let (before, mut marked) = (NOW.load(Relaxed), Duration::ZERO);
    PEAK.store(before, Relaxed);
    let mut trimmer = Trimmer::new(Arc::clone(program), None, Limits::default()).expect("nothing is tokenized");
    loop {
        let (piece, end) = body.next();
        // A host takes what was put out before the next piece comes.
        out.clear();
        let begun = Instant::now();
        trimmer.push(piece, end, &mut out).expect("JSON");
        run.spent += begun.elapsed();
        let full = run.size / MEGABYTE;
        run.size += piece.len();
        if run.size / MEGABYTE > full {
            run.megabytes.push(run.spent - marked);
            marked = run.spent;
        }
        if end {
            run.peak = PEAK.load(Relaxed) - before;
            return run;
        }
    }
}

fn main() {
    let selectors = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| Selector::parse(text).expect("a selector"))
            .collect()
    };
    let deny = selectors(&["$..ssn", "$.entry[*].resource.text", "$.entry[*].resource.telecom"]);
    let program = Arc::new(Program::new(deny, None, Vec::new()).expect("small"));
    let ring: Vec<String> = (0..RING).map(bundle::entry).collect();
    println!(
        "{:>12} {:>12} {:>8} {:>10} {:>10}",
        "body, bytes", "time, us", "GB/s", "us a MB", "memory, B"
    );
    for bytes in [1 << 10, 10 << 10, 100 << 10, MEGABYTE, 10 * MEGABYTE, 100 * MEGABYTE] {
        let mut runs: Vec<Run> = (0..(50_000_000 / bytes).clamp(3, 2000))
            .map(|_| once(&program, &ring, bytes))
            .collect();
        let mut megabytes: Vec<Duration> = runs.iter_mut().flat_map(|run| run.megabytes.drain(..)).collect();
        megabytes.sort_unstable();
        let median = megabytes
            .get(megabytes.len() / 2)
            .map_or_else(String::new, |median| format!("{:.0}", median.as_secs_f64() * 1e6));
        let peak = runs.iter().map(|run| run.peak).max().unwrap_or_default();
        let Some(least) = runs.iter().min_by_key(|run| run.spent) else {
            continue;
        };
        let seconds = least.spent.as_secs_f64();
        println!(
            "{:>12} {:>12.1} {:>8.3} {median:>10} {peak:>10}",
            least.size,
            seconds * 1e6,
            least.size as f64 / seconds / 1e9
        );
    }
    #[cfg(target_arch = "wasm32")]
    println!(
        "the module's memory, all in all: {} KiB",
        core::arch::wasm32::memory_size(0) * 64
    );
}
