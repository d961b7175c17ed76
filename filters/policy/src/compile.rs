//! From the policy file to what runs: cross-checks, compiles, and tells every problem with its place.
//!
//! 1. Compilation is pure: secrets come through a function that the caller gives, files are already inline.
//! 2. The same code runs in `scrim check`, in every other command and in the guests, so what passes there configures here.
//! 3. Nothing is accepted and then ignored: a key that has no effect is an error, a name that nobody uses a warning.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::cache_control::CacheControl;
use crate::chain::{OAUTH_SCOPE, RESPONSE_TRIM};
use crate::document::{At, Decode as _, Named, Node, Problems, Seconds, Span, suggestion};
use crate::oauth_scope::{Mode, OauthScope, Reserved};
use crate::phi::{self, PhiPolicy};
use crate::policy_file::{self, DiscoveredKeySet, KeySetSource, KeySource, PolicyFile, RemoteKeySet};
use crate::pseudonym::{MIN_KEY_BYTES, Pseudonymiser};
use crate::response_trim::{ResponseTrim, Slots};
use crate::route::RouteTable;
use crate::scope::{Fact, Need, Requirement};
use crate::seal::Sealer;
use crate::token::remote::{self, Address, Finding, Origin, Source, Spec};
use crate::token::{Algorithm, Asked, ClaimPaths, Issuer, KeySet, Keys, TokenPolicy};
use crate::trim::Program;

mod oauth;
mod phi_url;
mod response_trim;

/// A compiled policy file.
pub struct Compiled {
    pub(crate) digest: Rc<str>,
    pub(crate) routes: RouteTable,
    pub(crate) policies: Vec<Policy>,
    pub(crate) tokens: TokenPolicy,
    pub(crate) aliases: Vec<Rc<str>>,
    pub(crate) pseudonyms: Option<Arc<Pseudonymiser>>,
    pub(crate) headers_may_wait: bool,
    /// Headers that only the filter may send on.
    pub(crate) reserved: Reserved,
    /// How many bodies may still be decoded at a time.
    pub(crate) slots: Slots,
}

/// A compiled policy.
pub struct Policy {
    pub(crate) name: Rc<str>,
    pub(crate) oauth_scope: Option<OauthScope>,
    pub(crate) phi_url: Option<PhiPolicy>,
    pub(crate) cache_control: Option<CacheControl>,
    pub(crate) response_trim: Option<ResponseTrim>,
}

/// How secrets come: the value of an environment variable, as text.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads a document; what is wrong with it goes into `problems`.
pub fn decode(node: &Node, problems: &mut Problems) -> Option<PolicyFile> {
    PolicyFile::decode(node, problems)
}

