use super::tests::{compiled, head};
use super::*;
use crate::head::ResponseHead;
use serde_json::{Value as Json, json};

const FHIR: &str = "application/fhir+json";

/// One request and its response through the suite, or through the four modules as the proxy drives them.
struct Route {
    compiled: Rc<Compiled>,
    chained: bool,
}

/// What came of it: the request as the upstream gets it, and the response's lines as the client does; or the denial.
type Outcome = Result<(RequestHead, Vec<(String, String)>), (Reason, Answer)>;

impl Route {
    fn run(&self, mut request: RequestHead, response: &[(&str, &str)], peer: Option<Peer>) -> Outcome {
        let mut response = ResponseHead::new(
            response
                .iter()
                .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())),
        );
        let mut vault = Vault {
            connection: peer.map(|peer| Rc::new(peer) as Rc<dyn Connection>),
            ..Vault::default()
        };
        if self.chained {
            let mut facts = RequestFacts::default();
            let mut first = Stream::<CACHE_CONTROL>::new(Rc::clone(&self.compiled));
            let mut second = Stream::<OAUTH_SCOPE>::new(Rc::clone(&self.compiled));
            let mut third = Stream::<PHI_URL>::new(Rc::clone(&self.compiled));
            let mut fourth = Stream::<RESPONSE_TRIM>::new(Rc::clone(&self.compiled));
            open(&mut first, &mut request, &mut facts, &mut vault)?;
            open(&mut second, &mut request, &mut facts, &mut vault)?;
            open(&mut third, &mut request, &mut facts, &mut vault)?;
            open(&mut fourth, &mut request, &mut facts, &mut vault)?;
            close(&mut fourth, &mut response)?;
            close(&mut third, &mut response)?;
            close(&mut second, &mut response)?;
            close(&mut first, &mut response)?;
        } else {
            let mut stream = Stream::<ALL>::new(Rc::clone(&self.compiled));
            open(&mut stream, &mut request, &mut RequestFacts::default(), &mut vault)?;
            close(&mut stream, &mut response)?;
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let lines = response
            .lines()
            .map(|(name, value)| (text(name), text(value)))
            .collect();
        Ok((request, lines))
    }

    fn etag(&self, request: RequestHead, kind: &str, tag: &str) -> Option<String> {
        let lines = [(":status", "200"), ("content-type", kind), ("etag", tag)];
        let (_, lines) = self
            .run(request, &lines, None)
            .unwrap_or_else(|(reason, _)| panic!("{reason:?}"));
        lines
            .into_iter()
            .find(|(name, _)| name == "etag")
            .map(|(_, value)| value)
    }
}

fn open<const FILTERS: u8>(
    stream: &mut Stream<FILTERS>,
    head: &mut RequestHead,
    facts: &mut RequestFacts,
    vault: &mut Vault,
) -> Result<(), (Reason, Answer)> {
    let opening = stream.request_head(head, facts, vault);
    facts.handover = opening.handover.map(String::into_bytes);
    verdict(opening.verdict)
}

fn close<const FILTERS: u8>(stream: &mut Stream<FILTERS>, head: &mut ResponseHead) -> Result<(), (Reason, Answer)> {
    verdict(stream.response_head(head, false, false))
}

fn verdict(verdict: Verdict) -> Result<(), (Reason, Answer)> {
    match verdict {
        Verdict::Continue(_) | Verdict::Hold(_) => Ok(()),
        Verdict::Deny(denial) => Err((denial.reason, denial.answer)),
        Verdict::AwaitBody | Verdict::Reply(_) => panic!("nothing here waits or replies"),
    }
}

