//! Limits that a service knows: who is asked, of what, and the tokens that were taken in advance.

use std::rc::Rc;
use std::time::Duration;

use weir_sdk::fraction::xxh64;
use weir_sdk::limit::Store;
use weir_sdk::{At, Denominator, Draw, FractionalPercent, GrpcCall, LocalReply, Problems, Status};

use super::answers::Asked;
use super::key::Written;
use super::lease::{Lease, Spend, State};
use super::meaning::meaning;
use super::wrong;
use super::{Setup, wire};
use crate::config::{self, KeyPart, RequestRate};

/// A compiled [`config::Service`].
#[derive(Clone, Debug)]
pub(crate) struct Service {
    cluster: Rc<str>,
    service: Rc<str>,
    method: Rc<str>,
    timeout: Duration,
    domain: Box<str>,
    denies: Option<FractionalPercent>,
    on_error: LocalReply,
    /// Whether refusals say `x-envoy-ratelimited`.
    pub(crate) says_ratelimited: bool,
}

/// The longest wait for the service.
const LONGEST: Duration = Duration::from_secs(3600);

impl Service {
    /// Checks and compiles `service`.
    pub(crate) fn compile(service: &config::Service, problems: &mut Problems) -> Self {
        let nothing = "expected a name, found nothing";
        if service.cluster.is_empty() {
            problems.add("service.cluster", nothing);
        }
        if service.domain.is_empty() {
            problems.add("service.domain", nothing);
        }
        if service.timeout.0.is_zero() || service.timeout.0 > LONGEST {
            let reason = format!("expected more than 0 and at most `1h`, found `{}`", service.timeout);
            problems.add("service.timeout", reason);
        }
        if !(400..600).contains(&service.status_on_error) {
            let reason = format!("expected 400 to 599, found {}", u32::from(service.status_on_error));
            problems.add("service.status_on_error", reason);
        }
        if service.failure_mode_deny_percent.is_some() && !service.failure_mode_deny {
            problems
                .add("service.failure_mode_deny_percent", "is of no use without `failure_mode_deny: true`");
        }
        let all = FractionalPercent { numerator: 100, denominator: Denominator::Hundred };
        Self {
            cluster: service.cluster.as_str().into(),
            service: "envoy.service.ratelimit.v3.RateLimitService".into(),
            method: "ShouldRateLimit".into(),
            timeout: service.timeout.0,
            domain: service.domain.as_str().into(),
            denies: service
                .failure_mode_deny
                .then(|| service.failure_mode_deny_percent.map_or(all, |share| share.0)),
            // As Envoy's.
            on_error: LocalReply {
                status: service.status_on_error,
                headers: Vec::new(),
                body: "".into(),
                details: "rate_limiter_error".into(),
                grpc_status: None,
            },
            says_ratelimited: !service.disable_x_envoy_ratelimited_header,
        }
    }

    fn timeout_ns(&self) -> u64 {
        weir_sdk::nanos(self.timeout)
    }

    /// The call that asks for these.
    pub(crate) fn call(&self, asked: &[Asked]) -> GrpcCall {
        let descriptors = asked.iter().map(|asked| (&*asked.descriptor, asked.cost));
        GrpcCall {
            cluster: Rc::clone(&self.cluster),
            service: Rc::clone(&self.service),
            method: Rc::clone(&self.method),
            metadata: Vec::new(),
            message: wire::request(&self.domain, descriptors).into(),
            timeout: self.timeout,
        }
    }

    /// The answer to a request that the service knows nothing of, unless it goes on.
    pub(crate) fn refusal(&self, random: &dyn Fn() -> u64) -> Option<LocalReply> {
        let denies = self.denies?;
        denies.includes(Draw::from_random(random())).then(|| self.on_error.clone())
    }
}

/// A compiled [`config::Global`].
#[derive(Clone, Debug)]
pub(crate) struct Global {
    entries: Vec<Box<str>>,
    /// The value of the only entry of a limit that has no key.
    constant: Option<Box<str>>,
    limit: Option<RequestRate>,
    pub(crate) leases: Option<Leases>,
}

