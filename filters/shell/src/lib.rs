//! The shell: the only crate of Scrim that talks to the proxy.
//!
//! 1. It reads each head once, hands it to the chain, and turns the verdict into host calls in one exhaustive match a phase.
//! 2. What the host refuses fails closed: an edit that does not take is answered with 500, a body that can't be read is reset.
//! 3. It publishes the log-safe path (`wasm.scrim.path`) with the request head and the audit record (`wasm.scrim.audit`) when the
//!    stream is logged; access logs print both.
//! 4. A request whose issuer's keys are being fetched waits for them (`keys.rs`).
//! 5. It counts denials by reason as `scrim_denied_<reason>`, and logs nothing that came from a request.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::todo,
    clippy::unimplemented,
    reason = "a trap in a callback can hang the stream, and it fails the VM for every later one"
)]
#![deny(
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    reason = "each is a trap where the unexpected comes"
)]

mod ffi;
mod keys;

pub use scrim_policy::chain::{ALL, CACHE_CONTROL, OAUTH_SCOPE, PHI_URL, RESPONSE_TRIM};

use std::cell::RefCell;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

use scrim_policy::answer::Answer;
use scrim_policy::audit::{self, Timestamp};
use scrim_policy::chain::{BodyVerdict, Denial, LOGGED_PATH, MAX_REQUEST_BODY, RequestFacts, Stream, Vault, Verdict};
use scrim_policy::compile::Compiled;
use scrim_policy::document::{Node, Problems, Severity};
use scrim_policy::head::{Edit, RequestHead, ResponseHead};
use scrim_policy::sender::Connection;
use scrim_policy::token::{CacheStats, HostKind, HostVerdict, HostVerifier, TestedHost, VerificationStats, foreign};

use ffi::{Buffer, Level, Map, Refused};
use keys::{Calls, Resumed, Timer, Waits};

const ROUTE_POLICY: &str = "xds\0route_metadata\0filter_metadata\0scrim\0policy";
const VIRTUAL_HOST_POLICY: &str = "xds\0virtual_host_metadata\0filter_metadata\0scrim\0policy";
const ROUTE_NAME: &str = "xds\0route_name";
const PATH: &str = "scrim.path";
const AUDIT: &str = "scrim.audit";
const HANDOVER: &str = "scrim.chain";
/// Set by the module that shows whose a response is, or makes it.
const PROVEN: &str = "scrim.proven";
const PEER_CERTIFICATE: &str = "connection\0sha256_peer_certificate_digest";
const PEER_URI: &str = "connection\0uri_san_peer_certificate";
const TLS_VERSION: &str = "connection\0tls_version";
const MUTUAL_TLS: &str = "connection\0mtls";

/// Registers the module's contexts; `FILTERS` says which filters it holds. To be called in `proxy_wasm::main!`.
pub fn start<const FILTERS: u8>() {
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|context| {
        Box::new(Root::<FILTERS> {
            context,
            compiled: None,
            vault: Rc::new(RefCell::new(Vault::default())),
            timer: Rc::default(),
            calls: Calls::default(),
        })
    });
}

/// One plugin: its policy file, and what its requests share.
struct Root<const FILTERS: u8> {
    context: u32,
    compiled: Option<Rc<Compiled>>,
    vault: Rc<RefCell<Vault>>,
    timer: Rc<Timer>,
    calls: Calls,
}

/// What the SDK holds of a stream.
struct Http<const FILTERS: u8> {
    context: u32,
    /// Shared with the list of streams that wait for keys.
    live: Rc<RefCell<Live<FILTERS>>>,
}

/// One stream.
struct Live<const FILTERS: u8> {
    compiled: Rc<Compiled>,
    stream: Stream<FILTERS>,
    vault: Rc<RefCell<Vault>>,
    timer: Rc<Timer>,
    /// Whether the request head came: else there is nothing to log.
    opened: bool,
    /// Whether the request is paused until keys come.
    waits: bool,
    /// Whether it is paused until all of its body has come.
    awaits_body: bool,
    /// Whether all of it has come.
    ended: bool,
    /// The whole body, where it was awaited.
    body: Option<Vec<u8>>,
    /// Whether more of it came than was waited for.
    body_too_large: bool,
}

impl<const FILTERS: u8> Context for Root<FILTERS> {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _: usize) {
        if FILTERS & OAUTH_SCOPE != 0 {
            self.calls.answered(token, headers, body, self.context);
        }
    }
}

