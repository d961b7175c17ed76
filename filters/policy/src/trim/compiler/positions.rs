//! Sets of positions and names of members, each kept once under a number, and the steps from set to set.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::rc::Rc;
use std::sync::Arc;

use super::super::filter::Filter;
use super::super::selector::{Pick, Segment};
use super::super::transform::Transform;
use super::{Effect, Step};

/// One selector or path, and what it does.
pub(super) struct Rule {
    pub(super) segments: Vec<Segment>,
    pub(super) effect: Effect,
    /// The names that each segment picks.
    names: Vec<Vec<Word>>,
    /// Its filters are asked behind its names, at the value.
    waits: bool,
}

/// A rule, and how many of its segments are behind.
pub(super) type Position = (usize, usize);

/// A set of positions, by its number. Sets from which the same follows, whatever the steps, may have the same number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Set(u32);

/// The name of a member, by its number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Word(u32);

/// Hashes the same way in every run, and needs no randomness.
type Map<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// Every name.
#[derive(Default)]
pub(super) struct Words {
    list: Vec<Spelling>,
    known: BTreeMap<Arc<str>, Word>,
}

struct Spelling {
    text: Arc<str>,
    /// The word without its underscore, and with one, where they are known.
    base: Option<Word>,
    twin: Option<Word>,
}

/// Every set.
pub(super) struct Sets {
    list: Vec<Content>,
    known: Map<Rc<[Position]>, Set>,
}

struct Content {
    positions: Rc<[Position]>,
    /// What the rules do that end here, in their order.
    ends: Vec<Effect>,
    /// Some rule allows something, here or below.
    allows: bool,
    /// The filters of the next segments.
    filters: Vec<Arc<Filter>>,
    /// The same without what allows.
    settled: Option<Set>,
    ways: Option<Rc<Ways>>,
}

/// Where the steps to members lead.
struct Ways {
    other: Set,
    /// By their words. Where the rules wait for filters: what waits.
    names: Vec<(Word, Set, Set)>,
}

impl Rule {
    pub(super) fn new(words: &mut Words, segments: &[Segment], effect: Effect, waits: bool) -> Rule {
        let mut names_of = |segment: &Segment| {
            let names = segment.picks.iter().filter_map(|pick| match pick {
                Pick::Name(name) => Some(words.word(name)),
                _ => None,
            });
            names.collect()
        };
        Rule {
            names: segments.iter().map(&mut names_of).collect(),
            segments: segments.to_vec(),
            effect,
            waits,
        }
    }

    fn picks(&self, behind: usize, step: Step) -> bool {
        let Some(segment) = self.segments.get(behind) else {
            return false;
        };
        match step {
            Step::Name(word) => {
                segment.picks_any_name() || self.names.get(behind).is_some_and(|names| names.contains(&word))
            }
            Step::Other(_) => segment.picks_any_name(),
            Step::Index(index) => segment.picks_index(index),
        }
    }
}

impl Words {
    /// The number of a name.
    pub(super) fn word(&mut self, text: &str) -> Word {
        if let Some(word) = self.known.get(text) {
            return *word;
        }
        let word = Word(u32::try_from(self.list.len()).unwrap_or(u32::MAX));
        let base = text.strip_prefix('_').and_then(|base| self.known.get(base).copied());
        let twin = self.known.get(format!("_{text}").as_str()).copied();
        if let Some(base) = base.and_then(|base| self.list.get_mut(base.0 as usize)) {
            base.twin = Some(word);
        }
        if let Some(twin) = twin.and_then(|twin| self.list.get_mut(twin.0 as usize)) {
            twin.base = Some(word);
        }
        let text: Arc<str> = text.into();
        self.known.insert(Arc::clone(&text), word);
        self.list.push(Spelling { text, base, twin });
        word
    }

    pub(super) fn text(&self, word: Word) -> Arc<str> {
        let spelling = self.list.get(word.0 as usize);
        spelling.map_or_else(|| Arc::from(""), |spelling| Arc::clone(&spelling.text))
    }

    /// The word without its first underscore, where a rule or FHIR's structure mentions that.
    pub(super) fn base(&self, word: Word) -> Option<Word> {
        self.list.get(word.0 as usize)?.base
    }

