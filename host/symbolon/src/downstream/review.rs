//! What an answer asks for, as the protocol sees it.

use http::{Response, StatusCode};
use symbolon_resources::configuration::ProtocolScheme;
use symbolon_resources::transport::{Body, TransportError};

use super::options::DownstreamApiOptions;
use crate::application::Application;
use crate::error::Result;

/// What is to be done about an answer.
#[expect(dead_code, reason = "the protocol does not judge answers yet")]
pub(super) enum Verdict {
    /// It is the answer.
    Accept,
    /// The same again with a token for these claims.
    Acquire(String),
    /// The certificate was rejected.
    Reselect,
}

pub(super) async fn review(
    _application: &Application,
    _options: &DownstreamApiOptions,
    _outcome: &Result<Response<Body>, TransportError>,
    _attempt: u32,
) -> Result<Verdict> {
    let _ = (StatusCode::OK, ProtocolScheme::Bearer);
    Ok(Verdict::Accept)
}
