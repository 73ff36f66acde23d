//! What the platform that this process runs on tells it about itself, and what proves the process to that platform: for
//! tokens of managed identities.
//!
//! Nothing else of the environment and of the file system is given away: a fixed list of variables, two of which hold
//! secrets that go into requests only, and the key files of Azure Arc's agent.

mod attestation;
mod certification;

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{MAIN_SEPARATOR, Path, PathBuf};
use std::sync::Arc;

use url::{Host, Url};
use zeroize::Zeroizing;

use crate::credentials::{ClientSecret, EgressPolicy};

pub use self::attestation::{AttestationError, AttestationProvider, AttestationRequest};
pub use self::certification::{CertificateSubject, PlatformKey};

/// The platform, as the environment describes it. `Debug` shows no secret.
#[derive(Clone)]
pub struct Platform {
    variables: Vec<(&'static str, String)>,
    secrets: Vec<(&'static str, ClientSecret)>,
    arc_agent: Option<ArcAgent>,
    attestation: Option<Arc<dyn AttestationProvider>>,
}

/// Where Azure Arc's agent is on this machine, if it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArcAgent {
    executable: PathBuf,
    /// With a separator at the end.
    keys: String,
}

impl ArcAgent {
    /// The agent with this executable and this directory of keys.
    pub fn new(executable: impl Into<PathBuf>, keys: &Path) -> Self {
        Self { executable: executable.into(), keys: format!("{}{MAIN_SEPARATOR}", keys.display()) }
    }

    /// Where the agent's installer puts it. There is none for systems other than Linux and Windows.
    fn of_system(environment: impl Fn(&str) -> Option<String>) -> Option<Self> {
        if cfg!(target_os = "linux") {
            return Some(Self::new("/opt/azcmagent/bin/himds", Path::new("/var/opt/azcmagent/tokens")));
        }
        let folder = |variable| Some(Path::new(&environment(variable)?).join("AzureConnectedMachineAgent"));
        let (programs, data) = (folder("ProgramFiles")?, folder("ProgramData")?);
        cfg!(windows).then(|| Self::new(programs.join("himds.exe"), &data.join("Tokens")))
    }

    fn is_installed(&self) -> bool {
        self.executable.metadata().is_ok_and(|file| file.is_file() && file.len() > 0)
    }

    /// Reads a key. The path must be exactly that of a `.key` file in the agent's directory: who answers with a challenge
    /// must not choose what is read.
    fn key(&self, path: &str) -> Result<ClientSecret, PlatformError> {
        let name = path.strip_prefix(&self.keys).and_then(|name| name.strip_suffix(".key"));
        if !name.is_some_and(|name| !name.is_empty() && !name.contains(['/', '\\', '\0'])) {
            return Err(PlatformError::NotAKey { directory: self.keys.clone() });
        }
        let mut file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(PlatformError::NotAKey { directory: self.keys.clone() });
        }
        let mut content = Zeroizing::new(String::with_capacity(MAX_KEY_BYTES + 1));
        file.by_ref().take(MAX_KEY_BYTES as u64 + 1).read_to_string(&mut content)?;
        if content.len() > MAX_KEY_BYTES {
            return Err(PlatformError::TooLarge);
        }
        Ok(ClientSecret::new(content.trim_end_matches(['\r', '\n'])))
    }
}

impl Platform {
    /// Reads the variables from `environment`, usually `|name| std::env::var(name).ok()`.
    pub fn read(environment: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name| Some((name, environment(name).filter(|value| !value.is_empty())?));
        Self {
            variables: VARIABLES.into_iter().filter_map(set).collect(),
            secrets: SECRETS
                .into_iter()
                .filter_map(set)
                .map(|(name, value)| (name, ClientSecret::new(value)))
                .collect(),
            arc_agent: ArcAgent::of_system(&environment),
            attestation: None,
        }
    }

    /// The same with Azure Arc's agent in another place than its usual one.
    #[must_use]
    pub fn with_arc_agent(mut self, agent: ArcAgent) -> Self {
        self.arc_agent = Some(agent);
        self
    }

    /// The same with something that attests keys.
    #[must_use]
    pub fn with_attestation(mut self, provider: Arc<dyn AttestationProvider>) -> Self {
        self.attestation = Some(provider);
        self
    }

    /// What attests keys, where anything does.
    pub fn attestation(&self) -> Option<&dyn AttestationProvider> {
        self.attestation.as_deref()
    }

