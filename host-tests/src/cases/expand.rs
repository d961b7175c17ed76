//! From a file's tree to its cases: included files, variables and matrices.
//!
//! 1. `${name}` stands for a variable anywhere in a file's texts and header names. A text that is nothing but `${name}` becomes the
//!    variable's value, whatever its type; elsewhere the value must be a scalar.
//! 2. `$${` stands for `${`. What isn't a variable's name between the braces stays: `${token:NAME}` is for tokens, and `${now}`,
//!    `${+1h}` are for their payloads.
//! 3. What a case says wins over the file, the file over what it includes; a matrix wins over variables. A variable may use those that
//!    stand before it.
//! 4. A matrix makes one case of every combination, named `case [key=value, ..]`.
//! 5. What a step captures is a variable of the steps behind it, under a name that no variable has; until it is known, `0` stands for it.
//! 6. Variables and matrices are bounded in what they come to: texts of 1 MiB, so many nodes and so much text in a file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::format::{Late, Shared, Step, Suite};
use super::problem::{Problem, Problems, nearest};
use super::tree::{self, At, Data, Key, MOST_NODES, Node};
use super::{check, known};

/// More cases than this of one matrix are a mistake.
const MOST_COMBINATIONS: usize = 10_000;

/// What variables may come to in one text, in bytes.
const LONGEST_TEXT: usize = 1 << 20;
/// What they may come to in all texts of a file, in bytes.
const MOST_TEXT: usize = 64 << 20;
/// The nodes that a file may have when its matrices are carried out.
const MOST_COPIES: usize = 10 * MOST_NODES;

/// How much was filled in so far, and what was wrong with it.
struct Filled<'a> {
    problems: &'a mut Vec<Problem>,
    nodes: usize,
    copies: usize,
    bytes: usize,
    /// It was too much: nothing is filled in any more.
    over: bool,
}

impl<'a> Filled<'a> {
    fn new(problems: &'a mut Vec<Problem>) -> Self {
        Self {
            problems,
            nodes: 0,
            copies: 0,
            bytes: 0,
            over: false,
        }
    }

    fn push(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Whether so much more may be filled in; the first that may not is told.
    fn admit(&mut self, file: &Path, at: At, nodes: usize, bytes: usize) -> bool {
        self.nodes += nodes;
        self.bytes += bytes;
        self.limit(file, at, self.nodes > MOST_NODES || self.bytes > MOST_TEXT)
    }

    fn limit(&mut self, file: &Path, at: At, over: bool) -> bool {
        if over && !self.over {
            self.over = true;
            let what = "variables and matrices make this file too large: use them less, or split it";
            self.push(at.problem(file, what));
        }
        !self.over
    }
}

/// Variables by name.
pub(super) type Scope = BTreeMap<String, Node>;

impl Suite {
    /// Parses a case file's text, with the files that it includes, and checks what types can't. `file` is for messages, and
    /// its folder is what other paths are relative to.
    ///
    /// # Errors
    /// All problems that can be found, each with its place.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let root = tree::parse(file, text, &mut problems).map_err(|problem| Problems(vec![problem]))?;
        let mut scope = Scope::new();
        let shared = include(file, &root, &mut scope, &mut problems);
        let (root, late) = expand(file, root, scope, &mut problems);
        check::suite(
            file,
            &root,
            |case, step| late.contains_key(&(case, step)),
            &mut problems,
        );
        let suite = match tree::typed::<Self>(file, &root) {
            Ok(suite) if problems.is_empty() => suite,
            Ok(_) => return Err(Problems::new(problems)),
            Err(more) => {
                problems.extend(more);
                return Err(Problems::new(problems));
            }
        };
        suite.settle(file, shared, late)
    }
}

