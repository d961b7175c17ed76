//! One key: a public JWK (RFC 7517) or a shared secret, read once into what verifies.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::{JwtVerifier, rust_crypto};

use super::algorithm::Algorithm;
use super::der;
use super::json::{Json, Object};

/// The most bytes of a `kid`, in a key or a token. Real ones are digests or UUIDs.
pub const MAX_KID_BYTES: usize = 512;

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
    pub(super) kid: Option<Box<str>>,
    pub(super) kind: Kind,
    /// The one algorithm that its `alg` names.
    only: Option<Algorithm>,
    /// For verification in the guest.
    pub(super) decoding: DecodingKey,
    /// For verification by the host: SubjectPublicKeyInfo DER (RFC 5280 section 4.1). The host has no Ed25519, and gets no secret.
    pub(super) spki: Option<Box<[u8]>>,
}

/// The type of a key, its curve, and what bounds its signatures.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Kind {
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

    /// A shared secret, for HMAC.
    pub(super) fn secret(bytes: &[u8]) -> Self {
        Self {
            kid: None,
            kind: Kind::Secret { length: bytes.len() },
            only: None,
            decoding: DecodingKey::from_secret(bytes),
            spki: None,
        }
    }

    pub(super) fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret { .. })
    }

    /// Whether signatures of this algorithm may be checked with this key (RFC 8725 section 3.1: a key is for one algorithm, or for those that its type has).
    pub(super) fn serves(&self, algorithm: Algorithm) -> bool {
        self.kind.fits(algorithm) && self.only.is_none_or(|only| only == algorithm)
    }

    /// Whether an algorithm is served by both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
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
pub(super) const ORDER_8: [[u8; 32]; 2] = [
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
