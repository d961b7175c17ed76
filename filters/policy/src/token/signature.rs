//! Checking a signature: by the host where it can, else by `jsonwebtoken` in the guest.
//!
//! The guest's way is `jsonwebtoken`'s own provider interface (`rust_crypto::DEFAULT_PROVIDER`), called for its verifier. The host is asked before it rather
//! than from inside a provider of our own: a provider is a plain `fn` pointer installed once per process, so the host would have to come through a global.

use std::fmt;

use super::algorithm::Algorithm;
use super::der;
use super::key::Key;
use super::vectors::{self, TEXT};

/// What the host says of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostVerdict {
    /// The signature is good.
    Valid,
    /// The signature is not good. This is final.
    Invalid,
    /// The host could not tell; the guest verifies.
    Unavailable,
}

/// A kind of signature that hosts verify. Envoy's `verify_signature` has no RSASSA-PSS and no Ed25519, and a secret is not for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostKind {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// ECDSA over P-384 with SHA-384.
    Es384,
}

impl HostKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Rs256, Self::Rs384, Self::Rs512, Self::Es256, Self::Es384];

    /// The kind for an algorithm, if there is one.
    #[must_use]
    pub fn of(algorithm: Algorithm) -> Option<Self> {
        match algorithm {
            Algorithm::Rs256 => Some(Self::Rs256),
            Algorithm::Rs384 => Some(Self::Rs384),
            Algorithm::Rs512 => Some(Self::Rs512),
            Algorithm::Es256 => Some(Self::Es256),
            Algorithm::Es384 => Some(Self::Es384),
            _ => None,
        }
    }

    /// The name of its hash, as Envoy spells it.
    #[must_use]
    pub fn hash(self) -> &'static str {
        match self {
            Self::Rs256 | Self::Es256 => "sha256",
            Self::Rs384 | Self::Es384 => "sha384",
            Self::Rs512 => "sha512",
        }
    }

    /// The name as in the header parameter `alg`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
        }
    }

    fn is_ecdsa(self) -> bool {
        matches!(self, Self::Es256 | Self::Es384)
    }

    fn bit(self) -> u8 {
        match self {
            Self::Rs256 => 1,
            Self::Rs384 => 2,
            Self::Rs512 => 4,
            Self::Es256 => 8,
            Self::Es384 => 16,
        }
    }
}

/// Some kinds of signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostKinds(u8);

impl HostKinds {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this kind is among them.
    #[must_use]
    pub fn contains(self, kind: HostKind) -> bool {
        self.0 & kind.bit() != 0
    }

    /// The kinds.
    pub fn iter(self) -> impl Iterator<Item = HostKind> {
        HostKind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }
}

/// As in a log line: `RS256 ES256`, or nothing.
impl fmt::Display for HostKinds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, kind) in self.iter().enumerate() {
            if index > 0 {
                formatter.write_str(" ")?;
            }
            formatter.write_str(kind.name())?;
        }
        Ok(())
    }
}

impl FromIterator<HostKind> for HostKinds {
    fn from_iter<I: IntoIterator<Item = HostKind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |set, kind| set | kind.bit()))
    }
}

/// Asks the proxy to verify a signature natively, twenty to a hundred times as fast as the guest can. For Envoy see [`super::foreign`].
pub trait HostVerifier {
    /// Verifies `signature` over `text`. `spki_der` is a SubjectPublicKeyInfo in DER, of RSA (then the signature is RSASSA-PKCS1-v1_5) or of the kind's curve (then
    /// the signature is in DER).
    fn verify(&self, kind: HostKind, spki_der: &[u8], signature: &[u8], text: &[u8]) -> HostVerdict;
}

/// A host and the kinds that it may be used for, by [`self_test`]; it is never asked about others.
pub struct TestedHost<H> {
    host: H,
    kinds: HostKinds,
}

impl<H: HostVerifier> TestedHost<H> {
    /// Tests the host: to be done when the filter is configured, before the first token.
    pub fn new(host: H) -> Self {
        let kinds = self_test(&host);
        Self { host, kinds }
    }

