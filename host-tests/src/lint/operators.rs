//! Envoy's command operators (`%REQ(:PATH)%`): which of them print a URL or a part of one.
//!
//! The list is that of Envoy 1.40, "Command operators" in its documentation of access logs.

/// What a format string would print of URLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Prints {
    /// What nobody knows: metadata, filter state, an operator that is new.
    Unknown,
    /// A URL or a part of one.
    Url,
}

/// An operator in a format string that prints a URL, or may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Operator {
    /// As written, with the percent signs.
    pub(super) text: String,
    /// What it prints.
    pub(super) prints: Prints,
}

/// Request headers that hold URLs: FHIR's, HTTP's and what proxies call the first path.
const REQUEST_HEADERS: [&str; 22] = [
    ":path",
    "referer",
    "referrer",
    "origin",
    "forwarded",
    "if-none-exist",
    "x-original-url",
    "x-original-uri",
    "x-original-path",
    "x-original-request-uri",
    "x-rewrite-url",
    "x-rewrite-uri",
    "x-forwarded-url",
    "x-forwarded-uri",
    "x-forwarded-path",
    "x-forwarded-request-uri",
    "x-envoy-original-url",
    "x-http-url",
    "x-request-uri",
    "x-request-url",
    "x-url-path",
    "destination",
];

/// Response headers that hold URLs.
const RESPONSE_HEADERS: [&str; 9] = [
    "location",
    "content-location",
    "link",
    "refresh",
    "referer",
    "x-accel-redirect",
    "x-original-url",
    "sourcemap",
    "x-request-url",
];

/// Operators that print nothing of a URL.
const HARMLESS: [&str; 38] = [
    "ACCESS_LOG_TYPE",
    "BYTES_RECEIVED",
    "BYTES_RETRANSMITTED",
    "BYTES_SENT",
    "COMMON_DURATION",
    "CONNECTION_ID",
    "CONNECTION_TERMINATION_DETAILS",
    "CUSTOM_FLAGS",
    "DURATION",
    "EMIT_TIME",
    "EMIT_TIME_LOCAL",
    "ENVIRONMENT",
    "FILE_CONTENT",
    "FILTER_CHAIN_NAME",
    "GRPC_STATUS",
    "GRPC_STATUS_NUMBER",
    "HOSTNAME",
    "LOCAL_REPLY_BODY",
    "PACKETS_RECEIVED",
    "PACKETS_RETRANSMITTED",
    "PACKETS_SENT",
    "PROTOCOL",
    "REQUESTED_SERVER_NAME",
    "REQUEST_DURATION",
    "REQUEST_TX_DURATION",
    "RESPONSE_CODE",
    "RESPONSE_CODE_DETAILS",
    "RESPONSE_DURATION",
    "RESPONSE_FLAGS",
    "RESPONSE_FLAGS_LONG",
    "RESPONSE_TX_DURATION",
    "ROUNDTRIP_DURATION",
    "ROUTE_NAME",
    "SPAN_ID",
    "STREAM_ID",
    "TRACE_ID",
    "UNIQUE_ID",
    "VIRTUAL_CLUSTER_NAME",
];

/// Beginnings of operators that print nothing of a URL.
const HARMLESS_BEGINNINGS: [&str; 6] = ["DOWNSTREAM_", "UPSTREAM_", "START_TIME", "TLS_", "PEER_", "BACKEND_"];

/// Whether a request header of this name holds a URL.
pub(super) fn is_url_header(name: &str) -> bool {
    REQUEST_HEADERS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name.trim()))
}

/// The operators in a format string that print a URL, or may.
pub(super) fn operators(format: &str) -> Vec<Operator> {
    let mut found: Vec<Operator> = Vec::new();
    let mut rest = format;
    while let Some((_, after)) = rest.split_once('%') {
        // `%%` is a percent sign.
        if let Some(after) = after.strip_prefix('%') {
            rest = after;
            continue;
        }
        let Some((operator, length)) = operator(after) else {
            rest = after;
            continue;
        };
        let text = format!("%{}", after.get(..length).unwrap_or(after));
        if let Some(prints) = operator.prints()
            && !found.iter().any(|known| known.text == text)
        {
            found.push(Operator { text, prints });
        }
        rest = after.get(length..).unwrap_or_default();
    }
    found
}

