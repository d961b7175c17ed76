//! Access tokens: JSON Web Tokens read strictly, verified, and remembered.
//!
//! What a token must pass, in this order; each rule has its own [`TokenError`]:
//!
//! 1. It is at most 16 KiB (by default), of exactly three segments of canonical, unpadded base64url (RFC 7515).
//! 2. Header and payload are JSON objects in which no name stands twice, bounded in depth and count.
//! 3. The header has no `crit` (nor `b64`), and no key or address of a key: `jku`, `jwk`, `x5u`, `x5c` (RFC 8725 section 3.10).
//! 4. `typ`, where present, is `at+jwt` or `JWT` (RFC 9068, RFC 8725 section 3.11). Nothing says that it is nested or encrypted: `cty` with `JWT`, `enc`, `zip`.
//! 5. `alg` is one of the issuer's algorithms. There is no `none`; HMAC only where the policy gives a shared secret and no public key (RFC 8725 section 3.1).
//! 6. `iss` is exactly that of an issuer that the route allows; that issuer's keys verify, and no others.
//! 7. The key has the token's exact `kid` of at most 512 bytes, and is for this `alg` by its type, curve, `alg`, `use` and `key_ops`. A token without `kid` is
//!    verified only where one single key fits. An issuer with a shared secret has only that. Keys that the host fetches may be late, see [`remote`].
//! 8. The signature has the one length of its key and algorithm, RSA's is below the modulus, and it is good.
//! 9. It is no other kind of token: `at_hash`, `c_hash` or `s_hash` mark an ID token (OpenID Connect Core section 3), `events` a security event or logout token
//!    (RFC 8417), the claim `typ` with `ID`, `Refresh`, `Offline` or `Logout` is Keycloak's way to say so. `nonce` marks an ID token too, unless the header says
//!    `at+jwt` or the payload has scopes: some servers copy it into access tokens.
//! 10. `exp` is there, and it, `nbf` and `iat` are numbers of seconds before the year 10000 (so milliseconds do not pass for an eternal token). The time given is
//!     before `exp` and not before `nbf`, with the issuer's leeway.
//! 11. `aud` has one of the issuer's audiences, exactly.
//! 12. `sub`, `client_id`, `azp` and `jti`, where present, are strings; `scope` is a string, `scp` a string or an array of strings.
//! 13. Where the issuer must write `at+jwt` in `typ`, RFC 9068 section 2.2 holds: `sub`, `client_id`, `iat` and `jti` are there.
//! 14. Where the issuer's tokens have a longest lifetime, `iat` is there, and `exp` is not further from it, nor from now, than that.
//! 15. `cnf` binds it to a certificate or a key, or is not there ([`Binding`]); who enforces the policy holds the sender to it.
//! 16. Claims that the policy asks for have the shape they should ([`Asked`]).
//!
//! A token that passed is found again by its exact bytes; then only the issuer and rule 10's times are checked anew. Failures are not remembered.
//!
//! Nothing here reads a clock: the time is an argument, in seconds since 1970-01-01T00:00:00Z.

use std::cell::OnceCell;
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::pseudonym::{Pseudonym, Pseudonymiser};
use crate::scope::ScopeSet;

mod algorithm;
mod bearer;
mod cache;
mod claims;
mod der;
pub mod dpop;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod foreign;
pub(crate) mod json;
mod jws;
mod key;
mod key_set;
pub mod remote;
mod signature;
#[cfg(test)]
pub(crate) mod testing;
mod vectors;

pub use algorithm::Algorithm;
pub use bearer::{BearerError, bearer, dpop_bound, query_has_token};
pub use cache::{CacheStats, DEFAULT_BYTES, DEFAULT_ENTRIES, TokenCache};
pub use claims::{Asked, Binding, ClaimPath, ClaimPaths};
pub use key::MAX_KID_BYTES;
pub use key_set::{KeySet, KeySetError, MAX_KEY_SET_BYTES, MAX_KEYS, SkippedKey};
pub use signature::{
    HostKind, HostKinds, HostVerdict, HostVerifier, TestedHost, VerificationStats, VerifiedBy, self_test,
};

use json::{Json, Object};
use jws::{Header, Segments};
use remote::{Lookup, Source};

