//! Mutants of a policy: the same file with one rule taken away or weakened, each with its place.
//!
//! 1. Taken away, one at a time: each member and each element of a list, at any depth, under `policies` and `routes`, and of issuers all but
//!    what tells who they are (`issuer`, `jwks`, `secret`). A list of one goes with its key.
//! 2. Weakened: an action becomes `observe` (under `query` and other maps of names `pass`), a caching class `public`, `default` becomes `allow`,
//!    a route changes places with the next one. A boolean becomes its opposite.
//! 3. What does not compile any more is no mutant: the policy file itself would have told.
//! 4. Some mutants mean the same as the file, such as one without a key that says the default. They can't be told from rules that no case guards,
//!    so a list of what no case catches is for a person to read.

pub mod run;

use std::fmt;

use scrim_policy::document::{Node, Span, Value};

use crate::policy_file::PolicyFile;

/// A policy file with one rule changed.
#[derive(Clone)]
pub struct Mutant {
    /// Where the rule stands in the file.
    pub place: Span,
    /// Which rule it is, from the file's root: `policies.clinician.phi_url.on_query`.
    pub rule: String,
    /// What became of it.
    pub change: Change,
    /// The changed file.
    pub policy: PolicyFile,
}

/// What was done to a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is gone.
    Drop,
    /// It says this instead.
    Say {
        /// What the file says.
        was: String,
        /// What the mutant says.
        now: String,
    },
    /// It comes after the one that followed it.
    Demote,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Drop => f.write_str("dropped"),
            Change::Say { was, now } => write!(f, "`{was}` became `{now}`"),
            Change::Demote => f.write_str("put behind the next"),
        }
    }
}

/// The mutants of a policy file, in the order of the file. `secret` gives what `keys` name, as for [`PolicyFile::compile`].
pub fn mutants(policy: &PolicyFile, secret: &dyn Fn(&str) -> Option<String>) -> Vec<Mutant> {
    let mut found = Vec::new();
    let root = policy.node();
    if let Value::Mapping(sections) = &root.value {
        for (at, (key, section)) in sections.iter().enumerate() {
            let mut walk = Walk {
                found: &mut found,
                path: vec![at],
                rule: key.name.clone(),
            };
            match (key.name.as_str(), &section.value) {
                ("default", Value::String(word)) if word != "allow" => walk.say(section, "allow"),
                ("routes", Value::Sequence(routes)) => walk.routes(routes),
                ("policies", _) => walk.members(section, &[]),
                ("issuers", Value::Mapping(issuers)) => {
                    for (at, (name, issuer)) in issuers.iter().enumerate() {
                        walk.enter(at, &member(&name.name), |walk| {
                            walk.members(issuer, &["issuer", "jwks", "secret"]);
                        });
                    }
                }
                _ => {}
            }
        }
    }
    let compiled = found.into_iter().filter_map(|edit| {
        let mut node = root.clone();
        apply(&mut node, &edit.path, &edit.change)?;
        let policy = policy.with_node(node);
        policy.compile(secret).0?;
        Some(Mutant {
            place: edit.place,
            rule: edit.rule,
            change: edit.change,
            policy,
        })
    });
    compiled.collect()
}

/// A change at a place; the path is a chain of indexes into mappings and lists.
struct Edit {
    place: Span,
    path: Vec<usize>,
    rule: String,
    change: Change,
}

struct Walk<'a> {
    found: &'a mut Vec<Edit>,
    path: Vec<usize>,
    rule: String,
}

