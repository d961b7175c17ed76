//! Documents with places: how a policy file becomes types, and how every problem in it is told at once.
//!
//! 1. A [`Node`] is a YAML or JSON value that knows where it stands. The command line builds it from YAML, the guests from
//!    the JSON of their plugin configuration; both then run the same code.
//! 2. [`Decode`] turns nodes into types. It never stops at the first problem: each goes into [`Problems`] with its place,
//!    what is wrong and the mend.
//! 3. Types are declared once, with [`record!`], [`choice!`] and [`one_of!`]; decoding, the list of known keys and the JSON Schema
//!    ([`schema_of`]) come from that one declaration, so none can go stale.
//!
//! ```
//! use scrim_policy::document::{Decode, Node, Problems, record};
//!
//! record! {
//!     /// A limit.
//!     pub struct Limit {
//!         /// Requests a second.
//!         pub rate: u64,
//!         /// Further requests let through at once.
//!         pub burst: Option<u64>,
//!     }
//! }
//!
//! let node: Node = serde_json::from_str(r#"{"rate": 5, "brust": 2}"#).unwrap();
//! let mut problems = Problems::default();
//! Limit::decode(&node, &mut problems);
//! assert_eq!(problems.iter().next().unwrap().to_string(), "unknown key `brust`, did you mean `burst`?");
//! ```

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map as JsonMap, Value as Json, json};

/// A place in a file: line and column, both from 1; 0 where the source has no places (JSON in a plugin configuration).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

/// A value and its place.
#[derive(Clone)]
pub struct Node {
    /// Where it begins.
    pub span: Span,
    /// What it is.
    pub value: Value,
}

/// What a [`Node`] can be.
#[derive(Clone)]
pub enum Value {
    /// `null`, or nothing after a key.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as written.
    Number(String),
    /// A string.
    String(String),
    /// A sequence.
    Sequence(Vec<Node>),
    /// A mapping in the order of the file, duplicates kept.
    Mapping(Vec<(Key, Node)>),
}

/// A key of a mapping and its place.
#[derive(Clone)]
pub struct Key {
    /// The key.
    pub name: String,
    /// Where it stands.
    pub span: Span,
}

impl Value {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }
}

/// A decoded value and where it stood, for problems that show only later.
#[derive(Clone, Debug)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub span: Span,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The policy can't be used.
    Error,
    /// It can, but is likely not what was meant.
    Warning,
}

/// One problem: where, how bad, what and the mend.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Where.
    pub span: Span,
    /// How bad.
    pub severity: Severity,
    /// What is wrong, and the mend, in one line without a full stop.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// All problems found so far.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    /// Notes an error.
    pub fn error(&mut self, span: Span, message: impl Into<String>) {
        self.list.push(Problem {
            span,
            severity: Severity::Error,
            message: message.into(),
        });
    }

    /// Notes a warning.
    pub fn warn(&mut self, span: Span, message: impl Into<String>) {
        self.list.push(Problem {
            span,
            severity: Severity::Warning,
            message: message.into(),
        });
    }

    /// Forgets what was noted at a place; for what only follows from a problem that was told elsewhere.
    pub fn forget(&mut self, span: Span) {
        self.list.retain(|problem| problem.span != span);
    }

    /// Whether the document can't be used.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// Whether nothing at all was found.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The problems in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        let mut sorted: Vec<&Problem> = self.list.iter().collect();
        sorted.sort_by_key(|problem| problem.span);
        sorted.into_iter()
    }
}

/// Types that can be read from a document and that have a JSON Schema.
pub trait Decode: Sized {
    /// Reads the node; `None` after noting at least one error.
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self>;

    /// The JSON Schema; named types put theirs into `definitions` and give a reference back.
    fn schema(definitions: &mut JsonMap<String, Json>) -> Json;

    /// The value of an absent key; `None`: the key is required.
    fn absent() -> Option<Self> {
        None
    }
}

