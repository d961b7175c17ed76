//! A URL in which nothing is to be changed is read and judged without a single allocation.

#![allow(unsafe_code, reason = "an allocator that counts is one that is called so")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use scrim_policy::phi::{Action, DetectEntry, Detector, Outcome, PhiPolicy, Preset, Rules, Secrets};
use scrim_policy::url::Target;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: it hands everything to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(raw: &str, policy: &PhiPolicy) -> (u64, bool) {
    let before = COUNT.with(Cell::get);
    let target = Target::parse(raw.as_bytes()).expect("a target");
    let judgement = policy.judge(&target, Some(2026));
    let passes = matches!(judgement.outcome, Outcome::Pass) && judgement.log_safe.len() == raw.len();
    (COUNT.with(Cell::get) - before, passes)
}

#[test]
fn where_nothing_changes_nothing_is_allocated() {
    let entry = |detector: Detector| DetectEntry {
        name: detector.code().to_owned(),
        pattern: None,
        action: None,
        except: Vec::new(),
    };
    let rules = Rules {
        preset: Some(Preset::FhirR4),
        query: vec![("_count".to_owned(), Action::Pass), ("name".to_owned(), Action::Mask)],
        on_path: Some(Action::Reject),
        detect: [Detector::Ssn, Detector::Email, Detector::Phone, Detector::Mrn]
            .map(entry)
            .to_vec(),
        ..Rules::default()
    };
    let policy = PhiPolicy::new(rules, Secrets::default()).expect("a policy");
    // What is built once is built.
    allocations("/fhir/Patient?encounter.status=1", &policy);
    let usual = "/fhir/Observation?code=8867-4,8480-6,8462-4&category=vital-signs&status=final,amended&_lastUpdated=ge2024-01-01T00:00:00Z&_include=Observation:device&_sort=-date&_count=50&encounter.status=finished";
    for raw in [usual, "/fhir/metadata", "/fhir/Practitioner/7f3a91c2/_history/3", "/"] {
        assert_eq!(allocations(raw, &policy), (0, true), "{raw}");
    }
    // And it does count.
    assert!(allocations("/fhir/Patient?name=a", &policy).0 > 0);
}
