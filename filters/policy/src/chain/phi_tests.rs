//! What the chain makes of URLs: what leaves, to the upstream, to the client and to the proxy's own logs; as suite and module by module.

use super::oauth_tests::{NOW, policy as with_oauth, token};
use super::tests::{compiled, head};
use super::*;
use crate::head::ResponseHead;
use serde_json::{Value as Json, json};

fn sections(phi: Json) -> Rc<Compiled> {
    compiled(json!({
        "version": "1",
        "keys": {"pseudonyms": {"env": "K"}, "sealing": {"env": "S"}},
        "policies": {"p": {"phi_url": phi}, "q": {"phi_url": {"preset": "fhir-r4", "on_path": "reject"}}, "open": {}},
        "routes": [
            {"match": {"path_prefix": "/q"}, "policy": "q"},
            {"match": {"path_prefix": "/open"}, "policy": "open"},
            {"match": {}, "policy": "p"},
        ],
        "host": {"allow_on_headers_stop_iteration": true},
    }))
}

fn facts(handover: Option<String>) -> RequestFacts {
    RequestFacts {
        now: Timestamp(NOW * 1_000_000_000),
        handover: handover.map(String::into_bytes),
        ..RequestFacts::default()
    }
}

/// The heads after all modules, and the streams of the suite, or of `phi-url` among four.
struct Passed {
    request: RequestHead,
    denied: Option<Reason>,
    log_safe: Option<String>,
    response: Box<dyn FnMut(&mut ResponseHead)>,
}

fn suite(compiled: &Rc<Compiled>, mut request: RequestHead) -> Passed {
    let mut stream: Stream<ALL> = Stream::new(Rc::clone(compiled));
    let opening = stream.request_head(&mut request, &facts(None), &mut Vault::default());
    Passed {
        request,
        denied: denied(&opening),
        log_safe: opening.log_safe,
        response: Box::new(move |head| {
            stream.response_head(head, true, false);
        }),
    }
}

fn chain(compiled: &Rc<Compiled>, mut request: RequestHead) -> Passed {
    let mut handover = None;
    let mut passed = Passed {
        request: request.clone(),
        denied: None,
        log_safe: None,
        response: Box::new(|_| ()),
    };
    fn step<const FILTERS: u8>(
        compiled: &Rc<Compiled>,
        request: &mut RequestHead,
        handover: &mut Option<String>,
        passed: &mut Passed,
    ) -> Option<Stream<FILTERS>> {
        if passed.denied.is_some() {
            return None;
        }
        let mut stream: Stream<FILTERS> = Stream::new(Rc::clone(compiled));
        let opening = stream.request_head(request, &facts(handover.take()), &mut Vault::default());
        passed.denied = denied(&opening);
        passed.log_safe = passed.log_safe.take().or(opening.log_safe);
        *handover = opening.handover;
        Some(stream)
    }
    step::<CACHE_CONTROL>(compiled, &mut request, &mut handover, &mut passed);
    step::<OAUTH_SCOPE>(compiled, &mut request, &mut handover, &mut passed);
    let phi = step::<PHI_URL>(compiled, &mut request, &mut handover, &mut passed);
    step::<RESPONSE_TRIM>(compiled, &mut request, &mut handover, &mut passed);
    if let Some(mut phi) = phi {
        passed.response = Box::new(move |head| {
            phi.response_head(head, true, false);
        });
    }
    passed.request = request;
    passed
}

fn denied(opening: &Opening) -> Option<Reason> {
    match &opening.verdict {
        Verdict::Deny(denial) => Some(denial.reason.clone()),
        _ => None,
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

type Run = fn(&Rc<Compiled>, RequestHead) -> Passed;
const RUNS: [Run; 2] = [suite, chain];

fn location(passed: &mut Passed, url: &str) -> Option<String> {
    let lines = [(":status", "201"), ("location", url)];
    let mut head = ResponseHead::new(lines.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())));
    (passed.response)(&mut head);
    head.first("location").map(text)
}

#[test]
fn what_passes_in_the_clear_is_hidden_from_the_proxys_default_log() {
    for (phi, raw, shown) in [
        (
            json!({"preset": "fhir-r4", "on_path": "observe"}),
            "/fhir/Patient/7",
            Some("/fhir/Patient/***"),
        ),
        (
            json!({"preset": "fhir-r4", "on_query": "observe"}),
            "/fhir/Patient?name=a",
            Some("/fhir/Patient?name=***"),
        ),
        (
            json!({"detect": ["ssn"], "on_detect": "observe"}),
            "/x?q=512-34-5678",
            Some("/x?q=***"),
        ),
        // No detector of the policy's own, and yet nothing for a log.
        (json!({"query": {"a": "mask"}}), "/x?q=512-34-5678", Some("/x?q=***")),
        (json!({"preset": "fhir-r4", "on_path": "mask"}), "/fhir/Patient/7", None),
        (
            json!({"preset": "fhir-r4", "on_path": "tokenize"}),
            "/fhir/Patient/7",
            None,
        ),
        (json!({"preset": "fhir-r4"}), "/fhir/Patient?_count=1", None),
    ] {
        let compiled = sections(phi.clone());
        for run in RUNS {
            let passed = run(&compiled, head(raw, &[("x-envoy-original-path", "/canary")]));
            assert_eq!(
                passed.request.first("x-envoy-original-path").map(text).as_deref(),
                shown,
                "{phi} {raw}"
            );
        }
    }
}

