//! A guest that traps, loops, recurses or allocates without end costs its own call, and nothing else (I3).

use std::time::Duration;

use symbolon::{Error, GuestFailure};
use symbolon_end_to_end::{GRAPH, World, engine, hostile_engine, order};

fn failure(outcome: Result<String, Error>) -> GuestFailure {
    match outcome {
        Err(Error::Guest(failure)) => failure,
        other => panic!("the guest wasn't stopped: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_attack_ends_in_an_error_of_its_own() {
    let (world, hostile) = (World::start().await, hostile_engine(|builder| builder));
    let application = world.application(&hostile, "secret");
    let budget = Duration::from_millis(100);

    assert_eq!(failure(order(&application, "spin").await), GuestFailure::CpuBudget { budget });
    assert_eq!(
        failure(order(&application, "spin-through-the-host").await),
        GuestFailure::CpuBudget { budget }
    );
    assert_eq!(failure(order(&application, "recurse").await), GuestFailure::StackOverflow);
    assert_eq!(failure(order(&application, "allocate").await), GuestFailure::MemoryLimit { limit: 16 << 20 });
    assert!(matches!(failure(order(&application, "trap").await), GuestFailure::Trap(_)));
    // Nothing of it lasts: the next call of the same application works.
    assert_eq!(order(&application, "fact none").await.expect("an answer"), "nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spinners_on_all_workers_leave_room_for_others() {
    let world = World::start().await;
    let hostile = hostile_engine(|builder| builder.guest_cpu(Duration::from_secs(60)));
    let (spinning, neighbour) =
        (world.application(&hostile, "secret"), world.application(&hostile, "certificate"));
    let spinners: Vec<_> = (0..2)
        .map(|_| {
            let spinning = spinning.clone();
            tokio::spawn(async move { order(&spinning, "spin").await })
        })
        .collect();
    tokio::task::yield_now().await;
    for call in 0..20 {
        let answer =
            tokio::time::timeout(Duration::from_secs(10), order(&neighbour, format!("fact {call}"))).await;
        assert_eq!(answer.expect("a spinner holds a worker").expect("an answer"), "nothing");
    }
    assert!(spinners.iter().all(|spinner| !spinner.is_finished()), "the spinners were spinning all the time");
    spinners.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_is_not_charged() {
    let world = World::start().await;
    let hostile = hostile_engine(|builder| builder.guest_cpu(Duration::from_millis(100)));
    let application = world.application(&hostile, "secret");
    let now = order(&application, "wait 2000").await.expect("a guest that waits isn't stopped");
    assert!(now.parse::<u64>().is_ok_and(|now| now > 0), "the time after the wait: {now}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_traps_hands_the_lead_over() {
    let (world, hostile) = (World::start().await, hostile_engine(|builder| builder));
    let application = world.application(&hostile, "secret");
    let guests: Vec<_> = (0..5)
        .map(|_| {
            let application = application.clone();
            tokio::spawn(async move { order(&application, "hold flight").await })
        })
        .collect();
    for guest in guests {
        // Each of them leads in its turn, and traps.
        assert!(matches!(failure(guest.await.expect("a task")), GuestFailure::Trap(_)));
    }
}

#[tokio::test]
async fn no_more_run_at_once_than_may() {
    let world = World::start().await;
    let hostile = hostile_engine(|builder| builder.max_in_flight(3));
    let application = world.application(&hostile, "secret");
    // Each takes its place when it is polled first.
    let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(order(&application, "wait 500"))).collect();
    for guest in &mut waiting {
        tokio::time::timeout(Duration::ZERO, guest.as_mut()).await.expect_err("it waits");
    }
    let refused = order(&application, "fact none").await.expect_err("there is no place left");
    assert!(matches!(refused, Error::InFlightLimit { limit: 3 }), "{refused:?}");
    assert!(refused.is_retryable());
    for guest in waiting {
        guest.await.expect("those that run are not disturbed");
    }
    order(&application, "fact none").await.expect("there is room again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_cached_token_is_lost() {
    let world = World::start().await;
    let good = engine();
    let application = world.application(&good, "secret");
    application.acquire_token_for_client([GRAPH]).await.expect("a token");
    // A scope that isn't one makes the guest refuse, and one that is cached stays.
    application.acquire_token_for_client(Vec::<String>::new()).await.expect_err("no scopes");
    application.acquire_token_for_client([GRAPH]).await.expect("a cached token");
    assert_eq!(world.token_requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_instance_serves_until_it_fails() {
    let (world, hostile) = (World::start().await, hostile_engine(|builder| builder));
    let application = world.application(&hostile, "secret");
    application.reuse_instances(true);
    let count = async || order(&application, "count").await.expect("an answer");
    assert_eq!([count().await, count().await, count().await], ["1", "2", "3"], "the same instance");

    order(&application, "trap").await.expect_err("a trap");
    assert_eq!(count().await, "1", "a fresh one after it failed");
    application.reuse_instances(false);
    assert_eq!([count().await, count().await], ["1", "1"], "a fresh one each time");
}
