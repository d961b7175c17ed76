//! One stream through the chain: the state machine of Envoy's filter manager.
//!
//! 1. A frame (headers, a piece of body, trailers) goes from filter to filter until one stops. The request's last station is the
//!    router, the response's the client.
//! 2. A headers callback that pauses stops everything for its filter (StopAllIterationAndWatermark), unless the plugin allows
//!    StopIteration: then the body still comes to this filter, and nothing to those behind it.
//! 3. A body callback that pauses holds the body back: the next callback sees all of it. When it continues, headers that
//!    were held go first.
//! 4. A local reply takes the response's way through all filters if there is no response yet, goes straight to the client
//!    if one is under way but has not reached it, and resets the stream if it has ([`Stream::local_reply`]).
//! 5. What host calls put off happens after the callback, before its result counts, as in Envoy.
//!
//! The names of states and functions are close to those of Envoy's `filter_manager.cc`, so that the two can be compared.

use std::mem;

use super::Semantics;
use super::abi::{DataStatus, HeadersStatus, TrailersStatus, Way};
use super::headers::HeaderMap;
use super::host::{Deferred, LocalReply};
use super::vm::Trapped;
use super::vms::Vms;
use super::world::{Frame, StreamData, World};
use crate::exchange::{Got, Seen};

/// See the module.
pub(crate) struct Stream<'a> {
    vms: &'a mut Vms,
    world: &'a mut Box<World>,
    /// The context of each filter.
    ids: Vec<u32>,
    /// Which filters it passes by, because their VM had failed before.
    passed_by: Vec<bool>,
    /// Per way and station.
    stations: [Vec<Station>; 2],
    /// Per way: what a callback of it has aborted.
    aborted: [bool; 2],
    /// Per way: a full buffer means back-pressure, not an error.
    streaming: [bool; 2],
    /// Per way: callbacks of it that run now.
    running: [u32; 2],
    prepared: Option<LocalReply>,
    limit: usize,
    is_head: bool,
    /// Per way: how long the body is by the header lines that went out.
    lengths: [Option<u64>; 2],
    /// The way whose body ended before it was as long as its header lines said: who reads it waits for the rest.
    unfinished: Option<Way>,
    /// The whole request has come in.
    request_complete: bool,
    /// The whole response has come in.
    local_complete: bool,
    /// The client has the response's headers.
    headers_encoded: bool,
    /// The client has the whole response.
    encode_complete: bool,
    ended: bool,
    upstream: Option<Seen>,
    upstream_complete: bool,
    upstream_asked: bool,
    /// Why the upstream's codec does not take the request's headers.
    unsendable: Option<String>,
    client: Option<Got>,
}

/// Where a way stands at one filter.
#[derive(Clone, Copy, Debug, Default)]
struct Station {
    iteration: Iteration,
    headers_continued: bool,
    from_current: bool,
    end_stream: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Iteration {
    #[default]
    Continue,
    StopSingle,
    StopAllBuffer,
    StopAllWatermark,
}

impl Station {
    fn stopped_all(&self) -> bool {
        matches!(self.iteration, Iteration::StopAllBuffer | Iteration::StopAllWatermark)
    }
}

impl<'a> Stream<'a> {
    /// A stream whose request headers are in the world. Contexts are made for every filter, as Envoy does.
    pub(crate) fn open(vms: &'a mut Vms, world: &'a mut Box<World>, limit: u32, is_head: bool) -> Self {
        let ids: Vec<u32> = (0..vms.len()).map(|filter| vms.new_stream(filter)).collect();
        let count = ids.len();
        let passed_by = (0..count)
            .map(|filter| vms[filter].failed && vms.fail_open(filter))
            .collect();
        Stream {
            passed_by,
            vms,
            world,
            ids,
            stations: [vec![Station::default(); count + 1], vec![Station::default(); count]],
            aborted: [false; 2],
            streaming: [false; 2],
            running: [0; 2],
            prepared: None,
            limit: limit as usize,
            is_head,
            lengths: [None; 2],
            unfinished: None,
            request_complete: false,
            local_complete: false,
            headers_encoded: false,
            encode_complete: false,
            ended: false,
            upstream: None,
            upstream_complete: false,
            upstream_asked: false,
            unsendable: None,
            client: None,
        }
    }

    // What comes from the client.

    pub(crate) fn receive_headers(&mut self, end: bool) {
        self.request_complete = end;
        self.headers(Way::Request, None, end);
    }

    pub(crate) fn receive_data(&mut self, data: Vec<u8>, end: bool) {
        self.request_complete = end;
        self.data_of_stream().received += data.len() as u64;
        self.data(Way::Request, None, Frame::Fresh(data), end, false);
    }

    pub(crate) fn receive_trailers(&mut self, trailers: HeaderMap) {
        self.request_complete = true;
        self.data_of_stream().trailers[0] = Some(trailers);
        self.trailers(Way::Request, None);
    }

