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
//! | tokenize | pseudonym of the whole decoded value, `system\|` and commas included | pseudonym of the decoded segment | of the stretch, or the piece |
//! | observe | passes, masked in the log | passes, masked in the log | passes, masked in the log |
//!
//! ```
//! use scrim_policy::phi::{Action, Detector, Outcome, PhiPolicy, Preset, Rules};
//! use scrim_policy::url::Target;
//! let rules = Rules { preset: Some(Preset::FhirR4), on_query: Action::Mask, detect: vec![Detector::Ssn], ..Rules::default() };
//! let policy = PhiPolicy::new(rules, None).ok().unwrap();
//! let target = Target::parse(b"/fhir/Patient?n%61me:exact=Chalmers&_count=1").ok().unwrap();
//! let judgement = policy.judge(&target);
//! assert!(matches!(judgement.outcome, Outcome::Rewrite(raw) if raw == b"/fhir/Patient?n%61me:exact=***&_count=1"));
//! assert_eq!(judgement.log_safe, "/fhir/Patient?name:exact=***&_count=1");
//! ```

mod detect;
mod fhir_r4;
mod names;
mod rewrite;
mod rules;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

pub use detect::Detector;
pub use rules::{Action, Preset, Pseudonymise, Rules, RulesError, Warning};

use crate::url::{Parameter, Part, Segment, Target, fold};
use detect::announces_mrn;
use detect::{Hit, scan};
use names::{Scope, phi_name};
use rewrite::{Edits, LogMasks, MASK, Piece, locate};

/// Compiled rules.
pub struct PhiPolicy {
    rules: Rules,
    on_path: Action,
    detectors: u8,
    /// Whether rules by name match in any case: all but `pass` do.
    any_case: bool,
    strict: bool,
    pseudonyms: Option<Arc<dyn Pseudonymise>>,
}

/// What becomes of a request target, and how to log it. It has no `Debug`: a rewrite may hold what was let through.
pub struct Judgement<'t> {
    /// What to do.
    pub outcome: Outcome,
    /// The target in percent-encoded ASCII, all PHI masked as `***` whatever the action, unless passed by name.
    pub log_safe: Cow<'t, str>,
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
}

/// Where PHI was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A path id.
    Path,
    /// A query parameter, by name or preset.
    Query,
    /// A recogniser found it.
    Detect(Detector),
}

/// How often each action was applied to a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Masked pieces.
    pub masked: u32,
    /// Stripped pieces.
    pub stripped: u32,
    /// Tokenized pieces.
    pub tokenized: u32,
    /// Pieces that were let through under `observe`.
    pub observed: u32,
    /// Stretches that the policy's detectors found.
    pub detected: u32,
}

/// What becomes of a header value that holds a URL.
pub enum HeaderJudgement {
    /// It stays.
    Keep,
    /// It goes.
    Remove,
    /// It becomes this.
    Replace(Vec<u8>),
}

