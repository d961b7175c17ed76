//! What the chain makes of SMART's reading: bodies that are awaited, searches that are narrowed, responses that are proven; as suite and module by module.

use super::oauth_tests::{NOW, policy, token};
use super::tests::head;
use super::*;
use crate::head::ResponseHead;
use serde_json::{Value as Json, json};

fn smart(more: Json) -> Rc<Compiled> {
    policy(json!({"require": {"smart": "auto"}}), json!({"policies": {"p": more}}))
}

fn facts(body: Option<&str>, handover: Option<String>) -> RequestFacts {
    RequestFacts {
        now: Timestamp(NOW * 1_000_000_000),
        body: body.map(|body| body.as_bytes().to_vec()),
        handover: handover.map(String::into_bytes),
        ..RequestFacts::default()
    }
}

fn request(method: &str, target: &str, claims: Json, more: &[(&str, &str)]) -> RequestHead {
    let bearer = token(claims);
    let lines: Vec<_> = [("authorization", bearer.as_str())]
        .into_iter()
        .chain(more.iter().copied())
        .collect();
    let mut head = head(target, &lines);
    head.set(":method", method);
    head
}

fn open<const FILTERS: u8>(
    compiled: &Rc<Compiled>,
    head: &mut RequestHead,
    facts: &RequestFacts,
) -> (Stream<FILTERS>, Opening) {
    let mut stream = Stream::new(Rc::clone(compiled));
    let opening = stream.request_head(head, facts, &mut Vault::default());
    (stream, opening)
}

fn opened<const FILTERS: u8>(compiled: &Rc<Compiled>, head: &mut RequestHead, facts: &RequestFacts) -> Opening {
    open::<FILTERS>(compiled, head, facts).1
}

fn told(opening: &Opening) -> String {
    match &opening.verdict {
        Verdict::Continue(_) => "continue".to_owned(),
        Verdict::AwaitBody => "await".to_owned(),
        Verdict::Deny(denial) => format!(
            "{} {}",
            denial.reason.code(),
            denial.reason.detail().unwrap_or("-".into())
        ),
        Verdict::Hold(_) | Verdict::Reply(_) => "other".to_owned(),
    }
}

fn content_type(target: &str) -> (&'static str, &'static str) {
    if target.ends_with("_search") {
        ("content-type", "application/x-www-form-urlencoded")
    } else {
        ("content-type", "application/fhir+json")
    }
}

/// The verdict of the suite, and the path that goes on.
fn suite(compiled: &Rc<Compiled>, method: &str, target: &str, claims: Json, body: Option<&str>) -> (String, String) {
    let mut head = request(method, target, claims, &[content_type(target)]);
    let (_, opening) = open::<ALL>(compiled, &mut head, &facts(body, None));
    (told(&opening), String::from_utf8_lossy(head.target()).into_owned())
}

/// The same by four modules, one after another.
fn chain(compiled: &Rc<Compiled>, method: &str, target: &str, claims: Json, body: Option<&str>) -> (String, String) {
    let mut head = request(method, target, claims, &[content_type(target)]);
    let mut handover = None;
    let modules = [
        opened::<CACHE_CONTROL>,
        opened::<OAUTH_SCOPE>,
        opened::<PHI_URL>,
        opened::<RESPONSE_TRIM>,
    ];
    let mut verdict = String::new();
    for module in modules {
        let opening = module(compiled, &mut head, &facts(body, handover.take()));
        verdict = told(&opening);
        if verdict != "continue" {
            break;
        }
        handover = opening.handover;
    }
    (verdict, String::from_utf8_lossy(head.target()).into_owned())
}

fn both(compiled: &Rc<Compiled>, method: &str, target: &str, claims: &Json, body: Option<&str>) -> (String, String) {
    let one = suite(compiled, method, target, claims.clone(), body);
    assert_eq!(
        one,
        chain(compiled, method, target, claims.clone(), body),
        "{method} {target}"
    );
    one
}

fn patient(scope: &str) -> Json {
    json!({"scope": scope, "patient": "pat-1"})
}

