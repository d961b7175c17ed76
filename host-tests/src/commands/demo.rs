//! `scrim demo`: the FHIR gateway example on the embedded engine, before and after.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use serde_json::Value;

use scrim::cases::Modules;
use scrim::exchange::{Answer, Body, End, Engine as _, Gateway, Outcome, Request, Setup};
use scrim::policy_file::PolicyFile;
use scrim::tokens::{self, TokenSpec};
use scrim::wasm::Wasmtime;

/// The example's files, as they stand in the repository.
const FILES: [(&str, &str); 6] = [
    (
        "policy.yaml",
        include_str!("../../../examples/fhir-gateway/policy.yaml"),
    ),
    ("jwks.json", include_str!("../../../examples/fhir-gateway/jwks.json")),
    (
        "key.json",
        include_str!("../../../examples/fhir-gateway/keys/rs256.synthetic.jwk.json"),
    ),
    (
        "patient.json",
        include_str!("../../../examples/fhir-gateway/fixtures/patient.json"),
    ),
    (
        "patients.json",
        include_str!("../../../examples/fhir-gateway/fixtures/patients.json"),
    ),
    (
        "capability.json",
        include_str!("../../../examples/fhir-gateway/fixtures/capability.json"),
    ),
];

/// The synthetic key of the example; it protects nothing.
const SYNTHETIC_KEY: &str = "c3ludGhldGljLXRlc3Qta2V5LW5vdC1hLXNlY3JldCE=";

/// One exchange of the demonstration.
struct Scene {
    title: &'static str,
    token: Option<&'static str>,
    url: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: Reply,
}

