//! The response's way through the chain.

use std::rc::Rc;
use std::sync::Arc;

use super::handover::Bound;
use super::{
    BodyState, BodyVerdict, CACHE_CONTROL, Counter, HELD_BYTES, OAUTH_SCOPE, PHI_URL, RESPONSE_TRIM, Stream, Verdict,
};
use crate::answer::{FilterKind, Reason};
use crate::cache_control::validators::{self, Salt};
use crate::cors::Cors;
use crate::fhir;
use crate::head::ResponseHead;
use crate::response_trim::{Fate, Pipe, inspectable};
use crate::trim::Rewrite;

impl<const FILTERS: u8> Stream<FILTERS> {
    /// Whether this stream has anything to say of its response's head; where not, the shell need not read it.
    pub fn wants_response(&self) -> bool {
        if self.answered || matches!(self.body, BodyState::Refused) {
            return false;
        }
        self.policy().is_some_and(|policy| {
            (Self::has(CACHE_CONTROL) && policy.cache_control.is_some())
                || (Self::has(PHI_URL) && policy.phi_url.is_some())
                || (Self::has(RESPONSE_TRIM) && policy.response_trim.is_some())
                || (Self::has(OAUTH_SCOPE) && (self.bound.is_some() || policy.answers_preflights()))
        })
    }

    /// Whether this stream shows whose the response is, unless another module of the chain does.
    pub fn proves(&self) -> bool {
        self.bound.is_some()
            && Self::has(RESPONSE_TRIM)
            && self.policy().is_some_and(|policy| policy.response_trim.is_some())
    }

    /// Whether another module of the chain may show whose the response is.
    pub fn may_be_proven_elsewhere(&self) -> bool {
        self.bound.is_some() && !self.proves()
    }