/// The most bytes of a token, unless the policy says otherwise.
pub const DEFAULT_MAX_TOKEN_BYTES: usize = 16 * 1024;

/// The most seconds of leeway: "usually no more than a few minutes" (RFC 7519 section 4.1.4).
pub const MAX_LEEWAY: u64 = 300;

/// The last second of the year 9999. A larger NumericDate is a mistake, most often milliseconds.
const MAX_DATE: u64 = 253_402_300_799;

/// An authorization server that a policy trusts.
#[derive(Clone)]
pub struct Issuer {
    /// The name in the policy, the only one that is for logs.
    pub alias: String,
    /// The exact `iss` of its tokens.
    pub issuer: String,
    /// The audiences that tokens may be for; one must match exactly.
    pub audiences: Vec<String>,
    /// The algorithms it may sign with.
    pub algorithms: Vec<Algorithm>,
    /// Its public keys, or the secret that it shares.
    pub keys: Keys,
    /// How far its clock may be off, in seconds, at most [`MAX_LEEWAY`].
    pub leeway: u64,
    /// The most seconds from `iat` to `exp`.
    pub max_lifetime: Option<u64>,
    /// Whether `typ` must be `at+jwt` and RFC 9068's claims must be there.
    pub only_at_jwt: bool,
    /// Where it writes what policies ask for.
    pub claims: ClaimPaths,
}

/// Where an issuer's public keys are.
#[derive(Clone)]
pub enum Keys {
    /// In the policy.
    Fixed(KeySet),
    /// Fetched by the host.
    Remote(Rc<Source>),
}

impl From<KeySet> for Keys {
    fn from(keys: KeySet) -> Self {
        Self::Fixed(keys)
    }
}

impl Keys {
    /// Whether a copy that is fetched is still the one of this version, and not too old.
    fn are_of(&self, version: u64, now: u64) -> bool {
        match self {
            Self::Fixed(_) => true,
            Self::Remote(source) => source
                .keys(milliseconds(now))
                .is_some_and(|(_, current)| current == version),
        }
    }
}

/// All issuers of a policy, and how their tokens are verified.
pub struct TokenPolicy {
    issuers: Vec<Issuer>,
    max_token_bytes: usize,
    asked: Asked,
    /// Unique in the process, so that a cache shared between policies, or kept over a change of keys, never answers with another's verdict.
    generation: u64,
}

impl TokenPolicy {
    /// Takes the issuers; [`TokenPolicy::verify`] names them by their index here.
    ///
    /// # Errors
    /// Two issuers with one `issuer`, or one that could never accept a token: an empty `issuer`, no audience, no algorithm, no key for any of its
    /// algorithms, or more than [`MAX_LEEWAY`] seconds of leeway. The message says how to mend it.
    pub fn new(issuers: Vec<Issuer>) -> Result<Self, String> {
        for (index, issuer) in issuers.iter().enumerate() {
            issuer.check()?;
            if let Some(twin) = issuers.iter().take(index).find(|other| other.issuer == issuer.issuer) {
                return Err(format!(
                    "issuers `{}` and `{}` have the same `issuer`; join them, with the audiences of both",
                    twin.alias, issuer.alias
                ));
            }
        }
        Ok(Self {
            issuers,
            max_token_bytes: DEFAULT_MAX_TOKEN_BYTES,
            asked: Asked::default(),
            generation: next_generation(),
        })
    }

    /// Refuses tokens of more than `bytes` bytes, [`DEFAULT_MAX_TOKEN_BYTES`] where this is not called.
    #[must_use]
    pub fn with_max_token_bytes(mut self, bytes: usize) -> Self {
        self.max_token_bytes = bytes;
        self
    }

    /// Reads these claims too; none beyond the usual ones where this is not called.
    #[must_use]
    pub fn with_claims(mut self, asked: Asked) -> Self {
        self.asked = asked;
        self
    }

    /// The issuers, in the order they were given.
    #[must_use]
    pub fn issuers(&self) -> &[Issuer] {
        &self.issuers
    }

    /// The index of the issuer with this alias.
    #[must_use]
    pub fn issuer_index(&self, alias: &str) -> Option<usize> {
        self.issuers.iter().position(|issuer| issuer.alias == alias)
    }

