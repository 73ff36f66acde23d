//! Second levels of the token cache: a Redis server that processes share, or a file that outlives the process. What they
//! have in common with the first level is in [`cache::second_level`](crate::cache::second_level).
//!
//! | module | |
//! |---|---|
//! | `msal` | entries in MSAL's form, which its applications share |
//! | `own` | entries in a form of our own, removals, and one request for all processes |
//! | `store` | what keeps a store out of the way: time limits, a circuit, a bound on writes |
//! | `seal`, `names` | what can be seen of all that in the store: nothing |
//! | `redis`, `file` | the stores |

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::cache::ApplicationId;
use crate::cache::second_level::SecondLevel;
use crate::clock::Clock;
use crate::configuration::ConfigurationError;
use crate::credentials::CredentialServices;
use crate::transport::TransportOptions;
#[cfg(feature = "redis")]
use backend::Backend as _;

mod backend;
mod circuit;
#[cfg(feature = "redb")]
mod file;
mod keys;
#[cfg(feature = "redis")]
mod msal;
mod names;
mod options;
mod own;
#[cfg(feature = "redis")]
mod redis;
mod seal;
mod statistics;
mod store;

pub use options::{MsalOptions, RedisOptions, RedisTopology, TokenCacheOptions, TokenCacheStore};
pub use seal::{KEY_ACCEPTED, KeyRing, KeySource, Sealing, read_key};
pub use statistics::SecondLevelStatistics;

use own::Own;
use store::Store;

/// The second levels of a process. Applications with the same settings share a store and its connection.
pub struct SecondLevels {
    clock: Arc<dyn Clock>,
    opened: Mutex<Vec<(TokenCacheOptions, Opened)>>,
    /// Those that MSAL shares, for as long as they are used.
    #[cfg(feature = "redis")]
    msal: Mutex<Vec<(MsalOptions, std::sync::Weak<msal::Msal>)>>,
}

/// A store that someone uses, or used.
enum Opened {
    #[cfg(feature = "redis")]
    Redis(Weak<Store<redis::Redis>>),
    #[cfg(feature = "redb")]
    File(Weak<Store<file::File>>),
}

