//! Which fields of a response a caller gets: the choice of the view, and what must hold of a response before it is trimmed.
//!
//! 1. Of the views whose `when` holds for the caller, the first whose `status` and `content_type` fit the response is applied. Where none does the response is
//!    refused with 403; an error keeps its status and loses its body. So does the answer to what changed something (POST, PUT ..), which else would be sent again.
//! 2. What can't be inspected is refused with 502: a content coding that is not known or not what it says, a content type that is not JSON, a part of a
//!    representation, a switched protocol. A missing content type is taken for JSON, since what is not JSON fails.
//! 3. An error response (4xx, 5xx) that can't be inspected keeps its status; its body is replaced. So are all of them under `errors: replace`. A redirect
//!    (3xx) that can't be inspected keeps its head and loses its body.
//! 4. Requests lose what would bring such responses (`steer`).
//! 5. Responses lose what tells of the untrimmed body: `Content-Length`, digests, signatures, `Accept-Ranges`, the content coding. Entity tags become those of
//!    the views ([`crate::cache_control::validators`]).
//! 6. Trailers of a trimmed response go: nothing inspects them.
//! 7. HEAD gets the status and headers that GET would get, as far as the head decides them.
//! 8. A PUT replaces the record: where the caller's GET of it would be trimmed, what was left out would be deleted, so it is refused with 409
//!    (`chain/write_back.rs`).
//! 9. Under `mode: observe` nothing is changed, removed or refused.

mod observe;
mod pipe;
mod slots;
mod steer;

use std::sync::Arc;

use crate::answer::Reason;
use crate::decode::{Caps, Codings, Decoder};
use crate::framing::{Framing, MediaType};
use crate::head::ResponseHead;
use crate::policy_file::WriteBack;
use crate::scope::{Holder, Requirement};
use crate::trim::Program;

pub use self::pipe::Plan;

pub(crate) use self::observe::Observer;
pub(crate) use self::pipe::Pipe;
pub(crate) use self::slots::{Slot, Slots};
pub(crate) use self::steer::{prepare, steer};

/// The compiled section.
pub struct ResponseTrim {
    pub(crate) views: Vec<View>,
    /// Nothing is changed.
    pub(crate) observe: bool,
    /// Bodies of errors are not trimmed but replaced.
    pub(crate) replace_errors: bool,
    /// What becomes of a PUT over what was read trimmed.
    pub(crate) write_back: WriteBack,
    /// Some rules are by FHIR resource type: what is asked for is FHIR's JSON.
    pub(crate) fhir: bool,
    /// How much a compressed body may become.
    pub(crate) caps: Caps,
    /// Event streams are trimmed, not refused.
    pub(crate) events: bool,
}

impl Default for ResponseTrim {
    /// Without a view: every body is refused.
    fn default() -> Self {
        ResponseTrim {
            views: Vec::new(),
            observe: false,
            replace_errors: false,
            write_back: WriteBack::Refuse,
            fhir: false,
            caps: Caps::default(),
            events: false,
        }
    }
}

/// A compiled view.
pub struct View {
    pub(crate) when: Option<Requirement>,
    /// Empty: any.
    pub(crate) statuses: Vec<StatusRange>,
    /// Empty: any.
    pub(crate) types: Vec<MediaRange>,
    /// What it does; none where the module does not trim.
    pub(crate) program: Option<Arc<Program>>,
    /// Whether it leaves anything out.
    pub(crate) trims: bool,
}

/// A status code, or a class of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StatusRange {
    first: u16,
    last: u16,
}

impl StatusRange {
    /// Reads `404` or `4xx`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(class) = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX")) {
            let first = class.parse::<u16>().ok().filter(|class| (2..=5).contains(class))?;
            let first = first.saturating_mul(100);
            return Some(StatusRange {
                first,
                last: first.saturating_add(99),
            });
        }
        let status = text.parse().ok().filter(|status| (200..=599).contains(status))?;
        Some(StatusRange {
            first: status,
            last: status,
        })
    }

    fn holds(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

/// A media type, or all subtypes of one (`application/*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MediaRange {
    kind: Box<str>,
    subtype: Option<Box<str>>,
}

