//! Where the credential of an entry comes from, and how what is on this machine is read.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::assertion::SignedAssertion;
use super::assertion_file;
use super::binding::Binding;
use super::certificate_store::{self, StoreCriterion, StorePath};
use super::component::{ComponentCredential, CredentialComponent};
use super::error::LoadError;
use super::files::{self, Contents};
use super::key_vault::KeyVaultCertificate;
use super::material::MAX_BYTES;
#[cfg(feature = "pkcs11")]
use super::material::Material;
use super::pkcs11_uri::Pkcs11Uri;
use super::secret::{CertificatePassword, ClientSecret};
use super::source_type::SourceType;

/// Where the credential of an entry comes from.
#[derive(Clone)]
pub(crate) enum CredentialSource {
    ClientSecret(ClientSecret),
    ClientSecretFile(PathBuf),
    Path {
        path: PathBuf,
        /// Where the private key is, if it isn't in the same file.
        key: Option<KeyPlace>,
        password: Option<CertificatePassword>,
    },
    Base64Encoded {
        content: Zeroizing<Vec<u8>>,
        password: Option<CertificatePassword>,
    },
    /// Given through the API, at once or later.
    Certificate(Option<Arc<Binding>>),
    Store {
        source_type: SourceType,
        store: StorePath,
        criterion: StoreCriterion,
        /// What plays the store, where that is configured.
        directory: Option<PathBuf>,
    },
    KeyVault(KeyVaultCertificate),
    SignedAssertionFile(Option<PathBuf>),
    ManagedIdentity(ManagedIdentitySource),
    CustomSignedAssertion {
        name: Option<String>,
        data: Vec<(String, String)>,
    },
    OtherApplication(OtherApplication),
    /// What a component has, by the name of the provider.
    Component {
        name: String,
        component: CredentialComponent,
    },
    /// Known, and why it can't be used.
    Unsupported(SourceType, String),
}

/// Where a private key is that isn't beside its certificate.
#[derive(Debug, Clone)]
pub(crate) enum KeyPlace {
    File(PathBuf),
    /// In a token of PKCS#11. The password of the entry is its PIN.
    Token(Pkcs11Uri),
}

impl KeyPlace {
    fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::File(path) => Some(path),
            Self::Token(_) => None,
        }
    }
}

/// A token of a managed identity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ManagedIdentitySource {
    /// `None` for the system-assigned one.
    pub(crate) client_id: Option<String>,
    /// What the token is for, without `/.default`. Known when the whole configuration is.
    pub(crate) resource: Option<String>,
}

/// A token of another application of the same configuration: what Microsoft.Identity.Web has a built-in provider of
/// signed assertions for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OtherApplication {
    pub(crate) section: String,
    pub(crate) requires_fmi_path: bool,
    /// Ends in `/.default`. Known when the whole configuration is.
    pub(crate) scope: Option<String>,
}

impl OtherApplication {
    /// The name of the built-in provider.
    pub(crate) const PROVIDER: &str = "OidcIdpSignedAssertion";
    /// Its data.
    pub(crate) const SECTION: &str = "ConfigurationSection";
    pub(crate) const REQUIRES_FMI_PATH: &str = "RequiresSignedAssertionFmiPath";

    pub(crate) fn data_keys(&self) -> impl Iterator<Item = &'static str> {
        [Self::SECTION].into_iter().chain(self.requires_fmi_path.then_some(Self::REQUIRES_FMI_PATH))
    }
}

/// What a source on this machine has.
pub(super) enum Local {
    Secret(ClientSecret),
    Certificate(Arc<Binding>),
    Assertion(SignedAssertion),
    /// What makes assertions, with the certificate that they are bound to.
    Component(Arc<dyn ComponentCredential>, Option<Arc<Binding>>),
}

impl CredentialSource {
    pub(crate) fn source_type(&self) -> SourceType {
        match self {
            Self::ClientSecret(_) | Self::ClientSecretFile(_) => SourceType::ClientSecret,
            Self::Path { .. } => SourceType::Path,
            Self::Base64Encoded { .. } => SourceType::Base64Encoded,
            Self::Certificate(_) => SourceType::Certificate,
            Self::Store { source_type, .. } | Self::Unsupported(source_type, _) => *source_type,
            Self::KeyVault(_) => SourceType::KeyVault,
            Self::SignedAssertionFile(_) => SourceType::SignedAssertionFilePath,
            Self::ManagedIdentity(_) => SourceType::SignedAssertionFromManagedIdentity,
            Self::CustomSignedAssertion { .. } | Self::OtherApplication(_) | Self::Component { .. } => {
                SourceType::CustomSignedAssertion
            }
        }
    }

    /// Whether it is for certificates, which can be replaced.
    pub(super) fn is_certificate(&self) -> bool {
        matches!(
            self,
            Self::Path { .. }
                | Self::Base64Encoded { .. }
                | Self::Certificate(_)
                | Self::Store { .. }
                | Self::KeyVault(_)
        )
    }

    /// Whether it is small enough to be read for each selection: a secret or a token changes without being refused first.
    pub(super) fn is_read_each_time(&self) -> bool {
        matches!(self, Self::ClientSecretFile(_) | Self::SignedAssertionFile(_))
    }

