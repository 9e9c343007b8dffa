//! How headers, data and trailers pass the chain and are held: Envoy's filter manager (`FLOW-01` to `FLOW-14`, `BODY-*`, `LIFE-10`).

use super::Replay;
use crate::host::{Access, Slot, View};

/// The state of one filter for one stream, in both directions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flows {
    pub(super) request: Flow,
    pub(super) response: Flow,
}

impl Flows {
    /// Whether the filter holds that direction.
    pub(super) fn holds(&self, response: bool) -> bool {
        let flow = if response { self.response } else { self.request };
        flow.hold != Hold::No
    }
}

/// The state of one filter in one direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flow {
    hold: Hold,
    /// The headers went on to the next filter.
    passed: bool,
    /// The filter has the end of the stream.
    ended: bool,
}

/// Whether a filter holds the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Hold {
    #[default]
    No,
    /// Its callbacks go on.
    Stop,
    /// Its callbacks stop, data is kept.
    All { watermark: bool },
}

/// Envoy's default `per_connection_buffer_limit_bytes` (`BODY-12`).
const BUFFER_BYTES: usize = 1 << 20;

impl Replay {
    fn flow(&mut self, at: Slot, filter: usize, response: bool) -> &mut Flow {
        let flows = &mut self.lives[at].flows[filter];
        if response { &mut flows.response } else { &mut flows.request }
    }

    /// The filter at a place of the way: responses run backwards (`LIFE-01`).
    fn filter_at(&self, at: Slot, place: usize, response: bool) -> usize {
        if response { self.lives[at].flows.len() - 1 - place } else { place }
    }

    pub(super) fn stopped(&self, at: Slot, response: bool) -> bool {
        self.lives[at].run.over
            || if response { self.lives[at].run.encode_aborted } else { self.lives[at].run.decode_aborted }
    }

    /// Gives headers to the filters from `place` on.
    pub(super) fn pass_headers(&mut self, at: Slot, response: bool, place: usize, end: bool) {
        if response {
            self.active(at);
        }
        for place in place..self.lives[at].flows.len() {
            let filter = self.filter_at(at, place, response);
            self.flow(at, filter, response).ended = end;
            let status = self.call_headers(at, filter, response, end);
            if self.stopped(at, response) {
                return;
            }
            let allowed =
                self.plugins[self.host.streams[at].filters[filter].plugin].allow_on_headers_stop_iteration;
            let hold = match status {
                0 | 2 => Hold::No,
                1 if allowed => Hold::Stop,
                3 => Hold::All { watermark: false },
                _ => Hold::All { watermark: true },
            };
            if hold == Hold::No {
                self.access(at, filter, response).headers = false;
                self.flow(at, filter, response).passed = true;
            } else {
                self.flow(at, filter, response).hold = hold;
                return;
            }
        }
        if response { self.client_headers(at, end) } else { self.router_headers(at, end) }
    }

