//! What surrounds the authority in Azure: the machines that managed identities live on, and Key Vault.
//!
//! A [`Platform`] is one machine as seen through every kind of endpoint that there is; a [`Vault`] is reached through
//! the authority's own port.

mod app_service;
mod azure_arc;
mod cloud_shell;
mod csr;
mod exchange;
mod identity;
mod imds;
mod imds_v2;
mod key_vault;
mod machine;
mod machine_learning;
mod server;
mod service_fabric;
mod source;
mod vault;

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::task::JoinHandle;

pub use azure_arc::ArcChallenge;
pub use identity::ManagedIdentity;
pub use source::Source;
pub use vault::{CertificatePolicy, Vault};

pub(crate) use exchange::{Reply, Request};
pub(crate) use identity::object_id;
pub(crate) use key_vault::name_of as vault_name;
pub(crate) use machine::Machine;
pub(crate) use vault::Vaults;

use crate::{
    Authority, CONTOSO, Certificate, Endpoint, Registration, StartError, Stats, authority::listen,
    encoding::random_secret, lock, state::State,
};
use identity::{Assigned, Identity};
use machine::Secrets;

/// The common name of the authority that certifies managed identities.
pub(crate) const IDENTITY_ISSUER: &str = "Symbolon managed identities";

/// What a platform is made of: a machine in the region `westus2`, without identities until some are assigned.
#[derive(Debug)]
#[must_use]
pub struct PlatformBuilder {
    tenant: String,
    login_host: String,
    system: Option<ManagedIdentity>,
    users: Vec<ManagedIdentity>,
    region: String,
    instance_versions: Vec<String>,
    token_lifetime: Duration,
    scale_set: Option<String>,
    imds_v2: bool,
    demand_attestation: bool,
    attestation_endpoint: Option<String>,
    credential_lifetime: Duration,
    arc_directory: Option<PathBuf>,
}

impl PlatformBuilder {
    fn new() -> Self {
        Self {
            tenant: CONTOSO.to_owned(),
            login_host: "login.microsoftonline.com".to_owned(),
            system: None,
            users: Vec::new(),
            region: "westus2".to_owned(),
            instance_versions: ["2025-04-07", "2023-11-15", "2021-02-01"].map(str::to_owned).to_vec(),
            token_lifetime: DAY,
            scale_set: None,
            imds_v2: true,
            demand_attestation: false,
            attestation_endpoint: None,
            credential_lifetime: 7 * DAY,
            arc_directory: None,
        }
    }

    /// Assigns the identity that comes and goes with the machine. The default is none.
    pub fn system_assigned(mut self, identity: ManagedIdentity) -> Self {
        self.system = Some(identity);
        self
    }

    /// Assigns an identity that was made before; repeat it for more. The default is none.
    pub fn user_assigned(mut self, identity: ManagedIdentity) -> Self {
        self.users.push(identity);
        self
    }

    /// The tenant (id or domain) of the machine. The default is [`CONTOSO`].
    pub fn tenant(mut self, tenant: &str) -> Self {
        self.tenant = tenant.to_owned();
        self
    }

    /// The cloud of the machine, by one of its login hosts. The default is `login.microsoftonline.com`.
    pub fn login_host(mut self, host: &str) -> Self {
        self.login_host = host.to_owned();
        self
    }

    /// The region. The default is `westus2`.
    pub fn region(mut self, region: &str) -> Self {
        self.region = region.to_owned();
        self
    }

