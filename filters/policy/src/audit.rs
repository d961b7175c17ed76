//! The audit record: who, what, when, where and why of one request, and never PHI.
//!
//! 1. No field can hold a URL, a token, a header value or a body: each is a number, a code of this crate, a name from the policy
//!    file, a UUID or a keyed pseudonym.
//! 2. One record a request. The modules of a chain each add their part to the record of the one before ([`merge`]).
//!
//! ```json
//! {"time":"2026-11-21T10:00:00.000Z","request_id":"0b2c..","route":"routes[0]","policy":"clinician","policy_digest":"9f86d081884c7d65",
//!  "decision":"allow","filters":{"oauth_scope":{"decision":"allow"},"phi_url":{"decision":"allow"}},
//!  "issuer":"ehr","subject":"ps2-..","counts":{"masked":1}}
//! ```

use std::borrow::Cow;
use std::fmt::Write as _;
use std::rc::Rc;

use serde_json::Value as Json;

use crate::answer::{FilterKind, Reason};
use crate::phi;
use crate::pseudonym::Pseudonym;
use crate::route::Why;

/// Nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The host did not tell the time; no token is valid then.
    pub const UNKNOWN: Timestamp = Timestamp(u64::MAX);

    /// RFC 3339 in UTC with milliseconds.
    pub fn rfc3339(self) -> String {
        let mut text = String::with_capacity(24);
        push_time(&mut text, self);
        text
    }

    /// The year in UTC; `None` where the time is unknown.
    pub fn year(self) -> Option<u16> {
        if self == Self::UNKNOWN {
            return None;
        }
        u16::try_from(date(self.seconds() / 86_400).0).ok()
    }

    /// Whole seconds since 1970-01-01T00:00:00Z.
    pub fn seconds(self) -> u64 {
        self.0 / 1_000_000_000
    }
}

/// A request id; only a UUID is taken over, since clients can send one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(String);

impl RequestId {
    /// Takes over a UUID (RFC 9562 4).
    pub fn parse(value: &[u8]) -> Option<Self> {
        let dash = |index: usize| matches!(index, 8 | 13 | 18 | 23);
        let right = value.len() == 36
            && value.iter().enumerate().all(|(index, byte)| {
                if dash(index) {
                    *byte == b'-'
                } else {
                    byte.is_ascii_hexdigit()
                }
            });
        right.then(|| RequestId(String::from_utf8_lossy(value).into_owned()))
    }
}

/// How many values were changed, by what was done to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// URL parts masked.
    pub masked: u32,
    /// URL parameters removed.
    pub stripped: u32,
    /// URL parts made coarser.
    pub generalized: u32,
    /// URL parts replaced by a pseudonym.
    pub tokenized: u32,
    /// URL parts sealed on their way out.
    pub sealed: u32,
    /// Sealed URL parts opened on their way in.
    pub opened: u32,
    /// URL parts let pass but counted.
    pub observed: u32,
    /// Findings of the recognisers.
    pub detected: u32,
    /// Response members and elements removed.
    pub removed: u32,
    /// Response values made coarser.
    pub transformed: u32,
}