    // What comes from the upstream.

    pub(crate) fn answer_headers(&mut self, headers: HeaderMap, end: bool) {
        let code = status_of(&headers);
        let stream = self.data_of_stream();
        stream.code = Some(code);
        stream.details = Some("via_upstream".to_owned());
        stream.headers[1] = Some(headers);
        self.headers(Way::Response, None, end);
    }

    pub(crate) fn answer_data(&mut self, data: Vec<u8>, end: bool) {
        self.data(Way::Response, None, Frame::Fresh(data), end, false);
    }

    pub(crate) fn answer_trailers(&mut self, trailers: HeaderMap) {
        self.data_of_stream().trailers[1] = Some(trailers);
        self.trailers(Way::Response, None);
    }

    /// The upstream does not take the connection.
    pub(crate) fn upstream_refused(&mut self) {
        self.upstream = None;
        self.data_of_stream().flags.push("UF");
        self.upstream_failed(
            "remote connection failure",
            "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}",
        );
    }

    /// The upstream breaks the connection before it answers.
    pub(crate) fn upstream_broke(&mut self) {
        self.data_of_stream().flags.push("UC");
        self.upstream_failed(
            "connection termination",
            "upstream_reset_before_response_started{connection_termination}",
        );
    }

    /// The request's headers could not be sent to the upstream, if so: Envoy's answer is on its way then.
    pub(crate) fn upstream_cannot_be_told(&mut self) -> bool {
        let Some(why) = self.unsendable.take() else {
            return false;
        };
        self.upstream = None;
        self.data_of_stream().flags.push("DPE");
        let details = format!("filter_removed_required_request_headers{{{}}}", why.replace(' ', "_"));
        self.local_reply(LocalReply {
            status: 503,
            body: why.into_bytes(),
            headers: Vec::new(),
            details,
            grpc_status: None,
        });
        true
    }

    /// The upstream breaks the connection in the middle of its answer. The client gets a 502 if nothing was sent to it.
    pub(crate) fn upstream_broke_off(&mut self) {
        self.data_of_stream().flags.push("UPE");
        if self.headers_encoded {
            self.data_of_stream().details = Some("upstream_reset_after_response_started{protocol_error}".to_owned());
            return self.reset();
        }
        let reason = "protocol error";
        let body = format!("upstream connect error or disconnect/reset before headers. reset reason: {reason}");
        self.local_reply(LocalReply {
            status: 502,
            body: body.into_bytes(),
            headers: Vec::new(),
            details: "upstream_reset_before_response_started{protocol_error}".to_owned(),
            grpc_status: None,
        });
    }

    fn upstream_failed(&mut self, reason: &str, details: &str) {
        let body = format!("upstream connect error or disconnect/reset before headers. reset reason: {reason}");
        self.local_reply(LocalReply {
            status: 503,
            body: body.into_bytes(),
            headers: Vec::new(),
            details: details.to_owned(),
            grpc_status: None,
        });
    }

    /// The proxy itself refuses the request, before any filter.
    pub(crate) fn refuse(&mut self, status: u16, details: &str) {
        self.local_reply(LocalReply {
            status,
            body: Vec::new(),
            headers: Vec::new(),
            details: details.to_owned(),
            grpc_status: None,
        });
    }

    // The end.

    /// The stream is over: nothing will happen to it any more.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// The upstream has the whole request.
    pub(crate) fn upstream_complete(&self) -> bool {
        self.upstream_complete
    }

    /// What the upstream has of the request, which it is to answer now.
    pub(crate) fn ask_upstream(&mut self) -> Option<&Seen> {
        self.upstream_asked = true;
        self.upstream.as_ref()
    }

    /// The way that ended for the proxy, and not for who reads it.
    pub(crate) fn unfinished(&self) -> Option<Way> {
        self.unfinished
    }

    /// There is a response, the upstream's or a local one.
    pub(crate) fn response_started(&mut self) -> bool {
        self.data_of_stream().headers[1].is_some()
    }

    /// The filter that holds a way up, by name, if one does.
    pub(crate) fn holder(&self) -> Option<(usize, Way)> {
        for way in [Way::Response, Way::Request] {
            for (at, station) in self.stations[way.at()].iter().enumerate() {
                let router = way == Way::Request && at == self.vms.len();
                if station.iteration != Iteration::Continue && !router {
                    return Some((self.filter(way, at), way));
                }
            }
        }
        None
    }

    /// Ends the stream without an end of the response: the client's connection breaks.
    pub(crate) fn reset(&mut self) {
        for way in 0..2 {
            self.aborted[way] |= self.running[way] > 0;
        }
        self.destroy();
    }

    /// Ends the stream; what upstream and client saw of it. A request counts once the upstream was asked
    /// for its answer: how far another gets depends on how fast a proxy connects.
    pub(crate) fn close(mut self) -> (Option<Seen>, Option<Got>) {
        self.destroy();
        for (filter, id) in self.ids.iter().enumerate() {
            self.vms[filter].drop_context(*id);
        }
        (self.upstream.filter(|_| self.upstream_asked), self.client)
    }

