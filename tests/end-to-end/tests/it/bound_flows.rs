//! Requests over connections that are bound to the application's certificate: for which flows, where they go, and what they
//! carry. The tokens are ordinary ones.
//!
//! Five mistakes that MSAL made on this path are tests of their own, named after what went wrong.

use std::sync::Arc;

use serde_json::{Value, json};
use symbolon::{
    AgentIdentity, Application, AssertionRequest, AuthenticationResult, Binding, BoxFuture, ErrorKind,
    SignedAssertion, SignedAssertionProvider, Symbolon,
};
use symbolon_authority::{
    CONTOSO, FEDERATED_SUBJECT, FEDERATION_ISSUER, FederatedAssertion, Flow as Grant, LogEntry, REDIRECT_URI,
    Registration, sample,
};
use symbolon_end_to_end::flows::{Flow, SESSION_KEY, Scenario};
use symbolon_end_to_end::{GRAPH, VAULT, World, claims, engine, engine_with};

const MTLS: &str = "mtlsauth.microsoft.com";

/// Bound wherever the credential asks for bound connections.
const ALWAYS: [Flow; 7] = [
    Flow::ForClient,
    Flow::OnBehalfOf,
    Flow::Initiate,
    Flow::GoOn,
    Flow::Silent,
    Flow::ByRefreshToken,
    Flow::ByCode,
];

/// The registration of the sample application `web-api-bound`, with these flows at the mutual TLS hosts.
fn register(world: &World, mtls: bool, flows: impl IntoIterator<Item = Grant>) {
    let certificate = std::fs::read_to_string(world.path("client.crt")).expect("the sample's certificate");
    let registration = Registration::new(sample::WEB_API_BOUND)
        .certificate_pem(&certificate)
        .expect("a certificate")
        .redirect_uri(REDIRECT_URI)
        .names_users(true)
        .mtls(mtls)
        .mtls_flows(flows);
    world.authority.register(registration);
}

/// The scenario of a flow whose application has a certificate, with its settings changed.
async fn bound<'a>(
    flow: Flow,
    world: &'a World,
    symbolon: &Symbolon,
    change: impl FnOnce(&mut Value),
) -> Scenario<'a> {
    let options = world.options(flow.bound_sample(), change).expect("options");
    let id = symbolon::ApplicationId::new(uuid::Uuid::new_v4().to_string());
    let application = symbolon.application(options.with_id(id)).expect("an application");
    flow.prepare_for(world, application).await.expect("what comes before")
}

/// The request is bound: by its host, its handshake, and an assertion of the same certificate with that certificate in it.
fn assert_bound(request: &LogEntry, host: &str, what: &str) {
    assert_eq!((request.host.as_str(), request.status), (host, Some(200)), "{what}");
    let presented = request.client_certificate.as_deref().unwrap_or_else(|| panic!("{what}: no certificate"));
    let (header, payload) = request.client_assertion().unwrap_or_else(|| panic!("{what}: no assertion"));
    assert_eq!(header["x5t#S256"], presented, "{what}");
    assert_eq!(header["x5c"], json!({ "form": "array", "x5t#S256": [presented] }), "{what}");
    assert_eq!(payload["aud"], format!("https://{host}/{CONTOSO}/oauth2/v2.0/token"), "{what}");
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    assert_eq!(request.form_text("client_assertion_type"), Some(kind), "{what}");
    assert_eq!(request.form_text("token_type"), None, "{what}");
}

fn assert_ordinary(token: &AuthenticationResult, what: &str) {
    assert_eq!(token.token_type(), "Bearer", "{what}");
    assert!(claims(token.access_token()).get("cnf").is_none(), "{what}");
    assert!(token.binding_certificate().is_none(), "{what}");
}

