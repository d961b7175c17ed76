//! The compact form of a signed token (RFC 7515 section 7.1, RFC 7519), read strictly before any cryptography.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::json::{Json, JsonError, Limits, Object, parse_object};
use super::{Algorithm, MAX_KID_BYTES, TokenError};

/// What the JSON of a token may have: real ones have some dozens of values, three deep.
const LIMITS: Limits = Limits {
    depth: 16,
    values: 1024,
};

/// The three segments of a token, decoded but not believed.
pub(super) struct Segments<'a> {
    /// What was signed: header and payload as they came, with the dot between.
    pub(super) signed: &'a [u8],
    pub(super) header: Vec<u8>,
    pub(super) payload: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

impl<'a> Segments<'a> {
    /// Takes exactly three segments of canonical, unpadded base64url (RFC 7515 section 2): one token has one spelling.
    pub(super) fn parse(token: &'a [u8]) -> Result<Self, TokenError> {
        let mut dots = memchr::memchr_iter(b'.', token);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(TokenError::Malformed);
        };
        let (signed, signature) = token.split_at_checked(second).ok_or(TokenError::Malformed)?;
        let (header, payload) = signed.split_at_checked(first).ok_or(TokenError::Malformed)?;
        Ok(Self {
            signed,
            header: decode(header)?,
            payload: decode(after_dot(payload))?,
            signature: decode(after_dot(signature))?,
        })
    }
}

fn after_dot(segment: &[u8]) -> &[u8] {
    segment.split_first().map_or(&[], |(_, rest)| rest)
}

/// The engine refuses padding, whitespace, the other alphabet and trailing bits that are not zero.
fn decode(segment: &[u8]) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(segment).map_err(|_| TokenError::Malformed)
}

/// What a token says of itself; only used to pick the key.
pub(super) struct Header<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<std::borrow::Cow<'a, str>>,
    /// Whether `typ` says plainly that this is an access token (RFC 9068 section 2.1).
    pub(super) is_access_token: bool,
}

impl<'a> Header<'a> {
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, TokenError> {
        let object = parse_json(text)?;
        // RFC 7515 section 4.1.11: extensions that must be understood, and none is. `b64` (RFC 7797) is one, even where `crit` was forgotten.
        if object.has("crit") || object.has("b64") {
            return Err(TokenError::CriticalHeader);
        }
        // RFC 8725 section 3.10 and RFC 7515 section 10.4: a key comes from the policy, never from the token.
        if ["jku", "jwk", "x5u", "x5c"].into_iter().any(|name| object.has(name)) {
            return Err(TokenError::EmbeddedKey);
        }
        // `enc` and `zip` mark an encrypted token (RFC 7516 sections 4.1.2, 4.1.3 and 9): one that also is three segments means another thing to another reader.
        // `cty` with `JWT` marks a nested one (RFC 7519 section 5.2), whose claims nobody here would see.
        if object.has("enc") || object.has("zip") || object.get("cty").is_some_and(|cty| !is_plain_content(cty)) {
            return Err(TokenError::TokenType);
        }
        let is_access_token = match object.get("typ") {
            None => false,
            Some(typ) => match typ.as_text() {
                Some(typ) => is_access_token(typ)?,
                None => return Err(TokenError::TokenType),
            },
        };
        let algorithm = object
            .get("alg")
            .and_then(Json::as_text)
            .and_then(Algorithm::from_name)
            .ok_or(TokenError::Algorithm)?;
        let kid = match object.get("kid") {
            None => None,
            Some(Json::Text(kid)) if kid.len() <= MAX_KID_BYTES => Some(kid.clone()),
            Some(Json::Text(_)) => return Err(TokenError::TooLarge),
            Some(_) => return Err(TokenError::Malformed),
        };
        Ok(Self {
            algorithm,
            kid,
            is_access_token,
        })
    }
}

fn is_plain_content(cty: &Json<'_>) -> bool {
    cty.as_text()
        .is_some_and(|cty| !without_prefix(cty).eq_ignore_ascii_case("JWT"))
}

/// Media types compare without case, and `application/` may be left out (RFC 7515 sections 4.1.9 and 4.1.10).
pub(super) fn without_prefix(media_type: &str) -> &str {
    match media_type.split_at_checked("application/".len()) {
        Some((prefix, name)) if prefix.eq_ignore_ascii_case("application/") => name,
        _ => media_type,
    }
}

/// RFC 8725 section 3.11: a `typ` other than these says that the token is for something else.
fn is_access_token(typ: &str) -> Result<bool, TokenError> {
    let name = without_prefix(typ);
    if name.eq_ignore_ascii_case("at+jwt") {
        Ok(true)
    } else if name.eq_ignore_ascii_case("JWT") {
        Ok(false)
    } else {
        Err(TokenError::TokenType)
    }
}

pub(super) fn parse_json(text: &[u8]) -> Result<Object<'_>, TokenError> {
    parse_object(text, LIMITS).map_err(|error| match error {
        JsonError::Syntax => TokenError::Malformed,
        JsonError::DuplicateName => TokenError::DuplicateName,
        JsonError::Limit => TokenError::TooLarge,
    })
}
