//! Metrics. Their names, units and attributes are a stable contract; `docs/metrics.md` has it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use symbolon::{Ended, ErrorKind, Event, Outcome, Recorded, Recorder, RequestEnded, Symbolon};

/// A metric, as it is documented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name for OpenTelemetry, such as `symbolon.acquisitions`.
    pub name: &'static str,
    /// Its unit in UCUM, such as `s`.
    pub unit: &'static str,
    /// The names of its attributes.
    pub attributes: &'static [&'static str],
    description: &'static str,
}

impl Metric {
    const fn new(
        name: &'static str,
        unit: &'static str,
        attributes: &'static [&'static str],
        description: &'static str,
    ) -> Self {
        Self { name, unit, attributes, description }
    }
}

/// All metrics.
pub const METRICS: [Metric; 21] = [
    ACQUISITIONS,
    DURATION,
    IN_FLIGHT,
    IN_FLIGHT_LIMIT,
    HTTP_DURATION,
    THROTTLES,
    INSTANCE_STARTS,
    INSTANCE_STOPS,
    CACHE_ENTRIES,
    CACHE_SIZE,
    CACHE_EVICTIONS,
    CACHE_LOOKUPS,
    CACHE_FLIGHTS,
    SECOND_LEVEL,
    SECOND_LEVEL_CIRCUIT,
    CREDENTIAL_LOADS,
    CREDENTIAL_LOAD_FAILURES,
    CREDENTIAL_ROTATIONS,
    CREDENTIAL_REJECTIONS,
    CERTIFICATE_EXPIRY,
    CONFIGURATION_RELOADS,
];

const ACQUISITIONS: Metric = Metric::new(
    "symbolon.acquisitions",
    "{acquisition}",
    &[APPLICATION, FLOW, SOURCE, REASON, ERROR],
    "Acquisitions that ended.",
);
const DURATION: Metric = Metric::new(
    "symbolon.acquisition.duration",
    "s",
    &[FLOW, SOURCE, REASON, ERROR],
    "How long acquisitions took that the protocol was asked for.",
);
const IN_FLIGHT: Metric =
    Metric::new("symbolon.acquisition.in_flight", "{acquisition}", &[], "Acquisitions under way.");
const IN_FLIGHT_LIMIT: Metric = Metric::new(
    "symbolon.acquisition.in_flight.limit",
    "{acquisition}",
    &[],
    "How many acquisitions may be under way.",
);
const HTTP_DURATION: Metric = Metric::new(
    "http.client.request.duration",
    "s",
    &[METHOD, ADDRESS, STATUS, ERROR],
    "How long requests to authorities, platforms and APIs took.",
);
const THROTTLES: Metric = Metric::new(
    "symbolon.throttles",
    "{acquisition}",
    &[APPLICATION],
    "Acquisitions that ended in a pause that an authority asked for.",
);
const INSTANCE_STARTS: Metric = Metric::new(
    "symbolon.instance.starts",
    "{instance}",
    &[KIND],
    "Acquisitions in an instance of the guest, fresh or kept.",
);
const INSTANCE_STOPS: Metric = Metric::new(
    "symbolon.instance.stops",
    "{instance}",
    &[ERROR],
    "Instances that were stopped for breaking a limit, or trapped.",
);
const CACHE_ENTRIES: Metric = Metric::new("symbolon.cache.entries", "{entry}", &[], "Entries of the cache.");
const CACHE_SIZE: Metric = Metric::new("symbolon.cache.size", "By", &[], "Memory that they take.");
const CACHE_EVICTIONS: Metric =
    Metric::new("symbolon.cache.evictions", "{entry}", &[], "Entries that had to make room.");
const CACHE_LOOKUPS: Metric =
    Metric::new("symbolon.cache.lookups", "{lookup}", &[ANSWER], "Looks into the cache by the guest.");
const CACHE_FLIGHTS: Metric = Metric::new(
    "symbolon.cache.flights",
    "{flight}",
    &[PART],
    "Times that an entry was brought, or waited for because another acquisition was bringing it.",
);
const SECOND_LEVEL: Metric = Metric::new(
    "symbolon.cache.second_level.events",
    "{event}",
    &[EVENT],
    "What became of operations of the cache's second level.",
);
const SECOND_LEVEL_CIRCUIT: Metric = Metric::new(
    "symbolon.cache.second_level.circuit_open",
    "{circuit}",
    &[],
    "1 while the second level is left alone because it failed.",
);
const CREDENTIAL_LOADS: Metric =
    Metric::new("symbolon.credential.loads", "{load}", &[], "Readings of credentials' sources.");
