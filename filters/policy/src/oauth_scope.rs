//! Who may call: the compiled `oauth_scope` section, and its judgement of a request.
//!
//! 1. The token comes first: found, verified, its sender held to what it is bound to. Nothing of the request's body is waited for before that.
//! 2. Then `require`. What a token meets without SMART's reading of the request is met, and nothing is narrowed then.
//! 3. `{smart: auto}` reads what the request does ([`crate::fhir`]) and demands the scopes for it; it may narrow a search, and it may ask that the response be
//!    shown to belong to the patient.
//! 4. Who does not meet `require` may break the glass, where the policy lets them ([`crate::break_glass`]).
//! 5. What is granted goes to the upstream in headers that no client can send: they are removed from every request first, on every route, in any spelling that
//!    an upstream may take for them.

use std::borrow::Cow;
use std::rc::Rc;

use crate::answer::Reason;
use crate::audit::Timestamp;
use crate::break_glass::{BreakGlass, Ledger};
use crate::chain::Vault;
use crate::cors::Cors;
use crate::fhir::{self, Base, Contexts, Judged, Lack, Reading};
use crate::head::RequestHead;
use crate::scope::{Fact, Holder, Requirement, ScopeSet};
use crate::sender::{Connection, Presented, Sender};
use crate::token::{self, Grant, TokenError, TokenPolicy};
use crate::url::Target;

/// The compiled section.
pub struct OauthScope {
    /// Indexes of the issuers.
    pub(crate) issuers: Vec<usize>,
    pub(crate) require: Requirement,
    pub(crate) mode: Mode,
    pub(crate) smart: Smart,
    pub(crate) break_glass: Option<BreakGlass>,
    /// Header names, and the claims' places among those that the policy file asks for.
    pub(crate) identity: Vec<(Cow<'static, str>, usize)>,
    pub(crate) sender: Sender,
    pub(crate) resource_metadata: Option<String>,
    pub(crate) cors: Option<Cors>,
}

/// Whether decisions count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They do.
    Enforce,
    /// They are made, recorded and counted, and the request passes all the same.
    Shadow,
    /// None is made.
    Off,
}

/// How `{smart: auto}` reads requests.
#[derive(Clone, Debug)]
pub struct Smart {
    /// Where the FHIR service begins; none: found in the path.
    pub(crate) base: Option<Base>,
    /// Whose scopes count.
    pub(crate) contexts: Contexts,
    /// Whether the upstream vouches for whose the resource of an id is.
    pub(crate) upstream_vouches: bool,
}

/// A request, as far as it is judged here.
pub(crate) struct Call<'a> {
    pub(crate) head: &'a RequestHead,
    pub(crate) target: &'a Target<'a>,
    pub(crate) now: Timestamp,
    /// The whole body, where it was waited for.
    pub(crate) body: Option<&'a [u8]>,
    pub(crate) connection: &'a dyn Connection,
    /// Whether the proof of possession was taken already.
    pub(crate) proof_seen: bool,
    /// The client's own lines under reserved names, which are in the head no more.
    pub(crate) asked: &'a [(Vec<u8>, Vec<u8>)],
}

/// What the token is worth.
pub(crate) enum Finding {
    /// What the request does stands in its body.
    NeedsBody,
    /// It is enough.
    Allow(Allowed),
}

/// What a token that is enough grants.
pub(crate) struct Allowed {
    pub(crate) grant: Rc<Grant>,
    pub(crate) caller: Caller,
    /// What keeps the request within what is granted.
    pub(crate) bounds: Judged,
    /// The code under which the glass was broken.
    pub(crate) break_glass: Option<String>,
}

/// FHIR's word for what a request does, and the type it is about.
pub(crate) type Interaction = (&'static str, Option<&'static str>);

/// What keeps a request within what is granted, or what is lacking.
type Bounds = Result<Judged, Lack>;

/// Who calls, as requirements see it.
pub(crate) struct Caller {
    grant: Rc<Grant>,
    smart: Option<bool>,
    broke_glass: bool,
}

impl Holder for Caller {
    fn scopes(&self) -> &ScopeSet {
        self.grant.scopes()
    }

    fn holds(&self, fact: &Fact) -> Option<bool> {
        match fact {
            Fact::Smart => self.smart,
            Fact::Role(values) => Some(self.grant.roles().iter().any(|role| values.contains(role))),
            Fact::Purpose(purpose) => Some(self.grant.purposes().contains(purpose)),
            Fact::BreakGlass(broken) => Some(*broken == self.broke_glass),
            Fact::Claim { index, values, .. } => Some(self.grant.has_claim(*index, values)),
        }
    }
}

