//! Rules compiled into one automaton over the steps of a path.
//!
//! Each selector is a row of positions ("so many segments are behind me"). The set of positions that a value's path can be
//! at says everything about it; each distinct set is a node, and all of them are built before the first byte. So a member
//! costs one lookup of its name and an element one of its index, however many rules there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::selector::{Pick, Segment, Selector};
use super::transform::Transform;

/// The most nodes a program may have. Each `..` that is followed by wildcards may double them.
const MAX_NODES: usize = 4096;

/// The most edges (names and index ranges) of all nodes together; bounds the memory and the time of a compilation.
const MAX_EDGES: usize = 1 << 16;

/// Compiled rules: what to remove, what to keep, what to transform. Immutable and shared by all streams.
#[derive(Debug)]
pub struct Program {
    nodes: Vec<Node>,
    start: u32,
    needs_tokens: bool,
    rewrites: bool,
}

/// What the rules say of values at one kind of place.
#[derive(Debug)]
pub(super) struct Node {
    scalar: Action,
    container: Action,
    names: Names,
    other: u32,
    /// Where each range of indexes starts, and what its elements are. The first starts at 0.
    elements: Vec<(u64, u32)>,
}

/// What happens to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// It goes, whole.
    Drop,
    /// It stays, whole.
    Keep,
    /// It is a container that stays, and its children are judged one by one.
    Enter,
    /// It is replaced.
    Change(Transform),
}

impl Program {
    /// Compiles rules: `deny` wins over `allow`, and `allow` over `transforms`; of several transforms for a value the first
    /// in the list is applied. Without an `allow` list everything is allowed; with an empty one, nothing is.
    ///
    /// # Errors
    /// When the selectors together need more than 4096 states.
    pub fn new(
        deny: Vec<Selector>,
        allow: Option<Vec<Selector>>,
        transforms: Vec<(Selector, Transform)>,
    ) -> Result<Program, ProgramError> {
        let needs_tokens = transforms
            .iter()
            .any(|(_, transform)| *transform == Transform::Tokenize);
        let rewrites = transforms
            .iter()
            .any(|(_, transform)| matches!(transform, Transform::Rewrite(_)));
        let mut rules: Vec<Rule> = Vec::new();
        let everything = allow.is_none();
        rules.extend(deny.into_iter().map(|selector| Rule {
            selector,
            effect: Effect::Deny,
        }));
        rules.extend(allow.into_iter().flatten().map(|selector| Rule {
            selector,
            effect: Effect::Allow,
        }));
        rules.extend(transforms.into_iter().map(|(selector, transform)| Rule {
            selector,
            effect: Effect::Change(transform),
        }));
        let nodes = vec![
            Node::leaf(Action::Drop, Action::Drop),
            Node::leaf(Action::Keep, Action::Keep),
        ];
        let compiler = Compiler {
            rules: &rules,
            nodes,
            known: BTreeMap::new(),
            todo: Vec::new(),
            edges: 0,
        };
        let program = compiler.compile(everything, needs_tokens)?;
        Ok(Program { rewrites, ..program })
    }

    /// Whether a transform needs keyed pseudonyms.
    pub fn needs_pseudonyms(&self) -> bool {
        self.needs_tokens
    }

    /// Whether strings are to be given to the caller's rewriter.
    pub fn rewrites(&self) -> bool {
        self.rewrites
    }

    pub(super) fn start(&self) -> u32 {
        self.start
    }

    /// What happens to a value at `node`. A node that does not exist, which cannot be, drops.
    #[inline]
    pub(super) fn action(&self, node: u32, container: bool) -> Action {
        match self.nodes.get(node as usize) {
            Some(node) if container => node.container,
            Some(node) => node.scalar,
            None => Action::Drop,
        }
    }

    /// Whether a scalar at `node` stays as it is; nothing when it takes more than that to say.
    #[inline]
    pub(super) fn scalar(&self, node: u32) -> Option<bool> {
        // Two comparisons, foreseen, and no jump by a table.
        let action = self.action(node, false);
        if matches!(action, Action::Keep) {
            Some(true)
        } else if matches!(action, Action::Drop | Action::Enter) {
            Some(false)
        } else {
            None
        }
    }

