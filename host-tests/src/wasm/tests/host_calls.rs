//! What the host calls answer, asked of both engines.

use super::script::{Arg, Script, agree, number, refused, text};
use super::*;

const HEADERS: &str = "proxy_on_request_headers";
const WASI: [&str; 2] = ["wasi_snapshot_preview1", "wasi_unstable"];

#[test]
fn wasi_answers_as_envoy_does() {
    let n = number;
    let out = Arg::Out;
    let long = || Arg::Long(0);
    let bad = || n(0x7fff_ffff);
    for module in WASI {
        let mut script = Script::new().on(HEADERS);
        let mut ask = |name: &str, arguments: &[Arg]| {
            script = std::mem::replace(&mut script, Script::new()).call_of(module, name, arguments);
        };
        for fd in [1, 3] {
            ask("fd_tell", &[n(fd), out(8)]);
            ask("fd_fdstat_get", &[n(fd), out(24)]);
            ask("fd_fdstat_set_flags", &[n(fd), n(0)]);
            ask("fd_fdstat_set_rights", &[n(fd), long(), long()]);
            ask("fd_advise", &[n(fd), long(), long(), n(0)]);
            ask("fd_allocate", &[n(fd), long(), long()]);
            ask("fd_datasync", &[n(fd)]);
            ask("fd_sync", &[n(fd)]);
            ask("fd_filestat_get", &[n(fd), out(0)]);
            ask("fd_filestat_set_size", &[n(fd), long()]);
            ask("fd_filestat_set_times", &[n(fd), long(), long(), n(0)]);
            ask("fd_renumber", &[n(fd), n(1)]);
            ask("fd_prestat_get", &[n(fd), out(4)]);
            ask("fd_prestat_dir_name", &[n(fd), n(0), n(0)]);
            ask("fd_read", &[n(fd), n(0), n(0), out(4)]);
            ask("fd_pread", &[n(fd), n(0), n(0), long(), out(4)]);
            ask("fd_readdir", &[n(fd), n(0), n(0), long(), out(4)]);
            ask("fd_seek", &[n(fd), long(), n(0), out(8)]);
            ask("fd_close", &[n(fd)]);
            ask("fd_write", &[n(fd), n(0), n(0), out(4)]);
            ask("fd_write", &[n(fd), bad(), n(1), out(4)]);
            ask("sock_accept", &[n(fd), n(0), out(8)]);
            ask("sock_recv", &[n(fd), n(0), n(0), n(0), out(4), out(2)]);
            ask("sock_send", &[n(fd), n(0), n(0), n(0), out(4)]);
            ask("sock_shutdown", &[n(fd), n(0)]);
        }
        ask(
            "path_open",
            &[n(3), n(0), n(0), n(0), n(0), long(), long(), n(0), out(4)],
        );
        ask("path_create_directory", &[n(3), n(0), n(0)]);
        ask("path_filestat_get", &[n(3), n(0), n(0), n(0), n(0)]);
        ask(
            "path_filestat_set_times",
            &[n(3), n(0), n(0), n(0), long(), long(), n(0)],
        );
        ask("path_link", &[n(3), n(0), n(0), n(0), n(0), n(0)]);
        ask("path_symlink", &[n(3), n(0), n(0), n(0)]);
        ask("path_readlink", &[n(3), n(0), n(0), n(0), n(0), out(4)]);
        ask("path_remove_directory", &[n(3), n(0), n(0)]);
        ask("path_rename", &[n(3), n(0), n(0), n(3), n(0), n(0)]);
        ask("path_unlink_file", &[n(3), n(0), n(0)]);
        ask("sched_yield", &[]);
        ask("poll_oneoff", &[n(0), n(0), n(1), out(4)]);
        ask("poll_oneoff", &[n(0), n(0), n(1), bad()]);
        ask("args_sizes_get", &[out(4), out(4)]);
        ask("args_get", &[out(4), out(4)]);
        ask("environ_sizes_get", &[out(4), out(4)]);
        ask("environ_get", &[bad(), bad()]);
        for clock in 0..4 {
            ask("clock_res_get", &[n(clock), out(8)]);
            ask("clock_time_get", &[n(clock), long(), out(0)]);
        }
        ask("clock_time_get", &[n(0), long(), bad()]);
        ask("random_get", &[n(0x300), n(16)]);
        ask("random_get", &[n(0x30_0000), n(65536)]);
        ask("random_get", &[n(0x30_0000), n(65537)]);
        ask("random_get", &[bad(), n(0)]);
        ask("random_get", &[bad(), n(1)]);
        let lines = script.lines();
        for wanted in [
            "fd_advise 0",
            "fd_seek 0 [\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00]",
            "fd_renumber 58",
            "path_open 44 [\\x00\\x00\\x00\\x00]",
            "random_get 28",
            "random_get 21",
            "clock_time_get 58 []",
            "fd_readdir 20 [\\x00\\x00\\x00\\x00]",
        ] {
            assert!(lines.iter().any(|line| line == wanted), "{wanted} in {lines:?}");
        }
    }
    // WASI has one parameter more.
    let link = Script::new()
        .on(HEADERS)
        .call_of(WASI[0], "path_link", &[n(0), n(0), n(0), n(0), n(0), n(0), n(0)]);
    refused(link.filter());
}

