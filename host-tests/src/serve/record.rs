//! Exchanges as a case file that can be run again.
//!
//! 1. A case says what the client sent and the upstream answered, and expects what was seen: status, body, log-safe path, decision.
//! 2. The file holds what passed, **PHI too**: it is for made-up data, and only its owner can read it.
//! 3. Credentials are not written. A bearer token that is a JWT becomes a description of it, to be signed anew for each run by a key that the reader
//!    gives. What else is one by its name becomes `REDACTED`: header lines, parameters of URLs and forms, and members of JSON whose name has
//!    `token`, `secret`, `password`, `assertion`, `cookie` or the like in it; and so does whatever looks like a JWT, wherever it stands.
//! 4. The whole file is written after each exchange, under another name first, so that it can be run at any time.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use regex::Regex;
use serde_json::{Map, Value, json};

use super::{Exchange, Onlooker};
use crate::cases::Modules;
use crate::exchange::{Fault, Headers};

/// What is recorded, and where to.
#[derive(Clone, Debug)]
pub struct Recorder {
    /// The case file; it is replaced.
    pub file: PathBuf,
    /// The policy file.
    pub policy: PathBuf,
    /// How the filters are loaded.
    pub modules: Modules,
    /// The key with which the recorded tokens are signed anew; none: the file says `FILL-IN.jwk.json`.
    pub key: Option<PathBuf>,
    /// The environment variables that the policy names; their values are for the reader to fill in.
    pub environment: Vec<String>,
}

/// What stands in place of credentials.
const REDACTED: &str = "REDACTED";
/// What a reader has to give.
const FILL_IN: &str = "FILL-IN";

/// Header lines that are credentials, besides bearer tokens.
const CREDENTIALS: [&str; 8] = [
    "authorization",
    "cookie",
    "set-cookie",
    "proxy-authorization",
    "dpop",
    "x-api-key",
    "x-forwarded-client-cert",
    "x-amz-security-token",
];

/// The most cases that a file gets; what comes later is passed over, which is said once.
const CASES_MAX: usize = 1_000;

impl Recorder {
    /// Begins the file; what is recorded comes to it bit by bit.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn start(self) -> io::Result<Onlooker> {
        let mut book = Book {
            recorder: self,
            tokens: BTreeMap::new(),
            cases: Vec::new(),
            full: false,
        };
        book.write()?;
        let book = Mutex::new(book);
        Ok(Box::new(move |exchange| {
            let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
            book.add(exchange);
            if let Err(error) = book.write() {
                eprintln!("scrim: the recording can't be written: {error}");
            }
        }))
    }
}

struct Book {
    recorder: Recorder,
    /// The claims of each token, and its name.
    tokens: BTreeMap<String, (String, Value)>,
    cases: Vec<String>,
    full: bool,
}

impl Book {
    fn add(&mut self, exchange: &Exchange<'_>) {
        if self.cases.len() >= CASES_MAX {
            if !std::mem::replace(&mut self.full, true) {
                eprintln!("scrim: the recording has {CASES_MAX} cases; later exchanges are not recorded");
            }
            return;
        }
        let number = self.cases.len() + 1;
        let path = exchange
            .outcome
            .filter_state
            .get("scrim.path")
            .map_or("-", String::as_str);
        let status = exchange.outcome.client.as_ref().map_or(0, |got| got.status);
        let name = format!("{number}: {} {path} gives {status}", exchange.request.method);
        let mut text = format!("  - name: {}\n", Value::from(name));
        text.push_str(&format!("    request: {}\n", self.request(exchange)));
        if let Some(answer) = upstream(exchange) {
            text.push_str(&format!("    upstream: {answer}\n"));
        }
        text.push_str(&format!("    expect: {}\n", expect(exchange)));
        // What was recorded names no variables.
        self.cases.push(text.replace("${", "$${"));
    }

    fn request(&mut self, exchange: &Exchange<'_>) -> Value {
        let request = exchange.request;
        let mut out = Map::new();
        out.insert("method".into(), request.method.clone().into());
        out.insert("url".into(), redacted(&String::from_utf8_lossy(&request.target)).into());
        out.insert("host".into(), request.authority.clone().into());
        let mut plain = Headers::new();
        for (name, value) in &request.headers {
            let token = (name == "authorization").then(|| claims_of(value)).flatten();
            match token {
                Some(claims) if !out.contains_key("token") => {
                    drop(out.insert("token".into(), self.token(claims).into()))
                }
                _ => plain.push((name.clone(), value.clone())),
            }
        }
        if let Some(lines) = lines(&plain) {
            out.insert("headers".into(), lines);
        }
        body(&mut out, &request.body.chunks.concat(), &plain);
        Value::Object(out)
    }

