//! Entries of `ClientCredentials`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::credentials::{
    COMMON_FIELDS, CertificatePassword, ClientSecret, CredentialComponent, CredentialDescription,
    CredentialId, CredentialSource, KeyPlace, KeyVaultCertificate, ManagedIdentitySource, OtherApplication,
    Pkcs11Uri, SourceType, StoreCriterion, StoreDirectories, StorePath, StorePathError, VaultIdentity,
};
use crate::transport::TransportOptions;

use super::builder::Entry;
use super::environment::Environment;
use super::error::{Place, quoted};
use super::options::ApplicationOptions;
use super::origins::ValueOrigin;
use super::reader::{Findings, Located, Section, nearest};

/// What an entry is read against.
pub(super) struct Surroundings<'a> {
    /// Where relative paths start.
    pub(super) directory: &'a Path,
    pub(super) environment: &'a Environment,
    pub(super) stores: &'a StoreDirectories,
    pub(super) transport: &'a TransportOptions,
    /// Components that have credentials, by name.
    pub(super) components: &'a BTreeMap<String, CredentialComponent>,
}

/// Reads one entry. `None` when it is malformed, which the findings say.
pub(super) fn read(
    section: &Section<'_>,
    surroundings: &Surroundings<'_>,
    findings: &mut Findings,
) -> Option<Entry> {
    let source_type = source_type(section, findings)?;
    check_fields(section, source_type, findings);
    let flag = |name: &str, findings: &mut Findings| section.flag(name, findings);
    let skip = flag("Skip", findings).unwrap_or(false);
    let use_bound_credential = flag("UseBoundCredential", findings);
    let prefer_bound_credential = flag("PreferBoundCredential", findings).unwrap_or(false);
    let omit_assertion_when_bound = flag("OmitAssertionWhenBound", findings).unwrap_or(false);
    let key_id = section.text("KeyId", findings).map(|id| id.value).filter(|id| !id.is_empty());
    let mut reader = Reader { section, surroundings, findings, origins: Vec::new() };
    let source = reader.source(source_type)?;
    let origins = reader.origins;
    let token_exchange_url = section.text("TokenExchangeUrl", findings);
    let description = CredentialDescription {
        skip,
        use_bound_credential,
        prefer_bound_credential,
        omit_assertion_when_bound,
        key_id,
        ..CredentialDescription::new(source, id(section, source_type))
    };
    Some(Entry { token_exchange_url, origins, ..Entry::new(section.place(), description) })
}

fn id(section: &Section<'_>, source_type: SourceType) -> CredentialId {
    let keys = section.names_in("CustomSignedAssertionProviderData");
    CredentialId::new(source_type, |name| section.peek(name), keys)
}

fn source_type(section: &Section<'_>, findings: &mut Findings) -> Option<SourceType> {
    let names = || SourceType::ALL.map(SourceType::as_str);
    let accepted = || names().join(", ");
    if !section.has("SourceType") {
        findings.problem(section.place_of("SourceType"), "nothing", accepted());
        return None;
    }
    let written = section.text("SourceType", findings)?;
    let source_type = SourceType::parse(&written.value);
    if source_type.is_none() {
        let hint = nearest(&written.value, names()).map(|name| format!(" (did you mean {name:?}?)"));
        let found = format!("{}{}", quoted(&written.value), hint.unwrap_or_default());
        findings.problem(written.place, found, accepted());
    }
    source_type
}

fn check_fields(section: &Section<'_>, source_type: SourceType, findings: &mut Findings) {
    let accepted: Vec<_> = source_type.fields().iter().chain(&COMMON_FIELDS).copied().collect();
    for name in section.names().filter(|name| section.has(name)) {
        if accepted.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            continue;
        }
        let elsewhere = SourceType::ALL
            .iter()
            .any(|other| other.fields().iter().any(|known| known.eq_ignore_ascii_case(name)));
        let found = match nearest(name, accepted.iter().copied()) {
            _ if elsewhere => format!("a field that SourceType {source_type} has no use for"),
            Some(meant) => format!("an unknown field (did you mean {meant}?)"),
            None => "an unknown field".to_owned(),
        };
        findings.problem(section.place_of(name), found, accepted.join(", "));
    }
}