/// The log-safe path of a target that no `phi_url` section governs, or that was refused before one was found: every path segment is masked
/// but FHIR's own words and those that `known` knows (the policy file's routes), and every value but those of FHIR's result parameters.
pub fn log_safe(target: &Target<'_>, known: &dyn Fn(&str) -> bool) -> String {
    let strict = PhiPolicy {
        rules: Rules {
            preset: Some(Preset::FhirR4),
            on_query: Action::Observe,
            query: Vec::new(),
            on_path: None,
            detect: Vec::new(),
            on_detect: Action::Observe,
        },
        on_path: Action::Observe,
        detectors: 0,
        any_case: false,
        strict: true,
        pseudonyms: None,
    };
    let mut pass = Pass::new(&strict, target);
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
    /// `tokenize` without `pseudonyms`, or `pass` where it makes no sense.
    pub fn new(rules: Rules, pseudonyms: Option<Arc<dyn Pseudonymise>>) -> Result<Self, RulesError> {
        let default_path = if pseudonyms.is_some() {
            Action::Tokenize
        } else {
            Action::Reject
        };
        let on_path = rules.on_path.unwrap_or(default_path);
        for (key, action) in [
            ("on_query", rules.on_query),
            ("on_path", on_path),
            ("on_detect", rules.on_detect),
        ] {
            match action {
                Action::Pass => return Err(RulesError::PassOutsideQuery(key)),
                Action::Tokenize if pseudonyms.is_none() => {
                    return Err(RulesError::NoKey(key.to_owned()));
                }
                _ => {}
            }
        }
        let unkeyed = |action: &Action| *action == Action::Tokenize && pseudonyms.is_none();
        if let Some((name, _)) = rules.query.iter().find(|(_, action)| unkeyed(action)) {
            return Err(RulesError::NoKey(format!("query.{name}")));
        }
        let any_case = rules.query.iter().any(|(_, action)| *action != Action::Pass);
        let detectors = rules.detect.iter().fold(0, |set, detector| set | bit(*detector));
        Ok(Self {
            rules,
            on_path,
            detectors,
            any_case,
            strict: false,
            pseudonyms,
        })
    }

    /// Rules that work but widen a search, or let through what the preset says is PHI.
    pub fn warnings(&self) -> Vec<Warning> {
        rules::warnings(&self.rules, self.on_path)
    }

    /// What becomes of this request target.
    pub fn judge<'t>(&self, target: &'t Target<'_>) -> Judgement<'t> {
        let mut pass = Pass::new(self, target);
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
            counts: pass.counts,
        }
    }

    /// What becomes of a `Referer`: kept without PHI in it, else cut down to its origin (RFC 9110, 10.1.3), and removed
    /// where it cannot be read as an absolute http URL. `about:blank` stays.
    pub fn judge_referer(&self, value: &[u8]) -> HeaderJudgement {
        if value == b"about:blank" {
            return HeaderJudgement::Keep;
        }
        let Ok(target) = Target::parse(value) else {
            return HeaderJudgement::Remove;
        };
        if target.authority().is_none() {
            return HeaderJudgement::Remove;
        }
        let mut pass = Pass::new(self, &target);
        pass.path();
        pass.query();
        if pass.masks.is_empty() && pass.rejection.is_none() && pass.edits.is_empty() {
            return HeaderJudgement::Keep;
        }
        let mut origin = String::new();
        target.render_origin(&mut origin);
        origin.push('/');
        HeaderJudgement::Replace(origin.into_bytes())
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

    fn detects(&self, detector: Detector) -> bool {
        self.detectors & bit(detector) != 0
    }

    fn pseudonym(&self, value: &str) -> Option<String> {
        let token = self.pseudonyms.as_ref()?.pseudonym(value.as_bytes());
        let mut safe = String::with_capacity(token.len());
        crate::url::push_encoded(&mut safe, &token, Part::Segment);
        Some(safe)
    }
}

fn bit(detector: Detector) -> u8 {
    match detector {
        Detector::Ssn => 1,
        Detector::Email => 2,
        Detector::Phone => 4,
        Detector::Mrn => 8,
    }
}

/// One judgement under way.
struct Pass<'p, 't, 'a> {
    policy: &'p PhiPolicy,
    target: &'t Target<'a>,
    edits: Edits<'t, 'a>,
    masks: LogMasks,
    counts: Counts,
    rejection: Option<Rejection>,
    /// Nothing in the raw bytes that a detector could find.
    quiet: bool,
}

impl<'p, 't, 'a> Pass<'p, 't, 'a> {
    fn new(policy: &'p PhiPolicy, target: &'t Target<'a>) -> Self {
        Self {
            policy,
            target,
            edits: Edits::new(target),
            masks: LogMasks::default(),
            counts: Counts::default(),
            rejection: None,
            quiet: target.is_plain() && !detect::may_hold(target.raw()),
        }
    }

