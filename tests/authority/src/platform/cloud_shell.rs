//! Cloud Shell's endpoint.

use http::{Method, header};
use serde_json::{Value, json};

use super::{
    exchange::{Reply, Request},
    machine::Machine,
};
use crate::request::Form;

pub(super) const PATH: &str = "/oauth2/token";

pub(super) fn answer(machine: &Machine, request: &Request<'_>) -> Result<Value, Reply> {
    let invalid = |message: &str| refused(400, "BadRequest", message);
    if request.path != PATH {
        return Err(refused(404, "NotFound", "The requested resource was not found."));
    }
    if request.method != Method::POST {
        return Err(refused(405, "MethodNotAllowed", "The method is not allowed."));
    }
    if !request.has_metadata_header() {
        return Err(invalid("The header Metadata is missing."));
    }
    if !is_form(request) {
        return Err(invalid("The body is not a form."));
    }
    let form = Form::of_body(request.body);
    if form.repeated().is_some() {
        return Err(invalid("A parameter is repeated."));
    }
    let resource = form.get("resource").ok_or_else(|| invalid("The parameter resource is missing."))?;
    if form.iter().any(|(name, _)| name != "resource") {
        return Err(invalid("User-assigned managed identities are not supported."));
    }
    let identity = machine.system().ok_or_else(|| invalid("No managed identity."))?;
    let issued = machine.issue(identity, resource, &[], request.now_unix).map_err(|_| {
        let message = format!("Audience {resource} is not a supported MSI token audience.");
        refused(400, "AudienceNotSupported", &message)
    })?;
    Ok(issued.as_texts(&[
        "access_token",
        "expires_in",
        "expires_on",
        "not_before",
        "refresh_token",
        "resource",
        "token_type",
    ]))
}

/// Today's libraries say it in a header of their own, `ContentType`, with or without the real one.
fn is_form(request: &Request<'_>) -> bool {
    let value = request.header(header::CONTENT_TYPE.as_str()).or_else(|| request.header("contenttype"));
    let essence = value.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

pub(super) fn refused(status: u16, code: &str, message: &str) -> Reply {
    Reply::refused(status, code, &json!({ "error": { "code": code, "message": message } }))
}
