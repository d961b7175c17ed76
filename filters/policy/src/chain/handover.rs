//! What a module hands over to the modules behind it, by the stream's filter state.

use std::rc::Rc;

use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use crate::compile::Compiled;
use crate::pseudonym::Pseudonym;
use crate::response_trim::Views;

/// A patient's id, as the first 128 bits of a digest over the policy and the id: enough to compare with. It is keyed by the policy's key of pseudonyms, so that
/// whoever reads what modules hand over can't try ids; without such a key it is a plain hash, which tells those who try.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Bound(pub(super) String);

impl Bound {
    pub(super) fn to(patient: &str, compiled: &Compiled) -> Self {
        let text = [b"bound\0", compiled.digest.as_bytes(), b"\0", patient.as_bytes()].concat();
        if let Some(key) = &compiled.pseudonyms {
            return Bound(key.pseudonym(&text).as_str().to_owned());
        }
        let hash = Sha256::digest(&text);
        Bound(hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect())
    }
}

/// What a module hands over to the modules behind it.
pub(super) struct Handover {
    /// `None`: no policy governs.
    pub(super) policy: Option<String>,
    pub(super) by_file: bool,
    pub(super) views: Views,
    /// Whether a PUT would replace what its sender reads trimmed.
    pub(super) write_back: bool,
    pub(super) issuer: Option<Rc<str>>,
    pub(super) subject: Option<Pseudonym>,
    pub(super) bound: Option<Bound>,
    pub(super) appended: usize,
    pub(super) appended_to_form: usize,
}

impl Handover {
    pub(super) fn render(&self) -> String {
        let subject = self.subject.as_ref().map(Pseudonym::as_str);
        json!({
            "policy": self.policy, "by_file": self.by_file, "views": self.views.0,
            "write_back": self.write_back,
            "issuer": self.issuer.as_deref(), "subject": subject,
            "bound": self.bound.as_ref().map(|bound| bound.0.as_str()), "appended": self.appended,
            "appended_to_form": self.appended_to_form,
        })
        .to_string()
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let Json::Object(members) = serde_json::from_slice::<Json>(bytes).ok()? else {
            return None;
        };
        let text = |name: &str| match members.get(name)? {
            Json::Null => Some(None),
            Json::String(text) => Some(Some(text.as_str())),
            _ => None,
        };
        let subject = match text("subject")? {
            Some(text) => Some(Pseudonym::parse(text)?),
            None => None,
        };
        Some(Handover {
            policy: text("policy")?.map(str::to_owned),
            by_file: members.get("by_file")?.as_bool()?,
            views: Views(members.get("views")?.as_u64()?),
            write_back: members.get("write_back")?.as_bool()?,
            issuer: text("issuer")?.map(Rc::from),
            subject,
            bound: text("bound")?.map(|digest| Bound(digest.to_owned())),
            appended: usize::try_from(members.get("appended")?.as_u64()?).ok()?,
            appended_to_form: usize::try_from(members.get("appended_to_form")?.as_u64()?).ok()?,
        })
    }
}
