use super::*;
use crate::document::{Node, Problems};
use crate::head::Line;
use crate::head::ResponseHead;
use serde_json::{Value as Json, json};

pub(super) fn compiled(document: Json) -> Rc<Compiled> {
    let mut problems = Problems::default();
    let key = "c2NyaW0gY2hlY2tzIHdpdGggYSBzdGFuZC1pbiBrZXk=".to_owned();
    let compiled = Compiled::new::<ALL>(&Node::from_json(&document), &|_| Some(key.clone()), &mut problems);
    let told: Vec<_> = problems.iter().map(|problem| problem.message.clone()).collect();
    Rc::new(compiled.unwrap_or_else(|| panic!("{told:?}")))
}

/// One policy `p` of these sections for everything, and a second one without sections, `open`.
fn policy(sections: Json) -> Rc<Compiled> {
    compiled(json!({
        "version": "1",
        "keys": {"pseudonyms": {"env": "K"}},
        "policies": {"p": sections, "open": {}},
        "routes": [{"match": {"path_prefix": "/open"}, "policy": "open"}, {"match": {}, "policy": "p"}],
        "host": {"allow_on_headers_stop_iteration": true},
    }))
}

pub(super) fn head(target: &str, more: &[(&str, &str)]) -> RequestHead {
    let pseudo = [(":authority", "h"), (":path", target), (":method", "GET")];
    let lines = pseudo
        .iter()
        .chain(more)
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
    RequestHead::new(lines)
}

struct Opened<const FILTERS: u8> {
    stream: Stream<FILTERS>,
    head: RequestHead,
    opening: Opening,
}

fn open<const FILTERS: u8>(compiled: &Rc<Compiled>, head: RequestHead, facts: &RequestFacts) -> Opened<FILTERS> {
    let mut head = head;
    let mut stream = Stream::new(Rc::clone(compiled));
    let opening = stream.request_head(&mut head, facts, &mut Vault::default());
    Opened { stream, head, opening }
}

fn denied(opening: &Opening) -> Option<Reason> {
    match &opening.verdict {
        Verdict::Deny(denial) => Some(denial.reason.clone()),
        _ => None,
    }
}

fn reason(compiled: &Rc<Compiled>, target: &str, more: &[(&str, &str)], facts: &RequestFacts) -> Option<Reason> {
    denied(&open::<ALL>(compiled, head(target, more), facts).opening)
}

#[test]
fn a_denied_requests_url_is_hidden_from_the_proxys_own_logs() {
    let compiled = policy(json!({"phi_url": {"preset": "fhir-r4"}}));
    let facts = RequestFacts::default();
    let target = "/fhir/Patient?birthdate=1946-07-07";
    let opened = open::<ALL>(&compiled, head(target, &[("referer", "https://h/?name=Quill")]), &facts);
    let Verdict::Deny(denial) = &opened.opening.verdict else {
        panic!()
    };
    let shown = Line {
        name: ":path".into(),
        value: b"/fhir/Patient?birthdate=***".to_vec(),
    };
    assert!(denial.edits.contains(&Edit::Set(shown)));
    assert!(denial.edits.contains(&Edit::Remove("referer".into())));
    let Verdict::Deny(denial) = open::<ALL>(&compiled, head("/a%2fb", &[]), &facts).opening.verdict else {
        panic!()
    };
    assert!(denial.edits.contains(&Edit::Set(Line {
        name: ":path".into(),
        value: b"/-".to_vec()
    })));
}

#[test]
fn headers_that_name_another_url_go_and_another_method_is_refused() {
    let compiled = policy(json!({}));
    let facts = RequestFacts::default();
    for name in [
        "x-envoy-original-path",
        "x-envoy-original-url",
        "x-original-url",
        "x-original-uri",
        "x-rewrite-url",
        "x-forwarded-uri",
        "x-forwarded-url",
        "x-forwarded-path",
        "x-request-uri",
        "x-request-url",
        "x-replaced-path",
    ] {
        assert!(
            !open::<ALL>(&compiled, head("/a", &[(name, "/b")]), &facts)
                .head
                .has(name),
            "{name}"
        );
    }
    for name in ["x-http-method-override", "x-http-method", "x-method-override"] {
        let reason = reason(&compiled, "/a", &[(name, "DELETE")], &facts);
        assert_eq!(reason, Some(Reason::AmbiguousUrl("method_override")), "{name}");
    }
}

