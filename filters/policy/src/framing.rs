//! What a body is made of: what its media type says, and how the JSON values in it are set apart, so that each is trimmed by itself.
//!
//! # Rules
//!
//! 1. [`MediaType::of`] reads the lines of `Content-Type`. Lines that differ, and one that holds a comma, are of no type that is known
//!    (RFC 9110 8.3: it is one value). Text in another charset than UTF-8 or US-ASCII is not known either (RFC 8259 8.1).
//! 2. A [`Splitter`] gives each record to a trimmer of its own while it streams by, and sets what comes out apart anew. It holds no record.
//!    What it writes does not depend on how the body is cut into chunks.
//! 3. [`Framing::Lines`], NDJSON: a record is a line, LF or CRLF ends it, the last may do without; a CR elsewhere is refused, for some readers
//!    take it for an end. Lines of white space are dropped. Out comes the record and LF.
//! 4. [`Framing::Sequence`], RFC 7464: a record is RS, a value and LF. What stands before the first RS, a record without a value, and
//!    one that does not end in LF are refused, where RFC 7464 2.3 would have a reader skip it: what is skipped is not judged.
//! 5. [`Framing::Events`], `text/event-stream` of the HTML standard: the `data` lines of an event, joined by LF, are a record. `event`
//!    and `id` stay if they have at most 64 of `A-Z a-z 0-9 _ . : -`, `retry` if it has at most 9 digits; other fields and comments are dropped.
//!    An event that the body's end cuts off is refused, and so is a byte order mark.
//! 6. A record that its trimmer refuses is the end of all. A call that fails appends nothing, and every later call fails alike.
//!
//! A body of no records is one of NDJSON, of a sequence and of events, and nothing comes out.
//!
//! ```
//! use std::sync::Arc;
//! use scrim_policy::framing::{Framing, MediaType, Splitter};
//! use scrim_policy::trim::{Limits, Program, Selector, Trimmer};
//!
//! assert_eq!(MediaType::of([&b"application/x-ndjson"[..]].into_iter()).framing(), Some(Framing::Lines));
//!
//! let program = Arc::new(Program::new(vec![Selector::parse("$.ssn").unwrap()], None, vec![]).unwrap());
//! let mut open = || Trimmer::new(Arc::clone(&program), None, Limits::default()).ok();
//! let mut splitter = Splitter::new(Framing::Lines);
//! let mut out = Vec::new();
//! splitter.push(&mut open, b"{\"ssn\":1,\"id\":2}\r\n\n{\"id\":3,", false, &mut out).unwrap();
//! splitter.push(&mut open, b"\"ssn\":4}", true, &mut out).unwrap();
//! assert_eq!(out, b"{\"id\":2}\n{\"id\":3}\n");
//! assert_eq!(splitter.counts().removed, 2);
//! ```

mod events;
mod lines;
mod media_type;
mod sequence;
#[cfg(test)]
mod tests;

use std::fmt;

use self::events::Events;
use self::lines::Lines;
pub use self::media_type::MediaType;
use self::sequence::Sequence;
use crate::trim::{Counts, Rewrite, TrimError, Trimmer};

/// How records are set apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// NDJSON, JSON Lines.
    Lines,
    /// RFC 7464.
    Sequence,
    /// `text/event-stream`.
    Events,
}

/// Makes the trimmer of the next record; nothing, if there can be none.
pub type Open<'a> = dyn FnMut() -> Option<Trimmer> + 'a;

/// What is wrong between records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A CR that ends no line.
    StrayCr,
    /// Something before the first record.
    Outside,
    /// A record without a value.
    Empty,
    /// A record that does not end as it must, or that the body's end cuts off.
    Unterminated,
    /// A byte order mark.
    Bom,
    /// There is no trimmer for it.
    NoTrimmer,
}

/// Why a body cannot be taken apart. Says nothing of what stands in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// A record can't be trimmed; the offset counts from the record's first byte.
    Record(TrimError),
    /// What is between records.
    Framing(Fault),
}

