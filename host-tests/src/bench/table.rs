//! A report as a table for people.

use std::fmt::Write as _;

use super::{Measured, Times};

/// How much of a report a table shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// A line for each case.
    Cases,
    /// Also one for each callback of each filter.
    Callbacks,
}

/// Columns of the widest names; longer ones push theirs to the right.
const NAME: usize = 56;

impl Measured {
    /// The report as a table.
    pub fn table(&self, detail: Detail) -> String {
        let mut table = String::new();
        // Writing to a string can't fail.
        let _ = self.write_table(detail, &mut table);
        table
    }

    fn write_table(&self, detail: Detail, f: &mut String) -> std::fmt::Result {
        for (name, file) in &self.files {
            let heads = ["fuel", "time", "spread", "memory"];
            writeln!(
                f,
                "{name:<NAME$} {:>12} {:>10} {:>17} {:>10}",
                heads[0], heads[1], heads[2], heads[3]
            )?;
            let start = &file.start;
            writeln!(
                f,
                "  {:<width$} {:>12} {:>10} {:>17} {:>10}",
                "(start)",
                grouped(start.fuel),
                time(start.nanoseconds),
                "",
                bytes(start.memory),
                width = NAME - 2
            )?;
            for (case, cost) in &file.cases {
                let (median, spread) = cost.time.map_or((String::new(), String::new()), |times| {
                    let Times { lower, median, upper } = times;
                    (time(median), format!("{}..{}", time(lower), time(upper)))
                });
                writeln!(
                    f,
                    "  {case:<width$} {:>12} {median:>10} {spread:>17} {:>10}",
                    grouped(cost.fuel),
                    bytes(cost.memory),
                    width = NAME - 2
                )?;
                let filters = cost.callbacks.iter().filter(|_| detail == Detail::Callbacks);
                for (filter, callbacks) in filters {
                    for (callback, fuel) in callbacks.iter().filter(|(_, fuel)| **fuel > 0) {
                        let place = format!("{filter} {}", callback.trim_start_matches("proxy_"));
                        writeln!(f, "    {place:<width$} {:>12}", grouped(*fuel), width = NAME - 4)?;
                    }
                }
            }
            if let Some(leak) = file.leak {
                let streams = grouped(leak.streams);
                match leak.bytes_per_1000 {
                    0 => writeln!(f, "  no leak in {streams} streams, {} in the end", bytes(leak.memory))?,
                    slope => writeln!(
                        f,
                        "  memory grows by {slope} bytes per 1,000 streams ({streams} streams, {} in the end)",
                        bytes(leak.memory)
                    )?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `12.3us`, `4.56ms`, `7.89s`.
fn time(nanoseconds: u64) -> String {
    let microseconds = nanoseconds as f64 / 1000.0;
    match microseconds {
        ..1000.0 => format!("{microseconds:.1}us"),
        ..1_000_000.0 => format!("{:.2}ms", microseconds / 1000.0),
        _ => format!("{:.2}s", microseconds / 1_000_000.0),
    }
}

fn bytes(bytes: u64) -> String {
    format!("{} KiB", grouped(bytes / 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_times_have_units() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!([1234, 1_234_567, 2_000_000_000].map(time), ["1.2us", "1.23ms", "2.00s"]);
    }
}
