//! What a request for PHI may ask of caches between this proxy and the upstream, whose copies no response header of ours could have prevented.
//!
//! | the client sends | becomes | why |
//! | --- | --- | --- |
//! | nothing, GET or HEAD | `Cache-Control: no-cache` | a cache behind us may answer only after the upstream was asked (RFC 9111 5.2.1.4), so what it may see is judged there each time |
//! | `only-if-cached` | goes | it asks for a stored copy and nothing else, and is answered 504 where there is none (5.2.1.7); so a client could also try out what is stored |
//! | `max-stale`, `min-fresh`, `max-age`, `stale-if-error` | go | each says which stored copies will do (5.2.1.1 to 5.2.1.3, RFC 5861 4); none will |
//! | `no-cache`, `Pragma: no-cache` | `no-cache` | it is what is said anyway. `Pragma` is the same for HTTP/1.0 (5.4) and goes |
//! | `no-store`, `no-transform`, what is not known | stays | they ask for less. `no-store` is not added: FHIR servers take it for more than it says (HAPI then keeps no result to page through) |
//! | what is no Cache-Control | `no-cache` | nobody could say what a cache makes of it |
//! | `If-None-Match`, `If-Modified-Since` | stay | FHIR's conditional read (R4 http 3.1.0.5.4): an app holds its own copy, and 304 brings none. `no-cache` stands beside them, so the answer is the upstream's. Where bodies are trimmed see [`super::validators`] |
//! | `If-Match`, `If-Unmodified-Since` | stay | a change that must not overwrite another's (FHIR R4 http 3.1.0.5.3) |
//! | `Range`, `If-Range` | stay | images and documents (`Binary`) are fetched in parts and resumed; 206 carries `no-store, private` like all else, so no parts are put together by others (RFC 9111 3.3). Where bodies are trimmed `response-trim` removes both |
//!
//! Of other methods than GET and HEAD nothing stored may be the answer (RFC 9111 4), so they get no `no-cache` of ours; what asks for stored copies goes there too.

use super::directives::{Directive, Next, Reader, Writer};
use crate::head::RequestHead;

/// The most directives that are looked at; with more it counts as none that is understood.
const MAX: usize = 32;

/// Edits the request; nothing is allocated where nothing changes.
pub fn fetch_anew(head: &mut RequestHead) {
    let reads = matches!(head.method(), b"GET" | b"HEAD");
    if head.has("pragma") {
        head.remove("pragma");
    }
    match judge(head, reads) {
        Verdict::Keep => {}
        Verdict::Remove => head.remove("cache-control"),
        Verdict::Set(value) => head.set("cache-control", value),
    }
}

enum Verdict {
    Keep,
    Remove,
    Set(Vec<u8>),
}

fn judge(head: &RequestHead, reads: bool) -> Verdict {
    let mut kept: Vec<Directive<'_>> = Vec::new();
    let (mut lines, mut changed, mut no_cache) = (0_usize, false, false);
    for line in head.all("cache-control") {
        lines = lines.saturating_add(1);
        let mut reader = Reader::new(line);
        loop {
            let directive = match reader.next_directive() {
                Some(Next::Directive(directive)) if kept.len() < MAX => directive,
                Some(Next::Empty) => continue,
                Some(Next::End) => break,
                Some(Next::Directive(_)) | None => return Verdict::Set(b"no-cache".to_vec()),
            };
            match kind(directive) {
                Kind::AsksForStored => changed = true,
                Kind::NoCache => no_cache = true,
                Kind::Other => kept.push(directive),
            }
        }
    }
    // Of no-cache and others in one line nothing has to change.
    if !changed && lines <= 1 && (no_cache || !reads) {
        return Verdict::Keep;
    }
    if !changed && !reads {
        return Verdict::Keep;
    }
    let mut value = Writer(Vec::with_capacity(32));
    value.flag(reads || no_cache, "no-cache");
    for directive in kept {
        value.directive(directive);
    }
    if value.0.is_empty() {
        Verdict::Remove
    } else {
        Verdict::Set(value.0)
    }
}

enum Kind {
    AsksForStored,
    NoCache,
    Other,
}