/// A verified token and what it says of whom.
pub(crate) type Verified = Rc<Grant>;

impl OauthScope {
    /// Finds and verifies the token, and holds its sender to it.
    pub(crate) fn authenticate(
        &self,
        tokens: &TokenPolicy,
        call: &Call<'_>,
        vault: &mut Vault,
    ) -> Result<Verified, Reason> {
        if call.now == Timestamp::UNKNOWN {
            return Err(Reason::InvalidToken("no_clock"));
        }
        // RFC 6750 2.3 and RFC 9700 4.3.2: a token in the URL reaches logs and histories.
        if token::query_has_token(
            call.target
                .parameters()
                .iter()
                .map(|parameter| parameter.name().as_bytes()),
        ) {
            return Err(Reason::TwoTokens);
        }
        let lines: Vec<&[u8]> = call.head.all("authorization").collect();
        let dpop = self.sender.dpop.as_ref();
        let with_proof = match dpop {
            Some(_) => token::dpop_bound(&lines),
            None => Ok(None),
        };
        let found = with_proof.and_then(|with_proof| match with_proof {
            Some(found) => Ok(Some((found, true))),
            None => token::bearer(&lines).map(|found| found.map(|found| (found, false))),
        });
        let (found, with_proof) = match found {
            Ok(Some(found)) => found,
            Ok(None) => return Err(Reason::NoToken),
            Err(error) if error.status() == 400 => return Err(Reason::TwoTokens),
            Err(error) => return Err(Reason::InvalidToken(error.code())),
        };
        let host = vault.host.clone();
        let now = call.now.seconds();
        let grant = tokens
            .verify(found, &self.issuers, now, &mut vault.cache, host.as_deref())
            .map_err(|error| match error {
                TokenError::KeysAwaited => Reason::KeysUnavailable { awaited: true },
                TokenError::KeysUnavailable => Reason::KeysUnavailable { awaited: false },
                error => Reason::InvalidToken(error.code()),
            })?;
        match dpop.filter(|_| with_proof) {
            // A proof counts once; the request is the same one, now with its body.
            Some(_) if call.proof_seen => {}
            Some(dpop) => dpop
                .check(
                    &Presented {
                        token: found,
                        binding: grant.binding(),
                        head: call.head,
                        target: call.target,
                    },
                    now,
                    host.as_deref(),
                    &mut vault.replay,
                )
                .map_err(Reason::InvalidProof)?,
            None => {
                let forwarded: Vec<&[u8]> = call.head.all("x-forwarded-client-cert").collect();
                self.sender
                    .check(grant.binding(), &forwarded, call.connection)
                    .map_err(Reason::InvalidToken)?;
            }
        }
        Ok(grant)
    }

    /// Judges what a verified token grants of the request. `read` becomes what the request does, as soon as that was read: what is denied afterwards has it too.
    pub(crate) fn authorize(
        &self,
        grant: &Verified,
        call: &Call<'_>,
        ledger: &mut Ledger,
        read: &mut Option<Interaction>,
    ) -> Result<Finding, Reason> {
        let mut caller = Caller {
            grant: Rc::clone(grant),
            smart: Some(false),
            broke_glass: false,
        };
        let allow = |caller, bounds, break_glass| {
            Ok(Finding::Allow(Allowed {
                grant: Rc::clone(grant),
                caller,
                bounds,
                break_glass,
            }))
        };
        if self.require.is_met_by(&caller) {
            caller.smart = None;
            return allow(caller, Judged::default(), None);
        }
        let denied = if self.require.any(&|fact| *fact == Fact::Smart) {
            let Some(judged) = self.smart(grant, call, read)? else {
                return Ok(Finding::NeedsBody);
            };
            caller.smart = Some(judged.is_ok());
            match judged {
                Ok(bounds) if self.require.is_met_by(&caller) => return allow(caller, bounds, None),
                Ok(_) => Reason::InsufficientScope(self.require.scopes()),
                Err(Lack::Scope(scopes)) => Reason::InsufficientScope(join(self.require.scopes(), &scopes)),
                Err(lack) => Reason::NotPermitted(lack.code()),
            }
        } else {
            Reason::InsufficientScope(self.require.scopes())
        };
        let Some(glass) = &self.break_glass else {
            return Err(denied);
        };
        let named = call.asked.iter().filter(|(name, _)| name == glass.header.as_bytes());
        let lines: Vec<&[u8]> = named.map(|(_, value)| value.as_slice()).collect();
        match glass.judge(&lines, grant, call, read.map(|(name, _)| name), ledger) {
            Ok(None) => Err(denied),
            Ok(Some(reason)) => {
                caller.broke_glass = true;
                caller.smart = None;
                allow(caller, Judged::default(), Some(reason.to_owned()))
            }
            Err(code) => Err(Reason::NotPermitted(code)),
        }
    }

