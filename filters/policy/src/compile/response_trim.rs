//! Compiles `response_trim`.

use std::sync::Arc;

use super::{At, Section, Span, phi, policy_file, transpose};
use crate::decode::Caps;
use crate::profiles::Profile;
use crate::response_trim::{MAX_VIEWS, MediaRange, ResponseTrim, StatusRange, View};
use crate::trim::{FhirPath, FhirRules, Others, Program, Rules, Selector, Transform, TypeRules};

impl Section<'_> {
    /// `urls`: whether the policy judges URLs, and so those in what is trimmed.
    pub(super) fn trim(
        &mut self,
        section: &policy_file::ResponseTrim,
        has_token: bool,
        urls: bool,
    ) -> Option<ResponseTrim> {
        let views = &section.views.value;
        if views.is_empty() && self.whole {
            self.problems.error(
                section.views.span,
                "without a view every body is refused; add at least one",
            );
        }
        let mode = section
            .mode
            .as_ref()
            .map_or(policy_file::TrimMode::Enforce, |mode| mode.value);
        if let Some(mode) = section.mode.as_ref().filter(|_| mode == policy_file::TrimMode::Observe) {
            self.problems.warn(
                mode.span,
                "under `observe` nothing is trimmed: every caller gets every field",
            );
        }
        if let Some(at) = views.get(MAX_VIEWS) {
            self.problems.error(
                at.span,
                format!("a policy has at most {MAX_VIEWS} views; put what callers have in common into one"),
            );
        }
        let caps = self.caps(section.decode.as_ref());
        let mut compiled = Vec::new();
        let mut always = false;
        for view in views {
            if always {
                self.problems.warn(
                    view.span,
                    "this view is never reached, the one above has no `when` and always applies",
                );
            }
            let value = &view.value;
            always |= value.when.is_none() && value.status.is_none() && value.content_type.is_none();
            compiled.push(self.view(view, has_token, urls));
        }
        compiled
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .map(|compiled| ResponseTrim {
                views: compiled,
                observe: mode == policy_file::TrimMode::Observe,
                replace_errors: section.errors == Some(policy_file::ErrorBodies::Replace),
                write_back: section.write_back.unwrap_or(policy_file::WriteBack::Refuse),
                caps,
                events: section.event_stream == Some(policy_file::EventStream::Trim),
                fhir: views.iter().any(|view| view.value.fhir.is_some()),
            })
    }

    fn caps(&mut self, decode: Option<&At<policy_file::Decoding>>) -> Caps {
        let mut caps = Caps::default();
        let Some(decode) = decode.map(|decode| &decode.value) else {
            return caps;
        };
        if let Some(size) = &decode.max_size {
            if size.value == 0 {
                self.problems.error(
                    size.span,
                    "a body of no bytes can't be decoded; write how many it may have",
                );
            }
            caps.max_size = size.value;
        }
        if let Some(ratio) = &decode.max_ratio {
            match u32::try_from(ratio.value) {
                Ok(value) if value > 0 => caps.max_ratio = value,
                _ => self.problems.error(
                    ratio.span,
                    "the ratio is a whole number from 1 on; `200` is enough for JSON, gzip can make 1032",
                ),
            }
        }
        caps
    }

    fn view(&mut self, at: &At<policy_file::View>, has_token: bool, urls: bool) -> Option<View> {
        let view = &at.value;
        let trims = view.deny.as_ref().is_some_and(|deny| !deny.is_empty())
            || view.allow.is_some()
            || !view.transform.entries.is_empty()
            || view.fhir.is_some();
        if view.when.is_some() && !has_token && self.whole {
            self.problems.error(
                at.span,
                "`when` asks for scopes, but this policy has no `oauth_scope` that would validate a token; add it",
            );
        }
        if !trims && self.whole {
            self.problems.warn(
                at.span,
                "this view lets the whole body pass; name what to `deny`, `allow` or `transform`, or rules by `fhir` type",
            );
        }
        let when = view.when.as_ref().map(|when| self.need(when));
        let statuses = self.each(view.status.as_deref(), |status| {
            StatusRange::parse(&status.value.0).ok_or_else(|| {
                let text = &status.value.0;
                (
                    status.span,
                    format!("`{text}` is no status of a response; write `200` or `4xx`"),
                )
            })
        });
        let types = self.each(view.content_type.as_deref(), |media| {
            MediaRange::parse(&media.value).ok_or_else(|| {
                let text = &media.value;
                (
                    media.span,
                    format!("`{text}` is no media type; write `application/fhir+json` or `application/*`, without parameters"),
                )
            })
        });
        let program = self.programs.map(|compile| compile(self, at, urls).map(Arc::new));
        Some(View {
            when: transpose(when)?,
            statuses: statuses?,
            types: types?,
            program: transpose(program)?,
            trims,
        })
    }

    /// What a view does. `urls`: whether the policy judges URLs, and so those in what is trimmed.
    pub(super) fn program(&mut self, at: &At<policy_file::View>, urls: bool) -> Option<Program> {
        let view = &at.value;
        if view.allow.as_ref().is_some_and(Vec::is_empty) {
            self.problems.warn(at.span, "`allow` of nothing leaves an empty body");
        }
        let deny = self.selectors(view.deny.as_deref().unwrap_or_default());
        let allow = view.allow.as_ref().map(|allow| self.selectors(allow));
        let mut transforms = Vec::new();
        for (selector, transform) in &view.transform.entries {
            self.needs_key(transform.value == policy_file::Transform::Tokenize, transform.span);
            transforms.push(
                self.selector(selector)
                    .map(|selector| (selector, transform_of(transform.value))),
            );
        }
        // After the policy's own, which so come first where both select a value.
        if urls && view.fhir.is_none() {
            transforms.extend(phi::rewrites().into_iter().map(Some));
        }
        let fhir = view.fhir.as_ref().map(|fhir| self.fhir(fhir, urls));
        let rules = Rules {
            deny: deny?,
            allow: transpose(allow)?,
            transforms: transforms.into_iter().collect::<Option<Vec<_>>>()?,
            fhir: transpose(fhir)?,
        };
        match Program::compile(rules) {
            Ok(program) => Some(program),
            Err(why) => {
                self.problems.error(at.span, why.to_string());
                None
            }
        }
    }

    /// Rules by resource type: the profile's, with the view's own laid over them. `urls`: the policy judges URLs.
    fn fhir(&mut self, at: &At<policy_file::Fhir>, urls: bool) -> Option<FhirRules> {
        let fhir = &at.value;
        let mut rules = FhirRules {
            tag: true,
            ..FhirRules::default()
        };
        if let Some(profile) = &fhir.profile {
            // Its tests show that it parses.
            rules = Profile::named(profile.value.as_str())?.rules().ok()?;
            let own = rules.types.iter().map(|(_, own)| own).chain([&rules.all]);
            let tokenizes = own
                .flat_map(|own| &own.transforms)
                .any(|(_, transform)| *transform == Transform::Tokenize);
            self.needs_key(tokenizes, profile.span);
        }
        rules.tag = fhir.tag.unwrap_or(rules.tag);
        for group in fhir.remove.iter().flatten() {
            let goes = match group {
                policy_file::Group::Narrative => &mut rules.narrative,
                policy_file::Group::ReferenceDisplay => &mut rules.reference_display,
                policy_file::Group::Attachments => &mut rules.attachments,
                policy_file::Group::Extensions => &mut rules.extensions,
            };
            *goes = true;
        }
        let mut whole = true;
        if let Some(others) = fhir.others {
            rules.others = match others {
                policy_file::Others::Keep => Others::Keep,
                policy_file::Others::Remove => Others::Remove,
            };
        }
        if let Some(own) = &fhir.all {
            match self.resource_rules(own) {
                Some(own) => lay_over(&mut rules.all, own),
                None => whole = false,
            }
        }
        for (name, own) in &fhir.types.entries {
            let Some(own) = self.resource_rules(own) else {
                whole = false;
                continue;
            };
            match rules.types.iter_mut().find(|(listed, _)| *listed == name.value) {
                Some((_, rules)) => lay_over(rules, own),
                None => rules.types.push((name.value.clone(), own)),
            }
        }
        if urls {
            for (name, rewrites) in phi::rewrites_by_type() {
                of_type(&mut rules, name).transforms.extend(rewrites);
            }
        } else if fhir.profile.as_ref().is_some_and(|profile| hides_who(profile.value)) {
            // A link repeats the search, and nobody judges it.
            let links = ["link", "entry.link", "entry.response.location"];
            let paths = links.iter().filter_map(|path| FhirPath::parse(path).ok());
            of_type(&mut rules, "Bundle").deny.extend(paths);
        }
        whole.then_some(rules)
    }

    fn resource_rules(&mut self, own: &policy_file::ResourceRules) -> Option<TypeRules> {
        let deny = self.each(own.deny.as_deref(), fhir_path);
        let allow = own.allow.as_ref().map(|allow| self.each(Some(allow), fhir_path));
        let mut transforms = Some(Vec::new());
        for (path, transform) in &own.transform.entries {
            self.needs_key(transform.value == policy_file::Transform::Tokenize, transform.span);
            match (fhir_path(path), &mut transforms) {
                (Ok(path), Some(list)) => list.push((path, transform_of(transform.value))),
                (Ok(_), None) => {}
                (Err((span, text)), _) => {
                    self.problems.error(span, text);
                    transforms = None;
                }
            }
        }
        Some(TypeRules {
            deny: deny?,
            allow: transpose(allow)?,
            transforms: transforms?,
        })
    }

    /// Compiles a list, noting each problem.
    fn each<T, C>(&mut self, list: Option<&[T]>, compile: impl Fn(&T) -> Result<C, (Span, String)>) -> Option<Vec<C>> {
        let mut compiled = Some(Vec::new());
        for one in list.unwrap_or_default() {
            match compile(one) {
                Ok(one) => {
                    if let Some(list) = &mut compiled {
                        list.push(one);
                    }
                }
                Err((span, text)) => {
                    self.problems.error(span, text);
                    compiled = None;
                }
            }
        }
        compiled
    }

    fn selectors(&mut self, texts: &[At<String>]) -> Option<Vec<Selector>> {
        let parsed: Vec<_> = texts.iter().map(|text| self.selector(text)).collect();
        parsed.into_iter().collect()
    }

    fn selector(&mut self, text: &At<String>) -> Option<Selector> {
        match Selector::parse(&text.value) {
            Ok(selector) => Some(selector),
            Err(why) => {
                self.problems.error(text.span, format!("`{}`: {why}", text.value));
                None
            }
        }
    }
}

