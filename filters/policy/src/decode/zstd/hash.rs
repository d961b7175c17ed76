//! XXH64 with the seed 0, the checksum of a frame's content (RFC 8878 3.1.1).

const P1: u64 = 0x9e37_79b1_85eb_ca87;
const P2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const P3: u64 = 0x1656_67b1_9e37_79f9;
const P4: u64 = 0x85eb_ca77_c2b2_ae63;
const P5: u64 = 0x27d4_eb2f_1656_67c5;

pub(super) struct XxHash64 {
    lanes: [u64; 4],
    /// Less than a stripe of 32 bytes.
    rest: Vec<u8>,
    total: u64,
}

impl XxHash64 {
    pub(super) fn new() -> XxHash64 {
        XxHash64 {
            lanes: [P1.wrapping_add(P2), P2, 0, 0u64.wrapping_sub(P1)],
            rest: Vec::new(),
            total: 0,
        }
    }

    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        self.total = self.total.wrapping_add(bytes.len() as u64);
        if !self.rest.is_empty() {
            let (head, tail) = bytes.split_at(bytes.len().min(32usize.saturating_sub(self.rest.len())));
            self.rest.extend_from_slice(head);
            bytes = tail;
            let Some(stripe) = self.rest.first_chunk::<32>().copied() else {
                return;
            };
            self.stripe(&stripe);
            self.rest.clear();
        }
        while let Some((stripe, tail)) = bytes.split_first_chunk::<32>() {
            self.stripe(stripe);
            bytes = tail;
        }
        self.rest.extend_from_slice(bytes);
    }

    #[inline]
    fn stripe(&mut self, stripe: &[u8; 32]) {
        let (words, _) = stripe.as_chunks::<8>();
        for (lane, word) in self.lanes.iter_mut().zip(words) {
            *lane = round(*lane, u64::from_le_bytes(*word));
        }
    }

    pub(super) fn value(&self) -> u64 {
        let mut hash = if self.total >= 32 {
            let [a, b, c, d] = self.lanes;
            let sum = a
                .rotate_left(1)
                .wrapping_add(b.rotate_left(7))
                .wrapping_add(c.rotate_left(12))
                .wrapping_add(d.rotate_left(18));
            self.lanes.iter().fold(sum, |hash, lane| {
                (hash ^ round(0, *lane)).wrapping_mul(P1).wrapping_add(P4)
            })
        } else {
            P5
        };
        hash = hash.wrapping_add(self.total);
        let mut rest = self.rest.as_slice();
        while let Some((word, tail)) = rest.split_first_chunk::<8>() {
            hash = (hash ^ round(0, u64::from_le_bytes(*word)))
                .rotate_left(27)
                .wrapping_mul(P1)
                .wrapping_add(P4);
            rest = tail;
        }
        if let Some((word, tail)) = rest.split_first_chunk::<4>() {
            hash = (hash ^ u64::from(u32::from_le_bytes(*word)).wrapping_mul(P1))
                .rotate_left(23)
                .wrapping_mul(P2)
                .wrapping_add(P3);
            rest = tail;
        }
        for byte in rest {
            hash = (hash ^ u64::from(*byte).wrapping_mul(P5))
                .rotate_left(11)
                .wrapping_mul(P1);
        }
        hash = (hash ^ hash >> 33).wrapping_mul(P2);
        hash = (hash ^ hash >> 29).wrapping_mul(P3);
        hash ^ hash >> 32
    }
}

fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(P2))
        .rotate_left(31)
        .wrapping_mul(P1)
}

#[cfg(test)]
mod unit_tests {
    use super::XxHash64;

    #[test]
    fn the_hash_is_that_of_known_values() {
        for (text, wanted) in [
            ("", 0xef46_db37_51d8_e999),
            ("a", 0xd24e_c4f1_a98c_6e5b),
            ("abc", 0x44bc_2cf5_ad77_0999),
        ] {
            let mut hash = XxHash64::new();
            hash.update(text.as_bytes());
            assert_eq!(hash.value(), wanted, "{text}");
        }
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for step in [1, 7, 31, 32, 33, 999] {
            let (mut whole, mut cut) = (XxHash64::new(), XxHash64::new());
            whole.update(&bytes);
            bytes.chunks(step).for_each(|piece| cut.update(piece));
            assert_eq!(whole.value(), cut.value(), "{step}");
        }
    }
}
