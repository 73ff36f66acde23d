//! Credentials from files and directories of this machine, and what fills in where the configuration is silent.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod certificates;

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use certificates::{Identity, fresh_rsa_key, rsa_key, write};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, date_time_ymd};
use serde_json::{Value, json};
use symbolon_resources::clock::ManualClock;
use symbolon_resources::configuration::{ApplicationOptions, Settings};
use symbolon_resources::credentials::{
    AssertionContext, Binding, CredentialDescription, CredentialError, CredentialKind, CredentialProvider,
    Outcome, SelectedCredential, SigningBudget, StoreCriterion, StorePath,
};
use tempfile::TempDir;

const NOW: u64 = 1_700_000_000_000;

struct Setup {
    provider: CredentialProvider,
    clock: Arc<ManualClock>,
}

impl Setup {
    fn new(credentials: Value) -> Self {
        Self::with_stores(credentials, Value::Null)
    }

    fn with_stores(credentials: Value, stores: Value) -> Self {
        let azure_ad =
            json!({ "ClientId": "app", "TenantId": "contoso.com", "ClientCredentials": credentials });
        let symbolon = json!({ "CertificateStores": stores });
        Self::of(
            &ApplicationOptions::from_value(json!({ "AzureAd": azure_ad, "Symbolon": symbolon })).unwrap(),
        )
    }

    fn of(options: &ApplicationOptions) -> Self {
        let clock = Arc::new(ManualClock::new(NOW));
        Self { provider: CredentialProvider::new(options, clock.clone()), clock }
    }

    async fn try_select(&self) -> Result<SelectedCredential, CredentialError> {
        self.provider.select(&SigningBudget::new()).await
    }

    async fn select(&self) -> SelectedCredential {
        self.try_select().await.unwrap()
    }

    async fn secret(&self) -> String {
        self.select().await.secret().unwrap().expose().to_owned()
    }

    async fn subject(&self) -> String {
        self.select().await.binding().unwrap().subject().to_owned()
    }

    /// Why the only credential can't be used.
    async fn reason(&self) -> String {
        match self.try_select().await.unwrap_err() {
            CredentialError::Unavailable(unavailable) => unavailable.entries()[0].reason.to_string(),
            error => panic!("{error}"),
        }
    }
}

fn secret_file(path: &Path) -> Value {
    json!([{ "SourceType": "ClientSecret", "ClientSecretFile": path }])
}

fn assertion_file(path: &Path) -> Value {
    json!([{ "SourceType": "SignedAssertionFilePath", "SignedAssertionFileDiskPath": path }])
}

/// A token that expires so many seconds after now.
fn jwt(name: &str, seconds: i64) -> String {
    let expires_on = i64::try_from(NOW / 1000).unwrap() + seconds;
    let segment = |json: Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    format!(
        "{}.{}.c2ln",
        segment(json!({ "alg": "RS256" })),
        segment(json!({ "sub": name, "exp": expires_on }))
    )
}

#[tokio::test]
async fn a_secret_in_a_file_is_read_again_when_it_changes() {
    let directory = TempDir::new().unwrap();
    let file = write(&directory, "secret", "first\r\n");
    let setup = Setup::new(secret_file(&file));
    assert_eq!(setup.secret().await, "first");
    write(&directory, "secret", "second\n");
    assert_eq!(setup.secret().await, "second");
    // In the moment of a careless replacement, the one before is better than none.
    std::fs::remove_file(&file).unwrap();
    assert_eq!(setup.secret().await, "second");
    write(&directory, "secret", "");
    assert_eq!(setup.secret().await, "second");
    assert_eq!(setup.provider.statistics().load_failures, 2);
}

#[tokio::test]
async fn a_secret_that_was_refused_gives_way_until_it_changes() {
    let directory = TempDir::new().unwrap();
    let file = write(&directory, "secret", "wrong");
    let mut credentials = secret_file(&file);
    let fallback = json!({ "SourceType": "ClientSecret", "ClientSecret": "fallback" });
    credentials.as_array_mut().unwrap().push(fallback);
    let setup = Setup::new(credentials);
    setup.provider.report(&setup.select().await, Outcome::Rejected);
    assert_eq!(setup.secret().await, "fallback");
    write(&directory, "secret", "right");
    assert_eq!(setup.secret().await, "right");
}

