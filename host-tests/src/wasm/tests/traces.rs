//! Traces, and that everything a guest can see is the same in every run.

use super::*;

/// Random numbers, the clock, a timer, a call, shared data and metrics: whatever could differ.
const RESTLESS: &str = r#"
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (drop (call $tick_every (i32.const 30))) (i32.const 1))
  (func $look
    (drop (call $random (i32.const 512) (i32.const 8)))
    (call $say (i32.const 512) (i32.const 8))
    (drop (call $now (i32.const 512)))
    (call $say (i32.const 512) (i32.const 8)))
  (func (export "proxy_on_tick") (param i32) (call $look)
    (drop (call $set_shared (i32.const 16) (i32.const 7) (i32.const 512) (i32.const 8) (i32.const 0))))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (global.set $stream (local.get 0)) (call $look) (call $headers_call) (i32.const 1))
  (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32) (call $look)
    (drop (call $effective (global.get $stream))) (drop (call $continue (i32.const 0))))
  (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) (call $look) (i32.const 0))
  (func (export "proxy_on_log") (param i32) (call $look)
    (drop (call $get_headers (i32.const 2) (i32.const 0) (i32.const 4)))
    (call $say (i32.load (i32.const 0)) (i32.load (i32.const 4))))
"#;

fn restless(name: &str) -> Filter {
    let imports = r#"
      (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
      (import "env" "proxy_get_current_time_nanoseconds" (func $now (param i32) (result i32)))
      (import "env" "proxy_set_tick_period_milliseconds" (func $tick_every (param i32) (result i32)))
      (import "env" "proxy_set_shared_data" (func $set_shared (param i32 i32 i32 i32 i32) (result i32)))"#;
    let filter = filter(name, "");
    std::fs::write(
        &filter.module,
        wat::parse_str(format!("(module {imports} {PRELUDE} {RESTLESS})")).unwrap(),
    )
    .unwrap();
    filter
}

#[test]
fn a_hundred_runs_are_one_trace_byte_for_byte() {
    let engine = Wasmtime::builder()
        .clock(Clock::Fixed(Duration::from_secs(1_700_000_000)))
        .seed(7)
        .fuel(1_000_000)
        .trace()
        .cluster("cluster", |_| Some(CallAnswer::default()))
        .build()
        .unwrap();
    let setup = Setup {
        filters: vec![restless("one"), restless("two")],
        ..Setup::default()
    };
    let run = || {
        let mut chain = engine.start_chain(&setup).unwrap();
        let mut seen = String::new();
        for chunks in [&["a"][..], &["b", "c"]] {
            let outcome = chain.exchange(&post(chunks), &answer(chunks)).unwrap();
            chain.wait(Duration::from_millis(100)).unwrap();
            let logs = chain.take_logs();
            seen.push_str(&format!("{outcome:?} {logs:?}\n"));
        }
        (seen, chain.take_trace().to_string())
    };
    let first = run();
    assert!(first.1.matches("proxy_on_tick").count() >= 12, "{}", first.1);
    assert!(first.1.contains("random_get: ok, gave 8 B"), "{}", first.1);
    for _ in 1..100 {
        assert_eq!(run(), first);
    }
}

#[test]
fn another_seed_is_other_randomness_and_the_same_trace() {
    let run = |seed| {
        let engine = Wasmtime::builder()
            .clock(Clock::Fixed(Duration::ZERO))
            .seed(seed)
            .trace()
            .cluster("cluster", |_| Some(CallAnswer::default()))
            .build()
            .unwrap();
        let setup = Setup {
            filters: vec![restless("one")],
            ..Setup::default()
        };
        let mut chain = engine.start_chain(&setup).unwrap();
        let outcome = chain.exchange(&get(), &answer(&[])).unwrap();
        (outcome.logs, chain.take_trace())
    };
    let (one, two) = (run(1), run(2));
    assert_ne!(one.0, two.0);
    assert_eq!(one.1, two.1, "it holds sizes, and no values");
}

#[test]
fn a_trace_reads_from_top_to_bottom() {
    const TEXT: &str = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $mark (i32.const 0))
        (drop (call $get_header (i32.const 0) (i32.const 48) (i32.const 5) (i32.const 0) (i32.const 4))) (i32.const 0))
      (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) unreachable)"#;
    let engine = Wasmtime::builder().trace().build().unwrap();
    let setup = Setup {
        filters: vec![filter("probe", TEXT)],
        ..Setup::default()
    };
    let mut chain = engine.start_chain(&setup).unwrap();
    chain.exchange(&get(), &answer(&[])).unwrap();
    let wanted = "probe proxy_on_request_headers(2, 6, 1)\n  proxy_add_header_map_value(0): ok, took 11 B\n  \
                  proxy_get_header_map_value(0): ok, took 5 B, gave 6 B\n  = 0\nprobe proxy_on_response_headers(2, 4, 1)\n  = trap\n";
    assert_eq!(chain.take_trace().to_string(), wanted);
    assert_eq!(chain.take_trace(), Trace::default(), "it is taken");
}
