//! The numbered rules, and every body under every cut.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

type Listed = Vec<(String, u32, Vec<&'static str>)>;

fn listed(inventory: &Inventory) -> Listed {
    inventory
        .paths()
        .map(|(path, count, kinds)| (path, count, kinds.names().collect()))
        .collect()
}

fn run<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Listed, Result<(), Fault>) {
    let mut inventory = Inventory::new();
    let pushed = pieces.into_iter().try_for_each(|piece| inventory.push(piece, false));
    let ended = pushed.and_then(|()| inventory.push(b"", true));
    if ended.is_err() {
        assert_eq!(inventory.push(b"", true), ended, "a fault stays");
    }
    (listed(&inventory), ended)
}

/// What is found, which must be the same in one piece, byte by byte, and in every two pieces.
fn every_way(body: &str) -> (Listed, Result<(), Fault>) {
    let body = body.as_bytes();
    let whole = run([body]);
    assert_eq!(run(body.chunks(1)), whole, "byte by byte: {}", body.escape_ascii());
    if body.len() < 3000 {
        for at in 0..=body.len() {
            let (left, right) = body.split_at(at);
            assert_eq!(run([left, right]), whole, "cut at {at}: {}", body.escape_ascii());
        }
    }
    whole
}

fn found(body: &str) -> Vec<String> {
    let (listed, ended) = every_way(body);
    assert_eq!(ended, Ok(()), "{body}");
    listed
        .into_iter()
        .map(|(path, count, kinds)| format!("{path} {count} {}", kinds.join("+")))
        .collect()
}

// --- the rules -------------------------------------------------------------------------------------------------

