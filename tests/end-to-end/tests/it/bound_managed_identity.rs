//! Tokens of managed identities that are bound to a certificate which the platform issued for a key of the host's.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use symbolon::{
    Application, ApplicationId, AttestationError, AttestationProvider, AttestationRequest,
    AuthenticationResult, BoxFuture, Builder, Error, ErrorKind, ManagedIdentityId, ManualClock, Symbolon,
    SystemClock, TokenSource,
};
use symbolon_authority::{
    Ask, CONTOSO, Clock, Endpoint, Fault, FaultRule, LogEntry, ManagedIdentity, Platform, PlatformBuilder,
    Registration, Source,
};
use symbolon_end_to_end::apis::of_tokens;
use symbolon_end_to_end::{GRAPH, VAULT, World, claims, engine_with};

const CLIENT: &str = "66666666-0000-4000-8000-000000000001";
const OBJECT: &str = "66666666-0000-4000-8000-000000000002";
const ASSIGNED: &str = "66666666-0000-4000-8000-000000000003";
const ASSIGNED_OBJECT: &str = "66666666-0000-4000-8000-000000000004";
const DAEMON: &str = "66666666-0000-4000-8000-000000000005";
const OUTER: &str = "66666666-0000-4000-8000-000000000006";
const EXCHANGE: &str = "api://AzureADTokenExchange";
const REGIONAL: &str = "westus2.mtlsauth.microsoft.com";
const HOUR_MS: u64 = 60 * 60 * 1000;

fn machine() -> PlatformBuilder {
    Platform::builder()
        .system_assigned(ManagedIdentity::new(CLIENT, OBJECT))
        .user_assigned(ManagedIdentity::new(ASSIGNED, ASSIGNED_OBJECT))
        .attestation_endpoint("https://attest.test")
}

async fn start(world: &World, machine: PlatformBuilder) -> Platform {
    machine.start(&world.authority).await.expect("a platform")
}

fn engine_on(platform: &Platform, source: Source, add: impl FnOnce(Builder) -> Builder) -> Symbolon {
    let variables = platform.environment(source);
    engine_with(|builder| {
        add(builder.environment(move |name| {
            variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        }))
    })
}

/// Attests every key, and remembers for whom.
#[derive(Default)]
struct Attests {
    asked: Mutex<Vec<(String, String, usize)>>,
    fails: Option<AttestationError>,
}

impl AttestationProvider for Attests {
    fn attest<'a>(
        &'a self,
        request: AttestationRequest<'a>,
    ) -> BoxFuture<'a, Result<String, AttestationError>> {
        let asked = (request.endpoint.to_owned(), request.client_id.to_owned(), request.public_key.len());
        self.asked.lock().expect("no panic").push(asked);
        let answer = self.fails.clone().map_or_else(|| Ok("e30.e30.c2lnbmVk".to_owned()), Err);
        Box::pin(async move { answer })
    }
}

fn attested(builder: Builder) -> Builder {
    builder.attestation(Arc::new(Attests::default()))
}

fn unattested(world: &World, symbolon: &Symbolon) -> Application {
    world.application_with(symbolon, "secret", |settings| {
        settings["Symbolon"]["AllowUnattestedKeys"] = true.into();
    })
}

async fn bound(application: &Application, resource: &str) -> Result<AuthenticationResult, Error> {
    application
        .acquire_token_for_managed_identity(resource, ManagedIdentityId::SystemAssigned)
        .with_mtls_proof_of_possession()
        .await
}

fn refused(outcome: Result<AuthenticationResult, Error>) -> (ErrorKind, String, String) {
    match outcome.expect_err("no token") {
        Error::Acquisition(error) => (error.kind, error.code.clone(), error.message.clone()),
        other => panic!("{other:?}"),
    }
}

fn at(world: &World, endpoint: Endpoint) -> Vec<LogEntry> {
    world.authority.log().into_iter().filter(|entry| entry.endpoint == Some(endpoint)).collect()
}

