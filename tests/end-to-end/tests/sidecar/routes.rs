//! The routes, over real connections.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use symbolon_authority::{ConditionalAccess, Registration, sample};
use symbolon_end_to_end::apis::of_tokens;
use symbolon_end_to_end::{GRAPH, World, engine};
use symbolon_sidecar::{Caller, Parameters};
use tower_service::Service as _;

use crate::server::{Server, settings};

#[tokio::test]
async fn a_caller_gets_the_header_for_its_user_and_the_applications_own() {
    let (world, symbolon) = (World::start().await, engine());
    let open = |settings: &mut Value| {
        settings["Sidecar"]["AllowOverrides"]["GetAuthorizationHeaderUnauthenticated"] = true.into();
    };
    let server = Server::start(&symbolon, settings(&world, None, open)).await;
    let token = world.user_token(sample::ALICE, sample::WEB_API);

    let answer = server.get("/AuthorizationHeader/api", Some(&token)).await;
    assert_eq!(answer.claims()["upn"], sample::ALICE);
    assert_eq!(answer.header("cache-control"), "no-cache, no-store, must-revalidate");
    assert_eq!((answer.header("pragma"), answer.header("expires")), ("no-cache", "0"));

    let path = "/AuthorizationHeaderUnauthenticated/API?optionsOverride.RequestAppToken=true";
    let answer = server.get(path, None).await;
    assert_eq!(
        (&answer.claims()["idtyp"], &answer.claims()["appid"]),
        (&json!("app"), &json!(sample::WEB_API))
    );

    let answer = server.get("/AuthorizationHeaderUnauthenticated/api", None).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "for whom?");
    assert_eq!(answer.header("content-type"), "application/problem+json");
}

#[tokio::test]
async fn a_closed_gate_leaves_the_configuration_as_it_is() {
    let (world, symbolon) = (World::start().await, engine());
    let server = Server::start(&symbolon, settings(&world, None, |_| {})).await;
    let path = "/AuthorizationHeaderUnauthenticated/api?optionsOverride.RequestAppToken=true";
    assert_eq!(server.get(path, None).await.status, StatusCode::UNAUTHORIZED, "closed unless it is opened");

    let close = |settings: &mut Value| {
        settings["Sidecar"]["AllowOverrides"]["GetAuthorizationHeader"] = false.into();
    };
    let server = Server::start(&symbolon, settings(&world, None, close)).await;
    let token = world.user_token(sample::ALICE, sample::WEB_API);
    let path = "/AuthorizationHeader/api?optionsOverride.RequestAppToken=true&AgentIdentity=x";
    assert_eq!(server.get(path, Some(&token)).await.claims()["upn"], sample::ALICE);
}

#[tokio::test]
async fn a_call_gives_the_apis_answer_whatever_it_is() {
    let (world, symbolon) = (World::start().await, engine());
    let api = world.api(of_tokens()).await;
    let server = Server::start(&symbolon, settings(&world, Some(&api), |_| {})).await;
    let token = world.user_token(sample::ALICE, sample::WEB_API);
    let path = "/DownstreamApi/api?optionsOverride.HttpMethod=post&optionsOverride.RelativePath=orders";
    let answer = server.ask(Method::POST, path, Some(&token), Some(("text/plain", b"hello"))).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let answer = answer.json();
    assert_eq!(answer["statusCode"], 200, "{answer}");
    assert!(answer["headers"]["Content-Type"].is_array(), "{answer}");
    assert!(answer["headers"].get("Date").is_none(), "{answer}");
    let [call] = &api.log()[..] else { panic!("{:?}", api.log()) };
    assert_eq!((call.header("content-type"), call.body_length), (Some("text/plain"), 5));
    assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", "/orders"));
}

#[tokio::test]
async fn mistakes_are_told_as_problems() {
    let (world, symbolon) = (World::start().await, engine());
    let server = Server::start(&symbolon, settings(&world, None, |_| {})).await;
    let token = world.user_token(sample::ALICE, sample::WEB_API);
    let detail = "No scopes found for the API 'unknown' or in optionsOverride. 'scopes' needs to be either a single value \
                  or a list of values.";
    let cases = [
        ("/AuthorizationHeader/unknown", 400, detail),
        (
            "/AuthorizationHeader/api?AgentIdentity=a&AgentUserId=b",
            400,
            "AgentUserId is no object id; accepted is a UUID.",
        ),
        (
            "/AuthorizationHeader/api?optionsOverride.HttpMethod=G%20T",
            400,
            "optionsOverride.HttpMethod is no HTTP method, such as GET.",
        ),
        (
            "/AuthorizationHeader/api?optionsOverride.RequestAppToken=1&optionsOverride.RequestAppToken=true&optionsOverride.Scopes=User.Read",
            400,
            "the scope of an application's own token should be of the form {resource}/.default, found \"User.Read\"",
        ),
    ];
    for (path, status, detail) in cases {
        let problem = server.get(path, Some(&token)).await;
        assert_eq!(
            (problem.status.as_u16(), problem.header("content-type")),
            (status, "application/problem+json"),
            "{path}"
        );
        let problem = problem.json();
        assert_eq!((&problem["status"], &problem["detail"]), (&json!(status), &json!(detail)), "{path}");
    }
    let strict = |settings: &mut Value| settings["Symbolon"]["Strict"] = true.into();
    let server = Server::start(&symbolon, settings(&world, None, strict)).await;
    assert_eq!(server.get("/AuthorizationHeader/unknown", Some(&token)).await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.get("/nowhere", None).await.status, StatusCode::NOT_FOUND);
    let answer = server.ask(Method::POST, "/Validate", None, None).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!((server.get("/healthz", None).await.text().as_str()), "Healthy");
}

