//! The VMs of a chain, and which filter runs in which of them.
//!
//! 1. Filters with equal VM ids, VM configurations and modules share a VM, as Envoy's `makeVmKey` has it.
//! 2. In a VM each plugin has a root context of its own. Filters that are also equal in name, root id and configuration are
//!    one plugin: they share the root context, and it is configured once (Envoy's `makePluginKey`).
//! 3. The index of a filter leads to its VM: `vms[filter]`.

use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};
use std::time::Duration;

use anyhow::Context as _;

use super::vm::Vm;
use super::world::World;
use super::{Compiled, Limits, Wasmtime};
use crate::exchange::{FailurePolicy, Filter, Setup};
use crate::failure::Failure;

/// See the module.
#[derive(Default)]
pub(crate) struct Vms {
    vms: Vec<Vm>,
    seats: Vec<Seat>,
    /// The VM in use by Envoy's key: VM id, VM configuration and module.
    keys: BTreeMap<Key, usize>,
    /// What the filters are, to make them anew.
    sources: Vec<Source>,
    environment: BTreeMap<String, String>,
    limits: Limits,
    seed: u64,
}

type Key = (String, Vec<u8>, [u8; 32]);

/// What a filter's VM is made of.
struct Source {
    filter: Filter,
    module: Compiled,
    key: Key,
    /// When it was last made, in time since the gateway started.
    loaded: Duration,
}

/// What came of making a filter's VM anew.
pub(crate) enum Reload {
    /// It has not failed, or its policy is another.
    NotWanted,
    /// Not yet.
    TooSoon,
    /// It does not start, or trapped while it did.
    Fails,
    /// Streams meet a new VM.
    Succeeds,
}

/// How long after a VM was made a failed one is made anew at the earliest. Envoy waits at random up to half as long again
/// (`reload_config.backoff.base_interval` and its jitter).
const RELOAD_AFTER: Duration = Duration::from_secs(1);

/// Where a filter runs.
#[derive(Clone, Copy, Debug)]
struct Seat {
    vm: usize,
    /// The plugin, an index into the VM's.
    plugin: usize,
    /// The plugin's root context.
    root: u32,
    /// The first filter that runs this plugin.
    first: bool,
    allow_stop_iteration: bool,
    fail_open: bool,
}

impl Vms {
    /// Starts the VMs of all filters, and their plugins.
    pub(crate) fn start(
        engine: &Wasmtime,
        setup: &Setup,
        limits: Limits,
        world: &mut Box<World>,
    ) -> anyhow::Result<Self> {
        let mut vms = Vms {
            environment: setup.environment.clone(),
            limits,
            seed: engine.settings.seed,
            ..Vms::default()
        };
        for (at, filter) in setup.filters.iter().enumerate() {
            let (module, digest) = engine
                .module(&filter.module)
                .with_context(|| format!("filter `{}`", filter.name))?;
            vms.sources.push(Source {
                filter: filter.clone(),
                module,
                key: (filter.vm_id().to_owned(), filter.vm_configuration.clone(), digest),
                loaded: world.uptime(),
            });
            vms.seat_by_key(world, at).map_err(|error| {
                let mut text = match error.downcast_ref::<Failure>() {
                    Some(failure) => failure.to_string(),
                    None => format!("filter `{}`: {error:#}", filter.name),
                };
                for (level, line) in &world.logs {
                    text.push_str(&format!("\n  [{level}] {line}"));
                }
                anyhow::anyhow!(text)
            })?;
        }
        Ok(vms)
    }

    fn seat(&mut self, world: &mut Box<World>, filter: &Filter, at: usize, vm: usize) -> anyhow::Result<()> {
        let (plugin, first) = self.vms[vm].plug(world, filter, at)?;
        let seat = Seat {
            vm,
            plugin,
            root: self.vms[vm].store.data().plugins[plugin].root,
            first,
            allow_stop_iteration: filter.allow_on_headers_stop_iteration,
            fail_open: filter.failure_policy == FailurePolicy::Open,
        };
        match self.seats.get_mut(at) {
            Some(there) => *there = seat,
            None => self.seats.push(seat),
        }
        Ok(())
    }

