//! The page of metrics says what happened, under the names that the documentation has.

use std::collections::BTreeSet;

use symbolon::Symbolon;
use symbolon_authority::{Fault, FaultRule, RetryAfter};
use symbolon_end_to_end::{GRAPH, VAULT, World, engine_with, hostile_engine, order, workspace};
use symbolon_telemetry::{METRICS, Telemetry};

fn telemetry() -> Telemetry {
    Telemetry::new(|_| None).expect("telemetry")
}

/// The value of the only series of this name whose labels have all of these in them.
fn value(page: &str, name: &str, labels: &[&str]) -> f64 {
    let series: Vec<_> = page
        .lines()
        .filter(|line| line.split(['{', ' ']).next() == Some(name))
        .filter(|line| labels.iter().all(|label| line.contains(label)))
        .collect();
    assert_eq!(series.len(), 1, "{name} {labels:?}: {series:?} in\n{page}");
    series[0].rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
}

fn page(telemetry: &Telemetry) -> String {
    telemetry.metrics_page().expect("a page")
}

async fn measured(telemetry: &Telemetry) -> (World, Symbolon) {
    let symbolon = engine_with(|builder| builder.recorder(telemetry.recorder()));
    telemetry.observe(&symbolon);
    (World::start().await, symbolon)
}

