//! The chain of policies over one request and its response: what the shell drives and the proxy sees.
//!
//! 1. A chain is a set of filters ([`CACHE_CONTROL`], [`OAUTH_SCOPE`], [`PHI_URL`], [`RESPONSE_TRIM`]), fixed when the module is built. `suite` is the chain of all, a single filter a chain of one.
//! 2. A request passes the filters in that order, its response in the reverse one, as in the proxy's own chain. The first that denies
//!    ends it.
//! 3. The policy is chosen once, for what came in, and kept for the whole stream: the proxy matches its routes again after a rewrite.
//!    Where the rewritten path would be governed otherwise by the policy file's own routes, the request is refused.
//! 4. Where the proxy's metadata chose the policy, the path must be canonical: the proxy matched its routes on the raw path, and an
//!    upstream that decodes it may serve what another route guards.
//! 5. A path with dot segments or empty segments goes on in its canonical form, the one that was judged.
//! 6. Headers by which an upstream could serve another URL than the judged one are removed; such as name another method are refused.
//! 7. Modules placed one after another hand over the choice, the principal and the view by the stream's filter state, which no client
//!    can set. What can't be read denies.
//! 8. Every request gets a log-safe path, denied ones too; a URL that can be read two ways gets `-`. A denied request's `:path` becomes
//!    it, so that the proxy's own logs and traces don't show what was refused.
//! 9. Response headers wait, where the proxy allows it, until [`HELD_BYTES`] of the body were judged or it ended, so that a body that fails
//!    by then is answered with 502; one that fails later is reset, so that the client sees a broken body, never an untrimmed one.

use std::rc::Rc;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::answer::{Answer, FilterKind, Format, Reason, answer};
use crate::audit::{AuditEvent, RequestId, Timestamp};
use crate::compile::{Compiled, Oauth, Policy};
use crate::head::{Edit, RequestHead, ResponseHead};
use crate::phi::{self, HeaderJudgement, Judgement, Outcome};
use crate::pseudonym::Pseudonym;
use crate::response_trim::Fate;
use crate::route::{Facts, Governs, Why};
use crate::scope::ScopeSet;
use crate::token::{self, HostVerifier, TokenCache, TokenError};
use crate::trim::{Limits, Trimmer};
use crate::url::Target;

/// The `cache-control` filter.
pub const CACHE_CONTROL: u8 = 1;
/// The `oauth-scope` filter.
pub const OAUTH_SCOPE: u8 = 2;
/// The `phi-url` filter.
pub const PHI_URL: u8 = 4;
/// The `response-trim` filter.
pub const RESPONSE_TRIM: u8 = 8;
/// All of them: `suite`.
pub const ALL: u8 = CACHE_CONTROL | OAUTH_SCOPE | PHI_URL | RESPONSE_TRIM;

/// How many bytes of a body are judged before held response headers go out.
pub const HELD_BYTES: usize = 16 * 1024;

/// What the proxy says of a request beyond its head.
#[derive(Default)]
pub struct RequestFacts {
    /// The host's time.
    pub now: Timestamp,
    /// `filter_metadata["scrim"].policy` of the route.
    pub route_metadata: Option<Vec<u8>>,
    /// The same of the virtual host.
    pub virtual_host_metadata: Option<Vec<u8>>,
    /// The proxy's name of the route; read only where [`crate::route::RouteTable::needs_route_name`].
    pub route_name: Option<Vec<u8>>,
    /// What the module before handed over, where there is one.
    pub handover: Option<Vec<u8>>,
}

/// What outlives requests: verified tokens, and the host's way to verify signatures.
#[derive(Default)]
pub struct Vault {
    /// The verified tokens.
    pub cache: TokenCache,
    /// The host's verifier, if it passed its self-test.
    pub host: Option<Rc<dyn HostVerifier>>,
}

/// What becomes of a head.
pub enum Verdict {
    /// It passes, with these edits.
    Continue(Vec<Edit>),
    /// It waits, with these edits, for the body's first bytes.
    Hold(Vec<Edit>),
    /// The stream is answered with this.
    Deny(Denial),
}

