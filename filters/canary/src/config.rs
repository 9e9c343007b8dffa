//! What is written under `pluginConfig`. Shape only: [`Policy`](crate::Policy) says what it means and refuses what means nothing.

use schemars::JsonSchema;
use weir_sdk::{ConfigDuration, FromConfig, Percentage, RequestMatches, Timestamp};

mod carry;
mod cookie;
mod guard;
mod schedule;
mod sticky;

pub use carry::{Arm, Carry, Follow, HeaderLine, PerRoute, Signature};
pub use cookie::{Cookie, SameSite};
pub use guard::{Budget, ErrorRate, Rollback, Slow, Webhook, ZeroError};
pub use schedule::{Day, Freeze, Schedule};
pub use sticky::{CookieValue, Fallback, Key, OwnCookie, SourceAddress, Sticky};
pub use weir_sdk::outcome::{CallFailure, ErrorsAre};

/// The configuration of the canary filter.
#[derive(Clone, Debug, Default, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Rules in order: the first whose `match` is true decides.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// The arm of a request that no rule matched. Default: none, and the request is left alone but for headers that only this filter may set.
    #[serde(default)]
    pub default_arm: Option<String>,
    /// What belongs to each arm. When given, every arm that is named elsewhere must be listed. Default: arms are what the rules name.
    #[serde(default)]
    pub arms: Vec<Arm>,
    /// How the decision is carried, so that Envoy's route can use it; all of them are. Default: `[{request_header: x-canary-arm}]`.
    #[serde(default)]
    pub carry: Vec<Carry>,
    /// An arm that an earlier hop decided is followed. Default: never, and what a client sends in the carried headers is removed.
    #[serde(default)]
    pub follow: Option<Follow>,
    /// Signs the arm for those who follow it. Default: nothing is signed.
    #[serde(default)]
    pub signature: Option<Signature>,
    /// Key of the W3C `baggage` header under which the arm travels on to the next services. Default: none.
    #[serde(default)]
    pub baggage: Option<String>,
    /// Response header that names the arm. Default: none.
    #[serde(default)]
    pub response_header: Option<String>,
    /// Cookie that names the arm, set on every response of a request with an arm that did not bring it. Default: none.
    #[serde(default)]
    pub arm_cookie: Option<Cookie>,
    /// Lets route metadata override this configuration. Default: never asked.
    #[serde(default)]
    pub per_route: Option<PerRoute>,
    /// Other sets of rules, which a route chooses by name (`per_route`).
    #[serde(default)]
    pub policies: Vec<NamedRules>,
    /// First part of the names of all counters. Letters, digits, `_`, `-` and `.`. Default `canary`.
    #[serde(default = "stat_prefix")]
    pub stat_prefix: String,
    /// Decide, count (under `<stat_prefix>.dry_run.`) and explain, but change nothing. Default false.
    #[serde(default)]
    pub dry_run: bool,
}

/// A set of rules that a route chooses by its name.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedRules {
    /// What the route's metadata says under `policy`.
    pub name: String,
    /// Rules in order: the first whose `match` is true decides.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// The arm of a request that no rule matched. Default: none.
    #[serde(default)]
    pub default_arm: Option<String>,
}

