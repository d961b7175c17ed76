//! One chunk on its way: structure is judged value by value, and what is decided is copied or skipped in ranges.

mod short;

use std::ops::Range;

use super::marks::Marks;
use super::probe::{Probe, Seen, TypeMember};
use super::program::{Action, Ask, DROPPED, Label, Program};
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
    /// Made when a look ahead is needed for the first time.
    probe: Option<Box<Probe>>,
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
            probe: None,
            marks: Marks::default(),
            counts: Counts::default(),
        }
    }

    /// The memory that the state holds on to, in bytes.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        let frames = self.frames.capacity().saturating_mul(size_of::<Frame>());
        let probe = self.probe.as_ref().map_or(0, |probe| probe.memory());
        let bytes = [&self.name, &self.plain, &self.held].map(Vec::capacity);
        [frames, self.value.memory(), self.marks.memory(), probe]
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
    /// What the program's questions keep in mind about this container.
    marks: u8,
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

/// A resource whose `resourceType` has come.
const TYPED: u8 = 1;
/// An object whose `system` or `code` has come.
const CODED: u8 = 2;
/// A resource or `meta` in which the label is, or will be.
const LABELLED: u8 = 4;
/// What gets a label at its end.
const RESOURCE: u8 = 8;
const META: u8 = 16;
const SECURITY: u8 = 32;
const LABELS: u8 = RESOURCE | META | SECURITY;
/// What was taken for a Bundle, as long as its `resourceType` has not come.
const UNTYPED: u8 = 64;

/// What the label says: some of this was taken out. HL7's code system ObservationValue, version 3.
const REDACTED: &[u8] =
    br#"{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"REDACTED","display":"redacted"}"#;

/// What an object is.
enum Typed {
    /// A resource, its type known.
    Text,
    /// No resource.
    No,
    /// It is too long to tell: a Bundle if it is a resource.
    Bundle,
    /// It is too long to tell.
    Late,
}

