//! The trace of an acquisition says what was done, in order, and holds no secret.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use symbolon::{ApplicationId, Error, Symbolon};
use symbolon_authority::{Fault, FaultRule, RetryAfter, sample};
use symbolon_end_to_end::apis::of_tokens;
use symbolon_end_to_end::flows::Flow;
use symbolon_end_to_end::{GRAPH, VAULT, World, engine_with, hostile_engine, order, until};
use symbolon_telemetry::TraceLog;
use uuid::Uuid;

/// An engine with a log of what it does.
pub(crate) fn traced() -> (Symbolon, Arc<TraceLog>) {
    let log = Arc::new(TraceLog::new(100));
    (engine_with(|builder| builder.recorder(log.clone())), log)
}

/// The acquisitions of a log.
fn acquisitions(log: &TraceLog) -> Vec<Value> {
    let json = log.trace().to_json().expect("JSON");
    let trace: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(trace["version"], 1);
    trace["acquisitions"].as_array().expect("acquisitions").clone()
}

fn steps(acquisition: &Value) -> Vec<&Value> {
    acquisition["steps"].as_array().expect("steps").iter().collect()
}

fn kinds(acquisition: &Value) -> Vec<&str> {
    steps(acquisition).iter().map(|step| step["kind"].as_str().expect("a kind")).collect()
}

/// The only step of a kind.
fn step<'a>(acquisition: &'a Value, kind: &str) -> &'a Value {
    let of_kind: Vec<_> = steps(acquisition).into_iter().filter(|step| step["kind"] == kind).collect();
    assert_eq!(of_kind.len(), 1, "{kind}: {acquisition:#}");
    of_kind[0]
}

