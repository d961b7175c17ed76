//! The two ways to check a signature, by the host and in the guest, give one verdict on every token: thousands of good and broken signatures of all five kinds
//! that hosts know, through the embedded engine's cryptography, and a sample of them through a real Envoy's.
//!
//! What is broken, and how: see [`Maker::tokens`]. Keys are synthetic, everything is seeded.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use rsa::BigUint;
use rsa::pkcs8::EncodePrivateKey as _;
use rsa::rand_core::{CryptoRng, RngCore};
use rsa::traits::{PrivateKeyParts as _, PublicKeyParts as _};
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use scrim::envoy::{Envoy, Line, Process};
use scrim::exchange::{Answer, Body, Engine, Gateway, Request, Setup};
use scrim::modules::SUITE;
use scrim::render::Bootstrap;
use scrim_policy::token::{
    Algorithm, ClaimPaths, HostKind, HostVerdict, HostVerifier, Issuer, KeySet, TestedHost, TokenCache, TokenError,
    TokenPolicy, VerificationStats, VerifiedBy, foreign,
};

/// The embedded engine's `verify_signature`, asked in the very bytes that a guest sends.
struct Embedded;

impl HostVerifier for Embedded {
    fn verify(&self, kind: HostKind, spki_der: &[u8], signature: &[u8], text: &[u8]) -> HostVerdict {
        let request = foreign::encode_request(kind.hash(), spki_der, signature, text);
        scrim::wasm::verify_signature(&request)
            .map_or(HostVerdict::Unavailable, |answer| foreign::decode_response(&answer))
    }
}

#[test]
fn the_embedded_host_has_every_kind() {
    assert_eq!(
        TestedHost::new(Embedded).kinds().to_string(),
        "RS256 RS384 RS512 ES256 ES384"
    );
}

#[test]
fn host_and_guest_agree_on_thousands_of_signatures() {
    let now = 1_800_000_000;
    let maker = Maker::new(now);
    let policy = maker.policy();
    let host = TestedHost::new(Embedded);
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut good = 0;
    let tokens = maker.tokens(20);
    for token in &tokens {
        let (by_host, counts) = verdict(&policy, &token.text, now, Some(&host));
        let (by_guest, guest_counts) = verdict(&policy, &token.text, now, None);
        let about = format!("{:?} {}", token.kind, token.what);
        assert_eq!(by_host.map(|_| ()), by_guest.map(|_| ()), "{about}");
        assert_eq!(by_guest.is_ok(), token.good, "{about}");
        assert_eq!(
            by_guest.err(),
            (!token.good).then_some(TokenError::Signature),
            "{about}"
        );
        // Each way was really gone, where a signature has the form of one at all.
        assert_eq!(counts.guest, 0, "{about}");
        assert_eq!((counts.host, guest_counts.host), (guest_counts.guest, 0), "{about}");
        if let Ok(by) = by_host {
            assert_eq!(by, VerifiedBy::Host);
            good += 1;
        }
        *seen.entry(token.what).or_default() += 1;
    }
    println!("{} tokens, {good} of them good: {seen:?}", tokens.len());
    assert!(tokens.len() >= 3000 && good >= 150, "{} {good}", tokens.len());
}

#[test]
fn a_real_envoy_gives_the_same_verdicts() {
    let Some(envoy) = Envoy::in_tests() else { return };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let maker = Maker::new(now);
    let policy = maker.policy();
    let setup = maker.setup();
    let mut gateway = envoy.start(&setup).unwrap();
    let tokens = maker.tokens(3);
    assert!(tokens.len() >= 300, "{}", tokens.len());
    for token in &tokens {
        let about = format!("{:?} {}", token.kind, token.what);
        let (expected, _) = verdict(&policy, &token.text, now, None);
        let (status, why) = ask(gateway.as_mut(), &token.text);
        let expected = match expected {
            Ok(_) => (200, Json::Null),
            Err(error) => (401, error.code().into()),
        };
        assert_eq!((status, why), expected, "{about}");
    }
}

