//! The numbered rules, and the trimmer against a tree that does the same the slow way.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;

mod fhir;
mod filters;
mod reference;

// --- helpers ---------------------------------------------------------------------------------------------------

fn selectors(texts: &[&str]) -> Vec<Selector> {
    texts
        .iter()
        .map(|text| Selector::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")))
        .collect()
}

#[derive(Clone, Debug, Default)]
struct Rules {
    deny: Vec<Selector>,
    allow: Option<Vec<Selector>>,
    transforms: Vec<(Selector, Transform)>,
    fhir: Option<FhirRules>,
}

fn deny(texts: &[&str]) -> Rules {
    Rules {
        deny: selectors(texts),
        ..Rules::default()
    }
}

fn allow(texts: &[&str]) -> Rules {
    Rules {
        allow: Some(selectors(texts)),
        ..Rules::default()
    }
}

fn change(text: &str, transform: Transform) -> Rules {
    Rules {
        transforms: vec![(selectors(&[text]).remove(0), transform)],
        ..Rules::default()
    }
}

impl Rules {
    fn and(mut self, other: Rules) -> Rules {
        self.deny.extend(other.deny);
        self.allow = self.allow.or(other.allow);
        self.transforms.extend(other.transforms);
        self.fhir = self.fhir.or(other.fhir);
        self
    }

    fn compiled(&self) -> Result<Program, ProgramError> {
        Program::compile(super::Rules {
            deny: self.deny.clone(),
            allow: self.allow.clone(),
            transforms: self.transforms.clone(),
            fhir: self.fhir.clone(),
        })
    }

    fn trimmer(&self, limits: Limits) -> Trimmer {
        trimmer(&Arc::new(self.compiled().expect("small")), limits)
    }
}

fn trimmer(program: &Arc<Program>, limits: Limits) -> Trimmer {
    Trimmer::new(Arc::clone(program), Some(Arc::new(pseudonym)), limits)
        .expect("has pseudonyms")
        .with_year(Some(2026))
}

fn pseudonym(value: &[u8]) -> String {
    format!(
        "t-{}",
        value
            .iter()
            .fold(7u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)))
    )
}

type Outcome = Result<(Vec<u8>, Counts), TrimError>;

fn run(rules: &Rules, limits: Limits, chunks: &[&[u8]]) -> Outcome {
    run_program(&Arc::new(rules.compiled().expect("small")), limits, chunks)
}

fn run_program(program: &Arc<Program>, limits: Limits, chunks: &[&[u8]]) -> Outcome {
    let mut trimmer = trimmer(program, limits);
    let mut out = Vec::new();
    for (at, chunk) in chunks.iter().enumerate() {
        let before = out.len();
        if let Err(error) = trimmer.push(chunk, at + 1 == chunks.len(), &mut out) {
            assert_eq!(out.len(), before, "a failed call appends nothing");
            assert_eq!(trimmer.push(b" ", true, &mut out), Err(error), "a failure stays");
            return Err(error);
        }
    }
    Ok((out, trimmer.counts()))
}

/// The outcome, which must be the same in one piece, byte by byte, with empty chunks, a late end, and in every two pieces.
fn every_way_within(rules: &Rules, limits: Limits, body: &[u8]) -> Outcome {
    let program = Arc::new(rules.compiled().expect("small"));
    let rules = &program;
    let whole = run_program(rules, limits, &[body]);
    let bytes: Vec<&[u8]> = body.chunks(1).collect();
    if !bytes.is_empty() {
        assert_eq!(
            run_program(rules, limits, &bytes),
            whole,
            "byte by byte: {}",
            body.escape_ascii()
        );
    }
    if body.len() <= 2000 {
        for at in 0..=body.len() {
            let (left, right) = body.split_at(at);
            assert_eq!(
                run_program(rules, limits, &[left, right]),
                whole,
                "cut at {at}: {}",
                body.escape_ascii()
            );
        }
    }
    whole
}

fn every_way(rules: &Rules, body: &str) -> Outcome {
    every_way_within(rules, Limits::default(), body.as_bytes())
}

fn check(rules: &Rules, body: &str, wanted: &str) {
    let (out, _) = every_way(rules, body).unwrap_or_else(|error| panic!("{body}: {error}"));
    assert_eq!(String::from_utf8_lossy(&out), wanted, "{body}");
    serde_json::from_slice::<serde_json::Value>(&out).unwrap_or_else(|error| {
        assert!(error.to_string().contains("out of range"), "{body}: {error}");
        serde_json::Value::Null
    });
}

// --- what stays ------------------------------------------------------------------------------------------------

