//! DEFLATE (RFC 1951) and its zlib wrapper (RFC 1950).

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_COMPUTE_ADLER32, TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_PARSE_ZLIB_HEADER,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use super::{Fault, Sink};

/// The farthest that DEFLATE looks back.
const WINDOW: usize = 32 << 10;

/// One DEFLATE stream, bare or in zlib's wrapper.
pub(super) struct Inflate {
    core: DecompressorOxide,
    window: Box<[u8]>,
    at: usize,
    flags: u32,
    done: bool,
}

impl Inflate {
    pub(super) fn bare() -> Inflate {
        Inflate {
            core: DecompressorOxide::new(),
            window: vec![0; WINDOW].into_boxed_slice(),
            at: 0,
            flags: TINFL_FLAG_HAS_MORE_INPUT,
            done: false,
        }
    }

    fn wrapped() -> Inflate {
        let mut inflate = Inflate::bare();
        inflate.flags |= TINFL_FLAG_PARSE_ZLIB_HEADER | TINFL_FLAG_COMPUTE_ADLER32;
        inflate
    }

    /// The next stream begins.
    pub(super) fn reset(&mut self) {
        self.core.init();
        self.at = 0;
        self.done = false;
    }

    pub(super) fn done(&self) -> bool {
        self.done
    }

    /// Decodes up to the end of the stream, or of the input: what is left of it.
    pub(super) fn push<'a>(&mut self, mut input: &'a [u8], sink: &mut Sink<'_>) -> Result<&'a [u8], Fault> {
        while !self.done {
            let (status, read, wrote) = decompress(&mut self.core, input, &mut self.window, self.at, self.flags);
            input = input.get(read..).ok_or(Fault::Data)?;
            let end = self.at.saturating_add(wrote);
            let made = self.window.get(self.at..end).ok_or(Fault::Data)?;
            if !made.is_empty() {
                sink(made)?;
            }
            // The window is a ring: what comes next goes to its start.
            self.at = if end >= WINDOW { 0 } else { end };
            match status {
                TINFLStatus::Done => self.done = true,
                TINFLStatus::NeedsMoreInput => return Ok(input),
                // Something was made, or the ring was full: so every turn goes on.
                TINFLStatus::HasMoreOutput => {}
                TINFLStatus::Adler32Mismatch => return Err(Fault::Checksum),
                _ => return Err(Fault::Data),
            }
        }
        Ok(input)
    }
}

/// A body in the coding `deflate`.
pub(super) struct Deflate {
    state: State,
}

enum State {
    Start,
    /// The first byte came.
    First(u8),
    Running(Box<Inflate>),
}

impl Deflate {
    pub(super) fn new() -> Deflate {
        Deflate { state: State::Start }
    }

    pub(super) fn may_end(&self) -> bool {
        matches!(&self.state, State::Running(inflate) if inflate.done())
    }

    pub(super) fn push(&mut self, mut input: &[u8], sink: &mut Sink<'_>) -> Result<(), Fault> {
        while let Some((byte, rest)) = input.split_first() {
            match &mut self.state {
                State::Start => {
                    self.state = State::First(*byte);
                    input = rest;
                }
                State::First(first) => {
                    let first = *first;
                    let mut inflate = match is_zlib(first, *byte) {
                        true => Inflate::wrapped(),
                        false => Inflate::bare(),
                    };
                    inflate.push(&[first], sink)?;
                    self.state = State::Running(Box::new(inflate));
                }
                State::Running(inflate) if inflate.done() => return Err(Fault::Trailing),
                State::Running(inflate) => input = inflate.push(input, sink)?,
            }
        }
        Ok(())
    }
}

/// Whether these two bytes are a header of RFC 1950 2.2: DEFLATE, a window of at most 32 KiB, and the check bits.
fn is_zlib(first: u8, second: u8) -> bool {
    first & 0x0f == 8 && first >> 4 <= 7 && u16::from_be_bytes([first, second]).is_multiple_of(31)
}
