//! Public keys: JSON Web Key Sets (RFC 7517), read once into what verifies.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::rust_crypto;

use super::TokenError;
use super::json::{Json, JsonError, Limits, Object, parse_object};

/// The most bytes that a key set may have.
pub const MAX_KEY_SET_BYTES: usize = 256 * 1024;

/// The most keys that a set may have.
pub const MAX_KEYS: usize = 128;

const LIMITS: Limits = Limits { depth: 8, values: 8192 };

/// A signature algorithm for tokens (RFC 7518 section 3.1, RFC 8037). All are asymmetric: no `none`, no shared secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256, keys of 2048 to 4096 bits.
    Rs256,
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// EdDSA over Ed25519.
    EdDsa,
}

impl Algorithm {
    /// Reads an entry of a policy's `algorithms`.
    ///
    /// # Errors
    /// The name is not one of the three; the message names them.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::from_name(text).ok_or_else(|| {
            let why = match text {
                "HS256" | "HS384" | "HS512" => "signs with a shared secret, which must not be mixed with public keys",
                _ if text.eq_ignore_ascii_case("none") => "would accept unsigned tokens",
                _ => "is not supported",
            };
            format!("algorithm `{text}` {why}; use RS256, ES256 or EdDSA")
        })
    }

    /// The name as in the header parameter `alg`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Names compare by exact case (RFC 7515 section 4.1.1).
    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Rs256, Self::Es256, Self::EdDsa]
            .into_iter()
            .find(|each| each.name() == name)
    }

    pub(super) fn for_jsonwebtoken(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

/// The public keys of one issuer. Each key serves exactly one [`Algorithm`], by its type and curve.
#[derive(Clone)]
pub struct KeySet {
    keys: Vec<Key>,
    skipped: Vec<SkippedKey>,
}

/// A member of a key set that verifies nothing here, as RFC 7517 section 5 allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedKey {
    /// Where it stands in the set, from 1.
    pub position: usize,
    /// Why, in words for a warning.
    pub reason: &'static str,
}

impl KeySet {
    /// Reads a JSON Web Key Set (RFC 7517 section 5).
    ///
    /// Keys of another type, curve, algorithm or use, and RSA keys outside 2048 to 4096 bits, are skipped and counted.
    ///
    /// # Errors
    /// See [`KeySetError`].
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        if json.len() > MAX_KEY_SET_BYTES {
            return Err(KeySetError::TooLarge);
        }
        let document = parse_object(json, LIMITS).map_err(|error| match error {
            JsonError::Syntax => KeySetError::NotAKeySet,
            JsonError::DuplicateName => KeySetError::DuplicateName,
            JsonError::Limit => KeySetError::TooLarge,
        })?;
        let Some(Json::Array(members)) = document.get("keys") else {
            return Err(KeySetError::NotAKeySet);
        };
        if members.len() > MAX_KEYS {
            return Err(KeySetError::TooLarge);
        }
        let mut set = Self {
            keys: Vec::new(),
            skipped: Vec::new(),
        };
        for (position, member) in (1..).zip(members) {
            let Json::Object(member) = member else {
                return Err(KeySetError::NotAKeySet);
            };
            if is_private(member) {
                return Err(KeySetError::PrivateKey { position });
            }
            match Key::parse(member) {
                Ok(key) => {
                    let twin =
                        |other: &Key| key.kid.is_some() && other.kid == key.kid && other.algorithm == key.algorithm;
                    if set.keys.iter().any(twin) {
                        return Err(KeySetError::DuplicateKid { position });
                    }
                    set.keys.push(key);
                }
                Err(reason) => set.skipped.push(SkippedKey { position, reason }),
            }
        }
        if set.keys.is_empty() {
            Err(KeySetError::Empty { skipped: set.skipped })
        } else {
            Ok(set)
        }
    }

    /// How many keys can verify.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Never: a set without keys is an error of [`KeySet::parse`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The members that were skipped.
    #[must_use]
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }

    /// Whether a key of the set serves this algorithm.
    #[must_use]
    pub fn serves(&self, algorithm: Algorithm) -> bool {
        self.keys.iter().any(|key| key.algorithm == algorithm)
    }

    /// The kids of its keys.
    pub(super) fn kids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().filter_map(|key| key.kid.as_deref())
    }

    /// The one key for a token: by exact `kid`, or without a `kid` the only key that serves the algorithm. There is no "first that fits".
    pub(super) fn select(&self, algorithm: Algorithm, kid: Option<&str>) -> Result<&Key, TokenError> {
        let Some(kid) = kid else {
            let mut fitting = self.keys.iter().filter(|key| key.algorithm == algorithm);
            return match (fitting.next(), fitting.next()) {
                (Some(key), None) => Ok(key),
                _ => Err(TokenError::UnknownKey),
            };
        };
        let mut named = self
            .keys
            .iter()
            .filter(|key| key.kid.as_deref() == Some(kid))
            .peekable();
        if named.peek().is_none() {
            return Err(TokenError::UnknownKey);
        }
        named
            .find(|key| key.algorithm == algorithm)
            .ok_or(TokenError::Algorithm)
    }
}

