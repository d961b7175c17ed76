//! Rules by FHIR resource type.

use super::*;

fn paths(texts: &[&str]) -> Vec<FhirPath> {
    texts
        .iter()
        .map(|text| FhirPath::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")))
        .collect()
}

fn typed(resource: &str, rules: TypeRules) -> FhirRules {
    FhirRules {
        types: vec![(resource.to_owned(), rules)],
        ..FhirRules::default()
    }
}

fn without(texts: &[&str]) -> TypeRules {
    TypeRules {
        deny: paths(texts),
        ..TypeRules::default()
    }
}

fn only(texts: &[&str]) -> TypeRules {
    TypeRules {
        allow: Some(paths(texts)),
        ..TypeRules::default()
    }
}

fn changing(text: &str, transform: Transform) -> TypeRules {
    TypeRules {
        transforms: vec![(paths(&[text]).remove(0), transform)],
        ..TypeRules::default()
    }
}

fn fhir(rules: FhirRules) -> Rules {
    Rules {
        fhir: Some(rules),
        ..Rules::default()
    }
}

fn patient(rules: TypeRules) -> Rules {
    fhir(typed("Patient", rules))
}

fn code(rules: &Rules, limits: Limits, body: &str) -> (&'static str, u64) {
    let error = every_way_within(rules, limits, body.as_bytes()).expect_err(body);
    (error.code(), error.offset())
}

#[test]
fn rule_16_a_type_has_its_rules_wherever_it_stands() {
    let rules = patient(without(&["telecom", "name.given"]));
    let inner =
        r#"{"resourceType":"Patient","id":"p","telecom":[{"value":"c"}],"name":[{"family":"F","given":["c"]}]}"#;
    let less = r#"{"resourceType":"Patient","id":"p","name":[{"family":"F"}]}"#;
    for around in [
        "@",
        r#"{"resourceType":"Bundle","entry":[{"resource":@},{"telecom":1,"resource":@}]}"#,
        r#"{"resourceType":"Bundle","entry":[{"response":{"outcome":@}}],"issues":@}"#,
        r#"{"resourceType":"Observation","contained":[@,@],"telecom":[1],"name":[{"given":2}]}"#,
        r#"{"resourceType":"Parameters","parameter":[{"resource":@},{"part":[{"part":[{"name":"given","resource":@}]}]}]}"#,
        r#"{"prefetch":{"patient":@,"telecom":1},"list":[1,[@]]}"#,
        r#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Bundle","entry":[{"resource":@}]}}]}"#,
        r#"{"resourceType":"Patient","contained":[@],"id":"x"}"#,
        r#"[@,[@]]"#,
    ] {
        check(&rules, &around.replace('@', inner), &around.replace('@', less));
    }
}

#[test]
fn rule_16_the_type_may_come_late() {
    let rules = patient(without(&["telecom"]));
    for (body, wanted) in [
        (
            r#"{"telecom":[{"resourceType":"x"}],"id":"p","resourceType":"Patient","a":1}"#,
            r#"{"id":"p","resourceType":"Patient","a":1}"#,
        ),
        (
            r#" { "id" : "p" , "telecom":1, "\u0072esourceType" : "Pat\u0069ent" , "a":1}"#,
            r#"{"id":"p","\u0072esourceType":"Pat\u0069ent","a":1}"#,
        ),
        (
            r#"{"resourceType":"Bundle","entry":[{"resource":{"telecom":1,"id":"p","resourceType":"Patient"}}]}"#,
            r#"{"resourceType":"Bundle","entry":[{"resource":{"id":"p","resourceType":"Patient"}}]}"#,
        ),
    ] {
        check(&rules, body, wanted);
    }
    let limits = Limits {
        max_hold: 40,
        ..Limits::default()
    };
    let late = |filler: usize| {
        format!(
            r#"{{"a":"{}","resourceType":"Patient","telecom":1}}"#,
            "x".repeat(filler)
        )
    };
    assert!(every_way_within(&rules, limits, late(8).as_bytes()).is_ok());
    assert_eq!(code(&rules, limits, &late(9)), ("fhir_no_type", 5));
    let inside = |filler: usize| format!(r#"{{"resourceType":"Bundle","issues":{}}}"#, late(filler));
    assert!(every_way_within(&rules, limits, inside(8).as_bytes()).is_ok());
    assert_eq!(code(&rules, limits, &inside(9)), ("fhir_no_type", 34));
}

/// All that comes out before a fault, whatever the chunks; and the fault.
fn before_fault(rules: &Rules, limits: Limits, body: &str) -> (String, &'static str) {
    let program = Arc::new(rules.compiled().expect("small"));
    let (mut most, mut code) = (Vec::new(), "");
    for size in (1..=body.len()).rev() {
        let (mut trimmer, mut out) = (trimmer(&program, limits), Vec::new());
        let mut chunks = body.as_bytes().chunks(size);
        let error = chunks
            .find_map(|chunk| trimmer.push(chunk, false, &mut out).err())
            .or_else(|| trimmer.push(b"", true, &mut out).err());
        let error = error.unwrap_or_else(|| panic!("{body}: came out as {}", out.escape_ascii()));
        assert!(code.is_empty() || code == error.code(), "{body}");
        code = error.code();
        if out.len() > most.len() {
            most = out;
        }
    }
    (String::from_utf8(most).expect("UTF-8"), code)
}

fn small_hold() -> Limits {
    Limits {
        max_hold: 60,
        ..Limits::default()
    }
}

const SORTED: &str = r#"{"id":"p","resourceType":"Patient","telecom":[{"value":"c"}]}"#;
const LESS: &str = r#"{"id":"p","resourceType":"Patient"}"#;

#[test]
fn rule_17_a_long_bundle_may_say_late_that_it_is_one() {
    let mut rules = patient(without(&["telecom"]));
    let entries = r#"[{"fullUrl":"u","resource":@},{"resource":@,"response":{"outcome":@}}]"#;
    let bundles = [
        r#"{"entry":#,"id":"b","link":[],"meta":{"a":1},"resourceType":"Bundle","total":2,"type":"t"}"#,
        r#"{"_id":{},"\u0065ntry":#,"\u0072esourceType":"Bundl\u0065","issues":@}"#,
        r#"{"entry":[{"resource":{"entry":#,"resourceType":"Bundle"}}],"resourceType":"Bundle"}"#,
        r#"{"resourceType":"Bundle","entry":[{"resource":{"entry":#,"resourceType":"Bundle"}}]}"#,
        r#"[{"x":[{"entry":#,"resourceType":"Bundle"}]}]"#,
    ];
    for bundle in bundles {
        let body = |inner: &str| bundle.replace('#', entries).replace('@', inner);
        let (out, _) = every_way_within(&rules, small_hold(), body(SORTED).as_bytes()).expect(bundle);
        assert_eq!(String::from_utf8(out).expect("UTF-8"), body(LESS));
    }
    // A Bundle's own rules hold, the label too.
    if let Some(fhir) = &mut rules.fhir {
        fhir.types
            .push(("Bundle".to_owned(), without(&["link", "entry.fullUrl"])));
        (fhir.others, fhir.tag) = (Others::Remove, true);
    }
    let body = r#"{"entry":[{"fullUrl":"c","search":{"mode":"a long one, longer than all"}}],"link":["c"],"resourceType":"Bundle","total":1}"#;
    let (out, _) = every_way_within(&rules, small_hold(), body.as_bytes()).expect(body);
    assert_eq!(
        String::from_utf8(out).expect("UTF-8"),
        r#"{"entry":[{"search":{"mode":"a long one, longer than all"}}],"resourceType":"Bundle","total":1,"meta":{"security":[@]}}"#
            .replace('@', TAG)
    );
}

#[test]
fn rule_17_what_is_no_bundle_does_not_get_out_as_one() {
    let rules = patient(without(&["telecom"]));
    let start = r#"{"entry":[{"fullUrl":"a long address, longer than what may be held"}]"#;
    for (rest, code) in [
        (r#","resourceType":"List","id":"canary"}"#, "fhir_no_type"),
        (r#","resourceType":["canary"]}"#, "fhir_no_type"),
        (r#","resourceType":null,"id":"canary"}"#, "fhir_no_type"),
        (
            r#","resourceType":"Bundle","resourceType":"Bundle","id":"canary"}"#,
            "fhir_stray_type",
        ),
        (r#"}"#, "fhir_no_type"),
        (r#","name":["canary"],"resourceType":"Bundle"}"#, "fhir_no_type"),
        (r#","resourceType":"Bundle","name":["canary"]}"#, "fhir_no_type"),
        (r#","_name":["canary"],"resourceType":"Bundle"}"#, "fhir_no_type"),
        (r#","contained":["canary"]}"#, "fhir_no_type"),
        (r#","entry":[{"item":"canary"}]}"#, "fhir_no_type"),
        (r#","entry":{"response":{"outcome":{"id":"canary"}}}}"#, "fhir_no_type"),
    ] {
        let body = format!("{start}{rest}");
        let (out, found) = before_fault(&rules, small_hold(), &body);
        assert_eq!(found, code, "{body}");
        assert!(!out.contains("canary"), "{body}: {out}");
        assert_eq!(
            every_way_within(&rules, small_hold(), body.as_bytes())
                .expect_err(rest)
                .code(),
            code
        );
    }
}

#[test]
fn rule_17_what_may_be_a_resource_does_not_get_out() {
    let filler = r#"[{"b":[[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[]]}]"#;
    let list = r#"{"entry":[{"item":{"reference":"Patient/canary","display":"a longer canary"}}],"id":"l","resourceType":"List"}"#;
    let document = r#"{"author":#,"content":[{"attachment":{"data":"canary"}}],"resourceType":"DocumentReference"}"#;
    for others in [Others::Keep, Others::Remove] {
        let rules = fhir(FhirRules {
            others,
            ..typed("Patient", without(&["telecom"]))
        });
        for body in [
            list,
            document,
            r#"{"a":#,"birthDate":"canary","resourceType":"Patient"}"#,
            r#"{"a":#,"name":["canary"],"resourceType":"Patient"}"#,
            r#"{"birthDate":"canary","x":#,"resourceType":"Patient"}"#,
            r#"{"contained":[{"resourceType":"Patient","id":"canary"}],"x":#,"resourceType":"List"}"#,
            r#"{"a":#,"contained":[{"resourceType":"Patient","id":"canary"}],"resourceType":"List"}"#,
            r#"{"a":#,"parameter":[{"resource":{"resourceType":"Patient","id":"canary"}}],"resourceType":"Parameters"}"#,
            r#"{"date":"canary","entry":[{"resource":{"resourceType":"Patient","id":"canary"}}],"x":#,"resourceType":"X"}"#,
            r#"[1,{"a":{"b":{"c":#,"birthDate":"canary","resourceType":"Patient"}}}]"#,
            r#"{"resourceType":"Bundle","entry":[{"resource":{"birthDate":"canary","x":#,"resourceType":"Patient"}}]}"#,
        ] {
            let body = body.replace('#', filler);
            let (out, found) = before_fault(&rules, small_hold(), &body);
            assert!(matches!(found, "fhir_no_type" | "fhir_stray_type"), "{body}");
            assert!(!out.contains("canary"), "{body}: {out}");
        }
    }
}

#[test]
fn rule_17_a_long_answer_that_is_no_resource_is_the_way_to_some() {
    let rules = patient(without(&["telecom"]));
    let long = r#"[{"patient":@},{"patient":@,"x":[null,{}]}]"#;
    for body in [
        r#"{"results":#}"#,
        r#"{"a":{"results":#},"b":@}"#,
        r#"[{"results":{"c":#}}]"#,
        r#"{"cards":[{"summary":"S","suggestions":[{"label":"L","actions":[{"resource":@},{"type":"t"}]}]}],"x":1}"#,
        r#"{"systemActions":[{"description":"a long description, long enough"},{"resource":@}],"x":1}"#,
    ] {
        let body = |inner: &str| body.replace('#', long).replace('@', inner);
        let (out, _) = every_way_within(&rules, small_hold(), body(SORTED).as_bytes()).expect("valid");
        assert_eq!(String::from_utf8(out).expect("UTF-8"), body(LESS));
    }
    let cards = r#"{"cards":[{"summary":"a long summary, longer than what may be held"}],"resourceType":"Patient"}"#;
    assert_eq!(before_fault(&rules, small_hold(), cards).1, "fhir_stray_type");
    // Selectors may take the scalars away.
    let total = r#"{"results":[{"patient":@},{"patient":@}],"total":2}"#;
    assert_eq!(
        before_fault(&rules, small_hold(), &total.replace('@', SORTED)).1,
        "fhir_no_type"
    );
    let (out, _) = every_way_within(
        &rules.and(deny(&["$.total"])),
        small_hold(),
        total.replace('@', SORTED).as_bytes(),
    )
    .expect(total);
    assert_eq!(
        String::from_utf8(out).expect("UTF-8"),
        total.replace('@', LESS).replace(r#","total":2"#, "")
    );
}

#[test]
fn rule_17_a_type_that_is_not_where_it_must_be_is_refused() {
    let rules = patient(without(&["telecom"]));
    for (body, wanted) in [
        (
            r#"{"resourceType":"Patient","resourceType":"Observation"}"#,
            ("fhir_stray_type", 41),
        ),
        (
            r#"{"resourceType":"Observation","resourceType":"Patient"}"#,
            ("fhir_stray_type", 45),
        ),
        (r#"{"resourceType":5}"#, ("fhir_no_type", 0)),
        (r#"{"resourceType":null,"resourceType":"Patient"}"#, ("fhir_no_type", 0)),
        (
            r#"{"resourceType":"A","x":{"resourceType":"Patient"}}"#,
            ("fhir_stray_type", 40),
        ),
        (
            r#"{"resourceType":"A","x":[[{"y":[{"resourceType":1}]}]]}"#,
            ("fhir_stray_type", 48),
        ),
        (
            r#"{"resourceType":"A","entry":[{"resource":{"resourceType":"Patient"}}]}"#,
            ("fhir_stray_type", 57),
        ),
        (r#"{"resourceType":"A","contained":[{"id":"x"}]}"#, ("fhir_no_type", 33)),
        (r#"{"resourceType":"A","contained":["x"]}"#, ("fhir_no_type", 33)),
        (r#"{"resourceType":"A","contained":{}}"#, ("fhir_no_type", 32)),
        (
            r#"{"resourceType":"Bundle","entry":[{"resource":7}]}"#,
            ("fhir_no_type", 46),
        ),
        (
            r#"{"resourceType":"Bundle","entry":[{"resource":{"a":1}}]}"#,
            ("fhir_no_type", 46),
        ),
    ] {
        assert_eq!(code(&rules, Limits::default(), body), wanted, "{body}");
    }
    let scenario = r#"{"resourceType":"ExampleScenario","instance":[{"resourceType":"Patient"}]}"#;
    check(&rules, scenario, scenario);
    check(
        &patient(without(&["x"])).and(allow(&["$..name"])),
        r#"{"resourceType":"A","contained":1,"name":2}"#,
        r#"{"resourceType":"A","name":2}"#,
    );
    let empty = r#"{"resourceType":"A","contained":[null,[]]}"#;
    check(&rules, empty, empty);
}

#[test]
fn rule_18_allow_lists_keep_the_type_and_stop_at_borders() {
    let body = r#"{"resourceType":"Bundle","type":"t","entry":[{"fullUrl":"u","resource":{"resourceType":"Patient","id":"p","x":1}}]}"#;
    let two = |bundle: &[&str], own: &[&str]| {
        fhir(FhirRules {
            types: vec![("Bundle".to_owned(), only(bundle)), ("Patient".to_owned(), only(own))],
            ..FhirRules::default()
        })
    };
    check(
        &two(&["type"], &["id"]),
        body,
        r#"{"resourceType":"Bundle","type":"t"}"#,
    );
    check(
        &two(&["entry"], &["id"]),
        body,
        r#"{"resourceType":"Bundle","entry":[{"fullUrl":"u","resource":{"resourceType":"Patient","id":"p"}}]}"#,
    );
    check(
        &two(&["entry.resource"], &["x"]),
        body,
        r#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient","x":1}}]}"#,
    );
    check(
        &two(&["entry.fullUrl"], &["x"]),
        body,
        r#"{"resourceType":"Bundle","entry":[{"fullUrl":"u"}]}"#,
    );
    check(&two(&[], &[]), body, r#"{"resourceType":"Bundle"}"#);
    check(
        &patient(only(&[])),
        body,
        r#"{"resourceType":"Bundle","type":"t","entry":[{"fullUrl":"u","resource":{"resourceType":"Patient"}}]}"#,
    );
    // Rules for all: either list keeps, either denies.
    let mut both = typed("Patient", only(&["id"]));
    both.all = TypeRules {
        deny: paths(&["y"]),
        ..only(&["x", "y", "entry", "type"])
    };
    check(
        &fhir(both.clone()),
        r#"{"resourceType":"Patient","id":"p","x":1,"y":2,"z":3}"#,
        r#"{"resourceType":"Patient","id":"p","x":1}"#,
    );
    check(
        &fhir(both),
        r#"{"resourceType":"Other","id":"p","x":1,"y":2,"z":3}"#,
        r#"{"resourceType":"Other","x":1}"#,
    );
}

#[test]
fn rule_18_both_layers_must_keep() {
    let body = r#"{"resourceType":"Patient","id":"p","name":[{"family":"F","given":["G"],"text":"T"}],"x":1}"#;
    check(
        &patient(only(&["name", "id"])).and(deny(&["$..given"])),
        body,
        r#"{"resourceType":"Patient","id":"p","name":[{"family":"F","text":"T"}]}"#,
    );
    check(
        &patient(without(&["name.text"])).and(allow(&["$.name"])),
        body,
        r#"{"resourceType":"Patient","name":[{"family":"F","given":["G"]}]}"#,
    );
    check(
        &patient(only(&["name.family"])).and(allow(&["$.name[*]['given','family']"])),
        body,
        r#"{"resourceType":"Patient","name":[{"family":"F"}]}"#,
    );
    check(
        &patient(changing("name.family", Transform::Mask)).and(change("$.name[0].family", Transform::Null)),
        body,
        &body.replace("\"F\"", "null"),
    );
    let mut two = typed("Patient", changing("id", Transform::Mask));
    two.all = changing("..id", Transform::Null);
    check(
        &fhir(two),
        r#"{"resourceType":"Patient","id":"p","a":{"id":1}}"#,
        r#"{"resourceType":"Patient","id":"***","a":{"id":null}}"#,
    );
    check(
        &patient(without(&["id"])).and(change("$.id", Transform::Mask)),
        body,
        &body.replace(r#""id":"p","#, ""),
    );
    check(&patient(without(&["id"])).and(deny(&["$"])), body, "{}");
    check(
        &patient(without(&["id"])).and(deny(&["$.entry[?@.k == 1]"])),
        r#"{"resourceType":"Bundle","entry":[{"k":1},{"k":2,"resource":{"id":"c","resourceType":"Patient"}}]}"#,
        r#"{"resourceType":"Bundle","entry":[{"k":2,"resource":{"resourceType":"Patient"}}]}"#,
    );
}

#[test]
fn rule_18_rewriters_come_last() {
    let body = r#"{"resourceType":"OperationOutcome","issue":[{"code":"a","diagnostics":"7"},{"code":"b","diagnostics":["7"]}]}"#;
    let rewriter = || change("$.issue[*].diagnostics", Transform::Rewrite(0));
    let outcome = |rules: TypeRules| fhir(typed("OperationOutcome", rules));
    let with = |one: &str, two: &str| body.replace(r#"["7"]"#, two).replace(r#""7""#, one);
    let all = FhirRules {
        all: changing("..diagnostics", Transform::Null),
        ..FhirRules::default()
    };
    for (rules, wanted) in [
        (outcome(without(&["x"])).and(rewriter()), with(r#""\"*\"""#, r#""***""#)),
        (
            outcome(changing("issue.diagnostics", Transform::Null)).and(rewriter()),
            with("null", "[null]"),
        ),
        (fhir(all).and(rewriter()), with("null", "[null]")),
        (
            outcome(changing("issue[?@.code == 'b'].diagnostics", Transform::Null)).and(rewriter()),
            with(r#""\"*\"""#, "[null]"),
        ),
        (
            outcome(changing("issue.diagnostics[?@ == '7']", Transform::Null)).and(rewriter()),
            with("null", r#""***""#),
        ),
        (
            outcome(changing("issue.diagnostics[?@ == '8']", Transform::Null)).and(rewriter()),
            with(r#""\"*\"""#, r#""***""#),
        ),
        (
            outcome(changing("issue.diagnostics", Transform::Null))
                .and(change("$.issue[0].diagnostics", Transform::Mask))
                .and(rewriter()),
            with(r#""***""#, "[null]"),
        ),
        (
            outcome(without(&["issue.diagnostics"])).and(rewriter()),
            r#"{"resourceType":"OperationOutcome","issue":[{"code":"a"},{"code":"b"}]}"#.to_owned(),
        ),
    ] {
        assert_eq!(rewritten(&rules, Limits::default(), body).0, wanted);
    }
}

#[test]
fn rule_19_others_go_as_a_whole() {
    let rules = fhir(FhirRules {
        others: Others::Remove,
        ..typed("Patient", TypeRules::default())
    });
    check(
        &rules,
        r#"{"resourceType":"Bundle","entry":[{"fullUrl":"u","resource":{"resourceType":"Observation","value":"c"}},{"resource":{"resourceType":"Patient","contained":[{"resourceType":"X"},{"resourceType":"Patient"}]}}]}"#,
        r#"{"resourceType":"Bundle","entry":[{"fullUrl":"u"},{"resource":{"resourceType":"Patient","contained":[{"resourceType":"Patient"}]}}]}"#,
    );
    check(&rules, r#"{"resourceType":"Observation","value":"c"}"#, "{}");
    let outcome = r#"{"resourceType":"OperationOutcome","issue":[]}"#;
    check(&rules, outcome, outcome);
    let parameters = r#"{"resourceType":"Parameters","parameter":[]}"#;
    check(&rules, parameters, parameters);
    check(&rules, r#"{"a":1,"b":{"resourceType":"Observation"}}"#, "{}");
}

#[test]
fn rule_19_scalars_outside_of_resources_go() {
    let rules = |others| {
        fhir(FhirRules {
            others,
            ..typed("Patient", without(&["telecom"]))
        })
    };
    for (body, wanted) in [
        (r#"{"message":"Patient John Smith MRN 123 not found"}"#, "{}"),
        (
            r#"{"ResourceType":"Patient","name":[{"family":"F","given":["G"]}],"active":true}"#,
            r#"{"name":[{"given":[]}]}"#,
        ),
        (
            r#"{"a":1,"patient":{"resourceType":"Patient","id":"p","telecom":1},"b":[null,"c",[{"resourceType":"Patient","id":"q"}]]}"#,
            r#"{"patient":{"resourceType":"Patient","id":"p"},"b":[[{"resourceType":"Patient","id":"q"}]]}"#,
        ),
        (r#""Patient John Smith""#, "null"),
        ("12", "null"),
        ("[1,[2]]", "[[]]"),
    ] {
        check(&rules(Others::Remove), body, wanted);
        check(&rules(Others::Keep), body, &body.replace(r#","telecom":1"#, ""));
    }
    // A selector's transform does not bring them back.
    check(
        &rules(Others::Remove).and(change("$.message", Transform::Mask)),
        r#"{"message":"c","x":{}}"#,
        r#"{"x":{}}"#,
    );
    let long = r#"{"results":[{"name":"c","patient":@},{"patient":@}],"total":2}"#;
    let (out, _) = every_way_within(
        &rules(Others::Remove),
        small_hold(),
        long.replace('@', SORTED).as_bytes(),
    )
    .expect(long);
    assert_eq!(
        String::from_utf8(out).expect("UTF-8"),
        r#"{"results":[{"patient":@},{"patient":@}]}"#.replace('@', LESS)
    );
}

#[test]
fn rule_20_paths_and_their_siblings() {
    let body = r#"{"resourceType":"Patient","birthDate":"1974-12-25","_birthDate":{"extension":[{"url":"c"}]},"name":[{"given":["A","B"],"_given":[null,{"id":"c"}],"_family":{"id":1}}],"valueQuantity":{"value":1},"value":2,"valueset":3}"#;
    check(
        &patient(without(&["birthDate", "name.given", "value[x]"])),
        body,
        r#"{"resourceType":"Patient","name":[{"_family":{"id":1}}],"value":2,"valueset":3}"#,
    );
    check(
        &patient(only(&["birthDate", "name.given"])),
        body,
        r#"{"resourceType":"Patient","birthDate":"1974-12-25","_birthDate":{"extension":[{"url":"c"}]},"name":[{"given":["A","B"],"_given":[null,{"id":"c"}]}]}"#,
    );
    check(
        &patient(changing("name.given", Transform::Mask)),
        body,
        &body.replace(r#"["A","B"],"_given":[null,{"id":"c"}]"#, r#"["***","***"]"#),
    );
    check(
        &patient(changing("birthDate", Transform::Year)),
        body,
        &body.replace(r#""1974-12-25","_birthDate":{"extension":[{"url":"c"}]}"#, r#""1974""#),
    );
    check(
        &patient(changing("name", Transform::Mask)),
        r#"{"resourceType":"Patient","name":[{"a":1},"b",[1,{}]],"x":{"name":1}}"#,
        r#"{"resourceType":"Patient","name":["***","***",["***","***"]],"x":{"name":1}}"#,
    );
    check(
        &patient(without(&["birthDate.extension"])),
        body,
        &body.replace(r#"{"extension":[{"url":"c"}]}"#, "{}"),
    );
    let deep = r#"{"resourceType":"Patient","a":{"b":{"id":1}},"id":2,"contained":[{"resourceType":"X","id":3}]}"#;
    for path in ["..id", "**.id"] {
        check(
            &patient(without(&[path])),
            deep,
            r#"{"resourceType":"Patient","a":{"b":{}},"contained":[{"resourceType":"X","id":3}]}"#,
        );
    }
    check(&patient(without(&["a..id"])), deep, &deep.replace(r#"{"id":1}"#, "{}"));
}

#[test]
fn rule_20_filters_in_paths() {
    let body = r#"{"resourceType":"Patient","name":[{"use":"official","family":"F"},{"family":"G","use":"old"},{"family":"H"}],"telecom":{"use":"old","value":"c"}}"#;
    check(
        &patient(without(&["name[?(@.use == 'old')]"])),
        body,
        &body.replace(r#",{"family":"G","use":"old"}"#, ""),
    );
    check(
        &patient(without(&["name[?@.use].family", "telecom[?@.use == 'old']"])),
        body,
        r#"{"resourceType":"Patient","name":[{"use":"official"},{"use":"old"},{"family":"H"}]}"#,
    );
    check(
        &patient(only(&["name[?@.use == 'official'].family"])),
        body,
        r#"{"resourceType":"Patient","name":[{"family":"F"}]}"#,
    );
    check(
        &patient(only(&["name[?@.use == 'official']"])),
        body,
        r#"{"resourceType":"Patient","name":[{"use":"official","family":"F"}]}"#,
    );
    check(
        &patient(changing("name[?@.family == 'H'].family", Transform::Null)),
        body,
        &body.replace(r#""H""#, "null"),
    );
    check(
        &patient(changing("name[?@.family != 'H']", Transform::Mask)),
        body,
        r#"{"resourceType":"Patient","name":["***","***",{"family":"H"}],"telecom":{"use":"old","value":"c"}}"#,
    );
    check(
        &patient(without(&["given[?@ == 'x']"])),
        r#"{"resourceType":"Patient","given":["x","y"],"_given":[{"id":1},null]}"#,
        r#"{"resourceType":"Patient","given":["y"]}"#,
    );
    let error = patient(without(&["contained.name"])).compiled().expect_err("crosses");
    assert!(
        error
            .to_string()
            .contains("`contained.name` of Patient leads into another resource"),
        "{error}"
    );
}

#[test]
fn rule_20_paths_end_at_the_next_resource() {
    for (rules, part) in [
        (
            typed("Bundle", without(&["entry.resource.name"])),
            "of Bundle leads into another resource",
        ),
        (typed("X", only(&["contained.id"])), "of X leads into another resource"),
        (
            FhirRules {
                all: changing("entry.resource.name", Transform::Mask),
                ..FhirRules::default()
            },
            "`entry.resource.name` leads into another resource",
        ),
    ] {
        let error = fhir(rules).compiled().expect_err(part).to_string();
        assert!(error.contains(part), "{error}");
    }
    assert!(patient(without(&["entry.resource.name"])).compiled().is_ok());
}

#[test]
fn rule_15_a_type_may_come_32_kib_late_and_no_more_is_held() {
    let rules = patient(without(&["telecom"]));
    let body = |filler: usize| {
        let filler = "x".repeat(filler);
        format!(
            r#"{{"resourceType":"Bundle","entry":[{{"resource":{{"id":"{filler}","resourceType":"Patient","telecom":1}}}}]}}"#
        )
    };
    let around = r#"{"id":"","resourceType":"Patient""#.len();
    for (filler, fits) in [((16 << 10) - around, true), ((16 << 10) - around + 1, false)] {
        let body = body(filler);
        for size in [1, 1000, body.len()] {
            let mut trimmer = rules.trimmer(Limits::default());
            let mut out = Vec::new();
            let mut result = Ok(());
            for chunk in body.as_bytes().chunks(size) {
                result = result.and_then(|()| trimmer.push(chunk, false, &mut out));
                assert!(trimmer.state.memory() + trimmer.held.capacity() <= (64 << 10) + 4096);
            }
            assert_eq!(
                result.map_err(|error| error.code()),
                if fits { Ok(()) } else { Err("fhir_no_type") }
            );
            assert_eq!(
                fits,
                String::from_utf8_lossy(&out).ends_with(r#""resourceType":"Patient"}}]}"#)
            );
        }
    }
}

#[test]
fn rule_21_narrative() {
    let rules = fhir(FhirRules {
        narrative: true,
        ..FhirRules::default()
    });
    check(
        &rules,
        r#"{"resourceType":"Composition","text":{"div":"c"},"section":[{"text":{"div":"c"},"title":"t","section":[{"text":{}}]}],"code":{"text":"T"}}"#,
        r#"{"resourceType":"Composition","section":[{"title":"t","section":[{}]}],"code":{"text":"T"}}"#,
    );
    check(
        &rules,
        r#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient","_text":1,"text":{"div":"c"},"name":[{"text":"T"}],"x":{"div":"c"}}}]}"#,
        r#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient","name":[{"text":"T"}],"x":{}}}]}"#,
    );
}

#[test]
fn rule_21_display_of_references() {
    let rules = fhir(FhirRules {
        reference_display: true,
        ..FhirRules::default()
    });
    check(
        &rules,
        r#"{"resourceType":"X","subject":{"reference":"Patient/1","display":"c","_display":{}},"code":{"coding":[{"system":"s","display":"D"},{"code":"k","display":"E"},{"display":"c","code":"k"}]},"who":{"identifier":{"system":"s","value":"v"},"display":"c"},"display":"c"}"#,
        r#"{"resourceType":"X","subject":{"reference":"Patient/1"},"code":{"coding":[{"system":"s","display":"D"},{"code":"k","display":"E"},{"code":"k"}]},"who":{"identifier":{"system":"s","value":"v"}}}"#,
    );
}

#[test]
fn rule_21_attachments() {
    let rules = fhir(FhirRules {
        attachments: true,
        ..FhirRules::default()
    });
    check(
        &rules,
        r#"{"resourceType":"X","photo":[{"contentType":"i","url":"c","_url":1,"title":"c","data":"c","hash":"c","size":1}],"content":[{"attachment":{"url":"c","language":"en"}}],"url":"u","title":"t","data":["c",{"data":"c","x":1}],"valueSampledData":{"data":"1 2 3","period":1},"data":null}"#,
        r#"{"resourceType":"X","photo":[{"contentType":"i","size":1}],"content":[{"attachment":{"language":"en"}}],"url":"u","title":"t","data":[{"x":1}],"valueSampledData":{"data":"1 2 3","period":1}}"#,
    );
    check(
        &rules,
        r#"{"resourceType":"Binary","contentType":"t","data":"c"}"#,
        r#"{"resourceType":"Binary","contentType":"t"}"#,
    );
}

#[test]
fn rule_21_extensions() {
    let rules = fhir(FhirRules {
        extensions: true,
        ..FhirRules::default()
    });
    check(
        &rules,
        r#"{"resourceType":"X","extension":[{"url":"c"}],"modifierExtension":[{"url":"m","extension":[1]}],"_id":{},"\u005fx":1,"a":{"_b":1,"b":2,"_":3,"extension":4}}"#,
        r#"{"resourceType":"X","modifierExtension":[{"url":"m"}],"a":{"b":2}}"#,
    );
}

const TAG: &str =
    r#"{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"REDACTED","display":"redacted"}"#;

#[test]
fn rule_22_labels() {
    let tagged = |rules: FhirRules| fhir(FhirRules { tag: true, ..rules });
    let rules = tagged(typed("Patient", without(&["x"])));
    let check = |rules: &Rules, body: &str, wanted: &str| check(rules, body, &wanted.replace('@', TAG));
    for (body, wanted) in [
        (r#"{}"#, r#"{"meta":{"security":[@]}}"#),
        (r#"{"x":1}"#, r#"{"meta":{"security":[@]}}"#),
        (r#"{"id":1,"x":1}"#, r#"{"id":1,"meta":{"security":[@]}}"#),
        (r#"{"meta":{},"id":1}"#, r#"{"meta":{"security":[@]},"id":1}"#),
        (
            r#"{"meta":{"profile":["p"]},"id":1}"#,
            r#"{"meta":{"profile":["p"],"security":[@]},"id":1}"#,
        ),
        (r#"{"meta":{"security":[]}}"#, r#"{"meta":{"security":[@]}}"#),
        (
            r#"{"meta":{"security":[{"code":"N"}],"p":1}}"#,
            r#"{"meta":{"security":[{"code":"N"},@],"p":1}}"#,
        ),
        (r#"{"meta":5,"id":1}"#, r#"{"id":1,"meta":{"security":[@]}}"#),
        (
            r#"{"meta":[{"security":[]}],"id":1}"#,
            r#"{"id":1,"meta":{"security":[@]}}"#,
        ),
        (
            r#"{"meta":{"security":{"code":"N"},"p":1}}"#,
            r#"{"meta":{"p":1,"security":[@]}}"#,
        ),
        (
            r#"{"a":{"meta":{"security":[1]}}}"#,
            r#"{"a":{"meta":{"security":[1]}},"meta":{"security":[@]}}"#,
        ),
    ] {
        let resource = |text: &str| {
            let text = text.replacen('{', r#"{"resourceType":"Patient","#, 1);
            text.replace(",}", "}")
        };
        check(&rules, &resource(body), &resource(wanted));
        let bundle = |text: &str| {
            format!(
                r#"{{"resourceType":"Bundle","entry":[{{"resource":{}}}]}}"#,
                resource(text)
            )
        };
        check(&rules, &bundle(body), &bundle(wanted));
    }
    // What is not trimmed is not labelled, and a contained resource only where the one around it is not.
    let other = r#"{"resourceType":"Observation","id":1}"#;
    check(&rules, other, other);
    check(
        &rules,
        r#"{"resourceType":"Observation","contained":[{"resourceType":"Patient"}]}"#,
        r#"{"resourceType":"Observation","contained":[{"resourceType":"Patient","meta":{"security":[@]}}]}"#,
    );
    check(
        &rules,
        r#"{"resourceType":"Patient","contained":[{"resourceType":"Patient"}]}"#,
        r#"{"resourceType":"Patient","contained":[{"resourceType":"Patient"}],"meta":{"security":[@]}}"#,
    );
    // Nor is what a rewriter may touch.
    let links = rules.clone().and(change("$.link[*].url", Transform::Rewrite(0)));
    check(&links, other, other);
    // Rules on the label's own place.
    let body = r#"{"resourceType":"Patient","meta":{"versionId":"1","security":[{"system":"s","code":"N"}]},"id":1}"#;
    for (rules, wanted) in [
        (
            without(&["meta"]),
            r#"{"resourceType":"Patient","id":1,"meta":{"security":[@]}}"#,
        ),
        (
            without(&["meta.security"]),
            r#"{"resourceType":"Patient","meta":{"versionId":"1","security":[@]},"id":1}"#,
        ),
        (
            without(&["..code"]),
            r#"{"resourceType":"Patient","meta":{"versionId":"1","security":[{"system":"s"},@]},"id":1}"#,
        ),
        (
            only(&["id"]),
            r#"{"resourceType":"Patient","id":1,"meta":{"security":[@]}}"#,
        ),
        (
            only(&["meta.versionId"]),
            r#"{"resourceType":"Patient","meta":{"versionId":"1","security":[@]}}"#,
        ),
        (
            only(&["meta.security.code"]),
            r#"{"resourceType":"Patient","meta":{"security":[{"code":"N"},@]}}"#,
        ),
        (only(&[]), r#"{"resourceType":"Patient","meta":{"security":[@]}}"#),
        (
            changing("meta", Transform::Mask),
            r#"{"resourceType":"Patient","id":1,"meta":{"security":[@]}}"#,
        ),
        (
            changing("meta.security", Transform::Mask),
            r#"{"resourceType":"Patient","meta":{"versionId":"1","security":[@]},"id":1}"#,
        ),
        (
            without(&["meta.security[?@.code == 'N']"]),
            r#"{"resourceType":"Patient","meta":{"versionId":"1","security":[@]},"id":1}"#,
        ),
        (
            without(&["meta[?@.versionId == '1']"]),
            r#"{"resourceType":"Patient","id":1,"meta":{"security":[@]}}"#,
        ),
        (
            without(&["meta[?@.versionId == '2']"]),
            r#"{"resourceType":"Patient","meta":{"versionId":"1","security":[{"system":"s","code":"N"},@]},"id":1}"#,
        ),
    ] {
        check(&tagged(typed("Patient", rules)), body, wanted);
    }
    for path in ["$.meta", "$..security", "$.meta.security[*]"] {
        let (out, _) = every_way(&tagged(typed("Patient", without(&["x"]))).and(deny(&[path])), body).expect("valid");
        assert_eq!(String::from_utf8_lossy(&out).matches("REDACTED").count(), 1, "{path}");
    }
    check(&tagged(typed("Patient", without(&["x"]))).and(deny(&["$"])), body, "{}");
}

#[test]
fn a_bundle_through_all_groups() {
    let rules = fhir(FhirRules {
        narrative: true,
        reference_display: true,
        attachments: true,
        extensions: true,
        tag: true,
        others: Others::Remove,
        ..typed(
            "Patient",
            without(&["identifier", "telecom", "address", "contact.address", "contact.telecom"]),
        )
    });
    let (out, _) = every_way(
        &rules,
        &BUNDLE.replace(r#"{"text": "canary-8","#, "{\"text\": {\"div\":\"canary-8\"},"),
    )
    .expect("valid");
    let out = String::from_utf8(out).expect("UTF-8");
    for n in 0..9 {
        assert!(!out.contains(&format!("canary-{n}")), "{n}: {out}");
    }
    assert_eq!(out.matches("REDACTED").count(), 3);
    assert!(out.contains(r#""birthDate":"1951""#) && !out.contains("1974-12-25T"));
    serde_json::from_str::<serde_json::Value>(&out).expect("valid");
}

// --- against a tree --------------------------------------------------------------------------------------------

fn any_fhir_name() -> impl Strategy<Value = (String, String)> {
    let names = vec![
        "a",
        "b",
        "name",
        "family",
        "use",
        "text",
        "div",
        "display",
        "system",
        "code",
        "data",
        "url",
        "photo",
        "valueSampledData",
        "extension",
        "_a",
        "_name",
        "_family",
        "_display",
        "meta",
        "security",
        "contained",
        "entry",
        "resource",
        "response",
        "outcome",
        "parameter",
        "part",
        "section",
        "instance",
        "valueString",
        "_meta",
    ];
    (prop::sample::select(names), 0..20u8).prop_map(|(name, escaped)| {
        let raw = if escaped == 0 {
            format!("\"\\u{:04x}{}\"", u32::from(name.as_bytes()[0]), &name[1..])
        } else {
            format!("\"{name}\"")
        };
        (raw, name.to_owned())
    })
}

fn any_fhir_tree() -> impl Strategy<Value = Tree> {
    let scalar = prop::sample::select(vec![
        "1.10",
        "true",
        "null",
        r#""x""#,
        r#""x""#,
        r#""old""#,
        r#""1974-12-25""#,
        r#""a text""#,
    ])
    .prop_map(|text| Tree::Scalar(text.to_owned()));
    scalar.prop_recursive(6, 60, 6, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Tree::Array),
            4 => prop::collection::vec((any_fhir_name(), inner), 0..7)
                .prop_map(|members| Tree::Object(members.into_iter().map(|((raw, name), value)| (raw, name, value)).collect())),
        ]
    })
}

const TYPES: [&str; 7] = [
    "Patient",
    "Bundle",
    "Parameters",
    "Observation",
    "Composition",
    "ExampleScenario",
    "OperationOutcome",
];

/// Makes most objects resources that stand where resources stand, and now and then one that does not.
fn settle(tree: &mut Tree, way: &[&str], kind: &str, must: bool, dice: &mut dyn Iterator<Item = u8>) {
    let (mut way, mut own_kind) = (way.to_vec(), kind.to_owned());
    match tree {
        Tree::Scalar(text) if must => *text = "null".to_owned(),
        Tree::Scalar(_) => {}
        Tree::Array(items) => items.iter_mut().for_each(|item| settle(item, &way, kind, must, dice)),
        Tree::Object(members) => {
            let mut roll = || usize::from(dice.next().unwrap_or_default());
            let resource = if must {
                roll() % 40 != 0
            } else {
                kind.is_empty() && roll() % 2 == 0
            };
            if resource {
                let name = TYPES[roll() % TYPES.len()];
                let at = if roll() % 2 == 0 {
                    0
                } else {
                    roll() % (members.len() + 1)
                };
                let value = if roll() % 60 == 0 {
                    Tree::Scalar("1".into())
                } else {
                    Tree::Scalar(format!("\"{name}\""))
                };
                members.insert(at, ("\"resourceType\"".into(), "resourceType".into(), value));
                (way, own_kind) = (Vec::new(), name.to_owned());
            }
            if roll() % 80 == 0 {
                members.push((
                    "\"resourceType\"".into(),
                    "resourceType".into(),
                    Tree::Scalar("\"Patient\"".into()),
                ));
            }
            // Bundles have no others, and may be told by that.
            let names: &[&str] = match (own_kind.as_str(), way.as_slice()) {
                ("Bundle", []) if roll() % 2 == 0 => &["entry", "link", "meta", "_id", "entry", "total"],
                ("Bundle", ["entry"]) if roll() % 2 == 0 => &["resource", "response", "link"],
                _ => &[],
            };
            for (raw, name, _) in members.iter_mut().filter(|(_, name, _)| name != "resourceType") {
                if !names.is_empty() {
                    *name = names[roll() % names.len()].to_owned();
                    *raw = format!("\"{name}\"");
                }
            }
            for (_, name, value) in members {
                let border = match (own_kind.as_str(), way.as_slice(), name.as_str()) {
                    ("", ..) => false,
                    (_, [], "contained")
                    | ("Bundle", ["entry"], "resource")
                    | ("Bundle", ["entry", "response"], "outcome") => true,
                    ("Parameters", ["parameter", rest @ ..], "resource") => rest.iter().all(|name| *name == "part"),
                    _ => false,
                };
                let mut below = way.clone();
                below.push(if border { "" } else { name.as_str() });
                settle(
                    value,
                    &below,
                    if own_kind.is_empty() { "" } else { &own_kind },
                    border,
                    dice,
                );
            }
        }
    }
}

fn any_paths() -> impl Strategy<Value = Vec<FhirPath>> {
    let path = prop::sample::select(vec![
        "a",
        "b",
        "name",
        "name.family",
        "..a",
        "..use",
        "a..b",
        "name[?@.use == 'x']",
        "name[?@.use == 'old'].family",
        "a[?@ == 'x']",
        "entry",
        "entry.resource",
        "entry.response.a",
        "parameter.part",
        "contained",
        "meta",
        "meta.security",
        "meta.a",
        "value[x]",
        "text",
        "section.text",
    ]);
    prop::collection::vec(path.prop_map(|text| FhirPath::parse(text).expect(text)), 0..4)
}

fn any_type_rules() -> impl Strategy<Value = TypeRules> {
    let transform = prop::sample::select(Transform::NAMES.map(|(_, transform)| transform).to_vec());
    (
        any_paths(),
        prop::option::weighted(0.4, any_paths()),
        any_paths(),
        transform,
    )
        .prop_map(|(deny, allow, changed, transform)| TypeRules {
            deny,
            allow,
            transforms: changed.into_iter().take(2).map(|path| (path, transform)).collect(),
        })
}

fn any_fhir_rules() -> impl Strategy<Value = Rules> {
    let json = prop_oneof![
        3 => Just(Rules::default()),
        2 => prop::sample::select(vec!["$..a", "$.entry[*].resource.name", "$.name[0]", "$..[?@.use == 'x']", "$..security", "$.meta", "$..resource"])
            .prop_map(|text| deny(&[text])),
        1 => prop::sample::select(vec!["$.entry", "$..name", "$.a", "$..resource", "$.*.*"]).prop_map(|text| allow(&[text])),
        1 => prop::sample::select(vec!["$..family", "$..name", "$.contained", "$..meta"]).prop_map(|text| change(text, Transform::Mask)),
    ];
    (
        json,
        prop::collection::vec((prop::sample::select(TYPES.to_vec()), any_type_rules()), 0..4),
        prop_oneof![3 => Just(TypeRules::default()), 1 => any_type_rules()],
        any::<[bool; 6]>(),
        any::<bool>(),
    )
        .prop_map(|(json, types, all, groups, fewer)| {
            let [narrative, reference_display, attachments, extensions, tag, others] = if fewer {
                [false, false, false, false, groups[4], false]
            } else {
                groups
            };
            // With selectors on top every resource may be trimmed; so it is with this group.
            let selectors = !json.deny.is_empty() || json.allow.is_some() || !json.transforms.is_empty();
            let rules = FhirRules {
                types: types
                    .into_iter()
                    .map(|(name, rules)| (name.to_owned(), rules))
                    .collect(),
                all,
                others: if others { Others::Remove } else { Others::Keep },
                narrative: narrative || (tag && selectors),
                reference_display,
                attachments,
                extensions,
                tag,
            };
            json.and(fhir(rules))
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn resources_come_out_as_the_reference_gives_them(
        mut tree in any_fhir_tree(),
        dice in prop::collection::vec(any::<u8>(), 1..60),
        rules in any_fhir_rules(),
        hold in prop::sample::select(vec![16usize << 10, 16 << 10, 300, 100, 60]),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let limits = Limits { max_hold: hold, ..Limits::default() };
        settle(&mut tree, &[], "", false, &mut dice.iter().copied().cycle());
        plant(&mut tree, &mut 0);
        let body = written(&tree, &mut std::iter::empty());
        same_as_the_tree(&rules, limits, &tree, &body, &cuts)?;
    }
}
