//! Sixteen bytes at a time: which of them matter, as one bit each, the first byte's lowest.
//!
//! In guests by simd128, on x86-64 by SSE2, which every such processor has, and elsewhere byte by byte with the same bits.

/// What is looked at at once.
pub(super) type Block = [u8; 16];

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use self::wasm as own;

#[cfg(target_arch = "x86_64")]
use self::x86 as own;

#[cfg(not(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128"))))]
use self::scalar as own;

/// How many bytes from the start of a string need no look: ASCII without quotes, backslashes and controls.
#[inline]
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    run(bytes, own::special, |byte| {
        !(0x20..0x80).contains(&byte) || matches!(byte, b'"' | b'\\')
    })
}

/// How many bytes from the start of a string are neither quotes, backslashes nor controls.
#[inline]
pub(super) fn text_run(bytes: &[u8]) -> usize {
    run(bytes, own::delimiting, |byte| {
        byte < 0x20 || matches!(byte, b'"' | b'\\')
    })
}

/// How many bytes from the start are white space, the four of RFC 8259 section 2.
#[inline]
pub(super) fn blank_run(bytes: &[u8]) -> usize {
    run(bytes, own::solid, |byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t'))
}

/// Lists where the special bytes of [`plain_run`] are, counted from `base`, and says how many there are. The list needs room
/// for eight more, in which something is written too.
#[inline]
pub(super) fn list_specials(bytes: &[u8], base: u32, list: &mut [u32]) -> usize {
    #[cfg(target_arch = "x86_64")]
    if let Some(count) = x86::list_specials_avx2(bytes, base, list) {
        return count;
    }
    list_by(bytes, base, list, specials)
}

/// The special bytes of 64.
#[inline(always)]
fn specials(bytes: &[u8; 64]) -> u64 {
    let (blocks, _) = bytes.as_chunks::<16>();
    blocks
        .iter()
        .rev()
        .fold(0, |marks, block| marks << 16 | u64::from(own::special(block)))
}

#[inline(always)]
fn list_by(bytes: &[u8], base: u32, list: &mut [u32], specials: impl Fn(&[u8; 64]) -> u64) -> usize {
    let mut filled = 0usize;
    let mut at = base;
    let mut put = |mut marks: u64| {
        let count = marks.count_ones() as usize;
        let mut place = filled;
        // Eight at a time, wanted or not: that costs less than to foresee how many there are.
        while let Some(eight) = list.get_mut(place..).and_then(<[u32]>::first_chunk_mut::<8>) {
            for slot in eight {
                *slot = at.wrapping_add(marks.trailing_zeros());
                marks &= marks.wrapping_sub(1);
            }
            if marks == 0 {
                break;
            }
            place = place.wrapping_add(8);
        }
        filled = filled.wrapping_add(count);
        at = at.wrapping_add(64);
    };
    let (blocks, rest) = bytes.as_chunks::<64>();
    for block in blocks {
        put(specials(block));
    }
    if !rest.is_empty() {
        let mut block = [b' '; 64];
        for (to, byte) in block.iter_mut().zip(rest) {
            *to = *byte;
        }
        put(specials(&block));
    }
    filled
}

/// How many blanks the bytes start with, if fewer than 32; there must be 32 bytes.
#[inline(always)]
pub(super) fn short_indent(bytes: &[u8]) -> Option<usize> {
    let (blocks, _) = bytes.first_chunk::<32>()?.as_chunks::<16>();
    let marks = blocks
        .iter()
        .rev()
        .fold(0u32, |marks, block| marks << 16 | own::unblank(block));
    (marks != 0).then_some(marks.trailing_zeros() as usize)
}

/// What is short enough to be appended without a call, which costs more in a guest than the bytes.
pub(super) type Short = [u8; 32];

/// Appends the first bytes of each, at most all.
#[inline(always)]
pub(super) fn append_short(out: &mut Vec<u8>, pieces: [(&Short, usize); 2]) {
    const ROOM: usize = 2 * size_of::<Short>();
    if out.spare_capacity_mut().len() < ROOM {
        out.reserve(ROOM);
    }
    let Some(mut spare) = out
        .spare_capacity_mut()
        .first_chunk_mut::<ROOM>()
        .map(|all| all.as_mut_slice())
    else {
        return;
    };
    let mut written = 0usize;
    for (piece, length) in pieces {
        let Some((to, _)) = spare.split_first_chunk_mut::<32>() else {
            return;
        };
        let (to, _) = to.as_chunks_mut::<16>();
        let (from, _) = piece.as_chunks::<16>();
        for (to, from) in to.iter_mut().zip(from) {
            *to = u128::from_ne_bytes(*from).to_ne_bytes().map(std::mem::MaybeUninit::new);
        }
        let length = length.min(piece.len());
        written = written.wrapping_add(length);
        spare = spare.get_mut(length..).unwrap_or_default();
    }
    let after = out.len().wrapping_add(written);
    // SAFETY: so many bytes of what is spare were written above.
    #[allow(unsafe_code)]
    unsafe {
        out.set_len(after);
    }
}

/// How many bytes from the start are none of those that a mask marks; `ends` says the same of one byte.
#[inline(always)]
fn run(bytes: &[u8], mask: impl Fn(&Block) -> u32, ends: impl Fn(u8) -> bool) -> usize {
    let mut rest = bytes;
    let mut run = 0usize;
    while let Some((block, tail)) = rest.split_first_chunk() {
        let marks = mask(block);
        if marks != 0 {
            return run.wrapping_add(marks.trailing_zeros() as usize);
        }
        run = run.wrapping_add(16);
        rest = tail;
    }
    run.wrapping_add(short_run(rest, ends))
}

/// The same of the few bytes before the end of a chunk.
#[cold]
#[inline(never)]
fn short_run(bytes: &[u8], ends: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| !ends(**byte)).count()
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm {
    use core::arch::wasm32::{
        i8x16_bitmask, i8x16_lt, i8x16_splat, u8x16_eq, u8x16_lt, u8x16_ne, u8x16_splat, v128, v128_not, v128_or,
    };

    use super::Block;

    #[inline(always)]
    fn load(block: &Block) -> v128 {
        // SAFETY: both are sixteen bytes, of any value.
        #[allow(unsafe_code)]
        unsafe {
            core::mem::transmute::<Block, v128>(*block)
        }
    }

    #[inline(always)]
    fn bits(marks: v128) -> u32 {
        u32::from(i8x16_bitmask(marks))
    }

    #[inline(always)]
    fn quoting(bytes: v128) -> v128 {
        v128_or(u8x16_eq(bytes, u8x16_splat(b'"')), u8x16_eq(bytes, u8x16_splat(b'\\')))
    }

    #[inline(always)]
    pub(super) fn special(block: &Block) -> u32 {
        let bytes = load(block);
        // As signed bytes those over 0x7f are below zero.
        bits(v128_or(quoting(bytes), i8x16_lt(bytes, i8x16_splat(0x20))))
    }

    #[inline(always)]
    pub(super) fn delimiting(block: &Block) -> u32 {
        let bytes = load(block);
        bits(v128_or(quoting(bytes), u8x16_lt(bytes, u8x16_splat(0x20))))
    }

    #[inline(always)]
    pub(super) fn unblank(block: &Block) -> u32 {
        bits(u8x16_ne(load(block), u8x16_splat(b' ')))
    }

    #[inline(always)]
    pub(super) fn solid(block: &Block) -> u32 {
        let bytes = load(block);
        let blank = [b' ', b'\n', b'\r', b'\t'].map(|blank| u8x16_eq(bytes, u8x16_splat(blank)));
        let [a, b, c, d] = blank;
        bits(v128_not(v128_or(v128_or(a, b), v128_or(c, d))))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::{
        __m128i, __m256i, _mm_cmpeq_epi8, _mm_cmplt_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8,
        _mm_or_si128, _mm_set1_epi8, _mm256_cmpeq_epi8, _mm256_cmpgt_epi8, _mm256_loadu_si256, _mm256_movemask_epi8,
        _mm256_or_si256, _mm256_set1_epi8,
    };

    use super::Block;

    #[inline(always)]
    pub(super) fn special(block: &Block) -> u32 {
        // SAFETY: every x86-64 has SSE2.
        #[allow(unsafe_code)]
        unsafe {
            special_sse2(block)
        }
    }

    #[inline(always)]
    pub(super) fn delimiting(block: &Block) -> u32 {
        // SAFETY: every x86-64 has SSE2.
        #[allow(unsafe_code)]
        unsafe {
            delimiting_sse2(block)
        }
    }

    #[inline(always)]
    pub(super) fn unblank(block: &Block) -> u32 {
        // SAFETY: every x86-64 has SSE2.
        #[allow(unsafe_code)]
        unsafe {
            unblank_sse2(block)
        }
    }

    #[inline(always)]
    pub(super) fn solid(block: &Block) -> u32 {
        // SAFETY: every x86-64 has SSE2.
        #[allow(unsafe_code)]
        unsafe {
            solid_sse2(block)
        }
    }

    /// Nothing where the processor lacks what this takes.
    #[inline]
    pub(super) fn list_specials_avx2(bytes: &[u8], base: u32, list: &mut [u32]) -> Option<usize> {
        let able = std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("bmi1")
            && std::arch::is_x86_feature_detected!("popcnt");
        // SAFETY: the processor was asked.
        #[allow(unsafe_code)]
        able.then(|| unsafe { list_avx2(bytes, base, list) })
    }

    #[target_feature(enable = "avx2,bmi1,popcnt")]
    fn list_avx2(bytes: &[u8], base: u32, list: &mut [u32]) -> usize {
        super::list_by(bytes, base, list, |block| {
            let (halves, _) = block.as_chunks::<32>();
            halves
                .iter()
                .rev()
                .fold(0, |marks, half| marks << 32 | u64::from(special_avx2(half)))
        })
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn special_avx2(half: &[u8; 32]) -> u32 {
        // SAFETY: 32 bytes may be read there, and the load asks for no alignment.
        #[allow(unsafe_code)]
        let bytes: __m256i = unsafe { _mm256_loadu_si256(half.as_ptr().cast()) };
        let is = |byte: u8| _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte.cast_signed()));
        // As signed bytes those over 0x7f are below zero.
        let low = _mm256_cmpgt_epi8(_mm256_set1_epi8(0x20), bytes);
        _mm256_movemask_epi8(_mm256_or_si256(_mm256_or_si256(is(b'"'), is(b'\\')), low)).cast_unsigned()
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn load(block: &Block) -> __m128i {
        // SAFETY: sixteen bytes may be read there, and the load asks for no alignment.
        #[allow(unsafe_code)]
        unsafe {
            _mm_loadu_si128(block.as_ptr().cast())
        }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn is(bytes: __m128i, byte: u8) -> __m128i {
        _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte.cast_signed()))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn special_sse2(block: &Block) -> u32 {
        let bytes = load(block);
        // As signed bytes those over 0x7f are below zero.
        let marks = _mm_or_si128(
            _mm_or_si128(is(bytes, b'"'), is(bytes, b'\\')),
            _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20)),
        );
        _mm_movemask_epi8(marks).cast_unsigned()
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn delimiting_sse2(block: &Block) -> u32 {
        let bytes = load(block);
        let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
        let marks = _mm_or_si128(_mm_or_si128(is(bytes, b'"'), is(bytes, b'\\')), control);
        _mm_movemask_epi8(marks).cast_unsigned()
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn unblank_sse2(block: &Block) -> u32 {
        _mm_movemask_epi8(is(load(block), b' ')).cast_unsigned() ^ 0xffff
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn solid_sse2(block: &Block) -> u32 {
        let bytes = load(block);
        let marks = _mm_or_si128(
            _mm_or_si128(is(bytes, b' '), is(bytes, b'\n')),
            _mm_or_si128(is(bytes, b'\r'), is(bytes, b'\t')),
        );
        _mm_movemask_epi8(marks).cast_unsigned() ^ 0xffff
    }
}

/// What the others are held to.
#[cfg(any(
    test,
    not(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128")))
))]
mod scalar {
    use super::Block;

    fn marks(block: &Block, marked: impl Fn(u8) -> bool) -> u32 {
        block
            .iter()
            .rev()
            .fold(0, |marks, byte| marks << 1 | u32::from(marked(*byte)))
    }

    pub(super) fn special(block: &Block) -> u32 {
        marks(block, |byte| {
            !(0x20..0x80).contains(&byte) || matches!(byte, b'"' | b'\\')
        })
    }

    pub(super) fn delimiting(block: &Block) -> u32 {
        marks(block, |byte| byte < 0x20 || matches!(byte, b'"' | b'\\'))
    }

    pub(super) fn unblank(block: &Block) -> u32 {
        marks(block, |byte| byte != b' ')
    }

    pub(super) fn solid(block: &Block) -> u32 {
        marks(block, |byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t'))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn same(block: &Block) {
        assert_eq!(own::special(block), scalar::special(block), "{block:?}");
        assert_eq!(own::delimiting(block), scalar::delimiting(block), "{block:?}");
        assert_eq!(own::unblank(block), scalar::unblank(block), "{block:?}");
        assert_eq!(own::solid(block), scalar::solid(block), "{block:?}");
    }

    #[test]
    fn every_byte_is_marked_alike_in_every_place() {
        for byte in 0..=255 {
            same(&[byte; 16]);
            for at in 0..16 {
                for around in [b'a', b'"', b' ', 0, 0xff] {
                    let mut block = [around; 16];
                    block[at] = byte;
                    same(&block);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_marked_alike(
            random in any::<Block>(),
            nasty in prop::array::uniform16(prop::sample::select(b"\"\\ \n\r\t\x00\x1f\x20\x21\x7f\x80\xff{}[]:,a".to_vec())),
        ) {
            same(&random);
            same(&nasty);
        }

        #[test]
        fn special_bytes_are_listed_alike(
            bytes in prop::collection::vec(prop_oneof![9 => Just(b'a'), 1 => any::<u8>(), 3 => Just(b'"')], 0..300),
        ) {
            let wanted: Vec<u32> = (7..).zip(&bytes).filter(|(_, byte)| plain_run(&[**byte]) == 0).map(|(at, _)| at).collect();
            for by in [list_specials, |bytes: &[u8], base, list: &mut [u32]| list_by(bytes, base, list, specials)] {
                let mut list = [0; 320];
                let count = by(&bytes, 7, &mut list);
                prop_assert_eq!(&list[..count], &wanted);
            }
        }
    }

    #[test]
    fn a_run_ends_at_the_first_byte_that_matters() {
        for special in (0u8..=255).filter(|byte| *byte < 0x20 || *byte > 0x7f || matches!(byte, b'"' | b'\\')) {
            for before in 0..40 {
                let mut bytes = vec![b'!'; before];
                bytes.push(special);
                bytes.extend(b"\"\\\x00\x80 ]~\x7f###########");
                assert_eq!(plain_run(&bytes), before, "{special:#x} after {before}");
                let text = if special > 0x7f { before + 1 } else { before };
                assert_eq!(text_run(&bytes), text, "{special:#x} after {before}");
            }
        }
        for plain in (0x20u8..0x80).filter(|byte| !matches!(byte, b'"' | b'\\')) {
            assert_eq!(plain_run(&[plain; 39]), 39);
        }
    }

    #[test]
    fn white_space_is_the_four_of_rfc_8259() {
        for (bytes, run) in [
            (&b"x"[..], 0),
            (b"", 0),
            (b"\n                   \t\r\n x", 24),
            (b" \x0c", 1),
            (b"          ", 10),
            (b"                         \x0b", 25),
        ] {
            assert_eq!(blank_run(bytes), run, "{}", bytes.escape_ascii());
        }
    }
}
