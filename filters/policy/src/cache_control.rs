//! No PHI in shared caches: what a route's class makes of the response's caching headers.
//!
//! 1. Class `phi`: Cache-Control becomes `no-store, private`. `no-store` alone is not enough: caches exist that store despite it
//!    when a lifetime stands beside it, and none of those known ignores `private`.
//! 2. Class `authenticated`: no shared cache may store it. What the upstream says stays, but for `public`, `s-maxage` and a
//!    qualified `private="..."` (RFC 9111 5.2.2.7, 5.2.2.9, 5.2.2.10); `private` is added; where the upstream says nothing, `no-cache` is too. What is no
//!    Cache-Control by RFC 9111's grammar is treated as class `phi`.
//! 3. Class `public`: what the upstream says stands, every line of it.
//! 4. `phi` and `authenticated` lose the headers that override Cache-Control for some cache ([`overrides`]): targeted ones (RFC
//!    9213), those of single vendors, and `Expires`, `Age` and `Pragma`.
//! 5. HSTS (RFC 6797) replaces the upstream's. It is sent over plain http too, against 7.2: an edge proxy often stands behind what
//!    ends TLS and can't know; user agents must ignore it there (8.1).
//! 6. Applying it twice changes nothing. The filters' own denials are always `no-store, private`.

use crate::head::ResponseHead;
use crate::policy_file::{self, Class};

/// What `phi` responses and all denials carry.
pub const NO_STORE_PRIVATE: &str = "no-store, private";

/// The compiled section.
#[derive(Clone, Debug)]
pub struct CacheControl {
    class: Class,
    hsts: Option<String>,
}

impl CacheControl {
    /// Compiles the section; it can't fail.
    pub fn compile(section: &policy_file::CacheControl) -> Self {
        let hsts = section.hsts.as_ref().map(|hsts| {
            let subdomains = if hsts.include_subdomains == Some(true) {
                "; includeSubDomains"
            } else {
                ""
            };
            format!("max-age={}{subdomains}", hsts.max_age.0)
        });
        CacheControl {
            class: section.class,
            hsts,
        }
    }

    /// The value of Strict-Transport-Security, where the section asks for one.
    pub fn hsts(&self) -> Option<&str> {
        self.hsts.as_deref()
    }

    /// The class's word, for `scrim explain`.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Edits the response's headers.
    pub fn apply(&self, head: &mut ResponseHead) {
        match self.class {
            Class::Public => {}
            Class::Phi => {
                head.remove_where(overrides);
                head.set("cache-control", NO_STORE_PRIVATE);
            }
            Class::Authenticated => {
                head.remove_where(overrides);
                let value = private(&head.all("cache-control").collect::<Vec<_>>());
                head.set("cache-control", value);
            }
        }
        if let Some(hsts) = &self.hsts {
            head.set("strict-transport-security", hsts.as_str());
        }
    }
}

/// Whether a header of that name (lowercase) can make a cache store what Cache-Control forbids, or is a lifetime of its own.
pub fn overrides(name: &[u8]) -> bool {
    matches!(
        name,
        b"expires"
            | b"age"
            | b"pragma"
            | b"surrogate-control"
            | b"surrogate-key"
            | b"edge-control"
            | b"edge-cache-tag"
            | b"cache-tag"
            | b"cache-tags"
            | b"xkey"
            | b"x-accel-expires"
            | b"x-cache-tags"
            | b"x-litespeed-cache-control"
            | b"x-litespeed-tag"
    ) || name.ends_with(b"cdn-cache-control")
}

/// The strictest reading of all lines, made private.
fn private(lines: &[&[u8]]) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for line in lines {
        let Some(directives) = std::str::from_utf8(line).ok().and_then(directives) else {
            return NO_STORE_PRIVATE.to_owned();
        };
        for directive in directives {
            let name = directive.split('=').next().unwrap_or(directive).trim();
            let goes = ["public", "s-maxage", "private"]
                .iter()
                .any(|word| name.eq_ignore_ascii_case(word));
            if !goes && !kept.iter().any(|have| have.eq_ignore_ascii_case(directive)) {
                kept.push(directive);
            }
        }
    }
    if kept.is_empty() && lines.is_empty() {
        kept.push("no-cache");
    }
    kept.push("private");
    kept.join(", ")
}

/// The directives of one line (RFC 9111 5.2); `None` where the grammar is broken.
fn directives(line: &str) -> Option<Vec<&str>> {
    let mut list = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Some(list);
        }
        let end = directive_end(rest)?;
        let (directive, after) = rest.split_at_checked(end)?;
        list.push(directive);
        rest = after.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
}

