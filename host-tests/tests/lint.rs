//! `scrim lint`: for each rule a configuration that shows it and one that does not, and that what Scrim itself prints is clean.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::prelude::proptest;
use serde_json::{Value, json};

use scrim::cases::Modules;
use scrim::envoy::{Envoy, Process};
use scrim::gateway;
use scrim::lint::{Finding, Options, Rule, lint};
use scrim::policy_file::{self, PolicyFile};
use scrim::render::{AccessLog, Admin, Bootstrap, Sink};
use scrim_policy::document::{Problems, Severity};

/// Where the connection manager is in a rendered bootstrap.
const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";

/// A policy that lets no PHI through.
const TIGHT: &str = "version: 1\npolicies: {p: {phi_url: {preset: fhir-r4, on_query: reject, on_path: reject}}}\nroutes: [{match: {path_prefix: /fhir/}, policy: p}]\n";
/// One that does.
const OBSERVING: &str = "version: 1\npolicies: {p: {phi_url: {preset: fhir-r4, on_query: reject, on_path: observe}}}\nroutes: [{match: {path_prefix: /fhir/}, policy: p}]\n";

#[test]
fn what_scrim_prints_is_clean() {
    for policy in [TIGHT, OBSERVING] {
        for modules in [Modules::Suite, Modules::Chain] {
            let text = rendered(policy, modules);
            assert_eq!(told(&text), [""; 0], "{text}");
        }
    }
    let kept = fs::read_to_string(root().join("envoy-config/envoy.yaml")).unwrap();
    assert_eq!(told(&kept), [""; 0]);
}

#[test]
fn what_the_command_prints_is_clean() {
    for modules in ["suite", "chain"] {
        let render = scrim(
            &[
                "render",
                "envoy",
                "--policy",
                "examples/fhir-gateway/policy.yaml",
                "--modules",
                modules,
            ],
            "",
        );
        assert_eq!(render.code, 0, "{}", render.err);
        let lint = scrim(&["lint", "--deny-warnings", "-"], &render.out);
        assert_eq!((lint.code, lint.err.as_str(), lint.out.as_str()), (0, "", "-: ok\n"));
    }
}

#[test]
fn scrim_must_be_there() {
    let none = |manager: &mut Value| {
        manager["http_filters"].as_array_mut().unwrap().remove(0);
    };
    assert_eq!(rules(TIGHT, none), ["error no-scrim"]);
    // Nothing goes on from here, but a redirect says what came.
    let redirects = |manager: &mut Value| {
        none(manager);
        manager["route_config"]["virtual_hosts"][0]["routes"] = json!([{"match": {"prefix": "/"}, "redirect": {"https_redirect": true, "path_redirect": "/", "strip_query": true}}]);
    };
    assert_eq!(rules(TIGHT, redirects), ["warning no-scrim"]);
    // A filter of another name and content is known when it is named.
    let text = changed(TIGHT, |manager| manager["http_filters"][0] = other_wasm("mine"));
    assert!(told(&text).contains(&"error no-scrim".to_owned()));
    let named = Options {
        filter_names: vec!["mine".to_owned()],
        ..Options::default()
    };
    assert_eq!(heads(&lint(&text, &named)), [""; 0]);
}

#[test]
fn the_listener_may_be_left_out() {
    let text = changed(TIGHT, |manager| manager["http_filters"] = json!([]));
    let options = Options {
        skip_listeners: vec!["scrim".to_owned()],
        ..Options::default()
    };
    assert_eq!(heads(&lint(&text, &options)), [""; 0]);
}

