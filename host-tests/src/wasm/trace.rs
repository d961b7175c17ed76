//! What guests were called for and what they called, step by step.
//!
//! 1. A trace has every callback and, indented below it, every host call with its status.
//! 2. It has numbers only: contexts, sizes, ends of streams, tokens, statuses. No type here can hold a value.
//! 3. It has no time, so it is the same in every run: with a [fixed clock](super::Clock::Fixed), byte for byte.

use std::fmt;

use crate::failure::HostCall;

/// Steps in their order; see the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The steps.
    pub steps: Vec<Step>,
}

/// One step of a [`Trace`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The host calls the guest.
    Enter {
        /// The filter's name.
        filter: String,
        /// As `proxy_on_request_headers`.
        callback: &'static str,
        /// What it is called with, as the ABI has it: the context first, then sizes, ends and tokens.
        arguments: Vec<u32>,
    },
    /// The guest calls the host.
    Call(HostCall),
    /// The callback returns.
    Leave {
        /// What it returns, for those that return something.
        result: Option<u32>,
    },
    /// The callback ends in a trap.
    Trap,
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut depth = 0_usize;
        for step in &self.steps {
            if matches!(step, Step::Leave { .. } | Step::Trap) {
                depth = depth.saturating_sub(1);
            }
            let result = match step {
                // Nothing to say, and most callbacks are such.
                Step::Leave { result: None } => continue,
                Step::Enter {
                    filter,
                    callback,
                    arguments,
                } => {
                    let arguments: Vec<String> = arguments.iter().map(u32::to_string).collect();
                    writeln!(f, "{:1$}{filter} {callback}({2})", "", depth * 2, arguments.join(", "))
                }
                Step::Call(call) => writeln!(f, "{:1$}{call}", "", depth * 2),
                Step::Leave { result: Some(result) } => writeln!(f, "{:1$}= {result}", "", depth * 2 + 2),
                Step::Trap => writeln!(f, "{:1$}= trap", "", depth * 2 + 2),
            };
            result?;
            if matches!(step, Step::Enter { .. }) {
                depth += 1;
            }
        }
        Ok(())
    }
}

/// Arguments of a callback, as numbers.
pub(crate) trait Arguments: Copy {
    fn numbers(self) -> Vec<u32>;
}

impl Arguments for () {
    fn numbers(self) -> Vec<u32> {
        Vec::new()
    }
}

impl Arguments for u32 {
    fn numbers(self) -> Vec<u32> {
        vec![self]
    }
}

impl Arguments for (u32, u32) {
    fn numbers(self) -> Vec<u32> {
        vec![self.0, self.1]
    }
}

impl Arguments for (u32, u32, u32) {
    fn numbers(self) -> Vec<u32> {
        vec![self.0, self.1, self.2]
    }
}

impl Arguments for (u32, u32, u32, u32) {
    fn numbers(self) -> Vec<u32> {
        vec![self.0, self.1, self.2, self.3]
    }
}

impl Arguments for (u32, u32, u32, u32, u32) {
    fn numbers(self) -> Vec<u32> {
        vec![self.0, self.1, self.2, self.3, self.4]
    }
}

/// What a callback returns, as a number.
pub(crate) trait Returned {
    fn number(&self) -> Option<u32>;
}

impl Returned for () {
    fn number(&self) -> Option<u32> {
        None
    }
}

impl Returned for u32 {
    fn number(&self) -> Option<u32> {
        Some(*self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_calls_are_indented_below_their_callback() {
        let trace = Trace {
            steps: vec![
                Step::Enter {
                    filter: "a".to_owned(),
                    callback: "proxy_on_request_headers",
                    arguments: vec![2, 5, 1],
                },
                Step::Call(HostCall {
                    name: "proxy_log",
                    what: Some(2),
                    status: Some(0),
                    took: 3,
                    gave: 0,
                }),
                Step::Leave { result: Some(0) },
                Step::Enter {
                    filter: "a".to_owned(),
                    callback: "proxy_on_log",
                    arguments: vec![2],
                },
                Step::Leave { result: None },
            ],
        };
        let wanted = "a proxy_on_request_headers(2, 5, 1)\n  proxy_log(2): ok, took 3 B\n  = 0\na proxy_on_log(2)\n";
        assert_eq!(trace.to_string(), wanted);
    }
}
