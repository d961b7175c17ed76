//! Key sets that the host fetches: when, from where, and what becomes of the answers.
//!
//! The machine is pure: the time (milliseconds since the epoch) and answers go in, [`Fetch`]es and [`Outcome`]s come out. Its rules:
//!
//! 1. One fetch is under way per source, and none begins within the back-off after a failure: 1 s, doubled by each further failure, at
//!    most [`MAX_BACKOFF`]. A source that no request has asked for is first fetched [`PRELOAD`] after it came to be.
//! 2. A copy is renewed `refresh` after its fetch began, while requests go on using it. `max_stale` after that beginning it is gone,
//!    whatever the reason: then its tokens are refused. So it is when the clock went back to before its fetch.
//! 3. Only a whole, well-formed set with a key for one of the issuer's algorithms, in an answer of status 200, replaces a copy. Whatever
//!    else comes, the copy stays; each way to fail has a [`FetchError`] of its own.
//! 4. A `kid` that the copy does not have asks for a renewal, at most one per [`FORCED_INTERVAL`]. A fetch that began after the `kid` was
//!    first seen and does not bring it makes it known as unknown for [`NEGATIVE_LIFE`]: then it costs nothing. At most [`MAX_KIDS`] are
//!    remembered, by their digests.
//! 5. Discovery (OpenID Connect Discovery 1.0 section 4): the document at the issuer's path with `/.well-known/openid-configuration` behind
//!    it; RFC 8414 would put that in front of the path. Its `issuer` must be exactly the policy's (section 4.3), its `jwks_uri` of the
//!    issuer's origin or one that the policy lists, and `https` unless the issuer itself is plain `http` and of the same origin.
//! 6. An answer to a fetch that is not under way any more changes nothing.
//!
//! A token without `kid` never asks for a renewal: nothing in it tells a new key from a forged token.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use sha2::{Digest as _, Sha256};

use super::algorithm::Algorithm;
use super::json::{Json, JsonError, Limits, parse_object};
use super::key_set::{KeySet, KeySetError};
use super::next_generation;

/// How often a copy is renewed where the policy does not say, in milliseconds.
pub const DEFAULT_REFRESH: u64 = 600_000;
/// How old a copy may be used where the policy does not say, in milliseconds.
pub const DEFAULT_MAX_STALE: u64 = 3_600_000;
/// How long an answer may take where the policy does not say, in milliseconds.
pub const DEFAULT_TIMEOUT: u64 = 5_000;
/// The least milliseconds from one renewal for an unknown `kid` to the next.
pub const FORCED_INTERVAL: u64 = 5_000;
/// The most milliseconds between two attempts while fetching fails.
pub const MAX_BACKOFF: u64 = 60_000;
/// For how many milliseconds a `kid` stays known as unknown.
pub const NEGATIVE_LIFE: u64 = 30_000;
/// The most kids that are remembered as unknown, and the most that one fetch looks for.
pub const MAX_KIDS: usize = 1024;
/// After how many milliseconds a source is fetched that no request has asked for.
pub const PRELOAD: u64 = 5_000;

/// The first back-off, in milliseconds.
const FIRST_BACKOFF: u64 = 1_000;
/// What a host may take longer than the timeout before a fetch counts as lost, in milliseconds.
const GRACE: u64 = 2_000;
/// How far a clock may go back before a copy's age counts as unknown, in milliseconds.
const CLOCK_SLACK: u64 = 60_000;
/// The most bytes of a discovery document.
const MAX_DOCUMENT_BYTES: usize = 256 * 1024;
const DOCUMENT_LIMITS: Limits = Limits { depth: 8, values: 8192 };
/// The most bytes of a URL.
const MAX_URL_BYTES: usize = 2048;

/// Scheme, host and port of a URL (RFC 6454 section 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    secure: bool,
    /// In lower case, with the port unless it is the scheme's own.
    authority: String,
}

/// A URL that can be fetched: `http` or `https`, without user name and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    origin: Origin,
    /// Path and query, beginning with `/`.
    path: String,
}

impl Origin {
    /// Reads an origin: a URL without path.
    ///
    /// # Errors
    /// What is wrong with it, and the mend.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let address = Address::parse(text)?;
        if address.path == "/" {
            Ok(address.origin)
        } else {
            Err("is more than an origin; write scheme, host and port only, such as `https://keys.example.org`")
        }
    }

    /// Whether it is `https`.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Host and, unless it is the scheme's own, port: what `:authority` says.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The host, without the brackets of an IPv6 address, and the port.
    #[must_use]
    pub fn host_and_port(&self) -> (&str, u16) {
        let default = if self.secure { 443 } else { 80 };
        let (host, port) = match self.authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap_or(default)),
            _ => (self.authority.as_str(), default),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        (bare.unwrap_or(host), port)
    }
}

