//! Steers a request so that its response can be inspected.
//!
//! 1. `Accept-Encoding` becomes `identity`; `Range`, `If-Range` (RFC 9110 14), `A-IM` (RFC 3229) and what asks for digests (RFC 9530 4) go.
//! 2. Of `Accept` only JSON stays, with the wildcards; these come last, behind JSON, so that an upstream that could choose chooses JSON. So it is where nothing is
//!    said. Where only other types are asked for the answer is 406, before the upstream is called.
//! 3. FHIR's `_format` has the last word over `Accept` (R4 http 3.1.0.1.11): what is no JSON there is answered with 406 too.

use crate::answer::Reason;
use crate::framing::MediaType;
use crate::head::RequestHead;
use crate::url::Target;

/// What JSON is asked for where the client takes anything: on a FHIR service, FHIR's.
const FHIR_FIRST: &str = "application/fhir+json, application/json;q=0.9";
const JSON_FIRST: &str = "application/json, application/fhir+json;q=0.9";

/// Makes the response come whole and in the clear.
pub(crate) fn prepare(head: &mut RequestHead) {
    head.set("accept-encoding", "identity");
    for name in [
        "range",
        "if-range",
        "a-im",
        "want-digest",
        "want-content-digest",
        "want-repr-digest",
    ] {
        head.remove(name);
    }
}

/// Makes the response come as JSON. `fhir`: from a FHIR service; `events`: an event stream will do too.
pub(crate) fn steer(head: &mut RequestHead, target: &Target<'_>, fhir: bool, events: bool) -> Result<(), Reason> {
    prepare(head);
    let mut formats = target
        .parameters()
        .iter()
        .filter(|parameter| parameter.base_name() == "_format")
        .map(|parameter| parameter.value())
        .filter(|value| !value.is_empty())
        .peekable();
    let decided = formats.peek().is_some();
    if !formats.all(is_json_format) {
        return Err(Reason::NotAcceptable);
    }
    let first = if fhir { FHIR_FIRST } else { JSON_FIRST };
    let asked = head.all("accept").collect::<Vec<_>>().join(&b", "[..]);
    match json_of(&asked, events) {
        Asked::Anything(wildcards) => {
            let value = match wildcards.is_empty() {
                true => format!("{first}, */*;q=0.1"),
                false => format!("{first}, {}", wildcards.join(", ")),
            };
            if asked != value.as_bytes() {
                head.set("accept", value);
            }
        }
        Asked::Json(kept) => {
            let value = kept.join(", ");
            if asked != value.as_bytes() {
                head.set("accept", value);
            }
        }
        Asked::Other if decided => head.set("accept", first),
        Asked::Other => return Err(Reason::NotAcceptable),
    }
    Ok(())
}

/// What an `Accept` leaves to be answered with.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// Anything will do: these wildcards, low in weight, or nothing was said.
    Anything(Vec<String>),
    /// These, in their order.
    Json(Vec<String>),
    /// Nothing that could be inspected.
    Other,
}

fn json_of(accept: &[u8], events: bool) -> Asked {
    let Ok(text) = std::str::from_utf8(accept) else {
        return Asked::Other;
    };
    let (mut json, mut wildcards, mut any, mut json_wanted, mut wild_wanted) =
        (Vec::new(), Vec::new(), false, false, false);
    // A quoted parameter with a comma in it falls apart here, into pieces that are no JSON.
    for range in text.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        any = true;
        let mut parts = range.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let wanted = !parts.any(is_zero_weight);
        if is_json_range(&essence, events) {
            json.push(range.to_owned());
            json_wanted |= wanted;
        } else if matches!(essence.as_str(), "*/*" | "application/*") {
            // Below JSON, whatever it was.
            wildcards.push(if wanted {
                format!("{essence};q=0.1")
            } else {
                range.to_owned()
            });
            wild_wanted |= wanted;
        }
    }
    match (json_wanted, wild_wanted) {
        (true, _) => Asked::Json(json.into_iter().chain(wildcards).collect()),
        // What JSON it does not want stays said.
        (false, true) if json.is_empty() => Asked::Anything(wildcards),
        (false, true) => Asked::Json(json.into_iter().chain(wildcards).collect()),
        (false, false) if any => Asked::Other,
        (false, false) => Asked::Anything(Vec::new()),
    }
}

