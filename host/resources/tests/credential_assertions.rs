//! Credentials that are tokens of managed identities, of other applications and of registered providers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod certificates;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use certificates::Identity;
use serde_json::{Value, json};
use symbolon_resources::clock::ManualClock;
use symbolon_resources::configuration::{ApplicationOptions, Settings};
use symbolon_resources::credentials::{
    Acquisition, ApplicationTokenRequest, AssertionBinding, AssertionContext, AssertionRequest, Binding,
    BoxFuture, CredentialError, CredentialKind, CredentialProvider, CredentialServices,
    ManagedIdentityTokenRequest, Outcome, Purpose, SelectedCredential, SignedAssertion,
    SignedAssertionProvider, SigningBudget, SourceApplication, TokenSource, TokenSourceError,
};
use tokio::time::Instant;

const NOW: u64 = 1_700_000_000_000;

#[derive(Debug)]
enum Asked {
    Identity(ManagedIdentityTokenRequest),
    Application(ApplicationTokenRequest),
}

/// Gives the answers in order, and the last again and again.
#[derive(Default)]
struct Tokens {
    answers: Mutex<VecDeque<Result<SignedAssertion, TokenSourceError>>>,
    asked: Mutex<Vec<Asked>>,
}

impl Tokens {
    fn new(answers: impl IntoIterator<Item = Result<SignedAssertion, TokenSourceError>>) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers.into_iter().collect()), asked: Mutex::default() })
    }

    fn answer(&self, asked: Asked) -> BoxFuture<'_, Result<SignedAssertion, TokenSourceError>> {
        self.asked.lock().unwrap().push(asked);
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() };
        Box::pin(async move { answer })
    }

    fn identity(&self, index: usize) -> ManagedIdentityTokenRequest {
        match &self.asked.lock().unwrap()[index] {
            Asked::Identity(request) => request.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn application(&self, index: usize) -> ApplicationTokenRequest {
        match &self.asked.lock().unwrap()[index] {
            Asked::Application(request) => request.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl TokenSource for Tokens {
    fn managed_identity_token(
        &self,
        request: ManagedIdentityTokenRequest,
    ) -> BoxFuture<'_, Result<SignedAssertion, TokenSourceError>> {
        self.answer(Asked::Identity(request))
    }

    fn application_token(
        &self,
        request: ApplicationTokenRequest,
    ) -> BoxFuture<'_, Result<SignedAssertion, TokenSourceError>> {
        self.answer(Asked::Application(request))
    }
}

struct Setup {
    provider: CredentialProvider,
    clock: Arc<ManualClock>,
}

impl Setup {
    fn new(credentials: Value, tokens: &Arc<Tokens>) -> Self {
        Self::with(credentials, CredentialServices::new().with_token_source(tokens.clone()))
    }

    fn with(credentials: Value, services: CredentialServices) -> Self {
        let azure_ad =
            json!({ "ClientId": "app", "TenantId": "contoso.com", "ClientCredentials": credentials });
        let root =
            json!({ "AzureAd": azure_ad, "Inner": { "ClientId": "inner", "TenantId": "fabrikam.com" } });
        let options = ApplicationOptions::from_value(root).unwrap();
        let clock = Arc::new(ManualClock::new(NOW));
        Self { provider: CredentialProvider::with_services(&options, clock.clone(), services), clock }
    }

    async fn try_select(&self, purpose: Purpose) -> Result<SelectedCredential, CredentialError> {
        let acquisition = Acquisition::new(SigningBudget::new()).with_purpose(purpose);
        self.provider.select_for(&acquisition).await
    }

    async fn select(&self) -> SelectedCredential {
        self.try_select(Purpose::Authenticate).await.unwrap()
    }

    async fn reason(&self) -> String {
        reason(self.try_select(Purpose::Authenticate).await.unwrap_err())
    }
}

fn reason(error: CredentialError) -> String {
    match error {
        CredentialError::Unavailable(unavailable) => unavailable.entries()[0].reason.to_string(),
        error => panic!("{error}"),
    }
}

fn token(name: &str) -> Result<SignedAssertion, TokenSourceError> {
    Ok(SignedAssertion::new(name, Some(NOW / 1000 + 3600)))
}

fn bound(name: &str, binding: &Arc<Binding>) -> Result<SignedAssertion, TokenSourceError> {
    token(name).map(|token| token.with_binding(binding.clone()))
}

fn binding(name: &str) -> Arc<Binding> {
    Arc::new(Binding::from_bytes(Identity::rsa(name).pem().as_bytes(), None).unwrap())
}

fn context() -> AssertionContext {
    AssertionContext::new("app", "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token")
}

fn with_fallback(entry: Value) -> Value {
    json!([entry, { "SourceType": "ClientSecret", "ClientSecret": "fallback" }])
}

fn managed_identity(more: Value) -> Value {
    let mut entry = json!({ "SourceType": "SignedAssertionFromManagedIdentity" });
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    entry
}

fn other_application(requires_fmi_path: bool) -> Value {
    json!({
        "SourceType": "CustomSignedAssertion",
        "CustomSignedAssertionProviderName": "OidcIdpSignedAssertion",
        "CustomSignedAssertionProviderData": {
            "ConfigurationSection": "Inner",
            "RequiresSignedAssertionFmiPath": requires_fmi_path,
        },
    })
}

#[tokio::test]
async fn a_managed_identity_stands_in_for_an_assertion() {
    let tokens = Tokens::new([token("T1")]);
    let entry = managed_identity(json!({ "ManagedIdentityClientId": "user-assigned" }));
    let setup = Setup::new(json!([entry]), &tokens);
    let deadline = Instant::now() + Duration::from_secs(7);
    let acquisition = Acquisition::new(SigningBudget::new())
        .with_deadline(deadline)
        .with_depth(1)
        .with_correlation_id("correlation");
    let selected = setup.provider.select_for(&acquisition).await.unwrap();
    assert_eq!(selected.kind(), CredentialKind::SignedAssertion);
    assert_eq!(selected.assertion(&context()).await.unwrap().expose(), "T1");
    // The one of the selection.
    assert_eq!(tokens.count(), 1);
    let request = tokens.identity(0);
    assert_eq!(request.resource, "api://AzureADTokenExchange");
    assert_eq!(request.client_id.as_deref(), Some("user-assigned"));
    assert_eq!((request.binding, request.force_refresh), (AssertionBinding::Unbound, false));
    let nested = request.acquisition;
    assert_eq!((nested.deadline(), nested.depth()), (Some(deadline), 2));
    assert_eq!(nested.correlation_id(), Some("correlation"));
}

#[tokio::test]
async fn the_exchange_is_that_of_the_entry_and_without_default() {
    let tokens = Tokens::new([token("T1")]);
    let entry = managed_identity(json!({ "TokenExchangeUrl": "api://Mine/.default" }));
    Setup::new(json!([entry]), &tokens).select().await;
    assert_eq!(tokens.identity(0).resource, "api://Mine");
    assert_eq!(tokens.identity(0).client_id, None);
}

#[tokio::test]
async fn another_entry_stands_in_for_an_identity_that_is_not_there() {
    let refused = || Err(TokenSourceError::new("no answer from 169.254.169.254"));
    let tokens = Tokens::new([refused(), token("T1")]);
    let setup = Setup::new(with_fallback(managed_identity(json!({}))), &tokens);
    assert_eq!(setup.select().await.kind(), CredentialKind::ClientSecret);
    setup.clock.advance(29_999);
    assert_eq!(setup.select().await.kind(), CredentialKind::ClientSecret);
    assert_eq!(tokens.count(), 1);
    setup.clock.advance(1);
    assert_eq!(setup.select().await.kind(), CredentialKind::SignedAssertion);

    let asked = Err(TokenSourceError::new("throttled").with_retry_after(Duration::from_secs(90)));
    let setup = Setup::new(json!([managed_identity(json!({}))]), &Tokens::new([asked]));
    let error = setup.try_select(Purpose::Authenticate).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(90)));
    assert_eq!(reason(error), "the token that it needs could not be acquired: throttled");
}