#[tokio::test]
async fn a_challenge_reaches_the_caller_ready_for_its_own() {
    let demand = json!({ "access_token": { "acrs": { "essential": true, "value": "c1" } } });
    let policy = ConditionalAccess::multi_factor().claims(demand);
    let (world, symbolon) = (World::start().await, engine());
    let registration = Registration::new(sample::WEB_API).secret("of the web API").conditional_access(policy);
    world.authority.register(registration);
    let server = Server::start(
        &symbolon,
        settings(&world, None, |settings| {
            settings["AzureAd"]["ClientCredentials"][0]["ClientSecret"] = "of the web API".into();
        }),
    )
    .await;
    let token = world.user_token(sample::ALICE, sample::WEB_API);
    let answer = server.get("/AuthorizationHeader/api", Some(&token)).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let challenge = answer.header("www-authenticate");
    assert!(challenge.starts_with(r#"Bearer error="insufficient_claims", claims=""#), "{challenge}");
    let problem = answer.json();
    assert_eq!(problem["scopes"], json!([GRAPH]));
    for member in ["error", "errorCodes", "claims", "correlationId", "traceId"] {
        assert!(problem.get(member).is_some(), "{member}: {problem}");
    }
}

#[tokio::test]
async fn a_long_running_process_goes_on_by_the_key_that_came_back() {
    let (world, symbolon) = (World::start().await, engine());
    let open = |settings: &mut Value| {
        settings["Sidecar"]["AllowOverrides"]["GetAuthorizationHeaderUnauthenticated"] = true.into();
    };
    let server = Server::start(&symbolon, settings(&world, None, open)).await;
    let token = world.user_token(sample::ALICE, sample::WEB_API);
    let key = "optionsOverride.AcquireTokenOptions.LongRunningWebApiSessionKey";
    let began = server.get(&format!("/AuthorizationHeader/api?{key}=AllocateForMe"), Some(&token)).await;
    assert_eq!(began.claims()["upn"], sample::ALICE);
    let session = began.json()["longRunningWebApiSessionKey"].as_str().expect("a key").to_owned();
    assert_eq!(began.header("long-running-web-api-session-key"), session);

    let path = format!("/AuthorizationHeaderUnauthenticated/api?{key}=");
    let goes_on = server.get(&format!("{path}{session}"), None).await;
    assert_eq!(goes_on.claims()["upn"], sample::ALICE);
    let unknown = server.get(&format!("{path}unknown"), None).await;
    assert_eq!(unknown.status, StatusCode::UNAUTHORIZED, "{}", unknown.text());
    assert_eq!(unknown.header("content-type"), "application/problem+json");
}

#[tokio::test]
async fn foreigners_are_told_nothing() {
    let (world, symbolon) = (World::start().await, engine());
    let server = Server::start(&symbolon, settings(&world, None, |_| {})).await;
    let ask = async |caller: Option<Caller>, path: &str| {
        let mut request = Request::get(path).body(axum::body::Body::empty()).expect("a request");
        if let Some(caller) = caller {
            request.extensions_mut().insert(caller);
        }
        server.sidecar.router().call(request).await.expect("an answer").status()
    };
    let foreign = Caller::Address("203.0.113.5:4711".parse().expect("an address"));
    for path in ["/Validate", "/AuthorizationHeaderUnauthenticated/api", "/openapi/v1.json", "/nowhere"] {
        assert_eq!(ask(Some(foreign), path).await, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(ask(None, path).await, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(ask(Some(foreign), "/healthz").await, StatusCode::OK);
    assert_eq!(ask(Some(Caller::Local), "/openapi/v1.json").await, StatusCode::OK);
    assert_eq!(ask(Some(Caller::Local), "/Validate").await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn what_is_binary_comes_in_base64() {
    let (world, symbolon) = (World::start().await, engine());
    let api = world.api(of_tokens()).await;
    let server = Server::start(&symbolon, settings(&world, Some(&api), |_| {})).await;
    let token = world.user_token(sample::ALICE, sample::WEB_API);
    let path = "/DownstreamApi/api?optionsOverride.HttpMethod=POST&optionsOverride.RelativePath=echo";
    let sent = [0, 159, 146, 150, 255];
    let answer =
        server.ask(Method::POST, path, Some(&token), Some(("application/octet-stream", &sent))).await.json();
    assert_eq!(answer["contentIsBase64"], true, "{answer}");
    assert_eq!(answer["content"], BASE64_STANDARD.encode(sent));
}

#[test]
fn parameters_hide_their_values() {
    let parameters =
        Parameters::parse("AgentUsername=alice%40contoso.com&optionsOverride.AcquireTokenOptions.Claims=c");
    let shown = format!("{parameters:?}");
    assert!(shown.contains("AgentUsername") && !shown.contains("alice"), "{shown}");
}
