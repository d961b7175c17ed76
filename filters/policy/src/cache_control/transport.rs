//! What the connection must be, and what browsers are told beside caching: each only where the policy asks for it.
//!
//! 1. `hsts` replaces the upstream's Strict-Transport-Security (RFC 6797). It is sent over plain http too, against 7.2: an edge proxy often stands behind what ends
//!    TLS and can't know; user agents must ignore it there (8.1).
//! 2. `nosniff` sets `X-Content-Type-Options: nosniff` (Fetch 3.6), `referrer_policy` `Referrer-Policy` (W3C Referrer Policy 8.1); both replace the upstream's.
//! 3. `clear_site_data` sets `Clear-Site-Data` (W3C Clear Site Data 3.1) on responses of 2xx and 3xx: a logout that failed has ended nothing, and a denial would
//!    let any page that makes a browser ask for something forbidden throw its user out. Nor does the answer to a preflight carry it. Browsers heed it over https only.
//! 4. `tls` denies with 403 `tls_required` what came over less than it demands, before any token is looked at. What the proxy does not say, or says in a way that
//!    is not known, is less. It is the connection of whoever speaks to this proxy: behind another that ends TLS it says nothing of clients.
//! 5. A client certificate that was presented counts; that it was verified is the proxy's to see to (`trusted_ca`, and no `ACCEPT_UNTRUSTED`).

use std::fmt;

use crate::document::{At, Problems};
use crate::policy_file::{self, ReferrerPolicy, SiteData, TlsVersion};
use crate::sender::Connection;

/// What the connection must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsDemand {
    /// The oldest version.
    pub min_version: Option<TlsVersion>,
    /// Whether the client must present a certificate.
    pub client_certificate: bool,
}

impl TlsDemand {
    pub(super) fn compile(at: &At<policy_file::TlsDemand>, problems: &mut Problems) -> Self {
        if at.value.min_version.is_none() && at.value.client_certificate.is_none() {
            problems.error(
                at.span,
                "`tls` demands nothing, add `min_version: TLSv1.2` or `client_certificate: required`, or remove it",
            );
        }
        TlsDemand {
            min_version: at.value.min_version,
            client_certificate: at.value.client_certificate.is_some(),
        }
    }

    /// Holds the connection to it.
    ///
    /// # Errors
    /// A code that says why not: `tls_version` or `client_certificate`.
    pub fn check(self, connection: &dyn Connection) -> Result<(), &'static str> {
        if let Some(least) = self.min_version {
            let version = connection.tls_version();
            let met = match (version.as_deref(), least) {
                (Some(b"TLSv1.3"), _) => true,
                (Some(b"TLSv1.2"), least) => least == TlsVersion::V12,
                _ => false,
            };
            if !met {
                return Err("tls_version");
            }
        }
        if self.client_certificate && connection.has_peer_certificate() != Some(true) {
            return Err("client_certificate");
        }
        Ok(())
    }
}

impl fmt::Display for TlsDemand {
    /// `over TLSv1.2 or newer with a client certificate`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.min_version {
            Some(least) => write!(f, "over {} or newer", least.as_str())?,
            None => f.write_str("over TLS")?,
        }
        if self.client_certificate {
            f.write_str(" with a client certificate")?;
        }
        Ok(())
    }
}

/// The value of Strict-Transport-Security.
pub(super) fn hsts(at: &At<policy_file::Hsts>, problems: &mut Problems) -> String {
    let hsts = &at.value;
    let age = hsts.max_age.0;
    let subdomains = hsts.include_subdomains == Some(true);
    let preload = hsts.preload == Some(true);
    if age == 0 {
        problems.warn(
            at.span,
            "`max_age` of 0 tells browsers to forget the host (RFC 6797 6.1.1), so plain http works again; that is a way to withdraw, else give `1y`",
        );
    }
    if preload && (age < PRELOAD_AGE || !subdomains) {
        problems.warn(
            at.span,
            "the preload list takes no host without `max_age: 1y` or more and `include_subdomains: true` (hstspreload.org); add them or remove `preload`",
        );
    }
    let subdomains = if subdomains { "; includeSubDomains" } else { "" };
    let preload = if preload { "; preload" } else { "" };
    format!("max-age={age}{subdomains}{preload}")
}

