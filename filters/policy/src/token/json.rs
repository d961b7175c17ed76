//! JSON read strictly: a name that stands twice in one object is refused, depth and count are bounded.
//!
//! Parsers disagree about which of two equal names counts (RFC 8259 section 4), so a token that has them could mean one thing here and another behind the
//! gateway; RFC 7515 section 4 and RFC 7519 section 4 allow to refuse it. The grammar itself is `serde_json`'s.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A JSON value, as far as anybody here asks, that borrows from the text where it has no escapes. Has no `Debug`: it holds claims.
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    Unsigned(u64),
    /// Below zero.
    Negative,
    Float(f64),
    Text(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    Object(Object<'a>),
}

/// A JSON object: names are unique.
pub(crate) struct Object<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

impl<'a> Object<'a> {
    pub(crate) fn get(&self, name: &str) -> Option<&Json<'a>> {
        self.0.iter().find(|(each, _)| each == name).map(|(_, value)| value)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Json<'a>)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

impl Json<'_> {
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// What a document may at most have.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Of arrays and objects in one another; the outermost is 1.
    pub(crate) depth: u32,
    /// Of values of any kind, the outermost included.
    pub(crate) values: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JsonError {
    /// Not JSON, not UTF-8, or not an object.
    Syntax,
    /// An object has a name twice.
    DuplicateName,
    /// Deeper or larger than allowed.
    Limit,
}

/// Reads a text that must be one JSON object and nothing else.
pub(crate) fn parse_object(text: &[u8], limits: Limits) -> Result<Object<'_>, JsonError> {
    let budget = Budget {
        values: Cell::new(limits.values),
        fault: Cell::new(JsonError::Syntax),
    };
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Seed {
        depth: limits.depth,
        budget: &budget,
    }
    .deserialize(&mut deserializer);
    match (value, deserializer.end()) {
        (Ok(Json::Object(object)), Ok(())) => Ok(object),
        (Ok(_), _) => Err(JsonError::Syntax),
        (Err(_), _) => Err(budget.fault.get()),
    }
}

struct Budget {
    values: Cell<u32>,
    fault: Cell<JsonError>,
}

impl Budget {
    fn fail<E: Error>(&self, fault: JsonError) -> E {
        self.fault.set(fault);
        E::custom("")
    }
}

struct Seed<'b> {
    depth: u32,
    budget: &'b Budget,
}

impl Seed<'_> {
    fn inner<E: Error>(&self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Seed {
                depth,
                budget: self.budget,
            }),
            None => Err(self.budget.fail(JsonError::Limit)),
        }
    }

    fn again(&self) -> Self {
        Seed {
            depth: self.depth,
            budget: self.budget,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        match self.budget.values.get().checked_sub(1) {
            Some(left) => self.budget.values.set(left),
            None => return Err(self.budget.fail(JsonError::Limit)),
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Json<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Unsigned(value))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Json<'de>, E> {
        Ok(Json::Negative)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Json::Float(value))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Json<'de>, A::Error> {
        let inner = self.inner()?;
        let mut list = Vec::new();
        while let Some(value) = sequence.next_element_seed(inner.again())? {
            list.push(value);
        }
        Ok(Json::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let inner = self.inner()?;
        let mut members = Vec::with_capacity(8);
        while let Some(name) = map.next_key_seed(NameSeed)? {
            members.push((name, map.next_value_seed(inner.again())?));
        }
        if has_duplicate(&members) {
            return Err(self.budget.fail(JsonError::DuplicateName));
        }
        Ok(Json::Object(Object(members)))
    }
}

/// Whether a name stands twice, by the names as they are after unescaping.
fn has_duplicate(members: &[(Cow<'_, str>, Json<'_>)]) -> bool {
    // Sorted, so that many names in a hostile token do not cost their square.
    let mut names: Vec<&str> = members.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    names.iter().zip(names.iter().skip(1)).any(|(one, next)| one == next)
}

struct NameSeed;

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for NameSeed {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(value.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { depth: 4, values: 16 };

    fn fault(text: &str) -> Option<JsonError> {
        parse_object(text.as_bytes(), LIMITS).err()
    }

    #[test]
    fn reads_every_kind_of_value() {
        let object = parse_object(
            br#" {"a":null,"b":true,"c":1,"d":-1,"e":1.5,"f":"x\u00e9","g":[{}]} "#,
            LIMITS,
        )
        .ok()
        .unwrap();
        assert!(matches!(object.get("a"), Some(Json::Null)));
        assert!(matches!(object.get("b"), Some(Json::Bool(_))));
        assert!(matches!(object.get("c"), Some(Json::Unsigned(1))));
        assert!(matches!(object.get("d"), Some(Json::Negative)));
        assert!(matches!(object.get("e"), Some(Json::Float(_))));
        assert_eq!(object.get("f").and_then(Json::as_text), Some("x\u{e9}"));
        assert!(matches!(object.get("g"), Some(Json::Array(list)) if matches!(list.first(), Some(Json::Object(_)))));
        assert!(!object.has("h"));
    }

    #[test]
    fn refuses_a_name_that_stands_twice() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":2,"\u0061":3}"#,
            r#"{"x":[{"a":1,"a":2}]}"#,
            r#"{"":1,"":1}"#,
        ] {
            assert_eq!(fault(text), Some(JsonError::DuplicateName), "{text}");
        }
        assert_eq!(fault(r#"{"a":{"a":1},"A":2}"#), None);
    }

    #[test]
    fn refuses_what_is_no_object() {
        for text in [
            "",
            "1",
            "[]",
            "null",
            "\"x\"",
            "{",
            "{}{}",
            "{} x",
            "{'a':1}",
            r#"{"a":01}"#,
            r#"{"a":1,}"#,
            r#"{"a":NaN}"#,
            r#"{"a":1e999}"#,
            r#"{"a":"\ud800"}"#,
            "\u{feff}{}",
            "{\"a\":\"\n\"}",
        ] {
            assert_eq!(fault(text), Some(JsonError::Syntax), "{text}");
        }
        assert_eq!(parse_object(b"{\"a\":\"\xff\"}", LIMITS).err(), Some(JsonError::Syntax));
    }

    #[test]
    fn bounds_depth_and_count() {
        assert_eq!(fault(r#"{"a":[[[]]]}"#), None);
        assert_eq!(fault(r#"{"a":[[[[]]]]}"#), Some(JsonError::Limit));
        assert_eq!(fault(&format!(r#"{{"a":[{}0]}}"#, "0,".repeat(13))), None);
        assert_eq!(
            fault(&format!(r#"{{"a":[{}0]}}"#, "0,".repeat(14))),
            Some(JsonError::Limit)
        );
        assert_eq!(fault(&"[".repeat(100_000)), Some(JsonError::Limit));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(text in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse_object(&text, LIMITS);
        }
    }
}
