//! Signature algorithms, by name.

/// A signature algorithm for tokens (RFC 7518 section 3.1, RFC 8037). There is no `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256, keys of 2048 to 4096 bits as for all of RSA here.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256, and a salt as long as the hash.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// ECDSA over P-384 with SHA-384.
    Es384,
    /// EdDSA over Ed25519.
    EdDsa,
    /// HMAC with SHA-256: only with a shared secret, never with public keys.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
}

/// What an error text advises.
pub(super) const ASYMMETRIC_NAMES: &str = "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA";

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 12] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
    ];

    /// Reads an entry of a policy's `algorithms`.
    ///
    /// # Errors
    /// The name is not one of [`Algorithm::ALL`]; the message names the asymmetric ones.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::from_name(text).ok_or_else(|| {
            let why = match text {
                "ES512" => "is not supported, because no audited library in use here has P-521",
                "ES256K" => "is not supported, because its curve is not one for tokens",
                _ if text.eq_ignore_ascii_case("none") => "would accept unsigned tokens",
                _ => "is not supported",
            };
            format!("algorithm `{text}` {why}; use {ASYMMETRIC_NAMES}")
        })
    }

    /// The name as in the header parameter `alg`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
        }
    }

    /// Whether who verifies could also sign: HMAC.
    #[must_use]
    pub fn is_symmetric(self) -> bool {
        self.secret_length().is_some()
    }

    /// The fewest bytes that a secret for this algorithm has, which is also the length of its signatures; `None` where there are public keys.
    ///
    /// RFC 7518 section 3.2: "A key of the same size as the hash output or larger MUST be used".
    #[must_use]
    pub fn secret_length(self) -> Option<usize> {
        match self {
            Self::Hs256 => Some(32),
            Self::Hs384 => Some(48),
            Self::Hs512 => Some(64),
            _ => None,
        }
    }

    /// Names compare by exact case (RFC 7515 section 4.1.1).
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|each| each.name() == name)
    }

    pub(super) fn for_jsonwebtoken(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Rs384 => jsonwebtoken::Algorithm::RS384,
            Self::Rs512 => jsonwebtoken::Algorithm::RS512,
            Self::Ps256 => jsonwebtoken::Algorithm::PS256,
            Self::Ps384 => jsonwebtoken::Algorithm::PS384,
            Self::Ps512 => jsonwebtoken::Algorithm::PS512,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::Es384 => jsonwebtoken::Algorithm::ES384,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
            Self::Hs384 => jsonwebtoken::Algorithm::HS384,
            Self::Hs512 => jsonwebtoken::Algorithm::HS512,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_by_name() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::parse(algorithm.name()), Ok(algorithm));
            assert_eq!(
                format!("{:?}", algorithm.for_jsonwebtoken()),
                algorithm.name(),
                "the library's is the same"
            );
            assert_eq!(algorithm.is_symmetric(), algorithm.name().starts_with("HS"));
        }
        for name in ["none", "NONE", "rs256", "RS1", "ES256K", "A128GCM", "Ed25519", ""] {
            assert!(
                Algorithm::parse(name).unwrap_err().ends_with("ES384 or EdDSA"),
                "{name}"
            );
        }
        assert!(Algorithm::parse("none").unwrap_err().contains("unsigned"));
        assert_eq!(
            Algorithm::parse("ES512").unwrap_err(),
            "algorithm `ES512` is not supported, because no audited library in use here has P-521; \
             use RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA"
        );
    }
}
