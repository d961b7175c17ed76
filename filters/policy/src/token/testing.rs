//! Makes tokens and stands in for a host, for the tests of this module.

use std::cell::Cell;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{AlgorithmFamily, DecodingKey, EncodingKey};

use super::algorithm::Algorithm;
use super::fixtures::*;
use super::signature::{HostKind, HostVerdict, HostVerifier};

/// A private key and the algorithm it signs with.
#[derive(Clone, Copy)]
pub(crate) struct Signer {
    algorithm: jsonwebtoken::Algorithm,
    private: &'static str,
}

pub(super) const RSA_SIGNER: Signer = Signer {
    algorithm: jsonwebtoken::Algorithm::RS256,
    private: RSA_PRIVATE,
};
pub(super) const RSA_OTHER_SIGNER: Signer = Signer {
    algorithm: jsonwebtoken::Algorithm::RS256,
    private: RSA_OTHER_PRIVATE,
};
pub(super) const EC_SIGNER: Signer = Signer {
    algorithm: jsonwebtoken::Algorithm::ES256,
    private: EC_PRIVATE,
};
pub(super) const EC_OTHER_SIGNER: Signer = Signer {
    algorithm: jsonwebtoken::Algorithm::ES256,
    private: EC_OTHER_PRIVATE,
};
pub(super) const P384_SIGNER: Signer = Signer {
    algorithm: jsonwebtoken::Algorithm::ES384,
    private: P384_PRIVATE,
};
pub(crate) const ED_SIGNER: Signer = Signer {
    algorithm: jsonwebtoken::Algorithm::EdDSA,
    private: ED_PRIVATE,
};

/// A shared secret for tests only, of 64 bytes in base64.
pub(super) const SECRET: &str =
    "c2hhcmVkIGJ5IHRoZXNlIHRlc3RzIGFuZCBub2JvZHkgZWxzZSwgNjQgYnl0ZXMgaW4gYWxsLCAuLi4uLi4uLg==";

pub(super) const SECRET_SIGNER: Signer = Signer {
    algorithm: jsonwebtoken::Algorithm::HS256,
    private: SECRET,
};

impl Signer {
    /// HMAC with SHA-256 and any secret, in base64.
    pub(super) fn secret(base64: &'static str) -> Self {
        Self {
            private: base64,
            ..SECRET_SIGNER
        }
    }

    /// The same key with another algorithm.
    pub(super) fn with(self, algorithm: Algorithm) -> Self {
        Self {
            algorithm: algorithm.for_jsonwebtoken(),
            ..self
        }
    }

    /// A token over header and payload exactly as they are given.
    pub(crate) fn token(self, header: &str, payload: &str) -> String {
        let der = STANDARD.decode(self.private).unwrap();
        let key = match self.algorithm.family() {
            AlgorithmFamily::Rsa => EncodingKey::from_rsa_der(&der),
            AlgorithmFamily::Ec => EncodingKey::from_ec_der(&der),
            AlgorithmFamily::Ed => EncodingKey::from_ed_der(&der),
            AlgorithmFamily::Hmac => EncodingKey::from_secret(&der),
        };
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = jsonwebtoken::crypto::sign(text.as_bytes(), &key, self.algorithm).unwrap();
        format!("{text}.{signature}")
    }
}

/// A host that reads SPKI and DER by itself and lets `jsonwebtoken` verify.
#[derive(Default)]
pub(super) struct GuestAsHost {
    pub(super) calls: Cell<usize>,
}

impl HostVerifier for GuestAsHost {
    fn verify(&self, kind: HostKind, spki: &[u8], signature: &[u8], text: &[u8]) -> HostVerdict {
        self.calls.set(self.calls.get() + 1);
        let (0x30, spki, []) = element(spki) else {
            panic!("not a sequence")
        };
        let (0x30, algorithm, rest) = element(spki) else {
            panic!("no algorithm")
        };
        let (0x03, key, []) = element(rest) else {
            panic!("no bit string")
        };
        assert_eq!(key[0], 0);
        let half = match algorithm {
            [.., 5, 0] => None,
            [.., 3, 1, 7] => Some(32),
            [.., 0x81, 4, 0, 0x22] => Some(48),
            _ => panic!("no such curve"),
        };
        let (key, signature) = match half {
            None => (DecodingKey::from_rsa_der(&key[1..]), signature.to_vec()),
            Some(half) => match fixed(signature, half) {
                Some(signature) => (DecodingKey::from_ec_der(&key[1..]), signature),
                None => return HostVerdict::Invalid,
            },
        };
        let algorithm = kind.name().parse().unwrap();
        match jsonwebtoken::crypto::verify(&URL_SAFE_NO_PAD.encode(signature), text, &key, algorithm) {
            Ok(true) => HostVerdict::Valid,
            Ok(false) => HostVerdict::Invalid,
            Err(_) => HostVerdict::Unavailable,
        }
    }
}

/// `SEQUENCE {r, s}` as `r || s`, each of `half` bytes.
fn fixed(signature: &[u8], half: usize) -> Option<Vec<u8>> {
    let (0x30, numbers, []) = element(signature) else {
        return None;
    };
    let (0x02, r, rest) = element(numbers) else {
        return None;
    };
    let (0x02, s, []) = element(rest) else {
        return None;
    };
    let mut fixed = vec![0; 2 * half];
    for (number, end) in [(r, half), (s, 2 * half)] {
        assert!(
            number[0] < 0x80 && (number[0] != 0 || number.len() == 1 || number[1] >= 0x80),
            "not DER"
        );
        let number = number.strip_prefix(&[0]).unwrap_or(number);
        fixed.get_mut(end - number.len()..end)?.copy_from_slice(number);
    }
    Some(fixed)
}

/// Tag, content and what follows.
fn element(der: &[u8]) -> (u8, &[u8], &[u8]) {
    let (length, start) = match der[1] {
        0x81 => (der[2] as usize, 3),
        0x82 => (u16::from_be_bytes([der[2], der[3]]) as usize, 4),
        short => (short as usize, 2),
    };
    (der[0], &der[start..start + length], &der[start + length..])
}
