//! Message heads as plain data, and the edits a policy makes to them.
//!
//! 1. Every line is kept, in order; names are lowercase, values are bytes as they came.
//! 2. An edit changes the head at once, so that the next policy of a chain sees it, and is noted, so that the shell can
//!    repeat it at the proxy.
//! 3. Values can hold tokens and PHI: no type here has Display, Debug or Serialize.

use std::borrow::Cow;

/// One header line.
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    /// The name, lowercase.
    pub name: Cow<'static, str>,
    /// The value, as it came.
    pub value: Vec<u8>,
}

/// A change to a head, in the order in which it was made.
#[derive(Clone, PartialEq, Eq)]
pub enum Edit {
    /// All lines of that name become this one.
    Set(Line),
    /// All lines of that name go.
    Remove(Cow<'static, str>),
}

/// A request head. The pseudo-headers (RFC 9113 8.3.1) stand among the lines.
#[derive(Clone)]
pub struct RequestHead {
    head: Head,
}

/// A response head.
#[derive(Clone)]
pub struct ResponseHead {
    head: Head,
    status: u16,
}

/// Lines and the edits made to them.
#[derive(Clone, Default)]
pub struct Head {
    /// The bytes that the proxy handed over, once and whole: a line that nobody edits costs no allocation.
    raw: Vec<u8>,
    lines: Vec<Slot>,
    edits: Vec<Edit>,
}

/// Where a line stands in the bytes that the proxy handed over.
#[derive(Clone, Copy)]
pub struct Place {
    /// Where the name begins.
    pub name: u32,
    /// How long it is.
    pub name_length: u32,
    /// Where the value begins.
    pub value: u32,
    /// How long it is.
    pub value_length: u32,
}

#[derive(Clone)]
enum Slot {
    Raw(Place),
    Own(Line),
}

impl RequestHead {
    /// A head of these lines; names must be lowercase, as every proxy gives them.
    pub fn new(lines: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        RequestHead { head: Head::new(lines) }
    }

    /// A head whose lines stand in `raw`; a place outside of it is an empty text.
    pub fn at(raw: Vec<u8>, places: Vec<Place>) -> Self {
        RequestHead {
            head: Head::at(raw, places),
        }
    }

    /// `:method`; empty when absent.
    pub fn method(&self) -> &[u8] {
        self.first(":method").unwrap_or_default()
    }

    /// `:path`, the raw request target; empty when absent.
    pub fn target(&self) -> &[u8] {
        self.first(":path").unwrap_or_default()
    }

    /// `:authority`, else `host`; empty when absent.
    pub fn authority(&self) -> &[u8] {
        self.first(":authority")
            .or_else(|| self.first("host"))
            .unwrap_or_default()
    }
}

impl ResponseHead {
    /// A head of these lines; no readable `:status` counts as 0.
    pub fn new(lines: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        Self::of(Head::new(lines))
    }

    /// A head whose lines stand in `raw`; a place outside of it is an empty text.
    pub fn at(raw: Vec<u8>, places: Vec<Place>) -> Self {
        Self::of(Head::at(raw, places))
    }

    fn of(head: Head) -> Self {
        let status = head
            .first(":status")
            .and_then(|value| std::str::from_utf8(value).ok())
            .and_then(|text| text.parse().ok());
        ResponseHead {
            head,
            status: status.unwrap_or(0),
        }
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }
}

impl std::ops::Deref for RequestHead {
    type Target = Head;
    fn deref(&self) -> &Head {
        &self.head
    }
}

impl std::ops::DerefMut for RequestHead {
    fn deref_mut(&mut self) -> &mut Head {
        &mut self.head
    }
}

impl std::ops::Deref for ResponseHead {
    type Target = Head;
    fn deref(&self) -> &Head {
        &self.head
    }
}

impl std::ops::DerefMut for ResponseHead {
    fn deref_mut(&mut self) -> &mut Head {
        &mut self.head
    }
}

impl Head {
    fn new(lines: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let own = |(name, value): (String, Vec<u8>)| {
            let name = Cow::Owned(name);
            Slot::Own(Line { name, value })
        };
        Head {
            lines: lines.into_iter().map(own).collect(),
            ..Head::default()
        }
    }

    fn at(raw: Vec<u8>, places: Vec<Place>) -> Self {
        Head {
            raw,
            lines: places.into_iter().map(Slot::Raw).collect(),
            edits: Vec::new(),
        }
    }

    fn name<'h>(&'h self, slot: &'h Slot) -> &'h [u8] {
        match slot {
            Slot::Raw(place) => self.cut(place.name, place.name_length),
            Slot::Own(line) => line.name.as_bytes(),
        }
    }

    fn value<'h>(&'h self, slot: &'h Slot) -> &'h [u8] {
        match slot {
            Slot::Raw(place) => self.cut(place.value, place.value_length),
            Slot::Own(line) => &line.value,
        }
    }

    fn cut(&self, start: u32, length: u32) -> &[u8] {
        let wide = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let (start, length) = (wide(start), wide(length));
        self.raw.get(start..start.saturating_add(length)).unwrap_or_default()
    }

    /// Names and values as they stand after the edits.
    pub fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.iter().map(|slot| (self.name(slot), self.value(slot)))
    }