/// The rules of a type, which is listed from now on.
fn of_type<'r>(rules: &'r mut FhirRules, name: &str) -> &'r mut TypeRules {
    let at = rules
        .types
        .iter()
        .position(|(listed, _)| listed == name)
        .unwrap_or_else(|| {
            rules.types.push((name.to_owned(), TypeRules::default()));
            rules.types.len().saturating_sub(1)
        });
    match rules.types.get_mut(at) {
        Some((_, rules)) => rules,
        // It was found there.
        None => &mut rules.all,
    }
}

/// Whether the profile is for data that tells nobody who it is about.
fn hides_who(profile: policy_file::Profile) -> bool {
    matches!(
        profile,
        policy_file::Profile::SafeHarbor | policy_file::Profile::LimitedDataSet
    )
}

/// What the view says is added to what goes, comes first among what is made coarser, and says anew what alone stays.
fn lay_over(rules: &mut TypeRules, own: TypeRules) {
    rules.deny.extend(own.deny);
    if own.allow.is_some() {
        rules.allow = own.allow;
    }
    let profile = std::mem::replace(&mut rules.transforms, own.transforms);
    rules.transforms.extend(profile);
}

fn fhir_path(text: &At<String>) -> Result<FhirPath, (Span, String)> {
    FhirPath::parse(&text.value).map_err(|why| (text.span, format!("`{}`: {why}", text.value)))
}

