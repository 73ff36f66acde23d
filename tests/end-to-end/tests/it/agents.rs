//! Agents: tokens that an application gets for those whose blueprint it is, and what each costs.

use futures_util::future::join_all;
use serde_json::json;
use symbolon::{AgentIdentity, Application, ErrorKind, Symbolon, TokenSource};
use symbolon_authority::{CONTOSO, ConditionalAccess, Flow, LogEntry, Registration, User, sample};
use symbolon_end_to_end::{EXCHANGE, GRAPH, VAULT, World, claims, engine};
use uuid::Uuid;

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const JWT_POP: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-pop";

fn app_only() -> AgentIdentity {
    AgentIdentity::app_only(sample::AGENT_ONE)
}

fn alice() -> AgentIdentity {
    AgentIdentity::with_user_principal_name(sample::AGENT_ONE, sample::ALICE)
}

fn alice_by_id() -> AgentIdentity {
    AgentIdentity::with_user_object_id(sample::AGENT_ONE, sample::ALICE_OBJECT_ID.parse().expect("a GUID"))
}

fn blueprint(world: &World, symbolon: &Symbolon) -> Application {
    world.application(symbolon, "blueprint")
}

/// How many requests it takes to get the token, and for whom it is.
async fn cost(world: &World, application: &Application, agent: AgentIdentity) -> usize {
    let of_user = agent.user().is_some();
    let id = agent.agent_app_id().to_owned();
    let (token, requests) = world.seen(application.acquire_token_for_agent(agent, [GRAPH])).await;
    let token = token.expect("a token");
    let claims = claims(token.access_token());
    assert_eq!((&claims["azp"], &claims["xms_par_app_azp"]), (&json!(id), &json!(sample::BLUEPRINT)));
    assert_eq!(claims["idtyp"], if of_user { "user" } else { "app" });
    assert_eq!(token.account().is_some(), of_user);
    requests.len()
}

/// Client, scope and host of each request.
fn legs(requests: &[LogEntry]) -> Vec<(&str, &str)> {
    requests
        .iter()
        .map(|request| {
            (request.form_text("client_id").expect("a client"), request.form_text("scope").expect("a scope"))
        })
        .collect()
}

#[tokio::test]
async fn what_each_kind_of_token_costs() {
    let (world, symbolon) = (World::start().await, engine());
    let application = blueprint(&world, &symbolon);
    let bob = AgentIdentity::with_user_principal_name(sample::AGENT_ONE, sample::BOB);
    assert_eq!(cost(&world, &application, app_only()).await, 2, "the agent itself");
    assert_eq!(cost(&world, &application, app_only()).await, 0, "again");
    assert_eq!(cost(&world, &application, alice()).await, 2, "its first user: the agent has proved itself");
    assert_eq!(cost(&world, &application, alice()).await, 0, "again");
    assert_eq!(cost(&world, &application, alice_by_id()).await, 0, "the same person by another name");
    assert_eq!(cost(&world, &application, bob).await, 1, "its second user");
    let other = AgentIdentity::with_user_principal_name(sample::AGENT_TWO, sample::ALICE);
    assert_eq!(cost(&world, &application, other).await, 3, "another agent's first user");
    let other = AgentIdentity::app_only(sample::AGENT_TWO);
    assert_eq!(cost(&world, &application, other).await, 1, "that agent itself");
}

