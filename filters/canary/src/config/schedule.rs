//! When a rule is looked at.

use schemars::JsonSchema;
use weir_sdk::{FromConfig, Timestamp};

/// When a rule is looked at, in UTC; at other times the next rule decides, as if `match` were false.
#[derive(Clone, Debug, Default, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Days of the week. Default: all.
    #[serde(default)]
    pub days: Vec<Day>,
    /// From this time of the day on, as `"09:00"`. Default `"00:00"`.
    #[serde(default)]
    pub from: Option<String>,
    /// Until this time of the same day, as `"17:00"`; it is later than `from`. Default `"24:00"`.
    #[serde(default)]
    pub to: Option<String>,
    /// Times in which the rule is not looked at whatever the day, such as the days before a holiday.
    #[serde(default)]
    pub freezes: Vec<Freeze>,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromConfig, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Day {
    /// Monday.
    Monday,
    /// Tuesday.
    Tuesday,
    /// Wednesday.
    Wednesday,
    /// Thursday.
    Thursday,
    /// Friday.
    Friday,
    /// Saturday.
    Saturday,
    /// Sunday.
    Sunday,
}

/// A time without the rule.
#[derive(Clone, Copy, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// When it begins, RFC 3339.
    pub start: Timestamp,
    /// When it is over; later than `start`.
    pub end: Timestamp,
}
