//! The messages of a test file, as `plugins/test/runner.proto` of Google's service-extensions has them.
//!
//! 1. A field that the schema lacks is refused with the nearest known one; so are a second value of what is no list, two
//!    members of a `oneof`, and a value of another type.
//! 2. Regular expressions are compiled here, so that a broken one has its place. They match a whole text, as RE2's `FullMatch`.
//! 3. What concerns only benchmarks and Google's own log file is read and has no effect (`benchmark`, `log_path`,
//!    `num_additional_streams`, `additional_stream_advance_rate`, `test_path`): `scrim bench` measures, and a failure shows the log.

use super::syntax::{Field, Message, Place, Value, Wrong, parse};
use crate::cases::problem::nearest;
use crate::wasm::LogLevel;

/// A whole file.
#[derive(Debug, Default)]
pub(super) struct Suite {
    pub(super) env: Env,
    pub(super) tests: Vec<Test>,
}

/// What the plugin runs in.
#[derive(Debug, Default)]
pub(super) struct Env {
    pub(super) wasm_path: Option<String>,
    pub(super) config_path: Option<String>,
    pub(super) log_level: Option<LogLevel>,
    pub(super) time_secs: Option<u64>,
}

/// One stream, and what is expected of it.
#[derive(Debug, Default)]
pub(super) struct Test {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) chunking: Option<Chunking>,
    pub(super) properties: Vec<(String, Vec<u8>)>,
    pub(super) request_headers: Option<Invocation>,
    pub(super) request_body: Vec<Invocation>,
    pub(super) response_headers: Option<Invocation>,
    pub(super) response_body: Vec<Invocation>,
    pub(super) plugin_init: Expectation,
    pub(super) stream_init: Expectation,
    pub(super) stream_destroy: Expectation,
}

/// How bodies are cut.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chunking {
    /// Into so many, all but the last equally long.
    Count(usize),
    /// Into pieces of so many bytes.
    Size(usize),
}

#[derive(Debug, Default)]
pub(super) struct Invocation {
    pub(super) place: Place,
    pub(super) input: Input,
    pub(super) result: Expectation,
}

#[derive(Debug, Default)]
pub(super) struct Input {
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) content: Vec<u8>,
    pub(super) file: String,
}

#[derive(Debug, Default)]
pub(super) struct Expectation {
    pub(super) has_header: Vec<(String, Vec<u8>)>,
    pub(super) no_header: Vec<String>,
    pub(super) headers: Vec<Matcher>,
    pub(super) body: Vec<Matcher>,
    pub(super) immediate: Option<Immediate>,
    pub(super) log: Vec<Matcher>,
}

#[derive(Debug, Default)]
pub(super) struct Immediate {
    pub(super) http_status: Option<u32>,
    pub(super) grpc_status: Option<u32>,
    pub(super) details: Option<String>,
}

#[derive(Debug)]
pub(super) struct Matcher {
    pub(super) invert: bool,
    pub(super) wanted: Wanted,
}

#[derive(Debug)]
pub(super) enum Wanted {
    Exact(Vec<u8>),
    /// Compiled, and as it was written.
    Regex(regex::bytes::Regex, String),
    /// The exact bytes of a file.
    File(String),
}

impl Suite {
    /// Parses a file's text.
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        let mut suite = Suite::default();
        let mut once = Once::default();
        for field in &parse(text)?.fields {
            match field.name.as_str() {
                "env" => {
                    once.take(field)?;
                    suite.env = Env::read(message(field)?)?;
                }
                "test" => suite.tests.push(Test::read(field)?),
                _ => return Err(unknown(field, &["env", "test"])),
            }
        }
        Ok(suite)
    }
}

impl Env {
    fn read(from: &Message) -> Result<Self, Wrong> {
        const FIELDS: [&str; 8] = [
            "test_path",
            "wasm_path",
            "config_path",
            "log_level",
            "log_path",
            "time_secs",
            "num_additional_streams",
            "additional_stream_advance_rate",
        ];
        let mut env = Env::default();
        let mut once = Once::default();
        for field in &from.fields {
            once.take(field)?;
            match field.name.as_str() {
                "test_path" | "log_path" => {
                    string(field)?;
                }
                "wasm_path" => env.wasm_path = Some(string(field)?).filter(|path| !path.is_empty()),
                "config_path" => env.config_path = Some(string(field)?).filter(|path| !path.is_empty()),
                "log_level" => env.log_level = log_level(field)?,
                "time_secs" => env.time_secs = Some(unsigned(field, u64::MAX)?),
                "num_additional_streams" | "additional_stream_advance_rate" => {
                    unsigned(field, u64::MAX)?;
                }
                _ => return Err(unknown(field, &FIELDS)),
            }
        }
        Ok(env)
    }
}

