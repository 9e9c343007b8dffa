//! `Request`, `Response`, bodies and trailers: views of one callback, which fetch what is asked, once.
//!
//! A look-up cannot fail half-way through a policy: it answers as if nothing were there, the view remembers the refusal, and the
//! callback counts as failed ([`View::failure`]).

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::time::SystemTime;

use super::plugin::time_of;
use super::wire::{self, BufferType, MapType};
use super::{HostError, PluginHost, Status, abi};
use crate::headers::EMPTY;
use crate::{Attributes, HeaderMap, Headers};

/// What all views have.
pub(crate) struct View {
    plugin: PluginHost,
    end_of_stream: bool,
    now_ns: OnceCell<u64>,
    failure: Cell<Option<HostError>>,
}

impl View {
    fn new(plugin: &PluginHost, end_of_stream: bool) -> Self {
        Self { plugin: plugin.clone(), end_of_stream, now_ns: OnceCell::new(), failure: Cell::new(None) }
    }

    /// The first refusal that a look-up met.
    pub(crate) fn failure(&self) -> Option<HostError> {
        self.failure.get()
    }

    fn note<T>(&self, result: Result<T, HostError>) -> Option<T> {
        result.inspect_err(|error| self.refused(error)).ok()
    }

    #[inline(never)]
    fn refused(&self, error: &HostError) {
        if self.failure.get().is_none() {
            self.failure.set(Some(*error));
        }
    }

    fn now_ns(&self) -> u64 {
        *self.now_ns.get_or_init(|| self.note(self.plugin.now_ns()).unwrap_or(0))
    }

    fn attribute(&self, path: &[&str]) -> Option<Vec<u8>> {
        match abi::property(&wire::path(path)) {
            // A whole group, or a message that is not set (`PROP-03`, `PROP-10`).
            Err(error) if error.status == Status::SerializationFailure => None,
            result => self.note(result).flatten(),
        }
    }
}

/// A view of a header map.
pub(crate) struct Block {
    pub(crate) view: View,
    which: MapType,
    map: OnceCell<HeaderMap>,
}

impl Block {
    #[inline(never)]
    pub(crate) fn new(plugin: &PluginHost, which: MapType, end_of_stream: bool) -> Self {
        Self { view: View::new(plugin, end_of_stream), which, map: OnceCell::new() }
    }

    /// The map, where somebody has asked for it.
    pub(crate) fn into_known(self) -> Option<HeaderMap> {
        self.map.into_inner()
    }

    fn map(&self) -> &HeaderMap {
        if self.map.get().is_none() {
            let _ = self.map.set(self.view.note(read_map(self.which)).unwrap_or_default());
        }
        self.map.get().unwrap_or(&EMPTY)
    }
}

/// One bulk read: two single look-ups cost as much (`performance.md`).
pub(crate) fn read_map(which: MapType) -> Result<HeaderMap, HostError> {
    let bytes = abi::header_pairs(which)?;
    HeaderMap::from_pairs(bytes).ok_or(HostError::new("proxy_get_header_map_pairs", Status::ParseFailure))
}

