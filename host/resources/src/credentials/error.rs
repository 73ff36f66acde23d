use std::fmt;
use std::io;
use std::time::Duration;

use x509_parser::time::ASN1Time;

use super::assertion_policy::Refusal;

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
    #[error("found no certificate; accepted: a certificate and its private key in one file")]
    NoCertificate,
    /// A certificate that isn't X.509.
    #[error("found a certificate that isn't X.509; accepted: X.509 certificates")]
    MalformedCertificate,
    /// No private key in it.
    #[error(
        "found a certificate without a private key; accepted: a certificate and its private key in one file"
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
    /// Credentials of this kind come through the API, and none came.
    #[error(
        "found no certificate given through the API; accepted: one given when the application is built, or later with replace_certificate"
    )]
    NotGiven,
    /// A source that is known and can't be used here.
    #[error("{0}")]
    UnsupportedSource(String),
    /// The reader ended in a way that it never should.
    #[error(
        "reading it ended unexpectedly; accepted: PEM with a certificate and its private key, or PKCS#12 (PFX)"
    )]
    Interrupted,
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
    /// The entries in configured order, skipped ones left out.
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
