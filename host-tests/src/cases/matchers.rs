//! Matchers that can be written in more than one way: of a status, a number, a header.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::format::TextMatch;
use super::tree::written;

/// What a status must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatusMatch {
    /// This one.
    Exact(u16),
    /// One of this hundred: `4xx`.
    Class(u16),
    /// Any of these.
    Any(Vec<Self>),
    /// None of these.
    Not(Box<Self>),
}

impl StatusMatch {
    /// Whether it may be this one.
    pub fn accepts(&self, status: u16) -> bool {
        match self {
            Self::Exact(wanted) => *wanted == status,
            Self::Class(hundred) => status / 100 == *hundred,
            Self::Any(list) => list.iter().any(|one| one.accepts(status)),
            Self::Not(other) => !other.accepts(status),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some(hundred) = text.strip_suffix("xx") {
            return hundred
                .parse()
                .ok()
                .filter(|hundred| (1..=5).contains(hundred))
                .map(Self::Class);
        }
        text.parse()
            .ok()
            .filter(|status| (100..=999).contains(status))
            .map(Self::Exact)
    }
}

impl fmt::Display for StatusMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(status) => write!(f, "{status}"),
            Self::Class(hundred) => write!(f, "{hundred}xx"),
            Self::Any(list) => {
                let list: Vec<String> = list.iter().map(Self::to_string).collect();
                f.write_str(&list.join(" or "))
            }
            Self::Not(other) => write!(f, "not {other}"),
        }
    }
}

impl<'de> Deserialize<'de> for StatusMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = StatusMatch;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status: 200, `2xx`, a list of such, or `{not: ..}`")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<StatusMatch, E> {
                StatusMatch::parse(text).ok_or_else(|| {
                    E::custom(format!(
                        "found the text `{text}` where a status belongs: write 200, `2xx` or a list of such"
                    ))
                })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<StatusMatch, A::Error> {
                let mut list = Vec::new();
                while let Some(one) = seq.next_element()? {
                    list.push(one);
                }
                if list.is_empty() {
                    return Err(de::Error::custom(
                        "`status` is an empty list: name one, or take it away",
                    ));
                }
                Ok(StatusMatch::Any(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<StatusMatch, A::Error> {
                #[derive(serde::Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Not {
                    not: StatusMatch,
                }
                Not::deserialize(de::value::MapAccessDeserializer::new(map))
                    .map(|Not { not }| StatusMatch::Not(Box::new(not)))
            }
        }
        written(deserializer, Any)
    }
}

impl JsonSchema for StatusMatch {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StatusMatch".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let this = generator.subschema_for::<Self>();
        json_schema!({
            "description": "A status: 200, `2xx`, a list of which any may be, or `{not: ..}`.",
            "anyOf": [
                {"type": "integer", "minimum": 100, "maximum": 999},
                {"type": "string"},
                {"type": "array", "minItems": 1, "items": this},
                {"type": "object", "properties": {"not": this}, "required": ["not"], "additionalProperties": false},
            ],
        })
    }
}

/// What a number must be: this one, or within bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NumberMatch {
    /// At least this.
    pub at_least: Option<f64>,
    /// At most this.
    pub at_most: Option<f64>,
}

impl NumberMatch {
    /// Whether it may be this one.
    pub fn accepts(&self, number: f64) -> bool {
        self.at_least.is_none_or(|least| number >= least) && self.at_most.is_none_or(|most| number <= most)
    }
}

impl fmt::Display for NumberMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.at_least, self.at_most) {
            (Some(least), Some(most)) if least == most => write!(f, "{least}"),
            (Some(least), Some(most)) => write!(f, "from {least} to {most}"),
            (Some(least), None) => write!(f, "at least {least}"),
            (None, Some(most)) => write!(f, "at most {most}"),
            (None, None) => f.write_str("a number"),
        }
    }
}

impl<'de> Deserialize<'de> for NumberMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = NumberMatch;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or `{at_least: .., at_most: ..}`")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<NumberMatch, E> {
                let number: Option<f64> = text.parse().ok();
                let number = number.filter(|number| number.is_finite());
                let number = number.ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))?;
                Ok(NumberMatch {
                    at_least: Some(number),
                    at_most: Some(number),
                })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<NumberMatch, A::Error> {
                #[derive(serde::Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Bounds {
                    at_least: Option<f64>,
                    at_most: Option<f64>,
                }
                let bounds = Bounds::deserialize(de::value::MapAccessDeserializer::new(map))?;
                if bounds.at_least.is_none() && bounds.at_most.is_none() {
                    return Err(de::Error::custom(
                        "no bound is given: write `at_least`, `at_most` or a number",
                    ));
                }
                Ok(NumberMatch {
                    at_least: bounds.at_least,
                    at_most: bounds.at_most,
                })
            }
        }
        written(deserializer, Either)
    }
}

impl JsonSchema for NumberMatch {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "NumberMatch".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number, or its bounds.",
            "anyOf": [
                {"type": ["number", "string"]},
                {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": false,
                    "properties": {"at_least": {"type": "number"}, "at_most": {"type": "number"}},
                },
            ],
        })
    }
}

/// What a header must be: a text (one line that equals it), a list (these lines, in order), or a [`TextMatch`]
/// for the one line that there is.
#[derive(Clone, Debug)]
pub enum HeaderMatch {
    /// Exactly these lines, in order.
    Lines(Vec<String>),
    /// The lines, joined by `, `, match.
    Match(TextMatch),
}

impl<'de> Deserialize<'de> for HeaderMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = HeaderMatch;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a list of texts, or a matcher")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<HeaderMatch, E> {
                Ok(HeaderMatch::Lines(vec![text.to_owned()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<HeaderMatch, A::Error> {
                let mut lines = Vec::new();
                while let Some(line) = seq.next_element()? {
                    lines.push(line);
                }
                Ok(HeaderMatch::Lines(lines))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<HeaderMatch, A::Error> {
                TextMatch::deserialize(de::value::MapAccessDeserializer::new(map)).map(HeaderMatch::Match)
            }
        }
        written(deserializer, Any)
    }
}

impl JsonSchema for HeaderMatch {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HeaderMatch".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let full = generator.subschema_for::<TextMatch>();
        json_schema!({
            "description": "A text: the one line there is; a list: these lines in order; a matcher: for the lines joined by `, `.",
            "anyOf": [{"type": ["string", "integer"]}, {"type": "array", "items": {"type": "string"}}, full],
        })
    }
}
