//! Mints JSON Web Tokens for tests: good ones, and ones that are broken on purpose.
//!
//! 1. A token is described by a [`TokenSpec`]: a private key file, claims with relative times, and at most one [`Flaw`].
//! 2. Keys are private JWK (RFC 7517), PKCS#8 or PKCS#1 PEM, or PKCS#8 DER: RSA, EC P-256 or P-384, Ed25519; or a secret as a JWK of type `oct`.
//! 3. The payload is signed as the text that is given, so a token may hold what no JSON library would write,
//!    such as one claim twice.
//!
//! ```no_run
//! use scrim::tokens::{TokenSpec, mint};
//! # fn main() -> anyhow::Result<()> {
//! let spec: TokenSpec = serde_json::from_value(serde_json::json!({
//!     "key": "keys/rs256.jwk.json",
//!     "claims": {"iss": "https://idp.example.org", "exp": "+1h", "scope": "user/Patient.rs"},
//! }))?;
//! let token = mint(&spec, std::path::Path::new("."), 1_700_000_000)?;
//! assert_eq!(token.split('.').count(), 3);
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

/// How to make one token.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenSpec {
    /// Another token of the same file whose description is the start; what is given here is laid over it.
    pub like: Option<String>,
    /// The private key: a JWK, PEM or DER file, relative to the file that names it.
    pub key: Option<PathBuf>,
    /// The `alg` to sign with; by default what the key is for (RS256, ES256, ES384, EdDSA, HS256).
    pub alg: Option<String>,
    /// The `kid` in the header; by default the JWK's own.
    pub kid: Option<String>,
    /// More header members, laid over `typ`, `alg` and `kid`; `null` removes one.
    #[serde(default)]
    pub header: Map<String, Value>,
    /// The claims. `exp`, `nbf`, `iat` and `auth_time` may be relative to now: `now`, `+1h`, `-5m` (s, m, h, d).
    /// `null` removes one that came by `like`.
    #[serde(default)]
    pub claims: Map<String, Value>,
    /// The payload as raw text instead of `claims`, for what isn't well-formed. `${now}`, `${+1h}` and `${-5m}` are replaced.
    pub payload: Option<String>,
    /// What is wrong with the token on purpose.
    pub flaw: Option<Flaw>,
}

/// A token that is broken on purpose.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Flaw {
    /// `alg: none` and an empty signature (RFC 8725, 2.1).
    NoneAlgorithm,
    /// A right header and payload, and a signature with one bit turned.
    TamperedSignature,
    /// The signature of other claims: `"forged": true` was added after signing.
    TamperedPayload,
    /// Header and payload, and nothing after the second dot.
    EmptySignature,
    /// A fourth segment after the signature.
    FourSegments,
    /// A signature with non-zero spare bits in its last base64url character (RFC 4648, 3.5).
    NonCanonicalBase64,
    /// Signed by HS256 with the public key as the secret (RFC 8725, 2.1).
    HmacWithPublicKey,
}

