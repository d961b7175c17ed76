//! A frame's blocks, RFC 8878 3.1.1.2 and 3.1.1.3.

use super::super::Fault;
use super::MAX_BLOCK;
use super::bits::BackwardBits;
use super::entropy::{Fse, Huffman};

/// What blocks leave for the next one of their frame.
pub(super) struct Blocks {
    window: usize,
    /// What was decoded: the window, at least, where there is as much.
    pub(super) history: Vec<u8>,
    literals: Vec<u8>,
    huffman: Option<Huffman>,
    lengths: Option<Fse>,
    offsets: Option<Fse>,
    matches: Option<Fse>,
    /// The three offsets used last.
    recent: [usize; 3],
}

impl Blocks {
    pub(super) fn new() -> Blocks {
        Blocks {
            window: 0,
            history: Vec::new(),
            literals: Vec::new(),
            huffman: None,
            lengths: None,
            offsets: None,
            matches: None,
            recent: RECENT,
        }
    }

    /// A frame begins.
    pub(super) fn begin(&mut self, window: usize) {
        self.window = window;
        self.history.clear();
        self.huffman = None;
        self.lengths = None;
        self.offsets = None;
        self.matches = None;
        self.recent = RECENT;
    }

    /// The most bytes that a block may have, coded or decoded, RFC 8878 3.1.1.2.4.
    pub(super) fn max_block(&self) -> usize {
        self.window.min(MAX_BLOCK)
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) -> &[u8] {
        let start = self.make_room();
        self.history.extend_from_slice(bytes);
        self.made(start)
    }

    pub(super) fn repeat(&mut self, byte: u8, count: usize) -> &[u8] {
        let start = self.make_room();
        self.history.resize(start.saturating_add(count), byte);
        self.made(start)
    }

    pub(super) fn compressed(&mut self, bytes: &[u8]) -> Result<&[u8], Fault> {
        let start = self.make_room();
        let rest = self.read_literals(bytes)?;
        self.run_sequences(rest, start)?;
        Ok(self.made(start))
    }

    fn made(&self, start: usize) -> &[u8] {
        self.history.get(start..).unwrap_or_default()
    }

    /// Forgets what can't be looked back at any more, now and then, and says where the next byte goes.
    fn make_room(&mut self) -> usize {
        let slack = (self.window >> 1).max(MAX_BLOCK);
        if self.history.len() > self.window.saturating_add(slack) {
            let old = self.history.len().saturating_sub(self.window);
            self.history.drain(..old);
        }
        // A vector that grows by itself might take twice as much.
        let wanted = self.history.len().saturating_add(self.max_block());
        if self.history.capacity() < wanted {
            let most = self.window.saturating_add(slack).saturating_add(MAX_BLOCK);
            let room = self.history.capacity().saturating_mul(2).min(most).max(wanted);
            self.history.reserve_exact(room.saturating_sub(self.history.len()));
        }
        self.history.len()
    }

    /// RFC 8878 3.1.1.3.1: what follows the literals.
    fn read_literals<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Fault> {
        let header = bytes
            .iter()
            .take(5)
            .rev()
            .fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        let first = bytes.first().ok_or(Fault::Data)?;
        let (kind, format) = (first & 3, first >> 2 & 3);
        self.literals.clear();
        if kind < 2 {
            let (length, shift, width) = match format {
                1 => (2, 4, 12),
                3 => (3, 4, 20),
                _ => (1, 3, 5),
            };
            let size = (header >> shift) as usize & mask(width);
            let rest = bytes.get(length..).ok_or(Fault::Data)?;
            if size > self.max_block() {
                return Err(Fault::Data);
            }
            let stored = if kind == 0 { size } else { 1 };
            let (stored, rest) = rest.split_at_checked(stored).ok_or(Fault::Data)?;
            match stored.first() {
                Some(byte) if kind == 1 => self.literals.resize(size, *byte),
                _ => self.literals.extend_from_slice(stored),
            }
            return Ok(rest);
        }
        let (length, width) = match format {
            0 | 1 => (3, 10),
            2 => (4, 14),
            _ => (5, 18),
        };
        let size = (header >> 4) as usize & mask(width);
        let coded = (header >> width.saturating_add(4)) as usize & mask(width);
        let rest = bytes.get(length..).ok_or(Fault::Data)?;
        let (mut coded, rest) = rest.split_at_checked(coded).ok_or(Fault::Data)?;
        if size > self.max_block() {
            return Err(Fault::Data);
        }
        if kind == 2 {
            let (huffman, streams) = Huffman::read(coded)?;
            self.huffman = Some(huffman);
            coded = streams;
        }
        let huffman = self.huffman.as_ref().ok_or(Fault::Data)?;
        if format == 0 {
            huffman.decode(coded, size, &mut self.literals)?;
            return Ok(rest);
        }
        let (sizes, mut streams) = coded.split_first_chunk::<6>().ok_or(Fault::Data)?;
        let share = size.div_ceil(4);
        for pair in sizes.as_chunks::<2>().0 {
            let (stream, more) = streams
                .split_at_checked(usize::from(u16::from_le_bytes(*pair)))
                .ok_or(Fault::Data)?;
            huffman.decode(stream, share, &mut self.literals)?;
            streams = more;
        }
        let last = size.checked_sub(self.literals.len()).ok_or(Fault::Data)?;
        huffman.decode(streams, last, &mut self.literals)?;
        Ok(rest)
    }