    /// The versions of `/metadata/instance/compute`, newest first. The default has `2021-02-01` among others.
    pub fn instance_versions<'a>(mut self, versions: impl IntoIterator<Item = &'a str>) -> Self {
        self.instance_versions = versions.into_iter().map(str::to_owned).collect();
        self
    }

    /// How long tokens live that the endpoints hand out. The default is a day, as with Azure. The tokens of
    /// IMDSv2 come from the authority's token endpoint, and live for 3599 s.
    pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.token_lifetime = lifetime;
        self
    }

    /// Makes the machine a member of a scale set: `vmssId` of its `cuId`. The default is without.
    pub fn scale_set(mut self, id: &str) -> Self {
        self.scale_set = Some(id.to_owned());
        self
    }

    /// Whether the instance metadata service has its second version, which hands out certificates. The default is
    /// yes.
    pub fn imds_v2(mut self, there: bool) -> Self {
        self.imds_v2 = there;
        self
    }

    /// Whether a certificate is refused without an `attestation_token`, which must be a JWT; nothing more is checked
    /// of it. The default is no.
    pub fn demand_attestation(mut self, demand: bool) -> Self {
        self.demand_attestation = demand;
        self
    }

    /// Where clients get the attestation token. The default is a name in the region that nothing answers under.
    pub fn attestation_endpoint(mut self, url: &str) -> Self {
        self.attestation_endpoint = Some(url.to_owned());
        self
    }

    /// How long the certificates of IMDSv2 live. The default is 7 days.
    pub fn credential_lifetime(mut self, lifetime: Duration) -> Self {
        self.credential_lifetime = lifetime;
        self
    }

    /// Where Azure Arc's agent puts its key files. The default is a directory of its own among the system's temporary
    /// ones, which is removed with the platform.
    pub fn arc_key_directory(mut self, directory: impl AsRef<Path>) -> Self {
        self.arc_directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Starts the endpoints, each on a free port of `127.0.0.1`, with the clock, keys, faults and log of the
    /// authority. Its identities become applications there: that is how IMDSv2's certificates are good for tokens.
    ///
    /// # Errors
    /// When a port can't be listened on, the tenant or host is not the authority's, or the directory can't be made.
    pub async fn start(self, authority: &Authority) -> Result<Platform, StartError> {
        let state = authority.state().clone();
        let mut listeners = Vec::new();
        for source in Source::ALL {
            listeners.push((source, listen("127.0.0.1:0").await?));
        }
        let addresses = listeners.iter().map(|(source, (_, address))| (*source, *address)).collect();
        let (fabric, certificate) = server::fabric_tls(crate::Clock::system().now_unix())?;
        let machine = Arc::new(self.machine(state.clone(), addresses, certificate)?);
        let mut machines = lock(&state.machines);
        machines.retain(|other| other.strong_count() > 0);
        machines.push(Arc::downgrade(&machine));
        drop(machines);
        let serve = |(source, (listener, _))| {
            let tls = (source == Source::ServiceFabric).then(|| fabric.clone());
            tokio::spawn(server::serve(listener, machine.clone(), source, tls))
        };
        let tasks = listeners.into_iter().map(serve).collect();
        Ok(Platform { machine, tasks })
    }

    fn machine(
        self,
        state: Arc<State>,
        addresses: Vec<(Source, SocketAddr)>,
        fabric_certificate: Certificate,
    ) -> Result<Machine, StartError> {
        let tenant = state.directory.tenant(&self.tenant).cloned();
        let tenant = tenant.ok_or_else(|| StartError::Platform(format!("no tenant '{}'", self.tenant)))?;
        if state.hosts.site(&self.login_host).is_none() {
            return Err(StartError::Platform(format!("no login host '{}'", self.login_host)));
        }
        let system = self.system.map(|identity| Identity::new(identity, Assigned::System));
        let users = self.users.into_iter().map(|identity| Identity::new(identity, Assigned::User));
        let identities: Vec<_> = system.into_iter().chain(users).collect();
        for identity in &identities {
            state.directory.put(registration(identity, &tenant.id));
        }
        Ok(Machine {
            tenant,
            login_host: self.login_host,
            identities,
            attestation_endpoint: self.attestation_endpoint.unwrap_or_else(|| {
                format!("https://shared{region}.{region}.attest.azure.net", region = self.region)
            }),
            region: self.region,
            instance_versions: self.instance_versions,
            token_lifetime: self.token_lifetime,
            scale_set: self.scale_set,
            imds_v2: self.imds_v2,
            demand_attestation: self.demand_attestation,
            credential_lifetime: self.credential_lifetime,
            secrets: Secrets {
                app_service: random_secret(),
                service_fabric: random_secret(),
                machine_learning: random_secret(),
            },
            fabric_certificate,
            arc: azure_arc::Keys::new(self.arc_directory)?,
            kept: Default::default(),
            addresses,
            counters: Default::default(),
            state,
        })
    }
}

/// A machine with managed identities, behind every kind of endpoint. It stops when it is dropped.
pub struct Platform {
    machine: Arc<Machine>,
    tasks: Vec<JoinHandle<()>>,
}