/// The whole JSON Schema (draft 2020-12) of a type.
pub fn schema_of<T: Decode>(title: &str) -> Json {
    let mut definitions = JsonMap::new();
    let root = T::schema(&mut definitions);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "allOf": [root],
        "$defs": definitions,
    })
}

/// The known name nearest to what was written, if one is near enough to be meant.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = (written.chars().count() / 3).saturating_add(1);
    known
        .into_iter()
        .map(|name| (distance(written, name), name))
        .filter(|(far, _)| *far <= near)
        .min()
        .map(|(_, name)| name)
}

/// Damerau-Levenshtein distance (optimal string alignment) over ASCII-lowercased characters.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_ascii_lowercase().chars().collect();
    let b: Vec<char> = b.to_ascii_lowercase().chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i.saturating_add(1)];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
            let mut best = at(&last, j).saturating_add(usize::from(x != y));
            best = best
                .min(at(&last, j.saturating_add(1)).saturating_add(1))
                .min(at(&row, j).saturating_add(1));
            let swapped = i.checked_sub(1).and_then(|i| a.get(i)) == Some(y)
                && j.checked_sub(1).and_then(|j| b.get(j)) == Some(x);
            if let (true, Some(j)) = (swapped, j.checked_sub(1)) {
                best = best.min(at(&before, j).saturating_add(1));
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

/// `, did you mean ..?` or the list of what is known.
pub fn suggestion<'a>(written: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(written, known.clone()) {
        Some(name) => format!(", did you mean `{name}`?"),
        None => {
            let mut names: Vec<String> = known.into_iter().map(|name| format!("`{name}`")).collect();
            names.sort();
            if names.is_empty() {
                String::new()
            } else {
                format!("; known here: {}", names.join(", "))
            }
        }
    }
}

/// The members of a mapping, each name once; notes an error for anything else.
pub fn members<'n>(node: &'n Node, what: &str, problems: &mut Problems) -> Option<Vec<(&'n Key, &'n Node)>> {
    let Value::Mapping(list) = &node.value else {
        problems.error(node.span, format!("{what} is a mapping, not {}", node.value.kind()));
        return None;
    };
    let mut seen: Vec<(&Key, &Node)> = Vec::with_capacity(list.len());
    for (key, value) in list {
        if seen.iter().any(|(earlier, _)| earlier.name == key.name) {
            problems.error(key.span, format!("key `{}` stands twice, remove one", key.name));
        } else {
            seen.push((key, value));
        }
    }
    Some(seen)
}