#[tokio::test]
async fn a_users_token_takes_three_requests() {
    let (world, symbolon) = (World::start().await, engine());
    let application = blueprint(&world, &symbolon);
    let correlation_id = Uuid::new_v4();
    let acquire = application.acquire_token_for_agent(alice(), [GRAPH]).with_correlation_id(correlation_id);
    let (token, requests) = world.seen(acquire).await;
    let token = token.expect("a token");
    assert_eq!(claims(token.access_token())["xms_sub_fct"], "13");
    assert_eq!(token.account().expect("an account").username, sample::ALICE);
    let user_scope = format!("openid offline_access profile {GRAPH}");
    assert_eq!(
        legs(&requests),
        [
            (sample::BLUEPRINT, EXCHANGE),
            (sample::AGENT_ONE, EXCHANGE),
            (sample::AGENT_ONE, user_scope.as_str())
        ]
    );
    let [first, second, third] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!(first.form_text("fmi_path"), Some(sample::AGENT_ONE));
    assert_eq!((second.form_text("fmi_path"), third.form_text("fmi_path")), (None, None));
    assert!(first.form_names().any(|name| name == "client_secret"));
    let (_, proof) = second.client_assertion().expect("the agent's proof");
    assert_eq!(proof["azp"], sample::BLUEPRINT);
    for request in [second, third] {
        assert_eq!(request.form_text("client_assertion_type"), Some(JWT_BEARER));
        assert!(!request.form_names().any(|name| name == "client_secret"));
        assert_eq!(request.client_assertion().expect("the same proof").1, proof);
    }
    assert_eq!(third.form_text("grant_type"), Some("user_fic"));
    assert_eq!((third.form_text("username"), third.form_text("user_id")), (Some(sample::ALICE), None));
    let (_, credential) = third.form_token("user_federated_identity_credential").expect("a token");
    assert_eq!(credential["azp"], sample::AGENT_ONE);
    for request in &requests {
        assert_eq!(request.header("client-request-id"), Some(correlation_id.to_string().as_str()));
        assert_eq!((request.host.as_str(), request.status), ("login.microsoftonline.com", Some(200)));
        assert_eq!(request.tenant.as_deref(), Some(CONTOSO));
    }
    assert_eq!(token.correlation_id(), correlation_id);
}

#[tokio::test]
async fn by_object_id_first_then_by_name() {
    let (world, symbolon) = (World::start().await, engine());
    let application = blueprint(&world, &symbolon);
    assert_eq!(cost(&world, &application, alice_by_id()).await, 3);
    assert!(cost(&world, &application, alice()).await <= 1);
    assert_eq!(world.token_requests()[2].form_text("user_id"), Some(sample::ALICE_OBJECT_ID));
}

#[tokio::test]
async fn a_user_is_refreshed_without_the_exchange() {
    let (world, symbolon) = (World::start().await, engine());
    let application = blueprint(&world, &symbolon);
    application.acquire_token_for_agent(alice(), [GRAPH]).await.expect("a token");
    // Another resource takes the user's refresh token; the agent's proof is in the cache.
    let (token, requests) = world.seen(application.acquire_token_for_agent(alice(), [VAULT])).await;
    assert_eq!(claims(token.expect("a token").access_token())["xms_sub_fct"], "13");
    let grants: Vec<_> = requests.iter().map(|request| request.form_text("grant_type")).collect();
    assert_eq!(grants, [Some("refresh_token")]);
    assert!(requests[0].client_assertion().is_some());
}

/// Single flight for each leg: all users of an agent who arrive at once share what is the agent's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_users_at_once_cost_one_and_one_and_a_hundred() {
    let (world, symbolon) = (World::start().await, engine());
    let application = blueprint(&world, &symbolon);
    let users: Vec<_> = (0..100).map(|number| format!("user-{number}@contoso.com")).collect();
    for (number, name) in users.iter().enumerate() {
        let id = Uuid::from_u128(0xa9e7_0000_0000_4000_8000_0000_0000_0000 + number as u128).to_string();
        world.authority.register_user(User::new(&id, name));
    }
    let tokens = join_all(users.iter().map(|name| {
        let agent = AgentIdentity::with_user_principal_name(sample::AGENT_ONE, name);
        async { application.acquire_token_for_agent(agent, [GRAPH]).await }
    }));
    for (token, name) in tokens.await.into_iter().zip(&users) {
        assert_eq!(claims(token.expect("a token").access_token())["upn"], name.as_str());
    }
    let requests = world.token_requests();
    let of_kind = |client: &str, grant: &str| {
        requests
            .iter()
            .filter(|request| {
                (request.form_text("client_id"), request.form_text("grant_type"))
                    == (Some(client), Some(grant))
            })
            .count()
    };
    assert_eq!(of_kind(sample::BLUEPRINT, "client_credentials"), 1);
    assert_eq!(of_kind(sample::AGENT_ONE, "client_credentials"), 1);
    assert_eq!(of_kind(sample::AGENT_ONE, "user_fic"), 100);
    assert_eq!(requests.len(), 102);
}

