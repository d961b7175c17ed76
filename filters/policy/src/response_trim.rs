//! Which fields of a response a caller gets: the choice of the view, and what must hold of a response before it is trimmed.
//!
//! 1. The first view whose `when` holds is applied; none holds: the body is refused with 403.
//! 2. What can't be inspected is refused with 502: a content coding, a content type that is not JSON, a part of a
//!    representation, a switched protocol. A missing content type is taken for JSON, since what is not JSON fails.
//! 3. An error response (4xx, 5xx) that can't be inspected keeps its status; its body is replaced.
//! 4. Requests lose what would bring such responses: `Accept-Encoding` becomes `identity`, `Range` and `If-Range` go.
//! 5. Responses lose what tells of the untrimmed body: `Content-Length`, digests, `Accept-Ranges`. Entity tags become those of the view
//!    ([`crate::cache_control::validators`]).
//! 6. Trailers of a trimmed response go: nothing inspects them.

use std::sync::Arc;

use crate::answer::Reason;
use crate::head::{RequestHead, ResponseHead};
use crate::scope::{Holder, Requirement};
use crate::trim::Program;

/// The compiled section.
pub struct ResponseTrim {
    pub(crate) views: Vec<View>,
}

/// A compiled view.
pub struct View {
    pub(crate) when: Option<Requirement>,
    pub(crate) program: Arc<Program>,
}

/// What becomes of a response, by its head.
pub enum Fate {
    /// Nothing to trim: no body comes.
    Pass,
    /// The body goes through this program.
    Trim(Arc<Program>),
    /// The response is refused.
    Refuse(Reason),
}

impl ResponseTrim {
    /// How many views there are.
    pub fn len(&self) -> usize {
        self.views.len()
    }

    /// Whether there is no view at all.
    pub fn is_empty(&self) -> bool {
        self.views.is_empty()
    }

    /// Which view this caller gets, by its place in the file; there is no caller where no token was validated.
    pub fn view<H: Holder + ?Sized>(&self, caller: Option<&H>) -> Option<usize> {
        self.views.iter().position(|view| match (&view.when, caller) {
            (None, _) => true,
            (Some(when), Some(caller)) => when.is_met_by(caller),
            (Some(_), None) => false,
        })
    }

    /// Judges the response's head and edits it. `body`: whether a body comes; `view`: what [`Self::view`] gave for the request.
    pub fn judge(&self, head: &mut ResponseHead, body: bool, view: Option<usize>) -> Fate {
        for name in [
            "content-length",
            "accept-ranges",
            "content-digest",
            "repr-digest",
            "digest",
            "content-md5",
        ] {
            head.remove(name);
        }
        if !body {
            return Fate::Pass;
        }
        if let Err(code) = inspectable(head) {
            return Fate::Refuse(match head.status() {
                status @ 400..=599 => Reason::ErrorBody(status),
                _ => Reason::Uninspectable(code),
            });
        }
        match view.and_then(|index| self.views.get(index)) {
            Some(view) => Fate::Trim(Arc::clone(&view.program)),
            None => Fate::Refuse(Reason::NoView),
        }
    }
}

/// Edits the request so that the response can be inspected.
pub(crate) fn prepare(head: &mut RequestHead) {
    head.set("accept-encoding", "identity");
    head.remove("range");
    head.remove("if-range");
}

/// Whether a response with a body is JSON as a whole, and in the clear.
pub(crate) fn inspectable(head: &ResponseHead) -> Result<(), &'static str> {
    if head.status() < 200 {
        return Err("protocol_switch");
    }
    if head.status() == 206 || head.has("content-range") {
        return Err("partial_content");
    }
    if head
        .all("content-encoding")
        .any(|coding| !coding.trim_ascii().eq_ignore_ascii_case(b"identity"))
    {
        return Err("content_encoding");
    }
    let mut types = head.all("content-type");
    match (types.next(), types.next()) {
        (None, _) => Ok(()),
        (Some(one), None) if is_json(one) => Ok(()),
        _ => Err("content_type"),
    }
}