    /// The node of the member `name` (unescaped) of an object at `node`.
    #[inline]
    pub(super) fn member(&self, node: u32, name: &[u8]) -> u32 {
        self.node(node).map_or(DROPPED, |node| node.member(name))
    }

    /// The node of the element `index` of an array at `node`.
    #[inline]
    pub(super) fn element(&self, node: u32, index: u64) -> u32 {
        self.node(node).map_or(DROPPED, |node| node.element(index))
    }

    #[inline]
    pub(super) fn node(&self, node: u32) -> Option<&Node> {
        self.nodes.get(node as usize)
    }
}

/// Why rules could not be compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramError(());

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the selectors of this view need more than {MAX_NODES} states; use fewer steps after `..`, or name the way instead of `*`"
        )
    }
}

impl std::error::Error for ProgramError {}

const DROPPED: u32 = 0;
const KEPT: u32 = 1;

impl Node {
    /// A node without ways down yet.
    fn leaf(scalar: Action, container: Action) -> Node {
        Node {
            scalar,
            container,
            names: Names {
                lengths: 0,
                seen: 0,
                list: Vec::new(),
            },
            other: DROPPED,
            elements: Vec::new(),
        }
    }

    /// The node of the member `name` (unescaped).
    #[inline]
    pub(super) fn member(&self, name: &[u8]) -> u32 {
        self.names.get(name).unwrap_or(self.other)
    }

    /// The node of the element `index`.
    #[inline]
    pub(super) fn element(&self, index: u64) -> u32 {
        match self.elements.as_slice() {
            [(_, only)] => *only,
            ranges => ranges
                .iter()
                .rev()
                .find(|(from, _)| *from <= index)
                .map_or(DROPPED, |(_, to)| *to),
        }
    }
}

/// The names that a node tells from all others.
#[derive(Debug)]
struct Names {
    /// One bit for the length of each name, as far as there are bits; that alone tells most names apart from all of ours.
    lengths: u32,
    /// One bit for the [`Names::trait_of`] each name, which tells most of the others apart.
    seen: u64,
    /// Sorted.
    list: Vec<(Box<[u8]>, u32)>,
}

impl Names {
    fn new(list: BTreeMap<&str, u32>) -> Names {
        let list: Vec<_> = list
            .into_iter()
            .map(|(name, to)| (Box::from(name.as_bytes()), to))
            .collect();
        Names {
            lengths: list
                .iter()
                .fold(0, |lengths, (name, _)| lengths | Names::length_of(name)),
            seen: list.iter().fold(0, |seen, (name, _)| seen | Names::trait_of(name)),
            list,
        }
    }

    #[inline]
    fn length_of(name: &[u8]) -> u32 {
        1u32.wrapping_shl(name.len() as u32)
    }

    #[inline]
    fn trait_of(name: &[u8]) -> u64 {
        let first = name.first().copied().unwrap_or_default();
        let last = name.last().copied().unwrap_or_default();
        let mixed = first.wrapping_mul(5) ^ last.wrapping_mul(3) ^ (name.len() as u8).wrapping_mul(9);
        1u64.wrapping_shl(u32::from(mixed))
    }

    #[inline]
    fn get(&self, name: &[u8]) -> Option<u32> {
        if self.lengths & Names::length_of(name) == 0 || self.seen & Names::trait_of(name) == 0 {
            return None;
        }
        self.find(name)
    }

    #[inline(never)]
    fn find(&self, name: &[u8]) -> Option<u32> {
        if self.list.len() <= 8 {
            return self.list.iter().find(|(own, _)| **own == *name).map(|(_, to)| *to);
        }
        let at = self.list.binary_search_by(|(own, _)| (**own).cmp(name)).ok()?;
        self.list.get(at).map(|(_, to)| *to)
    }
}

struct Rule {
    selector: Selector,
    effect: Effect,
}

