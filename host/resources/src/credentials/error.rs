use std::fmt;
use std::io;
use std::time::Duration;

use x509_parser::time::ASN1Time;

use super::assertion_policy::Refusal;
use super::component::ComponentError;

/// Why a certificate can't be used: what was found and what is accepted. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// There is no such file.
    #[error("found no file there; accepted: a PEM or PKCS#12 (PFX) file")]
    NotFound,
    /// The operating system doesn't let us read the file.
    #[error(
        "found a file that can't be read ({0}); accepted: a PEM or PKCS#12 (PFX) file that this process may read"
    )]
    Unreadable(io::ErrorKind),
    /// The file is far larger than any certificate file.
    #[error("found more than 1 MiB; accepted: a PEM or PKCS#12 (PFX) file")]
    TooLarge,
    /// Neither PEM nor PKCS#12.
    #[error(
        "found neither PEM nor PKCS#12; accepted: PEM with a certificate and its private key, or PKCS#12 (PFX)"
    )]
    Unrecognized,
    /// A section of a PEM file, or the inside of a PKCS#12 file, doesn't parse.
    #[error("found a damaged {0}; accepted: PEM with a certificate and its private key, or PKCS#12 (PFX)")]
    Damaged(&'static str),
    /// No certificate in it.
    #[error("found no certificate; accepted: a certificate and its private key")]
    NoCertificate,
    /// A certificate that isn't X.509.
    #[error("found a certificate that isn't X.509; accepted: X.509 certificates")]
    MalformedCertificate,
    /// No private key in it.
    #[error(
        "found a certificate without a private key; accepted: a certificate and its private key in one file, or the key in CertificateKeyDiskPath"
    )]
    NoPrivateKey,
    /// It is encrypted and no password is configured.
    #[error(
        "found {0} that is encrypted, and no CertificatePassword; accepted: the password that it was made with"
    )]
    PasswordRequired(&'static str),
    /// The configured password is another one.
    #[error("found {0} that CertificatePassword doesn't open; accepted: the password that it was made with")]
    WrongPassword(&'static str),
    /// It is encrypted in a way that isn't supported.
    #[error("found {0}; accepted: encrypted PKCS#8 (PBES2) in PEM, or PKCS#12 with AES, 3DES or RC2")]
    UnsupportedEncryption(&'static str),
    /// The private key belongs to another certificate.
    #[error(
        "found a private key that doesn't match the certificate ({subjects}); accepted: a certificate and its own private key"
    )]
    KeyMismatch {
        /// The subjects of the certificates that were found.
        subjects: String,
    },
    /// A kind or size of key that isn't supported.
    #[error(
        "found {0}; accepted: RSA of 2048 to 8192 bits, EC on P-256, and for TLS only EC on P-384 or P-521 and Ed25519"
    )]
    UnsupportedKey(String),
    /// The certificate's time is over.
    #[error(
        "found a certificate ({subject}) that expired at {}; accepted: a certificate that is valid now",
        rfc3339(*not_after_unix)
    )]
    Expired {
        /// The certificate's subject.
        subject: String,
        /// The end of its validity, in seconds since 1970.
        not_after_unix: u64,
    },
    /// The certificate's time hasn't come.
    #[error(
        "found a certificate ({subject}) that isn't valid before {}; accepted: a certificate that is valid now",
        rfc3339(*not_before_unix)
    )]
    NotYetValid {
        /// The certificate's subject.
        subject: String,
        /// The beginning of its validity, in seconds since 1970.
        not_before_unix: u64,
    },
    /// A file that should hold a secret or an assertion can't be used.
    #[error("found {found}; accepted: {accepted}")]
    UnusableFile {
        /// What was found, such as `no file there`.
        found: String,
        /// What is accepted.
        accepted: &'static str,
    },
    /// The assertion's time is over.
    #[error(
        "found an assertion that expired at {}; accepted: one that is valid now",
        rfc3339(*expires_on_unix)
    )]
    AssertionExpired {
        /// Its `exp`, in seconds since 1970.
        expires_on_unix: u64,
    },
    /// The certificate store has nothing that fits.
    #[error("found {found}; accepted: {accepted}")]
    NoCertificateInStore {
        /// What was looked at, such as `no valid certificate for CN=daemon among 3 in /etc/certificates`.
        found: String,
        /// What is accepted.
        accepted: String,
    },
    /// The entry names no provider of assertions. Microsoft.Identity.Web's IDW10112.
    #[error("found no CustomSignedAssertionProviderName; accepted: {accepted}")]
    ProviderNotNamed {
        /// The names of the registered providers.
        accepted: String,
    },
    /// No provider of that name is registered. Microsoft.Identity.Web's IDW10113.
    #[error("found the provider {name:?}, which isn't registered; accepted: {accepted}")]
    UnknownProvider {
        /// The name in the entry.
        name: String,
        /// The names of the registered providers.
        accepted: String,
    },
    /// No provider is registered at all. Microsoft.Identity.Web's IDW10114.
    #[error("found the provider {name:?}, and no provider is registered at all; accepted: {accepted}")]
    NoProviders {
        /// The name in the entry.
        name: String,
        /// What there is without registration.
        accepted: String,
    },
    /// The token that this source is made of, or that it is read with, could not be acquired.
    #[error("the token that it needs could not be acquired: {message}")]
    Token {
        /// Why, without secrets.
        message: String,
        /// How long the one who was asked wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// What came isn't bound to a certificate, and the entry asks for nothing less. Microsoft.Identity.Web's IDW10115.
    #[error(
        "found an assertion that is bound to no certificate beside UseBoundCredential (unbindable-credential); accepted: \
         a source whose assertions are bound, PreferBoundCredential in the place of UseBoundCredential, or neither"
    )]
    NotBound,
    /// The token of PKCS#11 that has the private key can't be used.
    #[error("PKCS#11: {0}")]
    Pkcs11(TokenProblem),
    /// A component of the world `credential-provider` gave nothing.
    #[error("the component: {0}")]
    Component(ComponentError),
    /// What has the private key, which isn't this process, made no signature.
    #[error("no signature came from where the private key is: {0}")]
    Signature(String),
    /// Key Vault didn't give the certificate.
    #[error("Key Vault: {0}")]
    KeyVault(KeyVaultProblem),
    /// Credentials of this kind come through the API, and none came.
    #[error(
        "found no certificate given through the API; accepted: one given when the application is built, or later with replace_certificate"
    )]
    NotGiven,
    /// A source that is known and can't be used here.
    #[error("{0}")]
    UnsupportedSource(String),
    /// The configuration leaves it out.
    #[error("found Skip; accepted: an entry without it")]
    Skipped,
    /// The reader didn't end within the acquisition's deadline, or in a way that it never should.
    #[error("reading it came to no end; accepted: a source that answers within the acquisition's deadline")]
    Interrupted,
}