impl Step {
    /// The step with what the steps before it captured.
    ///
    /// # Errors
    /// When a value doesn't fit where it is used.
    pub(super) fn with(
        &self,
        file: &Path,
        captured: &BTreeMap<String, serde_json::Value>,
    ) -> Result<Option<Self>, Problems> {
        let Some(Late { node, scope }) = &self.late else {
            return Ok(None);
        };
        let mut scope = scope.clone();
        for (name, value) in captured {
            scope.insert(name.clone(), Node::of(value, node.at));
        }
        let mut problems = Vec::new();
        let mut node = node.clone();
        let mut filled = Filled::new(&mut problems);
        substitute(file, &mut node, &scope, &mut filled);
        check::step(file, &node, &mut problems);
        if !problems.is_empty() {
            return Err(Problems::new(problems));
        }
        tree::typed(file, &node).map(Some).map_err(Problems::new)
    }
}

/// Reads what a file includes; its variables go to `scope`.
fn include(
    file: &Path,
    root: &Node,
    scope: &mut Scope,
    problems: &mut Vec<Problem>,
) -> Vec<(std::path::PathBuf, Shared)> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut all = Vec::new();
    let Some(Data::List(includes)) = root.get("include").map(|node| &node.data) else {
        return all;
    };
    for node in includes {
        let Some(name) = node.text() else { continue };
        let path = folder.join(name);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                let what = format!("cannot read the included `{}`: {error}", path.display());
                problems.push(node.at.problem(file, what));
                continue;
            }
        };
        let mut inner = match tree::parse(&path, &text, problems) {
            Ok(inner) => inner,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        let mut own = Scope::new();
        let filled = &mut Filled::new(problems);
        define(&path, inner.get("variables"), &mut own, filled);
        let apart = ["variables"];
        substitute_but(&path, &mut inner, &apart, &own, filled);
        for (name, value) in own {
            scope.entry(name).or_insert(value);
        }
        match tree::typed::<Shared>(&path, &inner) {
            Ok(shared) => all.push((std::path::PathBuf::from(name), shared)),
            Err(more) => problems.extend(more),
        }
    }
    all
}

/// Takes variables into the scope, one after another.
fn define(file: &Path, variables: Option<&Node>, scope: &mut Scope, filled: &mut Filled<'_>) {
    for (key, value) in variables.map_or(&[][..], Node::entries) {
        if !is_name(&key.name) {
            let what = format!(
                "`{}` is no name for a variable: use letters, digits, `_` and `-`",
                key.name
            );
            filled.push(key.at.problem(file, what));
            continue;
        }
        let mut value = value.clone();
        substitute(file, &mut value, scope, filled);
        scope.insert(key.name.clone(), value);
    }
}

/// Steps that wait for what others capture, by case and step.
type LateSteps = BTreeMap<(usize, usize), Late>;

fn expand(file: &Path, mut root: Node, mut scope: Scope, problems: &mut Vec<Problem>) -> (Node, LateSteps) {
    let filled = &mut Filled::new(problems);
    define(file, root.get("variables"), &mut scope, filled);
    let mut late = LateSteps::new();
    let everywhere = root.get("matrix").cloned();
    substitute_but(file, &mut root, &["variables", "cases"], &scope, filled);
    let Data::Map(map) = &mut root.data else {
        return (root, late);
    };
    for (key, value) in map {
        let Data::List(cases) = &mut value.data else { continue };
        if key.name != "cases" {
            continue;
        }
        let mut expanded = Vec::new();
        for case in std::mem::take(cases) {
            let mut scope = scope.clone();
            define(file, case.get("variables"), &mut scope, filled);
            for chosen in combinations(file, everywhere.as_ref(), case.get("matrix"), &scope, filled) {
                filled.copies += case.size();
                if !filled.limit(file, case.at, filled.copies > MOST_COPIES) {
                    break;
                }
                let mut case = case.clone();
                let mut scope = scope.clone();
                rename(&mut case, &chosen);
                scope.extend(chosen);
                postpone(file, &case, expanded.len(), &mut scope, &mut late, filled);
                substitute_but(file, &mut case, &["variables", "matrix"], &scope, filled);
                expanded.push(case);
            }
        }
        *cases = expanded;
    }
    (root, late)
}

