//! The protocol core as a filter of Envoy: Envoy owns sockets, names and certificates, and its workers share the tokens.

mod process;

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use symbolon_authority::{
    Api, Ask, CONTOSO, Endpoint, Fault, FaultRule, ManagedIdentity, Platform, Registration, RetryAfter,
    sample,
};
use symbolon_end_to_end::{World, apis, until};

use self::process::{Answer, Envoy, Site};

const IDENTITY: &str = "77777777-0000-4000-8000-000000000001";
const OBJECT: &str = "77777777-0000-4000-8000-000000000002";
const CLAIMS: &str = r#"{"access_token":{"nbf":{"essential":true,"value":"1702682181"}}}"#;
/// The same as an API writes it.
const CHALLENGE: &str = "Bearer realm=\"\", error=\"insufficient_claims\", \
     claims=\"eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUiOiIxNzAyNjgyMTgxIn19fQ==\"";

/// An authority and an API that takes its tokens.
struct Place {
    world: World,
    api: Api,
}

impl Place {
    /// With an application that a certificate in the handshake authenticates, as `change` has it.
    async fn new(change: impl FnOnce(Registration) -> Registration) -> Self {
        let world = World::start().await;
        let api = world.api(apis::of_tokens().ask(Ask::Optional)).await;
        let place = Self { world, api };
        place.world.authority.register(change(place.registration()));
        place
    }

    fn registration(&self) -> Registration {
        let certificate = std::fs::read_to_string(self.world.path("client.crt")).expect("a certificate");
        let registration = Registration::new(sample::BOUND).certificate_pem(&certificate);
        registration.expect("a certificate").mtls(true).pop(true).tls_client_auth(true)
    }

    fn site(&self) -> Site<'_> {
        Site { world: &self.world, api: &self.api, platform: None, client_id: sample::BOUND }
    }

    async fn envoy(&self, workers: u32) -> Option<Envoy> {
        Envoy::start(&self.site(), workers, &[]).await
    }

    fn requests(&self) -> usize {
        self.world.token_requests().len()
    }

    fn fails(&self, fault: Fault) {
        self.world.authority.faults().add(FaultRule::once(fault).always());
    }

    /// What tells the tokens that the API saw apart.
    fn tokens(&self) -> Vec<Value> {
        let identity = |token: Option<Value>| token.expect("a token")["uti"].clone();
        self.api.log().into_iter().map(|seen| identity(seen.token)).collect()
    }
}

/// Calls at the same time, on as many connections.
async fn calls(envoy: &Envoy, path: &str, calls: usize) -> Vec<Answer> {
    join_all((0..calls).map(|_| envoy.get(path))).await
}

fn statuses(answers: &[Answer]) -> Vec<u16> {
    let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    statuses.dedup();
    statuses
}

#[tokio::test]
async fn the_first_request_of_a_route_brings_its_token_and_all_workers_use_it() {
    let place = Place::new(|registration| registration).await;
    let Some(envoy) = place.envoy(2).await else { return };
    for _ in 0..20 {
        let answer = envoy.get("/orders/1?a=b").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.body["token"]["appid"], sample::BOUND);
        assert_eq!(answer.body["path"], "/orders/1");
        assert_eq!(answer.body["query"], "a=b");
    }
    let [request] = place.world.token_requests().try_into().expect("one request");
    assert_eq!(request.host, "mtlsauth.microsoft.com");
    assert!(request.client_certificate.is_some());
    assert_eq!(request.form_names().collect::<Vec<_>>(), ["client_id", "scope", "grant_type", "client_info"]);
}

#[tokio::test]
async fn parallel_first_requests_of_all_workers_wait_for_one_token_request() {
    let place = Place::new(|registration| registration).await;
    let Some(envoy) = place.envoy(4).await else { return };
    place.fails(Fault::Delay { milliseconds: 500 });
    let answers = calls(&envoy, "/orders", 64).await;
    assert_eq!(statuses(&answers), [200]);
    assert_eq!(place.requests(), 1);
    let mut workers = 0;
    for worker in 0..4 {
        let connections = envoy.statistic(&format!("listener.*worker_{worker}.downstream_cx_total")).await;
        workers += u32::from(connections > 0);
    }
    assert!(workers > 1, "the kernel gave all connections to one worker");
}

