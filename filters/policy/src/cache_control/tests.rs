use super::model::{Exchange, Quirks, cache_control_line, caches, has, response_lines, values};
use super::*;
use crate::document::{Decode as _, Node};
use proptest::prelude::*;

const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"];
const STATUSES: [u16; 26] = [
    101, 200, 201, 203, 204, 206, 299, 300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 410, 412, 414, 500,
    501, 503, 599,
];

/// A section, and what was told of it.
fn section(text: &str) -> (CacheControl, Vec<String>) {
    let node: Node = serde_json::from_str(text).unwrap();
    let mut problems = Problems::default();
    let read = policy_file::CacheControl::decode(&node, &mut problems).unwrap_or_else(|| panic!("{text}"));
    let compiled = CacheControl::compile(&read, &mut problems);
    (compiled, problems.iter().map(ToString::to_string).collect())
}

fn of_class(class: Class) -> CacheControl {
    section(&format!(r#"{{"class": "{}"}}"#, class.as_str())).0
}

type Lines = Vec<(String, Vec<u8>)>;

/// What a policy makes of a response; twice is as once.
fn apply(policy: &CacheControl, status: u16, lines: &Lines) -> Lines {
    let status = (":status".to_owned(), status.to_string().into_bytes());
    let mut head = ResponseHead::new([status].into_iter().chain(lines.iter().cloned()));
    policy.apply(&mut head);
    let shown = |head: &ResponseHead| -> Lines {
        head.lines()
            .skip(1)
            .map(|(name, value)| (String::from_utf8(name.to_vec()).unwrap(), value.to_vec()))
            .collect()
    };
    let once = shown(&head);
    head.take_edits();
    policy.apply(&mut head);
    assert!(shown(&head) == once, "twice is as once");
    assert!(head.take_edits().is_empty(), "twice edits nothing");
    once
}

fn applied(policy: &CacheControl, status: u16, lines: &[(&str, &str)]) -> Vec<String> {
    let lines = lines
        .iter()
        .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
        .collect();
    apply(policy, status, &lines)
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)))
        .collect()
}

#[test]
fn phi_replaces_everything_that_could_override() {
    let lines = [
        ("cache-control", "public, max-age=60"),
        ("cache-control", "s-maxage=60"),
        ("cdn-cache-control", "max-age=60"),
        ("cloudflare-cdn-cache-control", "max-age=60"),
        ("surrogate-control", "max-age=60"),
        ("surrogate-key", "k"),
        ("x-accel-expires", "60"),
        ("edge-control", "x"),
        ("cache-tag", "x"),
        ("expires", "x"),
        ("age", "1"),
        ("pragma", "x"),
        ("x-other", "stays"),
    ];
    for status in STATUSES {
        assert_eq!(
            applied(&of_class(Class::Phi), status, &lines),
            ["cache-control: no-store, private", "x-other: stays"],
            "{status}"
        );
    }
}

#[test]
fn authenticated_is_private_and_keeps_what_is_strict() {
    let policy = of_class(Class::Authenticated);
    let kept = |value: &str| applied(&policy, 200, &[("cache-control", value)]).join("|");
    for (came, goes) in [
        ("public, max-age=60, s-maxage=10", "max-age=60, private"),
        ("no-store", "no-store, private"),
        ("no-store, max-age=60", "no-store, max-age=0, private"),
        ("Private=\"set-cookie, x\", max-age=5", "max-age=5, private"),
        ("ext=\"a\\\", public\"", "ext=\"a\\\", public\", private"),
        ("public", "private"),
        ("", "no-cache, private"),
        // What needs no change gets none.
        ("private,max-age=60 ", "private,max-age=60 "),
    ] {
        assert_eq!(kept(came), format!("cache-control: {goes}"));
    }
    assert_eq!(applied(&policy, 200, &[]), ["cache-control: no-cache, private"]);
    // A cache that reads one line only must find it all there.
    assert_eq!(
        applied(
            &policy,
            200,
            &[("cache-control", "private"), ("cache-control", "max-age=5")]
        ),
        ["cache-control: max-age=5, private"]
    );
    assert_eq!(
        applied(&policy, 200, &[("cdn-cache-control", "max-age=1")]),
        ["cache-control: no-cache, private"]
    );
}

