//! Applications of a configuration come when they are asked for, and go when nobody needs them.

#![allow(clippy::expect_used, reason = "these are tests, their helpers included")]

use serde_json::{Value, json};
use symbolon::{AcquireTokenOptions, SessionKey, Settings, TokenAcquirer};
use symbolon_end_to_end::{GRAPH, World};

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
