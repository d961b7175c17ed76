//! Rules compiled into one automaton over the steps of a path.
//!
//! Each selector is a row of positions ("so many segments are behind me"). The set of positions that a value's path can be
//! at says everything about it; each distinct set is a node, and all of them are built before the first byte. So a member
//! costs one lookup of its name and an element one of its index, however many rules there are.
//!
//! Where a value's place alone does not decide, its node asks a question ([`Ask`]), and the answer leads to another node. The rules
//! for FHIR resources are positions of a second layer that begin anew at each resource.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::compiler;
use super::fhir::FhirRules;
use super::filter::Filter;
use super::selector::Selector;
use super::transform::Transform;

/// Compiled rules: what to remove, what to keep, what to transform. Immutable and shared by all streams.
#[derive(Debug)]
pub struct Program {
    pub(super) nodes: Vec<Node>,
    pub(super) asks: Vec<Ask>,
    pub(super) filters: Vec<Arc<Filter>>,
    pub(super) start: u32,
    pub(super) needs_tokens: bool,
    pub(super) rewrites: bool,
    pub(super) trims: bool,
}

/// What [`Program::compile`] compiles. `deny` wins over `allow`, and both over `transforms`; of several transforms for a value the
/// first in the list is applied, and a rewriter only where `fhir` has none. Without an `allow` list everything is allowed; with an empty one, nothing is.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// What goes.
    pub deny: Vec<Selector>,
    /// What stays, if not all.
    pub allow: Option<Vec<Selector>>,
    /// What is replaced.
    pub transforms: Vec<(Selector, Transform)>,
    /// Rules by resource type; what stays must stay by these and by those above.
    pub fhir: Option<FhirRules>,
}

/// What the rules say of values at one kind of place.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) scalar: Action,
    pub(super) container: Action,
    pub(super) names: Names,
    /// The members that have no name of these, and those of them whose name starts with an underscore.
    pub(super) other: u32,
    pub(super) under: u32,
    /// What all elements are; or else, behind an entry with the length of their cycle, where each range of indexes starts, and
    /// what its elements are by turns. The first starts at 0.
    pub(super) elements: Box<[(u64, u32)]>,
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
    /// The question of this number decides.
    Ask(u16),
}

/// A question about a value whose place does not decide about it. Leads to nodes made before it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ask {
    /// Which kind of value is it?
    Kind { array: u32, object: u32, scalar: u32 },
    /// Which of the filters hold? The node for each set of them, by its bits.
    Filters { filters: Vec<u16>, variants: Vec<u32> },
    /// Which type of resource is this object? `none`: it need not be one. Where that does not come in time: `bundle` for what
    /// must be a Bundle, `late` for what must not be a resource.
    Resource {
        types: Names,
        other: u32,
        none: Option<u32>,
        bundle: u32,
        late: u32,
    },
    /// The `display` of an object: does a `system` or `code` come before?
    Display { then: u32 },
    /// A `system` or `code`, to be remembered.
    Code { then: u32 },
    /// The `resourceType` of a resource: is it the only one?
    Type { then: u32 },
    /// A Bundle whose `resourceType` is still to come.
    Untyped { then: u32 },
    /// That `resourceType`.
    LateType { then: u32 },
    /// What neither such a Bundle nor an object that is no resource has.
    Misfit,
    /// An object or array that gets a label at its end.
    Label { label: Label, then: u32 },
    /// A `resourceType` where none may be.
    Stray,
    /// A scalar where a resource must stand: only null may.
    NoResource { then: u32 },
}

/// What a security label is added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Label {
    Resource,
    Meta,
    Security,
}

impl Program {
    /// As [`Program::compile`] without rules for FHIR.
    ///
    /// # Errors
    /// As there.
    pub fn new(
        deny: Vec<Selector>,
        allow: Option<Vec<Selector>>,
        transforms: Vec<(Selector, Transform)>,
    ) -> Result<Program, ProgramError> {
        Program::compile(Rules {
            deny,
            allow,
            transforms,
            fhir: None,
        })
    }

