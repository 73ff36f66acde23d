//! The endpoint of a compute instance of Machine Learning.

use http::{Method, header};
use serde_json::{Value, json};

use super::{
    exchange::{Reply, Request},
    identity::Name,
    machine::{Machine, same_secret},
};

pub(super) const PATH: &str = "/msi/token";
const VERSION: &str = "2017-09-01";

pub(super) fn answer(machine: &Machine, request: &Request<'_>) -> Result<Value, Reply> {
    let refused = |status, message: &str| refused(status, message, request.correlation_id);
    if request.path != PATH {
        return Err(refused(404, "Not found."));
    }
    if request.method != Method::GET {
        return Err(refused(405, "Method not allowed."));
    }
    if !same_secret(&machine.secrets.machine_learning, request.header("secret")) {
        // The only refusal that is no JSON.
        let reply = refused(401, "");
        let text = "Invalid secret token header.".to_owned();
        return Err(Reply { body: text, ..reply }.header(header::CONTENT_TYPE, "text/plain".to_owned()));
    }
    if let Some(name) = request.query.repeated() {
        return Err(refused(400, &format!("The parameter {name} is repeated.")));
    }
    if request.query.get("api-version") != Some(VERSION) {
        return Err(refused(400, "The api-version is missing or not supported."));
    }
    let resource =
        request.query.get("resource").ok_or_else(|| refused(400, "The parameter resource is missing."))?;
    let identity = machine
        .select(&request.query, &[("clientid", Name::Client)])
        .map_err(|_| refused(400, "No MSI found for specified ClientId/ResourceId."))?;
    let issued = machine.issue(identity, resource, &[], request.now_unix);
    let issued =
        issued.map_err(|_| refused(500, "An unexpected error occured while fetching the AAD Token."))?;
    Ok(issued.as_texts(&["access_token", "client_id", "expires_on", "resource", "token_type"]))
}

pub(super) fn refused(status: u16, message: &str, correlation_id: &str) -> Reply {
    let body = json!({ "StatusCode": status, "Message": message, "CorrelationId": correlation_id });
    Reply::refused(status, "managed_identity", &body)
}
