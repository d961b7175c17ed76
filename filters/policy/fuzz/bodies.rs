//! What each fuzz target does with its bytes, over the public API alone. Whatever comes in, nothing may panic, and what is said here must hold.
//!
//! `filters/policy/tests/fuzz.rs` runs the same functions in every `cargo test`, so that they keep compiling and holding.
#![allow(dead_code, reason = "each target uses one of them")]

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use scrim_policy::cache_control::directives::{Directives, Private};
use scrim_policy::cache_control::structured::dictionary;
use scrim_policy::cache_control::{CacheControl, overrides};
use scrim_policy::chain::ALL;
use scrim_policy::compile::Compiled;
use scrim_policy::decode::{Caps, Codings, DecodeError, Decoder, FREE, Fault, PIECE};
use scrim_policy::document::{Node, Problems};
use scrim_policy::framing::{FrameError, Framing, Splitter};
use scrim_policy::head::{RequestHead, ResponseHead};
use scrim_policy::inventory::{Inventory, MAX_PATHS};
use scrim_policy::phi::{Action, DetectEntry, Detector, Outcome, PhiPolicy, Preset, Rules, Scene, Secrets};
use scrim_policy::policy_file::{self, Class};
use scrim_policy::scope::{Need, Requirement, ScopeSet};
use scrim_policy::token::dpop::{self, Claim, ReplayCache};
use scrim_policy::token::{Algorithm, Issuer, KeySet, TokenCache, TokenPolicy};
use scrim_policy::trim::{Limits, Program, Selector, Trimmer};
use scrim_policy::url::Target;

#[path = "trimming.rs"]
mod trimming;
pub use self::trimming::trim;

const NOW: u64 = 1_800_000_000;

/// Bytes that nobody signed are no token: neither as they are, nor as header, payload and signature (cut at NUL) in base64url.
pub fn token(bytes: &[u8]) {
    thread_local! {
        static POLICY: TokenPolicy = policy(KeySet::parse(KEYS).expect("the keys are good"));
    }
    let encoded: Vec<String> = bytes
        .splitn(3, |byte| *byte == 0)
        .map(|part| URL_SAFE_NO_PAD.encode(part))
        .collect();
    POLICY.with(|policy| {
        for token in [bytes, encoded.join(".").as_bytes()] {
            let mut cache = TokenCache::default();
            assert!(policy.verify(token, &[0], NOW, &mut cache, None).is_err());
            assert_eq!(cache.stats().entries, 0);
        }
    });
}

/// Bytes are a set of public keys or are refused; a set never serves HMAC, and makes no token good that nobody signed.
pub fn jwks(bytes: &[u8]) {
    let Ok(keys) = KeySet::parse(bytes) else { return };
    assert!(!keys.is_secret() && !keys.is_empty());
    for algorithm in Algorithm::ALL {
        assert!(!(algorithm.is_symmetric() && keys.serves(algorithm)));
        if keys.serves(algorithm) {
            let text = format!(
                r#"{{"alg":"{}"}}.{{"iss":"https://idp.example","aud":"api","exp":1800000060}}"#,
                algorithm.name()
            );
            let text: Vec<String> = text.split('.').map(|part| URL_SAFE_NO_PAD.encode(part)).collect();
            for length in [64, 96, 256] {
                let forged = format!("{}.{}.{}", text[0], text[1], URL_SAFE_NO_PAD.encode(vec![1; length]));
                let verdict =
                    policy(keys.clone()).verify(forged.as_bytes(), &[0], NOW, &mut TokenCache::default(), None);
                assert!(verdict.is_err());
            }
        }
    }
}