/// What only the cache answers, after the flow.
async fn from_cache(scenario: &Scenario<'_>, token: &AuthenticationResult) -> AuthenticationResult {
    let application = &scenario.application;
    match scenario.flow {
        Flow::Initiate | Flow::GoOn => {
            application.acquire_token_in_long_running_process([GRAPH], SESSION_KEY).await.expect("cached")
        }
        Flow::ByRefreshToken | Flow::ByCode | Flow::ByPassword | Flow::ByUserFic | Flow::Silent => {
            let account = token.account().expect("an account");
            application.acquire_token_silent([GRAPH], &account).await.expect("cached")
        }
        _ => scenario.acquire().await.expect("cached"),
    }
}

async fn is_bound(world: &World, scenario: &Scenario<'_>, host: &str) {
    let what = format!("{:?} at {host}", scenario.flow);
    let (token, requests) = world.seen(scenario.acquire()).await;
    let token = token.unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let [request] = requests.as_slice() else { panic!("{what}: {requests:?}") };
    assert_bound(request, host, &what);
    assert_ordinary(&token, &what);
    let region = host.strip_suffix(&format!(".{MTLS}"));
    assert_eq!(token.metadata().region_used.as_deref(), region, "{what}");
    let (cached, requests) = world.seen(from_cache(scenario, &token)).await;
    assert_eq!((cached.access_token(), requests.len()), (token.access_token(), 0), "{what}: found again");
    assert_ordinary(&cached, &what);
}

#[tokio::test]
async fn these_flows_are_bound_where_the_credential_asks_for_it() {
    all_are_bound(&World::start().await).await;
}

/// The same wherever the key is.
pub(crate) async fn all_are_bound(world: &World) {
    let symbolon = engine();
    for flow in ALWAYS {
        is_bound(world, &bound(flow, world, &symbolon, |_| {}).await, MTLS).await;
    }
    let presented: Vec<_> =
        world.token_requests().into_iter().map(|request| request.client_certificate).collect();
    assert!(presented.windows(2).all(|pair| pair[0] == pair[1]), "one certificate");
}

#[tokio::test]
async fn in_a_region_they_go_to_that_regions_host() {
    let (world, symbolon) = (World::start().await, engine());
    for flow in ALWAYS {
        let in_region = |settings: &mut Value| settings["AzureAd"]["AzureRegion"] = "westus2".into();
        let scenario = bound(flow, &world, &symbolon, in_region).await;
        is_bound(&world, &scenario, "westus2.mtlsauth.microsoft.com").await;
    }
}

/// A region is for bound requests and for the application's own; users' other requests stay where they are.
#[tokio::test]
async fn without_a_bound_connection_users_stay_at_the_global_host() {
    let (world, symbolon) = (World::start().await, engine());
    for flow in ALWAYS {
        let change = |settings: &mut Value| {
            settings["AzureAd"]["AzureRegion"] = "westus2".into();
            settings["AzureAd"]["ClientCredentials"][0]["UseBoundCredential"] = false.into();
        };
        let scenario = bound(flow, &world, &symbolon, change).await;
        let (token, requests) = world.seen(scenario.acquire()).await;
        token.expect("a token");
        let host =
            if flow == Flow::ForClient { "westus2.login.microsoft.com" } else { "login.microsoftonline.com" };
        assert_eq!((requests[0].host.as_str(), &requests[0].client_certificate), (host, &None), "{flow:?}");
        assert_eq!(requests[0].client_assertion().expect("an assertion").0.get("x5c"), None, "{flow:?}");
    }
}

