//! The policy file's shape: what may stand in it, before anything is cross-checked or compiled.
//!
//! The types follow the file key by key; [`crate::compile`] turns them into what runs. One document serves every module: it
//! arrives as JSON in the plugin configuration, with file references already made inline by the command line.

use serde_json::{Map as JsonMap, Value as Json, json};

use crate::document::{
    At, Decode, Named, Node, Problems, Seconds, Value, Verbatim, choice, members, one_of, record, suggestion,
};

record! {
    /// The policy file.
    pub struct PolicyFile {
        /// The format's version, always 1.
        pub version: Version,
        /// Secrets by name.
        pub keys: Option<Keys>,
        /// Who issues access tokens, by alias. The alias stands in audit records.
        pub issuers: Named<Issuer>,
        /// What a route can demand, by name.
        pub policies: Named<PolicyEntry>,
        /// Which policy governs which requests; the first match wins.
        pub routes: Option<Vec<RouteEntry>>,
        /// What governs a request that no route matches: a policy's name, `deny` or `allow`. Absent: `deny`.
        pub default: Option<At<String>>,
        /// What the proxy allows the modules to do; `scrim render` writes it.
        pub host: Option<Host>,
    }

    /// Secrets by name.
    pub struct Keys {
        /// The key of every keyed pseudonym: in URLs, responses and audit records.
        pub pseudonyms: Option<At<KeySource>>,
    }

    /// What the proxy allows the modules to do.
    pub struct Host {
        /// Whether the plugin runs with Envoy's `allow_on_headers_stop_iteration`, so that response headers may wait for the body.
        pub allow_on_headers_stop_iteration: Option<bool>,
    }

    /// An issuer of access tokens.
    pub struct Issuer {
        /// The exact `iss` (RFC 7519 4.1.1).
        pub issuer: At<String>,
        /// The `aud` values that mean this API (RFC 7519 4.1.3); a token needs one of them.
        pub audiences: At<Vec<At<String>>>,
        /// The signature algorithms allowed (RFC 7518 3.1): `RS256`, `ES256`, `EdDSA`.
        pub algorithms: At<Vec<At<String>>>,
        /// The issuer's public keys.
        pub jwks: At<KeySetSource>,
        /// How far clocks may differ when `exp` and `nbf` are checked. Absent: 0s.
        pub leeway: Option<Seconds>,
    }

    /// A key set that is fetched through a cluster of the proxy.
    pub struct RemoteKeySet {
        /// The cluster.
        pub cluster: At<String>,
        /// The key set's URL.
        pub url: At<String>,
        /// How often it is fetched. Absent: 10m.
        pub refresh: Option<At<Seconds>>,
        /// How old a copy may be used while fetching fails; after that the issuer's tokens are refused. Absent: 1h.
        pub max_stale: Option<At<Seconds>>,
        /// How long an answer may take. Absent: 5s.
        pub timeout: Option<At<Seconds>>,
    }

    /// A key set that is found by OpenID Connect Discovery, and fetched through a cluster of the proxy.
    pub struct DiscoveredKeySet {
        /// The cluster; the configuration document and the key set are both fetched through it.
        pub cluster: At<String>,
        /// How often both are fetched. Absent: 10m.
        pub refresh: Option<At<Seconds>>,
        /// How old a copy may be used while fetching fails; after that the issuer's tokens are refused. Absent: 1h.
        pub max_stale: Option<At<Seconds>>,
        /// How long an answer may take. Absent: 5s.
        pub timeout: Option<At<Seconds>>,
        /// The origins, such as `https://keys.example.org`, to which `jwks_uri` may lead besides the issuer's own.
        pub jwks_origins: Option<Vec<At<String>>>,
    }

    /// A policy: any of the four sections; a filter without its section passes.
    pub struct PolicyEntry {
        /// Who may call.
        pub oauth_scope: Option<OauthScope>,
        /// No PHI in URLs.
        pub phi_url: Option<At<PhiUrl>>,
        /// No PHI in shared caches.
        pub cache_control: Option<CacheControl>,
        /// Only the fields the caller may see.
        pub response_trim: Option<ResponseTrim>,
    }

