//! What a request costs inside the guest, without any host call: `benches/in-guest` builds this for wasm and runs it on V8.
//!
//! Each line is the least of several runs, in nanoseconds or, of a body, in gigabytes (10^9 bytes) a second. The host's verification of signatures is left out: a stand-in says yes.

#![allow(clippy::disallowed_methods, reason = "it measures time, and runs in no filter")]

use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value as Json, json};

use scrim_policy::audit::Timestamp;
use scrim_policy::chain::{ALL, RequestFacts, Stream, Vault, Verdict};
use scrim_policy::compile::Compiled;
use scrim_policy::document::{Node, Problems};
use scrim_policy::fhir::{self, Contexts, Reading};
use scrim_policy::head::{Place, RequestHead, ResponseHead};
use scrim_policy::profiles::{PROFILES, Profile};
use scrim_policy::scope::{Need, Requirement, ScopeSet};
use scrim_policy::token::{
    Algorithm, ClaimPaths, HostKind, HostVerdict, HostVerifier, Issuer, KeySet, TokenCache, TokenPolicy,
};
use scrim_policy::trim::{self, Limits, Program, Selector, Trimmer};
use scrim_policy::url::Target;

mod bundle;

const NOW: u64 = 1_800_000_000;

/// 200 bytes each.
const HARMLESS: &str = "/fhir/Observation?code=8867-4,8480-6,8462-4&encounter.status=finished&category=vital-signs&status=final,amended&_lastUpdated=ge2024-01-01T00:00:00Z&_include=Observation:device&_sort=-date,_id&_count=50";
const ESCAPED: &str = "/fhir/Observation?code=http%3A%2F%2Floinc.org%7C8867-4&category=vital-signs&status=final%2Camended&_lastUpdated=ge2024-01-01T00%3A00%3A00Z&_include=Observation%3Adevice&_sort=-date&_count=50&_format=json";
const MASKED: &str = "/fhir/Patient?name=Chalmers&birthdate=1974-12-25&address=Sunny+Lane+7&_lastUpdated=ge2024-01-01T00:00:00Z&_include=Patient:organization&_sort=-_id&_count=50&_format=json&_elements=id,meta,link&_page=17";

/// Says yes, so that what is measured is all but the cryptography.
struct Yes;

impl HostVerifier for Yes {
    fn verify(&self, _: HostKind, _: &[u8], _: &[u8], _: &[u8]) -> HostVerdict {
        HostVerdict::Valid
    }
}

/// An odd number of 2048 bits; no private key belongs to it.
fn jwks() -> Json {
    let modulus = URL_SAFE_NO_PAD.encode([0xb7; 256]);
    json!({"keys": [{"kty": "RSA", "kid": "a", "alg": "RS256", "use": "sig", "n": modulus, "e": "AQAB"}]})
}

/// A token of about 1 KB.
fn token() -> String {
    let header = json!({"alg": "RS256", "kid": "a", "typ": "at+jwt"});
    let claims = json!({
        "iss": "https://idp.example.org", "aud": "https://fhir.example.org", "sub": "dr-quinn-7f3a", "iat": NOW - 60, "exp": NOW + 3600,
        "client_id": "portal", "jti": "0b2c4f0e-8d57-4c1e-9d39-2f6a1f1f2a11", "fhirUser": "https://fhir.example.org/Practitioner/7f3a",
        "scope": "openid fhirUser launch user/Observation.rs user/Patient.rs user/Encounter.rs",
        "realm": {"roles": ["ROLE_CLINICIAN", "ROLE_RESEARCHER"]}, "tenant": "example", "name": "Dr. Quinn",
    });
    let part = |json: &Json| URL_SAFE_NO_PAD.encode(json.to_string());
    format!(
        "{}.{}.{}",
        part(&header),
        part(&claims),
        URL_SAFE_NO_PAD.encode([0x17; 256])
    )
}

