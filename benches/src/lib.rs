//! What the benchmarks share: the policy, tokens, heads and bodies, all made from fixed seeds and at a fixed time.

use std::path::{Path, PathBuf};

use scrim::exchange::{Answer, Body, End, Headers, Request};
use scrim::policy_file::PolicyFile;
use scrim::tokens::{TokenSpec, mint};
use scrim_policy::compile::Compiled;
use scrim_policy::head::{RequestHead, ResponseHead};
use serde_json::json;

/// The time of all benchmarks, in seconds since 1970.
pub const NOW: u64 = 1_800_000_000;
/// The scopes of a caller who gets the first view, which denies fields.
pub const CLINICIAN: &str = "openid fhirUser launch user/Observation.rs user/Patient.rs user/Encounter.rs";
/// The scopes of a caller who gets the second view, which allows fields.
pub const PATIENT: &str = "openid fhirUser launch/patient patient/Observation.rs patient/Patient.rs";
/// A search that the policy `gate` masks two values of.
pub const SEARCH: &str = "/gate/Patient?name=Chalmers&birthdate=1974-12-25&_format=json&_count=10";
/// The same under the policy `clinician`, which trims the body.
pub const TRIMMED: &str = "/fhir/Patient?name=Chalmers&birthdate=1974-12-25&_format=json&_count=10";
/// How a proxy delivers bodies: Envoy reads 16 KiB at a time.
pub const CHUNK: usize = 16 * 1024;

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The file of that name in the example's folder.
pub fn example(name: &str) -> PathBuf {
    folder().join("../examples/fhir-gateway").join(name)
}

/// `policy.yaml` beside this crate.
///
/// # Panics
/// When it can't be read.
pub fn policy() -> PolicyFile {
    PolicyFile::read(&folder().join("policy.yaml")).unwrap_or_else(|diagnostics| panic!("{diagnostics}"))
}

/// The policy, compiled.
///
/// # Panics
/// When it has errors.
pub fn compiled() -> Compiled {
    let (compiled, diagnostics) = policy().check();
    compiled.unwrap_or_else(|| panic!("{diagnostics}"))
}

/// A token of the example's issuer that holds at [`NOW`]. `algorithm` is `rs256` or `es256`.
///
/// # Panics
/// When the example's keys can't be read.
pub fn token(algorithm: &str, scope: &str) -> String {
    let spec = TokenSpec {
        key: Some(example(&format!("keys/{algorithm}.synthetic.jwk.json"))),
        claims: json!({
            "iss": "https://idp.example.org", "aud": "https://fhir.example.org", "sub": "practitioner-1", "client_id": "ward-app",
            "fhirUser": "https://fhir.example.org/Practitioner/1", "scope": scope, "iat": "now", "exp": "+1d",
            "jti": "00000000000000000000000000000001",
        })
        .as_object()
        .cloned()
        .unwrap_or_default(),
        ..TokenSpec::default()
    };
    mint(&spec, folder(), NOW.cast_signed()).unwrap_or_else(|error| panic!("{error:#}"))
}

/// A GET as a client sends it, with a token where there is one.
pub fn request(target: &str, token: Option<&str>) -> Request {
    let mut headers = lines(&[
        ("accept", "application/fhir+json"),
        ("user-agent", "ward-app/4.2"),
        ("accept-encoding", "gzip, br"),
        ("x-request-id", "8d7f1e1a-5f0e-4d7c-9e7b-2f6a3a1b9c55"),
    ]);
    headers.extend(token.map(|token| ("authorization".to_owned(), format!("Bearer {token}").into_bytes())));
    Request {
        method: "GET".into(),
        target: target.into(),
        authority: "fhir.example.org".into(),
        headers,
        body: Body::default(),
    }
}

/// The head of a request as filters see it.
pub fn request_head(request: &Request) -> RequestHead {
    let pseudo = [
        (":authority", request.authority.as_bytes()),
        (":path", &request.target),
        (":method", request.method.as_bytes()),
        (":scheme", b"http"),
    ];
    let own = [
        ("x-forwarded-for", b"192.0.2.7".as_slice()),
        ("x-forwarded-proto", b"http"),
    ];
    let owned = |(name, value): (&str, &[u8])| (name.to_owned(), value.to_vec());
    RequestHead::new(
        pseudo
            .map(owned)
            .into_iter()
            .chain(request.headers.clone())
            .chain(own.map(owned)),
    )
}