    /// Gives the passing (or the held) data to the filters from `place` on.
    pub(super) fn pass_data(&mut self, at: Slot, response: bool, place: usize, view: View, end: bool) {
        self.active(at);
        for place in place..self.lives[at].flows.len() {
            let filter = self.filter_at(at, place, response);
            if let Hold::All { watermark } = self.flow(at, filter, response).hold {
                self.hold_data(at, response, view, watermark);
                return;
            }
            if self.flow(at, filter, response).ended {
                return;
            }
            let last = end && !self.host.streams[at].side(response).has_trailers;
            self.flow(at, filter, response).ended = last;
            let status = self.call_body(at, filter, response, view, last);
            if self.stopped(at, response) {
                return;
            }
            self.access(at, filter, response).buffering = status == 1;
            let held = self.flow(at, filter, response).hold != Hold::No;
            match status {
                0 if held => {
                    self.hold_data(at, response, view, true);
                    self.release(at, filter, response);
                    return;
                }
                0 => {}
                1 | 2 => {
                    self.flow(at, filter, response).hold = Hold::Stop;
                    self.hold_data(at, response, view, status == 2);
                    return;
                }
                _ => {
                    self.flow(at, filter, response).hold = Hold::Stop;
                    let side = self.host.streams[at].side_mut(response);
                    if view == View::Chunk {
                        side.chunk.clear();
                        if last {
                            // So that the end goes on when the filter does.
                            side.buffered.get_or_insert_default();
                        }
                    } else {
                        side.buffered = last.then(Vec::new);
                    }
                    return;
                }
            }
        }
        let side = self.host.streams[at].side_mut(response);
        let data = match view {
            View::Buffered => side.buffered.take().unwrap_or_default(),
            _ => std::mem::take(&mut side.chunk),
        };
        if response {
            self.client_data(at, &data, end)
        } else {
            self.router_data(at, &data, end)
        }
        // The memory of the chunk is used again.
        let side = self.host.streams[at].side_mut(response);
        if side.chunk.is_empty() {
            side.chunk = data;
            side.chunk.clear();
        }
    }

    /// Gives trailers to the filters from `place` on.
    pub(super) fn pass_trailers(&mut self, at: Slot, response: bool, place: usize) {
        self.active(at);
        for place in place..self.lives[at].flows.len() {
            let filter = self.filter_at(at, place, response);
            if matches!(self.flow(at, filter, response).hold, Hold::All { .. }) {
                return;
            }
            self.flow(at, filter, response).ended = true;
            let status = self.call_trailers(at, filter, response);
            if self.stopped(at, response) {
                return;
            }
            if status != 0 {
                if self.flow(at, filter, response).hold == Hold::No {
                    self.flow(at, filter, response).hold = Hold::Stop;
                }
                return;
            }
            self.access(at, filter, response).trailers = false;
            if self.flow(at, filter, response).hold == Hold::Stop {
                self.release(at, filter, response);
                return;
            }
        }
        if response { self.client_trailers(at) } else { self.router_trailers(at) }
    }

    /// Lets the stream go on behind `filter`, with all that was held.
    pub(super) fn release(&mut self, at: Slot, filter: usize, response: bool) {
        if self.stopped(at, response) {
            return;
        }
        let flow = self.flow(at, filter, response);
        let all = matches!(flow.hold, Hold::All { .. });
        flow.hold = Hold::No;
        let passed = std::mem::replace(&mut flow.passed, true);
        let place = self.filter_at(at, filter, response);
        let from = if all { place } else { place + 1 };
        let side = self.host.streams[at].side(response);
        let (complete, had_trailers) = (side.complete, side.has_trailers && side.trailers_came);
        if !passed {
            let end = complete && side.buffered.is_none() && !had_trailers;
            self.pass_headers(at, response, place + 1, end);
        }
        if self.stopped(at, response) {
            return;
        }
        if self.host.streams[at].side(response).buffered.is_some() {
            self.pass_data(at, response, from, View::Buffered, complete && !had_trailers);
        }
        if had_trailers && !self.stopped(at, response) {
            self.pass_trailers(at, response, from);
        }
    }

    pub(super) fn access(&mut self, at: Slot, filter: usize, response: bool) -> &mut Access {
        let filter = &mut self.host.streams[at].filters[filter];
        if response { &mut filter.response } else { &mut filter.request }
    }

    /// Keeps passing data back; too much of it ends the stream (`BODY-12` to `BODY-14`).
    fn hold_data(&mut self, at: Slot, response: bool, view: View, watermark: bool) {
        let side = self.host.streams[at].side_mut(response);
        if view == View::Chunk {
            side.hold_chunk();
        }
        let too_much = side.buffered.as_ref().is_some_and(|held| held.len() > BUFFER_BYTES);
        if too_much && !watermark {
            self.overflow(at, response);
        }
    }
}
