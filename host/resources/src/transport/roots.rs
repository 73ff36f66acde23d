use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::options::TransportOptionsError;

/// The certificates that a server's certificate must be issued by, and what checks that.
#[derive(Debug)]
pub(super) struct Roots {
    /// `None` when there are no roots at all: then no server is trusted.
    pub(super) verifier: Option<Arc<WebPkiServerVerifier>>,
    /// In words, for the error.
    pub(super) description: String,
}

/// The process's root certificates: the platform's, read once, when the first application needs them, and sets that
/// add an application's own, shared by all applications that name the same certificates.
#[derive(Debug)]
pub(super) struct RootCache {
    crypto: Arc<CryptoProvider>,
    file: Option<PathBuf>,
    directories: Option<String>,
    platform: OnceLock<Result<Platform, TransportOptionsError>>,
    sets: Mutex<HashMap<Vec<CertificateDer<'static>>, Weak<Roots>>>,
}

#[derive(Debug)]
struct Platform {
    store: RootCertStore,
    description: String,
}

impl RootCache {
    pub(super) fn new(
        crypto: Arc<CryptoProvider>,
        file: Option<String>,
        directories: Option<String>,
    ) -> Self {
        let not_empty = |value: &String| !value.is_empty();
        Self {
            crypto,
            file: file.filter(not_empty).map(PathBuf::from),
            directories: directories.filter(not_empty),
            platform: OnceLock::new(),
            sets: Mutex::default(),
        }
    }

    /// The platform's roots and those in the files.
    pub(super) fn with_files(&self, files: &[PathBuf]) -> Result<Arc<Roots>, TransportOptionsError> {
        let mut extra = Vec::new();
        for path in files {
            extra.append(&mut read_roots(path)?);
        }
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(roots) = sets.get(&extra).and_then(Weak::upgrade) {
            return Ok(roots);
        }
        let roots = Arc::new(self.build(&extra, files)?);
        sets.retain(|_, roots| roots.strong_count() > 0);
        sets.insert(extra, Arc::downgrade(&roots));
        Ok(roots)
    }

    fn build(
        &self,
        extra: &[CertificateDer<'static>],
        files: &[PathBuf],
    ) -> Result<Roots, TransportOptionsError> {
        let platform = self.platform.get_or_init(|| self.load_platform()).as_ref().map_err(Clone::clone)?;
        let mut store = platform.store.clone();
        store.add_parsable_certificates(extra.iter().cloned());
        let mut description = platform.description.clone();
        if !extra.is_empty() {
            let names: Vec<_> = files.iter().map(|path| path.display().to_string()).collect();
            description.push_str(&format!(", {} from {}", extra.len(), names.join(", ")));
        }
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&self.crypto));
        Ok(Roots { verifier: builder.build().ok(), description })
    }

    fn load_platform(&self) -> Result<Platform, TransportOptionsError> {
        match (&self.file, &self.directories) {
            (None, None) => Ok(native_roots()),
            (file, directories) => named_roots(file.as_deref(), directories.as_deref()),
        }
    }
}

/// The platform's own certificates. Those that can't be read are left out, as every TLS client does: one odd file among
/// a hundred is no reason to stop.
fn native_roots() -> Platform {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(name: "symbolon.transport.roots", %error, "a root certificate of the platform can't be read");
    }
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(found.certs);
    Platform { store, description: format!("{added} of the platform") }
}

/// The certificates that the environment names instead of the platform's. Somebody named them, so a mistake is an error.
fn named_roots(file: Option<&Path>, directories: Option<&str>) -> Result<Platform, TransportOptionsError> {
    let mut store = RootCertStore::empty();
    let mut descriptions = Vec::new();
    let mut add = |variable, value: String, path: Option<&Path>, directory: Option<&Path>| {
        let found = rustls_native_certs::load_certs_from_paths(path, directory);
        let (added, _) = store.add_parsable_certificates(found.certs);
        descriptions.push(format!("{added} from {variable} = {value}"));
        match (found.errors.first(), added) {
            // Directories hold other files as well.
            (Some(error), added) if path.is_some() || added == 0 => Err(error.to_string()),
            (None, 0) if path.is_some() => Err("it has no certificate".to_owned()),
            _ => Ok(()),
        }
        .map_err(|problem| TransportOptionsError::PlatformRoots { variable, value, problem })
    };
    if let Some(path) = file {
        add("SSL_CERT_FILE", path.display().to_string(), Some(path), None)?;
    }
    for directory in
        std::env::split_paths(directories.unwrap_or_default()).filter(|path| !path.as_os_str().is_empty())
    {
        add("SSL_CERT_DIR", directory.display().to_string(), None, Some(&directory))?;
    }
    Ok(Platform { store, description: descriptions.join(", ") })
}