#[test]
fn standard_output_and_the_environment_reach_modules() {
    // Two pieces, the first at 0x400, the second at 0x404: one line.
    let script = Script::new()
        .import(r#"(import "wasi_unstable" "proc_exit" (func $exit (param i32)))"#)
        .extra(r#"(data (i32.const 0x400) "out\ner\n") (data (i32.const 0x500) "\00\04\00\00\04\00\00\00\04\04\00\00\03\00\00\00")"#)
        .on(HEADERS)
        .call_of(WASI[0], "fd_write", &[number(1), number(0x500), number(2), Arg::Out(4)])
        .call_of(WASI[1], "fd_write", &[number(2), number(0x500), number(1), Arg::Out(4)])
        .code("(call $exit (i32.const 3))")
        .call_of(WASI[0], "environ_sizes_get", &[Arg::Out(4), Arg::Out(4)])
        .call_of(WASI[0], "environ_get", &[number(0x600), number(0x700)])
        .code("(call $hex (i32.const 0x600) (i32.const 4)) (call $put (i32.const 32)) (call $hex (i32.const 0x700) (i32.const 8)) (call $flush)");
    let setup = Setup {
        filters: vec![script.filter()],
        environment: [("KEY".to_owned(), "abc".to_owned())].into(),
        ..Setup::default()
    };
    let (lines, _) = super::script::agree_on(&setup, &get(), &answer(&[]));
    assert_eq!(
        lines,
        [
            "out\ner",
            "fd_write 0 [\\x07\\x00\\x00\\x00]",
            "out",
            "fd_write 0 [\\x04\\x00\\x00\\x00]",
            "environ_sizes_get 0 [\\x01\\x00\\x00\\x00] [\\x08\\x00\\x00\\x00]",
            "environ_get 0",
            "[\\x00\\x07\\x00\\x00] [KEY=abc\\x00]",
        ]
    );
}

#[test]
fn metrics_follow_envoys_rules() {
    let define = |kind, name: &str| ("proxy_define_metric", vec![number(kind), text(name), Arg::Out(4)]);
    let by = |id, offset| ("proxy_increment_metric", vec![number(id), Arg::Long(offset)]);
    let record = |id, value| ("proxy_record_metric", vec![number(id), Arg::Long(value)]);
    let read = |id| ("proxy_get_metric", vec![number(id), Arg::Out(8)]);
    // Ids: counters 4, 8, .., gauges 5, 9, .., histograms 6, 10, ..
    let calls = [
        define(0, "counter"),
        define(0, "counter"),
        define(1, "gauge"),
        define(2, "histogram"),
        define(3, "none"),
        define(1, "counter"),
        by(4, 2),
        by(8, 3),
        by(4, 0),
        by(4, -1),
        read(8),
        record(4, 7),
        read(4),
        by(5, -2),
        read(5),
        record(5, 9),
        by(5, 0),
        read(5),
        read(9),
        by(6, 1),
        record(6, 1),
        read(6),
        by(400, 1),
        by(401, 1),
        by(403, 1),
        record(400, 1),
        record(402, 1),
        record(403, 1),
        read(400),
        read(402),
        read(403),
    ];
    let script = calls
        .iter()
        .fold(Script::new().on(HEADERS), |script, (name, arguments)| {
            script.call(name, arguments)
        });
    // Another VM: its ids begin anew, its counter of that name is the same one.
    let other = Script::new()
        .on(HEADERS)
        .call("proxy_define_metric", &[number(0), text("counter"), Arg::Out(4)])
        .call("proxy_get_metric", &[number(4), Arg::Out(8)]);
    let (lines, _) = agree(vec![script.filter(), other.filter()], &get(), &answer(&[]));
    let statuses: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(
        statuses.join(" "),
        "0 0 0 0 2 0 0 0 2 2 0 0 0 0 0 0 0 0 0 2 0 2 1 1 2 1 1 1 1 2 2 0 0",
        "{lines:?}"
    );
    let last = |line: &str| lines.iter().rfind(|there| there.starts_with(line)).cloned().unwrap();
    assert_eq!(last("define_metric"), "define_metric 0 [\\x04\\x00\\x00\\x00]");
    assert_eq!(
        last("get_metric 0"),
        "get_metric 0 [\\x0c\\x00\\x00\\x00\\x00\\x00\\x00\\x00]"
    );
}

#[test]
fn header_maps_are_read_and_changed() {
    let get_header = "proxy_get_header_map_value";
    let pairs = |lines: &[(&str, &str)]| {
        text(super::super::abi::serialize_pairs(
            lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())),
        ))
    };
    let many: Vec<(&str, &str)> = (0..1025).map(|_| ("x-many", "1")).collect();
    let mut script = Script::new()
        .on(HEADERS)
        .call("proxy_add_header_map_value", &[number(0), text("X-Upper"), text("A")])
        .call(get_header, &[number(0), text("x-upper"), Arg::Given])
        .call(get_header, &[number(0), text("X-UPPER"), Arg::Given])
        .call("proxy_add_header_map_value", &[number(0), text("x-upper"), text("")])
        .call(
            "proxy_replace_header_map_value",
            &[number(0), text("x-other"), text("v")],
        )
        .call("proxy_remove_header_map_value", &[number(0), text("x-none")])
        .call(get_header, &[number(0), text(""), Arg::Given])
        .call("proxy_get_header_map_value", &[number(8), text("x"), Arg::Given])
        .call("proxy_add_header_map_value", &[number(2), text("x"), text("y")])
        .call("proxy_add_header_map_value", &[number(6), text("x"), text("y")])
        .call("proxy_get_header_map_pairs", &[number(1), Arg::Given])
        .call("proxy_get_header_map_pairs", &[number(9), Arg::Given])
        .call("proxy_get_header_map_size", &[number(2), Arg::Out(4)])
        .call("proxy_get_header_map_size", &[number(8), Arg::Out(4)]);
    for map in 1..8 {
        script = script.call(get_header, &[number(map), text("x"), Arg::Given]);
    }
    let script = script
        .on("proxy_on_response_headers")
        .call(
            "proxy_set_header_map_pairs",
            &[number(2), pairs(&[(":status", "201"), ("X-A", "1"), ("x-a", "2")])],
        )
        .call("proxy_get_header_map_pairs", &[number(2), Arg::Given])
        .call("proxy_get_header_map_size", &[number(2), Arg::Out(4)])
        .call("proxy_set_header_map_pairs", &[number(2), pairs(&many)])
        .call("proxy_get_header_map_pairs", &[number(2), Arg::Given])
        .call("proxy_set_header_map_pairs", &[number(2), pairs(&many[..1024])])
        .call("proxy_get_header_map_size", &[number(2), Arg::Out(4)])
        .call(
            "proxy_set_header_map_pairs",
            &[number(2), pairs(&[(":status", "203"), ("x-b", "1")])],
        );
    let (lines, outcome) = agree(vec![script.filter()], &get(), &answer(&[]));
    assert_eq!(lines[1], "get_header_map_value 0 [A]");
    assert_eq!(client(&outcome).0, 203);
    assert!(lines.contains(&"get_header_map_pairs 0 []".to_owned()));
}

