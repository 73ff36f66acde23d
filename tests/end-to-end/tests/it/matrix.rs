//! The matrix of credentials: what an application shows the authority, by its credential, what the entry says about bound
//! connections, what the token is to be bound to, and the flow. The rows are the table; the authority says what it saw.

use std::error::Error;
use std::sync::Arc;

use serde_json::{Value, json};
use symbolon::{
    Application, ApplicationId, AssertionRequest, AuthenticationResult, Binding, BoxFuture,
    ManagedIdentityId, SignedAssertion, SignedAssertionProvider, Symbolon,
};
use symbolon_authority::{
    CONTOSO, FEDERATED_SUBJECT, FEDERATION_ISSUER, FederatedAssertion, LogEntry, ManagedIdentity, Platform,
    REDIRECT_URI, Registration, Source, sample,
};
use symbolon_end_to_end::flows::Flow;
use symbolon_end_to_end::{EXCHANGE, GRAPH, World, claims, engine_with};
use uuid::Uuid;

/// What the entry of `ClientCredentials` says, and how the tables show it.
type Says = (&'static str, fn() -> Value);

const ABSENT: Says = ("absent", || json!({}));
const TRUE: Says = ("true", || json!({ "UseBoundCredential": true }));
const FALSE: Says = ("false", || json!({ "UseBoundCredential": false }));
const PREFER: Says = ("prefer", || json!({ "PreferBoundCredential": true }));
const ALL: [Says; 4] = [ABSENT, TRUE, FALSE, PREFER];

/// What an application has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Credential {
    Certificate,
    /// On a platform that has no bound tokens.
    ManagedIdentity,
    /// A token of another application, which has a certificate.
    OtherApplication,
    AssertionFile,
    /// A program's assertion with its certificate.
    Custom,
    Secret,
    None,
}

/// What the authority saw of a request, or why there was none.
#[derive(Clone, Copy, Debug)]
enum Shown {
    Secret,
    /// An assertion that its bearer may present.
    Assertion,
    /// A certificate in the handshake, and an assertion that it signed with its chain.
    CertificateAndAssertion,
    /// A certificate in the handshake, and nothing else.
    Certificate,
    /// A certificate in the handshake, and an assertion that is bound to it.
    BoundAssertion,
    /// An error with this code, and no request of this application.
    Error(&'static str),
    /// The entry is refused when it is read, with these words.
    Refused(&'static str),
}

use Shown::{Assertion, BoundAssertion, Certificate, CertificateAndAssertion, Refused, Secret};

const NO_CREDENTIAL: Shown = Shown::Error("Client_Credentials_Required_In_Confidential_Client_Application");
const NO_CERTIFICATE: Shown = Shown::Error("mtls_certificate_not_provided");
const UNAVAILABLE: Shown = Shown::Error("credential_unavailable");
const NOT_FOR_USERS: Shown = Shown::Error("mtls_pop_requires_app_token");
const FILE: Shown = Refused("unbindable-credential");
const SECRET: Shown = Refused("true on a ClientSecret");

/// Bearer tokens of every flow; columns as [`ALL`].
const BEARER: [(Credential, [Shown; 4]); 7] = [
    (Credential::Certificate, [Assertion, CertificateAndAssertion, Assertion, CertificateAndAssertion]),
    (Credential::ManagedIdentity, [Assertion, UNAVAILABLE, Assertion, Assertion]),
    (Credential::OtherApplication, [Assertion, BoundAssertion, Assertion, BoundAssertion]),
    (Credential::AssertionFile, [Assertion, FILE, Assertion, Assertion]),
    (Credential::Custom, [BoundAssertion, BoundAssertion, Assertion, BoundAssertion]),
    (Credential::Secret, [Secret, SECRET, Secret, Secret]),
    (Credential::None, [NO_CREDENTIAL; 4]),
];

/// Tokens of the application that are bound to a certificate.
const BOUND: [(Credential, [Shown; 4]); 7] = [
    (Credential::Certificate, [Certificate; 4]),
    (Credential::ManagedIdentity, [UNAVAILABLE; 4]),
    (Credential::OtherApplication, [BoundAssertion; 4]),
    (Credential::AssertionFile, [NO_CERTIFICATE, FILE, NO_CERTIFICATE, NO_CERTIFICATE]),
    (Credential::Custom, [BoundAssertion; 4]),
    (Credential::Secret, [NO_CERTIFICATE, SECRET, NO_CERTIFICATE, NO_CERTIFICATE]),
    (Credential::None, [NO_CREDENTIAL; 4]),
];

const FLOWS: [Flow; 6] =
    [Flow::ForClient, Flow::OnBehalfOf, Flow::GoOn, Flow::Silent, Flow::ByRefreshToken, Flow::ByCode];

const PROVIDER: &str = "Matrix";
const PASSWORD: &str = "the matrix's secret";
const IDENTITY: &str = "66666666-0000-4000-8000-000000000001";
const IDENTITY_OBJECT: &str = "66666666-0000-4000-8000-000000000002";

/// Gives an assertion with its certificate, whatever is asked for.
struct Provider {
    assertion: String,
    binding: Arc<Binding>,
}

impl SignedAssertionProvider for Provider {
    fn assertion<'a>(
        &'a self,
        _: AssertionRequest<'a>,
    ) -> BoxFuture<'a, Result<SignedAssertion, Box<dyn Error + Send + Sync>>> {
        let assertion = SignedAssertion::new(&*self.assertion, None).with_binding(self.binding.clone());
        Box::pin(async move { Ok(assertion) })
    }