/// What becomes of a piece of a body.
pub enum BodyVerdict {
    /// It passes as it is.
    Pass,
    /// It waits; the next piece comes together with it.
    Hold,
    /// It becomes this.
    Replace(Vec<u8>),
    /// The stream is answered with this; nothing of the response went out yet.
    Deny(Denial),
    /// The stream is reset; some of the response went out already.
    Reset(Reason),
}

/// An answer and why.
pub struct Denial {
    /// What the request's head becomes, so that logs and traces of the proxy's own don't show what was refused.
    pub edits: Vec<Edit>,
    /// Why.
    pub reason: Reason,
    /// What the caller gets.
    pub answer: Answer,
}

/// What the request head brought.
pub struct Opening {
    /// What becomes of it.
    pub verdict: Verdict,
    /// The log-safe path to publish; `None` where a module before has done so.
    pub log_safe: Option<String>,
    /// What to hand over to the modules behind.
    pub handover: Option<String>,
    /// The verdict is a denial because keys are being fetched: whoever can wait for them judges the head anew with a new stream.
    pub awaits_keys: bool,
}

/// One request and its response.
pub struct Stream<const FILTERS: u8> {
    compiled: Rc<Compiled>,
    /// The policy's index, where one governs.
    policy: Option<usize>,
    /// Whether the policy file's own routes chose, and not the proxy's metadata.
    by_file: bool,
    view: Option<usize>,
    format: Format,
    head_request: bool,
    /// The request was denied: what comes as a response is our own answer.
    denied: bool,
    audit: AuditEvent,
    body: BodyState,
}

enum BodyState {
    /// No body of this stream is trimmed.
    Untouched,
    /// It is; `held`: the response headers have not gone out.
    Trimming { trimmer: Box<Trimmer>, held: bool },
    /// It was refused; nothing more passes.
    Refused,
}

/// What a module hands over to the modules behind it.
struct Handover {
    /// `None`: no policy governs.
    policy: Option<String>,
    by_file: bool,
    view: Option<usize>,
    issuer: Option<Rc<str>>,
    subject: Option<Pseudonym>,
}

impl<const FILTERS: u8> Stream<FILTERS> {
    const fn has(filter: u8) -> bool {
        FILTERS & filter != 0
    }

    /// A stream that has seen nothing yet.
    pub fn new(compiled: Rc<Compiled>) -> Self {
        let audit = AuditEvent {
            policy_digest: Some(Rc::clone(&compiled.digest)),
            ..AuditEvent::default()
        };
        let body = BodyState::Untouched;
        Stream {
            compiled,
            policy: None,
            by_file: false,
            view: None,
            format: Format::Problem,
            head_request: false,
            denied: false,
            audit,
            body,
        }
    }

    /// The audit record so far.
    pub fn audit(&self) -> &AuditEvent {
        &self.audit
    }

    /// Judges the request head.
    pub fn request_head(&mut self, head: &mut RequestHead, facts: &RequestFacts, vault: &mut Vault) -> Opening {
        self.audit.time = facts.now;
        self.audit.request_id = head.first("x-request-id").and_then(RequestId::parse);
        self.format = Format::of(head);
        self.head_request = head.method() == b"HEAD";
        let compiled = Rc::clone(&self.compiled);
        let mut raw = head.target().to_vec();
        head.remove_where(names_another_url);
        let chosen = match Target::parse(&raw) {
            Ok(target) => {
                let chosen = match &facts.handover {
                    Some(bytes) => self.take_over(bytes),
                    None if head.has_any(names_another_method) => Err(Reason::AmbiguousUrl("method_override")),
                    None if names_another_host(&target, head) => Err(Reason::AmbiguousUrl("authority")),
                    None if target.is_asterisk() && head.method() != b"OPTIONS" => {
                        Err(Reason::AmbiguousUrl("not_a_target"))
                    }
                    None => self.choose(head, facts, &target),
                };
                let resolved =
                    (target.has_dot_segments() || has_empty_segments(&target)).then(|| target.render().into_bytes());
                if let Some(resolved) = resolved {
                    head.set(":path", resolved.clone());
                    raw = resolved;
                }
                chosen
            }
            Err(ambiguity) => Err(Reason::AmbiguousUrl(ambiguity.code())),
        };
        let Ok(target) = Target::parse(&raw) else {
            let reason = chosen.err().unwrap_or(Reason::AmbiguousUrl("not_canonical"));
            return self.opening(Err(reason), head, facts, &|| "-".to_owned());
        };
        let policy = self.policy.and_then(|index| compiled.policies.get(index));
        let judgement = match policy.and_then(|policy| policy.phi_url.as_ref()) {
            Some(phi) if facts.handover.is_none() || Self::has(PHI_URL) => Some(phi.judge(&target)),
            _ => None,
        };
        let section = policy.and_then(|policy| policy.phi_url.as_ref());
        let judged = judgement
            .as_ref()
            .map(|judgement| judgement.log_safe.clone().into_owned());
        let log_safe = || match (&judged, section) {
            (Some(log_safe), _) => log_safe.clone(),
            (None, Some(phi)) => phi.judge(&target).log_safe.into_owned(),
            (None, None) => phi::log_safe(&target, &|word| compiled.routes.has_word(word)),
        };
        let result = chosen.and_then(|()| match policy {
            Some(policy) => self.judge(policy, head, facts, &target, judgement, vault),
            None => Ok(()),
        });
        self.opening(result, head, facts, &log_safe)
    }