/// Declares structs that are read from mappings: unknown keys are refused, absent ones take [`Decode::absent`].
#[macro_export]
macro_rules! record {
    ($($(#[doc = $doc:literal])+ pub struct $name:ident { $($(#[doc = $field_doc:literal])+ pub $field:ident $(as $key:literal)? : $type:ty,)+ })+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Debug)]
        pub struct $name {
            $($(#[doc = $field_doc])+ pub $field: $type,)+
        }

        impl $crate::document::Decode for $name {
            fn decode(node: &$crate::document::Node, problems: &mut $crate::document::Problems) -> Option<Self> {
                const KEYS: &[&str] = &[$($crate::document::key_of!($field $($key)?)),+];
                let members = $crate::document::members(node, $crate::document::title(&[$($doc),+]), problems)?;
                for (key, _) in &members {
                    if !KEYS.contains(&key.name.as_str()) {
                        let mend = $crate::document::suggestion(&key.name, KEYS.iter().copied());
                        problems.error(key.span, format!("unknown key `{}`{mend}", key.name));
                    }
                }
                $(let $field = $crate::document::field::<$type>(node, &members, $crate::document::key_of!($field $($key)?), problems);)+
                Some($name { $($field: $field?,)+ })
            }

            fn schema(definitions: &mut serde_json::Map<String, serde_json::Value>) -> serde_json::Value {
                if !definitions.contains_key(stringify!($name)) {
                    definitions.insert(stringify!($name).into(), serde_json::Value::Null);
                    let mut properties = serde_json::Map::new();
                    let mut required: Vec<&str> = Vec::new();
                    $(
                        let key = $crate::document::key_of!($field $($key)?);
                        properties.insert(key.into(), $crate::document::described(<$type as $crate::document::Decode>::schema(definitions), &[$($field_doc),+]));
                        if <$type as $crate::document::Decode>::absent().is_none() {
                            required.push(key);
                        }
                    )+
                    definitions.insert(stringify!($name).into(), serde_json::json!({
                        "type": "object",
                        "description": $crate::document::prose(&[$($doc),+]),
                        "properties": properties,
                        "required": required,
                        "additionalProperties": false,
                    }));
                }
                serde_json::json!({"$ref": concat!("#/$defs/", stringify!($name))})
            }
        }
    )+};
}

/// Declares enums that are written as one word.
#[macro_export]
macro_rules! choice {
    ($($(#[doc = $doc:literal])+ pub enum $name:ident { $($(#[doc = $word_doc:literal])+ $variant:ident = $word:literal,)+ })+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[doc = $word_doc])+ $variant,)+ }

        impl $name {
            /// The word as the policy file spells it.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }

        impl $crate::document::Decode for $name {
            fn decode(node: &$crate::document::Node, problems: &mut $crate::document::Problems) -> Option<Self> {
                const WORDS: &[&str] = &[$($word),+];
                match &node.value {
                    $($crate::document::Value::String(word) if word == $word => Some($name::$variant),)+
                    // YAML reads a bare `null` as nothing; where that is one of the words, it is meant.
                    $($crate::document::Value::Null if $word == "null" => Some($name::$variant),)+
                    $crate::document::Value::String(word) => {
                        let mend = $crate::document::suggestion(word, WORDS.iter().copied());
                        problems.error(node.span, format!("unknown value `{word}`{mend}"));
                        None
                    }
                    $crate::document::Value::Number(word) if WORDS.contains(&word.as_str()) => {
                        $(if word == $word { return Some($name::$variant); })+
                        None
                    }
                    _ => {
                        problems.error(node.span, format!("not a word; known here: `{}`", WORDS.join("`, `")));
                        None
                    }
                }
            }

            fn schema(definitions: &mut serde_json::Map<String, serde_json::Value>) -> serde_json::Value {
                definitions.entry(stringify!($name)).or_insert_with(|| serde_json::json!({
                    "description": $crate::document::prose(&[$($doc),+]),
                    "oneOf": [$({"const": $word, "description": $crate::document::prose(&[$($word_doc),+])}),+],
                }));
                serde_json::json!({"$ref": concat!("#/$defs/", stringify!($name))})
            }
        }
    )+};
}

/// Declares enums that are written as a mapping with exactly one key.
#[macro_export]
macro_rules! one_of {
    ($($(#[doc = $doc:literal])+ pub enum $name:ident { $($(#[doc = $key_doc:literal])+ $variant:ident($type:ty) = $key:literal,)+ })+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Debug)]
        pub enum $name { $($(#[doc = $key_doc])+ $variant($type),)+ }

        impl $crate::document::Decode for $name {
            fn decode(node: &$crate::document::Node, problems: &mut $crate::document::Problems) -> Option<Self> {
                const KEYS: &[&str] = &[$($key),+];
                let members = $crate::document::members(node, $crate::document::title(&[$($doc),+]), problems)?;
                let [(key, value)] = members.as_slice() else {
                    problems.error(node.span, format!("exactly one of `{}` stands here", KEYS.join("`, `")));
                    return None;
                };
                match key.name.as_str() {
                    $($key => <$type as $crate::document::Decode>::decode(value, problems).map($name::$variant),)+
                    other => {
                        let mend = $crate::document::suggestion(other, KEYS.iter().copied());
                        problems.error(key.span, format!("unknown key `{other}`{mend}"));
                        None
                    }
                }
            }

            fn schema(definitions: &mut serde_json::Map<String, serde_json::Value>) -> serde_json::Value {
                if !definitions.contains_key(stringify!($name)) {
                    definitions.insert(stringify!($name).into(), serde_json::Value::Null);
                    let ways = vec![$({
                        let value = $crate::document::described(<$type as $crate::document::Decode>::schema(definitions), &[$($key_doc),+]);
                        serde_json::json!({"type": "object", "properties": {$key: value}, "required": [$key], "additionalProperties": false})
                    }),+];
                    definitions.insert(stringify!($name).into(), serde_json::json!({
                        "description": $crate::document::prose(&[$($doc),+]),
                        "oneOf": ways,
                    }));
                }
                serde_json::json!({"$ref": concat!("#/$defs/", stringify!($name))})
            }
        }
    )+};
}

#[doc(hidden)]
#[macro_export]
macro_rules! key_of {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}

#[doc(inline)]
pub use crate::{choice, key_of, one_of, record};

/// The first doc line in the form that stands in a sentence: lowercase, no full stop.
#[doc(hidden)]
pub fn title(doc: &[&'static str]) -> &'static str {
    doc.first()
        .map(|line| line.trim().trim_end_matches('.'))
        .unwrap_or_default()
}

/// Doc lines as one text.
#[doc(hidden)]
pub fn prose(doc: &[&str]) -> String {
    doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

/// A schema with a description beside it.
#[doc(hidden)]
pub fn described(mut schema: Json, doc: &[&str]) -> Json {
    if let Some(object) = schema.as_object_mut() {
        object.insert("description".into(), Json::String(prose(doc)));
    }
    schema
}

/// Reads one field of a record.
#[doc(hidden)]
pub fn field<T: Decode>(record: &Node, members: &[(&Key, &Node)], key: &str, problems: &mut Problems) -> Option<T> {
    match members.iter().find(|(have, _)| have.name == key) {
        Some((_, value)) => T::decode(value, problems),
        None => T::absent().or_else(|| {
            problems.error(record.span, format!("`{key}` is missing, add it"));
            None
        }),
    }
}

impl<T: Decode> Decode for Option<T> {
    /// What can't be read counts as absent, after its error was noted, so that the rest is still checked.
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        Some(T::decode(node, problems))
    }
    fn schema(definitions: &mut JsonMap<String, Json>) -> Json {
        T::schema(definitions)
    }
    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: Decode> Decode for At<T> {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        T::decode(node, problems).map(|value| At { value, span: node.span })
    }
    fn schema(definitions: &mut JsonMap<String, Json>) -> Json {
        T::schema(definitions)
    }
}

impl<T: Decode> Decode for Vec<T> {
    /// Items that can't be read are left out, after their errors were noted, so that the others are still checked.
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let Value::Sequence(list) = &node.value else {
            problems.error(node.span, format!("a list is wanted here, not {}", node.value.kind()));
            return None;
        };
        Some(list.iter().filter_map(|item| T::decode(item, problems)).collect())
    }
    fn schema(definitions: &mut JsonMap<String, Json>) -> Json {
        json!({"type": "array", "items": T::schema(definitions)})
    }
}

/// A mapping from free names to values, in the order of the file.
#[derive(Clone, Debug)]
pub struct Named<T> {
    /// The names and values that could be read.
    pub entries: Vec<(At<String>, T)>,
    /// The names whose values could not; their errors were noted.
    pub unread: Vec<String>,
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Named {
            entries: Vec::new(),
            unread: Vec::new(),
        }
    }
}

impl<T> Named<T> {
    /// The value of that name.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.entries
            .iter()
            .find(|(have, _)| have.value == name)
            .map(|(_, value)| value)
    }

    /// The place of the name among the entries.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.entries.iter().position(|(have, _)| have.value == name)
    }

    /// The names, those of the entries first.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        let unread = self.unread.iter().map(String::as_str);
        self.entries.iter().map(|(name, _)| name.value.as_str()).chain(unread)
    }
}

impl<T: Decode> Decode for Named<T> {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let members = members(node, "this", problems)?;
        let mut named = Named::default();
        for (key, value) in members {
            let name = At {
                value: key.name.clone(),
                span: key.span,
            };
            match T::decode(value, problems) {
                Some(value) => named.entries.push((name, value)),
                None => named.unread.push(name.value),
            }
        }
        Some(named)
    }
    fn schema(definitions: &mut JsonMap<String, Json>) -> Json {
        json!({"type": "object", "additionalProperties": T::schema(definitions)})
    }
    fn absent() -> Option<Self> {
        Some(Named::default())
    }
}

impl Decode for String {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            Value::String(text) => Some(text.clone()),
            other => {
                problems.error(
                    node.span,
                    format!("a string is wanted here, not {}; put it in quotes", other.kind()),
                );
                None
            }
        }
    }
    fn schema(_: &mut JsonMap<String, Json>) -> Json {
        json!({"type": "string"})
    }
}

impl Decode for bool {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            Value::Bool(value) => Some(*value),
            other => {
                problems.error(
                    node.span,
                    format!("`true` or `false` is wanted here, not {}", other.kind()),
                );
                None
            }
        }
    }
    fn schema(_: &mut JsonMap<String, Json>) -> Json {
        json!({"type": "boolean"})
    }
}

impl Decode for u64 {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let read = match &node.value {
            Value::Number(text) => text.parse().ok(),
            _ => None,
        };
        if read.is_none() {
            problems.error(node.span, "a whole number of 0 or more is wanted here");
        }
        read
    }
    fn schema(_: &mut JsonMap<String, Json>) -> Json {
        json!({"type": "integer", "minimum": 0})
    }
}

