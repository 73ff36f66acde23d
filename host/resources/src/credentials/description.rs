use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use super::binding::Binding;
use super::error::LoadError;
use super::secret::{CertificatePassword, ClientSecret};
use super::source_type::SourceType;

/// One entry of `ClientCredentials`: where a credential comes from and how it is used. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct CredentialDescription {
    pub(crate) source: CredentialSource,
    pub(crate) skip: bool,
    pub(crate) use_bound_credential: Option<bool>,
}

impl CredentialDescription {
    /// A shared secret.
    pub fn from_client_secret(secret: ClientSecret) -> Self {
        Self::new(CredentialSource::ClientSecret(secret))
    }

    /// A certificate with its private key in a PEM or PKCS#12 file, read when it is needed. The password is for
    /// PKCS#12 and for an encrypted PKCS#8 key. A relative path starts at the working directory.
    pub fn from_path(path: impl Into<PathBuf>, password: Option<CertificatePassword>) -> Self {
        Self::new(CredentialSource::Path { path: path.into(), password })
    }

    /// The same as the content of such a file in base64; blanks and line ends are ignored.
    ///
    /// `None` when it isn't base64.
    pub fn from_base64(value: &str, password: Option<CertificatePassword>) -> Option<Self> {
        let compact = Zeroizing::new(value.split_ascii_whitespace().collect::<String>());
        let content = Zeroizing::new(BASE64_STANDARD.decode(compact.as_bytes()).ok()?);
        Some(Self::new(CredentialSource::Base64Encoded { content, password }))
    }

    /// A certificate that the program has.
    pub fn from_certificate(certificate: Binding) -> Self {
        Self::new(CredentialSource::Certificate(Some(Arc::new(certificate))))
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

    /// Where the credential comes from.
    pub fn source_type(&self) -> SourceType {
        match &self.source {
            CredentialSource::ClientSecret(_) => SourceType::ClientSecret,
            CredentialSource::Path { .. } => SourceType::Path,
            CredentialSource::Base64Encoded { .. } => SourceType::Base64Encoded,
            CredentialSource::Certificate(_) => SourceType::Certificate,
            CredentialSource::Unsupported(source_type, _) => *source_type,
        }
    }

    pub(crate) fn new(source: CredentialSource) -> Self {
        Self { source, skip: false, use_bound_credential: None }
    }
}

/// Where the credential of an entry comes from.
#[derive(Clone)]
pub(crate) enum CredentialSource {
    ClientSecret(ClientSecret),
    Path {
        path: PathBuf,
        password: Option<CertificatePassword>,
    },
    Base64Encoded {
        content: Zeroizing<Vec<u8>>,
        password: Option<CertificatePassword>,
    },
    /// Given through the API, at once or later.
    Certificate(Option<Arc<Binding>>),
    /// Known, and why it can't be used.
    Unsupported(SourceType, String),
}

impl CredentialSource {
    /// Reads the certificate. Blocks on the file system and takes some milliseconds of processor time.
    pub(super) fn load(&self) -> Result<Arc<Binding>, LoadError> {
        match self {
            Self::Path { path, password } => Binding::from_file(path, password.as_ref()).map(Arc::new),
            Self::Base64Encoded { content, password } => {
                Binding::from_bytes(content, password.as_ref()).map(Arc::new)
            }
            Self::Certificate(given) => given.clone().ok_or(LoadError::NotGiven),
            Self::Unsupported(_, reason) => Err(LoadError::UnsupportedSource(reason.clone())),
            Self::ClientSecret(_) => Err(LoadError::NoCertificate),
        }
    }
}

impl fmt::Debug for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientSecret(_) => f.write_str("ClientSecret"),
            Self::Path { path, .. } => write!(f, "Path {}", path.display()),
            Self::Base64Encoded { .. } => f.write_str("Base64Encoded"),
            Self::Certificate(_) => f.write_str("Certificate"),
            Self::Unsupported(source_type, _) => write!(f, "{source_type}"),
        }
    }
}
