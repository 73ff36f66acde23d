//! What an application notices of a neighbour that does its worst.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use symbolon::{Application, ApplicationId, Error, Settings, Symbolon};
use symbolon_end_to_end::GRAPH;
use symbolon_end_to_end::keys::HOSTILE_PROVIDER;
use tokio::task::JoinHandle;

use crate::measure::{Latencies, Sorted, median, nanos};
use crate::network::own_claims;
use crate::server::Server;

/// Callers of the application whose calls are measured, and of each neighbour but the one that queues.
const CALLERS: usize = 4;
const QUEUED: usize = 10_000;
/// Between two calls of a neighbour's caller.
const PAUSE: Duration = Duration::from_millis(10);
const WINDOW: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;

#[derive(Clone, Copy)]
enum Neighbour {
    Nobody,
    /// Asks as often as the others.
    Honest,
    /// Its credentials are in a component that does this in each acquisition.
    Component(&'static str),
    /// Gives the protocol this many bytes to read in each acquisition.
    Feeding(usize),
    /// So many callers wait for an authority that doesn't answer.
    Queueing,
}

const NEIGHBOURS: [(&str, Neighbour); 7] = [
    ("nobody", Neighbour::Nobody),
    ("one that asks the same", Neighbour::Honest),
    ("one that traps", Neighbour::Component("trap")),
    ("one that spins", Neighbour::Component("spin")),
    ("one that eats memory", Neighbour::Component("allocate")),
    ("one that sends 256 kB", Neighbour::Feeding(256 << 10)),
    ("one with 10,000 calls to a slow authority", Neighbour::Queueing),
];

pub(crate) async fn neighbours(server: &Server, only: Option<&str>) {
    let mut slow = Server::start();
    slow.order("late 20000");
    let chosen = |name: &str| only.is_none_or(|only| name == "nobody" || name.contains(only));
    let mut alone = None;
    for (name, neighbour) in NEIGHBOURS.into_iter().filter(|(name, _)| chosen(name)) {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push(beside(server, &slow, neighbour).await);
        }
        let of = |part: fn(&Seen) -> f64| median(rounds.iter().map(part).collect());
        let seen = [of(|seen| seen.cached.percentile(99.0)), of(|seen| seen.network.percentile(99.0))];
        let alone = *alone.get_or_insert(seen);
        let shown = |index: usize| format!("{} ({:.2}x)", nanos(seen[index]), seen[index] / alone[index]);
        let calls: usize = rounds.iter().map(|seen| seen.network.len()).sum();
        let failed: usize = rounds.iter().map(|seen| seen.failed).sum();
        println!(
            "| beside {name}: p99 of cached calls, p99 of network calls | {}, {} ({calls}, {failed} failed) | 1.2x |",
            shown(0),
            shown(1)
        );
        if let (Some(last), false) = (rounds.last(), matches!(neighbour, Neighbour::Nobody)) {
            println!("  the neighbour's calls: {}", last.theirs);
        }
    }
}

struct Seen {
    cached: Sorted,
    network: Sorted,
    failed: usize,
    theirs: String,
}

async fn beside(server: &Server, slow: &Server, neighbour: Neighbour) -> Seen {
    let symbolon = Symbolon::builder().build().unwrap();
    let application = server.named(&symbolon, "secret", "ours");
    application.acquire_token_for_client([GRAPH]).await.unwrap();
    let (over, outcomes) = (Arc::new(AtomicBool::new(false)), Arc::new(Outcomes::default()));
    let theirs = callers(server, slow, &symbolon, neighbour, &over, &outcomes);
    settled(&symbolon).await;

    let networks: Vec<_> =
        (0..CALLERS).map(|_| tokio::spawn(network(application.clone(), over.clone()))).collect();
    let cached = tokio::spawn(cached(application, over.clone()));
    tokio::time::sleep(WINDOW).await;
    over.store(true, Ordering::Relaxed);
    let (mut network, mut failed) = (Latencies::default(), 0);
    for caller in networks {
        let (latencies, failures) = caller.await.unwrap();
        network.append(latencies);
        failed += failures;
    }
    let cached = cached.await.unwrap().sorted();
    theirs.iter().for_each(JoinHandle::abort);
    for caller in theirs {
        let _ = caller.await;
    }
    Seen { cached, network: network.sorted(), failed, theirs: outcomes.shown() }
}

