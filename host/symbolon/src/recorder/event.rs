//! What happens on the way to a token.

use std::time::Duration;

use symbolon_resources::credentials::{CredentialError, EntryFailure};
use symbolon_resources::transport::TransportError;

use super::request::RecordedRequest;
use crate::error::{Error, GuestFailure};
use crate::result::{AuthenticationResult, CacheRefreshReason, TokenSource};

/// Something that happened to an acquisition.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// It began: no earlier answer to the same request stands.
    Began(Began<'a>),
    /// An instance of the guest is there for it.
    InstanceStarted {
        /// Whether it was kept from an earlier acquisition of the application.
        kept: bool,
    },
    /// Its guest was stopped.
    InstanceStopped(&'a GuestFailure),
    /// The guest looked into the cache.
    CacheLookedUp {
        /// What it was answered.
        answer: CacheAnswer,
        /// How often it waited for what another acquisition was to bring.
        joined: u32,
        /// How long it took, waiting included.
        duration: Duration,
    },
    /// The guest put entries into the cache, which ends the wait of others.
    CacheStored {
        /// How many.
        entries: usize,
    },
    /// The guest told those who wait for the same entry that it isn't coming.
    FlightFailed {
        /// The code of the error that they get.
        code: &'a str,
    },
    /// The guest asked for what was learnt earlier.
    FactAsked {
        /// What it is about, such as `region`.
        about: &'static str,
        /// Whether it is known.
        known: bool,
    },
    /// The guest learnt what outlives the acquisition. A `throttle` is a pause that the authority asked for.
    FactLearnt {
        /// What it is about, such as `throttle`.
        about: &'static str,
        /// For how long it stands.
        lasts: Duration,
    },
    /// A credential was selected.
    CredentialSelected(CredentialSelected<'a>),
    /// No credential can be used.
    CredentialUnavailable(CredentialUnavailable<'a>),
    /// The guest said what became of the credential.
    CredentialReported {
        /// Its name in messages.
        name: &'a str,
        /// Whether it was accepted.
        accepted: bool,
    },
    /// A client assertion was signed, or given by whoever makes it.
    AssertionMade {
        /// The name of the credential in messages.
        name: &'a str,
        /// The algorithm of the signature; nothing where somebody else signed.
        algorithm: Option<&'static str>,
        /// Whether there is one now.
        made: bool,
        /// How long it took.
        duration: Duration,
    },
    /// A request is about to be sent.
    RequestSent(&'a RecordedRequest),
    /// It was answered, or failed.
    RequestEnded(RequestEnded<'a>),
    /// The guest paused, as a rule to try again.
    Paused {
        /// For how long.
        duration: Duration,
    },
    /// Its caller went away. It may go on for others who wait for what it brings.
    Abandoned,
    /// It ended. The only event of one to which an earlier answer stands.
    Ended(Ended<'a>),
}

/// The beginning of an acquisition.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Began<'a> {
    /// What the token is for.
    pub scopes: &'a [String],
    /// Whether the token is to be bound to a certificate.
    pub mtls_pop: bool,
    /// Whether the cache is to be passed over, by the caller's wish or for claims.
    pub forced: bool,
    /// Whether it renews a token that still stands, in the background.
    pub proactive: bool,
}

/// What a look into the cache was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CacheAnswer {
    /// A usable entry.
    Hit,
    /// None; the guest brings it.
    Absent,
    /// One that has expired; the guest brings another.
    Expired,
    /// The cache was passed over; the guest brings another.
    Bypassed,
    /// None, and who was to bring it failed.
    Failed,
    /// None, and none is to be brought.
    Miss,
}

impl CacheAnswer {
    /// The name in JSON and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Absent => "absent",
            Self::Expired => "expired",
            Self::Bypassed => "bypassed",
            Self::Failed => "failed",
            Self::Miss => "miss",
        }
    }
}

/// The credential that serves.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CredentialSelected<'a> {
    /// Its name in messages, such as `ClientCredentials[0] (Path)`. It is the first of the configured ones that can be used.
    pub name: &'a str,
    /// What it is: `certificate`, `client-secret` or `signed-assertion`.
    pub kind: &'static str,
    /// The `x5t#S256` of its certificate, where it has one.
    pub thumbprint_sha256: Option<&'a str>,
    /// Those before it that can't be used, with the reason.
    pub passed_over: &'a [EntryFailure],
    /// How long it took, with what had to be read or asked.
    pub duration: Duration,
}

/// That no credential can be used.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CredentialUnavailable<'a> {
    /// Why.
    pub error: &'a CredentialError,
    /// How long it took to find out.
    pub duration: Duration,
}

/// The end of a request.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RequestEnded<'a> {
    /// The request, as it was sent.
    pub request: &'a RecordedRequest,
    /// The answer's status, or why there is none.
    pub outcome: Result<u16, &'a TransportError>,
    /// How many bytes the answer's body has; nothing where it wasn't read as a whole.
    pub body_bytes: Option<usize>,
    /// How long it took, connection included.
    pub duration: Duration,
}