#[tokio::test]
async fn on_behalf_of_the_user_who_called_the_blueprint() {
    let (world, symbolon) = (World::start().await, engine());
    let application = blueprint(&world, &symbolon);
    let assertion = world.user_token(sample::BOB, sample::BLUEPRINT);
    let acquire = || application.acquire_token_for_agent(app_only(), [GRAPH]).with_user_assertion(&assertion);
    let (token, requests) = world.seen(acquire()).await;
    let token = token.expect("a token");
    let claims = claims(token.access_token());
    assert_eq!((&claims["upn"], &claims["azp"]), (&json!(sample::BOB), &json!(sample::AGENT_ONE)));
    assert_eq!(claims.get("xms_sub_fct"), None, "the user is no agent's");
    let user_scope = format!("{GRAPH} offline_access openid profile");
    assert_eq!(legs(&requests), [(sample::BLUEPRINT, EXCHANGE), (sample::AGENT_ONE, user_scope.as_str())]);
    assert_eq!(requests[1].form_text("requested_token_use"), Some("on_behalf_of"));
    assert_eq!(world.seen(acquire()).await.1.len(), 0, "again");

    // A token that is for somebody else is refused by the authority.
    let foreign = world.user_token(sample::BOB, sample::WEB_API);
    let acquire = application.acquire_token_for_agent(app_only(), [GRAPH]).with_user_assertion(&foreign);
    assert_eq!(acquire.await.expect_err("for another API").aadsts_codes(), [500_131]);
}

#[tokio::test]
async fn an_agent_of_another_blueprint_is_refused() {
    let (world, symbolon) = (World::start().await, engine());
    let application = blueprint(&world, &symbolon);
    let foreign = AgentIdentity::app_only(sample::BOUND_AGENT);
    let error = application.acquire_token_for_agent(foreign, [GRAPH]).await.expect_err("not its agent");
    assert_eq!(error.acquisition().expect("a decision").kind, ErrorKind::InvalidClient);
    assert_eq!(error.aadsts_codes(), [700_213]);
    let unknown = AgentIdentity::app_only("99999999-0000-4000-8000-000000000000");
    let error = application.acquire_token_for_agent(unknown, [GRAPH]).await.expect_err("no agent at all");
    assert_eq!(error.aadsts_codes(), [700_016]);
    let (outcome, requests) =
        world.seen(application.acquire_token_for_agent(AgentIdentity::app_only(" "), [GRAPH])).await;
    assert_eq!((outcome.expect_err("a mistake").code(), requests.len()), ("agent_required", 0));
    // The refusals are of these agents: the application's own works as ever.
    assert_eq!(cost(&world, &application, app_only()).await, 2);
}

