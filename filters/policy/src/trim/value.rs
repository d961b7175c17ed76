//! One value whose fate is decided: only validation and depth are left, with nothing to match and nothing to copy.

use super::Fault;
use super::marks::{Marks, Walk};
use super::scan::{NumberScan, Stop, StringScan, plain_scalar, skip_space};

/// Reads one value, from its first byte to its last, over any number of chunks.
pub(super) struct ValueScan {
    at: At,
    open: Open,
    /// How many containers may be open.
    room: usize,
    string: StringScan,
    number: NumberScan,
    literal: &'static [u8],
}

/// The open containers, a bit for each: set for an object.
#[derive(Default)]
struct Open {
    depth: usize,
    /// The innermost up to 64, the innermost of all lowest.
    top: u64,
    /// The others, outermost first.
    rest: Vec<u64>,
}

impl Open {
    fn clear(&mut self) {
        self.depth = 0;
        self.rest.clear();
    }

    fn is_empty(&self) -> bool {
        self.depth == 0
    }

    #[inline]
    fn push(&mut self, object: bool) {
        if self.depth & 63 == 0 && self.depth != 0 {
            self.rest.push(self.top);
        }
        self.top = self.top << 1 | u64::from(object);
        self.depth = self.depth.wrapping_add(1);
    }

    #[inline]
    fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.top >>= 1;
        if self.depth & 63 == 0
            && let Some(top) = self.rest.pop()
        {
            self.top = top;
        }
    }

    /// Whether the innermost is an object; none is open, none.
    #[inline]
    fn last(&self) -> Option<bool> {
        (self.depth != 0).then_some(self.top & 1 == 1)
    }
}

#[derive(Clone, Copy)]
enum At {
    Value,
    FirstElement,
    FirstName,
    Name,
    InName,
    Colon,
    InString,
    InNumber,
    InLiteral,
    After,
}

impl ValueScan {
    pub(super) fn new() -> ValueScan {
        ValueScan {
            at: At::Value,
            open: Open::default(),
            room: 0,
            string: StringScan::new(),
            number: NumberScan::Start,
            literal: &[],
        }
    }

    /// A new value starts, at most `room` containers deep.
    pub(super) fn begin(&mut self, room: usize) {
        self.at = At::Value;
        self.open.clear();
        self.room = room;
    }

    /// Whether the value is a number on its own that may end where the input ends.
    pub(super) fn may_end(&self) -> bool {
        self.open.is_empty() && matches!(self.at, At::InNumber) && self.number.complete()
    }