#[tokio::test]
async fn the_page_says_what_happened() {
    let telemetry = telemetry();
    let (world, symbolon) = measured(&telemetry).await;
    let application = world.application(&symbolon, "certificate");
    for _ in 0..5 {
        application.acquire_token_for_client([GRAPH]).await.expect("a token");
    }
    application.acquire_token_for_client([GRAPH]).with_force_refresh(true).await.expect("a token");
    let pause = Fault::Status { status: 429, retry_after: Some(RetryAfter::Seconds(7)), body: None };
    world.authority.faults().add(FaultRule::once(pause));
    application.acquire_token_for_client([VAULT]).await.expect_err("a pause");
    telemetry.configuration_reloaded(false);

    let page = page(&telemetry);
    let acquisitions = |labels: &[&str]| value(&page, "symbolon_acquisitions_total", labels);
    let flow = "symbolon_flow=\"for-client\"";
    assert_eq!(acquisitions(&[flow, "source=\"cache\""]), 4.0);
    assert_eq!(acquisitions(&[flow, "identityProvider", "noCachedAccessToken"]), 1.0);
    assert_eq!(acquisitions(&[flow, "identityProvider", "forceRefreshOrClaims"]), 1.0);
    assert_eq!(acquisitions(&[flow, "error_type=\"throttled\""]), 1.0);
    let counted = "symbolon_acquisition_duration_seconds_count";
    assert_eq!(value(&page, counted, &["noCachedAccessToken"]), 1.0);
    let request = "http_client_request_duration_seconds_count";
    let host = "server_address=\"login.microsoftonline.com\"";
    assert_eq!(value(&page, request, &[host, "status_code=\"200\"", "method=\"POST\""]), 2.0);
    assert_eq!(value(&page, request, &[host, "error_type=\"429\""]), 1.0);
    assert_eq!(value(&page, "symbolon_throttles_total", &[]), 1.0);
    assert_eq!(value(&page, "symbolon_acquisition_in_flight", &[]), 0.0);
    assert_eq!(value(&page, "symbolon_acquisition_in_flight_limit", &[]), 4096.0);
    assert_eq!(value(&page, "symbolon_instance_starts_total", &["fresh"]), 3.0);
    let entries = symbolon.cache_statistics().entries;
    assert!(entries > 0);
    assert_eq!(value(&page, "symbolon_cache_entries", &[]), entries as f64);
    assert!(value(&page, "symbolon_cache_size_bytes", &[]) > 1000.0);
    assert_eq!(value(&page, "symbolon_cache_flights_total", &["led"]), 3.0);
    assert_eq!(value(&page, "symbolon_credential_loads_total", &[]), 1.0);
    let left = value(&page, "symbolon_certificate_time_left_seconds", &["ClientCredentials[0] (Path)"]);
    let expiry = application.certificate_expiries()[0].left_seconds;
    assert!(left >= expiry as f64 && left < expiry as f64 + 60.0, "{left}, not {expiry}");
    assert_eq!(value(&page, "symbolon_configuration_reloads_total", &["refused"]), 1.0);
    assert!(!page.contains("eyJ"), "a token is on the page");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_instances_and_evictions_are_counted() {
    let telemetry = telemetry();
    let hostile = hostile_engine(|builder| builder.recorder(telemetry.recorder()));
    telemetry.observe(&hostile);
    let world = World::start().await;
    let application = world.application(&hostile, "secret");
    for order_ in ["trap", "recurse"] {
        order(&application, order_).await.expect_err("a stopped guest");
    }
    let page = page(&telemetry);
    assert_eq!(value(&page, "symbolon_instance_stops_total", &["error_type=\"trap\""]), 1.0);
    assert_eq!(value(&page, "symbolon_instance_stops_total", &["stack-overflow"]), 1.0);
    assert_eq!(value(&page, "symbolon_acquisitions_total", &["guest-stopped"]), 2.0);

    let telemetry = self::telemetry();
    let mut limits = symbolon::CacheLimits::default();
    limits.max_entries = 1;
    let symbolon = engine_with(|builder| builder.recorder(telemetry.recorder()).cache_limits(limits));
    telemetry.observe(&symbolon);
    let application = world.application(&symbolon, "secret");
    for scope in [GRAPH, VAULT] {
        application.acquire_token_for_client([scope]).await.expect("a token");
    }
    let page = self::page(&telemetry);
    let cache = symbolon.cache_statistics();
    assert!(cache.evictions > 0);
    assert_eq!(value(&page, "symbolon_cache_evictions_total", &[]), cache.evictions as f64);
    assert_eq!(value(&page, "symbolon_cache_entries", &[]), 1.0);
}

/// Whoever adds an application for each user of theirs doesn't add a time series for each.
#[tokio::test]
async fn applications_without_end_are_a_bounded_number_of_series() {
    let telemetry = telemetry();
    let (world, symbolon) = measured(&telemetry).await;
    let options = world.options("certificate", |_| {}).expect("options");
    let mut kept = Vec::new();
    for number in 0..130 {
        let id = symbolon::ApplicationId::new(format!("application {number}"));
        let application = symbolon.application(options.clone().with_id(id)).expect("an application");
        application.check_credentials().await;
        // Fails before anything is sent.
        application.acquire_token_for_client(["not a scope"; 0]).await.expect_err("no scope");
        kept.push(application);
    }
    let page = page(&telemetry);
    for name in ["symbolon_acquisitions_total", "symbolon_certificate_time_left_seconds"] {
        let series = page.lines().filter(|line| line.starts_with(name)).count();
        assert!((2..=101).contains(&series), "{name}: {series}");
    }
    assert_eq!(value(&page, "symbolon_acquisitions_total", &["application=\"other\""]), 30.0);
}

/// `docs/metrics.md` has a row for each metric, and no others.
#[test]
fn the_documentation_has_all_metrics() {
    let documentation = std::fs::read_to_string(workspace("docs/metrics.md")).expect("docs/metrics.md");
    let table = documentation.split("\n## ").find(|section| section.starts_with("Metrics")).expect("a table");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let documented: BTreeSet<_> = rows
        .map(|row| {
            let mut cells = row.split('|').map(|cell| cell.trim().trim_matches('`').to_owned());
            let (name, _, unit, attributes) = (cells.next(), cells.next(), cells.next(), cells.next());
            (name.unwrap_or_default(), unit.unwrap_or_default(), attributes.unwrap_or_default())
        })
        .collect();
    let attributes =
        |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let known: BTreeSet<_> = METRICS
        .iter()
        .map(|metric| {
            let attributes = attributes(metric.attributes).trim_matches('`').to_owned();
            (metric.name.to_owned(), metric.unit.to_owned(), attributes)
        })
        .collect();
    assert_eq!(documented, known);
}
