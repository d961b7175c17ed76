//! The two entropy codes of RFC 8878 section 4: FSE and Huffman.

use super::super::Fault;
use super::bits::BackwardBits;

/// One state of an FSE table.
#[derive(Clone, Copy, Default)]
pub(super) struct State {
    pub(super) symbol: u8,
    /// How many bits choose the next state, on top of `base`.
    bits: u8,
    base: u16,
}

/// An FSE decoding table, RFC 8878 4.1.1.
pub(super) struct Fse {
    states: Vec<State>,
    log: u32,
}

impl Fse {
    /// The table that gives one symbol and takes no bits.
    pub(super) fn of_one(symbol: u8) -> Fse {
        let state = State {
            symbol,
            ..State::default()
        };
        Fse {
            states: vec![state],
            log: 0,
        }
    }

    /// Reads the distribution at the start of `bytes`: the table, and what follows.
    pub(super) fn read(bytes: &[u8], max_log: u32, max_symbol: usize) -> Result<(Fse, &[u8]), Fault> {
        let mut at = 0usize;
        let peek = |at: usize, count: u32| -> u32 {
            let tail = bytes.get(at >> 3..).unwrap_or_default();
            let word = tail
                .iter()
                .take(4)
                .rev()
                .fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
            word >> (at & 7) & (1u32 << (count & 31)).wrapping_sub(1)
        };
        let log = peek(at, 4).saturating_add(5);
        if log > max_log {
            return Err(Fault::Data);
        }
        at = at.saturating_add(4);
        let mut left = (1i32 << log).saturating_add(1);
        let mut threshold = 1i32 << log;
        let mut width = log.saturating_add(1);
        let mut counts: Vec<i16> = Vec::new();
        while left > 1 {
            if counts.len() > max_symbol {
                return Err(Fault::Data);
            }
            // The values below `short` take one bit less.
            let short = threshold.saturating_mul(2).saturating_sub(1).saturating_sub(left);
            let low = peek(at, width.saturating_sub(1)) as i32;
            let value = if low < short {
                at = at.saturating_add(width as usize).saturating_sub(1);
                low
            } else {
                let value = peek(at, width) as i32;
                at = at.saturating_add(width as usize);
                if value >= threshold {
                    value.saturating_sub(short)
                } else {
                    value
                }
            };
            let count = value.saturating_sub(1);
            left = left.saturating_sub(count.saturating_abs());
            counts.push(count as i16);
            if count == 0 {
                loop {
                    let zeros = peek(at, 2);
                    at = at.saturating_add(2);
                    counts.extend((0..zeros).map(|_| 0));
                    if zeros < 3 {
                        break;
                    }
                    if counts.len() > max_symbol.saturating_add(1) {
                        return Err(Fault::Data);
                    }
                }
            }
            while left < threshold && threshold > 1 {
                width = width.saturating_sub(1);
                threshold >>= 1;
            }
        }
        let used = at.saturating_add(7) >> 3;
        let rest = bytes.get(used..).ok_or(Fault::Data)?;
        if left != 1 || counts.len() > max_symbol.saturating_add(1) {
            return Err(Fault::Data);
        }
        Ok((Fse::build(&counts, log)?, rest))
    }

    /// From the counts of the symbols, where -1 is "less than one".
    pub(super) fn build(counts: &[i16], log: u32) -> Result<Fse, Fault> {
        let size = 1usize << log;
        let mask = size.wrapping_sub(1);
        let mut states = vec![State::default(); size];
        let mut next: Vec<u16> = Vec::with_capacity(counts.len());
        let mut high = size;
        for (symbol, count) in counts.iter().enumerate() {
            if *count == -1 {
                high = high.checked_sub(1).ok_or(Fault::Data)?;
                states.get_mut(high).ok_or(Fault::Data)?.symbol = symbol as u8;
                next.push(1);
            } else {
                next.push(u16::try_from(*count).map_err(|_| Fault::Data)?);
            }
        }
        let step = (size >> 1).saturating_add(size >> 3).saturating_add(3);
        let mut at = 0usize;
        for (symbol, count) in counts.iter().enumerate() {
            for _ in 0..(*count).max(0) {
                states.get_mut(at).ok_or(Fault::Data)?.symbol = symbol as u8;
                loop {
                    at = at.wrapping_add(step) & mask;
                    // With no room left the walk has to be over, which is seen below.
                    if at < high || at == 0 {
                        break;
                    }
                }
            }
        }
        if at != 0 {
            return Err(Fault::Data);
        }
        for state in &mut states {
            let next = next.get_mut(usize::from(state.symbol)).ok_or(Fault::Data)?;
            let number = *next;
            *next = next.saturating_add(1);
            let bits = log.saturating_sub(number.checked_ilog2().ok_or(Fault::Data)?);
            state.bits = bits as u8;
            state.base = (usize::from(number) << bits).wrapping_sub(size) as u16;
        }
        Ok(Fse { states, log })
    }

