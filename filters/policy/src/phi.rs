//! Keeps protected health information out of URLs, and so out of logs, traces, histories and referrers.
//!
//! What is judged, in this order, each parameter by itself (repeated names too):
//!
//! 1. `query` by name. Stricter actions match the base name without regard to case and spelling; `pass` matches the
//!    exact base name only. `pass` lifts the preset's judgement, and for a chain (`patient.name`) that of the base name
//!    only; it never lifts the detectors'.
//! 2. The preset `fhir-r4`: search parameters that carry PHI on the resource types in the path; any link of a chain
//!    counts. Where the path names no type, or an operation, a parameter counts that carries PHI on any type. So does a
//!    value that refers to a person (`performer=Patient/7`) or holds a query with such a parameter. In the path, the id
//!    after Patient, Person or RelatedPerson.
//! 3. The detectors, over what is left of names, values and path segments. Free-text parameters (`_content`, `_text`,
//!    `_filter`) are looked through besides when `on_detect` rejects.
//!
//! A parameter without a value carries nothing and is left as it is, unless its name or a detector says otherwise. What
//! is harmless passes byte for byte. A path with dot segments is sent on in its canonical form: what `..` takes away would
//! else still be there to read.
//!
//! | action | query parameter | path segment | detector |
//! | --- | --- | --- | --- |
//! | reject | 400, names the parameter, never the value | 400 | 400, names the detector |
//! | strip | goes with its separator; **widens a search** | goes with its slash; **widens a read to a search** | the whole parameter or segment goes |
//! | mask | value is `***` | `***` | the stretch is `***`, the whole piece where it is not plain in the raw bytes |
//! | generalize | the year of a date, three digits of a ZIP code; refused where it is neither | the same | the same |
//! | tokenize | pseudonym of each value of a comma list, after `system\|` or `Type/` | pseudonym of the decoded segment | of the stretch, or the piece |
//! | seal | opened where it comes sealed, refused in the clear | the same | the same |
//! | observe | passes, masked in the log | passes, masked in the log | passes, masked in the log |
//!
//! ```
//! use scrim_policy::phi::{Action, Outcome, PhiPolicy, Preset, Rules, Secrets};
//! use scrim_policy::url::Target;
//! let rules = Rules { preset: Some(Preset::FhirR4), on_query: Action::Mask, ..Rules::default() };
//! let policy = PhiPolicy::new(rules, Secrets::default()).ok().unwrap();
//! let target = Target::parse(b"/fhir/Patient?n%61me:exact=Chalmers&_count=1").ok().unwrap();
//! let judgement = policy.judge(&target, None);
//! assert!(matches!(judgement.outcome, Outcome::Rewrite(raw) if raw == b"/fhir/Patient?n%61me:exact=***&_count=1"));
//! assert_eq!(judgement.log_safe, "/fhir/Patient?name:exact=***&_count=1");
//! ```

mod body;
mod detect;
mod fhir_r4;
pub(crate) mod generalize;
mod names;
mod pass;
mod pattern;
mod places;
mod reference;
mod rewrite;
mod rules;

use std::borrow::Cow;
use std::sync::Arc;

pub use body::{rewrites, rewrites_by_type};
pub use detect::Detector;
pub use rules::{Action, DetectEntry, PathTemplate, Preset, Rules, RulesError, Warning};

use crate::pseudonym::Pseudonymiser;
use crate::seal::{Opened, Sealer};
use crate::url::{Parameter, Part, Segment, Target, fold};
use detect::Detectors;
use names::Known;
use pass::Pass;
use rewrite::{Edits, Piece};

/// Compiled rules.
pub struct PhiPolicy {
    rules: Rules,
    on_path: Action,
    detectors: Detectors,
    /// Whether rules by name match in any case: all but `pass` do.
    any_case: bool,
    known: Known,
    strict: bool,
    secrets: Secrets,
}

/// What rules need to make pseudonyms and to seal.
#[derive(Clone, Default)]
pub struct Secrets {
    /// The policy's name: what is sealed for one policy opens under no other.
    pub policy: String,
    /// For `tokenize`.
    pub pseudonyms: Option<Arc<Pseudonymiser>>,
    /// For `seal`.
    pub sealer: Option<Arc<Sealer>>,
}