#[derive(Clone, Copy)]
enum Effect {
    Deny,
    Allow,
    Change(Transform),
}

/// A rule, and how many of its segments are behind.
type Position = (usize, usize);

/// Where a path stands in all rules at once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// An allow rule selected the value or something above it.
    allowed: bool,
    positions: BTreeSet<Position>,
}

/// One step down, as far as the rules can tell steps apart.
#[derive(Clone, Copy)]
enum Step<'a> {
    Name(&'a str),
    OtherName,
    Index(u64),
}

struct Compiler<'a> {
    rules: &'a [Rule],
    nodes: Vec<Node>,
    known: BTreeMap<Place, u32>,
    todo: Vec<(u32, Place)>,
    edges: usize,
}

impl<'a> Compiler<'a> {
    fn compile(mut self, everything: bool, needs_tokens: bool) -> Result<Program, ProgramError> {
        let positions = (0..self.rules.len()).map(|rule| (rule, 0)).collect();
        let start = self.node(Place {
            allowed: everything,
            positions,
        })?;
        while let Some((id, place)) = self.todo.pop() {
            self.link(id, &place)?;
        }
        Ok(Program {
            nodes: self.nodes,
            start,
            needs_tokens,
            rewrites: false,
        })
    }

    /// Finds the ways down from a node.
    fn link(&mut self, id: u32, place: &Place) -> Result<(), ProgramError> {
        let (mut names, mut starts) = (BTreeSet::new(), BTreeSet::from([0]));
        for pick in place
            .positions
            .iter()
            .filter_map(|at| self.segment(*at))
            .flat_map(|segment| &segment.picks)
        {
            match pick {
                Pick::Name(name) => {
                    names.insert(name.as_str());
                }
                Pick::Every => {}
                Pick::Elements { from, to } => starts.extend([*from, *to]),
            }
        }
        let other = self.node(self.step(place, Step::OtherName))?;
        let mut members = BTreeMap::new();
        for name in names {
            let to = self.node(self.step(place, Step::Name(name)))?;
            if to != other {
                members.insert(name, to);
            }
        }
        let mut elements: Vec<(u64, u32)> = Vec::new();
        for from in starts {
            let to = self.node(self.step(place, Step::Index(from)))?;
            if elements.last().is_none_or(|(_, last)| *last != to) {
                elements.push((from, to));
            }
        }
        if let Some(node) = self.nodes.get_mut(id as usize) {
            (node.names, node.other, node.elements) = (Names::new(members), other, elements);
        }
        Ok(())
    }

