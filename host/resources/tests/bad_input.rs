//! What is wrong before the first request: the whole text of each error, and no secret in any.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod certificates;

use std::path::Path;
use std::sync::Arc;

use certificates::{Identity, fresh_rsa_key, rsa_key, write};
use serde_json::{Value, json};
use symbolon_resources::clock::ManualClock;
use symbolon_resources::configuration::{ConfigurationError, Settings};
use symbolon_resources::credentials::{CredentialProvider, SigningBudget};
use tempfile::TempDir;

/// Different enough from everything else to be found anywhere.
const CANARY: &str = "canary-7a1f\"\\<secret>";

const NOW: u64 = 1_700_000_000_000;

struct Setup(TempDir);

impl Setup {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// The error of a configuration file with one credential.
    async fn credential(&self, entry: Value) -> String {
        self.azure_ad(json!({ "ClientId": "app", "TenantId": "contoso.com", "ClientCredentials": [entry] }))
            .await
    }

    /// The error of a configuration file with this section; file names relative to the directory.
    async fn azure_ad(&self, section: Value) -> String {
        let file = write(&self.0, "appsettings.json", json!({ "AzureAd": section }).to_string());
        let (text, debug) = match provider(&file, None) {
            Err(error) => (error.to_string(), format!("{error:?}")),
            Ok(credentials) => {
                let error = credentials.select(&SigningBudget::new()).await.unwrap_err();
                (error.to_string(), format!("{error:?}"))
            }
        };
        for secret in [CANARY, "canary-7a1f"] {
            assert!(!text.contains(secret) && !debug.contains(secret), "{text}\n{debug}");
        }
        text.replace(&format!("{}/", self.0.path().display()), "")
    }
}

/// The credentials of a section of a file.
fn provider(file: &Path, section: Option<&str>) -> Result<CredentialProvider, ConfigurationError> {
    let options = Settings::from_file(file)?.application(section)?;
    Ok(CredentialProvider::new(&options, Arc::new(ManualClock::new(NOW))))
}

fn path(name: &str) -> Value {
    json!({ "SourceType": "Path", "CertificateDiskPath": name })
}

fn path_with(name: &str, password: &str) -> Value {
    json!({ "SourceType": "Path", "CertificateDiskPath": name, "CertificatePassword": password })
}

const ENTRY: &str = "appsettings.json: AzureAd:ClientCredentials:0";

fn unusable(rest: &str) -> String {
    format!("no client credential can be used\n  {ENTRY} {rest}")
}

#[tokio::test]
async fn a_wrong_password() {
    let setup = Setup::new();
    let identity = Identity::rsa("daemon");
    write(&setup.0, "a.pfx", identity.pkcs12("right"));
    write(&setup.0, "a.pem", identity.encrypted_pem("right"));
    let accepted = "accepted: the password that it was made with";
    assert_eq!(
        setup.credential(path_with("a.pfx", CANARY)).await,
        unusable(&format!(
            "(Path a.pfx): found a PKCS#12 file that CertificatePassword doesn't open; {accepted}"
        ))
    );
    assert_eq!(
        setup.credential(path_with("a.pem", CANARY)).await,
        unusable(&format!(
            "(Path a.pem): found a private key that CertificatePassword doesn't open; {accepted}"
        ))
    );
}

#[tokio::test]
async fn a_key_that_does_not_match_its_certificate() {
    let setup = Setup::new();
    write(&setup.0, "a.pem", Identity::rsa("daemon").certificate.pem() + &fresh_rsa_key().serialize_pem());
    assert_eq!(
        setup.credential(path("a.pem")).await,
        unusable(
            "(Path a.pem): found a private key that doesn't match the certificate (CN=daemon); \
             accepted: a certificate and its own private key"
        )
    );
}

#[tokio::test]
async fn an_expired_certificate() {
    let setup = Setup::new();
    write(&setup.0, "a.pem", Identity::valid("daemon", rsa_key(), 2019, 2020).pem());
    assert_eq!(
        setup.credential(path("a.pem")).await,
        unusable(
            "(Path a.pem): found a certificate (CN=daemon) that expired at 2020-01-01T00:00:00Z; \
             accepted: a certificate that is valid now"
        )
    );
}

#[tokio::test]
async fn a_missing_file_when_no_other_credential_is_usable() {
    let setup = Setup::new();
    assert_eq!(
        setup.credential(path("missing.pem")).await,
        unusable("(Path missing.pem): found no file there; accepted: a PEM or PKCS#12 (PFX) file")
    );
}

