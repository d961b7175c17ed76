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
//! 9. `year` keeps the first four characters if they are digits, `last4` writes `***` before the last four characters if
//!    there are more; else both mask.
//! 10. A string or number longer than [`Limits::max_value`] is masked.
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

mod program;
mod scan;
mod selector;
#[cfg(test)]
mod tests;
mod transform;
mod value;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

pub use self::program::{Program, ProgramError};
pub use self::selector::{Selector, SelectorError};
pub use self::transform::{Pseudonymise, Transform};

use self::program::Action;
use self::scan::{Stop, StringScan, skip_space};
use self::value::ValueScan;

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
    /// 128 levels, 64 KiB, 4 KiB.
    fn default() -> Limits {
        Limits {
            max_depth: 128,
            max_value: 64 << 10,
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

/// What is wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// No value at all.
    Empty,
    /// The body ends inside its value.
    Truncated,
    /// More than white space follows the value.
    Trailing,
    /// A byte order mark, or UTF-16.
    Bom,
    /// A value is expected, and something else stands there.
    Value,
    /// A name is expected, and something else stands there.
    Name,
    /// A colon is expected, and something else stands there.
    Colon,
    /// A comma or the end of the container is expected, and something else stands there.
    Comma,
    /// Neither `true` nor `false` nor `null`.
    Literal,
    /// Not a number of RFC 8259 section 6.
    Number,
    /// A control character in a string.
    Control,
    /// An escape that RFC 8259 section 7 does not know.
    Escape,
    /// Half a surrogate pair.
    Surrogate,
    /// Not UTF-8.
    Utf8,
    /// Nested too deep.
    Depth,
    /// A name too long to be compared.
    NameLength,
}

/// Why a body cannot be trimmed, and where. Says nothing of what stands in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrimError {
    fault: Fault,
    offset: u64,
}

impl TrimError {
    /// What is wrong.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// Where, in bytes from the start of the body.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// A short name that stays the same between versions, for metrics and audit.
    pub fn code(&self) -> &'static str {
        match self.fault {
            Fault::Empty => "json_empty",
            Fault::Truncated => "json_truncated",
            Fault::Trailing => "json_trailing",
            Fault::Bom => "json_bom",
            Fault::Value => "json_value",
            Fault::Name => "json_name",
            Fault::Colon => "json_colon",
            Fault::Comma => "json_comma",
            Fault::Literal => "json_literal",
            Fault::Number => "json_number",
            Fault::Control => "json_control",
            Fault::Escape => "json_escape",
            Fault::Surrogate => "json_surrogate",
            Fault::Utf8 => "json_utf8",
            Fault::Depth => "json_depth",
            Fault::NameLength => "json_name_length",
        }
    }
}

impl fmt::Display for TrimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.fault {
            Fault::Empty => "the body is empty",
            Fault::Truncated => "the body ends inside its value",
            Fault::Trailing => "something follows the value",
            Fault::Bom => "a byte order mark, or not UTF-8",
            Fault::Value => "a value is expected",
            Fault::Name => "a member name is expected",
            Fault::Colon => "a colon is expected",
            Fault::Comma => "a comma or the end of the container is expected",
            Fault::Literal => "an unknown literal",
            Fault::Number => "not a number",
            Fault::Control => "a control character in a string",
            Fault::Escape => "an unknown escape in a string",
            Fault::Surrogate => "half a surrogate pair in a string",
            Fault::Utf8 => "not UTF-8",
            Fault::Depth => "nested too deep",
            Fault::NameLength => "a member name is too long",
        };
        write!(f, "{}: {what}, at byte {}", self.code(), self.offset)
    }
}