    /// The variables that are set and not empty. Those that hold a secret come without a value.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
        let known = self.variables.iter().map(|(name, value)| (*name, Some(value.as_str())));
        known.chain(self.secrets.iter().map(|(name, _)| (*name, None)))
    }

    /// Whether Azure Arc's agent is installed.
    pub fn has_arc_agent(&self) -> bool {
        self.arc_agent.as_ref().is_some_and(ArcAgent::is_installed)
    }

    /// The secret that a variable holds.
    ///
    /// # Errors
    ///
    /// [`PlatformError::NotSet`], and [`PlatformError::NotASecret`] for a variable that isn't one of the secret ones.
    pub fn secret(&self, name: &str) -> Result<ClientSecret, PlatformError> {
        let name = *SECRETS.iter().find(|known| **known == name).ok_or(PlatformError::NotASecret)?;
        let found = self.secrets.iter().find(|(known, _)| *known == name);
        found.map(|(_, secret)| secret.clone()).ok_or(PlatformError::NotSet(name))
    }

    /// The content of a key of Azure Arc's agent, at most 4096 bytes, without line breaks at its end.
    ///
    /// # Errors
    ///
    /// [`PlatformError`] for any other path, and for a file that can't be read.
    pub fn challenge_file(&self, path: &str) -> Result<ClientSecret, PlatformError> {
        self.arc_agent.as_ref().ok_or(PlatformError::NoAgent)?.key(path)
    }

    /// Where tokens are asked for: the exact origins that the variables name, and the usual ones of virtual machines and,
    /// where its agent is installed, of Azure Arc.
    pub(crate) fn egress(&self) -> EgressPolicy {
        let named = self.variables.iter().filter(|(name, _)| ENDPOINTS.contains(name));
        let named = named.filter_map(|(_, url)| origin(url));
        let arc = self.has_arc_agent().then_some(ARC_ENDPOINT);
        let usual = [Some(IMDS), arc].into_iter().flatten().filter_map(origin);
        EgressPolicy::of_origins(named.chain(usual))
    }

    /// The SHA-1 of the certificate of Service Fabric's endpoint, in hexadecimal. Where that is named, it is the only server
    /// that is trusted.
    pub(crate) fn server_thumbprint(&self) -> Option<&str> {
        let is_fabric =
            self.variables.iter().any(|(name, _)| *name == IDENTITY_ENDPOINT) && !self.secrets.is_empty();
        let thumbprint = self.variables.iter().find(|(name, _)| *name == IDENTITY_SERVER_THUMBPRINT);
        thumbprint.filter(|_| is_fabric).map(|(_, thumbprint)| thumbprint.trim())
    }
}

impl fmt::Debug for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.variables()).finish()
    }
}

/// Why there is no secret of the platform's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlatformError {
    /// The variable isn't set.
    #[error("the environment variable {0} isn't set")]
    NotSet(&'static str),
    /// The variable is none of those that hold a secret of the platform's.
    #[error("not one of the platform's secrets; accepted: IDENTITY_HEADER, MSI_SECRET")]
    NotASecret,
    /// Azure Arc has no agent for this system.
    #[error("Azure Arc's agent doesn't exist for this operating system")]
    NoAgent,
    /// The path isn't that of one of the agent's keys.
    #[error("the path that the challenge names isn't that of a key; accepted: {directory}*.key")]
    NotAKey {
        /// The directory of the keys.
        directory: String,
    },
    /// The file is larger than any key.
    #[error("the key that the challenge names has more than 4096 bytes")]
    TooLarge,
    /// The file can't be read.
    #[error("the key that the challenge names can't be read ({0}); is this process in the group himds?")]
    Unreadable(io::ErrorKind),
    /// The machine can't make a key, or not sign with it.
    #[error("no private key can be made for the identity's certificate")]
    NoKey,
    /// The platform's metadata aren't what a certificate can be requested with.
    #[error("the platform's metadata are empty, too long, or not of the form of a certificate's subject")]
    NotASubject,
}

impl PlatformError {
    /// Whether the rules forbid what was asked for; otherwise it isn't there.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::NotASecret | Self::NotAKey { .. } | Self::TooLarge | Self::NotASubject)
    }
}

impl From<io::Error> for PlatformError {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error.kind())
    }
}

/// Scheme, host (an IPv6 address without its brackets) and port of a URL of http or https.
fn origin(url: &str) -> Option<(String, String, u16)> {
    let url = Url::parse(url.trim()).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let host = match url.host()? {
        Host::Ipv6(address) => address.to_string(),
        host => host.to_string(),
    };
    Some((url.scheme().to_owned(), host, url.port_or_known_default()?))
}

const IDENTITY_ENDPOINT: &str = "IDENTITY_ENDPOINT";

const IDENTITY_SERVER_THUMBPRINT: &str = "IDENTITY_SERVER_THUMBPRINT";

/// The variables that may be read.
const VARIABLES: [&str; 7] = [
    "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    "DEFAULT_IDENTITY_CLIENT_ID",
    IDENTITY_ENDPOINT,
    IDENTITY_SERVER_THUMBPRINT,
    "IMDS_ENDPOINT",
    "MSI_ENDPOINT",
    "REGION_NAME",
];

/// The variables that may be used.
const SECRETS: [&str; 2] = ["IDENTITY_HEADER", "MSI_SECRET"];

/// The variables whose values are URLs that are asked.
const ENDPOINTS: [&str; 3] = ["AZURE_POD_IDENTITY_AUTHORITY_HOST", IDENTITY_ENDPOINT, "MSI_ENDPOINT"];

/// The instance metadata service of virtual machines.
const IMDS: &str = "http://169.254.169.254";

const ARC_ENDPOINT: &str = "http://127.0.0.1:40342";

/// What MSAL accepts.
const MAX_KEY_BYTES: usize = 4096;