/// An upstream's answer with this body, in pieces as a proxy delivers it.
pub fn answer(body: &[u8]) -> Answer {
    let headers = lines(&[
        ("content-type", "application/fhir+json;charset=utf-8"),
        ("cache-control", "public, max-age=60"),
        ("expires", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ("etag", "W/\"3\""),
        ("last-modified", "Wed, 11 Feb 2026 08:30:00 GMT"),
        ("vary", "accept"),
    ]);
    let body = Body {
        chunks: body.chunks(CHUNK).map(<[u8]>::to_vec).collect(),
        end: End::Empty,
        trailers: Headers::new(),
    };
    Answer {
        status: 200,
        headers,
        body,
        fault: None,
    }
}

/// The head of an answer as filters see it.
pub fn response_head(answer: &Answer) -> ResponseHead {
    let status = (":status".to_owned(), answer.status.to_string().into_bytes());
    ResponseHead::new([status].into_iter().chain(answer.headers.clone()))
}

fn lines(lines: &[(&str, &str)]) -> Headers {
    lines
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
        .collect()
}

/// A FHIR Bundle of synthetic patients, compact, of at least that many bytes and at most 3 KB more; always the same.
pub fn bundle(bytes: usize) -> Vec<u8> {
    let mut seed = Seed(20_261_121);
    let (mut entries, mut size) = (Vec::new(), 0);
    while size < bytes {
        let patient = seed.patient();
        let id = patient["id"].as_str().unwrap_or_default();
        let entry = json!({"fullUrl": format!("https://fhir.example.org/Patient/{id}"), "resource": patient, "search": {"mode": "match"}});
        size += entry.to_string().len() + 1;
        entries.push(entry);
    }
    json!({"resourceType": "Bundle", "type": "searchset", "total": entries.len(), "entry": entries})
        .to_string()
        .into_bytes()
}

/// The same document, indented by two spaces.
///
/// # Panics
/// When it is not JSON.
pub fn pretty(compact: &[u8]) -> Vec<u8> {
    let value: serde_json::Value = serde_json::from_slice(compact).expect("the generator makes JSON");
    serde_json::to_vec_pretty(&value).expect("a value can be written")
}

/// SplitMix64: the benchmarks need repeatable variety, not randomness.
struct Seed(u64);

impl Seed {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn pick(&mut self, words: &[&'static str]) -> &'static str {
        words[self.below(words.len() as u64) as usize]
    }

    fn patient(&mut self) -> serde_json::Value {
        let family = self.pick(&[
            "Chalmers",
            "Nguyen",
            "O'Brien",
            "Müller",
            "García",
            "Okafor",
            "Sørensen",
        ]);
        let given = self.pick(&["Peter", "Anh", "Zoë", "Chidi", "Ana", "Lærke"]);
        let born = format!(
            "{}-{:02}-{:02}",
            1930 + self.below(90),
            1 + self.below(12),
            1 + self.below(28)
        );
        let ssn = format!(
            "{}-{}-{}",
            100 + self.below(565),
            10 + self.below(89),
            1000 + self.below(8999)
        );
        let house = 1 + self.below(998);
        let narrative = format!(
            "<div xmlns=\"http://www.w3.org/1999/xhtml\"><table class=\"hapi\"><tbody>\n<tr><td>Name</td><td>{given} <b>{family}</b></td></tr>\n\
             <tr><td>Identifier</td><td>{ssn}</td></tr>\n<tr><td>Address</td><td>{house} Erewhon St</td></tr>\n\
             <tr><td>Date of birth</td><td>{born}</td></tr></tbody></table></div>"
        );
        json!({
            "resourceType": "Patient",
            "id": format!("{:016x}", self.next()),
            "meta": {"versionId": self.below(9).to_string(), "lastUpdated": "2026-02-11T08:30:00.000+00:00"},
            "text": {"status": "generated", "div": narrative},
            "extension": [{"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race", "extension": [
                {"url": "ombCategory", "valueCoding": {"system": "urn:oid:2.16.840.1.113883.6.238", "code": "2106-3", "display": "White"}},
                {"url": "text", "valueString": "White \\ \"self-reported\""},
            ]}],
            "identifier": [
                {"use": "usual", "system": "urn:oid:1.2.36.146.595.217.0.1", "value": format!("MRN{}", 10_000_000 + self.below(90_000_000))},
                {"use": "official", "system": "http://hl7.org/fhir/sid/us-ssn", "value": ssn},
            ],
            "active": self.below(10) > 0,
            "name": [{"use": "official", "family": family, "given": [given, "A."]}, {"use": "nickname", "family": family, "period": {"end": "2010"}}],
            "telecom": [
                {"system": "phone", "value": format!("(03) 5555 {}", 1000 + self.below(8999)), "use": "work", "rank": 1},
                {"system": "email", "value": format!("patient.{}@example.org", self.below(100_000)), "use": "home"},
            ],
            "gender": self.pick(&["male", "female", "other", "unknown"]),
            "birthDate": born,
            "deceasedBoolean": false,
            "address": [{"use": "home", "line": [format!("{house} Erewhon St")], "city": "PleasantVille", "state": "Vic", "postalCode": "3999"}],
            "contact": [{"name": {"family": "du Marché", "given": ["Bénédicte"]}, "telecom": [{"system": "phone", "value": "+33 (237) 998327"}]}],
            "multipleBirthInteger": 1 + self.below(3),
            "managingOrganization": {"reference": "Organization/1"},
        })
    }
}
