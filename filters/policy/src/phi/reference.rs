//! URL references (RFC 3986 4.1) within headers and bodies.
//!
//! 1. What comes back is the same kind of reference as before, with only the bytes concerned changed; a path with dot segments comes back in its
//!    canonical form.
//! 2. `http(s)://host/..`, `//host/..`, `/..`, `?..` and relative paths are judged as targets, and so are those of other schemes with a host
//!    (`ws://`). Dot segments at the start stay.
//! 3. What a relative path is relative to is not known. Under the preset a first segment that is none of FHIR's words counts as a person's id, for
//!    `7/_history/2` may stand below `/Patient/`.
//! 4. Into what has another scheme and no host (`urn:`, `mailto:`, `tel:`, `data:`) the detectors look, and the preset for `Patient/7` and
//!    `name=..`. `data:` in base64 can't be looked into.
//! 5. A fragment stays where it is harmless both as a query and as a path (`#/Patient/7`), and nothing changes before it; else it goes. None belongs
//!    into a request.
//! 6. Unreadable is what [`Target::parse`] refuses, controls, a host in which a detector finds something, and a person's type that something else than
//!    a slash stands before (`/x,Patient/7`). Addresses are no find in a host.

use super::pass::Pass;
use super::places::text::{Found, decode_fully};
use super::rewrite::MASK;
use super::{Action, Counts, Kind, Outcome, PhiPolicy, Rejection, Scene, Way, names};
use crate::seal::Sealer;
use crate::url::{MAX_LENGTH, Target, fold};

/// What becomes of a reference.
pub(super) enum Fate {
    /// It stays.
    Keep,
    /// It becomes this.
    Replace(String),
    /// It can't be read, so it can't stay.
    Unreadable,
    /// The request is refused.
    Reject(Rejection),
}

/// What becomes of a reference, and what was done to it.
pub(super) struct Judged {
    pub(super) fate: Fate,
    pub(super) counts: Counts,
    /// Whether PHI in it goes on in the clear.
    pub(super) shows: bool,
}

impl Judged {
    fn plain(fate: Fate) -> Self {
        Judged {
            fate,
            counts: Counts::default(),
            shows: false,
        }
    }

    /// Puts something back before what was judged.
    fn after(mut self, before: &str) -> Self {
        if let Fate::Replace(text) = &mut self.fate {
            text.insert_str(0, before);
        }
        self
    }
}

/// The kinds of references, as far as they are judged in different ways.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Http,
    /// `//host/path`
    Network,
    /// `/path`
    Absolute,
    /// `path` or `?query`
    Relative,
    /// Another scheme with a host; where its colon is.
    Hosted(usize),
    /// Another scheme without a host; where its colon is.
    Opaque(usize),
    Broken,
}

/// How often what was judged is judged again.
const MAX_ROUNDS: usize = 8;

/// Before a first segment that may be an id: an operation, so that parameters count that carry PHI on any type.
const UNKNOWN_BASE: &str = "/$/Patient/";

impl PhiPolicy {
    /// Judges a URL reference.
    pub(super) fn judge_reference(&self, text: &str, way: Way, scene: &Scene<'_>) -> Judged {
        let mut judged = self.judge_once(text, way, scene);
        if way != Way::Out {
            return judged;
        }
        // What is masked can bring out what stood beside it, as a number after an address does.
        for _ in 0..MAX_ROUNDS {
            let Fate::Replace(now) = &judged.fate else {
                return judged;
            };
            let again = self.judge_once(now, way, scene);
            if matches!(again.fate, Fate::Keep) {
                return judged;
            }
            judged.counts.add(again.counts);
            judged.fate = again.fate;
        }
        judged.fate = Fate::Unreadable;
        judged
    }

