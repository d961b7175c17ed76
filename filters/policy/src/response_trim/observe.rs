//! Looks on under `mode: observe`: which fields a body has, and nothing else.

use super::Shape;
use super::slots::{Slot, Slots};
use crate::decode::{Caps, DecodeError, Decoder};
use crate::framing::Framing;
use crate::inventory::{Fault, Inventory};

/// The fields of one body.
pub(crate) struct Observer {
    decoder: Option<(Decoder, Slot)>,
    framing: Option<Framing>,
    inventory: Inventory,
    /// A record is open.
    open: bool,
    /// Something came.
    any: bool,
    failed: bool,
}

impl Observer {
    /// # Errors
    /// Too many bodies are being decoded.
    pub(crate) fn new(shape: &Shape, caps: Caps, slots: &Slots) -> Result<Observer, &'static str> {
        let framing = shape.framing;
        Ok(Observer {
            decoder: shape.decoder(caps, slots)?,
            framing,
            inventory: Inventory::new(),
            open: false,
            any: false,
            failed: false,
        })
    }

    /// Takes the next bytes of the body.
    ///
    /// # Errors
    /// The code of what could not be read, once.
    pub(crate) fn push(&mut self, piece: &[u8], end: bool) -> Result<(), &'static str> {
        self.any |= !piece.is_empty();
        if self.failed || !self.any {
            return Ok(());
        }
        let (inventory, framing, open) = (&mut self.inventory, self.framing, &mut self.open);
        let mut take = |piece: &[u8], end: bool| take(inventory, framing, open, piece, end).map_err(Fault::code);
        let pushed = match &mut self.decoder {
            None => take(piece, end),
            Some((decoder, _)) => match decoder.push(piece, end, &mut |piece| take(piece, false)) {
                Ok(()) if end => take(b"", true),
                Ok(()) => Ok(()),
                Err(DecodeError::Body(fault)) => Err(fault.code()),
                Err(DecodeError::Sink(code)) => Err(code),
            },
        };
        self.failed = pushed.is_err();
        pushed
    }

    /// The paths of the fields, and how often they stood there.
    pub(crate) fn fields(&self) -> Vec<(String, u32)> {
        self.inventory.paths().map(|(path, count, _)| (path, count)).collect()
    }
}

fn take(
    inventory: &mut Inventory,
    framing: Option<Framing>,
    open: &mut bool,
    piece: &[u8],
    end: bool,
) -> Result<(), Fault> {
    match framing {
        None => inventory.push(piece, end),
        // A raw line feed stands in no JSON string, and what else sets records apart is no JSON.
        Some(Framing::Lines | Framing::Sequence) => {
            for line in piece.split_inclusive(|byte| *byte == b'\n') {
                let ends = line.ends_with(b"\n");
                for part in line.split(|byte| *byte == 0x1e) {
                    *open |= !part.trim_ascii().is_empty();
                    if *open {
                        inventory.push(part, false)?;
                    }
                }
                if ends && std::mem::take(open) {
                    inventory.push(b"", true)?;
                }
            }
            if end && std::mem::take(open) {
                inventory.push(b"", true)?;
            }
            Ok(())
        }
        // Events hold fields of their own; what they carry is not looked into.
        Some(Framing::Events) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::ResponseHead;
    use crate::response_trim::inspectable;

    fn seen(lines: &[(&str, &str)], body: &[u8]) -> (Vec<(String, u32)>, Result<(), &'static str>) {
        let lines = [(":status", "200")].iter().chain(lines);
        let head = ResponseHead::new(lines.map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())));
        let shape = inspectable(&head, true).unwrap();
        let run = |chunks: &mut dyn Iterator<Item = &[u8]>| {
            let mut observer = Observer::new(&shape, Caps::default(), &Slots::default()).unwrap();
            let mut result = Ok(());
            for chunk in chunks {
                result = result.and(observer.push(chunk, false));
            }
            result = result.and(observer.push(b"", true));
            (observer.fields(), result)
        };
        let whole = run(&mut [body].into_iter());
        assert_eq!(run(&mut body.chunks(1)), whole);
        whole
    }

    #[test]
    fn fields_are_counted_in_what_came() {
        let owned = |list: &[(&str, u32)]| list.iter().map(|(path, count)| ((*path).to_owned(), *count)).collect();
        let json = ("content-type", "application/json");
        let fields: Vec<_> = owned(&[("$", 1), ("$.a", 1)]);
        let (found, result) = seen(&[json], br#"{"a":1}"#);
        assert!(result.is_ok());
        assert_eq!(found.len(), fields.len(), "{found:?}");
        let deflated = miniz_oxide::deflate::compress_to_vec_zlib(br#"{"a":1}"#, 6);
        assert_eq!(
            seen(&[json, ("content-encoding", "deflate")], &deflated),
            (found.clone(), Ok(()))
        );
        let lines = ("content-type", "application/x-ndjson");
        let (twice, result) = seen(&[lines], b"{\"a\":1}\r\n\n{\"a\":2}");
        assert!(result.is_ok());
        assert!(twice.iter().all(|(_, count)| *count == 2) && twice.len() == found.len());
        let sequence = ("content-type", "application/json-seq");
        assert_eq!(seen(&[sequence], b"\x1e{\"a\":1}\n\x1e{\"a\":2}\n"), (twice, Ok(())));
    }

    #[test]
    fn what_is_no_json_is_told_once() {
        let json = ("content-type", "application/json");
        assert_eq!(seen(&[json], b"<html>").1, Err("inventory_json"));
        assert_eq!(seen(&[json], b"").1, Ok(()));
    }
}
