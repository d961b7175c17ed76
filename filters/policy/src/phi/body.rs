//! URLs and search forms in bodies.
//!
//! 1. Of requests two kinds of bodies are looked into: the form of POST `_search` (FHIR R4 3.1.1.1), and under the preset a JSON bundle that is POSTed to
//!    a path without a resource type (FHIR R4 3.1.0.11). And that only where `on_body` says to act, or a rule says to seal, so that there is what to open.
//! 2. In a form, and in `entry.request.url` and `entry.request.ifNoneExist`, `on_body` is done to whatever the preset, the policy's `query` and `path`
//!    (but for `pass`) and the detectors say carries PHI. What is sealed is opened in any case.
//! 3. Only the bytes concerned change. `fullUrl`, references and resources are left alone, and so is every other body.
//! 4. What can't be read is refused: no form at `_search`, a content coding, XML, what is not JSON, names that stand twice or in another case, entries of other shapes. Where
//!    `on_body` says nothing and there is only something to be opened, it goes on sealed.

use std::borrow::Cow;
use std::ops::Range;

use serde::de::IgnoredAny;

use super::places::text::decode_fully;
use super::reference::Fate;
use super::rewrite::MASK;
use super::{Action, Counts, Kind, PhiPolicy, Rejection, Scene, Way, names};
use crate::head::RequestHead;
use crate::seal::Sealer;
use crate::trim::{FhirPath, Selector, Transform};
use crate::url::Target;

/// The rewriter of URLs, and that of texts for people ([`PhiPolicy::rewrite`]).
const LINK: u8 = 0;
const TEXT: u8 = 1;

/// Where URLs stand in a Bundle, below it and below a Bundle that is an entry's resource (FHIR R4 2.36, as batches answer). `fullUrl` is none of them: it names the
/// resource, whose `id` stands beside it (FHIR R4 bundle 2.36.4), and references within the Bundle resolve by it. Changed, it would part from both, and where several
/// become `***`, a client that finds entries by it takes one patient for another. `request.url` of a history repeats that same id, and who applies the entries goes by it.
const LINKS: [&str; 3] = ["link[*].url", "entry[*].link[*].url", "entry[*].response.location"];

/// Where an OperationOutcome says what it says to people (FHIR R4 2.31): below itself, and as an entry's resource or outcome.
const TEXTS: [&str; 6] = [
    "issue[*].diagnostics",
    "issue[*].details.text",
    "entry[*].resource.issue[*].diagnostics",
    "entry[*].resource.issue[*].details.text",
    "entry[*].response.outcome.issue[*].diagnostics",
    "entry[*].response.outcome.issue[*].details.text",
];

/// The strings of a FHIR response that are URLs, or texts that repeat them, as transforms for [`crate::trim::Program::new`]; put them behind
/// the policy's own. [`PhiPolicy::rewrite`] is the rewriter.
pub fn rewrites() -> Vec<(Selector, Transform)> {
    let of = |paths: &'static [&'static str], by| {
        let below = |prefix: &'static str| {
            paths
                .iter()
                .filter_map(move |path| Selector::parse(&[prefix, path].concat()).ok())
        };
        below("$.")
            .chain(below("$.entry[*].resource."))
            .map(move |selector| (selector, Transform::Rewrite(by)))
            .collect::<Vec<_>>()
    };
    let mut all = of(&LINKS, LINK);
    all.extend(of(&TEXTS, TEXT));
    all
}

/// The same by resource type, for views that have rules by type: [`rewrites`] would multiply with them.
pub fn rewrites_by_type() -> [(&'static str, Vec<(FhirPath, Transform)>); 2] {
    let of = |paths: &[&str], by| {
        let read = paths.iter().filter_map(|path| FhirPath::parse(path).ok());
        read.map(|path| (path, Transform::Rewrite(by))).collect()
    };
    [
        (
            "Bundle",
            of(&["link.url", "entry.link.url", "entry.response.location"], LINK),
        ),
        (
            "OperationOutcome",
            of(&["issue.diagnostics", "issue.details.text"], TEXT),
        ),
    ]
}

/// Which body a request has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Form,
    Json,
    /// One that would have to be looked into and can't be.
    Other,
}

/// How deep the JSON of a bundle may be nested.
const MAX_DEPTH: usize = 256;

impl PhiPolicy {
    /// Whether the body of a request has to be judged before it goes on.
    pub fn wants_body(&self, head: &RequestHead, target: &Target<'_>) -> bool {
        self.format(head, target).is_some() && self.acts_on_bodies()
    }