/// Gives a case the name of its combination.
fn rename(case: &mut Node, chosen: &[(String, Node)]) {
    let Data::Map(map) = &mut case.data else { return };
    let of = |node: &Node| node.text().map_or_else(|| tree::json(node).to_string(), str::to_owned);
    let chosen: Vec<String> = chosen
        .iter()
        .map(|(name, value)| format!("{name}={}", of(value)))
        .collect();
    for (key, value) in map {
        if let Data::Plain(text) | Data::Text(text) = &value.data
            && key.name == "name"
            && !chosen.is_empty()
        {
            value.data = Data::Text(format!("{text} [{}]", chosen.join(", ")));
        }
    }
}

/// Notes the steps that use what steps before them capture, and lets `0` stand for it.
fn postpone(file: &Path, case: &Node, index: usize, scope: &mut Scope, late: &mut LateSteps, filled: &mut Filled<'_>) {
    let Some(Data::List(steps)) = case.get("steps").map(|node| &node.data) else {
        return;
    };
    let captures = |step: &Node| -> BTreeSet<String> {
        step.get("capture")
            .map_or(&[][..], Node::entries)
            .iter()
            .map(|(key, _)| key.name.clone())
            .collect()
    };
    let known = scope.clone();
    let all: BTreeSet<String> = steps.iter().flat_map(captures).collect();
    let mut captured = BTreeSet::new();
    for (number, step) in steps.iter().enumerate() {
        let mut used = BTreeSet::new();
        names(step, &mut used);
        if !used.is_disjoint(&captured) {
            late.insert(
                (index, number),
                Late {
                    node: step.clone(),
                    scope: known.clone(),
                },
            );
        }
        for name in used
            .iter()
            .filter(|name| all.contains(*name) && !captured.contains(*name) && !known.contains_key(*name))
        {
            let what = format!("there is no variable `{name}` yet: use it behind the step that captures it");
            filled.push(step.at.problem(file, what));
        }
        captured.extend(captures(step));
        for (key, _) in step.get("capture").map_or(&[][..], Node::entries) {
            if known.contains_key(&key.name) {
                let what = format!("`{}` is a variable's name already: capture under another", key.name);
                filled.push(key.at.problem(file, what));
            }
        }
    }
    for name in all {
        scope.insert(
            name,
            Node {
                at: case.at,
                data: Data::Plain("0".to_owned()),
            },
        );
    }
}

/// The combinations of the file's matrix and the case's own: one empty one where there is none.
fn combinations(
    file: &Path,
    everywhere: Option<&Node>,
    own: Option<&Node>,
    scope: &Scope,
    filled: &mut Filled<'_>,
) -> Vec<Vec<(String, Node)>> {
    let mut axes: Vec<(&Key, &Node)> = Vec::new();
    let mut excluded = Vec::new();
    for (key, value) in [everywhere, own].into_iter().flatten().flat_map(Node::entries) {
        if key.name == "exclude" {
            if let Data::List(list) = &value.data {
                excluded.extend(list);
            }
        } else {
            axes.retain(|(other, _)| other.name != key.name);
            axes.push((key, value));
        }
    }
    let mut all: Vec<Vec<(String, Node)>> = vec![Vec::new()];
    for (key, values) in &axes {
        let mut values = (*values).clone();
        substitute(file, &mut values, scope, filled);
        let Data::List(values) = values.data else { continue };
        if values.is_empty() || all.len().saturating_mul(values.len()) > MOST_COMBINATIONS {
            let what = format!(
                "`{}` makes no case, or more than {MOST_COMBINATIONS}: give it a few values",
                key.name
            );
            filled.push(key.at.problem(file, what));
            return Vec::new();
        }
        all = all
            .iter()
            .flat_map(|one| {
                values
                    .iter()
                    .map(move |value| [one.clone(), vec![(key.name.clone(), value.clone())]].concat())
            })
            .collect();
    }
    for entry in &excluded {
        for (key, _) in entry.entries() {
            if !axes.iter().any(|(axis, _)| axis.name == key.name) {
                let what = format!(
                    "the matrix has no `{}`: {}",
                    key.name,
                    known(axes.iter().map(|(axis, _)| &axis.name))
                );
                filled.push(key.at.problem(file, what));
            }
        }
    }
    let some = !all.is_empty();
    all.retain(|one| {
        !excluded.iter().any(|entry| {
            !entry.entries().is_empty()
                && entry.entries().iter().all(|(key, wanted)| {
                    one.iter()
                        .any(|(name, value)| *name == key.name && tree::json(value) == tree::json(wanted))
                })
        })
    });
    if let Some(entry) = excluded.first().filter(|_| some && all.is_empty()) {
        filled.push(
            entry
                .at
                .problem(file, "`exclude` leaves no combination: leave out fewer"),
        );
    }
    all
}