#[tokio::test]
async fn what_a_caller_began_who_is_gone_serves_the_next() {
    let place = Place::new(|registration| registration).await;
    let Some(envoy) = place.envoy(2).await else { return };
    place.fails(Fault::Delay { milliseconds: 500 });
    let gone = tokio::time::timeout(Duration::from_millis(100), envoy.get("/orders")).await;
    assert!(gone.is_err());
    assert_eq!(statuses(&calls(&envoy, "/orders", 8).await), [200]);
    assert_eq!(place.requests(), 1);
    // The caller who is gone called nobody.
    assert_eq!(place.api.log().len(), 8);
}

#[tokio::test]
async fn an_expired_token_is_replaced() {
    // A token that expires within five minutes isn't used any more.
    let place = Place::new(|registration| registration.token_lifetime(Duration::from_secs(302))).await;
    let Some(envoy) = place.envoy(2).await else { return };
    assert_eq!(envoy.get("/orders").await.status, 200);
    let replaced = async {
        while place.requests() == 1 {
            assert_eq!(envoy.get("/orders").await.status, 200);
        }
    };
    tokio::time::timeout(Duration::from_secs(20), replaced).await.expect("another token in time");
    assert_eq!(place.requests(), 2);
    let tokens = place.tokens();
    assert_ne!(tokens.first(), tokens.last());
}

