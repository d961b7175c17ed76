use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::places::testing::{HIDING, policy, read_leniently, scene, sealed, spell, token};
use super::*;
use crate::trim::{Limits, Program, Trimmer};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/fhir+json; charset=utf-8";

fn post(kind: Option<&str>) -> RequestHead {
    let method = (":method".to_owned(), b"POST".to_vec());
    let kind = kind.map(|kind| ("content-type".to_owned(), kind.as_bytes().to_vec()));
    RequestHead::new([method].into_iter().chain(kind))
}

/// The body that goes on, or `400 kind parameter`.
fn judged(policy: &PhiPolicy, path: &str, kind: &str, body: &str) -> String {
    let target = Target::parse(path.as_bytes()).ok().unwrap();
    match policy.judge_body(body.as_bytes(), &post(Some(kind)), &target, &scene()) {
        Ok((None, _)) => body.to_owned(),
        Ok((Some(new), _)) => String::from_utf8(new).unwrap(),
        Err(why) => format!("400 {} {}", why.kind.code(), why.parameter.as_deref().unwrap_or("-")),
    }
}

fn opened(policy: &PhiPolicy, path: &str, kind: &str, body: &str) -> Option<Option<String>> {
    let target = Target::parse(path.as_bytes()).ok().unwrap();
    let opened = policy
        .open_body(body.as_bytes(), &post(Some(kind)), &target, &scene())
        .ok()?;
    Some(opened.map(|bytes| String::from_utf8(bytes).unwrap()))
}

#[test]
fn only_forms_and_bundles_are_wanted_and_only_to_act() {
    let acting = policy(Action::Mask, |_| {});
    let wants = |policy: &PhiPolicy, method: &str, path: &str, kind: Option<&str>| {
        let mut head = post(kind);
        head.set(":method", method.as_bytes());
        policy.wants_body(&head, &Target::parse(path.as_bytes()).ok().unwrap())
    };
    for (path, kind, wanted) in [
        ("/fhir/Patient/_search", Some(FORM), true),
        ("/fhir/Patient/_search", None, true),
        ("/fhir/Patient/_search", Some("text/plain"), true),
        ("/fhir/_search", Some(FORM), true),
        ("/fhir", Some(JSON), true),
        ("/fhir/", Some("application/json"), true),
        ("/api/r4", Some("application/fhir+xml"), true),
        ("/", None, true),
        ("/fhir", Some("text/csv"), false),
        ("/fhir/Patient", Some(JSON), false),
        ("/fhir/%50atient", Some(JSON), false),
        ("/fhir/$process-message", Some(JSON), false),
        ("/fhir/Patient", Some(FORM), false),
    ] {
        assert_eq!(wants(&acting, "POST", path, kind), wanted, "{path} {kind:?}");
        assert!(!wants(&acting, "GET", path, kind) && !wants(&acting, "PUT", path, kind));
    }
    let opening = policy(Action::Seal, |rules| rules.on_body = Action::Pass);
    assert!(wants(&opening, "POST", "/fhir", Some(JSON)), "there is what to open");
    let passing = policy(Action::Mask, |rules| rules.on_body = Action::Pass);
    assert!(
        !wants(&passing, "POST", "/fhir", Some(JSON)),
        "a key alone makes no body wait"
    );
    let idle = PhiPolicy::new(super::super::Rules::default(), super::super::Secrets::default());
    assert!(!wants(&idle.ok().unwrap(), "POST", "/x/_search", Some(FORM)));
}