impl MediaRange {
    /// Reads `application/fhir+json` or `application/*`, in small letters.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        // RFC 9110 5.6.2
        let is_token = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
        };
        let lower = text.to_ascii_lowercase();
        let (kind, subtype) = lower.split_once('/')?;
        let sound = is_token(kind) && is_token(subtype) && !kind.contains('*');
        let any = subtype == "*";
        (sound && (any || !subtype.contains('*'))).then(|| MediaRange {
            kind: kind.into(),
            subtype: (!any).then(|| subtype.into()),
        })
    }

    fn holds(&self, content_type: Option<&[u8]>) -> bool {
        let Some(text) = content_type.and_then(|line| std::str::from_utf8(line).ok()) else {
            return false;
        };
        let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        essence.split_once('/').is_some_and(|(kind, subtype)| {
            *kind == *self.kind && self.subtype.as_deref().is_none_or(|own| own == subtype)
        })
    }
}

/// The views whose `when` holds for a caller, by their places in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Views(pub(crate) u64);

/// How many views a section may have.
pub(crate) const MAX_VIEWS: usize = 64;

impl Views {
    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn has(self, index: usize) -> bool {
        u32::try_from(index)
            .ok()
            .and_then(|index| self.0.checked_shr(index))
            .is_some_and(|bits| bits & 1 == 1)
    }
}

/// What becomes of a response, by its head.
pub enum Fate {
    /// Nothing to trim: no body comes.
    Pass,
    /// The body is trimmed so.
    Trim(Plan),
    /// Its head passes, and nothing of its body.
    Withhold(Reason),
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

    /// What the view at this place does, to be asked about elements.
    pub fn program(&self, view: usize) -> Option<&Program> {
        self.views.get(view)?.program.as_deref()
    }

    /// Whether it only looks on.
    pub fn observes(&self) -> bool {
        self.observe
    }

    /// Which views this caller gets; there is no caller where no token was validated.
    pub fn views<H: Holder + ?Sized>(&self, caller: Option<&H>) -> Views {
        let holds = |view: &View| match (&view.when, caller) {
            (None, _) => true,
            (Some(when), Some(caller)) => when.is_met_by(caller),
            (Some(_), None) => false,
        };
        let mut bits = 0u64;
        let mut bit = 1u64;
        for view in self.views.iter().take(MAX_VIEWS) {
            if holds(view) {
                bits |= bit;
            }
            bit = bit.wrapping_shl(1);
        }
        Views(bits)
    }

    /// Whether who gets these views may see less than all of a record that is there.
    pub fn conceals(&self, views: Views) -> bool {
        let own = self.views.iter().enumerate().filter(|(index, _)| views.has(*index));
        for (_, view) in own {
            if !view.statuses.is_empty() && !view.statuses.iter().any(|range| range.holds(200)) {
                continue;
            }
            if view.trims {
                return !self.observe;
            }
            // What stands behind it is never reached.
            if view.types.is_empty() {
                return false;
            }
        }
        false
    }

    /// Whether anybody may, and replacing it is refused.
    pub(crate) fn guards(&self, creates: bool) -> bool {
        let trims = |view: &View| {
            view.trims && (view.statuses.is_empty() || view.statuses.iter().any(|range| range.holds(200)))
        };
        self.refuses(creates) && !self.observe && self.views.iter().any(trims)
    }

    /// Whether replacing what these views show is refused; `creates`: where nothing is there yet, only.
    pub fn refuses_write_back(&self, views: Views, creates: bool) -> bool {
        self.refuses(creates) && self.conceals(views)
    }

    fn refuses(&self, creates: bool) -> bool {
        match self.write_back {
            WriteBack::Refuse => true,
            WriteBack::Create => !creates,
            WriteBack::Allow => false,
        }
    }

    /// The view for this response.
    fn view(&self, views: Views, head: &ResponseHead) -> Option<(usize, &View)> {
        let content_type = head.first("content-type");
        let fits = |view: &View| {
            (view.statuses.is_empty() || view.statuses.iter().any(|range| range.holds(head.status())))
                && (view.types.is_empty() || view.types.iter().any(|range| range.holds(content_type)))
        };
        let mut candidates = self.views.iter().enumerate().filter(|(index, _)| views.has(*index));
        candidates.find(|(_, view)| fits(view))
    }

    /// Looks on at a response with a body: the view that it would get, and why it would be refused.
    pub(crate) fn observe(
        &self,
        head: &ResponseHead,
        views: Views,
        slots: &Slots,
    ) -> (Option<Observer>, Option<usize>, Option<Reason>) {
        let view = self.view(views, head).map(|(index, _)| index);
        match inspectable(head, self.events) {
            Err(code) => (None, view, Some(Reason::Uninspectable(code))),
            Ok(shape) => match Observer::new(&shape, self.caps, slots) {
                Ok(observer) => (Some(observer), view, view.is_none().then_some(Reason::NoView)),
                Err(code) => (None, view, Some(Reason::Uninspectable(code))),
            },
        }
    }

