//! Which fields JSON bodies have, and how often: what someone who writes a policy looks at first. Values are never held.
//!
//! # Rules
//!
//! 1. A path is the names down to a value, with dots between them; arrays are transparent, and show as `[]` behind a name: `entry[].fullUrl`. The
//!    value at the top is `$`. Each value that is no array counts once, at its path; an array only adds its kind.
//! 2. At an object whose first member is `resourceType`, with a type of FHIR R4, paths start anew: `Patient.name[].family`. Where that member
//!    comes later, or names no such type, the members from there on stand behind a `?`: `entry[].resource?.name`.
//! 3. Names that may be data become `*`: all but a letter, with or without `_` before it, and at most 63 of letters, digits, `_` and
//!    `-`; those with four digits or more, or with an escape; and all names of an object with more than [`MAX_NAMES`] of them,
//!    seen over all objects at that path, for then it is a map.
//! 4. A path has at most [`MAX_DEPTH`] names; what is deeper counts at `..` below it. There are at most [`MAX_PATHS`] paths;
//!    what would be one more counts at `...`.
//! 5. State is bounded by that, in the worst case by about 40 KiB, whatever the body's size, and what is found does not depend on its chunks.
//!
//! It reads JSON, but does not validate it to the letter, as [`crate::trim`] does: numbers and escapes are passed over.
//!
//! ```
//! use scrim_policy::inventory::Inventory;
//!
//! let mut inventory = Inventory::new();
//! inventory.push(br#"{"resourceType":"Patient","name":[{"family":"Chal"#, false).unwrap();
//! inventory.push(br#"mers"},{"family":"Windsor"}]}"#, true).unwrap();
//! let found: Vec<_> = inventory.paths().map(|(path, count, _)| (path, count)).collect();
//! assert_eq!(found, [("$".into(), 1), ("Patient".into(), 1), ("Patient.name[]".into(), 2), ("Patient.name[].family".into(), 2),
//!     ("Patient.resourceType".into(), 1)]);
//! ```

mod paths;
#[cfg(test)]
mod tests;

use std::fmt;

use arrayvec::ArrayVec;
use memchr::memchr2;

pub use self::paths::Kinds;
use self::paths::{Node, Paths};
use crate::fhir::is_resource_type;

/// The most paths that are told apart.
pub const MAX_PATHS: usize = 256;

/// The most names in a path.
pub const MAX_DEPTH: u8 = 16;

/// The most names of an object that is no map.
pub const MAX_NAMES: usize = 64;

/// The longest name that is not data, with its underscore.
const MAX_NAME: usize = 65;

/// How many containers may be open at once.
const MAX_OPEN: usize = 128;

/// Why a body's fields can't be told. Says nothing of what stands in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Not JSON.
    Json,
    /// The body ends inside its value, or without one.
    Truncated,
    /// Nested too deep.
    Depth,
}

impl Fault {
    /// A short name that stays the same between versions, for metrics and audit.
    pub fn code(self) -> &'static str {
        match self {
            Fault::Json => "inventory_json",
            Fault::Truncated => "inventory_truncated",
            Fault::Depth => "inventory_depth",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Json => "the body is not JSON",
            Fault::Truncated => "the body ends early",
            Fault::Depth => "the body is nested too deep",
        })
    }
}

impl std::error::Error for Fault {}

/// The field paths of one body, or of many that were merged.
#[derive(Default)]
pub struct Inventory {
    paths: Paths,
    at: At,
    open: Vec<Frame>,
    /// Where the next value counts.
    target: Node,
    /// The name that is being read, or the value of `resourceType`.
    text: ArrayVec<u8, MAX_NAME>,
    /// It has an escape, or is too long.
    odd: bool,
    /// The value that comes is that of `resourceType`.
    types: bool,
    failed: Option<Fault>,
}

