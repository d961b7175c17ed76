//! What each fuzz target does with its bytes, over the public API alone. Whatever comes in, nothing may panic, and what is said here must hold.
//!
//! `filters/policy/tests/fuzz.rs` runs the same functions in every `cargo test`, so that they keep compiling and holding.
#![allow(dead_code, reason = "each target uses one of them")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use scrim_policy::cache_control::directives::{Directives, Private};
use scrim_policy::cache_control::structured::dictionary;
use scrim_policy::cache_control::{CacheControl, overrides};
use scrim_policy::chain::ALL;
use scrim_policy::compile::Compiled;
use scrim_policy::document::{Node, Problems};
use scrim_policy::head::{RequestHead, ResponseHead};
use scrim_policy::policy_file::{self, Class};
use scrim_policy::scope::{Need, Requirement, ScopeSet};
use scrim_policy::token::dpop::{self, Claim, ReplayCache};
use scrim_policy::token::{Algorithm, Issuer, KeySet, TokenCache, TokenPolicy};

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