/// How far the judgement of a value got.
enum Begun {
    /// The fate holds for the whole of it.
    Whole,
    /// It is a container whose children are judged one by one.
    Entered,
    /// What it holds decides, and that is not all here.
    Waits,
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

fn stop<T>(fault: Fault, at: usize) -> Result<T, Stop> {
    Err(Stop { fault, at })
}

/// A trimmer at work on one chunk.
pub(super) struct Run<'a> {
    program: &'a Program,
    tokens: Option<&'a Pseudonymise>,
    rewrite: Option<&'a Rewrite<'a>>,
    /// The current one.
    year: Option<u16>,
    limits: &'a Limits,
    state: &'a mut State,
    chunk: &'a [u8],
    /// What is to be appended before anything else. It grows as long as what stays lies side by side.
    copy: Range<usize>,
    /// The last comma and colon, if they are in this chunk: copied along when they join what stays.
    comma: Option<usize>,
    colon: Option<usize>,
    /// Where the value starts that waits for more of itself.
    waits: Option<usize>,
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
            year: None,
            limits,
            state,
            chunk,
            copy: 0..0,
            comma: None,
            colon: None,
            waits: None,
            out,
        }
    }

    /// Rewrites with this.
    pub(super) fn with_rewrite(mut self, rewrite: Option<&'a Rewrite<'a>>) -> Self {
        self.rewrite = rewrite;
        self
    }

    /// In this year.
    pub(super) fn with_year(mut self, year: Option<u16>) -> Self {
        self.year = year;
        self
    }

    /// Where the part of the chunk begins that is to come again, with more behind it.
    pub(super) fn waits(&self) -> Option<usize> {
        self.waits
    }

    /// Takes the whole chunk, or what comes before a value that waits for more of itself.
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
            (Fate::Judge, At::Value) if self.state.frames.is_empty() && self.waits.is_none() => Err(Stop {
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
            i = self.hurry(marks, i)?;
            if !matches!(self.state.at, At::InName) {
                i = skip_space(self.chunk, i);
            }
            let Some(&byte) = self.chunk.get(i) else {
                return Ok(None);
            };
            match self.state.at {
                At::FirstElement if byte == b']' => i = self.close(i)?,
                At::Value | At::FirstElement => {
                    if self.state.frames.is_empty() && matches!(byte, 0xef | 0xfe | 0xff | 0) {
                        return Err(Stop {
                            fault: Fault::Bom,
                            at: i,
                        });
                    }
                    match self.begin_value(i, byte)? {
                        Begun::Entered => i = i.wrapping_add(1),
                        Begun::Waits => return Ok(None),
                        Begun::Whole => match self.plain_string(i, byte) {
                            Some(after) => {
                                self.pass(i..after);
                                self.end_value();
                                i = after;
                            }
                            None => return Ok(Some(i)),
                        },
                    }
                }
                At::FirstName if byte == b'}' => i = self.close(i)?,
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
                        i = self.close(i)?;
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

    /// Decides about the value that starts with `byte` at `i`.
    #[inline(always)]
    fn begin_value(&mut self, i: usize, byte: u8) -> Result<Begun, Stop> {
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
                return Ok(Begun::Entered);
            }
            Action::Ask(_) => return self.begin_asked(i, byte),
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
        Ok(Begun::Whole)
    }

    /// Decides about a value whose fate hangs on more than its place.
    #[cold]
    #[inline(never)]
    fn begin_asked(&mut self, i: usize, byte: u8) -> Result<Begun, Stop> {
        let program = self.program;
        let (mut label, mut again) = (0, self.state.node);
        // Each question leads to nodes that were made before it, so this ends.
        while let Action::Ask(ask) = program.action(self.state.node, matches!(byte, b'{' | b'[')) {
            let frame = self.state.frames.last_mut();
            let answer = match program.ask(ask) {
                Some(Ask::Kind { array, object, scalar }) => match byte {
                    b'[' => Some(*array),
                    b'{' => Some(*object),
                    _ => Some(*scalar),
                },
                Some(Ask::Filters { filters, variants }) => self
                    .judge_whole(i, byte, filters)?
                    .map(|bits| variants.get(bits).copied().unwrap_or(DROPPED)),
                Some(Ask::Resource {
                    types,
                    other,
                    none,
                    bundle,
                    late,
                }) => self.resource_type(i, none.is_some())?.map(|typed| match typed {
                    Typed::Text => types.get(&self.state.plain).unwrap_or(*other),
                    Typed::No => none.unwrap_or(DROPPED),
                    Typed::Bundle => *bundle,
                    Typed::Late => *late,
                }),
                Some(Ask::Display { then }) => Some(
                    frame
                        .filter(|frame| frame.marks & CODED != 0)
                        .map_or(DROPPED, |_| *then),
                ),
                Some(Ask::Code { then }) => {
                    // A concept called `code` says nothing of what `display` shows.
                    if let (Some(frame), b'"') = (frame, byte) {
                        frame.marks |= CODED;
                    }
                    Some(*then)
                }
                Some(Ask::Type { then }) => match frame {
                    Some(frame) if frame.marks & TYPED == 0 => {
                        frame.marks |= TYPED;
                        Some(*then)
                    }
                    _ => return stop(Fault::StrayType, i),
                },
                Some(Ask::Untyped { then }) => {
                    label |= UNTYPED;
                    Some(*then)
                }
                Some(Ask::LateType { then }) => self.is_bundle(i, byte)?.map(|()| *then),
                Some(Ask::Misfit) => return stop(Fault::NoType, i),
                Some(Ask::Label { label: kind, then }) => {
                    label |= match kind {
                        Label::Resource => RESOURCE,
                        Label::Meta => META,
                        Label::Security => SECURITY,
                    };
                    Some(*then)
                }
                Some(Ask::Stray) => return stop(Fault::StrayType, i),
                Some(Ask::NoResource { .. }) if byte != b'n' => return stop(Fault::NoType, i),
                // Null says nothing.
                Some(Ask::NoResource { then }) => Some(*then),
                // A question that does not exist, which cannot be, drops.
                None => Some(DROPPED),
            };
            match answer {
                Some(node) => self.state.node = node,
                None => {
                    self.state.node = again;
                    self.waits = Some(i);
                    return Ok(Begun::Waits);
                }
            }
            // What a label is for is found out again after a wait.
            if label == 0 {
                again = self.state.node;
            }
        }
        let begun = self.begin_value(i, byte)?;
        if let (Begun::Entered, [.., parent, own]) = (&begun, self.state.frames.as_mut_slice()) {
            own.marks = label;
            if matches!(label, META | SECURITY) {
                parent.marks |= LABELLED;
            }
        } else if let (Begun::Entered, [own]) = (&begun, self.state.frames.as_mut_slice()) {
            own.marks = label;
        }
        Ok(begun)
    }

    /// Whether the object at `i` is a resource, its type in `plain`; nothing when the chunk ends first. `may_lack`: it need not be one.
    fn resource_type(&mut self, i: usize, may_lack: bool) -> Result<Option<Typed>, Stop> {
        let room = self.limits.max_depth.saturating_sub(self.state.frames.len());
        let hold = self.limits.max_hold;
        let probe = self.state.probe.get_or_insert_with(|| Box::new(Probe::new()));
        match probe.resource_type(self.chunk, i, hold, room, &mut self.state.plain)? {
            Seen::Found(TypeMember::Text) => Ok(Some(Typed::Text)),
            Seen::Waits => Ok(None),
            Seen::Found(TypeMember::Missing) if may_lack => Ok(Some(Typed::No)),
            Seen::TooFar if probe.like_bundle() => Ok(Some(Typed::Bundle)),
            Seen::TooFar if may_lack && probe.like_cards() => Ok(Some(Typed::No)),
            Seen::TooFar if may_lack => Ok(Some(Typed::Late)),
            Seen::Found(_) | Seen::TooFar => stop(Fault::NoType, i),
        }
    }

    /// The type, at `i`, of what was taken for a Bundle, which it must be; nothing when the chunk ends first.
    fn is_bundle(&mut self, i: usize, byte: u8) -> Result<Option<()>, Stop> {
        let untyped = self.state.frames.last().is_some_and(|frame| frame.marks & UNTYPED != 0);
        if !untyped {
            return stop(Fault::StrayType, i);
        }
        if byte != b'"' {
            return stop(Fault::NoType, i);
        }
        let probe = self.state.probe.get_or_insert_with(|| Box::new(Probe::new()));
        let raw = match probe.whole(self.chunk, i, self.limits.max_hold, 0)? {
            Seen::Found(range) => self.chunk.get(range).unwrap_or_default(),
            Seen::Waits => return Ok(None),
            Seen::TooFar => return stop(Fault::NoType, i),
        };
        if let [_, inner @ .., _] = raw {
            transform::unescape(inner, &mut self.state.plain);
        }
        if self.state.plain != b"Bundle" {
            return stop(Fault::NoType, i);
        }
        if let Some(frame) = self.state.frames.last_mut() {
            frame.marks &= !UNTYPED;
        }
        Ok(Some(()))
    }

    /// Adds the label behind what is in the container that ends now.
    #[cold]
    #[inline(never)]
    fn add_label(&mut self, marks: u8, any: bool) {
        let (before, after): (&[u8], &[u8]) = match marks & (LABELS | LABELLED) {
            SECURITY => (b"", b""),
            META => (b"\"security\":[", b"]"),
            RESOURCE => (b"\"meta\":{\"security\":[", b"]}"),
            _ => return,
        };
        if any {
            self.write(b",");
        }
        self.write(before);
        self.write(REDACTED);
        self.write(after);
    }

    /// Which of the filters hold for the value at `i`, the first in the lowest bit; nothing when the chunk ends first.
    fn judge_whole(&mut self, i: usize, byte: u8, filters: &[u16]) -> Result<Option<usize>, Stop> {
        let program = self.program;
        let all = || filters.iter().filter_map(|filter| program.filter(*filter));
        let bit = |holds: bool, at: usize| usize::from(holds).wrapping_shl(u32::try_from(at).unwrap_or_default());
        let at_once = all().enumerate().try_fold(0, |bits, (at, filter)| {
            Some(bits | bit(filter.holds_at_once(byte)?, at))
        });
        if at_once.is_some() {
            return Ok(at_once);
        }
        let room = self.limits.max_depth.saturating_sub(self.state.frames.len());
        let probe = self.state.probe.get_or_insert_with(|| Box::new(Probe::new()));
        let value = match probe.whole(self.chunk, i, self.limits.max_hold, room)? {
            Seen::Found(range) => self.chunk.get(range).unwrap_or_default(),
            Seen::Waits => return Ok(None),
            Seen::TooFar => return stop(Fault::Hold, i),
        };
        let mut bits = 0;
        for (at, filter) in all().enumerate() {
            let holds = filter.holds(value).map_err(|_| Stop {
                fault: Fault::Ambiguous,
                at: i,
            })?;
            bits |= bit(holds, at);
        }
        Ok(Some(bits))
    }

    /// A container opens whose children are judged one by one.
    #[inline]
    fn enter(&mut self, node: u32, object: bool) {
        self.state.frames.push(Frame {
            node,
            index: 0,
            object,
            any: false,
            marks: 0,
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
            fitting.apply(held, self.tokens, self.year, plain, self.out);
            true
        });
        // A large one is rare, and what it took is not to be kept for a next.
        const KEPT_ROOM: usize = 4 << 10;
        for buffer in [held, plain] {
            if buffer.capacity() > KEPT_ROOM {
                *buffer = Vec::new();
            }
        }
        // Others were counted when they began.
        if changed && matches!(transform, Transform::Rewrite(_)) {
            self.count_transformed();
        }
    }

    /// Ends the innermost container at `i`, unless its type is still to come.
    #[inline]
    fn close(&mut self, i: usize) -> Result<usize, Stop> {
        let after = i.wrapping_add(1);
        if let Some(frame) = self.state.frames.pop()
            && frame.marks & (LABELS | UNTYPED) != 0
        {
            if frame.marks & UNTYPED != 0 {
                return stop(Fault::NoType, i);
            }
            self.add_label(frame.marks, frame.any);
        }
        self.copy(i..after);
        self.state.at = if self.state.frames.is_empty() {
            At::End
        } else {
            At::After
        };
        Ok(after)
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
