//! The component that is tried out: an instance and its credential, started again after a trap.

use symbolon_resources::credentials::ComponentConfiguration;
use wasmtime::Store;
use wasmtime::component::ResourceAny;
use x509_parser::asn1_rs::FromDer;
use x509_parser::certificate::X509Certificate;

use super::super::Compiled;
use super::super::bindings::exports::symbolon::credentials::custody::{self, SignatureScheme};
use super::super::bindings::exports::symbolon::credentials::provider::{
    self, AssertionContext, Certificate, CredentialKind, Description, Error, Outcome, Purpose, Selection,
    SignatureAlgorithm, SignedAssertion,
};
use super::super::instance::{Answer, Live, State, failure};

/// What came of a question.
pub(super) enum Asked<T> {
    Answer(T),
    Error(Error),
    /// The instance is gone.
    Trap(String),
}

pub(super) struct Subject<'a> {
    compiled: &'a Compiled,
    configuration: &'a ComponentConfiguration,
    started: Option<Started>,
    /// What it said in words.
    words: Vec<String>,
    secret: Option<String>,
    known: Option<(Description, Vec<SignatureScheme>)>,
}

struct Started {
    live: Live,
    handle: ResourceAny,
}

impl<'a> Subject<'a> {
    pub(super) fn new(compiled: &'a Compiled, configuration: &'a ComponentConfiguration) -> Self {
        Self { compiled, configuration, started: None, words: Vec::new(), secret: None, known: None }
    }

    /// Configures an instance that is used for nothing else.
    pub(super) fn configure_another(&mut self, configuration: &ComponentConfiguration) -> Asked<()> {
        match Live::new(self.compiled) {
            Ok(mut live) => self.call(&mut live, |live| live.configure(configuration)),
            Err(error) => Asked::Trap(error.to_string()),
        }
    }

    /// Makes the instance that is tried out, and selects its credential.
    pub(super) fn start(&mut self) -> Result<(), String> {
        let mut started = self.begin()?;
        let (description, schemes) = self.describe(&mut started.live, started.handle)?;
        self.words.push(description.name.clone());
        self.known = Some((description, schemes));
        self.started = Some(started);
        Ok(())
    }

    fn begin(&mut self) -> Result<Started, String> {
        let configuration = self.configuration;
        let mut live = Live::new(self.compiled).map_err(|error| error.to_string())?;
        self.call(&mut live, |live| live.configure(configuration)).in_words()?;
        let handle = self.select(&mut live).in_words()?;
        Ok(Started { live, handle })
    }

    fn select(&mut self, live: &mut Live) -> Asked<ResourceAny> {
        let selection = Selection { purpose: Purpose::Authenticate };
        self.call(live, |Live { store, guest, .. }| {
            guest.symbolon_credentials_provider().call_select(store, selection)
        })
    }

    fn describe(
        &mut self,
        live: &mut Live,
        handle: ResourceAny,
    ) -> Result<(Description, Vec<SignatureScheme>), String> {
        let described = self.call(live, |Live { store, guest, .. }| {
            let provider = guest.symbolon_credentials_provider();
            let description = provider.credential().call_describe(&mut *store, handle)?;
            let schemes = guest.symbolon_credentials_custody().call_signature_schemes(store, handle)?;
            Ok(Ok((description, schemes)))
        });
        described.in_words()
    }

    /// Calls an instance. What it says in words is kept.
    fn call<T>(&mut self, live: &mut Live, call: impl FnOnce(&mut Live) -> Answer<T>) -> Asked<T> {
        live.begin(self.compiled.limits);
        match call(live) {
            Ok(Ok(answer)) => Asked::Answer(answer),
            Ok(Err(error)) => {
                self.words.push(error.message.clone());
                Asked::Error(error)
            }
            Err(trap) => Asked::Trap(failure(&live.store, &trap, self.compiled.limits).to_string()),
        }
    }

    /// Asks the credential. After a trap the next question starts the component again.
    fn ask<T>(
        &mut self,
        question: impl FnOnce(&provider::Guest, &custody::Guest, &mut Store<State>, ResourceAny) -> Answer<T>,
    ) -> Asked<T> {
        let started = match self.started.take() {
            Some(started) => Ok(started),
            None => self.begin(),
        };
        let Started { mut live, handle } = match started {
            Ok(started) => started,
            Err(why) => return Asked::Trap(format!("it can't be started again: {why}")),
        };
        let asked = self.call(&mut live, |Live { store, guest, .. }| {
            let (provider, custody) =
                (guest.symbolon_credentials_provider(), guest.symbolon_credentials_custody());
            question(provider, custody, store, handle)
        });
        if !matches!(asked, Asked::Trap(_)) {
            self.started = Some(Started { live, handle });
        }
        asked
    }

    /// What changed since it was described first.
    pub(super) fn description_again(&mut self) -> Option<String> {
        let asked = self.ask(|provider, custody, store, handle| {
            let description = provider.credential().call_describe(&mut *store, handle)?;
            Ok(Ok((description, custody.call_signature_schemes(store, handle)?)))
        });
        asked.in_words().map_or_else(Some, |described| self.differs(&described))
    }