#[test]
fn rule_1_deny_removes_members_and_elements() {
    let body = r#"{"a":1,"b":{"a":2,"c":[{"a":3},4]},"d":[0,1,2]}"#;
    check(&deny(&["$.a"]), body, r#"{"b":{"a":2,"c":[{"a":3},4]},"d":[0,1,2]}"#);
    check(&deny(&["$..a"]), body, r#"{"b":{"c":[{},4]},"d":[0,1,2]}"#);
    check(&deny(&["$.b.c"]), body, r#"{"a":1,"b":{"a":2},"d":[0,1,2]}"#);
    check(&deny(&["$['a','d']"]), body, r#"{"b":{"a":2,"c":[{"a":3},4]}}"#);
    check(
        &deny(&["$.d[1]"]),
        body,
        r#"{"a":1,"b":{"a":2,"c":[{"a":3},4]},"d":[0,2]}"#,
    );
    check(
        &deny(&["$.d[0,2]"]),
        body,
        r#"{"a":1,"b":{"a":2,"c":[{"a":3},4]},"d":[1]}"#,
    );
    check(
        &deny(&["$.d[1:]"]),
        body,
        r#"{"a":1,"b":{"a":2,"c":[{"a":3},4]},"d":[0]}"#,
    );
    check(&deny(&["$.d[*]", "$.b.*"]), body, r#"{"a":1,"b":{},"d":[]}"#);
    check(
        &deny(&["$..[1]"]),
        body,
        r#"{"a":1,"b":{"a":2,"c":[{"a":3}]},"d":[0,2]}"#,
    );
    check(&deny(&["$..*"]), body, "{}");
    check(&deny(&["$.*"]), "[1,[2],3]", "[]");
    check(
        &deny(&["$..c..a"]),
        body,
        r#"{"a":1,"b":{"a":2,"c":[{},4]},"d":[0,1,2]}"#,
    );
    check(&deny(&["$.x", "$[9]", "$.a.b"]), body, body);
    check(&deny(&["$.b"]), r#"{"b":1}"#, "{}");
    check(&deny(&["$.d"]), body, r#"{"a":1,"b":{"a":2,"c":[{"a":3},4]}}"#);
}

#[test]
fn rule_2_allow_keeps_the_way_and_all_below() {
    let body = r#"{"id":"1","name":[{"family":"F","given":["G"]},"x",{"text":"T"}],"meta":{"id":2},"ssn":"s"}"#;
    check(&allow(&["$.id"]), body, r#"{"id":"1"}"#);
    check(&allow(&["$.name[*].family"]), body, r#"{"name":[{"family":"F"},{}]}"#);
    check(
        &allow(&["$.name"]),
        body,
        r#"{"name":[{"family":"F","given":["G"]},"x",{"text":"T"}]}"#,
    );
    check(
        &allow(&["$.name[0]", "$.ssn.x"]),
        body,
        r#"{"name":[{"family":"F","given":["G"]}]}"#,
    );
    check(
        &allow(&["$..id"]),
        body,
        r#"{"id":"1","name":[{"given":[]},{}],"meta":{"id":2}}"#,
    );
    check(&allow(&["$"]), body, body);
    check(&allow(&["$.id.deep"]), body, "{}");
    check(&allow(&["$.name.family"]), body, r#"{"name":[]}"#);
    check(&allow(&["$[0].id"]), body, "{}");
}

#[test]
fn rule_3_deny_wins_over_allow() {
    let body = r#"{"a":{"b":1,"c":{"b":2,"d":3}},"b":4}"#;
    check(&allow(&["$.a"]).and(deny(&["$..b"])), body, r#"{"a":{"c":{"d":3}}}"#);
    check(&allow(&["$.a.c"]).and(deny(&["$.a"])), body, "{}");
    check(&allow(&["$..b"]).and(deny(&["$.a.c"])), body, r#"{"a":{"b":1},"b":4}"#);
    check(
        &allow(&["$.a.c", "$..b"]).and(deny(&["$.a.c.b"])),
        body,
        r#"{"a":{"b":1,"c":{"d":3}},"b":4}"#,
    );
}

#[test]
fn rule_4_the_top_level_value_is_emptied_not_removed() {
    for rules in [deny(&["$"]), allow(&[]), deny(&["$"]).and(allow(&["$"]))] {
        check(&rules, r#" {"a":1} "#, "{}");
        check(&rules, "[1,2]", "[]");
        check(&rules, "\"x\"", "null");
        check(&rules, " 12 ", "null");
        check(&rules, "true", "null");
        assert_eq!(every_way(&rules, "[1,2]").expect("valid").1.removed, 1);
    }
    check(&allow(&["$.a"]), "12", "null");
    check(&allow(&["$.a"]), "[12]", "[]");
    check(&deny(&["$.a"]), "12", "12");
    check(&Rules::default(), " 1.10 ", "1.10");
    check(&Rules::default(), "0", "0");
}

#[test]
fn rule_5_names_unescaped_duplicates_and_indexes() {
    check(
        &deny(&["$.ssn"]),
        r#"{"\u0073sn":1,"ss\u006E":2,"ssn":3,"s":4,"ssn":5}"#,
        r#"{"s":4}"#,
    );
    check(
        &allow(&["$.ssn"]),
        r#"{"\u0073sn":1,"x":2,"ssn":3}"#,
        r#"{"\u0073sn":1,"ssn":3}"#,
    );
    check(&deny(&[r#"$["a\"\\/b"]"#]), r#"{"a\"\\\/b":1,"a":2}"#, r#"{"a":2}"#);
    check(&deny(&["$['😀']"]), r#"{"\ud83d\uDE00":1,"😀":2,"a":3}"#, r#"{"a":3}"#);
    check(&deny(&["$['']"]), r#"{"":1,"a":2}"#, r#"{"a":2}"#);
    check(&deny(&["$[0,2]"]), "[0,1,2,3]", "[1,3]");
    check(&deny(&["$.a"]), r#"{"A":1,"a ":2,"a":3}"#, r#"{"A":1,"a ":2}"#);
}

#[test]
fn rule_6_bytes_and_order_stay() {
    let body = r#"{"z":1.10,"a":1e400,"m":-0.0E-0,"s":"\u0041\/é","x":0,"l":[true , false,null]}"#;
    check(
        &deny(&["$.x"]),
        body,
        r#"{"z":1.10,"a":1e400,"m":-0.0E-0,"s":"\u0041\/é","l":[true , false,null]}"#,
    );
    check(
        &deny(&["$.x"]),
        "\r\n{ \"a\" :\t[1, 2] ,\n \"x\": 1 , \"b\" : 2\n}\n",
        "{\"a\":[1, 2],\"b\":2}",
    );
    check(
        &allow(&["$.b"]),
        "{ \"a\" :\t[1, 2] ,\n \"x\": 1 , \"b\" : \"y\"\n}\n",
        "{\"b\":\"y\"}",
    );
    check(&deny(&["$.q"]), "{ }", "{}");
    check(&deny(&["$[9]"]), "[ \n ]", "[]");
}

// --- what is replaced ------------------------------------------------------------------------------------------

#[test]
fn rule_8_transforms_by_kind_of_value() {
    let body = r#"[ "1974-12-25" , 19741225, null,true,false,{"a":1},["x"],""]"#;
    check(
        &change("$[*]", Transform::Mask),
        body,
        r#"["***","***","***","***","***","***","***","***"]"#,
    );
    check(
        &change("$[*]", Transform::Null),
        body,
        "[null,null,null,null,null,null,null,null]",
    );
    check(
        &change("$[*]", Transform::Year),
        body,
        r#"["1974","***",null,"***","***","***","***","***"]"#,
    );
    check(
        &change("$[*]", Transform::Last4),
        body,
        r#"["***2-25","***1225",null,"***","***","***","***","***"]"#,
    );
    let (tokenized, _) = every_way(&change("$[0,1]", Transform::Tokenize), r#"["\u0061b",1.0,"c"]"#).expect("valid");
    let wanted = format!(r#"["{}","{}","c"]"#, pseudonym(b"ab"), pseudonym(b"1.0"));
    assert_eq!(String::from_utf8_lossy(&tokenized), wanted);
    check(&change("$", Transform::Mask), "{\"a\":1}", "\"***\"");
    check(&change("$", Transform::Year), "1974", "\"1974\"");
    check(&change("$", Transform::Null), "[]", "null");
}

#[test]
fn rule_8_order_is_deny_allow_transform() {
    let body = r#"{"a":"secret","b":{"c":"deep","d":"other"},"e":"plain"}"#;
    check(
        &deny(&["$.a"]).and(change("$.a", Transform::Mask)),
        body,
        r#"{"b":{"c":"deep","d":"other"},"e":"plain"}"#,
    );
    check(
        &allow(&["$.a"]).and(change("$.*", Transform::Mask)),
        body,
        r#"{"a":"***"}"#,
    );
    check(
        &allow(&["$.b.c"]).and(change("$.b.*", Transform::Mask)),
        body,
        r#"{"b":{"c":"***"}}"#,
    );
    check(
        &allow(&["$.b.c"]).and(change("$.b", Transform::Mask)),
        body,
        r#"{"b":"***"}"#,
    );
    check(
        &allow(&["$.b"]).and(change("$..c", Transform::Last4)),
        r#"{"b":{"c":"deeper"}}"#,
        r#"{"b":{"c":"***eper"}}"#,
    );
    let first = change("$.a", Transform::Null).and(change("$..a", Transform::Mask));
    check(&first, body, r#"{"a":null,"b":{"c":"deep","d":"other"},"e":"plain"}"#);
    check(
        &change("$.b", Transform::Mask).and(change("$.b.c", Transform::Null)),
        body,
        r#"{"a":"secret","b":"***","e":"plain"}"#,
    );
}

#[test]
fn rule_10_long_values_are_masked() {
    let limits = Limits {
        max_value: 8,
        ..Limits::default()
    };
    let rules = change("$[*]", Transform::Last4);
    for (body, wanted) in [
        (&br#"["123456"]"#[..], &br#"["***3456"]"#[..]),
        (br#"["1234567"]"#, br#"["***"]"#),
        (br#"["1234567890123456789",5]"#, br#"["***","***"]"#),
        (br#"["1234567890","123456"]"#, br#"["***","***3456"]"#),
        (br#"[12345678,123456789]"#, br#"["***5678","***"]"#),
    ] {
        let (out, counts) = every_way_within(&rules, limits, body).expect("valid");
        assert_eq!(out.escape_ascii().to_string(), wanted.escape_ascii().to_string());
        assert!(counts.transformed > 0);
    }
}

#[test]
fn a_trimmer_may_move_between_threads() {
    fn sent<T: Send>(_: T) {}
    sent(Rules::default().trimmer(Limits::default()));
}

#[test]
fn tokenize_needs_pseudonyms() {
    let transforms = vec![(selectors(&["$.a"]).remove(0), Transform::Tokenize)];
    let program = Arc::new(Program::new(vec![], None, transforms).expect("small"));
    let Err(error) = Trimmer::new(program, None, Limits::default()) else {
        panic!("no key, and yet accepted")
    };
    assert!(error.to_string().contains("keys.pseudonyms"));
}

#[test]
fn counts_say_what_went() {
    let rules = deny(&["$..a"])
        .and(change("$..b", Transform::Mask))
        .and(change("$..n", Transform::Null));
    let (_, counts) = every_way(
        &rules,
        r#"{"a":{"a":1,"b":2},"b":[{"a":1}],"c":[{"a":1,"b":2}],"n":null}"#,
    )
    .expect("valid");
    assert_eq!(
        counts,
        Counts {
            removed: 2,
            transformed: 2
        }
    );
}

// --- what is refused -------------------------------------------------------------------------------------------

/// The fault of a body, which must be the same wherever it stands: kept, removed, masked, or judged.
fn refused(body: &[u8]) -> (&'static str, u64) {
    let mut found: Option<(&'static str, u64)> = None;
    let mask = change("$", Transform::Mask);
    let deep = deny(&["$..nothing"]).and(change("$..never", Transform::Year));
    for rules in [Rules::default(), deny(&["$"]), mask, deep, allow(&[]), allow(&["$..*"])] {
        let error = every_way_within(&rules, Limits::default(), body).expect_err(&body.escape_ascii().to_string());
        let seen = (error.code(), error.offset());
        assert_eq!(*found.get_or_insert(seen), seen, "{}", body.escape_ascii());
    }
    found.expect("tried")
}

#[test]
fn rule_11_only_json_passes() {
    let cases: &[(&[u8], &str, u64)] = &[
        (b"", "json_empty", 0),
        (b" \n", "json_empty", 2),
        (b"\xef\xbb\xbf{}", "json_bom", 0),
        (b"\xfe\xff\0{", "json_bom", 0),
        (b"\xff\xfe{\0", "json_bom", 0),
        (b"\0{", "json_bom", 0),
        (b"{", "json_truncated", 1),
        (b"{\"a", "json_truncated", 3),
        (b"{\"a\"", "json_truncated", 4),
        (b"{\"a\":", "json_truncated", 5),
        (b"{\"a\":1", "json_truncated", 6),
        (b"{\"a\":1,", "json_truncated", 7),
        (b"[", "json_truncated", 1),
        (b"[1", "json_truncated", 2),
        (b"[\"\\", "json_truncated", 3),
        (b"[\"\\u12", "json_truncated", 6),
        (b"[\"\xc3", "json_truncated", 3),
        (b"tru", "json_truncated", 3),
        (b"-", "json_truncated", 1),
        (b"1.", "json_truncated", 2),
        (b"1e", "json_truncated", 2),
        (b"1e+", "json_truncated", 3),
        (b"\"a", "json_truncated", 2),
        (b"{}{}", "json_trailing", 2),
        (b"{} x", "json_trailing", 3),
        (b"1 2", "json_trailing", 2),
        (b"{}\0", "json_trailing", 2),
        (b"NaN", "json_value", 0),
        (b"[NaN]", "json_value", 1),
        (b"[Infinity]", "json_value", 1),
        (b"[-Infinity]", "json_number", 2),
        (b"[,]", "json_value", 1),
        (b"[1,]", "json_value", 3),
        (b"['a']", "json_value", 1),
        (b"[1,,2]", "json_value", 3),
        (b"[+1]", "json_value", 1),
        (b"[.5]", "json_value", 1),
        (b"[//\n]", "json_value", 1),
        (b"\x0c1", "json_value", 0),
        (b"{,}", "json_name", 1),
        (b"{\"a\":1,}", "json_name", 7),
        (b"{a:1}", "json_name", 1),
        (b"{1:1}", "json_name", 1),
        (b"{\"a\":}", "json_value", 5),
        (b"{\"a\" 1}", "json_colon", 5),
        (b"{\"a\"}", "json_colon", 4),
        (b"{\"a\"::1}", "json_value", 5),
        (b"[1 2]", "json_comma", 3),
        (b"[1}", "json_comma", 2),
        (b"{\"a\":1]", "json_comma", 6),
        (b"[\"a\"\"b\"]", "json_comma", 4),
        (b"[\"a\":1]", "json_comma", 4),
        (b"[true1]", "json_comma", 5),
        (b"[}", "json_value", 1),
        (b"{]", "json_name", 1),
        (b"[tRue]", "json_literal", 2),
        (b"[nul]", "json_literal", 4),
        (b"[falsy]", "json_literal", 5),
        (b"[01]", "json_number", 2),
        (b"[-01]", "json_number", 3),
        (b"[1.]", "json_number", 3),
        (b"[1.e1]", "json_number", 3),
        (b"[1e]", "json_number", 3),
        (b"[1e+]", "json_number", 4),
        (b"[1.2.3]", "json_number", 4),
        (b"[1-2]", "json_number", 2),
        (b"[--1]", "json_number", 2),
        (b"[0x1]", "json_comma", 2),
        (b"[\"\n\"]", "json_control", 2),
        (b"[\"abcdefghijk\x1f\"]", "json_control", 13),
        (b"[\"\0\"]", "json_control", 2),
        (b"{\"a\tb\":1}", "json_control", 3),
        (b"[\"\\x\"]", "json_escape", 3),
        (b"[\"\\u12g4\"]", "json_escape", 6),
        (b"[\"\\'\"]", "json_escape", 3),
        (b"[\"\\u\xc3\xa9\"]", "json_escape", 4),
        (b"[\"\\ud800\"]", "json_surrogate", 8),
        (b"[\"\\uD800x\"]", "json_surrogate", 8),
        (b"[\"\\uD800\\n\"]", "json_surrogate", 9),
        (b"[\"\\uD800\\u0041\"]", "json_surrogate", 13),
        (b"[\"\\uD800\\uD800\"]", "json_surrogate", 13),
        (b"[\"\\udc00\"]", "json_surrogate", 7),
        (b"{\"\\udfff\":1}", "json_surrogate", 7),
        (b"[\"\x80\"]", "json_utf8", 2),
        (b"[\"\xc0\x80\"]", "json_utf8", 2),
        (b"[\"\xc1\xbf\"]", "json_utf8", 2),
        (b"[\"\xe0\x80\x80\"]", "json_utf8", 3),
        (b"[\"\xed\xa0\x80\"]", "json_utf8", 3),
        (b"[\"\xf0\x8f\xbf\xbf\"]", "json_utf8", 3),
        (b"[\"\xf4\x90\x80\x80\"]", "json_utf8", 3),
        (b"[\"\xf5\x80\x80\x80\"]", "json_utf8", 2),
        (b"[\"\xc3\"]", "json_utf8", 3),
        (b"[\"\xe2\x82\"]", "json_utf8", 4),
        (b"{\"\xff\":1}", "json_utf8", 2),
        (b"[\xc3\xa9]", "json_value", 1),
    ];
    for (body, code, at) in cases {
        assert_eq!(refused(body), (*code, *at), "{}", body.escape_ascii());
    }
}

/// The short ways through a chunk know where special bytes are, and must not take others of them for quotes.
#[test]
fn rule_11_names_begin_with_a_quote() {
    let bodies: [&[u8]; 4] = [
        br#"{"a":"b",@c":"d","e":"f"}"#,
        b"{\"a\":\"b\",\n  @c\":\"d\",\"e\":\"f\"}",
        br#"{"a": "b", @c": "d", "e": "f"}"#,
        br#"{"a":"b","x":{@c":"d","e":"f"},"e":"f"}"#,
    ];
    let specials = (0..0x20)
        .chain([b'\\'])
        .chain(0x7f..=0xff)
        .filter(|byte| !b"\t\n\r".contains(byte));
    for special in specials {
        for body in bodies {
            let body: Vec<u8> = body
                .iter()
                .map(|byte| if *byte == b'@' { special } else { *byte })
                .collect();
            let at = body.iter().position(|byte| *byte == special).expect("planted");
            for (around, rules) in [("@", deny(&["$.z"])), ("k", deny(&["$.z"])), ("k", deny(&["$.k"]))] {
                let (mut all, mut wanted) = (body.clone(), at as u64);
                if around == "k" {
                    all = [br#"{"j":"","k":"#.as_slice(), &body, b"}"].concat();
                    wanted += 12;
                }
                let error = every_way_within(&rules, Limits::default(), &all).expect_err("no name");
                assert_eq!(
                    (error.code(), error.offset()),
                    ("json_name", wanted),
                    "{}",
                    all.escape_ascii()
                );
            }
        }
    }
}

#[test]
fn rule_11_all_of_json_passes() {
    for body in [
        r#"["\"\\\/\b\f\n\r\t\u0000\uFFFF\ud83d\ude00"]"#,
        "[\"\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}\"]",
        "[0,-0,0.0,10,1e1,1E+1,1e-1,-1.5e+10,1e400,123456789012345678901234567890]",
        "[true,false,null,{},[]]",
        r#"{"":{"":[[],{}]}}"#,
    ] {
        for rules in [Rules::default(), deny(&["$..nothing"]), allow(&["$"])] {
            check(&rules, body, body);
        }
        assert!(every_way(&deny(&["$.*"]), body).is_ok());
    }
}

#[test]
fn rule_12_depth_and_names_are_limited() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for rules in [
            Rules::default(),
            deny(&["$"]),
            deny(&["$..nothing"]),
            deny(&["$[*].a", "$.a.b"]),
        ] {
            let body = |depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
            assert!(run(&rules, Limits::default(), &[body(128).as_bytes()]).is_ok());
            let error = run(&rules, Limits::default(), &[body(129).as_bytes()]).expect_err("too deep");
            assert_eq!((error.code(), error.offset()), ("json_depth", 128 * open.len() as u64));
            let limits = Limits {
                max_depth: 3,
                ..Limits::default()
            };
            assert!(every_way_within(&rules, limits, body(3).as_bytes()).is_ok());
            assert_eq!(
                every_way_within(&rules, limits, body(4).as_bytes()).map_err(|error| error.code()),
                Err("json_depth")
            );
        }
    }
    let limits = Limits {
        max_name: 4,
        ..Limits::default()
    };
    let rules = deny(&["$..abcd"]);
    assert_eq!(
        every_way_within(&rules, limits, br#"{"abcd":1,"bcde":2}"#)
            .expect("fits")
            .0,
        br#"{"bcde":2}"#
    );
    for body in [
        &br#"{"abcde":1}"#[..],
        br#"{"a":1, "abcdefghij":1}"#,
        br#"{"\u0061":1}"#,
        br#"{"abcde"#,
    ] {
        let error = every_way_within(&rules, limits, body).expect_err("too long");
        assert_eq!(error.code(), "json_name_length");
    }
    assert!(
        every_way_within(&deny(&["$.a"]), limits, br#"{"a":{"abcdefghij":1}}"#).is_ok(),
        "nothing is compared there"
    );
}

#[test]
fn rule_13_errors_say_nothing_of_the_body() {
    let error = every_way(&Rules::default(), r#"{"canary": canary}"#).expect_err("no JSON");
    assert_eq!(error.to_string(), "json_value: a value is expected, at byte 11");
}

#[test]
fn more_input_after_the_end_is_judged_too() {
    let mut trimmer = Rules::default().trimmer(Limits::default());
    let mut out = Vec::new();
    assert_eq!(trimmer.push(b"12", true, &mut out), Ok(()));
    assert_eq!(trimmer.push(b" ", true, &mut out), Ok(()));
    assert_eq!(
        trimmer.push(b"3", true, &mut out).map_err(|error| error.code()),
        Err("json_trailing")
    );
    assert_eq!(out, b"12");
}

#[test]
fn a_chunk_passes_on_what_is_decided() {
    let mut trimmer = deny(&["$.b"]).trimmer(Limits::default());
    let mut out = Vec::new();
    trimmer
        .push(br#"{"a":{"x":"lo"#, false, &mut out)
        .expect("valid so far");
    assert_eq!(out, br#"{"a":{"x":"lo"#);
    trimmer
        .push(br#"ng"},"b":"canary"#, false, &mut out)
        .expect("valid so far");
    assert_eq!(out, br#"{"a":{"x":"long"}"#);
}

#[test]
fn the_state_does_not_grow_with_the_body() {
    let mut trimmer = deny(&["$..x"])
        .and(change("$..y", Transform::Last4))
        .trimmer(Limits::default());
    let mut out = Vec::new();
    trimmer.push(b"[", false, &mut out).expect("valid so far");
    for _ in 0..20_000 {
        trimmer.push(b"{\"x\":\"", false, &mut out).expect("valid so far");
        trimmer.push(&[b'a'; 300], false, &mut out).expect("valid so far");
        trimmer
            .push(
                b"\",\"y\":[1234567], \"y\":\"\\u0041bcdefg\",   \n \"zz",
                false,
                &mut out,
            )
            .expect("valid so far");
        trimmer.push(b"z\":[[{}]]},", false, &mut out).expect("valid so far");
        out.clear();
    }
    let held = trimmer.state.memory();
    assert!(held < 6 << 10, "{held} bytes");
}

/// Each record of a stream of records has a trimmer of its own.
#[test]
fn a_small_body_takes_little_memory() {
    let rules = deny(&["$..x"]);
    let record = br#"{"a":"b","c":{"d":"e","f":[1,2]}}"#;
    let mut trimmer = rules.trimmer(Limits::default());
    let mut out = Vec::new();
    trimmer.push(record, true, &mut out).expect("valid");
    assert_eq!(out, record);
    let held = trimmer.state.memory();
    assert!(held < 600, "{held} bytes");
}

/// What a body can make a stream hold on to at worst: everything at its limit, in a deep place, byte by byte and at once.
#[test]
fn the_state_is_at_most_64_kib() {
    let limits = Limits::default();
    let rules = deny(&["$..x"]).and(change("$..y", Transform::Last4));
    let long = |length: usize| "a".repeat(length);
    let value = format!("\"y\":\"{}\"", long(limits.max_value - 2));
    let too_long = format!("\"y\":\"{}\"", long(3 * limits.max_value));
    let escaped = format!("\"y\":\"{}\"", "\\u00e9".repeat(limits.max_value / 6 - 1));
    let name = format!("\"\\u0061{}\":1", long(limits.max_name - 10));
    let deep = format!("\"z\":{}1{}", "{\"a\":[".repeat(60), "]}".repeat(60));
    let skipped = format!("\"x\":{}1{}", "[".repeat(120), "]".repeat(120));
    let body = format!("[{{{name},{deep},{skipped},{value},{too_long},{escaped},{name}}}]");
    let most = |rules: &Rules, body: &str, size: usize| {
        let mut trimmer = rules.trimmer(limits);
        let (mut out, mut most) = (Vec::new(), 0);
        for chunk in body.as_bytes().chunks(size) {
            trimmer.push(chunk, false, &mut out).expect("valid so far");
            out.clear();
            most = most.max(trimmer.state.memory() + trimmer.held.capacity() + size_of::<Trimmer>());
        }
        trimmer.push(b"", true, &mut out).expect("valid");
        assert!(most <= 64 << 10, "{most} bytes in chunks of {size}");
        most
    };
    // What lies whole in a chunk is held there and no longer.
    for size in [1, 7, 4096, 16 << 10, body.len()] {
        let most = most(&rules, &body, size);
        assert!(
            size > 4096 || most > limits.max_value,
            "{most} bytes: the test reaches the limit"
        );
    }
    // With a value that is looked ahead into behind all that.
    let rules = rules.and(deny(&["$.s[?@.k == 'x'].z"]));
    let seen = format!("{{\"k\":\"{}\"}}", long(limits.max_hold - 10));
    let body = format!("{{\"l\":[{{{name},{value},{too_long},{escaped}}}],\"s\":[{seen}]}}");
    for size in [1, 7, 4096, body.len()] {
        let most = most(&rules, &body, size);
        assert!(
            size > 4096 || most > limits.max_hold,
            "{most} bytes: the test reaches the limit"
        );
    }
}

// --- a bundle, with the lists of the example policy ------------------------------------------------------------

const BUNDLE: &str = r#"{
  "resourceType": "Bundle", "type": "searchset", "total": 2, "text": {"div": "canary-0"},
  "link": [{"relation": "self", "url": "https://fhir.example.org/Patient?name=canary-link"}],
  "entry": [
    {"fullUrl": "https://fhir.example.org/Patient/p1",
     "resource": {"resourceType": "Patient", "id": "p1", "text": {"status": "generated", "div": "<div>canary-1</div>"},
       "identifier": [{"system": "urn:ssn", "value": "canary-2"}], "active": true,
       "name": [{"use": "official", "family": "Chalmers", "given": ["Peter", "James"]}, {"text": "Jim"}],
       "telecom": [{"system": "phone", "value": "canary-3"}], "gender": "male", "birthDate": "1974-12-25",
       "_birthDate": {"extension": [{"url": "t", "valueDateTime": "1974-12-25T14:35:45-05:00"}]},
       "address": [{"line": ["canary-4"], "city": "PleasantVille"}],
       "contact": [{"name": {"family": "du March\u00e9"}, "telecom": [{"value": "canary-5"}], "\u0061ddress": {"city": "canary-6"}}],
       "photo": [{"data": "canary-7"}], "multipleBirthInteger": 1.10},
     "search": {"mode": "match"}},
    {"fullUrl": "https://fhir.example.org/Patient/p2",
     "resource": {"text": "canary-8", "id": "p2", "birthDate": "1951", "name": [{"family": "Levin"}], "identifier": [], "gender": "female", "resourceType": "Patient"}}
  ]
}"#;

#[test]
fn the_deny_list_of_the_example_holds() {
    let rules = deny(&[
        "$..identifier",
        "$..telecom",
        "$..address",
        "$..photo",
        "$.text",
        "$.entry[*].resource.text",
    ]);
    let (out, counts) = every_way(&rules, BUNDLE).expect("valid");
    let out = String::from_utf8(out).expect("UTF-8");
    for n in 0..9 {
        assert!(!out.contains(&format!("canary-{n}")), "{n}: {out}");
    }
    assert_eq!(counts.removed, 10);
    for part in [
        "canary-link",
        r#""contact":[{"name":{"family":"du March\u00e9"}}]"#,
        r#""multipleBirthInteger":1.10"#,
        "1974-12-25T",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    let mut wanted: serde_json::Value = serde_json::from_str(BUNDLE).expect("valid");
    fn strip(value: &mut serde_json::Value) {
        if let Some(object) = value.as_object_mut() {
            for name in ["identifier", "telecom", "address", "photo", "text"] {
                // The one `text` that stays is a name's.
                if object.get(name).is_some_and(|value| value != "Jim") {
                    object.remove(name);
                }
            }
            object.values_mut().for_each(strip);
        } else if let Some(array) = value.as_array_mut() {
            array.iter_mut().for_each(strip);
        }
    }
    strip(&mut wanted);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).expect("valid"), wanted);
}

#[test]
fn the_allow_list_of_the_example_holds() {
    let rules = allow(&[
        "$.resourceType",
        "$.id",
        "$.type",
        "$.total",
        "$.name[*].family",
        "$.gender",
        "$.birthDate",
        "$.entry[*].fullUrl",
        "$.entry[*].resource.resourceType",
        "$.entry[*].resource.id",
        "$.entry[*].resource.name[*].family",
        "$.entry[*].resource.gender",
        "$.entry[*].resource.birthDate",
    ])
    .and(change("$..birthDate", Transform::Year));
    check(
        &rules,
        BUNDLE,
        concat!(
            r#"{"resourceType":"Bundle","type":"searchset","total":2,"entry":["#,
            r#"{"fullUrl":"https://fhir.example.org/Patient/p1","resource":{"resourceType":"Patient","id":"p1","#,
            r#""name":[{"family":"Chalmers"},{}],"gender":"male","birthDate":"1974"}},"#,
            r#"{"fullUrl":"https://fhir.example.org/Patient/p2","resource":{"id":"p2","birthDate":"1951","#,
            r#""name":[{"family":"Levin"}],"gender":"female","resourceType":"Patient"}}]}"#
        ),
    );
}

// --- against a tree --------------------------------------------------------------------------------------------

/// A body as a tree that knows how it was written.
#[derive(Clone, Debug)]
enum Tree {
    /// A scalar as written.
    Scalar(String),
    Array(Vec<Tree>),
    /// Names as written and as meant.
    Object(Vec<(String, String, Tree)>),
}

fn changed(tree: &Tree, transform: Transform) -> String {
    let text = match (transform, tree) {
        (Transform::Mask, _) => return "\"***\"".into(),
        (Transform::Null, _) => return "null".into(),
        (_, Tree::Scalar(text)) if text == "null" => return "null".into(),
        (_, Tree::Scalar(text)) if text.starts_with('"') => serde_json::from_str::<String>(text).expect("valid"),
        (_, Tree::Scalar(text)) if text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => text.clone(),
        _ => return "\"***\"".into(),
    };
    let number = matches!(tree, Tree::Scalar(text) if !text.starts_with('"'));
    let chars: Vec<char> = text.chars().collect();
    let year =
        (chars.len() >= 4 && chars[..4].iter().all(char::is_ascii_digit) && matches!(chars.get(4), None | Some('-')))
            .then(|| chars[..4].iter().collect::<String>());
    let shown: String = match (transform, year) {
        (Transform::Tokenize, _) => pseudonym(text.as_bytes()),
        (Transform::Year, Some(year)) => year,
        (Transform::BirthYear, Some(year)) if (1937..=2026).contains(&year.parse::<u32>().expect("digits")) => year,
        (Transform::YearMonth, Some(_)) if DATES.contains(&text.as_str()) => text.chars().take(7).collect(),
        (Transform::Zip3, _) if text == "02139" => "021".into(),
        (Transform::Round, _) => match text.as_str() {
            "0" | "-0" if number => return "0".into(),
            "1.10" if number => return "1".into(),
            "-12.5E+3" if number => return "-12500".into(),
            "1e400" if number => return format!("1{}", "0".repeat(400)),
            "19741225" if number => return text,
            "02139" => "***".into(),
            _ => "***".into(),
        },
        (Transform::Last4, _) if chars.len() > 4 => {
            format!("***{}", chars[chars.len() - 4..].iter().collect::<String>())
        }
        _ => "***".into(),
    };
    serde_json::to_string(&shown).expect("a string")
}

const DATES: [&str; 2] = ["1974-12-25", "1936-12"];

/// Writes a tree with white space taken from `spaces`, over and over.
fn written(tree: &Tree, spaces: &mut dyn Iterator<Item = &'static str>) -> String {
    let mut gap = || spaces.next().unwrap_or("");
    match tree {
        Tree::Scalar(text) => format!("{}{text}{}", gap(), gap()),
        Tree::Array(items) if items.is_empty() => format!("{}[{}]{}", gap(), gap(), gap()),
        Tree::Object(members) if members.is_empty() => format!("{}{{{}}}{}", gap(), gap(), gap()),
        Tree::Array(items) => {
            let (before, after) = (gap(), gap());
            let items: Vec<String> = items.iter().map(|item| written(item, spaces)).collect();
            format!("{before}[{}]{after}", items.join(","))
        }
        Tree::Object(members) => {
            let (before, after) = (gap(), gap());
            let members: Vec<String> = members
                .iter()
                .map(|(raw, _, value)| {
                    let (left, right) = (spaces.next().unwrap_or(""), spaces.next().unwrap_or(""));
                    format!("{left}{raw}{right}:{}", written(value, spaces))
                })
                .collect();
            format!("{before}{{{}}}{after}", members.join(","))
        }
    }
}

/// The text without the white space between its tokens.
fn packed(text: &str) -> String {
    let (mut inside, mut escaped) = (false, false);
    text.chars()
        .filter(|c| {
            let keep = inside || !matches!(c, ' ' | '\n' | '\t' | '\r');
            match c {
                '"' if !escaped => inside = !inside,
                _ => {}
            }
            escaped = inside && *c == '\\' && !escaped;
            keep
        })
        .collect()
}

/// Gives most strings a canary of their own.
fn plant(tree: &mut Tree, count: &mut u32) {
    match tree {
        Tree::Scalar(text) if text.starts_with('"') && !PLAIN.contains(&text.as_str()) => {
            *count += 1;
            *text = format!("\"canary{count}x{}", &text[1..]);
        }
        Tree::Scalar(_) => {}
        Tree::Array(items) => items.iter_mut().for_each(|item| plant(item, count)),
        Tree::Object(members) => members
            .iter_mut()
            .filter(|(_, name, _)| name != "resourceType")
            .for_each(|(_, _, value)| plant(value, count)),
    }
}

/// What filters and transforms know.
const PLAIN: [&str; 5] = [r#""x""#, r#""old""#, r#""1974-12-25""#, r#""1936-12""#, r#""02139""#];

fn any_name() -> impl Strategy<Value = (String, String)> {
    prop_oneof![
        8 => prop::sample::select(vec![r#""a""#, r#""b""#, r#""c""#, r#""ssn""#, r#""longer name""#, r#""é""#]),
        2 => prop::sample::select(vec![r#""\u0061""#, r#""\u0062""#, r#""s\u0073n""#, r#""\u00E9""#, r#""""#, r#""a\"b\\""#, r#""\ud83d\ude00""#]),
    ]
    .prop_map(|raw| (raw.to_owned(), serde_json::from_str(raw).expect("valid")))
}

fn any_tree() -> impl Strategy<Value = Tree> {
    let scalar = prop_oneof![
        prop::sample::select(vec![
            "0",
            "-0",
            "1.10",
            "1e400",
            "-12.5E+3",
            "19741225",
            "true",
            "false",
            "null",
            r#""""#,
            r#""1974-12-25""#,
            r#""1936-12""#,
            r#""02139""#,
            r#""x""#,
            r#""a\\""#,
            r#""\"}{][,:""#,
            r#""x\u0041\ud83d\ude00é😀""#,
            r#""quite a long string, of more than one word""#,
        ])
        .prop_map(String::from),
        "[a-zé😀]{0,12}".prop_map(|text| format!("\"{text}\"")),
    ]
    .prop_map(Tree::Scalar);
    scalar.prop_recursive(6, 48, 6, |inner| {
        prop_oneof![
            2 => prop::collection::vec(inner.clone(), 0..6).prop_map(Tree::Array),
            3 => prop::collection::vec((any_name(), inner), 0..6)
                .prop_map(|members| Tree::Object(members.into_iter().map(|((raw, name), value)| (raw, name, value)).collect())),
        ]
    })
}

fn any_selector() -> impl Strategy<Value = Selector> {
    let segment = prop::sample::select(vec![
        ".a",
        ".b",
        ".c",
        ".ssn",
        "..a",
        "..ssn",
        ".*",
        "[*]",
        "..*",
        "['a','b']",
        "..['c','longer name']",
        "[0]",
        "[0,2]",
        "[1:3]",
        "[2:]",
        "..[1]",
        "..[:2]",
        "['é',0]",
        r#"["a\"b\\"]"#,
        "['\\ud83d\\ude00','']",
        "[::2]",
        "[1:5:3]",
        "[?@.a]",
        "..[?!@.b]",
        "[?@.a == 'x','b']",
        "[?@.a,?@[0]]",
        "[?@ == 'x']",
        "..[?@.a.b || @ == null]",
        "[?@ < 1.2 && @ > 0.9]",
        "[?@]",
    ]);
    prop::collection::vec(segment, 0..5)
        .prop_map(|segments| Selector::parse(&format!("${}", segments.concat())).expect("written right"))
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let transform = prop::sample::select(Transform::NAMES.map(|(_, transform)| transform).to_vec());
    (
        prop::collection::vec(any_selector(), 0..4),
        prop::option::of(prop::collection::vec(any_selector(), 0..4)),
        prop::collection::vec((any_selector(), transform), 0..3),
    )
        .prop_map(|(deny, allow, transforms)| Rules {
            deny,
            allow,
            transforms,
            fhir: None,
        })
}

/// Whether a tree has an object with a name twice, which a filter may find ambiguous.
fn repeats(tree: &Tree) -> bool {
    match tree {
        Tree::Scalar(_) => false,
        Tree::Array(items) => items.iter().any(repeats),
        Tree::Object(members) => {
            let names = |name: &String| members.iter().filter(|(_, own, _)| own == name).count();
            members.iter().any(|(_, name, value)| names(name) > 1 || repeats(value))
        }
    }
}

/// The invariants: what comes out is what is left of the tree, however the body is cut, and nothing of what is denied.
fn same_as_the_tree(
    rules: &Rules,
    limits: Limits,
    tree: &Tree,
    body: &str,
    cuts: &[prop::sample::Index],
) -> Result<(), TestCaseError> {
    let program = match rules.compiled() {
        Ok(program) => Arc::new(program),
        Err(error) => {
            let error = error.to_string();
            prop_assert!(
                error.contains("different filters") || error.contains("another resource"),
                "{}",
                error
            );
            return Ok(());
        }
    };
    let whole = run_program(&program, limits, &[body.as_bytes()]);
    let parts = run_program(&program, limits, &cut(body.as_bytes(), cuts));
    prop_assert_eq!(&parts, &whole);
    let bytes: Vec<&[u8]> = body.as_bytes().chunks(1).collect();
    prop_assert_eq!(&run_program(&program, limits, &bytes), &whole);
    let left = rules.left_of(tree, limits.max_hold);
    match whole {
        Err(error) if error.code() == "json_ambiguous" => prop_assert!(repeats(tree)),
        Err(error) if error.code() == "json_hold" => prop_assert!(limits != Limits::default()),
        Err(error) => prop_assert_eq!(left, Err(error.code()), "{}", body),
        Ok((out, _)) => {
            let out = String::from_utf8(out).expect("UTF-8");
            for canary in rules.denied(tree) {
                prop_assert!(!out.contains(&format!("canary{canary}")), "{} in {}", canary, out);
            }
            prop_assert_eq!(Ok(packed(&out)), left, "{}", body);
            if !program.trims() {
                prop_assert_eq!(packed(&out), packed(body));
            }
        }
    }
    Ok(())
}

fn cut<'a>(body: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
    places.sort_unstable();
    places.push(body.len());
    let mut from = 0;
    let mut chunks = Vec::new();
    for to in places {
        chunks.push(&body[from..to]);
        from = to;
    }
    chunks
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn what_comes_out_is_what_the_reference_gives(
        mut tree in any_tree(),
        rules in any_rules(),
        spaces in prop::collection::vec(prop::sample::select(vec!["", "", " ", "\n  ", "\t", "           "]), 1..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        plant(&mut tree, &mut 0);
        let body = written(&tree, &mut spaces.iter().copied().cycle());
        same_as_the_tree(&rules, Limits::default(), &tree, &body, &cuts)?;
    }

    #[test]
    fn rule_7_any_bytes_have_one_outcome(
        tree in any_tree(),
        rules in any_rules(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"{}[]\",:\\u0-.eE+ tn\x00\x1f\x80\xc3\xed\xa0\xf4".to_vec()), 0..3u8), 0..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        prop_assume!(rules.compiled().is_ok());
        let mut body = written(&tree, &mut std::iter::empty()).into_bytes();
        for (at, byte, how) in edits {
            let at = at.index(body.len() + 1);
            match how {
                0 => body.insert(at, byte),
                1 => body.truncate(at),
                _ => if let Some(old) = body.get_mut(at) { *old = byte },
            }
        }
        let limits = Limits { max_depth: 100, ..Limits::default() };
        let whole = run(&rules, limits, &[&body]);
        prop_assert_eq!(run(&rules, limits, &cut(&body, &cuts)), whole.clone());
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        if !bytes.is_empty() {
            prop_assert_eq!(run(&rules, limits, &bytes), whole.clone());
        }
        let parsed = serde_json::from_slice::<serde_json::Value>(&body);
        // serde_json keeps numbers as 64-bit floats, which 1e400 exceeds.
        let valid = parsed.as_ref().map_or_else(|error| error.to_string().contains("out of range"), |_| true);
        match whole {
            Ok((out, _)) => {
                prop_assert!(valid, "{} passed: {:?}", body.escape_ascii(), parsed);
                let out = serde_json::from_slice::<serde_json::Value>(&out);
                prop_assert!(out.map_or_else(|error| error.to_string().contains("out of range"), |_| true));
            }
            Err(error) if error.code() == "json_ambiguous" => {}
            Err(error) => prop_assert!(parsed.is_err(), "{} refused: {}", body.escape_ascii(), error),
        }
    }
}

// --- bodies longer than what is looked at ahead ----------------------------------------------------------------------

/// Some KB of a bundle, indented in one of the ways that servers write, with strings of all lengths and kinds.
fn long_body(layout: u8, padding: usize) -> Vec<u8> {
    let compact = packed(BUNDLE);
    let more = format!(
        r#"{{"a":"{}","\u0061":"{}","é":["Zoë",-1.5e3,null,{{}},[ ]],"q":"{}","div":"<b class=\"x\">\n\\</b>\u00e9\ud83d\ude00"}}"#,
        "x".repeat(padding),
        "y".repeat(1100),
        "日本語".repeat(padding % 50),
    );
    let all = format!("[{compact},{more},{compact},{more}]");
    let mut out = String::new();
    let (mut depth, mut inside, mut escaped) = (0usize, false, false);
    for c in all.chars() {
        if inside || layout == 0 {
            inside = c != '"' || escaped;
            escaped = c == '\\' && !escaped;
            out.push(c);
            continue;
        }
        let line = |out: &mut String, depth: usize| match layout {
            1 => out.extend(["\n", &"  ".repeat(depth)]),
            2 => out.extend(["\r\n", &"\t".repeat(depth)]),
            _ => out.extend(["\n", &" ".repeat(9 * depth)]),
        };
        match c {
            '{' | '[' => {
                depth += 1;
                out.push(c);
                line(&mut out, depth);
            }
            '}' | ']' => {
                depth -= 1;
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(if layout == 3 { " :  " } else { ": " }),
            _ => {
                inside = c == '"';
                out.push(c);
            }
        }
    }
    out.into_bytes()
}

fn long_rules() -> impl Strategy<Value = Rules> {
    prop::sample::select(vec![
        deny(&["$..identifier", "$..telecom", "$[*].entry[*].resource.text"]),
        deny(&["$..nothing"]),
        deny(&["$[1]", "$..a"]),
        deny(&["$"]),
        allow(&["$[*].entry[*].resource['id','name','gender']", "$[*].div", "$[3]"]),
        allow(&["$..family", "$..é"]),
        change("$..family", Transform::Mask).and(change("$..a", Transform::Last4)),
        Rules::default(),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn long_bodies_have_one_outcome(
        rules in long_rules(),
        layout in 0..4u8,
        padding in 0..1300usize,
        size in prop_oneof![Just(63), Just(64), Just(65), Just(1023), Just(1024), Just(1025), 2..3000usize],
        edits in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"{}[]\",:\\u0-.eE+ tn\x00\x1f\x80\xc3\n\r".to_vec()), 0..3u8), 0..2),
    ) {
        let mut body = long_body(layout, padding);
        let whole_and_valid = edits.is_empty();
        for (at, byte, how) in edits {
            let at = at.index(body.len());
            match how {
                0 => body.insert(at, byte),
                1 => body.truncate(at),
                _ => if let Some(old) = body.get_mut(at) { *old = byte },
            }
        }
        let outcome = |chunks: Vec<&[u8]>| run(&rules, Limits::default(), &[chunks, vec![&[][..]]].concat());
        // Byte by byte nothing is looked at ahead.
        let slow = outcome(body.chunks(1).collect());
        prop_assert_eq!(&outcome(vec![&body]), &slow);
        prop_assert_eq!(&outcome(body.chunks(size).collect()), &slow);
        prop_assert_eq!(slow.is_ok() || !whole_and_valid, true);
        prop_assert_eq!(slow.is_ok(), serde_json::from_slice::<serde_json::Value>(&body).is_ok());
        if let Ok((out, _)) = slow {
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&out).is_ok());
            // Without the white space it is the same as of a body without any.
            let dense = packed(&String::from_utf8_lossy(&body));
            let dense = run(&rules, Limits::default(), &[dense.as_bytes()]).expect("valid");
            prop_assert_eq!(packed(&String::from_utf8_lossy(&out)), String::from_utf8_lossy(&dense.0));
        }
    }
}

// --- rewriters -------------------------------------------------------------------------------------------------

/// Rewriter 0 takes `7` out of a text, 1 nothing.
fn without_seven(by: u8, text: &str) -> Option<String> {
    (by == 0 && text.contains('7')).then(|| text.replace('7', "\"*\""))
}

fn rewritten(rules: &Rules, limits: Limits, body: &str) -> (String, Counts) {
    let mut outcomes = Vec::new();
    for size in [1, 2, 3, 7, body.len()] {
        let mut trimmer = rules.trimmer(limits);
        let mut out = Vec::new();
        for chunk in body.as_bytes().chunks(size) {
            trimmer
                .push_with(Some(&without_seven), chunk, false, &mut out)
                .expect("JSON");
        }
        trimmer
            .push_with(Some(&without_seven), b"", true, &mut out)
            .expect("JSON");
        outcomes.push((String::from_utf8(out).expect("UTF-8"), trimmer.counts()));
    }
    assert!(outcomes.windows(2).all(|two| two[0] == two[1]), "{outcomes:?}");
    outcomes.remove(0)
}

#[test]
fn rule_10a_rewriters_change_strings_alone() {
    let rules = change("$.url", Transform::Rewrite(0)).and(change("$.list[*].url", Transform::Rewrite(1)));
    let counted = |transformed| Counts {
        removed: 0,
        transformed,
    };
    for (body, wanted, count) in [
        (r#"{"url":"a/7"}"#, r#"{"url":"a/\"*\""}"#, 1),
        (r#"{"url":"a\u002f\u0037"}"#, r#"{"url":"a/\"*\""}"#, 1),
        (r#"{"url":"a\u002f8"}"#, r#"{"url":"a\u002f8"}"#, 0),
        (r#"{"url":77}"#, r#"{"url":"***"}"#, 1),
        (r#"{"url":true}"#, r#"{"url":"***"}"#, 1),
        (r#"{"url":{"x":7}}"#, r#"{"url":"***"}"#, 1),
        (r#"{"url":null}"#, r#"{"url":null}"#, 0),
        (r#"{"url":"7","url":"7"}"#, r#"{"url":"\"*\"","url":"\"*\""}"#, 2),
        (
            r#"{"list":[{"url":"7"}],"b":"7"}"#,
            r#"{"list":[{"url":"7"}],"b":"7"}"#,
            0,
        ),
    ] {
        let expected = (wanted.to_owned(), counted(count));
        assert_eq!(rewritten(&rules, Limits::default(), body), expected, "{body}");
    }
    let limits = Limits {
        max_value: 4,
        ..Limits::default()
    };
    assert_eq!(rewritten(&rules, limits, r#"{"url":"abc"}"#).0, r#"{"url":"***"}"#);
    // Without a rewriter nothing is shown.
    let mut out = Vec::new();
    let mut trimmer = rules.trimmer(Limits::default());
    trimmer.push(br#"{"url":"abc"}"#, true, &mut out).expect("JSON");
    assert_eq!(out, br#"{"url":"***"}"#);
}

#[test]
fn rule_10a_deny_allow_and_own_transforms_come_first() {
    let links = change("$.link[*].url", Transform::Rewrite(0));
    for (rules, wanted) in [
        (deny(&["$.link"]).and(links.clone()), r#"{"a":1}"#),
        (deny(&["$..url"]).and(links.clone()), r#"{"a":1,"link":[{}]}"#),
        (allow(&["$.a"]).and(links.clone()), r#"{"a":1}"#),
        (
            change("$.link[*].url", Transform::Null).and(links.clone()),
            r#"{"a":1,"link":[{"url":null}]}"#,
        ),
        (
            change("$.link", Transform::Mask).and(links.clone()),
            r#"{"a":1,"link":"***"}"#,
        ),
    ] {
        let body = r#"{"a":1,"link":[{"url":"7"}]}"#;
        assert_eq!(rewritten(&rules, Limits::default(), body).0, wanted);
    }
    let program = Program::new(Vec::new(), None, links.transforms).expect("small");
    assert!(program.rewrites() && !program.needs_pseudonyms());
}