#[test]
fn forms_are_judged_by_on_body() {
    let body = "name=Ada+L&_count=1&code=8867-4&x=%41";
    for (action, expected) in [
        (Action::Mask, "name=***&_count=1&code=8867-4&x=%41".to_owned()),
        (
            Action::Tokenize,
            format!("name={}&_count=1&code=8867-4&x=%41", token("Ada L")),
        ),
        (Action::Reject, "400 query name".to_owned()),
        (Action::Seal, "400 query name".to_owned()),
        (Action::Observe, body.to_owned()),
        (Action::Pass, body.to_owned()),
    ] {
        // What the URL's own parameters get is another matter.
        let policy = policy(Action::Reject, |rules| rules.on_body = action);
        assert_eq!(judged(&policy, "/fhir/Patient/_search", FORM, body), expected);
    }
    let policy = policy(Action::Mask, |rules| {
        rules.query = vec![("name".to_owned(), Action::Pass), ("x".to_owned(), Action::Reject)];
    });
    let path = "/fhir/Patient/_search";
    assert_eq!(
        judged(&policy, path, FORM, "name=Ada&x=1&given=b"),
        "name=Ada&x=***&given=***"
    );
    assert_eq!(judged(&policy, path, FORM, "q=512-34-5678"), "q=***");
    assert_eq!(judged(&policy, path, FORM, ""), "");
    assert_eq!(
        judged(&policy, "/fhir/Practitioner/_search", FORM, "name=Ada&given=b"),
        "name=Ada&given=b"
    );
    // The path is no matter of the body's.
    assert_eq!(
        judged(&policy, "/fhir/Patient/7/Observation/_search", FORM, "code=x"),
        "code=x"
    );
    for body in ["{\"name\":\"Ada\"}", "<x/>"] {
        assert_eq!(judged(&policy, path, FORM, body), "400 unreadable -");
    }
    let target = Target::parse(path.as_bytes()).ok().unwrap();
    let mut head = post(Some(FORM));
    head.set("content-encoding", "br");
    assert!(policy.judge_body(b"code=x", &head, &target, &scene()).is_err());
    head.set("content-encoding", "identity");
    assert!(policy.judge_body(b"code=x", &head, &target, &scene()).is_ok());
    for body in ["a=%zz", "a=1;b=2", "a=b c", "a=1#x", "\u{0}", "%ff"] {
        assert_eq!(judged(&policy, path, FORM, body), "400 unreadable -", "{body}");
    }
    assert_eq!(
        judged(&policy, path, "multipart/form-data", "name=Ada"),
        "400 unreadable -"
    );
}