    /// Does what host calls put off; for calls into root contexts, which the gateway makes.
    pub(crate) fn after_root_call(&mut self, filter: usize) {
        self.run_deferred(filter);
    }

    pub(crate) fn parts(&mut self) -> (&mut Vms, &mut Box<World>) {
        (self.vms, self.world)
    }

    // The filter manager.

    fn headers(&mut self, way: Way, from: Option<usize>, end: bool) {
        if way == Way::Response && from.is_none() {
            self.local_complete = end;
        }
        let count = self.stations[way.at()].len();
        for at in from.map_or(0, |from| from + 1)..count {
            self.stations[way.at()][at].end_stream = end;
            self.running[way.at()] += 1;
            let mut status = self.headers_at(way, at, end);
            self.running[way.at()] -= 1;
            if self.aborted[way.at()] {
                if way == Way::Request {
                    self.execute_prepared();
                }
                status = HeadersStatus::StopIteration;
            }
            let station = &mut self.stations[way.at()][at];
            match status {
                HeadersStatus::Continue => station.headers_continued = true,
                HeadersStatus::StopIteration => station.iteration = Iteration::StopSingle,
                HeadersStatus::StopAllAndBuffer => station.iteration = Iteration::StopAllBuffer,
                HeadersStatus::StopAllAndWatermark => station.iteration = Iteration::StopAllWatermark,
            }
            if status != HeadersStatus::Continue || way == Way::Request && self.local_complete {
                return;
            }
        }
        if way == Way::Response {
            self.encode_headers(end);
        }
    }

    fn data(&mut self, way: Way, from: Option<usize>, mut frame: Frame, end: bool, from_current: bool) {
        if way == Way::Request && self.local_complete {
            return;
        }
        if way == Way::Response && from.is_none() {
            self.local_complete = end;
        }
        let first = self.first(way, from, from_current);
        let count = self.stations[way.at()].len();
        let had_trailers = self.has_trailers(way);
        let mut end = end;
        let mut trailers_added_at = None;
        for at in first..count {
            let station = self.stations[way.at()][at];
            if station.stopped_all() {
                self.streaming[way.at()] = station.iteration == Iteration::StopAllWatermark;
                self.buffer(way, &mut frame);
                return;
            }
            if station.end_stream {
                return;
            }
            let ends_here = end && !self.has_trailers(way);
            self.stations[way.at()][at].end_stream = ends_here;
            self.running[way.at()] += 1;
            let mut status = self.data_at(way, at, &mut frame, ends_here);
            self.running[way.at()] -= 1;
            if self.aborted[way.at()] {
                if way == Way::Request {
                    self.execute_prepared();
                    return;
                }
                status = DataStatus::StopNoBuffer;
            }
            if !had_trailers && self.has_trailers(way) && trailers_added_at.is_none() {
                trailers_added_at = Some(at);
                end = end && way == Way::Response;
            }
            if !self.after_data(way, at, status, &mut frame) {
                if way == Way::Response {
                    return;
                }
                break;
            }
        }
        if way == Way::Response {
            let end = end && trailers_added_at.is_none();
            self.encode_data(frame, end);
        }
        if let Some(at) = trailers_added_at {
            self.trailers(way, Some(at));
        }
    }

    /// True: the frame goes on to the next filter.
    fn after_data(&mut self, way: Way, at: usize, status: DataStatus, frame: &mut Frame) -> bool {
        if status == DataStatus::Continue {
            if self.stations[way.at()][at].iteration == Iteration::StopSingle {
                self.buffer(way, frame);
                self.resume(way, at);
                return false;
            }
            return true;
        }
        self.stations[way.at()][at].iteration = Iteration::StopSingle;
        match status {
            DataStatus::StopAndBuffer | DataStatus::StopAndWatermark => {
                self.streaming[way.at()] = status == DataStatus::StopAndWatermark;
                self.buffer(way, frame);
            }
            _ if self.complete(way) && !self.has_trailers(way) && !self.ended => {
                // So that a resumed stream still has a frame to carry its end.
                self.flow(way).buffered.get_or_insert_default();
            }
            _ => {}
        }
        false
    }

