//! What is read, and what is allowed: mostly as tables of method, URL, body and grants with what comes of them in short.

use proptest::prelude::*;

use super::*;
use crate::scope::ScopeSet;

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/fhir+json";

/// A request in short: `GET /Patient/1`, with headers as `name: value` lines and a body after an empty line.
fn request(text: &str, base: Option<&str>) -> Result<Request, &'static str> {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let (method, url) = lines.next().unwrap().split_once(' ').unwrap();
    let mut headers = vec![(":method".to_owned(), method.as_bytes().to_vec())];
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        headers.push((name.to_owned(), value.as_bytes().to_vec()));
    }
    let target = Target::parse(url.as_bytes()).map_err(|ambiguity| ambiguity.code())?;
    let base = base.map(|base| Base::parse(base).unwrap());
    match read(&RequestHead::new(headers), &target, base.as_ref()).map_err(Unclear::code)? {
        Reading::Request(request) => Ok(request),
        Reading::NeedsBody(pending) => pending.with_body(body.as_bytes()).map_err(Unclear::code),
    }
}

/// The scopes that a request needs, in the context `user`; or why it is unclear.
fn needs(text: &str) -> String {
    needs_under(text, None)
}

fn needs_under(text: &str, base: Option<&str>) -> String {
    let request = match request(text, base) {
        Ok(request) => request,
        Err(code) => return code.to_owned(),
    };
    let mut all: Vec<String> = Vec::new();
    for interaction in request.interactions {
        let one = Request {
            interactions: vec![interaction],
            form: None,
            name: "",
        };
        match judge(&one, &ScopeSet::default(), Contexts::USER, None, false) {
            Ok(_) => {}
            Err(Lack::Scope(scopes)) => all.push(scopes.replace("user/", "")),
            Err(lack) => all.push(lack.code().to_owned()),
        }
    }
    format!("{}: {}", request.name, all.join(" | "))
        .trim_end_matches(": ")
        .to_owned()
}

/// What comes of a request under these grants for patient 7, in short.
fn verdict(held: &str, text: &str) -> String {
    verdict_of(held, text, false)
}

fn verdict_of(held: &str, text: &str, upstream_vouches: bool) -> String {
    match request(text, None) {
        Ok(request) => outcome(judge(
            &request,
            &ScopeSet::from_text(held).unwrap(),
            Contexts::ALL,
            Some("7"),
            upstream_vouches,
        )),
        Err(code) => format!("unclear {code}"),
    }
}

fn outcome(judged: Result<Judged, Lack>) -> String {
    match judged {
        Ok(judged) => {
            let mut text = "ok".to_owned();
            for (name, value) in &judged.append {
                text.push_str(&format!(" +{name}={value}"));
            }
            for (name, value) in &judged.append_to_form {
                text.push_str(&format!(" form+{name}={value}"));
            }
            if judged.strict_search {
                text.push_str(" strict");
            }
            if let Some(resource) = judged.check_request {
                text.push_str(&format!(" request:{resource}"));
            }
            if judged.check_response {
                text.push_str(" response");
            }
            text
        }
        Err(lack) => lack.code().to_owned(),
    }
}

fn all_need(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(needs(text), *expected, "{text}");
    }
}

fn all_are(held: &str, cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(verdict(held, text), *expected, "{held} / {text}");
    }
}

#[test]
fn interactions_need_their_permission() {
    all_need(&[
        ("GET /Patient/1", "read: Patient.r"),
        ("HEAD /Patient/1", "read: Patient.r"),
        ("GET /Patient/1/_history/2", "vread: Patient.r"),
        ("GET /Patient/1/_history", "history-instance: Patient.r"),
        ("GET /Patient/_history", "history-type: Patient.s"),
        ("GET /_history", "history-system: *.s"),
        ("PUT /Patient/1", "update: Patient.u"),
        ("PATCH /Patient/1", "patch: Patient.u"),
        ("DELETE /Patient/1", "delete: Patient.d"),
        ("POST /Patient", "create: Patient.c"),
        ("GET /Patient", "search-type: Patient.s"),
        ("GET /Patient?name=a", "search-type: Patient.s"),
        ("HEAD /Patient?name=a", "search-type: Patient.s"),
        ("GET /Patient/_search?name=a", "search-type: Patient.s"),
        ("GET /?name=a", "search-system: *.s"),
        ("GET /?_type=Patient", "search-system: Patient.s"),
        ("GET /metadata", "capabilities"),
        ("GET /.well-known/smart-configuration", "capabilities"),
        ("GET /Patient/1/Observation", "search-compartment: Observation.s"),
        ("GET /Patient/1/*", "search-compartment: *.s"),
        (
            "GET /Encounter/1/Observation?code=x",
            "search-compartment: Observation.s",
        ),
    ]);
}

#[test]
fn conditional_interactions_need_search_besides() {
    all_need(&[
        ("PUT /Patient?identifier=x", "update: Patient.us"),
        ("PATCH /Patient?identifier=x", "patch: Patient.us"),
        ("DELETE /Patient?identifier=x", "delete: Patient.ds"),
        ("POST /Patient\nif-none-exist: identifier=x", "create: Patient.cs"),
        (
            "POST /Patient\nif-none-exist: Patient?identifier=x",
            "create: Patient.cs",
        ),
        (
            "POST /Patient\nif-none-exist: organization.name=x",
            "create: Patient.cs Organization.s",
        ),
        ("POST /Patient\nif-none-exist: Observation?identifier=x", "criteria"),
        ("POST /Patient\nif-none-exist: a=1\nif-none-exist: b=2", "criteria"),
        ("POST /Patient\nif-none-exist: ", "criteria"),
        ("PUT /Patient?organization.name=x", "update: Patient.us Organization.s"),
        ("PUT /Patient", "interaction"),
        ("DELETE /Patient", "interaction"),
        ("DELETE /Patient/1?_cascade=delete", "delete: Patient.d *.d"),
        ("DELETE /Patient/1\nx-cascade: delete", "delete: Patient.d *.d"),
        ("DELETE /Patient?identifier=x&_expunge=true", "delete: Patient.ds *.d"),
    ]);
}

#[test]
fn what_is_no_interaction_is_refused() {
    all_need(&[
        ("OPTIONS /Patient", "method"),
        ("get /Patient", "method"),
        ("TRACE /Patient", "method"),
        ("QUERY /Patient", "method"),
        ("POST /Patient/1", "interaction"),
        ("PUT /", "interaction"),
        ("DELETE /?_id=1", "interaction"),
        ("PUT /Patient/_search", "interaction"),
        ("DELETE /Patient/1/_history", "path"),
        ("DELETE /Patient/1/_history/2", "path"),
        ("POST /_history", "path"),
        ("POST /metadata", "path"),
        ("GET /metadata/x", "path"),
        ("GET /Patient/1/2", "path"),
        ("GET /Patient/1/_history/2/3", "path"),
        ("GET /Patient/1/_history/2/3/4", "path"),
        ("GET /Observation/1/Patient", "path"),
        ("POST /Patient/1/Observation", "interaction"),
        ("PUT /Patient/1/Observation", "interaction"),
        ("GET /Patient/a_b", "id"),
        ("GET /Patient/{{id}}", "id"),
        ("GET /Patient/urn:uuid:1", "id"),
        ("GET /Patient/é", "id"),
        (
            "GET /Patient/12345678901234567890123456789012345678901234567890123456789012345",
            "id",
        ),
        ("GET /Patient/1/_history/a_b", "id"),
        ("GET /Patient/1?_method=DELETE", "method_override"),
        ("POST /Patient\nx-http-method-override: DELETE", "method_override"),
        ("GET /Patient/1\nx-http-method: DELETE", "method_override"),
        ("POST /?_id=1\ncontent-type: application/json", "parameter_name"),
        ("GET *", "path"),
        ("GET /%2550atient/1", "encoded_twice"),
        ("GET /Patient/%2531", "encoded_twice"),
    ]);
}

