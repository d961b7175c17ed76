//! YAML as a tree in which every node knows its place, and from there into types.
//!
//! 1. YAML 1.2 with anchors, aliases and merge keys (`<<`); a key that stands twice in a map is refused.
//! 2. A scalar that is wanted as a text is the text that was written, quoted or not: `012`, `1.10`, `1970-01-01`.
//! 3. All problems of a document are told: what is wrong is taken away, and the rest is tried again.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{self, Deserialize, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};
use serde_json::{Number, Value};

use super::problem::{Problem, nearest, suggest};

/// More problems of one file than this help nobody.
const MOST_PROBLEMS: usize = 20;
/// What aliases may come to, in nodes.
pub(super) const MOST_NODES: usize = 100_000;
/// How deep a document may be nested.
const DEEPEST: usize = 100;

/// The name by which a type asks for its place; see [`Placed`].
const PLACED: &str = "$scrim::placed";
/// The name by which a type asks for a scalar as it was written, or a collection.
const WRITTEN: &str = "$scrim::written";

/// A place in a file, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub(super) line: u64,
    pub(super) column: u64,
}

impl At {
    fn of(marker: &Marker) -> Self {
        Self {
            line: marker.line().max(1) as u64,
            column: marker.col() as u64 + 1,
        }
    }

    pub(super) fn problem(self, file: &Path, what: impl Into<String>) -> Problem {
        Problem {
            file: file.to_owned(),
            line: self.line.max(1),
            column: self.column.max(1),
            what: what.into(),
        }
    }
}

/// A node and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: At,
    pub(super) data: Data,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(super) enum Data {
    /// A scalar without quotes: its type is what it looks like.
    Plain(String),
    /// A text.
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
    /// What was wrong and has been told.
    Gone,
}

/// A key of a map.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) at: At,
    pub(super) name: String,
}

impl Node {
    /// The value of a key of a map.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        match &self.data {
            Data::Map(map) => map.iter().find(|(key, _)| key.name == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The entries of a map; none where it is something else.
    pub(super) fn entries(&self) -> &[(Key, Self)] {
        match &self.data {
            Data::Map(map) => map,
            _ => &[],
        }
    }

    /// A scalar's text.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Plain(text) | Data::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A value that was found at run time, as if it had been written at this place.
    pub(super) fn of(value: &Value, at: At) -> Self {
        let data = match value {
            Value::Null => Data::Plain("null".to_owned()),
            Value::Bool(is) => Data::Plain(is.to_string()),
            Value::Number(number) => Data::Plain(number.to_string()),
            Value::String(text) => Data::Text(text.clone()),
            Value::Array(list) => Data::List(list.iter().map(|one| Self::of(one, at)).collect()),
            Value::Object(map) => {
                let key = |name: &String| Key { at, name: name.clone() };
                Data::Map(map.iter().map(|(name, one)| (key(name), Self::of(one, at))).collect())
            }
        };
        Self { at, data }
    }

    /// The same, at another place: where a variable is used.
    pub(super) fn moved(mut self, at: At) -> Self {
        self.at = at;
        match &mut self.data {
            Data::List(list) => *list = std::mem::take(list).into_iter().map(|one| one.moved(at)).collect(),
            Data::Map(map) => {
                for (key, value) in map {
                    key.at = at;
                    *value = std::mem::replace(value, Self { at, data: Data::Gone }).moved(at);
                }
            }
            Data::Plain(_) | Data::Text(_) | Data::Gone => {}
        }
        self
    }

    /// How many bytes its texts have.
    pub(super) fn bytes(&self) -> usize {
        match &self.data {
            Data::List(list) => list.iter().map(Self::bytes).sum(),
            Data::Map(map) => map.iter().map(|(key, value)| key.name.len() + value.bytes()).sum(),
            Data::Plain(text) | Data::Text(text) => text.len(),
            Data::Gone => 0,
        }
    }

    /// How many nodes it has.
    pub(super) fn size(&self) -> usize {
        1 + match &self.data {
            Data::List(list) => list.iter().map(Self::size).sum::<usize>(),
            Data::Map(map) => map.iter().map(|(_, value)| value.size()).sum(),
            Data::Plain(_) | Data::Text(_) | Data::Gone => 0,
        }
    }

    /// Takes away what lies at the end of a path.
    fn remove(&mut self, path: &[usize]) {
        let mut node = self;
        for index in path {
            let inner = match &mut node.data {
                Data::List(list) => list.get_mut(*index),
                Data::Map(map) => map.get_mut(*index).map(|(_, value)| value),
                _ => None,
            };
            match inner {
                Some(inner) => node = inner,
                None => return,
            }
        }
        node.data = Data::Gone;
    }

    /// The name of the key at the end of a path, if a map's entry is there.
    fn key_at(&self, path: &[usize]) -> Option<&str> {
        let (last, before) = path.split_last()?;
        let mut node = self;
        for index in before {
            node = match &node.data {
                Data::List(list) => list.get(*index)?,
                Data::Map(map) => &map.get(*index)?.1,
                _ => return None,
            };
        }
        node.entries().get(*last).map(|(key, _)| key.name.as_str())
    }
}

/// Parses one document. What is wrong with single keys goes to `problems`.
///
/// # Errors
/// When it is no YAML, or not one document.
pub(super) fn parse(file: &Path, text: &str, problems: &mut Vec<Problem>) -> Result<Node, Problem> {
    let mut builder = Builder {
        file,
        problems,
        stack: Vec::new(),
        anchors: BTreeMap::new(),
        nodes: 0,
        root: None,
    };
    for event in Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        let (event, span) =
            event.map_err(|error| At::of(error.marker()).problem(file, format!("no YAML: {}", error.info())))?;
        builder.take(event, At::of(&span.start))?;
    }
    builder
        .root
        .ok_or_else(|| At::default().problem(file, "the file is empty: give `policy` or `filters`, and `cases`"))
}