    /// What a second handle shows that the first one doesn't, and the first one after the second is gone.
    pub(super) fn another_handle(&mut self) -> Option<String> {
        let selection = Selection { purpose: Purpose::Authenticate };
        let asked = self.ask(|provider, custody, store, _| {
            let handle = match provider.call_select(&mut *store, selection)? {
                Ok(handle) => handle,
                Err(error) => return Ok(Err(error)),
            };
            let description = provider.credential().call_describe(&mut *store, handle)?;
            let schemes = custody.call_signature_schemes(&mut *store, handle)?;
            handle.resource_drop(store)?;
            Ok(Ok((description, schemes)))
        });
        let other = asked.in_words().map_or_else(Some, |described| self.differs(&described));
        other.or_else(|| self.description_again())
    }

    /// What another instance with the same configuration shows that this one doesn't.
    pub(super) fn another_instance(&mut self) -> Option<String> {
        let described =
            self.begin().and_then(|Started { mut live, handle }| self.describe(&mut live, handle));
        described.map_or_else(Some, |described| self.differs(&described))
    }

    fn differs(&self, (description, schemes): &(Description, Vec<SignatureScheme>)) -> Option<String> {
        let (known, known_schemes) = self.known.as_ref()?;
        let what = if description.kind != known.kind {
            "another kind"
        } else if chain(description) != chain(known) {
            "another chain"
        } else if algorithms(description) != algorithms(known) {
            "other algorithms"
        } else if schemes != known_schemes {
            "other schemes"
        } else {
            return None;
        };
        Some(format!("found {what} than at first"))
    }

    pub(super) fn sign_handshake(&mut self, scheme: SignatureScheme, message: &[u8]) -> Asked<Vec<u8>> {
        self.ask(|_, custody, store, handle| custody.call_sign_handshake(store, handle, scheme, message))
    }

    pub(super) fn sign_assertion(&mut self, algorithm: SignatureAlgorithm, input: &[u8]) -> Asked<Vec<u8>> {
        self.ask(|provider, _, store, handle| {
            provider.credential().call_sign_assertion(store, handle, algorithm, input)
        })
    }

    pub(super) fn ask_secret(&mut self) -> Asked<String> {
        let asked = self.ask(|_, custody, store, handle| custody.call_secret(store, handle));
        if let Asked::Answer(secret) = &asked {
            self.secret = Some(secret.clone());
        }
        asked
    }

    pub(super) fn ask_assertion(&mut self) -> Asked<SignedAssertion> {
        let context = AssertionContext {
            client_id: "00000000-0000-0000-0000-000000000001".to_owned(),
            token_endpoint: "https://login.microsoftonline.com/common/oauth2/v2.0/token".to_owned(),
            authority: "https://login.microsoftonline.com/common".to_owned(),
            tenant_id: None,
            fmi_path: None,
            claims: None,
            client_capabilities: Vec::new(),
            correlation_id: "00000000-0000-0000-0000-000000000002".to_owned(),
        };
        self.ask(|provider, _, store, handle| provider.credential().call_assertion(store, handle, &context))
    }

    /// What went wrong when it was told.
    pub(super) fn report(&mut self, outcome: Outcome) -> Option<String> {
        self.ask(|provider, _, store, handle| Ok(Ok(provider.call_report(store, handle, outcome)?)))
            .in_words()
            .err()
    }

    pub(super) fn select_anything(&mut self) -> Asked<()> {
        let selection = Selection { purpose: Purpose::Bind };
        self.ask(|provider, _, store, _| match provider.call_select(&mut *store, selection)? {
            Ok(handle) => Ok(Ok(handle.resource_drop(store)?)),
            Err(error) => Ok(Err(error)),
        })
    }

    pub(super) fn kind(&self) -> CredentialKind {
        self.known.as_ref().map_or(CredentialKind::ClientSecret, |(description, _)| description.kind)
    }

    pub(super) fn certificate(&self) -> Option<Certificate> {
        self.known.as_ref().and_then(|(description, _)| description.certificate.clone())
    }

    pub(super) fn schemes(&self) -> Vec<SignatureScheme> {
        self.known.as_ref().map(|(_, schemes)| schemes.clone()).unwrap_or_default()
    }

    pub(super) fn algorithms(&self) -> Vec<SignatureAlgorithm> {
        self.known.as_ref().map(|(description, _)| algorithms(description).to_vec()).unwrap_or_default()
    }

    /// The bit string of the leaf's key; empty where there is none.
    pub(super) fn public_key(&self) -> Vec<u8> {
        let leaf = self.known.as_ref().and_then(|(description, _)| chain(description).first());
        let parsed = leaf.and_then(|leaf| X509Certificate::from_der(leaf).ok());
        parsed.map(|(_, leaf)| leaf.public_key().subject_public_key.data.to_vec()).unwrap_or_default()
    }

    pub(super) fn words(&self) -> &[String] {
        &self.words
    }

    pub(super) fn secret(&self) -> Option<&str> {
        self.secret.as_deref()
    }
}

impl<T> Asked<T> {
    fn in_words(self) -> Result<T, String> {
        match self {
            Self::Answer(answer) => Ok(answer),
            Self::Error(error) => {
                Err(format!("found the error {}: {}", error.kind.name(), super::printable(&error.message)))
            }
            Self::Trap(trap) => Err(trap),
        }
    }
}

fn chain(description: &Description) -> &[Vec<u8>] {
    description.certificate.as_ref().map(|certificate| certificate.chain.as_slice()).unwrap_or_default()
}

fn algorithms(description: &Description) -> &[SignatureAlgorithm] {
    description.certificate.as_ref().map(|certificate| certificate.algorithms.as_slice()).unwrap_or_default()
}
