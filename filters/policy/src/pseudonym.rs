//! Keyed pseudonyms: the same value gives the same token, and without the key nobody can search the value space.
//!
//! 1. A pseudonym is `ps2-` and, in base32 (RFC 4648 6, small letters, no padding), the key's id (24 bits), the first 128 bits of HMAC-SHA-256 (RFC
//!    2104) over the value, and 40 bits of another over these two. An unkeyed hash of an SSN or MRN falls to brute force; this does not.
//! 2. By the last 40 bits a pseudonym of ours is told from any other text, with a key that was retired, too: it is not made one again.
//! 3. It has letters, digits and a dash only, 43 characters: FHIR takes it for an id (R4 2.24.0.1).
//! 4. Keys are at least 256 bits; for each use one is derived. A key has no Display, Debug or Serialize.
//! 5. A pseudonymised id is not de-identified data under 45 CFR 164.514(c): the key holder can link it.

use base32ct::{Base32Unpadded, Encoding as _};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// The least a key must have, in bytes.
pub const MIN_KEY_BYTES: usize = 32;

const PREFIX: &str = "ps2-";
/// The bytes of the key's id, of the value's digest, and of the check.
const SIZES: (usize, usize, usize) = (3, 16, 5);
/// How many characters the 24 bytes are in base32.
const LENGTH: usize = 39;

/// A pseudonym: it holds nothing of the value that can be read without the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pseudonym(String);

impl Pseudonym {
    /// The 43 characters, safe in URLs, headers and JSON, and as a FHIR id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes one that another module of the chain made; `None` for what is none.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX)?;
        let safe = rest.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'));
        (rest.len() == LENGTH && safe).then(|| Pseudonym(text.to_owned()))
    }
}

/// Makes pseudonyms with one key, and knows those that it or an old key made.
#[derive(Clone)]
pub struct Pseudonymiser {
    current: Key,
    old: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: [u8; SIZES.0],
    value: Hmac<Sha256>,
    check: Hmac<Sha256>,
}

impl Pseudonymiser {
    /// Takes a key of at least [`MIN_KEY_BYTES`]; `None` for a shorter one.
    pub fn new(key: &[u8]) -> Option<Self> {
        Some(Pseudonymiser {
            current: Key::new(key)?,
            old: Vec::new(),
        })
    }

    /// Knows the pseudonyms of this key, too; `None` for a shorter one than [`MIN_KEY_BYTES`].
    pub fn with_old(mut self, key: &[u8]) -> Option<Self> {
        self.old.push(Key::new(key)?);
        Some(self)
    }

    /// The pseudonym of a value.
    pub fn pseudonym(&self, value: &[u8]) -> Pseudonym {
        let mut bytes = self.current.id.to_vec();
        bytes.extend(mac(&self.current.value, value).into_iter().take(SIZES.1));
        let check = mac(&self.current.check, &bytes);
        bytes.extend(check.into_iter().take(SIZES.2));
        Pseudonym(format!("{PREFIX}{}", Base32Unpadded::encode_string(&bytes)))
    }

    /// Whether a text is a pseudonym that the key or an old one made.
    pub fn recognises(&self, text: &str) -> bool {
        let Some(bytes) = text
            .strip_prefix(PREFIX)
            .filter(|rest| rest.len() == LENGTH)
            // The last character has bits to spare: only one way to write it counts.
            .and_then(|rest| {
                let bytes = Base32Unpadded::decode_vec(rest).ok()?;
                (Base32Unpadded::encode_string(&bytes) == rest).then_some(bytes)
            })
        else {
            return false;
        };
        let Some((made, check)) = bytes.split_at_checked(SIZES.0.saturating_add(SIZES.1)) else {
            return false;
        };
        let keys = std::iter::once(&self.current).chain(&self.old);
        keys.filter(|key| made.starts_with(&key.id)).any(|key| {
            let mut again = key.check.clone();
            again.update(made);
            again.verify_truncated_left(check).is_ok()
        })
    }
}

impl Key {
    fn new(key: &[u8]) -> Option<Self> {
        if key.len() < MIN_KEY_BYTES {
            return None;
        }
        let mut id = [0; SIZES.0];
        id.copy_from_slice(derive(key, b"scrim pseudonym id")?.get(..SIZES.0)?);
        let keyed = |label: &[u8]| Hmac::new_from_slice(&derive(key, label)?).ok();
        Some(Key {
            id,
            value: keyed(b"scrim pseudonym value")?,
            check: keyed(b"scrim pseudonym check")?,
        })
    }
}

