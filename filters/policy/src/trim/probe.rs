//! Looking ahead: what must be known of a value before its fate is.
//!
//! A probe reads a value from its first byte on, as JSON, and resumes where a chunk ended; the bytes from that first byte on are held
//! meanwhile, [`Limits::max_hold`](super::Limits::max_hold) of them at most. What it finds depends on the bytes alone, not on chunks.

use std::ops::Range;

use super::Fault;
use super::fhir::{BUNDLE, CDS_HOOKS};
use super::marks::Marks;
use super::scan::{Stop, StringScan, plain_string, skip_space};
use super::transform::unescape;
use super::value::ValueScan;

/// A look ahead that may be under way.
pub(super) struct Probe {
    /// A look has begun, and has gone `read` bytes into the value.
    under_way: bool,
    read: usize,
    value: ValueScan,
    marks: Marks,
    at: At,
    string: StringScan,
    /// Where the name or the text that is being read begins, behind its quote, in bytes from the value's first.
    mark: usize,
    ours: bool,
    names: NamesSeen,
}

/// What the names of an object say that does not say its type in time.
#[derive(Clone, Copy, Default)]
struct NamesSeen {
    /// One that is no Bundle's.
    foreign: bool,
    entry: bool,
    cards: bool,
}

impl NamesSeen {
    fn add(&mut self, name: &[u8]) {
        let base = name.strip_prefix(b"_").unwrap_or(name);
        let among = |list: &[&str], name: &[u8]| list.iter().any(|own| own.as_bytes() == name);
        self.foreign |= !among(&BUNDLE, base);
        self.entry |= name == b"entry";
        self.cards |= among(&CDS_HOOKS, name);
    }
}

#[derive(Clone, Copy)]
enum At {
    Open,
    FirstName,
    Name,
    InName,
    Colon,
    Value,
    InValue,
    InText,
    After,
}

/// How a look ahead ended.
#[derive(Debug)]
pub(super) enum Seen<T> {
    /// It is decided.
    Found(T),
    /// The chunk ended first.
    Waits,
    /// So much as may be held does not tell.
    TooFar,
}

/// What an object says of its type.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TypeMember {
    /// `resourceType` is the text that is now in `plain`.
    Text,
    /// It is no string.
    Other,
    /// The object ends without it.
    Missing,
}

impl Probe {
    pub(super) fn new() -> Probe {
        Probe {
            under_way: false,
            read: 0,
            value: ValueScan::new(),
            marks: Marks::default(),
            at: At::Open,
            string: StringScan::new(),
            mark: 0,
            ours: false,
            names: NamesSeen::default(),
        }
    }

