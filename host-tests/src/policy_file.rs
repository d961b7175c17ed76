//! Policy files on disk: YAML with places, files made inline, problems as `FILE:LINE:COL: error: what, and the mend`.
//!
//! 1. YAML 1.2 (JSON is YAML). Duplicate keys are refused, as are tags and more than one document.
//! 2. `jwks: {file: ..}` becomes inline, `keys.*: {file: ..}` and `issuers.*.secret: {file: ..}` become environment variables of the VM; all paths are
//!    relative to the policy file.
//! 3. What is then compiled is what a guest gets, by the same code.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use saphyr::{LoadableYamlNode as _, MarkedYaml, Scalar, YamlData};
use serde_json::Value as Json;

use scrim_policy::compile::Compiled;
use scrim_policy::document::{Key, Node, Problem, Problems, Severity, Span, Value};

/// A key in place of one that is not there, where only the file is checked: base64 of 67 bytes that say so, enough for HS512.
const STAND_IN: &str = "c2NyaW0gY2hlY2tzIHdpdGggYSBzdGFuZC1pbiBrZXksIGxvbmcgZW5vdWdoIGZvciBhbnkgb2YgdGhlIEhNQUNzLg";

/// A policy file that was read.
#[derive(Clone)]
pub struct PolicyFile {
    /// Where it is.
    pub path: PathBuf,
    /// The document, with files made inline.
    node: Node,
    /// What key files held, for the VM's environment.
    pub environment: BTreeMap<String, String>,
    /// The environment variables that the document names.
    pub environment_names: Vec<String>,
    /// What is wrong so far.
    problems: Problems,
    /// Where key set files stand that could not be read: what follows from that is not told again.
    unread: Vec<Span>,
}

/// All that is wrong with a policy file, a line each.
#[derive(Debug)]
pub struct Diagnostics {
    path: PathBuf,
    problems: Vec<Problem>,
}

impl std::error::Error for Diagnostics {}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            let word = match problem.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            let Span { line, column } = problem.span;
            write!(
                f,
                "{}:{}:{}: {word}: {}",
                self.path.display(),
                line.max(1),
                column.max(1),
                problem.message
            )?;
        }
        Ok(())
    }
}

impl Diagnostics {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether any is an error.
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// With more, in the order of the file.
    fn with(mut self, more: &Problems) -> Diagnostics {
        self.problems.extend(more.iter().cloned());
        self.problems
            .sort_by_key(|problem| (problem.span.line, problem.span.column));
        self
    }

    /// The problems.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl PolicyFile {
    /// Reads the file and makes what it names inline. Only an unreadable file or broken YAML is an error here;
    /// [`Self::compile`] tells the rest.
    pub fn read(path: &Path) -> Result<Self, Diagnostics> {
        let mut problems = Problems::default();
        let node = match fs::read_to_string(path) {
            Ok(text) => parse(&text, &mut problems),
            Err(error) => {
                let why = match error.kind() {
                    io::ErrorKind::InvalidData => "the policy file is not UTF-8 text; save it as UTF-8".to_owned(),
                    _ => format!("the policy file can't be read: {error}; check the path"),
                };
                problems.error(Span { line: 1, column: 1 }, why);
                None
            }
        };
        let path = path.to_owned();
        let Some(mut node) = node else {
            return Err(diagnostics(&path, &problems));
        };
        let mut environment = BTreeMap::new();
        let mut environment_names = Vec::new();
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        let mut unread = Vec::new();
        inline_key_sets(&mut node, &folder, &mut unread, &mut problems);
        keys_to_environment(
            &mut node,
            &folder,
            &mut environment,
            &mut environment_names,
            &mut problems,
        );
        Ok(PolicyFile {
            path,
            node,
            environment,
            environment_names,
            unread,
            problems,
        })
    }

    /// Compiles as the guests do. `environment` gives secrets; the file's own key files come first.
    pub fn compile(&self, environment: &dyn Fn(&str) -> Option<String>) -> (Option<Compiled>, Diagnostics) {
        let mut problems = self.problems.clone();
        let secrets = |name: &str| self.environment.get(name).cloned().or_else(|| environment(name));
        let compiled = Compiled::new::<{ scrim_policy::chain::ALL }>(&self.node, &secrets, &mut problems);
        for span in &self.unread {
            problems.forget(*span);
        }
        let compiled = compiled.filter(|_| !problems.has_errors());
        (compiled, diagnostics(&self.path, &problems))
    }