#[tokio::test]
async fn an_acquisition_is_a_sequence() {
    let (world, (symbolon, log)) = (World::start().await, traced());
    let application = world.application_with(&symbolon, "bound", |settings| {
        let credentials = &mut settings["AzureAd"]["ClientCredentials"];
        let missing = json!({ "SourceType": "Path", "CertificateDiskPath": "missing.pem" });
        credentials.as_array_mut().expect("credentials").insert(0, missing);
    });
    let id = Uuid::new_v4();
    let request = application.acquire_token_for_client([GRAPH]).with_correlation_id(id);
    let token = request.with_mtls_proof_of_possession().await.expect("a token");

    let [acquired] = acquisitions(&log).try_into().expect("one acquisition");
    assert_eq!((&acquired["flow"], &acquired["correlationId"]), (&json!("for-client"), &json!(id)));
    let known: Vec<_> = kinds(&acquired).into_iter().filter(|kind| *kind != "fact-asked").collect();
    assert_eq!(
        known,
        [
            "began",
            "instance-started",
            "credential-selected",
            "cache-looked-up",
            "request-sent",
            "request-ended",
            "credential-reported",
            "cache-stored",
            "ended"
        ]
    );
    assert_eq!(step(&acquired, "began")["scopes"], json!([GRAPH]));
    assert_eq!(step(&acquired, "cache-looked-up")["answer"], "absent");
    let selected = step(&acquired, "credential-selected");
    assert_eq!(selected["name"], "ClientCredentials[1] (Path)");
    let why = selected["passedOver"][0]["why"].as_str().expect("a reason");
    assert!(why.starts_with("found no file there"), "{why}");

    let thumbprint = token.binding_certificate().expect("a certificate").thumbprint_sha256();
    let sent = &step(&acquired, "request-sent")["request"];
    assert_eq!(sent["authority"], "mtlsauth.microsoft.com");
    assert_eq!((&sent["certificate"], &sent["method"]), (&json!(thumbprint), &json!("POST")));
    let seen = world.token_requests().pop().expect("a request");
    let names: Vec<_> = sent["form"].as_array().expect("fields").iter().map(|field| &field["name"]).collect();
    assert_eq!(names, seen.form.iter().map(|field| field.name.as_str()).collect::<Vec<_>>());
    let field =
        |name: &str| sent["form"].as_array().and_then(|form| form.iter().find(|field| field["name"] == name));
    assert_eq!(field("grant_type").expect("it was sent")["value"], "client_credentials");
    assert_eq!(field("scope").expect("it was sent")["value"], seen.form_text("scope").expect("a scope"));
    assert_eq!(step(&acquired, "request-ended")["status"], 200);
    let outcome = &step(&acquired, "ended")["outcome"];
    assert_eq!(
        (&outcome["tokenSource"], &outcome["boundTo"]),
        (&json!("identityProvider"), &json!(thumbprint))
    );

    // Times don't run backwards.
    let times: Vec<_> =
        steps(&acquired).iter().map(|step| step["atMicros"].as_u64().expect("a time")).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[tokio::test]
async fn answers_of_earlier_calls_are_counted() {
    let (world, (symbolon, log)) = (World::start().await, traced());
    let application = world.application(&symbolon, "secret");
    for _ in 0..4 {
        application.acquire_token_for_client([GRAPH]).await.expect("a token");
    }
    let all = acquisitions(&log);
    assert_eq!(all.len(), 2, "{all:#?}");
    assert_eq!((&all[1]["times"], kinds(&all[1])), (&json!(3), vec!["ended"]));
    assert_eq!(step(&all[1], "ended")["reused"], true);

    application.acquire_token_for_client([GRAPH]).with_force_refresh(true).await.expect("a token");
    let forced = acquisitions(&log).pop().expect("one more");
    assert_eq!(step(&forced, "cache-looked-up")["answer"], "bypassed");
    assert_eq!(step(&forced, "ended")["outcome"]["cacheRefreshReason"], "forceRefreshOrClaims");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_another_is_told_from_who_asks() {
    let (world, (symbolon, log)) = (World::start().await, traced());
    let application = world.application(&symbolon, "secret");
    world.authority.faults().add(FaultRule::once(Fault::Delay { milliseconds: 300 }));
    let first = tokio::spawn({
        let application = application.clone();
        async move { application.acquire_token_for_client([GRAPH]).await }
    });
    world.requested(1).await;
    application.acquire_token_for_client([GRAPH]).await.expect("a token");
    first.await.expect("a task").expect("a token");
    let [leads, waits] = acquisitions(&log).try_into().expect("two");
    assert_eq!(step(&leads, "cache-looked-up")["joined"], 0);
    let looked = step(&waits, "cache-looked-up");
    assert_eq!((&looked["joined"], &looked["answer"]), (&json!(1), &json!("hit")));
    assert!(!kinds(&waits).contains(&"request-sent"));
}

#[tokio::test]
async fn a_failure_says_why_and_what_was_decided() {
    let (world, (symbolon, log)) = (World::start().await, traced());
    let application = world.application(&symbolon, "secret");
    let pause = RetryAfter::Seconds(7);
    let throttled = Fault::Status { status: 429, retry_after: Some(pause), body: None };
    world.authority.faults().add(FaultRule::once(throttled));
    application.acquire_token_for_client([GRAPH]).await.expect_err("a pause");
    let [refused] = acquisitions(&log).try_into().expect("one");
    assert_eq!(step(&refused, "request-ended")["status"], 429);
    let learnt = steps(&refused).into_iter().find(|step| step["kind"] == "fact-learnt").expect("a pause");
    assert_eq!((&learnt["about"], &learnt["lastsMs"]), (&json!("throttle"), &json!(7000)));
    let outcome = &step(&refused, "ended")["outcome"];
    assert_eq!((&outcome["error"], &outcome["retryAfterMs"]), (&json!("throttled"), &json!(7000)));

    world.authority.faults().add(FaultRule::once(Fault::ResetBeforeHeaders).always());
    application.acquire_token_for_client([VAULT]).await.expect_err("a reset");
    let all = acquisitions(&log);
    let broken = all.last().expect("one more");
    let ended = steps(broken).into_iter().find(|step| step["kind"] == "request-ended").expect("a request");
    assert!(ended["error"].as_str().is_some_and(|error| !error.is_empty()), "{ended:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_guest_and_a_caller_that_goes_away_are_seen() {
    let world = World::start().await;
    let log = Arc::new(TraceLog::new(100));
    let hostile = hostile_engine(|builder| builder.recorder(log.clone()));
    let application = world.application(&hostile, "secret");
    assert!(matches!(order(&application, "trap").await, Err(Error::Guest(_))));
    let [trapped] = acquisitions(&log).try_into().expect("one");
    assert!(step(&trapped, "instance-stopped")["why"].as_str().expect("a reason").contains("trap"));
    assert_eq!(step(&trapped, "ended")["outcome"]["error"], "guest-stopped");

    let waiting = tokio::spawn({
        let application = application.clone();
        async move { order(&application, "wait 10000").await }
    });
    until(|| acquisitions(&log).len() == 2).await;
    waiting.abort();
    until(|| kinds(&acquisitions(&log)[1]).contains(&"abandoned")).await;
}

#[tokio::test]
async fn the_call_of_an_api_is_seen() {
    let (world, (symbolon, log)) = (World::start().await, traced());
    let api = world.api(of_tokens()).await;
    let orders = world.calling(&symbolon, "secret", &api, json!({}));
    let response = orders.get("orders/1").send().await.expect("an answer");
    let token =
        response.presented().header.authentication_result().expect("a token").access_token().to_owned();
    let [acquired, called] = acquisitions(&log).try_into().expect("two");
    assert_eq!((&acquired["flow"], &called["flow"]), (&json!("for-client"), &json!("downstream-api")));
    assert_eq!(called["correlationId"], acquired["correlationId"]);
    assert_eq!(kinds(&called), ["request-sent", "request-ended"]);
    let headers = step(&called, "request-sent")["request"]["headers"].as_array().expect("headers");
    let authorization = headers.iter().find(|header| header["name"] == "authorization").expect("it was sent");
    assert_eq!(authorization["redactedBytes"], "Bearer ".len() + token.len());
    assert_eq!(authorization.get("value"), None);
}

/// By every flow, with secrets and certificates, with success, refusals and broken answers: neither form of the trace has a
/// secret, a token, a key, a code, a password or a name in it.
#[tokio::test]
async fn no_trace_holds_a_secret() {
    let world = World::start().await;
    let log = Arc::new(TraceLog::new(1_000));
    let symbolon = engine_with(|builder| builder.recorder(log.clone()));
    let mut canaries = vec![sample::ALICE_PASSWORD.to_owned(), sample::ALICE.to_owned()];
    for flow in Flow::ALL {
        for sample in [flow.sample(), flow.bound_sample()] {
            let options = world.options(sample, |_| {}).expect("options");
            let id = ApplicationId::new(Uuid::new_v4().to_string());
            let application = symbolon.application(options.with_id(id)).expect("an application");
            let scenario = flow.prepare_for(&world, application).await.expect("what comes before");
            world.authority.faults().add(FaultRule::once(Fault::ResetInsideBody));
            scenario.acquire().await.expect_err("a reset");
            let refusal = Fault::Refusal {
                code: 70_000,
                error: "invalid_grant".to_owned(),
                status: 400,
                // Whoever repeats what they were sent.
                message: format!("The token {} is bad.", scenario.input),
                suberror: Some("bad_token".to_owned()),
                claims: None,
                retry_after: None,
            };
            world.authority.faults().add(FaultRule::once(refusal));
            scenario.acquire().await.expect_err("a refusal");
            let token = scenario.acquire().await.expect("a token");
            canaries.extend([token.access_token().to_owned(), scenario.input.clone()]);
            canaries.extend(token.id_token().map(str::to_owned));
        }
    }
    for request in world.token_requests() {
        for name in SECRET_FIELDS {
            canaries.extend(request.form_text(name).map(str::to_owned));
        }
    }
    for sample in ["web-api", "blueprint", "secret"] {
        let secret = &world.settings(sample)["AzureAd"]["ClientCredentials"][0]["ClientSecret"];
        canaries.push(secret.as_str().expect("a secret").to_owned());
    }
    let key = std::fs::read_to_string(world.path("client.pem")).expect("the key");
    let private = key.split("PRIVATE KEY-----").nth(1).expect("a private key");
    canaries.extend(private.lines().filter(|line| line.len() == 64).map(str::to_owned));

    let trace = log.trace();
    let (json, html) = (trace.to_json().expect("JSON"), trace.to_html());
    canaries.retain(|canary| !canary.is_empty());
    assert!(canaries.len() > 100, "{} things to look for", canaries.len());
    for (what, text) in [("JSON", &json), ("HTML", &html)] {
        assert!(
            text.contains("client_credentials") && text.contains("invalid_grant"),
            "there is {what} to search"
        );
        for canary in &canaries {
            let bytes = BASE64_STANDARD.encode(canary);
            assert!(!text.contains(canary.as_str()) && !text.contains(&bytes), "{canary} is in the {what}");
        }
        assert!(!text.contains("eyJ"), "something like a JWT is in the {what}");
    }
}

/// The fields whose values prove something, or say who somebody is.
const SECRET_FIELDS: [&str; 9] = [
    "assertion",
    "client_assertion",
    "client_secret",
    "code",
    "code_verifier",
    "password",
    "refresh_token",
    "user_federated_identity_credential",
    "username",
];
