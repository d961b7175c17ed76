//! Signatures, by real cryptography: RSA by PKCS#1 v1.5, ECDSA over P-256 and P-384.

use p256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey, spki::der::Decode};
use rsa::pkcs8::{Document, SecretDocument, SubjectPublicKeyInfoRef};
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use super::{Message, field};
use crate::wasm::abi::Status;

/// What `verify_signature` of Envoy answers to an argument, by real cryptography; `None` where it refuses the argument (Envoy's `BadArgument`).
///
/// Argument: protobuf {1: hash, 2: SubjectPublicKeyInfo in DER, 3: signature, 4: text, 5: key in PEM instead of 2}.
/// Result: protobuf {1: true}, or {2: error text}.
#[must_use]
pub fn verify_signature(argument: &[u8]) -> Option<Vec<u8>> {
    verified(argument).ok()
}

pub(super) fn verified(argument: &[u8]) -> Result<Vec<u8>, Status> {
    let [hash, der, signature, text, pem] = Message::parse(argument).ok_or(Status::BadArgument)?.bytes;
    let key = match (der.is_empty(), pem.is_empty()) {
        (false, true) => Key::from_der(der),
        (true, false) => std::str::from_utf8(pem)
            .ok()
            .and_then(|pem| Document::from_pem(pem).ok())
            .filter(|(label, _)| *label == "PUBLIC KEY")
            .and_then(|(_, document)| Key::from_der(document.as_bytes())),
        // Envoy takes one of the two, and not both.
        _ => return Err(Status::BadArgument),
    };
    let hash_name = String::from_utf8_lossy(hash).to_lowercase();
    let error = match (Hash::of(&hash_name, text), key) {
        (None, _) => format!("{hash_name} is not supported."),
        (_, None) => "Failed to initialize digest verify.".to_owned(),
        (Some(hash), Some(key)) if key.verifies(&hash, signature) => return Ok(vec![0x08, 0x01]),
        _ => "Failed to verify digest. Error code: 0".to_owned(),
    };
    Ok(field(2, error.as_bytes()))
}

/// What `sign` of Envoy answers. Argument: protobuf {1: hash, 2: private key in DER, 3: text, 4: key in PEM instead of 2}; the key is
/// PKCS#8. Result: protobuf {1: true, 2: signature}, or {3: error text}. RSA signs by PKCS#1 v1.5, elliptic curves in DER.
///
/// Envoy's ECDSA signatures differ each time; here they are deterministic (RFC 6979), so that a run can be repeated.
pub(super) fn sign(argument: &[u8]) -> Result<Vec<u8>, Status> {
    let [hash, der, text, pem, _] = Message::parse(argument).ok_or(Status::BadArgument)?.bytes;
    let key = match (der.is_empty(), pem.is_empty()) {
        (false, true) => PrivateKey::from_der(der),
        (true, false) => std::str::from_utf8(pem)
            .ok()
            .and_then(|pem| SecretDocument::from_pem(pem).ok())
            .filter(|(label, _)| *label == "PRIVATE KEY")
            .and_then(|(_, document)| PrivateKey::from_der(document.as_bytes())),
        // Envoy takes one of the two, and not both.
        _ => return Err(Status::BadArgument),
    };
    let hash_name = String::from_utf8_lossy(hash).to_lowercase();
    let error = match (Hash::of(&hash_name, text), key) {
        (None, _) => format!("{hash_name} is not supported."),
        (_, None) => "Invalid key type: private key required for signing operation.".to_owned(),
        (Some(hash), Some(key)) => match key.signs(&hash) {
            Some(signature) => return Ok([vec![0x08, 0x01], field(2, &signature)].concat()),
            None => "Failed to create signature".to_owned(),
        },
    };
    Ok(field(3, error.as_bytes()))
}

enum PrivateKey {
    Rsa(Box<rsa::RsaPrivateKey>),
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
}

impl PrivateKey {
    fn from_der(der: &[u8]) -> Option<Self> {
        let rsa = || {
            rsa::RsaPrivateKey::from_pkcs8_der(der)
                .ok()
                .map(|key| PrivateKey::Rsa(Box::new(key)))
        };
        let p256 = || p256::ecdsa::SigningKey::from_pkcs8_der(der).ok().map(PrivateKey::P256);
        let p384 = || p384::ecdsa::SigningKey::from_pkcs8_der(der).ok().map(PrivateKey::P384);
        rsa().or_else(p256).or_else(p384)
    }