    /// Judges the response's head and edits it. `body`: whether a body comes; `head_request`: whether none comes since HEAD was asked; `reads`:
    /// whether nothing was changed (GET, HEAD); `views`: what
    /// [`Self::views`] gave for the request.
    pub fn judge(&self, head: &mut ResponseHead, body: bool, head_request: bool, reads: bool, views: Views) -> Fate {
        let view = self.view(views, head);
        let shape = inspectable(head, self.events);
        for name in [
            "content-length",
            "accept-ranges",
            "content-digest",
            "repr-digest",
            "unencoded-digest",
            "digest",
            "content-md5",
            "signature",
            "signature-input",
            // HEAD and 304 speak of the same body as GET, and that one is decoded.
            "content-encoding",
        ] {
            head.remove(name);
        }
        let status = head.status();
        if !body && (!head_request || matches!(status, 204 | 304)) {
            return Fate::Pass;
        }
        // What was done is done: to say otherwise would have it done again. And a redirect is in its head.
        let keeps_head = |reads: bool| !reads || matches!(status, 300..=399);
        let refusal = match (&shape, view) {
            (Err(_), _) if matches!(status, 400..=599) => Some(Reason::ErrorBody(status)),
            (Err(code), _) => Some(Reason::Uninspectable(code)),
            (Ok(_), _) if self.replace_errors && matches!(status, 400..=599) => Some(Reason::ErrorBody(status)),
            (Ok(_), None) if matches!(status, 400..=599) => Some(Reason::ErrorBody(status)),
            (Ok(_), None) => Some(Reason::NoView),
            (Ok(_), Some(_)) => None,
        };
        match (refusal, view, shape) {
            (Some(reason @ Reason::NoView), _, _) if keeps_head(reads) => Fate::Withhold(reason),
            (Some(reason @ Reason::Uninspectable(_)), _, _) if keeps_head(true) => Fate::Withhold(reason),
            (Some(reason), _, _) => Fate::Refuse(reason),
            (None, Some((index, view)), Ok(shape)) if body => match &view.program {
                Some(program) => Fate::Trim(Plan {
                    view: index,
                    program: Arc::clone(program),
                    shape,
                    caps: self.caps,
                }),
                None => Fate::Refuse(Reason::Uninspectable("no_program")),
            },
            _ => Fate::Pass,
        }
    }
}

/// What is to be undone to read a body, and how its records are set apart; `None`: it is one value.
pub(crate) struct Shape {
    codings: Codings,
    framing: Option<Framing>,
}

impl Shape {
    /// What undoes the codings.
    ///
    /// # Errors
    /// Too many bodies are being decoded.
    fn decoder(&self, caps: Caps, slots: &Slots) -> Result<Option<(Decoder, Slot)>, &'static str> {
        if self.codings.is_identity() {
            return Ok(None);
        }
        let slot = slots.take().ok_or("decoders_busy")?;
        Ok(Some((Decoder::new(&self.codings, caps), slot)))
    }

    /// Whether its end may never come.
    pub(crate) fn is_endless(&self) -> bool {
        self.framing == Some(Framing::Events)
    }

    /// Whether it is one value in the clear.
    pub(crate) fn is_plain(&self) -> bool {
        self.codings.is_identity() && self.framing.is_none()
    }
}

