use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use super::binding::Binding;
use super::certificate_store::{StoreCriterion, StorePath};
use super::component::CredentialComponent;
use super::id::CredentialId;
use super::key_vault::{KeyVaultCertificate, VaultIdentity};
use super::pkcs11_uri::Pkcs11Uri;
use super::secret::{CertificatePassword, ClientSecret};
use super::source::{CredentialSource, KeyPlace, ManagedIdentitySource, OtherApplication};
use super::source_type::SourceType;

/// One entry of `ClientCredentials`: where a credential comes from and how it is used. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct CredentialDescription {
    pub(crate) source: CredentialSource,
    pub(crate) id: CredentialId,
    pub(crate) skip: bool,
    pub(crate) use_bound_credential: Option<bool>,
    pub(crate) prefer_bound_credential: bool,
    pub(crate) omit_assertion_when_bound: bool,
    pub(crate) key_id: Option<String>,
    pub(crate) token_exchange_url: Option<String>,
}

impl CredentialDescription {
    /// A shared secret.
    pub fn from_client_secret(secret: ClientSecret) -> Self {
        let id = id_of(SourceType::ClientSecret, &[("ClientSecret", secret.expose())]);
        Self::new(CredentialSource::ClientSecret(secret), id)
    }

    /// A shared secret in a file: UTF-8, without line ends behind it. It is read for each selection, so that a new one is
    /// noticed. A relative path starts at the working directory.
    pub fn from_client_secret_file(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let id = id_of(SourceType::ClientSecret, &[("ClientSecretFile", &path.display().to_string())]);
        Self::new(CredentialSource::ClientSecretFile(path), id)
    }

    /// A certificate with its private key in a PEM or PKCS#12 file, read when it is needed. The password is for
    /// PKCS#12 and for an encrypted PKCS#8 key. A relative path starts at the working directory.
    pub fn from_path(path: impl Into<PathBuf>, password: Option<CertificatePassword>) -> Self {
        Self::from_files(path.into(), None, password)
    }

    /// The same with the private key in a file of its own, as Kubernetes keeps them (`tls.crt` and `tls.key`).
    pub fn from_path_and_key(
        path: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
        password: Option<CertificatePassword>,
    ) -> Self {
        Self::from_files(path.into(), Some(KeyPlace::File(key.into())), password)
    }

    /// The same with the private key in a token of PKCS#11, which it never leaves. The PIN may also be in the file that the
    /// URI names. Needs the feature `pkcs11`.
    pub fn from_path_and_pkcs11_key(
        path: impl Into<PathBuf>,
        key: Pkcs11Uri,
        pin: Option<CertificatePassword>,
    ) -> Self {
        Self::from_files(path.into(), Some(KeyPlace::Token(key)), pin)
    }

    fn from_files(path: PathBuf, key: Option<KeyPlace>, password: Option<CertificatePassword>) -> Self {
        let id = id_of(SourceType::Path, &[("CertificateDiskPath", &path.display().to_string())]);
        Self::new(CredentialSource::Path { path, key, password }, id)
    }

    /// The same as the content of such a file in base64; blanks and line ends are ignored.
    ///
    /// `None` when it isn't base64.
    pub fn from_base64(value: &str, password: Option<CertificatePassword>) -> Option<Self> {
        let compact = Zeroizing::new(value.split_ascii_whitespace().collect::<String>());
        let content = Zeroizing::new(BASE64_STANDARD.decode(compact.as_bytes()).ok()?);
        let id = id_of(SourceType::Base64Encoded, &[("Base64EncodedValue", value)]);
        Some(Self::new(CredentialSource::Base64Encoded { content, password }, id))
    }

    /// A certificate that the program has.
    pub fn from_certificate(certificate: Binding) -> Self {
        let id = id_of(SourceType::Certificate, &[]);
        Self::new(CredentialSource::Certificate(Some(Arc::new(certificate))), id)
    }

