//! What the platform gives to acquisitions for managed identities is out of reach for all others, and a guest that has it
//! can't take it elsewhere.

use symbolon::{Application, Binding, Error, ManagedIdentityId, Symbolon};
use symbolon_authority::{ManagedIdentity, Platform, Source};
use symbolon_end_to_end::{World, hostile_engine, order};

const TOKEN_PATH: &str =
    "metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net";

async fn platform(world: &World) -> Platform {
    let identity =
        ManagedIdentity::new("77777777-0000-4000-8000-000000000001", "77777777-0000-4000-8000-000000000002");
    Platform::builder().system_assigned(identity).start(&world.authority).await.expect("a platform")
}

fn hostile_on(platform: &Platform, source: Source) -> Symbolon {
    let variables = platform.environment(source);
    hostile_engine(|builder| {
        builder.environment(move |name| {
            variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        })
    })
}

/// What the guest sees that is asked for a token of a managed identity.
async fn order_inside(application: &Application, order: &str) -> String {
    let identity = ManagedIdentityId::SystemAssigned;
    match application.acquire_token_for_managed_identity(order, identity).await {
        Err(Error::Acquisition(seen)) => seen.code.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn other_flows_see_no_platform() {
    let world = World::start().await;
    let platform = platform(&world).await;
    for source in [Source::Imds, Source::AppService] {
        let symbolon = hostile_on(&platform, source);
        let application = world.application(&symbolon, "secret");
        let seen = order(&application, "platform").await.expect("an answer");
        assert_eq!(seen, "0 variables, 5 refused");
        let url = format!("http://{}/{TOKEN_PATH}", platform.address(source));
        let seen = order(&application, format!("get {url}")).await.expect("an answer");
        assert!(seen.contains("HttpRequestDenied"), "{seen}");
        let seen = order(&application, format!("post-bound {url}")).await.expect("an answer");
        assert!(seen.contains("HttpRequestDenied"), "with the application's secret: {seen}");
        let seen = order(&application, format!("platform-secret {url}")).await.expect("an answer");
        assert!(seen.contains("only an acquisition for a managed identity"), "{seen}");
    }
    assert!(world.authority.log().is_empty(), "nothing reached the platform");

    // The same guest, asked for such a token, sees it and reaches it.
    let symbolon = hostile_on(&platform, Source::AppService);
    let application = world.application(&symbolon, "secret");
    assert!(order_inside(&application, "platform").await.starts_with("2 variables"));
    let url = format!("http://{}/msi/token", platform.address(Source::AppService));
    assert_eq!(order_inside(&application, &format!("get {url}")).await, "401");
    assert_eq!(order_inside(&application, &format!("platform-secret {url}")).await, "400");
}

#[tokio::test]
async fn the_platforms_secret_goes_nowhere_else() {
    let world = World::start().await;
    let platform = platform(&world).await;
    let symbolon = hostile_on(&platform, Source::AppService);
    let application = world.application(&symbolon, "secret");
    let other = platform.address(Source::AzureArc);
    for url in [
        "https://login.microsoftonline.com/common/discovery/instance",
        "https://evil.example/collect",
        &format!("http://{other}/collect"),
    ] {
        let seen = order_inside(&application, &format!("platform-secret {url}")).await;
        assert!(seen.contains("HttpRequestDenied"), "{url}: {seen}");
    }
    assert!(world.authority.log().is_empty());
}

#[tokio::test]
async fn keys_are_few_and_their_certificates_their_own() {
    let world = World::start().await;
    let platform = platform(&world).await;
    let symbolon = hostile_on(&platform, Source::Imds);
    let application = world.application_with(&symbolon, "secret", |settings| {
        settings["Symbolon"]["AllowUnattestedKeys"] = true.into();
    });
    assert_eq!(order_inside(&application, "keys").await, "2: an acquisition makes at most 2 keys");
    let seen = order_inside(&application, "install https://mtlsauth.microsoft.com/t").await;
    assert!(!seen.contains("installed") && !seen.is_empty(), "{seen}");
    let attested = world.application_with(&symbolon, "certificate", |_| {});
    assert!(order_inside(&attested, "keys").await.starts_with("0: "));
}

#[tokio::test]
async fn a_token_for_a_certificate_that_was_not_selected_is_refused() {
    let world = World::start().await;
    let hostile = hostile_engine(|builder| builder);
    // The application has a certificate, but the guest didn't select it.
    let application = world.application(&hostile, "bound");
    let own = Binding::from_file(&world.path("client.pem"), None).expect("a certificate");
    for key_id in ["made-up", own.thumbprint_sha256()] {
        let refused = order(&application, format!("bind {key_id}")).await.expect_err("no token");
        assert!(matches!(refused, Error::Engine(_)), "{refused:?}");
        assert!(refused.to_string().contains("a certificate it wasn't given"), "{refused}");
    }
}