    /// Replaces an issuer's keys. All cached verdicts of this policy become void.
    ///
    /// # Errors
    /// No issuer has this index, or no key fits its algorithms; the keys stay as they were.
    pub fn set_keys(&mut self, issuer: usize, keys: impl Into<Keys>) -> Result<(), String> {
        let issuer = self
            .issuers
            .get_mut(issuer)
            .ok_or_else(|| format!("there is no issuer with index {issuer}"))?;
        let keys = std::mem::replace(&mut issuer.keys, keys.into());
        if let Err(error) = issuer.check() {
            issuer.keys = keys;
            return Err(error);
        }
        self.generation = next_generation();
        Ok(())
    }

    /// The key sets that the host must fetch.
    pub fn sources(&self) -> impl Iterator<Item = &Rc<Source>> {
        self.issuers.iter().filter_map(|issuer| match &issuer.keys {
            Keys::Remote(source) => Some(source),
            Keys::Fixed(_) => None,
        })
    }

    /// Takes over the sources for which `shared` has another of the same [`remote::Spec`], with the copies that they have.
    pub fn share_sources(&mut self, shared: &dyn Fn(&remote::Spec) -> Option<Rc<Source>>) {
        for issuer in &mut self.issuers {
            if let Keys::Remote(source) = &mut issuer.keys
                && let Some(other) = shared(source.spec()).filter(|other| other.spec() == source.spec())
            {
                *source = other;
            }
        }
    }

    /// Verifies a token for a route that allows these issuers, by index.
    ///
    /// `now` is in seconds since the epoch. `host` is to be a [`TestedHost`], which is asked only what it was seen to answer rightly.
    ///
    /// # Errors
    /// The first rule of the module's list that the token breaks.
    pub fn verify(
        &self,
        token: &[u8],
        allowed_issuers: &[usize],
        now: u64,
        cache: &mut TokenCache,
        host: Option<&dyn HostVerifier>,
    ) -> Result<Rc<Grant>, TokenError> {
        if token.len() > self.max_token_bytes {
            return Err(TokenError::TooLarge);
        }
        let cached = cache.get(self.generation, token);
        let cached = cached.and_then(|grant| Some((self.issuers.get(grant.issuer)?, grant)));
        if let Some((issuer, grant)) = cached.filter(|(issuer, grant)| issuer.keys.are_of(grant.keys_version, now)) {
            if !allowed_issuers.contains(&grant.issuer) {
                return Err(TokenError::Issuer);
            }
            if let Err(error) = issuer.check_times(&grant.times, now) {
                if error == TokenError::Expired {
                    cache.remove(self.generation, token);
                }
                return Err(error);
            }
            return Ok(grant);
        }
        let grant = Rc::new(self.verify_anew(token, allowed_issuers, now, host, cache.verifications())?);
        cache.insert(self.generation, token, &grant);
        Ok(grant)
    }

    fn verify_anew(
        &self,
        token: &[u8],
        allowed_issuers: &[usize],
        now: u64,
        host: Option<&dyn HostVerifier>,
        counts: &mut VerificationStats,
    ) -> Result<Grant, TokenError> {
        let segments = Segments::parse(token)?;
        let header = Header::parse(&segments.header)?;
        let claims = jws::parse_json(&segments.payload)?;
        let (index, issuer) = self.choose_issuer(&claims, allowed_issuers)?;
        if !issuer.algorithms.contains(&header.algorithm) {
            return Err(TokenError::Algorithm);
        }
        let fetched;
        let (keys, keys_version) = match &issuer.keys {
            Keys::Fixed(keys) => (keys, 0),
            Keys::Remote(source) => {
                let (keys, version) = source
                    .keys(milliseconds(now))
                    .ok_or_else(|| missing(source, None, now))?;
                fetched = keys;
                (&*fetched, version)
            }
        };
        let key = keys.select(header.algorithm, header.kid.as_deref()).map_err(|error| {
            match (error, &issuer.keys, &header.kid) {
                (TokenError::UnknownKey, Keys::Remote(source), Some(kid)) => missing(source, Some(kid), now),
                _ => error,
            }
        })?;
        let verified_by = signature::verify(
            key,
            header.algorithm,
            segments.signed,
            &segments.signature,
            host,
            counts,
        )
        .ok_or(TokenError::Signature)?;
        // From here on the claims are the issuer's word.
        if is_other_token(&claims, header.is_access_token) {
            return Err(TokenError::NotAccessToken);
        }
        if issuer.only_at_jwt && !header.is_access_token {
            return Err(TokenError::TokenType);
        }
        let times = Times::read(&claims)?;
        issuer.check_times(&times, now)?;
        issuer.check_lifetime(&times, now)?;
        issuer.check_audience(&claims)?;
        optional_text(&claims, "jti")?;
        if issuer.only_at_jwt
            && ["sub", "client_id", "iat", "jti"]
                .into_iter()
                .any(|name| !claims.has(name))
        {
            return Err(TokenError::Claims);
        }
        let private = |name| optional_text(&claims, name).map(|text| text.map(|text| Private(text.as_bytes().into())));
        Ok(Grant {
            issuer: index,
            subject: private("sub")?,
            client: match private("client_id")? {
                Some(client) => {
                    optional_text(&claims, "azp")?;
                    Some(client)
                }
                None => private("azp")?,
            },
            scopes: read_scopes(&claims, issuer.claims.scopes.as_deref())?,
            attributes: claims::Attributes::read(&claims, &issuer.claims, &self.asked)?,
            binding: Binding::read(&claims)?,
            pseudonym: OnceCell::new(),
            times,
            verified_by,
            keys_version,
        })
    }

