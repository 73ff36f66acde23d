//! Whatever the authority does, an acquisition ends in a token or a typed error within its deadline, and the next one works.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use symbolon::{Account, ApplicationId, Error, ErrorKind, Symbolon, TokenSource};
use symbolon_authority::{Endpoint, Fault, FaultRule, RetryAfter, sample};
use symbolon_end_to_end::flows::{Flow, SESSION_KEY, Scenario};
use symbolon_end_to_end::{GRAPH, World, engine, engine_with};

/// What one fault leads to, and how many requests the authority saw.
async fn outcome(rule: FaultRule) -> (Result<(), (ErrorKind, String, Option<Duration>)>, usize) {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "secret");
    world.authority.faults().add(rule);
    let outcome = match application.acquire_token_for_client([GRAPH]).await {
        Ok(_) => Ok(()),
        Err(Error::Acquisition(error)) => Err((error.kind, error.code.clone(), error.retry_after)),
        Err(other) => panic!("not a decision of the protocol: {other:?}"),
    };
    let requests = world.token_requests().len();
    world.authority.faults().clear();
    // A pause that was asked for is kept.
    if !matches!(outcome, Err((.., Some(_)))) {
        application.acquire_token_for_client([GRAPH]).await.expect("the next call works");
    }
    (outcome, requests)
}

fn failed(outcome: Result<(), (ErrorKind, String, Option<Duration>)>) -> (ErrorKind, String) {
    let (kind, code, _) = outcome.expect_err("an error");
    (kind, code)
}

#[tokio::test]
async fn one_500_is_retried_once() {
    let fault = Fault::Status { status: 500, retry_after: None, body: None };
    let (outcome, requests) = outcome(FaultRule::once(fault)).await;
    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!(requests, 2);
}

#[tokio::test]
async fn two_500_are_an_error() {
    let fault = Fault::Status { status: 500, retry_after: None, body: None };
    let (outcome, requests) = outcome(FaultRule::once(fault).times(2)).await;
    assert_eq!(failed(outcome), (ErrorKind::TemporarilyUnavailable, "service_not_available".into()));
    assert_eq!(requests, 2);
}

#[tokio::test]
async fn retry_after_is_not_retried() {
    for retry_after in [RetryAfter::Seconds(7), RetryAfter::DateInSeconds(7)] {
        for status in [429, 503] {
            let fault = Fault::Status { status, retry_after: Some(retry_after), body: None };
            let (outcome, requests) = outcome(FaultRule::once(fault)).await;
            let (kind, _, pause) = outcome.expect_err("an error");
            assert!(matches!(kind, ErrorKind::Throttled | ErrorKind::TemporarilyUnavailable), "{kind}");
            let pause = pause.expect("the pause that was asked for");
            assert!((5..=8).contains(&pause.as_secs()), "{pause:?}");
            assert_eq!(requests, 1);
        }
    }
}

#[tokio::test]
async fn broken_connections_are_transport_failures() {
    for fault in [Fault::ResetBeforeHeaders, Fault::ResetInsideBody, Fault::CloseWithoutAnswer] {
        let kind = fault.kind();
        let (outcome, _) = outcome(FaultRule::once(fault).always()).await;
        assert_eq!(failed(outcome).0, ErrorKind::TransportFailed, "{kind}");
    }
}

#[tokio::test]
async fn answers_that_are_no_answers_are_protocol_violations() {
    for fault in [
        Fault::LargeBody { bytes: 10_000_000, declared: false },
        Fault::LargeBody { bytes: 10_000_000, declared: true },
        Fault::MalformedJson,
        Fault::MissingAccessToken,
        Fault::TokenType { value: None },
        Fault::TokenType { value: Some("mtls_pop".into()) },
        Fault::Content { content_type: "text/html".into(), body: "<html>sign in</html>".into() },
    ] {
        let kind = fault.kind();
        let (outcome, requests) = outcome(FaultRule::once(fault)).await;
        assert_eq!(failed(outcome).0, ErrorKind::ProtocolViolation, "{kind}");
        assert_eq!(requests, 1, "{kind}");
    }
}

