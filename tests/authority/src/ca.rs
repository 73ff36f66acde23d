//! The certification authority behind the authority's TLS: kept in the data directory, or in memory.

use std::{
    collections::HashMap,
    fmt, fs, io,
    path::Path,
    sync::{Arc, Mutex},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::{crypto::aws_lc_rs::sign::any_supported_type, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::Duration;

use crate::{StartError, clock::date_time, files, lock};

/// Issues the server certificates, one a host, when a client first asks for the host.
pub(crate) struct CertificateAuthority {
    pem: String,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    /// One key serves all hosts: which host a connection is for is decided by the name, not by the key.
    host_key: KeyPair,
    issued_unix: u64,
    issued: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl CertificateAuthority {
    /// A fresh authority that lives as long as the process.
    pub(crate) fn in_memory(now_unix: u64) -> Result<Self, StartError> {
        let key = KeyPair::generate()?;
        let pem = parameters(now_unix).self_signed(&key)?.pem();
        Self::new(pem, key, now_unix)
    }

    /// The authority of `ca.pem` and `ca.key` in `directory`; both are made when neither is there.
    pub(crate) fn in_directory(directory: &Path, now_unix: u64) -> Result<Self, StartError> {
        let (pem_path, key_path) = (directory.join("ca.pem"), directory.join("ca.key"));
        let Some(key_pem) = files::read_if_there(&key_path)? else {
            let fresh = Self::in_memory(now_unix)?;
            files::write_private(&key_path, fresh.issuer.key().serialize_pem().as_bytes())?;
            files::write(&pem_path, fresh.pem.as_bytes())?;
            return Ok(fresh);
        };
        let pem = fs::read_to_string(&pem_path).map_err(|error| StartError::file(&pem_path, error))?;
        let key = KeyPair::from_pem(&key_pem)
            .map_err(|error| StartError::file(&key_path, io::Error::other(error)))?;
        Self::new(pem, key, now_unix)
    }

    fn new(pem: String, key: KeyPair, now_unix: u64) -> Result<Self, StartError> {
        use rustls_pki_types::pem::PemObject;
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| StartError::Certificate(format!("the CA certificate: {error}")))?;
        Ok(Self {
            certificate,
            pem,
            issuer: Issuer::new(parameters(now_unix), key),
            host_key: KeyPair::generate()?,
            issued_unix: now_unix,
            issued: Mutex::default(),
        })
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// The certificate and key for `host`, issued at the first call.
    pub(crate) fn certified_key(&self, host: &str) -> Result<Arc<CertifiedKey>, StartError> {
        if let Some(key) = lock(&self.issued).get(host) {
            return Ok(key.clone());
        }
        let key = Arc::new(self.issue(host)?);
        lock(&self.issued).insert(host.to_owned(), key.clone());
        Ok(key)
    }

    fn issue(&self, host: &str) -> Result<CertifiedKey, StartError> {
        let mut parameters = CertificateParams::new([host.to_owned()])?;
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, host);
        parameters.not_before = date_time(self.issued_unix) - Duration::DAY;
        parameters.not_after = date_time(self.issued_unix) + Duration::days(397);
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        parameters.use_authority_key_identifier_extension = true;
        let leaf = parameters.signed_by(&self.host_key, &self.issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.host_key.serialize_der()));
        let key = any_supported_type(&key)?;
        Ok(CertifiedKey::new(vec![leaf.der().clone(), self.certificate.clone()], key))
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority").finish_non_exhaustive()
    }
}

/// The same subject every time, so that a kept key and certificate need no other description.
fn parameters(now_unix: u64) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, "Symbolon local authority CA");
    parameters.distinguished_name.push(DnType::OrganizationName, "Symbolon");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters.not_before = date_time(now_unix) - Duration::DAY;
    parameters.not_after = date_time(now_unix) + Duration::days(3650);
    parameters
}
