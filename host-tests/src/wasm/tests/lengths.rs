//! Bodies that are not as long as their header lines say: what the commonest mistake of modules that change bodies comes to. And what a
//! guest can't fill the machine with.

use super::*;
use crate::exchange::End;

/// Puts `seen` behind each piece of the body of one way (buffer 0: request, 1: response), or takes it all away.
fn changing(buffer: u32, take_away: bool, remove_length: bool) -> Filter {
    let way = ["request", "response"][buffer as usize];
    let change = match take_away {
        true => "(i32.const 0) (i32.const 0x7fffffff) (i32.const 32) (i32.const 0)",
        false => "(i32.const 0x7fffffff) (i32.const 0) (i32.const 32) (i32.const 4)",
    };
    let headers = match remove_length {
        true => format!(
            "(drop (call $remove_header (i32.const {}) (i32.const 128) (i32.const 14)))",
            buffer * 2
        ),
        false => String::new(),
    };
    filter(
        "changes",
        &format!(
            r#"(func (export "proxy_on_{way}_headers") (param i32 i32 i32) (result i32) {headers} (i32.const 0))
               (func (export "proxy_on_{way}_body") (param i32 i32 i32) (result i32)
                 (if (local.get 1) (then (drop (call $set_buffer (i32.const {buffer}) {change}))))
                 (i32.const 0))"#
        ),
    )
}

fn sized(body: Body) -> Body {
    Body {
        end: End::WithLastChunk,
        ..body
    }
}

fn exchange(filter: Filter) -> anyhow::Result<Outcome> {
    let request = Request {
        body: sized(body(&["abcdef"])),
        ..post(&[])
    };
    let answered = Answer {
        body: sized(body(&["uvwxyz"])),
        ..answer(&[])
    };
    start(vec![filter]).exchange(&request, &answered)
}

#[test]
fn more_than_the_length_says_is_not_read() {
    let outcome = exchange(changing(1, false, false)).unwrap();
    assert_eq!(outcome.client.unwrap().body, b"uvwxyz");
    let outcome = exchange(changing(0, false, false)).unwrap();
    assert_eq!(outcome.upstream.unwrap().body, b"abcdef");
}

#[test]
fn who_waits_for_more_than_comes_waits_for_ever() {
    for (buffer, way) in [(0, "request"), (1, "response")] {
        let error = exchange(changing(buffer, true, false)).unwrap_err();
        let hung = error.downcast_ref::<Hung>().unwrap_or_else(|| panic!("{error:#}"));
        assert_eq!((hung.way, hung.filter.clone()), (way, None));
    }
}

#[test]
fn without_the_length_bodies_may_change() {
    let outcome = exchange(changing(1, false, true)).unwrap();
    assert_eq!(outcome.client.unwrap().body, b"uvwxyzseen");
    assert_eq!(exchange(changing(1, true, true)).unwrap().client.unwrap().body, b"");
    let outcome = exchange(changing(0, false, true)).unwrap();
    assert_eq!(outcome.upstream.unwrap().body, b"abcdefseen");
    assert_eq!(exchange(changing(0, true, true)).unwrap().upstream.unwrap().body, b"");
}

#[test]
fn a_target_in_absolute_form_names_the_authority_and_connection_names_lines_of_this_hop() {
    let mut request = get();
    request.target = b"http://other.example/x?y".to_vec();
    for (name, value) in [
        ("connection", "close, X-Hop"),
        ("x-hop", "1"),
        ("x-kept", "1"),
        ("expect", "x"),
    ] {
        request.headers.push((name.to_owned(), value.as_bytes().to_vec()));
    }
    let seen = start(vec![])
        .exchange(&request, &answer(&["x"]))
        .unwrap()
        .upstream
        .unwrap();
    assert_eq!(
        (seen.target, seen.authority),
        (b"/x?y".to_vec(), "other.example".to_owned())
    );
    assert_eq!(seen.headers, [("x-kept".to_owned(), b"1".to_vec())]);
}

#[test]
fn a_guest_that_logs_without_end_traps() {
    const LOGS: &str = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (loop $again (call $say (i32.const 0) (i32.const 262144)) (br $again)) (i32.const 0))"#;
    let outcome = start(vec![filter("talks", LOGS)])
        .exchange(&get(), &answer(&["x"]))
        .unwrap();
    assert_eq!(outcome.client.unwrap().status, 503);
    let told = outcome.failures[0].to_string();
    assert!(told.contains("logged more than 67108864 bytes"), "{told}");
}

#[test]
fn what_is_written_is_no_more_than_there_is_memory() {
    // A table of 4,096 vectors at 131,072, each of 65,536 bytes: 256 MiB.
    const WRITES: &str = r#"
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $i i32)
        (loop $again
          (i32.store (i32.add (i32.const 131072) (i32.shl (local.get $i) (i32.const 3))) (i32.const 0))
          (i32.store (i32.add (i32.const 131076) (i32.shl (local.get $i) (i32.const 3))) (i32.const 65536))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $again (i32.lt_u (local.get $i) (i32.const 4096))))
        (call $note (i32.const 119) (i32.eqz (call $write (i32.const 1) (i32.const 131072) (i32.const 4096) (i32.const 0))))
        (call $note (i32.const 119) (i32.eqz (call $write (i32.const 1) (i32.const 131072) (i32.const 1) (i32.const 0))))
        (i32.const 0))"#;
    let import = r#"(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))"#;
    let bytes = wat::parse_str(format!("(module {import} {PRELUDE} {WRITES})")).unwrap();
    let writes = filter("writes", "");
    std::fs::write(&writes.module, bytes).unwrap();
    let outcome = start(vec![writes]).exchange(&get(), &answer(&["x"])).unwrap();
    let said: Vec<&str> = lines(&outcome).into_iter().filter(|line| line.len() < 10).collect();
    assert_eq!(said, ["w0", "w1"]);
}
