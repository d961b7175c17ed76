//! Outcomes as text that can be compared line by line, and unified diffs of such texts.

use std::fmt::Write;

use serde_json::Value;

use crate::exchange::{Headers, Outcome};

/// Members of the audit record that differ from run to run.
const VOLATILE: [&str; 2] = ["time", "request_id"];

/// Which part of an outcome is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// What the upstream and the client saw.
    Wire,
    /// That, and filter state.
    All,
}

/// An outcome as text: headers sorted by name, the lines of one name in order; without what differs from run to run.
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
            indented(&mut out, &body(&seen.body));
        }
    }
    for (cluster, calls) in &outcome.calls {
        for call in calls {
            let _ = writeln!(
                out,
                "call to {cluster}: {} {}\n  host: {}",
                call.method,
                text(&call.path),
                call.authority
            );
            lines(&mut out, &call.headers);
            indented(&mut out, &body(&call.body));
            for message in &call.messages {
                let _ = writeln!(out, "  message: {}", body(message));
            }
        }
    }
    match &outcome.client {
        None => out.push_str("client: reset before any header\n"),
        Some(got) => {
            let end = if got.complete { "" } else { ", then reset" };
            let _ = writeln!(out, "client: {}{end}", got.status);
            lines(&mut out, &got.headers);
            indented(&mut out, &body(&got.body));
            if !got.trailers.is_empty() {
                out.push_str("  trailers:\n");
                lines(&mut out, &got.trailers);
            }
        }
    }
    if part == Part::All {
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
    out
}

fn lines(out: &mut String, headers: &Headers) {
    let mut sorted: Vec<_> = headers.iter().collect();
    // Stable: the lines of one name keep their order.
    sorted.sort_by_key(|(name, _)| name);
    for (name, value) in sorted {
        let _ = writeln!(out, "  {name}: {}", text(value));
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
            let hex: Vec<String> = bytes.iter().take(64).map(|byte| format!("{byte:02x}")).collect();
            format!(
                "{} bytes: {}{}",
                bytes.len(),
                hex.join(" "),
                if bytes.len() > 64 { " .." } else { "" }
            )
        }
    }
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
    use crate::exchange::Got;

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
    fn the_order_of_names_does_not_count_but_that_of_one_name_does() {
        let with = |headers: &[(&str, &str)]| {
            let headers = headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
                .collect();
            let client = Some(Got {
                status: 200,
                headers,
                complete: true,
                ..Got::default()
            });
            outcome(
                &Outcome {
                    client,
                    ..Outcome::default()
                },
                Part::All,
            )
        };
        assert_eq!(with(&[("b", "1"), ("a", "1")]), with(&[("a", "1"), ("b", "1")]));
        assert_ne!(with(&[("a", "1"), ("a", "2")]), with(&[("a", "2"), ("a", "1")]));
    }

    #[test]
    fn times_and_ids_of_the_audit_record_do_not_count() {
        let with = |record: &str| {
            outcome(
                &Outcome {
                    filter_state: [("scrim.audit".into(), record.into())].into(),
                    ..Outcome::default()
                },
                Part::All,
            )
        };
        assert_eq!(
            with(r#"{"time":1,"request_id":"a","decision":"deny"}"#),
            with(r#"{"decision":"deny","time":2}"#)
        );
        assert_ne!(with(r#"{"decision":"deny"}"#), with(r#"{"decision":"allow"}"#));
    }
}
