//! How headers, data and trailers pass the chain and are held: Envoy's filter manager (`FLOW-01` to `FLOW-14`, `BODY-*`, `LIFE-10`).

use super::Replay;
use crate::host::{Access, View};

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
    fn flow(&mut self, filter: usize, response: bool) -> &mut Flow {
        let flows = &mut self.flows[filter];
        if response { &mut flows.response } else { &mut flows.request }
    }

    /// The filter at a place of the way: responses run backwards (`LIFE-01`).
    fn filter_at(&self, place: usize, response: bool) -> usize {
        if response { self.flows.len() - 1 - place } else { place }
    }

    pub(super) fn stopped(&self, response: bool) -> bool {
        self.run.over || if response { self.run.encode_aborted } else { self.run.decode_aborted }
    }

    /// Gives headers to the filters from `place` on.
    pub(super) fn pass_headers(&mut self, response: bool, place: usize, end: bool) {
        for place in place..self.flows.len() {
            let filter = self.filter_at(place, response);
            self.flow(filter, response).ended = end;
            let status = self.call_headers(filter, response, end);
            if self.stopped(response) {
                return;
            }
            let allowed =
                self.plugins[self.host.stream.filters[filter].plugin].allow_on_headers_stop_iteration;
            let hold = match status {
                0 | 2 => Hold::No,
                1 if allowed => Hold::Stop,
                3 => Hold::All { watermark: false },
                _ => Hold::All { watermark: true },
            };
            if hold == Hold::No {
                self.access(filter, response).headers = false;
                self.flow(filter, response).passed = true;
            } else {
                self.flow(filter, response).hold = hold;
                return;
            }
        }
        if response { self.client_headers(end) } else { self.router_headers(end) }
    }

    /// Gives the passing (or the held) data to the filters from `place` on.
    pub(super) fn pass_data(&mut self, response: bool, place: usize, view: View, end: bool) {
        for place in place..self.flows.len() {
            let filter = self.filter_at(place, response);
            if let Hold::All { watermark } = self.flow(filter, response).hold {
                self.hold_data(response, view, watermark);
                return;
            }
            if self.flow(filter, response).ended {
                return;
            }
            let last = end && !self.host.stream.side(response).has_trailers;
            self.flow(filter, response).ended = last;
            let status = self.call_body(filter, response, view, last);
            if self.stopped(response) {
                return;
            }
            self.access(filter, response).buffering = status == 1;
            let held = self.flow(filter, response).hold != Hold::No;
            match status {
                0 if held => {
                    self.hold_data(response, view, true);
                    self.release(filter, response);
                    return;
                }
                0 => {}
                1 | 2 => {
                    self.flow(filter, response).hold = Hold::Stop;
                    self.hold_data(response, view, status == 2);
                    return;
                }
                _ => {
                    self.flow(filter, response).hold = Hold::Stop;
                    let side = self.host.stream.side_mut(response);
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
        let side = self.host.stream.side_mut(response);
        let data = match view {
            View::Buffered => side.buffered.take().unwrap_or_default(),
            _ => std::mem::take(&mut side.chunk),
        };
        if response {
            self.client_data(&data, end)
        } else {
            self.router_data(&data, end)
        }
        // The memory of the chunk is used again.
        let side = self.host.stream.side_mut(response);
        if side.chunk.is_empty() {
            side.chunk = data;
            side.chunk.clear();
        }
    }

    /// Gives trailers to the filters from `place` on.
    pub(super) fn pass_trailers(&mut self, response: bool, place: usize) {
        for place in place..self.flows.len() {
            let filter = self.filter_at(place, response);
            if matches!(self.flow(filter, response).hold, Hold::All { .. }) {
                return;
            }
            self.flow(filter, response).ended = true;
            let status = self.call_trailers(filter, response);
            if self.stopped(response) {
                return;
            }
            if status != 0 {
                if self.flow(filter, response).hold == Hold::No {
                    self.flow(filter, response).hold = Hold::Stop;
                }
                return;
            }
            self.access(filter, response).trailers = false;
            if self.flow(filter, response).hold == Hold::Stop {
                self.release(filter, response);
                return;
            }
        }
        if response { self.client_trailers() } else { self.router_trailers() }
    }

    /// Lets the stream go on behind `filter`, with all that was held.
    pub(super) fn release(&mut self, filter: usize, response: bool) {
        if self.stopped(response) {
            return;
        }
        let flow = self.flow(filter, response);
        let all = matches!(flow.hold, Hold::All { .. });
        flow.hold = Hold::No;
        let passed = std::mem::replace(&mut flow.passed, true);
        let place = self.filter_at(filter, response);
        let from = if all { place } else { place + 1 };
        let side = self.host.stream.side(response);
        let (complete, had_trailers) = (side.complete, side.has_trailers && side.trailers_came);
        if !passed {
            let end = complete && side.buffered.is_none() && !had_trailers;
            self.pass_headers(response, place + 1, end);
        }
        if self.stopped(response) {
            return;
        }
        if self.host.stream.side(response).buffered.is_some() {
            self.pass_data(response, from, View::Buffered, complete && !had_trailers);
        }
        if had_trailers && !self.stopped(response) {
            self.pass_trailers(response, from);
        }
    }

    pub(super) fn access(&mut self, filter: usize, response: bool) -> &mut Access {
        let filter = &mut self.host.stream.filters[filter];
        if response { &mut filter.response } else { &mut filter.request }
    }

    /// Keeps passing data back; too much of it ends the stream (`BODY-12` to `BODY-14`).
    fn hold_data(&mut self, response: bool, view: View, watermark: bool) {
        let side = self.host.stream.side_mut(response);
        if view == View::Chunk {
            side.hold_chunk();
        }
        let too_much = side.buffered.as_ref().is_some_and(|held| held.len() > BUFFER_BYTES);
        if too_much && !watermark {
            self.overflow(response);
        }
    }
}
