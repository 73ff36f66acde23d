//! Calm under failure: what other libraries have been seen to do, and what must not happen here. Requests, connections and
//! times are the server's own. `docs/failures.md` says which test stands for which failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use symbolon::{Application, Clock as _, Error, ErrorKind, ManualClock, Symbolon, SystemClock, TokenSource};
use symbolon_authority::{Fault, FaultRule, LogEntry, RetryAfter};
use symbolon_end_to_end::{GRAPH, VAULT, World, engine, engine_with};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::Instant;

const STORAGE: &str = "https://storage.azure.com/.default";

fn status(status: u16, retry_after: Option<RetryAfter>) -> Fault {
    Fault::Status { status, retry_after, body: None }
}

fn kind(error: &Error) -> ErrorKind {
    error.acquisition().unwrap_or_else(|| panic!("a decision, not {error:?}")).kind
}

/// The time between two requests, as the server saw them.
fn apart_ms(requests: &[LogEntry]) -> Vec<u64> {
    requests.windows(2).map(|pair| pair[1].time_unix_ms - pair[0].time_unix_ms).collect()
}

fn hurried() -> Symbolon {
    engine_with(|builder| builder.acquisition_deadline(Duration::from_secs(2)))
}

/// The settings of a sample application whose authority is at another address.
fn at(world: &World, symbolon: &Symbolon, address: &str) -> Application {
    world.application_with(symbolon, "secret", |settings| {
        let rules = settings["Symbolon"]["ConnectTo"].as_object_mut().expect("rules");
        rules.values_mut().for_each(|to| *to = address.into());
    })
}

/// A server that takes connections and says nothing: its address, and how many it took.
async fn silent_server() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut ignored = [0; 1024];
                while connection.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
            });
        }
    });
    (address, taken)
}

/// Measured elsewhere: the call never returns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_server_and_one_that_never_ends_hold_nobody_beyond_the_deadline() {
    let (world, symbolon) = (World::start().await, hurried());
    let (address, taken) = silent_server().await;
    let began = Instant::now();
    let error = at(&world, &symbolon, &address).acquire_token_for_client([GRAPH]).await.expect_err("silence");
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert!(
        matches!(&error, Error::DeadlineExceeded { .. }) || kind(&error) == ErrorKind::TransportFailed,
        "{error:?}"
    );
    assert_eq!(taken.load(Ordering::SeqCst), 1, "one connection");

    for fault in [Fault::Delay { milliseconds: 60_000 }, Fault::EndlessBody { interval_milliseconds: 20 }] {
        let rule = world.authority.faults().add(FaultRule::once(fault.clone()).always());
        let application = world.application(&symbolon, "secret");
        let began = Instant::now();
        let (outcome, requests) = world.seen(application.acquire_token_for_client([GRAPH])).await;
        world.authority.faults().remove(rule);
        assert!(began.elapsed() < Duration::from_secs(6), "{}: {:?}", fault.kind(), began.elapsed());
        outcome.expect_err("no token");
        assert_eq!(requests.len(), 1, "{}", fault.kind());
    }
}

/// Measured elsewhere: 82 s of retries.
#[tokio::test]
async fn an_untrusted_certificate_is_refused_once_and_at_once() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application_with(&symbolon, "secret", |settings| {
        settings["Symbolon"]["TrustedRoots"] = serde_json::json!([]);
    });
    let began = Instant::now();
    let error = application.acquire_token_for_client([GRAPH]).await.expect_err("an untrusted server");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(error.code(), "tls_failed");
    assert!(!error.acquisition().expect("a decision").retryable);
    let stats = world.authority.stats();
    assert_eq!((stats.tcp_connections, world.authority.log().len()), (1, 0), "the secret stays here");
}

/// Measured elsewhere: bodies of 10 MB are read whole.
#[tokio::test]
async fn a_long_body_is_left_where_it_is() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "secret");
    for declared in [true, false] {
        // As much as nobody could send in the time.
        let body = Fault::LargeBody { bytes: 100_000_000, declared };
        world.authority.faults().add(FaultRule::once(body));
        let began = Instant::now();
        let (outcome, requests) = world.seen(application.acquire_token_for_client([GRAPH])).await;
        assert_eq!(outcome.expect_err("too long").code(), "response_too_large");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(requests.len(), 1);
    }
}

/// Measured elsewhere: one 500 makes all calls of the next 60 s fail.
#[tokio::test]
async fn a_server_error_is_tried_again_after_a_second_and_forgotten() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "secret");
    world.authority.faults().add(FaultRule::once(status(500, None)).times(2));
    let (outcome, mut requests) = world.seen(application.acquire_token_for_client([GRAPH])).await;
    assert_eq!(kind(&outcome.expect_err("down")), ErrorKind::TemporarilyUnavailable);
    let (outcome, more) = world.seen(application.acquire_token_for_client([GRAPH])).await;
    outcome.expect("up again");
    requests.extend(more);
    let apart = apart_ms(&requests);
    assert_eq!(apart.len(), 2, "two attempts, and the next call's one");
    assert!((1000..4000).contains(&apart[0]), "the second attempt comes a second later: {apart:?}");
    assert!(apart[1] < 1000, "the next call at once: {apart:?}");
}

