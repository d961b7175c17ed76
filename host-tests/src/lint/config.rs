//! Envoy's configuration as protobuf's JSON mapping has it: names in snake or lower camel case, `Any` by `@type`.

use scrim_policy::document::{Key, Node, Value};

/// The members of a mapping; none for anything else.
pub(super) fn members(node: &Node) -> &[(Key, Node)] {
    match &node.value {
        Value::Mapping(members) => members,
        _ => &[],
    }
}

/// The items of a list; none for anything else.
pub(super) fn items(node: &Node) -> &[Node] {
    match &node.value {
        Value::Sequence(items) => items,
        _ => &[],
    }
}

/// A field by its snake case name, however it is spelt.
pub(super) fn field<'d>(node: &'d Node, name: &str) -> Option<&'d Node> {
    members(node)
        .iter()
        .find(|(key, _)| is(&key.name, name))
        .map(|(_, value)| value)
        .filter(|value| !matches!(value.value, Value::Null))
}

/// A field at the end of a path of fields.
pub(super) fn at<'d>(node: &'d Node, path: &[&str]) -> Option<&'d Node> {
    path.iter().try_fold(node, |node, name| field(node, name))
}

/// The items of a list field.
pub(super) fn list<'d>(node: &'d Node, name: &str) -> &'d [Node] {
    field(node, name).map(items).unwrap_or_default()
}

/// Whether `key` is the field `name`, in snake or lower camel case.
pub(super) fn is(key: &str, name: &str) -> bool {
    let mut name = name.chars();
    for letter in key.chars() {
        match name.next() {
            Some('_') if letter.is_ascii_uppercase() => {
                if name.next() != Some(letter.to_ascii_lowercase()) {
                    return false;
                }
            }
            Some(wanted) if wanted == letter => {}
            _ => return false,
        }
    }
    name.next().is_none()
}

/// The text of a string.
pub(super) fn text(node: &Node) -> Option<&str> {
    match &node.value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// The text of a string field.
pub(super) fn text_of<'d>(node: &'d Node, name: &str) -> Option<&'d str> {
    field(node, name).and_then(text)
}

/// Whether a boolean field says true; a `BoolValue` is written alike, and protobuf takes strings too.
pub(super) fn is_true(node: &Node, name: &str) -> bool {
    match field(node, name).map(|node| &node.value) {
        Some(Value::Bool(value)) => *value,
        Some(Value::String(text)) => text == "true",
        _ => false,
    }
}

/// A message in an `Any`: its type's full name, and where its fields are.
#[derive(Clone, Copy)]
pub(super) struct Typed<'d> {
    /// Such as `envoy.extensions.filters.http.router.v3.Router`.
    pub(super) name: &'d str,
    /// The message.
    pub(super) message: &'d Node,
}

/// The message that a mapping with `@type` is; a `TypedStruct` counts as what it stands for.
pub(super) fn typed(node: &Node) -> Option<Typed<'_>> {
    let name = short(text_of(node, "@type")?);
    if !name.ends_with(".TypedStruct") {
        return Some(Typed { name, message: node });
    }
    Some(Typed {
        name: text_of(node, "type_url").map_or(name, short),
        message: field(node, "value").unwrap_or(node),
    })
}

/// The message in `typed_config`.
pub(super) fn typed_config(node: &Node) -> Option<Typed<'_>> {
    typed(field(node, "typed_config")?)
}

fn short(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_both_spellings() {
        for (key, name, same) in [
            ("http_filters", "http_filters", true),
            ("httpFilters", "http_filters", true),
            ("HttpFilters", "http_filters", false),
            ("http_filter", "http_filters", false),
            ("httpFilters2", "http_filters", false),
            ("@type", "@type", true),
        ] {
            assert_eq!(is(key, name), same, "{key}");
        }
    }

    #[test]
    fn typed_structs_are_what_they_stand_for() {
        let node: Node = serde_json::from_str(
            r#"{"@type": "type.googleapis.com/xds.type.v3.TypedStruct", "type_url": "type.googleapis.com/a.B", "value": {"c": "d"}}"#,
        )
        .unwrap();
        let typed = typed(&node).unwrap();
        assert_eq!((typed.name, text_of(typed.message, "c")), ("a.B", Some("d")));
    }
}