/// What comes next.
#[derive(Clone, Copy, Default)]
enum At {
    /// A value, or `]` where it would be the first.
    #[default]
    Value,
    FirstElement,
    FirstName,
    Name,
    Colon,
    /// Inside a name or a string; `escape` after a backslash.
    String {
        name: bool,
        escape: bool,
    },
    Number,
    Literal(&'static [u8]),
    /// A comma, or the container's end.
    After,
}

struct Frame {
    object: bool,
    /// No member was read yet.
    fresh: bool,
    node: Node,
}

impl Inventory {
    /// Nothing yet.
    pub fn new() -> Inventory {
        Inventory::default()
    }

    /// Nothing yet, with room for another number of paths than [`MAX_PATHS`], at most 60,000: for a tool, where memory is cheap.
    pub fn with_room(paths: usize) -> Inventory {
        Inventory {
            paths: Paths::of(paths),
            ..Inventory::default()
        }
    }

    /// Takes the next bytes of the body. `end` says that no more come; then another body may.
    ///
    /// # Errors
    /// When the body is not JSON, ends early, or has more than 128 containers open. What was found before stays; every later call fails alike.
    pub fn push(&mut self, chunk: &[u8], end: bool) -> Result<(), Fault> {
        if let Some(fault) = self.failed {
            return Err(fault);
        }
        let mut result = self.scan(chunk);
        if end && result.is_ok() {
            let whole = self.open.is_empty() && matches!(self.at, At::After | At::Number);
            result = if whole { Ok(()) } else { Err(Fault::Truncated) };
            self.at = At::Value;
            self.target = Node::ROOT;
        }
        self.failed = result.err();
        result
    }

    /// The paths in the order of their letters, with how many values stood there (saturating) and of which kinds.
    pub fn paths(&self) -> impl Iterator<Item = (String, u32, Kinds)> {
        self.paths.list().into_iter()
    }

    /// Adds what another found. The same bounds hold for both together.
    pub fn merge(&mut self, other: &Inventory) {
        self.paths.merge(&other.paths);
        // A name that became `*` may have been one that is open.
        for frame in &mut self.open {
            frame.node = self.paths.now(frame.node);
        }
        self.target = self.paths.now(self.target);
        self.paths.settle();
    }

    fn scan(&mut self, chunk: &[u8]) -> Result<(), Fault> {
        let mut rest = chunk;
        while let Some((byte, tail)) = rest.split_first() {
            match self.at {
                At::String { name, escape: true } => {
                    self.at = At::String { name, escape: false };
                }
                At::String { name, escape: false } => {
                    let run = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                    let (piece, more) = rest.split_at(run);
                    self.hold(name, piece);
                    rest = more;
                    match more.split_first() {
                        None => {}
                        Some((b'"', more)) => {
                            rest = more;
                            self.end_string(name);
                        }
                        Some((_, more)) => {
                            rest = more;
                            self.odd = true;
                            self.at = At::String { name, escape: true };
                        }
                    }
                    continue;
                }
                At::Number => {
                    if !matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E') {
                        self.at = At::After;
                        continue;
                    }
                }
                At::Literal(left) => {
                    let (wanted, left) = left.split_first().ok_or(Fault::Json)?;
                    if wanted != byte {
                        return Err(Fault::Json);
                    }
                    self.at = if left.is_empty() { At::After } else { At::Literal(left) };
                }
                _ if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') => {}
                At::Value | At::FirstElement => self.value(*byte)?,
                At::FirstName if *byte == b'}' => self.close(true)?,
                At::FirstName | At::Name if *byte == b'"' => self.begin_string(true),
                At::Colon if *byte == b':' => self.at = At::Value,
                At::After => match (byte, self.open.last()) {
                    (b',', Some(Frame { object: true, .. })) => self.at = At::Name,
                    (b',', Some(frame)) => {
                        self.target = frame.node;
                        self.at = At::Value;
                    }
                    (b'}', _) => self.close(true)?,
                    (b']', _) => self.close(false)?,
                    _ => return Err(Fault::Json),
                },
                At::FirstName | At::Name | At::Colon => return Err(Fault::Json),
            }
            rest = tail;
        }
        Ok(())
    }

