//! Which parts of a policy file cases came by, from the audit records of their exchanges.
//!
//! 1. A **route**, or `default`, is covered when it chose the policy of a request.
//! 2. `oauth_scope` is covered when it let something pass and when it denied something: two points. Likewise `phi_url`, where changing a URL counts as
//!    denying.
//! 3. `cache_control` is covered when its policy let a request pass; a **view** of `response_trim` when it was the one applied.
//! 4. A policy that only the proxy's own metadata names is covered like any other, by its filters.
//!
//! That a part was come by does not say that a case would notice its absence: [`crate::mutate`] does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use scrim_policy::document::{Node, Span, Value};
use serde::Serialize;
use serde_json::Value as Json;

use crate::exchange::Outcome;
use crate::policy_file::PolicyFile;

/// What cases came by of one policy file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// The policy file.
    pub file: PathBuf,
    /// Its points, in the order of the file.
    pub points: Vec<Point>,
}

/// Something that cases can come by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Point {
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
    /// The part, from the file's root: `routes[2]`, `policies.clinician.oauth_scope`.
    pub part: String,
    /// What it has to have done.
    pub deed: Deed,
    /// How many exchanges saw that.
    pub seen: u64,
}

/// What a part of a policy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// It chose a request's policy.
    Choose,
    /// It let a request pass.
    Allow,
    /// It denied a request, or changed its URL.
    Deny,
    /// It was applied to a response.
    Apply,
}

impl Deed {
    fn lacking(self) -> &'static str {
        match self {
            Deed::Choose => "chose no policy",
            Deed::Allow => "let nothing pass",
            Deed::Deny => "denied nothing",
            Deed::Apply => "was not applied",
        }
    }
}

/// What an outcome says of the policy that governed it: the audit record, where there is one.
pub fn record(outcome: &Outcome) -> Option<Json> {
    serde_json::from_str(outcome.filter_state.get("scrim.audit")?).ok()
}

impl Coverage {
    /// What `records` (see [`record`]) came by. Records of other policy files are passed over. `None`: the file does not compile.
    pub fn of(policy: &PolicyFile, secret: &dyn Fn(&str) -> Option<String>, records: &[Json]) -> Option<Self> {
        let compiled = policy.compile(secret).0?;
        let mut seen: BTreeMap<(String, Deed), u64> = BTreeMap::new();
        for record in records {
            if record.get("policy_digest").and_then(Json::as_str) == Some(compiled.digest()) {
                for deed in deeds(record) {
                    *seen.entry(deed).or_default() += 1;
                }
            }
        }
        let points = points(policy.node()).into_iter().map(|(place, part, deed)| Point {
            line: place.line,
            column: place.column,
            seen: seen.get(&(part.clone(), deed)).copied().unwrap_or_default(),
            part,
            deed,
        });
        Some(Coverage {
            file: policy.path.clone(),
            points: points.collect(),
        })
    }

    /// How many points were come by.
    pub fn covered(&self) -> usize {
        self.points.iter().filter(|point| point.seen > 0).count()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        writeln!(f, "{file}: {} of {} points covered", self.covered(), self.points.len())?;
        for point in self.points.iter().filter(|point| point.seen == 0) {
            let Point {
                line,
                column,
                part,
                deed,
                ..
            } = point;
            writeln!(f, "{file}:{line}:{column}: `{part}` {}", deed.lacking())?;
        }
        Ok(())
    }
}

/// What one exchange came by.
fn deeds(record: &Json) -> BTreeSet<(String, Deed)> {
    let mut deeds = BTreeSet::new();
    let text = |name: &str| record.get(name).and_then(Json::as_str);
    if let Some(route) = text("route") {
        deeds.insert((route.to_owned(), Deed::Choose));
    }
    let Some(policy) = text("policy") else { return deeds };
    let policy = format!("policies{}", crate::mutate::member(policy));
    let decision = |filter: &str| {
        record
            .pointer(&format!("/filters/{filter}/decision"))
            .and_then(Json::as_str)
    };
    for filter in ["oauth_scope", "phi_url"] {
        let part = format!("{policy}.{filter}");
        match decision(filter) {
            Some("allow") => drop(deeds.insert((part, Deed::Allow))),
            Some(_) => drop(deeds.insert((part, Deed::Deny))),
            None => {}
        }
    }
    let changed = ["masked", "stripped", "generalized", "tokenized", "observed", "detected"];
    let count = |name: &str| record.pointer(&format!("/counts/{name}")).and_then(Json::as_u64);
    if changed.iter().any(|name| count(name).is_some_and(|count| count > 0)) {
        deeds.insert((format!("{policy}.phi_url"), Deed::Deny));
    }
    if text("decision") == Some("allow") {
        deeds.insert((format!("{policy}.cache_control"), Deed::Apply));
    }
    if let Some(view) = record.get("view").and_then(Json::as_u64) {
        deeds.insert((format!("{policy}.response_trim.views[{view}]"), Deed::Apply));
    }
    deeds
}