impl Counts {
    fn named(&self) -> [(&'static str, u32); 10] {
        [
            ("masked", self.masked),
            ("stripped", self.stripped),
            ("generalized", self.generalized),
            ("tokenized", self.tokenized),
            ("sealed", self.sealed),
            ("opened", self.opened),
            ("observed", self.observed),
            ("detected", self.detected),
            ("removed", self.removed),
            ("transformed", self.transformed),
        ]
    }
}

/// The record.
#[derive(Clone, Debug, Default)]
pub struct AuditEvent {
    /// When the request came.
    pub time: Timestamp,
    /// The proxy's id of the request.
    pub request_id: Option<RequestId>,
    /// Why that policy governs.
    pub route: Option<Why>,
    /// The policy's name.
    pub policy: Option<Rc<str>>,
    /// The policy file's digest.
    pub policy_digest: Option<Rc<str>>,
    /// The issuer's alias.
    pub issuer: Option<Rc<str>>,
    /// The token's subject.
    pub subject: Option<Pseudonym>,
    /// FHIR's word for what the request does (`read`, `search-type`), and the type it is about, where the policy reads that.
    pub interaction: Option<(&'static str, Option<&'static str>)>,
    /// The code, from the policy file, under which the glass was broken.
    pub break_glass: Option<Rc<str>>,
    /// The view that was applied, by its place in the policy.
    pub view: Option<usize>,
    /// What was changed.
    pub counts: Counts,
    /// The fields that were seen, by the paths of their names, and how often; under `mode: observe`.
    pub fields: Vec<(String, u32)>,
    pub(crate) decisions: Vec<Decision>,
}

#[derive(Clone, Debug)]
pub(crate) struct Decision {
    filter: FilterKind,
    verdict: Verdict,
    reason: Option<&'static str>,
    detail: Option<Cow<'static, str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allow,
    Deny,
    /// It would deny, and its policy only looks on.
    ShadowDeny,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Verdict::Allow => "allow",
            Verdict::Deny => "deny",
            Verdict::ShadowDeny => "shadow_deny",
        }
    }
}

impl AuditEvent {
    /// Adds what was done to URLs.
    pub fn count_urls(&mut self, done: phi::Counts) {
        let counts = &mut self.counts;
        for (sum, more) in [
            (&mut counts.masked, done.masked),
            (&mut counts.stripped, done.stripped),
            (&mut counts.generalized, done.generalized),
            (&mut counts.tokenized, done.tokenized),
            (&mut counts.sealed, done.sealed),
            (&mut counts.opened, done.opened),
            (&mut counts.observed, done.observed),
            (&mut counts.detected, done.detected),
        ] {
            *sum = sum.saturating_add(more);
        }
    }

    /// Notes that a filter let the message pass.
    pub fn allow(&mut self, filter: FilterKind) {
        if !self.decisions.iter().any(|decision| decision.filter == filter) {
            self.decisions.push(Decision {
                filter,
                verdict: Verdict::Allow,
                reason: None,
                detail: None,
            });
        }
    }

    /// Notes why a filter denied; it replaces that filter's earlier `allow`.
    pub fn deny(&mut self, reason: &Reason) {
        self.note(reason, Verdict::Deny);
    }

    /// Notes why a filter would have denied, were it not only looking on.
    pub fn shadow(&mut self, reason: &Reason) {
        self.note(reason, Verdict::ShadowDeny);
    }

    fn note(&mut self, reason: &Reason, verdict: Verdict) {
        let filter = reason.filter();
        self.decisions.retain(|decision| decision.filter != filter);
        self.decisions.push(Decision {
            filter,
            verdict,
            reason: Some(reason.code()),
            detail: reason.detail(),
        });
    }

    /// Whether any filter denied.
    pub fn is_denied(&self) -> bool {
        self.decisions.iter().any(|decision| decision.verdict == Verdict::Deny)
    }

