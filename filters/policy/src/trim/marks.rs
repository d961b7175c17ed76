//! Where the strings of a chunk end, found ahead of the walk.
//!
//! A walk from token to token knows where the next starts only when it has found the end of the last, and so waits for each
//! load. Here the special bytes of a stretch of the chunk are listed first, sixty-four bytes at a time and without a branch
//! that depends on them; the walk then takes the ends of its strings from the list.

use super::scan::rich_string;
use super::simd::{blank_run, list_specials, short_indent};

/// How many bytes are looked at ahead.
const STRETCH: usize = 1024;

/// What is written beyond the last special byte of a stretch, and two positions that are nowhere.
const BEYOND: usize = 16;

/// No position; a chunk that long takes the long way.
const NOWHERE: u32 = u32::MAX;

const QUOTE_COLON_QUOTE: u32 = u32::from_le_bytes(*b"\":\"\0");
const QUOTE_COLON_BLANK_QUOTE: u32 = u32::from_le_bytes(*b"\": \"");

/// A member, its value a string.
pub(super) struct Member {
    /// The position after the name.
    pub(super) named: usize,
    pub(super) value: usize,
    /// The position after the value.
    pub(super) after: usize,
}

/// The special bytes of a stretch of a chunk: quotes, backslashes, controls and what is not ASCII, wherever they stand.
#[derive(Default)]
pub(super) struct Marks {
    /// Ascending, then [`NOWHERE`].
    list: Vec<u32>,
    /// The first that the walk has not passed.
    next: usize,
}

impl Marks {
    /// Forgets the chunk.
    pub(super) fn clear(&mut self) {
        self.next = usize::MAX;
    }

    /// The memory that is held on to, in bytes.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.list.capacity().saturating_mul(size_of::<u32>())
    }

    /// A walk over `chunk`. What it passed must be put back.
    #[inline]
    pub(super) fn walk<'w>(&'w mut self, chunk: &'w [u8]) -> Walk<'w> {
        if self.list.len() < chunk.len().min(STRETCH).wrapping_add(BEYOND) {
            self.grow(chunk.len());
        }
        Walk {
            chunk,
            next: self.next,
            list: &mut self.list,
        }
    }

    /// Makes room for a chunk of so many bytes. Small ones, as records are, do not pay for a whole stretch.
    #[cold]
    #[inline(never)]
    fn grow(&mut self, length: usize) {
        let room = length.min(STRETCH).wrapping_add(BEYOND);
        // All positions were another chunk's.
        self.list.clear();
        self.list.reserve_exact(room);
        self.list.resize(room, NOWHERE);
        self.clear();
    }

    pub(super) fn put_back(&mut self, next: usize) {
        self.next = next;
    }
}

/// A walk from token to token. Small enough to live in registers, as long as nothing takes its address.
pub(super) struct Walk<'w> {
    pub(super) chunk: &'w [u8],
    list: &'w mut [u32],
    pub(super) next: usize,
}