/// Whether a response with a body is JSON as a whole, and how to read it. `events`: whether event streams are.
pub(crate) fn inspectable(head: &ResponseHead, events: bool) -> Result<Shape, &'static str> {
    if head.status() < 200 {
        return Err("protocol_switch");
    }
    if head.status() == 206 || head.has("content-range") {
        return Err("partial_content");
    }
    // RFC 3229: what comes may be a difference to what the client has.
    if head.status() == 226 || head.has("im") {
        return Err("instance_manipulation");
    }
    let kind = MediaType::of(head.all("content-type"));
    match kind {
        MediaType::Json | MediaType::Missing | MediaType::NdJson | MediaType::JsonSeq => {}
        MediaType::EventStream if events => {}
        MediaType::EventStream => return Err("event_stream"),
        MediaType::Multipart | MediaType::Xml | MediaType::Other => return Err("content_type"),
    }
    let codings = Codings::parse(head.all("content-encoding"))?;
    // Each would hold a decoder for as long as it stays open.
    if kind == MediaType::EventStream && !codings.is_identity() {
        return Err("content_encoding");
    }
    Ok(Shape {
        codings,
        framing: kind.framing(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(when: Option<Requirement>) -> View {
        View {
            when,
            statuses: Vec::new(),
            types: Vec::new(),
            program: Some(Arc::new(Program::new(Vec::new(), None, Vec::new()).unwrap())),
            trims: true,
        }
    }

    fn trim() -> ResponseTrim {
        ResponseTrim {
            views: vec![view(None)],
            ..ResponseTrim::default()
        }
    }

    fn fate(lines: &[(&str, &str)], body: bool) -> (Result<bool, Reason>, ResponseHead) {
        let mut head = ResponseHead::new(
            lines
                .iter()
                .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())),
        );
        let fate = match trim().judge(&mut head, body, false, true, Views(1)) {
            Fate::Pass => Ok(false),
            Fate::Trim(_) => Ok(true),
            Fate::Withhold(_) => panic!("it is refused as a whole"),
            Fate::Refuse(reason) => Err(reason),
        };
        (fate, head)
    }

    #[test]
    fn what_cannot_be_inspected_is_refused() {
        for (lines, code) in [
            (
                vec![(":status", "200"), ("content-encoding", "compress")],
                "content_encoding",
            ),
            (
                vec![
                    (":status", "200"),
                    ("content-encoding", "identity"),
                    ("content-encoding", "br, x"),
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
                vec![(":status", "226"), ("im", "gzip"), ("content-type", "application/json")],
                "instance_manipulation",
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
            (
                vec![(":status", "200"), ("content-type", "text/event-stream")],
                "event_stream",
            ),
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

    /// Which view a response with this status and type gets.
    fn chosen(trim: &ResponseTrim, status: &str, kind: &str, views: Views) -> Result<usize, Reason> {
        let lines = [(":status", status), ("content-type", kind)];
        let mut head = ResponseHead::new(lines.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())));
        match trim.judge(&mut head, true, false, true, views) {
            Fate::Trim(plan) => Ok(plan.view),
            Fate::Refuse(reason) => Err(reason),
            Fate::Withhold(_) | Fate::Pass => panic!("a body comes"),
        }
    }

    #[test]
    fn rule_1_the_first_view_that_holds_is_taken_and_none_refuses() {
        let when = |scope: &str| Some(Requirement::Scope(crate::scope::Need::parse(scope).unwrap()));
        let trim = ResponseTrim {
            views: vec![view(when("user/Patient.rs")), view(when("patient/Patient.rs"))],
            ..ResponseTrim::default()
        };
        let scopes = |text: &str| crate::scope::ScopeSet::from_text(text).unwrap_or_default();
        let get = |held: &str| chosen(&trim, "200", "application/json", trim.views(Some(&scopes(held))));
        assert_eq!(get("patient/Patient.rs user/Patient.rs"), Ok(0));
        assert_eq!(get("patient/Patient.read"), Ok(1));
        assert_eq!(get("openid"), Err(Reason::NoView));
        assert!(trim.views(None::<&crate::scope::ScopeSet>).is_empty());
        assert_eq!(chosen(&trim, "200", "application/json", Views(4)), Err(Reason::NoView));
    }

    #[test]
    fn rule_1_views_are_for_statuses_and_types() {
        let of = |statuses: &[&str], types: &[&str]| View {
            statuses: statuses.iter().map(|text| StatusRange::parse(text).unwrap()).collect(),
            types: types.iter().map(|text| MediaRange::parse(text).unwrap()).collect(),
            ..view(None)
        };
        let mut trim = ResponseTrim {
            views: vec![
                of(&["404", "5xx"], &[]),
                of(&[], &["application/fhir+json"]),
                of(&["200"], &["text/*", "application/*"]),
            ],
            ..ResponseTrim::default()
        };
        let all = Views(7);
        for (status, kind, wanted) in [
            ("404", "application/fhir+json", Ok(0)),
            ("503", "application/json", Ok(0)),
            ("403", "Application/FHIR+json; charset=utf-8", Ok(1)),
            ("403", "application/json", Err(Reason::ErrorBody(403))),
            ("201", "application/json", Err(Reason::NoView)),
            ("200", "application/problem+json", Ok(2)),
        ] {
            assert_eq!(chosen(&trim, status, kind, all), wanted, "{status} {kind}");
        }
        assert_eq!(
            chosen(&trim, "404", "application/json", Views(6)),
            Err(Reason::ErrorBody(404))
        );
        assert_eq!(
            chosen(&trim, "404", "application/json", Views(0)),
            Err(Reason::ErrorBody(404))
        );
        trim.replace_errors = true;
        assert_eq!(
            chosen(&trim, "404", "application/json", all),
            Err(Reason::ErrorBody(404))
        );
        assert_eq!(chosen(&trim, "200", "application/json", all), Ok(2));
    }

    #[test]
    fn what_was_done_and_where_to_go_is_told_without_a_body() {
        let judged = |status: &str, kind: &str, reads, views| {
            let lines = [(":status", status), ("content-type", kind)];
            let mut head = ResponseHead::new(lines.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())));
            match trim().judge(&mut head, true, false, reads, views) {
                Fate::Withhold(reason) => Ok(reason),
                Fate::Refuse(reason) => Err(reason),
                Fate::Pass | Fate::Trim(_) => panic!("nothing of it may pass"),
            }
        };
        assert_eq!(judged("201", "application/json", false, Views(0)), Ok(Reason::NoView));
        assert_eq!(judged("200", "application/json", true, Views(0)), Err(Reason::NoView));
        let html = Reason::Uninspectable("content_type");
        assert_eq!(judged("302", "text/html", true, Views(1)), Ok(html.clone()));
        assert_eq!(judged("302", "application/json", true, Views(0)), Ok(Reason::NoView));
        assert_eq!(judged("200", "text/html", true, Views(1)), Err(html.clone()));
        // A compressed or garbled answer to a POST is no answer.
        assert_eq!(judged("201", "text/html", false, Views(1)), Err(html));
    }

    #[test]
    fn statuses_and_types_are_read_strictly() {
        for bad in ["", "x", "1xx", "6xx", "199", "600", "4x", "4xxx", "-200", " 200"] {
            assert_eq!(StatusRange::parse(bad), None, "{bad}");
        }
        for bad in [
            "", "json", "*/*", "a/", "/b", "a/b; c=d", "a/b/c", "a/x*", "a b/c", "*/json",
        ] {
            assert_eq!(MediaRange::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn rule_7_head_is_told_what_get_would_be() {
        let judged = |lines: &[(&str, &str)], views| {
            let lines = lines
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
            match trim().judge(&mut ResponseHead::new(lines), false, true, true, views) {
                Fate::Pass => None,
                Fate::Refuse(reason) => Some(reason),
                Fate::Withhold(_) | Fate::Trim(_) => panic!("no body comes"),
            }
        };
        let json = ("content-type", "application/json");
        assert_eq!(judged(&[(":status", "200"), json], Views(1)), None);
        assert_eq!(judged(&[(":status", "200"), json], Views(0)), Some(Reason::NoView));
        let xml = ("content-type", "application/fhir+xml");
        assert_eq!(
            judged(&[(":status", "200"), xml], Views(1)),
            Some(Reason::Uninspectable("content_type"))
        );
        assert_eq!(judged(&[(":status", "304"), xml], Views(1)), None);
        assert_eq!(
            judged(&[(":status", "404"), xml], Views(1)),
            Some(Reason::ErrorBody(404))
        );
    }

    #[test]
    fn rule_8_only_who_sees_less_than_all_can_delete_by_replacing() {
        let mut trim = ResponseTrim {
            views: vec![
                View {
                    trims: false,
                    ..view(None)
                },
                view(None),
            ],
            ..ResponseTrim::default()
        };
        assert!(trim.refuses_write_back(Views(2), false));
        assert!(!trim.refuses_write_back(Views(1), false) && !trim.refuses_write_back(Views(0), false));
        // The first is what is seen, for all types or for some.
        assert!(!trim.refuses_write_back(Views(3), false));
        trim.views[0].types.push(MediaRange::parse("text/*").unwrap());
        assert!(trim.refuses_write_back(Views(3), false));
        // What errors look like does not matter.
        trim.views[1].statuses.push(StatusRange::parse("4xx").unwrap());
        assert!(!trim.refuses_write_back(Views(3), false));
        trim.views[1].statuses.push(StatusRange::parse("2xx").unwrap());
        trim.write_back = WriteBack::Create;
        assert!(trim.refuses_write_back(Views(3), false) && !trim.refuses_write_back(Views(3), true));
        trim.write_back = WriteBack::Allow;
        assert!(!trim.refuses_write_back(Views(3), false) && trim.conceals(Views(3)));
        trim.observe = true;
        assert!(!trim.conceals(Views(3)));
    }
}
