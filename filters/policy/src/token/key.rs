//! Keys: JSON Web Key Sets (RFC 7517) and shared secrets, read once into what verifies.

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::{JwtVerifier, rust_crypto};

use super::TokenError;
use super::algorithm::{ASYMMETRIC_NAMES, Algorithm};
use super::der;
use super::json::{Json, JsonError, Limits, Object, parse_object};

/// The most bytes that a key set may have.
pub const MAX_KEY_SET_BYTES: usize = 256 * 1024;

/// The most keys that a set may have.
pub const MAX_KEYS: usize = 128;

/// The most bytes of a `kid`, in a key or a token. Real ones are digests or UUIDs.
pub const MAX_KID_BYTES: usize = 512;

/// RFC 7518 section 3.2, for the shortest hash.
const MIN_SECRET_BYTES: usize = 32;

const LIMITS: Limits = Limits { depth: 8, values: 8192 };

/// The keys of one issuer: public ones, or one shared secret, never both. It has no `Debug` and no `Display`, for it may hold a secret.
///
/// An RSA key serves the six algorithms of RSA, unless its `alg` names one; every other key serves one, by its type and curve.
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
                    let twin = |other: &Key| key.kid.is_some() && other.kid == key.kid && other.overlaps(&key);
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

    /// A set with one shared secret, for HS256, HS384 and HS512 as far as it is long enough (RFC 7518 section 3.2), and for nothing else.
    ///
    /// Such a key has no `kid`, and the `kid` of a token does not matter to it: there is nothing to choose between, and nothing that a wrong choice could
    /// let in. Issuers that write one into every token could not be used otherwise.
    ///
    /// # Errors
    /// [`KeySetError::ShortSecret`] with fewer than 32 bytes.
    pub fn secret(bytes: &[u8]) -> Result<Self, KeySetError> {
        if bytes.len() < MIN_SECRET_BYTES {
            return Err(KeySetError::ShortSecret);
        }
        Ok(Self {
            keys: vec![Key {
                kid: None,
                kind: Kind::Secret { length: bytes.len() },
                only: None,
                decoding: DecodingKey::from_secret(bytes),
                spki: None,
            }],
            skipped: Vec::new(),
        })
    }

    /// Whether this is a shared secret, see [`KeySet::secret`].
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.keys.iter().any(|key| matches!(key.kind, Kind::Secret { .. }))
    }

    /// Checks that these keys may serve these algorithms: HMAC never goes with public keys, and nothing else with a secret (RFC 8725 section 3.1), which must be
    /// long enough for each (RFC 7518 section 3.2); at least one is served.
    ///
    /// # Errors
    /// What does not fit, and the mend, to stand after the issuer's name.
    pub(super) fn check(&self, algorithms: &[Algorithm]) -> Result<(), String> {
        for algorithm in algorithms {
            let name = algorithm.name();
            match (algorithm.secret_length(), self.is_secret()) {
                (Some(_), false) => {
                    return Err(format!(
                        "lists `{name}`, which must never be used with public keys; leave it out, or give `secret` instead of `jwks`"
                    ));
                }
                (None, true) => {
                    return Err(format!(
                        "lists `{name}`, which a shared secret can't verify; list HS256, HS384 or HS512, or give `jwks` instead of `secret`"
                    ));
                }
                (Some(length), true) if !self.serves(*algorithm) => {
                    return Err(format!(
                        "has a secret that is too short for `{name}`; make it {length} random bytes or more"
                    ));
                }
                _ => {}
            }
        }
        if algorithms.iter().any(|algorithm| self.serves(*algorithm)) {
            Ok(())
        } else {
            Err("has no key that fits its algorithms; add a key or an algorithm".to_owned())
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
        self.keys.iter().any(|key| key.serves(algorithm))
    }

    /// The one key for a token: by exact `kid`, or without a `kid` the only key that serves the algorithm. There is no "first that fits".
    /// With a shared secret there is no `kid`, see [`KeySet::secret`].
    pub(super) fn select(&self, algorithm: Algorithm, kid: Option<&str>) -> Result<&Key, TokenError> {
        let Some(kid) = kid.filter(|_| !self.is_secret()) else {
            let mut fitting = self.keys.iter().filter(|key| key.serves(algorithm));
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
        named.find(|key| key.serves(algorithm)).ok_or(TokenError::Algorithm)
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
    /// A shared secret has fewer than 32 bytes.
    ShortSecret,
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
            Self::ShortSecret => write!(
                formatter,
                "the secret has fewer than {MIN_SECRET_BYTES} bytes; make it that many random bytes or more"
            ),
            Self::Empty { skipped } if skipped.is_empty() => {
                formatter.write_str("the key set is empty; add a public key")
            }
            Self::Empty { skipped } => {
                write!(
                    formatter,
                    "no key of the set can verify a token; add one for {ASYMMETRIC_NAMES}"
                )?;
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
pub(super) fn is_private(member: &Object<'_>) -> bool {
    ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"]
        .into_iter()
        .any(|name| member.has(name))
        || text(member, "kty") == Some("oct")
}

/// A key, in the form that each verifier takes.
#[derive(Clone)]
pub(super) struct Key {
    kid: Option<Box<str>>,
    kind: Kind,
    /// The one algorithm that its `alg` names.
    only: Option<Algorithm>,
    /// For verification in the guest.
    pub(super) decoding: DecodingKey,
    /// For verification by the host: SubjectPublicKeyInfo DER (RFC 5280 section 4.1). The host has no Ed25519, and gets no secret.
    pub(super) spki: Option<Box<[u8]>>,
}

/// The type of a key, its curve, and what bounds its signatures.
#[derive(Clone, PartialEq, Eq)]
enum Kind {
    /// The modulus, without leading zeros.
    Rsa(Box<[u8]>),
    P256,
    P384,
    Ed25519,
    /// A shared secret of so many bytes.
    Secret {
        length: usize,
    },
}

impl Kind {
    /// RFC 7518 section 3.1 and RFC 8037 section 3.1.
    fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm::*;
        match self {
            Self::Rsa(_) if matches!(algorithm, Rs256 | Rs384 | Rs512) => true,
            Self::Rsa(modulus) => matches!(algorithm, Ps256 | Ps384 | Ps512) && pss_can_be_checked(modulus),
            Self::P256 => algorithm == Es256,
            Self::P384 => algorithm == Es384,
            Self::Ed25519 => algorithm == EdDsa,
            Self::Secret { length } => algorithm.secret_length().is_some_and(|least| least <= *length),
        }
    }
}

/// Where the modulus has 8k + 1 bits, the encoded message of RSASSA-PSS is one byte shorter than the signature, and the byte before it must be zero
/// (RFC 8017 section 8.1.2, step 2c). The library in use does not look at that byte, so such keys, which hardly anybody makes, are not for PS*.
fn pss_can_be_checked(modulus: &[u8]) -> bool {
    modulus.first() != Some(&1)
}

impl Key {
    pub(super) fn parse(member: &Object<'_>) -> Result<Self, &'static str> {
        match member.get("use").map(Json::as_text) {
            None | Some(Some("sig")) => {}
            Some(_) => return Err("its `use` is not `sig`"),
        }
        if let Some(operations) = member.get("key_ops") {
            check_operations(operations)?;
        }
        let kid = match member.get("kid") {
            None => None,
            Some(Json::Text(kid)) if kid.len() <= MAX_KID_BYTES => Some(Box::from(&**kid)),
            Some(Json::Text(_)) => return Err("its `kid` is too long"),
            Some(_) => return Err("its `kid` is not a string"),
        };
        let (kind, decoding, spki) = match (text(member, "kty"), text(member, "crv")) {
            (Some("RSA"), _) => rsa(member)?,
            (Some("EC"), Some("P-256")) => ec(member, Kind::P256, 32, &EC_P256)?,
            (Some("EC"), Some("P-384")) => ec(member, Kind::P384, 48, &EC_P384)?,
            (Some("OKP"), Some("Ed25519")) => ed25519(member)?,
            (Some("EC" | "OKP"), _) => return Err("its curve is not supported"),
            _ => return Err("its type is not supported"),
        };
        let only = match member.get("alg").map(Json::as_text) {
            None => None,
            // RFC 9864 names the curve.
            Some(Some("Ed25519")) if kind == Kind::Ed25519 => Some(Algorithm::EdDsa),
            Some(name) => Some(
                name.and_then(Algorithm::from_name)
                    .filter(|algorithm| kind.fits(*algorithm))
                    .ok_or("its `alg` is not supported or does not fit its type")?,
            ),
        };
        let key = Self {
            kid,
            kind,
            only,
            decoding,
            spki,
        };
        // Finds now what would fail on every token: a point off the curve.
        let works = Algorithm::ALL
            .into_iter()
            .find(|algorithm| key.serves(*algorithm))
            .is_some_and(|algorithm| key.verifier(algorithm).is_some());
        if works { Ok(key) } else { Err("it is not a valid key") }
    }

    /// Whether signatures of this algorithm may be checked with this key (RFC 8725 section 3.1: a key is for one algorithm, or for those that its type has).
    pub(super) fn serves(&self, algorithm: Algorithm) -> bool {
        self.kind.fits(algorithm) && self.only.is_none_or(|only| only == algorithm)
    }

    /// Whether an algorithm is served by both.
    fn overlaps(&self, other: &Self) -> bool {
        Algorithm::ALL
            .into_iter()
            .any(|algorithm| self.serves(algorithm) && other.serves(algorithm))
    }

    /// Whether a signature has the one form that those of this key and algorithm have. Both ways to verify are held to it:
    ///
    /// - RSA: as many bytes as the modulus (RFC 8017 sections 8.1.2 and 8.2.2, step 1), and as a number below it (section 5.2.2). Without the second, `s + n` would be a
    ///   second spelling of a PSS signature, because the library in use reduces it.
    /// - ECDSA: twice as many bytes as the curve's numbers have (RFC 7518 section 3.4).
    /// - EdDSA: 64 bytes (RFC 8032 section 5.1.6). HMAC: those of the hash.
    pub(super) fn takes(&self, algorithm: Algorithm, signature: &[u8]) -> bool {
        match &self.kind {
            // Of one length, numbers compare as their bytes.
            Kind::Rsa(modulus) => signature.len() == modulus.len() && signature < &**modulus,
            Kind::P256 | Kind::Ed25519 => signature.len() == 64,
            Kind::P384 => signature.len() == 96,
            Kind::Secret { .. } => algorithm.secret_length() == Some(signature.len()),
        }
    }

    /// What verifies in the guest.
    pub(super) fn verifier(&self, algorithm: Algorithm) -> Option<Box<dyn JwtVerifier>> {
        (rust_crypto::DEFAULT_PROVIDER.verifier_factory)(&algorithm.for_jsonwebtoken(), &self.decoding).ok()
    }
}

/// RFC 7517 section 4.3: an array of strings of which none stands twice. Those here are to verify with.
fn check_operations(operations: &Json<'_>) -> Result<(), &'static str> {
    const BROKEN: &str = "its `key_ops` are not an array of strings that each stand once";
    let Json::Array(operations) = operations else {
        return Err(BROKEN);
    };
    let mut seen = BTreeSet::new();
    for operation in operations {
        if !operation.as_text().is_some_and(|operation| seen.insert(operation)) {
            return Err(BROKEN);
        }
    }
    if seen.contains("verify") {
        Ok(())
    } else {
        Err("its `key_ops` lack `verify`")
    }
}

type Material = (Kind, DecodingKey, Option<Box<[u8]>>);

/// rsaEncryption (1.2.840.113549.1.1.1) with NULL (RFC 3279 section 2.3.1).
const RSA_ENCRYPTION: [u8; 15] = [
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

/// id-ecPublicKey (1.2.840.10045.2.1) on secp256r1 (1.2.840.10045.3.1.7) (RFC 5480 section 2.1.1).
const EC_P256: [u8; 21] = [
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
    0x01, 0x07,
];

/// id-ecPublicKey on secp384r1 (1.3.132.0.34).
const EC_P384: [u8; 18] = [
    0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22,
];

/// RFC 7518 section 6.3.1.
fn rsa(member: &Object<'_>) -> Result<Material, &'static str> {
    let modulus = bytes(member, "n")?;
    let exponent = bytes(member, "e")?;
    // RFC 7518 section 6.3.1.1 forbids leading zeros and knows that some write them.
    let (modulus, exponent) = (
        der::without_leading_zeros(&modulus),
        der::without_leading_zeros(&exponent),
    );
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
    let key = der::element(0x30, &[der::unsigned(modulus), der::unsigned(exponent)].concat());
    let spki = der::public_key_info(&RSA_ENCRYPTION, &key);
    Ok((Kind::Rsa(modulus.into()), decoding, Some(spki.into())))
}

/// RFC 7518 section 6.2.1: coordinates of exactly `size` bytes.
fn ec(member: &Object<'_>, kind: Kind, size: usize, algorithm: &[u8]) -> Result<Material, &'static str> {
    let (x, y) = (bytes(member, "x")?, bytes(member, "y")?);
    if x.len() != size || y.len() != size {
        return Err("its coordinates do not have the bytes of its curve, 32 or 48");
    }
    let point = [&[4][..], &x, &y].concat();
    let spki = der::public_key_info(algorithm, &point);
    Ok((kind, DecodingKey::from_ec_der(&point), Some(spki.into())))
}

/// RFC 8037 section 2.
fn ed25519(member: &Object<'_>) -> Result<Material, &'static str> {
    let x = bytes(member, "x")?;
    // Checked here because the verifier takes the first 32 bytes of whatever it gets.
    let Ok(point) = <[u8; 32]>::try_from(&*x) else {
        return Err("its `x` does not have 32 bytes");
    };
    if is_weak_ed25519(point) {
        return Err("its `x` is not the encoding of a point that is safe to use");
    }
    Ok((Kind::Ed25519, DecodingKey::from_ed_der(&x), None))
}

/// Whether a key is one of the points of small order, for which anybody can make signatures that hold for many texts (RFC 8032 section 8.9 leaves them to the
/// application), or is written otherwise than with y below 2^255 - 19 (section 5.1.3 refuses that, the library in use does not).
fn is_weak_ed25519(mut point: [u8; 32]) -> bool {
    // The sign of x: every y here has the same order with either.
    let [.., last] = &mut point;
    *last &= 0x7f;
    let [first, middle @ .., last] = &point;
    let ends_with_ones = *last == 0x7f && middle.iter().all(|byte| *byte == 0xff);
    // From p - 1, which has order 2, on.
    let is_minus_one_or_above = ends_with_ones && *first >= 0xec;
    let is_zero_or_one = *first <= 1 && *last == 0 && middle.iter().all(|byte| *byte == 0);
    is_minus_one_or_above || is_zero_or_one || ORDER_8.contains(&point)
}

/// The two y of the points of order 8, little-endian.
const ORDER_8: [[u8; 32]; 2] = [
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
];

fn text<'m>(member: &'m Object<'_>, name: &str) -> Option<&'m str> {
    member.get(name).and_then(Json::as_text)
}

fn bytes(member: &Object<'_>, name: &str) -> Result<Vec<u8>, &'static str> {
    let text = text(member, name).ok_or("a number of it is missing or not a string")?;
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| "a number of it is not unpadded base64url")
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
}