impl LoadError {
    /// The code of Microsoft.Identity.Web's error with the same meaning, where it has one.
    pub fn identity_web_code(&self) -> Option<&'static str> {
        match self {
            Self::ProviderNotNamed { .. } => Some("IDW10112"),
            Self::UnknownProvider { .. } => Some("IDW10113"),
            Self::NoProviders { .. } => Some("IDW10114"),
            Self::NotBound => Some("IDW10115"),
            Self::KeyVault(KeyVaultProblem::ContentType(_)) => Some("IDW10701"),
            Self::KeyVault(KeyVaultProblem::SecretId) => Some("IDW10702"),
            _ => None,
        }
    }

    /// How long the one who refused wants to be left alone, where they said so.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Token { retry_after, .. } => *retry_after,
            Self::KeyVault(KeyVaultProblem::Answer { retry_after, .. }) => *retry_after,
            Self::Component(error) => error.retry_after(),
            // Every attempt counts towards the lock.
            Self::Pkcs11(TokenProblem::WrongPin | TokenProblem::PinLocked) => Some(Duration::from_secs(600)),
            _ => None,
        }
    }

    /// Whether looking again later may help.
    pub(super) fn may_pass(&self) -> bool {
        !matches!(
            self,
            Self::UnsupportedSource(_)
                | Self::Skipped
                | Self::ProviderNotNamed { .. }
                | Self::UnknownProvider { .. }
                | Self::NoProviders { .. }
        )
    }
}