    /// By the payload's `iss`, which is not believed yet: it only says whose keys must verify it.
    fn choose_issuer(&self, claims: &Object<'_>, allowed: &[usize]) -> Result<(usize, &Issuer), TokenError> {
        let name = claims.get("iss").and_then(Json::as_text).ok_or(TokenError::Issuer)?;
        allowed
            .iter()
            .filter_map(|index| Some((*index, self.issuers.get(*index)?)))
            .find(|(_, issuer)| issuer.issuer == name)
            .ok_or(TokenError::Issuer)
    }
}

/// Why there is no key: the machine that fetches them knows.
fn missing(source: &Source, kid: Option<&str>, now: u64) -> TokenError {
    match source.look_up(kid, milliseconds(now)) {
        Lookup::Wait => TokenError::KeysAwaited,
        Lookup::Unavailable => TokenError::KeysUnavailable,
        Lookup::Unknown => TokenError::UnknownKey,
    }
}

/// The end of that second: what is too old by then must not count in it.
fn milliseconds(seconds: u64) -> u64 {
    seconds.saturating_mul(1_000).saturating_add(999)
}

/// Counts, so that no generation is used twice in a process.
fn next_generation() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

impl Issuer {
    fn check(&self) -> Result<(), String> {
        let Self {
            alias,
            issuer,
            audiences,
            algorithms,
            keys,
            leeway,
            ..
        } = self;
        if issuer.is_empty() {
            return Err(format!(
                "issuer `{alias}` has an empty `issuer`; write the exact `iss` of its tokens"
            ));
        }
        if audiences.is_empty() || audiences.iter().any(String::is_empty) {
            return Err(format!(
                "issuer `{alias}` lacks an audience or has an empty one; name this API as in the tokens' `aud`"
            ));
        }
        if algorithms.is_empty() {
            return Err(format!(
                "issuer `{alias}` has no algorithms; name those that it signs with, such as RS256, ES256 or EdDSA"
            ));
        }
        // What a host fetches is checked when it comes.
        if let Keys::Fixed(keys) = keys {
            keys.check(algorithms)
                .map_err(|why| format!("issuer `{alias}` {why}"))?;
        }
        if *leeway > MAX_LEEWAY {
            return Err(format!(
                "issuer `{alias}` has a leeway of {leeway} s; use at most {MAX_LEEWAY} s"
            ));
        }
        Ok(())
    }

    /// RFC 7519 sections 4.1.4 and 4.1.5.
    fn check_times(&self, times: &Times, now: u64) -> Result<(), TokenError> {
        if now >= times.expires_at.saturating_add(self.leeway) {
            return Err(TokenError::Expired);
        }
        if times
            .not_before
            .is_some_and(|not_before| not_before > now.saturating_add(self.leeway))
        {
            return Err(TokenError::NotYetValid);
        }
        Ok(())
    }

