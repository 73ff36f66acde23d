//! Who a guest is.

use std::fmt;
use std::sync::Arc;

use super::hooks::GuestHooks;
use super::policy::{GuestPolicy, GuestRefusal};
use super::rate::Rate;
use crate::application::Application;

/// Who a guest is, and what it may have: what a store of the embedding program keeps for the linker.
///
/// Clones are the same guest: all instances of it together have its rate, and its session keys. So it is made once for each
/// guest, and cloned into each of its stores.
#[derive(Clone)]
pub struct GuestCtx {
    guest: Arc<Guest>,
}

/// A guest.
pub(super) struct Guest {
    pub(super) id: Box<str>,
    pub(super) application: Application,
    pub(super) policy: GuestPolicy,
    rate: Option<Rate>,
    pub(super) hooks: Option<Arc<dyn GuestHooks>>,
}

impl GuestCtx {
    /// A guest that acts as `application`, as far as `policy` lets it.
    ///
    /// `id` is the host's name for the guest, unique among the guests of the application: logs have it, and the guest's session
    /// keys are kept apart by it.
    pub fn new(id: impl Into<Box<str>>, application: Application, policy: GuestPolicy) -> Self {
        Self::make(id.into(), application, policy, None)
    }

    /// The same with hooks.
    pub fn with_hooks(
        id: impl Into<Box<str>>,
        application: Application,
        policy: GuestPolicy,
        hooks: Arc<dyn GuestHooks>,
    ) -> Self {
        Self::make(id.into(), application, policy, Some(hooks))
    }

    fn make(
        id: Box<str>,
        application: Application,
        policy: GuestPolicy,
        hooks: Option<Arc<dyn GuestHooks>>,
    ) -> Self {
        let rate = policy.rate.map(|(calls, per)| Rate::new(calls, per));
        Self { guest: Arc::new(Guest { id, application, policy, rate, hooks }) }
    }

    /// The host's name for the guest.
    pub fn id(&self) -> &str {
        &self.guest.id
    }

    /// The application that the guest acts as.
    pub fn application(&self) -> &Application {
        &self.guest.application
    }

    pub(super) fn guest(&self) -> &Arc<Guest> {
        &self.guest
    }
}

impl Guest {
    /// Counts a call.
    pub(super) fn count(&self) -> Result<(), GuestRefusal> {
        let Some(rate) = &self.rate else { return Ok(()) };
        let now_unix_ms = self.application.inner.clock.now_unix_ms();
        rate.take(now_unix_ms).map_err(|retry_after| GuestRefusal::Rate { retry_after })
    }

    /// Tells of something that the guest asked for and doesn't get.
    pub(super) fn refuse(&self, refusal: GuestRefusal) {
        tracing::warn!(guest = &*self.id, %refusal, "a guest asked for what it may not have");
        if let Some(hooks) = &self.hooks {
            hooks.refused(&self.id, &refusal);
        }
    }

    /// The application's name for a session key of this guest. No other guest has a key of that name, whatever it writes.
    pub(super) fn session_key(&self, key: &str) -> String {
        format!("guest:{}:{}:{key}", self.id.len(), self.id)
    }
}

impl fmt::Debug for GuestCtx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestCtx")
            .field("id", &self.guest.id)
            .field("application", self.guest.application.options().id())
            .field("policy", &self.guest.policy)
            .finish_non_exhaustive()
    }
}
