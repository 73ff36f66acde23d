//! Certificates with their keys from a vault: a local server that speaks Key Vault's REST API and checks the token.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod certificates;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use certificates::{Identity, write};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use symbolon_resources::clock::ManualClock;
use symbolon_resources::configuration::{ApplicationOptions, Settings};
use symbolon_resources::credentials::{
    ApplicationTokenRequest, BoxFuture, CredentialError, CredentialProvider, CredentialServices,
    ManagedIdentityTokenRequest, Outcome, SelectedCredential, SignedAssertion, SigningBudget,
    SourceApplication, TokenSource, TokenSourceError,
};
use symbolon_resources::transport::TransportShared;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const NOW: u64 = 1_700_000_000_000;

const HOST: &str = "contoso.vault.azure.net";

/// One certificate with its versions.
#[derive(Default)]
struct Vault {
    versions: Vec<Version>,
    /// What to answer first: a status, with a header.
    refusals: VecDeque<(u16, Option<(&'static str, String)>)>,
    /// The token that opens it.
    token: String,
    requests: Vec<String>,
}

#[derive(Clone)]
struct Version {
    number: String,
    value: String,
    content_type: &'static str,
    enabled: bool,
    exportable: bool,
    /// The identifier of its secret.
    sid: String,
}

impl Version {
    fn pkcs12(number: &str, identity: &Identity) -> Self {
        Self {
            number: number.to_owned(),
            value: BASE64_STANDARD.encode(identity.pkcs12("")),
            content_type: "application/x-pkcs12",
            enabled: true,
            exportable: true,
            sid: format!("https://{HOST}/secrets/daemon/{number}"),
        }
    }

    fn pem(number: &str, identity: &Identity) -> Self {
        let content_type = "application/x-pem-file";
        Self { value: identity.pem(), content_type, ..Self::pkcs12(number, identity) }
    }
}

impl Vault {
    fn answer(&mut self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path_and_query().unwrap().as_str().to_owned();
        self.requests.push(path.clone());
        let respond = |status: u16, header: Option<(&str, String)>, body: Value| {
            let mut response = Response::builder().status(StatusCode::from_u16(status).unwrap());
            if let Some((name, value)) = header {
                response = response.header(name, value);
            }
            response.body(Full::new(Bytes::from(body.to_string()))).unwrap()
        };
        let error = |code: &str| json!({ "error": { "code": code, "message": "in words" } });
        if request.headers()["authorization"] != format!("Bearer {}", self.token) {
            let challenge = "Bearer authorization=\"https://login.microsoftonline.com/t\", resource=\"https://vault.azure.net\"";
            return respond(401, Some(("www-authenticate", challenge.to_owned())), error("Unauthorized"));
        }
        if let Some((status, header)) = self.refusals.pop_front() {
            return respond(status, header, error("Throttled"));
        }
        let Some(path) = path.strip_suffix("?api-version=7.4") else {
            return respond(400, None, error("BadParameter"));
        };
        let segments: Vec<_> = path.trim_start_matches('/').split('/').collect();
        let version = |number: &str| self.versions.iter().find(|version| version.number == number);
        match segments.as_slice() {
            ["certificates", "daemon"] => match self.versions.last() {
                Some(latest) => respond(200, None, bundle(latest)),
                None => respond(404, None, error("CertificateNotFound")),
            },
            ["certificates", "daemon", number] => match version(number) {
                Some(version) => respond(200, None, bundle(version)),
                None => respond(404, None, error("CertificateNotFound")),
            },
            ["secrets", "daemon", number] => match version(number) {
                Some(version) => respond(
                    200,
                    None,
                    json!({ "value": version.value, "contentType": version.content_type, "id": version.sid }),
                ),
                None => respond(404, None, error("SecretNotFound")),
            },
            _ => respond(404, None, error("NotFound")),
        }
    }
}

fn bundle(version: &Version) -> Value {
    json!({
        "id": format!("https://{HOST}/certificates/daemon/{}", version.number),
        "kid": format!("https://{HOST}/keys/daemon/{}", version.number),
        "sid": version.sid,
        "attributes": { "enabled": version.enabled, "nbf": 1, "exp": 4_000_000_000_u64 },
        "policy": { "key_props": { "exportable": version.exportable, "kty": "RSA" } },
    })
}

/// The server, and an application that trusts it.
struct Setup {
    vault: Arc<Mutex<Vault>>,
    tokens: Arc<Tokens>,
    provider: CredentialProvider,
    clock: Arc<ManualClock>,
    options: ApplicationOptions,
    services: CredentialServices,
    _directory: TempDir,
}

impl Setup {
    async fn new(versions: Vec<Version>) -> Self {
        Self::of(versions, json!({}), &[]).await
    }

    async fn of(versions: Vec<Version>, more: Value, environment: &[(&str, &str)]) -> Self {
        let vault =
            Arc::new(Mutex::new(Vault { versions, token: "token-one".to_owned(), ..Vault::default() }));
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = CertificateParams::new(vec![HOST.to_owned()]).unwrap().self_signed(&key).unwrap();
        let directory = TempDir::new().unwrap();
        let roots = write(&directory, "roots.pem", certificate.pem());
        let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let address = serve(&vault, certificate.der().to_vec(), der).await;
        let mut entry = json!({
            "SourceType": "KeyVault",
            "KeyVaultUrl": format!("https://{HOST}"),
            "KeyVaultCertificateName": "daemon",
        });
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let other = json!({ "ClientId": "other", "TenantId": "contoso.com" });
        let root = json!({
            "AzureAd": { "ClientId": "app", "TenantId": "contoso.com", "ClientCredentials": [entry] },
            "Other": other,
            "Symbolon": { "ConnectTo": { HOST: address.to_string() }, "TrustedRoots": [roots] },
        });
        let variables = environment.iter().map(|(name, value)| (name.into(), value.into()));
        let options = Settings::from_value(root).with_environment(variables).application(None).unwrap();
        let tokens = Arc::new(Tokens::default());
        let services = CredentialServices::new()
            .with_token_source(tokens.clone())
            .with_transport(TransportShared::new(|_| None).unwrap());
        let clock = Arc::new(ManualClock::new(NOW));
        let provider = CredentialProvider::with_services(&options, clock.clone(), services.clone());
        Self { vault, tokens, provider, clock, options, services, _directory: directory }
    }

    async fn try_select(&self) -> Result<SelectedCredential, CredentialError> {
        self.provider.select(&SigningBudget::new()).await
    }

    async fn subject(&self) -> String {
        self.try_select().await.unwrap().binding().unwrap().subject().to_owned()
    }

    async fn reason(&self) -> (String, Option<&'static str>) {
        match self.try_select().await.unwrap_err() {
            CredentialError::Unavailable(unavailable) => {
                let reason = &unavailable.entries()[0].reason;
                (reason.to_string(), reason.identity_web_code())
            }
            error => panic!("{error}"),
        }
    }

    fn requests(&self) -> Vec<String> {
        let paths = std::mem::take(&mut self.vault.lock().unwrap().requests);
        paths.into_iter().map(|path| path.strip_suffix("?api-version=7.4").unwrap().to_owned()).collect()
    }

    /// Waits for what happens beside the selections.
    async fn until(&self, condition: impl Fn(&Vault) -> bool) {
        let wait = async {
            while !condition(&self.vault.lock().unwrap()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap();
    }
}

async fn serve(vault: &Arc<Mutex<Vault>>, certificate: Vec<u8>, key: PrivateKeyDer<'static>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(crypto)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.into()], key)
        .unwrap();
    let (acceptor, vault) = (TlsAcceptor::from(Arc::new(config)), vault.clone());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, vault) = (acceptor.clone(), vault.clone());
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.unwrap();
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = vault.lock().unwrap().answer(&request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

/// Gives `token-one`, and when that isn't good enough, `token-two`.
#[derive(Default)]
struct Tokens {
    identity: Mutex<Vec<ManagedIdentityTokenRequest>>,
    application: Mutex<Vec<ApplicationTokenRequest>>,
}

fn token(fresh: bool) -> SignedAssertion {
    SignedAssertion::new(if fresh { "token-two" } else { "token-one" }, None)
}

impl TokenSource for Tokens {
    fn managed_identity_token(
        &self,
        request: ManagedIdentityTokenRequest,
    ) -> BoxFuture<'_, Result<SignedAssertion, TokenSourceError>> {
        let token = token(request.force_refresh);
        self.identity.lock().unwrap().push(request);
        Box::pin(async move { Ok(token) })
    }

    fn application_token(
        &self,
        request: ApplicationTokenRequest,
    ) -> BoxFuture<'_, Result<SignedAssertion, TokenSourceError>> {
        let token = token(request.force_refresh);
        self.application.lock().unwrap().push(request);
        Box::pin(async move { Ok(token) })
    }
}

#[tokio::test]
async fn a_certificate_comes_with_its_key() {
    let identity = Identity::rsa("daemon");
    for version in [Version::pkcs12("v1", &identity), Version::pem("v1", &identity)] {
        let setup = Setup::new(vec![version]).await;
        let selected = setup.try_select().await.unwrap();
        let binding = selected.binding().unwrap();
        assert_eq!((binding.subject(), binding.algorithms().len()), ("CN=daemon", 2));
        let id =
            format!("CertificateFromKeyVault=https://{HOST}/daemon;Thumbprint={}", binding.thumbprint_hex());
        assert_eq!(selected.id(), id);
        assert_eq!(setup.requests(), ["/certificates/daemon", "/secrets/daemon/v1"]);
        let asked = setup.tokens.identity.lock().unwrap();
        assert_eq!(
            (asked[0].resource.as_str(), asked[0].client_id.as_deref()),
            ("https://vault.azure.net", None)
        );
        assert_eq!(asked[0].acquisition.depth(), 1);
    }
}

#[tokio::test]
async fn a_loaded_certificate_is_kept_and_newer_versions_are_noticed() {
    let setup = Setup::new(vec![Version::pkcs12("v1", &Identity::rsa("one"))]).await;
    assert_eq!(setup.subject().await, "CN=one");
    setup.requests();
    setup.clock.advance(3_599_999);
    assert_eq!(setup.subject().await, "CN=one");
    assert!(setup.requests().is_empty());
    // The hour is over: it is asked for a newer version while the one there is handed out.
    setup.clock.advance(1);
    assert_eq!(setup.subject().await, "CN=one");
    setup.until(|vault| vault.requests.len() == 1).await;
    assert_eq!(setup.requests(), ["/certificates/daemon"]);
    setup.vault.lock().unwrap().versions.push(Version::pkcs12("v2", &Identity::rsa("two")));
    let renewed = async {
        while setup.subject().await != "CN=two" {
            // Each look is planned when the one before has ended.
            setup.clock.advance(3_600_000);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), renewed).await.unwrap();
    assert_eq!(setup.provider.statistics().rotations, 1);
}

#[tokio::test]
async fn a_refused_certificate_has_the_vault_asked_again_once() {
    let setup = Setup::new(vec![Version::pkcs12("v1", &Identity::rsa("one"))]).await;
    let first = setup.try_select().await.unwrap();
    setup.vault.lock().unwrap().versions.push(Version::pkcs12("v2", &Identity::rsa("two")));
    for _ in 0..3 {
        setup.provider.report(&first, Outcome::Rejected);
    }
    assert_eq!(setup.subject().await, "CN=two");
    assert_eq!(setup.provider.statistics().loads, 2);
}

#[tokio::test]
async fn a_vault_is_asked_again_once_in_ten_seconds() {
    let setup = Setup::new(vec![Version::pkcs12("v1", &Identity::rsa("one"))]).await;
    for (passed_ms, loads) in [(0, 2), (5_000, 2), (4_999, 2), (1, 3)] {
        setup.clock.advance(passed_ms);
        setup.provider.report(&setup.try_select().await.unwrap(), Outcome::Rejected);
        setup.try_select().await.unwrap();
        assert_eq!(setup.provider.statistics().loads, loads);
    }
}

#[tokio::test]
async fn a_version_may_be_named() {
    let versions =
        vec![Version::pkcs12("v1", &Identity::rsa("one")), Version::pkcs12("v2", &Identity::rsa("two"))];
    let setup = Setup::of(versions, json!({ "KeyVaultCertificateName": "daemon/v1" }), &[]).await;
    assert_eq!(setup.subject().await, "CN=one");
    assert_eq!(setup.requests(), ["/certificates/daemon/v1", "/secrets/daemon/v1"]);
}

#[tokio::test]
async fn a_refused_token_is_asked_for_anew() {
    let setup = Setup::new(vec![Version::pkcs12("v1", &Identity::rsa("one"))]).await;
    setup.vault.lock().unwrap().token = "token-two".to_owned();
    assert_eq!(setup.subject().await, "CN=one");
    let fresh: Vec<_> =
        setup.tokens.identity.lock().unwrap().iter().map(|request| request.force_refresh).collect();
    assert_eq!(fresh, [false, true]);

    let setup = Setup::new(vec![Version::pkcs12("v1", &Identity::rsa("one"))]).await;
    setup.vault.lock().unwrap().token = "token-three".to_owned();
    assert_eq!(setup.reason().await.0, "Key Vault: status 401 for the certificate");
    assert_eq!(setup.requests().len(), 2);
}

#[tokio::test]
async fn claims_of_a_challenge_reach_the_token() {
    let setup = Setup::new(vec![Version::pkcs12("v1", &Identity::rsa("one"))]).await;
    let claims = r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#;
    let challenge =
        format!("Bearer error=\"insufficient_claims\", claims=\"{}\"", BASE64_STANDARD.encode(claims));
    {
        let mut vault = setup.vault.lock().unwrap();
        vault.refusals.push_back((401, Some(("www-authenticate", challenge))));
    }
    // The stand-in knows one token at a time.
    let vault = setup.vault.clone();
    let switch = tokio::spawn(async move {
        loop {
            if vault.lock().unwrap().requests.len() == 1 {
                vault.lock().unwrap().token = "token-two".to_owned();
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(setup.subject().await, "CN=one");
    switch.await.unwrap();
    assert_eq!(setup.tokens.identity.lock().unwrap()[1].claims.as_deref(), Some(claims));
}

#[tokio::test]
async fn temporary_failures_are_tried_again() {
    let setup = Setup::new(vec![Version::pkcs12("v1", &Identity::rsa("one"))]).await;
    setup.vault.lock().unwrap().refusals.push_back((429, Some(("retry-after", "0".to_owned()))));
    setup.vault.lock().unwrap().refusals.push_back((503, Some(("retry-after", "0".to_owned()))));
    assert_eq!(setup.subject().await, "CN=one");
    assert_eq!(setup.requests().len(), 4);
}

#[tokio::test]
async fn a_long_pause_is_the_entrys_own() {
    let setup = Setup::new(vec![Version::pkcs12("v1", &Identity::rsa("one"))]).await;
    setup.vault.lock().unwrap().refusals.push_back((429, Some(("retry-after", "45".to_owned()))));
    let error = setup.try_select().await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(45)));
    setup.clock.advance(44_999);
    assert_eq!(setup.reason().await.0, "Key Vault: status 429 for the certificate (Throttled)");
    setup.clock.advance(1);
    assert_eq!(setup.subject().await, "CN=one");
}

#[tokio::test]
async fn what_can_not_be_used_says_why() {
    let identity = Identity::rsa("daemon");
    let good = || Version::pkcs12("v1", &identity);
    let expired = Identity::valid("old", certificates::rsa_key(), 2000, 2001);
    let elsewhere = "https://evil.vault.azure.net/secrets/daemon/v1".to_owned();
    let two_parts = format!("https://{HOST}/secrets/daemon");
    for (versions, expected, code) in [
        (vec![], "Key Vault: status 404 for the certificate (CertificateNotFound)", None),
        (
            vec![Version { enabled: false, ..good() }],
            "Key Vault: found a certificate that is disabled; accepted: an enabled one",
            None,
        ),
        (
            vec![Version { exportable: false, ..good() }],
            "Key Vault: found a certificate whose policy doesn't let the private key be exported; accepted: one with an exportable key",
            None,
        ),
        (
            vec![Version { sid: two_parts, ..good() }],
            "Key Vault: found a secret identifier other than {vault}/secrets/{name}/{version}",
            Some("IDW10702"),
        ),
        (
            vec![Version { sid: elsewhere, ..good() }],
            "Key Vault: found a secret identifier other than {vault}/secrets/{name}/{version}",
            Some("IDW10702"),
        ),
        (
            vec![Version { content_type: "text/plain", ..good() }],
            "Key Vault: found a secret of content type \"text/plain\"; accepted: application/x-pkcs12 or application/x-pem-file",
            Some("IDW10701"),
        ),
        (
            vec![Version { value: "%".to_owned(), ..good() }],
            "Key Vault: an answer that can't be read (a key not in base64)",
            None,
        ),
        (
            vec![Version::pem("v1", &expired)],
            "found a certificate (CN=old) that expired at 2001-01-01T00:00:00Z; accepted: a certificate that is valid now",
            None,
        ),
    ] {
        let setup = Setup::new(versions).await;
        assert_eq!(setup.reason().await, (expected.to_owned(), code));
        // The key of one that isn't usable isn't even asked for.
        let asked_for_key = setup.requests().len() > 1;
        assert_eq!(
            asked_for_key,
            matches!(code, Some("IDW10701")) || expected.contains("base64") || expected.contains("CN=old")
        );
    }
}

#[tokio::test]
async fn another_application_or_the_workload_opens_the_vault() {
    let version = || vec![Version::pkcs12("v1", &Identity::rsa("one"))];
    let setup = Setup::of(version(), json!({ "ConfigurationSection": "Other" }), &[]).await;
    assert_eq!(setup.subject().await, "CN=one");
    {
        let asked = setup.tokens.application.lock().unwrap();
        assert!(matches!(&asked[0].application, SourceApplication::Section(name) if name == "Other"));
        assert_eq!(asked[0].scope, "https://vault.azure.net/.default");
    }
    let workload = [
        ("AZURE_CLIENT_ID", "workload"),
        ("AZURE_TENANT_ID", "fabrikam.com"),
        ("AZURE_FEDERATED_TOKEN_FILE", "/run/token"),
    ];
    let setup = Setup::of(version(), json!({}), &workload).await;
    assert_eq!(setup.subject().await, "CN=one");
    {
        let asked = setup.tokens.application.lock().unwrap();
        let SourceApplication::Options(options) = &asked[0].application else { panic!("{asked:?}") };
        assert_eq!(options.client_id(), "workload");
        assert_eq!(options.authority(), "https://login.microsoftonline.com/fabrikam.com");
        assert_eq!(options.credential_ids(), ["SignedAssertionFilePath=/run/token"]);
    }
    let setup = Setup::of(version(), json!({}), &workload[..1]).await;
    assert_eq!(setup.subject().await, "CN=one");
    assert_eq!(setup.tokens.identity.lock().unwrap()[0].client_id.as_deref(), Some("workload"));
}

#[tokio::test]
async fn no_key_and_no_token_is_shown() {
    let setup = Setup::new(vec![Version::pem("v1", &Identity::rsa("daemon"))]).await;
    let selected = setup.try_select().await.unwrap();
    let shown = format!("{selected:?}{:?}{:?}", setup.provider, setup.provider.check().await);
    assert!(!shown.contains("PRIVATE KEY") && !shown.contains("token-one"), "{shown}");
}

/// The keys of the cache's second level, which the host itself reads.
#[cfg(feature = "redb")]
#[tokio::test]
async fn keys_of_the_token_cache_come_from_a_vault() {
    use symbolon_resources::cache::{
        ApplicationId, CacheLimits, Components, Entry, Found, Lookup, RefreshToken, Saved, TokenCache,
    };
    use symbolon_resources::credentials::VaultSecret;
    use symbolon_resources::second_level::{
        KeySource, Sealing, SecondLevels, TokenCacheOptions, TokenCacheStore,
    };

    let key =
        Version { value: BASE64_STANDARD.encode([7; 32]), ..Version::pem("v1", &Identity::rsa("daemon")) };
    let text = Version { number: "v2".to_owned(), value: "no key".to_owned(), ..key.clone() };
    let setup = Setup::new(vec![key, text]).await;
    setup.vault.lock().unwrap().token = "token-two".to_owned();
    let directory = TempDir::new().unwrap();
    let process = |version: &str| {
        let secret =
            VaultSecret::new(&format!("https://{HOST}"), &format!("daemon/{version}"), None).unwrap();
        let store = TokenCacheStore::File(directory.path().join("tokens.redb"));
        let options = TokenCacheOptions::new(store, Sealing::Fetched([KeySource::KeyVault(secret)].into()));
        let (levels, id) = (SecondLevels::new(setup.clock.clone()), ApplicationId::new("app"));
        let second_level = levels.open(&options, &id).unwrap();
        levels.provide(&options, &setup.services, setup.options.transport());
        let cache = TokenCache::<String>::new(CacheLimits::default(), setup.clock.clone());
        cache.namespace(id).with_second_level(second_level)
    };
    let alternatives = [vec!["key".to_owned()]];
    let lookup = Lookup {
        alternatives: &alternatives,
        expires_after: 0,
        expires_before: u64::MAX,
        bypass: false,
        renews: false,
        flight: Some("key"),
    };
    for (version, found) in [("v1", false), ("v1", true), ("v2", false)] {
        let app = process(version);
        match app.find(lookup).await {
            Found::Hit(_) => assert!(found, "{version}"),
            Found::Lead { ticket, .. } => {
                assert!(!found, "{version}");
                let entry = Entry::RefreshToken(RefreshToken {
                    home_account_id: "uid.utid",
                    environment: "login.microsoftonline.com",
                    client_id: "client",
                    family_id: None,
                    secret: "secret",
                    user_assertion_hash: None,
                    components: Components::default(),
                });
                let saved = Saved {
                    entry,
                    keys: &alternatives[0],
                    replaces: &[],
                    groups: &[],
                    partition_key: "",
                    item_key: "",
                };
                app.put_through(Some(ticket), &[], &[saved]).await;
            }
            found => panic!("{found:?}"),
        }
        let seen = [format!("/secrets/daemon/{version}"), format!("/secrets/daemon/{version}")];
        assert_eq!(setup.requests(), seen, "refused once, then with a new token, and kept");
    }
}
