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
//!    Slices may have a positive step.
//! 6. What stays keeps its bytes (numbers, escapes) and its order. White space between the values that are judged one by
//!    one is dropped; inside a value that stays whole it is kept.
//! 7. The bytes that come out do not depend on how the body is cut into chunks.
//!
//! What is replaced, after deny and allow:
//!
//! 8. `mask` makes any value `"***"`, `null` makes it `null`. The others work on strings (unescaped) and numbers (as written); of
//!    other values, `null` stays and all else is masked, as is what does not fit. What is replaced is not looked into. A value that
//!    must be a date for its reader is none any more once it is masked.
//! 9. `year` keeps the first four characters if they are digits and end the value or a dash follows; `birth-year` so too, unless the
//!    year is 90 or more before the current one, or that is not known ([`Trimmer::with_year`]). `year-month` keeps what a
//!    FHIR date, dateTime or instant says of them. `zip3` keeps the first three digits of a ZIP code of three, five or nine, or `000` for
//!    small areas (45 CFR 164.514(b)(2)(i)(B)). `round` gives the nearest whole number, halves away from zero, a number where one was.
//!    `last4` writes `***` before the last four characters if there are more. `tokenize` gives a keyed pseudonym.
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
//! What needs a look ahead:
//!
//! 14. A filter `[?..]` picks the members and elements for whose value it holds, by RFC 9535 section 2.3.5.
//! 15. What decides is held from the value's first byte on, [`Limits::max_hold`] bytes at most, and validated meanwhile. A value that a filter
//!     looks into must end within them, else the body is refused; so it is where a member that a filter reads stands there twice.
//!     A filter behind `..` has each value read once for each container around it.
//!     A filter with nothing to look for in a value (members of an array, anything of a scalar but itself) holds nothing.
//!
//! Rules by FHIR resource type ([`FhirRules`]), where there are any:
//!
//! 16. A resource is what has a string `resourceType` within its first [`Limits::max_hold`] bytes, or is a Bundle by rule 17a: outside of resources any
//!     object (so in a CDS Hooks answer), inside of them what stands in `contained`, `Bundle.entry.resource`, `Bundle.entry.response.outcome`,
//!     `Bundle.issues`, `Parameters.parameter.resource` and that of its `part` at any depth. The rules of its type begin anew at each.
//! 17. Refused are: an object or scalar (but null) in such a place inside a resource that is no resource; a `resourceType` that is no
//!     string; a second one; one that comes too late; and one anywhere else inside a resource, but for
//!     `ExampleScenario.instance.resourceType`. In what is removed or replaced as a whole nobody looks for one.
//!     Of an object that neither tells its type nor ends within those first bytes, the names in them say what it is:
//!     a. If all are Bundle's (also with an underscore), and one is `entry`, it is a Bundle, whose members some servers sort. It may have none but
//!     a Bundle's, its `entry` none but Bundle.entry's (those of a List are others), and `resourceType`, which is to come, must be `Bundle`.
//!     b. If one is `cards`, `suggestions`, `actions` or `systemActions` (CDS Hooks), and no resource must stand there, it is none.
//!     c. Else, where no resource must stand, it is the way to resources and nothing more, for it could be one whose rules are not known: refused is
//!     every scalar in it outside of resources but null, unless it goes anyway, and so are the names under which FHIR holds resources
//!     (`contained`, `entry`, `issues`, `parameter`). What is in it outside of resources is so too.
//! 18. A value stays if selectors and rules of the type both let it. In each, deny wins over allow. Of a type's allow list and that for all,
//!     either keeps. `resourceType` stays with its resource, whatever the rules. A resource inside another stays if the other's
//!     allow list selects its place or what is above it; it then has its own rules only. Selectors' transforms win over those of types,
//!     these over those for all, and all of them over a rewriter.
//! 19. With [`Others::Remove`] a resource whose type is not listed goes, but for Bundle, Parameters and OperationOutcome, and so does every scalar outside
//!     of resources. Objects and arrays there stay as the way to resources.
//! 20. Paths ([`FhirPath`]) see through arrays: a rule on an array that is denied or allowed is on the whole of it, a transform or a filter on each of its
//!     elements. `_x` follows `x` for deny and allow, and goes where `x` is or could be replaced, or a filter decides about `x`.
//! 21. Groups: the narrative is `text` of a resource and of `Composition.section`, and every `div`. `display` goes unless a string `system` or `code` came
//!     before it in its object. Of attachments go `data`, `url`, `title` and `hash`, by the names of the elements that are attachments, and every scalar
//!     `data` (Binary's too) but that of SampledData. Extensions are `extension` and every name with an underscore before it.
//! 22. The label REDACTED (HL7 v3 ObservationValue) is added to `meta.security` of each resource that has rules, or to which a group or a selector
//!     (but for a rewriter) may apply, whether something of it goes or not: behind the labels that stay, in `meta` if that stays, else at the
//!     resource's end. A `meta` or `security` of another JSON type than FHIR's, or that a transform is for, gives way to it. A contained resource gets it
//!     only where the one around it does not, for FHIR wants none there (dom-5).
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