impl Compiled {
    /// Decodes and compiles a document; `None` after at least one error.
    ///
    /// `FILTERS` are those whose code runs: key sets are compiled only for [`OAUTH_SCOPE`], whose verification is a large part of a module's size, and what views
    /// do only for [`RESPONSE_TRIM`].
    pub fn new<const FILTERS: u8>(node: &Node, environment: Environment<'_>, problems: &mut Problems) -> Option<Self> {
        let file = decode(node, problems)?;
        // Where something could not be read, what seems to be missing may stand there.
        let whole = !problems.has_errors();
        let (pseudonyms, sealer) = keys(file.keys.as_ref(), environment, problems);
        let issuers = match FILTERS & OAUTH_SCOPE {
            0 => Some(Vec::new()),
            _ => issuers(&file.issuers, environment, whole, problems),
        };
        let names: Vec<String> = file.policies.names().map(str::to_owned).collect();
        for (name, _) in &file.policies.entries {
            if ["allow", "deny"].contains(&name.value.as_str()) {
                problems.error(
                    name.span,
                    format!("`{}` is a word of `default`, name the policy otherwise", name.value),
                );
            }
        }
        let entries = file.routes.as_deref().unwrap_or_default();
        let routes = RouteTable::compile(names, entries, file.default.as_ref(), problems);
        let mut asked = oauth::asked(&file);
        let mut policies = Vec::new();
        let compile: CompileProgram =
            |section: &mut Section<'_>, view: &At<policy_file::View>, urls: bool| section.program(view, urls);
        let programs = (FILTERS & RESPONSE_TRIM != 0).then_some(compile);
        for (name, entry) in &file.policies.entries {
            let section = Section {
                file: &file,
                pseudonyms: pseudonyms.as_ref(),
                sealer: sealer.as_ref(),
                whole,
                asked: &mut asked,
                programs,
                problems,
            };
            policies.push(section.policy(name, entry));
        }
        if whole {
            warn_of_unused(&file, problems);
        }
        if problems.has_errors() {
            return None;
        }
        // Each issuer was checked at its own place.
        let tokens = TokenPolicy::new(issuers?).ok()?.with_claims(asked);
        let policies = policies.into_iter().collect::<Option<Vec<_>>>()?;
        Some(Compiled {
            reserved: oauth::reserved(&policies),
            slots: Slots::default(),
            digest: digest(node),
            routes,
            policies,
            aliases: tokens
                .issuers()
                .iter()
                .map(|issuer| Rc::from(issuer.alias.as_str()))
                .collect(),
            tokens,
            pseudonyms,
            headers_may_wait: file.host.as_ref().and_then(|host| host.allow_on_headers_stop_iteration) == Some(true),
        })
    }

    /// The first 64 bits of SHA-256 over the document, in hexadecimal; `host` does not count.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The routes.
    pub fn routes(&self) -> &RouteTable {
        &self.routes
    }

    /// The key sets that the host must fetch.
    pub fn sources(&self) -> impl Iterator<Item = &Rc<Source>> {
        self.tokens.sources()
    }

    /// Shares key sets that are fetched already, so that a new policy has them at once; see [`TokenPolicy::share_sources`].
    pub fn share_sources(&mut self, shared: &dyn Fn(&Spec) -> Option<Rc<Source>>) {
        self.tokens.share_sources(shared);
    }

    /// The policy of that index.
    pub fn policy(&self, index: usize) -> Option<&Policy> {
        self.policies.get(index)
    }
}

impl Policy {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether what it governs is a FHIR service, as far as it says.
    pub(crate) fn reads_fhir(&self) -> bool {
        let smart = |oauth: &OauthScope| oauth.require.any(&|fact| *fact == Fact::Smart);
        self.oauth_scope.as_ref().is_some_and(smart)
            || self.response_trim.as_ref().is_some_and(|trim| trim.fhir)
            || self.phi_url.as_ref().is_some_and(PhiPolicy::knows_fhir)
    }

    /// Whether preflights are governed by the policy of what they announce.
    pub(crate) fn judges_preflights(&self) -> bool {
        self.oauth_scope
            .as_ref()
            .is_some_and(|oauth| oauth.cors.is_some() && oauth.mode != Mode::Off)
    }

    /// Whether it answers preflights, and tells browsers who may read its responses.
    pub(crate) fn answers_preflights(&self) -> bool {
        self.oauth_scope
            .as_ref()
            .is_some_and(|oauth| oauth.cors.is_some() && oauth.mode == Mode::Enforce)
    }

    /// What the `oauth_scope` section demands, in words, if there is one that does.
    pub fn demands(&self) -> Option<String> {
        let oauth = self.oauth_scope.as_ref()?;
        match oauth.mode {
            Mode::Enforce => Some(oauth.require.describe()),
            Mode::Shadow => Some(format!(
                "{} (in shadow: it passes all the same)",
                oauth.require.describe()
            )),
            Mode::Off => None,
        }
    }

    /// The `phi_url` section.
    pub fn phi_url(&self) -> Option<&PhiPolicy> {
        self.phi_url.as_ref()
    }

    /// The `cache_control` section.
    pub fn cache_control(&self) -> Option<&CacheControl> {
        self.cache_control.as_ref()
    }