/// An application with the agent's own client id finds nothing of what was acquired for the agent, and the other way round.
#[tokio::test]
async fn what_is_an_agents_is_found_by_agent_calls_only() {
    let (world, symbolon) = (World::start().await, engine());
    let options = world.options("blueprint", |_| {}).expect("options");
    let id = options.id().clone();
    let application = symbolon.application(options.clone()).expect("the blueprint");
    application.acquire_token_for_client([GRAPH]).await.expect("the blueprint's own");
    let same = symbolon.application(options).expect("the blueprint once more");
    assert_eq!(world.seen(same.acquire_token_for_client([GRAPH])).await.1.len(), 0, "the same cache");
    application.acquire_token_for_agent(app_only(), [GRAPH]).await.expect("a token");
    application.acquire_token_for_agent(alice(), [GRAPH]).await.expect("a token");
    assert!(application.accounts().await.expect("accounts").is_empty());

    // The exchange, asked for as the blueprint's own token: it isn't the agent's proof.
    let plain = application.acquire_token_for_client([EXCHANGE]).with_fmi_path(sample::AGENT_ONE);
    assert_eq!(world.seen(plain).await.1.len(), 1);
    let plain = application
        .acquire_token_for_client([EXCHANGE])
        .with_fmi_path(sample::AGENT_ONE)
        .with_fmi_path_for_client_assertion(sample::AGENT_ONE);
    assert_eq!(world.seen(plain).await.1.len(), 1);

    // The same application in the host's eyes, so that the cache is the same one, but registered as the agent.
    let as_agent = world
        .options("blueprint", |settings| settings["AzureAd"]["ClientId"] = sample::AGENT_ONE.into())
        .expect("options")
        .with_id(id);
    let agent = symbolon.application(as_agent).expect("the agent as an application");
    assert!(agent.accounts().await.expect("accounts").is_empty());
    for fmi_path in [None, Some(sample::AGENT_ONE)] {
        for scope in [EXCHANGE, GRAPH] {
            let request = agent.acquire_token_for_client([scope]);
            let request = match fmi_path {
                Some(path) => request.with_fmi_path_for_client_assertion(path),
                None => request,
            };
            let (outcome, requests) = world.seen(request).await;
            assert_eq!(outcome.expect_err("a secret is no proof of an agent").aadsts_codes(), [7_000_215]);
            assert_eq!(requests.len(), 1, "the cache had nothing");
        }
    }
}

#[tokio::test]
async fn a_challenge_costs_one_request() {
    let (world, symbolon) = (World::start().await, engine());
    let demanded = json!({ "access_token": { "acrs": { "essential": true, "value": "c1" } } });
    let policy = ConditionalAccess::multi_factor().claims(demanded);
    let agent = Registration::new(sample::AGENT_ONE).agent_of(sample::BLUEPRINT).conditional_access(policy);
    world.authority.register(agent);
    let application = world.application_with(&symbolon, "blueprint", |settings| {
        settings["AzureAd"]["ClientCapabilities"] = json!(["cp1"]);
    });
    let acquire = || application.acquire_token_for_agent(alice(), [GRAPH]);
    let (outcome, requests) = world.seen(acquire()).await;
    let error = outcome.expect_err("a challenge");
    assert_eq!((error.aadsts_codes(), requests.len()), ([50_076].as_slice(), 3));
    let challenge = error.claims().expect("claims").to_owned();
    let (token, requests) = world.seen(acquire().with_claims(challenge)).await;
    assert_eq!(claims(token.expect("a token").access_token())["acrs"], json!(["c1"]));
    assert_eq!(requests.len(), 1, "the legs before are in the cache");

    // Capabilities go along with every leg, the claims of the challenge with the one that mints the token.
    for request in world.token_requests() {
        let asked: serde_json::Value =
            serde_json::from_str(request.form_text("claims").expect("claims")).expect("JSON");
        assert_eq!(asked["access_token"]["xms_cc"], json!({ "values": ["cp1"] }));
        let is_last = request.sequence == requests[0].sequence;
        assert_eq!(asked["access_token"].get("acrs").is_some(), is_last, "{request:?}");
    }
    let (token, requests) = world.seen(acquire()).await;
    assert_eq!((token.expect("a token").metadata().token_source, requests.len()), (TokenSource::Cache, 0));
}

#[tokio::test]
async fn a_forced_refresh_is_of_the_last_leg_alone() {
    let (world, symbolon) = (World::start().await, engine());
    let application = blueprint(&world, &symbolon);
    for agent in [app_only(), alice()] {
        application.acquire_token_for_agent(agent.clone(), [GRAPH]).await.expect("a token");
        let forced = application.acquire_token_for_agent(agent, [GRAPH]).with_force_refresh(true);
        let (token, requests) = world.seen(forced).await;
        assert_eq!(token.expect("a token").metadata().token_source, TokenSource::IdentityProvider);
        assert_eq!(requests.len(), 1);
    }
}