/// `q=0` (RFC 9110 12.4.2): not this.
fn is_zero_weight(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else {
        return false;
    };
    name.trim().eq_ignore_ascii_case("q")
        && value.contains('0')
        && value.trim().bytes().all(|byte| matches!(byte, b'0' | b'.'))
}

fn is_json_range(essence: &str, events: bool) -> bool {
    match MediaType::of([essence.as_bytes()].into_iter()) {
        MediaType::Json | MediaType::NdJson | MediaType::JsonSeq => true,
        MediaType::EventStream => events,
        _ => false,
    }
}

/// `json`, or a media type of JSON; a `+` that was sent as it is has been read as a space.
fn is_json_format(value: &str) -> bool {
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "json" || is_json_range(&essence.replace(' ', "+"), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &[(&str, &str)]) -> RequestHead {
        RequestHead::new(
            lines
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())),
        )
    }

    fn accept(target: &str, asked: &[&str], fhir: bool) -> Result<String, Reason> {
        let lines: Vec<_> = asked.iter().map(|value| ("accept", *value)).collect();
        let mut head = head(&lines);
        steer(&mut head, &Target::parse(target.as_bytes()).unwrap(), fhir, false)?;
        Ok(String::from_utf8(head.all("accept").collect::<Vec<_>>().join(&b'|')).unwrap())
    }

    #[test]
    fn requests_are_steered_to_plain_whole_bodies() {
        let names = [
            "accept-encoding",
            "range",
            "if-range",
            "a-im",
            "want-digest",
            "want-content-digest",
            "want-repr-digest",
        ];
        let mut head = head(&names.map(|name| (name, "x")));
        prepare(&mut head);
        assert_eq!(head.first("accept-encoding"), Some(&b"identity"[..]));
        assert!(names.iter().skip(1).all(|name| !head.has(name)));
    }

    #[test]
    fn rule_2_json_is_asked_for() {
        for (asked, fhir, sent) in [
            (
                &[][..],
                true,
                "application/fhir+json, application/json;q=0.9, */*;q=0.1",
            ),
            (
                &["*/*"],
                false,
                "application/json, application/fhir+json;q=0.9, */*;q=0.1",
            ),
            (
                &["text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8"],
                true,
                "application/fhir+json, application/json;q=0.9, */*;q=0.1",
            ),
            (
                &["application/*;q=0.3"],
                true,
                "application/fhir+json, application/json;q=0.9, application/*;q=0.1",
            ),
            (&["application/fhir+json"], false, "application/fhir+json"),
            (
                &["Application/FHIR+JSON;q=0.5, application/fhir+xml"],
                true,
                "Application/FHIR+JSON;q=0.5",
            ),
            (&["application/fhir+xml", "application/json"], true, "application/json"),
            (&["application/json, */*"], true, "application/json, */*;q=0.1"),
            (&["application/fhir+ndjson"], true, "application/fhir+ndjson"),
            (&["application/json;q=0, */*"], true, "application/json;q=0, */*;q=0.1"),
        ] {
            assert_eq!(accept("/fhir/Patient/1", asked, fhir).as_deref(), Ok(sent), "{asked:?}");
        }
    }

    #[test]
    fn rule_2_nothing_else_is() {
        for asked in [
            "application/fhir+xml",
            "text/html, image/*",
            "application/json;q=0",
            "application/json;q=0.000, */*;q=0",
            "multipart/mixed; boundary=+json",
            "text/*",
            "text/event-stream",
            "json",
        ] {
            assert_eq!(
                accept("/fhir/Patient/1", &[asked], true),
                Err(Reason::NotAcceptable),
                "{asked}"
            );
        }
    }

    #[test]
    fn rule_3_format_has_the_last_word() {
        for good in [
            "json",
            "application/fhir+json",
            "application/fhir%2Bjson",
            "text/json",
            "",
            "application/json%3Bx=1",
        ] {
            let target = format!("/fhir/Patient?_format={good}");
            assert!(accept(&target, &["*/*"], true).is_ok(), "{good}");
        }
        assert_eq!(
            accept("/fhir/Patient?_format=json", &["application/fhir+xml"], true).as_deref(),
            Ok(FHIR_FIRST)
        );
        for bad in [
            "xml",
            "application/fhir+xml",
            "html",
            "ttl",
            "json,xml",
            "json&_format=xml",
            "%6ason%78",
        ] {
            let target = format!("/fhir/Patient?_format={bad}");
            assert_eq!(
                accept(&target, &["application/json"], true),
                Err(Reason::NotAcceptable),
                "{bad}"
            );
        }
    }
}
