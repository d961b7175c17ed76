//! Brotli, RFC 7932.

use brotli_decompressor::{
    Allocator, BrotliDecompressStream, BrotliResult, BrotliState, HuffmanCode, SliceWrapper, SliceWrapperMut,
};

use super::{Fault, PIECE, Sink};

/// A body in the coding `br`.
pub(super) struct Brotli {
    state: BrotliState<Heap, Heap, Heap>,
    /// The largest window, in bytes.
    window: usize,
    /// Where output is put before it goes on.
    piece: Box<[u8]>,
    total: usize,
    begun: bool,
    done: bool,
}

impl Brotli {
    pub(super) fn new(window: usize) -> Brotli {
        Brotli {
            // Strict: without the large windows that RFC 7932 does not know.
            state: BrotliState::new_strict(Heap, Heap, Heap),
            window,
            piece: vec![0; PIECE].into_boxed_slice(),
            total: 0,
            begun: false,
            done: false,
        }
    }

    pub(super) fn may_end(&self) -> bool {
        self.done
    }

    pub(super) fn push(&mut self, input: &[u8], sink: &mut Sink<'_>) -> Result<(), Fault> {
        let Some(first) = input.first() else {
            return Ok(());
        };
        if !self.begun {
            // All of it stands in the first byte.
            if window(*first).ok_or(Fault::Header)? > self.window {
                return Err(Fault::Window);
            }
            self.begun = true;
        }
        let (mut left, mut at) = (input.len(), 0);
        while !self.done {
            let (mut room, mut made) = (self.piece.len(), 0);
            let result = BrotliDecompressStream(
                &mut left,
                &mut at,
                input,
                &mut room,
                &mut made,
                &mut self.piece,
                &mut self.total,
                &mut self.state,
            );
            let bytes = self.piece.get(..made).ok_or(Fault::Data)?;
            if !bytes.is_empty() {
                sink(bytes)?;
            }
            match result {
                BrotliResult::ResultSuccess => self.done = true,
                BrotliResult::NeedsMoreInput => return Ok(()),
                BrotliResult::NeedsMoreOutput if made > 0 => {}
                BrotliResult::NeedsMoreOutput | BrotliResult::ResultFailure => return Err(Fault::Data),
            }
        }
        if left > 0 { Err(Fault::Trailing) } else { Ok(()) }
    }
}

/// The window's size in bytes that RFC 7932 9.1 puts into the stream's first bits; nothing for what it does not know.
fn window(first: u8) -> Option<usize> {
    let bits = match (first & 1, first >> 1 & 7, first >> 4 & 7) {
        (0, _, _) => 16,
        (_, 0, 0) => 17,
        (_, 0, 1) => return None,
        (_, 0, more) => u32::from(more).saturating_add(8),
        (_, more, _) => u32::from(more).saturating_add(17),
    };
    1usize.checked_shl(bits)
}

/// Gives memory out and takes it back.
struct Heap;

#[derive(Default)]
struct Cells<T>(Vec<T>);

impl<T> SliceWrapper<T> for Cells<T> {
    fn slice(&self) -> &[T] {
        &self.0
    }
}

impl<T> SliceWrapperMut<T> for Cells<T> {
    fn slice_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T: Clone + Default> Allocator<T> for Heap {
    type AllocatedMemory = Cells<T>;

    fn alloc_cell(&mut self, len: usize) -> Cells<T> {
        Cells(vec![T::default(); len])
    }

    fn free_cell(&mut self, _: Cells<T>) {}
}

const _: fn() = || {
    fn gives<A: Allocator<u8> + Allocator<u32> + Allocator<HuffmanCode>>(_: A) {}
    gives(Heap);
};