/// A need, a scope string that may meet it, and more scopes (cut at NUL): what is met stays met when scopes are added, and nothing is met by none.
pub fn scopes(bytes: &[u8]) {
    let mut parts = bytes
        .splitn(3, |byte| *byte == 0)
        .map(|part| std::str::from_utf8(part).unwrap_or_default());
    let (need, held, more) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let Ok(held_set) = ScopeSet::from_text(held) else {
        return;
    };
    let Ok(need) = Need::parse(need) else { return };
    assert!(!need.as_str().is_empty());
    let need = Requirement::Scope(need);
    assert!(!need.is_met_by(&ScopeSet::default()));
    if let Ok(all) = ScopeSet::from_text(&format!("{held} {more}")) {
        assert!(need.is_met_by(&all) || !need.is_met_by(&held_set));
        assert!(all.len() >= held_set.len());
    }
}

/// Bytes that nobody signed are no proof, in either form that [`token`] knows; and a URL in its normal form is its own.
pub fn dpop(bytes: &[u8]) {
    let encoded: Vec<String> = bytes
        .splitn(3, |byte| *byte == 0)
        .map(|part| URL_SAFE_NO_PAD.encode(part))
        .collect();
    let mut replay = ReplayCache::new(4, 60);
    let claim = Claim {
        method: b"GET",
        url: "https://fhir.example/Patient/7",
        access_token: b"an.access.token",
        // Of the key in the seed, so that what follows is reached.
        jkt: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
    };
    for proof in [bytes, encoded.join(".").as_bytes()] {
        assert!(dpop::verify(proof, claim, NOW, None, &mut replay).is_err());
        assert!(replay.is_empty());
    }
    if let Some(normal) = std::str::from_utf8(bytes).ok().and_then(dpop::normalise) {
        assert_eq!(dpop::normalise(&normal).as_ref(), Some(&normal));
    }
}

/// Bytes are a policy document that compiles, or at least one problem is told.
pub fn json(bytes: &[u8]) {
    let Ok(node) = serde_json::from_slice::<Node>(bytes) else {
        return;
    };
    let mut problems = Problems::default();
    let compiled = Compiled::new::<ALL>(
        &node,
        &|_| Some("c3ludGhldGljLXRlc3Qta2V5LW5vdC1hLXNlY3JldCE=".to_owned()),
        &mut problems,
    );
    assert_eq!(compiled.is_none(), problems.has_errors());
}

/// Bytes under a coding, or under two of them, that the first byte chooses: what comes out stays within the caps, and is the same however the body is cut.
pub fn decode(bytes: &[u8]) {
    const LISTS: [&str; 8] = [
        "gzip",
        "deflate",
        "br",
        "zstd",
        "zstd, gzip",
        "gzip, br",
        "br, zstd",
        "deflate, deflate",
    ];
    let Some((choice, body)) = bytes.split_first() else {
        return;
    };
    let list = LISTS[usize::from(*choice) % LISTS.len()];
    let codings = Codings::parse([list.as_bytes()].into_iter()).expect("the list is good");
    let caps = Caps {
        max_ratio: u32::MAX,
        max_size: 1 << 20,
        window: 1 << 20,
    };
    let run = |caps: Caps, cut: usize| -> Result<Vec<u8>, Fault> {
        let mut decoder = Decoder::new(&codings, caps);
        let mut out = Vec::new();
        let mut sink = |piece: &[u8]| {
            assert!(!piece.is_empty() && piece.len() <= PIECE);
            out.extend_from_slice(piece);
            Ok::<(), ()>(())
        };
        let fault = |error| match error {
            DecodeError::Body(fault) => fault,
            DecodeError::Sink(()) => panic!("the sink takes all"),
        };
        for piece in body.chunks(cut) {
            decoder.push(piece, false, &mut sink).map_err(fault)?;
        }
        decoder.push(b"", true, &mut sink).map_err(fault)?;
        Ok(out)
    };
    let whole = run(caps, usize::MAX);
    assert!(whole.as_ref().is_ok_and(|out| out.len() <= 1 << 20) || whole.is_err());
    // Of several faults in a list of codings, which is found first depends on the cuts.
    assert_eq!(run(caps, 1).ok(), whole.clone().ok());
    assert_eq!(run(caps, 7).ok(), whole.ok());
    let fair = run(Caps { max_ratio: 2, ..caps }, usize::MAX);
    assert!(fair.is_err() || fair.is_ok_and(|out| out.len() as u64 <= FREE.max(2 * body.len() as u64)));
}