#[tokio::test]
async fn an_unknown_source_type() {
    let setup = Setup::new();
    let all = "Certificate, KeyVault, Base64Encoded, Path, StoreWithThumbprint, StoreWithDistinguishedName, \
               StoreWithSubjectName, ClientSecret, SignedAssertionFromManagedIdentity, SignedAssertionFilePath, \
               SignedAssertionFromVault, AutoDecryptKeys, CustomSignedAssertion, ManagedCertificate";
    for (written, found) in [
        ("Pth", "\"Pth\" (did you mean \"Path\"?)"),
        ("ClientSecrt", "\"ClientSecrt\" (did you mean \"ClientSecret\"?)"),
        ("Vault", "\"Vault\""),
        ("3", "\"3\""),
    ] {
        assert_eq!(
            setup.credential(json!({ "SourceType": written, "ClientSecret": CANARY })).await,
            format!("{ENTRY}:SourceType: found {found}; accepted: {all}")
        );
    }
    assert_eq!(
        setup.credential(json!({ "ClientSecret": CANARY })).await,
        format!("{ENTRY}:SourceType: found nothing; accepted: {all}")
    );
}

#[tokio::test]
async fn every_known_source_type_is_recognised() {
    let setup = Setup::new();
    let files = "accepted: Path or Base64Encoded, with the certificate and its private key as PEM or PKCS#12";
    let any = "accepted: a certificate (Path, KeyVault, …), a signed assertion (SignedAssertionFilePath, …) or ClientSecret";
    let decrypts = setup.credential(json!({ "SourceType": "autodecryptkeys" })).await;
    assert_eq!(
        decrypts,
        "appsettings.json: AzureAd:ClientCredentials: found only client secrets with Skip and keys that decrypt tokens; \
         accepted: at least one of SourceType Path, Base64Encoded, Certificate or ClientSecret"
    );
    for (name, why, instead) in [
        ("SignedAssertionFromVault", "is known, but no library has an implementation of it", any),
        ("ManagedCertificate", "is known, but works inside Microsoft only", files),
    ] {
        let error = setup.credential(json!({ "SourceType": name.to_uppercase() })).await;
        assert_eq!(error, unusable(&format!("({name}): found SourceType {name}, which {why}; {instead}")));
    }
    let vault =
        json!({ "SourceType": "keyvault", "KeyVaultUrl": "https://v.test", "KeyVaultCertificateName": "c" });
    for (entry, source, reason) in [
        (vault, "KeyVault https://v.test/c", "Key Vault: no answer (no way out)"),
        (
            json!({ "SourceType": "SignedAssertionFromManagedIdentity", "ManagedIdentityClientId": "id" }),
            "SignedAssertionFromManagedIdentity id",
            "found SourceType SignedAssertionFromManagedIdentity, which needs a token of its own, and nothing that \
             acquires one; accepted: sources on this machine",
        ),
        (
            json!({ "SourceType": "SignedAssertionFilePath" }),
            "SignedAssertionFilePath",
            "found no path; accepted: SignedAssertionFileDiskPath, or the environment variable AZURE_FEDERATED_TOKEN_FILE",
        ),
        (
            json!({ "SourceType": "CustomSignedAssertion" }),
            "CustomSignedAssertion",
            "found no CustomSignedAssertionProviderName; accepted: \"OidcIdpSignedAssertion\" (built in)",
        ),
    ] {
        assert_eq!(setup.credential(entry).await, unusable(&format!("({source}): {reason}")));
    }
}

#[tokio::test]
async fn a_misspelt_key() {
    let setup = Setup::new();
    let section = json!({ "ClientId": "app", "TenantID2": "contoso.com", "ClientSecret": CANARY, "TenantId": "contoso.com" });
    assert_eq!(
        setup.azure_ad(section).await,
        "appsettings.json: AzureAd:TenantID2: found an unknown key (did you mean TenantId?); accepted: TenantId"
    );
    assert_eq!(
        setup
            .credential(json!({ "SourceType": "ClientSecret", "ClientSecret": "x", "ClientSecrets": CANARY }))
            .await,
        format!(
            "{ENTRY}:ClientSecrets: found an unknown field (did you mean ClientSecret?); accepted: ClientSecret, ClientSecretFile, SourceType, Skip, UseBoundCredential, PreferBoundCredential"
        )
    );
    assert_eq!(
        setup
            .credential(json!({ "SourceType": "Path", "CertificateDiskPath": "x", "ClientSecret": CANARY }))
            .await,
        format!(
            "{ENTRY}:ClientSecret: found a field that SourceType Path has no use for; accepted: CertificateDiskPath, CertificateKeyDiskPath, CertificateKeyUri, CertificatePassword, OmitAssertionWhenBound, KeyId, SourceType, Skip, UseBoundCredential, PreferBoundCredential"
        )
    );
}

