//! What a response says it is.

use super::Framing;

/// What `Content-Type` says of a body, as far as it matters to trimming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// One JSON value: `application/json`, `text/json`, and what RFC 6839 3.1 builds on it (`+json`).
    Json,
    /// A JSON value in each line: `application/x-ndjson`, `application/fhir+ndjson`, `application/jsonl` and their like.
    NdJson,
    /// `application/json-seq` (RFC 7464) and `+json-seq` (RFC 8091).
    JsonSeq,
    /// `text/event-stream`.
    EventStream,
    /// `multipart/*`: parts of which each would be of a type of its own.
    Multipart,
    /// `application/xml`, `text/xml` and `+xml` (RFC 7303).
    Xml,
    /// Anything else: also what is no media type, more than one, and text in another charset.
    Other,
    /// There is no such line.
    Missing,
}

impl MediaType {
    /// Reads the lines of `Content-Type`.
    pub fn of<'a>(lines: impl Iterator<Item = &'a [u8]>) -> MediaType {
        let mut lines = lines.map(<[u8]>::trim_ascii);
        let Some(first) = lines.next() else {
            return MediaType::Missing;
        };
        if lines.any(|line| line != first) {
            return MediaType::Other;
        }
        MediaType::of_line(first)
    }

    fn of_line(line: &[u8]) -> MediaType {
        // A folded line, or a comma in a quoted parameter, which none of these types has.
        let Some(text) = std::str::from_utf8(line).ok().filter(|text| !text.contains(',')) else {
            return MediaType::Other;
        };
        let text = text.to_ascii_lowercase();
        let mut parts = text.split(';');
        let essence = parts.next().unwrap_or_default().trim_ascii();
        let Some((kind, subtype)) = essence.split_once('/') else {
            return MediaType::Other;
        };
        if !is_token(kind) || !is_token(subtype) {
            return MediaType::Other;
        }
        let utf8 = parts.all(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            name.trim_ascii() != "charset"
                || matches!(
                    value.trim_ascii().trim_matches('"'),
                    // The third is no name of a charset, and often written.
                    "utf-8" | "us-ascii" | "utf8"
                )
        });
        let suffix = subtype.rsplit_once('+').map(|(_, suffix)| suffix);
        let of = match (kind, subtype, suffix) {
            ("multipart", _, _) => return MediaType::Multipart,
            ("application" | "text", "xml", _) | (_, _, Some("xml")) => return MediaType::Xml,
            ("application" | "text", "json", _) | (_, _, Some("json")) => MediaType::Json,
            ("application", "x-ndjson" | "ndjson" | "fhir+ndjson", _)
            | ("application", "jsonl" | "jsonlines" | "x-jsonl" | "x-jsonlines", _) => MediaType::NdJson,
            ("application", "json-seq", _) | (_, _, Some("json-seq")) => MediaType::JsonSeq,
            ("text", "event-stream", _) => MediaType::EventStream,
            _ => MediaType::Other,
        };
        if utf8 { of } else { MediaType::Other }
    }

    /// How a body of this type is taken apart; nothing for one value, and for what is not taken apart.
    pub fn framing(self) -> Option<Framing> {
        match self {
            MediaType::NdJson => Some(Framing::Lines),
            MediaType::JsonSeq => Some(Framing::Sequence),
            MediaType::EventStream => Some(Framing::Events),
            _ => None,
        }
    }
}

/// RFC 9110 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod unit_tests {
    use super::MediaType::{self, *};

    fn of(lines: &[&str]) -> MediaType {
        MediaType::of(lines.iter().map(|line| line.as_bytes()))
    }

    #[test]
    fn types_are_read_in_all_their_names() {
        for (line, wanted) in [
            ("application/json", Json),
            ("text/json", Json),
            ("Application/FHIR+JSON; charset=UTF-8", Json),
            ("application/problem+json;charset=\"utf-8\"", Json),
            ("application/json ; charset=us-ascii; fhirVersion=4.0", Json),
            ("application/x-ndjson", NdJson),
            ("application/ndjson", NdJson),
            ("application/fhir+ndjson", NdJson),
            ("application/jsonl", NdJson),
            ("application/jsonlines", NdJson),
            ("application/x-jsonlines; charset=utf-8", NdJson),
            ("application/json-seq", JsonSeq),
            ("application/geo+json-seq", JsonSeq),
            ("text/event-stream;charset=UTF-8", EventStream),
            ("multipart/mixed; boundary=+json", Multipart),
            ("application/fhir+xml", Xml),
            ("text/xml", Xml),
            ("text/html", Other),
            ("application/octet-stream", Other),
            ("text/plain", Other),
            ("", Other),
            ("json", Other),
            ("application/", Other),
            ("/json", Other),
            ("+json", Other),
            ("a/b/c+json", Other),
            ("application /json", Other),
            ("application/json x", Other),
            ("application/json+gzip", Other),
            ("application/json-patch", Other),
        ] {
            assert_eq!(of(&[line]), wanted, "{line}");
        }
        assert_eq!(MediaType::of([&b"application/json; a=\xff"[..]].into_iter()), Other);
    }

    #[test]
    fn another_charset_is_not_known() {
        for kind in [
            "application/json",
            "application/x-ndjson",
            "application/json-seq",
            "text/event-stream",
        ] {
            for charset in [
                "charset=utf-16",
                "charset=\"utf-16\"",
                "charset=iso-8859-1",
                "charset=",
                "charset",
                " CHARSET = utf-7",
                "x=1;charset=utf-8;charset=utf-16",
            ] {
                assert_eq!(of(&[&format!("{kind};{charset}")]), Other, "{kind};{charset}");
            }
        }
    }

    #[test]
    fn several_types_are_none() {
        assert_eq!(of(&[]), Missing);
        assert_eq!(of(&["application/json", "application/json "]), Json);
        assert_eq!(of(&["application/json", "text/plain"]), Other);
        assert_eq!(of(&["application/json,application/json"]), Other);
        assert_eq!(of(&["application/json; x=1, text/plain"]), Other);
    }
}
