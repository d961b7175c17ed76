//! Which filters are Scrim's, and what their policy lets through.

use serde_json::Value as Json;

use scrim_policy::document::Node;

use super::config::{at, field, items, members, text_of, typed, typed_config};
use crate::modules::CHAIN;

/// A module of Scrim in a filter chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Module {
    /// All four filters in one.
    Suite,
    /// The place of a single one in [`CHAIN`].
    Single(usize),
}

/// Whether requests reach the upstream, and what stands after Scrim, with PHI in their URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lets {
    /// A policy observes or unseals, or does not look at URLs.
    Through,
    /// No policy is in sight.
    Unknown,
    /// Every policy looks at URLs and changes or refuses what it finds.
    Nothing,
}

/// Which module of Scrim an HTTP filter is. Known are those that `scrim render` prints, and any wasm filter whose module is called like
/// one of Scrim's or whose configuration is a policy; `names` are the user's own.
pub(super) fn module(filter: &Node, names: &[String]) -> Option<Module> {
    let name = text_of(filter, "name").unwrap_or_default();
    let given = names.iter().any(|known| known == name);
    let discovered = field(filter, "config_discovery").is_some() && name.starts_with("scrim");
    let Some(plugin) = plugin(filter) else {
        return (given || discovered).then(|| single(&[name]).unwrap_or(Module::Suite));
    };
    let code = at(plugin, &["vm_config", "code"]);
    let file =
        code.and_then(|code| at(code, &["local", "filename"]).or_else(|| at(code, &["remote", "http_uri", "uri"])));
    let file = file
        .and_then(super::config::text)
        .and_then(|path| path.rsplit('/').next())
        .unwrap_or_default();
    let plugin_name = text_of(plugin, "name").unwrap_or_default();
    let called = |name: &str| name.starts_with("scrim");
    let ours = given
        || called(name)
        || called(plugin_name)
        || called(file)
        || file.starts_with("suite")
        || policy(filter).is_some();
    match single(&[file, name, plugin_name]) {
        Some(single) if ours || file.ends_with(".wasm") => Some(single),
        _ => ours.then_some(Module::Suite),
    }
}

/// The single module that one of the names says.
fn single(names: &[&str]) -> Option<Module> {
    let says = |name: &str, module: &str| {
        let name = name.replace('_', "-");
        let name = name
            .strip_prefix("scrim")
            .map_or(name.as_str(), |rest| rest.trim_start_matches(['.', '-']));
        name.starts_with(module)
    };
    CHAIN
        .iter()
        .position(|module| names.iter().any(|name| says(name, module.name)))
        .map(Module::Single)
}

/// The plugin configuration of a wasm filter.
pub(super) fn plugin(filter: &Node) -> Option<&Node> {
    let typed = typed_config(filter)?;
    (typed.name == "envoy.extensions.filters.http.wasm.v3.Wasm").then(|| field(typed.message, "config"))?
}

/// The policy in a wasm filter's configuration, where it is one.
pub(super) fn policy(filter: &Node) -> Option<Json> {
    let configuration = typed(field(plugin(filter)?, "configuration")?)?;
    let value = field(configuration.message, "value");
    let json = match value.and_then(super::config::text) {
        Some(text) => serde_json::from_str(text).ok()?,
        None => value.unwrap_or(configuration.message).to_json(),
    };
    let is_policy = json.get("version").is_some() && ["policies", "routes"].iter().any(|key| json.get(key).is_some());
    is_policy.then_some(json)
}

/// The first policy anywhere in a document.
pub(super) fn policy_within(node: &Node) -> Option<Json> {
    policy(node)
        .or_else(|| members(node).iter().find_map(|(_, member)| policy_within(member)))
        .or_else(|| items(node).iter().find_map(policy_within))
}

impl Lets {
    /// What a policy lets through.
    pub(super) fn of(policy: Option<&Json>) -> Self {
        let Some(policy) = policy else { return Lets::Unknown };
        let blind = |entry: &Json| entry.get("phi_url").is_none_or(shows);
        let policies = policy.get("policies").and_then(Json::as_object);
        let through = policy.get("default").and_then(Json::as_str) == Some("allow")
            || policies.into_iter().flat_map(|policies| policies.values()).any(blind);
        if through { Lets::Through } else { Lets::Nothing }
    }
}

/// Whether `phi_url` has an action that gives the upstream the value itself.
fn shows(phi_url: &Json) -> bool {
    let word = |word: &str| matches!(word, "observe" | "seal" | "unseal");
    match phi_url {
        Json::String(text) => word(text),
        Json::Array(items) => items.iter().any(shows),
        Json::Object(members) => members.iter().any(|(key, value)| word(key) || shows(value)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wasm(name: &str, file: &str, configuration: &Json) -> Node {
        let filter = json!({"name": name, "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {"vm_config": {"code": {"local": {"filename": file}}}, "configuration": configuration},
        }});
        serde_json::from_value(filter).unwrap()
    }

    #[test]
    fn scrims_modules_are_known() {
        let string = |text: &str| json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text});
        let policy = r#"{"version": 1, "policies": {}}"#;
        let structure =
            json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": {"version": 1, "routes": []}});
        for (name, file, configuration, wanted) in [
            ("scrim.suite", "/x.wasm", string(policy), Some(Module::Suite)),
            ("mine", "/etc/suite-0a1b.wasm", string("{}"), Some(Module::Suite)),
            ("mine", "/etc/x.wasm", string(policy), Some(Module::Suite)),
            ("mine", "/etc/x.wasm", structure, Some(Module::Suite)),
            ("mine", "/etc/phi-url.wasm", string("{}"), Some(Module::Single(2))),
            (
                "scrim.cache-control",
                "/etc/x.wasm",
                string(policy),
                Some(Module::Single(0)),
            ),
            ("scrim_phi_url", "/etc/x.wasm", string(policy), Some(Module::Single(2))),
            ("other", "/etc/other.wasm", string("{}"), None),
            ("other", "/etc/other.wasm", string("no JSON"), None),
        ] {
            assert_eq!(module(&wasm(name, file, &configuration), &[]), wanted, "{name} {file}");
        }
        let other = wasm("other", "/etc/other.wasm", &string("{}"));
        assert_eq!(module(&other, &["other".to_owned()]), Some(Module::Suite));
    }

    #[test]
    fn what_a_policy_lets_through() {
        for (policy, wanted) in [
            (
                json!({"policies": {"a": {"phi_url": {"on_query": "reject"}}}}),
                Lets::Nothing,
            ),
            (
                json!({"policies": {"a": {"phi_url": {"on_path": "observe"}}}}),
                Lets::Through,
            ),
            (
                json!({"policies": {"a": {"phi_url": {"query": {"name": "observe"}}}}}),
                Lets::Through,
            ),
            (
                json!({"policies": {"a": {"phi_url": {"on_path": {"seal": {}}}}}}),
                Lets::Through,
            ),
            (json!({"policies": {"a": {"cache_control": {}}}}), Lets::Through),
            (json!({"policies": {}, "default": "allow"}), Lets::Through),
            (json!({"policies": {}, "default": "deny"}), Lets::Nothing),
        ] {
            assert_eq!(Lets::of(Some(&policy)), wanted, "{policy}");
        }
        assert_eq!(Lets::of(None), Lets::Unknown);
    }
}
