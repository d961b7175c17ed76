//! How a guest failed, as one readable report.
//!
//! 1. A report names the filter, the callback, and the trap or the limit that ended it.
//! 2. It has the guest's backtrace, with demangled names, and with files and lines where the module has DWARF debug information.
//! 3. It has the last host calls before the failure. Of each it has numbers only: no type here can hold a header, a path, a
//!    body or any other value that went through the guest.
//!
//! A real Envoy tells such a failure in its own log only, so the reports are no part of what engines are compared by.

use std::fmt;
use std::time::Duration;

/// A guest's failure: its VM is of no use any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The filter's name.
    pub filter: String,
    /// The callback, as `proxy_on_request_headers`.
    pub callback: &'static str,
    /// What ended it.
    pub cause: Cause,
    /// The limit in bytes, if the guest had asked for more memory than that in this callback; a guest that is refused
    /// memory often traps by itself.
    pub refused_memory: Option<usize>,
    /// The guest's frames, innermost first.
    pub backtrace: Vec<Frame>,
    /// The last host calls of this VM, oldest first; at most [`HOST_CALLS`].
    pub host_calls: Vec<HostCall>,
}

/// How many host calls a report has at most.
pub const HOST_CALLS: usize = 16;

/// What ended a callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A trap of WebAssembly or of a host call, in the engine's words.
    Trap(String),
    /// It ran longer than it may.
    Time(Duration),
    /// It burned more fuel than it may.
    Fuel(u64),
    /// Its calls nested deeper than so many bytes of stack.
    Stack(usize),
    /// Its timers, calls and queues set each other off so many times in a row without anything else happening.
    Events(usize),
}

/// A function of the guest that was running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its demangled name, or its number where the module has no names.
    pub function: String,
    /// `FILE:LINE:COL`, where the module has debug information.
    pub place: Option<String>,
}

/// A host call, as far as it can be told without telling what it was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostCall {
    /// As `proxy_get_header_map_value`.
    pub name: &'static str,
    /// Which map, buffer, stream, level, token, context or metric, for the calls that name one by a number.
    pub what: Option<u32>,
    /// The status that the guest got; none: the call trapped.
    pub status: Option<u32>,
    /// How many bytes the host took from the guest's memory.
    pub took: u32,
    /// How many bytes the host gave to the guest.
    pub gave: u32,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "filter `{}`: {} {}", self.filter, self.callback, self.cause)?;
        if let Some(limit) = self.refused_memory {
            write!(
                f,
                "\n  it had asked for more memory than the {limit} bytes that a VM may have"
            )?;
        }
        if !self.backtrace.is_empty() {
            write!(f, "\n  in the guest, innermost first:")?;
        }
        for frames in self.backtrace.chunk_by(Frame::eq) {
            write!(f, "\n    {}", frames[0])?;
            if frames.len() > 1 {
                write!(f, " ({} times)", frames.len())?;
            }
        }
        if !self.host_calls.is_empty() {
            write!(f, "\n  the last host calls:")?;
        }
        self.host_calls.iter().try_for_each(|call| write!(f, "\n    {call}"))
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Trap(trap) => write!(f, "trapped: {trap}"),
            Cause::Time(limit) => write!(f, "trapped: it ran longer than {limit:?}, the limit of a callback"),
            Cause::Fuel(limit) => write!(
                f,
                "trapped: it burned more than {limit} units of fuel, the limit of a callback"
            ),
            Cause::Events(limit) => write!(
                f,
                "is called without end: timers, calls and queues set each other off {limit} times in a row"
            ),
            Cause::Stack(limit) => write!(
                f,
                "trapped: stack overflow, its calls took more than {limit} bytes of stack"
            ),
        }
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.function)?;
        match &self.place {
            Some(place) => write!(f, " at {place}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for HostCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if let Some(what) = self.what {
            write!(f, "({what})")?;
        }
        match self.status {
            None => write!(f, ": trapped")?,
            Some(0) => write!(f, ": ok")?,
            Some(status) => match STATUSES.iter().find(|known| known.0 == status) {
                // WASI has numbers of its own.
                Some((_, name)) if self.name.starts_with("proxy_") => write!(f, ": {name}")?,
                _ => write!(f, ": {status}")?,
            },
        }
        if self.took > 0 {
            write!(f, ", took {} B", self.took)?;
        }
        if self.gave > 0 {
            write!(f, ", gave {} B", self.gave)?;
        }
        Ok(())
    }
}

/// The ABI's statuses, as its text names them.
const STATUSES: [(u32, &str); 12] = [
    (1, "not found"),
    (2, "bad argument"),
    (3, "serialization failure"),
    (4, "parse failure"),
    (5, "bad expression"),
    (6, "invalid memory access"),
    (7, "empty"),
    (8, "CAS mismatch"),
    (9, "result mismatch"),
    (10, "internal failure"),
    (11, "broken connection"),
    (12, "unimplemented"),
];

/// The name that a compiler made of a function's, undone: of Rust, without the hash, and of C++.
pub(crate) fn demangle(name: &str) -> String {
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        return format!("{rust:#}");
    }
    let symbol = name
        .starts_with("_Z")
        .then(|| cpp_demangle::Symbol::new(name).ok())
        .flatten();
    match symbol.and_then(|symbol| symbol.demangle().ok()) {
        Some(plain) => plain,
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_from_top_to_bottom() {
        let failure = Failure {
            filter: "trim".to_owned(),
            callback: "proxy_on_request_headers",
            cause: Cause::Fuel(1000),
            refused_memory: Some(65536),
            backtrace: vec![
                Frame {
                    function: "work".to_owned(),
                    place: Some("lib.rs:1:2".to_owned()),
                },
                Frame {
                    function: "proxy_on_request_headers".to_owned(),
                    place: None,
                },
            ],
            host_calls: vec![HostCall {
                name: "proxy_get_header_map_value",
                what: Some(0),
                status: Some(1),
                took: 5,
                gave: 0,
            }],
        };
        let wanted = "filter `trim`: proxy_on_request_headers trapped: it burned more than 1000 units of fuel, the limit of a \
                      callback\n  it had asked for more memory than the 65536 bytes that a VM may have\n  in the guest, innermost \
                      first:\n    work at lib.rs:1:2\n    proxy_on_request_headers\n  the last host calls:\n    \
                      proxy_get_header_map_value(0): not found, took 5 B";
        assert_eq!(failure.to_string(), wanted);
    }

    #[test]
    fn names_are_demangled() {
        assert_eq!(
            demangle("_ZN4core9panicking5panic17h0123456789abcdefE"),
            "core::panicking::panic"
        );
        assert_eq!(demangle("_ZN3foo3barEi"), "foo::bar(int)");
        assert_eq!(demangle("proxy_on_tick"), "proxy_on_tick");
    }
}
