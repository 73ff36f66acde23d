//! What an acquisition costs, beside a bare hyper client that sends the same request to the same server in the same run.
//!
//! ```console
//! $ cargo bench -p symbolon-end-to-end --bench acquire                         # all sections
//! $ cargo bench -p symbolon-end-to-end --bench acquire -- cached storm         # some of them
//! $ cargo bench -p symbolon-end-to-end --bench acquire -- network fresh        # one contestant, for a profiler
//! $ cargo bench -p symbolon-end-to-end --bench acquire -- neighbours spins     # one neighbour
//! ```

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark measures time and may panic"
)]
#![allow(unsafe_code, reason = "getrusage")]

use std::process::{Command, Stdio};
use std::time::Instant;

use symbolon::Symbolon;
use symbolon_end_to_end::GRAPH;

use crate::measure::median;
use crate::server::Server;

mod applications;
mod bare;
mod cached;
mod connector;
mod measure;
mod neighbours;
mod network;
mod server;
mod storm;

const SECTIONS: [&str; 8] =
    ["first", "cached", "scaling", "network", "storm", "applications", "lazy", "neighbours"];

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let words: Vec<_> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == server::ARGUMENT) {
        return runtime.block_on(server::serve());
    }
    // Cargo adds arguments of its own.
    let words: Vec<_> = words.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
    let (sections, others): (Vec<_>, Vec<_>) = words.into_iter().partition(|word| SECTIONS.contains(word));
    if sections.is_empty() && !others.is_empty() {
        eprintln!("no such section: {others:?}; there are {SECTIONS:?}");
        std::process::exit(2);
    }
    runtime.block_on(measure(&sections, others.first().copied()));
}

/// The sections that are named, or all; of some only a part, where one is named.
async fn measure(sections: &[&str], only: Option<&str>) {
    let mut server = Server::start();
    let began = Instant::now();
    let symbolon = Symbolon::builder().build().unwrap();
    let built = began.elapsed();
    for section in SECTIONS.into_iter().filter(|name| sections.is_empty() || sections.contains(name)) {
        match section {
            "first" => {
                println!("| engine, component compiled at start | {:.1} ms |", built.as_secs_f64() * 1e3);
                first(&server, &symbolon).await;
            }
            "cached" => cached::cached(&server, &symbolon).await,
            "scaling" => cached::scaling(&server, &symbolon).await,
            "network" => {
                let only = only.filter(|word| network::CONTESTANTS.contains(word));
                network::network(&server, &symbolon, only).await;
            }
            "storm" => storm::storm(&mut server).await,
            "applications" => applications::applications(&server).await,
            "lazy" => applications::lazy(&server).await,
            _ => neighbours::neighbours(&server, only).await,
        }
    }
}

/// From nothing to a token, in an engine that runs and in a new process.
async fn first(server: &Server, symbolon: &Symbolon) {
    let application = server.application(symbolon, "secret");
    let began = Instant::now();
    application.acquire_token_for_client([GRAPH]).await.unwrap();
    println!(
        "| first token after that, TLS handshake included | {:.1} ms |",
        began.elapsed().as_secs_f64() * 1e3
    );
    start(server);
}

/// From the start of the command line to its end with a token, where it was built.
fn start(server: &Server) {
    let binary =
        std::env::current_exe().unwrap().parent().and_then(|deps| deps.parent()).unwrap().join("symbolon");
    if !binary.exists() {
        println!("| start of a process to its token | not measured: `cargo build --release` first |");
        return;
    }
    for sample in ["secret", "certificate"] {
        let file = server.directory.join("benchmark.json");
        std::fs::write(&file, server.settings(sample).to_string()).unwrap();
        let runs = (0..21).map(|_| {
            let began = Instant::now();
            let mut command = Command::new(&binary);
            let command = command.arg("token").arg("--config").arg(&file).args(["--scope", GRAPH]);
            assert!(command.stdout(Stdio::null()).status().unwrap().success());
            began.elapsed().as_secs_f64()
        });
        println!("| start of a process to its token, {sample} | {:.1} ms |", median(runs.collect()) * 1e3);
    }
}
