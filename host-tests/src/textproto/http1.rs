//! Headers written as HTTP/1 text, as HTTP/2 has them: pseudo headers first.
//!
//! 1. Lines end with LF or CRLF; an empty line ends them, and need not be there.
//! 2. A request target in absolute form gives `:scheme`, `:authority` (without the scheme's own port) and `:path`, and `Host` is dropped.
//!    One that begins with `/` is `:path` as it is, and `Host` becomes `:authority`. Other forms are refused, as Google's runner does.
//! 3. An answer gives `:status`.

use anyhow::{Result, anyhow, bail};

use crate::exchange::Headers;

/// The headers of a request.
pub(super) fn request(content: &[u8]) -> Result<Headers> {
    let (first, mut lines) = split(content)?;
    let mut parts = first.split(' ').filter(|part| !part.is_empty());
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        bail!("`{first}` is no request line: write it as `GET /path HTTP/1.1`");
    };
    if !version.starts_with("HTTP/1.") {
        bail!("`{version}` is no version of HTTP/1: write `HTTP/1.1`");
    }
    let mut headers = vec![(":method".to_owned(), method.as_bytes().to_vec())];
    let mut add = |name: &str, value: &str| headers.push((name.to_owned(), value.as_bytes().to_vec()));
    let is_host = |line: &(String, Vec<u8>)| line.0.eq_ignore_ascii_case("host");
    if let Some((scheme, rest)) = target.split_once("://") {
        let rest = rest.split('#').next().unwrap_or_default();
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        if scheme.is_empty() || authority.is_empty() {
            bail!("`{target}` is no URL: it needs a scheme and a host");
        }
        let scheme = scheme.to_ascii_lowercase();
        let own_port = match scheme.as_str() {
            "http" => ":80",
            "https" => ":443",
            _ => "\n",
        };
        let authority = authority.to_ascii_lowercase();
        add(":scheme", &scheme);
        add(
            ":path",
            &if path.starts_with('/') {
                path.to_owned()
            } else {
                format!("/{path}")
            },
        );
        add(":authority", authority.strip_suffix(own_port).unwrap_or(&authority));
        lines.retain(|line| !is_host(line));
    } else {
        if !target.starts_with('/') || target.contains('#') {
            bail!("`{target}` is no request target: it begins with `/`, or is a whole URL");
        }
        add(":path", target);
        if let Some((_, host)) = lines
            .iter()
            .find(|line| is_host(line))
            .cloned()
            .filter(|(_, host)| !host.is_empty())
        {
            headers.push((":authority".to_owned(), host));
            lines.retain(|line| !is_host(line));
        }
    }
    headers.extend(lines);
    Ok(headers)
}

/// The headers of an answer.
pub(super) fn response(content: &[u8]) -> Result<Headers> {
    let (first, lines) = split(content)?;
    let mut parts = first.split(' ').filter(|part| !part.is_empty());
    let status = match (parts.next(), parts.next()) {
        (Some(version), Some(status)) if version.starts_with("HTTP/1.") => Some(status),
        _ => None,
    };
    let status = status.filter(|status| status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit()));
    let status = status.ok_or_else(|| anyhow!("`{first}` is no status line: write it as `HTTP/1.1 200 OK`"))?;
    let mut headers = vec![(":status".to_owned(), status.as_bytes().to_vec())];
    headers.extend(lines);
    Ok(headers)
}

/// The first line, and the headers.
fn split(content: &[u8]) -> Result<(String, Headers)> {
    let mut lines = content
        .split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let mut headers = Headers::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        let shown = || String::from_utf8_lossy(line).into_owned();
        let colon = line.iter().position(|&byte| byte == b':');
        let colon = colon.ok_or_else(|| anyhow!("`{}` is no header: it needs a `:`", shown()))?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || name.iter().any(|byte| byte.is_ascii_whitespace()) {
            bail!("`{}` is no header: its name is empty or holds white space", shown());
        }
        headers.push((String::from_utf8_lossy(name).into_owned(), value.to_vec()));
    }
    Ok((first, headers))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(headers: Headers) -> String {
        let lines = headers
            .into_iter()
            .map(|(name, value)| format!("{name}={}", String::from_utf8(value).unwrap()));
        lines.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_target_in_origin_form_takes_its_authority_from_host() {
        let headers = request(b"GET /a?b=c HTTP/1.1\nHost: h.example\nX-One:  1 \r\nX-One: 2\n\nbody: no").unwrap();
        assert_eq!(
            text(headers),
            ":method=GET :path=/a?b=c :authority=h.example X-One=1 X-One=2"
        );
        assert_eq!(text(request(b"GET / HTTP/1.1").unwrap()), ":method=GET :path=/");
    }

    #[test]
    fn a_target_in_absolute_form_wins_over_host() {
        let whole = |target: &str| text(request(format!("GET {target} HTTP/1.1\nhost: other\n").as_bytes()).unwrap());
        assert_eq!(
            whole("https://H.example:8080/a?b"),
            ":method=GET :scheme=https :path=/a?b :authority=h.example:8080"
        );
        assert_eq!(whole("https://h:443"), ":method=GET :scheme=https :path=/ :authority=h");
        assert_eq!(
            whole("http://h?q=1#f"),
            ":method=GET :scheme=http :path=/?q=1 :authority=h"
        );
    }

    #[test]
    fn what_is_no_http_is_refused() {
        for bad in [
            "",
            "GET /",
            "GET * HTTP/1.1",
            "GET a HTTP/1.1",
            "GET / HTTP/2",
            "GET / HTTP/1.1\nx",
            "GET / HTTP/1.1\n folded: 1",
            "GET :// HTTP/1.1",
        ] {
            assert!(request(bad.as_bytes()).is_err(), "{bad}");
        }
        for bad in ["", "HTTP/1.1", "HTTP/1.1 20 OK", "HTTP/1.1 abc", "200 OK", "HTTP/2 200"] {
            assert!(response(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(
            text(response(b"HTTP/1.1 204 No Content\r\nServer: s\r\n").unwrap()),
            ":status=204 Server=s"
        );
    }

    proptest! {
        #[test]
        fn nothing_that_comes_panics(bytes in proptest::collection::vec(prop_oneof![Just(b' '), Just(b'\n'), Just(b':'), Just(b'/'), any::<u8>()], 0..60)) {
            let _ = request(&bytes);
            let _ = response(&bytes);
            let _ = request(&[&b"GET "[..], &bytes].concat());
        }
    }
}
