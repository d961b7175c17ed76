//! What types can't say of a case file, refused at its place: expectations that would check nothing, and names that nothing can have.
//!
//! 1. Under `expect` a `null` is refused, but where JSON is given; there it is JSON's own.
//! 2. Lists, texts and maps that would hold always (`any: []`, `nowhere: [""]`, `body: {}`) are refused, and so is a `false` where only
//!    `true` says something.
//! 3. Regular expressions are tried, operators of `json_subset` known and their arguments of the right type, at any depth.
//! 4. Header names are tokens (RFC 9110, 5.6.2); header values, URLs and authorities are of one line.
//! 5. A step that uses captured values is checked again once they are known; until then the `0` that stands for them passes for anything.

use std::path::Path;

use serde_json::Value;

use super::problem::{Problem, suggest};
use super::tree::{self, At, Data, Node};

/// What may stand in place of a value in `json_subset`.
const OPERATORS: [&str; 10] = [
    "$present",
    "$absent",
    "$regex",
    "$any",
    "$not",
    "$contains",
    "$at_least",
    "$at_most",
    "$size",
    "$has",
];

/// Checks a file; `is_late` says whether a step (by case and step) waits for what others capture.
pub(super) fn suite(file: &Path, root: &Node, is_late: impl Fn(usize, usize) -> bool, problems: &mut Vec<Problem>) {
    let clusters = root.get("proxy").and_then(|proxy| proxy.get("clusters"));
    let mut check = Check {
        file,
        problems,
        clusters: Some(
            clusters
                .map_or(&[][..], Node::entries)
                .iter()
                .map(|(key, _)| key.name.as_str())
                .collect(),
        ),
        late: false,
    };
    check.named(root, "modules", "it would run nothing: name suite or chain");
    check.values(root.get("nowhere"));
    for (_, cluster) in clusters.map_or(&[][..], Node::entries) {
        check.cluster(cluster);
    }
    for (number, case) in list(root.get("cases")).iter().enumerate() {
        check.named(case, "engines", "it would run nowhere: name wasmtime or envoy");
        check.step(case);
        for (index, step) in list(case.get("steps")).iter().enumerate() {
            check.late = is_late(number, index);
            check.step(step);
        }
        check.late = false;
    }
}

/// Checks a step once captured values are filled in.
pub(super) fn step(file: &Path, node: &Node, problems: &mut Vec<Problem>) {
    let mut check = Check {
        file,
        problems,
        clusters: None,
        late: false,
    };
    check.step(node);
}

/// Whether it is a token of RFC 9110, as header names and methods are.
fn is_token(name: &str) -> bool {
    let is = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is)
}

struct Check<'a> {
    file: &'a Path,
    problems: &'a mut Vec<Problem>,
    /// Names of the file's clusters; none: they were checked before.
    clusters: Option<Vec<&'a str>>,
    /// Whether `0` stands for what is captured.
    late: bool,
}

