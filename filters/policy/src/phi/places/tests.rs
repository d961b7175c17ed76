use proptest::prelude::*;

use super::super::{Rules, Target};
use super::testing::{HIDING, policy, read_leniently, scene, sealed, spell, token};
use super::*;

fn request(lines: &[(&str, &str)]) -> RequestHead {
    RequestHead::new(
        lines
            .iter()
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())),
    )
}

fn response(lines: &[(&str, &str)]) -> ResponseHead {
    ResponseHead::new(
        lines
            .iter()
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())),
    )
}

/// What is left of one header, its lines joined; or the refusal.
fn judged(policy: &PhiPolicy, name: &str, lines: &[&str]) -> Result<Option<String>, (String, Option<String>)> {
    let mut head = request(&lines.iter().map(|line| (name, *line)).collect::<Vec<_>>());
    let target = Target::parse(b"/fhir/Patient").ok().unwrap();
    policy
        .request_headers(&mut head, &target, &scene())
        .map_err(|why| (why.kind.code().to_owned(), why.parameter))?;
    let left: Vec<_> = head.all(name).map(|line| String::from_utf8_lossy(line)).collect();
    Ok((!left.is_empty()).then(|| left.join(" / ")))
}

fn kept(policy: &PhiPolicy, name: &str, value: &str) -> Option<String> {
    judged(policy, name, &[value]).unwrap()
}

fn answered(policy: &PhiPolicy, name: &str, lines: &[&str]) -> Option<String> {
    let mut head = response(&lines.iter().map(|line| (name, *line)).collect::<Vec<_>>());
    policy.response_headers(&mut head, &scene());
    let left: Vec<_> = head.all(name).map(|line| String::from_utf8_lossy(line)).collect();
    (!left.is_empty()).then(|| left.join(" / "))
}

#[test]
fn a_referer_with_phi_is_cut_to_its_origin() {
    for action in HIDING.into_iter().chain([Action::Observe]) {
        let policy = policy(action, |_| {});
        for (value, expected) in [
            (
                "https://app.example.org/ward?tab=2",
                Some("https://app.example.org/ward?tab=2"),
            ),
            (
                "https://app.example.org/x?code=a,b",
                Some("https://app.example.org/x?code=a,b"),
            ),
            ("https://app.example.org/Patient/7", Some("https://app.example.org/")),
            (
                "HTTP://app.example.org:8080/Patient?name=a",
                Some("http://app.example.org:8080/"),
            ),
            (
                "https://app.example.org/x?q=512345678",
                Some("https://app.example.org/"),
            ),
            ("https://app.example.org/x,Patient/7", Some("https://app.example.org/")),
            ("https://10.1.2.3/x", Some("https://10.1.2.3/x")),
            ("about:blank", Some("about:blank")),
            ("https://app.example.org/,https://b/", None),
            ("https://app.example.org/, /x", None),
            ("https://user:pw@app.example.org/", None),
            ("https://app.example.org/x#Patient/7", None),
            ("https://app.example.org/x#top", None),
            ("/Patient/7", None),
            ("/x", None),
            ("mailto:a@b.org", None),
            ("%", None),
            ("", None),
        ] {
            assert_eq!(
                kept(&policy, "referer", value).as_deref(),
                expected,
                "{value} {action:?}"
            );
        }
        assert_eq!(judged(&policy, "referer", &["https://a/", "https://a/"]), Ok(None));
    }
    let id = sealed(&["segment", "Patient"], "7");
    let url = format!("https://h/fhir/Patient/{id}");
    assert_eq!(kept(&policy(Action::Seal, |_| {}), "referer", &url), Some(url));
}