#[tokio::test]
async fn the_others_are_bound_on_demand() {
    let (world, symbolon) = (World::start().await, engine());
    register(&world, true, Grant::ALL);
    for (flow, name) in [
        (Flow::ByPassword, "by-username-password"),
        (Flow::ByUserFic, "by-user-federated-identity-credential"),
    ] {
        let scenario = bound(flow, &world, &symbolon, |_| {}).await;
        let (token, requests) = world.seen(scenario.acquire()).await;
        let token = token.expect("a token");
        assert_eq!(requests[0].host, "login.microsoftonline.com", "{flow:?}");
        assert_eq!(requests[0].client_certificate, None, "{flow:?}");
        let (header, _) = requests[0].client_assertion().expect("an assertion");
        assert_eq!(header["x5c"]["form"], "array", "{flow:?}: the credential is the same");
        assert_ordinary(&token, name);

        let opted_in = |settings: &mut Value| settings["Symbolon"]["BoundFlows"] = json!([name]);
        is_bound(&world, &bound(flow, &world, &symbolon, opted_in).await, MTLS).await;
        let regional = |settings: &mut Value| {
            settings["Symbolon"]["BoundFlows"] = json!([name]);
            settings["AzureAd"]["AzureRegion"] = "westus2".into();
        };
        let scenario = bound(flow, &world, &symbolon, regional).await;
        is_bound(&world, &scenario, "westus2.mtlsauth.microsoft.com").await;
    }
}

/// What the authority doesn't enable is an error of its own, which names the application and the host, and leaves nothing.
#[tokio::test]
async fn what_is_not_enabled_is_an_error_of_its_own() {
    let (world, symbolon) = (World::start().await, engine());
    let not_enabled = async |scenario: &Scenario<'_>, code: u32| {
        let what = scenario.flow;
        let entries = scenario.application.cache_statistics().entries;
        let (outcome, requests) = world.seen(scenario.acquire()).await;
        let error = outcome.expect_err("not enabled");
        let kind = error.acquisition().map(|decision| decision.kind);
        assert_eq!(kind, Some(ErrorKind::BoundTransportNotEnabled), "{what:?}: {error:?}");
        assert_eq!((error.aadsts_codes(), requests.len()), ([code].as_slice(), 1), "{what:?}");
        let text = error.to_string();
        assert!(text.contains(MTLS) && text.contains(sample::WEB_API_BOUND), "{what:?}: {text}");
        assert!(!error.is_retryable());
        assert_eq!(scenario.application.cache_statistics().entries, entries, "{what:?}");
    };
    for flow in ALWAYS {
        register(&world, true, Grant::ALL);
        let scenario = bound(flow, &world, &symbolon, |_| {}).await;
        register(&world, false, Grant::ALL);
        not_enabled(&scenario, 51_000).await;
        register(&world, true, []);
        not_enabled(&scenario, 392_189).await;
    }
    for (flow, name) in [
        (Flow::ByPassword, "by-username-password"),
        (Flow::ByUserFic, "by-user-federated-identity-credential"),
    ] {
        register(&world, true, Grant::OVER_MTLS);
        let opted_in = |settings: &mut Value| settings["Symbolon"]["BoundFlows"] = json!([name]);
        not_enabled(&bound(flow, &world, &symbolon, opted_in).await, 392_189).await;
    }
}

/// The web API with a certificate over mutual TLS, and Alice's token for it.
async fn alices_api() -> (World, Application, String) {
    let world = World::start().await;
    let application = world.application(&engine(), "web-api-bound");
    let assertion = world.user_token(sample::ALICE, sample::WEB_API_BOUND);
    (world, application, assertion)
}

/// MSAL resolved the aliases of the host under which tokens are kept from the host that the request had gone to.
#[tokio::test]
async fn alias_look_up_with_the_mtls_host_on_the_second_call() {
    let (world, application, assertion) = alices_api().await;
    let first = application.acquire_token_on_behalf_of([GRAPH], &assertion).await.expect("the first call");
    let (second, requests) = world.seen(application.acquire_token_on_behalf_of([GRAPH], &assertion)).await;
    assert_eq!(second.expect("the second call").access_token(), first.access_token());
    assert_eq!(requests.len(), 0);
    // One that has to ask again, in the same cache.
    let (token, requests) = world.seen(application.acquire_token_on_behalf_of([VAULT], &assertion)).await;
    token.expect("another resource");
    assert_bound(&requests[0], MTLS, "the second exchange");
    // The long-running process looks its refresh token up in the same way.
    application.initiate_long_running_process([GRAPH], &assertion, "key").await.expect("a process");
    let forced = application.acquire_token_in_long_running_process([GRAPH], "key").with_force_refresh(true);
    let (token, requests) = world.seen(forced).await;
    token.expect("its refresh token");
    assert_bound(&requests[0], MTLS, "the refresh");
}

