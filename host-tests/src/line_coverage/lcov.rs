//! What was run, by source file, and lcov's tracefile of it: what `genhtml`, Codecov and editors read
//! (`geninfo(1)`, TRACEFILE FORMAT).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

/// How often the lines and functions of source files were run. As text it is an lcov tracefile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// By path.
    pub files: BTreeMap<String, File>,
}

/// How often the lines and functions of a source file were run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// By line, from 1. A line of which the compiler left nothing in the module is not here.
    pub lines: BTreeMap<u32, u64>,
    /// By the line where a function begins, from 1, and its name.
    pub functions: BTreeMap<(u32, String), u64>,
}

impl File {
    /// How many lines were run.
    pub fn lines_hit(&self) -> usize {
        self.lines.values().filter(|count| **count > 0).count()
    }

    /// How many functions were called.
    pub fn functions_hit(&self) -> usize {
        self.functions.values().filter(|count| **count > 0).count()
    }
}

impl Report {
    /// Leaves out files that are not a project's own: those that aren't on this machine, and those of libraries that cargo or
    /// rustup fetched. How many it left out.
    pub fn leave_out_foreign(&mut self) -> usize {
        let before = self.files.len();
        self.files
            .retain(|path, _| !is_library(path) && Path::new(path).is_file());
        before - self.files.len()
    }

    /// How many lines were run, and how many there are.
    pub fn lines(&self) -> (usize, usize) {
        let hit = self.files.values().map(File::lines_hit).sum();
        (hit, self.files.values().map(|file| file.lines.len()).sum())
    }
}

/// Whether it lies where cargo and rustup put sources.
fn is_library(path: &str) -> bool {
    let folders = [
        "/.cargo/registry/",
        "/.cargo/git/",
        "/registry/src/",
        "/git/checkouts/",
        "/lib/rustlib/src/",
    ];
    path.starts_with("/rustc/") || folders.iter().any(|folder| path.contains(folder))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (path, file) in &self.files {
            writeln!(f, "TN:")?;
            writeln!(f, "SF:{}", one_line(path))?;
            // lcov knows a file's functions by their names alone, so one name at several lines would be an error there.
            let mut lines: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
            for (line, name) in file.functions.keys() {
                lines.entry(name).or_default().insert(*line);
            }
            let name = |line: u32, name: &str| match lines.get(name) {
                Some(lines) if lines.len() > 1 => format!("{} (line {line})", one_line(name)),
                _ => one_line(name),
            };
            for (line, function) in file.functions.keys() {
                writeln!(f, "FN:{line},{}", name(*line, function))?;
            }
            for ((line, function), count) in &file.functions {
                writeln!(f, "FNDA:{count},{}", name(*line, function))?;
            }
            writeln!(f, "FNF:{}", file.functions.len())?;
            writeln!(f, "FNH:{}", file.functions_hit())?;
            for (line, count) in &file.lines {
                writeln!(f, "DA:{line},{count}")?;
            }
            writeln!(f, "LF:{}", file.lines.len())?;
            writeln!(f, "LH:{}", file.lines_hit())?;
            writeln!(f, "end_of_record")?;
        }
        Ok(())
    }
}