    /// The word with an underscore before it.
    pub(super) fn twin(&mut self, word: Word) -> Word {
        let spelling = self.list.get(word.0 as usize);
        match spelling.and_then(|spelling| spelling.twin) {
            Some(twin) => twin,
            None => self.word(&format!("_{}", self.text(word))),
        }
    }
}

impl Sets {
    pub(super) const EMPTY: Set = Set(0);

    pub(super) fn new() -> Sets {
        let mut sets = Sets {
            list: Vec::new(),
            known: Map::default(),
        };
        sets.set(&[], Vec::new());
        sets
    }

    /// The set of these.
    pub(super) fn set(&mut self, rules: &[Rule], mut positions: Vec<Position>) -> Set {
        positions.sort_unstable();
        positions.dedup();
        condense(rules, &mut positions);
        if let Some(set) = self.known.get(positions.as_slice()) {
            return *set;
        }
        let set = Set(u32::try_from(self.list.len()).unwrap_or(u32::MAX));
        let positions: Rc<[Position]> = positions.into();
        let mut filters: Vec<Arc<Filter>> = Vec::new();
        for (rule, behind) in positions.iter() {
            let segment = rules.get(*rule).and_then(|rule| rule.segments.get(*behind));
            for filter in segment.into_iter().flat_map(Segment::filters) {
                if !filters.contains(filter) {
                    filters.push(Arc::clone(filter));
                }
            }
        }
        self.list.push(Content {
            ends: positions.iter().filter_map(|at| end(rules, *at)).collect(),
            allows: positions.iter().any(|at| is_allow(rules, *at)),
            filters,
            settled: None,
            ways: None,
            positions: Rc::clone(&positions),
        });
        self.known.insert(positions, set);
        set
    }

    /// The set with more positions.
    pub(super) fn joined(&mut self, rules: &[Rule], set: Set, more: impl IntoIterator<Item = Position>) -> Set {
        let positions = self.positions(set).iter().copied().chain(more).collect();
        self.set(rules, positions)
    }

    pub(super) fn positions(&self, set: Set) -> &[Position] {
        self.content(set).map_or(&[], |content| &content.positions)
    }

    /// What the rules do that end at these positions, in their order.
    pub(super) fn ends(&self, set: Set) -> &[Effect] {
        self.content(set).map_or(&[], |content| &content.ends)
    }

    /// Whether some rule allows something here or below.
    pub(super) fn allows(&self, set: Set) -> bool {
        self.content(set).is_some_and(|content| content.allows)
    }

    /// The filters that the next step may ask.
    pub(super) fn filters(&self, set: Set) -> &[Arc<Filter>] {
        self.content(set).map_or(&[], |content| &content.filters)
    }

    /// The set without the rules that allow.
    pub(super) fn settled(&mut self, rules: &[Rule], set: Set) -> Set {
        if !self.allows(set) {
            return set;
        }
        if let Some(settled) = self.content(set).and_then(|content| content.settled) {
            return settled;
        }
        let rest = self.positions(set).iter().copied();
        let rest = rest.filter(|at| !is_allow(rules, *at)).collect();
        let settled = self.set(rules, rest);
        if let Some(content) = self.list.get_mut(set.0 as usize) {
            content.settled = Some(settled);
        }
        settled
    }

    /// The set behind a step; for rules that do not wait for their filters.
    pub(super) fn step(&mut self, rules: &[Rule], set: Set, step: Step, holding: &[Arc<Filter>]) -> Set {
        if set == Sets::EMPTY {
            return set;
        }
        match step {
            Step::Name(word) if holding.is_empty() => return self.member(rules, set, Some(word)).0,
            Step::Other(_) if holding.is_empty() => return self.member(rules, set, None).0,
            _ => {}
        }
        let mut behind = Vec::new();
        for at in self.positions(set) {
            let Some((rule, segment)) = next(rules, *at) else {
                continue;
            };
            if segment.descends {
                behind.push(*at);
            }
            if rule.picks(at.1, step) || segment.filters().any(|filter| holding.contains(filter)) {
                behind.push(forward(*at));
            }
        }
        self.set(rules, behind)
    }

    /// The set at a member, where no filter holds, and what waits for its filter there. No word: a name that is in no rule.
    pub(super) fn member(&mut self, rules: &[Rule], set: Set, word: Option<Word>) -> (Set, Set) {
        let ways = self.ways(rules, set);
        let found = word.and_then(|word| {
            let at = ways.names.binary_search_by_key(&word, |(own, ..)| *own).ok()?;
            ways.names.get(at)
        });
        found.map_or((ways.other, Sets::EMPTY), |(_, to, waiting)| (*to, *waiting))
    }