    fn supports_token_binding(&self) -> bool {
        true
    }
}

/// An authority with one application that may prove itself in every way of the tables, on a machine with an identity.
struct Matrix {
    world: World,
    symbolon: Symbolon,
    certificate: Arc<Binding>,
    _platform: Platform,
}

impl Matrix {
    async fn start() -> Self {
        let world = World::start().await;
        let builder = Platform::builder().system_assigned(ManagedIdentity::new(IDENTITY, IDENTITY_OBJECT));
        let platform = builder.start(&world.authority).await.expect("a platform");
        let certificate =
            Binding::from_file(&world.path("client.pem"), None).expect("the sample's certificate");
        let certificate = Arc::new(certificate);
        let bound = FederatedAssertion::new(FEDERATED_SUBJECT)
            .lifetime_seconds(3600)
            .bound_to(certificate.thumbprint_sha256());
        let provider =
            Provider { assertion: world.authority.federated_assertion(&bound), binding: certificate.clone() };
        let variables = platform.environment(Source::AppService);
        let variable = move |name: &str| {
            variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        };
        let symbolon = engine_with(|builder| {
            builder.environment(variable).signed_assertion_provider(PROVIDER, Arc::new(provider))
        });
        let matrix = Self { world, symbolon, certificate, _platform: platform };
        matrix.register().await;
        matrix
    }

    async fn register(&self) {
        let world = &self.world;
        let own = std::fs::read_to_string(world.path("client.crt")).expect("the sample's certificate");
        let inner = world.application(&self.symbolon, "bound");
        let token = inner.acquire_token_for_client([EXCHANGE]).await.expect("a token of the other one");
        let other = claims(token.access_token())["sub"].as_str().expect("a subject").to_owned();
        let tokens = format!("https://login.microsoftonline.com/{CONTOSO}/v2.0");
        let audience = "api://AzureADTokenExchange";
        let registration = Registration::new(sample::WEB_API_BOUND)
            .certificate_pem(&own)
            .expect("a certificate")
            .secret(PASSWORD)
            .federated_credential(FEDERATION_ISSUER, FEDERATED_SUBJECT, audience)
            .federated_credential(&tokens, &other, audience)
            .federated_credential(&tokens, IDENTITY_OBJECT, audience)
            .redirect_uri(REDIRECT_URI)
            .mtls(true)
            .pop(true);
        world.authority.register(registration);
    }

    fn application(&self, credential: Credential, (_, says): Says) -> Result<Application, symbolon::Error> {
        let options = self.world.options("web-api-bound", |settings| {
            settings["Other"] = self.world.settings("bound")["AzureAd"].clone();
            let certificate = settings["AzureAd"]["ClientCredentials"][0].take();
            settings["AzureAd"]["ClientCredentials"] = match entry(credential, certificate) {
                Some(mut entry) => {
                    let entry_says = says();
                    let fields = entry.as_object_mut().expect("an entry");
                    fields.remove("UseBoundCredential");
                    fields.extend(entry_says.as_object().cloned().unwrap_or_default());
                    json!([entry])
                }
                None => json!([]),
            };
        })?;
        self.symbolon.application(options.with_id(ApplicationId::new(Uuid::new_v4().to_string())))
    }

    /// What comes of the request, and the requests of this application that the authority saw.
    async fn seen<T>(&self, request: impl IntoFuture<Output = T>) -> (T, Vec<LogEntry>) {
        let (outcome, mut seen) = self.world.seen(request).await;
        seen.retain(|request| request.form_text("client_id") == Some(sample::WEB_API_BOUND));
        (outcome, seen)
    }

    fn check(
        &self,
        (outcome, seen): (symbolon::Result<AuthenticationResult>, Vec<LogEntry>),
        shown: Shown,
        is_bound: bool,
        what: &str,
    ) {
        if let Shown::Error(code) = shown {
            let error = outcome.err().unwrap_or_else(|| panic!("{what}: a token"));
            assert_eq!((error.code(), seen.len()), (code, 0), "{what}: {error}");
            return;
        }
        let token = outcome.unwrap_or_else(|error| panic!("{what}: {error}"));
        let [request] = seen.as_slice() else { panic!("{what}: {} requests", seen.len()) };
        self.check_request(request, shown, what);
        assert_eq!(request.form_text("token_type"), is_bound.then_some("mtls_pop"), "{what}");
        let token_type = if is_bound { "mtls_pop" } else { "Bearer" };
        assert!(token.token_type().eq_ignore_ascii_case(token_type), "{what}: {}", token.token_type());
        let own = is_bound.then(|| self.certificate.thumbprint_sha256());
        assert_eq!(claims(token.access_token())["cnf"]["x5t#S256"].as_str(), own, "{what}");
        assert_eq!(token.binding_certificate().map(|binding| binding.thumbprint_sha256()), own, "{what}");
    }

