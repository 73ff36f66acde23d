//! Acquisitions that go to the authority, beside a bare client that sends the same request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use symbolon::{Application, Symbolon};
use symbolon_end_to_end::GRAPH;

use crate::bare;
use crate::measure::{ROUNDS, load, median, nanos};
use crate::server::{SECRET, Server};

/// Acquisitions per measurement.
const REQUESTS: usize = 4_000;

/// The contestants, by the words that choose one of them.
pub(crate) const CONTESTANTS: [&str; 4] = ["bare", "kept", "fresh", "certificate"];

const NAMES: [&str; 4] =
    ["bare hyper", "secret, kept instances", "secret, fresh instances", "certificate, fresh instances"];

/// One call of a contestant.
type Call = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// All contestants in turn, or `only` one, which a profiler then sees alone.
pub(crate) async fn network(server: &Server, symbolon: &Symbolon, only: Option<&str>) {
    let calls = contestants(server, symbolon);
    let takes_part = |name: &str| only.is_none_or(|only| only == name);
    for concurrency in [1, 32, 2_000] {
        let mut rounds: [Vec<f64>; 4] = Default::default();
        for _ in 0..ROUNDS {
            for ((name, call), times) in CONTESTANTS.iter().zip(&calls).zip(&mut rounds) {
                if takes_part(name) {
                    let requests = if *name == "certificate" { REQUESTS / 4 } else { REQUESTS };
                    let call = call.clone();
                    times.push(load(concurrency, requests, move || call()).await);
                }
            }
        }
        let bare = (!rounds[0].is_empty()).then(|| median(rounds[0].clone()));
        for (name, times) in NAMES.iter().zip(rounds).filter(|(_, times)| !times.is_empty()) {
            let time = median(times);
            let ratio = bare.map(|bare| format!(" ({:.1}x)", time / bare)).unwrap_or_default();
            println!("| network, {concurrency} in flight: {name} | {}{ratio} | |", nanos(time));
        }
    }
}

fn contestants(server: &Server, symbolon: &Symbolon) -> [Call; 4] {
    let kept = server.named(symbolon, "secret", "kept");
    kept.reuse_instances(true);
    let client = Arc::new(bare::Client::new(&server.settings("secret"), SECRET));
    let bare: Call = Arc::new(move || {
        let client = client.clone();
        Box::pin(async move { client.token().await })
    });
    [
        bare,
        forced(&kept),
        forced(&server.application(symbolon, "secret")),
        forced(&server.application(symbolon, "certificate")),
    ]
}

/// Acquisitions that go to the network each.
fn forced(application: &Application) -> Call {
    let application = application.clone();
    Arc::new(move || {
        let application = application.clone();
        Box::pin(async move {
            application.acquire_token_for_client([GRAPH]).with_claims(own_claims("n")).await.unwrap();
        })
    })
}

/// A claims challenge that no other call has: each is its own flight.
pub(crate) fn own_claims(name: &str) -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!(r#"{{"access_token":{{"{name}":{{"value":"{number}"}}}}}}"#)
}