#[tokio::test]
async fn a_refused_token_is_asked_for_anew_once() {
    let tokens = Tokens::new([token("T1"), token("T1"), token("T2")]);
    let setup = Setup::new(with_fallback(managed_identity(json!({}))), &tokens);
    let first = setup.select().await;
    setup.provider.report(&first, Outcome::Rejected);
    // The same again: then something else is preferred for a while.
    assert_eq!(setup.select().await.kind(), CredentialKind::ClientSecret);
    assert!(tokens.identity(1).force_refresh);
    setup.provider.report(&first, Outcome::Rejected);
    setup.clock.advance(9_999);
    let second = setup.select().await;
    assert_eq!(second.assertion(&context()).await.unwrap().expose(), "T2");
    assert!(!tokens.identity(2).force_refresh);
}

#[tokio::test]
async fn a_token_and_its_certificate_come_from_one_call() {
    let (one, other) = (binding("one"), binding("other"));
    let tokens = Tokens::new([bound("T1", &one), bound("T2", &one), bound("T3", &other)]);
    let setup = Setup::new(json!([managed_identity(json!({ "UseBoundCredential": true }))]), &tokens);
    let selected = setup.select().await;
    assert_eq!(tokens.identity(0).binding, AssertionBinding::Required);
    assert_eq!(selected.binding().unwrap().generation(), one.generation());
    // A key that answers in handshakes signs no assertions.
    let algorithm = symbolon_resources::credentials::SignatureAlgorithm::Ps256;
    assert!(matches!(selected.sign_assertion(algorithm, b"a.b"), Err(CredentialError::Unsupported(_))));
    let held = selected.assertion(&context()).await.unwrap();
    assert_eq!((held.expose(), held.binding().unwrap().generation()), ("T1", one.generation()));

    let mut challenged = context();
    challenged.claims = Some("{}".to_owned());
    let fresh = selected.assertion(&challenged).await.unwrap();
    assert_eq!((fresh.expose(), tokens.identity(1).claims.as_deref()), ("T2", Some("{}")));
    // An acquisition has one certificate.
    let error = selected.assertion(&challenged).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::ZERO));
    assert_eq!(
        reason(error),
        "the token that it needs could not be acquired: its certificate changed during the acquisition"
    );
}

