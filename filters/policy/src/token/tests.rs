//! Tests of whole tokens: one for each rule, and what holds for all.

use proptest::prelude::*;

use super::fixtures::*;
use super::testing::*;
use super::*;
use crate::scope::{Need, Requirement};

const NOW: u64 = 1_800_000_000;
const EHR: usize = 0;
const LAB: usize = 1;

const RS: &str = r#"{"alg":"RS256","typ":"at+jwt","kid":"rsa"}"#;
const ES: &str = r#"{"alg":"ES256","typ":"JWT","kid":"ec"}"#;
const ED: &str = r#"{"alg":"EdDSA","kid":"ed"}"#;
const HS: &str = r#"{"alg":"HS256","kid":"any"}"#;

/// The issuer `ehr` has one key of each kind; `lab` has others, under the same names, and no RS256.
fn policy() -> TokenPolicy {
    let ehr = format!(
        r#"{{"keys":[{{"kty":"RSA","n":"{RSA_N}","e":"AQAB","kid":"rsa"}},
        {{"kty":"EC","crv":"P-384","x":"{P384_X}","y":"{P384_Y}","kid":"p384"}},
        {{"kty":"EC","crv":"P-256","x":"{EC_X}","y":"{EC_Y}","kid":"ec"}},{{"kty":"OKP","crv":"Ed25519","x":"{ED_X}","kid":"ed"}}]}}"#
    );
    let lab = format!(
        r#"{{"keys":[{{"kty":"RSA","n":"{RSA_OTHER_N}","e":"AQAB","kid":"rsa"}},
        {{"kty":"EC","crv":"P-256","x":"{EC_OTHER_X}","y":"{EC_OTHER_Y}","kid":"ec"}}]}}"#
    );
    let issuer = |alias: &str, keys: &str, algorithms: &[Algorithm]| Issuer {
        alias: alias.to_owned(),
        issuer: format!("https://{alias}.example"),
        audiences: vec!["https://fhir.example".to_owned(), "api".to_owned()],
        algorithms: algorithms.to_vec(),
        keys: KeySet::parse(keys.as_bytes()).ok().unwrap().into(),
        leeway: 30,
        max_lifetime: None,
        only_at_jwt: false,
        claims: ClaimPaths::default(),
    };
    let all = Algorithm::ALL.into_iter().filter(|algorithm| !algorithm.is_symmetric());
    TokenPolicy::new(vec![
        issuer("ehr", &ehr, &all.collect::<Vec<_>>()),
        issuer("lab", &lab, &[Algorithm::Es256]),
    ])
    .ok()
    .unwrap()
}

/// Good claims, without the braces and with `more` at the end.
fn claims_with(more: &str) -> String {
    format!(
        r#"{{"iss":"https://ehr.example","aud":"api","exp":{},"scope":"user/Patient.rs"{more}}}"#,
        NOW + 60
    )
}

fn claims() -> String {
    claims_with("")
}

fn check_at(token: &str, now: u64) -> Result<Rc<Grant>, TokenError> {
    policy().verify(token.as_bytes(), &[EHR, LAB], now, &mut TokenCache::default(), None)
}

fn check(token: &str) -> Result<Rc<Grant>, TokenError> {
    check_at(token, NOW)
}

/// The verdict on a properly signed token with this header and these claims.
fn fault(header: &str, claims: &str) -> Option<TokenError> {
    check(&EC_SIGNER.token(header, claims)).err()
}

fn claims_fault(claims: &str) -> Option<TokenError> {
    fault(ES, claims)
}