/// The certificate that a token is bound to, as the token and as the result say it.
fn binding(token: &AuthenticationResult) -> String {
    let binding = token.binding_certificate().expect("a certificate").thumbprint_sha256().to_owned();
    assert_eq!(claims(token.access_token())["cnf"]["x5t#S256"], binding.as_str());
    assert_eq!(token.token_type(), "mtls_pop");
    binding
}

#[tokio::test]
async fn a_token_is_bound_to_a_certificate_that_the_platform_issued() {
    let world = World::start().await;
    let platform = start(&world, machine().demand_attestation(true)).await;
    let provider = Arc::new(Attests::default());
    let attesting = provider.clone();
    let symbolon = engine_on(&platform, Source::Imds, |builder| builder.attestation(attesting));
    let application = world.application(&symbolon, "secret");
    let token = bound(&application, GRAPH).await.expect("a token");
    let thumbprint = binding(&token);
    assert_eq!(claims(token.access_token())["oid"], OBJECT);
    let endpoint = token.metadata().token_endpoint.clone().expect("an endpoint");
    assert_eq!(&*endpoint, format!("https://{REGIONAL}/{CONTOSO}/oauth2/v2.0/token"));
    let seen = world.token_requests();
    let [request] = seen.as_slice() else { panic!("{} requests", seen.len()) };
    assert_eq!((request.host.as_str(), request.client_certificate.as_ref()), (REGIONAL, Some(&thumbprint)));
    let names: Vec<_> = request.form_names().collect();
    assert_eq!(names, ["client_id", "scope", "grant_type", "token_type"]);

    // The certificate serves other resources, and the token is served again.
    let again = bound(&application, GRAPH).await.expect("a token");
    assert_eq!((again.metadata().token_source, binding(&again)), (TokenSource::Cache, thumbprint.clone()));
    assert_eq!(binding(&bound(&application, VAULT).await.expect("a token")), thumbprint);
    assert_eq!(at(&world, Endpoint::IssueCredential).len(), 1);
    let asked = provider.asked.lock().expect("no panic").clone();
    assert_eq!(asked, [("https://attest.test".to_owned(), CLIENT.to_owned(), 294)]);

    // A bearer token and another identity have nothing to do with it.
    let identity = ManagedIdentityId::ClientId(ASSIGNED.into());
    let other = application.acquire_token_for_managed_identity(GRAPH, identity);
    let other = other.with_mtls_proof_of_possession().await.expect("a token");
    assert_ne!(binding(&other), thumbprint);
    assert_eq!(claims(other.access_token())["oid"], ASSIGNED_OBJECT);
    let bearer = application.acquire_token_for_managed_identity(GRAPH, ManagedIdentityId::SystemAssigned);
    let bearer = bearer.await.expect("a token");
    assert_eq!((bearer.token_type(), bearer.binding_certificate().is_none()), ("Bearer", true));
}

#[tokio::test]
async fn an_api_is_called_with_the_certificate_of_the_token() {
    let world = World::start().await;
    let platform = start(&world, machine()).await;
    let api = world.api(of_tokens().ask(Ask::Optional)).await;
    let symbolon = engine_on(&platform, Source::Imds, attested);
    let identity = json!({ "ManagedIdentity": {} });
    let options = json!({ "ProtocolScheme": "MTLS_POP", "AcquireTokenOptions": identity });
    let graph = world.calling(&symbolon, "secret", &api, options);
    let response = graph.get("users").send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    let [request] = &api.log()[..] else { panic!("one request") };
    assert_eq!(request.authorization_scheme.as_deref(), Some("mtls_pop"));
    let token = request.token.as_ref().expect("a token");
    assert_eq!(token["oid"], OBJECT);
    assert!(request.client_certificate.is_some());
    assert_eq!(token["cnf"]["x5t#S256"].as_str(), request.client_certificate.as_deref());
}

