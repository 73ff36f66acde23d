//! The sidecar's routes, over real connections, for callers who know nothing but HTTP.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use symbolon::{Settings, Symbolon};
use symbolon_authority::{Api, ConditionalAccess, UserToken, sample};
use symbolon_end_to_end::apis::{API, configure, of_tokens};
use symbolon_end_to_end::{GRAPH, World, claims, engine};
use symbolon_sidecar::{Caller, Parameters, Sidecar};
use tower_service::Service as _;

/// A sidecar of the sample application `web-api` on a port of its own.
struct Server {
    address: SocketAddr,
    sidecar: Sidecar,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Server {
    async fn start(symbolon: &Symbolon, settings: Value) -> Self {
        let sidecar = Sidecar::new(symbolon, Settings::from_value(settings)).expect("a sidecar");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let served = sidecar.clone();
        tokio::spawn(async move { served.serve(listener, std::future::pending()).await });
        Self { address, sidecar }
    }

    async fn ask(&self, method: Method, path: &str, token: Option<&str>, body: Option<(&str, &[u8])>) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some((content_type, _)) = body {
            request = request.header("content-type", content_type);
        }
        let body = body.map_or_else(Vec::new, |(_, body)| body.to_vec());
        let request = request.body(Full::<bytes::Bytes>::from(body)).expect("a request");
        let client = Client::builder(TokioExecutor::new()).build_http();
        let (parts, body) = client.request(request).await.expect("an answer").into_parts();
        let body = body.collect().await.expect("its body").to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        self.ask(Method::GET, path, token, None).await
    }
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap_or_default())
    }

    /// What the header that is the answer has in its token.
    fn claims(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        let answer = self.json();
        let header = answer["authorizationHeader"].as_str().expect("a header");
        claims(header.strip_prefix("Bearer ").expect("a bearer token"))
    }
}

/// Settings of the web API, which calls an API for its users, with `change` made to them.
fn settings(world: &World, api: Option<&Api>, change: impl FnOnce(&mut Value)) -> Value {
    let mut settings = world.settings("web-api");
    match api {
        Some(api) => configure(&mut settings, api, json!({ "RequestAppToken": false })),
        None => settings["DownstreamApis"][API] = json!({ "BaseUrl": "https://api.test", "Scopes": [GRAPH] }),
    }
    change(&mut settings);
    settings
}

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
    assert_eq!((&answer.claims()["idtyp"], &answer.claims()["appid"]), (&json!("app"), &json!(sample::WEB_API)));

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
    let path = "/DownstreamApi/api?optionsOverride.HttpMethod=post&optionsOverride.RelativePath=echo";
    let answer = server.ask(Method::POST, path, Some(&token), Some(("text/plain", b"hello"))).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let answer = answer.json();
    assert_eq!(answer["statusCode"], 200, "{answer}");
    assert!(answer["headers"]["Content-Type"].is_array(), "{answer}");
    assert!(answer["headers"].get("Date").is_none(), "{answer}");
    let [call] = &api.log()[..] else { panic!("{:?}", api.log()) };
    assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", "/echo"));
}

