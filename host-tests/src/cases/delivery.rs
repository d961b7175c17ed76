//! How bodies are cut into chunks: the delivery matrix.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use crate::exchange::{Body, End, Headers};

/// One byte a chunk up to this many bytes; longer bodies come in this many chunks.
const MOST_CHUNKS: usize = 256;
/// Every split point up to this many bytes; of longer bodies this many, evenly spread.
const MOST_SPLITS: usize = 256;

/// A way to deliver bodies, for requests and responses alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Delivery {
    /// How they are cut.
    pub cut: Cut,
    /// How the end comes.
    pub end: End,
}

/// How a body is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cut {
    /// In one chunk.
    Whole,
    /// In so many chunks of nearly the same size.
    Chunks(usize),
    /// One byte a chunk.
    Bytes,
    /// In two chunks, once for every place at which it can be cut.
    EverySplit,
}

impl Delivery {
    /// What a file that names no deliveries gets.
    pub const DEFAULT: [Self; 3] = [
        Self::new(Cut::Whole, End::Empty),
        Self::new(Cut::Whole, End::WithLastChunk),
        Self::new(Cut::Bytes, End::Empty),
    ];

    /// All ways; for a run that looks hard.
    pub const ALL: [Self; 7] = [
        Self::new(Cut::Whole, End::Empty),
        Self::new(Cut::Whole, End::WithLastChunk),
        Self::new(Cut::Chunks(3), End::Empty),
        Self::new(Cut::Chunks(3), End::WithLastChunk),
        Self::new(Cut::Bytes, End::Empty),
        Self::new(Cut::Bytes, End::WithLastChunk),
        Self::new(Cut::EverySplit, End::Empty),
    ];

    const fn new(cut: Cut, end: End) -> Self {
        Self { cut, end }
    }

    /// Parses `whole`, `last_chunk_ends`, `bytes`, `every_split` or `chunks=N`, as on a command line.
    ///
    /// # Errors
    /// What is known instead.
    pub fn parse(word: &str) -> Result<Self, String> {
        Ok(match word {
            "whole" => Self::new(Cut::Whole, End::Empty),
            "last_chunk_ends" => Self::new(Cut::Whole, End::WithLastChunk),
            "bytes" => Self::new(Cut::Bytes, End::Empty),
            "every_split" => Self::new(Cut::EverySplit, End::Empty),
            other => match other
                .strip_prefix("chunks=")
                .and_then(|count| count.parse().ok())
                .filter(|count| *count > 0)
            {
                Some(count) => Self::new(Cut::Chunks(count), End::Empty),
                None => {
                    return Err(format!(
                        "unknown delivery `{other}`: use whole, last_chunk_ends, bytes, every_split or {{chunks: 3}}"
                    ));
                }
            },
        })
    }

    /// The bodies to try: one, or one for every split.
    pub fn bodies(&self, bytes: &[u8], trailers: &Headers) -> Vec<Body> {
        let body = |chunks: Vec<&[u8]>| Body {
            chunks: chunks
                .into_iter()
                .filter(|chunk| !chunk.is_empty())
                .map(<[u8]>::to_vec)
                .collect(),
            end: self.end,
            trailers: trailers.clone(),
        };
        match self.cut {
            Cut::Whole => vec![body(vec![bytes])],
            Cut::Bytes => vec![body(pieces(bytes, bytes.len().min(MOST_CHUNKS)))],
            Cut::Chunks(count) => vec![body(pieces(bytes, count))],
            Cut::EverySplit if bytes.len() < 2 => vec![body(vec![bytes])],
            Cut::EverySplit => {
                let places = bytes.len() - 1;
                let tried = places.min(MOST_SPLITS);
                (0..tried)
                    .map(|index| 1 + index * places / tried)
                    .map(|place| {
                        let (left, right) = bytes.split_at(place);
                        body(vec![left, right])
                    })
                    .collect()
            }
        }
    }
}

fn pieces(bytes: &[u8], count: usize) -> Vec<&[u8]> {
    let count = count.clamp(1, bytes.len().max(1));
    (0..count)
        .map(|index| &bytes[index * bytes.len() / count..(index + 1) * bytes.len() / count])
        .collect()
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.cut, self.end) {
            (Cut::Whole, End::WithLastChunk) => return f.write_str("last_chunk_ends"),
            (Cut::Whole, End::Empty) => f.write_str("whole"),
            (Cut::Bytes, _) => f.write_str("bytes"),
            (Cut::EverySplit, _) => f.write_str("every_split"),
            (Cut::Chunks(count), _) => write!(f, "chunks={count}"),
        }?;
        match self.end {
            End::WithLastChunk => f.write_str("+last_chunk_ends"),
            End::Empty => Ok(()),
        }
    }
}

impl<'de> Deserialize<'de> for Delivery {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Full {
            chunks: Option<usize>,
            bytes: Option<bool>,
            every_split: Option<bool>,
            #[serde(default)]
            last_chunk_ends: bool,
        }
        struct Word;
        impl<'de> Visitor<'de> for Word {
            type Value = Delivery;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a delivery: whole, last_chunk_ends, bytes, every_split or {chunks: 3}")
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<Delivery, E> {
                Delivery::parse(word).map_err(E::custom)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Delivery, A::Error> {
                let full = Full::deserialize(de::value::MapAccessDeserializer::new(map))?;
                let end = if full.last_chunk_ends {
                    End::WithLastChunk
                } else {
                    End::Empty
                };
                let cut = match (
                    full.chunks,
                    full.bytes.unwrap_or(false),
                    full.every_split.unwrap_or(false),
                ) {
                    (Some(count), false, false) if count > 0 => Cut::Chunks(count),
                    (None, true, false) => Cut::Bytes,
                    (None, false, true) => Cut::EverySplit,
                    (None, false, false) => Cut::Whole,
                    _ => {
                        return Err(de::Error::custom(
                            "a delivery is cut in one way: give one of chunks (1 or more), bytes, every_split",
                        ));
                    }
                };
                Ok(Delivery { cut, end })
            }
        }
        deserializer.deserialize_any(Word)
    }
}

impl JsonSchema for Delivery {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Delivery".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "How bodies are cut into chunks, and whether the end comes with the last chunk or alone.",
            "anyOf": [
                {"enum": ["whole", "last_chunk_ends", "bytes", "every_split"]},
                {
                    "type": "object",
                    "additionalProperties": false,
                    "properties": {
                        "chunks": {"type": "integer", "minimum": 1},
                        "bytes": {"type": "boolean"},
                        "every_split": {"type": "boolean"},
                        "last_chunk_ends": {"type": "boolean"},
                    },
                },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_delivery_gives_the_same_bytes() {
        for length in [0, 1, 2, 3, 7, 255, 256, 257, 1000] {
            let bytes: Vec<u8> = (0..length).map(|n: u32| n as u8).collect();
            for delivery in Delivery::ALL {
                for body in delivery.bodies(&bytes, &Vec::new()) {
                    assert_eq!(body.chunks.concat(), bytes, "{delivery} of {length}");
                    assert!(body.chunks.iter().all(|chunk| !chunk.is_empty()));
                    assert!(body.chunks.len() <= MOST_CHUNKS);
                }
            }
        }
    }

    #[test]
    fn every_split_tries_every_place() {
        let bodies = Delivery::parse("every_split").unwrap().bodies(b"abcd", &Vec::new());
        let cuts: Vec<usize> = bodies.iter().map(|body| body.chunks[0].len()).collect();
        assert_eq!(cuts, [1, 2, 3]);
    }
}
