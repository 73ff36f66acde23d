//! Tokens of identities that the platform manages, for the caller and for credentials.

use serde_json::json;
use symbolon::{ApplicationId, ManagedIdentityId, Symbolon, TokenSource};
use symbolon_authority::{CONTOSO, ManagedIdentity, Platform, Registration, Source};
use symbolon_end_to_end::{GRAPH, World, claims, engine_with};

const CLIENT: &str = "55555555-0000-4000-8000-000000000001";
const OBJECT: &str = "55555555-0000-4000-8000-000000000002";
const ASSIGNED: &str = "55555555-0000-4000-8000-000000000003";
const ASSIGNED_OBJECT: &str = "55555555-0000-4000-8000-000000000004";
const DAEMON: &str = "55555555-0000-4000-8000-000000000005";
const AGENT: &str = "55555555-0000-4000-8000-000000000006";
const VAULT: &str = "https://vault.azure.net";

async fn platform(world: &World) -> Platform {
    let builder = Platform::builder().system_assigned(ManagedIdentity::new(CLIENT, OBJECT));
    let builder = builder.user_assigned(ManagedIdentity::new(ASSIGNED, ASSIGNED_OBJECT));
    builder.start(&world.authority).await.expect("a platform")
}

/// An engine on a machine of this kind.
fn engine_on(platform: &Platform, source: Source) -> Symbolon {
    let variables = platform.environment(source);
    engine_with(|builder| {
        builder.environment(move |name| {
            variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        })
    })
}

#[tokio::test]
async fn tokens_come_from_where_the_process_runs() {
    let world = World::start().await;
    let platform = platform(&world).await;
    for source in
        [Source::Imds, Source::AppService, Source::ServiceFabric, Source::CloudShell, Source::MachineLearning]
    {
        let symbolon = engine_on(&platform, source);
        let application = world.application(&symbolon, "secret");
        let acquire =
            || application.acquire_token_for_managed_identity(VAULT, ManagedIdentityId::SystemAssigned);
        let token = acquire().await.unwrap_or_else(|error| panic!("{source:?}: {error}"));
        assert_eq!(claims(token.access_token())["oid"], OBJECT, "{source:?}");
        let again = acquire().await.expect("a token");
        assert_eq!(again.metadata().token_source, TokenSource::Cache, "{source:?}");
        assert_eq!(again.access_token(), token.access_token(), "{source:?}");
    }
}

#[tokio::test]
async fn an_assigned_identity_is_named() {
    let world = World::start().await;
    let platform = platform(&world).await;
    let symbolon = engine_on(&platform, Source::AppService);
    let application = world.application(&symbolon, "secret");
    let identity = ManagedIdentityId::ClientId(ASSIGNED.into());
    let token = application.acquire_token_for_managed_identity(VAULT, identity).await.expect("a token");
    assert_eq!(claims(token.access_token())["oid"], ASSIGNED_OBJECT);
}

#[tokio::test]
async fn a_managed_identity_stands_in_for_a_credential() {
    let world = World::start().await;
    let platform = platform(&world).await;
    let symbolon = engine_on(&platform, Source::AppService);
    let issuer = format!("https://login.microsoftonline.com/{CONTOSO}/v2.0");
    let registration =
        Registration::new(DAEMON).federated_credential(&issuer, OBJECT, "api://AzureADTokenExchange");
    world.authority.register(registration);
    world.authority.register(Registration::new(AGENT).agent_of(DAEMON));
    let options = world.options("secret", |settings| {
        settings["AzureAd"]["ClientId"] = DAEMON.into();
        settings["AzureAd"]["ClientCredentials"] =
            json!([{ "SourceType": "SignedAssertionFromManagedIdentity" }]);
    });
    let options = options.expect("options").with_id(ApplicationId::new("daemon"));
    let application = symbolon.application(options).expect("an application");
    let token = application.acquire_token_for_client([GRAPH]).await.expect("a token");
    assert_eq!(claims(token.access_token())["appid"], DAEMON);
    // The identity stands behind the blueprint, which stands behind its agent.
    let agent = symbolon::AgentIdentity::app_only(AGENT);
    let token = application.acquire_token_for_agent(agent, [GRAPH]).await.expect("a token of the agent");
    assert_eq!(claims(token.access_token())["appid"], AGENT);
}

/// What an API demands, and what the application can handle, reaches the platform that makes the assertion.
#[tokio::test]
async fn claims_and_capabilities_reach_the_identity_behind_a_credential() {
    let world = World::start().await;
    let platform = platform(&world).await;
    let symbolon = engine_on(&platform, Source::ServiceFabric);
    let issuer = format!("https://login.microsoftonline.com/{CONTOSO}/v2.0");
    let registration =
        Registration::new(DAEMON).federated_credential(&issuer, OBJECT, "api://AzureADTokenExchange");
    world.authority.register(registration);
    let options = world.options("secret", |settings| {
        settings["AzureAd"]["ClientId"] = DAEMON.into();
        settings["AzureAd"]["ClientCapabilities"] = json!(["cp1"]);
        settings["AzureAd"]["ClientCredentials"] =
            json!([{ "SourceType": "SignedAssertionFromManagedIdentity" }]);
    });
    let options = options.expect("options").with_id(ApplicationId::new("daemon"));
    let application = symbolon.application(options).expect("an application");
    let identity = async |claims: Option<&str>| {
        let request = application.acquire_token_for_client([GRAPH]);
        let request = match claims {
            Some(claims) => request.with_claims(claims),
            None => request,
        };
        let (token, seen) = world.seen(request).await;
        token.expect("a token");
        let asked = seen.iter().filter(|entry| entry.query_text("resource").is_some());
        asked
            .map(|entry| {
                (
                    entry.query_text("xms_cc") == Some("cp1"),
                    entry.query_text("token_sha256_to_refresh").is_some(),
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(identity(None).await, [(true, false)]);
    let challenge = r#"{"access_token":{"nbf":{"essential":true,"value":"1701477303"}}}"#;
    assert_eq!(identity(Some(challenge)).await, [(true, true)], "the token that was refused is named");
}
