//! Tokens that their guest can't read, and what it does with them all the same.

use serde_json::{Value, json};
use symbolon::Application;
use symbolon::linker::{GuestCtx, GuestFlow, GuestPolicy};
use symbolon_authority::{Api, Ask, CertificateRequest, Demand, sample};
use symbolon_end_to_end::apis::of_tokens;
use symbolon_end_to_end::{GRAPH, World, engine};

use super::plugin::host;

fn guest(application: &Application, api: &Api) -> GuestCtx {
    let flows = [GuestFlow::ForClient, GuestFlow::ByUsernamePassword];
    let policy = flows.into_iter().fold(GuestPolicy::new(), GuestPolicy::allow_flow);
    let policy = policy.allow_api(&api.url(), [GRAPH]).expect("an origin");
    GuestCtx::new("a guest", application.clone(), policy)
}

/// Status and body of an answer.
fn answer(said: &str) -> (u16, Value) {
    let (head, body) = said.split_once("\n\n").unwrap_or_else(|| panic!("no answer: {said}"));
    let status = head.lines().next().and_then(|status| status.parse().ok());
    (status.expect("a status"), serde_json::from_str(body).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_token_is_sent_and_not_seen() {
    let Some(host) = host() else { return };
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let application = world.caller(&engine(), "secret", &api, json!({}));
    let mut plugin = host.plugin(&guest(&application, &api)).await;
    let said = plugin
        .steps([
            format!("acquire|for-client|scope={GRAPH}"),
            format!("send|GET|{}/users?$top=5|header=accept:application/json|header=x-own:1", api.url()),
            format!(
                "send|POST|{}/users|header=content-length:3|header=content-type:text/plain|body=abc",
                api.url()
            ),
        ])
        .await;
    assert_eq!(said[0], format!("sealed Bearer for {GRAPH}|"));
    let (status, seen) = answer(&said[1]);
    assert_eq!((status, &seen["path"], &seen["query"]), (200, &json!("/users"), &json!("$top=5")));
    assert_eq!(seen["headers"]["x-own"], "1");
    let (status, seen) = answer(&said[2]);
    assert_eq!((status, &seen["method"], &seen["bodyLength"]), (200, &json!("POST"), &json!(3)));
    for request in api.log() {
        assert_eq!(request.authorization_scheme.as_deref(), Some("Bearer"));
        assert_eq!(request.token.expect("a token")["azp"], sample::SECRET);
        assert_eq!(request.client_certificate, None);
    }
    assert_eq!(api.connections(), 1, "the connection is kept, and is the application's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_goes_where_it_is_allowed_until_it_is_rejected() {
    let Some(host) = host() else { return };
    let world = World::start().await;
    let certified = Api::builder().demand(Demand::Certificate).ask(Ask::Required);
    let api = world.api(certified.clone()).await;
    let other = world.api(certified.host("other.contoso.test")).await;
    let now = world.authority.clock().now_unix();
    let certificates = ["one.contoso.test", "two.contoso.test"].map(|name| {
        let made = CertificateRequest::new(name, now).self_signed().expect("a certificate");
        std::fs::write(world.path(name), made.pem()).expect("a file");
        made
    });
    let application = world.application_with(&engine(), "secret", |settings| {
        symbolon_end_to_end::apis::configure(settings, &api, json!({}));
        settings["Symbolon"]["ConnectTo"][other.host()] = other.address().to_string().into();
        let entry = |name| json!({ "SourceType": "Path", "CertificateDiskPath": world.path(name) });
        settings["AzureAd"]["ClientCredentials"] =
            json!([entry("one.contoso.test"), entry("two.contoso.test")]);
    });
    let mut without = host.plugin(&guest(&application, &api)).await;
    let said = without.step("certificate").await;
    assert!(said.contains("not_allowed"), "{said}");

    let policy = GuestPolicy::new().allow_certificate(&api.url()).expect("an origin");
    let mut plugin = host.plugin(&GuestCtx::new("a guest", application, policy)).await;
    for accepted in &certificates {
        api.accept([accepted.certificate()]);
        for _ in 0..2 {
            assert_eq!(plugin.step("certificate").await, "held");
            plugin.step(format!("send|GET|{}/a", api.url())).await;
        }
    }
    let seen = api.log();
    assert_eq!(seen.iter().map(|request| request.status).collect::<Vec<_>>(), [200, 200, 401, 200]);
    assert!(seen.iter().all(|request| request.authorization_scheme.is_none()));
    let said = plugin.step(format!("send|GET|{}/a", other.url())).await;
    assert_eq!((&*said, other.connections()), ("ErrorCode::HttpRequestDenied", 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_bodies_go_out_as_they_come_and_answers_too() {
    let Some(host) = host() else { return };
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let application = world.caller(&engine(), "secret", &api, json!({}));
    let mut plugin = host.plugin(&guest(&application, &api)).await;
    let body = "0123456789abcdef".repeat(20_000);
    let said = plugin
        .steps([
            format!("acquire|for-client|scope={GRAPH}"),
            format!("send|POST|{}/echo|body={body}", api.url()),
            format!("send|GET|{}/bytes/300000", api.url()),
        ])
        .await;
    assert!(said[1].ends_with(&format!("\n\n{body}")), "the echo");
    assert_eq!(said[2].split_once("\n\n").expect("an answer").1.len(), 300_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bound_token_goes_out_on_a_connection_with_its_certificate() {
    let Some(host) = host() else { return };
    let world = World::start().await;
    let api = world.api(of_tokens().ask(Ask::Optional)).await;
    let application = world.caller(&engine(), "bound", &api, json!({}));
    let mut plugin = host.plugin(&guest(&application, &api)).await;
    let said = plugin
        .steps([format!("acquire|for-client|scope={GRAPH}|mtls-pop"), format!("send|GET|{}/a", api.url())])
        .await;
    assert!(said[0].starts_with("sealed mtls_pop"), "{said:?}");
    assert_eq!(answer(&said[1]).0, 200);
    let [request] = &api.log()[..] else { panic!("one request") };
    let bound_to = &request.token.as_ref().expect("a token")["cnf"]["x5t#S256"];
    assert!(bound_to.is_string() && bound_to.as_str() == request.client_certificate.as_deref());

    // Where the server doesn't ask for the certificate, nothing goes out.
    let never = world.api(of_tokens().host("never.contoso.test")).await;
    let policy = GuestPolicy::new().allow_flow(GuestFlow::ForClient);
    let policy = policy.allow_api(&never.url(), [GRAPH]).expect("an origin");
    let application = world.caller(&engine(), "bound", &never, json!({}));
    let mut plugin = host.plugin(&GuestCtx::new("a guest", application, policy)).await;
    let said = plugin
        .steps([format!("acquire|for-client|scope={GRAPH}|mtls-pop"), format!("send|GET|{}/a", never.url())])
        .await;
    assert_eq!(said[1], "ErrorCode::HttpRequestDenied");
    assert_eq!(never.log().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_challenge_is_answered_by_the_guest() {
    let Some(host) = host() else { return };
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let application = world.caller(&engine(), "secret", &api, json!({}));
    let mut plugin = host.plugin(&guest(&application, &api)).await;
    api.demand_acrs("c1");
    let acquire = format!("acquire|for-client|scope={GRAPH}");
    let send = format!("send|GET|{}/a", api.url());
    let said = plugin.steps([acquire.clone(), send.clone()]).await;
    let challenge =
        said[1].lines().find_map(|line| line.strip_prefix("www-authenticate: ")).expect("a challenge");
    let claims = plugin.step(format!("review|401|{challenge}")).await;
    let said = plugin.steps([format!("{acquire}|claims={claims}"), send]).await;
    assert_eq!(answer(&said[1]).0, 200);
    assert_eq!(plugin.step("review|500|").await, "accept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_is_masked_in_the_headers_of_an_answer() {
    let Some(host) = host() else { return };
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let application = world.caller(&engine(), "secret", &api, json!({}));
    let mut plugin = host.plugin(&guest(&application, &api)).await;
    plugin.step(format!("acquire|for-client|scope={GRAPH}")).await;
    // The host gets the same one.
    let token = application.acquire_token_for_client([GRAPH]).await.expect("a token");
    let token = token.access_token();
    let (echo, location) = (format!("Bearer {token}"), format!("https://api.contoso.test/?t={token}"));
    api.answer_next(302, [("x-echo", echo.as_str()), ("location", &location), ("x-other", "as it is")]);
    let said = plugin.step(format!("send|GET|{}/a", api.url())).await;
    assert!(said.contains("x-echo: (redacted)\n") && said.contains("location: (redacted)\n"), "{said}");
    assert!(said.contains("x-other: as it is\n") && !said.contains(token), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_token_is_forgotten() {
    let Some(host) = host() else { return };
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let application = world.caller(&engine(), "secret", &api, json!({}));
    let mut plugin = host.plugin(&guest(&application, &api)).await;
    plugin.step(format!("acquire|for-client|scope={GRAPH}")).await;
    assert_eq!(plugin.resources(), 1);
    plugin.step("drop").await;
    assert_eq!(plugin.resources(), 0);
    assert_eq!(plugin.step(format!("send|GET|{}/a", api.url())).await, "nothing is held");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn id_tokens_are_sealed_too() {
    let Some(host) = host() else { return };
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let application = world.caller(&engine(), "web-api", &api, json!({}));
    let mut plugin = host.plugin(&guest(&application, &api)).await;
    let (user, password) = (sample::ALICE, sample::ALICE_PASSWORD);
    let acquire = format!("acquire|by-username-password|scope={GRAPH}|username={user}|password={password}");
    let said = plugin.steps([acquire, format!("send|GET|{}/me", api.url())]).await;
    assert!(said[0].starts_with("sealed Bearer") && !said[0].contains("eyJ"), "{said:?}");
    assert_eq!(api.log()[0].token.as_ref().expect("a token")["upn"], sample::ALICE);
}