impl<const FILTERS: u8> RootContext for Root<FILTERS> {
    fn on_configure(&mut self, size: usize) -> bool {
        let Some(text) = ffi::buffer(Buffer::PluginConfiguration, size) else {
            ffi::log(
                Level::Error,
                "scrim: the plugin has no configuration; pass the policy file as JSON",
            );
            return false;
        };
        let node: Node = match serde_json::from_slice(&text) {
            Ok(node) => node,
            Err(error) => {
                // serde_json's texts name places and kinds, never content.
                ffi::log(
                    Level::Error,
                    &format!("scrim: the plugin configuration is not JSON: {error}; use `scrim render`"),
                );
                return false;
            }
        };
        let mut problems = Problems::default();
        let compiled = Compiled::new::<FILTERS>(&node, &|name| std::env::var(name).ok(), &mut problems);
        for problem in problems.iter() {
            let level = match problem.severity {
                Severity::Error => Level::Error,
                Severity::Warning => Level::Warn,
            };
            ffi::log(level, &format!("scrim: policy: {problem}"));
        }
        let Some(mut compiled) = compiled else {
            return false;
        };
        let mut vault = Vault::default();
        if FILTERS & OAUTH_SCOPE != 0 {
            let host = TestedHost::new(EnvoyVerifier);
            let kinds = host.kinds();
            if kinds.is_empty() {
                ffi::log(Level::Info, "scrim: signatures: guest");
            } else {
                ffi::log(Level::Info, &format!("scrim: signatures: host for {kinds}"));
                vault.host = Some(Rc::new(host));
            }
            keys::share(&mut compiled);
            self.timer.start(&compiled);
        }
        if FILTERS & (OAUTH_SCOPE | CACHE_CONTROL) != 0 {
            vault.connection = Some(Rc::new(EnvoyConnection));
        }
        ffi::log(Level::Info, &format!("scrim: policy {} is in force", compiled.digest()));
        // A new policy starts with an empty token cache; streams under way keep theirs.
        self.vault = Rc::new(RefCell::new(vault));
        self.compiled = Some(Rc::new(compiled));
        true
    }

    fn on_tick(&mut self) {
        if FILTERS & OAUTH_SCOPE != 0
            && let Some(compiled) = &self.compiled
        {
            self.calls.tick(compiled, &self.timer, self.context);
        }
    }

