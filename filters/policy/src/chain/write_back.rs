//! What was read trimmed is not to be replaced: what was left out would be deleted.
//!
//! 1. A PUT is refused with 409 where a GET of the same URL would be trimmed for its sender, by the policy that governs that GET: for the policy file's routes the one
//!    that they choose, else the one that the proxy's metadata chose.
//! 2. Where that can't be told, it is refused where any policy of the file guards what it shows: a PUT with a query (FHIR's conditional update), and one of a FHIR
//!    resource that nobody may GET here.
//! 3. So are the PUTs in a FHIR batch or transaction, whose body is waited for. A POST that may be one and can't be read is refused with 400.
//! 4. `write_back: create` lets pass what only creates: `If-None-Match: *` (RFC 9110 13.1.2), and `ifNoneMatch: "*"` in an entry. An upstream that ignores it overwrites.
//! 5. PATCH changes what it names, and DELETE leaves nothing to be wrong about.

use super::line::creates;
use super::{RequestFacts, Stream};
use crate::answer::Reason;
use crate::compile::Policy;
use crate::fhir;
use crate::head::RequestHead;
use crate::response_trim::ResponseTrim;
use crate::route::{Facts, Governs};
use crate::scope::Holder;
use crate::url::Target;

impl<const FILTERS: u8> Stream<FILTERS> {
    /// Notes what this caller gets to see, and whether it would replace what it sees in part.
    pub(super) fn meet<H: Holder + ?Sized>(
        &mut self,
        policy: &Policy,
        head: &RequestHead,
        facts: &RequestFacts,
        target: &Target<'_>,
        caller: Option<&H>,
    ) {
        if let Some(trim) = &policy.response_trim {
            self.views = trim.views(caller);
        }
        let replaces = head.method() == b"PUT";
        self.write_back = replaces && self.conceals(policy, head, facts, target, caller);
    }

    fn conceals<H: Holder + ?Sized>(
        &self,
        policy: &Policy,
        head: &RequestHead,
        facts: &RequestFacts,
        target: &Target<'_>,
        caller: Option<&H>,
    ) -> bool {
        let creates = creates(head);
        let reads = self.reads_by(policy, head, facts, target);
        let of = |trim: &ResponseTrim| trim.refuses_write_back(trim.views(caller), creates);
        let own = reads.and_then(|policy| policy.response_trim.as_ref()).is_some_and(of);
        let unclear = !target.parameters().is_empty() || (reads.is_none() && names_a_resource(target));
        own || (unclear && self.anybody_guards(creates))
    }

    /// Whether this may be a batch or a transaction of FHIR, where some see less than all.
    pub(super) fn may_replace_in_batch(&self, policy: &Policy, head: &RequestHead, target: &Target<'_>) -> bool {
        let base = policy.oauth_scope.as_ref().and_then(|oauth| oauth.smart.base.as_ref());
        head.method() == b"POST"
            && (policy.reads_fhir() || says_fhir(head))
            && self.anybody_guards(false)
            // What can't be read as a request of FHIR may be read as a batch.
            && fhir::read(head, target, base).map_or(true, |reading| reading.is_batch())
    }

    /// Refuses a batch that replaces what its sender reads trimmed.
    pub(super) fn guard_batch(
        &self,
        policy: &Policy,
        head: &RequestHead,
        facts: &RequestFacts,
        target: &Target<'_>,
        body: &[u8],
    ) -> Result<(), Reason> {
        let replaced = fhir::replaced(body).map_err(|unclear| Reason::UnclearRequest(unclear.code()))?;
        let base = target.path().trim_end_matches('/');
        for (url, creates) in replaced {
            // From the host's root, or elsewhere, or a search: what it is read as depends on the upstream.
            if url.starts_with('/') || url.contains("://") || url.contains('?') {
                if self.anybody_guards(creates) {
                    return Err(Reason::WriteBack);
                }
                continue;
            }
            let url = format!("{base}/{url}");
            let target = Target::parse(url.as_bytes()).map_err(|ambiguity| Reason::AmbiguousUrl(ambiguity.code()))?;
            let conceals = match self.reads_by(policy, head, facts, &target) {
                Some(reads) if reads.name == policy.name => reads
                    .response_trim
                    .as_ref()
                    .is_some_and(|trim| trim.refuses_write_back(self.views, creates)),
                // Of another policy's callers nothing is known here.
                Some(reads) => reads.response_trim.as_ref().is_some_and(|trim| trim.guards(creates)),
                None => self.anybody_guards(creates),
            };
            if conceals {
                return Err(Reason::WriteBack);
            }
        }
        Ok(())
    }

    /// Whether any policy of the file keeps what it shows in part from being replaced.
    fn anybody_guards(&self, creates: bool) -> bool {
        let mut sections = self
            .compiled
            .policies
            .iter()
            .filter_map(|policy| policy.response_trim.as_ref());
        sections.any(|trim| trim.guards(creates))
    }

    /// The policy that governs a GET of this.
    fn reads_by<'p>(
        &'p self,
        policy: &'p Policy,
        head: &RequestHead,
        facts: &RequestFacts,
        target: &Target<'_>,
    ) -> Option<&'p Policy> {
        if !self.by_file {
            return Some(policy);
        }
        let routing = Facts {
            method: b"GET",
            authority: head.authority(),
            path: target.path(),
            route_name: facts.route_name.as_deref(),
            ..Facts::default()
        };
        match self.compiled.routes.choose(&routing).0 {
            Governs::Policy(index) => self.compiled.policies.get(index),
            _ => None,
        }
    }
}

fn names_a_resource(target: &Target<'_>) -> bool {
    target
        .segments()
        .iter()
        .any(|segment| fhir::is_resource_type(segment.text()))
}

/// Whether the body is said to be FHIR's.
fn says_fhir(head: &RequestHead) -> bool {
    head.all("content-type")
        .any(|line| line.to_ascii_lowercase().windows(5).any(|five| five == b"/fhir"))
}
