//! The `phi_url` section of a policy, and what can be wrong with it.

use std::fmt;

use super::{Secrets, names};

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
    /// Make it coarser: a date its year, a ZIP code its first three digits. What is neither is refused.
    Generalize,
    /// Let it pass only sealed: open what comes sealed, refuse what comes in the clear, seal what goes out.
    Seal,
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
    /// For path segments by template, before the preset; the most exact one counts, whatever the order.
    pub path: Vec<(PathTemplate, Action)>,
    /// Recognisers over what is left.
    pub detect: Vec<DetectEntry>,
    /// For what they find, where an entry says nothing else.
    pub on_detect: Action,
    /// For whole request headers by name (lowercase), before what they hold is looked at.
    pub headers: Vec<(String, Action)>,
    /// For PHI in search forms and in the URLs of batch entries.
    pub on_body: Action,
    /// For PHI in URLs of responses. `None`: what is done in requests, or what comes closest.
    pub on_response: Option<Action>,
    /// Parameters for which `strip` widens nothing; `*` stands for all.
    pub strip_safe: Vec<String>,
}

/// What is looked for in texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetectEntry {
    /// The recogniser's code, or an own name.
    pub name: String,
    /// A regular expression that it finds by, besides what the recogniser of that name knows.
    pub pattern: Option<String>,
    /// For what it finds; `None`: `on_detect`.
    pub action: Option<Action>,
    /// Base names of parameters, and path segments before the one in question, whose values are not acted on; logs hide what is found there all the same.
    pub except: Vec<String>,
}

/// Which segments of a path are meant: `/members/{id}/claims/*` means the second of each path that begins so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    segments: Vec<TemplateSegment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TemplateSegment {
    Literal(String),
    Any,
    Meant,
}

impl PathTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it, and the mend.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(format!("`{text}` is no path template; begin it with `/`"));
        };
        let mut segments = Vec::new();
        for segment in rest.split('/') {
            let named = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            let plain = |text: &str| !text.is_empty() && !text.contains(['{', '}', '*', '?', '#', '%', ';', '\\']);
            segments.push(match (segment, named) {
                ("*", _) => TemplateSegment::Any,
                (_, Some(name)) if plain(name) => TemplateSegment::Meant,
                (literal, None) if plain(literal) && literal != "." && literal != ".." => {
                    TemplateSegment::Literal(literal.to_owned())
                }
                _ => {
                    return Err(format!(
                        "`{segment}` is no segment of a path template; write it decoded, `{{name}}` for one that is meant, or `*` for any"
                    ));
                }
            });
        }
        if !segments.contains(&TemplateSegment::Meant) {
            return Err(format!(
                "`{text}` means no segment; put one in braces, such as `/members/{{id}}`"
            ));
        }
        Ok(PathTemplate { segments })
    }

    /// How much it says: of two templates that fit, the one with more segments counts, and of these the one with more literal ones.
    pub(super) fn exactness(&self) -> (usize, usize) {
        let literal = |segment: &&TemplateSegment| matches!(segment, TemplateSegment::Literal(_));
        (self.segments.len(), self.segments.iter().filter(literal).count())
    }

    /// Whether the segment at `index` is meant, in a path of these segments.
    pub(super) fn means<'s>(&self, index: usize, mut path: impl Iterator<Item = &'s str>) -> bool {
        self.segments.get(index) == Some(&TemplateSegment::Meant)
            && self.segments.iter().all(|segment| match (segment, path.next()) {
                (TemplateSegment::Literal(literal), Some(text)) => literal.eq_ignore_ascii_case(text),
                (_, text) => text.is_some(),
            })
    }
}

