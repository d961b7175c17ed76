//! Filters in selectors, and what is held to judge by them.

use super::*;

fn code(rules: &Rules, limits: Limits, body: &str) -> (&'static str, u64) {
    let error = every_way_within(rules, limits, body.as_bytes()).expect_err(body);
    (error.code(), error.offset())
}

#[test]
fn rule_14_filters_pick_by_value() {
    let names = r#"{"name":[{"use":"official","family":"F"},{"family":"G","use":"ol\u0064"}, "x",null,[{"use":"old"}]],"n":{"use":"old"}}"#;
    check(
        &deny(&["$.name[?@.use == 'old']"]),
        names,
        r#"{"name":[{"use":"official","family":"F"},"x",null,[{"use":"old"}]],"n":{"use":"old"}}"#,
    );
    check(
        &deny(&["$..[?(@.use == 'old')]"]),
        names,
        r#"{"name":[{"use":"official","family":"F"},"x",null,[]]}"#,
    );
    check(
        &allow(&["$.name[?@.use=='official'].family"]),
        names,
        r#"{"name":[{"family":"F"}]}"#,
    );
    check(
        &allow(&["$.name[?@.use=='official']", "$.name[1].use"]),
        names,
        r#"{"name":[{"use":"official","family":"F"},{"use":"ol\u0064"}]}"#,
    );
    check(
        &change("$.name[?@.use]['family','use']", Transform::Mask),
        names,
        r#"{"name":[{"use":"***","family":"***"},{"family":"***","use":"***"},"x",null,[{"use":"old"}]],"n":{"use":"old"}}"#,
    );
    check(
        &deny(&["$[?@.use]"]).and(change("$..[?@.family == 'G']", Transform::Null)),
        names,
        r#"{"name":[{"use":"official","family":"F"},null,"x",null,[{"use":"old"}]]}"#,
    );
    check(
        &deny(&["$.*[?@ == 'x', ?@ == null]"]),
        names,
        &names.replace(r#" "x",null,"#, ""),
    );
    check(&deny(&["$[?@ > 1]"]), "[0, 1, 2,10 ,-3,1.0000001]", "[0,1,-3]");
    check(&deny(&["$[?@]"]), r#"{"a":1,"b":{}}"#, "{}");
    check(
        &deny(&["$[?@.a]"]),
        r#"{"a":{"a":{"a":1}},"b":{"b":1}}"#,
        r#"{"b":{"b":1}}"#,
    );
    // Never the root itself: a filter picks among children.
    check(&deny(&["$..[?@.a]"]), r#"{"a":1}"#, r#"{"a":1}"#);
    check(
        &allow(&["$..[?@.k == 1]"]),
        r#"{"x":[{"k":2,"y":{"k":1,"z":3}}],"k":1}"#,
        r#"{"x":[{"y":{"k":1,"z":3}}]}"#,
    );
}

#[test]
fn rule_14_several_filters_at_one_place() {
    let body = r#"[{"a":1},{"b":1},{"a":1,"b":1},{"c":1},[],1]"#;
    check(&deny(&["$[?@.a]", "$[?@.b]"]), body, r#"[{"c":1},[],1]"#);
    check(&deny(&["$[?@.a]"]).and(allow(&["$[?@.b]"])), body, r#"[{"b":1}]"#);
    check(&deny(&["$[?@.a && @.b]", "$[?!@.a]"]), body, r#"[{"a":1}]"#);
    let six = |count: usize| {
        let texts: Vec<String> = (0..count).map(|n| format!("$[?@.m{n}]")).collect();
        deny(&texts.iter().map(String::as_str).collect::<Vec<_>>())
    };
    check(&six(6), r#"[{"m5":1},{"m0":1},{"m6":1}]"#, r#"[{"m6":1}]"#);
    let error = six(7).compiled().expect_err("seven").to_string();
    assert!(error.contains("more than 6 different filters"), "{error}");
    check(
        &deny(&["$[?@.a]", "$.x[?@.a]", "$[?(@.a)]"]),
        body,
        r#"[{"b":1},{"c":1},[],1]"#,
    );
}

#[test]
fn rule_15_a_value_is_held_so_far_and_no_further() {
    let limits = Limits {
        max_hold: 20,
        ..Limits::default()
    };
    let rules = deny(&["$[?@.a == 1]"]);
    let fits = br#"[{"a":1,"b":"56789 "}]"#;
    assert_eq!(every_way_within(&rules, limits, fits).expect("fits").0, b"[]");
    assert_eq!(
        code(&rules, limits, r#"[{"a":1,"b":"56789 0"}]"#),
        ("json_hold", 1),
        "a byte too long"
    );
    assert_eq!(code(&rules, limits, r#"[{"a":1,"b":"56789 012345"#), ("json_hold", 1));
    assert_eq!(code(&rules, limits, r#"[{"a":1,"b":"56789"#), ("json_truncated", 18));
    assert_eq!(code(&rules, limits, r#"[{"a":1,,"b":"56789 0"}]"#), ("json_name", 8));
    // What a filter does not look into is not held.
    for body in [
        r#"[["a long array that passes through"]]"#,
        r#"["a long string that passes through"]"#,
    ] {
        assert_eq!(
            every_way_within(&rules, limits, body.as_bytes()).expect("passes").0,
            body.as_bytes()
        );
    }
    let limits = Limits {
        max_depth: 3,
        ..Limits::default()
    };
    assert_eq!(code(&rules, limits, r#"[{"a":{"b":{}}}]"#), ("json_depth", 11));
    assert!(every_way_within(&rules, limits, br#"[{"a":{"b":1}}]"#).is_ok());
}

#[test]
fn rule_15_what_is_ambiguous_is_refused() {
    let rules = deny(&["$.x[?@.a == 1]"]);
    assert_eq!(
        code(&rules, Limits::default(), r#"{"x":[{"a":1,"\u0061":2}]}"#),
        ("json_ambiguous", 6)
    );
    check(&rules, r#"{"x":[{"b":1,"b":2}]}"#, r#"{"x":[{"b":1,"b":2}]}"#);
    check(&rules, r#"{"y":[{"a":1,"a":1}]}"#, r#"{"y":[{"a":1,"a":1}]}"#);
}

#[test]
fn what_is_held_is_bounded() {
    let mut trimmer = deny(&["$..[?@.a == 1]"]).trimmer(Limits::default());
    let mut out = Vec::new();
    trimmer.push(br#"{"x":[[["#, false, &mut out).expect("valid");
    for round in 0..200 {
        let text = "b".repeat(300);
        let element = format!(r#"{{"{text}":[{{"a":{round}}},{{"c":1}}],"a":"{text}"}},"#);
        for chunk in element.as_bytes().chunks(if round % 10 == 0 { 1 } else { 97 }) {
            trimmer.push(chunk, false, &mut out).expect("valid");
            assert!(trimmer.state.memory() + trimmer.held.capacity() < 8192);
        }
        out.clear();
    }
    let body = format!("{{\"q\":[1,2,\"{}\"", "z".repeat(200_000));
    let error = trimmer.push(body.as_bytes(), false, &mut out).expect_err("too long");
    assert_eq!(error.code(), "json_hold");
    assert!(trimmer.held.capacity() < 8192);
}

/// A value byte by byte is read once, not once for each byte.
#[test]
fn one_byte_chunks_take_linear_time() {
    let limits = Limits {
        max_hold: 4 << 20,
        ..Limits::default()
    };
    let mut trimmer = deny(&["$[?@.a == 1]"]).trimmer(limits);
    let body = format!("[{{\"b\":\"{}\",\"a\":1}}]", "z".repeat(1 << 20));
    let mut out = Vec::new();
    for byte in body.as_bytes().chunks(1) {
        trimmer.push(byte, false, &mut out).expect("valid");
    }
    trimmer.push(b"", true, &mut out).expect("valid");
    assert_eq!(out, b"[]");
}

#[test]
fn slices_take_steps() {
    let body = "[0,1,2,3,4,5,6,7,8,9,10,11,12]";
    check(&deny(&["$[::2]"]), body, "[1,3,5,7,9,11]");
    check(&deny(&["$[1:8:3]"]), body, "[0,2,3,5,6,8,9,10,11,12]");
    check(&deny(&["$[::2,::3]"]), body, "[1,5,7,11]");
    check(&deny(&["$[3::2]", "$[0:2]"]), body, "[2,4,6,8,10,12]");
    check(&deny(&["$[0:4:0]"]), body, body);
    check(&allow(&["$[1:9007199254740991:5]"]), body, "[1,6,11]");
    let error = deny(&["$[::13]", "$[::7]"]).compiled().expect_err("91");
    assert!(error.to_string().contains("different steps"), "{error}");
}
