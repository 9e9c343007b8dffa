//! Limitador, a rate limiter that others have written, as the server of Envoy's `RateLimitService`: the wiring between the crates `limitador`,
//! `envoy-types` and `tonic`, and a note of every request. Knows no filter.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{
    Code, DescriptorStatus, RateLimit,
};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::{
    RateLimitService, RateLimitServiceServer,
};
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::google::protobuf::Duration;
use limitador::RateLimiter;
use limitador::counter::Counter;
use limitador::limit::{Context, Expression, Limit};
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

/// What the service does with requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// Asks Limitador.
    #[default]
    Limit,
    /// Never answers.
    Silent,
    /// Answers with the code `UNKNOWN`.
    Unknown,
    /// Answers with the gRPC status `RESOURCE_EXHAUSTED`.
    Fail,
}

/// A request as it was received: the domain, how many hits, and of each descriptor its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The domain.
    pub domain: String,
    /// `hits_addend` of the request, or of its only descriptor; 0 when it says none.
    pub hits: u64,
    /// Keys and values.
    pub descriptors: Vec<Vec<(String, String)>>,
}

/// A limit of a domain for each value of one entry.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The domain, Limitador's namespace.
    pub domain: &'static str,
    /// The name.
    pub name: &'static str,
    /// The entry's key, a word of letters.
    pub entry: &'static str,
    /// How many in each window.
    pub most: u64,
    /// The window.
    pub seconds: u64,
}

struct Shared {
    limiter: RateLimiter,
    behaviour: Mutex<Behaviour>,
    asked: Mutex<Vec<Asked>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A service on loopback. Dropped, it is gone: connections are closed, and nobody listens any more.
pub struct Service {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Starts a service with these limits.
    ///
    /// # Errors
    /// There is no place to listen, or a rule that Limitador does not understand.
    pub fn start(rules: &[Rule]) -> io::Result<Self> {
        let limiter = RateLimiter::new(10_000);
        for rule in rules {
            let wrong = |error| io::Error::other(format!("{error:?}"));
            let condition = format!("'{}' in descriptors[0]", rule.entry);
            let condition = limitador::limit::Predicate::parse(condition).map_err(wrong)?;
            let variable = Expression::parse(format!("descriptors[0].{}", rule.entry)).map_err(wrong)?;
            let mut limit = Limit::new(rule.domain, rule.most, rule.seconds, [condition], [variable]);
            limit.set_name(rule.name.to_owned());
            limiter.add_limit(limit);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { limiter, behaviour: Mutex::default(), asked: Mutex::default() });
        let server = RateLimitServiceServer::from_arc(Arc::new(Server(Arc::clone(&shared))));
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let incoming = tonic::transport::server::TcpIncoming::from(listener);
            let serve = tonic::transport::Server::builder().serve_with_incoming(server, incoming);
            runtime.block_on(async {
                tokio::select! {
                    _ = serve => {}
                    _ = stopped => {}
                }
            });
            // With the runtime go the connections.
        });
        Ok(Self { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets it behave like that from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        *lock(&self.shared.behaviour) = behaviour;
    }

    /// What it was asked since the last time.
    #[must_use]
    pub fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut lock(&self.shared.asked))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Server(Arc<Shared>);

#[tonic::async_trait]
impl RateLimitService for Server {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let request = request.into_inner();
        lock(&self.0.asked).push(asked(&request));
        let behaviour = *lock(&self.0.behaviour);
        match behaviour {
            Behaviour::Limit => self.0.limit(&request).map(Response::new),
            Behaviour::Silent => std::future::pending().await,
            Behaviour::Unknown => Ok(Response::new(RateLimitResponse::default())),
            Behaviour::Fail => Err(Status::resource_exhausted("on purpose")),
        }
    }
}

fn hits(request: &RateLimitRequest, descriptor: &RateLimitDescriptor) -> u64 {
    descriptor.hits_addend.as_ref().map_or(u64::from(request.hits_addend), |hits| hits.value)
}

fn entries(descriptor: &RateLimitDescriptor) -> Vec<(String, String)> {
    descriptor.entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect()
}

fn asked(request: &RateLimitRequest) -> Asked {
    Asked {
        domain: request.domain.clone(),
        hits: request.descriptors.first().map_or(0, |descriptor| hits(request, descriptor)),
        descriptors: request.descriptors.iter().map(entries).collect(),
    }
}

impl Shared {
    /// Each descriptor is counted by itself, as Envoy's reference service does; one that is over its limit refuses the request.
    fn limit(&self, request: &RateLimitRequest) -> Result<RateLimitResponse, Status> {
        let mut statuses = Vec::new();
        for descriptor in &request.descriptors {
            let mut context = Context::default();
            let values = entries(descriptor).into_iter().collect();
            context.list_binding("descriptors".to_owned(), vec![values]);
            let hits = hits(request, descriptor).max(1);
            let result = self
                .limiter
                .check_rate_limited_and_update(&request.domain.clone().into(), &context, hits)
                .map_err(|error| Status::internal(error.to_string()))?;
            statuses.push(status(result.limited, result.counters.first()));
        }
        let over = statuses.iter().any(|status| status.code == Code::OverLimit as i32);
        let code = if over { Code::OverLimit } else { Code::Ok };
        Ok(RateLimitResponse { overall_code: code as i32, statuses, ..RateLimitResponse::default() })
    }
}

fn status(limited: bool, counter: Option<&Counter>) -> DescriptorStatus {
    let code = if limited { Code::OverLimit } else { Code::Ok };
    let Some(counter) = counter else {
        return DescriptorStatus { code: code as i32, ..DescriptorStatus::default() };
    };
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let unit = match counter.window().as_secs() {
        1 => Unit::Second,
        60 => Unit::Minute,
        3_600 => Unit::Hour,
        86_400 => Unit::Day,
        _ => Unit::Unknown,
    };
    DescriptorStatus {
        code: code as i32,
        current_limit: Some(RateLimit {
            name: counter.limit().name().unwrap_or_default().to_owned(),
            requests_per_unit: small(counter.max_value()),
            unit: unit as i32,
        }),
        limit_remaining: small(counter.remaining().unwrap_or_default()),
        duration_until_reset: counter.expires_in().map(|time| Duration {
            seconds: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(time.subsec_nanos()).unwrap_or_default(),
        }),
        ..DescriptorStatus::default()
    }
}
