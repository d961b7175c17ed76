//! Compiles `phi_url` sections.

use super::Section;
use crate::chain::names_another_url;
use crate::document::{At, Span};
use crate::phi::{self, DetectEntry, Detector, PathTemplate, PhiPolicy, RulesError, Secrets};
use crate::policy_file::{self, Action, Detect, PhiUrl, Preset, QueryAction, ResponseAction};

impl Section<'_> {
    pub(super) fn phi_url(&mut self, policy: &str, at: &At<PhiUrl>) -> Option<PhiPolicy> {
        let section = &at.value;
        self.has_effect(at);
        let mut action =
            |given: &Option<At<Action>>| given.as_ref().map(|given| self.keyed(rule(given.value), given.span));
        let (on_query, on_path, on_detect) = (
            action(&section.on_query),
            action(&section.on_path),
            action(&section.on_detect),
        );
        let mut query = Vec::new();
        for (name, action) in &section.query.entries {
            if name.value.is_empty() || name.value.contains([':', '.', '&', '=', '%', ' ']) {
                self.problems.error(
                    name.span,
                    format!(
                        "`{}` is no base name; modifiers and chains match by it, write the name alone",
                        name.value
                    ),
                );
            }
            query.push((name.value.clone(), self.keyed(query_rule(action.value), action.span)));
        }
        let mut path = Vec::new();
        for (template, action) in &section.path.entries {
            match PathTemplate::parse(&template.value) {
                Ok(parsed) => path.push((parsed, self.keyed(query_rule(action.value), action.span))),
                Err(why) => self.problems.error(template.span, why),
            }
        }
        let mut headers = Vec::new();
        for (name, action) in &section.headers.entries {
            if action.value == QueryAction::Seal {
                self.problems.error(
                    action.span,
                    "`seal` lets no header through, since nothing is ever sealed for one; use `reject`, `tokenize` or `mask` (what is sealed within `if-none-exist` is opened where that stands alone)",
                );
                continue;
            }
            headers.push((self.header(name), self.keyed(query_rule(action.value), action.span)));
        }
        let on_body = section
            .on_body
            .as_ref()
            .map(|body| self.keyed(query_rule(body.value), body.span));
        if let Some(at) = section.on_body.as_ref().filter(|body| body.value == QueryAction::Strip) {
            self.problems.error(
                at.span,
                "`strip` would widen the searches that POST `_search` is there for; use `tokenize`, `mask` or `reject`",
            );
        }
        let on_response = section
            .on_response
            .as_ref()
            .map(|response| self.keyed(response_rule(response.value), response.span));
        let (detect, places) = self.detect(section);
        let rules = phi::Rules {
            preset: section.preset.map(|Preset::FhirR4| phi::Preset::FhirR4),
            on_query: on_query.unwrap_or(phi::Action::Reject),
            query,
            on_path,
            path,
            detect,
            on_detect: on_detect.unwrap_or(phi::Action::Reject),
            headers,
            on_body: on_body.unwrap_or(phi::Action::Pass),
            on_response,
            strip_safe: section
                .strip_safe
                .iter()
                .flatten()
                .map(|name| name.value.clone())
                .collect(),
        };
        let secrets = Secrets {
            policy: policy.to_owned(),
            pseudonyms: self.pseudonyms.cloned(),
            sealer: self.sealer.cloned(),
        };
        let compiled = match PhiPolicy::new(rules, secrets) {
            Ok(compiled) => compiled,
            Err(why) => {
                let span = match &why {
                    RulesError::Pattern(index, _) => places.get(*index).copied(),
                    RulesError::StripWidens(key) => place_of(section, key),
                    // `keyed` told it at its own place.
                    RulesError::NoKey(_) | RulesError::NoSealingKey(_) if self.problems.has_errors() => return None,
                    _ => None,
                };
                self.problems.error(span.unwrap_or(at.span), why.to_string());
                return None;
            }
        };
        for warning in compiled.warnings() {
            let span = place_of(section, &warning.key).unwrap_or(at.span);
            self.problems.warn(span, format!("`{}`: {}", warning.key, warning.text));
        }
        self.stripping(section);
        Some(compiled)
    }

    /// Warns of recognisers that strip, and of what is said to be safe to strip and is not stripped.
    fn stripping(&mut self, section: &PhiUrl) {
        let safe = || section.strip_safe.iter().flatten();
        let own = section.detect.iter().flatten().filter_map(|detect| match detect {
            Detect::Rule(rule) => rule.action.as_ref().map(|action| (rule.name.value.as_str(), action)),
            Detect::Named(_) => None,
        });
        let own: Vec<_> = own.filter(|(_, action)| action.value == Action::Strip).collect();
        if !safe().any(|safe| safe.value == "*") {
            for (name, action) in &own {
                self.problems.warn(
                    action.span,
                    format!("`detect.{name}`: `strip` widens a search or a read where the value filters; use `reject` or `mask`"),
                );
            }
        }
        let strips = |action: &Option<At<Action>>| action.as_ref().is_some_and(|action| action.value == Action::Strip);
        // What the preset knows, or a recogniser finds, may stand in any parameter.
        let any = !own.is_empty() || strips(&section.on_detect) || strips(&section.on_query);
        let strip = |(_, action): &&(_, At<QueryAction>)| action.value == QueryAction::Strip;
        let paths = strips(&section.on_path) || section.path.entries.iter().any(|entry| strip(&entry));
        let query = section.query.entries.iter().filter(strip);
        for safe in safe() {
            let all = safe.value == "*";
            let named = query.clone().any(|(name, _)| all || name.value == safe.value);
            if !(any || named || (all && paths)) {
                self.problems.warn(
                    safe.span,
                    format!(
                        "`{}` under `strip_safe` has no effect, since no rule strips it; remove it",
                        safe.value
                    ),
                );
            }
        }
    }

    /// What is looked for, and where each entry stands in the document.
    fn detect(&mut self, section: &PhiUrl) -> (Vec<DetectEntry>, Vec<Span>) {
        let (mut entries, mut places) = (Vec::new(), Vec::new());
        let mut add = |name: &str, pattern: Option<String>, action, except: Vec<String>, span| {
            entries.push(DetectEntry {
                name: name.to_owned(),
                pattern,
                action,
                except,
            });
            places.push(span);
        };
        for detect in section.detect.iter().flatten() {
            match detect {
                Detect::Named(named) if named.value == policy_file::Detector::SafeHarbor => {
                    for detector in Detector::ALL {
                        add(detector.code(), None, None, Vec::new(), named.span);
                    }
                }
                Detect::Named(named) => add(named.value.as_str(), None, None, Vec::new(), named.span),
                Detect::Rule(rule) => {
                    let name = rule.name.value.as_str();
                    let own = name
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
                    let known = Detector::from_code(name).is_some();
                    if name.is_empty() || name.len() > 40 || !own || name == policy_file::Detector::SafeHarbor.as_str()
                    {
                        self.problems.error(
                            rule.name.span,
                            format!("`{name}` is no name for a recogniser; use small letters, digits, `-` and `_`, at most 40"),
                        );
                    } else if DETAILS.contains(&name) {
                        self.problems.error(
                            rule.name.span,
                            format!("`{name}` is what answers and records say of other rules, call the recogniser something else, such as `own-{name}`"),
                        );
                    } else if rule.pattern.is_none() && !known {
                        self.problems.error(
                            rule.name.span,
                            format!("no recogniser is called `{name}`, give it a `pattern`"),
                        );
                    }
                    let action = rule
                        .action
                        .as_ref()
                        .map(|action| self.keyed(self::rule(action.value), action.span));
                    let place = rule.pattern.as_ref().map_or(rule.name.span, |pattern| pattern.span);
                    add(
                        name,
                        rule.pattern.as_ref().map(|pattern| pattern.value.clone()),
                        action,
                        rule.except.iter().flatten().map(|name| name.value.clone()).collect(),
                        place,
                    );
                }
            }
        }
        (entries, places)
    }

    /// Tells keys that change nothing.
    fn has_effect(&mut self, at: &At<PhiUrl>) {
        if !self.whole {
            return;
        }
        let section = &at.value;
        let detects = section.detect.as_ref().is_some_and(|detect| !detect.is_empty());
        if let Some(on_detect) = section.on_detect.as_ref().filter(|_| !detects) {
            self.problems.error(
                on_detect.span,
                "`on_detect` has no effect without `detect`, name recognisers or remove it",
            );
        }
        for (key, span) in [
            ("on_query", section.on_query.as_ref().map(|action| action.span)),
            ("on_path", section.on_path.as_ref().map(|action| action.span)),
        ] {
            if let Some(span) = span.filter(|_| section.preset.is_none()) {
                self.problems.error(
                    span,
                    format!(
                        "`{key}` has no effect without `preset`, which says what carries PHI; add `preset: fhir-r4`"
                    ),
                );
            }
        }
        let by_name = !(section.query.entries.is_empty()
            && section.path.entries.is_empty()
            && section.headers.entries.is_empty());
        if section.preset.is_none() && !by_name && !detects {
            self.problems.error(
                at.span,
                "this finds nothing, add `preset: fhir-r4`, `query`, `path` or `detect`",
            );
        }
    }

    /// A header's name, lowercase.
    fn header(&mut self, name: &At<String>) -> String {
        let lower = name.value.to_ascii_lowercase();
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if lower.is_empty() || !lower.bytes().all(token) {
            self.problems.error(
                name.span,
                format!(
                    "`{}` is no header's name (RFC 9110 5.1); pseudo-headers have rules of their own",
                    name.value
                ),
            );
        }
        if [
            "authorization",
            "host",
            "content-length",
            "transfer-encoding",
            "connection",
        ]
        .contains(&lower.as_str())
        {
            self.problems.error(
                name.span,
                format!("`{lower}` is what others go by and can't be changed here, remove it"),
            );
        }
        if names_another_url(lower.as_bytes()) {
            self.problems.error(
                name.span,
                format!("`{lower}` has no effect: it is removed from every request before, since an upstream could serve another URL by it; remove it here"),
            );
        }
        lower
    }

    /// An action, told at its place where its key is missing.
    fn keyed(&mut self, action: phi::Action, span: Span) -> phi::Action {
        self.needs_key(action == phi::Action::Tokenize, span);
        let keyless = self.file.keys.as_ref().is_none_or(|keys| keys.sealing.is_none());
        if action == phi::Action::Seal && keyless && self.whole {
            self.problems.error(
                span,
                "`seal` needs a key, add `keys: {sealing: {env: SCRIM_SEALING_KEY}}`",
            );
        }
        action
    }

    pub(super) fn needs_key(&mut self, tokenizes: bool, span: Span) {
        let keyless = self.file.keys.as_ref().is_none_or(|keys| keys.pseudonyms.is_none());
        if tokenizes && keyless && self.whole {
            self.problems.error(
                span,
                "`tokenize` needs a key, add `keys: {pseudonyms: {env: SCRIM_PSEUDONYM_KEY}}`",
            );
        }
    }
}

