use super::places::testing::{read_leniently, secrets, token};
use super::*;
use proptest::prelude::*;

fn looking_for(detectors: &[Detector]) -> Vec<DetectEntry> {
    let entry = |detector: &Detector| DetectEntry {
        name: detector.code().to_owned(),
        pattern: None,
        action: None,
        except: Vec::new(),
    };
    detectors.iter().map(entry).collect()
}

fn policy(edit: impl FnOnce(&mut Rules)) -> PhiPolicy {
    let mut rules = Rules {
        preset: Some(Preset::FhirR4),
        on_query: Action::Mask,
        on_path: Some(Action::Observe),
        // The four that are always looked for; a date of birth, say, would be found besides.
        detect: looking_for(&[Detector::Ssn, Detector::Email, Detector::Phone, Detector::Mrn]),
        on_detect: Action::Mask,
        strip_safe: vec!["*".to_owned()],
        ..Rules::default()
    };
    edit(&mut rules);
    PhiPolicy::new(rules, secrets()).ok().unwrap()
}

/// What goes upstream (or `400 kind parameter`), and the log-safe path.
fn judge(policy: &PhiPolicy, raw: &str) -> (String, String) {
    let target = Target::parse(raw.as_bytes()).unwrap_or_else(|why| panic!("{raw}: {}", why.code()));
    let judgement = policy.judge(&target, Some(2026));
    let upstream = match judgement.outcome {
        Outcome::Pass => raw.to_owned(),
        Outcome::Rewrite(bytes) => {
            assert_ne!(bytes, raw.as_bytes(), "a rewrite that changes nothing");
            String::from_utf8(bytes).unwrap()
        }
        Outcome::Reject(why) => format!("400 {} {}", why.kind.code(), why.parameter.unwrap_or("-".to_owned())),
    };
    (upstream, judgement.log_safe.into_owned())
}

fn upstream(policy: &PhiPolicy, raw: &str) -> String {
    judge(policy, raw).0
}

#[test]
fn each_action_does_what_it_says() {
    let raw = "/fhir/Patient?_count=1&birthdate=1970-01-01&_sort=name";
    for (action, expected) in [
        (Action::Reject, "400 query birthdate".to_owned()),
        (Action::Strip, "/fhir/Patient?_count=1&_sort=name".to_owned()),
        (
            Action::Mask,
            "/fhir/Patient?_count=1&birthdate=***&_sort=name".to_owned(),
        ),
        (
            Action::Tokenize,
            format!("/fhir/Patient?_count=1&birthdate={}&_sort=name", token("1970-01-01")),
        ),
        (Action::Observe, raw.to_owned()),
    ] {
        let by_preset = policy(|r| r.on_query = action);
        let log = "/fhir/Patient?_count=1&birthdate=***&_sort=name";
        assert_eq!(judge(&by_preset, raw), (expected.clone(), log.to_owned()));
        let by_name = policy(|r| {
            r.preset = None;
            r.query = vec![("birthdate".to_owned(), action)];
        });
        assert_eq!(judge(&by_name, raw), (expected, log.to_owned()));
    }
    let passed = policy(|r| r.query = vec![("birthdate".to_owned(), Action::Pass)]);
    assert_eq!(judge(&passed, raw), (raw.to_owned(), raw.to_owned()));
}

#[test]
fn path_ids_are_judged() {
    for (action, expected) in [
        (Action::Reject, "400 path -".to_owned()),
        (Action::Strip, "/fhir/r4/Patient/_history/2".to_owned()),
        (Action::Mask, "/fhir/r4/Patient/***/_history/2".to_owned()),
        (
            Action::Tokenize,
            format!("/fhir/r4/Patient/{}/_history/2", token("p-7")),
        ),
        (Action::Observe, "/fhir/r4/Patient/p%2d7/_history/2".to_owned()),
    ] {
        let policy = policy(|r| r.on_path = Some(action));
        let log = "/fhir/r4/Patient/***/_history/2";
        assert_eq!(
            judge(&policy, "/fhir/r4/Patient/p%2d7/_history/2"),
            (expected, log.to_owned())
        );
    }
    let keyed = policy(|r| r.on_path = None);
    assert_eq!(upstream(&keyed, "/Patient/7"), format!("/Patient/{}", token("7")));
    let unkeyed = Rules {
        preset: Some(Preset::FhirR4),
        ..Rules::default()
    };
    assert_eq!(
        upstream(&PhiPolicy::new(unkeyed, Secrets::default()).ok().unwrap(), "/Patient/7"),
        "400 path -"
    );
    for raw in [
        "/fhir/Observation/7",
        "/fhir/Patient",
        "/fhir/Patient/_search",
        "/fhir/metadata",
        "/fhir/Patient/$match",
    ] {
        assert_eq!(judge(&keyed, raw), (raw.to_owned(), raw.to_owned()));
    }
}