    /// Judges the whole body of a request to this target, as it is before anything in it is opened. What comes back is the body that goes on, if it is
    /// another.
    ///
    /// # Errors
    /// What is to be rejected, what does not open, and what can't be read.
    pub fn judge_body(
        &self,
        body: &[u8],
        head: &RequestHead,
        target: &Target<'_>,
        scene: &Scene<'_>,
    ) -> Result<(Option<Vec<u8>>, Counts), Rejection> {
        let mut counts = Counts::default();
        let judged = self.read_body(body, head, target, &mut |text, target| {
            let judged = match target {
                Some(target) => self.judge_query(target, text, Way::Body, scene),
                None => self.judge_reference(text, Way::Body, scene),
            };
            counts.add(judged.counts);
            match judged.fate {
                Fate::Keep => Ok(None),
                Fate::Replace(new) => Ok(Some(new)),
                Fate::Unreadable => Err(unreadable()),
                Fate::Reject(rejection) => Err(rejection),
            }
        })?;
        if self.rules.on_body == Action::Pass {
            counts = Counts {
                opened: counts.opened,
                ..Counts::default()
            };
        }
        Ok((judged, counts))
    }

    /// The body with what is sealed in it opened and nothing else done, for who judges what is asked for. `None` where nothing is sealed.
    ///
    /// # Errors
    /// What does not open, and what can't be read.
    pub fn open_body(
        &self,
        body: &[u8],
        head: &RequestHead,
        target: &Target<'_>,
        scene: &Scene<'_>,
    ) -> Result<Option<Vec<u8>>, Rejection> {
        if self.secrets.sealer.is_none() || !may_be_sealed(body) {
            return Ok(None);
        }
        self.read_body(body, head, target, &mut |text, target| {
            let path = target.and_then(|target| target.raw().get(target.path_range()));
            let before = match path {
                Some(path) => [path, b"?"].concat(),
                None if text.starts_with('/') || text.contains("://") => Vec::new(),
                None => b"/".to_vec(),
            };
            let whole = [&before, text.as_bytes()].concat();
            let parsed = Target::parse(&whole).map_err(|_| unreadable())?;
            let Some(opened) = self.open(&parsed, scene)? else {
                return Ok(None);
            };
            let kept = opened.strip_prefix(before.as_slice()).map(<[u8]>::to_vec);
            kept.and_then(|kept| String::from_utf8(kept).ok())
                .map(Some)
                .ok_or_else(unreadable)
        })
    }

    /// A URL that goes to the client in a body, such as `Bundle.link.url`; `None` where it stays as it is. What can't be read becomes `***`.
    pub fn judge_link(&self, text: &str, scene: &Scene<'_>) -> Option<String> {
        match self.judge_reference(text, Way::Out, scene).fate {
            Fate::Keep => None,
            Fate::Replace(new) => Some(new),
            Fate::Unreadable | Fate::Reject(_) => Some(MASK.to_owned()),
        }
    }

    /// The rewriter for what [`rewrites`] selects; `None` where a string stays as it is.
    pub fn rewrite(&self, by: u8, text: &str, scene: &Scene<'_>) -> Option<String> {
        match by {
            LINK => self.judge_link(text, scene),
            TEXT => self.judge_text(text, scene),
            _ => Some(MASK.to_owned()),
        }
    }

    fn acts_on_bodies(&self) -> bool {
        self.rules.on_body != Action::Pass || self.seals()
    }

    fn format(&self, head: &RequestHead, target: &Target<'_>) -> Option<Format> {
        if head.method() != b"POST" {
            return None;
        }
        let mut types = head.all("content-type");
        let kind = types
            .next()
            .map(|kind| String::from_utf8_lossy(kind).to_ascii_lowercase());
        let kind = if types.next().is_some() {
            Some(",".to_owned())
        } else {
            kind
        };
        let media = kind
            .as_deref()
            .map(|kind| kind.split(';').next().unwrap_or_default().trim());
        let encoded = |coding: &[u8]| !coding.trim_ascii().eq_ignore_ascii_case(b"identity");
        let is_encoded = head.all("content-encoding").any(encoded);
        let plain = |format| if is_encoded { Format::Other } else { format };
        let searches = target.segments().last().is_some_and(|last| last.text() == "_search");
        if searches {
            return Some(match media {
                Some("application/x-www-form-urlencoded") | None => plain(Format::Form),
                Some(_) => Format::Other,
            });
        }
        // An operation or a type of its own takes no bundle of requests.
        let is_base = !target.segments().iter().any(|segment| names_a_resource(segment.text()));
        if self.rules.preset.is_none() || !is_base {
            return None;
        }
        match kind.as_deref() {
            None => Some(plain(Format::Json)),
            Some(kind) if kind.contains(',') => Some(Format::Other),
            Some(kind) if kind.contains("json") => Some(plain(Format::Json)),
            Some(kind) if kind.contains("xml") => Some(Format::Other),
            Some(_) => None,
        }
    }