impl Address {
    /// Reads an absolute URL (RFC 3986 section 4.3).
    ///
    /// # Errors
    /// What is wrong with it, and the mend.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const WANTED: &str = "is no URL that can be fetched; write it as `https://idp.example.org/jwks`";
        if text.len() > MAX_URL_BYTES || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(WANTED);
        }
        let (scheme, rest) = text.split_once("://").ok_or(WANTED)?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err("has a scheme that can't be fetched; use `https`"),
        };
        if rest.contains('#') {
            return Err("has a fragment, which no server sees; remove it");
        }
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at_checked(at).ok_or(WANTED)?,
            None => (rest, ""),
        };
        if authority.contains('@') {
            return Err("has a user name; remove it");
        }
        let authority = authority.to_ascii_lowercase();
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority.as_str(), None),
        };
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = match bracketed {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty()
                    && host
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
            }
        };
        if !is_host {
            return Err(WANTED);
        }
        let port = match port {
            None => None,
            Some(port) => {
                let number: u16 = port
                    .parse()
                    .ok()
                    .filter(|port| *port != 0)
                    .ok_or("has a port that is none; use 1 to 65535")?;
                Some(number).filter(|number| *number != if secure { 443 } else { 80 })
            }
        };
        let authority = match port {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let path = match path {
            "" => "/".to_owned(),
            query if query.starts_with('?') => format!("/{query}"),
            path => path.to_owned(),
        };
        Ok(Self {
            origin: Origin { secure, authority },
            path,
        })
    }

    /// Where the configuration document of an issuer is (OpenID Connect Discovery 1.0 section 4.1): behind its path.
    ///
    /// # Errors
    /// As [`Address::parse`]; and an issuer with a query has none.
    pub fn of_configuration(issuer: &str) -> Result<Self, &'static str> {
        if issuer.contains('?') {
            return Err("has a query, so there is no place for its configuration document; use `remote`");
        }
        let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
        Self::parse(&format!("{issuer}/.well-known/openid-configuration"))
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

/// Where a key set's address comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is known.
    Url(Address),
    /// From the issuer's configuration document.
    Discovery {
        /// Where the document is.
        document: Address,
        /// What else than the issuer's own origin its `jwks_uri` may name.
        origins: Vec<Origin>,
    },
}

impl Finding {
    /// The first address that is fetched.
    #[must_use]
    pub fn address(&self) -> &Address {
        match self {
            Self::Url(address) | Self::Discovery { document: address, .. } => address,
        }
    }
}

/// What the policy says of a key set that is fetched. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The exact `iss` of the tokens.
    pub issuer: String,
    /// The algorithms that the issuer may sign with: a set without a key for any of them is refused.
    pub algorithms: Vec<Algorithm>,
    /// The proxy's cluster through which everything goes.
    pub cluster: String,
    /// Where the set is.
    pub finding: Finding,
    /// How often it is fetched.
    pub refresh: u64,
    /// How old a copy may be used.
    pub max_stale: u64,
    /// How long an answer may take.
    pub timeout: u64,
}

/// A key set that the host fetches, and its copy. Policies that name the same one may share it.
pub struct Source {
    spec: Spec,
    state: RefCell<State>,
    /// Whether a request has needed it.
    asked: Cell<bool>,
}

#[derive(Default)]
struct State {
    copy: Option<Held>,
    flight: Option<Flight>,
    /// Not before this.
    next_try: u64,
    failures: u32,
    /// When the source was first looked at.
    born: Option<u64>,
    /// When a fetch for an unknown `kid` last began.
    forced: Option<u64>,
    /// Kids that a fetch shall look for, by digest.
    sought: Vec<Kid>,
    /// Kids that no fetch brought, and until when that counts.
    unknown: VecDeque<(Kid, u64)>,
}

type Kid = [u8; 16];

struct Held {
    keys: Rc<KeySet>,
    /// When its fetch began.
    since: u64,
    digest: [u8; 32],
    version: u64,
}

struct Flight {
    id: u64,
    began: u64,
    /// When it counts as lost.
    lost: u64,
    is_document: bool,
    /// What was sought when it began.
    sought: Vec<Kid>,
}

