//! No PHI in shared caches: what a route's class makes of the response's caching headers.
//!
//! 1. Class `phi`: Cache-Control becomes `no-store, private`. `no-store` alone is not enough: caches exist that store despite it
//!    when a lifetime stands beside it, and none of those known ignores `private`.
//! 2. Class `authenticated`: no shared cache may store it. What the upstream says stays, read by the strictest ([`directives`]), but for what permits a shared
//!    cache; `private` is added; where the upstream says nothing, `no-cache` is too. What is no Cache-Control by RFC 9111's grammar is treated as class `phi`.
//! 3. Class `public`: what the upstream says stands, every line of it.
//! 4. `phi` and `authenticated` lose the headers that override Cache-Control for some cache ([`overrides()`]): targeted ones (RFC 9213), those of single vendors,
//!    and `Expires` and `Pragma`; `phi` also `Age`, which for `authenticated` stays, since it only shortens. What `authenticated` loses so and what forbids goes
//!    into Cache-Control: `no-transform` of a targeted header, all else of which is about storing in shared caches, and `max-age=0` for an `Expires` where no
//!    `max-age` stood above it, since without either a browser would guess a lifetime (RFC 9111 4.2.2).
//! 5. HSTS and other headers for browsers, and what the connection must be, are in [`transport`].
//! 6. Requests for PHI ask no cache behind this proxy for a stored copy, see [`request`].
//! 7. Tags of trimmed bodies are salted, see [`validators`].
//! 8. Applying it twice changes nothing. The filters' own denials are always `no-store, private`.
//!
//! The class counts whatever the status and the method are. Why that is right for each:
//!
//! | response | with other headers a cache might | so |
//! | --- | --- | --- |
//! | 200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501 | store it without being told to (RFC 9110 15.1) | silence is not enough, and there is always a Cache-Control |
//! | 206 | store the part and complete it with others (RFC 9111 3.3) | as all |
//! | 304 | write its headers over those of a copy it stores (RFC 9111 3.2, 4.3.4) | as all: a copy from before the policy becomes `no-store, private`. Where the upstream says nothing in a 304 it said nothing in the 200 (RFC 9110 15.4.5), so `authenticated` gives both the same |
//! | to HEAD | update what it stores for GET (RFC 9111 4.3.5) | as all |
//! | to POST and other unsafe methods | store it for a later GET, with an explicit lifetime and `Content-Location` (RFC 9110 9.3.3) | as all |
//! | 101 | nothing | as all; it ends what a filter sees |
//! | 100, 103 | take a `Link` of a 103 | Envoy 1.40 drops them before any filter and client sees them |
//! | the proxy's own, where a filter is reached (404 without a route, 413, 503) | as the upstream's | as all |
//! | the proxy's own, where none is (400 and 431 of the codec, 408) | | `scrim render` has the proxy write `no-store, private` on all its own |
//!
//! `Vary` and the response's `Pragma` are relied on for nothing: known caches ignore both.

#[cfg(test)]
mod model;
mod overrides;

pub mod directives;
pub mod request;
pub mod structured;
pub mod transport;
pub mod validators;

use crate::answer::Reason;
use crate::document::Problems;
use crate::head::{Head, RequestHead, ResponseHead};
use crate::policy_file::{self, Class};
use crate::sender::Connection;

use self::directives::{Directives, Elsewhere};
pub use self::overrides::overrides;
use self::transport::TlsDemand;

/// What `phi` responses and all denials carry.
pub const NO_STORE_PRIVATE: &str = "no-store, private";

/// The compiled section.
#[derive(Clone, Debug)]
pub struct CacheControl {
    class: Class,
    hsts: Option<String>,
    nosniff: bool,
    referrer_policy: Option<&'static str>,
    clear_site_data: Option<String>,
    tls: Option<TlsDemand>,
}