    /// The filters, one after another.
    fn judge(
        &mut self,
        policy: &Policy,
        head: &mut RequestHead,
        facts: &RequestFacts,
        target: &Target<'_>,
        judgement: Option<Judgement<'_>>,
        vault: &mut Vault,
    ) -> Result<(), Reason> {
        if Self::has(CACHE_CONTROL) && policy.cache_control.is_some() {
            self.audit.allow(FilterKind::CacheControl);
        }
        if Self::has(OAUTH_SCOPE)
            && let Some(oauth) = &policy.oauth_scope
        {
            let grant = authorize(&self.compiled, oauth, head, target, facts.now, vault)?;
            self.audit.issuer = Some(Rc::clone(&grant.issuer));
            self.audit.subject = grant.subject;
            if !oauth.require.is_met_by(grant.token.scopes()) {
                return Err(Reason::InsufficientScope(oauth.require.scopes()));
            }
            self.audit.allow(FilterKind::OauthScope);
            self.view = policy
                .response_trim
                .as_ref()
                .and_then(|trim| trim.view(Some(grant.token.scopes())));
        }
        if Self::has(PHI_URL)
            && let (Some(phi), Some(judgement)) = (&policy.phi_url, judgement)
        {
            self.rewrite(phi, head, facts, target, judgement)?;
            self.audit.allow(FilterKind::PhiUrl);
        }
        if Self::has(RESPONSE_TRIM)
            && let Some(trim) = &policy.response_trim
        {
            trim.prepare(head);
            if self.view.is_none() {
                self.view = trim.view(None::<&ScopeSet>);
            }
        }
        Ok(())
    }

    fn choose(&mut self, head: &RequestHead, facts: &RequestFacts, target: &Target<'_>) -> Result<(), Reason> {
        let routing = Facts {
            route_metadata: facts.route_metadata.as_deref(),
            virtual_host_metadata: facts.virtual_host_metadata.as_deref(),
            route_name: facts.route_name.as_deref(),
            method: head.method(),
            authority: head.authority(),
            path: target.path(),
        };
        let (governs, why) = self.compiled.routes.choose(&routing);
        self.audit.route = Some(why);
        self.by_file = matches!(why, Why::Route(_) | Why::Default);
        match governs {
            Governs::Policy(index) => {
                self.policy = Some(index);
                self.audit.policy = self.compiled.policies.get(index).map(|policy| Rc::clone(&policy.name));
                if !self.by_file && !path_is_canonical(target) {
                    return Err(Reason::AmbiguousUrl("not_canonical"));
                }
                Ok(())
            }
            Governs::Allow => Ok(()),
            Governs::Deny => Err(Reason::NoRoute),
            Governs::Unknown => Err(Reason::UnknownPolicy),
        }
    }

    fn take_over(&mut self, bytes: &[u8]) -> Result<(), Reason> {
        let handover = Handover::parse(bytes).ok_or(Reason::UnknownPolicy)?;
        self.by_file = handover.by_file;
        self.view = handover.view;
        self.audit.issuer = handover.issuer;
        self.audit.subject = handover.subject;
        let Some(name) = handover.policy else {
            return Ok(());
        };
        let index = self
            .compiled
            .policies
            .iter()
            .position(|policy| *policy.name == *name)
            .ok_or(Reason::UnknownPolicy)?;
        self.policy = Some(index);
        self.audit.policy = Some(name.into());
        Ok(())
    }

