//! Sets of keys: JSON Web Key Sets (RFC 7517), or one shared secret, and which key a token gets.

use std::fmt;

use super::TokenError;
use super::algorithm::{ASYMMETRIC_NAMES, Algorithm};
use super::json::{Json, JsonError, Limits, parse_object};
use super::key::{Key, is_private};

/// The most bytes that a key set may have.
pub const MAX_KEY_SET_BYTES: usize = 256 * 1024;

/// The most keys that a set may have.
pub const MAX_KEYS: usize = 128;

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
            keys: vec![Key::secret(bytes)],
            skipped: Vec::new(),
        })
    }

    /// Whether this is a shared secret, see [`KeySet::secret`].
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.keys.iter().any(Key::is_secret)
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

    /// The kids of its keys.
    pub(super) fn kids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().filter_map(|key| key.kid.as_deref())
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

#[cfg(test)]
mod tests;
