//! Exchanges through a running Envoy, in real time: begun when they are due, overlapping where they shall, and what came of each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Run;
use super::step::{self, Step};
use crate::driver::Begin;
use crate::envoy::EnvoyError;
use crate::envoy::client::PATIENCE;
use crate::envoy::proxy::{LISTENER, Proxy};
use crate::envoy::reading;
use crate::envoy::stage::Received;
use crate::exchange::Message;
use crate::outcome::{LogLine, Outcome};

/// How long a call that the harness made is waited for where Envoy does not make it.
const MISSED: Duration = Duration::from_secs(2);
/// How many times that is waited for; after that Envoy differs anyway.
const MISSES: usize = 5;

/// What is known of an exchange before the access log is read.
#[derive(Debug, Default)]
struct Seen {
    port: u16,
    response: Option<Message>,
    log: Vec<LogLine>,
}

/// Runs all; needs an Envoy with one worker.
pub(super) fn run(
    proxy: &Proxy,
    steps: &[Step<'_>],
    harness: &Run,
    told: &mut dyn FnMut(usize),
) -> Result<Run, EnvoyError> {
    let mut run = Run { start_log: proxy.start_log(), ..Run::default() };
    let mut position = 0;
    drop(proxy.log_since(&mut position));
    let ports = Ports::default();
    let (mut seen, mut misses, mut calls) = (Vec::new(), 0, 0);
    // What filters say when the answer of a call comes may be said in the midst of a later exchange.
    let calling = steps.iter().any(|step| step.calls > 0);
    let begun = Instant::now();
    let first_ns = steps.first().and_then(|step| step.planned.exchange.start_ns).unwrap_or_default();
    for group in step::groups(steps) {
        let mut these = overlapping(proxy, group, seen.len(), (begun, first_ns), &ports)?;
        calls += group.iter().map(|step| step.calls).sum::<usize>();
        if proxy.stage().settle(calls, if misses < MISSES { MISSED } else { Duration::ZERO }).calls < calls {
            misses += 1;
            calls = proxy.stage().activity().calls;
        }
        proxy.fence()?;
        let log = proxy.log_since(&mut position);
        match these.as_mut_slice() {
            [only] if !calling => only.log = log,
            _ => {
                run.loose_log.extend(log);
                run.loose.extend(seen.len()..seen.len() + these.len());
            }
        }
        seen.extend(these);
        told(seen.len());
    }
    proxy.stage().settle(harness.calls.len(), PATIENCE);
    proxy.stage().settle_streams(harness.streamed, MISSED);
    proxy.stage().settle_bodies(MISSED);
    proxy.stage().finish(PATIENCE);
    proxy.fence()?;
    run.loose_log.extend(proxy.log_since(&mut position));
    let mut received: BTreeMap<usize, Received> = BTreeMap::new();
    for one in proxy.received() {
        match one.exchange {
            Some(number) => drop(received.entry(number).or_insert(one)),
            None => run.calls.push((one.cluster, one.request)),
        }
    }
    let mut entries = by_port(proxy.envoy().access_log(steps.len())?);
    for (number, seen) in seen.into_iter().enumerate() {
        let entry = entries.get_mut(&seen.port).and_then(VecDeque::pop_front);
        let entry = entry.ok_or_else(|| proxy.envoy().unexpected("did not log an exchange"))?;
        let upstream = received.remove(&number).map(|one| (one.cluster, one.request));
        let outcome = reading::outcome(&entry, upstream, seen.response);
        run.outcomes.push(Outcome { log: seen.log, ..outcome });
    }
    run.metrics = proxy.envoy().metrics()?.into_iter().collect();
    Ok(run)
}

/// Runs exchanges that overlap; the first of them is the `first` of all.
fn overlapping(
    proxy: &Proxy,
    group: &[Step<'_>],
    first: usize,
    (begun, first_ns): (Instant, u64),
    ports: &Ports,
) -> Result<Vec<Seen>, EnvoyError> {
    let idle = step::idle(group);
    let mut before = Instant::now();
    thread::scope(|scope| {
        let mut clients = Vec::new();
        for (number, step) in (first..).zip(group) {
            let due = match step.planned.begin {
                Begin::After(pause) => before + pause,
                Begin::Next | Begin::Recorded => begun + step.planned.since(first_ns),
            };
            thread::sleep(due.saturating_duration_since(Instant::now()));
            before = Instant::now();
            let port = ports.take();
            proxy.stage().begin(port, number, step.planned.exchange.response.clone());
            clients.push(scope.spawn(move || {
                let response = proxy.ask_at(&step.planned.exchange, port, step.wait(idle));
                // A request of a client that left may still arrive, and must not be taken for another's.
                if step.planned.exchange.abort_after.is_none() && matches!(response, Ok(Some(_))) {
                    proxy.stage().end(port);
                    ports.give_back(port);
                }
                response.map(|response| Seen { port, response, log: Vec::new() })
            }));
        }
        let join = |client: thread::ScopedJoinHandle<'_, Result<Seen, EnvoyError>>| {
            client
                .join()
                .unwrap_or_else(|_| Err(proxy.envoy().unexpected("was asked by a client that failed")))
        };
        clients.into_iter().map(join).collect()
    })
}

/// Access log entries by the port that the client called, in order.
fn by_port(entries: Vec<Value>) -> BTreeMap<u16, VecDeque<Value>> {
    let mut all: BTreeMap<u16, VecDeque<Value>> = BTreeMap::new();
    for entry in entries {
        all.entry(reading::called(&entry).unwrap_or(LISTENER)).or_default().push_back(entry);
    }
    all
}

/// The ports that clients say they call: exchanges under way at the same time have different ones, and a single one has the listener's.
#[derive(Debug, Default)]
struct Ports(Mutex<BTreeSet<u16>>);

impl Ports {
    fn take(&self) -> u16 {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let port = (LISTENER..=u16::MAX).find(|port| !taken.contains(port)).unwrap_or(LISTENER);
        taken.insert(port);
        port
    }

    fn give_back(&self, port: u16) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&port);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchanges_under_way_have_ports_of_their_own() {
        let ports = Ports::default();
        assert_eq!((ports.take(), ports.take()), (LISTENER, LISTENER + 1));
        ports.give_back(LISTENER);
        assert_eq!((ports.take(), ports.take()), (LISTENER, LISTENER + 2));
    }
}