#[tokio::test]
async fn fields_that_are_missing_or_empty() {
    let setup = Setup::new();
    for (entry, rest) in [
        (
            json!({ "SourceType": "ClientSecret" }),
            "ClientSecret: found nothing; accepted: the client secret, or ClientSecretFile",
        ),
        (
            json!({ "SourceType": "ClientSecret", "ClientSecret": "" }),
            "ClientSecret: found an empty string; accepted: the client secret, or ClientSecretFile",
        ),
        (
            json!({ "SourceType": "Path", "CertificateDiskPath": " " }),
            "CertificateDiskPath: found an empty string; accepted: the path of a PEM or PKCS#12 file",
        ),
        (
            json!({ "SourceType": "Base64Encoded", "CertificatePassword": CANARY }),
            "Base64EncodedValue: found nothing; accepted: a PEM or PKCS#12 file in base64",
        ),
        (
            json!({ "SourceType": "Base64Encoded", "Base64EncodedValue": CANARY }),
            "Base64EncodedValue: found something other than base64; accepted: a PEM or PKCS#12 file in base64",
        ),
        (
            json!({ "SourceType": "ClientSecret", "ClientSecret": CANARY, "ClientSecretFile": "x" }),
            "ClientSecretFile: found a file beside ClientSecret; accepted: one of ClientSecret and ClientSecretFile",
        ),
        (
            json!({ "SourceType": "ClientSecret", "ClientSecretFile": "" }),
            "ClientSecretFile: found an empty string; accepted: the path of a file with the client secret",
        ),
        (
            json!({
                "SourceType": "StoreWithThumbprint",
                "CertificateStorePath": "CurrentUser/My",
                "CertificateThumbprint": "12:34",
            }),
            "CertificateThumbprint: found \"12:34\"; accepted: 40 hexadecimal digits",
        ),
        (
            json!({
                "SourceType": "StoreWithDistinguishedName",
                "CertificateStorePath": "CurrentUser/My",
                "CertificateDistinguishedName": "daemon",
            }),
            "CertificateDistinguishedName: found \"daemon\"; accepted: a distinguished name, such as \"CN=daemon, O=Contoso\"",
        ),
        (
            json!({ "SourceType": "KeyVault", "KeyVaultUrl": "http://v.test", "KeyVaultCertificateName": "c" }),
            "KeyVaultUrl: found \"http://v.test\"; accepted: the https URL of a vault, such as \"https://contoso.vault.azure.net\"",
        ),
        (
            json!({ "SourceType": "KeyVault", "KeyVaultUrl": "https://v.test", "KeyVaultCertificateName": "a b" }),
            "KeyVaultCertificateName: found \"a b\"; accepted: the name of a certificate, or its name and a version, such as \"daemon/0123456789abcdef\"",
        ),
        (
            json!({
                "SourceType": "KeyVault",
                "KeyVaultUrl": "https://v.test",
                "KeyVaultCertificateName": "c",
                "ManagedIdentityClientId": "i",
                "ConfigurationSection": "Other",
            }),
            "ConfigurationSection: found an application beside ManagedIdentityClientId; accepted: one of ConfigurationSection and ManagedIdentityClientId",
        ),
        (
            json!({ "SourceType": "CustomSignedAssertion", "CustomSignedAssertionProviderName": "OidcIdpSignedAssertion" }),
            "CustomSignedAssertionProviderData:ConfigurationSection: found nothing; accepted: the name of the section of another application",
        ),
    ] {
        assert_eq!(setup.credential(entry).await, format!("{ENTRY}:{rest}"));
    }
}

#[tokio::test]
async fn a_tenant_that_is_neither_guid_nor_domain() {
    let setup = Setup::new();
    let tenants = "accepted: a GUID, a domain name such as \"contoso.onmicrosoft.com\", \"common\", \"organizations\", \"consumers\"";
    for tenant in
        ["contoso", "a b.com", "9188040d-6c67-4c5b-b112-36a304b66da", "-a.com", "a..com", "../evil.com"]
    {
        let section = json!({ "ClientId": "app", "TenantId": tenant, "ClientSecret": CANARY });
        let expected = format!("appsettings.json: AzureAd:TenantId: found {tenant:?}; {tenants}");
        assert_eq!(setup.azure_ad(section).await, expected);
    }
    let section = json!({ "ClientId": "app", "ClientSecret": CANARY });
    assert_eq!(
        setup.azure_ad(section).await,
        format!("appsettings.json: AzureAd:TenantId: found nothing; {tenants}")
    );
    let section = json!({ "ClientId": "app", "Authority": "https://login.microsoftonline.com/contoso/v2.0" });
    assert_eq!(
        setup.azure_ad(section).await,
        format!("appsettings.json: AzureAd:Authority: found \"contoso\"; {tenants}")
    );
}

