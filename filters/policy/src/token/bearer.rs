//! Finding the token in a request (RFC 6750 section 2, RFC 9110 section 11).

/// Takes the bearer token from the values of all `Authorization` lines of a request, in order.
///
/// Nothing at all, and credentials of another scheme (`Basic`), are `None`: no token came.
///
/// # Errors
/// More than one line or credential is [`BearerError::Several`]: servers disagree about which one counts. A value that has no scheme, or `Bearer` without
/// exactly one `b64token` (RFC 6750 section 2.1), is [`BearerError::Malformed`].
pub fn bearer<'a>(header_values: &[&'a [u8]]) -> Result<Option<&'a [u8]>, BearerError> {
    credentials(header_values, is_bearer)
}

/// Takes the token that is sent with a proof (RFC 9449 section 7.1), as [`bearer`] does.
///
/// # Errors
/// As for [`bearer`].
pub fn dpop_bound<'a>(header_values: &[&'a [u8]]) -> Result<Option<&'a [u8]>, BearerError> {
    credentials(header_values, is_dpop)
}

fn credentials<'a>(header_values: &[&'a [u8]], is_wanted: fn(&[u8]) -> bool) -> Result<Option<&'a [u8]>, BearerError> {
    let value = match header_values {
        [] => return Ok(None),
        [value] => trim(value),
        _ => return Err(BearerError::Several),
    };
    let (scheme, credentials) = match memchr::memchr(b' ', value).and_then(|space| value.split_at_checked(space)) {
        Some((scheme, rest)) => (scheme, trim(rest)),
        None => (value, &[][..]),
    };
    if scheme.is_empty() || !scheme.iter().copied().all(is_tchar) {
        return Err(BearerError::Malformed);
    }
    if !is_wanted(scheme) {
        // `Digest` has commas of its own; a token behind one means that two lines were joined on the way.
        let hides_bearer = credentials
            .split(|byte| *byte == b',')
            .skip(1)
            .filter_map(|part| trim(part).split(|byte| *byte == b' ').next())
            .any(|scheme| is_bearer(scheme) || is_dpop(scheme));
        return if hides_bearer {
            Err(BearerError::Several)
        } else {
            Ok(None)
        };
    }
    if is_b64token(credentials) {
        Ok(Some(credentials))
    } else if credentials.contains(&b',') {
        Err(BearerError::Several)
    } else {
        Err(BearerError::Malformed)
    }
}

/// Whether a token came in the query (RFC 6750 section 2.3), which RFC 9700 section 4.3.2 forbids; the names are to be decoded before.
///
/// A request that has one is to be refused with `invalid_request`, and the more so when it has an `Authorization` line too.
pub fn query_has_token<'a>(parameter_names: impl IntoIterator<Item = &'a [u8]>) -> bool {
    parameter_names
        .into_iter()
        .any(|name| name.eq_ignore_ascii_case(b"access_token"))
}

/// Why a request's credentials are refused unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BearerError {
    /// More than one credential: 400 `invalid_request` ("uses more than one method", RFC 6750 section 3.1).
    Several,
    /// No token by its syntax: 401 `invalid_token` ("malformed", RFC 6750 section 3.1).
    Malformed,
}

impl BearerError {
    /// The status to answer with.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Several => 400,
            Self::Malformed => 401,
        }
    }

    /// The `error` attribute of `WWW-Authenticate`.
    #[must_use]
    pub fn error(self) -> &'static str {
        match self {
            Self::Several => "invalid_request",
            Self::Malformed => "invalid_token",
        }
    }

    /// The stable reason code for audit and metrics.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Several => "several_credentials",
            Self::Malformed => "malformed_credentials",
        }
    }
}

fn is_bearer(scheme: &[u8]) -> bool {
    scheme.eq_ignore_ascii_case(b"Bearer")
}

fn is_dpop(scheme: &[u8]) -> bool {
    scheme.eq_ignore_ascii_case(b"DPoP")
}

/// `b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="` (RFC 6750 section 2.1).
fn is_b64token(text: &[u8]) -> bool {
    let end = text.iter().rposition(|byte| *byte != b'=');
    let body = end.and_then(|end| text.get(..=end)).unwrap_or_default();
    // Without an early end, so that the loop has no branches: a token has a thousand bytes.
    let is_clean = body.iter().fold(true, |clean, byte| clean & is_b64_byte(*byte));
    is_clean && !body.is_empty()
}