/// The end of an acquisition.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Ended<'a> {
    /// How it ended.
    pub outcome: Outcome<'a>,
    /// Whether an earlier answer to the same request stood, so that the guest wasn't asked.
    pub reused: bool,
    /// How long it took.
    pub duration: Duration,
}

/// How an acquisition ended.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Outcome<'a> {
    /// There is a token.
    Token(RecordedToken<'a>),
    /// There is none.
    Failed(RecordedFailure<'a>),
}

impl<'a> Outcome<'a> {
    pub(crate) fn of(result: &'a Result<AuthenticationResult, Error>) -> Self {
        match result {
            Ok(result) => Self::Token(RecordedToken(result)),
            Err(error) => Self::Failed(RecordedFailure(error)),
        }
    }
}

/// What is known of a token, without the token.
#[derive(Clone, Copy, Debug)]
pub struct RecordedToken<'a>(pub(crate) &'a AuthenticationResult);

impl<'a> RecordedToken<'a> {
    /// Where it came from.
    pub fn source(&self) -> TokenSource {
        self.0.metadata().token_source
    }

    /// Why the cache didn't serve.
    pub fn cache_refresh_reason(&self) -> CacheRefreshReason {
        self.0.metadata().cache_refresh_reason
    }

    /// The scheme of the `Authorization` header: `Bearer` or `mtls_pop`.
    pub fn token_type(&self) -> &'a str {
        self.0.token_type()
    }

    /// When it expires, in seconds since 1970-01-01T00:00:00Z.
    pub fn expires_on_unix(&self) -> u64 {
        self.0.expires_on_unix()
    }

    /// What it is for, as the authority said, else as asked.
    pub fn scopes(&self) -> impl Iterator<Item = &'a str> {
        self.0.scopes()
    }

    /// The directory that issued it.
    pub fn tenant_id(&self) -> Option<&'a str> {
        self.0.tenant_id()
    }

    /// The endpoint that issued it; nothing from the cache.
    pub fn token_endpoint(&self) -> Option<&'a str> {
        self.0.metadata().token_endpoint.as_deref()
    }

    /// The region whose endpoint was used.
    pub fn region_used(&self) -> Option<&'a str> {
        self.0.metadata().region_used.as_deref()
    }

    /// The `x5t#S256` of the certificate that it is bound to.
    pub fn bound_to(&self) -> Option<&'a str> {
        self.0.binding_certificate().map(|binding| binding.thumbprint_sha256())
    }
}

/// What is known of a failure, without what the authority says in its own words: that may repeat what it was sent.
#[derive(Clone, Copy)]
pub struct RecordedFailure<'a>(pub(crate) &'a Error);

impl<'a> RecordedFailure<'a> {
    /// What the caller does about it: an [`ErrorKind`](crate::ErrorKind)'s name, else that of the error, such as
    /// `guest-stopped`.
    pub fn kind(&self) -> &'static str {
        match self.0 {
            Error::Acquisition(error) => error.kind.as_str(),
            Error::Configuration(_) | Error::Transport(_) | Error::Credential(_) => "invalid-configuration",
            Error::Downstream(_) => "downstream-failed",
            Error::Guest(_) => "guest-stopped",
            Error::InFlightLimit { .. } => "in-flight-limit",
            Error::ApplicationInFlightLimit { .. } => "application-in-flight-limit",
            Error::DeadlineExceeded { .. } => "deadline-exceeded",
            Error::Engine(_) => "engine-failed",
        }
    }

    /// A stable code, such as `invalid_grant`.
    pub fn code(&self) -> &'a str {
        self.0.code()
    }

    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        self.0.is_retryable()
    }

    /// How long to wait before that, where somebody said.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after()
    }

    /// The numbers of the authority's `AADSTS…` codes.
    pub fn aadsts_codes(&self) -> &'a [u32] {
        self.0.aadsts_codes()
    }

    /// The authority's `suberror`.
    pub fn suberror(&self) -> Option<&'a str> {
        self.0.acquisition()?.suberror.as_deref()
    }

    /// The status of the authority's answer.
    pub fn status(&self) -> Option<u16> {
        self.0.acquisition()?.status
    }

    /// The authority's trace id.
    pub fn trace_id(&self) -> Option<&'a str> {
        self.0.acquisition()?.trace_id.as_deref()
    }

    /// What the transport saw, where no complete answer arrived.
    pub fn transport(&self) -> Option<&'a TransportError> {
        self.0.acquisition()?.transport.as_deref()
    }
}

impl std::fmt::Debug for RecordedFailure<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordedFailure").field("kind", &self.kind()).field("code", &self.code()).finish()
    }
}