#[test]
fn accepts_good_tokens_of_each_algorithm() {
    for (signer, header) in [(RSA_SIGNER, RS), (EC_SIGNER, ES), (ED_SIGNER, ED)] {
        let claims = claims_with(r#","sub":"s-1","client_id":"app","nbf":1,"iat":2.5,"jti":"x","scp":["a","b"]"#);
        let grant = check(&signer.token(header, &claims)).ok().unwrap();
        assert_eq!(grant.issuer(), EHR);
        assert_eq!(grant.subject().map(Private::expose), Some(&b"s-1"[..]));
        assert_eq!(grant.client().map(Private::expose), Some(&b"app"[..]));
        assert_eq!(
            (grant.expires_at(), grant.not_before(), grant.issued_at()),
            (NOW + 60, Some(1), Some(2))
        );
        assert_eq!((grant.scopes().len(), grant.verified_by()), (3, VerifiedBy::Guest));
    }
}

/// What signs for `ehr`, and the header that says so, by algorithm.
fn signers() -> Vec<(Algorithm, Signer, String)> {
    Algorithm::ALL
        .into_iter()
        .filter(|algorithm| !algorithm.is_symmetric())
        .map(|algorithm| {
            let (signer, kid) = match algorithm {
                Algorithm::Es256 => (EC_SIGNER, "ec"),
                Algorithm::Es384 => (P384_SIGNER, "p384"),
                Algorithm::EdDsa => (ED_SIGNER, "ed"),
                _ => (RSA_SIGNER, "rsa"),
            };
            let header = format!(r#"{{"alg":"{}","kid":"{kid}"}}"#, algorithm.name());
            (algorithm, signer.with(algorithm), header)
        })
        .collect()
}

/// The issuer `ehr`, with a shared secret of `length` bytes.
fn policy_with_secret(length: usize, algorithms: &[Algorithm]) -> Result<TokenPolicy, String> {
    use base64::Engine;
    let secret = base64::engine::general_purpose::STANDARD.decode(SECRET).unwrap();
    let mut issuer = policy().issuers()[EHR].clone();
    issuer.keys = KeySet::secret(&secret[..length])
        .map_err(|error| error.to_string())?
        .into();
    issuer.algorithms = algorithms.to_vec();
    TokenPolicy::new(vec![issuer])
}

#[test]
fn every_algorithm_verifies_what_it_signed_and_nothing_of_another() {
    for (algorithm, signer, header) in signers() {
        let token = signer.token(&header, &claims());
        assert!(check(&token).is_ok(), "{algorithm:?}");
        for (other, _, header) in signers() {
            if other != algorithm {
                // Signed by one algorithm, with a header that names another.
                let swapped = signer.token(&header, &claims());
                assert_eq!(
                    check(&swapped).err(),
                    Some(TokenError::Signature),
                    "{algorithm:?} as {other:?}"
                );
            }
        }
    }
}

#[test]
fn a_shared_secret_verifies_hmac_alone() {
    use Algorithm::{Hs256, Hs384, Hs512};
    let policy = policy_with_secret(64, &[Hs256, Hs384, Hs512]).unwrap();
    let verify = |token: &str| {
        let mut cache = TokenCache::default();
        let grant = policy.verify(token.as_bytes(), &[EHR], NOW, &mut cache, Some(&GuestAsHost::default()));
        (grant.map(|grant| grant.verified_by()), cache.verification_stats())
    };
    for algorithm in [Hs256, Hs384, Hs512] {
        for kid in ["", r#","kid":"any""#] {
            let header = format!(r#"{{"alg":"{}"{kid}}}"#, algorithm.name());
            let (by, counts) = verify(&SECRET_SIGNER.with(algorithm).token(&header, &claims()));
            assert_eq!(by, Ok(VerifiedBy::Guest));
            assert_eq!((counts.host, counts.guest), (0, 1));
        }
        for other in [Hs256, Hs384, Hs512] {
            if other != algorithm {
                let header = format!(r#"{{"alg":"{}"}}"#, other.name());
                let (by, _) = verify(&SECRET_SIGNER.with(algorithm).token(&header, &claims()));
                assert_eq!(by, Err(TokenError::Signature));
            }
        }
    }
    for (_, signer, header) in signers() {
        assert_eq!(verify(&signer.token(&header, &claims())).0, Err(TokenError::Algorithm));
    }
    let token = SECRET_SIGNER.token(HS, &claims());
    for (place, _) in token.match_indices(|each: char| each != '.') {
        let mut broken = token.clone().into_bytes();
        broken[place] ^= 1;
        assert!(verify(std::str::from_utf8(&broken).unwrap()).0.is_err(), "{place}");
    }
    // A signature that was cut short is another's, even where it is a prefix (RFC 2104 section 5 allows it, RFC 7518 does not).
    let short = &token[..token.len() - 4];
    assert!(verify(short).0.is_err());
}

#[test]
fn rule_5_secrets_and_public_keys_are_apart() {
    use Algorithm::{Hs256, Hs384, Hs512, Rs256};
    assert!(policy_with_secret(32, &[Hs256]).is_ok());
    for (length, algorithms, part) in [
        (31, &[Hs256][..], "fewer than 32 bytes"),
        (47, &[Hs256, Hs384], "too short for `HS384`"),
        (63, &[Hs512], "too short for `HS512`; make it 64"),
        (64, &[Hs256, Rs256], "issuer `ehr` lists `RS256`"),
    ] {
        let told = policy_with_secret(length, algorithms).err().unwrap();
        assert!(told.contains(part), "{told}");
    }
    let mut issuer = policy().issuers()[EHR].clone();
    issuer.algorithms.push(Hs256);
    let told = TokenPolicy::new(vec![issuer]).err().unwrap();
    assert!(
        told.contains("`HS256`, which must never be used with public keys"),
        "{told}"
    );
    // The old attack: HMAC with the public key as the secret (RFC 8725 section 2.1).
    for public in [RSA_SPKI, EC_SPKI] {
        let token = Signer::secret(public).token(r#"{"alg":"HS256","kid":"rsa"}"#, &claims());
        assert_eq!(check(&token).err(), Some(TokenError::Algorithm));
    }
}

#[test]
fn a_pss_signature_has_one_spelling() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    // `s + n` is the same number to RSA. Where it fits in as many bytes, it must be refused all the same (RFC 8017 section 5.2.2).
    let modulus = URL_SAFE_NO_PAD.decode(RSA_N).unwrap();
    let mut tried = 0;
    for (algorithm, signer, header) in signers().into_iter().take(6) {
        for id in 0..20 {
            let token = signer.token(&header, &claims_with(&format!(r#","jti":"{id}""#)));
            let (text, signature) = token.rsplit_once('.').unwrap();
            let mut sum = URL_SAFE_NO_PAD.decode(signature).unwrap();
            let mut carry = 0;
            for (digit, other) in sum.iter_mut().zip(&modulus).rev() {
                carry += u16::from(*digit) + u16::from(*other);
                *digit = carry as u8;
                carry >>= 8;
            }
            if carry == 0 {
                let twin = format!("{text}.{}", URL_SAFE_NO_PAD.encode(sum));
                assert_eq!(check(&twin).err(), Some(TokenError::Signature), "{algorithm:?}");
                tried += 1;
            }
        }
    }
    assert!(tried > 10, "{tried}");
}

#[test]
fn rule_1_size_and_segments() {
    let token = EC_SIGNER.token(ES, &claims());
    let policy = policy().with_max_token_bytes(token.len());
    let verify = |token: &str| {
        policy
            .verify(token.as_bytes(), &[EHR], NOW, &mut TokenCache::default(), None)
            .err()
    };
    assert_eq!(verify(&token), None);
    assert_eq!(verify(&format!("{token}A")), Some(TokenError::TooLarge));

    let [header, payload, signature]: [&str; 3] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    for broken in [
        String::new(),
        "..".to_owned(),
        format!("{header}.{payload}"),
        format!("{token}."),
        format!(".{token}"),
        format!("..{token}."),
        format!("{header}..{payload}.{signature}"),
        // A detached payload (RFC 7515 appendix F), and the five segments of an encrypted token (RFC 7516 section 7.1).
        format!("{header}..{signature}"),
        format!("{header}.{payload}.{signature}.{payload}.{signature}"),
        // The JSON forms (RFC 7515 section 7.2).
        format!(r#"{{"payload":"{payload}","protected":"{header}","signature":"{signature}"}}"#),
        format!(r#"{{"payload":"{payload}","signatures":[{{"protected":"{header}","signature":"{signature}"}}]}}"#),
        format!("\u{feff}{token}"),
        format!("{header}.{payload}.\u{0}{signature}"),
        format!("{token}="),
        format!("{token}=="),
        format!("{header}=.{payload}.{signature}"),
        format!("{token} "),
        format!(" {token}"),
        format!("{header}.{payload}\n.{signature}"),
        format!(
            "{header}.{payload}.{}",
            signature.replacen(|each: char| each.is_ascii_lowercase(), "+", 1)
        ),
        format!(
            "{header}.{payload}.{}",
            signature.replacen(|each: char| each.is_ascii_lowercase(), "%41", 1)
        ),
    ] {
        assert_eq!(check(&broken).err(), Some(TokenError::Malformed), "{broken}");
    }
    assert_eq!(
        check(&format!("{header}.{payload}.")).err(),
        Some(TokenError::Signature)
    );
}

#[test]
fn rule_1_base64url_is_canonical() {
    // 64 bytes leave four bits over in the last character; the sixteen spellings of them must not all be the token.
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let token = EC_SIGNER.token(ES, &claims()).into_bytes();
    let last = ALPHABET.iter().position(|each| each == token.last().unwrap()).unwrap();
    assert_eq!(last & 15, 0);
    for bits in 1..16 {
        let mut other = token.clone();
        *other.last_mut().unwrap() = ALPHABET[last | bits];
        assert_eq!(
            check(std::str::from_utf8(&other).unwrap()).err(),
            Some(TokenError::Malformed)
        );
    }
}

#[test]
fn rule_2_strict_json() {
    assert_eq!(
        fault(r#"{"alg":"none","alg":"ES256"}"#, &claims()),
        Some(TokenError::DuplicateName)
    );
    assert_eq!(
        claims_fault(&claims_with(r#","iss":"https://ehr.example""#)),
        Some(TokenError::DuplicateName)
    );
    assert_eq!(
        claims_fault(&claims_with(r#","\u0065xp":1"#)),
        Some(TokenError::DuplicateName)
    );
    assert_eq!(
        claims_fault(&claims_with(r#","x":{"a":1,"a":1}"#)),
        Some(TokenError::DuplicateName)
    );
    assert_eq!(claims_fault(&format!("[{}]", claims())), Some(TokenError::Malformed));
    assert_eq!(claims_fault(&format!("{} {{}}", claims())), Some(TokenError::Malformed));
    assert_eq!(fault("\"ES256\"", &claims()), Some(TokenError::Malformed));
    assert_eq!(fault(ES, ""), Some(TokenError::Malformed));
    assert_eq!(
        claims_fault(&claims_with(&format!(r#","x":{}{}"#, "[".repeat(15), "]".repeat(15)))),
        None
    );
    assert_eq!(
        claims_fault(&claims_with(&format!(r#","x":{}{}"#, "[".repeat(16), "]".repeat(16)))),
        Some(TokenError::TooLarge)
    );
    assert_eq!(
        claims_fault(&claims_with(&format!(r#","x":[{}1]"#, "1,".repeat(1020)))),
        Some(TokenError::TooLarge)
    );
}

#[test]
fn rule_3_no_extensions_and_no_keys_in_the_header() {
    for more in [
        r#""crit":[]"#,
        r#""crit":["exp"],"exp":1"#,
        r#""b64":false"#,
        r#""b64":true"#,
    ] {
        assert_eq!(
            fault(&format!(r#"{{"alg":"ES256","kid":"ec",{more}}}"#), &claims()),
            Some(TokenError::CriticalHeader),
            "{more}"
        );
    }
    for name in ["jku", "jwk", "x5u", "x5c"] {
        assert_eq!(
            fault(&format!(r#"{{"alg":"ES256","kid":"ec","{name}":null}}"#), &claims()),
            Some(TokenError::EmbeddedKey),
            "{name}"
        );
    }
    for more in [r#""x5t":"abc""#, r#""cty":"json""#, r#""cty":"application/fhir+json""#] {
        assert_eq!(
            fault(&format!(r#"{{"alg":"ES256","kid":"ec",{more}}}"#), &claims()),
            None,
            "{more}"
        );
    }
}

#[test]
fn rule_4_typ() {
    for typ in [
        "JWT",
        "jwt",
        "at+jwt",
        "AT+JWT",
        "application/at+jwt",
        "Application/JWT",
    ] {
        assert_eq!(
            fault(&format!(r#"{{"alg":"ES256","kid":"ec","typ":"{typ}"}}"#), &claims()),
            None,
            "{typ}"
        );
    }
    for typ in [
        "\"id+jwt\"",
        "\"dpop+jwt\"",
        "\"logout+jwt\"",
        "\"\"",
        "\"application/\"",
        "\"application/application/jwt\"",
        "\"JOSE\"",
        "null",
        "[\"JWT\"]",
    ] {
        assert_eq!(
            fault(&format!(r#"{{"alg":"ES256","kid":"ec","typ":{typ}}}"#), &claims()),
            Some(TokenError::TokenType),
            "{typ}"
        );
    }
    for more in [
        r#""cty":"JWT""#,
        r#""cty":"application/jwt""#,
        r#""cty":null"#,
        r#""cty":["x"]"#,
        r#""enc":"A128GCM""#,
        r#""zip":"DEF""#,
    ] {
        assert_eq!(
            fault(&format!(r#"{{"alg":"ES256","kid":"ec",{more}}}"#), &claims()),
            Some(TokenError::TokenType),
            "{more}"
        );
    }
}

#[test]
fn rule_5_algorithm() {
    for alg in [
        "\"none\"",
        "\"None\"",
        "\"HS256\"",
        "\"HS512\"",
        "\"es256\"",
        "\"ES384\"",
        "\"ES512\"",
        "\"ES256K\"",
        "\"Ed25519\"",
        "\"PS256\"",
        "\"\"",
        "null",
        "[\"ES256\"]",
    ] {
        assert_eq!(
            fault(&format!(r#"{{"alg":{alg},"kid":"ec"}}"#), &claims()),
            Some(TokenError::Algorithm),
            "{alg}"
        );
    }
    assert_eq!(fault(r#"{"kid":"ec"}"#, &claims()), Some(TokenError::Algorithm));
    // `none` in its own form, with an empty signature.
    let unsigned = ED_SIGNER.token(r#"{"alg":"none"}"#, &claims());
    let unsigned = &unsigned[..=unsigned.rfind('.').unwrap()];
    assert_eq!(check(unsigned).err(), Some(TokenError::Algorithm));
    // `lab` has an RSA key and does not list RS256.
    let lab = claims().replace("ehr", "lab");
    assert_eq!(
        check(&RSA_OTHER_SIGNER.token(RS, &lab)).err(),
        Some(TokenError::Algorithm)
    );
    assert_eq!(check(&EC_OTHER_SIGNER.token(ES, &lab)).err(), None);
}

#[test]
fn rule_6_issuer() {
    let ehr = claims();
    for other in [
        "https://ehr.example/",
        "https://EHR.example",
        "https://ehr.exampl",
        "https://other.example",
        "",
    ] {
        assert_eq!(
            claims_fault(&ehr.replace("https://ehr.example", other)),
            Some(TokenError::Issuer),
            "{other}"
        );
    }
    assert_eq!(
        claims_fault(&ehr.replace(r#""https://ehr.example""#, r#"["https://ehr.example"]"#)),
        Some(TokenError::Issuer)
    );
    assert_eq!(
        claims_fault(&ehr.replace(r#""iss""#, r#""ISS""#)),
        Some(TokenError::Issuer)
    );
    // Keys of one issuer do not speak for another, though the `kid` is the same.
    assert_eq!(claims_fault(&ehr.replace("ehr", "lab")), Some(TokenError::Signature));
    // The route allows one of the two, on a cold cache and on a warm one.
    let (policy, mut cache) = (policy(), TokenCache::default());
    let token = EC_SIGNER.token(ES, &ehr);
    let mut verify = |allowed: &[usize]| policy.verify(token.as_bytes(), allowed, NOW, &mut cache, None).err();
    assert_eq!(verify(&[LAB]), Some(TokenError::Issuer));
    assert_eq!(verify(&[]), Some(TokenError::Issuer));
    assert_eq!(verify(&[7]), Some(TokenError::Issuer));
    assert_eq!(verify(&[EHR]), None);
    assert_eq!(verify(&[LAB]), Some(TokenError::Issuer));
    assert_eq!(verify(&[]), Some(TokenError::Issuer));
}

#[test]
fn rule_7_kid() {
    assert_eq!(
        fault(r#"{"alg":"ES256","kid":"ec2"}"#, &claims()),
        Some(TokenError::UnknownKey)
    );
    assert_eq!(
        fault(r#"{"alg":"ES256","kid":""}"#, &claims()),
        Some(TokenError::UnknownKey)
    );
    assert_eq!(
        fault(r#"{"alg":"ES256","kid":"rsa"}"#, &claims()),
        Some(TokenError::Algorithm)
    );
    assert_eq!(
        fault(r#"{"alg":"ES256","kid":1}"#, &claims()),
        Some(TokenError::Malformed)
    );
    assert_eq!(fault(r#"{"alg":"ES256"}"#, &claims()), None);
    let with_kid = |length: usize| format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "k".repeat(length));
    assert_eq!(fault(&with_kid(MAX_KID_BYTES), &claims()), Some(TokenError::UnknownKey));
    assert_eq!(
        fault(&with_kid(MAX_KID_BYTES + 1), &claims()),
        Some(TokenError::TooLarge)
    );
}

#[test]
fn rule_8_signature() {
    for (signer, header) in [
        (RSA_OTHER_SIGNER, RS),
        (EC_OTHER_SIGNER, ES),
        (EC_SIGNER, ED),
        (ED_SIGNER, ES),
        (EC_SIGNER, RS),
    ] {
        assert_eq!(
            check(&signer.token(header, &claims())).err(),
            Some(TokenError::Signature)
        );
    }
    let (one, other) = (
        EC_SIGNER.token(ES, &claims()),
        EC_SIGNER.token(ES, &claims_with(r#","sub":"x""#)),
    );
    let mixed = format!(
        "{}{}",
        &one[..one.rfind('.').unwrap()],
        &other[other.rfind('.').unwrap()..]
    );
    assert_eq!(check(&mixed).err(), Some(TokenError::Signature));
}

#[test]
fn rule_9_other_tokens() {
    for more in [
        r#","at_hash":"x""#,
        r#","c_hash":"x""#,
        r#","s_hash":"x""#,
        r#","events":{}"#,
        r#","typ":"ID""#,
        r#","typ":"Refresh""#,
        r#","typ":"Offline""#,
        r#","typ":"Logout""#,
    ] {
        assert_eq!(
            claims_fault(&claims_with(more)),
            Some(TokenError::NotAccessToken),
            "{more}"
        );
    }
    assert_eq!(claims_fault(&claims_with(r#","typ":"Bearer","nonce":"x""#)), None);
    let without_scope = claims_with(r#","nonce":"x""#).replace(r#""scope""#, r#""other""#);
    assert_eq!(fault(ES, &without_scope), Some(TokenError::NotAccessToken));
    assert_eq!(fault(r#"{"alg":"ES256","typ":"at+jwt"}"#, &without_scope), None);
}

#[test]
fn rule_10_times() {
    let exp = format!(r#""exp":{}"#, NOW + 60);
    let with = |times: &str| claims().replace(&exp, times);
    assert_eq!(claims_fault(&with(r#""x":1"#)), Some(TokenError::MissingExp));
    for value in [
        "\"1800000060\"",
        "null",
        "true",
        "-1",
        "-0.5",
        "[1800000060]",
        "1800000060000",
        "253402300800",
        "1e300",
        "18446744073709551615",
    ] {
        assert_eq!(
            claims_fault(&with(&format!(r#""exp":{value}"#))),
            Some(TokenError::Claims),
            "{value}"
        );
        for name in ["nbf", "iat"] {
            let both = format!(r#"{exp},"{name}":{value}"#);
            assert_eq!(claims_fault(&with(&both)), Some(TokenError::Claims), "{both}");
        }
    }
    // 30 seconds of leeway, to the second.
    let token = EC_SIGNER.token(ES, &with(r#""exp":1000,"nbf":500"#));
    assert_eq!(check_at(&token, 1029).err(), None);
    assert_eq!(check_at(&token, 1030).err(), Some(TokenError::Expired));
    assert_eq!(check_at(&token, u64::MAX).err(), Some(TokenError::Expired));
    assert_eq!(check_at(&token, 470).err(), None);
    assert_eq!(check_at(&token, 469).err(), Some(TokenError::NotYetValid));
    let token = EC_SIGNER.token(ES, &with(r#""exp":1000.9,"nbf":500.1"#));
    assert_eq!(check_at(&token, 1029).err(), None);
    assert_eq!(check_at(&token, 1030).err(), Some(TokenError::Expired));
    assert_eq!(check_at(&token, 470).err(), Some(TokenError::NotYetValid));
    assert_eq!(check_at(&token, 471).err(), None);
    assert_eq!(check_at(&EC_SIGNER.token(ES, &with(r#""exp":1.8e9"#)), NOW).err(), None);
    assert_eq!(claims_fault(&with(r#""exp":0"#)), Some(TokenError::Expired));
}

#[test]
fn rule_11_audience() {
    let with = |aud: &str| claims().replace(r#""aud":"api""#, aud);
    for good in [r#""aud":"https://fhir.example""#, r#""aud":["x","api"]"#] {
        assert_eq!(claims_fault(&with(good)), None, "{good}");
    }
    for wrong in [
        r#""aud":"API""#,
        r#""aud":"https://fhir.example/""#,
        r#""aud":[]"#,
        r#""aud":"""#,
        r#""x":1"#,
        r#""aud":["x"]"#,
        r#""aud":"x api""#,
    ] {
        assert_eq!(claims_fault(&with(wrong)), Some(TokenError::Audience), "{wrong}");
    }
    for broken in [
        r#""aud":null"#,
        r#""aud":{"api":1}"#,
        r#""aud":["api",1]"#,
        r#""aud":[["api"]]"#,
    ] {
        assert_eq!(claims_fault(&with(broken)), Some(TokenError::Claims), "{broken}");
    }
}

#[test]
fn rule_12_types_of_claims() {
    for name in ["sub", "client_id", "azp", "jti"] {
        for value in ["1", "null", "[\"x\"]", "{}"] {
            let more = format!(r#","{name}":{value}"#);
            assert_eq!(claims_fault(&claims_with(&more)), Some(TokenError::Claims), "{more}");
        }
    }
    assert_eq!(
        claims_fault(&claims_with(r#","client_id":"x","azp":1"#)),
        Some(TokenError::Claims)
    );
    let with = |scope: &str| claims().replace(r#""scope":"user/Patient.rs""#, scope);
    for broken in [
        r#""scope":["a"]"#,
        r#""scope":null"#,
        r#""scope":1"#,
        r#""scp":{}"#,
        r#""scp":[1]"#,
        r#""scp":["a b"]"#,
        r#""scp":[""]"#,
        r#""scope":"a\tb""#,
    ] {
        assert_eq!(claims_fault(&with(broken)), Some(TokenError::Claims), "{broken}");
    }
    assert_eq!(
        claims_fault(&with(&format!(r#""scope":"{}""#, "a ".repeat(300)))),
        Some(TokenError::TooLarge)
    );
}

#[test]
fn scope_and_scp_are_joined() {
    let need = |text| Requirement::Scope(Need::parse(text).unwrap());
    let all = Requirement::AllOf(vec![need("user/Patient.rs"), need("a")]);
    let with = |scope: &str| claims().replace(r#""scope":"user/Patient.rs""#, scope);
    for (scope, met) in [
        (r#""scope":"user/Patient.rs a""#, true),
        (r#""scp":"user/Patient.rs a""#, true),
        (r#""scp":["user/Patient.rs","a"]"#, true),
        (r#""scope":"a user/Patient.r","scp":["user/Patient.s"]"#, true),
        (r#""scope":"a""#, false),
        (r#""x":"user/Patient.rs a""#, false),
    ] {
        let grant = check(&EC_SIGNER.token(ES, &with(scope))).ok().unwrap();
        assert_eq!(all.is_met_by(grant.scopes()), met, "{scope}");
    }
}

#[test]
fn azp_stands_in_for_client_id() {
    let client = |more: &str| {
        check(&EC_SIGNER.token(ES, &claims_with(more)))
            .ok()
            .unwrap()
            .client()
            .map(|client| client.expose().to_vec())
    };
    assert_eq!(client(r#","azp":"b""#), Some(b"b".to_vec()));
    assert_eq!(client(r#","azp":"b","client_id":"a""#), Some(b"a".to_vec()));
    assert_eq!(client(""), None);
}

#[test]
fn a_cached_token_is_not_verified_again_but_its_times_are() {
    let (policy, mut cache, host) = (policy(), TokenCache::default(), GuestAsHost::default());
    let token = EC_SIGNER.token(ES, &claims_with(r#","nbf":1799999990"#));
    let mut verify = |now| {
        policy
            .verify(token.as_bytes(), &[EHR], now, &mut cache, Some(&host))
            .err()
    };
    assert_eq!((verify(NOW), verify(NOW + 1), verify(NOW)), (None, None, None));
    assert_eq!(host.calls.get(), 1);
    assert_eq!(verify(NOW - 1000), Some(TokenError::NotYetValid));
    assert_eq!(verify(NOW + 90), Some(TokenError::Expired));
    assert_eq!(host.calls.get(), 1);
    // What expired is forgotten.
    assert_eq!(verify(NOW), None);
    assert_eq!(host.calls.get(), 2);
    assert_eq!(cache.stats().entries, 1);
    assert_eq!((cache.stats().hits, cache.stats().misses), (4, 2));
}

#[test]
fn refused_tokens_are_not_cached() {
    let (policy, mut cache) = (policy(), TokenCache::default());
    for token in [
        EC_OTHER_SIGNER.token(ES, &claims()),
        EC_SIGNER.token(ES, &claims().replace("\"api\"", "\"x\"")),
    ] {
        assert!(policy.verify(token.as_bytes(), &[EHR], NOW, &mut cache, None).is_err());
    }
    assert_eq!((cache.stats().entries, cache.stats().bytes), (0, 0));
}

#[test]
fn new_keys_and_other_policies_do_not_see_old_verdicts() {
    let (mut policy, mut cache) = (policy(), TokenCache::default());
    let token = EC_SIGNER.token(ES, &claims());
    assert!(policy.verify(token.as_bytes(), &[EHR], NOW, &mut cache, None).is_ok());
    let keys = policy.issuers()[LAB].keys.clone();
    assert_eq!(policy.set_keys(EHR, keys), Ok(()));
    assert_eq!(
        policy.verify(token.as_bytes(), &[EHR], NOW, &mut cache, None).err(),
        Some(TokenError::Signature)
    );

    let other = TokenPolicy::new(policy.issuers().iter().skip(1).cloned().collect())
        .ok()
        .unwrap();
    let token = EC_OTHER_SIGNER.token(ES, &claims());
    assert!(policy.verify(token.as_bytes(), &[EHR], NOW, &mut cache, None).is_ok());
    assert_eq!(
        other.verify(token.as_bytes(), &[0], NOW, &mut cache, None).err(),
        Some(TokenError::Issuer)
    );
}

#[test]
fn keys_that_fit_no_algorithm_do_not_replace_good_ones() {
    let mut policy = policy();
    let rsa = format!(r#"{{"keys":[{{"kty":"RSA","n":"{RSA_N}","e":"AQAB"}}]}}"#);
    assert!(
        policy
            .set_keys(LAB, KeySet::parse(rsa.as_bytes()).ok().unwrap())
            .is_err()
    );
    assert!(policy.set_keys(7, policy.issuers()[EHR].keys.clone()).is_err());
    let token = EC_OTHER_SIGNER.token(ES, &claims().replace("ehr", "lab"));
    assert!(
        policy
            .verify(token.as_bytes(), &[LAB], NOW, &mut TokenCache::default(), None)
            .is_ok()
    );
}

#[test]
fn the_cache_is_bounded_in_entries_and_bytes() {
    let policy = policy();
    let tokens: Vec<_> = (0..100)
        .map(|number| ED_SIGNER.token(ED, &claims_with(&format!(r#","jti":"{number}""#))))
        .collect();
    for (entries, bytes) in [(16, 1 << 20), (1024, 8 * 1024), (8, 0)] {
        let mut cache = TokenCache::new(entries, bytes);
        for token in tokens.iter().chain(&tokens) {
            assert!(policy.verify(token.as_bytes(), &[EHR], NOW, &mut cache, None).is_ok());
            let stats = cache.stats();
            assert!(stats.entries <= entries && stats.bytes <= bytes, "{stats:?}");
            assert_eq!(stats.entries > 0, bytes > 0);
        }
        assert_eq!(cache.stats().evictions > 0, bytes > 0);
    }
}

#[test]
fn what_is_used_stays_in_the_cache() {
    let policy = policy();
    let token = |number: usize| ED_SIGNER.token(ED, &claims_with(&format!(r#","jti":"{number}""#)));
    let mut by_entries = TokenCache::new(8, 1 << 20);
    let mut by_bytes = TokenCache::new(1024, 8 * 1024);
    let favourite = token(0);
    for cache in [&mut by_entries, &mut by_bytes] {
        let host = GuestAsHost::default();
        for number in 1..60 {
            assert!(
                policy
                    .verify(favourite.as_bytes(), &[EHR], NOW, cache, Some(&host))
                    .is_ok()
            );
            assert!(
                policy
                    .verify(token(number).as_bytes(), &[EHR], NOW, cache, Some(&host))
                    .is_ok()
            );
        }
        assert_eq!((cache.stats().hits, cache.stats().misses), (58, 60));
    }
}

#[test]
fn the_host_verifies_where_it_can() {
    let policy = policy();
    for (algorithm, signer, header) in signers() {
        let by_host = HostKind::of(algorithm).is_some();
        let host = GuestAsHost::default();
        let mut cache = TokenCache::default();
        let token = signer.token(&header, &claims());
        let mut verify = |token: &str| policy.verify(token.as_bytes(), &[EHR], NOW, &mut cache, Some(&host));
        let by = if by_host { VerifiedBy::Host } else { VerifiedBy::Guest };
        assert_eq!(verify(&token).ok().unwrap().verified_by(), by, "{algorithm:?}");
        // Bad ones count too; what the cache knows does not.
        assert!(verify(&token).is_ok());
        let (text, signature) = token.rsplit_once('.').unwrap();
        assert!(verify(&format!("{text}.AAA{}", &signature[3..])).is_err());
        assert!(verify(&format!("{text}.AAAA")).is_err());
        assert_eq!(host.calls.get(), if by_host { 2 } else { 0 });
        let counts = cache.verification_stats();
        assert_eq!((counts.host, counts.guest), if by_host { (2, 0) } else { (0, 2) });
    }
}

struct Says(HostVerdict);

impl HostVerifier for Says {
    fn verify(&self, _: HostKind, _: &[u8], _: &[u8], _: &[u8]) -> HostVerdict {
        self.0
    }
}

#[test]
fn invalid_from_the_host_is_final_and_unavailable_falls_back() {
    let policy = policy();
    for (signer, header) in [(RSA_SIGNER, RS), (EC_SIGNER, ES)] {
        let token = signer.token(header, &claims());
        let verify = |verdict| {
            policy.verify(
                token.as_bytes(),
                &[EHR],
                NOW,
                &mut TokenCache::default(),
                Some(&Says(verdict)),
            )
        };
        assert_eq!(verify(HostVerdict::Invalid).err(), Some(TokenError::Signature));
        assert_eq!(
            verify(HostVerdict::Unavailable).ok().map(|grant| grant.verified_by()),
            Some(VerifiedBy::Guest)
        );
    }
    let forged = RSA_OTHER_SIGNER.token(RS, &claims());
    let verdict = policy.verify(
        forged.as_bytes(),
        &[EHR],
        NOW,
        &mut TokenCache::default(),
        Some(&Says(HostVerdict::Unavailable)),
    );
    assert_eq!(verdict.err(), Some(TokenError::Signature));
}

#[test]
fn policies_that_could_not_work_are_refused() {
    let good = policy().issuers()[EHR].clone();
    let error = |change: fn(&mut Issuer)| {
        let mut issuer = good.clone();
        change(&mut issuer);
        TokenPolicy::new(vec![issuer]).err().unwrap_or_default()
    };
    assert!(error(|issuer| issuer.issuer.clear()).contains("empty `issuer`"));
    assert!(error(|issuer| issuer.audiences.clear()).contains("audience"));
    assert!(error(|issuer| issuer.audiences.push(String::new())).contains("audience"));
    assert!(error(|issuer| issuer.algorithms.clear()).contains("no algorithms"));
    assert!(error(|issuer| issuer.leeway = MAX_LEEWAY + 1).contains("leeway"));
    let rsa = format!(r#"{{"keys":[{{"kty":"RSA","n":"{RSA_N}","e":"AQAB"}}]}}"#);
    let issuer = Issuer {
        keys: KeySet::parse(rsa.as_bytes()).ok().unwrap().into(),
        algorithms: vec![Algorithm::EdDsa],
        ..good.clone()
    };
    assert!(
        TokenPolicy::new(vec![issuer])
            .err()
            .unwrap_or_default()
            .contains("has no key that fits")
    );
    assert!(
        TokenPolicy::new(vec![good.clone(), good.clone()])
            .err()
            .unwrap_or_default()
            .contains("same `issuer`")
    );
    assert_eq!(policy().issuer_index("lab"), Some(LAB));
    assert_eq!(policy().issuer_index("x"), None);
}

#[test]
fn codes_are_stable_and_distinct() {
    use TokenError::*;
    let all = [
        TooLarge,
        Malformed,
        DuplicateName,
        CriticalHeader,
        EmbeddedKey,
        TokenType,
        Algorithm,
        Issuer,
        UnknownKey,
        Signature,
        NotAccessToken,
        MissingExp,
        Claims,
        Expired,
        NotYetValid,
        Audience,
    ];
    let mut codes: Vec<_> = all.iter().map(|error| error.code()).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), all.len());
    for error in all {
        assert!(
            error
                .code()
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        );
        assert!(!error.to_string().ends_with('.'));
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let policy = policy();
    for (signer, header) in [(RSA_SIGNER, RS), (EC_SIGNER, ES), (ED_SIGNER, ED)] {
        let token = signer.token(header, &claims()).into_bytes();
        let mut cache = TokenCache::default();
        assert!(policy.verify(&token, &[EHR, LAB], NOW, &mut cache, None).is_ok());
        for (place, bit) in (0..token.len()).flat_map(|place| (0..8).map(move |bit| (place, bit))) {
            let mut flipped = token.clone();
            flipped[place] ^= 1 << bit;
            // Warm: the good token is in the cache, and its broken twin must not find it.
            assert!(
                policy.verify(&flipped, &[EHR, LAB], NOW, &mut cache, None).is_err(),
                "{place} {bit}"
            );
        }
        assert_eq!(cache.stats().entries, 1);
    }
}

/// Of every algorithm, at every place, another letter of base64url, the next byte, or none at all.
#[test]
fn every_changed_byte_is_refused() {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let policy = policy();
    for (algorithm, signer, header) in signers() {
        let token = signer.token(&header, &claims()).into_bytes();
        let mut cache = TokenCache::default();
        assert!(policy.verify(&token, &[EHR, LAB], NOW, &mut cache, None).is_ok());
        for place in 0..token.len() {
            let mut other = token.clone();
            other[place] = ALPHABET[(place * 7 + 1) % 64];
            if other == token {
                other[place] = ALPHABET[(place * 7 + 2) % 64];
            }
            let mut less = token.clone();
            less.remove(place);
            let mut more = token.clone();
            more.insert(place, ALPHABET[place % 64]);
            for broken in [other, less, more] {
                assert!(
                    policy.verify(&broken, &[EHR, LAB], NOW, &mut cache, None).is_err(),
                    "{algorithm:?} {place}"
                );
            }
        }
        assert_eq!(cache.stats().entries, 1);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "[A-Za-z0-9_-]{0,40}(\\.[A-Za-z0-9_-]{0,40}){0,4}") {
        let policy = policy();
        for token in [&bytes[..], text.as_bytes()] {
            prop_assert!(policy.verify(token, &[EHR, LAB], NOW, &mut TokenCache::default(), None).is_err());
        }
    }

    #[test]
    fn any_header_and_payload_are_read_without_panic(header in "\\PC{0,60}", payload in "\\PC{0,60}", value in "[ -~]{0,20}") {
        prop_assert!(check(&ED_SIGNER.token(&header, &payload)).is_err());
        let _ = check(&ED_SIGNER.token(ED, &claims_with(&format!(r#","x":{value}"#))));
        let _ = check(&ED_SIGNER.token(&format!(r#"{{"alg":"EdDSA","typ":{value}}}"#), &claims()));
    }

    /// A right header and right claims do not make up for any signature.
    #[test]
    fn any_signature_is_refused(
        which in 0..9_usize,
        length in prop::sample::select(vec![0_usize, 1, 32, 63, 64, 65, 96, 255, 256, 257]),
        fill in prop::collection::vec(any::<u8>(), 257),
        more in prop::option::of("[a-z]{1,8}"),
    ) {
        use base64::Engine;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;

        let (_, signer, header) = signers().swap_remove(which);
        let claims = claims_with(&more.map(|name| format!(r#","x-{name}":1"#)).unwrap_or_default());
        let token = signer.token(&header, &claims);
        let (text, _) = token.rsplit_once('.').unwrap();
        let forged = format!("{text}.{}", URL_SAFE_NO_PAD.encode(&fill[..length]));
        prop_assert_eq!(check(&forged).err(), Some(TokenError::Signature));
    }

    /// Headers of the members that matter, in any order and with any value: nothing but the right one passes, and it passes only with its own signature.
    #[test]
    fn any_header_of_known_names_is_refused(
        members in prop::collection::btree_map(
            prop::sample::select(vec!["alg", "kid", "typ", "cty", "crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "enc", "x5t", "epk"]),
            prop::sample::select(vec!["\"ES256\"", "\"none\"", "\"HS256\"", "\"RS256\"", "\"ec\"", "\"rsa\"", "\"JWT\"", "\"at+jwt\"", "null", "[]", "{}", "1", "true"]),
            0..6,
        ),
        order in any::<bool>(),
    ) {
        let list: Vec<_> = members.iter().map(|(name, value)| format!(r#""{name}":{value}"#)).collect();
        let list: Vec<_> = if order { list } else { list.into_iter().rev().collect() };
        let verdict = check(&EC_SIGNER.token(&format!("{{{}}}", list.join(",")), &claims()));
        let is = |name: &str, values: &[&str]| members.get(name).is_none_or(|value| values.contains(value));
        let right = members.get("alg") == Some(&"\"ES256\"")
            && is("kid", &["\"ec\""])
            && is("typ", &["\"JWT\"", "\"at+jwt\""])
            && is("cty", &["\"ES256\"", "\"none\"", "\"HS256\"", "\"RS256\"", "\"ec\"", "\"rsa\"", "\"at+jwt\""])
            && ["crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "enc"].iter().all(|name| !members.contains_key(name));
        prop_assert_eq!(verdict.is_ok(), right);
    }

    /// Any string where any claim stands: never more than a refusal.
    #[test]
    fn claims_are_accepted_as_they_are_or_not_at_all(name in "iss|aud|exp|nbf", value in "[0-9]{1,12}|\"[a-z:/.]{0,20}\"|true|null|\\[\\]|\\{\\}") {
        let payload = r#"{"iss":"https://ehr.example","aud":"api","exp":1800000060,"nbf":5}"#;
        let old = match &*name { "iss" => "\"https://ehr.example\"", "aud" => "\"api\"", "exp" => "1800000060", _ => "5}" };
        let new = if name == "nbf" { format!("{value}}}") } else { value.clone() };
        let accepted = check(&ED_SIGNER.token(ED, &payload.replace(old, &new))).is_ok();
        let number: Option<u64> = value.parse().ok();
        let expected = match &*name {
            "exp" => number.is_some_and(|exp| (NOW - 29..=MAX_DATE).contains(&exp)) && !(value.len() > 1 && value.starts_with('0')),
            "nbf" => number.is_some_and(|nbf| nbf <= NOW + 30) && !(value.len() > 1 && value.starts_with('0')),
            "iss" => value == "\"https://ehr.example\"",
            _ => value == "\"api\"",
        };
        prop_assert_eq!(accepted, expected);
    }

    /// Host and guest agree about good signatures and broken ones.
    #[test]
    fn host_and_guest_agree(
        id in any::<u64>(),
        rsa in any::<bool>(),
        damage in prop::option::of((0..600_usize, 1..=255_u8)),
        cut in 0..3_usize,
    ) {
        use base64::Engine;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;

        let policy = policy();
        let (signer, header) = if rsa { (RSA_SIGNER, RS) } else { (EC_SIGNER, ES) };
        let token = signer.token(header, &claims_with(&format!(r#","jti":"{id}""#)));
        let dot = token.rfind('.').unwrap();
        let mut signature = URL_SAFE_NO_PAD.decode(&token[dot + 1..]).unwrap();
        if let Some((place, flip)) = damage {
            let place = place % signature.len();
            signature[place] ^= flip;
        }
        if cut == 1 {
            signature.pop();
        }
        let token = format!("{}.{}", &token[..dot], URL_SAFE_NO_PAD.encode(&signature));
        let host = GuestAsHost::default();
        let verify = |host: Option<&dyn HostVerifier>| policy.verify(token.as_bytes(), &[EHR], NOW, &mut TokenCache::default(), host).err();
        let (by_host, by_guest) = (verify(Some(&host)), verify(None));
        prop_assert_eq!(by_host, by_guest);
        prop_assert_eq!(by_guest.is_none(), damage.is_none() && cut != 1);
        // What has no length of a signature, or is no number below the modulus, is refused before anybody is asked.
        let has_form = cut != 1 && (!rsa || signature < URL_SAFE_NO_PAD.decode(RSA_N).unwrap());
        prop_assert_eq!(host.calls.get(), usize::from(has_form));
    }
}