#[tokio::test]
async fn callers_wait_for_one_certificate_and_one_token() {
    let world = World::start().await;
    let platform = start(&world, machine()).await;
    let symbolon = engine_on(&platform, Source::Imds, attested);
    let application = world.application(&symbolon, "secret");
    let calls = (0..20).map(|_| {
        let application = application.clone();
        tokio::spawn(async move { bound(&application, GRAPH).await })
    });
    let mut thumbprints = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        thumbprints.push(binding(&call.await.expect("a task").expect("a token")));
    }
    thumbprints.dedup();
    assert_eq!(thumbprints.len(), 1);
    assert_eq!(at(&world, Endpoint::PlatformMetadata).len(), 1);
    assert_eq!(at(&world, Endpoint::IssueCredential).len(), 1);
    assert_eq!(world.token_requests().len(), 1);
    // Those of another application are its own.
    let other = world.options("certificate", |_| {}).expect("options");
    let other = symbolon.application(other.with_id(ApplicationId::new("other"))).expect("an application");
    assert_ne!(binding(&bound(&other, GRAPH).await.expect("a token")), thumbprints[0]);
}

#[tokio::test]
async fn a_certificate_is_renewed_before_its_end_and_when_it_is_refused() {
    let clock = Arc::new(ManualClock::new(symbolon::Clock::now_unix_ms(&SystemClock)));
    let theirs = clock.clone();
    let time = Clock::new(move || symbolon::Clock::now_unix_ms(&*theirs));
    let world = World::start_with(|authority| authority.clock(time)).await;
    let platform = start(&world, machine()).await;
    let symbolon = engine_on(&platform, Source::Imds, |builder| attested(builder).clock(clock.clone()));
    let application = world.application(&symbolon, "secret");
    let first = binding(&bound(&application, GRAPH).await.expect("a token"));
    clock.advance(6 * 24 * HOUR_MS - 60_000);
    assert_eq!(binding(&bound(&application, GRAPH).await.expect("a token")), first);
    clock.advance(2 * HOUR_MS);
    let second = binding(&bound(&application, GRAPH).await.expect("a token"));
    assert_ne!(second, first);
    assert_eq!(at(&world, Endpoint::IssueCredential).len(), 2);

    clock.advance(2 * HOUR_MS);
    let fault = Fault::Refusal {
        code: 1_000_502,
        error: "invalid_client".to_owned(),
        status: 401,
        message: String::new(),
        suberror: None,
        claims: None,
        retry_after: None,
    };
    world.authority.faults().add(FaultRule::once(fault).endpoint(Endpoint::Token));
    let (token, seen) = world.seen(bound(&application, GRAPH)).await;
    assert_ne!(binding(&token.expect("a token")), second);
    assert_eq!((seen.len(), at(&world, Endpoint::IssueCredential).len()), (2, 3));
}

#[tokio::test]
async fn a_key_that_nothing_attests_is_refused_unless_it_may_go_without() {
    let world = World::start().await;
    let platform = start(&world, machine()).await;
    let symbolon = engine_on(&platform, Source::Imds, |builder| builder);
    let (kind, code, message) = refused(bound(&world.application(&symbolon, "secret"), GRAPH).await);
    assert_eq!((kind, code.as_str()), (ErrorKind::CredentialUnsupported, "mtls_pop_requires_keyguard"));
    assert!(message.contains("Builder::attestation") && message.contains("Symbolon:AllowUnattestedKeys"));
    assert!(at(&world, Endpoint::IssueCredential).is_empty());

    let options = world.options("secret", |settings| {
        settings["Symbolon"]["AllowUnattestedKeys"] = true.into();
    });
    let options = options.expect("options").with_id(ApplicationId::new("unattested"));
    let application = symbolon.application(options).expect("an application");
    binding(&bound(&application, GRAPH).await.expect("a token"));
}

