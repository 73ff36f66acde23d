//! How a certificate is presented: on connections that are preferred and give way, without an assertion, with claims and a
//! chain of the caller's choice; and who learns that it was accepted.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use symbolon::{
    Application, ApplicationId, CertificateAction, CertificateEvent, DeselectionReason, ErrorKind, Symbolon,
};
use symbolon_authority::{CONTOSO, Flow as Grant, LogEntry, REDIRECT_URI, Registration, sample};
use symbolon_end_to_end::flows::Flow;
use symbolon_end_to_end::{EXCHANGE, GRAPH, VAULT, World, claims, engine, engine_with};
use tracing_subscriber::fmt::MakeWriter;
use uuid::Uuid;

const LOGIN: &str = "login.microsoftonline.com";
const MTLS: &str = "mtlsauth.microsoft.com";

/// The registration of the sample application `web-api-bound`.
fn registration(world: &World) -> Registration {
    let certificate = std::fs::read_to_string(world.path("client.crt")).expect("the sample's certificate");
    let registration = Registration::new(sample::WEB_API_BOUND).certificate_pem(&certificate);
    registration.expect("a certificate").redirect_uri(REDIRECT_URI).names_users(true)
}

/// The application `web-api-bound`, under a name of its own, whose entry says this.
fn saying(world: &World, symbolon: &Symbolon, says: Value) -> Application {
    let options = world.options("web-api-bound", |settings| {
        let entry = settings["AzureAd"]["ClientCredentials"][0].as_object_mut().expect("an entry");
        entry.remove("UseBoundCredential");
        entry.extend(says.as_object().cloned().unwrap_or_default());
    });
    let id = ApplicationId::new(Uuid::new_v4().to_string());
    symbolon.application(options.expect("options").with_id(id)).expect("an application")
}

fn preferring(world: &World, symbolon: &Symbolon) -> Application {
    saying(world, symbolon, json!({ "PreferBoundCredential": true }))
}

/// Where the requests went, whether the certificate was presented, and what was answered.
async fn ways<F: IntoFuture>(world: &World, request: F) -> (F::Output, Vec<(String, bool, Option<u32>)>) {
    let (output, seen) = world.seen(request).await;
    let way = |entry: LogEntry| (entry.host, entry.client_certificate.is_some(), entry.aadsts);
    (output, seen.into_iter().map(way).collect())
}

fn way(host: &str, certificate: bool, aadsts: Option<u32>) -> (String, bool, Option<u32>) {
    (host.to_owned(), certificate, aadsts)
}

/// Log lines, for the thread that has them as its subscriber.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn with(&self, text: &str) -> Vec<String> {
        let bytes = self.0.lock().expect("lines").clone();
        let lines = String::from_utf8(bytes).expect("UTF-8");
        lines.lines().filter(|line| line.contains(text)).map(String::from).collect()
    }

    fn keep(&self) -> tracing::subscriber::DefaultGuard {
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(self.clone());
        tracing::subscriber::set_default(subscriber.with_max_level(tracing::Level::DEBUG).finish())
    }
}

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("lines").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn a_preferred_connection_gives_way_for_ten_minutes_with_one_event() {
    let (world, symbolon, clock) = World::timed().await;
    for (registration, code) in [
        (registration(&world).mtls(false), 51_000),
        (registration(&world).mtls(true).mtls_flows([]), 392_189),
    ] {
        world.authority.register(registration);
        let application = preferring(&world, &symbolon);
        let acquire = || application.acquire_token_for_client([GRAPH]).with_force_refresh(true);
        let lines = Lines::default();
        let _guard = lines.keep();
        let (token, seen) = ways(&world, acquire()).await;
        assert_eq!(token.expect("a token").token_type(), "Bearer");
        assert_eq!(seen, [way(MTLS, true, Some(code)), way(LOGIN, false, None)]);
        clock.advance(9 * 60_000);
        assert_eq!(ways(&world, acquire()).await.1, [way(LOGIN, false, None)], "remembered");
        let events = lines.with("connections aren't bound to the credential that prefers it");
        assert!(events.len() == 1 && events[0].contains("WARN"), "{events:?}");
        assert!(events[0].contains(&code.to_string()) && events[0].contains(MTLS), "{events:?}");

        clock.advance(2 * 60_000);
        world.authority.register(self::registration(&world).mtls(true));
        assert_eq!(ways(&world, acquire()).await.1, [way(MTLS, true, None)], "enabled meanwhile");
        assert_eq!(lines.with("connections aren't bound").len(), 1);
    }
}