    /// The first line's value.
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        let slot = self.lines.iter().find(|slot| self.name(slot) == name.as_bytes())?;
        Some(self.value(slot))
    }

    /// The values of all lines of that name.
    pub fn all<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
        let named = move |(have, value): (&[u8], &'h [u8])| (have == name.as_bytes()).then_some(value);
        self.lines().filter_map(named)
    }

    /// Whether there is such a line.
    pub fn has(&self, name: &str) -> bool {
        self.first(name).is_some()
    }

    /// Whether any line's name is one of those.
    pub fn has_any(&self, is: impl Fn(&[u8]) -> bool) -> bool {
        self.lines().any(|(name, _)| is(name))
    }

    /// Makes all lines of that name this one; does nothing where that is so already.
    pub fn set(&mut self, name: &'static str, value: impl Into<Vec<u8>>) {
        self.put(Cow::Borrowed(name), value.into());
    }

    /// As [`Self::set`], for a name that is not known when this is compiled.
    pub fn put(&mut self, name: Cow<'static, str>, value: Vec<u8>) {
        let mut same = self.all(&name);
        if same.next() == Some(value.as_slice()) && same.next().is_none() {
            return;
        }
        drop(same);
        let position = self.lines.iter().position(|slot| self.name(slot) == name.as_bytes());
        self.take_out(name.as_bytes());
        let line = Line { name, value };
        match position {
            Some(first) if first <= self.lines.len() => self.lines.insert(first, Slot::Own(line.clone())),
            _ => self.lines.push(Slot::Own(line.clone())),
        }
        self.edits.push(Edit::Set(line));
    }

    /// Removes all lines of that name, if there are any.
    pub fn remove(&mut self, name: &'static str) {
        if self.take_out(name.as_bytes()) {
            self.edits.push(Edit::Remove(Cow::Borrowed(name)));
        }
    }

    /// Removes every line whose name the judge condemns.
    pub fn remove_where(&mut self, condemns: impl Fn(&[u8]) -> bool) {
        while let Some(slot) = self.lines.iter().find(|slot| condemns(self.name(slot))) {
            let name = self.name(slot).to_vec();
            self.take_out(&name);
            // Header names are ASCII (RFC 9110 5.1); were one not, the proxy would refuse the edit, and so the stream.
            let name = String::from_utf8_lossy(&name).into_owned();
            self.edits.push(Edit::Remove(Cow::Owned(name)));
        }
    }

    fn take_out(&mut self, name: &[u8]) -> bool {
        let mut lines = std::mem::take(&mut self.lines);
        let before = lines.len();
        lines.retain(|slot| self.name(slot) != name);
        self.lines = lines;
        self.lines.len() != before
    }

    /// The edits made so far, which are taken out.
    pub fn take_edits(&mut self) -> Vec<Edit> {
        std::mem::take(&mut self.edits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &[(&str, &str)]) -> RequestHead {
        RequestHead::new(
            lines
                .iter()
                .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())),
        )
    }

    fn shown(head: &Head) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        head.lines()
            .map(|(name, value)| format!("{}={}", text(name), text(value)))
            .collect()
    }

    #[test]
    fn set_folds_all_lines_into_one_in_the_first_place() {
        let mut head = head(&[("a", "1"), ("b", "2"), ("a", "3")]);
        head.set("a", "4");
        assert_eq!(shown(&head), ["a=4", "b=2"]);
        assert_eq!(head.take_edits().len(), 1);
    }

    #[test]
    fn an_edit_that_changes_nothing_is_none() {
        let mut head = head(&[("a", "1")]);
        head.set("a", "1");
        head.remove("b");
        assert!(head.take_edits().is_empty());
        head.set("c", "1");
        assert_eq!(head.take_edits().len(), 1);
    }

    #[test]
    fn a_second_line_of_the_same_value_is_still_folded() {
        let mut head = head(&[("a", "1"), ("a", "1")]);
        head.set("a", "1");
        assert_eq!(shown(&head), ["a=1"]);
        assert_eq!(head.take_edits().len(), 1);
    }

    #[test]
    fn a_status_that_cannot_be_read_is_none() {
        let status = |value: &str| ResponseHead::new([(":status".to_owned(), value.as_bytes().to_vec())]).status();
        assert_eq!((status("200"), status("2x0"), status("")), (200, 0, 0));
    }

    #[test]
    fn lines_in_raw_bytes_are_as_others_and_a_place_outside_is_empty() {
        let place = |name, name_length, value, value_length| Place {
            name,
            name_length,
            value,
            value_length,
        };
        let places = vec![
            place(0, 1, 1, 2),
            place(3, 1, 4, 1),
            place(0, 1, 4, 1),
            place(3, 1, 5, 9),
            place(9, 9, u32::MAX, u32::MAX),
        ];
        let mut head = RequestHead::at(b"a12b3".to_vec(), places);
        assert_eq!(shown(&head), ["a=12", "b=3", "a=3", "b=", "="]);
        head.set("a", "4");
        head.remove_where(|name| name == b"b");
        assert_eq!(shown(&head), ["a=4", "="]);
        assert_eq!(head.take_edits().len(), 2);
    }
}
