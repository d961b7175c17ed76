//! The callbacks of gRPC. They go to the root context, and what came can be read only while they run.

use wasmtime::{Instance, Store};

use super::super::host::{Host, Received};
use super::super::world::World;
use super::{Call, Exports, Vm};
use crate::exchange::Headers;

/// See the module.
pub(super) struct GrpcExports {
    initial: Call<(u32, u32, u32), ()>,
    message: Call<(u32, u32, u32), ()>,
    trailing: Call<(u32, u32, u32), ()>,
    close: Call<(u32, u32, u32), ()>,
}

impl GrpcExports {
    pub(super) fn find(instance: &Instance, store: &mut Store<Host>) -> anyhow::Result<Self> {
        Ok(Self {
            initial: Exports::one(instance, store, "proxy_on_grpc_receive_initial_metadata")?,
            message: Exports::one(instance, store, "proxy_on_grpc_receive")?,
            trailing: Exports::one(instance, store, "proxy_on_grpc_receive_trailing_metadata")?,
            close: Exports::one(instance, store, "proxy_on_grpc_close")?,
        })
    }
}

impl Vm {
    pub(crate) fn on_grpc_receive_initial_metadata(
        &mut self,
        world: &mut Box<World>,
        root: u32,
        token: u32,
        lines: Headers,
    ) {
        let (name, count) = ("proxy_on_grpc_receive_initial_metadata", lines.len() as u32);
        let call = self.exports.grpc.initial.clone();
        self.on_grpc(world, name, root, call, token, count, Received::InitialMetadata(lines));
    }

    pub(crate) fn on_grpc_receive(&mut self, world: &mut Box<World>, root: u32, token: u32, message: Vec<u8>) {
        let (name, size) = ("proxy_on_grpc_receive", message.len() as u32);
        let call = self.exports.grpc.message.clone();
        self.on_grpc(world, name, root, call, token, size, Received::Message(message));
    }

    pub(crate) fn on_grpc_receive_trailing_metadata(
        &mut self,
        world: &mut Box<World>,
        root: u32,
        token: u32,
        lines: Headers,
    ) {
        let (name, count) = ("proxy_on_grpc_receive_trailing_metadata", lines.len() as u32);
        let call = self.exports.grpc.trailing.clone();
        self.on_grpc(world, name, root, call, token, count, Received::TrailingMetadata(lines));
    }

    /// The guest can ask for the status and the message; the status stays, the message does not.
    pub(crate) fn on_grpc_close(&mut self, world: &mut Box<World>, root: u32, token: u32, status: u32, message: &str) {
        let call = self.exports.grpc.close.clone();
        if call.is_some() {
            self.store.data_mut().status = (status, message.to_owned());
        }
        self.on_grpc(
            world,
            "proxy_on_grpc_close",
            root,
            call,
            token,
            status,
            Received::Nothing,
        );
        self.store.data_mut().status.1.clear();
    }

    #[expect(clippy::too_many_arguments, reason = "what the callbacks have in common")]
    fn on_grpc(
        &mut self,
        world: &mut Box<World>,
        name: &'static str,
        root: u32,
        call: Call<(u32, u32, u32), ()>,
        token: u32,
        number: u32,
        received: Received,
    ) {
        let Some(call) = call else { return };
        self.store.data_mut().received = received;
        let _ = self.call(world, name, root, &call, (root, token, number));
        self.store.data_mut().received = Received::Nothing;
    }
}
