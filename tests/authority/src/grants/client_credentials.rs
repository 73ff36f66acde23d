//! `client_credentials`: a token for the application itself.

use serde_json::{Value, json};

use crate::{
    issue::{self, Subject, Token},
    platform,
    refusal::{self, Refusal},
    scopes,
    token::Call,
};

pub(crate) fn answer(call: &Call<'_>) -> Result<Value, Refusal> {
    let (state, application) = (call.state, &*call.application);
    let tenant = call.realm.tenant()?;
    let target = scopes::of_application(call.form().require("scope")?, &state.directory, call.request.cloud)?;
    let object_id = platform::object_id(application, tenant);
    let subject = match fmi_path(call)? {
        Some(path) => issue::fmi_subject(&tenant.id, &application.client_id, path),
        None => object_id.clone(),
    };
    let token = Token {
        tenant,
        cloud: call.request.cloud,
        client_id: &application.client_id,
        strength: call.client.strength,
        blueprint: application.blueprint.as_deref(),
        target: &target,
        subject: Subject::Application {
            object_id,
            subject,
            roles: issue::roles(application, &target)?,
            attributes: attributes(call)?,
        },
        scheme: &call.scheme,
        requested: &call.requested,
        lifetime: application.token_lifetime.as_secs(),
        now_unix: call.now_unix,
    };
    Ok(issue::answer(&token, application, &state.key))
}

fn fmi_path<'a>(call: &Call<'a>) -> Result<Option<&'a str>, Refusal> {
    let Some(path) = call.form().get("fmi_path") else { return Ok(None) };
    if call.application.fmi_paths.as_ref().is_some_and(|paths| !paths.iter().any(|own| own == path)) {
        return Err(refusal::REQUEST_INVALID.because(format!(
            "The value '{path}' of 'fmi_path' is not allowed for the application '{}'.",
            call.application.client_id
        )));
    }
    Ok(Some(path))
}

fn attributes(call: &Call<'_>) -> Result<Vec<(&'static str, Value)>, Refusal> {
    let mut attributes = Vec::new();
    for name in ["attributes", "attribute_tokens"] {
        let Some(text) = call.form().get(name) else { continue };
        if !call.application.attributes {
            return Err(refusal::REQUEST_INVALID.because(format!(
                "The parameter '{name}' is not allowed for the application '{}'.",
                call.application.client_id
            )));
        }
        attributes.push((name, serde_json::from_str(text).unwrap_or_else(|_| json!(text))));
    }
    if let Some(resource_id) = call.application.managed.as_ref().and_then(|own| own.resource_id.as_ref()) {
        attributes.push(("xms_mirid", json!(resource_id)));
    }
    Ok(attributes)
}
