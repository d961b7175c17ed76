//! Server-sent events, section 9.2 of the HTML standard.

use arrayvec::ArrayVec;
use memchr::{memchr, memchr2};

use super::{Fault, FrameError, Records};

/// The longest value of `event` and `id` that is kept.
const MAX_VALUE: usize = 64;

/// The longest of `retry`, in digits of milliseconds: eleven days.
const MAX_RETRY: usize = 9;

/// The longest name of a field that means something is `event`, `retry`.
const MAX_NAME: usize = 5;

type Value = ArrayVec<u8, MAX_VALUE>;

#[derive(Default)]
pub(super) struct Events {
    line: Line,
    /// The last byte was a CR, so that LF is of the same end of line.
    cr: bool,
    /// The body has begun.
    begun: bool,
    event: Option<Value>,
    id: Option<Value>,
    retry: Option<Value>,
    /// What the trimmer wrote, before its lines are set apart.
    scratch: Vec<u8>,
}

/// Where in a line.
#[derive(Default)]
enum Line {
    #[default]
    Start,
    Name(ArrayVec<u8, MAX_NAME>),
    /// After the colon, where one space is no part of the value.
    Colon(Field),
    Data,
    /// Of another field; nothing, where it is not one that is kept.
    Value(Field, Option<Value>),
    /// A comment, or a field that means nothing.
    Ignored,
}

#[derive(Clone, Copy)]
enum Field {
    Data,
    Event,
    Id,
    Retry,
}

impl Field {
    fn named(name: &[u8]) -> Option<Field> {
        match name {
            b"data" => Some(Field::Data),
            b"event" => Some(Field::Event),
            b"id" => Some(Field::Id),
            b"retry" => Some(Field::Retry),
            _ => None,
        }
    }
}

impl Events {
    pub(super) fn push(
        &mut self,
        records: &mut Records<'_, '_>,
        mut chunk: &[u8],
        end: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        while let Some((first, rest)) = chunk.split_first() {
            // A reader drops one at the start of the body (9.2.5): it would be a field of another name here.
            if !self.begun && *first == 0xef {
                return Err(Fault::Bom.into());
            }
            self.begun = true;
            if std::mem::take(&mut self.cr) && *first == b'\n' {
                chunk = rest;
                continue;
            }
            if matches!(first, b'\r' | b'\n') {
                self.cr = *first == b'\r';
                self.end_line(records, out)?;
                chunk = rest;
                continue;
            }
            let line = std::mem::take(&mut self.line);
            self.line = match line {
                Line::Start if *first == b':' => Line::Ignored,
                Line::Start => Line::Name(ArrayVec::new()),
                Line::Name(name) if *first == b':' => {
                    chunk = rest;
                    Field::named(&name).map_or(Line::Ignored, Line::Colon)
                }
                Line::Name(mut name) => {
                    chunk = rest;
                    match name.try_push(*first) {
                        Ok(()) => Line::Name(name),
                        Err(_) => Line::Ignored,
                    }
                }
                Line::Colon(field) => {
                    if *first == b' ' {
                        chunk = rest;
                    }
                    self.value(field, records, out)?
                }
                Line::Value(field, value) => {
                    chunk = rest;
                    let value = value.and_then(|mut value| value.try_push(*first).ok().map(|()| value));
                    Line::Value(field, value)
                }
                line @ (Line::Data | Line::Ignored) => {
                    let (piece, rest) = chunk.split_at(memchr2(b'\r', b'\n', chunk).unwrap_or(chunk.len()));
                    if matches!(line, Line::Data) {
                        self.data(records, piece, out)?;
                    }
                    chunk = rest;
                    line
                }
            };
        }
        let whole = matches!(self.line, Line::Start) && !records.is_open();
        if end && !whole {
            return Err(Fault::Unterminated.into());
        }
        Ok(())
    }

    /// A value begins, also one of no bytes.
    fn value(&mut self, field: Field, records: &mut Records<'_, '_>, out: &mut Vec<u8>) -> Result<Line, FrameError> {
        if !matches!(field, Field::Data) {
            return Ok(Line::Value(field, Some(Value::new())));
        }
        if records.is_open() {
            // One more line of the same record.
            self.data(records, b"\n", out)?;
        } else {
            records.open()?;
            out.extend_from_slice(b"data: ");
        }
        Ok(Line::Data)
    }

    /// A part of the record. A line break that comes out begins one more line of it.
    fn data(&mut self, records: &mut Records<'_, '_>, piece: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        self.scratch.clear();
        records.push(piece, &mut self.scratch)?;
        self.write(out);
        Ok(())
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut rest = self.scratch.as_slice();
        while let Some(at) = memchr(b'\n', rest) {
            let (line, more) = rest.split_at(at.saturating_add(1));
            out.extend_from_slice(line);
            out.extend_from_slice(b"data: ");
            rest = more;
        }
        out.extend_from_slice(rest);
    }

    fn end_line(&mut self, records: &mut Records<'_, '_>, out: &mut Vec<u8>) -> Result<(), FrameError> {
        match std::mem::take(&mut self.line) {
            Line::Start => return self.end_event(records, out),
            // A line without a colon is a field without a value.
            Line::Name(name) => {
                if let Some(field) = Field::named(&name) {
                    let line = self.value(field, records, out)?;
                    self.keep(line);
                }
            }
            Line::Colon(field) => {
                let line = self.value(field, records, out)?;
                self.keep(line);
            }
            line => self.keep(line),
        }
        Ok(())
    }

    /// A line ended: its value, if it may be kept. Of several the last counts.
    fn keep(&mut self, line: Line) {
        let Line::Value(field, value) = line else { return };
        let named = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(byte);
        match field {
            Field::Data => {}
            Field::Event => self.event = value.filter(|value| value.iter().all(named)),
            Field::Id => self.id = value.filter(|value| value.iter().all(named)),
            Field::Retry => {
                self.retry = value
                    .filter(|value| (1..=MAX_RETRY).contains(&value.len()) && value.iter().all(u8::is_ascii_digit));
            }
        }
    }

    fn end_event(&mut self, records: &mut Records<'_, '_>, out: &mut Vec<u8>) -> Result<(), FrameError> {
        let mut any = records.is_open();
        if any {
            self.scratch.clear();
            records.close(&mut self.scratch)?;
            self.write(out);
            out.push(b'\n');
        }
        let fields = [
            (&b"event: "[..], self.event.take()),
            (b"id: ", self.id.take()),
            (b"retry: ", self.retry.take()),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                out.extend_from_slice(name);
                out.extend_from_slice(&value);
                out.push(b'\n');
                any = true;
            }
        }
        if any {
            out.push(b'\n');
        }
        Ok(())
    }
}
