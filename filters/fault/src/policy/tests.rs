//! The whole policy: whatever is accepted decides any request without a panic and within bounds; counts are exact however workers
//! interleave; a seed repeats a run.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use serde_json::{Value, json};
use weir_sdk::{Flow, HeaderMap, LocalReply};

use super::*;
use crate::config::Config;

/// What workers share, and one worker's luck.
#[derive(Default)]
struct World {
    state: RefCell<BTreeMap<String, Vec<u8>>>,
    active: Cell<u64>,
    random: Cell<u64>,
    /// Seconds after 2026-03-01T12:00:00Z.
    second: Cell<u64>,
    stopped: Cell<bool>,
    /// Shared data cannot be changed.
    broken: Cell<bool>,
}

impl World {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_772_366_400 + self.second.get())
    }

    fn enter(&self, max: Option<u64>) -> bool {
        let fits = max.is_none_or(|max| self.active.get() < max);
        self.active.set(self.active.get() + u64::from(fits));
        fits
    }

    fn request(&self, policy: &Policy, stream: &mut Stream, lines: &[(&str, &str)]) -> Step {
        let base = [(":method", "GET"), (":path", "/"), (":authority", "a")];
        let request: HeaderMap = base.iter().chain(lines).copied().collect();
        let random = || {
            self.random.set(
                self.random.get().wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f),
            );
            self.random.get() ^ (self.random.get() >> 33)
        };
        let step = |name: &str, part: u32, next: Next<'_>| {
            let key = format!("{name}/{part}");
            let mut state = self.state.borrow_mut();
            let (new, takes) = next(state.get(&key).map(Vec::as_slice));
            // Another worker was faster once: the step must bear being repeated.
            let again = next(state.get(&key).map(Vec::as_slice));
            assert_eq!(again, (new.clone(), takes));
            state.insert(key, new);
            (!self.broken.get()).then_some(takes)
        };
        let inputs = Inputs {
            request: &request,
            has_body: true,
            now: &|| self.now(),
            random: &random,
            stopped: &|| self.stopped.get(),
            step: &step,
            enter: &|max| self.enter(max),
        };
        policy.on_request(stream, &inputs)
    }
}

fn policy(config: Value) -> Result<Policy, String> {
    let config: Config =
        weir_sdk::parse(Some(config.to_string().as_bytes())).map_err(|error| error.to_string())?;
    let setup = Setup { now: World::default().now(), secret: &Secret::inline };
    Policy::compile(&config, setup).map_err(|error| error.to_string())
}

fn aborts(world: &World, policy: &Policy, lines: &[(&str, &str)]) -> bool {
    matches!(
        world.request(policy, &mut Stream::default(), lines).decision.flow,
        Flow::Reply(LocalReply { .. })
    )
}

#[test]
fn shares_are_what_they_say_and_victims_stay() {
    let world = World::default();
    let tenth = policy(json!({"faults": [{"abort": 500, "percentage": 10}]})).unwrap();
    let count = (0..20_000).filter(|_| aborts(&world, &tenth, &[])).count();
    assert!((1_800..2_200).contains(&count), "{count}");

    let sticky = |percentage| {
        policy(json!({"faults": [{"name": "v", "abort": 500, "percentage": percentage, "sticky": {"by": [{"header": "u"}]}}]}))
            .unwrap()
    };
    let (few, many) = (sticky(10), sticky(30));
    let users: Vec<String> = (0..2_000).map(|user| format!("user-{user}")).collect();
    let victims =
        |policy| users.iter().filter(|user| aborts(&world, policy, &[("u", user)])).collect::<Vec<_>>();
    assert_eq!(victims(&few), victims(&few), "the same every time");
    assert!(victims(&few).iter().all(|user| victims(&many).contains(user)), "growing lets nobody go");
    assert!(!aborts(&world, &many, &[]), "nobody without a key");
}

#[test]
fn the_dice_of_delay_and_abort_are_independent() {
    let world = World::default();
    let both = policy(json!({"faults": [{"delay": {"fixed_delay": "1s", "percentage": 50},
        "abort": {"http_status": 500, "percentage": 50}}]}))
    .unwrap();
    let mut seen = [0; 4];
    for _ in 0..8_000 {
        let mut stream = Stream::default();
        let step = world.request(&both, &mut stream, &[]);
        let delayed = matches!(step.decision.flow, Flow::Wait(_));
        let flow = if delayed { stream.on_timer().decision.flow } else { step.decision.flow };
        seen[usize::from(delayed) * 2 + usize::from(matches!(flow, Flow::Reply(_)))] += 1;
    }
    assert!(seen.iter().all(|count| (1_800..2_200).contains(count)), "{seen:?}");
}