#[test]
fn spellings_do_not_slip_by() {
    let policy = policy(|_| {});
    for (raw, expected) in [
        ("/Patient?b%69rthdate=1970", "/Patient?b%69rthdate=***"),
        ("/Patient?b%2569rthdate=1970", "/Patient?b%2569rthdate=***"),
        (
            "/Patient?%62%69%72%74%68%64%61%74%65=1970",
            "/Patient?%62%69%72%74%68%64%61%74%65=***",
        ),
        ("/Patient?BIRTHDATE=1970", "/Patient?BIRTHDATE=***"),
        ("/Patient?+birthdate=1970", "/Patient?+birthdate=***"),
        ("/Patient?birthdate%5B%5D=1970", "/Patient?birthdate%5B%5D=***"),
        ("/Patient?%EF%BD%8Eame=Chalmers", "/Patient?%EF%BD%8Eame=***"),
        ("/Patient?name:exact=Chalmers", "/Patient?name:exact=***"),
        ("/Patient?name%3Aexact=Chalmers", "/Patient?name%3Aexact=***"),
        ("/Patient?name=a&name=b&given=c", "/Patient?name=***&name=***&given=***"),
        ("/Patient?identifier=urn:mrn%7C12345,urn:x|9", "/Patient?identifier=***"),
        (
            "/Observation?subject:Patient.name=a",
            "/Observation?subject:Patient.name=***",
        ),
        ("/Observation?patient.name=a", "/Observation?patient.name=***"),
        (
            "/Patient?_has:Observation:patient:code=1234-5",
            "/Patient?_has:Observation:patient:code=***",
        ),
        ("/Observation?device=Patient/7", "/Observation?device=***"),
        ("/x%50/%50atient?name=a", "/x%50/%50atient?name=***"),
        ("/public/../Patient?name=a", "/Patient?name=***"),
        ("//Patient?name=a", "//Patient?name=***"),
        ("https://h/Patient?name=a", "https://h/Patient?name=***"),
        ("https://h?name=a", "https://h/?name=***"),
        ("/?name=a", "/?name=***"),
        ("/Patient?name:a", "/Patient?***"),
        ("/Patient?name", "/Patient?name"),
        ("/Patient?name=&_count=1", "/Patient?name=&_count=1"),
        ("/Practitioner?name=Ada", "/Practitioner?name=Ada"),
        (
            "/Observation?code=http://loinc.org|8867-4&&x=%41+b",
            "/Observation?code=http://loinc.org|8867-4&&x=%41+b",
        ),
    ] {
        assert_eq!(upstream(&policy, raw), expected, "{raw}");
    }
}

#[test]
fn rules_by_name_come_first() {
    let policy = policy(|r| {
        r.on_query = Action::Reject;
        r.detect = looking_for(&[Detector::Ssn]);
        r.on_detect = Action::Reject;
        r.query = vec![
            ("identifier".to_owned(), Action::Tokenize),
            ("name".to_owned(), Action::Mask),
            ("patient".to_owned(), Action::Pass),
            ("_count".to_owned(), Action::Pass),
        ];
    });
    for (raw, expected) in [
        (
            "/Patient?identifier=512-34-5678",
            format!("/Patient?identifier={}", token("512-34-5678")),
        ),
        (
            "/Patient?identifier=512%2d34%2D5678",
            format!("/Patient?identifier={}", token("512-34-5678")),
        ),
        ("/Patient?Name:exact=a", "/Patient?Name:exact=***".to_owned()),
        ("/Practitioner?name=a", "/Practitioner?name=***".to_owned()),
        (
            "/Observation?patient=Patient/7",
            "/Observation?patient=Patient/7".to_owned(),
        ),
        ("/Observation?PATIENT=Patient/7", "400 query patient".to_owned()),
        (
            "/Observation?patient:missing=true",
            "/Observation?patient:missing=true".to_owned(),
        ),
        ("/Observation?patient.birthdate=1970", "400 query birthdate".to_owned()),
        (
            "/Observation?encounter:Encounter.identifier=x",
            "400 query identifier".to_owned(),
        ),
        (
            "/Practitioner?organization.identifier=x",
            "400 query identifier".to_owned(),
        ),
        ("/Patient?_count=512-34-5678", "400 ssn _count".to_owned()),
        ("/Patient?birthdate=1970", "400 query birthdate".to_owned()),
        ("/Patient?512-34-5678=1", "400 ssn -".to_owned()),
    ] {
        assert_eq!(upstream(&policy, raw), expected, "{raw}");
    }
    let alone = PhiPolicy::new(
        Rules {
            query: vec![("ssn".to_owned(), Action::Mask)],
            ..Rules::default()
        },
        Secrets::default(),
    );
    let alone = alone.ok().unwrap();
    assert_eq!(upstream(&alone, "/x?person.SSN=1&name=b"), "/x?person.SSN=***&name=b");
}

#[test]
fn detectors_look_at_what_is_left() {
    let masking = policy(|_| {});
    for (raw, expected) in [
        ("/notes/512-34-5678/x", "/notes/***/x"),
        ("/notes/re-512-34-5678-x", "/notes/re-***-x"),
        ("/notes/re%20512%2d34%2d5678%20x", "/notes/re%20***%20x"),
        ("/notes/re%2520512-34-5678", "/notes/***"),
        ("/x?q=call+415-555-0132+now&y=1", "/x?q=call+***+now&y=1"),
        ("/x?q=512+34+5678", "/x?q=***"),
        ("/x?q=%35%31%32%33%34%35%36%37%38", "/x?q=***"),
        ("/x?q=%EF%BC%95%EF%BC%91%EF%BC%92345678+z", "/x?q=***"),
        ("/x?q=a@b.org,c@d.org", "/x?q=***,***"),
        ("/x?q=peter+tag@b.org", "/x?q=***"),
        ("/x?q=peter%2Btag@b.org,1", "/x?q=***,1"),
        ("/x?mrn=A123456", "/x?mrn=***"),
        ("/mrn/A123456", "/mrn/***"),
        ("/x?q=MRN%20A123456.", "/x?q=***."),
        ("/x?512-34-5678", "/x?***"),
        ("/x?a-512-34-5678=1", "/x?***=1"),
        ("/x?q=512%E2%80%8B34%E2%80%8B5678", "/x?q=***"),
        (
            "/x?order=20240115103000&id=550e8400-e29b-41d4-a716-446655440000",
            "/x?order=20240115103000&id=550e8400-e29b-41d4-a716-446655440000",
        ),
    ] {
        assert_eq!(upstream(&masking, raw), expected, "{raw}");
    }
    let detecting = |action| policy(|r| r.on_detect = action);
    assert_eq!(
        upstream(&detecting(Action::Strip), "/x?a=1&q=512345678&b=2"),
        "/x?a=1&b=2"
    );
    assert_eq!(upstream(&detecting(Action::Strip), "/x?q=512345678"), "/x");
    assert_eq!(upstream(&detecting(Action::Strip), "/x/512345678/y"), "/x/y");
    assert_eq!(upstream(&detecting(Action::Strip), "/512345678"), "/");
    assert_eq!(upstream(&detecting(Action::Reject), "/x?a=1&q=512345678"), "400 ssn -");
    assert_eq!(
        upstream(&detecting(Action::Tokenize), "/x?q=a+512345678"),
        format!("/x?q=a+{}", token("512345678"))
    );
    let observing = judge(&detecting(Action::Observe), "/x?q=a+512345678");
    assert_eq!(observing, ("/x?q=a+512345678".to_owned(), "/x?q=a%20***".to_owned()));
}

