//! Tests of fetched key sets: one for each rule, and what holds under every order of events.

use proptest::prelude::*;

use super::super::fixtures::*;
use super::*;

const T0: u64 = 1_800_000_000_000;
const REFRESH: u64 = 600_000;
const MAX_STALE: u64 = 3_600_000;

fn spec() -> Spec {
    Spec {
        issuer: "https://idp.example/tenant".into(),
        algorithms: vec![Algorithm::Es256],
        cluster: "idp".into(),
        finding: Finding::Url(Address::parse("https://idp.example/jwks?x=1").unwrap()),
        refresh: REFRESH,
        max_stale: MAX_STALE,
        timeout: 5_000,
    }
}

fn by_discovery() -> Source {
    let document = Address::of_configuration("https://idp.example/tenant").unwrap();
    let origins = vec![Origin::parse("https://keys.example").unwrap()];
    Source::new(Spec {
        finding: Finding::Discovery { document, origins },
        ..spec()
    })
}

/// A set of one key with this kid.
fn set(kid: &str) -> String {
    format!(r#"{{"keys":[{{"kty":"EC","crv":"P-256","x":"{EC_X}","y":"{EC_Y}","kid":"{kid}"}}]}}"#)
}

fn rsa_set() -> String {
    format!(r#"{{"keys":[{{"kty":"RSA","n":"{RSA_N}","e":"AQAB","kid":"r"}}]}}"#)
}

fn ok(body: &str) -> Option<Response<'_>> {
    Some(Response {
        status: Some(200),
        content_type: Some(b"application/json; charset=utf-8"),
        content_encoding: None,
        body: body.as_bytes(),
    })
}

/// Asked for and fetched.
fn filled(now: u64) -> Source {
    let source = Source::new(spec());
    assert_eq!(source.look_up(None, now), Lookup::Wait);
    let fetch = source.due(now).unwrap();
    assert_eq!(
        source.answer(fetch.id, ok(&set("a")), now),
        Outcome::Renewed { changed: true }
    );
    source
}

fn has(source: &Source, kid: &str, now: u64) -> bool {
    source
        .keys(now)
        .is_some_and(|(keys, _)| keys.kids().any(|known| known == kid))
}

#[test]
fn a_fetch_says_where_it_goes() {
    let source = Source::new(spec());
    source.look_up(None, T0);
    let fetch = source.due(T0).unwrap();
    assert_eq!((fetch.cluster.as_str(), fetch.scheme), ("idp", "https"));
    assert_eq!(
        (fetch.authority.as_str(), fetch.path.as_str()),
        ("idp.example", "/jwks?x=1")
    );
    assert_eq!(fetch.timeout, 5_000);
}

#[test]
fn rule_1_one_at_a_time_with_a_growing_back_off() {
    let source = Source::new(spec());
    assert!(source.due(T0).is_none(), "nobody has asked");
    assert!(source.due(T0 + PRELOAD - 1).is_none());
    let fetch = source.due(T0 + PRELOAD).unwrap();
    assert!(source.due(T0 + PRELOAD + 1).is_none(), "one is under way");
    let mut now = T0 + PRELOAD;
    let mut id = fetch.id;
    let mut backoffs = Vec::new();
    for _ in 0..9 {
        assert_eq!(source.answer(id, None, now), Outcome::Failed(FetchError::NoAnswer));
        assert_eq!(source.look_up(None, now), Lookup::Unavailable);
        let begun = now;
        id = loop {
            now += 500;
            if let Some(fetch) = source.due(now) {
                break fetch.id;
            }
        };
        backoffs.push((now - begun) / 1_000);
    }
    assert_eq!(backoffs, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    assert_eq!(
        source.answer(id, ok(&set("a")), now),
        Outcome::Renewed { changed: true }
    );
    assert!(has(&source, "a", now));
}

#[test]
fn rule_1_a_fetch_that_the_host_forgot_is_made_again() {
    let source = Source::new(spec());
    source.look_up(None, T0);
    let lost = source.due(T0).unwrap();
    assert!(source.due(T0 + 6_999).is_none());
    let again = source.due(T0 + 7_000).unwrap();
    assert_ne!(lost.id, again.id);
    assert_eq!(source.answer(lost.id, ok(&set("a")), T0 + 7_000), Outcome::Ignored);
    assert!(source.keys(T0 + 7_000).is_none());
}

#[test]
fn rule_2_a_copy_is_renewed_and_one_day_gone() {
    let source = filled(T0);
    assert!(source.due(T0 + REFRESH - 1).is_none());
    let fetch = source.due(T0 + REFRESH).unwrap();
    assert!(has(&source, "a", T0 + REFRESH), "it is used meanwhile");
    assert_eq!(
        source.answer(fetch.id, ok(&set("a")), T0 + REFRESH + 90),
        Outcome::Renewed { changed: false }
    );
    // From the fetch's beginning.
    assert!(has(&source, "a", T0 + REFRESH + MAX_STALE - 1));
    assert!(!has(&source, "a", T0 + REFRESH + MAX_STALE));
    assert!(
        !has(&source, "a", T0 - 120_000),
        "the clock went back: its age is unknown"
    );
    assert!(source.is_due(T0 - 120_000));
}

#[test]
fn rule_2_the_version_changes_with_the_keys_only() {
    let source = filled(T0);
    let version = |now| source.keys(now).map(|(_, version)| version);
    let first = version(T0);
    let fetch = source.due(T0 + REFRESH).unwrap();
    source.answer(fetch.id, ok(&set("a")), T0 + REFRESH);
    assert_eq!(version(T0 + REFRESH), first);
    let fetch = source.due(T0 + 2 * REFRESH).unwrap();
    source.answer(fetch.id, ok(&set("b")), T0 + 2 * REFRESH);
    assert_ne!(version(T0 + 2 * REFRESH), first);
    assert!(!has(&source, "a", T0 + 2 * REFRESH), "a withdrawn key is gone");
}

#[test]
fn rule_3_nothing_bad_replaces_a_good_copy() {
    let large = format!("{}{}", set("b"), " ".repeat(super::super::MAX_KEY_SET_BYTES));
    let private = set("b").replace("\"kid\"", "\"d\":\"AA\",\"kid\"");
    let json = Some("application/json");
    for (status, content_type, content_encoding, body, error) in [
        (Some(500), json, None, set("b"), FetchError::Status),
        (Some(302), json, None, set("b"), FetchError::Status),
        (Some(204), json, None, set("b"), FetchError::Status),
        (None, json, None, set("b"), FetchError::Status),
        (Some(200), Some("text/html"), None, set("b"), FetchError::ContentType),
        (Some(200), json, Some("gzip"), set("b"), FetchError::ContentType),
        (Some(200), json, None, large, FetchError::TooLarge),
        (Some(200), json, None, String::new(), FetchError::Malformed),
        (Some(200), json, None, "{}".to_owned(), FetchError::Malformed),
        (
            Some(200),
            json,
            None,
            r#"{"keys":[],"keys":[]}"#.to_owned(),
            FetchError::Malformed,
        ),
        (Some(200), json, None, set("b")[1..].to_owned(), FetchError::Malformed),
        (Some(200), json, None, private, FetchError::PrivateKey),
        (Some(200), json, None, r#"{"keys":[]}"#.to_owned(), FetchError::Empty),
        (
            Some(200),
            json,
            None,
            r#"{"keys":[{"kty":"EC","crv":"P-999"}]}"#.to_owned(),
            FetchError::Empty,
        ),
        (Some(200), json, None, rsa_set(), FetchError::NoUsableKey),
    ] {
        let source = filled(T0);
        let fetch = source.due(T0 + REFRESH).unwrap();
        let response = Response {
            status,
            content_type: content_type.map(str::as_bytes),
            content_encoding: content_encoding.map(str::as_bytes),
            body: body.as_bytes(),
        };
        let outcome = source.answer(fetch.id, Some(response), T0 + REFRESH);
        assert_eq!(outcome, Outcome::Failed(error));
        assert!(has(&source, "a", T0 + REFRESH) && !has(&source, "b", T0 + REFRESH));
    }
    let source = filled(T0);
    let fetch = source.due(T0 + REFRESH).unwrap();
    assert_eq!(
        source.answer(fetch.id, None, T0 + REFRESH),
        Outcome::Failed(FetchError::NoAnswer)
    );
    assert!(has(&source, "a", T0 + REFRESH));
    let source = filled(T0);
    let fetch = source.due(T0 + REFRESH).unwrap();
    assert_eq!(source.not_sent(fetch.id, T0), Outcome::Failed(FetchError::NotSent));
    assert!(has(&source, "a", T0 + REFRESH));
}

#[test]
fn rule_3_a_set_may_come_under_any_type_that_does_not_contradict() {
    for content_type in [
        None,
        Some(&b"application/jwk-set+json"[..]),
        Some(b"Application/JSON"),
        Some(b"text/plain"),
    ] {
        let source = Source::new(spec());
        source.look_up(None, T0);
        let fetch = source.due(T0).unwrap();
        let body = set("a");
        let response = Response {
            content_type,
            ..ok(&body).unwrap()
        };
        assert_eq!(
            source.answer(fetch.id, Some(response), T0),
            Outcome::Renewed { changed: true }
        );
    }
}

#[test]
fn rule_4_an_unknown_kid_asks_once() {
    let source = filled(T0);
    assert!(!source.is_due(T0 + 10));
    assert_eq!(source.look_up(Some("b"), T0 + 10), Lookup::Wait);
    let fetch = source.due(T0 + 10).unwrap();
    // Came after the fetch began: what it brings may be older.
    assert_eq!(source.look_up(Some("c"), T0 + 20), Lookup::Wait);
    source.answer(fetch.id, ok(&set("a")), T0 + 30);
    assert_eq!(source.look_up(Some("b"), T0 + 40), Lookup::Unknown);
    assert_eq!(source.look_up(Some("b"), T0), Lookup::Unknown, "clocks differ a little");
    assert_eq!(source.look_up(Some("c"), T0 + 40), Lookup::Wait);
    assert!(source.due(T0 + 40).is_none(), "not so soon again");
    let fetch = source.due(T0 + 10 + FORCED_INTERVAL).unwrap();
    source.answer(fetch.id, ok(&set("c")), T0 + 10 + FORCED_INTERVAL);
    assert!(has(&source, "c", T0 + 10 + FORCED_INTERVAL));
    assert_eq!(source.look_up(Some("b"), T0 + 30 + NEGATIVE_LIFE - 1), Lookup::Unknown);
    assert_eq!(
        source.look_up(Some("b"), T0 + 30 + NEGATIVE_LIFE),
        Lookup::Wait,
        "it may have come to be"
    );
}

#[test]
fn rule_4_where_asking_fails_nothing_is_known() {
    let source = filled(T0);
    source.look_up(Some("b"), T0);
    let fetch = source.due(T0).unwrap();
    source.answer(fetch.id, None, T0 + 5_000);
    assert_eq!(source.look_up(Some("b"), T0 + 5_000 - 1_000), Lookup::Unavailable);
    assert_eq!(source.look_up(Some("b"), T0 + 6_000), Lookup::Wait);
}

#[test]
fn rule_4_what_is_remembered_is_bounded() {
    let source = filled(T0);
    let mut now = T0;
    for round in 0..3 {
        for kid in 0..2 * MAX_KIDS {
            let verdict = source.look_up(Some(&format!("{round}-{kid}")), now);
            assert_eq!(verdict == Lookup::Wait, kid < MAX_KIDS);
        }
        let fetch = source.due(now).unwrap();
        source.answer(fetch.id, ok(&set("a")), now);
        now += FORCED_INTERVAL;
    }
    let state = source.state.borrow();
    assert_eq!((state.sought.len(), state.unknown.len()), (0, MAX_KIDS));
}

fn document(issuer: &str, jwks_uri: &str) -> String {
    format!(r#"{{"issuer":"{issuer}","jwks_uri":"{jwks_uri}","token_endpoint":"https://idp.example/token"}}"#)
}

#[test]
fn rule_5_discovery_takes_two_steps() {
    for (uri, authority, path) in [
        ("https://idp.example/jwks", "idp.example", "/jwks"),
        ("https://IDP.example:443/jwks", "idp.example", "/jwks"),
        ("https://keys.example/a?b=c", "keys.example", "/a?b=c"),
    ] {
        let source = by_discovery();
        source.look_up(None, T0);
        let first = source.due(T0).unwrap();
        assert_eq!(first.path, "/tenant/.well-known/openid-configuration");
        let body = document("https://idp.example/tenant", uri);
        let Outcome::Next(second) = source.answer(first.id, ok(&body), T0 + 1) else {
            panic!("no second step")
        };
        assert_eq!((second.authority.as_str(), second.path.as_str()), (authority, path));
        assert!(source.due(T0 + 2).is_none(), "it is under way still");
        assert_eq!(source.answer(first.id, ok(&set("a")), T0 + 2), Outcome::Ignored);
        assert_eq!(
            source.answer(second.id, ok(&set("a")), T0 + 3),
            Outcome::Renewed { changed: true }
        );
        assert!(has(&source, "a", T0 + MAX_STALE - 1) && !has(&source, "a", T0 + MAX_STALE));
    }
}

#[test]
fn rule_5_the_document_must_be_the_issuers_and_lead_where_it_may() {
    let good = "https://idp.example/tenant";
    for (body, error) in [
        (
            document("https://idp.example/tenant/", "https://idp.example/jwks"),
            FetchError::OtherIssuer,
        ),
        (
            document("https://evil.example", "https://idp.example/jwks"),
            FetchError::OtherIssuer,
        ),
        (document(good, "http://idp.example/jwks"), FetchError::JwksUri),
        (document(good, "https://idp.example:8443/jwks"), FetchError::JwksUri),
        (document(good, "https://evil.example/jwks"), FetchError::JwksUri),
        (
            document(good, "https://idp.example@evil.example/jwks"),
            FetchError::JwksUri,
        ),
        (document(good, "http://keys.example/jwks"), FetchError::JwksUri),
        (document(good, "/jwks"), FetchError::JwksUri),
        (document(good, "file:///etc/passwd"), FetchError::JwksUri),
        (format!(r#"{{"issuer":"{good}"}}"#), FetchError::Document),
        (
            format!(r#"{{"issuer":"{good}","issuer":"{good}","jwks_uri":"https://idp.example/j"}}"#),
            FetchError::Document,
        ),
        ("[]".to_owned(), FetchError::Document),
        (set("a"), FetchError::Document),
        (
            format!("{}{}", document(good, "https://idp.example/j"), " ".repeat(300_000)),
            FetchError::TooLarge,
        ),
    ] {
        let source = by_discovery();
        source.look_up(None, T0);
        let first = source.due(T0).unwrap();
        assert_eq!(
            source.answer(first.id, ok(&body), T0),
            Outcome::Failed(error),
            "{:.200}",
            body
        );
        assert!(source.keys(T0).is_none());
    }
}

#[test]
fn rule_5_plain_http_leads_to_itself_only() {
    let spec = Spec {
        issuer: "http://127.0.0.1:9000".into(),
        finding: Finding::Discovery {
            document: Address::of_configuration("http://127.0.0.1:9000").unwrap(),
            origins: Vec::new(),
        },
        ..spec()
    };
    for (uri, good) in [
        ("http://127.0.0.1:9000/jwks", true),
        ("http://127.0.0.1:9001/jwks", false),
        ("https://127.0.0.1:9000/jwks", false),
    ] {
        let source = Source::new(spec.clone());
        source.look_up(None, T0);
        let first = source.due(T0).unwrap();
        let body = document("http://127.0.0.1:9000", uri);
        let outcome = source.answer(first.id, ok(&body), T0);
        assert_eq!(matches!(outcome, Outcome::Next(_)), good, "{uri}");
    }
}

#[test]
fn urls_are_read_strictly() {
    for (text, authority, path, host, port) in [
        ("https://idp.example", "idp.example", "/", "idp.example", 443),
        ("HTTPS://Idp.Example:443/A?b", "idp.example", "/A?b", "idp.example", 443),
        (
            "http://idp.example:8080?x",
            "idp.example:8080",
            "/?x",
            "idp.example",
            8080,
        ),
        ("http://[::1]:9000/j", "[::1]:9000", "/j", "::1", 9000),
        ("https://[::1]/j", "[::1]", "/j", "::1", 443),
    ] {
        let address = Address::parse(text).unwrap();
        assert_eq!(
            (address.origin().authority(), address.path.as_str()),
            (authority, path),
            "{text}"
        );
        assert_eq!(address.origin().host_and_port(), (host, port), "{text}");
    }
    for text in [
        "",
        "idp.example/jwks",
        "https:/idp.example",
        "https://",
        "https:///x",
        "ftp://a/",
        "https://a b/",
        "https://a/\u{e9}",
        "https://a/#x",
        "https://u:p@a/",
        "https://a:0/",
        "https://a:99999/",
        "https://a:b/",
        "https://[::g]/",
        "https://a%2e/",
        "https://a/\n",
        "https://a\\b/",
    ] {
        assert!(Address::parse(text).is_err(), "{text}");
    }
    assert!(Address::of_configuration("https://idp.example/?tenant=1").is_err());
    let configuration = |issuer| Address::of_configuration(issuer).unwrap().path;
    assert_eq!(configuration("https://a/"), "/.well-known/openid-configuration");
    assert_eq!(configuration("https://a/b/"), "/b/.well-known/openid-configuration");
}

#[derive(Clone, Debug)]
enum Event {
    Pass(u64),
    Tick,
    Seek(u8),
    NeedAny,
    Answer(Reply),
    /// To a fetch that is over.
    Late(u8),
}

#[derive(Clone, Debug)]
enum Reply {
    Good(u8),
    Bad(u8),
    Nothing,
    Lost,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let reply = prop_oneof![
        4 => (0..4u8).prop_map(Reply::Good),
        3 => (0..5u8).prop_map(Reply::Bad),
        2 => Just(Reply::Nothing),
        1 => Just(Reply::Lost),
    ];
    let event = prop_oneof![
        6 => prop_oneof![0..3_000u64, 0..700_000u64, Just(MAX_STALE / 2)].prop_map(Event::Pass),
        8 => Just(Event::Tick),
        4 => (0..8u8).prop_map(Event::Seek),
        1 => Just(Event::NeedAny),
        6 => reply.prop_map(Event::Answer),
        1 => any::<u8>().prop_map(Event::Late),
    ];
    proptest::collection::vec(event, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Rules 1 to 4 and 6 under every order of events, for a plain and a discovered set.
    #[test]
    fn the_rules_hold_under_every_order(events in events(), discovered in any::<bool>()) {
        let source = if discovered { by_discovery() } else { Source::new(spec()) };
        let mut now = T0;
        // What is under way: the fetch, whether it is for a document, when its first step began, when it is lost.
        let mut flight: Option<(Fetch, bool, u64, u64)> = None;
        let mut over: Vec<u64> = Vec::new();
        let mut begins: Vec<u64> = Vec::new();
        // The last good set and when its fetch began.
        let mut last_good: Option<(u8, u64)> = None;
        let mut failed_at: Option<u64> = None;
        let mut forced: Option<u64> = None;
        for event in events {
            match event {
                Event::Pass(time) => now += time,
                Event::Tick => if let Some(fetch) = source.due(now) {
                    prop_assert!(flight.as_ref().is_none_or(|(_, _, _, lost)| now >= *lost), "two at once");
                    prop_assert!(failed_at.is_none_or(|at| now >= at + 1_000), "no back-off");
                    let fresh = last_good.is_some_and(|(_, since)| now < since + REFRESH);
                    if fresh {
                        // Then it is for an unknown kid.
                        prop_assert!(forced.is_none_or(|at| now >= at + FORCED_INTERVAL), "too often");
                        forced = Some(now);
                    }
                    begins.push(now);
                    over.extend(flight.take().map(|(fetch, ..)| fetch.id));
                    flight = Some((fetch, discovered, now, now + 7_000));
                },
                Event::Seek(kid) => {
                    let known = source.keys(now).map(|(keys, _)| keys.kids().any(|have| have == kid.to_string()));
                    match known {
                        Some(true) => {}
                        Some(false) => { source.look_up(Some(&kid.to_string()), now); }
                        None => { source.look_up(None, now); }
                    }
                }
                Event::NeedAny => { source.look_up(None, now); }
                Event::Answer(reply) => if let Some((fetch, is_document, began, lost)) = flight.take() {
                    if matches!(reply, Reply::Lost) {
                        flight = Some((fetch, is_document, began, lost));
                        continue;
                    }
                    let good = document("https://idp.example/tenant", "https://idp.example/jwks");
                    let body = match &reply {
                        Reply::Good(_) if is_document => good,
                        Reply::Good(kid) => set(&kid.to_string()),
                        Reply::Bad(0) => String::new(),
                        Reply::Bad(1) => r#"{"keys":[]}"#.to_owned(),
                        Reply::Bad(2) => rsa_set(),
                        Reply::Bad(3) => document("https://evil.example", "https://idp.example/jwks"),
                        _ => r#"{"keys":"#.to_owned(),
                    };
                    let response = if matches!(reply, Reply::Nothing) { None } else { ok(&body) };
                    match source.answer(fetch.id, response, now) {
                        Outcome::Next(next) => {
                            prop_assert!(is_document && matches!(reply, Reply::Good(_)));
                            over.push(fetch.id);
                            flight = Some((next, false, began, now + 7_000));
                        }
                        Outcome::Renewed { .. } => {
                            let Reply::Good(kid) = reply else { return Err(TestCaseError::fail("a bad answer was taken")) };
                            prop_assert!(!is_document);
                            over.push(fetch.id);
                            last_good = Some((kid, began));
                            failed_at = None;
                        }
                        Outcome::Failed(_) => {
                            prop_assert!(!matches!(reply, Reply::Good(_)));
                            over.push(fetch.id);
                            failed_at = Some(now);
                        }
                        Outcome::Ignored => return Err(TestCaseError::fail("an answer was ignored")),
                    }
                },
                Event::Late(at) => if let Some(id) = over.get(usize::from(at) % over.len().max(1)) {
                    let body = set("late");
                    prop_assert_eq!(source.answer(*id, ok(&body), now), Outcome::Ignored);
                },
            }
            // The copy is the last good set, until it is too old, and nothing else ever.
            let expected = last_good.filter(|(_, since)| now < since + MAX_STALE).map(|(kid, _)| kid.to_string());
            let have = source.keys(now).map(|(keys, _)| keys.kids().map(str::to_owned).collect::<Vec<_>>());
            prop_assert_eq!(have, expected.map(|kid| vec![kid]));
        }
        // Forced or not, fetches are bounded: by the refreshes, the forced ones, and the back-offs of failures.
        let span = now - T0;
        let most = 2 + span / FORCED_INTERVAL + span / REFRESH + span / 1_000;
        prop_assert!(begins.len() as u64 <= most);
    }

    /// However many made-up kids come, and however often: while all goes well, one fetch per interval.
    #[test]
    fn made_up_kids_cost_one_fetch_an_interval(steps in proptest::collection::vec((0..2_000u64, any::<u16>()), 1..300)) {
        let source = filled(T0);
        let mut now = T0;
        let mut begins = Vec::new();
        for (pause, kid) in steps {
            now += pause;
            source.look_up(Some(&kid.to_string()), now);
            if let Some(fetch) = source.due(now) {
                begins.push(now);
                source.answer(fetch.id, ok(&set("a")), now);
            }
        }
        for pair in begins.windows(2) {
            prop_assert!(pair[1] - pair[0] >= FORCED_INTERVAL.min(REFRESH), "{pair:?}");
        }
    }
}

mod with_tokens {
    use super::super::super::testing::*;
    use super::super::super::{Issuer, Keys, TokenCache, TokenError, TokenPolicy};
    use super::*;

    fn policy() -> (TokenPolicy, Rc<Source>) {
        let source = Rc::new(Source::new(spec()));
        let issuer = Issuer {
            alias: "idp".into(),
            issuer: source.spec().issuer.clone(),
            audiences: vec!["api".into()],
            algorithms: vec![Algorithm::Es256],
            keys: Keys::Remote(Rc::clone(&source)),
            leeway: 0,
            max_lifetime: None,
            only_at_jwt: false,
            claims: crate::token::ClaimPaths::default(),
        };
        (TokenPolicy::new(vec![issuer]).ok().unwrap(), source)
    }

    fn token(kid: &str) -> String {
        let claims = format!(
            r#"{{"iss":"https://idp.example/tenant","aud":"api","exp":{}}}"#,
            T0 / 1_000 + 86_400
        );
        EC_SIGNER.token(&format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#), &claims)
    }

    fn renew(source: &Source, body: &str, now: u64) {
        let fetch = source.due(now).unwrap();
        assert!(matches!(
            source.answer(fetch.id, ok(body), now),
            Outcome::Renewed { .. }
        ));
    }

    #[test]
    fn a_token_without_keys_is_no_bad_token() {
        let (policy, source) = policy();
        let mut cache = TokenCache::default();
        let mut check = |kid: &str, now: u64| {
            let verdict = policy.verify(token(kid).as_bytes(), &[0], now / 1_000, &mut cache, None);
            verdict.map(|_| ())
        };
        assert_eq!(check("a", T0), Err(TokenError::KeysAwaited));
        let fetch = source.due(T0).unwrap();
        source.answer(fetch.id, None, T0);
        let fetch = source.due(T0 + 1_000).unwrap();
        source.answer(fetch.id, None, T0 + 1_000);
        assert_eq!(check("a", T0 + 1_000), Err(TokenError::KeysUnavailable));
        renew(&source, &set("a"), T0 + 4_000);
        assert_eq!(check("a", T0 + 4_000), Ok(()));

        // A rotation: the new key's first token asks, and the old key's is refused as soon as the copy is renewed.
        assert_eq!(check("b", T0 + 5_000), Err(TokenError::KeysAwaited));
        renew(&source, &set("b"), T0 + 6_000);
        assert_eq!(check("b", T0 + 6_000), Ok(()));
        assert_eq!(check("a", T0 + 6_000), Err(TokenError::KeysAwaited));
        renew(&source, &set("b"), T0 + 6_000 + FORCED_INTERVAL);
        assert_eq!(check("a", T0 + 7_000 + FORCED_INTERVAL), Err(TokenError::UnknownKey));

        // Cached or not: without keys that may still be used, nothing passes.
        let gone = T0 + 6_000 + FORCED_INTERVAL + MAX_STALE;
        assert_eq!(check("b", gone - 1_000), Ok(()));
        assert_eq!(check("b", gone), Err(TokenError::KeysAwaited));
    }

    #[test]
    fn a_renewal_with_the_same_keys_keeps_what_was_verified() {
        let (policy, source) = policy();
        let mut cache = TokenCache::default();
        let token = token("a");
        let mut check = |now: u64| {
            policy
                .verify(token.as_bytes(), &[0], now / 1_000, &mut cache, None)
                .ok()
        };
        check(T0);
        renew(&source, &set("a"), T0);
        let first = check(T0).unwrap();
        renew(&source, &set("a"), T0 + REFRESH);
        assert!(Rc::ptr_eq(&first, &check(T0 + REFRESH).unwrap()));
        renew(&source, &format!("{} ", set("a")), T0 + 2 * REFRESH);
        assert!(!Rc::ptr_eq(&first, &check(T0 + 2 * REFRESH).unwrap()));
    }

    #[test]
    fn a_new_policy_takes_the_copy_over() {
        let (_, source) = policy();
        source.look_up(None, T0);
        renew(&source, &set("a"), T0);
        let (mut other, _) = policy();
        let shared = |spec: &Spec| (spec == source.spec()).then(|| Rc::clone(&source));
        other.share_sources(&shared);
        let verdict = other.verify(
            token("a").as_bytes(),
            &[0],
            T0 / 1_000,
            &mut TokenCache::default(),
            None,
        );
        assert!(verdict.is_ok());
    }
}
