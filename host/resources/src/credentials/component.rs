//! Credentials of components: who runs one, what it is given, and what it is asked.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::SignatureScheme;
use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

use crate::digest::sha256_hex;

use super::assertion::AssertionContext;
use super::binding::SignatureAlgorithm;
use super::files::{self, Contents};
use super::provider::Outcome;
use super::secret::ClientSecret;
use super::selected::CredentialKind;

/// A component of the world `symbolon:credentials/credential-provider`, and what it is given. `Debug` shows no setting.
///
/// It runs in a sandbox of its own, reaches nothing, and gets the settings and the files that are named here. When one of
/// the files changes, or the component itself, another instance takes over.
#[derive(Clone)]
pub struct CredentialComponent {
    path: PathBuf,
    sha256: Option<String>,
    files: Vec<(String, PathBuf)>,
    settings: Vec<(String, Zeroizing<String>)>,
}

impl CredentialComponent {
    /// The component of a file. A relative path starts at the working directory.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), sha256: None, files: Vec::new(), settings: Vec::new() }
    }

    /// The only digest that the component's file may have, 64 hexadecimal digits. The default is any.
    ///
    /// `None` when it isn't a digest.
    pub fn with_sha256(mut self, hexadecimal: &str) -> Option<Self> {
        let is_digest = hexadecimal.len() == 64 && hexadecimal.bytes().all(|digit| digit.is_ascii_hexdigit());
        self.sha256 = Some(is_digest.then(|| hexadecimal.to_ascii_lowercase())?);
        Some(self)
    }

    /// Gives it the content of a file, at most 1 MiB, under a name.
    pub fn with_file(mut self, name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        self.files.push((name.into(), path.into()));
        self
    }

    /// Gives it a value, which may be a secret, under a name. One of that name, case ignored, is replaced.
    pub fn with_setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let name = name.into();
        self.settings.retain(|(known, _)| !known.eq_ignore_ascii_case(&name));
        self.settings.push((name, Zeroizing::new(value.into())));
        self
    }

    /// The component of another file, with the same settings and files.
    pub fn with_path(self, path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), ..self }
    }

    /// The component's bytes, and what an instance of it gets. Blocks on the file system.
    ///
    /// # Errors
    ///
    /// [`ComponentError`] where a file can't be read, is too large, or hasn't the digest.
    pub fn load(&self) -> Result<(Zeroizing<Vec<u8>>, ComponentConfiguration), ComponentError> {
        let contents = self.read()?;
        Ok((Zeroizing::new(contents.first().to_vec()), self.configuration(&contents)))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What it is read from: the component, then its files.
    pub(super) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.path).chain(self.files.iter().map(|(_, path)| path))
    }

    /// Reads all of them. Blocks on the file system.
    pub(super) fn read(&self) -> Result<Contents, ComponentError> {
        let component = bounded(&self.path, MAX_COMPONENT)?;
        let found = sha256_hex(&component);
        if self.sha256.as_ref().is_some_and(|expected| *expected != found) {
            let message = format!("found a component of the digest {found}; accepted: that of Sha256");
            return Err(ComponentError::new(ComponentProblem::Component, message));
        }
        let files = self.files.iter().map(|(_, path)| bounded(path, MAX_FILE));
        let all = std::iter::once(Ok(component)).chain(files);
        Ok(Contents::new(all.collect::<Result<_, _>>()?))
    }

    /// What an instance gets, of what was [`read`](Self::read).
    pub(super) fn configuration(&self, contents: &Contents) -> ComponentConfiguration {
        let bytes = contents.files().skip(1).map(|bytes| Zeroizing::new(bytes.to_vec()));
        let names = self.files.iter().map(|(name, _)| name.clone());
        ComponentConfiguration { settings: self.settings.clone(), files: names.zip(bytes).collect() }
    }
}

impl fmt::Debug for CredentialComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialComponent").field("path", &self.path).finish_non_exhaustive()
    }
}

fn bounded(path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, ComponentError> {
    let named = |found: String| {
        let message =
            format!("found {found} at {}; accepted: one of at most {} KiB", path.display(), limit >> 10);
        ComponentError::new(ComponentProblem::Component, message)
    };
    let bytes = files::read(path, limit).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => named("no file".to_owned()),
        kind => named(format!("a file that can't be read ({kind})")),
    })?;
    match bytes.len() > limit {
        true => Err(named("a larger file".to_owned())),
        false => Ok(bytes),
    }
}

/// What an instance of a component works with: the content of files and values, by name. Wiped on drop; `Debug` shows the
/// names.
#[derive(Clone)]
#[non_exhaustive]
pub struct ComponentConfiguration {
    /// Values, some of them secrets.
    pub settings: Vec<(String, Zeroizing<String>)>,
    /// The content of files.
    pub files: Vec<(String, Zeroizing<Vec<u8>>)>,
}

impl ComponentConfiguration {
    /// Settings and files, by name.
    pub fn new(settings: Vec<(String, Zeroizing<String>)>, files: Vec<(String, Zeroizing<Vec<u8>>)>) -> Self {
        Self { settings, files }
    }
}