struct Builder<'a> {
    file: &'a Path,
    problems: &'a mut Vec<Problem>,
    stack: Vec<(Node, usize, Option<Key>)>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, at: At) -> Result<(), Problem> {
        let tagged = match &event {
            Event::Scalar(_, _, _, tag) | Event::SequenceStart(_, tag) | Event::MappingStart(_, tag) => tag.as_ref(),
            _ => None,
        };
        if let Some(tag) = tagged.filter(|tag| !(tag.is_yaml_core_schema() && tag.suffix == "str")) {
            return Err(at.problem(
                self.file,
                format!(
                    "the tag `{}{}` means nothing here: take it away",
                    tag.handle, tag.suffix
                ),
            ));
        }
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(at.problem(self.file, "a second document begins here: a file holds one"))
            }
            Event::Scalar(text, style, anchor, tag) => {
                let data = if style == ScalarStyle::Plain && tag.is_none() {
                    Data::Plain(text.into_owned())
                } else {
                    Data::Text(text.into_owned())
                };
                self.put(Node { at, data }, anchor)
            }
            Event::SequenceStart(anchor, _) => self.open(
                Node {
                    at,
                    data: Data::List(Vec::new()),
                },
                anchor,
            ),
            Event::MappingStart(anchor, _) => self.open(
                Node {
                    at,
                    data: Data::Map(Vec::new()),
                },
                anchor,
            ),
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some((mut node, anchor, _)) => {
                    merge(&mut node);
                    self.put(node, anchor)
                }
                None => Ok(()),
            },
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(at.problem(self.file, "an alias inside of what it names: take it away"));
                };
                self.nodes += node.size();
                if self.nodes > MOST_NODES {
                    return Err(at.problem(self.file, "aliases make this file too large: write it out, or split it"));
                }
                self.put(node, 0)
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        if self.stack.len() >= DEEPEST {
            return Err(node.at.problem(
                self.file,
                format!("nested deeper than {DEEPEST} levels: make it flatter"),
            ));
        }
        self.stack.push((node, anchor, None));
        Ok(())
    }

    fn put(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some((
                Node {
                    data: Data::List(list), ..
                },
                _,
                _,
            )) => list.push(node),
            Some((
                Node {
                    data: Data::Map(map), ..
                },
                _,
                waiting,
            )) => match waiting.take() {
                Some(key) => {
                    if map.iter().any(|(other, _)| other.name == key.name) {
                        let what = format!("the key `{}` stands here twice: keep one", key.name);
                        self.problems.push(key.at.problem(self.file, what));
                    } else {
                        map.push((key, node));
                    }
                }
                None => {
                    let Some(name) = node.text() else {
                        return Err(node.at.problem(self.file, "a key is a text: write it as one"));
                    };
                    *waiting = Some(Key {
                        at: node.at,
                        name: name.to_owned(),
                    });
                }
            },
            Some(_) => {}
        }
        Ok(())
    }
}

