//! Cached calls while a thousand tokens are renewed in the background.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use symbolon::{Application, Clock as _, ManualClock, Symbolon, SystemClock};
use symbolon_end_to_end::GRAPH;

use crate::measure::Latencies;
use crate::server::Server;

const TOKENS: usize = 1_000;
/// Callers, one for each worker.
const CALLERS: usize = 2;
/// Calls of a caller in a millisecond.
const CALLS: usize = 100;
/// After this time all tokens are to be renewed, and none has expired.
const RENEWAL_MS: u64 = 13 * 3_600_000;
const QUIET: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(10);

pub(crate) async fn storm(server: &mut Server) {
    let storms =
        [("", "on time"), (", authority late by 500 ms", "late 500"), (", authority fails", "status 500")];
    for (number, (what, order)) in storms.into_iter().enumerate() {
        let site = Site::new(server).await;
        if number == 0 {
            let (call, turn, ()) = site.calls(async || tokio::time::sleep(QUIET).await).await;
            println!("| cached calls, quiet: the call | {} | |", call.sorted().shown());
            println!("| cached calls, quiet: with the wait for a turn | {} | |", turn.sorted().shown());
        }
        server.order(order);
        let (call, turn, (renewals, took)) = site.calls(async || site.renewals().await).await;
        server.order("on time");
        let (call, turn, seconds) = (call.sorted(), turn.sorted(), took.as_secs_f64());
        let calls = call.len();
        println!(
            "| {renewals} renewals in {seconds:.1} s{what}: the call, of {calls} | {} | p99 2x of quiet |",
            call.shown()
        );
        println!("| {renewals} renewals{what}: with the wait for a turn | {} | |", turn.shown());
    }
}

/// An application with all its tokens.
struct Site {
    clock: Arc<ManualClock>,
    symbolon: Symbolon,
    application: Application,
    paths: Arc<[String]>,
}

impl Site {
    async fn new(server: &Server) -> Self {
        let clock = Arc::new(ManualClock::new(SystemClock.now_unix_ms()));
        let symbolon = Symbolon::builder().clock(clock.clone()).build().unwrap();
        let application = server.application(&symbolon, "refresh");
        let paths: Arc<[String]> = (0..TOKENS).map(|number| format!("path/{number}")).collect();
        for paths in paths.chunks(32) {
            join_all(paths.iter().map(|path| token(&application, path))).await;
        }
        Self { clock, symbolon, application, paths }
    }

    /// Makes the time of all tokens come. Gives how many were being renewed, and how long that took.
    async fn renewals(&self) -> (u64, Duration) {
        let before = self.symbolon.statistics().fresh_instances;
        self.clock.advance(RENEWAL_MS);
        let began = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let now = self.symbolon.statistics();
            let renewals = now.fresh_instances - before;
            let over = now.in_flight == 0 && renewals >= TOKENS as u64;
            if over || began.elapsed() > LONGEST {
                return (renewals, began.elapsed());
            }
        }
    }

    /// What calls took until `ends` does: alone, and with the wait for a turn on the runtime that they share with all else.
    async fn calls<T>(&self, ends: impl AsyncFnOnce() -> T) -> (Latencies, Latencies, T) {
        let over = Arc::new(AtomicBool::new(false));
        let caller = |_| tokio::spawn(caller(self.application.clone(), self.paths.clone(), over.clone()));
        let callers: Vec<_> = (0..CALLERS).map(caller).collect();
        let ended = ends().await;
        over.store(true, Ordering::Relaxed);
        let (mut alone, mut with_turn) = (Latencies::default(), Latencies::default());
        for caller in callers {
            let (call, turn) = caller.await.unwrap();
            alone.append(call);
            with_turn.append(turn);
        }
        (alone, with_turn, ended)
    }
}

async fn token(application: &Application, path: &str) {
    application.acquire_token_for_client([GRAPH]).with_fmi_path(path).await.unwrap();
}

async fn caller(
    application: Application,
    paths: Arc<[String]>,
    over: Arc<AtomicBool>,
) -> (Latencies, Latencies) {
    let (mut alone, mut with_turn) = (Latencies::default(), Latencies::default());
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    let mut paths = paths.iter().cycle();
    while !over.load(Ordering::Relaxed) {
        tick.tick().await;
        for path in paths.by_ref().take(CALLS) {
            let asked = Instant::now();
            tokio::task::yield_now().await;
            let turned = Instant::now();
            token(&application, path).await;
            let done = Instant::now();
            alone.add(done - turned);
            with_turn.add(done - asked);
        }
    }
    (alone, with_turn)
}
