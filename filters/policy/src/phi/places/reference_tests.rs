use proptest::prelude::*;

use super::super::places::testing::{HIDING, policy, read_leniently, scene, sealed, spell, token};
use super::*;

/// What becomes of a reference on its way out; `-` where it can't be read.
fn out(policy: &PhiPolicy, text: &str) -> String {
    match policy.judge_reference(text, Way::Out, &scene()).fate {
        Fate::Keep => text.to_owned(),
        Fate::Replace(new) => {
            assert_ne!(new, text, "a change that changes nothing");
            new
        }
        Fate::Unreadable => "-".to_owned(),
        Fate::Reject(_) => panic!("{text} is rejected on its way out"),
    }
}

const HARMLESS: &[&str] = &[
    "",
    "/",
    "//h/x",
    "?",
    "?_count=2&_getpages=b3e0b7a2-5a1c-4b1e-9c5e-0123456789ab",
    "/fhir/Observation/8/_history/2",
    "/fhir//Observation?code=http://loinc.org|8867-4&&x=%41+b",
    "https://h/fhir/metadata",
    "HTTPS://H:8443/fhir/Observation?_sort=-date",
    "https://h",
    "https://h?_count=1",
    "Observation/8",
    "../Observation",
    "./",
    "..",
    "%2e%2e/metadata",
    "#",
    "#p1",
    "/x#top",
    "#/ward/2",
    "urn:uuid:550e8400-e29b-41d4-a716-446655440000",
    "urn:oid:2.16.840.1.113883.4.1",
    "data:text/plain,hello",
    "wss://h/feed?x=1",
    "about:blank",
    "***",
    "$everything",
    "_history",
];

#[test]
fn the_harmless_stays_byte_for_byte() {
    for action in HIDING {
        for text in HARMLESS {
            assert_eq!(out(&policy(action, |_| {}), text), *text, "{action:?}");
        }
    }
}

#[test]
fn every_kind_keeps_its_kind() {
    let masking = policy(Action::Mask, |_| {});
    for (text, expected) in [
        ("https://h/fhir/Patient/7", "https://h/fhir/Patient/***"),
        ("//h/fhir/Patient/7?_count=1", "//h/fhir/Patient/***?_count=1"),
        ("/fhir/Patient/7/_history/1", "/fhir/Patient/***/_history/1"),
        ("Patient/7/_history/1", "Patient/***/_history/1"),
        ("?name=Ada&_count=1", "?name=***&_count=1"),
        ("../Patient/7", "../Patient/***"),
        ("%2E./Patient/7", "%2E./Patient/***"),
        ("../../7", "../../***"),
        ("7/_history/2", "***/_history/2"),
        ("../a/../Patient/7", "../Patient/***"),
        // The base may be told too, where what follows can't be a person's compartment.
        ("r4/Patient/7", "r4/Patient/***"),
        ("r4/Patient/7/Observation", "r4/Patient/***/Observation"),
        ("../api/r4/Patient?name=Ada", "../api/r4/Patient?name=***"),
        ("r4/Organization?_count=1", "r4/Organization?_count=1"),
        ("r4/Organization?birthdate=1970", "r4/Organization?birthdate=***"),
        ("r4/Observation/$lastn?date=2020", "r4/Observation/$lastn?date=***"),
        ("512-34-5678/Patient/7", "***/Patient/***"),
        ("7/Observation?_count=1", "***/Observation?_count=1"),
        ("7/Observation/", "***/Observation/"),
        ("7/Observation/_search", "***/Observation/_search"),
        ("7/Patient", "***/Patient"),
        ("7/patient/8", "***/patient/***"),
        ("7/$match/Patient/8", "***/$match/Patient/***"),
        ("wss://h/Patient/7", "wss://h/Patient/***"),
        ("mailto:peter@example.org?cc=x", "mailto:***?cc=x"),
        ("tel:415-555-0132", "tel:***"),
        ("urn:ssn:512-34-5678", "urn:ssn:***"),
        ("urn:ssn:512%2D34%2d5678", "urn:***"),
        ("javascript:location='/Patient/7'", "javascript:***"),
        ("blob:https://h/Patient/7", "blob:***"),
        ("/x#Patient/7", "/x"),
        ("/x#/Patient/7", "/x"),
        ("/x#!/fhir/Patient%2F7", "/x"),
        ("/x#name=Ada", "/x"),
        ("/x#note=512-34-5678", "/x"),
        ("#a#b", ""),
        ("/x# ", "/x"),
        ("/Patient/7#x", "/Patient/***"),
        ("a/../x/..", "./"),
        ("a/../?name=Ada", "./?name=***"),
        ("/x?note=512-34-5678", "/x?note=***"),
    ] {
        assert_eq!(out(&masking, text), expected, "{text}");
    }
}