    /// RFC 8878 3.1.1.3.2 and 3.1.1.4.
    fn run_sequences(&mut self, bytes: &[u8], start: usize) -> Result<(), Fault> {
        let end = start.saturating_add(self.max_block());
        let (count, rest) = sequence_count(bytes)?;
        let mut literals = self.literals.as_slice();
        if count == 0 {
            if !rest.is_empty() {
                return Err(Fault::Data);
            }
        } else {
            let (modes, rest) = rest.split_first().ok_or(Fault::Data)?;
            if modes & 3 != 0 {
                return Err(Fault::Data);
            }
            let rest = choose(&mut self.lengths, modes >> 6, rest, &LENGTHS)?;
            let rest = choose(&mut self.offsets, modes >> 4 & 3, rest, &OFFSETS)?;
            let rest = choose(&mut self.matches, modes >> 2 & 3, rest, &MATCHES)?;
            let (Some(lengths), Some(offsets), Some(matches)) = (&self.lengths, &self.offsets, &self.matches) else {
                return Err(Fault::Data);
            };
            let mut bits = BackwardBits::new(rest)?;
            let mut length = lengths.start(&mut bits);
            let mut offset = offsets.start(&mut bits);
            let mut matching = matches.start(&mut bits);
            for left in (0..count).rev() {
                bits.refill();
                let code = u32::from(offset.symbol);
                let offset_value = (1usize << code).wrapping_add(bits.read(code) as usize);
                bits.refill();
                let (base, extra) = MATCH_CODES.get(usize::from(matching.symbol)).ok_or(Fault::Data)?;
                let match_length = (*base as usize).wrapping_add(bits.read(u32::from(*extra)) as usize);
                bits.refill();
                let (base, extra) = LENGTH_CODES.get(usize::from(length.symbol)).ok_or(Fault::Data)?;
                let literal_length = (*base as usize).wrapping_add(bits.read(u32::from(*extra)) as usize);
                if left > 0 {
                    bits.refill();
                    length = lengths.after(length, &mut bits);
                    matching = matches.after(matching, &mut bits);
                    offset = offsets.after(offset, &mut bits);
                }
                if bits.overrun() {
                    return Err(Fault::Data);
                }
                let distance = resolve(&mut self.recent, offset_value, literal_length)?;
                let (copied, rest) = literals.split_at_checked(literal_length).ok_or(Fault::Data)?;
                literals = rest;
                self.history.extend_from_slice(copied);
                let room = end.checked_sub(self.history.len()).ok_or(Fault::Data)?;
                if match_length > room || distance > self.window {
                    return Err(Fault::Data);
                }
                copy(&mut self.history, distance, match_length)?;
            }
            if !bits.exhausted() {
                return Err(Fault::Data);
            }
        }
        self.history.extend_from_slice(literals);
        if self.history.len() > end {
            Err(Fault::Data)
        } else {
            Ok(())
        }
    }
}

/// Copies from `distance` bytes back, also over what is being written.
#[inline]
fn copy(history: &mut Vec<u8>, distance: usize, length: usize) -> Result<(), Fault> {
    let from = history.len().checked_sub(distance).ok_or(Fault::Data)?;
    let mut left = length;
    while left > 0 {
        // What stands from there on repeats itself.
        let there = history.len().saturating_sub(from);
        let now = left.min(there);
        if now == 0 {
            return Err(Fault::Data);
        }
        history.extend_from_within(from..from.saturating_add(now));
        left = left.saturating_sub(now);
    }
    Ok(())
}