fn is_b64_byte(byte: u8) -> bool {
    let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    // From `-` to `9` stand `-`, `.`, `/` and the digits.
    let is_digit_or_near = byte.wrapping_sub(b'-') < 13;
    is_letter | is_digit_or_near | (byte == b'_') | (byte == b'~') | (byte == b'+')
}

/// `tchar` of RFC 9110 section 5.6.2.
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

/// Without the optional whitespace of RFC 9110 section 5.6.3 around it.
fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(value: &str) -> Result<Option<&[u8]>, BearerError> {
        bearer(&[value.as_bytes()])
    }

    #[test]
    fn a_token_with_a_proof_has_a_scheme_of_its_own() {
        assert_eq!(dpop_bound(&[b"DPoP a.b.c"]), Ok(Some(&b"a.b.c"[..])));
        assert_eq!(dpop_bound(&[b"dpop a.b.c"]), Ok(Some(&b"a.b.c"[..])));
        assert_eq!(dpop_bound(&[b"Bearer a.b.c"]), Ok(None));
        assert_eq!(bearer(&[b"DPoP a.b.c"]), Ok(None));
        for joined in [&b"DPoP a,Bearer b"[..], b"Bearer a,DPoP b", b"Basic x, DPoP b"] {
            assert_eq!(bearer(&[joined]), Err(BearerError::Several));
            assert_eq!(dpop_bound(&[joined]), Err(BearerError::Several));
        }
    }

    #[test]
    fn takes_the_one_token() {
        for value in [
            "Bearer a.b-c_d~e+f/g==",
            "bearer a.b-c_d~e+f/g==",
            "BEARER   a.b-c_d~e+f/g== ",
            "\tBearer a.b-c_d~e+f/g==",
        ] {
            assert_eq!(one(value), Ok(Some(&b"a.b-c_d~e+f/g=="[..])), "{value}");
        }
    }

    #[test]
    fn no_line_or_another_scheme_is_no_token() {
        assert_eq!(bearer(&[]), Ok(None));
        for value in [
            "Basic dXNlcjpwYXNz",
            "Negotiate",
            "Digest username=\"x\", realm=\"y\"",
            "Bearerx abc",
            "DPoP abc",
        ] {
            assert_eq!(one(value), Ok(None), "{value}");
        }
    }

    #[test]
    fn two_credentials_are_refused() {
        assert_eq!(bearer(&[b"Bearer a", b"Bearer a"]), Err(BearerError::Several));
        assert_eq!(bearer(&[b"Bearer a", b""]), Err(BearerError::Several));
        assert_eq!(bearer(&[b"Basic a", b"Bearer b"]), Err(BearerError::Several));
        for value in [
            "Bearer a, Bearer b",
            "Bearer a,b",
            "Bearer a,",
            "Basic x, Bearer b",
            "Basic x,bearer b",
        ] {
            assert_eq!(one(value), Err(BearerError::Several), "{value}");
        }
        assert_eq!(
            (BearerError::Several.status(), BearerError::Several.error()),
            (400, "invalid_request")
        );
    }

    #[test]
    fn broken_credentials_are_refused() {
        for value in [
            "",
            " ",
            "Bearer",
            "Bearer ",
            "Bearer a b",
            "Bearer a=b",
            "Bearer ==",
            "Bearer \"a\"",
            "Bearer\ta",
            "Bearer a\u{e9}",
            "Bearer a\0",
            "\u{e9} a",
        ] {
            assert_eq!(one(value), Err(BearerError::Malformed), "{value:?}");
        }
        assert_eq!(
            (BearerError::Malformed.status(), BearerError::Malformed.error()),
            (401, "invalid_token")
        );
    }

    #[test]
    fn a_token_in_the_query_is_seen() {
        assert!(query_has_token([&b"a"[..], b"access_token"]));
        assert!(query_has_token([&b"Access_Token"[..]]));
        assert!(!query_has_token([&b"access"[..], b"token"]));
    }

    #[test]
    fn a_token_has_the_bytes_of_the_grammar_and_no_others() {
        for byte in 0..=255_u8 {
            let is_named = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            assert_eq!(is_b64_byte(byte), is_named, "{byte}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_a_part_of_the_line_without_spaces(value in "[ -~\t]{0,40}", raw in prop::collection::vec(any::<u8>(), 0..24)) {
            let _ = bearer(&[&raw]);
            if let Ok(Some(token)) = one(&value) {
                prop_assert!(value.contains(std::str::from_utf8(token).unwrap()));
                prop_assert!(!token.contains(&b' ') && !token.contains(&b','));
            }
        }
    }
}
