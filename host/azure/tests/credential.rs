//! Tokens for the Azure SDK, by every kind of credential, against the local authority.

#![allow(clippy::expect_used, clippy::panic, reason = "that is how a test fails")]

use std::time::{Duration, UNIX_EPOCH};

use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::{Error, ErrorKind};
use azure_core::http::ClientMethodOptions;
use azure_core::http::request::options::ClientRequestId;
use azure_core::time::OffsetDateTime;
use symbolon::{AgentIdentity, Application, ManagedIdentityId, Symbolon, UserAssertion};
use symbolon_authority::{Fault, FaultRule, ManagedIdentity, Platform, Source, sample};
use symbolon_azure::ApplicationCredential;
use symbolon_end_to_end::{GRAPH, VAULT, World, claims, engine, engine_with};

const CORRELATION_ID: &str = "0b5d2f3e-3c5b-4f0e-9a57-7d6e7c1f2a10";

async fn token(credential: &ApplicationCredential) -> AccessToken {
    credential.get_token(&[VAULT], None).await.expect("a token")
}

async fn refusal(application: Application) -> Error {
    ApplicationCredential::new(application).get_token(&[VAULT], None).await.expect_err("an error")
}

#[tokio::test]
async fn a_secret_gets_a_token_once() {
    let (world, symbolon) = (World::start().await, engine());
    let credential = ApplicationCredential::new(world.application(&symbolon, "secret"));
    let token = token(&credential).await;
    assert_eq!(claims(token.token.secret())["appid"], sample::SECRET);
    assert_eq!(claims(token.token.secret())["exp"], token.expires_on.unix_timestamp());
    assert!(token.expires_on > OffsetDateTime::from(UNIX_EPOCH), "{}", token.expires_on);

    let again = credential.clone().get_token(&[VAULT], None).await.expect("a token");
    assert_eq!(again.token, token.token);
    assert_eq!(world.token_requests().len(), 1);
}

#[tokio::test]
async fn a_certificate_is_presented_to_the_authority() {
    let (world, symbolon) = (World::start().await, engine());
    let credential = ApplicationCredential::new(world.application(&symbolon, "mtls"));
    assert_eq!(claims(token(&credential).await.token.secret())["appid"], sample::MTLS);
    let [request] = &world.token_requests()[..] else { panic!("one request") };
    assert!(request.client_certificate.is_some());
    assert_eq!(request.host, "mtlsauth.microsoft.com");
}

#[tokio::test]
async fn an_agent_and_its_user_get_tokens_of_their_own() {
    let (world, symbolon) = (World::start().await, engine());
    let blueprint = world.application(&symbolon, "blueprint");
    let agent = AgentIdentity::app_only(sample::AGENT_ONE);
    let own = ApplicationCredential::for_agent(blueprint.clone(), agent.clone());
    assert_eq!(claims(token(&own).await.token.secret())["appid"], sample::AGENT_ONE);

    let alice = AgentIdentity::with_user_principal_name(sample::AGENT_ONE, sample::ALICE);
    let alice = ApplicationCredential::for_agent(blueprint.clone(), alice);
    let token = alice.get_token(&[GRAPH], None).await.expect("a token");
    assert_eq!(claims(token.token.secret())["oid"], sample::ALICE_OBJECT_ID);

    let bob = UserAssertion::from(world.user_token(sample::BOB, sample::BLUEPRINT));
    let bob = ApplicationCredential::for_agent_on_behalf_of(blueprint, agent, bob);
    let token = bob.get_token(&[GRAPH], None).await.expect("a token");
    assert_eq!(claims(token.token.secret())["oid"], sample::BOB_OBJECT_ID);
    assert_eq!(claims(token.token.secret())["appid"], sample::AGENT_ONE);
}

#[tokio::test]
async fn a_user_is_acted_for() {
    let (world, symbolon) = (World::start().await, engine());
    let user = UserAssertion::from(world.user_token(sample::ALICE, sample::WEB_API));
    let credential = ApplicationCredential::on_behalf_of(world.application(&symbolon, "web-api"), user);
    let token = credential.get_token(&[GRAPH], None).await.expect("a token");
    assert_eq!(claims(token.token.secret())["oid"], sample::ALICE_OBJECT_ID);
}