/// Bytes in a framing that the first byte chooses: what comes out is the same however the body is cut, is itself framed, and has no denied member. And the
/// paths of the fields that they have as one value are few, and show nothing that may be a value.
pub fn records(bytes: &[u8]) {
    thread_local! {
        static PROGRAM: Arc<Program> = {
            let deny = vec![Selector::parse("$..ssn").expect("a selector")];
            Arc::new(Program::new(deny, None, Vec::new()).expect("a program"))
        };
    }
    let Some((choice, body)) = bytes.split_first() else {
        return;
    };
    let framing = [Framing::Lines, Framing::Sequence, Framing::Events][usize::from(*choice) % 3];
    let program = PROGRAM.with(Arc::clone);
    let run = |body: &[u8], cut: usize| {
        let mut open = || Trimmer::new(Arc::clone(&program), None, Limits::default()).ok();
        let mut splitter = Splitter::new(framing);
        let mut out = Vec::new();
        for piece in body.chunks(cut) {
            splitter.push(&mut open, piece, false, &mut out)?;
        }
        splitter.push(&mut open, b"", true, &mut out)?;
        Ok::<_, FrameError>((out, splitter.counts()))
    };
    let whole = run(body, usize::MAX);
    assert_eq!(run(body, 1), whole);
    assert_eq!(run(body, 3), whole);
    if let Ok((out, _)) = whole {
        let (again, counts) = run(&out, usize::MAX).expect("what comes out is framed");
        assert_eq!((again, counts.removed), (out, 0));
    }
    let fields = |cut: usize| {
        let mut inventory = Inventory::new();
        let ended = body.chunks(cut).try_for_each(|piece| inventory.push(piece, false));
        let ended = ended.and_then(|()| inventory.push(b"", true));
        (inventory.paths().collect::<Vec<_>>(), ended)
    };
    let found = fields(usize::MAX);
    assert_eq!(fields(1), found);
    assert!(found.0.len() <= MAX_PATHS + 2);
    for (path, ..) in found.0 {
        let shown = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.[]*?$".contains(&byte);
        assert!(path.bytes().all(shown) && path.split('.').all(|name| name.len() <= 70));
    }
}

/// Headers of a response (`name: value`, a line each) and, behind a NUL, of a request: no class lets a shared cache store, or PHI be asked of one; twice is as once.
pub fn cache_control(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0).map(lines);
    let (response, request) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    for class in [Class::Phi, Class::Authenticated, Class::Public] {
        let section = policy_file::CacheControl {
            class,
            hsts: None,
            nosniff: Some(true),
            referrer_policy: None,
            clear_site_data: None,
            tls: None,
        };
        let policy = CacheControl::compile(&section, &mut Problems::default());
        let status = (":status".to_owned(), b"200".to_vec());
        let mut head = ResponseHead::new([status].into_iter().chain(response.clone()));
        policy.apply(&mut head);
        head.take_edits();
        policy.apply(&mut head);
        assert!(head.take_edits().is_empty());
        if class != Class::Public {
            assert!(!head.has_any(|name| overrides(name) && name != b"age"));
            let all: Vec<&[u8]> = head.all("cache-control").collect();
            assert_eq!(all.len(), 1);
            let read = Directives::read(all.into_iter()).expect("what goes out can be read");
            assert!(read.private == Private::Whole && !read.public && read.s_maxage.is_none());
            assert!(class == Class::Authenticated || (read.no_store && read.max_age.is_none()));
        }
        let method = (":method".to_owned(), b"GET".to_vec());
        let mut head = RequestHead::new([method].into_iter().chain(request.clone()));
        assert!(policy.admit(&mut head, None).is_ok());
        head.take_edits();
        assert!(policy.admit(&mut head, None).is_ok() && head.take_edits().is_empty());
        if class == Class::Phi {
            let asked = head
                .all("cache-control")
                .collect::<Vec<_>>()
                .join(&b","[..])
                .to_ascii_lowercase();
            assert!(asked.starts_with(b"no-cache") || asked.windows(8).any(|word| word == b"no-cache"));
        }
    }
    for (_, value) in &response {
        let _ = dictionary(value);
    }
}