#[tokio::test]
async fn what_the_platform_or_its_attestation_can_not_do_is_said() {
    let world = World::start().await;
    let demanding = start(&world, machine().demand_attestation(true)).await;
    let old = start(&world, machine().imds_v2(false)).await;
    let unsupported = AttestationError::Unsupported("no enclave".to_owned());
    let failed = AttestationError::Failed("no answer".to_owned());
    let with = |fails: &AttestationError| {
        let provider = Arc::new(Attests { fails: Some(fails.clone()), ..Attests::default() });
        engine_on(&demanding, Source::Imds, |builder| builder.attestation(provider))
    };
    let without = || engine_on(&demanding, Source::Imds, |builder| builder);
    use ErrorKind::{CredentialUnavailable, CredentialUnsupported, Refused};
    for (symbolon, kind, code, said) in [
        (with(&unsupported), CredentialUnsupported, "mtls_pop_requires_keyguard", "no enclave"),
        (with(&failed), CredentialUnavailable, "managed_identity_request_failed", "no answer"),
        (without(), Refused, "managed_identity_request_failed", "attestation token is missing"),
        (
            engine_on(&old, Source::Imds, attested),
            CredentialUnsupported,
            "mtls_pop_token_not_supported_in_imds_v1",
            "bearer",
        ),
        (
            engine_on(&old, Source::AppService, attested),
            CredentialUnsupported,
            "mtls_not_supported_for_managed_identity",
            "App Service",
        ),
    ] {
        let (found_kind, found_code, message) = refused(bound(&unattested(&world, &symbolon), GRAPH).await);
        assert_eq!((found_kind, found_code.as_str()), (kind, code), "{message}");
        assert!(message.contains(said), "{message}");
    }
    assert!(world.token_requests().is_empty());
}

#[tokio::test]
async fn a_certificate_and_an_endpoint_that_do_not_fit_are_refused() {
    let world = World::start().await;
    let platform = start(&world, machine()).await;
    let symbolon = engine_on(&platform, Source::Imds, attested);
    let application = world.application(&symbolon, "secret");
    for (name, value) in [
        ("certificate", json!("MAA=")),
        ("mtls_authentication_endpoint", json!("https://mtlsauth.evil.test")),
        ("mtls_authentication_endpoint", json!("https://login.microsoftonline.com.evil.test")),
    ] {
        let fault = Fault::Member { name: name.to_owned(), value: Some(value) };
        world.authority.faults().add(FaultRule::once(fault).endpoint(Endpoint::IssueCredential));
        let (kind, code, message) = refused(bound(&application, GRAPH).await);
        assert_eq!(
            (kind, code.as_str()),
            (ErrorKind::CredentialUnavailable, "managed_identity_request_failed")
        );
        assert!(!message.contains("evil"), "{message}");
    }
    assert!(world.token_requests().is_empty());
    binding(&bound(&application, GRAPH).await.expect("a token"));
}

/// An application whose credential is the bound token of the machine's identity.
fn daemon(
    world: &World,
    symbolon: &Symbolon,
    client_id: &str,
    change: impl FnOnce(&mut Value),
) -> Application {
    let options = world.options("secret", |settings| {
        settings["AzureAd"]["ClientId"] = client_id.into();
        settings["AzureAd"]["ClientCredentials"] =
            json!([{ "SourceType": "SignedAssertionFromManagedIdentity", "UseBoundCredential": true }]);
        change(settings);
    });
    let options = options.expect("options").with_id(ApplicationId::new(client_id));
    symbolon.application(options).expect("an application")
}

fn trusting(client_id: &str, subject: &str) -> Registration {
    let issuer = format!("https://login.microsoftonline.com/{CONTOSO}/v2.0");
    Registration::new(client_id).federated_credential(&issuer, subject, EXCHANGE).mtls(true).pop(true)
}

/// The assertion of a request, and that it was bound to the certificate of the connection.
fn assert_bound(request: &LogEntry) {
    let kind = request.form_text("client_assertion_type").unwrap_or_default();
    assert!(kind.ends_with(":jwt-pop"), "{kind}");
    let (_, payload) = request.client_assertion().expect("an assertion");
    assert_eq!(payload["cnf"]["x5t#S256"].as_str(), request.client_certificate.as_deref());
    assert_eq!(request.host, "mtlsauth.microsoft.com");
}