    /// A token from the future would live on after its time from now, so both ends count.
    fn check_lifetime(&self, times: &Times, now: u64) -> Result<(), TokenError> {
        let Some(most) = self.max_lifetime else {
            return Ok(());
        };
        let issued_at = times.issued_at.ok_or(TokenError::Lifetime)?;
        let latest = issued_at.min(now.saturating_add(self.leeway)).saturating_add(most);
        if times.expires_at > latest {
            return Err(TokenError::Lifetime);
        }
        Ok(())
    }

    /// RFC 7519 section 4.1.3: a string, or an array of strings.
    fn check_audience(&self, claims: &Object<'_>) -> Result<(), TokenError> {
        let is_ours = |name: &str| self.audiences.iter().any(|audience| audience == name);
        let found = match claims.get("aud") {
            None => false,
            Some(Json::Text(name)) => is_ours(name),
            Some(Json::Array(names)) => {
                if names.iter().any(|name| name.as_text().is_none()) {
                    return Err(TokenError::Claims);
                }
                names.iter().filter_map(Json::as_text).any(is_ours)
            }
            Some(_) => return Err(TokenError::Claims),
        };
        if found { Ok(()) } else { Err(TokenError::Audience) }
    }
}

/// What a verified token grants. Has no `Debug`, `Display` or `Serialize`.
pub struct Grant {
    issuer: usize,
    subject: Option<Private>,
    client: Option<Private>,
    scopes: ScopeSet,
    attributes: claims::Attributes,
    binding: Binding,
    /// Made with the first request: a keyed digest costs a guest some microseconds.
    pseudonym: OnceCell<Pseudonym>,
    times: Times,
    verified_by: VerifiedBy,
    /// Of the copy, where the host fetches the keys.
    keys_version: u64,
}

impl Grant {
    /// The index of the issuer in [`TokenPolicy::issuers`].
    #[must_use]
    pub fn issuer(&self) -> usize {
        self.issuer
    }

    /// The claim `sub`.
    #[must_use]
    pub fn subject(&self) -> Option<&Private> {
        self.subject.as_ref()
    }

    /// What stands for the subject in records. A grant is of one policy file, and so of one key.
    pub(crate) fn pseudonym(&self, key: &Pseudonymiser) -> Option<&Pseudonym> {
        let subject = self.subject.as_ref()?;
        Some(self.pseudonym.get_or_init(|| key.pseudonym(subject.expose())))
    }

    /// The claim `client_id` (RFC 9068 section 2.2), or else `azp`.
    #[must_use]
    pub fn client(&self) -> Option<&Private> {
        self.client.as_ref()
    }

    /// The roles, as the token writes them; empty where nothing asks for roles.
    #[must_use]
    pub fn roles(&self) -> &[Box<str>] {
        &self.attributes.roles
    }

    /// The purposes of use: codes of HL7 v3 ActReason, or `system|code`.
    #[must_use]
    pub fn purposes(&self) -> &[Box<str>] {
        &self.attributes.purposes
    }

    /// The FHIR id of the patient in context. It is PHI.
    #[must_use]
    pub fn patient(&self) -> Option<&str> {
        self.attributes.patient.as_deref()
    }

    /// A claim as a header value, by its place in [`Asked::identity`].
    #[must_use]
    pub fn identity(&self, index: usize) -> Option<&Private> {
        self.attributes.identity.get(index)?.as_ref()
    }

    /// Whether a claim is, or holds, one of these, by its place in [`Asked::compared`].
    #[must_use]
    pub fn has_claim(&self, index: usize, values: &[Box<str>]) -> bool {
        let held = self
            .attributes
            .compared
            .get(index)
            .map(Vec::as_slice)
            .unwrap_or_default();
        held.iter()
            .any(|held| values.iter().any(|value| *held.0 == *value.as_bytes()))
    }

    /// What the token is bound to.
    #[must_use]
    pub fn binding(&self) -> &Binding {
        &self.binding
    }

