//! The same as modules on the embedded engine: `suite`, and the four single modules behind each other.
//!
//! `none` is the harness without any filter; what a stack costs is its figure less that one's. The harness gives guests the time
//! and verifies signatures as a proxy does.

use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use scrim::cases::Modules;
use scrim::exchange::{Engine as _, Gateway, Request, Setup};
use scrim::gateway::{PUBLISHED, filters};
use scrim::wasm::{Clock, Wasmtime};
use scrim_benches::{CLINICIAN, NOW, PATIENT, SEARCH, TRIMMED, answer, bundle, policy, pretty, request, token};

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    targets = all
}
criterion_main!(benches);

fn all(criterion: &mut Criterion) {
    let engine = Wasmtime::builder()
        .clock(Clock::Fixed(Duration::from_secs(NOW)))
        .build()
        .expect("this machine runs WebAssembly");
    let policy = policy();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut stacks = [
        ("none", None),
        ("suite", Some(Modules::Suite)),
        ("chain", Some(Modules::Chain)),
    ]
    .map(|(name, modules)| {
        let filters = modules.map_or_else(Vec::new, |modules| {
            filters(&policy, modules, folder).expect("the modules can be written")
        });
        let setup = Setup {
            filters,
            report: PUBLISHED.map(str::to_owned).into(),
            ..Setup::default()
        };
        (name, engine.start(&setup).expect("the modules start"))
    });
    let (clinician, patient) = (token("rs256", CLINICIAN), token("rs256", PATIENT));
    let no_body = answer(b"");
    for (group, request, expected) in [
        ("wasm allowed, no body", request(SEARCH, Some(&clinician)), 200),
        ("wasm denied, no token", request(SEARCH, None), 401),
        (
            "wasm denied, ssn in the url",
            request("/gate/Patient?_content=512-34-5678", Some(&clinician)),
            400,
        ),
    ] {
        let mut group = criterion.benchmark_group(group);
        for (name, gateway) in &mut stacks {
            let expected = if *name == "none" { 200 } else { expected };
            group.bench_function(*name, |bench| {
                bench.iter(|| exchange(gateway.as_mut(), &request, &no_body, expected))
            });
        }
    }
    let compact = bundle(1 << 20);
    for (group, token, body) in [
        ("wasm deny, compact", &clinician, compact.clone()),
        ("wasm allow, compact", &patient, compact.clone()),
        ("wasm deny, pretty", &clinician, pretty(&compact)),
        ("wasm allow, pretty", &patient, pretty(&compact)),
    ] {
        let (request, answer) = (request(TRIMMED, Some(token)), answer(&body));
        let mut group = criterion.benchmark_group(group);
        group.throughput(Throughput::Bytes(body.len() as u64));
        for (name, gateway) in &mut stacks {
            group.bench_function(*name, |bench| {
                bench.iter(|| exchange(gateway.as_mut(), &request, &answer, 200))
            });
        }
    }
}

/// One exchange, which must end well; how many bytes of body came out.
fn exchange(gateway: &mut dyn Gateway, request: &Request, answer: &scrim::exchange::Answer, expected: u16) -> usize {
    let got = gateway
        .exchange(request, answer)
        .expect("the exchange ends")
        .client
        .expect("the client gets an answer");
    assert!(
        got.complete && got.status == expected,
        "{} instead of {expected}",
        got.status
    );
    got.body.len()
}