#[test]
fn free_text_is_looked_through_under_reject() {
    let policy = policy(|r| r.on_detect = Action::Reject);
    assert_eq!(upstream(&policy, "/Patient?_content=512-34-5678"), "400 ssn _content");
    assert_eq!(upstream(&policy, "/Patient?_content=oak"), "/Patient?_content=***");
    assert_eq!(upstream(&policy, "/Patient?phone=415-555-0132"), "/Patient?phone=***");
}

#[test]
fn only_configured_detectors_act_but_all_mask_the_log() {
    let policy = policy(|r| r.detect = vec![]);
    let raw = "/x?q=512-34-5678&r=a@b.org";
    assert_eq!(judge(&policy, raw), (raw.to_owned(), "/x?q=***&r=***".to_owned()));
}

#[test]
fn what_dot_segments_take_away_does_not_go_on() {
    let policy = policy(|_| {});
    assert_eq!(upstream(&policy, "/x/512-34-5678/../y?a=1"), "/x/y?a=1");
    assert_eq!(upstream(&policy, "/x/./re-512-34-5678/%41"), "/x/***/A");
    assert_eq!(judge(&policy, "/Patient/7/../8").1, "/Patient/***");
}

#[test]
fn stripping_takes_one_separator() {
    let policy = policy(|r| r.on_query = Action::Strip);
    for (raw, expected) in [
        ("/Patient?name=a", "/Patient"),
        ("/Patient?name=a&_count=1", "/Patient?_count=1"),
        ("/Patient?_count=1&name=a", "/Patient?_count=1"),
        ("/Patient?name=a&given=b", "/Patient"),
        (
            "/Patient?name=a&_count=%31&given=b&_sort=x",
            "/Patient?_count=%31&_sort=x",
        ),
    ] {
        assert_eq!(upstream(&policy, raw), expected, "{raw}");
    }
}

#[test]
fn the_log_is_plain_ascii_in_one_spelling() {
    let policy = policy(|_| {});
    for (raw, log) in [
        ("/fhir/Patient/7?_count=1", "/fhir/Patient/***?_count=1"),
        ("/x/%41%20b//c/?q=%41+b", "/x/A%20b/c/?q=A%20b"),
        ("/é?é=é", "/%C3%A9?%C3%A9=%C3%A9"),
        ("https://h/x?q=1", "https://h/x?q=1"),
        ("*", "*"),
        ("/", "/"),
        ("/?a", "/?a"),
    ] {
        assert_eq!(judge(&policy, raw).1, log);
    }
    let target = Target::parse(b"/fhir/Observation?_count=1&code=8867-4").ok().unwrap();
    assert!(matches!(policy.judge(&target, Some(2026)).log_safe, Cow::Borrowed(_)));
}

#[test]
fn the_strict_log_shows_no_value_it_does_not_know() {
    for (raw, log) in [
        (
            "/fhir/Patient/7/Observation/8?_count=1&code=x&status",
            "/fhir/Patient/***/Observation/***?_count=1&code=***&***",
        ),
        ("/people/512-34-5678?_sort=512345678", "/people/***?_sort=***"),
    ] {
        let target = Target::parse(raw.as_bytes()).ok().unwrap();
        assert_eq!(log_safe(&target, &|word| word == "people"), log);
    }
}

#[test]
fn counts_tell_what_was_done() {
    let policy = policy(|r| {
        r.query = vec![
            ("given".to_owned(), Action::Tokenize),
            ("family".to_owned(), Action::Strip),
        ]
    });
    let target = Target::parse(b"/Patient/7?name=a&given=b&family=c&q=512-34-5678,a@b.org")
        .ok()
        .unwrap();
    let counts = Counts {
        masked: 3,
        stripped: 1,
        tokenized: 1,
        observed: 1,
        detected: 2,
        ..Counts::default()
    };
    assert_eq!(policy.judge(&target, Some(2026)).counts, counts);
}

#[test]
fn rules_that_cannot_hold_are_refused() {
    let compile = |rules| PhiPolicy::new(rules, Secrets::default()).err();
    let tokenize = Rules {
        on_query: Action::Tokenize,
        ..Rules::default()
    };
    assert_eq!(compile(tokenize), Some(RulesError::NoKey("on_query".to_owned())));
    let named = Rules {
        query: vec![("identifier".to_owned(), Action::Tokenize)],
        ..Rules::default()
    };
    assert_eq!(compile(named), Some(RulesError::NoKey("query.identifier".to_owned())));
    let pass = Rules {
        on_detect: Action::Pass,
        ..Rules::default()
    };
    assert_eq!(compile(pass), Some(RulesError::PassOutsideQuery("on_detect")));
    assert_eq!(compile(Rules::default()), None);
}