    /// Starts a filter in the VM of its key, which is made if there is none that works.
    fn seat_by_key(&mut self, world: &mut Box<World>, at: usize) -> anyhow::Result<()> {
        let Source {
            filter, module, key, ..
        } = &self.sources[at];
        let (filter, vm) = (filter.clone(), self.keys.get(key).copied());
        let vm = match vm.filter(|vm| !self.vms[*vm].failed) {
            Some(vm) => vm,
            None => {
                let vm = Vm::start(module, world, &filter, at, &self.environment, &self.limits, self.seed)?;
                self.vms.push(vm);
                self.keys.insert(key.clone(), self.vms.len() - 1);
                self.vms.len() - 1
            }
        };
        let seated = self.seat(world, &filter, at, vm);
        self.vms[vm].store.data_mut().deferred.clear();
        if seated.is_err() {
            // A plugin that was refused is no plugin: nobody may find it there the next time.
            self.vms[vm].failed = true;
        }
        seated?;
        Ok(())
    }

    /// Makes a filter's VM anew if it has failed, the filter's policy says so, and it is time. Filters that share a VM
    /// share the new one, too, but each goes over to it by itself.
    pub(crate) fn reload(&mut self, at: usize, world: &mut Box<World>) -> Reload {
        if !self[at].failed || self.sources[at].filter.failure_policy != FailurePolicy::Reload {
            return Reload::NotWanted;
        }
        let now = world.uptime();
        if now.saturating_sub(self.sources[at].loaded) < RELOAD_AFTER {
            return Reload::TooSoon;
        }
        self.sources[at].loaded = now;
        match self.seat_by_key(world, at) {
            Ok(()) if !self[at].failed => Reload::Succeeds,
            _ => Reload::Fails,
        }
    }

    /// Whether streams pass a filter by once its VM has failed.
    pub(crate) fn fail_open(&self, filter: usize) -> bool {
        self.seats[filter].fail_open
    }

    /// How many filters there are.
    pub(crate) fn len(&self) -> usize {
        self.seats.len()
    }

    /// The root context of a filter's plugin.
    pub(crate) fn root(&self, filter: usize) -> u32 {
        self.seats[filter].root
    }

    /// Whether two filters share a VM.
    pub(crate) fn together(&self, one: usize, other: usize) -> bool {
        self.seats[one].vm == self.seats[other].vm
    }

    /// Whether a headers callback of this filter may stop just the headers.
    pub(crate) fn allow_stop_iteration(&self, filter: usize) -> bool {
        self.seats[filter].allow_stop_iteration
    }

    /// The context of a new stream in a filter, of which the guest does not know yet.
    pub(crate) fn new_stream(&mut self, filter: usize) -> u32 {
        let Seat { vm, plugin, .. } = self.seats[filter];
        self.vms[vm].new_context(plugin, true)
    }

    /// The period of the timer of a filter's plugin, in milliseconds; 0: none, or another filter stands for the plugin.
    pub(crate) fn tick_period(&self, filter: usize) -> u32 {
        let Seat { vm, root, first, .. } = self.seats[filter];
        let periods = &self.vms[vm].store.data().tick_periods;
        if first {
            periods.get(&root).copied().unwrap_or(0)
        } else {
            0
        }
    }
}

impl Index<usize> for Vms {
    type Output = Vm;

    fn index(&self, filter: usize) -> &Vm {
        &self.vms[self.seats[filter].vm]
    }
}

impl IndexMut<usize> for Vms {
    fn index_mut(&mut self, filter: usize) -> &mut Vm {
        &mut self.vms[self.seats[filter].vm]
    }
}
