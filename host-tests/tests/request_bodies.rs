//! Request bodies that are awaited: those that are too large for it, in shadow and else, and forms that are narrowed, before and after keys came.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use scrim::cases::Modules;
use scrim::envoy::Envoy;
use scrim::exchange::{Answer, Body, Cluster, ClusterAnswer, End, Engine, Outcome, Request, Setup};
use scrim::gateway;
use scrim::policy_file::PolicyFile;
use scrim::tokens::{self, TokenSpec};
use scrim::wasm::Wasmtime;

const AUDIT: &str = "scrim.audit";

fn engines() -> Vec<Box<dyn Engine + Sync>> {
    let mut engines: Vec<Box<dyn Engine + Sync>> = vec![Box::new(Wasmtime::new().unwrap())];
    if let Some(envoy) = Envoy::in_tests() {
        engines.push(Box::new(envoy));
    }
    engines
}

/// Everything under `/shadow` is only looked at. The keys come through a cluster.
fn setup(modules: Modules) -> Setup {
    let section = |mode: &str| json!({"oauth_scope": {"issuers": ["idp"], "require": {"smart": "auto"}, "mode": mode}});
    let policy = json!({
        "version": "1",
        "issuers": {"idp": {
            "issuer": "https://idp.example.org", "audiences": ["https://fhir.example.org"], "algorithms": ["RS256"],
            "jwks": {"remote": {"cluster": "idp", "url": "http://idp.example.org/jwks"}},
        }},
        "policies": {"enforced": section("enforce"), "shadow": section("shadow")},
        "routes": [{"match": {"path_prefix": "/shadow"}, "policy": "shadow"}],
        "default": "enforced",
    });
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join(format!("request-bodies-{modules:?}.json"));
    fs::write(&file, policy.to_string()).unwrap();
    let keys = ClusterAnswer {
        status: 200,
        body: fs::read(example().join("jwks.json")).unwrap(),
        ..ClusterAnswer::default()
    };
    let idp = Cluster {
        answers: [("*".to_owned(), vec![keys])].into(),
        ..Cluster::default()
    };
    Setup {
        filters: gateway::filters(&PolicyFile::read(&file).unwrap(), modules, folder).unwrap(),
        clusters: [("idp".to_owned(), idp)].into(),
        report: vec![AUDIT.to_owned()],
        ..Setup::default()
    }
}

fn post(target: &str, content_type: &str, chunks: &[&str], end: End) -> Request {
    let headers = [
        ("authorization", format!("Bearer {}", token())),
        ("content-type", content_type.to_owned()),
    ];
    Request {
        method: "POST".into(),
        target: target.into(),
        authority: "fhir.example.org".into(),
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.into_bytes()))
            .into(),
        body: Body {
            chunks: chunks.iter().map(|chunk| chunk.as_bytes().to_vec()).collect(),
            end,
            ..Body::default()
        },
    }
}

fn decision(outcome: &Outcome) -> Value {
    let audit: Value = serde_json::from_str(&outcome.filter_state[AUDIT]).unwrap();
    audit["filters"]["oauth_scope"].clone()
}

fn answer() -> Answer {
    Answer {
        status: 200,
        headers: Vec::new(),
        body: Body::default(),
        fault: None,
    }
}

#[test]
fn what_is_too_large_is_refused_and_passes_whole_in_shadow() {
    let chunk = " ".repeat(64 * 1024);
    let chunks = vec![chunk.as_str(); 24];
    for engine in engines() {
        for modules in [Modules::Suite, Modules::Chain] {
            // The first request waits for keys, too.
            for first in ["/shadow/fhir", "/fhir"] {
                let mut gateway = engine.start(&setup(modules)).unwrap();
                let mut run = |target: &str| {
                    let request = post(target, "application/fhir+json", &chunks, End::Empty);
                    gateway.exchange(&request, &answer()).unwrap()
                };
                if first == "/fhir" {
                    assert_eq!(run(first).client.unwrap().status, 413, "{}", engine.name());
                }
                for time in 0..2 {
                    let outcome = run("/shadow/fhir");
                    let place = format!("{} {modules:?} {first} {time}", engine.name());
                    assert_eq!(outcome.client.as_ref().unwrap().status, 200, "{place}");
                    assert_eq!(outcome.upstream.as_ref().unwrap().body.len(), 24 * 64 * 1024, "{place}");
                    let told = decision(&outcome);
                    assert_eq!(told["decision"], "shadow_deny", "{place}");
                    let awaited = first == "/fhir" || time > 0;
                    assert!(
                        told["reason"] == "body_too_large" || (!awaited && told["reason"] == "keys_unavailable"),
                        "{place} {told}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_form_is_narrowed_whether_or_not_it_waited_for_keys() {
    let form = "application/x-www-form-urlencoded";
    for engine in engines() {
        for modules in [Modules::Suite, Modules::Chain] {
            for end in [End::Empty, End::WithLastChunk] {
                let mut gateway = engine.start(&setup(modules)).unwrap();
                for chunks in [&["code=1"][..], &["co", "de=", "1"]] {
                    let outcome = gateway
                        .exchange(&post("/fhir/Observation/_search", form, chunks, end), &answer())
                        .unwrap();
                    let place = format!("{} {modules:?} {chunks:?} {end:?}", engine.name());
                    let seen = outcome
                        .upstream
                        .unwrap_or_else(|| panic!("{place}: {:?}", outcome.client));
                    assert_eq!(
                        String::from_utf8_lossy(&seen.target),
                        "/fhir/Observation/_search?patient=7",
                        "{place}"
                    );
                    assert_eq!(String::from_utf8_lossy(&seen.body), "code=1&patient=7", "{place}");
                    let outcome = gateway
                        .exchange(&post("/shadow/Observation/_search", form, chunks, end), &answer())
                        .unwrap();
                    let seen = outcome.upstream.unwrap();
                    assert_eq!(
                        (&seen.target[..], &seen.body[..]),
                        (&b"/shadow/Observation/_search"[..], &b"code=1"[..]),
                        "{place}"
                    );
                }
            }
        }
    }
}

fn token() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({
        "iss": "https://idp.example.org", "aud": "https://fhir.example.org", "exp": now + 600,
        "scope": "patient/Observation.rs", "patient": "7",
    });
    let spec: TokenSpec =
        serde_json::from_value(json!({"key": "keys/rs256.synthetic.jwk.json", "claims": claims})).unwrap();
    tokens::mint(&spec, &example(), i64::try_from(now).unwrap()).unwrap()
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/fhir-gateway")
}
