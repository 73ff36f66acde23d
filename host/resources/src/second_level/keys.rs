//! The keys of a store, which may have to be fetched.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::credentials::CredentialServices;
use crate::transport::TransportOptions;

use super::seal::Sealing;

/// The keys, once they are there.
pub(super) struct Keys {
    configured: Sealing,
    fetched: Arc<OnceLock<Sealing>>,
    /// What it takes to fetch them.
    services: OnceLock<(CredentialServices, TransportOptions)>,
    /// Before this time nobody asks again. Locked by whoever asks.
    not_before: Arc<Mutex<Option<Instant>>>,
}

impl Keys {
    pub(super) fn new(configured: Sealing) -> Self {
        Self { configured, fetched: Arc::default(), services: OnceLock::new(), not_before: Arc::default() }
    }

    pub(super) fn sealing(&self) -> &Sealing {
        self.fetched.get().unwrap_or(&self.configured)
    }

    pub(super) fn provide(&self, services: &CredentialServices, transport: &TransportOptions) {
        // The first application's do for all.
        let _ = self.services.set((services.clone(), transport.clone()));
    }

    /// Whether they are there. Of those who need them first, one fetches them and waits for a moment; the others go on
    /// without, and so does what is acquired to fetch them.
    pub(super) async fn are_there(&self) -> bool {
        let Sealing::Fetched(sources) = self.sealing() else { return true };
        let (Some((services, transport)), Ok(mut not_before)) =
            (self.services.get().cloned(), self.not_before.clone().try_lock_owned())
        else {
            return false;
        };
        if not_before.is_some_and(|time| Instant::now() < time) {
            return false;
        }
        let (sources, fetched) = (sources.clone(), self.fetched.clone());
        let task = tokio::spawn(async move {
            match Sealing::fetched(&sources, &services, &transport).await {
                Ok(sealing) => _ = fetched.set(sealing),
                Err(error) => {
                    *not_before = Some(Instant::now() + PAUSE);
                    tracing::warn!(name: "symbolon.cache.second_level.no_keys", error, "the keys of the second level of the cache can't be fetched");
                }
            }
        });
        let _ = tokio::time::timeout(PATIENCE, task).await;
        self.fetched.get().is_some()
    }
}

/// How long an acquisition waits for keys.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between attempts that failed.
const PAUSE: Duration = Duration::from_secs(10);
