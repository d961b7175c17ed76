//! What a policy file asks of claims beyond the ones every token is checked for: where they stand, and what they may look like.
//!
//! 1. A claim that nothing asks for is not read. One that something asks for and that has another shape than it should refuses the token: under
//!    `none_of` a role that could not be read would otherwise count as not held.
//! 2. Roles are a string or a list of strings. Purposes of use are strings, or objects with `code` and perhaps `system` (IHE IUA 3.71), or a list of
//!    such. The patient is a FHIR id (`[A-Za-z0-9.-]{1,64}`).
//!    A claim that `when` or `require` compares is a string, a number, a boolean, or a list of those.
//! 3. `cnf` (RFC 7800) binds a token to a certificate (`x5t#S256`, RFC 8705 section 3.1) or a key (`jkt`, RFC 9449 section 6.1). A binding that is neither can't
//!    be held to, so the token is refused.
//! 4. A claim goes to the upstream as text in one header line: visible ASCII as it is, everything else and `%` and `,` percent-encoded; the members of a list are
//!    joined by `,`. What is neither text, number, boolean nor a list of those is refused.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::json::{Json, Object};
use super::{Private, TokenError};

/// The way to a claim: the exact names, outermost first.
pub type ClaimPath = Vec<String>;

/// The most bytes of a header value that claims make.
const MAX_HEADER_BYTES: usize = 4 * 1024;

/// The systems that a bare code of a purpose of use is from (HL7 v3 ActReason).
const ACT_REASON: [&str; 3] = [
    "http://terminology.hl7.org/CodeSystem/v3-ActReason",
    "http://hl7.org/fhir/v3/ActReason",
    "urn:oid:2.16.840.1.113883.5.8",
];

/// Where an issuer writes what a policy file asks for.
#[derive(Clone)]
pub struct ClaimPaths {
    /// Scopes; none: `scope` and `scp` together.
    pub scopes: Option<ClaimPath>,
    /// Roles.
    pub roles: ClaimPath,
    /// Purposes of use.
    pub purposes: ClaimPath,
    /// The patient in context.
    pub patient: ClaimPath,
}

impl Default for ClaimPaths {
    fn default() -> Self {
        let path = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            scopes: None,
            roles: path(&["roles"]),
            purposes: path(&["extensions", "ihe_iua", "purpose_of_use"]),
            patient: path(&["patient"]),
        }
    }
}

/// Which claims anything in the policy file asks for.
#[derive(Clone, Default)]
pub struct Asked {
    /// Roles.
    pub roles: bool,
    /// Purposes of use.
    pub purposes: bool,
    /// The patient in context.
    pub patient: bool,
    /// The claims that upstreams get as headers.
    pub identity: Vec<ClaimPath>,
    /// The claims that requirements compare.
    pub compared: Vec<ClaimPath>,
}

/// What the claims said.
#[derive(Default)]
pub(super) struct Attributes {
    pub(super) roles: Vec<Box<str>>,
    pub(super) purposes: Vec<Box<str>>,
    pub(super) patient: Option<Box<str>>,
    /// As header values, in the order of [`Asked::identity`].
    pub(super) identity: Vec<Option<Private>>,
    /// What stands in each, in the order of [`Asked::compared`].
    pub(super) compared: Vec<Vec<Private>>,
}

impl Attributes {
    pub(super) fn read(claims: &Object<'_>, paths: &ClaimPaths, asked: &Asked) -> Result<Self, TokenError> {
        let mut read = Self::default();
        if asked.roles
            && let Some(claim) = find(claims, &paths.roles)
        {
            for role in each(claim) {
                read.roles.push(role.as_text().ok_or(TokenError::Claims)?.into());
            }
        }
        if asked.purposes
            && let Some(claim) = find(claims, &paths.purposes)
        {
            for purpose in each(claim) {
                read.purposes.push(purpose_of(purpose)?);
            }
        }
        if asked.patient
            && let Some(claim) = find(claims, &paths.patient)
        {
            let id = claim.as_text().filter(|id| is_fhir_id(id)).ok_or(TokenError::Claims)?;
            read.patient = Some(id.into());
        }
        for path in &asked.identity {
            let value = find(claims, path).map(header_value).transpose()?;
            read.identity.push(value.map(|text| Private(text.into_bytes().into())));
        }
        for path in &asked.compared {
            let members = find(claims, path).map(each).unwrap_or_default();
            read.compared
                .push(members.iter().map(text_of).collect::<Result<_, _>>()?);
        }
        Ok(read)
    }
}

/// The claim at the end of the way, if all of it is there. `null` counts as absent.
pub(super) fn find<'c, 'a>(claims: &'c Object<'a>, path: &[String]) -> Option<&'c Json<'a>> {
    let (last, way) = path.split_last()?;
    let mut object = claims;
    for name in way {
        object = match object.get(name)? {
            Json::Object(inner) => inner,
            _ => return None,
        };
    }
    object.get(last).filter(|claim| !matches!(claim, Json::Null))
}

