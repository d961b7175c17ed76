//! Outcomes as text that can be compared line by line, and unified diffs of such texts.

use std::fmt::Write;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::exchange::{Headers, Outcome, Record};

/// Members of the audit record that differ from run to run.
const VOLATILE: [&str; 2] = ["time", "request_id"];

/// Which part of an outcome is compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// What the upstream and the client saw: equal however the filters are loaded.
    Wire,
    /// That, and filter state: equal however bodies are cut.
    State,
    /// That, logs, metrics and the access log: equal on every engine.
    All,
}

/// An outcome as text, without what differs from run to run. Header lines are in the order in which they came.
pub(super) fn outcome(outcome: &Outcome, part: Part) -> String {
    let mut out = String::new();
    match &outcome.upstream {
        None => out.push_str("upstream: nothing\n"),
        Some(seen) => {
            let _ = writeln!(
                out,
                "upstream: {} {}\n  host: {}",
                seen.method,
                text(&seen.target),
                seen.authority
            );
            lines(&mut out, &seen.headers);
            whole_body(&mut out, &seen.body);
            trailers(&mut out, &seen.trailers);
        }
    }
    match &outcome.client {
        None => out.push_str("client: reset before any header\n"),
        Some(got) => {
            let end = if got.complete { "" } else { ", then reset" };
            let _ = writeln!(out, "client: {}{end}", got.status);
            lines(&mut out, &got.headers);
            whole_body(&mut out, &got.body);
            trailers(&mut out, &got.trailers);
        }
    }
    if part >= Part::State {
        for (name, value) in &outcome.filter_state {
            let value = match serde_json::from_str::<Value>(value) {
                Ok(Value::Object(mut map)) => {
                    VOLATILE.iter().for_each(|name| drop(map.remove(*name)));
                    serde_json::to_string_pretty(&map).unwrap_or_default()
                }
                _ => value.clone(),
            };
            let _ = writeln!(out, "state {name}:");
            indented(&mut out, &value);
        }
    }
    if part == Part::All {
        for (level, line) in &outcome.logs {
            let _ = writeln!(out, "log {level}: {}", undated(line).escape_debug());
        }
        for (name, change) in &outcome.metrics {
            let _ = writeln!(out, "metric {name}: {change:+}");
        }
        let Record {
            details,
            flags,
            received,
            sent,
        } = &outcome.record;
        let details = details.as_deref().unwrap_or("-");
        let flags = if flags.is_empty() { "-" } else { flags };
        // How much of a request comes in that is answered before its end depends on how fast it comes.
        let received = match outcome.upstream {
            Some(_) => format!(", received {received}"),
            None => String::new(),
        };
        let _ = writeln!(out, "record: details {details}, flags {flags}{received}, sent {sent}");
    }
    out
}

/// A line without dates of HTTP (RFC 9110, section 5.6.7): they differ from run to run.
fn undated(line: &str) -> String {
    const LENGTH: usize = "Sun, 06 Nov 1994 08:49:37 GMT".len();
    let mut out = String::new();
    let mut rest = line;
    while let Some(end) = rest.find(" GMT").map(|at| at + 4) {
        let date = end.checked_sub(LENGTH).filter(|at| rest.is_char_boundary(*at));
        let (before, date) = rest[..end].split_at(date.unwrap_or(0));
        let is_date = date.len() == LENGTH
            && date
                .bytes()
                .zip(b"Aaa, 00 Aaa 0000 00:00:00 GMT")
                .all(|(there, like)| match like {
                    b'A' | b'a' => there.is_ascii_alphabetic(),
                    b'0' => there.is_ascii_digit(),
                    _ => there == *like,
                });
        out.push_str(before);
        out.push_str(if is_date { "<date>" } else { date });
        rest = &rest[end..];
    }
    out + rest
}

fn trailers(out: &mut String, trailers: &Headers) {
    if !trailers.is_empty() {
        out.push_str("  trailers:\n");
        lines(out, trailers);
    }
}

