//! How many compressed bodies are decoded at a time: each holds a window of some megabytes.

use std::cell::Cell;
use std::rc::Rc;

/// The most at a time, for all streams of a VM.
const MAX: u32 = 64;

/// What is left of them.
#[derive(Clone, Default)]
pub(crate) struct Slots(Rc<Cell<u32>>);

/// One of them, for as long as it is held.
pub(crate) struct Slot(Rc<Cell<u32>>);

impl Slots {
    /// One more; `None` when all are held.
    pub(crate) fn take(&self) -> Option<Slot> {
        let held = self.0.get().checked_add(1).filter(|held| *held <= MAX)?;
        self.0.set(held);
        Some(Slot(Rc::clone(&self.0)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_and_they_come_back() {
        let slots = Slots::default();
        let mut held: Vec<_> = (0..MAX).map_while(|_| slots.take()).collect();
        assert_eq!(held.len(), MAX as usize);
        assert!(slots.take().is_none() && slots.clone().take().is_none());
        held.pop();
        assert!(slots.take().is_some());
    }
}