impl std::error::Error for TrimError {}

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
        let state = State {
            base: 0,
            at: At::Value,
            fate: Fate::Judge,
            node: program.start(),
            frames: Vec::new(),
            string: StringScan::new(),
            key: Key::None,
            name: Vec::new(),
            plain: Vec::new(),
            held: Vec::new(),
            too_long: false,
            value: ValueScan::new(),
            counts: Counts::default(),
        };
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
        if let Some(error) = self.failed {
            return Err(error);
        }
        let before = out.len();
        let mut run = Run {
            program: &self.program,
            tokens: self.tokens.as_deref(),
            limits: &self.limits,
            state: &mut self.state,
            chunk,
            copy: 0..0,
            comma: None,
            colon: None,
            out,
        };
        let result = run
            .feed()
            .and_then(|()| if end { run.finish() } else { Ok(()) });
        let base = self.state.base;
        self.state.base = base.saturating_add(chunk.len() as u64);
        result.map_err(|stop| {
            let error = TrimError {
                fault: stop.fault,
                offset: base.saturating_add(stop.at as u64),
            };
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

/// What is carried from chunk to chunk.
struct State {
    /// How many bytes came before this chunk.
    base: u64,
    at: At,
    fate: Fate,
    /// The node of the value to come.
    node: u32,
    /// The containers whose children are judged one by one, outermost first.
    frames: Vec<Frame>,
    string: StringScan,
    key: Key,
    /// The name to come, as written with its quotes, when it began in an earlier chunk.
    name: Vec<u8>,
    /// The unescaped name or value.
    plain: Vec<u8>,
    /// The value to be transformed, as written.
    held: Vec<u8>,
    /// That value does not fit.
    too_long: bool,
    value: ValueScan,
    counts: Counts,
}

struct Frame {
    node: u32,
    /// The element to come, before any is removed.
    index: u64,
    object: bool,
    /// A child stayed, so that the next needs a comma.
    any: bool,
}

#[derive(Clone, Copy)]
enum At {
    Value,
    FirstElement,
    FirstName,
    Name,
    InName,
    Colon,
    After,
    End,
}

/// What happens to the bytes that come now.
#[derive(Clone, Copy)]
enum Fate {
    /// They are structure around values that are judged one by one.
    Judge,
    /// They belong to a value that stays.
    Copy,
    /// They belong to a value that goes, or that is replaced already.
    Skip,
    /// They belong to a value that will be replaced.
    Hold(Transform),
}

/// The name of the value to come, which passes only if the value does.
#[derive(Clone)]
enum Key {
    None,
    /// In this chunk.
    Here(Range<usize>),
    /// In [`State::name`].
    Held,
}

/// A trimmer at work on one chunk.
struct Run<'a> {
    program: &'a Program,
    tokens: Option<&'a Pseudonymise>,
    limits: &'a Limits,
    state: &'a mut State,
    chunk: &'a [u8],
    /// What is to be appended before anything else. It grows as long as what stays lies side by side.
    copy: Range<usize>,
    /// The last comma and colon, if they are in this chunk: copied along when they join what stays.
    comma: Option<usize>,
    colon: Option<usize>,
    out: &'a mut Vec<u8>,
}

impl Run<'_> {
    fn feed(&mut self) -> Result<(), Stop> {
        let mut i = 0;
        loop {
            if let Fate::Judge = self.state.fate {
                match self.judge(i)? {
                    Some(next) => i = next,
                    None => break,
                }
            } else {
                let start = i;
                let (next, ended) = self.state.value.scan(self.chunk, i)?;
                i = next;
                self.pass(start..i);
                if !ended {
                    break;
                }
                self.end_value();
            }
        }
        if let Key::Here(range) = self.state.key.clone() {
            self.state.name.clear();
            self.state
                .name
                .extend_from_slice(self.chunk.get(range).unwrap_or_default());
            self.state.key = Key::Held;
        }
        self.flush();
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Stop> {
        let at = self.chunk.len();
        if !matches!(self.state.fate, Fate::Judge)
            && self.state.frames.is_empty()
            && self.state.value.may_end()
        {
            self.end_value();
            self.flush();
        }
        match (self.state.fate, self.state.at) {
            (Fate::Judge, At::End) => Ok(()),
            (Fate::Judge, At::Value) if self.state.frames.is_empty() => Err(Stop {
                fault: Fault::Empty,
                at,
            }),
            _ => Err(Stop {
                fault: Fault::Truncated,
                at,
            }),
        }
    }

    /// Reads structure from `i` on, up to a value whose fate is decided; nothing when the chunk ends first.
    fn judge(&mut self, mut i: usize) -> Result<Option<usize>, Stop> {
        loop {
            if !matches!(self.state.at, At::InName) {
                i = skip_space(self.chunk, i);
            }
            let Some(&byte) = self.chunk.get(i) else {
                return Ok(None);
            };
            match self.state.at {
                At::FirstElement if byte == b']' => i = self.close(i),
                At::Value | At::FirstElement => {
                    if self.state.frames.is_empty() && matches!(byte, 0xef | 0xfe | 0xff | 0) {
                        return Err(Stop {
                            fault: Fault::Bom,
                            at: i,
                        });
                    }
                    if !self.begin_value(i, byte)? {
                        i = i.wrapping_add(1);
                    } else if let Some(after) = self.plain_string(i, byte) {
                        self.pass(i..after);
                        self.end_value();
                        i = after;
                    } else {
                        return Ok(Some(i));
                    }
                }
                At::FirstName if byte == b'}' => i = self.close(i),
                At::FirstName | At::Name => {
                    if byte != b'"' {
                        return Err(Stop {
                            fault: Fault::Name,
                            at: i,
                        });
                    }
                    self.state.string = StringScan::new();
                    self.state.name.clear();
                    let Some(after) = self.scan_name(i, i.wrapping_add(1))? else {
                        return Ok(None);
                    };
                    let inner = i.wrapping_add(1)..after.wrapping_sub(1);
                    self.state.key = Key::Here(i..after);
                    self.find_member(inner);
                    i = after;
                    if self.chunk.get(i) == Some(&b':') {
                        self.colon = Some(i);
                        self.state.at = At::Value;
                        i = i.wrapping_add(1);
                    }
                }
                At::InName => {
                    let Some(after) = self.scan_name(i, i)? else {
                        return Ok(None);
                    };
                    self.state
                        .name
                        .extend_from_slice(self.chunk.get(i..after).unwrap_or_default());
                    self.state.key = Key::Held;
                    self.find_member(0..0);
                    i = after;
                }
                At::Colon => {
                    if byte != b':' {
                        return Err(Stop {
                            fault: Fault::Colon,
                            at: i,
                        });
                    }
                    self.colon = Some(i);
                    self.state.at = At::Value;
                    i = i.wrapping_add(1);
                }
                At::After => match (byte, self.state.frames.last_mut()) {
                    (b',', Some(frame)) => {
                        self.comma = Some(i);
                        self.state.at = if frame.object {
                            At::Name
                        } else {
                            frame.index = frame.index.saturating_add(1);
                            self.state.node = self.program.element(frame.node, frame.index);
                            At::Value
                        };
                        i = i.wrapping_add(1);
                    }
                    (b'}', Some(Frame { object: true, .. }))
                    | (b']', Some(Frame { object: false, .. })) => {
                        i = self.close(i);
                    }
                    _ => {
                        return Err(Stop {
                            fault: Fault::Comma,
                            at: i,
                        });
                    }
                },
                At::End => {
                    return Err(Stop {
                        fault: Fault::Trailing,
                        at: i,
                    });
                }
            }
        }
    }

    /// Decides about the value that starts with `byte` at `i`. True when its fate holds for the whole of it; false when a
    /// container was entered.
    #[inline]
    fn begin_value(&mut self, i: usize, byte: u8) -> Result<bool, Stop> {
        let container = matches!(byte, b'{' | b'[');
        let top = self.state.frames.is_empty();
        self.state.fate = match self.program.action(self.state.node, container) {
            Action::Enter if container => {
                if self.state.frames.len() >= self.limits.max_depth {
                    return Err(Stop {
                        fault: Fault::Depth,
                        at: i,
                    });
                }
                self.lead();
                self.copy(i..i.wrapping_add(1));
                let object = byte == b'{';
                let node = self.state.node;
                self.state.frames.push(Frame {
                    node,
                    index: 0,
                    object,
                    any: false,
                });
                self.state.at = if object {
                    At::FirstName
                } else {
                    self.state.node = self.program.element(node, 0);
                    At::FirstElement
                };
                return Ok(false);
            }
            Action::Keep => {
                self.lead();
                Fate::Copy
            }
            Action::Drop | Action::Enter => {
                self.state.key = Key::None;
                self.state.counts.removed = self.state.counts.removed.saturating_add(1);
                if top {
                    self.write(match byte {
                        b'{' => b"{}",
                        b'[' => b"[]",
                        _ => b"null",
                    });
                }
                Fate::Skip
            }
            Action::Change(transform) => {
                self.lead();
                match transform.at_once(byte) {
                    Ok(shown) => {
                        if !(byte == b'n' && shown == b"null") {
                            self.count_transformed();
                        }
                        self.write(shown);
                        Fate::Skip
                    }
                    Err(()) => {
                        self.count_transformed();
                        self.state.held.clear();
                        self.state.too_long = false;
                        Fate::Hold(transform)
                    }
                }
            }
        };
        self.state.value.begin(
            self.limits
                .max_depth
                .saturating_sub(self.state.frames.len()),
        );
        Ok(true)
    }

    /// The short way for the commonest value, a string without escapes in one chunk: the position after it.
    #[inline]
    fn plain_string(&self, i: usize, byte: u8) -> Option<usize> {
        if byte == b'"' {
            scan::plain_string(self.chunk, i.wrapping_add(1))
        } else {
            None
        }
    }

    fn count_transformed(&mut self) {
        self.state.counts.transformed = self.state.counts.transformed.saturating_add(1);
    }

    /// Some bytes of a value whose fate is decided.
    #[inline]
    fn pass(&mut self, range: Range<usize>) {
        match self.state.fate {
            Fate::Copy => self.copy(range),
            Fate::Judge | Fate::Skip => {}
            Fate::Hold(_) => {
                let more = self.chunk.get(range).unwrap_or_default();
                if more.len() > self.limits.max_value.saturating_sub(self.state.held.len()) {
                    self.state.too_long = true;
                } else if !self.state.too_long {
                    self.state.held.extend_from_slice(more);
                }
            }
        }
    }

    #[inline]
    fn end_value(&mut self) {
        if let Fate::Hold(transform) = self.state.fate {
            let transform = if self.state.too_long {
                Transform::Mask
            } else {
                transform
            };
            self.flush();
            transform.apply(
                &self.state.held,
                self.tokens,
                &mut self.state.plain,
                self.out,
            );
        }
        self.state.fate = Fate::Judge;
        self.state.at = if self.state.frames.is_empty() {
            At::End
        } else {
            At::After
        };
    }

    /// Ends the innermost container at `i`.
    fn close(&mut self, i: usize) -> usize {
        let after = i.wrapping_add(1);
        self.state.frames.pop();
        self.copy(i..after);
        self.state.at = if self.state.frames.is_empty() {
            At::End
        } else {
            At::After
        };
        after
    }

    /// Reads on in a name that starts at `start` in this chunk, or in an earlier one; keeps what there is of it when the
    /// chunk ends first.
    #[inline]
    fn scan_name(&mut self, start: usize, from: usize) -> Result<Option<usize>, Stop> {
        if start != from
            && let Some(after) = scan::plain_string(self.chunk, from)
            && after.wrapping_sub(from) <= self.limits.max_name
        {
            return Ok(Some(after));
        }
        self.scan_name_slowly(start, from)
    }

    #[cold]
    fn scan_name_slowly(&mut self, start: usize, from: usize) -> Result<Option<usize>, Stop> {
        // The closing quote counts too, and so does the opening one if it was held.
        let opened = usize::from(!self.state.name.is_empty());
        let room = self
            .limits
            .max_name
            .saturating_add(1)
            .saturating_add(opened)
            .saturating_sub(self.state.name.len());
        let limit = from.saturating_add(room);
        let window = self.chunk.get(..limit).unwrap_or(self.chunk);
        if let Some(after) = self.state.string.scan(window, from)? {
            return Ok(Some(after));
        }
        if limit <= self.chunk.len() {
            return Err(Stop {
                fault: Fault::NameLength,
                at: limit.saturating_sub(1),
            });
        }
        self.state
            .name
            .extend_from_slice(self.chunk.get(start..).unwrap_or_default());
        self.state.at = At::InName;
        Ok(None)
    }

    /// Finds the node of the member whose name was read: at `inner` in this chunk, or held.
    #[inline]
    fn find_member(&mut self, inner: Range<usize>) {
        self.state.at = At::Colon;
        let Some(frame) = self.state.frames.last() else {
            return;
        };
        let raw = match self.state.key {
            Key::Held => match self.state.name.as_slice() {
                [_, inner @ .., _] => inner,
                _ => &[],
            },
            _ => self.chunk.get(inner).unwrap_or_default(),
        };
        self.state.node = if self.state.string.escaped {
            transform::unescape(raw, &mut self.state.plain);
            self.program.member(frame.node, &self.state.plain)
        } else {
            self.program.member(frame.node, raw)
        };
    }

    /// Appends what leads to a value that stays: the comma, the name, the colon.
    #[inline]
    fn lead(&mut self) {
        let Some(frame) = self.state.frames.last_mut() else {
            return;
        };
        let comma = std::mem::replace(&mut frame.any, true);
        if comma {
            self.join(self.comma, b",");
        }
        match std::mem::replace(&mut self.state.key, Key::None) {
            Key::None => return,
            Key::Here(range) => self.copy(range),
            Key::Held => {
                self.flush();
                self.out.extend_from_slice(&self.state.name);
            }
        }
        self.join(self.colon, b":");
    }

    /// Appends a range of the chunk.
    #[inline]
    fn copy(&mut self, range: Range<usize>) {
        if self.copy.end == range.start {
            self.copy.end = range.end;
        } else {
            self.flush();
            self.copy = range;
        }
    }

    /// Appends one byte: from the chunk if it lies right behind what stays, else a new one.
    #[inline]
    fn join(&mut self, at: Option<usize>, byte: &[u8]) {
        match at {
            Some(at) if at == self.copy.end && !self.copy.is_empty() => {
                self.copy.end = at.wrapping_add(1)
            }
            _ => self.write(byte),
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.flush();
        self.out.extend_from_slice(bytes);
    }

    #[inline]
    fn flush(&mut self) {
        let end = self.copy.end;
        let range = std::mem::replace(&mut self.copy, end..end);
        self.out
            .extend_from_slice(self.chunk.get(range).unwrap_or_default());
    }
}