/// Where `token [ "=" ( token / quoted-string ) ]` ends.
fn directive_end(text: &str) -> Option<usize> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let mut bytes = text.bytes().enumerate().peekable();
    let mut length = 0_usize;
    while bytes.next_if(|(_, byte)| is_token(*byte)).is_some() {
        length = length.saturating_add(1);
    }
    if length == 0 {
        return None;
    }
    if bytes.next_if(|(_, byte)| *byte == b'=').is_none() {
        return Some(length);
    }
    if bytes.next_if(|(_, byte)| *byte == b'"').is_some() {
        while let Some((index, byte)) = bytes.next() {
            match byte {
                b'"' => return Some(index.saturating_add(1)),
                b'\\' => {
                    bytes.next()?;
                }
                _ => {}
            }
        }
        return None;
    }
    let mut value = 0_usize;
    while bytes.next_if(|(_, byte)| is_token(*byte)).is_some() {
        value = value.saturating_add(1);
    }
    (value > 0).then(|| length.saturating_add(1).saturating_add(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Seconds;

    fn applied(class: Class, hsts: bool, lines: &[(&str, &str)]) -> Vec<String> {
        let hsts = hsts.then_some(policy_file::Hsts {
            max_age: Seconds(60),
            include_subdomains: Some(true),
        });
        let policy = CacheControl::compile(&policy_file::CacheControl { class, hsts });
        let mut head = ResponseHead::new(
            lines
                .iter()
                .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())),
        );
        policy.apply(&mut head);
        let shown = |head: &ResponseHead| -> Vec<String> {
            head.lines()
                .map(|(name, value)| format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value)))
                .collect()
        };
        let once = shown(&head);
        head.take_edits();
        policy.apply(&mut head);
        assert_eq!(shown(&head), once, "twice is as once");
        assert!(head.take_edits().is_empty(), "twice edits nothing");
        once
    }

    #[test]
    fn phi_replaces_everything_that_could_override() {
        let lines = [
            ("cache-control", "public, max-age=60"),
            ("cache-control", "s-maxage=60"),
            ("cdn-cache-control", "max-age=60"),
            ("cloudflare-cdn-cache-control", "max-age=60"),
            ("surrogate-control", "max-age=60"),
            ("surrogate-key", "k"),
            ("x-accel-expires", "60"),
            ("edge-control", "x"),
            ("cache-tag", "x"),
            ("expires", "x"),
            ("age", "1"),
            ("pragma", "x"),
            ("x-other", "stays"),
        ];
        assert_eq!(
            applied(Class::Phi, false, &lines),
            ["cache-control: no-store, private", "x-other: stays"]
        );
    }

    #[test]
    fn authenticated_is_private_and_keeps_what_is_strict() {
        let kept = |value: &str| applied(Class::Authenticated, false, &[("cache-control", value)]).join("|");
        assert_eq!(
            kept("public, max-age=60, s-maxage=10"),
            "cache-control: max-age=60, private"
        );
        assert_eq!(kept("no-store"), "cache-control: no-store, private");
        assert_eq!(
            kept("Private=\"set-cookie, x\", max-age=5"),
            "cache-control: max-age=5, private"
        );
        assert_eq!(
            kept("ext=\"a\\\", public\""),
            "cache-control: ext=\"a\\\", public\", private"
        );
        assert_eq!(
            applied(Class::Authenticated, false, &[]),
            ["cache-control: no-cache, private"]
        );
        assert_eq!(
            applied(Class::Authenticated, false, &[("cdn-cache-control", "max-age=1")]),
            ["cache-control: no-cache, private"]
        );
    }

    #[test]
    fn authenticated_takes_broken_grammar_for_the_worst() {
        for broken in ["max-age=\"60", "max-age 60", "=", "a=;", "\u{e9}"] {
            let shown = applied(Class::Authenticated, false, &[("cache-control", broken)]);
            assert_eq!(shown, ["cache-control: no-store, private"], "{broken}");
        }
    }

    #[test]
    fn public_touches_nothing() {
        let lines = [
            ("cache-control", "no-store"),
            ("cache-control", "public"),
            ("cdn-cache-control", "max-age=1"),
        ];
        assert_eq!(applied(Class::Public, false, &lines).len(), 3);
    }

    #[test]
    fn hsts_stands_once() {
        let lines = [
            ("strict-transport-security", "max-age=0"),
            ("strict-transport-security", "max-age=1"),
        ];
        assert_eq!(
            applied(Class::Public, true, &lines),
            ["strict-transport-security: max-age=60; includeSubDomains"]
        );
    }
}
