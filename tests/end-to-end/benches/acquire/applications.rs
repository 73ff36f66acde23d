//! Ten thousand applications in one process: configured by a program, and by a file that is read as they are needed.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use symbolon::{
    AcquireTokenOptions, Application, ApplicationId, Clock as _, ManualClock, Settings, Symbolon,
    SystemClock, TokenAcquirer,
};
use symbolon_end_to_end::GRAPH;

use crate::measure::{each, median, nanos, resident};
use crate::server::Server;

const APPLICATIONS: usize = 10_000;
/// Of these the first tokens are compared.
const FIRST: usize = 50;
const CALLS: usize = 200_000;

/// All of them, each with its certificate loaded.
pub(crate) async fn applications(server: &Server) {
    let symbolon = Symbolon::builder().build().unwrap();
    let options = server.options("certificate");
    let add = |number: usize| {
        let id = ApplicationId::new(format!("application {number}"));
        symbolon.application(options.clone().with_id(id)).unwrap()
    };
    let cached =
        async |application: &Application| each(CALLS, || application.acquire_token_for_client([GRAPH])).await;
    let one = add(APPLICATIONS);
    let alone = cached(&one).await;

    let before = resident();
    let all: Vec<_> = (0..APPLICATIONS).map(add).collect();
    let configured = resident() - before;
    for application in &all {
        assert!(!application.check_credentials().await.is_empty());
    }
    let loaded = resident() - before;
    row("memory of an application that is configured", &kilobytes(configured), "");
    row("the same with its certificate loaded", &kilobytes(loaded), "107 kB: 1 GiB for all");

    let first = first_tokens(&all[..FIRST]).await;
    let last = first_tokens(&all[APPLICATIONS - FIRST..]).await;
    row("first token of the first applications", &nanos(first), "");
    row("first token of the last", &format!("{} ({:.2}x)", nanos(last), last / first), "1x");
    let among = cached(&one).await;
    row("cached call of an application alone", &nanos(alone), "");
    row("cached call with 10,000 beside it", &format!("{} ({:.2}x)", nanos(among), among / alone), "1x");
    let tokens = resident();
    for application in &all {
        application.acquire_token_for_client([GRAPH]).await.unwrap();
    }
    let own = kilobytes(resident().saturating_sub(tokens));
    row("what an application takes more with a token and a connection", &own, "");
}

/// The median of the time until each has its first token, one after the other.
async fn first_tokens(applications: &[Application]) -> f64 {
    let mut times = Vec::new();
    for application in applications {
        let began = Instant::now();
        application.acquire_token_for_client([GRAPH]).await.unwrap();
        times.push(began.elapsed().as_secs_f64());
    }
    median(times)
}

/// One file with a section for each.
pub(crate) async fn lazy(server: &Server) {
    let file = server.directory.join("many.json");
    std::fs::write(&file, many(server).to_string()).unwrap();
    let clock = Arc::new(ManualClock::new(SystemClock.now_unix_ms()));
    let symbolon = Symbolon::builder().clock(clock.clone()).build().unwrap();

    let (before, began) = (resident(), Instant::now());
    let settings = Settings::from_file(&file).unwrap();
    let (took, memory) = (began.elapsed().as_secs_f64(), resident() - before);
    let size = std::fs::metadata(&file).unwrap().len();
    row(
        "reading a file with 10,000 applications",
        &format!("{}, {:.1} MB of memory for {:.1} MB", nanos(took), memory as f64 / 1e6, size as f64 / 1e6),
        "",
    );
    let acquirer = symbolon.token_acquirer(settings);
    let small = symbolon.token_acquirer(Settings::from_value(server.settings("secret")));
    let mut alone = Vec::new();
    for _ in 0..FIRST {
        let began = Instant::now();
        let acquirer = symbolon.token_acquirer(Settings::from_value(server.settings("secret")));
        acquire(&acquirer, "AzureAd").await;
        alone.push(began.elapsed().as_secs_f64());
    }
    let alone = median(alone);
    row("first token of the application of a small file", &nanos(alone), "");
    for (what, start) in [("first", 0), ("last", APPLICATIONS - FIRST)] {
        let mut times = Vec::new();
        for number in start..start + FIRST {
            let began = Instant::now();
            acquire(&acquirer, &name(number)).await;
            times.push(began.elapsed().as_secs_f64());
        }
        let time = median(times);
        row(
            &format!("first token of the {what} of 10,000 in a file"),
            &format!("{} ({:.2}x)", nanos(time), time / alone),
            "1x",
        );
    }
    let name = name(APPLICATIONS - 1);
    let calls = async |acquirer: &TokenAcquirer, name: &str| {
        let mut rounds = Vec::new();
        for _ in 0..5 {
            let before = crate::measure::processor_time();
            for _ in 0..CALLS / 10 {
                acquire(acquirer, name).await;
            }
            rounds.push((crate::measure::processor_time() - before).as_secs_f64() * 10.0 / CALLS as f64);
        }
        median(rounds)
    };
    let (few, many) = (calls(&small, "AzureAd").await, calls(&acquirer, &name).await);
    row("cached call by the name of a section, of one", &nanos(few), "");
    row("the same of 10,000", &format!("{} ({:.2}x)", nanos(many), many / few), "1x");
    eviction(&symbolon, &acquirer, &clock).await;
}

/// Applications that nobody asks for go, and their memory serves those that come.
async fn eviction(symbolon: &Symbolon, acquirer: &TokenAcquirer, clock: &ManualClock) {
    const USED: usize = 1_000;
    let before = resident();
    let megabytes = || format!("{:.1} MB", resident().saturating_sub(before) as f64 / 1e6);
    for number in 0..USED {
        acquire(acquirer, &name(number)).await;
    }
    row("1,000 of them in use, with tokens and connections", &megabytes(), "");
    clock.advance(2 * 3_600_000);
    let (mut longest, began) = (0.0, Instant::now());
    for number in USED..2 * USED {
        let began = Instant::now();
        acquire(acquirer, &name(number)).await;
        longest = began.elapsed().as_secs_f64().max(longest);
    }
    let took = began.elapsed().as_secs_f64() / USED as f64;
    let times = format!("a first token {} then, {} at most", nanos(took), nanos(longest));
    row(&format!("another 1,000 after two hours: {times}"), &megabytes(), "as before");
    row("applications then", &symbolon.applications().len().to_string(), "");
}

fn many(server: &Server) -> serde_json::Value {
    let one = server.settings("secret");
    let mut all = json!({ "Symbolon": one["Symbolon"] });
    for number in 0..APPLICATIONS {
        all[name(number)] = one["AzureAd"].clone();
    }
    all
}

fn name(number: usize) -> String {
    format!("Tenant{number}")
}

async fn acquire(acquirer: &TokenAcquirer, section: &str) {
    let mut options = AcquireTokenOptions::default();
    options.authentication_options_name = Some(section.to_owned());
    acquirer.get_token_for_app(GRAPH, &mut options).await.unwrap();
}

fn kilobytes(bytes: usize) -> String {
    format!("{:.1} kB", bytes as f64 / APPLICATIONS as f64 / 1e3)
}

fn row(what: &str, measured: &str, budget: &str) {
    println!("| {what} | {measured} | {budget} |");
}