    fn trailers(&mut self, way: Way, from: Option<usize>) {
        if way == Way::Request && self.local_complete {
            return;
        }
        if way == Way::Response && from.is_none() {
            self.local_complete = true;
        }
        let count = self.stations[way.at()].len();
        for at in self.first(way, from, true)..count {
            if self.stations[way.at()][at].stopped_all() {
                return;
            }
            self.running[way.at()] += 1;
            let mut status = self.trailers_at(way, at);
            self.running[way.at()] -= 1;
            self.stations[way.at()][at].end_stream = true;
            if way == Way::Request && self.aborted[way.at()] {
                self.execute_prepared();
                status = TrailersStatus::StopIteration;
            }
            if self.ended && status == TrailersStatus::Continue {
                self.crash("a filter resets the stream in its trailers and continues");
                return;
            }
            let station = &mut self.stations[way.at()][at];
            match status {
                TrailersStatus::Continue if station.iteration == Iteration::StopSingle => {
                    self.resume(way, at);
                    return;
                }
                TrailersStatus::Continue => {}
                TrailersStatus::StopIteration => {
                    if station.iteration == Iteration::Continue {
                        station.iteration = Iteration::StopSingle;
                    }
                    return;
                }
            }
        }
        if way == Way::Response {
            self.encode_trailers();
        }
    }

    /// A filter goes on: what it held goes to the next ones (and to itself what it has not seen).
    fn resume(&mut self, way: Way, at: usize) {
        let over = match way {
            // A reply that waits for the end of the callback counts, too.
            Way::Request => self.local_complete || self.aborted[0],
            Way::Response => self.encode_complete,
        };
        if over || self.ended {
            return;
        }
        let station = &mut self.stations[way.at()][at];
        if station.stopped_all() {
            station.from_current = true;
        }
        station.iteration = Iteration::Continue;
        if !mem::replace(&mut station.headers_continued, true) {
            let end = self.complete(way) && self.flow(way).buffered.is_none() && !self.has_trailers(way);
            self.headers(way, Some(at), end);
        }
        // Trailers that a filter adds while it sees the data are continued there.
        let had_trailers = self.has_trailers(way);
        if self.flow(way).buffered.is_some() {
            let end = self.complete(way) && !had_trailers;
            self.data(way, Some(at), Frame::Buffered, end, true);
        }
        if had_trailers {
            self.trailers(way, Some(at));
        }
        self.stations[way.at()][at].from_current = false;
    }

    fn first(&self, way: Way, from: Option<usize>, from_current: bool) -> usize {
        match from {
            None => 0,
            Some(at) if from_current && self.stations[way.at()][at].from_current => at,
            Some(at) => at + 1,
        }
    }

    /// Puts a frame to what is held back. Too much of it is 413 or 500, unless the sender is just slowed down.
    fn buffer(&mut self, way: Way, frame: &mut Frame) {
        let Frame::Fresh(data) = frame else { return };
        let data = mem::take(data);
        let limit = self.limit;
        let flow = self.flow(way);
        let buffered = flow.buffered.get_or_insert_default();
        buffered.extend(data);
        let above = limit > 0 && buffered.len() > limit;
        if !above || mem::replace(&mut flow.above_limit, true) || self.streaming[way.at()] {
            return;
        }
        let (status, body, details) = match way {
            Way::Request => (413, "Payload Too Large", "request_payload_too_large"),
            Way::Response => (500, "Internal Server Error", "response_payload_too_large"),
        };
        self.local_reply(LocalReply {
            status,
            body: body.into(),
            headers: Vec::new(),
            details: details.to_owned(),
            grpc_status: None,
        });
    }

    // Local replies.

    /// What Envoy does with an answer that a filter or the proxy itself makes; the one place that decides it.
    ///
    /// - No response yet: it goes the response's way, from the filter next to the upstream to the outermost one, the sender
    ///   included. Filters that never saw the request have no context and are passed over. When a request callback sent it,
    ///   it starts once that callback has returned.
    /// - A response is on its way through the filters: it goes to the client directly, past all filters.
    /// - The client has the response's headers: the stream is reset.
    fn local_reply(&mut self, reply: LocalReply) {
        if self.ended {
            return;
        }
        if self.running[0] > 0 {
            self.aborted[0] = true;
        } else if self.running[1] > 0 {
            self.aborted[1] = true;
        }
        self.data_of_stream().details = Some(reply.details.clone());
        if self.data_of_stream().headers[1].is_none() {
            self.world.refresh_route();
            if self.running[0] > 0 {
                self.prepared.get_or_insert(reply);
            } else {
                self.reply_through_filters(reply);
            }
        } else if !self.headers_encoded {
            self.reply_directly(reply);
        } else {
            self.reset();
        }
    }

    /// What the guest did makes Envoy use what it has freed: it crashes, or worse.
    fn crash(&mut self, what: &'static str) {
        if self.world.semantics == Semantics::Envoy {
            self.world.crash.get_or_insert(what);
        }
    }

    fn execute_prepared(&mut self) {
        if let Some(reply) = self.prepared.take() {
            if self.ended {
                return self.crash("a filter sends a local response to a stream that is over");
            }
            self.reply_through_filters(reply);
        }
    }

    fn reply_through_filters(&mut self, reply: LocalReply) {
        let (headers, body) = self.reply_parts(reply);
        self.data_of_stream().headers[1] = Some(headers);
        self.headers(Way::Response, None, body.is_empty());
        if !body.is_empty() && !self.ended {
            self.data(Way::Response, None, Frame::Fresh(body), true, false);
        }
    }

