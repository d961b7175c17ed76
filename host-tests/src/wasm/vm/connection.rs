//! The callbacks of TCP connections.

use wasmtime::{Instance, Store};

use super::super::abi::Way;
use super::super::host::Host;
use super::super::world::World;
use super::{Call, Exports, Trapped, Vm};

/// See the module. By way: from the client, from the server.
pub(super) struct ConnectionExports {
    new: Call<u32, u32>,
    data: [Call<(u32, u32, u32), u32>; 2],
    close: [Call<(u32, u32), ()>; 2],
}

impl ConnectionExports {
    pub(super) fn find(instance: &Instance, store: &mut Store<Host>) -> anyhow::Result<Self> {
        Ok(Self {
            new: Exports::one(instance, store, "proxy_on_new_connection")?,
            data: [
                Exports::one(instance, store, "proxy_on_downstream_data")?,
                Exports::one(instance, store, "proxy_on_upstream_data")?,
            ],
            close: [
                Exports::one(instance, store, "proxy_on_downstream_connection_close")?,
                Exports::one(instance, store, "proxy_on_upstream_connection_close")?,
            ],
        })
    }
}

impl Vm {
    /// None: the module has no such callback; as for the data.
    pub(crate) fn on_new_connection(&mut self, world: &mut Box<World>, id: u32) -> Option<Result<u32, Trapped>> {
        let call = self.exports.connection.new.clone()?;
        Some(self.call(world, "proxy_on_new_connection", id, &call, id))
    }

    pub(crate) fn on_connection_data(
        &mut self,
        world: &mut Box<World>,
        way: Way,
        id: u32,
        size: u32,
        end: bool,
    ) -> Option<Result<u32, Trapped>> {
        let call = self.exports.connection.data[way.at()].clone()?;
        let name = ["proxy_on_downstream_data", "proxy_on_upstream_data"][way.at()];
        Some(self.call(world, name, id, &call, (id, size, u32::from(end))))
    }

    /// `peer` is who closed: 0 nobody knows, 1 the proxy, 2 the other side.
    pub(crate) fn on_connection_close(&mut self, world: &mut Box<World>, way: Way, id: u32, peer: u32) {
        const NAMES: [&str; 2] = [
            "proxy_on_downstream_connection_close",
            "proxy_on_upstream_connection_close",
        ];
        if let Some(call) = self.exports.connection.close[way.at()].clone() {
            let _ = self.call(world, NAMES[way.at()], id, &call, (id, peer));
        }
    }
}