#[test]
fn what_was_judged_is_what_goes_on() {
    let compiled = policy(json!({"cache_control": {"class": "phi"}}));
    for (raw, sent) in [
        ("/a/../b//c?x=%20y", "/b/c?x=%20y"),
        ("/b/%63?x", "/b/%63?x"),
        ("/./", "/"),
    ] {
        let opened = open::<ALL>(&compiled, head(raw, &[]), &RequestFacts::default());
        assert_eq!(String::from_utf8_lossy(opened.head.target()), sent);
    }
}

#[test]
fn a_policy_that_the_proxy_chose_needs_a_canonical_path() {
    let compiled = policy(json!({}));
    let facts = RequestFacts {
        route_metadata: Some(b"open".to_vec()),
        ..RequestFacts::default()
    };
    assert_eq!(reason(&compiled, "/a/b?x=%61", &[], &facts), None);
    for spelled in ["/a/%62", "/a//b", "/a/./b"] {
        assert_eq!(
            reason(&compiled, spelled, &[], &facts),
            Some(Reason::AmbiguousUrl("not_canonical")),
            "{spelled}"
        );
    }
}

#[test]
fn a_rewrite_must_not_lead_to_another_policy() {
    let compiled = compiled(json!({
        "version": "1",
        "policies": {"p": {"phi_url": {"detect": ["ssn"], "on_detect": "strip"}}, "q": {}},
        "routes": [{"match": {"path": "/x"}, "policy": "q"}, {"match": {}, "policy": "p"}],
    }));
    let facts = RequestFacts::default();
    assert_eq!(
        reason(&compiled, "/x/512-34-5678", &[], &facts),
        Some(Reason::AmbiguousUrl("rewritten_route"))
    );
    assert_eq!(reason(&compiled, "/y/512-34-5678", &[], &facts), None);
}

#[test]
fn modules_behind_take_over_what_was_chosen_and_deny_what_they_cannot_read() {
    let compiled =
        policy(json!({"cache_control": {"class": "phi"}, "phi_url": {"preset": "fhir-r4", "on_path": "tokenize"}}));
    let first = open::<CACHE_CONTROL>(&compiled, head("/fhir/Patient/7", &[]), &RequestFacts::default());
    assert_eq!(first.opening.log_safe.as_deref(), Some("/fhir/Patient/***"));
    let handover = first.opening.handover.map(String::into_bytes);
    let facts = RequestFacts {
        handover,
        route_metadata: Some(b"nobody".to_vec()),
        ..RequestFacts::default()
    };
    let second = open::<PHI_URL>(&compiled, head("/fhir/Patient/7", &[]), &facts);
    assert!(denied(&second.opening).is_none() && second.opening.log_safe.is_none());
    assert!(second.head.target().starts_with(b"/fhir/Patient/ps2-"));
    let whole = json!({
        "policy": "p", "by_file": true, "views": 0, "write_back": false, "issuer": null, "subject": null, "bound": null, "appended": 0,
        "appended_to_form": 0,
    });
    let taken = |text: &str| {
        let facts = RequestFacts {
            handover: Some(text.as_bytes().to_vec()),
            ..RequestFacts::default()
        };
        reason_of::<PHI_URL>(&compiled, &facts)
    };
    assert_eq!(taken(&whole.to_string()), None);
    for (name, garbled) in [
        ("policy", json!("zz")),
        ("policy", json!(1)),
        ("views", json!(-1)),
        ("views", Json::Null),
        ("write_back", json!(0)),
        ("subject", json!("512-34-5678")),
        ("bound", json!(7)),
        ("appended", json!("1")),
    ] {
        let mut handover = whole.clone();
        handover[name] = garbled;
        assert_eq!(taken(&handover.to_string()), Some(Reason::UnknownPolicy), "{handover}");
        handover.as_object_mut().unwrap().remove(name);
        assert_eq!(taken(&handover.to_string()), Some(Reason::UnknownPolicy), "{handover}");
    }
    for garbled in ["", "{}", "[]", "1"] {
        assert_eq!(taken(garbled), Some(Reason::UnknownPolicy), "{garbled}");
    }
}

