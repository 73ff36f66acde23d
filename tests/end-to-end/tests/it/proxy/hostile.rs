//! What a plugin does that it shouldn't costs its own request, and nothing else.

use std::time::Duration;

use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::site::{EMPTY, HOSTILE, Settings, Site};
use super::upstream::Upstream;

async fn site(upstream: &Upstream) -> Option<Site> {
    let settings = Settings::of("secret").await.api("plain", upstream.settings());
    Some(settings.route("/hostile", "plain", HOSTILE)?.route("/plain", "plain", EMPTY)?.start().await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_ends_without_an_answer_is_a_bad_gateway() {
    let upstream = Upstream::start().await;
    let Some(site) = site(&upstream).await else { return };
    for way in ["trap", "allocate", "silence"] {
        assert_eq!(site.get(&format!("/hostile/{way}")).await.status(), 502, "{way}");
        assert_eq!(site.get("/plain/a").await.status(), 200, "the proxy lives after {way}");
    }
    assert_eq!(site.get("/hostile/other").await.status(), 200);
}

/// One thread for all of them.
#[tokio::test]
async fn others_are_answered_while_a_plugin_loops() {
    let upstream = Upstream::start().await;
    let Some(site) = site(&upstream).await else { return };
    let spinner = async {
        loop {
            assert_eq!(site.get("/hostile/spin").await.status(), 502);
        }
    };
    let neighbours = async {
        for _ in 0..5 {
            assert_eq!(site.get("/plain/a").await.status(), 200);
        }
    };
    tokio::select! {
        () = spinner => {}
        () = neighbours => {}
    }

    let mut begun = site.get("/hostile/answer-and-spin").await.into_body();
    begun.frame().await.expect("a part").expect("a part");
    let rest = timeout(Duration::from_secs(30), begun.collect()).await.expect("it is ended");
    assert!(rest.is_err(), "its answer isn't taken for whole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_off_is_not_taken_for_whole() {
    let mut upstream = Upstream::start().await;
    let Some(site) = site(&upstream).await else { return };
    let response = site.get("/hostile/break-off-the-answer").await;
    assert_eq!(response.status(), 200);
    assert!(response.into_body().collect().await.is_err());

    assert_eq!(site.get("/hostile/break-off-the-request").await.status(), 502);
    let (length, is_whole) = upstream.ends.recv().await.expect("a request");
    assert!(!is_whole && length > 0, "{length} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_reaches_the_api_of_its_route_only() {
    let upstream = Upstream::start().await;
    let Some(site) = site(&upstream).await else { return };
    assert_eq!(site.get("/hostile/elsewhere").await.status(), 403);
}
