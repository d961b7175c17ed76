//! A body's way: undone codings, then one trimmed value, or one after another.

use std::sync::Arc;

use super::Shape;
use super::slots::{Slot, Slots};
use crate::decode::{Caps, DecodeError, Decoder};
use crate::framing::Splitter;
use crate::trim::{Counts, Limits, Program, Pseudonymise, PseudonymsMissing, Rewrite, Trimmer};

/// The most bytes that one piece of a body may become: all of them are in memory at once.
const MAX_AT_ONCE: usize = if cfg!(test) { 1 << 20 } else { 32 << 20 };

/// What is to be done to a body.
pub struct Plan {
    /// The view's place in the policy.
    pub view: usize,
    /// What it does.
    pub(crate) program: Arc<Program>,
    pub(crate) shape: Shape,
    pub(crate) caps: Caps,
}

impl Plan {
    /// What is done to each value.
    pub fn program(&self) -> Arc<Program> {
        Arc::clone(&self.program)
    }
}

/// What stands in a body.
enum Content {
    One(Box<Trimmer>),
    Many(Box<Many>),
}

/// Records, each with a trimmer of its own.
struct Many {
    splitter: Splitter,
    maker: Maker,
}

/// Makes trimmers.
struct Maker {
    program: Arc<Program>,
    tokens: Option<Arc<Pseudonymise>>,
    year: Option<u16>,
}

impl Maker {
    fn make(&self) -> Result<Trimmer, PseudonymsMissing> {
        let trimmer = Trimmer::new(Arc::clone(&self.program), self.tokens.clone(), Limits::default())?;
        Ok(trimmer.with_year(self.year))
    }
}

/// Trims one body.
pub(crate) struct Pipe {
    decoder: Option<(Decoder, Slot)>,
    content: Content,
    /// Nothing came yet.
    empty: bool,
}

