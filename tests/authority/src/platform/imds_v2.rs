//! The second version of the instance metadata service: a certificate for the identity instead of a token.
//!
//! The client makes a key, has it certified here, and gets its tokens itself, over mutual TLS with that certificate.

use http::{Method, header};
use serde_json::{Value, json};

use super::{
    csr::CertificateSigningRequest,
    exchange::{Reply, Request},
    identity::{Assigned, machine_id},
    imds::{check, identity, invalid, require},
    machine::Machine,
};
use crate::{encoding::base64, hosts::Cloud, jwt::Jwt};

/// The only version.
const VERSION: &str = "2.0";

impl Machine {
    pub(super) fn vm_id(&self) -> String {
        machine_id(self.identities.first().map_or("", |identity| &identity.client_id))
    }

    /// `cuId`: what the certificate is bound to beside the identity.
    fn cu_id(&self) -> Value {
        let mut id = json!({ "vmId": self.vm_id() });
        if let Some(scale_set) = &self.scale_set {
            id["vmssId"] = json!(scale_set);
        }
        id
    }

    /// The mutual TLS host of the machine's region.
    fn mtls_endpoint(&self, cloud: &Cloud) -> Option<String> {
        cloud.mtls.as_ref().map(|host| format!("https://{}.{host}", self.region))
    }
}

/// `getplatformmetadata`: what the request for the certificate must say.
pub(super) fn metadata(machine: &Machine, request: &Request<'_>) -> Result<Value, Reply> {
    check(request, &Method::GET)?;
    check_version(request)?;
    let identity = identity(machine, request)?;
    Ok(json!({
        "clientId": identity.client_id,
        "tenantId": machine.tenant.id,
        "cuId": machine.cu_id(),
        "attestationEndpoint": machine.attestation_endpoint,
    }))
}

/// `issuecredential`: the certificate.
pub(super) fn credential(machine: &Machine, request: &Request<'_>) -> Result<Value, Reply> {
    check(request, &Method::POST)?;
    check_version(request)?;
    let identity = identity(machine, request)?;
    let media_type = request.header(header::CONTENT_TYPE.as_str()).unwrap_or_default();
    if media_type.split(';').next().map(str::trim) != Some("application/json") {
        return Err(invalid("The content type is not application/json"));
    }
    let body: Value = serde_json::from_slice(request.body).map_err(|_| invalid("The body is not JSON"))?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if machine.demand_attestation && text("attestation_token").and_then(Jwt::parse).is_none() {
        return Err(invalid("The attestation token is missing or malformed"));
    }
    let csr = text("csr").ok_or_else(|| invalid("Required member 'csr' is missing"))?;
    let csr = CertificateSigningRequest::parse(csr).map_err(|problem| invalid(&problem))?;
    csr.check(&identity.client_id, &machine.tenant.id, &machine.cu_id())
        .map_err(|problem| invalid(&problem))?;
    let unavailable = || invalid("The region has no mutual TLS endpoint");
    let endpoint = machine.cloud().ok().and_then(|cloud| machine.mtls_endpoint(cloud));
    let validity =
        (request.now_unix.saturating_sub(SKEW), request.now_unix + machine.credential_lifetime.as_secs());
    let certificate = csr
        .certify(&machine.state.identity_issuer, validity)
        .map_err(|_| invalid("The key can't be certified"))?;
    Ok(json!({
        "client_id": identity.client_id,
        "tenant_id": machine.tenant.id,
        "certificate": base64(&certificate),
        "identity_type": match identity.assigned {
            Assigned::System => "SystemAssigned",
            Assigned::User => "UserAssigned",
        },
        "mtls_authentication_endpoint": endpoint.ok_or_else(unavailable)?,
    }))
}

fn check_version(request: &Request<'_>) -> Result<(), Reply> {
    match require(request, "cred-api-version")? {
        VERSION => Ok(()),
        other => Err(invalid(&format!("The cred-api-version '{other}' is not supported."))),
    }
}

/// Certificates are valid from this many seconds ago, for clocks that are late.
const SKEW: u64 = 5 * 60;