#[test]
fn buffers_are_cut_to_what_is_there() {
    let script = Script::new()
        .on(HEADERS)
        .call("proxy_get_buffer_bytes", &[number(0), number(0), number(9), Arg::Given])
        .call("proxy_get_buffer_bytes", &[number(4), number(0), number(9), Arg::Given])
        .call("proxy_get_buffer_bytes", &[number(9), number(0), number(9), Arg::Given])
        .call("proxy_get_buffer_status", &[number(4), Arg::Out(4), Arg::Out(4)])
        .call("proxy_set_buffer_bytes", &[number(0), number(0), number(9), text("x")])
        .call("proxy_set_buffer_bytes", &[number(4), number(0), number(9), text("x")])
        .call("proxy_set_buffer_bytes", &[number(6), number(0), number(9), text("x")])
        .call("proxy_set_buffer_bytes", &[number(9), number(0), number(9), text("x")])
        .on("proxy_on_response_body")
        .call("proxy_get_buffer_status", &[number(1), Arg::Out(4), Arg::Out(4)])
        .call("proxy_get_buffer_bytes", &[number(1), number(1), number(2), Arg::Given])
        .call(
            "proxy_get_buffer_bytes",
            &[number(1), number(3), number(99), Arg::Given],
        )
        .call("proxy_get_buffer_bytes", &[number(1), number(4), number(1), Arg::Given])
        .call("proxy_get_buffer_bytes", &[number(1), number(5), number(1), Arg::Given])
        .call(
            "proxy_get_buffer_bytes",
            &[number(1), number(1), number(u32::MAX), Arg::Given],
        )
        .call(
            "proxy_get_buffer_bytes",
            &[number(1), number(0), number(u32::MAX), Arg::Given],
        )
        .call("proxy_get_buffer_bytes", &[number(1), number(0), number(0), Arg::Given]);
    let lines = script.lines();
    assert!(lines.contains(&"get_buffer_bytes 0 [od]".to_owned()), "{lines:?}");
    assert!(lines.contains(&"get_buffer_bytes 0 [ody]".to_owned()), "{lines:?}");
}