#[tokio::test]
async fn a_body_without_end_meets_the_deadline() {
    let (world, symbolon) =
        (World::start().await, engine_with(|builder| builder.acquisition_deadline(Duration::from_secs(2))));
    let application = world.application(&symbolon, "secret");
    world.authority.faults().add(FaultRule::once(Fault::EndlessBody { interval_milliseconds: 50 }));
    let acquisition = application.acquire_token_for_client([GRAPH]).into_future();
    let error = tokio::time::timeout(Duration::from_secs(10), acquisition).await.expect("the deadline holds");
    let error = error.expect_err("no token");
    let is_typed = match &error {
        Error::DeadlineExceeded { .. } => true,
        Error::Acquisition(error) => error.kind == ErrorKind::TransportFailed,
        _ => false,
    };
    assert!(is_typed, "{error:?}");
    application.acquire_token_for_client([GRAPH]).await.expect("the next call works");
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let (world, symbolon) = (World::start().await, engine());
    for (sample, code, kind) in [
        ("expired-secret", 7_000_222, ErrorKind::InvalidClient),
        ("expired-certificate", 1_000_502, ErrorKind::InvalidClient),
    ] {
        let application = world.application(&symbolon, sample);
        let error = application.acquire_token_for_client([GRAPH]).await.expect_err("a refusal");
        // An expired certificate doesn't even reach the authority where the host sees it.
        match error.acquisition().expect("a decision").kind {
            ErrorKind::CredentialUnavailable => assert_eq!(sample, "expired-certificate"),
            found => {
                assert_eq!(found, kind);
                assert_eq!(error.aadsts_codes(), [code]);
                assert!(error.correlation_id().is_some());
            }
        }
    }
    let application = world.application(&symbolon, "secret");
    let error = application.acquire_token_for_client(["https://graph.microsoft.com/User.Read"]).await;
    assert_eq!(error.expect_err("a refusal").aadsts_codes(), [1_002_012]);
}

#[tokio::test]
async fn bound_transport_that_is_not_enabled_is_an_error_of_its_own() {
    let (world, symbolon) = (World::start().await, engine());
    let certificate = world.application(&symbolon, "certificate");
    let error = certificate.acquire_token_for_client([GRAPH]).with_mtls_proof_of_possession().await;
    let error = error.expect_err("51000");
    assert_eq!(error.acquisition().expect("a decision").kind, ErrorKind::BoundTransportNotEnabled);
    assert_eq!(error.aadsts_codes(), [51_000]);
    assert!(error.to_string().contains("mtlsauth.microsoft.com"), "{error}");

    let mtls = world.application(&symbolon, "mtls");
    let error = mtls.acquire_token_for_client([GRAPH]).with_mtls_proof_of_possession().await;
    assert_eq!(error.expect_err("392189").aadsts_codes(), [392_189]);
}

/// A fault that lasts, what it leads to, and how many requests are made of it.
struct Case {
    fault: Fault,
    kind: ErrorKind,
    /// The same for a code, which may be used up.
    of_code: ErrorKind,
    requests: usize,
}

fn case(fault: Fault, kind: ErrorKind, of_code: ErrorKind) -> Case {
    Case { fault, kind, of_code, requests: 1 }
}

/// Each leaves the connection or the answer in another state.
fn cases() -> Vec<Case> {
    use ErrorKind::{OutcomeUnknown, ProtocolViolation, TemporarilyUnavailable, Throttled, TransportFailed};
    let status = |status, retry_after| Fault::Status { status, retry_after, body: None };
    // A longer one would hold up the next case.
    let pause = Some(RetryAfter::Seconds(0));
    let location = "https://login.microsoftonline.us/elsewhere/oauth2/v2.0/token".to_owned();
    let html = Fault::Content { content_type: "text/html".into(), body: "<html>sign in</html>".into() };
    let other_type = |value: Option<&str>| Fault::TokenType { value: value.map(str::to_owned) };
    let member = |name: &str, value| Fault::Member { name: name.to_owned(), value };
    vec![
        case(Fault::ResetBeforeHeaders, TransportFailed, OutcomeUnknown),
        case(Fault::ResetInsideBody, TransportFailed, OutcomeUnknown),
        case(Fault::CloseWithoutAnswer, TransportFailed, OutcomeUnknown),
        Case { requests: 2, ..case(status(500, None), TemporarilyUnavailable, TemporarilyUnavailable) },
        case(status(503, pause), TemporarilyUnavailable, TemporarilyUnavailable),
        case(status(429, pause), Throttled, Throttled),
        case(Fault::LargeBody { bytes: 2_000_000, declared: false }, ProtocolViolation, OutcomeUnknown),
        case(Fault::LargeBody { bytes: 2_000_000, declared: true }, ProtocolViolation, OutcomeUnknown),
        case(Fault::MalformedJson, ProtocolViolation, ProtocolViolation),
        case(Fault::MissingAccessToken, ProtocolViolation, ProtocolViolation),
        case(other_type(None), ProtocolViolation, ProtocolViolation),
        case(other_type(Some("mtls_pop")), ProtocolViolation, ProtocolViolation),
        case(other_type(Some("pop")), ProtocolViolation, ProtocolViolation),
        case(member("expires_in", Some(json!("soon"))), ProtocolViolation, ProtocolViolation),
        case(member("access_token", Some(json!(""))), ProtocolViolation, ProtocolViolation),
        case(Fault::Redirect { location, status: 307 }, ProtocolViolation, ProtocolViolation),
        case(html, ProtocolViolation, ProtocolViolation),
    ]
}

