//! An application: a registration as configured, isolated from all others.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use symbolon_resources::cache::{ApplicationCache, CacheStatistics, ReuseMap};
use symbolon_resources::clock::Clock;
use symbolon_resources::configuration::ApplicationOptions;
use symbolon_resources::credentials::{
    Binding, CredentialProvider, CredentialReport, EntryName, Outcome, SelectedCredential, SigningBudget,
};
use symbolon_resources::facts::Facts;
use symbolon_resources::transport::{Transport, TransportStatistics};

use crate::acquire::AcquireTokenForClient;
use crate::builder::Shared;
use crate::engine::{FlightError, Instances};
use crate::error::{Error, Result};

/// How many answers an application may reuse without asking the guest. A record takes about 60 bytes.
const REUSE_RECORDS: usize = 1_000_000;

/// A registration as configured, with everything that is its own: credentials, connections, tokens, and what was learnt
/// about its authority. Cheap to clone.
#[doc(alias = "ConfidentialClientApplication")]
#[derive(Clone)]
pub struct Application {
    pub(crate) inner: Arc<Inner>,
}

impl Application {
    pub(crate) fn new(shared: Arc<Shared>, options: ApplicationOptions) -> Result<Self> {
        let clock = shared.clock.clone();
        let transport = Transport::new(&shared.transport, options.egress().clone(), options.transport())
            .map_err(|error| Error::Transport(Arc::new(error)))?;
        let inner = Inner {
            credentials: Credentials::new(CredentialProvider::new(&options, clock.clone())),
            transport,
            cache: shared.cache.namespace(options.id().clone()),
            facts: Facts::new(clock.clone()),
            reuse: ReuseMap::new(REUSE_RECORDS),
            instances: Instances::default(),
            clock,
            options,
            shared,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Acquires a token for the application itself, by its own credential (RFC 6749 §4.4): from the cache, else from the
    /// authority.
    ///
    /// Entra accepts one scope, of the form `{resource}/.default`.
    #[doc(alias = "AcquireTokenForClient")]
    pub fn acquire_token_for_client<'a, S>(
        &'a self,
        scopes: impl IntoIterator<Item = S>,
    ) -> AcquireTokenForClient<'a>
    where
        S: Into<Cow<'a, str>>,
    {
        AcquireTokenForClient::new(self, scopes.into_iter().map(Into::into).collect())
    }

    /// What the application is configured with.
    pub fn options(&self) -> &ApplicationOptions {
        &self.inner.options
    }

    /// Loads every configured credential and says what became of it. Contacts nothing.
    pub async fn check_credentials(&self) -> Vec<CredentialReport> {
        self.inner.credentials.provider.check().await
    }

    /// Puts another certificate into the place of a configured one, named by its index in `ClientCredentials` or by its
    /// name in messages.
    ///
    /// Acquisitions that are under way end with the certificate that they began with. Later ones sign with the new one and
    /// present it on connections of its own; tokens that are bound to the old one are not given out any more.
    ///
    /// # Errors
    ///
    /// [`Error::Credential`] when there is no such entry, it isn't one for a certificate, or the certificate isn't valid now.
    pub fn replace_certificate(
        &self,
        entry: impl Into<EntryName>,
        certificate: Binding,
    ) -> Result<Arc<Binding>> {
        self.inner.credentials.replace_certificate(entry.into(), certificate)
    }

    /// Keeps instances of the guest for this application's next acquisitions, or lets go of them. The default is to keep
    /// none: each acquisition has a fresh instance.
    ///
    /// A kept instance saves the making of one, about a third of what an acquisition over the network costs in processor time. In exchange, what
    /// an answer of the authority may have done to the guest outlives the acquisition, and the guest's memory may hold
    /// tokens of earlier ones. An instance never serves another application, nor any after it failed.
    pub fn reuse_instances(&self, reuse: bool) {
        self.inner.instances.keep(reuse);
    }

    /// What the cache holds of this application, and what it did for it.
    pub fn cache_statistics(&self) -> CacheStatistics {
        self.inner.cache.statistics()
    }

    /// What this application's connections have done.
    pub fn transport_statistics(&self) -> TransportStatistics {
        self.inner.transport.statistics()
    }
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Application").field("options", &self.inner.options).finish_non_exhaustive()
    }
}

/// What an application owns.
pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: ApplicationOptions,
    pub(crate) credentials: Credentials,
    pub(crate) transport: Transport,
    pub(crate) cache: ApplicationCache<FlightError>,
    pub(crate) facts: Facts,
    pub(crate) reuse: ReuseMap,
    pub(crate) instances: Instances,
}

/// The credential provider, with the certificate that it gives at present, for those who can't wait for it.
pub(crate) struct Credentials {
    provider: CredentialProvider,
    /// How often what the provider gives may have changed.
    changes: AtomicU64,
    latest: ArcSwapOption<Latest>,
}

/// The certificate that the provider gave, and after how many changes.
struct Latest {
    changes: u64,
    binding: Arc<Binding>,
}

impl Credentials {
    fn new(provider: CredentialProvider) -> Self {
        Self { provider, changes: AtomicU64::new(0), latest: ArcSwapOption::empty() }
    }

    pub(crate) async fn select(
        &self,
        budget: &SigningBudget,
    ) -> Result<SelectedCredential, symbolon_resources::credentials::CredentialError> {
        let changes = self.changes.load(Ordering::Acquire);
        let selected = self.provider.select(budget).await?;
        if let Some(binding) = selected.binding() {
            let known = self.latest.load();
            let is_known = known.as_ref().is_some_and(|known| {
                known.changes == changes && known.binding.generation() == binding.generation()
            });
            if !is_known {
                self.latest.store(Some(Arc::new(Latest { changes, binding: binding.clone() })));
            }
        }
        Ok(selected)
    }

    pub(crate) fn report(&self, credential: &SelectedCredential, outcome: Outcome) {
        self.provider.report(credential, outcome);
        if outcome != Outcome::Used {
            self.changes.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn replace_certificate(&self, entry: EntryName, certificate: Binding) -> Result<Arc<Binding>> {
        let replaced = self.provider.replace_certificate(entry, certificate);
        self.changes.fetch_add(1, Ordering::AcqRel);
        Ok(replaced?)
    }

    /// The certificate that the provider gave last, unless something may have changed since.
    pub(crate) fn current_binding(&self) -> Option<Arc<Binding>> {
        let latest = self.latest.load();
        let latest = latest.as_ref()?;
        (latest.changes == self.changes.load(Ordering::Acquire)).then(|| latest.binding.clone())
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("options", &self.options).finish_non_exhaustive()
    }
}