/// Carries out `<<: *other`: what the map says itself wins.
fn merge(node: &mut Node) {
    let Data::Map(map) = &mut node.data else { return };
    let Some(at) = map
        .iter()
        .position(|(key, value)| key.name == "<<" && matches!(value.data, Data::Map(_) | Data::List(_)))
    else {
        return;
    };
    let (_, from) = map.remove(at);
    let sources = match from.data {
        Data::List(list) => list,
        data => vec![Node { at: from.at, data }],
    };
    for (key, value) in sources.iter().flat_map(Node::entries) {
        if !map.iter().any(|(other, _)| other.name == key.name) {
            map.push((key.clone(), value.clone()));
        }
    }
}

/// A node as a type.
///
/// # Errors
/// All problems that can be found, each at its place.
pub(super) fn typed<T: DeserializeOwned>(file: &Path, node: &Node) -> Result<T, Vec<Problem>> {
    let mut node = node.clone();
    let mut problems = Vec::new();
    let mut removed: Vec<(Vec<usize>, String)> = Vec::new();
    loop {
        let mut fault = match T::deserialize(De(&node)) {
            Ok(value) if problems.is_empty() => return Ok(value),
            Ok(_) => return Err(problems),
            Err(fault) => fault,
        };
        fault.path.reverse();
        // A key that was there and wrong isn't missing, nor is one that was misspelt.
        let follows = fault.missing.is_some_and(|field| {
            let mut here = removed.iter().filter(|(path, _)| *path == fault.path);
            here.any(|(_, name)| name == field || nearest(name, std::iter::once(field)).is_some())
        });
        if !follows {
            problems.push(fault.at.unwrap_or(node.at).problem(file, fault.what));
        }
        let Some((_, parent)) = fault.path.split_last().filter(|_| problems.len() < MOST_PROBLEMS) else {
            return Err(problems);
        };
        if let Some(name) = node.key_at(&fault.path) {
            removed.push((parent.to_vec(), name.to_owned()));
        }
        node.remove(&fault.path);
    }
}

/// What is wrong with a node.
#[derive(Debug)]
pub(super) struct Fault {
    what: String,
    at: Option<At>,
    /// From the inside out: the index of the entry in each collection around it.
    path: Vec<usize>,
    missing: Option<&'static str>,
}

impl Fault {
    fn new(what: String) -> Self {
        Self {
            what,
            at: None,
            path: Vec::new(),
            missing: None,
        }
    }

    fn at(mut self, at: At) -> Self {
        self.at.get_or_insert(at);
        self
    }

    fn inside(mut self, index: usize) -> Self {
        self.path.push(index);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self::new(what.to_string())
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("found {found} where {expected} belongs"))
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("found {found} where {expected} belongs"))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("unknown value `{variant}`: {}", suggest(variant, expected)))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("unknown key `{field}`: {}", suggest(field, expected)))
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            missing: Some(field),
            ..Self::new(format!("the key `{field}` is missing: add it"))
        }
    }
}

struct De<'a>(&'a Node);

/// What a plain scalar is by YAML 1.2's core schema.
fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.is_empty() {
        let text = text.strip_prefix('+').unwrap_or(text);
        if let Ok(number) = text.parse::<u64>() {
            return number.into();
        }
        if let Ok(number) = text.parse::<i64>() {
            return number.into();
        }
    }
    let radix = |prefix, radix| {
        let digits = text.strip_prefix(prefix)?;
        u64::from_str_radix(digits, radix)
            .ok()
            .filter(|_| !digits.starts_with('+'))
    };
    if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return number.into();
    }
    let looks_like = digits.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && digits
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
        && digits.bytes().any(|byte| byte.is_ascii_digit());
    text.parse::<f64>()
        .ok()
        .filter(|_| looks_like)
        .and_then(Number::from_f64)
        .map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