#[test]
fn a_sealed_location_leads_back() {
    let compiled = sections(json!({"preset": "fhir-r4", "on_path": "reject"}));
    for run in RUNS {
        let mut passed = run(&compiled, head("/fhir/Observation", &[]));
        let sealed = location(&mut passed, "/fhir/Patient/pat-7/_history/1").unwrap();
        assert!(
            sealed.starts_with("/fhir/Patient/sl1_") && sealed.ends_with("/_history/1") && !sealed.contains("pat-7")
        );
        for again in RUNS {
            let back = again(&compiled, head(&sealed, &[]));
            assert_eq!(back.denied, None);
            assert_eq!(text(back.request.target()), "/fhir/Patient/pat-7/_history/1");
            assert_eq!(back.log_safe.as_deref(), Some("/fhir/Patient/***/_history/1"));
            assert_eq!(
                back.request.first("x-envoy-original-path").map(text).as_deref(),
                Some("/fhir/Patient/***/_history/1")
            );
        }
        // It is sealed for the policy that governs where it leads, and opens nowhere else.
        let elsewhere = location(&mut passed, "/q/Patient/pat-7").unwrap();
        let moved = elsewhere.replace("/q/", "/fhir/");
        let reason = run(&compiled, head(&moved, &[])).denied;
        assert!(matches!(reason, Some(Reason::PhiInUrl { place, .. }) if place == "sealed"));
        assert_eq!(
            text(run(&compiled, head(&elsewhere, &[])).request.target()),
            "/q/Patient/pat-7"
        );
        // Where nothing would open it, it is masked.
        assert_eq!(
            location(&mut passed, "/open/Patient/pat-7").as_deref(),
            Some("/open/Patient/***")
        );
        assert_eq!(
            location(&mut passed, "https://other.example.org/Patient/pat-7").as_deref(),
            Some("https://other.example.org/Patient/***")
        );
    }
}

#[test]
fn scopes_are_judged_for_what_is_sealed() {
    let phi = json!({"preset": "fhir-r4", "on_path": "reject", "on_query": "reject"});
    let compiled = with_oauth(
        json!({"require": {"smart": "auto"}}),
        json!({"keys": {"pseudonyms": {"env": "K"}, "sealing": {"env": "S"}}, "policies": {"p": {"phi_url": phi}}}),
    );
    let sealer = crate::seal::Sealer::new(b"scrim checks with a stand-in key").unwrap();
    let bearer = |patient: &str| token(json!({"scope": "patient/*.rs", "patient": patient}));
    for run in RUNS {
        let sealed = sealer.seal(&["p", "parameter", "patient"], "pat-7").unwrap();
        let search = format!("/fhir/Observation?patient={sealed}");
        let own = run(&compiled, head(&search, &[("authorization", &bearer("pat-7"))]));
        assert_eq!(own.denied, None);
        assert!(text(own.request.target()).starts_with("/fhir/Observation?patient=pat-7"));
        let other = run(&compiled, head(&search, &[("authorization", &bearer("pat-8"))]));
        let sent = text(other.request.target());
        assert!(other.denied.is_some() || sent.contains("pat-8"), "{sent}");
        let forged = run(
            &compiled,
            head(
                "/fhir/Observation?patient=sl1_AAAA",
                &[("authorization", &bearer("pat-7"))],
            ),
        );
        assert!(matches!(forged.denied, Some(Reason::PhiInUrl { place, .. }) if place == "sealed"));
    }
}

#[test]
fn while_a_request_waits_its_url_is_hidden_too() {
    let compiled = sections(json!({"preset": "fhir-r4", "on_query": "reject", "on_body": "reject"}));
    let mut request = head(
        "/fhir/Patient/_search?_summary=512-34-5678",
        &[
            ("content-type", "application/x-www-form-urlencoded"),
            ("x-envoy-original-path", "/canary"),
        ],
    );
    request.set(":method", "POST");
    let mut stream: Stream<ALL> = Stream::new(Rc::clone(&compiled));
    let first = stream.request_head(&mut request, &facts(None), &mut Vault::default());
    assert!(matches!(first.verdict, Verdict::AwaitBody));
    assert_eq!(first.meanwhile.as_deref(), Some("/fhir/Patient/_search?_summary=***"));
    // The shell sets it; it is none of the request's own.
    for handover in [None, Some(policy_p())] {
        let mut head = request.clone();
        head.set(LOGGED_PATH, "/fhir/Patient/_search?_summary=***");
        let facts = RequestFacts {
            body: Some(b"_count=1".to_vec()),
            ..facts(handover)
        };
        let opening = stream.request_head(&mut head, &facts, &mut Vault::default());
        assert!(matches!(opening.verdict, Verdict::Continue(_)));
        assert_eq!(
            head.first(LOGGED_PATH).map(text).as_deref(),
            Some("/fhir/Patient/_search?_summary=***")
        );
    }
    let mut head = head("/fhir/Patient/_search", &[(LOGGED_PATH, "/fhir/Patient/_search")]);
    head.set(":method", "POST");
    let facts = RequestFacts {
        body: Some(b"_count=1".to_vec()),
        ..facts(Some(policy_p()))
    };
    stream.request_head(&mut head, &facts, &mut Vault::default());
    assert!(!head.has(LOGGED_PATH));
}

