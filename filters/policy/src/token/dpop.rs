//! DPoP (RFC 9449): proofs that who sends an access token holds the key that the token is bound to.
//!
//! What a proof must pass, in this order; each rule has its own [`DpopError`]:
//!
//! 1. It is at most 8 KiB, of exactly three segments of canonical base64url; header and payload are JSON objects in which no name stands twice.
//! 2. `typ` is `dpop+jwt`. There is no `crit` or `b64`, no `jku`, `x5u` or `x5c`, and nothing that says nested or encrypted.
//! 3. `alg` is one with public keys.
//! 4. `jwk` is a public key for that `alg`, as sound as one of a key set has to be, and nothing of a private one is in it.
//! 5. The key's thumbprint (RFC 7638, SHA-256) is the access token's `cnf.jkt`.
//! 6. `htm` is the request's method, exactly.
//! 7. `htu` is the request's URL without query and fragment, after the normalisation of RFC 3986 sections 6.2.2 and 6.2.3, see [`normalise`].
//! 8. `iat` is a number of seconds, at most the window away from now, either way.
//! 9. `ath` is the base64url of the access token's SHA-256.
//! 10. `jti` is a string of 1 to 256 bytes.
//! 11. The signature is good, by the key in `jwk`.
//! 12. No proof of that key with that `jti` came before. A [`ReplayCache`] that is full of proofs that could still be replayed refuses new ones.
//!
//! Out of scope: nonces from the server (RFC 9449 section 9), so that a stolen key can make proofs ahead of time, for as long as its token lives. The cache is one
//! VM's: where a proxy runs several workers, or several proxies stand side by side, a proof can be replayed once to each of the others within the window. Whoever
//! calls sees to it that there is exactly one `DPoP` header, that the scheme is `DPoP`, and that a token with `cnf.jkt` is never taken without a proof.
//!
//! Nothing here reads a clock: the time is an argument, in seconds since 1970-01-01T00:00:00Z.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::algorithm::Algorithm;
use super::json::{Json, Object};
use super::jws::{self, Segments};
use super::key::{Key, is_private};
use super::signature::{self, HostVerifier, VerificationStats};
use super::{TokenError, numeric_date};

/// The most bytes of a proof. Real ones have some hundreds.
pub const MAX_PROOF_BYTES: usize = 8 * 1024;

/// The most bytes of a `jti`.
pub const MAX_JTI_BYTES: usize = 256;

/// What a proof has to be for.
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    /// The request's method.
    pub method: &'a [u8],
    /// The request's URL, as the client means it: scheme, authority and path; query and fragment do not matter.
    pub url: &'a str,
    /// The access token that came with it.
    pub access_token: &'a [u8],
    /// The token's `cnf.jkt`.
    pub jkt: &'a str,
}

/// Verifies the value of a `DPoP` header.
///
/// `now` is in seconds since the epoch. `host` is to be a [`super::TestedHost`]: proofs are new with every request, so how fast a signature is checked counts.
///
/// # Errors
/// The first rule of the module's list that the proof breaks.
pub fn verify(
    proof: &[u8],
    claim: Claim<'_>,
    now: u64,
    host: Option<&dyn HostVerifier>,
    replay: &mut ReplayCache,
) -> Result<(), DpopError> {
    if proof.len() > MAX_PROOF_BYTES {
        return Err(DpopError::TooLarge);
    }
    let segments = Segments::parse(proof)?;
    let header = jws::parse_json(&segments.header)?;
    let claims = jws::parse_json(&segments.payload)?;
    let (algorithm, key, thumbprint) = read_header(&header)?;
    if URL_SAFE_NO_PAD.encode(thumbprint) != claim.jkt {
        return Err(DpopError::Thumbprint);
    }
    if text(&claims, "htm")?.as_bytes() != claim.method {
        return Err(DpopError::Method);
    }
    let asked = normalise(claim.url).ok_or(DpopError::Url)?;
    if normalise(text(&claims, "htu")?) != Some(asked) {
        return Err(DpopError::Url);
    }
    let issued_at = claims.get("iat").ok_or(DpopError::Claims)?;
    let until = replay.check_time(issued_at, now)?;
    if text(&claims, "ath")? != URL_SAFE_NO_PAD.encode(Sha256::digest(claim.access_token)) {
        return Err(DpopError::TokenHash);
    }
    let id = text(&claims, "jti")?;
    if id.is_empty() || id.len() > MAX_JTI_BYTES {
        return Err(DpopError::Claims);
    }
    signature::verify(
        &key,
        algorithm,
        segments.signed,
        &segments.signature,
        host,
        &mut replay.verifications,
    )
    .ok_or(DpopError::Signature)?;
    replay.remember(&thumbprint, id, until, now)
}

