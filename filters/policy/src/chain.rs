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
//! 9. Where what a request does stands in its body, its head waits for all of the body, up to [`MAX_REQUEST_BODY`], and is judged anew with it.
//!    A policy in shadow waits for less, and lets the request go on unchanged by `oauth-scope` whatever it finds.
//! 10. Search parameters that bind a request to what its token grants are appended behind what `phi-url` judges: they are the policy's, not the client's. In a search
//!     by POST they stand in the form too.
//! 11. A response that must be shown to belong to a patient waits as a whole. It is shown before it is trimmed: by `response-trim` where that is in the chain,
//!     else by `oauth-scope`.
//! 12. Response headers wait, where the proxy allows it, until [`HELD_BYTES`] of the body were judged or it ended, so that a body that fails
//!     by then is answered with 502; one that fails later is reset, so that the client sees a broken body, never an untrimmed one.

mod handover;
mod line;
mod response;
mod write_back;

use std::rc::Rc;

use crate::answer::{Additions, Answer, FilterKind, Format, Reason, answer};
use crate::audit::{AuditEvent, RequestId, Timestamp};
use crate::break_glass::Ledger;
use crate::cache_control::validators::{self, Salt};
use crate::compile::{Compiled, Policy};
use crate::cors;
use crate::head::{Edit, RequestHead};
use crate::oauth_scope::{Call, Finding, Mode};
use crate::phi::{self, Judgement, Outcome, Scene};
use crate::response_trim::{Observer, Pipe, Views, prepare, steer};
use crate::route::{Facts, Governs, Why};
use crate::scope::ScopeSet;
use crate::sender::Connection;
use crate::token::dpop::ReplayCache;
use crate::token::{HostVerifier, TokenCache};
use crate::url::Target;

use self::handover::{Bound, Handover};
pub(crate) use self::line::names_another_url;
use self::line::{
    demand_strict_handling, has_empty_segments, join, names_another_host, names_another_method, path_is_canonical,
    push_encoded, split_appended,
};

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

/// The most bytes of a request's body that are waited for. Envoy's own buffers end there too, unless they are told otherwise.
pub const MAX_REQUEST_BODY: usize = 1024 * 1024;

/// The same for a policy in shadow, where no `Content-Length` tells that all of it fits: Envoy answers 413 itself once a body that waits is over its buffer's limit,
/// and the next piece may be large.
const MAX_BODY_IN_SHADOW: usize = MAX_REQUEST_BODY / 2;

/// The header that the proxy's default log and its traces print in the place of `:path`.
pub const LOGGED_PATH: &str = "x-envoy-original-path";

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
    /// The whole body, once it has come. A request that has none has an empty one.
    pub body: Option<Vec<u8>>,
    /// It was waited for, and grew too large.
    pub body_too_large: bool,
}

/// What outlives requests: verified tokens, and the host's way to verify signatures.
#[derive(Default)]
pub struct Vault {
    /// The verified tokens.
    pub cache: TokenCache,
    /// The host's verifier, if it passed its self-test.
    pub host: Option<Rc<dyn HostVerifier>>,
    /// What the proxy knows of client certificates.
    pub connection: Option<Rc<dyn Connection>>,
    /// Who broke the glass of late.
    pub ledger: Ledger,
    /// The proofs of possession that came of late.
    pub replay: Replays,
}

/// How many proofs of possession are remembered at a time; about 8 MB, and only where they come.
const PROOFS: usize = 1 << 16;
/// How many seconds a proof's `iat` may be away from now.
const PROOF_WINDOW: u64 = 60;

/// The proofs of possession that came of late.
pub struct Replays(ReplayCache);

impl Default for Replays {
    fn default() -> Self {
        Replays(ReplayCache::new(PROOFS, PROOF_WINDOW))
    }
}

impl std::ops::Deref for Replays {
    type Target = ReplayCache;
    fn deref(&self) -> &ReplayCache {
        &self.0
    }
}