    /// The files that it is read from, or the directory of them.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Path { path, key, .. } => {
                std::iter::once(path).chain(key.as_ref().and_then(KeyPlace::file)).cloned().collect()
            }
            Self::ClientSecretFile(path) | Self::SignedAssertionFile(Some(path)) => vec![path.clone()],
            Self::Component { component, .. } => component.paths().cloned().collect(),
            // What happens in the directory, not to it.
            Self::Store { directory: Some(directory), .. } => vec![directory.join("*")],
            _ => Vec::new(),
        }
    }

    /// Reads the bytes of a source on this machine. Blocks on the file system.
    pub(super) fn read(&self) -> Result<Contents, LoadError> {
        match self {
            Self::Path { path, key, .. } => {
                let mut contents = vec![files::read(path, MAX_BYTES)?];
                if let Some(key) = key.as_ref().and_then(KeyPlace::file) {
                    contents.push(files::read(key, MAX_BYTES).map_err(|error| no_key(key, &error))?);
                }
                Ok(Contents::new(contents))
            }
            Self::Base64Encoded { content, .. } => Ok(Contents::new(vec![content.clone()])),
            Self::Store { store, directory, .. } => {
                let directory = directory.as_ref().ok_or_else(|| no_directory(store))?;
                certificate_store::read(directory)
            }
            Self::ClientSecretFile(path) => Ok(Contents::new(vec![files::read_text(path, SECRET)?])),
            Self::Component { component, .. } => Ok(component.read()?),
            Self::SignedAssertionFile(path) => {
                let found =
                    || LoadError::UnusableFile { found: "no path".to_owned(), accepted: ASSERTION_PATH };
                assertion_file::read(path.as_ref().ok_or_else(found)?)
            }
            _ => Ok(Contents::new(Vec::new())),
        }
    }

    /// Makes a credential of what was [`read`](Self::read). Takes some milliseconds of processor time.
    pub(super) fn parse(&self, contents: &Contents, now_unix: u64) -> Result<Local, LoadError> {
        match self {
            Self::Path { key: Some(KeyPlace::Token(uri)), password, .. } => {
                on_token(uri, password.as_ref(), contents).map(Arc::new).map(Local::Certificate)
            }
            Self::Path { password, .. } | Self::Base64Encoded { password, .. } => {
                Binding::from_parts(contents.files(), password.as_ref()).map(Arc::new).map(Local::Certificate)
            }
            Self::Store { directory: Some(directory), criterion, .. } => {
                certificate_store::find(contents, criterion, directory, now_unix).map(Local::Certificate)
            }
            Self::ClientSecretFile(_) => {
                let unusable =
                    |found: &str| LoadError::UnusableFile { found: found.to_owned(), accepted: SECRET };
                files::text(contents.first()).map(ClientSecret::new).map(Local::Secret).map_err(unusable)
            }
            Self::SignedAssertionFile(_) => assertion_file::parse(contents).map(Local::Assertion),
            // The others aren't read from this machine.
            _ => Err(LoadError::Interrupted),
        }
    }
}

#[cfg(feature = "pkcs11")]
fn on_token(
    uri: &Pkcs11Uri,
    pin: Option<&CertificatePassword>,
    contents: &Contents,
) -> Result<Binding, LoadError> {
    super::pkcs11::load(uri, pin, Material::parse(contents.first(), None)?)
}

#[cfg(not(feature = "pkcs11"))]
fn on_token(_: &Pkcs11Uri, _: Option<&CertificatePassword>, _: &Contents) -> Result<Binding, LoadError> {
    let found = "found CertificateKeyUri, and a program that was built without PKCS#11";
    let accepted = "one built with the feature pkcs11, or CertificateKeyDiskPath";
    Err(LoadError::UnsupportedSource(format!("{found}; accepted: {accepted}")))
}

fn no_key(path: &Path, error: &io::Error) -> LoadError {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "which isn't there".to_owned(),
        kind => format!("which can't be read ({kind})"),
    };
    let found = format!("the certificate, and its private key in {}, {why}", path.display());
    LoadError::UnusableFile { found, accepted: "CertificateKeyDiskPath with the key's PEM file" }
}

fn no_directory(store: &StorePath) -> LoadError {
    LoadError::NoCertificateInStore {
        found: format!("no directory that plays the certificate store {store}"),
        accepted: format!(
            "Symbolon:CertificateStores with {store:?} and a directory",
            store = store.to_string()
        ),
    }
}

impl fmt::Debug for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source_type = self.source_type();
        match self {
            Self::Path { path, key: Some(KeyPlace::File(key)), .. } => {
                write!(f, "{source_type} {}, key {}", path.display(), key.display())
            }
            Self::Path { path, .. } => write!(f, "{source_type} {}", path.display()),
            Self::ClientSecretFile(path) => write!(f, "{source_type} in {}", path.display()),
            Self::Store { store, criterion, .. } => write!(f, "{source_type} {store}, {criterion}"),
            Self::KeyVault(certificate) => write!(f, "{source_type} {certificate}"),
            Self::SignedAssertionFile(Some(path)) => write!(f, "{source_type} {}", path.display()),
            Self::ManagedIdentity(ManagedIdentitySource { client_id: Some(id), .. }) => {
                write!(f, "{source_type} {id}")
            }
            Self::CustomSignedAssertion { name: Some(name), .. } => write!(f, "{source_type} {name}"),
            Self::Component { name, component } => {
                write!(f, "{source_type} {name}, component {}", component.path().display())
            }
            Self::OtherApplication(other) => {
                write!(f, "{source_type} {}, {}", OtherApplication::PROVIDER, other.section)
            }
            _ => write!(f, "{source_type}"),
        }
    }
}

const SECRET: &str = "a file with the client secret";

const ASSERTION_PATH: &str =
    "SignedAssertionFileDiskPath, or the environment variable AZURE_FEDERATED_TOKEN_FILE";