    /// Compiles rules.
    ///
    /// # Errors
    /// When the rules together need too many states, too many filters decide about one value, or a path of a resource
    /// leads into another one.
    pub fn compile(rules: Rules) -> Result<Program, ProgramError> {
        compiler::compile(rules)
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

    pub(super) fn ask(&self, ask: u16) -> Option<&Ask> {
        self.asks.get(usize::from(ask))
    }

    pub(super) fn filter(&self, filter: u16) -> Option<&Filter> {
        self.filters.get(usize::from(filter)).map(|filter| &**filter)
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramError(pub(super) Excess);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    States,
    Filters,
    Steps,
    Crosses { path: String, resource: Option<String> },
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Excess::States => write!(
                f,
                "the selectors of this view need more than {} states; use fewer steps after `..`, or name the way instead of `*`",
                compiler::MAX_NODES
            ),
            Excess::Filters => write!(
                f,
                "more than {} different filters decide about one value; name the way instead of `..` and `*`, or join filters by `||`",
                compiler::MAX_FILTERS
            ),
            Excess::Steps => write!(
                f,
                "the steps of the slices at one place repeat only after more than {} elements; use fewer different steps",
                compiler::MAX_CYCLE
            ),
            Excess::Crosses { path, resource } => match resource {
                Some(resource) => write!(
                    f,
                    "the path `{path}` of {resource} leads into another resource; write rules for that resource's own type"
                ),
                None => write!(
                    f,
                    "the path `{path}` leads into another resource; write rules for that resource's own type"
                ),
            },
        }
    }
}

impl std::error::Error for ProgramError {}

pub(super) const DROPPED: u32 = 0;
pub(super) const KEPT: u32 = 1;

impl Node {
    /// A node without ways down yet.
    pub(super) fn leaf(scalar: Action, container: Action) -> Node {
        Node {
            scalar,
            container,
            names: Names::default(),
            other: DROPPED,
            under: DROPPED,
            elements: Box::default(),
        }
    }

    /// The node of the member `name` (unescaped).
    #[inline]
    pub(super) fn member(&self, name: &[u8]) -> u32 {
        self.names.get(name).unwrap_or(if name.first() == Some(&b'_') {
            self.under
        } else {
            self.other
        })
    }

    /// The node of the element `index`.
    #[inline]
    pub(super) fn element(&self, index: u64) -> u32 {
        match &*self.elements {
            [(_, only)] => *only,
            [(1, _), ranges @ ..] => ranges
                .iter()
                .rev()
                .find(|(from, _)| *from <= index)
                .map_or(DROPPED, |(_, to)| *to),
            [(cycle, _), turns @ ..] => by_turns(*cycle, turns, index),
            [] => DROPPED,
        }
    }
}

/// The element `index` where slices have steps.
#[cold]
fn by_turns(cycle: u64, turns: &[(u64, u32)], index: u64) -> u32 {
    let groups = turns.chunks_exact(usize::try_from(cycle).unwrap_or(1).max(1));
    let Some(group) = groups
        .rev()
        .find(|group| group.first().is_some_and(|(from, _)| *from <= index))
    else {
        return DROPPED;
    };
    let start = group.first().map_or(0, |(from, _)| *from);
    let turn = index.wrapping_sub(start).checked_rem(cycle);
    turn.and_then(|turn| group.get(usize::try_from(turn).ok()?))
        .map_or(DROPPED, |(_, to)| *to)
}

/// The names that a node tells from all others.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Names {
    /// One bit for the length of each name, as far as there are bits; that alone tells most names apart from all of ours.
    lengths: u32,
    /// One bit for the [`Names::bucket`] of each name, which tells most of the others apart.
    seen: u64,
    /// By their buckets.
    list: Box<[(Arc<str>, u32)]>,
    /// Where each bucket starts in the list, and behind them its end; none for a short list, which is searched as a whole.
    starts: Option<Box<[u32; 65]>>,
}