#[test]
fn a_search_is_narrowed_behind_what_phi_url_judges() {
    let compiled = smart(
        json!({"phi_url": {"preset": "fhir-r4", "on_query": "tokenize", "query": {"code": "strip", "_count": "pass"}}}),
    );
    let claims = patient("patient/Observation.rs?category=laboratory");
    let (verdict, path) = both(&compiled, "GET", "/fhir/Observation?code=1&_count=5", &claims, None);
    assert_eq!(
        (verdict.as_str(), path.as_str()),
        (
            "continue",
            "/fhir/Observation?_count=5&patient=pat-1&category=laboratory"
        )
    );
    let (_, path) = both(&compiled, "GET", "/fhir/Observation?code=1", &claims, None);
    assert_eq!(path, "/fhir/Observation?patient=pat-1&category=laboratory");
    let (_, path) = both(&compiled, "GET", "/fhir/Observation?", &claims, None);
    assert_eq!(path, "/fhir/Observation?patient=pat-1&category=laboratory");
    // What the client sends itself is still the client's.
    let (_, path) = both(
        &compiled,
        "GET",
        "/fhir/Observation?patient=pat-1&category=laboratory",
        &claims,
        None,
    );
    assert!(path.starts_with("/fhir/Observation?patient=ps2-"), "{path}");
}

#[test]
fn the_log_safe_path_has_nothing_of_what_was_appended_and_the_upstream_is_told_to_be_strict() {
    let compiled = smart(json!({}));
    let mut head = request(
        "GET",
        "/fhir/Observation?_count=5",
        patient("patient/Observation.rs"),
        &[("prefer", "handling=lenient, return=minimal")],
    );
    let (stream, opening) = open::<ALL>(&compiled, &mut head, &facts(None, None));
    assert!(opening.log_safe.is_some_and(|path| !path.contains("pat-1")));
    assert_eq!(head.first("prefer"), Some(&b"return=minimal, handling=strict"[..]));
    let audit = stream.audit().to_json();
    assert!(
        audit.contains("\"interaction\":\"search-type\",\"resource\":\"Observation\"") && !audit.contains("pat-1"),
        "{audit}"
    );
}

#[test]
fn the_record_of_a_denial_says_what_the_request_does() {
    let compiled = smart(json!({}));
    let audit = |target: &str, claims: Json| {
        let mut head = request("GET", target, claims, &[]);
        let (stream, opening) = open::<ALL>(&compiled, &mut head, &facts(None, None));
        assert!(matches!(opening.verdict, Verdict::Deny(_)));
        stream.audit().to_json()
    };
    let observation = "\"interaction\":\"read\",\"resource\":\"Observation\"";
    assert!(audit("/fhir/Observation/1", json!({"scope": "user/Patient.rs"})).contains(observation));
    assert!(
        audit("/fhir/Patient/2", patient("patient/Patient.rs"))
            .contains("\"interaction\":\"read\",\"resource\":\"Patient\"")
    );
    assert!(!audit("/fhir/Observation/1", json!({"aud": "other"})).contains("interaction"));
    assert!(!audit("/fhir/Observation/1/2", json!({})).contains("interaction"));
}

#[test]
fn what_a_request_does_is_read_from_its_body() {
    let compiled = smart(json!({}));
    let claims = json!({"scope": "user/Patient.rs user/Observation.c"});
    let bundle = |url: &str| {
        json!({"resourceType": "Bundle", "type": "batch", "entry": [
            {"request": {"method": "GET", "url": "Patient/1"}}, {"request": {"method": "GET", "url": url}},
        ]})
        .to_string()
    };
    assert_eq!(both(&compiled, "POST", "/fhir", &claims, None).0, "await");
    assert_eq!(
        both(&compiled, "POST", "/fhir", &claims, Some(&bundle("Patient?name=x"))).0,
        "continue"
    );
    assert_eq!(
        both(&compiled, "POST", "/fhir", &claims, Some(&bundle("Observation/1"))).0,
        "insufficient_scope -"
    );
    assert!(
        both(&compiled, "POST", "/fhir", &claims, Some("{"))
            .0
            .starts_with("unclear_request ")
    );
    assert_eq!(
        both(&compiled, "POST", "/fhir/Patient/_search", &claims, None).0,
        "await"
    );
    assert_eq!(
        both(&compiled, "POST", "/fhir/Patient/_search", &claims, Some("name=x")).0,
        "continue"
    );
    assert_eq!(
        both(
            &compiled,
            "POST",
            "/fhir/Patient/_search",
            &claims,
            Some("_revinclude=Observation:patient")
        )
        .0,
        "insufficient_scope -"
    );
    // Who has no token, and who has not enough of one, is not waited for.
    assert_eq!(
        both(&compiled, "POST", "/fhir", &json!({"aud": "other"}), None).0,
        "invalid_token audience"
    );
    assert_eq!(
        both(&compiled, "GET", "/fhir/Observation/1", &claims, None).0,
        "insufficient_scope -"
    );
}

