//! Building, starting and asking an authority.

use std::{
    fmt, fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    AuthorizationCode, ClientCertificateIssuer, Clock, FEDERATION_ISSUER, FaultRule, Faults,
    FederatedAssertion, LogEntry, Registration, Resource, SamlAssertion, StartError, Stats, Tenant,
    UnknownUser, User, UserToken, Vault,
    ca::CertificateAuthority,
    certificate::{Certificate, CertificateError},
    control,
    directory::Directory,
    federation::FederationIssuer,
    files,
    hosts::Hosts,
    jwt::SigningKey,
    platform, registration_file, samples, server,
    state::State,
    tls::Tls,
    user_assertion,
};

/// What an authority is made of. Every setting has a default that works.
#[derive(Debug)]
#[must_use]
pub struct AuthorityBuilder {
    listen: String,
    control: Option<String>,
    data_dir: Option<PathBuf>,
    clock: Clock,
    tenants: Vec<Tenant>,
    resources: Vec<Resource>,
    applications: Vec<Registration>,
    users: Vec<User>,
    trusted_issuers: Vec<Certificate>,
    federation_keys: Vec<(String, Certificate)>,
    faults: Vec<FaultRule>,
    hosts: Vec<String>,
    demand_client_certificate: bool,
}

impl AuthorityBuilder {
    fn new() -> Self {
        Self {
            listen: "127.0.0.1:0".to_owned(),
            control: None,
            data_dir: None,
            clock: Clock::system(),
            tenants: samples::tenants(),
            resources: samples::resources(),
            applications: Vec::new(),
            users: samples::users(),
            trusted_issuers: Vec::new(),
            federation_keys: Vec::new(),
            faults: Vec::new(),
            hosts: Vec::new(),
            demand_client_certificate: false,
        }
    }

    /// Where to listen: an address and port. The default is `127.0.0.1:0`, a free port of the loopback address.
    pub fn listen(mut self, address: impl ToString) -> Self {
        self.listen = address.to_string();
        self
    }

    /// Opens the control port on a free port of `127.0.0.1`. The default is without.
    pub fn control(self, open: bool) -> Self {
        if open { self.control_at("127.0.0.1:0") } else { Self { control: None, ..self } }
    }

    /// Opens the control port at this address, which must be a loopback address.
    pub fn control_at(mut self, address: impl ToString) -> Self {
        self.control = Some(address.to_string());
        self
    }

