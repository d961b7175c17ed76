//! What is to happen beside streams, by the time at which it is due.
//!
//! 1. What is due earlier comes first; what is due at the same time, in the order in which it was asked for.
//! 2. What only tells that somebody never answered is not waited for when an exchange is over: see [`Agenda::take_awaited`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::world::Event;

/// See the module. Times are since the gateway started.
#[derive(Default)]
pub(crate) struct Agenda {
    entries: BTreeMap<(Duration, u64), (Event, Awaited)>,
    next: u64,
}

/// Whether the end of an exchange waits for an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// It does: somebody answers.
    Yes,
    /// It does not: a call runs into its time limit, since nobody ever answers.
    No,
}

impl Agenda {
    pub(crate) fn put(&mut self, due: Duration, awaited: Awaited, event: Event) {
        self.entries.insert((due, self.next), (event, awaited));
        self.next += 1;
    }

    /// When the next event is due.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.entries.first_key_value().map(|((due, _), _)| *due)
    }

    /// When the next event is due that the end of an exchange waits for.
    pub(crate) fn next_awaited(&self) -> Option<Duration> {
        let mut awaited = self.entries.iter().filter(|(_, (_, awaited))| *awaited == Awaited::Yes);
        awaited.next().map(|((due, _), _)| *due)
    }

    /// The next event that is due by now.
    pub(crate) fn take_due(&mut self, now: Duration) -> Option<Event> {
        let entry = self.entries.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove().0)
    }

    /// Forgets events.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Event) -> bool) {
        self.entries.retain(|_, (event, _)| keep(event));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_earlier_comes_first() {
        let queue = |token| Event::QueueReady { filter: 0, token };
        let at = Duration::from_millis;
        let mut agenda = Agenda::default();
        agenda.put(at(5), Awaited::Yes, queue(1));
        agenda.put(at(3), Awaited::No, queue(2));
        agenda.put(at(5), Awaited::Yes, queue(3));
        agenda.put(at(9), Awaited::Yes, queue(4));
        assert_eq!((agenda.next_due(), agenda.next_awaited()), (Some(at(3)), Some(at(5))));
        agenda.retain(|event| !matches!(event, Event::QueueReady { token: 4, .. }));
        assert!(agenda.take_due(at(2)).is_none());
        let mut tokens = Vec::new();
        while let Some(Event::QueueReady { token, .. }) = agenda.take_due(at(20)) {
            tokens.push(token);
        }
        assert_eq!(tokens, [2, 1, 3]);
    }
}
