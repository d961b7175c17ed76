//! How well the recognisers do: whole URLs of the corpus, judged as a filter would.
//!
//! The corpus and its report stand in `filters/policy/corpus`. `SCRIM_BLESS=1 cargo test -p scrim-policy --test corpus` writes both anew;
//! `cargo test -p scrim-policy --test corpus -- --nocapture` shows the report.

mod generate;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use scrim_policy::phi::{Action, DetectEntry, Detector, Outcome, PhiPolicy, Rules, Secrets};
use scrim_policy::url::{Target, fold};

/// The least recall and precision of each recogniser, in percent.
const FLOORS: [(Detector, f64, f64); 15] = [
    (Detector::Ssn, 99.0, 88.0),
    (Detector::Email, 93.0, 87.0),
    (Detector::Phone, 83.0, 89.0),
    (Detector::Mrn, 89.0, 99.0),
    (Detector::Npi, 89.0, 98.0),
    (Detector::Dea, 87.0, 98.0),
    (Detector::Mbi, 99.0, 99.0),
    (Detector::BirthDate, 92.0, 87.0),
    (Detector::Ip, 77.0, 85.0),
    (Detector::Mac, 87.0, 99.0),
    (Detector::Account, 85.0, 86.0),
    (Detector::Plate, 75.0, 84.0),
    (Detector::Vin, 87.0, 99.0),
    (Detector::Url, 87.0, 76.0),
    (Detector::Geo, 87.0, 76.0),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn policy(detector: Detector) -> PhiPolicy {
    let rules = Rules {
        detect: vec![DetectEntry {
            name: detector.code().to_owned(),
            pattern: None,
            action: None,
            except: Vec::new(),
        }],
        on_detect: Action::Mask,
        ..Rules::default()
    };
    PhiPolicy::new(rules, Secrets::default()).ok().unwrap()
}

/// A text as the most lenient reader would read it.
fn read(text: &str) -> String {
    let mut bytes = text.replace('+', " ").into_bytes();
    for _ in 0..3 {
        let mut out = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let escape = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
            match escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                Some(byte) if bytes[at] == b'%' => {
                    out.push(byte);
                    at += 3;
                }
                _ => {
                    out.push(bytes[at]);
                    at += 1;
                }
            }
        }
        bytes = out;
    }
    fold(&String::from_utf8_lossy(&bytes)).replace('+', " ").to_lowercase()
}

/// Whether an identifier went out of a URL, both of what goes on and of the log.
fn is_caught(policy: &PhiPolicy, url: &str, value: &str) -> bool {
    let target = Target::parse(url.as_bytes()).unwrap_or_else(|why| panic!("{url}: {}", why.code()));
    let value = read(value);
    assert!(
        !value.is_empty() && read(url).contains(&value),
        "{url} does not hold {value}"
    );
    let judgement = policy.judge(&target, Some(2026));
    match judgement.outcome {
        Outcome::Rewrite(sent) => {
            let gone = !read(&String::from_utf8_lossy(&sent)).contains(&value);
            assert!(!gone || !read(&judgement.log_safe).contains(&value), "{url} is logged");
            gone
        }
        Outcome::Pass => false,
        Outcome::Reject(_) => panic!("{url} is rejected"),
    }
}

fn is_touched(policy: &PhiPolicy, url: &str) -> bool {
    let target = Target::parse(url.as_bytes()).unwrap_or_else(|why| panic!("{url}: {}", why.code()));
    !matches!(policy.judge(&target, Some(2026)).outcome, Outcome::Pass)
}

/// The files as the generator writes them.
fn files() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for detector in Detector::ALL {
        let mut text = "# kind\tidentifier\turl\n".to_owned();
        for positive in generate::positives(detector) {
            let _ = writeln!(text, "{}\t{}\t{}", positive.kind, positive.value, positive.url);
        }
        files.insert(format!("{}.tsv", detector.code()), text);
    }
    let mut text = "# kind\turl\n".to_owned();
    for (kind, url) in generate::harmless() {
        let _ = writeln!(text, "{kind}\t{url}");
    }
    files.insert("harmless.tsv".to_owned(), text);
    files
}

struct Measure {
    detector: Detector,
    found: usize,
    of: usize,
    alarms: usize,
    harmless: usize,
    /// Kinds that are missed at times, and how many of how many are.
    misses: BTreeMap<String, (usize, usize)>,
    /// Harmless kinds that are taken for it.
    mistaken: BTreeMap<String, (usize, usize)>,
}