impl SecondLevels {
    /// None yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            opened: Mutex::default(),
            #[cfg(feature = "redis")]
            msal: Mutex::default(),
        }
    }

    /// The second level of an application. Opens a file; contacts no server yet.
    ///
    /// # Errors
    ///
    /// [`ConfigurationError`] where this program isn't built for the store, or the file can't be used.
    pub fn open(
        &self,
        options: &TokenCacheOptions,
        application: &ApplicationId,
    ) -> Result<Arc<dyn SecondLevel>, ConfigurationError> {
        let is_msals = matches!(options.store, TokenCacheStore::Msal(_));
        if is_msals || matches!(options.sealing, Sealing::Clear) {
            tracing::warn!(name: "symbolon.cache.second_level.clear", application = %application, place = %options.place, "tokens lie in the second level of the cache without encryption");
        }
        match &options.store {
            TokenCacheStore::Redis(redis) => self.open_redis(options, redis, application),
            TokenCacheStore::Msal(msal) => self.open_msal(options, msal, application),
            TokenCacheStore::File(path) => self.open_file(options, path, application),
        }
    }

    #[cfg(feature = "redis")]
    fn open_redis(
        &self,
        options: &TokenCacheOptions,
        redis: &RedisOptions,
        application: &ApplicationId,
    ) -> Result<Arc<dyn SecondLevel>, ConfigurationError> {
        let store = self.redis_store(options, redis)?;
        Ok(Arc::new(Own::new(store, application.clone(), self.clock.clone())))
    }

    #[cfg(feature = "redis")]
    fn redis_store(
        &self,
        options: &TokenCacheOptions,
        redis: &RedisOptions,
    ) -> Result<Arc<Store<redis::Redis>>, ConfigurationError> {
        let known = |opened: &Opened| match opened {
            Opened::Redis(store) => store.upgrade(),
            #[cfg(feature = "redb")]
            Opened::File(_) => None,
        };
        let open =
            || Ok((redis::Redis::new(redis.clone(), &redis.prefix), redis.prefix.clone(), redis.timeout));
        self.store(options, known, |store| Opened::Redis(Arc::downgrade(store)), open)
    }

    /// Partitions are told apart by nothing but their names, so that no two applications may have the same.
    #[cfg(feature = "redis")]
    fn open_msal(
        &self,
        options: &TokenCacheOptions,
        shared: &MsalOptions,
        application: &ApplicationId,
    ) -> Result<Arc<dyn SecondLevel>, ConfigurationError> {
        let mut all = self.msal.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(_, level)| level.strong_count() > 0);
        let is_taken = |(its, level): &&(MsalOptions, Weak<msal::Msal>)| {
            let application_of = |level: Arc<msal::Msal>| level.application().clone();
            shared.shares_partitions_with(its)
                && level.upgrade().map(application_of).is_some_and(|its| its != *application)
        };
        if let Some((its, level)) = all.iter().find(is_taken) {
            let other = level.upgrade().map(|level| level.application().to_string()).unwrap_or_default();
            let found = format!("{:?}, which is that of {other} ({})", shared.instance_name, its.place);
            let accepted = "a name of its own for each application (InstanceNames has one for each section)";
            return Err(ConfigurationError::of(shared.place.clone(), found, accepted));
        }
        // Applications whose entries lie at one server share the connection to it, whatever their names are.
        let redis = RedisOptions { prefix: String::new(), ..shared.redis.clone() };
        let store = TokenCacheStore::Redis(redis.clone());
        let options = TokenCacheOptions { store, sealing: Sealing::Clear, ..options.clone() };
        let store = self.redis_store(&options, &redis)?;
        let level = Arc::new(msal::Msal::new(store, application.clone(), shared, self.clock.clone()));
        all.push((shared.clone(), Arc::downgrade(&level)));
        Ok(level)
    }

    #[cfg(not(feature = "redis"))]
    fn open_msal(
        &self,
        options: &TokenCacheOptions,
        shared: &MsalOptions,
        application: &ApplicationId,
    ) -> Result<Arc<dyn SecondLevel>, ConfigurationError> {
        self.open_redis(options, &shared.redis, application)
    }

    #[cfg(not(feature = "redis"))]
    fn open_redis(
        &self,
        options: &TokenCacheOptions,
        _redis: &RedisOptions,
        _application: &ApplicationId,
    ) -> Result<Arc<dyn SecondLevel>, ConfigurationError> {
        Err(options.problem(
            "Redis",
            "a store that this program isn't built for",
            "a program with the feature \"redis\"",
        ))
    }

    #[cfg(feature = "redb")]
    fn open_file(
        &self,
        options: &TokenCacheOptions,
        path: &std::path::Path,
        application: &ApplicationId,
    ) -> Result<Arc<dyn SecondLevel>, ConfigurationError> {
        let known = |opened: &Opened| match opened {
            Opened::File(store) => store.upgrade(),
            #[cfg(feature = "redis")]
            Opened::Redis(_) => None,
        };
        let open = || {
            let file = file::File::open(path, self.clock.clone()).map_err(|problem| {
                let found = format!("{}, {problem}", path.display());
                options.problem("File", &found, "a file that only this process uses")
            })?;
            Ok((file, String::new(), FILE_TIMEOUT))
        };
        let store = self.store(options, known, |store| Opened::File(Arc::downgrade(store)), open)?;
        Ok(Arc::new(Own::new(store, application.clone(), self.clock.clone())))
    }

    #[cfg(not(feature = "redb"))]
    fn open_file(
        &self,
        options: &TokenCacheOptions,
        _path: &std::path::Path,
        _application: &ApplicationId,
    ) -> Result<Arc<dyn SecondLevel>, ConfigurationError> {
        Err(options.problem(
            "File",
            "a store that this program isn't built for",
            "a program with the feature \"redb\"",
        ))
    }

    /// The store of these settings: that of another application, else a new one.
    #[cfg(any(feature = "redis", feature = "redb"))]
    fn store<B: backend::Backend>(
        &self,
        options: &TokenCacheOptions,
        known: impl Fn(&Opened) -> Option<Arc<Store<B>>>,
        opened: impl Fn(&Arc<Store<B>>) -> Opened,
        open: impl FnOnce() -> Result<(B, String, std::time::Duration), ConfigurationError>,
    ) -> Result<Arc<Store<B>>, ConfigurationError> {
        let mut all = self.lock();
        all.retain(|(_, opened)| opened.is_used());
        let found = all.iter().filter(|(its, _)| its.is_same(options)).find_map(|(_, opened)| known(opened));
        if let Some(store) = found {
            return Ok(store);
        }
        let (backend, prefix, timeout) = open()?;
        let sealing = options.sealing.clone();
        let store = Arc::new(Store::new(backend, sealing, prefix, timeout, options.waits_for_writes));
        all.push((options.clone(), opened(&store)));
        Ok(store)
    }

    /// Gives the store of these settings what it takes to fetch its keys, where they are in a vault.
    pub fn provide(
        &self,
        options: &TokenCacheOptions,
        services: &CredentialServices,
        transport: &TransportOptions,
    ) {
        for (_, opened) in self.lock().iter().filter(|(its, _)| its.is_same(options)) {
            opened.provide(services, transport);
        }
    }

    /// What all of them did.
    pub fn statistics(&self) -> SecondLevelStatistics {
        self.lock()
            .iter()
            .filter_map(|(_, opened)| opened.statistics())
            .fold(SecondLevelStatistics::default(), SecondLevelStatistics::plus)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(TokenCacheOptions, Opened)>> {
        // What may panic while it is held leaves it as it was.
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Opened {
    fn is_used(&self) -> bool {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.strong_count() > 0,
            #[cfg(feature = "redb")]
            Self::File(store) => store.strong_count() > 0,
            #[cfg(not(any(feature = "redis", feature = "redb")))]
            _ => false,
        }
    }

    fn provide(&self, services: &CredentialServices, transport: &TransportOptions) {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(store) => {
                store.upgrade().inspect(|store| store.provide(services, transport));
            }
            #[cfg(feature = "redb")]
            Self::File(store) => {
                store.upgrade().inspect(|store| store.provide(services, transport));
            }
            #[cfg(not(any(feature = "redis", feature = "redb")))]
            _ => {}
        }
    }

    fn statistics(&self) -> Option<SecondLevelStatistics> {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.upgrade().map(|store| store.statistics()),
            #[cfg(feature = "redb")]
            Self::File(store) => store.upgrade().map(|store| store.statistics()),
            #[cfg(not(any(feature = "redis", feature = "redb")))]
            _ => None,
        }
    }
}