    fn signs(&self, hash: &Hash) -> Option<Vec<u8>> {
        match self {
            PrivateKey::Rsa(key) => {
                let padding = rsa::Pkcs1v15Sign {
                    hash_len: Some(hash.digest.len()),
                    prefix: hash.digest_info().into(),
                };
                key.sign(padding, &hash.digest).ok()
            }
            PrivateKey::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign_prehash(&padded(&hash.digest, 32)).ok()?;
                Some(signature.to_der().as_bytes().to_vec())
            }
            PrivateKey::P384(key) => {
                let signature: p384::ecdsa::Signature = key.sign_prehash(&padded(&hash.digest, 48)).ok()?;
                Some(signature.to_der().as_bytes().to_vec())
            }
        }
    }
}

enum Key {
    Rsa(rsa::RsaPublicKey),
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
}

impl Key {
    fn from_der(der: &[u8]) -> Option<Self> {
        SubjectPublicKeyInfoRef::from_der(der).ok()?;
        let rsa = || rsa::RsaPublicKey::from_public_key_der(der).ok().map(Key::Rsa);
        let p256 = || p256::ecdsa::VerifyingKey::from_public_key_der(der).ok().map(Key::P256);
        let p384 = || p384::ecdsa::VerifyingKey::from_public_key_der(der).ok().map(Key::P384);
        rsa().or_else(p256).or_else(p384)
    }

    fn verifies(&self, hash: &Hash, signature: &[u8]) -> bool {
        match self {
            Key::Rsa(key) => {
                let padding = rsa::Pkcs1v15Sign {
                    hash_len: Some(hash.digest.len()),
                    prefix: hash.digest_info().into(),
                };
                key.verify(padding, &hash.digest, signature).is_ok()
            }
            Key::P256(key) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(&padded(&hash.digest, 32), &signature).is_ok()),
            Key::P384(key) => p384::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(&padded(&hash.digest, 48), &signature).is_ok()),
        }
    }
}

/// A digest as ECDSA takes it: as many bytes as the curve's order at least, zeros in front (SEC 1, 4.1.4).
fn padded(digest: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size.saturating_sub(digest.len())];
    bytes.extend(digest);
    bytes
}

/// A digest and the OID of what made it.
struct Hash {
    digest: Vec<u8>,
    oid: &'static [u8],
}

impl Hash {
    fn of(name: &str, text: &[u8]) -> Option<Self> {
        let (digest, oid): (Vec<u8>, &[u8]) = match name {
            "sha1" => (sha1(text).to_vec(), &[0x2b, 0x0e, 0x03, 0x02, 0x1a]),
            "sha224" => (
                Sha224::digest(text).to_vec(),
                &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x04],
            ),
            "sha256" => (
                Sha256::digest(text).to_vec(),
                &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01],
            ),
            "sha384" => (
                Sha384::digest(text).to_vec(),
                &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02],
            ),
            "sha512" => (
                Sha512::digest(text).to_vec(),
                &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03],
            ),
            _ => return None,
        };
        Some(Hash { digest, oid })
    }

    /// What stands before the digest under PKCS#1 v1.5 (RFC 8017, 9.2, note 1).
    fn digest_info(&self) -> Vec<u8> {
        let (oid, digest) = (self.oid.len() as u8, self.digest.len() as u8);
        let mut bytes = vec![0x30, oid + digest + 8, 0x30, oid + 4, 0x06, oid];
        bytes.extend(self.oid);
        bytes.extend([0x05, 0x00, 0x04, digest]);
        bytes
    }
}