impl Test {
    fn read(from: &Field) -> Result<Self, Wrong> {
        const FIELDS: [&str; 12] = [
            "name",
            "benchmark",
            "num_chunks",
            "chunk_size",
            "properties",
            "request_headers",
            "request_body",
            "response_headers",
            "response_body",
            "plugin_init",
            "stream_init",
            "stream_destroy",
        ];
        let mut test = Test {
            place: from.place,
            ..Test::default()
        };
        let mut once = Once::default();
        for field in &message(from)?.fields {
            if !matches!(field.name.as_str(), "properties" | "request_body" | "response_body") {
                once.take(field)?;
            }
            match field.name.as_str() {
                "name" => test.name = string(field)?,
                "benchmark" => {
                    boolean(field)?;
                }
                "num_chunks" | "chunk_size" => {
                    if test.chunking.is_some() {
                        return Err(wrong(
                            field.place,
                            "`num_chunks` and `chunk_size` exclude each other: keep one",
                        ));
                    }
                    let most = if field.name == "num_chunks" {
                        i32::MAX as u64
                    } else {
                        i64::MAX as u64
                    };
                    let number = unsigned(field, most)?;
                    let number = usize::try_from(number).ok().filter(|number| *number > 0);
                    let number = number.ok_or_else(|| {
                        wrong(
                            field.value_place,
                            "a body is cut into at least one piece of at least one byte",
                        )
                    })?;
                    test.chunking = Some(match field.name.as_str() {
                        "num_chunks" => Chunking::Count(number),
                        _ => Chunking::Size(number),
                    });
                }
                "properties" => test.properties.push(pair(field, ["path", "value"])?),
                "request_headers" => test.request_headers = Some(Invocation::read(field)?),
                "request_body" => test.request_body.push(Invocation::read(field)?),
                "response_headers" => test.response_headers = Some(Invocation::read(field)?),
                "response_body" => test.response_body.push(Invocation::read(field)?),
                "plugin_init" => test.plugin_init = Expectation::read(message(field)?)?,
                "stream_init" => test.stream_init = Expectation::read(message(field)?)?,
                "stream_destroy" => test.stream_destroy = Expectation::read(message(field)?)?,
                _ => return Err(unknown(field, &FIELDS)),
            }
        }
        for bodies in [&test.request_body, &test.response_body] {
            if let (Some(_), Some(second)) = (test.chunking, bodies.get(1)) {
                return Err(wrong(
                    second.place,
                    "with `num_chunks` or `chunk_size` there is one body a way: take the others away",
                ));
            }
        }
        Ok(test)
    }
}

impl Invocation {
    fn read(from: &Field) -> Result<Self, Wrong> {
        let mut invocation = Invocation {
            place: from.place,
            ..Invocation::default()
        };
        let mut once = Once::default();
        for field in &message(from)?.fields {
            once.take(field)?;
            match field.name.as_str() {
                "input" => invocation.input = Input::read(message(field)?)?,
                "result" => invocation.result = Expectation::read(message(field)?)?,
                _ => return Err(unknown(field, &["input", "result"])),
            }
        }
        Ok(invocation)
    }
}

impl Input {
    fn read(from: &Message) -> Result<Self, Wrong> {
        let mut input = Input::default();
        let mut once = Once::default();
        for field in &from.fields {
            if field.name != "header" {
                once.take(field)?;
            }
            match field.name.as_str() {
                "header" => input.headers.push(pair(field, ["key", "value"])?),
                "content" => input.content = bytes(field)?,
                "file" => input.file = string(field)?,
                _ => return Err(unknown(field, &["header", "content", "file"])),
            }
        }
        Ok(input)
    }
}

impl Expectation {
    fn read(from: &Message) -> Result<Self, Wrong> {
        const FIELDS: [&str; 6] = ["has_header", "no_header", "headers", "body", "immediate", "log"];
        let mut expectation = Expectation::default();
        let named = |field: &Field| {
            let pair = pair(field, ["key", "value"])?;
            match pair.0.is_empty() {
                true => Err(wrong(field.place, "a header needs its `key`")),
                false => Ok(pair),
            }
        };
        for field in &from.fields {
            match field.name.as_str() {
                "has_header" => expectation.has_header.push(named(field)?),
                "no_header" => expectation.no_header.push(named(field)?.0),
                "headers" => expectation.headers.push(Matcher::read(field)?),
                "body" => expectation.body.push(Matcher::read(field)?),
                "log" => expectation.log.push(Matcher::read(field)?),
                "immediate" if expectation.immediate.is_some() => return Err(twice(field)),
                "immediate" => expectation.immediate = Some(Immediate::read(message(field)?)?),
                _ => return Err(unknown(field, &FIELDS)),
            }
        }
        Ok(expectation)
    }
}

