//! Every header in which a URL hides.
//!
//! Requests. `headers` in the policy comes first: an action for the whole value of a header, each of its lines by itself. `pass` lifts what is said here
//! of that header, never what the detectors say. A header that is neither there nor here is not looked into, were its value a URL.
//!
//! | header | what becomes of it |
//! | --- | --- |
//! | `Referer` | stays without PHI, else is cut to its origin (RFC 9110 10.1.3); goes where it is no single http URL; `about:blank` stays |
//! | `Origin` | a serialized origin or `null` (RFC 6454 7); anything else, and a host in which a detector finds something, becomes `null` |
//! | `Forwarded` | the pairs of RFC 7239 stay where they are well-formed; others go |
//! | `X-Forwarded-Prefix`, `X-Original-Uri` and kin | go with PHI in them, and where they can't be read |
//! | `If-None-Exist` | the parameters of a search (FHIR R4 3.1.0.8.1), judged as those of the URL are; refused where it can't be read |
//!
//! No origin at all would let a request through that an upstream refuses for its origin; `null` does not.
//!
//! Responses. `headers` does not apply to them.
//!
//! | header | what becomes of it |
//! | --- | --- |
//! | `Location`, `Content-Location`, echoes (`X-Original-Url`, `SourceMap` ..) | judged as references; go where they can't be read, or stand twice |
//! | `Link` | URL, `anchor` and texts of each link (RFC 8288); a link with an unreadable URL goes, an unreadable line goes whole |
//! | `Refresh` | the URL, found as browsers find it (HTML, shared declarative refresh steps); else goes |
//! | `Content-Disposition` | what detectors find in its parameters is masked |

mod forwarded;
mod link;
mod params;
mod refresh;
#[cfg(test)]
pub(super) mod testing;
pub(super) mod text;

use std::borrow::Cow;

use super::reference::Fate;
use super::{Action, Counts, Kind, PhiPolicy, Rejection, Scene, Way, generalize};
use crate::head::{Head, RequestHead, ResponseHead};
use crate::url::Target;
use text::Found;

/// What becomes of a header line.
enum Line {
    Keep,
    Replace(String),
    Remove,
}

/// Request headers by which proxies tell the URL that they got; sorted.
const TOLD_URLS: [&str; 19] = [
    "x-auth-request-redirect",
    "x-forwarded-original-path",
    "x-forwarded-original-uri",
    "x-forwarded-original-url",
    "x-forwarded-path",
    "x-forwarded-prefix",
    "x-forwarded-request-uri",
    "x-forwarded-uri",
    "x-forwarded-url",
    "x-original-path",
    "x-original-request-uri",
    "x-original-uri",
    "x-real-uri",
    "x-real-url",
    "x-replaced-path",
    "x-request-path",
    "x-request-uri",
    "x-request-url",
    "x-script-name",
];

/// Response headers that are a URL, or repeat one; sorted.
const ECHOES: [&str; 25] = [
    "content-base",
    "content-location",
    "hx-location",
    "hx-push-url",
    "hx-redirect",
    "hx-replace-url",
    "location",
    "service-worker-allowed",
    "sourcemap",
    "turbolinks-location",
    "x-accel-redirect",
    "x-envoy-original-path",
    "x-forwarded-path",
    "x-forwarded-prefix",
    "x-forwarded-uri",
    "x-original-path",
    "x-original-uri",
    "x-original-url",
    "x-redirect",
    "x-replaced-path",
    "x-request-path",
    "x-request-uri",
    "x-request-url",
    "x-rewrite-url",
    "x-sourcemap",
];

impl PhiPolicy {
    /// Edits the headers of a request to this target.
    ///
    /// # Errors
    /// What is to be rejected.
    pub fn request_headers(
        &self,
        head: &mut RequestHead,
        target: &Target<'_>,
        scene: &Scene<'_>,
    ) -> Result<Counts, Rejection> {
        let mut counts = Counts::default();
        for (name, action) in &self.rules.headers {
            self.by_rule(head, name, *action, scene, &mut counts)?;
        }
        let is_ours = |name: &str| head.has(name) && !self.rules.headers.iter().any(|(named, _)| named == name);
        let (referer, origin, forwarded, criteria) = (
            is_ours("referer"),
            is_ours("origin"),
            is_ours("forwarded"),
            is_ours("if-none-exist"),
        );
        if referer {
            apply(head, "referer", &mut counts, |lines, counts| match lines {
                [one] => cut(self.referer(one, scene), counts),
                _ => Line::Remove,
            });
        }
        if origin {
            apply(head, "origin", &mut counts, |lines, counts| match lines {
                [one] if self.is_origin(one) => Line::Keep,
                _ => cut(Line::Replace("null".to_owned()), counts),
            });
        }
        if forwarded {
            apply(head, "forwarded", &mut counts, |lines, counts| {
                cut(each(lines, |line| forwarded::judge(self, line)), counts)
            });
        }
        for name in known(head, &TOLD_URLS) {
            if self.rules.headers.iter().any(|(named, _)| named == name) {
                continue;
            }
            apply(head, name, &mut counts, |lines, _| {
                match lines.iter().all(|line| self.are_harmless(line, scene)) {
                    true => Line::Keep,
                    false => Line::Remove,
                }
            });
        }
        if criteria {
            self.if_none_exist(head, target, scene, &mut counts)?;
        }
        Ok(counts)
    }

