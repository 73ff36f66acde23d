//! Tokens of identities that the platform manages, for the caller and for credentials.

use serde_json::json;
use symbolon::{ApplicationId, ArcAgent, Error, ErrorKind, ManagedIdentityId, Symbolon, TokenSource};
use symbolon_authority::{
    ArcChallenge, CONTOSO, Endpoint, Fault, FaultRule, LogEntry, ManagedIdentity, Platform, Registration,
    Source,
};
use symbolon_end_to_end::{GRAPH, World, claims, engine_with};

const CLIENT: &str = "55555555-0000-4000-8000-000000000001";
const OBJECT: &str = "55555555-0000-4000-8000-000000000002";
const ASSIGNED: &str = "55555555-0000-4000-8000-000000000003";
const ASSIGNED_OBJECT: &str = "55555555-0000-4000-8000-000000000004";
const ASSIGNED_RESOURCE: &str = "/subscriptions/s/resourcegroups/g/providers/p/identities/assigned";
const DAEMON: &str = "55555555-0000-4000-8000-000000000005";
const AGENT: &str = "55555555-0000-4000-8000-000000000006";
const VAULT: &str = "https://vault.azure.net";

async fn platform(world: &World) -> Platform {
    let builder = Platform::builder().system_assigned(ManagedIdentity::new(CLIENT, OBJECT));
    let assigned = ManagedIdentity::new(ASSIGNED, ASSIGNED_OBJECT).resource_id(ASSIGNED_RESOURCE);
    let builder = builder.user_assigned(assigned);
    builder.start(&world.authority).await.expect("a platform")
}

/// An engine on a machine of this kind.
fn engine_on(platform: &Platform, source: Source) -> Symbolon {
    let variables = platform.environment(source);
    let agent = ArcAgent::new("/nowhere/himds", platform.arc_key_directory());
    engine_with(|builder| {
        builder.arc_agent(agent).environment(move |name| {
            variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        })
    })
}

#[tokio::test]
async fn tokens_come_from_where_the_process_runs() {
    let world = World::start().await;
    let platform = platform(&world).await;
    for source in Source::ALL {
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

/// The object id of the identity whose token comes, or the error's code.
async fn outcome(world: &World, symbolon: &Symbolon, identity: ManagedIdentityId) -> String {
    let application = world.application(symbolon, "secret");
    match application.acquire_token_for_managed_identity(VAULT, identity).await {
        Ok(token) => claims(token.access_token())["oid"].as_str().unwrap_or_default().to_owned(),
        Err(error) => error.code().to_owned(),
    }
}

/// The stand-ins check method, headers and parameters: what they answer with a token was asked as they are asked.
#[tokio::test]
async fn each_source_gives_the_identities_that_it_knows_by_the_ids_that_it_knows() {
    const NOT_CONFIGURABLE: &str = "user_assigned_managed_identity_not_configurable_at_runtime";
    const NOT_SUPPORTED: &str = "user_assigned_managed_identity_not_supported";
    const WRONG_TYPE: &str = "invalid_managed_identity_id_type";
    const REFUSED: &str = "managed_identity_request_failed";
    // By client id, object id and resource id, and by a client id that isn't assigned.
    let expected = |source| match source {
        Source::Imds | Source::AppService => [ASSIGNED_OBJECT, ASSIGNED_OBJECT, ASSIGNED_OBJECT, REFUSED],
        Source::ServiceFabric => [NOT_CONFIGURABLE, ASSIGNED_OBJECT, NOT_CONFIGURABLE, NOT_CONFIGURABLE],
        Source::MachineLearning => [ASSIGNED_OBJECT, WRONG_TYPE, WRONG_TYPE, REFUSED],
        _ => [NOT_SUPPORTED; 4],
    };
    let world = World::start().await;
    let platform = platform(&world).await;
    for source in Source::ALL {
        let symbolon = engine_on(&platform, source);
        let mut outcomes = Vec::new();
        for identity in [
            ManagedIdentityId::ClientId(ASSIGNED.into()),
            ManagedIdentityId::ObjectId(ASSIGNED_OBJECT.into()),
            ManagedIdentityId::ResourceId(ASSIGNED_RESOURCE.into()),
            ManagedIdentityId::ClientId("99999999-0000-4000-8000-000000000009".into()),
        ] {
            outcomes.push(outcome(&world, &symbolon, identity).await);
        }
        assert_eq!(outcomes, expected(source), "{source:?}");
    }
}

fn endpoint(source: Source) -> Endpoint {
    match source {
        Source::AppService => Endpoint::AppService,
        Source::ServiceFabric => Endpoint::ServiceFabric,
        Source::AzureArc => Endpoint::AzureArc,
        Source::CloudShell => Endpoint::CloudShell,
        Source::MachineLearning => Endpoint::MachineLearning,
        _ => Endpoint::Imds,
    }
}

#[tokio::test]
async fn each_source_is_asked_again_where_that_helps() {
    let world = World::start().await;
    let platform = platform(&world).await;
    let fails = |source: Source, status| {
        let fault = Fault::Status { status, retry_after: None, body: None };
        world.authority.faults().add(FaultRule::once(fault).endpoint(endpoint(source)));
    };
    let asked = |source: Source, before: usize| {
        let is_asked = |entry: &LogEntry| entry.endpoint == Some(endpoint(source));
        world.authority.log().into_iter().filter(is_asked).count() - before
    };
    // Azure Arc's first answer is a challenge.
    let usual = |source| if source == Source::AzureArc { 2 } else { 1 };
    for source in Source::ALL {
        let symbolon = engine_on(&platform, source);
        let application = world.application(&symbolon, "secret");
        let acquire =
            || application.acquire_token_for_managed_identity(VAULT, ManagedIdentityId::SystemAssigned);
        fails(source, 400);
        let Err(Error::Acquisition(error)) = acquire().await else { panic!("{source:?}") };
        assert_eq!(
            (error.kind, error.code.as_str()),
            (ErrorKind::Refused, "managed_identity_request_failed")
        );
        assert_eq!((error.status, asked(source, 0)), (Some(400), 1), "{source:?}");
        fails(source, 503);
        acquire().await.unwrap_or_else(|error| panic!("{source:?}: {error}"));
        assert_eq!(asked(source, 1), 1 + usual(source), "{source:?}");
    }
}

#[tokio::test]
async fn a_challenge_of_azure_arc_that_is_not_its_own_ends_it() {
    let world = World::start().await;
    let platform = platform(&world).await;
    let symbolon = engine_on(&platform, Source::AzureArc);
    for challenge in [
        ArcChallenge::OutsideDirectory,
        ArcChallenge::WrongExtension,
        ArcChallenge::LargeFile,
        ArcChallenge::MissingFile,
        ArcChallenge::OtherScheme,
        ArcChallenge::WithoutRealm,
        ArcChallenge::WithoutHeader,
    ] {
        platform.set_arc_challenge(challenge);
        let outcome = outcome(&world, &symbolon, ManagedIdentityId::SystemAssigned).await;
        assert_eq!(outcome, "managed_identity_request_failed", "{challenge:?}");
    }
    platform.set_arc_challenge(ArcChallenge::Genuine);
    assert_eq!(outcome(&world, &symbolon, ManagedIdentityId::SystemAssigned).await, OBJECT);
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
