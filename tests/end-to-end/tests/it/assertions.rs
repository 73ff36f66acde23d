//! Credentials that are tokens made elsewhere: in a file, by another application, by a managed identity, by a program; and
//! certificates that a vault keeps.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use symbolon::{
    Application, AssertionRequest, BoxFuture, SignedAssertion, SignedAssertionProvider, Symbolon,
};
use symbolon_authority::{
    CONTOSO, CertificatePolicy, CertificateRequest, FEDERATED_SUBJECT, FEDERATION_ISSUER, FederatedAssertion,
    Registration, sample,
};
use symbolon_end_to_end::{GRAPH, World, claims, engine, engine_with};

const OUTER: &str = "44444444-0000-4000-8000-000000000001";
const EXCHANGE: &str = "api://AzureADTokenExchange";

/// The issuer of the authority's own tokens.
fn issuer() -> String {
    format!("https://login.microsoftonline.com/{CONTOSO}/v2.0")
}

/// Adds the section of another sample, by which the application of `AzureAd` proves itself.
fn stand_on(world: &World, settings: &mut Value, section: &str, sample: &str) {
    settings[section] = world.settings(sample)["AzureAd"].clone();
    settings["AzureAd"]["ClientId"] = OUTER.into();
    settings["AzureAd"]["ClientCredentials"] = json!([{
        "SourceType": "CustomSignedAssertion",
        "CustomSignedAssertionProviderName": "OidcIdpSignedAssertion",
        "CustomSignedAssertionProviderData": { "ConfigurationSection": section },
    }]);
}

/// An application whose credential is a token of the sample, which the authority trusts for it.
async fn federated(world: &World, symbolon: &Symbolon, sample: &str) -> Application {
    let inner = world.application(symbolon, sample);
    let scope = format!("{EXCHANGE}/.default");
    let token = inner.acquire_token_for_client([scope.as_str()]).await.expect("a token of the inner one");
    let subject = claims(token.access_token())["sub"].as_str().expect("a subject").to_owned();
    let registration = Registration::new(OUTER).mtls(true).pop(true);
    world.authority.register(registration.federated_credential(&issuer(), &subject, EXCHANGE));
    world.authority.reset();
    let options = world.options("secret", |settings| stand_on(world, settings, "Inner", sample));
    symbolon
        .application(options.expect("options").with_id(symbolon::ApplicationId::new("outer")))
        .expect("one")
}

#[tokio::test]
async fn a_token_of_a_file_stands_in_for_an_assertion() {
    let (world, symbolon) = (World::start().await, engine());
    let application = world.application(&symbolon, "federated");
    let (token, seen) = world.seen(application.acquire_token_for_client([GRAPH])).await;
    assert_eq!(token.expect("a token").token_type(), "Bearer");
    let [request] = seen.as_slice() else { panic!("{} requests", seen.len()) };
    let (_, payload) = request.client_assertion().expect("an assertion");
    assert_eq!(payload["iss"], FEDERATION_ISSUER);
}

#[tokio::test]
async fn a_token_of_another_application_stands_in_for_an_assertion() {
    let world = World::start().await;
    // One acquisition at a time: those inside it have slots of their own.
    let symbolon = engine_with(|builder| builder.max_in_flight(1));
    let application = federated(&world, &symbolon, "certificate").await;
    let (token, seen) = world.seen(application.acquire_token_for_client([GRAPH])).await;
    let token = token.expect("a token");
    assert_eq!(claims(token.access_token())["appid"], OUTER);
    let clients: Vec<_> = seen.iter().map(|request| request.form_text("client_id")).collect();
    assert_eq!(clients, [Some(sample::CERTIFICATE), Some(OUTER)]);
    let (again, seen) =
        world.seen(application.acquire_token_for_client([GRAPH]).with_force_refresh(true)).await;
    assert_eq!((again.is_ok(), seen.len()), (true, 1));
}

#[tokio::test]
async fn an_application_cannot_stand_on_itself() {
    let world = World::start().await;
    let options = world.options("secret", |settings| {
        stand_on(&world, settings, "Inner", "certificate");
        settings["Inner"]["ClientCredentials"] = settings["AzureAd"]["ClientCredentials"].clone();
    });
    let error = options.expect_err("a circle").to_string();
    assert!(error.contains("Inner:ClientCredentials:0"), "{error}");
}

