//! Properties and foreign functions, asked of both engines.

use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey, LineEnding};

use super::script::{Arg, Script, agree_on, number, text};
use super::*;
use crate::wasm::foreign::field;

const HEADERS: &str = "proxy_on_request_headers";

fn ask(script: Script, paths: &[&str]) -> Script {
    paths.iter().fold(script, |script, path| {
        script.call("proxy_get_property", &[text(path), Arg::Given])
    })
}

fn foreign(script: Script, function: &str, argument: impl AsRef<[u8]>) -> Script {
    script.call(
        "proxy_call_foreign_function",
        &[text(function), text(argument), Arg::Given],
    )
}

#[test]
fn properties_are_those_of_envoy_in_every_phase() {
    let everywhere = [
        "connection\0mtls",
        "connection\0requested_server_name",
        "connection\0tls_version",
        "connection\0termination_details",
        "connection\0transport_failure_reason",
        "metadata",
        "metadata\0filter_metadata",
        "metadata\0filter_metadata\0x",
        "request\0headers\0x-none",
        "request\0host",
        "request\0method",
        "request\0nope",
        "request\0path",
        "request\0path\0",
        "request\0path\0x",
        "request\0protocol",
        "request\0query",
        "request\0referer",
        "request\0scheme",
        "request\0size",
        "request\0total_size",
        "request\0headers_bytes",
        "request\0url_path",
        "request\0useragent",
        "response\0code",
        "response\0code_details",
        "response\0flags",
        "response\0grpc_status",
        "response\0headers\0content-type",
        "response\0trailers\0x",
        "response\0size",
        "upstream\0locality",
        "upstream\0num_endpoints",
        "upstream\0request_attempt_count",
        "upstream\0tls_version",
        "upstream\0transport_failure_reason",
        "upstream_filter_state",
        "xds\0cluster_metadata",
        "xds\0cluster_metadata\0filter_metadata",
        "xds\0cluster_name",
        "xds\0filter_chain_name",
        "xds\0listener_direction",
        "xds\0listener_metadata",
        "xds\0node\0cluster",
        "xds\0node\0id",
        "xds\0route_metadata",
        "xds\0route_metadata\0filter_metadata",
        "xds\0route_metadata\0filter_metadata\0scrim",
        "xds\0route_metadata\0filter_metadata\0scrim\0policy",
        "xds\0route_metadata\0filter_metadata\0none",
        "xds\0route_name",
        "xds\0upstream_host_metadata",
        "xds\0virtual_host_metadata",
        "xds\0virtual_host_name",
        // Not these names: they are under `xds`.
        "cluster_name",
        "listener_direction",
        "node\0id",
        "route_name",
        // Parts that can't be listed.
        "request",
        "response",
        "connection",
        "upstream",
        "source",
        "destination",
        "xds",
        "filter_state",
        "filter_state\0none",
        "plugin_name",
        "plugin_name\0x",
        "plugin_root_id",
        "plugin_vm_id",
        "",
        "\0",
        "none",
    ];
    let phases = [
        HEADERS,
        "proxy_on_request_body",
        "proxy_on_response_headers",
        "proxy_on_response_body",
        "proxy_on_log",
    ];
    let script = phases
        .iter()
        .fold(Script::new(), |script, phase| ask(script.on(phase), &everywhere));
    let metadata = |policy: &str| Metadata::from([("scrim".into(), [("policy".into(), policy.into())].into())]);
    let setup = Setup {
        filters: vec![script.filter()],
        routes: vec![Route {
            name: "r".into(),
            prefix: "/".into(),
            metadata: metadata("p"),
        }],
        virtual_host_metadata: metadata("v"),
        ..Setup::default()
    };
    let (lines, _) = agree_on(&setup, &post(&["x"]), &answer(&["body"]));
    for wanted in [
        "get_property 0 [/a?b=c]",
        "get_property 0 [r]",
        "get_property 0 [\\n\\x18\\n\\x05scrim\\x12\\x0f\\n\\r\\n\\x06policy\\x12\\x03\\x1a\\x01p]",
        "get_property 3 []",
        "get_property 0 [via_upstream]",
    ] {
        assert!(lines.iter().any(|line| line == wanted), "{wanted} in {lines:#?}");
    }
}