impl Names {
    /// Each name once, with its node.
    pub(super) fn new(mut list: Vec<(Arc<str>, u32)>) -> Names {
        list.sort_by_cached_key(|(name, _)| Names::bucket(name.as_bytes()));
        let starts = (list.len() > 8).then(|| {
            let mut starts = Box::new([0; 65]);
            let mut rest = list.iter().map(|(name, _)| Names::bucket(name.as_bytes())).peekable();
            let mut before = 0u32;
            for (bucket, start) in (0u32..).zip(starts.iter_mut()) {
                while rest.next_if(|own| *own < bucket).is_some() {
                    before = before.saturating_add(1);
                }
                *start = before;
            }
            starts
        });
        Names {
            lengths: list
                .iter()
                .fold(0, |lengths, (name, _)| lengths | Names::length_of(name.as_bytes())),
            seen: list.iter().fold(0, |seen, (name, _)| {
                seen | 1u64.wrapping_shl(Names::bucket(name.as_bytes()))
            }),
            list: list.into(),
            starts,
        }
    }

    #[inline]
    fn length_of(name: &[u8]) -> u32 {
        1u32.wrapping_shl(name.len() as u32)
    }

    /// Below 64.
    #[inline]
    fn bucket(name: &[u8]) -> u32 {
        let first = name.first().copied().unwrap_or_default();
        let last = name.last().copied().unwrap_or_default();
        let mixed = first.wrapping_mul(5) ^ last.wrapping_mul(3) ^ (name.len() as u8).wrapping_mul(9);
        u32::from(mixed & 63)
    }

    #[inline]
    pub(super) fn get(&self, name: &[u8]) -> Option<u32> {
        if self.lengths & Names::length_of(name) == 0 {
            return None;
        }
        let bucket = Names::bucket(name);
        if self.seen & 1u64.wrapping_shl(bucket) == 0 {
            return None;
        }
        let starts = self.starts.as_ref().and_then(|starts| starts.get(bucket as usize..));
        let list = match starts {
            Some([from, to, ..]) => self.list.get(*from as usize..*to as usize)?,
            _ => &self.list,
        };
        list.iter().find(|(own, _)| own.as_bytes() == name).map(|(_, to)| *to)
    }
}

impl Program {
    /// Whether some body does not pass unchanged (but for the white space between its values).
    pub fn trims(&self) -> bool {
        self.trims
    }

    /// Whether nothing below a node is removed, replaced or added.
    pub(super) fn is_whole(&self, from: u32) -> bool {
        let (mut seen, mut todo) = (BTreeSet::from([from]), vec![from]);
        while let Some(id) = todo.pop() {
            let Some(node) = self.nodes.get(id as usize) else {
                return false;
            };
            let mut next = Vec::new();
            for action in [node.scalar, node.container] {
                match action {
                    Action::Keep => {}
                    Action::Drop | Action::Change(_) => return false,
                    Action::Enter => next.extend(node.ways()),
                    Action::Ask(ask) => match self.ask(ask) {
                        None | Some(Ask::Display { .. } | Ask::Label { .. }) => return false,
                        Some(ask) => next.extend(ask.ways()),
                    },
                }
            }
            next.retain(|id| seen.insert(*id));
            todo.extend(next);
        }
        true
    }
}

impl Node {
    /// The nodes of all children.
    fn ways(&self) -> impl Iterator<Item = u32> {
        let names = self.names.list.iter().map(|(_, to)| *to);
        let elements = match &*self.elements {
            [_, ranges @ ..] if !ranges.is_empty() => ranges,
            all => all,
        };
        let elements = elements.iter().map(|(_, to)| *to);
        names.chain(elements).chain([self.other, self.under])
    }
}

impl Ask {
    /// The nodes that an answer may lead to.
    fn ways(&self) -> Vec<u32> {
        match self {
            Ask::Kind { array, object, scalar } => vec![*array, *object, *scalar],
            Ask::Filters { variants, .. } => variants.clone(),
            Ask::Resource {
                types,
                other,
                none,
                bundle,
                late,
            } => {
                let listed = types.list.iter().map(|(_, to)| *to);
                listed.chain([*other, *bundle, *late]).chain(*none).collect()
            }
            Ask::Display { then }
            | Ask::Code { then }
            | Ask::Type { then }
            | Ask::Untyped { then }
            | Ask::LateType { then }
            | Ask::Label { then, .. } => vec![*then],
            // Null alone goes on there.
            Ask::Stray | Ask::Misfit | Ask::NoResource { .. } => Vec::new(),
        }
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
