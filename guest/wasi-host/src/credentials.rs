//! `symbolon:credentials/provider`: the entries of the configuration. A private key is in the component that this one
//! imports, and signs there.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::Cell;

use spin::Once;
use symbolon_wasi::credentials::{Entry, Pem, Source, entries};
use zeroize::Zeroizing;

use crate::bindings::Component;
use crate::bindings::exports::symbolon::credentials::provider::{
    AssertionContext, BoundUse, Credential, CredentialBorrow, CredentialKind, Description, Error, ErrorKind,
    Guest, GuestCredential, Outcome, Purpose, Selection, SignatureAlgorithm, SignedAssertion,
};
use crate::bindings::symbolon::credentials::custody::{self, Configuration, File, Setting};
use crate::bindings::symbolon::credentials::provider as inner;
use crate::files;
use crate::state::{now_unix_ms, random_bytes, state};

/// A credential, for one acquisition.
pub(crate) struct Held {
    name: String,
    kind: Kind,
}

enum Kind {
    Secret(&'static str),
    Assertion(String),
    Certificate { credential: inner::Credential, signatures: Cell<u32> },
}

/// The entries; what they hold lives as long as the instance.
static ENTRIES: Once<Result<Vec<Entry>, String>> = Once::new();

/// Which entry the component with the key was configured for: it can be once.
static CONFIGURED: Once<(String, Result<(), Error>)> = Once::new();

/// In one acquisition.
const MOST_SIGNATURES: u32 = 8;

impl Held {
    /// The secret, where it is one.
    pub(crate) fn secret(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Secret(secret) => Some(secret),
            _ => None,
        }
    }

    fn load(entry: &'static Entry) -> Result<Self, Error> {
        let kind = match &entry.source {
            Source::Secret(secret) => Kind::Secret(secret),
            Source::AssertionFile(path) => Kind::Assertion(assertion(path)?),
            Source::Certificate { pem, passphrase } => {
                let (configured, result) =
                    CONFIGURED.call_once(|| (entry.name.clone(), configure(pem, passphrase)));
                result.clone()?;
                if *configured != entry.name {
                    let message = format!("{}: found a second certificate; accepted: one", entry.name);
                    return Err(error(ErrorKind::Unsupported, message));
                }
                let purpose = inner::Purpose::Authenticate;
                let credential = inner::select(inner::Selection { purpose })?;
                Kind::Certificate { credential, signatures: Cell::new(0) }
            }
        };
        Ok(Self { name: entry.name.clone(), kind })
    }
}

impl Guest for Component {
    type Credential = Held;

    fn select(selection: Selection) -> Result<Credential, Error> {
        if selection.purpose == Purpose::Bind {
            let message = "client-certificate-unsupported: found a request for a connection that is bound to a \
                           certificate; accepted: others, because wasi:http can't present one";
            return Err(error(ErrorKind::Unsupported, message));
        }
        let not_configured = |message: String| error(ErrorKind::NotConfigured, message);
        let settings = &state().map_err(not_configured)?.settings;
        let entries = ENTRIES.call_once(|| entries(settings)).as_ref();
        let entries = entries.map_err(|message| not_configured(message.clone()))?;
        let mut last = not_configured("AzureAd:ClientCredentials: found nothing; accepted: an entry".into());
        for entry in entries {
            match Held::load(entry) {
                Ok(held) => return Ok(Credential::new(held)),
                Err(error) => last = Error { message: format!("{}: {}", entry.name, error.message), ..error },
            }
        }
        Err(last)
    }

    /// The next acquisition looks at the files again in any case.
    fn report(_: CredentialBorrow<'_>, _: Outcome) {}
}

impl GuestCredential for Held {
    fn describe(&self) -> Description {
        let (kind, certificate) = match &self.kind {
            Kind::Secret(_) => (CredentialKind::ClientSecret, None),
            Kind::Assertion(_) => (CredentialKind::SignedAssertion, None),
            Kind::Certificate { credential, .. } => {
                (CredentialKind::Certificate, credential.describe().certificate)
            }
        };
        Description {
            name: self.name.clone(),
            kind,
            use_bound: BoundUse::Never,
            omit_assertion_when_bound: false,
            certificate,
        }
    }

    fn sign_assertion(
        &self,
        algorithm: SignatureAlgorithm,
        signing_input: Vec<u8>,
    ) -> Result<Vec<u8>, Error> {
        let Kind::Certificate { credential, signatures } = &self.kind else {
            return Err(unsupported("a credential without a key"));
        };
        let egress = &state().map_err(|message| error(ErrorKind::NotConfigured, message))?.egress;
        if !egress.allows_assertion(&signing_input, now_unix_ms() / 1000) {
            let message =
                "found something else than a client assertion for the authority; accepted: one of 10 minutes";
            return Err(error(ErrorKind::Refused, message));
        }
        if signatures.replace(signatures.get() + 1) >= MOST_SIGNATURES {
            return Err(error(ErrorKind::Refused, "found a ninth signature; accepted: 8 in one acquisition"));
        }
        credential.sign_assertion(algorithm, &signing_input)
    }

    fn assertion(&self, _: AssertionContext) -> Result<SignedAssertion, Error> {
        match &self.kind {
            Kind::Assertion(assertion) => {
                Ok(SignedAssertion { assertion: assertion.clone(), expires_on: None, bound: false })
            }
            _ => Err(unsupported("a credential that is no assertion")),
        }
    }
}

fn assertion(path: &str) -> Result<String, Error> {
    let content = files::read(path).map_err(|message| error(ErrorKind::Unavailable, message))?;
    let text = core::str::from_utf8(&content).map(str::trim).unwrap_or_default();
    if text.is_empty() {
        return Err(error(ErrorKind::Unavailable, format!("{path}: found no text; accepted: a token")));
    }
    Ok(text.to_string())
}

/// Gives the component with the key what it needs.
fn configure(pem: &Pem, passphrase: &Zeroizing<String>) -> Result<(), Error> {
    let content = match pem {
        Pem::File(path) => files::read(path).map_err(|message| error(ErrorKind::Unavailable, message))?,
        Pem::Text(text) => text.clone(),
    };
    custody::configure(&Configuration {
        settings: [Setting { name: "Passphrase".into(), value: passphrase.to_string() }].into(),
        files: [File { name: "keys".into(), content: content.to_vec() }].into(),
        seed: random_bytes::<32>().into(),
    })
}

fn unsupported(found: &str) -> Error {
    error(ErrorKind::Unsupported, format!("found {found}; accepted: another"))
}

fn error(kind: ErrorKind, message: impl ToString) -> Error {
    Error { kind, message: message.to_string(), retry_after_ms: None }
}
