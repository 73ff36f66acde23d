//! The simulation of many seeds.
//!
//! `SYMBOLON_SEED=17 cargo test --test simulation` runs one again; `SYMBOLON_SEEDS=100000` runs so many instead of 1,000.

#![allow(clippy::panic, clippy::print_stderr, reason = "these are tests")]

use std::env;
use std::sync::atomic::{AtomicU64, Ordering};

const SEEDS: u64 = 1_000;

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}; a number is wanted")))
}

#[test]
fn seeds() {
    if let Some(seed) = number("SYMBOLON_SEED") {
        return run(seed);
    }
    let (seeds, next) = (number("SYMBOLON_SEEDS").unwrap_or(SEEDS), AtomicU64::new(0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < seeds)
                {
                    run(seed);
                }
            });
        }
    });
}

fn run(seed: u64) {
    if let Err(story) = symbolon_simulation::run(seed) {
        panic!("SYMBOLON_SEED={seed}\n{story}");
    }
}

#[test]
fn a_seed_is_a_run() {
    for seed in 0..20 {
        assert_eq!(symbolon_simulation::run(seed), symbolon_simulation::run(seed), "seed {seed}");
    }
    assert_ne!(symbolon_simulation::run(0), symbolon_simulation::run(1));
}
