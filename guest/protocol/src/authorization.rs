//! The beginning of a sign-in: the URL that a browser is sent to for an authorization code (RFC 6749 §4.1.1), with PKCE
//! (RFC 7636).

use alloc::string::String;
use core::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::form::Form;
use crate::random::{self, Purpose};
use crate::scopes::Scopes;

/// What a sign-in is for. A text that is absent or blank asks for nothing.
#[derive(Clone, Copy)]
pub struct AuthorizationParameters<'a> {
    /// The application (client) id.
    pub client_id: &'a str,
    /// Where the code goes; registered with the authority.
    pub redirect_uri: &'a str,
    /// What the token shall be for. The reserved scopes are added.
    pub scopes: &'a Scopes,
    /// Ask for a refresh token (`offline_access`).
    pub offline_access: bool,
    /// Whom to suggest.
    pub login_hint: Option<&'a str>,
    /// Which directory's sign-in page to go to at once.
    pub domain_hint: Option<&'a str>,
    /// `login`, `select_account`, `consent`, `none`.
    pub prompt: Option<&'a str>,
    /// The `claims` parameter, JSON: capabilities and the claims of a challenge.
    pub claims: Option<&'a str>,
    /// Further parameters, such as `response_mode`.
    pub extra_query: &'a [(String, String)],
    /// A GUID that goes to the authority as `client-request-id`.
    pub correlation_id: &'a str,
}

/// The beginning of a sign-in. Everything but the URL stays with the application, for the end of it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthorizationRequest {
    /// Where the browser goes.
    pub url: String,
    /// What the code is redeemed with: `code_verifier` of the token request.
    pub code_verifier: String,
    /// What the redirect must bring back as `state`.
    pub state: String,
    /// What the id token must hold as `nonce`.
    pub nonce: String,
}

impl fmt::Debug for AuthorizationRequest {
    /// Shows the endpoint only: who knows the rest can pass another sign-in off as this one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.url.split('?').next().unwrap_or_default();
        f.debug_struct("AuthorizationRequest").field("endpoint", &endpoint).finish_non_exhaustive()
    }
}

/// Begins a sign-in at an authorization endpoint. Verifier, state and nonce are drawn from the seed.
///
/// # Errors
///
/// `no_redirect_uri` where that is blank; `duplicate_query_parameter` for a further parameter that is set already.
pub fn request(
    endpoint: &str,
    parameters: &AuthorizationParameters<'_>,
    seed: &[u64; 4],
) -> Result<AuthorizationRequest, Error> {
    if parameters.redirect_uri.trim().is_empty() {
        return Err(Error::invalid_request(
            "no_redirect_uri",
            "A sign-in needs a redirect URI, one that is registered with the authority.",
        ));
    }
    // 96 bytes are the 128 characters that a verifier may have at most.
    let code_verifier = URL_SAFE_NO_PAD.encode(random::bytes::<96>(seed, Purpose::CodeVerifier));
    let state = URL_SAFE_NO_PAD.encode(random::bytes::<32>(seed, Purpose::State));
    let nonce = URL_SAFE_NO_PAD.encode(random::bytes::<32>(seed, Purpose::Nonce));
    let mut query = Form::new();
    query.set("scope", &parameters.scopes.with_reserved_sorted_but(parameters.offline_access));
    query.set("response_type", "code");
    query.set("client_id", parameters.client_id);
    query.set("redirect_uri", parameters.redirect_uri);
    query.set_some("claims", parameters.claims);
    query.set_some("login_hint", parameters.login_hint);
    query.set_some("domain_hint", parameters.domain_hint);
    query.set("client-request-id", parameters.correlation_id);
    query.set_some("prompt", parameters.prompt);
    query.set("code_challenge", &code_challenge(&code_verifier));
    query.set("code_challenge_method", "S256");
    query.set("state", &state);
    query.set("nonce", &nonce);
    set_extra(&mut query, parameters.extra_query)?;
    // The endpoint of an OpenID Connect provider may have a query of its own (RFC 6749 §3.1).
    let separator = if endpoint.contains('?') { "&" } else { "?" };
    let url = [endpoint, separator, &query.encode()].concat();
    Ok(AuthorizationRequest { url, code_verifier, state, nonce })
}

/// The challenge of a verifier, by the method `S256` (RFC 7636 §4.2).
pub fn code_challenge(code_verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(code_verifier))
}

fn set_extra(query: &mut Form, extra: &[(String, String)]) -> Result<(), Error> {
    for (name, value) in extra {
        if query.names().any(|set| set.eq_ignore_ascii_case(name)) {
            return Err(Error::invalid_request(
                "duplicate_query_parameter",
                alloc::format!("The extra query parameter {name:?} is set already; leave it out."),
            ));
        }
        query.set(name, value);
    }
    Ok(())
}