/// A call that the host shall make: `GET` with `accept: application/json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// To be given with the answer; unique in the process.
    pub id: u64,
    /// The proxy's cluster.
    pub cluster: String,
    /// `:scheme`.
    pub scheme: &'static str,
    /// `:authority`.
    pub authority: String,
    /// `:path`.
    pub path: String,
    /// How long the answer may take, in milliseconds.
    pub timeout: u64,
}

/// An answer to a [`Fetch`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Response<'a> {
    /// The status, where it is a number.
    pub status: Option<u16>,
    /// The header `content-type`.
    pub content_type: Option<&'a [u8]>,
    /// The header `content-encoding`.
    pub content_encoding: Option<&'a [u8]>,
    /// The body, or so much of it that its size is over [`super::MAX_KEY_SET_BYTES`].
    pub body: &'a [u8],
}

/// What came of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The document was good: now this.
    Next(Fetch),
    /// There is a new copy; whether its keys are others than before.
    Renewed {
        /// False: the same bytes came.
        changed: bool,
    },
    /// Nothing changed, for this reason.
    Failed(FetchError),
    /// The fetch was not under way any more.
    Ignored,
}

/// Why a fetch failed. The copy that is there stays until `max_stale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// The host refused the call: there is no such cluster.
    NotSent,
    /// No answer: refused, reset, or the time was over.
    NoAnswer,
    /// A status other than 200; redirects are not followed.
    Status,
    /// A body that says it is something else than JSON.
    ContentType,
    /// More bytes, keys or depth than allowed.
    TooLarge,
    /// Not a well-formed JSON Web Key Set.
    Malformed,
    /// A set with private or secret key material: its keys have leaked.
    PrivateKey,
    /// No key that can verify anything.
    Empty,
    /// No key for any of the issuer's algorithms.
    NoUsableKey,
    /// The configuration document is not well-formed or lacks `issuer` or `jwks_uri`.
    Document,
    /// The configuration document is another issuer's.
    OtherIssuer,
    /// `jwks_uri` is not `https`, or leads to an origin that the policy does not list.
    JwksUri,
}

impl FetchError {
    /// The stable code for metrics and logs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::NoAnswer => "no_answer",
            Self::Status => "status",
            Self::ContentType => "content_type",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::PrivateKey => "private_key",
            Self::Empty => "empty",
            Self::NoUsableKey => "no_usable_key",
            Self::Document => "document",
            Self::OtherIssuer => "other_issuer",
            Self::JwksUri => "jwks_uri",
        }
    }
}

/// What a token whose key is not there comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// A fetch that may bring the key is under way or due: wait for it.
    Wait,
    /// Whether there is such a key can't be found out now.
    Unavailable,
    /// There is no such key.
    Unknown,
}

impl Source {
    /// A source of which there is no copy yet.
    #[must_use]
    pub fn new(spec: Spec) -> Self {
        Self {
            spec,
            state: RefCell::default(),
            asked: Cell::new(false),
        }
    }

    /// What the policy says of it.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// How long a request may have to wait for a fetch, in milliseconds: for its turn, and for the answers.
    #[must_use]
    pub fn longest_wait(&self) -> u64 {
        let more_steps = match self.spec.finding {
            Finding::Url(_) => 0,
            Finding::Discovery { .. } => 1,
        };
        self.lost_after(FORCED_INTERVAL)
            .saturating_add(self.spec.timeout.saturating_mul(more_steps))
    }

    /// The copy, unless it is too old, and a number that changes with its keys.
    #[must_use]
    pub fn keys(&self, now: u64) -> Option<(Rc<KeySet>, u64)> {
        self.asked.set(true);
        let state = self.state.try_borrow().ok()?;
        let copy = state.copy.as_ref().filter(|copy| copy.is_usable(&self.spec, now))?;
        Some((Rc::clone(&copy.keys), copy.version))
    }

    /// What becomes of a token without a key: `kid` is the one that the copy lacks, or nothing where there is no copy.
    pub fn look_up(&self, kid: Option<&str>, now: u64) -> Lookup {
        self.asked.set(true);
        let Ok(mut state) = self.state.try_borrow_mut() else {
            return Lookup::Unavailable;
        };
        let backs_off = state.backs_off(now);
        let Some(kid) = kid else {
            return match (&state.flight, backs_off) {
                (Some(_), _) | (None, false) => Lookup::Wait,
                (None, true) => Lookup::Unavailable,
            };
        };
        let kid = digest_of(kid);
        state.forget(now);
        if state.unknown.iter().any(|(known, _)| *known == kid) {
            return Lookup::Unknown;
        }
        let is_sought =
            state.sought.contains(&kid) || state.flight.as_ref().is_some_and(|flight| flight.sought.contains(&kid));
        if is_sought {
            return Lookup::Wait;
        }
        if backs_off || state.sought.len() >= MAX_KIDS {
            return Lookup::Unavailable;
        }
        state.sought.push(kid);
        Lookup::Wait
    }

