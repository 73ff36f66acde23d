//! The engine and its limits: one for each process.

use std::sync::Arc;
use std::time::Duration;

use symbolon_resources::cache::{CacheLimits, CacheStatistics, TokenCache};
use symbolon_resources::clock::{Clock, SystemClock};
use symbolon_resources::configuration::ApplicationOptions;
use symbolon_resources::credentials::{
    CertificateObserver, ComponentError, ComponentFinding, CredentialComponent, CredentialServices, Rotation,
    SignedAssertionProvider,
};
use symbolon_resources::platform::{ArcAgent, AttestationProvider, Platform};
use symbolon_resources::second_level::{SecondLevelStatistics, SecondLevels};
use symbolon_resources::transport::TransportShared;
use wasmtime::MemoryCreator;

use crate::application::{Application, Applications};
use crate::engine::{Engine, EngineOptions, FlightError, OtherComponent};
use crate::error::{Error, Result};
use crate::hooks::{Hooks, TokenAcquisitionHooks};
use crate::provider::{Components, ProviderLimits};
use crate::recorder::{Recorder, Recorders};

/// The engine, with what its applications share: instances, the token cache, limits. One for each process; cheap to clone.
#[derive(Clone, Debug)]
pub struct Symbolon {
    pub(crate) shared: Arc<Shared>,
}

/// What applications share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) engine: Arc<Engine>,
    pub(crate) cache: Arc<TokenCache<FlightError>>,
    pub(crate) transport: Arc<TransportShared>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) hooks: Hooks,
    pub(crate) recorders: Recorders,
    /// The applications that there are.
    pub(crate) applications: Applications,
    /// What credentials need of this program.
    pub(crate) credentials: CredentialServices,
    /// What runs components that have credentials.
    pub(crate) components: Arc<Components>,
    /// What the platform says about itself.
    pub(crate) platform: Platform,
    /// Stores of tokens that outlive the process or are shared with others.
    pub(crate) second_levels: SecondLevels,
}

impl Symbolon {
    /// An engine with the default limits; [`Builder`] says which.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Adds an application. It shares nothing with others but the engine and the limits: tokens, connections, credentials
    /// and what was learnt about its authority are its own.
    ///
    /// Contacts nothing, and reads no credential yet.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`](crate::Error::Configuration) when the options can't work as they are.
    pub fn application(&self, options: ApplicationOptions) -> Result<Application> {
        Application::new(self.shared.clone(), options, self.shared.hooks.clone())
    }

    /// The same with hooks of its own, which come after those of the engine.
    ///
    /// # Errors
    ///
    /// As [`application`](Self::application).
    pub fn application_with_hooks(
        &self,
        options: ApplicationOptions,
        hooks: Arc<dyn TokenAcquisitionHooks>,
    ) -> Result<Application> {
        Application::new(self.shared.clone(), options, self.shared.hooks.clone().and(hooks))
    }

    /// Whether these are the bytes of a component of the world `symbolon:credentials/credential-provider`, compiled for
    /// that. Blocks.
    ///
    /// # Errors
    ///
    /// [`ComponentError`], which says what they are instead.
    pub fn check_credential_provider(&self, component: &[u8]) -> Result<(), ComponentError> {
        self.shared.components.check(component)
    }

    /// Runs a component of that world and tries out what `docs/component.md` asks of it, with the files and settings that it
    /// is given. What it does without a word about it, such as keeping a copy of a key, shows nowhere.
    ///
    /// Blocks, for as long as some dozens of signatures take.
    ///
    /// # Errors
    ///
    /// [`ComponentError`] where one of the files can't be read. Everything else is a finding.
    pub fn exercise_credential_provider(
        &self,
        component: &CredentialComponent,
    ) -> Result<Vec<ComponentFinding>, ComponentError> {
        self.shared.components.exercise(component, self.shared.clock.now_unix())
    }

    /// The applications that there are, in no order: those that somebody holds, or that an acquisition is under way for.
    pub fn applications(&self) -> Vec<Application> {
        self.shared.applications.all()
    }

    /// What the engine did so far, and how much it does now.
    pub fn statistics(&self) -> EngineStatistics {
        self.shared.engine.statistics()
    }

    /// What the token cache holds of all applications, and what it did.
    pub fn cache_statistics(&self) -> CacheStatistics {
        self.shared.cache.statistics()
    }

    /// What the second levels of the token cache did, where applications have any.
    pub fn second_level_statistics(&self) -> SecondLevelStatistics {
        self.shared.second_levels.statistics()
    }
}

