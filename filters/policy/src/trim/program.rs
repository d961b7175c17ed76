//! Rules compiled into one automaton over the steps of a path.
//!
//! Each selector is a row of positions ("so many segments are behind me"). The set of positions that a value's path can be
//! at says everything about it; each distinct set is a node, and all of them are built before the first byte. So a member
//! costs one lookup of its name and an element one of its index, however many rules there are.
//!
//! Where a value's place alone does not decide, its node asks a question ([`Ask`]), and the answer leads to another node. The rules
//! for FHIR resources are positions of a second layer that begin anew at each resource.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::fhir::{ATTACHMENTS, Below, FhirPath, FhirRules, Kind, Others, SAMPLED_DATA, TypeRules, Zone};
use super::filter::Filter;
use super::selector::{Pick, Segment, Selector};
use super::transform::Transform;

/// The most nodes a program may have. Each `..` that is followed by wildcards may double them.
const MAX_NODES: usize = 8192;

/// The most edges (names and index ranges) of all nodes together; bounds the memory and the time of a compilation.
const MAX_EDGES: usize = 1 << 18;

/// The most filters that may decide about one value together: each doubles what may become of it.
const MAX_FILTERS: usize = 6;

/// The longest cycle that the steps of slices at one place may make together.
const MAX_CYCLE: u64 = 64;

/// Compiled rules: what to remove, what to keep, what to transform. Immutable and shared by all streams.
#[derive(Debug)]
pub struct Program {
    nodes: Vec<Node>,
    asks: Vec<Ask>,
    filters: Vec<Arc<Filter>>,
    start: u32,
    needs_tokens: bool,
    rewrites: bool,
    trims: bool,
}

/// What [`Program::compile`] compiles. `deny` wins over `allow`, and both over `transforms`; of several transforms for a value the
/// first in the list is applied. Without an `allow` list everything is allowed; with an empty one, nothing is.
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
    scalar: Action,
    container: Action,
    names: Names,
    /// The members that have no name of these, and those of them whose name starts with an underscore.
    other: u32,
    under: u32,
    /// Where each range of indexes starts, and what its elements are. The first starts at 0.
    elements: Vec<(u64, u32)>,
    /// So many entries of `elements` belong together: its elements by turns.
    cycle: u32,
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
    Ask(u32),
}

