//! `symbolon:token/facts`: what outlives an instance and isn't a token.

use symbolon_resources::facts::FactKind;

use super::bindings::symbolon::token::facts;
use super::state::State;
use crate::application::Inner;

impl facts::Host for State {
    fn get(&mut self, kind: facts::FactKind, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(self.call()?.application.facts.get(kind.into(), &key).map(|fact| fact.to_vec()))
    }

    fn put(
        &mut self,
        kind: facts::FactKind,
        key: String,
        value: Vec<u8>,
        ttl_ms: u64,
    ) -> wasmtime::Result<()> {
        let application = &self.call()?.application;
        if kind == facts::FactKind::BoundRefusal {
            tell_of_refusal(application, &key, &String::from_utf8_lossy(&value));
        }
        application.facts.put(kind.into(), &key, &value, ttl_ms);
        Ok(())
    }
}

/// Whoever prefers a bound connection learns, once while it lasts, that there is none.
pub(crate) fn tell_of_refusal(application: &Inner, request: &str, reason: &str) {
    tracing::warn!(
        name: "symbolon.credentials.unbound",
        application = application.options.id().as_str(),
        ?request,
        ?reason,
        "connections aren't bound to the credential that prefers it"
    );
}

impl From<facts::FactKind> for FactKind {
    fn from(kind: facts::FactKind) -> Self {
        match kind {
            facts::FactKind::InstanceDiscovery => Self::InstanceDiscovery,
            facts::FactKind::OidcMetadata => Self::OidcMetadata,
            facts::FactKind::Region => Self::Region,
            facts::FactKind::Throttle => Self::Throttle,
            facts::FactKind::BoundRefusal => Self::BoundRefusal,
        }
    }
}
