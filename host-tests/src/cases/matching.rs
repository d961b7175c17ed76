//! Holds an outcome against an expectation. Each mismatch says what, what was expected and what came.

use std::path::Path;

use anyhow::{Context, Result};
use regex::Regex;
use serde_json::Value;

use super::format::{BodyMatch, Expect, HeaderMatch, SeenSpec, TextMatch, TextOr};
use super::render;
use crate::exchange::{Headers, Outcome};

/// What was sent, against which an outcome is held.
pub(super) struct Sent<'a> {
    pub(super) request_body: &'a [u8],
    pub(super) answer_body: &'a [u8],
    /// What `file` in a matcher is relative to.
    pub(super) folder: &'a Path,
    /// The suite's own `nowhere`.
    pub(super) nowhere: &'a [String],
    /// Signatures of the tokens in the request: they may reach the upstream only.
    pub(super) secrets: &'a [String],
}

/// All that doesn't match, in words; empty: everything does.
pub(super) fn mismatches(expect: &Expect, sent: &Sent<'_>, outcome: &Outcome) -> Result<Vec<String>> {
    let mut wrong = Wrong(Vec::new());
    if let Some(TextOr(seen)) = &expect.upstream {
        upstream(seen, sent, outcome, &mut wrong)?;
    }
    client(expect, sent, outcome, &mut wrong)?;
    if let Some(TextOr(text)) = &expect.log_safe_path {
        wrong.text(
            "log-safe path",
            text,
            outcome.filter_state.get("scrim.path").map(String::as_str),
        );
    }
    for (name, TextOr(text)) in &expect.filter_state {
        wrong.text(
            &format!("filter state `{name}`"),
            text,
            outcome.filter_state.get(name).map(String::as_str),
        );
    }
    if let Some(wanted) = &expect.audit {
        match outcome
            .filter_state
            .get("scrim.audit")
            .map(|text| serde_json::from_str::<Value>(text))
        {
            None => wrong.add("audit", wanted, "no record"),
            Some(Err(error)) => wrong.add("audit", wanted, format!("a record that is no JSON: {error}")),
            Some(Ok(record)) => wrong.json_subset("audit", wanted, &record, ""),
        }
    }
    if let Some(text) = &expect.logs {
        let lines: Vec<&str> = outcome.logs.iter().map(|(_, line)| line.as_str()).collect();
        wrong.text("logs", text, Some(&lines.join("\n")));
    }
    for value in sent.nowhere.iter().chain(&expect.nowhere) {
        wrong.leak(value, outcome, &[Sink::Upstream, Sink::Client, Sink::Logs, Sink::State]);
    }
    for value in sent.secrets.iter().chain(&expect.upstream_only) {
        wrong.leak(value, outcome, &[Sink::Client, Sink::Logs, Sink::State]);
    }
    for value in &expect.unlogged {
        wrong.leak(value, outcome, &[Sink::Logs, Sink::State]);
    }
    Ok(wrong.0)
}

fn upstream(seen: &SeenSpec, sent: &Sent<'_>, outcome: &Outcome, wrong: &mut Wrong) -> Result<()> {
    match (&outcome.upstream, seen.word.as_deref()) {
        (None, Some("none")) => {}
        (Some(got), Some("none")) => {
            wrong.add(
                "upstream",
                "nothing reaches it",
                format!("{} {}", got.method, render::text(&got.target)),
            );
        }
        (None, _) => wrong.add("upstream", "the request reaches it", "nothing did"),
        (Some(got), _) => {
            if let Some(method) = seen.method.as_ref().filter(|method| **method != got.method) {
                wrong.add("method at the upstream", method, &got.method);
            }
            if let Some(TextOr(url)) = &seen.url {
                wrong.text("url at the upstream", url, Some(&render::text(&got.target)));
            }
            if let Some(TextOr(host)) = &seen.host {
                wrong.text("host at the upstream", host, Some(&got.authority));
            }
            for (name, wanted) in &seen.headers {
                wrong.header("at the upstream", name, wanted, &got.headers);
            }
            wrong.absent("at the upstream", &seen.absent, &got.headers);
            if let Some(TextOr(body)) = &seen.body {
                wrong.body("body at the upstream", body, &got.body, sent.request_body, sent.folder)?;
            }
        }
    }
    Ok(())
}

