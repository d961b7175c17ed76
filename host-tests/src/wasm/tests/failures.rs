//! What becomes of streams once a VM has failed, by the filter's policy. Each was seen on Envoy 1.40 first.

use super::*;
use crate::exchange::FailurePolicy;

/// Traps for requests with a body.
const TRAP_ON_BODY: &str = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (i32.eqz (local.get 2)) (then unreachable))
    (call $note (i32.const 104) (local.get 2)) (i32.const 0))"#;

fn start_policy(policy: FailurePolicy) -> Chain {
    let filter = Filter {
        failure_policy: policy,
        ..filter("trap", TRAP_ON_BODY)
    };
    let engine = Wasmtime::builder()
        .clock(Clock::Fixed(Duration::from_secs(1_700_000_000)))
        .build()
        .unwrap();
    engine
        .start_chain(&Setup {
            filters: vec![filter],
            ..Setup::default()
        })
        .unwrap()
}

fn status(chain: &mut Chain, request: &Request) -> u16 {
    client(&chain.exchange(request, &answer(&[])).unwrap()).0
}

#[test]
fn closed_is_503_for_good() {
    let mut chain = start_policy(FailurePolicy::Closed);
    assert_eq!(status(&mut chain, &get()), 200);
    assert_eq!(status(&mut chain, &post(&["x"])), 503);
    chain.wait(Duration::from_secs(10)).unwrap();
    assert_eq!(status(&mut chain, &get()), 503);
}

#[test]
fn open_is_503_for_the_stream_that_trapped_and_then_the_filter_is_passed_by() {
    let mut chain = start_policy(FailurePolicy::Open);
    assert_eq!(status(&mut chain, &post(&["x"])), 503);
    let outcome = chain.exchange(&post(&["x"]), &answer(&[])).unwrap();
    assert_eq!(client(&outcome).0, 200);
    assert_eq!((outcome.logs.len(), outcome.failures.len()), (0, 0));
}

#[test]
fn reload_makes_a_new_vm_but_not_twice_within_a_second() {
    let mut chain = start_policy(FailurePolicy::Reload);
    let count = |chain: &Chain, what: &str| chain.metric(&format!("wasm.trap.vm_reload_{what}")).unwrap_or(0);
    assert_eq!(status(&mut chain, &post(&["x"])), 503);
    assert_eq!(status(&mut chain, &get()), 503, "too soon after the start");
    assert_eq!((count(&chain, "backoff"), count(&chain, "success")), (1, 0));
    chain.wait(Duration::from_secs(1)).unwrap();
    let outcome = chain.exchange(&get(), &answer(&[])).unwrap();
    assert_eq!((client(&outcome).0, lines(&outcome)), (200, vec!["h1"]));
    assert_eq!((count(&chain, "backoff"), count(&chain, "success")), (1, 1));
    assert_eq!(status(&mut chain, &post(&["x"])), 503);
    assert_eq!(status(&mut chain, &get()), 503, "too soon after the last one");
    chain.wait(Duration::from_secs(1)).unwrap();
    assert_eq!(status(&mut chain, &get()), 200);
}

#[test]
fn a_root_that_traps_in_its_making_starts_and_fails_every_stream() {
    const TRAP: &str = r#"(func (export "proxy_on_context_create") (param i32 i32) unreachable)"#;
    let mut chain = start(vec![filter("trap", TRAP)]);
    assert_eq!(chain.take_failures()[0].callback, "proxy_on_context_create");
    assert_eq!(status(&mut chain, &get()), 503);
}

#[test]
fn a_trap_in_configure_refuses_the_filter_and_says_where() {
    const TRAP: &str = r#"(func $deep unreachable)
      (func (export "proxy_on_configure") (param i32 i32) (result i32) (call $deep) (i32.const 1))"#;
    for policy in [FailurePolicy::Closed, FailurePolicy::Open, FailurePolicy::Reload] {
        let filter = Filter {
            failure_policy: policy,
            ..filter("trap", TRAP)
        };
        let setup = Setup {
            filters: vec![filter],
            ..Setup::default()
        };
        let error = engine().start_chain(&setup).err().unwrap().to_string();
        assert!(
            error.starts_with("filter `trap`: proxy_on_configure trapped"),
            "{error}"
        );
        assert!(error.contains("deep"), "{error}");
    }
}

#[test]
fn what_crashes_envoy_is_an_error_and_not_an_outcome() {
    const CRASHES: [(&str, &str); 4] = [
        (
            r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (drop (call $continue (i32.const 1))) (i32.const 0))"#,
            "continues a response that there is not yet",
        ),
        (
            r#"(func (export "proxy_on_log") (param i32) (call $deny (i32.const 403)))"#,
            "sends a local response to a stream that is over",
        ),
        (
            r#"(func (export "proxy_on_log") (param i32) (drop (call $close (i32.const 0))))"#,
            "resets a stream that is over",
        ),
        (
            r#"(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
                (call $deny (i32.const 502)) (call $deny (i32.const 503)) (i32.const 1))"#,
            "sends a local response to a stream that is over",
        ),
    ];
    for (text, what) in CRASHES {
        let error = start(vec![filter("crash", text)])
            .exchange(&get(), &answer(&["x"]))
            .unwrap_err();
        let crashed: &Crashed = error.downcast_ref().unwrap_or_else(|| panic!("{error:#}"));
        assert!(crashed.what.contains(what), "{}", crashed.what);
    }
}

#[test]
fn a_plugin_that_was_refused_when_made_anew_is_refused_the_next_time_too() {
    // Accepts its configuration once, by a note in the shared data, and traps at `/a`.
    const ONCE: &str = r#"
      (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (if (i32.eqz (call $get_shared (i32.const 32) (i32.const 4) (i32.const 0) (i32.const 4) (i32.const 8)))
          (then (return (i32.const 0))))
        (drop (call $set_shared (i32.const 32) (i32.const 4) (i32.const 32) (i32.const 4) (i32.const 0)))
        (i32.const 1))
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (if (i32.gt_u (local.get 1) (i32.const 6)) (then unreachable))
        (i32.const 0))"#;
    const IMPORTS: &str = r#"
      (import "env" "proxy_get_shared_data" (func $get_shared (param i32 i32 i32 i32 i32) (result i32)))
      (import "env" "proxy_set_shared_data" (func $set_shared (param i32 i32 i32 i32 i32) (result i32)))"#;
    let once = Filter {
        failure_policy: FailurePolicy::Reload,
        ..filter("once", "")
    };
    std::fs::write(
        &once.module,
        wat::parse_str(format!("(module {IMPORTS} {PRELUDE} {ONCE})")).unwrap(),
    )
    .unwrap();
    let clock = Clock::Fixed(Duration::from_secs(1_000));
    let engine = Wasmtime::builder().clock(clock).build().unwrap();
    let mut chain = engine
        .start_chain(&Setup {
            filters: vec![once.clone()],
            ..Setup::default()
        })
        .unwrap();
    let mut status = |request: &Request| {
        let client = chain.exchange(request, &answer(&["x"])).unwrap().client.unwrap();
        chain.wait(Duration::from_secs(2)).unwrap();
        client.status
    };
    assert_eq!(status(&get()), 200);
    let mut trapping = get();
    trapping.headers.push(("x-one-more".to_owned(), b"1".to_vec()));
    assert_eq!(status(&trapping), 503);
    // It is made anew, and refuses, again and again: nothing may pass by it.
    assert_eq!([status(&get()), status(&get()), status(&get())], [503; 3]);
    let _ = std::fs::remove_file(&once.module);
}