#[tokio::test]
async fn use_bound_credential_wants_a_certificate() {
    let one = binding("one");
    for (written, purpose, wanted) in [
        (json!({}), Purpose::Authenticate, AssertionBinding::Unbound),
        (json!({}), Purpose::Bind, AssertionBinding::Required),
        (json!({ "UseBoundCredential": true }), Purpose::Authenticate, AssertionBinding::Required),
        (json!({ "UseBoundCredential": false }), Purpose::Authenticate, AssertionBinding::Unbound),
        (json!({ "PreferBoundCredential": true }), Purpose::Authenticate, AssertionBinding::Preferred),
    ] {
        for entry in [managed_identity(written.clone()), {
            let mut entry = other_application(false);
            entry.as_object_mut().unwrap().extend(written.as_object().unwrap().clone());
            entry
        }] {
            let tokens = Tokens::new([token("T1"), bound("T2", &one)]);
            let setup = Setup::new(json!([entry]), &tokens);
            let unbound = setup.try_select(purpose).await;
            match wanted {
                AssertionBinding::Required => {
                    let error = unbound.unwrap_err();
                    let CredentialError::Unavailable(unavailable) = &error else { panic!("{error}") };
                    assert_eq!(unavailable.entries()[0].reason.identity_web_code(), Some("IDW10115"));
                }
                _ => assert!(unbound.unwrap().binding().is_none()),
            }
            setup.clock.advance(30_000);
            // One that is bound all the same is used so.
            let selected = setup.try_select(purpose).await.unwrap();
            assert_eq!(selected.binding().unwrap().generation(), one.generation());
            let asked = match &tokens.asked.lock().unwrap()[0] {
                Asked::Identity(request) => request.binding,
                Asked::Application(request) => request.binding,
            };
            assert_eq!(asked, wanted);
        }
    }
}

#[tokio::test]
async fn what_can_not_be_bound_is_good_for_the_rest() {
    let tokens = Tokens::new([token("T1")]);
    let setup = Setup::new(json!([managed_identity(json!({}))]), &tokens);
    setup.try_select(Purpose::Bind).await.unwrap_err();
    assert_eq!(setup.select().await.kind(), CredentialKind::SignedAssertion);
}