/// The members of a list, or the one that stands alone.
pub(super) fn each<'c, 'a>(claim: &'c Json<'a>) -> &'c [Json<'a>] {
    match claim {
        Json::Array(list) => list,
        one => std::slice::from_ref(one),
    }
}

/// A claim as the policy file writes it.
fn text_of(claim: &Json<'_>) -> Result<Private, TokenError> {
    let text = match claim {
        Json::Text(text) => text.to_string(),
        Json::Unsigned(number) => number.to_string(),
        Json::Bool(value) => value.to_string(),
        _ => return Err(TokenError::Claims),
    };
    Ok(Private(text.into_bytes().into()))
}

fn purpose_of(claim: &Json<'_>) -> Result<Box<str>, TokenError> {
    match claim {
        Json::Text(code) => Ok(Box::from(&**code)),
        Json::Object(coding) => {
            let code = coding.get("code").and_then(Json::as_text).ok_or(TokenError::Claims)?;
            match coding.get("system") {
                None => Ok(code.into()),
                Some(Json::Text(system)) if ACT_REASON.contains(&&**system) => Ok(code.into()),
                Some(Json::Text(system)) => Ok(format!("{system}|{code}").into()),
                Some(_) => Err(TokenError::Claims),
            }
        }
        _ => Err(TokenError::Claims),
    }
}

/// <http://hl7.org/fhir/R4/datatypes.html#id>
fn is_fhir_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
}

fn header_value(claim: &Json<'_>) -> Result<String, TokenError> {
    let mut out = String::new();
    for (index, member) in each(claim).iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        match member {
            Json::Text(text) => {
                for byte in text.bytes() {
                    match byte {
                        b'%' | b',' => _ = write!(out, "%{byte:02X}"),
                        // A space at either end would be cut off on the way (RFC 9110 section 5.5), so it is encoded everywhere but between words.
                        b' ' if !out.is_empty() && !text.ends_with(' ') && !out.ends_with(',') => out.push(' '),
                        b'!'..=b'~' => out.push(char::from(byte)),
                        _ => _ = write!(out, "%{byte:02X}"),
                    }
                }
            }
            Json::Unsigned(number) => _ = write!(out, "{number}"),
            Json::Bool(value) => _ = write!(out, "{value}"),
            _ => return Err(TokenError::Claims),
        }
        if out.len() > MAX_HEADER_BYTES {
            return Err(TokenError::TooLarge);
        }
    }
    Ok(out)
}

/// What a token is bound to (RFC 7800).
#[derive(Clone, PartialEq, Eq)]
pub enum Binding {
    /// Nothing: whoever bears it may use it.
    Bearer,
    /// The SHA-256 of a client certificate in DER (RFC 8705 section 3.1).
    Certificate([u8; 32]),
    /// The JWK thumbprint of a key that must sign each request (RFC 9449 section 6.1).
    Key(Box<str>),
}