    /// Compiles with a stand-in for every secret, to check a file where the secrets are not; judges views of FHIR resources by HL7's definitions besides.
    pub fn check(&self) -> (Option<Compiled>, Diagnostics) {
        let (compiled, told) = self.compile(&|_| Some(STAND_IN.to_owned()));
        let Some(compiled) = compiled else {
            return (None, told);
        };
        let mut problems = Problems::default();
        if let Some(file) = scrim_policy::compile::decode(&self.node, &mut Problems::default()) {
            crate::elements::judge(&file, &compiled, &mut problems);
        }
        let told = told.with(&problems);
        ((!told.has_errors()).then_some(compiled), told)
    }

    /// The document, with files made inline.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The same file with another document; paths in it have been resolved.
    pub(crate) fn with_node(&self, node: Node) -> PolicyFile {
        PolicyFile { node, ..self.clone() }
    }

    /// The document as a module's plugin configuration.
    pub fn configuration(&self, allow_on_headers_stop_iteration: bool) -> Json {
        let mut json = self.node.to_json();
        if let Some(object) = json.as_object_mut() {
            object.insert(
                "host".into(),
                serde_json::json!({"allow_on_headers_stop_iteration": allow_on_headers_stop_iteration}),
            );
        }
        json
    }
}

fn diagnostics(path: &Path, problems: &Problems) -> Diagnostics {
    Diagnostics {
        path: path.to_owned(),
        problems: problems.iter().cloned().collect(),
    }
}

/// Reads one YAML document with its places.
pub fn parse(text: &str, problems: &mut Problems) -> Option<Node> {
    match MarkedYaml::load_from_str(text) {
        Ok(mut documents) => match (documents.pop(), documents.is_empty()) {
            (Some(document), true) => Some(convert(&document, problems)),
            (None, _) => {
                problems.error(
                    Span { line: 1, column: 1 },
                    "the file is empty, begin with `version: 1`",
                );
                None
            }
            (Some(document), false) => {
                problems.error(
                    span(&document),
                    "a second document begins here, one file holds one policy document",
                );
                None
            }
        },
        Err(error) => {
            let mark = error.marker();
            let at = Span {
                line: narrow(mark.line()),
                column: narrow(mark.col().saturating_add(1)),
            };
            problems.error(at, format!("not YAML: {}", error.info()));
            None
        }
    }
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn span(yaml: &MarkedYaml<'_>) -> Span {
    Span {
        line: narrow(yaml.span.start.line()),
        column: narrow(yaml.span.start.col().saturating_add(1)),
    }
}

fn convert(yaml: &MarkedYaml<'_>, problems: &mut Problems) -> Node {
    let at = span(yaml);
    let value = match &yaml.data {
        YamlData::Value(scalar) => match scalar {
            Scalar::Null => Value::Null,
            Scalar::Boolean(value) => Value::Bool(*value),
            Scalar::Integer(number) => Value::Number(number.to_string()),
            Scalar::FloatingPoint(number) => Value::Number(number.to_string()),
            Scalar::String(text) => Value::String(text.to_string()),
        },
        YamlData::Sequence(list) => Value::Sequence(list.iter().map(|item| convert(item, problems)).collect()),
        YamlData::Mapping(members) => Value::Mapping(
            members
                .iter()
                .filter_map(|(key, value)| {
                    let place = span(key);
                    let name = match &key.data {
                        YamlData::Value(Scalar::String(text)) => text.to_string(),
                        YamlData::Value(Scalar::Integer(number)) => number.to_string(),
                        YamlData::Value(Scalar::Boolean(value)) => value.to_string(),
                        YamlData::Value(Scalar::Null) => "null".to_owned(),
                        _ => {
                            problems.error(place, "a key must be a plain string");
                            return None;
                        }
                    };
                    Some((Key { name, span: place }, convert(value, problems)))
                })
                .collect(),
        ),
        _ => {
            problems.error(
                at,
                "tags and unresolved aliases are not supported here, write the value itself",
            );
            Value::Null
        }
    };
    Node { span: at, value }
}

fn inline_key_sets(node: &mut Node, folder: &Path, unread: &mut Vec<Span>, problems: &mut Problems) {
    let Some(Node {
        value: Value::Mapping(issuers),
        ..
    }) = node.get_mut("issuers")
    else {
        return;
    };
    for (_, issuer) in issuers {
        let Some(jwks) = issuer.get_mut("jwks") else { continue };
        let Some((name, at)) = file_of(jwks) else { continue };
        let path = folder.join(&name);
        let read = fs::read_to_string(&path).map_err(|error| {
            format!("key set `{name}` can't be read: {error}; the path is relative to the policy file")
        });
        let json = read.and_then(|text| {
            serde_json::from_str::<Node>(&text).map_err(|error| format!("key set `{name}` is not JSON: {error}"))
        });
        match json {
            Ok(mut json) => {
                json.span = at;
                jwks.value = Value::Mapping(vec![(
                    Key {
                        name: "inline".into(),
                        span: at,
                    },
                    json,
                )]);
            }
            Err(why) => {
                problems.error(at, why);
                unread.push(jwks.span);
            }
        }
    }
}

fn keys_to_environment(
    node: &mut Node,
    folder: &Path,
    environment: &mut BTreeMap<String, String>,
    names: &mut Vec<String>,
    problems: &mut Problems,
) {
    let mut secrets = Secrets {
        folder,
        environment,
        names,
        problems,
    };
    if let Some(Node {
        value: Value::Mapping(keys),
        ..
    }) = node.get_mut("keys")
    {
        for (key, source) in keys {
            match &mut source.value {
                Value::Sequence(sources) => {
                    for (index, source) in sources.iter_mut().enumerate() {
                        secrets.take(&format!("{}_{index}", key.name), source);
                    }
                }
                _ => secrets.take(&key.name, source),
            }
        }
    }
    if let Some(Node {
        value: Value::Mapping(issuers),
        ..
    }) = node.get_mut("issuers")
    {
        for (alias, issuer) in issuers {
            if let Some(source) = issuer.get_mut("secret") {
                secrets.take(&format!("issuer_{}", alias.name), source);
            }
        }
    }
}

/// Where secrets go: into the VM's environment, never into what is rendered.
struct Secrets<'a> {
    folder: &'a Path,
    environment: &'a mut BTreeMap<String, String>,
    names: &'a mut Vec<String>,
    problems: &'a mut Problems,
}