mod compiler;
mod fate;
mod fault;
mod fhir;
mod filter;
mod marks;
mod probe;
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

pub use self::fate::Fate;
pub use self::fault::{Fault, TrimError};
pub use self::fhir::{FhirPath, FhirPathError, FhirRules, Others, TypeRules};
pub use self::program::{Program, ProgramError, Rules};
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
    /// How many bytes of a value may be held to look ahead in it. Where that does not tell, the body is refused.
    pub max_hold: usize,
}

impl Default for Limits {
    /// 128 levels, 16 KiB, 4 KiB, 16 KiB.
    fn default() -> Limits {
        Limits {
            max_depth: 128,
            max_value: 16 << 10,
            max_name: 4 << 10,
            max_hold: 16 << 10,
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
    year: Option<u16>,
    state: State,
    /// What came from a value's first byte on, as long as it is not known what becomes of the value.
    held: Vec<u8>,
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
            year: None,
            state,
            held: Vec::new(),
            failed: None,
        })
    }

    /// Gives the current year, which [`Transform::BirthYear`] needs: without it, it masks.
    pub fn with_year(mut self, year: Option<u16>) -> Trimmer {
        self.year = year;
        self
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
        if !self.held.is_empty() {
            return self.push_behind(rewrite, chunk, end, out);
        }
        if let Some(from) = self.run(rewrite, chunk, end, out)? {
            self.held.extend_from_slice(chunk.get(from..).unwrap_or_default());
        }
        Ok(())
    }

    /// As [`Self::push_with`], where something is held already that comes before the chunk.
    #[cold]
    fn push_behind(
        &mut self,
        rewrite: Option<&Rewrite<'_>>,
        chunk: &[u8],
        end: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), TrimError> {
        // By steps, not twice as much: what is held counts among a stream's state.
        const STEP: usize = 1 << 10;
        let mut all = std::mem::take(&mut self.held);
        if all.capacity().saturating_sub(all.len()) < chunk.len() {
            all.reserve_exact(chunk.len().max(STEP));
        }
        all.extend_from_slice(chunk);
        match self.run(rewrite, &all, end, out)? {
            Some(0) if all.capacity() <= self.limits.max_hold.saturating_add(STEP) => self.held = all,
            Some(from) => self.held.extend_from_slice(all.get(from..).unwrap_or_default()),
            None => {}
        }
        Ok(())
    }

    /// Runs over what comes next: where the part begins that is to come again with more behind it, if there is one.
    fn run(
        &mut self,
        rewrite: Option<&Rewrite<'_>>,
        chunk: &[u8],
        end: bool,
        out: &mut Vec<u8>,
    ) -> Result<Option<usize>, TrimError> {
        let before = out.len();
        let tokens = self.tokens.as_deref();
        let mut run = Run::new(&self.program, tokens, &self.limits, &mut self.state, chunk, out)
            .with_rewrite(rewrite)
            .with_year(self.year);
        let result = run.feed().and_then(|()| if end { run.finish() } else { Ok(()) });
        let waits = run.waits();
        let base = self.state.base;
        self.state.base = base.saturating_add(waits.unwrap_or(chunk.len()) as u64);
        match result {
            Ok(()) => Ok(waits),
            Err(stop) => {
                let error = TrimError::new(stop.fault, base.saturating_add(stop.at as u64));
                self.failed = Some(error);
                out.truncate(before);
                Err(error)
            }
        }
    }

    /// What was taken out so far.
    pub fn counts(&self) -> Counts {
        self.state.counts
    }
}