fn lines(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let line = |line: &[u8]| {
        let at = line.iter().position(|byte| *byte == b':')?;
        let name = std::str::from_utf8(line.get(..at)?).ok()?.to_ascii_lowercase();
        Some((name, line.get(at + 1..)?.trim_ascii().to_vec())).filter(|(name, _)| !name.is_empty())
    };
    bytes.split(|byte| *byte == b'\n').filter_map(line).collect()
}

/// Bytes are a request target with one canonical form, or are refused. A number planted between two texts (cut at NUL) goes neither on nor to the log.
pub fn url(bytes: &[u8]) {
    if let Ok(target) = Target::parse(bytes) {
        let rendered = target.render();
        let again = Target::parse(rendered.as_bytes()).expect("the canonical form is a target");
        assert_eq!((again.path(), again.render()), (target.path(), rendered.clone()));
        let pairs = |target: &Target<'_>| -> Vec<(String, String)> {
            let pair = |p: &scrim_policy::url::Parameter<'_>| (p.name().to_owned(), p.value().to_owned());
            target.parameters().iter().map(pair).collect()
        };
        assert_eq!(pairs(&again), pairs(&target));
        for action in HIDING {
            let judgement = phi(action).judge(&target, Some(2026));
            assert!(judgement.log_safe.is_ascii());
            if let Outcome::Rewrite(sent) = judgement.outcome {
                assert!(Target::parse(&sent).is_ok());
            }
        }
    }
    // `512-34-56781` shows it too, and is no number of that kind.
    if shows(bytes) {
        return;
    }
    let planted = planted(bytes);
    let Ok(target) = Target::parse(&planted) else { return };
    // The host is the route's to judge: it must be the one that was called.
    if target.authority().is_some_and(|host| shows(host.as_bytes())) {
        return;
    }
    for action in HIDING {
        let judgement = phi(action).judge(&target, Some(2026));
        assert!(!shows(judgement.log_safe.as_bytes()));
        match judgement.outcome {
            Outcome::Pass => panic!("the number passes"),
            Outcome::Rewrite(sent) => assert!(!shows(&sent)),
            Outcome::Reject(_) => {}
        }
    }
}

