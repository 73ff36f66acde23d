//! What is known of credentials, for people and for metrics. Holds no secret.

use super::binding::{Binding, SignatureAlgorithm};
use super::error::LoadError;
use super::examination::ComponentFinding;
use super::selected::CredentialKind;
use super::source_type::SourceType;

/// What is known of one entry of `ClientCredentials`. Holds no secret.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CredentialReport {
    /// The name that messages give it, such as `ClientCredentials[0] (Path)`.
    pub name: String,
    /// Where it is configured: file and JSON path.
    pub place: String,
    /// Its `SourceType`.
    pub source_type: SourceType,
    /// The source in words, such as `Path certs/daemon.pem`.
    pub source: String,
    /// `UseBoundCredential` as configured.
    pub use_bound: Option<bool>,
    /// `PreferBoundCredential` as configured.
    pub prefers_bound: bool,
    /// `OmitAssertionWhenBound` as configured.
    pub omits_assertion_when_bound: bool,
    /// Whether it can be used.
    pub status: CredentialStatus,
    /// Where it is a component's, whether that does what it must.
    pub component: Vec<ComponentFinding>,
}

/// Whether a credential can be used.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum CredentialStatus {
    /// It can.
    Usable {
        /// What it can do.
        kind: CredentialKind,
        /// The certificate, where it is one or is bound to one.
        certificate: Option<CertificateReport>,
        /// The end of an assertion, in seconds since 1970, where it is known.
        expires_on_unix: Option<u64>,
    },
    /// Somebody else has to be asked: a vault, a managed identity, another application, a program's provider.
    Untried,
    /// It can't, and why.
    Unusable(LoadError),
    /// The configuration leaves it out.
    Skipped,
}

/// The public half of a certificate.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CertificateReport {
    /// Its subject, such as `CN=daemon`.
    pub subject: String,
    /// `x5t#S256`.
    pub thumbprint_sha256: String,
    /// `x5t`.
    pub thumbprint_sha1: String,
    /// The beginning of its validity, in seconds since 1970.
    pub not_before_unix: u64,
    /// The end of its validity, in seconds since 1970.
    pub not_after_unix: u64,
    /// How many certificates are sent with `x5c`, itself included.
    pub chain_length: usize,
    /// What its key signs; nothing when it serves for TLS only.
    pub algorithms: Vec<SignatureAlgorithm>,
}

impl CertificateReport {
    pub(super) fn new(binding: &Binding) -> Self {
        Self {
            subject: binding.subject().to_owned(),
            thumbprint_sha256: binding.thumbprint_sha256().to_owned(),
            thumbprint_sha1: binding.thumbprint_sha1().to_owned(),
            not_before_unix: binding.not_before_unix(),
            not_after_unix: binding.not_after_unix(),
            chain_length: binding.chain().len(),
            algorithms: binding.algorithms().to_vec(),
        }
    }
}

/// What has happened to the credentials of an application so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CredentialStatistics {
    /// Credentials that were handed out.
    pub selections: u64,
    /// Credentials that were reported as accepted.
    pub uses: u64,
    /// Credentials that were reported as refused.
    pub rejections: u64,
    /// Certificates that were in use and are no longer: refused, expired, rotated or replaced.
    pub deselections: u64,
    /// Refusals because of which a source was read again: at most one in 10 seconds for each credential.
    pub reloads: u64,
    /// Readings of sources, those of the watch left out, and those that only compare a file's bytes after a refusal.
    pub loads: u64,
    /// Readings that gave nothing usable, those of the watch included.
    pub load_failures: u64,
    /// Credentials that took the place of others.
    pub rotations: u64,
}

/// The end of a certificate that is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateExpiry {
    /// The name that messages give the credential, such as `ClientCredentials[0] (Path)`.
    pub credential: String,
    /// `x5t#S256`.
    pub thumbprint_sha256: String,
    /// The end of its validity, in seconds since 1970.
    pub not_after_unix: u64,
    /// What is left of it, in seconds; 0 when it is over.
    pub left_seconds: u64,
}