    /// Judges the response head. `end_of_stream`: no body comes; `proven`: another module has shown whose it is.
    pub fn response_head(&mut self, head: &mut ResponseHead, end_of_stream: bool, proven: bool) -> Verdict {
        if !self.wants_response() {
            return Verdict::Continue(Vec::new());
        }
        let compiled = Rc::clone(&self.compiled);
        let Some(policy) = self.policy.and_then(|index| compiled.policies.get(index)) else {
            return Verdict::Continue(Vec::new());
        };
        let mut hold = false;
        let bodiless = end_of_stream || self.head_request || matches!(head.status(), 204 | 304);
        let bound = self
            .bound
            .clone()
            .filter(|_| !proven && (Self::has(OAUTH_SCOPE) || self.proves()));
        let status = head.status();
        if bound.is_some() && !bodiless {
            // All of it is read at once, so it must be in the clear.
            let code = match inspectable(head, false) {
                Ok(shape) if shape.is_plain() => None,
                Ok(_) => Some("not_one_plain_value"),
                Err(code) => Some(code),
            };
            if let Some(code) = code {
                return Verdict::Deny(self.deny(withheld(status, code)));
            }
        }
        if Self::has(RESPONSE_TRIM)
            && let Some(trim) = policy.response_trim.as_ref().filter(|trim| trim.observe)
            && !bodiless
        {
            let (observer, view, refusal) = trim.observe(head, self.views, &compiled.slots);
            self.audit.view = view;
            match &refusal {
                Some(reason) => self.shadow(reason),
                None => self.audit.allow(FilterKind::ResponseTrim),
            }
            if let Some(observer) = observer {
                let kind = head.first("content-type").unwrap_or_default();
                self.media_type = media_type(kind);
                self.body = BodyState::Observing(Box::new(observer));
            }
        }
        if Self::has(RESPONSE_TRIM)
            && let Some(trim) = &policy.response_trim
            && !trim.observe
        {
            let views = self.views;
            validators::salt(head, !bodiless, &|| {
                (!views.is_empty()).then(|| Salt::of(&compiled, &policy.name, views))
            });
            match trim.judge(head, !bodiless, self.head_request, self.reads, views) {
                Fate::Pass => {
                    self.audit.allow(FilterKind::ResponseTrim);
                    // Were one to come all the same, it would be nobody's.
                    if !end_of_stream {
                        self.body = BodyState::Refused;
                    }
                }
                Fate::Withhold(reason) => {
                    self.audit.deny(&reason);
                    self.counters.push(Counter::Denied(reason.code()));
                    head.remove("content-type");
                    self.body = BodyState::Refused;
                }
                Fate::Refuse(reason) => {
                    let kept = kept_of(&reason, head);
                    let mut denial = self.deny(reason);
                    denial.answer.headers.extend(kept);
                    return Verdict::Deny(denial);
                }
                Fate::Trim(plan) => {
                    self.audit.view = Some(plan.view);
                    let tokens = compiled.pseudonyms.clone().map(|key| {
                        Arc::new(move |value: &[u8]| key.pseudonym(value).as_str().to_owned())
                            as Arc<crate::trim::Pseudonymise>
                    });
                    let pipe = match Pipe::new(&plan, tokens, self.year, &compiled.slots) {
                        Ok(pipe) => pipe,
                        Err(code) => return Verdict::Deny(self.deny(withheld(status, code))),
                    };
                    // Events are not to wait for more of them.
                    hold = compiled.headers_may_wait && !plan.shape.is_endless();
                    self.body = BodyState::Trimming {
                        pipe: Box::new(pipe),
                        held: hold,
                    };
                }
            }
        }
        // What was withheld stays so: there is nothing to prove, and behind a proof it would pass.
        if let Some(bound) = bound
            && !bodiless
            && !matches!(self.body, BodyState::Refused)
        {
            let pipe = match std::mem::replace(&mut self.body, BodyState::Refused) {
                BodyState::Trimming { pipe, .. } => Some(pipe),
                _ => None,
            };
            hold = true;
            self.body = BodyState::Proving { bound, status, pipe };
        }
        if Self::has(PHI_URL)
            && let Some(phi) = &policy.phi_url
        {
            let counts = self.in_scene(|scene| phi.response_headers(head, scene));
            self.audit.count_urls(counts);
        }
        if Self::has(OAUTH_SCOPE) && policy.answers_preflights() {
            Cors::apply(head, self.origin.as_deref());
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

    /// Whether its trailers go: nothing inspects them.
    pub fn drops_trailers(&self) -> bool {
        matches!(
            self.body,
            BodyState::Trimming { .. } | BodyState::Refused | BodyState::Proving { pipe: Some(_), .. }
        )
    }

    /// Whether a body of this many bytes so far should be waited for instead of being read now.
    pub fn waits(&self, size: usize, end_of_stream: bool) -> bool {
        match self.body {
            BodyState::Trimming { held: true, .. } => !end_of_stream && size < HELD_BYTES,
            BodyState::Proving { .. } => !end_of_stream,
            _ => false,
        }
    }

    /// Shows whose the whole body is.
    fn prove(&mut self, body: &[u8], end_of_stream: bool) -> BodyVerdict {
        if !end_of_stream {
            return BodyVerdict::Hold;
        }
        let BodyState::Proving { bound, status, pipe } = std::mem::replace(&mut self.body, BodyState::Refused) else {
            return BodyVerdict::Replace(Vec::new());
        };
        let compiled = Rc::clone(&self.compiled);
        let own = |id: &str| Bound::to(id, &compiled) == bound;
        match fhir::belongs(body, &own) {
            Ok(true) => {}
            Ok(false) => return BodyVerdict::Deny(self.deny(Reason::NotPermitted("other_patient"))),
            Err(unclear) => return BodyVerdict::Deny(self.deny(withheld(status, unclear.code()))),
        }
        match pipe {
            None => {
                self.body = BodyState::Untouched;
                BodyVerdict::Pass
            }
            Some(pipe) => {
                self.body = BodyState::Trimming { pipe, held: true };
                self.response_body(body, end_of_stream)
            }
        }
    }

    /// Counts the fields of a piece of the body, and tells them at its end.
    fn observe(&mut self, piece: &[u8], end_of_stream: bool) {
        let BodyState::Observing(observer) = &mut self.body else {
            return;
        };
        let read = observer.push(piece, end_of_stream);
        let fields = if end_of_stream { observer.fields() } else { Vec::new() };
        if let Err(code) = read {
            self.shadow(&Reason::Uninspectable(code));
        }
        if !end_of_stream {
            return;
        }
        let route = self.audit.route.map(|why| why.to_string()).unwrap_or_default();
        let route = route.replace('[', "_").replace(']', "");
        for (path, count) in &fields {
            // Envoy's metrics have dots between the parts of their names.
            let path = path.replace("[]", "");
            let name = format!("{route}.{}.{path}", self.media_type);
            self.counters.push(Counter::Field(name.into(), *count));
        }
        self.audit.fields = fields;
    }

    /// Judges a piece of the body: all that has come since the last [`BodyVerdict::Replace`].
    pub fn response_body(&mut self, piece: &[u8], end_of_stream: bool) -> BodyVerdict {
        if let BodyState::Proving { .. } = self.body {
            return self.prove(piece, end_of_stream);
        }
        // So that the code of what follows is in no module that has no use for it.
        if !Self::has(RESPONSE_TRIM) {
            return match self.body {
                BodyState::Untouched => BodyVerdict::Pass,
                _ => BodyVerdict::Replace(Vec::new()),
            };
        }
        if let BodyState::Observing(_) = self.body {
            self.observe(piece, end_of_stream);
            return BodyVerdict::Pass;
        }
        if self.waits(piece.len(), end_of_stream) {
            return BodyVerdict::Hold;
        }
        let (mut pipe, was_held) = match std::mem::replace(&mut self.body, BodyState::Refused) {
            BodyState::Untouched => {
                self.body = BodyState::Untouched;
                return BodyVerdict::Pass;
            }
            // What still comes after a refusal is dropped, were it ever to come.
            BodyState::Refused | BodyState::Proving { .. } | BodyState::Observing(_) => {
                return BodyVerdict::Replace(Vec::new());
            }
            BodyState::Trimming { pipe, held } => (pipe, held),
        };
        let mut out = Vec::with_capacity(piece.len());
        let phi = self.policy().and_then(|policy| policy.phi_url.as_ref());
        let pushed = self.in_scene(|scene| {
            let rewrite = phi.map(|phi| |by: u8, text: &str| phi.rewrite(by, text, scene));
            let rewrite = rewrite.as_ref().map(|rewrite| rewrite as &Rewrite<'_>);
            pipe.push(rewrite, piece, end_of_stream, &mut out)
        });
        let counts = pipe.counts();
        self.body = BodyState::Trimming { pipe, held: false };
        self.audit.counts.removed = counts.removed;
        self.audit.counts.transformed = counts.transformed;
        match pushed {
            Ok(()) => {
                if end_of_stream {
                    self.audit.allow(FilterKind::ResponseTrim);
                }
                BodyVerdict::Replace(out)
            }
            Err(code) => {
                let denial = self.deny(Reason::Uninspectable(code));
                if was_held {
                    BodyVerdict::Deny(denial)
                } else {
                    BodyVerdict::Reset(denial.reason)
                }
            }
        }
    }
}

/// What of an error's head says when and how to try again; its body is replaced.
fn kept_of(reason: &Reason, head: &ResponseHead) -> Vec<(&'static str, String)> {
    if !matches!(reason, Reason::ErrorBody(_)) {
        return Vec::new();
    }
    let text = |name: &str| {
        let value = head.first(name)?;
        let plain = value.iter().all(|byte| matches!(byte, b' '..=b'~'));
        plain.then(|| String::from_utf8_lossy(value).into_owned())
    };
    // A number of seconds or a date (RFC 9110 10.2.3): nothing longer.
    let after = text("retry-after").filter(|value| value.len() <= 29);
    let challenge = text("www-authenticate").filter(|_| head.status() == 401);
    after
        .map(|value| ("retry-after", value))
        .into_iter()
        .chain(challenge.map(|value| ("www-authenticate", value)))
        .collect()
}

/// A media type as part of a metric's name: what is no JSON that is known is `other`, so that an upstream can't make names.
fn media_type(content_type: &[u8]) -> &'static str {
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    let known = [
        ("application/fhir+json", "fhir_json"),
        ("application/json", "json"),
        ("application/problem+json", "problem_json"),
        ("application/fhir+ndjson", "fhir_ndjson"),
        ("application/x-ndjson", "ndjson"),
        ("application/ndjson", "ndjson"),
        ("application/json-seq", "json_seq"),
    ];
    let found = known
        .iter()
        .find(|(name, _)| essence.trim_ascii().eq_ignore_ascii_case(name.as_bytes()));
    found.map_or("other", |(_, short)| short)
}

/// Why a response that can't be inspected is kept back; an error keeps its status.
fn withheld(status: u16, code: &'static str) -> Reason {
    match status {
        400..=599 => Reason::ErrorBody(status),
        _ => Reason::Uninspectable(code),
    }
}