    /// Keeps CA, keys and registrations in this directory, which is made when it is not there; see
    /// [the crate's documentation](crate#the-data-directory). The default is to keep everything in memory.
    pub fn data_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.data_dir = Some(directory.as_ref().to_owned());
        self
    }

    /// Takes the time from this clock. The default is the system's. TLS is not touched: the certificates of the
    /// hosts are valid in the system's time, since that is the time of the clients' TLS.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Adds a tenant. `contoso.onmicrosoft.com` and `fabrikam.onmicrosoft.com` are always there.
    pub fn tenant(mut self, tenant: Tenant) -> Self {
        self.tenants.push(tenant);
        self
    }

    /// Adds a resource. Microsoft Graph and the like are always there, and every application is a resource under
    /// `api://{client id}`.
    pub fn resource(mut self, resource: Resource) -> Self {
        self.resources.push(resource);
        self
    }

    /// Registers an application.
    pub fn application(mut self, registration: Registration) -> Self {
        self.applications.push(registration);
        self
    }

    /// Adds a user, or replaces the one with its object id. Alice and Bob of [`sample`](crate::sample) are always
    /// there.
    pub fn user(mut self, user: User) -> Self {
        self.users.push(user);
        self
    }

    /// Trusts an issuer of client certificates (PEM), for applications registered by subject name and issuer.
    ///
    /// # Errors
    /// When the text holds no certificate.
    pub fn trusted_issuer(mut self, pem: &str) -> Result<Self, CertificateError> {
        self.trusted_issuers.push(Certificate::from_pem(pem)?);
        Ok(self)
    }

    /// Knows the key of a foreign issuer of federated assertions by a certificate (PEM) that holds it. The keys of
    /// the authority's own tokens and of its test issuer are known.
    ///
    /// # Errors
    /// When the text holds no certificate.
    pub fn federation_key(mut self, issuer: &str, pem: &str) -> Result<Self, CertificateError> {
        self.federation_keys.push((issuer.to_owned(), Certificate::from_pem(pem)?));
        Ok(self)
    }

    /// Adds a fault from the start; more can come with [`Authority::faults`].
    pub fn fault(mut self, rule: FaultRule) -> Self {
        self.faults.push(rule);
        self
    }

    /// Answers for this login host too (`login.contoso.test`), and for the hosts that MSAL derives from it:
    /// `mtlsauth.contoso.test` and the regional ones. The default is the hosts of Microsoft's clouds.
    pub fn host(mut self, login_host: &str) -> Self {
        self.hosts.push(login_host.to_owned());
        self
    }

    /// Whether a handshake without client certificate fails at the mutual TLS hosts. The default is no: the
    /// request is refused with AADSTS7000218 instead, which says what is missing.
    pub fn demand_client_certificate(mut self, demand: bool) -> Self {
        self.demand_client_certificate = demand;
        self
    }

    /// Starts the authority on the current tokio runtime.
    ///
    /// # Errors
    /// When an address can't be listened on, or the data directory holds something unreadable.
    pub async fn start(mut self) -> Result<Authority, StartError> {
        let now = self.clock.now_unix();
        self.data_dir = self.data_dir.as_deref().map(directory).transpose()?;
        let (ca, key, federation) = self.keys(now)?;
        let (listener, address) = listen(&self.listen).await?;
        self.federation_keys.push((FEDERATION_ISSUER.to_owned(), federation.certificate().clone()));
        if let Some(directory) = self.data_dir.clone() {
            let sample = samples::Site { directory: &directory, address: reachable(address), now_unix: now };
            samples::write(&sample, &federation)?;
            registration_file::read(&directory, &mut self.parts())?;
        }
        let data_dir = self.data_dir.clone();
        let hosts = Arc::new(Hosts::new(&self.hosts));
        let identity_issuer = ClientCertificateIssuer::new(platform::IDENTITY_ISSUER, now)?;
        let issuer = Certificate::from_pem(&identity_issuer.pem());
        self.trusted_issuers.push(issuer.map_err(|error| StartError::Certificate(error.to_string()))?);
        let ca = Arc::new(ca);
        let state = Arc::new(State {
            tls: Tls::new(ca.clone(), hosts.clone(), self.demand_client_certificate)?,
            directory: Directory::new(
                self.tenants,
                self.resources,
                self.trusted_issuers,
                self.federation_keys,
            ),
            hosts,
            key,
            federation,
            codes: Default::default(),
            refresh_tokens: Default::default(),
            clock: self.clock,
            faults: Faults::default(),
            log: Default::default(),
            counters: Default::default(),
            identity_issuer,
            machines: Default::default(),
            vaults: Default::default(),
        });
        self.applications.into_iter().for_each(|application| state.directory.put(application));
        self.users.into_iter().for_each(|user| state.directory.put_user(user));
        if let Some(directory) = &data_dir {
            samples::write_user_assertions(directory, &state)?;
        }
        self.faults.into_iter().for_each(|rule| {
            state.faults.add(rule);
        });
        let control = match self.control {
            Some(address) => Some(control::start(&address, state.clone()).await?),
            None => None,
        };
        let task = tokio::spawn(server::serve(listener, state.clone()));
        Ok(Authority { state, ca, address, data_dir: self.data_dir, task, control })
    }

    fn parts(&mut self) -> registration_file::Parts<'_> {
        registration_file::Parts {
            tenants: &mut self.tenants,
            resources: &mut self.resources,
            applications: &mut self.applications,
            users: &mut self.users,
            trusted_issuers: &mut self.trusted_issuers,
            federation_keys: &mut self.federation_keys,
            faults: &mut self.faults,
        }
    }

    fn keys(&self, now: u64) -> Result<(CertificateAuthority, SigningKey, FederationIssuer), StartError> {
        const NAME: &str = "Symbolon local authority token signing";
        let real_now = Clock::system().now_unix();
        let Some(directory) = &self.data_dir else {
            let ca = CertificateAuthority::in_memory(real_now)?;
            return Ok((ca, SigningKey::generate(NAME, now)?, FederationIssuer::generate()?));
        };
        let ca = CertificateAuthority::in_directory(directory, real_now)?;
        let (signing, federation) = (directory.join("signing.key"), directory.join("federation.key"));
        let key = match files::read_if_there(&signing)? {
            Some(pem) => SigningKey::from_pem(&pem, NAME, now)?,
            None => SigningKey::generate(NAME, now)?,
        };
        let federated = match files::read_if_there(&federation)? {
            Some(pem) => FederationIssuer::from_pem(&pem)?,
            None => FederationIssuer::generate()?,
        };
        files::write_private(&signing, key.pem().as_bytes())?;
        files::write_private(&federation, federated.pem().as_bytes())?;
        Ok((ca, key, federated))
    }
}

