//! One TCP connection through the network filters, in front of Envoy's TCP proxy. All of it was seen on Envoy 1.40.
//!
//! 1. A new connection and what the client sends run through the filters top down, what the server sends bottom up. The proxy
//!    connects to the server when every filter has let the new connection pass, and nothing is read from the client before.
//! 2. Each way has one buffer for all filters. One that returns another status than Continue (0) leaves it as it is; the next piece is put
//!    behind it, and all filters get the whole buffer again, from the first on.
//! 3. Downstream, a filter is not called for nothing: an empty buffer without the end stops there. Upstream, it is called with size 0.
//! 4. `proxy_continue_stream(2)` hands the downstream buffer to the next filter after the callback; 3 is Unimplemented.
//! 5. A filter may read and change a way's buffer during the callback for it, and as long as it pauses it; elsewhere it is empty.
//! 6. A FIN is data with `end`, of size 0 unless something is held back. Upstream, the filter gets
//!    `proxy_on_upstream_connection_close(0)` at once after it, before the next filter has the data. An RST brings neither.
//! 7. A connection whose ways have both ended is closed: the client's counts as closed by the client (2) where its FIN came last, else by
//!    the proxy (1). The close of one connection closes the other; an RST goes on as an RST.
//! 8. `proxy_close_stream` 2 and 3 close the client's connection after the callback; what that was for is lost.
//! 9. At the end each filter that has seen the connection gets close, done, log, delete, and then the next one does.
//! 10. A trap closes both connections, and so does a VM that has failed before; with [`FailurePolicy::Open`](crate::exchange::FailurePolicy::Open)
//!     later connections pass it by.
//!
//! 11. A client's RST before the proxy has connected to the server is noticed when it has: the filters get what came before it, the server
//!     gets only the RST.
//!
//! Properties of connections and filter state are not served: a network filter finds those of its plugin only. The answers to calls, and
//! timers, go to root contexts as for HTTP; answers were not compared with Envoy's.

use std::mem;

use super::abi::Way;
use super::host::Deferred;
use super::vm::Trapped;
use super::vms::Vms;
use super::world::World;
use crate::exchange::tcp::{Deed, Ended, Side};

/// See the module.
pub(crate) struct Connection<'a> {
    vms: &'a mut Vms,
    world: &'a mut Box<World>,
    /// The filters' contexts.
    ids: Vec<u32>,
    /// Filters that are passed by.
    passed_by: Vec<bool>,
    /// Filters that were told of the connection.
    told: Vec<bool>,
    /// The client's connection is not closed.
    open: bool,
    /// By side: it has ended its way.
    finished: [bool; 2],
    /// What the client sent before anybody reads it.
    unread: Vec<u8>,
    /// The client broke the connection before anybody read from it.
    broken: bool,
    /// What the server received; none: not connected.
    server: Option<Vec<u8>>,
    client: Vec<u8>,
    /// By side: what it sees of the proxy.
    ends: [Ended; 2],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Continue,
    Stop,
}

const BY_PROXY: u32 = 1;
const BY_CLIENT: u32 = 2;

impl<'a> Connection<'a> {
    /// The client connects.
    pub(crate) fn open(vms: &'a mut Vms, world: &'a mut Box<World>) -> Self {
        world.connection = Some(Default::default());
        let filters = 0..vms.len();
        let passed_by: Vec<bool> = filters.clone().map(|at| vms[at].failed && vms.fail_open(at)).collect();
        let mut connection = Connection {
            ids: filters.map(|at| vms.new_stream(at)).collect(),
            told: vec![false; passed_by.len()],
            passed_by,
            vms,
            world,
            open: true,
            finished: [false; 2],
            unread: Vec::new(),
            broken: false,
            server: None,
            client: Vec::new(),
            ends: [Ended::Open; 2],
        };
        connection.read(0);
        connection
    }

