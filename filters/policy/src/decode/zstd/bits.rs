//! Bits from the end of a stream to its start, RFC 8878 4.1: the last set bit of the last byte marks the end.

use super::super::Fault;

pub(super) struct BackwardBits<'a> {
    /// What is still to be taken.
    bytes: &'a [u8],
    /// The low `left` bits are next, the highest of them first.
    bits: u64,
    left: u32,
    /// How many bits were read that are not there; they read as zero.
    over: u32,
}

impl<'a> BackwardBits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<BackwardBits<'a>, Fault> {
        let (last, bytes) = bytes.split_last().ok_or(Fault::Data)?;
        let left = last.checked_ilog2().ok_or(Fault::Data)?;
        Ok(BackwardBits {
            bytes,
            bits: u64::from(*last),
            left,
            over: 0,
        })
    }

    /// Sees to it that 32 bits are there, or all there are.
    #[inline]
    pub(super) fn refill(&mut self) {
        if self.left > 32 {
            return;
        }
        if let Some((rest, word)) = self.bytes.split_last_chunk::<4>() {
            self.bits = self.bits << 32 | u64::from(u32::from_le_bytes(*word));
            self.left = self.left.wrapping_add(32);
            self.bytes = rest;
            return;
        }
        while let Some((byte, rest)) = self.bytes.split_last() {
            self.bits = self.bits << 8 | u64::from(*byte);
            self.left = self.left.wrapping_add(8);
            self.bytes = rest;
        }
    }

    /// The next bits, at most 32, without taking them. After [`Self::refill`].
    #[inline]
    pub(super) fn peek(&self, count: u32) -> u64 {
        let mask = (1u64 << (count & 63)).wrapping_sub(1);
        if count <= self.left {
            self.bits >> (self.left.wrapping_sub(count) & 63) & mask
        } else {
            self.bits << (count.wrapping_sub(self.left) & 63) & mask
        }
    }

    #[inline]
    pub(super) fn take(&mut self, count: u32) {
        if count <= self.left {
            self.left = self.left.wrapping_sub(count);
        } else {
            self.over = self.over.saturating_add(count.wrapping_sub(self.left));
            self.left = 0;
            self.bits = 0;
        }
    }

    /// The next bits, at most 32, where [`Self::refill`] made sure of them.
    #[inline]
    pub(super) fn read(&mut self, count: u32) -> u64 {
        let value = self.peek(count);
        self.take(count);
        value
    }

    /// More was read than there is.
    pub(super) fn overrun(&self) -> bool {
        self.over > 0
    }

    /// All was read, and no more.
    pub(super) fn exhausted(&self) -> bool {
        self.left == 0 && self.over == 0 && self.bytes.is_empty()
    }
}