    /// The `response_trim` section.
    pub fn response_trim(&self) -> Option<&ResponseTrim> {
        self.response_trim.as_ref()
    }
}

fn digest(node: &Node) -> Rc<str> {
    let mut json = node.to_json();
    if let Some(object) = json.as_object_mut() {
        object.remove("host");
    }
    let hash = Sha256::digest(json.to_string());
    hash.iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>()
        .into()
}

/// The keys of pseudonyms and of sealed values, with those that they were before.
fn keys(
    keys: Option<&policy_file::Keys>,
    environment: Environment<'_>,
    problems: &mut Problems,
) -> (Option<Arc<Pseudonymiser>>, Option<Arc<Sealer>>) {
    let Some(keys) = keys else {
        return (None, None);
    };
    for (current, old, name) in [
        (&keys.pseudonyms, &keys.old_pseudonyms, "pseudonyms"),
        (&keys.sealing, &keys.old_sealing, "sealing"),
    ] {
        if let (None, Some(old)) = (current, old.as_ref().and_then(|old| old.first())) {
            problems.error(old.span, format!("an old key without a current one, add `{name}`"));
        }
    }
    let mut pseudonyms = None;
    if let Some(source) = &keys.pseudonyms {
        pseudonyms = secret(source, environment, problems, Pseudonymiser::new);
        for source in keys.old_pseudonyms.iter().flatten() {
            let before = pseudonyms.take().or_else(|| Pseudonymiser::new(&[0; MIN_KEY_BYTES]));
            pseudonyms = secret(source, environment, problems, |bytes| before.clone()?.with_old(bytes));
        }
    }
    let mut sealer = None;
    if let Some(source) = &keys.sealing {
        sealer = secret(source, environment, problems, Sealer::new);
        for source in keys.old_sealing.iter().flatten() {
            let before = sealer.take().or_else(|| Sealer::new(&[0; MIN_KEY_BYTES]));
            sealer = secret(source, environment, problems, |bytes| before.clone()?.with_old(bytes));
        }
    }
    (pseudonyms.map(Arc::new), sealer.map(Arc::new))
}

/// Reads a secret and makes of its bytes what it is for; `None` from `make` where they are too few.
fn secret<T>(
    source: &At<KeySource>,
    environment: Environment<'_>,
    problems: &mut Problems,
    make: impl Fn(&[u8]) -> Option<T>,
) -> Option<T> {
    let name = match &source.value {
        KeySource::Env(name) => name,
        KeySource::File(_) => {
            problems.error(
                source.span,
                "a key file is for local runs and can't be read here; use `env` and set it in the VM's environment",
            );
            return None;
        }
    };
    let Some(text) = environment(name) else {
        problems.error(
            source.span,
            format!(
                "environment variable `{name}` is not set; set it to {MIN_KEY_BYTES} random bytes or more, in base64"
            ),
        );
        return None;
    };
    let text = text.trim();
    let engines = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD];
    let made = engines
        .iter()
        .find_map(|engine| engine.decode(text).ok())
        .and_then(|bytes| make(&bytes));
    if made.is_none() {
        problems.error(
            source.span,
            format!("`{name}` holds no key; it must be {MIN_KEY_BYTES} bytes or more, in base64"),
        );
    }
    made
}

