//! The instance metadata service of virtual machines: tokens, and what the machine is.

use http::Method;
use serde_json::{Value, json};

use super::{
    exchange::{Reply, Request},
    identity::{Identity, MACHINE_NAME, Name, RESOURCE_GROUP, SUBSCRIPTION},
    imds_v2,
    machine::{Machine, NotFound},
};
use crate::refusal::Refusal;

pub(super) const TOKEN: &str = "/metadata/identity/oauth2/token";
pub(super) const INSTANCE: &str = "/metadata/instance/compute";
pub(super) const METADATA: &str = "/metadata/identity/getplatformmetadata";
pub(super) const CREDENTIAL: &str = "/metadata/identity/issuecredential";

pub(super) fn answer(machine: &Machine, request: &Request<'_>) -> Result<Value, Reply> {
    match request.path {
        TOKEN => token(machine, request),
        INSTANCE => instance(machine, request),
        METADATA if machine.imds_v2 => imds_v2::metadata(machine, request),
        CREDENTIAL if machine.imds_v2 => imds_v2::credential(machine, request),
        _ => Err(refused(404, "not_found", "The requested resource was not found.")),
    }
}

fn token(machine: &Machine, request: &Request<'_>) -> Result<Value, Reply> {
    check(request, &Method::GET)?;
    let version = require(request, "api-version")?;
    if !VERSIONS.contains(&version) {
        return Err(invalid(&format!("The api-version '{version}' is not supported.")));
    }
    let resource = require(request, "resource")?;
    let identity = identity(machine, request)?;
    let issued = machine.issue(identity, resource, &[], request.now_unix).map_err(of_entra)?;
    Ok(issued.as_texts(&[
        "access_token",
        "client_id",
        "expires_in",
        "expires_on",
        "ext_expires_in",
        "not_before",
        "resource",
        "token_type",
    ]))
}

fn instance(machine: &Machine, request: &Request<'_>) -> Result<Value, Reply> {
    check(request, &Method::GET)?;
    let known = |version: &str| machine.instance_versions.iter().any(|own| own == version);
    if !request.query.get("api-version").is_some_and(known) {
        let body = json!({
            "error": "Bad request. api-version is invalid or was not specified in the request. For more information \
                      refer to aka.ms/azureimds",
            "newest-versions": machine.instance_versions.iter().take(3).collect::<Vec<_>>(),
        });
        return Err(Reply::refused(400, "bad_request", &body));
    }
    Ok(json!({
        "location": machine.region,
        "name": MACHINE_NAME,
        "osType": "Linux",
        "provider": "Microsoft.Compute",
        "resourceGroupName": RESOURCE_GROUP,
        "resourceId": format!(
            "/subscriptions/{SUBSCRIPTION}/resourceGroups/{RESOURCE_GROUP}/providers/Microsoft.Compute/virtualMachines/\
             {MACHINE_NAME}"
        ),
        "subscriptionId": SUBSCRIPTION,
        "vmId": machine.vm_id(),
        "vmScaleSetName": "",
        "vmSize": "Standard_D2s_v5",
        "zone": "1",
    }))
}

/// What every endpoint of the service looks at first.
pub(super) fn check(request: &Request<'_>, method: &Method) -> Result<(), Reply> {
    if !request.has_metadata_header() {
        return Err(invalid("Required metadata header not specified"));
    }
    if request.headers.contains_key("x-forwarded-for") {
        return Err(invalid("The header X-Forwarded-For is not allowed"));
    }
    if request.method != method {
        return Err(refused(405, "invalid_request", "Method not allowed"));
    }
    match request.query.repeated() {
        Some(name) => Err(invalid(&format!("The query variable '{name}' is repeated"))),
        None => Ok(()),
    }
}

pub(super) fn require<'a>(request: &'a Request<'_>, name: &str) -> Result<&'a str, Reply> {
    let missing = || invalid(&format!("Required query variable '{name}' is missing"));
    request.query.get(name).ok_or_else(missing)
}

pub(super) fn identity<'a>(machine: &'a Machine, request: &Request<'_>) -> Result<&'a Identity, Reply> {
    let names = [("client_id", Name::Client), ("object_id", Name::Object), ("msi_res_id", Name::Resource)];
    machine.select(&request.query, &names).map_err(|not_found| {
        invalid(match not_found {
            NotFound::Unknown => "Identity not found",
            NotFound::Ambiguous => {
                "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in \
                 the token request"
            }
            NotFound::NamedTwice => "Only one of client_id, object_id and msi_res_id can be specified",
        })
    })
}

pub(super) fn invalid(description: &str) -> Reply {
    refused(400, "invalid_request", description)
}

fn refused(status: u16, error: &str, description: &str) -> Reply {
    Reply::refused(status, error, &json!({ "error": error, "error_description": description }))
}

/// A refusal of Entra ID, which the service passes on.
fn of_entra(refusal: Refusal) -> Reply {
    let description = format!("AADSTS{}: {}", refusal.code, refusal.message);
    refused(refusal.status.as_u16(), &refusal.error, &description)
}

/// The service's answer when it is not well.
pub(super) fn unwell(status: u16) -> Reply {
    let (error, description) = match status {
        404 => ("not_found", "The IMDS endpoint is updating."),
        410 => ("gone", "The IMDS endpoint is going through updates."),
        429 => ("invalid_request", "Temporarily throttled, too many requests"),
        500..=599 => ("unknown", "Failed to retrieve token from the Active directory."),
        _ => ("invalid_request", "Bad request"),
    };
    refused(status, error, description)
}

/// The versions of the token endpoint.
const VERSIONS: [&str; 8] = [
    "2018-02-01",
    "2018-10-01",
    "2019-06-01",
    "2019-08-01",
    "2020-06-01",
    "2021-02-01",
    "2021-12-13",
    "2023-07-01",
];