    /// The memory that is held on to, in bytes.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        size_of::<Probe>()
            .saturating_add(self.value.memory())
            .saturating_add(self.marks.memory())
    }

    /// Looks for the end of the value that starts at `start`, at most `hold` bytes long and `room` containers deep.
    pub(super) fn whole(
        &mut self,
        chunk: &[u8],
        start: usize,
        hold: usize,
        room: usize,
    ) -> Result<Seen<Range<usize>>, Stop> {
        if !self.under_way {
            self.begin();
            self.value.begin(room);
        }
        // They were another chunk's.
        self.marks.clear();
        let limit = start.saturating_add(hold);
        let window = chunk.get(..limit).unwrap_or(chunk);
        let from = start.saturating_add(self.read);
        if from < window.len() {
            let (to, ended) = self.value.scan(&mut self.marks, window, from)?;
            self.read = to.saturating_sub(start);
            if ended {
                self.under_way = false;
                return Ok(Seen::Found(start..to));
            }
        }
        Ok(self.undecided(chunk.len() < limit))
    }

    /// Looks for the member `resourceType` of the object that starts at `start`, within `hold` bytes.
    pub(super) fn resource_type(
        &mut self,
        chunk: &[u8],
        start: usize,
        hold: usize,
        room: usize,
        plain: &mut Vec<u8>,
    ) -> Result<Seen<TypeMember>, Stop> {
        // They were another chunk's.
        self.marks.clear();
        let limit = start.saturating_add(hold);
        let window = chunk.get(..limit).unwrap_or(chunk);
        if !self.under_way {
            if let Some(range) = first_member(window, start) {
                plain.clear();
                plain.extend_from_slice(window.get(range).unwrap_or_default());
                return Ok(Seen::Found(TypeMember::Text));
            }
            self.begin();
        }
        if let Some(found) = self.members(window, start, room, plain)? {
            self.under_way = false;
            return Ok(Seen::Found(found));
        }
        Ok(self.undecided(chunk.len() < limit))
    }

    fn begin(&mut self) {
        self.under_way = true;
        self.read = 0;
        self.at = At::Open;
        self.names = NamesSeen::default();
    }

    /// Whether the object that was too long to tell its type can be no resource but a Bundle.
    pub(super) fn like_bundle(&self) -> bool {
        self.names.entry && !self.names.foreign
    }

    /// Whether it is no resource.
    pub(super) fn like_cards(&self) -> bool {
        self.names.cards
    }

    fn undecided<T>(&mut self, more: bool) -> Seen<T> {
        if more {
            return Seen::Waits;
        }
        self.under_way = false;
        Seen::TooFar
    }

    /// Reads member by member. Names are compared where they lie: the object is held from its first byte on.
    fn members(
        &mut self,
        window: &[u8],
        start: usize,
        room: usize,
        plain: &mut Vec<u8>,
    ) -> Result<Option<TypeMember>, Stop> {
        let mut i = start.saturating_add(self.read);
        loop {
            if matches!(self.at, At::FirstName | At::Name | At::Colon | At::Value | At::After) {
                i = skip_space(window, i);
            }
            self.read = i.saturating_sub(start);
            let Some(&byte) = window.get(i) else {
                return Ok(None);
            };
            let stop = |fault| Err(Stop { fault, at: i });
            match self.at {
                At::Open => {
                    if room == 0 {
                        return stop(Fault::Depth);
                    }
                    self.at = At::FirstName;
                    i = i.saturating_add(1);
                }
                At::FirstName if byte == b'}' => return Ok(Some(TypeMember::Missing)),
                At::FirstName | At::Name => {
                    if byte != b'"' {
                        return stop(Fault::Name);
                    }
                    i = i.saturating_add(1);
                    self.mark = i.saturating_sub(start);
                    self.string = StringScan::new();
                    self.at = At::InName;
                }
                At::InName => {
                    let Some(after) = self.string.scan(window, i)? else {
                        self.read = window.len().saturating_sub(start);
                        return Ok(None);
                    };
                    i = after;
                    let name = self.marked(window, start, i, plain);
                    let ours = name == b"resourceType";
                    let mut names = self.names;
                    names.add(name);
                    (self.ours, self.names) = (ours, names);
                    self.at = At::Colon;
                }
                At::Colon => {
                    if byte != b':' {
                        return stop(Fault::Colon);
                    }
                    i = i.saturating_add(1);
                    self.at = At::Value;
                }
                At::Value if self.ours => {
                    if byte != b'"' {
                        return Ok(Some(TypeMember::Other));
                    }
                    i = i.saturating_add(1);
                    self.mark = i.saturating_sub(start);
                    self.string = StringScan::new();
                    self.at = At::InText;
                }
                At::InText => {
                    let Some(after) = self.string.scan(window, i)? else {
                        self.read = window.len().saturating_sub(start);
                        return Ok(None);
                    };
                    let text = self.marked(window, start, after, plain).to_vec();
                    *plain = text;
                    return Ok(Some(TypeMember::Text));
                }
                At::Value => {
                    self.value.begin(room.saturating_sub(1));
                    self.at = At::InValue;
                }
                At::InValue => {
                    let (to, ended) = self.value.scan(&mut self.marks, window, i)?;
                    i = to;
                    if !ended {
                        self.read = window.len().saturating_sub(start);
                        return Ok(None);
                    }
                    self.at = At::After;
                }
                At::After => match byte {
                    b',' => {
                        i = i.saturating_add(1);
                        self.at = At::Name;
                    }
                    b'}' => return Ok(Some(TypeMember::Missing)),
                    _ => return stop(Fault::Comma),
                },
            }
        }
    }

    /// The string from the mark to its closing quote before `after`, unescaped.
    fn marked<'b>(&self, window: &'b [u8], start: usize, after: usize, plain: &'b mut Vec<u8>) -> &'b [u8] {
        let raw = window
            .get(start.saturating_add(self.mark)..after.saturating_sub(1))
            .unwrap_or_default();
        if !self.string.escaped {
            return raw;
        }
        unescape(raw, plain);
        plain
    }
}

/// The usual case at no cost: `resourceType` comes first. Where its text lies; what surrounds it is validated later.
fn first_member(window: &[u8], start: usize) -> Option<Range<usize>> {
    const NAME: &[u8] = b"\"resourceType\"";
    let i = skip_space(window, start.saturating_add(1));
    if !window.get(i..)?.starts_with(NAME) {
        return None;
    }
    let i = skip_space(window, i.saturating_add(NAME.len()));
    if window.get(i) != Some(&b':') {
        return None;
    }
    let i = skip_space(window, i.saturating_add(1));
    if window.get(i) != Some(&b'"') {
        return None;
    }
    let i = i.saturating_add(1);
    let after = plain_string(window, i)?;
    Some(i..after.saturating_sub(1))
}
