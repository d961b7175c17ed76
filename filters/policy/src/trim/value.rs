//! One value whose fate is decided: only validation and depth are left, with nothing to match and nothing to copy.

use super::Fault;
use super::scan::{NumberScan, Stop, StringScan, plain_string, skip_space};

/// Reads one value, from its first byte to its last, over any number of chunks.
pub(super) struct ValueScan {
    at: At,
    /// The open containers, outermost first: true for an object.
    open: Vec<bool>,
    /// How many containers may be open.
    room: usize,
    string: StringScan,
    number: NumberScan,
    literal: &'static [u8],
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
            open: Vec::new(),
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

    /// The short way through a name whose opening quote was read, and through the colon that follows at once.
    #[inline]
    fn begin_name(&mut self, chunk: &[u8], i: usize) -> (usize, At) {
        match plain_string(chunk, i) {
            Ok(after) if chunk.get(after) == Some(&b':') => (after.wrapping_add(1), At::Value),
            Ok(after) => (after, At::Colon),
            Err(special) => {
                self.string = StringScan::new();
                (special, At::InName)
            }
        }
    }

    /// Goes on at `i`: the position reached, and whether the value ended there.
    #[inline]
    pub(super) fn scan(&mut self, chunk: &[u8], mut i: usize) -> Result<(usize, bool), Stop> {
        let mut at = self.at;
        loop {
            let ended = match at {
                At::Value | At::FirstElement => {
                    i = skip_space(chunk, i);
                    let Some(&byte) = chunk.get(i) else { break };
                    match byte {
                        b'"' => {
                            i = i.wrapping_add(1);
                            match plain_string(chunk, i) {
                                Ok(after) => Some(after),
                                Err(special) => {
                                    self.string = StringScan::new();
                                    at = At::InString;
                                    self.string.scan(chunk, special)?
                                }
                            }
                        }
                        b'{' | b'[' => {
                            if self.open.len() >= self.room {
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
                            (i, at) = self.begin_name(chunk, i);
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
                            at = if *object { At::Name } else { At::Value };
                            i = i.wrapping_add(1);
                            if *object && chunk.get(i) == Some(&b'"') {
                                i = i.wrapping_add(1);
                                (i, at) = self.begin_name(chunk, i);
                            }
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