/// SHA-1 (RFC 3174), for old signatures only: Envoy still verifies them.
fn sha1(text: &[u8]) -> [u8; 20] {
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let mut message = text.to_vec();
    message.push(0x80);
    while message.len() % 64 != 56 {
        message.push(0);
    }
    message.extend((text.len() as u64).wrapping_mul(8).to_be_bytes());
    for block in message.chunks_exact(64) {
        let mut words = [0_u32; 80];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        for at in 16..80 {
            words[at] = (words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (at, word) in words.into_iter().enumerate() {
            let (mix, constant) = match at {
                0..20 => ((b & c) | (!b & d), 0x5a82_7999),
                20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                40..60 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6),
            };
            let next = a
                .rotate_left(5)
                .wrapping_add(mix)
                .wrapping_add(e)
                .wrapping_add(constant)
                .wrapping_add(word);
            (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
        }
        for (sum, part) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(part);
        }
    }
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

#[cfg(test)]
mod tests {
    use rsa::pkcs8::{EncodePrivateKey, EncodePublicKey};

    use super::*;

    fn argument(hash: &str, key: &[u8], signature: &[u8], text: &[u8]) -> Vec<u8> {
        [
            field(1, hash.as_bytes()),
            field(2, key),
            field(3, signature),
            field(4, text),
        ]
        .concat()
    }

    const TRUE: [u8; 2] = [0x08, 0x01];

    #[test]
    fn an_ecdsa_signature_is_verified_in_der() {
        let key = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
        let public = key.verifying_key().to_public_key_der().unwrap();
        let digest = Sha256::digest(b"text");
        let signature: p256::ecdsa::Signature = key.sign_prehash(&digest).unwrap();
        let der = signature.to_der();
        let ask =
            |signature: &[u8], text: &[u8]| verified(&argument("sha256", public.as_bytes(), signature, text)).unwrap();
        assert_eq!(ask(der.as_bytes(), b"text"), TRUE);
        assert_ne!(ask(der.as_bytes(), b"other"), TRUE);
        assert_ne!(ask(&signature.to_bytes(), b"text"), TRUE, "JOSE's form is not DER");
        let pem = key
            .verifying_key()
            .to_public_key_pem(rsa::pkcs8::LineEnding::LF)
            .unwrap();
        let by_pem = [
            field(1, b"sha256"),
            field(3, der.as_bytes()),
            field(4, b"text"),
            field(5, pem.as_bytes()),
        ];
        assert_eq!(verified(&by_pem.concat()).unwrap(), TRUE);
    }

    // Keys and signatures over `text`, made by OpenSSL 3 for these tests.
    const RSA_KEY: &str = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDAIS8zJWMHjqXUHL1wgfo9rP6QOx6LQJJ8zB+DEOpPLcRSGQbbrJ2fD3k4E3N6JfGZkDsUTSetnF1aj+QEDAEsBR4w1JBR7OxVd2+FFXLuAo6geJ0nyvwuf5wdslE+MtCFimCefGWHQ65QTZpDHDtkqHRHVTcc9EH54FQTX6aioQIDAQAB";
    const RSA_SIGNATURES: [(&str, &str); 5] = [
        (
            "sha1",
            "ByKqer6VvZCL+gG28Gn/nkkechRRu6mSEc1thkf1TQBILHIzF9V/Z85pl5syCOJVyjrNo0qNHzM+5T7ujeIb6doZ7GndB0QhQ6QRF7NSPgcy8br4PycSDx260NrOBiHtd9/yqFKtWK79L0invdI1zrRN8uLYauLI7bUBuCzZSmo=",
        ),
        (
            "sha224",
            "OM0y7E1bu5k3c9W8s16+wF/rc5479jBY4OedQ2WZzry9ySqNo+tYxAzVbh4RYuyozIAZjKm2L6zTyu8+P0AKRquIerz4Mchrz2a1eXwAK4xo5y+pst8t8fToiullCndJQm2motT0sMR0LnPVBDXwr4VMy4uSg0fWg0ueg4h+MZc=",
        ),
        (
            "sha256",
            "cEF0EQ5fLO9ARgx0Uw7sQ2bXzgTQhcmPYA4oJ8MoQ61a/x0p2HB4cdhJrVGV4Q4YrKy9RIzUoukhbkEpZTZ5gqJ3jAyoZYLmm7o15bEWgFPvbXcm8A2urU3gQrIFS4W9rn9xStlpx3wvMIyEWIpZ0OoY0/ySB4a5/9kFnSAgzvo=",
        ),
        (
            "sha384",
            "fA533IDvrIJs41nrK3AzskkRhWnar3pRalo+omdVaVy73WbWgRdDcm9YRke0s/Gexd6iBE0hNT54XbYZuunzd4J5OjoUnrpjVt8RjnaB0GPRP+/BK+w4VVZ74xAIHBKKjMCAAbkVs0q5paqbENyc9wMUu4E4FDX4Ijon1KndJzE=",
        ),
        (
            "sha512",
            "EiQ8vlKdtZGMKWlYFCnIstvPAFrIZCP/KCQ2034gq2Wm45Vv2nA5SkeaQ3M8YGP24kpEdmR1Cld80BfEEyusag+a38v9OOqB1kR8mZHUIUSK9W7t/uNxo2Uce8cvZQGf091nuhWNMlQIOMpvzygDdwH5kmiQyeHPO+2p0KSU+aQ=",
        ),
    ];
    const P384_KEY: &str = "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAElsnWmn36Mkr1NfBAODJdFZHHYNnYHRyIB/YtyA382V06Xi9PtfwtUdc0s+p8TvxCWFjXm+zLWCwYHtbZqgcm6WZh1QaFhBnjH1O1jd+ALdYXANEIye/RBNNrY6K8RJu9";
    const P384_SIGNATURES: [(&str, &str); 2] = [
        (
            "sha384",
            "MGQCMQCXbVXSvK0710IDG4UyE29lUACWmZZSVEMWih03Dnr5HjllCV2p3XNwb4puCv5n2xQCL3Pv81FL/EG8OcptdXjOwlPA52ILjf5qDrhFvmMY5Cr/z6ktakAvfS9w0gTIUF5V",
        ),
        (
            "sha256",
            "MGYCMQD1A36lBGFpMgmjBcpkShvNcm0DMK/tqprAqo32FbcGb17MecW/vAjMhtO5VEYMNlsCMQD+cc2zJRIEDoMJdTmiIxW437Rq5veUJEyUWi+iHzSwe29VdvcGiyE/fewDEMEDAhQ=",
        ),
    ];

    fn decode(text: &str) -> Vec<u8> {
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).unwrap()
    }

    #[test]
    fn what_openssl_signs_is_verified() {
        let rsa = RSA_SIGNATURES.map(|vector| (RSA_KEY, vector));
        let p384 = P384_SIGNATURES.map(|vector| (P384_KEY, vector));
        for (key, (hash, signature)) in rsa.into_iter().chain(p384) {
            let (key, signature) = (decode(key), decode(signature));
            let ask = |text: &[u8]| verified(&argument(hash, &key, &signature, text)).unwrap();
            assert_eq!(ask(b"text"), TRUE, "{hash}");
            assert_ne!(ask(b"texu"), TRUE, "{hash}");
            let other = verified(&argument("sha224", &key, &signature, b"text")).unwrap();
            assert_eq!(other == TRUE, hash == "sha224", "another hash than {hash}");
        }
    }

    #[test]
    fn what_is_signed_is_verified() {
        let p256 = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
        let p384 = p384::ecdsa::SigningKey::from_slice(&[7; 48]).unwrap();
        let keys = [
            (
                p256.to_pkcs8_der().unwrap(),
                p256.verifying_key().to_public_key_der().unwrap(),
            ),
            (
                p384.to_pkcs8_der().unwrap(),
                p384.verifying_key().to_public_key_der().unwrap(),
            ),
        ];
        for (private, public) in &keys {
            for hash in ["sha1", "sha224", "sha256", "sha384", "sha512"] {
                let asked = [
                    field(1, hash.as_bytes()),
                    field(2, private.as_bytes()),
                    field(3, b"text"),
                ]
                .concat();
                let answer = sign(&asked).unwrap();
                assert_eq!(answer, sign(&asked).unwrap(), "the same in every run");
                let signature = Message::parse(&answer).unwrap();
                assert_eq!(signature.numbers[0], 1);
                let check = argument(hash, public.as_bytes(), signature.bytes[1], b"text");
                assert_eq!(verified(&check).unwrap(), TRUE, "{hash}");
            }
        }
        let private = keys[0].0.as_bytes();
        let refused = sign(&[field(1, b"md5"), field(2, private)].concat()).unwrap();
        assert_eq!(Message::parse(&refused).unwrap().bytes[2], b"md5 is not supported.");
        assert_eq!(sign(&field(1, b"sha256")), Err(Status::BadArgument));
        let both = [field(1, b"sha256"), field(2, private), field(4, b"x")].concat();
        assert_eq!(sign(&both), Err(Status::BadArgument));
    }

    #[test]
    fn what_envoy_refuses_is_a_bad_argument() {
        assert_eq!(verified(b"\xff\xff"), Err(Status::BadArgument));
        let no_key = verified(&argument("sha256", b"no key", b"", b"")).unwrap();
        assert_eq!(&no_key[2..], b"Failed to initialize digest verify.");
        assert_eq!(verified(&field(1, b"sha256")), Err(Status::BadArgument));
        let result = verified(&argument("md5", &decode(RSA_KEY), b"", b"")).unwrap();
        assert_eq!(&result[2..], b"md5 is not supported.");
    }

    #[test]
    fn sha1_gives_the_digests_of_rfc_3174() {
        let hex = |digest: [u8; 20]| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(sha1(b"abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(
            hex(sha1(b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1"
        );
    }
}