/// An operator's name and what stands in its parentheses.
struct Call<'f> {
    name: &'f str,
    argument: &'f str,
}

/// Reads an operator after its first percent sign; the number is its length to the end of the last one.
fn operator(text: &str) -> Option<(Call<'_>, usize)> {
    let end = text
        .find(|letter: char| !letter.is_ascii_uppercase() && !letter.is_ascii_digit() && letter != '_')
        .filter(|end| *end > 0)?;
    let (name, rest) = text.split_at(end);
    // An argument may hold parentheses itself (CEL, COALESCE): it ends where what follows ends the operator.
    let (argument, rest) = match rest.strip_prefix('(') {
        None => ("", rest),
        Some(inner) => inner
            .match_indices(')')
            .filter_map(|(place, _)| inner.split_at_checked(place))
            .map(|(argument, rest)| (argument, rest.get(1..).unwrap_or_default()))
            .find(|(_, rest)| tail(rest).is_some())?,
    };
    let tail = tail(rest)?;
    let length = text.len().saturating_sub(rest.len()).saturating_add(tail);
    Some((Call { name, argument }, length))
}

/// The length of an optional `:N` and the percent sign that ends an operator.
fn tail(rest: &str) -> Option<usize> {
    let after = match rest.strip_prefix(':') {
        None => rest,
        Some(digits) => {
            let after = digits.trim_start_matches(|letter: char| letter.is_ascii_digit());
            (after.len() < digits.len()).then_some(after)?
        }
    };
    after.starts_with('%').then(|| rest.len() - after.len() + 1)
}