fn issuers(
    named: &Named<policy_file::Issuer>,
    environment: Environment<'_>,
    whole: bool,
    problems: &mut Problems,
) -> Option<Vec<Issuer>> {
    let mut seen = BTreeSet::new();
    let mut list = Vec::new();
    for (alias, issuer) in &named.entries {
        if !seen.insert(issuer.issuer.value.as_str()) {
            problems.error(
                issuer.issuer.span,
                format!(
                    "`{}` stands in two issuers, so the key set would be ambiguous; join them",
                    issuer.issuer.value
                ),
            );
        }
        let mut algorithms = Vec::new();
        for name in &issuer.algorithms.value {
            match Algorithm::parse(&name.value) {
                Ok(algorithm) => algorithms.push(algorithm),
                Err(why) => problems.error(name.span, why.to_string()),
            }
        }
        let keys = match (&issuer.jwks, &issuer.secret) {
            (Some(jwks), None) => key_set(jwks, &issuer.issuer, &algorithms, problems),
            (None, Some(source)) => {
                secret(source, environment, problems, |bytes| KeySet::secret(bytes).ok()).map(Keys::from)
            }
            (Some(_), Some(source)) => {
                problems.error(
                    source.span,
                    "a secret never goes with public keys (RFC 8725 3.1), leave out `jwks` or `secret`",
                );
                None
            }
            (None, None) => {
                if whole {
                    problems.error(
                        alias.span,
                        "`jwks` is missing, add the issuer's public keys; or `secret`, where it signs with HS256, HS384 or HS512",
                    );
                }
                None
            }
        };
        if let Some(keys) = keys {
            let made = Issuer {
                alias: alias.value.clone(),
                issuer: issuer.issuer.value.clone(),
                audiences: issuer
                    .audiences
                    .value
                    .iter()
                    .map(|audience| audience.value.clone())
                    .collect(),
                algorithms,
                keys,
                leeway: issuer.leeway.map_or(0, |leeway| leeway.0),
                max_lifetime: issuer.max_lifetime.map(|lifetime| lifetime.0),
                only_at_jwt: issuer.token_type == Some(policy_file::TokenType::AtJwt),
                claims: oauth::claims(issuer.claims.as_ref()),
            };
            match TokenPolicy::new(vec![made.clone()]) {
                Ok(_) => list.push(made),
                Err(why) => problems.error(alias.span, why),
            }
        }
    }
    (list.len() == named.entries.len()).then_some(list)
}

fn key_set(
    jwks: &At<KeySetSource>,
    issuer: &At<String>,
    algorithms: &[Algorithm],
    problems: &mut Problems,
) -> Option<Keys> {
    match &jwks.value {
        KeySetSource::Inline(json) => match KeySet::parse(json.0.to_string().as_bytes()) {
            Ok(keys) => Some(keys.into()),
            Err(why) => {
                problems.error(jwks.span, why.to_string());
                None
            }
        },
        KeySetSource::File(name) => {
            problems.error(
                jwks.span,
                format!("key set file `{name}` can't be read here; `scrim render` makes it inline"),
            );
            None
        }
        KeySetSource::Remote(remote) => remote_keys(&issuer.value, algorithms, remote, problems),
        KeySetSource::Discovery(found) => discovered_keys(issuer, algorithms, found, problems),
    }
}

fn remote_keys(issuer: &str, algorithms: &[Algorithm], set: &RemoteKeySet, problems: &mut Problems) -> Option<Keys> {
    let times = fetch_times([&set.refresh, &set.max_stale, &set.timeout], problems);
    let cluster = cluster(&set.cluster, problems);
    let address = match Address::parse(&set.url.value) {
        Ok(address) => Some(address),
        Err(why) => {
            problems.error(set.url.span, format!("`{}` {why}", set.url.value));
            None
        }
    };
    if address.as_ref().is_some_and(|address| !address.origin().is_secure()) {
        problems.warn(set.url.span, IN_THE_CLEAR);
    }
    let (cluster, [refresh, max_stale, timeout]) = (cluster?, times?);
    Some(Keys::Remote(Rc::new(Source::new(Spec {
        issuer: issuer.to_owned(),
        algorithms: algorithms.to_vec(),
        cluster,
        finding: Finding::Url(address?),
        refresh,
        max_stale,
        timeout,
    }))))
}