    /// The record as one line of JSON.
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(384);
        out.push_str("{\"time\":\"");
        push_time(&mut out, self.time);
        out.push_str("\",\"request_id\":");
        push_optional(&mut out, self.request_id.as_ref().map(|id| id.0.as_str()));
        out.push_str(",\"route\":");
        match self.route {
            Some(why) => {
                let _ = write!(out, "\"{why}\"");
            }
            None => out.push_str("null"),
        }
        out.push_str(",\"policy\":");
        push_optional(&mut out, self.policy.as_deref());
        out.push_str(",\"policy_digest\":");
        push_optional(&mut out, self.policy_digest.as_deref());
        out.push_str(if self.is_denied() {
            ",\"decision\":\"deny\",\"filters\":{"
        } else {
            ",\"decision\":\"allow\",\"filters\":{"
        });
        // No `write!` here: it costs a guest more than all the rest of the record.
        for (index, decision) in self.decisions.iter().enumerate() {
            out.push_str(if index > 0 { ",\"" } else { "\"" });
            out.push_str(decision.filter.as_str());
            out.push_str("\":{\"decision\":\"");
            out.push_str(decision.verdict.as_str());
            out.push('"');
            push_member(&mut out, "reason", decision.reason);
            push_member(&mut out, "detail", decision.detail.as_deref());
            out.push('}');
        }
        out.push_str("},\"issuer\":");
        push_optional(&mut out, self.issuer.as_deref());
        out.push_str(",\"subject\":");
        push_optional(&mut out, self.subject.as_ref().map(Pseudonym::as_str));
        if let Some((interaction, resource)) = self.interaction {
            push_member(&mut out, "interaction", Some(interaction));
            push_member(&mut out, "resource", resource);
        }
        if let Some(reason) = &self.break_glass {
            out.push_str(",\"break_glass\":");
            push_optional(&mut out, Some(reason));
        }
        if let Some(view) = self.view {
            out.push_str(",\"view\":");
            push_number(&mut out, u64::try_from(view).unwrap_or(u64::MAX), 1);
        }
        if !self.fields.is_empty() {
            out.push_str(",\"fields\":{");
            for (index, (path, count)) in self.fields.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                push_optional(&mut out, Some(path));
                out.push(':');
                push_number(&mut out, u64::from(*count), 1);
            }
            out.push('}');
        }
        out.push_str(",\"counts\":{");
        let mut separator = "\"";
        for (name, count) in self.counts.named() {
            if count > 0 {
                out.push_str(separator);
                out.push_str(name);
                out.push_str("\":");
                push_number(&mut out, count.into(), 1);
                separator = ",\"";
            }
        }
        out.push_str("}}");
        out
    }
}

/// Adds a module's part to the record that the modules before it made. What is no record counts as none.
pub fn merge(earlier: &[u8], own: &AuditEvent) -> String {
    let (Ok(Json::Object(mut record)), Ok(Json::Object(mine))) =
        (serde_json::from_slice(earlier), serde_json::from_str(&own.to_json()))
    else {
        return own.to_json();
    };
    for (key, value) in mine {
        match (record.get_mut(&key), value) {
            (Some(Json::Object(have)), Json::Object(more)) if key == "counts" => {
                for (name, count) in more {
                    let sum = have
                        .get(&name)
                        .and_then(Json::as_u64)
                        .unwrap_or(0)
                        .saturating_add(count.as_u64().unwrap_or(0));
                    have.insert(name, Json::from(sum));
                }
            }
            (Some(Json::Object(have)), Json::Object(more)) => have.extend(more),
            (Some(have), value) => {
                if have.is_null() || (key == "decision" && value == "deny") {
                    *have = value;
                }
            }
            (None, value) => {
                record.insert(key, value);
            }
        }
    }
    Json::Object(record).to_string()
}

/// A member with a word of this crate's own, which needs no escapes.
fn push_member(out: &mut String, name: &str, word: Option<&str>) {
    if let Some(word) = word {
        for part in [",\"", name, "\":\"", word, "\""] {
            out.push_str(part);
        }
    }
}

/// A number of at least so many digits.
fn push_number(out: &mut String, number: u64, digits: u32) {
    let mut power = 10_u64.saturating_pow(digits.saturating_sub(1));
    let above = |power| number.checked_div(power).unwrap_or(0);
    while above(power) >= 10 {
        power = power.saturating_mul(10);
    }
    while power > 0 {
        let digit = u8::try_from(above(power) % 10).unwrap_or(0);
        out.push(char::from(b'0'.saturating_add(digit)));
        power /= 10;
    }
}

fn push_optional(out: &mut String, text: Option<&str>) {
    let Some(text) = text else {
        out.push_str("null");
        return;
    };
    out.push('"');
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        out.push_str(text);
        out.push('"');
        return;
    }
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            control if control.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            plain => out.push(plain),
        }
    }
    out.push('"');
}

