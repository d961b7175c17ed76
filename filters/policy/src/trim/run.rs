//! One chunk on its way: structure is judged value by value, and what is decided is copied or skipped in ranges.

mod short;

use std::ops::Range;

use super::marks::Marks;
use super::program::{Action, Program};
use super::scan::{self, Stop, StringScan, skip_space};
use super::simd::append_short;
use super::transform::{self, Pseudonymise, Rewrite, Transform};
use super::value::ValueScan;
use super::{Counts, Fault, Limits};

/// What is carried from chunk to chunk.
pub(super) struct State {
    /// How many bytes came before this chunk.
    pub(super) base: u64,
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
    marks: Marks,
    pub(super) counts: Counts,
}

impl State {
    pub(super) fn new(node: u32) -> State {
        State {
            base: 0,
            at: At::Value,
            fate: Fate::Judge,
            node,
            frames: Vec::new(),
            string: StringScan::new(),
            key: Key::None,
            name: Vec::new(),
            plain: Vec::new(),
            held: Vec::new(),
            too_long: false,
            value: ValueScan::new(),
            marks: Marks::default(),
            counts: Counts::default(),
        }
    }

    /// The memory that the state holds on to, in bytes.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        let frames = self.frames.capacity().saturating_mul(size_of::<Frame>());
        let bytes = [&self.name, &self.plain, &self.held].map(Vec::capacity);
        [frames, self.value.memory(), self.marks.memory()]
            .into_iter()
            .chain(bytes)
            .fold(0, usize::saturating_add)
    }
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
pub(super) struct Run<'a> {
    program: &'a Program,
    tokens: Option<&'a Pseudonymise>,
    rewrite: Option<&'a Rewrite<'a>>,
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

impl<'a> Run<'a> {
    pub(super) fn new(
        program: &'a Program,
        tokens: Option<&'a Pseudonymise>,
        limits: &'a Limits,
        state: &'a mut State,
        chunk: &'a [u8],
        out: &'a mut Vec<u8>,
    ) -> Run<'a> {
        Run {
            program,
            tokens,
            rewrite: None,
            limits,
            state,
            chunk,
            copy: 0..0,
            comma: None,
            colon: None,
            out,
        }
    }

    /// Rewrites with this.
    pub(super) fn with_rewrite(mut self, rewrite: Option<&'a Rewrite<'a>>) -> Self {
        self.rewrite = rewrite;
        self
    }

    /// Takes the whole chunk.
    pub(super) fn feed(&mut self) -> Result<(), Stop> {
        let mut i = 0;
        let mut marks = std::mem::take(&mut self.state.marks);
        marks.clear();
        loop {
            if let Fate::Judge = self.state.fate {
                match self.judge(&mut marks, i)? {
                    Some(next) => i = next,
                    None => break,
                }
            } else {
                let start = i;
                let (next, ended) = self.state.value.scan(&mut marks, self.chunk, i)?;
                i = next;
                self.pass(start..i);
                if !ended {
                    break;
                }
                self.end_value();
            }
        }
        self.state.marks = marks;
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

    /// Ends the body behind the chunk, which was taken.
    pub(super) fn finish(&mut self) -> Result<(), Stop> {
        let at = self.chunk.len();
        if !matches!(self.state.fate, Fate::Judge) && self.state.frames.is_empty() && self.state.value.may_end() {
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
    fn judge(&mut self, marks: &mut Marks, mut i: usize) -> Result<Option<usize>, Stop> {
        loop {
            i = self.hurry(marks, i);
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
                    (b'}', Some(Frame { object: true, .. })) | (b']', Some(Frame { object: false, .. })) => {
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
                self.enter(self.state.node, byte == b'{');
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
                        if !matches!(transform, Transform::Rewrite(_)) {
                            self.count_transformed();
                        }
                        self.state.held.clear();
                        self.state.too_long = false;
                        Fate::Hold(transform)
                    }
                }
            }
        };
        self.state
            .value
            .begin(self.limits.max_depth.saturating_sub(self.state.frames.len()));
        Ok(true)
    }

    /// A container opens whose children are judged one by one.
    #[inline]
    fn enter(&mut self, node: u32, object: bool) {
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
                let held = &mut self.state.held;
                let room = self.limits.max_value.saturating_sub(held.len());
                if more.len() > room {
                    self.state.too_long = true;
                } else if !self.state.too_long {
                    // Growth by doubling would end over the limit.
                    if held.capacity().saturating_sub(held.len()) < more.len() {
                        held.reserve_exact(more.len().max(held.len()).min(room));
                    }
                    held.extend_from_slice(more);
                }
            }
        }
    }

    #[inline]
    fn end_value(&mut self) {
        if let Fate::Hold(transform) = self.state.fate {
            self.flush();
            self.replace(transform);
        }
        self.state.fate = Fate::Judge;
        self.state.at = if self.state.frames.is_empty() {
            At::End
        } else {
            At::After
        };
    }

    /// Writes what stands for the value that is held.
    fn replace(&mut self, transform: Transform) {
        let State {
            held, plain, too_long, ..
        } = &mut *self.state;
        let rewritten = match (transform, self.rewrite) {
            (Transform::Rewrite(by), Some(rewrite)) if !*too_long => {
                Some(transform::rewrite(held, |text| rewrite(by, text), plain, self.out))
            }
            _ => None,
        };
        let changed = rewritten.unwrap_or_else(|| {
            let fitting = if *too_long { Transform::Mask } else { transform };
            fitting.apply(held, self.tokens, plain, self.out);
            true
        });
        // Others were counted when they began.
        if changed && matches!(transform, Transform::Rewrite(_)) {
            self.count_transformed();
        }
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
            Some(at) if at == self.copy.end => self.copy.end = at.wrapping_add(1),
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
        let length = range.end.wrapping_sub(range.start);
        // Most is short, between blanks.
        if length <= 32
            && let Some(block) = self.chunk.get(range.start..).and_then(<[u8]>::first_chunk::<32>)
        {
            append_short(self.out, [(block, length), (block, 0)]);
        } else {
            self.out.extend_from_slice(self.chunk.get(range).unwrap_or_default());
        }
    }
}
