//! What a guest that uses up too much comes to: one report that names the limit.

use super::*;
use crate::failure::{Cause, Failure, HOST_CALLS};

fn start_limited(limits: Limits, text: &str) -> Chain {
    let engine = Wasmtime::builder().limits(limits).build().unwrap();
    engine
        .start_chain(&Setup {
            filters: vec![filter("probe", text)],
            ..Setup::default()
        })
        .unwrap_or_else(|error| panic!("{error:#}"))
}

/// The one failure of one exchange, which the client sees as 503.
fn failure(limits: Limits, text: &str) -> Failure {
    let mut outcome = start_limited(limits, text)
        .exchange(&get(), &answer(&[]))
        .unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(client(&outcome).0, 503);
    assert_eq!(outcome.failures.len(), 1, "{:?}", outcome.failures);
    assert!(
        outcome.logs.is_empty(),
        "engines are compared by logs: {:?}",
        outcome.logs
    );
    outcome.failures.remove(0)
}

const LOOP: &str = r#"(func $spin (loop (br 0)))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $spin) (i32.const 0))"#;

#[test]
fn an_endless_loop_is_out_of_time() {
    let limits = Limits {
        time: Duration::from_millis(50),
        ..Limits::default()
    };
    let failure = failure(limits, LOOP);
    assert_eq!(failure.cause, Cause::Time(Duration::from_millis(50)));
    assert_eq!(failure.backtrace[0].function, "spin");
    assert!(
        failure
            .to_string()
            .starts_with("filter `probe`: proxy_on_request_headers trapped: it ran longer than 50ms"),
        "{failure}"
    );
}

#[test]
fn an_endless_loop_is_out_of_fuel_first() {
    let limits = Limits {
        fuel: Some(10_000),
        ..Limits::default()
    };
    assert_eq!(failure(limits, LOOP).cause, Cause::Fuel(10_000));
}

#[test]
fn fuel_is_for_each_callback_anew() {
    // About 6 instructions a round: every callback burns more than half of the limit.
    const WORK: &str = r#"(func $work (local $n i32)
        (loop (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if 0 (i32.lt_u (local.get $n) (i32.const 1000)))))
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $work) (i32.const 0))
      (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (call $work) (i32.const 0))"#;
    let limits = Limits {
        fuel: Some(10_000),
        ..Limits::default()
    };
    let outcome = start_limited(limits, WORK).exchange(&get(), &answer(&[])).unwrap();
    assert_eq!((client(&outcome).0, outcome.failures.len()), (200, 0));
}

#[test]
fn a_deep_recursion_is_a_stack_overflow() {
    const DEEP: &str = r#"(func $deeper (param i32) (result i32)
        (i32.add (i32.const 1) (call $deeper (i32.add (local.get 0) (i32.const 1)))))
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $deeper (i32.const 0)))"#;
    let limits = Limits {
        stack: 64 << 10,
        ..Limits::default()
    };
    let failure = failure(limits, DEEP);
    assert_eq!(failure.cause, Cause::Stack(64 << 10));
    assert_eq!(failure.backtrace[0].function, "deeper");
    let text = failure.to_string();
    assert!(text.contains("stack overflow"), "{text}");
    assert!(text.lines().count() < 10, "equal frames are one line: {text}");
}

#[test]
fn a_stack_that_threads_do_not_have_is_refused() {
    let limits = Limits {
        stack: 16 << 20,
        ..Limits::default()
    };
    let error = Wasmtime::builder().limits(limits).build().unwrap_err();
    assert!(error.to_string().contains("16777216"), "{error:#}");
}

#[test]
fn a_leak_is_told_with_the_memory_it_wanted() {
    const LEAK: &str = r#"(func $oom unreachable)
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (loop (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (call $oom))) (br 0)) (i32.const 0))"#;
    let limits = Limits {
        memory: 1 << 20,
        ..Limits::default()
    };
    let failure = failure(limits, LEAK);
    assert_eq!(failure.refused_memory, Some(1 << 20));
    assert!(
        failure.to_string().contains("more memory than the 1048576 bytes"),
        "{failure}"
    );
    assert_eq!(failure.backtrace[0].function, "oom");
}

#[test]
fn a_refused_memory_is_not_told_of_later_traps() {
    const GROW: &str = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (memory.grow (i32.const 100))) (i32.const 0))
      (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) unreachable)"#;
    let limits = Limits {
        memory: 1 << 20,
        ..Limits::default()
    };
    let failure = failure(limits, GROW);
    assert_eq!(
        (failure.callback, failure.refused_memory),
        ("proxy_on_response_headers", None)
    );
}

