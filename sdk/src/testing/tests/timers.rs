//! The shell's promises about waits: many that are due at once, the ways to wake them, clients that leave.

use std::time::Duration;

use super::{GET, start};
use crate::testing::scripted::Called;
use crate::testing::{Host, Outcome, Plugin, Stream};
use crate::{Decision, Status};

const WAIT: Duration = Duration::from_millis(20);

/// A plugin that holds every request for the same time.
fn waits() -> (Host, Plugin) {
    start(|called| match called {
        Called::Request(_) => Ok(Decision::wait(WAIT)),
        Called::Timer => Ok(Decision::next().set("x-waited", "1")),
        _ => Ok(Decision::next()),
    })
}

fn begin(plugin: &Plugin, count: usize) -> Vec<Stream> {
    let mut streams: Vec<Stream> = (0..count).map(|_| plugin.stream()).collect();
    for stream in &mut streams {
        assert_eq!(stream.request(&GET).outcome, Outcome::Waiting);
    }
    streams
}

fn waiting(streams: &[Stream]) -> usize {
    streams.iter().filter(|stream| stream.seen_request().outcome == Outcome::Waiting).count()
}

#[track_caller]
fn is_quiet(host: &Host) {
    let state = host.state.borrow();
    assert!(state.roots.values().all(|root| root.tick.is_none()), "the tick is off when nobody waits");
    assert!(state.queues.iter().all(|(.., items)| items.is_empty()), "nothing is left in a queue");
}

#[test]
fn all_that_are_due_at_once_go_on_at_once() {
    let (mut host, plugin) = waits();
    for round in 1..=2 {
        let streams = begin(&plugin, 1000);
        host.advance(WAIT.saturating_sub(Duration::from_millis(1)));
        assert_eq!(waiting(&streams), 1000, "round {round}");
        host.advance(Duration::from_millis(1));
        assert_eq!(waiting(&streams), 0, "round {round}");
        assert_eq!(streams[999].seen_request().header("x-waited"), Some("1"));
        is_quiet(&host);
    }
    assert_eq!(host.state.borrow().queues.len(), 1, "a plugin registers its queue once");
}

#[test]
fn few_that_are_due_need_no_queue() {
    let (mut host, plugin) = waits();
    let streams = begin(&plugin, 32);
    host.advance(WAIT);
    assert_eq!(waiting(&streams), 0);
    assert!(host.state.borrow().queues.is_empty());
}

#[test]
fn without_a_queue_the_next_ticks_wake_the_others() {
    for call in [
        "random_get",
        "proxy_register_shared_queue",
        "proxy_enqueue_shared_queue",
        "proxy_dequeue_shared_queue",
    ] {
        let (mut host, plugin) = waits();
        host.fail(call, Status::Unimplemented);
        let streams = begin(&plugin, 320);
        host.advance(WAIT + Duration::from_millis(10));
        assert_eq!(waiting(&streams), 0, "{call}");
        assert!(host.state.borrow().roots.values().all(|root| root.tick.is_none()), "{call}");
    }
}

#[test]
fn a_client_that_leaves_takes_its_timer_with_it() {
    let (mut host, plugin) = waits();
    let mut streams = begin(&plugin, 100);
    // Those in the middle leave, then all of them.
    streams.drain(20..80).for_each(Stream::end);
    host.advance(WAIT);
    assert_eq!(waiting(&streams), 0);
    is_quiet(&host);
    begin(&plugin, 100).into_iter().for_each(Stream::end);
    host.advance(WAIT);
    is_quiet(&host);
}
