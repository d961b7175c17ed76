//! The `phi_url` section of a policy, and what can be wrong with it.

use std::fmt;

use super::detect::Detector;
use super::names;

/// What becomes of PHI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Refuse the request with 400 and advise POST `_search`.
    Reject,
    /// Take it out. A search widens by that.
    Strip,
    /// Put `***` in its place.
    Mask,
    /// Put a keyed pseudonym in its place.
    Tokenize,
    /// Let it through, counted, and masked in the log-safe path.
    Observe,
    /// Declare it harmless; for parameters by name only.
    Pass,
}

/// A table of what carries PHI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// FHIR R4 (4.0.1), generated from HL7's definitions.
    FhirR4,
}

/// The `phi_url` section of a policy.
pub struct Rules {
    /// The table, if any.
    pub preset: Option<Preset>,
    /// For a parameter that the preset says carries PHI.
    pub on_query: Action,
    /// For parameters by base name, before the preset.
    pub query: Vec<(String, Action)>,
    /// For a path id that the preset says carries PHI. `None`: tokenize where there is a key, else reject.
    pub on_path: Option<Action>,
    /// Recognisers over what is left.
    pub detect: Vec<Detector>,
    /// For what they find.
    pub on_detect: Action,
}

/// Makes a keyed pseudonym (HMAC-SHA-256) of a value. The same value gives the same pseudonym.
pub trait Pseudonymise: Send + Sync {
    /// The pseudonym, in unreserved URL characters (RFC 3986, 2.3); others are percent-encoded.
    fn pseudonym(&self, value: &[u8]) -> String;
}

/// Why rules cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RulesError {
    /// `tokenize` at this key without a pseudonym key.
    NoKey(String),
    /// `pass` at this key, which is not a parameter by name.
    PassOutsideQuery(&'static str),
}

/// A rule that works but likely does harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The key within `phi_url`, such as `on_query` or `query.identifier`.
    pub key: String,
    /// What is wrong with it and what to write instead.
    pub text: String,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Reject,
        Self::Strip,
        Self::Mask,
        Self::Tokenize,
        Self::Observe,
        Self::Pass,
    ];

    /// Its name in a policy file.
    pub fn code(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Strip => "strip",
            Self::Mask => "mask",
            Self::Tokenize => "tokenize",
            Self::Observe => "observe",
            Self::Pass => "pass",
        }
    }

    /// The action of this name in a policy file.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.code() == code)
    }
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::FhirR4];

    /// Its name in a policy file.
    pub fn code(self) -> &'static str {
        match self {
            Self::FhirR4 => "fhir-r4",
        }
    }

    /// The preset of this name in a policy file.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.code() == code)
    }
}

/// No preset, no detectors; rejects what is found.
impl Default for Rules {
    fn default() -> Self {
        Self {
            preset: None,
            on_query: Action::Reject,
            query: Vec::new(),
            on_path: None,
            detect: Vec::new(),
            on_detect: Action::Reject,
        }
    }
}

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey(key) => write!(f, "`{key}: tokenize` needs a key; set `keys.pseudonyms`, or use `mask`"),
            Self::PassOutsideQuery(key) => {
                write!(
                    f,
                    "`{key}: pass` would let all PHI through; use `observe`, or name parameters under `query`"
                )
            }
        }
    }
}

impl std::error::Error for RulesError {}

/// Rules that work but do harm.
pub(super) fn warnings(rules: &Rules, on_path: Action) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |key: String, text: &str| {
        warnings.push(Warning {
            key,
            text: text.to_owned(),
        })
    };
    let preset = rules.preset.is_some();
    if preset && rules.on_query == Action::Strip {
        warn(
            "on_query".to_owned(),
            "`strip` widens a search: without the parameter it matches other patients; use `reject` or `tokenize`",
        );
    }
    if preset && on_path == Action::Strip {
        warn(
            "on_path".to_owned(),
            "`strip` turns the read of one resource into a search over all; use `reject` or `tokenize`",
        );
    }
    if rules.on_detect == Action::Strip && !rules.detect.is_empty() {
        warn(
            "on_detect".to_owned(),
            "`strip` widens a search or a read where the value filters; use `reject` or `mask`",
        );
    }
    for (name, action) in &rules.query {
        let result = names::RESULT_PARAMETERS.contains(&name.as_str());
        if *action == Action::Strip && !result {
            warn(
                format!("query.{name}"),
                "`strip` widens a search where the parameter filters; use `reject` or `tokenize`",
            );
        }
        if *action == Action::Pass && preset && names::is_phi_anywhere(name) {
            warn(
                format!("query.{name}"),
                "`pass` sends on and logs what the preset says is PHI; use `observe` to keep it out of logs",
            );
        }
    }
    warnings
}
