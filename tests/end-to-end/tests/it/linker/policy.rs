//! What a guest isn't allowed it doesn't get, and nobody is asked for it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use symbolon::linker::{
    GuestAcquisition, GuestCtx, GuestFlow, GuestHooks, GuestPolicy, GuestRefusal, GuestSend, TokenForm,
};
use symbolon::{AgentIdentity, Application};
use symbolon_authority::{CONTOSO, FABRIKAM, sample};
use symbolon_end_to_end::apis::of_tokens;
use symbolon_end_to_end::{GRAPH, VAULT, World, claims, engine};

use super::plugin::host;

fn for_client() -> GuestPolicy {
    GuestPolicy::new().allow_flow(GuestFlow::ForClient).allow_scopes([GRAPH])
}

fn raw(policy: GuestPolicy) -> GuestPolicy {
    policy.token_form(TokenForm::Raw)
}

fn guest(application: &Application, policy: GuestPolicy) -> GuestCtx {
    GuestCtx::new("a guest", application.clone(), policy)
}

/// The token that a step brought.
fn token(said: &str) -> &str {
    let token = said.strip_prefix("raw ").and_then(|rest| rest.split(' ').next());
    token.unwrap_or_else(|| panic!("no token: {said}"))
}

fn is_refused(said: &str) -> bool {
    said.starts_with("ErrorKind::InvalidRequest not_allowed: ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_policy_a_guest_has_nothing() {
    let Some(host) = host() else { return };
    let world = World::start().await;
    let application = world.application(&engine(), "web-api");
    let mut plugin = host.plugin(&guest(&application, GuestPolicy::new())).await;
    let scope = format!("scope={GRAPH}");
    for step in [
        format!("acquire|for-client|{scope}"),
        format!("acquire|on-behalf-of|{scope}|assertion=a"),
        format!("acquire|initiate|{scope}|assertion=a"),
        format!("acquire|go-on|{scope}|session-key=k"),
        format!("acquire|silent|{scope}|account=a"),
        format!("acquire|by-refresh-token|{scope}|refresh-token=r"),
        format!("acquire|by-authorization-code|{scope}|code=c|redirect-uri=https://h"),
        format!("acquire|by-username-password|{scope}|username=u|password=p"),
        format!("acquire|by-user-federated-identity-credential|{scope}|username=u|assertion=a"),
        format!("acquire|for-agent|{scope}|agent={}", sample::AGENT_ONE),
        format!("acquire|for-managed-identity|{scope}"),
        format!("authorize|{scope}|redirect-uri=https://h"),
        "accounts".to_owned(),
        "remove-account|a".to_owned(),
        "stop|k".to_owned(),
    ] {
        let said = plugin.step(&step).await;
        assert!(is_refused(&said), "{step}: {said}");
        // The flow alone isn't enough either: no scope is allowed yet.
    }
    assert_eq!(world.authority.log().len(), 0, "nobody was asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_gets_what_is_allowed_and_nothing_beside() {
    let Some(host) = host() else { return };
    let world = World::start().await;
    let application = world.application(&engine(), "secret");
    let mut plugin = host.plugin(&guest(&application, raw(for_client()))).await;
    let acquire = format!("acquire|for-client|scope={GRAPH}");
    let said = plugin.step(&acquire).await;
    assert_eq!(claims(token(&said))["azp"], sample::SECRET);
    let asked = world.authority.log().len();

    for beside in [
        "acquire|for-client".to_owned(),
        format!("acquire|for-client|scope={VAULT}"),
        format!("{acquire}|scope={VAULT}"),
        format!("{acquire} {VAULT}"),
        format!("{acquire}|tenant=fabrikam.com"),
        format!("{acquire}|tenant="),
        format!("{acquire}|tenant=contoso.com/../fabrikam.com"),
        format!("{acquire}|authority=https://login.microsoftonline.com/fabrikam.com"),
        format!("{acquire}|fmi-path=a/b"),
        format!("{acquire}|attributes={{}}"),
        format!("{acquire}|attribute-token=a"),
        format!("{acquire}|client-assertion-fmi-path=a/b"),
        format!("{acquire}|extra-client-assertion-claims={{}}"),
        format!("{acquire}|send-x5c"),
        format!("{acquire}|cache-partition=a:b"),
        format!("{acquire}|query=dc:prod"),
        format!("{acquire}|encoded-query=dc:prod"),
        format!("{acquire}|parameter=scope:{VAULT}"),
        format!("{acquire}|parameter=client_id:{}", sample::CERTIFICATE),
        format!("{acquire}|token-header=x-a:b"),
        format!("{acquire}|correlation-id=no GUID"),
        format!("acquire|on-behalf-of|scope={GRAPH}|assertion=a"),
    ] {
        let said = plugin.step(&beside).await;
        assert!(is_refused(&said), "{beside}: {said}");
    }
    assert_eq!(world.authority.log().len(), asked, "nobody was asked");
    // Its own directory a guest may name, and claims it may give.
    let said = plugin.step(format!(r#"{acquire}|tenant={CONTOSO}|claims={{"access_token":{{}}}}"#)).await;
    assert_eq!(claims(token(&said))["azp"], sample::SECRET);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_context_that_a_guest_passes_is_ignored() {
    let Some(host) = host() else { return };
    let world = World::start().await;
    let application = world.application(&engine(), "secret");
    let mut plugin = host.plugin(&guest(&application, raw(for_client()))).await;
    let spoofed = format!("acquire|for-client|scope={GRAPH}|context={}", sample::CERTIFICATE);
    let said = plugin.step(spoofed).await;
    let claims = claims(token(&said));
    assert_eq!((claims["azp"].as_str(), claims["tid"].as_str()), (Some(sample::SECRET), Some(CONTOSO)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_may_be_allowed_by_name() {
    let Some(host) = host() else { return };
    let world = World::start().await;
    let application = world.application(&engine(), "secret");
    let mut plugin = host.plugin(&guest(&application, raw(for_client().allow_tenant("fabrikam.com")))).await;
    let acquire = format!("acquire|for-client|scope={GRAPH}");
    let said = plugin.step(format!("{acquire}|tenant=Fabrikam.com")).await;
    assert_eq!(claims(token(&said))["tid"], FABRIKAM);
    let by_id = plugin.step(format!("{acquire}|tenant={}", FABRIKAM)).await;
    assert!(is_refused(&by_id), "another name is another allowance: {by_id}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_is_allowed_with_its_user_or_without() {
    let Some(host) = host() else { return };
    let world = World::start().await;
    let application = world.application(&engine(), "blueprint");
    let with = |agent| raw(GuestPolicy::new().allow_scopes([GRAPH]).allow_flow(GuestFlow::ForAgent(agent)));
    let acquire = |agent: &str| format!("acquire|for-agent|scope={GRAPH}|agent={agent}");
    let (itself, alice, bob, other) = (
        acquire(sample::AGENT_ONE),
        format!("{}|username={}", acquire(sample::AGENT_ONE), sample::ALICE),
        format!("{}|username={}", acquire(sample::AGENT_ONE), sample::BOB),
        acquire(sample::AGENT_TWO),
    );

    let alone = guest(&application, with(AgentIdentity::app_only(sample::AGENT_ONE)));
    let said = host.plugin(&alone).await.steps([&itself, &alice, &other].map(Clone::clone)).await;
    assert_eq!(claims(token(&said[0]))["azp"], sample::AGENT_ONE);
    assert!(is_refused(&said[1]) && is_refused(&said[2]), "{said:?}");

    let for_alice = AgentIdentity::with_user_principal_name(sample::AGENT_ONE, sample::ALICE);
    let for_alice = guest(&application, with(for_alice));
    let said = host.plugin(&for_alice).await.steps([&alice, &itself, &bob].map(Clone::clone)).await;
    assert_eq!(claims(token(&said[0]))["upn"], sample::ALICE);
    assert!(is_refused(&said[1]) && is_refused(&said[2]), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_instances_of_a_guest_have_its_rate_together() {
    let Some(host) = host() else { return };
    let (world, engine, clock) = World::timed().await;
    let application = world.application(&engine, "secret");
    let guest = guest(&application, for_client().rate(3, Duration::from_secs(30)));
    let acquire = format!("acquire|for-client|scope={GRAPH}");
    let mut one = host.plugin(&guest).await;
    let mut other = host.plugin(&guest).await;
    assert!(one.step(&acquire).await.starts_with("sealed Bearer"));
    assert!(is_refused(&other.step("accounts").await), "what is refused counts too");
    assert!(other.step(&acquire).await.starts_with("sealed Bearer"));
    for plugin in [&mut one, &mut other] {
        let said = plugin.step(&acquire).await;
        assert!(said.starts_with("ErrorKind::Throttled rate_limited after 10000 ms: "), "{said}");
    }
    let sent = one.step("send|GET|https://api.contoso.test/").await;
    assert_eq!(sent, "ErrorCode::ConnectionLimitReached");
    clock.advance(10_000);
    assert!(one.step(&acquire).await.starts_with("sealed Bearer"));
    assert!(one.step(&acquire).await.contains("rate_limited"));
}

/// Allows what isn't asked for by POST, nor bound, and keeps a list.
#[derive(Default)]
struct Watchful(Mutex<Vec<String>>);

impl Watchful {
    fn note(&self, line: String) {
        self.0.lock().expect("no panic").push(line);
    }
}

impl GuestHooks for Watchful {
    fn allows_acquisition(&self, asked: &GuestAcquisition<'_>) -> bool {
        self.note(format!("{} asks {:?} {:?} {:?}", asked.guest, asked.flow, asked.scopes, asked.tenant_id));
        !asked.mtls_proof_of_possession
    }

    fn allows_send(&self, send: &GuestSend<'_>) -> bool {
        self.note(format!("{} sends {} {}{}", send.guest, send.method, send.host, send.path));
        send.method != http::Method::POST
    }

    fn refused(&self, guest: &str, refusal: &GuestRefusal) {
        self.note(format!("{guest} refused: {refusal:?}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_have_the_last_word_and_hear_of_refusals() {
    let Some(host) = host() else { return };
    let world = World::start().await;
    let api = world.api(of_tokens()).await;
    let application = world.caller(&engine(), "bound", &api, serde_json::json!({}));
    let policy = GuestPolicy::new().allow_flow(GuestFlow::ForClient);
    let policy = policy.allow_api(&api.url(), [GRAPH]).expect("an origin");
    let hooks = Arc::new(Watchful::default());
    let mut plugin = host.plugin(&GuestCtx::with_hooks("7", application, policy, hooks.clone())).await;
    let acquire = format!("acquire|for-client|scope={GRAPH}");
    let said = plugin
        .steps([
            acquire.clone(),
            format!("{acquire}|mtls-pop"),
            format!("acquire|for-client|scope={VAULT}"),
            "send|GET|https://api.contoso.test/a?b=c".to_owned(),
            "send|POST|https://api.contoso.test/d".to_owned(),
        ])
        .await;
    assert!(said[0].starts_with("sealed ") && is_refused(&said[1]) && is_refused(&said[2]), "{said:?}");
    assert!(said[3].starts_with("200\n"), "{said:?}");
    assert_eq!(said[4], "ErrorCode::HttpRequestDenied");
    let asks = format!("7 asks ForClient [{GRAPH:?}] None");
    assert_eq!(
        *hooks.0.lock().expect("no panic"),
        [
            asks.as_str(),
            &asks,
            "7 refused: Hooks",
            "7 refused: Scopes",
            "7 sends GET api.contoso.test/a",
            "7 sends POST api.contoso.test/d",
            "7 refused: Hooks",
        ]
    );
    assert_eq!(api.log().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_the_host_is_not_for_guests() {
    let Some(host) = host() else { return };
    let world = World::start().await;
    let application = world.application_with(&engine(), "secret", |settings| {
        settings["AzureAd"]["ClientCredentials"] = serde_json::json!([
            { "SourceType": "Path", "CertificateDiskPath": "a-directory-of-the-host/client.pem" }
        ]);
    });
    let mut plugin = host.plugin(&guest(&application, for_client())).await;
    let said = plugin.step(format!("acquire|for-client|scope={GRAPH}")).await;
    assert!(said.starts_with("ErrorKind::CredentialUnavailable "), "{said}");
    assert!(said.ends_with(": the host can't acquire this token; its log says why"), "{said}");
}