    /// The token's name; equal claims have one.
    fn token(&mut self, claims: Map<String, Value>) -> String {
        let claims = Value::Object(claims);
        let next = format!("recorded-{}", self.tokens.len() + 1);
        self.tokens
            .entry(claims.to_string())
            .or_insert((next, claims))
            .0
            .clone()
    }

    fn text(&self) -> String {
        let recorder = &self.recorder;
        let folder = recorder.file.parent().unwrap_or(Path::new(""));
        let near = |path: &Path| Value::from(relative(folder, path).to_string_lossy());
        let mut text = String::from(
            "# Recorded by `scrim serve --record`. It holds what passed, bodies too: keep it only where the data was made up.\n",
        );
        let key = match &recorder.key {
            Some(key) => near(key),
            None => {
                text.push_str("# Give `FILL-IN.jwk.json` the private key that the policy's issuers trust in tests, or name another file.\n");
                Value::from(format!("{FILL_IN}.jwk.json"))
            }
        };
        text.push_str(&format!(
            "policy: {}\nmodules: [{}]\n",
            near(&recorder.policy),
            recorder.modules
        ));
        if !recorder.environment.is_empty() {
            text.push_str("environment:\n");
            for name in &recorder.environment {
                text.push_str(&format!("  {}: {FILL_IN}\n", Value::from(name.as_str())));
            }
        }
        if !self.tokens.is_empty() {
            text.push_str("tokens:\n");
            let mut tokens: Vec<_> = self.tokens.values().collect();
            tokens.sort_by_key(|(name, _)| (name.len(), name));
            for (name, claims) in tokens {
                let claims = claims.to_string().replace("${", "$${");
                text.push_str(&format!("  {name}: {{key: {key}, claims: {claims}}}\n"));
            }
        }
        text.push_str(if self.cases.is_empty() {
            "cases: []\n"
        } else {
            "cases:\n"
        });
        text.extend(self.cases.iter().map(String::as_str));
        text
    }

    fn write(&mut self) -> io::Result<()> {
        let file = &self.recorder.file;
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let part = file.with_file_name(name);
        // One that is there already, left behind or put there by somebody, may be for others to read.
        if let Err(error) = std::fs::remove_file(&part)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut out = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&part)?;
        out.write_all(self.text().as_bytes())?;
        std::fs::rename(part, file)
    }
}

/// The claims of a bearer token, as they can be signed anew; none: it is no JWT.
fn claims_of(value: &[u8]) -> Option<Map<String, Value>> {
    let text = std::str::from_utf8(value).ok()?;
    let (scheme, token) = text.split_once(' ')?;
    let payload = token
        .split('.')
        .nth(1)
        .filter(|_| scheme.eq_ignore_ascii_case("bearer"))?;
    let Value::Object(mut claims) = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()? else {
        return None;
    };
    claims.remove("jti");
    for (name, when) in [("exp", "+1h"), ("iat", "now"), ("nbf", "now"), ("auth_time", "now")] {
        if let Some(claim) = claims.get_mut(name) {
            *claim = when.into();
        }
    }
    Some(claims)
}

fn upstream(exchange: &Exchange<'_>) -> Option<Value> {
    let answer = exchange.answer?;
    let mut out = Map::new();
    match answer.fault {
        Some(Fault::Refuse) => return Some(json!({"fault": "refuse"})),
        Some(Fault::ResetBeforeHeaders) => return Some(json!({"fault": "reset_before_headers"})),
        Some(Fault::ResetAfterBody) => drop(out.insert("fault".into(), "reset_after_body".into())),
        None => {}
    }
    out.insert("status".into(), answer.status.into());
    if let Some(lines) = lines(&answer.headers) {
        out.insert("headers".into(), lines);
    }
    let bytes = answer.body.chunks.concat();
    let bodiless = matches!(answer.status, 204 | 304) || exchange.request.method == "HEAD";
    if bytes.is_empty() && !bodiless {
        out.insert("body".into(), "".into());
    }
    body(&mut out, &bytes, &answer.headers);
    Some(Value::Object(out))
}