impl Pipe {
    /// Starts on a body.
    ///
    /// # Errors
    /// The program tokenizes and `tokens` is missing, or too many bodies are being decoded.
    pub(crate) fn new(
        plan: &Plan,
        tokens: Option<Arc<Pseudonymise>>,
        year: Option<u16>,
        slots: &Slots,
    ) -> Result<Pipe, &'static str> {
        let maker = Maker {
            program: Arc::clone(&plan.program),
            tokens,
            year,
        };
        let first = maker.make().map_err(|PseudonymsMissing| "no_key")?;
        Ok(Pipe {
            decoder: plan.shape.decoder(plan.caps, slots)?,
            content: match plan.shape.framing {
                None => Content::One(Box::new(first)),
                Some(framing) => Content::Many(Box::new(Many {
                    splitter: Splitter::new(framing),
                    maker,
                })),
            },
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
        let content = &mut self.content;
        let Some((decoder, _)) = &mut self.decoder else {
            return content.push(rewrite, piece, end, out);
        };
        let pushed = decoder.push(piece, end, &mut |piece| {
            content.push(rewrite, piece, false, out)?;
            if out.len() > MAX_AT_ONCE {
                Err("decode_at_once")
            } else {
                Ok(())
            }
        });
        match pushed {
            Ok(()) if end => content.push(rewrite, b"", true, out),
            Ok(()) => Ok(()),
            Err(DecodeError::Body(fault)) => Err(fault.code()),
            Err(DecodeError::Sink(code)) => Err(code),
        }
    }

    /// What was taken out so far.
    pub(crate) fn counts(&self) -> Counts {
        match &self.content {
            Content::One(trimmer) => trimmer.counts(),
            Content::Many(many) => many.splitter.counts(),
        }
    }
}

impl Content {
    fn push(
        &mut self,
        rewrite: Option<&Rewrite<'_>>,
        piece: &[u8],
        end: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        match self {
            Content::One(trimmer) => trimmer
                .push_with(rewrite, piece, end, out)
                .map_err(|error| error.code()),
            Content::Many(many) => {
                let Many { splitter, maker } = &mut **many;
                splitter
                    .push_with(&mut || maker.make().ok(), rewrite, piece, end, out)
                    .map_err(|error| error.code())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::ResponseHead;
    use crate::response_trim::inspectable;
    use crate::trim::Selector;

    fn deflated(body: &[u8]) -> Vec<u8> {
        miniz_oxide::deflate::compress_to_vec_zlib(body, 6)
    }

    /// What comes out of a body with `ssn` denied, the same for every way to cut it in two and byte by byte.
    fn piped(lines: &[(&str, &str)], caps: Caps, body: &[u8]) -> Result<String, &'static str> {
        let lines = [(":status", "200")].iter().chain(lines);
        let lines = lines.map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
        let head = ResponseHead::new(lines);
        let run = |chunks: &mut dyn Iterator<Item = &[u8]>| {
            let deny = vec![Selector::parse("$..ssn").unwrap()];
            let plan = Plan {
                view: 0,
                program: Arc::new(Program::new(deny, None, Vec::new()).unwrap()),
                shape: inspectable(&head, true)?,
                caps,
            };
            let mut pipe = Pipe::new(&plan, None, None, &Slots::default()).unwrap();
            let mut out = Vec::new();
            for chunk in chunks {
                pipe.push(None, chunk, false, &mut out)?;
            }
            pipe.push(None, b"", true, &mut out)?;
            Ok(String::from_utf8(out).unwrap())
        };
        let whole = run(&mut [body].into_iter());
        assert_eq!(run(&mut body.chunks(1)), whole);
        for at in 0..body.len() {
            let (one, other) = body.split_at(at);
            assert_eq!(run(&mut [one, other].into_iter()), whole, "cut at {at}");
        }
        whole
    }

    const JSON: (&str, &str) = ("content-type", "application/json");
    const DEFLATE: (&str, &str) = ("content-encoding", "deflate");

    #[test]
    fn codings_are_undone_before_values_are_trimmed() {
        let body = br#"{"ssn":"1","a":[{"ssn":2},3]}"#;
        let trimmed = Ok(r#"{"a":[{},3]}"#.to_owned());
        assert_eq!(piped(&[JSON], Caps::default(), body), trimmed);
        assert_eq!(piped(&[JSON, DEFLATE], Caps::default(), &deflated(body)), trimmed);
        let twice = ("content-encoding", "deflate, deflate");
        assert_eq!(
            piped(&[JSON, twice], Caps::default(), &deflated(&deflated(body))),
            trimmed
        );
    }

    #[test]
    fn records_are_trimmed_one_by_one() {
        let lines = ("content-type", "application/fhir+ndjson");
        let body = b"{\"ssn\":1,\"a\":2}\n\n{\"ssn\":3}";
        let trimmed = Ok("{\"a\":2}\n{}\n".to_owned());
        assert_eq!(piped(&[lines], Caps::default(), body), trimmed);
        assert_eq!(piped(&[lines, DEFLATE], Caps::default(), &deflated(body)), trimmed);
        assert_eq!(piped(&[JSON], Caps::default(), body), Err("json_trailing"));
        assert_eq!(piped(&[lines], Caps::default(), b"{\"a\":"), Err("json_truncated"));
    }

    #[test]
    fn nothing_passes_as_nothing() {
        for lines in [
            &[JSON][..],
            &[JSON, DEFLATE],
            &[("content-type", "application/x-ndjson")],
            &[],
        ] {
            assert_eq!(piped(lines, Caps::default(), b""), Ok(String::new()));
        }
    }

    #[test]
    fn what_lies_about_its_coding_is_refused() {
        let body = br#"{"a":1}"#;
        assert!(piped(&[JSON, DEFLATE], Caps::default(), body).is_err());
        assert!(piped(&[JSON], Caps::default(), &deflated(body)).is_err());
        assert!(piped(&[JSON, DEFLATE], Caps::default(), &deflated(body)[..10]).is_err());
        let large = deflated(format!("[{}1]", "1,".repeat(1 << 20)).as_bytes());
        let plan = Plan {
            view: 0,
            program: Arc::new(Program::new(Vec::new(), None, Vec::new()).unwrap()),
            shape: inspectable(
                &ResponseHead::new(
                    [(":status", "200"), DEFLATE].map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())),
                ),
                true,
            )
            .unwrap(),
            caps: Caps {
                max_ratio: 2000,
                ..Caps::default()
            },
        };
        let run = |size| {
            let mut pipe = Pipe::new(&plan, None, None, &Slots::default()).unwrap();
            large
                .chunks(size)
                .try_for_each(|piece| pipe.push(None, piece, false, &mut Vec::new()))
        };
        assert_eq!((run(large.len()), run(256)), (Err("decode_at_once"), Ok(())));
        let caps = Caps {
            max_size: 6,
            ..Caps::default()
        };
        assert_eq!(piped(&[JSON, DEFLATE], caps, &deflated(body)), Err("decode_size"));
    }
}
