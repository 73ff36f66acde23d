//! Policies of a thousand applications in one process, two of them hostile:
//! `cargo run --release --example policy-engine [APPLICATIONS]`.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "it measures time, and shows that nothing goes wrong"
)]

mod engine;
mod measure;
mod site;

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use symbolon_end_to_end::guests;
use tokio::task::JoinSet;

use self::engine::{Application, Behaviour, Decision, PolicyEngine, Request, Stopped};
use self::measure::{Outcomes, a_request, percentile};
use self::site::Site;

const ROUNDS: usize = 7;
/// Of applications that are made to see how long it takes.
const STARTS: usize = 50;
const HOSTILE: [Behaviour; 3] = [Behaviour::Spins, Behaviour::Allocates, Behaviour::Steals];

fn main() -> Result<(), Box<dyn Error>> {
    let count = std::env::args().nth(1).map_or(Ok(1000), |count| count.parse())?;
    let Some(policy) = guests::component("symbolon-example-policy-guest") else { return Ok(()) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(&policy, count))
}

async fn run(policy: &[u8], count: usize) -> Result<(), Box<dyn Error>> {
    let site = Site::start().await?;
    let engine = Arc::new(PolicyEngine::new(policy, 256)?);
    (0..count + STARTS + HOSTILE.len()).for_each(|number| site.register(number));

    let before = measure::resident();
    let neighbours: Result<Vec<_>, _> =
        (0..count).map(|number| site.application(number, Behaviour::Honest)).collect();
    let neighbours = Arc::new(neighbours?);
    println!("{count} applications, each with an agent and a policy of its own");
    print_memory("configured", before, count);
    let first = warm(&engine, &neighbours).await;
    print_memory("after its first decision, both ends of its connections included", before, count);
    println!(
        "  first decision of each, its agent's token acquired:    {:.1} ms at the median",
        millis(first)
    );
    let cold = cold_start(&site, &engine, count).await?;
    println!("  cold start, from configuration to a decision:          {:.2} ms at the median", millis(cold));

    let hostile: Result<Vec<_>, _> = HOSTILE
        .into_iter()
        .zip(count + STARTS..)
        .map(|(behaviour, number)| site.application(number, behaviour).map(Arc::new))
        .collect();
    let (alone, beside, outcomes) = compare(&engine, &neighbours, &hostile?, count).await;
    println!("decisions that ask the API, all applications in turn, evenly paced");
    println!("  p99 without hostile neighbours:                        {:.2} ms", millis(alone));
    println!("  p99 with one that spins, one that allocates, one that steals: {:.2} ms", millis(beside));
    println!(
        "  ratio:                                                 {:.2}",
        millis(beside) / millis(alone)
    );
    report(&outcomes);
    check_api(&site, count);
    Ok(())
}

/// Has each application decide for the first time.
async fn warm(engine: &Arc<PolicyEngine>, applications: &Arc<Vec<Application>>) -> Duration {
    let mut durations = Vec::new();
    let mut under_way = JoinSet::new();
    for index in 0..applications.len() {
        let (engine, applications) = (engine.clone(), applications.clone());
        under_way.spawn(async move {
            let began = Instant::now();
            let decision = engine.decide(&applications[index], &a_request()).await;
            assert_eq!(decision, Ok(Decision::Allow), "application {index}");
            began.elapsed()
        });
        if under_way.len() >= 8 {
            durations.extend(under_way.join_next().await.transpose().expect("no panic"));
        }
    }
    durations.extend(under_way.join_all().await);
    percentile(&mut durations, 50)
}

/// A decision of an application that didn't exist before, about a request for which its policy asks nobody.
async fn cold_start(site: &Site, engine: &PolicyEngine, first: usize) -> Result<Duration, Box<dyn Error>> {
    let request = Request { method: "OPTIONS".to_owned(), ..a_request() };
    let mut durations = Vec::new();
    for number in first..first + STARTS {
        let began = Instant::now();
        let application = site.application(number, Behaviour::Honest)?;
        assert_eq!(engine.decide(&application, &request).await, Ok(Decision::Allow));
        durations.push(began.elapsed());
    }
    Ok(percentile(&mut durations, 50))
}

/// The neighbours' p99 without and with hostile policies, each the median of rounds that take turns.
async fn compare(
    engine: &Arc<PolicyEngine>,
    neighbours: &Arc<Vec<Application>>,
    hostile: &[Arc<Application>],
    decisions: usize,
) -> (Duration, Duration, Vec<Outcomes>) {
    let (mut alone, mut beside, mut outcomes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(percentile(&mut measure::paced(engine, neighbours, decisions).await, 99));
        let stop = Arc::new(AtomicBool::new(false));
        let attacks: Vec<_> = hostile
            .iter()
            .map(|application| {
                tokio::spawn(measure::hostile(engine.clone(), application.clone(), stop.clone()))
            })
            .collect();
        beside.push(percentile(&mut measure::paced(engine, neighbours, decisions).await, 99));
        stop.store(true, Ordering::Relaxed);
        outcomes.clear();
        for attack in attacks {
            outcomes.push(attack.await.expect("no panic"));
        }
    }
    (percentile(&mut alone, 50), percentile(&mut beside, 50), outcomes)
}

/// What became of the hostile ones in the last round, and that it is what should.
fn report(outcomes: &[Outcomes]) {
    let [spins, allocates, steals] = outcomes else { panic!("three of them") };
    for (what, outcome) in [("spins", spins), ("allocates", allocates)] {
        println!(
            "  the one that {what}: stopped {} times ({:?}), refused {} times while suspended",
            outcome.stopped, outcome.last, outcome.suspended
        );
    }
    println!("  the one that steals: got nothing in {} attempts at everything", steals.decided);
    assert_eq!((spins.last, spins.decided), (Some(Stopped::Time), 0));
    assert_eq!((allocates.last, allocates.decided), (Some(Stopped::Memory), 0));
    assert_eq!((steals.stopped, &steals.stolen), (0, &None));
    assert!(steals.decided > 0);
}

/// The API has seen every application's own agent, and no request of another's.
fn check_api(site: &Site, count: usize) {
    let mut agents = std::collections::HashSet::new();
    for request in site.api.log() {
        let agent = request.token.expect("a token")["azp"].as_str().map(str::to_owned);
        agents.extend(agent);
    }
    assert_eq!(agents.len(), count, "agents that the API has seen");
    assert!((0..count).all(|number| agents.contains(&site::agent(number))));
    println!("  the API has seen {count} agents, and no request of a hostile policy");
}

fn print_memory(what: &str, before: Option<usize>, count: usize) {
    if let (Some(before), Some(now)) = (before, measure::resident()) {
        println!(
            "  memory of one, {what}: {:.1} kB",
            now.saturating_sub(before) as f64 / count as f64 / 1000.0
        );
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