#[test]
fn rules_that_harm_are_warned_of() {
    let keys = |policy: PhiPolicy| policy.warnings().into_iter().map(|w| w.key).collect::<Vec<_>>();
    assert!(keys(policy(|_| {})).is_empty());
    let stripping = policy(|r| {
        r.on_detect = Action::Strip;
        r.query = vec![
            ("session".to_owned(), Action::Strip),
            ("tab".to_owned(), Action::Strip),
            ("_summary".to_owned(), Action::Strip),
            ("name".to_owned(), Action::Pass),
            ("_count".to_owned(), Action::Pass),
        ];
        r.strip_safe = vec!["tab".to_owned()];
    });
    assert_eq!(keys(stripping), ["on_detect", "query.session", "query.name"]);
}

#[test]
fn strip_is_refused_where_it_widens_unless_declared_safe() {
    let refused = |edit: &dyn Fn(&mut Rules), safe: &[&str]| {
        let mut rules = Rules {
            preset: Some(Preset::FhirR4),
            strip_safe: safe.iter().map(|name| (*name).to_owned()).collect(),
            ..Rules::default()
        };
        edit(&mut rules);
        match PhiPolicy::new(rules, secrets()) {
            Err(RulesError::StripWidens(key)) => Some(key),
            _ => None,
        }
    };
    let by_name = |name: &'static str| move |r: &mut Rules| r.query = vec![(name.to_owned(), Action::Strip)];
    assert_eq!(
        refused(&|r| r.on_query = Action::Strip, &[]).as_deref(),
        Some("on_query")
    );
    assert_eq!(
        refused(&|r| r.on_path = Some(Action::Strip), &[]).as_deref(),
        Some("on_path")
    );
    assert_eq!(
        refused(&by_name("identifier"), &[]).as_deref(),
        Some("query.identifier")
    );
    assert_eq!(refused(&by_name("_tag"), &[]).as_deref(), Some("query._tag"));
    assert_eq!(refused(&by_name("session"), &[]), None);
    assert_eq!(refused(&by_name("identifier"), &["identifier"]), None);
    assert_eq!(
        refused(&|r| r.on_query = Action::Strip, &["identifier"]).as_deref(),
        Some("on_query")
    );
    assert_eq!(refused(&|r| r.on_query = Action::Strip, &["*"]), None);
    let template = PathTemplate::parse("/members/{id}").unwrap();
    assert_eq!(
        refused(&|r| r.path = vec![(template.clone(), Action::Strip)], &[]).as_deref(),
        Some("path")
    );
}