/// When a renewal is due is drawn anew by each API of the configuration, five minutes around `refresh_in`: of 24 some draw a
/// time that is past.
#[tokio::test]
async fn a_token_that_is_due_is_renewed_while_callers_use_it() {
    let place = Place::new(|registration| registration.refresh_in(Duration::from_secs(1))).await;
    let renewed = place.registration();
    let names: Vec<_> = (0..24).map(|number| format!("orders{number}")).collect();
    let apis = names
        .iter()
        .map(|name| format!(r#""{name}": {{ "Scopes": ["https://graph.microsoft.com/.default"] }}, "#));
    let apis = format!("{}\"orders\":", apis.collect::<String>());
    let route = |name: &String| {
        format!(
            "- match: {{ prefix: /{name}/ }}\n                route: {{ cluster: api }}\n                \
             metadata: {{ filter_metadata: {{ symbolon: {{ Api: {name} }} }} }}\n              "
        )
    };
    let routes = format!("{}- match: {{ prefix: /orders }}", names.iter().map(route).collect::<String>());
    let changes = [("\"orders\":", apis.as_str()), ("- match: { prefix: /orders }", routes.as_str())];
    let Some(envoy) = Envoy::start(&place.site(), 1, &changes).await else { return };
    for name in &names {
        assert_eq!(envoy.get(&format!("/{name}/")).await.status, 200);
    }
    assert_eq!(place.requests(), 1, "all share the token");
    // The next token isn't due.
    place.world.authority.register(renewed);
    place.fails(Fault::Delay { milliseconds: 300 });
    let first = place.tokens().pop();
    for name in &names {
        assert_eq!(envoy.get(&format!("/{name}/")).await.status, 200);
    }
    assert_eq!(place.tokens().pop(), first, "nobody waits for the new one");
    until(|| place.requests() > 1).await;
    while place.tokens().iter().all(|token| Some(token) == first.as_ref()) {
        for name in &names {
            assert_eq!(envoy.get(&format!("/{name}/")).await.status, 200);
        }
    }
    assert_eq!(place.requests(), 2, "one renews for all");
}

#[tokio::test]
async fn without_the_authority_there_is_no_way_upstream_until_it_is_back() {
    let place = Place::new(|registration| registration).await;
    let Some(envoy) = place.envoy(2).await else { return };
    for (fault, code) in [
        (Fault::ResetBeforeHeaders, "connection_failed"),
        (Fault::Status { status: 503, retry_after: None, body: None }, "service_not_available"),
        (Fault::MalformedJson, "json_parse_failed"),
    ] {
        place.fails(fault);
        let answer = envoy.get("/orders").await;
        assert_eq!((answer.status, answer.body["code"].as_str()), (503, Some(code)), "{answer:?}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        place.world.authority.faults().clear();
    }
    assert!(place.api.log().is_empty(), "nothing went upstream");
    let answer = envoy.get("/orders").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(
        envoy.log().contains("no token for orders: No answer from mtlsauth.microsoft.com"),
        "{}",
        envoy.log()
    );
}

#[tokio::test]
async fn a_token_serves_while_it_lives_without_the_authority() {
    let place = Place::new(|registration| registration).await;
    let Some(envoy) = place.envoy(2).await else { return };
    assert_eq!(envoy.get("/orders").await.status, 200);
    place.fails(Fault::ResetBeforeHeaders);
    assert_eq!(statuses(&calls(&envoy, "/orders", 16).await), [200]);
    assert_eq!(place.requests(), 1);
}

#[tokio::test]
async fn a_pause_that_the_authority_asks_for_is_kept_by_all_workers() {
    let place = Place::new(|registration| registration).await;
    let Some(envoy) = place.envoy(2).await else { return };
    let retry_after = Some(RetryAfter::Seconds(60));
    place.fails(Fault::Status { status: 429, retry_after, body: None });
    let answer = envoy.get("/orders").await;
    assert_eq!((answer.status, answer.headers["retry-after"].as_bytes()), (503, b"60".as_slice()));
    assert_eq!(statuses(&calls(&envoy, "/orders", 16).await), [503]);
    assert_eq!(place.requests(), 1);
}

#[tokio::test]
async fn a_claims_challenge_goes_to_the_caller_and_the_next_token_answers_it() {
    let place = Place::new(|registration| registration).await;
    let Some(envoy) = place.envoy(2).await else { return };
    assert_eq!(statuses(&calls(&envoy, "/orders", 16).await), [200]);
    place.api.answer_next(401, [("www-authenticate", CHALLENGE), ("x-of-the-api", "kept")]);
    let refused = envoy.get("/orders").await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.headers["www-authenticate"], CHALLENGE);
    assert_eq!(refused.headers["x-of-the-api"], "kept");
    let before = place.tokens();
    assert_eq!(envoy.get("/orders").await.status, 200);
    assert_eq!(statuses(&calls(&envoy, "/orders", 16).await), [200]);
    let [_, request] = place.world.token_requests().try_into().expect("two requests");
    assert_eq!(request.form_text("claims"), Some(CLAIMS));
    // No worker uses the refused token again.
    let after = place.tokens().split_off(before.len());
    assert!(after.iter().all(|token| *token == after[0] && *token != before[0]), "{before:?} {after:?}");
}

#[tokio::test]
async fn a_bound_token_goes_out_on_connections_with_its_certificate() {
    let place = Place::new(|registration| registration).await;
    let Some(envoy) = place.envoy(2).await else { return };
    let answer = envoy.get("/bound").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body["authorizationScheme"], "mtls_pop");
    let [request] = place.world.token_requests().try_into().expect("one request");
    let thumbprint = json!({ "x5t#S256": request.client_certificate.as_deref() });
    assert_eq!(
        (request.form_text("token_type"), &answer.body["clientCertificate"]),
        (Some("mtls_pop"), &thumbprint)
    );
    assert_eq!(answer.body["token"]["cnf"], thumbprint);
    // The bearer token is another one.
    assert_eq!(envoy.get("/orders").await.body["authorizationScheme"], "Bearer");
    assert_eq!(place.requests(), 2);
}

#[tokio::test]
async fn a_bound_token_is_worth_nothing_on_other_connections() {
    let place = Place::new(|registration| registration).await;
    let changes = [("route: { cluster: api_bound }", "route: { cluster: api }")];
    let Some(envoy) = Envoy::start(&place.site(), 1, &changes).await else { return };
    assert_eq!(envoy.get("/bound").await.status, 401);
    assert_eq!(place.api.log().len(), 1);
}

#[tokio::test]
async fn the_machines_identity_needs_no_credential() {
    let place = Place::new(|registration| registration).await;
    let platform = Platform::builder().system_assigned(ManagedIdentity::new(IDENTITY, OBJECT));
    let platform = platform.start(&place.world.authority).await.expect("a platform");
    let site = Site { platform: Some(&platform), ..place.site() };
    let Some(envoy) = Envoy::start(&site, 2, &[]).await else { return };
    let answers = calls(&envoy, "/vm", 16).await;
    assert_eq!(statuses(&answers), [200], "{answers:?}");
    assert_eq!(answers[0].body["token"]["appid"], IDENTITY);
    assert_eq!(imds_requests(&place.world), 1);
}

/// Neither side has a key: the machine's identity vouches for the application.
#[tokio::test]
async fn a_managed_identity_stands_in_for_a_credential() {
    let issuer = format!("https://login.microsoftonline.com/{CONTOSO}/v2.0");
    let trust = |registration: Registration| {
        registration.federated_credential(&issuer, OBJECT, "api://AzureADTokenExchange")
    };
    let place = Place::new(trust).await;
    let platform = Platform::builder().system_assigned(ManagedIdentity::new(IDENTITY, OBJECT));
    let platform = platform.start(&place.world.authority).await.expect("a platform");
    let site = Site { platform: Some(&platform), ..place.site() };
    let bound = "\"Base64EncodedValue\": \"${CERTIFICATE}\",\n                          \"UseBoundCredential\": true,\n                          \
                 \"OmitAssertionWhenBound\": true";
    let changes = [
        ("\"SourceType\": \"Base64Encoded\",", "\"SourceType\": \"SignedAssertionFromManagedIdentity\""),
        (bound, ""),
        // What is bound to a certificate needs one.
        (", \"ProtocolScheme\": \"MTLS_POP\"", ""),
    ];
    let Some(envoy) = Envoy::start(&site, 4, &changes).await else { return };
    let answers = calls(&envoy, "/orders", 32).await;
    assert_eq!(statuses(&answers), [200], "{answers:?}");
    assert_eq!(answers[0].body["token"]["appid"], sample::BOUND);
    let request =
        place.world.token_requests().into_iter().find(|request| request.client_assertion().is_some());
    let request = request.expect("a token request");
    let (_, assertion) = request.client_assertion().expect("an assertion");
    assert_eq!(assertion["oid"], OBJECT);
    assert_eq!((imds_requests(&place.world), place.requests()), (1, 2));
}

fn imds_requests(world: &World) -> usize {
    world.authority.log().into_iter().filter(|entry| entry.endpoint == Some(Endpoint::Imds)).count()
}

#[tokio::test]
async fn a_route_that_names_no_api_is_refused_and_one_without_the_filter_passes() {
    let place = Place::new(|registration| registration).await;
    let Some(envoy) = place.envoy(1).await else { return };
    let answer = envoy.get("/elsewhere").await;
    assert_eq!((answer.status, answer.body["code"].as_str()), (503, Some("route_without_api")));
    assert_eq!(envoy.get("/health").await.status, 200);
    assert!(place.api.log().is_empty());
    let changes = [("symbolon: { Api: orders }", "symbolon: { Api: invoices }")];
    let Some(envoy) = Envoy::start(&place.site(), 1, &changes).await else { return };
    let answer = envoy.get("/orders").await;
    assert_eq!((answer.status, answer.body["code"].as_str()), (503, Some("unknown_api")));
    assert!(place.api.log().is_empty());
}

#[tokio::test]
async fn a_cluster_that_envoy_has_not_is_a_reason_of_its_own() {
    let place = Place::new(|registration| registration).await;
    let changes = [("\"mtlsauth.microsoft.com\": \"entra_mtls\"", "\"mtlsauth.microsoft.com\": \"typo\"")];
    let Some(envoy) = Envoy::start(&place.site(), 1, &changes).await else { return };
    assert_eq!(envoy.get("/orders").await.status, 503);
    assert!(envoy.log().contains("Envoy has no cluster typo"), "{}", envoy.log());
}

#[tokio::test]
async fn a_configuration_that_cannot_work_ends_envoy_with_the_reason() {
    let place = Place::new(|registration| registration).await;
    for (found, replacement, reason) in [
        ("\"Base64Encoded\"", "\"ClientSecret\"", "AzureAd.ClientCredentials[0].SourceType: unknown variant"),
        ("\"OmitAssertionWhenBound\": true", "\"OmitAssertionWhenBound\": false", "the filter has no key"),
        (
            "\"mtlsauth.microsoft.com\": \"entra_mtls\"",
            "\"other.test\": \"other\"",
            "no cluster leads to mtlsauth.microsoft.com",
        ),
    ] {
        let Some(log) = Envoy::refuse(&place.site(), &[(found, replacement)]).await else { return };
        assert!(log.contains("the configuration can't be used: ") && log.contains(reason), "{log}");
    }
}