    /// The union of `scope` and `scp`, or what stands where the issuer writes scopes.
    #[must_use]
    pub fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }

    /// The claim `exp`, in seconds since the epoch, without leeway.
    #[must_use]
    pub fn expires_at(&self) -> u64 {
        self.times.expires_at
    }

    /// The claim `nbf`, in seconds since the epoch, without leeway.
    #[must_use]
    pub fn not_before(&self) -> Option<u64> {
        self.times.not_before
    }

    /// The claim `iat`, in seconds since the epoch.
    #[must_use]
    pub fn issued_at(&self) -> Option<u64> {
        self.times.issued_at
    }

    /// Who verified the signature, when the token was first seen.
    #[must_use]
    pub fn verified_by(&self) -> VerifiedBy {
        self.verified_by
    }
}

/// A value that names a person or a client. It has no `Debug`, `Display` or `Serialize`, so that it cannot slip into a log.
pub struct Private(Box<[u8]>);

impl Private {
    /// The raw bytes, for a keyed digest and nothing that is kept.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// Why a token is refused. All but the last two are 401 `invalid_token` (RFC 6750 section 3.1). Neither form holds anything of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// More bytes, depth, values or scopes than allowed.
    TooLarge,
    /// Not three segments of canonical base64url, or not JSON objects.
    Malformed,
    /// A name stands twice in a JSON object.
    DuplicateName,
    /// The header has `crit` or `b64`.
    CriticalHeader,
    /// The header brings a key or the address of one.
    EmbeddedKey,
    /// `typ` says that the token is for something else, or another parameter that it is nested or encrypted.
    TokenType,
    /// `alg` is unknown, not allowed for the issuer, or not that of the key.
    Algorithm,
    /// `iss` is missing or not an issuer that the route allows.
    Issuer,
    /// No key has the `kid`; or there is no `kid` and not exactly one key fits.
    UnknownKey,
    /// The signature is not good.
    Signature,
    /// The claims are those of an ID, refresh, logout or event token.
    NotAccessToken,
    /// There is no `exp`.
    MissingExp,
    /// A claim has the wrong type or an impossible value.
    Claims,
    /// `exp` is past.
    Expired,
    /// `nbf` is to come.
    NotYetValid,
    /// `aud` is missing or has none of the issuer's audiences.
    Audience,
    /// It lives longer than its issuer's tokens may, or does not say since when.
    Lifetime,
    /// `cnf` binds it to what can't be checked here.
    Confirmation,
    /// The issuer's keys, or the one with this `kid`, are not there, but a fetch that may bring them is under way or due. Not the token's
    /// fault.
    KeysAwaited,
    /// The issuer's keys, or whether there is one with this `kid`, can't be had at present. Not the token's fault.
    KeysUnavailable,
}

impl TokenError {
    /// The stable reason code for audit and metrics.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::DuplicateName => "duplicate_name",
            Self::CriticalHeader => "critical_header",
            Self::EmbeddedKey => "embedded_key",
            Self::TokenType => "token_type",
            Self::Algorithm => "algorithm",
            Self::Issuer => "issuer",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::NotAccessToken => "not_access_token",
            Self::MissingExp => "missing_exp",
            Self::Claims => "claims",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Audience => "audience",
            Self::Lifetime => "lifetime",
            Self::Confirmation => "confirmation",
            Self::KeysAwaited => "keys_awaited",
            Self::KeysUnavailable => "keys_unavailable",
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::TooLarge => "the token is too large; ask for fewer claims or scopes",
            Self::Malformed => "the token is not a signed JSON Web Token; send the access token as it was issued",
            Self::DuplicateName => "the token has a name twice in one object; mend the issuer",
            Self::CriticalHeader => {
                "the token demands an extension that is not supported; issue it without `crit` and `b64`"
            }
            Self::EmbeddedKey => "the token brings its own key; issue it without `jku`, `jwk`, `x5u` and `x5c`",
            Self::TokenType => {
                "the token's `typ` is not that of an access token, or it is nested or encrypted; send a signed access token"
            }
            Self::Algorithm => {
                "the token's algorithm is not one that its issuer and key allow; sign it with one that the policy lists"
            }
            Self::Issuer => {
                "the token's issuer is not one that this route allows; get it from one that the policy lists"
            }
            Self::UnknownKey => "no known key fits the token; check its `kid` and the issuer's key set",
            Self::Signature => "the token's signature is not good; get a new one from the issuer",
            Self::NotAccessToken => {
                "the token is an ID token or another that is no access token; send the access token"
            }
            Self::MissingExp => "the token never expires; issue it with `exp`",
            Self::Claims => "a claim of the token has the wrong type or an impossible value; mend the issuer",
            Self::Expired => "the token has expired; get a new one",
            Self::NotYetValid => "the token is not valid yet; wait, or mend the issuer's clock",
            Self::Audience => "the token is for another audience; ask the issuer for one for this API",
            Self::Lifetime => "the token lives longer than its issuer's may; ask for a shorter one, with `iat`",
            Self::Confirmation => {
                "the token is bound to a key in a way that is not supported; bind it by `x5t#S256` or `jkt`"
            }
            Self::KeysAwaited => "the issuer's keys are being fetched; wait for them",
            Self::KeysUnavailable => "the issuer's keys can't be fetched; try again",
        })
    }
}