/// A suite that could not use the host would still give the right verdicts, a hundred times as slowly.
#[test]
fn a_real_envoy_passes_the_self_test_for_every_kind() {
    let Some(envoy) = Envoy::in_tests() else { return };
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let mut bootstrap = Bootstrap::new(anywhere, nobody.into());
    bootstrap.filters = Maker::new(0).setup().filters;
    let listener = std::net::TcpListener::bind(anywhere).unwrap().local_addr().unwrap();
    bootstrap.listen = listener;
    let mut process = Process::start(envoy.found(), &bootstrap).unwrap();
    let mut said = Vec::new();
    while let Ok(Some(line)) = process.next_line(Duration::from_secs(2)) {
        if let Line::Plugin { text, .. } = line {
            if text.contains("scrim: signatures: host for RS256 RS384 RS512 ES256 ES384") {
                return;
            }
            said.push(text);
        }
    }
    panic!("{said:#?}");
}

/// RFC 7518 section 3.5: the salt is as long as the hash. Who takes others takes signatures that the issuer's own rules refuse.
#[test]
fn a_pss_signature_has_a_salt_as_long_as_its_hash() {
    let now = 1_800_000_000;
    let maker = Maker::new(now);
    let policy = maker.policy();
    for (algorithm, length) in [("PS256", 32), ("PS384", 48), ("PS512", 64)] {
        for salt in [0, 20, 31, 32, 33, 48, 64, 100] {
            let text = maker.text_of(algorithm, "rsa", "own", "pss");
            let (pss, digest) = match algorithm {
                "PS256" => (
                    rsa::Pss::new_with_salt::<Sha256>(salt),
                    digest("sha256", text.as_bytes()),
                ),
                "PS384" => (
                    rsa::Pss::new_with_salt::<Sha384>(salt),
                    digest("sha384", text.as_bytes()),
                ),
                _ => (
                    rsa::Pss::new_with_salt::<Sha512>(salt),
                    digest("sha512", text.as_bytes()),
                ),
            };
            let signature = maker.rsa.sign_with_rng(&mut Random(salt as u64), pss, &digest).unwrap();
            let token = format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature));
            let (verdict, counts) = verdict(&policy, &token, now, Some(&Embedded));
            let expected = if salt == length {
                Ok(VerifiedBy::Guest)
            } else {
                Err(TokenError::Signature)
            };
            assert_eq!(verdict, expected, "{algorithm} {salt}");
            assert_eq!((counts.host, counts.guest), (0, 1));
        }
    }
}

/// The status, and the audit record's reason in detail.
fn ask(gateway: &mut dyn Gateway, token: &str) -> (u16, Json) {
    let request = Request {
        method: "GET".into(),
        target: b"/fhir/Patient/1".to_vec(),
        authority: "fhir.example.org".into(),
        headers: vec![("authorization".into(), format!("Bearer {token}").into_bytes())],
        body: Body::default(),
    };
    let answer = Answer {
        status: 200,
        headers: vec![],
        body: Body::default(),
        fault: None,
    };
    let outcome = gateway.exchange(&request, &answer).unwrap();
    let audit: Json = serde_json::from_str(&outcome.filter_state["scrim.audit"]).unwrap();
    let decision = &audit["filters"]["oauth_scope"];
    if decision["decision"] == "deny" {
        assert_eq!(decision["reason"], "invalid_token");
    }
    (outcome.client.unwrap().status, decision["detail"].clone())
}

fn verdict(
    policy: &TokenPolicy,
    token: &str,
    now: u64,
    host: Option<&dyn HostVerifier>,
) -> (Result<VerifiedBy, TokenError>, VerificationStats) {
    // Holds nothing, so that every verdict is a new one.
    let mut cache = TokenCache::new(8, 0);
    let allowed: Vec<usize> = (0..policy.issuers().len()).collect();
    let grant = policy.verify(token.as_bytes(), &allowed, now, &mut cache, host);
    (grant.map(|grant| grant.verified_by()), cache.verification_stats())
}

/// A token, and whether it must be accepted.
struct Token {
    kind: HostKind,
    what: &'static str,
    text: String,
    good: bool,
}