    /// Applies what `phi-url` found.
    fn rewrite(
        &mut self,
        phi: &phi::PhiPolicy,
        head: &mut RequestHead,
        facts: &RequestFacts,
        target: &Target<'_>,
        judgement: Judgement<'_>,
    ) -> Result<(), Reason> {
        let counts = &mut self.audit.counts;
        counts.masked = judgement.counts.masked;
        counts.stripped = judgement.counts.stripped;
        counts.tokenized = judgement.counts.tokenized;
        counts.observed = judgement.counts.observed;
        counts.detected = judgement.counts.detected;
        let referers: Vec<HeaderJudgement> = head.all("referer").map(|value| phi.judge_referer(value)).collect();
        match referers.as_slice() {
            [] | [HeaderJudgement::Keep] => {}
            [HeaderJudgement::Replace(value)] => head.set("referer", value.clone()),
            _ => head.remove("referer"),
        }
        match judgement.outcome {
            Outcome::Pass => Ok(()),
            Outcome::Reject(rejection) => Err(Reason::PhiInUrl {
                parameter: rejection.parameter,
                place: rejection.kind.code(),
            }),
            Outcome::Rewrite(raw) => {
                let again = Target::parse(&raw).map_err(|ambiguity| Reason::AmbiguousUrl(ambiguity.code()))?;
                if again.path() != target.path() && self.by_file {
                    let routing = Facts {
                        route_name: facts.route_name.as_deref(),
                        method: head.method(),
                        authority: head.authority(),
                        path: again.path(),
                        ..Facts::default()
                    };
                    let governs = self.compiled.routes.choose(&routing).0;
                    if governs != self.policy.map_or(Governs::Allow, Governs::Policy) {
                        return Err(Reason::AmbiguousUrl("rewritten_route"));
                    }
                }
                head.set(":path", raw);
                Ok(())
            }
        }
    }

    fn opening(
        &mut self,
        result: Result<(), Reason>,
        head: &mut RequestHead,
        facts: &RequestFacts,
        log_safe: &dyn Fn() -> String,
    ) -> Opening {
        let awaits_keys = matches!(result, Err(Reason::KeysUnavailable { awaited: true }));
        let verdict = match result {
            Ok(()) => Verdict::Continue(head.take_edits()),
            Err(reason) => {
                self.denied = true;
                let mut denial = self.deny(reason);
                let shown = log_safe();
                head.set(":path", if shown == "-" { "/-".to_owned() } else { shown });
                head.remove("referer");
                denial.edits = head.take_edits();
                Verdict::Deny(denial)
            }
        };
        let handover = (FILTERS != ALL && matches!(verdict, Verdict::Continue(_))).then(|| self.handover().render());
        // A module before has published it already.
        let log_safe = facts.handover.is_none().then(log_safe);
        Opening {
            verdict,
            log_safe,
            handover,
            awaits_keys,
        }
    }

    fn handover(&self) -> Handover {
        Handover {
            policy: self.policy().map(|policy| policy.name.to_string()),
            by_file: self.by_file,
            view: self.view,
            issuer: self.audit.issuer.clone(),
            subject: self.audit.subject.clone(),
        }
    }

    fn policy(&self) -> Option<&Policy> {
        self.policy.and_then(|index| self.compiled.policies.get(index))
    }

    fn deny(&mut self, reason: Reason) -> Denial {
        self.audit.deny(&reason);
        if !self.denied {
            self.body = BodyState::Refused;
        }
        let cache = self.policy().and_then(|policy| policy.cache_control.as_ref());
        let answer = answer(&reason, self.format, cache);
        Denial {
            edits: Vec::new(),
            reason,
            answer,
        }
    }

    /// Whether this stream has anything to say of its response's head; where not, the shell need not read it.
    pub fn wants_response(&self) -> bool {
        if self.denied || matches!(self.body, BodyState::Refused) {
            return false;
        }
        self.policy().is_some_and(|policy| {
            (Self::has(CACHE_CONTROL) && policy.cache_control.is_some())
                || (Self::has(RESPONSE_TRIM) && policy.response_trim.is_some())
        })
    }