#[test]
fn every_place_of_a_manager_is_looked_into() {
    let clean = document(TIGHT, Modules::Suite);
    let mut bad = clean.pointer(MANAGER).unwrap().clone();
    bad["http_filters"].as_array_mut().unwrap().remove(0);
    let network = json!({"name": "hcm", "typed_config": bad});
    let chain = json!({"filters": [network]});
    for listener in [
        json!({"name": "a", "filter_chains": [{"filters": []}, chain]}),
        json!({"name": "b", "default_filter_chain": chain}),
        json!({"name": "c", "internal_listener": {}, "filter_chains": [chain]}),
        json!({"name": "d", "api_listener": {"api_listener": bad}}),
        json!({"name": "e", "apiListener": {"apiListener": {"@type": "type.googleapis.com/x.EnvoyMobileHttpConnectionManager", "config": bad}}}),
    ] {
        let mut bootstrap = clean.clone();
        bootstrap["static_resources"]["listeners"]
            .as_array_mut()
            .unwrap()
            .push(listener.clone());
        assert!(
            told(&bootstrap.to_string()).contains(&"error no-scrim".to_owned()),
            "{listener}"
        );
        assert!(
            told(&listener.to_string()).contains(&"error no-scrim".to_owned()),
            "{listener}"
        );
        let mut resource = listener.clone();
        resource["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
        for file in [
            json!({"resources": [resource]}),
            json!({"configs": [{"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump", "dynamic_listeners": [{"active_state": {"listener": resource}}]}]}),
        ] {
            assert!(told(&file.to_string()).contains(&"error no-scrim".to_owned()), "{file}");
        }
    }
    // The manager alone, in camel case too.
    assert!(told(&bad.to_string()).contains(&"error no-scrim".to_owned()));
    assert!(told(r#"{"httpFilters": []}"#).contains(&"error no-scrim".to_owned()));
}

#[test]
fn what_is_no_configuration_is_told() {
    for text in [
        "",
        "a: [",
        "x: 1\n",
        "[]",
        "apiVersion: v1\nkind: X\n",
        "admin: {}\n---\nadmin: {}\n",
        "a: 1\na: 2\n",
    ] {
        assert_eq!(told(text), ["error unreadable"], "{text:?}");
    }
}

#[test]
fn scrim_fails_closed() {
    let plugin = |key: &'static str, value: Value| {
        move |manager: &mut Value| manager["http_filters"][0]["typed_config"]["config"][key] = value.clone()
    };
    assert_eq!(
        rules(TIGHT, plugin("failure_policy", json!("FAIL_OPEN"))),
        ["error scrim-fails-open"]
    );
    assert_eq!(
        rules(TIGHT, plugin("fail_open", json!(true))),
        ["error scrim-fails-open"]
    );
    assert_eq!(rules(TIGHT, plugin("failure_policy", json!("FAIL_RELOAD"))), [""; 0]);
    assert_eq!(rules(TIGHT, plugin("fail_open", json!(false))), [""; 0]);
    let optional = |manager: &mut Value| manager["http_filters"][0]["is_optional"] = json!(true);
    assert_eq!(rules(TIGHT, optional), ["error scrim-fails-open"]);
}

#[test]
fn scrim_is_always_on() {
    let off = json!({"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true});
    for place in [
        "/route_config",
        "/route_config/virtual_hosts/0",
        "/route_config/virtual_hosts/0/routes/0",
    ] {
        let per = |name: &str| {
            let off = off.clone();
            let name = name.to_owned();
            move |manager: &mut Value| {
                manager.pointer_mut(place).unwrap()["typed_per_filter_config"] = json!({name: off})
            }
        };
        assert_eq!(rules(TIGHT, per("scrim.suite")), ["error scrim-disabled"], "{place}");
        assert_eq!(rules(TIGHT, per("envoy.filters.http.cors")), [""; 0], "{place}");
    }
    assert_eq!(
        rules(TIGHT, |manager| manager["http_filters"][0]["disabled"] = json!(true)),
        ["error scrim-disabled"]
    );
    // Envoy Gateway's way: on where a route says so.
    let on = json!({"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}});
    for place in [
        "/route_config",
        "/route_config/virtual_hosts/0",
        "/route_config/virtual_hosts/0/routes/0",
    ] {
        let switched = |manager: &mut Value| {
            manager["http_filters"][0]["disabled"] = json!(true);
            manager.pointer_mut(place).unwrap()["typed_per_filter_config"] = json!({"scrim.suite": on});
        };
        assert_eq!(rules(TIGHT, switched), ["warning scrim-disabled"], "{place}");
    }
    let matched = |manager: &mut Value| {
        let inner = manager["http_filters"][0].clone();
        manager["http_filters"][0] = json!({"name": "m", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher", "extension_config": inner, "xds_matcher": {}}});
    };
    assert_eq!(rules(TIGHT, matched), ["error scrim-disabled"]);
    // A route configuration by itself, too.
    let routes = json!({"virtual_hosts": [{"routes": [{"typedPerFilterConfig": {"scrim.suite": off}}]}]});
    assert_eq!(told(&routes.to_string()), ["error scrim-disabled"]);
}

#[test]
fn upgrades_get_scrim_too() {
    let upgrade = |filters: Value| {
        move |manager: &mut Value| {
            manager["upgrade_configs"] = json!([{"upgrade_type": "websocket", "filters": filters}])
        }
    };
    assert_eq!(rules(TIGHT, upgrade(json!([router()]))), ["error scrim-bypassed"]);
    assert_eq!(
        rules(TIGHT, |manager| manager["upgrade_configs"] =
            json!([{"upgrade_type": "websocket"}])),
        [""; 0]
    );
    let same = |manager: &mut Value| {
        let filters = manager["http_filters"].clone();
        manager["upgrade_configs"] = json!([{"upgrade_type": "websocket", "filters": filters}]);
    };
    assert_eq!(rules(TIGHT, same), [""; 0]);
}

#[test]
fn single_modules_stand_in_order() {
    let chain = |change: fn(&mut Vec<Value>)| {
        let mut bootstrap = document(TIGHT, Modules::Chain);
        change(
            bootstrap.pointer_mut(MANAGER).unwrap()["http_filters"]
                .as_array_mut()
                .unwrap(),
        );
        told(&bootstrap.to_string())
    };
    assert_eq!(chain(|_| ()), [""; 0]);
    assert_eq!(chain(|filters| filters.swap(1, 2)), ["error scrim-order"]);
    assert_eq!(chain(|filters| drop(filters.remove(0))), ["warning scrim-order"]);
    assert_eq!(chain(|filters| drop(filters.remove(2))), ["error no-scrim"]);
    // What stands after a cache sees nothing.
    let cached = |filters: &mut Vec<Value>| filters.insert(3, filter("cache", json!({})));
    assert_eq!(chain(cached), ["error cache-before"]);
    assert_eq!(
        rules(TIGHT, |manager| manager["http_filters"]
            .as_array_mut()
            .unwrap()
            .reverse()),
        ["error scrim-order"]
    );
}

#[test]
fn filters_before_scrim() {
    for (package, wanted) in [
        ("ext_authz", "error filter-before"),
        ("ext_proc", "error filter-before"),
        ("oauth2", "error filter-before"),
        ("lua", "warning filter-before"),
        ("wasm", "warning filter-before"),
        ("composite", "warning filter-before"),
        ("new_thing", "warning filter-before"),
        ("cache", "error cache-before"),
        ("cache_v2", "error cache-before"),
        ("tap", "error tap"),
        ("file_system_buffer", "warning tap"),
        ("rate_limit_quota", "warning filter-before"),
        ("buffer", ""),
        ("compressor", ""),
        ("health_check", ""),
        ("cors", ""),
        ("jwt_authn", ""),
        ("ratelimit", ""),
        ("grpc_stats", ""),
    ] {
        let wanted: &[&str] = if wanted.is_empty() { &[] } else { &[wanted] };
        assert_eq!(rules(TIGHT, before(filter(package, json!({})))), wanted, "{package}");
    }
    // Those that answer matter where their spans have paths.
    let traced = |length: Option<u32>| {
        move |manager: &mut Value| {
            before(filter("cors", json!({})))(manager);
            manager["tracing"] = json!({});
            if let Some(length) = length {
                manager["tracing"]["max_path_tag_length"] = json!(length);
            }
        }
    };
    assert_eq!(rules(TIGHT, traced(None)), ["warning filter-before"]);
    assert_eq!(rules(TIGHT, traced(Some(0))), [""; 0]);
    // One whose configuration comes from elsewhere.
    assert_eq!(
        rules(TIGHT, before(json!({"name": "x", "config_discovery": {}}))),
        ["warning not-looked-into"]
    );
}

#[test]
fn filters_after_scrim() {
    for (package, tight, observing) in [
        ("ext_authz", "", "warning filter-after"),
        ("lua", "", "warning filter-after"),
        ("dynamic_modules", "", "warning filter-after"),
        ("cache", "", ""),
        ("cors", "", ""),
        ("new_thing", "warning not-looked-into", "warning not-looked-into"),
        ("tap", "error tap", "error tap"),
    ] {
        for (policy, wanted) in [(TIGHT, tight), (OBSERVING, observing)] {
            let wanted: &[&str] = if wanted.is_empty() { &[] } else { &[wanted] };
            assert_eq!(rules(policy, after(filter(package, json!({})))), wanted, "{package}");
        }
    }
}

#[test]
fn filters_of_clusters() {
    for (package, tight, observing) in [
        ("ext_proc", "", "warning filter-after"),
        ("lua", "", "warning filter-after"),
        ("tap", "error tap", "error tap"),
        ("buffer", "", ""),
        ("new_thing", "warning not-looked-into", "warning not-looked-into"),
    ] {
        for (policy, wanted) in [(TIGHT, tight), (OBSERVING, observing)] {
            let wanted: &[&str] = if wanted.is_empty() { &[] } else { &[wanted] };
            let mut bootstrap = document(policy, Modules::Suite);
            let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
            bootstrap["static_resources"]["clusters"][0]["typed_extension_protocol_options"][options]["http_filters"] =
                json!([filter(package, json!({}))]);
            assert_eq!(told(&bootstrap.to_string()), wanted, "{package}");
        }
    }
}

#[test]
fn the_policy_given_counts() {
    let text = changed(OBSERVING, after(filter("ext_authz", json!({}))));
    let mut options = Options {
        policy: Some(policy(TIGHT).configuration(true)),
        ..Options::default()
    };
    assert_eq!(heads(&lint(&text, &options)), [""; 0]);
    options.policy = Some(policy(OBSERVING).configuration(true));
    assert_eq!(heads(&lint(&text, &options)), ["warning filter-after"]);
    // Nothing known of a policy: no promise.
    let unknown = changed(TIGHT, |manager| {
        manager["http_filters"][0]["typed_config"]["config"]
            .as_object_mut()
            .unwrap()
            .remove("configuration");
        after(filter("ext_authz", json!({})))(manager);
    });
    assert_eq!(told(&unknown), ["warning filter-after"]);
}

#[test]
fn taps_on_sockets() {
    let tap = json!({"name": "tap", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tap.v3.Tap"}});
    let plain = json!({"name": "raw", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"}});
    for place in [
        "/static_resources/listeners/0/filter_chains/0",
        "/static_resources/clusters/0",
    ] {
        for (socket, wanted) in [(&tap, &["error tap"][..]), (&plain, &[])] {
            let mut bootstrap = document(TIGHT, Modules::Suite);
            bootstrap.pointer_mut(place).unwrap()["transport_socket"] = socket.clone();
            assert_eq!(told(&bootstrap.to_string()), wanted, "{place}");
        }
    }
}

#[test]
fn access_logs() {
    let file = |log_format: Value| log("file.v3.FileAccessLog", json!({"path": "/x", "log_format": log_format}));
    for (entry, wanted) in [
        (
            log("file.v3.FileAccessLog", json!({"path": "/x"})),
            "error log-default-format",
        ),
        (log("stream.v3.StdoutAccessLog", json!({})), "error log-default-format"),
        (
            log(
                "stream.v3.StderrAccessLog",
                json!({"log_format": {"omit_empty_values": true}}),
            ),
            "error log-default-format",
        ),
        (
            log("file.v3.FileAccessLog", json!({"path": "/x", "format": ""})),
            "error log-default-format",
        ),
        (
            log("file.v3.FileAccessLog", json!({"path": "/x", "format": "%REQ(:PATH)%"})),
            "error log-url",
        ),
        (
            log(
                "file.v3.FileAccessLog",
                json!({"path": "/x", "typed_json_format": {"a": "%REQ(:PATH)%"}}),
            ),
            "error log-url",
        ),
        (file(json!({"text_format": "%REQ(:PATH)%\n"})), "error log-url"),
        (
            file(json!({"textFormat": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%\n"})),
            "error log-url",
        ),
        (
            file(json!({"text_format_source": {"inline_string": "%PATH(NQ)%"}})),
            "error log-url",
        ),
        (
            file(json!({"text_format_source": {"filename": "/f"}})),
            "warning not-looked-into",
        ),
        (
            file(json!({"json_format": {"deep": {"list": ["%REQ(REFERER)%"]}}})),
            "error log-url",
        ),
        (
            file(json!({"json_format": {"a": "%QUERY_PARAM(name)%"}})),
            "error log-url",
        ),
        (file(json!({"json_format": {"a": "%RESP(LOCATION)%"}})), "error log-url"),
        (
            file(json!({"json_format": {"a": "%DYNAMIC_METADATA(x:y)%"}})),
            "warning log-unknown",
        ),
        (
            file(json!({"json_format": {"a": "%FILTER_STATE(mine)%"}})),
            "warning log-unknown",
        ),
        (
            file(
                json!({"json_format": {"a": "%FILTER_STATE(wasm.scrim.path:PLAIN)% %RESPONSE_CODE% %REQ(X-REQUEST-ID)%"}}),
            ),
            "",
        ),
        (
            log(
                "grpc.v3.HttpGrpcAccessLogConfig",
                json!({"additional_request_headers_to_log": ["x"]}),
            ),
            "error log-grpc",
        ),
        (log("grpc.v3.TcpGrpcAccessLogConfig", json!({})), ""),
        (log("open_telemetry.v3.OpenTelemetryAccessLogConfig", json!({})), ""),
        (
            log(
                "open_telemetry.v3.OpenTelemetryAccessLogConfig",
                json!({"body": {"string_value": "%REQ(:PATH)%"}}),
            ),
            "error log-url",
        ),
        (
            log(
                "open_telemetry.v3.OpenTelemetryAccessLogConfig",
                json!({"attributes": {"values": [{"key": "p", "value": {"string_value": "%PATH%"}}]}}),
            ),
            "error log-url",
        ),
        (
            log(
                "fluentd.v3.FluentdAccessLogConfig",
                json!({"record": {"a": "%REQ(:PATH)%"}}),
            ),
            "error log-url",
        ),
        (
            log(
                "fluentd.v3.FluentdAccessLogConfig",
                json!({"record": {"a": "%DURATION%"}}),
            ),
            "",
        ),
        (
            log(
                "stats.v3.Config",
                json!({"counters": [{"stat": {"tags": [{"value_format": "%REQ(:PATH)%"}]}}]}),
            ),
            "error log-url",
        ),
        (log("wasm.v3.WasmAccessLog", json!({})), "warning not-looked-into"),
        (json!({"name": "x"}), "warning not-looked-into"),
    ] {
        let wanted: &[&str] = if wanted.is_empty() { &[] } else { &[wanted] };
        for policy in [TIGHT, OBSERVING] {
            assert_eq!(
                rules(policy, |manager| manager["access_log"] = json!([entry])),
                wanted,
                "{entry}"
            );
        }
        // The router's log of what goes upstream is looked into as well.
        let upstream =
            |manager: &mut Value| manager["http_filters"][1]["typed_config"]["upstream_log"] = json!([entry]);
        assert_eq!(rules(TIGHT, upstream), wanted, "{entry}");
    }
    let more = log(
        "grpc.v3.HttpGrpcAccessLogConfig",
        json!({
        "additional_request_headers_to_log": ["Referer"], "additional_response_headers_to_log": ["location"],
        "common_config": {"filter_state_objects_to_log": ["mine", "wasm.scrim.path"]}}),
    );
    assert_eq!(
        rules(TIGHT, |manager| manager["access_log"] = json!([more])),
        [
            "error log-url",
            "error log-url",
            "error log-grpc",
            "warning log-unknown"
        ]
    );
}

#[test]
fn a_listeners_own_log_prints_nothing_of_requests() {
    let mut bootstrap = document(TIGHT, Modules::Suite);
    bootstrap["static_resources"]["listeners"][0]["access_log"] =
        json!([log("file.v3.FileAccessLog", json!({"path": "/x"}))]);
    assert_eq!(told(&bootstrap.to_string()), [""; 0]);
}

#[test]
fn spans() {
    for (tracing, tight, observing) in [
        (json!({}), "", ""),
        (
            json!({"custom_tags": [{"tag": "t", "request_header": {"name": ":path"}}]}),
            "warning trace-url",
            "error trace-url",
        ),
        (
            json!({"customTags": [{"tag": "t", "requestHeader": {"name": "Referer"}}]}),
            "warning trace-url",
            "error trace-url",
        ),
        (
            json!({"custom_tags": [{"tag": "t", "value": "%REQ(:PATH)%"}]}),
            "warning trace-url",
            "error trace-url",
        ),
        (
            json!({"operation": "%REQ(:PATH)%"}),
            "warning trace-url",
            "error trace-url",
        ),
        (
            json!({"upstream_operation": "%PATH%"}),
            "warning trace-url",
            "error trace-url",
        ),
        (
            json!({"custom_tags": [{"tag": "t", "metadata": {"kind": {"request": {}}}}]}),
            "warning log-unknown",
            "warning log-unknown",
        ),
        (
            json!({"custom_tags": [{"tag": "t", "request_header": {"name": "x-request-id"}}, {"tag": "l", "literal": {"value": "x"}}]}),
            "",
            "",
        ),
    ] {
        for (policy, wanted) in [(TIGHT, tight), (OBSERVING, observing)] {
            let wanted: &[&str] = if wanted.is_empty() { &[] } else { &[wanted] };
            assert_eq!(
                rules(policy, |manager| manager["tracing"] = tracing.clone()),
                wanted,
                "{tracing}"
            );
            assert_eq!(
                rules(policy, |manager| route(manager)["tracing"] = tracing.clone()),
                wanted,
                "route: {tracing}"
            );
        }
    }
    let tracer = |kind: &str| {
        let config = json!({"@type": format!("type.googleapis.com/envoy.config.trace.v3.{kind}")});
        move |manager: &mut Value| manager["tracing"] = json!({"provider": {"name": "t", "typed_config": config}})
    };
    assert_eq!(rules(TIGHT, tracer("SkyWalkingConfig")), ["error trace-url"]);
    assert_eq!(rules(TIGHT, tracer("ZipkinConfig")), [""; 0]);
    assert_eq!(rules(TIGHT, tracer("NewConfig")), ["warning not-looked-into"]);
    // Envoy takes this as it stands.
    let decorator = |manager: &mut Value| route(manager)["decorator"] = json!({"operation": "%REQ(:PATH)%"});
    assert_eq!(rules(OBSERVING, decorator), [""; 0]);
}

#[test]
fn rewritten_paths() {
    for rewrite in [
        json!({"cluster": "upstream", "prefix_rewrite": "/x"}),
        json!({"cluster": "upstream", "regex_rewrite": {"pattern": {"regex": "x"}}}),
        json!({"cluster": "upstream", "path_rewrite_policy": {"name": "r"}}),
    ] {
        let loud = |manager: &mut Value| {
            manager["http_filters"][1]["typed_config"]["suppress_envoy_headers"] = json!(false);
            route(manager)["route"] = rewrite.clone();
        };
        assert_eq!(rules(OBSERVING, loud), ["error original-path"], "{rewrite}");
        assert_eq!(rules(TIGHT, loud), [""; 0], "{rewrite}");
        assert_eq!(
            rules(OBSERVING, |manager| route(manager)["route"] = rewrite.clone()),
            [""; 0],
            "{rewrite}"
        );
    }
}

#[test]
fn redirects() {
    let redirect = |redirect: Value| {
        move |manager: &mut Value| *route(manager) = json!({"match": {"prefix": "/"}, "redirect": redirect})
    };
    for (action, wanted) in [
        (json!({"https_redirect": true}), &["warning redirect-echo"][..]),
        (json!({"path_redirect": "/x"}), &["warning redirect-echo"]),
        (json!({"path_redirect": "/x", "strip_query": true}), &[]),
    ] {
        assert_eq!(rules(OBSERVING, redirect(action.clone())), wanted, "{action}");
        assert_eq!(rules(TIGHT, redirect(action.clone())), [""; 0], "{action}");
    }
    let internal = |manager: &mut Value| route(manager)["route"]["internal_redirect_policy"] = json!({});
    assert_eq!(rules(TIGHT, internal), ["error internal-redirect"]);
}

#[test]
fn headers_made_of_urls() {
    let add = |key: &'static str, value: &'static str| {
        move |manager: &mut Value| route(manager)[key] = json!([{"header": {"key": "x", "value": value}}])
    };
    assert_eq!(
        rules(OBSERVING, add("request_headers_to_add", "%REQ(:PATH)%")),
        ["warning header-copy"]
    );
    assert_eq!(
        rules(OBSERVING, add("response_headers_to_add", "%PATH%")),
        ["error header-copy"]
    );
    assert_eq!(
        rules(OBSERVING, add("response_headers_to_add", "%RESPONSE_CODE%")),
        [""; 0]
    );
    assert_eq!(rules(TIGHT, add("request_headers_to_add", "%REQ(:PATH)%")), [""; 0]);
    assert_eq!(rules(TIGHT, add("response_headers_to_add", "%PATH%")), [""; 0]);
    let host =
        |manager: &mut Value| route(manager)["route"]["host_rewrite_path_regex"] = json!({"pattern": {"regex": "x"}});
    assert_eq!(rules(OBSERVING, host), ["warning header-copy"]);
    assert_eq!(rules(TIGHT, host), [""; 0]);
    let mutation = |value: &str| json!({"mutations": {"request_mutations": [{"append": {"header": {"key": "x", "value": value}}}]}});
    let early = |value: &'static str| {
        move |manager: &mut Value| {
            manager["early_header_mutation_extensions"] = json!([{"name": "e", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
                "mutations": [{"append": {"header": {"key": "x", "value": value}}}]}}]);
        }
    };
    assert_eq!(rules(TIGHT, early("%REQ(:PATH)%")), ["error header-copy"]);
    assert_eq!(rules(TIGHT, early("%REQ(:METHOD)%")), [""; 0]);
    let filter_of = |value: &str| filter("header_mutation", mutation(value));
    assert_eq!(rules(TIGHT, before(filter_of("%REQ(:PATH)%"))), ["error header-copy"]);
    assert_eq!(rules(TIGHT, before(filter_of("%REQ(X-A)%"))), [""; 0]);
    assert_eq!(rules(TIGHT, after(filter_of("%REQ(:PATH)%"))), [""; 0]);
    assert_eq!(
        rules(OBSERVING, after(filter_of("%REQ(:PATH)%"))),
        ["warning header-copy"]
    );
    let metadata = |header: &str| filter("header_to_metadata", json!({"request_rules": [{"header": header}]}));
    assert_eq!(rules(TIGHT, before(metadata(":path"))), ["error header-copy"]);
    assert_eq!(rules(TIGHT, before(metadata("x-version"))), [""; 0]);
}

/// Puts a filter before or after Scrim's.
type Place = fn(Value) -> Box<dyn FnOnce(&mut Value)>;

#[test]
fn rate_limits() {
    let limited = |place: Place, action: Value| {
        move |manager: &mut Value| {
            place(filter("ratelimit", json!({})))(manager);
            route(manager)["route"]["rate_limits"] = json!([{"actions": [action]}]);
        }
    };
    let path = json!({"request_headers": {"header_name": ":path", "descriptor_key": "p"}});
    let parameter = json!({"query_parameters": {"query_parameter_name": "name", "descriptor_key": "p"}});
    let address = json!({"remote_address": {}});
    for (action, wanted) in [
        (&path, &["error rate-limit-url"][..]),
        (&parameter, &["error rate-limit-url"]),
        (&address, &[]),
    ] {
        assert_eq!(
            rules(TIGHT, limited(|filter| Box::new(before(filter)), action.clone())),
            wanted,
            "{action}"
        );
    }
    assert_eq!(
        rules(TIGHT, limited(|filter| Box::new(after(filter)), path.clone())),
        [""; 0]
    );
    assert_eq!(
        rules(OBSERVING, limited(|filter| Box::new(after(filter)), path)),
        ["warning rate-limit-url"]
    );
}

#[test]
fn answers_of_envoys_own() {
    let reply = |format: Value| {
        move |manager: &mut Value| {
            manager["local_reply_config"] = json!({"mappers": [{"body_format_override": format}]})
        }
    };
    assert_eq!(
        rules(TIGHT, reply(json!({"text_format": "%REQ(:PATH)%"}))),
        ["error local-reply-url"]
    );
    assert_eq!(
        rules(TIGHT, reply(json!({"json_format": {"p": "%PATH%"}}))),
        ["error local-reply-url"]
    );
    assert_eq!(
        rules(
            TIGHT,
            reply(json!({"json_format": {"s": "%RESPONSE_CODE% %LOCAL_REPLY_BODY%"}}))
        ),
        [""; 0]
    );
    let header = |manager: &mut Value| {
        manager["local_reply_config"] =
            json!({"mappers": [{"headers_to_add": [{"header": {"key": "x", "value": "%REQ(:PATH)%"}}]}]});
    };
    assert_eq!(rules(TIGHT, header), ["error local-reply-url"]);
}

#[test]
fn mirrors() {
    let mirror = |manager: &mut Value| route(manager)["route"]["request_mirror_policies"] = json!([{"cluster": "x"}]);
    assert_eq!(rules(OBSERVING, mirror), ["warning mirror"]);
    assert_eq!(rules(TIGHT, mirror), [""; 0]);
}

#[test]
fn paths_in_one_form() {
    let set = |key: &'static str, value: Value| move |manager: &mut Value| manager[key] = value.clone();
    assert_eq!(
        rules(TIGHT, set("normalize_path", json!(false))),
        ["warning normalization"]
    );
    assert_eq!(
        rules(TIGHT, set("normalize_path", Value::Null)),
        ["warning normalization"]
    );
    assert_eq!(
        rules(TIGHT, set("merge_slashes", json!(false))),
        ["warning normalization"]
    );
    assert_eq!(
        rules(TIGHT, set("common_http_protocol_options", json!({}))),
        ["warning normalization"]
    );
    assert_eq!(
        rules(TIGHT, set("path_with_escaped_slashes_action", json!("KEEP_UNCHANGED"))),
        ["warning normalization"]
    );
    assert_eq!(
        rules(
            TIGHT,
            set("path_with_escaped_slashes_action", json!("UNESCAPE_AND_FORWARD"))
        ),
        [""; 0]
    );
    assert_eq!(
        rules(
            TIGHT,
            set("path_with_escaped_slashes_action", json!("UNESCAPE_AND_REDIRECT"))
        ),
        ["error unescape-redirect"]
    );
    assert_eq!(rules(TIGHT, set("use_remote_address", json!(false))), ["warning edge"]);
}

#[test]
fn statistics() {
    let stats = |all: bool| filter("grpc_stats", json!({"stats_for_all_methods": all}));
    assert_eq!(rules(TIGHT, before(stats(true))), ["error stats-url"]);
    assert_eq!(rules(OBSERVING, after(stats(true))), ["warning stats-url"]);
    assert_eq!(rules(TIGHT, after(stats(true))), [""; 0]);
    assert_eq!(rules(TIGHT, before(stats(false))), [""; 0]);
}

#[test]
fn the_administration_interface_is_private() {
    for (host, wanted) in [
        ("0.0.0.0", &["warning admin"][..]),
        ("10.1.2.3", &["warning admin"]),
        ("127.0.0.1", &[]),
        ("::1", &[]),
    ] {
        let mut bootstrap = document(TIGHT, Modules::Suite);
        bootstrap["admin"] = json!({"address": {"socket_address": {"address": host, "port_value": 9901}}});
        assert_eq!(told(&bootstrap.to_string()), wanted, "{host}");
    }
}

#[test]
fn what_is_not_known_is_told() {
    let not = ["warning not-looked-into"];
    assert_eq!(
        rules(TIGHT, |manager| manager["rds"] = json!({"route_config_name": "r"})),
        not
    );
    assert_eq!(
        rules(TIGHT, |manager| manager["request_id_extension"] =
            json!({"typed_config": {"@type": "type.googleapis.com/com.example.Mine"}})),
        not
    );
    assert_eq!(
        rules(TIGHT, |manager| manager["new_field"] = json!("%REQ(:PATH)%")),
        not
    );
    assert_eq!(
        rules(TIGHT, |manager| route(manager)["typed_per_filter_config"] =
            json!({"x": {"@type": "type.googleapis.com/com.example.Mine"}})),
        not
    );
    let mut bootstrap = document(TIGHT, Modules::Suite);
    bootstrap["dynamic_resources"] = json!({"lds_config": {"path_config_source": {"path": "/lds.yaml"}}});
    assert_eq!(told(&bootstrap.to_string()), not);
    let mut bootstrap = document(TIGHT, Modules::Suite);
    let tcp = json!({"name": "tcp", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"}});
    bootstrap["static_resources"]["listeners"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "t", "filter_chains": [{"filters": [tcp]}]}));
    assert_eq!(told(&bootstrap.to_string()), not);
}

#[test]
fn anchors_and_tabs_are_read() {
    let yaml = "x: &log\n  name: l\n  typed_config: {\"@type\": type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig}\nhttp_filters: []\naccess_log: [*log]\n";
    assert!(told(yaml).contains(&"error log-grpc".to_owned()), "{:?}", told(yaml));
    let json = "{\n\t\"http_filters\": [\n\t]\n}";
    assert!(told(json).contains(&"error no-scrim".to_owned()), "{:?}", told(json));
}

/// The page for people has what the command says.
#[test]
fn the_page_is_what_the_command_says() {
    let page = fs::read_to_string(root().join("envoy-config/LINT.md")).unwrap();
    let rules = Rule::reference();
    assert!(
        page.contains(&rules),
        "envoy-config/LINT.md lacks what `scrim lint --rules` prints:\n{rules}"
    );
}

proptest! {
    /// Whatever a file holds, it is told and not a panic.
    #[test]
    fn nothing_makes_it_panic(text in r#"([ -~\n]{0,20}|[a-z_]{1,8}: |- |\n  |http_filters: |typed_config: |"@type": "x"|\{|\}|\[|\]|%REQ\(:PATH\)%){0,12}"#) {
        lint(&text, &Options::default());
    }
}

/// A filter anywhere before Scrim's is found, whatever harmless ones stand around it.
#[test]
fn one_filter_before_is_enough() {
    for (harmless, place) in [(1, 0), (1, 1), (3, 0), (3, 2), (3, 3)] {
        let told = rules(TIGHT, |manager| {
            for _ in 0..harmless {
                before(filter("buffer", json!({})))(manager);
            }
            let filters = manager["http_filters"].as_array_mut().unwrap();
            filters.insert(place, filter("ext_proc", json!({})));
        });
        assert_eq!(told, ["error filter-before"], "{harmless} {place}");
    }
}

/// Every rule is shown by a test of this file.
#[test]
fn every_rule_is_tested() {
    let source = include_str!("lint.rs");
    for rule in Rule::ALL {
        let shown = ["error", "warning"]
            .iter()
            .any(|word| source.contains(&format!("{word} {rule}\"")));
        assert!(shown, "no test shows `{rule}`");
    }
}

#[test]
fn findings_have_places_and_the_command_says_so() {
    let text = rendered(TIGHT, Modules::Suite).replace("%FILTER_STATE(wasm.scrim.path:PLAIN)%", "%REQ(:PATH)%");
    let line = text.lines().position(|line| line.contains("%REQ(:PATH)%")).unwrap();
    let column = text.lines().nth(line).unwrap().find("\"%REQ").unwrap();
    let place = format!(
        "-:{}:{}: error: the access log prints `%REQ(:PATH)%`; ",
        line + 1,
        column + 1
    );
    let said = scrim(&["lint", "-"], &text);
    assert_eq!((said.code, said.out.as_str()), (1, ""), "{}", said.err);
    assert!(
        said.err.starts_with(&place) && said.err.ends_with(" [log-url]\n"),
        "{}",
        said.err
    );
    assert_eq!(said.err.lines().count(), 1, "{}", said.err);

    let said = scrim(&["lint", "--json", "-"], &text);
    let list: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, said.err.as_str()), (1, ""));
    assert_eq!(
        (
            list[0]["rule"].as_str(),
            list[0]["line"].as_u64(),
            list[0]["severity"].as_str()
        ),
        (Some("log-url"), Some(line as u64 + 1), Some("error"))
    );
    let said = scrim(&["lint", "--allow", "log-url", "-"], &text);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "-: ok\n", ""));
}

#[test]
fn warnings_fail_when_asked_to() {
    let text = rendered(TIGHT, Modules::Suite).replace("use_remote_address: true", "use_remote_address: false");
    assert_eq!(scrim(&["lint", "-"], &text).code, 0);
    let said = scrim(&["lint", "--deny-warnings", "-"], &text);
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains(": warning: ") && said.err.ends_with("[edge]\n"),
        "{}",
        said.err
    );
}

#[test]
fn the_command_tells_its_rules_and_its_mistakes() {
    let said = scrim(&["lint", "--rules"], "");
    assert_eq!(said.code, 0);
    for rule in Rule::ALL {
        assert!(said.out.contains(&format!("{rule}\n  finds: ")), "{rule}");
    }
    let said = scrim(&["lint", "--rules", "--json"], "");
    assert_eq!(
        serde_json::from_str::<Value>(&said.out)
            .unwrap()
            .as_array()
            .unwrap()
            .len(),
        Rule::ALL.len()
    );
    let said = scrim(&["lint", "--allow", "nonsense", "-"], "");
    assert!(
        said.code == 2 && said.err.contains("no rule is called `nonsense`"),
        "{}",
        said.err
    );
    let said = scrim(&["lint", "/nowhere/envoy.yaml"], "");
    assert!(
        said.code == 1
            && said
                .err
                .starts_with("/nowhere/envoy.yaml:1:1: error: the file can't be read: "),
        "{}",
        said.err
    );
    let said = scrim(&["lint", "--policy", "/nowhere/policy.yaml", "-"], "");
    assert!(
        said.code == 1 && said.err.contains("/nowhere/policy.yaml:1:1: error: "),
        "{}",
        said.err
    );
    assert_eq!(scrim(&["lint"], "").code, 2);
}

/// The findings' severities and rules after a change of the manager, in the order of their rules.
fn rules(policy: &str, change: impl FnOnce(&mut Value)) -> Vec<String> {
    told(&changed(policy, change))
}

fn changed(policy: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut bootstrap = document(policy, Modules::Suite);
    change(bootstrap.pointer_mut(MANAGER).unwrap());
    bootstrap.to_string()
}

fn told(text: &str) -> Vec<String> {
    heads(&lint(text, &Options::default()))
}

fn heads(findings: &[Finding]) -> Vec<String> {
    let mut heads: Vec<(Rule, String)> = findings
        .iter()
        .map(|finding| {
            assert!(
                !finding.message.contains('\n') && !finding.message.ends_with('.'),
                "{finding}"
            );
            (finding.rule, format!("{} {}", finding.word(), finding.rule))
        })
        .collect();
    heads.sort();
    assert!(findings.iter().all(|finding| finding.severity <= Severity::Warning));
    heads.into_iter().map(|(_, head)| head).collect()
}

/// Istio's filters, and the routes of both, come by discovery: a dump has them elsewhere.
#[test]
fn what_came_by_discovery_is_put_where_it_belongs() {
    let dump = |mode: &str, disabled: bool, filters: bool| {
        let mut bootstrap = document(OBSERVING, Modules::Suite);
        let manager = bootstrap.pointer_mut(MANAGER).unwrap();
        let mut scrims = manager["http_filters"][0].clone();
        scrims["@type"] = json!("type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig");
        scrims["name"] = json!("extenstions.istio.io/wasmplugin/ns.phi");
        scrims["typed_config"]["config"]["failure_policy"] = json!(mode);
        scrims["typed_config"]["config"]["name"] = json!("ns.phi");
        manager["http_filters"][0] = json!({"name": scrims["name"], "config_discovery": {"type_urls": []}});
        let mut routes = manager["route_config"].take();
        manager.as_object_mut().unwrap().remove("route_config");
        manager["rds"] = json!({"route_config_name": "r"});
        routes["@type"] = json!("type.googleapis.com/envoy.config.route.v3.RouteConfiguration");
        if disabled {
            routes["typed_per_filter_config"] = json!({"extenstions.istio.io/wasmplugin/ns.phi": {
                "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true}});
        }
        let mut listener = bootstrap["static_resources"]["listeners"][0].take();
        listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
        let filters = if filters {
            json!([{"ecds_filter": scrims}])
        } else {
            json!([])
        };
        let configs = json!({"configs": [
            {"@type": "type.googleapis.com/envoy.admin.v3.EcdsConfigDump", "ecds_filters": filters},
            {"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump", "dynamic_listeners": [{"active_state": {"listener": listener}}]},
            {"@type": "type.googleapis.com/envoy.admin.v3.RoutesConfigDump", "dynamic_route_configs": [{"route_config": routes}]},
        ]});
        told(&configs.to_string())
    };
    assert_eq!(dump("FAIL_CLOSED", false, true), [""; 0]);
    assert_eq!(dump("FAIL_OPEN", false, true), ["error scrim-fails-open"]);
    assert_eq!(dump("FAIL_CLOSED", true, true), ["error scrim-disabled"]);
    assert_eq!(
        dump("FAIL_CLOSED", false, false),
        ["error no-scrim", "warning not-looked-into"]
    );
}

/// A dump has clusters before listeners, and static resources twice.
#[test]
fn a_dump_is_read_once_and_whole() {
    for (policy, wanted) in [(TIGHT, &[][..]), (OBSERVING, &["warning filter-after"])] {
        let mut bootstrap = document(policy, Modules::Suite);
        let resources = &mut bootstrap["static_resources"];
        let mut cluster = resources["clusters"][0].clone();
        cluster["@type"] = json!("type.googleapis.com/envoy.config.cluster.v3.Cluster");
        cluster["typed_extension_protocol_options"]["o"] = json!({"http_filters": [filter("lua", json!({}))]});
        let mut listener = resources["listeners"][0].clone();
        listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
        // Nothing of these is told twice.
        resources["listeners"][0] = json!({"x": {"@type": "type.googleapis.com/com.example.Mine"}});
        bootstrap["stats_sinks"] = json!([{"typed_config": {"@type": "type.googleapis.com/com.example.Sink"}}]);
        let mut configs = json!({"configs": [
            {"@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump", "bootstrap": bootstrap},
            {"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump", "static_clusters": [{"cluster": cluster}]},
            {"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump", "static_listeners": [{"listener": listener}]},
        ]});
        let with_sink = [wanted, &["warning not-looked-into"]].concat();
        assert_eq!(told(&configs.to_string()), with_sink);
        configs["configs"][0]["bootstrap"]["stats_sinks"].take();
        assert_eq!(told(&configs.to_string()), wanted);
    }
}

/// A running Envoy's `/config_dump`, the modules in it.
#[test]
fn a_running_envoy_is_looked_into() {
    let Some(envoy) = Envoy::in_tests() else { return };
    let mut bootstrap = Bootstrap::new("127.0.0.1:0".parse().unwrap(), "127.0.0.1:1".parse().unwrap());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    bootstrap.filters = gateway::filters(&policy(OBSERVING), Modules::Suite, folder).unwrap();
    bootstrap.access_log = Some(AccessLog::standard(Sink::Stdout));
    for (mode, wanted) in [("FAIL_CLOSED", &[][..]), ("FAIL_OPEN", &["error scrim-fails-open"])] {
        let mut admin = PathBuf::new();
        let process = Process::start_with(envoy.found(), &bootstrap, |bootstrap| {
            if let Some(Admin::Socket(path)) = &bootstrap.admin {
                admin.clone_from(path);
            }
            bootstrap.to_yaml().replace("FAIL_CLOSED", mode)
        });
        let _process = process.unwrap();
        assert_eq!(told(&config_dump(&admin)), wanted, "{mode}");
    }
}

fn config_dump(admin: &Path) -> String {
    let mut stream = UnixStream::connect(admin).unwrap();
    write!(
        stream,
        "GET /config_dump HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, mut rest) = answer.split_once("\r\n\r\n").unwrap();
    let mut body = String::new();
    while let Some((size, chunk)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        body += &chunk[..size];
        rest = if size == 0 { "" } else { &chunk[size + 2..] };
    }
    body
}

/// What `scrim render envoy` would print for a policy, as data.
fn document(policy: &str, modules: Modules) -> Value {
    let mut problems = Problems::default();
    let text = rendered(policy, modules);
    policy_file::parse(&text, &mut problems).unwrap().to_json()
}

fn rendered(text: &str, modules: Modules) -> String {
    let listen: SocketAddr = "127.0.0.1:8080".parse().unwrap();
    let mut bootstrap = Bootstrap::new(listen, "fhir.internal:8080".parse().unwrap());
    bootstrap.filters = gateway::filters_at(&policy(text), modules, &|module| {
        Ok(PathBuf::from("/etc/envoy/scrim").join(module.file_name()))
    })
    .unwrap();
    bootstrap.access_log = Some(AccessLog::standard(Sink::Stdout));
    bootstrap.to_yaml()
}

fn policy(text: &str) -> PolicyFile {
    let name: BTreeMap<&str, &str> = [(TIGHT, "tight"), (OBSERVING, "observing")].into();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!(
        "lint-{}.{:?}.yaml",
        name[text],
        std::thread::current().id()
    ));
    fs::write(&file, text).unwrap();
    PolicyFile::read(&file)
        .map_err(|problems| problems.to_string())
        .unwrap()
}

fn filter(package: &str, mut message: Value) -> Value {
    message["@type"] = json!(format!(
        "type.googleapis.com/envoy.extensions.filters.http.{package}.v3.Message"
    ));
    if package == "wasm" {
        return other_wasm("other");
    }
    json!({"name": package, "typed_config": message})
}

fn other_wasm(name: &str) -> Value {
    json!({"name": name, "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": {"vm_config": {"code": {"local": {"filename": "/etc/other.wasm"}}}}}})
}

fn before(filter: Value) -> impl FnOnce(&mut Value) {
    move |manager| manager["http_filters"].as_array_mut().unwrap().insert(0, filter)
}

fn after(filter: Value) -> impl FnOnce(&mut Value) {
    move |manager| manager["http_filters"].as_array_mut().unwrap().insert(1, filter)
}

fn router() -> Value {
    json!({"name": "router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router", "suppress_envoy_headers": true}})
}

fn route(manager: &mut Value) -> &mut Value {
    &mut manager["route_config"]["virtual_hosts"][0]["routes"][0]
}

fn log(kind: &str, mut message: Value) -> Value {
    message["@type"] = json!(format!("type.googleapis.com/envoy.extensions.access_loggers.{kind}"));
    json!({"name": kind, "typed_config": message})
}

struct Said {
    code: i32,
    out: String,
    err: String,
}

fn scrim(arguments: &[&str], input: &str) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_scrim"))
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // One that does not read what it is given may be gone already.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}
