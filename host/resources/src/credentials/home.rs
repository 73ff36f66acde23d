use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::cache::ApplicationId;
use crate::clock::Clock;
use crate::threads::Threads;
use crate::transport::TransportOptions;

use super::services::CredentialServices;

/// What the credentials of an application have in common.
pub(super) struct Home {
    pub(super) application: ApplicationId,
    pub(super) client_id: String,
    pub(super) authority: String,
    pub(super) transport: TransportOptions,
    /// The names of the configured components.
    pub(super) components: Vec<String>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) services: CredentialServices,
    pub(super) counters: Counters,
    /// Where keys that are elsewhere are waited for.
    pub(super) threads: Threads,
}

/// What has happened so far.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Counts changes of what is selected next.
    pub(super) revision: AtomicU64,
    pub(super) selections: AtomicU64,
    pub(super) uses: AtomicU64,
    pub(super) rejections: AtomicU64,
    pub(super) deselections: AtomicU64,
    pub(super) reloads: AtomicU64,
    pub(super) loads: AtomicU64,
    pub(super) load_failures: AtomicU64,
    pub(super) rotations: AtomicU64,
}
