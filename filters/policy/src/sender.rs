//! Whether a token's sender is the one it is bound to (RFC 8705, RFC 9449).
//!
//! 1. A token with `cnf.x5t#S256` is accepted only over a connection whose client certificate has that SHA-256 digest, whatever the policy says. A policy can
//!    demand that every token is bound so.
//! 2. The certificate is the connection's own. `X-Forwarded-Client-Cert` counts only where that connection comes from a hop that the policy trusts, which shows
//!    one of the named URIs in its own certificate; then only the header counts, and it must name exactly one certificate.
//! 3. The proxy must have verified the certificates of such hops against its own authorities: no property tells, so the policy file's author vouches.
//! 4. A token that is bound to a key (`cnf.jkt`) is refused as a bearer token (RFC 9449 section 7.2). Where the policy has `dpop` it is taken with the scheme `DPoP`
//!    and exactly one proof, see [`dpop`]; a token that is not bound to a key is refused with that scheme.

use crate::head::RequestHead;
use crate::token::dpop::{self, Claim, ReplayCache};
use crate::token::{Binding, HostVerifier};
use crate::url::Target;

/// The compiled section.
#[derive(Clone, Debug, Default)]
pub struct Sender {
    /// Whether every token must be bound to a certificate.
    pub certificate_required: bool,
    /// How proofs of possession are taken, if at all.
    pub dpop: Option<Dpop>,
    /// The URI names of the hops whose header counts.
    pub trusted_hops: Vec<String>,
}

/// How proofs of possession are taken.
#[derive(Clone, Debug)]
pub struct Dpop {
    /// Whether every token must come with one.
    pub required: bool,
    /// Scheme and host as clients write them; none: those of the request.
    pub origin: Option<String>,
}

/// A token that was verified, and the request that it came with.
pub struct Presented<'a> {
    /// The token.
    pub token: &'a [u8],
    /// What it is bound to.
    pub binding: &'a Binding,
    /// The request's head.
    pub head: &'a RequestHead,
    /// Its target.
    pub target: &'a Target<'a>,
}

impl Dpop {
    /// Verifies the proof that came with a token.
    ///
    /// # Errors
    /// A code that says why not, for the audit record.
    pub fn check(
        &self,
        presented: &Presented<'_>,
        now: u64,
        host: Option<&dyn HostVerifier>,
        replay: &mut ReplayCache,
    ) -> Result<(), &'static str> {
        let Presented {
            token,
            binding,
            head,
            target,
        } = *presented;
        let Binding::Key(jkt) = binding else {
            return Err("not_bound");
        };
        let mut lines = head.all("dpop");
        let (Some(proof), None) = (lines.next(), lines.next()) else {
            return Err("no_single_proof");
        };
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| "url");
        let origin = match &self.origin {
            Some(origin) => origin.clone(),
            None => format!(
                "{}://{}",
                text(head.first(":scheme").unwrap_or(b"https"))?,
                text(head.authority())?
            ),
        };
        let path = text(target.raw().get(target.path_range()).unwrap_or_default())?;
        let claim = Claim {
            method: head.method(),
            url: &format!("{origin}{path}"),
            access_token: token,
            jkt,
        };
        dpop::verify(proof, claim, now, host, replay).map_err(dpop::DpopError::code)
    }
}

/// What the proxy knows of the connection and its client certificate.
pub trait Connection {
    /// Its SHA-256 digest in hexadecimal; none: no certificate.
    fn peer_certificate_digest(&self) -> Option<Vec<u8>>;

    /// Its first URI name.
    fn peer_uri(&self) -> Option<Vec<u8>>;

    /// The version of TLS, such as `TLSv1.3`; none: no TLS, or not known.
    fn tls_version(&self) -> Option<Vec<u8>> {
        None
    }

    /// Whether there is TLS and the client presented a certificate; none: not known.
    fn has_peer_certificate(&self) -> Option<bool> {
        None
    }
}

