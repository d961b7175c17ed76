//! Key sets that the proxy fetches: the calls, and the streams that wait for them.
//!
//! 1. A tick looks what is due; a stream that can't be judged without keys has the next tick come at once. So every call is the root
//!    context's own, and outlives the stream that needed it.
//! 2. A stream that waits is paused before anything is decided. Each answer, good or bad, has it judged anew; after its deadline it is
//!    judged once more, and then denied.
//! 3. Roots of one VM share what they fetch and wake each other's streams: a proxy that renews its configuration has the old plugin and
//!    the new one in one VM for a while.
//! 4. At most [`MAX_WAITERS`] streams wait in a VM; the next is denied at once.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use scrim_policy::compile::Compiled;
use scrim_policy::head::ResponseHead;
use scrim_policy::token::MAX_KEY_SET_BYTES;
use scrim_policy::token::remote::{Fetch, Outcome, Response, Source};

use crate::ffi::{self, Buffer, Level, Map};

/// How many streams of a VM may wait for keys.
pub(crate) const MAX_WAITERS: usize = 1024;

/// How often the root looks what is due, in milliseconds.
const TICK: u32 = 1_000;
/// The same when something is due now.
const AT_ONCE: u32 = 1;

/// A stream that can wait for keys.
pub(crate) trait Waits {
    /// Judges the stream anew, as its own context. `last`: it must not wait any longer.
    fn resume(&self, last: bool) -> Resumed;
}

/// What came of it.
pub(crate) enum Resumed {
    /// It goes on waiting.
    Waiting,
    /// The request passes: the stream is to be continued.
    Passed,
    /// It was answered or is over.
    Over,
}

struct Waiter {
    context: u32,
    /// In milliseconds since the epoch.
    deadline: u64,
    stream: Weak<dyn Waits>,
}

thread_local! {
    /// The VM's waiting streams.
    static WAITING: RefCell<Vec<Waiter>> = const { RefCell::new(Vec::new()) };
    /// The VM's sources, so that a new policy takes over what an old one has.
    static SOURCES: RefCell<Vec<Weak<Source>>> = const { RefCell::new(Vec::new()) };
}

/// Takes over the sources that this VM has already, and makes those that it has not known to later policies.
pub(crate) fn share(compiled: &mut Compiled) {
    SOURCES.with_borrow_mut(|known| {
        known.retain(|source| source.strong_count() > 0);
        compiled.share_sources(&|spec| {
            known
                .iter()
                .filter_map(Weak::upgrade)
                .find(|source| source.spec() == spec)
        });
        for source in compiled.sources() {
            let is_known = known
                .iter()
                .any(|other| std::ptr::eq(other.as_ptr(), Rc::as_ptr(source)));
            if !is_known {
                known.push(Rc::downgrade(source));
            }
        }
    });
}

/// How a root's timer goes; its streams may have it go off at once.
#[derive(Default)]
pub(crate) struct Timer {
    hurried: Cell<bool>,
}

impl Timer {
    /// Has the timer tick, if there is anything to fetch.
    pub(crate) fn start(&self, compiled: &Compiled) {
        self.hurried.set(false);
        let period = if compiled.sources().next().is_some() { TICK } else { 0 };
        ffi::set_tick_period(period);
    }

    /// Has it tick at once if something is due.
    pub(crate) fn hurry(&self, compiled: &Compiled, now: u64) {
        if !self.hurried.get() && compiled.sources().any(|source| source.is_due(now)) {
            self.hurried.set(true);
            ffi::set_tick_period(AT_ONCE);
        }
    }

    fn calm(&self) {
        if self.hurried.replace(false) {
            ffi::set_tick_period(TICK);
        }
    }
}

/// Has a stream wait. False: too many wait already.
pub(crate) fn wait(context: u32, stream: Weak<dyn Waits>, compiled: &Compiled, now: u64) -> bool {
    let longest = compiled
        .sources()
        .map(|source| source.longest_wait())
        .max()
        .unwrap_or(0);
    WAITING.with_borrow_mut(|waiting| {
        if waiting.len() >= MAX_WAITERS {
            return false;
        }
        waiting.push(Waiter {
            context,
            deadline: now.saturating_add(longest),
            stream,
        });
        true
    })
}

/// The stream is over.
pub(crate) fn forget(context: u32) {
    WAITING.with_borrow_mut(|waiting| waiting.retain(|waiter| waiter.context != context));
}

