//! The application's token for the API.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::Failure;
use crate::bindings::symbolon::concurrent::acquisition;
use crate::bindings::symbolon::token::acquisition::{ClientFlow, Flow, Options, Request, Scheme};
use crate::bindings::symbolon::token::types::{self, Error, ErrorKind};

/// A token.
pub(crate) struct Token {
    /// The value of the header `authorization`.
    pub(crate) authorization: Vec<u8>,
}

impl Token {
    /// Acquires the token, with the claims of a challenge where there was one.
    pub(crate) async fn acquire(scopes: &[String], claims: Option<String>) -> Result<Self, Failure> {
        let flow =
            Flow::ForClient(ClientFlow { fmi_path: None, attributes: None, attribute_tokens: Vec::new() });
        let (scheme, options) = (Scheme::Bearer, claims.map(with_claims));
        let request = Request { flow, scopes: scopes.into(), scheme, options };
        // The host knows which application this guest acts as.
        let token = acquisition::acquire(request, None).await.map_err(|error| refused(&error))?;
        match token.token {
            types::Token::Raw(secret) => {
                Ok(Self { authorization: format!("{} {secret}", token.token_type).into_bytes() })
            }
            types::Token::Sealed(_) => Err(Failure::refused(500, "sealed_token")),
        }
    }
}

/// The code says enough to whoever looks for it; the message is for the host's own people, and isn't shown.
fn refused(error: &Error) -> Failure {
    let status = match error.kind {
        ErrorKind::Throttled | ErrorKind::TemporarilyUnavailable => 503,
        ErrorKind::TransportFailed => 504,
        ErrorKind::CredentialUnavailable | ErrorKind::CredentialUnsupported | ErrorKind::InvalidRequest => {
            500
        }
        _ => 502,
    };
    let retry_after_seconds = error.retry_after_ms.map(|ms| ms.div_ceil(1000));
    Failure::Refused { status, code: error.code.clone(), retry_after_seconds }
}

fn with_claims(claims: String) -> Options {
    Options {
        claims: Some(claims),
        authority: None,
        tenant_id: None,
        client_claims: None,
        force_refresh: false,
        access_token_sha256_to_refresh: None,
        pop_public_key: None,
        client_assertion_fmi_path: None,
        extra_client_assertion_claims: None,
        send_x5c: None,
        cache_partitions: Vec::new(),
        correlation_id: None,
        extra_query_parameters: Vec::new(),
        encoded_query_parameters: Vec::new(),
        extra_body_parameters: Vec::new(),
        extra_headers: Vec::new(),
    }
}