/// Which way a URL goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the upstream: what is sealed is opened, what is refused is refused.
    In,
    /// To the client: nothing is refused; what would be is sealed, or masked where it can't be.
    Out,
    /// To the upstream within a body: as `In`, with `on_body` for whatever carries PHI.
    Body,
}

/// Where a URL stands, and when.
pub struct Scene<'s> {
    /// The year, where it is known: ages over 89 are not told by a year (45 CFR 164.514(b)(2)(i)(C)).
    pub year: Option<u16>,
    /// The host that the client called; a URL to another is none that we could open again.
    pub authority: &'s [u8],
    /// The name of the policy that governs a GET of a target, if it opens what is sealed.
    pub opens: &'s dyn Fn(&Target<'_>) -> Option<String>,
}

/// What becomes of a request target, and how to log it. It has no `Debug`: a rewrite may hold what was let through.
pub struct Judgement<'t> {
    /// What to do.
    pub outcome: Outcome,
    /// The target in percent-encoded ASCII, all PHI masked as `***` whatever the action, unless passed by name.
    pub log_safe: Cow<'t, str>,
    /// Whether what goes on holds what the log-safe path masks.
    pub shows: bool,
    /// How much was done.
    pub counts: Counts,
}

/// What to do with the request.
pub enum Outcome {
    /// The target goes on as it came.
    Pass,
    /// The target goes on as these bytes.
    Rewrite(Vec<u8>),
    /// Answer 400.
    Reject(Rejection),
}

/// Why a target is refused; holds nothing from the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Where it was found.
    pub kind: Kind,
    /// The parameter's base name in the spelling of the preset or the rules; `None` where neither knows it.
    pub parameter: Option<String>,
    /// The FHIR resource type at the end of the path, where a search by POST is a way out.
    pub resource: Option<&'static str>,
}

/// Where PHI was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A path id.
    Path,
    /// A query parameter, by name or preset.
    Query,
    /// A header, by name.
    Header,
    /// A recogniser found it.
    Detect(String),
    /// What is sealed does not open here.
    Sealed,
    /// What can't be read, where it could hold PHI.
    Unreadable,
}

/// How often each action was applied to a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Masked pieces.
    pub masked: u32,
    /// Stripped pieces.
    pub stripped: u32,
    /// Pieces made coarser.
    pub generalized: u32,
    /// Tokenized pieces.
    pub tokenized: u32,
    /// Sealed pieces.
    pub sealed: u32,
    /// Opened pieces.
    pub opened: u32,
    /// Pieces that were let through under `observe`.
    pub observed: u32,
    /// Stretches that the policy's detectors found.
    pub detected: u32,
}

