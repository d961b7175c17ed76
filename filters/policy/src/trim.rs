//! Trims a JSON body while it streams by: one pass, no tree, state that does not grow with the body.
//!
//! A [`Program`] is compiled once from [`Selector`]s; a [`Trimmer`] runs it over one body, chunk by chunk.
//!
//! # Rules
//!
//! What stays:
//!
//! 1. `deny` removes what a selector selects: the whole member, name and value, or the whole element.
//! 2. `allow` keeps what a selector selects, with all below it, and the way to it: an object or array on the way to
//!    something that could be selected stays, even if it ends up empty; a scalar there goes.
//! 3. `deny` wins over `allow`.
//! 4. The top-level value is never removed, for nothing would be no JSON: a container becomes `{}` or `[]`, a scalar `null`.
//!    So it is with `$` denied, and with an empty allow list.
//! 5. Names are compared after unescaping. Of duplicate names each is judged. Indexes count elements before any is removed.
//! 6. What stays keeps its bytes (numbers, escapes) and its order. White space between the values that are judged one by
//!    one is dropped; inside a value that stays whole it is kept.
//! 7. The bytes that come out do not depend on how the body is cut into chunks.
//!
//! What is replaced, after deny and allow:
//!
//! 8. `mask` makes any value `"***"`, `null` makes it `null`. `year`, `last4` and `tokenize` work on strings (unescaped) and
//!    numbers (as written); of other values, `null` stays and all else is masked. What is replaced is not looked into.
//! 9. `year` keeps the first four characters if they are digits and end the value or a dash follows, `last4` writes `***` before the last four characters if
//!    there are more; else both mask.
//! 10. A string or number longer than [`Limits::max_value`] is masked. A rewriter that the caller gives ([`Trimmer::push_with`]) gets strings, unescaped; where it
//!     changes nothing they keep their bytes. Of other values `null` stays and all else is masked.
//!
//! What is refused, in what stays and in what goes alike:
//!
//! 11. Whatever is not one RFC 8259 value in UTF-8 (RFC 3629) without a byte order mark; also unpaired surrogate escapes, an empty
//!     body, an early end, and anything but white space after the value.
//! 12. Nesting deeper than [`Limits::max_depth`], and a name longer than [`Limits::max_name`] where names are compared.
//! 13. The first fault stays: every later call gives it again, and the call that finds it appends nothing.
//!
//! ```
//! use std::sync::Arc;
//! use scrim_policy::trim::{Limits, Program, Selector, Transform, Trimmer};
//!
//! let deny = vec![Selector::parse("$..ssn").unwrap()];
//! let year = (Selector::parse("$.birthDate").unwrap(), Transform::Year);
//! let program = Arc::new(Program::new(deny, None, vec![year]).unwrap());
//!
//! let mut trimmer = Trimmer::new(program, None, Limits::default()).unwrap();
//! let mut out = Vec::new();
//! trimmer.push(br#"{"birthDate":"1974-12-25","s"#, false, &mut out).unwrap();
//! trimmer.push(br#"sn":"000-12-3456","active":true}"#, true, &mut out).unwrap();
//! assert_eq!(out, br#"{"birthDate":"1974","active":true}"#);
//! assert_eq!(trimmer.counts().removed, 1);
//! ```

mod fault;
mod marks;
mod program;
mod run;
mod scan;
mod selector;
mod simd;
#[cfg(test)]
mod tests;
mod transform;
mod value;

use std::fmt;
use std::sync::Arc;

pub use self::fault::{Fault, TrimError};
pub use self::program::{Program, ProgramError};
pub use self::selector::{Selector, SelectorError};
pub use self::transform::{Pseudonymise, Rewrite, Transform};

use self::run::{Run, State};

/// How much a body may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many objects and arrays may be open at once. Deeper bodies are refused.
    pub max_depth: usize,
    /// How many bytes of a string or number, as written, may be held to be transformed. Longer ones are masked.
    pub max_value: usize,
    /// How many bytes a name may have, as written, where names are compared. Longer ones are refused.
    pub max_name: usize,
}

impl Default for Limits {
    /// 128 levels, 16 KiB, 4 KiB.
    fn default() -> Limits {
        Limits {
            max_depth: 128,
            max_value: 16 << 10,
            max_name: 4 << 10,
        }
    }
}

/// How much was taken out. Saturating.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Members and elements that were removed, each with all below it as one.
    pub removed: u32,
    /// Values that were replaced.
    pub transformed: u32,
}

/// A program tokenizes, and there is no key to do it with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PseudonymsMissing;

impl fmt::Display for PseudonymsMissing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the transform `tokenize` needs a key; give one as `keys.pseudonyms`")
    }
}

impl std::error::Error for PseudonymsMissing {}

/// Trims one body.
pub struct Trimmer {
    program: Arc<Program>,
    tokens: Option<Arc<Pseudonymise>>,
    limits: Limits,
    state: State,
    failed: Option<TrimError>,
}

impl Trimmer {
    /// Starts on a body.
    ///
    /// # Errors
    /// When the program tokenizes and `tokens` is missing.
    pub fn new(
        program: Arc<Program>,
        tokens: Option<Arc<Pseudonymise>>,
        limits: Limits,
    ) -> Result<Trimmer, PseudonymsMissing> {
        if program.needs_pseudonyms() && tokens.is_none() {
            return Err(PseudonymsMissing);
        }
        let state = State::new(program.start());
        Ok(Trimmer {
            program,
            tokens,
            limits,
            state,
            failed: None,
        })
    }

    /// Takes the next bytes of the body and appends to `out` what may pass. `end` says that no more come.
    ///
    /// # Errors
    /// When the body is not JSON, or exceeds a limit. Then nothing is appended, and every later call fails alike.
    pub fn push(&mut self, chunk: &[u8], end: bool, out: &mut Vec<u8>) -> Result<(), TrimError> {
        self.push_with(None, chunk, end, out)
    }

    /// As [`Self::push`], with the rewriter for [`Transform::Rewrite`]; without one, what is to be rewritten is masked.
    ///
    /// # Errors
    /// As there.
    pub fn push_with(
        &mut self,
        rewrite: Option<&Rewrite<'_>>,
        chunk: &[u8],
        end: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), TrimError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let before = out.len();
        let tokens = self.tokens.as_deref();
        let mut run = Run::new(&self.program, tokens, &self.limits, &mut self.state, chunk, out).with_rewrite(rewrite);
        let result = run.feed().and_then(|()| if end { run.finish() } else { Ok(()) });
        let base = self.state.base;
        self.state.base = base.saturating_add(chunk.len() as u64);
        result.map_err(|stop| {
            let error = TrimError::new(stop.fault, base.saturating_add(stop.at as u64));
            self.failed = Some(error);
            out.truncate(before);
            error
        })
    }

    /// What was taken out so far.
    pub fn counts(&self) -> Counts {
        self.state.counts
    }
}