macro_rules! view {
    ($(#[$doc:meta])* $name:ident, $field:ident $(. $view:ident)?) => {
        $(#[$doc])*
        pub struct $name(pub(crate) $field);

        impl $name {
            /// The plugin that this stream belongs to: metrics, shared data, calls that nobody waits for.
            #[must_use]
            pub fn plugin(&self) -> &PluginHost {
                &self.0 $(.$view)? .plugin
            }

            /// The time of day; asked once a callback.
            #[must_use]
            pub fn now(&self) -> SystemTime {
                time_of(self.now_ns())
            }

            /// As [`now`](Self::now), in nanoseconds since 1970.
            #[must_use]
            pub fn now_ns(&self) -> u64 {
                self.0 $(.$view)? .now_ns()
            }

            /// A random number, uniform over `u64`; see [`PluginHost::random`].
            #[must_use]
            pub fn random(&self) -> u64 {
                self.plugin().random()
            }

            /// Whether nothing more comes: no body, or no more of it, and no trailers.
            #[must_use]
            pub fn end_of_stream(&self) -> bool {
                self.0 $(.$view)? .end_of_stream
            }
        }

        impl Attributes for $name {
            /// `None` where Envoy knows no such attribute at this time (`PROP-10`).
            fn attribute(&self, path: &[&str]) -> Option<Vec<u8>> {
                self.0 $(.$view)? .attribute(path)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

macro_rules! header_view {
    ($(#[$doc:meta])* $name:ident) => {
        view!($(#[$doc])* $name, Block.view);

        impl Headers for $name {
            fn map(&self) -> &HeaderMap {
                self.0.map()
            }
        }
    };
}

header_view! {
    /// A request whose headers have come.
    Request
}
header_view! {
    /// A response whose headers have come. The request's are not readable any more (`HDR-03`): remember what is needed in
    /// [`HttpFilter::Stream`](crate::HttpFilter::Stream).
    Response
}
header_view! {
    /// The trailers of a request. Mutations change the trailers.
    RequestTrailers
}
header_view! {
    /// The trailers of a response. Mutations change the trailers.
    ResponseTrailers
}
view! {
    /// A part of a body, or all of it so far where the last decision was [`Flow::Buffer`](crate::Flow::Buffer) (`BODY-01`).
    Body, Part
}

/// What a [`Body`] is made of.
pub(crate) struct Part {
    view: View,
    which: BufferType,
    size: usize,
}

impl Part {
    pub(crate) fn new(plugin: &PluginHost, which: BufferType, size: u32, end_of_stream: bool) -> Self {
        Self {
            view: View::new(plugin, end_of_stream),
            which,
            size: usize::try_from(size).unwrap_or(usize::MAX),
        }
    }
}

impl std::ops::Deref for Part {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}

impl Body {
    /// How many bytes are here. The last part of an HTTP/1 body is empty (`LIFE-10`).
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.size
    }

    /// Whether no bytes are here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.size == 0
    }

    /// All bytes that are here.
    ///
    /// # Errors
    /// The host refuses.
    pub fn bytes(&self) -> Result<Vec<u8>, HostError> {
        self.range(0, self.0.size)
    }

    /// Bytes from `start`, at most `length`; fewer where the part ends, none behind it.
    ///
    /// # Errors
    /// The host refuses.
    pub fn range(&self, start: usize, length: usize) -> Result<Vec<u8>, HostError> {
        if length == 0 || start >= self.0.size {
            return Ok(Vec::new());
        }
        abi::buffer(self.0.which, start, length).map(Option::unwrap_or_default)
    }

    /// Replaces what is here. `content-length` is not adjusted (`BODY-09`): remove it in the headers callback.
    ///
    /// # Errors
    /// The host refuses.
    pub fn replace(&self, bytes: &[u8]) -> Result<(), HostError> {
        abi::set_buffer(self.0.which, 0, usize::MAX >> 1, bytes)
    }

    /// Adds bytes behind what is here; see [`Body::replace`].
    ///
    /// # Errors
    /// The host refuses.
    pub fn append(&self, bytes: &[u8]) -> Result<(), HostError> {
        abi::set_buffer(self.0.which, usize::MAX >> 1, 0, bytes)
    }
}

/// A stream that is over: both header blocks as they went out, and all attributes (`LIFE-07`).
#[derive(Debug)]
pub struct Ended {
    request: Request,
    response: Response,
    response_trailers: ResponseTrailers,
}

impl Ended {
    pub(crate) fn new(plugin: &PluginHost) -> Self {
        Self {
            request: Request(Block::new(plugin, MapType::RequestHeaders, true)),
            response: Response(Block::new(plugin, MapType::ResponseHeaders, true)),
            response_trailers: ResponseTrailers(Block::new(plugin, MapType::ResponseTrailers, true)),
        }
    }

    /// The request as it was sent on, or as it came when it was not.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The response as the client got it; empty when there was none.
    #[must_use]
    pub fn response(&self) -> &Response {
        &self.response
    }

    /// The response's trailers; empty when there were none.
    #[must_use]
    pub fn response_trailers(&self) -> &ResponseTrailers {
        &self.response_trailers
    }

    /// The plugin that the stream belonged to.
    #[must_use]
    pub fn plugin(&self) -> &PluginHost {
        self.request.plugin()
    }
}

impl Attributes for Ended {
    fn attribute(&self, path: &[&str]) -> Option<Vec<u8>> {
        self.request.attribute(path)
    }
}