/// A number planted between two texts (cut at NUL) is in no header and no body that goes on, wherever the whole stands; and what went out goes out
/// as it is.
pub fn places(bytes: &[u8]) {
    let scene = Scene {
        year: Some(2026),
        authority: b"h",
        opens: &|_| None,
    };
    let target = Target::parse(b"/fhir/Patient").expect("a target");
    // `512-34-56781` shows it too, and is no number of that kind.
    if shows(bytes) {
        return;
    }
    let planted = planted(bytes);
    // No header holds a line's end.
    let line: Vec<u8> = planted
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b'\r' | b'\n' | 0))
        .collect();
    let left = |lines: Vec<Vec<u8>>| assert!(!lines.iter().any(|line| shows(line)), "the number is left");
    for action in HIDING {
        let policy = phi(action);
        for name in [
            "referer",
            "origin",
            "forwarded",
            "if-none-exist",
            "x-original-uri",
            "x-forwarded-prefix",
        ] {
            let mut head = RequestHead::new([(name.to_owned(), line.clone())]);
            if policy.request_headers(&mut head, &target, &scene).is_ok() {
                left(head.all(name).map(<[u8]>::to_vec).collect());
            }
        }
        for name in [
            "location",
            "content-location",
            "link",
            "refresh",
            "content-disposition",
            "sourcemap",
        ] {
            let mut head = ResponseHead::new([(name.to_owned(), line.clone())]);
            policy.response_headers(&mut head, &scene);
            let once: Vec<_> = head.all(name).map(<[u8]>::to_vec).collect();
            if let [one] = once.as_slice() {
                let mut again = ResponseHead::new([(name.to_owned(), one.clone())]);
                policy.response_headers(&mut again, &scene);
                assert_eq!(again.first(name), Some(one.as_slice()), "{name}");
            }
            left(once);
        }
        let text = String::from_utf8_lossy(&planted).into_owned();
        for judge in [PhiPolicy::judge_link, PhiPolicy::judge_text] {
            let shown = judge(policy, &text, &scene).unwrap_or_else(|| text.clone());
            assert!(!shows(shown.as_bytes()));
            assert!(judge(policy, &shown, &scene).is_none());
        }
        let bundle = |request| {
            serde_json::json!({"entry": [{"request": request}]})
                .to_string()
                .into_bytes()
        };
        for (path, kind, body) in [
            (
                "/fhir/Patient/_search",
                "application/x-www-form-urlencoded",
                planted.clone(),
            ),
            ("/fhir", "application/json", bundle(serde_json::json!({"url": text}))),
            (
                "/fhir",
                "application/json",
                bundle(serde_json::json!({"url": "Patient", "ifNoneExist": text})),
            ),
            ("/fhir", "application/json", bytes.to_vec()),
        ] {
            let head = RequestHead::new([
                (":method".to_owned(), b"POST".to_vec()),
                ("content-type".to_owned(), kind.as_bytes().to_vec()),
            ]);
            let target = Target::parse(path.as_bytes()).expect("a target");
            assert!(policy.wants_body(&head, &target));
            let _ = policy.open_body(&body, &head, &target, &scene);
            if let Ok((sent, _)) = policy.judge_body(&body, &head, &target, &scene) {
                assert!(!shows(&sent.unwrap_or(body)) || path == "/fhir");
            }
        }
    }
}

/// A number that a detector finds wherever it stands between slashes.
const CANARY: &str = "512-34-5678";

/// The actions that let nothing through.
const HIDING: [Action; 2] = [Action::Mask, Action::Reject];

fn planted(bytes: &[u8]) -> Vec<u8> {
    let (head, tail) = match bytes.iter().position(|byte| *byte == 0) {
        Some(cut) => (&bytes[..cut], &bytes[cut + 1..]),
        None => (bytes, &b""[..]),
    };
    [head, b"/", CANARY.as_bytes(), b"/", tail].concat()
}

/// Whether the number is in what goes on, were it decoded over and over.
fn shows(bytes: &[u8]) -> bool {
    let mut text = bytes.to_vec();
    for _ in 0..8 {
        let mut next = Vec::new();
        let mut rest = text.as_slice();
        while let Some((byte, tail)) = rest.split_first() {
            let digits = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
            let code = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
            match code {
                Some(code) if *byte == b'%' => {
                    next.push(code);
                    rest = &tail[2..];
                }
                _ => {
                    next.push(*byte);
                    rest = tail;
                }
            }
        }
        text = next;
    }
    text.windows(CANARY.len()).any(|window| window == CANARY.as_bytes())
}

/// A policy that does this to everything.
fn phi(action: Action) -> &'static PhiPolicy {
    thread_local! {
        static POLICIES: [&'static PhiPolicy; 2] = HIDING.map(|action| {
            let entry = |name: &str| DetectEntry { name: name.to_owned(), pattern: None, action: None, except: Vec::new() };
            let rules = Rules {
                preset: Some(Preset::FhirR4),
                on_query: action,
                on_path: Some(action),
                detect: ["ssn", "email", "phone", "mrn"].map(entry).to_vec(),
                on_detect: action,
                on_body: action,
                ..Rules::default()
            };
            let policy = PhiPolicy::new(rules, Secrets::default()).unwrap_or_else(|why| panic!("{why}"));
            &*Box::leak(Box::new(policy))
        });
    }
    let index = usize::from(action != Action::Mask);
    POLICIES.with(|policies| policies[index])
}