/// MSAL sent the refresh tokens of silent requests, and those of other libraries, to the login host without a certificate.
#[tokio::test]
async fn silent_requests_not_prepared_for_mutual_tls() {
    let (world, application, _) = alices_api().await;
    let code = world.code(sample::ALICE, sample::WEB_API_BOUND);
    let token = application.acquire_token_by_authorization_code([GRAPH], code, REDIRECT_URI).await;
    let account = token.expect("a token").account().expect("an account");
    let (token, requests) = world.seen(application.acquire_token_silent([VAULT], &account)).await;
    token.expect("a token");
    assert_bound(&requests[0], MTLS, "silent");
    let refresh_token = world.authority.refresh_token(sample::WEB_API_BOUND, sample::ALICE).expect("Alice");
    let (token, requests) =
        world.seen(application.acquire_token_by_refresh_token([GRAPH], refresh_token)).await;
    token.expect("a token");
    assert_bound(&requests[0], MTLS, "by refresh token");
}

/// MSAL sent the requests of users over mutual TLS without any assertion.
#[tokio::test]
async fn assertion_missing_from_users_requests() {
    let (world, application, assertion) = alices_api().await;
    application.acquire_token_on_behalf_of([GRAPH], &assertion).await.expect("a token");
    let request = world.token_requests().pop().expect("a request");
    assert_eq!(request.form_names().filter(|name| *name == "client_assertion").count(), 1);
    let (_, payload) = request.client_assertion().expect("an assertion");
    assert_eq!(
        (&payload["iss"], &payload["sub"]),
        (&json!(sample::WEB_API_BOUND), &json!(sample::WEB_API_BOUND))
    );
}

/// MSAL left the certificate out of the assertion, which the authority needs where it knows subject and issuer alone.
#[tokio::test]
async fn x5c_missing_for_subject_name_and_issuer() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application_with(&symbolon, "subject-name", |settings| {
        settings["AzureAd"]["SendX5C"] = false.into();
        settings["AzureAd"]["ClientCredentials"][0]["UseBoundCredential"] = true.into();
    });
    let assertion = world.user_token(sample::ALICE, sample::SUBJECT_NAME);
    let (token, requests) = world.seen(application.acquire_token_on_behalf_of([GRAPH], &assertion)).await;
    token.expect("a token");
    let (header, _) = requests[0].client_assertion().expect("an assertion");
    assert_eq!(header["x5c"]["x5t#S256"].as_array().map(Vec::len), Some(2), "the certificate and its issuer");
}

/// Gives a proof that is bound to a certificate, to whoever asks for whatever.
struct BoundProof {
    proof: String,
    certificate: Arc<Binding>,
}

impl SignedAssertionProvider for BoundProof {
    fn assertion<'a>(
        &'a self,
        _: AssertionRequest<'a>,
    ) -> BoxFuture<'a, Result<SignedAssertion, Box<dyn std::error::Error + Send + Sync>>> {
        let made = SignedAssertion::new(self.proof.as_str(), None).with_binding(self.certificate.clone());
        Box::pin(async move { Ok(made) })
    }
}

