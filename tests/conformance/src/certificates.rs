//! Certificates with their keys, made on the spot.

use anyhow::{Context, Result};
use rcgen::{Certificate, CertificateParams, DnType, KeyPair, PKCS_RSA_SHA256, date_time_ymd};
use symbolon_resources::credentials::Binding;

use crate::host::pkcs8;

/// A self-signed certificate and its key, which all certificates of a run share.
pub(crate) struct Identity {
    certificate: Certificate,
    key: KeyPair,
}

impl Identity {
    /// One with this name in its subject, and for this host.
    pub(crate) fn new(name: &str) -> Result<Self> {
        Self::until(name, 2100)
    }

    /// One whose time is over.
    pub(crate) fn expired(name: &str) -> Result<Self> {
        Self::until(name, 2001)
    }

    fn until(name: &str, year: i32) -> Result<Self> {
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8()?.as_slice().into(), &PKCS_RSA_SHA256)?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(year, 1, 1));
        let certificate = params.self_signed(&key)?;
        Ok(Self { certificate, key })
    }

    /// Certificate and key, as a file of PEM has them.
    pub(crate) fn pem(&self) -> String {
        self.key.serialize_pem() + &self.certificate.pem()
    }

    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub(crate) fn key_der(&self) -> Vec<u8> {
        self.key.serialize_der()
    }

    pub(crate) fn binding(&self) -> Result<Binding> {
        Binding::from_bytes(self.pem().as_bytes(), None).context("the certificate can't be read")
    }
}