/// What the engine did so far, and how much it does now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineStatistics {
    /// Acquisitions under way, those inside others not counted.
    pub in_flight: usize,
    /// How many may be: [`Builder::max_in_flight`].
    pub max_in_flight: usize,
    /// Acquisitions in an instance of the guest that was made for them.
    pub fresh_instances: u64,
    /// Acquisitions in one that was kept from another ([`Application::reuse_instances`]).
    pub kept_instances: u64,
    /// Instances that were stopped because they ran longer than they may.
    pub stopped_for_cpu: u64,
    /// Instances that were stopped because they asked for more memory than they may have.
    pub stopped_for_memory: u64,
    /// Instances that were stopped because their calls nest too deeply.
    pub stopped_for_stack: u64,
    /// Instances that did what WebAssembly or its interfaces forbid.
    pub trapped: u64,
}

/// Sets the engine's limits. Nothing has to be set.
pub struct Builder {
    engine: EngineOptions,
    cache: CacheLimits,
    clock: Arc<dyn Clock>,
    hooks: Hooks,
    recorders: Recorders,
    credentials: CredentialServices,
    providers: ProviderLimits,
    environment: Environment,
    arc_agent: Option<ArcAgent>,
    attestation: Option<Arc<dyn AttestationProvider>>,
}

/// Gives the value of an environment variable.
type Environment = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

impl Default for Builder {
    fn default() -> Self {
        Self {
            engine: EngineOptions::default(),
            cache: CacheLimits::default(),
            clock: Arc::new(SystemClock),
            hooks: Hooks::default(),
            recorders: Recorders::default(),
            credentials: CredentialServices::default().with_rotation(Rotation::new()),
            providers: ProviderLimits::default(),
            environment: Box::new(|name| std::env::var(name).ok()),
            arc_agent: None,
            attestation: None,
        }
    }
}

impl Builder {
    /// How many acquisitions may run at once, those that wait for a server or for each other included; further ones fail
    /// with [`Error::InFlightLimit`](crate::Error::InFlightLimit). Cached tokens don't count.
    ///
    /// The default is 4,096: one that waits holds about 128 KiB, half of it the stack of the host, so that they fit into 512 MiB.
    #[must_use]
    pub fn max_in_flight(mut self, acquisitions: usize) -> Self {
        self.engine.limits.max_in_flight = acquisitions;
        self
    }

    /// How many of them may be of one application; further ones of it fail with
    /// [`Error::ApplicationInFlightLimit`](crate::Error::ApplicationInFlightLimit). An application whose authority is slow
    /// has no more than these waiting, and leaves the rest to the others.
    ///
    /// The default is half of [`max_in_flight`](Self::max_in_flight), and at least 64. A process with one application may
    /// give it all.
    #[must_use]
    pub fn max_in_flight_per_application(mut self, acquisitions: usize) -> Self {
        self.engine.limits.max_in_flight_per_application = Some(acquisitions);
        self
    }

    /// How many bytes of memory one instance of the guest may have.
    ///
    /// The default is 16 MiB: the largest answer that the transport lets through is 1 MiB, and is held a few times while it
    /// is parsed.
    #[must_use]
    pub fn guest_memory(mut self, bytes: usize) -> Self {
        self.engine.limits.guest_memory = bytes;
        self
    }

    /// How long one instance of the guest may run; waiting is free.
    ///
    /// The default is 100 ms, a thousand times what an acquisition takes.
    #[must_use]
    pub fn guest_cpu(mut self, budget: Duration) -> Self {
        self.engine.limits.guest_cpu = budget;
        self
    }

    /// How long one acquisition may take in all.
    ///
    /// The default is 30 s: two attempts of 14 s each, with the pause between them.
    #[must_use]
    pub fn acquisition_deadline(mut self, limit: Duration) -> Self {
        self.engine.limits.deadline = limit;
        self
    }

    /// How long an acquisition for a managed identity may take in all.
    ///
    /// The default is 90 s: while it is updated, the instance metadata service of virtual machines is asked again for 70
    /// seconds.
    #[must_use]
    pub fn managed_identity_deadline(mut self, limit: Duration) -> Self {
        self.engine.limits.managed_identity_deadline = limit;
        self
    }

    /// The bounds of the token cache, in all and for each application. The default is that of [`CacheLimits`].
    #[must_use]
    pub fn cache_limits(mut self, limits: CacheLimits) -> Self {
        self.cache = limits;
        self
    }

    /// The clock that tokens and certificates are judged by. The default is the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Registers what makes signed assertions for credentials with `SourceType` `CustomSignedAssertion` that name it.
    #[must_use]
    #[doc(alias = "ICustomSignedAssertionProvider")]
    pub fn signed_assertion_provider(
        mut self,
        name: impl Into<Arc<str>>,
        provider: Arc<dyn SignedAssertionProvider>,
    ) -> Self {
        self.credentials = self.credentials.with_assertion_provider(name, provider);
        self
    }

    /// How many bytes of memory one instance of a component may have that has credentials.
    ///
    /// The default is 64 MiB: a passphrase may have been made costly by a function that wants some tens of them.
    #[must_use]
    pub fn credential_provider_memory(mut self, bytes: usize) -> Self {
        self.providers.memory = bytes;
        self
    }

