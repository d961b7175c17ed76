//! Decodes a body's content codings (RFC 9110 8.4) while it streams by, with what a body may ask for bounded.
//!
//! # Rules
//!
//! 1. Known are `gzip` and `x-gzip` (RFC 1952), `deflate` (RFC 1950), `br` (RFC 7932), `zstd` (RFC 8878, RFC 9659) and `identity`,
//!    which is dropped. Any other name, an empty member, and more than two codings are refused. The last applied is the first undone.
//! 2. What comes out comes in pieces of at most [`PIECE`] bytes, so that memory does not depend on how much a body grows.
//! 3. Refused is output over [`Caps::max_size`], and output over [`Caps::max_ratio`] times the input so far once it is over
//!    [`FREE`] bytes. Both hold for each coding of a list, against the bytes of the body itself.
//!    They do not bound a body without a coding.
//! 4. Refused is a window over [`Caps::window`], at most 8 MiB for `zstd` (RFC 9659 3); a dictionary; `br` with a large window.
//! 5. Refused is an early end, also of no bytes at all: none is a stream of no coding. So is anything behind the end.
//!    Several `gzip` members (RFC 1952 2.2), several `zstd` frames and skippable ones (RFC 8878 3.1) are one body.
//! 6. Checksums and lengths that are there must be right: CRC-32 and ISIZE, the header's CRC-16, Adler-32, XXH64, the frame's content size.
//! 7. `deflate` without the zlib wrapper, as some servers send it, is decoded too: where the first two bytes are no zlib header.
//!    A raw stream that looks like one would begin with a stored block whose padding is not zero, which no encoder writes.
//! 8. The first fault stays. What came out before it was right so far; the caller has to break the body off.
//!
//! Whether a body passes, and the bytes that come out, do not depend on how it is cut into chunks. Where a bomb is refused may, by up to 2 KiB of
//! input, and so may which of several faults is told.
//!
//! ```
//! use scrim_policy::decode::{Caps, Codings, Decoder};
//!
//! let codings = Codings::parse([&b"gzip"[..]].into_iter()).unwrap();
//! let body = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xab\xae\x05\0\x43\xbf\xa6\xa3\x02\0\0\0";
//! let mut decoder = Decoder::new(&codings, Caps::default());
//! let mut out = Vec::new();
//! for piece in body.chunks(5) {
//!     decoder.push(piece, false, &mut |piece| { out.extend_from_slice(piece); Ok::<(), ()>(()) }).unwrap();
//! }
//! decoder.push(b"", true, &mut |_| Ok::<(), ()>(())).unwrap();
//! assert_eq!(out, b"{}");
//! ```

mod brotli;
mod deflate;
mod gzip;
#[cfg(test)]
mod tests;
mod zstd;

use std::fmt;

use arrayvec::ArrayVec;

use self::brotli::Brotli;
use self::deflate::Deflate;
use self::gzip::Gzip;
use self::zstd::Zstd;

/// The most bytes that come out at once.
pub const PIECE: usize = 16 << 10;

/// How many bytes may come out of any input, whatever the ratio.
pub const FREE: u64 = 64 << 10;

/// How many codings one upon the other are undone.
const MAX_CODINGS: usize = 2;

/// Input is counted, and decoded, in steps of so many bytes.
const STEP: usize = 2 << 10;

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950, or RFC 1951 as it is.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// By its registered name, in any case.
    fn named(name: &[u8]) -> Option<Coding> {
        const NAMES: [(&[u8], Coding); 5] = [
            (b"gzip", Coding::Gzip),
            (b"x-gzip", Coding::Gzip),
            (b"deflate", Coding::Deflate),
            (b"br", Coding::Brotli),
            (b"zstd", Coding::Zstd),
        ];
        NAMES
            .iter()
            .find(|(known, _)| name.eq_ignore_ascii_case(known))
            .map(|(_, coding)| *coding)
    }
}

/// The codings of a body, in the order in which they were applied. None is the identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Codings(ArrayVec<Coding, MAX_CODINGS>);

