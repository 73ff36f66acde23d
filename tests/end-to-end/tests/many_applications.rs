//! Many applications in one process: those of a configuration come when they are asked for and go when nobody needs them,
//! and none takes what the others need.

#![allow(clippy::expect_used, reason = "these are tests, their helpers included")]

use std::time::Duration;

use serde_json::{Value, json};
use symbolon::{
    AcquireTokenOptions, Application, ApplicationId, Error, GuestFailure, SessionKey, Settings, Symbolon,
    TokenAcquirer,
};
use symbolon_authority::{Fault, FaultRule};
use symbolon_end_to_end::keys::{HOSTILE_PROVIDER, Keys};
use symbolon_end_to_end::{GRAPH, World, engine_with, hostile_engine, order, until};
use tokio::task::JoinHandle;
use tokio::time::Instant;

const HOUR_MS: u64 = 3_600_000;

/// A section for each sample application.
fn settings(world: &World, samples: &[&str]) -> Settings {
    let mut all = json!({});
    for sample in samples {
        let Value::Object(mut settings) = world.settings(sample) else { continue };
        all[sample] = settings.remove("AzureAd").expect("a registration");
        for (name, section) in settings {
            all[name] = section;
        }
    }
    Settings::from_value(all)
}

async fn ask(acquirer: &TokenAcquirer, section: &str) {
    let mut options = AcquireTokenOptions::default();
    options.authentication_options_name = Some(section.to_owned());
    acquirer.get_token_for_app(GRAPH, &mut options).await.expect("a token");
}

#[tokio::test]
async fn who_is_idle_goes_and_comes_again() {
    let (world, symbolon, clock) = World::timed().await;
    let acquirer = symbolon.token_acquirer(settings(&world, &["secret", "certificate", "bound"]));
    assert_eq!(symbolon.cache_statistics().entries, 0, "no section is read yet");
    ask(&acquirer, "secret").await;
    let held = acquirer.application("certificate").expect("an application");
    held.acquire_token_for_client([GRAPH]).await.expect("a token");
    let both = symbolon.cache_statistics().entries;

    clock.advance(HOUR_MS - 1_000);
    ask(&acquirer, "bound").await;
    assert!(symbolon.cache_statistics().entries > both, "nobody was idle for an hour");
    clock.advance(HOUR_MS);
    ask(&acquirer, "BOUND").await;
    let three = symbolon.cache_statistics().entries;
    acquirer.application("nobody").expect_err("there is no such section");
    let after = symbolon.cache_statistics().entries;
    assert!(after < three, "{after} of {three}: the one that nobody holds is gone");
    assert!(held.cache_statistics().entries > 0, "the one that is held isn't");
    ask(&acquirer, "secret").await;
    assert_eq!(symbolon.cache_statistics().entries, three);
}

#[tokio::test]
async fn where_users_have_signed_in_nobody_has_to_again() {
    let (world, symbolon, clock) = World::timed().await;
    let acquirer = symbolon.token_acquirer(settings(&world, &["web-api", "secret"]));
    let assertion = std::fs::read_to_string(world.path("user-assertion-alice.jwt")).expect("a user's token");
    let mut options = AcquireTokenOptions::default();
    options.authentication_options_name = Some("web-api".to_owned());
    options.long_running_session_key = Some(SessionKey::AllocateForMe);
    let scopes = ["https://graph.microsoft.com/User.Read"];
    acquirer.get_token_for_user(scopes, Some(assertion.trim()), &mut options).await.expect("a token");

    clock.advance(3 * HOUR_MS);
    ask(&acquirer, "secret").await;
    acquirer.get_token_for_user(scopes, None, &mut options).await.expect("the process goes on");
}