    /// The names that the next step may tell from others.
    pub(super) fn names(&mut self, rules: &[Rule], set: Set) -> Vec<Word> {
        self.ways(rules, set).names.iter().map(|(word, ..)| *word).collect()
    }

    fn ways(&mut self, rules: &[Rule], set: Set) -> Rc<Ways> {
        if let Some(ways) = self.content(set).and_then(|content| content.ways.as_ref()) {
            return Rc::clone(ways);
        }
        let (mut others, mut picks) = (Vec::new(), Vec::new());
        for at in self.positions(set) {
            let Some((rule, segment)) = next(rules, *at) else {
                continue;
            };
            if segment.descends {
                others.push(*at);
            }
            if segment.picks_any_name() {
                others.push(forward(*at));
                continue;
            }
            let waits = rule.waits && segment.filters().next().is_some();
            let to = if waits { *at } else { forward(*at) };
            let names = rule.names.get(at.1).into_iter().flatten();
            picks.extend(names.map(|word| (*word, waits, to)));
        }
        picks.sort_unstable();
        let other = self.set(rules, others);
        let mut names = Vec::new();
        for picks in picks.chunk_by(|one, next| one.0 == next.0) {
            let of = |wait: bool| picks.iter().filter(move |pick| pick.1 == wait).map(|pick| pick.2);
            let waiting = of(true).collect();
            let waiting = self.set(rules, waiting);
            let to = self.with(rules, other, of(false));
            if let Some((word, ..)) = picks.first() {
                names.push((*word, to, waiting));
            }
        }
        let ways = Rc::new(Ways { other, names });
        if let Some(content) = self.list.get_mut(set.0 as usize) {
            content.ways = Some(Rc::clone(&ways));
        }
        ways
    }

    /// As [`Sets::joined`], with less to look at where the rest does not matter any more.
    fn with(&mut self, rules: &[Rule], set: Set, more: impl Iterator<Item = Position> + Clone) -> Set {
        let ends = || more.clone().filter_map(|at| end(rules, at));
        if ends().any(|effect| matches!(effect, Effect::Deny)) {
            return self.set(rules, more.collect());
        }
        if ends().any(replaces) {
            let rest = self.positions(set).iter().copied();
            let rest = rest.filter(|at| still_matters(rules, *at));
            let positions = rest.chain(more).collect();
            return self.set(rules, positions);
        }
        self.joined(rules, set, more)
    }

    fn content(&self, set: Set) -> Option<&Content> {
        self.list.get(set.0 as usize)
    }
}

/// Leaves out what can no longer matter: what is denied is denied by one rule as by many, and nothing is looked up in what is replaced.
fn condense(rules: &[Rule], positions: &mut Vec<Position>) {
    let ends = || positions.iter().filter_map(|at| end(rules, *at));
    if ends().any(|effect| matches!(effect, Effect::Deny)) {
        positions.retain(|at| matches!(end(rules, *at), Some(Effect::Deny)));
        positions.truncate(1);
    } else if ends().any(replaces) {
        positions.retain(|at| still_matters(rules, *at));
    }
}

/// Whether what has this effect is replaced whole, containers too.
pub(super) fn replaces(effect: Effect) -> bool {
    matches!(effect, Effect::Change(transform) if !matches!(transform, Transform::Rewrite(_)))
}

/// Whether a position says something of a value that is replaced.
fn still_matters(rules: &[Rule], at: Position) -> bool {
    end(rules, at).is_some() || is_allow(rules, at)
}

/// What the rule does if it ends at this position.
fn end(rules: &[Rule], at: Position) -> Option<Effect> {
    let rule = rules.get(at.0)?;
    (rule.segments.len() == at.1).then_some(rule.effect)
}

fn is_allow(rules: &[Rule], at: Position) -> bool {
    rules.get(at.0).is_some_and(|rule| matches!(rule.effect, Effect::Allow))
}

/// The rule of a position, and its next segment.
fn next(rules: &[Rule], at: Position) -> Option<(&Rule, &Segment)> {
    let rule = rules.get(at.0)?;
    Some((rule, rule.segments.get(at.1)?))
}

pub(super) fn forward(at: Position) -> Position {
    (at.0, at.1.saturating_add(1))
}
