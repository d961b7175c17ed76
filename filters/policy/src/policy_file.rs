//! The policy file's shape: what may stand in it, before anything is cross-checked or compiled.
//!
//! The types follow the file key by key; [`crate::compile`] turns them into what runs. One document serves every module: it
//! arrives as JSON in the plugin configuration, with file references already made inline by the command line.

use serde_json::{Map as JsonMap, Value as Json, json};

use crate::document::{
    At, Decode, Named, Node, Problems, Seconds, Span, Value, Verbatim, choice, members, one_of, record, suggestion,
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
        /// What the roles of tokens mean here, by name.
        pub roles: Named<Role>,
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
        /// Keys that were `pseudonyms` before: pseudonyms made with them are known for what they are, new ones never are.
        pub old_pseudonyms: Option<Vec<At<KeySource>>>,
        /// The key that seals values in URLs that go out and opens them when they come back (AES-SIV, RFC 5297).
        pub sealing: Option<At<KeySource>>,
        /// Keys that were `sealing` before: what was sealed with them still opens.
        pub old_sealing: Option<Vec<At<KeySource>>>,
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
        /// The signature algorithms allowed (RFC 7518 3.1): `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384`, `EdDSA`; or with a `secret`
        /// `HS256`, `HS384`, `HS512`.
        pub algorithms: At<Vec<At<String>>>,
        /// The issuer's public keys. Exactly one of `jwks` and `secret` stands.
        pub jwks: Option<At<KeySetSource>>,
        /// A secret that is shared with the issuer, in place of `jwks`, for HMAC alone: at least as many bytes as the hash (RFC 7518 3.2), in base64.
        pub secret: Option<At<KeySource>>,
        /// How far clocks may differ when `exp` and `nbf` are checked. Absent: 0s.
        pub leeway: Option<Seconds>,
        /// The most that may lie between `iat` and `exp`; a token without `iat` is then refused. Absent: no bound.
        pub max_lifetime: Option<Seconds>,
        /// What `typ` a token must have. Absent: any that an access token may have.
        pub token_type: Option<TokenType>,
        /// Where the issuer writes what this policy file asks of its tokens.
        pub claims: Option<Claims>,
    }

    /// Where an issuer writes what this policy file asks of its tokens. A string is the exact name of one claim, a list the way through nested objects.
    pub struct Claims {
        /// Scopes: a space-separated string or a list. Absent: `scope` and `scp` together.
        pub scopes: Option<ClaimPath>,
        /// Roles: a string or a list. Absent: `roles` (RFC 9068 2.2.3.1).
        pub roles: Option<ClaimPath>,
        /// Purposes of use: a string, an object with `code`, or a list of such. Absent: `extensions`, `ihe_iua`, `purpose_of_use` (IHE IUA 3.71).
        pub purpose: Option<ClaimPath>,
        /// The id of the patient in context: a string. Absent: `patient` (SMART App Launch).
        pub patient: Option<ClaimPath>,
    }

    /// What a role means here.
    pub struct Role {
        /// How tokens write the role. Absent: by its name here.
        pub values: Option<At<Vec<At<String>>>>,
        /// What the role permits, for `{permission: ..}` in requirements.
        pub permissions: Option<Vec<At<String>>>,
    }

    /// A key set that is fetched through a cluster of the proxy.
    pub struct RemoteKeySet {
        /// The cluster.
        pub cluster: At<String>,
        /// The key set's URL.
        pub url: At<String>,
        /// How often it is fetched. Absent: 10m.
        pub refresh: Option<At<Seconds>>,
        /// How old a copy may be used while fetching fails; after that the issuer's tokens are refused. Absent: 1h, or `refresh` where that is more.
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
        /// How old a copy may be used while fetching fails; after that the issuer's tokens are refused. Absent: 1h, or `refresh` where that is more.
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
        /// What the token must grant.
        pub require: Need,
        /// Whether decisions count. Absent: enforce.
        pub mode: Option<At<Mode>>,
        /// How `{smart: auto}` reads requests.
        pub smart: Option<At<Smart>>,
        /// Lets some callers past `require` in an emergency, marked and recorded.
        pub break_glass: Option<At<BreakGlass>>,
        /// Claims that the upstream gets as headers, by header name. What a client sends under such a name is removed, on every route.
        pub identity: Named<ClaimPath>,
        /// How the token is bound to the one who sends it.
        pub sender: Option<At<Sender>>,
        /// The URL of the protected resource metadata (RFC 9728), for `WWW-Authenticate`.
        pub resource_metadata: Option<At<String>>,
        /// Which web pages may call, and the answer to their preflights. Absent: a preflight is a request like any other.
        pub cors: Option<At<Cors>>,
    }

    /// How `{smart: auto}` reads requests.
    pub struct Smart {
        /// Where the FHIR service begins. Absent: before the first part of the path from which on all of it is FHIR's.
        pub base: Option<At<String>>,
        /// Which contexts' scopes count. Absent: all.
        pub contexts: Option<At<Vec<ScopeContext>>>,
        /// What becomes of a patient's reading and changing by id, and of includes, where the URL does not show whose a resource is. Absent: deny, after the response was
        /// looked at where that can show it.
        pub unproven: Option<At<Unproven>>,
    }

    /// Lets some callers past `require` in an emergency, marked and recorded. Signature, issuer, audience and times hold all the same.
    pub struct BreakGlass {
        /// The header by which the client asks, with a code as its value. The upstream gets it only where it was granted.
        pub header: At<String>,
        /// The codes that count.
        pub reasons: At<Vec<At<String>>>,
        /// The roles that may; the token must have one.
        pub roles: At<Vec<At<String>>>,
        /// The purposes of use that may; the token must have one. Absent: ETREAT and BTG (HL7 v3 PurposeOfUse).
        pub purposes: Option<At<Vec<At<String>>>>,
        /// The most that may lie between `iat` and now. Absent: 5m.
        pub max_age: Option<Seconds>,
        /// How often one subject may within an hour, for each worker of the proxy. Absent: 10.
        pub per_hour: Option<u64>,
    }

    /// How the token is bound to the one who sends it.
    pub struct Sender {
        /// Whether tokens must be bound to a client certificate (RFC 8705). Absent: only those that say so are.
        pub certificate: Option<SenderBinding>,
        /// Whether tokens must be bound to a key whose holder proves each request (DPoP, RFC 9449). Absent: such tokens are refused.
        pub dpop: Option<SenderBinding>,
        /// Scheme and host as clients write them, which proofs name. Absent: those of the request.
        pub origin: Option<At<String>>,
        /// The URI names (RFC 5280 4.2.1.6) of proxies whose `X-Forwarded-Client-Cert` counts, when they show it in their own certificate. Absent: none.
        pub trusted_hops: Option<At<Vec<At<String>>>>,
    }

    /// Which web pages may call, and the answer to their preflights.
    pub struct Cors {
        /// The origins, exactly.
        pub origins: At<Vec<At<String>>>,
        /// The methods. Absent: GET, HEAD, POST.
        pub methods: Option<At<Vec<At<String>>>>,
        /// The request headers. Absent: accept, authorization, content-type.
        pub headers: Option<At<Vec<At<String>>>>,
        /// How long browsers may remember the answer. Absent: 10m.
        pub max_age: Option<Seconds>,
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
        /// What becomes of single path segments, whatever the table says, by how the path begins: of those that the template names in braces, as in
        /// `/members/{id}/claims`; `*` stands for any one segment. Of several that fit the longest counts, and of these the one with the most literal segments.
        pub path: Named<At<QueryAction>>,
        /// Recognisers over what remains of path and query.
        pub detect: Option<Vec<Detect>>,
        /// What becomes of what they find. Absent: reject.
        pub on_detect: Option<At<Action>>,
        /// What becomes of whole request headers, by name.
        pub headers: Named<At<QueryAction>>,
        /// What becomes of PHI in search forms (`POST _search`) and in the URLs of batch entries. Absent: pass.
        pub on_body: Option<At<QueryAction>>,
        /// What becomes of PHI in URLs of the response. Absent: what becomes of it in requests; `seal` where that is reject or strip, and `mask` where there is no key
        /// for it.
        pub on_response: Option<At<ResponseAction>>,
        /// The parameters that filter nothing, so that `strip` does not widen a search; `*` for all of them.
        pub strip_safe: Option<Vec<At<String>>>,
    }

    /// A recogniser with a pattern or an action of its own.
    pub struct DetectRule {
        /// A recogniser's name, or one of your own.
        pub name: At<String>,
        /// A regular expression over decoded text; it takes time linear in the text. With the name of a recogniser, another spelling that it knows.
        pub pattern: Option<At<String>>,
        /// What becomes of what it finds. Absent: `on_detect`.
        pub action: Option<At<Action>>,
        /// Parameters by base name, and path segments, whose values (the segment after) are let alone; logs hide what is found there all the same.
        pub except: Option<Vec<At<String>>>,
    }

    /// No PHI in shared caches.
    pub struct CacheControl {
        /// What the responses carry.
        pub class: Class,
        /// Adds Strict-Transport-Security (RFC 6797) to responses.
        pub hsts: Option<At<Hsts>>,
        /// Adds `X-Content-Type-Options: nosniff` to responses. Absent: no.
        pub nosniff: Option<bool>,
        /// Adds Referrer-Policy to responses.
        pub referrer_policy: Option<At<ReferrerPolicy>>,
        /// Adds Clear-Site-Data to responses of 2xx and 3xx, for the route that logs out.
        pub clear_site_data: Option<At<Vec<At<SiteData>>>>,
        /// What the connection must be. What came over less is denied.
        pub tls: Option<At<TlsDemand>>,
    }

    /// What the connection must be.
    pub struct TlsDemand {
        /// The oldest version of TLS. Absent: any, and none at all.
        pub min_version: Option<TlsVersion>,
        /// Whether the client must present a certificate. Absent: no.
        pub client_certificate: Option<ClientCertificate>,
    }

    /// Strict-Transport-Security.
    pub struct Hsts {
        /// How long browsers remember it.
        pub max_age: Seconds,
        /// Whether it holds for subdomains too. Absent: no.
        pub include_subdomains: Option<bool>,
        /// Whether browsers' makers may build it in (hstspreload.org). Absent: no.
        pub preload: Option<bool>,
    }

    /// Only the fields the caller may see.
    pub struct ResponseTrim {
        /// The first view whose `when` holds, and whose `status` and `content_type` fit, is applied; none holds: the body is refused.
        pub views: At<Vec<At<View>>>,
        /// Whether bodies are trimmed. Absent: enforce.
        pub mode: Option<At<TrimMode>>,
        /// What becomes of the bodies of errors (4xx, 5xx). Absent: trim.
        pub errors: Option<ErrorBodies>,
        /// What becomes of event streams (`text/event-stream`). Absent: refuse.
        pub event_stream: Option<EventStream>,
        /// How much a compressed body may become.
        pub decode: Option<At<Decoding>>,
        /// What becomes of a PUT of what the caller would read trimmed. Absent: refuse.
        pub write_back: Option<WriteBack>,
    }

    /// How much a compressed body may become.
    pub struct Decoding {
        /// The most bytes, decoded. Absent: 1073741824 (1 GiB).
        pub max_size: Option<At<u64>>,
        /// The most decoded bytes for each byte that came, beyond the first 64 KiB. Absent: 200.
        pub max_ratio: Option<At<u64>>,
    }

    /// What callers of some kind see.
    pub struct View {
        /// What the token must grant. Absent: the view always applies.
        pub when: Option<Need>,
        /// The statuses of the response: `200`, or a class as `4xx`. Absent: all.
        pub status: Option<Vec<At<Word>>>,
        /// The media types of the response, without parameters: `application/fhir+json`, or `application/*`. Absent: all, and none.
        pub content_type: Option<Vec<At<String>>>,
        /// What goes.
        pub deny: Option<Vec<At<String>>>,
        /// What alone stays, with the way to it.
        pub allow: Option<Vec<At<String>>>,
        /// What is made coarser, by selector.
        pub transform: Named<At<Transform>>,
        /// Rules by FHIR resource type. What they or the lists above remove goes.
        pub fhir: Option<At<Fhir>>,
    }

    /// What callers of some kind see of FHIR resources, wherever they stand: alone, in a Bundle, in Parameters, contained.
    pub struct Fhir {
        /// Rules to start from.
        pub profile: Option<At<Profile>>,
        /// Rules by resource type.
        pub types: Named<ResourceRules>,
        /// Rules for every resource, besides its type's.
        pub all: Option<ResourceRules>,
        /// What becomes of resources of types that are not listed. Absent: keep, or as the profile has it.
        pub others: Option<Others>,
        /// Groups of elements that go, on every resource.
        pub remove: Option<Vec<Group>>,
        /// Whether resources are marked as trimmed, by `REDACTED` in `meta.security`. Absent: yes.
        pub tag: Option<bool>,
        /// Mandatory and modifier elements, as `Observation.status`, that go all the same.
        pub careless as "unsafe": Option<Vec<At<String>>>,
    }

    /// What is shown of a resource: elements by their names, from the resource on, as `name.family`. Arrays need no mention, and `_birthDate` follows `birthDate`.
    pub struct ResourceRules {
        /// What goes.
        pub deny: Option<Vec<At<String>>>,
        /// What alone stays, with the way to it.
        pub allow: Option<Vec<At<String>>>,
        /// What is made coarser, by element.
        pub transform: Named<At<Transform>>,
    }

    /// What a claim of the token says.
    pub struct ClaimNeed {
        /// The claim's exact name, or the way through nested objects.
        pub name: ClaimPath,
        /// The values: the claim is one of them, or a list that holds one. Numbers and booleans are compared as they are written.
        pub is: At<Vec<Word>>,
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

    /// What `typ` a token must have.
    pub enum TokenType {
        /// `at+jwt` (RFC 9068 2.1).
        AtJwt = "at+jwt",
        /// `at+jwt`, `JWT` or none.
        Any = "any",
    }

    /// Whether decisions count.
    pub enum Mode {
        /// They do.
        Enforce = "enforce",
        /// They are made, recorded and counted, and the request passes all the same.
        Shadow = "shadow",
        /// None is made.
        Off = "off",
    }

    /// Whose access a SMART scope is about.
    pub enum ScopeContext {
        /// The patient in context.
        Patient = "patient",
        /// What the user may.
        User = "user",
        /// A system of its own.
        System = "system",
    }

    /// What becomes of ids that don't show whose a resource is.
    pub enum Unproven {
        /// The response shows it, or it is denied.
        Deny = "deny",
        /// It passes, and the response unseen: the upstream vouches for it. All else is judged as ever.
        Upstream = "upstream",
    }

    /// Whether tokens must be bound.
    pub enum SenderBinding {
        /// They must.
        Required = "required",
        /// Those that say so are held to it.
        IfBound = "if_bound",
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
        /// It is made coarser: a date its year, a ZIP code its first three digits; refused where it is neither.
        Generalize = "generalize",
        /// It passes only sealed: what comes is opened, what goes out in URLs is sealed, what comes in the clear is refused with 400.
        Seal = "seal",
        /// The upstream gets it as it came; it is counted, and the log-safe path masks it.
        Observe = "observe",
    }

    /// What becomes of a query parameter, path segment or header of a given name.
    pub enum QueryAction {
        /// The request is refused with 400.
        Reject = "reject",
        /// It is removed. Dropping a search parameter widens the search.
        Strip = "strip",
        /// Its value becomes `***`.
        Mask = "mask",
        /// Its value becomes a keyed pseudonym.
        Tokenize = "tokenize",
        /// It is made coarser: a date its year, a ZIP code its first three digits; refused where it is neither.
        Generalize = "generalize",
        /// It passes only sealed: what comes is opened, what goes out in URLs is sealed, what comes in the clear is refused with 400.
        Seal = "seal",
        /// The upstream gets it as it came; it is counted, and the log-safe path masks it.
        Observe = "observe",
        /// It is declared free of PHI; recognisers still look at it.
        Pass = "pass",
    }

    /// What becomes of PHI in a URL of the response.
    pub enum ResponseAction {
        /// It becomes `***`.
        Mask = "mask",
        /// It is made coarser: a date its year, a ZIP code its first three digits; masked where it is neither.
        Generalize = "generalize",
        /// It becomes a keyed pseudonym.
        Tokenize = "tokenize",
        /// It is sealed, and opened when the client sends it back; masked where it leads to another host.
        Seal = "seal",
        /// It stays.
        Observe = "observe",
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
        /// National provider identifiers (45 CFR 162.406).
        Npi = "npi",
        /// DEA registration numbers.
        Dea = "dea",
        /// Medicare beneficiary identifiers.
        Mbi = "mbi",
        /// Dates of birth: dates that are labelled as such.
        BirthDate = "birth-date",
        /// IP addresses.
        Ip = "ip",
        /// MAC addresses.
        Mac = "mac",
        /// Account numbers: labelled ones, IBANs and payment cards.
        Account = "account",
        /// Licence plates that are labelled as such.
        Plate = "plate",
        /// Vehicle identification numbers (49 CFR 565).
        Vin = "vin",
        /// URLs of persons: web addresses within a value.
        Url = "url",
        /// Geographic units below state: street addresses, and labelled ZIP codes and places.
        Geo = "geo",
        /// All of them: what of the identifiers of 45 CFR 164.514(b)(2) can be recognised.
        SafeHarbor = "safe-harbor",
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

    /// What browsers tell other servers of the page that a request comes from (W3C Referrer Policy 3).
    pub enum ReferrerPolicy {
        /// Nothing.
        NoReferrer = "no-referrer",
        /// The whole URL, but not from https to http.
        NoReferrerWhenDowngrade = "no-referrer-when-downgrade",
        /// The whole URL to the same origin, nothing to others.
        SameOrigin = "same-origin",
        /// The origin.
        Origin = "origin",
        /// The origin, but not from https to http.
        StrictOrigin = "strict-origin",
        /// The whole URL to the same origin, the origin to others.
        OriginWhenCrossOrigin = "origin-when-cross-origin",
        /// The whole URL to the same origin, the origin to others, but not from https to http.
        StrictOriginWhenCrossOrigin = "strict-origin-when-cross-origin",
        /// The whole URL.
        UnsafeUrl = "unsafe-url",
    }

    /// What a browser throws away (W3C Clear Site Data 3.1).
    pub enum SiteData {
        /// What it has stored of responses.
        Cache = "cache",
        /// Cookies, those of the whole registrable domain.
        Cookies = "cookies",
        /// DOM storage, databases and service workers.
        Storage = "storage",
        /// Open pages, which are loaded anew.
        ExecutionContexts = "executionContexts",
        /// All of it, and what is yet to come.
        All = "*",
    }

    /// A version of TLS.
    pub enum TlsVersion {
        /// TLS 1.2 (RFC 5246).
        V12 = "TLSv1.2",
        /// TLS 1.3 (RFC 8446).
        V13 = "TLSv1.3",
    }

    /// Whether a client must present a certificate.
    pub enum ClientCertificate {
        /// It must.
        Required = "required",
    }

    /// Whether bodies are trimmed.
    pub enum TrimMode {
        /// They are.
        Enforce = "enforce",
        /// Nothing is changed or refused; fields are counted by their names, in metrics and the audit record.
        Observe = "observe",
    }

    /// What becomes of the bodies of errors.
    pub enum ErrorBodies {
        /// They are trimmed as others are, and replaced where they can't be.
        Trim = "trim",
        /// They are replaced.
        Replace = "replace",
    }

    /// What becomes of event streams.
    pub enum EventStream {
        /// They can't be inspected.
        Refuse = "refuse",
        /// The data of each event, which must be JSON, is trimmed.
        Trim = "trim",
    }

    /// What becomes of a PUT of what the caller would read trimmed.
    pub enum WriteBack {
        /// It would delete what was left out, so it is answered with 409.
        Refuse = "refuse",
        /// As `refuse`, but what only creates (`If-None-Match: *`) passes. The upstream must honour that.
        Create = "create",
        /// It passes.
        Allow = "allow",
    }

    /// Rules to start from.
    pub enum Profile {
        /// Who a person is and how to reach them; nothing clinical.
        Demographics = "demographics",
        /// The 18 identifiers of 45 CFR 164.514(b)(2)(i) are removed or made coarser.
        SafeHarbor = "safe-harbor",
        /// The 16 direct identifiers of 45 CFR 164.514(e)(2) are removed.
        LimitedDataSet = "limited-data-set",
        /// All but narrative, attachments and free text.
        ClinicalNoNarrative = "clinical-no-narrative",
    }

    /// What becomes of resources of types that are not listed.
    pub enum Others {
        /// They stay, as `all` and `remove` leave them.
        Keep = "keep",
        /// They go; Bundle, Parameters and OperationOutcome stay.
        Remove = "remove",
    }

    /// Elements that belong together, on every resource.
    pub enum Group {
        /// `text`, the human-readable summary.
        Narrative = "narrative",
        /// `display` of references.
        ReferenceDisplay = "reference_display",
        /// What attachments and Binary hold.
        Attachments = "attachments",
        /// `extension`, and with it what stands in `_name` beside a primitive; not `modifierExtension`.
        Extensions = "extensions",
    }

    /// How a value is made coarser.
    pub enum Transform {
        /// A date's year.
        Year = "year",
        /// A date's year, unless it tells an age of 90 or more (45 CFR 164.514(b)(2)(i)(C)); then `***`.
        BirthYear = "birth-year",
        /// A date's year and month.
        YearMonth = "year-month",
        /// A ZIP code's first three digits, or `000` where fewer than 20,000 people live (45 CFR 164.514(b)(2)(i)(B)).
        Zip3 = "zip3",
        /// A number without its fraction, rounded half away from zero.
        Round = "round",
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

/// A recogniser by name, or with a pattern or an action of its own.
#[derive(Clone, Debug)]
pub enum Detect {
    /// By name.
    Named(At<Detector>),
    /// With more to say.
    Rule(DetectRule),
}

impl Decode for Detect {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            Value::Mapping(_) => DetectRule::decode(node, problems).map(Detect::Rule),
            _ => At::<Detector>::decode(node, problems).map(Detect::Named),
        }
    }

    fn schema(definitions: &mut JsonMap<String, Json>) -> Json {
        json!({"oneOf": [Detector::schema(definitions), DetectRule::schema(definitions)]})
    }
}

/// A tree of what a token must grant: a scope, a mapping with one of `any_of`, `all_of`, `none_of` to a list of such trees, or with one of `smart`, `role`,
/// `permission`, `purpose`, `break_glass`.
#[derive(Clone, Debug)]
pub enum Need {
    /// This scope.
    Scope(At<String>),
    /// The SMART scopes for what the request does.
    Smart(Span),
    /// This role.
    Role(At<String>),
    /// A role that permits this.
    Permission(At<String>),
    /// This purpose of use.
    Purpose(At<String>),
    /// Whether the glass was broken.
    BreakGlass(At<bool>),
    /// What a claim says.
    Claim(At<ClaimNeed>),
    /// At least one.
    AnyOf(At<Vec<Need>>),
    /// Every one.
    AllOf(At<Vec<Need>>),
    /// Not one.
    NoneOf(At<Vec<Need>>),
}

impl Decode for Need {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        const KEYS: [&str; 9] = [
            "any_of",
            "all_of",
            "none_of",
            "smart",
            "role",
            "permission",
            "purpose",
            "break_glass",
            "claim",
        ];
        if let Value::String(scope) = &node.value {
            return Some(Need::Scope(At {
                value: scope.clone(),
                span: node.span,
            }));
        }
        let members = members(node, "a requirement that is not a single scope", problems)?;
        let [(key, value)] = members.as_slice() else {
            problems.error(
                node.span,
                format!(
                    "exactly one of `{}` stands here; nest them to combine",
                    KEYS.join("`, `")
                ),
            );
            return None;
        };
        let make = match key.name.as_str() {
            "any_of" => Need::AnyOf,
            "all_of" => Need::AllOf,
            "none_of" => Need::NoneOf,
            "smart" => {
                return match &value.value {
                    Value::String(word) if word == "auto" => Some(Need::Smart(key.span)),
                    _ => {
                        problems.error(value.span, "`smart` takes `auto`; name single scopes as they are");
                        None
                    }
                };
            }
            "role" => return At::<String>::decode(value, problems).map(Need::Role),
            "permission" => return At::<String>::decode(value, problems).map(Need::Permission),
            "purpose" => return At::<String>::decode(value, problems).map(Need::Purpose),
            "break_glass" => return At::<bool>::decode(value, problems).map(Need::BreakGlass),
            "claim" => return At::<ClaimNeed>::decode(value, problems).map(Need::Claim),
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
            let way = |key: &str, text: &str, mut value: Json| {
                if let Some(object) = value.as_object_mut() {
                    object.insert("description".into(), text.into());
                }
                json!({"type": "object", "properties": {key: value}, "required": [key], "additionalProperties": false})
            };
            let list = || json!({"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/Need"}});
            let text = || json!({"type": "string"});
            let claim = ClaimNeed::schema(definitions);
            let schema = json!({
                "description": "A tree of what a token must grant; SMART v1 and v2 spellings mean the same.",
                "oneOf": [
                    {"type": "string", "description": "This scope."},
                    way("any_of", "At least one.", list()),
                    way("all_of", "Every one.", list()),
                    way("none_of", "Not one.", list()),
                    way("smart", "The SMART scopes for what the request does.", json!({"const": "auto"})),
                    way("role", "This role.", text()),
                    way("permission", "A role that permits this.", text()),
                    way("purpose", "This purpose of use.", text()),
                    way("break_glass", "Whether the glass was broken.", json!({"type": "boolean"})),
                    way("claim", "What a claim of the token says.", claim),
                ],
            });
            definitions.insert("Need".into(), schema);
        }
        json!({"$ref": "#/$defs/Need"})
    }
}

/// Where a claim stands: its exact name, or the way through nested objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath(pub Vec<String>);

/// A string, or a number or boolean as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word(pub String);

impl Decode for Word {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            Value::String(text) | Value::Number(text) => Some(Word(text.clone())),
            Value::Bool(value) => Some(Word(value.to_string())),
            other => {
                problems.error(node.span, format!("not a single value but {}", other.kind()));
                None
            }
        }
    }

    fn schema(_: &mut JsonMap<String, Json>) -> Json {
        json!({"type": ["string", "number", "boolean"]})
    }
}

impl Decode for ClaimPath {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let names = match &node.value {
            Value::String(name) => vec![name.clone()],
            Value::Sequence(_) => Vec::<String>::decode(node, problems)?,
            _ => {
                problems.error(node.span, "a claim's name or a list of names stands here");
                return None;
            }
        };
        if names.is_empty() || names.iter().any(String::is_empty) {
            problems.error(node.span, "an empty name is no claim");
            return None;
        }
        Some(ClaimPath(names))
    }

    fn schema(_: &mut JsonMap<String, Json>) -> Json {
        json!({"oneOf": [{"type": "string", "minLength": 1}, {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}}]})
    }
}