    /// How long one call of a component may run that has credentials.
    ///
    /// The default is 2 s: opening a file of keys takes up to a second, a signature some milliseconds.
    #[must_use]
    pub fn credential_provider_cpu(mut self, budget: Duration) -> Self {
        self.providers.cpu = budget;
        self
    }

    /// Tells this one what becomes of certificates. The default is nobody.
    #[must_use]
    #[doc(alias = "ICertificatesObserver")]
    pub fn certificate_observer(mut self, observer: Arc<dyn CertificateObserver>) -> Self {
        self.credentials = self.credentials.with_observer(observer);
        self
    }

    /// Calls these on the way to every token, after those that were given before. The default is none.
    #[must_use]
    pub fn hooks(mut self, hooks: Arc<dyn TokenAcquisitionHooks>) -> Self {
        self.hooks = self.hooks.and(hooks);
        self
    }

    /// Tells this one what happens on the way to every token, after those that were given before. The default is nobody.
    #[must_use]
    pub fn recorder(mut self, recorder: Arc<dyn Recorder>) -> Self {
        self.recorders = self.recorders.and(recorder);
        self
    }

    /// Where environment variables are read: those about root certificates and proxies, and those by which a platform says
    /// where tokens of its managed identities come from. They are read when the engine is made. The default is the
    /// process's environment.
    #[must_use]
    pub fn environment(
        mut self,
        environment: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.environment = Box::new(environment);
        self
    }

    /// Where Azure Arc's agent is on this machine, if it is there. The default is where its installer puts it.
    #[must_use]
    pub fn arc_agent(mut self, agent: ArcAgent) -> Self {
        self.arc_agent = Some(agent);
        self
    }

    /// Attests the keys to which tokens of managed identities are bound. The default is nothing: then such a token is an
    /// error (`mtls_pop_requires_keyguard`), unless the application's configuration lets keys go without
    /// (`Symbolon:AllowUnattestedKeys`).
    #[must_use]
    #[doc(alias = "WithAttestationSupport")]
    pub fn attestation(mut self, provider: Arc<dyn AttestationProvider>) -> Self {
        self.attestation = Some(provider);
        self
    }

    /// Runs another component of the world `symbolon:token/token-acquisition` than the shipped one, compiled when the
    /// engine is built.
    #[must_use]
    pub fn component(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.engine.component = Some(OtherComponent::Wasi02(bytes.into()));
        self
    }

    /// The same with a component of the world `symbolon:concurrent/token-acquisition`, for WASI 0.3, such as
    /// `guest/component-p3`. It has the same resources, policies and limits, and a fresh instance for each acquisition
    /// ([`Application::reuse_instances`](crate::Application::reuse_instances) has no effect).
    ///
    /// **Experimental**, because wasmtime's WASI 0.3 is: it gets no security fixes in patch releases. Not for production.
    #[cfg(feature = "wasi-p3")]
    #[must_use]
    pub fn wasi_p3_component(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.engine.component = Some(OtherComponent::Wasi03(bytes.into()));
        self
    }

    /// Makes the memories of the guests on demand, by this creator, instead of taking them from a pool. Slower; lets a test
    /// see what a guest has in its memory.
    #[must_use]
    pub fn memory_creator(mut self, creator: Arc<dyn MemoryCreator>) -> Self {
        self.engine.memory_creator = Some(creator);
        self
    }

    /// Makes the engine.
    ///
    /// # Errors
    ///
    /// [`Error::Engine`] when the machine can't run it, or the component isn't one that it can run;
    /// [`Error::Transport`] when a proxy that the environment names can't be used.
    pub fn build(self) -> Result<Symbolon> {
        // Beside the rest; nobody waits for it but the first signature.
        std::thread::spawn(symbolon_resources::credentials::seed_random_numbers);
        let engine = Arc::new(Engine::new(self.engine)?);
        let cache = TokenCache::new(self.cache, self.clock.clone());
        let transport =
            TransportShared::new(&*self.environment).map_err(|error| Error::Transport(Arc::new(error)))?;
        let (clock, hooks, recorders) = (self.clock, self.hooks, self.recorders);
        let components = Arc::new(Components::new(self.providers));
        let credentials = self.credentials.with_component_runner(components.clone());
        let platform = Platform::read(&*self.environment);
        let platform = match self.arc_agent {
            Some(agent) => platform.with_arc_agent(agent),
            None => platform,
        };
        let platform = match self.attestation {
            Some(provider) => platform.with_attestation(provider),
            None => platform,
        };
        let second_levels = SecondLevels::new(clock.clone());
        let shared = Shared {
            engine,
            cache,
            transport,
            clock,
            hooks,
            recorders,
            applications: Applications::default(),
            credentials,
            components,
            platform,
            second_levels,
        };
        Ok(Symbolon { shared: Arc::new(shared) })
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("limits", &self.engine.limits).finish_non_exhaustive()
    }
}
