//! What a source gave, or when it is asked again.

use std::sync::Arc;
use std::time::Duration;

use super::binding::{Binding, next_generation};
use super::component::ComponentCredential;
use super::error::LoadError;
use super::selected::Credential;
use super::source::Local;

/// What a source gave, under a number that nothing else has that is loaded in this process.
#[derive(Clone)]
pub(super) struct Loaded {
    pub(super) credential: Credential,
    pub(super) generation: u64,
    /// The component that has it.
    pub(super) component: Option<Arc<dyn ComponentCredential>>,
}

impl Loaded {
    pub(super) fn new(local: Local) -> Self {
        let (credential, generation) = match local {
            Local::Secret(secret) => (Credential::Secret(secret), next_generation()),
            Local::Assertion(assertion) => (Credential::SignedAssertion(Some(assertion)), next_generation()),
            Local::Certificate(binding) => {
                let generation = binding.generation();
                (Credential::Certificate(binding), generation)
            }
            Local::Component(component, binding) => {
                (Credential::Component { component, binding }, next_generation())
            }
        };
        Self { credential, generation, component: None }
    }

    pub(super) fn binding(&self) -> Option<&Arc<Binding>> {
        match &self.credential {
            Credential::Certificate(binding) => Some(binding),
            _ => None,
        }
    }

    pub(super) fn check_validity(&self, now_unix: u64) -> Result<(), LoadError> {
        if self.component.as_ref().is_some_and(|component| component.is_lost()) {
            return Err(LoadError::Interrupted);
        }
        match &self.credential {
            Credential::Certificate(binding) => binding.check_validity(now_unix),
            Credential::SignedAssertion(Some(assertion)) => match assertion.expires_on_unix() {
                Some(expires_on_unix) if expires_on_unix <= now_unix => {
                    Err(LoadError::AssertionExpired { expires_on_unix })
                }
                _ => Ok(()),
            },
            Credential::Component { binding: Some(binding), .. } => binding.check_validity(now_unix),
            _ => Ok(()),
        }
    }

    /// Whether it is the same certificate with the same chain.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self.binding(), other.binding()) {
            (Some(one), Some(other)) => one.chain() == other.chain(),
            _ => false,
        }
    }
}

/// A time until which something isn't tried again.
#[derive(Clone, Copy)]
pub(super) struct Pause {
    until_ms: u64,
    length_ms: u64,
}

impl Pause {
    pub(super) fn new(now_ms: u64, length_ms: u64) -> Self {
        Self { until_ms: now_ms.saturating_add(length_ms), length_ms }
    }

    /// What is left of it. A clock that was set back doesn't make it longer than it was.
    pub(super) fn left(self, now_ms: u64) -> Option<Duration> {
        let left = self.until_ms.checked_sub(now_ms).filter(|left| (1..=self.length_ms).contains(left));
        left.map(Duration::from_millis)
    }
}

/// How long after this failure it isn't tried again.
pub(super) fn pause_after(reason: &LoadError, now_ms: u64) -> Pause {
    let asked = reason.retry_after().map(|pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
    Pause::new(now_ms, asked.map_or(RETRY_AFTER_MS, |asked| asked.clamp(1000, MAX_RETRY_AFTER_MS)))
}

/// Long enough not to hammer a file system or an authority, short enough that whoever mended it need not wait.
pub(super) const RETRY_AFTER_MS: u64 = 30_000;

/// The longest pause that is granted to who asks for one.
const MAX_RETRY_AFTER_MS: u64 = 600_000;