    /// Whether [`Source::due`] would give a fetch now.
    #[must_use]
    pub fn is_due(&self, now: u64) -> bool {
        self.state
            .try_borrow()
            .is_ok_and(|state| state.is_due(&self.spec, self.asked.get(), now))
    }

    /// The fetch that is due, if one is; it then counts as under way.
    pub fn due(&self, now: u64) -> Option<Fetch> {
        let mut state = self.state.try_borrow_mut().ok()?;
        state.born.get_or_insert(now);
        if !state.is_due(&self.spec, self.asked.get(), now) {
            return None;
        }
        let sought = std::mem::take(&mut state.sought);
        if !sought.is_empty() {
            state.forced = Some(now);
        }
        let is_document = matches!(self.spec.finding, Finding::Discovery { .. });
        let fetch = self.fetch(self.spec.finding.address());
        state.flight = Some(Flight {
            id: fetch.id,
            began: now,
            lost: self.lost_after(now),
            is_document,
            sought,
        });
        Some(fetch)
    }

    /// The host would not make the call.
    pub fn not_sent(&self, id: u64, now: u64) -> Outcome {
        self.finish(id, now, |_, _| Err(FetchError::NotSent))
    }

    /// Takes an answer; `None`: there was none in time.
    pub fn answer(&self, id: u64, response: Option<Response<'_>>, now: u64) -> Outcome {
        self.finish(id, now, |source, flight| {
            let body = check(&response.ok_or(FetchError::NoAnswer)?)?;
            if flight.is_document {
                source.read_document(body).map(Step::Fetch)
            } else {
                source.read_keys(body).map(Step::Take)
            }
        })
    }

    fn finish(&self, id: u64, now: u64, step: impl FnOnce(&Self, &Flight) -> Result<Step, FetchError>) -> Outcome {
        let Ok(mut state) = self.state.try_borrow_mut() else {
            return Outcome::Ignored;
        };
        let Some(flight) = state.flight.take_if(|flight| flight.id == id) else {
            return Outcome::Ignored;
        };
        match step(self, &flight) {
            Ok(Step::Fetch(address)) => {
                let fetch = self.fetch(&address);
                state.flight = Some(Flight {
                    id: fetch.id,
                    lost: self.lost_after(now),
                    is_document: false,
                    ..flight
                });
                Outcome::Next(fetch)
            }
            Ok(Step::Take((keys, digest))) => Outcome::Renewed {
                changed: state.take(flight, keys, digest, now),
            },
            Err(error) => {
                state.fail(now);
                Outcome::Failed(error)
            }
        }
    }

    fn fetch(&self, address: &Address) -> Fetch {
        Fetch {
            id: next_generation(),
            cluster: self.spec.cluster.clone(),
            scheme: if address.origin.secure { "https" } else { "http" },
            authority: address.origin.authority.clone(),
            path: address.path.clone(),
            timeout: self.spec.timeout,
        }
    }

    fn lost_after(&self, now: u64) -> u64 {
        now.saturating_add(self.spec.timeout).saturating_add(GRACE)
    }

    /// Rule 5.
    fn read_document(&self, body: &[u8]) -> Result<Address, FetchError> {
        if body.len() > MAX_DOCUMENT_BYTES {
            return Err(FetchError::TooLarge);
        }
        let document = parse_object(body, DOCUMENT_LIMITS).map_err(|error| match error {
            JsonError::Syntax | JsonError::DuplicateName => FetchError::Document,
            JsonError::Limit => FetchError::TooLarge,
        })?;
        let text = |name| document.get(name).and_then(Json::as_text).ok_or(FetchError::Document);
        if text("issuer")? != self.spec.issuer {
            return Err(FetchError::OtherIssuer);
        }
        let address = Address::parse(text("jwks_uri")?).map_err(|_| FetchError::JwksUri)?;
        let Finding::Discovery { document, origins } = &self.spec.finding else {
            return Err(FetchError::Document);
        };
        let is_own = address.origin == document.origin;
        // The issuer's own origin may be plain `http`, which the policy then says; no other.
        if is_own || (address.origin.secure && origins.contains(&address.origin)) {
            Ok(address)
        } else {
            Err(FetchError::JwksUri)
        }
    }