/// Takes what is done to a token, whether it must be accepted, its text and its signature.
type Add<'a> = &'a mut dyn FnMut(&'static str, bool, &str, &[u8]);

/// The curves' orders, in hexadecimal (FIPS 186-5, SP 800-186 section 3.2.1).
const P256_ORDER: &[u8] = b"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const P384_ORDER: &[u8] =
    b"ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973";

/// Issuers by what their key sets are: the keys that sign, others under the same `kid`, and RSA moduli with a bit turned.
const ISSUERS: [&str; 5] = ["own", "other", "turned-low", "turned-middle", "turned-high"];

/// Makes tokens.
struct Maker {
    rsa: rsa::RsaPrivateKey,
    /// Of its second prime, modulo its first.
    inverse: BigUint,
    other_rsa: rsa::RsaPrivateKey,
    p256: [p256::ecdsa::SigningKey; 2],
    p384: [p384::ecdsa::SigningKey; 2],
    /// The first of each curve.
    pkcs8: [EncodingKey; 2],
    expires_at: u64,
}

impl Maker {
    fn new(now: u64) -> Self {
        let key = |name: &str| {
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../examples/fhir-gateway/keys")
                .join(name)
        };
        let jwk: Json = serde_json::from_slice(&fs::read(key("rs256.synthetic.jwk.json")).unwrap()).unwrap();
        let number = |name: &str| BigUint::from_bytes_be(&URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap());
        let primes = vec![number("p"), number("q")];
        let inverse = primes[1].modpow(&(&primes[0] - 2_u8), &primes[0]);
        let p256 = [[7; 32], [8; 32]].map(|secret| p256::ecdsa::SigningKey::from_slice(&secret).unwrap());
        let p384 = [[7; 48], [8; 48]].map(|secret| p384::ecdsa::SigningKey::from_slice(&secret).unwrap());
        let documents = [p256[0].to_pkcs8_der().unwrap(), p384[0].to_pkcs8_der().unwrap()];
        let pem = fs::read_to_string(key("stranger.synthetic.pem")).unwrap();
        Self {
            rsa: rsa::RsaPrivateKey::from_components(number("n"), number("e"), number("d"), primes).unwrap(),
            inverse,
            other_rsa: rsa::pkcs8::DecodePrivateKey::from_pkcs8_pem(&pem).unwrap(),
            pkcs8: documents.map(|document| EncodingKey::from_ec_der(document.as_bytes())),
            p256,
            p384,
            expires_at: now + 3600,
        }
    }

    fn jwks(&self, issuer: &str) -> Json {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let which = usize::from(issuer != "own");
        let (mut modulus, exponent) = match issuer {
            "other" => (self.other_rsa.n().to_bytes_be(), self.other_rsa.e().to_bytes_be()),
            _ => (self.rsa.n().to_bytes_be(), self.rsa.e().to_bytes_be()),
        };
        match issuer {
            "turned-low" => modulus[255] ^= 2,
            "turned-middle" => modulus[128] ^= 0x10,
            "turned-high" => modulus[0] ^= 0x01,
            _ => {}
        }
        let p256 = self.p256[which].verifying_key().to_encoded_point(false);
        let p384 = self.p384[which].verifying_key().to_encoded_point(false);
        json!({"keys": [
            {"kty": "RSA", "kid": "rsa", "n": encode(&modulus), "e": encode(&exponent)},
            {"kty": "EC", "crv": "P-256", "kid": "p256", "x": encode(p256.x().unwrap()), "y": encode(p256.y().unwrap())},
            {"kty": "EC", "crv": "P-384", "kid": "p384", "x": encode(p384.x().unwrap()), "y": encode(p384.y().unwrap())},
        ]})
    }

    fn policy(&self) -> TokenPolicy {
        let issuers = ISSUERS.map(|name| Issuer {
            alias: name.into(),
            issuer: format!("https://{name}.example"),
            audiences: vec!["api".into()],
            algorithms: Algorithm::ALL.into_iter().filter(|each| !each.is_symmetric()).collect(),
            keys: KeySet::parse(self.jwks(name).to_string().as_bytes())
                .unwrap_or_else(|error| panic!("{error}"))
                .into(),
            max_lifetime: None,
            only_at_jwt: false,
            claims: ClaimPaths::default(),
            leeway: 0,
        });
        TokenPolicy::new(issuers.to_vec()).unwrap()
    }

    /// A gateway with the same issuers.
    fn setup(&self) -> Setup {
        let algorithms = HostKind::ALL.map(HostKind::name);
        let issuer = |name: &str| {
            json!({"issuer": format!("https://{name}.example"), "audiences": ["api"], "algorithms": algorithms,
                "jwks": {"inline": self.jwks(name)}})
        };
        let issuers: serde_json::Map<_, _> = ISSUERS
            .map(|name| (name.to_owned(), issuer(name)))
            .into_iter()
            .collect();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("signatures");
        fs::create_dir_all(&folder).unwrap();
        let policy = folder.join(format!("policy-{}.yaml", self.expires_at));
        let document = json!({
            "version": 1,
            "issuers": issuers,
            "policies": {"p": {"oauth_scope": {"issuers": ISSUERS, "require": "user/Patient.rs"}}},
            "default": "p",
        });
        fs::write(&policy, document.to_string()).unwrap();
        let policy = scrim::policy_file::PolicyFile::read(&policy).unwrap_or_else(|why| panic!("{why}"));
        assert!(!policy.check().1.has_errors(), "{}", policy.check().1);
        let place = |_: &scrim::modules::Module| SUITE.file_in(&folder);
        Setup {
            filters: scrim::gateway::filters_at(&policy, scrim::cases::Modules::Suite, &place).unwrap(),
            report: scrim::gateway::PUBLISHED.map(str::to_owned).to_vec(),
            ..Setup::default()
        }
    }

    /// What is signed: a header and a payload, in base64url.
    fn text(&self, kind: HostKind, issuer: &str, id: &str) -> String {
        let kid = match kind {
            HostKind::Es256 => "p256",
            HostKind::Es384 => "p384",
            _ => "rsa",
        };
        self.text_of(kind.name(), kid, issuer, id)
    }

    fn text_of(&self, algorithm: &str, kid: &str, issuer: &str, id: &str) -> String {
        let header = json!({"alg": algorithm, "kid": kid}).to_string();
        let payload = json!({"iss": format!("https://{issuer}.example"), "aud": "api", "exp": self.expires_at, "jti": id,
            "scope": "user/Patient.rs"});
        format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(payload.to_string())
        )
    }

    /// For every kind, `rounds` good signatures and what can be broken about each.
    fn tokens(&self, rounds: usize) -> Vec<Token> {
        let mut tokens = Vec::new();
        let mut random = Random(7);
        for kind in HostKind::ALL {
            for round in 0..rounds {
                let id = format!("{kind:?}-{round}");
                let text = self.text(kind, "own", &id);
                let mut add = |what: &'static str, good: bool, text: &str, signature: &[u8]| {
                    let text = format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature));
                    tokens.push(Token { kind, what, text, good });
                };
                let signature = self.sign(kind, kind.hash(), text.as_bytes());
                add("nothing", true, &text, &signature);
                add(
                    "another text",
                    false,
                    &self.text(kind, "own", &format!("{id}!")),
                    &signature,
                );
                add(
                    "another key",
                    false,
                    &self.text(kind, "other", &id),
                    &self.sign(kind, kind.hash(), self.text(kind, "other", &id).as_bytes()),
                );
                for _ in 0..2 {
                    let mut turned = signature.clone();
                    let place = random.below(turned.len());
                    turned[place] ^= 1 << random.below(8);
                    add("a bit of the signature", false, &text, &turned);
                }
                let size = signature.len();
                add("no signature", false, &text, &[]);
                add("a byte less", false, &text, &signature[..size - 1]);
                add("the first byte less", false, &text, &signature[1..]);
                add("a byte more", false, &text, &[&signature[..], &[0]].concat());
                add("a zero before", false, &text, &[&[0][..], &signature].concat());
                add("twice", false, &text, &[&signature[..], &signature].concat());
                add("zeros", false, &text, &vec![0; size]);
                add("one", false, &text, &fixed(&BigUint::from(1_u8), size));
                add("ones", false, &text, &vec![0xff; size]);
                for hash in ["sha256", "sha384", "sha512"] {
                    if hash != kind.hash() {
                        add("another hash", false, &text, &self.sign(kind, hash, text.as_bytes()));
                    }
                }
                match kind {
                    HostKind::Es256 => self.break_ecdsa(kind, round, P256_ORDER, &text, &signature, &mut add),
                    HostKind::Es384 => self.break_ecdsa(kind, round, P384_ORDER, &text, &signature, &mut add),
                    _ => self.break_rsa(kind, round, &text, &signature, &mut add),
                }
            }
        }
        tokens
    }

    fn break_rsa(&self, kind: HostKind, round: usize, text: &str, signature: &[u8], add: Add<'_>) {
        let (n, s, size) = (self.rsa.n(), BigUint::from_bytes_be(signature), signature.len());
        for issuer in &ISSUERS[2..] {
            let text = self.text(kind, issuer, &round.to_string());
            let signature = self.sign(kind, kind.hash(), text.as_bytes());
            add("a bit of the key", false, &text, &signature);
        }
        add("the modulus", false, text, &fixed(n, size));
        add("the modulus and one", false, text, &fixed(&(n + 1_u8), size));
        add("the modulus less one", false, text, &fixed(&(n - 1_u8), size));
        add("the negative", false, text, &fixed(&(n - &s), size));
        // The same number to a reader that reduces it.
        let sum = n + &s;
        if sum.bits() <= size * 8 {
            add("the sum with the modulus", false, text, &fixed(&sum, size));
        }
        add("the sum with the modulus, longer", false, text, &fixed(&sum, size + 1));

        if !round.is_multiple_of(3) {
            return;
        }
        // Signed by the right key, but not what RFC 8017 section 9.2 makes of the text.
        let good = encoded(kind.hash(), text.as_bytes(), size);
        let info = digest_info(kind.hash(), text.as_bytes());
        let mut forge = |what, message: Vec<u8>| add(what, false, text, &self.raise(&message, size));
        let mut shorter = vec![0, 1];
        shorter.extend([0xff; 8]);
        shorter.push(0);
        shorter.extend(&info);
        shorter.resize(size, 0xaa);
        forge("bytes after the digest", shorter);
        for (what, place, value) in [
            ("block type 2", 1, 2),
            ("block type 0", 1, 0),
            ("a hole in the padding", 9, 0xfe),
            ("an early end of the padding", 12, 0),
            ("no end of the padding", size - info.len() - 1, 0xff),
            ("another digest length", size - info.len() + 1, info[1] ^ 1),
            ("another byte of the digest", size - 1, good[size - 1] ^ 1),
            ("something before", 0, 1),
        ] {
            let mut message = good.clone();
            message[place] = value;
            // As a number below the modulus, as every message that a key can sign.
            if BigUint::from_bytes_be(&message) < *n {
                forge(what, message);
            }
        }
        // Without the NULL of the AlgorithmIdentifier (RFC 8017 section 9.2 note 1 has it).
        let digest = &info[19..];
        let mut lean = vec![0x30, info[1] - 2, 0x30, info[3] - 2];
        lean.extend(&info[4..15]);
        lean.extend([0x04, digest.len() as u8]);
        lean.extend(digest);
        forge("no NULL in the DigestInfo", padded(&lean, size));
        forge("the digest alone", padded(digest, size));
    }

    fn break_ecdsa(&self, kind: HostKind, round: usize, order: &[u8], text: &str, signature: &[u8], add: Add<'_>) {
        let n = BigUint::parse_bytes(order, 16).unwrap();
        let half = signature.len() / 2;
        let (r, s) = signature.split_at(half);
        let (zero, one, order) = (vec![0; half], fixed(&BigUint::from(1_u8), half), fixed(&n, half));
        let both = |r: &[u8], s: &[u8]| [r, s].concat();
        let number = BigUint::from_bytes_be;
        // RFC 7518 does not ask for the smaller of the two, and neither does anybody here.
        add("the other s", true, text, &both(r, &fixed(&(&n - number(s)), half)));
        add("r = 0", false, text, &both(&zero, s));
        add("s = 0", false, text, &both(r, &zero));
        add("r = n", false, text, &both(&order, s));
        add("s = n", false, text, &both(r, &order));
        add("r = 1", false, text, &both(&one, s));
        add("s = 1", false, text, &both(r, &one));
        add("r = s", false, text, &both(s, s));
        add("r and s the other way", false, text, &both(s, r));
        add("r = n - 1", false, text, &both(&fixed(&(&n - 1_u8), half), s));
        add("s = n + 1", false, text, &both(r, &fixed(&(&n + 1_u8), half)));
        add("r as large as can be", false, text, &both(&vec![0xff; half], s));
        add("s as large as can be", false, text, &both(r, &vec![0xff; half]));
        add("the negative r", false, text, &both(&fixed(&(&n - number(r)), half), s));
        add("r + 1", false, text, &both(&fixed(&(number(r) + 1_u8), half), s));
        add("r with a zero before", false, text, &[&[0], r, s].concat());
        add("both with a zero before", false, text, &[&[0], r, &[0], s].concat());
        add("r alone", false, text, r);
        // DER in place of the fixed form, also cut to its length: what the host would take, had it got it.
        let mut der = vec![0x30, (2 * half + 4) as u8, 0x02, half as u8];
        der.extend(r);
        der.extend([0x02, half as u8]);
        der.extend(s);
        add("DER", false, text, &der);
        add("DER, cut", false, text, &der[..2 * half]);
        // Numbers that begin with zeros, which DER leaves out. One in 256 does, so looking for them takes its time.
        if !round.is_multiple_of(8) {
            return;
        }
        for place in [0, half] {
            let (text, signature) = (0..)
                .map(|attempt| {
                    let text = self.text(kind, "own", &format!("{round}-{place}-{attempt}"));
                    let signature = self.sign(kind, kind.hash(), text.as_bytes());
                    (text, signature)
                })
                .find(|(_, signature)| signature[place] == 0)
                .unwrap();
            add("leading zeros", true, &text, &signature);
            let mut without = signature.clone();
            without.remove(place);
            add("leading zeros left out", false, &text, &without);
            without.push(0);
            add("leading zeros moved behind", false, &text, &without);
        }
    }

    /// A signature of the form of JOSE, over the text's digest by any hash.
    fn sign(&self, kind: HostKind, hash: &str, text: &[u8]) -> Vec<u8> {
        let mut digest = digest(hash, text);
        match kind {
            // The library's code is optimised in every profile.
            HostKind::Es256 if hash == kind.hash() => ecdsa(&self.pkcs8[0], kind, text),
            HostKind::Es384 if hash == kind.hash() => ecdsa(&self.pkcs8[1], kind, text),
            HostKind::Es256 => {
                let signature: p256::ecdsa::Signature = self.p256[0].sign_prehash(&digest).unwrap();
                signature.to_bytes().to_vec()
            }
            HostKind::Es384 => {
                // Zeros in front, as SEC 1 section 4.1.3 reads a shorter digest.
                while digest.len() < 48 {
                    digest.insert(0, 0);
                }
                let signature: p384::ecdsa::Signature = self.p384[0].sign_prehash(&digest).unwrap();
                signature.to_bytes().to_vec()
            }
            _ => {
                let size = self.rsa.size();
                self.raise(&encoded(hash, text, size), size)
            }
        }
    }

    /// RSA's private operation on any message.
    fn raise(&self, message: &[u8], size: usize) -> Vec<u8> {
        // By the Chinese remainders: three times as fast.
        let [p, q] = self.rsa.primes() else {
            panic!("two primes")
        };
        let message = BigUint::from_bytes_be(message);
        let (one, d) = (BigUint::from(1_u8), self.rsa.d());
        let (by_p, by_q) = (
            message.modpow(&(d % (p - &one)), p),
            message.modpow(&(d % (q - &one)), q),
        );
        let difference = (by_p + p - (&by_q % p)) % p;
        fixed(&(by_q + q * (&self.inverse * difference % p)), size)
    }
}