#[tokio::test]
async fn many_that_are_idle_go_a_few_at_a_time() {
    let (world, symbolon, clock) = World::timed().await;
    let Value::Object(mut settings) = world.settings("secret") else { return };
    let registration = settings.remove("AzureAd").expect("a registration");
    for number in 0..23 {
        settings.insert(format!("Tenant{number}"), registration.clone());
    }
    let acquirer = symbolon.token_acquirer(Settings::from_value(settings.into()));
    for number in 0..20 {
        acquirer.application(&*format!("Tenant{number}")).expect("an application");
    }
    clock.advance(HOUR_MS);
    let mut left = Vec::new();
    for number in 20..23 {
        acquirer.application(&*format!("Tenant{number}")).expect("an application");
        left.push(symbolon.applications().len());
    }
    assert_eq!(left, [5, 2, 3], "whoever comes waits for a few to go, not for all");
}

/// Calls that go to the authority, each for itself.
fn calls(application: &Application, count: usize) -> Vec<JoinHandle<Result<(), Error>>> {
    let call = |number| {
        let application = application.clone();
        let claims = json!({ "access_token": { "n": { "value": number } } }).to_string();
        tokio::spawn(async move {
            application.acquire_token_for_client([GRAPH]).with_claims(claims).await.map(drop)
        })
    };
    (0..count).map(call).collect()
}

fn late(application: &Application, milliseconds: u64) -> FaultRule {
    let delay = Fault::Delay { milliseconds };
    FaultRule::once(delay).always().client(application.options().client_id())
}

/// The limit of one application where that of all has room, as it is by default and as it is set.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_whose_authority_is_slow_leaves_room_for_the_others() {
    let world = World::start().await;
    let by_default = engine_with(|builder| builder.max_in_flight(140));
    let set = engine_with(|builder| builder.max_in_flight(4).max_in_flight_per_application(2));
    for (symbolon, limit) in [(by_default, 70), (set, 2)] {
        let slow = world.application(&symbolon, "secret");
        let rule = world.authority.faults().add(late(&slow, 60_000));
        let waiting = calls(&slow, limit);
        until(|| symbolon.statistics().in_flight == limit).await;
        let error = slow.acquire_token_for_client([GRAPH]).await.expect_err("no more of it");
        assert!(
            matches!(error, Error::ApplicationInFlightLimit { limit: found } if found == limit),
            "{error:?}"
        );
        assert!(error.is_retryable());
        let other = world.application(&symbolon, "certificate");
        other.acquire_token_for_client([GRAPH]).await.expect("a neighbour's token");
        for call in waiting {
            call.abort();
        }
        world.authority.faults().remove(rule);
        until(|| symbolon.statistics().in_flight == 0).await;
        slow.acquire_token_for_client([GRAPH]).await.expect("there is room again");
    }
}

