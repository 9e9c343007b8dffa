//! No configuration that a filter accepts can trap or stall on any traffic: configurations and requests that nobody wrote, through the real
//! modules. Each filter with a schema is tried; a failure prints the seed, the configuration and the request.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::{env, fs, thread};

use conformance::generate::{self, Configurations, Dice};
use conformance::{cases, tools};
use serde_json::{Value, json};
use weir_harness::case::Case;
use weir_harness::driver::{Replay, StartError};
use weir_harness::outcome::End;
use weir_harness::scenario::{Cluster, ClusterResponse, Filter, Scenario};
use weir_harness::setup::{self, Modules};

/// Configurations that are tried for each filter; `WEIR_CONFIGURATIONS=20000` for a night.
const CONFIGURATIONS: u64 = 400;
/// Requests for each that is accepted.
const REQUESTS: u64 = 24;
/// So many of the tried must be accepted, of a hundred: otherwise nothing is shown.
const ACCEPTED: u64 = 15;

/// The configurations of all cases of a filter.
fn seeds(filter: &str) -> Vec<Value> {
    let own = tools::workspace().join("filters").join(filter).join("cases");
    let folders = cases::all(tools::workspace()).unwrap();
    let mut found = Vec::new();
    for folder in folders.iter().filter(|folder| folder.starts_with(&own)) {
        let loaded = Case::load(folder).unwrap();
        for one in loaded.case.scenario.filters.iter().filter(|one| one.name == filter) {
            let bytes = one.configuration(&loaded.base).unwrap().unwrap_or_default();
            found.extend(serde_json::from_slice::<Value>(&bytes));
        }
    }
    found
}

/// Routes with and without metadata for the filter, so that per-route configuration is met too.
fn scenario(filter: &str, dice: &mut Dice) -> Scenario {
    let metadata = [
        json!({"policy": "a"}),
        json!({"disabled": true}),
        json!({"dry_run": "true", "policy": ["x"]}),
        json!({"policy": "nowhere", "arm": "v2", "dry_run": false}),
    ];
    let routes: Vec<Value> = metadata
        .into_iter()
        .enumerate()
        .map(|(number, metadata)| {
            json!({"match": {"prefix": format!("/{}", ["a", "b", "jack", "v1"][number])},
                   "route": {"cluster": "upstream"}, "metadata": {"filter_metadata": {format!("weir.{filter}"): metadata}}})
        })
        .chain([json!({"match": {"prefix": "/"}, "route": {"cluster": "upstream"}})])
        .collect();
    let fails = ClusterResponse { status: 503, ..ClusterResponse::default() };
    let one = |response, endpoints| Cluster { response, endpoints, ..Cluster::default() };
    let clusters = match dice.below(3) {
        // Every cluster is there.
        0 => BTreeMap::new(),
        1 => [("upstream", one(None, 1)), ("shadow", one(Some(fails), 1))]
            .map(|(name, it)| (name.to_owned(), it))
            .into(),
        _ => [("upstream", one(None, 1)), ("shadow", one(None, 0))]
            .map(|(name, it)| (name.to_owned(), it))
            .into(),
    };
    Scenario {
        filters: vec![Filter { name: filter.to_owned(), ..Filter::default() }],
        route_config: Some(json!({"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]})),
        clusters,
        ..Scenario::default()
    }
}

#[track_caller]
fn check(filter: &str) {
    let schema = tools::workspace().join("filters").join(filter).join("config.schema.json");
    let schema: Value = serde_json::from_slice(&fs::read(schema).unwrap()).unwrap();
    let seeds = seeds(filter);
    let configurations = Configurations::new(&schema, &seeds);
    let mut modules = Modules::default();
    let mut accepted = 0;
    let tried = env::var("WEIR_CONFIGURATIONS").map_or(CONFIGURATIONS, |text| text.parse().unwrap());
    for seed in 0..tried {
        let mut dice = Dice::new(seed);
        let config = configurations.next(&mut dice);
        let mut scenario = scenario(filter, &mut dice);
        scenario.filters[0].config = Some(config.clone());
        let setup = setup::setup(&scenario, tools::workspace(), &mut modules).unwrap();
        let mut replay = match Replay::start(setup) {
            Ok(replay) => replay,
            Err(StartError::Refused { log, .. }) => {
                assert!(
                    log.iter().any(|line| line.level == "error"),
                    "{filter}, seed {seed}: refused without a word: {config}"
                );
                continue;
            }
            Err(error) => panic!("{filter}, seed {seed}: {error}\n{config:#}"),
        };
        accepted += 1;
        let words = generate::words(&config);
        for _ in 0..REQUESTS {
            let exchange = generate::exchange(&words, &mut dice);
            let outcome = replay.exchange(&exchange);
            let ended = !matches!(outcome.end, End::Trapped | End::Stalled);
            assert!(
                ended && outcome.faults.is_empty(),
                "{filter}, seed {seed}: {:?} {:?}\n{config:#}\n{exchange:#?}\n{:#?}",
                outcome.end,
                outcome.faults,
                outcome.log
            );
        }
        replay.finish();
    }
    tools::say(&format!("{filter}: {accepted} of {tried} generated configurations accepted"));
    assert!(
        accepted * 100 >= tried * ACCEPTED,
        "{filter}: of {tried} configurations only {accepted} were accepted: the cases are too few to start from"
    );
}

/// Every filter that has a schema, so that a new one is tried without being named.
#[test]
fn accepted_configurations_neither_trap_nor_stall() {
    let mut filters: Vec<String> = Vec::new();
    for entry in fs::read_dir(tools::workspace().join("filters")).unwrap() {
        let entry = entry.unwrap();
        if entry.path().join("config.schema.json").is_file() {
            filters.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    assert!(!filters.is_empty());
    thread::scope(|scope| {
        for filter in &filters {
            scope.spawn(move || check(filter));
        }
    });
}