    fn judge_once(&self, text: &str, way: Way, scene: &Scene<'_>) -> Judged {
        if text == MASK {
            return Judged::plain(Fate::Keep);
        }
        if text.len() > MAX_LENGTH || text.chars().any(char::is_control) {
            return Judged::plain(Fate::Unreadable);
        }
        let Some((body, fragment)) = text.split_once('#') else {
            return self.judge_main(text, way, scene);
        };
        if way != Way::Out {
            return Judged::plain(Fate::Unreadable);
        }
        let mut judged = self.judge_main(body, way, scene);
        // Where something was found before it, it may say the same again.
        if matches!(judged.fate, Fate::Keep) {
            if self.is_harmless_fragment(fragment, scene) {
                return judged;
            }
            judged.fate = Fate::Replace(body.to_owned());
            judged.counts.stripped = judged.counts.stripped.saturating_add(1);
        }
        judged
    }

    /// Whether a reference holds nothing that the policy acts on, nor anything that no log may hold.
    pub(super) fn is_harmless(&self, text: &str, scene: &Scene<'_>) -> bool {
        let judged = self.judge_reference(text, Way::Out, scene);
        matches!(judged.fate, Fate::Keep) && !judged.shows
    }

    /// Judges the parameters of a search of what the path of `target` names. What comes back is the query; `Keep` where nothing changes.
    pub(super) fn judge_query(&self, target: &Target<'_>, query: &str, way: Way, scene: &Scene<'_>) -> Judged {
        let path = target.raw().get(target.path_range()).unwrap_or_default();
        let path = if path.starts_with(b"/") { path } else { b"/" };
        let whole = [path, b"?", query.as_bytes()].concat();
        let Ok(searched) = Target::parse(&whole) else {
            return Judged::plain(Fate::Unreadable);
        };
        let mut pass = Pass::new(self, &searched, way, scene);
        pass.query();
        let fate = match pass.rejection {
            Some(rejection) => Fate::Reject(rejection),
            None if pass.edits.is_empty() => Fate::Keep,
            None => match String::from_utf8(pass.edits.apply()) {
                Ok(text) => match text.split_once('?').map_or("", |(_, query)| query) {
                    same if same == query => Fate::Keep,
                    other => Fate::Replace(other.to_owned()),
                },
                Err(_) => Fate::Unreadable,
            },
        };
        Judged {
            fate,
            counts: pass.counts,
            shows: pass.shows,
        }
    }

    fn judge_main(&self, text: &str, way: Way, scene: &Scene<'_>) -> Judged {
        match form(text) {
            Form::Broken => Judged::plain(Fate::Unreadable),
            Form::Http | Form::Absolute => self.judge_behind("", text, way, scene),
            Form::Network => self.judge_behind("http:", text, way, scene),
            Form::Relative => self.judge_relative(text, way, scene),
            Form::Hosted(colon) => {
                let (scheme, rest) = text.split_at_checked(colon).unwrap_or((text, ""));
                self.judge_behind("http", rest, way, scene).after(scheme)
            }
            Form::Opaque(colon) => {
                let (scheme, rest) = text.split_at_checked(colon.saturating_add(1)).unwrap_or((text, ""));
                self.judge_opaque(scheme, rest, way, scene).after(scheme)
            }
        }
    }

    fn judge_relative(&self, text: &str, way: Way, scene: &Scene<'_>) -> Judged {
        let (dots, rest) = text.split_at_checked(leading_dots(text)).unwrap_or(("", text));
        if rest.is_empty() {
            return Judged::plain(Fate::Keep);
        }
        if let Ok(target) = Target::parse([b"/", rest.as_bytes()].concat().as_slice())
            && target.has_dot_segments()
        {
            let mut path = String::new();
            target.render_path(&mut path, |_, _| None);
            let query = rest.find('?').and_then(|at| rest.get(at..)).unwrap_or_default();
            // A slash at its start would make another kind of it.
            let path = path.strip_prefix('/').unwrap_or_default();
            let canonical = [if path.is_empty() { "./" } else { path }, query].concat();
            let mut judged = self.judge_relative(&canonical, way, scene);
            if matches!(judged.fate, Fate::Keep) {
                judged.fate = Fate::Replace(canonical);
            }
            return judged.after(dots);
        }
        let first = rest.split(['/', '?']).next().unwrap_or_default();
        let shown = || {
            Target::parse([b"/", rest.as_bytes()].concat().as_slice())
                .is_ok_and(|target| names::shows_its_base(&target))
        };
        let known =
            self.rules.preset.is_none() || first.is_empty() || names::is_word(first) || (way == Way::Out && shown());
        let before = if known { "/" } else { UNKNOWN_BASE };
        self.judge_behind(before, rest, way, scene).after(dots)
    }