    /// Finds what in a body is a URL (no target is given) or the query to a target, and puts in its place what `judge` makes of it.
    fn read_body(
        &self,
        body: &[u8],
        head: &RequestHead,
        target: &Target<'_>,
        judge: &mut Judge<'_>,
    ) -> Result<Option<Vec<u8>>, Rejection> {
        let Some(format) = self.format(head, target) else {
            return Ok(None);
        };
        match self.read_format(format, body, target, judge) {
            // What is only to be opened, and can't be read, goes on sealed.
            Err(why) if why.kind == Kind::Unreadable && self.rules.on_body == Action::Pass => Ok(None),
            result => result,
        }
    }

    fn read_format(
        &self,
        format: Format,
        body: &[u8],
        target: &Target<'_>,
        judge: &mut Judge<'_>,
    ) -> Result<Option<Vec<u8>>, Rejection> {
        let opens_only = self.rules.on_body == Action::Pass && !may_be_sealed(body);
        if body.is_empty() || opens_only {
            return Ok(None);
        }
        match format {
            Format::Form => {
                let form = std::str::from_utf8(body).map_err(|_| unreadable())?;
                // Without a content type another reader may take it for what it looks like.
                if form.starts_with(['{', '[', '<']) {
                    return Err(unreadable());
                }
                Ok(judge(form, Some(target))?.map(String::into_bytes))
            }
            Format::Json => {
                let text = std::str::from_utf8(body).map_err(|_| unreadable())?;
                bundle(text, judge)
            }
            Format::Other => Err(unreadable()),
        }
    }
}

/// What becomes of a URL, or of the query to a target.
type Judge<'j> = dyn FnMut(&str, Option<&Target<'_>>) -> Result<Option<String>, Rejection> + 'j;

fn unreadable() -> Rejection {
    Rejection {
        kind: Kind::Unreadable,
        parameter: None,
        resource: None,
    }
}

/// Whether a body could hold something sealed. JSON and percent-encoding can spell it otherwise.
fn may_be_sealed(body: &[u8]) -> bool {
    memchr::memmem::find(body, Sealer::PREFIX.as_bytes()).is_some() || memchr::memchr2(b'%', b'\\', body).is_some()
}

/// Whether a segment is a resource type, or an operation.
fn names_a_resource(segment: &str) -> bool {
    const OTHERS: [&str; 5] = [
        "metadata",
        "fhir",
        "smart-configuration",
        "openid-configuration",
        "oauth-protected-resource",
    ];
    let decoded = decode_fully(segment).unwrap_or_default();
    let word = crate::url::fold(&decoded);
    names::is_word(&word) && !OTHERS.contains(&&*word) && !word.starts_with(['.', '_']) && word != "jwks.json"
}

/// Judges the requests of a bundle's entries.
fn bundle(text: &str, judge: &mut Judge<'_>) -> Result<Option<Vec<u8>>, Rejection> {
    // The grammar is checked here, so that the rest need only find its way.
    let json = Json::new(text).ok_or_else(unreadable)?;
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    let Some([entries, _]) = json.members(0, ["entry", "resourceType"])? else {
        return Ok(None);
    };
    let Some(entries) = entries else { return Ok(None) };
    for entry in json.elements(entries).ok_or_else(unreadable)? {
        let [request, _] = json.members(entry, ["request", "resource"])?.ok_or_else(unreadable)?;
        let Some(request) = request else { continue };
        let [url, criteria] = json.members(request, ["url", "ifNoneExist"])?.ok_or_else(unreadable)?;
        let mut path = String::from("/");
        if let Some(at) = url {
            let (range, url) = json.text_at(at).ok_or_else(unreadable)?;
            path.push_str(url.split('?').next().unwrap_or_default().trim_start_matches('/'));
            if let Some(new) = judge(&url, None)? {
                edits.push((range, new));
            }
        }
        if let Some(at) = criteria {
            let (range, criteria) = json.text_at(at).ok_or_else(unreadable)?;
            let target = Target::parse(path.as_bytes())
                .or_else(|_| Target::parse(b"/"))
                .map_err(|_| unreadable())?;
            let (before, query) = criteria
                .split_once('?')
                .map_or(("", &*criteria), |(before, query)| (before, query));
            if !before.is_empty() && target.segments().last().map(|last| last.text()) != Some(before) {
                return Err(unreadable());
            }
            if let Some(new) = judge(query, Some(&target))? {
                // Without criteria the create would no longer be conditional.
                if new.is_empty() {
                    return Err(unreadable());
                }
                let kept = criteria.len().saturating_sub(query.len());
                edits.push((range, [criteria.get(..kept).unwrap_or_default(), &new].concat()));
            }
        }
    }
    if edits.is_empty() {
        return Ok(None);
    }
    edits.sort_by_key(|(range, _)| range.start);
    let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
    for (range, new) in edits {
        out.extend_from_slice(text.get(at..range.start).unwrap_or_default().as_bytes());
        out.extend_from_slice(&serde_json::to_vec(&new).map_err(|_| unreadable())?);
        at = range.end;
    }
    out.extend_from_slice(text.get(at..).unwrap_or_default().as_bytes());
    Ok(Some(out))
}