impl<'a> De<'a> {
    fn scalar<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.data {
            Data::Text(text) | Data::Plain(text) => visitor.visit_str(text),
            Data::List(_) => Err(de::Error::invalid_type(de::Unexpected::Seq, &visitor)),
            Data::Map(_) => Err(de::Error::invalid_type(de::Unexpected::Map, &visitor)),
            Data::Gone => visitor.visit_unit(),
        }
    }

    fn collection<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.data {
            Data::List(list) => visitor.visit_seq(Items { list, next: 0 }),
            Data::Map(map) => visitor.visit_map(Entries {
                map,
                next: 0,
                value: None,
            }),
            _ => self.scalar(visitor),
        }
    }

    fn any<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Fault> {
        let Data::Plain(text) = &self.0.data else {
            return self.collection(visitor);
        };
        match resolve(text) {
            Value::Null => visitor.visit_unit(),
            Value::Bool(is) => visitor.visit_bool(is),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), _, _) => visitor.visit_u64(number),
                (_, Some(number), _) => visitor.visit_i64(number),
                (_, _, Some(number)) => visitor.visit_f64(number),
                _ => visitor.visit_str(text),
            },
            _ => visitor.visit_str(text),
        }
    }

    fn placed<T>(&self, result: Result<T, Fault>) -> Result<T, Fault> {
        result.map_err(|fault| fault.at(self.0.at))
    }
}

macro_rules! through {
    ($way:ident: $($name:ident)*) => {
        $(fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.placed(self.$way(visitor))
        })*
    };
}

impl<'de> de::Deserializer<'de> for De<'_> {
    type Error = Fault;

    through!(any: deserialize_any deserialize_unit deserialize_map deserialize_seq);
    through!(any: deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8
        deserialize_u16 deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64);
    through!(scalar: deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf
        deserialize_identifier);

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.data {
            Data::Plain(text) if resolve(text).is_null() => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        match name {
            WRITTEN => self.placed(self.collection(visitor)),
            PLACED => visitor.visit_seq(PlaceOf { node: self.0, next: 0 }),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_any(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let result = match &self.0.data {
            Data::Text(text) | Data::Plain(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            Data::Map(map) if map.len() == 1 => {
                let entries = Entries {
                    map,
                    next: 0,
                    value: None,
                };
                visitor.visit_enum(de::value::MapAccessDeserializer::new(entries))
            }
            _ => Err(Fault::new(
                "found a collection where one word belongs, or a map of one key".to_owned(),
            )),
        };
        self.placed(result)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }
}

struct Items<'a> {
    list: &'a [Node],
    next: usize,
}

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        while let Some(node) = self.list.get(self.next) {
            let index = self.next;
            self.next += 1;
            if !matches!(node.data, Data::Gone) {
                return seed
                    .deserialize(De(node))
                    .map(Some)
                    .map_err(|fault| fault.at(node.at).inside(index));
            }
        }
        Ok(None)
    }
}

struct Entries<'a> {
    map: &'a [(Key, Node)],
    next: usize,
    value: Option<(usize, &'a Node)>,
}

impl<'de> de::MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        while let Some((key, value)) = self.map.get(self.next) {
            let index = self.next;
            self.next += 1;
            if !matches!(value.data, Data::Gone) {
                self.value = Some((index, value));
                let name: de::value::StrDeserializer<'_, Fault> = key.name.as_str().into_deserializer();
                return seed
                    .deserialize(name)
                    .map(Some)
                    .map_err(|fault| fault.at(key.at).inside(index));
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some((index, node)) = self.value.take() else {
            return Err(de::Error::custom("a value without its key"));
        };
        seed.deserialize(De(node))
            .map_err(|fault| fault.at(node.at).inside(index))
    }
}

/// Line, column and value, as [`Placed`] takes them.
struct PlaceOf<'a> {
    node: &'a Node,
    next: usize,
}

impl<'de> de::SeqAccess<'de> for PlaceOf<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        self.next += 1;
        match self.next {
            1 => seed.deserialize(self.node.at.line.into_deserializer()).map(Some),
            2 => seed.deserialize(self.node.at.column.into_deserializer()).map(Some),
            3 => seed.deserialize(De(self.node)).map(Some),
            _ => Ok(None),
        }
    }
}