fn kind(directive: Directive<'_>) -> Kind {
    let is = |word: &str| directive.name.eq_ignore_ascii_case(word.as_bytes());
    if is("no-cache") {
        Kind::NoCache
    } else if ["max-age", "max-stale", "min-fresh", "only-if-cached", "stale-if-error"]
        .into_iter()
        .any(is)
    {
        Kind::AsksForStored
    } else {
        Kind::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(method: &str, lines: &[(&str, &[u8])]) -> RequestHead {
        let method = [(":method", method.as_bytes())];
        let lines = method.iter().chain(lines);
        RequestHead::new(lines.map(|(name, value)| (name.to_string(), value.to_vec())))
    }

    fn sent(method: &str, lines: &[(&str, &str)]) -> Vec<String> {
        let lines: Vec<(&str, &[u8])> = lines.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let mut head = head(method, &lines);
        fetch_anew(&mut head);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let shown = head
            .lines()
            .skip(1)
            .map(|(name, value)| format!("{}: {}", text(name), text(value)))
            .collect();
        head.take_edits();
        fetch_anew(&mut head);
        assert!(head.take_edits().is_empty(), "twice edits nothing");
        shown
    }

    #[test]
    fn no_read_is_answered_from_a_stored_copy() {
        for method in ["GET", "HEAD"] {
            for (lines, want) in [
                (&[][..], "cache-control: no-cache"),
                (&[("cache-control", "only-if-cached")], "cache-control: no-cache"),
                (
                    &[(
                        "cache-control",
                        "max-stale=3600, Max-Age=60, min-fresh=5, stale-if-error=9",
                    )],
                    "cache-control: no-cache",
                ),
                (
                    &[("cache-control", "max-age=0"), ("pragma", "no-cache")],
                    "cache-control: no-cache",
                ),
                (&[("pragma", "x"), ("pragma", "y")], "cache-control: no-cache"),
                (
                    &[("cache-control", "no-store, max-results=20")],
                    "cache-control: no-cache, no-store, max-results=20",
                ),
                (
                    &[("cache-control", "x=\"a, only-if-cached\"")],
                    "cache-control: no-cache, x=\"a, only-if-cached\"",
                ),
                (
                    &[("cache-control", "No-Cache, no-store")],
                    "cache-control: No-Cache, no-store",
                ),
                (
                    &[("cache-control", "no-store"), ("cache-control", "no-cache")],
                    "cache-control: no-cache, no-store",
                ),
                (&[("cache-control", "no-cache=\"x")], "cache-control: no-cache"),
                (&[("cache-control", "")], "cache-control: no-cache"),
            ] {
                assert_eq!(sent(method, lines), [want], "{method} {lines:?}");
            }
        }
    }

    #[test]
    fn other_methods_lose_what_asks_for_stored_copies_and_no_more() {
        for (lines, want) in [
            (&[][..], None),
            (&[("cache-control", "only-if-cached")], None),
            (
                &[("cache-control", "no-cache, max-age=0")],
                Some("cache-control: no-cache"),
            ),
            (
                &[("cache-control", "no-store,max-results=20")],
                Some("cache-control: no-store,max-results=20"),
            ),
        ] {
            let got = sent("POST", lines);
            assert_eq!(got.first().map(String::as_str), want, "{lines:?}");
        }
    }

    #[test]
    fn conditions_and_ranges_stay() {
        let lines = [
            ("if-none-match", "W/\"3\""),
            ("if-modified-since", "x"),
            ("if-match", "W/\"3\""),
            ("if-unmodified-since", "x"),
            ("range", "bytes=0-9"),
            ("if-range", "\"x\""),
        ];
        assert_eq!(sent("GET", &lines).len(), 7);
    }

    proptest! {
        #[test]
        fn whatever_comes_a_read_says_no_cache_and_asks_for_nothing_stored(
            lines in prop::collection::vec(super::super::model::request_cache_control_line(), 0..3),
            method in prop::sample::select(vec!["GET", "HEAD", "POST", "PUT"]),
        ) {
            let lines: Vec<(&str, &[u8])> = lines.iter().map(|line| ("cache-control", line.as_slice())).collect();
            let mut head = head(method, &lines);
            fetch_anew(&mut head);
            let mut says = false;
            for line in head.all("cache-control") {
                let mut reader = Reader::new(line);
                while let Some(Next::Directive(directive)) = loop {
                    match reader.next_directive() {
                        Some(Next::Empty) => {}
                        other => break other,
                    }
                } {
                    prop_assert!(!matches!(kind(directive), Kind::AsksForStored));
                    says |= matches!(kind(directive), Kind::NoCache);
                }
            }
            prop_assert!(says || !matches!(method, "GET" | "HEAD"));
            head.take_edits();
            fetch_anew(&mut head);
            prop_assert!(head.take_edits().is_empty());
        }
    }
}
