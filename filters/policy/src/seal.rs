//! Sealed values: what a URL carries to a client so that only we can read it when it comes back.
//!
//! 1. A sealed value is `sl1_` and, in base64url (RFC 4648 5) without padding, the key's id (24 bits) and AES-256-SIV (RFC 5297) of the value.
//!    The encryption is deterministic: the same value at the same place gives the same text, so that links stay links.
//! 2. What it was sealed for is associated data: the policy that governs the URL, and the place in it (the segment before, or the
//!    parameter's name). Moved to another place, or to a route of another policy, it does not open.
//! 3. What was sealed with an old key opens as long as that key is named; new values are never sealed with it.
//! 4. Keys are at least 256 bits; the cipher's 512 are derived from them by HMAC-SHA-256. A key has no Display, Debug or Serialize.

use aes_siv::KeyInit as _;
use aes_siv::siv::Aes256Siv;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::pseudonym::{MIN_KEY_BYTES, derive};

/// The bytes of the key's id and of the synthetic initialization vector.
const OVERHEAD: usize = 3 + 16;
/// Longer values are not sealed: a URL has no room for them.
const MAX_VALUE: usize = 4096;

/// Seals and opens.
#[derive(Clone)]
pub struct Sealer {
    current: Key,
    old: Vec<Key>,
}

/// What a text turned out to be.
pub enum Opened {
    /// It does not claim to be sealed.
    NotSealed,
    /// It does, and is not: another key, another place, or made up.
    Forged,
    /// What was sealed.
    Value(String),
}

#[derive(Clone)]
struct Key {
    id: [u8; 3],
    cipher: [u8; 64],
}

impl Sealer {
    /// How every sealed text begins.
    pub const PREFIX: &'static str = "sl1_";

    /// Takes a key of at least [`MIN_KEY_BYTES`]; `None` for a shorter one.
    pub fn new(key: &[u8]) -> Option<Self> {
        Some(Sealer {
            current: Key::new(key)?,
            old: Vec::new(),
        })
    }

    /// Opens with this key, too; `None` for a shorter one than [`MIN_KEY_BYTES`].
    pub fn with_old(mut self, key: &[u8]) -> Option<Self> {
        self.old.push(Key::new(key)?);
        Some(self)
    }

    /// Whether a text claims to be sealed.
    pub fn is_sealed(text: &str) -> bool {
        text.starts_with(Self::PREFIX)
    }

    /// Whether a text is sealed as far as can be told without knowing for what: with one of our keys, and long enough.
    pub fn knows(&self, text: &str) -> bool {
        let bytes = text
            .strip_prefix(Self::PREFIX)
            .filter(|rest| rest.len() <= MAX_VALUE.saturating_mul(2))
            .and_then(|rest| URL_SAFE_NO_PAD.decode(rest).ok())
            .unwrap_or_default();
        let ours = |key: &Key| bytes.starts_with(&key.id);
        bytes.len() >= OVERHEAD && std::iter::once(&self.current).chain(&self.old).any(ours)
    }

    /// Seals a value; `None` where it is too long.
    pub fn seal(&self, context: &[&str], value: &str) -> Option<String> {
        if value.len() > MAX_VALUE {
            return None;
        }
        let mut cipher = Aes256Siv::new((&self.current.cipher).into());
        let sealed = cipher.encrypt(context, value.as_bytes()).ok()?;
        let mut text = String::from(Self::PREFIX);
        URL_SAFE_NO_PAD.encode_string([&self.current.id[..], &sealed].concat(), &mut text);
        Some(text)
    }

    /// Opens a text.
    pub fn open(&self, context: &[&str], text: &str) -> Opened {
        let Some(rest) = text.strip_prefix(Self::PREFIX) else {
            return Opened::NotSealed;
        };
        self.open_bytes(context, rest).map_or(Opened::Forged, Opened::Value)
    }