impl Codings {
    /// Reads the lines of `Content-Encoding`.
    ///
    /// # Errors
    /// A code for metrics and audit: `content_encoding` for a coding that is not known, or for an empty member;
    /// `content_encoding_list` for more than two.
    pub fn parse<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<Codings, &'static str> {
        let mut codings = ArrayVec::new();
        for member in lines.flat_map(|line| line.split(|byte| *byte == b',')) {
            let name = member.trim_ascii();
            if name.eq_ignore_ascii_case(b"identity") {
                continue;
            }
            let coding = Coding::named(name).ok_or("content_encoding")?;
            codings.try_push(coding).map_err(|_| "content_encoding_list")?;
        }
        Ok(Codings(codings))
    }

    /// Whether the body is in the clear.
    pub fn is_identity(&self) -> bool {
        self.0.is_empty()
    }

    /// The codings, in the order in which they were applied.
    pub fn iter(&self) -> impl Iterator<Item = Coding> + '_ {
        self.0.iter().copied()
    }
}

/// How much a coded body may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// How many bytes may come out for each that went in, beyond the first [`FREE`].
    pub max_ratio: u32,
    /// How many bytes may come out.
    pub max_size: u64,
    /// How many bytes a decoder may look back, which is what it holds. For `zstd` it holds half as much again.
    pub window: usize,
}

impl Default for Caps {
    /// 200 times, 1 GiB, 8 MiB.
    fn default() -> Caps {
        Caps {
            max_ratio: 200,
            max_size: 1 << 30,
            window: 8 << 20,
        }
    }
}

/// What is wrong with a coded body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The stream does not begin as its coding does, or asks for what is not supported.
    Header,
    /// The stream is damaged.
    Data,
    /// A checksum or a length is wrong.
    Checksum,
    /// The body ends inside the stream.
    Truncated,
    /// Something follows the stream.
    Trailing,
    /// The window is too large.
    Window,
    /// A dictionary is asked for.
    Dictionary,
    /// Too much comes out for what went in.
    Ratio,
    /// Too much comes out.
    Size,
    /// The sink failed before, or the body had ended.
    Over,
}

impl Fault {
    /// A short name that stays the same between versions, for metrics and audit.
    pub fn code(self) -> &'static str {
        match self {
            Fault::Header => "decode_header",
            Fault::Data => "decode_data",
            Fault::Checksum => "decode_checksum",
            Fault::Truncated => "decode_truncated",
            Fault::Trailing => "decode_trailing",
            Fault::Window => "decode_window",
            Fault::Dictionary => "decode_dictionary",
            Fault::Ratio => "decode_ratio",
            Fault::Size => "decode_size",
            Fault::Over => "decode_over",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Header => "the body does not begin as its content coding does",
            Fault::Data => "the coded body is damaged",
            Fault::Checksum => "the coded body's checksum or length is wrong",
            Fault::Truncated => "the coded body ends early",
            Fault::Trailing => "something follows the coded body",
            Fault::Window => "the coded body needs too large a window",
            Fault::Dictionary => "the coded body needs a dictionary",
            Fault::Ratio => "the coded body grows too much",
            Fault::Size => "the decoded body is too large",
            Fault::Over => "the body is over",
        })
    }
}

impl std::error::Error for Fault {}

/// Why decoding stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError<E> {
    /// The body is at fault.
    Body(Fault),
    /// The sink failed, so.
    Sink(E),
}

/// Decodes one body.
pub struct Decoder {
    /// In the order in which they run: the last coding applied comes first.
    stages: ArrayVec<Stage, MAX_CODINGS>,
    meter: Meter,
    failed: Option<Fault>,
}

impl Decoder {
    /// Starts on a body.
    pub fn new(codings: &Codings, caps: Caps) -> Decoder {
        let stage = |coding| Stage {
            codec: match coding {
                Coding::Gzip => Codec::Gzip(Box::new(Gzip::new())),
                Coding::Deflate => Codec::Deflate(Box::new(Deflate::new())),
                Coding::Brotli => Codec::Brotli(Box::new(Brotli::new(caps.window))),
                Coding::Zstd => Codec::Zstd(Box::new(Zstd::new(caps.window))),
            },
            made: 0,
        };
        Decoder {
            stages: codings.0.iter().rev().copied().map(stage).collect(),
            meter: Meter { taken: 0, caps },
            failed: None,
        }
    }

