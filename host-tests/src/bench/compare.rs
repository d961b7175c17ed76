//! A report against its baseline.

use super::{FileCost, Measured};

/// By how many percent something may be over its baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Fuel, memory and leak slope.
    pub exact: f64,
    /// The median of times; none: time is not compared.
    pub time: Option<f64>,
}

/// Something that is over its baseline by more than the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Over {
    /// Where: `file [modules]`, and the case if it is one's.
    pub place: String,
    /// What: `fuel`, `memory`, `leak`, `fuel at start`, `memory at start`, `time`.
    pub what: &'static str,
    /// In the baseline.
    pub was: i64,
    /// Now.
    pub is: i64,
}

/// What is over the baseline. Cases that only one of the two has are not compared: they can't be over anything.
pub fn compare(now: &Measured, baseline: &Measured, limits: Limits) -> Vec<Over> {
    let mut over = Vec::new();
    for (name, file) in &now.files {
        if let Some(was) = baseline.files.get(name) {
            compare_file(name, file, was, limits, &mut over);
        }
    }
    over
}

/// What a baseline has and was not measured now: files, and cases of files that were.
pub fn missing(now: &Measured, baseline: &Measured) -> Vec<String> {
    let mut missing = Vec::new();
    for (name, was) in &baseline.files {
        match now.files.get(name) {
            None => missing.push(name.clone()),
            Some(file) => {
                let gone = was.cases.keys().filter(|case| !file.cases.contains_key(*case));
                missing.extend(gone.map(|case| format!("{name}::{case}")));
            }
        }
    }
    missing
}

fn compare_file(name: &str, now: &FileCost, was: &FileCost, limits: Limits, over: &mut Vec<Over>) {
    let mut check = |place: &str, what, was: u64, is: u64, percent: f64| {
        let (was, is) = (
            i64::try_from(was).unwrap_or(i64::MAX),
            i64::try_from(is).unwrap_or(i64::MAX),
        );
        if is_over(was, is, percent) {
            let place = place.to_owned();
            over.push(Over { place, what, was, is });
        }
    };
    check(name, "fuel at start", was.start.fuel, now.start.fuel, limits.exact);
    check(
        name,
        "memory at start",
        was.start.memory,
        now.start.memory,
        limits.exact,
    );
    for (case, cost) in &now.cases {
        let Some(was) = was.cases.get(case) else { continue };
        let place = format!("{name}::{case}");
        check(&place, "fuel", was.fuel, cost.fuel, limits.exact);
        check(&place, "memory", was.memory, cost.memory, limits.exact);
        if let (Some(percent), Some(was), Some(is)) = (limits.time, was.time, cost.time) {
            check(&place, "time", was.median, is.median, percent);
        }
    }
    if let (Some(was), Some(is)) = (was.leak, now.leak) {
        check(name, "memory after all streams", was.memory, is.memory, limits.exact);
        if is_over(was.bytes_per_1000.max(0), is.bytes_per_1000, limits.exact) {
            over.push(Over {
                place: name.to_owned(),
                what: "leak",
                was: was.bytes_per_1000,
                is: is.bytes_per_1000,
            });
        }
    }
}

fn is_over(was: i64, is: i64, percent: f64) -> bool {
    is > was && (is - was) as f64 > was as f64 * percent / 100.0
}

#[cfg(test)]
mod tests {
    use super::super::{CaseCost, Leak, Times};
    use super::*;

    fn measured(change: impl FnOnce(&mut FileCost, &mut CaseCost)) -> Measured {
        let mut file = FileCost::default();
        let mut case = CaseCost {
            fuel: 1000,
            memory: 65_536,
            time: Some(Times {
                lower: 90,
                median: 100,
                upper: 110,
            }),
            ..CaseCost::default()
        };
        file.start.fuel = 500;
        file.leak = Some(Leak {
            streams: 100,
            bytes_per_1000: 0,
            memory: 131_072,
        });
        change(&mut file, &mut case);
        file.cases.insert("c".to_owned(), case);
        Measured {
            version: 1,
            files: [("f".to_owned(), file)].into(),
        }
    }

    fn over(change: impl FnOnce(&mut FileCost, &mut CaseCost), limits: Limits) -> Vec<&'static str> {
        compare(&measured(change), &measured(|_, _| {}), limits)
            .iter()
            .map(|over| over.what)
            .collect()
    }

    const TWO: Limits = Limits { exact: 2.0, time: None };

    #[test]
    fn only_more_than_the_limit_is_over() {
        assert_eq!(over(|_, case| case.fuel = 1020, TWO), Vec::<&str>::new());
        assert_eq!(over(|_, case| case.fuel = 1021, TWO), ["fuel"]);
        assert_eq!(
            over(|_, case| case.fuel = 10, TWO),
            Vec::<&str>::new(),
            "less is never over"
        );
        assert_eq!(over(|_, case| case.memory = 131_072, TWO), ["memory"]);
        assert_eq!(over(|file, _| file.start.fuel = 600, TWO), ["fuel at start"]);
        let exact = Limits { exact: 0.0, time: None };
        assert_eq!(over(|_, case| case.fuel = 1001, exact), ["fuel"]);
    }

    #[test]
    fn a_leak_where_none_was_is_over_by_any_percent() {
        let leaks = |file: &mut FileCost, _: &mut CaseCost| {
            file.leak = file.leak.map(|leak| Leak {
                bytes_per_1000: 5,
                ..leak
            });
        };
        assert_eq!(over(leaks, TWO), ["leak"]);
    }

    #[test]
    fn time_counts_only_where_it_is_asked_for() {
        let slow = |_: &mut FileCost, case: &mut CaseCost| {
            case.time = Some(Times {
                lower: 1,
                median: 150,
                upper: 200,
            });
        };
        assert_eq!(over(slow, TWO), Vec::<&str>::new());
        let asked = |percent| Limits {
            time: Some(percent),
            ..TWO
        };
        assert_eq!(over(slow, asked(20.0)), ["time"]);
        assert_eq!(over(slow, asked(50.0)), Vec::<&str>::new());
    }

    #[test]
    fn what_only_one_has_is_not_compared() {
        let mut now = measured(|_, case| case.fuel = 9000);
        let file = now.files.remove("f").unwrap();
        now.files.insert("g".to_owned(), file);
        assert_eq!(compare(&now, &measured(|_, _| {}), TWO), []);
    }
}