fn expect(exchange: &Exchange<'_>) -> Value {
    let outcome = exchange.outcome;
    let mut out = Map::new();
    let seen = outcome.upstream.as_ref();
    out.insert("upstream".into(), seen.map_or("none", |_| "reached").into());
    if let Some(got) = &outcome.client {
        out.insert("status".into(), got.status.into());
        if !got.complete {
            out.insert("complete".into(), false.into());
        }
        match (
            serde_json::from_slice::<Value>(&got.body),
            std::str::from_utf8(&got.body),
        ) {
            (Ok(mut json), _) => {
                redact_json(&mut json);
                drop(out.insert("json".into(), json));
            }
            (Err(_), Ok(text)) => drop(out.insert("body".into(), json!({"text": redacted(text)}))),
            // No matcher compares bytes that are no text.
            _ => {}
        }
    }
    if let Some(path) = outcome.filter_state.get("scrim.path") {
        out.insert("log_safe_path".into(), path.clone().into());
    }
    let audit = outcome.filter_state.get("scrim.audit");
    if let Some(Value::Object(record)) = audit.and_then(|record| serde_json::from_str(record).ok()) {
        let kept = ["policy", "decision"].into_iter();
        let kept: Map<String, Value> = kept
            .filter_map(|name| Some((name.to_owned(), record.get(name)?.clone())))
            .collect();
        out.insert("audit".into(), Value::Object(kept));
    }
    Value::Object(out)
}

/// Header lines as case files have them, without what frames bodies; none: there are none.
fn lines(headers: &Headers) -> Option<Value> {
    let mut out: Vec<(String, Vec<String>)> = Vec::new();
    for (name, value) in headers {
        let value = match CREDENTIALS.contains(&name.as_str()) || is_secret(name) {
            true => REDACTED.to_owned(),
            false => redacted(&String::from_utf8_lossy(value)),
        };
        match out.iter_mut().find(|(other, _)| other == name) {
            Some((_, values)) => values.push(value),
            None => out.push((name.clone(), vec![value])),
        }
    }
    let out: Map<String, Value> = out.into_iter().map(|(name, values)| (name, values.into())).collect();
    (!out.is_empty()).then_some(Value::Object(out))
}

fn body(out: &mut Map<String, Value>, bytes: &[u8], headers: &Headers) {
    if bytes.is_empty() {
        return;
    }
    let is_coded = headers.iter().any(|(name, _)| name == "content-encoding");
    let json = serde_json::from_slice::<Value>(bytes).ok().filter(|_| !is_coded);
    let kept = match (json, std::str::from_utf8(bytes)) {
        (Some(mut json), Ok(text)) => match redact_json(&mut json) {
            // As it was written, but where something had to go.
            true => json.to_string(),
            false => text.to_owned(),
        },
        (None, Ok(text)) if !is_coded => redacted(text),
        // What is coded or no text can't be looked into.
        _ => {
            out.insert("body".into(), json!({"base64": STANDARD.encode(bytes)}));
            return;
        }
    };
    // `${` would be filled in.
    let spec = match kept.contains("${") {
        true => json!({"base64": STANDARD.encode(kept)}),
        false => json!({"text": kept}),
    };
    out.insert("body".into(), spec);
}

/// Whether what has this name is a credential.
fn is_secret(name: &str) -> bool {
    const PARTS: [&str; 9] = [
        "token",
        "secret",
        "password",
        "passwd",
        "assertion",
        "cookie",
        "api-key",
        "api_key",
        "apikey",
    ];
    let name = name.to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part)) || ["authorization", "jwt", "otp"].contains(&name.as_str())
}

/// A text without JWTs, and without the values of parameters that are credentials by their name.
fn redacted(text: &str) -> String {
    let Some((jwt, parameter)) = patterns() else {
        return REDACTED.to_owned();
    };
    let text = jwt.replace_all(text, REDACTED);
    let parameters = parameter.replace_all(&text, |found: &regex::Captures<'_>| {
        let (begin, name) = (&found[1], &found[2]);
        match is_secret(name) {
            true => format!("{begin}{name}={REDACTED}"),
            false => found[0].to_owned(),
        }
    });
    parameters.into_owned()
}

