//! Field paths as a tree that can't grow beyond its bounds.

use super::{MAX_DEPTH, MAX_NAMES, MAX_PATHS};

/// Which JSON types stood at a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// A string.
    pub const STRING: Kinds = Kinds(1);
    /// A number.
    pub const NUMBER: Kinds = Kinds(2);
    /// `true` or `false`.
    pub const BOOL: Kinds = Kinds(4);
    /// `null`.
    pub const NULL: Kinds = Kinds(8);
    /// An object.
    pub const OBJECT: Kinds = Kinds(16);
    /// An array, whose elements stand at the same path.
    pub const ARRAY: Kinds = Kinds(32);

    /// Whether it holds all of these.
    pub fn contains(self, other: Kinds) -> bool {
        self.0 & other.0 == other.0
    }

    /// Their names, as JSON Schema has them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        [
            (Kinds::STRING, "string"),
            (Kinds::NUMBER, "number"),
            (Kinds::BOOL, "boolean"),
            (Kinds::NULL, "null"),
            (Kinds::OBJECT, "object"),
            (Kinds::ARRAY, "array"),
        ]
        .into_iter()
        .filter(move |(kind, _)| self.contains(*kind))
        .map(|(_, name)| name)
    }

    fn add(&mut self, other: Kinds) {
        self.0 |= other.0;
    }
}

/// A place in the tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Node(u16);

impl Node {
    /// The value at the top.
    pub(super) const ROOT: Node = Node(0);
    /// What has no room.
    const REST: Node = Node(1);
    /// Above all resources.
    const RESOURCES: Node = Node(2);
    /// A value of which it is not known yet where it counts.
    pub(super) const PENDING: Node = Node(3);
}

/// How many places are there from the start.
const FIXED: usize = 4;

/// What is deeper.
const DEEPER: &str = "..";
/// A name that is data.
const ANY: &str = "*";
/// A resource of a type that is not known.
const UNKNOWN: &str = "?";

#[derive(Default)]
struct Place {
    name: Box<str>,
    depth: u8,
    /// It is a map: all its names are data.
    map: bool,
    count: u32,
    kinds: Kinds,
    children: Vec<Node>,
    /// Where it went when the object above became a map. Free once [`Paths::settle`] was called.
    moved: Option<Node>,
}

pub(super) struct Paths {
    places: Vec<Place>,
    free: Vec<Node>,
    /// The places that have moved.
    moving: Vec<Node>,
    /// How many paths there may be.
    most: usize,
}

impl Default for Paths {
    fn default() -> Paths {
        Paths {
            most: MAX_PATHS,
            places: (0..FIXED).map(|_| Place::default()).collect(),
            free: Vec::new(),
            moving: Vec::new(),
        }
    }
}

impl Paths {
    pub(super) fn of(most: usize) -> Paths {
        Paths {
            // A place is a number of 16 bits.
            most: most.min(60_000),
            ..Paths::default()
        }
    }

    fn get(&self, node: Node) -> Option<&Place> {
        self.places.get(usize::from(node.0))
    }

    fn edit(&mut self, node: Node, edit: impl FnOnce(&mut Place)) {
        if let Some(place) = self.places.get_mut(usize::from(node.0)) {
            edit(place);
        }
    }

    /// A value of that kind stands there.
    pub(super) fn count(&mut self, node: Node, kind: Kinds) {
        self.edit(node, |place| {
            place.kinds.add(kind);
            place.count = place.count.saturating_add(u32::from(kind != Kinds::ARRAY));
        });
    }

    /// What counted as pending counts there.
    pub(super) fn take_pending(&mut self, node: Node) {
        let mut pending = Place::default();
        self.edit(Node::PENDING, |place| pending = std::mem::take(place));
        self.edit(node, |place| {
            place.count = place.count.saturating_add(pending.count);
            place.kinds.add(pending.kinds);
        });
    }

    /// The place of a resource of that type.
    pub(super) fn resource(&mut self, name: &str) -> Node {
        self.step(Node::RESOURCES, name)
    }

    /// The place of an object of a type that is not known.
    pub(super) fn unknown(&mut self, node: Node) -> Node {
        match self.get(node) {
            Some(place) if &*place.name == UNKNOWN => node,
            _ => self.step(node, UNKNOWN),
        }
    }

    /// The place of the member of that name. The caller moves with what has [`Self::moved`].
    pub(super) fn child(&mut self, node: Node, name: &str) -> Node {
        let Some(place) = self.get(node) else { return Node::REST };
        let name = if place.map { ANY } else { name };
        if name != ANY && self.find(node, name).is_none() && place.children.len() >= MAX_NAMES {
            self.become_map(node);
            return self.step(node, ANY);
        }
        self.step(node, name)
    }

    fn find(&self, node: Node, name: &str) -> Option<Node> {
        let children = &self.get(node)?.children;
        let named = |child: &&Node| self.get(**child).is_some_and(|place| &*place.name == name);
        children.iter().find(named).copied()
    }

