//! What differs between the versions of the ABI, and how modules start.

use super::script::{Arg, Script, agree, agree_on, number, refused, text};
use super::*;

const HEADERS: &str = "proxy_on_request_headers";

fn configured(script: &Script) -> Filter {
    Filter {
        configuration: b"plugin".to_vec(),
        vm_configuration: b"vm".to_vec(),
        ..script.filter()
    }
}

#[test]
fn abi_0_1_0_has_its_own_calls_and_callbacks() {
    // What is logged while configuring is no exchange's, so the configuration is kept until a request comes.
    let script = Script::of(Abi::V0_1_0)
        .import(r#"(import "env" "proxy_get_configuration" (func $configuration (param i32 i32) (result i32)))"#)
        .on("proxy_on_configure")
        .code("(drop (call $configuration (i32.const 512) (i32.const 516)))")
        .on(HEADERS)
        .code("(call $tell (i32.const 520) (i32.const 0) (local.get 1)) (call $flush)")
        .code("(call $hex (i32.load (i32.const 512)) (i32.load (i32.const 516))) (call $flush)")
        .call("proxy_get_configuration", &[Arg::Given])
        .call("proxy_get_header_map_value", &[number(0), text("x-none"), Arg::Given])
        .call("proxy_get_header_map_value", &[number(2), text("x-none"), Arg::Given])
        .call("proxy_clear_route_cache", &[])
        .on("proxy_on_log")
        .call("proxy_get_header_map_value", &[number(1), text("x-none"), Arg::Given])
        .on("proxy_on_response_headers")
        .call(
            "proxy_get_header_map_value",
            &[number(2), text("content-type"), Arg::Given],
        );
    let (lines, _) = agree(vec![configured(&script)], &get(), &answer(&[]));
    assert_eq!(
        lines,
        [
            " 6",
            "[plugin]",
            "get_configuration 0 [vm]",
            "get_header_map_value 0 []",
            "get_header_map_value 2 []",
            "clear_route_cache 0",
            "get_header_map_value 0 [text/html]",
            "get_header_map_value 0 []",
        ]
    );
}

#[test]
fn a_stream_of_abi_0_1_0_pauses_and_goes_on() {
    // A timer resumes what is held, first the request, then the response.
    let script = Script::of(Abi::V0_1_0)
        .import(r#"(import "env" "proxy_set_tick_period_milliseconds" (func $period (param i32) (result i32)))"#)
        .import(r#"(import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))"#)
        .extra("(global $held (mut i32) (i32.const 0)) (global $answering (mut i32) (i32.const 0))")
        .on("proxy_on_configure")
        .code("(drop (call $period (i32.const 20)))")
        .on(HEADERS)
        .returns(1)
        .code("(global.set $held (local.get 0))")
        .on("proxy_on_response_headers")
        .returns(1)
        .code("(global.set $held (local.get 0)) (global.set $answering (i32.const 1))")
        .on("proxy_on_tick")
        .code("(if (i32.eqz (global.get $held)) (then (return)))")
        .code("(drop (call $effective (global.get $held))) (global.set $held (i32.const 0))")
        .code("(if (i32.eqz (global.get $answering)) (then")
        .call("proxy_continue_request", &[])
        .code(") (else")
        .call("proxy_continue_response", &[])
        .code("))");
    let (lines, outcome) = agree(vec![script.filter()], &get(), &answer(&["body"]));
    assert_eq!(lines, ["continue_request 0", "continue_response 0"]);
    assert_eq!(client(&outcome), (200, "body".into(), true));
}

#[test]
fn each_version_has_calls_that_others_lack() {
    let wants =
        |abi, call: &str, arguments: &[Arg]| refused(Script::of(abi).on(HEADERS).call(call, arguments).filter());
    for abi in [Abi::V0_2_0, Abi::V0_2_1] {
        for call in ["proxy_continue_request", "proxy_clear_route_cache"] {
            let text = wants(abi, call, &[]);
            assert!(text.contains(&format!("does not have: env.{call}")), "{text}");
        }
    }
    wants(Abi::V0_1_0, "proxy_continue_stream", &[number(0)]);
    for abi in [Abi::V0_1_0, Abi::V0_2_0] {
        let text = wants(abi, "proxy_get_log_level", &[Arg::Out(4)]);
        assert!(text.contains("env.proxy_get_log_level"), "{text}");
    }
    let log_level = Script::new().on(HEADERS).call("proxy_get_log_level", &[Arg::Out(1)]);
    assert!(log_level.module().len() > 100);
    Script::of(Abi::V0_2_0)
        .on(HEADERS)
        .call("proxy_continue_stream", &[number(2)])
        .lines();
}

#[test]
fn callbacks_with_other_types_are_refused() {
    let with = |text: &str| {
        let path = probe("");
        let wat = match text.starts_with("(import") {
            true => format!("(module {text} {PRELUDE})"),
            false => format!("(module {PRELUDE} {text})"),
        };
        std::fs::write(&path, wat::parse_str(wat).unwrap()).unwrap();
        refused(Filter {
            module: path,
            ..filter("bad", "")
        })
    };
    let two = r#"(func (export "proxy_on_request_headers") (param i32 i32) (result i32) (i32.const 0))"#;
    let said = with(two);
    assert!(
        said.contains(
            "exports `proxy_on_request_headers` as (i32 i32) -> i32, and Envoy calls it as (i32 i32 i32) -> i32"
        ),
        "{said}"
    );
    with(r#"(func (export "proxy_on_grpc_close") (param i32))"#);
    with(r#"(func (export "_start") (param i32))"#);
    with(r#"(import "env" "proxy_done" (func (param i32) (result i32)))"#);
    with(r#"(import "wasi_unstable" "fd_close" (func (param i32)))"#);
}

#[test]
fn a_module_starts_as_a_reactor_or_as_a_command() {
    // Each notes that it ran; a request tells.
    let ran = |functions: &str| {
        Script::new()
            .extra("(global $ran (mut i32) (i32.const 0)) (func $ran (param i32) (global.set $ran (i32.add (i32.mul (global.get $ran) (i32.const 3)) (local.get 0))))")
            .extra(functions)
            .on(HEADERS)
            .code("(call $tell (i32.const 0) (i32.const 0) (global.get $ran)) (call $flush)")
            .lines()
    };
    let initialize = r#"(func (export "_initialize") (call $ran (i32.const 1)))"#;
    let start = r#"(func (export "_start") (call $ran (i32.const 2)))"#;
    let main = r#"(func (export "main") (param i32 i32) (result i32) (call $ran (i32.const 2)) (i32.const 7))"#;
    let main_void = r#"(func (export "__main_void") (result i32) (call $ran (i32.const 1)) (i32.const 7))"#;
    assert_eq!(ran(initialize), [" 1"]);
    assert_eq!(ran(start), [" 2"]);
    assert_eq!(ran(&[initialize, start].concat()), [" 1"]);
    assert_eq!(ran(&[initialize, main].concat()), [" 5"]);
    assert_eq!(ran(&[initialize, main, main_void].concat()), [" 5"]);
    assert_eq!(ran(&[initialize, main_void].concat()), [" 4"]);
    assert_eq!(ran(&[start, main].concat()), [" 2"]);
    assert_eq!(ran(""), [" 0"]);
}

#[test]
fn few_calls_are_allowed_while_a_module_initialises() {
    let calls = |call: &str, types: &str, values: &str| {
        Script::new()
            .import(&format!("(import {call} (func $call (param {types}) (result i32)))"))
            .extra(&format!(
                r#"(func (export "_initialize") (drop (call $call {values})))"#
            ))
            .on(HEADERS)
    };
    let zeros = |count: usize| "(i32.const 0) ".repeat(count);
    calls(r#""wasi_snapshot_preview1" "environ_sizes_get""#, "i32 i32", &zeros(2)).lines();
    calls(r#""env" "proxy_log""#, "i32 i32 i32", &zeros(3)).lines();
    let text = refused(calls(r#""env" "proxy_get_current_time_nanoseconds""#, "i32", &zeros(1)).filter());
    assert!(text.contains("_initialize trapped"), "{text}");
    refused(calls(r#""wasi_snapshot_preview1" "fd_close""#, "i32", &zeros(1)).filter());
    refused(calls(r#""wasi_unstable" "sched_yield""#, "", "").filter());
}

#[test]
fn the_vm_and_the_plugin_have_configurations() {
    let script = Script::new()
        .import(r#"(import "env" "proxy_get_buffer_bytes" (func $buffer (param i32 i32 i32 i32 i32) (result i32)))"#)
        .extra(
            r#"(global $calls (mut i32) (i32.const 0))
               (func $note (param $size i32) (param $kind i32)
                 (local $at i32)
                 (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
                 (local.set $at (i32.add (i32.const 0x800) (i32.mul (global.get $calls) (i32.const 16))))
                 (i32.store (i32.add (local.get $at) (i32.const 8)) (local.get $size))
                 (drop (call $buffer (local.get $kind) (i32.const 0) (i32.const 99) (local.get $at) (i32.add (local.get $at) (i32.const 4)))))
               (func $tell_note (param $call i32)
                 (local $at i32)
                 (local.set $at (i32.add (i32.const 0x800) (i32.mul (local.get $call) (i32.const 16))))
                 (call $tell (i32.const 0) (i32.const 0) (i32.load (i32.add (local.get $at) (i32.const 8))))
                 (call $put (i32.const 32))
                 (call $hex (i32.load (local.get $at)) (i32.load (i32.add (local.get $at) (i32.const 4))))
                 (call $flush))"#,
        )
        .on("proxy_on_vm_start")
        .code("(call $note (local.get 1) (i32.const 6)) (call $note (local.get 1) (i32.const 7))")
        .on("proxy_on_configure")
        .code("(call $note (local.get 1) (i32.const 6)) (call $note (local.get 1) (i32.const 7))")
        .on(HEADERS)
        .code("(call $tell_note (i32.const 1)) (call $tell_note (i32.const 2)) (call $tell_note (i32.const 3)) (call $tell_note (i32.const 4))")
        .call("proxy_get_buffer_bytes", &[number(6), number(0), number(9), Arg::Given])
        .call("proxy_get_buffer_bytes", &[number(7), number(0), number(9), Arg::Given]);
    let (lines, _) = agree(vec![configured(&script)], &get(), &answer(&[]));
    assert_eq!(
        lines,
        [
            " 2 [vm]",
            " 2 []",
            " 6 [vm]",
            " 6 [plugin]",
            "get_buffer_bytes 0 [vm]",
            "get_buffer_bytes 1 []"
        ]
    );
}

/// Counts vm starts, configurations and requests in the VM's memory, and tells who it is.
fn counting() -> Script {
    Script::new()
        .extra("(global $starts (mut i32) (i32.const 0)) (global $configurations (mut i32) (i32.const 0)) (global $requests (mut i32) (i32.const 0))")
        .on("proxy_on_vm_start")
        .code("(global.set $starts (i32.add (global.get $starts) (i32.const 1)))")
        .on("proxy_on_configure")
        .code("(global.set $configurations (i32.add (global.get $configurations) (i32.const 1)))")
        .on(HEADERS)
        .code("(global.set $requests (i32.add (global.get $requests) (i32.const 1)))")
        .code("(call $digit (global.get $starts)) (call $digit (global.get $configurations)) (call $digit (global.get $requests)) (call $digit (local.get 0)) (call $flush)")
        .call("proxy_get_property", &[text("plugin_name"), Arg::Given])
        .call("proxy_get_property", &[text("plugin_vm_id"), Arg::Given])
        .call("proxy_set_shared_data", &[text("key"), text("value"), number(0)])
        .on("proxy_on_response_headers")
        .call("proxy_get_shared_data", &[text("other"), Arg::Given, Arg::Out(0)])
}

#[test]
fn equal_filters_share_a_vm_and_different_plugins_have_roots_of_their_own() {
    let script = counting();
    let one = script.filter();
    let named = |name: &str| Filter {
        name: name.to_owned(),
        ..one.clone()
    };
    let own = Filter {
        vm_id: "own".to_owned(),
        ..named("c")
    };
    let configured = Filter {
        vm_configuration: b"x".to_vec(),
        ..named("d")
    };
    let filters = vec![named("a"), named("b"), named("b"), own, configured];
    let (lines, _) = agree(filters, &get(), &answer(&[]));
    let calls: Vec<&str> = lines
        .iter()
        .map(String::as_str)
        .filter(|line| !line.contains("shared_data"))
        .collect();
    assert_eq!(
        calls,
        [
            "2213",
            "get_property 0 [a]",
            "get_property 0 [scrim]",
            "2224",
            "get_property 0 [b]",
            "get_property 0 [scrim]",
            "2235",
            "get_property 0 [b]",
            "get_property 0 [scrim]",
            "1112",
            "get_property 0 [c]",
            "get_property 0 [own]",
            "1112",
            "get_property 0 [d]",
            "get_property 0 [scrim]",
        ]
    );
}

#[test]
fn vms_of_one_id_share_data_and_queues() {
    let queue = |call: &str, vm: &str| {
        Script::new()
            .on(HEADERS)
            .call("proxy_resolve_shared_queue", &[text(vm), text("queue"), Arg::Out(0)])
            .call("proxy_get_shared_data", &[text("key"), Arg::Given, Arg::Out(0)])
            .call(call, &[])
    };
    let writer = Script::new()
        .import(r#"(import "env" "proxy_register_shared_queue" (func $register (param i32 i32 i32) (result i32)))"#)
        .on("proxy_on_configure")
        .code("(drop (call $register (i32.const 0x20000) (i32.const 5) (i32.const 512)))")
        .on(HEADERS)
        // The queue's name is the first text.
        .call(
            "proxy_resolve_shared_queue",
            &[text("queue"), text("queue"), Arg::Out(0)],
        )
        .call("proxy_resolve_shared_queue", &[text(""), text("queue"), Arg::Out(0)])
        .call("proxy_set_shared_data", &[text("key"), text("value"), number(0)]);
    let id = |script: &Script, id: &str| Filter {
        vm_id: id.to_owned(),
        ..script.filter()
    };
    let filters = vec![
        id(&writer, "one"),
        id(&queue("proxy_done", ""), "one"),
        id(&queue("proxy_done", ""), "two"),
        id(&queue("proxy_done", "one"), "three"),
    ];
    let (lines, _) = agree(filters, &get(), &answer(&[]));
    assert_eq!(
        lines,
        [
            "resolve_shared_queue 1 []",
            "resolve_shared_queue 0 []",
            "set_shared_data 0",
            "resolve_shared_queue 0 []",
            "get_shared_data 0 [value] []",
            "done 1",
            "resolve_shared_queue 1 []",
            "get_shared_data 1 [] []",
            "done 1",
            "resolve_shared_queue 0 []",
            "get_shared_data 1 [] []",
            "done 1",
        ]
    );
}

#[test]
fn filters_of_one_vm_may_work_on_each_others_streams() {
    // The first one holds the request; the second one, which has the next context, never runs until the first goes on.
    let script = Script::new()
        .on(HEADERS)
        .call("proxy_get_header_map_value", &[number(0), text(":path"), Arg::Given])
        .call("proxy_set_effective_context", &[number(77)])
        .call("proxy_set_effective_context", &[number(1)])
        .call("proxy_get_property", &[text("plugin_root_id"), Arg::Given])
        .call("proxy_get_property", &[text("request\0path"), Arg::Given])
        .call("proxy_set_effective_context", &[number(0)])
        .call("proxy_get_property", &[text("request\0path"), Arg::Given]);
    assert_eq!(
        script.lines(),
        [
            "get_header_map_value 0 [/a?b=c]",
            "set_effective_context 2",
            "set_effective_context 0",
            "get_property 0 [root]",
            "get_property 1 []",
            "set_effective_context 0",
            "get_property 0 [/a?b=c]",
        ]
    );
    let setup = Setup {
        filters: vec![script.filter()],
        ..Setup::default()
    };
    agree_on(&setup, &get(), &answer(&[]));
}