    fn reply_directly(&mut self, reply: LocalReply) {
        let (headers, body) = self.reply_parts(reply);
        self.data_of_stream().headers[1] = Some(headers);
        self.streaming[1] = true;
        self.encode_headers(body.is_empty());
        if !body.is_empty() && !self.ended {
            self.encode_data(Frame::Fresh(body), true);
        }
    }

    /// Envoy names the length and, unless the filter did, `text/plain`; a HEAD request gets the headers only. A gRPC call gets 200 with its own
    /// status and, as its message, the body.
    fn reply_parts(&mut self, reply: LocalReply) -> (HeaderMap, Vec<u8>) {
        let mut headers = HeaderMap::headers(Way::Response);
        headers.add(b":status", reply.status.to_string().as_bytes());
        for (name, value) in &reply.headers {
            headers.add(name, value);
        }
        let request = self.data_of_stream().headers[0].as_ref();
        let content_type = request.and_then(|request| request.get(b"content-type"));
        let is_grpc =
            content_type.is_some_and(|value| value == b"application/grpc" || value.starts_with(b"application/grpc+"));
        if is_grpc {
            let status = reply.grpc_status.unwrap_or(match reply.status {
                400 => 13,
                401 => 16,
                403 => 7,
                404 => 12,
                429 | 502..=504 => 14,
                _ => 2,
            });
            headers.replace(b":status", b"200");
            headers.replace(b"content-type", b"application/grpc");
            headers.replace(b"grpc-status", status.to_string().as_bytes());
            if !reply.body.is_empty() && !self.is_head {
                headers.replace(b"grpc-message", &grpc_message(&reply.body));
            }
            headers.remove(b"content-length");
            return (headers, Vec::new());
        }
        if reply.body.is_empty() {
            headers.remove(b"content-length");
            headers.remove(b"content-type");
        } else {
            headers.replace(b"content-length", reply.body.len().to_string().as_bytes());
            if headers.get(b"content-type").is_none() {
                headers.add(b"content-type", b"text/plain");
            }
        }
        (headers, if self.is_head { Vec::new() } else { reply.body })
    }

    // The client.

    fn encode_headers(&mut self, end: bool) {
        if self.ended {
            return;
        }
        let encoded = self.headers_encoded;
        let date = httpdate::fmt_http_date(std::time::UNIX_EPOCH + self.world.now());
        let Some(headers) = &mut self.data_of_stream().headers[1] else {
            return;
        };
        if !is_status(headers) && !encoded {
            let headers = "missing required header: :status";
            return self.local_reply(LocalReply {
                status: 502,
                body: headers.into(),
                headers: Vec::new(),
                details: "filter_removed_required_response_headers".to_owned(),
                grpc_status: None,
            });
        }
        // The codec frames anew, and the log phase sees what the client got.
        headers.remove(b"connection");
        headers.remove(b"transfer-encoding");
        headers.set(b"date", date.as_bytes());
        headers.set(b"server", b"envoy");
        let (status, plain, length) = (status_of(headers), headers.to_plain(), length_of(headers));
        self.data_of_stream().code = Some(status);
        self.headers_encoded = true;
        let bodyless = self.is_head || matches!(status, 100..200 | 204 | 304);
        self.lengths[1] = length.filter(|_| !bodyless);
        self.client = Some(Got {
            status,
            headers: plain,
            ..Got::default()
        });
        self.end_encode(end);
    }

    fn encode_data(&mut self, frame: Frame, end: bool) {
        if self.ended {
            return;
        }
        let data = match frame {
            Frame::Fresh(data) => data,
            Frame::Buffered => self.take_buffered(Way::Response),
            Frame::None => Vec::new(),
        };
        self.data_of_stream().sent += data.len() as u64;
        if let Some(client) = &mut self.client
            && !self.is_head
            && !matches!(client.status, 100..200 | 204 | 304)
        {
            client.body.extend(data);
            // The client reads as much as it was told of.
            if let Some(length) = self.lengths[1] {
                client.body.truncate(usize::try_from(length).unwrap_or(usize::MAX));
            }
        }
        self.end_encode(end);
    }

    fn encode_trailers(&mut self) {
        if self.ended {
            return;
        }
        let trailers = self.data_of_stream().trailers[1]
            .as_ref()
            .map(HeaderMap::to_plain)
            .unwrap_or_default();
        if let Some(client) = &mut self.client {
            client.trailers = trailers;
        }
        self.end_encode(true);
    }

    fn end_encode(&mut self, end: bool) {
        if !end || self.ended {
            return;
        }
        self.encode_complete = true;
        self.local_complete = true;
        if let Some(client) = &mut self.client {
            client.complete = self.lengths[1].is_none_or(|length| length <= client.body.len() as u64);
            self.unfinished = (!client.complete).then_some(Way::Response);
        }
        self.destroy();
    }