    /// The memory that the scan holds on to beside its own size, in bytes.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.open.rest.capacity().saturating_mul(size_of::<u64>())
    }

    /// The short way through members and elements that lie whole in the chunk, from `at` at `i`: how far it leads, which
    /// is [`At::After`] with nothing open when the value ended. It takes no token that is not plain and valid.
    #[inline(never)]
    fn hurry(&mut self, mut walk: Walk<'_>, mut i: usize, mut at: At) -> (usize, At, usize) {
        let chunk = walk.chunk;
        let Some(mut object) = self.open.last() else {
            return (i, at, walk.next);
        };
        let mut inside = match at {
            At::After => false,
            At::Name | At::FirstName => object,
            At::Value | At::FirstElement => !object,
            _ => return (i, at, walk.next),
        };
        if !inside && !matches!(at, At::After) {
            return (i, at, walk.next);
        }
        let reached = 'walk: loop {
            if inside {
                let mut value = walk.skip_space(i);
                if object {
                    if chunk.get(value) != Some(&b'"') {
                        break (i, at);
                    }
                    while let Some(member) = walk.member(value) {
                        walk.pass_member();
                        (i, at) = (member.after, At::After);
                        match walk.next_name(i) {
                            Some(name) => (value, i, at) = (name, name, At::Name),
                            None => break,
                        }
                    }
                    if matches!(at, At::After) {
                        inside = false;
                        continue;
                    }
                    let Some(after) = walk.whole_string(value) else {
                        break (i, at);
                    };
                    let colon = walk.skip_space(after);
                    if chunk.get(colon) != Some(&b':') {
                        break (i, at);
                    }
                    value = walk.skip_space(colon.wrapping_add(1));
                }
                let Some(&byte) = chunk.get(value) else { break (i, at) };
                let after = match byte {
                    b'"' => walk.whole_string(value),
                    b'{' | b'[' => {
                        if self.open.depth >= self.room {
                            break (i, at);
                        }
                        object = byte == b'{';
                        self.open.push(object);
                        i = walk.skip_space(value.wrapping_add(1));
                        let close = if object { b'}' } else { b']' };
                        if chunk.get(i) == Some(&close) {
                            // The loop below takes it.
                            Some(i)
                        } else {
                            at = if object { At::FirstName } else { At::FirstElement };
                            continue;
                        }
                    }
                    _ => plain_scalar(chunk, value),
                };
                let Some(after) = after else { break (i, at) };
                i = after;
            }
            // What is behind a value: the ends of containers, then a comma.
            loop {
                i = walk.skip_space(i);
                match chunk.get(i) {
                    Some(b',') => break,
                    Some(b'}') if object => {}
                    Some(b']') if !object => {}
                    _ => break 'walk (i, At::After),
                }
                i = i.wrapping_add(1);
                self.open.pop();
                match self.open.last() {
                    Some(outer) => object = outer,
                    None => break 'walk (i, At::After),
                }
            }
            i = i.wrapping_add(1);
            at = if object { At::Name } else { At::Value };
            inside = true;
        };
        (reached.0, reached.1, walk.next)
    }

    /// The short way through a whole container that starts with `byte` at `i`, at most `room` deep: the position after it,
    /// if all of it is in the chunk and valid.
    #[inline(always)]
    pub(super) fn whole(&mut self, walk: &mut Walk<'_>, i: usize, byte: u8, room: usize) -> Option<usize> {
        let (object, inner) = (byte == b'{', i.wrapping_add(1));
        self.begin(room);
        if room == 0 {
            return None;
        }
        if walk.chunk.get(inner) == Some(if object { &b'}' } else { &b']' }) {
            return Some(inner.wrapping_add(1));
        }
        self.open.push(object);
        let at = if object { At::FirstName } else { At::FirstElement };
        let (after, _, next) = self.hurry(walk.lend(), inner, at);
        walk.next = next;
        self.open.is_empty().then_some(after)
    }

    /// Goes on at `i`: the position reached, and whether the value ended there.
    #[inline]
    pub(super) fn scan(&mut self, marks: &mut Marks, chunk: &[u8], mut i: usize) -> Result<(usize, bool), Stop> {
        let mut at = self.at;
        loop {
            let next;
            (i, at, next) = self.hurry(marks.walk(chunk), i, at);
            marks.put_back(next);
            if self.open.is_empty() && matches!(at, At::After) {
                return Ok((i, true));
            }
            let ended = match at {
                At::Value | At::FirstElement => {
                    i = skip_space(chunk, i);
                    let Some(&byte) = chunk.get(i) else { break };
                    match byte {
                        b'"' => {
                            self.string = StringScan::new();
                            at = At::InString;
                            self.string.scan(chunk, i.wrapping_add(1))?
                        }
                        b'{' | b'[' => {
                            if self.open.depth >= self.room {
                                return Err(Stop {
                                    fault: Fault::Depth,
                                    at: i,
                                });
                            }
                            let object = byte == b'{';
                            self.open.push(object);
                            at = if object { At::FirstName } else { At::FirstElement };
                            i = i.wrapping_add(1);
                            continue;
                        }
                        b']' if matches!(at, At::FirstElement) => {
                            self.open.pop();
                            Some(i.wrapping_add(1))
                        }
                        b'-' | b'0'..=b'9' => {
                            self.number = NumberScan::Start;
                            at = At::InNumber;
                            self.number.scan(chunk, i)?
                        }
                        b't' | b'f' | b'n' => {
                            self.literal = match byte {
                                b't' => b"true",
                                b'f' => b"false",
                                _ => b"null",
                            };
                            at = At::InLiteral;
                            continue;
                        }
                        _ => {
                            return Err(Stop {
                                fault: Fault::Value,
                                at: i,
                            });
                        }
                    }
                }
                At::InString => self.string.scan(chunk, i)?,
                At::InNumber => self.number.scan(chunk, i)?,
                At::InLiteral => loop {
                    let Some((wanted, rest)) = self.literal.split_first() else {
                        break Some(i);
                    };
                    match chunk.get(i) {
                        None => break None,
                        Some(byte) if byte == wanted => self.literal = rest,
                        Some(_) => {
                            return Err(Stop {
                                fault: Fault::Literal,
                                at: i,
                            });
                        }
                    }
                    i = i.wrapping_add(1);
                },
                At::FirstName | At::Name => {
                    i = skip_space(chunk, i);
                    match chunk.get(i) {
                        None => break,
                        Some(b'"') => {
                            i = i.wrapping_add(1);
                            self.string = StringScan::new();
                            at = At::InName;
                            continue;
                        }
                        Some(b'}') if matches!(at, At::FirstName) => {
                            self.open.pop();
                            Some(i.wrapping_add(1))
                        }
                        Some(_) => {
                            return Err(Stop {
                                fault: Fault::Name,
                                at: i,
                            });
                        }
                    }
                }
                At::InName => {
                    let Some(after) = self.string.scan(chunk, i)? else {
                        i = chunk.len();
                        break;
                    };
                    i = after;
                    at = At::Colon;
                    continue;
                }
                At::Colon => {
                    i = skip_space(chunk, i);
                    match chunk.get(i) {
                        None => break,
                        Some(b':') => {
                            i = i.wrapping_add(1);
                            at = At::Value;
                            continue;
                        }
                        Some(_) => {
                            return Err(Stop {
                                fault: Fault::Colon,
                                at: i,
                            });
                        }
                    }
                }
                At::After => {
                    i = skip_space(chunk, i);
                    match (chunk.get(i), self.open.last()) {
                        (None, _) => break,
                        (Some(b','), Some(object)) => {
                            at = if object { At::Name } else { At::Value };
                            i = i.wrapping_add(1);
                            continue;
                        }
                        (Some(b'}'), Some(true)) | (Some(b']'), Some(false)) => {
                            self.open.pop();
                            Some(i.wrapping_add(1))
                        }
                        _ => {
                            return Err(Stop {
                                fault: Fault::Comma,
                                at: i,
                            });
                        }
                    }
                }
            };
            let Some(after) = ended else {
                i = chunk.len();
                break;
            };
            i = after;
            if self.open.is_empty() {
                return Ok((i, true));
            }
            at = At::After;
        }
        self.at = at;
        Ok((i, false))
    }
}
