use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// A client secret. Wiped from memory when the last owner drops it; `Debug` shows none of it, and there is no
/// comparison.
#[derive(Clone)]
pub struct ClientSecret(SecretString);

impl ClientSecret {
    /// Takes a client secret over.
    pub fn new(value: impl Into<String>) -> Self {
        Self(SecretString::from(value.into()))
    }

    /// The secret itself, for the moment in which it is put into a request.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(redacted)")
    }
}

/// The password of a certificate file. Wiped from memory on drop; `Debug` shows none of it.
#[derive(Clone)]
pub struct CertificatePassword(SecretString);

impl CertificatePassword {
    /// Takes a password over.
    pub fn new(value: impl Into<String>) -> Self {
        Self(SecretString::from(value.into()))
    }

    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for CertificatePassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CertificatePassword(redacted)")
    }
}