fn policy(keys: KeySet) -> TokenPolicy {
    let issuer = Issuer {
        alias: "idp".to_owned(),
        issuer: "https://idp.example".to_owned(),
        audiences: vec!["api".to_owned()],
        algorithms: Algorithm::ALL.into_iter().filter(|each| !each.is_symmetric()).collect(),
        keys: keys.into(),
        max_lifetime: None,
        only_at_jwt: false,
        claims: scrim_policy::token::ClaimPaths::default(),
        leeway: 30,
    };
    TokenPolicy::new(vec![issuer]).unwrap_or_else(|why| panic!("{why}"))
}

/// The public keys of the example, whose private keys sign nothing with this issuer and audience.
const KEYS: &[u8] = include_bytes!("../../../examples/fhir-gateway/jwks.json");

/// A name and a text (cut at NUL), in a target: whatever every recogniser and a pattern make of it, what goes on can be read again. The quick look overlooks nothing, and a policy that looks for more lets no more through.
pub fn detect(bytes: &[u8]) {
    thread_local! {
        static POLICIES: Vec<PhiPolicy> = [&Detector::ALL[..], &Detector::ALL[..4], &[]].into_iter().map(looking_for).collect();
    }
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let (Some(name), Some(text)) = (parts.next(), parts.next()) else {
        return;
    };
    let mut encoded = b"/x/".to_vec();
    for (part, after) in [
        (name, &b"/"[..]),
        (text, b"?"),
        (name, b"="),
        (text, b"&q="),
        (text, b""),
    ] {
        for byte in part {
            // Escapes stand for more bytes than one: what is found is cut out where it stood.
            if byte.is_ascii_alphanumeric() {
                encoded.push(*byte);
            } else {
                encoded.extend(format!("%{byte:02x}").bytes());
            }
        }
        encoded.extend(after);
    }
    let plain = [b"/x/", name, b"?", name, b"=", text].concat();
    // One escape, and there is no quick look.
    let escaped = [b"/%78/", name, b"?", name, b"=", text].concat();
    POLICIES.with(|policies| {
        if let (Ok(plain), Ok(escaped)) = (Target::parse(&plain), Target::parse(&escaped)) {
            for policy in policies {
                let [quick, slow] = [&plain, &escaped].map(|target| policy.judge(target, Some(2026)));
                assert_eq!(quick.counts, slow.counts);
                assert_eq!(quick.log_safe, slow.log_safe);
            }
        }
        for raw in [bytes, &plain, &encoded] {
            let Ok(target) = Target::parse(raw) else { continue };
            let mut detected = Vec::new();
            for policy in policies {
                let judgement = policy.judge(&target, Some(2026));
                assert!(judgement.log_safe.is_ascii());
                detected.push(judgement.counts.detected);
                let Outcome::Rewrite(sent) = judgement.outcome else {
                    continue;
                };
                assert!(Target::parse(&sent).is_ok());
            }
            // One that looks for nothing acts on nothing; one that looks for all misses nothing that four find.
            assert_eq!(detected.last(), Some(&0));
            assert!(detected[0] > 0 || detected[1] == 0);
        }
    });
}

fn looking_for(detectors: &[Detector]) -> PhiPolicy {
    let entry = |name: &str, pattern: Option<&str>| DetectEntry {
        name: name.to_owned(),
        pattern: pattern.map(str::to_owned),
        action: None,
        except: Vec::new(),
    };
    let mut detect: Vec<_> = detectors.iter().map(|detector| entry(detector.code(), None)).collect();
    if !detect.is_empty() {
        detect.push(entry("chart", Some(r"\bCH-?[0-9]{4,6}\b")));
    }
    let rules = Rules {
        detect,
        on_detect: Action::Mask,
        ..Rules::default()
    };
    PhiPolicy::new(rules, Secrets::default()).unwrap_or_else(|why| panic!("{why}"))
}