/// Makes a token. `folder` is what key files are relative to, `now` is in seconds since 1970.
///
/// # Errors
/// When the key can't be read, is none of the kinds above or doesn't fit `alg`; when a relative time is none.
pub fn mint(spec: &TokenSpec, folder: &Path, now: i64) -> Result<String> {
    let key_file = spec
        .key
        .as_ref()
        .ok_or_else(|| anyhow!("a token needs a `key`: name a private key file"))?;
    let key = PrivateKey::read(&folder.join(key_file))?;
    let algorithm = match (&spec.alg, spec.flaw) {
        (_, Some(Flaw::HmacWithPublicKey)) => Algorithm::HS256,
        (Some(name), _) => name
            .parse()
            .map_err(|_| anyhow!("`{name}` is no algorithm to sign with: use one of RS, PS, ES and HS with 256, 384 or (but for ES) 512, or EdDSA"))?,
        (None, _) => key.algorithm,
    };
    let mut header = Map::new();
    header.insert("typ".into(), "JWT".into());
    let named = if spec.flaw == Some(Flaw::NoneAlgorithm) {
        "none".to_owned()
    } else {
        format!("{algorithm:?}")
    };
    header.insert("alg".into(), named.into());
    if let Some(kid) = spec.kid.as_ref().or(key.kid.as_ref()) {
        header.insert("kid".into(), kid.clone().into());
    }
    lay_over(&mut header, &spec.header);

    let payload = match &spec.payload {
        Some(text) => replace_times(text, now)?,
        None => serde_json::to_string(&resolve_times(&spec.claims, now)?)?,
    };
    let header = URL_SAFE_NO_PAD.encode(serde_json::to_string(&header)?);
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(&payload));
    let sign = || -> Result<Vec<u8>> {
        let signer =
            (jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER.signer_factory)(&algorithm, &key.encoding(algorithm))
                .with_context(|| format!("the key `{}` can't sign {algorithm:?}", key_file.display()))?;
        signer
            .try_sign(message.as_bytes())
            .map_err(|error| anyhow!("cannot sign with `{}`: {error}", key_file.display()))
    };
    Ok(match spec.flaw {
        None | Some(Flaw::HmacWithPublicKey) => {
            format!("{message}.{}", URL_SAFE_NO_PAD.encode(sign()?))
        }
        Some(Flaw::NoneAlgorithm | Flaw::EmptySignature) => format!("{message}."),
        Some(Flaw::FourSegments) => format!("{message}.{}.e30", URL_SAFE_NO_PAD.encode(sign()?)),
        Some(Flaw::TamperedSignature) => {
            let mut signature = sign()?;
            if let Some(byte) = signature.get_mut(10) {
                *byte ^= 1;
            }
            format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
        }
        Some(Flaw::TamperedPayload) => {
            let mut claims = resolve_times(&spec.claims, now)?;
            claims.insert("forged".into(), true.into());
            format!(
                "{header}.{}.{}",
                URL_SAFE_NO_PAD.encode(serde_json::to_string(&claims)?),
                URL_SAFE_NO_PAD.encode(sign()?)
            )
        }
        Some(Flaw::NonCanonicalBase64) => format!("{message}.{}", non_canonical(&URL_SAFE_NO_PAD.encode(sign()?))?),
    })
}

/// Makes all tokens of a file, after laying each over the one that it is `like`.
///
/// # Errors
/// As [`mint`]; also for a `like` that names no token or leads round in a circle.
pub fn mint_all(specs: &BTreeMap<String, TokenSpec>, folder: &Path, now: i64) -> Result<BTreeMap<String, String>> {
    specs
        .keys()
        .map(|name| {
            let spec = inherit(specs, name, 0)?;
            let token = mint(&spec, folder, now).with_context(|| format!("token `{name}`"))?;
            Ok((name.clone(), token))
        })
        .collect()
}

fn inherit(specs: &BTreeMap<String, TokenSpec>, name: &str, depth: usize) -> Result<TokenSpec> {
    let spec = specs.get(name).ok_or_else(|| {
        anyhow!(
            "there is no token `{name}` to be `like`: {}",
            crate::cases::known(specs.keys())
        )
    })?;
    let Some(base) = &spec.like else {
        return Ok(spec.clone());
    };
    if depth > specs.len() {
        bail!("token `{name}` is `like` itself: break the circle");
    }
    let mut made = inherit(specs, base, depth + 1)?;
    made.key = spec.key.clone().or(made.key);
    made.alg = spec.alg.clone().or(made.alg);
    made.kid = spec.kid.clone().or(made.kid);
    made.payload = spec.payload.clone().or(made.payload);
    made.flaw = spec.flaw.or(made.flaw);
    lay_over(&mut made.header, &spec.header);
    lay_over(&mut made.claims, &spec.claims);
    Ok(made)
}