    /// `on_log` of every filter, then `on_done` and `on_delete` of each that has a context. A filter that never saw the request
    /// gets its context for the log.
    fn destroy(&mut self) {
        if mem::replace(&mut self.ended, true) {
            return;
        }
        self.local_complete = true;
        let now = self.world.now().as_nanos() as u64;
        let stream = self.data_of_stream();
        stream.duration = Some(std::time::Duration::from_nanos(
            now.saturating_sub(stream.start_nanoseconds),
        ));
        for filter in 0..self.vms.len() {
            let id = self.ids[filter];
            let root = self.vms.root(filter);
            let vm = &mut self.vms[filter];
            let _ = vm.create_context(self.world, id, root);
            if self.world.semantics == Semantics::Envoy {
                self.log(filter, id);
            }
        }
        for filter in 0..self.vms.len() {
            let id = self.ids[filter];
            let vm = &mut self.vms[filter];
            vm.context(id).destroyed = true;
            vm.on_done(self.world, id);
            if self.world.semantics == Semantics::Spec {
                self.log(filter, id);
            }
            self.vms[filter].on_delete(self.world, id);
            self.run_deferred(filter);
        }
    }

    fn log(&mut self, filter: usize, id: u32) {
        let vm = &mut self.vms[filter];
        vm.context(id).logging = true;
        vm.on_log(self.world, id);
        vm.context(id).logging = false;
        self.run_deferred(filter);
    }

    // The stations: a filter each, and the router.

    fn filter(&self, way: Way, at: usize) -> usize {
        match way {
            Way::Request => at,
            Way::Response => self.vms.len() - 1 - at,
        }
    }

    fn headers_at(&mut self, way: Way, at: usize, end: bool) -> HeadersStatus {
        if way == Way::Request && at == self.vms.len() {
            return self.router_headers(end);
        }
        let filter = self.filter(way, at);
        if self.passed_by[filter] {
            return HeadersStatus::Continue;
        }
        let id = self.ids[filter];
        let root = self.vms.root(filter);
        let vm = &mut self.vms[filter];
        match way {
            Way::Request => {
                let _ = vm.create_context(self.world, id, root);
                self.run_deferred(filter);
            }
            Way::Response if !vm.context(id).created || vm.context(id).failure_reply_sent => {
                return HeadersStatus::Continue;
            }
            Way::Response => {}
        }
        if self.fail_stream(filter) {
            return HeadersStatus::StopAllAndWatermark;
        }
        let count = self.data_of_stream().headers[way.at()]
            .as_ref()
            .map_or(0, HeaderMap::len) as u32;
        let allow_stop = self.vms.allow_stop_iteration(filter);
        let vm = &mut self.vms[filter];
        let context = vm.context(id);
        context.headers[way.at()] = true;
        context.end_of_stream = end;
        let spec = self.world.semantics == Semantics::Spec;
        let Some(result) = vm.on_headers(self.world, way, id, count, end) else {
            self.vms[filter].context(id).headers[way.at()] = false;
            return HeadersStatus::Continue;
        };
        let stop = self.stop_iteration(filter);
        let status = match result {
            Err(Trapped) => {
                self.fail_stream(filter);
                HeadersStatus::StopAllAndWatermark
            }
            Ok(_) if stop => HeadersStatus::StopAllAndWatermark,
            Ok(1..) if spec => HeadersStatus::StopIteration,
            // 2 is ContinueAndEndStream, which Envoy treats as 0.
            Ok(0 | 2) => HeadersStatus::Continue,
            Ok(1) if allow_stop => HeadersStatus::StopIteration,
            Ok(3) => HeadersStatus::StopAllAndBuffer,
            Ok(_) => HeadersStatus::StopAllAndWatermark,
        };
        self.run_deferred(filter);
        if status == HeadersStatus::Continue {
            self.vms[filter].context(id).headers[way.at()] = false;
        }
        status
    }