/// Rules 2 to 4.
fn read_header(header: &Object<'_>) -> Result<(Algorithm, Key, [u8; 32]), DpopError> {
    if ["crit", "b64", "jku", "x5u", "x5c", "enc", "zip", "cty"]
        .into_iter()
        .any(|name| header.has(name))
    {
        return Err(DpopError::Header);
    }
    let is_proof = header
        .get("typ")
        .and_then(Json::as_text)
        .is_some_and(|typ| jws::without_prefix(typ).eq_ignore_ascii_case("dpop+jwt"));
    if !is_proof {
        return Err(DpopError::Type);
    }
    let algorithm = header
        .get("alg")
        .and_then(Json::as_text)
        .and_then(Algorithm::from_name)
        .filter(|algorithm| !algorithm.is_symmetric())
        .ok_or(DpopError::Algorithm)?;
    let Some(Json::Object(jwk)) = header.get("jwk") else {
        return Err(DpopError::Key);
    };
    if is_private(jwk) {
        return Err(DpopError::PrivateKey);
    }
    let key = Key::parse(jwk).map_err(|_| DpopError::Key)?;
    if !key.serves(algorithm) {
        return Err(DpopError::Key);
    }
    let thumbprint = thumbprint(jwk).ok_or(DpopError::Key)?;
    Ok((algorithm, key, thumbprint))
}

/// RFC 7638 section 3: the required members in the order of their names, without spaces. The values were read as base64url before, so none needs an escape.
fn thumbprint(jwk: &Object<'_>) -> Option<[u8; 32]> {
    let names: &[&str] = match jwk.get("kty")?.as_text()? {
        "RSA" => &["e", "kty", "n"],
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        _ => return None,
    };
    let mut members = Vec::with_capacity(names.len());
    for name in names {
        members.push(format!(r#""{name}":"{}""#, jwk.get(name)?.as_text()?));
    }
    Some(Sha256::digest(format!("{{{}}}", members.join(","))).into())
}

fn text<'c>(claims: &'c Object<'_>, name: &str) -> Result<&'c str, DpopError> {
    claims.get(name).and_then(Json::as_text).ok_or(DpopError::Claims)
}

/// An `http` or `https` URL without query and fragment, in its one normal form by syntax and scheme (RFC 3986 sections 6.2.2 and 6.2.3): scheme and host in lower
/// case, no default port, at least `/` for a path, escapes only where they must be and in upper case, no dot segments. `None` for what is no such URL, or has a user.
#[must_use]
pub fn normalise(url: &str) -> Option<String> {
    let url = url.split(['?', '#']).next()?;
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "https" => "443",
        "http" => "80",
        _ => return None,
    };
    let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
    // An address of IPv6 stands in brackets (section 3.2.2) and has colons of its own.
    let (host, port) = match authority.find(']') {
        Some(end) => authority.split_at_checked(end.checked_add(1)?)?,
        None => authority.split_at_checked(authority.find(':').unwrap_or(authority.len()))?,
    };
    let port = match port.strip_prefix(':') {
        Some(port) => port,
        None if port.is_empty() => port,
        None => return None,
    };
    let is_address = host.starts_with('[');
    let is_of_host = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || b"-._~".contains(&byte)
            || (is_address && b"[]:".contains(&byte))
            || (!is_address && b"!$&'()*+,;=".contains(&byte))
    };
    if host.is_empty()
        || is_address != host.ends_with(']')
        || !host.bytes().all(is_of_host)
        || !port.bytes().all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    let mut normal = format!("{scheme}://{}", host.to_ascii_lowercase());
    if !port.is_empty() && port != default_port {
        normal.push(':');
        normal.push_str(port);
    }
    let path = without_needless_escapes(path)?;
    push_without_dots(&mut normal, &path);
    Some(normal)
}