impl Counts {
    /// Adds what was done elsewhere.
    pub fn add(&mut self, other: Counts) {
        let Counts {
            masked,
            stripped,
            generalized,
            tokenized,
            sealed,
            opened,
            observed,
            detected,
        } = other;
        for (sum, more) in [
            (&mut self.masked, masked),
            (&mut self.stripped, stripped),
            (&mut self.generalized, generalized),
            (&mut self.tokenized, tokenized),
            (&mut self.sealed, sealed),
            (&mut self.opened, opened),
            (&mut self.observed, observed),
            (&mut self.detected, detected),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// The log-safe path of a target that no `phi_url` section governs, or that was refused before one was found: every path segment is masked
/// but FHIR's own words and those that `known` knows (the policy file's routes), and every value but those of FHIR's result parameters.
pub fn log_safe(target: &Target<'_>, known: &dyn Fn(&str) -> bool) -> String {
    let strict = PhiPolicy {
        rules: Rules {
            preset: Some(Preset::FhirR4),
            on_query: Action::Observe,
            on_detect: Action::Observe,
            ..Rules::default()
        },
        on_path: Action::Observe,
        detectors: Detectors::none(),
        any_case: false,
        known: Known::with(std::iter::empty()),
        strict: true,
        secrets: Secrets::default(),
    };
    let scene = Scene {
        year: None,
        authority: b"",
        opens: &|_| None,
    };
    let mut pass = Pass::new(&strict, target, Way::In, &scene);
    pass.path();
    pass.query();
    for (index, segment) in target.segments().iter().enumerate() {
        if !known(segment.text()) && !names::is_word(segment.text()) {
            pass.masks.whole(Piece::Segment(index));
        }
    }
    pass.masks.render(target).into_owned()
}

impl PhiPolicy {
    /// Compiles rules.
    ///
    /// # Errors
    /// `tokenize` or `seal` without a key, `pass` where it makes no sense, `strip` where it widens, a pattern that can't be used.
    pub fn new(mut rules: Rules, secrets: Secrets) -> Result<Self, RulesError> {
        let default_path = if secrets.pseudonyms.is_some() {
            Action::Tokenize
        } else {
            Action::Reject
        };
        let on_path = rules.on_path.unwrap_or(default_path);
        rules::check(&rules, on_path, &secrets)?;
        let any_case = rules.query.iter().any(|(_, action)| *action != Action::Pass);
        let known = Known::with(rules.query.iter().map(|(name, _)| name.as_str()));
        // The more a template says, the earlier it comes.
        rules
            .path
            .sort_by_key(|(template, _)| std::cmp::Reverse(template.exactness()));
        for entry in &mut rules.detect {
            entry.action.get_or_insert(rules.on_detect);
        }
        let detectors = Detectors::new(std::mem::take(&mut rules.detect))?;
        Ok(Self {
            rules,
            on_path,
            detectors,
            any_case,
            known,
            strict: false,
            secrets,
        })
    }

    /// Whether the preset of FHIR is in force.
    pub(crate) fn knows_fhir(&self) -> bool {
        self.rules.preset.is_some()
    }

    /// Rules that work but widen a search, or let through what the preset says is PHI.
    pub fn warnings(&self) -> Vec<Warning> {
        rules::warnings(&self.rules, !self.detectors.is_empty())
    }

    /// What becomes of this request target; `year` is the current one, where it is known.
    pub fn judge<'t>(&self, target: &'t Target<'_>, year: Option<u16>) -> Judgement<'t> {
        let scene = Scene {
            year,
            authority: b"",
            opens: &|_| None,
        };
        self.judge_request(target, &scene)
    }

    /// The same, where other policies may have sealed what this target holds.
    pub fn judge_request<'t>(&self, target: &'t Target<'_>, scene: &Scene<'_>) -> Judgement<'t> {
        self.judge_target(target, Way::In, scene)
    }

    /// What becomes of a target, whichever way it goes.
    fn judge_target<'t>(&self, target: &'t Target<'_>, way: Way, scene: &Scene<'_>) -> Judgement<'t> {
        let mut pass = Pass::new(self, target, way, scene);
        pass.path();
        if !target.parameters().is_empty() {
            pass.query();
        }
        let outcome = match pass.rejection {
            Some(rejection) => Outcome::Reject(rejection),
            None if pass.edits.is_empty() => Outcome::Pass,
            None => Outcome::Rewrite(pass.edits.apply()),
        };
        Judgement {
            outcome,
            log_safe: pass.masks.render(target),
            shows: pass.shows,
            counts: pass.counts,
        }
    }

    /// The target with what is sealed in it opened, for who judges what is asked for; `None` where nothing is sealed.
    ///
    /// # Errors
    /// What is sealed does not open.
    pub fn open(&self, target: &Target<'_>, scene: &Scene<'_>) -> Result<Option<Vec<u8>>, Rejection> {
        if self.secrets.sealer.is_none() {
            return Ok(None);
        }
        if memchr::memmem::find(target.raw(), Sealer::PREFIX.as_bytes()).is_none() && target.is_plain() {
            return Ok(None);
        }
        let mut edits = Edits::new(target);
        let mut open =
            |piece, range, place: (&str, &str), text: &str, part| match self.unseal(target, scene, place, text) {
                Opened::NotSealed => Ok(()),
                Opened::Forged => Err(Rejection {
                    kind: Kind::Sealed,
                    parameter: None,
                    resource: None,
                }),
                Opened::Value(value) => {
                    let mut raw = String::new();
                    crate::url::push_encoded(&mut raw, &value, part);
                    edits.replace(piece, range, Cow::Owned(raw));
                    Ok(())
                }
            };
        let (mut before, mut anchor) = ("", "");
        for (index, segment) in target.segments().iter().enumerate() {
            let place = (SEGMENT, anchor);
            if self.segment_action(target, index, before).is_none() && !Sealer::is_sealed(segment.text()) {
                anchor = segment.text();
            }
            open(
                Piece::Segment(index),
                segment.range(),
                place,
                segment.text(),
                Part::Segment,
            )?;
            before = segment.text();
        }
        for (index, parameter) in target.parameters().iter().enumerate() {
            let place = (PARAMETER, parameter.base_name());
            let range = parameter.value_range().unwrap_or_default();
            open(Piece::Value(index), range, place, parameter.value(), Part::Value)?;
        }
        let rewritten = !edits.is_empty();
        Ok(rewritten.then(|| edits.apply()))
    }

    /// Opens what is sealed for this policy, or for the one that governs a GET of the target: that is for whom it was sealed on its way out.
    fn unseal(&self, target: &Target<'_>, scene: &Scene<'_>, place: (&str, &str), text: &str) -> Opened {
        let Some(sealer) = &self.secrets.sealer else {
            return Opened::NotSealed;
        };
        match sealer.open(&[&self.secrets.policy, place.0, place.1], text) {
            Opened::Forged => match (scene.opens)(target) {
                Some(name) => sealer.open(&[&name, place.0, place.1], text),
                None => Opened::Forged,
            },
            opened => opened,
        }
    }

    /// What becomes of a segment, by template or preset; `before` is the one before it.
    fn segment_action(&self, target: &Target<'_>, index: usize, before: &str) -> Option<Action> {
        let segments = target.segments();
        let meant = |(template, _): &&(PathTemplate, Action)| template.means(index, segments.iter().map(Segment::text));
        let by_template = self.rules.path.iter().find(meant).map(|(_, action)| *action);
        let by_preset = || {
            let text = segments.get(index).map_or("", Segment::text);
            (self.rules.preset.is_some() && names::is_id(before, text, self.strict)).then_some(self.on_path)
        };
        by_template.or_else(by_preset).filter(|action| *action != Action::Pass)
    }

    /// The rule for a parameter by name, with the rule's spelling of it.
    fn rule(&self, parameter: &Parameter<'_>) -> Option<(&str, Action)> {
        if self.rules.query.is_empty() {
            return None;
        }
        let base = parameter.base_name();
        let exact = self.rules.query.iter().find(|(name, _)| name == base);
        let found = exact.or_else(|| {
            if !self.any_case {
                return None;
            }
            let (folded, first) = (fold(base), names::first_token(parameter.name()));
            self.rules
                .query
                .iter()
                .filter(|(_, action)| *action != Action::Pass)
                .find(|(name, _)| name.eq_ignore_ascii_case(folded.trim()) || name.eq_ignore_ascii_case(&first))
        });
        found.map(|(name, action)| (name.as_str(), *action))
    }

    /// A rule stricter than `pass` for a later link of a chain, for what the preset does not know.
    fn chain_rule(&self, parameter: &Parameter<'_>) -> Option<(&str, Action)> {
        if !self.any_case || parameter.base_name().len() == parameter.name().len() {
            return None;
        }
        let folded = fold(parameter.name());
        let rule = names::tokens(&folded).skip(1).find_map(|(_, token)| {
            let named =
                |(name, action): &&(String, Action)| *action != Action::Pass && name.eq_ignore_ascii_case(token);
            self.rules.query.iter().find(named)
        });
        rule.map(|(name, action)| (name.as_str(), *action))
    }

    /// The pseudonym of a text; the text itself where it is a pseudonym of ours. `None` without a key.
    fn pseudonym<'v>(&self, value: &'v str) -> Option<Cow<'v, str>> {
        let key = self.secrets.pseudonyms.as_ref()?;
        if key.recognises(value) {
            return Some(Cow::Borrowed(value));
        }
        Some(Cow::Owned(key.pseudonym(value.as_bytes()).as_str().to_owned()))
    }

    /// Whether a text is a pseudonym of ours.
    fn is_pseudonym(&self, text: &str) -> bool {
        self.secrets.pseudonyms.as_ref().is_some_and(|key| key.recognises(text))
    }

    /// The same for a search parameter's value, part by part, so that it goes on filtering and agrees with the pseudonym that a body shows: each of a
    /// comma list, the value after `system|`, the id after `Type/` (FHIR R4 search 3.1.1.4.8, 3.1.1.4.10, 3.1.1.4.12).
    fn pseudonyms(&self, value: &str) -> Option<String> {
        let mut out = String::new();
        for (index, element) in elements(value).into_iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            let (before, own) = self.split_element(&element);
            out.push_str(before);
            if !own.is_empty() {
                out.push_str(&self.pseudonym(own)?);
            }
        }
        Some(out)
    }

    /// What of an element stays as it is: a system that is a URI without PHI, or a resource type.
    fn split_element<'e>(&self, element: &'e str) -> (&'e str, &'e str) {
        let split = |at: usize| element.split_at_checked(at.saturating_add(1)).unwrap_or(("", element));
        if let Some(at) = memchr::memchr(b'|', element.as_bytes()) {
            let (system, value) = split(at);
            let uri = ["http://", "https://", "urn:"]
                .iter()
                .any(|scheme| system.starts_with(scheme));
            let plain = system.is_ascii() && !system.contains(['?', '#', '@', ' ', ',', '\\']);
            let harmless = !names::refers_to_person(system) && self.detectors.scan(system, "").is_empty();
            if uri && plain && harmless && !value.contains('|') {
                return (system, value);
            }
        } else if let Some(at) = memchr::memchr(b'/', element.as_bytes()) {
            let (of, id) = split(at);
            let id_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
            if names::is_type(of.trim_end_matches('/')) && (1..=64).contains(&id.len()) && id.bytes().all(id_byte) {
                return (of, id);
            }
        }
        ("", element)
    }

    /// Whether a rule says to seal. Where only the key is there, what is rejected goes out sealed too, but clients that write forms and bundles have no use for it.
    fn seals(&self) -> bool {
        let rules = &self.rules;
        let single = [
            rules.on_query,
            self.on_path,
            rules.on_detect,
            rules.on_body,
            rules.on_response.unwrap_or(Action::Pass),
        ];
        let named = rules.query.iter().chain(&rules.headers).map(|(_, action)| *action);
        let by_path = rules.path.iter().map(|(_, action)| *action);
        self.secrets.sealer.is_some()
            && single
                .into_iter()
                .chain(named)
                .chain(by_path)
                .any(|action| action == Action::Seal)
    }

    /// Whether a parameter may go without widening a search.
    fn may_strip(&self, name: &str) -> bool {
        self.rules.strip_safe.iter().any(|safe| safe == "*" || safe == name)
    }

    /// What an action is in a body: `pass` stays, all else is `on_body`.
    fn in_body(&self, action: Action) -> Action {
        match action {
            Action::Pass => Action::Pass,
            _ => self.rules.on_body,
        }
    }

    /// The stricter of two for a whole piece.
    fn stricter(one: Action, other: Action) -> Action {
        let order = |action: Action| ORDER.iter().position(|of| *of == action).unwrap_or(0);
        if order(other) < order(one) { other } else { one }
    }
}