#[test]
fn what_is_sealed_in_bodies_is_opened() {
    let name = sealed(&["parameter", "name"], "Ada L");
    let id = sealed(&["segment", "Patient"], "7");
    let path = "/fhir/Patient/_search";
    for action in [Action::Pass, Action::Mask, Action::Seal] {
        let policy = policy(Action::Reject, |rules| rules.on_body = action);
        let form = format!("_count=1&name={name}");
        assert_eq!(judged(&policy, path, FORM, &form), "_count=1&name=Ada%20L");
        assert_eq!(
            opened(&policy, path, FORM, &form),
            Some(Some("_count=1&name=Ada%20L".to_owned()))
        );
        let moved = format!("given={name}");
        assert_eq!(judged(&policy, path, FORM, &moved), "400 sealed -");
        assert_eq!(opened(&policy, path, FORM, &moved), None);
        let bundle = format!(r#"{{"entry": [ {{"request":{{"url":"Patient\/{id}", "method":"GET"}}}} ]}}"#);
        let wanted = r#"{"entry": [ {"request":{"url":"Patient/7", "method":"GET"}} ]}"#;
        assert_eq!(judged(&policy, "/fhir", JSON, &bundle), wanted);
        assert_eq!(opened(&policy, "/fhir", JSON, &bundle), Some(Some(wanted.to_owned())));
    }
    let passing = policy(Action::Reject, |rules| rules.on_body = Action::Pass);
    assert_eq!(judged(&passing, path, FORM, "name=Ada&x=%zz"), "name=Ada&x=%zz");
    assert_eq!(judged(&passing, "/fhir", JSON, "{%"), "{%");
    assert_eq!(opened(&passing, path, FORM, "name=Ada"), Some(None));
    assert_eq!(
        opened(
            &passing,
            "/fhir",
            JSON,
            r#"{"entry":[{"request":{"url":"Patient\/7"}}]}"#
        ),
        Some(None)
    );
    let target = Target::parse(b"/fhir/Patient/_search").ok().unwrap();
    let counts = passing.judge_body(b"name=Ada&q=512-34-5678&x=%41", &post(Some(FORM)), &target, &scene());
    assert!(matches!(counts, Ok((None, counts)) if counts == Counts::default()));
}

#[test]
fn the_requests_of_a_bundle_are_judged() {
    let masking = policy(Action::Mask, |_| {});
    let bundle = |entries: &str| format!("{{ \"resourceType\" : \"Bundle\",\n \"entry\":[{entries}], \"z\":1.0e2}}");
    for (entry, expected) in [
        (
            r#"{"request":{"method":"GET","url":"Patient/7"}}"#,
            r#"{"request":{"method":"GET","url":"Patient/***"}}"#,
        ),
        (
            r#"{"request":{"url":"Patient?name=Ad\u0061"}}"#,
            r#"{"request":{"url":"Patient?name=***"}}"#,
        ),
        (
            r#"{"request":{"url":"/Patient/7/_history"}}"#,
            r#"{"request":{"url":"/Patient/***/_history"}}"#,
        ),
        (
            r#"{"request":{"ifNoneExist":"identifier=x|7","url":"Patient"}}"#,
            r#"{"request":{"ifNoneExist":"identifier=***","url":"Patient"}}"#,
        ),
        (
            r#"{"request":{"ifNoneExist":"identifier=x|7","url":"Organization"}}"#,
            r#"{"request":{"ifNoneExist":"identifier=x|7","url":"Organization"}}"#,
        ),
        (
            r#"{"fullUrl":"https://h/Patient/7","resource":{"id":"7","link":[{"other":{"reference":"Patient/8"}}]}}"#,
            r#"{"fullUrl":"https://h/Patient/7","resource":{"id":"7","link":[{"other":{"reference":"Patient/8"}}]}}"#,
        ),
        (
            r#"{"request":{"url":"Observation\u002f8"} , "x":"\ud83d\ude00"}"#,
            r#"{"request":{"url":"Observation\u002f8"} , "x":"\ud83d\ude00"}"#,
        ),
        ("", ""),
    ] {
        assert_eq!(
            judged(&masking, "/fhir", JSON, &bundle(entry)),
            bundle(expected),
            "{entry}"
        );
    }
    let two = bundle(r#"{"request":{"url":"Patient/7"}},{"request":{"url":"Patient/8"}}"#);
    assert!(judged(&masking, "/fhir", JSON, &two).contains(r#""Patient/***"}},{"request":{"url":"Patient/***"#));
    for body in [
        "{}",
        r#"{"resourceType":"Patient","id":"7"}"#,
        "[1]",
        "\"x\"",
        r#"{"entry":[]}"#,
    ] {
        assert_eq!(judged(&masking, "/fhir", JSON, body), body);
    }
    let rejecting = policy(Action::Reject, |_| {});
    assert_eq!(
        judged(
            &rejecting,
            "/fhir",
            JSON,
            &bundle(r#"{"request":{"url":"Patient?name=Ada"}}"#)
        ),
        "400 query name"
    );
}

#[test]
fn bundles_of_other_shapes_are_refused() {
    let masking = policy(Action::Mask, |_| {});
    for body in [
        "{",
        "{}x",
        "\u{feff}{}",
        r#"{"entry":{}}"#,
        r#"{"entry":null}"#,
        r#"{"entry":[null]}"#,
        r#"{"entry":[[]]}"#,
        r#"{"entry":[{"request":"x"}]}"#,
        r#"{"entry":[{"request":{"url":7}}]}"#,
        r#"{"entry":[{"request":{"url":null}}]}"#,
        r#"{"entry":[],"entry":[]}"#,
        r#"{"entry":[],"\u0065ntry":[]}"#,
        r#"{"Entry":[{"request":{"url":"Patient/7"}}]}"#,
        r#"{"entry":[{"request":{},"REQUEST":{"url":"Patient/7"}}]}"#,
        r#"{"entry":[{"request":{"url":"x","URL":"Patient/7"}}]}"#,
        r#"{"entry":[{"request":{"url":"Patient/7\ud800"}}]}"#,
        r#"{"entry":[{"request":{"url":"Patient/7#x"}}]}"#,
        r#"{"entry":[{"request":{"url":"Patient\\7"}}]}"#,
        r#"{"entry":[{"request":{"url":"Patient","ifNoneExist":"Observation?identifier=7"}}]}"#,
        r#"{"entry":[{"request":{"url":"Patient","ifNoneExist":["identifier=7"]}}]}"#,
    ] {
        assert_eq!(judged(&masking, "/fhir", JSON, body), "400 unreadable -", "{body}");
    }
    let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
    assert_eq!(judged(&masking, "/fhir", JSON, &deep), "400 unreadable -");
    assert_eq!(
        judged(&masking, "/fhir", "application/fhir+xml", "<Bundle/>"),
        "400 unreadable -"
    );
    let target = Target::parse(b"/fhir").ok().unwrap();
    assert!(
        masking
            .judge_body(b"{\"a\":\"\xff\"}", &post(Some(JSON)), &target, &scene())
            .is_err()
    );
}

/// A response trimmed by the rewriters alone, in chunks.
fn trimmed(policy: &PhiPolicy, body: &str, size: usize) -> String {
    let program = Program::new(Vec::new(), None, rewrites()).unwrap();
    assert!(program.rewrites());
    let mut trimmer = Trimmer::new(Arc::new(program), None, Limits::default()).unwrap();
    let mut out = Vec::new();
    let scene = scene();
    let rewrite = |by: u8, text: &str| policy.rewrite(by, text, &scene);
    for chunk in body.as_bytes().chunks(size) {
        trimmer.push_with(Some(&rewrite), chunk, false, &mut out).unwrap();
    }
    trimmer.push_with(Some(&rewrite), b"", true, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// A Bundle with this URL wherever one is judged, and with those that name what stands beside them.
fn searchset(url: &str, text: &str) -> Value {
    const NAME: &str = "https://h/fhir/Patient/7";
    let outcome = json!({"resourceType": "OperationOutcome", "issue": [
        {"diagnostics": text, "details": {"text": text, "coding": [{"code": "x"}]}, "expression": ["Patient.name"]}]});
    json!({"resourceType": "Bundle", "link": [{"relation": "self", "url": url}, {"url": url}],
        "entry": [
            {"fullUrl": NAME, "link": [{"url": url}], "resource": {"resourceType": "Patient", "id": "7", "name": [{"family": "Shown"}]},
             "request": {"method": "PUT", "url": "Patient/7"},
             "response": {"status": "201", "location": url, "outcome": outcome}},
            {"resource": outcome},
            {"resource": {"resourceType": "Bundle", "link": [{"url": url}], "entry": [{"fullUrl": NAME, "resource": outcome}]}}],
        "issue": [{"diagnostics": text, "details": {"text": text}}]})
}

#[test]
fn links_and_texts_in_responses_are_judged() {
    let masking = policy(Action::Mask, |_| {});
    let before = searchset("https://h/fhir/Patient?name=Ada", "Patient/7 is gone");
    let after = searchset("https://h/fhir/Patient?name=***", "Patient/*** is gone");
    for size in [1, 2, 3, 7, 64, 4096] {
        let body = trimmed(&masking, &before.to_string(), size);
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), after);
    }
    let harmless = searchset("https://h/fhir/Observation?_count=1", "nothing").to_string();
    assert_eq!(trimmed(&masking, &harmless, 5), harmless);
    assert_eq!(masking.judge_link("/a\\b", &scene()).as_deref(), Some("***"));
    assert_eq!(masking.rewrite(9, "x", &scene()).as_deref(), Some("***"));
}

#[test]
fn only_policies_that_judge_fhir_urls_rewrite_responses() {
    let rewrites = |phi_url: Option<Value>| {
        let mut policy = json!({"response_trim": {"views": [{"deny": ["$.x"]}]}});
        if let Some(phi_url) = phi_url {
            policy["phi_url"] = phi_url;
        }
        let document = json!({"version": "1", "policies": {"p": policy}, "default": "p"});
        let mut problems = crate::document::Problems::default();
        let node = crate::document::Node::from_json(&document);
        let compiled = crate::compile::Compiled::new::<{ crate::chain::ALL }>(&node, &|_| None, &mut problems).unwrap();
        let trim = compiled.policy(0).unwrap().response_trim().unwrap();
        trim.views
            .iter()
            .all(|view| view.program.as_ref().is_some_and(|program| program.rewrites()))
    };
    assert!(rewrites(Some(json!({"preset": "fhir-r4"}))));
    assert!(!rewrites(Some(json!({"detect": ["ssn"]}))));
    assert!(!rewrites(None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn no_canary_survives_in_bodies(
        canary in prop::sample::select(vec!["Quixotegarcia", "512-34-5678", "zq@canary.org"]),
        action in prop::sample::select(HIDING.to_vec()),
        shape in 0_usize..7,
        seed in any::<u64>(),
    ) {
        let value = spell(canary, seed);
        let json = |request: Value| ("/fhir", JSON, json!({"entry": [{"request": request}]}).to_string());
        let (path, kind, body) = match shape {
            0 => ("/fhir/Patient/_search", FORM, format!("_count=1&name={value}")),
            1 => ("/fhir/_search", FORM, format!("identifier=x|{value}&birthdate=ge{value}")),
            2 => json(json!({"url": format!("Patient/{value}")})),
            3 => json(json!({"url": format!("Patient?name={value}&_count=1")})),
            4 => json(json!({"url": "Patient", "ifNoneExist": format!("identifier={value}")})),
            5 => json(json!({"url": format!("https://h/fhir/Patient/{value}/_history")})),
            _ => json(json!({"url": format!("{value}/_history")})),
        };
        let policy = policy(action, |_| {});
        let sent = judged(&policy, path, kind, &body);
        prop_assert!(!read_leniently(&sent).contains(&canary.to_lowercase()), "{} sends {}", body, sent);
        if action != Action::Seal && !sent.starts_with("400") {
            prop_assert_eq!(judged(&policy, path, kind, &sent), sent.clone());
        }
    }

    #[test]
    fn no_canary_survives_in_responses(
        canary in prop::sample::select(vec!["Quixotegarcia", "512-34-5678", "zq@canary.org"]),
        action in prop::sample::select(HIDING.to_vec()),
        seed in any::<u64>(),
        size in 1_usize..80,
    ) {
        let value = spell(canary, seed);
        let body = searchset(&format!("Patient/{value}?name={value}"), &format!("no Patient/{value}, name={value}"));
        let policy = policy(action, |_| {});
        let shown = trimmed(&policy, &body.to_string(), size);
        prop_assert!(!read_leniently(&shown).contains(&canary.to_lowercase()), "{}", shown);
        prop_assert_eq!(trimmed(&policy, &shown, size), shown.clone());
    }

    #[test]
    fn nothing_panics(body in any::<String>(), bytes in prop::collection::vec(any::<u8>(), 0..60), form in any::<bool>()) {
        let policy = policy(Action::Mask, |_| {});
        let (path, kind) = if form { ("/fhir/_search", FORM) } else { ("/fhir", JSON) };
        judged(&policy, path, kind, &body);
        let target = Target::parse(path.as_bytes()).ok().unwrap();
        let _ = policy.judge_body(&bytes, &post(Some(kind)), &target, &scene());
        let _ = policy.open_body(&bytes, &post(Some(kind)), &target, &scene());
    }
}