/// MSAL bound a proof that brings its certificate along only where bound connections were configured.
#[tokio::test]
async fn a_proof_with_its_certificate_not_bound_without_use_bound_credential() {
    const JWT_POP: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-pop";
    let world = World::start().await;
    let certificate = Arc::new(Binding::from_file(&world.path("client.pem"), None).expect("the sample's"));
    let thumbprint = certificate.thumbprint_sha256().to_owned();
    let assertion = FederatedAssertion::new(FEDERATED_SUBJECT).bound_to(&thumbprint);
    let provider = BoundProof { proof: world.authority.federated_assertion(&assertion), certificate };
    world.authority.register(Registration::new(sample::WEB_API_BOUND).mtls(true).federated_credential(
        FEDERATION_ISSUER,
        FEDERATED_SUBJECT,
        "api://AzureADTokenExchange",
    ));
    let symbolon = engine_with(|builder| builder.signed_assertion_provider("Bound", Arc::new(provider)));
    let application = world.application_with(&symbolon, "web-api-bound", |settings| {
        settings["AzureAd"]["ClientCredentials"] = json!([{
            "SourceType": "CustomSignedAssertion", "CustomSignedAssertionProviderName": "Bound",
        }]);
    });
    let is_bound = |requests: &[LogEntry], what: &str| {
        let [request] = requests else { panic!("{what}: {requests:?}") };
        assert_eq!((request.host.as_str(), request.status), (MTLS, Some(200)), "{what}");
        assert_eq!(request.client_certificate.as_ref(), Some(&thumbprint), "{what}");
        assert_eq!(request.form_text("client_assertion_type"), Some(JWT_POP), "{what}");
        let (_, payload) = request.client_assertion().unwrap_or_else(|| panic!("{what}: no assertion"));
        assert_eq!(payload["cnf"], json!({ "x5t#S256": thumbprint }), "{what}");
    };
    let user = world.user_token(sample::ALICE, sample::WEB_API_BOUND);
    let (token, requests) = world.seen(application.acquire_token_for_client([GRAPH])).await;
    assert_ordinary(&token.expect("a token"), "for client");
    is_bound(&requests, "for client");
    let (token, requests) = world.seen(application.acquire_token_on_behalf_of([GRAPH], &user)).await;
    assert_ordinary(&token.expect("a token"), "on behalf of");
    is_bound(&requests, "on behalf of");
    let (token, requests) = world.seen(application.acquire_token_for_client([GRAPH])).await;
    assert_ordinary(&token.expect("the same"), "again");
    assert_eq!(requests.len(), 0, "an ordinary token is found like any other");
}

/// The same for an agent, whose proof is bound because a bound token is asked for.
#[tokio::test]
async fn an_agents_proof_not_bound_without_use_bound_credential() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application_with(&symbolon, "blueprint-bound", |settings| {
        let credential = settings["AzureAd"]["ClientCredentials"][0].as_object_mut().expect("a credential");
        credential.remove("UseBoundCredential");
    });
    let agent = AgentIdentity::app_only(sample::BOUND_AGENT);
    let acquire = application.acquire_token_for_agent(agent, [GRAPH]).with_mtls_proof_of_possession();
    let (token, requests) = world.seen(acquire).await;
    let token = token.expect("a token");
    let certificate = token.binding_certificate().expect("a certificate").thumbprint_sha256();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        assert_eq!((request.host.as_str(), request.client_certificate.as_deref()), (MTLS, Some(certificate)));
    }
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-pop";
    assert_eq!(requests[1].form_text("client_assertion_type"), Some(kind));
}

/// Tokens that were acquired without a bound connection are found once there is one: they are the same tokens.
#[tokio::test]
async fn switching_it_on_finds_what_is_there() {
    let (world, symbolon) = (World::start().await, engine());
    let with = |use_bound: bool| {
        world.application_with(&symbolon, "web-api-bound", move |settings| {
            settings["AzureAd"]["ClientCredentials"][0]["UseBoundCredential"] = use_bound.into();
        })
    };
    let assertion = world.user_token(sample::ALICE, sample::WEB_API_BOUND);
    let (before, after) = (with(false), with(true));
    before.acquire_token_on_behalf_of([GRAPH], &assertion).await.expect("a token");
    before.acquire_token_for_client([GRAPH]).await.expect("a token");
    let (token, requests) = world.seen(after.acquire_token_on_behalf_of([GRAPH], &assertion)).await;
    token.expect("the same cache");
    assert_eq!(requests.len(), 0);
    assert_eq!(world.seen(after.acquire_token_for_client([GRAPH])).await.1.len(), 0);
}
