//! Breaking the glass: a caller in an emergency gets past the policy's requirement, and everybody learns of it.
//!
//! 1. The client asks by a header whose value is a code that the policy lists. It is looked at only where the requirement is not met.
//! 2. It takes one of the roles and one of the purposes of use that the policy names, both from the token, and a token that was issued not long ago.
//! 3. Signature, issuer, audience, times and sender of the token hold all the same: this comes after them.
//! 4. Never for a bulk export, nor for a batch or transaction, whose entries may be anything. Where `{smart: auto}` read the request, that tells; else a POST counts
//!    as one unless its path ends in a resource type or `_search`.
//! 5. So often an hour and subject, in each worker of the proxy. A ledger that is full of others denies.
//! 6. The upstream gets the header only where the glass was broken; the audit record has the code, and a counter of its own counts.

use sha2::{Digest as _, Sha256};

use crate::fhir;
use crate::oauth_scope::Call;
use crate::token::Grant;
use crate::url::{Segment, Target};

/// The purposes of use that count where the policy names none (HL7 v3 PurposeOfUse).
pub const PURPOSES: [&str; 2] = ["ETREAT", "BTG"];

/// The compiled section.
#[derive(Clone, Debug)]
pub struct BreakGlass {
    /// The header's name, in lowercase.
    pub header: String,
    /// The codes that count.
    pub reasons: Vec<String>,
    /// The roles that may, as tokens write them.
    pub roles: Vec<Box<str>>,
    /// The purposes of use that may.
    pub purposes: Vec<Box<str>>,
    /// The most seconds from `iat` to now.
    pub max_age: u64,
    /// How often within an hour, for one subject.
    pub per_hour: u64,
}

impl BreakGlass {
    /// The code under which the glass is broken; `None`: nobody asked. `interaction`: what the request does, where that was read.
    ///
    /// # Errors
    /// Why it is not, as a code for the audit record.
    pub(crate) fn judge(
        &self,
        lines: &[&[u8]],
        grant: &Grant,
        call: &Call<'_>,
        interaction: Option<&str>,
        ledger: &mut Ledger,
    ) -> Result<Option<&str>, &'static str> {
        let (now, target) = (call.now.seconds(), call.target);
        let asked = match lines {
            [] => return Ok(None),
            [one] => *one,
            _ => return Err("break_glass_reason"),
        };
        let reason = self
            .reasons
            .iter()
            .find(|reason| reason.as_bytes() == asked)
            .ok_or("break_glass_reason")?;
        if !grant.roles().iter().any(|role| self.roles.contains(role)) {
            return Err("break_glass_role");
        }
        if !grant.purposes().iter().any(|purpose| self.purposes.contains(purpose)) {
            return Err("break_glass_purpose");
        }
        let issued_at = grant.issued_at().ok_or("break_glass_age")?;
        // No age shows of what was issued in the future, beyond what clocks differ by.
        if now.saturating_sub(issued_at) > self.max_age || issued_at > now.saturating_add(CLOCKS_DIFFER) {
            return Err("break_glass_age");
        }
        let exports = |text: &str| text.starts_with('$') && text.ends_with("export");
        if target.segments().iter().any(|segment| exports(segment.text())) {
            return Err("break_glass_export");
        }
        if is_batch(call.head.method(), target, interaction) {
            return Err("break_glass_batch");
        }
        let subject = grant.subject().ok_or("break_glass_subject")?;
        if !ledger.enter(grant.issuer(), subject.expose(), now, self.per_hour) {
            return Err("break_glass_rate");
        }
        Ok(Some(reason))
    }
}

/// Whether it is a batch or transaction, or may be one.
fn is_batch(method: &[u8], target: &Target<'_>, interaction: Option<&str>) -> bool {
    if let Some(interaction) = interaction {
        return matches!(interaction, "batch" | "transaction");
    }
    let tells = |segment: &Segment<'_>| segment.text() == "_search" || fhir::is_resource_type(segment.text());
    method == b"POST" && !target.segments().last().is_some_and(tells)
}

/// How many seconds a token's `iat` may lie ahead.
const CLOCKS_DIFFER: u64 = 60;

/// How many subjects a ledger knows at once.
const SUBJECTS: usize = 1024;

const HOUR: u64 = 3600;

/// Who broke the glass how often of late. Holds digests of subjects, never subjects.
#[derive(Default)]
pub struct Ledger {
    entries: Vec<Entry>,
}

struct Entry {
    subject: [u8; 32],
    times: Vec<u64>,
}

impl Ledger {
    /// Notes one more, unless it would be one too many within an hour.
    fn enter(&mut self, issuer: usize, subject: &[u8], now: u64, most: u64) -> bool {
        let digest: [u8; 32] = Sha256::new()
            .chain_update(issuer.to_le_bytes())
            .chain_update(subject)
            .finalize()
            .into();
        let position = self.entries.iter().position(|entry| entry.subject == digest);
        if position.is_none() && self.entries.len() >= SUBJECTS {
            self.entries
                .retain(|entry| entry.times.iter().any(|time| now.saturating_sub(*time) < HOUR));
            if self.entries.len() >= SUBJECTS {
                return false;
            }
        }
        let index = position.unwrap_or_else(|| {
            self.entries.push(Entry {
                subject: digest,
                times: Vec::new(),
            });
            self.entries.len().saturating_sub(1)
        });
        let Some(entry) = self.entries.get_mut(index) else {
            return false;
        };
        entry.times.retain(|time| now.saturating_sub(*time) < HOUR);
        if u64::try_from(entry.times.len()).is_ok_and(|count| count < most) {
            entry.times.push(now);
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_has_so_many_an_hour_and_others_their_own() {
        let mut ledger = Ledger::default();
        for _ in 0..2 {
            assert!(ledger.enter(0, b"a", 1000, 2));
        }
        assert!(!ledger.enter(0, b"a", 1000 + HOUR - 1, 2));
        assert!(ledger.enter(0, b"b", 1000, 2));
        assert!(ledger.enter(1, b"a", 1000, 2), "another issuer's subject is another");
        assert!(ledger.enter(0, b"a", 1000 + HOUR, 2));
    }

    #[test]
    fn a_ledger_full_of_others_denies_until_their_hour_is_over() {
        let mut ledger = Ledger::default();
        for subject in 0..SUBJECTS {
            assert!(ledger.enter(0, &subject.to_le_bytes(), 1000, 2));
        }
        assert!(!ledger.enter(0, b"late", 1001, 2));
        assert!(ledger.enter(0, b"late", 1000 + HOUR, 2));
        assert_eq!(ledger.entries.len(), 1);
    }
}
