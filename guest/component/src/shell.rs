//! Does what the core asks for. What may have to wait is left to whoever runs the acquisition: shells differ in how they wait.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;

use symbolon_protocol::acquisition::{Acquisition, Action, Entry, Event, Found, Lookup, Store};
use symbolon_protocol::credential::{
    CredentialError, CredentialErrorKind, Description, Purpose, SignedAssertion,
};
use symbolon_protocol::platform::IssuedCertificate;
use symbolon_protocol::token_request::HttpRequest;
use symbolon_protocol::{accounts, error as core_error, request as core_request, sign_in};

use crate::convert;
use crate::words::acquisition::{AuthorizationRequest, Context, Request, SignIn};
use crate::words::cache::{self, Ticket};
use crate::words::provider::{self, AssertionContext, Credential, Outcome, Selection, SignatureAlgorithm};
use crate::words::types::{Account, Error};
use crate::words::{facts, platform};

/// Begins an acquisition.
pub(crate) fn start(request: Request, context: Option<Context>) -> Result<(Acquisition, Action), Error> {
    Acquisition::start(convert::request(request), &known(context)?).map_err(convert::error)
}

/// Begins a sign-in.
pub(crate) fn authorize(sign_in: SignIn, context: Option<Context>) -> Result<AuthorizationRequest, Error> {
    let begun = sign_in::begin(&convert::sign_in(sign_in), &known(context)?);
    begun.map(convert::authorization_request).map_err(convert::error)
}

/// Ends a long-running process.
pub(crate) fn stop_long_running_process(session_key: &str, context: Option<Context>) -> Result<bool, Error> {
    let group = accounts::of_long_running_process(&known(context)?.application, session_key);
    Ok(cache::remove_group(&group.map_err(convert::error)?))
}

/// The accounts that one can acquire for silently.
pub(crate) fn accounts(context: Option<Context>) -> Result<Vec<Account>, Error> {
    let entries = cache::members(&accounts::known(&known(context)?.application));
    let accounts = entries.into_iter().filter_map(|entry| match convert::entry(entry) {
        Entry::Account(item) => Some(convert::account(accounts::account(*item))),
        _ => None,
    });
    Ok(accounts.collect())
}

/// Forgets an account.
pub(crate) fn remove_account(home_account_id: &str, context: Option<Context>) -> Result<bool, Error> {
    let group = accounts::of_account(&known(context)?.application, home_account_id);
    Ok(cache::remove_group(&group.map_err(convert::error)?))
}

fn known(context: Option<Context>) -> Result<core_request::Context, Error> {
    context.map(convert::context).ok_or_else(context_missing)
}

fn context_missing() -> Error {
    convert::error(core_error::Error::invalid_request(
        "context_missing",
        "The component reads no clock and no configuration: the host must give the context.",
    ))
}

/// What became of an action.
pub(crate) enum Step {
    /// It is done.
    Happened(Event),
    /// An entry is to be found.
    Find(Lookup),
    /// A request is to be sent.
    Send(HttpRequest),
    /// So many milliseconds are to pass.
    Wait(u64),
    /// The acquisition is over.
    Finished(Result<Box<core_request::AccessToken>, core_error::Error>),
}

/// The handles that the actions of an acquisition mean.
#[derive(Default)]
pub(crate) struct Shell {
    /// Of the flights that are led, the last one last.
    tickets: Vec<Ticket>,
    pub(crate) credential: Option<Credential>,
}