const CREDENTIAL_LOAD_FAILURES: Metric =
    Metric::new("symbolon.credential.load_failures", "{load}", &[], "Readings that gave nothing usable.");
const CREDENTIAL_ROTATIONS: Metric = Metric::new(
    "symbolon.credential.rotations",
    "{credential}",
    &[],
    "Credentials that took the place of others.",
);
const CREDENTIAL_REJECTIONS: Metric = Metric::new(
    "symbolon.credential.rejections",
    "{credential}",
    &[],
    "Credentials that an authority, or an API, refused.",
);
const CERTIFICATE_EXPIRY: Metric = Metric::new(
    "symbolon.certificate.time_left",
    "s",
    &[APPLICATION, CREDENTIAL],
    "What is left of the certificates that are loaded.",
);
const CONFIGURATION_RELOADS: Metric = Metric::new(
    "symbolon.configuration.reloads",
    "{reload}",
    &[RESULT],
    "Changes of the configuration that were applied, or refused.",
);

/// What an application's engine says of itself when somebody asks.
type Observed = Arc<OnceLock<Symbolon>>;

/// Counts what is recorded.
pub(crate) struct Metrics {
    acquisitions: Counter<u64>,
    duration: Histogram<f64>,
    http_duration: Histogram<f64>,
    throttles: Counter<u64>,
    reloads: Counter<u64>,
    applications: Names,
    addresses: Names,
}

impl Metrics {
    /// Makes all instruments. Those that observe say nothing until there is something to observe.
    pub(crate) fn new(meter: &Meter, observed: &Observed) -> Self {
        observe_engine(meter, observed);
        observe_cache(meter, observed);
        observe_second_level(meter, observed);
        observe_credentials(meter, observed);
        let histogram = |metric: &Metric| {
            meter
                .f64_histogram(metric.name)
                .with_unit(metric.unit)
                .with_description(metric.description)
                .with_boundaries(BOUNDARIES.to_vec())
                .build()
        };
        Self {
            acquisitions: counter(meter, &ACQUISITIONS),
            duration: histogram(&DURATION),
            http_duration: histogram(&HTTP_DURATION),
            throttles: counter(meter, &THROTTLES),
            reloads: counter(meter, &CONFIGURATION_RELOADS),
            applications: Names::default(),
            addresses: Names::default(),
        }
    }

    pub(crate) fn configuration_reloaded(&self, applied: bool) {
        self.reloads.add(1, &[KeyValue::new(RESULT, if applied { "applied" } else { "refused" })]);
    }

    fn ended(&self, of: &Recorded<'_>, ended: &Ended<'_>) {
        let application = KeyValue::new(APPLICATION, self.applications.bounded(of.application.as_str()));
        let mut attributes = Vec::with_capacity(4);
        attributes.push(KeyValue::new(FLOW, of.flow));
        match &ended.outcome {
            Outcome::Token(token) => attributes.extend([
                KeyValue::new(SOURCE, token.source().as_str()),
                KeyValue::new(REASON, token.cache_refresh_reason().as_str()),
            ]),
            Outcome::Failed(failure) => {
                if failure.kind() == ErrorKind::Throttled.as_str() {
                    self.throttles.add(1, std::slice::from_ref(&application));
                }
                attributes.push(KeyValue::new(ERROR, failure.kind()));
            }
            _ => return,
        }
        if !ended.reused {
            self.duration.record(ended.duration.as_secs_f64(), &attributes);
        }
        attributes.push(application);
        self.acquisitions.add(1, &attributes);
    }

    fn request_ended(&self, ended: &RequestEnded<'_>) {
        let mut attributes = vec![
            KeyValue::new(METHOD, method(&ended.request.method)),
            KeyValue::new(ADDRESS, self.addresses.bounded(&ended.request.authority)),
        ];
        match ended.outcome {
            Ok(status) => {
                attributes.push(KeyValue::new(STATUS, i64::from(status)));
                if status >= 400 {
                    attributes.push(KeyValue::new(ERROR, status.to_string()));
                }
            }
            Err(error) => attributes.push(KeyValue::new(ERROR, name_of(&format!("{:?}", error.kind())))),
        }
        self.http_duration.record(ended.duration.as_secs_f64(), &attributes);
    }
}