#[tokio::test]
async fn another_application_stands_in() {
    let tokens = Tokens::new([token("T1"), token("T2")]);
    let setup = Setup::new(json!([other_application(false)]), &tokens);
    let selected = setup.select().await;
    assert_eq!(selected.assertion(&context()).await.unwrap().expose(), "T1");
    let request = tokens.application(0);
    assert!(matches!(request.application, SourceApplication::Section(section) if section == "Inner"));
    assert_eq!((request.scope.as_str(), request.context), ("api://AzureADTokenExchange/.default", None));
    // An agent's token is another one.
    let mut agent = context();
    agent.fmi_path = Some("agent".to_owned());
    assert_eq!(selected.assertion(&agent).await.unwrap().expose(), "T2");
    assert_eq!(tokens.application(1).context, Some(agent));
}

#[tokio::test]
async fn a_blueprint_waits_for_its_agent() {
    let tokens = Tokens::new([token("T1")]);
    let setup = Setup::new(json!([other_application(true)]), &tokens);
    let selected = setup.select().await;
    assert_eq!(tokens.count(), 0);
    let error = selected.assertion(&context()).await.unwrap_err();
    assert!(reason(error).starts_with("found RequiresSignedAssertionFmiPath and a request for no agent"));
    let mut agent = context();
    agent.fmi_path = Some("agent".to_owned());
    assert_eq!(selected.assertion(&agent).await.unwrap().expose(), "T1");
}

#[tokio::test]
async fn the_tenant_of_an_agents_request_is_that_of_its_blueprint() {
    let inner = ApplicationOptions::builder("inner").tenant_id("fabrikam.com").build().unwrap();
    let mut agent = context();
    assert_eq!(inner.federated_tenant(&agent), None);
    agent.fmi_path = Some("agent".to_owned());
    assert_eq!(inner.federated_tenant(&agent).as_deref(), Some("contoso.com"));
}

/// Gives an assertion that says what it was asked for.
struct Echo {
    bound: Option<Arc<Binding>>,
    asked: Mutex<Vec<(String, AssertionBinding)>>,
}

impl SignedAssertionProvider for Echo {
    fn assertion<'a>(
        &'a self,
        request: AssertionRequest<'a>,
    ) -> BoxFuture<'a, Result<SignedAssertion, Box<dyn std::error::Error + Send + Sync>>> {
        self.asked.lock().unwrap().push((request.context.token_endpoint.clone(), request.binding));
        Box::pin(async move {
            if request.context.client_id == "unknown" {
                return Err("no such client".into());
            }
            let assertion = SignedAssertion::new(format!("{:?}", request.data), None);
            Ok(match &self.bound {
                Some(binding) => assertion.with_binding(binding.clone()),
                None => assertion,
            })
        })
    }

    fn supports_token_binding(&self) -> bool {
        self.bound.is_some()
    }
}

fn echo(bound: Option<Arc<Binding>>) -> Arc<Echo> {
    Arc::new(Echo { bound, asked: Mutex::default() })
}

fn custom(more: Value) -> Value {
    let mut entry = json!({ "SourceType": "CustomSignedAssertion" });
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    entry
}