/// What looks like a JWT, whole or begun; a parameter of a query or a form.
fn patterns() -> Option<&'static (Regex, Regex)> {
    static PATTERNS: OnceLock<Option<(Regex, Regex)>> = OnceLock::new();
    let made = || {
        let jwt = Regex::new(r"eyJ[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*){0,4}").ok()?;
        let parameter = Regex::new(r"(^|[?&#;\s])([A-Za-z0-9_.-]+)=([^&#;\s]*)").ok()?;
        Some((jwt, parameter))
    };
    PATTERNS.get_or_init(made).as_ref()
}

/// True: something had to go.
fn redact_json(json: &mut Value) -> bool {
    match json {
        Value::String(text) => {
            let kept = redacted(text);
            let changed = kept != *text;
            *text = kept;
            changed
        }
        Value::Array(list) => list.iter_mut().fold(false, |any, one| redact_json(one) | any),
        Value::Object(members) => members.iter_mut().fold(false, |any, (name, value)| {
            if is_secret(name) && (value.is_string() || value.is_number()) {
                *value = REDACTED.into();
                return true;
            }
            redact_json(value) | any
        }),
        _ => false,
    }
}

/// A path from a folder on.
fn relative(folder: &Path, path: &Path) -> PathBuf {
    let whole = |path: &Path| {
        path.canonicalize()
            .or_else(|_| std::path::absolute(path))
            .unwrap_or(path.to_owned())
    };
    let folder = whole(if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    });
    let path = whole(path);
    let common = folder
        .components()
        .zip(path.components())
        .take_while(|(a, b)| a == b)
        .count();
    let up = folder.components().skip(common).map(|_| "..");
    up.map(PathBuf::from)
        .chain(
            path.components()
                .skip(common)
                .map(|part| PathBuf::from(part.as_os_str())),
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::cases::Suite;
    use crate::exchange::{Answer, Body, Got, Outcome, Request, Seen};

    fn line(name: &str, value: &str) -> (String, Vec<u8>) {
        (name.to_owned(), value.as_bytes().to_vec())
    }

    fn recorded(headers: Headers) -> (String, u32) {
        let number = headers.iter().map(|(_, value)| value.len()).sum::<usize>();
        let folder = std::env::temp_dir().join(format!("scrim-record-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("r.cases.yaml");
        let recorder = Recorder {
            file: file.clone(),
            policy: folder.join("policy.yaml"),
            modules: Modules::Suite,
            key: None,
            environment: vec!["SOME_KEY".into()],
        };
        // Left behind, and for everybody to read.
        std::fs::write(folder.join("r.cases.yaml.part"), "old").unwrap();
        let told = recorder.start().unwrap();
        let request = Request {
            method: "POST".into(),
            target: b"/a?b=\"c\"".to_vec(),
            authority: "example.org".into(),
            headers,
            body: Body {
                chunks: vec![b"{\"x\": \"\xc3\xa9\"}".to_vec()],
                ..Body::default()
            },
        };
        let answer = Answer {
            status: 201,
            headers: vec![line("set-cookie", "session=1234567"), line("etag", "W/\"1\"")],
            body: Body {
                chunks: vec![vec![0xff, 0]],
                ..Body::default()
            },
            fault: None,
        };
        let outcome = Outcome {
            upstream: Some(Seen::default()),
            client: Some(Got {
                status: 201,
                body: b"{\"y\":1}".to_vec(),
                complete: true,
                ..Got::default()
            }),
            filter_state: [("scrim.path".to_owned(), "/***".to_owned())].into(),
            ..Outcome::default()
        };
        for _ in 0..2 {
            told(&Exchange {
                request: &request,
                answer: Some(&answer),
                outcome: &outcome,
                time: SystemTime::now(),
                duration: Duration::ZERO,
            });
        }
        let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        let text = std::fs::read_to_string(&file).unwrap();
        let _ = std::fs::remove_dir_all(&folder);
        (text, mode)
    }

    #[test]
    fn what_is_recorded_is_a_case_file() {
        let (text, mode) = recorded(vec![line("x-a", "1"), line("x-a", "2")]);
        assert_eq!(mode, 0o600);
        let suite =
            Suite::parse(Path::new("r.cases.yaml"), &text).unwrap_or_else(|problem| panic!("{problem}\n{text}"));
        assert_eq!(suite.cases.len(), 2);
        assert_eq!(suite.policy.unwrap(), Path::new("policy.yaml"));
        assert_eq!(suite.environment["SOME_KEY"], FILL_IN);
        let case = &suite.cases[0];
        assert_eq!(case.name.value, "1: POST /*** gives 201");
        assert_eq!(case.steps[0].request.url, "/a?b=\"c\"");
        assert_eq!(
            case.steps[0].request.headers.0,
            [("x-a".to_owned(), "1".to_owned()), ("x-a".to_owned(), "2".to_owned())]
        );
        assert_eq!(
            case.steps[0].request.body.as_ref().unwrap().0.text.as_deref(),
            Some("{\"x\": \"é\"}")
        );
        assert_eq!(
            case.steps[0].upstream.body.as_ref().unwrap().0.base64.as_deref(),
            Some("/wA=")
        );
        assert_eq!(
            case.steps[0].expect.any[0].status,
            Some(crate::cases::format::StatusMatch::Exact(201))
        );
        assert_eq!(case.steps[0].expect.any[0].json, Some(json!({"y": 1})));
    }

    #[test]
    fn no_credential_is_recorded() {
        let payload =
            URL_SAFE_NO_PAD.encode(r#"{"iss":"https://idp.example.org","exp":1,"jti":"one-time","scope":"a"}"#);
        let bearer = format!("Bearer eyJhbGciOiJSUzI1NiJ9.{payload}.c2lnbmF0dXJl");
        let (text, _) = recorded(vec![
            line("authorization", &bearer),
            line("cookie", "id=sessioncookie"),
            line("dpop", "proof9"),
        ]);
        for secret in ["c2lnbmF0dXJl", "one-time", "sessioncookie", "proof9", "1234567"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        let suite = Suite::parse(Path::new("r.cases.yaml"), &text).unwrap();
        assert_eq!(suite.tokens.len(), 1, "equal claims are one token");
        let token = &suite.tokens["recorded-1"];
        assert_eq!(token.claims.get("exp"), Some(&json!("+1h")));
        assert_eq!(token.claims.get("scope"), Some(&json!("a")));
        assert_eq!(suite.cases[0].steps[0].request.token.as_deref(), Some("recorded-1"));

        let (text, _) = recorded(vec![
            line("authorization", "Bearer opaque-secret-token"),
            line("authorization", "Basic dTpw"),
        ]);
        assert!(!text.contains("opaque-secret") && !text.contains("dTpw"), "{text}");
        Suite::parse(Path::new("r.cases.yaml"), &text).unwrap();
    }

    #[test]
    fn credentials_are_known_by_name_and_look_wherever_they_stand() {
        assert_eq!(
            redacted("/a?access_token=opaque&x=1#id_token=9"),
            "/a?access_token=REDACTED&x=1#id_token=REDACTED"
        );
        assert_eq!(
            redacted("grant_type=x&client_secret=s&refresh_token=t"),
            "grant_type=x&client_secret=REDACTED&refresh_token=REDACTED"
        );
        assert_eq!(
            redacted("see eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln and eyJhbGciOiJSUzI1NiJ9.eyJ"),
            "see REDACTED and REDACTED"
        );
        for plain in ["/fhir/Observation?_count=2&code=8480-6", "eyJ", "a=b", "token", ""] {
            assert_eq!(redacted(plain), plain);
        }
        let mut json = json!({"access_token": "opaque", "expires_in": 60, "entry": [{"note": "eyJhbGciOiJSUzI1NiJ9.x"}], "id": "7"});
        assert!(redact_json(&mut json));
        assert_eq!(
            json,
            json!({"access_token": REDACTED, "expires_in": 60, "entry": [{"note": REDACTED}], "id": "7"})
        );
        assert!(!redact_json(&mut json!({"id": "7", "n": 1})));
        let (text, _) = recorded(vec![
            line("x-auth-token", "opaque"),
            line("x-note", "eyJhbGciOiJSUzI1NiJ9.x"),
        ]);
        assert!(!text.contains("opaque") && !text.contains("eyJhbGci"), "{text}");
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let relative = |folder: &str, path: &str| {
            relative(Path::new(folder), Path::new(path))
                .to_string_lossy()
                .into_owned()
        };
        assert_eq!(relative("/x/cases", "/x/policy.yaml"), "../policy.yaml");
        assert_eq!(relative("/x", "/x/y/policy.yaml"), "y/policy.yaml");
    }
}