fn client(expect: &Expect, sent: &Sent<'_>, outcome: &Outcome, wrong: &mut Wrong) -> Result<()> {
    let complete = outcome.client.as_ref().is_some_and(|got| got.complete);
    if complete != expect.complete.unwrap_or(true) {
        let words = |complete| {
            if complete {
                "a complete answer"
            } else {
                "a reset stream"
            }
        };
        wrong.add("end of the answer", words(!complete), words(complete));
    }
    let Some(got) = &outcome.client else {
        if let Some(status) = expect.status {
            wrong.add("status", status, "no answer");
        }
        return Ok(());
    };
    if let Some(status) = expect.status.filter(|status| *status != got.status) {
        wrong.add("status", status, format!("{}\n{}", got.status, render::body(&got.body)));
    }
    for (name, wanted) in &expect.headers {
        wrong.header("at the client", name, wanted, &got.headers);
    }
    wrong.absent("at the client", &expect.absent, &got.headers);
    if let Some(TextOr(body)) = &expect.body {
        wrong.body("body", body, &got.body, sent.answer_body, sent.folder)?;
    }
    if let Some(json) = &expect.json {
        let body = BodyMatch {
            json: Some(json.clone()),
            ..BodyMatch::default()
        };
        wrong.body("body", &body, &got.body, sent.answer_body, sent.folder)?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Sink {
    Upstream,
    Client,
    Logs,
    State,
}

impl Sink {
    fn name(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Client => "at the client",
            Self::Logs => "in the logs",
            Self::State => "in filter state",
        }
    }

    /// Everything that this sink got, as bytes to search.
    fn bytes(self, outcome: &Outcome) -> Vec<u8> {
        let mut all = Vec::new();
        let lines = |all: &mut Vec<u8>, headers: &Headers| {
            for (name, value) in headers {
                all.extend([name.as_bytes(), b": ", value, b"\n"].concat());
            }
        };
        match self {
            Self::Upstream => {
                if let Some(seen) = &outcome.upstream {
                    all.extend([&seen.target, b"\n".as_slice(), seen.authority.as_bytes(), b"\n"].concat());
                    lines(&mut all, &seen.headers);
                    all.extend(&seen.body);
                    all.push(b'\n');
                    lines(&mut all, &seen.trailers);
                }
            }
            Self::Client => {
                if let Some(got) = &outcome.client {
                    lines(&mut all, &got.headers);
                    all.extend(&got.body);
                    all.push(b'\n');
                    lines(&mut all, &got.trailers);
                }
            }
            Self::Logs => outcome
                .logs
                .iter()
                .for_each(|(_, line)| all.extend([line.as_bytes(), b"\n"].concat())),
            Self::State => outcome
                .filter_state
                .iter()
                .for_each(|(name, value)| all.extend(format!("{name}={value}\n").bytes())),
        }
        all
    }
}

struct Wrong(Vec<String>);

impl Wrong {
    fn add(&mut self, what: &str, expected: impl ToString, actual: impl ToString) {
        let block = |text: String| text.replace('\n', "\n            ");
        self.0.push(format!(
            "{what}\n  expected: {}\n    actual: {}",
            block(expected.to_string()),
            block(actual.to_string())
        ));
    }

    fn leak(&mut self, value: &str, outcome: &Outcome, sinks: &[Sink]) {
        let needle = value.to_ascii_lowercase().into_bytes();
        for sink in sinks {
            let bytes = sink.bytes(outcome).to_ascii_lowercase();
            if !needle.is_empty() && bytes.windows(needle.len()).any(|window| window == needle) {
                self.0.push(format!(
                    "leak\n  expected: `{value}` isn't {}\n    actual: it is",
                    sink.name()
                ));
            }
        }
    }

    fn text(&mut self, what: &str, wanted: &TextMatch, actual: Option<&str>) {
        let Some(actual) = actual else {
            if !wanted.absent {
                self.add(what, describe(wanted), "absent");
            }
            return;
        };
        if wanted.absent {
            self.add(what, "absent", actual);
        }
        if let Some(exact) = wanted.exact.as_ref().filter(|exact| *exact != actual) {
            self.add(what, exact, actual);
        }
        self.pattern(what, wanted.regex.as_deref(), actual);
        self.holds(what, &wanted.contains.0, &wanted.not_contains.0, actual);
        if !wanted.any.is_empty() && !wanted.any.iter().any(|one| one == actual) {
            self.add(what, format!("any of {:?}", wanted.any), actual);
        }
    }

    fn pattern(&mut self, what: &str, pattern: Option<&str>, actual: &str) {
        // The pattern was compiled when the file was parsed; one that fails now matches nothing.
        if let Some(pattern) = pattern.filter(|pattern| !Regex::new(pattern).is_ok_and(|regex| regex.is_match(actual)))
        {
            self.add(what, format!("matches /{pattern}/"), actual);
        }
    }

    fn holds(&mut self, what: &str, contains: &[String], not_contains: &[String], actual: &str) {
        for part in contains.iter().filter(|part| !actual.contains(part.as_str())) {
            self.add(what, format!("contains `{part}`"), actual);
        }
        for part in not_contains.iter().filter(|part| actual.contains(part.as_str())) {
            self.add(what, format!("doesn't contain `{part}`"), actual);
        }
    }

    fn header(&mut self, place: &str, name: &str, wanted: &HeaderMatch, headers: &Headers) {
        let name = name.to_ascii_lowercase();
        let lines: Vec<String> = headers
            .iter()
            .filter(|(other, _)| *other == name)
            .map(|(_, value)| render::text(value))
            .collect();
        let what = format!("header `{name}` {place}");
        match wanted {
            HeaderMatch::Lines(wanted) if *wanted == lines => {}
            HeaderMatch::Lines(wanted) => self.add(&what, format!("{wanted:?}"), format!("{lines:?}")),
            HeaderMatch::Match(text) => {
                let joined = lines.join(", ");
                self.text(&what, text, (!lines.is_empty()).then_some(joined.as_str()));
            }
        }
    }

    fn absent(&mut self, place: &str, names: &[String], headers: &Headers) {
        for name in names {
            if let Some((_, value)) = headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)) {
                self.add(&format!("header `{name}` {place}"), "absent", render::text(value));
            }
        }
    }

    fn body(&mut self, what: &str, wanted: &BodyMatch, actual: &[u8], other_side: &[u8], folder: &Path) -> Result<()> {
        let shown = || render::body(actual);
        if let Some(text) = wanted.text.as_ref().filter(|text| text.as_bytes() != actual) {
            self.add(what, text, shown());
        }
        if let Some(file) = &wanted.file {
            let bytes =
                std::fs::read(folder.join(file)).with_context(|| format!("cannot read `{}`", file.display()))?;
            if bytes != actual {
                self.add(what, format!("the bytes of {}", file.display()), shown());
            }
        }
        if wanted.empty && !actual.is_empty() {
            self.add(what, "empty", shown());
        }
        if wanted.unchanged && actual != other_side {
            self.add(what, format!("unchanged\n{}", render::body(other_side)), shown());
        }
        if wanted.json.is_some() || wanted.json_subset.is_some() || !wanted.json_absent.is_empty() {
            match serde_json::from_slice::<Value>(actual) {
                Err(error) => self.add(what, "JSON", format!("{error}\n{}", shown())),
                Ok(json) => {
                    if let Some(equal) = wanted.json.as_ref().filter(|equal| **equal != json) {
                        let diff = render::diff("expected", &pretty(equal), "actual", &pretty(&json));
                        self.0.push(format!("{what}\n{diff}"));
                    }
                    if let Some(subset) = &wanted.json_subset {
                        self.json_subset(what, subset, &json, "");
                    }
                    for pointer in &wanted.json_absent {
                        if let Some(there) = json.pointer(pointer) {
                            self.add(&format!("{what} at {pointer}"), "absent", there);
                        }
                    }
                }
            }
        }
        let text = String::from_utf8_lossy(actual);
        self.pattern(what, wanted.regex.as_deref(), &text);
        self.holds(what, &wanted.contains.0, &wanted.not_contains.0, &text);
        Ok(())
    }

    fn json_subset(&mut self, what: &str, wanted: &Value, actual: &Value, at: &str) {
        let place = if at.is_empty() {
            what.to_owned()
        } else {
            format!("{what} at {at}")
        };
        if let Some((operator, argument)) = operator(wanted) {
            let holds = match (operator, argument) {
                ("$present", _) => true,
                ("$regex", Value::String(pattern)) => {
                    let text = actual.as_str().map_or_else(|| actual.to_string(), str::to_owned);
                    Regex::new(pattern).is_ok_and(|regex| regex.is_match(&text))
                }
                ("$any", Value::Array(choices)) => choices.contains(actual),
                ("$has", element) => actual
                    .as_array()
                    .is_some_and(|all| all.iter().any(|one| is_subset(element, one))),
                // `$absent`: there is something, or this would not be reached.
                _ => false,
            };
            if !holds {
                self.add(&place, wanted, actual);
            }
            return;
        }
        match (wanted, actual) {
            (Value::Object(wanted), Value::Object(actual)) => {
                for (name, value) in wanted {
                    let at = format!("{at}/{name}");
                    match (actual.get(name), operator(value)) {
                        (None, Some(("$absent", _))) => {}
                        (None, _) => self.add(&format!("{what} at {at}"), value, "absent"),
                        (Some(there), _) => self.json_subset(what, value, there, &at),
                    }
                }
            }
            (Value::Array(wanted), Value::Array(actual)) if wanted.len() == actual.len() => {
                for (index, (wanted, actual)) in wanted.iter().zip(actual).enumerate() {
                    self.json_subset(what, wanted, actual, &format!("{at}/{index}"));
                }
            }
            _ if wanted == actual => {}
            _ => self.add(&place, wanted, actual),
        }
    }
}