fn discovered_keys(
    issuer: &At<String>,
    algorithms: &[Algorithm],
    set: &DiscoveredKeySet,
    problems: &mut Problems,
) -> Option<Keys> {
    let times = fetch_times([&set.refresh, &set.max_stale, &set.timeout], problems);
    let cluster = cluster(&set.cluster, problems);
    let document = match Address::of_configuration(&issuer.value) {
        Ok(document) => Some(document),
        Err(why) => {
            problems.error(
                issuer.span,
                format!("`discovery` begins at the issuer's URL, but `{}` {why}", issuer.value),
            );
            None
        }
    };
    if document.as_ref().is_some_and(|document| !document.origin().is_secure()) {
        problems.warn(issuer.span, IN_THE_CLEAR);
    }
    let mut origins = Vec::new();
    for text in set.jwks_origins.iter().flatten() {
        match Origin::parse(&text.value) {
            Ok(origin) if !origin.is_secure() => {
                problems.error(
                    text.span,
                    format!(
                        "`{}` is not `https`, so anybody on the way could put in keys",
                        text.value
                    ),
                );
            }
            Ok(origin) => origins.push(origin),
            Err(why) => problems.error(text.span, format!("`{}` {why}", text.value)),
        }
    }
    let (cluster, document, [refresh, max_stale, timeout]) = (cluster?, document?, times?);
    Some(Keys::Remote(Rc::new(Source::new(Spec {
        issuer: issuer.value.clone(),
        algorithms: algorithms.to_vec(),
        cluster,
        finding: Finding::Discovery { document, origins },
        refresh,
        max_stale,
        timeout,
    }))))
}

const IN_THE_CLEAR: &str = "keys that are fetched over plain `http` can be replaced by anybody on the way; use `https`, except to this machine itself";

fn cluster(name: &At<String>, problems: &mut Problems) -> Option<String> {
    if name.value.is_empty() || name.value.bytes().any(|byte| byte.is_ascii_control()) {
        problems.error(name.span, "name the proxy's cluster through which the keys are fetched");
        return None;
    }
    Some(name.value.clone())
}

/// `refresh`, `max_stale` and `timeout` in milliseconds, with their defaults.
fn fetch_times([refresh, max_stale, timeout]: [&Option<At<Seconds>>; 3], problems: &mut Problems) -> Option<[u64; 3]> {
    let of = |given: &Option<At<Seconds>>, default: u64| {
        given.as_ref().map_or(default, |at| at.value.0.saturating_mul(1_000))
    };
    let mut sound = true;
    let mut refuse = |at: &Option<At<Seconds>>, why: &str| {
        sound = false;
        if let Some(at) = at {
            problems.error(at.span, why);
        }
    };
    let every = of(refresh, remote::DEFAULT_REFRESH);
    let oldest = of(max_stale, remote::DEFAULT_MAX_STALE.max(every));
    let longest = of(timeout, remote::DEFAULT_TIMEOUT);
    if every == 0 || every > remote::DEFAULT_REFRESH.saturating_mul(144) {
        refuse(
            refresh,
            "`refresh` is from `1s` to `1d`: so long a key that the issuer has withdrawn still counts",
        );
    }
    if oldest < every {
        refuse(
            max_stale,
            "`max_stale` is less than `refresh`, so the keys would go before they are fetched again",
        );
    }
    if oldest < 2_000 {
        refuse(max_stale, "`max_stale` is at least `2s`");
    }
    if oldest > remote::DEFAULT_REFRESH.saturating_mul(1008) {
        refuse(
            max_stale,
            "`max_stale` is at most `7d`: so long a key that the issuer has withdrawn may still count",
        );
    }
    if longest == 0 || longest > 60_000 {
        refuse(timeout, "`timeout` is from `1s` to `60s`");
    }
    sound.then_some([every, oldest, longest])
}