/// RFC 3986 sections 6.2.2.1 and 6.2.2.2. `None` for an escape that is none, and for characters that a path can't have.
fn without_needless_escapes(path: &str) -> Option<String> {
    let mut normal = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if byte == b'%' {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
            let decoded = u8::try_from(high << 4 | low).ok()?;
            if is_unreserved(decoded) {
                normal.push(char::from(decoded));
            } else {
                normal.push('%');
                for digit in [high, low] {
                    normal.push(char::from_digit(digit, 16)?.to_ascii_uppercase());
                }
            }
        } else if is_unreserved(byte) || b"/!$&'()*+,;=:@".contains(&byte) {
            normal.push(char::from(byte));
        } else {
            return None;
        }
    }
    Some(normal)
}

/// RFC 3986 section 5.2.4, for a path that is empty or begins with a slash.
fn push_without_dots(out: &mut String, path: &str) {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    for segment in &kept {
        out.push('/');
        out.push_str(segment);
    }
    if kept.is_empty() {
        out.push('/');
    }
}

/// The proofs that came within the window, so that none counts twice.
///
/// It holds 128 bits of SHA-256 over key and `jti`, for as long as the proof's `iat` is in the window. Only proofs that pass every other rule come in, so only clients with an
/// access token of their own can fill it; when it is full it refuses ([`DpopError::ReplayCacheFull`]) rather than forgets.
pub struct ReplayCache {
    window: u64,
    entries: usize,
    seen: BTreeMap<Id, u64>,
    by_end: BTreeSet<(u64, Id)>,
    /// What ended before this second was forgotten.
    forgotten_until: u64,
    verifications: VerificationStats,
}

type Id = [u8; 16];

impl ReplayCache {
    /// For at most `entries` proofs at a time, each with an `iat` at most `window` seconds away from now, either way. About 120 bytes for each.
    #[must_use]
    pub fn new(entries: usize, window: u64) -> Self {
        Self {
            window,
            entries,
            seen: BTreeMap::new(),
            by_end: BTreeSet::new(),
            forgotten_until: 0,
            verifications: VerificationStats::default(),
        }
    }

    /// How many proofs it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// How the signatures of proofs were checked.
    #[must_use]
    pub fn verification_stats(&self) -> VerificationStats {
        self.verifications
    }

    /// Rule 8: the last second at which this proof could be taken.
    fn check_time(&self, issued_at: &Json<'_>, now: u64) -> Result<u64, DpopError> {
        // Fractions count against the proof.
        let earliest = numeric_date(issued_at, f64::floor).map_err(|_| DpopError::Claims)?;
        let latest = numeric_date(issued_at, f64::ceil).map_err(|_| DpopError::Claims)?;
        let until = earliest.saturating_add(self.window);
        // Where the clock went back, what was forgotten could come again.
        if now > until || latest > now.saturating_add(self.window) || until < self.forgotten_until {
            return Err(DpopError::Time);
        }
        Ok(until)
    }

    /// Rule 12.
    fn remember(&mut self, thumbprint: &[u8; 32], id: &str, until: u64, now: u64) -> Result<(), DpopError> {
        let digest = Sha256::new_with_prefix(thumbprint).chain_update(id).finalize();
        let id: Id = digest.first_chunk().copied().ok_or(DpopError::ReplayCacheFull)?;
        while let Some(&(end, old)) = self.by_end.first()
            && end < now
        {
            self.by_end.remove(&(end, old));
            self.seen.remove(&old);
        }
        self.forgotten_until = self.forgotten_until.max(now);
        if self.seen.contains_key(&id) {
            return Err(DpopError::Replay);
        }
        if self.seen.len() >= self.entries {
            return Err(DpopError::ReplayCacheFull);
        }
        self.seen.insert(id, until);
        self.by_end.insert((until, id));
        Ok(())
    }
}

