//! Makes tokens and stands in for a host, for the tests of this module.

use std::cell::Cell;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, EncodingKey};

use super::fixtures::*;
use super::signature::{HostVerdict, HostVerifier};

/// A private key and the algorithm it signs with.
#[derive(Clone, Copy)]
pub(super) struct Signer {
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
pub(super) const ED_SIGNER: Signer = Signer {
    algorithm: jsonwebtoken::Algorithm::EdDSA,
    private: ED_PRIVATE,
};

impl Signer {
    /// A token over header and payload exactly as they are given.
    pub(super) fn token(self, header: &str, payload: &str) -> String {
        let der = STANDARD.decode(self.private).unwrap();
        let key = match self.algorithm {
            jsonwebtoken::Algorithm::RS256 => EncodingKey::from_rsa_der(&der),
            jsonwebtoken::Algorithm::ES256 => EncodingKey::from_ec_der(&der),
            _ => EncodingKey::from_ed_der(&der),
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
    fn verify(&self, hash: &'static str, spki: &[u8], signature: &[u8], text: &[u8]) -> HostVerdict {
        self.calls.set(self.calls.get() + 1);
        assert_eq!(hash, "sha256");
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
        let is_rsa = algorithm.ends_with(&[5, 0]);
        let (key, signature, algorithm) = if is_rsa {
            (
                DecodingKey::from_rsa_der(&key[1..]),
                signature.to_vec(),
                jsonwebtoken::Algorithm::RS256,
            )
        } else {
            let Some(signature) = fixed(signature) else {
                return HostVerdict::Invalid;
            };
            (
                DecodingKey::from_ec_der(&key[1..]),
                signature,
                jsonwebtoken::Algorithm::ES256,
            )
        };
        match jsonwebtoken::crypto::verify(&URL_SAFE_NO_PAD.encode(signature), text, &key, algorithm) {
            Ok(true) => HostVerdict::Valid,
            Ok(false) => HostVerdict::Invalid,
            Err(_) => HostVerdict::Unavailable,
        }
    }
}

/// `SEQUENCE {r, s}` as `r || s`.
fn fixed(signature: &[u8]) -> Option<Vec<u8>> {
    let (0x30, numbers, []) = element(signature) else {
        return None;
    };
    let (0x02, r, rest) = element(numbers) else {
        return None;
    };
    let (0x02, s, []) = element(rest) else {
        return None;
    };
    let mut fixed = vec![0; 64];
    for (number, end) in [(r, 32), (s, 64)] {
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