/// Those that only the deadline ends.
fn slow_cases() -> [Case; 2] {
    [Fault::EndlessBody { interval_milliseconds: 50 }, Fault::Delay { milliseconds: 5000 }]
        .map(|fault| case(fault, ErrorKind::TransportFailed, ErrorKind::OutcomeUnknown))
}

/// What can be seen of the cache.
async fn kept(scenario: &Scenario<'_>) -> (usize, Vec<Account>) {
    let accounts = scenario.application.accounts().await.expect("accounts");
    (scenario.application.cache_statistics().entries, accounts)
}

/// The fault ends in its error, and the cache is what it was.
async fn leaves_no_trace(world: &World, scenario: &Scenario<'_>, case: Case) {
    let (flow, fault) = (scenario.flow, case.fault.kind());
    let before = kept(scenario).await;
    let rule = world.authority.faults().add(FaultRule::once(case.fault).always());
    let (outcome, requests) = world.seen(scenario.acquire()).await;
    world.authority.faults().remove(rule);
    let error = outcome.expect_err("no token");
    let decision = error.acquisition().unwrap_or_else(|| panic!("{flow:?}, {fault}: {error:?}"));
    let is_code = flow == Flow::ByCode;
    assert_eq!(decision.kind, if is_code { case.of_code } else { case.kind }, "{flow:?}, {fault}: {error:?}");
    assert_eq!(requests.len(), if is_code { 1 } else { case.requests }, "{flow:?}, {fault}");
    assert_eq!(kept(scenario).await, before, "{flow:?}, {fault}");
    if flow == Flow::Initiate {
        let go_on = scenario.application.acquire_token_in_long_running_process([GRAPH], SESSION_KEY);
        let (outcome, requests) = world.seen(go_on.into_future()).await;
        assert_eq!(outcome.expect_err("it didn't begin").code(), "obo_cache_key_not_in_cache_error");
        assert_eq!(requests.len(), 0, "{fault}");
    }
}

async fn survives(flow: Flow, symbolon: Symbolon, hurried: Symbolon) {
    let world = World::start().await;
    let scenario = flow.prepare(&world, &symbolon).await.expect("what comes before");
    for case in cases() {
        leaves_no_trace(&world, &scenario, case).await;
    }
    let short_of_time = flow.prepare(&world, &hurried).await.expect("what comes before");
    for case in slow_cases() {
        leaves_no_trace(&world, &short_of_time, case).await;
    }
    // Nothing of all that answers: the next call asks the authority, and finds it well.
    let (token, requests) = world.seen(scenario.acquire()).await;
    token.expect("a token");
    assert_eq!(requests.len(), 1, "{flow:?}");

    // A failure that the retry cures leaves the same behind as none.
    let retried = flow.prepare(&world, &symbolon).await.expect("what comes before");
    world.authority.faults().add(FaultRule::once(Fault::Status {
        status: 502,
        retry_after: None,
        body: None,
    }));
    let (token, requests) = world.seen(retried.acquire()).await;
    if flow == Flow::ByCode {
        token.expect_err("a code isn't sent again");
        retried.acquire().await.expect("another code");
        assert_eq!(requests.len(), 1);
    } else {
        let token = token.expect("the second attempt");
        assert_eq!(token.metadata().token_source, TokenSource::IdentityProvider);
        assert_eq!(requests.len(), 2, "{flow:?}");
    }
    assert_eq!(kept(&retried).await, kept(&scenario).await, "{flow:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_flow_survives_every_fault() {
    let (symbolon, hurried) =
        (engine(), engine_with(|builder| builder.acquisition_deadline(Duration::from_secs(1))));
    let flows = Flow::ALL.map(|flow| tokio::spawn(survives(flow, symbolon.clone(), hurried.clone())));
    for outcome in join_all(flows).await {
        outcome.expect("no assertion failed");
    }
}

/// Where a leg of an agent's chain fails, the legs before it are good and kept, and those after it aren't begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agents_chain_goes_on_where_it_broke() {
    let (world, symbolon) = (World::start().await, engine());
    for broken in 0..3 {
        let options = world.options("blueprint", |_| {}).expect("options");
        let options = options.with_id(ApplicationId::new(format!("broken-{broken}")));
        let application = symbolon.application(options).expect("an application");
        let alice = || {
            let agent = symbolon::AgentIdentity::with_user_principal_name(sample::AGENT_ONE, sample::ALICE);
            application.acquire_token_for_agent(agent, [GRAPH])
        };
        world.authority.faults().add(FaultRule::once(Fault::MalformedJson).skip(broken));
        let (outcome, requests) = world.seen(alice()).await;
        let error = outcome.expect_err("a broken leg");
        assert_eq!(error.acquisition().expect("a decision").kind, ErrorKind::ProtocolViolation);
        assert_eq!(requests.len(), broken as usize + 1);
        let (token, requests) = world.seen(alice()).await;
        token.expect("the chain goes on");
        assert_eq!(requests.len(), 3 - broken as usize, "what came before {broken} is in the cache");
        world.authority.faults().clear();
    }
}

