//! The pure core, native: what each policy costs a request, and how fast the trimmer is.

use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use scrim_benches::{
    CHUNK, CLINICIAN, NOW, PATIENT, SEARCH, TRIMMED, answer, bundle, compiled, example, pretty, request, request_head,
    response_head, token,
};
use scrim_policy::audit::Timestamp;
use scrim_policy::cache_control::CacheControl;
use scrim_policy::cache_control::validators::{self, Salt};
use scrim_policy::chain::{ALL, BodyVerdict, RequestFacts, Stream, Vault, Verdict};
use scrim_policy::document::Problems;
use scrim_policy::head::ResponseHead;
use scrim_policy::policy_file::{self, Class};
use scrim_policy::response_trim::{Fate, Views};
use scrim_policy::scope::{Need, Requirement, ScopeSet};
use scrim_policy::token::{Algorithm, ClaimPaths, Issuer, KeySet, TokenCache, TokenPolicy};
use scrim_policy::trim::{Limits, Program, Trimmer};
use scrim_policy::url::Target;

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    targets = url, scope, tokens, cache_control, chain, trim
}
criterion_main!(benches);

/// Parsing a request target and judging it by `phi-url`.
fn url(criterion: &mut Criterion) {
    let compiled = compiled();
    let phi = compiled
        .policy(0)
        .and_then(|policy| policy.phi_url())
        .expect("the policy has a phi_url section");
    let long = format!(
        "/fhir/Observation?_count=50&code={}",
        "http://loinc.org|8867-4,".repeat(40)
    );
    let mut group = criterion.benchmark_group("url");
    for (name, target) in [
        ("read", "/fhir/Patient/7f3a91c2/_history/3"),
        (
            "search without phi",
            "/fhir/Observation?code=http://loinc.org%7C8867-4&_count=50&_format=json",
        ),
        ("search masked", SEARCH),
        ("ssn rejected", "/fhir/Patient?_content=512-34-5678"),
        ("1 KB query", &long),
    ] {
        group.bench_function(BenchmarkId::new("parse", name), |bench| {
            bench.iter(|| Target::parse(black_box(target.as_bytes())).is_ok())
        });
        group.bench_function(BenchmarkId::new("parse and judge", name), |bench| {
            bench.iter(|| {
                let target = Target::parse(black_box(target.as_bytes())).expect("the targets are well-formed");
                black_box(phi.judge(&target, Some(2026)).log_safe.len())
            });
        });
    }
}

/// Judging scopes, with and without reading the claim.
fn scope(criterion: &mut Criterion) {
    let need = |text: &str| Requirement::Scope(Need::parse(text).expect("a scope"));
    let require = Requirement::AnyOf(vec![need("user/Patient.rs"), need("patient/Patient.rs")]);
    let held = ScopeSet::from_text(CLINICIAN).expect("scopes");
    let mut group = criterion.benchmark_group("scope");
    group.bench_function("judge", |bench| {
        bench.iter(|| black_box(&require).is_met_by(black_box(&held)))
    });
    group.bench_function("parse and judge", |bench| {
        bench.iter(|| ScopeSet::from_text(black_box(CLINICIAN)).is_ok_and(|held| require.is_met_by(&held)));
    });
}

/// Verifying a token, from the cache and anew; without a host, so the signature is checked here.
fn tokens(criterion: &mut Criterion) {
    let keys = std::fs::read(example("jwks.json")).expect("the example has a key set");
    let issuer = Issuer {
        alias: "ehr".into(),
        issuer: "https://idp.example.org".into(),
        audiences: vec!["https://fhir.example.org".into()],
        algorithms: vec![Algorithm::Rs256, Algorithm::Es256],
        keys: KeySet::parse(&keys).expect("a key set").into(),
        leeway: 30,
        max_lifetime: None,
        only_at_jwt: false,
        claims: ClaimPaths::default(),
    };
    let policy = TokenPolicy::new(vec![issuer]).expect("a token policy");
    let verify = |token: &str, cache: &mut TokenCache| policy.verify(token.as_bytes(), &[0], NOW, cache, None).is_ok();
    let mut group = criterion.benchmark_group("token");
    for algorithm in ["rs256", "es256"] {
        let token = token(algorithm, CLINICIAN);
        let mut cache = TokenCache::default();
        assert!(verify(&token, &mut cache), "the token is good");
        group.bench_function(BenchmarkId::new("cached", algorithm), |bench| {
            bench.iter(|| verify(black_box(&token), &mut cache))
        });
        let mut nothing = TokenCache::new(0, 0);
        group.bench_function(BenchmarkId::new("new", algorithm), |bench| {
            bench.iter(|| verify(black_box(&token), &mut nothing))
        });
    }
}