#[test]
fn the_base_is_inferred_or_given() {
    all_need(&[
        ("GET /fhir/Patient/1", "read: Patient.r"),
        ("GET /api/FHIR/R4/Patient/1", "read: Patient.r"),
        ("GET /fhir//Patient/1/", "read: Patient.r"),
        ("GET /fhir/./x/../Patient/1", "read: Patient.r"),
        ("GET /fhir/%50atient/1", "read: Patient.r"),
        ("GET /fhir?name=a", "search-system: *.s"),
        ("GET /fhir/metadata", "capabilities"),
        // The first type begins the path: what comes after must be all of it.
        ("GET /Patient/Observation", "read: Patient.r"),
        ("GET /Patient/Observation/1", "path"),
        ("GET /metadata/Patient/1", "path"),
        // What another release, or a lenient server, takes for a type.
        ("GET /fhir/ActorDefinition/1", "unknown_type"),
        ("GET /fhir/patient/1", "unknown_type"),
        ("GET /fhir/PATIENT/1", "unknown_type"),
        ("GET /ActorDefinition/Patient", "unknown_type"),
        ("GET /fhir/_page/1", "unknown_type"),
        ("GET /fhir/Resource/1", "unknown_type"),
    ]);
    for (base, text, expected) in [
        ("/fhir", "GET /fhir/Patient/1", "read: Patient.r"),
        ("/fhir/", "GET /fhir/Patient/1", "read: Patient.r"),
        ("/", "GET /Patient/1", "read: Patient.r"),
        ("/Group/x", "GET /Group/x/Patient/1", "read: Patient.r"),
        ("/fhir", "GET /fhir", "search-system: *.s"),
        ("/fhir", "GET /Patient/1", "base"),
        ("/fhir", "GET /fhirx/Patient/1", "base"),
        ("/fhir", "GET /fhir/x/Patient/1", "path"),
        ("/fhir", "GET /fhir/ActorDefinition/1", "unknown_type"),
        ("/fhir", "GET /fhir/patient/1", "unknown_type"),
        ("/fhir", "GET /fhir/_page", "path"),
        ("/fhir", "GET /fhir/%2e%2e/x/Patient/1", "base"),
        ("/a/b", "GET /a", "base"),
    ] {
        assert_eq!(needs_under(text, Some(base)), expected, "{base} {text}");
    }
    for wrong in [
        "fhir",
        "/fhir?x=1",
        "/fhir/../x",
        "/fh%69r",
        "",
        "http://h/fhir",
        "//fhir",
    ] {
        assert!(Base::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn operations_need_what_they_do() {
    all_need(&[
        ("GET /Patient/1/$everything", "operation: *.rs"),
        ("POST /Patient/1/$everything", "operation: *.rs"),
        ("GET /Patient/$everything", "operation: *.rs"),
        ("GET /Encounter/1/$everything", "operation: *.rs"),
        ("GET /Patient/1/$everything?_type=Observation", "operation: *.rs"),
        ("GET /$export", "operation: *.rs"),
        (
            "GET /Patient/$export?_type=Patient,Observation",
            "operation: Patient.rs Observation.rs",
        ),
        ("GET /Group/1/$export?_type=Observation", "operation: Observation.rs"),
        (
            "GET /$export?_type=Observation&_typeFilter=Observation?patient.name=x",
            "operation: *.rs",
        ),
        (
            "GET /$export?_type=Observation&includeAssociatedData=x",
            "operation: *.rs",
        ),
        ("POST /$export?_type=Observation", "operation: *.rs"),
        ("GET /$export?_type=Observation,Nonsense", "unknown_type"),
        ("GET /ValueSet/$expand?url=x", "operation: ValueSet.rs"),
        ("POST /ValueSet/$expand", "operation: ValueSet.rs"),
        ("GET /ValueSet/1/$expand", "operation: ValueSet.rs"),
        ("GET /CodeSystem/$lookup?code=x", "operation: CodeSystem.rs"),
        ("GET /ConceptMap/1/$translate", "operation: ConceptMap.rs"),
        ("GET /ValueSet/$lookup", "operation: ValueSet.cruds"),
        ("GET /Observation/$lastn?patient=1", "operation: Observation.rs"),
        (
            "GET /DocumentReference/$docref?patient=1",
            "operation: DocumentReference.rs",
        ),
        ("POST /Patient/$match", "operation: Patient.rs"),
        ("POST /Observation/$validate", "operation: Observation.rs"),
        ("GET /Patient/1/$meta", "operation: Patient.rs"),
        ("GET /Patient/1/_history/2/$meta", "operation: Patient.rs"),
        ("GET /$meta", "operation: *.rs"),
        ("GET /$versions", "operation: CapabilityStatement.rs"),
        ("POST /Patient/1/$meta-add", "operation: Patient.cruds"),
        ("GET /Patient/1/$meta-add", "operation_by_get"),
        ("POST /Claim/$submit", "operation: Claim.cruds"),
        ("GET /Claim/$submit", "operation_by_get"),
        ("POST /$process-message", "operation: *.cruds"),
        ("POST /Measure/$submit-data", "operation: *.cruds"),
        ("POST /$closure", "operation: ConceptMap.cruds"),
        ("GET /Composition/1/$document", "operation: *.rs"),
        ("GET /Composition/1/$document?persist=true", "operation_by_get"),
        ("POST /Composition/1/$document", "operation: *.cruds"),
        ("POST /$graphql", "operation: *.cruds"),
        ("GET /$graphql?query=x", "operation: *.rs"),
        ("POST /$reindex", "operation: *.cruds"),
        ("GET /$reindex", "operation: *.cruds"),
        ("GET /Patient/$unheard-of", "operation: Patient.cruds"),
        ("GET /Patient/1/$unheard-of", "operation: Patient.cruds"),
        ("GET /$expand", "operation: *.cruds"),
        ("PUT /Patient/1/$everything", "interaction"),
        ("DELETE /$x", "interaction"),
        ("GET /Patient/1/$", "operation_name"),
        ("GET /Patient/1/$every%20thing", "operation_name"),
        ("GET /Patient/1/$everything/x", "path"),
        ("GET /$everything/x", "path"),
        ("GET /Patient/1/_history/$everything", "id"),
    ]);
}

#[test]
fn searches_need_what_they_read_besides() {
    all_need(&[
        (
            "GET /Observation?_include=Observation:patient",
            "search-type: Observation.s Patient.rs",
        ),
        (
            "GET /Observation?_include=Observation:subject",
            "search-type: Observation.s Device.rs Group.rs Location.rs Patient.rs",
        ),
        (
            "GET /Observation?_include=Observation:subject:Patient",
            "search-type: Observation.s Patient.rs",
        ),
        (
            "GET /Observation?_include:iterate=Patient:organization",
            "search-type: Observation.s Organization.rs",
        ),
        (
            "GET /Observation?_include:recurse=Observation:has-member",
            "search-type: Observation.rs MolecularSequence.rs QuestionnaireResponse.rs",
        ),
        ("GET /Observation?_include=*", "search-type: Observation.s *.rs"),
        (
            "GET /Observation?_include=Observation:*",
            "search-type: Observation.s *.rs",
        ),
        (
            "GET /Observation?_include=Observation:unheard-of",
            "search-type: Observation.s *.rs",
        ),
        (
            "GET /Composition?_include=Composition:subject",
            "search-type: Composition.s *.rs",
        ),
        (
            "GET /Composition?_include=Composition:entry:Observation",
            "search-type: Composition.s Observation.rs",
        ),
        ("GET /Observation?_include=Observation:patient:Group", "include"),
        ("GET /Observation?_include=Observation:subject:Nobody", "include"),
        ("GET /Observation?_include=Observation", "include"),
        ("GET /Observation?_include=observation:patient", "include"),
        ("GET /Observation?_include=Observation:", "include"),
        (
            "GET /Observation?_include=Observation:patient,Observation:encounter",
            "include",
        ),
        ("GET /Observation?_include:logical=Observation:patient", "include"),
        ("GET /Observation?_include=Observation:p%2561tient", "include"),
        (
            "GET /Patient?_revinclude=Observation:subject",
            "search-type: Patient.s Observation.rs",
        ),
        (
            "GET /Patient?_revinclude:iterate=Provenance:target",
            "search-type: Patient.s Provenance.rs",
        ),
        ("GET /Patient?_revinclude=*", "search-type: Patient.s *.rs"),
        (
            "GET /Patient?_has:Observation:patient:code=x",
            "search-type: Patient.s Observation.s",
        ),
        (
            "GET /Patient?_has:Observation:patient:_has:AuditEvent:entity:agent=x",
            "search-type: Patient.s Observation.s AuditEvent.s",
        ),
        (
            "GET /Patient?_has:Observation:patient:encounter.location.name=x",
            "search-type: Patient.s Observation.s Encounter.s EpisodeOfCare.s Location.s",
        ),
        ("GET /Patient?_has:Observation:patient=x", "has"),
        ("GET /Patient?_has:observation:patient:code=x", "has"),
        ("GET /Patient?_has=x", "has"),
        (
            "GET /Observation?patient.name=x",
            "search-type: Observation.s Patient.s",
        ),
        (
            "GET /Observation?subject:Patient.name=x",
            "search-type: Observation.s Patient.s",
        ),
        (
            "GET /Observation?subject:Patient.organization.name=x",
            "search-type: Observation.s Patient.s Organization.s",
        ),
        ("GET /Observation?subject:Nobody.name=x", "chain"),
        ("GET /Observation?unheard-of.name=x", "search-type: Observation.s *.s"),
        ("GET /Composition?subject.name=x", "search-type: Composition.s *.s"),
        (
            "GET /Observation?patient._filter=x",
            "search-type: Observation.s Patient.s *.rs",
        ),
        (
            "GET /Observation?patient._has:Group:member:_id=x",
            "search-type: Observation.s Patient.s Group.s",
        ),
        (
            "GET /Observation?_sort=-date,patient.name",
            "search-type: Observation.s Patient.s",
        ),
        ("GET /Observation?_sort=-date", "search-type: Observation.s"),
        (
            "GET /Observation?_filter=code%20eq%20x",
            "search-type: Observation.s *.rs",
        ),
        ("GET /Observation?_query=x", "search-type: Observation.s *.rs"),
        ("GET /Observation?_list=1", "search-type: Observation.s List.rs"),
        ("GET /Observation?_contained=true", "search-type: Observation.s *.rs"),
        ("GET /Observation?_contained=false", "search-type: Observation.s"),
        ("GET /Observation?_contained:x=false", "search-type: Observation.s *.rs"),
        ("GET /Observation?_getpages=x", "search-type: Observation.s *.s"),
        (
            "GET /Observation?_text=x&_content=y&unheard-of=z&code:in=v&subject:Patient=1",
            "search-type: Observation.s",
        ),
        ("GET /Observation?_INCLUDE=Observation:patient", "parameter_spelling"),
        ("GET /Observation?_Has:Observation:patient:code=x", "parameter_spelling"),
        ("GET /Observation?_incl%2575de=Observation:patient", "encoded_twice"),
        ("GET /Observation?_include[]=Observation:patient", "parameter_name"),
        ("GET /Observation?%20_include=Observation:patient", "parameter_name"),
        (
            "GET /Observation?%EF%BC%BFinclude=Observation:patient",
            "parameter_name",
        ),
        ("GET /Observation?=x", "parameter_name"),
        (
            "GET /?_type=Patient,Observation",
            "search-system: Patient.s Observation.s",
        ),
        (
            "GET /?_type=Patient,Observation&organization.name=x",
            "search-system: Patient.s Observation.s *.s",
        ),
        (
            "GET /?_type=Patient&_type=Observation",
            "search-system: Patient.s Observation.s",
        ),
        ("GET /?_type=Patient&_type:not=Observation", "search-system: *.s"),
        ("GET /?_type:not=Patient", "search-system: *.s"),
        ("GET /?_type=Patient,Nobody", "unknown_type"),
        ("GET /?_type=", "unknown_type"),
        ("GET /?_type=Patie%256et", "encoded_twice"),
        ("GET /?_Type=Patient", "parameter_spelling"),
        ("GET /_history?_type=Patient", "history-system: Patient.s"),
    ]);
    let long = format!("GET /Observation?{}name=x", "partof.".repeat(20));
    assert_eq!(needs(&long), "chain");
    let many = format!("GET /Observation?{}", "_include=Observation:subject&".repeat(300));
    assert_eq!(needs(&many), "too_complex");
}

#[test]
fn a_search_by_post_counts_query_and_form() {
    let form = |query: &str, body: &str| {
        needs(&format!(
            "POST /Observation/_search{query}\ncontent-type: {FORM}\n\n{body}"
        ))
    };
    assert_eq!(form("", "code=x"), "search-type: Observation.s");
    assert_eq!(
        form("?_include=Observation:patient", "code=x"),
        "search-type: Observation.s Patient.rs"
    );
    assert_eq!(
        form("?code=x", "_include=Observation%3Apatient"),
        "search-type: Observation.s Patient.rs"
    );
    assert_eq!(
        form("", "_%69nclude=Observation:patient"),
        "search-type: Observation.s Patient.rs"
    );
    assert_eq!(form("", "_method=DELETE"), "method_override");
    assert_eq!(form("", "a=1;b=2"), "semicolon_separator");
    assert_eq!(form("", "code=%"), "invalid_escape");
    assert_eq!(form("", ""), "search-type: Observation.s");
    let typed = |lines: &str| needs(&format!("POST /_search\n{lines}\n\n_type=Patient"));
    assert_eq!(typed(&format!("content-type: {FORM}")), "search-system: Patient.s");
    assert_eq!(
        typed(&format!("content-type: {FORM};charset=UTF-8")),
        "search-system: Patient.s"
    );
    assert_eq!(typed(&format!("content-type: {FORM};charset=utf-16")), "content_type");
    assert_eq!(
        typed(&format!("content-type: {FORM}\ncontent-type: {FORM}")),
        "content_type"
    );
    assert_eq!(
        typed(&format!("content-type: {FORM}\ncontent-encoding: gzip")),
        "content_encoding"
    );
    assert_eq!(typed(&format!("content-type: {JSON}")), "content_type");
    assert_eq!(typed("accept: x"), "content_type");
    assert_eq!(
        needs(&format!(
            "POST /Patient/1/Observation/_search\ncontent-type: {FORM}\n\ncode=x"
        )),
        "search-compartment: Observation.s"
    );
}

fn bundle(kind: &str, entries: &str) -> String {
    format!(
        "POST /fhir\ncontent-type: {JSON}; charset=utf-8\n\n{{\"resourceType\":\"Bundle\",\"type\":\"{kind}\",\"entry\":[{entries}]}}"
    )
}

fn entry(method: &str, url: &str, more: &str) -> String {
    format!("{{\"request\":{{\"method\":\"{method}\",\"url\":\"{url}\"}}{more}}}")
}

#[test]
fn batches_are_read_by_entry() {
    let entries = [
        entry("GET", "Patient/1", ""),
        entry("GET", "Observation?patient.name=x", ""),
        entry("POST", "Patient", r#","resource":{"resourceType":"Patient"}"#),
        entry("PUT", "Patient/1", r#","resource":{"resourceType":"Patient"}"#),
        entry("PATCH", "Patient?identifier=x", r#","resource":{"resourceType":"Binary"}"#),
        entry("DELETE", "Patient/1", ""),
        entry("GET", "metadata", ""),
        entry("GET", "Patient/1/$everything", ""),
        r#"{"request":{"method":"POST","url":"Patient","ifNoneExist":"identifier=x"},"resource":{"resourceType":"Patient"}}"#.to_owned(),
        entry(
            "POST",
            "Observation",
            r#","resource":{"resourceType":"Observation","subject":{"reference":"Patient?identifier=x"}}"#,
        ),
    ];
    assert_eq!(
        needs(&bundle("transaction", &entries.join(","))),
        "transaction: Patient.r | Observation.s Patient.s | Patient.c | Patient.u | Patient.us | Patient.d | *.rs | Patient.cs | Observation.c Patient.s"
    );
    assert_eq!(needs(&bundle("batch", "")), "batch");
}

#[test]
fn entries_that_two_readers_take_differently_are_refused() {
    for (entry_text, code) in [
        (entry("GET", "/Patient/1", ""), "entry_url"),
        (entry("GET", "http://other/Patient/1", ""), "entry_url"),
        (entry("GET", "//other/Patient/1", ""), "entry_url"),
        (entry("GET", "", ""), "entry_url"),
        (entry("GET", "Practitioner/../Patient/1", ""), "entry_url"),
        (entry("GET", "./Patient/1", ""), "entry_url"),
        (entry("GET", "../Patient/1", ""), "dot_segment"),
        (entry("GET", "Patient//1", ""), "entry_url"),
        (entry("GET", "Patient/1/", ""), "entry_url"),
        (entry("GET", "%50atient/1", ""), "entry_url"),
        (entry("GET", "Patient/1#x", ""), "fragment"),
        (entry("GET", "Patient/{{id}}", ""), "id"),
        (entry("GET", "urn:uuid:1", ""), "entry_url"),
        (entry("GET", "Nobody/1", ""), "unknown_type"),
        (entry("GET", "fhir/Patient/1", ""), "path"),
        (entry("POST", "?_x=1", ""), "parameter_name"),
        (entry("POST", "?_format=json", ""), "nested_batch"),
        (entry("POST", "Patient/_search?name=x", ""), "entry_search"),
        (entry("get", "Patient/1", ""), "method"),
        (entry("POST", "Patient", ""), "bundle_entry"),
        (
            entry("POST", "Patient", r#","resource":{"resourceType":"Observation"}"#),
            "resource_type",
        ),
        (
            entry("PUT", "Patient/1", r#","resource":{"resourceType":"Observation"}"#),
            "resource_type",
        ),
        (entry("POST", "Patient", r#","resource":[]"#), "bundle_entry"),
        ("{}".to_owned(), "bundle_entry"),
        ("1".to_owned(), "bundle_entry"),
        (r#"{"request":{"url":"Patient/1"}}"#.to_owned(), "method"),
        (r#"{"request":{"method":"GET"}}"#.to_owned(), "entry_url"),
        (
            r#"{"request":{"method":"GET","url":"Practitioner/1","url":"Patient/1"}}"#.to_owned(),
            "json_duplicate_name",
        ),
        (
            r#"{"request":{"method":"GET","url":"Practitioner/1","URL":"Patient/1"}}"#.to_owned(),
            "json_duplicate_name",
        ),
        (
            r#"{"request":{"method":"GET","url":"Practitioner/1"},"Request":{}}"#.to_owned(),
            "json_duplicate_name",
        ),
        (
            r#"{"request":{"method":"POST","url":"Patient","ifNoneExist":1},"resource":{"resourceType":"Patient"}}"#
                .to_owned(),
            "criteria",
        ),
    ] {
        assert_eq!(needs(&bundle("batch", &entry_text)), code, "{entry_text}");
    }
    assert_eq!(
        needs(&bundle("batch", &vec![entry("GET", "Patient/1", ""); 33_000].join(","))),
        "too_complex"
    );
    let post = |content: &str, body: &str| needs(&format!("POST /\ncontent-type: {content}\n\n{body}"));
    assert_eq!(post("application/fhir+xml", "<Bundle/>"), "content_type");
    assert_eq!(post("text/plain", "{}"), "content_type");
    assert_eq!(needs("POST /\n\n{}"), "content_type");
    assert_eq!(post(JSON, ""), "json");
    assert_eq!(post(JSON, "{}"), "not_a_bundle");
    assert_eq!(post(JSON, r#"{"resourceType":"Patient"}"#), "not_a_bundle");
    assert_eq!(
        post(JSON, r#"{"resourceType":"Bundle","type":"collection"}"#),
        "bundle_type"
    );
    assert_eq!(post(JSON, r#"{"resourceType":"Bundle"}"#), "bundle_type");
    assert_eq!(
        post(JSON, r#"{"resourceType":"Bundle","type":"batch","entry":{}}"#),
        "bundle_entry"
    );
    let deep = format!(
        r#"{{"resourceType":"Bundle","x":{}{}}}"#,
        "[".repeat(100),
        "]".repeat(100)
    );
    assert_eq!(post(JSON, &deep), "json_limit");
}

#[test]
fn grants_of_one_context_add_up_and_contexts_never_do() {
    let include = "GET /Observation?_include=Observation:patient";
    for (held, expected) in [
        ("user/Observation.s user/Patient.rs", "ok"),
        ("user/Observation.read user/Patient.read", "ok"),
        ("user/Observation.s user/Patient.r user/Patient.s", "ok"),
        ("user/*.rs", "ok"),
        ("system/*.rs", "ok"),
        ("user/Observation.s system/Patient.rs", "insufficient_scope"),
        ("user/Observation.s patient/Patient.rs", "insufficient_scope"),
        ("user/Observation.s user/Patient.r", "insufficient_scope"),
        ("user/Observation.rs", "insufficient_scope"),
        ("", "insufficient_scope"),
    ] {
        assert_eq!(verdict(held, include), expected, "{held}");
    }
    assert_eq!(verdict("user/Observation.sr", "GET /Observation"), "insufficient_scope");
    assert_eq!(
        verdict("user/Patient.rs user/Observation.rs", "GET /?code=x"),
        "insufficient_scope",
        "`*` needs `*`"
    );
}

#[test]
fn a_batch_may_use_a_context_for_each_entry() {
    let both = bundle(
        "batch",
        &[entry("GET", "Practitioner/1", ""), entry("GET", "Patient/7", "")].join(","),
    );
    assert_eq!(verdict("user/Practitioner.r patient/Patient.r", &both), "ok");
    assert_eq!(verdict("user/Practitioner.r", &both), "insufficient_scope");
}

#[test]
fn only_the_policys_contexts_count() {
    let request = request("GET /Patient/7", None).unwrap();
    let held = ScopeSet::from_text("user/*.rs").unwrap();
    for (contexts, expected) in [
        (Contexts::ALL, "ok"),
        (Contexts::USER, "ok"),
        (Contexts::PATIENT.with(Contexts::SYSTEM), "insufficient_scope"),
        (Contexts::NONE, "insufficient_scope"),
    ] {
        assert_eq!(outcome(judge(&request, &held, contexts, Some("7"), false)), expected);
    }
    let lack = judge(
        &request,
        &ScopeSet::default(),
        Contexts::PATIENT.with(Contexts::USER),
        None,
        false,
    );
    assert!(matches!(lack, Err(Lack::Scope(scopes)) if scopes == "patient/Patient.r user/Patient.r"));
}

#[test]
fn a_constrained_grant_is_implied_or_appended_or_denies() {
    all_are(
        "user/Observation.rs?category=laboratory",
        &[
            ("GET /Observation", "ok +category=laboratory strict"),
            ("GET /Observation?category=laboratory", "ok strict"),
            (
                "GET /Observation?category=vital-signs",
                "ok +category=laboratory strict",
            ),
            ("GET /Observation?category=laboratory&category=vital-signs", "ok strict"),
            (
                "GET /Observation?category=laboratory,vital-signs",
                "ok +category=laboratory strict",
            ),
            (
                "GET /Observation?category:not=laboratory",
                "ok +category=laboratory strict",
            ),
            (
                "GET /Observation?category:text=laboratory",
                "ok +category=laboratory strict",
            ),
            ("GET /Observation?category=Laboratory", "ok +category=laboratory strict"),
            ("GET /Observation?category=", "ok +category=laboratory strict"),
            (
                "GET /Observation?category=laboratory,",
                "ok +category=laboratory strict",
            ),
            (
                "GET /Observation?category=x%7Claboratory",
                "ok +category=laboratory strict",
            ),
            (
                "GET /Observation?category=%256caboratory",
                "ok +category=laboratory strict",
            ),
            (
                "GET /Observation?category=laboratory\\,x",
                "ok +category=laboratory strict",
            ),
            ("GET /Observation/1", "scope_constraint"),
            ("GET /Observation/1?category=laboratory", "scope_constraint"),
            ("GET /Observation/1/_history/1", "scope_constraint"),
            ("GET /Observation/_history?category=laboratory", "scope_constraint"),
            ("GET /Observation/$lastn?category=laboratory", "scope_constraint"),
            ("POST /Observation", "insufficient_scope"),
            ("GET /?_type=Observation", "ok +category=laboratory strict"),
            ("GET /Encounter/1/Observation", "ok +category=laboratory strict"),
            ("GET /Patient?_revinclude=Observation:patient", "insufficient_scope"),
            (
                "GET /Observation?_include=Observation:has-member:Observation",
                "scope_constraint",
            ),
            ("GET /Observation?has-member:Observation.code=x", "scope_constraint"),
        ],
    );
    let form = format!("POST /Observation/_search?code=x\ncontent-type: {FORM}\n\ncategory=laboratory");
    all_are(
        "user/Observation.cruds?category=laboratory",
        &[
            (form.as_str(), "ok strict"),
            ("POST /Observation", "scope_constraint"),
            ("PUT /Observation/1", "scope_constraint"),
            ("DELETE /Observation/1", "scope_constraint"),
            ("DELETE /Observation?category=laboratory", "scope_constraint"),
            ("POST /Observation/$unheard-of", "scope_constraint"),
        ],
    );
    let batch = |url: &str| bundle("batch", &entry("GET", url, ""));
    all_are(
        "user/Observation.rs?category=laboratory",
        &[
            (batch("Observation?category=laboratory").as_str(), "ok strict"),
            (batch("Observation").as_str(), "scope_constraint"),
        ],
    );
}

#[test]
fn an_unconstrained_grant_wins() {
    all_are(
        "user/Observation.rs user/Observation.rs?category=laboratory",
        &[("GET /Observation", "ok"), ("GET /Observation/1", "ok")],
    );
    all_are(
        "user/Observation.r user/Observation.s?category=laboratory",
        &[
            ("GET /Observation", "ok +category=laboratory strict"),
            ("GET /Observation/1", "ok"),
        ],
    );
    assert_eq!(verdict("user/*.rs?_tag=a", "GET /Observation"), "ok +_tag=a strict");
}

#[test]
fn several_constraints_are_or_and_several_parameters_are_and() {
    let two = "user/Observation.rs?category=laboratory user/Observation.rs?category=http://h|vital-signs";
    all_are(
        two,
        &[
            (
                "GET /Observation",
                "ok +category=laboratory,http://h|vital-signs strict",
            ),
            ("GET /Observation?category=laboratory,http://h|vital-signs", "ok strict"),
            ("GET /Observation?category=http://h|vital-signs", "ok strict"),
            (
                "GET /Observation?category=vital-signs",
                "ok +category=laboratory,http://h|vital-signs strict",
            ),
        ],
    );
    all_are(
        "user/Observation.rs?category=laboratory&status=final",
        &[
            ("GET /Observation", "ok +category=laboratory +status=final strict"),
            ("GET /Observation?status=final", "ok +category=laboratory strict"),
            ("GET /Observation?status=final&category=laboratory", "ok strict"),
        ],
    );
    all_are(
        "user/Observation.rs?category=laboratory&status=final user/Observation.rs?category=vital-signs",
        &[
            ("GET /Observation", "scope_constraint"),
            ("GET /Observation?category=laboratory", "scope_constraint"),
            ("GET /Observation?category=vital-signs", "ok strict"),
        ],
    );
    all_are(
        "user/Observation.rs?category=a user/Observation.rs?status=b",
        &[("GET /Observation", "scope_constraint")],
    );
    all_are(
        "user/Observation.rs?category=a,b",
        &[
            ("GET /Observation?category=b", "ok strict"),
            ("GET /Observation?category=b,a", "ok strict"),
            ("GET /Observation?category=b,c", "ok +category=a,b strict"),
        ],
    );
    all_are(
        "user/Observation.rs?category:not=a",
        &[
            ("GET /Observation", "ok +category:not=a strict"),
            ("GET /Observation?category:not=a", "ok strict"),
        ],
    );
    all_are(
        "user/Observation.rs?category:not=a,b",
        &[("GET /Observation?category:not=a", "ok +category:not=a,b strict")],
    );
    all_are(
        "user/Observation.rs?category:not=a user/Observation.rs?category:not=b",
        &[("GET /Observation", "scope_constraint")],
    );
}

#[test]
fn only_grants_that_permit_the_search_narrow_it() {
    let held = "user/Observation.r?category=a user/Observation.s?category=b";
    assert_eq!(verdict(held, "GET /Observation"), "ok +category=b strict");
    assert_eq!(verdict(held, "GET /Observation?category=a"), "ok +category=b strict");
    let twice = "user/Observation.s?category=a&status=b user/Observation.rs?category=a&status=b";
    assert_eq!(verdict(twice, "GET /Observation"), "ok +category=a +status=b strict");
}

#[test]
fn constraints_that_do_not_narrow_for_certain_grant_nothing() {
    for constraint in [
        "_include=Observation:patient",
        "_summary=count",
        "_filter=x",
        "category=%6caboratory",
        "category=a+b",
        "category=a,",
        "a$b=c",
        "_has:X:y:z=1",
    ] {
        assert_eq!(
            verdict(&format!("user/Observation.rs?{constraint}"), "GET /Observation"),
            "scope_constraint",
            "{constraint}"
        );
    }
}

#[test]
fn a_patients_token_reads_its_own_patient() {
    all_are(
        "patient/*.cruds",
        &[
            ("GET /Patient/7", "ok"),
            ("GET /Patient/8", "other_patient"),
            ("GET /Patient/07", "other_patient"),
            ("GET /Patient/7/_history/1", "ok"),
            ("GET /Patient/8/_history", "other_patient"),
            ("PUT /Patient/7", "ok"),
            ("PUT /Patient/8", "other_patient"),
            ("PATCH /Patient/8", "other_patient"),
            ("DELETE /Patient/8", "other_patient"),
            ("DELETE /Patient/7?_cascade=delete", "operation"),
            ("POST /Patient", "write_outside_compartment"),
            ("PUT /Patient?_id=7", "operation"),
            ("GET /Patient", "ok +_id=7 strict"),
            ("GET /Patient?name=x", "ok +_id=7 strict"),
            ("GET /Patient?_id=7", "ok strict"),
            ("GET /Patient?_id=8", "other_patient"),
            ("GET /Patient?_id=7,8", "other_patient"),
            ("GET /Patient?_id=Patient/7", "other_patient"),
            ("GET /Patient?_id:not=8", "ok +_id=7 strict"),
            ("GET /Patient?_id:Patient=7", "ok +_id=7 strict"),
            ("GET /Patient?_id=%2537", "ok +_id=7 strict"),
            ("GET /Patient/_history", "history"),
            ("GET /_history", "history"),
            ("GET /Patient/7/$everything", "ok"),
            ("GET /Patient/8/$everything", "other_patient"),
            ("GET /Patient/$everything", "operation"),
            ("GET /Patient/7/$unheard-of", "operation"),
            ("POST /Patient/$match", "operation"),
            ("GET /Patient/$export", "export"),
            ("GET /$export?_type=Practitioner", "export"),
            ("GET /$graphql?query=x", "operation"),
            ("GET /?_type=Patient", "ok +_id=7 strict"),
            ("GET /?code=x", "search_not_bound"),
            ("GET /?_type=Patient,Observation", "search_not_bound"),
            ("GET /?_type=Condition,Observation&patient=7", "ok strict"),
            ("GET /metadata", "ok"),
        ],
    );
}

#[test]
fn a_patients_token_searches_its_own_compartment() {
    all_are(
        "patient/*.rs",
        &[
            ("GET /Observation", "ok +patient=7 strict"),
            ("GET /Observation?patient=7", "ok strict"),
            ("GET /Observation?patient=Patient/7", "ok strict"),
            ("GET /Observation?subject=Patient/7", "ok strict"),
            ("GET /Observation?subject:Patient=7", "ok strict"),
            ("GET /Observation?patient=7,Patient/7", "ok strict"),
            ("GET /Observation?subject=7", "ok +patient=7 strict"),
            ("GET /Observation?subject=Group/7", "ok +patient=7 strict"),
            ("GET /Observation?subject=Patient/7,Group/1", "ok +patient=7 strict"),
            ("GET /Observation?patient=8", "other_patient"),
            ("GET /Observation?patient=7,8", "other_patient"),
            ("GET /Observation?patient=7&patient=8", "other_patient"),
            ("GET /Observation?subject=Patient/8", "other_patient"),
            ("GET /Observation?patient=7\\,8", "other_patient"),
            ("GET /Observation?patient=http://h/Patient/7", "absolute_reference"),
            ("GET /Observation?patient:identifier=x", "ok +patient=7 strict"),
            ("GET /Observation?patient:missing=true", "ok +patient=7 strict"),
            ("GET /Observation?performer=Patient/7", "ok +patient=7 strict"),
            ("GET /Observation?patient=%2537", "ok +patient=7 strict"),
            ("GET /AdverseEvent", "ok +subject=Patient/7 strict"),
            ("GET /Coverage", "ok +patient=7 strict"),
            ("GET /Device", "ok +patient=7 strict"),
            ("GET /Group", "ok +member=Patient/7 strict response"),
            ("GET /Group?_summary=true", "response_in_part"),
            ("HEAD /Group", "head"),
            ("GET /Binary", "search_not_bound"),
            ("GET /Linkage", "search_not_bound"),
            ("GET /Patient/7/Observation", "ok"),
            ("GET /Patient/8/Observation", "other_patient"),
            ("GET /Patient/7/*", "ok response"),
            ("GET /Patient/8/*", "other_patient"),
            ("GET /Patient/7/Patient", "ok response"),
            ("GET /Patient/8/Practitioner", "other_patient"),
            ("GET /Encounter/1/Practitioner", "search_through_others"),
            ("GET /Encounter/1/Observation", "ok +patient=7 strict"),
            ("GET /Encounter/1/*", "search_not_bound"),
            ("GET /Observation/$lastn", "ok +patient=7 strict"),
            ("GET /Observation/$lastn?patient=8", "other_patient"),
            ("POST /Observation/$lastn", "operation"),
            ("GET /Observation/_history", "history"),
        ],
    );
    let form = |query: &str, body: &str| format!("POST /Observation/_search{query}\ncontent-type: {FORM}\n\n{body}");
    all_are(
        "patient/*.rs",
        &[
            (form("", "code=x").as_str(), "ok +patient=7 form+patient=7 strict"),
            (form("", "").as_str(), "ok +patient=7 form+patient=7 strict"),
            (form("", "patient=7").as_str(), "ok strict"),
            // An upstream that reads the form only must find it there.
            (form("?patient=7", "code=x").as_str(), "ok form+patient=7 strict"),
            (form("?patient=7", "patient=7").as_str(), "ok strict"),
            (form("?patient=7", "patient=8").as_str(), "other_patient"),
            (form("?patient=8", "patient=7").as_str(), "other_patient"),
        ],
    );
}

#[test]
fn a_patients_token_reads_other_types_if_the_response_is_its_own() {
    all_are(
        "patient/*.cruds",
        &[
            ("GET /Observation/1", "ok response"),
            ("GET /Observation/1/_history", "ok response"),
            ("GET /Device/1", "ok response"),
            ("GET /Binary/1", "ok response"),
            ("GET /Bundle/1", "ok response"),
            ("GET /Linkage/1", "owner_unknown"),
            ("GET /Subscription/1", "owner_unknown"),
            ("GET /Subscription", "search_not_bound"),
            (
                "GET /EnrollmentResponse?request=EnrollmentRequest/1",
                "search_not_bound",
            ),
            ("HEAD /Observation/1", "head"),
            ("GET /Observation/1?_elements=performer", "response_in_part"),
            ("GET /Observation/1?_summary=true", "response_in_part"),
            ("GET /Observation/1?_summary=false", "ok response"),
            ("GET /Observation/1?_summary:x=false", "response_in_part"),
            ("GET /Observation/1?_summary=fals%2565", "response_in_part"),
            ("GET /Observation/1?_format=xml", "response_not_json"),
            ("GET /Observation/1?_format=application/fhir%2Bjson", "ok response"),
            ("PUT /Observation/1", "write_by_id"),
            ("PATCH /Observation/1", "write_by_id"),
            ("DELETE /Observation/1", "write_by_id"),
            ("DELETE /Observation?patient=7", "operation"),
            ("POST /Observation", "ok request:Observation"),
            ("POST /Observation\nif-none-exist: identifier=x", "search_not_bound"),
            (
                "POST /Observation\nif-none-exist: identifier=x&patient=7",
                "ok strict request:Observation",
            ),
            ("POST /Device", "write_outside_compartment"),
            ("POST /Practitioner", "write_outside_compartment"),
            ("GET /Practitioner/1", "ok"),
            ("GET /Practitioner?name=x", "ok"),
            ("GET /ValueSet/$expand?url=x", "ok"),
            ("GET /Medication/_history", "ok"),
            ("PUT /Practitioner/1", "write_outside_compartment"),
            ("GET /Observation/1/$meta", "operation"),
        ],
    );
}

#[test]
fn a_patients_search_does_not_reach_others_beside() {
    all_are(
        "patient/*.rs",
        &[
            ("GET /Observation?_include=Observation:patient", "ok +patient=7 strict"),
            ("GET /Observation?_include=Observation:subject", "ok +patient=7 strict"),
            (
                "GET /Observation?_include=Observation:performer",
                "ok +patient=7 strict response",
            ),
            (
                "GET /Observation?_include=Observation:encounter",
                "ok +patient=7 strict response",
            ),
            (
                "GET /MedicationRequest?_include=MedicationRequest:medication",
                "ok +patient=7 strict",
            ),
            ("GET /Observation?_include=*", "ok +patient=7 strict response"),
            ("GET /Observation?_include=*&_elements=id", "response_in_part"),
            ("GET /Account?_include=Account:patient", "ok +patient=7 strict response"),
            ("GET /Patient?_revinclude=Observation:patient", "ok +_id=7 strict"),
            (
                "GET /Patient?_revinclude=Observation:performer",
                "ok +_id=7 strict response",
            ),
            (
                "GET /Observation?_revinclude=Provenance:target",
                "ok +patient=7 strict response",
            ),
            ("GET /Practitioner?_revinclude=Observation:performer", "ok response"),
            ("GET /Patient?_has:Observation:patient:code=x", "ok +_id=7 strict"),
            (
                "GET /Patient?_has:Observation:performer:code=x",
                "search_through_others",
            ),
            ("GET /Patient?_has:Group:member:_id=x", "search_through_others"),
            (
                "GET /Practitioner?_has:Encounter:practitioner:patient=8",
                "search_through_others",
            ),
            ("GET /Observation?patient.name=x", "ok +patient=7 strict"),
            ("GET /Observation?subject:Patient.name=x", "ok +patient=7 strict"),
            ("GET /Observation?patient.link:Patient.name=x", "search_through_others"),
            ("GET /Observation?performer:Patient.name=x", "search_through_others"),
            ("GET /Observation?performer:Practitioner.name=x", "ok +patient=7 strict"),
            ("GET /Observation?encounter.patient=8", "search_through_others"),
            ("GET /Patient/7/Observation?patient.name=x", "search_through_others"),
            ("GET /Patient/7/Observation?_include=Observation:patient", "ok response"),
            ("GET /Practitioner?_filter=x", "search_through_others"),
            ("GET /Observation?_query=x", "search_through_others"),
            ("GET /Observation?_list=1", "search_through_others"),
            ("GET /Medication?_contained=true", "search_through_others"),
            ("GET /?_getpages=x", "search_not_bound"),
            ("GET /Observation?_sort=patient.name", "search_through_others"),
        ],
    );
    // What the binding reference cannot lead to needs no scope; what it leads to does.
    all_are(
        "patient/Observation.rs patient/Patient.rs",
        &[
            ("GET /Observation?_include=Observation:subject", "ok +patient=7 strict"),
            ("GET /Observation?_include=Observation:encounter", "insufficient_scope"),
        ],
    );
    assert_eq!(
        verdict(
            "patient/Observation.rs",
            "GET /Observation?_include=Observation:subject"
        ),
        "insufficient_scope"
    );
}

#[test]
fn a_patients_batch_must_show_all_by_itself() {
    let observation = |reference: &str| {
        let resource =
            format!(r#","resource":{{"resourceType":"Observation","subject":{{"reference":"{reference}"}}}}"#);
        bundle("transaction", &entry("POST", "Observation", &resource))
    };
    let get = |url: &str| bundle("batch", &entry("GET", url, ""));
    let patient = r#","resource":{"resourceType":"Patient"}"#;
    for (text, expected) in [
        (observation("Patient/7"), "ok"),
        (observation("Patient/8"), "other_patient"),
        (observation("urn:uuid:1"), "other_patient"),
        (observation("Patient?_id=7"), "other_patient"),
        (get("Patient/7"), "ok"),
        (get("Patient/8"), "other_patient"),
        (get("Observation"), "search_not_bound"),
        (get("Observation?patient=7"), "ok strict"),
        (get("Observation/1"), "ok response"),
        (bundle("batch", &entry("PUT", "Patient/7", patient)), "ok"),
        (bundle("batch", &entry("PUT", "Patient/8", patient)), "other_patient"),
        (
            bundle(
                "batch",
                &[entry("GET", "Patient/7", ""), entry("GET", "Patient/8", "")].join(","),
            ),
            "other_patient",
        ),
    ] {
        assert_eq!(verdict("patient/*.cruds", &text), expected, "{text}");
    }
}

#[test]
fn an_upstream_that_vouches_knows_whose_an_id_is_and_nothing_else_changes() {
    let get = |url: &str| entry("GET", url, "");
    let batch = |entries: &[String]| bundle("batch", &entries.join(","));
    for (held, text, expected) in [
        ("patient/*.cruds", "GET /Observation/1".to_owned(), "ok"),
        ("patient/*.cruds", "HEAD /Observation/1".to_owned(), "ok"),
        ("patient/*.cruds", "GET /Observation/1?_format=xml".to_owned(), "ok"),
        ("patient/*.cruds", "GET /Linkage/1".to_owned(), "ok"),
        ("patient/*.cruds", "PUT /Observation/1".to_owned(), "ok"),
        ("patient/*.cruds", "PATCH /Observation/1".to_owned(), "ok"),
        ("patient/*.cruds", "DELETE /Observation/1".to_owned(), "ok"),
        ("patient/*.cruds", "GET /Observation".to_owned(), "ok +patient=7 strict"),
        (
            "patient/*.cruds",
            "GET /Observation?_include=Observation:performer".to_owned(),
            "ok +patient=7 strict",
        ),
        (
            "patient/*.rs?category=x",
            "GET /Observation".to_owned(),
            "ok +patient=7 +category=x strict",
        ),
        // Scopes, constraints and other patients are what they were.
        ("patient/*.rs", "PUT /Observation/1".to_owned(), "insufficient_scope"),
        (
            "patient/Observation.rs?category=x",
            "GET /Observation/1".to_owned(),
            "scope_constraint",
        ),
        ("patient/*.cruds", "GET /Patient/8".to_owned(), "other_patient"),
        (
            "patient/*.cruds",
            "GET /Observation?patient=8".to_owned(),
            "other_patient",
        ),
        // So is what no id decides.
        (
            "patient/*.cruds",
            "POST /Observation".to_owned(),
            "ok request:Observation",
        ),
        (
            "patient/*.cruds",
            "PUT /Practitioner/1".to_owned(),
            "write_outside_compartment",
        ),
        (
            "patient/*.cruds",
            "DELETE /Observation?patient=7".to_owned(),
            "operation",
        ),
        (
            "patient/*.cruds",
            "DELETE /Observation/1?_cascade=delete".to_owned(),
            "operation",
        ),
        ("patient/*.cruds", "GET /Observation/1/$meta".to_owned(), "operation"),
        (
            "patient/*.cruds",
            "POST /Observation/1/$unheard-of".to_owned(),
            "operation",
        ),
        ("patient/*.cruds", "GET /$export".to_owned(), "export"),
        ("patient/*.cruds", "GET /Observation/_history".to_owned(), "history"),
        ("patient/*.cruds", "GET /Subscription".to_owned(), "search_not_bound"),
        (
            "patient/*.cruds",
            "GET /Observation?performer.name=x".to_owned(),
            "search_through_others",
        ),
        (
            "patient/*.cruds",
            "GET /Observation?patient=https://x/Patient/7".to_owned(),
            "absolute_reference",
        ),
        // Each entry is judged, whatever came before it.
        (
            "patient/*.rs",
            batch(&[get("Observation/1"), get("Patient/8")]),
            "other_patient",
        ),
        (
            "patient/Observation.rs",
            batch(&[get("Observation/1"), get("Condition/1")]),
            "insufficient_scope",
        ),
        (
            "patient/*.rs",
            batch(&[get("Observation/1"), get("Observation")]),
            "search_not_bound",
        ),
        (
            "patient/*.rs",
            batch(&[get("Observation/1"), get("Observation?patient=7")]),
            "ok strict",
        ),
    ] {
        assert_eq!(verdict_of(held, &text, true), expected, "{held} / {text}");
    }
    let request = request("GET /Observation/1", None).unwrap();
    let held = ScopeSet::from_text("patient/*.rs").unwrap();
    assert_eq!(outcome(judge(&request, &held, Contexts::ALL, None, true)), "no_patient");
}

#[test]
fn binding_and_constraint_come_together() {
    assert_eq!(
        verdict("patient/Observation.rs?category=laboratory", "GET /Observation"),
        "ok +patient=7 +category=laboratory strict"
    );
    assert_eq!(
        verdict(
            "patient/Observation.rs?category=laboratory",
            "GET /Observation?patient=8"
        ),
        "other_patient"
    );
    assert_eq!(
        verdict("patient/Observation.rs?category=laboratory", "GET /Observation/1"),
        "scope_constraint"
    );
}

#[test]
fn a_form_is_narrow_enough_by_itself() {
    let form = |query: &str, body: &str| format!("POST /Observation/_search{query}\ncontent-type: {FORM}\n\n{body}");
    all_are(
        "user/Observation.rs?category=a user/Observation.rs?category=b",
        &[
            (form("", "code=x").as_str(), "ok +category=a,b form+category=a,b strict"),
            (form("", "category=a").as_str(), "ok strict"),
            (form("?category=a", "code=x").as_str(), "ok form+category=a,b strict"),
        ],
    );
    all_are(
        "user/Observation.rs?category=a user/Observation.rs?code=b",
        &[
            (form("", "category=a").as_str(), "ok strict"),
            (form("?category=a", "date=x").as_str(), "scope_constraint"),
        ],
    );
    all_are("user/Observation.rs", &[(form("", "code=x").as_str(), "ok")]);
}

#[test]
fn what_is_appended_is_encoded() {
    let judged = Judged {
        append: vec![
            ("category".to_owned(), "a|b&c=d,e".to_owned()),
            ("patient".to_owned(), "7".to_owned()),
        ],
        ..Judged::default()
    };
    let added = "category=a%7Cb%26c=d,e&patient=7";
    for (target, mark) in [("/x", "?"), ("/x?", ""), ("/x?a=b", "&"), ("/x?a=b&", "")] {
        assert_eq!(
            judged.narrowed(target.as_bytes()),
            format!("{target}{mark}{added}").as_bytes()
        );
    }
    let judged = Judged {
        append_to_form: judged.append,
        ..Judged::default()
    };
    for (form, mark) in [("", ""), ("a=b", "&"), ("a=b&", "")] {
        assert_eq!(
            judged.narrowed_form(form.as_bytes()),
            format!("{form}{mark}{added}").as_bytes()
        );
    }
    assert_eq!(Judged::default().narrowed(b"/x"), b"/x");
}

#[test]
fn a_broader_context_needs_no_binding() {
    assert_eq!(
        verdict(
            "patient/Observation.rs user/Observation.rs",
            "GET /Observation?patient=8"
        ),
        "ok"
    );
    assert_eq!(
        verdict("patient/Observation.rs user/Patient.rs", "GET /Observation?patient=8"),
        "other_patient"
    );
}

#[test]
fn without_a_readable_patient_nothing_is_bound() {
    let request = request("GET /Observation", None).unwrap();
    let held = ScopeSet::from_text("patient/*.rs").unwrap();
    for patient in [
        None,
        Some(""),
        Some("Patient/7"),
        Some("7,8"),
        Some("7&patient=8"),
        Some("*"),
    ] {
        assert_eq!(
            outcome(judge(&request, &held, Contexts::ALL, patient, false)),
            "no_patient",
            "{patient:?}"
        );
    }
}

fn is_seven(id: &str) -> bool {
    id == "7"
}

fn owned(json: &str) -> String {
    match belongs(json.as_bytes(), &is_seven) {
        Ok(belongs) => belongs.to_string(),
        Err(unclear) => unclear.code().to_owned(),
    }
}

#[test]
fn resources_belong_by_their_compartment_elements() {
    for (json, expected) in [
        (r#"{"resourceType":"Patient","id":"7"}"#, "true"),
        (r#"{"resourceType":"Patient","id":"8"}"#, "false"),
        (r#"{"resourceType":"Patient"}"#, "false"),
        (
            r#"{"resourceType":"Observation","subject":{"reference":"Patient/7"}}"#,
            "true",
        ),
        (
            r#"{"resourceType":"Observation","subject":{"reference":"Patient/7/_history/2"}}"#,
            "true",
        ),
        (
            r#"{"resourceType":"Observation","subject":{"reference":"Patient/8"}}"#,
            "false",
        ),
        (
            r#"{"resourceType":"Observation","subject":{"reference":"Patient/7/x"}}"#,
            "false",
        ),
        (
            r#"{"resourceType":"Observation","subject":{"reference":"patient/7"}}"#,
            "false",
        ),
        (
            r#"{"resourceType":"Observation","subject":{"reference":"http://h/fhir/Patient/7"}}"#,
            "false",
        ),
        (
            r#"{"resourceType":"Observation","subject":{"reference":"Group/7"}}"#,
            "false",
        ),
        (
            r#"{"resourceType":"Observation","subject":{"identifier":{"value":"7"}}}"#,
            "false",
        ),
        (r#"{"resourceType":"Observation","subject":"Patient/7"}"#, "false"),
        (r#"{"resourceType":"Observation","subject":{"reference":7}}"#, "false"),
        (r#"{"resourceType":"Observation"}"#, "false"),
        (
            r#"{"resourceType":"Observation","performer":[{"reference":"Patient/7"}]}"#,
            "true",
        ),
        (
            r#"{"resourceType":"Observation","focus":[{"reference":"Patient/7"}]}"#,
            "false",
        ),
        // About two patients: nobody's.
        (
            r#"{"resourceType":"Observation","subject":{"reference":"Patient/7"},"performer":[{"reference":"Patient/8"}]}"#,
            "false",
        ),
        (
            r#"{"resourceType":"Observation","subject":{"reference":"Patient/7"},"performer":[{"reference":"Practitioner/8"}]}"#,
            "true",
        ),
        (
            r#"{"resourceType":"Observation","subject":{"reference":"Patient/7"},"performer":[{"reference":"http://h/Practitioner/8"}]}"#,
            "true",
        ),
        (
            r#"{"resourceType":"Observation","subject":{"reference":"Patient/7"},"performer":[{"reference":"https://h/Patient/7"}]}"#,
            "false",
        ),
        (
            r#"{"resourceType":"Observation","subject":{"reference":"Patient/7"},"performer":[{"reference":"urn:uuid:1"}]}"#,
            "false",
        ),
        (
            r#"{"resourceType":"Observation","subject":{"reference":"Patient/7"},"performer":[{"reference":"urn:uuid:1","type":"Practitioner"}]}"#,
            "true",
        ),
        (
            r#"{"resourceType":"Observation","subject":{"reference":"Patient/7"},"performer":[{"display":"Dr Who"}]}"#,
            "true",
        ),
        (
            r##"{"resourceType":"Observation","subject":{"reference":"Patient/7"},"performer":[{"reference":"#a"}],"contained":[{"resourceType":"Practitioner"}]}"##,
            "true",
        ),
        (
            r##"{"resourceType":"Observation","subject":{"reference":"Patient/7"},"performer":[{"reference":"#a"}],"contained":[{"resourceType":"Patient"}]}"##,
            "false",
        ),
        (
            r#"{"resourceType":"Group","member":[{"entity":{"reference":"Patient/7"}}]}"#,
            "true",
        ),
        (
            r#"{"resourceType":"Group","member":[{"entity":{"reference":"Patient/7"}},{"entity":{"reference":"Patient/8"}}]}"#,
            "false",
        ),
        (
            r#"{"resourceType":"Task","for":{"reference":"Patient/7"},"focus":{"reference":"ServiceRequest/1"}}"#,
            "true",
        ),
        (
            r#"{"resourceType":"Device","patient":{"reference":"Patient/7"}}"#,
            "true",
        ),
        (
            r#"{"resourceType":"Device","patient":{"reference":"Patient/8"}}"#,
            "false",
        ),
        (r#"{"resourceType":"Device"}"#, "true"),
        (
            r#"{"resourceType":"Binary","securityContext":{"reference":"Patient/7"}}"#,
            "true",
        ),
        (r#"{"resourceType":"Binary","data":"x"}"#, "false"),
        (r#"{"resourceType":"Linkage"}"#, "false"),
        (r#"{"resourceType":"Parameters"}"#, "false"),
        (r#"{"resourceType":"Practitioner"}"#, "true"),
        (r#"{"resourceType":"OperationOutcome"}"#, "true"),
        (r#"{"resourceType":"Nobody"}"#, "false"),
        (r#"{"resourceType":"patient","id":"7"}"#, "false"),
        (r#"{"id":"7"}"#, "resource_type"),
        (r#"{"resourceType":"Patient","id":"7","id":"8"}"#, "json_duplicate_name"),
        (
            r#"{"resourceType":"Patient","resourceType":"Practitioner"}"#,
            "json_duplicate_name",
        ),
        ("[]", "json"),
        ("", "json"),
        ("<Patient/>", "json"),
    ] {
        assert_eq!(owned(json), expected, "{json}");
    }
}

#[test]
fn bundles_belong_by_each_entry() {
    let own = r#"{"resource":{"resourceType":"Patient","id":"7"}}"#;
    let other = r#"{"resource":{"resourceType":"Patient","id":"8"}}"#;
    let outcome = r#"{"response":{"status":"404","outcome":{"resourceType":"OperationOutcome"}}}"#;
    let sneaked = r#"{"response":{"outcome":{"resourceType":"Patient","id":"8"}}}"#;
    let gone = r#"{"request":{"method":"DELETE","url":"Patient/8"}}"#;
    let of = |entries: &[&str]| format!(r#"{{"resourceType":"Bundle","entry":[{}]}}"#, entries.join(","));
    let inner = |bundle: &str| format!(r#"{{"resource":{bundle}}}"#);
    assert_eq!(owned(&of(&[own, own, outcome, gone])), "true");
    assert_eq!(owned(&of(&[own, other])), "false");
    assert_eq!(owned(&of(&[own, sneaked])), "false");
    assert_eq!(owned(&of(&[&inner(&of(&[own]))])), "true");
    assert_eq!(owned(&of(&[&inner(&of(&[other]))])), "false");
    assert_eq!(owned(r#"{"resourceType":"Bundle","total":0}"#), "true");
    assert_eq!(owned(r#"{"resourceType":"Bundle","entry":{}}"#), "bundle_entry");
    assert_eq!(owned(r#"{"resourceType":"Bundle","entry":[1]}"#), "bundle_entry");
    assert_eq!(
        owned(r#"{"resourceType":"Bundle","entry":[{"resource":1}]}"#),
        "bundle_entry"
    );
    let mut nested = of(&[own]);
    for _ in 0..5 {
        nested = of(&[&inner(&nested)]);
    }
    assert_eq!(owned(&nested), "json_limit");
    let deep = format!(
        r#"{{"resourceType":"Bundle","x":{}{}}}"#,
        "[".repeat(64),
        "]".repeat(64)
    );
    assert_eq!(owned(&deep), "json_limit");
    let many = format!(r#"{{"resourceType":"Bundle","x":[{}0]}}"#, "0,".repeat(300_000));
    assert_eq!(owned(&many), "json_limit");
}

#[test]
fn a_provenance_belongs_to_what_it_is_about_in_its_bundle() {
    let provenance = |targets: &[&str]| {
        let targets: Vec<_> = targets
            .iter()
            .map(|each| format!(r#"{{"reference":"{each}"}}"#))
            .collect();
        format!(
            r#"{{"resource":{{"resourceType":"Provenance","target":[{}]}}}}"#,
            targets.join(",")
        )
    };
    let bundle = |targets: &[&str]| {
        let own = r#"{"resource":{"resourceType":"Observation","id":"1","subject":{"reference":"Patient/7"}}}"#;
        let open = r#"{"resource":{"resourceType":"Practitioner","id":"2"}}"#;
        owned(&format!(
            r#"{{"resourceType":"Bundle","entry":[{},{own},{open}]}}"#,
            provenance(targets)
        ))
    };
    assert_eq!(bundle(&["Observation/1"]), "true");
    assert_eq!(bundle(&["Observation/1/_history/3", "Observation/1"]), "true");
    assert_eq!(bundle(&["Patient/7"]), "true");
    assert_eq!(
        bundle(&["Observation/1", "Patient/7", "Observation/9"]),
        "true",
        "it names the own patient, and no other"
    );
    assert_eq!(bundle(&["Observation/1", "Observation/2"]), "false");
    assert_eq!(bundle(&["Observation/1", "Patient/8"]), "false");
    assert_eq!(bundle(&["Observation/1", "http://h/Patient/8"]), "false");
    assert_eq!(bundle(&["http://h/Observation/1"]), "false");
    assert_eq!(bundle(&["Practitioner/2"]), "false", "nobody's");
    assert_eq!(bundle(&[]), "false");
    assert_eq!(
        owned(r#"{"resourceType":"Provenance","target":[{"reference":"Observation/1"}]}"#),
        "false"
    );
    let result = r#"{"resource":{"resourceType":"VerificationResult","target":[{"reference":"Observation/1"}]}}"#;
    let own = r#"{"resource":{"resourceType":"Observation","id":"1","subject":{"reference":"Patient/7"}}}"#;
    assert_eq!(
        owned(&format!(r#"{{"resourceType":"Bundle","entry":[{own},{result}]}}"#)),
        "false"
    );
    let group = r#"{"resource":{"resourceType":"Group","id":"1"}}"#;
    assert_eq!(
        owned(&format!(r#"{{"resourceType":"Bundle","entry":[{group}]}}"#)),
        "false"
    );
}

#[test]
fn a_new_resource_must_be_of_the_type_and_have_one_reading() {
    let check = |json: &str| belongs_as(json.as_bytes(), "Observation", &is_seven).map_err(Unclear::code);
    assert_eq!(
        check(r#"{"resourceType":"Observation","subject":{"reference":"Patient/7"}}"#),
        Ok(true)
    );
    assert_eq!(
        check(r#"{"resourceType":"Observation","subject":{"reference":"Patient/8"}}"#),
        Ok(false)
    );
    assert_eq!(check(r#"{"resourceType":"Practitioner"}"#), Ok(false));
    let twins =
        r#"{"resourceType":"Observation","subject":{"reference":"Patient/7"},"Subject":{"reference":"Patient/8"}}"#;
    assert_eq!(check(twins), Err("json_duplicate_name"));
    let deeper = r#"{"resourceType":"Observation","subject":{"reference":"Patient/7","Reference":"Patient/8"}}"#;
    assert_eq!(check(deeper), Err("json_duplicate_name"));
    let search = r#"{"resourceType":"Observation","subject":{"reference":"Patient/7"},"encounter":{"reference":"Encounter?status=x"}}"#;
    assert_eq!(check(search), Err("conditional_reference"));
}

#[test]
fn a_request_tells_its_name_and_type() {
    let told = |text: &str| {
        let request = request(text, None).unwrap();
        (request.interaction(), request.resource_type())
    };
    assert_eq!(told("GET /Patient/1"), ("read", Some("Patient")));
    assert_eq!(told("GET /Patient?name=x"), ("search-type", Some("Patient")));
    assert_eq!(told("GET /?name=x"), ("search-system", None));
    assert_eq!(told("GET /metadata"), ("capabilities", None));
    assert_eq!(told(&bundle("batch", "")), ("batch", None));
}

fn url() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec![
        "Patient",
        "Observation",
        "Practitioner",
        "Group",
        "7",
        "8",
        "_history",
        "_search",
        "$everything",
        "$lastn",
        "$x",
        "*",
        "metadata",
        "fhir",
        "..",
        ".",
        "patient",
        "%50atient",
        "a_b",
    ]);
    let parameter = prop::sample::select(vec![
        "patient=7",
        "patient=8",
        "subject=Patient/7",
        "_id=7",
        "category=laboratory",
        "category=a,b",
        "category:not=a",
        "_include=*",
        "_include=Observation:subject",
        "_revinclude=Observation:patient",
        "_has:Observation:patient:code=1",
        "patient.name=x",
        "_type=Patient",
        "_type=Observation,Patient",
        "_filter=x",
        "_count=1",
        "_elements=id",
        "code=1%7C2",
        "category=%256c",
        "_include=Observation:%70atient",
    ]);
    (
        prop::collection::vec(segment, 0..5),
        prop::collection::vec(parameter, 0..4),
    )
        .prop_map(|(segments, parameters)| {
            let query = if parameters.is_empty() {
                String::new()
            } else {
                format!("?{}", parameters.join("&"))
            };
            format!("/{}{query}", segments.join("/"))
        })
}

fn scopes() -> impl Strategy<Value = Vec<String>> {
    let scope = (
        prop::sample::select(vec!["patient", "user", "system"]),
        prop::sample::select(vec!["*", "Patient", "Observation", "Practitioner", "Group"]),
        prop::sample::select(vec!["rs", "r", "s", "cruds", "cud"]),
        prop::sample::select(vec![
            "",
            "",
            "?category=laboratory",
            "?category=a",
            "?category=a&status=final",
            "?_tag=x",
        ]),
    );
    prop::collection::vec(scope.prop_map(|(c, r, p, q)| format!("{c}/{r}.{p}{q}")), 0..5)
}

fn method() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["GET", "GET", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_panic(url in prop::collection::vec(any::<u8>(), 0..48), body in prop::collection::vec(any::<u8>(), 0..64), method in method()) {
        let head = RequestHead::new([(":method".to_owned(), method.into()), ("content-type".to_owned(), FORM.into())]);
        if let Ok(target) = Target::parse(&url) && let Ok(Reading::NeedsBody(pending)) = read(&head, &target, None) {
            let _ = pending.with_body(&body);
        }
        let _ = belongs(&body, &is_seven);
        let _ = bundle::read(&body);
    }

    #[test]
    fn no_entry_panics(url in "[a-zA-Z/?&=.:_$%#*{}-]{0,24}", kind in prop::sample::select(vec!["Observation", "Patient", "Group", "x"]), reference in "[a-zA-Z/?#:.7-]{0,16}") {
        let resource = format!(r#","resource":{{"resourceType":"{kind}","subject":{{"reference":"{reference}"}},"contained":[]}}"#);
        let _ = verdict("patient/*.cruds", &bundle("transaction", &entry("POST", &url, &resource)));
    }

    /// One more encoding of any byte, slashes and dot segments: the same needs, or a refusal.
    #[test]
    fn spellings_of_a_url_mean_the_same(url in url(), method in method(), pick in any::<u64>(), slash in 0_usize..3) {
        let plain = needs(&format!("{method} {url}"));
        let spelled: String = url.bytes().enumerate().map(|(at, byte)| {
            let in_escape = (1..=2).any(|back| at >= back && url.as_bytes()[at - back] == b'%');
            let encode = !in_escape && (byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_')) && pick.rotate_left(at as u32) & 1 == 1;
            match byte {
                b'/' if slash == 1 && !url[..at].contains('?') => "//".to_owned(),
                b'/' if slash == 2 && !url[..at].contains('?') => "/./".to_owned(),
                _ if encode => format!("%{byte:02x}"),
                _ => char::from(byte).to_string(),
            }
        }).collect();
        let other = needs(&format!("{method} {spelled}"));
        prop_assert!(other == plain || !other.contains(':'), "{} {} / {} {}", url, plain, spelled, other);
    }

    /// More unconstrained grants never take anything away.
    #[test]
    fn more_grants_allow_more(url in url(), method in method(), held in scopes(), more in scopes()) {
        let text = format!("{method} {url}");
        let before = verdict(&held.join(" "), &text);
        if before.starts_with("ok") {
            let more: Vec<String> = more.into_iter().filter(|scope| !scope.contains('?')).chain(held.clone()).collect();
            let after = verdict(&more.join(" "), &text);
            prop_assert!(after.starts_with("ok"), "{} {:?} {} / {:?} {}", text, held, before, more, after);
        }
    }

    /// What was appended shows what it was appended for.
    #[test]
    fn a_narrowed_request_needs_no_more_narrowing(url in url(), held in scopes()) {
        let held = ScopeSet::from_text(&held.join(" ")).unwrap();
        let Ok(first) = request(&format!("GET {url}"), None) else { return Ok(()) };
        let Ok(judged) = judge(&first, &held, Contexts::ALL, Some("7"), false) else { return Ok(()) };
        if judged.append.is_empty() { return Ok(()) }
        let narrow = String::from_utf8(judged.narrowed(url.as_bytes())).unwrap();
        let narrowed = request(&format!("GET {narrow}"), None).unwrap();
        let again = judge(&narrowed, &held, Contexts::ALL, Some("7"), false);
        prop_assert!(again.as_ref().is_ok_and(|again| again.append.is_empty()), "{} {} {}", url, narrow, outcome(again));
    }

    /// Nothing of another patient is allowed under `patient/` alone, however it is asked for by id.
    #[test]
    fn no_other_patient_is_reached_by_id(method in method(), rest in prop::sample::select(vec!["", "/_history", "/_history/1", "/$everything", "/Observation", "/*", "/$x"])) {
        let got = verdict("patient/*.cruds", &format!("{method} /Patient/8{rest}"));
        prop_assert!(!got.starts_with("ok"), "{}", got);
    }
}