    /// Who may call.
    pub struct OauthScope {
        /// The issuers whose tokens count here, by alias.
        pub issuers: At<Vec<At<String>>>,
        /// The scopes that the token must have.
        pub require: Need,
    }

    /// No PHI in URLs.
    pub struct PhiUrl {
        /// The table of parameters and path ids that carry PHI.
        pub preset: Option<Preset>,
        /// What becomes of a query parameter that carries PHI. Absent: reject.
        pub on_query: Option<At<Action>>,
        /// What becomes of a parameter of this name, whatever the table says; modifiers and chains match by base name.
        pub query: Named<At<QueryAction>>,
        /// What becomes of a path segment that carries PHI. Absent: tokenize where there is a key, else reject.
        pub on_path: Option<At<Action>>,
        /// Recognisers over what remains of path and query.
        pub detect: Option<Vec<At<Detector>>>,
        /// What becomes of what they find. Absent: reject.
        pub on_detect: Option<At<Action>>,
    }

    /// No PHI in shared caches.
    pub struct CacheControl {
        /// What the responses carry.
        pub class: Class,
        /// Adds Strict-Transport-Security (RFC 6797) to responses.
        pub hsts: Option<Hsts>,
    }

    /// Strict-Transport-Security.
    pub struct Hsts {
        /// How long browsers remember it.
        pub max_age: Seconds,
        /// Whether it holds for subdomains too. Absent: no.
        pub include_subdomains: Option<bool>,
    }

    /// Only the fields the caller may see.
    pub struct ResponseTrim {
        /// The first view whose `when` holds is applied; none holds: the body is refused.
        pub views: At<Vec<At<View>>>,
    }

    /// What callers of some kind see.
    pub struct View {
        /// The scopes that the token must have. Absent: the view always applies.
        pub when: Option<Need>,
        /// What goes.
        pub deny: Option<Vec<At<String>>>,
        /// What alone stays, with the way to it.
        pub allow: Option<Vec<At<String>>>,
        /// What is made coarser, by selector.
        pub transform: Named<At<Transform>>,
    }

    /// A route: when it matches, and which policy then governs.
    pub struct RouteEntry {
        /// When the route matches: all that is given must hold.
        pub matches as "match": At<Match>,
        /// The policy's name.
        pub policy: At<String>,
    }

    /// When a route matches: all that is given must hold.
    pub struct Match {
        /// The canonical path, segment by segment; `{name}` stands for one segment. A trailing slash does not matter.
        pub path: Option<At<String>>,
        /// How the canonical path begins; without a trailing slash it ends where a segment ends.
        pub path_prefix: Option<At<String>>,
        /// The methods; GET includes HEAD.
        pub methods: Option<At<Vec<At<String>>>>,
        /// The host without port, or `*.` and a domain for all its subdomains.
        pub host: Option<At<String>>,
        /// The proxy's own name of the route (`xds.route_name`).
        pub route_name: Option<String>,
    }
}

choice! {
    /// The format's version.
    pub enum Version {
        /// The only one.
        One = "1",
    }

    /// A table of what carries PHI.
    pub enum Preset {
        /// The search parameters and path ids of FHIR R4 that carry PHI, generated from HL7's definitions.
        FhirR4 = "fhir-r4",
    }

    /// What becomes of PHI in a URL.
    pub enum Action {
        /// The request is refused with 400.
        Reject = "reject",
        /// It is removed. Dropping a search parameter widens the search.
        Strip = "strip",
        /// It becomes `***`.
        Mask = "mask",
        /// It becomes a keyed pseudonym.
        Tokenize = "tokenize",
        /// The upstream gets it as it came; it is counted, and the log-safe path masks it.
        Observe = "observe",
    }

    /// What becomes of a query parameter of a given name.
    pub enum QueryAction {
        /// The request is refused with 400.
        Reject = "reject",
        /// It is removed. Dropping a search parameter widens the search.
        Strip = "strip",
        /// Its value becomes `***`.
        Mask = "mask",
        /// Its value becomes a keyed pseudonym.
        Tokenize = "tokenize",
        /// The upstream gets it as it came; it is counted, and the log-safe path masks it.
        Observe = "observe",
        /// It is declared free of PHI; recognisers still look at it.
        Pass = "pass",
    }

    /// A recogniser.
    pub enum Detector {
        /// US social security numbers: with dashes, spaces, dots or as nine bare digits.
        Ssn = "ssn",
        /// Email addresses.
        Email = "email",
        /// Phone numbers in the usual US spellings.
        Phone = "phone",
        /// Medical record numbers that are labelled as such.
        Mrn = "mrn",
    }

    /// What the responses of a route carry.
    pub enum Class {
        /// PHI: Cache-Control becomes `no-store, private` and whatever could override it goes.
        Phi = "phi",
        /// Something of the caller's: no shared cache may store it.
        Authenticated = "authenticated",
        /// Anybody's: what the upstream says stands, and is never weakened.
        Public = "public",
    }

    /// How a value is made coarser.
    pub enum Transform {
        /// A date's year.
        Year = "year",
        /// The last four characters.
        Last4 = "last4",
        /// `***`.
        Mask = "mask",
        /// A keyed pseudonym, the same as in URLs.
        Tokenize = "tokenize",
        /// JSON's null.
        Null = "null",
    }
}