fn warn_of_unused(file: &PolicyFile, problems: &mut Problems) {
    let used: BTreeSet<&str> = file
        .policies
        .entries
        .iter()
        .filter_map(|(_, policy)| policy.oauth_scope.as_ref())
        .flat_map(|section| section.issuers.value.iter().map(|alias| alias.value.as_str()))
        .collect();
    for (alias, _) in &file.issuers.entries {
        if !used.contains(alias.value.as_str()) {
            problems.warn(alias.span, format!("no policy uses issuer `{}`", alias.value));
        }
    }
    if file.policies.entries.is_empty() {
        problems.warn(
            Span { line: 1, column: 1 },
            "no policy stands here, so only `default` governs",
        );
    }
}

/// Compiles the sections of one policy.
struct Section<'a> {
    file: &'a PolicyFile,
    pseudonyms: Option<&'a Arc<Pseudonymiser>>,
    sealer: Option<&'a Arc<Sealer>>,
    /// Whether all of the document could be read; only then does absence mean anything.
    whole: bool,
    /// What is asked of tokens; sections add to it.
    asked: &'a mut Asked,
    /// Compiles what views do, where that runs: else its code need not be in the module.
    programs: Option<CompileProgram>,
    problems: &'a mut Problems,
}

/// See `response_trim`.
type CompileProgram = for<'s, 'p, 'v> fn(&'s mut Section<'p>, &'v At<policy_file::View>, bool) -> Option<Program>;

impl Section<'_> {
    fn policy(mut self, name: &At<String>, entry: &policy_file::PolicyEntry) -> Option<Policy> {
        let oauth_scope = entry.oauth_scope.as_ref().map(|section| self.oauth(section));
        let phi_url = entry.phi_url.as_ref().map(|section| self.phi_url(&name.value, section));
        let cache_control = entry
            .cache_control
            .as_ref()
            .map(|section| CacheControl::compile(section, self.problems));
        let has_token = entry.oauth_scope.is_some();
        let urls = entry
            .phi_url
            .as_ref()
            .is_some_and(|section| section.value.preset.is_some());
        let response_trim = entry
            .response_trim
            .as_ref()
            .map(|section| self.trim(section, has_token, urls));
        if entry.oauth_scope.is_none()
            && entry.phi_url.is_none()
            && entry.cache_control.is_none()
            && entry.response_trim.is_none()
            && self.whole
        {
            self.problems.warn(
                name.span,
                format!("policy `{}` has no section and lets everything pass", name.value),
            );
        }
        Some(Policy {
            name: name.value.as_str().into(),
            oauth_scope: transpose(oauth_scope)?,
            phi_url: transpose(phi_url)?,
            cache_control,
            response_trim: transpose(response_trim)?,
        })
    }
}