/// `application/json` and what RFC 6839 3.1 builds on it, in UTF-8 (RFC 8259 8.1).
fn is_json(content_type: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(content_type) else {
        return false;
    };
    let text = text.to_ascii_lowercase();
    let mut parts = text.split(';');
    let media_type = parts.next().unwrap_or_default().trim();
    let json = media_type == "application/json" || media_type == "text/json" || media_type.ends_with("+json");
    let charsets = parts.filter_map(|parameter| parameter.trim().strip_prefix("charset="));
    json && media_type.split('/').count() == 2
        && charsets
            .map(|charset| charset.trim_matches('"'))
            .all(|charset| charset == "utf-8" || charset == "us-ascii")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trim() -> ResponseTrim {
        let program = Arc::new(Program::new(Vec::new(), None, Vec::new()).unwrap());
        ResponseTrim {
            views: vec![View { when: None, program }],
        }
    }

    fn fate(lines: &[(&str, &str)], body: bool) -> (Result<bool, Reason>, ResponseHead) {
        let mut head = ResponseHead::new(
            lines
                .iter()
                .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())),
        );
        let fate = match trim().judge(&mut head, body, Some(0)) {
            Fate::Pass => Ok(false),
            Fate::Trim(_) => Ok(true),
            Fate::Refuse(reason) => Err(reason),
        };
        (fate, head)
    }

    #[test]
    fn what_cannot_be_inspected_is_refused() {
        for (lines, code) in [
            (
                vec![(":status", "200"), ("content-encoding", "gzip")],
                "content_encoding",
            ),
            (
                vec![
                    (":status", "200"),
                    ("content-encoding", "identity"),
                    ("content-encoding", "br"),
                ],
                "content_encoding",
            ),
            (
                vec![(":status", "200"), ("content-type", "application/fhir+xml")],
                "content_type",
            ),
            (
                vec![(":status", "200"), ("content-type", "application/json; charset=utf-16")],
                "content_type",
            ),
            (
                vec![
                    (":status", "200"),
                    ("content-type", "application/json"),
                    ("content-type", "text/plain"),
                ],
                "content_type",
            ),
            (
                vec![(":status", "200"), ("content-type", "multipart/mixed; boundary=+json")],
                "content_type",
            ),
            (
                vec![(":status", "206"), ("content-type", "application/json")],
                "partial_content",
            ),
            (
                vec![
                    (":status", "200"),
                    ("content-range", "bytes 0-1/2"),
                    ("content-type", "application/json"),
                ],
                "partial_content",
            ),
            (vec![(":status", "101")], "protocol_switch"),
        ] {
            assert_eq!(fate(&lines, true).0, Err(Reason::Uninspectable(code)), "{lines:?}");
        }
        assert_eq!(
            fate(&[(":status", "503"), ("content-type", "text/plain")], true).0,
            Err(Reason::ErrorBody(503))
        );
    }

    #[test]
    fn json_in_all_its_names_is_trimmed() {
        for kind in [
            "application/json",
            "Application/FHIR+JSON; charset=UTF-8",
            "application/problem+json;charset=\"utf-8\"",
        ] {
            assert_eq!(
                fate(&[(":status", "200"), ("content-type", kind)], true).0,
                Ok(true),
                "{kind}"
            );
        }
        assert_eq!(fate(&[(":status", "200")], true).0, Ok(true));
        assert_eq!(
            fate(&[(":status", "200"), ("content-type", "text/html")], false).0,
            Ok(false)
        );
    }

    #[test]
    fn what_tells_of_the_untrimmed_body_goes() {
        let lines = [
            (":status", "200"),
            ("content-length", "9"),
            ("content-digest", "x"),
            ("repr-digest", "x"),
            ("digest", "x"),
            ("content-md5", "x"),
            ("accept-ranges", "bytes"),
        ];
        for body in [true, false] {
            assert_eq!(fate(&lines, body).1.lines().count(), 1);
        }
    }

    #[test]
    fn requests_are_steered_to_plain_whole_bodies() {
        let lines = [("accept-encoding", "gzip"), ("range", "bytes=0-1"), ("if-range", "x")];
        let mut head = RequestHead::new(lines.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())));
        prepare(&mut head);
        assert!(!head.has("range") && !head.has("if-range"));
        assert_eq!(head.first("accept-encoding"), Some(&b"identity"[..]));
    }

    #[test]
    fn the_first_view_that_holds_is_taken_and_none_refuses() {
        let when = |scope: &str| Some(Requirement::Scope(crate::scope::Need::parse(scope).unwrap()));
        let program = Arc::new(Program::new(Vec::new(), None, Vec::new()).unwrap());
        let view = |when| View {
            when,
            program: Arc::clone(&program),
        };
        let trim = ResponseTrim {
            views: vec![view(when("user/Patient.rs")), view(when("patient/Patient.rs"))],
        };
        let scopes = |text: &str| crate::scope::ScopeSet::from_text(text).unwrap_or_default();
        assert_eq!(trim.view(Some(&scopes("patient/Patient.rs user/Patient.rs"))), Some(0));
        assert_eq!(trim.view(Some(&scopes("patient/Patient.read"))), Some(1));
        assert_eq!(trim.view(Some(&scopes("openid"))), None);
        assert_eq!(trim.view(None::<&crate::scope::ScopeSet>), None);
        let mut head = ResponseHead::new([(":status".to_owned(), b"200".to_vec())]);
        assert!(matches!(
            trim.judge(&mut head, true, None),
            Fate::Refuse(Reason::NoView)
        ));
        assert!(matches!(
            trim.judge(&mut head, true, Some(2)),
            Fate::Refuse(Reason::NoView)
        ));
    }
}
