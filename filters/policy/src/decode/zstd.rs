//! Zstandard, RFC 8878, within the window of RFC 9659.
//!
//! A block, at most 128 KiB, is gathered and then decoded behind the bytes that may still be looked back at: so it goes on as soon as it is there.

mod bits;
mod block;
mod entropy;
mod hash;

use self::block::Blocks;
use self::hash::XxHash64;
use super::{Fault, Sink};

/// The largest window of the coding `zstd`, RFC 9659 section 3.
const MAX_WINDOW: u64 = 8 << 20;

/// The most bytes of a block, RFC 8878 3.1.1.2.4.
const MAX_BLOCK: usize = 128 << 10;

const FRAME: u32 = 0xfd2f_b528;
/// The last four bits are any.
const SKIPPABLE: u32 = 0x184d_2a50;

/// A body of one or more frames.
pub(super) struct Zstd {
    at: At,
    /// The largest window, in bytes.
    max_window: u64,
    /// What came of the part that is being read.
    part: Vec<u8>,
    /// How many bytes that part has.
    wanted: usize,
    frame: Frame,
    blocks: Blocks,
    hash: XxHash64,
    /// A frame that is not skippable ended: skippable ones alone are no body.
    any: bool,
}

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Magic,
    SkipSize,
    Skip { left: u32 },
    Descriptor,
    Header { descriptor: u8 },
    BlockHeader,
    Block { kind: Kind, size: usize, last: bool },
    Checksum,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Raw,
    Repeat,
    Compressed,
}

/// What the frame's header says, and what came of it.
#[derive(Default)]
struct Frame {
    checksum: bool,
    /// The size of its content, where it is said.
    size: Option<u64>,
    made: u64,
}

impl Zstd {
    pub(super) fn new(window: usize) -> Zstd {
        Zstd {
            at: At::Magic,
            max_window: (window as u64).min(MAX_WINDOW),
            part: Vec::new(),
            wanted: 4,
            frame: Frame::default(),
            blocks: Blocks::new(),
            hash: XxHash64::new(),
            any: false,
        }
    }

    pub(super) fn may_end(&self) -> bool {
        self.any && self.at == At::Magic && self.part.is_empty()
    }

    pub(super) fn push(&mut self, mut input: &[u8], sink: &mut Sink<'_>) -> Result<(), Fault> {
        while !input.is_empty() {
            if let At::Skip { left } = self.at {
                let (_, rest) = input.split_at(input.len().min(left as usize));
                let taken = input.len().saturating_sub(rest.len());
                input = rest;
                match left.saturating_sub(taken as u32) {
                    0 => self.next(At::Magic, 4),
                    left => self.at = At::Skip { left },
                }
                continue;
            }
            let room = self.wanted.saturating_sub(self.part.len());
            let (taken, rest) = input.split_at(room.min(input.len()));
            self.part.extend_from_slice(taken);
            input = rest;
            // What needs no byte is gone through at once.
            while self.part.len() == self.wanted && !matches!(self.at, At::Skip { .. }) {
                self.step(sink)?;
            }
        }
        Ok(())
    }

    fn next(&mut self, at: At, wanted: usize) {
        self.at = at;
        self.wanted = wanted;
        self.part.clear();
    }