#[test]
fn the_last_host_calls_are_told_without_their_values() {
    const CALLS: &str = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (local $n i32)
        (loop (call $mark (i32.const 0)) (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (br_if 0 (i32.lt_u (local.get $n) (i32.const 20))))
        (drop (call $get_header (i32.const 0) (i32.const 48) (i32.const 5) (i32.const 0) (i32.const 4)))
        (drop (call $get_header (i32.const 2) (i32.const 48) (i32.const 5) (i32.const 0) (i32.const 4)))
        unreachable)"#;
    let failure = failure(Limits::default(), CALLS);
    assert_eq!(failure.host_calls.len(), HOST_CALLS);
    let told: Vec<String> = failure.host_calls.iter().map(ToString::to_string).collect();
    assert_eq!(told[0], "proxy_add_header_map_value(0): ok, took 11 B");
    assert_eq!(told[14], "proxy_get_header_map_value(0): ok, took 5 B, gave 6 B");
    assert_eq!(told[15], "proxy_get_header_map_value(2): bad argument, took 5 B");
    let all = format!("{failure:?} {failure}");
    assert!(
        !["/a?b", "x-probe", "seen"].iter().any(|value| all.contains(value)),
        "{all}"
    );
}

/// What failed, and its host calls, in a guest whose allocator does this when it is asked for six bytes.
fn allocating(then: &str) -> (Failure, Vec<String>) {
    let text = PRELUDE.replacen(
        "(global.get $heap)",
        &format!("(if (i32.eq (local.get $size) (i32.const 6)) (then {then})) (global.get $heap)"),
        1,
    );
    const READ: &str = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $get_header (i32.const 0) (i32.const 48) (i32.const 5) (i32.const 0) (i32.const 4)))"#;
    let bytes = wat::parse_str(format!("(module {text} {READ})")).unwrap();
    let mut broken = filter("probe", "");
    std::fs::write(&broken.module, bytes).unwrap();
    broken.name = "broken".to_owned();
    let mut outcome = start(vec![broken]).exchange(&get(), &answer(&[])).unwrap();
    let failure = outcome.failures.remove(0);
    let calls = failure.host_calls.iter().map(ToString::to_string).collect();
    (failure, calls)
}

#[test]
fn a_trap_of_the_allocator_fails_the_callback_behind_it() {
    let (failure, calls) = allocating("unreachable");
    assert_eq!(
        calls,
        ["proxy_get_header_map_value(0): invalid memory access, took 5 B"]
    );
    assert_eq!(failure.callback, "proxy_on_request_headers");
    assert!(failure.to_string().contains("unreachable"), "{failure}");
}

#[test]
fn a_host_call_that_traps_is_told() {
    const LOGS: &str = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (loop $again (call $say (i32.const 0) (i32.const 262144)) (br $again)) (i32.const 0))"#;
    let failure = failure_with_logs(LOGS);
    let last = failure.host_calls.last().unwrap().to_string();
    assert!(last.starts_with("proxy_log") && last.contains("trapped"), "{last}");
}

fn failure_with_logs(text: &str) -> Failure {
    let mut outcome = start_limited(Limits::default(), text)
        .exchange(&get(), &answer(&[]))
        .unwrap();
    outcome.failures.remove(0)
}

#[test]
fn events_without_end_are_a_failure() {
    // Each item that comes puts another.
    const QUEUE: &str = r#"
      (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (drop (call $register (i32.const 16) (i32.const 7) (i32.const 12)))
        (drop (call $enqueue (i32.load (i32.const 12)) (i32.const 16) (i32.const 1))) (i32.const 1))
      (func (export "proxy_on_queue_ready") (param i32 i32)
        (drop (call $enqueue (local.get 1) (i32.const 16) (i32.const 1))))"#;
    let imports = r#"
      (import "env" "proxy_register_shared_queue" (func $register (param i32 i32 i32) (result i32)))
      (import "env" "proxy_enqueue_shared_queue" (func $enqueue (param i32 i32 i32) (result i32)))"#;
    let endless = filter("endless", "");
    let bytes = wat::parse_str(format!("(module {imports} {PRELUDE} {QUEUE})")).unwrap();
    std::fs::write(&endless.module, bytes).unwrap();
    let error = engine()
        .start_chain(&Setup {
            filters: vec![endless],
            ..Setup::default()
        })
        .err()
        .unwrap();
    let failure: &Failure = error.downcast_ref().unwrap_or_else(|| panic!("{error:#}"));
    assert_eq!(
        (failure.filter.as_str(), failure.callback),
        ("endless", "proxy_on_queue_ready")
    );
    assert!(matches!(failure.cause, Cause::Events(_)), "{failure}");
}