impl Secrets<'_> {
    /// Notes the variable of `{env: ..}`, and turns `{file: ..}` into one.
    fn take(&mut self, name: &str, source: &mut Node) {
        if let Value::Mapping(members) = &source.value
            && let [
                (
                    how,
                    Node {
                        value: Value::String(name),
                        ..
                    },
                ),
            ] = members.as_slice()
            && how.name == "env"
            && !self.names.contains(name)
        {
            self.names.push(name.clone());
        }
        let Some((file, at)) = file_of(source) else { return };
        let value = match fs::read_to_string(self.folder.join(&file)) {
            Ok(text) => text.trim().to_owned(),
            Err(error) => {
                self.problems.error(
                    at,
                    format!("key file `{file}` can't be read: {error}; the path is relative to the policy file"),
                );
                // A file that is missing would be told as a second problem.
                STAND_IN.to_owned()
            }
        };
        let variable = self.variable(name);
        self.environment.insert(variable.clone(), value);
        self.names.push(variable.clone());
        source.value = by_environment(variable, at);
    }

    /// The environment variable that stands for a key file, one that nothing else has.
    fn variable(&self, key: &str) -> String {
        let word: String = key
            .chars()
            .map(|each| {
                if each.is_ascii_alphanumeric() {
                    each.to_ascii_uppercase()
                } else {
                    '_'
                }
            })
            .collect();
        let mut name = format!("SCRIM_KEY_{word}");
        // `a-b` and `a_b` are two issuers.
        while self.names.contains(&name) {
            name.push('_');
        }
        name
    }
}

/// `{env: variable}`
fn by_environment(variable: String, at: Span) -> Value {
    let value = Node {
        span: at,
        value: Value::String(variable),
    };
    Value::Mapping(vec![(
        Key {
            name: "env".into(),
            span: at,
        },
        value,
    )])
}

