//! A header map as Envoy keeps it.
//!
//! 1. Pseudo headers come first, then the others, each in the order in which they were added.
//! 2. Names are lowercase.
//! 3. A second line of one of Envoy's "inline" headers is folded into the first with a comma; of any other header it
//!    stays a line of its own (`HeaderMapImpl::insertByKey`). Which headers are inline was seen on Envoy 1.40.
//! 4. Replacing removes every line and adds one at the end.
//! 5. In a request `host` is another name of `:authority` (`StaticLookupTable` of `header_map_impl.cc`).

use std::collections::BTreeMap;

use super::abi::Way;
use crate::exchange::Headers;

/// Header lines; see the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeaderMap {
    lines: Vec<(Vec<u8>, Vec<u8>)>,
    /// How many of the lines are pseudo headers; they stand first.
    pseudo: usize,
    /// The way decides which headers are inline; none are for trailers.
    inline: Option<Way>,
    /// Names that were not written in lowercase, by their lowercase form, as they were written last.
    spellings: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl HeaderMap {
    pub(crate) fn headers(way: Way) -> Self {
        HeaderMap {
            inline: Some(way),
            ..HeaderMap::default()
        }
    }

    pub(crate) fn trailers() -> Self {
        HeaderMap::default()
    }

    pub(crate) fn with(mut self, headers: &Headers) -> Self {
        for (name, value) in headers {
            self.add(name.as_bytes(), value);
        }
        self
    }

    fn canonical(&self, name: &[u8]) -> Vec<u8> {
        match name.to_ascii_lowercase() {
            host if host == b"host" && self.inline == Some(Way::Request) => b":authority".to_vec(),
            name => name,
        }
    }

    pub(crate) fn add(&mut self, name: &[u8], value: &[u8]) {
        let spelled = name;
        let name = self.canonical(name);
        if name != spelled && name.eq_ignore_ascii_case(spelled) {
            self.spellings.insert(name.clone(), spelled.to_vec());
        }
        if name.first() == Some(&b':') {
            if let Some(at) = self.lines.iter().position(|line| line.0 == name) {
                let first = &mut self.lines[at].1;
                first.push(b',');
                first.extend(value);
                return;
            }
            self.lines.insert(self.pseudo, (name, value.to_vec()));
            self.pseudo += 1;
            return;
        }
        if self.inline.is_some_and(|way| is_inline(way, &name))
            && let Some((_, first)) = self.lines.iter_mut().find(|line| line.0 == name)
        {
            if !first.is_empty() {
                first.push(b',');
            }
            first.extend(value);
            return;
        }
        self.lines.push((name, value.to_vec()));
    }

    pub(crate) fn remove(&mut self, name: &[u8]) {
        let name = self.canonical(name);
        let before = self.lines.len();
        self.lines.retain(|line| line.0 != name);
        if name.first() == Some(&b':') {
            self.pseudo -= before - self.lines.len();
        }
    }

    pub(crate) fn replace(&mut self, name: &[u8], value: &[u8]) {
        self.remove(name);
        self.add(name, value);
    }

    /// Sets a header that the proxy itself keeps: where its first line is, or else behind all others.
    pub(crate) fn set(&mut self, name: &[u8], value: &[u8]) {
        match self.lines.iter_mut().find(|line| line.0 == name) {
            Some((_, there)) => *there = value.to_vec(),
            None => self.add(name, value),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.lines.clear();
        self.pseudo = 0;
    }

    /// The first line of that name.
    pub(crate) fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let name = self.canonical(name);
        self.lines
            .iter()
            .find(|line| line.0 == name)
            .map(|line| line.1.as_slice())
    }

    /// Every line of that name, joined by commas, as Envoy's expression language reads it.
    pub(crate) fn get_joined(&self, name: &[u8]) -> Option<Vec<u8>> {
        let name = self.canonical(name);
        let values: Vec<&[u8]> = self
            .lines
            .iter()
            .filter(|line| line.0 == name)
            .map(|line| &line.1[..])
            .collect();
        (!values.is_empty()).then(|| values.join(&b','))
    }

    /// Names that were not written in lowercase, by their lowercase form.
    pub(crate) fn spellings(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.spellings.iter().map(|(name, spelled)| (&name[..], &spelled[..]))
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> + Clone {
        self.lines
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// Why Envoy's HTTP/1 codec would not send these as request headers, in its words; none: it would.
    pub(crate) fn unsendable(&self) -> Option<String> {
        if self.get(b":method").is_none() {
            return Some("missing required header: :method".to_owned());
        }
        let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        let text = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
        self.lines.iter().find_map(|(name, value)| {
            let shown = String::from_utf8_lossy(name);
            if !name.starts_with(b":") && !name.iter().all(token) {
                Some(format!("invalid header name: {shown}"))
            } else if !value.iter().all(text) {
                Some(format!("invalid header value for: {shown}"))
            } else {
                None
            }
        })
    }

    /// The bytes of all names and values.
    pub(crate) fn byte_size(&self) -> usize {
        self.lines.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// The lines without pseudo headers and without those that the proxy itself adds.
    pub(crate) fn to_plain(&self) -> Headers {
        self.lines
            .iter()
            .skip(self.pseudo)
            .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.clone()))
            .filter(|(name, _)| !crate::exchange::PROXY_HEADERS.contains(&name.as_str()))
            .collect()
    }
}

fn is_inline(way: Way, name: &[u8]) -> bool {
    let Ok(name) = std::str::from_utf8(name) else {
        return false;
    };
    let own = match way {
        Way::Request => INLINE_REQUEST,
        Way::Response => INLINE_RESPONSE,
    };
    INLINE_BOTH.contains(&name) || own.contains(&name)
}

const INLINE_BOTH: &[&str] = &[
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "keep-alive",
    "proxy-connection",
    "proxy-status",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-envoy-attempt-count",
    "x-envoy-decorator-operation",
    "x-request-id",
];

const INLINE_REQUEST: &[&str] = &[
    "accept",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "authorization",
    "cache-control",
    "cdn-loop",
    "expect",
    "grpc-accept-encoding",
    "grpc-timeout",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "origin",
    "pragma",
    "referer",
    "te",
    "user-agent",
    "x-client-trace-id",
    "x-envoy-original-path",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
];

const INLINE_RESPONSE: &[&str] = &[
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-allow-private-network",
    "access-control-expose-headers",
    "access-control-max-age",
    "age",
    "cache-control",
    "date",
    "etag",
    "expires",
    "grpc-message",
    "grpc-status",
    "last-modified",
    "location",
    "server",
    "vary",
    "x-envoy-upstream-service-time",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(map: &HeaderMap) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        map.iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn pseudo_headers_stay_first_and_a_replaced_line_moves_to_the_end() {
        let mut map = HeaderMap::headers(Way::Request);
        map.add(b":authority", b"h");
        map.add(b"X-A", b"1");
        map.add(b":path", b"/");
        map.add(b"x-b", b"2");
        map.replace(b"x-a", b"3");
        map.replace(b":authority", b"i");
        let want = [
            pair(":path", "/"),
            pair(":authority", "i"),
            pair("x-b", "2"),
            pair("x-a", "3"),
        ];
        assert_eq!(lines(&map), want);
        map.remove(b":path");
        map.add(b":method", b"GET");
        assert_eq!(lines(&map)[1], pair(":method", "GET"));
    }

    #[test]
    fn a_second_line_is_kept_unless_the_header_is_inline() {
        let mut map = HeaderMap::headers(Way::Request);
        map.add(b"x-a", b"1");
        map.add(b"x-a", b"2");
        map.add(b"authorization", b"Bearer a");
        map.add(b"Authorization", b"Bearer b");
        assert_eq!(
            lines(&map),
            [
                pair("x-a", "1"),
                pair("x-a", "2"),
                pair("authorization", "Bearer a,Bearer b")
            ]
        );
        assert_eq!(map.get(b"X-A"), Some(&b"1"[..]));
        assert_eq!(map.get_joined(b"x-a"), Some(b"1,2".to_vec()));
    }
}