/// The authority refuses the client before it looks at what the client brings, so a code is as good as before.
#[tokio::test]
async fn users_get_their_tokens_on_another_connection() {
    let (world, symbolon) = (World::start().await, engine());
    world.authority.register(registration(&world).mtls(false));
    for flow in [Flow::OnBehalfOf, Flow::ByRefreshToken, Flow::ByCode] {
        let application = preferring(&world, &symbolon);
        let scenario = flow.prepare_for(&world, application).await.expect("what comes before");
        let (token, seen) = ways(&world, scenario.acquire()).await;
        assert!(token.expect("a token").account().is_some(), "{flow:?}");
        assert_eq!(seen, [way(MTLS, true, Some(51_000)), way(LOGIN, false, None)], "{flow:?}");
    }
}

/// An assertion that is bound to a certificate is no use elsewhere, so another one is acquired, and asked for first from then
/// on.
#[tokio::test]
async fn a_token_of_another_application_gives_way_too() {
    let (world, symbolon) = (World::start().await, engine());
    let (application, registration) =
        standing_on(&world, &symbolon, "bound", json!({ "PreferBoundCredential": true })).await;
    let acquire = async || {
        let request = application.acquire_token_for_client([GRAPH]).with_force_refresh(true);
        let (token, mut seen) = world.seen(request).await;
        token.expect("a token");
        seen.retain(|entry| entry.form_text("client_id") == Some(sample::WEB_API_BOUND));
        let shown =
            |entry: LogEntry| (entry.host.clone(), entry.form_text("client_assertion_type").map(kind));
        seen.into_iter().map(shown).collect::<Vec<_>>()
    };
    let bound = (MTLS.to_owned(), Some("jwt-pop".to_owned()));
    let unbound = (LOGIN.to_owned(), Some("jwt-bearer".to_owned()));
    world.authority.register(registration.clone().mtls(false));
    assert_eq!(acquire().await, [bound, unbound.clone()]);
    world.authority.register(registration);
    assert_eq!(acquire().await, [unbound]);
}

/// Where the other application gets no bound tokens, it isn't asked for them each time.
#[tokio::test]
async fn another_application_without_bound_tokens_is_asked_for_one_once() {
    let (world, symbolon, clock) = World::timed().await;
    let (application, _) =
        standing_on(&world, &symbolon, "certificate", json!({ "PreferBoundCredential": true })).await;
    let acquire = || application.acquire_token_for_client([GRAPH]).with_force_refresh(true);
    let lines = Lines::default();
    let _guard = lines.keep();
    let inner = async || {
        let (token, seen) = world.seen(acquire()).await;
        token.expect("a token");
        let is_inner = |entry: &&LogEntry| entry.form_text("client_id") == Some(sample::CERTIFICATE);
        seen.iter().filter(is_inner).map(|entry| entry.aadsts).collect::<Vec<_>>()
    };
    assert_eq!(inner().await, [Some(51_000), None]);
    assert_eq!(inner().await, [], "its token is cached, and the refusal known");
    assert_eq!(lines.with("connections aren't bound to the credential that prefers it").len(), 1);
    clock.advance(11 * 60_000);
    assert_eq!(inner().await, [Some(51_000)]);
}