fn reason_of<const FILTERS: u8>(compiled: &Rc<Compiled>, facts: &RequestFacts) -> Option<Reason> {
    denied(&open::<FILTERS>(compiled, head("/a", &[]), facts).opening)
}

/// A stream whose response is being trimmed, after its head.
fn trimming(may_wait: bool) -> Stream<ALL> {
    let compiled = compiled(json!({
        "version": "1",
        "policies": {"p": {"response_trim": {"views": [{"deny": ["$.ssn"]}]}, "cache_control": {"class": "phi"}}},
        "routes": [{"match": {}, "policy": "p"}],
        "host": {"allow_on_headers_stop_iteration": may_wait},
    }));
    let mut stream = open::<ALL>(&compiled, head("/a", &[]), &RequestFacts::default()).stream;
    let mut head = ResponseHead::new([
        (":status".to_owned(), b"200".to_vec()),
        ("content-length".to_owned(), b"9".to_vec()),
    ]);
    let verdict = stream.response_head(&mut head, false, false);
    assert_eq!(matches!(verdict, Verdict::Hold(_)), may_wait);
    assert!(!head.has("content-length") && head.has("cache-control"));
    stream
}

#[test]
fn headers_wait_for_the_first_bytes_and_a_body_that_breaks_by_then_is_answered() {
    let mut stream = trimming(true);
    assert!(stream.waits(10, false) && !stream.waits(10, true) && !stream.waits(HELD_BYTES, false));
    assert!(matches!(stream.response_body(b"{\"a\":", false), BodyVerdict::Hold));
    let BodyVerdict::Deny(denial) = stream.response_body(b"{\"a\":", true) else {
        panic!()
    };
    assert_eq!(
        (denial.answer.status, denial.reason),
        (502, Reason::Uninspectable("json_truncated"))
    );
    assert!(matches!(stream.response_body(b"{}", true), BodyVerdict::Replace(rest) if rest.is_empty()));
    assert!(stream.audit().is_denied());
}

#[test]
fn a_body_that_breaks_later_is_reset_and_nothing_follows() {
    let mut stream = trimming(true);
    let long = format!("[\"{}\",", "x".repeat(HELD_BYTES));
    assert!(matches!(
        stream.response_body(long.as_bytes(), false),
        BodyVerdict::Replace(_)
    ));
    assert!(matches!(stream.response_body(b"]", true), BodyVerdict::Reset(_)));
    assert!(matches!(stream.response_body(b"\"late\"]", true), BodyVerdict::Replace(rest) if rest.is_empty()));
    let mut stream = trimming(false);
    assert!(!stream.waits(1, false));
    assert!(matches!(
        stream.response_body(b"nonsense", false),
        BodyVerdict::Reset(_)
    ));
}

#[test]
fn a_body_is_trimmed_and_counted() {
    let mut stream = trimming(true);
    let BodyVerdict::Replace(out) = stream.response_body(b"{\"ssn\":1,\"b\":1.10}", true) else {
        panic!()
    };
    assert_eq!(String::from_utf8_lossy(&out), "{\"b\":1.10}");
    assert_eq!(stream.audit().counts.removed, 1);
}

#[test]
fn our_own_denial_is_not_judged_as_a_response() {
    let compiled = policy(json!({"phi_url": {"preset": "fhir-r4"}, "response_trim": {"views": [{"deny": ["$.a"]}]}}));
    let opened = open::<ALL>(
        &compiled,
        head("/fhir/Patient?birthdate=1", &[]),
        &RequestFacts::default(),
    );
    assert!(denied(&opened.opening).is_some());
    assert!(!opened.stream.wants_response() && !opened.stream.wants_body());
}

