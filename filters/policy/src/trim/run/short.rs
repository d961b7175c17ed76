//! The short way through members and elements that lie whole in one chunk, as nearly all do.
//!
//! It does what [`Run::judge`] does, with what it needs in locals, and stops before the first member or element that is not
//! plain: that one is left, untouched, to the long way, which knows everything and names the faults.

use super::super::marks::Marks;
use super::super::program::{Action, Node};
use super::super::scan::{Stop, plain_scalar};
use super::super::simd::append_short;
use super::{At, Frame, Key, Run};

/// Where the parts of a member or element start, and where its name ends.
struct Seen {
    /// That of no comma when it is in an earlier chunk, or there is none.
    comma: usize,
    start: usize,
    /// Behind the name; without a name where the value starts, and so is the colon.
    named: usize,
    colon: usize,
    value: usize,
}

const NOWHERE: usize = usize::MAX;

impl<'a> Run<'a> {
    /// Goes as far as the short way leads from `i`, and returns where that is.
    #[inline(never)]
    pub(super) fn hurry(&mut self, marks: &mut Marks, mut i: usize) -> Result<usize, Stop> {
        let (chunk, program) = (self.chunk, self.program);
        let Some(mut inner) = self.innermost() else {
            return Ok(i);
        };
        let mut comma = self.comma.unwrap_or(NOWHERE);
        // Nothing stands before the member or element to come but what opens the container.
        let mut first = false;
        let mut behind = match self.state.at {
            At::After => true,
            At::Name if inner.object => false,
            At::Value if !inner.object => false,
            At::FirstName | At::FirstElement => {
                first = true;
                false
            }
            _ => return Ok(i),
        };
        let mut walk = marks.walk(chunk);
        let at = 'walk: loop {
            if behind {
                // The ends of containers, then a comma.
                loop {
                    match chunk.get(i) {
                        Some(b',') => break,
                        Some(b'}') if inner.object => {}
                        Some(b']') if !inner.object => {}
                        Some(b' ' | b'\n' | b'\r' | b'\t') => {
                            i = walk.skip_space(i);
                            continue;
                        }
                        _ => break 'walk At::After,
                    }
                    self.leave(&inner);
                    i = self.close(i)?;
                    match self.innermost() {
                        Some(outer) => inner = outer,
                        None => break 'walk At::End,
                    }
                }
                comma = i;
                first = false;
                i = i.wrapping_add(1);
                if !inner.object {
                    inner.index = inner.index.saturating_add(1);
                }
            }
            i = walk.skip_space(i);
            if first && chunk.get(i) == Some(&inner.closer()) {
                behind = true;
                continue;
            }
            behind = true;

            let seen;
            let child = if inner.object {
                if chunk.get(i) != Some(&b'"') {
                    break At::member(first);
                }
                let mut passed = false;
                while let Some(member) = walk.member(i) {
                    let name = chunk.get(i.wrapping_add(1)..member.named.wrapping_sub(1));
                    let child = inner.here.member(name.unwrap_or_default());
                    let keeps = match program.scalar(child) {
                        Some(keeps) if member.named.wrapping_sub(i) <= self.limits.max_name => keeps,
                        _ => break,
                    };
                    walk.pass_member();
                    let seen = Seen {
                        comma,
                        start: i,
                        named: member.named,
                        colon: member.named,
                        value: member.value,
                    };
                    self.pass_value(&seen, member.after, &mut inner, keeps);
                    i = member.after;
                    first = false;
                    let Some(name) = walk.next_name(i) else {
                        passed = true;
                        break;
                    };
                    comma = i;
                    i = name;
                }
                if passed {
                    continue;
                }
                let before = At::member(first);
                let Some(named) = walk.plain_string(i) else {
                    break before;
                };
                let name = chunk.get(i.wrapping_add(1)..named.wrapping_sub(1)).unwrap_or_default();
                let colon = walk.skip_space(named);
                if chunk.get(colon) != Some(&b':') || name.len() >= self.limits.max_name {
                    break before;
                }
                seen = Seen {
                    comma,
                    start: i,
                    named,
                    colon,
                    value: walk.skip_space(colon.wrapping_add(1)),
                };
                inner.here.member(name)
            } else {
                seen = Seen {
                    comma,
                    start: i,
                    named: i,
                    colon: i,
                    value: i,
                };
                inner.here.element(inner.index)
            };
            let before = if inner.object {
                At::member(first)
            } else {
                At::element(first)
            };
            let Some(&byte) = chunk.get(seen.value) else {
                break before;
            };
            let after = match byte {
                b'"' => walk.whole_string(seen.value),
                b'{' | b'[' => {
                    let opened = seen.value.wrapping_add(1);
                    let room = self.limits.max_depth.saturating_sub(self.state.frames.len());
                    let action = program.action(child, true);
                    if matches!(action, Action::Enter)
                        && room > 0
                        && let Some(here) = program.node(child)
                    {
                        self.keep(&seen, opened, inner.any);
                        inner.any = true;
                        self.leave(&inner);
                        let object = byte == b'{';
                        self.state.frames.push(Frame {
                            node: child,
                            index: 0,
                            object,
                            any: false,
                            marks: 0,
                        });
                        inner = Inner {
                            here,
                            object,
                            any: false,
                            index: 0,
                        };
                        i = opened;
                        first = true;
                        behind = false;
                        continue;
                    }
                    let keeps = matches!(action, Action::Keep);
                    if (keeps || matches!(action, Action::Drop))
                        && let Some(after) = self.state.value.whole(&mut walk, seen.value, byte, room)
                    {
                        self.pass_value(&seen, after, &mut inner, keeps);
                        i = after;
                        continue;
                    }
                    self.state.node = child;
                    if inner.object {
                        self.state.key = Key::Here(seen.start..seen.named);
                        self.colon = Some(seen.colon);
                    }
                    i = seen.value;
                    break At::Value;
                }
                _ => plain_scalar(chunk, seen.value),
            };
            let (Some(after), Some(keeps)) = (after, program.scalar(child)) else {
                break before;
            };
            self.pass_value(&seen, after, &mut inner, keeps);
            i = after;
        };
        let next = walk.next;
        marks.put_back(next);
        self.state.at = at;
        self.comma = (comma != NOWHERE).then_some(comma);
        self.leave(&inner);
        if let (At::Value | At::FirstElement, false) = (at, inner.object) {
            self.state.node = inner.here.element(inner.index);
        }
        Ok(i)
    }

    #[inline(always)]
    fn innermost(&self) -> Option<Inner<'a>> {
        let frame = self.state.frames.last()?;
        Some(Inner {
            here: self.program.node(frame.node)?,
            object: frame.object,
            any: frame.any,
            index: frame.index,
        })
    }

    /// Puts back what may have changed.
    #[inline(always)]
    fn leave(&mut self, inner: &Inner<'_>) {
        if let Some(frame) = self.state.frames.last_mut() {
            frame.any = inner.any;
            frame.index = inner.index;
        }
    }

    /// A value up to `after` that stays or goes.
    #[inline(always)]
    fn pass_value(&mut self, seen: &Seen, after: usize, inner: &mut Inner<'_>, keeps: bool) {
        if keeps {
            self.keep(seen, after, inner.any);
            inner.any = true;
        } else {
            self.state.counts.removed = self.state.counts.removed.saturating_add(1);
        }
    }

    /// A value, or the start of a container, that stays, up to `after`.
    #[inline(always)]
    fn keep(&mut self, seen: &Seen, after: usize, any: bool) {
        let joined = if any { seen.comma } else { seen.start };
        let dense = joined.wrapping_add(usize::from(any)) == seen.start
            && seen.named == seen.colon
            && (seen.colon.wrapping_add(1) == seen.value || seen.named == seen.value);
        if dense && joined == self.copy.end {
            self.copy.end = after;
        } else {
            self.keep_pieces(seen, after, any);
        }
    }

    #[inline(never)]
    fn keep_pieces(&mut self, seen: &Seen, after: usize, any: bool) {
        // What stayed last with its comma, then the name with its colon: so it is where servers indent.
        let last = self.copy.end;
        if any && seen.comma == last && seen.colon == seen.named && seen.named != seen.value {
            let short = |from: usize| self.chunk.get(from..).and_then(<[u8]>::first_chunk::<32>);
            let first = (last.wrapping_add(1)).wrapping_sub(self.copy.start);
            let second = seen.colon.wrapping_add(1).wrapping_sub(seen.start);
            if first <= 32
                && second <= 32
                && let (Some(one), Some(two)) = (short(self.copy.start), short(seen.start))
            {
                append_short(self.out, [(one, first), (two, second)]);
                self.copy = seen.value..after;
                return;
            }
        }
        if any {
            self.join((seen.comma != NOWHERE).then_some(seen.comma), b",");
        }
        if seen.named != seen.value {
            self.copy(seen.start..seen.named);
            self.join(Some(seen.colon), b":");
        }
        self.copy(seen.value..after);
    }
}

/// What of the innermost frame is needed from member to member.
struct Inner<'a> {
    here: &'a Node,
    object: bool,
    any: bool,
    index: u64,
}

impl Inner<'_> {
    fn closer(&self) -> u8 {
        if self.object { b'}' } else { b']' }
    }
}

impl At {
    fn member(first: bool) -> At {
        if first { At::FirstName } else { At::Name }
    }

    fn element(first: bool) -> At {
        if first { At::FirstElement } else { At::Value }
    }
}
