//! JSON fixtures: read from JSON or YAML files, and changed by merge patch or pointer.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use super::problem::Problems;
use super::tree;

/// A JSON or YAML file as JSON.
///
/// # Errors
/// When it can't be read, or is neither: [`Problems`] with the place.
pub(super) fn read(file: &Path) -> Result<Value> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read the fixture `{}`", file.display()))?;
    // JSON is YAML, but its own parser keeps numbers and long files better.
    if let Ok(json) = serde_json::from_str(&text) {
        return Ok(json);
    }
    let mut problems = Vec::new();
    let node = tree::parse(file, &text, &mut problems).map_err(|problem| Problems(vec![problem]))?;
    if !problems.is_empty() {
        return Err(Problems::new(problems).into());
    }
    Ok(tree::json(&node))
}

/// Lays a merge patch over JSON (RFC 7396).
pub(super) fn merge(json: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *json = patch.clone();
        return;
    };
    if !json.is_object() {
        *json = Value::Object(serde_json::Map::new());
    }
    let Value::Object(members) = json else { return };
    for (name, value) in patch {
        if value.is_null() {
            members.remove(name);
        } else {
            merge(members.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Puts a value at a JSON pointer (RFC 6901), whose parent must be there.
///
/// # Errors
/// When it isn't.
pub(super) fn set(json: &mut Value, pointer: &str, value: Value) -> Result<()> {
    if pointer.is_empty() {
        *json = value;
        return Ok(());
    }
    let Some((parent, name)) = pointer.rsplit_once('/') else {
        bail!("`{pointer}` is no JSON pointer: begin with `/`");
    };
    let name = name.replace("~1", "/").replace("~0", "~");
    let parent = json
        .pointer_mut(parent)
        .ok_or_else(|| anyhow!("there is nothing at `{parent}` to put `{name}` into: set that first"))?;
    match parent {
        Value::Object(members) => {
            members.insert(name, value);
        }
        Value::Array(list) if name == "-" => list.push(value),
        Value::Array(list) => {
            let length = list.len();
            let place = name.parse::<usize>().ok().and_then(|index| list.get_mut(index));
            *place.ok_or_else(|| {
                anyhow!("`{pointer}` is not in an array of {length}: use an index in it, or `-` to append")
            })? = value;
        }
        _ => bail!("`{pointer}` lies in neither an object nor an array"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merge_patches_are_those_of_rfc_7396() {
        // Appendix A.
        for (target, patch, wanted) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut json = target.clone();
            merge(&mut json, &patch);
            assert_eq!(json, wanted, "{target} {patch}");
        }
    }

    #[test]
    fn values_are_set_by_pointer_where_there_is_a_place_for_them() {
        let mut json = json!({"a": [1, {"b/c": 2}]});
        for (pointer, value) in [
            ("/a/0", json!(9)),
            ("/a/1/b~1c", json!(3)),
            ("/a/-", json!(4)),
            ("/new", json!({})),
        ] {
            set(&mut json, pointer, value).unwrap();
        }
        assert_eq!(json, json!({"a": [9, {"b/c": 3}, 4], "new": {}}));
        for (pointer, part) in [
            ("/x/y", "nothing at `/x`"),
            ("a", "no JSON pointer"),
            ("/a/7", "array of 3"),
            ("/a/0/z", "neither"),
        ] {
            let error = set(&mut json, pointer, json!(1)).unwrap_err().to_string();
            assert!(error.contains(part), "{pointer}: {error}");
        }
    }
}