impl Walk<'_> {
    fn enter(&mut self, at: usize, name: &str, inside: impl FnOnce(&mut Self)) {
        let length = self.rule.len();
        self.path.push(at);
        self.rule.push_str(name);
        inside(self);
        self.path.pop();
        self.rule.truncate(length);
    }

    fn add(&mut self, place: Span, change: Change) {
        self.found.push(Edit {
            place,
            path: self.path.clone(),
            rule: self.rule.clone(),
            change,
        });
    }

    fn say(&mut self, node: &Node, now: &str) {
        let was = match &node.value {
            Value::String(text) => text.clone(),
            Value::Bool(value) => value.to_string(),
            _ => return,
        };
        let now = now.to_owned();
        self.add(node.span, Change::Say { was, now });
    }

    fn routes(&mut self, routes: &[Node]) {
        for (at, route) in routes.iter().enumerate() {
            self.enter(at, &format!("[{at}]"), |walk| {
                walk.add(route.span, Change::Drop);
                if at + 1 < routes.len() {
                    walk.add(route.span, Change::Demote);
                }
                walk.members(route, &["policy"]);
            });
        }
    }

    /// Everything in a node; `but` names members that stay as they are.
    fn members(&mut self, node: &Node, but: &[&str]) {
        match &node.value {
            Value::Mapping(members) => {
                for (at, (key, value)) in members.iter().enumerate() {
                    if but.contains(&key.name.as_str()) {
                        continue;
                    }
                    self.enter(at, &member(&key.name), |walk| {
                        walk.add(key.span, Change::Drop);
                        walk.weaken(&key.name, value);
                        walk.members(value, &[]);
                    });
                }
            }
            Value::Sequence(list) => {
                for (at, element) in list.iter().enumerate() {
                    self.enter(at, &format!("[{at}]"), |walk| {
                        if list.len() > 1 {
                            walk.add(element.span, Change::Drop);
                        }
                        walk.members(element, &[]);
                    });
                }
            }
            _ => {}
        }
    }

    fn weaken(&mut self, key: &str, value: &Node) {
        const ACTIONS: [&str; 7] = ["reject", "strip", "mask", "tokenize", "seal", "year", "zip3"];
        match &value.value {
            Value::Bool(is) => self.say(value, if *is { "false" } else { "true" }),
            Value::String(word) if key == "class" && word != "public" => self.say(value, "public"),
            Value::String(word) if key.starts_with("on_") && ACTIONS.contains(&word.as_str()) => {
                self.say(value, "observe");
            }
            // Under `query` and the like, where keys are names. Elsewhere the word does not compile.
            Value::String(word) if ACTIONS.contains(&word.as_str()) => self.say(value, "pass"),
            _ => {}
        }
    }
}

/// None: the path leads nowhere.
fn apply(root: &mut Node, path: &[usize], change: &Change) -> Option<()> {
    let (last, way) = path.split_last()?;
    let mut node = root;
    for at in way {
        node = child(node, *at)?;
    }
    match change {
        Change::Drop => match &mut node.value {
            Value::Mapping(members) if *last < members.len() => drop(members.remove(*last)),
            Value::Sequence(list) if *last < list.len() => drop(list.remove(*last)),
            _ => return None,
        },
        Change::Say { now, .. } => {
            let value = &mut child(node, *last)?.value;
            *value = match value {
                Value::Bool(is) => Value::Bool(!*is),
                _ => Value::String(now.clone()),
            };
        }
        Change::Demote => match &mut node.value {
            Value::Sequence(list) if last + 1 < list.len() => list.swap(*last, last + 1),
            _ => return None,
        },
    }
    Some(())
}

fn child(node: &mut Node, at: usize) -> Option<&mut Node> {
    match &mut node.value {
        Value::Mapping(members) => members.get_mut(at).map(|(_, value)| value),
        Value::Sequence(list) => list.get_mut(at),
        _ => None,
    }
}