    fn data_at(&mut self, way: Way, at: usize, frame: &mut Frame, end: bool) -> DataStatus {
        if way == Way::Request && at == self.vms.len() {
            return self.router_data(frame, end);
        }
        let filter = self.filter(way, at);
        let id = self.ids[filter];
        let context = self.vms[filter].context(id);
        let passed_by = !context.created || way == Way::Response && context.failure_reply_sent;
        if passed_by || self.passed_by[filter] {
            return DataStatus::Continue;
        }
        if self.vms[filter].context(id).buffering[way.at()] {
            self.streaming[way.at()] = false;
            self.buffer(way, frame);
            if self.vms[filter].context(id).destroyed {
                return DataStatus::StopAndBuffer;
            }
        }
        if self.fail_stream(filter) {
            return DataStatus::StopNoBuffer;
        }
        let context = self.vms[filter].context(id);
        context.body[way.at()] = true;
        context.end_of_stream = end;
        let buffering = context.buffering[way.at()];
        let flow = self.flow(way);
        let size = match frame {
            Frame::Fresh(data) if !buffering => data.len(),
            _ => flow.buffered.as_ref().map_or(0, Vec::len),
        } as u32;
        // The frame is lent to the world, where the guest's host calls find it.
        let outer = mem::replace(&mut flow.in_flight, mem::take(frame));
        let result = self.vms[filter].on_body(self.world, way, id, size, end);
        let stop = self.stop_iteration(filter);
        let status = match result {
            None => DataStatus::Continue,
            Some(Err(Trapped)) => {
                self.fail_stream(filter);
                DataStatus::StopNoBuffer
            }
            Some(Ok(_)) if stop => DataStatus::StopNoBuffer,
            Some(Ok(1..)) if self.world.semantics == Semantics::Spec => DataStatus::StopAndBuffer,
            Some(Ok(0)) => DataStatus::Continue,
            Some(Ok(1)) => DataStatus::StopAndBuffer,
            Some(Ok(2)) => DataStatus::StopAndWatermark,
            Some(Ok(_)) => DataStatus::StopNoBuffer,
        };
        self.run_deferred(filter);
        *frame = mem::replace(&mut self.flow(way).in_flight, outer);
        let context = self.vms[filter].context(id);
        context.buffering[way.at()] = status == DataStatus::StopAndBuffer;
        if status == DataStatus::Continue {
            context.body[way.at()] = false;
        }
        status
    }

    fn trailers_at(&mut self, way: Way, at: usize) -> TrailersStatus {
        if way == Way::Request && at == self.vms.len() {
            return self.router_trailers();
        }
        let filter = self.filter(way, at);
        let id = self.ids[filter];
        let context = self.vms[filter].context(id);
        let passed_by = !context.created || way == Way::Response && context.failure_reply_sent;
        if passed_by || self.passed_by[filter] {
            return TrailersStatus::Continue;
        }
        if self.fail_stream(filter) {
            return TrailersStatus::StopIteration;
        }
        let count = self.data_of_stream().trailers[way.at()]
            .as_ref()
            .map_or(0, HeaderMap::len) as u32;
        self.vms[filter].context(id).trailers[way.at()] = true;
        let result = self.vms[filter].on_trailers(self.world, way, id, count);
        let stop = self.stop_iteration(filter);
        let status = match result {
            Some(Err(Trapped)) => {
                self.fail_stream(filter);
                TrailersStatus::StopIteration
            }
            None => TrailersStatus::Continue,
            Some(Ok(0)) if !stop => TrailersStatus::Continue,
            Some(Ok(_)) => TrailersStatus::StopIteration,
        };
        self.run_deferred(filter);
        if status == TrailersStatus::Continue {
            self.vms[filter].context(id).trailers[way.at()] = false;
        }
        status
    }

    /// A failed VM's streams get 503, once, under every policy. True: the VM is failed.
    fn fail_stream(&mut self, filter: usize) -> bool {
        if !self.vms[filter].failed {
            return false;
        }
        let id = self.ids[filter];
        if !mem::replace(&mut self.vms[filter].context(id).stream_failed, true) {
            self.local_reply(LocalReply {
                status: 503,
                body: Vec::new(),
                headers: Vec::new(),
                details: "wasm_fail_stream".to_owned(),
                grpc_status: None,
            });
            self.vms[filter].context(id).failure_reply_sent = true;
        }
        true
    }

    /// Whether a local response was sent in the callback that just ended.
    fn stop_iteration(&mut self, filter: usize) -> bool {
        mem::take(&mut self.vms[filter].store.data_mut().stop_iteration)
    }

    fn run_deferred(&mut self, filter: usize) {
        self.stop_iteration(filter);
        while let Some(deferred) = self.vms[filter].store.data_mut().deferred.pop_front() {
            let (Deferred::Continue(id, _) | Deferred::Close(id) | Deferred::Reply(id, _) | Deferred::Read(id)) =
                &deferred;
            // A VM that several filters share may work on another one's context; one that is not here is of a stream that is gone.
            let owner = (0..self.ids.len()).find(|at| self.ids[*at] == *id && self.vms.together(*at, filter));
            let Some(filter) = owner else {
                continue;
            };
            if self.ended {
                match deferred {
                    Deferred::Continue(..) | Deferred::Read(_) => {}
                    Deferred::Close(_) => self.crash("a filter resets a stream that is over"),
                    Deferred::Reply(..) => self.crash("a filter sends a local response to a stream that is over"),
                }
                continue;
            }
            match deferred {
                Deferred::Continue(_, way) => {
                    let at = match way {
                        Way::Request => filter,
                        Way::Response => self.vms.len() - 1 - filter,
                    };
                    if self.data_of_stream().headers[way.at()].is_some() {
                        self.resume(way, at);
                    } else if self.world.semantics == Semantics::Envoy {
                        self.crash("a filter continues a response that there is not yet");
                        self.reset();
                    }
                }
                Deferred::Close(_) => {
                    // Of a stream that nobody answered yet.
                    self.data_of_stream()
                        .details
                        .get_or_insert_with(|| "wasm_close_stream".to_owned());
                    self.reset();
                }
                Deferred::Reply(_, reply) => self.local_reply(reply),
                // Of connections, which are no streams.
                Deferred::Read(_) => {}
            }
        }
    }