#[test]
fn queues_and_shared_data() {
    let script = Script::new()
        .on(HEADERS)
        .call("proxy_register_shared_queue", &[text("q"), Arg::Out(4)])
        .call("proxy_register_shared_queue", &[text("q"), Arg::Out(4)])
        .call("proxy_resolve_shared_queue", &[text("scrim"), text("q"), Arg::Out(4)])
        .call(
            "proxy_resolve_shared_queue",
            &[text("scrim"), text("none"), Arg::Out(4)],
        )
        .call("proxy_dequeue_shared_queue", &[number(1), Arg::Given])
        .call("proxy_enqueue_shared_queue", &[number(1), text("item")])
        .call("proxy_enqueue_shared_queue", &[number(9), text("item")])
        .call("proxy_dequeue_shared_queue", &[number(9), Arg::Given])
        .call("proxy_dequeue_shared_queue", &[number(1), Arg::Given])
        .call("proxy_set_shared_data", &[text("k"), text("v"), number(5)])
        .call("proxy_get_shared_data", &[text("k"), Arg::Given, Arg::Out(0)])
        .call("proxy_set_shared_data", &[text("k"), text("w"), number(99)])
        .call("proxy_set_shared_data", &[text("k"), text(""), number(0)])
        .call("proxy_get_shared_data", &[text("k"), Arg::Given, Arg::Out(0)])
        .call("proxy_get_status", &[Arg::Out(4), Arg::Given])
        .call("proxy_done", &[]);
    let lines = script.lines();
    assert!(lines.contains(&"dequeue_shared_queue 0 [item]".to_owned()), "{lines:?}");
    assert!(lines.contains(&"set_shared_data 8".to_owned()), "{lines:?}");
}