#[tokio::test]
async fn every_leg_goes_to_the_tenant_of_the_call() {
    let (world, symbolon) = (World::start().await, engine());
    let erin = User::new("e4130000-0000-4000-8000-000000000005", "erin@fabrikam.com");
    world.authority.register_user(erin);
    let application = blueprint(&world, &symbolon);
    let agent = AgentIdentity::with_user_principal_name(sample::AGENT_ONE, "erin@fabrikam.com");
    let acquire = application
        .acquire_token_for_agent(agent, [GRAPH])
        .with_tenant_id(symbolon_authority::FABRIKAM)
        .with_extra_query_parameters([("dc", "ESTS-PUB-TEST")]);
    let (token, requests) = world.seen(acquire).await;
    assert_eq!(token.expect("a token").tenant_id(), Some(symbolon_authority::FABRIKAM));
    assert_eq!(requests.len(), 3);
    for request in requests {
        assert_eq!(request.tenant.as_deref(), Some(symbolon_authority::FABRIKAM));
        assert!(request.query.iter().any(|field| field.name == "dc"), "{request:?}");
    }
}

#[tokio::test]
async fn the_audience_of_the_exchange_can_be_configured() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application_with(&symbolon, "blueprint", |settings| {
        settings["Symbolon"]["TokenExchangeUrl"] = "API://AzureADTokenExchange".into();
    });
    let (token, requests) = world.seen(application.acquire_token_for_agent(alice(), [GRAPH])).await;
    token.expect("a token");
    let scopes: Vec<_> = requests.iter().filter_map(|request| request.form_text("scope")).collect();
    assert_eq!(scopes[..2], ["API://AzureADTokenExchange/.default"; 2]);
}

/// The sample blueprint `blueprint-bound`, with its own agent.
fn bound_agent() -> AgentIdentity {
    AgentIdentity::with_user_principal_name(sample::BOUND_AGENT, sample::ALICE)
}

#[tokio::test]
async fn a_blueprint_with_a_certificate() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application_with(&symbolon, "blueprint-bound", |settings| {
        settings["AzureAd"]["ClientCredentials"][0]["UseBoundCredential"] = false.into();
    });
    let (token, requests) = world.seen(application.acquire_token_for_agent(bound_agent(), [GRAPH])).await;
    token.expect("a token");
    assert!(requests.iter().all(|request| request.host == "login.microsoftonline.com"));
    assert!(requests.iter().all(|request| request.client_certificate.is_none()));
    let (header, _) = requests[0].client_assertion().expect("the blueprint's own assertion");
    assert_eq!(header["alg"], "PS256");
}

/// By default the first leg alone is bound; the agent's own are ordinary requests.
#[tokio::test]
async fn a_blueprint_with_a_certificate_over_mutual_tls() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "blueprint-bound");
    let (token, requests) = world.seen(application.acquire_token_for_agent(bound_agent(), [GRAPH])).await;
    let token = token.expect("a token");
    assert_eq!((token.token_type(), claims(token.access_token()).get("cnf")), ("Bearer", None));
    let [first, second, third] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!(first.host, "mtlsauth.microsoft.com");
    assert!(first.client_certificate.is_some());
    assert!(first.client_assertion().expect("an assertion").0["x5c"]["form"] == "array");
    assert_eq!(first.form_text("token_type"), None);
    for request in [second, third] {
        assert_eq!(
            (request.host.as_str(), &request.client_certificate),
            ("login.microsoftonline.com", &None)
        );
        assert_eq!(request.form_text("client_assertion_type"), Some(JWT_BEARER));
    }
}

