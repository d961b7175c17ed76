//! Free text in which PHI may stand, and URLs with PHI.

use std::ops::Range;

use super::super::detect::Hit;
use super::super::rewrite::MASK;
use super::super::{Action, Counts, Kind, Outcome, PhiPolicy, Rejection, Scene, Way, generalize};
use crate::url::{Target, decode_once_mapped, fold};

/// What becomes of a text.
pub(in super::super) enum Found {
    /// It stays.
    Nothing,
    /// It becomes this.
    Replace(String),
    /// What it stands in goes.
    Strip,
    /// The request is refused.
    Reject(Rejection),
}

impl PhiPolicy {
    /// A text for people that goes to the client, such as `OperationOutcome.issue.diagnostics`, with `***` in the place of what the detectors find and
    /// of PHI in what looks like a URL (`Patient/7`, `name=..`, with host or without). `None` where it stays as it is.
    pub fn judge_text(&self, text: &str, scene: &Scene<'_>) -> Option<String> {
        mask_over_and_over(text, &|text| {
            let urls = self.mask_urls(text, scene);
            self.mask_once(urls.as_deref().unwrap_or(text), scene).or(urls)
        })
    }

    /// A text that goes to the client with `***` in the place of what the detectors find; `None` where they find nothing.
    pub(super) fn mask_found(&self, text: &str, scene: &Scene<'_>) -> Option<String> {
        mask_over_and_over(text, &|text| self.mask_once(text, scene))
    }

    fn mask_once(&self, text: &str, scene: &Scene<'_>) -> Option<String> {
        match self.judge_free_text(text, Way::Out, scene, &mut Counts::default()) {
            Found::Nothing => None,
            Found::Replace(masked) => Some(masked),
            Found::Strip | Found::Reject(_) => Some(MASK.to_owned()),
        }
    }

    /// What an action means for a text: what goes out is masked, unless it may be seen.
    pub(in super::super) fn on_text(&self, action: Action, way: Way) -> Action {
        match way {
            Way::In => action,
            Way::Body => self.in_body(action),
            Way::Out => match self.rules.on_response.unwrap_or(action) {
                shown @ (Action::Observe | Action::Pass) => shown,
                _ => Action::Mask,
            },
        }
    }

    /// The pseudonym of a text, or the text itself where it is one.
    pub(in super::super) fn token(&self, text: &str) -> Option<String> {
        self.pseudonym(text).map(std::borrow::Cow::into_owned)
    }

    /// Runs the detectors over a text, as it stands and percent-decoded. Stretches become what their action says; the whole text does where they can
    /// only be found in it decoded.
    pub(in super::super) fn judge_free_text(
        &self,
        text: &str,
        way: Way,
        scene: &Scene<'_>,
        counts: &mut Counts,
    ) -> Found {
        let mut stretches = self.found(text, way);
        if text.contains('%') {
            let hidden = decode_fully(text).map_or_else(Vec::new, |decoded| self.found(&decoded, way));
            if hidden.len() > stretches.len() {
                let strictest =
                    hidden
                        .into_iter()
                        .reduce(|one, other| match PhiPolicy::stricter(one.1, other.1) == one.1 {
                            true => one,
                            false => other,
                        });
                let whole = |(_, action, kind)| (0..text.len(), action, kind);
                stretches = strictest.map(whole).into_iter().collect();
            }
        }
        let mut out = String::with_capacity(text.len());
        let (mut at, mut changed) = (0_usize, false);
        for (range, action, kind) in stretches {
            counts.detected = counts.detected.saturating_add(1);
            let stretch = text.get(range.clone()).unwrap_or_default();
            let refuse = |kind| {
                Found::Reject(Rejection {
                    kind,
                    parameter: None,
                    resource: None,
                })
            };
            let (count, shown) = match action {
                Action::Pass => continue,
                Action::Observe => {
                    counts.observed = counts.observed.saturating_add(1);
                    continue;
                }
                Action::Reject | Action::Seal => return refuse(kind),
                Action::Strip => return Found::Strip,
                Action::Mask => (&mut counts.masked, MASK.to_owned()),
                Action::Tokenize => match self.token(stretch) {
                    Some(token) => (&mut counts.tokenized, token),
                    None => return refuse(kind),
                },
                Action::Generalize => match generalize::generalize(stretch, "", scene.year) {
                    Some(coarse) => (&mut counts.generalized, coarse),
                    None => return refuse(kind),
                },
            };
            *count = count.saturating_add(1);
            out.push_str(text.get(at..range.start).unwrap_or_default());
            out.push_str(&shown);
            at = range.end;
            changed = true;
        }
        out.push_str(text.get(at..).unwrap_or_default());
        if changed && out != text {
            Found::Replace(out)
        } else {
            Found::Nothing
        }
    }