/// The details of reasons that are no recognisers (`Kind::code`).
const DETAILS: [&str; 5] = ["path", "query", "header", "sealed", "unreadable"];

/// Where a key of the section stands in the document.
fn place_of(section: &PhiUrl, key: &str) -> Option<Span> {
    match key {
        "on_query" => section.on_query.as_ref().map(|action| action.span),
        "on_path" => section.on_path.as_ref().map(|action| action.span),
        "on_detect" => section.on_detect.as_ref().map(|action| action.span),
        "path" => section
            .path
            .entries
            .iter()
            .find(|(_, action)| action.value == QueryAction::Strip)
            .map(|(_, action)| action.span),
        key => key
            .strip_prefix("query.")
            .and_then(|name| section.query.get(name))
            .map(|action| action.span),
    }
}

fn rule(action: Action) -> phi::Action {
    match action {
        Action::Reject => phi::Action::Reject,
        Action::Strip => phi::Action::Strip,
        Action::Mask => phi::Action::Mask,
        Action::Tokenize => phi::Action::Tokenize,
        Action::Generalize => phi::Action::Generalize,
        Action::Seal => phi::Action::Seal,
        Action::Observe => phi::Action::Observe,
    }
}

fn query_rule(action: QueryAction) -> phi::Action {
    match action {
        QueryAction::Reject => phi::Action::Reject,
        QueryAction::Strip => phi::Action::Strip,
        QueryAction::Mask => phi::Action::Mask,
        QueryAction::Tokenize => phi::Action::Tokenize,
        QueryAction::Generalize => phi::Action::Generalize,
        QueryAction::Seal => phi::Action::Seal,
        QueryAction::Observe => phi::Action::Observe,
        QueryAction::Pass => phi::Action::Pass,
    }
}