impl std::ops::DerefMut for Replays {
    fn deref_mut(&mut self) -> &mut ReplayCache {
        &mut self.0
    }
}

/// A proxy that knows of no client certificate.
struct Certificateless;

impl Connection for Certificateless {
    fn peer_certificate_digest(&self) -> Option<Vec<u8>> {
        None
    }
    fn peer_uri(&self) -> Option<Vec<u8>> {
        None
    }
}

/// What is to be counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Counter {
    /// A request was denied, for the reason of that code.
    Denied(&'static str),
    /// It would have been, were the policy not only looking on.
    ShadowDenied(&'static str),
    /// The glass was broken.
    BreakGlass,
    /// Fields were seen under `mode: observe`, so many times: the route, the media type, the path.
    Field(Box<str>, u32),
}

impl Counter {
    /// The metric's name.
    pub fn name(&self) -> String {
        match self {
            Counter::Denied(code) => format!("scrim_denied_{code}"),
            Counter::ShadowDenied(code) => format!("scrim_shadow_denied_{code}"),
            Counter::BreakGlass => "scrim_break_glass".to_owned(),
            Counter::Field(name, _) => format!("scrim_field.{name}"),
        }
    }

    /// By how much it grows.
    pub fn amount(&self) -> u64 {
        match self {
            Counter::Field(_, amount) => u64::from(*amount),
            _ => 1,
        }
    }
}

/// What becomes of a head.
pub enum Verdict {
    /// It passes, with these edits.
    Continue(Vec<Edit>),
    /// It waits, with these edits, for the body's first bytes.
    Hold(Vec<Edit>),
    /// It waits for the request's whole body, to be judged anew with it.
    AwaitBody,
    /// The stream is answered with this; it is no denial.
    Reply(Answer),
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
    /// What the request's body becomes, where it becomes another: it came with [`RequestFacts::body`].
    pub body: Option<Vec<u8>>,
    /// What the proxy's own logs are to show while the request waits, in [`LOGGED_PATH`], should it never go on.
    pub meanwhile: Option<String>,
    /// The verdict is what it is because keys are being fetched: whoever can wait for them judges the head anew with a new stream.
    pub awaits_keys: bool,
}

/// One request and its response.
pub struct Stream<const FILTERS: u8> {
    compiled: Rc<Compiled>,
    /// The policy's index, where one governs.
    policy: Option<usize>,
    /// Whether the policy file's own routes chose, and not the proxy's metadata.
    by_file: bool,
    /// What the response is, for metrics of its fields.
    media_type: &'static str,
    /// Which views this caller gets.
    views: Views,
    /// It would replace what its sender reads trimmed.
    write_back: bool,
    format: Format,
    head_request: bool,
    /// Nothing is changed by it.
    reads: bool,
    /// The host that was called, and the year: for the URLs of the response.
    called: Vec<u8>,
    year: Option<u16>,
    /// The request was answered here: what comes as a response is our own.
    answered: bool,
    /// The listed origin of the web page that called.
    origin: Option<String>,
    /// Whose the response must be shown to be.
    bound: Option<Bound>,
    /// How many bytes at the end of the query are the policy's, not the client's.
    appended: usize,
    /// The same of a search form, as it came from the module before.
    appended_to_form: usize,
    /// What a search form gets appended here.
    form_suffix: Vec<u8>,
    counters: Vec<Counter>,
    /// Whether the request's proof of possession was taken, before its body was awaited.
    proof_seen: bool,
    /// Whether it waits, or did, with a [`LOGGED_PATH`] of ours.
    waited: bool,
    /// What the request's body becomes, where it becomes another.
    form: Option<Vec<u8>>,
    /// How many bytes of the request's body may pile up while it waits.
    patience: usize,
    /// A policy in shadow has no keys yet that are being fetched.
    shadow_awaits_keys: bool,
    audit: AuditEvent,
    body: BodyState,
}

enum BodyState {
    /// No body of this stream is trimmed.
    Untouched,
    /// It is; `held`: the response headers have not gone out.
    Trimming { pipe: Box<Pipe>, held: bool },
    /// All of it waits to be shown to be the patient's; then it is trimmed, if at all.
    Proving {
        bound: Bound,
        status: u16,
        pipe: Option<Box<Pipe>>,
    },
    /// Its fields are counted, and it passes.
    Observing(Box<Observer>),
    /// It was refused; nothing more passes.
    Refused,
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
        Stream {
            compiled,
            policy: None,
            by_file: false,
            media_type: "",
            views: Views::default(),
            write_back: false,
            format: Format::Problem,
            head_request: false,
            reads: true,
            called: Vec::new(),
            year: None,
            answered: false,
            origin: None,
            bound: None,
            appended: 0,
            appended_to_form: 0,
            form_suffix: Vec::new(),
            counters: Vec::new(),
            proof_seen: false,
            waited: false,
            form: None,
            patience: usize::MAX,
            shadow_awaits_keys: false,
            audit,
            body: BodyState::Untouched,
        }
    }

    /// What has come up to be counted since it was last asked.
    pub fn take_counters(&mut self) -> Vec<Counter> {
        std::mem::take(&mut self.counters)
    }

    /// The audit record so far.
    pub fn audit(&self) -> &AuditEvent {
        &self.audit
    }

    /// Judges the request head. After [`Verdict::AwaitBody`] it is called again, with the head as it first was and the body.
    pub fn request_head(&mut self, head: &mut RequestHead, facts: &RequestFacts, vault: &mut Vault) -> Opening {
        let (proof_seen, waited) = (self.proof_seen, self.waited);
        *self = Self::new(Rc::clone(&self.compiled));
        (self.proof_seen, self.waited) = (proof_seen, waited);
        self.audit.time = facts.now;
        self.audit.request_id = head.first("x-request-id").and_then(RequestId::parse);
        self.format = Format::of(head);
        self.head_request = head.method() == b"HEAD";
        self.reads = matches!(head.method(), b"GET" | b"HEAD");
        self.year = facts.now.year();
        let compiled = Rc::clone(&self.compiled);
        let raw = head.target().to_vec();
        // What stands there behind a module of ours is ours.
        if facts.handover.is_none() {
            head.remove_where(names_another_url);
        } else if self.waited {
            head.remove(LOGGED_PATH);
        }
        let asked = if Self::has(OAUTH_SCOPE) {
            compiled.reserved.take(head)
        } else {
            Vec::new()
        };
        let unreadable = |code| Err(Reason::AmbiguousUrl(code));
        let first = match Target::parse(&raw) {
            Ok(target) => target,
            Err(ambiguity) => return self.opening(unreadable(ambiguity.code()), head, facts, &|| "-".to_owned()),
        };
        let chosen = match &facts.handover {
            Some(bytes) => self.take_over(bytes),
            None if head.has_any(names_another_method) => Err(Reason::AmbiguousUrl("method_override")),
            // Methods are case-sensitive (RFC 9110 9.1), but not to every upstream.
            None if head.method().iter().any(u8::is_ascii_lowercase) => Err(Reason::AmbiguousUrl("method_case")),
            None if names_another_host(&first, head) => Err(Reason::AmbiguousUrl("authority")),
            None if first.is_asterisk() && head.method() != b"OPTIONS" => Err(Reason::AmbiguousUrl("not_a_target")),
            None => self.choose(head, facts, &first),
        };
        let resolved = (first.has_dot_segments() || has_empty_segments(&first)).then(|| first.render().into_bytes());
        let (second, third);
        let mut target = &first;
        if let Some(resolved) = &resolved {
            head.set(":path", resolved.clone());
            second = match Target::parse(resolved) {
                Ok(second) => second,
                Err(_) => return self.opening(unreadable("not_canonical"), head, facts, &|| "-".to_owned()),
            };
            target = &second;
        }
        // What a module before appended is the policy's; `phi-url` judges what the client sent.
        let (mut sent, mut appended) = (target, &b""[..]);
        if self.appended > 0 {
            let (own, suffix) = split_appended(target.raw(), self.appended);
            third = match Target::parse(own) {
                Ok(third) => third,
                Err(_) => return self.opening(unreadable("not_canonical"), head, facts, &|| "-".to_owned()),
            };
            (sent, appended) = (&third, suffix);
        }
        let policy = self.policy.and_then(|index| compiled.policies.get(index));
        let section = policy.and_then(|policy| policy.phi_url.as_ref());
        if section.is_some() {
            self.called = head.authority().to_vec();
        }
        let judgement = section
            .filter(|_| facts.handover.is_none() || Self::has(PHI_URL))
            .map(|phi| self.in_scene(|scene| phi.judge_request(sent, scene)));
        let judged = judgement
            .as_ref()
            .map(|judgement| judgement.log_safe.clone().into_owned());
        let log_safe = || match (&judged, section) {
            (Some(log_safe), _) => log_safe.clone(),
            (None, Some(phi)) => phi.judge(sent, facts.now.year()).log_safe.into_owned(),
            (None, None) => phi::log_safe(sent, &|word| compiled.routes.has_word(word)),
        };
        // Who judges what is asked for judges what the upstream will get.
        let looks_into_body = section.is_some_and(|phi| phi.wants_body(head, sent));
        let (mut open, mut open_body, fourth) = (None, None, None);
        let mut unopened = Ok(());
        if let Some(phi) = section.filter(|_| Self::has(OAUTH_SCOPE)) {
            let opened = self.in_scene(|scene| {
                open = phi.open(target, scene)?;
                if let Some(body) = facts.body.as_deref().filter(|_| looks_into_body) {
                    open_body = phi.open_body(body, head, sent, scene)?;
                }
                Ok(())
            });
            unopened = opened.map_err(phi_in_url);
        }
        let fourth = match open.as_deref().map(Target::parse).transpose() {
            Ok(opened) => opened,
            Err(ambiguity) => {
                unopened = Err(Reason::AmbiguousUrl(ambiguity.code()));
                fourth
            }
        };
        let guarded =
            Self::has(RESPONSE_TRIM) && policy.is_some_and(|policy| self.may_replace_in_batch(policy, head, target));
        let asked_for = AskedFor {
            target: fourth.as_ref().unwrap_or(target),
            body: open_body.as_deref().or(facts.body.as_deref()),
            awaits_body: facts.body.is_none() && (Self::has(PHI_URL) && looks_into_body || guarded),
        };
        let result = match (chosen, policy) {
            (Ok(()), Some(policy)) => {
                if facts.handover.is_none() {
                    self.meet(policy, head, facts, target, None::<&ScopeSet>);
                }
                let mut suffix = String::from_utf8_lossy(appended).into_owned();
                let step =
                    unopened.and_then(|()| self.judge(policy, head, facts, &asked_for, &mut suffix, &asked, vault));
                step.and_then(|step| {
                    if !matches!(step, Step::Continue) {
                        return Ok((step, None));
                    }
                    let judgement = judgement.filter(|_| Self::has(PHI_URL));
                    let rejected = judgement
                        .as_ref()
                        .is_some_and(|judgement| matches!(judgement.outcome, Outcome::Reject(_)));
                    if asked_for.awaits_body && !rejected {
                        if facts.body_too_large {
                            return Err(Reason::BodyTooLarge);
                        }
                        self.may_await_body(head)?;
                        return Ok((Step::AwaitBody, None));
                    }
                    let mut path = None;
                    if let Some(judgement) = judgement {
                        path = self.protect(policy, head, facts, sent, judgement)?;
                        if let Some(body) = facts.body.as_deref().filter(|_| looks_into_body) {
                            self.protect_body(policy, head, sent, body)?;
                        }
                    }
                    if let Some(body) = asked_for.body.filter(|_| guarded) {
                        self.guard_batch(policy, head, facts, target, body)?;
                    }
                    Ok((Step::Continue, path))
                })
                .and_then(|(step, path)| {
                    if matches!(step, Step::Continue) {
                        let path = join(path.as_deref().unwrap_or(sent.raw()), &suffix);
                        self.appended = suffix.len();
                        if path != head.target() {
                            head.set(":path", path);
                        }
                        // Whose record it is stands in what was appended.
                        if !suffix.is_empty() && !head.has(LOGGED_PATH) {
                            head.set(LOGGED_PATH, log_safe());
                        }
                        self.finish_form(head, facts);
                        if Self::has(RESPONSE_TRIM)
                            && let Some(trim) = policy.response_trim.as_ref().filter(|trim| !trim.observe)
                        {
                            steer(head, target, trim.fhir, trim.events)?;
                            let views = self.views;
                            validators::desalt(head, &|| {
                                (!views.is_empty()).then(|| Salt::of(&compiled, &policy.name, views))
                            });
                        }
                        if Self::has(RESPONSE_TRIM) && self.write_back {
                            return Err(Reason::WriteBack);
                        }
                    }
                    Ok(step)
                })
            }
            (Ok(()), None) => Ok(Step::Continue),
            (Err(reason), _) => Err(reason),
        };
        self.opening(result, head, facts, &log_safe)
    }

    /// The filters that come before `phi-url`.
    #[allow(clippy::too_many_arguments, reason = "all of it is the request")]
    fn judge(
        &mut self,
        policy: &Policy,
        head: &mut RequestHead,
        facts: &RequestFacts,
        asked_for: &AskedFor<'_>,
        suffix: &mut String,
        asked: &[(Vec<u8>, Vec<u8>)],
        vault: &mut Vault,
    ) -> Result<Step, Reason> {
        if Self::has(CACHE_CONTROL)
            && let Some(cache) = &policy.cache_control
        {
            cache.admit(head, vault.connection.as_deref())?;
            self.audit.allow(FilterKind::CacheControl);
        }
        let Some(oauth) = policy.oauth_scope.as_ref().filter(|oauth| oauth.mode != Mode::Off) else {
            return Ok(Step::Continue);
        };
        if !Self::has(OAUTH_SCOPE) {
            return Ok(Step::Continue);
        }
        let shadow = oauth.mode == Mode::Shadow;
        if shadow {
            let fits = content_length(head).is_some_and(|length| length <= MAX_REQUEST_BODY);
            self.patience = if fits { MAX_REQUEST_BODY } else { MAX_BODY_IN_SHADOW };
        }
        if let Some(cors) = &oauth.cors {
            let preflight = cors::requested_method(head).is_some();
            if preflight && shadow {
                match cors.preflight(head) {
                    Some(_) => self.audit.allow(FilterKind::OauthScope),
                    None => self.shadow(&Reason::Preflight),
                }
                return Ok(Step::Continue);
            }
            if preflight {
                let headers = cors.preflight(head).ok_or(Reason::Preflight)?;
                self.audit.allow(FilterKind::OauthScope);
                return Ok(Step::Reply(headers));
            }
            self.origin = cors.origin(head).filter(|_| !shadow).map(str::to_owned);
        }
        let connection = vault.connection.clone();
        let call = Call {
            head,
            target: asked_for.target,
            now: facts.now,
            body: asked_for.body,
            connection: connection.as_deref().unwrap_or(&Certificateless),
            proof_seen: self.proof_seen,
            asked,
        };
        let compiled = Rc::clone(&self.compiled);
        let found = oauth.authenticate(&compiled.tokens, &call, vault).and_then(|grant| {
            self.audit.issuer = compiled.aliases.get(grant.issuer()).map(Rc::clone);
            self.audit.subject = compiled
                .pseudonyms
                .as_ref()
                .and_then(|key| grant.pseudonym(key))
                .cloned();
            let found = match asked_for.awaits_body {
                true => Finding::NeedsBody,
                false => oauth.authorize(&grant, &call, &mut vault.ledger, &mut self.audit.interaction)?,
            };
            match found {
                Finding::NeedsBody if facts.body_too_large => Err(Reason::BodyTooLarge),
                Finding::NeedsBody => self.may_await_body(head).map(|()| None),
                Finding::Allow(allowed) if allowed.bounds.check_response && !compiled.headers_may_wait => {
                    Err(Reason::NotPermitted("response_not_awaited"))
                }
                Finding::Allow(allowed) => Ok(Some(allowed)),
            }
        });
        let allowed = match found {
            Ok(None) => {
                self.proof_seen = true;
                return Ok(Step::AwaitBody);
            }
            Ok(Some(allowed)) => allowed,
            Err(reason) if shadow => {
                self.shadow_awaits_keys = matches!(reason, Reason::KeysUnavailable { awaited: true });
                self.shadow(&reason);
                return Ok(Step::Continue);
            }
            Err(reason) => return Err(reason),
        };
        self.audit.allow(FilterKind::OauthScope);
        if let Some(reason) = &allowed.break_glass {
            self.audit.break_glass = Some(reason.as_str().into());
            self.counters.push(Counter::BreakGlass);
        }
        self.meet(policy, head, facts, asked_for.target, Some(&allowed.caller));
        oauth.identify(&allowed, head);
        if shadow {
            return Ok(Step::Continue);
        }
        for (name, value) in &allowed.bounds.append {
            if !suffix.is_empty() {
                suffix.push('&');
            }
            push_encoded(suffix, name);
            suffix.push('=');
            push_encoded(suffix, value);
        }
        if let Some(form) = facts
            .body
            .as_ref()
            .filter(|_| !allowed.bounds.append_to_form.is_empty())
        {
            let narrowed = allowed.bounds.narrowed_form(form);
            self.form_suffix = narrowed.get(form.len()..).unwrap_or_default().to_vec();
        }
        if allowed.bounds.strict_search {
            demand_strict_handling(head);
        }
        if allowed.bounds.check_response
            && let Some(patient) = allowed.grant.patient()
        {
            prepare(head);
            // 304 would tell of a record that is not shown to be the patient's.
            head.remove("if-none-match");
            head.remove("if-modified-since");
            self.bound = Some(Bound::to(patient, &compiled));
        }
        Ok(Step::Continue)
    }

    /// Notes what would have been denied.
    fn shadow(&mut self, reason: &Reason) {
        self.counters.push(Counter::ShadowDenied(reason.code()));
        self.audit.shadow(reason);
    }

    /// How many bytes of the request's body may pile up while it waits, for its body or for keys; with more it is judged at once, with
    /// [`RequestFacts::body_too_large`].
    pub fn patience(&self) -> usize {
        self.patience
    }

    /// Whether all of the body can be had.
    fn may_await_body(&mut self, head: &RequestHead) -> Result<(), Reason> {
        if !self.compiled.headers_may_wait {
            return Err(Reason::UnclearRequest("body_not_awaited"));
        }
        let coded = |value: &[u8]| !value.trim_ascii().eq_ignore_ascii_case(b"identity");
        if head.all("content-encoding").any(coded) {
            return Err(Reason::UnclearRequest("content_encoding"));
        }
        if content_length(head).is_some_and(|length| length > MAX_REQUEST_BODY) {
            return Err(Reason::BodyTooLarge);
        }
        self.patience = self.patience.min(MAX_REQUEST_BODY);
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
        // A preflight is about the request that it announces, where that one's policy answers preflights.
        let announced =
            cors::requested_method(head).map(|method| self.compiled.routes.choose(&Facts { method, ..routing }));
        let answers = |governs: Governs| match governs {
            Governs::Policy(index) => self.compiled.policies.get(index).is_some_and(Policy::judges_preflights),
            _ => false,
        };
        let (governs, why) = announced
            .filter(|(governs, _)| answers(*governs))
            .unwrap_or_else(|| self.compiled.routes.choose(&routing));
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
        self.views = handover.views;
        self.write_back = handover.write_back;
        self.bound = handover.bound;
        self.appended = handover.appended;
        self.appended_to_form = handover.appended_to_form;
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

    /// Applies what `phi-url` found; gives the new path, if it is to be another.
    fn protect(
        &mut self,
        policy: &Policy,
        head: &mut RequestHead,
        facts: &RequestFacts,
        target: &Target<'_>,
        judgement: Judgement<'_>,
    ) -> Result<Option<Vec<u8>>, Reason> {
        let Some(phi) = &policy.phi_url else {
            return Ok(None);
        };
        self.audit.count_urls(judgement.counts);
        let counts = self
            .in_scene(|scene| phi.request_headers(head, target, scene))
            .map_err(phi_in_url)?;
        self.audit.count_urls(counts);
        if judgement.shows {
            head.set(LOGGED_PATH, judgement.log_safe.as_bytes().to_vec());
        }
        let path = match judgement.outcome {
            Outcome::Pass => None,
            Outcome::Reject(rejection) => return Err(phi_in_url(rejection)),
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
                drop(again);
                Some(raw)
            }
        };
        self.audit.allow(FilterKind::PhiUrl);
        Ok(path)
    }

    /// Applies what `phi-url` finds in the body.
    fn protect_body(
        &mut self,
        policy: &Policy,
        head: &RequestHead,
        target: &Target<'_>,
        body: &[u8],
    ) -> Result<(), Reason> {
        let Some(phi) = &policy.phi_url else {
            return Ok(());
        };
        // What a module before appended is the policy's.
        let (own, appended) = body
            .split_at_checked(body.len().saturating_sub(self.appended_to_form))
            .unwrap_or((body, b""));
        let (judged, counts) = self
            .in_scene(|scene| phi.judge_body(own, head, target, scene))
            .map_err(phi_in_url)?;
        self.audit.count_urls(counts);
        self.form = judged.map(|judged| [&judged, appended].concat());
        Ok(())
    }

    /// Appends to the form what binds the search.
    fn finish_form(&mut self, head: &mut RequestHead, facts: &RequestFacts) {
        if !self.form_suffix.is_empty() {
            let mut form = self.form.take().or_else(|| facts.body.clone()).unwrap_or_default();
            form.extend_from_slice(&self.form_suffix);
            self.form = Some(form);
        }
        let Some(form) = &self.form else { return };
        if head.has("content-length") {
            head.set("content-length", form.len().to_string());
        }
        // They are of the body that came: wrong for this one, and by an unkeyed hash of a short form its values can be found.
        for name in ["content-digest", "repr-digest", "digest", "content-md5"] {
            head.remove(name);
        }
    }

    fn opening(
        &mut self,
        result: Result<Step, Reason>,
        head: &mut RequestHead,
        facts: &RequestFacts,
        log_safe: &dyn Fn() -> String,
    ) -> Opening {
        let awaits_keys = self.shadow_awaits_keys || matches!(result, Err(Reason::KeysUnavailable { awaited: true }));
        let verdict = match result {
            Ok(Step::Continue) => Verdict::Continue(head.take_edits()),
            Ok(Step::AwaitBody) => Verdict::AwaitBody,
            Ok(Step::Reply(mut headers)) => {
                self.answered = true;
                // It passes no filter of ours on its way back.
                if let Some(cache) = self.policy().and_then(|policy| policy.cache_control.as_ref()) {
                    headers.extend(cache.reply_headers().map(|(name, value)| (name, value.to_owned())));
                }
                Verdict::Reply(Answer {
                    status: 204,
                    headers,
                    body: String::new(),
                    grpc_status: None,
                })
            }
            Err(reason) => {
                self.answered = true;
                let mut denial = self.deny(reason);
                let shown = log_safe();
                head.set(":path", if shown == "-" { "/-".to_owned() } else { shown });
                for name in ["referer", "origin", "forwarded", "if-none-exist", LOGGED_PATH] {
                    head.remove(name);
                }
                denial.edits = head.take_edits();
                Verdict::Deny(denial)
            }
        };
        let waits = awaits_keys || matches!(verdict, Verdict::AwaitBody);
        let meanwhile = waits.then(|| match log_safe().as_str() {
            "-" => "/-".to_owned(),
            shown => shown.to_owned(),
        });
        self.waited |= waits;
        let handover = (FILTERS != ALL && matches!(verdict, Verdict::Continue(_))).then(|| self.handover().render());
        // A module before has published it already.
        let log_safe = facts.handover.is_none().then(log_safe);
        Opening {
            verdict,
            log_safe,
            handover,
            body: self.form.take(),
            meanwhile,
            awaits_keys,
        }
    }

    fn handover(&self) -> Handover {
        Handover {
            policy: self.policy().map(|policy| policy.name.to_string()),
            by_file: self.by_file,
            views: self.views,
            write_back: self.write_back,
            issuer: self.audit.issuer.clone(),
            subject: self.audit.subject.clone(),
            bound: self.bound.clone(),
            appended: self.appended,
            appended_to_form: self.appended_to_form.saturating_add(self.form_suffix.len()),
        }
    }

    fn policy(&self) -> Option<&Policy> {
        self.policy.and_then(|index| self.compiled.policies.get(index))
    }

    fn deny(&mut self, reason: Reason) -> Denial {
        self.audit.deny(&reason);
        self.counters.push(Counter::Denied(reason.code()));
        if !self.answered {
            self.body = BodyState::Refused;
        }
        let policy = self.policy();
        let oauth = policy.and_then(|policy| policy.oauth_scope.as_ref());
        let additions = Additions {
            cache: policy.and_then(|policy| policy.cache_control.as_ref()),
            resource_metadata: oauth.and_then(|oauth| oauth.resource_metadata.as_deref()),
            dpop: oauth.and_then(|oauth| oauth.sender.dpop.as_ref()),
            varies_by_origin: policy.is_some_and(Policy::answers_preflights),
            origin: self.origin.as_deref(),
        };
        let answer = answer(&reason, self.format, &additions);
        Denial {
            edits: Vec::new(),
            reason,
            answer,
        }
    }

    /// Judges URLs where and when this stream is.
    fn in_scene<T>(&self, judge: impl FnOnce(&Scene<'_>) -> T) -> T {
        judge(&Scene {
            year: self.year,
            authority: &self.called,
            opens: &|target| self.opens(target),
        })
    }

    /// The name of the policy that opens what is sealed in this URL when the client sends it back.
    fn opens(&self, target: &Target<'_>) -> Option<String> {
        let routing = Facts {
            method: b"GET",
            authority: target.authority().map_or(&*self.called, str::as_bytes),
            path: target.path(),
            ..Facts::default()
        };
        let index = match self.compiled.routes.choose(&routing).0 {
            _ if !self.by_file => self.policy?,
            Governs::Policy(index) => index,
            _ => return None,
        };
        let policy = self.compiled.policies.get(index)?;
        policy.phi_url.is_some().then(|| policy.name.to_string())
    }
}

fn phi_in_url(rejection: phi::Rejection) -> Reason {
    Reason::PhiInUrl {
        place: rejection.kind.code().to_owned().into(),
        parameter: rejection.parameter,
        resource: rejection.resource,
    }
}

/// A request as the upstream will read it.
struct AskedFor<'a> {
    target: &'a Target<'a>,
    body: Option<&'a [u8]>,
    /// Another filter needs the body, so it is waited for before any right is used up.
    awaits_body: bool,
}

/// How far a request has come.
enum Step {
    Continue,
    AwaitBody,
    Reply(Vec<(&'static str, String)>),
}

/// What the head says of the body's size.
fn content_length(head: &RequestHead) -> Option<usize> {
    std::str::from_utf8(head.first("content-length")?).ok()?.parse().ok()
}

#[cfg(test)]
mod cache_tests;
#[cfg(test)]
mod oauth_tests;
#[cfg(test)]
mod phi_tests;
#[cfg(test)]
mod smart_tests;
#[cfg(test)]
mod tests;
