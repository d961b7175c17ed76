//! Tests of key sets: what is read, what is skipped, what is refused, and which key a token gets.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::super::MAX_KID_BYTES;
use super::super::fixtures::*;
use super::super::key::{Kind, ORDER_8};
use super::*;

fn rsa_jwk(more: &str) -> String {
    format!(r#"{{"kty":"RSA","n":"{RSA_N}","e":"AQAB"{more}}}"#)
}

fn ec_jwk(more: &str) -> String {
    format!(r#"{{"kty":"EC","crv":"P-256","x":"{EC_X}","y":"{EC_Y}"{more}}}"#)
}

fn p384_jwk(more: &str) -> String {
    format!(r#"{{"kty":"EC","crv":"P-384","x":"{P384_X}","y":"{P384_Y}"{more}}}"#)
}

fn ed_jwk(more: &str) -> String {
    format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{ED_X}"{more}}}"#)
}

fn parse(keys: &[String]) -> Result<KeySet, KeySetError> {
    KeySet::parse(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes())
}

fn reason(key: String) -> &'static str {
    match parse(&[key]).err() {
        Some(KeySetError::Empty { skipped }) => skipped[0].reason,
        other => panic!("{other:?}"),
    }
}

const RSA: [Algorithm; 6] = [
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
];

fn served(set: &KeySet) -> Vec<Algorithm> {
    Algorithm::ALL
        .into_iter()
        .filter(|algorithm| set.serves(*algorithm))
        .collect()
}

#[test]
fn reads_the_four_kinds() {
    let set = parse(&[
        rsa_jwk(r#","kid":"a","use":"sig""#),
        ec_jwk(r#","key_ops":["verify"]"#),
        p384_jwk(r#","alg":"ES384""#),
        ed_jwk(r#","alg":"Ed25519""#),
    ])
    .ok()
    .unwrap();
    assert_eq!((set.len(), set.is_empty(), set.skipped()), (4, false, &[][..]));
    let public: Vec<_> = Algorithm::ALL.into_iter().filter(|each| !each.is_symmetric()).collect();
    assert_eq!(served(&set), public);
    assert!(public.iter().all(|algorithm| set.select(*algorithm, None).is_ok()));
}

#[test]
fn a_key_serves_the_algorithms_of_its_type_or_the_one_it_names() {
    let only = |key: String| served(&parse(&[key]).ok().unwrap());
    assert_eq!(only(rsa_jwk("")), RSA);
    assert_eq!(only(ec_jwk("")), [Algorithm::Es256]);
    assert_eq!(only(p384_jwk("")), [Algorithm::Es384]);
    assert_eq!(only(ed_jwk("")), [Algorithm::EdDsa]);
    for algorithm in RSA {
        assert_eq!(only(rsa_jwk(&format!(r#","alg":"{}""#, algorithm.name()))), [algorithm]);
    }
}

#[test]
fn pss_is_not_for_a_modulus_of_one_bit_more_than_whole_bytes() {
    let mut modulus = [0xff; 257];
    modulus[0] = 1;
    let key = format!(
        r#"{{"kty":"RSA","n":"{}","e":"AQAB"}}"#,
        URL_SAFE_NO_PAD.encode(modulus)
    );
    assert_eq!(served(&parse(&[key]).ok().unwrap()), RSA[..3]);
    modulus[0] = 2;
    let key = format!(
        r#"{{"kty":"RSA","n":"{}","e":"AQAB"}}"#,
        URL_SAFE_NO_PAD.encode(modulus)
    );
    assert_eq!(served(&parse(&[key]).ok().unwrap()), RSA);
}

#[test]
fn a_secret_serves_the_hashes_that_are_not_longer() {
    use Algorithm::{Hs256, Hs384, Hs512};
    for (length, expected) in [
        (32, &[Hs256][..]),
        (47, &[Hs256]),
        (48, &[Hs256, Hs384]),
        (63, &[Hs256, Hs384]),
        (64, &[Hs256, Hs384, Hs512]),
        (1000, &[Hs256, Hs384, Hs512]),
    ] {
        let set = KeySet::secret(&vec![7; length]).ok().unwrap();
        assert_eq!(served(&set), expected, "{length}");
        assert!(set.is_secret());
        assert!(set.keys.iter().all(|key| key.spki.is_none()), "never given to the host");
        // The `kid` chooses nothing.
        assert!(set.select(Hs256, Some("x")).is_ok());
        assert_eq!(set.select(Algorithm::Rs256, None).err(), Some(TokenError::UnknownKey));
    }
    for length in [0, 31] {
        assert_eq!(KeySet::secret(&vec![7; length]).err(), Some(KeySetError::ShortSecret));
    }
    assert!(!parse(&[rsa_jwk("")]).ok().unwrap().is_secret());
}

#[test]
fn secrets_and_public_keys_do_not_mix() {
    let (public, secret) = (
        parse(&[rsa_jwk("")]).ok().unwrap(),
        KeySet::secret(&[7; 32]).ok().unwrap(),
    );
    assert_eq!(public.check(&RSA), Ok(()));
    assert_eq!(secret.check(&[Algorithm::Hs256]), Ok(()));
    let told = |keys: &KeySet, algorithms: &[Algorithm]| keys.check(algorithms).unwrap_err();
    for algorithm in Algorithm::ALL {
        let told = if algorithm.is_symmetric() {
            told(&public, &[Algorithm::Rs256, algorithm])
        } else {
            told(&secret, &[Algorithm::Hs256, algorithm])
        };
        assert!(
            told.starts_with(&format!("lists `{}`", algorithm.name())) && told.contains("`secret`"),
            "{told}"
        );
    }
    assert_eq!(
        told(&secret, &[Algorithm::Hs256, Algorithm::Hs512]),
        "has a secret that is too short for `HS512`; make it 64 random bytes or more"
    );
    assert!(told(&public, &[Algorithm::Es256]).contains("no key that fits"));
}

#[test]
fn a_signature_has_one_form() {
    let rsa = Key::parse(&parse_object(rsa_jwk("").as_bytes(), LIMITS).ok().unwrap())
        .ok()
        .unwrap();
    let Kind::Rsa(modulus) = &rsa.kind else { panic!() };
    let takes = |signature: &[u8]| RSA.map(|algorithm| rsa.takes(algorithm, signature)) == [true; 6];
    let mut below = modulus.to_vec();
    *below.last_mut().unwrap() -= 1;
    assert!(takes(&below) && takes(&[0; 256]));
    assert!(!takes(modulus) && !takes(&[0xff; 256]));
    assert!(!takes(&below[1..]) && !takes(&[&[0][..], &below].concat()));
    for (key, algorithm, length) in [
        (ec_jwk(""), Algorithm::Es256, 64),
        (p384_jwk(""), Algorithm::Es384, 96),
        (ed_jwk(""), Algorithm::EdDsa, 64),
    ] {
        let key = Key::parse(&parse_object(key.as_bytes(), LIMITS).ok().unwrap())
            .ok()
            .unwrap();
        for found in [0, 32, 48, 63, 64, 65, 95, 96, 97, 128] {
            assert_eq!(
                key.takes(algorithm, &vec![1; found]),
                found == length,
                "{algorithm:?} {found}"
            );
        }
    }
    let secret = KeySet::secret(&[7; 64]).ok().unwrap();
    for (algorithm, length) in [(Algorithm::Hs256, 32), (Algorithm::Hs384, 48), (Algorithm::Hs512, 64)] {
        for found in [0, 31, 32, 33, 48, 64] {
            assert_eq!(secret.keys[0].takes(algorithm, &vec![1; found]), found == length);
        }
    }
}

#[test]
fn der_is_openssls() {
    let spki = |key: String| parse(&[key]).ok().unwrap().keys[0].spki.clone().unwrap();
    assert_eq!(STANDARD.encode(spki(rsa_jwk(""))), RSA_SPKI);
    assert_eq!(STANDARD.encode(spki(ec_jwk(""))), EC_SPKI);
    assert_eq!(STANDARD.encode(spki(p384_jwk(""))), P384_SPKI);
    assert_eq!(
        STANDARD.encode(spki(format!(
            r#"{{"kty":"EC","crv":"P-256","x":"{EC_OTHER_X}","y":"{EC_OTHER_Y}"}}"#
        ))),
        EC_OTHER_SPKI
    );
    assert_eq!(
        STANDARD.encode(spki(format!(r#"{{"kty":"RSA","n":"{RSA_OTHER_N}","e":"AQAB"}}"#))),
        RSA_OTHER_SPKI
    );
}

#[test]
fn keys_that_do_not_fit_are_skipped() {
    for (key, expected) in [
        (rsa_jwk(r#","use":"enc""#), "`use`"),
        (rsa_jwk(r#","use":1"#), "`use`"),
        (rsa_jwk(r#","key_ops":["sign"]"#), "`key_ops`"),
        (rsa_jwk(r#","key_ops":"verify""#), "`key_ops`"),
        (rsa_jwk(r#","key_ops":["verify","verify"]"#), "`key_ops`"),
        (rsa_jwk(r#","key_ops":["verify",1]"#), "`key_ops`"),
        (rsa_jwk(r#","key_ops":[]"#), "`key_ops`"),
        (rsa_jwk(r#","alg":"RSA-OAEP""#), "`alg`"),
        (rsa_jwk(r#","alg":"HS256""#), "`alg`"),
        (rsa_jwk(r#","alg":"none""#), "`alg`"),
        (p384_jwk(r#","alg":"ES256""#), "`alg`"),
        (ec_jwk(r#","alg":"ES384""#), "`alg`"),
        (ec_jwk(r#","alg":"Ed25519""#), "`alg`"),
        (rsa_jwk(r#","alg":"ES256""#), "`alg`"),
        (rsa_jwk(r#","alg":null"#), "`alg`"),
        (rsa_jwk(r#","kid":7"#), "`kid`"),
        (
            rsa_jwk(&format!(r#","kid":"{}""#, "k".repeat(MAX_KID_BYTES + 1))),
            "`kid`",
        ),
        (ec_jwk(r#","alg":"RS256""#), "`alg`"),
        (ed_jwk(r#","alg":"ES256""#), "`alg`"),
        (
            format!(r#"{{"kty":"RSA","n":"{RSA_SMALL_N}","e":"AQAB"}}"#),
            "fewer than 2048",
        ),
        (
            format!(
                r#"{{"kty":"RSA","n":"{}","e":"AQAB"}}"#,
                URL_SAFE_NO_PAD.encode([0xff; 513])
            ),
            "more than 4096",
        ),
        (format!(r#"{{"kty":"RSA","n":"{RSA_N}","e":"Aw"}}"#), "exponent"),
        (format!(r#"{{"kty":"RSA","n":"{RSA_N}","e":"AQAA"}}"#), "exponent"),
        (format!(r#"{{"kty":"RSA","n":"{RSA_N}","e":"AQAAAAE"}}"#), "exponent"),
        (
            format!(
                r#"{{"kty":"RSA","n":"{}","e":"AQAB"}}"#,
                URL_SAFE_NO_PAD.encode([0xfe; 256])
            ),
            "even",
        ),
        (format!(r#"{{"kty":"RSA","n":"{RSA_N}=","e":"AQAB"}}"#), "base64url"),
        (r#"{"kty":"RSA","e":"AQAB"}"#.to_owned(), "missing"),
        (
            format!(r#"{{"kty":"EC","crv":"P-384","x":"{EC_X}","y":"{EC_Y}"}}"#),
            "bytes of its curve",
        ),
        (
            format!(r#"{{"kty":"EC","crv":"P-384","x":"{P384_X}","y":"{P384_X}"}}"#),
            "not a valid key",
        ),
        (
            format!(r#"{{"kty":"EC","crv":"P-521","x":"{EC_X}","y":"{EC_Y}"}}"#),
            "curve is not supported",
        ),
        (
            format!(r#"{{"kty":"EC","crv":"secp256k1","x":"{EC_X}","y":"{EC_Y}"}}"#),
            "curve is not supported",
        ),
        (
            format!(r#"{{"kty":"EC","crv":"P-256","x":"{EC_X}","y":"{EC_X}"}}"#),
            "not a valid key",
        ),
        (
            format!(r#"{{"kty":"EC","crv":"P-256","x":"{EC_X}","y":"AQ"}}"#),
            "bytes of its curve",
        ),
        (r#"{"kty":"OKP","crv":"Ed25519","x":"AQ"}"#.to_owned(), "32 bytes"),
        (format!(r#"{{"kty":"OKP","crv":"X25519","x":"{ED_X}"}}"#), "curve"),
        (r#"{"kty":"AKP"}"#.to_owned(), "type"),
        ("{}".to_owned(), "type"),
    ] {
        let reason = reason(key.clone());
        assert!(reason.contains(expected), "{key}: {reason}");
    }
    let set = parse(&[r#"{"kty":"new"}"#.to_owned(), ec_jwk("")]).ok().unwrap();
    assert_eq!(
        set.skipped(),
        [SkippedKey {
            position: 1,
            reason: "its type is not supported"
        }]
    );
}

#[test]
fn weak_and_misspelt_ed25519_keys_are_skipped() {
    let told = |point: [u8; 32]| {
        let key = format!(
            r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#,
            URL_SAFE_NO_PAD.encode(point)
        );
        parse(&[key]).err()
    };
    let number = |first: u8, rest: u8, last: u8| {
        let mut point = [rest; 32];
        point[0] = first;
        point[31] = last;
        point
    };
    for mut point in [
        number(0, 0, 0),
        number(1, 0, 0),
        number(0xec, 0xff, 0x7f),
        number(0xed, 0xff, 0x7f),
        number(0xee, 0xff, 0x7f),
        // y = 4 + p, where y = 4 is a point.
        number(0xf1, 0xff, 0x7f),
        ORDER_8[0],
        ORDER_8[1],
    ] {
        for sign in [0, 0x80] {
            point[31] = point[31] & 0x7f | sign;
            assert!(
                matches!(told(point), Some(KeySetError::Empty { skipped }) if skipped[0].reason.contains("safe")),
                "{point:x?}"
            );
        }
    }
    // y = 3 and y = 4 are points of the curve, of a large order.
    assert_eq!((told(number(3, 0, 0)), told(number(4, 0, 0))), (None, None));
}

#[test]
fn private_and_secret_keys_are_refused() {
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] {
        let error = parse(&[ec_jwk(""), rsa_jwk(&format!(r#","{name}":"SECRET""#))])
            .err()
            .unwrap();
        assert_eq!(error, KeySetError::PrivateKey { position: 2 });
        assert!(!error.to_string().contains("SECRET"));
    }
    assert_eq!(
        parse(&[r#"{"kty":"oct"}"#.to_owned()]).err(),
        Some(KeySetError::PrivateKey { position: 1 })
    );
}

#[test]
fn one_kid_names_one_key_per_algorithm() {
    let kid = r#","kid":"a""#;
    assert_eq!(
        parse(&[rsa_jwk(kid), rsa_jwk(kid)]).err(),
        Some(KeySetError::DuplicateKid { position: 2 })
    );
    // One for all of RSA and one for one of them would both serve that one; two for different ones are apart.
    let with = |alg: &str| rsa_jwk(&format!(r#"{kid},"alg":"{alg}""#));
    for keys in [
        [rsa_jwk(kid), with("PS512")],
        [with("PS512"), rsa_jwk(kid)],
        [with("RS256"), with("RS256")],
    ] {
        assert_eq!(parse(&keys).err(), Some(KeySetError::DuplicateKid { position: 2 }));
    }
    let set = parse(&[with("RS256"), with("PS256"), ec_jwk(kid), p384_jwk(kid)])
        .ok()
        .unwrap();
    for algorithm in [Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256, Algorithm::Es384] {
        assert!(set.select(algorithm, Some("a")).is_ok_and(|key| key.serves(algorithm)));
    }
    assert_eq!(
        set.select(Algorithm::Rs512, Some("a")).err(),
        Some(TokenError::Algorithm)
    );
    assert!(parse(&[rsa_jwk(""), rsa_jwk("")]).is_ok());
}

#[test]
fn sets_that_are_none_are_refused() {
    for text in ["", "{}", "[]", r#"{"keys":{}}"#, r#"{"keys":[1]}"#, r#"{"keys":[]"#] {
        assert_eq!(
            KeySet::parse(text.as_bytes()).err(),
            Some(KeySetError::NotAKeySet),
            "{text}"
        );
    }
    assert_eq!(
        KeySet::parse(br#"{"keys":[],"keys":[]}"#).err(),
        Some(KeySetError::DuplicateName)
    );
    assert_eq!(
        parse(&[rsa_jwk(r#","e":"Aw""#)]).err(),
        Some(KeySetError::DuplicateName)
    );
    assert_eq!(parse(&[]).err(), Some(KeySetError::Empty { skipped: vec![] }));
    assert_eq!(
        parse(&vec!["{}".to_owned(); MAX_KEYS + 1]).err(),
        Some(KeySetError::TooLarge)
    );
    assert_eq!(
        KeySet::parse(&vec![b' '; MAX_KEY_SET_BYTES + 1]).err(),
        Some(KeySetError::TooLarge)
    );
}

#[test]
fn a_key_is_selected_by_exact_kid_or_not_at_all() {
    let set = parse(&[
        rsa_jwk(r#","kid":"a""#),
        ec_jwk(r#","kid":"b""#),
        ec_jwk(r#","kid":"c""#),
    ])
    .ok()
    .unwrap();
    assert!(set.select(Algorithm::Rs256, Some("a")).is_ok());
    assert_eq!(
        set.select(Algorithm::Rs256, Some("A")).err(),
        Some(TokenError::UnknownKey)
    );
    assert_eq!(
        set.select(Algorithm::Rs256, Some("")).err(),
        Some(TokenError::UnknownKey)
    );
    assert_eq!(
        set.select(Algorithm::Rs256, Some("b")).err(),
        Some(TokenError::Algorithm)
    );
    assert!(set.select(Algorithm::Rs256, None).is_ok());
    assert_eq!(
        set.select(Algorithm::Es256, None).err(),
        Some(TokenError::UnknownKey),
        "two keys fit"
    );
    let set = parse(&[rsa_jwk(r#","alg":"RS256""#), rsa_jwk(r#","alg":"PS256""#)])
        .ok()
        .unwrap();
    assert!(set.select(Algorithm::Rs256, None).is_ok() && set.select(Algorithm::Ps256, None).is_ok());
    let set = parse(&[rsa_jwk(r#","alg":"RS256""#), rsa_jwk("")]).ok().unwrap();
    assert_eq!(
        set.select(Algorithm::Rs256, None).err(),
        Some(TokenError::UnknownKey),
        "two keys fit"
    );
    assert_eq!(set.select(Algorithm::EdDsa, None).err(), Some(TokenError::UnknownKey));
}

proptest! {
    #[test]
    fn any_bytes_are_no_key_set(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(KeySet::parse(&bytes).is_err());
    }

    /// A good set with some bytes changed: a set of keys as sound as before, or none.
    #[test]
    fn a_changed_key_set_is_read_without_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut json = format!(r#"{{"keys":[{},{},{},{}]}}"#, rsa_jwk(r#","kid":"a""#), ec_jwk(""), p384_jwk(""), ed_jwk("")).into_bytes();
        for (place, byte) in changes {
            let place = place.index(json.len());
            json[place] = byte;
        }
        if let Ok(set) = KeySet::parse(&json) {
            prop_assert!(!set.is_secret() && set.len() + set.skipped().len() <= 4 && !set.is_empty());
            prop_assert!(Algorithm::ALL.into_iter().all(|each| !each.is_symmetric() || !set.serves(each)));
        }
    }

    #[test]
    fn any_numbers_are_read_without_panic(n in prop::collection::vec(any::<u8>(), 0..600), e in prop::collection::vec(any::<u8>(), 0..9)) {
        let (n, e) = (URL_SAFE_NO_PAD.encode(n), URL_SAFE_NO_PAD.encode(e));
        let _ = parse(&[
            format!(r#"{{"kty":"RSA","n":"{n}","e":"{e}"}}"#),
            format!(r#"{{"kty":"EC","crv":"P-256","x":"{n}","y":"{e}"}}"#),
            format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{n}"}}"#),
        ]);
    }
}