#[tokio::test]
async fn a_managed_identity_needs_no_authority() {
    let world = World::start().await;
    let identity = ManagedIdentity::new("55555555-0000-4000-8000-000000000001", OBJECT_ID);
    let platform = Platform::builder().system_assigned(identity).start(&world.authority).await;
    let platform = platform.expect("a platform");
    let symbolon = on_platform(&platform, Source::AppService);
    let application = world.application(&symbolon, "secret");
    let credential =
        ApplicationCredential::for_managed_identity(application, ManagedIdentityId::SystemAssigned);
    assert_eq!(claims(token(&credential).await.token.secret())["oid"], OBJECT_ID);
    assert_eq!(
        world.token_requests().iter().filter(|seen| seen.host.ends_with("microsoftonline.com")).count(),
        0
    );

    let error = credential.get_token(&[VAULT, GRAPH], None).await.expect_err("two scopes");
    assert_eq!(*error.kind(), ErrorKind::Credential);
    assert!(error.to_string().contains("found 2"), "{error}");
}

const OBJECT_ID: &str = "55555555-0000-4000-8000-000000000002";

fn on_platform(platform: &Platform, source: Source) -> Symbolon {
    let variables = platform.environment(source);
    let find =
        move |name: &str| variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    engine_with(|builder| builder.environment(find))
}

#[tokio::test]
async fn the_request_id_of_the_caller_reaches_the_authority() {
    let (world, symbolon) = (World::start().await, engine());
    let credential = ApplicationCredential::new(world.application(&symbolon, "secret"));
    for (id, is_taken) in [(CORRELATION_ID, true), ("the caller's own", false)] {
        let mut method_options = ClientMethodOptions::default();
        method_options.context.insert(ClientRequestId::new(id.to_owned()));
        let scope = if is_taken { VAULT } else { GRAPH };
        let options = Some(TokenRequestOptions { method_options });
        credential.get_token(&[scope], options).await.expect("a token");
        let requests = world.token_requests();
        let sent = requests.last().and_then(|request| request.header("client-request-id"));
        assert_eq!(sent == Some(id), is_taken, "{sent:?}");
    }
}

#[tokio::test]
async fn another_directory_is_asked_for() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "secret");
    let credential = ApplicationCredential::new(application).with_tenant_id("contoso.onmicrosoft.com");
    token(&credential).await;
    assert_eq!(world.token_requests()[0].tenant.as_deref(), Some("contoso.onmicrosoft.com"));
}

#[tokio::test]
async fn a_refusal_is_no_reason_to_try_again() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application_with(&symbolon, "secret", |settings| {
        settings["AzureAd"]["ClientCredentials"][0]["ClientSecret"] = "canary".into();
    });
    let error = refusal(application.clone()).await;
    assert_eq!(*error.kind(), ErrorKind::Credential);
    assert_eq!(symbolon_error(&error).aadsts_codes(), [7_000_215]);
    assert!(error.to_string().contains("AADSTS7000215"), "{error}");
    let credential = ApplicationCredential::new(application);
    for text in [format!("{error} {error:?}"), format!("{credential:?}")] {
        assert!(!text.contains("canary"), "{text}");
    }
}

#[tokio::test]
async fn silence_is_a_reason_to_try_again() {
    let (world, symbolon) = (World::start().await, engine());
    world.authority.faults().add(FaultRule::once(Fault::CloseWithoutAnswer).always());
    let error = refusal(world.application(&symbolon, "secret")).await;
    assert_eq!(*error.kind(), ErrorKind::Io, "{error}");
    assert!(symbolon_error(&error).is_retryable());

    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = listener.local_addr().expect("its address").to_string();
    drop(listener);
    let application = world.application_with(&symbolon, "certificate", |settings| {
        settings["Symbolon"]["ConnectTo"]["login.microsoftonline.com"] = nobody.into();
    });
    let error = refusal(application).await;
    assert_eq!(*error.kind(), ErrorKind::Connection, "{error}");
}

#[tokio::test]
async fn an_authority_that_stalls_is_a_reason_to_try_again() {
    let world = World::start().await;
    let symbolon = engine_with(|builder| builder.acquisition_deadline(Duration::from_millis(300)));
    world.authority.faults().add(FaultRule::once(Fault::Delay { milliseconds: 5_000 }).always());
    let error = refusal(world.application(&symbolon, "secret")).await;
    assert_eq!(*error.kind(), ErrorKind::Io, "{error}");
}

fn symbolon_error(error: &Error) -> &symbolon::Error {
    error.downcast_ref().expect("the error of Symbolon")
}