impl Global {
    /// Checks and compiles what stands at a place.
    pub(crate) fn compile(
        at: &At<'_>,
        limit: &config::Limit,
        global: &config::Global,
        place: usize,
        (setup, service): (&Setup<'_>, Option<&Service>),
        problems: &mut Problems,
    ) -> Self {
        if service.is_none() {
            problems.add(at, "needs `service`, which says whom to ask");
        }
        let parts = limit.key.len().max(1);
        if !global.entries.is_empty() && global.entries.len() != parts {
            let found = global.entries.len();
            let reason = format!("expected as many as the limit's `key` has parts, {parts}, found {found}");
            wrong(at, "entries", &reason, problems);
        }
        if global.entries.iter().any(String::is_empty) {
            wrong(at, "entries", "expected names, found an empty one", problems);
        }
        let entries = match global.entries.is_empty() {
            false => global.entries.iter().map(|name| name.as_str().into()).collect(),
            true if limit.key.is_empty() => vec!["generic_key".into()],
            true => limit.key.iter().map(entry).collect(),
        };
        let leases = global.lease.as_ref().map(|lease| {
            let timeout_ns = service.map_or(0, Service::timeout_ns);
            let lease = Lease::compile(&at.field("lease"), lease, timeout_ns, problems);
            // Tokens are of one meaning only as long as the limit is written alike.
            let meaning = meaning((lease, &limit.key, global, limit.max_keys));
            let name = limit.state_name(setup, place, "lease/", &meaning);
            Leases { name: name.as_bytes().into(), lease, places: limit.max_keys, seed: setup.seed }
        });
        let constant = limit.key.is_empty().then(|| limit.name.as_str().into());
        Self { entries, constant, limit: global.limit, leases }
    }

    /// The descriptor of a key. What is missing is empty.
    pub(crate) fn descriptor(&self, key: &Written) -> Vec<u8> {
        let (mut names, mut values, mut constant) =
            (self.entries.iter(), key.values(), self.constant.as_ref());
        let entries = std::iter::from_fn(|| {
            let name = names.next()?;
            let value = match constant.take() {
                Some(value) => value.as_bytes(),
                None => values.next()?.unwrap_or_default(),
            };
            Some((&**name, value))
        });
        wire::descriptor(entries, self.limit.as_ref())
    }
}

/// What Envoy's own actions call such an entry.
fn entry(part: &KeyPart) -> Box<str> {
    match part {
        KeyPart::Header(name) => name.to_ascii_lowercase().into(),
        KeyPart::Cookie(name) | KeyPart::QueryParameter(name) => name.as_str().into(),
        KeyPart::SourceAddress(options) if options.prefix_len_v4 == 32 => "remote_address".into(),
        KeyPart::SourceAddress(_) => "masked_remote_address".into(),
        KeyPart::Attribute(segments) => {
            let mut joined = String::new();
            for segment in segments {
                joined.push_str(if joined.is_empty() { "" } else { "." });
                joined.push_str(segment);
            }
            joined.into()
        }
        KeyPart::Route(_) => "route".into(),
        KeyPart::Constant(_) => "generic_key".into(),
    }
}

/// The tokens of a limit's keys, in a fixed number of places of shared data: a key that finds another's in its place, which is not idle, has none
/// and asks. Forgetting gives nothing away, as tokens that are forgotten are not spent.
#[derive(Clone, Debug)]
pub(crate) struct Leases {
    name: Rc<[u8]>,
    lease: Lease,
    places: u32,
    seed: u64,
}

impl Leases {
    /// See [`Lease::spend`].
    pub(crate) fn spend(&self, store: &dyn Store, key: &[u8], now: u64, cost: u64) -> Result<Spend, Status> {
        let mut spend = Spend::Ask { lease: None };
        self.step(store, key, &mut |state, is_own| {
            // The one who finds another's place.
            spend = Spend::Ask { lease: None };
            let state = match is_own {
                true => state,
                false if self.lease.is_idle(&state, now) => State::default(),
                false => return None,
            };
            let (next, outcome) = self.lease.spend(state, now, cost);
            spend = outcome;
            (next != state).then_some(next)
        })?;
        Ok(spend)
    }

    /// Steps the key's own state; nothing where another key has its place now.
    pub(crate) fn change(
        &self,
        store: &dyn Store,
        key: &[u8],
        next: &dyn Fn(&Lease, State) -> State,
    ) -> Result<(), Status> {
        self.step(store, key, &mut |state, is_own| {
            Some(next(&self.lease, state)).filter(|next| is_own && *next != state)
        })
    }

    fn step(
        &self,
        store: &dyn Store,
        key: &[u8],
        next: &mut dyn FnMut(State, bool) -> Option<State>,
    ) -> Result<(), Status> {
        let hash = xxh64(key, self.seed);
        let place = u128::from(hash).wrapping_mul(u128::from(self.places)) >> 64;
        let place = u32::try_from(place).unwrap_or_default();
        let owner = hash.to_le_bytes();
        let stored = store.update(&[&self.name[..], &place.to_be_bytes()].concat(), &mut |value| {
            let value = value.unwrap_or_default();
            let (is_own, state) = match value.split_first_chunk() {
                Some((found, state)) => (*found == owner, State::read(state)),
                None => (true, State::default()),
            };
            let state = next(state, is_own)?;
            let mut value = Vec::with_capacity(owner.len().saturating_add(State::BYTES));
            value.extend_from_slice(&owner);
            state.write(&mut value);
            Some(value)
        });
        stored.map_err(|error| error.status)
    }
}