fn is_subset(wanted: &Value, actual: &Value) -> bool {
    let mut wrong = Wrong(Vec::new());
    wrong.json_subset("", wanted, actual, "");
    wrong.0.is_empty()
}

fn operator(value: &Value) -> Option<(&str, &Value)> {
    let map = value.as_object().filter(|map| map.len() == 1)?;
    map.iter()
        .next()
        .filter(|(name, _)| name.starts_with('$'))
        .map(|(name, argument)| (name.as_str(), argument))
}

fn describe(wanted: &TextMatch) -> String {
    if let Some(exact) = &wanted.exact {
        return exact.clone();
    }
    if let Some(regex) = &wanted.regex {
        return format!("matches /{regex}/");
    }
    "there".to_owned()
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::format::Suite;
    use super::*;
    use crate::exchange::{Got, Seen};

    fn outcome() -> Outcome {
        Outcome {
            failures: Vec::new(),
            upstream: Some(Seen {
                method: "GET".into(),
                target: b"/fhir/Patient/tok".to_vec(),
                authority: "h".into(),
                headers: vec![("via".into(), b"1".to_vec()), ("via".into(), b"2".to_vec())],
                body: Vec::new(),
                trailers: Vec::new(),
            }),
            client: Some(Got {
                status: 200,
                headers: vec![("cache-control".into(), b"no-store, private".to_vec())],
                body: br#"{"id":"1","name":[{"family":"Q"}],"tag":["a","b"]}"#.to_vec(),
                complete: true,
                trailers: Vec::new(),
            }),
            logs: vec![("info".into(), "Phone 555-0100".into())],
            filter_state: [("scrim.audit".to_owned(), r#"{"decision":"allow"}"#.to_owned())].into(),
            ..Outcome::default()
        }
    }

    /// How many things are wrong with [`outcome`] by this expectation.
    fn wrong(expect: &str) -> Vec<String> {
        let text = format!("policy: p\ncases:\n  - name: a\n    request: {{url: /}}\n    expect: {expect}\n");
        let suite = Suite::parse(Path::new("x"), &text).unwrap();
        let sent = Sent {
            request_body: b"",
            answer_body: b"",
            folder: Path::new("."),
            nowhere: &[],
            secrets: &[],
        };
        mismatches(&suite.cases[0].expect.any[0], &sent, &outcome()).unwrap()
    }

    #[test]
    fn what_holds_holds() {
        for expect in [
            "{status: 200, upstream: reached, complete: true}",
            "{upstream: {url: {regex: '^/fhir'}, method: GET, headers: {via: ['1', '2']}, absent: [cookie], body: {empty: true}}}",
            "{headers: {cache-control: 'no-store, private', x: {absent: true}}, absent: [etag]}",
            "{body: {json_subset: {name: [{family: Q}], id: {$regex: '^1$'}, gone: {$absent: true}, tag: {$has: b}}, json_absent: [/birthDate]}}",
            "{json: {tag: [a, b], name: [{family: Q}], id: '1'}, audit: {decision: allow}}",
            "{logs: {contains: Phone, not_contains: ssn}, nowhere: [secret]}",
        ] {
            assert_eq!(wrong(expect), Vec::<String>::new(), "{expect}");
        }
    }

    #[test]
    fn what_does_not_hold_is_told() {
        for (expect, part) in [
            ("{status: 201}", "status"),
            ("{complete: false}", "end of the answer"),
            ("{upstream: none}", "nothing reaches it"),
            ("{upstream: {headers: {via: '1'}}}", "header `via`"),
            ("{upstream: {absent: [via]}}", "header `via`"),
            ("{headers: {x: {regex: .}}}", "absent"),
            ("{json: {}}", "+++ actual"),
            ("{body: {json_subset: {id: '2'}}}", "at /id"),
            ("{body: {json_subset: {tag: [a]}}}", "at /tag"),
            ("{body: {json_subset: {id: {$absent: true}}}}", "at /id"),
            ("{body: {json_absent: [/name/0/family]}}", "/name/0/family"),
            ("{body: {unchanged: true}}", "unchanged"),
            ("{audit: {decision: deny}}", "audit at /decision"),
            ("{log_safe_path: /x}", "log-safe path"),
            ("{nowhere: ['PHONE 555']}", "in the logs"),
            ("{upstream_only: [family]}", "at the client"),
            ("{nowhere: [patient/TOK]}", "isn't upstream"),
        ] {
            let told = wrong(expect);
            assert_eq!(told.len(), 1, "{expect}: {told:?}");
            assert!(told[0].contains(part), "{expect}: {told:?}");
        }
        let sent = "{upstream_only: [patient/tok], unlogged: [family]}";
        assert_eq!(wrong(sent), Vec::<String>::new());
    }
}