    fn create_http_context(&self, context: u32) -> Option<Box<dyn HttpContext>> {
        let compiled = self.compiled.as_ref()?;
        let live = Live::<FILTERS> {
            compiled: Rc::clone(compiled),
            stream: Stream::new(Rc::clone(compiled)),
            vault: Rc::clone(&self.vault),
            timer: Rc::clone(&self.timer),
            opened: false,
            waits: false,
            awaits_body: false,
            ended: false,
            body: None,
            body_too_large: false,
        };
        Some(Box::new(Http::<FILTERS> {
            context,
            live: Rc::new(RefCell::new(live)),
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl<const FILTERS: u8> Context for Http<FILTERS> {}

impl<const FILTERS: u8> HttpContext for Http<FILTERS> {
    fn on_http_request_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        self.run(|live| {
            if end_of_stream {
                live.ended = true;
                live.body = Some(Vec::new());
            }
            live.judge_or_wait(self.context, &self.live)
        })
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.run(|live| live.request_body(size, end_of_stream, self.context, &self.live))
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        self.run(|live| live.request_body(usize::MAX, true, self.context, &self.live))
    }

    fn on_http_response_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        // The proxy itself answered a request that waits.
        self.stop_waiting();
        self.run(|live| live.response_headers(end_of_stream))
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.run(|live| live.response_body(size, end_of_stream))
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        self.run(|live| live.response_trailers())
    }

    fn on_log(&mut self) {
        self.stop_waiting();
        if let Ok(live) = self.live.try_borrow() {
            live.log();
        }
    }
}

impl<const FILTERS: u8> Http<FILTERS> {
    fn run(&self, callback: impl FnOnce(&mut Live<FILTERS>) -> Action) -> Action {
        match self.live.try_borrow_mut() {
            Ok(mut live) => callback(&mut live),
            Err(_) => fail(),
        }
    }

    fn stop_waiting(&self) {
        if let Ok(mut live) = self.live.try_borrow_mut()
            && std::mem::take(&mut live.waits)
        {
            keys::forget(self.context);
        }
    }
}

impl<const FILTERS: u8> Drop for Http<FILTERS> {
    fn drop(&mut self) {
        self.stop_waiting();
    }
}

impl<const FILTERS: u8> Waits for RefCell<Live<FILTERS>> {
    fn resume(&self, last: bool) -> Resumed {
        let Ok(mut live) = self.try_borrow_mut() else {
            return Resumed::Over;
        };
        if !live.waits {
            return Resumed::Over;
        }
        match live.open(!last) {
            None => {
                live.hurry();
                Resumed::Waiting
            }
            Some(action) => {
                live.waits = false;
                match action {
                    Action::Continue => Resumed::Passed,
                    _ => Resumed::Over,
                }
            }
        }
    }
}

impl<const FILTERS: u8> Live<FILTERS> {
    fn judge_or_wait(&mut self, context: u32, this: &Rc<RefCell<Self>>) -> Action {
        if let Some(action) = self.open(true) {
            return action;
        }
        let now = ffi::milliseconds().unwrap_or(0);
        let weak = Rc::downgrade(this);
        if keys::wait(context, weak, &self.compiled, now) {
            self.waits = true;
            self.hurry();
            return Action::Pause;
        }
        // Too many wait.
        self.open(false).unwrap_or(Action::Pause)
    }

    /// Takes a piece of the request's body; `size` is of all that is held.
    fn request_body(&mut self, size: usize, ended: bool, context: u32, this: &Rc<RefCell<Self>>) -> Action {
        self.ended |= ended;
        if !self.waits && !self.awaits_body {
            return Action::Continue;
        }
        if size > self.stream.patience() && size != usize::MAX {
            self.awaits_body = false;
            self.body_too_large = true;
            if std::mem::take(&mut self.waits) {
                keys::forget(context);
            }
            return self.open(false).unwrap_or(Action::Pause);
        }
        if self.waits || !ended {
            return Action::Pause;
        }
        self.take_request_body();
        self.judge_or_wait(context, this)
    }

    /// Reads the body, now that all of it is here.
    fn take_request_body(&mut self) {
        self.awaits_body = false;
        // Trailers may come behind no body at all; then there is no buffer.
        let body = ffi::buffer(Buffer::RequestBody, MAX_REQUEST_BODY.saturating_add(1)).unwrap_or_default();
        self.body_too_large = body.len() > MAX_REQUEST_BODY;
        self.body = (!self.body_too_large).then_some(body);
    }

    /// Judges the request head; `None`: it has to wait for keys, and may.
    fn open(&mut self, may_wait: bool) -> Option<Action> {
        loop {
            let Some((raw, places)) = ffi::headers(Map::Request) else {
                return Some(fail());
            };
            let mut head = RequestHead::at(raw, places);
            let facts = self.facts();
            let vault = Rc::clone(&self.vault);
            let Ok(mut vault) = vault.try_borrow_mut() else {
                return Some(fail());
            };
            let opening = self.stream.request_head(&mut head, &facts, &mut vault);
            if FILTERS & OAUTH_SCOPE != 0 {
                TOLD.with_borrow_mut(|told| told.count(&vault));
            }
            drop(vault);
            self.opened = true;
            let proven = (FILTERS != ALL && self.stream.proves()).then(|| "1".to_owned());
            for (path, value) in [
                (PATH, &opening.log_safe),
                (HANDOVER, &opening.handover),
                (PROVEN, &proven),
            ] {
                if let Some(value) = value
                    && ffi::set_property(path, value.as_bytes()).is_err()
                {
                    return Some(fail());
                }
            }
            // Should the client leave before it goes on, this is what the proxy logs.
            if let Some(shown) = &opening.meanwhile
                && (may_wait || !opening.awaits_keys)
                && ffi::set_header(Map::Request, LOGGED_PATH, shown.as_bytes()).is_err()
            {
                return Some(fail());
            }
            if opening.awaits_keys && may_wait {
                return None;
            }
            // The head still waits for what is done here, so both go on together.
            if let (Verdict::Continue(_), Some(body)) = (&opening.verdict, &opening.body)
                && ffi::set_buffer(Buffer::RequestBody, body).is_err()
            {
                return Some(fail());
            }
            if !matches!(opening.verdict, Verdict::AwaitBody) {
                return Some(self.carry_out(Map::Request, opening.verdict));
            }
            if !self.ended {
                self.awaits_body = true;
                return Some(Action::Pause);
            }
            // It came while the stream waited for keys. With the body, or too much of it, there is no such verdict again.
            if self.body.is_some() || self.body_too_large {
                return Some(fail());
            }
            self.take_request_body();
        }
    }

    fn hurry(&self) {
        if let Some(now) = ffi::milliseconds() {
            self.timer.hurry(&self.compiled, now);
        }
    }

    fn response_headers(&mut self, end_of_stream: bool) -> Action {
        if !self.stream.wants_response() {
            return Action::Continue;
        }
        let Some((raw, places)) = ffi::headers(Map::Response) else {
            return fail();
        };
        let mut head = ResponseHead::at(raw, places);
        let proven = FILTERS != ALL && self.stream.may_be_proven_elsewhere() && ffi::property(PROVEN).is_some();
        let verdict = self.stream.response_head(&mut head, end_of_stream, proven);
        self.carry_out(Map::Response, verdict)
    }

    fn response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if !self.stream.wants_body() {
            return Action::Continue;
        }
        if self.stream.waits(size, end_of_stream) {
            return Action::Pause;
        }
        self.body(size, end_of_stream)
    }

    fn response_trailers(&mut self) -> Action {
        if !self.stream.wants_body() {
            return Action::Continue;
        }
        let drops = self.stream.drops_trailers();
        // The end came with the trailers: what is held is here still, and nothing is where nothing was held.
        let held = ffi::buffer(Buffer::ResponseBody, usize::MAX).unwrap_or_default();
        let action = self.judge_body(&held, true);
        if drops && matches!(action, Action::Continue) && ffi::clear_response_trailers().is_err() {
            return reset();
        }
        action
    }

    fn log(&self) {
        if !self.opened {
            return;
        }
        let own = self.stream.audit();
        // The outermost module logs first, so what is there already is the record so far.
        let record = match FILTERS {
            ALL => own.to_json(),
            _ => ffi::property(AUDIT).map_or_else(|| own.to_json(), |earlier| audit::merge(&earlier, own)),
        };
        let _ = ffi::set_property(AUDIT, record.as_bytes());
    }

    fn facts(&self) -> RequestFacts {
        let handover = if FILTERS == ALL { None } else { ffi::property(HANDOVER) };
        let chosen = handover.is_some();
        let route_metadata = if chosen { None } else { ffi::property(ROUTE_POLICY) };
        let virtual_host_metadata = if chosen || route_metadata.is_some() {
            None
        } else {
            ffi::property(VIRTUAL_HOST_POLICY)
        };
        let route_name = if !self.compiled.routes().needs_route_name() {
            None
        } else {
            ffi::property(ROUTE_NAME)
        };
        let now = ffi::now().map_or(Timestamp::UNKNOWN, Timestamp);
        RequestFacts {
            now,
            route_metadata,
            virtual_host_metadata,
            route_name,
            handover,
            body: self.body.clone(),
            body_too_large: self.body_too_large,
        }
    }

    fn carry_out(&mut self, map: Map, verdict: Verdict) -> Action {
        self.count();
        match verdict {
            Verdict::AwaitBody => Action::Pause,
            Verdict::Reply(answer) => sent_or_reset(respond(&answer, "scrim_preflight")),
            Verdict::Continue(edits) => self.edit(map, &edits, Action::Continue),
            Verdict::Hold(edits) => self.edit(map, &edits, Action::Pause),
            Verdict::Deny(denial) => self.deny(&denial),
        }
    }

    fn count(&mut self) {
        for counter in self.stream.take_counters() {
            ffi::count(&counter.name(), counter.amount());
        }
    }

    fn edit(&mut self, map: Map, edits: &[Edit], then: Action) -> Action {
        if edits.iter().any(|edit| apply(map, edit).is_err()) {
            return fail();
        }
        then
    }

    fn body(&mut self, size: usize, end_of_stream: bool) -> Action {
        let piece = if size == 0 {
            Some(Vec::new())
        } else {
            ffi::buffer(Buffer::ResponseBody, size)
        };
        match piece {
            Some(piece) => self.judge_body(&piece, end_of_stream),
            None => reset(),
        }
    }

    fn judge_body(&mut self, piece: &[u8], end_of_stream: bool) -> Action {
        let verdict = self.stream.response_body(piece, end_of_stream);
        self.count();
        match verdict {
            BodyVerdict::Pass => Action::Continue,
            BodyVerdict::Hold => Action::Pause,
            BodyVerdict::Replace(out) => {
                if out == piece || ffi::set_buffer(Buffer::ResponseBody, &out).is_ok() {
                    return Action::Continue;
                }
                reset()
            }
            BodyVerdict::Deny(denial) => self.deny(&denial),
            BodyVerdict::Reset(_) => reset(),
        }
    }

    fn deny(&mut self, denial: &Denial) -> Action {
        self.count();
        if FILTERS != ALL {
            // The modules before it see this answer as a response; it is nobody's record.
            let _ = ffi::set_property(PROVEN, b"1");
        }
        let code = denial.reason.code();
        if code == "keys_unavailable" {
            ffi::count("scrim_jwks_unavailable", 1);
        }
        if code == "unknown_policy" {
            ffi::log(
                Level::Warn,
                "scrim: the proxy's metadata names a policy that does not exist; the request is denied",
            );
        }
        for edit in &denial.edits {
            // The answer goes out whether or not they take.
            let _ = apply(Map::Request, edit);
        }
        let sent = respond(&denial.answer, &format!("scrim_{code}"));
        sent_or_reset(sent)
    }
}

fn respond(answer: &Answer, details: &str) -> Result<(), Refused> {
    let headers: Vec<(&str, &str)> = answer
        .headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let grpc_status = answer.grpc_status.map_or(-1, i32::from);
    ffi::respond(answer.status, details, &headers, answer.body.as_bytes(), grpc_status)
}

/// What of tokens was counted already.
#[derive(Default)]
struct Told {
    cache: CacheStats,
    signatures: VerificationStats,
}

thread_local! {
    static TOLD: RefCell<Told> = RefCell::default();
}

/// How many hits of the token cache are told at once: a metric costs a call.
const HITS_AT_ONCE: u64 = 128;

impl Told {
    fn count(&mut self, vault: &Vault) {
        let (cache, signatures) = (vault.cache.stats(), vault.cache.verification_stats());
        let more = |now: u64, then: u64| now.checked_sub(then).unwrap_or(now);
        let hits = more(cache.hits, self.cache.hits);
        if cache.misses == self.cache.misses && hits < HITS_AT_ONCE {
            return;
        }
        for (name, count) in [
            ("scrim_token_cache_hit", hits),
            ("scrim_token_cache_miss", more(cache.misses, self.cache.misses)),
            ("scrim_signature_host", more(signatures.host, self.signatures.host)),
            ("scrim_signature_guest", more(signatures.guest, self.signatures.guest)),
        ] {
            if count > 0 {
                ffi::count(name, count);
            }
        }
        *self = Told { cache, signatures };
    }
}

/// What Envoy knows of the connection and its client certificate.
struct EnvoyConnection;

impl Connection for EnvoyConnection {
    fn peer_certificate_digest(&self) -> Option<Vec<u8>> {
        ffi::property(PEER_CERTIFICATE).filter(|digest| !digest.is_empty())
    }

    fn peer_uri(&self) -> Option<Vec<u8>> {
        ffi::property(PEER_URI).filter(|uri| !uri.is_empty())
    }

    fn tls_version(&self) -> Option<Vec<u8>> {
        ffi::property(TLS_VERSION)
    }

    fn has_peer_certificate(&self) -> Option<bool> {
        // A boolean is one byte.
        match ffi::property(MUTUAL_TLS)?.as_slice() {
            [1] => Some(true),
            [0] => Some(false),
            _ => None,
        }
    }
}

/// Something went wrong between us and the host: nothing may pass.
fn fail() -> Action {
    ffi::count("scrim_host_failed", 1);
    ffi::log(Level::Error, "scrim: a host call failed; the stream is refused");
    let sent = ffi::respond(
        500,
        "scrim_host_failed",
        &[("cache-control", "no-store, private")],
        b"",
        -1,
    );
    sent_or_reset(sent)
}

fn sent_or_reset(sent: Result<(), Refused>) -> Action {
    match sent {
        Ok(()) => Action::Pause,
        Err(Refused) => reset(),
    }
}

fn reset() -> Action {
    let _ = ffi::reset_response();
    Action::Pause
}

fn apply(map: Map, edit: &Edit) -> Result<(), Refused> {
    match edit {
        Edit::Set(line) => ffi::set_header(map, &line.name, &line.value),
        Edit::Remove(name) => ffi::remove_header(map, name),
    }
}

/// Envoy's foreign function `verify_signature`.
struct EnvoyVerifier;

impl HostVerifier for EnvoyVerifier {
    fn verify(&self, kind: HostKind, spki_der: &[u8], signature: &[u8], text: &[u8]) -> HostVerdict {
        match ffi::foreign(
            foreign::FUNCTION,
            &foreign::encode_request(kind.hash(), spki_der, signature, text),
        ) {
            Some(answer) => foreign::decode_response(&answer),
            None => HostVerdict::Unavailable,
        }
    }
}
