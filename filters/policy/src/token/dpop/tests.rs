//! Tests of DPoP proofs: one for each rule, the examples of RFC 9449, 7638 and 8037, and what holds for all.

use proptest::prelude::*;

use super::super::fixtures::*;
use super::super::testing::*;
use super::*;

const NOW: u64 = 1_800_000_000;
const WINDOW: u64 = 60;
const TOKEN: &[u8] = b"an.access.token";
const URL: &str = "https://fhir.example/Patient/7";

fn ec_jwk() -> String {
    format!(r#"{{"kty":"EC","crv":"P-256","x":"{EC_X}","y":"{EC_Y}"}}"#)
}

fn jkt_of(jwk: &str) -> String {
    let jwk = jws::parse_json(jwk.as_bytes()).ok().unwrap();
    URL_SAFE_NO_PAD.encode(thumbprint(&jwk).unwrap())
}

fn header_with(jwk: &str) -> String {
    format!(r#"{{"typ":"dpop+jwt","alg":"ES256","jwk":{jwk}}}"#)
}

fn header() -> String {
    header_with(&ec_jwk())
}

fn claims() -> String {
    let ath = URL_SAFE_NO_PAD.encode(Sha256::digest(TOKEN));
    format!(r#"{{"jti":"id-1","htm":"GET","htu":"{URL}","iat":{NOW},"ath":"{ath}"}}"#)
}

fn cache() -> ReplayCache {
    ReplayCache::new(16, WINDOW)
}

fn check(proof: &str) -> Result<(), DpopError> {
    let jkt = jkt_of(&ec_jwk());
    let claim = Claim {
        method: b"GET",
        url: URL,
        access_token: TOKEN,
        jkt: &jkt,
    };
    verify(proof.as_bytes(), claim, NOW, None, &mut cache())
}

fn with(header: &str, claims: &str) -> Result<(), DpopError> {
    check(&EC_SIGNER.token(header, claims))
}

fn claims_fault(old: &str, new: &str) -> Option<DpopError> {
    let changed = claims().replace(old, new);
    assert_ne!(changed, claims());
    with(&header(), &changed).err()
}

#[test]
fn the_example_of_rfc_9449_passes() {
    // Section 7.1, figure 12; the thumbprint is from section 6.1.
    let proof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    let claim = Claim {
        method: b"GET",
        url: "https://resource.example.org/protectedresource",
        access_token: b"Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU",
        jkt: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
    };
    for (host, by_host) in [(Some(&GuestAsHost::default()), 1), (None, 0)] {
        let mut replay = cache();
        let host = host.map(|host| host as &dyn HostVerifier);
        assert_eq!(
            verify(proof.as_bytes(), claim, 1_562_262_618, host, &mut replay),
            Ok(())
        );
        let counts = replay.verification_stats();
        assert_eq!((counts.host, counts.guest), (by_host, 1 - by_host));
    }
}

#[test]
fn thumbprints_are_those_of_the_rfcs() {
    // RFC 7638 section 3.1, RFC 8037 appendix A.3.
    assert_eq!(
        jkt_of(
            r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#
        ),
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    );
    assert_eq!(
        jkt_of(r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#),
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    );
}

#[test]
fn a_good_proof_passes_by_every_algorithm_with_public_keys() {
    assert_eq!(with(&header(), &claims()), Ok(()));
    let rsa = format!(r#"{{"kty":"RSA","n":"{RSA_N}","e":"AQAB"}}"#);
    let p384 = format!(r#"{{"kty":"EC","crv":"P-384","x":"{P384_X}","y":"{P384_Y}"}}"#);
    let ed = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{ED_X}"}}"#);
    for algorithm in Algorithm::ALL.into_iter().filter(|each| !each.is_symmetric()) {
        let (signer, jwk) = match algorithm {
            Algorithm::Es256 => (EC_SIGNER, &ec_jwk()),
            Algorithm::Es384 => (P384_SIGNER, &p384),
            Algorithm::EdDsa => (ED_SIGNER, &ed),
            _ => (RSA_SIGNER, &rsa),
        };
        let header = format!(r#"{{"typ":"dpop+jwt","alg":"{}","jwk":{jwk}}}"#, algorithm.name());
        let proof = signer.with(algorithm).token(&header, &claims());
        let jkt = jkt_of(jwk);
        let claim = Claim {
            method: b"GET",
            url: URL,
            access_token: TOKEN,
            jkt: &jkt,
        };
        assert_eq!(
            verify(proof.as_bytes(), claim, NOW, None, &mut cache()),
            Ok(()),
            "{algorithm:?}"
        );
    }
}

#[test]
fn rule_1_form() {
    let proof = EC_SIGNER.token(&header(), &claims());
    for broken in [
        String::new(),
        "..".to_owned(),
        format!("{proof}."),
        format!("{proof}="),
        format!(" {proof}"),
    ] {
        assert_eq!(check(&broken), Err(DpopError::Malformed), "{broken}");
    }
    assert_eq!(check(&"A".repeat(MAX_PROOF_BYTES + 1)), Err(DpopError::TooLarge));
    assert_eq!(with("[]", &claims()), Err(DpopError::Malformed));
    assert_eq!(with(&header(), "1"), Err(DpopError::Malformed));
    assert_eq!(
        claims_fault(r#""htm":"GET""#, r#""htm":"GET","htm":"GET""#),
        Some(DpopError::DuplicateName)
    );
    let deep = format!(r#""x":{}{},"htm""#, "[".repeat(20), "]".repeat(20));
    assert_eq!(claims_fault(r#""htm""#, &deep), Some(DpopError::TooLarge));
}

#[test]
fn rule_2_header() {
    for name in ["crit", "b64", "jku", "x5u", "x5c", "enc", "zip", "cty"] {
        let header = header().replace(r#""typ""#, &format!(r#""{name}":null,"typ""#));
        assert_eq!(with(&header, &claims()), Err(DpopError::Header), "{name}");
    }
    for (typ, expected) in [
        ("\"DPoP+JWT\"", Ok(())),
        ("\"application/dpop+jwt\"", Ok(())),
        ("\"JWT\"", Err(DpopError::Type)),
        ("\"at+jwt\"", Err(DpopError::Type)),
        ("null", Err(DpopError::Type)),
    ] {
        let header = header().replace("\"dpop+jwt\"", typ);
        assert_eq!(with(&header, &claims()), expected, "{typ}");
    }
    assert_eq!(
        with(&header().replace(r#""typ":"dpop+jwt","#, ""), &claims()),
        Err(DpopError::Type)
    );
}

#[test]
fn rule_3_algorithm() {
    for alg in [
        "\"none\"",
        "\"HS256\"",
        "\"HS512\"",
        "\"ES512\"",
        "\"es256\"",
        "null",
        "1",
    ] {
        let header = header().replace("\"ES256\"", alg);
        assert_eq!(with(&header, &claims()), Err(DpopError::Algorithm), "{alg}");
    }
    assert_eq!(
        with(&header().replace(r#""alg":"ES256","#, ""), &claims()),
        Err(DpopError::Algorithm)
    );
}

#[test]
fn rule_4_key() {
    let ec = |more: &str| ec_jwk().replace('}', &format!("{more}}}"));
    for (jwk, expected) in [
        ("null".to_owned(), DpopError::Key),
        ("{}".to_owned(), DpopError::Key),
        (format!("[{}]", ec_jwk()), DpopError::Key),
        (ec(r#","use":"enc""#), DpopError::Key),
        (ec(r#","alg":"ES384""#), DpopError::Key),
        (ec_jwk().replace(EC_Y, EC_X), DpopError::Key),
        (format!(r#"{{"kty":"RSA","n":"{RSA_N}","e":"AQAB"}}"#), DpopError::Key),
        (ec(r#","d":"AQ""#), DpopError::PrivateKey),
        (r#"{"kty":"oct","k":"AAAA"}"#.to_owned(), DpopError::PrivateKey),
    ] {
        assert_eq!(with(&header_with(&jwk), &claims()), Err(expected), "{jwk}");
    }
    assert_eq!(
        with(r#"{"typ":"dpop+jwt","alg":"ES256"}"#, &claims()),
        Err(DpopError::Key)
    );
    assert_eq!(with(&header_with(&ec(r#","kid":"x""#)), &claims()), Ok(()));
}

#[test]
fn rule_5_thumbprint() {
    // A proof that is good in itself, by a key of somebody else.
    let other = format!(r#"{{"kty":"EC","crv":"P-256","x":"{EC_OTHER_X}","y":"{EC_OTHER_Y}"}}"#);
    let proof = EC_OTHER_SIGNER.token(&header_with(&other), &claims());
    assert_eq!(check(&proof), Err(DpopError::Thumbprint));
    for jkt in ["", "x", &jkt_of(&other), &format!("{}=", jkt_of(&ec_jwk()))] {
        let claim = Claim {
            method: b"GET",
            url: URL,
            access_token: TOKEN,
            jkt,
        };
        let proof = EC_SIGNER.token(&header(), &claims());
        assert_eq!(
            verify(proof.as_bytes(), claim, NOW, None, &mut cache()),
            Err(DpopError::Thumbprint)
        );
    }
}

#[test]
fn rules_6_to_10_claims() {
    for (old, new, expected) in [
        (r#""htm":"GET""#, r#""htm":"get""#, DpopError::Method),
        (r#""htm":"GET""#, r#""htm":"POST""#, DpopError::Method),
        (r#""htm":"GET""#, r#""htm":1"#, DpopError::Claims),
        (r#""htm":"GET","#, "", DpopError::Claims),
        ("/Patient/7", "/Patient/8", DpopError::Url),
        ("/Patient/7", "/patient/7", DpopError::Url),
        ("/Patient/7", "/Patient/7/", DpopError::Url),
        ("https://", "http://", DpopError::Url),
        ("fhir.example", "fhir.example.org", DpopError::Url),
        ("fhir.example", "fhir.example:8443", DpopError::Url),
        ("fhir.example", "user@fhir.example", DpopError::Url),
        (r#""htu":"https"#, r#""htu":"x"#, DpopError::Url),
        (r#""htu":"https://fhir.example/Patient/7","#, "", DpopError::Claims),
        (r#""iat":1800000000"#, r#""iat":"1800000000""#, DpopError::Claims),
        (r#""iat":1800000000,"#, "", DpopError::Claims),
        (r#""ath":""#, r#""ath":"A"#, DpopError::TokenHash),
        (r#""ath""#, r#""x""#, DpopError::Claims),
        (r#""jti":"id-1""#, r#""jti":"""#, DpopError::Claims),
        (r#""jti":"id-1""#, r#""jti":7"#, DpopError::Claims),
        (r#""jti":"id-1","#, "", DpopError::Claims),
    ] {
        assert_eq!(claims_fault(old, new), Some(expected), "{new}");
    }
    let long = format!(r#""jti":"{}""#, "x".repeat(MAX_JTI_BYTES + 1));
    assert_eq!(claims_fault(r#""jti":"id-1""#, &long), Some(DpopError::Claims));
    // Query and fragment do not matter, nor does spelling.
    for (old, new) in [
        ("/Patient/7", "/Patient/7?name=x#y"),
        ("https://fhir.example", "HTTPS://FHIR.example:443"),
        ("/Patient/7", "/x/../%50atient/./7"),
    ] {
        assert_eq!(claims_fault(old, new), None, "{new}");
    }
}

#[test]
fn rule_8_time() {
    let at = |iat: &str, now: u64| {
        let proof = EC_SIGNER.token(&header(), &claims().replace("1800000000", iat));
        let jkt = jkt_of(&ec_jwk());
        let claim = Claim {
            method: b"GET",
            url: URL,
            access_token: TOKEN,
            jkt: &jkt,
        };
        verify(proof.as_bytes(), claim, now, None, &mut cache()).err()
    };
    assert_eq!(at("1800000000", NOW + WINDOW), None);
    assert_eq!(at("1800000000", NOW + WINDOW + 1), Some(DpopError::Time));
    assert_eq!(at("1800000000", NOW - WINDOW), None);
    assert_eq!(at("1800000000", NOW - WINDOW - 1), Some(DpopError::Time));
    assert_eq!(at("1800000000.5", NOW + WINDOW), None);
    assert_eq!(at("1800000000.5", NOW + WINDOW + 1), Some(DpopError::Time));
    assert_eq!(at("1800000000.5", NOW - WINDOW), Some(DpopError::Time));
    assert_eq!(at("1800000000000", NOW), Some(DpopError::Claims));
    assert_eq!(at("0", 0), None);
}

#[test]
fn rule_9_another_access_token() {
    let jkt = jkt_of(&ec_jwk());
    let claim = Claim {
        method: b"GET",
        url: URL,
        access_token: b"another.access.token",
        jkt: &jkt,
    };
    let proof = EC_SIGNER.token(&header(), &claims());
    assert_eq!(
        verify(proof.as_bytes(), claim, NOW, None, &mut cache()),
        Err(DpopError::TokenHash)
    );
}

#[test]
fn rule_11_signature() {
    for signer in [EC_OTHER_SIGNER, ED_SIGNER, RSA_SIGNER] {
        assert_eq!(check(&signer.token(&header(), &claims())), Err(DpopError::Signature));
    }
}

/// The verdict on a good proof with this `jti`, issued at and seen at these seconds.
fn sent(replay: &mut ReplayCache, id: &str, issued_at: u64, now: u64) -> Result<(), DpopError> {
    let claims = claims()
        .replace("id-1", id)
        .replace("1800000000", &issued_at.to_string());
    let jkt = jkt_of(&ec_jwk());
    let claim = Claim {
        method: b"GET",
        url: URL,
        access_token: TOKEN,
        jkt: &jkt,
    };
    verify(EC_SIGNER.token(&header(), &claims).as_bytes(), claim, now, None, replay)
}

#[test]
fn rule_12_a_proof_counts_once() {
    let mut replay = cache();
    assert_eq!(sent(&mut replay, "a", NOW, NOW), Ok(()));
    for later in [0, 1, WINDOW] {
        assert_eq!(sent(&mut replay, "a", NOW, NOW + later), Err(DpopError::Replay));
    }
    // Nor does another proof of the same name.
    assert_eq!(sent(&mut replay, "a", NOW + 1, NOW + 1), Err(DpopError::Replay));
    assert_eq!(sent(&mut replay, "b", NOW, NOW), Ok(()));
    assert_eq!(sent(&mut replay, "a", NOW, NOW + WINDOW + 1), Err(DpopError::Time));
    // After its window the name is free, and the old proof is too old.
    assert_eq!(sent(&mut replay, "a", NOW + WINDOW + 1, NOW + WINDOW + 1), Ok(()));
    assert_eq!(replay.len(), 1);
}

#[test]
fn rule_12_names_are_each_key_s_own() {
    let mut replay = cache();
    assert_eq!(sent(&mut replay, "id-1", NOW, NOW), Ok(()));
    let other = format!(r#"{{"kty":"EC","crv":"P-256","x":"{EC_OTHER_X}","y":"{EC_OTHER_Y}"}}"#);
    let jkt = jkt_of(&other);
    let claim = Claim {
        method: b"GET",
        url: URL,
        access_token: TOKEN,
        jkt: &jkt,
    };
    // Otherwise one client could use up the names of another.
    let proof = EC_OTHER_SIGNER.token(&header_with(&other), &claims());
    assert_eq!(verify(proof.as_bytes(), claim, NOW, None, &mut replay), Ok(()));
    assert_eq!(
        verify(proof.as_bytes(), claim, NOW, None, &mut replay),
        Err(DpopError::Replay)
    );
}

#[test]
fn a_refused_proof_takes_no_room() {
    let mut replay = cache();
    let jkt = jkt_of(&ec_jwk());
    let claim = Claim {
        method: b"GET",
        url: URL,
        access_token: TOKEN,
        jkt: &jkt,
    };
    let forged = EC_OTHER_SIGNER.token(&header(), &claims());
    assert!(verify(forged.as_bytes(), claim, NOW, None, &mut replay).is_err());
    assert!(replay.is_empty());
    assert_eq!(sent(&mut replay, "id-1", NOW, NOW), Ok(()));
}

#[test]
fn a_full_cache_refuses_until_there_is_room() {
    let mut replay = ReplayCache::new(3, WINDOW);
    for (id, issued_at) in [("a", NOW), ("b", NOW + 10), ("c", NOW - 10)] {
        assert_eq!(sent(&mut replay, id, issued_at, NOW), Ok(()));
    }
    assert_eq!(sent(&mut replay, "d", NOW, NOW), Err(DpopError::ReplayCacheFull));
    // What came before is still known as such.
    assert_eq!(sent(&mut replay, "a", NOW, NOW), Err(DpopError::Replay));
    assert_eq!(
        sent(&mut replay, "d", NOW, NOW + WINDOW - 10),
        Err(DpopError::ReplayCacheFull)
    );
    assert_eq!(
        sent(&mut replay, "d", NOW, NOW + WINDOW - 9),
        Ok(()),
        "`c` is out of its window"
    );
    assert_eq!(replay.len(), 3);
    assert_eq!(
        sent(&mut ReplayCache::new(0, WINDOW), "a", NOW, NOW),
        Err(DpopError::ReplayCacheFull)
    );
}

#[test]
fn a_clock_that_goes_back_lets_nothing_in_again() {
    let mut replay = cache();
    assert_eq!(sent(&mut replay, "a", NOW, NOW), Ok(()));
    // `a` is forgotten here.
    assert_eq!(sent(&mut replay, "b", NOW + 100, NOW + 100), Ok(()));
    assert_eq!(sent(&mut replay, "a", NOW, NOW), Err(DpopError::Time));
    assert_eq!(sent(&mut replay, "b", NOW + 100, NOW + 60), Err(DpopError::Replay));
}

#[test]
fn urls_have_one_normal_form() {
    for (url, normal) in [
        ("https://a", Some("https://a/")),
        ("https://A.example:443/", Some("https://a.example/")),
        ("http://a:80/b", Some("http://a/b")),
        ("http://a:443/b", Some("http://a:443/b")),
        ("https://a:/b", Some("https://a/b")),
        ("https://[::1]:8443/x", Some("https://[::1]:8443/x")),
        ("https://[::1]/x", Some("https://[::1]/x")),
        ("https://a/%7euser/%c3%a9/%2f", Some("https://a/~user/%C3%A9/%2F")),
        ("https://a/b/c/./../../g", Some("https://a/g")),
        ("https://a/b/%2e%2E/c", Some("https://a/c")),
        ("https://a/../..", Some("https://a/")),
        ("https://a/b/..", Some("https://a/")),
        ("https://a/b/.", Some("https://a/b/")),
        ("https://a//b", Some("https://a//b")),
        ("https://a?b/c", Some("https://a/")),
        ("https://a/b#c?d", Some("https://a/b")),
        ("https:/a", None),
        ("https:///b", None),
        ("ftp://a/", None),
        ("//a/b", None),
        ("/b", None),
        ("", None),
        ("https://u:p@a/", None),
        ("https://a b/", None),
        ("https://a:8x/", None),
        ("https://[::1]x/", None),
        ("https://[/", None),
        ("https://]/", None),
        ("https://[::1/", None),
        ("https://a/%zz", None),
        ("https://a/%2", None),
        ("https://a/\u{e9}", None),
        ("https://a/b\\c", None),
        ("https://a/b c", None),
        ("https://%61/", None),
    ] {
        assert_eq!(normalise(url).as_deref(), normal, "{url}");
    }
}

#[test]
fn codes_are_stable_and_distinct() {
    let codes: BTreeSet<_> = DpopError::ALL.map(DpopError::code).into();
    assert_eq!(codes.len(), DpopError::ALL.len());
    for error in DpopError::ALL {
        assert!(error.code().starts_with("dpop_"));
        assert!(
            !error.to_string().ends_with('.') && error.to_string().contains("; "),
            "{error}"
        );
    }
}

#[test]
fn every_changed_byte_is_refused() {
    let proof = EC_SIGNER.token(&header(), &claims()).into_bytes();
    for place in 0..proof.len() {
        for bit in [1, 2, 8, 64] {
            let mut broken = proof.clone();
            broken[place] ^= bit;
            if let Ok(broken) = std::str::from_utf8(&broken) {
                assert!(check(broken).is_err(), "{place} {bit}");
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), header in "\\PC{0,40}", payload in "\\PC{0,40}") {
        let claim = Claim { method: b"GET", url: URL, access_token: TOKEN, jkt: "x" };
        prop_assert!(verify(&bytes, claim, NOW, None, &mut cache()).is_err());
        prop_assert!(with(&header, &payload).is_err());
    }

    #[test]
    fn normal_forms_are_stable(url in "https?://[a-zA-Z.:\\[\\]@%]{0,8}[/a-cA-C.%25e~?#é]{0,20}") {
        if let Some(normal) = normalise(&url) {
            let again = normalise(&normal);
            prop_assert_eq!(again.as_ref(), Some(&normal));
            let path = normal.splitn(4, '/').nth(3).map(|path| format!("/{path}/")).unwrap_or_default();
            prop_assert!(!path.contains(['?', '#']) && !path.contains("/../") && !path.contains("/./"));
        }
    }

    /// However proofs come, none is taken twice, and no more are held than allowed.
    #[test]
    fn no_name_passes_twice_within_its_window(steps in prop::collection::vec((0..6_u64, 0..30_u64, 0..40_u64), 1..60)) {
        let mut replay = ReplayCache::new(4, WINDOW);
        let (mut now, mut taken) = (NOW, BTreeMap::new());
        for (id, ago, later) in steps {
            now += later;
            let verdict = replay.remember(&[7; 32], &id.to_string(), now - ago + WINDOW, now);
            let live = taken.get(&id).is_some_and(|until| *until >= now);
            if live {
                prop_assert_eq!(verdict, Err(DpopError::Replay));
            } else if verdict == Ok(()) {
                taken.insert(id, now - ago + WINDOW);
            } else {
                prop_assert_eq!(verdict, Err(DpopError::ReplayCacheFull));
                prop_assert_eq!(replay.len(), 4);
            }
            prop_assert!(replay.len() <= 4);
            prop_assert_eq!(replay.len(), replay.by_end.len());
        }
    }
}
