//! One judgement of a target: each piece by template, name, preset and recogniser.

use std::borrow::Cow;
use std::cell::LazyCell;
use std::ops::{Deref, Range};

use super::detect::Hit;
use super::names::{self, Scope, phi_name};
use super::rewrite::{Edits, LogMasks, MASK, Piece, locate};
use super::{Action, Counts, Kind, PARAMETER, PhiPolicy, Rejection, SEGMENT, Scene, Way, generalize};
use crate::seal::{Opened, Sealer};
use crate::url::{Parameter, Target, fold, push_encoded};

/// A piece, and what a value that is sealed there is bound to.
type At<'b> = (Piece, (&'b str, &'b str));

/// One judgement under way.
pub(super) struct Pass<'p, 't, 'a> {
    policy: &'p PhiPolicy,
    target: &'t Target<'a>,
    way: Way,
    scene: &'p Scene<'p>,
    /// Under which policy's name the target's pieces are sealed, asked once: `Some(None)` where they can't be.
    seals_for: Option<Option<String>>,
    /// Whether something that is masked in the log goes on in the clear.
    pub(super) shows: bool,
    pub(super) edits: Edits<'t, 'a>,
    pub(super) masks: LogMasks,
    pub(super) counts: Counts,
    pub(super) rejection: Option<Rejection>,
    /// Nothing in the raw bytes that a detector could find.
    quiet: bool,
}

impl<'p, 't, 'a> Pass<'p, 't, 'a> {
    pub(super) fn new(policy: &'p PhiPolicy, target: &'t Target<'a>, way: Way, scene: &'p Scene<'p>) -> Self {
        Self {
            policy,
            target,
            way,
            scene,
            seals_for: None,
            shows: false,
            edits: Edits::new(target),
            masks: LogMasks::default(),
            counts: Counts::default(),
            rejection: None,
            quiet: target.is_plain() && !policy.detectors.may_hold(target.raw()),
        }
    }

    pub(super) fn path(&mut self) {
        let target = self.target;
        // What is sealed is bound to the last segment that nothing becomes of: it is the same on both ways.
        let (mut before, mut anchor) = ("", "");
        for (index, segment) in target.segments().iter().enumerate() {
            let text = segment.text();
            let piece = Piece::Segment(index);
            let place = (SEGMENT, anchor);
            let action = self.policy.segment_action(target, index, before);
            if action.is_none() && !Sealer::is_sealed(text) {
                anchor = text;
            }
            if self.opened(piece, segment.range(), place, text) {
                // The upstream gets what stands behind it.
            } else if let Some(action) = action {
                self.masks.whole(piece);
                self.act(action, Kind::Path, None, (piece, place), segment.range(), text);
            } else {
                self.detect((piece, place), before, segment.range(), text, None);
            }
            before = text;
        }
    }

    /// Opens a piece that is sealed; `false` where it is not.
    fn opened(&mut self, piece: Piece, range: Range<usize>, place: (&str, &str), text: &str) -> bool {
        let policy = self.policy;
        let Some(sealer) = policy.secrets.sealer.as_ref().filter(|_| Sealer::is_sealed(text)) else {
            return false;
        };
        if self.way == Way::Out {
            // What only looks sealed is looked through as any text.
            let sealed = sealer.knows(text);
            if sealed {
                self.masks.whole(piece);
            }
            return sealed;
        }
        self.masks.whole(piece);
        match policy.unseal(self.target, self.scene, place, text) {
            Opened::Value(value) => {
                let mut raw = String::new();
                push_encoded(&mut raw, &value, piece.part());
                self.counts.opened = self.counts.opened.saturating_add(1);
                self.shows = true;
                self.edits.replace(piece, range, Cow::Owned(raw));
            }
            Opened::NotSealed | Opened::Forged => self.reject(Kind::Sealed, None),
        }
        true
    }