#[test]
fn what_is_not_taken_goes_on_to_the_next() {
    let world = World::default();
    let mixed =
        policy(json!({"faults": [{"abort": 500, "percentage": 50}, {"abort": 501, "percentage": 50}]}))
            .unwrap();
    let mut seen = BTreeMap::new();
    for _ in 0..8_000 {
        let step = world.request(&mixed, &mut Stream::default(), &[]);
        let status = if let Flow::Reply(reply) = step.decision.flow { reply.status } else { 0 };
        *seen.entry(status).or_insert(0) += 1;
    }
    assert!((3_800..4_200).contains(&seen[&500]) && (1_800..2_200).contains(&seen[&501]), "{seen:?}");
}

#[test]
fn a_seed_repeats_a_run() {
    let run = |start| {
        let world = World::default();
        world.random.set(start);
        let seeded =
            policy(json!({"seed": "run 7", "faults": [{"delay": {"uniform": {"min": "1ms", "max": "1s"}}}]}))
                .unwrap();
        (0..100)
            .map(|id| {
                world
                    .request(&seeded, &mut Stream::default(), &[("x-request-id", &id.to_string())])
                    .decision
                    .flow
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(run(1), run(2));
    assert!(run(1).windows(2).any(|pair| pair[0] != pair[1]), "and its requests differ");
}

#[test]
fn everything_ends() {
    let world = World::default();
    for config in [
        json!({"expires": {"after": "10s"}, "faults": [{"abort": 500}]}),
        json!({"expires": {"at": "2026-03-01T12:00:10Z"}, "faults": [{"abort": 500}]}),
        json!({"faults": [{"abort": 500, "schedule": {"end": "2026-03-01T12:00:10Z"}}]}),
    ] {
        let policy = policy(config.clone()).unwrap();
        world.second.set(9);
        assert!(aborts(&world, &policy, &[]), "{config}");
        world.second.set(10);
        assert!(!aborts(&world, &policy, &[]), "{config}");
    }
}

#[test]
fn broken_state_and_a_stop_let_everything_pass() {
    let world = World::default();
    let policy = policy(json!({"faults": [{"abort": 500, "exactly": {"faults": 1, "of": 1}}]})).unwrap();
    assert!(aborts(&world, &policy, &[]));
    world.broken.set(true);
    let step = world.request(&policy, &mut Stream::default(), &[]);
    assert!(step.counts.has(Count::StateFailed) && step.decision.flow == Flow::Continue);
    world.stopped.set(true);
    let step = world.request(&policy, &mut Stream::default(), &[]);
    assert!(step.counts.has(Count::Stopped) && step.decision.flow == Flow::Continue);
}

/// Workers that read, step and write by compare-and-swap, interleaved at random: what is counted is exact.
#[test]
fn counts_are_exact_however_workers_interleave() {
    let mut random = 7_u64;
    let mut pick = |of: usize| {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        usize::try_from(random >> 33).unwrap() % of
    };
    for (faults, of) in [(3_u32, 10_u32), (1, 7)] {
        let (mut shared, mut version): (Option<Vec<u8>>, u64) = (None, 0);
        // What each worker has read and not yet written.
        let mut workers: Vec<Option<(Vec<u8>, bool, u64)>> = vec![None; 4];
        let (mut done, mut taken) = (0, 0);
        while done < of * 50 {
            let at = pick(4);
            workers[at] = match workers[at].take() {
                None => {
                    let (next, takes) = gate::exactly(shared.as_deref(), faults, of);
                    Some((next, takes, version))
                }
                Some((next, takes, seen)) if seen == version => {
                    (shared, version) = (Some(next), version + 1);
                    (done, taken) = (done + 1, taken + u32::from(takes));
                    None
                }
                // Too late: read again.
                Some(_) => None,
            };
        }
        assert_eq!(taken, faults * 50);
    }
}

fn duration() -> BoxedStrategy<Value> {
    prop_oneof![
        Just(json!("0s")),
        Just(json!("1ms")),
        Just(json!("7s")),
        Just(json!("59m")),
        Just(json!("2h"))
    ]
    .boxed()
}

fn percentage() -> BoxedStrategy<Value> {
    prop_oneof![
        Just(json!(0)),
        Just(json!(100)),
        Just(json!(33.3333)),
        Just(json!({"numerator": 1, "denominator": "MILLION"}))
    ]
    .boxed()
}

fn delay() -> BoxedStrategy<Value> {
    let spec = prop_oneof![
        duration().prop_map(|time| json!({"fixed_delay": time})),
        (duration(), duration()).prop_map(|(time, jitter)| json!({"fixed_delay": time, "jitter": jitter})),
        (duration(), duration()).prop_map(|(min, max)| json!({"uniform": {"min": min, "max": max}})),
        (duration(), duration()).prop_map(|(mean, dev)| json!({"normal": {"mean": mean, "std_dev": dev}})),
        (duration(), duration())
            .prop_map(|(median, p99)| json!({"lognormal": {"median": median, "p99": p99}})),
        (duration(), 0.0..200.0_f64).prop_map(|(min, shape)| json!({"pareto": {"min": min, "shape": shape}})),
        duration().prop_map(|mean| json!({"exponential": {"mean": mean}})),
        (duration(), duration())
            .prop_map(|(one, other)| json!({"percentiles": {"p50": one, "p99.9": other}})),
        Just(json!({"header_delay": {}})),
    ];
    let full = (spec, proptest::option::of(duration()), proptest::option::of(percentage())).prop_map(
        |(mut spec, max, share)| {
            spec["max_delay"] = max.unwrap_or(json!("1h"));
            spec["percentage"] = share.unwrap_or(json!(100));
            spec
        },
    );
    prop_oneof![duration(), full].boxed()
}

fn abort() -> BoxedStrategy<Value> {
    prop_oneof![
        any::<u16>().prop_map(|status| json!(status)),
        (200..600_u16, percentage())
            .prop_map(|(status, share)| json!({"http_status": status, "percentage": share})),
        (0..20_u8).prop_map(
            |status| json!({"grpc_status": status, "body": "b", "headers": [{"name": "x", "value": "y"}]})
        ),
        percentage().prop_map(|share| json!({"header_abort": {}, "percentage": share})),
    ]
    .boxed()
}

fn ending() -> BoxedStrategy<Value> {
    let then = prop_oneof![Just("RESET"), Just("GATEWAY_TIMEOUT"), Just("CONTINUE")];
    prop_oneof![
        abort().prop_map(|abort| json!({"abort": abort})),
        Just(json!({"reset": {}})),
        (duration(), then).prop_map(|(time, then)| json!({"black_hole": {"duration": time, "then": then}})),
        Just(json!({})),
    ]
    .boxed()
}

fn damage() -> BoxedStrategy<Value> {
    prop_oneof![
        (0..40_u64, any::<bool>()).prop_map(|(after, reset)| json!({"truncate": {"after_bytes": after, "reset": reset}})),
        (0..9_u32).prop_map(|every| json!({"corrupt": {"with": {"flip_bytes": {"every": every}}}})),
        (0..50_u64).prop_map(|at| json!({"corrupt": {"with": {"invalid_utf8": {"at_byte": at}}}})),
        any::<i32>().prop_map(|add| json!({"corrupt": {"with": {"content_length": {"add": add}}}})),
        (0..60_u32).prop_map(|max| json!({"corrupt": {"with": {"json_field": {"path": ["a"], "value": [1], "max_body_bytes": max}}}})),
        ending(),
    ].boxed()
}

fn fault() -> BoxedStrategy<Value> {
    let selection = prop_oneof![
        percentage().prop_map(|share| json!({"percentage": share})),
        (0..4_u32, 0..4_u32).prop_map(|(faults, of)| json!({"exactly": {"faults": faults, "of": of}})),
        (0..3_u32, duration()).prop_map(|(requests, time)| json!({"first": {"requests": requests, "forget_after": time, "by": [{"header": "u"}]}})),
        Just(json!({"sticky": {"by": [{"header": "u"}, {"cookie": "c"}]}, "percentage": 50})),
        (duration(), duration()).prop_map(|(on, off)| json!({"schedule": {"on": on, "off": off}})),
        duration().prop_map(|ramp| json!({"schedule": {"start": "2026-03-01T11:59:59Z", "ramp": ramp}})),
    ];
    let limit = prop_oneof![
        Just(json!({})),
        (0..3_u64).prop_map(|kbps| json!({"response_rate_limit": {"fixed_limit": {"limit_kbps": kbps}}})),
        Just(json!({"response_rate_limit": {"header_limit": {}}})),
    ];
    (selection, proptest::option::of(delay()), ending(), limit, damage(), proptest::option::of(delay()))
        .prop_map(|(selection, delay, ending, limit, damage, response_delay)| {
            let mut fault = json!({});
            let mut response = damage;
            if let Some(delay) = response_delay {
                response["delay"] = delay;
            }
            for part in [selection, ending, limit] {
                for (key, value) in part.as_object().unwrap() {
                    fault[key] = value.clone();
                }
            }
            if let Some(delay) = delay {
                fault["delay"] = delay;
            }
            if response.as_object().is_some_and(|response| !response.is_empty()) {
                fault["response"] = response;
            }
            fault
        })
        .boxed()
}

fn lines() -> BoxedStrategy<Vec<(String, String)>> {
    let name = prop_oneof![
        Just("u"),
        Just("cookie"),
        Just("content-type"),
        Just("content-length"),
        Just("x-request-id"),
        Just(callers::DELAY),
        Just(callers::DELAY_PERCENTAGE),
        Just(callers::ABORT),
        Just(callers::ABORT_GRPC),
        Just(callers::ABORT_PERCENTAGE),
        Just(callers::THROUGHPUT),
        Just(callers::THROUGHPUT_PERCENTAGE),
    ];
    let value = prop_oneof![
        "[0-9]{1,20}",
        "[ -~]{0,12}",
        Just("application/grpc".to_owned()),
        Just("c=1".to_owned()),
        Just("\u{ff}é".to_owned()),
    ];
    proptest::collection::vec((name.prop_map(str::to_owned), value), 0..8).boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any accepted configuration on any traffic: nothing panics, every wait ends within its bound, every answer is one that Envoy may send,
    /// and every place among the active faults is given back.
    #[test]
    fn whatever_is_accepted_decides_and_ends(
        faults in proptest::collection::vec(fault(), 1..3),
        max_active in proptest::option::of(0..3_u64),
        dry_run: bool,
        request in lines(),
        response in lines(),
        status in prop_oneof![Just("200"), Just("101"), Just("503"), Just("x"), Just("")],
        body in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..30), 0..4),
        random: u64,
    ) {
        let config = json!({"faults": faults, "max_active_faults": max_active, "dry_run": dry_run});
        let Ok(policy) = policy(config) else {
            return Ok(());
        };
        let world = World::default();
        world.random.set(random);
        for _ in 0..3 {
            let mut stream = Stream::default();
            let lines: Vec<_> = request.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let mut step = world.request(&policy, &mut stream, &lines);
            let mut over = false;
            let mut waited = Duration::ZERO;
            for half in 0..2 {
                let mut waits = 0;
                loop {
                    prop_assert!(!dry_run || step.decision == Decision::next());
                    match step.decision.flow {
                        Flow::Wait(time) => {
                            prop_assert!(time > Duration::ZERO && time <= Duration::from_secs(3600));
                            waited += time;
                            waits += 1;
                            prop_assert!(waits <= 2, "a delay and a black hole, no more");
                            step = stream.on_timer();
                        }
                        Flow::Reply(reply) => {
                            prop_assert!((200..600).contains(&reply.status));
                            prop_assert!(reply.grpc_status.is_none_or(|status| status <= 16));
                            over = true;
                            break;
                        }
                        Flow::Reset => {
                            over = true;
                            break;
                        }
                        Flow::Continue => break,
                        Flow::Await(_) | Flow::AwaitGrpc(_) | Flow::Buffer => prop_assert!(false, "nothing calls or buffers here"),
                    }
                }
                if over || half == 1 {
                    break;
                }
                let headers: HeaderMap =
                    [(":status", status)].into_iter().chain(response.iter().map(|(n, v)| (n.as_str(), v.as_str()))).collect();
                step = stream.on_response(&headers, body.is_empty(), &|| world.enter(policy.max_active_faults()));
            }
            if !over {
                let mut held = Vec::new();
                for (index, part) in body.iter().enumerate() {
                    held.extend_from_slice(part);
                    let last = index + 1 == body.len();
                    let (part, _) = stream.on_response_body(held.len(), last, &mut || held.clone());
                    prop_assert!(!(last && part == Part::Hold), "held for ever");
                    match part {
                        Part::Hold => {}
                        Part::Reset => break,
                        Part::Pass | Part::Become(_) => held.clear(),
                    }
                }
                let _ = stream.on_response_trailers();
            }
            prop_assert!(max_active.is_none_or(|max| world.active.get() <= max));
            if stream.end() {
                world.active.set(world.active.get() - 1);
            }
            prop_assert_eq!(world.active.get(), 0);
        }
    }
}