    /// What it passed.
    #[must_use]
    pub fn kinds(&self) -> HostKinds {
        self.kinds
    }
}

impl<H: HostVerifier> HostVerifier for TestedHost<H> {
    fn verify(&self, kind: HostKind, spki_der: &[u8], signature: &[u8], text: &[u8]) -> HostVerdict {
        if self.kinds.contains(kind) {
            self.host.verify(kind, spki_der, signature, text)
        } else {
            HostVerdict::Unavailable
        }
    }
}

/// Who verified a token's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifiedBy {
    /// The proxy.
    Host,
    /// This code.
    Guest,
}

/// How many signatures were checked, good and bad, for metrics. Those that were refused by their length are in neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerificationStats {
    /// By the proxy.
    pub host: u64,
    /// By this code.
    pub guest: u64,
}

/// Who found the signature good, or `None` when it is not. `key` is to be one that serves `algorithm`.
pub(super) fn verify(
    key: &Key,
    algorithm: Algorithm,
    text: &[u8],
    signature: &Vec<u8>,
    host: Option<&dyn HostVerifier>,
    counts: &mut VerificationStats,
) -> Option<VerifiedBy> {
    if !key.serves(algorithm) || !key.takes(algorithm, signature) {
        return None;
    }
    match host.map_or(HostVerdict::Unavailable, |host| {
        ask_host(host, key, algorithm, text, signature)
    }) {
        HostVerdict::Valid => {
            counts.host = counts.host.wrapping_add(1);
            Some(VerifiedBy::Host)
        }
        HostVerdict::Invalid => {
            counts.host = counts.host.wrapping_add(1);
            None
        }
        HostVerdict::Unavailable => {
            counts.guest = counts.guest.wrapping_add(1);
            let verifier = key.verifier(algorithm)?;
            verifier.verify(text, signature).is_ok().then_some(VerifiedBy::Guest)
        }
    }
}

fn ask_host(host: &dyn HostVerifier, key: &Key, algorithm: Algorithm, text: &[u8], signature: &[u8]) -> HostVerdict {
    let (Some(kind), Some(spki)) = (HostKind::of(algorithm), &key.spki) else {
        return HostVerdict::Unavailable;
    };
    if kind.is_ecdsa() {
        host.verify(kind, spki, &der::ecdsa_signature(signature), text)
    } else {
        host.verify(kind, spki, signature, text)
    }
}

/// The kinds for which a host tells good signatures from bad ones: of one that says yes to all, no to all or nothing at all, none. A host that lacks one kind still
/// serves the others.
#[must_use]
pub fn self_test(host: &dyn HostVerifier) -> HostKinds {
    HostKind::ALL
        .into_iter()
        .filter(|kind| {
            let (spki, signature) = vector(*kind);
            host.verify(*kind, spki, signature, TEXT) == HostVerdict::Valid
                && host.verify(*kind, spki, signature, &spoiled(TEXT)) == HostVerdict::Invalid
                && host.verify(*kind, spki, &spoiled(signature), TEXT) == HostVerdict::Invalid
        })
        .collect()
}

/// A key, and its signature of [`TEXT`].
fn vector(kind: HostKind) -> (&'static [u8], &'static [u8]) {
    match kind {
        HostKind::Rs256 => (&vectors::RSA_SPKI, &vectors::RS256),
        HostKind::Rs384 => (&vectors::RSA_SPKI, &vectors::RS384),
        HostKind::Rs512 => (&vectors::RSA_SPKI, &vectors::RS512),
        HostKind::Es256 => (&vectors::P256_SPKI, &vectors::ES256),
        HostKind::Es384 => (&vectors::P384_SPKI, &vectors::ES384),
    }
}

