//! The flows of guests, and what is a guest's own in them.

use symbolon::linker::{GuestCtx, GuestFlow, GuestPolicy, TokenForm};
use symbolon_authority::{REDIRECT_URI, UserToken, sample};
use symbolon_end_to_end::{GRAPH, World, claims, engine};

use super::plugin::{Host, host};

fn policy(flows: impl IntoIterator<Item = GuestFlow>) -> GuestPolicy {
    let policy = GuestPolicy::new().allow_scopes([GRAPH]).token_form(TokenForm::Raw);
    flows.into_iter().fold(policy, GuestPolicy::allow_flow)
}

/// The claims of the token that a step brought.
fn token(said: &str) -> serde_json::Value {
    let token = said.strip_prefix("raw ").and_then(|rest| rest.split(' ').next());
    claims(token.unwrap_or_else(|| panic!("no token: {said}")))
}

/// The session key that a step brought.
fn key(said: &str) -> &str {
    said.split('|').nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_are_acquired_for_by_what_the_guest_has() {
    let Some(host) = host() else { return };
    let world = World::start().await;
    let application = world.application(&engine(), "web-api");
    let flows = [
        GuestFlow::OnBehalfOf,
        GuestFlow::Silent,
        GuestFlow::ByAuthorizationCode,
        GuestFlow::ByUsernamePassword,
    ];
    let mut plugin = host.plugin(&GuestCtx::new("a", application, policy(flows))).await;
    let (alice, code) =
        (world.user_token(sample::ALICE, sample::WEB_API), world.code(sample::BOB, sample::WEB_API));
    let scope = format!("scope={GRAPH}");
    let said = plugin
        .steps([
            format!("acquire|on-behalf-of|{scope}|assertion={alice}"),
            format!("acquire|by-authorization-code|{scope}|code={code}|redirect-uri={REDIRECT_URI}"),
            format!(
                "acquire|by-username-password|{scope}|username={}|password={}",
                sample::ALICE,
                sample::ALICE_PASSWORD
            ),
            format!("authorize|{scope}|redirect-uri={REDIRECT_URI}|login-hint=bob"),
        ])
        .await;
    for (said, user) in said.iter().zip([sample::ALICE, sample::BOB, sample::ALICE]) {
        assert_eq!(token(said)["upn"], user, "{said}");
    }
    assert!(said[1].contains(" with eyJ"), "the id token is there where tokens are raw: {}", said[1]);
    let begun = url::Url::parse(&said[3]).expect("a URL");
    let hint = begun.query_pairs().find(|(name, _)| name == "login_hint");
    assert_eq!(hint.map(|(_, hint)| hint.into_owned()).as_deref(), Some("bob"));

    let accounts = plugin.step("accounts").await;
    let accounts: Vec<_> = accounts.split(' ').collect();
    assert_eq!(accounts.len(), 2, "{accounts:?}");
    let (said, requests) =
        world.seen(plugin.step(format!("acquire|silent|{scope}|account={}", accounts[0]))).await;
    assert!([sample::ALICE, sample::BOB].iter().any(|user| token(&said)["upn"] == *user));
    assert_eq!(requests.len(), 0);
    assert_eq!(plugin.step(format!("remove-account|{}", accounts[0])).await, "true");
    assert_eq!(plugin.step("accounts").await, accounts[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_running_processes_are_a_guests_own() {
    let Some(host) = host() else { return };
    let world = World::start().await;
    let application = world.application(&engine(), "web-api");
    let guest = |id: &str| GuestCtx::new(id, application.clone(), policy([GuestFlow::LongRunningProcess]));
    let (mut one, mut other) = (host.plugin(&guest("1")).await, host.plugin(&guest("2")).await);
    let alice = world.user_token(sample::ALICE, sample::WEB_API);
    let bob = world.user_token(sample::BOB, sample::WEB_API);
    let initiate =
        |assertion: &str, more: &str| format!("acquire|initiate|scope={GRAPH}|assertion={assertion}{more}");
    let go_on = |key: &str| format!("acquire|go-on|scope={GRAPH}|session-key={key}");

    // The same key of two guests is of two processes.
    let said = one.step(initiate(&alice, "|session-key=the key")).await;
    assert_eq!(token(&said)["upn"], sample::ALICE);
    assert!(other.step(go_on("the key")).await.contains("obo_cache_key_not_in_cache_error"));
    let said = other.step(initiate(&bob, "|session-key=the key")).await;
    assert_eq!(token(&said)["upn"], sample::BOB);
    assert_eq!(token(&one.step(go_on("the key")).await)["upn"], sample::ALICE);

    // An allocated one as well, though it follows from the user's token.
    let said = one.step(initiate(&alice, "")).await;
    let key = key(&said).to_owned();
    assert_eq!(key.len(), 43, "{said}");
    assert_eq!(token(&one.step(go_on(&key)).await)["upn"], sample::ALICE);
    assert!(other.step(go_on(&key)).await.contains("obo_cache_key_not_in_cache_error"));

    // Neither the host's keys nor another guest's can be written by a guest.
    let own = application.initiate_long_running_process([GRAPH], &alice, "the host's").await;
    own.expect("a token");
    for stolen in ["the host's", "guest:1:1:the key", "1:the key", "", "AllocateForMe"] {
        assert!(other.step(go_on(stolen)).await.contains("obo_cache_key_not_in_cache_error"), "{stolen}");
    }
    assert_eq!(other.step("stop|the host's").await, "false");

    assert_eq!(one.step("stop|the key").await, "true");
    assert!(one.step(go_on("the key")).await.contains("obo_cache_key_not_in_cache_error"));
    assert_eq!(token(&other.step(go_on("the key")).await)["upn"], sample::BOB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_must_answer_is_the_guests_to_ask() {
    let Some(host) = host() else { return };
    let world = World::start().await;
    let application = world.application(&engine(), "web-api");
    let mut plugin = host.plugin(&GuestCtx::new("a", application, policy([GuestFlow::OnBehalfOf]))).await;
    let expired = UserToken::new(sample::ALICE, sample::WEB_API).lifetime_seconds(0);
    let expired = world.authority.user_token(&expired).expect("a user");
    let said = plugin.step(format!("acquire|on-behalf-of|scope={GRAPH}|assertion={expired}")).await;
    assert!(said.starts_with("ErrorKind::InteractionRequired invalid_grant"), "{said}");
    assert!(said.contains("AADSTS"), "the authority's own words: {said}");
}

/// On a thread of its own, which belongs to no runtime.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_does_not_wait_blocks_its_thread() {
    let Some(host) = Host::blocking() else { return };
    let world = World::start().await;
    let api = world.api(symbolon_end_to_end::apis::of_tokens()).await;
    let application = world.caller(&engine(), "secret", &api, serde_json::json!({}));
    let policy = GuestPolicy::new().allow_flow(GuestFlow::ForClient);
    let guest = GuestCtx::new("a", application, policy.allow_api(&api.url(), [GRAPH]).expect("an origin"));
    let steps = [
        format!("acquire|for-client|scope={GRAPH}"),
        format!("send|POST|{}/orders|body=one", api.url()),
        "accounts".to_owned(),
        "drop".to_owned(),
    ];
    let said = std::thread::spawn(move || host.blocking_plugin(&guest).blocking_steps(steps)).join();
    let said = said.expect("no panic");
    assert!(said[0].starts_with("sealed Bearer"), "{said:?}");
    assert!(said[1].starts_with("200\n"), "{said:?}");
    assert!(said[2].contains("not_allowed") && said[3] == "dropped", "{said:?}");
    assert_eq!(api.log()[0].authorization_scheme.as_deref(), Some("Bearer"));
}