/// A thousand tokens whose time has come don't begin at once: some are renewed, and others by later calls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_are_few_at_a_time_and_none_is_forgotten() {
    const TOKENS: usize = 20;
    const AT_ONCE: usize = 4;
    let (world, symbolon, clock) = World::timed().await;
    let application = world.application(&symbolon, "refresh");
    let all = async || {
        for number in 0..TOKENS {
            let token = application.acquire_token_for_client([GRAPH]).with_fmi_path(format!("path/{number}"));
            token.await.expect("a token");
        }
    };
    all().await;
    let rule = world.authority.faults().add(late(&application, 2_000));
    clock.advance(13 * HOUR_MS);
    all().await;
    until(|| world.token_requests().len() == TOKENS + AT_ONCE).await;
    all().await;
    assert_eq!(symbolon.statistics().in_flight, AT_ONCE, "those that wait are all that there are");
    world.authority.faults().remove(rule);
    // Whoever waits for the late answers is let go when these are over; until then the others have no room.
    tokio::time::timeout(Duration::from_secs(60), async {
        while world.token_requests().len() < 2 * TOKENS {
            all().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .expect("all are renewed");
}

/// An engine with nothing to do measures no time. The next guest is stopped all the same, and so is the one after a pause.
#[tokio::test]
async fn an_engine_that_slept_stops_who_spins() {
    let (world, symbolon) = (World::start().await, hostile_engine(|builder| builder));
    let application = world.application(&symbolon, "secret");
    for pause in [0, 500, 500] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let spinning = tokio::time::timeout(Duration::from_secs(20), order(&application, "spin"));
        let error = spinning.await.expect("it is stopped").expect_err("no token");
        assert!(matches!(error, Error::Guest(GuestFailure::CpuBudget { .. })), "{error:?}");
    }
}

/// An application whose assertions come from a component that does what the claims of a call say.
fn with_hostile_component(world: &World, symbolon: &Symbolon) -> Application {
    let component = world.path("hostile-provider.wasm");
    std::fs::write(&component, HOSTILE_PROVIDER).expect("the component");
    let options = world.options("federated", |settings| {
        settings["AzureAd"]["ClientCredentials"] = json!([{
            "SourceType": "CustomSignedAssertion", "CustomSignedAssertionProviderName": "hostile",
        }]);
        settings["Symbolon"]["CredentialProviders"] = json!({ "hostile": {
            "Component": component, "Files": { "assertion": "federated-assertion.jwt" },
        }});
    });
    let options = options.expect("options").with_id(ApplicationId::new("hostile"));
    symbolon.application(options).expect("an application")
}

async fn spin(application: &Application) -> Error {
    let claims = r#"{"access_token":{"spin":null}}"#;
    application.acquire_token_for_client([GRAPH]).with_claims(claims).await.expect_err("it spins")
}

/// Calls of components block, and the runtime has so many threads for that.
#[test]
fn a_component_that_is_slow_leaves_threads_to_the_others() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(16).build();
    runtime.expect("a runtime").block_on(async {
        let symbolon = engine_with(|builder| builder.credential_provider_cpu(Duration::from_secs(4)));
        let world = World::start().await.with_keys(Keys::Component);
        let hostile = with_hostile_component(&world, &symbolon);
        hostile.acquire_token_for_client([GRAPH]).await.expect("a token, when nothing else is said");
        let neighbour = world.application(&symbolon, "certificate");
        neighbour.acquire_token_for_client([GRAPH]).await.expect("a token");

        let began = Instant::now();
        let spinning = (0..40).map(|number| {
            let claims = json!({ "access_token": { "spin": { "value": number } } }).to_string();
            let hostile = hostile.clone();
            tokio::spawn(async move {
                hostile.acquire_token_for_client([GRAPH]).with_claims(claims).await.is_err()
            })
        });
        let spinning: Vec<_> = spinning.collect();
        until(|| symbolon.statistics().in_flight == 40).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        neighbour.acquire_token_for_client([GRAPH]).with_force_refresh(true).await.expect("a token");
        assert!(began.elapsed() < Duration::from_secs(3), "not after the first spin: {:?}", began.elapsed());
        assert!(!spinning.iter().any(JoinHandle::is_finished), "they spin or wait");
        for call in spinning {
            assert!(call.await.expect("a task"), "it spins");
        }
    });
}

#[tokio::test]
async fn a_component_that_always_fails_is_left_alone() {
    let symbolon = engine_with(|builder| builder.credential_provider_cpu(Duration::from_millis(600)));
    let world = World::start().await;
    let hostile = with_hostile_component(&world, &symbolon);
    hostile.acquire_token_for_client([GRAPH]).await.expect("a token, when nothing else is said");
    for _ in 0..2 {
        let error = spin(&hostile).await.to_string();
        assert!(error.contains("it ran for longer than 600ms"), "{error}");
    }
    let began = Instant::now();
    let error = spin(&hostile).await;
    assert!(error.to_string().contains("left alone for a while"), "{error}");
    assert!(began.elapsed() < Duration::from_millis(500), "nothing ran: {:?}", began.elapsed());
    assert!(error.retry_after().is_some_and(|pause| pause > Duration::from_secs(1)), "{error:?}");
    let cached = hostile.acquire_token_for_client([GRAPH]).await;
    cached.expect("what it brought before is still there");
}