#[derive(Clone, Copy)]
struct Peer(Option<&'static str>, bool);

impl Connection for Peer {
    fn peer_certificate_digest(&self) -> Option<Vec<u8>> {
        None
    }
    fn peer_uri(&self) -> Option<Vec<u8>> {
        None
    }
    fn tls_version(&self) -> Option<Vec<u8>> {
        self.0.map(|version| version.as_bytes().to_vec())
    }
    fn has_peer_certificate(&self) -> Option<bool> {
        Some(self.1)
    }
}

fn document(deny: &str) -> Json {
    json!({
        "version": "1",
        "policies": {
            "chart": {"cache_control": {"class": "phi"}, "response_trim": {"views": [{"deny": [deny]}]}},
            "whole": {"cache_control": {"class": "phi", "nosniff": true}},
            "sealed": {
                "cache_control": {
                    "class": "authenticated", "nosniff": true, "referrer_policy": "no-referrer", "hsts": {"max_age": "1h"},
                    "clear_site_data": ["*"], "tls": {"min_version": "TLSv1.3", "client_certificate": "required"},
                },
                "phi_url": {"preset": "fhir-r4"},
            },
        },
        "routes": [
            {"match": {"path_prefix": "/chart"}, "policy": "chart"},
            {"match": {"path_prefix": "/whole"}, "policy": "whole"},
            {"match": {"path_prefix": "/sealed"}, "policy": "sealed"},
        ],
    })
}

fn both(document: &Json) -> [Route; 2] {
    [false, true].map(|chained| Route {
        compiled: compiled(document.clone()),
        chained,
    })
}

#[test]
fn a_trimmed_bodys_tag_comes_back_as_the_upstreams_own_until_the_policy_changes() {
    for (route, changed) in both(&document("$.ssn")).into_iter().zip(both(&document("$.name"))) {
        let given = route.etag(head("/chart/1", &[]), FHIR, "\"abc\"").unwrap();
        assert!(given.starts_with("W/\"abc~s") && given.len() == 25, "{given}");
        let asked = |route: &Route, tags: &str| {
            let lines = [
                ("if-none-match", tags),
                ("if-modified-since", "Thu, 01 Jan 2026 00:00:00 GMT"),
            ];
            let (sent, _) = route
                .run(
                    head("/chart/1", &lines),
                    &[(":status", "304"), ("etag", "\"abc\"")],
                    None,
                )
                .unwrap_or_else(|(reason, _)| panic!("{reason:?}"));
            assert!(!sent.has("if-modified-since"));
            sent.first("if-none-match")
                .map(|value| String::from_utf8(value.to_vec()).unwrap())
        };
        assert_eq!(asked(&route, &given).as_deref(), Some("\"abc\""));
        assert_eq!(
            asked(&route, &format!("{given}, W/\"7\"")).as_deref(),
            Some("\"abc\", W/\"7\"")
        );
        assert_eq!(asked(&route, "\"abc\""), None, "nobody gave it");
        assert_eq!(asked(&changed, &given), None, "the body may be another now");
        assert_eq!(asked(&changed, "W/\"7\"").as_deref(), Some("W/\"7\""));
        assert_eq!(
            route.etag(head("/chart/1", &[]), FHIR, "W/\"7\"").as_deref(),
            Some("W/\"7\"")
        );
        assert_eq!(
            route.etag(head("/chart/1", &[]), FHIR, "W/\"7\",\"8\""),
            None,
            "folded by the proxy"
        );
        // What is not trimmed keeps what it had.
        assert_eq!(
            route.etag(head("/whole/1", &[]), FHIR, "\"abc\"").as_deref(),
            Some("\"abc\"")
        );
    }
}

#[test]
fn suite_and_modules_salt_alike() {
    let [suite, chain] = both(&document("$.ssn"));
    let of = |route: &Route| route.etag(head("/chart/1", &[]), "application/json", "W/\"abc\"");
    assert_eq!(of(&suite), of(&chain));
}

#[test]
fn a_read_of_phi_asks_no_cache_for_a_stored_copy() {
    for route in both(&document("$.ssn")) {
        let lines = [
            ("cache-control", "only-if-cached, max-stale=60"),
            ("pragma", "x"),
            ("range", "bytes=0-9"),
            ("if-none-match", "\"x\""),
        ];
        let (sent, answered) = route
            .run(head("/whole/1", &lines), &[(":status", "206")], None)
            .unwrap_or_else(|(reason, _)| panic!("{reason:?}"));
        assert_eq!(sent.first("cache-control"), Some(&b"no-cache"[..]));
        assert!(!sent.has("pragma") && sent.has("range") && sent.has("if-none-match"));
        let has = |name: &str, value: &str| answered.iter().any(|line| *line == (name.to_owned(), value.to_owned()));
        assert!(has("cache-control", "no-store, private") && has("x-content-type-options", "nosniff"));
        // What is somebody's, but no PHI, is asked for as it was.
        let peer = Peer(Some("TLSv1.3"), true);
        let (sent, _) = route
            .run(head("/sealed/1", &lines), &[(":status", "200")], Some(peer))
            .unwrap_or_else(|(reason, _)| panic!("{reason:?}"));
        assert_eq!(sent.first("cache-control"), Some(lines[0].1.as_bytes()));
    }
}

#[test]
fn a_connection_that_is_less_than_demanded_is_denied_before_all_else() {
    for route in both(&document("$.ssn")) {
        // The PHI in its URL would be denied next.
        let target = "/sealed/Patient?birthdate=1974-12-25";
        for (peer, detail) in [
            (None, "unknown"),
            (Some(Peer(None, false)), "tls_version"),
            (Some(Peer(Some("TLSv1.2"), true)), "tls_version"),
            (Some(Peer(Some("TLSv1.3"), false)), "client_certificate"),
        ] {
            let Err((reason, answer)) = route.run(head(target, &[]), &[], peer) else {
                panic!("{detail}")
            };
            assert_eq!(reason, Reason::TlsRequired(detail));
            assert_eq!(
                (reason.code(), reason.filter(), answer.status),
                ("tls_required", FilterKind::CacheControl, 403)
            );
            let names: Vec<_> = answer
                .headers
                .iter()
                .map(|(name, value)| format!("{name}: {value}"))
                .collect();
            for line in [
                "cache-control: no-store, private",
                "strict-transport-security: max-age=3600",
                "x-content-type-options: nosniff",
                "referrer-policy: no-referrer",
            ] {
                assert!(names.contains(&line.to_owned()), "{line}: {names:?}");
            }
            assert!(!names.iter().any(|line| line.starts_with("clear-site-data")));
        }
        let peer = Peer(Some("TLSv1.3"), true);
        assert!(matches!(
            route.run(head(target, &[]), &[], Some(peer)),
            Err((Reason::PhiInUrl { .. }, _))
        ));
        assert!(
            route
                .run(head("/sealed/x", &[]), &[(":status", "200")], Some(peer))
                .is_ok()
        );
    }
}
