//! Of many who want the same, one brings it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use symbolon_resources::cache::{Absence, Found};
use tokio::task::{JoinHandle, JoinSet, yield_now};

use crate::support::*;

const CALLERS: usize = 1_000;

/// Starts a caller that will have to wait, and lets it run until it does.
async fn waiting<T: Send + 'static, F>(
    application: &Application,
    caller: impl FnOnce(Application) -> F,
) -> JoinHandle<T>
where
    F: Future<Output = T> + Send + 'static,
{
    let before = application.statistics().flights_joined;
    let task = tokio::spawn(caller(application.clone()));
    until_joined(application, before + 1).await;
    task
}

async fn until_joined(application: &Application, joined: u64) {
    while application.statistics().flights_joined < joined {
        yield_now().await;
    }
}

/// Callers that find, and put when they lead. `requests` counts the latter.
fn callers(application: &Application, requests: &Arc<AtomicUsize>, bypass: bool) -> JoinSet<String> {
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (application, requests) = (application.clone(), Arc::clone(requests));
        callers.spawn(async move {
            let found =
                if bypass { find_anew(&application, "key").await } else { find(&application, "key").await };
            match found {
                Found::Hit(entry) => secret(&entry),
                Found::Lead { ticket, .. } => {
                    let secret = requests.fetch_add(1, Ordering::SeqCst).to_string();
                    for _ in 0..100 {
                        yield_now().await;
                    }
                    put(&application, Some(ticket), "key", &secret);
                    secret
                }
                other => panic!("{other:?}"),
            }
        });
    }
    callers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_callers_make_one_request() {
    let (application, _) = application();
    let requests = Arc::new(AtomicUsize::new(0));
    let secrets = callers(&application, &requests, false).join_all().await;
    assert_eq!(requests.load(Ordering::SeqCst), 1);
    assert!(secrets.iter().all(|secret| secret == "0"));
    let statistics = application.statistics();
    assert_eq!((statistics.flights_led, statistics.hits, statistics.misses), (1, CALLERS as u64 - 1, 1));
}

#[tokio::test]
async fn a_thousand_forced_refreshes_make_two_requests() {
    let (application, _) = application();
    put(&application, None, "key", "stored");
    let requests = Arc::new(AtomicUsize::new(0));
    let secrets = callers(&application, &requests, true).join_all().await;
    assert_eq!(
        requests.load(Ordering::SeqCst),
        2,
        "one under way when the others came, and one for all of those"
    );
    assert_eq!(secrets.iter().filter(|secret| *secret == "1").count(), CALLERS - 1);
}

#[tokio::test]
async fn whoever_looks_past_the_cache_gets_what_was_asked_for_after_the_call() {
    let (application, _) = application();
    let ticket = lead(find(&application, "key").await);
    let bypassing = waiting(&application, |application| async move {
        match find_anew(&application, "key").await {
            Found::Lead { ticket, absence, .. } => (ticket, absence),
            other => panic!("{other:?}"),
        }
    })
    .await;
    let waiting =
        waiting(&application, |application| async move { hit(find(&application, "key").await) }).await;
    put(&application, Some(ticket), "key", "asked for before the call");
    assert_eq!(waiting.await.unwrap(), "asked for before the call");
    let (ticket, absence) = bypassing.await.unwrap();
    assert_eq!(absence, Absence::Bypassed);

    // Comes while a flight is under way that began after its call, by then: joins it after the first has ended.
    put(&application, Some(ticket), "key", "asked for after");
    assert_eq!(hit(find(&application, "key").await), "asked for after");
}

#[tokio::test]
async fn an_older_flight_that_fails_is_no_failure_of_a_forced_refresh() {
    let (application, _) = application();
    let ticket = lead(find(&application, "key").await);
    let bypassing =
        waiting(&application, |application| async move { lead(find_anew(&application, "key").await) }).await;
    application.fail(ticket, &"down".to_owned());
    let ticket = bypassing.await.unwrap();
    application.fail(ticket, &"still down".to_owned());
}

#[tokio::test]
async fn a_failure_reaches_everyone_who_waits_and_nobody_else() {
    let (application, _) = application();
    let ticket = lead(find(&application, "key").await);
    let mut waiting = JoinSet::new();
    for _ in 0..CALLERS {
        let application = application.clone();
        waiting.spawn(async move { find(&application, "key").await });
    }
    until_joined(&application, CALLERS as u64).await;
    application.fail(ticket, &"down".to_owned());
    for found in waiting.join_all().await {
        assert!(matches!(found, Found::Failed(error) if error == "down"));
    }
    lead(find(&application, "key").await);
}

#[tokio::test]
async fn a_dropped_ticket_makes_one_new_leader() {
    let (application, _) = application();
    let mut ticket = lead(find(&application, "key").await);
    let (leads, mut lead_of) = tokio::sync::mpsc::unbounded_channel();
    let mut waiting = JoinSet::new();
    for _ in 0..CALLERS {
        let (application, leads) = (application.clone(), leads.clone());
        waiting.spawn(async move {
            match find(&application, "key").await {
                Found::Lead { ticket, .. } => leads.send(ticket).unwrap(),
                found => assert_eq!(hit(found), "token"),
            }
        });
    }
    until_joined(&application, CALLERS as u64).await;
    for _ in 0..10 {
        drop(ticket);
        ticket = lead_of.recv().await.unwrap();
        for _ in 0..10 {
            yield_now().await;
        }
        assert!(lead_of.try_recv().is_err(), "a second one");
    }
    put(&application, Some(ticket), "key", "token");
    waiting.join_all().await;
    assert!(lead_of.is_empty());
}

#[tokio::test]
async fn callers_that_give_up_are_passed_over() {
    let (application, _) = application();
    let ticket = lead(find(&application, "key").await);
    let mut waiting = Vec::new();
    for _ in 0..CALLERS {
        waiting.push(self::waiting(&application, |it| async move { lead(find(&it, "key").await) }).await);
    }
    let last = waiting.pop().unwrap();
    for task in waiting {
        task.abort();
        assert!(task.await.is_err());
    }
    drop(ticket);
    drop(last.await.unwrap());
    lead(find(&application, "key").await);
}

#[tokio::test]
async fn a_caller_that_gives_up_just_when_it_is_to_lead_hands_the_lead_on() {
    let (application, _) = application();
    let ticket = lead(find(&application, "key").await);
    let first =
        waiting(&application, |application| async move { lead(find(&application, "key").await) }).await;
    let second =
        waiting(&application, |application| async move { lead(find(&application, "key").await) }).await;
    // Single-threaded: the first has the ticket, and hasn't run since.
    drop(ticket);
    first.abort();
    second.await.unwrap();
}

#[tokio::test]
async fn a_waiter_that_is_not_served_leads() {
    let (application, _) = application();
    let ticket = lead(find(&application, "key").await);
    let waiting = waiting(&application, |application| async move { find(&application, "key").await }).await;
    put(&application, Some(ticket), "another key", "token");
    lead(waiting.await.unwrap());
}

#[tokio::test]
async fn what_is_there_is_found_while_another_flight_is_under_way() {
    let (application, _) = application();
    put(&application, None, "there", "token");
    let _ticket = lead(find(&application, "missing").await);
    assert_eq!(hit(find(&application, "there").await), "token");
    let _other = lead(find(&application, "also missing").await);
}

#[test]
fn finding_can_move_between_threads() {
    fn is_send<T: Send>(_: T) {}
    let (application, _) = application();
    // A lock held while waiting would not be `Send`.
    is_send(find(&application, "key"));
}
