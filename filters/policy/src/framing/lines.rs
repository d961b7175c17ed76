//! NDJSON: a record in each line.

use memchr::memchr2;

use super::{Fault, FrameError, Records};

#[derive(Default)]
pub(super) struct Lines {
    /// The last byte was a CR, so that LF is next.
    cr: bool,
}

impl Lines {
    pub(super) fn push(
        &mut self,
        records: &mut Records<'_, '_>,
        mut chunk: &[u8],
        end: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        while let Some(first) = chunk.first() {
            if self.cr && *first != b'\n' {
                return Err(Fault::StrayCr.into());
            }
            // No string holds a raw CR or LF (RFC 8259 section 7), so that what is between them is of one record.
            let at = memchr2(b'\r', b'\n', chunk).unwrap_or(chunk.len());
            let (piece, rest) = chunk.split_at(at);
            text(records, piece, out)?;
            chunk = match rest.split_first() {
                Some((b'\r', rest)) => {
                    self.cr = true;
                    rest
                }
                Some((_, rest)) => {
                    self.cr = false;
                    close(records, out)?;
                    rest
                }
                None => rest,
            };
        }
        match end {
            true if self.cr => Err(Fault::StrayCr.into()),
            true => close(records, out),
            false => Ok(()),
        }
    }
}

/// A part of a line. A record begins with what is not white space.
fn text(records: &mut Records<'_, '_>, piece: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
    let mut piece = piece;
    if !records.is_open() {
        let blank = piece.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        piece = piece.get(blank..).unwrap_or_default();
        if piece.is_empty() {
            return Ok(());
        }
        records.open()?;
    }
    records.push(piece, out)
}

fn close(records: &mut Records<'_, '_>, out: &mut Vec<u8>) -> Result<(), FrameError> {
    if records.is_open() {
        records.close(out)?;
        out.push(b'\n');
    }
    Ok(())
}