/// A year in seconds.
const PRELOAD_AGE: u64 = 31_536_000;

/// The value of Referrer-Policy.
pub(super) fn referrer_policy(at: &At<ReferrerPolicy>, problems: &mut Problems) -> &'static str {
    if matches!(
        at.value,
        ReferrerPolicy::UnsafeUrl | ReferrerPolicy::NoReferrerWhenDowngrade
    ) {
        problems.warn(
            at.span,
            format!(
                "`{}` sends whole URLs to other origins; take `no-referrer` or `same-origin`",
                at.value.as_str()
            ),
        );
    }
    at.value.as_str()
}

/// The value of Clear-Site-Data.
pub(super) fn clear_site_data(at: &At<Vec<At<SiteData>>>, problems: &mut Problems) -> Option<String> {
    let mut kinds: Vec<SiteData> = Vec::new();
    for kind in &at.value {
        if kinds.contains(&kind.value) {
            problems.warn(kind.span, format!("`{}` stands twice, remove one", kind.value.as_str()));
        } else {
            kinds.push(kind.value);
        }
    }
    if kinds.is_empty() {
        problems.error(
            at.span,
            "`clear_site_data` of nothing clears nothing, name `cache`, `cookies`, `storage`, `executionContexts` or `\"*\"`, or remove it",
        );
        return None;
    }
    if kinds.len() > 1 && kinds.contains(&SiteData::All) {
        problems.warn(at.span, "`*` is all kinds, also those to come; remove the others");
    }
    let quoted: Vec<String> = kinds.iter().map(|kind| format!("\"{}\"", kind.as_str())).collect();
    Some(quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Peer(Option<&'static str>, Option<bool>);

    impl Connection for Peer {
        fn peer_certificate_digest(&self) -> Option<Vec<u8>> {
            None
        }
        fn peer_uri(&self) -> Option<Vec<u8>> {
            None
        }
        fn tls_version(&self) -> Option<Vec<u8>> {
            self.0.map(|version| version.as_bytes().to_vec())
        }
        fn has_peer_certificate(&self) -> Option<bool> {
            self.1
        }
    }

    #[test]
    fn what_is_not_said_or_not_known_is_less() {
        let demand = |min_version, client_certificate| TlsDemand {
            min_version,
            client_certificate,
        };
        for (version, twelve, thirteen) in [
            (Some("TLSv1.3"), true, true),
            (Some("TLSv1.2"), true, false),
            (Some("TLSv1.1"), false, false),
            (Some("TLSv1"), false, false),
            (Some("TLSv1.4"), false, false),
            (Some("tlsv1.3"), false, false),
            (Some(""), false, false),
            (None, false, false),
        ] {
            let check = |least| demand(Some(least), false).check(&Peer(version, None));
            let want = |met| if met { Ok(()) } else { Err("tls_version") };
            assert_eq!(check(TlsVersion::V12), want(twelve), "{version:?}");
            assert_eq!(check(TlsVersion::V13), want(thirteen), "{version:?}");
        }
        for (presented, met) in [(Some(true), true), (Some(false), false), (None, false)] {
            let want = if met { Ok(()) } else { Err("client_certificate") };
            assert_eq!(demand(None, true).check(&Peer(None, presented)), want);
        }
        let both = demand(Some(TlsVersion::V13), true);
        assert_eq!(both.check(&Peer(Some("TLSv1.3"), Some(true))), Ok(()));
        assert_eq!(
            both.check(&Peer(Some("TLSv1.3"), Some(false))),
            Err("client_certificate")
        );
    }
}