    /// The first state.
    #[inline]
    pub(super) fn start(&self, bits: &mut BackwardBits<'_>) -> State {
        bits.refill();
        self.state(bits.read(self.log) as usize)
    }

    /// The state after this one. After a refill.
    #[inline]
    pub(super) fn after(&self, state: State, bits: &mut BackwardBits<'_>) -> State {
        self.state(usize::from(state.base).wrapping_add(bits.read(u32::from(state.bits)) as usize))
    }

    #[inline]
    fn state(&self, index: usize) -> State {
        // Every state's base and bits stay within the table.
        self.states.get(index).copied().unwrap_or_default()
    }
}

/// The longest code, RFC 8878 4.2.1.
const MAX_CODE: u32 = 11;

/// A Huffman decoding table, RFC 8878 4.2: by the next bits, the symbol and how many of them are its code.
pub(super) struct Huffman {
    codes: Vec<(u8, u8)>,
    log: u32,
}

impl Huffman {
    /// Reads the description at the start of `bytes`: the table, and what follows.
    pub(super) fn read(bytes: &[u8]) -> Result<(Huffman, &[u8]), Fault> {
        let (header, rest) = bytes.split_first().ok_or(Fault::Data)?;
        let (weights, rest) = match usize::from(*header) {
            size @ 0..128 => {
                let (coded, rest) = rest.split_at_checked(size).ok_or(Fault::Data)?;
                (Huffman::coded_weights(coded)?, rest)
            }
            header => {
                let count = header.saturating_sub(127);
                let (plain, rest) = rest.split_at_checked(count.div_ceil(2)).ok_or(Fault::Data)?;
                let weights = plain.iter().flat_map(|byte| [byte >> 4, byte & 15]).take(count);
                (weights.collect(), rest)
            }
        };
        Ok((Huffman::build(weights)?, rest))
    }

    /// RFC 8878 4.2.1.2: two states take turns until the bits end.
    fn coded_weights(bytes: &[u8]) -> Result<Vec<u8>, Fault> {
        let (table, stream) = Fse::read(bytes, 6, 12)?;
        let mut bits = BackwardBits::new(stream)?;
        let mut state = table.start(&mut bits);
        let mut other = table.start(&mut bits);
        let mut weights = Vec::new();
        if bits.overrun() {
            return Err(Fault::Data);
        }
        loop {
            weights.push(state.symbol);
            bits.refill();
            state = table.after(state, &mut bits);
            if bits.overrun() {
                weights.push(other.symbol);
                break;
            }
            // The last symbol's weight is not written, RFC 8878 4.2.1.
            if weights.len() >= 255 {
                return Err(Fault::Data);
            }
            std::mem::swap(&mut state, &mut other);
        }
        Ok(weights)
    }

    fn build(mut weights: Vec<u8>) -> Result<Huffman, Fault> {
        if weights.len() > 255 || weights.iter().any(|weight| u32::from(*weight) > MAX_CODE) {
            return Err(Fault::Data);
        }
        let share = |weight: u8| match weight {
            0 => 0u32,
            weight => 1 << weight.saturating_sub(1),
        };
        let sum: u32 = weights.iter().map(|weight| share(*weight)).sum();
        let log = sum.checked_ilog2().ok_or(Fault::Data)?.saturating_add(1);
        if log > MAX_CODE {
            return Err(Fault::Data);
        }
        // What is missing to a power of two is the last symbol's.
        let missing = (1u32 << log).saturating_sub(sum);
        if !missing.is_power_of_two() {
            return Err(Fault::Data);
        }
        weights.push((missing.trailing_zeros() as u8).saturating_add(1));
        let mut codes = Vec::with_capacity(1 << log);
        for wanted in 1..=log as u8 {
            let length = (log as u8).saturating_add(1).saturating_sub(wanted);
            for (symbol, _) in weights.iter().enumerate().filter(|(_, weight)| **weight == wanted) {
                codes.extend((0..share(wanted)).map(|_| (symbol as u8, length)));
            }
        }
        if codes.len() != 1 << log {
            return Err(Fault::Data);
        }
        Ok(Huffman { codes, log })
    }

    /// Decodes `count` symbols from all of `bytes`.
    pub(super) fn decode(&self, bytes: &[u8], count: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut bits = BackwardBits::new(bytes)?;
        let mut left = count;
        while left >= 2 {
            bits.refill();
            for _ in 0..2 {
                out.push(self.symbol(&mut bits));
            }
            left = left.wrapping_sub(2);
        }
        if left == 1 {
            bits.refill();
            out.push(self.symbol(&mut bits));
        }
        if bits.exhausted() { Ok(()) } else { Err(Fault::Data) }
    }

    #[inline]
    fn symbol(&self, bits: &mut BackwardBits<'_>) -> u8 {
        let (symbol, length) = self
            .codes
            .get(bits.peek(self.log) as usize)
            .copied()
            .unwrap_or_default();
        bits.take(u32::from(length));
        symbol
    }
}
