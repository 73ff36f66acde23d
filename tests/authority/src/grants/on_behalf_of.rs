//! On behalf of: a token for the user (or application) of the token that a web API was called with (RFC 7523 section
//! 2.1, with Entra ID's `requested_token_use`).

use serde_json::Value;

use super::{Granted, saml, user};
use crate::{
    Registration, flow,
    incoming::{self, Incoming},
    issue::{self, Subject, Token},
    refusal::{self, Refusal},
    scopes,
    token::{Call, tenant},
};

pub(crate) fn answer(call: &Call<'_>) -> Result<Value, Refusal> {
    let form = call.form();
    let text = form.require("assertion")?;
    match form.require("requested_token_use")? {
        "on_behalf_of" => {}
        other => {
            return Err(refusal::REQUEST_INVALID
                .because(format!("The value '{other}' of 'requested_token_use' is not supported.")));
        }
    }
    let scope = form.require("scope")?;
    if form.get("grant_type") != Some(flow::JWT_BEARER) {
        let name = saml::verify(text, call)?;
        return super::answer(call, Granted::new(user(call, &name)?, scope));
    }
    let incoming = Incoming::verify(text, call.state.key.certificate())?;
    check_audience(&incoming.audience, call)?;
    incoming.check_time(call.now_unix)?;
    match incoming.kind {
        incoming::Kind::User => super::answer(call, Granted::new(user(call, &incoming.object_id)?, scope)),
        incoming::Kind::Application => of_application(call, &incoming, scope),
    }
}

/// The incoming token must be for the client, or for the blueprint of an agent.
pub(super) fn check_audience(audience: &str, call: &Call<'_>) -> Result<(), Refusal> {
    let own = &call.application;
    let blueprint = own.blueprint.as_deref().and_then(|id| call.state.directory.application(id));
    let is_for = |app: &Registration| app.is_audience(audience);
    if is_for(own) || blueprint.is_some_and(|blueprint| is_for(&blueprint)) {
        return Ok(());
    }
    Err(refusal::USER_ASSERTION_AUDIENCE.because(format!(
        "Assertion audience does not match the Client app presenting the assertion. The audience in the assertion was \
         '{audience}' and the expected audience is '{0}' or one of the Application Uris of this application with App \
         ID '{0}'({1}).",
        own.client_id, own.name
    )))
}

/// On behalf of a service principal: no user, so that the answer is that of an application's token.
fn of_application(call: &Call<'_>, incoming: &Incoming, scope: &str) -> Result<Value, Refusal> {
    let application = &*call.application;
    let target = scopes::of_application(scope, &call.state.directory, call.request.cloud)?;
    let token = Token {
        tenant: tenant(&call.state.directory, call.realm.known().map_or(&*incoming.tenant, |one| &one.id))?,
        cloud: call.request.cloud,
        client_id: &application.client_id,
        strength: call.client.strength,
        blueprint: application.blueprint.as_deref(),
        target: &target,
        subject: Subject::Application {
            object_id: incoming.object_id.clone(),
            subject: incoming.object_id.clone(),
            roles: issue::roles(application, &target)?,
            attributes: Vec::new(),
        },
        scheme: &call.scheme,
        requested: &call.requested,
        lifetime: application.token_lifetime.as_secs(),
        now_unix: call.now_unix,
    };
    Ok(issue::answer(&token, application, &call.state.key))
}
