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
    lines: Vec<Line>,
    edits: Vec<Edit>,
}

impl RequestHead {
    /// A head of these lines; names must be lowercase, as every proxy gives them.
    pub fn new(lines: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        RequestHead { head: Head::new(lines) }
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
        let head = Head::new(lines);
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
        let lines = lines
            .into_iter()
            .map(|(name, value)| Line {
                name: name.into(),
                value,
            })
            .collect();
        Head {
            lines,
            edits: Vec::new(),
        }
    }

    /// The lines as they stand after the edits.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The first line's value.
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.lines
            .iter()
            .find(|line| line.name == name)
            .map(|line| line.value.as_slice())
    }

    /// The values of all lines of that name.
    pub fn all<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
        self.lines
            .iter()
            .filter(move |line| line.name == name)
            .map(|line| line.value.as_slice())
    }

    /// Whether there is such a line.
    pub fn has(&self, name: &str) -> bool {
        self.first(name).is_some()
    }

    /// Makes all lines of that name this one; does nothing where that is so already.
    pub fn set(&mut self, name: &'static str, value: impl Into<Vec<u8>>) {
        let value = value.into();
        let mut same = self.all(name);
        if same.next() == Some(value.as_slice()) && same.next().is_none() {
            return;
        }
        drop(same);
        let line = Line {
            name: Cow::Borrowed(name),
            value,
        };
        match self.lines.iter().position(|line| line.name == name) {
            Some(first) => {
                let mut index = 0_usize;
                self.lines.retain(|line| {
                    let stays = index == first || line.name != name;
                    index = index.saturating_add(1);
                    stays
                });
                if let Some(slot) = self.lines.get_mut(first) {
                    *slot = line.clone();
                }
            }
            None => self.lines.push(line.clone()),
        }
        self.edits.push(Edit::Set(line));
    }

    /// Removes all lines of that name, if there are any.
    pub fn remove(&mut self, name: impl Into<Cow<'static, str>>) {
        let name = name.into();
        let before = self.lines.len();
        self.lines.retain(|line| line.name != name);
        if self.lines.len() != before {
            self.edits.push(Edit::Remove(name));
        }
    }

    /// Removes every line whose name the judge condemns.
    pub fn remove_where(&mut self, condemns: impl Fn(&str) -> bool) {
        let mut names: Vec<Cow<'static, str>> = Vec::new();
        for line in &self.lines {
            if condemns(&line.name) && !names.contains(&line.name) {
                names.push(line.name.clone());
            }
        }
        for name in names {
            self.remove(name);
        }
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
        head.lines()
            .iter()
            .map(|line| format!("{}={}", line.name, String::from_utf8_lossy(&line.value)))
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
}