/// A span of time in whole seconds, written as a number with its unit: `30s`, `10m`, `1h`, `7d`, `1y` (365 days).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(pub u64);

impl Decode for Seconds {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let read = match &node.value {
            Value::String(text) => seconds(text),
            _ => None,
        };
        if read.is_none() {
            problems.error(
                node.span,
                "a time span is wanted here: a whole number and its unit, such as `30s`, `10m`, `1h`, `7d` or `1y`",
            );
        }
        read.map(Seconds)
    }
    fn schema(_: &mut JsonMap<String, Json>) -> Json {
        json!({"type": "string", "pattern": "^[0-9]+(s|m|h|d|y)$"})
    }
}

fn seconds(text: &str) -> Option<u64> {
    const UNITS: [(char, u64); 5] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400), ('y', 31_536_000)];
    let (unit, length) = UNITS.into_iter().find(|(unit, _)| text.ends_with(*unit))?;
    let digits = text.strip_suffix(unit)?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(length)
}

/// A piece of JSON taken over as it is.
#[derive(Clone, Debug)]
pub struct Verbatim(pub Json);

impl Decode for Verbatim {
    fn decode(node: &Node, _: &mut Problems) -> Option<Self> {
        Some(Verbatim(node.to_json()))
    }
    fn schema(_: &mut JsonMap<String, Json>) -> Json {
        json!({})
    }
}

