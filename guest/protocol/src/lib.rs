//! The protocol core of Symbolon.
//!
//! Everything that makes a token request a token request is decided here: which endpoint and host, which parameters in
//! which order, how the client proves itself, what is cached under which keys, what an answer means and what to do about
//! it. Nothing is done here: the core has no sockets, no clock, no randomness, no keys and no memory beyond one
//! acquisition. [`acquisition::Acquisition`] says what it needs as [`acquisition::Action`]s and is told what became of
//! them as [`acquisition::Event`]s; the same inputs give the same bytes.
//!
//! | modules | what they decide |
//! |---|---|
//! | [`acquisition`], [`retry`], [`throttle`] | what happens next |
//! | [`request`], [`error`] | what is asked, what comes back |
//! | [`authority`], [`cloud`], [`instance`], [`provider`], [`region`], [`platform`] | where requests go |
//! | [`token_request`], [`form`], [`scopes`], [`claims`], [`telemetry`], [`url`] | what they say |
//! | [`sign_in`], [`authorization`], [`user`], [`pop`] | whom they speak for, what tokens are bound to |
//! | [`credential`], [`assertion`] | how the client proves itself |
//! | [`response`], [`identity`], [`challenge`] | what answers mean |
//! | [`cache`], [`accounts`] | what is kept, and under which keys |
//! | [`random`] | what is drawn from the seed |
//!
//! ```
//! use symbolon_protocol::acquisition::{Absence, Acquisition, Action, Event, Found};
//! use symbolon_protocol::credential::{BoundUse, CredentialKind, Description};
//! use symbolon_protocol::request::{Application, ClientFlow, Context, Flow, Options, Request, Scheme};
//! use symbolon_protocol::response::HttpResponse;
//!
//! let context = Context {
//!     application: Application {
//!         client_id: "6731de76-14a6-49ae-97bc-6eba6914391e".into(),
//!         authority: "https://login.microsoftonline.com/contoso.com".into(),
//!         ..Application::default()
//!     },
//!     now: 1_700_000_000_000,
//!     deadline: 1_700_000_030_000,
//!     seed: [1, 2, 3, 4],
//!     proactive_refresh: false,
//! };
//! let request = Request {
//!     flow: Flow::ForClient(ClientFlow::default()),
//!     scopes: vec!["https://graph.microsoft.com/.default".into()],
//!     scheme: Scheme::Bearer,
//!     options: Options::default(),
//! };
//! let (mut acquisition, mut action) = Acquisition::start(request, &context)?;
//! let token = loop {
//!     action = acquisition.handle(match action {
//!         Action::Find(_) => Event::Found(Found::Lead { absence: Absence::Absent, now: context.now }),
//!         Action::Select(_) => Event::Selected(Ok(Description {
//!             name: "ClientCredentials[0]".into(),
//!             kind: CredentialKind::ClientSecret,
//!             use_bound: BoundUse::Unspecified,
//!             omit_assertion_when_bound: false,
//!             certificate: None,
//!         })),
//!         Action::Send(request) => {
//!             assert_eq!(request.authority, "login.microsoftonline.com");
//!             assert_eq!(request.path_with_query, "/contoso.com/oauth2/v2.0/token");
//!             let body = br#"{"token_type":"Bearer","expires_in":3599,"access_token":"eyJ0"}"#.to_vec();
//!             Event::Answered(Ok(HttpResponse { status: 200, retry_after: None, challenge: None, date: None, server: None, body }))
//!         }
//!         Action::Recall(_) => Event::Recalled(None),
//!         Action::Report(_) => Event::Reported,
//!         Action::Put(_) => Event::Stored,
//!         Action::Finish(result) => break result?,
//!         other => unreachable!("{other:?}"),
//!     });
//! };
//! assert_eq!(token.token, "eyJ0");
//! # Ok::<(), symbolon_protocol::error::Error>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![allow(
    clippy::result_large_err,
    reason = "an acquisition ends at its first error; boxing it would burden its readers"
)]

extern crate alloc;

pub mod accounts;
pub mod acquisition;
pub mod assertion;
pub mod authority;
pub mod authorization;
pub mod cache;
pub mod challenge;
pub mod claims;
pub mod cloud;
pub mod credential;
pub mod error;
mod flow;
pub mod form;
mod grant;
pub mod identity;
pub mod instance;
mod json;
mod kept;
mod leg;
mod managed_identity;
mod parameters;
mod plan;
pub mod platform;
pub mod pop;
pub mod provider;
pub mod random;
pub mod region;
pub mod request;
pub mod response;
pub mod retry;
pub mod scopes;
pub mod sign_in;
mod target;
pub mod telemetry;
pub mod throttle;
pub mod token_request;
pub mod url;
pub mod user;
