//! App Service's endpoint.

use http::Method;
use serde_json::{Value, json};

use super::{
    exchange::{Reply, Request},
    identity::Name,
    machine::{Machine, NotFound, same_secret},
};

pub(super) const PATH: &str = "/msi/token";
const VERSION: &str = "2019-08-01";

pub(super) fn answer(machine: &Machine, request: &Request<'_>) -> Result<Value, Reply> {
    let refused = |status, message: &str| refused(status, message, request.correlation_id);
    if request.path != PATH {
        return Err(refused(404, "Not found."));
    }
    if request.method != Method::GET {
        return Err(refused(405, "Method not allowed."));
    }
    if !same_secret(&machine.secrets.app_service, request.header("x-identity-header")) {
        return Err(refused(401, "The header X-IDENTITY-HEADER is missing or wrong."));
    }
    if let Some(name) = request.query.repeated() {
        return Err(refused(400, &format!("The parameter {name} is repeated.")));
    }
    if request.query.get("api-version") != Some(VERSION) {
        return Err(refused(400, "The api-version is missing or not supported."));
    }
    let resource =
        request.query.get("resource").ok_or_else(|| refused(400, "The parameter resource is missing."))?;
    let names = [
        ("client_id", Name::Client),
        ("mi_res_id", Name::Resource),
        ("object_id", Name::Object),
        ("principal_id", Name::Object),
    ];
    let identity = if names.iter().any(|(name, _)| request.query.get(name).is_some()) {
        machine.select(&request.query, &names).map_err(|not_found| match not_found {
            NotFound::NamedTwice => "Only one of ClientId, ResourceId and PrincipalId can be specified.",
            _ => {
                "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId."
            }
        })
    } else {
        // Here a user-assigned identity must be named, even if it is the only one.
        machine.system().ok_or("No Managed Identity found for specified ClientId/ResourceId/PrincipalId.")
    };
    let identity = identity.map_err(|message| refused(400, message))?;
    let issued = machine.issue(identity, resource, &[], request.now_unix);
    let issued =
        issued.map_err(|_| refused(500, "An unexpected error occured while fetching the AAD Token."))?;
    Ok(issued.as_texts(&["access_token", "client_id", "expires_on", "resource", "token_type"]))
}

pub(super) fn refused(status: u16, message: &str, correlation_id: &str) -> Reply {
    let body = json!({ "statusCode": status, "message": message, "correlationId": correlation_id });
    Reply::refused(status, "managed_identity", &body)
}