/// The name in `{file: name}`.
fn file_of(node: &Node) -> Option<(String, Span)> {
    let Value::Mapping(members) = &node.value else {
        return None;
    };
    let [
        (
            key,
            Node {
                value: Value::String(name),
                span,
            },
        ),
    ] = members.as_slice()
    else {
        return None;
    };
    (key.name == "file").then(|| (name.clone(), *span))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        let folder = std::env::temp_dir().join(format!("scrim-policy-{}-{:x}", std::process::id(), md(text)));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("policy.yaml");
        fs::write(&path, text).unwrap();
        let told = match PolicyFile::read(&path) {
            Ok(file) => file.check().1,
            Err(diagnostics) => diagnostics,
        };
        let _ = fs::remove_dir_all(&folder);
        told.to_string().replace(&path.display().to_string(), "policy.yaml")
    }

    fn md(text: &str) -> u64 {
        text.bytes()
            .fold(7, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)))
    }

    #[test]
    fn every_problem_is_told_with_its_place() {
        let text = "version: 1\npolcies: {}\npolicies:\n  a:\n    cache_control: {class: phy}\nroutes:\n  - match: {path: x}\n    policy: b\n";
        assert_eq!(
            told(text),
            "policy.yaml:2:1: error: unknown key `polcies`, did you mean `policies`?\n\
             policy.yaml:5:28: error: unknown value `phy`, did you mean `phi`?\n\
             policy.yaml:7:19: error: `x` does not begin with `/`, paths do\n\
             policy.yaml:8:13: error: no policy is named `b`, did you mean `a`?"
        );
    }

    #[test]
    fn broken_yaml_and_missing_files_have_places() {
        assert!(
            told("version: [1").starts_with("policy.yaml:1:") || told("version: [1").starts_with("policy.yaml:2:"),
            "{}",
            told("version: [1")
        );
        let text = "version: 1\nissuers:\n  e:\n    issuer: i\n    audiences: [a]\n    algorithms: [RS256]\n    jwks: {file: nowhere.json}\n";
        assert!(
            told(text).contains("policy.yaml:7:18: error: key set `nowhere.json` can't be read"),
            "{}",
            told(text)
        );
    }

    #[test]
    fn secrets_in_files_go_to_the_environment() {
        let issuer = |alias: &str, secret: &str| {
            format!("  {alias}: {{issuer: {alias}, audiences: [a], algorithms: [HS512], secret: {secret}}}\n")
        };
        let text = format!(
            "version: 1\nissuers:\n{}{}{}{}policies: {{p: {{oauth_scope: {{issuers: [a-b, a_b, c, d], require: s}}}}}}\n",
            issuer("a-b", "{file: one}"),
            issuer("a_b", "{file: two}"),
            issuer("c", "{env: MINE}"),
            issuer("d", "{env: MINE}"),
        );
        let folder = std::env::temp_dir().join(format!("scrim-secrets-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("policy.yaml"), &text).unwrap();
        let secret = |byte: u8| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [byte; 64]);
        fs::write(folder.join("one"), secret(1) + "\n").unwrap();
        fs::write(folder.join("two"), secret(2)).unwrap();
        let file = PolicyFile::read(&folder.join("policy.yaml")).unwrap();
        assert!(!file.check().1.has_errors(), "{}", file.check().1);
        assert_eq!(
            file.environment_names,
            ["SCRIM_KEY_ISSUER_A_B", "SCRIM_KEY_ISSUER_A_B_", "MINE"]
        );
        assert_eq!(file.environment["SCRIM_KEY_ISSUER_A_B"], secret(1));
        assert_eq!(file.environment["SCRIM_KEY_ISSUER_A_B_"], secret(2));
        let rendered = file.configuration(true).to_string();
        assert!(
            !rendered.contains(&secret(1)[..40]) && rendered.contains("SCRIM_KEY_ISSUER_A_B_"),
            "{rendered}"
        );
        fs::remove_file(folder.join("two")).unwrap();
        let missing = PolicyFile::read(&folder.join("policy.yaml"))
            .unwrap()
            .check()
            .1
            .to_string();
        assert!(
            missing.contains("policy.yaml:4:") && missing.contains("key file `two` can't be read"),
            "{missing}"
        );
        assert_eq!(missing.lines().count(), 1, "{missing}");
        let _ = fs::remove_dir_all(&folder);
    }

    #[test]
    fn duplicate_keys_are_refused() {
        let said = told("version: 1\nversion: 1\n");
        assert!(said.contains("2:1") && said.contains("error"), "{said}");
    }
}