#[test]
fn what_a_removed_header_forbids_is_not_lost() {
    let policy = of_class(Class::Authenticated);
    // Without a lifetime of its own a browser would guess one (RFC 9111 4.2.2).
    assert_eq!(
        applied(&policy, 200, &[("cache-control", "private"), ("expires", "0")]),
        ["cache-control: max-age=0, private"]
    );
    assert_eq!(
        applied(
            &policy,
            200,
            &[("cache-control", "private, max-age=9"), ("expires", "0")]
        ),
        ["cache-control: private, max-age=9"]
    );
    for (name, value, kept) in [
        ("cdn-cache-control", "no-transform", true),
        ("vercel-cdn-cache-control", "max-age=5;x, no-transform=?1", true),
        ("cdn-cache-control", "no-transform=?0", false),
        ("cdn-cache-control", "no-transform,", false),
        ("x-other", "no-transform", false),
    ] {
        let got = applied(&policy, 200, &[("cache-control", "private"), (name, value)]);
        let want = if kept {
            "cache-control: no-transform, private"
        } else {
            "cache-control: private"
        };
        assert_eq!(got.first().map(String::as_str), Some(want), "{name}: {value}");
    }
    // A response that is old already stays so.
    let aged = [("cache-control", "private, max-age=60"), ("age", "59")];
    assert_eq!(applied(&policy, 200, &aged).len(), 2);
}

#[test]
fn authenticated_takes_broken_grammar_for_the_worst() {
    let policy = of_class(Class::Authenticated);
    for broken in ["max-age=\"60", "max-age 60", "=", "a=;", "\u{e9}"] {
        let shown = applied(&policy, 200, &[("cache-control", broken)]);
        assert_eq!(shown, ["cache-control: no-store, private"], "{broken}");
    }
    let shown = applied(&policy, 200, &[("cache-control", "a=; , No-Transform")]);
    assert_eq!(shown, ["cache-control: no-store, private, no-transform"]);
}

#[test]
fn public_touches_nothing() {
    let lines = [
        ("cache-control", "no-store"),
        ("cache-control", "public"),
        ("cdn-cache-control", "max-age=1"),
        ("etag", "\"x\""),
    ];
    assert_eq!(applied(&of_class(Class::Public), 200, &lines).len(), 4);
}