impl Recorder for Metrics {
    fn record(&self, of: &Recorded<'_>, event: &Event<'_>) {
        match event {
            Event::Ended(ended) => self.ended(of, ended),
            Event::RequestEnded(ended) => self.request_ended(ended),
            _ => {}
        }
    }
}

fn observe_engine(meter: &Meter, observed: &Observed) {
    let read = |metric: &Metric, read: fn(&symbolon::EngineStatistics) -> usize| {
        let observed = Arc::clone(observed);
        gauge(meter, metric)
            .with_callback(move |observer| {
                if let Some(symbolon) = observed.get() {
                    observer.observe(as_u64(read(&symbolon.statistics())), &[]);
                }
            })
            .build()
    };
    read(&IN_FLIGHT, |statistics| statistics.in_flight);
    read(&IN_FLIGHT_LIMIT, |statistics| statistics.max_in_flight);
    observe(meter, observed, &INSTANCE_STARTS, |symbolon| {
        let statistics = symbolon.statistics();
        vec![(KIND, "fresh", statistics.fresh_instances), (KIND, "kept", statistics.kept_instances)]
    });
    observe(meter, observed, &INSTANCE_STOPS, |symbolon| {
        let statistics = symbolon.statistics();
        vec![
            (ERROR, "cpu-budget", statistics.stopped_for_cpu),
            (ERROR, "memory-limit", statistics.stopped_for_memory),
            (ERROR, "stack-overflow", statistics.stopped_for_stack),
            (ERROR, "trap", statistics.trapped),
        ]
    });
}

fn observe_cache(meter: &Meter, observed: &Observed) {
    for (metric, read) in [
        (&CACHE_ENTRIES, (|cache| cache.entries) as fn(&symbolon::CacheStatistics) -> usize),
        (&CACHE_SIZE, |cache| cache.bytes),
    ] {
        let observed = Arc::clone(observed);
        gauge(meter, metric)
            .with_callback(move |observer| {
                if let Some(symbolon) = observed.get() {
                    observer.observe(as_u64(read(&symbolon.cache_statistics())), &[]);
                }
            })
            .build();
    }
    observe(meter, observed, &CACHE_EVICTIONS, |symbolon| {
        vec![("", "", symbolon.cache_statistics().evictions)]
    });
    observe(meter, observed, &CACHE_LOOKUPS, |symbolon| {
        let cache = symbolon.cache_statistics();
        vec![(ANSWER, "hit", cache.hits), (ANSWER, "miss", cache.misses)]
    });
    observe(meter, observed, &CACHE_FLIGHTS, |symbolon| {
        let cache = symbolon.cache_statistics();
        vec![(PART, "led", cache.flights_led), (PART, "joined", cache.flights_joined)]
    });
}

fn observe_second_level(meter: &Meter, observed: &Observed) {
    observe(meter, observed, &SECOND_LEVEL, |symbolon| {
        let it = symbolon.second_level_statistics();
        vec![
            (EVENT, "hit", it.hits),
            (EVENT, "miss", it.misses),
            (EVENT, "write", it.writes),
            (EVENT, "dropped_write", it.dropped_writes),
            (EVENT, "failure", it.failures),
            (EVENT, "skipped", it.skipped),
            (EVENT, "refused_value", it.refused_values),
            (EVENT, "wait", it.waits),
            (EVENT, "removals_sent", it.removals_sent),
            (EVENT, "removals_received", it.removals_received),
        ]
    });
    let observed = Arc::clone(observed);
    gauge(meter, &SECOND_LEVEL_CIRCUIT)
        .with_callback(move |observer| {
            if let Some(symbolon) = observed.get() {
                observer.observe(u64::from(symbolon.second_level_statistics().circuit_open), &[]);
            }
        })
        .build();
}

fn observe_credentials(meter: &Meter, observed: &Observed) {
    for (metric, read) in [
        (&CREDENTIAL_LOADS, (|it| it.loads) as fn(&symbolon::CredentialStatistics) -> u64),
        (&CREDENTIAL_LOAD_FAILURES, |it| it.load_failures),
        (&CREDENTIAL_ROTATIONS, |it| it.rotations),
        (&CREDENTIAL_REJECTIONS, |it| it.rejections),
    ] {
        observe(meter, observed, metric, move |symbolon| {
            let applications = symbolon.applications();
            vec![("", "", applications.iter().map(|it| read(&it.credential_statistics())).sum())]
        });
    }
    let observed = Arc::clone(observed);
    gauge(meter, &CERTIFICATE_EXPIRY)
        .with_callback(move |observer| {
            for (application, credential, left) in observed.get().map(expiries).unwrap_or_default() {
                let attributes =
                    [KeyValue::new(APPLICATION, application), KeyValue::new(CREDENTIAL, credential)];
                observer.observe(left, &attributes);
            }
        })
        .build();
}