    fn read_keys(&self, body: &[u8]) -> Result<(KeySet, [u8; 32]), FetchError> {
        let keys = KeySet::parse(body).map_err(|error| match error {
            KeySetError::TooLarge => FetchError::TooLarge,
            KeySetError::PrivateKey { .. } => FetchError::PrivateKey,
            KeySetError::Empty { .. } => FetchError::Empty,
            _ => FetchError::Malformed,
        })?;
        if !self.spec.algorithms.iter().any(|algorithm| keys.serves(*algorithm)) {
            return Err(FetchError::NoUsableKey);
        }
        Ok((keys, Sha256::digest(body).into()))
    }
}

enum Step {
    Fetch(Address),
    Take((KeySet, [u8; 32])),
}

impl Held {
    fn is_usable(&self, spec: &Spec, now: u64) -> bool {
        let from_the_future = self.since > now.saturating_add(CLOCK_SLACK);
        !from_the_future && now < self.since.saturating_add(spec.max_stale)
    }

    fn is_fresh(&self, spec: &Spec, now: u64) -> bool {
        self.is_usable(spec, now) && now < self.since.saturating_add(spec.refresh)
    }
}

impl State {
    fn backs_off(&self, now: u64) -> bool {
        // A clock that went back must not lengthen it.
        self.failures > 0 && now < self.next_try && self.next_try <= now.saturating_add(MAX_BACKOFF)
    }

    fn is_due(&self, spec: &Spec, asked: bool, now: u64) -> bool {
        if let Some(flight) = &self.flight
            && now < flight.lost
            && flight.began <= now.saturating_add(CLOCK_SLACK)
        {
            return false;
        }
        if self.backs_off(now) {
            return false;
        }
        let Some(copy) = &self.copy else {
            return asked || self.born.is_some_and(|born| now >= born.saturating_add(PRELOAD));
        };
        let may_force = self
            .forced
            .is_none_or(|forced| now < forced || now >= forced.saturating_add(FORCED_INTERVAL));
        !copy.is_fresh(spec, now) || (!self.sought.is_empty() && may_force)
    }

    /// Whether the keys are others than before.
    fn take(&mut self, flight: Flight, keys: KeySet, digest: [u8; 32], now: u64) -> bool {
        let before = self.copy.as_ref().filter(|copy| copy.digest == digest);
        let version = before.map(|copy| copy.version);
        self.failures = 0;
        self.forget(now);
        for kid in flight.sought {
            if !keys.kids().any(|known| digest_of(known) == kid) {
                if self.unknown.len() >= MAX_KIDS {
                    self.unknown.pop_front();
                }
                self.unknown.push_back((kid, now.saturating_add(NEGATIVE_LIFE)));
            }
        }
        self.copy = Some(Held {
            keys: Rc::new(keys),
            since: flight.began,
            digest,
            version: version.unwrap_or_else(next_generation),
        });
        version.is_none()
    }

    fn fail(&mut self, now: u64) {
        let backoff = FIRST_BACKOFF
            .saturating_mul(1 << self.failures.min(10))
            .min(MAX_BACKOFF);
        self.failures = self.failures.saturating_add(1);
        self.next_try = now.saturating_add(backoff);
        // Who sought something is told now that it can't be found out.
        self.sought.clear();
    }

    fn forget(&mut self, now: u64) {
        self.unknown
            .retain(|(_, until)| now < *until && *until <= now.saturating_add(NEGATIVE_LIFE + CLOCK_SLACK));
    }
}

fn digest_of(kid: &str) -> Kid {
    let digest: [u8; 32] = Sha256::digest(kid).into();
    digest.first_chunk().copied().unwrap_or_default()
}

/// Status and kind of an answer; its body.
fn check<'a>(response: &Response<'a>) -> Result<&'a [u8], FetchError> {
    if response.status != Some(200) {
        return Err(FetchError::Status);
    }
    let essence = |value: &[u8]| {
        let value = value.split(|byte| *byte == b';').next().unwrap_or_default();
        value.trim_ascii().to_ascii_lowercase()
    };
    if let Some(encoding) = response.content_encoding
        && !matches!(essence(encoding).as_slice(), b"" | b"identity")
    {
        return Err(FetchError::ContentType);
    }
    // RFC 7517 section 8.5 and RFC 8414 section 3.2. File servers don't know these types: what they say is no claim to be anything else.
    let fits = match response.content_type.map(essence).as_deref() {
        None | Some(b"application/json" | b"text/plain" | b"application/octet-stream" | b"text/json") => true,
        Some(other) => other.ends_with(b"+json"),
    };
    if fits {
        Ok(response.body)
    } else {
        Err(FetchError::ContentType)
    }
}

#[cfg(test)]
mod tests;