/// Lays `over` on `base`; a null stays in `base` as a null only when it takes away nothing (it never reaches a token).
fn lay_over(base: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (name, value) in over {
        if value.is_null() {
            base.remove(name);
        } else {
            base.insert(name.clone(), value.clone());
        }
    }
}

const TIMES: [&str; 4] = ["exp", "nbf", "iat", "auth_time"];

fn resolve_times(claims: &Map<String, Value>, now: i64) -> Result<Map<String, Value>> {
    let mut resolved = Map::new();
    for (name, value) in claims {
        let value = match value {
            Value::Null => continue,
            Value::String(text) if TIMES.contains(&name.as_str()) => match relative(text, now) {
                Some(time) => time.into(),
                // A string that is no time is kept: tokens with a textual `exp` are worth a test.
                None => value.clone(),
            },
            other => other.clone(),
        };
        resolved.insert(name.clone(), value);
    }
    Ok(resolved)
}

fn replace_times(text: &str, now: i64) -> Result<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (time, after) = after
            .split_once('}')
            .ok_or_else(|| anyhow!("`${{` without its `}}` in a token's payload"))?;
        out.push_str(before);
        let time = relative(time, now).ok_or_else(|| anyhow!("`{time}` is no time: write now, +1h or -5m"))?;
        out.push_str(&time.to_string());
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// `now`, `+1h`, `-5m`, `now+30s`.
fn relative(text: &str, now: i64) -> Option<i64> {
    let text = text.strip_prefix("now").unwrap_or(text);
    if text.is_empty() {
        return Some(now);
    }
    let sign = match text.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86400,
        _ => return None,
    };
    let count: i64 = text.get(1..text.len() - 1)?.parse().ok()?;
    now.checked_add(sign * count.checked_mul(unit)?)
}

fn non_canonical(signature: &str) -> Result<String> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = signature
        .chars()
        .last()
        .ok_or_else(|| anyhow!("the signature is empty"))?;
    let index = ALPHABET
        .find(last)
        .ok_or_else(|| anyhow!("the signature is no base64url"))?;
    if signature.len().is_multiple_of(4) {
        bail!("a signature of this length has no spare bits: use RS256 or ES256 for `non_canonical_base64`");
    }
    let changed = ALPHABET
        .chars()
        .nth(index | 1)
        .ok_or_else(|| anyhow!("the signature is no base64url"))?;
    Ok(format!("{}{changed}", &signature[..signature.len() - 1]))
}

/// A private key in the form in which the signers take it. It has no Debug: it is a secret, if only a test's.
pub struct PrivateKey {
    algorithm: Algorithm,
    /// PKCS#1 for RSA, PKCS#8 for the others, nothing for a secret.
    der: Vec<u8>,
    /// What `hmac_with_public_key` takes as its secret; or the secret.
    public: Vec<u8>,
    kid: Option<String>,
}

impl PrivateKey {
    /// Reads a private JWK, PEM or DER file.
    ///
    /// # Errors
    /// When the file can't be read, or holds no private key of a kind that is known here.
    pub fn read(file: &Path) -> Result<Self> {
        let bytes = std::fs::read(file).with_context(|| format!("cannot read the key `{}`", file.display()))?;
        Self::parse(&bytes).with_context(|| format!("the key `{}`", file.display()))
    }