    /// What the policy's detectors find in a text, where, and what is to be done with it.
    fn found(&self, text: &str, way: Way) -> Vec<(Range<usize>, Action, Kind)> {
        let folded = fold(text);
        let mut hits = self.detectors.scan(&folded, "");
        hits.retain(|hit| self.detectors.action(hit.finder, "").is_some());
        let places = unfolded(text, &hits);
        let told = |(hit, place): (&Hit, Range<usize>)| {
            let own = self.detectors.action(hit.finder, "").flatten();
            let action = self.on_text(own.unwrap_or(self.rules.on_detect), way);
            (place, action, Kind::Detect(self.detectors.code(hit.finder)))
        };
        hits.iter().zip(places).map(told).collect()
    }

    fn mask_urls(&self, text: &str, scene: &Scene<'_>) -> Option<String> {
        let mut out = String::with_capacity(text.len());
        let (mut rest, mut changed) = (text, false);
        while !rest.is_empty() {
            let length = rest.find(ends_a_word).unwrap_or(rest.len());
            let (word, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
            match self.mask_word(word, scene) {
                Some(masked) => {
                    changed = true;
                    out.push_str(&masked);
                }
                None => out.push_str(word),
            }
            rest = after;
            let Some(end) = rest.chars().next() else { break };
            out.push(end);
            rest = rest.get(end.len_utf8()..).unwrap_or_default();
            // `name='Ada'`: what is quoted is the value.
            if matches!(end, '"' | '\'' | '`')
                && word.ends_with('=')
                && self.refers_to_person(&[word, "x"].concat())
                && self.on_text(self.rules.on_query, Way::Out) == Action::Mask
            {
                let length = rest.find(end).unwrap_or(rest.len());
                let (value, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
                if !value.is_empty() && value != MASK {
                    changed = true;
                }
                out.push_str(if value.is_empty() { "" } else { MASK });
                rest = after;
            }
        }
        changed.then_some(out)
    }

    /// A word that looks like a URL, or like a part of one, with PHI in it masked.
    fn mask_word(&self, word: &str, scene: &Scene<'_>) -> Option<String> {
        let trimmed = word.trim_end_matches(['.', ',', ':', '!', '?']);
        let tail = word.get(trimmed.len()..).unwrap_or_default();
        if !trimmed.contains(['/', '?', '=', '%']) {
            return None;
        }
        let colon = trimmed.find("://");
        let scheme = trimmed.get(..colon.unwrap_or_default()).unwrap_or_default();
        let (start, before) = match colon {
            // What stands before a URL within a URL belongs to it.
            Some(colon) if !scheme.contains(['/', '?', '=']) => {
                let is_scheme = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'.' | b'-');
                let length = scheme.bytes().rev().take_while(is_scheme).count();
                let start = colon.saturating_sub(length);
                let name = scheme.get(start..).unwrap_or_default();
                let http = name.eq_ignore_ascii_case("http") || name.eq_ignore_ascii_case("https");
                if http { (start, "") } else { (colon, "http") }
            }
            _ if trimmed.starts_with('/') => (0, ""),
            _ if trimmed.contains(['/', '?']) => (0, "/"),
            _ if trimmed.contains('=') => (0, "/?"),
            _ => (0, "/"),
        };
        let (head, url) = trimmed.split_at_checked(start).unwrap_or(("", trimmed));
        let head_masked = if start > 0 { self.mask_word(head, scene) } else { None };
        let masked = self.mask_url(before, url, scene);
        if head_masked.is_none() && masked.is_none() {
            return None;
        }
        let head = head_masked.as_deref().unwrap_or(head);
        Some([head, masked.as_deref().unwrap_or(url), tail].concat())
    }

    fn mask_url(&self, before: &str, url: &str, scene: &Scene<'_>) -> Option<String> {
        let whole = [before, url].concat();
        let Ok(target) = Target::parse(whole.as_bytes()) else {
            // No URL, or none that can be read: then what it says once decoded decides.
            let decoded = decode_fully(url).unwrap_or_else(|| url.to_owned());
            let acts = self.refers_to_person(&decoded) && self.on_text(self.rules.on_query, Way::Out) == Action::Mask;
            let found = self.found(&decoded, Way::Out);
            let acts = acts || found.iter().any(|(_, action, _)| *action == Action::Mask);
            return (acts && url != MASK).then(|| MASK.to_owned());
        };
        if self.hides_a_person(&target) {
            return (url != MASK).then(|| MASK.to_owned());
        }
        let judgement = self.judge_target(&target, Way::Out, scene);
        if matches!(judgement.outcome, Outcome::Pass) || judgement.counts == Counts::default() {
            return None;
        }
        let shown = judgement.log_safe.strip_prefix(before).unwrap_or(MASK);
        (shown != url).then(|| shown.to_owned())
    }
}

/// What is masked can bring out what stood beside it.
fn mask_over_and_over(text: &str, mask: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let mut now = mask(text)?;
    for _ in 0..8 {
        match mask(&now) {
            Some(next) => now = next,
            None => return Some(now),
        }
    }
    Some(MASK.to_owned())
}

/// What no URL in a text goes beyond. `;`, `#` and `\` are among it, since they make a URL unreadable.
fn ends_a_word(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(
            c,
            '"' | '\'' | '`' | '<' | '>' | '(' | ')' | '[' | ']' | '{' | '}' | ';' | '#' | '\\' | '“' | '”' | '‘' | '’'
        )
}

/// Where hits in a folded text stand in the text itself.
fn unfolded(text: &str, hits: &[Hit]) -> Vec<Range<usize>> {
    if text.is_ascii() || hits.is_empty() {
        return hits.iter().map(|hit| hit.start..hit.end).collect();
    }
    // Where each character ends, folded and as it is.
    let (mut ends, mut folded) = (Vec::with_capacity(text.len()), 0_usize);
    let mut buffer = [0; 4];
    for (at, c) in text.char_indices() {
        folded = folded.saturating_add(fold(c.encode_utf8(&mut buffer)).len());
        ends.push((folded, at.saturating_add(c.len_utf8())));
    }
    let place = |hit: &Hit| {
        let before = ends.partition_point(|(end, _)| *end <= hit.start);
        let last = ends.partition_point(|(end, _)| *end < hit.end);
        let start = before.checked_sub(1).and_then(|index| ends.get(index));
        start.map_or(0, |(_, end)| *end)..ends.get(last).map_or(text.len(), |(_, end)| *end)
    };
    hits.iter().map(place).collect()
}

/// Percent-decodes to a fixed point, taking a `%` that is no escape for itself; `None` where that is no text, or goes on and on.
pub(in super::super) fn decode_fully(text: &str) -> Option<String> {
    let mut text = text.to_owned();
    for _ in 0..8 {
        if !text.contains('%') {
            return Some(text);
        }
        let bytes = decode_once_mapped(text.as_bytes(), false)
            .map(|(byte, _)| byte)
            .collect();
        let next = String::from_utf8(bytes).ok()?;
        if next == text {
            return Some(text);
        }
        text = next;
    }
    None
}