/// Why a key set is refused. The texts name no key material.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySetError {
    /// Not JSON, or not an object with an array of objects in `keys`.
    NotAKeySet,
    /// An object has a name twice.
    DuplicateName,
    /// Larger than [`MAX_KEY_SET_BYTES`], more than [`MAX_KEYS`] keys, or nested deeply.
    TooLarge,
    /// A member holds private or secret key material.
    PrivateKey {
        /// Where it stands in the set, from 1.
        position: usize,
    },
    /// Two keys for one algorithm have the same `kid`.
    DuplicateKid {
        /// Where the second stands in the set, from 1.
        position: usize,
    },
    /// No key of the set can verify.
    Empty {
        /// What was skipped, and why.
        skipped: Vec<SkippedKey>,
    },
}

impl fmt::Display for KeySetError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAKeySet => {
                formatter.write_str("not a JSON Web Key Set; write an object with an array of public keys in `keys`")
            }
            Self::DuplicateName => formatter.write_str("an object of the key set has a name twice; leave one out"),
            Self::TooLarge => {
                write!(
                    formatter,
                    "the key set is too large; keep to {MAX_KEYS} keys and {MAX_KEY_SET_BYTES} bytes without deep nesting"
                )
            }
            Self::PrivateKey { position } => {
                write!(
                    formatter,
                    "key {position} of the set holds private or secret key material; leave only its public part here and replace the key, for it has leaked"
                )
            }
            Self::DuplicateKid { position } => {
                write!(
                    formatter,
                    "key {position} of the set has the `kid` and the algorithm of one before it; give each key a `kid` of its own"
                )
            }
            Self::Empty { skipped } if skipped.is_empty() => {
                formatter.write_str("the key set is empty; add a public key")
            }
            Self::Empty { skipped } => {
                formatter.write_str("no key of the set can verify a token; add one for RS256, ES256 or EdDSA")?;
                for SkippedKey { position, reason } in skipped {
                    write!(formatter, "; key {position}: {reason}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for KeySetError {}

/// Private members of every key type of RFC 7518 section 6, RFC 8037 and the `AKP` keys, and all symmetric keys.
fn is_private(member: &Object<'_>) -> bool {
    ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"]
        .into_iter()
        .any(|name| member.has(name))
        || text(member, "kty") == Some("oct")
}

/// A public key, in the form that each verifier takes.
#[derive(Clone)]
pub(super) struct Key {
    kid: Option<Box<str>>,
    pub(super) algorithm: Algorithm,
    /// For verification in the guest.
    pub(super) decoding: DecodingKey,
    /// For verification by the host: SubjectPublicKeyInfo DER (RFC 5280 section 4.1). The host has no Ed25519.
    pub(super) spki: Option<Box<[u8]>>,
    /// The one length in bytes that a signature of this key has.
    pub(super) signature_length: usize,
}

impl Key {
    fn parse(member: &Object<'_>) -> Result<Self, &'static str> {
        match member.get("use").map(Json::as_text) {
            None | Some(Some("sig")) => {}
            Some(_) => return Err("its `use` is not `sig`"),
        }
        match member.get("key_ops") {
            None => {}
            Some(Json::Array(operations)) if operations.iter().any(|each| each.as_text() == Some("verify")) => {}
            Some(_) => return Err("its `key_ops` lack `verify`"),
        }
        let kid = match member.get("kid") {
            None => None,
            Some(Json::Text(kid)) => Some(Box::from(&**kid)),
            Some(_) => return Err("its `kid` is not a string"),
        };
        let (algorithm, decoding, spki, signature_length) = match (text(member, "kty"), text(member, "crv")) {
            (Some("RSA"), _) => rsa(member)?,
            (Some("EC"), Some("P-256")) => p256(member)?,
            (Some("OKP"), Some("Ed25519")) => ed25519(member)?,
            (Some("EC" | "OKP"), _) => return Err("its curve is not supported"),
            _ => return Err("its type is not supported"),
        };
        match member.get("alg").map(Json::as_text) {
            None => {}
            Some(Some(name)) if name == algorithm.name() => {}
            // RFC 9864 names the curve.
            Some(Some("Ed25519")) if algorithm == Algorithm::EdDsa => {}
            Some(_) => return Err("its `alg` is not supported or does not fit its type"),
        }
        // Finds now what would fail on every token: a point off the curve.
        (rust_crypto::DEFAULT_PROVIDER.verifier_factory)(&algorithm.for_jsonwebtoken(), &decoding)
            .map_err(|_| "it is not a valid key")?;
        Ok(Self {
            kid,
            algorithm,
            decoding,
            spki,
            signature_length,
        })
    }
}

type Material = (Algorithm, DecodingKey, Option<Box<[u8]>>, usize);

/// RFC 7518 section 6.3.1.
fn rsa(member: &Object<'_>) -> Result<Material, &'static str> {
    let modulus = bytes(member, "n")?;
    let exponent = bytes(member, "e")?;
    let (modulus, exponent) = (without_leading_zeros(&modulus), without_leading_zeros(&exponent));
    let bits = modulus
        .len()
        .saturating_mul(8)
        .saturating_sub(modulus.first().map_or(0, |first| first.leading_zeros() as usize));
    if bits < 2048 {
        return Err("its RSA modulus has fewer than 2048 bits");
    }
    if bits > 4096 {
        return Err("its RSA modulus has more than 4096 bits");
    }
    // FIPS 186-5 appendix A.1.1: odd and above 2^16. An even modulus is no product of two primes.
    let is_odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
    if !(3..=4).contains(&exponent.len()) || !is_odd(exponent) || !is_odd(modulus) {
        return Err("its RSA exponent is not an odd number from 65537 to 2^32, or its modulus is even");
    }
    let decoding = DecodingKey::from_rsa_raw_components(modulus, exponent);
    // rsaEncryption (1.2.840.113549.1.1.1) with NULL (RFC 3279 section 2.3.1).
    let algorithm = [
        0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
    ];
    let key = der(0x30, &[der_unsigned(modulus), der_unsigned(exponent)].concat());
    let spki = der(0x30, &[&algorithm[..], &der(0x03, &[&[0][..], &key].concat())].concat());
    Ok((Algorithm::Rs256, decoding, Some(spki.into()), modulus.len()))
}

/// RFC 7518 section 6.2.1.
fn p256(member: &Object<'_>) -> Result<Material, &'static str> {
    let (x, y) = (bytes(member, "x")?, bytes(member, "y")?);
    if x.len() != 32 || y.len() != 32 {
        return Err("its coordinates do not have 32 bytes");
    }
    let point = [&[4][..], &x, &y].concat();
    // id-ecPublicKey (1.2.840.10045.2.1) on prime256v1 (1.2.840.10045.3.1.7) (RFC 5480 section 2.1.1).
    let algorithm = [
        0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d,
        0x03, 0x01, 0x07,
    ];
    let spki = der(
        0x30,
        &[&algorithm[..], &der(0x03, &[&[0][..], &point].concat())].concat(),
    );
    Ok((
        Algorithm::Es256,
        DecodingKey::from_ec_der(&point),
        Some(spki.into()),
        64,
    ))
}

/// RFC 8037 section 2.
fn ed25519(member: &Object<'_>) -> Result<Material, &'static str> {
    let x = bytes(member, "x")?;
    // Checked here because the verifier takes the first 32 bytes of whatever it gets.
    if x.len() != 32 {
        return Err("its `x` does not have 32 bytes");
    }
    Ok((Algorithm::EdDsa, DecodingKey::from_ed_der(&x), None, 64))
}

fn text<'m>(member: &'m Object<'_>, name: &str) -> Option<&'m str> {
    member.get(name).and_then(Json::as_text)
}

fn bytes(member: &Object<'_>, name: &str) -> Result<Vec<u8>, &'static str> {
    let text = text(member, name).ok_or("a number of it is missing or not a string")?;
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| "a number of it is not unpadded base64url")
}

/// RFC 7518 section 6.3.1.1 forbids leading zeros and knows that some write them.
fn without_leading_zeros(mut number: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = number {
        number = rest;
    }
    number
}

/// A DER element (X.690) of at most 65,535 bytes, which is more than any key or signature here has.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    let mut element = match (high, low) {
        (0, ..=0x7f) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    element.extend_from_slice(content);
    element
}

/// An unsigned big-endian number as a DER INTEGER: as short as can be, and positive.
fn der_unsigned(number: &[u8]) -> Vec<u8> {
    match without_leading_zeros(number) {
        short @ [0x80..=0xff, ..] => der(0x02, &[&[0], short].concat()),
        [] => der(0x02, &[0]),
        short => der(0x02, short),
    }
}

/// The fixed-length `r || s` of JOSE (RFC 7518 section 3.4) as the DER `SEQUENCE {r, s}` (RFC 3279 section 2.2.3) that others take.
pub(super) fn ecdsa_to_der(signature: &[u8; 64]) -> Vec<u8> {
    let (r, s) = signature.split_at(32);
    der(0x30, &[der_unsigned(r), der_unsigned(s)].concat())
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::super::fixtures::*;
    use super::*;

    fn rsa_jwk(more: &str) -> String {
        format!(r#"{{"kty":"RSA","n":"{RSA_N}","e":"AQAB"{more}}}"#)
    }

    fn ec_jwk(more: &str) -> String {
        format!(r#"{{"kty":"EC","crv":"P-256","x":"{EC_X}","y":"{EC_Y}"{more}}}"#)
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

    #[test]
    fn reads_the_three_kinds() {
        let set = parse(&[
            rsa_jwk(r#","kid":"a","alg":"RS256","use":"sig""#),
            ec_jwk(r#","key_ops":["verify"]"#),
            ed_jwk(r#","alg":"Ed25519""#),
        ])
        .ok()
        .unwrap();
        assert_eq!((set.len(), set.is_empty(), set.skipped()), (3, false, &[][..]));
        for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
            assert!(set.serves(algorithm));
            assert!(set.select(algorithm, None).is_ok());
        }
    }

    #[test]
    fn der_is_openssls() {
        let spki = |key: String| parse(&[key]).ok().unwrap().keys[0].spki.clone().unwrap();
        assert_eq!(STANDARD.encode(spki(rsa_jwk(""))), RSA_SPKI);
        assert_eq!(STANDARD.encode(spki(ec_jwk(""))), EC_SPKI);
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
    fn numbers_in_der_are_short_and_positive() {
        assert_eq!(der_unsigned(&[0, 0, 0x7f]), [2, 1, 0x7f]);
        assert_eq!(der_unsigned(&[0, 0x80]), [2, 2, 0, 0x80]);
        assert_eq!(der_unsigned(&[0, 0]), [2, 1, 0]);
        let mut signature = [0; 64];
        signature[0] = 0xff;
        signature[63] = 1;
        let der = ecdsa_to_der(&signature);
        assert_eq!(
            (der.len(), der[1], der[2], der[3], der[4], der[5]),
            (2 + 2 + 33 + 3, 38, 2, 33, 0, 0xff)
        );
        assert_eq!(&der[37..], [2, 1, 1]);
        assert_eq!(&super::der(4, &[7; 200])[..4], [4, 0x81, 200, 7]);
        assert_eq!(&super::der(4, &[7; 300])[..5], [4, 0x82, 1, 44, 7]);
    }

    #[test]
    fn keys_that_do_not_fit_are_skipped() {
        for (key, expected) in [
            (rsa_jwk(r#","use":"enc""#), "`use`"),
            (rsa_jwk(r#","use":1"#), "`use`"),
            (rsa_jwk(r#","key_ops":["sign"]"#), "`key_ops`"),
            (rsa_jwk(r#","key_ops":"verify""#), "`key_ops`"),
            (rsa_jwk(r#","alg":"PS256""#), "`alg`"),
            (rsa_jwk(r#","alg":"ES256""#), "`alg`"),
            (rsa_jwk(r#","alg":null"#), "`alg`"),
            (rsa_jwk(r#","kid":7"#), "`kid`"),
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
                "curve",
            ),
            (
                format!(r#"{{"kty":"EC","crv":"P-256","x":"{EC_X}","y":"{EC_X}"}}"#),
                "not a valid key",
            ),
            (
                format!(r#"{{"kty":"EC","crv":"P-256","x":"{EC_X}","y":"AQ"}}"#),
                "32 bytes",
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
        assert!(parse(&[rsa_jwk(kid), ec_jwk(kid)]).is_ok());
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
        assert_eq!(set.select(Algorithm::EdDsa, None).err(), Some(TokenError::UnknownKey));
    }

    #[test]
    fn algorithms_by_name() {
        for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
            assert_eq!(Algorithm::parse(algorithm.name()), Ok(algorithm));
        }
        for name in ["none", "NONE", "HS256", "rs256", "PS256", "RS512", ""] {
            assert!(
                Algorithm::parse(name)
                    .unwrap_err()
                    .ends_with("use RS256, ES256 or EdDSA"),
                "{name}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_key_set(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(KeySet::parse(&bytes).is_err());
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
}