/// Lines as the proxy hands them over.
fn head(lines: &[(&str, &str)]) -> (Vec<u8>, Vec<Place>) {
    let (mut raw, mut places) = (Vec::new(), Vec::new());
    for (name, value) in lines {
        let mut put = |text: &str| {
            let at = u32::try_from(raw.len()).unwrap_or(0);
            raw.extend_from_slice(text.as_bytes());
            raw.push(0);
            (at, u32::try_from(text.len()).unwrap_or(0))
        };
        let ((name, name_length), (value, value_length)) = (put(name), put(value));
        places.push(Place {
            name,
            name_length,
            value,
            value_length,
        });
    }
    (raw, places)
}

/// Whether a line is wanted: the first argument is a part of its text, the second is none.
fn asked(what: &str) -> bool {
    let is_part = |n| std::env::args().nth(n).map(|part| what.contains(&part));
    is_part(1).unwrap_or(true) && !is_part(2).unwrap_or(false)
}

/// The least time of one of many runs; the first half is there to warm up.
fn measure(what: &str, mut run: impl FnMut() -> usize) {
    if !asked(what) {
        return;
    }
    const ROUNDS: u32 = 40;
    const RUNS: u32 = 5_000;
    let mut least = u128::MAX;
    for round in 0..ROUNDS {
        let begun = Instant::now();
        for _ in 0..RUNS {
            black_box(run());
        }
        if round >= ROUNDS / 2 {
            least = least.min(begun.elapsed().as_nanos() / u128::from(RUNS));
        }
    }
    println!("{what:<44} {least:>7} ns");
}