impl fmt::Debug for SecondLevels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lock().iter().map(|(options, _)| options)).finish()
    }
}

/// Whether a store can be used now: a server is asked for what isn't there, a file is left alone.
///
/// # Errors
///
/// Why not.
pub async fn try_store(store: &TokenCacheStore) -> Result<(), String> {
    match store {
        #[cfg(feature = "redis")]
        TokenCacheStore::Redis(options) => {
            // Several, which one node of a cluster doesn't take.
            let names = ["one", "other"].map(|name| format!("{}check:{name}", options.prefix));
            let redis = redis::Redis::new(options.clone(), &options.prefix);
            redis.read(&names).await.map(drop).map_err(|failure| failure.what)
        }
        #[cfg(feature = "redis")]
        TokenCacheStore::Msal(options) => {
            let name = format!("{}check", options.instance_name);
            let redis = redis::Redis::new(options.redis.clone(), "");
            redis.partition(&name).await.map(drop).map_err(|failure| failure.what)
        }
        #[cfg(not(feature = "redis"))]
        TokenCacheStore::Redis(_) | TokenCacheStore::Msal(_) => {
            Err("this program isn't built for it".to_owned())
        }
        TokenCacheStore::File(_) => match cfg!(feature = "redb") {
            true => Ok(()),
            false => Err("this program isn't built for it".to_owned()),
        },
    }
}

/// Waiting for a disk that is busy beats asking the authority.
#[cfg(feature = "redb")]
const FILE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);
