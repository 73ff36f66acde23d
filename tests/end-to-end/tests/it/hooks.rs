//! What hooks see of acquisitions, and what they change about them.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use symbolon::{
    AcquisitionForApp, AcquisitionForTestUser, AcquisitionOnBehalfOf, AgentIdentity, BackgroundRefresh,
    OnBehalfOfInitialized, RequestOptions, SessionKey, Symbolon, TokenAcquisitionHooks, TokenRequestAttempt,
};
use symbolon_authority::{Fault, FaultRule, LogEntry, sample};
use symbolon_end_to_end::{GRAPH, World, claims, engine, engine_with, until};
use uuid::Uuid;

/// Notes what it is called with, in one line each, and changes what it is told to.
#[derive(Default)]
struct Recorder {
    lines: Mutex<Vec<String>>,
    attempts: Mutex<Vec<Attempt>>,
    change: Mutex<Option<fn(&mut RequestOptions)>>,
    replacement: Mutex<Option<String>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Attempt {
    number: u32,
    flow: &'static str,
    host: String,
    path: String,
    correlation_id: Option<String>,
    certificate: bool,
}

impl Recorder {
    fn note(&self, line: String) {
        self.lines.lock().expect("lines").push(line);
    }

    fn noted(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().expect("lines"))
    }

    fn attempted(&self) -> Vec<Attempt> {
        std::mem::take(&mut self.attempts.lock().expect("attempts"))
    }

    fn change(&self, options: &mut RequestOptions) {
        if let Some(change) = *self.change.lock().expect("a change") {
            change(options);
        }
    }

    fn change_by(&self, change: fn(&mut RequestOptions)) {
        *self.change.lock().expect("a change") = Some(change);
    }
}

fn agent(agent: Option<&AgentIdentity>) -> &'static str {
    match agent.map(AgentIdentity::user) {
        None => "no agent",
        Some(None) => "agent",
        Some(Some(_)) => "agent's user",
    }
}

impl TokenAcquisitionHooks for Recorder {
    fn before_acquisition_for_app(&self, acquisition: &mut AcquisitionForApp<'_>) {
        assert_eq!(acquisition.scopes, [GRAPH]);
        self.note(format!("app, {}", agent(acquisition.agent)));
        self.change(acquisition.options);
    }

    fn on_behalf_of_initialized(&self, initialized: &mut OnBehalfOfInitialized<'_>) {
        let upn =
            initialized.user_assertion().unverified_claims().expect("claims")["preferred_username"].clone();
        self.note(format!("initialized, {}, {upn}", agent(initialized.agent)));
        if let Some(replacement) = self.replacement.lock().expect("a replacement").clone() {
            initialized.replace_user_assertion(replacement);
        }
    }

    fn before_on_behalf_of(&self, acquisition: &mut AcquisitionOnBehalfOf<'_>) {
        let upn = acquisition.user_assertion.map(|assertion| {
            assertion.unverified_claims().expect("claims")["preferred_username"].to_string()
        });
        self.note(format!("on behalf of, {}, {}", agent(acquisition.agent), upn.unwrap_or_default()));
        self.change(acquisition.options);
    }

    fn before_test_user(&self, acquisition: &mut AcquisitionForTestUser<'_>) {
        assert!(!format!("{acquisition:?}").contains(acquisition.username));
        self.note(format!("test user, {}", acquisition.username));
        self.change(acquisition.options);
    }

    fn background_refresh_completed(&self, refresh: &BackgroundRefresh<'_>) {
        self.note(format!("refreshed {}, {}", refresh.flow, refresh.result.is_ok()));
    }

    fn token_request(&self, attempt: &TokenRequestAttempt<'_>) {
        self.attempts.lock().expect("attempts").push(Attempt {
            number: attempt.attempt,
            flow: attempt.flow,
            host: attempt.host.to_owned(),
            path: attempt.path.to_owned(),
            correlation_id: Some(attempt.correlation_id.to_string()),
            certificate: attempt.presents_certificate,
        });
    }
}

fn recorded() -> (Arc<Recorder>, Symbolon) {
    let recorder = Arc::new(Recorder::default());
    let symbolon = engine_with(|builder| builder.hooks(recorder.clone()));
    (recorder, symbolon)
}

/// What the authority saw, as the observer should have seen it.
fn as_attempts(flow: &'static str, log: &[LogEntry]) -> Vec<Attempt> {
    let attempt = |(number, entry): (u32, &LogEntry)| Attempt {
        number,
        flow,
        host: entry.host.clone(),
        path: entry.path.clone(),
        correlation_id: entry.header("client-request-id").map(str::to_owned),
        certificate: entry.client_certificate.is_some(),
    };
    (1..).zip(log).map(attempt).collect()
}

