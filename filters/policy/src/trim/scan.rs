//! The tokens of JSON, scanned where they lie and resumed wherever a chunk ended. Validates RFC 8259 and RFC 3629.

use super::Fault;
use super::simd::{blank_run, plain_run, text_run};

/// A fault, and where in the chunk it is.
pub(super) struct Stop {
    pub(super) fault: Fault,
    pub(super) at: usize,
}

/// The position after the white space at `at`.
#[inline]
pub(super) fn skip_space(chunk: &[u8], at: usize) -> usize {
    match chunk.get(at) {
        Some(0..=b' ') => at.wrapping_add(blank_run(chunk.get(at..).unwrap_or_default())),
        _ => at,
    }
}

/// The short way through a string that starts at `at`, behind its quote: the position after its closing quote, if it is in
/// the chunk, with nothing special before it.
#[inline]
pub(super) fn plain_string(chunk: &[u8], at: usize) -> Option<usize> {
    let end = at.wrapping_add(plain_run(chunk.get(at..)?));
    // A branch, which is foreseen: the next position must not wait for this byte.
    (chunk.get(end) == Some(&b'"')).then_some(end.wrapping_add(1))
}

/// The position after the closing quote of a string, or else the place up to which a [`StringScan`] has nothing to find;
/// and whether a backslash was passed.
#[cold]
#[inline(never)]
pub(super) fn rich_string(chunk: &[u8], mut at: usize) -> (Result<usize, usize>, bool) {
    let mut escaped = false;
    loop {
        at = at.wrapping_add(plain_run(chunk.get(at..).unwrap_or_default()));
        let rest = chunk.get(at..).unwrap_or_default();
        let passed = match rest {
            [b'"', ..] => return (Ok(at.wrapping_add(1)), escaped),
            [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => {
                escaped = true;
                2
            }
            [b'\\', b'u', a, b, c, d, ..] if is_one_unit([*a, *b, *c, *d]) => {
                escaped = true;
                6
            }
            // One letter among ASCII, as in most names.
            [0xc2..=0xdf, 0x80..=0xbf, ..0x80, ..] => 2,
            [0x80..=0xff, ..] => {
                let text = rest.get(..text_run(rest)).unwrap_or_default();
                match std::str::from_utf8(text) {
                    Ok(_) => text.len(),
                    Err(error) => return (Err(at.wrapping_add(error.valid_up_to())), escaped),
                }
            }
            _ => return (Err(at), escaped),
        };
        at = at.wrapping_add(passed);
    }
}

/// Whether four digits of `\u` stand for a character on their own, being no half of a surrogate pair.
fn is_one_unit(digits: [u8; 4]) -> bool {
    digits.iter().all(u8::is_ascii_hexdigit)
        && !matches!(digits, [b'd' | b'D', b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F', ..])
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
            if let Part::Plain = self.part
                && at < chunk.len()
            {
                let (ended, escaped) = rich_string(chunk, at);
                self.escaped |= escaped;
                match ended {
                    Ok(after) => return Ok(Some(after)),
                    Err(stopped) => at = stopped,
                }
            }
            let Some(&byte) = chunk.get(at) else {
                return Ok(None);
            };
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

/// The short way through a number or literal that starts at `at`: the position after it, if all of it and one byte more
/// are in the chunk and it is valid.
#[inline]
pub(super) fn plain_scalar(chunk: &[u8], at: usize) -> Option<usize> {
    let rest = chunk.get(at..)?;
    match rest {
        [b'-' | b'0'..=b'9', ..] => plain_number(chunk, at),
        [b't', b'r', b'u', b'e', _, ..] | [b'n', b'u', b'l', b'l', _, ..] => Some(at.wrapping_add(4)),
        [b'f', b'a', b'l', b's', b'e', _, ..] => Some(at.wrapping_add(5)),
        _ => None,
    }
}

#[inline]
fn plain_number(chunk: &[u8], mut at: usize) -> Option<usize> {
    let digits = |mut at: usize| {
        let start = at;
        while let Some(b'0'..=b'9') = chunk.get(at) {
            at = at.wrapping_add(1);
        }
        (at != start).then_some(at)
    };
    if chunk.get(at) == Some(&b'-') {
        at = at.wrapping_add(1);
    }
    at = match chunk.get(at)? {
        b'0' => at.wrapping_add(1),
        _ => digits(at)?,
    };
    let mut next = *chunk.get(at)?;
    if next == b'.' {
        at = digits(at.wrapping_add(1))?;
        next = *chunk.get(at)?;
    }
    if matches!(next, b'e' | b'E') {
        at = at.wrapping_add(1);
        if let b'+' | b'-' = chunk.get(at)? {
            at = at.wrapping_add(1);
        }
        at = digits(at)?;
        next = *chunk.get(at)?;
    }
    match next {
        b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E' => None,
        _ => Some(at),
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
    use proptest::prelude::*;

    use super::*;

    /// What the short ways accept, the long ones accept alike; and they find nothing wrong before the place that is named.
    fn short_ways_agree(bytes: &[u8]) {
        for at in 0..bytes.len() {
            if let Some(after) = plain_scalar(bytes, at)
                && matches!(bytes[at], b'-' | b'0'..=b'9')
            {
                let found = NumberScan::Start.scan(bytes, at).map_err(|stop| stop.fault);
                assert_eq!(found, Ok(Some(after)), "{}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn numbers_end_where_they_end() {
        for (text, length) in [
            ("0,", Some(1)),
            ("-0]", Some(2)),
            ("120 ", Some(3)),
            ("1.50}", Some(4)),
            ("1e5\n", Some(3)),
            ("-1.2E+30x", Some(8)),
            ("12", None),
            ("01,", None),
            ("-,", None),
            ("1.,", None),
            ("1e,", None),
            ("1.2.3,", None),
            ("1e+,", None),
            ("true,", Some(4)),
            ("false]", Some(5)),
            ("null}", Some(4)),
            ("null", None),
            ("nul,", None),
            ("tru", None),
            ("falze,", None),
        ] {
            assert_eq!(plain_scalar(text.as_bytes(), 0), length, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_number_is_taken_for_another(bytes in prop::collection::vec(prop::sample::select(b"0019-+.eE, ]".to_vec()), 0..14)) {
            short_ways_agree(&bytes);
        }

        /// Over any cut, the long way from the first byte on and the short way find the same end or the same fault.
        #[test]
        fn strings_end_alike_in_one_piece_and_in_many(
            bytes in prop::collection::vec(prop::sample::select(vec![
                &b"a"[..], b"plain text, rather long", b"\"", b"\\", b"\\\"", b"\\n", b"\\u00e9", b"\\uD83D\\uDE00", b"\\ud800", b"\\udc00", b"\\u12g",
                b"\xc3\xa9", b"\xc3\xa9\xc3\xa9", b"\xe2\x82\xac", b"\xf0\x9f\x98\x80", b"\xc3", b"\x80", b"\xed\xa0\x80", b"\x1f",
            ]), 0..12),
            size in 1..20usize,
        ) {
            let bytes = bytes.concat();
            let whole = StringScan::new().scan(&bytes, 0).map_err(|stop| (stop.fault, stop.at));
            let mut scan = StringScan::new();
            let mut pieces = Ok(None);
            for (n, piece) in bytes.chunks(size).enumerate() {
                pieces = scan.scan(piece, 0).map_err(|stop| (stop.fault, n * size + stop.at));
                if let Ok(Some(after)) = pieces {
                    pieces = Ok(Some(n * size + after));
                }
                if pieces != Ok(None) {
                    break;
                }
            }
            prop_assert_eq!(pieces, whole);
            if let Ok(after) = rich_string(&bytes, 0).0 {
                prop_assert_eq!(whole, Ok(Some(after)));
                let text = std::str::from_utf8(&bytes[..after - 1]);
                let parsed = text.ok().and_then(|text| serde_json::from_str::<String>(&format!("\"{text}\"")).ok());
                prop_assert!(parsed.is_some());
            }
        }
    }
}