impl Sender {
    /// Holds the sender to what the token is bound to. `forwarded`: the lines of `X-Forwarded-Client-Cert`.
    ///
    /// # Errors
    /// A code that says why not, for the audit record.
    pub fn check(
        &self,
        binding: &Binding,
        forwarded: &[&[u8]],
        connection: &dyn Connection,
    ) -> Result<(), &'static str> {
        let wanted = match binding {
            Binding::Bearer if self.certificate_required || self.dpop.as_ref().is_some_and(|dpop| dpop.required) => {
                return Err("not_bound");
            }
            Binding::Bearer => return Ok(()),
            Binding::Key(_) => return Err("bound_to_a_key"),
            Binding::Certificate(_) if self.dpop.as_ref().is_some_and(|dpop| dpop.required) => return Err("not_bound"),
            Binding::Certificate(digest) => digest,
        };
        let peer = connection
            .peer_certificate_digest()
            .and_then(|digest| from_hex(&digest))
            .ok_or("no_certificate")?;
        let trusted = !self.trusted_hops.is_empty()
            && connection
                .peer_uri()
                .is_some_and(|uri| self.trusted_hops.iter().any(|hop| hop.as_bytes() == uri));
        let shown = if trusted { client_of(forwarded, &peer)? } else { peer };
        if shown == *wanted {
            Ok(())
        } else {
            Err("other_certificate")
        }
    }
}

/// The one certificate that a trusted hop names. The proxy itself may have added the hop's own as the last, which says nothing of a client: alone it is there
/// when the hop's client showed none.
fn client_of(lines: &[&[u8]], hop: &[u8; 32]) -> Result<[u8; 32], &'static str> {
    let text = lines.join(&b',');
    let text = std::str::from_utf8(&text).map_err(|_| "forwarded_certificate")?;
    let mut digests = Vec::new();
    for element in split_outside_quotes(text, ',').ok_or("forwarded_certificate")? {
        let mut hashes = Vec::new();
        for pair in split_outside_quotes(element, ';').ok_or("forwarded_certificate")? {
            let (name, value) = pair.split_once('=').ok_or("forwarded_certificate")?;
            if name.trim().eq_ignore_ascii_case("hash") {
                hashes.push(from_hex(value.trim().as_bytes()).ok_or("forwarded_certificate")?);
            }
        }
        let [hash] = hashes.as_slice() else {
            return Err("forwarded_certificate");
        };
        digests.push(*hash);
    }
    if digests.last() == Some(hop) {
        digests.pop();
    }
    match digests.as_slice() {
        [one] => Ok(*one),
        _ => Err("forwarded_certificate"),
    }
}

/// Parts between separators that no quotes hold; `None` where a quote stays open.
fn split_outside_quotes(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut rest) = (Vec::new(), text);
    let (mut quoted, mut escaped) = (false, false);
    let mut characters = text.char_indices();
    let mut begin = 0_usize;
    for (at, character) in &mut characters {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if character == separator && !quoted => {
                let (part, more) = rest.split_at_checked(at.saturating_sub(begin))?;
                parts.push(part);
                rest = more.strip_prefix(separator)?;
                begin = at.saturating_add(separator.len_utf8());
            }
            _ => {}
        }
    }
    parts.push(rest);
    (!quoted).then_some(parts)
}

