//! What the chain makes of tokens beyond the plain yes and no: roles, purposes, broken glass, senders, identity, modes, origins.

use super::tests::{compiled, head};
use super::*;
use crate::head::ResponseHead;
use crate::token::fixtures::ED_X;
use crate::token::testing::ED_SIGNER;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

pub(super) const NOW: u64 = 1_800_000_000;

/// A policy `p` for everything under `/fhir`, `open` without sections for `/open`; anything else passes by `default: allow`.
pub(super) fn policy(oauth: Json, more: Json) -> Rc<Compiled> {
    let mut section = json!({"issuers": ["e"], "require": "user/Patient.rs"});
    merge(&mut section, oauth);
    let mut document = json!({
        "version": "1",
        "keys": {"pseudonyms": {"env": "K"}},
        "issuers": {"e": {
            "issuer": "https://e", "audiences": ["api"], "algorithms": ["EdDSA"],
            "jwks": {"inline": {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": ED_X}]}},
        }},
        "roles": {
            "clinician": {"values": ["ROLE_CLIN"], "permissions": ["chart.read"]},
            "emergency": {"permissions": ["chart.read", "chart.break"]},
            "clerk": {"permissions": ["billing.read"]},
        },
        "policies": {"p": {"oauth_scope": section}, "open": {}},
        "routes": [{"match": {"path_prefix": "/open"}, "policy": "open"}, {"match": {"path_prefix": "/fhir"}, "policy": "p"}],
        "default": "allow",
        "host": {"allow_on_headers_stop_iteration": true},
    });
    merge(&mut document, more);
    compiled(document)
}

fn merge(into: &mut Json, from: Json) {
    match (into, from) {
        (Json::Object(into), Json::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Json::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

pub(super) fn token(more: Json) -> String {
    let mut claims = json!({"iss": "https://e", "aud": "api", "sub": "s-1", "iat": NOW - 10, "exp": NOW + 600, "scope": "user/Patient.rs"});
    merge(&mut claims, more);
    if let Some(claims) = claims.as_object_mut() {
        claims.retain(|_, value| !value.is_null());
    }
    format!("Bearer {}", ED_SIGNER.token(r#"{"alg":"EdDSA"}"#, &claims.to_string()))
}

struct Ran {
    head: RequestHead,
    stream: Stream<ALL>,
    opening: Opening,
}

impl Ran {
    fn reason(&self) -> Option<Reason> {
        match &self.opening.verdict {
            Verdict::Deny(denial) => Some(denial.reason.clone()),
            _ => None,
        }
    }

    fn sent(&self, name: &str) -> Option<String> {
        self.head
            .first(name)
            .map(|value| String::from_utf8_lossy(value).into_owned())
    }
}

fn run(compiled: &Rc<Compiled>, target: &str, more: &[(&str, &str)]) -> Ran {
    run_in(compiled, target, more, &mut Vault::default(), NOW)
}

fn run_in(compiled: &Rc<Compiled>, target: &str, more: &[(&str, &str)], vault: &mut Vault, now: u64) -> Ran {
    let facts = RequestFacts {
        now: Timestamp(now * 1_000_000_000),
        ..RequestFacts::default()
    };
    let mut head = head(target, more);
    let mut stream = Stream::new(Rc::clone(compiled));
    let opening = stream.request_head(&mut head, &facts, vault);
    Ran { head, stream, opening }
}

fn with(compiled: &Rc<Compiled>, claims: Json, more: &[(&str, &str)]) -> Ran {
    let bearer = token(claims);
    let lines: Vec<_> = [("authorization", bearer.as_str())]
        .into_iter()
        .chain(more.iter().copied())
        .collect();
    run(compiled, "/fhir/Patient/1", &lines)
}

#[test]
fn roles_permissions_and_purposes_are_demanded() {
    let insufficient = Some(Reason::InsufficientScope(String::new()));
    let role = policy(json!({"require": {"role": "clinician"}}), json!({}));
    assert_eq!(with(&role, json!({"roles": ["ROLE_CLIN"]}), &[]).reason(), None);
    assert_eq!(with(&role, json!({"roles": ["clinician"]}), &[]).reason(), insufficient);
    assert_eq!(with(&role, json!({}), &[]).reason(), insufficient);
    assert_eq!(
        with(&role, json!({"roles": 7}), &[]).reason(),
        Some(Reason::InvalidToken("claims"))
    );
    let permission = policy(json!({"require": {"permission": "chart.read"}}), json!({}));
    for (roles, reason) in [
        (json!("ROLE_CLIN"), None),
        (json!(["clerk", "emergency"]), None),
        (json!(["clerk"]), insufficient.clone()),
    ] {
        assert_eq!(with(&permission, json!({"roles": roles}), &[]).reason(), reason);
    }
    let purpose = policy(
        json!({"require": {"all_of": ["user/Patient.rs", {"any_of": [{"purpose": "TREAT"}, {"purpose": "urn:x|T"}]}, {"none_of": [{"role": "clerk"}]}]}}),
        json!({"issuers": {"e": {"claims": {"purpose": "purpose", "roles": ["realm", "roles"]}}}}),
    );
    let scoped = Some(Reason::InsufficientScope("user/Patient.rs".to_owned()));
    for (claims, reason) in [
        (json!({"purpose": "TREAT"}), None),
        (json!({"purpose": [{"code": "T", "system": "urn:x"}]}), None),
        (
            json!({"purpose": [{"code": "TREAT", "system": "urn:x"}]}),
            scoped.clone(),
        ),
        (json!({"purpose": "HPAYMT"}), scoped.clone()),
        (json!({}), scoped.clone()),
        (
            json!({"purpose": "TREAT", "realm": {"roles": ["clerk"]}}),
            scoped.clone(),
        ),
        (json!({"purpose": "TREAT", "scope": "openid"}), scoped),
    ] {
        assert_eq!(with(&purpose, claims.clone(), &[]).reason(), reason, "{claims}");
    }
}

#[test]
fn scopes_stand_where_the_issuer_writes_them() {
    let compiled = policy(
        json!({}),
        json!({"issuers": {"e": {"claims": {"scopes": ["realm", "scopes"]}}}}),
    );
    assert_eq!(
        with(
            &compiled,
            json!({"realm": {"scopes": ["user/Patient.rs"]}, "scope": null}),
            &[]
        )
        .reason(),
        None
    );
    assert_eq!(
        with(&compiled, json!({"realm": {"scopes": "a user/Patient.rs"}}), &[]).reason(),
        None
    );
    let elsewhere = with(&compiled, json!({}), &[]).reason();
    assert_eq!(elsewhere, Some(Reason::InsufficientScope("user/Patient.rs".to_owned())));
}

#[test]
fn lifetimes_and_types_are_held_to_where_the_issuer_has_them() {
    let compiled = policy(
        json!({}),
        json!({"issuers": {"e": {"max_lifetime": "10m", "leeway": "5s"}}}),
    );
    let lifetime = Some(Reason::InvalidToken("lifetime"));
    assert_eq!(
        with(&compiled, json!({"iat": NOW - 10, "exp": NOW + 590}), &[]).reason(),
        None
    );
    assert_eq!(
        with(&compiled, json!({"iat": NOW - 10, "exp": NOW + 591}), &[]).reason(),
        lifetime
    );
    assert_eq!(with(&compiled, json!({"iat": null}), &[]).reason(), lifetime);
    assert_eq!(
        with(&compiled, json!({"iat": NOW + 500, "exp": NOW + 1000}), &[]).reason(),
        lifetime,
        "from the future"
    );
    let typed = policy(json!({}), json!({"issuers": {"e": {"token_type": "at+jwt"}}}));
    assert_eq!(
        with(&typed, json!({"client_id": "c", "jti": "j"}), &[]).reason(),
        Some(Reason::InvalidToken("token_type"))
    );
}

const GLASS: &str = "x-break-glass";

fn glass() -> Rc<Compiled> {
    policy(
        json!({"break_glass": {
            "header": "X-Break-Glass", "reasons": ["unconscious", "cardiac"], "roles": ["emergency"], "max_age": "1m", "per_hour": 2,
        }}),
        json!({
            "issuers": {"e": {"claims": {"purpose": "purpose"}}},
            "policies": {"p": {"response_trim": {"views": [
                {"when": "user/Patient.rs", "deny": ["$.a"]}, {"when": {"break_glass": true}, "deny": ["$.b"]},
            ]}}},
        }),
    )
}

fn emergency() -> Json {
    json!({"scope": "openid", "roles": ["emergency"], "purpose": "ETREAT"})
}

#[test]
fn the_glass_breaks_for_those_who_may_and_everybody_learns_of_it() {
    let compiled = glass();
    let mut ran = with(&compiled, emergency(), &[(GLASS, "cardiac")]);
    assert_eq!(ran.reason(), None);
    assert_eq!(ran.sent(GLASS).as_deref(), Some("cardiac"));
    assert_eq!(ran.stream.views, Views(2));
    assert_eq!(ran.stream.take_counters(), [Counter::BreakGlass]);
    let audit: Json = serde_json::from_str(&ran.stream.audit().to_json()).unwrap();
    assert_eq!(
        (&audit["break_glass"], &audit["decision"]),
        (&json!("cardiac"), &json!("allow"))
    );
    // Whoever needs no glass breaks none, and the upstream is told nothing.
    let mut ran = with(
        &compiled,
        json!({"roles": ["emergency"], "purpose": "ETREAT"}),
        &[(GLASS, "cardiac")],
    );
    assert_eq!(
        (ran.reason(), ran.sent(GLASS), ran.stream.views),
        (None, None, Views(1))
    );
    assert!(ran.stream.take_counters().is_empty());
}

#[test]
fn the_glass_holds_for_all_others() {
    let compiled = glass();
    let lacking = Some(Reason::InsufficientScope("user/Patient.rs".to_owned()));
    assert_eq!(with(&compiled, emergency(), &[]).reason(), lacking);
    assert_eq!(
        with(&compiled, emergency(), &[("x_break_glass", "cardiac")]).reason(),
        lacking
    );
    let broken = |change: Json, lines: &[(&str, &str)]| {
        let mut claims = emergency();
        merge(&mut claims, change);
        match with(&compiled, claims, lines).reason() {
            Some(Reason::NotPermitted(code)) => code,
            other => panic!("{other:?}"),
        }
    };
    let asks = [(GLASS, "cardiac")];
    assert_eq!(broken(json!({}), &[(GLASS, "because")]), "break_glass_reason");
    assert_eq!(
        broken(json!({}), &[(GLASS, "cardiac"), (GLASS, "cardiac")]),
        "break_glass_reason"
    );
    assert_eq!(broken(json!({"roles": ["ROLE_CLIN"]}), &asks), "break_glass_role");
    assert_eq!(broken(json!({"roles": null}), &asks), "break_glass_role");
    assert_eq!(broken(json!({"purpose": "TREAT"}), &asks), "break_glass_purpose");
    assert_eq!(broken(json!({"iat": NOW - 61}), &asks), "break_glass_age");
    assert_eq!(broken(json!({"iat": null}), &asks), "break_glass_age");
    assert_eq!(broken(json!({"iat": NOW + 61}), &asks), "break_glass_age");
    let mut ahead = emergency();
    merge(&mut ahead, json!({"iat": NOW + 60}));
    assert_eq!(with(&compiled, ahead, &asks).reason(), None);
    assert_eq!(broken(json!({"sub": null}), &asks), "break_glass_subject");
    let bearer = token(emergency());
    let lines = [("authorization", bearer.as_str()), (GLASS, "cardiac")];
    for export in ["/fhir/$export", "/fhir/Patient/$export", "/fhir/Group/1/%24export"] {
        let reason = run(&compiled, export, &lines).reason();
        assert_eq!(reason, Some(Reason::NotPermitted("break_glass_export")), "{export}");
    }
    // What an entry of a batch does stands in the body, which nobody reads here.
    let post = |target: &str| {
        let mut head = head(target, &lines);
        head.set(":method", "POST");
        let facts = RequestFacts {
            now: Timestamp(NOW * 1_000_000_000),
            ..RequestFacts::default()
        };
        match Stream::<ALL>::new(Rc::clone(&compiled))
            .request_head(&mut head, &facts, &mut Vault::default())
            .verdict
        {
            Verdict::Deny(denial) => denial.reason.detail().map(|detail| detail.into_owned()),
            _ => None,
        }
    };
    for batch in ["/fhir", "/fhir/", "/fhir/x", "/fhir/Patient/1", "/fhir/Patient/$match"] {
        assert_eq!(post(batch).as_deref(), Some("break_glass_batch"), "{batch}");
    }
    for single in ["/fhir/Observation", "/fhir/Patient/_search", "/fhir/Patient/"] {
        assert_eq!(post(single), None, "{single}");
    }
    let mut vault = Vault::default();
    let reasons: Vec<_> = (0..3)
        .map(|_| run_in(&compiled, "/fhir/Patient/1", &lines, &mut vault, NOW).reason())
        .collect();
    assert_eq!(reasons, [None, None, Some(Reason::NotPermitted("break_glass_rate"))]);
    // Nothing of the token's own checks is broken with it.
    assert_eq!(
        with(
            &compiled,
            json!({"aud": "other", "scope": "openid", "roles": ["emergency"], "purpose": "ETREAT"}),
            &asks
        )
        .reason(),
        Some(Reason::InvalidToken("audience"))
    );
}

#[test]
fn the_upstream_learns_who_calls_from_nobody_else() {
    let compiled = policy(
        json!({"identity": {"X-Auth-Subject": "sub", "x-auth-dept": ["org", "dept"]}}),
        json!({}),
    );
    let forged = [
        ("x-auth-subject", "root"),
        ("x-auth-dept", "all"),
        ("x_auth_subject", "root"),
    ];
    let ran = with(&compiled, json!({"sub": "dr quinn\r\nx: y"}), &forged);
    assert_eq!(ran.sent("x-auth-subject").as_deref(), Some("dr quinn%0D%0Ax: y"));
    assert_eq!((ran.sent("x-auth-dept"), ran.sent("x_auth_subject")), (None, None));
    for target in ["/open/a", "/elsewhere"] {
        let ran = run(&compiled, target, &forged);
        assert_eq!(ran.reason(), None);
        assert!(forged.iter().all(|(name, _)| !ran.head.has(name)), "{target}");
    }
    let off = policy(json!({"identity": {"x-auth-subject": "sub"}, "mode": "off"}), json!({}));
    assert_eq!(run(&off, "/fhir/x", &forged).sent("x-auth-subject"), None);
}

#[test]
fn shadow_decides_records_and_lets_pass_and_off_does_nothing() {
    let shadow = policy(json!({"mode": "shadow"}), json!({}));
    let mut ran = with(&shadow, json!({"scope": "openid"}), &[]);
    assert_eq!(ran.reason(), None);
    assert_eq!(
        ran.stream.take_counters(),
        [Counter::ShadowDenied("insufficient_scope")]
    );
    let audit: Json = serde_json::from_str(&ran.stream.audit().to_json()).unwrap();
    assert_eq!(audit["decision"], "allow");
    assert_eq!(
        audit["filters"]["oauth_scope"],
        json!({"decision": "shadow_deny", "reason": "insufficient_scope"})
    );
    let mut anonymous = run(&shadow, "/fhir/Patient/1", &[]);
    assert_eq!(
        (anonymous.reason(), anonymous.stream.take_counters()),
        (None, vec![Counter::ShadowDenied("no_token")])
    );
    let mut fine = with(&shadow, json!({}), &[]);
    assert!(fine.stream.take_counters().is_empty());
    let mut off = run(&policy(json!({"mode": "off"}), json!({})), "/fhir/Patient/1", &[]);
    assert_eq!((off.reason(), off.stream.take_counters().is_empty()), (None, true));
    assert!(!off.stream.audit().to_json().contains("oauth_scope"));
}

#[test]
fn shadow_waits_for_keys_and_lets_pass_who_waits_no_longer() {
    let remote = json!({"f": {
        "issuer": "https://f", "audiences": ["api"], "algorithms": ["EdDSA"],
        "jwks": {"remote": {"cluster": "f", "url": "https://f/keys"}},
    }});
    let bearer = token(json!({"iss": "https://f"}));
    for (mode, denied) in [("enforce", true), ("shadow", false)] {
        let compiled = policy(json!({"issuers": ["f"], "mode": mode}), json!({"issuers": remote}));
        let mut ran = run(&compiled, "/fhir/Patient/1", &[("authorization", &bearer)]);
        assert!(ran.opening.awaits_keys, "{mode}");
        assert_eq!(ran.reason().is_some(), denied, "{mode}");
        let counter = if denied { Counter::Denied } else { Counter::ShadowDenied };
        assert_eq!(ran.stream.take_counters(), [counter("keys_unavailable")]);
        assert_eq!(
            ran.stream.patience(),
            if denied { usize::MAX } else { MAX_BODY_IN_SHADOW }
        );
    }
}

#[test]
fn shadow_changes_nothing_of_preflights_and_of_what_pages_may_read() {
    let app = "https://app.example.org";
    let compiled = policy(
        json!({"mode": "shadow", "cors": {"origins": [app]}}),
        json!({"routes": [{"match": {"path_prefix": "/fhir", "methods": ["GET"]}, "policy": "p"}], "default": "deny"}),
    );
    for (origin, counted) in [
        (app, vec![]),
        ("https://evil.example", vec![Counter::ShadowDenied("preflight")]),
    ] {
        let mut head = head(
            "/fhir/Patient/1",
            &[("origin", origin), ("access-control-request-method", "GET")],
        );
        head.set(":method", "OPTIONS");
        head.take_edits();
        let mut stream = Stream::<ALL>::new(Rc::clone(&compiled));
        let opening = stream.request_head(&mut head, &RequestFacts::default(), &mut Vault::default());
        assert!(
            matches!(opening.verdict, Verdict::Continue(edits) if edits.is_empty()),
            "{origin}"
        );
        assert_eq!(stream.take_counters(), counted);
        assert!(!stream.wants_response());
    }
    let bearer = token(json!({}));
    let ran = run(
        &compiled,
        "/fhir/Patient/1",
        &[("origin", app), ("authorization", &bearer)],
    );
    assert!(ran.reason().is_none() && !ran.stream.wants_response());
}

struct Peer([u8; 32]);

impl Connection for Peer {
    fn peer_certificate_digest(&self) -> Option<Vec<u8>> {
        Some(
            self.0
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
                .into_bytes(),
        )
    }
    fn peer_uri(&self) -> Option<Vec<u8>> {
        None
    }
}

#[test]
fn a_bound_token_is_its_senders_alone() {
    // RFC 8705 appendix A writes the digest so.
    let bound = token(json!({"cnf": {"x5t#S256": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"}}));
    let keyed = token(json!({"cnf": {"jkt": "x"}}));
    let bare = token(json!({}));
    let plain = policy(json!({}), json!({}));
    let strict = policy(json!({"sender": {"certificate": "required"}}), json!({}));
    let reason = |compiled, bearer: &String, peer: Option<u8>| {
        let mut vault = Vault {
            connection: peer.map(|byte| Rc::new(Peer([byte; 32])) as Rc<dyn Connection>),
            ..Vault::default()
        };
        run_in(
            compiled,
            "/fhir/Patient/1",
            &[("authorization", bearer)],
            &mut vault,
            NOW,
        )
        .reason()
    };
    assert_eq!(reason(&plain, &bound, Some(7)), None);
    assert_eq!(
        reason(&plain, &bound, Some(8)),
        Some(Reason::InvalidToken("other_certificate"))
    );
    assert_eq!(
        reason(&plain, &bound, None),
        Some(Reason::InvalidToken("no_certificate"))
    );
    assert_eq!(
        reason(&plain, &keyed, Some(7)),
        Some(Reason::InvalidToken("bound_to_a_key"))
    );
    assert_eq!(reason(&plain, &bare, None), None);
    assert_eq!(reason(&strict, &bare, Some(7)), Some(Reason::InvalidToken("not_bound")));
    assert_eq!(reason(&strict, &bound, Some(7)), None);
}

#[test]
fn a_listed_page_may_call_and_read_why_it_was_denied() {
    let app = "https://app.example.org";
    let compiled = policy(
        json!({"cors": {"origins": [app]}, "resource_metadata": "https://api/.well-known/oauth-protected-resource"}),
        json!({"routes": [{"match": {"path_prefix": "/fhir", "methods": ["GET"]}, "policy": "p"}], "default": "deny"}),
    );
    let preflight = |origin: &'static str, method: &'static str| {
        let mut head = head(
            "/fhir/Patient/1",
            &[("origin", origin), ("access-control-request-method", method)],
        );
        head.set(":method", "OPTIONS");
        let mut stream = Stream::<ALL>::new(Rc::clone(&compiled));
        stream
            .request_head(&mut head, &RequestFacts::default(), &mut Vault::default())
            .verdict
    };
    let Verdict::Reply(answer) = preflight(app, "GET") else {
        panic!()
    };
    assert_eq!(answer.status, 204);
    assert!(
        answer
            .headers
            .contains(&("access-control-allow-origin", app.to_owned()))
    );
    assert!(
        matches!(preflight("https://evil.example", "GET"), Verdict::Deny(denial) if denial.reason == Reason::Preflight)
    );
    // No route governs what it announces.
    assert!(matches!(preflight(app, "DELETE"), Verdict::Deny(denial) if denial.reason == Reason::NoRoute));
    let ran = run(&compiled, "/fhir/Patient/1", &[("origin", app)]);
    let Verdict::Deny(denial) = &ran.opening.verdict else {
        panic!()
    };
    assert!(
        denial
            .answer
            .headers
            .contains(&("access-control-allow-origin", app.to_owned()))
    );
    let challenge = "Bearer resource_metadata=\"https://api/.well-known/oauth-protected-resource\"";
    assert!(
        denial
            .answer
            .headers
            .contains(&("www-authenticate", challenge.to_owned()))
    );
    let bearer = token(json!({}));
    for (origin, allowed) in [(app, Some(app)), ("https://evil.example", None)] {
        let mut ran = run(
            &compiled,
            "/fhir/Patient/1",
            &[("origin", origin), ("authorization", &bearer)],
        );
        assert_eq!(ran.reason(), None);
        let mut response = ResponseHead::new([
            (":status".to_owned(), b"200".to_vec()),
            ("access-control-allow-origin".to_owned(), b"*".to_vec()),
        ]);
        assert!(ran.stream.wants_response());
        ran.stream.response_head(&mut response, false, false);
        assert_eq!(
            response.first("access-control-allow-origin"),
            allowed.map(str::as_bytes),
            "{origin}"
        );
    }
}

fn digest(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(Sha256::digest(text))
}

#[test]
fn a_token_bound_to_a_key_comes_with_a_proof_and_once() {
    // RFC 7638: the key's members in this order.
    let jkt = digest(&format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{ED_X}"}}"#));
    let bound = token(json!({"cnf": {"jkt": jkt}})).replace("Bearer ", "DPoP ");
    let bare = token(json!({})).replace("Bearer ", "DPoP ");
    let as_bearer = bound.replace("DPoP ", "Bearer ");
    let proof = |id: &str, access_token: &str, url: &str| {
        let header = json!({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": {"kty": "OKP", "crv": "Ed25519", "x": ED_X}});
        let payload = json!({"htm": "GET", "htu": url, "iat": NOW, "jti": id, "ath": digest(access_token.trim_start_matches("DPoP "))});
        ED_SIGNER.token(&header.to_string(), &payload.to_string())
    };
    let url = "https://fhir.example.org/fhir/Patient/1";
    let compiled = policy(
        json!({"sender": {"dpop": "required", "origin": "https://fhir.example.org"}}),
        json!({}),
    );
    let mut vault = Vault::default();
    let mut run = |bearer: &str, proofs: &[&str]| {
        let mut lines = vec![("authorization", bearer)];
        lines.extend(proofs.iter().map(|proof| ("dpop", *proof)));
        let ran = run_in(&compiled, "/fhir/Patient/1?_format=json", &lines, &mut vault, NOW);
        if let Verdict::Deny(denial) = &ran.opening.verdict {
            let challenge = denial
                .answer
                .headers
                .iter()
                .find(|(name, _)| *name == "www-authenticate");
            assert!(challenge.is_some_and(|(_, value)| value.starts_with("DPoP ") && value.contains("algs=\"RS256")));
        }
        ran.reason()
    };
    let good = proof("one", &bound, url);
    assert_eq!(run(&bound, &[&good]), None);
    assert_eq!(run(&bound, &[&good]), Some(Reason::InvalidProof("dpop_replay")));
    assert_eq!(run(&bound, &[]), Some(Reason::InvalidProof("no_single_proof")));
    assert_eq!(
        run(&bound, &[&good, &good]),
        Some(Reason::InvalidProof("no_single_proof"))
    );
    assert!(matches!(
        run(&bound, &[&proof("two", &bound, "https://other/fhir/Patient/1")]),
        Some(Reason::InvalidProof(_))
    ));
    assert!(matches!(
        run(&bound, &[&proof("three", &bare, url)]),
        Some(Reason::InvalidProof(_))
    ));
    assert_eq!(
        run(&bare, &[&proof("four", &bare, url)]),
        Some(Reason::InvalidProof("not_bound"))
    );
    assert_eq!(
        run(&as_bearer, &[&proof("five", &bound, url)]),
        Some(Reason::InvalidToken("bound_to_a_key"))
    );
    assert_eq!(run(&token(json!({})), &[]), Some(Reason::InvalidToken("not_bound")));
    assert_eq!(run("Basic eA==", &[]), Some(Reason::NoToken));
}

#[test]
fn a_request_that_awaits_its_body_is_proven_once() {
    let jkt = digest(&format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{ED_X}"}}"#));
    let bound = token(json!({"cnf": {"jkt": jkt}})).replace("Bearer ", "DPoP ");
    let header = json!({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": {"kty": "OKP", "crv": "Ed25519", "x": ED_X}});
    let payload = json!({"htm": "POST", "htu": "https://h/fhir/Patient/_search", "iat": NOW, "jti": "1", "ath": digest(bound.trim_start_matches("DPoP "))});
    let proof = ED_SIGNER.token(&header.to_string(), &payload.to_string());
    let compiled = policy(
        json!({"require": {"smart": "auto"}, "sender": {"dpop": "if_bound", "origin": "https://h"}}),
        json!({}),
    );
    let mut vault = Vault::default();
    let form = ("content-type", "application/x-www-form-urlencoded");
    let mut judge = |stream: &mut Stream<ALL>, body: Option<&str>| {
        let mut head = head(
            "/fhir/Patient/_search",
            &[("authorization", bound.as_str()), ("dpop", proof.as_str()), form],
        );
        head.set(":method", "POST");
        let facts = RequestFacts {
            now: Timestamp(NOW * 1_000_000_000),
            body: body.map(|body| body.as_bytes().to_vec()),
            ..RequestFacts::default()
        };
        stream.request_head(&mut head, &facts, &mut vault).verdict
    };
    let mut stream = Stream::new(Rc::clone(&compiled));
    assert!(matches!(judge(&mut stream, None), Verdict::AwaitBody));
    assert!(matches!(judge(&mut stream, Some("name=x")), Verdict::Continue(_)));
    let mut another = Stream::new(compiled);
    let Verdict::Deny(denial) = judge(&mut another, None) else {
        panic!()
    };
    assert_eq!(denial.reason, Reason::InvalidProof("dpop_replay"));
}