    fn segment(&self, at: Position) -> Option<&'a Segment> {
        self.rules.get(at.0)?.selector.segments().get(at.1)
    }

    fn step(&self, place: &Place, step: Step<'_>) -> Place {
        let mut positions = BTreeSet::new();
        for at in &place.positions {
            let Some(segment) = self.segment(*at) else {
                continue;
            };
            if segment.descends {
                positions.insert(*at);
            }
            let picked = match step {
                Step::Name(name) => segment.picks_name(name),
                Step::OtherName => segment.picks_any_name(),
                Step::Index(index) => segment.picks_index(index),
            };
            if picked {
                positions.insert((at.0, at.1.saturating_add(1)));
            }
        }
        Place {
            allowed: place.allowed,
            positions,
        }
    }

    /// The node of a place, made when it is new. This is where the order of the rules is decided.
    fn node(&mut self, mut place: Place) -> Result<u32, ProgramError> {
        self.edges = self.edges.saturating_add(1);
        if self.edges > MAX_EDGES {
            return Err(ProgramError(()));
        }
        let rules = self.rules;
        let selected = |at: &Position| rules.get(at.0).filter(|rule| rule.selector.segments().len() == at.1);
        if place
            .positions
            .iter()
            .filter_map(selected)
            .any(|rule| matches!(rule.effect, Effect::Deny))
        {
            return Ok(DROPPED);
        }
        let is_allow = |at: &Position| rules.get(at.0).is_some_and(|rule| matches!(rule.effect, Effect::Allow));
        place.allowed |= place.positions.iter().any(|at| is_allow(at) && selected(at).is_some());
        if place.allowed {
            place.positions.retain(|at| !is_allow(at));
        } else if !place.positions.iter().any(is_allow) {
            return Ok(DROPPED);
        }
        let change = place
            .positions
            .iter()
            .filter_map(selected)
            .find_map(|rule| match rule.effect {
                Effect::Change(transform) => Some(Action::Change(transform)),
                _ => None,
            });
        if place.allowed && place.positions.is_empty() {
            return Ok(KEPT);
        }
        if let Some(id) = self.known.get(&place) {
            return Ok(*id);
        }
        if self.nodes.len() >= MAX_NODES {
            return Err(ProgramError(()));
        }
        let id = u32::try_from(self.nodes.len()).map_err(|_| ProgramError(()))?;
        let whole = change.unwrap_or(Action::Keep);
        let scalar = if place.allowed { whole } else { Action::Drop };
        self.nodes.push(Node::leaf(scalar, change.unwrap_or(Action::Enter)));
        self.known.insert(place.clone(), id);
        if change.is_none() {
            self.todo.push((id, place));
        }
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selectors(texts: &[&str]) -> Vec<Selector> {
        texts.iter().map(|text| Selector::parse(text).expect(text)).collect()
    }

    #[test]
    fn decided_places_share_two_nodes() {
        let program = Program::new(selectors(&["$.a"]), None, vec![]).expect("small");
        assert_eq!(program.nodes.len(), 3);
        assert_eq!(program.member(program.start(), b"a"), DROPPED);
        assert_eq!(program.member(program.start(), b"b"), KEPT);
        assert_eq!(program.element(program.start(), 7), KEPT);
        assert_eq!(Program::new(vec![], None, vec![]).expect("small").start(), KEPT);
        assert_eq!(
            Program::new(vec![], Some(vec![]), vec![]).expect("small").start(),
            DROPPED
        );
        assert_eq!(
            Program::new(selectors(&["$"]), None, vec![]).expect("small").start(),
            DROPPED
        );
    }

    /// Inside what is kept or dropped whole nothing is looked up any more.
    #[test]
    fn rules_that_can_no_longer_matter_are_forgotten() {
        let allow = selectors(&["$.a", "$..a", "$.a.b", "$.c[0].d"]);
        let program = Program::new(selectors(&["$.c.x"]), Some(allow), vec![]).expect("small");
        assert_eq!(program.member(program.start(), b"a"), KEPT);
        let program = Program::new(
            vec![],
            Some(selectors(&["$.c.d"])),
            vec![(selectors(&["$..z"]).remove(0), Transform::Mask)],
        );
        let program = program.expect("small");
        assert_eq!(program.member(program.start(), b"z"), DROPPED);
        assert_eq!(program.element(program.member(program.start(), b"c"), 0), DROPPED);
    }

    #[test]
    fn index_ranges_are_cut_where_rules_change() {
        let program = Program::new(selectors(&["$[1,3:5]"]), None, vec![]).expect("small");
        let dropped: Vec<u64> = (0..8)
            .filter(|index| program.element(program.start(), *index) == DROPPED)
            .collect();
        assert_eq!(dropped, [1, 3, 4]);
    }

    #[test]
    fn many_names_are_found() {
        let texts: Vec<String> = (0..40).map(|n| format!("$.name{n}")).collect();
        let program = Program::new(
            selectors(&texts.iter().map(String::as_str).collect::<Vec<_>>()),
            None,
            vec![],
        )
        .expect("small");
        for n in 0..40 {
            assert_eq!(program.member(program.start(), format!("name{n}").as_bytes()), DROPPED);
        }
        assert_eq!(program.member(program.start(), b"name40"), KEPT);
    }

    #[test]
    fn an_explosion_is_refused() {
        let text = format!("$..a{}", ".*".repeat(20));
        let error = Program::new(selectors(&[&text]), None, vec![]).expect_err("2^20 states");
        assert!(error.to_string().contains("states"));
    }
}
