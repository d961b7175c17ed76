//! Tokens that were verified before, by their exact bytes.

use std::rc::Rc;

use super::{Grant, VerificationStats};

/// A bounded cache of verified tokens, eight-way set-associative with the least recently used of a set going first.
///
/// It holds only tokens whose signature was good: what a client invents cannot fill it. A look-up hashes the tail of the token, which is its signature and so
/// evenly spread, then compares all of it. Time claims are checked by the caller on each hit. An entry belongs to one generation of one policy and its keys;
/// entries of an older generation are never found again and make room in their turn.
///
/// Has no `Debug`: it holds tokens.
pub struct TokenCache {
    slots: Vec<Option<Slot>>,
    set_mask: usize,
    tick: u64,
    hand: usize,
    bytes: usize,
    max_bytes: usize,
    stats: CacheStats,
    verifications: VerificationStats,
}

/// What a cache did so far, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Look-ups that found their token.
    pub hits: u64,
    /// Look-ups that did not.
    pub misses: u64,
    /// Entries that made room for others.
    pub evictions: u64,
    /// Entries held now.
    pub entries: usize,
    /// Bytes held now, by estimate.
    pub bytes: usize,
}

struct Slot {
    hash: u64,
    generation: u64,
    used: u64,
    /// Found since the hand last passed.
    recent: bool,
    token: Box<[u8]>,
    grant: Rc<Grant>,
}

impl Slot {
    fn weight(&self) -> usize {
        weight(&self.token, &self.grant)
    }
}

const WAYS: usize = 8;

/// How many entries a cache holds by default.
pub const DEFAULT_ENTRIES: usize = 1024;

/// How many bytes a cache holds by default.
pub const DEFAULT_BYTES: usize = 4 * 1024 * 1024;

impl Default for TokenCache {
    fn default() -> Self {
        Self::new(DEFAULT_ENTRIES, DEFAULT_BYTES)
    }
}

impl TokenCache {
    /// A cache for at most `entries` tokens (rounded up to a power of two from 8 to 65,536) of together at most `max_bytes` bytes. With 0 bytes it holds nothing.
    #[must_use]
    pub fn new(entries: usize, max_bytes: usize) -> Self {
        let entries = entries.clamp(WAYS, 1 << 16).next_power_of_two();
        let mut slots = Vec::new();
        slots.resize_with(entries, || None);
        Self {
            slots,
            set_mask: (entries / WAYS).saturating_sub(1),
            tick: 0,
            hand: 0,
            bytes: 0,
            max_bytes,
            stats: CacheStats::default(),
            verifications: VerificationStats::default(),
        }
    }