/// Why rules cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RulesError {
    /// `tokenize` at this key without a pseudonym key.
    NoKey(String),
    /// `seal` at this key without a sealing key.
    NoSealingKey(String),
    /// `pass` at this key, which is not a parameter by name.
    PassOutsideQuery(&'static str),
    /// `strip` at this key would widen a search or a read.
    StripWidens(String),
    /// A recogniser's pattern that can't be used, by the entry's index, and why.
    Pattern(usize, String),
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
    pub const ALL: [Self; 8] = [
        Self::Reject,
        Self::Strip,
        Self::Mask,
        Self::Generalize,
        Self::Tokenize,
        Self::Seal,
        Self::Observe,
        Self::Pass,
    ];

    /// Its name in a policy file.
    pub fn code(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Strip => "strip",
            Self::Mask => "mask",
            Self::Generalize => "generalize",
            Self::Tokenize => "tokenize",
            Self::Seal => "seal",
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
            path: Vec::new(),
            detect: Vec::new(),
            on_detect: Action::Reject,
            headers: Vec::new(),
            on_body: Action::Pass,
            on_response: None,
            strip_safe: Vec::new(),
        }
    }
}

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey(key) => write!(f, "`{key}: tokenize` needs a key; set `keys.pseudonyms`, or use `mask`"),
            Self::NoSealingKey(key) => write!(f, "`{key}: seal` needs a key; set `keys.sealing`, or use `tokenize`"),
            Self::StripWidens(key) => write!(
                f,
                "`{key}: strip` widens a search or a read: without the value it matches other patients; use `reject` or `tokenize`, or declare what filters nothing under `strip_safe`"
            ),
            Self::Pattern(_, why) => f.write_str(why),
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

/// What can't be compiled.
pub(super) fn check(rules: &Rules, on_path: Action, secrets: &Secrets) -> Result<(), RulesError> {
    let single = [
        ("on_query", rules.on_query),
        ("on_path", on_path),
        ("on_detect", rules.on_detect),
    ];
    if let Some((key, _)) = single.iter().find(|(_, action)| *action == Action::Pass) {
        return Err(RulesError::PassOutsideQuery(key));
    }
    let named = |of: &'static str, list: &[(String, Action)]| -> Vec<(String, Action)> {
        list.iter()
            .map(|(name, action)| (format!("{of}.{name}"), *action))
            .collect()
    };
    let mut all: Vec<(String, Action)> = single
        .iter()
        .map(|(key, action)| ((*key).to_owned(), *action))
        .collect();
    all.push(("on_body".to_owned(), rules.on_body));
    all.extend(rules.on_response.map(|action| ("on_response".to_owned(), action)));
    all.extend(named("query", &rules.query));
    all.extend(named("headers", &rules.headers));
    all.extend(rules.path.iter().map(|(_, action)| ("path".to_owned(), *action)));
    all.extend(
        rules
            .detect
            .iter()
            .filter_map(|entry| Some((format!("detect.{}", entry.name), entry.action?))),
    );
    for (key, action) in all {
        match action {
            Action::Tokenize if secrets.pseudonyms.is_none() => return Err(RulesError::NoKey(key)),
            Action::Seal if secrets.sealer.is_none() => return Err(RulesError::NoSealingKey(key)),
            _ => {}
        }
    }
    let safe = |name: &str| rules.strip_safe.iter().any(|safe| safe == "*" || safe == name);
    let preset = rules.preset.is_some();
    let by_name = rules
        .query
        .iter()
        .find(|(name, action)| *action == Action::Strip && !safe(name) && names::filters(name));
    let widens = [
        (
            preset && rules.on_query == Action::Strip && !safe("*"),
            "on_query".to_owned(),
        ),
        (preset && on_path == Action::Strip && !safe("*"), "on_path".to_owned()),
        (
            by_name.is_some(),
            by_name.map_or_else(String::new, |(name, _)| format!("query.{name}")),
        ),
        (
            rules.path.iter().any(|(_, action)| *action == Action::Strip) && !safe("*"),
            "path".to_owned(),
        ),
    ];
    match widens.into_iter().find(|(widens, _)| *widens) {
        Some((_, key)) => Err(RulesError::StripWidens(key)),
        None => Ok(()),
    }
}

/// Rules that work but do harm.
pub(super) fn warnings(rules: &Rules, looks: bool) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |key: String, text: &str| {
        warnings.push(Warning {
            key,
            text: text.to_owned(),
        })
    };
    let preset = rules.preset.is_some();
    let safe = |name: &str| rules.strip_safe.iter().any(|safe| safe == "*" || safe == name);
    if rules.on_detect == Action::Strip && looks && !safe("*") {
        warn(
            "on_detect".to_owned(),
            "`strip` widens a search or a read where the value filters; use `reject` or `mask`",
        );
    }
    for (name, action) in &rules.query {
        let result = names::RESULT_PARAMETERS.contains(&name.as_str());
        if *action == Action::Strip && !result && !safe(name) {
            warn(
                format!("query.{name}"),
                "`strip` widens a search where the parameter filters; use `reject` or `tokenize`, or declare under `strip_safe` that it filters nothing",
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
