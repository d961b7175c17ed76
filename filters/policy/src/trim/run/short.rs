//! The short way through members and elements that lie whole in one chunk, as nearly all do.
//!
//! It does what [`Run::judge`] does, with what it needs in locals, and stops before the first member or element that is not
//! plain: that one is left, untouched, to the long way, which knows everything and names the faults.

use super::super::marks::Marks;
use super::super::program::Action;
use super::super::scan::plain_scalar;
use super::{At, Begun, Key, Run, Stop};

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

impl Run<'_> {
    /// Goes as far as the short way leads from `i`, and returns where that is. A fate other than [`super::Fate::Judge`]
    /// says that a value starts there, and so does one that waits.
    pub(super) fn hurry(&mut self, marks: &mut Marks, mut i: usize) -> Result<usize, Stop> {
        let (chunk, program) = (self.chunk, self.program);
        let mut walk = marks.walk(chunk);
        let reached = 'container: loop {
            let Some(frame) = self.state.frames.last() else {
                break 'container i;
            };
            let Some(here) = program.node(frame.node) else {
                break 'container i;
            };
            let object = frame.object;
            let mut going = Going {
                at: self.state.at,
                any: frame.any,
                index: frame.index,
                comma: self.comma.unwrap_or(NOWHERE),
            };
            let mut behind = match going.at {
                At::After => true,
                At::FirstName | At::Name if object => false,
                At::FirstElement | At::Value if !object => false,
                _ => break 'container i,
            };
            loop {
                i = walk.skip_space(i);
                let byte = chunk.get(i).copied();
                if behind && byte == Some(b',') {
                    going.comma = i;
                    i = walk.skip_space(i.wrapping_add(1));
                    if object {
                        going.at = At::Name;
                    } else {
                        going.index = going.index.saturating_add(1);
                        going.at = At::Value;
                    }
                } else if byte == Some(if object { b'}' } else { b']' })
                    && matches!(going.at, At::After | At::FirstName | At::FirstElement)
                {
                    self.leave(&going);
                    i = self.close(i);
                    continue 'container;
                } else if behind {
                    break;
                }
                behind = true;

                let seen;
                let child = if object {
                    if chunk.get(i) != Some(&b'"') {
                        break;
                    }
                    let inner = i.wrapping_add(1);
                    let Some(named) = walk.plain_string(i) else { break };
                    let name = chunk.get(inner..named.wrapping_sub(1)).unwrap_or_default();
                    let colon = walk.skip_space(named);
                    if chunk.get(colon) != Some(&b':') || name.len() >= self.limits.max_name {
                        break;
                    }
                    seen = Seen {
                        comma: going.comma,
                        start: i,
                        named,
                        colon,
                        value: walk.skip_space(colon.wrapping_add(1)),
                    };
                    here.member(name)
                } else {
                    seen = Seen {
                        comma: going.comma,
                        start: i,
                        named: i,
                        colon: i,
                        value: i,
                    };
                    here.element(going.index)
                };
                let Some(&byte) = chunk.get(seen.value) else { break };
                let after = match byte {
                    b'"' => walk.whole_string(seen.value),
                    b'{' | b'[' => {
                        if matches!(program.action(child, true), Action::Enter)
                            && self.state.frames.len() < self.limits.max_depth
                        {
                            self.keep(&seen, seen.value.wrapping_add(1), going.any);
                            going.any = true;
                            self.leave(&going);
                            i = seen.value.wrapping_add(1);
                            self.enter(child, byte == b'{');
                            continue 'container;
                        }
                        self.leave(&going);
                        self.state.node = child;
                        self.state.at = At::Value;
                        if object {
                            self.state.key = Key::Here(seen.start..seen.named);
                            self.colon = Some(seen.colon);
                        }
                        i = seen.value;
                        match self.begin_value(i, byte)? {
                            Begun::Entered => i = i.wrapping_add(1),
                            Begun::Whole | Begun::Waits => break 'container i,
                        }
                        continue 'container;
                    }
                    _ => plain_scalar(chunk, seen.value),
                };
                let Some(after) = after else { break };
                // The commonest first: that is no jump by a table.
                let action = program.action(child, false);
                if matches!(action, Action::Keep) {
                    self.keep(&seen, after, going.any);
                    going.any = true;
                } else if matches!(action, Action::Drop | Action::Enter) {
                    self.state.counts.removed = self.state.counts.removed.saturating_add(1);
                } else {
                    break;
                }
                i = after;
                going.at = At::After;
            }
            self.leave(&going);
            if let (At::Value, false) = (going.at, object) {
                self.state.node = here.element(going.index);
            }
            break 'container i;
        };
        let next = walk.next;
        marks.put_back(next);
        Ok(reached)
    }

    /// Puts the locals back.
    #[inline]
    fn leave(&mut self, going: &Going) {
        if let Some(frame) = self.state.frames.last_mut() {
            frame.any = going.any;
            frame.index = going.index;
        }
        self.comma = (going.comma != NOWHERE).then_some(going.comma);
        self.state.at = going.at;
    }

    /// A scalar that stays, up to `after`.
    #[inline]
    fn keep(&mut self, seen: &Seen, after: usize, any: bool) {
        let joined = if any { seen.comma } else { seen.start };
        let dense = joined.wrapping_add(usize::from(any)) == seen.start
            && seen.named == seen.colon
            && (seen.colon.wrapping_add(1) == seen.value || seen.named == seen.value);
        if dense && joined == self.copy.end {
            self.copy.end = after;
            return;
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

/// What of the frame and the state changes from member to member.
struct Going {
    at: At,
    any: bool,
    index: u64,
    comma: usize,
}