/// Finds its way in a JSON text that is known to be well-formed.
struct Json<'a> {
    text: &'a str,
}

impl<'a> Json<'a> {
    /// `None` for what is not JSON, or nested too deep.
    fn new(text: &'a str) -> Option<Self> {
        serde_json::from_str::<IgnoredAny>(text).ok()?;
        let json = Json { text };
        json.value_end(json.skip_space(0))?;
        Some(json)
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn skip_space(&self, mut at: usize) -> usize {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte(at) {
            at = at.saturating_add(1);
        }
        at
    }

    /// Where the members of these names are in the object at `at`; `None` where there is no object.
    ///
    /// # Errors
    /// One of the names stands twice, or in another case: what another reader takes for it may not be what we do.
    fn members(&self, at: usize, names: [&str; 2]) -> Result<Option<[Option<usize>; 2]>, Rejection> {
        let at = self.skip_space(at);
        if self.byte(at) != Some(b'{') {
            return Ok(None);
        }
        let mut found = [None; 2];
        let mut at = self.skip_space(at.saturating_add(1));
        while self.byte(at) == Some(b'"') {
            let end = self.string_end(at).ok_or_else(unreadable)?;
            let name = self.text.get(at..end).and_then(decoded).ok_or_else(unreadable)?;
            // The colon.
            let value = self.skip_space(self.skip_space(end).saturating_add(1));
            for (wanted, slot) in names.iter().zip(found.iter_mut()) {
                if name.eq_ignore_ascii_case(wanted) {
                    if name != *wanted || slot.is_some() {
                        return Err(unreadable());
                    }
                    *slot = Some(value);
                }
            }
            at = self.skip_space(self.value_end(value).ok_or_else(unreadable)?);
            if self.byte(at) == Some(b',') {
                at = self.skip_space(at.saturating_add(1));
            }
        }
        Ok(Some(found))
    }

    /// Where the elements of the array at `at` are; `None` where there is no array.
    fn elements(&self, at: usize) -> Option<Vec<usize>> {
        if self.byte(at) != Some(b'[') {
            return None;
        }
        let mut elements = Vec::new();
        let mut at = self.skip_space(at.saturating_add(1));
        while self.byte(at)? != b']' {
            elements.push(at);
            at = self.skip_space(self.value_end(at)?);
            if self.byte(at) == Some(b',') {
                at = self.skip_space(at.saturating_add(1));
            }
        }
        Some(elements)
    }

    /// The string at `at`, and where it stands with its quotes.
    fn text_at(&self, at: usize) -> Option<(Range<usize>, Cow<'a, str>)> {
        if self.byte(at) != Some(b'"') {
            return None;
        }
        let range = at..self.string_end(at)?;
        let text = decoded(self.text.get(range.clone())?)?;
        Some((range, text))
    }

    fn string_end(&self, at: usize) -> Option<usize> {
        let mut at = at.saturating_add(1);
        loop {
            let rest = self.text.as_bytes().get(at..)?;
            let next = memchr::memchr2(b'"', b'\\', rest)?;
            let after = at.saturating_add(next).saturating_add(1);
            if rest.get(next) == Some(&b'"') {
                return Some(after);
            }
            at = after.saturating_add(1);
        }
    }

    fn value_end(&self, at: usize) -> Option<usize> {
        let (mut at, mut depth) = (at, 0_usize);
        loop {
            at = match self.byte(at)? {
                b'"' => self.string_end(at)?,
                b'{' | b'[' => {
                    depth = depth.saturating_add(1);
                    if depth > MAX_DEPTH {
                        return None;
                    }
                    at.saturating_add(1)
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    at.saturating_add(1)
                }
                b',' | b':' | b' ' | b'\n' | b'\r' | b'\t' => {
                    at = at.saturating_add(1);
                    continue;
                }
                _ => {
                    let rest = self.text.as_bytes().get(at..)?;
                    let ends = |b: &u8| matches!(b, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
                    at.saturating_add(rest.iter().position(ends).unwrap_or(rest.len()))
                }
            };
            if depth == 0 {
                return Some(at);
            }
        }
    }
}

/// A JSON string with its quotes, decoded.
fn decoded(raw: &str) -> Option<Cow<'_, str>> {
    if !raw.contains('\\') {
        return raw.get(1..raw.len().checked_sub(1)?).map(Cow::Borrowed);
    }
    serde_json::from_str::<String>(raw).ok().map(Cow::Owned)
}

#[cfg(test)]
#[path = "places/body_tests.rs"]
mod tests;