#[test]
fn browser_headers_stand_once_and_only_where_asked_for() {
    let (policy, told) = section(
        r#"{"class": "public", "hsts": {"max_age": "60s", "include_subdomains": true}, "nosniff": true, "referrer_policy": "no-referrer"}"#,
    );
    assert!(told.is_empty(), "{told:?}");
    let lines = [
        ("strict-transport-security", "max-age=0"),
        ("strict-transport-security", "max-age=1"),
        ("referrer-policy", "unsafe-url"),
        ("x-content-type-options", "nosniff"),
        ("x-content-type-options", "nosniff"),
    ];
    let want = [
        "strict-transport-security: max-age=60; includeSubDomains",
        "referrer-policy: no-referrer",
        "x-content-type-options: nosniff",
    ];
    for status in STATUSES {
        assert_eq!(applied(&policy, status, &lines), want, "{status}");
    }
    assert_eq!(applied(&of_class(Class::Public), 200, &lines).len(), 5);
    let (policy, _) = section(r#"{"class": "public", "nosniff": false}"#);
    assert!(applied(&policy, 200, &[]).is_empty());
    let replies: Vec<_> = section(r#"{"class": "authenticated", "nosniff": true, "clear_site_data": ["*"]}"#)
        .0
        .reply_headers()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    assert_eq!(
        replies,
        ["cache-control: no-cache, private", "x-content-type-options: nosniff"]
    );
}

#[test]
fn site_data_is_cleared_where_the_logout_happened() {
    let (policy, told) =
        section(r#"{"class": "public", "clear_site_data": ["cache", "cookies", "executionContexts"]}"#);
    assert!(told.is_empty(), "{told:?}");
    let want = "clear-site-data: \"cache\", \"cookies\", \"executionContexts\"";
    for status in STATUSES {
        let clears = (200..400).contains(&status);
        let got = applied(&policy, status, &[]);
        assert_eq!(got, if clears { vec![want] } else { Vec::new() }, "{status}");
    }
    assert_eq!(applied(&policy, 204, &[("clear-site-data", "\"cache\"")]), [want]);
    assert_eq!(
        applied(&policy, 204, &[("access-control-allow-methods", "GET")]).len(),
        1
    );
    let (policy, _) = section(r#"{"class": "public", "clear_site_data": ["*"]}"#);
    assert_eq!(applied(&policy, 303, &[]), ["clear-site-data: \"*\""]);
}

#[test]
fn hsts_says_what_the_section_says() {
    let hsts = |text: &str| section(&format!(r#"{{"class": "public", "hsts": {text}}}"#));
    let value = |text: &str| hsts(text).0.hsts().map(str::to_owned);
    assert_eq!(value(r#"{"max_age": "1h"}"#).as_deref(), Some("max-age=3600"));
    assert_eq!(
        value(r#"{"max_age": "1y", "include_subdomains": true, "preload": true}"#).as_deref(),
        Some("max-age=31536000; includeSubDomains; preload")
    );
}

#[test]
fn nonsense_is_told() {
    for (text, part) in [
        (r#""hsts": {"max_age": "1y", "preload": true}"#, "preload list"),
        (
            r#""hsts": {"max_age": "364d", "include_subdomains": true, "preload": true}"#,
            "preload list",
        ),
        (r#""hsts": {"max_age": "0s"}"#, "forget the host"),
        (r#""referrer_policy": "unsafe-url""#, "whole URLs"),
        (r#""referrer_policy": "no-referrer-when-downgrade""#, "whole URLs"),
        (r#""clear_site_data": []"#, "clears nothing"),
        (r#""clear_site_data": ["cache", "cache"]"#, "stands twice"),
        (r#""clear_site_data": ["*", "cache"]"#, "remove the others"),
        (r#""tls": {}"#, "demands nothing"),
    ] {
        let told = section(&format!(r#"{{"class": "phi", {text}}}"#)).1;
        assert!(
            matches!(told.as_slice(), [one] if one.contains(part)),
            "{text}: {told:?}"
        );
    }
    for text in [
        r#""hsts": {"max_age": "1y", "include_subdomains": true, "preload": true}"#,
        r#""hsts": {"max_age": "1d"}, "referrer_policy": "same-origin", "nosniff": true"#,
        r#""tls": {"min_version": "TLSv1.2", "client_certificate": "required"}"#,
        r#""clear_site_data": ["cache", "storage"]"#,
    ] {
        let told = section(&format!(r#"{{"class": "phi", {text}}}"#)).1;
        assert!(told.is_empty(), "{text}: {told:?}");
    }
}

#[test]
fn a_connection_that_nobody_knows_is_denied() {
    let (policy, _) = section(r#"{"class": "public", "tls": {"min_version": "TLSv1.2"}}"#);
    let mut head = RequestHead::new([(":method".to_owned(), b"GET".to_vec())]);
    assert_eq!(policy.admit(&mut head, None), Err(Reason::TlsRequired("unknown")));
    assert!(of_class(Class::Public).admit(&mut head, None).is_ok());
    assert!(
        head.take_edits().is_empty(),
        "of a request for what is public nothing changes"
    );
    assert!(of_class(Class::Authenticated).admit(&mut head, None).is_ok() && head.take_edits().is_empty());
    assert!(of_class(Class::Phi).admit(&mut head, None).is_ok() && head.take_edits().len() == 1);
}

/// The models do store what they are known to: else they would prove nothing.
#[test]
fn the_models_store_what_is_known_to_be_stored() {
    let caches = caches();
    let stores = |cache: usize, authorization: bool, lines: &[(&str, &str)]| {
        let lines: Lines = lines
            .iter()
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect();
        caches[cache].stores(&Exchange {
            method: "GET",
            authorization,
            status: 200,
            lines: &lines,
        })
    };
    assert!(stores(0, false, &[]), "by heuristics");
    assert!(!stores(0, true, &[]), "RFC 9111 3.5");
    assert!(stores(0, true, &[("cache-control", "must-revalidate")]), "RFC 9111 3.5");
    assert!(stores(0, false, &[("cache-control", "private=\"x\", max-age=5")]));
    assert!(
        stores(
            0,
            false,
            &[("cache-control", "no-store"), ("cdn-cache-control", "max-age=60")]
        ),
        "RFC 9213"
    );
    assert!(
        !stores(
            0,
            false,
            &[("cache-control", "no-store"), ("cdn-cache-control", "max-age=60,")]
        ),
        "fails to parse"
    );
    assert!(stores(1, false, &[("cache-control", "no-store, max-age=60")]));
    assert!(stores(1, false, &[("cache-control", "no-store"), ("expires", "x")]));
    assert!(stores(2, true, &[]));
    assert!(stores(
        4,
        false,
        &[("cache-control", "max-age=1"), ("cache-control", "no-store, private")]
    ));
    assert!(stores(
        5,
        false,
        &[("cache-control", "no-store, private"), ("cache-control", "max-age=1")]
    ));
    assert!(stores(6, false, &[("cache-control", "No-Store, Private")]));
    for (cache, quirks) in caches.iter().enumerate() {
        if let Some(name) = quirks.obeys_only {
            assert!(
                stores(
                    cache,
                    true,
                    &[("cache-control", "no-store, private"), (name, "max-age=60")]
                ),
                "{name}"
            );
        }
        assert!(
            !stores(cache, false, &[("cache-control", "no-store, private")]),
            "{quirks:?}"
        );
    }
    let browser = Quirks {
        private: true,
        ..Quirks::default()
    };
    let lines = vec![("cache-control".to_owned(), b"private, max-age=5".to_vec())];
    assert!(browser.stores(&Exchange {
        method: "GET",
        authorization: true,
        status: 200,
        lines: &lines
    }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// No cache stores what is PHI, and no shared one what is somebody's, whatever the upstream says.
    #[test]
    fn no_cache_stores_it(
        lines in response_lines(),
        method in prop::sample::select(METHODS.to_vec()),
        status in prop::sample::select(STATUSES.to_vec()),
        authorization: bool,
    ) {
        for class in [Class::Phi, Class::Authenticated] {
            let sent = apply(&of_class(class), status, &lines);
            let exchange = Exchange { method, authorization, status, lines: &sent };
            for cache in caches() {
                prop_assert!(!cache.stores(&exchange), "{class:?} {cache:?}");
            }
            let browser = Quirks { private: true, ..Quirks::default() };
            prop_assert!(class == Class::Authenticated || !browser.stores(&exchange));
        }
    }

    /// What the upstream forbids stays forbidden, however it is read.
    #[test]
    fn nothing_that_is_forbidden_becomes_allowed(lines in response_lines()) {
        let browser = Quirks { private: true, ..Quirks::default() };
        let came = browser.said(values(&lines, "cache-control"));
        for class in [Class::Phi, Class::Authenticated] {
            let sent = apply(&of_class(class), 200, &lines);
            let goes = browser.said(values(&sent, "cache-control"));
            prop_assert!(has(&goes, "private"));
            // What may not be stored need not say how it may be reused.
            let stored = !has(&goes, "no-store");
            prop_assert!(class == Class::Authenticated || !stored);
            if !stored {
                prop_assert!(class == Class::Phi || !has(&came, "no-transform") || has(&goes, "no-transform"));
                continue;
            }
            for (name, argument) in &came {
                match name.as_str() {
                    "no-store" | "must-revalidate" | "proxy-revalidate" | "no-transform" => {
                        prop_assert!(has(&goes, name), "{name}");
                    }
                    "no-cache" => {
                        let whole = goes.iter().any(|(have, argument)| have == "no-cache" && argument.is_none());
                        let covers = |fields: &String| argument.iter().flat_map(|names| names.split(',')).all(|name| fields.to_ascii_lowercase().contains(&name.trim().to_ascii_lowercase()));
                        prop_assert!(whole || (argument.is_some() && goes.iter().any(|(have, fields)| have == "no-cache" && fields.as_ref().is_some_and(covers))));
                    }
                    "max-age" => {
                        let digits = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                        let before = argument.as_deref().filter(digits).map_or(0, |text| text.parse().unwrap_or(u64::MAX));
                        let after = goes.iter().find(|(have, _)| have == "max-age").and_then(|(_, text)| text.as_deref()?.parse::<u64>().ok());
                        prop_assert!(after.is_some_and(|after| after <= before));
                    }
                    _ => {}
                }
            }
            let expires = values(&lines, "expires").next().is_some();
            prop_assert!(!expires || has(&goes, "max-age") || has(&goes, "no-cache"));
        }
    }

    #[test]
    fn public_is_untouched(lines in response_lines()) {
        prop_assert!(apply(&of_class(Class::Public), 200, &lines) == lines);
    }

    #[test]
    fn phi_is_exactly_this(lines in prop::collection::vec(cache_control_line(), 0..4)) {
        let lines: Lines = lines.into_iter().map(|line| ("cache-control".to_owned(), line)).collect();
        let sent = apply(&of_class(Class::Phi), 200, &lines);
        prop_assert!(sent == [("cache-control".to_owned(), NO_STORE_PRIVATE.as_bytes().to_vec())]);
    }
}
