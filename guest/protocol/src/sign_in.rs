//! The beginning of a sign-in, whose end is an authorization code.

use alloc::format;
use alloc::string::ToString;

use crate::authorization::{self, AuthorizationParameters, AuthorizationRequest};
use crate::cloud;
use crate::error::Error;
use crate::parameters::{present, query_parameters};
use crate::plan::{correlation_id, merged_claims, parse_authority};
use crate::request::{Context, SignIn};
use crate::scopes::Scopes;
use crate::target;

/// Begins a sign-in at the application's authority. Asks nobody.
///
/// # Errors
///
/// A request or a configuration that can't work as it is.
pub fn begin(sign_in: &SignIn, context: &Context) -> Result<AuthorizationRequest, Error> {
    let options = &sign_in.options;
    let correlation_id = correlation_id(options.correlation_id.as_deref(), context)?;
    let configured = parse_authority(&context.application)?;
    let authority = target::requested(&context.application, &configured, options)?;
    let environment = cloud::environment(&authority, None, false)
        .map_err(|error| Error::invalid_request("invalid_authority", error.to_string()))?;
    let endpoint =
        authority.with_host(&environment.network_host).authorization_endpoint().ok_or_else(|| {
            Error::invalid_request(
                "invalid_authority",
                format!("{} has no authorization endpoint of its own.", authority.canonical()),
            )
        })?;
    let claims = merged_claims(
        &context.application,
        present(options.claims.as_deref()),
        present(options.client_claims.as_deref()),
    )?;
    let parameters = AuthorizationParameters {
        client_id: &context.application.client_id,
        redirect_uri: &sign_in.redirect_uri,
        scopes: &Scopes::new(&sign_in.scopes),
        offline_access: sign_in.offline_access,
        login_hint: sign_in.login_hint.as_deref(),
        domain_hint: sign_in.domain_hint.as_deref(),
        prompt: sign_in.prompt.as_deref(),
        claims: claims.as_deref(),
        extra_query: &query_parameters(&options.extra_query_parameters)?,
        correlation_id: &correlation_id,
    };
    authorization::request(&endpoint, &parameters, &context.seed)
}
