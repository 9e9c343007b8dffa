//! How a `DestinationRule` balances: what Istio's webhook asks of hashes, localities and warm-ups.

use super::destination_rule::precision;
use super::object::{Part, Webhook};

/// The size of a Maglev table is below it.
const MAGLEV: u64 = 5_000_011;

/// Labels of where an endpoint is, which Istio itself goes by.
const TOPOLOGY: &[&str] =
    &["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"];

pub(super) fn check(settings: &Part<'_>, has_outlier_detection: bool, hook: &mut Webhook<'_, '_>) {
    settings.field("consistentHash").iter().for_each(|hash| consistent_hash(hash, hook));
    let (localities, zones) = (settings.field("localityLbSetting"), settings.field("zoneAwareLbSetting"));
    if localities.is_some() && zones.is_some() {
        let reason = "`localityLbSetting` and `zoneAwareLbSetting` exclude each other";
        hook.refuse(&settings.at_field("zoneAwareLbSetting"), reason);
    }
    localities.iter().for_each(|setting| check_localities(setting, has_outlier_detection, hook));
    zones.iter().for_each(|setting| check_zones(setting, has_outlier_detection, hook));
    if let Some(warm_up) = settings.field("warmup") {
        precision(&warm_up, "duration", hook);
        if warm_up.has("aggression") && warm_up.number("aggression") <= 0.0 {
            hook.refuse(&warm_up.at_field("aggression"), "must be above 0");
        }
    }
}

fn consistent_hash(hash: &Part<'_>, hook: &mut Webhook<'_, '_>) {
    if let Some(cookie) = hash.field("httpCookie") {
        if cookie.has("name") && cookie.text("name").is_empty() {
            hook.refuse(&cookie.at_field("name"), "a cookie has a name");
        }
        let mut seen: Vec<&str> = Vec::new();
        for name in cookie.list("attributes").iter().filter_map(|attribute| attribute.field("name")) {
            if name.as_text().is_empty() {
                hook.refuse(name.at(), "an attribute has a name");
            } else if seen.contains(&name.as_text()) {
                hook.refuse(name.at(), format!("an attribute `{}` stands before", name.as_text()));
            }
            seen.push(name.as_text());
        }
    }
    let maglev = hash.field("maglev");
    if hash.number("minimumRingSize") != 0.0 {
        let at = hash.at_field("minimumRingSize");
        hook.warn(&at, "is the old form of `ringHash: {minimumRingSize: …}`");
        if maglev.is_some() || hash.has("ringHash") {
            hook.refuse(&at, "excludes `ringHash` and `maglev`");
        }
    }
    if let Some(maglev) = maglev {
        let size = maglev.value().get("tableSize").and_then(serde_json::Value::as_u64).unwrap_or_default();
        let at = if maglev.has("tableSize") { maglev.at_field("tableSize") } else { maglev.at().to_owned() };
        if size == 0 {
            hook.refuse(&at, "`tableSize` is missing");
        } else if size >= MAGLEV || !is_prime(size) {
            hook.refuse(&at, format!("`{size}` is no size of a Maglev table: a prime below {MAGLEV}"));
        }
    }
}

/// As Envoy reckons, which takes 1 for one.
fn is_prime(size: u64) -> bool {
    size < 4
        || !size.is_multiple_of(2)
            && (3..)
                .step_by(2)
                .take_while(|factor| factor * factor <= size)
                .all(|factor| !size.is_multiple_of(factor))
}

fn check_localities(setting: &Part<'_>, has_outlier_detection: bool, hook: &mut Webhook<'_, '_>) {
    let (distribute, failover) = (setting.list("distribute"), setting.list("failover"));
    if !distribute.is_empty() && !failover.is_empty() {
        hook.refuse(&setting.at_field("failover"), "`distribute` and `failover` exclude each other");
        return;
    }
    for label in setting.list("failoverPriority") {
        if !failover.is_empty() && TOPOLOGY.contains(&label.as_text()) {
            hook.refuse(label.at(), "`failover` and a label of the topology exclude each other");
        }
    }
    let mut from: Vec<&str> = Vec::new();
    for share in &distribute {
        if let Some(locality) = share.field("from") {
            hook.refuse_for(locality.at(), locality_problem(locality.as_text(), &from));
            from.push(locality.as_text());
        }
        let mut to: Vec<&str> = Vec::new();
        let mut total = 0.0;
        for (locality, weight) in share.entries("to") {
            hook.refuse_key_for(weight.at(), locality_problem(locality, &to));
            to.push(locality);
            let weight_of = weight.value().as_f64().unwrap_or_default();
            if !(1.0..=100.0).contains(&weight_of) {
                hook.refuse(weight.at(), format!("`{weight_of}` is no weight: 1 to 100"));
            }
            total += weight_of;
        }
        if total != 100.0 {
            hook.refuse(&share.at_field("to"), format!("weights come to {total}, not to 100"));
        }
    }
    check_failover(setting, &failover, has_outlier_detection, hook);
}

