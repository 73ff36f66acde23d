//! Does what the core asks for.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;

use symbolon_protocol::acquisition::{Acquisition, Action, Entry, Event, Found, Store};
use symbolon_protocol::credential::{
    CredentialError, CredentialErrorKind, Description, Purpose, SignedAssertion,
};
use symbolon_protocol::platform::IssuedCertificate;
use symbolon_protocol::{accounts, sign_in};

use crate::bindings::exports::symbolon::token::acquisition::{
    AccessToken, AuthorizationRequest, Context, Request, SignIn,
};
use crate::bindings::symbolon::credentials::provider::{
    self, AssertionContext, Credential, Outcome, Selection, SignatureAlgorithm,
};
use crate::bindings::symbolon::credentials::{platform, transport};
use crate::bindings::symbolon::token::cache::{self, Ticket};
use crate::bindings::symbolon::token::facts;
use crate::bindings::symbolon::token::types::{Account, Error};
use crate::{convert, http};

/// Runs one acquisition.
pub(crate) fn acquire(request: Request, context: Option<Context>) -> Result<AccessToken, Error> {
    let context = known(context)?;
    let (acquisition, action) =
        Acquisition::start(convert::request(request), &context).map_err(convert::error)?;
    Shell { tickets: Vec::new(), credential: None }.run(acquisition, action)
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

fn known(context: Option<Context>) -> Result<symbolon_protocol::request::Context, Error> {
    context.map(convert::context).ok_or_else(context_missing)
}

fn context_missing() -> Error {
    convert::error(symbolon_protocol::error::Error::invalid_request(
        "context_missing",
        "The component reads no clock and no configuration: the host must give the context.",
    ))
}

/// The handles that the actions of an acquisition mean.
struct Shell {
    /// Of the flights that are led, the last one last.
    tickets: Vec<Ticket>,
    credential: Option<Credential>,
}

impl Shell {
    fn run(mut self, mut acquisition: Acquisition, mut action: Action) -> Result<AccessToken, Error> {
        loop {
            let event = match action {
                Action::Find(lookup) => Event::Found(self.found(cache::find(&convert::lookup(lookup)))),
                Action::Select(purpose) => Event::Selected(self.select(purpose)),
                Action::DescribePlatform => Event::Platform(convert::platform(
                    platform::environment(),
                    platform::arc_agent_installed(),
                )),
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
                    let installed =
                        platform::install_certificate(&new.der, &new.client_id, &new.token_endpoint);
                    Event::Installed(installed.map_err(convert::credential_error))
                }
                Action::Sign { algorithm, signing_input } => {
                    Event::Signed(self.sign(convert::algorithm(algorithm), &signing_input))
                }
                Action::Assert(context) => {
                    Event::Asserted(self.assertion(convert::assertion_context(context)))
                }
                Action::Send(request) => Event::Answered(http::send(request, self.credential.as_ref())),
                Action::Wait { milliseconds } => Event::Waited { now: transport::wait(milliseconds) },
                Action::Report(outcome) => self.report(convert::outcome(outcome)),
                Action::Recall(fact) => Event::Recalled(facts::get(convert::fact_kind(fact.kind), &fact.key)),
                Action::Remember { fact, value, ttl_ms } => {
                    facts::put(convert::fact_kind(fact.kind), &fact.key, &value, ttl_ms);
                    Event::Remembered
                }
                Action::Put(store) => self.put(store),
                Action::Fail(error) => self.fail(error),
                Action::Finish(result) => {
                    return result.map(|token| convert::access_token(*token)).map_err(convert::error);
                }
            };
            action = acquisition.handle(event);
        }
    }

    fn found(&mut self, found: cache::Found) -> Found {
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

    fn fail(&mut self, error: symbolon_protocol::error::Error) -> Event {
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