/// A value and its place in the file, from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Its line.
    pub line: u64,
    /// Its column, in characters.
    pub column: u64,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Placed<T> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Parts<T> {
            type Value = Placed<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value with its place")
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Placed<T>, A::Error> {
                let mut place = || seq.next_element::<u64>().map(Option::unwrap_or_default);
                let (line, column) = (place()?, place()?);
                let value = seq
                    .next_element()?
                    .ok_or_else(|| de::Error::custom("a place without its value"))?;
                Ok(Placed { value, line, column })
            }
        }
        deserializer.deserialize_newtype_struct(PLACED, Parts(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Placed<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Reads a scalar as it was written (by `visit_str`), or a collection.
pub(super) fn written<'de, D: de::Deserializer<'de>, V: Visitor<'de>>(
    deserializer: D,
    visitor: V,
) -> Result<V::Value, D::Error> {
    deserializer.deserialize_newtype_struct(WRITTEN, visitor)
}

/// A node as JSON.
pub(super) fn json(node: &Node) -> Value {
    match &node.data {
        Data::Plain(text) => resolve(text),
        Data::Text(text) => Value::String(text.clone()),
        Data::List(list) => list.iter().map(json).collect(),
        Data::Map(map) => map.iter().map(|(key, value)| (key.name.clone(), json(value))).collect(),
        Data::Gone => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tree(text: &str) -> Result<Node, Problem> {
        let mut problems = Vec::new();
        let node = parse(Path::new("x"), text, &mut problems)?;
        match problems.pop() {
            Some(problem) => Err(problem),
            None => Ok(node),
        }
    }

    #[test]
    fn scalars_have_the_types_of_yaml_1_2() {
        let node = tree("[1, -2, +3, 1.5, 1e3, 0x1f, 0o17, true, ~, null, '5', no, 1970-01-01, 1.2.3, .5, 012, ., +]")
            .unwrap();
        let wanted = serde_json::json!([
            1,
            -2,
            3,
            1.5,
            1000.0,
            31,
            15,
            true,
            null,
            null,
            "5",
            "no",
            "1970-01-01",
            "1.2.3",
            0.5,
            12,
            ".",
            "+"
        ]);
        assert_eq!(json(&node), wanted);
        let texts: Vec<String> = typed(Path::new("x"), &tree("[012, 1.10, true, '']").unwrap()).unwrap();
        assert_eq!(texts, ["012", "1.10", "true", ""]);
    }

    #[test]
    fn anchors_aliases_and_merge_keys_are_carried_out() {
        let node = tree("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a\nd: {<<: [{z: 1}, *a]}\n").unwrap();
        assert_eq!(
            json(&node),
            serde_json::json!({"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": {"x": 1, "y": 2}, "d": {"x": 1, "y": 2, "z": 1}})
        );
    }

    #[test]
    fn what_is_no_document_is_refused_at_its_place() {
        for (text, wanted) in [
            (
                "a: 1\nb: 2\na: 3\n",
                "x:3:1: error: the key `a` stands here twice: keep one",
            ),
            ("a: [\n", "x:2:1: error: no YAML: "),
            ("a: 1\n---\nb: 2\n", "x:2:1: error: a second document"),
            ("a: !!binary x\n", "x:1:4: error: the tag `"),
            ("{[a]: 1}\n", "x:1:2: error: a key is a text"),
            ("", "x:1:1: error: the file is empty"),
            ("a: &a [*a]\n", "x:1:8: error: "),
        ] {
            let found = tree(text).unwrap_err().to_string();
            assert!(found.starts_with(wanted), "{text:?}: {found}");
        }
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        assert!(tree(&deep).unwrap_err().what.contains("nested deeper"));
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..9 {
            let before = format!("*a{},", n - 1).repeat(10);
            bomb.push_str(&format!("a{n}: &a{n} [{before}]\n"));
        }
        assert!(tree(&bomb).unwrap_err().what.contains("too large"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[-a-c0-9:{}\\[\\]&*<!'\" \n,|>~.]{0,60}") {
            if let Ok(node) = tree(&text) {
                let _ = typed::<BTreeMap<String, Vec<u8>>>(Path::new("x"), &node);
            }
        }

        #[test]
        fn json_is_yaml(numbers in prop::collection::vec(any::<i32>(), 0..5), text in "\\PC{0,20}") {
            let value = serde_json::json!({"numbers": numbers, "text": text});
            let node = tree(&value.to_string()).unwrap();
            prop_assert_eq!(json(&node), value);
        }
    }
}
