//! How bodies are cut into chunks, and how their end comes: the delivery matrix.
//!
//! 1. A delivery is for requests and responses alike, or for one of them (`requests=bytes`); the other then comes whole.
//! 2. `+trailers` lets the end of a body come with trailers: where a case has none, an innocuous line is added, which is not reported.
//! 3. A body that isn't there is not cut, and gets no trailers.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::exchange::{Body, End, Headers};

/// One byte a chunk up to this many bytes; longer bodies come in this many chunks.
const MOST_CHUNKS: usize = 256;
/// Every split point up to this many bytes; of longer bodies this many, evenly spread.
const MOST_SPLITS: usize = 256;

/// The line that is added where the end is to come with trailers and there are none.
pub(super) const TRAILER: &str = "x-scrim-trailer";

/// A way to deliver bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Delivery {
    /// How requests' bodies come.
    pub request: Cutting,
    /// How responses' bodies come.
    pub response: Cutting,
}

/// A way to deliver one body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cutting {
    /// How it is cut.
    pub cut: Cut,
    /// How its end comes.
    pub end: Ending,
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

/// How a body's end comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// In an empty callback after the last chunk, or with the trailers that the case has.
    Empty,
    /// With the last chunk.
    WithLastChunk,
    /// With trailers, in any case.
    WithTrailers,
}

/// Deliveries: a list, or the word `all`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deliveries(pub Vec<Delivery>);

impl Cutting {
    const WHOLE: Self = Self {
        cut: Cut::Whole,
        end: Ending::Empty,
    };

    fn parse(word: &str) -> Option<Self> {
        let (word, end) = match word {
            "last_chunk_ends" => {
                return Some(Self {
                    end: Ending::WithLastChunk,
                    ..Self::WHOLE
                });
            }
            "trailers" => {
                return Some(Self {
                    end: Ending::WithTrailers,
                    ..Self::WHOLE
                });
            }
            _ => match word.split_once('+') {
                None => (word, Ending::Empty),
                Some((word, "last_chunk_ends")) => (word, Ending::WithLastChunk),
                Some((word, "trailers")) => (word, Ending::WithTrailers),
                Some(_) => return None,
            },
        };
        let cut = match word {
            "whole" => Cut::Whole,
            "bytes" => Cut::Bytes,
            "every_split" => Cut::EverySplit,
            _ => Cut::Chunks(word.strip_prefix("chunks=")?.parse().ok().filter(|count| *count > 0)?),
        };
        Some(Self { cut, end })
    }