    fn step(&mut self, node: Node, name: &str) -> Node {
        let Some(place) = self.get(node) else { return Node::REST };
        if node == Node::REST || &*place.name == DEEPER {
            return node;
        }
        let depth = place.depth;
        let name = if depth >= MAX_DEPTH { DEEPER } else { name };
        if let Some(child) = self.find(node, name) {
            return child;
        }
        let place = Place {
            name: name.into(),
            depth: depth.saturating_add(1),
            ..Place::default()
        };
        let child = match self.free.pop() {
            Some(child) => {
                self.edit(child, |free| *free = place);
                child
            }
            None if self.places.len() >= self.most.saturating_add(FIXED) => return Node::REST,
            None => {
                let child = Node(self.places.len() as u16);
                self.places.push(place);
                child
            }
        };
        self.edit(node, |place| place.children.push(child));
        child
    }

    /// All its names are data: what stood below them stands below `*`.
    fn become_map(&mut self, node: Node) {
        let mut children = Vec::new();
        self.edit(node, |place| {
            place.map = true;
            children = std::mem::take(&mut place.children);
        });
        // One of them becomes `*`, so that there is room for it.
        let mut into = None;
        for child in children {
            match into {
                None => {
                    self.edit(child, |place| place.name = ANY.into());
                    self.edit(node, |place| place.children.push(child));
                    into = Some(child);
                }
                Some(into) => self.fold(child, into),
            }
        }
    }

    /// Moves a place, and all below it, into another. Depth is bounded, so is the recursion.
    fn fold(&mut self, from: Node, into: Node) {
        let mut place = Place::default();
        self.edit(from, |old| {
            place = std::mem::take(old);
            old.moved = Some(into);
        });
        self.moving.push(from);
        self.edit(into, |new| {
            new.count = new.count.saturating_add(place.count);
            new.kinds.add(place.kinds);
        });
        if place.map && self.get(into).is_some_and(|into| !into.map) {
            self.become_map(into);
        }
        for child in place.children {
            let map = self.get(into).is_some_and(|into| into.map);
            let name: Box<str> = match self.get(child) {
                Some(child) if !map => child.name.clone(),
                _ => ANY.into(),
            };
            match self.find(into, &name) {
                Some(same) => self.fold(child, same),
                None => {
                    self.edit(child, |child| child.name = name);
                    self.edit(into, |into| into.children.push(child));
                    if self.get(into).is_some_and(|into| into.children.len() > MAX_NAMES) {
                        self.become_map(into);
                    }
                }
            }
        }
    }

    /// Whether places have moved since the last [`Self::settle`].
    pub(super) fn moved(&self) -> bool {
        !self.moving.is_empty()
    }

    /// Where a place is now.
    pub(super) fn now(&self, mut node: Node) -> Node {
        // Each step goes to a place that moved later.
        for _ in 0..self.places.len() {
            match self.get(node).and_then(|place| place.moved) {
                Some(next) => node = next,
                None => return node,
            }
        }
        node
    }

    /// Nobody stands where places were any more.
    pub(super) fn settle(&mut self) {
        for node in std::mem::take(&mut self.moving) {
            self.edit(node, |place| *place = Place::default());
            self.free.push(node);
        }
    }

    /// Adds another's paths.
    pub(super) fn merge(&mut self, other: &Paths) {
        for top in [Node::ROOT, Node::REST, Node::RESOURCES] {
            self.merge_place(top, other, top);
        }
    }

    fn merge_place(&mut self, into: Node, other: &Paths, from: Node) {
        let Some(place) = other.get(from) else { return };
        let into = self.now(into);
        self.edit(into, |new| {
            new.count = new.count.saturating_add(place.count);
            new.kinds.add(place.kinds);
        });
        if place.map && self.get(into).is_some_and(|into| !into.map) {
            self.become_map(into);
        }
        for child in &place.children {
            let Some(below) = other.get(*child) else { continue };
            let into = self.now(into);
            let at = match from == Node::RESOURCES || &*below.name == UNKNOWN {
                true => self.step(into, &below.name),
                false => self.child(into, &below.name),
            };
            self.merge_place(at, other, *child);
        }
    }

    pub(super) fn list(&self) -> Vec<(String, u32, Kinds)> {
        let mut list = Vec::new();
        let mut path = String::new();
        self.walk(Node::ROOT, &mut path, &mut list);
        path.clear();
        self.walk(Node::RESOURCES, &mut path, &mut list);
        path.push_str("...");
        self.walk(Node::REST, &mut path, &mut list);
        list.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        list
    }

    fn walk(&self, node: Node, path: &mut String, list: &mut Vec<(String, u32, Kinds)>) {
        let Some(place) = self.get(node) else { return };
        if place.kinds.contains(Kinds::ARRAY) {
            path.push_str("[]");
        }
        if place.kinds != Kinds::default() {
            let shown = if node == Node::ROOT {
                format!("${path}")
            } else {
                path.clone()
            };
            list.push((shown, place.count, place.kinds));
        }
        let length = path.len();
        for child in &place.children {
            if let Some(below) = self.get(*child) {
                if !path.is_empty() && &*below.name != UNKNOWN {
                    path.push('.');
                }
                path.push_str(&below.name);
                self.walk(*child, path, list);
                path.truncate(length);
            }
        }
    }
}