/// The certificates that end first.
fn expiries(symbolon: &Symbolon) -> Vec<(String, String, u64)> {
    let applications = symbolon.applications();
    let mut all: Vec<_> = applications
        .iter()
        .flat_map(|application| {
            let id = application.options().id();
            let expiries = application.certificate_expiries().into_iter();
            expiries.map(move |expiry| (id.to_string(), expiry.credential, expiry.left_seconds))
        })
        .collect();
    all.sort_by_key(|(_, _, left)| *left);
    all.truncate(NAMES);
    all
}

/// A counter that is read when somebody asks: for each value of an attribute, or as a whole where that has no name.
fn observe(
    meter: &Meter,
    observed: &Observed,
    metric: &Metric,
    read: impl Fn(&Symbolon) -> Vec<(&'static str, &'static str, u64)> + Send + Sync + 'static,
) {
    let observed = Arc::clone(observed);
    meter
        .u64_observable_counter(metric.name)
        .with_unit(metric.unit)
        .with_description(metric.description)
        .with_callback(move |observer| {
            for (name, value, count) in observed.get().map(&read).unwrap_or_default() {
                match name {
                    "" => observer.observe(count, &[]),
                    name => observer.observe(count, &[KeyValue::new(name, value)]),
                }
            }
        })
        .build();
}

fn gauge<'a>(
    meter: &'a Meter,
    metric: &Metric,
) -> opentelemetry::metrics::AsyncInstrumentBuilder<'a, opentelemetry::metrics::ObservableGauge<u64>, u64> {
    meter.u64_observable_gauge(metric.name).with_unit(metric.unit).with_description(metric.description)
}

fn counter(meter: &Meter, metric: &Metric) -> Counter<u64> {
    meter.u64_counter(metric.name).with_unit(metric.unit).with_description(metric.description).build()
}

/// Names that come from outside, as many as a time series for each can be afforded.
#[derive(Default)]
struct Names(Mutex<BTreeSet<Arc<str>>>);

impl Names {
    /// The name, or `other` where there are too many.
    fn bounded(&self, name: &str) -> Arc<str> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = known.get(name) {
            return name.clone();
        }
        if known.len() >= NAMES {
            return "other".into();
        }
        let name: Arc<str> = name.into();
        known.insert(name.clone());
        name
    }
}

/// The method, or `_OTHER` for one that HTTP doesn't know.
fn method(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "_OTHER",
    }
}

/// The name of a variant, without what is in it.
fn name_of(debug: &str) -> String {
    debug.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default().to_owned()
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// How many applications, hosts and certificates have time series of their own.
const NAMES: usize = 100;

/// Seconds. A look into the cache by the guest takes some 40 µs, a request over loopback 1 ms, a deadline is 30 s.
const BOUNDARIES: [f64; 14] =
    [0.000_05, 0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

const APPLICATION: &str = "symbolon.application";
const FLOW: &str = "symbolon.flow";
const SOURCE: &str = "symbolon.token.source";
const REASON: &str = "symbolon.cache.refresh_reason";
const KIND: &str = "symbolon.instance.kind";
const ANSWER: &str = "symbolon.cache.answer";
const PART: &str = "symbolon.cache.part";
const EVENT: &str = "symbolon.cache.second_level.event";
const CREDENTIAL: &str = "symbolon.credential";
const RESULT: &str = "symbolon.reload.result";
/// As the semantic conventions of OpenTelemetry name them.
const ERROR: &str = "error.type";
const METHOD: &str = "http.request.method";
const ADDRESS: &str = "server.address";
const STATUS: &str = "http.response.status_code";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded() {
        let names = Names::default();
        for n in 0..NAMES {
            assert_eq!(&*names.bounded(&n.to_string()), n.to_string());
        }
        assert_eq!(&*names.bounded("one more"), "other");
        assert_eq!(&*names.bounded("7"), "7");
    }

    #[test]
    fn the_name_of_a_variant_has_no_content() {
        assert_eq!(name_of("AttemptTimeout(14s)"), "AttemptTimeout");
        assert_eq!(name_of("Dns"), "Dns");
    }
}
