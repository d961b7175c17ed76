//! The request's target and headers, as far as an upstream could read another request from them, and what is appended to them.

use std::fmt::Write as _;

use crate::head::RequestHead;
use crate::url::Target;

/// Headers by which an upstream may serve another URL than the one that was judged. Access logs prefer the first to `:path`; only the
/// proxy's own router, behind the filters, may set it.
pub(crate) fn names_another_url(name: &[u8]) -> bool {
    matches!(
        name,
        b"x-envoy-original-path"
            | b"x-envoy-original-url"
            | b"x-original-url"
            | b"x-original-uri"
            | b"x-rewrite-url"
            | b"x-forwarded-uri"
            | b"x-forwarded-url"
            | b"x-forwarded-path"
            | b"x-request-uri"
            | b"x-request-url"
            | b"x-replaced-path"
    )
}

/// Headers by which an upstream may take the request for one of another method. Without them it would be yet another request, so
/// they are refused instead of removed.
pub(super) fn names_another_method(name: &[u8]) -> bool {
    matches!(
        name,
        b"x-http-method-override" | b"x-http-method" | b"x-method-override"
    )
}

/// A server takes the host of an absolute-form target over `Host` (RFC 9112 3.2.2), and routes match on the latter.
pub(super) fn names_another_host(target: &Target<'_>, head: &RequestHead) -> bool {
    target
        .authority()
        .is_some_and(|authority| !authority.as_bytes().eq_ignore_ascii_case(head.authority()))
}

pub(super) fn has_empty_segments(target: &Target<'_>) -> bool {
    target
        .raw()
        .get(target.path_range())
        .is_some_and(|path| memchr::memmem::find(path, b"//").is_some())
}

/// Whether the raw path is spelled in the one way in which the proxy's own route matcher reads it too.
pub(super) fn path_is_canonical(target: &Target<'_>) -> bool {
    if target.is_canonical() {
        return true;
    }
    let rendered = target.render();
    let path = |bytes: &[u8]| bytes.split(|byte| *byte == b'?').next().unwrap_or_default().to_vec();
    path(rendered.as_bytes()) == path(target.raw())
}

/// Whether a PUT fails where there is something to replace (RFC 9110 13.1.2).
pub(super) fn creates(head: &RequestHead) -> bool {
    let mut lines = head.all("if-none-match");
    lines.next().is_some_and(|line| line.trim_ascii() == b"*") && lines.next().is_none()
}

/// A target and what is appended to its query.
pub(super) fn join(target: &[u8], suffix: &str) -> Vec<u8> {
    let mut joined = target.to_vec();
    if !suffix.is_empty() {
        match (target.contains(&b'?'), target.last()) {
            (false, _) => joined.push(b'?'),
            (true, Some(b'?' | b'&')) => {}
            (true, _) => joined.push(b'&'),
        }
        joined.extend_from_slice(suffix.as_bytes());
    }
    joined
}

/// Takes what was appended off again, with the separator.
pub(super) fn split_appended(target: &[u8], appended: usize) -> (&[u8], &[u8]) {
    if appended == 0 {
        return (target, b"");
    }
    let own = target.len().saturating_sub(appended);
    let (own, suffix) = target.split_at_checked(own).unwrap_or((target, b""));
    (
        own.strip_suffix(b"&").or_else(|| own.strip_suffix(b"?")).unwrap_or(own),
        suffix,
    )
}

/// Everything but unreserved characters (RFC 3986 2.3) is percent-encoded.
pub(super) fn push_encoded(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => _ = write!(out, "%{byte:02X}"),
        }
    }
}

/// An upstream that leaves out search parameters it does not know would widen the search (FHIR R4 search 3.1.1.3.2).
pub(super) fn demand_strict_handling(head: &mut RequestHead) {
    let lines: Vec<u8> = head.all("prefer").collect::<Vec<_>>().join(&b","[..]);
    let mut kept: Vec<&[u8]> = lines
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|preference| {
            let name = preference
                .split(|byte| matches!(byte, b'=' | b';'))
                .next()
                .unwrap_or_default();
            !name.is_empty() && !name.trim_ascii().eq_ignore_ascii_case(b"handling")
        })
        .collect();
    kept.push(b"handling=strict");
    let value = kept.join(&b", "[..]);
    head.set("prefer", value);
}