    /// The part that was waited for is there.
    fn step(&mut self, sink: &mut Sink<'_>) -> Result<(), Fault> {
        match self.at {
            At::Magic => match number(&self.part) as u32 {
                FRAME => self.next(At::Descriptor, 1),
                magic if magic & !0xf == SKIPPABLE => self.next(At::SkipSize, 4),
                _ if self.any => return Err(Fault::Trailing),
                _ => return Err(Fault::Header),
            },
            At::SkipSize => match number(&self.part) as u32 {
                0 => self.next(At::Magic, 4),
                left => self.next(At::Skip { left }, 0),
            },
            At::Skip { .. } => {}
            At::Descriptor => {
                let descriptor = self.part.first().copied().unwrap_or_default();
                // RFC 8878 3.1.1.1.1.4: a set reserved bit is not for this version.
                if descriptor & 8 != 0 {
                    return Err(Fault::Header);
                }
                let (window, dictionary, size) = header_sizes(descriptor);
                let wanted = window.saturating_add(dictionary).saturating_add(size);
                self.next(At::Header { descriptor }, wanted);
            }
            At::Header { descriptor } => {
                self.begin(descriptor)?;
                self.next(At::BlockHeader, 3);
            }
            At::BlockHeader => {
                let header = number(&self.part);
                let size = (header >> 3) as usize;
                let (kind, wanted) = match header >> 1 & 3 {
                    0 => (Kind::Raw, size),
                    1 => (Kind::Repeat, 1),
                    2 => (Kind::Compressed, size),
                    _ => return Err(Fault::Data),
                };
                if size > self.blocks.max_block() {
                    return Err(Fault::Data);
                }
                let last = header & 1 == 1;
                self.next(At::Block { kind, size, last }, wanted);
            }
            At::Block { kind, size, last } => {
                let made = match kind {
                    Kind::Raw => self.blocks.raw(&self.part),
                    Kind::Repeat => self.blocks.repeat(self.part.first().copied().unwrap_or_default(), size),
                    Kind::Compressed => self.blocks.compressed(&self.part)?,
                };
                self.frame.made = self.frame.made.saturating_add(made.len() as u64);
                if self.frame.checksum {
                    self.hash.update(made);
                }
                if !made.is_empty() {
                    sink(made)?;
                }
                match (last, self.frame.checksum) {
                    (false, _) => self.next(At::BlockHeader, 3),
                    (true, true) => self.next(At::Checksum, 4),
                    (true, false) => self.end()?,
                }
            }
            At::Checksum => {
                // The low four bytes of the hash, RFC 8878 3.1.1.
                if number(&self.part) as u32 != self.hash.value() as u32 {
                    return Err(Fault::Checksum);
                }
                self.end()?;
            }
        }
        Ok(())
    }

    /// RFC 8878 3.1.1.1.
    fn begin(&mut self, descriptor: u8) -> Result<(), Fault> {
        let (window, dictionary, size) = header_sizes(descriptor);
        let (window, rest) = self.part.split_at_checked(window).ok_or(Fault::Header)?;
        let (dictionary, rest) = rest.split_at_checked(dictionary).ok_or(Fault::Header)?;
        // An identifier of 0 is none, 3.1.1.1.3.
        if number(dictionary) != 0 {
            return Err(Fault::Dictionary);
        }
        let said = match size {
            0 => None,
            2 => Some(number(rest).saturating_add(256)),
            _ => Some(number(rest)),
        };
        let window = match window.first() {
            // A single segment: the window is the content.
            None => said.unwrap_or_default(),
            Some(byte) => {
                let base = 1u64 << u32::from(byte >> 3).saturating_add(10);
                base.saturating_add((base >> 3).saturating_mul(u64::from(byte & 7)))
            }
        };
        if window > self.max_window {
            return Err(Fault::Window);
        }
        self.frame = Frame {
            checksum: descriptor & 4 != 0,
            size: said,
            made: 0,
        };
        self.hash = XxHash64::new();
        self.blocks.begin(window as usize);
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        if self.frame.size.is_some_and(|size| size != self.frame.made) {
            return Err(Fault::Checksum);
        }
        self.any = true;
        self.next(At::Magic, 4);
        Ok(())
    }
}

/// How many bytes the window's descriptor, the dictionary's identifier and the content's size have.
fn header_sizes(descriptor: u8) -> (usize, usize, usize) {
    let single = descriptor & 32 != 0;
    let dictionary = match descriptor & 3 {
        3 => 4,
        bytes => usize::from(bytes),
    };
    let size = match descriptor >> 6 {
        0 => usize::from(single),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    (usize::from(!single), dictionary, size)
}

/// Little-endian, of at most eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn what_is_held_does_not_grow_with_what_comes_out() {
        // A window of 8 MiB, and blocks of one byte that repeats.
        let mut body = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3];
        for block in 0..400u32 {
            let header = (MAX_BLOCK as u32) << 3 | 2 | u32::from(block == 399);
            body.extend_from_slice(header.to_le_bytes().get(..3).unwrap());
            body.push(block as u8);
        }
        let mut zstd = Zstd::new(usize::MAX);
        let mut made = 0;
        zstd.push(&body, &mut |bytes| {
            made += bytes.len();
            Ok(())
        })
        .unwrap();
        assert!(zstd.may_end());
        assert_eq!(made, 400 * MAX_BLOCK);
        assert!(zstd.blocks.history.capacity() <= (12 << 20) + MAX_BLOCK);
        assert!(zstd.part.capacity() <= MAX_BLOCK);
    }
}