#[tokio::test]
async fn every_call_has_the_hooks_of_its_flow_once() {
    let world = World::start().await;
    let (recorder, symbolon) = recorded();
    let api = world.application(&symbolon, "web-api");
    let blueprint = world.application(&symbolon, "blueprint");
    let assertion = world.user_token(sample::ALICE, sample::WEB_API);
    let for_blueprint = world.user_token(sample::ALICE, sample::BLUEPRINT);
    let one = || AgentIdentity::app_only(sample::AGENT_ONE);
    let alice = || AgentIdentity::with_user_principal_name(sample::AGENT_ONE, sample::ALICE);
    let quoted = format!("{:?}", sample::ALICE);

    // Twice each: a call that the cache answers is a call.
    for _ in 0..2 {
        api.acquire_token_for_client([GRAPH]).await.expect("a token");
        assert_eq!(recorder.noted(), ["app, no agent"]);
        api.acquire_token_on_behalf_of([GRAPH], &assertion).await.expect("a token");
        let both = [format!("initialized, no agent, {quoted}"), format!("on behalf of, no agent, {quoted}")];
        assert_eq!(recorder.noted(), both);
        let key = SessionKey::from("a key");
        api.initiate_long_running_process([GRAPH], &assertion, key).await.expect("a token");
        assert_eq!(recorder.noted(), both);
        api.acquire_token_in_long_running_process([GRAPH], "a key").await.expect("a token");
        assert_eq!(recorder.noted(), ["on behalf of, no agent, "]);
        api.acquire_token_by_username_password([GRAPH], sample::BOB, sample::BOB_PASSWORD)
            .await
            .expect("a token");
        assert_eq!(recorder.noted(), [format!("test user, {}", sample::BOB)]);

        blueprint.acquire_token_for_agent(one(), [GRAPH]).await.expect("a token");
        assert_eq!(recorder.noted(), ["app, agent"]);
        blueprint.acquire_token_for_agent(alice(), [GRAPH]).await.expect("a token");
        assert_eq!(recorder.noted(), ["app, agent's user"]);
        let on_behalf_of = blueprint.acquire_token_for_agent(one(), [GRAPH]);
        on_behalf_of.with_user_assertion(&for_blueprint).await.expect("a token");
        assert_eq!(
            recorder.noted(),
            [format!("initialized, agent, {quoted}"), format!("on behalf of, agent, {quoted}")]
        );
    }
}

#[tokio::test]
async fn the_observer_sees_every_attempt_that_the_authority_sees() {
    let world = World::start().await;
    let (recorder, symbolon) = recorded();
    let blueprint = world.application(&symbolon, "blueprint-bound");
    let alice = AgentIdentity::with_user_principal_name(sample::BOUND_AGENT, sample::ALICE);
    let fault = Fault::Status { status: 500, retry_after: None, body: None };
    world.authority.faults().add(FaultRule::once(fault.clone()).skip(1));
    let id = Uuid::new_v4();
    let acquire = || blueprint.acquire_token_for_agent(alice.clone(), [GRAPH]).with_correlation_id(id);
    let (token, log) = world.seen(acquire()).await;
    token.expect("a token");
    assert_eq!(log.len(), 4, "three legs and a retry");
    assert!(log.iter().any(|entry| entry.client_certificate.is_some()));
    assert!(log.iter().any(|entry| entry.client_certificate.is_none()));
    let attempts = recorder.attempted();
    assert_eq!(attempts, as_attempts("for-agent", &log));
    assert!(attempts.iter().all(|attempt| attempt.correlation_id == Some(id.to_string())));

    acquire().await.expect("the cached token");
    assert_eq!(recorder.attempted(), []);

    let api = world.application(&symbolon, "web-api");
    let assertion = world.user_token(sample::ALICE, sample::WEB_API);
    world.authority.faults().add(FaultRule::once(fault).times(2));
    let (token, log) = world.seen(api.acquire_token_on_behalf_of([GRAPH], &assertion)).await;
    token.expect_err("no token");
    assert_eq!(log.len(), 2);
    assert_eq!(recorder.attempted(), as_attempts("on-behalf-of", &log));
}

#[tokio::test]
async fn a_replaced_assertion_is_what_is_sent_and_seen() {
    let world = World::start().await;
    let (recorder, symbolon) = recorded();
    let api = world.application(&symbolon, "web-api");
    let [alice, bob] = [sample::ALICE, sample::BOB].map(|user| world.user_token(user, sample::WEB_API));
    *recorder.replacement.lock().expect("a replacement") = Some(bob.clone());

    let (token, log) = world.seen(api.acquire_token_on_behalf_of([GRAPH], &alice)).await;
    assert_eq!(claims(token.expect("a token").access_token())["upn"], sample::BOB);
    let (_, sent) = log[0].form_token("assertion").expect("an assertion");
    assert_eq!(*sent, claims(&bob));
    let expected = [
        format!("initialized, no agent, {:?}", sample::ALICE),
        format!("on behalf of, no agent, {:?}", sample::BOB),
    ];
    assert_eq!(recorder.noted(), expected);
    assert!(!format!("{:?}", api.acquire_token_on_behalf_of([GRAPH], &alice)).contains(&alice));

    // The cache has it under the assertion that counted, for whoever brings that one.
    *recorder.replacement.lock().expect("a replacement") = None;
    let (token, log) = world.seen(api.acquire_token_on_behalf_of([GRAPH], &bob)).await;
    assert_eq!(
        (claims(token.expect("a token").access_token())["upn"].as_str(), log.len()),
        (Some(sample::BOB), 0)
    );
    let (token, log) = world.seen(api.acquire_token_on_behalf_of([GRAPH], &alice)).await;
    assert_eq!(
        (claims(token.expect("a token").access_token())["upn"].as_str(), log.len()),
        (Some(sample::ALICE), 1)
    );

    // A key that is allocated is that of the assertion that counted.
    *recorder.replacement.lock().expect("a replacement") = Some(bob.clone());
    let mut key = SessionKey::AllocateForMe;
    api.initiate_long_running_process([GRAPH], &alice, &mut key).await.expect("a token");
    let hash = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&bob));
    assert_eq!(key.get(), Some(hash.as_str()));
}