    /// Parses what a key file holds.
    ///
    /// # Errors
    /// When it is no private key of a kind that is known here.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim();
        if text.starts_with('{') {
            return Self::from_jwk(&serde_json::from_str(text).context("is no JSON")?);
        }
        let Some(begin) = text.find("-----BEGIN ") else {
            return Self::from_pkcs8(bytes);
        };
        let pem = &text[begin + "-----BEGIN ".len()..];
        let (label, rest) = pem.split_once("-----").ok_or_else(|| anyhow!("is a broken PEM file"))?;
        let (body, _) = rest
            .split_once("-----END")
            .ok_or_else(|| anyhow!("is a broken PEM file"))?;
        let der = STANDARD
            .decode(body.split_whitespace().collect::<String>())
            .context("is a broken PEM file")?;
        match label {
            "PRIVATE KEY" => Self::from_pkcs8(&der),
            "RSA PRIVATE KEY" => Ok(Self {
                algorithm: Algorithm::RS256,
                public: der.clone(),
                der,
                kid: None,
            }),
            other => bail!("holds `{other}`: give a PKCS#8 `PRIVATE KEY` (openssl pkcs8 -topk8 -nocrypt)"),
        }
    }

    fn from_jwk(jwk: &Value) -> Result<Self> {
        let number = |name: &str| -> Result<Vec<u8>> {
            let text = jwk
                .get(name)
                .and_then(Value::as_str)
                .ok_or_else(|| anyhow!("lacks `{name}`: give a private JWK"))?;
            URL_SAFE_NO_PAD
                .decode(text)
                .with_context(|| format!("`{name}` is no base64url"))
        };
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let kid = text("kid").map(str::to_owned);
        Ok(match (text("kty"), text("crv")) {
            (Some("RSA"), _) => {
                let mut parts = vec![der::integer(&[0])];
                for name in ["n", "e", "d", "p", "q", "dp", "dq", "qi"] {
                    parts.push(der::integer(&number(name)?));
                }
                Self {
                    algorithm: Algorithm::RS256,
                    der: der::sequence(&parts),
                    public: number("n")?,
                    kid,
                }
            }
            (Some("EC"), Some(curve @ ("P-256" | "P-384"))) => {
                let (algorithm, oid) = if curve == "P-256" {
                    (Algorithm::ES256, der::P256)
                } else {
                    (Algorithm::ES384, der::P384)
                };
                let mut point = vec![0, 4];
                point.extend(number("x")?);
                point.extend(number("y")?);
                let key = der::sequence(&[
                    der::integer(&[1]),
                    der::tagged(0x04, &number("d")?),
                    der::tagged(0xa1, &der::tagged(0x03, &point)),
                ]);
                let der = der::pkcs8(&[der::tagged(0x06, der::EC), der::tagged(0x06, oid)], &key);
                Self {
                    algorithm,
                    der,
                    public: point,
                    kid,
                }
            }
            (Some("OKP"), Some("Ed25519")) => {
                let der = der::pkcs8(&[der::tagged(0x06, der::ED25519)], &der::tagged(0x04, &number("d")?));
                Self {
                    algorithm: Algorithm::EdDSA,
                    der,
                    public: number("x")?,
                    kid,
                }
            }
            (Some("oct"), _) => Self {
                algorithm: Algorithm::HS256,
                der: Vec::new(),
                public: number("k")?,
                kid,
            },
            (kty, crv) => bail!(
                "is of kind `{} {}`: RSA, EC P-256, EC P-384, OKP Ed25519 and oct are known",
                kty.unwrap_or("?"),
                crv.unwrap_or("")
            ),
        })
    }

    fn from_pkcs8(bytes: &[u8]) -> Result<Self> {
        let broken = || anyhow!("is no private key: give a private JWK, a PKCS#8 PEM or a PKCS#8 DER file");
        let (_, whole, _) = der::read(bytes).filter(|(tag, ..)| *tag == 0x30).ok_or_else(broken)?;
        let (_, _, rest) = der::read(whole).ok_or_else(broken)?;
        let (_, algorithm, rest) = der::read(rest).ok_or_else(broken)?;
        let (_, key, _) = der::read(rest).filter(|(tag, ..)| *tag == 0x04).ok_or_else(broken)?;
        let (_, oid, parameters) = der::read(algorithm).ok_or_else(broken)?;
        let made = |algorithm, der: &[u8]| Self {
            algorithm,
            der: der.to_vec(),
            public: bytes.to_vec(),
            kid: None,
        };
        Ok(match oid {
            der::RSA => made(Algorithm::RS256, key),
            der::ED25519 => made(Algorithm::EdDSA, bytes),
            der::EC => match der::read(parameters).ok_or_else(broken)?.1 {
                der::P256 => made(Algorithm::ES256, bytes),
                der::P384 => made(Algorithm::ES384, bytes),
                _ => bail!("is of a curve that is not known here: use P-256 or P-384"),
            },
            _ => bail!("is of a kind that is not known here: use RSA, EC or Ed25519"),
        })
    }

    fn encoding(&self, algorithm: Algorithm) -> EncodingKey {
        match algorithm {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => EncodingKey::from_secret(&self.public),
            _ => match self.algorithm {
                Algorithm::EdDSA => EncodingKey::from_ed_der(&self.der),
                Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_der(&self.der),
                _ => EncodingKey::from_rsa_der(&self.der),
            },
        }
    }
}