    /// Edits the headers of a response.
    pub fn response_headers(&self, head: &mut ResponseHead, scene: &Scene<'_>) -> Counts {
        let mut counts = Counts::default();
        for name in known(head, &ECHOES) {
            apply(head, name, &mut counts, |lines, counts| match lines {
                [one] => self.echo(one, scene, counts),
                _ => Line::Remove,
            });
        }
        apply(head, "link", &mut counts, |lines, counts| {
            each(lines, |line| link::links(self, line, scene, counts))
        });
        apply(head, "refresh", &mut counts, |lines, counts| match lines {
            [one] => refresh::judge(self, one, scene, counts),
            _ => Line::Remove,
        });
        apply(head, "content-disposition", &mut counts, |lines, counts| match lines {
            [one] => link::disposition(self, one, scene, counts),
            _ => Line::Remove,
        });
        counts
    }

    /// Does what the policy says of a whole header.
    fn by_rule(
        &self,
        head: &mut RequestHead,
        name: &str,
        action: Action,
        scene: &Scene<'_>,
        counts: &mut Counts,
    ) -> Result<(), Rejection> {
        let lines: Vec<&[u8]> = head.all(name).filter(|line| !line.trim_ascii().is_empty()).collect();
        if lines.is_empty() {
            return Ok(());
        }
        let refuse = |kind| Rejection {
            kind,
            parameter: Some(name.to_owned()),
            resource: None,
        };
        match action {
            // Nothing is ever sealed for a header.
            Action::Reject | Action::Seal => return Err(refuse(Kind::Header)),
            Action::Strip => {
                remove(head, name, counts);
                return Ok(());
            }
            Action::Observe => {
                counts.observed = counts.observed.saturating_add(1);
                return Ok(());
            }
            _ => {}
        }
        let mut values = Vec::with_capacity(lines.len());
        for line in &lines {
            let text = std::str::from_utf8(line).map_err(|_| refuse(Kind::Unreadable));
            let (count, value) = match action {
                Action::Mask => (&mut counts.masked, super::rewrite::MASK.to_owned()),
                Action::Tokenize => {
                    let token = self.token(text?).ok_or_else(|| refuse(Kind::Header))?;
                    (&mut counts.tokenized, token)
                }
                Action::Generalize => {
                    let coarse = generalize::generalize(text?, name, scene.year);
                    (&mut counts.generalized, coarse.ok_or_else(|| refuse(Kind::Header))?)
                }
                // `pass`: the detectors alone.
                _ => {
                    let text = text?;
                    values.push(match self.judge_free_text(text, Way::In, scene, counts) {
                        Found::Nothing => text.to_owned(),
                        Found::Replace(value) => value,
                        Found::Strip => {
                            remove(head, name, counts);
                            return Ok(());
                        }
                        Found::Reject(rejection) => return Err(refuse(rejection.kind)),
                    });
                    continue;
                }
            };
            *count = count.saturating_add(1);
            values.push(value);
        }
        let same = values.iter().map(String::as_bytes).eq(lines.iter().copied());
        if !same {
            head.put(Cow::Owned(name.to_owned()), values.join(", ").into_bytes());
        }
        Ok(())
    }

    fn referer(&self, text: &str, scene: &Scene<'_>) -> Line {
        if text == "about:blank" {
            return Line::Keep;
        }
        let Ok(target) = Target::parse(text.as_bytes()) else {
            return Line::Remove;
        };
        let two = text.split(',').skip(1).any(begins_a_url);
        match target.authority() {
            Some(authority) if !two && !self.finds_in_host(authority, Way::Out) => {}
            _ => return Line::Remove,
        }
        if self.is_harmless(text, scene) && !self.tells_after_comma(text) {
            return Line::Keep;
        }
        let mut origin = String::new();
        target.render_origin(&mut origin);
        origin.push('/');
        Line::Replace(origin)
    }

    fn is_origin(&self, text: &str) -> bool {
        if text == "null" {
            return true;
        }
        let Some((scheme, host)) = text.split_once("://") else {
            return false;
        };
        let scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
        scheme && forwarded::is_host(host) && !self.finds_in_host(host, Way::Out)
    }

    /// Whether URLs, one or several with commas between, hold nothing that the policy acts on.
    fn are_harmless(&self, text: &str, scene: &Scene<'_>) -> bool {
        let mut start = 0_usize;
        let mut urls = Vec::new();
        for comma in memchr::memchr_iter(b',', text.as_bytes()) {
            let after = comma.saturating_add(1);
            if text.get(after..).is_some_and(begins_a_url) {
                urls.push(text.get(start..comma).unwrap_or_default());
                start = after;
            }
        }
        urls.push(text.get(start..).unwrap_or_default());
        urls.into_iter()
            .map(str::trim)
            .all(|url| self.is_harmless(url, scene) && !self.tells_after_comma(url))
    }