one_of! {
    /// Where a secret comes from. It is never inline, neither here nor in what is rendered.
    pub enum KeySource {
        /// An environment variable of the VM; at least 32 bytes, in base64.
        Env(String) = "env",
        /// A file beside the policy file, for local runs; at least 32 bytes, in base64.
        File(String) = "file",
    }

    /// Where an issuer's public keys come from.
    pub enum KeySetSource {
        /// A file beside the policy file; `scrim render` makes it inline.
        File(String) = "file",
        /// The JSON Web Key Set itself (RFC 7517 5).
        Inline(Verbatim) = "inline",
        /// Fetched through a cluster of the proxy.
        Remote(RemoteKeySet) = "remote",
        /// Found by OpenID Connect Discovery at `<issuer>/.well-known/openid-configuration`, fetched through a cluster of the proxy.
        Discovery(DiscoveredKeySet) = "discovery",
    }
}

/// A tree of needed scopes: a scope, or a mapping with one of `any_of`, `all_of`, `none_of` to a list of such trees.
#[derive(Clone, Debug)]
pub enum Need {
    /// This scope.
    Scope(At<String>),
    /// At least one.
    AnyOf(At<Vec<Need>>),
    /// Every one.
    AllOf(At<Vec<Need>>),
    /// Not one.
    NoneOf(At<Vec<Need>>),
}

impl Decode for Need {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        const KEYS: [&str; 3] = ["any_of", "all_of", "none_of"];
        if let Value::String(scope) = &node.value {
            return Some(Need::Scope(At {
                value: scope.clone(),
                span: node.span,
            }));
        }
        let members = members(node, "a scope requirement that is not a single scope", problems)?;
        let [(key, value)] = members.as_slice() else {
            problems.error(
                node.span,
                "exactly one of `any_of`, `all_of`, `none_of` stands here; nest them to combine",
            );
            return None;
        };
        let make = match key.name.as_str() {
            "any_of" => Need::AnyOf,
            "all_of" => Need::AllOf,
            "none_of" => Need::NoneOf,
            other => {
                problems.error(key.span, format!("unknown key `{other}`{}", suggestion(other, KEYS)));
                return None;
            }
        };
        let list = At::<Vec<Need>>::decode(value, problems)?;
        if list.value.is_empty() {
            problems.error(
                value.span,
                format!("`{}` of nothing, name at least one scope", key.name),
            );
            return None;
        }
        Some(make(list))
    }

    fn schema(definitions: &mut JsonMap<String, Json>) -> Json {
        if !definitions.contains_key("Need") {
            let list = json!({"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/Need"}});
            let way = |key: &str, text: &str| {
                let mut list = list.clone();
                if let Some(object) = list.as_object_mut() {
                    object.insert("description".into(), text.into());
                }
                json!({"type": "object", "properties": {key: list}, "required": [key], "additionalProperties": false})
            };
            let schema = json!({
                "description": "A tree of needed scopes; SMART v1 and v2 spellings mean the same.",
                "oneOf": [
                    {"type": "string", "description": "This scope."},
                    way("any_of", "At least one."), way("all_of", "Every one."), way("none_of", "Not one."),
                ],
            });
            definitions.insert("Need".into(), schema);
        }
        json!({"$ref": "#/$defs/Need"})
    }
}
