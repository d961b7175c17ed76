//! An engine that keeps something of each outcome that its gateways give, for those who look at many runs from outside.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::exchange::{Answer, Engine, Gateway, Outcome, Request, Setup};

/// See the module. `T` is what is kept of an outcome.
pub struct Recording<'a, T> {
    engine: &'a dyn Engine,
    keep: fn(&Outcome) -> T,
    kept: Arc<Mutex<Vec<T>>>,
}

impl<'a, T> Recording<'a, T> {
    /// The engine, and what to keep.
    pub fn new(engine: &'a dyn Engine, keep: fn(&Outcome) -> T) -> Self {
        Recording {
            engine,
            keep,
            kept: Arc::default(),
        }
    }

    /// Where it is kept, in the order of the exchanges.
    pub fn kept(&self) -> Arc<Mutex<Vec<T>>> {
        Arc::clone(&self.kept)
    }
}

impl<T: 'static> Engine for Recording<'_, T> {
    fn name(&self) -> &'static str {
        self.engine.name()
    }

    fn start(&self, setup: &Setup) -> anyhow::Result<Box<dyn Gateway>> {
        Ok(Box::new(Recorded {
            gateway: self.engine.start(setup)?,
            keep: self.keep,
            kept: self.kept(),
        }))
    }
}

struct Recorded<T> {
    gateway: Box<dyn Gateway>,
    keep: fn(&Outcome) -> T,
    kept: Arc<Mutex<Vec<T>>>,
}

impl<T> Gateway for Recorded<T> {
    fn exchange(&mut self, request: &Request, answer: &Answer) -> anyhow::Result<Outcome> {
        let outcome = self.gateway.exchange(request, answer)?;
        let kept = (self.keep)(&outcome);
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
        Ok(outcome)
    }

    fn wait(&mut self, time: Duration) -> anyhow::Result<()> {
        self.gateway.wait(time)
    }
}