    fn check_request(&self, request: &LogEntry, shown: Shown, what: &str) {
        let bearer = Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        let pop = Some("urn:ietf:params:oauth:client-assertion-type:jwt-pop");
        let (mtls, kind) = match shown {
            Secret => (false, None),
            Assertion => (false, bearer),
            CertificateAndAssertion => (true, bearer),
            BoundAssertion => (true, pop),
            _ => (true, None),
        };
        let host = if mtls { "mtlsauth.microsoft.com" } else { "login.microsoftonline.com" };
        let presented = mtls.then(|| self.certificate.thumbprint_sha256());
        assert_eq!(request.host, host, "{what}");
        assert_eq!(request.client_certificate.as_deref(), presented, "{what}");
        assert_eq!(request.form_text("client_assertion_type"), kind, "{what}");
        assert_eq!(request.client_assertion().is_some(), kind.is_some(), "{what}");
        let has_secret = request.form_names().any(|name| name == "client_secret");
        assert_eq!(has_secret, matches!(shown, Secret), "{what}");
        if matches!(shown, CertificateAndAssertion) {
            let (header, _) = request.client_assertion().expect("an assertion");
            assert_eq!(header["x5c"]["x5t#S256"][0].as_str(), presented, "{what}");
        }
    }
}

fn entry(credential: Credential, certificate: Value) -> Option<Value> {
    Some(match credential {
        Credential::Certificate => certificate,
        Credential::ManagedIdentity => json!({ "SourceType": "SignedAssertionFromManagedIdentity" }),
        Credential::OtherApplication => json!({
            "SourceType": "CustomSignedAssertion",
            "CustomSignedAssertionProviderName": "OidcIdpSignedAssertion",
            "CustomSignedAssertionProviderData": { "ConfigurationSection": "Other" },
        }),
        Credential::AssertionFile => json!({
            "SourceType": "SignedAssertionFilePath", "SignedAssertionFileDiskPath": "federated-assertion.jwt",
        }),
        Credential::Custom => {
            json!({ "SourceType": "CustomSignedAssertion", "CustomSignedAssertionProviderName": PROVIDER })
        }
        Credential::Secret => json!({ "SourceType": "ClientSecret", "ClientSecret": PASSWORD }),
        Credential::None => return None,
    })
}

#[tokio::test]
async fn bearer_tokens() {
    let matrix = Matrix::start().await;
    for (credential, row) in BEARER {
        for (says, shown) in ALL.into_iter().zip(row) {
            let what = format!("{credential:?}, {}", says.0);
            let application = matrix.application(credential, says);
            if let Refused(words) = shown {
                let error = application.err().unwrap_or_else(|| panic!("{what}: accepted")).to_string();
                assert!(error.contains(words), "{what}: {error}");
                continue;
            }
            let application = application.unwrap_or_else(|error| panic!("{what}: {error}"));
            for flow in FLOWS {
                // What comes before these two needs a credential itself.
                if matches!(shown, Shown::Error(_)) && matches!(flow, Flow::Silent | Flow::GoOn) {
                    continue;
                }
                let what = format!("{what}, {flow:?}");
                let scenario = flow.prepare_for(&matrix.world, application.clone()).await;
                let scenario = scenario.unwrap_or_else(|error| panic!("{what}: before: {error}"));
                matrix.check(matrix.seen(scenario.acquire()).await, shown, false, &what);
            }
        }
    }
}

#[tokio::test]
async fn bound_tokens() {
    let matrix = Matrix::start().await;
    for (credential, row) in BOUND {
        for (says, shown) in ALL.into_iter().zip(row) {
            let what = format!("{credential:?}, {}", says.0);
            let Ok(application) = matrix.application(credential, says) else {
                assert!(matches!(shown, Refused(_)), "{what}");
                continue;
            };
            let request = application.acquire_token_for_client([GRAPH]).with_mtls_proof_of_possession();
            matrix.check(matrix.seen(request).await, shown, true, &what);

            let assertion = matrix.world.user_token(sample::ALICE, sample::WEB_API_BOUND);
            let request =
                application.acquire_token_on_behalf_of([GRAPH], &assertion).with_mtls_proof_of_possession();
            matrix.check(matrix.seen(request).await, NOT_FOR_USERS, true, &format!("{what}, for a user"));
        }
    }
}

/// A token that the platform gives needs no credential of the application.
#[tokio::test]
async fn tokens_of_the_platform() {
    let matrix = Matrix::start().await;
    for credential in [Credential::Certificate, Credential::None] {
        let application = matrix.application(credential, TRUE).expect("an application");
        let request = application
            .acquire_token_for_managed_identity("https://vault.azure.net", ManagedIdentityId::SystemAssigned);
        let (token, seen) = matrix.seen(request).await;
        let token = token.expect("a token");
        assert_eq!((token.token_type(), seen.len()), ("Bearer", 0), "{credential:?}");
        assert_eq!(claims(token.access_token())["oid"], IDENTITY_OBJECT);
    }
}