impl Check<'_> {
    fn tell(&mut self, at: At, what: impl Into<String>) {
        self.problems.push(at.problem(self.file, what));
    }

    /// A list that is there names something.
    fn named(&mut self, map: &Node, key: &str, why: &str) {
        if let Some(Node {
            at,
            data: Data::List(list),
        }) = map.get(key)
            && list.is_empty()
        {
            self.tell(*at, format!("`{key}` is an empty list: {why}, or take it away"));
        }
    }

    fn step(&mut self, step: &Node) {
        if let Some(request) = step.get("request") {
            for key in ["url", "host"] {
                self.one_line(request.get(key), key);
            }
            if let Some(method) = request.get("method")
                && let Some(text) = method.text().filter(|text| !is_token(text))
            {
                self.tell(
                    method.at,
                    format!("`{}` is no method: use letters, as GET", text.escape_debug()),
                );
            }
            self.lines(request);
        }
        if let Some(answer) = step.get("upstream") {
            self.lines(answer);
        }
        for (name, capture) in step.get("capture").map_or(&[][..], Node::entries) {
            self.pointer(capture.get("json"));
            self.pattern(capture.get("regex"));
            if let Some(header) = capture.get("header") {
                self.name(header);
            }
            if capture.entries().is_empty() {
                self.tell(
                    name.at,
                    format!(
                        "`{}` is captured from nowhere: give `header`, `json` or `regex`",
                        name.name
                    ),
                );
            }
        }
        match step.get("expect") {
            Some(Node {
                data: Data::List(all), ..
            }) => all.iter().for_each(|one| self.expect(one)),
            Some(one) => self.expect(one),
            None => {}
        }
    }

    fn cluster(&mut self, cluster: &Node) {
        for rule in list(cluster.get("rules")) {
            if let Some(when) = rule.get("when") {
                self.seen(when);
            }
            list(rule.get("answers")).iter().for_each(|answer| self.lines(answer));
        }
        list(cluster.get("answers"))
            .iter()
            .for_each(|answer| self.lines(answer));
        for key in ["paths", "grpc"] {
            for (_, answers) in cluster.get(key).map_or(&[][..], Node::entries) {
                list(Some(answers)).iter().for_each(|answer| self.lines(answer));
            }
        }
    }

    /// Header lines that are sent.
    fn lines(&mut self, message: &Node) {
        let keys = ["headers", "trailers", "initial_metadata", "trailing_metadata"];
        for lines in keys.iter().filter_map(|key| message.get(key)) {
            let maps = match &lines.data {
                Data::List(maps) => maps.as_slice(),
                _ => std::slice::from_ref(lines),
            };
            for (key, value) in maps.iter().flat_map(Node::entries) {
                if !key.name.starts_with(':') {
                    self.token(&key.name, key.at);
                }
                let values = match &value.data {
                    Data::List(values) => values.as_slice(),
                    _ => std::slice::from_ref(value),
                };
                for value in values {
                    self.one_line(Some(value), &key.name);
                }
            }
        }
    }

    fn one_line(&mut self, node: Option<&Node>, what: &str) {
        if let Some(node) = node
            && node.text().is_some_and(|text| text.contains(['\r', '\n', '\0']))
        {
            let what = format!("`{what}` holds a line break or NUL, which can't be sent: write it in one line");
            self.tell(node.at, what);
        }
    }

    fn name(&mut self, node: &Node) {
        if let Some(name) = node.text() {
            self.token(name, node.at);
        }
    }

    fn token(&mut self, name: &str, at: At) {
        if !is_token(name) {
            let name = name.escape_debug();
            self.tell(
                at,
                format!("`{name}` is no header's name: use letters, digits and `-`, without spaces"),
            );
        }
    }

    fn expect(&mut self, expect: &Node) {
        for (key, value) in expect.entries() {
            if key.name != "json" && !self.is_there(&key.name, value) {
                continue;
            }
            match key.name.as_str() {
                "upstream" => self.seen(value),
                "audit" => self.subset(value),
                "log_safe_path" | "logs" => self.text(value),
                "filter_state" => value.entries().iter().for_each(|(key, text)| {
                    if self.is_there(&key.name, text) {
                        self.text(text);
                    }
                }),
                "metrics" => value.entries().iter().for_each(|(key, number)| {
                    self.is_there(&key.name, number);
                }),
                "calls" => self.calls(value),
                "nowhere" | "upstream_only" | "unlogged" => self.values(Some(value)),
                "body" => self.body(value),
                _ => self.headers(&key.name, value),
            }
        }
    }

    fn calls(&mut self, calls: &Node) {
        for (cluster, all) in calls.entries() {
            if let Some(clusters) = self
                .clusters
                .as_ref()
                .filter(|all| !all.contains(&cluster.name.as_str()))
            {
                let mend = if clusters.is_empty() {
                    "add it to `proxy.clusters`".to_owned()
                } else {
                    suggest(&cluster.name, clusters)
                };
                self.tell(cluster.at, format!("there is no cluster `{}`: {mend}", cluster.name));
            }
            if self.is_there(&cluster.name, all) {
                list(Some(all)).iter().for_each(|call| self.seen(call));
            }
        }
    }

    /// What the upstream or a cluster has seen.
    fn seen(&mut self, seen: &Node) {
        for (key, value) in seen.entries() {
            if !self.is_there(&key.name, value) {
                continue;
            }
            match key.name.as_str() {
                "url" | "host" | "path" => self.text(value),
                "body" => self.body(value),
                "messages" => list(Some(value)).iter().for_each(|message| self.body(message)),
                _ => self.headers(&key.name, value),
            }
        }
    }

    fn headers(&mut self, key: &str, value: &Node) {
        match key {
            "headers" | "trailers" => {
                for (name, wanted) in value.entries() {
                    self.token(&name.name, name.at);
                    if self.is_there(&name.name, wanted) {
                        self.text(wanted);
                    }
                }
            }
            "absent" | "header_order" => list(Some(value)).iter().for_each(|name| self.name(name)),
            _ => {}
        }
    }

    /// Refuses null.
    fn is_there(&mut self, key: &str, node: &Node) -> bool {
        let null = matches!(node.data, Data::Plain(_)) && tree::json(node).is_null();
        if null {
            self.tell(
                node.at,
                format!("`{key}` is null, which checks nothing: give a value, or take the key away"),
            );
        }
        !null
    }

    fn text(&mut self, text: &Node) {
        for (key, value) in text.entries() {
            if !self.is_there(&key.name, value) {
                continue;
            }
            match key.name.as_str() {
                "regex" => self.pattern(Some(value)),
                "not" => self.text(value),
                "any" => self.some(&key.name, value),
                "contains" | "not_contains" => {
                    self.some(&key.name, value);
                    self.values(Some(value));
                }
                _ => {}
            }
        }
    }

    fn body(&mut self, body: &Node) {
        if matches!(&body.data, Data::Map(map) if map.is_empty()) {
            self.tell(
                body.at,
                "`{}` says nothing about the body: say what it must be, or take the key away",
            );
        }
        for (key, value) in body.entries() {
            match key.name.as_str() {
                "json" => continue,
                "json_subset" => {
                    self.subset(value);
                    continue;
                }
                _ if !self.is_there(&key.name, value) => continue,
                _ => {}
            }
            match key.name.as_str() {
                "regex" => self.pattern(Some(value)),
                "not" => self.body(value),
                "empty" | "unchanged" if tree::json(value) == Value::Bool(false) => {
                    let what = format!(
                        "`{}: false` checks nothing: say `not: {{{0}: true}}`, or take it away",
                        key.name
                    );
                    self.tell(value.at, what);
                }
                "contains" | "not_contains" => {
                    self.some(&key.name, value);
                    self.values(Some(value));
                }
                "json_absent" => {
                    self.some(&key.name, value);
                    list(Some(value)).iter().for_each(|one| self.pointer(Some(one)));
                }
                _ => {}
            }
        }
    }

    /// A list is not empty.
    fn some(&mut self, key: &str, node: &Node) {
        if matches!(&node.data, Data::List(list) if list.is_empty()) {
            self.tell(
                node.at,
                format!("`{key}` is an empty list: name something, or take the key away"),
            );
        }
    }

    /// Texts that are searched for: one that is empty is in everything.
    fn values(&mut self, node: Option<&Node>) {
        let Some(node) = node else { return };
        let all = match &node.data {
            Data::List(all) => all.as_slice(),
            _ => std::slice::from_ref(node),
        };
        for one in all {
            if one.text() == Some("") {
                self.tell(one.at, "an empty text is in everything: give a value, or take it away");
            }
        }
    }

    fn pointer(&mut self, node: Option<&Node>) {
        if let Some(node) = node.filter(|node| !self.stands_in(node))
            && let Some(text) = node.text().filter(|text| !text.is_empty() && !text.starts_with('/'))
        {
            let what = format!("`{text}` is no JSON pointer (RFC 6901): write `/{text}`");
            self.tell(node.at, what);
        }
    }

    fn pattern(&mut self, node: Option<&Node>) {
        if let Some(node) = node
            && let Some(pattern) = node.text()
            && regex::Regex::new(pattern).is_err()
        {
            let what = format!("`{pattern}` is no regular expression: escape what is meant literally by a backslash");
            self.tell(node.at, what);
        }
    }

    /// Whether it may be the `0` that stands for a captured value.
    fn stands_in(&self, node: &Node) -> bool {
        self.late && matches!(&node.data, Data::Plain(text) if text == "0")
    }

    /// JSON in which operators may stand.
    fn subset(&mut self, node: &Node) {
        list(Some(node)).iter().for_each(|one| self.subset(one));
        let alone = node.entries().len() == 1;
        for (key, value) in node.entries() {
            if !key.name.starts_with('$') {
                self.subset(value);
            } else if !OPERATORS.contains(&key.name.as_str()) {
                let mend = suggest(&key.name, &OPERATORS);
                self.tell(
                    key.at,
                    format!(
                        "there is no operator `{}`: {mend}; `json` compares members of such a name",
                        key.name
                    ),
                );
            } else if alone {
                self.operator(&key.name, value);
            } else {
                let what = format!(
                    "the operator `{}` stands alone in its map: move the rest elsewhere, as in a `$not` or a second expectation",
                    key.name
                );
                self.tell(key.at, what);
            }
        }
    }

    fn operator(&mut self, name: &str, argument: &Node) {
        if self.stands_in(argument) {
            return;
        }
        let json = tree::json(argument);
        let wanted = match name {
            "$present" | "$absent" if json != Value::Bool(true) => "`true`",
            "$regex" | "$contains" if !json.is_string() => "a text (in quotes where it looks like a number)",
            "$any" if json.as_array().is_none_or(Vec::is_empty) => "a list of what may be",
            "$at_least" | "$at_most" if !json.is_number() => "a number",
            "$size" if !json.is_u64() => "a whole number, not below 0",
            _ => {
                match name {
                    "$regex" => self.pattern(Some(argument)),
                    "$contains" => self.values(Some(argument)),
                    "$any" => list(Some(argument)).iter().for_each(|one| self.subset(one)),
                    "$not" | "$has" => self.subset(argument),
                    _ => {}
                }
                return;
            }
        };
        self.tell(argument.at, format!("`{name}` takes {wanted}: write that"));
    }
}