/// Applying a class to a response head of ten lines, and asking anew for PHI; and what the tag of a trimmed body costs.
fn cache_control(criterion: &mut Criterion) {
    let of = |class: Class| {
        let section = policy_file::CacheControl {
            class,
            hsts: None,
            nosniff: None,
            referrer_policy: None,
            clear_site_data: None,
            tls: None,
        };
        CacheControl::compile(&section, &mut Problems::default())
    };
    let rest = [
        (":status", "200"),
        ("content-type", "application/fhir+json;charset=utf-8"),
        ("etag", "W/\"3\""),
        ("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ("date", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ("vary", "accept, prefer"),
        ("x-request-id", "8d7f1e1a-5f0e-4d7c-9e7b-2f6a3a1b9c55"),
    ];
    let ten = |caching: [(&str, &str); 3]| {
        let lines = rest.into_iter().chain(caching);
        ResponseHead::new(lines.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())))
    };
    let permissive = ten([
        ("cache-control", "public, max-age=60, stale-while-revalidate=30"),
        ("expires", "Thu, 01 Jan 2026 00:01:00 GMT"),
        ("cdn-cache-control", "max-age=600, no-transform"),
    ]);
    let strict = ten([("cache-control", "no-store, private"), ("x-a", "1"), ("x-b", "2")]);
    let private = ten([
        ("cache-control", "private, max-age=60, must-revalidate"),
        ("x-a", "1"),
        ("x-b", "2"),
    ]);
    let mut group = criterion.benchmark_group("cache-control");
    for (name, class, head) in [
        ("phi, three to change", Class::Phi, &permissive),
        ("phi, nothing to change", Class::Phi, &strict),
        ("authenticated, three to change", Class::Authenticated, &permissive),
        ("authenticated, nothing to change", Class::Authenticated, &private),
        ("public", Class::Public, &permissive),
    ] {
        let policy = of(class);
        group.bench_function(name, |bench| {
            bench.iter_batched_ref(
                || head.clone(),
                |head| {
                    policy.apply(black_box(head));
                    head.take_edits().len()
                },
                BatchSize::SmallInput,
            );
        });
    }
    let phi = of(Class::Phi);
    for (name, more) in [
        ("request, nothing said", None),
        ("request, no-cache said", Some("no-cache")),
        ("request, games", Some("max-age=0, only-if-cached")),
    ] {
        let mut sent = request("/fhir/Patient/7", None);
        let more = more.map(|value| ("cache-control".to_owned(), value.as_bytes().to_vec()));
        sent.headers.extend(more);
        let head = request_head(&sent);
        group.bench_function(name, |bench| {
            bench.iter_batched_ref(
                || head.clone(),
                |head| {
                    assert!(phi.admit(black_box(head), None).is_ok());
                    head.take_edits().len()
                },
                BatchSize::SmallInput,
            );
        });
    }
    let compiled = compiled();
    for (name, tag) in [("tag, fhir's version", "W/\"3\""), ("tag, salted", "\"abc\"")] {
        let mut head = strict.clone();
        head.set("etag", tag);
        head.take_edits();
        group.bench_function(name, |bench| {
            bench.iter_batched_ref(
                || head.clone(),
                |head| {
                    validators::salt(black_box(head), true, &|| {
                        Some(Salt::of(&compiled, "clinician", Views::default()))
                    });
                    head.take_edits().len()
                },
                BatchSize::SmallInput,
            );
        });
    }
}

/// All four filters over one request and its response, up to the audit record.
fn chain(criterion: &mut Criterion) {
    let compiled = Rc::new(compiled());
    let token = token("rs256", CLINICIAN);
    let body = bundle(1024);
    let (response, facts) = (
        response_head(&answer(&body)),
        RequestFacts {
            now: Timestamp(NOW * 1_000_000_000),
            ..RequestFacts::default()
        },
    );
    let mut vault = Vault::default();
    let mut group = criterion.benchmark_group("chain");
    for (name, target, token, allowed) in [
        ("allowed, no body", SEARCH, Some(&token), true),
        ("allowed, 1 KB trimmed", TRIMMED, Some(&token), true),
        ("denied, no token", SEARCH, None, false),
        (
            "denied, ssn in the url",
            "/gate/Patient?_content=512-34-5678",
            Some(&token),
            false,
        ),
    ] {
        let head = request_head(&request(target, token.map(String::as_str)));
        group.bench_function(name, |bench| {
            bench.iter_batched_ref(
                || (head.clone(), response.clone()),
                |(head, response)| {
                    let mut stream = Stream::<ALL>::new(Rc::clone(&compiled));
                    let opening = stream.request_head(head, &facts, &mut vault);
                    assert_eq!(matches!(opening.verdict, Verdict::Continue(_)), allowed);
                    if allowed {
                        black_box(stream.response_head(response, false, false));
                        if stream.wants_body() {
                            assert!(matches!(stream.response_body(&body, true), BodyVerdict::Replace(_)));
                        }
                    }
                    stream.audit().to_json()
                },
                BatchSize::SmallInput,
            );
        });
    }
}

/// Trimming a bundle of about 1 MB, in the pieces a proxy delivers; throughput is of what goes in.
fn trim(criterion: &mut Criterion) {
    let compiled = compiled();
    let trim = compiled
        .policy(1)
        .and_then(|policy| policy.response_trim())
        .expect("the policy has a response_trim section");
    let compact = bundle(1 << 20);
    let pretty = pretty(&compact);
    let mut group = criterion.benchmark_group("trim");
    for (view, scopes) in [("deny", CLINICIAN), ("allow", PATIENT)] {
        let held = ScopeSet::from_text(scopes).expect("scopes");
        let Fate::Trim { program, .. } =
            trim.judge(&mut response_head(&answer(b"{}")), true, false, trim.views(Some(&held)))
        else {
            panic!("the policy trims");
        };
        for (layout, body) in [("compact", &compact), ("pretty", &pretty)] {
            trim_one(&mut group, BenchmarkId::new(view, layout), &program, body);
        }
    }
}

fn trim_one(group: &mut BenchmarkGroup<'_, WallTime>, id: BenchmarkId, program: &Arc<Program>, body: &[u8]) {
    let mut out = Vec::with_capacity(CHUNK);
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function(id, |bench| {
        bench.iter(|| {
            let mut trimmer = Trimmer::new(Arc::clone(program), None, Limits::default()).expect("nothing is tokenized");
            for piece in body.chunks(CHUNK) {
                out.clear();
                trimmer
                    .push(black_box(piece), false, &mut out)
                    .expect("the bundle is JSON");
            }
            trimmer.push(b"", true, &mut out).expect("the bundle is whole");
            trimmer.counts()
        });
    });
}