/// What there is to come by, in the order of the file.
fn points(root: &Node) -> Vec<(Span, String, Deed)> {
    let mut points = Vec::new();
    let Value::Mapping(sections) = &root.value else {
        return points;
    };
    for (key, section) in sections {
        match (key.name.as_str(), &section.value) {
            ("default", _) => points.push((key.span, "default".to_owned(), Deed::Choose)),
            ("routes", Value::Sequence(routes)) => {
                let routes = routes.iter().enumerate();
                points.extend(routes.map(|(at, route)| (route.span, format!("routes[{at}]"), Deed::Choose)));
            }
            ("policies", Value::Mapping(policies)) => {
                for (name, policy) in policies {
                    let policy_name = format!("policies{}", crate::mutate::member(&name.name));
                    let Value::Mapping(filters) = &policy.value else {
                        continue;
                    };
                    for (filter, spec) in filters {
                        let part = format!("{policy_name}.{}", filter.name);
                        match filter.name.as_str() {
                            "oauth_scope" | "phi_url" => {
                                points.push((filter.span, part.clone(), Deed::Allow));
                                points.push((filter.span, part, Deed::Deny));
                            }
                            "cache_control" => points.push((filter.span, part, Deed::Apply)),
                            "response_trim" => points.extend(views(spec, &part)),
                            _ => {}
                        }
                    }
                }
            }
            _ => {}
        }
    }
    points
}

fn views(spec: &Node, part: &str) -> Vec<(Span, String, Deed)> {
    let Value::Mapping(members) = &spec.value else {
        return Vec::new();
    };
    let views = members
        .iter()
        .find(|(key, _)| key.name == "views")
        .map(|(_, views)| &views.value);
    let Some(Value::Sequence(views)) = views else {
        return Vec::new();
    };
    let views = views.iter().enumerate();
    views
        .map(|(at, view)| (view.span, format!("{part}.views[{at}]"), Deed::Apply))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"version: 1
policies:
  url:
    phi_url: {on_query: reject, preset: fhir-r4}
    cache_control: {class: phi}
  body:
    response_trim:
      views:
        - {when: {permission: [x]}, deny: ["$.a"]}
        - {deny: ["$.b"]}
routes:
  - match: {path_prefix: /a/}
    policy: url
  - match: {path_prefix: /b/}
    policy: body
default: deny
"#;

    fn coverage(records: &[Json]) -> Vec<String> {
        let path = std::env::temp_dir().join(format!("scrim-coverage-{}-{}.yaml", std::process::id(), records.len()));
        std::fs::write(&path, POLICY.replace("when: {permission: [x]}, ", "status: [4xx], ")).unwrap();
        let policy = PolicyFile::read(&path).map_err(|told| told.to_string()).unwrap();
        let _ = std::fs::remove_file(&path);
        let (compiled, told) = policy.compile(&|_| None);
        let digest = compiled.unwrap_or_else(|| panic!("{told}")).digest().to_owned();
        let records: Vec<Json> = records
            .iter()
            .map(|record| {
                let mut record = record.clone();
                record
                    .as_object_mut()
                    .unwrap()
                    .entry("policy_digest")
                    .or_insert(digest.clone().into());
                record
            })
            .collect();
        let coverage = Coverage::of(&policy, &|_| None, &records).unwrap();
        let text = coverage.to_string();
        let name = format!("{}:", path.display());
        text.lines().map(|line| line.replace(&name, "")).collect()
    }

    #[test]
    fn without_exchanges_nothing_is_covered() {
        assert_eq!(
            coverage(&[]),
            [
                " 0 of 8 points covered",
                "4:5: `policies.url.phi_url` let nothing pass",
                "4:5: `policies.url.phi_url` denied nothing",
                "5:5: `policies.url.cache_control` was not applied",
                "9:11: `policies.body.response_trim.views[0]` was not applied",
                "10:11: `policies.body.response_trim.views[1]` was not applied",
                "12:5: `routes[0]` chose no policy",
                "14:5: `routes[1]` chose no policy",
                "16:1: `default` chose no policy",
            ]
        );
    }

    #[test]
    fn each_record_covers_what_it_tells_of() {
        let denied = serde_json::json!({"route": "routes[0]", "policy": "url", "decision": "deny",
            "filters": {"phi_url": {"decision": "deny"}}, "counts": {}});
        let trimmed = serde_json::json!({"route": "routes[1]", "policy": "body", "decision": "allow", "view": 1,
            "filters": {"response_trim": {"decision": "allow"}}, "counts": {"removed": 1}});
        let other = serde_json::json!({"route": "default", "policy_digest": "another file's"});
        assert_eq!(
            coverage(&[denied, trimmed, other]),
            [
                " 4 of 8 points covered",
                "4:5: `policies.url.phi_url` let nothing pass",
                "5:5: `policies.url.cache_control` was not applied",
                "9:11: `policies.body.response_trim.views[0]` was not applied",
                "16:1: `default` chose no policy",
            ]
        );
    }

    #[test]
    fn a_changed_url_counts_as_denied() {
        let masked = serde_json::json!({"route": "routes[0]", "policy": "url", "decision": "allow",
            "filters": {"phi_url": {"decision": "allow"}}, "counts": {"masked": 2}});
        let told = coverage(&[masked]);
        assert_eq!(told[0], " 4 of 8 points covered");
        assert!(!told.iter().any(|line| line.contains("policies.url")), "{told:?}");
    }
}