    /// Judges the response head. `end_of_stream`: no body comes.
    pub fn response_head(&mut self, head: &mut ResponseHead, end_of_stream: bool) -> Verdict {
        if !self.wants_response() {
            return Verdict::Continue(Vec::new());
        }
        let compiled = Rc::clone(&self.compiled);
        let Some(policy) = self.policy.and_then(|index| compiled.policies.get(index)) else {
            return Verdict::Continue(Vec::new());
        };
        let mut hold = false;
        if Self::has(RESPONSE_TRIM)
            && let Some(trim) = &policy.response_trim
        {
            let bodiless = end_of_stream || self.head_request || matches!(head.status(), 204 | 304);
            match trim.judge(head, !bodiless, self.view) {
                Fate::Pass => self.audit.allow(FilterKind::ResponseTrim),
                Fate::Refuse(reason) => return Verdict::Deny(self.deny(reason)),
                Fate::Trim(program) => {
                    let tokens = compiled.pseudonyms.clone().map(|key| {
                        Arc::new(move |value: &[u8]| key.pseudonym(value).as_str().to_owned())
                            as Arc<crate::trim::Pseudonymise>
                    });
                    let Ok(trimmer) = Trimmer::new(program, tokens, Limits::default()) else {
                        return Verdict::Deny(self.deny(Reason::Uninspectable("no_key")));
                    };
                    hold = compiled.headers_may_wait;
                    self.body = BodyState::Trimming {
                        trimmer: Box::new(trimmer),
                        held: hold,
                    };
                }
            }
        }
        if Self::has(CACHE_CONTROL)
            && let Some(cache) = &policy.cache_control
        {
            cache.apply(head);
        }
        let edits = head.take_edits();
        if hold {
            Verdict::Hold(edits)
        } else {
            Verdict::Continue(edits)
        }
    }

    /// Whether pieces of the response's body matter to this stream; where not, the shell need not read them.
    pub fn wants_body(&self) -> bool {
        !matches!(self.body, BodyState::Untouched)
    }

    /// Whether a body of this many bytes so far should be waited for instead of being read now.
    pub fn waits(&self, size: usize, end_of_stream: bool) -> bool {
        matches!(self.body, BodyState::Trimming { held: true, .. }) && !end_of_stream && size < HELD_BYTES
    }

    /// Judges a piece of the body: all that has come since the last [`BodyVerdict::Replace`].
    pub fn response_body(&mut self, piece: &[u8], end_of_stream: bool) -> BodyVerdict {
        let (trimmer, held) = match &mut self.body {
            BodyState::Untouched => return BodyVerdict::Pass,
            // What still comes after a refusal is dropped, were it ever to come.
            BodyState::Refused => return BodyVerdict::Replace(Vec::new()),
            BodyState::Trimming { trimmer, held } => (trimmer, held),
        };
        if *held && !end_of_stream && piece.len() < HELD_BYTES {
            return BodyVerdict::Hold;
        }
        let mut out = Vec::with_capacity(piece.len());
        let pushed = trimmer.push(piece, end_of_stream, &mut out);
        let was_held = std::mem::replace(held, false);
        let counts = trimmer.counts();
        self.audit.counts.removed = counts.removed;
        self.audit.counts.transformed = counts.transformed;
        match pushed {
            Ok(()) => {
                if end_of_stream {
                    self.audit.allow(FilterKind::ResponseTrim);
                }
                BodyVerdict::Replace(out)
            }
            Err(error) => {
                let denial = self.deny(Reason::Uninspectable(error.code()));
                if was_held {
                    BodyVerdict::Deny(denial)
                } else {
                    BodyVerdict::Reset(denial.reason)
                }
            }
        }
    }
}

/// What a valid token grants.
struct Authorized {
    token: Rc<token::Grant>,
    issuer: Rc<str>,
    subject: Option<Pseudonym>,
}