    /// Judges a target that begins with `before`, which is taken off again.
    fn judge_behind(&self, before: &str, text: &str, way: Way, scene: &Scene<'_>) -> Judged {
        let whole = [before, text].concat();
        let Ok(target) = Target::parse(whole.as_bytes()) else {
            return Judged::plain(Fate::Unreadable);
        };
        if self.hides_in_host(&target, way) || self.hides_a_person(&target) {
            return Judged::plain(Fate::Unreadable);
        }
        let judgement = self.judge_target(&target, way, scene);
        let fate = match judgement.outcome {
            Outcome::Pass => Fate::Keep,
            Outcome::Reject(rejection) => Fate::Reject(rejection),
            Outcome::Rewrite(bytes) => {
                // A mask can end a word that had hidden a type.
                let hides = Target::parse(&bytes).map_or(true, |again| self.hides_a_person(&again));
                let rewritten = String::from_utf8(bytes).ok().filter(|_| !hides);
                match rewritten.as_deref().and_then(|whole| whole.strip_prefix(before)) {
                    Some(same) if same == text => Fate::Keep,
                    // Nothing may turn a reference into one of another kind, such as a first segment `//`.
                    Some(other) if form(other) == form(text) => Fate::Replace(other.to_owned()),
                    _ => Fate::Unreadable,
                }
            }
        };
        Judged {
            fate,
            counts: judgement.counts,
            shows: judgement.shows,
        }
    }

    fn judge_opaque(&self, scheme: &str, rest: &str, way: Way, scene: &Scene<'_>) -> Judged {
        let media = rest.split(',').next().unwrap_or_default().to_ascii_lowercase();
        let Some(decoded) = decode_fully(rest) else {
            return Judged::plain(Fate::Unreadable);
        };
        if scheme.eq_ignore_ascii_case("data:") && media.contains("base64") {
            return Judged::plain(Fate::Unreadable);
        }
        let mut judged = Judged::plain(Fate::Keep);
        if self.refers_to_person(&decoded) {
            judged.fate = match self.on_text(self.rules.on_query, way) {
                Action::Pass => Fate::Keep,
                Action::Observe => {
                    judged.counts.observed = 1;
                    judged.shows = true;
                    Fate::Keep
                }
                Action::Tokenize if let Some(token) = self.token(&decoded) => {
                    judged.counts.tokenized = 1;
                    Fate::Replace(token)
                }
                Action::Mask => {
                    judged.counts.masked = 1;
                    Fate::Replace(MASK.to_owned())
                }
                Action::Reject | Action::Seal | Action::Generalize | Action::Tokenize | Action::Strip => {
                    Fate::Reject(Rejection {
                        kind: Kind::Query,
                        parameter: None,
                        resource: None,
                    })
                }
            };
            return judged;
        }
        let observed = judged.counts.observed;
        judged.fate = match self.judge_free_text(rest, way, scene, &mut judged.counts) {
            Found::Nothing => Fate::Keep,
            Found::Replace(text) if self.refers_to_person(&text) => Fate::Replace(MASK.to_owned()),
            Found::Replace(text) => Fate::Replace(text),
            Found::Strip => Fate::Unreadable,
            Found::Reject(rejection) => Fate::Reject(rejection),
        };
        judged.shows = judged.counts.observed > observed;
        judged
    }

