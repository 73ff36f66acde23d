//! Tokens that are there already: what a call costs, and whether threads are in each other's way.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use symbolon::{Application, Symbolon};
use symbolon_end_to_end::GRAPH;
use symbolon_resources::cache::ReuseMap;

use crate::measure::{ROUNDS, each, median, nanos, processor_time};
use crate::server::Server;

const CALLS: usize = 200_000;

pub(crate) async fn cached(server: &Server, symbolon: &Symbolon) {
    let application = server.named(symbolon, "secret", "cached");
    let of_application = each(CALLS, || application.acquire_token_for_client([GRAPH])).await;
    println!("| cached token, 1 entry | {} | 0.25 µs |", nanos(of_application));

    // A header is part of the request and not of the cache's keys: each call asks the guest, which finds the token.
    let number = AtomicUsize::new(0);
    let ask_the_guest = || {
        let value = number.fetch_add(1, Ordering::Relaxed).to_string();
        application.acquire_token_for_client([GRAPH]).with_extra_http_headers([("x-benchmark", value)])
    };
    let cold = each(20_000, ask_the_guest).await;
    println!("| cached token, reuse map cold (fresh instance) | {} | 40 µs |", nanos(cold));

    let (web_api, user) = (server.named(symbolon, "web-api", "cached web-api"), server.user_assertion());
    let scope = ["https://graph.microsoft.com/User.Read"];
    let of_user = each(CALLS, || web_api.acquire_token_on_behalf_of(scope, &user)).await;
    let digest = digest(&user);
    let budget = nanos(of_application + digest);
    println!("| digest of a user's token of {} bytes alone | {} | |", user.len(), nanos(digest));
    println!(
        "| cached token on behalf of that user | {} | {budget}: the digest and the first row |",
        nanos(of_user)
    );
}

fn digest(user: &str) -> f64 {
    let map = ReuseMap::new(32);
    let round = |_| {
        let before = processor_time();
        for _ in 0..CALLS {
            std::hint::black_box(map.request().field(std::hint::black_box(user)).finish());
        }
        (processor_time() - before).as_secs_f64() / CALLS as f64
    };
    median((0..ROUNDS).map(round).collect())
}

/// What a call costs where one thread calls and where two do, for one token and for one of each thread's own. In processor
/// time, as others may use the machine: threads that wait for each other's memory take more of it.
pub(crate) async fn scaling(server: &Server, symbolon: &Symbolon) {
    let application = server.named(symbolon, "refresh", "scaling");
    application.acquire_token_for_client([GRAPH]).await.unwrap();
    for thread in 0..2 {
        application.acquire_token_for_client([GRAPH]).with_fmi_path(path(thread)).await.unwrap();
    }
    let same = |application: &Application, _| {
        application.acquire_token_for_client([GRAPH]).into_future().now_or_never().is_some()
    };
    let own = |application: &Application, thread| {
        let request = application.acquire_token_for_client([GRAPH]).with_fmi_path(path(thread));
        request.into_future().now_or_never().is_some()
    };
    let row = |what: &str, call| {
        let [one, two] = [1, 2].map(|threads| by_threads(&application, threads, call));
        let shown = format!("{}, {} ({:.2}x)", nanos(one), nanos(two), two / one);
        println!("| cached call of {what}, by 1 thread and by 2 | {shown} | 1x |");
    };
    row("the same token", same);
    row("a token for each", own);
}

fn path(thread: usize) -> &'static str {
    ["thread/0", "thread/1"][thread]
}

fn by_threads(application: &Application, threads: usize, call: fn(&Application, usize) -> bool) -> f64 {
    const CALLS: usize = 1_000_000;
    let round = |_| {
        let begin = Barrier::new(threads);
        let before = processor_time();
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let begin = &begin;
                scope.spawn(move || {
                    begin.wait();
                    for _ in 0..CALLS {
                        assert!(std::hint::black_box(call(application, thread)));
                    }
                });
            }
        });
        (processor_time() - before).as_secs_f64() / (threads * CALLS) as f64
    };
    median((0..ROUNDS).map(round).collect())
}
