//! Where a stream stands: what it waits for, and what its callbacks answer meanwhile. Calls nothing.

use super::timers::TimerKey;
use super::wire::{MapType, Side};

/// A part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Headers,
    Body,
    Trailers,
}

/// A place in a stream where a callback stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) side: Side,
    pub(crate) section: Section,
    pub(crate) end_of_stream: bool,
}

impl Point {
    /// The map that mutations change.
    pub(crate) fn map(self) -> MapType {
        match (self.side, self.section) {
            (Side::Request, Section::Trailers) => MapType::RequestTrailers,
            (Side::Response, Section::Trailers) => MapType::ResponseTrailers,
            (Side::Request, _) => MapType::RequestHeaders,
            (Side::Response, _) => MapType::ResponseHeaders,
        }
    }

    /// The answer of a callback that holds the stream here.
    pub(crate) fn hold(self) -> Action {
        match self.section {
            Section::Headers => Action::StopAll,
            Section::Body | Section::Trailers => Action::Stop,
        }
    }
}

/// What a callback answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The next filter goes on.
    Continue = 0,
    /// Bodies: hold this and call again with more (`StopIterationAndBuffer`). Trailers: hold.
    Stop = 1,
    /// Headers: hold everything (`StopAllIterationAndWatermark`). Not 1, as with `allow_on_headers_stop_iteration` Envoy would go on
    /// to call for the body and release the headers with it (`FLOW-02`).
    StopAll = 4,
}

/// What ends a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// The answer of this call.
    Callout(u32),
    /// This timer.
    Timer(TimerKey),
    /// Nothing: the stream has been answered or reset, or ought to have been.
    Never,
}

/// A half of a stream that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) point: Point,
    pub(crate) until: Until,
}

/// What holds the halves of a stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Holds([Option<Hold>; 2]);

impl Holds {
    /// Where this half waits, if it is for that.
    #[inline(never)]
    pub(crate) fn waits(&self, side: Side, until: &Until) -> Option<Point> {
        let [request, response] = &self.0;
        let hold = match side {
            Side::Request => request,
            Side::Response => response,
        };
        hold.as_ref().filter(|hold| hold.until == *until).map(|hold| hold.point)
    }

    pub(crate) fn of(&mut self, side: Side) -> &mut Option<Hold> {
        let [request, response] = &mut self.0;
        match side {
            Side::Request => request,
            Side::Response => response,
        }
    }

    /// Whether this half is held; notes that it has come to its end meanwhile.
    pub(crate) fn see(&mut self, point: Point) -> bool {
        let Some(hold) = self.of(point.side) else {
            return false;
        };
        hold.point.end_of_stream |= point.end_of_stream || point.section == Section::Trailers;
        true
    }

    /// The timers that the stream waits for.
    pub(crate) fn timers(&self) -> impl Iterator<Item = TimerKey> {
        self.0.into_iter().flatten().filter_map(|hold| match hold.until {
            Until::Timer(key) => Some(key),
            Until::Callout(_) | Until::Never => None,
        })
    }
}