fn transform_of(transform: policy_file::Transform) -> Transform {
    match transform {
        policy_file::Transform::Year => Transform::Year,
        policy_file::Transform::BirthYear => Transform::BirthYear,
        policy_file::Transform::YearMonth => Transform::YearMonth,
        policy_file::Transform::Zip3 => Transform::Zip3,
        policy_file::Transform::Round => Transform::Round,
        policy_file::Transform::Last4 => Transform::Last4,
        policy_file::Transform::Mask => Transform::Mask,
        policy_file::Transform::Tokenize => Transform::Tokenize,
        policy_file::Transform::Null => Transform::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Compiled, Node, Problems};
    use crate::chain::ALL;
    use serde_json::{Value as Json, json};

    /// What is told of a `response_trim` section.
    fn told(section: Json, key: bool) -> Vec<String> {
        let mut document = json!({
            "version": "1",
            "policies": {"p": {"response_trim": section}},
            "routes": [{"match": {}, "policy": "p"}],
        });
        if key {
            document["keys"] = json!({"pseudonyms": {"env": "K"}});
        }
        let mut problems = Problems::default();
        let secret = "c2NyaW0gY2hlY2tzIHdpdGggYSBzdGFuZC1pbiBrZXk=".to_owned();
        Compiled::new::<ALL>(&Node::from_json(&document), &|_| Some(secret.clone()), &mut problems);
        problems.iter().map(|problem| problem.message.clone()).collect()
    }

    fn view(view: Json) -> Json {
        json!({ "views": [view] })
    }

    #[test]
    fn what_is_right_is_told_nothing() {
        for section in [
            view(json!({"deny": ["$..telecom[?@.system == 'phone']"]})),
            view(json!({"status": ["4xx", 404], "content_type": ["application/*"], "deny": ["$.a"]})),
            view(
                json!({"fhir": {"types": {"Patient": {"allow": ["name.family"], "transform": {"birthDate": "birth-year"}}}}}),
            ),
            view(json!({"fhir": {"profile": "demographics", "types": {"Coverage": {"deny": ["note"]}}, "tag": false}})),
            view(
                json!({"fhir": {"remove": ["narrative", "extensions"], "others": "remove", "unsafe": ["Patient.active"]}}),
            ),
            json!({"views": [{"status": ["4xx"], "allow": ["$.a"]}, {"deny": ["$.b"]}], "errors": "replace", "event_stream": "trim",
                "write_back": "allow", "decode": {"max_size": 1, "max_ratio": 1}}),
        ] {
            assert_eq!(told(section.clone(), false), [""; 0], "{section}");
        }
        for profile in ["safe-harbor", "limited-data-set", "clinical-no-narrative"] {
            assert_eq!(
                told(view(json!({"fhir": {"profile": profile}})), true),
                [""; 0],
                "{profile}"
            );
        }
    }

    /// What a Bundle and an OperationOutcome become by a policy of these sections.
    fn trimmed(sections: Json, body: &str) -> String {
        let document = json!({"version": "1", "keys": {"pseudonyms": {"env": "K"}}, "policies": {"p": sections}});
        let mut problems = Problems::default();
        let secret = "c2NyaW0gY2hlY2tzIHdpdGggYSBzdGFuZC1pbiBrZXk=".to_owned();
        let compiled = Compiled::new::<ALL>(&Node::from_json(&document), &|_| Some(secret.clone()), &mut problems);
        let told: Vec<_> = problems.iter().map(|problem| problem.message.clone()).collect();
        let compiled = compiled.unwrap_or_else(|| panic!("{told:?}"));
        let trim = compiled.policies[0].response_trim.as_ref().unwrap();
        let program = trim.views[0].program.clone().unwrap();
        let mut trimmer = crate::trim::Trimmer::new(program, None, crate::trim::Limits::default()).unwrap();
        let mut out = Vec::new();
        let rewrite = |_: u8, text: &str| Some(format!("<{text}>"));
        trimmer
            .push_with(Some(&rewrite), body.as_bytes(), true, &mut out)
            .unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn urls_are_judged_by_type_where_there_are_rules_by_type() {
        let phi = json!({"preset": "fhir-r4", "on_path": "observe"});
        let outcome = r#"{"resourceType":"OperationOutcome","issue":[{"diagnostics":"d","code":"c"}]}"#;
        let bundle = format!(
            r#"{{"resourceType":"Bundle","link":[{{"relation":"self","url":"u"}}],"entry":[{{"response":{{"location":"l","outcome":{outcome}}}}}]}}"#
        );
        let with = |phi: Option<&Json>, fhir: Json| {
            let mut sections = json!({"response_trim": {"views": [{"fhir": fhir}]}});
            if let Some(phi) = phi {
                sections["phi_url"] = phi.clone();
            }
            trimmed(sections, &bundle)
        };
        let keep = json!({"remove": ["extensions"], "tag": false});
        let judged = with(Some(&phi), keep.clone());
        assert!(
            judged.contains(r#""url":"<u>""#) && judged.contains(r#""location":"<l>""#),
            "{judged}"
        );
        assert!(judged.contains(r#""diagnostics":"<d>""#), "{judged}");
        let whole = with(None, keep);
        assert!(
            whole.contains(r#""url":"u""#) && whole.contains(r#""diagnostics":"d""#),
            "{whole}"
        );
        // The author's own comes first.
        let mask = json!({"types": {"OperationOutcome": {"transform": {"issue.diagnostics": "mask"}}}});
        assert!(with(Some(&phi), mask).contains(r#""diagnostics":"***""#));
        // Profiles compile beside the preset; where nobody judges links, those that hide who it is about have none.
        for profile in [
            "safe-harbor",
            "limited-data-set",
            "clinical-no-narrative",
            "demographics",
        ] {
            let fhir = json!({"profile": profile});
            assert!(with(Some(&phi), fhir.clone()).contains(r#""url":"<u>""#), "{profile}");
            let hides = matches!(profile, "safe-harbor" | "limited-data-set");
            assert_eq!(with(None, fhir).contains(r#""url":"u""#), !hides, "{profile}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_mend() {
        let views = |n: usize| json!({"views": vec![json!({"status": [200], "deny": ["$.a"]}); n]});
        for (section, part) in [
            (view(json!({})), "lets the whole body pass"),
            (
                view(json!({"status": ["99"], "deny": ["$.a"]})),
                "`99` is no status of a response; write `200` or `4xx`",
            ),
            (
                view(json!({"content_type": ["json"], "deny": ["$.a"]})),
                "`json` is no media type",
            ),
            (
                view(json!({"fhir": {"types": {"Patient": {"deny": ["$.name"]}}}})),
                "`$.name`: ",
            ),
            (
                view(json!({"fhir": {"all": {"transform": {"a..": "mask"}}}})),
                "`a..`: ",
            ),
            (
                view(json!({"fhir": {"all": {"transform": {"id": "tokenize"}}}})),
                "`tokenize` needs a key",
            ),
            (view(json!({"fhir": {"profile": "hipaa"}})), "unknown value `hipaa`"),
            (view(json!({"deny": ["$[?length(@.a) > 1]"]})), "$[?length(@.a) > 1]"),
            (
                json!({"views": [{"deny": ["$.a"]}], "mode": "observe"}),
                "under `observe` nothing is trimmed",
            ),
            (
                json!({"views": [{"deny": ["$.a"]}], "decode": {"max_size": 0}}),
                "a body of no bytes",
            ),
            (
                json!({"views": [{"deny": ["$.a"]}], "decode": {"max_ratio": 0}}),
                "the ratio is a whole number",
            ),
            (
                json!({"views": [{"deny": ["$.a"]}, {"deny": ["$.b"]}]}),
                "never reached",
            ),
            (views(65), "at most 64 views"),
        ] {
            let told = told(section.clone(), false);
            assert!(told.iter().any(|line| line.contains(part)), "{section}: {told:?}");
        }
        assert_eq!(told(views(64), false), [""; 0]);
    }
}