/// `None` stays `None`, a failure inside fails the whole.
fn transpose<T>(outer: Option<Option<T>>) -> Option<Option<T>> {
    match outer {
        None => Some(None),
        Some(Some(inner)) => Some(Some(inner)),
        Some(None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::ALL;
    use serde_json::{Value as Json, json};

    fn told(document: Json) -> Vec<String> {
        let mut problems = Problems::default();
        let compiled = Compiled::new::<ALL>(&Node::from_json(&document), &|_| None, &mut problems);
        assert_eq!(compiled.is_none(), problems.has_errors());
        problems.iter().map(|problem| problem.message.clone()).collect()
    }

    fn of_policy(section: &str, body: Json) -> Vec<String> {
        told(json!({"version": "1", "policies": {"p": {section: body}}}))
    }

    #[test]
    fn what_has_no_effect_is_an_error() {
        for (body, key) in [
            (json!({"detect": ["ssn"], "on_query": "mask"}), "`on_query`"),
            (json!({"detect": ["ssn"], "on_path": "mask"}), "`on_path`"),
            (json!({"preset": "fhir-r4", "on_detect": "mask"}), "`on_detect`"),
            (json!({}), "this finds nothing"),
        ] {
            let told = of_policy("phi_url", body);
            assert!(
                told.len() == 1 && told.iter().all(|line| line.starts_with(key)),
                "{told:?}"
            );
        }
        let told = of_policy(
            "response_trim",
            json!({"views": [{"when": "user/Patient.rs", "deny": ["$.a"]}]}),
        );
        assert!(told.iter().any(|line| line.contains("no `oauth_scope`")), "{told:?}");
    }

    #[test]
    fn tokenize_needs_a_key_and_a_key_needs_its_bytes() {
        let tokenize = json!({"preset": "fhir-r4", "on_query": "tokenize", "query": {"identifier": "tokenize"}});
        let told_without = of_policy("phi_url", tokenize.clone());
        assert_eq!(told_without.len(), 2, "{told_without:?}");
        let document =
            json!({"version": "1", "keys": {"pseudonyms": {"env": "K"}}, "policies": {"p": {"phi_url": tokenize}}});
        assert_eq!(told(document.clone()).len(), 1, "the variable is not set");
        let mut problems = Problems::default();
        for (value, usable) in [
            ("c2hvcnQ=", false),
            ("no base64!", false),
            ("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", true),
        ] {
            let compiled = Compiled::new::<ALL>(&Node::from_json(&document), &|_| Some(value.into()), &mut problems);
            assert_eq!(compiled.is_some(), usable, "{value}");
            problems = Problems::default();
        }
    }

    #[test]
    fn an_issuer_has_public_keys_or_a_secret_that_fits() {
        let of = |members: Json| {
            let mut issuer = json!({"issuer": "i", "audiences": ["a"], "algorithms": ["HS256"]});
            if let (Some(issuer), Json::Object(members)) = (issuer.as_object_mut(), members) {
                issuer.extend(members);
            }
            json!({"version": "1", "issuers": {"e": issuer},
                "policies": {"p": {"oauth_scope": {"issuers": ["e"], "require": "a"}}}})
        };
        let told = |members: Json, value: Option<&str>| {
            let mut problems = Problems::default();
            let environment = |name: &str| value.filter(|_| name == "S").map(str::to_owned);
            Compiled::new::<ALL>(&Node::from_json(&of(members)), &environment, &mut problems);
            problems
                .iter()
                .map(|problem| problem.message.clone())
                .collect::<Vec<_>>()
        };
        let (env, bytes) = (json!({"env": "S"}), |count| STANDARD.encode(vec![7; count]));
        let jwks = json!({"inline": {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}});
        assert_eq!(told(json!({"secret": env}), Some(&bytes(32))), [""; 0]);
        assert_eq!(
            told(
                json!({"secret": env, "algorithms": ["HS256", "HS512"]}),
                Some(&bytes(64))
            ),
            [""; 0]
        );
        for (members, value, part) in [
            (json!({}), None, "`jwks` is missing"),
            (
                json!({"secret": env, "jwks": jwks}),
                Some(bytes(32)),
                "leave out `jwks` or `secret`",
            ),
            (json!({"secret": env}), None, "`S` is not set"),
            (json!({"secret": env}), Some(bytes(31)), "`S` holds no key"),
            (json!({"secret": env}), Some("no base64".to_owned()), "`S` holds no key"),
            (
                json!({"secret": env, "algorithms": ["HS512"]}),
                Some(bytes(63)),
                "too short for `HS512`",
            ),
            (
                json!({"secret": env, "algorithms": ["HS256", "RS256"]}),
                Some(bytes(64)),
                "lists `RS256`",
            ),
            (json!({"jwks": jwks}), None, "lists `HS256`"),
            (
                json!({"jwks": jwks, "algorithms": ["EdDSA", "HS256"]}),
                None,
                "lists `HS256`",
            ),
            (json!({"secret": {"file": "s"}}), None, "can't be read here"),
            (json!({"secret": {"inline": "s"}}), None, "unknown key `inline`"),
            (json!({"secret": "AAAA"}), None, "mapping"),
            (
                json!({"jwks": {"inline": {"keys": [{"kty": "oct", "k": "AAAA"}]}}}),
                None,
                "private or secret key material",
            ),
        ] {
            let told = told(members.clone(), value.as_deref());
            assert!(
                told.len() == 1 && told.iter().all(|line| line.contains(part)),
                "{members}: {told:?}"
            );
        }
    }

    #[test]
    fn problems_of_shape_and_of_sense_come_in_one_run() {
        let told = told(json!({
            "version": "1",
            "polcies": {},
            "issuers": {"e": {"issuer": "i", "audiences": [], "algorithms": ["RS255"], "jwks": {"remote": {"cluster": "c", "url": "ftp://u"}}}},
            "policies": {
                "p": {"cache_control": {"class": "phy"}, "response_trim": {"views": [{"deny": ["$.a[?$.b]"]}]}},
                "q": {"oauth_scope": {"issuers": ["f"], "require": "user/Patient.sr"}},
            },
            "routes": [{"match": {"path": "x"}, "policy": "r"}],
            "default": "s",
        }));
        for part in [
            "`polcies`",
            "`RS255`",
            "`ftp://u`",
            "`phy`",
            "$.a[?$.b]",
            "`f`",
            "user/Patient.sr",
            "`x`",
            "`r`",
            "`s`",
        ] {
            assert!(told.iter().any(|line| line.contains(part)), "{part}: {told:#?}");
        }
    }

    fn of_key_set(jwks: Json) -> Vec<String> {
        told(json!({
            "version": "1",
            "issuers": {"e": {"issuer": "https://idp.example/a", "audiences": ["x"], "algorithms": ["RS256"], "jwks": jwks}},
            "policies": {"p": {"oauth_scope": {"issuers": ["e"], "require": "user/Patient.rs"}}},
        }))
    }

    #[test]
    fn what_is_said_of_fetched_keys_makes_sense() {
        let good = json!({"cluster": "idp", "url": "https://idp.example/jwks", "refresh": "10s", "max_stale": "10s", "timeout": "1s"});
        assert_eq!(of_key_set(json!({"remote": good})), [""; 0]);
        assert_eq!(
            of_key_set(
                json!({"discovery": {"cluster": "idp", "refresh": "2h", "jwks_origins": ["https://k.example"]}})
            ),
            [""; 0]
        );
        for (key, value, part) in [
            ("cluster", "", "name the proxy's cluster"),
            ("url", "idp.example/jwks", "no URL"),
            ("url", "https://user@idp.example/jwks", "user name"),
            ("url", "http://idp.example/jwks", "plain `http`"),
            ("refresh", "0s", "`refresh` is from"),
            ("refresh", "2d", "`refresh` is from"),
            ("refresh", "11s", "`max_stale` is less"),
            ("max_stale", "8d", "at most `7d`"),
            ("timeout", "0s", "`timeout` is from"),
            ("timeout", "2m", "`timeout` is from"),
        ] {
            let mut set = good.clone();
            set[key] = value.into();
            let told = of_key_set(json!({"remote": set}));
            assert!(told.first().is_some_and(|line| line.contains(part)), "{key}: {told:?}");
        }
        for (origin, part) in [
            ("http://k.example", "not `https`"),
            ("https://k.example/x", "more than an origin"),
        ] {
            let told = of_key_set(json!({"discovery": {"cluster": "idp", "jwks_origins": [origin]}}));
            assert!(matches!(told.as_slice(), [line] if line.contains(part)), "{told:?}");
        }
    }

    #[test]
    fn the_digest_is_of_the_policy_not_of_the_host() {
        let digest = |document: Json| {
            let mut problems = Problems::default();
            Compiled::new::<ALL>(&Node::from_json(&document), &|_| None, &mut problems)
                .map(|compiled| compiled.digest().to_owned())
        };
        let one = digest(json!({"version": "1", "default": "deny"}));
        assert_eq!(
            one,
            digest(json!({"version": "1", "default": "deny", "host": {"allow_on_headers_stop_iteration": true}}))
        );
        assert_ne!(one, digest(json!({"version": "1"})));
    }
}