/// Year, month and day of a day since 1970: Howard Hinnant's days-to-civil, for days that are never negative.
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days.saturating_add(719_468);
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = of_era
        .saturating_sub(of_era / 1460)
        .saturating_add(of_era / 36_524)
        .saturating_sub(of_era / 146_096)
        / 365;
    let before = year_of_era
        .saturating_mul(365)
        .saturating_add(year_of_era / 4)
        .saturating_sub(year_of_era / 100);
    let of_year = of_era.saturating_sub(before);
    let month_index = of_year.saturating_mul(5).saturating_add(2) / 153;
    let day = of_year
        .saturating_sub(month_index.saturating_mul(153).saturating_add(2) / 5)
        .saturating_add(1);
    let month = if month_index < 10 {
        month_index.saturating_add(3)
    } else {
        month_index.saturating_sub(9)
    };
    let year = year_of_era
        .saturating_add(era.saturating_mul(400))
        .saturating_add(u64::from(month <= 2));
    (year, month, day)
}

/// RFC 3339 in UTC with milliseconds.
fn push_time(out: &mut String, time: Timestamp) {
    let seconds = time.seconds();
    let millis = (time.0 / 1_000_000) % 1000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    for (number, digits, behind) in [
        (year, 4, "-"),
        (month, 2, "-"),
        (day, 2, "T"),
        (hour, 2, ":"),
        (minute, 2, ":"),
        (second % 60, 2, "."),
        (millis, 3, "Z"),
    ] {
        push_number(out, number, digits);
        out.push_str(behind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(event: &AuditEvent) -> Json {
        serde_json::from_str(&event.to_json()).unwrap()
    }

    #[test]
    fn time_is_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_795_298_402, "2026-11-21T22:00:02.000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            let mut out = String::new();
            push_time(&mut out, Timestamp(seconds * 1_000_000_000));
            assert_eq!(out, text);
        }
    }

    #[test]
    fn only_a_uuid_is_a_request_id() {
        assert!(RequestId::parse(b"0b2c3d4e-0000-4000-8000-0123456789ab").is_some());
        for wrong in [
            &b"123-45-6789"[..],
            b"",
            b"0b2c3d4e-0000-4000-8000-0123456789a\"",
            b"0b2c3d4e00000-4000-8000-0123456789ab",
        ] {
            assert!(RequestId::parse(wrong).is_none());
        }
    }

    #[test]
    fn one_denial_denies_and_replaces_that_filters_allow() {
        let mut event = AuditEvent::default();
        event.allow(FilterKind::OauthScope);
        event.allow(FilterKind::ResponseTrim);
        assert_eq!(json(&event)["decision"], "allow");
        event.deny(&Reason::Uninspectable("json_truncated"));
        event.allow(FilterKind::ResponseTrim);
        let json = json(&event);
        assert_eq!(json["decision"], "deny");
        assert_eq!(json["filters"]["response_trim"]["detail"], "json_truncated");
        assert_eq!(json["filters"]["oauth_scope"]["decision"], "allow");
    }

    #[test]
    fn names_are_escaped() {
        let event = AuditEvent {
            policy: Some("a\"b\\c\n".into()),
            ..AuditEvent::default()
        };
        assert_eq!(json(&event)["policy"], "a\"b\\c\n");
    }

    #[test]
    fn modules_of_a_chain_make_one_record() {
        let mut first = AuditEvent {
            policy: Some("p".into()),
            ..AuditEvent::default()
        };
        first.allow(FilterKind::CacheControl);
        let mut second = AuditEvent {
            issuer: Some("ehr".into()),
            ..AuditEvent::default()
        };
        second.counts.masked = 2;
        second.deny(&Reason::NoView);
        let mut third = AuditEvent::default();
        third.counts.masked = 1;
        let merged = merge(merge(first.to_json().as_bytes(), &second).as_bytes(), &third);
        let merged: Json = serde_json::from_str(&merged).unwrap();
        assert_eq!(merged["policy"], "p");
        assert_eq!(merged["issuer"], "ehr");
        assert_eq!(merged["decision"], "deny");
        assert_eq!(merged["counts"]["masked"], 3);
        assert_eq!(merged["filters"].as_object().unwrap().len(), 2);
        assert_eq!(merge(b"no record", &third), third.to_json());
    }
}
