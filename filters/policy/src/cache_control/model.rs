//! Caches to test against: one that conforms to RFC 9111, and those that are known not to. They read headers in ways of their own, not by the parser under test.

use proptest::prelude::*;

/// A response and what it answers, as a cache sees them.
pub(super) struct Exchange<'a> {
    pub(super) method: &'a str,
    pub(super) authorization: bool,
    pub(super) status: u16,
    pub(super) lines: &'a [(String, Vec<u8>)],
}

/// How a cache differs from a conforming shared one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Quirks {
    /// It is a browser's.
    pub(super) private: bool,
    /// It stores despite `no-store` where a lifetime stands beside it (Fastly).
    pub(super) lifetime_over_no_store: bool,
    /// It takes this header for all there is, however it is written (Caddy and others with `CDN-Cache-Control`).
    pub(super) obeys_only: Option<&'static str>,
    /// It stores what answers `Authorization` without being told to (Fastly, nginx, ATS).
    pub(super) ignores_authorization: bool,
    /// It takes any response for storable that does not forbid it.
    pub(super) eager: bool,
    /// Of several lines it reads the first, or the last.
    pub(super) reads: Lines,
    /// It knows directives in lowercase only.
    pub(super) case_sensitive: bool,
    /// It takes a comma between quotes for one between directives.
    pub(super) blind_to_quotes: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Lines {
    #[default]
    All,
    First,
    Last,
}

/// All the caches that must store nothing.
pub(super) fn caches() -> Vec<Quirks> {
    let plain = Quirks::default();
    let mut caches = vec![
        plain,
        Quirks {
            lifetime_over_no_store: true,
            ..plain
        },
        Quirks {
            ignores_authorization: true,
            ..plain
        },
        Quirks { eager: true, ..plain },
        Quirks {
            reads: Lines::First,
            ..plain
        },
        Quirks {
            reads: Lines::Last,
            ..plain
        },
        Quirks {
            case_sensitive: true,
            ..plain
        },
        Quirks {
            blind_to_quotes: true,
            ..plain
        },
    ];
    for header in [
        "cdn-cache-control",
        "cloudflare-cdn-cache-control",
        "surrogate-control",
        "edge-control",
        "x-litespeed-cache-control",
        "x-accel-expires",
        "expires",
    ] {
        caches.push(Quirks {
            obeys_only: Some(header),
            ..plain
        });
    }
    // The worst of all at once, but for `private`, which all that are known obey.
    caches.push(Quirks {
        lifetime_over_no_store: true,
        ignores_authorization: true,
        eager: true,
        case_sensitive: true,
        blind_to_quotes: true,
        reads: Lines::First,
        ..plain
    });
    caches
}

/// Names, in lowercase, and arguments without their quotes.
type Said = Vec<(String, Option<String>)>;

impl Quirks {
    /// Whether it may store the response (RFC 9111 3), other than its headers demand.
    pub(super) fn stores(self, exchange: &Exchange<'_>) -> bool {
        if let Some(name) = self.obeys_only
            && let Some(value) = values(exchange.lines, name).next()
        {
            let said = self.said([value]);
            let forbidden = has(&said, "no-store") || has(&said, "private") || value == b"0" || value.is_empty();
            return !forbidden;
        }
        let targeted = if self.private {
            None
        } else {
            values(exchange.lines, "cdn-cache-control")
                .next()
                .and_then(super::structured::dictionary)
        };
        let (said, expires) = match targeted {
            Some(members) => {
                let member = |(key, value): &(&[u8], super::structured::Value<'_>)| {
                    let name = String::from_utf8_lossy(key).into_owned();
                    match value {
                        super::structured::Value::Boolean(true) => Some((name, None)),
                        super::structured::Value::Integer(number) => Some((name, Some(number.to_string()))),
                        _ => None,
                    }
                };
                (members.iter().filter_map(member).collect(), false)
            }
            None => {
                let lines: Vec<&[u8]> = values(exchange.lines, "cache-control").collect();
                let lines = match self.reads {
                    Lines::All => lines,
                    Lines::First => lines.into_iter().take(1).collect(),
                    Lines::Last => lines.into_iter().rev().take(1).collect(),
                };
                (self.said(lines), values(exchange.lines, "expires").next().is_some())
            }
        };
        let lifetime = has(&said, "max-age") || has(&said, "s-maxage") || expires;
        if has(&said, "no-store") && !(self.lifetime_over_no_store && lifetime) {
            return false;
        }
        // A qualified one forbids some fields only (5.2.2.7).
        let wholly_private = said
            .iter()
            .any(|(name, argument)| name == "private" && argument.is_none());
        if wholly_private && !self.private {
            return false;
        }
        let permits = ["public", "s-maxage", "must-revalidate"]
            .iter()
            .any(|name| has(&said, name));
        if exchange.authorization && !self.private && !permits && !self.ignores_authorization {
            return false;
        }
        let heuristic = matches!(
            exchange.status,
            200 | 203 | 204 | 206 | 300 | 301 | 304 | 308 | 404 | 405 | 410 | 414 | 501
        );
        let understood = matches!(exchange.method, "GET" | "HEAD") || lifetime || has(&said, "public");
        self.eager
            || (understood && (has(&said, "public") || lifetime || heuristic || (self.private && wholly_private)))
    }

