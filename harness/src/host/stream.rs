//! A stream of an exchange that is replayed: its messages, what each filter may touch of them, and what the proxy notes about it.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Notes;
use crate::exchange::Protocol;
use crate::headers::{Headers, Kind};
use crate::routes::Selection;

/// The stream.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Counts the exchanges of the replay.
    pub number: u64,
    /// Which worker serves it, from 0.
    pub worker: usize,
    pub phase: Phase,
    pub request: Side,
    pub response: Side,
    /// The chain's filters, in order.
    pub filters: Vec<Filter>,
    pub info: Info,
    /// Filter state: key (`wasm.x`, `envoy.x`) and value, in order of first setting.
    pub filter_state: Vec<(Vec<u8>, Vec<u8>)>,
    /// The random number of the stream, for weighted clusters and runtime fractions.
    pub random: u64,
    /// A filter changed request headers, so that the route must be chosen again (`HDR-40`).
    pub route_stale: bool,
    /// What is to be told of the exchange.
    pub notes: Notes,
}

/// Where the stream is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// There is none.
    #[default]
    None,
    /// It is going on.
    Open,
    /// `on_log` runs: everything can be read (`LIFE-07`).
    Log,
    /// `on_done` and `on_delete` run (`LIFE-08`).
    Done,
}

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Side {
    pub headers: Headers,
    /// Whether the headers have come.
    pub present: bool,
    pub trailers: Headers,
    /// Whether there are trailers.
    pub has_trailers: bool,
    /// Data that a filter holds back.
    pub buffered: Option<Vec<u8>>,
    /// Data that is passing now.
    pub chunk: Vec<u8>,
    /// The trailers came from the wire; otherwise a filter made them (`HDR-07`).
    pub trailers_came: bool,
    /// All of the message has come.
    pub complete: bool,
    /// How many body bytes have come.
    pub bytes: u64,
}

/// What the proxy keeps for one filter and this stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Filter {
    pub plugin: usize,
    pub root: usize,
    pub vm: usize,
    /// Its context; 0 as long as there is none (`LIFE-02`).
    pub id: u32,
    pub request: Access,
    pub response: Access,
}

/// What a filter can reach of one direction now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Access {
    /// Its header map (`HDR-01`).
    pub headers: bool,
    /// Its trailers.
    pub trailers: bool,
    /// The data that its body callback runs for.
    pub view: View,
    /// Its last body callback returned 1 (`BODY-01`).
    pub buffering: bool,
    /// Its body callback has the last data, so that trailers can be made (`HDR-07`).
    pub last: bool,
}

/// Where the data of a body callback is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum View {
    /// There is none.
    #[default]
    None,
    /// In [`Side::chunk`].
    Chunk,
    /// In [`Side::buffered`].
    Buffered,
}

/// A local reply as a filter asked for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub status: u32,
    pub headers: Headers,
    pub body: Vec<u8>,
    pub grpc_status: i32,
    pub details: String,
}

/// What the proxy notes about the stream.
#[derive(Clone, Debug)]
pub(crate) struct Info {
    pub start_ns: u64,
    pub end_ns: Option<u64>,
    pub protocol: Protocol,
    pub tls: bool,
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub connection_id: u64,
    pub code: Option<u16>,
    pub details: String,
    /// The legacy bit vector of `response.flags`.
    pub flags: u64,
    pub route: Option<Selection>,
    pub cluster: Option<Arc<str>>,
    /// The request was sent upstream.
    pub upstream: bool,
    /// How long the upstream took to answer.
    pub upstream_ns: u64,
}

/// Where Weir's listener stands: Envoy's documentation uses this port.
const LISTENER: SocketAddr =
    SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 10000));

impl Default for Info {
    fn default() -> Self {
        Self {
            start_ns: 0,
            end_ns: None,
            protocol: Protocol::default(),
            tls: false,
            source: SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 40000)),
            destination: LISTENER,
            connection_id: 0,
            code: None,
            details: String::new(),
            flags: 0,
            route: None,
            cluster: None,
            upstream: false,
            upstream_ns: 0,
        }
    }
}

impl Side {
    /// Keeps the passing data back.
    pub(crate) fn hold_chunk(&mut self) {
        let held = self.buffered.get_or_insert_default();
        held.append(&mut self.chunk);
    }

