//! Dumps of a running Envoy (`/config_dump`): what came by discovery is put where it belongs.

use scrim_policy::document::{Key, Node, Value};

use super::config::{field, list, text_of, typed};

/// Gives filters that came by extension discovery, as Istio's do, the configuration that the dump has for them.
pub(super) fn inline(node: &mut Node) {
    let found: Vec<(String, Node)> = list(node, "configs")
        .iter()
        .filter_map(typed)
        .filter(|dump| dump.name == "envoy.admin.v3.EcdsConfigDump")
        .flat_map(|dump| list(dump.message, "ecds_filters"))
        .filter_map(|entry| field(entry, "ecds_filter"))
        .filter_map(|filter| {
            Some((
                text_of(filter, "name")?.to_owned(),
                field(filter, "typed_config")?.clone(),
            ))
        })
        .collect();
    if !found.is_empty() {
        fill(node, &found);
    }
}

fn fill(node: &mut Node, found: &[(String, Node)]) {
    let discovered = field(node, "config_discovery").is_some() && field(node, "typed_config").is_none();
    let config = text_of(node, "name")
        .filter(|_| discovered)
        .and_then(|name| found.iter().find(|(known, _)| known == name))
        .map(|(_, config)| config.clone());
    let span = node.span;
    match &mut node.value {
        Value::Sequence(items) => items.iter_mut().for_each(|item| fill(item, found)),
        Value::Mapping(members) => {
            members.iter_mut().for_each(|(_, member)| fill(member, found));
            if let Some(config) = config {
                let name = "typed_config".to_owned();
                members.push((Key { name, span }, config));
            }
        }
        _ => {}
    }
}