#[test]
fn no_glass_breaks_for_a_batch() {
    let compiled = policy(
        json!({"require": {"smart": "auto"}, "break_glass": {"header": "x-glass", "reasons": ["cardiac"], "roles": ["emergency"]}}),
        json!({"issuers": {"e": {"claims": {"purpose": "purpose"}}}}),
    );
    let judged = |method: &str, target: &str, body: &str| {
        let claims = json!({"scope": "openid", "roles": ["emergency"], "purpose": "ETREAT"});
        let mut head = request(method, target, claims, &[("x-glass", "cardiac"), content_type(target)]);
        told(&opened::<ALL>(&compiled, &mut head, &facts(Some(body), None)))
    };
    let bundle = |kind: &str, url: &str| {
        json!({"resourceType": "Bundle", "type": kind, "entry": [{"request": {"method": "GET", "url": url}}]})
            .to_string()
    };
    for (kind, url) in [
        ("batch", "$export"),
        ("batch", "Patient/1"),
        ("transaction", "Group/1/$export"),
    ] {
        assert_eq!(
            judged("POST", "/fhir", &bundle(kind, url)),
            "not_permitted break_glass_batch",
            "{kind} {url}"
        );
    }
    assert_eq!(judged("GET", "/fhir/Patient/1", ""), "continue");
    assert_eq!(judged("POST", "/fhir/Patient/_search", "name=x"), "continue");
    assert_eq!(judged("POST", "/fhir/Observation/1/$meta-add", ""), "continue");
}

#[test]
fn a_search_by_post_is_narrowed_in_its_form_too() {
    let compiled = smart(json!({}));
    let form = |target: &str, body: &str, more: &[(&str, &str)]| {
        let more: Vec<_> = [content_type("_search")]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
        let mut head = request(
            "POST",
            target,
            patient("patient/Observation.rs?category=laboratory"),
            &more,
        );
        let opening = opened::<ALL>(&compiled, &mut head, &facts(Some(body), None));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let length = head.first("content-length").map(text);
        (
            told(&opening),
            text(head.target()),
            opening.body.as_deref().map(text),
            length,
        )
    };
    let search = "/fhir/Observation/_search";
    let narrowed = |path: &str, body: &str, length: Option<&str>| {
        (
            "continue".to_owned(),
            format!("{search}{path}"),
            Some(body.to_owned()),
            length.map(str::to_owned),
        )
    };
    let all = "patient=pat-1&category=laboratory";
    assert_eq!(
        form(search, "code=1", &[]),
        narrowed(&format!("?{all}"), &format!("code=1&{all}"), None)
    );
    let long = form(search, "code=1", &[("content-length", "6")]);
    assert_eq!(long, narrowed(&format!("?{all}"), &format!("code=1&{all}"), Some("40")));
    // What the client wrote into the URL is not in the form.
    assert_eq!(
        form(&format!("{search}?{all}"), "code=1", &[]),
        narrowed(&format!("?{all}"), &format!("code=1&{all}"), None)
    );
    let enough = form(search, all, &[("content-length", "33")]);
    assert_eq!(
        enough,
        ("continue".to_owned(), search.to_owned(), None, Some("33".to_owned()))
    );
    // Where there is no form, none can be made.
    assert_eq!(
        form(&format!("{search}?{all}"), "", &[]).0,
        "not_permitted search_not_bound"
    );
}

#[test]
fn shadow_leaves_forms_as_they_are() {
    let mut head = request(
        "POST",
        "/fhir/Observation/_search",
        patient("patient/Observation.rs"),
        &[content_type("_search")],
    );
    let compiled = policy(json!({"require": {"smart": "auto"}, "mode": "shadow"}), json!({}));
    let opening = opened::<ALL>(&compiled, &mut head, &facts(Some("code=1"), None));
    assert_eq!((told(&opening).as_str(), opening.body), ("continue", None));
}