/// What an API demands, and what the application can handle, reaches the one who makes its assertion.
#[tokio::test]
async fn claims_and_capabilities_reach_other_applications() {
    const CHALLENGE: &str = r#"{"access_token":{"nbf":{"essential":true,"value":"1701477303"}}}"#;
    let (world, symbolon) = (World::start().await, engine());
    let (application, _) = standing_on(&world, &symbolon, "certificate", json!({})).await;
    let requests = async |claims: Option<&str>| {
        let request = application.acquire_token_for_client([GRAPH]);
        let request = match claims {
            Some(claims) => request.with_claims(claims),
            None => request,
        };
        let (token, seen) = world.seen(request).await;
        token.expect("a token");
        let of = |entry: &LogEntry| {
            let claims =
                entry.form_text("claims").and_then(|claims| serde_json::from_str::<Value>(claims).ok());
            (
                entry.form_text("client_id").map(String::from),
                claims.unwrap_or_default()["access_token"].clone(),
            )
        };
        seen.iter().map(of).collect::<Vec<_>>()
    };
    let (inner, outer) = (Some(sample::CERTIFICATE.to_owned()), Some(sample::WEB_API_BOUND.to_owned()));
    let capable = json!({ "xms_cc": { "values": ["cp1"] } });
    assert_eq!(requests(None).await, [(inner.clone(), capable.clone()), (outer.clone(), capable)]);
    let challenged = json!({
        "xms_cc": { "values": ["cp1"] }, "nbf": { "essential": true, "value": "1701477303" },
    });
    assert_eq!(requests(Some(CHALLENGE)).await, [(inner, challenged.clone()), (outer, challenged)]);
}

/// The application `web-api-bound`, which can handle claims challenges, with a token of the sample as its credential.
async fn standing_on(
    world: &World,
    symbolon: &Symbolon,
    sample: &str,
    says: Value,
) -> (Application, Registration) {
    let inner = world.application(symbolon, sample);
    let token = inner.acquire_token_for_client([EXCHANGE]).await.expect("a token of the other one");
    let subject = claims(token.access_token())["sub"].as_str().expect("a subject").to_owned();
    let issuer = format!("https://login.microsoftonline.com/{CONTOSO}/v2.0");
    let registration = registration(world).mtls(true);
    let registration = registration.federated_credential(&issuer, &subject, "api://AzureADTokenExchange");
    world.authority.register(registration.clone());
    let options = world.options("web-api-bound", |settings| {
        settings["Other"] = world.settings(sample)["AzureAd"].clone();
        settings["AzureAd"]["ClientCapabilities"] = json!(["cp1"]);
        let mut entry = json!({
            "SourceType": "CustomSignedAssertion",
            "CustomSignedAssertionProviderName": "OidcIdpSignedAssertion",
            "CustomSignedAssertionProviderData": { "ConfigurationSection": "Other" },
        });
        entry.as_object_mut().expect("an entry").extend(says.as_object().cloned().unwrap_or_default());
        settings["AzureAd"]["ClientCredentials"] = json!([entry]);
    });
    let id = ApplicationId::new(Uuid::new_v4().to_string());
    (symbolon.application(options.expect("options").with_id(id)).expect("an application"), registration)
}

