//! The harness as a dependency: what a newcomer's test of a module looks like, and that nothing is global.

use std::time::Duration;

use scrim::wasm::{Clock, Phases};
use scrim::{Answer, Filter, Gateway as _, Request, Setup, Wasmtime};

/// Counts the streams of its VM in shared data, logs the count, random bytes and the time, one line each, and defines a metric.
const COUNTER: &str = r#"(module
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_shared_data" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_shared_data" (func $set (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_current_time_nanoseconds" (func $time (param i32) (result i32)))
  (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_increment_metric" (func $increment (param i32 i64) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "streams")
  (global $metric (mut i32) (i32.const 0))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32)
    (drop (call $define (i32.const 0) (i32.const 64) (i32.const 7) (i32.const 32)))
    (global.set $metric (i32.load (i32.const 32)))
    (i32.const 1))
  (func $hex (param $at i32) (param $count i32) (local $n i32) (local $byte i32)
    (loop $again
      (local.set $byte (i32.load8_u (i32.add (local.get $at) (local.get $n))))
      (i32.store8 (i32.add (i32.const 512) (i32.mul (local.get $n) (i32.const 2)))
        (i32.add (i32.const 97) (i32.shr_u (local.get $byte) (i32.const 4))))
      (i32.store8 (i32.add (i32.const 513) (i32.mul (local.get $n) (i32.const 2)))
        (i32.add (i32.const 97) (i32.and (local.get $byte) (i32.const 15))))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $n) (local.get $count))))
    (drop (call $log (i32.const 2) (i32.const 512) (i32.mul (local.get $count) (i32.const 2)))))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (i32.store8 (i32.const 128) (i32.const 0))
    (if (i32.eqz (call $get (i32.const 64) (i32.const 7) (i32.const 0) (i32.const 4) (i32.const 8))) (then
      (i32.store8 (i32.const 128) (i32.load8_u (i32.load (i32.const 0))))))
    (i32.store8 (i32.const 128) (i32.add (i32.load8_u (i32.const 128)) (i32.const 1)))
    (drop (call $set (i32.const 64) (i32.const 7) (i32.const 128) (i32.const 1) (i32.const 0)))
    (drop (call $increment (global.get $metric) (i64.const 1)))
    (call $hex (i32.const 128) (i32.const 1))
    (drop (call $random (i32.const 160) (i32.const 8)))
    (call $hex (i32.const 160) (i32.const 8))
    (drop (call $time (i32.const 192)))
    (call $hex (i32.const 192) (i32.const 8))
    (i32.const 0)))"#;

/// What a gateway's streams logged, and its metric in the end.
fn run(engine: &Wasmtime, streams: u64) -> (Vec<Vec<String>>, Option<u64>) {
    let filter = Filter::from_wat(COUNTER).unwrap().named("counter");
    let mut chain = engine.start_chain(&Setup::of([filter])).unwrap();
    let logs = (0..streams).map(|_| {
        let outcome = chain.exchange(&Request::get("/"), &Answer::ok()).unwrap();
        assert_eq!(outcome.status(), Some(200));
        outcome.logs.into_iter().map(|(_, line)| line).collect()
    });
    (logs.collect(), chain.metric("streams"))
}

fn engine(seed: u64, seconds: u64) -> Wasmtime {
    let clock = Clock::Fixed(Duration::from_secs(seconds));
    Wasmtime::builder().clock(clock).seed(seed).build().unwrap()
}

#[test]
fn engines_in_parallel_threads_see_nothing_of_each_other() {
    let alone = [run(&engine(1, 10), 20), run(&engine(2, 20), 30)];
    assert_eq!((alone[0].1, alone[1].1), (Some(20), Some(30)));
    assert_eq!(alone[0].0[0][0], "ab", "the first stream");
    assert_eq!(alone[0].0[19][0], "be", "the twentieth");
    assert_ne!(alone[0].0[0][1], alone[1].0[0][1], "randomness of another seed");
    assert_ne!(alone[0].0[0][2], alone[1].0[0][2], "time of another clock");
    for _ in 0..4 {
        let together = std::thread::scope(|scope| {
            let first = scope.spawn(|| run(&engine(1, 10), 20));
            let second = scope.spawn(|| run(&engine(2, 20), 30));
            [first.join().unwrap(), second.join().unwrap()]
        });
        assert_eq!(together, alone);
    }
}

#[test]
fn gateways_of_one_engine_in_parallel_threads_see_nothing_of_each_other() {
    let engine = engine(1, 10);
    let alone = run(&engine, 20);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| run(&engine, 20))).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), alone);
        }
    });
}

#[test]
fn a_missing_file_and_a_text_that_is_no_module_are_errors_that_say_so() {
    let engine = Wasmtime::new().unwrap();
    let missing = engine
        .start_chain(&Setup::of([Filter::from_file("no/such.wasm")]))
        .err()
        .unwrap();
    assert!(
        format!("{missing:#}").contains("filter `such`: can't read the module `no/such.wasm`"),
        "{missing:#}"
    );
    let foreign = Filter::from_wat("(module)").unwrap();
    let refused = engine.start_chain(&Setup::of([foreign])).err().unwrap();
    assert!(
        format!("{refused:#}").contains("is no proxy-wasm module"),
        "{refused:#}"
    );
}

#[test]
fn phases_without_a_stream_are_an_error_and_a_trap_says_where() {
    let engine = Wasmtime::new().unwrap();
    let trap = Filter::from_wat(
        r#"(module (memory (export "memory") 1)
        (func (export "malloc") (param i32) (result i32) (i32.const 1024))
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) unreachable))"#,
    );
    let mut phases = Phases::start(&engine, &trap.unwrap()).unwrap();
    let closed = phases.request_headers(&Vec::new(), true).unwrap_err();
    assert!(closed.to_string().contains("call `open` first"), "{closed}");
    phases.open().unwrap();
    assert!(!phases.request_headers(&Vec::new(), true).unwrap().called);
    let trapped = phases.request_body(b"x", true).unwrap_err();
    assert!(
        trapped.to_string().contains("proxy_on_request_body") && trapped.to_string().contains("unreachable"),
        "{trapped}"
    );
    assert!(phases.open().is_err(), "a VM that trapped stays failed");
}