#[test]
fn the_unreadable_is_told() {
    for text in [
        "http:x",
        "http:/x",
        "https:///x",
        "///",
        "https://a:b@h/x",
        "/a\\b",
        "\\\\h\\x",
        "/x;y=1",
        "/x?a=1;b=2",
        "/%zz",
        "/%ff",
        "/a b",
        " /x",
        "/a\tb",
        "/x/%2f",
        "/../x",
        "x/../../..",
        "file:///etc",
        "urn:x\u{85}",
        "data:text/plain;base64,NTEyLTM0LTU2Nzg=",
        "https://512-34-5678.example.org/",
        "/fhir/x,Patient/7",
        "/fhir/x,https://h/a%2cPatient/7",
    ] {
        for action in HIDING {
            assert_eq!(out(&policy(action, |_| {}), text), "-", "{text}");
        }
    }
}

#[test]
fn links_that_come_back_are_sealed() {
    let sealing = policy(Action::Seal, |_| {});
    let rejecting = policy(Action::Reject, |_| {});
    let id = sealed(&["segment", "Patient"], "7");
    let name = sealed(&["parameter", "name"], "Ada");
    for policy in [&sealing, &rejecting] {
        assert_eq!(out(policy, "/fhir/Patient/7"), format!("/fhir/Patient/{id}"));
        assert_eq!(
            out(policy, "https://h/fhir/Patient?name=Ada"),
            format!("https://h/fhir/Patient?name={name}")
        );
        assert_eq!(
            out(policy, "https://other/fhir/Patient/7"),
            "https://other/fhir/Patient/***"
        );
        assert_eq!(out(policy, "/other/Patient/7"), "/other/Patient/***");
        // Where it leads is not known.
        assert_eq!(out(policy, "7"), "***");
        assert_eq!(out(policy, "mailto:a@b.org"), "mailto:***");
    }
    let judged = sealing.judge_reference(&format!("/fhir/Patient/{id}"), Way::In, &scene());
    assert!(matches!(judged.fate, Fate::Replace(raw) if raw == "/fhir/Patient/7"));
    let moved = sealing.judge_reference(&format!("/fhir/Person/{id}"), Way::In, &scene());
    assert!(matches!(moved.fate, Fate::Reject(why) if why.kind == Kind::Sealed));
}

#[test]
fn what_is_opened_never_makes_another_kind() {
    let sealing = policy(Action::Seal, |_| {});
    for value in ["/h", "a:b", "..", ""] {
        let raw = format!("Patient/{}", sealed(&["segment", "Patient"], value));
        let Fate::Replace(opened) = sealing.judge_reference(&raw, Way::In, &scene()).fate else {
            continue;
        };
        assert!(opened.starts_with("Patient/"), "{opened}");
    }
}

#[test]
fn in_requests_what_is_refused_is_refused() {
    let rejecting = policy(Action::Reject, |_| {});
    for (text, kind) in [
        ("/fhir/Patient/7", Kind::Path),
        ("Patient?name=Ada", Kind::Query),
        ("mailto:a@b.org", Kind::Detect("email".to_owned())),
        ("javascript:'/Patient/7'", Kind::Query),
    ] {
        let judged = rejecting.judge_reference(text, Way::In, &scene());
        assert!(matches!(judged.fate, Fate::Reject(why) if why.kind == kind), "{text}");
    }
    let judged = rejecting.judge_reference("/x#top", Way::In, &scene());
    assert!(matches!(judged.fate, Fate::Unreadable));
}