impl FrameError {
    /// A short name that stays the same between versions, for metrics and audit.
    pub fn code(&self) -> &'static str {
        match self {
            FrameError::Record(error) => error.code(),
            FrameError::Framing(Fault::StrayCr) => "frame_stray_cr",
            FrameError::Framing(Fault::Outside) => "frame_outside",
            FrameError::Framing(Fault::Empty) => "frame_empty",
            FrameError::Framing(Fault::Unterminated) => "frame_unterminated",
            FrameError::Framing(Fault::Bom) => "frame_bom",
            FrameError::Framing(Fault::NoTrimmer) => "frame_no_trimmer",
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FrameError::Record(error) => return write!(f, "in a record: {error}"),
            FrameError::Framing(Fault::StrayCr) => "a carriage return ends no line",
            FrameError::Framing(Fault::Outside) => "something stands before the first record",
            FrameError::Framing(Fault::Empty) => "a record without a value",
            FrameError::Framing(Fault::Unterminated) => "a record is cut off",
            FrameError::Framing(Fault::Bom) => "a byte order mark",
            FrameError::Framing(Fault::NoTrimmer) => "a record can't be trimmed without a key",
        })
    }
}

impl std::error::Error for FrameError {}

impl From<Fault> for FrameError {
    fn from(fault: Fault) -> FrameError {
        FrameError::Framing(fault)
    }
}

/// Trims the records of one body.
pub struct Splitter {
    state: State,
    record: Record,
    failed: Option<FrameError>,
}

enum State {
    Lines(Lines),
    Sequence(Sequence),
    Events(Box<Events>),
}

impl Splitter {
    /// Starts on a body.
    pub fn new(framing: Framing) -> Splitter {
        Splitter {
            state: match framing {
                Framing::Lines => State::Lines(Lines::default()),
                Framing::Sequence => State::Sequence(Sequence::default()),
                Framing::Events => State::Events(Box::default()),
            },
            record: Record::default(),
            failed: None,
        }
    }

    /// Takes the next bytes of the body and appends to `out` what may pass. `end` says that no more come.
    ///
    /// # Errors
    /// When the body is not framed as it should be, or a record can't be trimmed. Then nothing is appended, and every later call fails alike.
    pub fn push(&mut self, open: &mut Open<'_>, chunk: &[u8], end: bool, out: &mut Vec<u8>) -> Result<(), FrameError> {
        self.push_with(open, None, chunk, end, out)
    }

    /// As [`Self::push`], with the rewriter that [`Trimmer::push_with`] takes.
    ///
    /// # Errors
    /// As there.
    pub fn push_with(
        &mut self,
        open: &mut Open<'_>,
        rewrite: Option<&Rewrite<'_>>,
        chunk: &[u8],
        end: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let before = out.len();
        let mut records = Records {
            record: &mut self.record,
            open,
            rewrite,
        };
        let pushed = match &mut self.state {
            State::Lines(lines) => lines.push(&mut records, chunk, end, out),
            State::Sequence(sequence) => sequence.push(&mut records, chunk, end, out),
            State::Events(events) => events.push(&mut records, chunk, end, out),
        };
        pushed.inspect_err(|error| {
            self.failed = Some(*error);
            out.truncate(before);
        })
    }

    /// What was taken out so far, of all records together.
    pub fn counts(&self) -> Counts {
        let open = self.record.trimmer.as_ref().map(|trimmer| trimmer.counts());
        sum(self.record.counts, open.unwrap_or_default())
    }
}

/// The record that is open, and what those before it came to.
#[derive(Default)]
struct Record {
    trimmer: Option<Box<Trimmer>>,
    counts: Counts,
}

/// A record with what a call brings along.
struct Records<'a, 'b> {
    record: &'a mut Record,
    open: &'a mut Open<'b>,
    rewrite: Option<&'a Rewrite<'a>>,
}

impl Records<'_, '_> {
    fn is_open(&self) -> bool {
        self.record.trimmer.is_some()
    }

    fn open(&mut self) -> Result<(), FrameError> {
        let trimmer = (self.open)().ok_or(Fault::NoTrimmer)?;
        self.record.trimmer = Some(Box::new(trimmer));
        Ok(())
    }

    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        let trimmer = self.record.trimmer.as_mut().ok_or(Fault::Outside)?;
        trimmer
            .push_with(self.rewrite, bytes, false, out)
            .map_err(FrameError::Record)
    }

    fn close(&mut self, out: &mut Vec<u8>) -> Result<(), FrameError> {
        let mut trimmer = self.record.trimmer.take().ok_or(Fault::Outside)?;
        trimmer
            .push_with(self.rewrite, b"", true, out)
            .map_err(FrameError::Record)?;
        self.record.counts = sum(self.record.counts, trimmer.counts());
        Ok(())
    }
}

fn sum(one: Counts, other: Counts) -> Counts {
    Counts {
        removed: one.removed.saturating_add(other.removed),
        transformed: one.transformed.saturating_add(other.transformed),
    }
}