    /// A side does something.
    pub(crate) fn act(&mut self, side: Side, deed: &Deed) {
        let at = side as usize;
        let there = side == Side::Client || self.server.is_some();
        if !self.open || !there || self.finished[at] {
            return;
        }
        match (side, deed) {
            (_, Deed::Send(bytes)) if bytes.is_empty() => {}
            (Side::Client, Deed::Send(bytes)) => {
                self.unread.extend(bytes);
                self.receive();
            }
            (Side::Client, Deed::HalfClose) => {
                self.finished[0] = true;
                self.receive();
            }
            // Nobody reads yet, so nobody notices.
            (Side::Client, Deed::Reset) if self.server.is_none() => {
                self.broken = true;
                self.finished[0] = true;
                self.ends[0] = Ended::Reset;
            }
            (Side::Server, Deed::Send(bytes)) => {
                self.buffer(Way::Response).extend(bytes);
                self.write();
            }
            (Side::Server, Deed::HalfClose) => {
                self.finished[1] = true;
                self.write();
                let is_over = self.finished[0] && self.ends[0] != Ended::Open || self.ends[1] != Ended::Open;
                if is_over {
                    self.close(BY_PROXY, Ended::Closed);
                }
            }
            (Side::Client, Deed::Reset) => {
                self.ends[0] = Ended::Reset;
                self.close(BY_CLIENT, Ended::Reset);
            }
            (Side::Server, Deed::Reset) => {
                self.ends[1] = Ended::Reset;
                self.close(BY_PROXY, Ended::Reset);
            }
        }
    }

    /// How the connections stand: the client's, the server's.
    pub(crate) fn ends(&self) -> [Ended; 2] {
        self.ends
    }

    /// The connection is over or forgotten: what server and client received.
    pub(crate) fn close_all(self) -> (Option<Vec<u8>>, Vec<u8>) {
        for (filter, id) in self.ids.iter().enumerate() {
            self.vms[filter].drop_context(*id);
        }
        self.world.connection = None;
        (self.server, self.client)
    }

    /// Does what host calls put off; for calls into root contexts, which the gateway makes.
    pub(crate) fn after_root_call(&mut self, filter: usize) {
        self.run_deferred(filter);
        self.receive();
    }

    pub(crate) fn parts(&mut self) -> (&mut Vms, &mut Box<World>) {
        (self.vms, self.world)
    }

    fn buffer(&mut self, way: Way) -> &mut Vec<u8> {
        &mut self.world.connection.get_or_insert_default()[way.at()]
    }

    /// What is there from the client is read, once there is a server.
    fn receive(&mut self) {
        let ends = self.finished[0] && self.ends[1] == Ended::Open;
        let has_new = !self.unread.is_empty() || ends;
        if !self.open || self.server.is_none() || !has_new {
            return;
        }
        if self.broken {
            // Filters still get what came before the RST; the server does not, since its connection breaks before it is sent.
            self.finished[0] = false;
            let mut bytes = mem::take(&mut self.unread);
            self.buffer(Way::Request).append(&mut bytes);
            if !self.buffer(Way::Request).is_empty() {
                self.read(0);
            }
            self.server.get_or_insert_default().clear();
            self.close(BY_CLIENT, Ended::Reset);
            return;
        }
        let mut bytes = mem::take(&mut self.unread);
        self.buffer(Way::Request).append(&mut bytes);
        self.read(0);
        if self.finished[0] && self.ends[0] != Ended::Open {
            self.close(BY_CLIENT, Ended::Closed);
        } else if self.finished[1] && self.ends[1] != Ended::Open {
            self.close(BY_PROXY, Ended::Closed);
        }
    }

    /// The filters from this one on, and the proxy, get the new connection, and what there is from the client.
    fn read(&mut self, from: usize) {
        for at in from..self.ids.len() {
            if !self.open {
                return;
            }
            if self.passed_by[at] {
                continue;
            }
            if !mem::replace(&mut self.told[at], true) && self.tell(at) == Status::Stop {
                return;
            }
            let end = self.finished[0] && self.server.is_some();
            if !self.open
                || (end || !self.buffer(Way::Request).is_empty()) && self.data(at, Way::Request, end) == Status::Stop
            {
                return;
            }
        }
        if !self.open {
            return;
        }
        let end = self.finished[0] && self.server.is_some();
        let mut bytes = mem::take(self.buffer(Way::Request));
        self.server.get_or_insert_default().append(&mut bytes);
        if end && self.ends[1] == Ended::Open {
            self.ends[1] = Ended::Closed;
        }
    }

