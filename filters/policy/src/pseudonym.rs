//! Keyed pseudonyms: the same value gives the same token, and without the key nobody can search the value space.
//!
//! 1. A pseudonym is `ps1_` and the first 128 bits of HMAC-SHA-256 (RFC 2104) over the value, in base64url (RFC 4648 5) without
//!    padding. An unkeyed hash of an SSN or MRN falls to brute force; this does not.
//! 2. Keys are at least 256 bits. A key has no Display, Debug or Serialize.
//! 3. A pseudonymised id is not de-identified data under 45 CFR 164.514(c): the key holder can link it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// The least a key must have, in bytes.
pub const MIN_KEY_BYTES: usize = 32;

/// A pseudonym: it holds nothing of the value that can be read without the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pseudonym(String);

impl Pseudonym {
    /// The 26 characters, safe in URLs, headers and JSON.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes one that another module of the chain made; `None` for what is none.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("ps1_")?;
        let safe = rest
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        (rest.len() == 22 && safe).then(|| Pseudonym(text.to_owned()))
    }
}

/// Makes pseudonyms with one key.
#[derive(Clone)]
pub struct Pseudonymiser {
    keyed: Hmac<Sha256>,
}

impl Pseudonymiser {
    /// Takes a key of at least [`MIN_KEY_BYTES`]; `None` for a shorter one.
    pub fn new(key: &[u8]) -> Option<Self> {
        if key.len() < MIN_KEY_BYTES {
            return None;
        }
        Hmac::new_from_slice(key).ok().map(|keyed| Pseudonymiser { keyed })
    }

    /// The pseudonym of a value.
    pub fn pseudonym(&self, value: &[u8]) -> Pseudonym {
        let mut mac = self.keyed.clone();
        mac.update(value);
        let digest = mac.finalize().into_bytes();
        let mut text = String::from("ps1_");
        URL_SAFE_NO_PAD.encode_string(digest.get(..16).unwrap_or_default(), &mut text);
        Pseudonym(text)
    }
}

impl crate::phi::Pseudonymise for Pseudonymiser {
    fn pseudonym(&self, value: &[u8]) -> String {
        Pseudonymiser::pseudonym(self, value).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_key_and_value_give_the_same_pseudonym_and_others_another() {
        let one = Pseudonymiser::new(&[1; 32]).unwrap();
        let two = Pseudonymiser::new(&[2; 32]).unwrap();
        assert_eq!(one.pseudonym(b"a"), one.pseudonym(b"a"));
        assert_ne!(one.pseudonym(b"a"), one.pseudonym(b"b"));
        assert_ne!(one.pseudonym(b"a"), two.pseudonym(b"a"));
        assert_eq!(one.pseudonym(b"a").as_str().len(), 26);
    }

    #[test]
    fn takes_only_what_is_a_pseudonym() {
        let one = Pseudonymiser::new(&[1; 32]).unwrap().pseudonym(b"a");
        assert!(Pseudonym::parse(one.as_str()) == Some(one));
        for wrong in ["", "ps1_", "ps1_0123456789012345678901 ", "123-45-6789"] {
            assert!(Pseudonym::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn refuses_a_short_key() {
        assert!(Pseudonymiser::new(&[1; 31]).is_none());
    }

    #[test]
    fn is_hmac_sha256() {
        // RFC 4231 test case 6 in its first 16 bytes: 131 bytes of 0xaa.
        let rfc = Pseudonymiser::new(&[0xaa; 131]).unwrap();
        let text = rfc.pseudonym(b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(
            URL_SAFE_NO_PAD.decode(&text.as_str()[4..]).unwrap(),
            [
                0x60, 0xe4, 0x31, 0x59, 0x1e, 0xe0, 0xb6, 0x7f, 0x0d, 0x8a, 0x26, 0xaa, 0xcb, 0xf5, 0xb7, 0x7f
            ]
        );
    }
}