/// Why a proof is refused: 401 with `WWW-Authenticate: DPoP error="invalid_dpop_proof"` (RFC 9449 section 7.1). Neither form holds anything of the proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DpopError {
    /// More bytes, depth or values than allowed.
    TooLarge,
    /// Not three segments of canonical base64url, or not JSON objects.
    Malformed,
    /// A name stands twice in a JSON object.
    DuplicateName,
    /// The header has a parameter that a proof must not have.
    Header,
    /// `typ` is not `dpop+jwt`.
    Type,
    /// `alg` is unknown, `none` or symmetric.
    Algorithm,
    /// `jwk` is missing, is no sound public key, or does not fit `alg`.
    Key,
    /// `jwk` holds private or secret key material.
    PrivateKey,
    /// The key is not the one that the access token is bound to.
    Thumbprint,
    /// `htm` is another method.
    Method,
    /// `htu` is another URL, or none.
    Url,
    /// `iat` is too far from now.
    Time,
    /// `ath` is not of the access token.
    TokenHash,
    /// A claim is missing or has the wrong type.
    Claims,
    /// The signature is not good.
    Signature,
    /// The proof came before.
    Replay,
    /// Too many proofs came within the window to remember another.
    ReplayCacheFull,
}

impl DpopError {
    /// Every error.
    pub const ALL: [Self; 17] = [
        Self::TooLarge,
        Self::Malformed,
        Self::DuplicateName,
        Self::Header,
        Self::Type,
        Self::Algorithm,
        Self::Key,
        Self::PrivateKey,
        Self::Thumbprint,
        Self::Method,
        Self::Url,
        Self::Time,
        Self::TokenHash,
        Self::Claims,
        Self::Signature,
        Self::Replay,
        Self::ReplayCacheFull,
    ];

    /// The stable reason code for audit and metrics.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::TooLarge => "dpop_too_large",
            Self::Malformed => "dpop_malformed",
            Self::DuplicateName => "dpop_duplicate_name",
            Self::Header => "dpop_header",
            Self::Type => "dpop_type",
            Self::Algorithm => "dpop_algorithm",
            Self::Key => "dpop_key",
            Self::PrivateKey => "dpop_private_key",
            Self::Thumbprint => "dpop_thumbprint",
            Self::Method => "dpop_method",
            Self::Url => "dpop_url",
            Self::Time => "dpop_time",
            Self::TokenHash => "dpop_token_hash",
            Self::Claims => "dpop_claims",
            Self::Signature => "dpop_signature",
            Self::Replay => "dpop_replay",
            Self::ReplayCacheFull => "dpop_replay_cache_full",
        }
    }
}

impl From<TokenError> for DpopError {
    /// Of reading the segments; nothing else is asked of a token here.
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::TooLarge => Self::TooLarge,
            TokenError::DuplicateName => Self::DuplicateName,
            _ => Self::Malformed,
        }
    }
}

impl fmt::Display for DpopError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::TooLarge => "the DPoP proof is too large; leave out what RFC 9449 does not ask for",
            Self::Malformed => "the DPoP proof is not a signed JSON Web Token; send one in the compact form",
            Self::DuplicateName => "the DPoP proof has a name twice in one object; mend the client",
            Self::Header => {
                "the DPoP proof's header has a parameter that it must not have; leave `typ`, `alg` and `jwk`"
            }
            Self::Type => "the DPoP proof's `typ` is another; write `dpop+jwt`",
            Self::Algorithm => {
                "the DPoP proof's algorithm has no public keys or is not supported; use one such as ES256"
            }
            Self::Key => "the DPoP proof's `jwk` is not a public key for its algorithm; send the one that signs",
            Self::PrivateKey => "the DPoP proof's `jwk` holds a private key; replace the key, for it has leaked",
            Self::Thumbprint => "the DPoP proof is by another key than the access token is for; sign with that one",
            Self::Method => "the DPoP proof is for another method; write the request's in `htm`",
            Self::Url => "the DPoP proof is for another URL; write the request's in `htu`",
            Self::Time => "the DPoP proof is too old or of the future; make one for each request, and mend the clock",
            Self::TokenHash => "the DPoP proof is for another access token; write its hash in `ath`",
            Self::Claims => {
                "the DPoP proof lacks a claim or has one of the wrong type; send `jti`, `htm`, `htu`, `iat` and `ath`"
            }
            Self::Signature => "the DPoP proof's signature is not good; sign with the key in `jwk`",
            Self::Replay => "the DPoP proof was used before; make one for each request",
            Self::ReplayCacheFull => "too many DPoP proofs came at once; try again later",
        })
    }
}

impl std::error::Error for DpopError {}

#[cfg(test)]
mod tests;