/// Why a private key on a token of PKCS#11 can't be used. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenProblem {
    /// The library isn't there, or isn't one of PKCS#11.
    #[error("found no library of PKCS#11 at module-path; accepted: the one of the token's maker")]
    Module,
    /// No token has this label and serial number, or several have.
    #[error("found {0} tokens that fit; accepted: a token or serial that names one")]
    Tokens(usize),
    /// No private key has this label and id, or several have, or a PIN is needed to see it.
    #[error(
        "found {0} private keys that fit; accepted: an object or id that names one, and the PIN if there is one"
    )]
    Keys(usize),
    /// The PIN is another one. It isn't tried again for ten minutes.
    #[error("found a PIN that the token doesn't accept")]
    WrongPin,
    /// The token accepts no PIN any more.
    #[error("found a token whose PIN is locked or expired")]
    PinLocked,
    /// The token refused for another reason, with this code.
    #[error("the token refused ({0})")]
    Refused(String),
}

/// Why Key Vault didn't give a certificate with its key. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyVaultProblem {
    /// No answer came.
    #[error("no answer ({0})")]
    Unreachable(String),
    /// It answered with an error.
    #[error("status {status} for {what}{}", code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default())]
    Answer {
        /// What was asked for: `the certificate` or `its key`.
        what: &'static str,
        /// The HTTP status.
        status: u16,
        /// The error's code, such as `CertificateNotFound`.
        code: Option<String>,
        /// `Retry-After`, in a throttling answer.
        retry_after: Option<Duration>,
    },
    /// The answer isn't what the REST API says.
    #[error("an answer that can't be read ({0})")]
    Malformed(&'static str),
    /// The certificate is disabled in the vault.
    #[error("found a certificate that is disabled; accepted: an enabled one")]
    Disabled,
    /// The certificate's policy keeps the private key inside the vault.
    #[error(
        "found a certificate whose policy doesn't let the private key be exported; accepted: one with an exportable key"
    )]
    NotExportable,
    /// The key's secret has an identifier of another shape. Microsoft.Identity.Web's IDW10702.
    #[error("found a secret identifier other than {{vault}}/secrets/{{name}}/{{version}}")]
    SecretId,
    /// The key's secret holds something else. Microsoft.Identity.Web's IDW10701.
    #[error("found a secret of content type {0:?}; accepted: application/x-pkcs12 or application/x-pem-file")]
    ContentType(String),
}

impl From<io::Error> for LoadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            kind => Self::Unreadable(kind),
        }
    }
}

/// Why there is no credential or no signature. What the caller does next depends on the case alone. Holds no secret.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// No credential is configured, or every configured one has `Skip`.
    #[error("{0}")]
    NotConfigured(String),
    /// Credentials are configured and none of them can be used now.
    #[error("{0}")]
    Unavailable(Unavailable),
    /// The credential at hand can't do what was asked of it. Nothing will change that.
    #[error("{0}")]
    Unsupported(String),
    /// The rules for what is signed forbid it.
    #[error("{0}")]
    Refused(Refusal),
}

impl CredentialError {
    /// The code of Microsoft.Identity.Web's error with the same meaning, where it has one.
    pub fn identity_web_code(&self) -> Option<&'static str> {
        matches!(self, Self::Unavailable(_)).then_some("IDW10109")
    }

    /// How long until credentials that failed are looked at again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable(unavailable) => unavailable.retry_after,
            _ => None,
        }
    }
}

/// Every configured credential with the reason why it can't be used.
#[derive(Debug, Clone)]
pub struct Unavailable {
    pub(crate) entries: Vec<EntryFailure>,
    pub(crate) retry_after: Option<Duration>,
}

impl Unavailable {
    /// The entries in configured order. Skipped ones are among them only where there are no others.
    pub fn entries(&self) -> &[EntryFailure] {
        &self.entries
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no client credential can be used")?;
        for entry in &self.entries {
            write!(f, "\n  {entry}")?;
        }
        Ok(())
    }
}

/// One credential that can't be used.
#[derive(Debug, Clone)]
pub struct EntryFailure {
    /// Where the entry is configured: file and JSON path.
    pub place: String,
    /// What it is, such as `Path certs/app.pem`.
    pub source: String,
    /// Why it can't be used.
    pub reason: LoadError,
}

impl fmt::Display for EntryFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.place, self.source, self.reason)
    }
}

/// A time as in RFC 3339, in UTC.
fn rfc3339(unix: u64) -> String {
    let time = i64::try_from(unix).ok().and_then(|unix| ASN1Time::from_timestamp(unix).ok());
    match time.map(|time| time.to_datetime()) {
        Some(t) => format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            t.year(),
            u8::from(t.month()),
            t.day(),
            t.hour(),
            t.minute(),
            t.second()
        ),
        None => format!("{unix} seconds after 1970"),
    }
}