#[tokio::test]
async fn only_tokens_for_the_application_are_taken() {
    let (world, symbolon) = (World::start().await, engine());
    let scopes = |settings: &mut Value| settings["AzureAd"]["Scopes"] = "other access_as_user".into();
    let server = Server::start(&symbolon, settings(&world, None, scopes)).await;
    let mint = |token: UserToken| world.authority.user_token(&token).expect("a user");
    let good = UserToken::new(sample::ALICE, sample::WEB_API);

    let token = mint(good.clone());
    let answer = server.get("/Validate", Some(&token)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.header("www-authenticate"));
    let answer = answer.json();
    assert_eq!((&answer["protocol"], &answer["token"]), (&json!("Bearer"), &json!(token)));
    assert_eq!(answer["claims"], claims(&token));
    let by_uri = mint(UserToken::new(sample::ALICE, &format!("api://{}", sample::WEB_API)));
    assert_eq!(server.get("/Validate", Some(&by_uri)).await.status, StatusCode::OK);

    let forged = {
        let (signed, signature) = token.rsplit_once('.').expect("three parts");
        let (header, _) = signed.split_once('.').expect("three parts");
        let mut claims = claims(&token);
        claims["upn"] = sample::BOB.into();
        format!("{header}.{}.{signature}", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()))
    };
    let unsigned = {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(claims(&token).to_string());
        format!("{}.{claims}.", BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#))
    };
    let cases = [
        ("the signature is invalid", forged),
        ("the token is malformed", unsigned),
        ("the token is malformed", "opaque".to_owned()),
        ("the token is encrypted", "a.b.c.d.e".to_owned()),
        ("the audience is invalid", mint(UserToken::new(sample::ALICE, sample::DAEMON))),
        ("the token is expired", mint(good.clone().claim("exp", json!(1_700_000_000)))),
        ("the token is not yet valid", mint(good.clone().claim("nbf", json!(4_000_000_000_u64)))),
        ("the issuer is invalid", mint(good.clone().claim("iss", json!("https://evil.test/")))),
        ("neither scope nor roles", mint(good.clone().claim("scp", Value::Null))),
    ];
    for (why, token) in cases {
        let answer = server.get("/Validate", Some(&token)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{why}");
        assert!(answer.header("www-authenticate").contains(why), "{why}: {:?}", answer.header("www-authenticate"));
        assert!(answer.body.is_empty());
        assert_eq!(server.get("/AuthorizationHeader/api", Some(&token)).await.status, StatusCode::UNAUTHORIZED);
    }
    let answer = server.get("/Validate", None).await;
    assert_eq!((answer.status, answer.header("www-authenticate")), (StatusCode::UNAUTHORIZED, "Bearer"));
    let other = mint(good.scope("another"));
    assert_eq!(server.get("/Validate", Some(&other)).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_keys_are_asked_for_once() {
    let (world, symbolon) = (World::start().await, engine());
    let server = Server::start(&symbolon, settings(&world, None, |_| {})).await;
    let token = world.user_token(sample::ALICE, sample::WEB_API);
    let many = (0..20).map(|_| server.get("/Validate", Some(&token)));
    for answer in futures_util::future::join_all(many).await {
        assert_eq!(answer.status, StatusCode::OK);
    }
    let unknown = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","kid":"unknown"}"#), {
        let (_, rest) = token.split_once('.').expect("three parts");
        rest
    });
    for _ in 0..5 {
        assert_eq!(server.get("/Validate", Some(&unknown)).await.status, StatusCode::UNAUTHORIZED);
    }
    let asked = |end: &str| world.authority.log().iter().filter(|entry| entry.path.ends_with(end)).count();
    assert_eq!((asked("/openid-configuration"), asked("/keys")), (1, 1), "an unknown key within a minute changes nothing");
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
        ("/AuthorizationHeader/api?AgentIdentity=a&AgentUserId=b", 400, "AgentUserId is no object id; accepted is a UUID."),
        ("/AuthorizationHeader/api?optionsOverride.HttpMethod=G%20T", 400, "optionsOverride.HttpMethod is no HTTP method, such as GET."),
        ("/AuthorizationHeader/api?optionsOverride.RequestAppToken=1&optionsOverride.RequestAppToken=true&optionsOverride.Scopes=User.Read", 500, "An unexpected error occurred."),
    ];
    for (path, status, detail) in cases {
        let problem = server.get(path, Some(&token)).await;
        assert_eq!((problem.status.as_u16(), problem.header("content-type")), (status, "application/problem+json"), "{path}");
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
    let policy = ConditionalAccess::new(sample::ALICE, demand.clone());
    let world = World::start_with(|authority| authority.conditional_access(policy)).await;
    let symbolon = engine();
    let server = Server::start(&symbolon, settings(&world, None, |_| {})).await;
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
    let server = Server::start(&symbolon, settings(&world, None, |_| {})).await;
    let token = world.user_token(sample::ALICE, sample::WEB_API);
    let key = "optionsOverride.AcquireTokenOptions.LongRunningWebApiSessionKey";
    let began = server.get(&format!("/AuthorizationHeader/api?{key}=AllocateForMe"), Some(&token)).await;
    assert_eq!(began.claims()["upn"], sample::ALICE);
    let session = began.json()["longRunningWebApiSessionKey"].as_str().expect("a key").to_owned();
    assert_eq!(began.header("long-running-web-api-session-key"), session);

    let open = |settings: &mut Value| {
        settings["Sidecar"]["AllowOverrides"]["GetAuthorizationHeaderUnauthenticated"] = true.into();
    };
    let server = Server::start(&symbolon, settings(&world, None, open)).await;
    let path = format!("/AuthorizationHeaderUnauthenticated/api?{key}=");
    let goes_on = server.get(&format!("{path}{session}"), None).await;
    assert_eq!(goes_on.claims()["upn"], sample::ALICE, "the same application, with the same cache");
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
    let path = "/DownstreamApi/api?optionsOverride.HttpMethod=POST&optionsOverride.RelativePath=body";
    let sent = [0, 159, 146, 150, 255];
    let answer = server.ask(Method::POST, path, Some(&token), Some(("application/octet-stream", &sent))).await.json();
    assert_eq!(answer["contentIsBase64"], true, "{answer}");
    assert_eq!(answer["content"], BASE64_STANDARD.encode(sent));
}

#[test]
fn parameters_hide_their_values() {
    let parameters = Parameters::parse("AgentUsername=alice%40contoso.com&optionsOverride.AcquireTokenOptions.Claims=c");
    let shown = format!("{parameters:?}");
    assert!(shown.contains("AgentUsername") && !shown.contains("alice"), "{shown}");
}
