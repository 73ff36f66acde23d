//! What is found out about clouds and regions: once, by real requests, and only where it is needed.

use futures_util::future::join_all;
use serde_json::{Value, json};
use symbolon::{Application, ApplicationOptions, Symbolon};
use symbolon_authority::{LogEntry, Platform, Source};
use symbolon_end_to_end::{GRAPH, VAULT, World, engine, engine_with};

const FOREIGN: &str = "login.contoso.test";

fn discoveries(world: &World) -> Vec<LogEntry> {
    world.authority.log().into_iter().filter(|entry| entry.path.ends_with("/discovery/instance")).collect()
}

async fn world() -> World {
    World::start_with(|authority| authority.host(FOREIGN)).await
}

/// An application of a cloud that isn't well known.
fn foreign(world: &World, symbolon: &Symbolon, change: impl FnOnce(&mut Value)) -> Application {
    let options: ApplicationOptions = world
        .options("secret", |settings| {
            settings["AzureAd"]["Instance"] = format!("https://{FOREIGN}").into();
            settings["Symbolon"]["ConnectTo"][format!("*.{FOREIGN}")] =
                world.authority.address().to_string().into();
            settings["Symbolon"]["ConnectTo"][FOREIGN] = world.authority.address().to_string().into();
            change(settings);
        })
        .expect("options");
    symbolon.application(options).expect("an application")
}

#[tokio::test]
async fn an_unknown_cloud_is_asked_about_once_by_a_herd() {
    let (world, symbolon) = (world().await, engine());
    let application = foreign(&world, &symbolon, |_| {});
    let herd = join_all((0..40).map(|n| {
        application.acquire_token_for_client([if n % 2 == 0 { GRAPH } else { VAULT }]).into_future()
    }));
    for token in herd.await {
        token.expect("a token");
    }
    let discoveries = discoveries(&world);
    assert_eq!(discoveries.len(), 1);
    assert_eq!(discoveries[0].host, "login.microsoftonline.com");
    assert_eq!(world.token_requests().len(), 2);
    assert!(world.token_requests().iter().all(|request| request.host == FOREIGN));
    let other = foreign(&world, &symbolon, |settings| settings["AzureAd"]["AzureRegion"] = "westus2".into());
    other.acquire_token_for_client([GRAPH]).await.expect("a token");
    assert_eq!(self::discoveries(&world).len(), 1, "regional hosts need none");
}

#[tokio::test]
async fn a_host_that_is_no_authority_is_refused_unless_it_is_vouched_for() {
    let (world, symbolon) = (World::start().await, engine());
    let error = foreign(&world, &symbolon, |_| {}).acquire_token_for_client([GRAPH]).await;
    assert_eq!(error.expect_err("no instance").code(), "invalid_instance");
    assert!(world.token_requests().is_empty(), "the secret stays here");
    let vouched = foreign(&world, &symbolon, |settings| {
        settings["Symbolon"]["ValidateAuthority"] = false.into();
    });
    // The local authority doesn't answer under that name; but it was asked.
    vouched.acquire_token_for_client([GRAPH]).await.expect_err("no such host");
    assert_eq!(discoveries(&world).len(), 2);
}

#[tokio::test]
async fn the_region_of_the_machine_is_detected_once() {
    let world = World::start().await;
    let platform = Platform::builder().start(&world.authority).await.expect("a platform");
    let address = platform.address(Source::Imds).to_string();
    let symbolon = engine_with(|builder| builder.environment(|_| None));
    let options = world.options("secret", |settings| {
        settings["AzureAd"]["AzureRegion"] = "TryAutoDetect".into();
        settings["Symbolon"]["ConnectTo"]["169.254.169.254:80"] = json!(address);
    });
    let application = symbolon.application(options.expect("options")).expect("an application");
    for scope in [GRAPH, VAULT] {
        let token = application.acquire_token_for_client([scope]).await.expect("a token");
        assert_eq!(token.metadata().region_used.as_deref(), Some("westus2"));
    }
    assert!(world.token_requests().iter().all(|request| request.host == "westus2.login.microsoft.com"));
    let metadata: Vec<_> = world
        .authority
        .log()
        .into_iter()
        .filter(|entry| entry.path == "/metadata/instance/compute")
        .collect();
    assert_eq!(metadata.len(), 1);
}

#[tokio::test]
async fn the_environment_names_the_region_and_a_silent_machine_has_none() {
    let world = World::start().await;
    let named = engine_with(|builder| {
        builder.environment(|name| (name == "REGION_NAME").then(|| "East US".to_owned()))
    });
    let detecting = |settings: &mut Value| settings["AzureAd"]["AzureRegion"] = "TryAutoDetect".into();
    let application = world.application_with(&named, "secret", detecting);
    application.acquire_token_for_client([GRAPH]).await.expect("a token");
    assert_eq!(world.token_requests()[0].host, "eastus.login.microsoft.com");

    // Nobody listens where the metadata service is said to be.
    let silent = engine_with(|builder| builder.environment(|_| None));
    let application = world.application_with(&silent, "secret", |settings| {
        detecting(settings);
        settings["Symbolon"]["ConnectTo"]["169.254.169.254:80"] = "127.0.0.1:1".into();
    });
    application.acquire_token_for_client([GRAPH]).await.expect("a token");
    assert_eq!(world.token_requests()[1].host, "login.microsoftonline.com");
}