#[test]
fn what_may_be_seen_shows() {
    let observing = policy(Action::Observe, |_| {});
    for text in [
        "/fhir/Patient/7",
        "?name=Ada",
        "mailto:a@b.org",
        "javascript:'/Patient/7'",
    ] {
        let judged = observing.judge_reference(text, Way::Out, &scene());
        assert!(matches!(judged.fate, Fate::Keep) && judged.shows, "{text}");
        assert!(!observing.is_harmless(text, &scene()));
    }
}

#[test]
fn tokens_stand_for_what_is_opaque() {
    let tokenizing = policy(Action::Tokenize, |_| {});
    assert_eq!(out(&tokenizing, "Patient/7"), format!("Patient/{}", token("7")));
    assert_eq!(out(&tokenizing, "mailto:a@b.org"), "mailto:***");
}

/// A shape of reference with a canary in it.
fn planted(shape: usize, value: &str) -> String {
    match shape {
        0 => format!("https://h/fhir/Patient/{value}?_count=1"),
        1 => format!("//h/fhir/Patient/{value}/_history/1"),
        2 => format!("/fhir/Patient?_count=1&name={value}&x=%41"),
        3 => format!("Patient/{value}"),
        4 => format!("?identifier=x|{value}"),
        5 => format!("../../{value}/_history"),
        6 => format!("https://elsewhere.example/Patient/{value}#{value}"),
        7 => format!("/x#/Patient/{value}"),
        8 => format!("#name={value}"),
        9 => format!("app://host/Patient/{value}"),
        10 => format!("x-app:open?url=/Patient/{value}"),
        11 => format!("/fhir/Observation?subject=https://h/fhir/Patient/{value}"),
        12 => format!("/fhir/Observation/1,Patient/{value}"),
        _ => format!("/fhir/x/../Patient/./{value}"),
    }
}

/// Every action but `pass`.
fn acting() -> impl Strategy<Value = Action> {
    prop::sample::select(
        Action::ALL
            .into_iter()
            .filter(|action| *action != Action::Pass)
            .collect::<Vec<_>>(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn no_canary_survives(
        canary in prop::sample::select(vec!["Quixotegarcia", "512-34-5678", "1931-11-09", "zq@canary.org"]),
        action in prop::sample::select(HIDING.to_vec()),
        shape in 0_usize..14,
        seed in any::<u64>(),
    ) {
        let text = planted(shape, &spell(canary, seed));
        let policy = policy(action, |_| {});
        let got = out(&policy, &text);
        prop_assert!(!read_leniently(&got).contains(&canary.to_lowercase()), "{} gives {}", text, got);
        prop_assert!(!policy.is_harmless(&text, &scene()), "{}", text);
        if got != "-" {
            prop_assert_eq!(out(&policy, &got), got.clone(), "{}", text);
        }
        match policy.judge_reference(&text, Way::In, &scene()).fate {
            Fate::Keep => prop_assert!(false, "{} passes", text),
            Fate::Replace(sent) => prop_assert!(!read_leniently(&sent).contains(&canary.to_lowercase()), "{}", sent),
            Fate::Unreadable | Fate::Reject(_) => {}
        }
    }

    #[test]
    fn out_of_out_is_out(
        text in "(https?://h|//h|x:|x://h)?/?((\\.\\./|fhir/|Patient/|Observation/|%2e%2e/|7|Ada|512-34-5678|a@b\\.org|,|%41){0,4})(\\?((name|code|q)=[a-z0-9@.+-]{0,12}&?){0,3})?(#[a-z/=?]{0,6})?",
        action in acting(),
    ) {
        let policy = policy(action, |_| {});
        let once = out(&policy, &text);
        if once != "-" {
            prop_assert_eq!(out(&policy, &once), once.clone(), "{}", text);
        }
    }

    #[test]
    fn nothing_panics_and_texts_stay_texts(text in any::<String>(), action in acting()) {
        let policy = policy(action, |_| {});
        out(&policy, &text);
        policy.judge_reference(&text, Way::In, &scene());
        policy.judge_text(&text, &scene());
    }
}