impl Shell {
    pub(crate) fn step(&mut self, action: Action) -> Step {
        Step::Happened(match action {
            Action::Find(lookup) => return Step::Find(lookup),
            Action::Send(request) => return Step::Send(request),
            Action::Wait { milliseconds } => return Step::Wait(milliseconds),
            Action::Finish(result) => return Step::Finished(result),
            Action::Select(purpose) => Event::Selected(self.select(purpose)),
            Action::DescribePlatform => {
                Event::Platform(convert::platform(platform::environment(), platform::arc_agent_installed()))
            }
            Action::SelectSecret(name) => Event::Selected(self.selected(platform::secret(&name))),
            Action::SelectChallengeFile(path) => {
                Event::Selected(self.selected(platform::challenge_file(&path)))
            }
            Action::SelectIssued => Event::Issued(self.issued()),
            Action::RequestCertificate(subject) => {
                let made = platform::request_certificate(&convert::certificate_subject(subject));
                let made = made.map(convert::certificate_request);
                Event::CertificateRequested(made.map_err(convert::credential_error))
            }
            Action::InstallCertificate(new) => {
                let installed = platform::install_certificate(&new.der, &new.client_id, &new.token_endpoint);
                Event::Installed(installed.map_err(convert::credential_error))
            }
            Action::Sign { algorithm, signing_input } => {
                Event::Signed(self.sign(convert::algorithm(algorithm), &signing_input))
            }
            Action::Assert(context) => Event::Asserted(self.assertion(convert::assertion_context(context))),
            Action::Report(outcome) => self.report(convert::outcome(outcome)),
            Action::Recall(fact) => Event::Recalled(facts::get(convert::fact_kind(fact.kind), &fact.key)),
            Action::Remember { fact, value, ttl_ms } => {
                facts::put(convert::fact_kind(fact.kind), &fact.key, &value, ttl_ms);
                Event::Remembered
            }
            Action::Put(store) => self.put(store),
            Action::Fail(error) => self.fail(error),
        })
    }

    pub(crate) fn found(&mut self, found: cache::Found) -> Found {
        match found {
            cache::Found::Hit(entry) => Found::Hit(convert::entry(entry)),
            cache::Found::Lead(lead) => {
                self.tickets.push(lead.ticket);
                Found::Lead { absence: convert::absence(lead.absence), now: lead.now }
            }
            cache::Found::Failed(error) => Found::Failed(Box::new(convert::failed_flight(error))),
            cache::Found::Miss => Found::Miss,
        }
    }

    fn select(&mut self, purpose: Purpose) -> Result<Description, CredentialError> {
        self.selected(provider::select(Selection { purpose: convert::purpose(purpose) }))
    }

    fn selected(
        &mut self,
        selected: Result<Credential, provider::Error>,
    ) -> Result<Description, CredentialError> {
        selected.map(|credential| self.keep(credential)).map_err(convert::credential_error)
    }

    fn keep(&mut self, credential: Credential) -> Description {
        let description = convert::description(credential.describe());
        self.credential = Some(credential);
        description
    }

    fn issued(&mut self) -> Option<Box<IssuedCertificate>> {
        let platform::IssuedCertificate { credential, client_id, token_endpoint, attested } =
            platform::issued()?;
        let credential = self.keep(credential);
        Some(Box::new(IssuedCertificate { credential, client_id, token_endpoint, attested }))
    }

    fn sign(&self, algorithm: SignatureAlgorithm, signing_input: &str) -> Result<Vec<u8>, CredentialError> {
        let signed = self.credential()?.sign_assertion(algorithm, signing_input.as_bytes());
        signed.map_err(convert::credential_error)
    }

    fn assertion(&self, context: AssertionContext) -> Result<SignedAssertion, CredentialError> {
        let assertion = self.credential()?.assertion(&context);
        assertion.map(convert::signed_assertion).map_err(convert::credential_error)
    }

    fn credential(&self) -> Result<&Credential, CredentialError> {
        self.credential.as_ref().ok_or_else(credential_missing)
    }

    fn report(&self, outcome: Outcome) -> Event {
        if let Some(credential) = &self.credential {
            provider::report(credential, outcome);
        }
        Event::Reported
    }

    fn put(&mut self, store: Store) -> Event {
        let entries: Vec<_> = store.entries.into_iter().map(convert::saved).collect();
        let ticket = if store.ends_flight { self.tickets.pop() } else { None };
        cache::put(ticket, &store.replaced_groups, &entries);
        Event::Stored
    }

    fn fail(&mut self, error: core_error::Error) -> Event {
        if let Some(ticket) = self.tickets.pop() {
            cache::fail(ticket, &convert::error(error));
        }
        Event::Failed
    }
}

fn credential_missing() -> CredentialError {
    CredentialError {
        kind: CredentialErrorKind::NotConfigured,
        message: "No credential is selected.".to_string(),
        retry_after_ms: None,
    }
}