#[tokio::test]
async fn a_registered_provider_gets_its_data_and_the_request() {
    let provider = echo(None);
    let services = CredentialServices::new().with_assertion_provider("Mine", provider.clone());
    let data = json!({ "key": "value", "number": 1, "flag": true });
    let entry = custom(
        json!({ "CustomSignedAssertionProviderName": "Mine", "CustomSignedAssertionProviderData": data }),
    );
    let setup = Setup::with(json!([entry]), services);
    let selected = setup.select().await;
    // It isn't asked before a request needs it.
    assert!(provider.asked.lock().unwrap().is_empty());
    let made = selected.assertion(&context()).await.unwrap();
    assert_eq!(made.expose(), r#"[("flag", "true"), ("key", "value"), ("number", "1")]"#);
    assert_eq!(provider.asked.lock().unwrap()[0], (context().token_endpoint, AssertionBinding::Unbound));
    let error = selected.assertion(&AssertionContext::new("unknown", "")).await.unwrap_err();
    assert_eq!(reason(error), "the token that it needs could not be acquired: no such client");
    // What one request can't have doesn't speak against the next.
    selected.assertion(&context()).await.unwrap();
}

#[tokio::test]
async fn names_of_providers_are_checked_in_three_ways() {
    let nothing = CredentialServices::new;
    let some = || {
        CredentialServices::new()
            .with_assertion_provider("Mine", echo(None))
            .with_assertion_provider("Another", echo(None))
            .with_assertion_provider("OidcIdpSignedAssertion", echo(None))
    };
    let names = "accepted: \"Another\", \"Mine\", \"OidcIdpSignedAssertion\" (built in)";
    let built_in = "accepted: \"OidcIdpSignedAssertion\" (built in)";
    let theirs = || custom(json!({ "CustomSignedAssertionProviderName": "Theirs" }));
    for (entry, services, code, expected) in [
        (
            custom(json!({})),
            some(),
            "IDW10112",
            format!("found no CustomSignedAssertionProviderName; {names}"),
        ),
        (
            theirs(),
            some(),
            "IDW10113",
            format!("found the provider \"Theirs\", which isn't registered; {names}"),
        ),
        (
            theirs(),
            nothing(),
            "IDW10114",
            format!("found the provider \"Theirs\", and no provider is registered at all; {built_in}"),
        ),
    ] {
        let setup = Setup::with(json!([entry.clone()]), services.clone());
        let error = setup.try_select(Purpose::Authenticate).await.unwrap_err();
        let CredentialError::Unavailable(unavailable) = &error else { panic!("{error}") };
        assert_eq!(unavailable.entries()[0].reason.identity_web_code(), Some(code));
        // Waiting registers nothing.
        assert_eq!(error.retry_after(), None);
        assert_eq!(setup.reason().await, expected);
        let fallback = Setup::with(with_fallback(entry), services).select().await;
        assert_eq!(fallback.kind(), CredentialKind::ClientSecret);
    }
}

#[tokio::test]
async fn of_two_providers_with_one_name_the_first_stays() {
    let (first, second) = (echo(None), echo(None));
    let services = CredentialServices::new()
        .with_assertion_provider("Mine", first.clone())
        .with_assertion_provider("Mine", second.clone());
    let setup =
        Setup::with(json!([custom(json!({ "CustomSignedAssertionProviderName": "Mine" }))]), services);
    setup.select().await.assertion(&context()).await.unwrap();
    assert_eq!((first.asked.lock().unwrap().len(), second.asked.lock().unwrap().len()), (1, 0));
}

#[tokio::test]
async fn a_provider_that_binds_tells_its_certificate_beforehand() {
    let certificate = binding("provider");
    let provider = echo(Some(certificate.clone()));
    let services = CredentialServices::new().with_assertion_provider("Mine", provider.clone());
    let entry = |more: Value| {
        let mut entry = custom(json!({ "CustomSignedAssertionProviderName": "Mine" }));
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([entry])
    };
    let wanted = Setup::with(entry(json!({ "UseBoundCredential": true })), services.clone()).select().await;
    assert_eq!(wanted.binding().unwrap().generation(), certificate.generation());
    let authority = "https://login.microsoftonline.com/contoso.com".to_owned();
    assert_eq!(provider.asked.lock().unwrap()[0], (authority, AssertionBinding::Required));
    let made = wanted.assertion(&context()).await.unwrap();
    assert_eq!(made.binding().unwrap().generation(), certificate.generation());
    // Bound without the flag as well, when it is asked.
    let unasked = Setup::with(entry(json!({})), services).select().await;
    assert!(unasked.binding().is_none());
    assert!(unasked.assertion(&context()).await.unwrap().binding().is_some());

    let unable = CredentialServices::new().with_assertion_provider("Mine", echo(None));
    let setup = Setup::with(entry(json!({ "UseBoundCredential": true })), unable);
    assert!(setup.reason().await.contains("(unbindable-credential)"));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_waited_for_until_the_deadline() {
    struct Never;
    impl SignedAssertionProvider for Never {
        fn assertion<'a>(
            &'a self,
            _: AssertionRequest<'a>,
        ) -> BoxFuture<'a, Result<SignedAssertion, Box<dyn std::error::Error + Send + Sync>>> {
            Box::pin(std::future::pending())
        }
    }
    let services = CredentialServices::new().with_assertion_provider("Never", Arc::new(Never));
    let setup =
        Setup::with(json!([custom(json!({ "CustomSignedAssertionProviderName": "Never" }))]), services);
    let began = Instant::now();
    let acquisition = Acquisition::new(SigningBudget::new()).with_deadline(began + Duration::from_secs(3));
    let selected = setup.provider.select_for(&acquisition).await.unwrap();
    let error = selected.assertion(&context()).await.unwrap_err();
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    assert!(reason(error).ends_with("the acquisition's deadline passed"));
}