    /// What is said, read by splitting.
    pub(super) fn said<'a>(self, lines: impl IntoIterator<Item = &'a [u8]>) -> Said {
        let mut said = Said::new();
        for line in lines {
            let mut quoted = false;
            let mut escaped = false;
            let parts = line.split(|byte| {
                let separates = *byte == b',' && !quoted;
                if !self.blind_to_quotes {
                    match byte {
                        _ if escaped => escaped = false,
                        b'\\' if quoted => escaped = true,
                        b'"' => quoted = !quoted,
                        _ => {}
                    }
                }
                separates
            });
            for part in parts {
                let part = String::from_utf8_lossy(part.trim_ascii()).into_owned();
                let (name, argument) = match part.split_once('=') {
                    Some((name, argument)) => (name, Some(argument.trim_matches('"').to_owned())),
                    None => (part.as_str(), None),
                };
                let name = if self.case_sensitive {
                    name.to_owned()
                } else {
                    name.to_ascii_lowercase()
                };
                said.push((name, argument));
            }
        }
        said
    }
}

pub(super) fn has(said: &Said, name: &str) -> bool {
    said.iter().any(|(have, _)| have == name)
}

pub(super) fn values<'a>(lines: &'a [(String, Vec<u8>)], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let named = move |(have, value): &'a (String, Vec<u8>)| (have == name).then_some(value.as_slice());
    lines.iter().filter_map(named)
}

/// A line of directives, known and unknown, well written and not.
pub(super) fn cache_control_line() -> impl Strategy<Value = Vec<u8>> {
    let directive = prop::sample::select(vec![
        "no-store",
        "No-Store",
        "no-store=\"x\"",
        "no-cache",
        "no-cache=\"set-cookie\"",
        "no-cache=\"a, B\"",
        "no-cache=x",
        "no-cache=\"\"",
        "private",
        "PRIVATE",
        "private=\"x\"",
        "private=x",
        "public",
        "Public",
        "public=1",
        "max-age=60",
        "max-age=\"60\"",
        "max-age=0",
        "max-age=00",
        "max-age=2147483647",
        "max-age=2147483648",
        "max-age=99999999999999999999",
        "max-age=-1",
        "max-age=1.5",
        "max-age",
        "s-maxage=60",
        "s-maxage",
        "S-MaxAge=\"1\"",
        "must-revalidate",
        "proxy-revalidate",
        "must-understand",
        "no-transform",
        "No-Transform",
        "immutable",
        "stale-while-revalidate=60",
        "stale-if-error=60",
        "stale-if-error=x",
        "community=\"a, public\"",
        "community=\"a\\\"b, max-age=9\"",
        "x",
        "X",
        "x=1",
        "x=",
        "max-age=\"60",
        "a b",
        "",
        " ",
        "\u{e9}",
    ]);
    let text = prop::collection::vec(directive, 0..5).prop_flat_map(|directives| {
        prop::sample::select(vec![",", ", ", " ,\t", ",,"]).prop_map(move |comma| directives.join(comma).into_bytes())
    });
    prop_oneof![8 => text, 1 => prop::collection::vec(any::<u8>(), 0..24)]
}

/// The same for requests.
pub(super) fn request_cache_control_line() -> impl Strategy<Value = Vec<u8>> {
    let directive = prop::sample::select(vec![
        "no-store",
        "no-cache",
        "No-Cache",
        "no-cache=x",
        "max-age=0",
        "MAX-AGE=60",
        "max-stale",
        "max-stale=60",
        "min-fresh=5",
        "only-if-cached",
        "Only-If-Cached=\"x\"",
        "stale-if-error=9",
        "no-transform",
        "max-results=20",
        "x=\"a, only-if-cached\"",
        "broken=",
        "",
    ]);
    let text = prop::collection::vec(directive, 0..5).prop_map(|directives| directives.join(", ").into_bytes());
    prop_oneof![8 => text, 1 => prop::collection::vec(any::<u8>(), 0..24)]
}

/// The headers of a response, as an upstream may send them.
pub(super) fn response_lines() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let name = prop::sample::select(vec![
        "cache-control",
        "cache-control",
        "cache-control",
        "cdn-cache-control",
        "cloudflare-cdn-cache-control",
        "surrogate-control",
        "surrogate-key",
        "edge-control",
        "x-litespeed-cache-control",
        "x-accel-expires",
        "expires",
        "age",
        "pragma",
        "vary",
        "etag",
        "content-location",
        "set-cookie",
        "x-other",
    ]);
    let other = prop::sample::select(vec![
        "max-age=600",
        "max-age=600, no-transform",
        "no-store",
        "600",
        "0",
        "Thu, 01 Jan 2099 00:00:00 GMT",
        "*",
        "cache-maxage=1h",
        "!no-store, max-age=60",
    ]);
    let value = prop_oneof![cache_control_line(), other.prop_map(|text| text.as_bytes().to_vec())];
    let line = (name, value).prop_map(|(name, value)| (name.to_owned(), value));
    prop::collection::vec(line, 0..8)
}
