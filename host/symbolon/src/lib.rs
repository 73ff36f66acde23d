//! Microsoft Entra ID tokens for confidential clients, acquired in a WebAssembly sandbox that can name a credential and
//! never hold one.
//!
//! ```no_run
//! # async fn example() -> symbolon::Result<()> {
//! use symbolon::{ApplicationOptions, Symbolon};
//!
//! let symbolon = Symbolon::builder().build()?;
//! let application = symbolon.application(ApplicationOptions::from_file("appsettings.json")?)?;
//! let token = application.acquire_token_for_client(["https://graph.microsoft.com/.default"]).await?;
//! println!("a {} token until {}", token.token_type(), token.expires_on_unix());
//! # Ok(())
//! # }
//! ```
//!
//! The protocol runs in the sandbox: a fresh instance of the shipped component for each acquisition, with a budget of its
//! own. This crate holds everything with authority or lifetime: sockets, certificates, private keys, secrets, the cache.
//!
//! Every future of this crate wants to run inside a tokio runtime with its I/O and time drivers enabled.

mod acquire;
mod acquirer;
mod agent;
mod application;
mod authorization;
mod builder;
mod component;
mod downstream;
mod engine;
mod error;
mod hooks;
pub mod linker;
mod managed_identity;
mod nested;
mod provider;
mod recorder;
mod result;
mod session_key;

pub use acquire::{
    AcquireInLongRunningProcess, Acquisition, AssertionKind, ByAuthorizationCode, ByRefreshToken,
    ByUserFederatedIdentityCredential, ByUsernamePassword, ForAgent, ForClient, ForManagedIdentity,
    InitiateLongRunningProcess, OnBehalfOf, RequestOptions, Silent, TokenRequest, UserAssertion,
};
pub use acquirer::{AcquireTokenOptions, TokenAcquirer};
pub use agent::{AgentIdentity, User};
pub use application::Application;
pub use authorization::{AuthorizationRequest, AuthorizationRequestBuilder};
pub use builder::{Builder, EngineStatistics, Symbolon};
pub use component::Component;
pub use downstream::{
    AuthorizationHeader, DownstreamApi, DownstreamApiOptions, DownstreamError, DownstreamErrorKind,
    DownstreamRequest, DownstreamResponse, MessageHandler, NotRetried, Presented, is_reserved_header,
};
pub use error::{AcquisitionError, Error, ErrorKind, GuestFailure, Result};
pub use hooks::{
    AcquisitionForApp, AcquisitionForTestUser, AcquisitionOnBehalfOf, BackgroundRefresh,
    OnBehalfOfInitialized, TokenAcquisitionHooks, TokenRequestAttempt,
};
pub use managed_identity::ManagedIdentityId;
pub use recorder::{
    Began, CacheAnswer, CredentialSelected, CredentialUnavailable, Ended, Event, Outcome, Recorded,
    RecordedFailure, RecordedRequest, RecordedToken, RecordedValue, Recorder, RequestEnded,
};
pub use result::{
    Account, AuthenticationResult, AuthenticationResultMetadata, CacheRefreshReason, TokenSource,
};
pub use session_key::{SessionKey, SessionKeyPlace};
pub use symbolon_resources::cache::msal::LifetimeOptions;
pub use symbolon_resources::cache::{ApplicationId, CacheLimits, CacheStatistics};
pub use symbolon_resources::clock::{Clock, ManualClock, SystemClock};
pub use symbolon_resources::configuration::{
    ApplicationOptions, AuthorityType, BoundFlow, ConfigurationError, DownstreamApiLimits, ProtocolScheme,
    Settings,
};
pub use symbolon_resources::credentials::{
    AssertionBinding, AssertionContext, AssertionRequest, Binding, BoxFuture, CertificateAction,
    CertificateEvent, CertificateExpiry, CertificateObserver, CertificatePassword, ComponentError,
    ComponentFinding, CredentialComponent, CredentialError, CredentialReport, CredentialStatistics,
    DeselectionReason, EntryFailure, EntryName, SignedAssertion, SignedAssertionProvider,
};
pub use symbolon_resources::platform::{ArcAgent, AttestationError, AttestationProvider, AttestationRequest};
pub use symbolon_resources::second_level::{
    KeyRing, MsalOptions, RedisOptions, RedisTopology, Sealing, SecondLevelStatistics, TokenCacheOptions,
    TokenCacheStore,
};
pub use symbolon_resources::transport::{
    Body as ResponseBody, RequestBody, TransportError, TransportErrorKind, TransportStatistics,
};