#[test]
fn heads_without_a_body_are_not_refused_for_it() {
    let compiled = policy(json!({"response_trim": {"views": [{"deny": ["$.a"]}]}}));
    for (method, status, kind, end) in [
        ("HEAD", "200", "application/json", false),
        ("HEAD", "304", "application/fhir+xml", true),
        ("GET", "304", "application/fhir+xml", true),
        ("GET", "204", "application/fhir+xml", true),
    ] {
        let mut lines = head("/a", &[]);
        lines.set(":method", method);
        let mut stream = open::<ALL>(&compiled, lines, &RequestFacts::default()).stream;
        let lines = [(":status", status), ("content-type", kind)];
        let mut head = ResponseHead::new(lines.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())));
        assert!(
            matches!(stream.response_head(&mut head, end, false), Verdict::Continue(_)),
            "{method} {status}"
        );
    }
}

/// What a file's policies have in common in the tests of what is written back.
fn guarded(trim: Json, routes: Json) -> Rc<Compiled> {
    let policies = json!({
        "read": {"response_trim": trim}, "write": {"cache_control": {"class": "phi"}},
        "whole": {"response_trim": {"views": [{"deny": []}]}},
    });
    compiled(json!({
        "version": "1", "policies": policies, "routes": routes, "host": {"allow_on_headers_stop_iteration": true},
    }))
}

/// Why it is refused, by the suite and by modules one after another alike.
fn refused(
    compiled: &Rc<Compiled>,
    method: &str,
    target: &str,
    lines: &[(&str, &str)],
    body: Option<&str>,
) -> Option<Reason> {
    let sent = || {
        let mut sent = head(target, lines);
        sent.set(":method", method);
        sent
    };
    let facts = |handover: Option<String>| RequestFacts {
        body: body.map(|body| body.as_bytes().to_vec()),
        handover: handover.map(String::into_bytes),
        ..RequestFacts::default()
    };
    let suite = denied(&open::<ALL>(compiled, sent(), &facts(None)).opening);
    let first = open::<CACHE_CONTROL>(compiled, sent(), &facts(None));
    if let Some(handover) = first.opening.handover {
        let last = open::<RESPONSE_TRIM>(compiled, first.head, &facts(Some(handover)));
        assert_eq!(suite, denied(&last.opening), "{method} {target}");
    }
    suite
}

/// A PUT by who reads with fields left out would delete these; what the file's route for GET shows counts, for the suite and module by module.
#[test]
fn what_is_read_trimmed_is_not_replaced() {
    let document = |more: Json| {
        let mut trim = json!({"views": [{"deny": ["$.a"]}]});
        trim.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let routes = json!([
            {"match": {"path_prefix": "/whole"}, "policy": "whole"},
            {"match": {"methods": ["PUT", "PATCH", "POST", "DELETE"]}, "policy": "write"},
            {"match": {"path_prefix": "/upload"}, "policy": "write"},
            {"match": {"path": "/fhir/{type}/{id}"}, "policy": "read"},
        ]);
        guarded(trim, routes)
    };
    let own = document(json!({}));
    let put = |compiled: &Rc<Compiled>, target: &str, lines: &[(&str, &str)]| {
        refused(compiled, "PUT", target, lines, None) == Some(Reason::WriteBack)
    };
    assert!(put(&own, "/fhir/Patient/1", &[]));
    assert!(put(&own, "/fhir/Patient/1/", &[]));
    for (name, value) in [
        ("if-none-match", "W/\"1\""),
        ("if-none-match", "*"),
        ("if-match", "W/\"1\""),
    ] {
        assert!(put(&own, "/fhir/Patient/1", &[(name, value)]), "{name}: {value}");
    }
    // FHIR's conditional update, and a resource that nobody may GET at this URL.
    assert!(put(&own, "/fhir/Patient?identifier=7", &[]));
    assert!(put(&own, "/other/Patient/1", &[]));
    for passes in ["/whole/1", "/upload/1", "/else/1"] {
        assert!(!put(&own, passes, &[]), "{passes}");
    }
    for method in ["PATCH", "POST", "DELETE"] {
        assert_eq!(refused(&own, method, "/fhir/Patient/1", &[], None), None, "{method}");
    }
    assert_eq!(
        refused(&own, "put", "/fhir/Patient/1", &[], None),
        Some(Reason::AmbiguousUrl("method_case"))
    );
    let create = document(json!({"write_back": "create"}));
    assert!(put(&create, "/fhir/Patient/1", &[]) && !put(&create, "/fhir/Patient/1", &[("if-none-match", "*")]));
    for lax in [json!({"write_back": "allow"}), json!({"mode": "observe"})] {
        assert!(!put(&document(lax), "/fhir/Patient/1", &[]));
    }
}