/// Names come from the module: one that had a line end in it would be a line of the file.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads what the report writes, by the man page and not by the code above; checks the totals of each record.
    fn parse(text: &str) -> Report {
        let mut report = Report::default();
        let mut path = String::new();
        let mut file = File::default();
        let mut begins: BTreeMap<String, u32> = BTreeMap::new();
        for line in text.lines() {
            let (key, value) = line.split_once(':').unwrap_or((line, ""));
            let pair = || value.split_once(',').unwrap();
            match key {
                "TN" => assert_eq!(value, ""),
                "SF" => path = value.to_owned(),
                "FN" => {
                    let (line, name) = pair();
                    let before = begins.insert(name.to_owned(), line.parse().unwrap());
                    assert_eq!(before, None, "{name} is there twice");
                }
                "FNDA" => {
                    let (count, name) = pair();
                    let at = begins[name];
                    let plain = name.strip_suffix(&format!(" (line {at})")).unwrap_or(name);
                    file.functions.insert((at, plain.to_owned()), count.parse().unwrap());
                }
                "FNF" => assert_eq!(value, file.functions.len().to_string()),
                "FNH" => assert_eq!(value, file.functions_hit().to_string()),
                "DA" => {
                    let (line, count) = pair();
                    file.lines.insert(line.parse().unwrap(), count.parse().unwrap());
                }
                "LF" => assert_eq!(value, file.lines.len().to_string()),
                "LH" => assert_eq!(value, file.lines_hit().to_string()),
                "end_of_record" => {
                    begins.clear();
                    report
                        .files
                        .insert(std::mem::take(&mut path), std::mem::take(&mut file));
                }
                other => panic!("`{other}` is no line of a tracefile"),
            }
        }
        report
    }

    fn reports() -> impl Strategy<Value = Report> {
        let lines = prop::collection::btree_map(1u32..1000, 0u64..3, 0..20);
        let names = prop::sample::select(vec!["a", "b::{{closure}}", "<T as Into<U, V>>::c", "f(int, char)"]);
        let functions = prop::collection::btree_map((1u32..40, names.prop_map(str::to_owned)), any::<u64>(), 0..8);
        let file = (lines, functions).prop_map(|(lines, functions)| File { lines, functions });
        prop::collection::btree_map("/[a-z]{1,4}/[a-z ,:]{1,8}[.]rs", file, 0..4).prop_map(|files| Report { files })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_with_equal_totals(report in reports()) {
            prop_assert_eq!(parse(&report.to_string()), report);
        }
    }

    #[test]
    fn a_record_reads_as_the_man_page_says() {
        let file = File {
            lines: BTreeMap::from([(3, 2), (4, 0)]),
            functions: BTreeMap::from([((3, "demo::run".to_owned()), 2), ((9, "odd\nname".to_owned()), 0)]),
        };
        let report = Report {
            files: BTreeMap::from([("/src/demo.rs".to_owned(), file)]),
        };
        let expected = "TN:\nSF:/src/demo.rs\nFN:3,demo::run\nFN:9,odd name\nFNDA:2,demo::run\nFNDA:0,odd name\nFNF:2\nFNH:1\n\
            DA:3,2\nDA:4,0\nLF:2\nLH:1\nend_of_record\n";
        assert_eq!(report.to_string(), expected);
    }

    #[test]
    fn one_name_at_two_lines_is_two_names() {
        let functions = BTreeMap::from([
            ((3, "f".to_owned()), 1),
            ((7, "f".to_owned()), 0),
            ((7, "g".to_owned()), 0),
        ]);
        let file = File {
            functions,
            ..File::default()
        };
        let text = Report {
            files: BTreeMap::from([("/x".to_owned(), file)]),
        }
        .to_string();
        assert!(
            text.contains("FN:3,f (line 3)\nFN:7,f (line 7)\nFN:7,g\nFNDA:1,f (line 3)\n"),
            "{text}"
        );
    }

    #[test]
    fn files_of_libraries_and_of_other_machines_are_left_out() {
        let own = concat!(env!("CARGO_MANIFEST_DIR"), "/src/line_coverage/lcov.rs");
        let paths = [
            own,
            "/nowhere/on/this/machine.rs",
            "/rustc/0123/library/core/src/fmt/mod.rs",
            "/home/x/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/memchr-2.8.0/src/lib.rs",
        ];
        let files = paths.iter().map(|path| ((*path).to_owned(), File::default()));
        let mut report = Report { files: files.collect() };
        assert_eq!(report.leave_out_foreign(), 3);
        assert_eq!(report.files.keys().collect::<Vec<_>>(), [own]);
        assert!(is_library("/cargo/registry/src/index/a-1.0.0/src/lib.rs"));
        assert!(is_library("/opt/rust/lib/rustlib/src/rust/library/std/src/io.rs"));
        assert!(!is_library("/home/x/registry/src.rs"));
    }
}