    pub(super) fn query(&mut self) {
        let target = self.target;
        let scope = LazyCell::new(|| Scope::of(target));
        let parameters: &'t [Parameter<'a>] = self.target.parameters();
        for (index, parameter) in parameters.iter().enumerate() {
            if !self.unknown(index, parameter) {
                self.parameter(index, parameter, &scope);
            }
        }
    }

    /// Looks through a parameter of which nothing is said by name; `false` where something is.
    fn unknown(&mut self, index: usize, parameter: &Parameter<'_>) -> bool {
        let policy = self.policy;
        let value = parameter.value();
        let refers = || policy.rules.preset.is_some() && names::refers_to_person(&fold(value));
        if policy.strict || !policy.known.excludes(parameter.name()) || refers() {
            return false;
        }
        let place = (Piece::Value(index), (PARAMETER, parameter.base_name()));
        let name_place = (Piece::Name(index), (PARAMETER, ""));
        self.detect(name_place, "", parameter.name_range(), parameter.name(), Some(index));
        if let Some(range) = parameter.value_range()
            && !self.opened(place.0, range.clone(), place.1, value)
        {
            self.detect(place, parameter.name(), range, value, Some(index));
        }
        true
    }

    fn parameter(
        &mut self,
        index: usize,
        parameter: &'t Parameter<'a>,
        scope: &LazyCell<Scope, impl FnOnce() -> Scope>,
    ) {
        let policy = self.policy;
        if names::is_secret(parameter.name()) {
            self.masks.whole(Piece::Value(index));
            self.shows = true;
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
        let value_place = (Piece::Value(index), (PARAMETER, parameter.base_name()));
        let name_place = (Piece::Name(index), (PARAMETER, ""));
        if let Some((name, action)) = found {
            let free_text = by_preset.is_some() && names::is_free_text(name);
            if free_text && self.rejected_text(index, parameter, name) {
                return;
            }
            let name = (!name.is_empty()).then_some(name);
            self.detect(name_place, "", parameter.name_range(), parameter.name(), Some(index));
            match parameter.value_range() {
                Some(range) if !parameter.value().is_empty() => {
                    if self.opened(value_place.0, range.clone(), value_place.1, parameter.value()) {
                        return;
                    }
                    self.masks.whole(Piece::Value(index));
                    self.act(action, Kind::Query, name, value_place, range, parameter.value());
                }
                // All that it says stands in the name, after the base name.
                _ => {
                    self.masks.whole(Piece::Name(index));
                    self.act(
                        action,
                        Kind::Query,
                        name,
                        name_place,
                        parameter.name_range(),
                        parameter.name(),
                    );
                }
            }
            return;
        }
        self.detect(name_place, "", parameter.name_range(), parameter.name(), Some(index));
        let range = parameter.value_range().unwrap_or_default();
        if policy.strict && !names::is_result_parameter(parameter) {
            let piece = if parameter.has_value() {
                Piece::Value(index)
            } else {
                Piece::Name(index)
            };
            self.masks.whole(piece);
        } else if parameter.has_value() && !self.opened(value_place.0, range.clone(), value_place.1, parameter.value())
        {
            self.detect(value_place, parameter.name(), range, parameter.value(), Some(index));
        }
    }

    /// The name under which the preset says that a parameter carries PHI; "" where only its value says so.
    fn by_preset(
        &self,
        parameter: &Parameter<'_>,
        scope: &impl Deref<Target = Scope>,
        passed: bool,
    ) -> Option<&'static str> {
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

    /// Rejects a free-text parameter in which a detector of the policy finds something that is to be rejected.
    fn rejected_text(&mut self, index: usize, parameter: &Parameter<'_>, name: &str) -> bool {
        let policy = self.policy;
        if self.way == Way::Out {
            return false;
        }
        let hits = policy.detectors.scan(&fold(parameter.value()), &fold(parameter.name()));
        let rejects = |hit: &&Hit| self.detected_action(hit, parameter.base_name()) == Some(Action::Reject);
        let Some(hit) = hits.iter().find(rejects) else {
            return false;
        };
        self.counts.detected = self.counts.detected.saturating_add(1);
        self.masks.whole(Piece::Value(index));
        self.reject(Kind::Detect(policy.detectors.code(hit.finder)), Some(name));
        true
    }

    /// What becomes of what was found; `None` where it only has no place in logs.
    fn detected_action(&self, hit: &Hit, context: &str) -> Option<Action> {
        let own = self.policy.detectors.action(hit.finder, context)?;
        let action = own.unwrap_or(self.policy.rules.on_detect);
        Some(match self.way {
            Way::Body => self.policy.in_body(action),
            Way::In | Way::Out => action,
        })
    }

    /// Looks through one piece. What any detector finds is masked in the log; what the policy's detectors find is acted on.
    fn detect(&mut self, at: At<'_>, context: &str, range: Range<usize>, text: &str, parameter: Option<usize>) {
        if self.quiet || text.is_empty() || self.policy.is_pseudonym(text) {
            return;
        }
        let (piece, (what, name)) = at;
        // The words of a chain say what a value is; a policy names the base.
        let excepted = if what == PARAMETER { name } else { context };
        let folded = fold(text);
        let mut hits = self.policy.detectors.scan(&folded, &fold(context));
        if hits.is_empty() {
            return;
        }
        self.look_again(&folded, &fold(context), &mut hits);
        // What is left of a name could be another name.
        let same = matches!(folded, Cow::Borrowed(_)) && !matches!(piece, Piece::Name(_));
        if same {
            self.masks.stretches(piece, &hits);
        } else {
            self.masks.whole(piece);
        }
        let found = hits.len();
        hits.retain(|hit| self.detected_action(hit, excepted).is_some());
        self.shows |= hits.len() < found;
        let Some(first) = hits.first().copied() else {
            return;
        };
        let count = u32::try_from(hits.len()).unwrap_or(u32::MAX);
        self.counts.detected = self.counts.detected.saturating_add(count);
        let actions: Vec<Action> = hits
            .iter()
            .filter_map(|hit| self.detected_action(hit, excepted))
            .collect();
        let strictest = actions.iter().copied().fold(Action::Pass, PhiPolicy::stricter);
        let name = parameter.and_then(|index| self.known_name(index));
        let whole = !same
            || matches!(
                strictest,
                Action::Reject | Action::Strip | Action::Seal | Action::Observe
            );
        let raw = self.target.raw().get(range.clone()).unwrap_or_default();
        let query = !matches!(piece, Piece::Segment(_));
        let located = if whole { None } else { locate(raw, text, query, &hits) };
        let code = |hit: &Hit| Kind::Detect(self.policy.detectors.code(hit.finder));
        match located {
            Some(stretches) => {
                for ((hit, action), stretch) in hits.iter().zip(actions).zip(stretches) {
                    let at_raw = range.start.saturating_add(stretch.start)..range.start.saturating_add(stretch.end);
                    let found = text.get(hit.start..hit.end).unwrap_or_default();
                    let kind = code(hit);
                    self.act(action, kind, name, at, at_raw, found);
                }
            }
            None => {
                let worst = hits
                    .iter()
                    .find(|hit| self.detected_action(hit, excepted) == Some(strictest));
                let kind = code(worst.unwrap_or(&first));
                self.act(strictest, kind, name, at, range, text);
            }
        }
    }

    /// What is found may have hidden what stands beside it (`a@b.org512-34-5678`): looks again without it.
    fn look_again(&self, text: &str, context: &str, hits: &mut Vec<Hit>) {
        for _ in 0..4 {
            let mut rest = text.as_bytes().to_vec();
            for hit in hits.iter() {
                rest.get_mut(hit.start..hit.end).unwrap_or_default().fill(0);
            }
            // Hits begin and end where characters do.
            let more = self.policy.detectors.scan(&String::from_utf8_lossy(&rest), context);
            let apart = |new: &Hit| hits.iter().all(|hit| new.end <= hit.start || hit.end <= new.start);
            let more: Vec<Hit> = more.into_iter().filter(apart).collect();
            if more.is_empty() {
                return;
            }
            hits.extend(more);
            hits.sort_by_key(|hit| hit.start);
        }
    }

    fn act(
        &mut self,
        action: Action,
        kind: Kind,
        parameter: Option<&str>,
        (piece, place): (Piece, (&str, &str)),
        range: Range<usize>,
        text: &str,
    ) {
        let policy = self.policy;
        let action = match self.way {
            Way::In => action,
            Way::Out => self.outward(action, piece, place),
            Way::Body => policy.in_body(action),
        };
        let count = |n: &mut u32| *n = n.saturating_add(1);
        match action {
            Action::Pass => {}
            Action::Reject => self.reject(kind, parameter),
            Action::Observe => {
                count(&mut self.counts.observed);
                self.shows = true;
            }
            Action::Strip => {
                count(&mut self.counts.stripped);
                self.edits.strip(piece);
            }
            Action::Mask => {
                count(&mut self.counts.masked);
                self.edits.replace(piece, range, Cow::Borrowed(MASK));
            }
            Action::Generalize => match generalize::generalize(text, place.1, self.scene.year) {
                Some(coarse) => {
                    count(&mut self.counts.generalized);
                    let mut raw = String::new();
                    push_encoded(&mut raw, &coarse, piece.part());
                    self.edits.replace(piece, range, Cow::Owned(raw));
                }
                None => self.refuse_or_mask(kind, parameter, piece, range),
            },
            Action::Tokenize => {
                let tokens = match (&kind, piece) {
                    (Kind::Query, Piece::Value(_)) => policy.pseudonyms(text),
                    _ => policy.pseudonym(text).map(Cow::into_owned),
                };
                match tokens {
                    Some(tokens) if tokens == text => {}
                    Some(tokens) => {
                        count(&mut self.counts.tokenized);
                        let mut raw = String::new();
                        push_encoded(&mut raw, &tokens, piece.part());
                        self.edits.replace(piece, range, Cow::Owned(raw));
                    }
                    None => self.refuse_or_mask(kind, parameter, piece, range),
                }
            }
            // What comes sealed was opened before.
            Action::Seal if self.way != Way::Out => self.reject(kind, parameter),
            Action::Seal => {
                let name = self.seals_for.as_ref().and_then(Option::as_deref);
                let sealed = name
                    .zip(policy.secrets.sealer.as_ref())
                    .and_then(|(name, sealer)| sealer.seal(&[name, place.0, place.1], text));
                match sealed {
                    Some(sealed) => {
                        count(&mut self.counts.sealed);
                        self.edits.replace(piece, range, Cow::Owned(sealed));
                    }
                    None => self.refuse_or_mask(kind, parameter, piece, range),
                }
            }
        }
    }

    /// What an action becomes for a URL that goes out.
    fn outward(&mut self, action: Action, piece: Piece, (_, name): (&str, &str)) -> Action {
        let policy = self.policy;
        let action = policy.rules.on_response.unwrap_or(match action {
            Action::Reject => Action::Seal,
            Action::Strip if matches!(piece, Piece::Segment(_)) || !policy.may_strip(name) => Action::Seal,
            other => other,
        });
        if action != Action::Seal {
            return action;
        }
        let (target, scene) = (self.target, self.scene);
        let local = || {
            let secure = target.raw().get(4).is_some_and(|byte| byte.eq_ignore_ascii_case(&b's'));
            let ours = |authority: &str| {
                without_port(authority.as_bytes(), secure).eq_ignore_ascii_case(without_port(scene.authority, secure))
            };
            if policy.secrets.sealer.is_none() || !target.authority().is_none_or(ours) {
                return None;
            }
            (scene.opens)(target)
        };
        // Only a whole piece opens again.
        let whole = !matches!(piece, Piece::Name(_));
        if self.seals_for.get_or_insert_with(local).is_some() && whole {
            Action::Seal
        } else {
            Action::Mask
        }
    }

    /// What can't be done in a request is refused, in a response masked.
    fn refuse_or_mask(&mut self, kind: Kind, parameter: Option<&str>, piece: Piece, range: Range<usize>) {
        match self.way {
            Way::In | Way::Body => self.reject(kind, parameter),
            Way::Out => {
                self.counts.masked = self.counts.masked.saturating_add(1);
                self.edits.replace(piece, range, Cow::Borrowed(MASK));
            }
        }
    }

    fn reject(&mut self, kind: Kind, parameter: Option<&str>) {
        let target = self.target;
        self.rejection.get_or_insert_with(|| Rejection {
            kind,
            parameter: parameter.map(str::to_owned),
            resource: names::searched(target),
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

/// A host without the port that is its scheme's own (RFC 9110 4.2.1, 4.2.2).
fn without_port(authority: &[u8], secure: bool) -> &[u8] {
    let port: &[u8] = if secure { b":443" } else { b":80" };
    authority.strip_suffix(port).unwrap_or(authority)
}