/// A running authority. It stops when it is dropped, soon after; [`Authority::shutdown_and_wait`]
/// waits for that.
pub struct Authority {
    state: Arc<State>,
    ca: Arc<CertificateAuthority>,
    address: SocketAddr,
    data_dir: Option<PathBuf>,
    task: JoinHandle<()>,
    control: Option<(SocketAddr, JoinHandle<()>)>,
}

impl Authority {
    /// Starts to describe an authority.
    pub fn builder() -> AuthorityBuilder {
        AuthorityBuilder::new()
    }

    /// Where it listens: one port for all hosts.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the control port is, if it is open.
    #[must_use]
    pub fn control_address(&self) -> Option<SocketAddr> {
        self.control.as_ref().map(|(address, _)| *address)
    }

    /// The data directory, as an absolute path; `ca.pem` in it is what clients must trust.
    #[must_use]
    pub fn data_dir(&self) -> Option<&Path> {
        self.data_dir.as_deref()
    }

    /// The certificate (PEM) that clients must trust.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.ca.pem()
    }

    /// Every host it answers for; `*.login.microsoft.com` stands for the regions.
    #[must_use]
    pub fn hosts(&self) -> Vec<String> {
        self.state.hosts.patterns()
    }

    /// Pairs of host pattern and address, for the `ConnectTo` of a client's configuration.
    #[must_use]
    pub fn connect_to(&self) -> Vec<(String, SocketAddr)> {
        let address = reachable(self.address);
        self.hosts().into_iter().map(|host| (host, address)).collect()
    }

    /// What it saw, oldest first, at most the last 10,000 requests. An entry is there as soon as the request is
    /// read; its outcome is there before the client has the answer.
    #[must_use]
    pub fn log(&self) -> Vec<LogEntry> {
        self.state.log.entries()
    }

    /// Connections, handshakes and requests, counted.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.state.counters.snapshot()
    }

    /// What goes wrong on purpose.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.state.faults
    }

    /// The time it lives in.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.state.clock
    }

    /// Moves its time forward.
    pub fn advance(&self, by: Duration) {
        self.state.clock.advance(by);
    }

    /// Registers an application, or replaces the one with its client id.
    pub fn register(&self, registration: Registration) {
        self.state.directory.put(registration);
    }

    /// Removes an application; whether it was there.
    pub fn unregister(&self, client_id: &str) -> bool {
        self.state.directory.remove(client_id)
    }

    /// The registered client ids, sorted.
    #[must_use]
    pub fn client_ids(&self) -> Vec<String> {
        self.state.directory.client_ids()
    }

    /// The key vault of this name (3 to 24 letters, digits and hyphens), `https://{name}.vault.azure.net` at
    /// [`Authority::address`]. It is made when there is none.
    #[must_use]
    pub fn vault(&self, name: &str) -> Vault {
        Vault::open(&self.state, name)
    }

    /// An assertion of the test issuer, [`FEDERATION_ISSUER`].
    #[must_use]
    pub fn federated_assertion(&self, assertion: &FederatedAssertion) -> String {
        self.state.federation.issue(assertion, self.state.clock.now_unix())
    }

    /// Adds a user, or replaces the one with its object id.
    pub fn register_user(&self, user: User) {
        self.state.directory.put_user(user);
    }

    /// Removes a user (object id or user principal name); whether there was one.
    pub fn unregister_user(&self, user: &str) -> bool {
        self.state.directory.remove_user(user)
    }

    /// An access token of a user, as an API gets it from its clients.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn user_token(&self, token: &UserToken) -> Result<String, UnknownUser> {
        token.mint(&self.state)
    }

    /// A SAML assertion of a user, in base64url; see [`SamlAssertion`].
    ///
    /// # Errors
    /// When there is no such user.
    pub fn saml_assertion(&self, assertion: &SamlAssertion) -> Result<String, UnknownUser> {
        assertion.mint(&self.state)
    }

    /// An authorization code, as a browser brings it back from a sign-in. It is good for 10 minutes.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn authorization_code(&self, code: &AuthorizationCode) -> Result<String, UnknownUser> {
        code.mint(&self.state)
    }

    /// A refresh token of a user at the application with this client id, as another library would bring it along. It is
    /// good for as long as those of the application's own answers.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn refresh_token(&self, client_id: &str, user: &str) -> Result<String, UnknownUser> {
        user_assertion::mint_refresh_token(client_id, user, &self.state)
    }

    /// Revokes the refresh tokens of a user (object id or user principal name); how many there were.
    pub fn revoke_refresh_tokens(&self, user: &str) -> usize {
        self.state.revoke_refresh_tokens(user)
    }

    /// The keys that its tokens are signed with, as a JSON Web Key Set.
    #[must_use]
    pub fn keys(&self) -> serde_json::Value {
        serde_json::json!({ "keys": [self.state.key.jwk("https://login.microsoftonline.com/{tenantid}/v2.0")] })
    }

    /// Empties log and counts, removes faults, forgets used assertions, authorization codes and refresh tokens, and
    /// undoes every move of the clock. Registrations, users and connections stay.
    pub fn reset(&self) {
        self.state.reset();
    }

    /// Stops listening and ends every connection, soon after it returns.
    pub fn shutdown(self) {
        drop(self);
    }

    /// As [`Authority::shutdown`]; both have happened when this returns.
    pub async fn shutdown_and_wait(mut self) {
        self.stop();
        // The tasks end by being stopped, which is no failure here.
        let _ = (&mut self.task).await;
        if let Some((_, control)) = &mut self.control {
            let _ = control.await;
        }
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        &self.state
    }

    fn stop(&self) {
        self.task.abort();
        if let Some((_, control)) = &self.control {
            control.abort();
        }
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("address", &self.address)
            .field("control_address", &self.control_address())
            .finish_non_exhaustive()
    }
}

/// Makes the directory where it is not there yet, and gives its absolute path.
fn directory(path: &Path) -> Result<PathBuf, StartError> {
    let made = fs::create_dir_all(path).and_then(|()| fs::canonicalize(path));
    made.map_err(|error| StartError::file(path, error))
}

/// The loopback address where every address is listened on.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, v6.port()).into(),
        given => given,
    }
}

pub(crate) async fn listen(address: &str) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { address: address.to_owned(), source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