#[test]
fn a_body_that_cannot_be_had_is_denied() {
    let compiled = smart(json!({}));
    let of = |more: &[(&str, &str)]| {
        let more: Vec<_> = [content_type("/fhir")]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
        let mut head = request("POST", "/fhir", json!({}), &more);
        told(&open::<ALL>(&compiled, &mut head, &facts(None, None)).1)
    };
    assert_eq!(of(&[("content-length", "1048576")]), "await");
    assert_eq!(of(&[("content-length", "1048577")]), "body_too_large -");
    assert_eq!(of(&[("content-encoding", "gzip")]), "unclear_request content_encoding");
    let hasty = policy(
        json!({"require": {"smart": "auto"}}),
        json!({"host": {"allow_on_headers_stop_iteration": false}}),
    );
    let mut head = request("POST", "/fhir", json!({}), &[content_type("/fhir")]);
    assert_eq!(
        told(&open::<ALL>(&hasty, &mut head, &facts(None, None)).1),
        "unclear_request body_not_awaited"
    );
}

#[test]
fn what_a_patient_creates_is_the_patients_own() {
    let compiled = smart(json!({}));
    let claims = patient("patient/Observation.c");
    let observation = |id: &str| {
        json!({"resourceType": "Observation", "subject": {"reference": format!("Patient/{id}")}}).to_string()
    };
    assert_eq!(both(&compiled, "POST", "/fhir/Observation", &claims, None).0, "await");
    assert_eq!(
        both(
            &compiled,
            "POST",
            "/fhir/Observation",
            &claims,
            Some(&observation("pat-1"))
        )
        .0,
        "continue"
    );
    assert_eq!(
        both(
            &compiled,
            "POST",
            "/fhir/Observation",
            &claims,
            Some(&observation("pat-2"))
        )
        .0,
        "not_permitted other_patient"
    );
    assert_eq!(
        both(
            &compiled,
            "GET",
            "/fhir/Patient/pat-2",
            &patient("patient/Patient.rs"),
            None
        )
        .0,
        "not_permitted other_patient"
    );
    assert_eq!(
        both(
            &compiled,
            "HEAD",
            "/fhir/Observation/1",
            &patient("patient/Observation.rs"),
            None
        )
        .0,
        "not_permitted head"
    );
}

#[test]
fn an_upstream_that_vouches_gets_narrowed_searches_and_judged_batches() {
    let compiled = policy(
        json!({"require": {"smart": "auto"}, "smart": {"unproven": "upstream"}}),
        json!({}),
    );
    let claims = patient("patient/Observation.cruds patient/Patient.rs");
    let bundle = |urls: [&str; 2]| {
        let entry = urls.map(|url| json!({"request": {"method": "GET", "url": url}}));
        json!({"resourceType": "Bundle", "type": "batch", "entry": entry}).to_string()
    };
    assert_eq!(
        both(&compiled, "PUT", "/fhir/Observation/1", &claims, None).0,
        "continue"
    );
    let (_, path) = both(&compiled, "GET", "/fhir/Observation", &claims, None);
    assert_eq!(path, "/fhir/Observation?patient=pat-1");
    let other = json!({"resourceType": "Observation", "subject": {"reference": "Patient/pat-2"}}).to_string();
    assert_eq!(
        both(&compiled, "POST", "/fhir/Observation", &claims, Some(&other)).0,
        "not_permitted other_patient"
    );
    let of = |urls| both(&compiled, "POST", "/fhir", &claims, Some(&bundle(urls))).0;
    assert_eq!(of(["Observation/1", "Patient/pat-1"]), "continue");
    assert_eq!(of(["Observation/1", "Patient/pat-2"]), "not_permitted other_patient");
    assert_eq!(of(["Observation/1", "Condition/1"]), "insufficient_scope -");
    let nobody = json!({"scope": "patient/Observation.rs"});
    assert_eq!(
        both(&compiled, "GET", "/fhir/Observation/1", &nobody, None).0,
        "not_permitted no_patient"
    );
    // The response is the upstream's to answer for.
    let mut head = request("GET", "/fhir/Observation/1", claims, &[]);
    let (stream, _) = open::<ALL>(&compiled, &mut head, &facts(None, None));
    assert!(!stream.wants_response());
}