/// The little of X.690 that private keys need.
mod der {
    pub(super) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    pub(super) const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    pub(super) const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    pub(super) const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
    pub(super) const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

    pub(super) fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        let length = content.len();
        if length < 0x80 {
            out.push(length as u8);
        } else {
            let bytes = length.to_be_bytes();
            let significant: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
            out.push(0x80 | significant.len() as u8);
            out.extend(significant);
        }
        out.extend(content);
        out
    }

    pub(super) fn integer(bytes: &[u8]) -> Vec<u8> {
        let mut content: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
        if content.first().is_none_or(|byte| *byte >= 0x80) {
            content.insert(0, 0);
        }
        tagged(0x02, &content)
    }

    pub(super) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
        tagged(0x30, &parts.concat())
    }

    pub(super) fn pkcs8(algorithm: &[Vec<u8>], key: &[u8]) -> Vec<u8> {
        sequence(&[integer(&[0]), sequence(algorithm), tagged(0x04, key)])
    }

    /// The first value: its tag, content, and what comes after it.
    pub(super) fn read(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
        let (tag, rest) = bytes.split_first()?;
        let (length, rest) = rest.split_first()?;
        let (length, rest) = if *length < 0x80 {
            (usize::from(*length), rest)
        } else {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (
                digits.iter().try_fold(0_usize, |sum, digit| {
                    sum.checked_mul(256)?.checked_add(usize::from(*digit))
                })?,
                rest,
            )
        };
        let (content, rest) = rest.split_at_checked(length)?;
        Some((*tag, content, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{DecodingKey, Validation, decode, jwk::JwkSet};

    const NOW: i64 = 1_700_000_000;

    fn keys() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/fhir-gateway/keys")
    }

    fn made(spec: Value) -> String {
        mint(&serde_json::from_value(spec).unwrap(), &keys(), NOW).unwrap()
    }

    fn part(token: &str, index: usize) -> String {
        String::from_utf8(URL_SAFE_NO_PAD.decode(token.split('.').nth(index).unwrap()).unwrap()).unwrap()
    }

    fn verifies(token: &str) -> bool {
        let set: JwkSet = serde_json::from_slice(&std::fs::read(keys().join("../jwks.json")).unwrap()).unwrap();
        let header = jsonwebtoken::decode_header(token).unwrap();
        let key = DecodingKey::from_jwk(set.find(&header.kid.unwrap()).unwrap()).unwrap();
        let mut validation = Validation::new(header.alg);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        decode::<Value>(token, &key, &validation).is_ok()
    }

    #[test]
    fn every_kind_of_key_signs_what_the_published_keys_verify() {
        for (file, alg) in [("rs256", "RS256"), ("es256", "ES256"), ("eddsa", "EdDSA")] {
            let token = made(
                serde_json::json!({"key": format!("{file}.synthetic.jwk.json"), "claims": {"exp": "+1h", "iat": "now", "nbf": "-5m"}}),
            );
            assert!(verifies(&token), "{file}");
            assert_eq!(
                part(&token, 0),
                format!(r#"{{"alg":"{alg}","kid":"synthetic-{file}","typ":"JWT"}}"#)
            );
            assert_eq!(
                part(&token, 1),
                format!(r#"{{"exp":{},"iat":{NOW},"nbf":{}}}"#, NOW + 3600, NOW - 300)
            );
        }
        let forged = made(serde_json::json!({"key": "stranger.synthetic.pem", "kid": "synthetic-rs256"}));
        assert!(!verifies(&forged));
    }

    #[test]
    fn a_secret_signs_too() {
        let spec = serde_json::from_value(
            serde_json::json!({"key": "secret.synthetic.jwk.json", "alg": "HS512", "claims": {"sub": "a"}}),
        );
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/keys");
        let token = mint(&spec.unwrap(), &folder, NOW).unwrap();
        let secret = b"a shared secret for synthetic tests, as long as HS512 wants it..";
        let mut validation = Validation::new(Algorithm::HS512);
        validation.required_spec_claims.clear();
        assert!(decode::<Value>(&token, &DecodingKey::from_secret(secret), &validation).is_ok());
    }

    #[test]
    fn every_flaw_spoils_the_token() {
        for flaw in ["tampered_signature", "tampered_payload"] {
            assert!(
                !verifies(&made(
                    serde_json::json!({"key": "rs256.synthetic.jwk.json", "claims": {"sub": "a"}, "flaw": flaw})
                )),
                "{flaw}"
            );
        }
        let flawed = |flaw: &str| made(serde_json::json!({"key": "rs256.synthetic.jwk.json", "flaw": flaw}));
        assert!(
            part(&flawed("none_algorithm"), 0).contains(r#""alg":"none""#) && flawed("none_algorithm").ends_with('.')
        );
        assert!(part(&flawed("hmac_with_public_key"), 0).contains(r#""alg":"HS256""#));
        assert!(flawed("empty_signature").ends_with('.'));
        assert_eq!(flawed("four_segments").split('.').count(), 4);
        let token = flawed("non_canonical_base64");
        assert!(URL_SAFE_NO_PAD.decode(token.rsplit('.').next().unwrap()).is_err());
    }

    #[test]
    fn header_claims_and_raw_payload_are_as_they_are_given() {
        let token = made(
            serde_json::json!({"key": "es256.synthetic.jwk.json", "header": {"typ": null, "crit": ["x"]}, "payload": "{\"exp\":${+1h},\"exp\":1}"}),
        );
        assert!(!part(&token, 0).contains("typ") && part(&token, 0).contains("crit"));
        assert_eq!(part(&token, 1), format!("{{\"exp\":{},\"exp\":1}}", NOW + 3600));
    }

    #[test]
    fn a_token_like_another_takes_over_what_it_does_not_say() {
        let specs: BTreeMap<String, TokenSpec> = serde_json::from_value(serde_json::json!({
            "a": {"key": "eddsa.synthetic.jwk.json", "claims": {"sub": "a", "scope": "s"}},
            "b": {"like": "a", "claims": {"sub": null, "x": 1}},
            "c": {"like": "b", "claims": {"x": 2}},
        }))
        .unwrap();
        let tokens = mint_all(&specs, &keys(), NOW).unwrap();
        assert_eq!(part(&tokens["c"], 1), r#"{"scope":"s","x":2}"#);
        let circle: BTreeMap<String, TokenSpec> =
            serde_json::from_value(serde_json::json!({"a": {"like": "b"}, "b": {"like": "a"}})).unwrap();
        assert!(
            mint_all(&circle, &keys(), NOW)
                .unwrap_err()
                .to_string()
                .contains("break the circle")
        );
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_mend() {
        for (bytes, part) in [
            ("{}", "is of kind"),
            ("junk", "is no private key"),
            ("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END", "openssl pkcs8"),
        ] {
            let error = PrivateKey::parse(bytes.as_bytes()).err().unwrap();
            assert!(format!("{error:#}").contains(part), "{error:#}");
        }
    }
}