    fn is_harmless_fragment(&self, fragment: &str, scene: &Scene<'_>) -> bool {
        let harmless = |before: &str| {
            let whole = [before, fragment].concat();
            Target::parse(whole.as_bytes()).is_ok_and(|target| {
                let judgement = self.judge_target(&target, Way::Out, scene);
                matches!(judgement.outcome, Outcome::Pass) && !self.hides_a_person(&target)
            })
        };
        let free = decode_fully(fragment).is_some_and(|decoded| !self.refers_to_person(&decoded));
        fragment.is_empty() || (free && harmless("/?") && harmless("/"))
    }

    /// Whether a detector finds something in a URL's host. Addresses are what hosts are.
    fn hides_in_host(&self, target: &Target<'_>, way: Way) -> bool {
        target
            .authority()
            .is_some_and(|authority| self.finds_in_host(authority, way))
    }

    /// See [`Self::hides_in_host`].
    pub(super) fn finds_in_host(&self, host: &str, way: Way) -> bool {
        let folded = fold(host);
        self.detectors.scan(&folded, "").iter().any(|hit| {
            let code = self.detectors.code(hit.finder);
            let acts = match self.detectors.action(hit.finder, "") {
                Some(action) => self.on_text(action.unwrap_or(self.rules.on_detect), way) != Action::Observe,
                None => false,
            };
            acts && code != "ip" && code != "url"
        })
    }

    /// Whether a person's id follows a type that is not a segment of its own: two URLs in one, or a list.
    pub(super) fn hides_a_person(&self, target: &Target<'_>) -> bool {
        if self.rules.preset.is_none() {
            return false;
        }
        let segments = target.segments();
        segments.iter().zip(segments.iter().skip(1)).any(|(before, id)| {
            let folded = fold(before.text());
            let word = folded
                .rsplit(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric())
                .next()
                .unwrap_or_default();
            let shown = id.text() != MASK && !Sealer::is_sealed(id.text()) && !self.recognises(id.text());
            word.len() < folded.len() && shown && names::is_id(word, id.text(), false)
        })
    }

    /// Whether the preset finds a reference to a person in a decoded text, or a parameter that carries PHI.
    pub(super) fn refers_to_person(&self, text: &str) -> bool {
        self.rules.preset.is_some() && names::refers_to_person(&fold(text))
    }

    fn recognises(&self, text: &str) -> bool {
        self.secrets.pseudonyms.as_ref().is_some_and(|key| key.recognises(text))
    }
}

fn form(text: &str) -> Form {
    if text.starts_with("//") {
        return Form::Network;
    }
    if text.starts_with('/') {
        return Form::Absolute;
    }
    let scheme = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'.' | b'-');
    let length = text.bytes().take_while(|&b| scheme(b)).count();
    let (name, rest) = text.split_at_checked(length).unwrap_or((text, ""));
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !rest.starts_with(':') {
        return Form::Relative;
    }
    let hosted = rest.starts_with("://");
    if name.eq_ignore_ascii_case("http") || name.eq_ignore_ascii_case("https") {
        return if hosted { Form::Http } else { Form::Broken };
    }
    if hosted {
        Form::Hosted(length)
    } else {
        Form::Opaque(length)
    }
}

/// How long the dot segments are with which a relative path begins.
fn leading_dots(text: &str) -> usize {
    let mut length = 0_usize;
    let path = text.split('?').next().unwrap_or_default();
    for segment in path.split_inclusive('/') {
        let name = segment.trim_end_matches('/').to_ascii_lowercase().replace("%2e", ".");
        if name != "." && name != ".." {
            break;
        }
        length = length.saturating_add(segment.len());
    }
    length
}

#[cfg(test)]
#[path = "places/reference_tests.rs"]
mod tests;