fn check_zones(setting: &Part<'_>, has_outlier_detection: bool, hook: &mut Webhook<'_, '_>) {
    for label in setting.list("failoverPriority") {
        if TOPOLOGY.contains(&label.as_text()) {
            hook.refuse(label.at(), "zones need no label of the topology: Envoy goes by it anyway");
        }
    }
    check_failover(setting, &setting.list("failover"), has_outlier_detection, hook);
}

fn check_failover(
    setting: &Part<'_>,
    failover: &[Part<'_>],
    has_outlier_detection: bool,
    hook: &mut Webhook<'_, '_>,
) {
    if !has_outlier_detection && (!failover.is_empty() || !setting.list("failoverPriority").is_empty()) {
        let reason = "nothing fails over without `outlierDetection`: what is broken is not noticed";
        hook.warn(setting.at(), reason);
    }
    for one in failover {
        let (from, to) = (one.text("from"), one.text("to"));
        if from == to {
            hook.refuse(one.at(), "`from` and `to` are the same region");
        }
        for field in ["from", "to"] {
            let region = one.text(field);
            if region.contains(['/', '*']) {
                let reason = format!("`{region}` is no region: its name alone, without `/` and `*`");
                hook.refuse(&one.at_field(field), reason);
            }
        }
    }
}

/// Why a text is no `REGION/ZONE/SUBZONE`, or one that is there already.
fn locality_problem(locality: &str, before: &[&str]) -> Option<String> {
    let stars = locality.matches('*').count();
    if stars > 1 || stars == 1 && !locality.ends_with('*') {
        return Some(format!("`{locality}`: one `*` may stand at the end"));
    }
    if locality.splitn(3, '/').any(str::is_empty) {
        return Some(format!("`{locality}` is no locality, which is `REGION/ZONE/SUBZONE`"));
    }
    let wide = |text: &str| text.trim_end_matches('*').trim_end_matches('/').to_owned();
    let covers = |a: &str, b: &str| {
        let (a, b) = (wide(a), wide(b));
        a.is_empty() || a == b || b.strip_prefix(&a).is_some_and(|rest| rest.starts_with('/'))
    };
    // Istio takes what is wider by its `*` alone when it comes later.
    let is_wider = |other: &str| !locality.ends_with('*') && covers(locality, other);
    let other = before.iter().find(|other| covers(other, locality) || is_wider(other))?;
    Some(format!("`{locality}` overlaps with `{other}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localities_do_not_overlap() {
        let check = |text: &str, before: &[&str]| locality_problem(text, before).is_some();
        for (text, before) in [
            ("a/b/c", &["a/b/d"][..]),
            ("a/*", &["b/*"]),
            ("a", &[]),
            ("*", &[]),
            ("a/bc", &["a/b"]),
            ("a/*", &["a/b/c"]),
        ] {
            assert!(!check(text, before), "{text} {before:?}");
        }
        for (text, before) in [
            ("a//c", &[][..]),
            ("", &[]),
            ("a/*/c", &[]),
            ("*a*", &[]),
            ("a/b", &["a/*"]),
            ("a", &["a/b/c"]),
            ("a", &["*"]),
            ("a/b", &["a/b"]),
        ] {
            assert!(check(text, before), "{text} {before:?}");
        }
    }

    #[test]
    fn primes() {
        let primes: Vec<u64> = (1..30).filter(|size| is_prime(*size)).collect();
        assert_eq!(primes, [1, 2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
    }
}
