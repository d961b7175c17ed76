//! Where Envoy differs from the ABI's text: each difference under both, by the numbers of `host-tests/SEMANTICS.md`.

use super::*;

fn run(semantics: Semantics, text: &str, request: &Request, answer: &Answer) -> anyhow::Result<Outcome> {
    let engine = Wasmtime::builder().semantics(semantics).build().unwrap();
    let setup = Setup {
        filters: vec![filter("probe", text)],
        ..Setup::default()
    };
    engine.start_chain(&setup).unwrap().exchange(request, answer)
}

#[track_caller]
fn logs(text: &str, request: &Request, answer: &Answer, envoy: &[&str], spec: &[&str]) {
    let got = |semantics| run(semantics, text, request, answer).unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(lines(&got(Semantics::Envoy)), envoy, "Envoy");
    assert_eq!(lines(&got(Semantics::Spec)), spec, "the text");
}

#[test]
fn s1_something_in_the_middle_of_a_body_is_replaced() {
    const TEXT: &str = r#"(func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
        (if (local.get 1) (then
          (call $note (i32.const 115) (call $set_buffer (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 80) (i32.const 6)))))
        (i32.const 0))"#;
    logs(TEXT, &get(), &answer(&["abc"]), &["s2"], &["s0"]);
    let outcome = run(Semantics::Spec, TEXT, &get(), &answer(&["abc"])).unwrap();
    assert_eq!(client(&outcome).1, "adeniedc");
}

#[test]
fn s2_a_range_beyond_32_bits_is_refused() {
    const TEXT: &str = r#"(func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
        (if (local.get 1) (then
          (call $note (i32.const 115) (call $get_buffer (i32.const 1) (i32.const 1) (i32.const -1) (i32.const 0) (i32.const 4)))))
        (i32.const 0))"#;
    logs(TEXT, &get(), &answer(&["abc"]), &["s0"], &["s2"]);
}

#[test]
fn s3_the_body_comes_while_headers_are_paused() {
    logs_or_hangs(PAUSE_HEADERS, &post(&["x"]));
}

fn logs_or_hangs(text: &str, request: &Request) {
    let error = run(Semantics::Envoy, text, request, &answer(&[])).unwrap_err();
    assert!(error.is::<Hung>(), "{error:#}");
    let outcome = run(Semantics::Spec, text, request, &answer(&[])).unwrap();
    assert_eq!(lines(&outcome)[0], "x");
}

#[test]
fn s4_whatever_is_not_continue_is_pause() {
    const TEXT: &str = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 2))"#;
    assert_eq!(
        client(&run(Semantics::Envoy, TEXT, &get(), &answer(&[])).unwrap()).0,
        200
    );
    assert!(
        run(Semantics::Spec, TEXT, &get(), &answer(&[]))
            .unwrap_err()
            .is::<Hung>()
    );
}

#[test]
fn s5_what_crashes_envoy_is_nothing() {
    const TEXT: &str = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (call $continue (i32.const 1))) (i32.const 0))
      (func (export "proxy_on_log") (param i32) (call $deny (i32.const 403)) (drop (call $close (i32.const 0))))"#;
    assert!(
        run(Semantics::Envoy, TEXT, &get(), &answer(&[]))
            .unwrap_err()
            .is::<Crashed>()
    );
    assert_eq!(
        client(&run(Semantics::Spec, TEXT, &get(), &answer(&[])).unwrap()).0,
        200
    );
}

#[test]
fn s6_the_log_comes_after_done() {
    const TEXT: &str = r#"(func (export "proxy_on_log") (param i32) (call $note (i32.const 76) (i32.const 0)))
      (func (export "proxy_on_done") (param i32) (result i32) (call $note (i32.const 68) (i32.const 0)) (i32.const 1))
      (func (export "proxy_on_delete") (param i32) (call $note (i32.const 88) (i32.const 0)))"#;
    logs(TEXT, &get(), &answer(&[]), &["L0", "D0", "X0"], &["D0", "L0", "X0"]);
}

#[test]
fn s7_the_size_of_a_map_is_that_of_its_pairs() {
    // `:status` `200`, `content-type` `text/html`, `content-length` `0`, and Envoy's own: only the difference counts.
    const TEXT: &str = r#"
      (func (export "proxy_on_response_headers") (param i32 $n i32) (param i32) (result i32)
        (drop (call $map_size (i32.const 2) (i32.const 12)))
        (drop (call $get_headers (i32.const 2) (i32.const 0) (i32.const 4)))
        (call $note (i32.const 115) (i32.eq (i32.load (i32.const 4)) (i32.load (i32.const 12)))) (i32.const 0))"#;
    let imports = r#"(import "env" "proxy_get_header_map_size" (func $map_size (param i32 i32) (result i32)))"#;
    for (semantics, wanted) in [(Semantics::Envoy, "s0"), (Semantics::Spec, "s1")] {
        let engine = Wasmtime::builder().semantics(semantics).build().unwrap();
        let text = TEXT.replace("(param i32 $n i32) (param i32)", "(param i32 i32 i32)");
        let probe = filter("probe", "");
        std::fs::write(
            &probe.module,
            wat::parse_str(format!("(module {imports} {PRELUDE} {text})")).unwrap(),
        )
        .unwrap();
        let setup = Setup {
            filters: vec![probe],
            ..Setup::default()
        };
        let outcome = engine
            .start_chain(&setup)
            .unwrap()
            .exchange(&get(), &answer(&[]))
            .unwrap();
        assert_eq!(lines(&outcome), [wanted], "{semantics:?}");
    }
}

#[test]
fn s8_request_trailers_can_be_read_in_the_log() {
    const TEXT: &str = r#"(func (export "proxy_on_log") (param i32)
        (call $note (i32.const 115) (call $get_header (i32.const 1) (i32.const 16) (i32.const 7) (i32.const 0) (i32.const 4))))"#;
    let mut request = post(&["x"]);
    request.body.trailers = vec![("x-probe".to_owned(), b"1".to_vec())];
    logs(TEXT, &request, &answer(&[]), &["s1"], &["s0"]);
}
