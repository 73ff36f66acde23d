//! What a connection is made with, as its files have it now.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use redis::{ClientTlsConfig, TlsCertificates};
use zeroize::Zeroizing;

use super::super::backend::Failure;
use super::super::options::RedisOptions;
use crate::credentials::files;

/// Passwords and certificates.
pub(super) struct Access {
    pub(super) password: Option<Zeroizing<String>>,
    pub(super) sentinel_password: Option<Zeroizing<String>>,
    /// None where the platform's roots are all that there is.
    pub(super) certificates: Option<TlsCertificates>,
}

impl Access {
    /// Reads the files.
    pub(super) fn read(options: &RedisOptions) -> Result<Self, Failure> {
        let password = |file: &Option<PathBuf>, given: &Option<Zeroizing<String>>| match file {
            Some(file) => files::password(file).map(Some).map_err(|found| unusable(file, &found)),
            None => Ok(given.clone()),
        };
        Ok(Self {
            password: password(&options.password_file, &options.password)?,
            sentinel_password: password(&options.sentinel_password_file, &options.sentinel_password)?,
            certificates: certificates(options)?,
        })
    }
}

fn certificates(options: &RedisOptions) -> Result<Option<TlsCertificates>, Failure> {
    if !options.tls || options.trusted_roots.is_empty() && options.certificate.is_none() {
        return Ok(None);
    }
    let client_tls = options.certificate.as_ref().map(|certificate| {
        let key = options.certificate_key.as_ref().unwrap_or(certificate);
        let (client_cert, client_key) = (read(certificate)?.to_vec(), read(key)?.to_vec());
        Ok(ClientTlsConfig { client_cert, client_key })
    });
    let root_cert = (!options.trusted_roots.is_empty()).then(|| roots(&options.trusted_roots));
    Ok(Some(TlsCertificates { client_tls: client_tls.transpose()?, root_cert: root_cert.transpose()? }))
}

/// The platform's roots and those of the files, in PEM, which is all that the crate takes.
fn roots(files: &[PathBuf]) -> Result<Vec<u8>, Failure> {
    let mut pem = Vec::new();
    for certificate in rustls_native_certs::load_native_certs().certs {
        let body = BASE64_STANDARD.encode(&certificate);
        // Nothing fails when it is written to memory.
        let _ = write!(pem, "-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
    }
    for path in files {
        pem.extend_from_slice(&read(path)?);
        pem.push(b'\n');
    }
    Ok(pem)
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let unreadable =
        |error: std::io::Error| unusable(path, &format!("which can't be read ({})", error.kind()));
    files::read(path, MAX_FILE).map_err(unreadable)
}

fn unusable(path: &Path, found: &str) -> Failure {
    Failure { what: format!("{}, {found}", path.display()), answered: false }
}

/// A bundle of roots is a few hundred kilobytes.
const MAX_FILE: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject as _;

    use super::*;

    #[test]
    fn roots_of_files_are_trusted_beside_those_of_the_platform() {
        let own = rcgen::generate_simple_self_signed(["a root".to_owned()]).unwrap().cert;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.pem");
        std::fs::write(&file, own.pem()).unwrap();
        let roots = roots(&[file]).unwrap();
        let roots = CertificateDer::pem_slice_iter(&roots).collect::<Result<Vec<_>, _>>().unwrap();
        let mut expected = rustls_native_certs::load_native_certs().certs;
        expected.push(own.der().clone());
        assert_eq!(roots, expected);
        assert!(super::roots(&[directory.path().join("none.pem")]).is_err());
    }
}