impl Immediate {
    fn read(from: &Message) -> Result<Self, Wrong> {
        let mut immediate = Immediate::default();
        let mut once = Once::default();
        let status = |field: &Field| Ok(Some(unsigned(field, u32::MAX.into())? as u32));
        for field in &from.fields {
            once.take(field)?;
            match field.name.as_str() {
                "http_status" => immediate.http_status = status(field)?,
                "grpc_status" => immediate.grpc_status = status(field)?,
                "details" => immediate.details = Some(string(field)?),
                _ => return Err(unknown(field, &["http_status", "grpc_status", "details"])),
            }
        }
        Ok(immediate)
    }
}

impl Matcher {
    fn read(from: &Field) -> Result<Self, Wrong> {
        let (mut invert, mut wanted) = (false, None);
        let mut once = Once::default();
        for field in &message(from)?.fields {
            once.take(field)?;
            let found = match field.name.as_str() {
                "invert" => {
                    invert = boolean(field)?;
                    continue;
                }
                "exact" => Wanted::Exact(bytes(field)?),
                "file" => Wanted::File(string(field)?),
                "regex" => {
                    let text = string(field)?;
                    let regex = regex::bytes::Regex::new(&format!(r"\A(?:{text})\z")).map_err(|error| {
                        wrong(
                            field.value_place,
                            &format!("`{text}` is no regular expression: {error}"),
                        )
                    })?;
                    Wanted::Regex(regex, text)
                }
                _ => return Err(unknown(field, &["invert", "exact", "regex", "file"])),
            };
            if wanted.replace(found).is_some() {
                return Err(wrong(
                    field.place,
                    "`exact`, `regex` and `file` exclude each other: keep one",
                ));
            }
        }
        match wanted {
            Some(wanted) => Ok(Matcher { invert, wanted }),
            None => Err(wrong(from.place, "nothing to match: add `exact`, `regex` or `file`")),
        }
    }
}

/// Which fields were there already.
#[derive(Default)]
struct Once(Vec<String>);

impl Once {
    fn take(&mut self, field: &Field) -> Result<(), Wrong> {
        if self.0.contains(&field.name) {
            return Err(twice(field));
        }
        self.0.push(field.name.clone());
        Ok(())
    }
}

fn twice(field: &Field) -> Wrong {
    wrong(field.place, &format!("`{}` is given twice: keep one", field.name))
}

fn wrong(place: Place, what: &str) -> Wrong {
    Wrong {
        place,
        what: what.to_owned(),
    }
}

fn unknown(field: &Field, known: &[&str]) -> Wrong {
    let mend = match nearest(&field.name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => crate::cases::known(known.iter()),
    };
    wrong(field.place, &format!("unknown field `{}`: {mend}", field.name))
}

fn mismatch(field: &Field, wanted: &str) -> Wrong {
    wrong(
        field.value_place,
        &format!("`{}` takes {wanted}, and this is {}", field.name, field.value.kind()),
    )
}

fn message(field: &Field) -> Result<&Message, Wrong> {
    match &field.value {
        Value::Message(message) => Ok(message),
        _ => Err(mismatch(field, "a message, `{..}`")),
    }
}

fn bytes(field: &Field) -> Result<Vec<u8>, Wrong> {
    match &field.value {
        Value::Text(text) => Ok(text.clone()),
        _ => Err(mismatch(field, "a string in quotes")),
    }
}

fn string(field: &Field) -> Result<String, Wrong> {
    String::from_utf8(bytes(field)?).map_err(|_| wrong(field.value_place, "this string is not UTF-8"))
}

fn boolean(field: &Field) -> Result<bool, Wrong> {
    let (Value::Word(word) | Value::Number(word)) = &field.value else {
        return Err(mismatch(field, "`true` or `false`"));
    };
    match word.as_str() {
        "true" | "True" | "t" | "1" => Ok(true),
        "false" | "False" | "f" | "0" => Ok(false),
        _ => Err(mismatch(field, "`true` or `false`")),
    }
}