fn lines(out: &mut String, headers: &Headers) {
    for (name, value) in headers {
        let _ = writeln!(out, "  {name}: {}", text(value));
    }
}

/// A body so that bodies that differ look different, to the last line break.
fn whole_body(out: &mut String, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    for line in body(bytes).split('\n') {
        let _ = writeln!(out, "  {line}");
    }
    if bytes.len() > HEX_MAX && std::str::from_utf8(bytes).is_err() {
        let digest = Sha256::digest(bytes);
        let _ = writeln!(out, "  sha256 {}", hex(&digest).replace(' ', ""));
    }
}

fn indented(out: &mut String, block: &str) {
    for line in block.lines() {
        let _ = writeln!(out, "  {line}");
    }
}

/// A body to read: as text when it is some, else as hexadecimal.
pub(super) fn body(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            let (first, more) = match bytes.get(..HEX_MAX) {
                Some(first) => (first, if bytes.len() > HEX_MAX { " .." } else { "" }),
                None => (bytes, ""),
            };
            format!("{} bytes: {}{more}", bytes.len(), hex(first))
        }
    }
}

/// How many bytes of a body that is no text are shown.
const HEX_MAX: usize = 64;

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.join(" ")
}

/// A line of bytes as text; what is no printable ASCII is escaped.
pub(super) fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}

/// A unified diff with three lines of context; empty when the texts are equal.
pub(super) fn diff(left_name: &str, left: &str, right_name: &str, right: &str) -> String {
    if left == right {
        return String::new();
    }
    let (a, b): (Vec<&str>, Vec<&str>) = (left.lines().collect(), right.lines().collect());
    let steps = steps(&a, &b);
    let changed: Vec<bool> = steps.iter().map(|(sign, _)| *sign != ' ').collect();
    let mut out = format!("--- {left_name}\n+++ {right_name}\n");
    let mut skipped = true;
    for (index, (sign, line)) in steps.iter().enumerate() {
        let near = changed
            .iter()
            .skip(index.saturating_sub(3))
            .take(index.min(3) + 4)
            .any(|changed| *changed);
        if near {
            if skipped {
                let at = steps.iter().take(index).filter(|(sign, _)| *sign != '+').count();
                let _ = writeln!(out, "@@ line {} @@", at + 1);
            }
            let _ = writeln!(out, "{sign}{line}");
        }
        skipped = !near;
    }
    out
}

