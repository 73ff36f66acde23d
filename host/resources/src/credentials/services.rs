use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::assertion::SignedAssertionProvider;
use super::component::ComponentRunner;
use super::observer::{CertificateEvent, CertificateObserver};
use super::rotation::Rotation;
use super::source::OtherApplication;
use super::token_source::TokenSource;
use crate::transport::TransportShared;

/// What credential providers get from the program around them. Without them, sources that need more than this machine's
/// files fail to load and say why.
///
/// Cheap to clone; usually one serves all applications of a process.
#[derive(Clone, Default)]
pub struct CredentialServices {
    pub(super) token_source: Option<Arc<dyn TokenSource>>,
    pub(super) transport: Option<Arc<TransportShared>>,
    pub(super) rotation: Option<Rotation>,
    pub(super) component_runner: Option<Arc<dyn ComponentRunner>>,
    assertion_providers: BTreeMap<Arc<str>, Arc<dyn SignedAssertionProvider>>,
    observers: Vec<Arc<dyn CertificateObserver>>,
}

impl CredentialServices {
    /// None of them.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where tokens come from for managed identities, other applications and Key Vault. The default is nowhere.
    ///
    /// A source that holds the applications whose providers hold it holds them by [`std::sync::Weak`], or none is ever
    /// freed.
    pub fn with_token_source(mut self, source: Arc<dyn TokenSource>) -> Self {
        self.token_source = Some(source);
        self
    }

    /// What the ways to Key Vault share with other transports. The default is no way.
    pub fn with_transport(mut self, shared: Arc<TransportShared>) -> Self {
        self.transport = Some(shared);
        self
    }

    /// Notices files that change. The default is to read a certificate again only when it was refused or has expired.
    pub fn with_rotation(mut self, rotation: Rotation) -> Self {
        self.rotation = Some(rotation);
        self
    }

    /// Runs components that have credentials. The default is nobody.
    pub fn with_component_runner(mut self, runner: Arc<dyn ComponentRunner>) -> Self {
        self.component_runner = Some(runner);
        self
    }

    /// Registers what makes signed assertions for entries with `SourceType` `CustomSignedAssertion` of this name. Of two
    /// with the same name the first stays, with a `tracing` event (Microsoft.Identity.Web's IDW10111).
    pub fn with_assertion_provider(
        mut self,
        name: impl Into<Arc<str>>,
        provider: Arc<dyn SignedAssertionProvider>,
    ) -> Self {
        let name = name.into();
        if &*name == OtherApplication::PROVIDER || self.assertion_providers.contains_key(&name) {
            tracing::warn!(
                provider = &*name,
                "a second provider of signed assertions with this name is ignored"
            );
        } else {
            self.assertion_providers.insert(name, provider);
        }
        self
    }

    /// Adds one that learns what becomes of certificates. The default is none.
    pub fn with_observer(mut self, observer: Arc<dyn CertificateObserver>) -> Self {
        self.observers.push(observer);
        self
    }

    pub(super) fn assertion_provider(&self, name: &str) -> Option<&Arc<dyn SignedAssertionProvider>> {
        self.assertion_providers.get(name)
    }

    pub(super) fn has_assertion_providers(&self) -> bool {
        !self.assertion_providers.is_empty()
    }

    /// What an entry may name, for messages.
    pub(super) fn assertion_provider_names(&self, components: &[String]) -> String {
        let components = components.iter().map(|name| format!("{name:?} (component)"));
        let registered = self.assertion_providers.keys().map(|name| format!("{name:?}")).chain(components);
        let names: Vec<_> =
            registered.chain([format!("{:?} (built in)", OtherApplication::PROVIDER)]).collect();
        names.join(", ")
    }

    pub(super) fn has_observers(&self) -> bool {
        !self.observers.is_empty()
    }

    pub(super) fn observe(&self, event: &CertificateEvent<'_>) {
        for observer in &self.observers {
            observer.observe(event);
        }
    }
}

impl fmt::Debug for CredentialServices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialServices")
            .field("assertion_providers", &self.assertion_providers.keys())
            .field("observers", &self.observers.len())
            .finish_non_exhaustive()
    }
}