    /// The first byte of a value.
    fn value(&mut self, byte: u8) -> Result<(), Fault> {
        let kind = match byte {
            b'"' => Kinds::STRING,
            b'{' => Kinds::OBJECT,
            b'[' => Kinds::ARRAY,
            b'-' | b'0'..=b'9' => Kinds::NUMBER,
            b't' | b'f' => Kinds::BOOL,
            b'n' => Kinds::NULL,
            b']' if matches!(self.at, At::FirstElement) => return self.close(false),
            _ => return Err(Fault::Json),
        };
        self.paths.count(self.target, kind);
        // A type that is no string is none that is known.
        if byte != b'"' && std::mem::take(&mut self.types) {
            self.restart(None);
        }
        match byte {
            b'"' => self.begin_string(false),
            b'{' | b'[' => {
                if self.open.len() >= MAX_OPEN {
                    return Err(Fault::Depth);
                }
                let object = byte == b'{';
                self.open.push(Frame {
                    object,
                    fresh: true,
                    node: self.target,
                });
                self.at = if object { At::FirstName } else { At::FirstElement };
            }
            b't' => self.at = At::Literal(b"rue"),
            b'f' => self.at = At::Literal(b"alse"),
            b'n' => self.at = At::Literal(b"ull"),
            _ => self.at = At::Number,
        }
        Ok(())
    }

    fn close(&mut self, object: bool) -> Result<(), Fault> {
        if self.open.pop().is_none_or(|frame| frame.object != object) {
            return Err(Fault::Json);
        }
        self.at = At::After;
        Ok(())
    }

    fn begin_string(&mut self, name: bool) {
        self.text.clear();
        self.odd = false;
        self.at = At::String { name, escape: false };
    }

    /// A part of a name is held, and of the one value whose meaning is known. No other.
    fn hold(&mut self, name: bool, piece: &[u8]) {
        if (name || self.types) && self.text.try_extend_from_slice(piece).is_err() {
            self.odd = true;
        }
    }

    fn end_string(&mut self, name: bool) {
        let text = std::mem::take(&mut self.text);
        let plain = Some(&*text).filter(|text| !self.odd && is_plain(text));
        let plain = plain.and_then(|text| std::str::from_utf8(text).ok());
        if name {
            self.end_name(plain);
            self.at = At::Colon;
            return;
        }
        if std::mem::take(&mut self.types) {
            self.restart(plain.filter(|name| is_resource_type(name)));
        }
        self.at = At::After;
    }

    fn end_name(&mut self, name: Option<&str>) {
        let Some(frame) = self.open.last_mut() else { return };
        let fresh = std::mem::take(&mut frame.fresh);
        let node = frame.node;
        if name == Some("resourceType") {
            self.types = true;
            if fresh {
                // Where it counts is known once the type is.
                self.target = Node::PENDING;
                return;
            }
        }
        self.child(node, name);
    }

    /// The member of that name comes next.
    fn child(&mut self, node: Node, name: Option<&str>) {
        self.target = self.paths.child(node, name.unwrap_or("*"));
        if self.paths.moved() {
            for frame in &mut self.open {
                frame.node = self.paths.now(frame.node);
            }
            self.target = self.paths.now(self.target);
            self.paths.settle();
        }
    }

    /// The type of the object at hand is known, or known to be none.
    fn restart(&mut self, name: Option<&str>) {
        let pending = self.target == Node::PENDING;
        let Some(frame) = self.open.last() else { return };
        let node = match name {
            Some(name) if pending => self.paths.resource(name),
            _ => self.paths.unknown(frame.node),
        };
        if let Some(frame) = self.open.last_mut() {
            frame.node = node;
        }
        if pending {
            if name.is_some() {
                self.paths.count(node, Kinds::OBJECT);
            }
            self.child(node, Some("resourceType"));
            self.paths.take_pending(self.target);
        }
    }
}

/// Whether a name says what a field is, and is not itself data (rule 3).
pub fn is_plain(name: &[u8]) -> bool {
    let bare = name.strip_prefix(b"_").unwrap_or(name);
    bare.len() <= 64
        && bare.first().is_some_and(u8::is_ascii_alphabetic)
        && bare
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        && bare.iter().filter(|byte| byte.is_ascii_digit()).count() < 4
}
