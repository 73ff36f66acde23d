//! Service Fabric's endpoint, whose certificate is known by its thumbprint only.

use http::Method;
use serde_json::{Value, json};

use super::{
    exchange::{Reply, Request},
    identity::Name,
    machine::{Machine, same_secret},
};

pub(super) const PATH: &str = "/metadata/identity/oauth2/token";
const VERSION: &str = "2020-05-01";

pub(super) fn answer(machine: &Machine, request: &Request<'_>) -> Result<Value, Reply> {
    let refused = |status, code: &str, message: &str| refused(status, code, message, request.correlation_id);
    if request.path != PATH {
        return Err(refused(404, "NotFound", "The requested resource was not found."));
    }
    if request.method != Method::GET {
        return Err(refused(405, "MethodNotAllowed", "The method is not allowed."));
    }
    let secret = request.header("secret");
    if secret.is_none() {
        return Err(refused(400, "SecretHeaderNotFound", "Secret is not found in the request headers."));
    }
    let unknown = || {
        let message = "Managed identity not found for the specified application host.";
        refused(404, "ManagedIdentityNotFound", message)
    };
    if !same_secret(&machine.secrets.service_fabric, secret) {
        return Err(unknown());
    }
    if let Some(name) = request.query.repeated() {
        return Err(refused(400, "InvalidArgument", &format!("The parameter '{name}' is repeated.")));
    }
    let version = request.query.get("api-version").unwrap_or_default();
    if version != VERSION {
        let message =
            format!("The api-version '{version}' is not supported. Supported version is '{VERSION}'.");
        return Err(refused(400, "InvalidApiVersion", &message));
    }
    let Some(resource) = request.query.get("resource") else {
        let message = "The parameter 'resource' should not be null or empty string.";
        return Err(refused(400, "ArgumentNullOrEmpty", message));
    };
    let identity = machine.select(&request.query, &[("principalId", Name::Object)]).map_err(|_| unknown())?;
    let capabilities: Vec<_> =
        request.query.get("xms_cc").into_iter().flat_map(|list| list.split(',')).collect();
    let replace = request.query.get("token_sha256_to_refresh");
    let issued = machine.issue_kept(identity, resource, &capabilities, replace, request.now_unix);
    let issued = issued.map_err(|_| refused(500, "InternalServerError", "An error occurred."))?;
    Ok(json!({
        "access_token": issued.token,
        "expires_on": issued.expires_unix,
        "resource": issued.resource,
        "token_type": "Bearer",
    }))
}

pub(super) fn refused(status: u16, code: &str, message: &str, correlation_id: &str) -> Reply {
    let body = json!({ "error": { "correlationId": correlation_id, "code": code, "message": message } });
    Reply::refused(status, code, &body)
}