    /// The newest valid certificate of a directory that fits: PEM and PKCS#12 files without password. The directory plays
    /// the certificate store of that name.
    pub fn from_certificate_store(
        store: StorePath,
        directory: impl Into<PathBuf>,
        criterion: StoreCriterion,
    ) -> Self {
        let (source_type, field, text) = match &criterion {
            StoreCriterion::Thumbprint(thumbprint) => {
                (SourceType::StoreWithThumbprint, "CertificateThumbprint", thumbprint.clone())
            }
            StoreCriterion::DistinguishedName(name) => {
                (SourceType::StoreWithDistinguishedName, "CertificateDistinguishedName", name.to_string())
            }
            StoreCriterion::SubjectName(part) => {
                (SourceType::StoreWithSubjectName, "CertificateSubjectName", part.clone())
            }
        };
        let id = id_of(source_type, &[("CertificateStorePath", &store.to_string()), (field, &text)]);
        let source =
            CredentialSource::Store { source_type, store, criterion, directory: Some(directory.into()) };
        Self::new(source, id)
    }

    /// A certificate in Azure Key Vault, with its key, opened with the system-assigned managed identity unless
    /// [another](Self::with_managed_identity_client_id) or an [application](Self::with_source_application) is named. The
    /// name may be followed by `/` and a version; otherwise new versions are noticed.
    ///
    /// `None` when the URL isn't one of a vault, `https://name.vault.azure.net`, or the name isn't one of a certificate.
    pub fn from_key_vault(url: &str, certificate: &str) -> Option<Self> {
        let id =
            id_of(SourceType::KeyVault, &[("KeyVaultUrl", url), ("KeyVaultCertificateName", certificate)]);
        let certificate = KeyVaultCertificate::new(url, certificate, VaultIdentity::ManagedIdentity(None))?;
        Some(Self::new(CredentialSource::KeyVault(certificate), id))
    }

    /// The token of the machine's managed identity: the system-assigned one unless
    /// [another](Self::with_managed_identity_client_id) is named.
    pub fn from_managed_identity() -> Self {
        let id = id_of(SourceType::SignedAssertionFromManagedIdentity, &[]);
        Self::new(CredentialSource::ManagedIdentity(ManagedIdentitySource::default()), id)
    }

    /// A token that the platform keeps in a file, as Kubernetes does: a JWT. It is read for each selection, so that a new
    /// one is noticed. A relative path starts at the working directory.
    pub fn from_signed_assertion_file(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let shown = path.display().to_string();
        let id = id_of(SourceType::SignedAssertionFilePath, &[("SignedAssertionFileDiskPath", &shown)]);
        Self::new(CredentialSource::SignedAssertionFile(Some(path)), id)
    }

    /// What the [`SignedAssertionProvider`](super::SignedAssertionProvider) that is registered under this name makes,
    /// which gets the data.
    pub fn from_signed_assertion_provider(
        name: impl Into<String>,
        data: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let (name, data) = (name.into(), Vec::from_iter(data));
        let id = CredentialId::new(
            SourceType::CustomSignedAssertion,
            |_| Some(Zeroizing::new(name.clone())),
            data.iter().map(|(key, _)| key.as_str()),
        );
        Self::new(CredentialSource::CustomSignedAssertion { name: Some(name), data }, id)
    }

    /// What a component of the world `symbolon:credentials/credential-provider` has, under a name for messages: a
    /// certificate, a secret, or assertions.
    pub fn from_component(name: impl Into<String>, component: CredentialComponent) -> Self {
        let name = name.into();
        let id =
            id_of(SourceType::CustomSignedAssertion, &[("CustomSignedAssertionProviderName", name.as_str())]);
        Self::new(CredentialSource::Component { name, component }, id)
    }

    /// A token that another application of the same configuration gets for itself, by the name of its section. With
    /// `requires_fmi_path` it is an agent's blueprint, whose token is made for each agent.
    pub fn from_application(section: impl Into<String>, requires_fmi_path: bool) -> Self {
        let other = OtherApplication { section: section.into(), requires_fmi_path, scope: None };
        let id = CredentialId::new(
            SourceType::CustomSignedAssertion,
            |_| Some(Zeroizing::new(OtherApplication::PROVIDER.to_owned())),
            other.data_keys(),
        );
        Self::new(CredentialSource::OtherApplication(other), id)
    }