/// The distance of an offset's value, RFC 8878 3.1.1.5.
#[inline]
fn resolve(recent: &mut [usize; 3], value: usize, literal_length: usize) -> Result<usize, Fault> {
    let [first, second, third] = *recent;
    // Without literals the values mean one further, for the first would go on with the match before.
    let distance = match value.saturating_add(usize::from(literal_length == 0)) {
        _ if value > 3 => value.saturating_sub(3),
        0 | 1 => return Ok(first),
        2 => {
            *recent = [second, first, third];
            return Ok(second);
        }
        3 => third,
        _ => first.saturating_sub(1),
    };
    if distance == 0 {
        return Err(Fault::Data);
    }
    *recent = [distance, first, second];
    Ok(distance)
}

/// RFC 8878 3.1.1.3.2.1: how many sequences there are, and what follows.
fn sequence_count(bytes: &[u8]) -> Result<(usize, &[u8]), Fault> {
    Ok(match bytes {
        [first @ 0..128, rest @ ..] => (usize::from(*first), rest),
        [255, low, high, rest @ ..] => (
            usize::from(u16::from_le_bytes([*low, *high])).saturating_add(0x7f00),
            rest,
        ),
        [first @ 128..=254, low, rest @ ..] => (usize::from(u16::from_be_bytes([first.wrapping_sub(128), *low])), rest),
        _ => return Err(Fault::Data),
    })
}

/// Sets the table that the mode asks for, RFC 8878 3.1.1.3.2.1.2: what follows.
fn choose<'a>(table: &mut Option<Fse>, mode: u8, bytes: &'a [u8], of: &Symbols) -> Result<&'a [u8], Fault> {
    let (chosen, rest) = match mode {
        0 => (Fse::build(of.counts, of.log)?, bytes),
        1 => {
            let (symbol, rest) = bytes.split_first().ok_or(Fault::Data)?;
            if usize::from(*symbol) > of.max {
                return Err(Fault::Data);
            }
            (Fse::of_one(*symbol), rest)
        }
        2 => Fse::read(bytes, of.max_log, of.max)?,
        _ if table.is_some() => return Ok(bytes),
        _ => return Err(Fault::Data),
    };
    *table = Some(chosen);
    Ok(rest)
}

fn mask(width: u32) -> usize {
    (1usize << width).wrapping_sub(1)
}

/// Repeated offsets at a frame's start.
const RECENT: [usize; 3] = [1, 4, 8];

/// One of the three alphabets of sequences.
struct Symbols {
    /// The default distribution, RFC 8878 3.1.1.3.2.2.
    counts: &'static [i16],
    log: u32,
    max_log: u32,
    /// The last symbol.
    max: usize,
}

const LENGTHS: Symbols = Symbols {
    counts: &[
        4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1,
    ],
    log: 6,
    max_log: 9,
    max: 35,
};

const OFFSETS: Symbols = Symbols {
    counts: &[
        1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1,
    ],
    log: 5,
    max_log: 8,
    // A larger one is beyond every window that is allowed, and needs more than 32 bits.
    max: 31,
};

const MATCHES: Symbols = Symbols {
    counts: &[
        1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
        1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
    ],
    log: 6,
    max_log: 9,
    max: 52,
};

/// By its code, the least length of literals, and how many bits say more. RFC 8878, table 16.
const LENGTH_CODES: [(u32, u8); 36] = [
    (0, 0),
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 0),
    (12, 0),
    (13, 0),
    (14, 0),
    (15, 0),
    (16, 1),
    (18, 1),
    (20, 1),
    (22, 1),
    (24, 2),
    (28, 2),
    (32, 3),
    (40, 3),
    (48, 4),
    (64, 6),
    (128, 7),
    (256, 8),
    (512, 9),
    (1024, 10),
    (2048, 11),
    (4096, 12),
    (8192, 13),
    (16384, 14),
    (32768, 15),
    (65536, 16),
];

/// By its code, the least length of a match, and how many bits say more. RFC 8878, table 17.
const MATCH_CODES: [(u32, u8); 53] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 0),
    (12, 0),
    (13, 0),
    (14, 0),
    (15, 0),
    (16, 0),
    (17, 0),
    (18, 0),
    (19, 0),
    (20, 0),
    (21, 0),
    (22, 0),
    (23, 0),
    (24, 0),
    (25, 0),
    (26, 0),
    (27, 0),
    (28, 0),
    (29, 0),
    (30, 0),
    (31, 0),
    (32, 0),
    (33, 0),
    (34, 0),
    (35, 1),
    (37, 1),
    (39, 1),
    (41, 1),
    (43, 2),
    (47, 2),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 5),
    (131, 7),
    (259, 8),
    (515, 9),
    (1027, 10),
    (2051, 11),
    (4099, 12),
    (8195, 13),
    (16387, 14),
    (32771, 15),
    (65539, 16),
];