impl Walk<'_> {
    /// The same walk for a while; where it came to is to be put into `next`.
    #[inline(always)]
    pub(super) fn lend(&mut self) -> Walk<'_> {
        Walk {
            chunk: self.chunk,
            list: &mut *self.list,
            next: self.next,
        }
    }

    /// The position after the closing quote of the string that starts with the quote at `at`, if all of it is in the chunk, with
    /// nothing special before the quote.
    #[inline(always)]
    pub(super) fn plain_string(&mut self, at: usize) -> Option<usize> {
        let (after, next) = match self.listed(at) {
            Some(after) => (Some(after), self.next.wrapping_add(2)),
            None => string_slowly(self.chunk, self.list, self.next, at, false),
        };
        self.next = next;
        after
    }

    /// As [`Self::plain_string`], for strings with escapes and beyond ASCII too, if they are valid.
    #[inline(always)]
    pub(super) fn whole_string(&mut self, at: usize) -> Option<usize> {
        let (after, next) = match self.listed(at) {
            Some(after) => (Some(after), self.next.wrapping_add(2)),
            None => string_slowly(self.chunk, self.list, self.next, at, true),
        };
        self.next = next;
        after
    }

    /// The member whose name starts with the quote at `at`, if it is written as servers write most: name and value plain strings, the
    /// colon between them alone or with one blank.
    #[inline(always)]
    pub(super) fn member(&self, at: usize) -> Option<Member> {
        let [open, close, _, last] = self.list.get(self.next..)?.first_chunk::<4>()?;
        let (close, last) = (*close as usize, *last as usize);
        let between = u32::from_le_bytes(*self.chunk.get(close..)?.first_chunk()?);
        let value = if between & 0x00ff_ffff == QUOTE_COLON_QUOTE {
            close.wrapping_add(2)
        } else if between == QUOTE_COLON_BLANK_QUOTE {
            close.wrapping_add(3)
        } else {
            return None;
        };
        // A mark may be of another special byte.
        let quoted = |at: usize| self.chunk.get(at) == Some(&b'"');
        (*open as usize == at && quoted(at) && quoted(last)).then_some(Member {
            named: close.wrapping_add(1),
            value,
            after: last.wrapping_add(1),
        })
    }

    /// Passes such a member.
    #[inline(always)]
    pub(super) fn pass_member(&mut self) {
        self.next = self.next.wrapping_add(4);
    }

    /// Where the next name starts, if a comma at `at` leads to one at once or on the next line.
    #[inline(always)]
    pub(super) fn next_name(&mut self, at: usize) -> Option<usize> {
        let name = at.wrapping_add(1);
        match self.chunk.get(at..)?.first_chunk()? {
            b",\"" => Some(name),
            b",\n" => {
                let start = self.indented(name)?;
                if self.chunk.get(start) != Some(&b'"') {
                    return None;
                }
                self.next = self.next.wrapping_add(1);
                Some(start)
            }
            _ => None,
        }
    }

    /// The position after the string at `at`, if its quotes are the next two marks.
    #[inline(always)]
    fn listed(&self, at: usize) -> Option<usize> {
        let [open, close] = self.list.get(self.next..)?.first_chunk()?;
        let close = *close as usize;
        (*open as usize == at && self.chunk.get(close) == Some(&b'"')).then_some(close.wrapping_add(1))
    }

    /// The position after the white space at `at`.
    #[inline(always)]
    pub(super) fn skip_space(&mut self, at: usize) -> usize {
        let Some(&byte) = self.chunk.get(at) else { return at };
        if byte > b' ' {
            return at;
        }
        // As behind a colon.
        let second = at.wrapping_add(1);
        if byte == b' ' && self.chunk.get(second).is_some_and(|byte| *byte > b' ') {
            return second;
        }
        if byte == b'\n'
            && let Some(start) = self.indented(at)
        {
            self.next = self.next.wrapping_add(1);
            return start;
        }
        let (after, next) = skip_slowly(self.chunk, self.list, self.next, at);
        self.next = next;
        after
    }

    /// Where the text of the line starts whose line feed is at `at`, if that is the next mark and blanks alone lead there.
    #[inline(always)]
    fn indented(&self, at: usize) -> Option<usize> {
        if *self.list.get(self.next)? as usize != at {
            return None;
        }
        let line = at.wrapping_add(1);
        let start = line.wrapping_add(short_indent(self.chunk.get(line..)?)?);
        (*self.chunk.get(start)? > b' ').then_some(start)
    }
}

#[inline(never)]
fn skip_slowly(chunk: &[u8], list: &[u32], next: usize, at: usize) -> (usize, usize) {
    let after = at.wrapping_add(blank_run(chunk.get(at..).unwrap_or_default()));
    (after, pass(list, next, after))
}

/// The first mark from `next` on that is not before `at`.
fn pass(list: &[u32], mut next: usize, at: usize) -> usize {
    while list.get(next).is_some_and(|mark| (*mark as usize) < at) {
        next = next.wrapping_add(1);
    }
    next
}

/// Strings that the list does not hold to the end, and, if they are asked for, those with something special in them. Also
/// where the list is to be read on.
#[cold]
#[inline(never)]
fn string_slowly(chunk: &[u8], list: &mut [u32], next: usize, at: usize, rich: bool) -> (Option<usize>, usize) {
    let mut next = pass(list, next, at);
    let two = |list: &[u32], next| list.get(next..).and_then(<[u32]>::first_chunk).copied();
    if !two(list, next).is_some_and(|[open, close]| open as usize == at && close != NOWHERE) {
        fill(chunk, list, at);
        next = 0;
    }
    if let Some([open, close]) = two(list, next)
        && open as usize == at
        && chunk.get(close as usize) == Some(&b'"')
    {
        return (Some((close as usize).wrapping_add(1)), next.wrapping_add(2));
    }
    let after = rich.then(|| rich_string(chunk, at.wrapping_add(1)).0.ok()).flatten();
    (after, pass(list, next, after.unwrap_or(at)))
}

/// Lists the marks of the stretch that starts at `at`.
fn fill(chunk: &[u8], list: &mut [u32], at: usize) {
    let stretch = list.len().saturating_sub(BEYOND);
    let end = chunk.len().min(at.saturating_add(stretch));
    // A chunk that long has no marks, and so takes the long way.
    let filled = match chunk.get(at..end) {
        Some(stretch) if chunk.len() < NOWHERE as usize => list_specials(stretch, at as u32, list),
        _ => 0,
    };
    for slot in list.iter_mut().skip(filled).take(2) {
        *slot = NOWHERE;
    }
}