    /// Takes the next bytes of the body and gives `sink` what they decode to. `end` says that no more come.
    ///
    /// # Errors
    /// The body's fault, or what the sink failed with. Every later call fails with the same fault, or with [`Fault::Over`].
    pub fn push<E>(
        &mut self,
        chunk: &[u8],
        end: bool,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), DecodeError<E>> {
        if let Some(fault) = self.failed {
            return Err(DecodeError::Body(fault));
        }
        let mut refusal = None;
        let mut pieces = |bytes: &[u8]| -> Result<(), Fault> {
            for piece in bytes.chunks(PIECE) {
                if let Err(error) = sink(piece) {
                    refusal = Some(error);
                    return Err(Fault::Over);
                }
            }
            Ok(())
        };
        let mut result = Ok(());
        for step in chunk.chunks(STEP) {
            self.meter.taken = self.meter.taken.saturating_add(step.len() as u64);
            result = feed(&mut self.stages, &self.meter, step, &mut pieces);
            if result.is_err() {
                break;
            }
        }
        if end && result.is_ok() {
            result = self.stages.iter().try_for_each(|stage| stage.codec.finish());
            self.failed = Some(Fault::Over);
        }
        result.map_err(|fault| {
            self.failed = Some(fault);
            refusal.map_or(DecodeError::Body(fault), DecodeError::Sink)
        })
    }
}

/// What one stage hands to the next.
type Sink<'a> = dyn FnMut(&[u8]) -> Result<(), Fault> + 'a;

struct Stage {
    codec: Codec,
    /// How many bytes it has given.
    made: u64,
}

enum Codec {
    Gzip(Box<Gzip>),
    Deflate(Box<Deflate>),
    Brotli(Box<Brotli>),
    Zstd(Box<Zstd>),
}

impl Codec {
    fn push(&mut self, input: &[u8], sink: &mut Sink<'_>) -> Result<(), Fault> {
        match self {
            Codec::Gzip(gzip) => gzip.push(input, sink),
            Codec::Deflate(deflate) => deflate.push(input, sink),
            Codec::Brotli(brotli) => brotli.push(input, sink),
            Codec::Zstd(zstd) => zstd.push(input, sink),
        }
    }

    /// No more comes: whether the stream may end here.
    fn finish(&self) -> Result<(), Fault> {
        let ended = match self {
            Codec::Gzip(gzip) => gzip.may_end(),
            Codec::Deflate(deflate) => deflate.may_end(),
            Codec::Brotli(brotli) => brotli.may_end(),
            Codec::Zstd(zstd) => zstd.may_end(),
        };
        if ended { Ok(()) } else { Err(Fault::Truncated) }
    }
}

struct Meter {
    /// How many bytes of the body came.
    taken: u64,
    caps: Caps,
}

impl Meter {
    fn allows(&self, made: u64) -> Result<(), Fault> {
        if made > self.caps.max_size {
            return Err(Fault::Size);
        }
        let fair = self.taken.saturating_mul(u64::from(self.caps.max_ratio));
        if made > fair.max(FREE) {
            return Err(Fault::Ratio);
        }
        Ok(())
    }
}

/// Runs `input` through all stages.
fn feed(stages: &mut [Stage], meter: &Meter, input: &[u8], sink: &mut Sink<'_>) -> Result<(), Fault> {
    let Some((first, rest)) = stages.split_first_mut() else {
        return sink(input);
    };
    let made = &mut first.made;
    first.codec.push(input, &mut |bytes| {
        *made = made.saturating_add(bytes.len() as u64);
        meter.allows(*made)?;
        bytes.chunks(PIECE).try_for_each(|piece| feed(rest, meter, piece, sink))
    })
}