#[test]
fn paths_are_names_and_arrays_are_transparent() {
    assert_eq!(
        found(r#" {"a": [1, "x", [true], {"b": null}], "c": {"b": -1.5e3, "d": []}} "#),
        [
            "$ 1 object",
            "a[] 4 string+number+boolean+object+array",
            "a[].b 1 null",
            "c 1 object",
            "c.b 1 number",
            "c.d[] 0 array"
        ]
    );
    assert_eq!(found("[{\"a\":1},{\"a\":2}]"), ["$[] 2 object+array", "[].a 2 number"]);
    assert_eq!(found("\"a\\\"b\""), ["$ 1 string"]);
    assert_eq!(found("12"), ["$ 1 number"]);
    assert_eq!(found("{}"), ["$ 1 object"]);
}

#[test]
fn paths_start_anew_at_a_resource() {
    let body = concat!(
        r#"{"resourceType":"Bundle","entry":["#,
        r#"{"resource":{"resourceType":"Patient","name":[{"family":"A"},{"family":"B"}],"contained":[{"resourceType":"Patient","name":[{"family":"C"}]}]}},"#,
        r#"{"resource":{"resourceType":"Chalmers","name":"A"}},"#,
        r#"{"resource":{"resourceType":["Patient"],"name":"A"}},"#,
        r#"{"resource":{"id":"1","resourceType":"Patient","name":"A"}}]}"#,
    );
    assert_eq!(
        found(body),
        [
            "$ 1 object",
            "Bundle 1 object",
            "Bundle.entry[] 4 object+array",
            "Bundle.entry[].resource 4 object",
            "Bundle.entry[].resource.id 1 string",
            "Bundle.entry[].resource.resourceType 1 string",
            "Bundle.entry[].resource?.name 3 string",
            "Bundle.entry[].resource?.resourceType[] 2 string+array",
            "Bundle.resourceType 1 string",
            "Patient 2 object",
            "Patient.contained[] 1 object+array",
            "Patient.name[] 3 object+array",
            "Patient.name[].family 3 string",
            "Patient.resourceType 2 string",
        ]
    );
}

#[test]
fn names_that_may_be_data_are_not_shown() {
    let long = "a".repeat(64);
    for plain in ["a", "_birthDate", "x-y_z", "line2", "a123", &long, &format!("_{long}")] {
        assert_eq!(found(&format!("{{\"{plain}\":1}}"))[1], format!("{plain} 1 number"));
    }
    for odd in [
        "",
        "1",
        "_",
        "__a",
        "Peter Chalmers",
        "000-12-3456",
        "p1234",
        "a1b2c3d4",
        "\\u0061",
        "a.b",
        "é",
        "*",
        "..",
        "?",
        "[]",
        &format!("{long}a"),
        &"x".repeat(5000),
    ] {
        assert_eq!(
            found(&format!("{{\"{odd}\":{{\"b\":1}}}}")),
            ["$ 1 object", "* 1 object", "*.b 1 number"],
            "{odd}"
        );
    }
}

fn map(names: usize) -> String {
    let name = |at: usize| {
        format!(
            "{}{}",
            char::from(b'a' + (at / 26) as u8),
            char::from(b'a' + (at % 26) as u8)
        )
    };
    let members: Vec<String> = (0..names)
        .map(|at| format!("\"{}\":{{\"x\":{{\"{}\":1}}}}", name(at), name(at)))
        .collect();
    format!("{{\"m\":{{{}}},\"after\":1}}", members.join(","))
}

#[test]
fn an_object_of_many_names_is_a_map() {
    let (listed, _) = every_way(&map(64));
    assert_eq!(
        listed.iter().filter(|(path, ..)| path.starts_with("m.a")).count(),
        26 * 3
    );
    assert_eq!(
        found(&map(65)),
        [
            "$ 1 object",
            "after 1 number",
            "m 1 object",
            "m.* 65 object",
            "m.*.x 65 object",
            "m.*.x.* 65 number"
        ]
    );
    assert_eq!(found(&map(600)).len(), 6);
    // Names that are seen in one object each, too, and where one stands in it at that moment.
    let each: Vec<String> = (0..70)
        .map(|at| {
            let name = format!(
                "{}{}",
                char::from(b'a' + (at / 26) as u8),
                char::from(b'a' + (at % 26) as u8)
            );
            format!("{{\"{name}\":{{\"y\":[{{\"z\":1}}]}}}}")
        })
        .collect();
    assert_eq!(
        found(&format!("[{}]", each.join(","))),
        [
            "$[] 70 object+array",
            "[].* 70 object",
            "[].*.y[] 70 object+array",
            "[].*.y[].z 70 number"
        ]
    );
}

#[test]
fn what_is_deep_counts_above() {
    let deep = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    let sixteen = ["a"; 16].join(".");
    let listed = found(&deep(16));
    assert_eq!(listed.last(), Some(&format!("{sixteen} 1 number")));
    let listed = found(&deep(19));
    assert!(listed.contains(&format!("{sixteen}... 3 number+object")), "{listed:?}");
    assert_eq!(every_way(&deep(128)).1, Ok(()));
    assert_eq!(every_way(&deep(129)).1, Err(Fault::Depth));
}

#[test]
fn paths_without_room_count_together() {
    // Five objects of 60 names: more than 256 paths, and no map.
    let name = |at: usize| {
        format!(
            "{}{}",
            char::from(b'a' + (at / 26) as u8),
            char::from(b'a' + (at % 26) as u8)
        )
    };
    let object = (0..60)
        .map(|at| format!("\"{}\":1", name(at)))
        .collect::<Vec<_>>()
        .join(",");
    let body = (0..6)
        .map(|at| format!("\"{}\":{{{object}}}", name(at)))
        .collect::<Vec<_>>()
        .join(",");
    let (listed, ended) = every_way(&format!("{{{body}}}"));
    assert_eq!(ended, Ok(()));
    assert!(listed.len() <= MAX_PATHS + 2);
    assert_eq!(
        listed.iter().map(|(_, count, _)| count).sum::<u32>(),
        1 + 6 + 360,
        "nothing is lost"
    );
    assert!(listed.iter().any(|(path, ..)| path == "..."));
}

#[test]
fn a_tool_may_have_more_room() {
    let body: Vec<String> = (0..60)
        .map(|at| format!("\"{0}{0}\":{{\"b\":1,\"c\":1,\"d\":1,\"e\":1}}", char::from(b'A' + at)))
        .collect();
    let body = format!("{{{}}}", body.join(",").replace(['[', ']', '\\', '^', '`'], "zz"));
    let count = |mut inventory: Inventory| {
        inventory.push(body.as_bytes(), true).unwrap();
        inventory.paths().count()
    };
    assert!(count(Inventory::new()) <= MAX_PATHS + 2);
    assert!(count(Inventory::with_room(1000)) > 270);
}

#[test]
fn what_is_no_json_is_told() {
    for (body, fault) in [
        ("", Fault::Truncated),
        (" ", Fault::Truncated),
        ("{\"a\":", Fault::Truncated),
        ("\"a", Fault::Truncated),
        ("tru", Fault::Truncated),
        ("{]", Fault::Json),
        ("[1}", Fault::Json),
        ("{\"a\" 1}", Fault::Json),
        ("{\"a\":1,}", Fault::Json),
        ("[1,]", Fault::Json),
        ("{} {}", Fault::Json),
        ("nul!", Fault::Json),
        ("<a/>", Fault::Json),
        ("\u{feff}{}", Fault::Json),
    ] {
        assert_eq!(every_way(body).1, Err(fault), "{body}");
    }
}

#[test]
fn one_body_after_another_and_merged_ones_add_up() {
    let (one, other) = (
        r#"{"resourceType":"Patient","id":"1"}"#,
        r#"[{"resourceType":"Patient","name":[]},{"x":1}]"#,
    );
    let mut both = Inventory::new();
    both.push(one.as_bytes(), true).unwrap();
    both.push(other.as_bytes(), true).unwrap();
    let (mut first, mut second) = (Inventory::new(), Inventory::new());
    first.push(one.as_bytes(), true).unwrap();
    second.push(other.as_bytes(), true).unwrap();
    first.merge(&second);
    assert_eq!(listed(&first), listed(&both));
    // Two maps that are none by themselves.
    let half = |from: u8| {
        let mut inventory = Inventory::new();
        let members: Vec<String> = (0..40)
            .map(|at| format!("\"{}{}\":{{\"b\":1}}", char::from(from), "x".repeat(at)))
            .collect();
        inventory
            .push(format!("{{{}}}", members.join(",")).as_bytes(), true)
            .unwrap();
        inventory
    };
    let mut map = half(b'a');
    map.merge(&half(b'k'));
    let shown: Vec<_> = listed(&map).into_iter().map(|(path, count, _)| (path, count)).collect();
    assert_eq!(shown, [("$".into(), 2), ("*".into(), 80), ("*.b".into(), 80)]);
    map.merge(&half(b'z'));
    assert_eq!(listed(&map).len(), 3);
}

// --- any body --------------------------------------------------------------------------------------------------

/// Values that would show, and names that are data.
const CANARY: &str = "Zq7Canary";

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(&["resourceType", "name", "entry", "resource", "a", "_b"][..]).prop_map(str::to_owned),
        1 => any::<u32>().prop_map(|at| format!("{CANARY} {at}")),
        1 => (1000..9999u32).prop_map(|at| format!("{CANARY}{at}")),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        Just(json!(774_774_774)),
        Just(json!(CANARY)),
        Just(json!("Patient")),
        Just(json!(format!("\"{CANARY}\\"))),
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((name(), inner), 0..6).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_value_is_in_a_path_and_cuts_change_nothing(value in value()) {
        let (listed, ended) = every_way(&value.to_string());
        prop_assert_eq!(ended, Ok(()));
        for (path, ..) in &listed {
            prop_assert!(!path.contains("Canary") && !path.contains("774"), "{}", path);
        }
    }

    #[test]
    fn merged_is_as_one_after_the_other(values in prop::collection::vec(value(), 0..4)) {
        let (mut one, mut merged) = (Inventory::new(), Inventory::new());
        for value in &values {
            let text = value.to_string();
            one.push(text.as_bytes(), true).unwrap();
            let mut single = Inventory::new();
            single.push(text.as_bytes(), true).unwrap();
            merged.merge(&single);
        }
        prop_assert_eq!(listed(&merged), listed(&one));
    }

    #[test]
    fn any_bytes_give_the_same_under_every_cut(
        body in prop::collection::vec(prop::sample::select(&b"{}[],:\"\"\\ab1 ntru*"[..]), 0..60),
    ) {
        let _ = every_way(&String::from_utf8(body).unwrap());
    }
}