    /// The bodies to try: one, or one for every split. `sizes` are those of the first chunks, where a case gives them.
    pub fn bodies(&self, bytes: &[u8], trailers: &Headers, sizes: Option<&[usize]>) -> Vec<Body> {
        let mut trailers = trailers.clone();
        if self.end == Ending::WithTrailers && trailers.is_empty() && !bytes.is_empty() {
            trailers.push((TRAILER.to_owned(), b"1".to_vec()));
        }
        let body = |chunks: Vec<&[u8]>| Body {
            chunks: chunks
                .into_iter()
                .filter(|chunk| !chunk.is_empty())
                .map(<[u8]>::to_vec)
                .collect(),
            end: match self.end {
                Ending::WithLastChunk => End::WithLastChunk,
                Ending::Empty | Ending::WithTrailers => End::Empty,
            },
            trailers: trailers.clone(),
        };
        if let Some(sizes) = sizes {
            return vec![body(sized(bytes, sizes))];
        }
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

impl Delivery {
    /// What a file that names no deliveries gets.
    pub const DEFAULT: [Self; 3] = [
        Self::alike(Cut::Whole, Ending::Empty),
        Self::alike(Cut::Whole, Ending::WithLastChunk),
        Self::alike(Cut::Bytes, Ending::Empty),
    ];

    /// All ways; for a run that looks hard.
    pub const ALL: [Self; 10] = [
        Self::alike(Cut::Whole, Ending::Empty),
        Self::alike(Cut::Whole, Ending::WithLastChunk),
        Self::alike(Cut::Whole, Ending::WithTrailers),
        Self::alike(Cut::Chunks(3), Ending::Empty),
        Self::alike(Cut::Chunks(3), Ending::WithLastChunk),
        Self::alike(Cut::Bytes, Ending::Empty),
        Self::alike(Cut::Bytes, Ending::WithLastChunk),
        Self::alike(Cut::Bytes, Ending::WithTrailers),
        Self::alike(Cut::EverySplit, Ending::Empty),
        Self::alike(Cut::EverySplit, Ending::WithTrailers),
    ];

    const fn alike(cut: Cut, end: Ending) -> Self {
        let cutting = Cutting { cut, end };
        Self {
            request: cutting,
            response: cutting,
        }
    }

    /// Parses `whole`, `last_chunk_ends`, `trailers`, `bytes`, `every_split` or `chunks=N`, the last three also with
    /// `+last_chunk_ends` or `+trailers`; for one side only with `requests=` or `responses=` before it.
    ///
    /// # Errors
    /// What is known instead.
    pub fn parse(word: &str) -> Result<Self, String> {
        let whole = Cutting::WHOLE;
        let delivery = if let Some(word) = word.strip_prefix("requests=") {
            Cutting::parse(word).map(|request| Self {
                request,
                response: whole,
            })
        } else if let Some(word) = word.strip_prefix("responses=") {
            Cutting::parse(word).map(|response| Self {
                request: whole,
                response,
            })
        } else {
            Cutting::parse(word).map(|cutting| Self::alike(cutting.cut, cutting.end))
        };
        delivery.ok_or_else(|| {
            format!(
                "unknown delivery `{word}`: use whole, last_chunk_ends, trailers, bytes, every_split or chunks=3, with +last_chunk_ends or \
                 +trailers behind, or requests= or responses= before it"
            )
        })
    }

    /// As [`Self::parse`], and `all` for all ways.
    ///
    /// # Errors
    /// What is known instead.
    pub fn parse_all(word: &str) -> Result<Vec<Self>, String> {
        match word {
            "all" => Ok(Self::ALL.to_vec()),
            word => Self::parse(word).map(|one| vec![one]),
        }
    }
}

/// Chunks of these sizes, and one of what remains.
fn sized<'a>(bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = bytes;
    let mut chunks = Vec::new();
    for size in sizes {
        let (chunk, after) = rest.split_at(rest.len().min(*size));
        chunks.push(chunk);
        rest = after;
    }
    chunks.push(rest);
    chunks
}

fn pieces(bytes: &[u8], count: usize) -> Vec<&[u8]> {
    let count = count.clamp(1, bytes.len().max(1));
    (0..count)
        .map(|index| &bytes[index * bytes.len() / count..(index + 1) * bytes.len() / count])
        .collect()
}

impl fmt::Display for Cutting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.cut, self.end) {
            (Cut::Whole, Ending::WithLastChunk) => return f.write_str("last_chunk_ends"),
            (Cut::Whole, Ending::WithTrailers) => return f.write_str("trailers"),
            (Cut::Whole, Ending::Empty) => f.write_str("whole"),
            (Cut::Bytes, _) => f.write_str("bytes"),
            (Cut::EverySplit, _) => f.write_str("every_split"),
            (Cut::Chunks(count), _) => write!(f, "chunks={count}"),
        }?;
        f.write_str(match self.end {
            Ending::Empty => "",
            Ending::WithLastChunk => "+last_chunk_ends",
            Ending::WithTrailers => "+trailers",
        })
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request, response } = self;
        match () {
            () if request == response => write!(f, "{request}"),
            () if *response == Cutting::WHOLE => write!(f, "requests={request}"),
            () if *request == Cutting::WHOLE => write!(f, "responses={response}"),
            () => write!(f, "requests={request} responses={response}"),
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
            #[serde(default)]
            trailers: bool,
            requests: Option<String>,
            responses: Option<String>,
        }
        struct Word;
        impl<'de> Visitor<'de> for Word {
            type Value = Delivery;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a delivery: whole, last_chunk_ends, trailers, bytes, every_split or {chunks: 3}")
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<Delivery, E> {
                Delivery::parse(word).map_err(E::custom)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Delivery, A::Error> {
                let full = Full::deserialize(de::value::MapAccessDeserializer::new(map))?;
                let cuts = (
                    full.chunks,
                    full.bytes.unwrap_or(false),
                    full.every_split.unwrap_or(false),
                );
                let end = match (full.last_chunk_ends, full.trailers) {
                    (false, false) => Ending::Empty,
                    (true, false) => Ending::WithLastChunk,
                    (false, true) => Ending::WithTrailers,
                    (true, true) => {
                        return Err(de::Error::custom(
                            "an end comes in one way: keep one of last_chunk_ends, trailers",
                        ));
                    }
                };
                if full.requests.is_some() || full.responses.is_some() {
                    if cuts != (None, false, false) || end != Ending::Empty {
                        return Err(de::Error::custom(
                            "`requests` and `responses` say how each is cut: move the other keys into them, such as `requests: bytes+trailers`",
                        ));
                    }
                    let side = |word: Option<String>| match word {
                        None => Ok(Cutting::WHOLE),
                        Some(word) => Cutting::parse(&word)
                            .ok_or_else(|| de::Error::custom(Delivery::parse(&word).err().unwrap_or_default())),
                    };
                    return Ok(Delivery {
                        request: side(full.requests)?,
                        response: side(full.responses)?,
                    });
                }
                let cut = match cuts {
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
                Ok(Delivery::alike(cut, end))
            }
        }
        deserializer.deserialize_any(Word)
    }
}

