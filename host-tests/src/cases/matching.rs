//! Holds an outcome against an expectation. Each mismatch says what, what was expected and what came.

use std::path::Path;

use anyhow::{Context, Result};
use regex::Regex;
use serde_json::Value;

use super::format::{BodyMatch, Expect, HeaderMatch, NumberMatch, SeenSpec, TextMatch, TextOr};
use super::{calls, render};
use crate::exchange::{Got, Headers, Outcome};

/// What was sent, against which an outcome is held.
pub(super) struct Sent<'a> {
    pub(super) request_body: &'a [u8],
    pub(super) answer_body: &'a [u8],
    /// What `file` in a matcher is relative to.
    pub(super) folder: &'a Path,
    /// The suite's own `nowhere`.
    pub(super) nowhere: &'a [String],
    /// Parts of the tokens in the request: they may reach the upstream only.
    pub(super) secrets: &'a [Secret],
}

/// A value that nobody may see, not even who reads what a run tells.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret {
    /// What it is, in words.
    pub(super) label: String,
    pub(super) value: String,
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
    for (name, wanted) in &expect.metrics {
        let change = outcome.metrics.get(name).copied().unwrap_or_default();
        if !wanted.accepts(change as f64) {
            wrong.add(&format!("change of the metric `{name}`"), wanted, change);
        }
    }
    calls::compare(&expect.calls, &outcome.calls, sent.folder, &mut wrong)?;
    let shown = |value: &str| format!("`{value}`");
    for value in sent.nowhere.iter().chain(&expect.nowhere) {
        wrong.leak(&shown(value), value, outcome, &Sink::ALL);
    }
    for value in &expect.upstream_only {
        wrong.leak(&shown(value), value, outcome, Sink::BUT_UPSTREAM);
    }
    for secret in sent.secrets {
        wrong.leak(&secret.label, &secret.value, outcome, Sink::BUT_UPSTREAM);
    }
    for value in &expect.unlogged {
        wrong.leak(&shown(value), value, outcome, Sink::NOTED);
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
            wrong.order("at the upstream", &seen.header_order, &got.headers);
            for (name, wanted) in &seen.trailers {
                wrong.header("in the trailers at the upstream", name, wanted, &got.trailers);
            }
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
    let nothing = Got::default();
    let got = match &outcome.client {
        Some(got) => got,
        None => {
            if let Some(status) = &expect.status {
                wrong.add("status", status, "no answer");
            }
            // One that should have come has been told: the rest follows from it.
            if complete != expect.complete.unwrap_or(true) {
                return Ok(());
            }
            &nothing
        }
    };
    let status = expect.status.as_ref().filter(|_| outcome.client.is_some());
    if let Some(status) = status.filter(|status| !status.accepts(got.status)) {
        wrong.add("status", status, format!("{}\n{}", got.status, render::body(&got.body)));
    }
    for (name, wanted) in &expect.headers {
        wrong.header("at the client", name, wanted, &got.headers);
    }
    wrong.absent("at the client", &expect.absent, &got.headers);
    wrong.order("at the client", &expect.header_order, &got.headers);
    for (name, wanted) in &expect.trailers {
        wrong.header("in the trailers at the client", name, wanted, &got.trailers);
    }
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
    Calls,
    Client,
    Logs,
    State,
    Metrics,
    Record,
}

impl Sink {
    /// The order is that of the next two: first the upstream, then the client, then what is noted and called.
    const ALL: [Self; 7] = [
        Self::Upstream,
        Self::Client,
        Self::Calls,
        Self::Logs,
        Self::State,
        Self::Metrics,
        Self::Record,
    ];
    const BUT_UPSTREAM: &'static [Self] = Self::ALL.split_at(1).1;
    const NOTED: &'static [Self] = Self::ALL.split_at(2).1;

    fn name(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Calls => "at a cluster",
            Self::Client => "at the client",
            Self::Logs => "in the logs",
            Self::State => "in filter state",
            Self::Metrics => "in a metric's name",
            Self::Record => "in the access log",
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
                    all.extend([seen.method.as_bytes(), b" "].concat());
                    all.extend([&seen.target, b"\n".as_slice(), seen.authority.as_bytes(), b"\n"].concat());
                    lines(&mut all, &seen.headers);
                    all.extend(&seen.body);
                    all.push(b'\n');
                    lines(&mut all, &seen.trailers);
                }
            }
            Self::Calls => {
                for call in outcome.calls.values().flatten() {
                    all.extend([call.method.as_bytes(), b" "].concat());
                    all.extend([&call.path, b"\n".as_slice(), call.authority.as_bytes(), b"\n"].concat());
                    lines(&mut all, &call.headers);
                    all.extend(&call.body);
                    for message in &call.messages {
                        all.push(b'\n');
                        all.extend(message);
                    }
                    all.push(b'\n');
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
            Self::Metrics => outcome
                .metrics
                .keys()
                .for_each(|name| all.extend([name.as_bytes(), b"\n"].concat())),
            Self::Record => all.extend(outcome.record.details.iter().flat_map(|details| details.bytes())),
        }
        all
    }
}