fn main() {
    let document = json!({
        "version": "1",
        "issuers": {"ehr": {
            "issuer": "https://idp.example.org", "audiences": ["https://fhir.example.org"], "algorithms": ["RS256"], "jwks": {"inline": jwks()},
        }},
        "policies": {"gate": {
            "oauth_scope": {"issuers": ["ehr"], "require": {"any_of": ["user/Patient.rs", "patient/Patient.rs"]}},
            "phi_url": {
                "preset": "fhir-r4", "on_query": "mask", "query": {"_count": "pass", "_format": "pass"}, "on_path": "observe",
                "detect": ["ssn"], "on_detect": "reject",
            },
            "cache_control": {"class": "phi", "hsts": {"max_age": "1y", "include_subdomains": true}},
        }},
        "routes": [{"match": {"path_prefix": "/gate/"}, "policy": "gate"}],
    });
    let mut problems = Problems::default();
    let compiled = Compiled::new::<ALL>(&Node::from_json(&document), &|_| None, &mut problems);
    let compiled = Rc::new(compiled.expect("the policy above"));
    let token = token();

    let held = ScopeSet::from_text("openid fhirUser launch user/Observation.rs user/Patient.rs").expect("scopes");
    let need = |text: &str| Requirement::Scope(Need::parse(text).expect("a scope"));
    let require = Requirement::AnyOf(vec![need("user/Patient.rs"), need("patient/Patient.rs")]);
    measure("scopes judged", || usize::from(require.is_met_by(&held)));
    let target = Target::parse(b"/fhir/Patient/7?_format=json").expect("a target");
    let get = RequestHead::new([(":method".to_owned(), b"GET".to_vec())]);
    measure("what a request does, read and judged", || {
        let Ok(Reading::Request(request)) = fhir::read(&get, &target, None) else {
            return 0;
        };
        usize::from(fhir::judge(&request, &held, Contexts::ALL, None, false).is_ok())
    });

    let phi = compiled
        .policy(0)
        .and_then(|policy| policy.phi_url())
        .expect("the section above");
    for (what, raw) in [
        ("a URL of 200 bytes without PHI, read and judged", HARMLESS),
        ("one with escapes", ESCAPED),
        ("one that is masked", MASKED),
    ] {
        measure(what, || {
            let target = Target::parse(black_box(raw.as_bytes())).expect("a target");
            phi.judge(&target, Some(2026)).log_safe.len()
        });
    }
    measure("that URL read alone", || {
        Target::parse(black_box(HARMLESS.as_bytes())).map_or(0, |target| target.parameters().len())
    });

    let issuer = Issuer {
        alias: "ehr".into(),
        issuer: "https://idp.example.org".into(),
        audiences: vec!["https://fhir.example.org".into()],
        algorithms: vec![Algorithm::Rs256],
        keys: KeySet::parse(jwks().to_string().as_bytes()).expect("a key set").into(),
        leeway: 30,
        max_lifetime: None,
        only_at_jwt: false,
        claims: ClaimPaths::default(),
    };
    let tokens = TokenPolicy::new(vec![issuer]).expect("a token policy");
    let mut cache = TokenCache::default();
    measure(&format!("a token of {} bytes found again", token.len()), || {
        usize::from(
            tokens
                .verify(token.as_bytes(), &[0], NOW, &mut cache, Some(&Yes))
                .is_ok(),
        )
    });
    let mut none = TokenCache::new(8, 0);
    measure("the same read strictly", || {
        usize::from(
            tokens
                .verify(token.as_bytes(), &[0], NOW, &mut none, Some(&Yes))
                .is_ok(),
        )
    });

    let bearer = format!("Bearer {token}");
    let (request, request_places) = head(&[
        (":authority", "fhir.example.org"),
        (
            ":path",
            "/gate/Patient?name=Chalmers&birthdate=1974-12-25&_format=json&_count=1",
        ),
        (":method", "GET"),
        (":scheme", "https"),
        ("authorization", &bearer),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-proto", "https"),
        ("x-request-id", "8fb38f6b-8a2b-4239-b12b-a9cb8e960928"),
    ]);
    let (response, response_places) = head(&[
        (":status", "200"),
        ("server", "nginx"),
        ("date", "Sun, 22 Nov 2026 02:44:24 GMT"),
        ("content-type", "application/fhir+json"),
        ("content-length", "65"),
    ]);
    let mut vault = Vault {
        host: Some(Rc::new(Yes)),
        ..Vault::default()
    };
    let mut exchange = |stages: usize| {
        let mut stream = Stream::<ALL>::new(Rc::clone(&compiled));
        let facts = RequestFacts {
            now: Timestamp(NOW * 1_000_000_000),
            body: Some(Vec::new()),
            ..RequestFacts::default()
        };
        let mut head = RequestHead::at(request.clone(), request_places.clone());
        let opening = stream.request_head(&mut head, &facts, &mut vault);
        assert!(matches!(opening.verdict, Verdict::Continue(_)), "the request passes");
        if stages > 1 {
            let mut head = ResponseHead::at(response.clone(), response_places.clone());
            stream.response_head(&mut head, false, false);
        }
        if stages > 2 { stream.audit().to_json().len() } else { 0 }
    };
    measure("a request's head", || exchange(1));
    measure("a request's and its response's", || exchange(2));
    measure("the same with the audit record", || exchange(3));

    for profile in &PROFILES {
        measure_compilation(profile);
    }
    bodies();
}

/// The least time of a few runs.
fn measure_compilation(profile: &Profile) {
    let what = format!("compile {}", profile.name);
    if !asked(&what) {
        return;
    }
    let fhir = profile.rules().expect("tested to parse");
    let times = (0..10).map(|_| {
        let rules = trim::Rules {
            fhir: Some(fhir.clone()),
            ..trim::Rules::default()
        };
        let begun = Instant::now();
        black_box(Program::compile(rules).expect("tested to compile"));
        begun.elapsed().as_micros()
    });
    println!("{what:<44} {:>7} us", times.min().unwrap_or_default());
}

/// How a proxy delivers bodies.
const CHUNK: usize = 16 * 1024;

/// The most bytes a second of many runs over a body of 1 MB.
fn measure_body(what: &str, size: usize, mut run: impl FnMut() -> usize) {
    if !asked(what) {
        return;
    }
    let mut least = f64::MAX;
    let begun = Instant::now();
    for round in 0.. {
        let before = Instant::now();
        black_box(run());
        least = least.min(before.elapsed().as_secs_f64());
        if round >= 10 && begun.elapsed().as_secs_f64() > 0.7 {
            break;
        }
    }
    println!("{what:<44} {:>7.3} GB/s", size as f64 / least / 1e9);
}