impl CacheControl {
    /// Compiles the section; what makes no sense in it goes into `problems`.
    pub fn compile(section: &policy_file::CacheControl, problems: &mut Problems) -> Self {
        let hsts = section.hsts.as_ref().map(|hsts| transport::hsts(hsts, problems));
        let referrer_policy = section
            .referrer_policy
            .as_ref()
            .map(|policy| transport::referrer_policy(policy, problems));
        let clear_site_data = section
            .clear_site_data
            .as_ref()
            .and_then(|kinds| transport::clear_site_data(kinds, problems));
        CacheControl {
            class: section.class,
            hsts,
            nosniff: section.nosniff == Some(true),
            referrer_policy,
            clear_site_data,
            tls: section.tls.as_ref().map(|tls| TlsDemand::compile(tls, problems)),
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

    /// What the connection must be, where the section demands anything.
    pub fn tls(&self) -> Option<TlsDemand> {
        self.tls
    }

    /// The headers for browsers, which all responses carry, denials too.
    pub fn browser_headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("strict-transport-security", self.hsts.as_deref()),
            ("x-content-type-options", self.nosniff.then_some("nosniff")),
            ("referrer-policy", self.referrer_policy),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }

    /// What an answer of our own that is no denial carries.
    pub fn reply_headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let caching = match self.class {
            Class::Public => None,
            Class::Phi => Some(NO_STORE_PRIVATE),
            Class::Authenticated => Some("no-cache, private"),
        };
        let caching = caching.map(|value| ("cache-control", value));
        caching.into_iter().chain(self.browser_headers())
    }

    /// Judges the request's connection and edits its head.
    ///
    /// # Errors
    /// [`Reason::TlsRequired`] where the connection is less than what is demanded. `connection`: what the proxy knows of it.
    pub fn admit(&self, head: &mut RequestHead, connection: Option<&dyn Connection>) -> Result<(), Reason> {
        if let Some(demand) = self.tls {
            let connection = connection.ok_or(Reason::TlsRequired("unknown"))?;
            demand.check(connection).map_err(Reason::TlsRequired)?;
        }
        if self.class == Class::Phi {
            request::fetch_anew(head);
        }
        Ok(())
    }

    /// Edits the response's headers; nothing is allocated where nothing changes.
    pub fn apply(&self, head: &mut ResponseHead) {
        match self.class {
            Class::Public => {}
            Class::Phi => {
                head.remove_where(overrides);
                set(head, "cache-control", NO_STORE_PRIVATE);
            }
            Class::Authenticated => {
                let mut elsewhere = Elsewhere::default();
                let mut overridden = false;
                for (name, value) in head.lines().filter(|(name, _)| overrides(name) && *name != b"age") {
                    overridden = true;
                    elsewhere.expires |= name == b"expires";
                    elsewhere.no_transform |= overrides::targets(name) && forbids_transforming(value);
                }
                if overridden {
                    head.remove_where(|name| overrides(name) && name != b"age");
                }
                match Directives::read(head.all("cache-control")) {
                    None => {
                        let worst = worst(head);
                        set(head, "cache-control", worst);
                    }
                    Some(mut directives) => {
                        if directives.keep_from_shared(elsewhere) {
                            let value = directives.write();
                            head.set("cache-control", value);
                        }
                    }
                }
            }
        }
        for (name, value) in self.browser_headers() {
            set(head, name, value);
        }
        // Only the answer to a preflight has the header that is asked for here (Fetch 3.3.3).
        if let Some(kinds) = &self.clear_site_data
            && (200..400).contains(&head.status())
            && !head.has("access-control-allow-methods")
        {
            set(head, "clear-site-data", kinds);
        }
    }
}

/// As [`Head::set`], but allocates only where something changes.
fn set(head: &mut Head, name: &'static str, value: &str) {
    let mut lines = head.all(name);
    if lines.next() == Some(value.as_bytes()) && lines.next().is_none() {
        return;
    }
    drop(lines);
    head.set(name, value);
}

/// What stands for a Cache-Control that can't be read; `no-transform` in it has nothing to do with storing, and stays where anybody could read it.
fn worst(head: &ResponseHead) -> &'static str {
    let mut parts = head
        .all("cache-control")
        .flat_map(|line| line.split(|byte| *byte == b','));
    if parts.any(|part| part.trim_ascii().eq_ignore_ascii_case(b"no-transform")) {
        "no-store, private, no-transform"
    } else {
        NO_STORE_PRIVATE
    }
}

/// Whether a line of a targeted field (RFC 9213) says `no-transform`, which has nothing to do with storing, so it must outlive the field. Each line is read by
/// itself: joined with another that fails it would be lost, and nothing is lost by keeping it.
fn forbids_transforming(value: &[u8]) -> bool {
    memchr::memmem::find(value, b"no-transform").is_some()
        && structured::dictionary(value).is_some_and(|members| {
            members
                .iter()
                .any(|(key, value)| *key == b"no-transform" && *value == structured::Value::Boolean(true))
        })
}

#[cfg(test)]
mod tests;