/// A question about a value whose place does not decide about it. Leads to nodes made before it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ask {
    /// Which kind of value is it?
    Kind { array: u32, object: u32, scalar: u32 },
    /// Which of the filters hold? The node for each set of them, by its bits.
    Filters { filters: Vec<u16>, variants: Vec<u32> },
    /// Which type of resource is this object? `none`: it need not be one.
    Resource {
        types: Names,
        other: u32,
        none: Option<u32>,
    },
    /// The `display` of an object: does a `system` or `code` come before?
    Display { then: u32 },
    /// A `system` or `code`, to be remembered.
    Code { then: u32 },
    /// The `resourceType` of a resource: is it the only one?
    Type { then: u32 },
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
        let everything = rules.allow.is_none();
        let mut compiler = Compiler::new();
        compiler.add(&rules.deny, Effect::Deny, Selector::segments);
        compiler.add(rules.allow.iter().flatten(), Effect::Allow, Selector::segments);
        for (selector, transform) in &rules.transforms {
            compiler.add([selector], Effect::Change(*transform), Selector::segments);
        }
        let positions = (0..compiler.rules.len()).map(|rule| (rule, 0)).collect();
        let mut fhir = Fhir::Off;
        if let Some(rules) = rules.fhir.filter(|rules| !rules.is_empty()) {
            compiler.layer = Some(compiler.fhir_layer(rules)?);
            fhir = Fhir::Envelope(View::Fresh);
        }
        compiler.compile(Place {
            allowed: everything,
            positions,
            fhir,
        })
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

    pub(super) fn ask(&self, ask: u32) -> Option<&Ask> {
        self.asks.get(ask as usize)
    }

    pub(super) fn filter(&self, filter: u16) -> Option<&Filter> {
        self.filters.get(usize::from(filter)).map(|filter| &**filter)
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
pub struct ProgramError(Excess);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Excess {
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
                "the selectors of this view need more than {MAX_NODES} states; use fewer steps after `..`, or name the way instead of `*`"
            ),
            Excess::Filters => write!(
                f,
                "more than {MAX_FILTERS} different filters decide about one value; name the way instead of `..` and `*`, or join filters by `||`"
            ),
            Excess::Steps => write!(
                f,
                "the steps of the slices at one place repeat only after more than {MAX_CYCLE} elements; use fewer different steps"
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
    fn leaf(scalar: Action, container: Action) -> Node {
        Node {
            scalar,
            container,
            names: Names::default(),
            other: DROPPED,
            under: DROPPED,
            elements: Vec::new(),
            cycle: 1,
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
        match self.elements.as_slice() {
            [(_, only)] => *only,
            _ if self.cycle > 1 => self.by_turns(index),
            ranges => ranges
                .iter()
                .rev()
                .find(|(from, _)| *from <= index)
                .map_or(DROPPED, |(_, to)| *to),
        }
    }

    #[cold]
    fn by_turns(&self, index: u64) -> u32 {
        let groups = self
            .elements
            .chunks_exact(usize::try_from(self.cycle).unwrap_or(1).max(1));
        let Some(group) = groups
            .rev()
            .find(|group| group.first().is_some_and(|(from, _)| *from <= index))
        else {
            return DROPPED;
        };
        let start = group.first().map_or(0, |(from, _)| *from);
        let turn = index.wrapping_sub(start).checked_rem(u64::from(self.cycle));
        turn.and_then(|turn| group.get(usize::try_from(turn).ok()?))
            .map_or(DROPPED, |(_, to)| *to)
    }
}

/// The names that a node tells from all others.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Names {
    /// One bit for the [`Names::trait_of`] each name: most names of a body are told apart from all of ours by it alone.
    seen: u64,
    /// Sorted.
    list: Vec<(Box<[u8]>, u32)>,
}

impl Names {
    fn new<N: AsRef<str>>(list: BTreeMap<N, u32>) -> Names {
        let list: Vec<_> = list
            .into_iter()
            .map(|(name, to)| (Box::from(name.as_ref().as_bytes()), to))
            .collect();
        Names {
            seen: list.iter().fold(0, |seen, (name, _)| seen | Names::trait_of(name)),
            list,
        }
    }

    #[inline]
    fn trait_of(name: &[u8]) -> u64 {
        let first = name.first().copied().unwrap_or_default();
        let last = name.last().copied().unwrap_or_default();
        let mixed = first.wrapping_mul(5) ^ last.wrapping_mul(3) ^ (name.len() as u8).wrapping_mul(9);
        1u64.wrapping_shl(u32::from(mixed))
    }

    #[inline]
    pub(super) fn get(&self, name: &[u8]) -> Option<u32> {
        if self.seen & Names::trait_of(name) == 0 {
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
    segments: Vec<Segment>,
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
    fhir: Fhir,
}

/// Where a path stands by the rules for resources.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Fhir {
    /// There are none.
    Off,
    /// Outside of all resources.
    Envelope(View),
    /// Where a resource must stand. `labelled`: the one around it has a label already.
    Border {
        view: View,
        labelled: bool,
    },
    Inside(Inside),
}

/// How much is known of the kind of a value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum View {
    Fresh,
    Array,
    /// No array.
    Single,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Inside {
    view: View,
    zone: Zone,
    /// As in [`Place`], for this layer.
    allowed: bool,
    positions: BTreeSet<Position>,
    /// Positions whose next segment was picked but for its filter.
    pending: BTreeSet<Position>,
    /// A scalar goes in any case.
    no_scalar: bool,
    /// The resource gets a label.
    label: bool,
    /// It or one around it does.
    labelled: bool,
}

/// One step down, as far as the rules can tell steps apart.
#[derive(Clone, Copy)]
enum Step<'a> {
    Name(&'a str),
    /// Any other name; true for those that start with an underscore.
    Other(bool),
    Index(u64),
}

/// Rules for resources, in the compiler's list.
struct Layer {
    rules: FhirRules,
    /// Of each listed type, and of all others.
    types: BTreeMap<String, TypeLayer>,
    others: TypeLayer,
}

#[derive(Clone, Default)]
struct TypeLayer {
    positions: BTreeSet<Position>,
    /// There is no allow list.
    everything: bool,
}

struct Compiler {
    rules: Vec<Rule>,
    layer: Option<Layer>,
    filters: Vec<Arc<Filter>>,
    nodes: Vec<Node>,
    asks: Vec<Ask>,
    known: BTreeMap<Place, u32>,
    known_asks: BTreeMap<Ask, u32>,
    todo: Vec<(u32, Place)>,
    edges: usize,
}

impl Compiler {
    fn new() -> Compiler {
        Compiler {
            rules: Vec::new(),
            layer: None,
            filters: Vec::new(),
            nodes: vec![
                Node::leaf(Action::Drop, Action::Drop),
                Node::leaf(Action::Keep, Action::Keep),
            ],
            asks: Vec::new(),
            known: BTreeMap::new(),
            known_asks: BTreeMap::new(),
            todo: Vec::new(),
            edges: 0,
        }
    }

    fn add<'s, S: 's>(
        &mut self,
        list: impl IntoIterator<Item = &'s S>,
        effect: Effect,
        segments: impl Fn(&S) -> &[Segment],
    ) {
        self.rules.extend(list.into_iter().map(|one| Rule {
            segments: segments(one).to_vec(),
            effect,
        }));
    }

    /// Adds the rules for resources: those of the types before those for all, so that their transforms win.
    fn fhir_layer(&mut self, rules: FhirRules) -> Result<Layer, ProgramError> {
        let mut types: BTreeMap<String, TypeLayer> = BTreeMap::new();
        for (name, own) in &rules.types {
            let (from, everything) = (self.rules.len(), own.allow.is_none());
            self.type_rules(own, Some(name))?;
            let layer = types.entry(name.clone()).or_insert_with(|| TypeLayer {
                positions: BTreeSet::new(),
                everything: true,
            });
            layer.everything &= everything;
            layer.positions.extend((from..self.rules.len()).map(|rule| (rule, 0)));
        }
        let from = self.rules.len();
        self.type_rules(&rules.all, None)?;
        let others = TypeLayer {
            positions: (from..self.rules.len()).map(|rule| (rule, 0)).collect(),
            everything: rules.all.allow.is_none(),
        };
        for layer in types.values_mut() {
            layer.everything &= others.everything;
            layer.positions.extend(&others.positions);
        }
        Ok(Layer { rules, types, others })
    }

    fn type_rules(&mut self, rules: &TypeRules, resource: Option<&str>) -> Result<(), ProgramError> {
        let paths = rules.deny.iter().chain(rules.allow.iter().flatten());
        for path in paths.chain(rules.transforms.iter().map(|(path, _)| path)) {
            if path.crosses(resource.map_or(Kind::Other, Kind::of)) {
                return Err(ProgramError(Excess::Crosses {
                    path: path.to_string(),
                    resource: resource.map(str::to_owned),
                }));
            }
        }
        self.add(&rules.deny, Effect::Deny, FhirPath::segments);
        self.add(rules.allow.iter().flatten(), Effect::Allow, FhirPath::segments);
        for (path, transform) in &rules.transforms {
            self.add([path], Effect::Change(*transform), FhirPath::segments);
        }
        Ok(())
    }

    fn compile(mut self, start: Place) -> Result<Program, ProgramError> {
        let changes = |wanted: fn(Transform) -> bool| {
            self.rules
                .iter()
                .any(|rule| matches!(rule.effect, Effect::Change(transform) if wanted(transform)))
        };
        let needs_tokens = changes(|transform| transform == Transform::Tokenize);
        let rewrites = changes(|transform| matches!(transform, Transform::Rewrite(_)));
        let resources = self.layer.is_some();
        let start = self.node(start)?;
        while let Some((id, place)) = self.todo.pop() {
            self.link(id, &place)?;
        }
        let mut program = Program {
            nodes: self.nodes,
            asks: self.asks,
            filters: self.filters,
            start,
            needs_tokens,
            rewrites,
            trims: false,
        };
        program.trims = start != KEPT && (resources || !program.is_whole(start));
        Ok(program)
    }

    // --- ways down ---------------------------------------------------------------------------------------------

    /// Finds the ways down from a node.
    fn link(&mut self, id: u32, place: &Place) -> Result<(), ProgramError> {
        let view = match &place.fhir {
            Fhir::Off => None,
            Fhir::Envelope(view) | Fhir::Border { view, .. } => Some(*view),
            Fhir::Inside(inside) => Some(inside.view),
        };
        // What an array has no members for does not count among the ways down.
        let (mut other, mut under, mut members) = (KEPT, KEPT, BTreeMap::new());
        if view != Some(View::Array) {
            other = self.child(place, Step::Other(false))?;
            under = match place.fhir {
                Fhir::Inside(_) => self.child(place, Step::Other(true))?,
                _ => other,
            };
            for name in self.names(place) {
                let to = self.child(place, Step::Name(&name))?;
                if to != (if name.starts_with('_') { under } else { other }) {
                    members.insert(name, to);
                }
            }
        }
        let mut elements: Vec<(u64, u32)> = Vec::new();
        let mut cycle = 1;
        if view != Some(View::Single) {
            let (starts, turns) = self.ranges(place)?;
            cycle = turns;
            for from in starts {
                if cycle > 1 {
                    for turn in 0..u64::from(cycle) {
                        elements.push((from, self.child(place, Step::Index(from.saturating_add(turn)))?));
                    }
                    continue;
                }
                let to = self.child(place, Step::Index(from))?;
                if elements.last().is_none_or(|(_, last)| *last != to) {
                    elements.push((from, to));
                }
            }
        }
        if let Some(node) = self.nodes.get_mut(id as usize) {
            (node.names, node.other, node.under) = (Names::new(members), other, under);
            (node.elements, node.cycle) = (elements, cycle);
        }
        Ok(())
    }

    /// The names that may make a difference at a place.
    fn names(&self, place: &Place) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let own = |positions: &BTreeSet<Position>, into: &mut Vec<String>| {
            for segment in positions.iter().filter_map(|at| self.segment(*at)) {
                into.extend(segment.picks.iter().filter_map(|pick| match pick {
                    Pick::Name(name) => Some(name.clone()),
                    _ => None,
                }));
            }
        };
        let mut list = Vec::new();
        own(&place.positions, &mut list);
        names.extend(list);
        match (&place.fhir, &self.layer) {
            (Fhir::Envelope(_), _) => {
                names.insert("resourceType".to_owned());
            }
            (Fhir::Inside(inside), Some(layer)) => {
                let mut list = Vec::new();
                own(&inside.positions, &mut list);
                let mut special = inside.zone.names().to_vec();
                special.push("resourceType");
                if inside.label {
                    special.push("meta");
                }
                if inside.zone == Zone::Meta {
                    special.push("security");
                }
                if layer.rules.narrative {
                    special.extend(["text", "div"]);
                }
                if layer.rules.reference_display {
                    special.extend(["display", "system", "code"]);
                }
                if layer.rules.attachments {
                    special.extend(["data", "url", "title", "hash"]);
                    special.extend(ATTACHMENTS);
                    special.extend(SAMPLED_DATA);
                }
                if layer.rules.extensions {
                    special.push("extension");
                }
                list.extend(special.into_iter().map(str::to_owned));
                for name in list {
                    names.insert(format!("_{name}"));
                    names.insert(name);
                }
            }
            _ => {}
        }
        names
    }

    /// Where the ranges of indexes start at a place, and after how many elements they repeat.
    fn ranges(&self, place: &Place) -> Result<(BTreeSet<u64>, u32), ProgramError> {
        let (mut starts, mut cycle) = (BTreeSet::from([0]), 1u64);
        let segments = place.positions.iter().filter_map(|at| self.segment(*at));
        for pick in segments.flat_map(|segment| &segment.picks) {
            if let Pick::Elements { from, to, step } = pick {
                starts.extend([*from, *to]);
                cycle = multiple(cycle, *step).ok_or(ProgramError(Excess::Steps))?;
            }
        }
        let cycle = u32::try_from(cycle).map_err(|_| ProgramError(Excess::Steps))?;
        Ok((starts, cycle))
    }

    fn segment(&self, at: Position) -> Option<&Segment> {
        self.rules.get(at.0)?.segments.get(at.1)
    }

    /// The node of a child, behind a question if filters decide.
    fn child(&mut self, place: &Place, step: Step<'_>) -> Result<u32, ProgramError> {
        let mut filters: Vec<Arc<Filter>> = Vec::new();
        for filter in place
            .positions
            .iter()
            .filter_map(|at| self.segment(*at))
            .flat_map(Segment::filters)
        {
            if !filters.contains(filter) {
                filters.push(Arc::clone(filter));
            }
        }
        self.by_filters(filters, |compiler, holding| compiler.arrive(place, step, holding))
    }

    /// The node that `arrive` gives for the filters that hold.
    fn by_filters(
        &mut self,
        filters: Vec<Arc<Filter>>,
        mut arrive: impl FnMut(&mut Compiler, &[Arc<Filter>]) -> Result<u32, ProgramError>,
    ) -> Result<u32, ProgramError> {
        if filters.is_empty() {
            return arrive(self, &[]);
        }
        if filters.len() > MAX_FILTERS {
            return Err(ProgramError(Excess::Filters));
        }
        let mut variants = Vec::new();
        for bits in 0usize..1usize.wrapping_shl(u32::try_from(filters.len()).unwrap_or_default()) {
            let holding: Vec<_> = (0u32..)
                .zip(&filters)
                .filter(|(at, _)| (bits >> at) & 1 == 1)
                .map(|(_, filter)| Arc::clone(filter))
                .collect();
            variants.push(arrive(self, &holding)?);
        }
        let first = variants.first().copied().unwrap_or(DROPPED);
        if variants.iter().all(|variant| *variant == first) {
            return Ok(first);
        }
        let mut numbers = Vec::new();
        for filter in filters {
            let known = self.filters.iter().position(|own| *own == filter);
            let at = known.unwrap_or_else(|| {
                self.filters.push(filter);
                self.filters.len().saturating_sub(1)
            });
            numbers.push(u16::try_from(at).map_err(|_| ProgramError(Excess::Filters))?);
        }
        self.question(Ask::Filters {
            filters: numbers,
            variants,
        })
    }

    /// The node of a child where these filters hold on it.
    fn arrive(&mut self, place: &Place, step: Step<'_>, holding: &[Arc<Filter>]) -> Result<u32, ProgramError> {
        let json = Place {
            allowed: place.allowed,
            positions: self.step(&place.positions, step, holding),
            fhir: Fhir::Off,
        };
        match (&place.fhir, step) {
            (Fhir::Off, _) => self.node(json),
            (Fhir::Envelope(_), Step::Name("resourceType")) => self.question(Ask::Stray),
            (Fhir::Envelope(_), _) => self.node(Place {
                fhir: Fhir::Envelope(View::Fresh),
                ..json
            }),
            (Fhir::Border { labelled, .. }, _) => self.node(Place {
                fhir: Fhir::Border {
                    view: View::Fresh,
                    labelled: *labelled,
                },
                ..json
            }),
            (Fhir::Inside(inside), Step::Index(_)) => {
                let mut inside = inside.clone();
                inside.view = View::Fresh;
                if inside.zone == Zone::Security {
                    inside.zone = Zone::Plain;
                }
                self.node(Place {
                    fhir: Fhir::Inside(inside),
                    ..json
                })
            }
            (Fhir::Inside(inside), Step::Name(name)) => match name.strip_prefix('_') {
                Some(base) => self.member(inside, Some(base), true, json),
                None => self.member(inside, Some(name), false, json),
            },
            (Fhir::Inside(inside), Step::Other(underscore)) => self.member(inside, None, underscore, json),
        }
    }

    /// The positions behind a step.
    fn step(&self, positions: &BTreeSet<Position>, step: Step<'_>, holding: &[Arc<Filter>]) -> BTreeSet<Position> {
        let mut behind = BTreeSet::new();
        for at in positions {
            let Some(segment) = self.segment(*at) else {
                continue;
            };
            if segment.descends {
                behind.insert(*at);
            }
            let picked = match step {
                Step::Name(name) => segment.picks_name(name),
                Step::Other(_) => segment.picks_any_name(),
                Step::Index(index) => segment.picks_index(index),
            };
            if picked || segment.filters().any(|filter| holding.contains(filter)) {
                behind.insert((at.0, at.1.saturating_add(1)));
            }
        }
        behind
    }

    /// The node of a member inside a resource. `name`: without its underscore; nothing for those that no rule mentions.
    fn member(
        &mut self,
        inside: &Inside,
        name: Option<&str>,
        underscore: bool,
        json: Place,
    ) -> Result<u32, ProgramError> {
        let Some(layer) = &self.layer else {
            return Ok(DROPPED);
        };
        let groups = &layer.rules;
        let zone = inside.zone;
        let name = name.unwrap_or_default();
        match (zone, name) {
            (Zone::Root(_), "resourceType") if !underscore => return self.question(Ask::Type { then: KEPT }),
            (Zone::Instance, "resourceType") => {}
            (_, "resourceType") if !underscore => return self.question(Ask::Stray),
            _ => {}
        }
        let narrative = matches!((zone, name), (Zone::Root(_) | Zone::Section, "text") | (_, "div"));
        let attached = zone == Zone::Attachment && matches!(name, "data" | "url" | "title" | "hash");
        let gone = (groups.extensions && (underscore || name == "extension"))
            || (groups.narrative && narrative)
            || (groups.attachments && attached);
        let no_scalar = groups.attachments && name == "data" && zone != Zone::SampledData;
        let (displays, attachments) = (groups.reference_display, groups.attachments);
        let to = if gone {
            DROPPED
        } else {
            let mut next = Inside {
                view: View::Fresh,
                zone: Zone::Plain,
                allowed: inside.allowed,
                positions: BTreeSet::new(),
                pending: BTreeSet::new(),
                no_scalar,
                label: false,
                labelled: false,
            };
            self.step_inside(inside, name, &mut next);
            let hidden = underscore && (self.change(&next.positions, &next.pending) || self.denies(&next.pending));
            if hidden {
                DROPPED
            } else {
                if underscore {
                    // A filter reads `x`, not `_x`; what it would allow is not allowed.
                    next.pending.clear();
                }
                let fhir = match zone.member(name, underscore) {
                    Below::Border if self.change(&next.positions, &next.pending) => Fhir::Inside(next),
                    Below::Border => {
                        let denied = self
                            .selected(&next.positions)
                            .any(|effect| matches!(effect, Effect::Deny));
                        if denied || self.denies(&next.pending) || !self.allows(&next) {
                            return Ok(DROPPED);
                        }
                        Fhir::Border {
                            view: View::Fresh,
                            labelled: matches!(zone, Zone::Root(_)) && name == "contained" && inside.labelled,
                        }
                    }
                    Below::Zone(below) => {
                        next.zone = match (zone, name) {
                            (Zone::Root(_), "meta") if inside.label && !underscore => Zone::Meta,
                            (Zone::Meta, "security") if !underscore => Zone::Security,
                            _ if !attachments && matches!(below, Zone::Attachment | Zone::SampledData) => Zone::Plain,
                            _ => below,
                        };
                        Fhir::Inside(next)
                    }
                };
                self.node(Place { fhir, ..json })?
            }
        };
        match name {
            "display" if displays && to != DROPPED => self.question(Ask::Display { then: to }),
            "system" | "code" if displays && !underscore => self.question(Ask::Code { then: to }),
            _ => Ok(to),
        }
    }

    /// Moves the positions of the rules for resources to a member.
    fn step_inside(&self, inside: &Inside, name: &str, next: &mut Inside) {
        for at in &inside.positions {
            let Some(segment) = self.segment(*at) else {
                continue;
            };
            if segment.descends {
                next.positions.insert(*at);
            }
            if !segment.picks_name(name) {
            } else if segment.filters().next().is_some() {
                next.pending.insert(*at);
            } else {
                next.positions.insert((at.0, at.1.saturating_add(1)));
            }
        }
    }

    /// What the rules that end at these positions do.
    fn selected<'s>(&'s self, positions: &'s BTreeSet<Position>) -> impl Iterator<Item = Effect> + 's {
        positions.iter().filter_map(|at| {
            self.rules
                .get(at.0)
                .filter(|rule| rule.segments.len() == at.1)
                .map(|rule| rule.effect)
        })
    }

    /// Whether a transform applies here, or may by its filter.
    fn change(&self, positions: &BTreeSet<Position>, pending: &BTreeSet<Position>) -> bool {
        let ahead: BTreeSet<Position> = pending.iter().map(|at| (at.0, at.1.saturating_add(1))).collect();
        self.selected(positions)
            .chain(self.selected(&ahead))
            .any(|effect| matches!(effect, Effect::Change(_)))
    }

    /// Whether a rule that waits for its filter could deny or replace, here or below.
    fn denies(&self, pending: &BTreeSet<Position>) -> bool {
        pending
            .iter()
            .filter_map(|at| self.rules.get(at.0))
            .any(|rule| !matches!(rule.effect, Effect::Allow))
    }

    fn allows(&self, inside: &Inside) -> bool {
        inside.allowed
            || self
                .selected(&inside.positions)
                .any(|effect| matches!(effect, Effect::Allow))
    }

    fn is_allow(&self, at: &Position) -> bool {
        self.rules
            .get(at.0)
            .is_some_and(|rule| matches!(rule.effect, Effect::Allow))
    }

    /// Judges one layer at a place: drops, or notes what is allowed and forgets what no longer matters.
    fn judge(
        &self,
        allowed: &mut bool,
        positions: &mut BTreeSet<Position>,
        pending: Option<&mut BTreeSet<Position>>,
    ) -> bool {
        if self.selected(positions).any(|effect| matches!(effect, Effect::Deny)) {
            return false;
        }
        *allowed |= self.selected(positions).any(|effect| matches!(effect, Effect::Allow));
        let mut none = BTreeSet::new();
        let pending = pending.unwrap_or(&mut none);
        if *allowed {
            positions.retain(|at| !self.is_allow(at));
            pending.retain(|at| !self.is_allow(at));
            return true;
        }
        positions.iter().chain(pending.iter()).any(|at| self.is_allow(at))
    }

    /// The first transform that these positions apply.
    fn transform(&self, positions: &BTreeSet<Position>) -> Option<Action> {
        self.selected(positions).find_map(|effect| match effect {
            Effect::Change(transform) => Some(Action::Change(transform)),
            _ => None,
        })
    }

    // --- nodes -------------------------------------------------------------------------------------------------

    /// The node of a place, made when it is new. This is where the order of the rules is decided.
    fn node(&mut self, mut place: Place) -> Result<u32, ProgramError> {
        self.edges = self.edges.saturating_add(1);
        if self.edges > MAX_EDGES {
            return Err(ProgramError(Excess::States));
        }
        let Place {
            allowed,
            positions,
            fhir,
        } = &mut place;
        if !self.judge(allowed, positions, None) {
            return Ok(DROPPED);
        }
        let change = self.transform(positions);
        let allowed = *allowed;
        if let Fhir::Inside(inside) = fhir
            && !self.judge(&mut inside.allowed, &mut inside.positions, Some(&mut inside.pending))
        {
            return Ok(DROPPED);
        }
        if allowed && positions.is_empty() && matches!(fhir, Fhir::Off) {
            return Ok(KEPT);
        }
        if let Some(id) = self.known.get(&place) {
            return Ok(*id);
        }
        let whole = change.unwrap_or(Action::Keep);
        let scalar = if allowed { whole } else { Action::Drop };
        let id = match (&place.fhir, change) {
            (Fhir::Inside(inside), Some(_)) if matches!(inside.zone, Zone::Meta | Zone::Security) => DROPPED,
            (Fhir::Inside(inside), Some(_)) if !inside.pending.is_empty() && inside.view != View::Array => {
                let inside = inside.clone();
                self.inside(&inside, scalar, &place)?
            }
            (Fhir::Inside(inside), Some(_)) if !inside.allowed || inside.no_scalar => self.leaf(Action::Drop, whole)?,
            (_, Some(_)) => self.leaf(scalar, whole)?,
            (Fhir::Off, None) => self.entered(scalar, &place)?,
            (Fhir::Envelope(View::Fresh), None) => {
                let array = self.viewed(&place, View::Array)?;
                let single = self.viewed(&place, View::Single)?;
                let object = self.resource_question(&place, Some(single), false)?;
                self.question(Ask::Kind {
                    array,
                    object,
                    scalar: single,
                })?
            }
            (
                Fhir::Border {
                    view: View::Fresh,
                    labelled,
                },
                None,
            ) => {
                let labelled = *labelled;
                let array = self.viewed(&place, View::Array)?;
                let object = self.resource_question(&place, None, labelled)?;
                let single = self.viewed(&place, View::Single)?;
                let scalar = self.question(Ask::NoResource { then: single })?;
                self.question(Ask::Kind { array, object, scalar })?
            }
            (Fhir::Envelope(_) | Fhir::Border { .. }, None) => self.entered(scalar, &place)?,
            (Fhir::Inside(inside), None) => {
                let inside = inside.clone();
                self.inside(&inside, scalar, &place)?
            }
        };
        self.known.insert(place, id);
        Ok(id)
    }

    /// The node of a place inside a resource that stays as far as it is known.
    fn inside(&mut self, inside: &Inside, scalar: Action, place: &Place) -> Result<u32, ProgramError> {
        let change = self.transform(&inside.positions);
        match inside.view {
            View::Array => self.entered(Action::Keep, place),
            View::Fresh if matches!(inside.zone, Zone::Meta | Zone::Security) => {
                let (label, view) = if inside.zone == Zone::Meta {
                    (Label::Meta, View::Single)
                } else {
                    (Label::Security, View::Array)
                };
                // What is replaced there gives way to ours.
                if change.is_some() || self.change(&inside.positions, &inside.pending) {
                    return Ok(DROPPED);
                }
                let then = self.viewed(place, view)?;
                let labelled = match then {
                    DROPPED => DROPPED,
                    then => self.question(Ask::Label { label, then })?,
                };
                let (mut array, mut object) = (DROPPED, labelled);
                if inside.zone == Zone::Security {
                    (array, object) = (labelled, DROPPED);
                }
                self.question(Ask::Kind {
                    array,
                    object,
                    scalar: DROPPED,
                })
            }
            View::Fresh if change.is_some() || !inside.pending.is_empty() => {
                let array = self.viewed(place, View::Array)?;
                let single = self.viewed(place, View::Single)?;
                self.question(Ask::Kind {
                    array,
                    object: single,
                    scalar: single,
                })
            }
            View::Single if !inside.pending.is_empty() => self.decided(inside, place),
            View::Fresh | View::Single => {
                let scalar = match (scalar, change) {
                    (Action::Drop, _) => Action::Drop,
                    _ if !inside.allowed || inside.no_scalar => Action::Drop,
                    (_, Some(change)) => change,
                    (scalar, None) => scalar,
                };
                match change {
                    Some(change) => self.leaf(scalar, change),
                    None => self.entered(scalar, place),
                }
            }
        }
    }

    /// The node of a value on which filters of paths decide.
    fn decided(&mut self, inside: &Inside, place: &Place) -> Result<u32, ProgramError> {
        let mut filters: Vec<Arc<Filter>> = Vec::new();
        for filter in inside
            .pending
            .iter()
            .filter_map(|at| self.segment(*at))
            .flat_map(Segment::filters)
        {
            if !filters.contains(filter) {
                filters.push(Arc::clone(filter));
            }
        }
        self.by_filters(filters, |compiler, holding| {
            let mut next = inside.clone();
            for at in std::mem::take(&mut next.pending) {
                let holds = compiler
                    .segment(at)
                    .is_some_and(|segment| segment.filters().all(|filter| holding.contains(filter)));
                if holds {
                    next.positions.insert((at.0, at.1.saturating_add(1)));
                }
            }
            compiler.node(Place {
                fhir: Fhir::Inside(next),
                ..place.clone()
            })
        })
    }

    /// The node of the same place, where the kind of the value is known.
    fn viewed(&mut self, place: &Place, as_view: View) -> Result<u32, ProgramError> {
        let mut place = place.clone();
        match &mut place.fhir {
            Fhir::Off => {}
            Fhir::Envelope(view) | Fhir::Border { view, .. } => *view = as_view,
            Fhir::Inside(inside) => inside.view = as_view,
        }
        self.node(place)
    }

    /// The question which resource an object is.
    fn resource_question(&mut self, place: &Place, none: Option<u32>, labelled: bool) -> Result<u32, ProgramError> {
        let listed = self.layer.iter().flat_map(|layer| layer.types.keys().cloned());
        let mut names: BTreeSet<String> = listed.collect();
        names.extend(Kind::NAMES.iter().map(|(name, _)| (*name).to_owned()));
        let other = self.resource(place, None, labelled)?;
        let mut types = BTreeMap::new();
        for name in names {
            let to = self.resource(place, Some(&name), labelled)?;
            if to != other {
                types.insert(name, to);
            }
        }
        self.question(Ask::Resource {
            types: Names::new(types),
            other,
            none,
        })
    }

    /// The node of a resource of this type, or of one that no rule mentions.
    fn resource(&mut self, place: &Place, name: Option<&str>, labelled: bool) -> Result<u32, ProgramError> {
        let Some(layer) = &self.layer else {
            return Ok(DROPPED);
        };
        let kind = name.map_or(Kind::Other, Kind::of);
        let listed = name.and_then(|name| layer.types.get(name));
        if listed.is_none() && layer.rules.others == Others::Remove && !kind.always_stays() {
            return Ok(DROPPED);
        }
        let own = listed.unwrap_or(&layer.others);
        let groups = &layer.rules;
        let trimmed = !(place.allowed && place.positions.is_empty())
            || !own.positions.is_empty()
            || !own.everything
            || groups.others == Others::Remove
            || groups.narrative
            || groups.reference_display
            || groups.attachments
            || groups.extensions;
        let label = groups.tag && trimmed && !labelled;
        let inside = Inside {
            view: View::Single,
            zone: Zone::Root(kind),
            allowed: own.everything,
            positions: own.positions.clone(),
            pending: BTreeSet::new(),
            no_scalar: false,
            label,
            labelled: label || labelled,
        };
        let root = Place {
            allowed: place.allowed,
            positions: place.positions.clone(),
            fhir: Fhir::Inside(inside),
        };
        // `resourceType` stays with its resource even where nothing is allowed.
        let then = self.root(root)?;
        if label {
            self.question(Ask::Label {
                label: Label::Resource,
                then,
            })
        } else {
            Ok(then)
        }
    }

    /// The node of a resource itself, which is entered whatever its rules allow.
    fn root(&mut self, place: Place) -> Result<u32, ProgramError> {
        if let Some(id) = self.known.get(&place) {
            return Ok(*id);
        }
        let id = self.entered(Action::Keep, &place)?;
        self.known.insert(place, id);
        Ok(id)
    }

    /// A new node whose children are judged one by one.
    fn entered(&mut self, scalar: Action, place: &Place) -> Result<u32, ProgramError> {
        let id = self.leaf(scalar, Action::Enter)?;
        self.todo.push((id, place.clone()));
        Ok(id)
    }

    fn leaf(&mut self, scalar: Action, container: Action) -> Result<u32, ProgramError> {
        if self.nodes.len() >= MAX_NODES {
            return Err(ProgramError(Excess::States));
        }
        let id = u32::try_from(self.nodes.len()).map_err(|_| ProgramError(Excess::States))?;
        self.nodes.push(Node::leaf(scalar, container));
        Ok(id)
    }

    /// The node that asks this.
    fn question(&mut self, ask: Ask) -> Result<u32, ProgramError> {
        if let Some(id) = self.known_asks.get(&ask) {
            return Ok(*id);
        }
        let number = u32::try_from(self.asks.len()).map_err(|_| ProgramError(Excess::States))?;
        let id = self.leaf(Action::Ask(number), Action::Ask(number))?;
        self.asks.push(ask.clone());
        self.known_asks.insert(ask, id);
        Ok(id)
    }
}

/// The least common multiple, if it is small. A step of 0 selects nothing and repeats at once.
fn multiple(left: u64, right: u64) -> Option<u64> {
    let right = right.max(1);
    (1..=MAX_CYCLE)
        .filter_map(|factor| left.checked_mul(factor))
        .take_while(|product| *product <= MAX_CYCLE)
        .find(|product| product.checked_rem(right) == Some(0))
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
        let elements = self.elements.iter().map(|(_, to)| *to);
        names.chain(elements).chain([self.other, self.under])
    }
}

impl Ask {
    /// The nodes that an answer may lead to.
    fn ways(&self) -> Vec<u32> {
        match self {
            Ask::Kind { array, object, scalar } => vec![*array, *object, *scalar],
            Ask::Filters { variants, .. } => variants.clone(),
            Ask::Resource { types, other, none } => {
                let listed = types.list.iter().map(|(_, to)| *to);
                listed.chain([*other]).chain(*none).collect()
            }
            Ask::Display { then } | Ask::Code { then } | Ask::Type { then } | Ask::Label { then, .. } => vec![*then],
            // Null alone goes on there.
            Ask::Stray | Ask::NoResource { .. } => Vec::new(),
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