impl Measure {
    fn recall(&self) -> f64 {
        100.0 * self.found as f64 / self.of as f64
    }

    fn precision(&self) -> f64 {
        100.0 * self.found as f64 / (self.found + self.alarms) as f64
    }
}

fn lines(file: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(folder().join(file)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}

fn measure(detector: Detector) -> Measure {
    let policy = policy(detector);
    let tally = |kinds: &mut BTreeMap<String, (usize, usize)>, kind: &str, counts: bool| {
        let (some, all) = kinds.entry(kind.to_owned()).or_default();
        *some += usize::from(counts);
        *all += 1;
    };
    let (mut misses, mut mistaken) = (BTreeMap::new(), BTreeMap::new());
    for line in lines(&format!("{}.tsv", detector.code())) {
        tally(&mut misses, &line[0], !is_caught(&policy, &line[2], &line[1]));
    }
    for line in lines("harmless.tsv") {
        tally(&mut mistaken, &line[0], is_touched(&policy, &line[1]));
    }
    let sum = |kinds: &BTreeMap<String, (usize, usize)>| {
        kinds
            .values()
            .fold((0, 0), |(some, all), (more, of)| (some + more, all + of))
    };
    let ((missed, of), (alarms, harmless)) = (sum(&misses), sum(&mistaken));
    misses.retain(|_, (some, _)| *some > 0);
    mistaken.retain(|_, (some, _)| *some > 0);
    Measure {
        detector,
        found: of - missed,
        of,
        alarms,
        harmless,
        misses,
        mistaken,
    }
}

fn report(measures: &[Measure]) -> String {
    let mut out =
        "| recogniser | found | recall | false alarms | precision |\n| --- | --- | --- | --- | --- |\n".to_owned();
    for m in measures {
        let _ = writeln!(
            out,
            "| {} | {} of {} | {:.1} % | {} of {} | {:.1} % |",
            m.detector.code(),
            m.found,
            m.of,
            m.recall(),
            m.alarms,
            m.harmless,
            m.precision()
        );
    }
    out.push_str("\n| recogniser | what it misses | what it mistakes |\n| --- | --- | --- |\n");
    let list = |kinds: &BTreeMap<String, (usize, usize)>| {
        let kinds: Vec<String> = kinds
            .iter()
            .map(|(kind, (some, all))| format!("{kind} ({some} of {all})"))
            .collect();
        if kinds.is_empty() {
            "nothing here".to_owned()
        } else {
            kinds.join("; ")
        }
    };
    for m in measures {
        let _ = writeln!(
            out,
            "| {} | {} | {} |",
            m.detector.code(),
            list(&m.misses),
            list(&m.mistaken)
        );
    }
    out
}

const BEGIN: &str = "<!-- measured -->\n";
const END: &str = "<!-- end -->\n";

#[test]
fn the_recognisers_do_as_well_as_the_report_says() {
    let bless = std::env::var_os("SCRIM_BLESS").is_some();
    for (name, text) in files() {
        let path = folder().join(&name);
        if bless {
            fs::write(&path, &text).unwrap();
        }
        let same = fs::read_to_string(&path).unwrap_or_default() == text;
        assert!(
            same,
            "{name} is not what the generator makes; `SCRIM_BLESS=1` writes it anew"
        );
    }
    let measures: Vec<Measure> = Detector::ALL.into_iter().map(measure).collect();
    let report = report(&measures);
    println!("{report}");
    for (m, (detector, recall, precision)) in measures.iter().zip(FLOORS) {
        assert_eq!(m.detector, detector);
        assert!(
            m.recall() >= recall,
            "{}: recall is {:.1} %",
            detector.code(),
            m.recall()
        );
        assert!(
            m.precision() >= precision,
            "{}: precision is {:.1} %",
            detector.code(),
            m.precision()
        );
        assert!(m.of >= 300 && m.harmless >= m.of);
    }
    let path = folder().join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (head, rest) = readme.split_once(BEGIN).unwrap();
    let (written, tail) = rest.split_once(END).unwrap();
    if bless {
        fs::write(&path, format!("{head}{BEGIN}\n{report}\n{END}{tail}")).unwrap();
        return;
    }
    assert_eq!(
        written.trim(),
        report.trim(),
        "the report is stale; `SCRIM_BLESS=1` writes it anew"
    );
}