/// Actions, the strictest first.
const ORDER: [Action; 8] = [
    Action::Reject,
    Action::Strip,
    Action::Mask,
    Action::Seal,
    Action::Tokenize,
    Action::Generalize,
    Action::Observe,
    Action::Pass,
];

/// What a sealed value stands for, in what it is bound to.
const SEGMENT: &str = "segment";
const PARAMETER: &str = "parameter";

/// The elements of a comma list, with `\\,`, `\\|`, `\\$` and `\\\\` read (FHIR R4 search 3.1.1.4.12).
fn elements(value: &str) -> Vec<String> {
    let mut elements = vec![String::new()];
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        let escaped = if c == '\\' {
            chars.next_if(|next| matches!(next, ',' | '|' | '$' | '\\'))
        } else {
            None
        };
        match (c, escaped, elements.last_mut()) {
            (',', None, _) => elements.push(String::new()),
            (c, escaped, Some(last)) => last.push(escaped.unwrap_or(c)),
            (_, _, None) => {}
        }
    }
    elements
}

impl Kind {
    /// A stable code for audit records and metrics: `path`, `query`, `header`, `sealed`, `unreadable`, or the detector's.
    pub fn code(&self) -> &str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
            Self::Detect(code) => code,
            Self::Sealed => "sealed",
            Self::Unreadable => "unreadable",
        }
    }
}

#[cfg(test)]
mod tests;