/// One rule: which requests, and what becomes of them: exactly one of `arm`, `split`, `ramp` and `blue_green`.
#[derive(Clone, Debug, Default, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Name in explanations, and the default salt of `sticky`. Default: `rules[N]`.
    #[serde(default)]
    pub name: Option<String>,
    /// Requests the rule is for: one block of conditions that must all hold, or a list of blocks of which one must. Default: all requests.
    #[serde(default, rename = "match")]
    pub matches: RequestMatches,
    /// When the rule is looked at. Default: always.
    #[serde(default)]
    pub schedule: Option<Schedule>,
    /// All go to this arm.
    #[serde(default)]
    pub arm: Option<String>,
    /// Shares of the requests, by weight, laid out in this order. An arm that grows keeps all its clients; write the one that grows first and
    /// the stable one last.
    #[serde(default)]
    pub split: Option<Vec<WeightedArm>>,
    /// A share that grows by the clock.
    #[serde(default)]
    pub ramp: Option<Ramp>,
    /// All go to one of two arms, by one switch.
    #[serde(default)]
    pub blue_green: Option<BlueGreen>,
    /// What keeps a client on one side of `split` and `ramp`. Default: nothing, every request is drawn anew.
    #[serde(default)]
    pub sticky: Option<Sticky>,
    /// Values by which a client chooses before anything is drawn: first the header, then the cookie.
    #[serde(default)]
    pub force: Option<Force>,
    /// Takes an arm out when it does worse than the stable arm. Default: never.
    #[serde(default)]
    pub rollback: Option<Rollback>,
    /// Answers from the stable arm where another arm fails. Default: what failed goes out as it is.
    #[serde(default)]
    pub zero_error: Option<ZeroError>,
    /// The arm that `rollback` and `zero_error` turn to. Default: `from` of a ramp, the last arm of a split, the arm of `blue_green` that is not
    /// live. Needed with `arm`.
    #[serde(default)]
    pub stable: Option<String>,
    /// What `rollback` and `zero_error` take for a failure. Default: the statuses 500 to 599, the gRPC statuses 2, 4, 8, 13, 14 and 15, and every
    /// failure but `OVERFLOW`.
    #[serde(default)]
    pub errors_are: Option<ErrorsAre>,
}

/// One arm of a split.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WeightedArm {
    /// The arm.
    pub arm: String,
    /// Its share is `weight` over the sum of all weights: 0 to 4294967295, the sum likewise and not 0.
    pub weight: u32,
}

/// A share that grows by the clock. All replicas agree without talking, as far as their clocks do.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ramp {
    /// The arm before.
    pub from: String,
    /// The arm that grows.
    pub to: String,
    /// When it begins, RFC 3339; until then all are on `from`.
    pub start: Timestamp,
    /// How long it takes. Default `1h`, as Kong's canary. More than 0.
    #[serde(default = "hour")]
    pub duration: ConfigDuration,
    /// Shares of `to`, each for an equal part of `duration`, never falling; the last stays. Default: linear from 0 to 100 %.
    #[serde(default)]
    pub steps: Vec<Percentage>,
}

/// Blue/green: one switch, a preview, an instant way back.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlueGreen {
    /// The arm called blue.
    pub blue: String,
    /// The arm called green.
    pub green: String,
    /// The switch: which of them serves.
    pub live: Color,
    /// Requests that see the other one, such as `{headers: [{name: x-preview, exact: "true"}]}`. Default: none.
    #[serde(default)]
    pub preview: Option<RequestMatches>,
}

/// One of two arms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromConfig, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Color {
    /// `blue`.
    Blue,
    /// `green`.
    Green,
}

/// Values by which a client chooses, as ingress-nginx's `canary-by-header` and `canary-by-cookie`: the header wins over the cookie, both
/// over the draw; any other value is as none.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Force {
    /// The header that is asked first. At least one of `header` and `cookie`.
    #[serde(default)]
    pub header: Option<String>,
    /// The cookie that is asked then.
    #[serde(default)]
    pub cookie: Option<String>,
    /// The arm of the value `always`. Default: none.
    #[serde(default)]
    pub always: Option<String>,
    /// The arm of the value `never`. Default: none.
    #[serde(default)]
    pub never: Option<String>,
    /// The value that means `always`. Default `always`.
    #[serde(default = "always")]
    pub always_value: String,
    /// The value that means `never`. Default `never`.
    #[serde(default = "never")]
    pub never_value: String,
}

fn stat_prefix() -> String {
    "canary".to_owned()
}

fn hour() -> ConfigDuration {
    ConfigDuration(std::time::Duration::from_secs(3600))
}

fn always() -> String {
    "always".to_owned()
}

fn never() -> String {
    "never".to_owned()
}