/// A key for one use alone.
pub(crate) fn derive(key: &[u8], label: &[u8]) -> Option<[u8; 32]> {
    Hmac::<Sha256>::new_from_slice(key).ok().map(|keyed| mac(&keyed, label))
}

fn mac(keyed: &Hmac<Sha256>, text: &[u8]) -> [u8; 32] {
    let mut mac = keyed.clone();
    mac.update(text);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn same_key_and_value_give_the_same_pseudonym_and_others_another() {
        let one = Pseudonymiser::new(&[1; 32]).unwrap();
        let two = Pseudonymiser::new(&[2; 32]).unwrap();
        assert_eq!(one.pseudonym(b"a"), one.pseudonym(b"a"));
        assert_ne!(one.pseudonym(b"a"), one.pseudonym(b"b"));
        assert_ne!(one.pseudonym(b"a"), two.pseudonym(b"a"));
        assert_eq!(one.pseudonym(b"a").as_str().len(), 43);
    }

    #[test]
    fn is_a_fhir_id() {
        // `[A-Za-z0-9\-\.]{1,64}`
        let text = Pseudonymiser::new(&[1; 32]).unwrap().pseudonym(b"a");
        assert!(text.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
    }

    #[test]
    fn takes_only_what_is_a_pseudonym() {
        let one = Pseudonymiser::new(&[1; 32]).unwrap().pseudonym(b"a");
        assert!(Pseudonym::parse(one.as_str()) == Some(one));
        for wrong in [
            "",
            "ps2-",
            "ps2-0123456789012345678901234567890123456789",
            "123-45-6789",
        ] {
            assert!(Pseudonym::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn keys_rotate() {
        let (one, two) = ([1; 32], [2; 32]);
        let before = Pseudonymiser::new(&one).unwrap();
        let during = Pseudonymiser::new(&two).unwrap().with_old(&one).unwrap();
        let after = Pseudonymiser::new(&two).unwrap();
        let (old, new) = (before.pseudonym(b"a"), during.pseudonym(b"a"));
        assert_eq!(new, after.pseudonym(b"a"), "new ones are of the new key");
        assert!(during.recognises(old.as_str()) && during.recognises(new.as_str()));
        assert!(!after.recognises(old.as_str()) && !before.recognises(new.as_str()));
    }

    #[test]
    fn refuses_a_short_key() {
        assert!(Pseudonymiser::new(&[1; 31]).is_none());
        assert!(Pseudonymiser::new(&[1; 32]).unwrap().with_old(&[1; 31]).is_none());
    }

    #[test]
    fn is_hmac_sha256_of_derived_keys() {
        let derived = |key: &[u8], text: &[u8]| {
            let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
            mac.update(text);
            mac.finalize().into_bytes().to_vec()
        };
        // RFC 4231 test case 2 is what `derive` is.
        assert_eq!(
            derive(b"Jefe", b"what do ya want for nothing?").unwrap()[..4],
            [0x5b, 0xdc, 0xc1, 0x46]
        );
        let master = [9; 32];
        let text = Pseudonymiser::new(&master).unwrap().pseudonym(b"value");
        let bytes = Base32Unpadded::decode_vec(&text.as_str()[4..]).unwrap();
        assert_eq!(bytes[..3], derived(&master, b"scrim pseudonym id")[..3]);
        assert_eq!(
            bytes[3..19],
            derived(&derived(&master, b"scrim pseudonym value"), b"value")[..16]
        );
    }

    proptest! {
        #[test]
        fn no_text_is_taken_for_a_pseudonym(text in "ps2-[a-z2-7]{39}", flip in 0usize..39) {
            let key = Pseudonymiser::new(&[4; 32]).unwrap();
            prop_assert!(!key.recognises(&text));
            let mut own = key.pseudonym(text.as_bytes()).as_str().to_owned().into_bytes();
            own[4 + flip] = if own[4 + flip] == b'a' { b'b' } else { b'a' };
            prop_assert!(!key.recognises(std::str::from_utf8(&own).unwrap()));
        }
    }
}