enum Reply {
    /// This file of the example.
    File(&'static str),
    /// The patient, cut off in the middle.
    CutOff,
}

const SCENES: [Scene; 8] = [
    Scene {
        title: "A clinician reads a patient: narrative and contacts go, identifiers keep four digits; no cache may keep the rest",
        token: Some("user/Patient.rs"),
        url: "/fhir/Patient/pat-0001",
        headers: &[
            ("x-envoy-original-path", "/fhir/Patient?ssn=123-45-6789"),
            ("referer", "https://portal.example.org/find?name=Quill"),
        ],
        body: Reply::File("patient.json"),
    },
    Scene {
        title: "The same record for research: pseudonyms and coarse values, as the policy's transforms say",
        token: Some("system/Patient.rs"),
        url: "/fhir/Patient/pat-0001?route=research",
        headers: &[],
        body: Reply::File("patient.json"),
    },
    Scene {
        title: "A search by identifier and name: the upstream gets a pseudonym and a mask, the log neither",
        token: Some("user/Patient.rs"),
        url: "/fhir/Patient?identifier=MRN-00417&n%61me:exact=Quill&_count=2",
        headers: &[],
        body: Reply::File("patients.json"),
    },
    Scene {
        title: "A search by date of birth would put PHI into the URL: refused, with the way out",
        token: Some("user/Patient.rs"),
        url: "/fhir/Patient?birthdate=1974-12-25",
        headers: &[("accept", "application/fhir+json")],
        body: Reply::File("patients.json"),
    },
    Scene {
        title: "No token: 401 with a challenge",
        token: None,
        url: "/fhir/Patient/pat-0001",
        headers: &[],
        body: Reply::File("patient.json"),
    },
    Scene {
        title: "A token without the scope, and the path spelled another way: still the same policy, 403",
        token: Some("openid profile"),
        url: "/fhir/metadata/..//%50atient/pat-001",
        headers: &[],
        body: Reply::File("patient.json"),
    },
    Scene {
        title: "The upstream breaks off in the middle of a record: it can't be inspected, 502",
        token: Some("user/Patient.rs"),
        url: "/fhir/Patient/pat-0001",
        headers: &[],
        body: Reply::CutOff,
    },
    Scene {
        title: "The public corner: passes as it is",
        token: None,
        url: "/fhir/metadata",
        headers: &[],
        body: Reply::File("capability.json"),
    },
];

pub(crate) fn run() -> anyhow::Result<u8> {
    let folder = Folder::new()?;
    for (name, text) in FILES {
        std::fs::write(folder.0.join(name), text)?;
    }
    let policy = match PolicyFile::read(&folder.0.join("policy.yaml")) {
        Ok(policy) => policy,
        Err(diagnostics) => bail!("{diagnostics}"),
    };
    let filters = scrim::gateway::filters(&policy, Modules::Suite, &folder.0)?;
    let mut show = Show {
        out: std::io::stdout(),
        color: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    };
    show.line(&format!(
        "scrim demo: the FHIR gateway example (examples/fhir-gateway), all four filters as one module of {} bytes on wasmtime",
        scrim::modules::SUITE.bytes.len()
    ))?;
    let engine = Wasmtime::new()?;
    let route = |name: &str, prefix: &str| scrim::exchange::Route {
        name: name.into(),
        prefix: prefix.into(),
        ..Default::default()
    };
    let setup = |routes| Setup {
        filters: filters.clone(),
        routes,
        environment: BTreeMap::from([("SCRIM_PSEUDONYM_KEY".to_owned(), SYNTHETIC_KEY.to_owned())]),
        report: scrim::gateway::PUBLISHED.map(str::to_owned).into(),
        ..Setup::default()
    };
    let mut main = engine.start(&setup(Vec::new()))?;
    let mut research = engine.start(&setup(vec![route("research", "/")]))?;
    for (number, scene) in SCENES.iter().enumerate() {
        let body = scene.body.bytes();
        let gateway = if scene.url.ends_with("route=research") {
            &mut research
        } else {
            &mut main
        };
        let request = scene.request(&folder.0)?;
        let outcome = exchange(gateway.as_mut(), &request, &body)?;
        show.scene(number.saturating_add(1), scene, &request, &body, &outcome)?;
    }
    show.line(
        "\nThe same in a real Envoy 1.40, fetched on first use:\n  \
         scrim test examples/fhir-gateway --engine both      every case on both engines, compared\n  \
         export SCRIM_PSEUDONYM_KEY=$(head -c 32 /dev/urandom | base64)\n  \
         scrim serve --engine envoy --policy examples/fhir-gateway/policy.yaml --listen 127.0.0.1:8080 --upstream 127.0.0.1:9090\n\
         In this checkout `scrim` is `cargo run --release -q --`.",
    )?;
    Ok(0)
}

fn exchange(gateway: &mut dyn Gateway, request: &Request, body: &[u8]) -> anyhow::Result<Outcome> {
    let headers = [
        ("content-type", "application/fhir+json"),
        ("etag", "\"9f1c\""),
        ("cache-control", "public, max-age=600"),
    ];
    let answer = Answer {
        status: 200,
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
            .into(),
        body: Body {
            chunks: body.chunks(512).map(<[u8]>::to_vec).collect(),
            end: End::Empty,
            trailers: Vec::new(),
        },
        fault: None,
    };
    gateway.exchange(request, &answer)
}

impl Reply {
    fn bytes(&self) -> Vec<u8> {
        let file = |wanted: &str| {
            FILES
                .iter()
                .find(|(name, _)| *name == wanted)
                .map_or("", |(_, text)| text)
        };
        match self {
            Reply::File(name) => file(name).as_bytes().to_vec(),
            Reply::CutOff => {
                let whole = file("patient.json").as_bytes();
                whole.get(..whole.len() / 2).unwrap_or(whole).to_vec()
            }
        }
    }
}

impl Scene {
    fn request(&self, folder: &Path) -> anyhow::Result<Request> {
        let mut headers: Vec<(String, Vec<u8>)> = vec![("user-agent".into(), b"scrim-demo".to_vec())];
        if let Some(scope) = self.token {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .context("the machine's clock is before 1970, set it")?
                .as_secs();
            let claims = serde_json::json!({
                "iss": "https://idp.example.org", "aud": "https://fhir.example.org", "sub": "dr-quinn-7f3a",
                "iat": now, "exp": now.saturating_add(600), "scope": scope,
            });
            let spec: TokenSpec = serde_json::from_value(serde_json::json!({"key": "key.json", "claims": claims}))?;
            let token = tokens::mint(&spec, folder, i64::try_from(now)?)?;
            headers.push(("authorization".into(), format!("Bearer {token}").into_bytes()));
        }
        headers.extend(
            self.headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())),
        );
        let target = self.url.trim_end_matches("?route=research").as_bytes().to_vec();
        Ok(Request {
            method: "GET".into(),
            target,
            authority: "fhir.example.org".into(),
            headers,
            body: Body::default(),
        })
    }
}

