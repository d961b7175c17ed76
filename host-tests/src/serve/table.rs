//! A line a request for people: what was decided, by which policy and why, never the URL.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use scrim_policy::audit::Timestamp;
use serde_json::Value;

use super::{Exchange, Onlooker};

/// Prints a heading, then a line for each exchange. `color`: denials red, what only would be denied yellow.
pub fn table(to: impl Write + Send + 'static, color: bool) -> Onlooker {
    let to = Mutex::new((to, false));
    Box::new(move |exchange| {
        let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
        let (out, begun) = &mut *to;
        let heading = if *begun { String::new() } else { format!("{HEADING}\n") };
        *begun = true;
        // Nobody may be there to read it any more: that is no reason to stop serving.
        let _ = writeln!(out, "{heading}{}", row(exchange, color)).and_then(|()| out.flush());
    })
}

const HEADING: &str = "TIME      METHOD   STATUS     MS  DECISION  POLICY            ROUTE           PATH";

fn row(exchange: &Exchange<'_>, color: bool) -> String {
    let outcome = exchange.outcome;
    let audit: Value = outcome
        .filter_state
        .get("scrim.audit")
        .and_then(|record| serde_json::from_str(record).ok())
        .unwrap_or_default();
    let text = |name: &str| audit.get(name).and_then(Value::as_str).unwrap_or("-");
    let filters = audit.get("filters").and_then(Value::as_object);
    let why = filters.into_iter().flatten().find_map(|(filter, decided)| {
        let verdict = decided
            .get("decision")?
            .as_str()
            .filter(|verdict| *verdict != "allow")?;
        let reason = decided
            .get("detail")
            .or(decided.get("reason"))
            .and_then(Value::as_str)?;
        Some((verdict, format!("  {filter}: {reason}")))
    });
    let decision = match (&why, text("decision")) {
        (Some(("shadow_deny", _)), "allow") => "shadow",
        (_, decision) => decision,
    };
    let since = exchange.time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)).rfc3339();
    let status = outcome.client.as_ref().map_or("reset".to_owned(), |got| {
        let broken = if got.complete { "" } else { "!" };
        format!("{}{broken}", got.status)
    });
    let line = format!(
        "{}  {:<7}  {status:<6} {:>6}  {decision:<8}  {:<16}  {:<14}  {}{}",
        time.get(11..19).unwrap_or("-"),
        exchange.request.method,
        exchange.duration.as_millis(),
        text("policy"),
        text("route"),
        outcome.filter_state.get("scrim.path").map_or("-", String::as_str),
        why.as_ref().map_or("", |(_, reason)| reason.as_str()),
    );
    match decision {
        "deny" if color => format!("\x1b[31m{line}\x1b[0m"),
        "shadow" if color => format!("\x1b[33m{line}\x1b[0m"),
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::exchange::{Got, Outcome, Request};

    fn printed(audit: &str, color: bool) -> Vec<String> {
        #[derive(Clone, Default)]
        struct Sink(Arc<Mutex<Vec<u8>>>);
        impl Write for Sink {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().extend(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let state = [("scrim.path", "/fhir/Patient/***"), ("scrim.audit", audit)];
        let outcome = Outcome {
            client: Some(Got {
                status: 400,
                complete: true,
                ..Got::default()
            }),
            filter_state: state.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            ..Outcome::default()
        };
        let request = Request {
            method: "GET".into(),
            target: b"/fhir/Patient/secret-7".to_vec(),
            ..Request::default()
        };
        let sink = Sink::default();
        let told = table(sink.clone(), color);
        for _ in 0..2 {
            told(&Exchange {
                request: &request,
                answer: None,
                outcome: &outcome,
                time: SystemTime::UNIX_EPOCH + Duration::from_secs(3661),
                duration: Duration::from_millis(7),
            });
        }
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_line_says_what_was_decided_and_why_and_not_the_url() {
        let audit = r#"{"policy":"clinician","route":"routes[0]","decision":"deny",
            "filters":{"oauth_scope":{"decision":"allow"},"phi_url":{"decision":"deny","reason":"phi_in_query","detail":"birthdate"}}}"#;
        let lines = printed(audit, false);
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0], HEADING);
        assert_eq!(
            lines[1],
            "01:01:01  GET      400         7  deny      clinician         routes[0]       /fhir/Patient/***  phi_url: birthdate"
        );
        assert!(!lines.join("\n").contains("secret-7"));
        assert!(printed(audit, true)[1].starts_with("\x1b[31m"));
    }

    #[test]
    fn what_only_would_be_denied_is_told_apart() {
        let audit = r#"{"decision":"allow","filters":{"oauth_scope":{"decision":"shadow_deny","reason":"no_token"}}}"#;
        let lines = printed(audit, true);
        assert!(
            lines[1].starts_with("\x1b[33m") && lines[1].contains("shadow"),
            "{lines:?}"
        );
        assert!(printed("{}", false)[1].contains("  -  "));
    }
}
