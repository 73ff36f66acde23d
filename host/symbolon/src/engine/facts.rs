//! `symbolon:token/facts`: what outlives an instance and isn't a token.

use std::time::Duration;

use symbolon_resources::facts::FactKind;

use super::bindings::symbolon::token::facts;
use super::state::State;
use crate::application::Inner;
use crate::recorder::Event;

impl facts::Host for State {
    fn get(&mut self, kind: facts::FactKind, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        let call = self.call()?;
        let fact = call.application.facts.get(kind.into(), &key);
        call.record(|| Event::FactAsked { about: name(kind), known: fact.is_some() });
        Ok(fact.map(|fact| fact.to_vec()))
    }

    fn put(
        &mut self,
        kind: facts::FactKind,
        key: String,
        value: Vec<u8>,
        ttl_ms: u64,
    ) -> wasmtime::Result<()> {
        let call = self.call()?;
        let application = &call.application;
        call.record(|| Event::FactLearnt { about: name(kind), lasts: Duration::from_millis(ttl_ms) });
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

/// What is recorded of a fact.
fn name(kind: facts::FactKind) -> &'static str {
    match kind {
        facts::FactKind::InstanceDiscovery => "instance-discovery",
        facts::FactKind::OidcMetadata => "oidc-metadata",
        facts::FactKind::Region => "region",
        facts::FactKind::Throttle => "throttle",
        facts::FactKind::BoundRefusal => "bound-refusal",
    }
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