fn kind(urn: &str) -> String {
    urn.rsplit(':').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_certificate_alone_proves_the_client_where_that_is_enabled() {
    let (world, symbolon) = (World::start().await, engine());
    for flow in
        [Flow::ForClient, Flow::OnBehalfOf, Flow::GoOn, Flow::Silent, Flow::ByRefreshToken, Flow::ByCode]
    {
        world.authority.register(registration(&world).mtls(true).tls_client_auth(true));
        let says = json!({ "UseBoundCredential": true, "OmitAssertionWhenBound": true });
        let application = saying(&world, &symbolon, says);
        let scenario = flow.prepare_for(&world, application).await.expect("what comes before");
        let (token, seen) = world.seen(scenario.acquire()).await;
        assert_eq!(token.expect("a token").token_type(), "Bearer", "{flow:?}");
        let [request] = seen.as_slice() else { panic!("{flow:?}: {} requests", seen.len()) };
        assert!(request.client_certificate.is_some() && request.client_assertion().is_none(), "{flow:?}");
        assert_eq!(request.form_text("client_id"), Some(sample::WEB_API_BOUND));
        assert_eq!(request.form_text("client_assertion_type"), None);

        // As Entra ID is today.
        world.authority.register(registration(&world).mtls(true));
        let refused = scenario.application.acquire_token_for_client([VAULT]).await;
        let error = refused.expect_err("an assertion is wanted");
        assert_eq!((error.code(), error.aadsts_codes()), ("invalid_client", [7_000_218].as_slice()));
    }
}

#[tokio::test]
async fn assertions_carry_claims_and_a_chain_as_the_caller_likes() {
    let (world, symbolon) = (World::start().await, engine());
    let application = saying(&world, &symbolon, json!({}));
    let claims = r#"{"xms_az_nwperimid":["perimeter"]}"#;
    let acquire = || application.acquire_token_for_client([GRAPH]);
    let assertion = |seen: &[LogEntry]| {
        let (header, payload) = seen[0].client_assertion().expect("an assertion");
        (header.clone(), payload.clone())
    };
    let (token, seen) = world.seen(acquire().with_extra_client_assertion_claims(claims)).await;
    let token = token.expect("a token");
    let (header, payload) = assertion(&seen);
    assert_eq!((&payload["xms_az_nwperimid"], &header["x5c"]), (&json!(["perimeter"]), &json!(null)));
    let (again, seen) = world.seen(acquire().with_extra_client_assertion_claims(claims)).await;
    assert_eq!((again.expect("a token").access_token(), seen.len()), (token.access_token(), 0));
    let (other, seen) = world.seen(acquire().with_send_x5c(true)).await;
    assert_ne!(other.expect("a token").access_token(), token.access_token(), "without the claims");
    let (header, payload) = assertion(&seen);
    assert_eq!((header["x5c"]["form"].as_str(), payload.get("xms_az_nwperimid")), (Some("array"), None));
    assert_eq!(world.seen(acquire().with_send_x5c(false)).await.1.len(), 0, "the same token");

    let assertion = world.user_token(sample::ALICE, sample::WEB_API_BOUND);
    let exchange = application.acquire_token_on_behalf_of([GRAPH], &assertion);
    let (token, seen) = world.seen(exchange.with_extra_client_assertion_claims(claims)).await;
    token.expect("a token");
    let (_, payload) = seen[0].client_assertion().expect("an assertion");
    assert_eq!(payload["xms_az_nwperimid"], json!(["perimeter"]));

    for (claims, code) in [("7", "invalid_json_claims_format"), (r#"{"exp":1}"#, "reserved_claim")] {
        let error = acquire().with_extra_client_assertion_claims(claims).await.expect_err("refused");
        assert_eq!(error.code(), code);
    }
    let bound = acquire().with_extra_client_assertion_claims(claims).with_mtls_proof_of_possession();
    assert_eq!(bound.await.expect_err("no assertion").code(), "mtls_certificate_not_provided");
}

/// What became of a certificate, and of which application's.
type Event = (String, CertificateAction, String);

/// An engine that keeps what observers of certificates are told.
fn observed() -> (Symbolon, Arc<Mutex<Vec<Event>>>) {
    let events: Arc<Mutex<Vec<Event>>> = Arc::default();
    let told = events.clone();
    let observer = move |event: &CertificateEvent<'_>| {
        assert!(event.credential_id.contains("Thumbprint="), "{}", event.credential_id);
        assert_eq!(event.credential, "ClientCredentials[0] (Path)");
        let thumbprint = event.certificate.thumbprint_sha256().to_owned();
        told.lock().expect("events").push((event.application.as_str().to_owned(), event.action, thumbprint));
    };
    (engine_with(|builder| builder.certificate_observer(Arc::new(observer))), events)
}

#[tokio::test]
async fn observers_learn_of_certificates_that_were_accepted_in_every_flow() {
    let world = World::start().await;
    let (symbolon, events) = observed();
    let take = || std::mem::take(&mut *events.lock().expect("events"));
    for flow in Flow::ALL {
        world.authority.register(registration(&world).mtls(true).mtls_flows(Grant::ALL));
        let options = world.options(flow.bound_sample(), |_| {}).expect("options");
        let id = ApplicationId::new(format!("{flow:?}"));
        let application = symbolon.application(options.with_id(id)).expect("an application");
        let scenario = flow.prepare_for(&world, application).await.expect("what comes before");
        let before = take();
        scenario.acquire().await.unwrap_or_else(|error| panic!("{flow:?}: {error}"));
        let after = take();
        let actions = |events: &[Event]| events.iter().map(|event| event.1).collect::<Vec<_>>();
        let told = [actions(&before), actions(&after)].concat();
        assert_eq!(told.first(), Some(&CertificateAction::Selected), "{flow:?}");
        let used = |actions: Vec<CertificateAction>| {
            actions.iter().filter(|action| **action == CertificateAction::SuccessfullyUsed).count()
        };
        // Agents prove themselves by a token of their blueprint, which is there already.
        let is_agents = flow.is_for_agent();
        assert_eq!(used(actions(&after)), usize::from(!is_agents), "{flow:?}: {after:?}");
        assert!(used(actions(&before)) > 0 || !is_agents, "{flow:?}: {before:?}");
        assert!(before.iter().chain(&after).all(|event| event.0 == format!("{flow:?}")), "{flow:?}");
        // What the cache answers is no news.
        if matches!(flow, Flow::ForClient | Flow::OnBehalfOf) {
            scenario.acquire().await.expect("the same token");
            assert_eq!(take(), []);
        }
    }
}

#[tokio::test]
async fn observers_learn_of_the_certificates_of_nested_acquisitions_and_of_refusals() {
    let world = World::start().await;
    let (symbolon, events) = observed();
    let application = world.application(&symbolon, "web-api-bound");
    application.acquire_token_for_client([GRAPH]).await.expect("a token");
    world.authority.register(Registration::new(sample::WEB_API_BOUND).mtls(true));
    let lines = Lines::default();
    let guard = lines.keep();
    let forced = application.acquire_token_for_client([GRAPH]).with_force_refresh(true);
    let error = forced.await.expect_err("the certificate isn't registered any more");
    drop(guard);
    assert_eq!(error.acquisition().map(|error| error.kind), Some(ErrorKind::InvalidClient));
    let told = std::mem::take(&mut *events.lock().expect("events"));
    let actions: Vec<_> = told.iter().map(|event| event.1).collect();
    let expected = [
        CertificateAction::Selected,
        CertificateAction::SuccessfullyUsed,
        CertificateAction::Deselected(DeselectionReason::Rejected),
        CertificateAction::Selected,
    ];
    assert_eq!(actions, expected, "{told:?}");
    assert!(told.windows(2).all(|pair| pair[0].2 == pair[1].2), "one certificate");
    let logged = lines.with("certificate event");
    assert!(logged.iter().any(|line| line.contains("Deselected(Rejected)")), "{logged:?}");

    let options = world.options("federated", |settings| {
        settings["Other"] = world.settings("bound")["AzureAd"].clone();
        settings["AzureAd"]["ClientCredentials"] = json!([{
            "SourceType": "CustomSignedAssertion",
            "CustomSignedAssertionProviderName": "OidcIdpSignedAssertion",
            "CustomSignedAssertionProviderData": { "ConfigurationSection": "Other" },
        }]);
    });
    let outer = symbolon.application(options.expect("options")).expect("an application");
    outer.acquire_token_for_client([GRAPH]).await.expect_err("nobody trusts the other one");
    let told = std::mem::take(&mut *events.lock().expect("events"));
    let actions: Vec<_> = told.iter().map(|event| event.1).collect();
    assert_eq!(actions, [CertificateAction::Selected, CertificateAction::SuccessfullyUsed], "{told:?}");
    assert_ne!(told[0].0, outer.options().id().as_str());
}