impl fmt::Debug for ComponentConfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComponentConfiguration")
            .field("settings", &self.settings.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("files", &self.files.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .finish()
    }
}

/// Runs components of the world `symbolon:credentials/credential-provider`: the engine above.
pub trait ComponentRunner: Send + Sync {
    /// Makes an instance of a component and configures it. Blocks for as long as that takes.
    ///
    /// # Errors
    ///
    /// [`ComponentError`], also where the bytes aren't such a component, or one that wants more than it may have.
    fn start(
        &self,
        component: &[u8],
        configuration: ComponentConfiguration,
    ) -> Result<Arc<dyn RunningComponent>, ComponentError>;
}

/// A component at work. All calls block, for as long as the component may compute.
pub trait RunningComponent: Send + Sync {
    /// The credential that it would use now.
    ///
    /// # Errors
    ///
    /// The component's own, or how it failed.
    fn select(&self) -> Result<Arc<dyn ComponentCredential>, ComponentError>;
}

/// A credential that a component has. Calls that give a result block, for as long as the component may
/// compute.
pub trait ComponentCredential: fmt::Debug + Send + Sync {
    /// What it said of it.
    fn description(&self) -> &ComponentDescription;

    /// Signs a client assertion, as JWS has it. The caller has checked what is signed.
    ///
    /// # Errors
    ///
    /// The component's own, or how it failed.
    fn sign_assertion(
        &self,
        algorithm: SignatureAlgorithm,
        signing_input: &[u8],
    ) -> Result<Vec<u8>, ComponentError>;

    /// Signs for a TLS handshake.
    ///
    /// # Errors
    ///
    /// The component's own, or how it failed.
    fn sign_handshake(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, ComponentError>;

    /// Makes a token that stands in for a client assertion.
    ///
    /// # Errors
    ///
    /// The component's own, or how it failed.
    fn assertion(&self, context: &AssertionContext) -> Result<ComponentAssertion, ComponentError>;

    /// The value of a client secret.
    ///
    /// # Errors
    ///
    /// The component's own, or how it failed.
    fn secret(&self) -> Result<ClientSecret, ComponentError>;

    /// Takes note of what became of it, without waiting. The component learns of it before it is asked anything else.
    fn report(&self, outcome: Outcome);

    /// Whether the component doesn't have it any more, so that it is to be asked what it would use instead. The default is
    /// no.
    fn is_lost(&self) -> bool {
        false
    }
}

/// What a component said of a credential.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ComponentDescription {
    /// What it can do.
    pub kind: CredentialKind,
    /// The certificate and what leads up from it, leaf first; empty where there is none.
    pub chain: Vec<CertificateDer<'static>>,
    /// What [`ComponentCredential::sign_assertion`] can make.
    pub algorithms: Vec<SignatureAlgorithm>,
    /// What [`ComponentCredential::sign_handshake`] can make, most preferred first.
    pub schemes: Vec<SignatureScheme>,
}

impl ComponentDescription {
    /// A credential without a certificate.
    pub fn new(kind: CredentialKind) -> Self {
        Self { kind, chain: Vec::new(), algorithms: Vec::new(), schemes: Vec::new() }
    }

    /// The same with a certificate, and what its key can sign.
    pub fn with_certificate(
        mut self,
        chain: Vec<CertificateDer<'static>>,
        algorithms: Vec<SignatureAlgorithm>,
        schemes: Vec<SignatureScheme>,
    ) -> Self {
        (self.chain, self.algorithms, self.schemes) = (chain, algorithms, schemes);
        self
    }
}

/// A token that a component made. Wiped on drop.
pub struct ComponentAssertion {
    /// The token in compact form.
    pub assertion: Zeroizing<String>,
    /// When it stops being accepted, in seconds since 1970.
    pub expires_on_unix: Option<u64>,
    /// Whether it is bound to the credential's certificate.
    pub bound: bool,
}

/// Why a component gave nothing. Holds no secret, as far as the component keeps to that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ComponentError {
    pub(super) problem: ComponentProblem,
    message: String,
    retry_after: Option<Duration>,
}

impl ComponentError {
    /// An error with a sentence for people.
    pub fn new(problem: ComponentProblem, message: impl Into<String>) -> Self {
        Self { problem, message: message.into(), retry_after: None }
    }

    /// How long the component wants to be left alone. The default is what the host thinks fit.
    pub fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.retry_after = Some(retry_after);
        self
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

/// What to do about a component that gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ComponentProblem {
    /// The file isn't a component that can be run here, or it trapped or went beyond its limits: mend the component.
    Component,
    /// It has no credential now: mend what it is given, or wait.
    Unavailable,
    /// The credential can't do what was asked of it.
    Unsupported,
    /// Its rules forbid what was asked of it.
    Refused,
}

/// Components are some hundred kilobytes; those that bring a language's runtime along, a few megabytes.
const MAX_COMPONENT: usize = 32 << 20;

/// Keys, and the chains above them, are a few kilobytes.
const MAX_FILE: usize = 1 << 20;