struct Reader<'a> {
    section: &'a Section<'a>,
    surroundings: &'a Surroundings<'a>,
    findings: &'a mut Findings,
    origins: Vec<ValueOrigin>,
}

impl Reader<'_> {
    fn source(&mut self, source_type: SourceType) -> Option<CredentialSource> {
        if let Some(reason) = source_type.unsupported() {
            return Some(CredentialSource::Unsupported(source_type, reason));
        }
        match source_type {
            SourceType::ClientSecret => self.client_secret(),
            SourceType::Path => {
                let path = self.required("CertificateDiskPath", "the path of a PEM or PKCS#12 file")?;
                let (path, key) = (self.path(&path.value), self.key_place()?);
                Some(CredentialSource::Path { path, key, password: self.password() })
            }
            SourceType::Base64Encoded => self.base64_encoded(),
            SourceType::StoreWithThumbprint
            | SourceType::StoreWithDistinguishedName
            | SourceType::StoreWithSubjectName => self.store(source_type),
            SourceType::KeyVault => self.key_vault(),
            SourceType::SignedAssertionFromManagedIdentity => {
                let client_id = self.managed_identity().map(|client_id| client_id.value);
                Some(CredentialSource::ManagedIdentity(ManagedIdentitySource { client_id, resource: None }))
            }
            SourceType::SignedAssertionFilePath => {
                let default = self.surroundings.environment.federated_token_file.clone();
                let path = self.or_from_environment("SignedAssertionFileDiskPath", default);
                Some(CredentialSource::SignedAssertionFile(path.map(|path| self.path(&path.value))))
            }
            SourceType::CustomSignedAssertion => self.custom_signed_assertion(),
            _ => Some(CredentialSource::Certificate(None)),
        }
    }

    fn client_secret(&mut self) -> Option<CredentialSource> {
        if !self.section.has("ClientSecretFile") {
            let secret = self.required("ClientSecret", "the client secret, or ClientSecretFile")?;
            return Some(CredentialSource::ClientSecret(ClientSecret::new(secret.value.as_str())));
        }
        if self.section.has("ClientSecret") {
            let place = self.section.place_of("ClientSecretFile");
            self.findings.problem(
                place,
                "a file beside ClientSecret",
                "one of ClientSecret and ClientSecretFile",
            );
            return None;
        }
        let path = self.required("ClientSecretFile", "the path of a file with the client secret")?;
        Some(CredentialSource::ClientSecretFile(self.path(&path.value)))
    }

    /// Where the private key is, if that is said; `None` where it is said wrongly.
    fn key_place(&mut self) -> Option<Option<KeyPlace>> {
        let given = |key: &Located<String>| !key.value.is_empty();
        let file = self.section.text("CertificateKeyDiskPath", self.findings).filter(given);
        let uri = self.section.text("CertificateKeyUri", self.findings).filter(given);
        match (file, uri) {
            (file, None) => Some(file.map(|file| KeyPlace::File(self.path(&file.value)))),
            (Some(_), Some(uri)) => {
                let accepted = "one of CertificateKeyDiskPath and CertificateKeyUri";
                self.findings.problem(uri.place, "a key beside CertificateKeyDiskPath", accepted);
                None
            }
            (None, Some(uri)) => {
                let parsed = Pkcs11Uri::parse(&uri.value);
                if parsed.is_none() {
                    // It may hold a PIN, and isn't shown.
                    let accepted = "\"pkcs11:token=…;object=…?module-path=…\" (RFC 7512), the PIN in CertificatePassword or pin-source";
                    self.findings.problem(
                        uri.place,
                        "something other than the URI of a private key",
                        accepted,
                    );
                }
                parsed.map(KeyPlace::Token).map(Some)
            }
        }
    }

    fn base64_encoded(&mut self) -> Option<CredentialSource> {
        const ACCEPTED: &str = "a PEM or PKCS#12 file in base64";
        let content = self.required("Base64EncodedValue", ACCEPTED)?;
        let password = self.password();
        match CredentialDescription::from_base64(&content.value, password) {
            Some(description) => Some(description.source),
            None => {
                self.findings.problem(content.place, "something other than base64", ACCEPTED);
                None
            }
        }
    }

    fn store(&mut self, source_type: SourceType) -> Option<CredentialSource> {
        type Parse = fn(&str) -> Option<StoreCriterion>;
        let (field, accepted, parse): (_, _, Parse) = match source_type {
            SourceType::StoreWithThumbprint => {
                ("CertificateThumbprint", "40 hexadecimal digits", StoreCriterion::thumbprint)
            }
            SourceType::StoreWithDistinguishedName => (
                "CertificateDistinguishedName",
                "a distinguished name, such as \"CN=daemon, O=Contoso\"",
                StoreCriterion::distinguished_name,
            ),
            _ => (
                "CertificateSubjectName",
                "a part of the certificate's subject, such as \"daemon\"",
                StoreCriterion::subject_name,
            ),
        };
        let path = self.required("CertificateStorePath", StorePathError::ACCEPTED);
        let criterion = self.required(field, accepted)?;
        let path = path?;
        let store = StorePath::parse(&path.value);
        if store.is_err() {
            self.findings.problem(path.place, quoted(&path.value), StorePathError::ACCEPTED);
        }
        let parsed = parse(&criterion.value);
        if parsed.is_none() {
            self.findings.problem(criterion.place, quoted(&criterion.value), accepted);
        }
        let (store, criterion) = (store.ok()?, parsed?);
        let directory = self.surroundings.stores.get(&store).cloned();
        Some(CredentialSource::Store { source_type, store, criterion, directory })
    }

    fn key_vault(&mut self) -> Option<CredentialSource> {
        const URL: &str = "the https URL of a vault, such as \"https://contoso.vault.azure.net\"";
        const NAME: &str =
            "the name of a certificate, or its name and a version, such as \"daemon/0123456789abcdef\"";
        let (url, name) = (self.required("KeyVaultUrl", URL), self.required("KeyVaultCertificateName", NAME));
        let identity = self.vault_identity()?;
        let (url, name) = (url?, name?);
        if KeyVaultCertificate::new(&url.value, "name", identity.clone()).is_none() {
            self.findings.problem(url.place, quoted(&url.value), URL);
            return None;
        }
        let certificate = KeyVaultCertificate::new(&url.value, &name.value, identity);
        if certificate.is_none() {
            self.findings.problem(name.place, quoted(&name.value), NAME);
        }
        certificate.map(CredentialSource::KeyVault)
    }

    /// The application that is named, else the workload whose token the platform keeps in a file, else a managed identity.
    fn vault_identity(&mut self) -> Option<VaultIdentity> {
        let section = self.section.text("ConfigurationSection", self.findings);
        if let Some(section) = section.filter(|section| !section.value.is_empty()) {
            if self.section.has("ManagedIdentityClientId") {
                let found = "an application beside ManagedIdentityClientId";
                let accepted = "one of ConfigurationSection and ManagedIdentityClientId";
                self.findings.problem(section.place, found, accepted);
                return None;
            }
            return Some(VaultIdentity::Section(section.value));
        }
        let client_id = self.managed_identity();
        let environment = self.surroundings.environment;
        let (Some(client_id), Some(tenant_id), Some(file)) =
            (&client_id, &environment.tenant_id, &environment.federated_token_file)
        else {
            return Some(VaultIdentity::ManagedIdentity(client_id.map(|client_id| client_id.value)));
        };
        let mut builder = ApplicationOptions::builder(&client_id.value)
            .tenant_id(&tenant_id.value)
            .credential(CredentialDescription::from_signed_assertion_file(&file.value))
            .transport(self.surroundings.transport.clone());
        if let Some(host) = &environment.authority_host {
            builder = builder.instance(&host.value);
        }
        match builder.build() {
            Ok(options) => Some(VaultIdentity::Workload(Arc::new(options))),
            Err(_) => {
                let found =
                    format!("{}, or an AZURE_AUTHORITY_HOST, that can't be used", quoted(&tenant_id.value));
                let accepted = "a tenant, and the https URL of a cloud, or no AZURE_FEDERATED_TOKEN_FILE";
                self.findings.problem(tenant_id.place.clone(), found, accepted);
                None
            }
        }
    }

    fn custom_signed_assertion(&mut self) -> Option<CredentialSource> {
        let name = self.section.text("CustomSignedAssertionProviderName", self.findings);
        let name = name.map(|name| name.value).filter(|name| !name.is_empty());
        let data = self.section.object("CustomSignedAssertionProviderData", self.findings);
        if name.as_deref() == Some(OtherApplication::PROVIDER) {
            return self.other_application(data.as_ref());
        }
        let data = data.map(|data| data.scalars(self.findings)).unwrap_or_default();
        let components = self.surroundings.components;
        let component = name.as_deref().and_then(|name| components.get(name));
        let (Some(component), Some(name)) = (component, &name) else {
            return Some(CredentialSource::CustomSignedAssertion { name, data });
        };
        let with_data = |component: CredentialComponent, (name, value)| component.with_setting(name, value);
        let component = data.into_iter().fold(component.clone(), with_data);
        Some(CredentialSource::Component { name: name.clone(), component })
    }

    fn other_application(&mut self, data: Option<&Section<'_>>) -> Option<CredentialSource> {
        const ACCEPTED: &str = "the name of the section of another application";
        let place = || self.section.place_of("CustomSignedAssertionProviderData");
        let Some(data) = data else {
            self.findings.problem(place().child(OtherApplication::SECTION), "nothing", ACCEPTED);
            return None;
        };
        let section = data.text(OtherApplication::SECTION, self.findings);
        let requires_fmi_path =
            data.flag(OtherApplication::REQUIRES_FMI_PATH, self.findings).unwrap_or(false);
        match section.filter(|section| !section.value.is_empty()) {
            Some(section) => Some(CredentialSource::OtherApplication(OtherApplication {
                section: section.value,
                requires_fmi_path,
                scope: None,
            })),
            None => {
                self.findings.problem(data.place_of(OtherApplication::SECTION), "nothing", ACCEPTED);
                None
            }
        }
    }

    fn managed_identity(&mut self) -> Option<Located<String>> {
        let default = self.surroundings.environment.client_id.clone();
        self.or_from_environment("ManagedIdentityClientId", default)
    }

    /// What is written, else what the environment says.
    fn or_from_environment(
        &mut self,
        name: &str,
        default: Option<Located<String>>,
    ) -> Option<Located<String>> {
        let written = self.section.text(name, self.findings).filter(|value| !value.value.is_empty());
        let value = written.or(default)?;
        self.origins.push(ValueOrigin::new(&self.section.place().child(name), value.clone()));
        Some(value)
    }

    fn password(&mut self) -> Option<CertificatePassword> {
        let password = self.section.secret("CertificatePassword", self.findings)?;
        Some(CertificatePassword::new(password.value.as_str()))
    }

    fn path(&self, written: &str) -> PathBuf {
        self.surroundings.directory.join(written)
    }

    fn required(&mut self, name: &str, accepted: &str) -> Option<Located<Zeroizing<String>>> {
        if !self.section.has(name) {
            self.findings.problem(self.section.place_of(name), "nothing", accepted);
            return None;
        }
        let value = self.section.secret(name, self.findings)?;
        if value.value.trim().is_empty() {
            self.findings.problem(value.place, "an empty string", accepted);
            return None;
        }
        Some(value)
    }
}

/// How messages name an entry: `ClientCredentials[0] (Path)` for `AzureAd:ClientCredentials:0`.
pub(super) fn name(place: &Place, source_type: SourceType) -> String {
    let mut steps = place.path().rsplit(':');
    match (steps.next(), steps.next()) {
        (Some(index), Some(list)) if index.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{list}[{index}] ({source_type})")
        }
        (Some(key), _) => format!("{key} ({source_type})"),
        _ => source_type.to_string(),
    }
}