fn authorize(
    compiled: &Compiled,
    oauth: &Oauth,
    head: &RequestHead,
    target: &Target<'_>,
    now: Timestamp,
    vault: &mut Vault,
) -> Result<Authorized, Reason> {
    if now == Timestamp::UNKNOWN {
        return Err(Reason::InvalidToken("no_clock"));
    }
    // RFC 6750 2.3 and RFC 9700 4.3.2: a token in the URL reaches logs and histories.
    if token::query_has_token(target.parameters().iter().map(|parameter| parameter.name().as_bytes())) {
        return Err(Reason::TwoTokens);
    }
    let lines: Vec<&[u8]> = head.all("authorization").collect();
    let bearer = match token::bearer(&lines) {
        Ok(Some(bearer)) => bearer,
        Ok(None) => return Err(Reason::NoToken),
        Err(error) if error.status() == 400 => return Err(Reason::TwoTokens),
        Err(error) => return Err(Reason::InvalidToken(error.code())),
    };
    let grant = compiled
        .tokens
        .verify(
            bearer,
            &oauth.issuers,
            now.seconds(),
            &mut vault.cache,
            vault.host.as_deref(),
        )
        .map_err(|error| match error {
            TokenError::KeysAwaited => Reason::KeysUnavailable { awaited: true },
            TokenError::KeysUnavailable => Reason::KeysUnavailable { awaited: false },
            error => Reason::InvalidToken(error.code()),
        })?;
    let issuer = compiled
        .aliases
        .get(grant.issuer())
        .map(Rc::clone)
        .ok_or(Reason::InvalidToken("issuer"))?;
    let subject = match (&compiled.pseudonyms, grant.subject()) {
        (Some(key), Some(subject)) => Some(key.pseudonym(subject.expose())),
        _ => None,
    };
    Ok(Authorized {
        token: grant,
        issuer,
        subject,
    })
}

/// Headers by which an upstream may serve another URL than the one that was judged. Access logs prefer the first to `:path`; only the
/// proxy's own router, behind the filters, may set it.
fn names_another_url(name: &[u8]) -> bool {
    matches!(name, b"x-envoy-original-path" | b"x-original-url" | b"x-rewrite-url")
}

/// Headers by which an upstream may take the request for one of another method. Without them it would be yet another request, so
/// they are refused instead of removed.
fn names_another_method(name: &[u8]) -> bool {
    matches!(
        name,
        b"x-http-method-override" | b"x-http-method" | b"x-method-override"
    )
}

/// A server takes the host of an absolute-form target over `Host` (RFC 9112 3.2.2), and routes match on the latter.
fn names_another_host(target: &Target<'_>, head: &RequestHead) -> bool {
    target
        .authority()
        .is_some_and(|authority| !authority.as_bytes().eq_ignore_ascii_case(head.authority()))
}

fn has_empty_segments(target: &Target<'_>) -> bool {
    target
        .raw()
        .get(target.path_range())
        .is_some_and(|path| memchr::memmem::find(path, b"//").is_some())
}

/// Whether the raw path is spelled in the one way in which the proxy's own route matcher reads it too.
fn path_is_canonical(target: &Target<'_>) -> bool {
    if target.is_canonical() {
        return true;
    }
    let rendered = target.render();
    let path = |bytes: &[u8]| bytes.split(|byte| *byte == b'?').next().unwrap_or_default().to_vec();
    path(rendered.as_bytes()) == path(target.raw())
}

impl Handover {
    fn render(&self) -> String {
        let subject = self.subject.as_ref().map(Pseudonym::as_str);
        json!({
            "policy": self.policy, "by_file": self.by_file, "view": self.view,
            "issuer": self.issuer.as_deref(), "subject": subject,
        })
        .to_string()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let Json::Object(members) = serde_json::from_slice::<Json>(bytes).ok()? else {
            return None;
        };
        let text = |name: &str| match members.get(name)? {
            Json::Null => Some(None),
            Json::String(text) => Some(Some(text.as_str())),
            _ => None,
        };
        let view = match members.get("view")? {
            Json::Null => None,
            number => Some(usize::try_from(number.as_u64()?).ok()?),
        };
        let subject = match text("subject")? {
            Some(text) => Some(Pseudonym::parse(text)?),
            None => None,
        };
        Some(Handover {
            policy: text("policy")?.map(str::to_owned),
            by_file: members.get("by_file")?.as_bool()?,
            view,
            issuer: text("issuer")?.map(Rc::from),
            subject,
        })
    }
}

#[cfg(test)]
mod tests;