    /// Whether the entry is left out. The default is no.
    pub fn with_skip(mut self, skip: bool) -> Self {
        self.skip = skip;
        self
    }

    /// Whether connections to the authority are bound to this credential. The default is to say nothing about it,
    /// which isn't the same as no.
    pub fn with_use_bound_credential(mut self, use_bound: bool) -> Self {
        self.use_bound_credential = Some(use_bound);
        self
    }

    /// Whether connections to the authority are bound to this credential where credential, flow and authority can, and
    /// not bound otherwise. The default is no. It excludes
    /// [`with_use_bound_credential`](Self::with_use_bound_credential) with `true`, which never gives way.
    pub fn with_prefer_bound_credential(mut self, prefer: bool) -> Self {
        self.prefer_bound_credential = prefer;
        self
    }

    /// Whether a bound connection does without the assertion: the certificate alone authenticates, for authorities that
    /// accept it. The default is no, because Microsoft Entra ID wants both.
    pub fn with_omit_assertion_when_bound(mut self, omit: bool) -> Self {
        self.omit_assertion_when_bound = omit;
        self
    }

    /// What an OpenID Connect provider knows the key by (`kid`). The default is the key's thumbprint (RFC 7638). Microsoft's
    /// authorities know certificates instead.
    pub fn with_key_id(mut self, id: impl Into<String>) -> Self {
        self.key_id = Some(id.into());
        self
    }

    /// The client id of the user-assigned managed identity, for the sources that use one. The default is the
    /// system-assigned one.
    pub fn with_managed_identity_client_id(mut self, client_id: impl Into<String>) -> Self {
        let client_id = Some(client_id.into()).filter(|id| !id.is_empty());
        match &mut self.source {
            CredentialSource::ManagedIdentity(source) => {
                let id = client_id.as_deref().unwrap_or_default();
                let kind = SourceType::SignedAssertionFromManagedIdentity;
                self.id = id_of(kind, &[("ManagedIdentityClientId", id)]);
                source.client_id = client_id;
            }
            CredentialSource::KeyVault(source) => source.identity = VaultIdentity::ManagedIdentity(client_id),
            _ => {}
        }
        self
    }

    /// The application of the same configuration, by the name of its section, whose token opens the Key Vault. The default
    /// is a managed identity.
    pub fn with_source_application(mut self, section: impl Into<String>) -> Self {
        if let CredentialSource::KeyVault(source) = &mut self.source {
            source.identity = VaultIdentity::Section(section.into());
        }
        self
    }

    /// The audience of the tokens that stand in for assertions, an absolute URI. The default is that of the authority's
    /// cloud, such as `api://AzureADTokenExchange`.
    pub fn with_token_exchange_url(mut self, url: impl Into<String>) -> Self {
        self.token_exchange_url = Some(url.into());
        self
    }

    /// Where the credential comes from.
    pub fn source_type(&self) -> SourceType {
        self.source.source_type()
    }

    /// The identity as Microsoft.Identity.Web writes it, with the thumbprint (SHA-1, upper-case hexadecimal) of the
    /// certificate that is loaded.
    pub fn id(&self, thumbprint: Option<&str>) -> String {
        self.id.with_thumbprint(thumbprint)
    }

    pub(crate) fn new(source: CredentialSource, id: CredentialId) -> Self {
        Self {
            source,
            id,
            skip: false,
            use_bound_credential: None,
            prefer_bound_credential: false,
            omit_assertion_when_bound: false,
            key_id: None,
            token_exchange_url: None,
        }
    }
}

fn id_of(source_type: SourceType, fields: &[(&str, &str)]) -> CredentialId {
    let field = |name: &str| {
        let (_, value) = fields.iter().find(|(known, _)| *known == name)?;
        Some(Zeroizing::new((*value).to_owned()))
    };
    CredentialId::new(source_type, field, [])
}