/// Until no more come to be under way, which takes a second at least.
async fn settled(symbolon: &Symbolon) {
    let mut most = 0;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let in_flight = symbolon.statistics().in_flight;
        if in_flight <= most.max(2 * CALLERS) {
            return;
        }
        most = in_flight;
    }
}

/// Cached calls, a hundred in a millisecond.
async fn cached(application: Application, over: Arc<AtomicBool>) -> Latencies {
    let mut latencies = Latencies::default();
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    while !over.load(Ordering::Relaxed) {
        tick.tick().await;
        for _ in 0..100 {
            let began = Instant::now();
            application.acquire_token_for_client([GRAPH]).await.unwrap();
            latencies.add(began.elapsed());
        }
    }
    latencies
}

async fn network(application: Application, over: Arc<AtomicBool>) -> (Latencies, usize) {
    let (mut latencies, mut failed) = (Latencies::default(), 0);
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        match application.acquire_token_for_client([GRAPH]).with_claims(own_claims("n")).await {
            Ok(_) => latencies.add(began.elapsed()),
            Err(_) => {
                failed += 1;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    (latencies, failed)
}

/// What became of the neighbour's calls.
#[derive(Default)]
struct Outcomes {
    tokens: AtomicUsize,
    refused: AtomicUsize,
    failed: AtomicUsize,
    last: std::sync::Mutex<String>,
}

impl Outcomes {
    fn add(&self, error: Option<&Error>) {
        let counter = match error {
            None => &self.tokens,
            Some(error) if error.code().contains("in_flight_limit") => &self.refused,
            Some(error) => {
                *self.last.lock().unwrap() = error.to_string().chars().take(200).collect();
                &self.failed
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn shown(&self) -> String {
        let [tokens, refused, failed] =
            [&self.tokens, &self.refused, &self.failed].map(|counter| counter.load(Ordering::Relaxed));
        let last = self.last.lock().unwrap().replace('\n', " ");
        format!("{tokens} tokens, {refused} refused for the limit, {failed} failed {last}")
    }
}

fn callers(
    server: &Server,
    slow: &Server,
    symbolon: &Symbolon,
    neighbour: Neighbour,
    over: &Arc<AtomicBool>,
    outcomes: &Arc<Outcomes>,
) -> Vec<JoinHandle<()>> {
    let honest = |server: &Server| server.named(symbolon, "secret", "theirs");
    let (application, claims, count, pause): (_, Arc<dyn Fn() -> String + Send + Sync>, _, _) =
        match neighbour {
            Neighbour::Nobody => return Vec::new(),
            Neighbour::Honest => (honest(server), Arc::new(|| own_claims("n")), CALLERS, PAUSE),
            Neighbour::Component(deed) => {
                (with_component(server, symbolon), Arc::new(move || own_claims(deed)), CALLERS, PAUSE)
            }
            Neighbour::Feeding(bytes) => {
                let name = "n".repeat(bytes);
                (honest(server), Arc::new(move || own_claims(&name)), CALLERS, PAUSE)
            }
            Neighbour::Queueing => {
                (honest(slow), Arc::new(|| own_claims("n")), QUEUED, Duration::from_secs(1))
            }
        };
    let caller = |_| {
        let (application, claims, over, outcomes) =
            (application.clone(), claims.clone(), over.clone(), outcomes.clone());
        tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let acquired = application.acquire_token_for_client([GRAPH]).with_claims(claims()).await;
                outcomes.add(acquired.err().as_ref());
                tokio::time::sleep(pause).await;
            }
        })
    };
    (0..count).map(caller).collect()
}

/// An application whose assertions are made by a component that does what the claims say.
fn with_component(server: &Server, symbolon: &Symbolon) -> Application {
    let component = server.directory.join("hostile-provider.wasm");
    std::fs::write(&component, HOSTILE_PROVIDER).unwrap();
    let mut settings = server.settings("federated");
    settings["AzureAd"]["ClientCredentials"] =
        json!([{ "SourceType": "CustomSignedAssertion", "CustomSignedAssertionProviderName": "hostile" }]);
    settings["Symbolon"]["CredentialProviders"] = json!({ "hostile": {
        "Component": component,
        "Settings": { "Order": "" },
        "Files": { "assertion": server.directory.join("federated-assertion.jwt") },
    }});
    let options = Settings::from_value(settings).application(None).unwrap();
    symbolon.application(options.with_id(ApplicationId::new("theirs"))).unwrap()
}