/// The calls of one root.
#[derive(Default)]
pub(crate) struct Calls {
    /// The host's token, whose it is, and the machine's number.
    list: Vec<(u32, Rc<Source>, u64)>,
}

impl Calls {
    /// Makes the calls that are due, and ends the waiting of streams that waited long enough.
    pub(crate) fn tick(&mut self, compiled: &Compiled, timer: &Timer, root: u32) {
        timer.calm();
        let Some(now) = ffi::milliseconds() else {
            return;
        };
        let mut failed = false;
        for source in compiled.sources() {
            if let Some(fetch) = source.due(now) {
                failed |= !self.call(source, &fetch, now);
            }
        }
        wake(root, now, failed);
    }

    /// Takes the answer to one of its calls.
    pub(crate) fn answered(&mut self, token: u32, headers: usize, body: usize, root: u32) {
        let Some(at) = self.list.iter().position(|(known, ..)| *known == token) else {
            return;
        };
        let (_, source, id) = self.list.swap_remove(at);
        let now = ffi::milliseconds().unwrap_or(0);
        // A call that failed comes without headers.
        let read = body.min(MAX_KEY_SET_BYTES.saturating_add(1));
        let body = match read {
            0 => Some(Vec::new()),
            read => ffi::buffer(Buffer::CallResponseBody, read),
        };
        // A call that failed comes without headers.
        let head = (headers > 0).then(|| ffi::headers(Map::CallResponse)).flatten();
        let head = head.map(|(raw, places)| ResponseHead::at(raw, places));
        let response = match (&head, &body) {
            (Some(head), Some(body)) => Some(Response {
                status: Some(head.status()),
                content_type: head.first("content-type"),
                content_encoding: head.first("content-encoding"),
                body,
            }),
            _ => None,
        };
        match source.answer(id, response, now) {
            Outcome::Next(fetch) => {
                if self.call(&source, &fetch, now) {
                    return;
                }
            }
            outcome => tell(&source, &outcome),
        }
        wake(root, now, true);
    }

    /// Whether the call was made.
    fn call(&mut self, source: &Rc<Source>, fetch: &Fetch, now: u64) -> bool {
        let headers = [
            (":method", "GET"),
            (":scheme", fetch.scheme),
            (":authority", fetch.authority.as_str()),
            (":path", fetch.path.as_str()),
            ("accept", "application/json, application/jwk-set+json"),
        ];
        match ffi::call(&fetch.cluster, &headers, fetch.timeout) {
            Some(token) => {
                self.list.push((token, Rc::clone(source), fetch.id));
                true
            }
            None => {
                tell(source, &source.not_sent(fetch.id, now));
                false
            }
        }
    }
}

/// Counts and logs. An issuer's name is the policy's own, not a request's.
fn tell(source: &Source, outcome: &Outcome) {
    let issuer = &source.spec().issuer;
    match outcome {
        Outcome::Renewed { changed } => {
            ffi::count("scrim_jwks_fetch_ok");
            if *changed {
                ffi::log(
                    Level::Info,
                    &format!("scrim: new keys of issuer `{issuer}` are in force"),
                );
            }
        }
        Outcome::Failed(error) => {
            let code = error.code();
            ffi::count(&format!("scrim_jwks_fetch_failed_{code}"));
            ffi::log(
                Level::Warn,
                &format!("scrim: the keys of issuer `{issuer}` could not be fetched: {code}"),
            );
        }
        Outcome::Next(_) | Outcome::Ignored => {}
    }
}

/// Judges waiting streams anew: all of them after an answer, else those whose time is over.
fn wake(root: u32, now: u64, answered: bool) {
    let mut waiting = WAITING.with_borrow_mut(std::mem::take);
    if waiting.is_empty() {
        return;
    }
    waiting.retain(|waiter| {
        let last = now >= waiter.deadline;
        if !last && !answered {
            return true;
        }
        let Some(stream) = waiter.stream.upgrade() else {
            return false;
        };
        // A context that is gone can't be chosen.
        if ffi::act_as(waiter.context).is_err() {
            return false;
        }
        match stream.resume(last) {
            Resumed::Waiting => true,
            Resumed::Passed => {
                let _ = ffi::continue_request();
                false
            }
            Resumed::Over => false,
        }
    });
    let _ = ffi::act_as(root);
    // None came meanwhile: nothing here runs a stream's own callbacks. If one did, it stays.
    WAITING.with_borrow_mut(|now_waiting| {
        waiting.append(now_waiting);
        *now_waiting = waiting;
    });
}