#[test]
fn a_rewritten_body_takes_its_digests_along() {
    let compiled = sections(json!({"preset": "fhir-r4", "on_body": "tokenize"}));
    for (body, changes) in [("patient=pat-7", true), ("_count=1", false)] {
        let length = body.len().to_string();
        let mut request = head(
            "/fhir/Observation/_search",
            &[
                ("content-type", "application/x-www-form-urlencoded"),
                ("content-length", &length),
                ("content-digest", "sha-256=:x:"),
                ("repr-digest", "sha-256=:x:"),
                ("digest", "SHA-256=x"),
                ("content-md5", "x"),
            ],
        );
        request.set(":method", "POST");
        let facts = RequestFacts {
            body: Some(body.as_bytes().to_vec()),
            ..facts(None)
        };
        let mut stream: Stream<ALL> = Stream::new(Rc::clone(&compiled));
        let opening = stream.request_head(&mut request, &facts, &mut Vault::default());
        assert_eq!(opening.body.is_some(), changes);
        let length = opening.body.as_ref().map_or(body.len(), Vec::len).to_string();
        assert_eq!(request.first("content-length").map(text), Some(length));
        for name in ["content-digest", "repr-digest", "digest", "content-md5"] {
            assert_eq!(request.has(name), !changes, "{name}");
        }
    }
}

/// What a module before hands over.
fn policy_p() -> String {
    json!({
        "policy": "p", "by_file": true, "views": 0, "write_back": false, "issuer": null, "subject": null, "bound": null, "appended": 0, "appended_to_form": 0,
    })
    .to_string()
}

#[test]
fn what_the_policy_appends_is_hidden_from_the_proxys_own_logs() {
    for more in [
        json!({}),
        json!({"policies": {"p": {"phi_url": {"preset": "fhir-r4"}}}}),
    ] {
        let compiled = with_oauth(json!({"require": {"smart": "auto"}}), more);
        let bearer = token(json!({"scope": "patient/*.rs", "patient": "pat-7"}));
        for run in RUNS {
            let passed = run(
                &compiled,
                head("/fhir/Observation?_count=1", &[("authorization", &bearer)]),
            );
            assert!(text(passed.request.target()).contains("pat-7"));
            assert_eq!(
                passed.request.first(LOGGED_PATH).map(text).as_deref(),
                Some("/fhir/Observation?_count=1")
            );
        }
    }
}

#[test]
fn what_was_sealed_under_the_policy_of_reads_opens_under_that_of_writes() {
    let compiled = compiled(json!({
        "version": "1", "keys": {"sealing": {"env": "S"}},
        "policies": {"reads": {"phi_url": {"preset": "fhir-r4"}}, "writes": {"phi_url": {"preset": "fhir-r4"}}},
        "routes": [
            {"match": {"path_prefix": "/fhir", "methods": ["GET"]}, "policy": "reads"},
            {"match": {"path_prefix": "/fhir"}, "policy": "writes"},
        ],
    }));
    for run in RUNS {
        let mut post = head("/fhir/Patient", &[]);
        post.set(":method", "POST");
        let sealed = location(&mut run(&compiled, post), "/fhir/Patient/pat-7").unwrap();
        for method in ["GET", "PUT"] {
            let mut again = head(&sealed, &[]);
            again.set(":method", method);
            let passed = run(&compiled, again);
            assert_eq!(
                (passed.denied, text(passed.request.target())),
                (None, "/fhir/Patient/pat-7".to_owned()),
                "{method}"
            );
        }
    }
}

#[test]
fn a_rejection_names_the_type_and_the_parameter_and_no_value() {
    let compiled = sections(json!({"preset": "fhir-r4"}));
    let mut request = head(
        "/fhir/Patient?birthdate=1946-07-07",
        &[("accept", "application/fhir+json")],
    );
    let mut stream: Stream<ALL> = Stream::new(compiled);
    let opening = stream.request_head(&mut request, &facts(None), &mut Vault::default());
    let Verdict::Deny(denial) = opening.verdict else {
        panic!()
    };
    let outcome: Json = serde_json::from_str(&denial.answer.body).unwrap();
    let issue = &outcome["issue"][0];
    assert_eq!(issue["location"], json!(["http.birthdate"]));
    let text = issue["details"]["text"].as_str().unwrap();
    assert!(
        text.contains("POST [base]/Patient/_search") && text.contains("`birthdate=..`"),
        "{text}"
    );
    assert!(!denial.answer.body.contains("1946"));
}
