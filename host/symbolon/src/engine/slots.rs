//! How many acquisitions run at once: in all, and of each application, so that none takes the room of the others.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};

/// Those of one application, or those that all have together.
#[derive(Debug)]
pub(crate) struct Slots {
    acquisitions: Arc<Semaphore>,
    limit: usize,
    renewals: Arc<Semaphore>,
}

/// One of the application's and one of all.
#[derive(Debug)]
pub(crate) struct Slot {
    _own: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Slots {
    /// Those that all applications have.
    pub(super) fn of_all(acquisitions: usize) -> Self {
        Self::new(acquisitions, RENEWALS)
    }

    /// Those of one.
    pub(super) fn of_one(acquisitions: usize) -> Self {
        Self::new(acquisitions, APPLICATION_RENEWALS)
    }

    fn new(acquisitions: usize, renewals: usize) -> Self {
        Self {
            acquisitions: Arc::new(Semaphore::new(acquisitions)),
            limit: acquisitions,
            renewals: Arc::new(Semaphore::new(renewals)),
        }
    }

    /// How many acquisitions are under way.
    pub(super) fn in_flight(&self) -> usize {
        self.limit.saturating_sub(self.acquisitions.available_permits())
    }

    /// For an acquisition of the application that has these.
    pub(super) fn take(&self, of_all: &Self) -> Result<Slot> {
        let own = self.acquisitions.clone().try_acquire_owned();
        let own = own.map_err(|_| Error::ApplicationInFlightLimit { limit: self.limit })?;
        let limit = of_all.limit;
        let shared = of_all.acquisitions.clone().try_acquire_owned();
        Ok(Slot { _own: own, _of_all: shared.map_err(|_| Error::InFlightLimit { limit })? })
    }

    /// For a renewal in the background, beside the one that its acquisition takes. Nothing where as many are under way as
    /// may be.
    pub(super) fn take_for_renewal(&self, of_all: &Self) -> Option<Slot> {
        let own = self.renewals.clone().try_acquire_owned().ok()?;
        Some(Slot { _own: own, _of_all: of_all.renewals.clone().try_acquire_owned().ok()? })
    }
}

/// Renewals in the background at once. They run on the threads of those who want cached tokens: a thousand of one application
/// that began together made one of a hundred callers wait 7 ms for a turn, four at a time do so without being noticed.
const RENEWALS: usize = 32;

/// Of one application: forty in a second where an answer takes a tenth of one, and room for others where it takes longer.
const APPLICATION_RENEWALS: usize = 4;
