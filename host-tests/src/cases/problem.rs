//! What is wrong with a case file, and where: `FILE:LINE:COL: error: what, and the mend`.

use std::fmt;
use std::path::PathBuf;

/// A problem of a file, at a place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: u64,
    /// The column in characters, from 1.
    pub column: u64,
    /// What is wrong, and the mend.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: error: {}",
            self.file.display(),
            self.line,
            self.column,
            self.what
        )
    }
}

impl std::error::Error for Problem {}

/// All that is wrong with a file, in its order; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Sorted by place, each once.
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| (a.line, a.column, &a.what).cmp(&(b.line, b.column, &b.what)));
        problems.dedup();
        Self(problems)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Problem::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Problems {}

/// The nearest known word, or all of them.
pub(super) fn suggest(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => super::known(known.iter()),
    }
}

/// The nearest of `known` to `word`, if any is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|name| (distance(word, name), name))
        .filter(|(far, name)| *far <= 1 + name.len().min(word.len()) / 3)
        .min()
        .map(|(_, name)| name)
}

/// Edits between two words (insert, delete, replace).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::format::Suite;

    fn problem(text: &str) -> String {
        Suite::parse(Path::new("x.cases.yaml"), text).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place_and_the_nearest_known_one() {
        let head = "policy: p.yaml\ncases:\n  - name: a\n    request: {url: /}\n    expect:\n";
        assert_eq!(
            problem(&format!("{head}      statuz: 200\n")),
            "x.cases.yaml:6:7: error: unknown key `statuz`: did you mean `status`?"
        );
        assert_eq!(
            problem(&format!("{head}      upstream:\n        urll: /\n")),
            "x.cases.yaml:7:9: error: unknown key `urll`: did you mean `url`?"
        );
        assert_eq!(
            problem("polcy: p.yaml\ncases: []\n"),
            "x.cases.yaml:1:1: error: unknown key `polcy`: did you mean `policy`?"
        );
    }

    #[test]
    fn a_missing_key_and_a_wrong_type_have_a_place() {
        let found = problem("policy: p\ncases:\n  - name: a\n    expect: {}\n");
        assert!(
            found.starts_with("x.cases.yaml:3:11: ") && found.contains("`request` is missing"),
            "{found}"
        );
        let found = problem("policy: p\ncases:\n  - name: a\n    request: {url: /}\n    expect: {status: high}\n");
        assert!(
            found
                == "x.cases.yaml:5:22: error: found the text `high` where a status belongs: write 200, `2xx` or a list of such",
            "{found}"
        );
        let found = problem("policy: p\ncases:\n  - name: a\n    request: {url: /}\n    expect: {upstream: nobody}\n");
        assert!(
            found.starts_with("x.cases.yaml:5:") && found.contains("`none`"),
            "{found}"
        );
    }

    #[test]
    fn what_types_cannot_refuse_is_refused_with_the_case() {
        let case = "  - name: a\n    request: {url: /}\n    expect: {status: 200}\n";
        assert!(problem(&format!("policy: p\ncases:\n{case}{case}")).contains("two cases are named `a`"));
        assert!(problem(&format!("cases:\n{case}")).contains("nothing to test"));
        assert!(
            problem("policy: p\ncases:\n  - name: a\n    request: {url: /}\n    expect: {body: {regex: '('}}\n")
                .starts_with("x.cases.yaml:5:28: error: `(`")
        );
    }

    #[test]
    fn numbers_and_dates_stay_the_text_that_was_written() {
        let suite = Suite::parse(
            Path::new("x"),
            "policy: p\nnowhere: [123456789, 1970-01-01, 012-34-5678]\ncases:\n  - name: a\n    request: {url: /, headers: {x-n: 5}, json: {birthDate: 1970-01-01, n: 1.5}}\n    expect: {status: 200}\n",
        )
        .unwrap();
        assert_eq!(suite.nowhere, ["123456789", "1970-01-01", "012-34-5678"]);
        assert_eq!(
            suite.cases[0].steps[0].request.headers.0,
            [("x-n".to_owned(), "5".to_owned())]
        );
        assert_eq!(
            suite.cases[0].steps[0].request.json,
            Some(serde_json::json!({"birthDate": "1970-01-01", "n": 1.5}))
        );
    }

    #[test]
    fn all_problems_of_a_file_are_told_in_its_order() {
        let text = "policy: p\npolcy: q\nproxy: {routs: []}\ncases:\n  - name: a\n    request: {url: /, metod: GET}\n    expect: {statuz: 1, status: high}\n  - name: b\n    request: {url: '/${who}', host: /, host: /}\n    expect: {body: {regex: '(', not: {text: 1, txt: 2}}}\n  - name: c\n  - name: a\n    request: {url: /}\n    expect: {}\n";
        let told = problem(text);
        let places: Vec<&str> = told.lines().map(|line| line.split(" error:").next().unwrap()).collect();
        let wanted = ["2:1", "3:9", "6:23", "7:14", "7:33", "9:20", "9:40", "10:28", "10:48"];
        let wanted: Vec<String> = wanted.iter().map(|at| format!("x.cases.yaml:{at}:")).collect();
        assert_eq!(places, wanted, "{told}");
    }
}