impl<'de> Deserialize<'de> for Deliveries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Deliveries;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of deliveries, or `all`")
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<Deliveries, E> {
                Delivery::parse_all(word).map(Deliveries).map_err(E::custom)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Deliveries, A::Error> {
                let mut list = Vec::new();
                while let Some(one) = seq.next_element()? {
                    list.push(one);
                }
                if list.is_empty() {
                    return Err(de::Error::custom("`deliver` is empty: name a delivery, such as whole"));
                }
                Ok(Deliveries(list))
            }
        }
        deserializer.deserialize_any(List)
    }
}

impl JsonSchema for Delivery {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Delivery".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "How bodies are cut into chunks, and whether the end comes with the last chunk, with trailers or alone.",
            "anyOf": [
                {"enum": ["whole", "last_chunk_ends", "trailers", "bytes", "every_split"]},
                {"type": "string", "pattern": "^(requests=|responses=)?(whole|bytes|every_split|chunks=[1-9][0-9]*|last_chunk_ends|trailers)(\\+last_chunk_ends|\\+trailers)?$"},
                {
                    "type": "object",
                    "additionalProperties": false,
                    "properties": {
                        "chunks": {"type": "integer", "minimum": 1},
                        "bytes": {"type": "boolean"},
                        "every_split": {"type": "boolean"},
                        "last_chunk_ends": {"type": "boolean"},
                        "trailers": {"type": "boolean"},
                        "requests": {"type": "string"},
                        "responses": {"type": "string"},
                    },
                },
            ],
        })
    }
}

impl JsonSchema for Deliveries {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Deliveries".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<Delivery>();
        json_schema!({
            "description": "A list of deliveries; one of them, or `all`, may stand alone.",
            "anyOf": [{"const": "all"}, {"type": "string"}, {"type": "array", "minItems": 1, "items": one}],
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
                for body in delivery.request.bodies(&bytes, &Vec::new(), None) {
                    assert_eq!(body.chunks.concat(), bytes, "{delivery} of {length}");
                    assert!(body.chunks.iter().all(|chunk| !chunk.is_empty()));
                    assert!(body.chunks.len() <= MOST_CHUNKS);
                    assert_eq!(
                        !body.trailers.is_empty(),
                        delivery.request.end == Ending::WithTrailers && length > 0
                    );
                }
            }
        }
    }

    #[test]
    fn every_split_tries_every_place() {
        let bodies = Delivery::parse("every_split")
            .unwrap()
            .response
            .bodies(b"abcd", &Vec::new(), None);
        let cuts: Vec<usize> = bodies.iter().map(|body| body.chunks[0].len()).collect();
        assert_eq!(cuts, [1, 2, 3]);
    }

    #[test]
    fn sizes_that_a_case_gives_win() {
        let sizes = |sizes: &[usize]| {
            let body = Delivery::parse("bytes")
                .unwrap()
                .request
                .bodies(b"abcdef", &Vec::new(), Some(sizes))
                .remove(0);
            body.chunks.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&[1, 2]), [1, 2, 3]);
        assert_eq!(sizes(&[0, 6, 9]), [6]);
    }

    #[test]
    fn the_case_s_own_trailers_are_kept() {
        let own = vec![("x-own".to_owned(), b"1".to_vec())];
        let bodies = Delivery::parse("trailers").unwrap().request.bodies(b"a", &own, None);
        assert_eq!(bodies[0].trailers, own);
    }

    #[test]
    fn words_are_what_they_are_called() {
        for delivery in Delivery::ALL {
            assert_eq!(Delivery::parse(&delivery.to_string()), Ok(delivery));
        }
        for word in [
            "requests=bytes+trailers",
            "responses=chunks=3+last_chunk_ends",
            "requests=last_chunk_ends",
        ] {
            assert_eq!(
                Delivery::parse(word).map(|delivery| delivery.to_string()),
                Ok(word.to_owned())
            );
        }
        for wrong in ["", "chunks=0", "chunks=x", "bytes+more", "requests=", "all"] {
            assert!(
                Delivery::parse(wrong).unwrap_err().contains("unknown delivery"),
                "{wrong}"
            );
        }
        assert_eq!(Delivery::parse_all("all").unwrap().len(), Delivery::ALL.len());
    }
}