#[tokio::test]
async fn the_cache_is_asked_for_what_the_hooks_made_of_a_request() {
    let world = World::start().await;
    let (recorder, symbolon) = recorded();
    let api = world.application(&symbolon, "web-api");
    let requests = async || world.seen(api.acquire_token_for_client([GRAPH])).await.1;

    assert_eq!(requests().await.len(), 1);
    assert_eq!(requests().await.len(), 0);
    recorder.change_by(|options| options.set_extra_query_parameter("slice", "testslice"));
    let log = requests().await;
    assert_eq!(log.len(), 1, "another token");
    assert_eq!(
        serde_json::json!(log[0].query),
        serde_json::json!([{ "name": "slice", "value": "testslice" }])
    );
    assert_eq!(requests().await.len(), 0);
    recorder.change_by(|options| options.set_force_refresh(true));
    assert_eq!(requests().await.len(), 1);
    assert_eq!(requests().await.len(), 1);
    recorder.change_by(|options| options.set_claims(String::from(r#"{"access_token":{"a":null}}"#)));
    assert_eq!(requests().await[0].form_text("claims"), Some(r#"{"access_token":{"a":null}}"#));
    recorder.change_by(|options| options.set_tenant_id(String::from("fabrikam.com")));
    assert_eq!(requests().await[0].tenant.as_deref(), Some("fabrikam.com"));
    assert_eq!(requests().await.len(), 0);
    recorder.change_by(|options| {
        options.set_extra_body_parameter("hooked", "1");
        options.set_correlation_id(Uuid::from_u128(7));
    });
    let log = requests().await;
    assert!(log[0].form_names().any(|name| name == "hooked"));
    assert_eq!(log[0].header("client-request-id"), Some("00000000-0000-0000-0000-000000000007"));
    // The hooks have the last word, and only they made the difference.
    recorder.change_by(|options| options.set_claims(None));
    let cached = world.seen(api.acquire_token_for_client([GRAPH]).with_claims("{}")).await;
    assert_eq!((cached.0.is_ok(), cached.1.len()), (true, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_in_the_background_is_told() {
    let (world, plain, clock) = World::timed().await;
    drop(plain);
    let recorder = Arc::new(Recorder::default());
    let symbolon = engine_with(|builder| builder.clock(clock.clone()).hooks(recorder.clone()));
    let application = world.application(&symbolon, "refresh");
    application.acquire_token_for_client([GRAPH]).await.expect("a token");
    assert_eq!(recorder.noted(), ["app, no agent"]);

    let fault = Fault::Status { status: 400, retry_after: None, body: None };
    world.authority.faults().add(FaultRule::once(fault));
    let told = || recorder.lines.lock().expect("lines").len() == 2;
    for (hours, expected) in [(13, "refreshed for-client, false"), (1, "refreshed for-client, true")] {
        clock.advance(hours * 60 * 60 * 1000);
        application.acquire_token_for_client([GRAPH]).await.expect("the token that still stands");
        until(told).await;
        assert_eq!(recorder.noted(), ["app, no agent", expected]);
    }
}

#[tokio::test]
async fn an_applications_own_hooks_come_after_those_of_the_engine() {
    struct Says(&'static str);
    impl TokenAcquisitionHooks for Says {
        fn before_acquisition_for_app(&self, acquisition: &mut AcquisitionForApp<'_>) {
            let before = acquisition.options.extra_query_parameters().iter().map(|(_, value)| value.as_str());
            let said = before.chain([self.0]).collect::<String>();
            acquisition.options.set_extra_query_parameter("slice", said);
        }
    }
    let world = World::start().await;
    let symbolon = engine_with(|builder| builder.hooks(Arc::new(Says("a"))).hooks(Arc::new(Says("b"))));
    let options = world.options("secret", |_| {}).expect("options");
    let own = symbolon.application_with_hooks(options.clone(), Arc::new(Says("c"))).expect("an application");
    let (_, log) = world.seen(own.acquire_token_for_client([GRAPH])).await;
    assert_eq!(serde_json::json!(log[0].query[0].value), "abc");
    let (_, log) = world
        .seen(symbolon.application(options).expect("an application").acquire_token_for_client([GRAPH]))
        .await;
    assert_eq!(serde_json::json!(log[0].query[0].value), "ab");
    let (_, log) = world.seen(world.application(&engine(), "secret").acquire_token_for_client([GRAPH])).await;
    assert!(log[0].query.is_empty());
}