/// Asks the authority's test issuer, and counts.
struct Issues {
    world: Arc<World>,
    calls: AtomicUsize,
}

impl SignedAssertionProvider for Issues {
    fn assertion<'a>(
        &'a self,
        request: AssertionRequest<'a>,
    ) -> BoxFuture<'a, Result<SignedAssertion, Box<dyn Error + Send + Sync>>> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        assert_eq!(request.context.client_id, sample::FEDERATED);
        assert!(request.context.token_endpoint.ends_with("/oauth2/v2.0/token"), "{:?}", request.context);
        let assertion = self.world.authority.federated_assertion(&FederatedAssertion::new(FEDERATED_SUBJECT));
        Box::pin(async move { Ok(SignedAssertion::new(assertion, None)) })
    }
}

#[tokio::test]
async fn a_program_makes_assertions() {
    let world = Arc::new(World::start().await);
    let issues = Arc::new(Issues { world: world.clone(), calls: AtomicUsize::new(0) });
    let symbolon = engine_with(|builder| builder.signed_assertion_provider("Issuer", issues.clone()));
    let options = |name: Option<&str>| {
        world.options("federated", |settings| {
            settings["AzureAd"]["ClientCredentials"] = json!([{ "SourceType": "CustomSignedAssertion" }]);
            if let Some(name) = name {
                settings["AzureAd"]["ClientCredentials"][0]["CustomSignedAssertionProviderName"] =
                    name.into();
            }
        })
    };
    let application =
        symbolon.application(options(Some("Issuer")).expect("options")).expect("an application");
    for force in [false, false, true] {
        application.acquire_token_for_client([GRAPH]).with_force_refresh(force).await.expect("a token");
    }
    assert_eq!(issues.calls.load(Ordering::Relaxed), 2, "one for each token request");
    for name in [None, Some("Another")] {
        let application = symbolon.application(options(name).expect("options")).expect("an application");
        let error = application.acquire_token_for_client([GRAPH]).with_force_refresh(true).await;
        let error = error.expect_err("no provider").to_string();
        assert!(error.contains("\"Issuer\"") && error.contains("AzureAd:ClientCredentials:0"), "{error}");
    }
}

#[tokio::test]
async fn a_vault_keeps_the_certificate() {
    let (world, symbolon) = (World::start().await, engine());
    let now = world.authority.clock().now_unix();
    let certificate =
        CertificateRequest::new("vault.contoso.test", now).self_signed().expect("a certificate");
    let vault = world.authority.vault("contoso");
    vault.import("daemon", &certificate, CertificatePolicy::pkcs12()).expect("an import");
    let registration = Registration::new(OUTER).mtls(true).pop(true);
    let registration = registration.certificate_pem(&certificate.certificate_pem()).expect("a certificate");
    world.authority.register(registration);
    let options = world.options("secret", |settings| {
        settings["Reader"] = world.settings("certificate")["AzureAd"].clone();
        settings["AzureAd"]["ClientId"] = OUTER.into();
        settings["AzureAd"]["ClientCredentials"] = json!([{
            "SourceType": "KeyVault",
            "KeyVaultUrl": vault.url(),
            "KeyVaultCertificateName": "daemon",
            "ConfigurationSection": "Reader",
            "UseBoundCredential": true,
        }]);
    });
    let application = symbolon.application(options.expect("options")).expect("an application");
    let token = application.acquire_token_for_client([GRAPH]).await.expect("a token");
    assert_eq!(claims(token.access_token())["appid"], OUTER);
    let hosts: Vec<_> = world.authority.log().iter().map(|request| request.host.clone()).collect();
    assert_eq!(hosts.first().map(String::as_str), Some("login.microsoftonline.com"), "the vault's token");
    assert!(hosts.iter().any(|host| host == "contoso.vault.azure.net"), "{hosts:?}");
    assert_eq!(hosts.last().map(String::as_str), Some("mtlsauth.microsoft.com"));
}