impl std::error::Error for TokenError {}

/// The time claims, in seconds since the epoch.
struct Times {
    expires_at: u64,
    not_before: Option<u64>,
    issued_at: Option<u64>,
}

impl Times {
    fn read(claims: &Object<'_>) -> Result<Self, TokenError> {
        let expires_at = claims.get("exp").ok_or(TokenError::MissingExp)?;
        Ok(Self {
            // Fractions count against the token.
            expires_at: numeric_date(expires_at, f64::floor)?,
            not_before: claims
                .get("nbf")
                .map(|date| numeric_date(date, f64::ceil))
                .transpose()?,
            issued_at: claims
                .get("iat")
                .map(|date| numeric_date(date, f64::floor))
                .transpose()?,
        })
    }
}

/// A NumericDate (RFC 7519 section 2): a JSON number, whole or not. Never a string.
fn numeric_date(value: &Json<'_>, round: fn(f64) -> f64) -> Result<u64, TokenError> {
    match value {
        Json::Unsigned(seconds) if *seconds <= MAX_DATE => Ok(*seconds),
        Json::Float(seconds) if (0.0..=MAX_DATE as f64).contains(seconds) => Ok(round(*seconds) as u64),
        _ => Err(TokenError::Claims),
    }
}

/// Rule 9.
fn is_other_token(claims: &Object<'_>, is_marked_as_access_token: bool) -> bool {
    let names_other_type = claims.get("typ").and_then(Json::as_text).is_some_and(|typ| {
        ["ID", "Refresh", "Offline", "Logout"]
            .into_iter()
            .any(|other| typ.eq_ignore_ascii_case(other))
    });
    let has_scopes = claims.has("scope") || claims.has("scp");
    ["at_hash", "c_hash", "s_hash", "events"]
        .into_iter()
        .any(|name| claims.has(name))
        || names_other_type
        || (claims.has("nonce") && !is_marked_as_access_token && !has_scopes)
}

fn optional_text<'c>(claims: &'c Object<'_>, name: &str) -> Result<Option<&'c str>, TokenError> {
    claims
        .get(name)
        .map(|value| value.as_text().ok_or(TokenError::Claims))
        .transpose()
}

fn read_scopes(claims: &Object<'_>, path: Option<&[String]>) -> Result<ScopeSet, TokenError> {
    let mut scopes = ScopeSet::default();
    match path {
        Some(path) => add_scopes(&mut scopes, claims::find(claims, path))?,
        None => {
            // RFC 9068 section 2.2.3 has a string only.
            if let Some(text) = optional_text(claims, "scope")? {
                add_scopes(&mut scopes, Some(&Json::Text(text.into())))?;
            }
            add_scopes(&mut scopes, claims.get("scp"))?;
        }
    }
    Ok(scopes)
}

fn add_scopes(scopes: &mut ScopeSet, claim: Option<&Json<'_>>) -> Result<(), TokenError> {
    let refuse = |error| match error {
        crate::scope::ScopeError::TooMany => TokenError::TooLarge,
        crate::scope::ScopeError::InvalidCharacter => TokenError::Claims,
    };
    match claim {
        None => Ok(()),
        Some(Json::Text(text)) => scopes.add_text(text).map_err(refuse),
        Some(Json::Array(list)) => list
            .iter()
            .try_for_each(|scope| scopes.add(scope.as_text().ok_or(TokenError::Claims)?).map_err(refuse)),
        Some(_) => Err(TokenError::Claims),
    }
}

#[cfg(test)]
mod tests;