/// Measured elsewhere: as many requests as callers, for a failing authority too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_meets_a_failing_authority_as_one() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "secret");
    world.authority.faults().add(FaultRule::once(status(503, None)).times(2));
    let herd = join_all((0..1000).map(|_| application.acquire_token_for_client([GRAPH]).into_future()));
    let (outcomes, requests) = world.seen(herd).await;
    assert!(outcomes.iter().all(Result::is_err));
    assert_eq!(requests.len(), 2, "an attempt, and the one after it");
}

#[tokio::test]
async fn a_pause_lasts_an_hour_at_most_in_either_form_and_is_never_waited_out_inside_a_call() {
    let (world, symbolon, clock) = World::timed().await;
    for (sample, pause) in
        [("secret", RetryAfter::Seconds(86_400)), ("certificate", RetryAfter::DateInSeconds(86_400))]
    {
        let application = world.application(&symbolon, sample);
        world.authority.faults().add(FaultRule::once(status(429, Some(pause))));
        let began = Instant::now();
        let error = application.acquire_token_for_client([GRAPH]).await.expect_err("a pause");
        assert!(began.elapsed() < Duration::from_secs(5), "it isn't waited for");
        assert_eq!(error.acquisition().and_then(|error| error.retry_after), Some(Duration::from_secs(3600)));
        clock.advance(3_599_000);
        let before = application.credential_statistics().selections;
        let (outcome, requests) = world.seen(application.acquire_token_for_client([GRAPH])).await;
        assert_eq!((kind(&outcome.expect_err("a pause")), requests.len()), (ErrorKind::Throttled, 0));
        assert_eq!(application.credential_statistics().selections, before, "nothing is signed for nothing");
        clock.advance(1_000);
        application.acquire_token_for_client([GRAPH]).await.expect("the pause is over");
    }
}

/// Measured elsewhere: a cached token waits 1.9 s for somebody else's request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cached_tokens_wait_for_nobody() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "secret");
    application.acquire_token_for_client([GRAPH]).await.expect("a token");
    world.authority.faults().add(FaultRule::once(Fault::Delay { milliseconds: 1500 }));
    let fetching = tokio::spawn({
        let application = application.clone();
        async move { application.acquire_token_for_client([VAULT]).await }
    });
    world.requested(2).await;
    let began = Instant::now();
    let cached = application.acquire_token_for_client([GRAPH]).await.expect("the cached token");
    let tenant = application.options().tenant_id().expect("a tenant").to_owned();
    let same = application.acquire_token_for_client([GRAPH]).with_tenant_id(tenant);
    assert_eq!(same.await.expect("the guest's own look").metadata().token_source, TokenSource::Cache);
    assert!(began.elapsed() < Duration::from_millis(1000), "{:?}", began.elapsed());
    assert_eq!(cached.metadata().token_source, TokenSource::Cache);
    assert!(!fetching.is_finished());
    fetching.await.expect("a task").expect("a token");
}

/// Who gives up leaves nothing behind, once a moment has passed: no place among those in flight, no flight, no request that
/// somebody would wait for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_given_up_free_everything() {
    let (world, symbolon) = (World::start().await, engine_with(|builder| builder.max_in_flight(4)));
    let application = world.application(&symbolon, "secret");
    let rule = world.authority.faults().add(FaultRule::once(Fault::Delay { milliseconds: 60_000 }).always());
    // Two for each flight: one leads, the other waits.
    let given_up = [GRAPH, GRAPH, VAULT, VAULT].map(|scope| {
        let application = application.clone();
        tokio::spawn(async move { application.acquire_token_for_client([scope]).await })
    });
    world.requested(2).await;
    let full = application.acquire_token_for_client([STORAGE]).await;
    assert!(matches!(full, Err(Error::InFlightLimit { limit: 4 })), "{full:?}");
    for task in given_up {
        task.abort();
        assert!(task.await.expect_err("given up").is_cancelled());
    }
    world.authority.faults().remove(rule);
    // For a moment what was sent may still be answered, and somebody may still join.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let began = Instant::now();
    let again = [GRAPH, VAULT, STORAGE, "https://management.azure.com/.default"]
        .map(|scope| application.acquire_token_for_client([scope]).into_future());
    let (outcomes, requests) = world.seen(join_all(again)).await;
    for outcome in outcomes {
        outcome.expect("there is room for four");
    }
    assert_eq!(requests.len(), 4, "nobody leads any more who was given up");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[tokio::test]
async fn errors_show_how_far_the_clocks_are_apart() {
    let late = Arc::new(ManualClock::new(SystemClock.now_unix_ms() - 3_600_000));
    let (world, symbolon) = (World::start().await, engine_with(|builder| builder.clock(late)));
    let error = world.application(&symbolon, "certificate").acquire_token_for_client([GRAPH]).await;
    let error = error.expect_err("an assertion that is long over");
    assert_eq!(error.aadsts_codes(), [700_024]);
    let text = error.to_string();
    // A second or two may pass meanwhile.
    let is_shown = text.contains("The clock here is 36")
        && text.contains(" s behind that of login.microsoftonline.com (")
        && text.contains("; set it right.");
    assert!(is_shown, "{text}");
}
