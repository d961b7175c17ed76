//! Web pages of other origins (Fetch standard, CORS protocol): who may call, and the answer to their preflights.
//!
//! 1. A preflight (`OPTIONS` with `Origin` and `Access-Control-Request-Method`) carries no token. Where the policy of the requested method and path lists the
//!    origin, the filter answers it with 204; the upstream does not see it. Where the policy has no `cors`, it is a request like any other.
//! 2. An origin, method or header that is not listed is refused with 403. Origins compare exactly; there is no `*`, and credentials are never allowed.
//! 3. Responses to listed origins say so, denials too, so that a page can read why; whatever the upstream said of it is replaced.

use crate::head::{RequestHead, ResponseHead};

/// The compiled section.
#[derive(Clone, Debug)]
pub struct Cors {
    /// The origins.
    pub origins: Vec<String>,
    /// The methods.
    pub methods: Vec<String>,
    /// The request headers, in lowercase.
    pub headers: Vec<String>,
    /// How many seconds browsers may remember a preflight's answer.
    pub max_age: u64,
}

/// Whether it is a preflight; then the method that is asked for.
pub fn requested_method(head: &RequestHead) -> Option<&[u8]> {
    let asks = head.method() == b"OPTIONS" && head.has("origin");
    head.first("access-control-request-method").filter(|_| asks)
}

impl Cors {
    /// The request's origin, if it is listed: a text from the policy file.
    pub fn origin(&self, head: &RequestHead) -> Option<&str> {
        let mut lines = head.all("origin");
        let (Some(origin), None) = (lines.next(), lines.next()) else {
            return None;
        };
        self.origins
            .iter()
            .find(|listed| listed.as_bytes() == origin)
            .map(String::as_str)
    }

    /// The header lines that answer a preflight; `None` refuses it.
    pub fn preflight(&self, head: &RequestHead) -> Option<Vec<(&'static str, String)>> {
        let origin = self.origin(head)?;
        let method = requested_method(head)?;
        if head.all("access-control-request-method").nth(1).is_some()
            || !self.methods.iter().any(|listed| listed.as_bytes() == method)
        {
            return None;
        }
        for line in head.all("access-control-request-headers") {
            let listed = |name: &[u8]| {
                let name = name.trim_ascii();
                name.is_empty()
                    || self
                        .headers
                        .iter()
                        .any(|listed| listed.as_bytes().eq_ignore_ascii_case(name))
            };
            if !line.split(|byte| *byte == b',').all(listed) {
                return None;
            }
        }
        Some(vec![
            ("access-control-allow-origin", origin.to_owned()),
            ("access-control-allow-methods", self.methods.join(", ")),
            ("access-control-allow-headers", self.headers.join(", ")),
            ("access-control-max-age", self.max_age.to_string()),
            (
                "vary",
                "origin, access-control-request-method, access-control-request-headers".to_owned(),
            ),
        ])
    }

    /// Says in the response who may read it. `origin`: what [`Cors::origin`] gave for the request.
    pub fn apply(head: &mut ResponseHead, origin: Option<&str>) {
        head.remove_where(|name| name.starts_with(b"access-control-"));
        if let Some(origin) = origin {
            for (name, value) in Self::lines(origin) {
                head.set(name, value);
            }
        }
        let varies = |value: &[u8]| {
            value
                .split(|byte| *byte == b',')
                .any(|name| name.trim_ascii().eq_ignore_ascii_case(b"origin") || name.trim_ascii() == b"*")
        };
        if !head.all("vary").any(varies) {
            let mut value = head.all("vary").collect::<Vec<_>>().join(&b", "[..]);
            if !value.is_empty() {
                value.extend_from_slice(b", ");
            }
            value.extend_from_slice(b"origin");
            head.set("vary", value);
        }
    }

    /// The lines that a denial carries.
    pub fn lines(origin: &str) -> [(&'static str, String); 2] {
        [
            ("access-control-allow-origin", origin.to_owned()),
            (
                "access-control-expose-headers",
                "www-authenticate, etag, location".to_owned(),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors() -> Cors {
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        Cors {
            origins: list(&["https://app.example.org"]),
            methods: list(&["GET", "POST"]),
            headers: list(&["authorization", "content-type"]),
            max_age: 600,
        }
    }

    fn preflight(more: &[(&str, &str)]) -> Option<Vec<(&'static str, String)>> {
        let lines = [(":method", "OPTIONS")].iter().chain(more);
        cors().preflight(&RequestHead::new(
            lines.map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())),
        ))
    }

    #[test]
    fn only_what_is_listed_is_allowed() {
        let (origin, method) = (
            ("origin", "https://app.example.org"),
            ("access-control-request-method", "GET"),
        );
        let headers = |value| ("access-control-request-headers", value);
        assert!(
            preflight(&[origin, method])
                .is_some_and(|lines| lines.contains(&("access-control-allow-origin", origin.1.to_owned())))
        );
        assert!(preflight(&[origin, method, headers("Authorization, content-type")]).is_some());
        for refused in [
            &[method][..],
            &[origin],
            &[("origin", "https://app.example.org.evil.org"), method],
            &[("origin", "HTTPS://app.example.org"), method],
            &[("origin", "null"), method],
            &[origin, origin, method],
            &[origin, ("access-control-request-method", "DELETE")],
            &[origin, ("access-control-request-method", "get")],
            &[origin, method, ("access-control-request-method", "DELETE")],
            &[origin, method, headers("authorization,x-break-glass")],
            &[origin, method, headers("authorization"), headers("x-other")],
        ] {
            assert!(preflight(refused).is_none(), "{refused:?}");
        }
    }

    #[test]
    fn a_response_says_what_the_policy_says_and_not_what_the_upstream_said() {
        let upstream = [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-credentials", "true"),
            ("vary", "accept"),
        ];
        let head = || ResponseHead::new(upstream.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())));
        let text = |head: &ResponseHead, name: &str| {
            head.first(name)
                .map(|value| String::from_utf8_lossy(value).into_owned())
        };
        let mut listed = head();
        Cors::apply(&mut listed, Some("https://app.example.org"));
        assert_eq!(
            text(&listed, "access-control-allow-origin").as_deref(),
            Some("https://app.example.org")
        );
        assert!(!listed.has("access-control-allow-credentials"));
        assert_eq!(text(&listed, "vary").as_deref(), Some("accept, origin"));
        let mut other = head();
        Cors::apply(&mut other, None);
        assert!(!other.has("access-control-allow-origin"));
        assert_eq!(text(&other, "vary").as_deref(), Some("accept, origin"));
    }
}