    /// What the request does, and what SMART's scopes say of it; `None`: its body is needed.
    fn smart(&self, grant: &Grant, call: &Call<'_>, read: &mut Option<Interaction>) -> Result<Option<Bounds>, Reason> {
        let unclear = |unclear: fhir::Unclear| Reason::UnclearRequest(unclear.code());
        let request = match fhir::read(call.head, call.target, self.smart.base.as_ref()).map_err(unclear)? {
            Reading::Request(request) => request,
            Reading::NeedsBody(pending) => match call.body {
                None => return Ok(None),
                Some(body) => pending.with_body(body).map_err(unclear)?,
            },
        };
        *read = Some((request.interaction(), request.resource_type()));
        let Smart {
            contexts,
            upstream_vouches,
            ..
        } = self.smart;
        let judged = match fhir::judge(&request, grant.scopes(), contexts, grant.patient(), upstream_vouches) {
            Ok(judged) => judged,
            Err(lack) => return Ok(Some(Err(lack))),
        };
        if let Some(resource) = judged.check_request {
            let Some(body) = call.body else {
                return Ok(None);
            };
            let own = |id: &str| grant.patient() == Some(id);
            if !fhir::belongs_as(body, resource, &own).map_err(unclear)? {
                return Ok(Some(Err(Lack::OtherPatient)));
            }
        }
        // No form can be made where none is.
        if !judged.append_to_form.is_empty() && call.body.is_none_or(<[u8]>::is_empty) {
            return Ok(Some(Err(Lack::Unprovable("search_not_bound"))));
        }
        // There is nothing to show it by.
        if judged.check_response && call.head.method() == b"HEAD" {
            return Ok(Some(Err(Lack::Unprovable("head"))));
        }
        Ok(Some(Ok(judged)))
    }

    /// Tells the upstream who calls.
    pub(crate) fn identify(&self, allowed: &Allowed, head: &mut RequestHead) {
        for (name, claim) in &self.identity {
            if let Some(value) = allowed.grant.identity(*claim) {
                head.put(name.clone(), value.expose().to_vec());
            }
        }
        if let (Some(glass), Some(reason)) = (&self.break_glass, &allowed.break_glass) {
            head.put(Cow::Owned(glass.header.clone()), reason.clone().into_bytes());
        }
    }
}

/// Scopes of both lists, each once.
fn join(mut scopes: String, more: &str) -> String {
    for scope in more.split(' ') {
        if !scopes.split(' ').any(|have| have == scope) {
            scopes.push_str(if scopes.is_empty() { "" } else { " " });
            scopes.push_str(scope);
        }
    }
    scopes
}

/// Headers that only the filter may send on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reserved(Vec<String>);

impl Reserved {
    pub(crate) fn new(names: impl IntoIterator<Item = String>) -> Self {
        let mut names: Vec<String> = names.into_iter().collect();
        names.sort();
        names.dedup();
        Self(names)
    }

    /// Whether an upstream may take a header of this name for a reserved one: some take `_` for `-`.
    pub(crate) fn holds(&self, name: &[u8]) -> bool {
        let same = |reserved: &String| {
            reserved.len() == name.len()
                && reserved.bytes().zip(name).all(|(reserved, byte)| {
                    let byte = if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
                    (if reserved == b'_' { b'-' } else { reserved }) == byte
                })
        };
        self.0.iter().any(same)
    }

    /// Takes the client's own lines under such names out of a head.
    pub(crate) fn take(&self, head: &mut RequestHead) -> Vec<(Vec<u8>, Vec<u8>)> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let lines = head.lines().filter(|(name, _)| self.holds(name));
        let taken = lines.map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        head.remove_where(|name| self.holds(name));
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_name_is_reserved_in_every_spelling() {
        let reserved = Reserved::new(["x-user-id".to_owned()]);
        for name in ["x-user-id", "x_user_id", "x-user_id", "X-User-ID"] {
            assert!(reserved.holds(name.as_bytes()), "{name}");
        }
        for name in ["x-user-i", "x-user-ids", "x.user.id", ""] {
            assert!(!reserved.holds(name.as_bytes()), "{name}");
        }
    }
}