#[test]
fn an_origin_is_one_or_null() {
    let policy = policy(Action::Mask, |_| {});
    for (value, expected) in [
        ("null", "null"),
        ("https://app.example.org", "https://app.example.org"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("http://10.1.2.3", "http://10.1.2.3"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("https://512-34-5678.example.org", "null"),
        ("https://app.example.org/", "null"),
        ("https://app.example.org/Patient/7", "null"),
        ("https://a@b.org", "null"),
        ("https://a,https://b", "null"),
        ("https://a https://b", "null"),
        ("https://a:x", "null"),
        ("https://", "null"),
        ("", "null"),
    ] {
        assert_eq!(kept(&policy, "origin", value).as_deref(), Some(expected), "{value}");
    }
    assert_eq!(
        judged(&policy, "origin", &["https://a", "https://a"]),
        Ok(Some("null".to_owned()))
    );
}

#[test]
fn forwarded_keeps_what_rfc_7239_defines() {
    let policy = policy(Action::Mask, |_| {});
    for (lines, expected) in [
        (
            vec!["for=192.0.2.60;proto=http;by=203.0.113.43"],
            Some("for=192.0.2.60;proto=http;by=203.0.113.43"),
        ),
        (
            vec!["for=192.0.2.43, FOR=\"[2001:db8:cafe::17]:4711\""],
            Some("for=192.0.2.43, FOR=\"[2001:db8:cafe::17]:4711\""),
        ),
        (
            vec!["for=unknown;host=h.example:8080", "for=_gazonk"],
            Some("for=unknown;host=h.example:8080 / for=_gazonk"),
        ),
        (vec!["for=1.2.3.4:99;path=/Patient/7"], Some("for=1.2.3.4:99")),
        (vec!["for=\"512-34-5678\";proto=https"], Some("proto=https")),
        (vec!["for=_512-34-5678"], None),
        (vec!["host=512-34-5678.h, for=1.2.3.4"], Some("for=1.2.3.4")),
        (vec!["host=\"a@b.org\""], None),
        (
            vec!["for=1.2.3.4;uri=\"/a;b,c\\\"\", for=5.6.7.8"],
            Some("for=1.2.3.4, for=5.6.7.8"),
        ),
        (vec!["for=1.2.3.4", "path=/Patient/7"], Some("for=1.2.3.4")),
        (vec!["for=\"unclosed"], None),
        (vec!["=x"], None),
        (vec!["for=1.2.3.4 by=x"], None),
        (vec!["/Patient/7"], None),
        (vec!["for"], None),
    ] {
        assert_eq!(
            judged(&policy, "forwarded", &lines),
            Ok(expected.map(str::to_owned)),
            "{lines:?}"
        );
    }
}

#[test]
fn urls_that_proxies_tell_go_with_phi() {
    for action in HIDING.into_iter().chain([Action::Observe]) {
        let policy = policy(action, |_| {});
        for (value, expected) in [
            ("/api", true),
            ("/api,/fhir", true),
            ("/api, /fhir", true),
            ("https://h/fhir/Observation?code=a,b", true),
            ("/fhir/Patient/7", false),
            ("/api, /fhir/Patient/7", false),
            ("/api,Patient/7", false),
            ("/fhir?name=Ada", false),
            ("/x/512-34-5678", false),
            ("/x#Patient/7", false),
            ("/a\\b", false),
            ("/%ff", false),
        ] {
            for name in TOLD_URLS {
                assert_eq!(kept(&policy, name, value).is_some(), expected, "{name}: {value}");
            }
        }
    }
}

#[test]
fn if_none_exist_is_a_query() {
    let criteria = |action, lines: &[&str]| judged(&policy(action, |_| {}), "if-none-exist", lines);
    let is = |text: &str| Ok(Some(text.to_owned()));
    assert_eq!(criteria(Action::Mask, &["identifier=x|7"]), is("identifier=***"));
    assert_eq!(
        criteria(Action::Mask, &["?identifier=x|7&_count=1"]),
        is("?identifier=***&_count=1")
    );
    assert_eq!(
        criteria(Action::Mask, &["Patient?identifier=7"]),
        is("Patient?identifier=***")
    );
    assert_eq!(
        criteria(Action::Tokenize, &["identifier=7"]),
        is(&format!("identifier={}", token("7")))
    );
    assert_eq!(criteria(Action::Observe, &["identifier=7"]), is("identifier=7"));
    let opened = sealed(&["parameter", "identifier"], "x|7");
    assert_eq!(
        criteria(Action::Seal, &[&format!("identifier={opened}")]),
        is("identifier=x%7C7")
    );
    assert_eq!(criteria(Action::Mask, &["_tag=x"]), is("_tag=x"));
    assert_eq!(criteria(Action::Mask, &[""]), is(""));
    let refused = |kind: &str, parameter: &str| Err((kind.to_owned(), Some(parameter.to_owned())));
    assert_eq!(
        criteria(Action::Reject, &["identifier=7"]),
        refused("query", "identifier")
    );
    assert_eq!(
        criteria(Action::Seal, &["identifier=7"]),
        refused("query", "identifier")
    );
    for lines in [
        &["identifier=7", "identifier=8"][..],
        &["identifier=%zz"],
        &["Observation?identifier=7"],
        &["https://h/fhir/Patient?identifier=7"],
        &["a b"],
        &["a=1;b=2"],
    ] {
        assert_eq!(
            criteria(Action::Mask, lines),
            refused("unreadable", "if-none-exist"),
            "{lines:?}"
        );
    }
    assert_eq!(
        criteria(Action::Strip, &["identifier=7"]),
        refused("header", "if-none-exist")
    );
    // The path has its own judgement.
    let target = Target::parse(b"/fhir/Patient/7/Observation").ok().unwrap();
    let mut head = request(&[("if-none-exist", "_tag=x")]);
    assert!(
        policy(Action::Reject, |_| {})
            .request_headers(&mut head, &target, &scene())
            .is_ok()
    );
}

#[test]
fn the_policy_names_headers() {
    let by = |name: &str, action| {
        let rule = (name.to_owned(), action);
        policy(Action::Mask, move |rules: &mut Rules| rules.headers = vec![rule])
    };
    let is = |text: &str| Ok(Some(text.to_owned()));
    assert_eq!(judged(&by("x-id", Action::Mask), "x-id", &["7", "8"]), is("***, ***"));
    assert_eq!(judged(&by("x-id", Action::Tokenize), "x-id", &["7"]), is(&token("7")));
    let again = token("7");
    assert_eq!(judged(&by("x-id", Action::Tokenize), "x-id", &[&again]), is(&again));
    assert_eq!(judged(&by("x-id", Action::Strip), "x-id", &["7"]), Ok(None));
    assert_eq!(judged(&by("x-id", Action::Observe), "x-id", &["7"]), is("7"));
    let refused = |kind: &str| Err((kind.to_owned(), Some("x-id".to_owned())));
    assert_eq!(judged(&by("x-id", Action::Reject), "x-id", &["7"]), refused("header"));
    assert_eq!(judged(&by("x-id", Action::Reject), "x-id", &[""]), is(""));
    assert_eq!(judged(&by("x-id", Action::Seal), "x-id", &["7"]), refused("header"));
    // `pass` lifts what is built in, and leaves the detectors.
    let referer = "https://a/Patient/7";
    assert_eq!(
        kept(&by("referer", Action::Pass), "referer", referer).as_deref(),
        Some(referer)
    );
    assert_eq!(
        kept(&by("referer", Action::Pass), "referer", "https://a/512-34-5678").as_deref(),
        Some("https://a/***")
    );
    assert_eq!(
        kept(&by("referer", Action::Pass), "referer", "https://a/512%2d34%2d5678").as_deref(),
        Some("***")
    );
    assert_eq!(
        kept(&by("referer", Action::Observe), "referer", referer).as_deref(),
        Some(referer)
    );
    let rejecting = policy(Action::Reject, |rules| {
        rules.headers = vec![("x-id".to_owned(), Action::Pass)]
    });
    assert_eq!(judged(&rejecting, "x-id", &["512-34-5678"]), refused("ssn"));
    assert_eq!(judged(&rejecting, "x-id", &["Patient/7"]), is("Patient/7"));
}

#[test]
fn the_lists_are_sorted() {
    assert!(TOLD_URLS.is_sorted() && ECHOES.is_sorted());
}

#[test]
fn headers_without_rules_are_not_looked_into() {
    let policy = policy(Action::Reject, |_| {});
    assert_eq!(
        kept(&policy, "x-callback", "https://h/Patient/7").as_deref(),
        Some("https://h/Patient/7")
    );
}

#[test]
fn an_untouched_head_has_no_edits() {
    let policy = policy(Action::Mask, |_| {});
    let mut head = request(&[
        ("referer", "https://a/"),
        ("origin", "https://a"),
        ("forwarded", "for=1.2.3.4"),
        ("x-a", "b"),
    ]);
    let target = Target::parse(b"/fhir/Patient").ok().unwrap();
    assert!(policy.request_headers(&mut head, &target, &scene()) == Ok(Counts::default()));
    assert!(head.take_edits().is_empty());
    let mut head = response(&[("location", "/fhir/x"), ("link", "</a>;rel=next"), ("refresh", "5")]);
    assert!(policy.response_headers(&mut head, &scene()) == Counts::default());
    assert!(head.take_edits().is_empty());
}

#[test]
fn where_a_response_leads_is_judged() {
    let masking = policy(Action::Mask, |_| {});
    for name in ECHOES {
        for (lines, expected) in [
            (vec!["/fhir/Patient/7/_history/1"], Some("/fhir/Patient/***/_history/1")),
            (
                vec!["https://h/fhir/Observation/8"],
                Some("https://h/fhir/Observation/8"),
            ),
            (vec!["Patient/7"], Some("Patient/***")),
            (vec!["7/_history/1"], Some("***/_history/1")),
            (vec!["/a\\b"], None),
            (vec!["/x", "/x"], None),
            (vec!["/x,/Patient/7"], Some("/x,/Patient/***")),
            (vec!["#Patient/7"], None),
        ] {
            assert_eq!(
                answered(&masking, name, &lines).as_deref(),
                expected,
                "{name} {lines:?}"
            );
        }
    }
    let mut head = ResponseHead::new([("location".to_owned(), b"/\xff".to_vec())]);
    masking.response_headers(&mut head, &scene());
    assert!(!head.has("location"));
    let sealing = policy(Action::Reject, |_| {});
    let mut head = response(&[("location", "https://h/fhir/Patient/7")]);
    let counts = sealing.response_headers(&mut head, &scene());
    assert_eq!(counts.sealed, 1);
    // `headers` is for requests.
    let passing = policy(Action::Mask, |rules| {
        rules.headers = vec![("location".to_owned(), Action::Pass)]
    });
    assert_eq!(
        answered(&passing, "location", &["/Patient/7"]).as_deref(),
        Some("/Patient/***")
    );
}

#[test]
fn links_are_rewritten_one_by_one() {
    let policy = policy(Action::Mask, |_| {});
    for (lines, expected) in [
        (
            vec!["</fhir?page=2>; rel=\"next\", </fhir>;rel=prev"],
            Some("</fhir?page=2>; rel=\"next\", </fhir>;rel=prev"),
        ),
        (vec!["</Patient/7>; rel=self"], Some("</Patient/***>; rel=self")),
        (
            vec!["</Patient?name=a,b>;rel=self,</x>"],
            Some("</Patient?name=***>;rel=self, </x>"),
        ),
        (
            vec!["</x>; title=\"of 512-34-5678, \\\"x\\\"\""],
            Some("</x>; title=\"of ***, \\\"x\\\"\""),
        ),
        (
            vec!["</x>; title=\"see Patient/7\""],
            Some("</x>; title=\"see Patient/***\""),
        ),
        (
            vec!["</x>; title*=UTF-8'en'of%20512-34-5678"],
            Some("</x>; title*=UTF-8''***"),
        ),
        (
            vec!["</x>; title*=UTF-8'en'%e2%82%ac"],
            Some("</x>; title*=UTF-8'en'%e2%82%ac"),
        ),
        (
            vec!["</x>; anchor=\"/Patient/7\"; rel=up"],
            Some("</x>; anchor=\"/Patient/***\"; rel=up"),
        ),
        (vec!["</a>;rel=up", "</Patient/7>"], Some("</a>;rel=up, </Patient/***>")),
        (vec!["</a\\b>; rel=up, </c>"], Some("</c>")),
        (vec!["</a\\b>"], None),
        (vec!["</x>; rel=\"https://h/Patient/7\""], None),
        (
            vec!["</x>; rel=\"https://h/rels/x next\""],
            Some("</x>; rel=\"https://h/rels/x next\""),
        ),
        (vec!["</x>; anchor=\"/a\\\\b\""], None),
        (vec!["/Patient/7"], None),
        (vec!["</x> junk"], None),
        (vec!["</x>; title=\"open"], None),
        (vec!["</x"], None),
        (vec!["</x>; 512-34-5678=1"], None),
        (vec!["</x>;; rel=a ;"], Some("</x>;; rel=a ;")),
        (vec![", </x> ,"], Some(", </x> ,")),
        (vec!["<>"], Some("<>")),
        (
            vec!["</x>; type=text/html; media=screen"],
            Some("</x>; type=text/html; media=screen"),
        ),
    ] {
        assert_eq!(answered(&policy, "link", &lines).as_deref(), expected, "{lines:?}");
    }
}

#[test]
fn refresh_is_read_as_browsers_do() {
    let policy = policy(Action::Mask, |_| {});
    for (value, expected) in [
        ("5", Some("5")),
        ("5; url=/x", Some("5; url=/x")),
        ("0;URL='/Patient/7'", Some("0;URL='/Patient/***'")),
        ("0; url = \"/Patient/7\"", Some("0; url = \"/Patient/***\"")),
        ("0,/Patient/7", Some("0,/Patient/***")),
        ("0 /Patient/7", Some("0 /Patient/***")),
        ("0;Patient/7", Some("0;Patient/***")),
        (
            "1.5;url=https://h/Patient?name=a",
            Some("1.5;url=https://h/Patient?name=***"),
        ),
        ("0;url='/Patient/7", Some("0;url='/Patient/***")),
        ("0;url='/x'/Patient/7", None),
        ("0;url=/a b", None),
        ("/Patient/7", None),
        ("x;url=/Patient/7", None),
        ("5/Patient/7", None),
        ("0;url=/Patient/7 ", Some("0;url=/Patient/***")),
    ] {
        assert_eq!(answered(&policy, "refresh", &[value]).as_deref(), expected, "{value}");
    }
    assert_eq!(answered(&policy, "refresh", &["0;url=/x", "5"]), None);
}

#[test]
fn file_names_are_looked_through() {
    for action in HIDING {
        let policy = policy(action, |_| {});
        for (value, expected) in [
            ("attachment", "attachment"),
            (
                "attachment; filename=\"report.pdf\"",
                "attachment; filename=\"report.pdf\"",
            ),
            (
                "attachment; filename=\"of 512-34-5678.pdf\"",
                "attachment; filename=\"of ***.pdf\"",
            ),
            ("attachment; filename=512-34-5678", "attachment; filename=\"***\""),
            (
                "attachment; filename=\"512%2d34%2d5678.pdf\"",
                "attachment; filename=\"***\"",
            ),
            (
                "inline; filename*=utf-8''512%2d34-5678.pdf; size=3",
                "inline; filename*=UTF-8''***; size=3",
            ),
            ("attachment; filename=\"512-34-5678", "attachment"),
            ("attachment; filename=\"open", "attachment; filename=\"open"),
            ("attachment filename=512-34-5678", "attachment"),
        ] {
            assert_eq!(
                answered(&policy, "content-disposition", &[value]).as_deref(),
                Some(expected),
                "{value}"
            );
        }
    }
}

#[test]
fn texts_show_no_phi() {
    let masking = policy(Action::Mask, |_| {});
    let text = |text: &str| masking.judge_text(text, &scene()).unwrap_or_else(|| text.to_owned());
    for (said, expected) in [
        ("Resource Patient/7 is not known", "Resource Patient/*** is not known"),
        (
            "Resource Patient/7/_history/2, not known.",
            "Resource Patient/***/_history/2, not known.",
        ),
        (
            "GET https://h/fhir/Patient?name=Ada failed",
            "GET https://h/fhir/Patient?name=*** failed",
        ),
        (
            "Invalid match URL \"Patient?identifier=http://x|123\"",
            "Invalid match URL \"Patient?identifier=***\"",
        ),
        (
            "no match for identifier=512, sorry",
            "no match for identifier=***, sorry",
        ),
        ("name='Ada Lovelace' is wrong", "name='***' is wrong"),
        ("found 512-34-5678 there", "found *** there"),
        ("trouvé 512-34-5678 là", "trouvé *** là"),
        ("see url:https://h/Patient/7", "see url:https://h/Patient/***"),
        ("at /fhir/Patient/7;jsessionid=1", "at /fhir/Patient/***;jsessionid=1"),
        ("x,Patient/7", "***"),
        ("[Patient%2F7]", "[***]"),
        ("ask peter@example.org", "ask ***"),
        ("mail 512%2d34%2d5678", "mail ***"),
    ] {
        assert_eq!(text(said), expected, "{said}");
        assert_eq!(text(expected), expected);
    }
    for said in [
        "",
        "HAPI-0302: Unknown search parameter \"foo\" for resource type \"Observation\". Valid parameters: [_id, code]",
        "Content-Type text/html;charset=UTF-8 is not supported, either/or",
        "a=b, 100% sure, 1/2, HTTP/1.1 404",
        "https://h/fhir/Observation/8?_count=1 at 2024-01-15T10:30:00Z",
        "see http://hl7.org/fhir/R4/patient.html#search",
        "é 50 €",
    ] {
        assert_eq!(text(said), said);
    }
    let observing = policy(Action::Observe, |_| {});
    assert_eq!(observing.judge_text("Patient/7 and 512-34-5678", &scene()), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1200))]

    #[test]
    fn no_canary_survives_in_requests(
        canary in prop::sample::select(vec!["Quixotegarcia", "512-34-5678", "zq@canary.org", "MRN ZQ81234"]),
        action in prop::sample::select(HIDING.to_vec()),
        place in 0_usize..9,
        seed in any::<u64>(),
    ) {
        let value = spell(canary, seed);
        let (name, value) = match place {
            0 => ("referer", format!("https://app/fhir/Patient/{value}")),
            1 => ("referer", format!("https://app/x?patient={value}&y=1")),
            2 => ("origin", format!("https://app/Patient/{value}")),
            3 => ("forwarded", format!("for=1.2.3.4;path=\"/Patient/{value}\", for={value};host={value}")),
            4 => ("x-original-uri", format!("/fhir/Patient?name={value}")),
            5 => ("x-forwarded-prefix", format!("/a, /Patient/{value}")),
            6 => ("if-none-exist", format!("identifier=x|{value}")),
            7 => ("if-none-exist", format!("Patient?_tag=x&name:exact={value}")),
            _ => ("x-forwarded-uri", format!("https://h/x,Patient/{value}")),
        };
        let policy = policy(action, |_| {});
        if let Ok(Some(left)) = judged(&policy, name, &[&value]) {
            prop_assert!(!read_leniently(&left).contains(&canary.to_lowercase()), "{}: {} leaves {}", name, value, left);
            prop_assert_eq!(judged(&policy, name, &[&left]), Ok(Some(left)).map_err(|()| (String::new(), None)), "{}", name);
        }
    }

    #[test]
    fn no_canary_survives_in_responses(
        canary in prop::sample::select(vec!["Quixotegarcia", "512-34-5678", "zq@canary.org"]),
        action in prop::sample::select(HIDING.to_vec()),
        place in 0_usize..12,
        seed in any::<u64>(),
    ) {
        let value = spell(canary, seed);
        let found = if canary == "Quixotegarcia" { "512-34-5678" } else { canary };
        let (name, value) = match place {
            0 => ("location", format!("/fhir/Patient/{value}")),
            1 => ("content-location", format!("Patient/{value}/_history/1")),
            2 => ("content-location", format!("{value}/_history/1")),
            3 => ("location", format!("https://elsewhere/x?name={value}#name={value}")),
            4 => ("link", format!("</fhir/Patient?name={value}>; rel=next; anchor=\"/Patient/{value}\"")),
            5 => ("link", format!("</x>;rel=a,<Patient/{value}>; title=\"Patient/{value}\"")),
            6 => ("link", format!("</x>; title*=UTF-8''Patient%2F{value}; rel=\"http://h/Patient/{value}\"")),
            7 => ("refresh", format!("0;url='/Patient/{value}'")),
            8 => ("refresh", format!("0 Patient/{value}")),
            9 => ("content-disposition", format!("attachment; filename=\"x {found}.pdf\"; filename*=UTF-8''{}", spell(found, seed))),
            10 => ("sourcemap", format!("/Patient/{value}/x.map")),
            _ => ("x-original-url", format!("/fhir/Observation?patient={value}")),
        };
        let policy = policy(action, |_| {});
        if let Some(left) = answered(&policy, name, &[&value]) {
            let read = read_leniently(&left);
            prop_assert!(!read.contains(&canary.to_lowercase()) && !read.contains(found), "{}: {} leaves {}", name, value, left);
            prop_assert_eq!(answered(&policy, name, &[&left]), Some(left), "{}", name);
        }
    }

    #[test]
    fn no_canary_survives_in_texts(
        canary in prop::sample::select(vec!["Quixotegarcia", "512-34-5678", "zq@canary.org"]),
        action in prop::sample::select(HIDING.to_vec()),
        shape in 0_usize..8,
        seed in any::<u64>(),
    ) {
        let value = spell(canary, seed);
        let text = match shape {
            0 => format!("Resource Patient/{value} is gone"),
            1 => format!("GET https://h/fhir/Patient?name={value}&_count=1 failed."),
            2 => format!("no match for ?identifier=x|{value}: give up"),
            3 => format!("(patient={value})"),
            4 => format!("tried [/fhir/Patient/{value}/_history/1,/fhir/Patient/{value}]"),
            5 => format!("name='{canary}' or given=\"{canary}\""),
            6 => format!("at \"Observation?subject=Patient/{value}\""),
            _ => format!("é {value} at Patient%2F{value}"),
        };
        // A name alone in a text is nobody's to find.
        prop_assume!(shape < 7 || canary != "Quixotegarcia");
        let policy = policy(action, |_| {});
        let shown = policy.judge_text(&text, &scene()).unwrap_or_else(|| text.clone());
        prop_assert!(!read_leniently(&shown).contains(&canary.to_lowercase()), "{} shows {}", text, shown);
        prop_assert_eq!(policy.judge_text(&shown, &scene()), None, "{} shows {}", text, shown);
    }

    #[test]
    fn nothing_panics(
        name in prop::sample::select(vec!["referer", "origin", "forwarded", "if-none-exist", "x-original-uri", "link", "refresh", "content-disposition", "location"]),
        value in prop::collection::vec(prop_oneof![3 => prop::sample::select(b"/?&=%;:.,|+@-<>\"'\\ 0159abmrnPatiename*_[]#".to_vec()), 1 => any::<u8>()], 0..60),
        action in prop::sample::select(HIDING.to_vec()),
    ) {
        let policy = policy(action, |_| {});
        let target = Target::parse(b"/fhir/Patient").ok().unwrap();
        let mut head = RequestHead::new([(name.to_owned(), value.clone())]);
        let _ = policy.request_headers(&mut head, &target, &scene());
        let mut head = ResponseHead::new([(name.to_owned(), value)]);
        policy.response_headers(&mut head, &scene());
    }
}

/// Were any of it quadratic, this would take minutes.
#[test]
fn long_hostile_texts_come_to_an_end() {
    let policy = policy(Action::Mask, |_| {});
    for text in [
        "=".repeat(60_000),
        "a=".repeat(30_000),
        "é 512-34-5678".repeat(4_000),
        "/Patient/7".repeat(6_000),
        "%25".repeat(20_000),
        "x://".repeat(15_000),
        "a@b.org512-34-5678".repeat(3_000),
    ] {
        policy.judge_text(&text, &scene());
        policy.judge_link(&text, &scene());
    }
}