    /// Whether what follows a comma says something that it does not say as a part of the whole.
    fn tells_after_comma(&self, text: &str) -> bool {
        text.split(',').skip(1).any(|tail| self.refers_to_person(tail))
    }

    fn if_none_exist(
        &self,
        head: &mut RequestHead,
        target: &Target<'_>,
        scene: &Scene<'_>,
        counts: &mut Counts,
    ) -> Result<(), Rejection> {
        const NAME: &str = "if-none-exist";
        let refuse = |kind| Rejection {
            kind,
            parameter: Some(NAME.to_owned()),
            resource: None,
        };
        let mut lines = head.all(NAME);
        let text = match (lines.next().map(std::str::from_utf8), lines.next()) {
            (Some(Ok(text)), None) => text.trim_ascii().to_owned(),
            _ => return Err(refuse(Kind::Unreadable)),
        };
        drop(lines);
        if text.is_empty() {
            return Ok(());
        }
        let (before, query) = match text.split_once('?') {
            None => ("", text.as_str()),
            Some((before, query)) => (before, query),
        };
        // Another type than that of the path would be judged by the wrong table.
        let named = target.segments().last().map(|segment| segment.text());
        if !before.is_empty() && Some(before) != named {
            return Err(refuse(Kind::Unreadable));
        }
        let judged = self.judge_query(target, query, Way::In, scene);
        counts.add(judged.counts);
        match judged.fate {
            Fate::Keep => Ok(()),
            Fate::Reject(rejection) => Err(rejection),
            Fate::Unreadable => Err(refuse(Kind::Unreadable)),
            // Without criteria the create would no longer be conditional.
            Fate::Replace(query) if query.is_empty() => Err(refuse(Kind::Header)),
            Fate::Replace(query) => {
                let kept = text
                    .len()
                    .saturating_sub(text.split_once('?').map_or(text.len(), |(_, q)| q.len()));
                let before = text.get(..kept).unwrap_or_default();
                head.set(NAME, [before, &query].concat().into_bytes());
                Ok(())
            }
        }
    }

    fn echo(&self, text: &str, scene: &Scene<'_>, counts: &mut Counts) -> Line {
        let judged = self.judge_reference(text, Way::Out, scene);
        counts.add(judged.counts);
        match judged.fate {
            Fate::Keep => Line::Keep,
            Fate::Replace(new) if !new.is_empty() => Line::Replace(new),
            Fate::Replace(_) | Fate::Unreadable | Fate::Reject(_) => Line::Remove,
        }
    }
}

/// Whether a text after a comma looks like another URL.
fn begins_a_url(text: &str) -> bool {
    let text = text.trim_start();
    let scheme = text
        .bytes()
        .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    let length = scheme.count();
    text.is_empty() || text.starts_with('/') || (length > 0 && text.get(length..).is_some_and(|t| t.starts_with(':')))
}

/// Which names of a sorted list the head has.
fn known(head: &Head, names: &'static [&'static str]) -> Vec<&'static str> {
    let mut found = Vec::new();
    for (name, _) in head.lines() {
        let place = names.binary_search_by(|known| known.as_bytes().cmp(name));
        let known = place.ok().and_then(|place| names.get(place)).copied();
        found.extend(known.filter(|known| !found.contains(known)));
    }
    found
}

fn remove(head: &mut Head, name: &str, counts: &mut Counts) {
    head.remove_where(|found| found == name.as_bytes());
    counts.stripped = counts.stripped.saturating_add(1);
}

/// Counts what goes of a value.
fn cut(line: Line, counts: &mut Counts) -> Line {
    if matches!(line, Line::Replace(_)) {
        counts.stripped = counts.stripped.saturating_add(1);
    }
    line
}

/// Does what `judge` says of all lines of a header. Lines that are no text go.
fn apply(head: &mut Head, name: &'static str, counts: &mut Counts, judge: impl FnOnce(&[&str], &mut Counts) -> Line) {
    if !head.has(name) {
        return;
    }
    let lines: Result<Vec<&str>, _> = head.all(name).map(std::str::from_utf8).collect();
    let line = match lines {
        Ok(lines) => judge(&lines, counts),
        Err(_) => Line::Remove,
    };
    match line {
        Line::Keep => {}
        Line::Replace(value) => head.set(name, value.into_bytes()),
        Line::Remove => remove(head, name, counts),
    }
}

/// Judges lines of a list one by one.
fn each(lines: &[&str], mut judge: impl FnMut(&str) -> Line) -> Line {
    let mut changed = false;
    let mut kept = Vec::with_capacity(lines.len());
    for line in lines {
        match judge(line) {
            Line::Keep => kept.push((*line).to_owned()),
            Line::Replace(new) => {
                changed = true;
                kept.push(new);
            }
            Line::Remove => changed = true,
        }
    }
    match (changed, kept.is_empty()) {
        (false, _) => Line::Keep,
        (true, true) => Line::Remove,
        (true, false) => Line::Replace(kept.join(", ")),
    }
}

#[cfg(test)]
mod tests;
