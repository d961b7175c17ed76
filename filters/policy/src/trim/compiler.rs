//! The compiler: from rules to the automaton of a [`Program`].

mod positions;
mod resources;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::positions::{Rule, Set, Sets, Word, Words, replaces};
use self::resources::Layer;
use super::fhir::{ATTACHMENTS, HOLDERS, Others, SAMPLED_DATA, Zone};
use super::filter::Filter;
use super::program::{Action, Ask, DROPPED, Excess, KEPT, Names, Node, Program, ProgramError, Rules};
use super::selector::{Pick, Segment, Selector};
use super::transform::Transform;

/// The most nodes a program may have. Each `..` that is followed by wildcards may double them.
pub(super) const MAX_NODES: usize = 8192;

/// The most edges (names and index ranges) of all nodes together; bounds the memory and the time of a compilation.
pub(super) const MAX_EDGES: usize = 1 << 18;

/// The most filters that may decide about one value together: each doubles what may become of it.
pub(super) const MAX_FILTERS: usize = 6;

/// The longest cycle that the steps of slices at one place may make together.
pub(super) const MAX_CYCLE: u64 = 64;

/// Compiles rules.
pub(super) fn compile(rules: Rules) -> Result<Program, ProgramError> {
    let everything = rules.allow.is_none();
    let mut compiler = Compiler::new();
    compiler.add(&rules.deny, Effect::Deny, false, Selector::segments);
    compiler.add(rules.allow.iter().flatten(), Effect::Allow, false, Selector::segments);
    for (selector, transform) in &rules.transforms {
        compiler.add([selector], Effect::Change(*transform), false, Selector::segments);
    }
    let positions = compiler.begun(0);
    let mut fhir = Fhir::Off;
    if let Some(rules) = rules.fhir.filter(|rules| !rules.is_empty()) {
        compiler.layer = Some(compiler.fhir_layer(rules)?);
        fhir = Fhir::Envelope {
            view: View::Fresh,
            late: false,
        };
    }
    compiler.finish(Place {
        allowed: everything,
        positions,
        fhir,
    })
}

#[derive(Clone, Copy)]
enum Effect {
    Deny,
    Allow,
    Change(Transform),
}

/// Where a path stands in all rules at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// An allow rule selected the value or something above it.
    allowed: bool,
    positions: Set,
    fhir: Fhir,
}

/// Where a path stands by the rules for resources.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fhir {
    /// There are none.
    Off,
    /// Outside of all resources. `late`: or inside of one whose type did not come in time.
    Envelope {
        view: View,
        late: bool,
    },
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

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Inside {
    view: View,
    zone: Zone,
    /// As in [`Place`], for this layer.
    allowed: bool,
    positions: Set,
    /// Positions whose next segment was picked but for its filter.
    pending: Set,
    /// A scalar goes in any case.
    no_scalar: bool,
    /// The resource gets a label.
    label: bool,
    /// It or one around it does.
    labelled: bool,
}

/// One step down, as far as the rules can tell steps apart.
#[derive(Clone, Copy)]
enum Step {
    Name(Word),
    /// Any other name; true for those that start with an underscore.
    Other(bool),
    Index(u64),
}

struct Compiler {
    rules: Vec<Rule>,
    words: Words,
    sets: Sets,
    layer: Option<Layer>,
    filters: Vec<Arc<Filter>>,
    nodes: Vec<Node>,
    asks: Vec<Ask>,
    known: BTreeMap<Place, u32>,
    known_asks: BTreeMap<Ask, u32>,
    /// The nodes without ways down.
    known_leaves: Vec<((Action, Action), u32)>,
    todo: Vec<(u32, Place)>,
    edges: usize,
}

impl Compiler {
    fn new() -> Compiler {
        Compiler {
            rules: Vec::new(),
            words: Words::default(),
            sets: Sets::new(),
            layer: None,
            filters: Vec::new(),
            nodes: vec![
                Node::leaf(Action::Drop, Action::Drop),
                Node::leaf(Action::Keep, Action::Keep),
            ],
            asks: Vec::new(),
            known: BTreeMap::new(),
            known_asks: BTreeMap::new(),
            known_leaves: vec![
                ((Action::Drop, Action::Drop), DROPPED),
                ((Action::Keep, Action::Keep), KEPT),
            ],
            todo: Vec::new(),
            edges: 0,
        }
    }