    /// What there is from the server goes through the filters to the client.
    fn write(&mut self) {
        let end = self.finished[1];
        for at in (0..self.ids.len()).rev() {
            if self.passed_by[at] || !self.told[at] {
                continue;
            }
            let status = self.data(at, Way::Response, end);
            if end && self.open {
                let id = self.ids[at];
                self.vms[at].on_connection_close(self.world, Way::Response, id, 0);
                self.run_deferred(at);
            }
            if status == Status::Stop || !self.open {
                return;
            }
        }
        let mut bytes = mem::take(self.buffer(Way::Response));
        self.client.append(&mut bytes);
        if end && self.ends[0] == Ended::Open {
            self.ends[0] = Ended::Closed;
        }
    }

    /// A filter is told of the new connection.
    fn tell(&mut self, at: usize) -> Status {
        let id = self.ids[at];
        let root = self.vms.root(at);
        let vm = &mut self.vms[at];
        let result = match vm.create_context(self.world, id, root) {
            _ if vm.failed => Some(Err(Trapped)),
            Ok(()) => vm.on_new_connection(self.world, id),
            Err(trapped) => Some(Err(trapped)),
        };
        self.after(at, result)
    }

    /// A filter gets what a way's buffer has.
    fn data(&mut self, at: usize, way: Way, end: bool) -> Status {
        let (id, size) = (self.ids[at], self.buffer(way).len() as u32);
        let vm = &mut self.vms[at];
        let context = vm.context(id);
        context.connection[way.at()] = true;
        context.end_of_stream = end;
        let result = match vm.failed {
            true => Some(Err(Trapped)),
            false => vm.on_connection_data(self.world, way, id, size, end),
        };
        let status = self.after(at, result);
        if status == Status::Continue {
            self.vms[at].context(id).connection[way.at()] = false;
        }
        status
    }

    /// What a callback comes to, with what its host calls put off.
    fn after(&mut self, at: usize, result: Option<Result<u32, Trapped>>) -> Status {
        self.run_deferred(at);
        match result {
            Some(Err(Trapped)) => {
                self.close(BY_PROXY, Ended::Closed);
                Status::Stop
            }
            None | Some(Ok(0)) => Status::Continue,
            Some(Ok(_)) => Status::Stop,
        }
    }

    fn run_deferred(&mut self, filter: usize) {
        self.vms[filter].store.data_mut().stop_iteration = false;
        while let Some(deferred) = self.vms[filter].store.data_mut().deferred.pop_front() {
            let (Deferred::Read(id) | Deferred::Close(id)) = deferred else {
                continue;
            };
            let owner = (0..self.ids.len()).find(|at| self.ids[*at] == id && self.vms.together(*at, filter));
            match (owner, deferred) {
                (Some(at), Deferred::Read(_)) => self.read(at + 1),
                (Some(_), _) => self.close(BY_PROXY, Ended::Closed),
                (None, _) => {}
            }
        }
    }

    /// Both connections end, unless they have: sides that see nothing of it yet see `how`.
    fn close(&mut self, peer: u32, how: Ended) {
        if !mem::replace(&mut self.open, false) {
            return;
        }
        for (at, id) in self.ids.clone().into_iter().enumerate() {
            if !self.told[at] {
                continue;
            }
            self.vms[at].on_connection_close(self.world, Way::Request, id, peer);
            self.vms[at].on_done(self.world, id);
            self.vms[at].context(id).logging = true;
            self.vms[at].on_log(self.world, id);
            self.vms[at].context(id).logging = false;
            self.vms[at].on_delete(self.world, id);
            self.run_deferred(at);
        }
        let is_connected = [true, self.server.is_some()];
        for (end, is_connected) in self.ends.iter_mut().zip(is_connected) {
            if is_connected && *end == Ended::Open {
                *end = how;
            }
        }
    }
}