impl Binding {
    pub(super) fn read(claims: &Object<'_>) -> Result<Self, TokenError> {
        let confirmation = match claims.get("cnf") {
            None => return Ok(Self::Bearer),
            Some(Json::Object(confirmation)) => confirmation,
            Some(_) => return Err(TokenError::Confirmation),
        };
        let text = |name| confirmation.get(name).and_then(Json::as_text);
        match (text("x5t#S256"), text("jkt")) {
            _ if confirmation.len() != 1 => Err(TokenError::Confirmation),
            (Some(thumbprint), None) => {
                let bytes = URL_SAFE_NO_PAD
                    .decode(thumbprint)
                    .map_err(|_| TokenError::Confirmation)?;
                bytes
                    .try_into()
                    .map(Self::Certificate)
                    .map_err(|_| TokenError::Confirmation)
            }
            (None, Some(thumbprint)) => Ok(Self::Key(thumbprint.into())),
            _ => Err(TokenError::Confirmation),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::jws::parse_json;
    use super::*;

    fn all() -> Asked {
        Asked {
            roles: true,
            purposes: true,
            patient: true,
            identity: vec![vec!["name".to_owned()], vec!["a".to_owned(), "b".to_owned()]],
            compared: vec![vec!["tenant".to_owned()]],
        }
    }

    fn read(json: &str, paths: &ClaimPaths) -> Result<Attributes, TokenError> {
        Attributes::read(
            &parse_json(json.as_bytes()).map_err(|_| TokenError::Malformed)?,
            paths,
            &all(),
        )
    }

    fn error(json: &str) -> Option<TokenError> {
        read(json, &ClaimPaths::default()).err()
    }

    #[test]
    fn compared_claims_are_texts_numbers_booleans_or_lists_of_them() {
        let compared = |json: &str| {
            let read = read(json, &ClaimPaths::default()).ok().unwrap();
            let [values] = read.compared.as_slice() else {
                panic!("one claim is asked for")
            };
            values.iter().map(|value| value.0.to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(compared(r#"{"tenant":"a b"}"#), [b"a b"]);
        assert_eq!(compared(r#"{"tenant":[7,true,"x"]}"#), [&b"7"[..], b"true", b"x"]);
        assert!(compared("{}").is_empty() && compared(r#"{"tenant":null}"#).is_empty());
        for bad in [
            r#"{"tenant":{}}"#,
            r#"{"tenant":[["a"]]}"#,
            r#"{"tenant":1.5}"#,
            r#"{"tenant":[null]}"#,
        ] {
            assert_eq!(error(bad), Some(TokenError::Claims), "{bad}");
        }
    }

    #[test]
    fn roles_stand_where_the_policy_says() {
        let paths = ClaimPaths {
            roles: vec!["https://example.org/claims".to_owned(), "roles".to_owned()],
            ..ClaimPaths::default()
        };
        let got = read(
            r#"{"roles":["x"],"https://example.org/claims":{"roles":["a","b"]}}"#,
            &paths,
        )
        .ok()
        .unwrap();
        assert_eq!(got.roles.iter().map(|role| &**role).collect::<Vec<_>>(), ["a", "b"]);
        let got = read(r#"{"roles":"a b"}"#, &ClaimPaths::default()).ok().unwrap();
        assert_eq!(got.roles.iter().map(|role| &**role).collect::<Vec<_>>(), ["a b"]);
        let got = read(r#"{"roles":null,"patient":null}"#, &ClaimPaths::default())
            .ok()
            .unwrap();
        assert!(got.roles.is_empty() && got.patient.is_none());
    }

    #[test]
    fn what_has_another_shape_refuses_the_token() {
        for json in [
            r#"{"roles":1}"#,
            r#"{"roles":["a",{}]}"#,
            r#"{"patient":["1"]}"#,
            r#"{"patient":"Patient/1"}"#,
            r#"{"patient":""}"#,
            r#"{"extensions":{"ihe_iua":{"purpose_of_use":[{"display":"x"}]}}}"#,
            r#"{"extensions":{"ihe_iua":{"purpose_of_use":[{"code":"TREAT","system":1}]}}}"#,
            r#"{"name":{}}"#,
            r#"{"name":[["x"]]}"#,
        ] {
            assert_eq!(error(json), Some(TokenError::Claims), "{json}");
        }
    }

    #[test]
    fn what_nobody_asks_for_is_not_read() {
        let claims = parse_json(br#"{"roles":1,"patient":2,"name":{}}"#).ok().unwrap();
        assert!(Attributes::read(&claims, &ClaimPaths::default(), &Asked::default()).is_ok());
    }

    #[test]
    fn a_purpose_is_a_code_of_its_system() {
        let json = r#"{"extensions":{"ihe_iua":{"purpose_of_use":["TREAT",
            {"code":"ETREAT","system":"urn:oid:2.16.840.1.113883.5.8"},{"code":"TREAT","system":"urn:x"}]}}}"#;
        let got = read(json, &ClaimPaths::default()).ok().unwrap();
        assert_eq!(
            got.purposes.iter().map(|purpose| &**purpose).collect::<Vec<_>>(),
            ["TREAT", "ETREAT", "urn:x|TREAT"]
        );
    }

    #[test]
    fn claims_become_header_values_that_nothing_can_break_out_of() {
        for (json, value) in [
            (r#"{"name":"dr. quinn"}"#, "dr. quinn"),
            (r#"{"name":" a "}"#, "%20a%20"),
            (r#"{"name":"a\r\nx-role: admin"}"#, "a%0D%0Ax-role: admin"),
            (r#"{"name":"é,%"}"#, "%C3%A9%2C%25"),
            (r#"{"name":["a,b","c",7,true]}"#, "a%2Cb,c,7,true"),
        ] {
            let got = read(json, &ClaimPaths::default()).ok().unwrap();
            let text = got
                .identity
                .first()
                .and_then(Option::as_ref)
                .map(|value| String::from_utf8_lossy(value.expose()).into_owned());
            assert_eq!(text.as_deref(), Some(value), "{json}");
            assert!(got.identity.get(1).is_some_and(Option::is_none));
        }
    }

    #[test]
    fn a_binding_that_cannot_be_held_to_refuses_the_token() {
        let binding = |json: &str| Binding::read(&parse_json(json.as_bytes()).ok().unwrap());
        assert!(binding("{}") == Ok(Binding::Bearer));
        let thumbprint = URL_SAFE_NO_PAD.encode([7; 32]);
        assert!(binding(&format!(r#"{{"cnf":{{"x5t#S256":"{thumbprint}"}}}}"#)) == Ok(Binding::Certificate([7; 32])));
        assert!(binding(r#"{"cnf":{"jkt":"abc"}}"#) == Ok(Binding::Key("abc".into())));
        for json in [
            r#"{"cnf":"x"}"#,
            r#"{"cnf":null}"#,
            r#"{"cnf":{}}"#,
            r#"{"cnf":{"kid":"x"}}"#,
            r#"{"cnf":{"x5t#S256":"AAAA"}}"#,
            r#"{"cnf":{"x5t#S256":1}}"#,
            r#"{"cnf":{"x5t#S256":"x","jkt":"y"}}"#,
            r#"{"cnf":{"jkt":"x","other":"y"}}"#,
        ] {
            assert!(binding(json) == Err(TokenError::Confirmation), "{json}");
        }
    }
}