impl Node {
    /// The node as JSON; of duplicate keys the last one stays.
    pub fn to_json(&self) -> Json {
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Number(text) => serde_json::from_str(text).unwrap_or_else(|_| Json::String(text.clone())),
            Value::String(text) => Json::String(text.clone()),
            Value::Sequence(list) => Json::Array(list.iter().map(Node::to_json).collect()),
            Value::Mapping(list) => Json::Object(
                list.iter()
                    .map(|(key, value)| (key.name.clone(), value.to_json()))
                    .collect::<BTreeMap<_, _>>()
                    .into_iter()
                    .collect(),
            ),
        }
    }

    /// The member of a mapping.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Node> {
        match &mut self.value {
            Value::Mapping(list) => list
                .iter_mut()
                .find(|(key, _)| key.name == name)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// The node that a piece of JSON makes; it has no place.
    pub fn from_json(json: &Json) -> Node {
        let value = match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => Value::Number(number.to_string()),
            Json::String(text) => Value::String(text.clone()),
            Json::Array(list) => Value::Sequence(list.iter().map(Node::from_json).collect()),
            Json::Object(members) => Value::Mapping(
                members
                    .iter()
                    .map(|(name, value)| {
                        (
                            Key {
                                name: name.clone(),
                                span: Span::default(),
                            },
                            Node::from_json(value),
                        )
                    })
                    .collect(),
            ),
        };
        Node {
            span: Span::default(),
            value,
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor).map(|value| Node {
            span: Span::default(),
            value,
        })
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = access.next_element()? {
            list.push(node);
        }
        Ok(Value::Sequence(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some((name, node)) = access.next_entry()? {
            list.push((
                Key {
                    name,
                    span: Span::default(),
                },
                node,
            ));
        }
        Ok(Value::Mapping(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    record! {
        /// A thing.
        pub struct Thing {
            /// Its name.
            pub name: String,
            /// How long.
            pub length: Option<Seconds>,
            /// What of.
            pub made_of as "of": Option<Stuff>,
        }
    }
    choice! {
        /// What things are made of.
        pub enum Stuff {
            /// Wood.
            Wood = "wood",
            /// Nothing.
            Nothing = "null",
        }
    }

    fn problems_of(json: &str) -> Vec<String> {
        let mut problems = Problems::default();
        let node: Node = serde_json::from_str(json).unwrap();
        let thing = Thing::decode(&node, &mut problems);
        if let Some(Thing { name, length, made_of }) = &thing {
            assert!(length.is_none() && !name.is_empty() && made_of.is_none_or(|stuff| stuff.as_str().len() == 4));
        }
        assert_eq!(thing.is_none() || !problems.is_empty(), problems.has_errors());
        problems.iter().map(|problem| problem.to_string()).collect()
    }

    #[test]
    fn tells_every_problem_at_once() {
        assert_eq!(
            problems_of(r#"{"nmae": "x", "length": 5, "of": "wod"}"#),
            [
                "unknown key `nmae`, did you mean `name`?",
                "`name` is missing, add it",
                "a time span is wanted here: a whole number and its unit, such as `30s`, `10m`, `1h`, `7d` or `1y`",
                "unknown value `wod`, did you mean `wood`?",
            ]
        );
    }

    #[test]
    fn refuses_duplicate_keys() {
        assert_eq!(
            problems_of(r#"{"name": "x", "name": "y"}"#),
            ["key `name` stands twice, remove one"]
        );
    }

    #[test]
    fn reads_a_bare_null_as_the_word() {
        assert!(problems_of(r#"{"name": "x", "of": null}"#).is_empty());
    }

    #[test]
    fn reads_time_spans_exactly() {
        assert_eq!(seconds("1y"), Some(31_536_000));
        assert_eq!(seconds("10m"), Some(600));
        for wrong in [
            "",
            "s",
            "1",
            "-1s",
            "+1s",
            "1.5h",
            "1 s",
            "99999999999999999999s",
            "99999999999999999y",
        ] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn schema_names_every_key() {
        let schema = schema_of::<Thing>("thing");
        assert_eq!(schema["$defs"]["Thing"]["required"], json!(["name"]));
        assert_eq!(schema["$defs"]["Thing"]["properties"]["of"]["$ref"], "#/$defs/Stuff");
        assert_eq!(schema["$defs"]["Thing"]["additionalProperties"], json!(false));
    }
}