#[tokio::test]
async fn a_secret_file_that_holds_none_says_so() {
    let directory = TempDir::new().unwrap();
    let accepted = "accepted: a file with the client secret";
    for (content, found) in [
        (Some(&b"\n"[..]), "an empty file"),
        (Some(b"\xff\xfe"), "something other than UTF-8"),
        (Some(&[b'x'; 70_000]), "more than 64 KiB"),
        (None, "no file there"),
    ] {
        let file = directory.path().join("secret");
        match content {
            Some(content) => _ = write(&directory, "secret", content),
            None => std::fs::remove_file(&file).unwrap(),
        }
        assert_eq!(Setup::new(secret_file(&file)).reason().await, format!("found {found}; {accepted}"));
    }
}

#[tokio::test]
async fn an_assertion_is_the_token_in_the_file() {
    let directory = TempDir::new().unwrap();
    let file = write(&directory, "token", jwt("first", 3600) + "\n");
    let setup = Setup::new(assertion_file(&file));
    let context = AssertionContext::new("app", "https://login.microsoftonline.com/t/oauth2/v2.0/token");
    let first = setup.select().await;
    assert_eq!(first.kind(), CredentialKind::SignedAssertion);
    let assertion = first.assertion(&context).await.unwrap();
    assert_eq!(assertion.expose(), jwt("first", 3600));
    assert_eq!(assertion.expires_on_unix(), Some(NOW / 1000 + 3600));
    assert!(assertion.binding().is_none() && first.binding().is_none());
    assert!(
        first.sign_assertion(symbolon_resources::credentials::SignatureAlgorithm::Rs256, b"a.b").is_err()
    );

    write(&directory, "token", jwt("second", 7200));
    let second = setup.select().await.assertion(&context).await.unwrap();
    assert_eq!(second.expose(), jwt("second", 7200));
    // What was selected before is still what it was.
    assert_eq!(first.assertion(&context).await.unwrap().expose(), jwt("first", 3600));
    let shown = format!("{first:?}{assertion:?}");
    assert!(!shown.contains(&jwt("first", 3600)), "{shown}");
}

#[tokio::test]
async fn an_assertion_file_that_holds_no_valid_token_says_so() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("token");
    let accepted = "accepted: a file with a JWT, such as the projected token of a Kubernetes service account";
    let setup = || Setup::new(assertion_file(&file));
    assert_eq!(setup().reason().await, format!("found no file there; {accepted}"));
    for content in ["opaque", "e30.e30.c2ln", "a.b"] {
        write(&directory, "token", content);
        let expected = format!("found something other than a JWT with an exp; {accepted}");
        assert_eq!(setup().reason().await, expected);
    }
    write(&directory, "token", jwt("old", 0));
    let expected = "found an assertion that expired at 2023-11-14T22:13:20Z; accepted: one that is valid now";
    assert_eq!(setup().reason().await, expected);

    write(&directory, "token", jwt("good", 60));
    let setup = setup();
    setup.select().await;
    setup.clock.advance(60_000);
    let expected = "found an assertion that expired at 2023-11-14T22:14:20Z; accepted: one that is valid now";
    assert_eq!(setup.reason().await, expected);
}

