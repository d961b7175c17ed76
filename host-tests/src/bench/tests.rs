//! Probe modules with known costs and leaks.

use proptest::prelude::*;

use super::*;
use crate::exchange::{Answer, Filter, Request, Setup};

/// Burns about 4,000 fuel in its request headers callback, and, when it leaks, gets 100 bytes a stream that it never gives back.
fn probe(leaks: bool) -> Exchanges {
    let leak = if leaks { "(call $leak)" } else { "" };
    let text = format!(
        r#"(module
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 65536))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func $leak
    (global.set $heap (i32.add (global.get $heap) (i32.const 100)))
    (if (i32.gt_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536)))
      (then (drop (memory.grow (i32.const 1))))))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $n i32)
    (loop $again
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $n) (i32.const 500))))
    {leak}
    (i32.const 0)))"#
    );
    Exchanges {
        file: PathBuf::new(),
        name: "probe".to_owned(),
        setup: Setup::of([Filter::from_wat(&text).unwrap().named("p")]),
        cases: vec![CaseExchange {
            name: "a".to_owned(),
            wait: None,
            request: Request::get("/"),
            answer: Answer::ok(),
        }],
        _loaded: std::rc::Rc::new(()),
    }
}

fn run(exchanges: &Exchanges, options: &Options) -> FileCost {
    let settings = Wasmtime::builder().clock(Clock::Fixed(Duration::from_secs(NOW)));
    let bench = Bench {
        metered: settings.clone().metered().build().unwrap(),
        plain: settings.build().unwrap(),
        options,
    };
    bench.file(exchanges).unwrap().unwrap().1
}

fn options(runs: u64, streams: u64) -> Options {
    Options {
        runs,
        streams,
        filter: None,
    }
}

#[test]
fn fuel_is_exact_and_belongs_to_the_callback_that_burned_it() {
    let once = run(&probe(false), &options(0, 0));
    let again = run(&probe(false), &options(0, 0));
    let (cost, same) = (&once.cases["a"], &again.cases["a"]);
    assert_eq!(cost, same);
    let burned = cost.callbacks["p"]["proxy_on_request_headers"];
    assert!((2_000..6_000).contains(&burned), "{burned}");
    assert!(cost.fuel >= burned && cost.fuel < burned + 100, "{cost:?}");
    assert_eq!(cost.memory, 131_072);
    assert_eq!((cost.time, once.leak), (None, None));
}

#[test]
fn a_leak_is_found_and_its_slope_is_right() {
    let leak = run(&probe(true), &options(0, 8_000)).leak.unwrap();
    assert!(
        (90_000..110_000).contains(&leak.bytes_per_1000),
        "100 bytes a stream: {leak:?}"
    );
    let leak = run(&probe(false), &options(0, 2_000)).leak.unwrap();
    assert_eq!((leak.bytes_per_1000, leak.memory), (0, 131_072));
}

#[test]
fn times_are_of_callbacks_and_in_order() {
    let time = run(&probe(false), &options(20, 0)).cases["a"].time.unwrap();
    assert!(
        time.lower > 0 && time.lower <= time.median && time.median <= time.upper,
        "{time:?}"
    );
}

#[test]
fn a_report_comes_back_from_json() {
    let mut measured = Measured {
        version: 1,
        ..Measured::default()
    };
    measured
        .files
        .insert("f [suite]".to_owned(), run(&probe(true), &options(3, 100)));
    let json = serde_json::to_string(&measured).unwrap();
    assert_eq!(serde_json::from_str::<Measured>(&json).unwrap(), measured);
    assert!(measured.table(Detail::Callbacks).contains("p on_request_headers"));
    assert!(!measured.table(Detail::Cases).contains("p on_request_headers"));
    assert!(measured.table(Detail::Cases).contains("streams"));
}

#[test]
fn the_filter_leaves_out_what_it_does_not_name() {
    let settings = Wasmtime::builder();
    let options = Options {
        filter: Some("probe::b".to_owned()),
        ..options(0, 0)
    };
    let bench = Bench {
        metered: settings.clone().metered().build().unwrap(),
        plain: settings.build().unwrap(),
        options: &options,
    };
    assert_eq!(bench.file(&probe(false)).unwrap(), None);
}

proptest! {
    #[test]
    fn the_slope_of_a_line_is_its_own(rise in -1000.0..1000.0f64, start in 0.0..1e9f64, count in 2usize..200) {
        let points: Vec<(f64, f64)> = (0..count).map(|x| (x as f64, start + rise * x as f64)).collect();
        prop_assert!((slope(&points) - rise).abs() < 1e-3);
    }
}

#[test]
fn too_few_points_have_no_slope() {
    assert_eq!(slope(&[]), 0.0);
    assert_eq!(slope(&[(1.0, 5.0)]), 0.0);
}