/// With another last byte, so that the DER around it stays well-formed.
fn spoiled(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{EC_X, EC_Y};
    use super::super::key_set::KeySet;
    use super::super::testing::GuestAsHost;
    use super::*;

    struct Fixed(HostVerdict);

    impl HostVerifier for Fixed {
        fn verify(&self, _: HostKind, _: &[u8], _: &[u8], _: &[u8]) -> HostVerdict {
            self.0
        }
    }

    /// Right about all kinds but one, and fixed about that.
    struct AllBut(HostKind, HostVerdict);

    impl HostVerifier for AllBut {
        fn verify(&self, kind: HostKind, spki: &[u8], signature: &[u8], text: &[u8]) -> HostVerdict {
            if kind == self.0 {
                self.1
            } else {
                GuestAsHost::default().verify(kind, spki, signature, text)
            }
        }
    }

    /// Right about one of text and signature, blind to the other.
    struct Blind {
        to_text: bool,
    }

    impl HostVerifier for Blind {
        fn verify(&self, kind: HostKind, _: &[u8], signature: &[u8], text: &[u8]) -> HostVerdict {
            let sees = if self.to_text {
                signature == vector(kind).1
            } else {
                text == TEXT
            };
            if sees { HostVerdict::Valid } else { HostVerdict::Invalid }
        }
    }

    const VERDICTS: [HostVerdict; 3] = [HostVerdict::Valid, HostVerdict::Invalid, HostVerdict::Unavailable];

    #[test]
    fn the_self_test_passes_a_right_host() {
        let kinds = self_test(&GuestAsHost::default());
        assert!(HostKind::ALL.into_iter().all(|kind| kinds.contains(kind)));
        assert_eq!(kinds.to_string(), "RS256 RS384 RS512 ES256 ES384");
        assert!(!kinds.is_empty() && HostKinds::default().is_empty());
    }

    #[test]
    fn the_self_test_fails_a_host_that_does_not_tell_good_from_bad() {
        for verdict in VERDICTS {
            assert!(self_test(&Fixed(verdict)).is_empty());
        }
        assert!(self_test(&Blind { to_text: true }).is_empty());
        assert!(self_test(&Blind { to_text: false }).is_empty());
    }

    #[test]
    fn kinds_have_the_names_of_rfc_7518_and_the_hashes_of_envoy() {
        let names = HostKind::ALL.map(|kind| (kind.name(), kind.hash()));
        let expected = [
            ("RS256", "sha256"),
            ("RS384", "sha384"),
            ("RS512", "sha512"),
            ("ES256", "sha256"),
            ("ES384", "sha384"),
        ];
        assert_eq!(names, expected);
        for algorithm in Algorithm::ALL {
            let kind = HostKind::ALL.into_iter().find(|kind| kind.name() == algorithm.name());
            assert_eq!(HostKind::of(algorithm), kind);
        }
    }

    /// Whoever picked the key: nothing is asked about an algorithm that it is not for.
    #[test]
    fn a_key_is_asked_only_about_its_algorithms() {
        let jwk = format!(r#"{{"keys":[{{"kty":"EC","crv":"P-256","x":"{EC_X}","y":"{EC_Y}"}}]}}"#);
        let set = KeySet::parse(jwk.as_bytes()).ok().unwrap();
        let key = set.select(Algorithm::Es256, None).ok().unwrap();
        for algorithm in Algorithm::ALL {
            let (host, mut counts) = (GuestAsHost::default(), VerificationStats::default());
            assert_eq!(
                verify(key, algorithm, TEXT, &vec![1; 64], Some(&host), &mut counts),
                None
            );
            let asked = algorithm == Algorithm::Es256;
            assert_eq!(
                (counts.host, counts.guest, host.calls.get()),
                (u64::from(asked), 0, usize::from(asked))
            );
        }
    }

    #[test]
    fn a_host_that_lacks_a_kind_serves_the_others_and_is_not_asked_for_it() {
        for (lacking, verdict) in HostKind::ALL
            .into_iter()
            .flat_map(|kind| VERDICTS.map(|verdict| (kind, verdict)))
        {
            let host = TestedHost::new(AllBut(lacking, verdict));
            let others: HostKinds = HostKind::ALL.into_iter().filter(|kind| *kind != lacking).collect();
            assert_eq!(host.kinds(), others);
            for kind in HostKind::ALL {
                let (spki, signature) = vector(kind);
                let expected = if kind == lacking {
                    HostVerdict::Unavailable
                } else {
                    HostVerdict::Valid
                };
                assert_eq!(host.verify(kind, spki, signature, TEXT), expected);
            }
        }
    }
}
