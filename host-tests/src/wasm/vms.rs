//! The VMs of a chain, and which filter runs in which of them.
//!
//! 1. Filters with equal VM ids, VM configurations and modules share a VM, as Envoy's `makeVmKey` has it.
//! 2. In a VM each plugin has a root context of its own. Filters that are also equal in name, root id and configuration are
//!    one plugin: they share the root context, and it is configured once (Envoy's `makePluginKey`).
//! 3. The index of a filter leads to its VM: `vms[filter]`.

use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};

use anyhow::Context as _;

use super::Wasmtime;
use super::vm::Vm;
use super::world::World;
use crate::exchange::{Filter, Setup};

/// See the module.
#[derive(Default)]
pub(crate) struct Vms {
    vms: Vec<Vm>,
    seats: Vec<Seat>,
}

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
}

impl Vms {
    /// Starts the VMs of all filters, and their plugins.
    pub(crate) fn start(engine: &Wasmtime, setup: &Setup, world: &mut Box<World>) -> anyhow::Result<Self> {
        let mut vms = Vms::default();
        let mut keys = BTreeMap::new();
        for (at, filter) in setup.filters.iter().enumerate() {
            let (module, digest) = engine
                .module(&filter.module)
                .with_context(|| format!("filter `{}`", filter.name))?;
            let key = (filter.vm_id().to_owned(), filter.vm_configuration.clone(), digest);
            let started = match keys.get(&key) {
                Some(&vm) => Ok(vm),
                None => Vm::start(&module, world, filter, at, &setup.environment, &engine.settings.limits).map(|vm| {
                    vms.vms.push(vm);
                    keys.insert(key, vms.vms.len() - 1);
                    vms.vms.len() - 1
                }),
            };
            started
                .and_then(|vm| vms.seat(world, filter, at, vm))
                .map_err(|error| {
                    let mut text = format!("filter `{}`: {error:#}", filter.name);
                    for (level, line) in &world.logs {
                        text.push_str(&format!("\n  [{level}] {line}"));
                    }
                    anyhow::anyhow!(text)
                })?;
        }
        for vm in &mut vms.vms {
            vm.store.data_mut().deferred.clear();
        }
        Ok(vms)
    }

    fn seat(&mut self, world: &mut Box<World>, filter: &Filter, at: usize, vm: usize) -> anyhow::Result<()> {
        let (plugin, first) = self.vms[vm].plug(world, filter, at)?;
        self.seats.push(Seat {
            vm,
            plugin,
            root: self.vms[vm].store.data().plugins[plugin].root,
            first,
            allow_stop_iteration: filter.allow_on_headers_stop_iteration,
        });
        Ok(())
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