    // The router.

    fn router_headers(&mut self, end: bool) -> HeadersStatus {
        self.world.refresh_route();
        let headers = self.data_of_stream().headers[0].as_ref();
        let has_path = headers.is_some_and(|headers| headers.get(b":path").is_some());
        if self.world.route().is_none() || !has_path {
            self.data_of_stream().flags.push("NR");
            self.local_reply(LocalReply {
                status: 404,
                body: Vec::new(),
                headers: Vec::new(),
                details: "route_not_found".to_owned(),
                grpc_status: None,
            });
            return HeadersStatus::StopIteration;
        }
        self.data_of_stream().at_router = true;
        let Some(headers) = &self.data_of_stream().headers[0] else {
            return HeadersStatus::StopIteration;
        };
        let unsendable = headers.unsendable();
        let length = length_of(headers);
        let text = |name: &[u8]| String::from_utf8_lossy(headers.get(name).unwrap_or_default()).into_owned();
        self.upstream = Some(Seen {
            method: text(b":method"),
            target: headers.get(b":path").unwrap_or_default().to_vec(),
            authority: text(b":authority"),
            headers: headers.to_plain(),
            body: Vec::new(),
            trailers: Vec::new(),
        });
        self.lengths[0] = length;
        self.unsendable = unsendable;
        self.upstream_complete = end && length.is_none_or(|length| length == 0);
        HeadersStatus::StopIteration
    }

    fn router_data(&mut self, frame: &mut Frame, end: bool) -> DataStatus {
        let data = match frame {
            Frame::Fresh(data) => mem::take(data),
            Frame::Buffered => self.take_buffered(Way::Request),
            Frame::None => Vec::new(),
        };
        if let Some(upstream) = &mut self.upstream {
            upstream.body.extend(data);
            if let Some(length) = self.lengths[0] {
                // The upstream reads as much as it was told of, and waits for all of it.
                upstream.body.truncate(usize::try_from(length).unwrap_or(usize::MAX));
                self.upstream_complete = end && upstream.body.len() as u64 == length;
                return DataStatus::StopNoBuffer;
            }
        }
        self.upstream_complete = end;
        DataStatus::StopNoBuffer
    }

    fn router_trailers(&mut self) -> TrailersStatus {
        let trailers = self.data_of_stream().trailers[0]
            .as_ref()
            .map(HeaderMap::to_plain)
            .unwrap_or_default();
        if let Some(upstream) = &mut self.upstream {
            upstream.trailers = trailers;
        }
        self.upstream_complete = true;
        TrailersStatus::StopIteration
    }

    // Small things.

    /// The stream's data is in the world as long as the stream is.
    fn data_of_stream(&mut self) -> &mut StreamData {
        self.world.stream.get_or_insert_with(StreamData::empty)
    }

    fn flow(&mut self, way: Way) -> &mut super::world::Flow {
        &mut self.data_of_stream().flows[way.at()]
    }

    fn has_trailers(&mut self, way: Way) -> bool {
        self.data_of_stream().trailers[way.at()].is_some()
    }

    fn complete(&self, way: Way) -> bool {
        match way {
            Way::Request => self.request_complete,
            Way::Response => self.local_complete,
        }
    }

    /// What was held back goes on; the buffer stays, empty.
    fn take_buffered(&mut self, way: Way) -> Vec<u8> {
        let flow = self.flow(way);
        flow.above_limit = false;
        flow.buffered.as_mut().map(mem::take).unwrap_or_default()
    }
}

/// Whether there is a number.
fn is_status(headers: &HeaderMap) -> bool {
    let status = headers
        .get(b":status")
        .and_then(|status| std::str::from_utf8(status).ok());
    status.is_some_and(|status| status.parse::<u16>().is_ok())
}

/// The body's length as header lines say it. Those come from a filter or an upstream, and Envoy's HTTP/1 codec sends them as they are.
fn length_of(headers: &HeaderMap) -> Option<u64> {
    std::str::from_utf8(headers.get(b"content-length")?).ok()?.parse().ok()
}

fn status_of(headers: &HeaderMap) -> u16 {
    let status = headers
        .get(b":status")
        .and_then(|status| std::str::from_utf8(status).ok());
    status.and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// Percent-encoded as gRPC has it (PROTOCOL-HTTP2, Percent-Encoded), with `~` as Envoy does.
fn grpc_message(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b'%' | ..b' ' | b'~'.. => out.extend(format!("%{byte:02X}").into_bytes()),
            plain => out.push(*plain),
        }
    }
    out
}