/// Substitutes in a map, but for these of its keys.
fn substitute_but(file: &Path, node: &mut Node, but: &[&str], scope: &Scope, filled: &mut Filled<'_>) {
    if let Data::Map(map) = &mut node.data {
        for (key, value) in map {
            if !but.contains(&key.name.as_str()) {
                substitute(file, value, scope, filled);
            }
        }
    }
}

fn substitute(file: &Path, node: &mut Node, scope: &Scope, filled: &mut Filled<'_>) {
    let at = node.at;
    match &mut node.data {
        Data::Plain(text) | Data::Text(text) => {
            if !text.contains("${") {
                return;
            }
            if let Some(value) = alone(text).and_then(|name| scope.get(name)) {
                if !filled.admit(file, at, value.size(), value.bytes()) {
                    node.data = Data::Gone;
                    return;
                }
                *node = value.clone().moved(at);
                return;
            }
            let text = fill(file, text, at, scope, filled);
            node.data = Data::Text(text);
        }
        Data::List(list) => list.iter_mut().for_each(|one| substitute(file, one, scope, filled)),
        Data::Map(map) => {
            for (key, value) in map {
                if key.name.contains("${") {
                    key.name = fill(file, &key.name, key.at, scope, filled);
                }
                substitute(file, value, scope, filled);
            }
        }
        Data::Gone => {}
    }
}

/// The variable that is all there is.
fn alone(text: &str) -> Option<&str> {
    text.strip_prefix("${")?.strip_suffix('}').filter(|name| is_name(name))
}

fn fill(file: &Path, text: &str, at: At, scope: &Scope, filled: &mut Filled<'_>) -> String {
    let mut out = String::new();
    for piece in pieces(text) {
        if filled.over {
            return String::new();
        }
        if out.len() > LONGEST_TEXT {
            filled.push(at.problem(file, "variables make this text longer than 1 MiB: use a file"));
            return String::new();
        }
        match piece {
            Piece::Literal(literal) => out.push_str(literal),
            Piece::Variable(name) => match scope.get(name).map(|node| (node.text(), node)) {
                Some((Some(value), _)) => {
                    if filled.admit(file, at, 0, value.len()) {
                        out.push_str(value);
                    }
                }
                Some((None, _)) => filled.push(at.problem(
                    file,
                    format!("`{name}` is a list or a map and can't be a part of a text: let `${{{name}}}` stand alone"),
                )),
                None => {
                    let mend = match nearest(name, scope.keys().map(String::as_str)) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("{}; `$${{` stands for `${{`", known(scope.keys())),
                    };
                    filled.push(at.problem(file, format!("there is no variable `{name}`: {mend}")));
                }
            },
        }
    }
    out
}

/// The variables that a node's texts use.
fn names(node: &Node, found: &mut BTreeSet<String>) {
    let mut of = |text: &str| {
        for piece in pieces(text) {
            if let Piece::Variable(name) = piece {
                found.insert(name.to_owned());
            }
        }
    };
    match &node.data {
        Data::Plain(text) | Data::Text(text) => of(text),
        Data::List(list) => list.iter().for_each(|one| names(one, found)),
        Data::Map(map) => {
            map.iter().for_each(|(key, _)| of(&key.name));
            map.iter().for_each(|(_, value)| names(value, found));
        }
        Data::Gone => {}
    }
}

enum Piece<'a> {
    Literal(&'a str),
    Variable(&'a str),
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        let after = from.strip_prefix("${").unwrap_or_default();
        if let Some(unescaped) = before.strip_suffix('$') {
            // `$${token:` keeps its escape: tokens are filled in later.
            let kept = after.starts_with("token:");
            pieces.push(Piece::Literal(if kept { before } else { unescaped }));
            pieces.push(Piece::Literal("${"));
            rest = after;
            continue;
        }
        pieces.push(Piece::Literal(before));
        match after.split_once('}').filter(|(name, _)| is_name(name)) {
            Some((name, after)) => {
                pieces.push(Piece::Variable(name));
                rest = after;
            }
            None => {
                pieces.push(Piece::Literal("${"));
                rest = after;
            }
        }
    }
    pieces.push(Piece::Literal(rest));
    pieces
}