/// Answers about somebody else, and such as lack what must be there, are no answers to a refresh.
#[tokio::test]
async fn a_refresh_is_about_its_user() {
    use base64::Engine as _;
    let somebody_else = base64::prelude::BASE64_URL_SAFE_NO_PAD
        .encode(json!({ "uid": sample::BOB_OBJECT_ID, "utid": symbolon_authority::CONTOSO }).to_string());
    let member = |name: &str, value| Fault::Member { name: name.to_owned(), value };
    let (world, symbolon) = (World::start().await, engine());
    for (flow, code) in
        [(Flow::Silent, "user_mismatch"), (Flow::GoOn, "user_mismatch"), (Flow::ByRefreshToken, "")]
    {
        let scenario = flow.prepare(&world, &symbolon).await.expect("what comes before");
        let before = kept(&scenario).await;
        if flow == Flow::ByRefreshToken {
            // Nobody knows whose it is until the answer says so; but it must bring another one to keep.
            world.authority.faults().add(FaultRule::once(member("refresh_token", None)));
            assert_eq!(
                scenario.acquire().await.expect_err("nothing to keep").code(),
                "refresh_token_missing"
            );
            assert_eq!(kept(&scenario).await, before);
            continue;
        }
        world.authority.faults().add(FaultRule::once(member("client_info", Some(json!(somebody_else)))));
        assert_eq!(scenario.acquire().await.expect_err("Bob").code(), code);
        assert_eq!(kept(&scenario).await, before);
        // An answer without a refresh token leaves the old one in its place.
        world.authority.faults().add(FaultRule::once(member("refresh_token", None)));
        scenario.acquire().await.expect("a token");
        let (token, requests) = world.seen(renewed(&scenario)).await;
        token.expect("the old refresh token");
        assert_eq!(requests[0].form_text("grant_type"), Some("refresh_token"));
    }
}

/// The same once more, past the cache.
async fn renewed(scenario: &Scenario<'_>) -> symbolon::Result<symbolon::AuthenticationResult> {
    match (&scenario.account, &scenario.application) {
        (Some(account), application) => {
            application.acquire_token_silent([GRAPH], account).with_force_refresh(true).await
        }
        (None, application) => {
            application
                .acquire_token_in_long_running_process([GRAPH], SESSION_KEY)
                .with_force_refresh(true)
                .await
        }
    }
}

/// The sign-in itself asks nobody, whatever the authority's other endpoints do.
#[tokio::test]
async fn nothing_but_the_token_endpoint_is_asked() {
    let (world, symbolon) = (World::start().await, engine());
    for endpoint in [Endpoint::Metadata, Endpoint::Keys, Endpoint::InstanceDiscovery, Endpoint::Authorize] {
        let rule = FaultRule::once(Fault::ResetBeforeHeaders).always().endpoint(endpoint);
        world.authority.faults().add(rule);
    }
    for flow in Flow::ALL {
        flow.prepare(&world, &symbolon).await.expect("what comes before").acquire().await.expect("a token");
    }
    assert_eq!(world.authority.log().len(), world.token_requests().len());
}