#[tokio::test]
async fn nothing_stands_on_a_fourth() {
    let tokens = Tokens::new([token("T1")]);
    let setup = Setup::new(json!([managed_identity(json!({}))]), &tokens);
    let deep = |depth| Acquisition::new(SigningBudget::new()).with_depth(depth);
    setup.provider.select_for(&deep(2)).await.unwrap();
    let error = setup.provider.select_for(&deep(3)).await.unwrap_err();
    assert!(reason(error).contains("3 acquisitions deep"));
    assert_eq!(tokens.count(), 1);
}

/// The problems of a configuration of applications, each with the application that it stands on.
fn problems(applications: &[(&str, Value)]) -> Vec<String> {
    let mut root = json!({});
    for (name, credentials) in applications {
        let section =
            json!({ "ClientId": name, "TenantId": "contoso.com", "ClientCredentials": credentials });
        root.as_object_mut().unwrap().insert((*name).to_owned(), section);
    }
    match Settings::from_value(root).application(Some(applications[0].0)) {
        Ok(_) => Vec::new(),
        Err(error) => error.problems().iter().map(ToString::to_string).collect(),
    }
}

fn on(section: &str) -> Value {
    json!([{
        "SourceType": "CustomSignedAssertion",
        "CustomSignedAssertionProviderName": "OidcIdpSignedAssertion",
        "CustomSignedAssertionProviderData": { "ConfigurationSection": section },
    }])
}

#[test]
fn applications_do_not_stand_on_themselves() {
    let secret = || json!([{ "SourceType": "ClientSecret", "ClientSecret": "s" }]);
    assert!(problems(&[("A", on("b")), ("B", on("C")), ("C", secret())]).is_empty());
    let at = |section: &str| format!("the given configuration: {section}:ClientCredentials:0");
    let accepted = "accepted: an application that gets along without this one";
    assert_eq!(
        problems(&[("A", on("a"))]),
        [format!("{}: found \"a\", the application itself; {accepted}", at("A"))]
    );
    assert_eq!(
        problems(&[("A", on("B")), ("B", on("C")), ("C", on("A"))]),
        [format!(
            "{}: found \"A\", which stands on this application itself (at {}); {accepted}",
            at("C"),
            at("A")
        )]
    );
    // The circle is found from outside, too.
    assert_eq!(
        problems(&[("A", on("B")), ("B", on("C")), ("C", on("B"))]),
        [format!(
            "{}: found \"B\", which stands on this application itself (at {}); {accepted}",
            at("C"),
            at("B")
        )]
    );
    let vault = json!([{ "SourceType": "KeyVault", "KeyVaultUrl": "https://v.test", "KeyVaultCertificateName": "c",
        "ConfigurationSection": "A" }]);
    assert_eq!(problems(&[("A", on("B")), ("B", vault)]).len(), 1);
    let mut skipped = on("A");
    skipped[0]["Skip"] = json!(true);
    assert!(problems(&[("A", skipped)]).is_empty());
}

#[test]
fn applications_stand_on_what_is_there_and_not_too_high() {
    let at = |section: &str| format!("the given configuration: {section}:ClientCredentials:0");
    assert_eq!(
        problems(&[("A", on("Nowhere"))]),
        [format!(
            "{}: found \"Nowhere\", and no such section; accepted: the name of a section of the configuration",
            at("A")
        )]
    );
    let identity = || json!([managed_identity(json!({}))]);
    assert!(problems(&[("A", on("B")), ("B", on("C")), ("C", identity())]).is_empty());
    let accepted = "accepted: at most 3 applications or identities that stand in for each other";
    let found = "found a credential that needs a token, 3 applications away from A";
    let tower = [("A", on("B")), ("B", on("C")), ("C", on("D")), ("D", identity())];
    assert_eq!(problems(&tower), [format!("{}: {found}; {accepted}", at("D"))]);
    // What is wrong below is wrong for who stands on it.
    let broken = problems(&[("A", on("B")), ("B", json!([{ "SourceType": "Pth" }]))]);
    assert!(broken[0].starts_with(&format!("{}:SourceType: found \"Pth\"", at("B"))), "{broken:?}");
}