    /// What the cache did so far.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        CacheStats {
            bytes: self.bytes,
            ..self.stats
        }
    }

    /// How the signatures of tokens that were not in the cache were checked.
    #[must_use]
    pub fn verification_stats(&self) -> VerificationStats {
        self.verifications
    }

    pub(super) fn verifications(&mut self) -> &mut VerificationStats {
        &mut self.verifications
    }

    pub(super) fn get(&mut self, generation: u64, token: &[u8]) -> Option<Rc<Grant>> {
        let hash = hash(token);
        self.tick = self.tick.wrapping_add(1);
        let tick = self.tick;
        let found = self
            .set(hash)
            .iter_mut()
            .flatten()
            .find(|slot| slot.hash == hash && slot.generation == generation && same(&slot.token, token))
            .map(|slot| {
                slot.used = tick;
                slot.recent = true;
                Rc::clone(&slot.grant)
            });
        match found {
            Some(_) => self.stats.hits = self.stats.hits.wrapping_add(1),
            None => self.stats.misses = self.stats.misses.wrapping_add(1),
        }
        found
    }

    pub(super) fn insert(&mut self, generation: u64, token: &[u8], grant: &Rc<Grant>) {
        let weight = weight(token, grant);
        if weight > self.max_bytes {
            return;
        }
        self.remove(generation, token);
        let hash = hash(token);
        self.tick = self.tick.wrapping_add(1);
        let tick = self.tick;
        // An empty slot counts as older than any.
        let oldest = self
            .set(hash)
            .iter_mut()
            .min_by_key(|slot| slot.as_ref().map(|slot| slot.used));
        let evicted = oldest.and_then(Option::take);
        self.forget(evicted, 1);
        self.make_room(weight);
        if let Some(slot) = self.set(hash).iter_mut().find(|slot| slot.is_none()) {
            *slot = Some(Slot {
                hash,
                generation,
                used: tick,
                recent: false,
                token: token.into(),
                grant: Rc::clone(grant),
            });
            self.bytes = self.bytes.saturating_add(weight);
            self.stats.entries = self.stats.entries.saturating_add(1);
        }
    }

    pub(super) fn remove(&mut self, generation: u64, token: &[u8]) {
        let hash = hash(token);
        let found = self.set(hash).iter_mut().find(|slot| {
            slot.as_ref()
                .is_some_and(|slot| slot.hash == hash && slot.generation == generation && same(&slot.token, token))
        });
        let removed = found.and_then(Option::take);
        self.forget(removed, 0);
    }

    /// Lets a hand go round that spares once what was found since it last passed.
    fn make_room(&mut self, weight: usize) {
        let slots = self.slots.len();
        for _ in 0..slots.saturating_mul(2) {
            if self.bytes.saturating_add(weight) <= self.max_bytes {
                return;
            }
            self.hand = self.hand.wrapping_add(1) & slots.saturating_sub(1);
            let evicted = match self.slots.get_mut(self.hand) {
                Some(Some(slot)) if slot.recent => {
                    slot.recent = false;
                    None
                }
                Some(slot) => slot.take(),
                None => None,
            };
            self.forget(evicted, 1);
        }
    }

    fn forget(&mut self, slot: Option<Slot>, evictions: u64) {
        if let Some(slot) = slot {
            self.bytes = self.bytes.saturating_sub(slot.weight());
            self.stats.entries = self.stats.entries.saturating_sub(1);
            self.stats.evictions = self.stats.evictions.wrapping_add(evictions);
        }
    }

    fn set(&mut self, hash: u64) -> &mut [Option<Slot>] {
        let start = (hash as usize & self.set_mask).wrapping_mul(WAYS);
        self.slots.get_mut(start..start.wrapping_add(WAYS)).unwrap_or_default()
    }
}

/// An estimate from above of what an entry takes, with what the allocator adds.
fn weight(token: &[u8], grant: &Grant) -> usize {
    token
        .len()
        .saturating_mul(2)
        .saturating_add(grant.scopes().len().saturating_mul(96))
        .saturating_add(512)
}

/// Whether both are the same bytes. The guest's own `memcmp` goes byte by byte, and a token has a thousand.
fn same(one: &[u8], other: &[u8]) -> bool {
    let ((ones, one_rest), (others, other_rest)) = (one.as_chunks::<16>(), other.as_chunks::<16>());
    one.len() == other.len()
        && ones
            .iter()
            .zip(others)
            .all(|(one, other)| u128::from_ne_bytes(*one) == u128::from_ne_bytes(*other))
        && one_rest == other_rest
}

/// FNV-1a over the last 24 bytes, folded. Only signed tokens come in, and nobody without the key chooses the end of a signature, so collisions cannot be made.
fn hash(token: &[u8]) -> u64 {
    let sum = token
        .iter()
        .rev()
        .take(24)
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
            (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    sum ^ (sum >> 32)
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn tokens_are_the_same_in_each_byte() {
        for length in [0, 1, 15, 16, 17, 40] {
            let one: Vec<u8> = (0..length).collect();
            assert!(same(&one, &one.clone()));
            assert!(!same(&one, &[one.clone(), vec![0]].concat()));
            for index in 0..one.len() {
                let mut other = one.clone();
                other[index] ^= 0x80;
                assert!(!same(&one, &other), "{length} {index}");
            }
        }
    }
}
