//! Takes values from an answer, for the steps behind it.

use regex::Regex;
use serde_json::Value;

use super::format::CaptureSpec;
use super::render;
use crate::exchange::Outcome;

/// The value that a capture names.
///
/// # Errors
/// What isn't there.
pub(super) fn value(spec: &CaptureSpec, outcome: &Outcome) -> Result<Value, String> {
    let got = outcome.client.as_ref().ok_or("the client got no answer")?;
    let found = match (&spec.header, &spec.json) {
        (Some(name), _) => {
            let line = got.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
            let (_, value) = line.ok_or_else(|| format!("the answer has no header `{name}`"))?;
            Value::String(render::text(value))
        }
        (None, Some(pointer)) => {
            let json: Value =
                serde_json::from_slice(&got.body).map_err(|error| format!("the body is no JSON: {error}"))?;
            json.pointer(pointer)
                .cloned()
                .ok_or_else(|| format!("the body has nothing at `{pointer}`"))?
        }
        (None, None) => Value::String(String::from_utf8_lossy(&got.body).into_owned()),
    };
    let Some(pattern) = &spec.regex else { return Ok(found) };
    let text = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
    // The pattern was compiled when the file was parsed.
    let regex = Regex::new(pattern).map_err(|_| format!("`{pattern}` is no regular expression"))?;
    let groups = regex
        .captures(&text)
        .ok_or_else(|| format!("/{pattern}/ matches nothing"))?;
    let group = groups.get(1).or_else(|| groups.get(0));
    Ok(Value::String(
        group.map(|group| group.as_str().to_owned()).unwrap_or_default(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Got;

    #[test]
    fn values_come_from_headers_json_and_patterns() {
        let outcome = Outcome {
            client: Some(Got {
                status: 201,
                headers: vec![("etag".into(), b"W/\"3\"".to_vec())],
                body: br#"{"id":7,"name":["Q"]}"#.to_vec(),
                ..Got::default()
            }),
            ..Outcome::default()
        };
        let spec = |header: Option<&str>, json: Option<&str>, regex: Option<&str>| CaptureSpec {
            header: header.map(str::to_owned),
            json: json.map(str::to_owned),
            regex: regex.map(str::to_owned),
        };
        for (spec, wanted) in [
            (spec(Some("ETag"), None, None), Ok(Value::from("W/\"3\""))),
            (spec(Some("etag"), None, Some("[0-9]")), Ok(Value::from("3"))),
            (spec(None, Some("/id"), None), Ok(Value::from(7))),
            (spec(None, Some("/name/0"), Some("(.)$")), Ok(Value::from("Q"))),
            (spec(None, None, Some("\"id\":([0-9]+)")), Ok(Value::from("7"))),
            (spec(Some("x"), None, None), Err("the answer has no header `x`")),
            (spec(None, Some("/x"), None), Err("the body has nothing at `/x`")),
            (spec(None, None, Some("zzz")), Err("/zzz/ matches nothing")),
        ] {
            assert_eq!(value(&spec, &outcome), wanted.map_err(str::to_owned), "{spec:?}");
        }
    }
}