fn from_hex(text: &[u8]) -> Option<[u8; 32]> {
    let nibble = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|value| u8::try_from(value).ok())
    };
    let (pairs, rest) = text.as_chunks::<2>();
    let bytes: Option<Vec<u8>> = pairs
        .iter()
        .map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?))
        .collect();
    if rest.is_empty() { bytes?.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Peer {
        digest: Option<[u8; 32]>,
        uri: Option<&'static str>,
    }

    impl Connection for Peer {
        fn peer_certificate_digest(&self) -> Option<Vec<u8>> {
            self.digest.map(|digest| hex(&digest).into_bytes())
        }
        fn peer_uri(&self) -> Option<Vec<u8>> {
            self.uri.map(|uri| uri.as_bytes().to_vec())
        }
    }

    fn hex(digest: &[u8; 32]) -> String {
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    const HOP: &str = "spiffe://mesh/edge";
    const CLIENT: [u8; 32] = [0xc1; 32];
    const FRONT: [u8; 32] = [0xf0; 32];

    fn check(
        sender: &Sender,
        binding: &Binding,
        lines: &[&str],
        digest: Option<[u8; 32]>,
        uri: Option<&'static str>,
    ) -> Result<(), &'static str> {
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        sender.check(binding, &lines, &Peer { digest, uri })
    }

    #[test]
    fn a_bound_token_needs_its_certificate_on_the_connection() {
        let sender = Sender::default();
        let bound = Binding::Certificate(CLIENT);
        assert_eq!(check(&sender, &bound, &[], Some(CLIENT), None), Ok(()));
        assert_eq!(check(&sender, &bound, &[], Some(FRONT), None), Err("other_certificate"));
        assert_eq!(check(&sender, &bound, &[], None, None), Err("no_certificate"));
        assert_eq!(check(&sender, &Binding::Bearer, &[], None, None), Ok(()));
        assert_eq!(
            check(&sender, &Binding::Key("k".into()), &[], Some(CLIENT), None),
            Err("bound_to_a_key")
        );
        let strict = Sender {
            certificate_required: true,
            ..sender
        };
        assert_eq!(
            check(&strict, &Binding::Bearer, &[], Some(CLIENT), None),
            Err("not_bound")
        );
        assert_eq!(check(&strict, &bound, &[], Some(CLIENT), None), Ok(()));
    }

    #[test]
    fn the_header_counts_only_from_a_trusted_hop() {
        let bound = Binding::Certificate(CLIENT);
        let line = format!("Hash={}", hex(&CLIENT));
        let untrusting = Sender::default();
        assert_eq!(
            check(&untrusting, &bound, &[&line], Some(FRONT), Some(HOP)),
            Err("other_certificate")
        );
        assert_eq!(check(&untrusting, &bound, &[&line], None, None), Err("no_certificate"));
        let trusting = Sender {
            trusted_hops: vec![HOP.to_owned()],
            ..Sender::default()
        };
        assert_eq!(check(&trusting, &bound, &[&line], Some(FRONT), Some(HOP)), Ok(()));
        assert_eq!(
            check(&trusting, &bound, &[&line], Some(FRONT), Some("spiffe://mesh/edg")),
            Err("other_certificate")
        );
        assert_eq!(
            check(&trusting, &bound, &[&line], Some(FRONT), None),
            Err("other_certificate")
        );
        assert_eq!(check(&trusting, &bound, &[&line], None, None), Err("no_certificate"));
        // The hop itself may not use what is its client's, nor go without the header.
        assert_eq!(
            check(
                &trusting,
                &Binding::Certificate(FRONT),
                &[&line],
                Some(FRONT),
                Some(HOP)
            ),
            Err("other_certificate")
        );
        assert_eq!(
            check(&trusting, &bound, &[], Some(FRONT), Some(HOP)),
            Err("forwarded_certificate")
        );
        // The proxy added the hop's own certificate, since the hop's client showed none: it is not that client's.
        let added = format!("By=spiffe://mesh/gateway;Hash={}", hex(&FRONT));
        assert_eq!(
            check(
                &trusting,
                &Binding::Certificate(FRONT),
                &[&added],
                Some(FRONT),
                Some(HOP)
            ),
            Err("forwarded_certificate")
        );
    }

    #[test]
    fn the_header_must_name_one_certificate() {
        let (client, front) = (hex(&CLIENT), hex(&FRONT));
        let trusting = Sender {
            trusted_hops: vec![HOP.to_owned()],
            ..Sender::default()
        };
        let of = |lines: &[&str]| check(&trusting, &Binding::Certificate(CLIENT), lines, Some(FRONT), Some(HOP));
        for good in [
            format!(
                "By=spiffe://x;hash={};Subject=\"CN=a,O=\\\"b;Hash=0\\\"\"",
                client.to_uppercase()
            ),
            format!("Hash={client},By=x;Hash={front};URI={HOP}"),
        ] {
            assert_eq!(of(&[&good]), Ok(()), "{good}");
        }
        assert_eq!(of(&[&format!("Hash={client}"), &format!("Hash={front}")]), Ok(()));
        for bad in [
            String::new(),
            "Hash=".to_owned(),
            format!("Hash={client};Hash={front}"),
            format!("Hash={client},Hash={client}"),
            format!("Hash={front},Hash={client}"),
            format!("Hash={client},Hash={front},Hash={front}"),
            format!("By=\"Hash={client}"),
            format!("By=x,Hash={client}"),
            format!("Hash={client}00"),
            format!("Hash=\"{client}\""),
            format!("Subject=\"Hash={client}\""),
        ] {
            assert_eq!(of(&[&bad]), Err("forwarded_certificate"), "{bad}");
        }
    }
}