#[test]
fn segments_are_meant_by_template() {
    let template = |text: &str| PathTemplate::parse(text).unwrap();
    let policy = policy(|r| {
        r.path = vec![
            (template("/members/{id}"), Action::Tokenize),
            (template("/members/{id}/claims/*/{line}"), Action::Mask),
            (template("/members/{id}/*/*/*"), Action::Reject),
            (template("/fhir/Patient/{id}/photo"), Action::Pass),
            (template("/vault/{card}"), Action::Reject),
        ];
    });
    for (raw, expected) in [
        ("/members/7", format!("/members/{}", token("7"))),
        ("/Members/7/x", format!("/Members/{}/x", token("7"))),
        ("/members/7/claims/8/9", "/members/***/claims/8/***".to_owned()),
        ("/members/7/claims/8", format!("/members/{}/claims/8", token("7"))),
        ("/m%65mbers/%37", format!("/m%65mbers/{}", token("7"))),
        ("/members", "/members".to_owned()),
        ("/x/members/7", "/x/members/7".to_owned()),
        ("/vault/4111", "400 path -".to_owned()),
        ("/fhir/Patient/7/photo", "/fhir/Patient/7/photo".to_owned()),
        ("/fhir/Patient/512-34-5678/photo", "/fhir/Patient/***/photo".to_owned()),
    ] {
        assert_eq!(upstream(&policy, raw), expected, "{raw}");
    }
    assert_eq!(judge(&policy, "/members/7").1, "/members/***");
    for wrong in [
        "members/{id}",
        "/members",
        "/",
        "/{}",
        "/a//{b}",
        "/{a}b",
        "/%41/{b}",
        "/a;b/{c}",
        "/../{c}",
    ] {
        assert!(PathTemplate::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn each_detector_has_an_action_of_its_own() {
    let policy = policy(|r| {
        r.preset = None;
        r.detect = looking_for(&[Detector::Ssn, Detector::Email, Detector::Phone]);
        for (entry, action) in r
            .detect
            .iter_mut()
            .zip([Some(Action::Tokenize), Some(Action::Observe), None])
        {
            entry.action = action;
        }
    });
    for (raw, expected) in [
        ("/x?q=512-34-5678", format!("/x?q={}", token("512-34-5678"))),
        ("/x?q=a@b.org", "/x?q=a@b.org".to_owned()),
        ("/x?q=415-555-0132", "/x?q=***".to_owned()),
        (
            "/x?q=512-34-5678,a@b.org,415-555-0132",
            format!("/x?q={},a@b.org,***", token("512-34-5678")),
        ),
    ] {
        assert_eq!(upstream(&policy, raw), expected, "{raw}");
    }
    assert_eq!(judge(&policy, "/x?q=a@b.org").1, "/x?q=***");
}

#[test]
fn what_is_found_hides_nothing_beside_it() {
    let policy = policy(|r| r.detect = looking_for(&[Detector::Ssn, Detector::Email]));
    assert_eq!(upstream(&policy, "/a@b.org512-34-5678/"), "/******/");
    assert_eq!(upstream(&policy, "/x?q=a@b.org512-34-5678"), "/x?q=******");
    assert_eq!(upstream(&policy, "/512-34-5678a@b.org512-34-5678"), "/*********");
}

#[test]
fn values_are_tokenized_part_by_part() {
    let policy = policy(|r| r.on_query = Action::Tokenize);
    for (value, expected) in [
        ("7", token("7")),
        ("7,8", format!("{},{}", token("7"), token("8"))),
        (r"7\,8", token("7,8")),
        (r"a\\,b", format!("{},{}", token(r"a\"), token("b"))),
        ("", String::new()),
        (",7", format!(",{}", token("7"))),
        ("http://h/mrn%7C77", format!("http://h/mrn%7C{}", token("77"))),
        (
            "urn:oid:1.2.3|77,urn:oid:1.2.4|",
            format!("urn:oid:1.2.3%7C{},urn:oid:1.2.4%7C", token("77")),
        ),
        ("|77", token("|77")),
        ("x|77", token("x|77")),
        ("http://h/512-34-5678|77", token("http://h/512-34-5678|77")),
        ("http://h/Patient/9|77", token("http://h/Patient/9|77")),
        ("http://h/a|b|c", token("http://h/a|b|c")),
        ("Patient/7", format!("Patient/{}", token("7"))),
        ("Nobody/7", token("Nobody/7")),
        ("Patient/7/x", token("Patient/7/x")),
        ("https://h/Patient/7", token("https://h/Patient/7")),
    ] {
        let raw = format!("/fhir/Patient?identifier={value}");
        let sent = upstream(&policy, &raw);
        assert_eq!(sent, format!("/fhir/Patient?identifier={expected}"), "{value}");
        assert_eq!(upstream(&policy, &sent), sent, "twice is once");
    }
}

#[test]
fn a_pseudonym_of_ours_stays_what_it_is() {
    let policy = policy(|r| r.on_query = Action::Tokenize);
    let own = token("Chalmers");
    let raw = format!("/fhir/Patient?name={own}");
    assert_eq!(judge(&policy, &raw), (raw.clone(), "/fhir/Patient?name=***".to_owned()));
    let forged = own.replace(&own[10..14], "aaaa");
    let raw = format!("/fhir/Patient?name={forged}");
    assert_eq!(
        upstream(&policy, &raw),
        format!("/fhir/Patient?name={}", token(&forged))
    );
}

fn sealed(place: [&str; 2], value: &str) -> String {
    secrets()
        .sealer
        .unwrap()
        .seal(&["p", place[0], place[1]], value)
        .unwrap()
}

#[test]
fn what_is_sealed_opens_on_its_way_in() {
    for action in [Action::Seal, Action::Reject, Action::Mask, Action::Observe] {
        let policy = policy(|r| {
            r.on_query = action;
            r.on_path = Some(action);
        });
        let id = sealed(["segment", "Patient"], "pat 7/8");
        let name = sealed(["parameter", "name"], "Chálmers&Co");
        let raw = format!("/fhir/Patient/{id}?name:exact={name}&_count=1");
        assert_eq!(
            judge(&policy, &raw),
            (
                "/fhir/Patient/pat%207%2F8?name:exact=Ch%C3%A1lmers%26Co&_count=1".to_owned(),
                "/fhir/Patient/***?name:exact=***&_count=1".to_owned()
            )
        );
        let target = Target::parse(raw.as_bytes()).ok().unwrap();
        assert!(
            policy.judge(&target, None).shows,
            "the log-safe path goes where logs look"
        );
        assert_eq!(
            policy.open(&target, &places::testing::scene()).ok().flatten().unwrap(),
            b"/fhir/Patient/pat%207%2F8?name:exact=Ch%C3%A1lmers%26Co&_count=1"
        );
        // Elsewhere, or made up, it does not.
        for elsewhere in [
            format!("/fhir/Person/{id}"),
            format!("/fhir/Patient?name={id}"),
            format!("/fhir/Patient?family={name}"),
            format!("/fhir/Patient?_count={name}"),
            "/fhir/Patient/sl1_AAAA".to_owned(),
            "/fhir/Patient?code=sl1_".to_owned(),
        ] {
            assert_eq!(upstream(&policy, &elsewhere), "400 sealed -", "{elsewhere}");
            let target = Target::parse(elsewhere.as_bytes()).ok().unwrap();
            assert!(policy.open(&target, &places::testing::scene()).is_err(), "{elsewhere}");
        }
    }
    let keyless = PhiPolicy::new(Rules::default(), Secrets::default()).ok().unwrap();
    assert_eq!(upstream(&keyless, "/x/sl1_AAAA"), "/x/sl1_AAAA");
}

#[test]
fn neighbours_that_are_sealed_open_both() {
    for first in [Action::Seal, Action::Tokenize, Action::Mask, Action::Observe] {
        let template = |text: &str| PathTemplate::parse(text).unwrap();
        let policy = policy(|r| {
            r.path = vec![
                (template("/members/{m}"), first),
                (template("/members/*/{c}"), Action::Seal),
            ];
        });
        let out = outward(&policy, "/members/mem-7/claim-8");
        assert!(!out.contains("claim-8"), "{out}");
        let back = upstream(&policy, &out);
        assert!(back.ends_with("/claim-8"), "{}: {out} {back}", first.code());
        let target = Target::parse(out.as_bytes()).ok().unwrap();
        let opened = policy.open(&target, &places::testing::scene()).ok().flatten().unwrap();
        assert!(opened.ends_with(b"/claim-8"));
    }
}

#[test]
fn what_only_looks_sealed_hides_nothing_on_its_way_out() {
    let policy = policy(|_| {});
    assert_eq!(outward(&policy, "/fhir/x/sl1_512-34-5678"), "/fhir/x/sl1_***");
    assert_eq!(outward(&policy, "/fhir/x?q=sl1_512-34-5678"), "/fhir/x?q=sl1_***");
}

#[test]
fn a_recogniser_leaves_alone_what_is_excepted_but_for_logs() {
    let policy = policy(|r| {
        r.detect = looking_for(&[Detector::Ssn]);
        r.detect[0].except = vec!["code".to_owned(), "Observation".to_owned()];
        r.on_detect = Action::Reject;
    });
    for (raw, expected) in [
        ("/fhir/Observation/512345678", "/fhir/Observation/512345678"),
        ("/fhir/Observation?code=512345678", "/fhir/Observation?code=512345678"),
        (
            "/fhir/Observation?code:not=512345678",
            "/fhir/Observation?code:not=512345678",
        ),
        ("/fhir/Observation?category=512345678", "400 ssn -"),
        ("/fhir/Location/512345678", "400 ssn -"),
    ] {
        assert_eq!(upstream(&policy, raw), expected, "{raw}");
    }
    let target = Target::parse(b"/fhir/Observation/512345678").ok().unwrap();
    let judgement = policy.judge(&target, None);
    assert_eq!(judgement.log_safe, "/fhir/Observation/***");
    assert!(judgement.shows);
}

#[test]
fn a_default_port_is_no_other_host() {
    let policy = policy(|r| r.on_path = Some(Action::Reject));
    for raw in [
        "https://fhir.example.org:443/Patient/7",
        "http://fhir.example.org:80/Patient/7",
    ] {
        assert!(outward(&policy, raw).contains("sl1_"), "{raw}");
    }
    for raw in [
        "https://fhir.example.org:80/Patient/7",
        "https://fhir.example.org:8443/Patient/7",
    ] {
        assert!(outward(&policy, raw).ends_with("***"), "{raw}");
    }
}

#[test]
fn secrets_are_hidden_from_the_proxys_own_logs() {
    let policy = policy(|_| {});
    let target = Target::parse(b"/x?code_verifier=canary").ok().unwrap();
    assert!(policy.judge(&target, None).shows);
}

#[test]
fn under_seal_nothing_passes_in_the_clear() {
    let policy = policy(|r| {
        r.on_query = Action::Seal;
        r.on_path = Some(Action::Seal);
        r.on_detect = Action::Seal;
    });
    assert_eq!(upstream(&policy, "/fhir/Patient/7"), "400 path -");
    assert_eq!(upstream(&policy, "/fhir/Patient?name=a"), "400 query name");
    assert_eq!(
        upstream(&policy, "/fhir/Patient?_format=512-34-5678"),
        "400 ssn _format"
    );
    assert_eq!(upstream(&policy, "/fhir/Patient?_count=1"), "/fhir/Patient?_count=1");
}

/// What becomes of a URL that goes out, under a policy `p` that governs every path but those below `/other`.
fn outward(policy: &PhiPolicy, raw: &str) -> String {
    let target = Target::parse(raw.as_bytes()).unwrap_or_else(|why| panic!("{raw}: {}", why.code()));
    let scene = Scene {
        year: Some(2026),
        authority: b"fhir.example.org",
        opens: &|target| match target.segments().first().map(|s| s.text()) {
            Some("other") => Some("q".to_owned()),
            Some("deaf") => None,
            _ => Some("p".to_owned()),
        },
    };
    match policy.judge_target(&target, Way::Out, &scene).outcome {
        Outcome::Pass => raw.to_owned(),
        Outcome::Rewrite(bytes) => String::from_utf8(bytes).unwrap(),
        Outcome::Reject(why) => format!("400 {}", why.kind.code()),
    }
}

#[test]
fn on_the_way_out_nothing_is_refused_and_what_would_be_is_sealed() {
    let id = sealed(["segment", "Patient"], "7");
    for (action, expected) in [
        (Action::Reject, format!("/fhir/Patient/{id}/_history/1")),
        (Action::Strip, format!("/fhir/Patient/{id}/_history/1")),
        (Action::Seal, format!("/fhir/Patient/{id}/_history/1")),
        (Action::Mask, "/fhir/Patient/***/_history/1".to_owned()),
        (Action::Tokenize, format!("/fhir/Patient/{}/_history/1", token("7"))),
        (Action::Observe, "/fhir/Patient/7/_history/1".to_owned()),
    ] {
        let by_path = policy(|r| r.on_path = Some(action));
        assert_eq!(
            outward(&by_path, "/fhir/Patient/7/_history/1"),
            expected,
            "{}",
            action.code()
        );
    }
    let sealing = policy(|r| {
        r.on_path = Some(Action::Reject);
        r.on_query = Action::Reject;
        r.on_detect = Action::Reject;
    });
    let other = secrets()
        .sealer
        .unwrap()
        .seal(&["q", "segment", "Patient"], "7")
        .unwrap();
    for (raw, expected) in [
        (
            "https://fhir.example.org/Patient/7",
            format!("https://fhir.example.org/Patient/{id}"),
        ),
        (
            "https://FHIR.example.org/Patient/7",
            format!("https://FHIR.example.org/Patient/{id}"),
        ),
        (
            "https://elsewhere.example.org/Patient/7",
            "https://elsewhere.example.org/Patient/***".to_owned(),
        ),
        ("/other/Patient/7", format!("/other/Patient/{other}")),
        ("/deaf/Patient/7", "/deaf/Patient/***".to_owned()),
        (
            "/fhir/Patient?name=a&_count=1&page=512-34-5678",
            format!(
                "/fhir/Patient?name={}&_count=1&page={}",
                sealed(["parameter", "name"], "a"),
                sealed(["parameter", "page"], "512-34-5678")
            ),
        ),
    ] {
        let out = outward(&sealing, raw);
        assert_eq!(out, expected, "{raw}");
        assert_eq!(outward(&sealing, &out), out, "twice is once");
    }
    // What went out comes back.
    let out = outward(&sealing, "/fhir/Patient/7?name=a%20b&page=512-34-5678");
    assert_eq!(upstream(&sealing, &out), "/fhir/Patient/7?name=a%20b&page=512-34-5678");
    let masking = PhiPolicy::new(
        Rules {
            preset: Some(Preset::FhirR4),
            ..Rules::default()
        },
        Secrets::default(),
    );
    assert_eq!(
        outward(&masking.ok().unwrap(), "/fhir/Patient/7?name=a"),
        "/fhir/Patient/***?name=***"
    );
}

#[test]
fn the_policy_may_say_what_goes_out() {
    for (action, expected) in [
        (Action::Mask, "/fhir/Patient/***?name=***&q=***&_count=1".to_owned()),
        (
            Action::Observe,
            "/fhir/Patient/7?name=a&q=512-34-5678&_count=1".to_owned(),
        ),
        (
            Action::Tokenize,
            format!(
                "/fhir/Patient/{}?name={}&q={}&_count=1",
                token("7"),
                token("a"),
                token("512-34-5678")
            ),
        ),
    ] {
        let policy = policy(|r| {
            r.on_query = Action::Reject;
            r.on_response = Some(action);
        });
        assert_eq!(
            outward(&policy, "/fhir/Patient/7?name=a&q=512-34-5678&_count=1"),
            expected
        );
    }
}

#[test]
fn codes_read_back() {
    assert!(Action::ALL.into_iter().all(|a| Action::from_code(a.code()) == Some(a)));
    assert!(
        Detector::ALL
            .into_iter()
            .all(|d| Detector::from_code(d.code()) == Some(d))
    );
    assert!(Preset::ALL.into_iter().all(|p| Preset::from_code(p.code()) == Some(p)));
}

/// One of many spellings of a text, chosen by `seed`.
fn spell(text: &str, mut seed: u64) -> String {
    let mut out = String::new();
    for c in text.chars() {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let wide = char::from_u32(u32::from(c).wrapping_add(0xfee0)).filter(|_| c.is_ascii_alphanumeric());
        let percent = |s: &str, times: usize| {
            let once: String = s.bytes().map(|b| format!("%{b:02X}")).collect();
            (1..times).fold(once, |s, _| s.replace('%', "%25"))
        };
        match seed >> 60 {
            0..=7 if c.is_ascii_alphanumeric() || c == '-' => out.push(c),
            8 | 9 => out.push_str(&percent(&c.to_string(), 2)),
            10 => out.push_str(&percent(&c.to_string(), 3)),
            11 if wide.is_some() => out.push_str(&percent(&wide.unwrap_or(c).to_string(), 1)),
            12 if wide.is_some() => out.push(wide.unwrap_or(c)),
            13 if c == ' ' => out.push('+'),
            _ => out.push_str(&percent(&c.to_string(), 1)),
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn no_canary_survives(
        canary in prop::sample::select(vec!["Quixotegarcia", "512-34-5678", "512 34 5678", "1931-11-09", "zq@canary.org", "MRN ZQ81234"]),
        name in prop::sample::select(vec!["name", "birthdate", "identifier", "patient.name", "given:exact", "_has:Observation:subject:code",
            "link:Patient.family", "_content", "_filter", "telecom", "_id"]),
        action in prop::sample::select(vec![Action::Reject, Action::Strip, Action::Mask, Action::Tokenize, Action::Observe]),
        seed in any::<u64>(),
        shape in 0_usize..6,
    ) {
        let (value, name) = (spell(canary, seed), spell(name, seed.rotate_left(17)));
        let raw = match shape {
            0 => format!("/fhir/Patient?{name}={value}"),
            1 => format!("/fhir/Patient?_count=1&{name}=x&{name}={value}&_sort=-x"),
            2 => format!("/fhir//%50atient/./{value}"),
            3 => format!("/fhir/x/../Patient/{value}/_history?{name}={value}"),
            4 => format!("https://h/fhir/Patient/_search?_format=json&{name}=a,{value}"),
            _ => format!("/fhir/patient/{value}/Observation?a=b+c&{name}={value}&&x"),
        };
        let Ok(target) = Target::parse(raw.as_bytes()) else { return Ok(()) };
        let policy = policy(|r| {
            r.on_query = action;
            r.on_path = Some(action);
            r.on_detect = action;
        });
        let needle = canary.to_lowercase();
        let judgement = policy.judge(&target, Some(2026));
        prop_assert!(judgement.log_safe.is_ascii());
        for log in [&*judgement.log_safe, &log_safe(&target, &|_| true)] {
            prop_assert!(!read_leniently(log).contains(&needle), "{raw} logs {log}");
        }
        match judgement.outcome {
            Outcome::Rewrite(bytes) if action != Action::Observe => {
                let sent = String::from_utf8(bytes).map_err(|_| TestCaseError::fail("not text"))?;
                prop_assert!(!read_leniently(&sent).contains(&needle), "{raw} sends {sent}");
                prop_assert!(Target::parse(sent.as_bytes()).is_ok(), "{raw} sends {sent}");
            }
            Outcome::Pass if action != Action::Observe => prop_assert!(false, "{raw} passes"),
            Outcome::Reject(why) => {
                prop_assert_eq!(action, Action::Reject);
                let said = format!("{why:?}");
                prop_assert!(!read_leniently(&said).contains(&needle), "{}", said);
            }
            _ => prop_assert_eq!(action == Action::Observe, true),
        }
    }

    #[test]
    fn detected_canaries_do_not_survive_anywhere(
        canary in prop::sample::select(vec!["512-34-5678", "512 34 5678", "512.34.5678", "512345678", "(415) 555-0132", "zq@canary.org", "MRN-8123456"]),
        action in prop::sample::select(vec![Action::Reject, Action::Strip, Action::Mask, Action::Tokenize]),
        seed in any::<u64>(),
        shape in 0_usize..6,
    ) {
        let value = spell(canary, seed);
        let raw = match shape {
            0 => format!("/orders/{value}"),
            1 => format!("/orders/re_{value}_x/y"),
            2 => format!("/orders?note={value}"),
            3 => format!("/orders?a=1&note=re:%20{value}+end&b=%41"),
            4 => format!("/orders?x&{value}=1&y"),
            _ => format!("/orders/./z?{value}"),
        };
        let Ok(target) = Target::parse(raw.as_bytes()) else { return Ok(()) };
        let policy = policy(|r| {
            r.preset = None;
            r.on_detect = action;
        });
        let needle = canary.to_lowercase();
        let judgement = policy.judge(&target, Some(2026));
        for log in [&*judgement.log_safe, &log_safe(&target, &|_| true)] {
            prop_assert!(!read_leniently(log).contains(&needle), "{raw} logs {log}");
        }
        match judgement.outcome {
            Outcome::Rewrite(bytes) => {
                let sent = String::from_utf8(bytes).map_err(|_| TestCaseError::fail("not text"))?;
                prop_assert!(!read_leniently(&sent).contains(&needle), "{raw} sends {sent}");
            }
            Outcome::Pass => prop_assert!(false, "{raw} passes"),
            Outcome::Reject(_) => prop_assert_eq!(action, Action::Reject),
        }
    }

    #[test]
    fn judging_a_masked_target_again_changes_nothing(seed in any::<u64>(), raw in "/(Patient|x|Observation)(/[a-z0-9-]{1,12})?(\\?((name|q|code|_count)=[a-z0-9@.+-]{0,14}&?){0,4})?") {
        let raw = if seed & 1 == 0 { raw } else { raw.replace('a', "%61") };
        let policy = policy(|r| r.on_path = Some(Action::Mask));
        let once = upstream_lenient(&policy, raw.as_bytes());
        let twice = upstream_lenient(&policy, &once);
        prop_assert_eq!(String::from_utf8_lossy(&once), String::from_utf8_lossy(&twice));
    }

    #[test]
    fn nothing_panics(raw in prop::collection::vec(prop_oneof![3 => prop::sample::select(b"/?&=%;:.,|+@-0123456789abmrnMRN$_[]".to_vec()), 1 => any::<u8>()], 0..80), action in 0_usize..5) {
        let mut bytes = b"/Patient".to_vec();
        bytes.extend(raw);
        let Ok(target) = Target::parse(&bytes) else { return Ok(()) };
        let action = Action::ALL[action];
        let policy = policy(|r| {
            r.on_query = action;
            r.on_path = Some(action);
            r.on_detect = action;
        });
        let judgement = policy.judge(&target, Some(2026));
        prop_assert!(judgement.log_safe.is_ascii());
        if let Outcome::Rewrite(sent) = judgement.outcome {
            prop_assert!(Target::parse(&sent).is_ok(), "{}", String::from_utf8_lossy(&sent));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn judging_twice_changes_nothing(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "/", "/", "Patient", "Observation", "7", "?", "&", "name", "patient", ":exact", ".", "=", "=", "Quill", "512-34-5678", "a@b.org", "%20", "%2541",
            "é", "%C3%A9", "..", "_count", "_id", "+", "sl1_AAAA", "birthdate", "1970-01-01", "**", "%", "２",
        ]), 1..14),
        action in 0..Action::ALL.len(),
        on_detect in 0..Action::ALL.len() - 1,
    ) {
        let action = Action::ALL[action];
        let policy = policy(|r| {
            r.on_query = if action == Action::Pass { Action::Observe } else { action };
            r.on_path = Some(r.on_query);
            r.on_detect = Action::ALL[on_detect];
            r.query = vec![("name".to_owned(), action)];
        });
        let raw = format!("/{}", pieces.concat());
        let Ok(target) = Target::parse(raw.as_bytes()) else { return Ok(()) };
        let Outcome::Rewrite(once) = policy.judge(&target, Some(2026)).outcome else { return Ok(()) };
        let again = Target::parse(&once).map_err(|why| TestCaseError::fail(format!("{raw}: {}", why.code())))?;
        match policy.judge(&again, Some(2026)).outcome {
            Outcome::Pass => {}
            Outcome::Rewrite(twice) => {
                prop_assert_eq!(String::from_utf8_lossy(&twice), String::from_utf8_lossy(&once), "{}", raw);
            }
            Outcome::Reject(_) => prop_assert!(false, "{} became {}", raw, String::from_utf8_lossy(&once)),
        }
        let out = outward(&policy, &raw);
        prop_assert_eq!(outward(&policy, &out), out, "{}", raw);
    }
}

fn upstream_lenient(policy: &PhiPolicy, raw: &[u8]) -> Vec<u8> {
    let Ok(target) = Target::parse(raw) else {
        return raw.to_vec();
    };
    match policy.judge(&target, Some(2026)).outcome {
        Outcome::Rewrite(bytes) => bytes,
        _ => raw.to_vec(),
    }
}

#[test]
fn without_a_section_only_known_words_of_the_path_are_logged() {
    let target = Target::parse(b"/fhir/Patient/7/birth-canary/$everything?x=1&_count=2")
        .ok()
        .unwrap();
    assert_eq!(
        log_safe(&target, &|_| false),
        "/fhir/Patient/***/***/$everything?x=***&_count=2"
    );
    let target = Target::parse(b"/api/people").ok().unwrap();
    assert_eq!(log_safe(&target, &|word| word == "api"), "/api/***");
}

#[test]
fn secrets_in_parameters_are_never_logged() {
    let policy = PhiPolicy::new(Rules::default(), Secrets::default()).ok().unwrap();
    let target = Target::parse(b"/x?ACCESS_token=canary&a=1").ok().unwrap();
    assert_eq!(policy.judge(&target, Some(2026)).log_safe, "/x?ACCESS_token=***&a=1");
}