    fn add<'s, S: 's>(
        &mut self,
        list: impl IntoIterator<Item = &'s S>,
        effect: Effect,
        waits: bool,
        segments: impl Fn(&S) -> &[Segment],
    ) {
        for one in list {
            let rule = Rule::new(&mut self.words, segments(one), effect, waits);
            self.rules.push(rule);
        }
    }

    /// Where a path stands in the rules from this one on before its first step.
    fn begun(&mut self, from: usize) -> Set {
        let positions = (from..self.rules.len()).map(|rule| (rule, 0)).collect();
        self.sets.set(&self.rules, positions)
    }

    fn finish(mut self, start: Place) -> Result<Program, ProgramError> {
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

    /// Finds the ways down from a node.
    fn link(&mut self, id: u32, place: &Place) -> Result<(), ProgramError> {
        let view = match &place.fhir {
            Fhir::Off => None,
            Fhir::Envelope { view, .. } | Fhir::Border { view, .. } => Some(*view),
            Fhir::Inside(inside) => Some(inside.view),
        };
        // What an array has no members for does not count among the ways down.
        let (mut other, mut under, mut members) = (KEPT, KEPT, Vec::new());
        if view != Some(View::Array) {
            other = self.child(place, Step::Other(false))?;
            under = match place.fhir {
                Fhir::Inside(_) => self.child(place, Step::Other(true))?,
                _ => other,
            };
            for word in self.names(place) {
                let to = self.child(place, Step::Name(word))?;
                let name = self.words.text(word);
                if to != (if name.starts_with('_') { under } else { other }) {
                    members.push((name, to));
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
            if elements.len() > 1 {
                elements.insert(0, (u64::from(cycle), DROPPED));
            }
            node.elements = elements.into();
        }
        Ok(())
    }

    /// The names that may make a difference at a place.
    fn names(&mut self, place: &Place) -> Vec<Word> {
        let mut names = self.sets.names(&self.rules, place.positions);
        match (&place.fhir, &self.layer) {
            (Fhir::Envelope { late, .. }, _) => {
                names.push(self.words.word("resourceType"));
                if *late {
                    names.extend(HOLDERS.iter().map(|name| self.words.word(name)));
                }
            }
            (Fhir::Inside(inside), Some(layer)) => {
                // Those whose underscored sibling is like no other, and those for which it is like any other.
                let (mut twice, mut once) = (Vec::new(), inside.zone.names().to_vec());
                if inside.zone.refuses("") {
                    std::mem::swap(&mut twice, &mut once);
                }
                once.push("resourceType");
                if inside.label {
                    once.push("meta");
                }
                if inside.zone == Zone::Meta {
                    once.push("security");
                }
                if layer.rules.narrative {
                    twice.extend(["text", "div"]);
                }
                if layer.rules.reference_display {
                    twice.push("display");
                    once.extend(["system", "code"]);
                }
                if layer.rules.attachments {
                    twice.extend(["data", "url", "title", "hash"]);
                    once.extend(ATTACHMENTS);
                    once.extend(SAMPLED_DATA);
                }
                if layer.rules.extensions {
                    once.push("extension");
                }
                let list = self.sets.names(&self.rules, inside.positions);
                names.extend_from_slice(&list);
                // Otherwise all that have an underscore go alike.
                if !layer.rules.extensions || inside.zone.refuses("") {
                    names.extend(list.into_iter().map(|word| self.words.twin(word)));
                }
                for name in twice {
                    let word = self.words.word(name);
                    names.extend([word, self.words.twin(word)]);
                }
                names.extend(once.into_iter().map(|name| self.words.word(name)));
            }
            _ => {}
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Where the ranges of indexes start at a place, and after how many elements they repeat.
    fn ranges(&self, place: &Place) -> Result<(BTreeSet<u64>, u32), ProgramError> {
        let (mut starts, mut cycle) = (BTreeSet::from([0]), 1u64);
        let segments = self.sets.positions(place.positions).iter();
        let segments = segments.filter_map(|at| self.rules.get(at.0)?.segments.get(at.1));
        for pick in segments.flat_map(|segment| &segment.picks) {
            if let Pick::Elements { from, to, step } = pick {
                starts.extend([*from, *to]);
                cycle = multiple(cycle, *step).ok_or(ProgramError(Excess::Steps))?;
            }
        }
        let cycle = u32::try_from(cycle).map_err(|_| ProgramError(Excess::Steps))?;
        Ok((starts, cycle))
    }

    /// The node of a child, behind a question if filters decide.
    fn child(&mut self, place: &Place, step: Step) -> Result<u32, ProgramError> {
        let filters = self.sets.filters(place.positions).to_vec();
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
    fn arrive(&mut self, place: &Place, step: Step, holding: &[Arc<Filter>]) -> Result<u32, ProgramError> {
        let json = Place {
            allowed: place.allowed,
            positions: self.sets.step(&self.rules, place.positions, step, holding),
            fhir: Fhir::Off,
        };
        match (&place.fhir, step) {
            (Fhir::Off, _) => self.node(json),
            (Fhir::Envelope { .. }, Step::Name(word)) if *self.words.text(word) == *"resourceType" => {
                self.question(Ask::Stray)
            }
            (Fhir::Envelope { late: true, .. }, Step::Name(word)) if HOLDERS.contains(&&*self.words.text(word)) => {
                self.question(Ask::Misfit)
            }
            (Fhir::Envelope { late, .. }, _) => self.node(Place {
                fhir: Fhir::Envelope {
                    view: View::Fresh,
                    late: *late,
                },
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
                let mut inside = *inside;
                inside.view = View::Fresh;
                if inside.zone == Zone::Security {
                    inside.zone = Zone::Plain;
                }
                self.node(Place {
                    fhir: Fhir::Inside(inside),
                    ..json
                })
            }
            (Fhir::Inside(inside), Step::Name(word)) => {
                let name = self.words.text(word);
                match name.strip_prefix('_') {
                    Some(base) => self.member(inside, self.words.base(word), base, true, json),
                    None => self.member(inside, Some(word), &name, false, json),
                }
            }
            (Fhir::Inside(inside), Step::Other(underscore)) => self.member(inside, None, "", underscore, json),
        }
    }

    /// What the rules that end at these positions do.
    fn selected(&self, positions: Set) -> impl Iterator<Item = Effect> {
        self.sets.ends(positions).iter().copied()
    }

    /// Judges one layer at a place: drops, or notes what is allowed and forgets what no longer matters.
    fn judge(&mut self, allowed: &mut bool, positions: &mut Set, pending: Option<&mut Set>) -> bool {
        if self.selected(*positions).any(|effect| matches!(effect, Effect::Deny)) {
            return false;
        }
        *allowed |= self.selected(*positions).any(|effect| matches!(effect, Effect::Allow));
        let mut none = Sets::EMPTY;
        let pending = pending.unwrap_or(&mut none);
        if *allowed {
            *positions = self.sets.settled(&self.rules, *positions);
            *pending = self.sets.settled(&self.rules, *pending);
            return true;
        }
        self.sets.allows(*positions) || self.sets.allows(*pending)
    }

    /// The first transform that these positions apply.
    fn transform(&self, positions: Set) -> Option<Action> {
        self.selected(positions).find_map(|effect| match effect {
            Effect::Change(transform) => Some(Action::Change(transform)),
            _ => None,
        })
    }

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
        let change = self.transform(*positions);
        let allowed = *allowed;
        if let Fhir::Inside(inside) = fhir
            && !self.judge(&mut inside.allowed, &mut inside.positions, Some(&mut inside.pending))
        {
            return Ok(DROPPED);
        }
        if let Fhir::Inside(inside) = fhir
            && inside.pending == Sets::EMPTY
            && !matches!(inside.zone, Zone::Meta | Zone::Security)
            && self.selected(inside.positions).any(replaces)
        {
            // Nothing below it is looked at.
            (inside.zone, inside.label, inside.labelled) = (Zone::Plain, false, false);
        }
        if allowed && *positions == Sets::EMPTY && matches!(fhir, Fhir::Off) {
            return Ok(KEPT);
        }
        if let Some(id) = self.known.get(&place) {
            return Ok(*id);
        }
        let whole = change.unwrap_or(Action::Keep);
        let removes = self
            .layer
            .as_ref()
            .is_some_and(|layer| layer.rules.others == Others::Remove);
        let outside = matches!(place.fhir, Fhir::Envelope { .. });
        let scalar = if allowed && !(outside && removes) {
            whole
        } else {
            Action::Drop
        };
        let id = match (&place.fhir, change) {
            (Fhir::Inside(inside), Some(_)) if matches!(inside.zone, Zone::Meta | Zone::Security) => DROPPED,
            (Fhir::Inside(inside), Some(_)) if inside.pending != Sets::EMPTY && inside.view != View::Array => {
                let inside = *inside;
                self.inside(&inside, scalar, &place)?
            }
            // A rewriter takes what no other transform is for.
            (Fhir::Inside(inside), Some(Action::Change(Transform::Rewrite(_))))
                if self.transform(inside.positions).is_some() =>
            {
                let inside = *inside;
                self.inside(&inside, scalar, &place)?
            }
            (Fhir::Inside(inside), Some(_)) if !inside.allowed || inside.no_scalar => self.leaf(Action::Drop, whole)?,
            (Fhir::Envelope { late: true, .. }, Some(_)) => {
                let then = self.leaf(scalar, whole)?;
                let scalar = self.late_scalar(scalar, then)?;
                self.question(Ask::Kind {
                    array: then,
                    object: then,
                    scalar,
                })?
            }
            (_, Some(_)) => self.leaf(scalar, whole)?,
            (Fhir::Off, None) => self.entered(scalar, &place)?,
            (
                Fhir::Envelope {
                    view: View::Fresh,
                    late,
                },
                None,
            ) => {
                let late = *late;
                let array = self.viewed(&place, View::Array)?;
                let single = self.viewed(&place, View::Single)?;
                let object = self.resource_question(&place, Some(single), false)?;
                let scalar = if late {
                    self.late_scalar(scalar, single)?
                } else {
                    single
                };
                self.question(Ask::Kind { array, object, scalar })?
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
                let scalar = if allowed {
                    self.question(Ask::NoResource { then: single })?
                } else {
                    // It goes in any case.
                    single
                };
                self.question(Ask::Kind { array, object, scalar })?
            }
            (Fhir::Envelope { .. } | Fhir::Border { .. }, None) => self.entered(scalar, &place)?,
            (Fhir::Inside(inside), None) => {
                let inside = *inside;
                self.inside(&inside, scalar, &place)?
            }
        };
        self.known.insert(place, id);
        Ok(id)
    }

    /// The node of a scalar at `then` that may be a resource's.
    fn late_scalar(&mut self, scalar: Action, then: u32) -> Result<u32, ProgramError> {
        if matches!(scalar, Action::Drop) {
            Ok(then)
        } else {
            self.question(Ask::NoResource { then })
        }
    }

    /// The node of the same place, where the kind of the value is known.
    fn viewed(&mut self, place: &Place, as_view: View) -> Result<u32, ProgramError> {
        let mut place = *place;
        match &mut place.fhir {
            Fhir::Off => {}
            Fhir::Envelope { view, .. } | Fhir::Border { view, .. } => *view = as_view,
            Fhir::Inside(inside) => inside.view = as_view,
        }
        self.node(place)
    }

    /// A new node whose children are judged one by one.
    fn entered(&mut self, scalar: Action, place: &Place) -> Result<u32, ProgramError> {
        let id = self.add_node(scalar, Action::Enter)?;
        self.todo.push((id, *place));
        Ok(id)
    }

    /// The node of a value that is judged as a whole.
    fn leaf(&mut self, scalar: Action, container: Action) -> Result<u32, ProgramError> {
        let actions = (scalar, container);
        if let Some((_, id)) = self.known_leaves.iter().find(|(known, _)| *known == actions) {
            return Ok(*id);
        }
        let id = self.add_node(scalar, container)?;
        self.known_leaves.push((actions, id));
        Ok(id)
    }

    fn add_node(&mut self, scalar: Action, container: Action) -> Result<u32, ProgramError> {
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
        let number = u16::try_from(self.asks.len()).map_err(|_| ProgramError(Excess::States))?;
        let id = self.add_node(Action::Ask(number), Action::Ask(number))?;
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