/// What a policy in shadow makes of a request: verdict, what was counted, and the head that goes on.
fn in_shadow(more: Json, head: &mut RequestHead, facts: &RequestFacts) -> (Stream<ALL>, String, Vec<Counter>) {
    let mut overlay = json!({"policies": {"p": {}}});
    if let (Some(overlay), Json::Object(more)) = (overlay.as_object_mut(), more) {
        overlay.extend(more);
    }
    let section = json!({"require": {"smart": "auto"}, "mode": "shadow", "identity": {"x-who": "sub"}});
    head.take_edits();
    let (mut stream, opening) = open::<ALL>(&policy(section, overlay), head, facts);
    let counters = stream.take_counters();
    (stream, told(&opening), counters)
}

#[test]
fn shadow_narrows_nothing_and_proves_nothing() {
    let claims = || patient("patient/Observation.rs?category=laboratory patient/Condition.rs");
    for target in ["/fhir/Observation?_count=5", "/fhir/Condition/1"] {
        let mut head = request(
            "GET",
            target,
            claims(),
            &[
                ("prefer", "handling=lenient"),
                ("range", "bytes=0-1"),
                ("x-who", "forged"),
            ],
        );
        let (stream, verdict, counters) = in_shadow(json!({}), &mut head, &facts(None, None));
        assert_eq!((verdict.as_str(), counters.len()), ("continue", 0), "{target}");
        assert_eq!(head.target(), target.as_bytes());
        assert_eq!(head.first("prefer"), Some(&b"handling=lenient"[..]));
        assert!(head.has("range") && !head.has("accept-encoding"));
        assert_eq!(
            head.first("x-who"),
            Some(&b"s-1"[..]),
            "good and allowed: it gets its headers"
        );
        assert!(!stream.wants_response() && stream.bound.is_none());
    }
    let mut head = request("GET", "/fhir/Patient/pat-2", claims(), &[("x-who", "forged")]);
    let (_, verdict, counters) = in_shadow(json!({}), &mut head, &facts(None, None));
    assert_eq!(
        (verdict.as_str(), counters),
        ("continue", vec![Counter::ShadowDenied("insufficient_scope")])
    );
    assert!(!head.has("x-who"), "reserved names are removed all the same");
    // What would be denied since nothing may wait is recorded so.
    let hasty = json!({"host": {"allow_on_headers_stop_iteration": false}});
    let mut head = request("GET", "/fhir/Condition/1", claims(), &[]);
    let (_, verdict, counters) = in_shadow(hasty, &mut head, &facts(None, None));
    assert_eq!(
        (verdict.as_str(), counters),
        ("continue", vec![Counter::ShadowDenied("not_permitted")])
    );
}

#[test]
fn shadow_lets_bodies_pass_that_it_cannot_have() {
    let of = |more: &[(&str, &str)], overlay: Json, facts: &RequestFacts| {
        let more: Vec<_> = [content_type("/fhir")]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
        let mut head = request("POST", "/fhir", json!({}), &more);
        let (stream, verdict, counters) = in_shadow(overlay, &mut head, facts);
        (verdict, counters, stream.patience())
    };
    let unseen = facts(None, None);
    let waits = |limit| ("await".to_owned(), vec![], limit);
    let denied = |code, limit| ("continue".to_owned(), vec![Counter::ShadowDenied(code)], limit);
    assert_eq!(
        of(&[("content-length", "1048576")], json!({}), &unseen),
        waits(MAX_REQUEST_BODY)
    );
    // Envoy must not come to answer for us.
    assert_eq!(of(&[], json!({}), &unseen), waits(MAX_BODY_IN_SHADOW));
    assert_eq!(
        of(&[("content-length", "1048577")], json!({}), &unseen),
        denied("body_too_large", MAX_BODY_IN_SHADOW)
    );
    assert_eq!(
        of(&[("content-encoding", "gzip")], json!({}), &unseen),
        denied("unclear_request", MAX_BODY_IN_SHADOW)
    );
    let hasty = json!({"host": {"allow_on_headers_stop_iteration": false}});
    assert_eq!(of(&[], hasty, &unseen), denied("unclear_request", MAX_BODY_IN_SHADOW));
    let grown = || RequestFacts {
        body_too_large: true,
        ..facts(None, None)
    };
    assert_eq!(
        of(&[], json!({}), &grown()),
        denied("body_too_large", MAX_BODY_IN_SHADOW)
    );
    assert_eq!(
        of(&[], json!({}), &facts(Some("{"), None)).1,
        [Counter::ShadowDenied("unclear_request")]
    );
    // The same grown body is refused by a policy that counts.
    let mut head = request("POST", "/fhir", json!({}), &[content_type("/fhir")]);
    let (stream, opening) = open::<ALL>(&smart(json!({})), &mut head, &grown());
    assert_eq!(
        (told(&opening).as_str(), stream.patience()),
        ("body_too_large -", usize::MAX)
    );
    let mut head = request("POST", "/fhir", json!({}), &[content_type("/fhir")]);
    let (stream, _) = open::<ALL>(&smart(json!({})), &mut head, &facts(None, None));
    assert_eq!(stream.patience(), MAX_REQUEST_BODY);
}