struct Show {
    out: std::io::Stdout,
    color: bool,
}

impl Show {
    fn line(&mut self, text: &str) -> std::io::Result<()> {
        writeln!(self.out, "{text}")
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.color {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn scene(
        &mut self,
        number: usize,
        scene: &Scene,
        request: &Request,
        before: &[u8],
        outcome: &Outcome,
    ) -> std::io::Result<()> {
        let title = self.paint("1", &format!("\n{number}. {}", scene.title));
        self.line(&title)?;
        let token = scene.token.map_or(String::new(), |scope| {
            format!("   Authorization: Bearer (scope: {scope})")
        });
        self.line(&format!("  client sends     GET {}{token}", lossy(&request.target)))?;
        for (name, value) in scene.headers {
            self.line(&format!("                   {name}: {value}"))?;
        }
        match &outcome.upstream {
            None => {
                let nothing = self.paint("33", "nothing");
                self.line(&format!("  upstream gets    {nothing}"))?;
            }
            Some(seen) => {
                self.line(&format!("  upstream gets    GET {}", lossy(&seen.target)))?;
                for (name, value) in seen
                    .headers
                    .iter()
                    .filter(|(name, _)| scene.headers.iter().any(|(sent, _)| sent == name))
                {
                    self.line(&format!("                   {name}: {}", lossy(value)))?;
                }
                self.line(&format!(
                    "  upstream answers 200, {} bytes: {}",
                    before.len(),
                    short(before)
                ))?;
            }
        }
        match &outcome.client {
            None => self.line("  client gets      a connection that breaks off")?,
            Some(got) => {
                let status = self.paint(if got.status < 400 { "32" } else { "31" }, &got.status.to_string());
                self.line(&format!(
                    "  client gets      {status}, {} bytes: {}",
                    got.body.len(),
                    short(&got.body)
                ))?;
                for (name, value) in &got.headers {
                    if ["cache-control", "www-authenticate", "strict-transport-security", "etag"]
                        .contains(&name.as_str())
                    {
                        self.line(&format!("                   {name}: {}", lossy(value)))?;
                    }
                }
            }
        }
        self.line(&format!(
            "  log-safe path    {}",
            outcome.filter_state.get("scrim.path").map_or("-", String::as_str)
        ))?;
        self.line(&format!(
            "  audit record     {}",
            outcome.filter_state.get("scrim.audit").map_or("-", String::as_str)
        ))
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// JSON in one line, cut where it is long.
fn short(body: &[u8]) -> String {
    let compact = serde_json::from_slice::<Value>(body).map_or_else(|_| lossy(body), |json| json.to_string());
    let one_line: String = compact.split_whitespace().collect::<Vec<_>>().join(" ");
    match one_line.char_indices().nth(480) {
        Some((cut, _)) => format!("{}..", one_line.get(..cut).unwrap_or(&one_line)),
        None => one_line,
    }
}

/// A folder that goes with the demonstration.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("scrim-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("`{}` can't be made; set TMPDIR", path.display()))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