fn ecdsa(key: &EncodingKey, kind: HostKind, text: &[u8]) -> Vec<u8> {
    let factory = jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER.signer_factory;
    factory(&kind.name().parse().unwrap(), key)
        .unwrap()
        .try_sign(text)
        .unwrap()
}

fn digest(hash: &str, text: &[u8]) -> Vec<u8> {
    match hash {
        "sha256" => Sha256::digest(text).to_vec(),
        "sha384" => Sha384::digest(text).to_vec(),
        _ => Sha512::digest(text).to_vec(),
    }
}

/// DigestInfo (RFC 8017 section 9.2, note 1).
fn digest_info(hash: &str, text: &[u8]) -> Vec<u8> {
    let digest = digest(hash, text);
    let (size, last) = (
        digest.len() as u8,
        match hash {
            "sha256" => 1,
            "sha384" => 2,
            _ => 3,
        },
    );
    let mut info = vec![
        0x30,
        17 + size,
        0x30,
        0x0d,
        0x06,
        0x09,
        0x60,
        0x86,
        0x48,
        0x01,
        0x65,
        0x03,
        0x04,
        0x02,
        last,
    ];
    info.extend([0x05, 0x00, 0x04, size]);
    info.extend(digest);
    info
}

fn encoded(hash: &str, text: &[u8], size: usize) -> Vec<u8> {
    padded(&digest_info(hash, text), size)
}

fn padded(info: &[u8], size: usize) -> Vec<u8> {
    let mut message = vec![0, 1];
    message.resize(size - info.len() - 1, 0xff);
    message.push(0);
    message.extend(info);
    message
}

/// A number in so many bytes.
fn fixed(number: &BigUint, size: usize) -> Vec<u8> {
    let bytes = number.to_bytes_be();
    let mut fixed = vec![0; size - bytes.len()];
    fixed.extend(bytes);
    fixed
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.next() as usize % limit
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl RngCore for Random {
    fn next_u32(&mut self) -> u32 {
        self.next() as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.next()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.next() as u8);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

/// For salts and blinding in tests, where it only has to be different.
impl CryptoRng for Random {}
