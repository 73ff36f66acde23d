//! The authorization endpoint: whom `login_hint` names is signed in already.

use http::Method;
use url::{Url, form_urlencoded};

use crate::{
    AuthorizationCode, Registration,
    authorization_code::CodeChallenge,
    hosts::Cloud,
    refusal::{self, Refusal},
    request::Form,
    scopes::UserScopes,
    state::State,
    token::{self, Realm},
};

/// An authorization request (RFC 6749 section 4.1.1).
pub(crate) struct AuthorizationRequest<'a> {
    pub(crate) method: &'a Method,
    /// The tenant as the path names it.
    pub(crate) tenant: &'a str,
    pub(crate) cloud: &'a Cloud,
    pub(crate) query: &'a str,
}

/// Where to send the browser, with a code.
pub(crate) fn answer(state: &State, request: &AuthorizationRequest<'_>) -> Result<String, Refusal> {
    if *request.method != Method::GET {
        return Err(refusal::REQUEST_INVALID.because("The authorization endpoint accepts GET requests."));
    }
    let query = Form::of_query(request.query);
    if let Some(name) = query.repeated() {
        return Err(refusal::REQUEST_MALFORMED
            .because(format!("Invalid request. Request is malformed or invalid: '{name}' is repeated.")));
    }
    let realm = Realm::of(&state.directory, request.tenant)?;
    let application = token::application(&state.directory, query.require("client_id")?, realm.known())?;
    let target = redirect_uri(&query, &application)?;
    match query.require("response_type")? {
        "code" => {}
        other => {
            return Err(refusal::RESPONSE_TYPE_UNSUPPORTED
                .because(format!("response_type '{other}' is not enabled for the application.")));
        }
    }
    let in_fragment = in_fragment(&query)?;
    let scope = query.require("scope")?;
    UserScopes::parse(scope, &application, &state.directory, request.cloud)?;
    let challenge = query.get("code_challenge");
    let challenge =
        challenge.map(|text| CodeChallenge::of(text, query.get("code_challenge_method"))).transpose()?;
    let account = state.directory.user(query.require("login_hint")?).ok_or_else(|| {
        refusal::USER_NOT_FOUND.because(format!(
            "The user account {{EmailHidden}} does not exist in the {} directory.",
            request.tenant
        ))
    })?;
    let code = AuthorizationCode {
        client_id: application.client_id.clone(),
        user: account.user.object_id.clone(),
        redirect_uri: query.require("redirect_uri")?.to_owned(),
        scope: scope.to_owned(),
        nonce: query.get("nonce").map(str::to_owned),
        challenge,
        browser: false,
    };
    let code = state.codes.issue(code, state.clock.now_unix());
    Ok(location(target, &code, query.get("state"), in_fragment))
}

/// The redirect URI, which must be registered to the letter.
fn redirect_uri(query: &Form, application: &Registration) -> Result<Url, Refusal> {
    let text = query.require("redirect_uri")?;
    let is_registered = application.redirect_uris.iter().any(|own| own == text);
    Url::parse(text).ok().filter(|_| is_registered).ok_or_else(|| {
        refusal::REPLY_ADDRESS_UNKNOWN.because(format!(
            "The redirect URI '{text}' specified in the request does not match the redirect URIs configured for the \
             application '{}'. Make sure the redirect URI sent in the request matches one added to your application \
             in the Azure portal.",
            application.client_id
        ))
    })
}

/// Whether the code goes into the fragment of the URL instead of its query.
fn in_fragment(query: &Form) -> Result<bool, Refusal> {
    match query.get("response_mode").unwrap_or("query") {
        "query" => Ok(false),
        "fragment" => Ok(true),
        other => Err(refusal::REQUEST_INVALID
            .because(format!("The value '{other}' of 'response_mode' is not supported."))),
    }
}

fn location(mut target: Url, code: &str, state: Option<&str>, in_fragment: bool) -> String {
    let parameters = [("code", Some(code)), ("state", state)];
    let given = parameters.into_iter().filter_map(|(name, value)| Some((name, value?)));
    if in_fragment {
        let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
        target.set_fragment(Some(&text));
    } else {
        target.query_pairs_mut().extend_pairs(given);
    }
    target.into()
}

/// The page that a refused request ends at.
pub(crate) fn page(refusal: &Refusal) -> String {
    let text = format!("AADSTS{}: {}", refusal.code, refusal.message);
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    format!(
        "<!DOCTYPE html><title>Sign in</title><p>Sorry, but we’re having trouble signing you in.</p><p>{text}</p>\n"
    )
}
