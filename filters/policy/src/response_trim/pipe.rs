//! A body's way: undone codings, then one trimmed value, or one after another.

use std::sync::Arc;

use crate::decode::{Caps, Codings, DecodeError, Decoder};
use crate::trim::{Counts, Limits, Program, Pseudonymise, PseudonymsMissing, Rewrite, Trimmer};

/// What is to be done to a body.
#[derive(Clone)]
pub struct Plan {
    /// The view's place in the policy.
    pub view: usize,
    /// What it does.
    pub(crate) program: Arc<Program>,
    /// What is to be undone first.
    pub(crate) codings: Codings,
    pub(crate) caps: Caps,
}

/// Trims one body.
pub(crate) struct Pipe {
    decoder: Option<Decoder>,
    trimmer: Trimmer,
    /// Nothing came yet.
    empty: bool,
}

impl Pipe {
    /// Starts on a body.
    ///
    /// # Errors
    /// When the program tokenizes and `tokens` is missing.
    pub(crate) fn new(
        plan: &Plan,
        tokens: Option<Arc<Pseudonymise>>,
        year: Option<u16>,
    ) -> Result<Pipe, PseudonymsMissing> {
        let _ = year;
        let trimmer = Trimmer::new(Arc::clone(&plan.program), tokens, Limits::default())?;
        Ok(Pipe {
            decoder: (!plan.codings.is_identity()).then(|| Decoder::new(&plan.codings, plan.caps)),
            trimmer,
            empty: true,
        })
    }

    /// Takes the next bytes and appends to `out` what may pass. A body of no bytes passes: there is nothing in it.
    ///
    /// # Errors
    /// The code of what is wrong. What was appended by this call must not pass.
    pub(crate) fn push(
        &mut self,
        rewrite: Option<&Rewrite<'_>>,
        piece: &[u8],
        end: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        self.empty &= piece.is_empty();
        if self.empty {
            return Ok(());
        }
        let Some(decoder) = &mut self.decoder else {
            return self
                .trimmer
                .push_with(rewrite, piece, end, out)
                .map_err(|error| error.code());
        };
        let trimmer = &mut self.trimmer;
        let pushed = decoder.push(piece, end, &mut |piece| trimmer.push_with(rewrite, piece, false, out));
        match pushed {
            Ok(()) if end => trimmer.push_with(rewrite, b"", true, out).map_err(|error| error.code()),
            Ok(()) => Ok(()),
            Err(DecodeError::Body(fault)) => Err(fault.code()),
            Err(DecodeError::Sink(error)) => Err(error.code()),
        }
    }

    /// What was taken out so far.
    pub(crate) fn counts(&self) -> Counts {
        self.trimmer.counts()
    }
}
