use std::sync::Arc;

use tokio::time::Instant;

use super::assertion_policy::SigningBudget;
use super::error::LoadError;

/// The acquisition on whose behalf a credential is selected, as far as credentials are concerned: its budget of
/// signatures, and what acquisitions inside it inherit, where a credential needs a token of its own.
#[derive(Debug, Clone, Default)]
pub struct Acquisition {
    pub(super) budget: SigningBudget,
    pub(super) purpose: Purpose,
    deadline: Option<Instant>,
    depth: u32,
    number: u64,
    correlation_id: Option<Arc<str>>,
}

impl Acquisition {
    /// An acquisition with this budget of signatures, without deadline, that is inside no other and wants the client
    /// authenticated.
    pub fn new(budget: SigningBudget) -> Self {
        Self { budget, ..Self::default() }
    }

    /// What the credential is selected for. The default is [`Purpose::Authenticate`].
    pub fn with_purpose(mut self, purpose: Purpose) -> Self {
        self.purpose = purpose;
        self
    }

    /// When the answer is of no use any more. The default is never.
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// How many acquisitions this one is inside of. The default is none.
    pub fn with_depth(mut self, depth: u32) -> Self {
        self.depth = depth;
        self
    }

    /// The number under which it is recorded, and every acquisition inside it. The default is 0, for none.
    pub fn with_number(mut self, number: u64) -> Self {
        self.number = number;
        self
    }

    /// Correlates acquisitions inside this one with it. The default is nothing.
    pub fn with_correlation_id(mut self, correlation_id: impl Into<Arc<str>>) -> Self {
        self.correlation_id = Some(correlation_id.into());
        self
    }

    /// When the answer is of no use any more.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// How many acquisitions this one is inside of: 0 for one that a caller asked for.
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// The number under which the outermost acquisition is recorded.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Correlates the acquisition with the one that it is inside of.
    pub fn correlation_id(&self) -> Option<&str> {
        self.correlation_id.as_deref()
    }

    /// An acquisition inside this one: one deeper, with a budget of its own, the same deadline, number and correlation id.
    pub(super) fn nested(&self) -> Result<Self, LoadError> {
        if self.depth >= MAX_DEPTH {
            let found =
                format!("found a credential that needs a token of its own, {MAX_DEPTH} acquisitions deep");
            let accepted = "at most 3 applications or identities that stand in for each other";
            return Err(LoadError::UnsupportedSource(format!("{found}; accepted: {accepted}")));
        }
        let (deadline, number, correlation_id) = (self.deadline, self.number, self.correlation_id.clone());
        Ok(Self { deadline, number, correlation_id, depth: self.depth + 1, ..Self::default() })
    }
}

/// What a selected credential is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Purpose {
    /// To authenticate the client in whatever way it can.
    #[default]
    Authenticate,
    /// To be presented in the TLS handshake of the token request: assertions are asked for with their certificate.
    Bind,
    /// To authenticate the client on a connection that isn't bound to a certificate, because the authority takes no other
    /// one: assertions are asked for without a certificate, unless theirs is required.
    AuthenticateUnbound,
    /// To be presented to an API in the place of a token. Observers learn of every such selection.
    PresentToApi,
}

/// An application whose credential is a token of another one, whose credential is a token of a third …
pub(crate) const MAX_DEPTH: u32 = 3;