    fn clear(&mut self) {
        self.headers.clear();
        self.present = false;
        self.trailers.clear();
        self.has_trailers = false;
        self.trailers_came = false;
        self.complete = false;
        self.buffered = None;
        self.chunk.clear();
        self.bytes = 0;
    }
}

impl Stream {
    /// Makes room for another exchange and keeps memory.
    pub(crate) fn reset(&mut self, chain: &[Filter]) {
        self.phase = Phase::None;
        self.request.clear();
        self.response.clear();
        self.filters.clear();
        self.filters.extend_from_slice(chain);
        self.info = Info::default();
        self.filter_state.clear();
        self.route_stale = false;
        self.notes.clear();
    }

    /// One direction.
    pub(crate) fn side(&self, response: bool) -> &Side {
        if response { &self.response } else { &self.request }
    }

    /// One direction, to change it.
    pub(crate) fn side_mut(&mut self, response: bool) -> &mut Side {
        if response { &mut self.response } else { &mut self.request }
    }

    /// A header map as `filter` may read it, numbered as in the ABI (`HDR-01`, `LIFE-07`).
    pub(crate) fn map(&self, filter: usize, map: u32) -> Option<&Headers> {
        let filter = self.filters.get(filter)?;
        let log = self.phase == Phase::Log;
        match map {
            0 if filter.request.headers || (log && self.request.present) => Some(&self.request.headers),
            1 if filter.request.trailers => Some(&self.request.trailers),
            2 if filter.response.headers || (log && self.response.present) => Some(&self.response.headers),
            3 if filter.response.trailers || (log && self.response.has_trailers) => {
                Some(&self.response.trailers)
            }
            _ => None,
        }
    }

    /// A header map as `filter` may change it, and how its lines join. Trailers come to be with the first change (`HDR-07`).
    pub(crate) fn map_mut(&mut self, filter: usize, map: u32) -> Option<(&mut Headers, Kind)> {
        let filter = *self.filters.get(filter)?;
        if self.phase != Phase::Open {
            return None;
        }
        let creates = |access: Access| access.last && access.view != View::None;
        match map {
            0 if filter.request.headers => {
                self.route_stale = true;
                Some((&mut self.request.headers, Kind::Request))
            }
            1 if filter.request.trailers || creates(filter.request) => {
                self.request.has_trailers = true;
                Some((&mut self.request.trailers, Kind::Trailers))
            }
            2 if filter.response.headers => Some((&mut self.response.headers, Kind::Response)),
            3 if filter.response.trailers || creates(filter.response) => {
                self.response.has_trailers = true;
                Some((&mut self.response.trailers, Kind::Trailers))
            }
            _ => None,
        }
    }

    /// Whether it is going on.
    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// The body data that `filter` sees now (`BODY-01`, `BODY-05`).
    pub(crate) fn body(&self, filter: usize, response: bool) -> Option<&Vec<u8>> {
        let filter = self.filters.get(filter)?;
        let side = self.side(response);
        match if response { filter.response } else { filter.request } {
            Access { view: View::Chunk, .. } => Some(&side.chunk),
            Access { view: View::Buffered, .. } | Access { buffering: true, .. } => side.buffered.as_ref(),
            _ => None,
        }
    }

    /// The same, to change it.
    pub(crate) fn body_mut(&mut self, filter: usize, response: bool) -> Option<&mut Vec<u8>> {
        let filter = *self.filters.get(filter)?;
        if !self.is_open() {
            return None;
        }
        let side = self.side_mut(response);
        match if response { filter.response } else { filter.request } {
            Access { view: View::Chunk, .. } => Some(&mut side.chunk),
            Access { view: View::Buffered, .. } | Access { buffering: true, .. } => side.buffered.as_mut(),
            _ => None,
        }
    }

    /// Stores filter state.
    pub(crate) fn set_filter_state(&mut self, key: &[u8], value: &[u8]) {
        match self.filter_state.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => {
                old.clear();
                old.extend_from_slice(value);
            }
            None => self.filter_state.push((key.to_vec(), value.to_vec())),
        }
    }

    /// Reads filter state.
    pub(crate) fn filter_state(&self, key: &[u8]) -> Option<&[u8]> {
        self.filter_state.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_slice())
    }
}
