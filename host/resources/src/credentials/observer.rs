use std::fmt;

use crate::cache::ApplicationId;

use super::binding::Binding;

/// Learns what becomes of certificates. Microsoft.Identity.Web calls it `ICertificatesObserver`.
///
/// It is called inside acquisitions and on the thread that watches files: it returns soon, and doesn't panic.
#[doc(alias = "ICertificatesObserver")]
pub trait CertificateObserver: Send + Sync {
    /// Something became of a certificate.
    fn observe(&self, event: &CertificateEvent<'_>);
}

impl<F: Fn(&CertificateEvent<'_>) + Send + Sync> CertificateObserver for F {
    fn observe(&self, event: &CertificateEvent<'_>) {
        self(event);
    }
}

/// What became of which certificate.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct CertificateEvent<'a> {
    /// What became of it.
    pub action: CertificateAction,
    /// The application whose credential it is.
    pub application: &'a ApplicationId,
    /// The name that messages give the credential, such as `ClientCredentials[0] (Path)`.
    pub credential: &'a str,
    /// The credential's identity in Microsoft.Identity.Web's form, such as `CertificateFromPath=app.pem;Thumbprint=…`.
    pub credential_id: &'a str,
    /// The certificate.
    pub certificate: &'a Binding,
}

/// What becomes of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CertificateAction {
    /// It is the one that authenticates the application from now on. For APIs that take a certificate in the place of a
    /// token: it was selected.
    Selected,
    /// It was accepted.
    SuccessfullyUsed,
    /// It is that no longer.
    Deselected(DeselectionReason),
}

/// Why a certificate isn't used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeselectionReason {
    /// The authority, or the API, refused it.
    Rejected,
    /// Its time is over.
    Expired,
    /// Its source has another one.
    Rotated,
    /// The program gave another one.
    Replaced,
}

impl fmt::Display for DeselectionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Rotated => "rotated",
            Self::Replaced => "replaced",
        })
    }
}