/// How a member is written behind what it belongs to: as in JavaScript.
pub(crate) fn member(name: &str) -> String {
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if plain {
        format!(".{name}")
    } else {
        format!("[\"{name}\"]")
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    const POLICY: &str = r#"version: 1
issuers:
  ehr: {issuer: "https://idp.example.org", audiences: [a, b], algorithms: [RS256], jwks: {remote: {cluster: idp, url: "https://idp.example.org/jwks"}}}
policies:
  open: {cache_control: {class: phi}}
  url:
    phi_url:
      preset: fhir-r4
      on_query: reject
      query: {name: mask}
  body:
    response_trim:
      views: [{deny: ["$.a", "$.b"], transform: {"$.c": last4}}]
routes:
  - match: {path_prefix: /a/, methods: [GET]}
    policy: url
  - match: {path_prefix: /b/}
    policy: body
default: deny
"#;

    fn policy(text: &str) -> PolicyFile {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path: PathBuf = std::env::temp_dir().join(format!("scrim-mutate-{}-{number}.yaml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let policy = PolicyFile::read(&path).map_err(|told| told.to_string()).unwrap();
        let _ = std::fs::remove_file(&path);
        let (compiled, told) = policy.compile(&|_| None);
        assert!(compiled.is_some(), "{told}");
        policy
    }

    fn told(text: &str) -> Vec<String> {
        let policy = policy(text);
        let made = mutants(&policy, &|_| None);
        made.iter()
            .map(|mutant| format!("{} {} {}", mutant.place.line, mutant.rule, mutant.change))
            .collect()
    }

    #[test]
    fn every_rule_is_taken_away_or_weakened_once_at_its_place() {
        let told = told(POLICY);
        for wanted in [
            "3 issuers.ehr.audiences[1] dropped",
            "5 policies.open.cache_control dropped",
            "5 policies.open.cache_control.class `phi` became `public`",
            "9 policies.url.phi_url.on_query `reject` became `observe`",
            "10 policies.url.phi_url.query.name dropped",
            "10 policies.url.phi_url.query.name `mask` became `pass`",
            "13 policies.body.response_trim.views[0].deny[0] dropped",
            "13 policies.body.response_trim.views[0].transform[\"$.c\"] dropped",
            "15 routes[0] dropped",
            "15 routes[0] put behind the next",
            "15 routes[0].match.methods dropped",
            "19 default `deny` became `allow`",
        ] {
            assert!(told.contains(&wanted.to_owned()), "{wanted} of {told:#?}");
        }
        assert!(!told.iter().any(|line| line.contains("jwks")), "{told:#?}");
        assert!(!told.iter().any(|line| line.starts_with("19 routes")), "{told:#?}");
        let mut once = told.clone();
        once.dedup();
        assert_eq!(once, told);
    }

    #[test]
    fn what_does_not_compile_is_no_mutant() {
        let told = told(POLICY);
        // Routes lead to them.
        assert!(!told.contains(&"6 policies.url dropped".to_owned()), "{told:#?}");
        // A route without a condition, a list of one.
        assert!(!told.iter().any(|line| line.contains("routes[1].match dropped")));
        assert!(!told.iter().any(|line| line.contains("methods[0]")), "{told:#?}");
    }

    #[test]
    fn a_mutant_differs_from_its_file_in_one_rule() {
        let policy = policy(POLICY);
        let whole = policy.configuration(true);
        for mutant in mutants(&policy, &|_| None) {
            assert_ne!(mutant.policy.configuration(true), whole, "{}", mutant.rule);
        }
    }

    #[test]
    fn the_example_has_mutants_of_every_filter() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/fhir-gateway/policy.yaml");
        let policy = PolicyFile::read(&path).map_err(|told| told.to_string()).unwrap();
        let secret = |_: &str| Some("c3ludGhldGljLXRlc3Qta2V5LW5vdC1hLXNlY3JldCE=".to_owned());
        let made = mutants(&policy, &secret);
        for filter in ["oauth_scope", "phi_url", "cache_control", "response_trim", "routes["] {
            let count = made.iter().filter(|mutant| mutant.rule.contains(filter)).count();
            assert!(count >= 10, "{filter}: {count}");
        }
    }
}