impl Call<'_> {
    fn prints(&self) -> Option<Prints> {
        let argument = self.argument.to_ascii_lowercase();
        let alternatives = || argument.split('?');
        match self.name {
            "REQ" | "REQUEST_HEADER" | "REQ_WITHOUT_QUERY" => alternatives().any(is_url_header).then_some(Prints::Url),
            "RESP" | "RESPONSE_HEADER" | "TRAILER" | "RESPONSE_TRAILER" => alternatives()
                .any(|name| RESPONSE_HEADERS.contains(&name.trim()))
                .then_some(Prints::Url),
            // `ORIG` is `x-envoy-original-path` alone, which Scrim sets; the default takes the path where there is none.
            "PATH" => (argument.split(':').nth(1).map(str::trim) != Some("orig")).then_some(Prints::Url),
            "QUERY_PARAM" | "QUERY_PARAMS" => Some(Prints::Url),
            "CEL" => {
                let url = [
                    "path", "query", "referer", "url", "origin", "location", "link", "headers",
                ];
                url.iter().any(|word| argument.contains(word)).then_some(Prints::Url)
            }
            "COALESCE" => {
                let quoted = |name: &&str| argument.contains(&format!("\"{name}\""));
                let mut headers = REQUEST_HEADERS.iter().chain(&RESPONSE_HEADERS);
                let url = headers.any(quoted)
                    || ["\"path\"", "query_param", "?:path"]
                        .iter()
                        .any(|word| argument.contains(word));
                let unknown = ["metadata", "filter_state", "cel"]
                    .iter()
                    .any(|word| argument.contains(word));
                match (url, unknown) {
                    (true, _) => Some(Prints::Url),
                    (false, true) => Some(Prints::Unknown),
                    (false, false) => None,
                }
            }
            "FILTER_STATE" | "UPSTREAM_FILTER_STATE" => {
                let scrims = self.argument.trim().starts_with("wasm.scrim.");
                (!scrims).then_some(Prints::Unknown)
            }
            "DYNAMIC_METADATA" | "DYNAMIC_MODULE" => Some(Prints::Unknown),
            // Of routes, clusters and listeners it is what the configuration says.
            "METADATA" => argument.starts_with("dynamic").then_some(Prints::Unknown),
            "CLUSTER_METADATA" | "UPSTREAM_METADATA" => None,
            name if HARMLESS.contains(&name) => None,
            name if HARMLESS_BEGINNINGS.iter().any(|begin| name.starts_with(begin)) => None,
            _ => Some(Prints::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{AccessLog, Sink};
    use proptest::prelude::*;

    fn told(format: &str) -> Vec<(String, Prints)> {
        operators(format)
            .into_iter()
            .map(|operator| (operator.text, operator.prints))
            .collect()
    }

    #[test]
    fn what_prints_a_url_is_told() {
        for operator in [
            "%REQ(:PATH)%",
            "%REQ(:path)%",
            "%REQ(:PATH):40%",
            "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
            "%REQUEST_HEADER(:PATH)%",
            "%REQ_WITHOUT_QUERY(:PATH)%",
            "%REQ(REFERER)%",
            "%REQ(x-foo?referer)%",
            "%REQ(If-None-Exist)%",
            "%REQ(X-ORIGINAL-URL)%",
            "%REQ(X-FORWARDED-URI)%",
            "%RESP(LOCATION)%",
            "%RESP(Content-Location)%",
            "%RESP(LINK)%",
            "%PATH%",
            "%PATH(NQ)%",
            "%PATH(NQ:ORIG_OR_PATH)%",
            "%PATH(WQ:PATH)%",
            "%QUERY_PARAM(name)%",
            "%QUERY_PARAM(name):3%",
            "%QUERY_PARAMS(ORIG)%",
            "%CEL(request.path)%",
            "%CEL(request.headers['referer'])%",
            "%CEL(size(request.url_path) > 3)%",
            r#"%COALESCE({"operators": [{"command": "REQ", "param": ":PATH"}, "HOSTNAME"]})%"#,
        ] {
            assert_eq!(told(&format!("a {operator} b")), [(operator.to_owned(), Prints::Url)]);
        }
    }

    #[test]
    fn what_nobody_knows_is_told_as_such() {
        for operator in [
            "%DYNAMIC_METADATA(envoy.lua:path)%",
            "%METADATA(DYNAMIC:com.x)%",
            "%FILTER_STATE(mine:PLAIN)%",
            "%FILTER_STATE(wasm.other)%",
            "%NEW_IN_1_99%",
            "%NEW(:PATH)%",
        ] {
            assert_eq!(told(operator), [(operator.to_owned(), Prints::Unknown)]);
        }
    }

    #[test]
    fn what_prints_none_is_not_told() {
        for operator in [
            "%FILTER_STATE(wasm.scrim.path:PLAIN)%",
            "%FILTER_STATE(wasm.scrim.audit:PLAIN):100%",
            "%REQ(X-ENVOY-ORIGINAL-PATH)%",
            "%PATH(WQ:ORIG)%",
            "%REQ(:METHOD)%",
            "%REQ(USER-AGENT)%",
            "%RESP(CONTENT-TYPE)%",
            "%METADATA(ROUTE:scrim:policy)%",
            "%START_TIME(%Y/%m/%dT%H:%M:%S%z %s)%",
            "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
            "%UPSTREAM_HOST%",
            "%RESPONSE_FLAGS% 100%% %",
            "100% sure of :PATH",
            "%%REQ(:PATH)%%",
            "%REQ(:PATH)",
            "%REQ(:PATH):x%",
        ] {
            assert_eq!(told(operator), [], "{operator}");
        }
        for (name, format) in AccessLog::standard(Sink::Stdout).fields {
            assert_eq!(told(&format), [], "{name}");
        }
    }

    #[test]
    fn each_is_told_once() {
        let both = told("%REQ(:PATH)% %REQ(:PATH)%%REQ(REFERER)%");
        assert_eq!(both.len(), 2, "{both:?}");
    }

    proptest! {
        #[test]
        fn a_url_is_found_whatever_stands_around_it(before in "[^%]{0,20}", after in "[^%]{0,20}") {
            let format = format!("{before}%RESPONSE_CODE%{before}%REQ(:PATH)%{after}%DURATION%");
            prop_assert_eq!(told(&format), [("%REQ(:PATH)%".to_owned(), Prints::Url)]);
        }

        #[test]
        fn nothing_makes_it_panic(format in "[%A-Z():0-9?{}\"é]{0,40}") {
            operators(&format);
        }
    }
}