/// Whether it can be a variable's name. `now` is a time in tokens.
fn is_name(name: &str) -> bool {
    name != "now"
        && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name
            .chars()
            .all(|one| one.is_ascii_alphanumeric() || one == '_' || one == '-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn suite(text: &str) -> Result<Suite, String> {
        Suite::parse(Path::new("x"), text).map_err(|problems| problems.to_string())
    }

    fn urls(text: &str) -> Vec<(String, String)> {
        let suite = suite(text).unwrap();
        suite
            .cases
            .iter()
            .map(|case| (case.name.value.clone(), case.steps[0].request.url.clone()))
            .collect()
    }

    #[test]
    fn variables_stand_anywhere_and_keep_their_type_where_they_stand_alone() {
        let text = "policy: p\nvariables: {n: 7, id: 'p${n}', list: [1, {a: '${id}'}], name: X}\ncases:\n  - name: a ${id}\n    variables: {n: 8, more: '${id}${n}'}\n    request: {url: '/${more}/$${id}/${+1h}/${now}/${token:t}', headers: {'x-${name}': '${n}'}, json: {n: '${n}', list: '${list}', id: ' ${id}'}}\n    expect: {status: '${code}'}\n";
        let suite = suite(&text.replace("n: 7", "n: 7, code: 2xx")).unwrap();
        let request = &suite.cases[0].steps[0].request;
        assert_eq!(suite.cases[0].name.value, "a p7");
        assert_eq!(request.url, "/p78/${id}/${+1h}/${now}/${token:t}");
        assert_eq!(request.headers.0, [("x-x".to_owned(), "8".to_owned())]);
        assert_eq!(
            request.json,
            Some(serde_json::json!({"n": 8, "list": [1, {"a": "p7"}], "id": " p7"}))
        );
    }

    #[test]
    fn an_unknown_variable_is_told_with_its_place() {
        let case = |url: &str| {
            format!(
                "policy: p\nvariables: {{patient: 1, list: []}}\ncases:\n  - name: a\n    request: {{url: '{url}'}}\n    expect: {{}}\n"
            )
        };
        assert_eq!(
            suite(&case("/${patent}")).unwrap_err(),
            "x:5:20: error: there is no variable `patent`: did you mean `patient`?"
        );
        assert_eq!(
            suite(&case("${who}")).unwrap_err(),
            "x:5:20: error: there is no variable `who`: known are `list`, `patient`; `$${` stands for `${`"
        );
        assert_eq!(
            suite(&case("/${list}")).unwrap_err(),
            "x:5:20: error: `list` is a list or a map and can't be a part of a text: let `${list}` stand alone"
        );
        assert!(
            suite("policy: p\nvariables: {a b: 1}\ncases: []\n")
                .unwrap_err()
                .starts_with("x:2:13: error: `a b` is no name")
        );
    }

    #[test]
    fn variables_that_multiply_are_refused() {
        let bomb = |first: &str, next: &dyn Fn(&str) -> String| {
            let mut text = format!("policy: p\nvariables:\n  v0: {first}\n");
            for number in 1..=12 {
                let use_ten = next(&format!("${{v{}}}", number - 1));
                text += &format!("  v{number}: {use_ten}\n");
            }
            text + "cases:\n  - {name: a, request: {url: '/${v12}'}, expect: {}}\n"
        };
        let texts = bomb("aaaaaaaaaa", &|one| format!("'{}'", one.repeat(10)));
        let told = suite(&texts).unwrap_err();
        assert!(told.contains("longer than 1 MiB"), "{told}");
        let lists = bomb("[a]", &|one| format!("[{}]", vec![format!("'{one}'"); 10].join(", ")));
        let told = suite(&lists).unwrap_err();
        assert!(told.contains("too large"), "{told}");
        let values: Vec<String> = (0..9_999).map(|value| value.to_string()).collect();
        let copies = format!(
            "policy: p\nmatrix: {{v: [{}]}}\ncases:\n  - {{name: a, request: {{url: /, json: [{}]}}, expect: {{}}}}\n",
            values.join(", "),
            vec!["1"; 200].join(", ")
        );
        let told = suite(&copies).unwrap_err();
        assert!(told.contains("too large"), "{told}");
    }

    #[test]
    fn a_matrix_of_which_nothing_is_left_and_a_capture_that_hides_a_variable_are_refused() {
        let text =
            "policy: p\ncases:\n  - {name: a, matrix: {v: [1], exclude: [{v: 1}]}, request: {url: /}, expect: {}}\n";
        let told = suite(text).unwrap_err();
        assert_eq!(told, "x:3:42: error: `exclude` leaves no combination: leave out fewer");
        let text = "policy: p\nvariables: {id: 7}\ncases:\n  - name: a\n    steps:\n      - {request: {url: '/${id}'}, expect: {}, capture: {id: {json: /id}}}\n";
        let told = suite(text).unwrap_err();
        assert!(
            told.starts_with("x:6:58: error: `id` is a variable's name already"),
            "{told}"
        );
    }

    #[test]
    fn a_matrix_makes_a_case_of_every_combination() {
        let text = "policy: p\nmatrix: {host: [a, b]}\ncases:\n  - name: c\n    matrix: {method: [GET, HEAD], id: [1, 2], exclude: [{method: HEAD, id: 2}, {host: b}]}\n    request: {url: '/${host}/${method}/${id}', method: '${method}'}\n    expect: {}\n  - {name: d, request: {url: '${host}'}, expect: {}}\n";
        let wanted = [
            ("c [host=a, method=GET, id=1]", "/a/GET/1"),
            ("c [host=a, method=GET, id=2]", "/a/GET/2"),
            ("c [host=a, method=HEAD, id=1]", "/a/HEAD/1"),
            ("d [host=a]", "a"),
            ("d [host=b]", "b"),
        ];
        assert_eq!(urls(text), wanted.map(|(name, url)| (name.to_owned(), url.to_owned())));
        let wrong = text.replace("{host: b}", "{hots: b}");
        assert!(
            suite(&wrong)
                .unwrap_err()
                .starts_with("x:5:81: error: the matrix has no `hots`: known are"),
            "{:?}",
            suite(&wrong)
        );
        let empty = text.replace("[GET, HEAD]", "[]");
        assert!(
            suite(&empty)
                .unwrap_err()
                .starts_with("x:5:14: error: `method` makes no case")
        );
    }

    #[test]
    fn what_a_step_captures_is_known_to_those_behind_it_only() {
        let text = "policy: p\ncases:\n  - name: a\n    steps:\n      - {request: {url: /}, expect: {}, capture: {link: {header: location}}}\n      - {request: {url: '${link}'}, expect: {}}\n";
        let parsed = suite(text).unwrap();
        let steps = &parsed.cases[0].steps;
        assert!(steps[0].late.is_none() && steps[1].late.is_some());
        let captured = BTreeMap::from([("link".to_owned(), serde_json::json!("/7"))]);
        let step = steps[1].with(Path::new("x"), &captured).unwrap().unwrap();
        assert_eq!(step.request.url, "/7");
        assert!(
            suite(&text.replace("${link}", "${lnk}"))
                .unwrap_err()
                .contains("did you mean `link`?")
        );
        assert!(
            suite(&text.replace("url: /}", "url: '${link}'}"))
                .unwrap_err()
                .contains("no variable `link`")
        );
    }

    proptest! {
        #[test]
        fn pieces_are_the_text_again(text in "[$a{}: ]{0,30}") {
            let again: String = pieces(&text)
                .iter()
                .map(|piece| match piece {
                    Piece::Literal(literal) => (*literal).to_owned(),
                    Piece::Variable(name) => format!("${{{name}}}"),
                })
                .collect();
            if !text.contains("$${") {
                prop_assert_eq!(again, text);
            }
        }
    }
}
