//! Which callbacks a filter has registered.

use std::ops::BitOr;

/// A set of callbacks. Made by [`register!`](crate::register); each costs every stream, so a filter names those it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Callbacks(u16);

#[expect(missing_docs, reason = "the names are those of `HttpFilter`")]
impl Callbacks {
    pub const NONE: Self = Self(0);
    pub const ON_REQUEST_HEADERS: Self = Self(1);
    pub const ON_REQUEST_BODY: Self = Self(1 << 1);
    pub const ON_REQUEST_TRAILERS: Self = Self(1 << 2);
    pub const ON_RESPONSE_HEADERS: Self = Self(1 << 3);
    pub const ON_RESPONSE_BODY: Self = Self(1 << 4);
    pub const ON_RESPONSE_TRAILERS: Self = Self(1 << 5);
    pub const ON_CALLOUT_REPLY: Self = Self(1 << 6);
    pub const ON_TIMER: Self = Self(1 << 7);
    pub const ON_LOG: Self = Self(1 << 8);
    pub const ON_PLUGIN_CALLOUT_REPLY: Self = Self(1 << 9);
    pub const ON_PLUGIN_TIMER: Self = Self(1 << 10);
    pub const ON_GRPC_REPLY: Self = Self(1 << 11);
    pub const ON_PLUGIN_GRPC_REPLY: Self = Self(1 << 12);
    /// Those that hear answers of calls.
    pub(crate) const REPLIES: Self = Self::ON_CALLOUT_REPLY
        .with(Self::ON_PLUGIN_CALLOUT_REPLY)
        .with(Self::ON_GRPC_REPLY)
        .with(Self::ON_PLUGIN_GRPC_REPLY);
    pub const ALL: Self = Self((1 << 13) - 1);

    /// The callbacks of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether one of `others` is in the set.
    #[must_use]
    pub const fn has(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }
}

impl BitOr for Callbacks {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.with(other)
    }
}

/// A filter that [`register!`](crate::register) has been called for.
pub trait Registered {
    /// The callbacks it has; the host calls no other.
    const CALLBACKS: Callbacks;
}