/// The longest common subsequence's way from `a` to `b`. Texts of thousands of lines are compared only after their
/// common beginning and end.
fn steps<'a>(a: &[&'a str], b: &[&'a str]) -> Vec<(char, &'a str)> {
    let head = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let tail = a[head..]
        .iter()
        .rev()
        .zip(b[head..].iter().rev())
        .take_while(|(x, y)| x == y)
        .count();
    let (x, y) = (&a[head..a.len() - tail], &b[head..b.len() - tail]);
    let mut out: Vec<(char, &str)> = a[..head].iter().map(|line| (' ', *line)).collect();
    if x.len().saturating_mul(y.len()) > 4_000_000 {
        out.extend(x.iter().map(|line| ('-', *line)));
        out.extend(y.iter().map(|line| ('+', *line)));
    } else {
        let mut table = vec![vec![0_u32; y.len() + 1]; x.len() + 1];
        for i in (0..x.len()).rev() {
            for j in (0..y.len()).rev() {
                table[i][j] = if x[i] == y[j] {
                    table[i + 1][j + 1] + 1
                } else {
                    table[i + 1][j].max(table[i][j + 1])
                };
            }
        }
        let (mut i, mut j) = (0, 0);
        while i < x.len() || j < y.len() {
            if i < x.len() && j < y.len() && x[i] == y[j] {
                out.push((' ', x[i]));
                i += 1;
                j += 1;
            } else if j == y.len() || (i < x.len() && table[i + 1][j] >= table[i][j + 1]) {
                out.push(('-', x[i]));
                i += 1;
            } else {
                out.push(('+', y[j]));
                j += 1;
            }
        }
    }
    out.extend(a[a.len() - tail..].iter().map(|line| (' ', *line)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{Got, Seen};

    #[test]
    fn a_diff_shows_what_changed_with_its_surroundings() {
        let left = (1..=20).map(|n| n.to_string()).collect::<Vec<_>>().join("\n");
        let right = left.replace("10\n", "ten\n");
        assert_eq!(
            diff("a", &left, "b", &right),
            "--- a\n+++ b\n@@ line 7 @@\n 7\n 8\n 9\n-10\n+ten\n 11\n 12\n 13\n"
        );
        assert_eq!(diff("a", &left, "b", &left), "");
        assert_eq!(diff("a", "", "b", "x\n"), "--- a\n+++ b\n@@ line 1 @@\n+x\n");
    }

    #[test]
    fn everything_that_an_engine_can_see_counts() {
        let some = || Outcome {
            upstream: Some(Seen {
                body: vec![0xff; 81],
                ..Seen::default()
            }),
            client: Some(Got {
                status: 200,
                headers: vec![("a".into(), b"1".to_vec()), ("b".into(), b"2".to_vec())],
                complete: true,
                ..Got::default()
            }),
            logs: vec![("info".into(), "one".into()), ("info".into(), "two".into())],
            metrics: [("m".into(), 1)].into(),
            record: Record {
                details: Some("via_upstream".into()),
                ..Record::default()
            },
            ..Outcome::default()
        };
        let changes: [fn(&mut Outcome); 12] = [
            |other| other.client.as_mut().unwrap().headers.swap(0, 1),
            |other| other.client.as_mut().unwrap().body.push(b'\n'),
            |other| other.upstream.as_mut().unwrap().body = [&[0xff; 80][..], b"x"].concat(),
            |other| {
                other
                    .client
                    .as_mut()
                    .unwrap()
                    .trailers
                    .push(("t".into(), b"1".to_vec()))
            },
            |other| {
                other
                    .upstream
                    .as_mut()
                    .unwrap()
                    .trailers
                    .push(("t".into(), b"1".to_vec()))
            },
            |other| other.logs.swap(0, 1),
            |other| other.logs[0].0 = "warning".into(),
            |other| {
                other.metrics.insert("m".into(), 2);
            },
            |other| other.record.details = None,
            |other| other.record.flags = "UF".into(),
            |other| other.record.received = 1,
            |other| other.record.sent = 1,
        ];
        for (at, change) in changes.iter().enumerate() {
            let mut other = some();
            change(&mut other);
            assert_ne!(outcome(&some(), Part::All), outcome(&other, Part::All), "{at}");
            let on_the_wire = at < 5;
            assert_eq!(
                outcome(&some(), Part::State) != outcome(&other, Part::State),
                on_the_wire,
                "{at}"
            );
        }
    }

    #[test]
    fn dates_in_logs_do_not_count() {
        assert_eq!(
            undated("\u{e9} date=Sun, 22 Nov 2026 11:11:14 GMT, x GMT, Sun, 22 Nov 2026 11:11:14 GMT."),
            "\u{e9} date=<date>, x GMT, <date>."
        );
        for plain in [" GMT", "Sun, 22 Nov 2026 11:1x:14 GMT", "11:11:14 GMT", ""] {
            assert_eq!(undated(plain), plain);
        }
    }

    #[test]
    fn times_and_ids_of_the_audit_record_do_not_count() {
        let with = |record: &str| {
            outcome(
                &Outcome {
                    filter_state: [("scrim.audit".into(), record.into())].into(),
                    ..Outcome::default()
                },
                Part::State,
            )
        };
        assert_eq!(
            with(r#"{"time":1,"request_id":"a","decision":"deny"}"#),
            with(r#"{"decision":"deny","time":2}"#)
        );
        assert_ne!(with(r#"{"decision":"deny"}"#), with(r#"{"decision":"allow"}"#));
    }
}