/// The verdict on the body of a read by id, after the request has passed as suite.
fn proven(section: Json, body: &str, status: &str, content_type: &str) -> String {
    let compiled = smart(section);
    let mut head = request(
        "GET",
        "/fhir/Observation/1",
        patient("patient/Observation.rs"),
        &[("range", "bytes=0-1")],
    );
    let (mut stream, opening) = open::<ALL>(&compiled, &mut head, &facts(None, None));
    assert_eq!(told(&opening), "continue");
    assert!(!head.has("range") && head.first("accept-encoding") == Some(b"identity"));
    let lines = [(":status", status), ("content-type", content_type)];
    let mut response = ResponseHead::new(lines.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())));
    match stream.response_head(&mut response, false, false) {
        Verdict::Hold(_) => {}
        Verdict::Continue(_) => return "continue".to_owned(),
        Verdict::Deny(denial) => return denial.reason.code().to_owned(),
        _ => panic!(),
    }
    assert!(stream.waits(1 << 20, false), "all of it is awaited");
    match stream.response_body(body.as_bytes(), true) {
        BodyVerdict::Pass => "pass".to_owned(),
        BodyVerdict::Replace(out) => String::from_utf8_lossy(&out).into_owned(),
        BodyVerdict::Deny(denial) => format!(
            "{} {}",
            denial.reason.code(),
            denial.reason.detail().unwrap_or("-".into())
        ),
        BodyVerdict::Hold | BodyVerdict::Reset(_) => panic!(),
    }
}

#[test]
fn a_response_to_a_patient_is_shown_to_be_the_patients() {
    let own = r#"{"resourceType":"Observation","note":"x","subject":{"reference":"Patient/pat-1"}}"#;
    let other = r#"{"resourceType":"Observation","note":"x","subject":{"reference":"Patient/pat-2"}}"#;
    let fhir = "application/fhir+json";
    assert_eq!(proven(json!({}), own, "200", fhir), "pass");
    assert_eq!(proven(json!({}), other, "200", fhir), "not_permitted other_patient");
    assert!(proven(json!({}), "{", "200", fhir).starts_with("uninspectable_response "));
    assert_eq!(
        proven(json!({}), own, "200", "application/fhir+xml"),
        "uninspectable_response"
    );
    // What comes with an error or a redirect may be another's too.
    let outcome = r#"{"resourceType":"OperationOutcome"}"#;
    assert_eq!(proven(json!({}), outcome, "404", fhir), "pass");
    assert_eq!(proven(json!({}), other, "404", fhir), "not_permitted other_patient");
    assert_eq!(proven(json!({}), other, "300", fhir), "not_permitted other_patient");
    assert_eq!(proven(json!({}), "{}", "500", fhir), "error_body_replaced -");
    assert_eq!(proven(json!({}), "<p/>", "503", "text/html"), "error_body_replaced");
    // It is shown before it is trimmed.
    let trims = json!({"response_trim": {"views": [{"deny": ["$.subject", "$.note"]}]}});
    assert_eq!(
        proven(trims.clone(), own, "200", fhir),
        r#"{"resourceType":"Observation"}"#
    );
    assert_eq!(proven(trims, other, "200", fhir), "not_permitted other_patient");
}

