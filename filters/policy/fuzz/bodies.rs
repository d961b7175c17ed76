//! What each fuzz target does with its bytes, over the public API alone. Whatever comes in, nothing may panic, and what is said here must hold.
//!
//! `filters/policy/tests/fuzz.rs` runs the same functions in every `cargo test`, so that they keep compiling and holding.
#![allow(dead_code, reason = "each target uses one of them")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use scrim_policy::chain::ALL;
use scrim_policy::compile::Compiled;
use scrim_policy::document::{Node, Problems};
use scrim_policy::phi::{Action, DetectEntry, Detector, Outcome, PhiPolicy, Rules, Secrets};
use scrim_policy::scope::{Need, Requirement, ScopeSet};
use scrim_policy::token::dpop::{self, Claim, ReplayCache};
use scrim_policy::token::{Algorithm, Issuer, KeySet, TokenCache, TokenPolicy};
use scrim_policy::url::Target;

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
    PhiPolicy::new(rules, Secrets::default()).expect("the rules are good")
}
