//! The tokens of JSON, scanned where they lie and resumed wherever a chunk ended. Validates RFC 8259 and RFC 3629.

use super::Fault;

/// A fault, and where in the chunk it is.
pub(super) struct Stop {
    pub(super) fault: Fault,
    pub(super) at: usize,
}

/// The position after the white space at `at`.
#[inline]
pub(super) fn skip_space(chunk: &[u8], mut at: usize) -> usize {
    match chunk.get(at) {
        Some(b' ' | b'\n' | b'\r' | b'\t') => {}
        _ => return at,
    }
    at = at.wrapping_add(1);
    // Indentation: runs of blanks, a word at a time.
    while let Some(rest) = chunk.get(at..) {
        match rest.first_chunk::<8>() {
            Some(word) if u64::from_le_bytes(*word) == 0x2020_2020_2020_2020 => at = at.wrapping_add(8),
            _ => break,
        }
    }
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = chunk.get(at) {
        at = at.wrapping_add(1);
    }
    at
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// How many bytes from the start need no look: ASCII without quotes, backslashes and controls.
///
/// This is the one loop that touches every byte of a string, so the place for wider words.
#[inline]
fn plain_run(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    let mut run = 0usize;
    while let Some((word, tail)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        let quote = word ^ 0x2222_2222_2222_2222;
        let backslash = word ^ 0x5c5c_5c5c_5c5c_5c5c;
        // A subtraction borrows from the next byte only where it found something, so the lowest mark is exact. Bytes
        // over 0x7f mark themselves.
        let control = word.wrapping_sub(0x2020_2020_2020_2020);
        let marks = (quote.wrapping_sub(ONES) | backslash.wrapping_sub(ONES) | control | word) & HIGHS;
        if marks != 0 {
            return run.wrapping_add((marks.trailing_zeros() >> 3) as usize);
        }
        run = run.wrapping_add(8);
        rest = tail;
    }
    for byte in rest {
        if *byte < 0x20 || *byte == b'"' || *byte == b'\\' || *byte > 0x7f {
            break;
        }
        run = run.wrapping_add(1);
    }
    run
}

/// The short way through a string that starts at `at`, behind its quote: the position after its closing quote, or else the
/// place up to which a [`StringScan`] has nothing to find.
#[inline]
pub(super) fn plain_string(chunk: &[u8], at: usize) -> Result<usize, usize> {
    let rest = chunk.get(at..).unwrap_or_default();
    let run = plain_run(rest);
    let end = at.wrapping_add(run);
    if rest.get(run) == Some(&b'"') {
        Ok(end.wrapping_add(1))
    } else {
        Err(end)
    }
}

/// A string whose opening quote was read.
#[derive(Clone, Copy)]
pub(super) struct StringScan {
    part: Part,
    /// A backslash was seen.
    pub(super) escaped: bool,
}

#[derive(Clone, Copy)]
enum Part {
    Plain,
    /// After a backslash.
    Escape,
    /// Inside `\uXXXX`; `second` when it must be the second half of a surrogate pair.
    Hex {
        left: u8,
        value: u16,
        second: bool,
    },
    /// After the first half of a surrogate pair: its second half follows, or the string is not Unicode.
    PairBackslash,
    PairU,
    /// Inside a UTF-8 sequence: `left` bytes to come, the next within the range.
    Tail {
        left: u8,
        low: u8,
        high: u8,
    },
}

impl StringScan {
    pub(super) fn new() -> StringScan {
        StringScan {
            part: Part::Plain,
            escaped: false,
        }
    }

    /// Goes on at `at`; the position after the closing quote, or nothing when the chunk ends first.
    #[inline]
    pub(super) fn scan(&mut self, chunk: &[u8], mut at: usize) -> Result<Option<usize>, Stop> {
        loop {
            if let Part::Plain = self.part {
                at = at.wrapping_add(plain_run(chunk.get(at..).unwrap_or_default()));
            }
            let Some(&byte) = chunk.get(at) else {
                return Ok(None);
            };
            if byte == b'"' && matches!(self.part, Part::Plain) {
                return Ok(Some(at.wrapping_add(1)));
            }
            self.part = self.next(byte).map_err(|fault| Stop { fault, at })?;
            at = at.wrapping_add(1);
        }
    }

    fn next(&mut self, byte: u8) -> Result<Part, Fault> {
        Ok(match self.part {
            Part::Plain => match byte {
                b'\\' => {
                    self.escaped = true;
                    Part::Escape
                }
                0..0x20 => return Err(Fault::Control),
                // RFC 3629 section 4, the table of well-formed sequences.
                0xc2..=0xdf => Part::Tail {
                    left: 1,
                    low: 0x80,
                    high: 0xbf,
                },
                0xe0 => Part::Tail {
                    left: 2,
                    low: 0xa0,
                    high: 0xbf,
                },
                0xed => Part::Tail {
                    left: 2,
                    low: 0x80,
                    high: 0x9f,
                },
                0xe1..=0xef => Part::Tail {
                    left: 2,
                    low: 0x80,
                    high: 0xbf,
                },
                0xf0 => Part::Tail {
                    left: 3,
                    low: 0x90,
                    high: 0xbf,
                },
                0xf1..=0xf3 => Part::Tail {
                    left: 3,
                    low: 0x80,
                    high: 0xbf,
                },
                0xf4 => Part::Tail {
                    left: 3,
                    low: 0x80,
                    high: 0x8f,
                },
                0x80.. => return Err(Fault::Utf8),
                _ => Part::Plain,
            },
            Part::Tail { left, low, high } => {
                if !(low..=high).contains(&byte) {
                    return Err(Fault::Utf8);
                }
                match left {
                    0 | 1 => Part::Plain,
                    _ => Part::Tail {
                        left: left.wrapping_sub(1),
                        low: 0x80,
                        high: 0xbf,
                    },
                }
            }
            Part::Escape => match byte {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Part::Plain,
                b'u' => Part::Hex {
                    left: 4,
                    value: 0,
                    second: false,
                },
                _ => return Err(Fault::Escape),
            },
            Part::Hex { left, value, second } => {
                let digit = char::from(byte).to_digit(16).ok_or(Fault::Escape)?;
                let value = (value << 4) | digit as u16;
                match (left, value) {
                    (2.., _) => Part::Hex {
                        left: left.wrapping_sub(1),
                        value,
                        second,
                    },
                    (_, 0xdc00..=0xdfff) if second => Part::Plain,
                    (_, 0xd800..=0xdbff) if !second => Part::PairBackslash,
                    (_, 0xd800..=0xdfff) => return Err(Fault::Surrogate),
                    _ if second => return Err(Fault::Surrogate),
                    _ => Part::Plain,
                }
            }
            Part::PairBackslash if byte == b'\\' => Part::PairU,
            Part::PairU if byte == b'u' => Part::Hex {
                left: 4,
                value: 0,
                second: true,
            },
            Part::PairBackslash | Part::PairU => return Err(Fault::Surrogate),
        })
    }
}

/// A number, RFC 8259 section 6, by what was read last.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberScan {
    Start,
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    E,
    Sign,
    Exponent,
}