    fn path(&mut self) {
        let preset = self.policy.rules.preset.is_some();
        let mut before = "";
        let segments: &'t [Segment<'a>] = self.target.segments();
        for (index, segment) in segments.iter().enumerate() {
            let text = segment.text();
            let piece = Piece::Segment(index);
            if preset && names::is_id(before, text, self.policy.strict) {
                self.masks.whole(piece);
                self.act(self.policy.on_path, Kind::Path, None, piece, segment.range(), text);
            } else {
                let whole_mrn = !self.quiet && announces_mrn(&fold(before)) && detect::is_mrn_body(&fold(text));
                self.detect(piece, segment.range(), text, whole_mrn, None);
            }
            before = text;
        }
    }

    fn query(&mut self) {
        let scope = Scope::of(self.target);
        let parameters: &'t [Parameter<'a>] = self.target.parameters();
        for (index, parameter) in parameters.iter().enumerate() {
            self.parameter(index, parameter, &scope);
        }
    }

    fn parameter(&mut self, index: usize, parameter: &'t Parameter<'a>, scope: &Scope) {
        let policy = self.policy;
        if names::is_secret(parameter.name()) {
            self.masks.whole(Piece::Value(index));
        }
        let rule = policy.rule(parameter);
        let passed = matches!(rule, Some((_, Action::Pass)));
        let mut by_preset = None;
        if rule.is_none() || passed {
            by_preset = self.by_preset(parameter, scope, passed);
        }
        let mut found = match (rule, by_preset) {
            (Some((name, action)), _) if !passed => Some((name, action)),
            (_, Some(name)) => Some((name, policy.rules.on_query)),
            _ => policy.chain_rule(parameter),
        };
        let bare = parameter.base_name().len() == parameter.name().len();
        if parameter.value().is_empty() && bare {
            found = None;
        }
        if let Some((name, action)) = found {
            let free_text = by_preset.is_some() && names::is_free_text(name);
            if free_text && policy.rules.on_detect == Action::Reject && self.rejected_text(index, parameter, name) {
                return;
            }
            let name = (!name.is_empty()).then_some(name);
            self.detect(
                Piece::Name(index),
                parameter.name_range(),
                parameter.name(),
                false,
                Some(index),
            );
            match parameter.value_range() {
                Some(range) if !parameter.value().is_empty() => {
                    self.masks.whole(Piece::Value(index));
                    self.act(action, Kind::Query, name, Piece::Value(index), range, parameter.value());
                }
                // All that it says stands in the name, after the base name.
                _ => {
                    self.masks.whole(Piece::Name(index));
                    self.act(
                        action,
                        Kind::Query,
                        name,
                        Piece::Name(index),
                        parameter.name_range(),
                        parameter.name(),
                    );
                }
            }
            return;
        }
        self.detect(
            Piece::Name(index),
            parameter.name_range(),
            parameter.name(),
            false,
            Some(index),
        );
        let range = parameter.value_range().unwrap_or_default();
        let whole_mrn =
            !self.quiet && announces_mrn(&fold(parameter.base_name())) && detect::is_mrn_body(&fold(parameter.value()));
        if policy.strict && !names::is_result_parameter(parameter) {
            let piece = if parameter.has_value() {
                Piece::Value(index)
            } else {
                Piece::Name(index)
            };
            self.masks.whole(piece);
        } else if parameter.has_value() {
            self.detect(Piece::Value(index), range, parameter.value(), whole_mrn, Some(index));
        }
    }

    /// The name under which the preset says that a parameter carries PHI; "" where only its value says so.
    fn by_preset(&self, parameter: &Parameter<'_>, scope: &Scope, passed: bool) -> Option<&'static str> {
        self.policy.rules.preset?;
        let bare = parameter.base_name().len() == parameter.name().len();
        if passed {
            return if bare {
                None
            } else {
                phi_name(parameter.name(), scope, true)
            };
        }
        phi_name(parameter.name(), scope, false)
            .or_else(|| names::refers_to_person(&fold(parameter.value())).then_some(""))
    }

    /// Rejects a free-text parameter in which a detector of the policy finds something.
    fn rejected_text(&mut self, index: usize, parameter: &Parameter<'_>, name: &str) -> bool {
        let hits = scan(&fold(parameter.value()));
        let Some(hit) = hits.iter().find(|hit| self.policy.detects(hit.detector)) else {
            return false;
        };
        self.counts.detected = self.counts.detected.saturating_add(1);
        self.masks.whole(Piece::Value(index));
        self.reject(Kind::Detect(hit.detector), Some(name));
        true
    }

    /// Looks through one piece. What any detector finds is masked in the log; what the policy's detectors find is acted on.
    fn detect(&mut self, piece: Piece, range: Range<usize>, text: &str, whole_mrn: bool, parameter: Option<usize>) {
        if self.quiet {
            return;
        }
        let folded = fold(text);
        let mut hits = scan(&folded);
        if whole_mrn {
            hits = vec![Hit {
                detector: Detector::Mrn,
                start: 0,
                end: folded.len(),
            }];
        }
        if hits.is_empty() {
            return;
        }
        let same = matches!(folded, Cow::Borrowed(_));
        if same && !whole_mrn {
            self.masks.stretches(piece, &hits);
        } else {
            self.masks.whole(piece);
        }
        hits.retain(|hit| self.policy.detects(hit.detector));
        let Some(first) = hits.first().copied() else {
            return;
        };
        let count = u32::try_from(hits.len()).unwrap_or(u32::MAX);
        self.counts.detected = self.counts.detected.saturating_add(count);
        let action = self.policy.rules.on_detect;
        let kind = Kind::Detect(first.detector);
        let name = parameter.and_then(|index| self.known_name(index));
        let whole = !same || whole_mrn || matches!(action, Action::Reject | Action::Strip | Action::Observe);
        let raw = self.target.raw().get(range.clone()).unwrap_or_default();
        let query = !matches!(piece, Piece::Segment(_));
        let located = if whole { None } else { locate(raw, text, query, &hits) };
        match located {
            Some(stretches) => {
                for (hit, stretch) in hits.iter().zip(stretches) {
                    let at = range.start.saturating_add(stretch.start)..range.start.saturating_add(stretch.end);
                    let found = text.get(hit.start..hit.end).unwrap_or_default();
                    self.act(action, kind, name, piece, at, found);
                }
            }
            None => self.act(action, kind, name, piece, range, text),
        }
    }

    fn act(
        &mut self,
        action: Action,
        kind: Kind,
        parameter: Option<&str>,
        piece: Piece,
        range: Range<usize>,
        text: &str,
    ) {
        let counts = &mut self.counts;
        match action {
            Action::Pass => {}
            Action::Reject => self.reject(kind, parameter),
            Action::Observe => counts.observed = counts.observed.saturating_add(1),
            Action::Strip => {
                counts.stripped = counts.stripped.saturating_add(1);
                self.edits.strip(piece);
            }
            Action::Mask => {
                counts.masked = counts.masked.saturating_add(1);
                self.edits.replace(piece, range, Cow::Borrowed(MASK));
            }
            Action::Tokenize => match self.policy.pseudonym(text) {
                Some(token) => {
                    counts.tokenized = counts.tokenized.saturating_add(1);
                    self.edits.replace(piece, range, Cow::Owned(token));
                }
                None => self.reject(kind, parameter),
            },
        }
    }

    fn reject(&mut self, kind: Kind, parameter: Option<&str>) {
        self.rejection.get_or_insert_with(|| Rejection {
            kind,
            parameter: parameter.map(str::to_owned),
        });
    }

    /// A parameter's name for an answer: only in words of ours, since a name may be PHI itself.
    fn known_name(&self, index: usize) -> Option<&'t str> {
        let base = self.target.parameters().get(index)?.base_name();
        let known = names::is_phi_anywhere(base)
            || names::RESULT_PARAMETERS.contains(&base)
            || self.policy.rules.query.iter().any(|(name, _)| name == base);
        known.then_some(base)
    }
}

impl Kind {
    /// A stable code for audit records and metrics: `path`, `query`, or the detector's.
    pub fn code(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Detect(detector) => detector.code(),
        }
    }
}

#[cfg(test)]
mod tests;
