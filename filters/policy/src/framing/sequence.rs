//! JSON text sequences, RFC 7464.

use memchr::memchr;

use super::{Fault, FrameError, Records};

const RS: u8 = 0x1e;

#[derive(Default)]
pub(super) struct Sequence {
    at: At,
    /// The record's last byte so far is LF.
    line_ended: bool,
}

#[derive(Clone, Copy, Default)]
enum At {
    /// Before the first RS.
    #[default]
    Start,
    /// After RS: any more of them, or a record.
    Separator,
    Record,
}

impl Sequence {
    pub(super) fn push(
        &mut self,
        records: &mut Records<'_, '_>,
        mut chunk: &[u8],
        end: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        while let Some((first, rest)) = chunk.split_first() {
            match self.at {
                At::Start if *first == RS => self.at = At::Separator,
                At::Start => return Err(Fault::Outside.into()),
                At::Separator if *first == RS => {}
                At::Separator => {
                    out.push(RS);
                    records.open()?;
                    self.line_ended = false;
                    self.at = At::Record;
                    continue;
                }
                At::Record if *first == RS => {
                    self.close(records, out)?;
                    self.at = At::Separator;
                }
                At::Record => {
                    // No string holds a raw RS (RFC 8259 section 7).
                    let (piece, rest) = chunk.split_at(memchr(RS, chunk).unwrap_or(chunk.len()));
                    self.line_ended = piece.last() == Some(&b'\n');
                    records.push(piece, out)?;
                    chunk = rest;
                    continue;
                }
            }
            chunk = rest;
        }
        match (end, self.at) {
            (true, At::Separator) => Err(Fault::Empty.into()),
            (true, At::Record) => self.close(records, out),
            _ => Ok(()),
        }
    }

    /// RFC 7464 2.4: a number or a literal is known to be whole by what follows it, and everything ends in LF.
    fn close(&self, records: &mut Records<'_, '_>, out: &mut Vec<u8>) -> Result<(), FrameError> {
        if !self.line_ended {
            return Err(Fault::Unterminated.into());
        }
        records.close(out)?;
        out.push(b'\n');
        Ok(())
    }
}