/// What doesn't match, in words.
#[derive(Default)]
pub(super) struct Wrong(Vec<String>);

impl Wrong {
    /// Whether everything does.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, what: &str, expected: impl ToString, actual: impl ToString) {
        let block = |text: String| text.replace('\n', "\n            ");
        self.0.push(format!(
            "{what}\n  expected: {}\n    actual: {}",
            block(expected.to_string()),
            block(actual.to_string())
        ));
    }

    /// Texts of several lines differ line by line.
    fn differs(&mut self, what: &str, expected: &str, actual: &str) {
        if expected.contains('\n') || actual.contains('\n') {
            let diff = render::diff("expected", expected, "actual", actual);
            // Only the last line break differs.
            let diff = if diff.lines().count() < 3 {
                format!("expected: {expected:?}\n  actual: {actual:?}")
            } else {
                diff
            };
            self.0.push(format!("{what}\n{diff}"));
        } else {
            self.add(what, expected, actual);
        }
    }

    /// Looks for a value, which is called `label` where it is found.
    fn leak(&mut self, label: &str, value: &str, outcome: &Outcome, sinks: &[Sink]) {
        let needle = value.to_ascii_lowercase().into_bytes();
        for sink in sinks {
            let bytes = sink.bytes(outcome).to_ascii_lowercase();
            if !needle.is_empty() && bytes.windows(needle.len()).any(|window| window == needle) {
                self.0.push(format!(
                    "leak\n  expected: {label} isn't {}\n    actual: it is",
                    sink.name()
                ));
            }
        }
    }

    /// Whether none was found wrong by a check of its own.
    fn none(check: impl FnOnce(&mut Self) -> Result<()>) -> Result<bool> {
        let mut wrong = Self(Vec::new());
        check(&mut wrong)?;
        Ok(wrong.0.is_empty())
    }

    /// Names in this order, whatever stands between them.
    fn order(&mut self, place: &str, wanted: &[String], headers: &Headers) {
        let mut next = wanted.iter().peekable();
        for (name, _) in headers {
            next.next_if(|wanted| wanted.eq_ignore_ascii_case(name));
        }
        if let Some(missing) = next.peek() {
            let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
            let what = format!("order of the headers {place}");
            self.add(
                &what,
                format!("{}, where `{missing}` comes after those before it", wanted.join(", ")),
                names.join(", "),
            );
        }
    }

    pub(super) fn text(&mut self, what: &str, wanted: &TextMatch, actual: Option<&str>) {
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
            self.differs(what, exact, actual);
        }
        if wanted.at_least.is_some() || wanted.at_most.is_some() {
            let bounds = NumberMatch {
                at_least: wanted.at_least,
                at_most: wanted.at_most,
            };
            match actual.trim().parse::<f64>() {
                Ok(number) if bounds.accepts(number) => {}
                _ => self.add(what, bounds, actual),
            }
        }
        if let Some(not) = &wanted.not
            && Self::none(|wrong| {
                wrong.text(what, &not.0, Some(actual));
                Ok(())
            })
            .unwrap_or(true)
        {
            self.add(what, format!("not {}", describe(&not.0)), actual);
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

    pub(super) fn header(&mut self, place: &str, name: &str, wanted: &HeaderMatch, headers: &Headers) {
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

    pub(super) fn absent(&mut self, place: &str, names: &[String], headers: &Headers) {
        for name in names {
            if let Some((_, value)) = headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)) {
                self.add(&format!("header `{name}` {place}"), "absent", render::text(value));
            }
        }
    }

    pub(super) fn body(
        &mut self,
        what: &str,
        wanted: &BodyMatch,
        actual: &[u8],
        other_side: &[u8],
        folder: &Path,
    ) -> Result<()> {
        let shown = || render::body(actual);
        if let Some(text) = wanted.text.as_ref().filter(|text| text.as_bytes() != actual) {
            self.differs(what, text, &shown());
        }
        if let Some(file) = &wanted.file {
            let bytes =
                std::fs::read(folder.join(file)).with_context(|| format!("cannot read `{}`", file.display()))?;
            if bytes != actual {
                let diff = render::diff(&file.display().to_string(), &render::body(&bytes), "actual", &shown());
                self.0.push(format!("{what}\n{diff}"));
            }
        }
        if let Some(size) = wanted.size.filter(|size| !size.accepts(actual.len() as f64)) {
            self.add(&format!("size of the {what}"), format!("{size} bytes"), actual.len());
        }
        if let Some(schema) = &wanted.schema {
            self.schema(what, schema, actual, folder)?;
        }
        if let Some(not) = &wanted.not
            && Self::none(|wrong| wrong.body(what, &not.0, actual, other_side, folder))?
        {
            self.add(what, "not what `not` says", shown());
        }
        if wanted.empty && !actual.is_empty() {
            self.add(what, "empty", shown());
        }
        if wanted.unchanged && actual != other_side {
            let diff = render::diff("sent", &render::body(other_side), "received", &shown());
            self.0.push(format!("{what} is not unchanged\n{diff}"));
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

    /// Validity by a JSON Schema, given or in a file.
    fn schema(&mut self, what: &str, schema: &Value, actual: &[u8], folder: &Path) -> Result<()> {
        let read;
        let schema = match schema {
            Value::String(file) => {
                read = super::fixture::read(&folder.join(file))?;
                &read
            }
            schema => schema,
        };
        let validator = jsonschema::validator_for(schema)
            .map_err(|error| anyhow::anyhow!("`schema` is no JSON Schema: {error}"))?;
        let json: Value = match serde_json::from_slice(actual) {
            Ok(json) => json,
            Err(error) => {
                self.add(what, "JSON", format!("{error}\n{}", render::body(actual)));
                return Ok(());
            }
        };
        for error in validator.iter_errors(&json) {
            self.0.push(format!(
                "{what} at {} isn't valid by the schema: {error}",
                error.instance_path()
            ));
        }
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
                ("$any", Value::Array(choices)) => choices.iter().any(|choice| is_subset(choice, actual)),
                ("$not", other) => !is_subset(other, actual),
                ("$contains", Value::String(part)) => actual.as_str().is_some_and(|text| text.contains(part.as_str())),
                ("$at_least", bound) => actual
                    .as_f64()
                    .zip(bound.as_f64())
                    .is_some_and(|(number, bound)| number >= bound),
                ("$at_most", bound) => actual
                    .as_f64()
                    .zip(bound.as_f64())
                    .is_some_and(|(number, bound)| number <= bound),
                ("$size", size) => size.as_u64().is_some() && size.as_u64() == length(actual),
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

/// How many elements, members or characters there are.
fn length(value: &Value) -> Option<u64> {
    let length = match value {
        Value::Array(list) => list.len(),
        Value::Object(members) => members.len(),
        Value::String(text) => text.chars().count(),
        _ => return None,
    };
    u64::try_from(length).ok()
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
    if let Some(part) = wanted.contains.0.iter().chain(&wanted.any).next() {
        return format!("one with `{part}`");
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
    use crate::exchange::{Called, Record, Seen};

    fn outcome() -> Outcome {
        Outcome {
            failures: Vec::new(),
            upstream: Some(Seen {
                method: "GET".into(),
                target: b"/fhir/Patient/tok".to_vec(),
                authority: "h".into(),
                headers: vec![("via".into(), b"1".to_vec()), ("via".into(), b"2".to_vec())],
                body: Vec::new(),
                trailers: vec![("x-up".into(), b"u".to_vec())],
            }),
            client: Some(Got {
                status: 200,
                headers: vec![
                    ("cache-control".into(), b"no-store, private".to_vec()),
                    ("x-n".into(), b"5".to_vec()),
                ],
                body: br#"{"id":"1","name":[{"family":"Q"}],"tag":["a","b"],"n":7}"#.to_vec(),
                complete: true,
                trailers: vec![("x-t".into(), b"1".to_vec())],
            }),
            logs: vec![("info".into(), "Phone 555-0100".into())],
            filter_state: [("scrim.audit".to_owned(), r#"{"decision":"allow"}"#.to_owned())].into(),
            metrics: [("calls".to_owned(), 2)].into(),
            calls: [("idp".to_owned(), vec![called()])].into(),
            record: Record {
                details: Some("local_reply_ssn".into()),
                ..Record::default()
            },
        }
    }

    fn called() -> Called {
        Called {
            method: "POST".into(),
            path: b"/introspect?x=1".to_vec(),
            authority: "idp".into(),
            headers: vec![("x-a".into(), b"1".to_vec())],
            body: b"token=abc".to_vec(),
            messages: vec![b"one".to_vec(), b"two".to_vec()],
        }
    }

    /// How many things are wrong with [`outcome`] by this expectation.
    fn wrong(expect: &str) -> Vec<String> {
        wrong_with(expect, &outcome())
    }

    fn wrong_with(expect: &str, outcome: &Outcome) -> Vec<String> {
        let text = format!(
            "policy: p\nproxy: {{clusters: {{idp: {{}}, other: {{}}}}}}\ncases:\n  - name: a\n    request: {{url: /}}\n    expect: {expect}\n"
        );
        let suite = Suite::parse(Path::new("x"), &text).unwrap();
        let sent = Sent {
            request_body: b"",
            answer_body: b"",
            folder: Path::new("."),
            nowhere: &[],
            secrets: &[],
        };
        mismatches(&suite.cases[0].steps[0].expect.any[0], &sent, outcome).unwrap()
    }

    #[test]
    fn a_reset_without_an_answer_has_nothing_of_what_an_answer_has() {
        let reset = Outcome {
            client: None,
            ..outcome()
        };
        let fields = "headers: {x-n: '5'}, header_order: [x-n], trailers: {x-t: '1'}, body: {regex: id}, json: {}";
        assert_eq!(
            wrong_with(&format!("{{complete: false, status: 200, {fields}}}"), &reset).len(),
            6
        );
        assert_eq!(
            wrong_with(
                "{complete: false, headers: {x-n: {absent: true}}, body: {empty: true}}",
                &reset
            ),
            [""; 0]
        );
        // Where an answer was to come, that is the news.
        assert_eq!(wrong_with(&format!("{{{fields}}}"), &reset).len(), 1);
    }

    #[test]
    fn a_found_secret_is_named_and_not_shown() {
        let suite = Suite::parse(
            Path::new("x"),
            "policy: p\ncases: [{name: a, request: {url: /}, expect: {}}]\n",
        )
        .unwrap();
        let secrets = [Secret {
            label: "the signature of token `t`".into(),
            value: "555-0100".into(),
        }];
        let sent = Sent {
            request_body: b"",
            answer_body: b"",
            folder: Path::new("."),
            nowhere: &[],
            secrets: &secrets,
        };
        let told = mismatches(&suite.cases[0].steps[0].expect.any[0], &sent, &outcome()).unwrap();
        assert_eq!(
            told,
            ["leak\n  expected: the signature of token `t` isn't in the logs\n    actual: it is"]
        );
    }

    #[test]
    fn what_holds_holds() {
        for expect in [
            "{status: 200, upstream: reached, complete: true}",
            "{upstream: {url: {regex: '^/fhir'}, method: GET, headers: {via: ['1', '2']}, absent: [cookie], body: {empty: true}}}",
            "{headers: {cache-control: 'no-store, private', x: {absent: true}}, absent: [etag]}",
            "{body: {json_subset: {name: [{family: Q}], id: {$regex: '^1$'}, gone: {$absent: true}, tag: {$has: b}}, json_absent: [/birthDate]}}",
            "{json: {tag: [a, b], name: [{family: Q}], id: '1', n: 7}, audit: {decision: allow}}",
            "{status: 2xx, header_order: [cache-control, x-n], trailers: {x-t: '1'}, upstream: {trailers: {x-up: {regex: '^u'}}, header_order: [via, via]}}",
            "{status: {not: [4xx, 500]}, headers: {x-n: {at_least: 5, at_most: 5.0}, cache-control: {not: public}}}",
            "{body: {size: {at_least: 10}, not: {contains: ssn}, schema: {type: object, required: [id]}}}",
            "{body: {json_subset: {tag: {$size: 2}, id: {$not: '2'}, n: {$at_least: 7, }, name: {$has: {family: {$contains: Q}}}}}}",
            "{body: {json_subset: {n: {$at_most: 7}, id: {$any: ['2', {$regex: '1'}]}}}, metrics: {calls: {at_least: 2, at_most: 2}, other: 0}}",
            "{logs: {contains: Phone, not_contains: ssn}, nowhere: [secret]}",
            "{calls: {idp: [{method: POST, path: {regex: '^/introspect'}, host: idp, headers: {x-a: '1'}, absent: [x-b], body: 'token=abc', messages: [one, two]}], other: []}}",
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
            ("{body: {unchanged: true}}", "is not unchanged"),
            ("{status: 4xx}", "expected: 4xx"),
            ("{status: [201, 3xx]}", "expected: 201 or 3xx"),
            ("{status: {not: 2xx}}", "expected: not 2xx"),
            ("{header_order: [cache-control, etag]}", "`etag` comes after"),
            ("{header_order: [x-n, cache-control]}", "`cache-control` comes after"),
            (
                "{upstream: {header_order: [via, via, via]}}",
                "order of the headers at the upstream",
            ),
            ("{trailers: {x-t: '2'}}", "in the trailers at the client"),
            (
                "{upstream: {trailers: {x-up: {absent: true}}}}",
                "in the trailers at the upstream",
            ),
            ("{headers: {x-n: {at_least: 6}}}", "expected: at least 6"),
            ("{headers: {x-n: {at_most: 4.5}}}", "expected: at most 4.5"),
            ("{headers: {cache-control: {at_most: 4}}}", "actual: no-store"),
            ("{headers: {x-n: {not: '5'}}}", "expected: not 5"),
            ("{headers: {gone: {not: '5'}}}", "absent"),
            ("{body: {not: {contains: family}}}", "not what `not` says"),
            ("{body: {size: {at_most: 5}}}", "expected: at most 5 bytes"),
            ("{body: {size: 5}}", "expected: 5 bytes"),
            (
                "{body: \"a\\nb\"}",
                "--- expected\n+++ actual\n@@ line 1 @@\n-a\n-b\n+{",
            ),
            (
                "{body: {schema: {required: [id, birthDate]}}}",
                "\"birthDate\" is a required property",
            ),
            (
                "{body: {schema: {properties: {id: {type: integer}}}}}",
                "body at /id isn't valid",
            ),
            ("{body: {json_subset: {tag: {$size: 3}}}}", "at /tag"),
            ("{body: {json_subset: {id: {$not: '1'}}}}", "at /id"),
            ("{body: {json_subset: {id: {$contains: x}}}}", "at /id"),
            ("{body: {json_subset: {n: {$at_least: 8}}}}", "at /n"),
            ("{body: {json_subset: {n: {$at_most: 6}}}}", "at /n"),
            ("{metrics: {calls: 1}}", "change of the metric `calls`"),
            ("{metrics: {other: {at_least: 1}}}", "actual: 0"),
            ("{audit: {decision: deny}}", "audit at /decision"),
            ("{log_safe_path: /x}", "log-safe path"),
            ("{nowhere: ['PHONE 555']}", "in the logs"),
            ("{upstream_only: [family]}", "at the client"),
            ("{nowhere: [patient/TOK]}", "isn't upstream"),
            ("{nowhere: ['TOKEN=abc']}", "at a cluster"),
            ("{upstream_only: ['introspect?x']}", "at a cluster"),
            ("{nowhere: ['get /fhir']}", "isn't upstream"),
            ("{nowhere: ['post /introspect']}", "at a cluster"),
            ("{unlogged: [reply_ssn]}", "in the access log"),
            ("{unlogged: [Calls]}", "in a metric's name"),
            ("{unlogged: [two]}", "at a cluster"),
            ("{calls: {idp: []}}", "calls to cluster `idp`"),
            ("{calls: {other: [{}]}}", "calls to cluster `other`"),
            ("{calls: {idp: [{method: GET}]}}", "method of call 1 to cluster `idp`"),
            ("{calls: {idp: [{path: /}]}}", "path of call 1"),
            ("{calls: {idp: [{host: x}]}}", "host of call 1"),
            ("{calls: {idp: [{headers: {x-a: '2'}}]}}", "header `x-a` of call 1"),
            ("{calls: {idp: [{absent: [x-a]}]}}", "header `x-a` of call 1"),
            ("{calls: {idp: [{body: {json: {}}}]}}", "body of call 1"),
            ("{calls: {idp: [{messages: [one]}]}}", "messages of call 1"),
            ("{calls: {idp: [{messages: [one, three]}]}}", "message of call 1"),
        ] {
            let told = wrong(expect);
            assert_eq!(told.len(), 1, "{expect}: {told:?}");
            assert!(told[0].contains(part), "{expect}: {told:?}");
        }
        let sent = "{upstream_only: [patient/tok], unlogged: [family]}";
        assert_eq!(wrong(sent), Vec::<String>::new());
    }
}