impl Platform {
    /// Starts to describe a platform.
    pub fn builder() -> PlatformBuilder {
        PlatformBuilder::new()
    }

    /// Where the endpoints of this source are.
    #[must_use]
    pub fn address(&self, source: Source) -> SocketAddr {
        self.machine.address(source)
    }

    /// The environment variables by which clients find the source, with their values:
    ///
    /// | Source | Variables |
    /// |---|---|
    /// | `Imds` | `AZURE_POD_IDENTITY_AUTHORITY_HOST`, instead of `http://169.254.169.254` |
    /// | `AppService` | `IDENTITY_ENDPOINT`, `IDENTITY_HEADER` |
    /// | `ServiceFabric` | the same, `IDENTITY_SERVER_THUMBPRINT` |
    /// | `AzureArc` | `IDENTITY_ENDPOINT`, `IMDS_ENDPOINT`; clients must also look for key files in [`Platform::arc_key_directory`] |
    /// | `CloudShell` | `MSI_ENDPOINT` |
    /// | `MachineLearning` | `MSI_ENDPOINT`, `MSI_SECRET`, `DEFAULT_IDENTITY_CLIENT_ID` (empty without a system-assigned identity) |
    ///
    /// The values of `IDENTITY_HEADER` and `MSI_SECRET` are secrets.
    #[must_use]
    pub fn environment(&self, source: Source) -> Vec<(String, String)> {
        self.machine.environment(source)
    }

    /// The certificate of Service Fabric's endpoint: self-signed, known by its thumbprint only.
    #[must_use]
    pub fn service_fabric_certificate(&self) -> &Certificate {
        &self.machine.fabric_certificate
    }

    /// The directory of Azure Arc's key files, as an absolute path.
    #[must_use]
    pub fn arc_key_directory(&self) -> &Path {
        self.machine.arc_directory()
    }

    /// How Azure Arc's agent challenges from now on.
    pub fn set_arc_challenge(&self, challenge: ArcChallenge) {
        *lock(&self.machine.arc.challenge) = challenge;
    }

    /// Connections and requests, counted by the [name](Source::name) of the source.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.machine.counters.snapshot()
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl fmt::Debug for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Platform").field("addresses", &self.machine.addresses).finish_non_exhaustive()
    }
}

/// Something else than the authority that a request is for.
#[derive(Clone, Copy)]
pub(crate) enum Front<'a> {
    Machine(&'a Machine, Source),
    /// The vault of this name, which may not exist.
    Vault(&'a State, &'a str),
}

impl Front<'_> {
    pub(crate) fn endpoint(&self, path: &str) -> Option<Endpoint> {
        match self {
            Self::Machine(_, source) => source.endpoint(path),
            Self::Vault(..) => Some(Endpoint::KeyVault),
        }
    }

    pub(crate) fn answer(&self, request: &Request<'_>) -> Reply {
        match self {
            Self::Machine(machine, source) => source.answer(machine, request),
            Self::Vault(state, name) => key_vault::answer(state, name, request),
        }
    }

    /// The answer with this status when nothing is wrong with the request.
    pub(crate) fn unwell(&self, status: u16, request: &Request<'_>) -> Reply {
        match self {
            Self::Machine(_, source) => source.unwell(status, request),
            Self::Vault(..) => key_vault::unwell(status),
        }
    }

    /// Headers of each answer.
    pub(crate) fn headers(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Machine(_, source) => source.headers(),
            Self::Vault(..) => key_vault::HEADERS,
        }
    }
}

/// The machines of the platforms that are running.
pub(crate) fn running(state: &State) -> Vec<Arc<Machine>> {
    lock(&state.machines).iter().filter_map(Weak::upgrade).collect()
}

/// The application that the authority knows an identity by.
fn registration(identity: &Identity, tenant: &str) -> Registration {
    let managed =
        ManagedIdentity::new(&identity.client_id, &identity.object_id).resource_id(&identity.resource_id);
    Registration {
        managed: Some(managed),
        ..Registration::new(&identity.client_id)
            .name("managed identity")
            .tenant(tenant)
            .subject_name(&identity.client_id, IDENTITY_ISSUER)
            .mtls(true)
            .pop(true)
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