impl NumberScan {
    /// Whether the number may end here.
    pub(super) fn complete(self) -> bool {
        matches!(
            self,
            NumberScan::Zero | NumberScan::Integer | NumberScan::Fraction | NumberScan::Exponent
        )
    }

    /// Goes on at `at`; the position after the number, or nothing when the chunk ends first.
    #[inline]
    pub(super) fn scan(&mut self, chunk: &[u8], mut at: usize) -> Result<Option<usize>, Stop> {
        use NumberScan as N;
        while let Some(&byte) = chunk.get(at) {
            *self = match (*self, byte) {
                (N::Start, b'-') => N::Minus,
                (N::Start | N::Minus, b'0') => N::Zero,
                (N::Start | N::Minus | N::Integer, b'0'..=b'9') => N::Integer,
                (N::Zero | N::Integer, b'.') => N::Point,
                (N::Point | N::Fraction, b'0'..=b'9') => N::Fraction,
                (N::Zero | N::Integer | N::Fraction, b'e' | b'E') => N::E,
                (N::E, b'+' | b'-') => N::Sign,
                (N::E | N::Sign | N::Exponent, b'0'..=b'9') => N::Exponent,
                (state, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E') if state.complete() => {
                    return Err(Stop {
                        fault: Fault::Number,
                        at,
                    });
                }
                (state, _) if state.complete() => return Ok(Some(at)),
                _ => {
                    return Err(Stop {
                        fault: Fault::Number,
                        at,
                    });
                }
            };
            at = at.wrapping_add(1);
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_run_ends_at_the_first_byte_that_matters() {
        for special in (0u8..=255).filter(|byte| *byte < 0x20 || *byte > 0x7f || matches!(byte, b'"' | b'\\')) {
            for before in 0..20 {
                let mut bytes = vec![b'!'; before];
                bytes.push(special);
                bytes.extend(b"\"\\\x00\x80 ]~\x7f###########");
                assert_eq!(plain_run(&bytes), before, "{special:#x} after {before}");
            }
        }
        for plain in (0x20u8..0x80).filter(|byte| !matches!(byte, b'"' | b'\\')) {
            assert_eq!(plain_run(&[plain; 19]), 19);
        }
    }

    #[test]
    fn white_space_is_the_four_of_rfc_8259() {
        assert_eq!(skip_space(b"x", 0), 0);
        assert_eq!(skip_space(b"", 0), 0);
        assert_eq!(skip_space(b"\n                   \t\r\n x", 0), 24);
        assert_eq!(skip_space(b" \x0c", 0), 1);
        assert_eq!(skip_space(b"          ", 0), 10);
    }
}