#[test]
fn what_modules_hand_over_of_a_patient_takes_the_key_to_guess() {
    let bound = |key: &str, keys: Json| {
        let text = json!({"version": "1", "keys": keys}).to_string();
        let node = serde_json::from_str(&text).unwrap();
        let compiled = Compiled::new::<ALL>(&node, &|_| Some(key.to_owned()), &mut Default::default()).unwrap();
        (
            Bound::to("pat-1", &compiled).0,
            compiled
                .pseudonyms
                .map(|key| key.pseudonym(b"pat-1").as_str().to_owned()),
        )
    };
    let keys = || json!({"pseudonyms": {"env": "K"}});
    let (one, plain) = bound(&"A".repeat(44), keys());
    let (two, _) = bound(&"B".repeat(44), keys());
    assert_ne!(one, two);
    assert_ne!(Some(one), plain, "it can't be linked to the id's pseudonym");
    assert_eq!(bound("", json!({})).0, bound("", json!({})).0);
}

#[test]
fn in_a_chain_it_is_shown_once_and_by_whoever_sees_it_first() {
    let trims = json!({"response_trim": {"views": [{"deny": ["$.subject"]}]}});
    for (section, trimmer_proves) in [(trims, true), (json!({}), false)] {
        let compiled = smart(section);
        let mut head = request("GET", "/fhir/Observation/1", patient("patient/Observation.rs"), &[]);
        let (mut oauth, opening) = open::<OAUTH_SCOPE>(&compiled, &mut head, &facts(None, None));
        let handover = opening.handover.unwrap();
        assert!(!handover.contains("pat-1"));
        let (mut trim, _) = open::<RESPONSE_TRIM>(&compiled, &mut head, &facts(None, Some(handover)));
        assert_eq!(trim.proves(), trimmer_proves);
        assert!(oauth.may_be_proven_elsewhere() && oauth.wants_response());
        let response = || {
            ResponseHead::new([
                (":status".to_owned(), b"200".to_vec()),
                ("content-type".to_owned(), b"application/json".to_vec()),
            ])
        };
        if trimmer_proves {
            assert!(matches!(
                trim.response_head(&mut response(), false, false),
                Verdict::Hold(_)
            ));
            let other = br#"{"resourceType":"Observation","subject":{"reference":"Patient/pat-2"}}"#;
            assert!(matches!(trim.response_body(other, true), BodyVerdict::Deny(_)));
            assert!(matches!(
                oauth.response_head(&mut response(), false, true),
                Verdict::Continue(_)
            ));
        } else {
            assert!(matches!(
                oauth.response_head(&mut response(), false, false),
                Verdict::Hold(_)
            ));
        }
    }
}

/// The patient's own record all the same: without a view nothing of it passes, and no condition asks whether it is there.
#[test]
fn what_is_withheld_is_not_let_go_by_a_proof() {
    let own = br#"{"resourceType":"Observation","subject":{"reference":"Patient/pat-1"}}"#;
    for (trim, passes) in [
        (json!({"views": [{"status": ["4xx"], "deny": ["$.a"]}]}), false),
        (json!({"views": [{"deny": ["$.a"]}], "mode": "observe"}), true),
    ] {
        let compiled = smart(json!({"response_trim": trim}));
        let conditions = [("if-none-match", "W/\"1\""), ("if-modified-since", "x")];
        let mut head = request(
            "GET",
            "/fhir/Observation/1",
            patient("patient/Observation.rs"),
            &conditions,
        );
        let (mut stream, opening) = open::<ALL>(&compiled, &mut head, &facts(None, None));
        assert!(matches!(opening.verdict, Verdict::Continue(_)));
        assert!(conditions.iter().all(|(name, _)| !head.has(name)));
        let lines = [(":status", "302"), ("content-type", "application/json")];
        let mut response = ResponseHead::new(lines.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())));
        stream.response_head(&mut response, false, false);
        assert_eq!(stream.drops_trailers(), !passes);
        match stream.response_body(own, true) {
            BodyVerdict::Pass => assert!(passes),
            BodyVerdict::Replace(out) => assert!(out.is_empty() && !passes),
            _ => panic!("its head went out"),
        }
    }
}