/// What trimming a bundle of 1 MB costs in the pieces a proxy delivers, beside a copy of it and the same by way of a tree.
fn bodies() {
    let views: [View; 4] = [
        (
            "deny",
            (&["$.entry[*].resource.text", "$.entry[*].resource.identifier"], None),
            |body| {
                for entry in body["entry"].as_array_mut().into_iter().flatten() {
                    if let Some(resource) = entry["resource"].as_object_mut() {
                        resource.remove("text");
                        resource.remove("identifier");
                    }
                }
            },
        ),
        ("deny ..ssn", (&["$..ssn"], None), |body| without(body, &["ssn"])),
        (
            "deny many",
            (
                &[
                    "$..identifier",
                    "$..telecom",
                    "$..address",
                    "$..photo",
                    "$.text",
                    "$.entry[*].resource.text",
                ],
                None,
            ),
            |body| without(body, &["identifier", "telecom", "address", "photo", "text"]),
        ),
        (
            "allow",
            (
                &[],
                Some(&[
                    "$.resourceType",
                    "$.type",
                    "$.total",
                    "$.entry[*].fullUrl",
                    "$.entry[*].resource['resourceType','id','gender','birthDate','status','code','valueQuantity']",
                    "$.entry[*].resource.name[*].family",
                ]),
            ),
            |body| {
                for entry in body["entry"].as_array_mut().into_iter().flatten() {
                    if let Some(resource) = entry["resource"].as_object_mut() {
                        let kept = [
                            "resourceType",
                            "id",
                            "gender",
                            "birthDate",
                            "status",
                            "code",
                            "valueQuantity",
                            "name",
                        ];
                        resource.retain(|name, _| kept.contains(&name.as_str()));
                    }
                }
            },
        ),
    ];
    let compact = bundle::compact(1 << 20);
    let pretty = bundle::indented(&compact);
    for (layout, body) in [("compact", compact.as_bytes()), ("pretty", pretty.as_bytes())] {
        let mut out = Vec::with_capacity(2 * CHUNK);
        measure_body(&format!("1 MB {layout}, copied"), body.len(), || {
            for piece in body.chunks(CHUNK) {
                out.clear();
                out.extend_from_slice(black_box(piece));
            }
            out.len()
        });
        for (view, (deny, allow), by_tree) in &views {
            let program = Arc::new(program(deny, *allow));
            measure_body(&format!("1 MB {layout}, {view}"), body.len(), || {
                let mut trimmer =
                    Trimmer::new(Arc::clone(&program), None, Limits::default()).expect("nothing is tokenized");
                for piece in body.chunks(CHUNK) {
                    out.clear();
                    trimmer.push(black_box(piece), false, &mut out).expect("JSON");
                }
                trimmer.push(b"", true, &mut out).expect("all of it");
                trimmer.counts().removed as usize
            });
            measure_body(&format!("1 MB {layout}, {view}, as a tree"), body.len(), || {
                let mut tree: Json = serde_json::from_slice(black_box(body)).expect("JSON");
                by_tree(&mut tree);
                serde_json::to_vec(&tree).map_or(0, |bytes| bytes.len())
            });
        }
    }
}

/// Its name, its rules, and the same done to a tree.
type View = (&'static str, Rules, fn(&mut Json));

/// What a view denies and allows.
type Rules = (&'static [&'static str], Option<&'static [&'static str]>);

fn program(deny: &[&str], allow: Option<&[&str]>) -> Program {
    let parsed = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| Selector::parse(text).expect("a selector"))
            .collect()
    };
    Program::new(parsed(deny), allow.map(parsed), Vec::new()).expect("small")
}

/// Removes members wherever they stand.
fn without(value: &mut Json, names: &[&str]) {
    match value {
        Json::Object(object) => {
            object.retain(|name, _| !names.contains(&name.as_str()));
            object.values_mut().for_each(|value| without(value, names));
        }
        Json::Array(items) => items.iter_mut().for_each(|item| without(item, names)),
        _ => {}
    }
}