/// Decimal, `0x..` or octal with a leading 0.
fn unsigned(field: &Field, most: u64) -> Result<u64, Wrong> {
    let Value::Number(number) = &field.value else {
        return Err(mismatch(field, "a number"));
    };
    let parsed = match number.as_bytes() {
        [b'0', b'x' | b'X', ..] => u64::from_str_radix(&number[2..], 16),
        [b'0', _, ..] => u64::from_str_radix(&number[1..], 8),
        _ => number.parse(),
    };
    let parsed = parsed.ok().filter(|parsed| *parsed <= most);
    parsed.ok_or_else(|| {
        wrong(
            field.value_place,
            &format!("`{number}` is no whole number from 0 to {most}"),
        )
    })
}

fn log_level(field: &Field) -> Result<Option<LogLevel>, Wrong> {
    const NAMES: [&str; 7] = ["UNDEFINED", "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "CRITICAL"];
    let at = match &field.value {
        Value::Word(word) => NAMES.iter().position(|name| name == word),
        Value::Number(number) => number.parse().ok(),
        _ => None,
    };
    Ok(match at {
        Some(0) => None,
        Some(1) => Some(LogLevel::Trace),
        Some(2) => Some(LogLevel::Debug),
        Some(3) => Some(LogLevel::Info),
        Some(4) => Some(LogLevel::Warning),
        Some(5) => Some(LogLevel::Error),
        Some(6) => Some(LogLevel::Critical),
        _ => {
            return Err(wrong(
                field.value_place,
                &format!("no log level: {}", crate::cases::known(NAMES.iter())),
            ));
        }
    })
}

/// A message of two strings, the second one bytes.
fn pair(from: &Field, names: [&str; 2]) -> Result<(String, Vec<u8>), Wrong> {
    let mut pair = (String::new(), Vec::new());
    let mut once = Once::default();
    for field in &message(from)?.fields {
        once.take(field)?;
        if field.name == names[0] {
            pair.0 = string(field)?;
        } else if field.name == names[1] {
            pair.1 = bytes(field)?;
        } else {
            return Err(unknown(field, &names));
        }
    }
    Ok(pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let wrong = Suite::parse(text).unwrap_err();
        format!("{}:{}: {}", wrong.place.line, wrong.place.column, wrong.what)
    }

    #[test]
    fn a_field_that_is_not_there_is_named_with_the_nearest_one() {
        assert_eq!(
            refused("test {\n  request_header { }\n}"),
            "2:3: unknown field `request_header`: did you mean `request_headers`?"
        );
        assert_eq!(
            refused("test { request_body { result { bodi { exact: 'x' } } } }"),
            "1:32: unknown field `bodi`: did you mean `body`?"
        );
        assert_eq!(
            refused("zebra: 1"),
            "1:1: unknown field `zebra`: known are `env`, `test`"
        );
        assert!(refused("env { log_levle: INFO }").contains("did you mean `log_level`?"));
    }

    #[test]
    fn types_and_counts_are_checked() {
        assert_eq!(
            refused("test { name: 5 }"),
            "1:14: `name` takes a string in quotes, and this is a number"
        );
        assert_eq!(
            refused("test { name: 'a' name: 'b' }"),
            "1:18: `name` is given twice: keep one"
        );
        assert!(refused("test { num_chunks: 2 chunk_size: 2 }").contains("exclude each other"));
        assert!(refused("test { num_chunks: 0 }").contains("at least one"));
        assert!(refused("test { num_chunks: 2 request_body {} request_body {} }").contains("one body a way"));
        assert!(refused("test { request_headers { result { log { } } } }").contains("nothing to match"));
        assert!(
            refused("test { request_headers { result { log { exact: 'a' regex: 'b' } } } }")
                .contains("exclude each other")
        );
        assert!(
            refused("test { request_headers { result { log { regex: '(' } } } }")
                .starts_with("1:48: `(` is no regular expression")
        );
        assert!(
            refused("test { request_headers { result { has_header { value: 'x' } } } }").contains("needs its `key`")
        );
        assert!(
            refused("test { request_headers { result { immediate { http_status: 5000000000 } } } }")
                .contains("no whole number")
        );
        assert!(refused("env { log_level: LOUD }").contains("known are `UNDEFINED`"));
    }

    #[test]
    fn numbers_are_decimal_hexadecimal_or_octal() {
        for (text, want) in [("10", 10), ("0x1f", 31), ("017", 15), ("0", 0)] {
            let suite = Suite::parse(&format!("env {{ time_secs: {text} }}")).unwrap();
            assert_eq!(suite.env.time_secs, Some(want), "{text}");
        }
    }
}