fn response_rule(action: ResponseAction) -> phi::Action {
    match action {
        ResponseAction::Mask => phi::Action::Mask,
        ResponseAction::Generalize => phi::Action::Generalize,
        ResponseAction::Tokenize => phi::Action::Tokenize,
        ResponseAction::Seal => phi::Action::Seal,
        ResponseAction::Observe => phi::Action::Observe,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Compiled;
    use crate::chain::ALL;
    use crate::document::{Node, Problems, Severity};
    use crate::phi::Kind;
    use base64::Engine as _;
    use serde_json::{Value as Json, json};

    fn problems(keys: Json, section: Json) -> Vec<(Severity, String)> {
        let document = json!({"version": "1", "keys": keys, "policies": {"p": {"phi_url": section}}});
        let mut problems = Problems::default();
        let key = |name: &str| {
            let byte = name.bytes().next().unwrap_or_default();
            (name != "UNSET").then(|| base64::engine::general_purpose::STANDARD.encode([byte; 32]))
        };
        let compiled = Compiled::new::<ALL>(&Node::from_json(&document), &key, &mut problems);
        assert_eq!(compiled.is_none(), problems.has_errors());
        problems
            .iter()
            .map(|problem| (problem.severity, problem.message.clone()))
            .filter(|(_, message)| !message.contains("`p`"))
            .collect()
    }

    fn both() -> Json {
        json!({"pseudonyms": {"env": "A"}, "old_pseudonyms": [{"env": "B"}], "sealing": {"env": "C"}, "old_sealing": [{"env": "D"}, {"env": "E"}]})
    }

    #[test]
    fn all_that_is_written_right_compiles() {
        let section = json!({
            "preset": "fhir-r4", "on_query": "seal", "on_path": "seal", "on_body": "tokenize", "on_response": "seal",
            "query": {"birthdate": "generalize", "session": "strip"}, "strip_safe": ["session"],
            "path": {"/members/{id}/claims/*": "tokenize"}, "headers": {"X-Patient": "tokenize", "if-none-exist": "pass"},
            "detect": ["ssn", {"name": "email", "action": "observe"}, {"name": "mrn", "pattern": "H[0-9]{7}"}],
        });
        assert_eq!(problems(both(), section), []);
        assert_eq!(problems(json!({}), json!({"detect": ["safe-harbor"]})), []);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_mend() {
        let fhir = |more: Json| {
            let mut section = json!({"preset": "fhir-r4", "on_path": "reject"});
            if let (Some(section), Json::Object(more)) = (section.as_object_mut(), more) {
                section.extend(more);
            }
            section
        };
        for (keys, section, part) in [
            (json!({}), fhir(json!({"on_query": "seal"})), "`seal` needs a key"),
            (json!({}), fhir(json!({"on_response": "seal"})), "`seal` needs a key"),
            (
                json!({}),
                fhir(json!({"on_body": "tokenize"})),
                "`tokenize` needs a key",
            ),
            (
                json!({}),
                fhir(json!({"headers": {"x": "tokenize"}})),
                "`tokenize` needs a key",
            ),
            (
                json!({}),
                fhir(json!({"path": {"/a/{b}": "seal"}})),
                "`seal` needs a key",
            ),
            (both(), fhir(json!({"on_body": "strip"})), "would widen the searches"),
            (both(), fhir(json!({"on_query": "strip"})), "widens a search"),
            (
                both(),
                fhir(json!({"query": {"identifier": "strip"}})),
                "widens a search",
            ),
            (both(), fhir(json!({"path": {"a": "mask"}})), "is no path template"),
            (both(), fhir(json!({"path": {"/a": "mask"}})), "means no segment"),
            (both(), fhir(json!({"headers": {":path": "mask"}})), "no header's name"),
            (
                both(),
                fhir(json!({"headers": {"Authorization": "mask"}})),
                "can't be changed here",
            ),
            (
                both(),
                fhir(json!({"detect": [{"name": "study"}]})),
                "give it a `pattern`",
            ),
            (
                both(),
                fhir(json!({"detect": [{"name": "A B", "pattern": "x"}]})),
                "no name for a recogniser",
            ),
            (
                both(),
                fhir(json!({"detect": [{"name": "safe-harbor"}]})),
                "no name for a recogniser",
            ),
            (both(), fhir(json!({"detect": ["snn"]})), "`ssn`"),
            (
                both(),
                fhir(json!({"detect": [{"name": "sealed", "pattern": "x[0-9]"}]})),
                "call the recogniser something else",
            ),
            (
                both(),
                fhir(json!({"headers": {"x-patient": "seal"}})),
                "`seal` lets no header through",
            ),
            (
                both(),
                fhir(json!({"headers": {"X-Rewrite-Url": "mask"}})),
                "`x-rewrite-url` has no effect",
            ),
            (
                json!({"old_sealing": [{"env": "D"}]}),
                fhir(json!({})),
                "an old key without a current one",
            ),
            (
                json!({"old_pseudonyms": [{"env": "D"}]}),
                fhir(json!({})),
                "an old key without a current one",
            ),
            (
                json!({"sealing": {"env": "UNSET"}}),
                fhir(json!({})),
                "`UNSET` is not set",
            ),
            (
                json!({"sealing": {"env": "C"}, "old_sealing": [{"env": "UNSET"}]}),
                fhir(json!({})),
                "`UNSET` is not set",
            ),
        ] {
            let told = problems(keys, section.clone());
            let errors: Vec<_> = told
                .iter()
                .filter(|(severity, _)| *severity == Severity::Error)
                .collect();
            assert!(
                matches!(errors.as_slice(), [(_, message)] if message.contains(part)),
                "{section}: {told:?}"
            );
        }
    }

    #[test]
    fn names_of_other_reasons_are_taken() {
        for kind in [Kind::Path, Kind::Query, Kind::Header, Kind::Sealed, Kind::Unreadable] {
            assert!(super::DETAILS.contains(&kind.code()), "{}", kind.code());
        }
    }

    #[test]
    fn what_widens_and_what_does_nothing_is_warned_of() {
        for (section, parts) in [
            (
                json!({"detect": [{"name": "ssn", "action": "strip"}]}),
                &["`detect.ssn`: `strip` widens"][..],
            ),
            (
                json!({"detect": ["ssn", {"name": "x", "pattern": "x[0-9]", "action": "strip"}, {"name": "x", "pattern": "y[0-9]", "action": "strip"}]}),
                &["`detect.x`: `strip` widens", "`detect.x`: `strip` widens"],
            ),
            (
                json!({"detect": [{"name": "ssn", "action": "strip"}], "strip_safe": ["*"]}),
                &[],
            ),
            (
                json!({"detect": [{"name": "ssn", "action": "strip"}], "strip_safe": ["tab"]}),
                &["`detect.ssn`: `strip` widens"],
            ),
            (
                json!({"detect": ["ssn"], "on_detect": "strip", "strip_safe": ["*"]}),
                &[],
            ),
            (
                json!({"query": {"session": "strip", "tab": "mask"}, "strip_safe": ["session", "tab", "other"]}),
                &[
                    "`tab` under `strip_safe` has no effect",
                    "`other` under `strip_safe` has no effect",
                ],
            ),
            (json!({"query": {"session": "strip"}, "strip_safe": ["*"]}), &[]),
            (
                json!({"detect": ["ssn"], "strip_safe": ["*"]}),
                &["`*` under `strip_safe` has no effect"],
            ),
            (json!({"path": {"/a/{b}": "strip"}, "strip_safe": ["*"]}), &[]),
            (
                json!({"headers": {"x-a": "strip"}, "strip_safe": ["x-a"]}),
                &["`x-a` under `strip_safe` has no effect"],
            ),
        ] {
            let told = problems(json!({}), section.clone());
            let as_said = told.len() == parts.len()
                && parts
                    .iter()
                    .zip(&told)
                    .all(|(part, (severity, message))| *severity == Severity::Warning && message.contains(part));
            assert!(as_said, "{section}: {told:?}");
        }
    }
}