#[test]
fn a_batch_replaces_nothing_either() {
    let of = |more: Json| {
        let mut trim = json!({"views": [{"fhir": {"types": {"Patient": {"deny": ["photo"]}}}}]});
        trim.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let routes = json!([
            {"match": {"path_prefix": "/fhir/Binary"}, "policy": "whole"},
            {"match": {"path": "/fhir", "methods": ["POST"]}, "policy": "write"},
            {"match": {}, "policy": "read"},
        ]);
        guarded(trim, routes)
    };
    const FHIR: [(&str, &str); 1] = [("content-type", "application/fhir+json")];
    let batch = |entries: &str| format!(r#"{{"resourceType":"Bundle","type":"batch","entry":[{entries}]}}"#);
    let judged = |compiled: &Rc<Compiled>, target: &str, entries: &str| {
        refused(compiled, "POST", target, &FHIR, Some(&batch(entries)))
    };
    let put =
        |url: &str, more: &str| format!(r#"{{"resource":{{}},"request":{{"method":"PUT","url":"{url}"{more}}}}}"#);
    let own = of(json!({}));
    for target in ["/fhir", "/fhir/", "/fhir?x=1", "/fhir?_format=json", "/other"] {
        for url in [
            "Patient/1",
            "/fhir/Patient/1",
            "https://h/fhir/Patient/1",
            "Observation/1",
            "Patient?identifier=7",
        ] {
            assert_eq!(
                judged(&own, target, &put(url, "")),
                Some(Reason::WriteBack),
                "{target} {url}"
            );
        }
    }
    let post = r#"{"resource":{},"request":{"method":"POST","url":"Patient"}}"#;
    assert_eq!(
        judged(&own, "/fhir", &[post, &put("Patient/1", "")].join(",")),
        Some(Reason::WriteBack)
    );
    assert_eq!(judged(&own, "/fhir", post), None);
    assert_eq!(judged(&own, "/fhir", &put("Binary/1", "")), None);
    let creates = put("Patient/1", r#","ifNoneMatch":"*""#);
    assert_eq!(judged(&own, "/fhir", &creates), Some(Reason::WriteBack));
    assert_eq!(judged(&of(json!({"write_back": "create"})), "/fhir", &creates), None);
    assert_eq!(
        judged(&of(json!({"write_back": "allow"})), "/fhir", &put("Patient/1", "")),
        None
    );
    for unclear in [
        "7",
        r#"{"request":{"url":"Patient/1"}}"#,
        r#"{"request":{"method":"PUT"}}"#,
        r#"{"request":{"method":"PUT","method":"GET"}}"#,
    ] {
        assert!(
            matches!(judged(&own, "/fhir", unclear), Some(Reason::UnclearRequest(_))),
            "{unclear}"
        );
    }
    // What can't be read is not taken for harmless.
    let xml = [("content-type", "application/fhir+xml")];
    let sent = refused(&own, "POST", "/fhir", &xml, Some("<Bundle/>"));
    assert!(matches!(sent, Some(Reason::UnclearRequest(_))));
    let coded = [FHIR[0], ("content-encoding", "gzip")];
    assert_eq!(
        refused(&own, "POST", "/fhir", &coded, None),
        Some(Reason::UnclearRequest("content_encoding"))
    );
    // Without its body it waits; a search, an operation, and what is no FHIR does not.
    for (target, kind, waits) in [
        ("/fhir", FHIR[0].1, true),
        ("/fhir/Patient", FHIR[0].1, false),
        ("/fhir/$match", FHIR[0].1, false),
        ("/orders", "application/json", true),
        ("/fhir", "text/plain", false),
    ] {
        let mut sent = head(target, &[("content-type", kind)]);
        sent.set(":method", "POST");
        let opening = open::<ALL>(&own, sent, &RequestFacts::default()).opening;
        assert_eq!(matches!(opening.verdict, Verdict::AwaitBody), waits, "{target} {kind}");
    }
}