/// The certificates of a PEM file, all of which must be usable as roots.
fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, TransportOptionsError> {
    let problem = |problem: String| TransportOptionsError::TrustedRoots { path: path.to_owned(), problem };
    let bytes = std::fs::read(path).map_err(|error| problem(error.to_string()))?;
    let certificates = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| problem(format!("not PEM ({error})")))?;
    if certificates.is_empty() {
        return Err(problem("it has no certificate".to_owned()));
    }
    let mut probe = RootCertStore::empty();
    for (index, certificate) in certificates.iter().enumerate() {
        probe.add(certificate.clone()).map_err(|error| {
            problem(format!("certificate {} can't be used as a root ({error})", index + 1))
        })?;
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crypto() -> Arc<CryptoProvider> {
        Arc::new(rustls::crypto::aws_lc_rs::default_provider())
    }

    fn authority_pem(name: &str) -> String {
        let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
    }

    fn file(directory: &tempfile::TempDir, name: &str, contents: &str) -> PathBuf {
        let path = directory.path().join(name);
        std::fs::write(&path, contents).unwrap();
        path
    }

    #[test]
    fn applications_with_the_same_roots_share_them() {
        let directory = tempfile::tempdir().unwrap();
        let pem = authority_pem("a");
        let (one, same) = (file(&directory, "1.pem", &pem), file(&directory, "2.pem", &pem));
        let other = file(&directory, "3.pem", &authority_pem("b"));
        let cache = RootCache::new(crypto(), Some(one.display().to_string()), None);
        let first = cache.with_files(std::slice::from_ref(&one)).unwrap();
        assert!(Arc::ptr_eq(&first, &cache.with_files(&[same]).unwrap()));
        assert!(!Arc::ptr_eq(&first, &cache.with_files(&[other]).unwrap()));
        drop(first);
        cache.with_files(&[]).unwrap();
        assert_eq!(cache.sets.lock().unwrap().len(), 1);
    }

    #[test]
    fn the_description_says_where_the_roots_come_from() {
        let directory = tempfile::tempdir().unwrap();
        let own = file(&directory, "own.pem", &(authority_pem("a") + &authority_pem("b")));
        let named = file(&directory, "named.pem", &authority_pem("c"));
        let cache = RootCache::new(crypto(), Some(named.display().to_string()), None);
        let roots = cache.with_files(std::slice::from_ref(&own)).unwrap();
        let expected = format!("1 from SSL_CERT_FILE = {}, 2 from {}", named.display(), own.display());
        assert_eq!(roots.description, expected);
    }

    #[test]
    fn a_bad_root_file_is_an_error_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let named = file(&directory, "named.pem", &authority_pem("c"));
        let cache = RootCache::new(crypto(), Some(named.display().to_string()), None);
        let truncated = authority_pem("a").replace("-----END CERTIFICATE-----", "");
        let not_a_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
        let cases = [
            (directory.path().join("missing.pem"), "No such file"),
            (file(&directory, "empty.pem", ""), "it has no certificate"),
            (file(&directory, "truncated.pem", &truncated), "not PEM"),
            (
                file(&directory, "second.pem", &(authority_pem("a") + &not_a_certificate)),
                "certificate 2 can't be used",
            ),
        ];
        for (path, problem) in cases {
            let error = cache.with_files(std::slice::from_ref(&path)).unwrap_err().to_string();
            assert!(error.contains(&path.display().to_string()) && error.contains(problem), "{error}");
        }
    }

    #[test]
    fn a_bad_variable_is_an_error_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing").display().to_string();
        let empty = file(&directory, "empty.pem", "").display().to_string();
        for (file, directories, variable) in [
            (Some(missing.clone()), None, "SSL_CERT_FILE"),
            (Some(empty), None, "SSL_CERT_FILE"),
            (None, Some(missing), "SSL_CERT_DIR"),
        ] {
            let error = RootCache::new(crypto(), file, directories).with_files(&[]).unwrap_err().to_string();
            assert!(error.contains(variable), "{error}");
        }
    }
}