    fn open_bytes(&self, context: &[&str], text: &str) -> Option<String> {
        // Base64 takes four characters for three bytes: no more than what `seal` makes.
        if text.len() > MAX_VALUE.saturating_mul(2) {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (id, sealed) = bytes.split_at_checked(3)?;
        let key = std::iter::once(&self.current)
            .chain(&self.old)
            .find(|key| key.id == *id)?;
        let mut cipher = Aes256Siv::new((&key.cipher).into());
        String::from_utf8(cipher.decrypt(context, sealed).ok()?).ok()
    }
}

impl Key {
    fn new(key: &[u8]) -> Option<Self> {
        if key.len() < MIN_KEY_BYTES {
            return None;
        }
        let (mut cipher, mut id) = ([0; 64], [0; 3]);
        let (first, second) = cipher.split_at_mut(32);
        first.copy_from_slice(&derive(key, b"scrim sealing 1")?);
        second.copy_from_slice(&derive(key, b"scrim sealing 2")?);
        id.copy_from_slice(derive(key, b"scrim sealing id")?.get(..3)?);
        Some(Key { id, cipher })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn opened(sealer: &Sealer, context: &[&str], text: &str) -> Option<String> {
        match sealer.open(context, text) {
            Opened::Value(value) => Some(value),
            _ => None,
        }
    }

    #[test]
    fn opens_what_it_sealed_and_there_alone() {
        let sealer = Sealer::new(&[1; 32]).unwrap();
        let sealed = sealer.seal(&["clinician", "segment", "Patient"], "pat-7").unwrap();
        assert!(sealed.starts_with("sl1_") && !sealed.contains("pat"));
        assert_eq!(
            sealed,
            sealer.seal(&["clinician", "segment", "Patient"], "pat-7").unwrap()
        );
        assert_eq!(
            opened(&sealer, &["clinician", "segment", "Patient"], &sealed).unwrap(),
            "pat-7"
        );
        for elsewhere in [
            ["research", "segment", "Patient"],
            ["clinician", "parameter", "Patient"],
            ["clinician", "segment", "Person"],
            ["clinician", "segmentPatient", ""],
        ] {
            assert!(matches!(sealer.open(&elsewhere, &sealed), Opened::Forged));
        }
        assert!(matches!(sealer.open(&["clinician"], "pat-7"), Opened::NotSealed));
        assert!(sealer.knows(&sealed));
        for other in ["", "sl1_", "sl1_512-34-5678", "sl1_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert!(!sealer.knows(other), "{other}");
        }
        for forged in [
            "sl1_",
            "sl1_AAAA",
            "sl1_%",
            &format!("{sealed}A"),
            &sealed[..sealed.len() - 1],
        ] {
            assert!(
                matches!(
                    sealer.open(&["clinician", "segment", "Patient"], forged),
                    Opened::Forged
                ),
                "{forged}"
            );
        }
    }

    #[test]
    fn keys_rotate() {
        let (one, two) = ([1; 32], [2; 40]);
        let before = Sealer::new(&one).unwrap();
        let during = Sealer::new(&two).unwrap().with_old(&one).unwrap();
        let after = Sealer::new(&two).unwrap();
        let (old, new) = (before.seal(&["p"], "7").unwrap(), during.seal(&["p"], "7").unwrap());
        assert_ne!(old, new);
        assert_eq!(new, after.seal(&["p"], "7").unwrap());
        assert_eq!(opened(&during, &["p"], &old).unwrap(), "7");
        assert_eq!(opened(&during, &["p"], &new).unwrap(), "7");
        assert!(opened(&after, &["p"], &old).is_none());
        assert!(opened(&before, &["p"], &new).is_none());
    }

    #[test]
    fn refuses_short_keys_and_long_values() {
        assert!(Sealer::new(&[1; 31]).is_none());
        assert!(Sealer::new(&[1; 32]).unwrap().with_old(&[1; 31]).is_none());
        let sealer = Sealer::new(&[1; 32]).unwrap();
        assert!(sealer.seal(&["p"], &"x".repeat(MAX_VALUE)).is_some());
        assert!(sealer.seal(&["p"], &"x".repeat(MAX_VALUE + 1)).is_none());
    }

    #[test]
    fn is_aes_siv() {
        // RFC 5297 A.1 is of 256 key bits; this is the same construction over our derived key, taken apart by hand.
        let key = Key::new(&[7; 32]).unwrap();
        let text = Sealer::new(&[7; 32]).unwrap().seal(&["a", "b"], "value").unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&text[4..]).unwrap();
        assert_eq!(bytes[..3], key.id);
        assert_eq!(bytes.len(), 3 + 16 + 5);
        let plain = Aes256Siv::new((&key.cipher).into())
            .decrypt(["a", "b"], &bytes[3..])
            .unwrap();
        assert_eq!(plain, b"value");
    }

    proptest! {
        #[test]
        fn any_text_comes_back(value in ".{0,60}", a in ".{0,8}", b in ".{0,8}") {
            let sealer = Sealer::new(&[3; 32]).unwrap();
            let sealed = sealer.seal(&[&a, &b], &value).unwrap();
            prop_assert!(sealed.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
            prop_assert_eq!(opened(&sealer, &[&a, &b], &sealed), Some(value));
        }

        #[test]
        fn no_change_goes_unseen(at in 4usize..40, bit in 0u8..6) {
            let sealer = Sealer::new(&[3; 32]).unwrap();
            let mut sealed = sealer.seal(&["p"], "some-patient-id").unwrap().into_bytes();
            let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let value = alphabet.iter().position(|b| *b == sealed[at]).unwrap();
            sealed[at] = alphabet[value ^ (1 << bit)];
            prop_assert!(matches!(sealer.open(&["p"], std::str::from_utf8(&sealed).unwrap()), Opened::Forged));
        }
    }
}