#[test]
fn root_contexts_have_few_properties() {
    let script = Script::new()
        .import(r#"(import "env" "proxy_set_tick_period_milliseconds" (func $period (param i32) (result i32)))"#)
        .import(r#"(import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))"#)
        .extra("(global $held (mut i32) (i32.const 0))")
        .on("proxy_on_configure")
        .code("(drop (call $period (i32.const 20)))")
        .on(HEADERS)
        .returns(1)
        .code("(global.set $held (local.get 0))")
        .on("proxy_on_tick")
        .code("(if (i32.eqz (global.get $held)) (then (return)))");
    let script = ask(
        script,
        &[
            "request\0path",
            "request",
            "xds",
            "xds\0node\0id",
            "plugin_name",
            "plugin_root_id",
            "connection_id",
            "none",
        ],
    )
    .call("proxy_set_property", &[text("a"), text("b")])
    .call("proxy_get_header_map_value", &[number(0), text(":path"), Arg::Given])
    .call("proxy_get_buffer_bytes", &[number(0), number(0), number(9), Arg::Given])
    .call("proxy_continue_stream", &[number(0)])
    .call("proxy_close_stream", &[number(1)])
    .call("proxy_done", &[])
    .code("(drop (call $effective (global.get $held))) (global.set $held (i32.const 0))")
    .call("proxy_continue_stream", &[number(0)]);
    let lines = script.lines();
    assert!(lines.contains(&"set_property 1".to_owned()), "{lines:?}");
}

#[test]
fn declared_properties_and_envoys_own_filter_state() {
    let state = |name: &str, value: &str| [field(1, name.as_bytes()), field(2, value.as_bytes())].concat();
    let declare = |name: &str, once: u8| [field(1, name.as_bytes()), vec![0x10, once, 0x18, 1]].concat();
    let mut script = Script::new().on(HEADERS);
    for name in [
        "envoy.string",
        "envoy.hashable_string",
        "envoy.tcp_proxy.cluster",
        "envoy.upstream.dynamic_host",
        "envoy.upstream.dynamic_port",
        "envoy.network.application_protocols",
        "envoy.network.upstream_server_name",
        "envoy.ratelimit.hits_addend",
        "envoy.tcp_proxy.per_connection_idle_timeout_ms",
        "envoy.tcp_proxy.disable_tunneling",
        "my.own",
        "",
    ] {
        for value in ["8.8.8.8:80", "12", "70000", "true", ""] {
            script = foreign(script, "set_envoy_filter_state", state(name, value));
            script = ask(script, &[&format!("filter_state\0{name}")]);
        }
    }
    script = foreign(script, "set_envoy_filter_state", b"\xff");
    script = foreign(script, "declare_property", declare("late", 1));
    script = foreign(script, "declare_property", declare("late", 0));
    script = foreign(script, "declare_property", b"\xff");
    // Declared in the stream's context, where nobody looks it up.
    let script = script
        .call("proxy_set_property", &[text("late"), text("1")])
        .call("proxy_set_property", &[text("late"), text("2")])
        // Declared in the root context.
        .call("proxy_set_property", &[text("once"), text("1")])
        .call("proxy_set_property", &[text("once"), text("2")])
        .call("proxy_set_property", &[text("often"), text("1")])
        .call("proxy_set_property", &[text("often"), text("2")]);
    let script = ask(
        script,
        &["late", "once", "often", "filter_state\0wasm.once", "wasm.once"],
    );
    let script = foreign(script.on("proxy_on_configure"), "declare_property", declare("once", 1));
    let script = foreign(script, "declare_property", declare("often", 0));
    let setup = Setup {
        filters: vec![script.filter()],
        ..Setup::default()
    };
    let (lines, _) = agree_on(&setup, &get(), &answer(&[]));
    let tail: Vec<&str> = lines[lines.len() - 14..].iter().map(String::as_str).collect();
    assert_eq!(
        tail,
        [
            "call_foreign_function 0 []",
            "call_foreign_function 2 []",
            "call_foreign_function 2 []",
            "set_property 0",
            "set_property 0",
            "set_property 0",
            "set_property 2",
            "set_property 0",
            "set_property 0",
            "get_property 0 [2]",
            "get_property 0 [1]",
            "get_property 0 [2]",
            "get_property 0 [1]",
            "get_property 1 []",
        ]
    );
}

/// The primes of an RSA key of 2048 bits that is used nowhere else.
const P: &str = "\
    cccb235539d1c7ffb27e1442fd7fe9733e42df5b90a3fbbf7580e05067f1698cf5948a545f804eeb143a9aff659b0105cb80\
    f288446f64dd5abca6e5d0b1e3eb409e7a8086c5d1d69ea9f508312275923db02235261e2555863e1f2a18a806efeb053fc4\
    1b656dab2de46e91e8e6e840f090f5a0ce6101996e3a0ba8ac8d6c7d";
const Q: &str = "\
    c567c80534f541c0c8c5eb2a7490adeb57d337d34fd80bbb592c11072444d301baeb286bf0d0270fd4d13d551db6b84415fa\
    9483f633cc2deba900e16a7d5d964ba172331ac3bf317b96e2d10649bcf6ff69723d584fc85b2697384d801e8690b0c07fcc\
    96add4dfadf75924c5b8386b768b4f7e64215e665fc64cd0721e8b1f";

#[test]
fn foreign_functions_answer_as_envoy_does() {
    let zipped = miniz_oxide::deflate::compress_to_vec_zlib(b"hello hello hello", 6);
    let mut script = Script::new().on(HEADERS);
    for (function, argument) in [
        ("none", &b""[..]),
        ("", b""),
        ("clear_route_cache", b"whatever"),
        ("uncompress", &zipped),
        ("uncompress", &zipped[..zipped.len() - 1]),
        ("uncompress", b"nonsense"),
        ("uncompress", b""),
        ("compress", b""),
        ("sign", b""),
        ("sign", b"\xff"),
        ("sign", &field(2, b"no key")),
        ("sign", &[field(1, b"sha256"), field(4, b"no key")].concat()),
        ("verify_signature", b""),
        (
            "verify_signature",
            &[
                field(1, b"sha256"),
                field(2, b"no key"),
                field(3, b"x"),
                field(4, b"text"),
            ]
            .concat(),
        ),
        (
            "verify_signature",
            &[
                field(1, b"sha256"),
                field(5, b"no key"),
                field(3, b"x"),
                field(4, b"text"),
            ]
            .concat(),
        ),
    ] {
        script = foreign(script, function, argument);
    }
    // RSA signatures are the same on both, since PKCS#1 v1.5 leaves no choice.
    let rsa = rsa::RsaPrivateKey::from_p_q(
        rsa::BigUint::parse_bytes(P.as_bytes(), 16).unwrap(),
        rsa::BigUint::parse_bytes(Q.as_bytes(), 16).unwrap(),
        rsa::BigUint::from(65537_u32),
    )
    .unwrap();
    let (der, pem) = (rsa.to_pkcs8_der().unwrap(), rsa.to_pkcs8_pem(LineEnding::LF).unwrap());
    let p1 = rsa.to_pkcs1_der().unwrap();
    script = foreign(
        script,
        "sign",
        [field(1, b"sha256"), field(2, p1.as_bytes()), field(3, b"text")].concat(),
    );
    for (hash, as_pem) in [
        ("sha256", false),
        ("SHA512", true),
        ("sha1", false),
        ("md5", false),
        ("", false),
    ] {
        let key = if as_pem {
            field(4, pem.as_bytes())
        } else {
            field(2, der.as_bytes())
        };
        script = foreign(
            script,
            "sign",
            [field(1, hash.as_bytes()), key, field(3, b"text")].concat(),
        );
    }
    // Who does not want the result gives no place for it.
    let script = script.call(
        "proxy_call_foreign_function",
        &[text("compress"), text("x"), number(0), number(0)],
    );
    let lines = script.lines();
    assert!(
        lines.contains(&"call_foreign_function 0 [hello hello hello]".to_owned()),
        "{lines:?}"
    );
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.starts_with("call_foreign_function 0 [\\x08\\x01"))
            .count(),
        3,
        "{lines:?}"
    );
}

#[test]
fn cel_expressions_are_refused_by_name() {
    let script = foreign(Script::new().on(HEADERS), "expr_create", b"1 + 2");
    let mut chain = start(vec![script.filter()]);
    let outcome = chain.exchange(&get(), &answer(&[])).unwrap();
    assert!(lines(&outcome)[0].contains("expr_create: CEL expressions are not evaluated"));
    assert!(lines(&outcome)[1].starts_with("call_foreign_function 12 "));
}