/// Asked for by `BoundFlows`, the whole chain is bound to one certificate, and ends in an ordinary token.
#[tokio::test]
async fn a_chain_that_is_bound_from_end_to_end() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application_with(&symbolon, "blueprint-bound", |settings| {
        settings["Symbolon"]["BoundFlows"] = json!(["for-agent"]);
    });
    let acquire = || application.acquire_token_for_agent(bound_agent(), [GRAPH]);
    let (token, requests) = world.seen(acquire()).await;
    let token = token.expect("a token");
    assert_eq!((token.token_type(), claims(token.access_token()).get("cnf")), ("Bearer", None));
    assert!(token.binding_certificate().is_none());
    assert_eq!(requests.len(), 3);
    let certificate = requests[0].client_certificate.clone().expect("a certificate");
    for (number, request) in requests.iter().enumerate() {
        assert_eq!(request.host, "mtlsauth.microsoft.com");
        assert_eq!(request.client_certificate.as_ref(), Some(&certificate));
        if number == 0 {
            assert_eq!(request.form_text("token_type"), Some("mtls_pop"));
            assert!(request.client_assertion().is_none());
        } else {
            assert_eq!(request.form_text("client_assertion_type"), Some(JWT_POP));
            let (_, proof) = request.client_assertion().expect("the agent's proof");
            assert_eq!(proof["cnf"]["x5t#S256"], certificate.as_str());
        }
    }
    assert_eq!(world.seen(acquire()).await.1.len(), 0, "found again");
    let bob = AgentIdentity::with_user_principal_name(sample::BOUND_AGENT, sample::BOB);
    let (token, requests) = world.seen(application.acquire_token_for_agent(bob, [GRAPH])).await;
    token.expect("a token");
    assert_eq!(requests.len(), 1, "both exchange tokens are found again");
    assert_eq!(requests[0].client_certificate.as_ref(), Some(&certificate));
}

#[tokio::test]
async fn the_agents_own_token_may_be_bound_itself() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "blueprint-bound");
    let agent = || AgentIdentity::app_only(sample::BOUND_AGENT);
    let acquire = || application.acquire_token_for_agent(agent(), [GRAPH]).with_mtls_proof_of_possession();
    let (token, requests) = world.seen(acquire()).await;
    let token = token.expect("a token");
    let binding = token.binding_certificate().expect("a certificate");
    assert_eq!(token.token_type(), "mtls_pop");
    assert_eq!(claims(token.access_token())["cnf"]["x5t#S256"], binding.thumbprint_sha256());
    assert_eq!(requests.len(), 2);
    for request in &requests {
        assert_eq!(request.form_text("token_type"), Some("mtls_pop"));
        assert_eq!(request.client_certificate.as_deref(), Some(binding.thumbprint_sha256()));
    }
    assert_eq!(world.seen(acquire()).await.1.len(), 0);
    let bearer = application.acquire_token_for_agent(agent(), [GRAPH]).await.expect("a token");
    assert_eq!(bearer.token_type(), "Bearer");

    let (outcome, requests) = world
        .seen(application.acquire_token_for_agent(bound_agent(), [GRAPH]).with_mtls_proof_of_possession())
        .await;
    assert_eq!((outcome.expect_err("for a user").code(), requests.len()), ("mtls_pop_requires_app_token", 0));
}

#[tokio::test]
async fn an_authority_that_does_not_bind_the_chain_says_so() {
    let (world, symbolon) = (World::start().await, engine());
    let agent = Registration::new(sample::BOUND_AGENT).agent_of(sample::BLUEPRINT_BOUND).mtls(true).pop(true);
    world.authority.register(agent.mtls_flows(Flow::OVER_MTLS));
    let application = world.application_with(&symbolon, "blueprint-bound", |settings| {
        settings["Symbolon"]["BoundFlows"] = json!(["for-agent"]);
    });
    let error = application.acquire_token_for_agent(bound_agent(), [GRAPH]).await.expect_err("not enabled");
    assert_eq!(error.acquisition().expect("a decision").kind, ErrorKind::BoundTransportNotEnabled);
    assert_eq!(error.aadsts_codes(), [392_189]);
    assert!(error.to_string().contains(sample::BOUND_AGENT), "{error}");
}