#[tokio::test]
async fn only_signed_assertions_are_given() {
    let setup = Setup::new(json!([{ "SourceType": "ClientSecret", "ClientSecret": "canary" }]));
    let error = setup.select().await.assertion(&AssertionContext::default()).await.unwrap_err();
    assert!(matches!(error, CredentialError::Unsupported(_)));
    let expected = "ClientCredentials[0] (ClientSecret) gives no assertions; it is a secret or a certificate";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn a_key_may_have_a_file_of_its_own() {
    let directory = TempDir::new().unwrap();
    let identity = Identity::rsa("daemon");
    let certificate = write(&directory, "tls.crt", identity.certificate.pem());
    let key = write(&directory, "tls.key", identity.key.serialize_pem());
    let entry =
        json!([{ "SourceType": "Path", "CertificateDiskPath": certificate, "CertificateKeyDiskPath": key }]);
    let setup = Setup::new(entry.clone());
    assert_eq!(setup.subject().await, "CN=daemon");
    write(&directory, "tls.key", fresh_rsa_key().serialize_pem());
    let expected = "found a private key that doesn't match the certificate (CN=daemon); accepted: a certificate and its own private key";
    assert_eq!(Setup::new(entry).reason().await, expected);
}

#[tokio::test]
async fn elliptic_curves_come_in_every_kind_of_file() {
    let directory = TempDir::new().unwrap();
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let identity = Identity::new("curve", key);
    for (name, content) in [
        ("plain.pem", identity.pem().into_bytes()),
        ("encrypted.pem", identity.encrypted_pem("pw").into_bytes()),
        ("archive.pfx", identity.pkcs12("pw")),
    ] {
        let file = write(&directory, name, &content);
        let of_file =
            json!({ "SourceType": "Path", "CertificateDiskPath": file, "CertificatePassword": "pw" });
        let of_text = json!({
            "SourceType": "Base64Encoded",
            "Base64EncodedValue": BASE64_STANDARD.encode(&content),
            "CertificatePassword": "pw",
        });
        for entry in [of_file, of_text] {
            let selected = Setup::new(json!([entry])).select().await;
            let binding = selected.binding().unwrap();
            assert_eq!((binding.subject(), binding.algorithms().len()), ("CN=curve", 1), "{name}");
        }
    }
}

/// Certificates of one subject and key, valid in different years, beside others.
struct Store {
    directory: TempDir,
    newest: Binding,
}

impl Store {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let identity = |common: &str, organization: &str, from, to| {
            let mut params = CertificateParams::default();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CountryName, "US");
            params.distinguished_name.push(DnType::OrganizationName, organization);
            params.distinguished_name.push(DnType::CommonName, common);
            (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
            let key = rsa_key();
            Identity { certificate: params.self_signed(&key).unwrap(), key }
        };
        let newest = identity("daemon.contoso.com", "Contoso, Ltd.", 2023, 2030);
        let newer_and_expired = identity("daemon.contoso.com", "Contoso, Ltd.", 2022, 2023);
        let newer_and_early = identity("daemon.contoso.com", "Contoso, Ltd.", 2024, 2040);
        let older = identity("daemon.contoso.com", "Contoso, Ltd.", 2020, 2035);
        let other = identity("worker.contoso.com", "Contoso, Ltd.", 2021, 2035);
        write(&directory, "a.pem", newer_and_early.pem());
        write(&directory, "b.PFX", newest.pkcs12(""));
        write(&directory, "c.p12", older.pkcs12(""));
        write(&directory, "d.pem", newer_and_expired.pem());
        write(&directory, "e.pem", other.pem());
        write(&directory, "public.crt", newest.certificate.pem());
        write(&directory, "locked.pfx", newest.pkcs12("password"));
        write(&directory, "README.txt", "not a certificate");
        write(&directory, "empty.pem", "");
        let newest = Binding::from_bytes(newest.pem().as_bytes(), None).unwrap();
        Self { directory, newest }
    }

    fn entry(&self, criterion: (&str, &str)) -> Setup {
        let (field, value) = criterion;
        let source_type = field.replace("Certificate", "StoreWith");
        let entry =
            json!({ "SourceType": source_type, "CertificateStorePath": "currentuser/my", field: value });
        Setup::with_stores(json!([entry]), json!({ "CurrentUser/My": self.directory.path() }))
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_newest_valid_certificate_of_a_directory_is_taken() {
    let store = Store::new();
    let spaced: String = store
        .newest
        .thumbprint_hex()
        .to_lowercase()
        .as_bytes()
        .chunks(2)
        .map(|pair| format!("{} ", pair.escape_ascii()))
        .collect();
    for criterion in [
        ("CertificateThumbprint", spaced.as_str()),
        ("CertificateDistinguishedName", "CN=daemon.contoso.com, O=\"Contoso, Ltd.\", C=US"),
        ("CertificateDistinguishedName", "c=us, o=contoso\\, ltd., cn=DAEMON.contoso.com"),
        ("CertificateSubjectName", "Daemon"),
    ] {
        let setup = store.entry(criterion);
        let selected = setup.select().await;
        assert_eq!(
            selected.binding().unwrap().thumbprint_sha256(),
            store.newest.thumbprint_sha256(),
            "{criterion:?}"
        );
        // In 2024, the one that was too early is the newest valid one.
        setup.clock.advance(60 * 86_400_000);
        setup.provider.report(&selected, Outcome::Rejected);
        let by_name = criterion.0 != "CertificateThumbprint";
        let changed = setup.select().await.binding().unwrap().not_before_unix()
            > selected.binding().unwrap().not_before_unix();
        assert_eq!(changed, by_name, "{criterion:?}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_directory_without_a_fitting_certificate_says_what_it_has() {
    let store = Store::new();
    let directory = store.directory.path().display().to_string();
    for (criterion, description, fitting) in [
        (("CertificateDistinguishedName", "CN=daemon.contoso.com"), "the subject CN=daemon.contoso.com", 0),
        (("CertificateSubjectName", "O=Contoso"), "\"O=Contoso\" in the subject", 0),
    ] {
        let setup = store.entry(criterion);
        assert_eq!(
            setup.reason().await,
            format!(
                "found no certificate that is valid now with {description} in {directory} (8 files, 5 certificates \
                 with their keys, {fitting} of them fit); accepted: a PEM or PKCS#12 (PFX) file there, without \
                 password, with the certificate and its key"
            )
        );
    }
    let criterion = StoreCriterion::subject_name("x").unwrap();
    let missing = store.directory.path().join("missing");
    let description = CredentialDescription::from_certificate_store(
        StorePath::parse("LocalMachine/My").unwrap(),
        &missing,
        criterion,
    );
    let options = ApplicationOptions::builder("app").tenant_id("contoso.com").credential(description);
    let reason = Setup::of(&options.build().unwrap()).reason().await;
    assert!(reason.starts_with("found a directory that can't be read (entity not found)"), "{reason}");
}

#[test]
fn identities_are_told_before_and_after_loading() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let directory = TempDir::new().unwrap();
    let file = write(&directory, "daemon.pem", Identity::rsa("daemon").pem());
    let azure_ad = json!({ "ClientId": "app", "TenantId": "contoso.com", "ClientCredentials": [
        { "SourceType": "Path", "CertificateDiskPath": file },
        { "SourceType": "SignedAssertionFromVault", "KeyVaultUrl": "https://v.test", "KeyVaultCertificateName": "c1" },
        { "SourceType": "CustomSignedAssertion", "CustomSignedAssertionProviderName": "Mine",
          "CustomSignedAssertionProviderData": { "a": true, "b": 1 } },
    ] });
    let options = ApplicationOptions::from_value(json!({ "AzureAd": azure_ad })).unwrap();
    let path = format!("CertificateFromPath={};Thumbprint=", file.display());
    assert_eq!(
        options.credential_ids(),
        [
            format!("{path}null"),
            "SignedAssertionFromVault=c1".to_owned(),
            "CustomSignedAssertion=Mine(a,b)".to_owned()
        ]
    );
    let selected = runtime.block_on(Setup::of(&options).select());
    assert_eq!(selected.id(), format!("{path}{}", selected.binding().unwrap().thumbprint_hex()));
}

fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// Where the values come from, those by default and the types of sources left out.
fn origins(options: &ApplicationOptions) -> Vec<(String, String)> {
    let values = options.origins().iter();
    let values =
        values.filter(|value| value.place.source() != "default" && !value.key.ends_with("SourceType"));
    values.map(|value| (value.key.clone(), value.place.to_string())).collect()
}

#[tokio::test]
async fn the_environment_of_a_workload_fills_in() {
    let directory = TempDir::new().unwrap();
    let token = write(&directory, "token", jwt("workload", 3600));
    let variables = environment(&[
        ("AZURE_CLIENT_ID", "from-environment"),
        ("AZURE_TENANT_ID", "contoso.us"),
        ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.us/"),
        ("AZURE_FEDERATED_TOKEN_FILE", token.to_str().unwrap()),
    ]);
    let silent = json!({ "AzureAd": { "ClientCredentials": [{ "SourceType": "SignedAssertionFilePath" }] } });
    let options = Settings::from_value(silent).with_environment(variables.clone()).application(None).unwrap();
    assert_eq!(options.client_id(), "from-environment");
    assert_eq!(options.authority(), "https://login.microsoftonline.us/contoso.us");
    let origin = |key: &str, place: &str| (key.to_owned(), place.to_owned());
    assert_eq!(
        origins(&options),
        [
            origin("AzureAd:ClientId", "environment variable AZURE_CLIENT_ID"),
            origin("AzureAd:Instance", "environment variable AZURE_AUTHORITY_HOST"),
            origin("AzureAd:TenantId", "environment variable AZURE_TENANT_ID"),
            origin(
                "AzureAd:ClientCredentials:0:SignedAssertionFileDiskPath",
                "environment variable AZURE_FEDERATED_TOKEN_FILE"
            ),
        ]
    );
    assert_eq!(Setup::of(&options).select().await.kind(), CredentialKind::SignedAssertion);

    let explicit = json!({ "AzureAd": {
        "ClientId": "explicit",
        "Instance": "https://login.partner.microsoftonline.cn",
        "TenantId": "contoso.cn",
        "ClientCredentials": [{ "SourceType": "SignedAssertionFilePath", "SignedAssertionFileDiskPath": "mine" }],
    } });
    let options = Settings::from_value(explicit).with_environment(variables).application(None).unwrap();
    assert_eq!(options.client_id(), "explicit");
    assert_eq!(options.authority(), "https://login.partner.microsoftonline.cn/contoso.cn");
    let given = "the given configuration: AzureAd";
    assert_eq!(
        origins(&options),
        [
            origin("AzureAd:ClientId", &format!("{given}:ClientId")),
            origin("AzureAd:Instance", &format!("{given}:Instance")),
            origin("AzureAd:TenantId", &format!("{given}:TenantId")),
            origin(
                "AzureAd:ClientCredentials:0:SignedAssertionFileDiskPath",
                &format!("{given}:ClientCredentials:0:SignedAssertionFileDiskPath")
            ),
        ]
    );
}

#[test]
fn the_environment_adds_nothing_to_an_authority_that_is_complete() {
    let variables = || {
        environment(&[
            ("AZURE_TENANT_ID", "contoso.us"),
            ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.us"),
        ])
    };
    for (written, expected) in [
        (
            json!({ "Authority": "https://login.microsoftonline.com/t.com" }),
            "https://login.microsoftonline.com/t.com",
        ),
        (
            json!({ "Instance": "https://contoso.ciamlogin.com" }),
            "https://contoso.ciamlogin.com/contoso.onmicrosoft.com",
        ),
        (json!({ "Instance": "https://fs.contoso.com/adfs" }), "https://fs.contoso.com/adfs"),
        (
            json!({ "Instance": "https://login.microsoftonline.com" }),
            "https://login.microsoftonline.com/contoso.us",
        ),
        (json!({ "TenantId": "t.us" }), "https://login.microsoftonline.us/t.us"),
    ] {
        let mut section = json!({ "ClientId": "app" });
        section.as_object_mut().unwrap().extend(written.as_object().unwrap().clone());
        let settings = Settings::from_value(json!({ "AzureAd": section })).with_environment(variables());
        assert_eq!(settings.application(None).unwrap().authority(), expected);
    }
}

#[tokio::test]
async fn what_is_said_about_bound_connections_is_passed_on() {
    let content = BASE64_STANDARD.encode(Identity::rsa("daemon").pem());
    let entry = |more: Value| {
        let mut entry = json!({ "SourceType": "Base64Encoded", "Base64EncodedValue": content });
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([entry])
    };
    for (written, expected) in [
        (json!({}), (None, false, false)),
        (json!({ "PreferBoundCredential": true }), (None, true, false)),
        (
            json!({ "UseBoundCredential": false, "PreferBoundCredential": true, "OmitAssertionWhenBound": true }),
            (Some(false), true, true),
        ),
        (json!({ "UseBoundCredential": true, "OmitAssertionWhenBound": true }), (Some(true), false, true)),
    ] {
        let selected = Setup::new(entry(written)).select().await;
        let told = (selected.use_bound(), selected.prefers_bound(), selected.omits_assertion_when_bound());
        assert_eq!(told, expected);
    }
}

fn errors(credentials: Value) -> Vec<String> {
    let azure_ad = json!({ "ClientId": "app", "TenantId": "contoso.com", "ClientCredentials": credentials });
    let error = ApplicationOptions::from_value(json!({ "AzureAd": azure_ad })).unwrap_err();
    error.problems().iter().map(ToString::to_string).collect()
}

#[test]
fn what_can_not_be_bound_says_so() {
    let at = "the given configuration: AzureAd:ClientCredentials:0";
    let both =
        json!([{ "SourceType": "Certificate", "UseBoundCredential": true, "PreferBoundCredential": true }]);
    assert_eq!(
        errors(both),
        [format!(
            "{at}:PreferBoundCredential: found true beside UseBoundCredential, which never gives way; accepted: one of them"
        )]
    );
    let file = json!([{ "SourceType": "SignedAssertionFilePath", "UseBoundCredential": true }]);
    assert_eq!(
        errors(file),
        [format!(
            "{at}:UseBoundCredential: found true on a SignedAssertionFilePath, whose assertion is bound to no certificate \
             (unbindable-credential, IDW10115 in Microsoft.Identity.Web); accepted: a certificate, a managed identity or \
             another application, or false"
        )]
    );
    let azure_ad = json!({ "ClientId": "app", "TenantId": "contoso.com", "ClientCredentials": [
        { "SourceType": "ClientSecret", "ClientSecret": "s", "PreferBoundCredential": true },
        { "SourceType": "Certificate", "OmitAssertionWhenBound": true },
        { "SourceType": "Certificate", "PreferBoundCredential": true, "OmitAssertionWhenBound": true },
    ] });
    let options = ApplicationOptions::from_value(json!({ "AzureAd": azure_ad })).unwrap();
    let warnings: Vec<_> = options.warnings().iter().map(ToString::to_string).collect();
    let at = "the given configuration: AzureAd:ClientCredentials";
    assert_eq!(
        warnings,
        [
            format!(
                "{at}:0:PreferBoundCredential: has no effect: no connection can be bound to a ClientSecret"
            ),
            format!(
                "{at}:1:OmitAssertionWhenBound: has no effect without UseBoundCredential or PreferBoundCredential"
            ),
        ]
    );
}

#[test]
fn clouds_without_a_known_audience_want_one() {
    let of = |instance: &str, url: Value| {
        let entry = json!([{ "SourceType": "SignedAssertionFromManagedIdentity", "TokenExchangeUrl": url }]);
        let azure_ad = json!({ "ClientId": "app", "Instance": instance, "TenantId": "t.com", "ClientCredentials": entry });
        ApplicationOptions::from_value(json!({ "AzureAd": azure_ad }))
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    assert_eq!(of("https://login.microsoftonline.us", Value::Null), Ok(()));
    assert_eq!(of("https://login.contoso.com", json!("api://Mine")), Ok(()));
    assert_eq!(
        of("https://login.contoso.com", Value::Null).unwrap_err(),
        "the given configuration: AzureAd:ClientCredentials:0:TokenExchangeUrl: found nothing; accepted: an absolute \
         URI, such as \"api://AzureADTokenExchange\"; none is known for this cloud"
    );
}