fn list(node: Option<&Node>) -> &[Node] {
    match node.map(|node| &node.data) {
        Some(Data::List(list)) => list,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::Suite;
    use super::*;

    fn told(case: &str) -> String {
        let text = format!("policy: p\nproxy: {{clusters: {{idp: {{}}}}}}\ncases:\n  - {{name: a, {case}}}\n");
        match Suite::parse(Path::new("x"), &text) {
            Ok(_) => String::new(),
            Err(problems) => problems.to_string(),
        }
    }

    #[test]
    fn expectations_that_check_nothing_are_refused_at_their_place() {
        for (expect, part) in [
            ("{status: }", "`status` is null"),
            ("{upstream: ~}", "`upstream` is null"),
            ("{headers: {x-a: {exact: null}}}", "`exact` is null"),
            ("{headers: {x-a: null}}", "`x-a` is null"),
            ("{audit: null}", "`audit` is null"),
            ("{body: {schema: null}}", "`schema` is null"),
            ("{body: {}}", "says nothing about the body"),
            ("{body: {not: {}}}", "says nothing about the body"),
            ("{body: {empty: false}}", "`empty: false` checks nothing"),
            ("{body: {unchanged: false}}", "`unchanged: false` checks nothing"),
            ("{body: {json_absent: [id]}}", "write `/id`"),
            ("{body: {contains: []}}", "`contains` is an empty list"),
            ("{headers: {x-a: {any: []}}}", "`any` is an empty list"),
            ("{headers: {x-a: {not: {regex: '('}}}}", "no regular expression"),
            ("{logs: {contains: ['']}}", "an empty text is in everything"),
            ("{nowhere: ['']}", "an empty text is in everything"),
            ("{absent: ['x-a ']}", "`x-a ` is no header's name"),
            ("{headers: {'x a': '1'}}", "`x a` is no header's name"),
            ("{upstream: {absent: ['']}}", "is no header's name"),
            ("{calls: {ipd: []}}", "there is no cluster `ipd`: did you mean `idp`?"),
            ("{calls: {idp: [{path: {not: {regex: '('}}}]}}", "no regular expression"),
            (
                "{body: {json_subset: {a: {$regx: x}}}}",
                "no operator `$regx`: did you mean `$regex`?",
            ),
            (
                "{body: {json_subset: {a: {$not: {$regex: '('}}}}}",
                "no regular expression",
            ),
            (
                "{body: {json_subset: {a: {$has: {b: {$size: -1}}}}}}",
                "`$size` takes a whole number",
            ),
            (
                "{body: {json_subset: {a: {$any: [1, {$present: false}]}}}}",
                "`$present` takes `true`",
            ),
            ("{audit: {a: {$absent: false}}}", "`$absent` takes `true`"),
            ("{audit: {a: {$at_least: x}}}", "`$at_least` takes a number"),
            ("{audit: {a: {$contains: 5}}}", "`$contains` takes a text"),
            ("{audit: {a: {$at_least: 1, $at_most: 2}}}", "stands alone"),
        ] {
            let told = told(&format!("request: {{url: /}}, expect: {expect}"));
            assert!(told.contains(part) && told.starts_with("x:4:"), "{expect}: {told}");
        }
        for expect in [
            "{json: null}",
            "{body: {json: null}}",
            "{body: {json_subset: null}}",
            "{body: {json_subset: {a: null, b: {$not: null}}}}",
            "{calls: {idp: []}, status: 200, audit: {a: {$regex: '^1'}}}",
            "{headers: {x-a: {absent: false}, x-b: {}, x-c: ''}}",
        ] {
            assert_eq!(told(&format!("request: {{url: /}}, expect: {expect}")), "", "{expect}");
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        for (case, part) in [
            (
                "request: {url: \"/a\\r\\nx: 1\"}, expect: {}",
                "`url` holds a line break",
            ),
            ("request: {url: /, method: 'GE T'}, expect: {}", "no method"),
            ("request: {url: /, headers: {'x a': 1}}, expect: {}", "no header's name"),
            (
                "request: {url: /, headers: [{x-a: \"1\\n2\"}]}, expect: {}",
                "`x-a` holds a line break",
            ),
            (
                "request: {url: /}, upstream: {trailers: {x-a: [\"1\\r\"]}}, expect: {}",
                "`x-a` holds a line break",
            ),
            (
                "request: {url: /}, expect: {}, engines: []",
                "x:4:55: error: `engines` is an empty list",
            ),
        ] {
            let told = told(case);
            assert!(told.contains(part), "{case}: {told}");
        }
        let text = "policy: p\nproxy: {clusters: {c: {grpc: {/a: [{initial_metadata: {'a b': 1}}]}}}}\ncases: []\n";
        let told = Suite::parse(Path::new("x"), text).unwrap_err().to_string();
        assert!(told.contains("x:2:56: error: `a b` is no header's name"), "{told}");
        let text = "policy: p\nmodules: []\nnowhere: ['']\nproxy: {clusters: {c: {rules: [{when: {path: {regex: '('}}, answers: [{}]}]}}}\ncases: []\n";
        let told = Suite::parse(Path::new("x"), text).unwrap_err().to_string();
        for part in [
            "x:2:10: error: `modules` is an empty",
            "x:3:11: error: an empty text",
            "x:4:54: error: `(`",
        ] {
            assert!(told.contains(part), "{told}");
        }
    }

    #[test]
    fn captured_values_are_checked_once_they_are_known() {
        let text = "policy: p\ncases:\n  - name: a\n    steps:\n      - {request: {url: /}, expect: {}, capture: {it: {json: /it}}}\n      - {request: {url: '/${it}'}, expect: {body: {regex: '${it}', json_subset: {a: {$contains: '${it}'}}}}}\n";
        let suite = Suite::parse(Path::new("x"), text).unwrap();
        let with = |value: &str| {
            let captured = [("it".to_owned(), Value::from(value))].into();
            suite.cases[0].steps[1].with(Path::new("x"), &captured)
        };
        assert!(with("a").is_ok());
        assert!(with("(").unwrap_err().to_string().contains("no regular expression"));
        assert!(
            with("\r\n")
                .unwrap_err()
                .to_string()
                .contains("`url` holds a line break")
        );
        let wrong = text.replace("json: /it", "json: it");
        let told = Suite::parse(Path::new("x"), &wrong).unwrap_err().to_string();
        assert!(told.contains("x:5:62: error: `it` is no JSON pointer"), "{told}");
    }
}