#[tokio::test]
async fn a_bound_identity_stands_in_for_a_credential() {
    let world = World::start().await;
    let platform = start(&world, machine()).await;
    world.authority.register(trusting(DAEMON, OBJECT));
    let symbolon = engine_on(&platform, Source::Imds, attested);
    let application = daemon(&world, &symbolon, DAEMON, |_| {});

    let (token, seen) = world.seen(application.acquire_token_for_client([GRAPH])).await;
    let token = token.expect("a token");
    assert_eq!((token.token_type(), claims(token.access_token()).get("cnf")), ("Bearer", None));
    assert_eq!(claims(token.access_token())["appid"], DAEMON);
    let [inner, outer] = seen.as_slice() else { panic!("{} requests", seen.len()) };
    assert_eq!(inner.host, REGIONAL);
    assert_bound(outer);
    assert_eq!(outer.form_text("token_type"), None);

    let (token, seen) =
        world.seen(application.acquire_token_for_client([GRAPH]).with_mtls_proof_of_possession()).await;
    let thumbprint = binding(&token.expect("a token"));
    let [outer] = seen.as_slice() else { panic!("{} requests", seen.len()) };
    assert_bound(outer);
    assert_eq!(outer.client_certificate.as_deref(), Some(thumbprint.as_str()));
    assert_eq!(at(&world, Endpoint::IssueCredential).len(), 1);
}

#[tokio::test]
async fn a_chain_of_bound_tokens_begins_at_an_identity() {
    let world = World::start().await;
    let platform = start(&world, machine()).await;
    world.authority.register(trusting(DAEMON, OBJECT));
    let symbolon = engine_on(&platform, Source::Imds, attested);
    let middle = daemon(&world, &symbolon, DAEMON, |_| {});
    let token = middle.acquire_token_for_client([format!("{EXCHANGE}/.default")]).await.expect("a token");
    let subject = claims(token.access_token())["sub"].as_str().expect("a subject").to_owned();
    world.authority.register(trusting(OUTER, &subject));

    let application = daemon(&world, &symbolon, OUTER, |settings| {
        settings["Middle"] = settings["AzureAd"].clone();
        settings["Middle"]["ClientId"] = DAEMON.into();
        settings["AzureAd"]["ClientCredentials"] = json!([{
            "SourceType": "CustomSignedAssertion",
            "CustomSignedAssertionProviderName": "OidcIdpSignedAssertion",
            "CustomSignedAssertionProviderData": { "ConfigurationSection": "Middle" },
            "UseBoundCredential": true,
        }]);
    });
    let (token, seen) = world.seen(application.acquire_token_for_client([GRAPH])).await;
    assert_eq!(claims(token.expect("a token").access_token())["appid"], OUTER);
    let clients: Vec<_> = seen.iter().map(|request| request.form_text("client_id")).collect();
    assert_eq!(clients, [Some(CLIENT), Some(DAEMON), Some(OUTER)]);
    seen[1..].iter().for_each(assert_bound);
    assert_eq!(seen[1].client_certificate, seen[2].client_certificate);
}

#[tokio::test]
async fn a_credential_that_must_be_bound_fails_where_the_platform_can_not() {
    let world = World::start().await;
    let platform = start(&world, machine()).await;
    world.authority.register(trusting(DAEMON, OBJECT));
    let symbolon = engine_on(&platform, Source::AppService, attested);
    let application = daemon(&world, &symbolon, DAEMON, |_| {});
    let error = application.acquire_token_for_client([GRAPH]).await.expect_err("no token").to_string();
    assert!(error.contains("mtls_not_supported_for_managed_identity"), "{error}");
    assert!(world.token_requests().is_empty());

    // What is only preferred goes on without.
    let application = daemon(&world, &symbolon, DAEMON, |settings| {
        settings["AzureAd"]["ClientCredentials"] =
            json!([{ "SourceType": "SignedAssertionFromManagedIdentity", "PreferBoundCredential": true }]);
    });
    let (token, seen) = world.seen(application.acquire_token_for_client([GRAPH])).await;
    token.expect("a token");
    let request = seen.last().expect("a request to the authority");
    assert_eq!((request.host.as_str(), &request.client_certificate), ("login.microsoftonline.com", &None));
}