#[tokio::test]
async fn a_region_that_is_not_alphanumeric() {
    let setup = Setup::new();
    for region in ["west europe", "west-europe", "westeurope\n", "westeurop\u{e9}", "a.evil"] {
        let section = json!({ "ClientId": "app", "TenantId": "contoso.com", "AzureRegion": region, "ClientSecret": CANARY });
        let expected = format!(
            "appsettings.json: AzureAd:AzureRegion: found {region:?}; accepted: the name of a region in letters and digits, such as \"westeurope\""
        );
        assert_eq!(setup.azure_ad(section).await, expected);
    }
}

#[tokio::test]
async fn an_instance_that_is_no_https_url_and_an_empty_client_id() {
    let setup = Setup::new();
    for instance in [
        "login.microsoftonline.com",
        "http://login.microsoftonline.com",
        "https://u:p@h.test",
        "https://h.test?x=1",
    ] {
        let section = json!({ "ClientId": "app", "TenantId": "contoso.com", "Instance": instance });
        let expected = format!(
            "appsettings.json: AzureAd:Instance: found {instance:?}; accepted: an https URL, such as \"https://login.microsoftonline.com\""
        );
        assert_eq!(setup.azure_ad(section).await, expected);
    }
    for (client_id, found) in [(json!(""), "\"\""), (json!(null), "nothing"), (json!("  "), "\"  \"")] {
        let section = json!({ "ClientId": client_id, "TenantId": "contoso.com" });
        let expected = format!(
            "appsettings.json: AzureAd:ClientId: found {found}; accepted: the application's client id"
        );
        assert_eq!(setup.azure_ad(section).await, expected);
    }
}

#[tokio::test]
async fn no_credential_at_all() {
    let setup = Setup::new();
    let section = json!({ "ClientId": "app", "TenantId": "contoso.com" });
    assert_eq!(
        setup.azure_ad(section).await,
        "appsettings.json: AzureAd:ClientCredentials: found no client credential; accepted: at least one of SourceType Path, Base64Encoded, Certificate or ClientSecret"
    );
}

#[tokio::test]
async fn secrets_and_keys_show_nowhere() {
    let setup = Setup::new();
    let identity = Identity::rsa("daemon");
    write(&setup.0, "a.pfx", identity.pkcs12(CANARY));
    let file = write(
        &setup.0,
        "appsettings.json",
        json!({
            "AzureAd": { "ClientId": "app", "TenantId": "contoso.com", "ClientCredentials": [
                path_with("a.pfx", CANARY),
                { "SourceType": "Base64Encoded", "Base64EncodedValue": base64(&identity.pem()) },
                { "SourceType": "ClientSecret", "ClientSecret": CANARY },
            ] },
            "Symbolon": { "Proxy": "http://user:canary-7a1f@proxy.test" },
        })
        .to_string(),
    );
    let options = Settings::from_file(&file).unwrap().application(None).unwrap();
    let credentials = provider(&file, None).unwrap();
    let mut shown = format!("{options:?}\n{credentials:?}\n{:?}", credentials.check().await);
    let budget = SigningBudget::new();
    for _ in 0..3 {
        let selected = credentials.select(&budget).await.unwrap();
        shown += &format!(
            "{selected:?}{:?}{:?}{:?}",
            selected.credential(),
            selected.secret(),
            selected.binding()
        );
        credentials.report(&selected, symbolon_resources::credentials::Outcome::Rejected);
    }
    assert!(shown.contains("CN=daemon") && shown.contains("ClientSecret(redacted)"), "{shown}");
    let key = identity.key.serialize_der();
    let key_numbers = format!("{:?}", &key[100..108]);
    let key_text = &base64(&identity.key.serialize_pem())[100..140];
    let pem_text = &identity.key.serialize_pem()[200..240];
    for secret in [
        "canary-7a1f",
        key_numbers.trim_matches(['[', ']']),
        key_text,
        pem_text,
        &base64(&identity.pem())[..40],
    ] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[tokio::test]
async fn a_good_configuration_passes() {
    let setup = Setup::new();
    write(&setup.0, "a.pem", Identity::rsa("daemon").pem());
    let section = json!({ "ClientId": "app", "TenantId": "contoso.com", "ClientCredentials": [path("missing.pem"), path("a.pem")] });
    let file = write(&setup.0, "appsettings.json", json!({ "Web": section }).to_string());
    let credentials = provider(&file, Some("Web")).unwrap();
    assert!(credentials.select(&SigningBudget::new()).await.unwrap().binding().is_some());
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(text)
}
