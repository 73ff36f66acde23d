//! The second version of the instance metadata service: a certificate for the identity, by which it gets tokens itself.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::answer::invalid;
use super::{REQUEST_FAILED, Result, source};
use crate::error::{Error, ErrorKind};
use crate::json::{Object, Value, push_string};
use crate::platform::{CertificateRequest, CertificateSubject, NewCertificate};
use crate::response::Exchange;

/// What the request for the certificate must say.
///
/// # Errors
///
/// An answer that isn't the metadata service's own, or lacks something.
pub(super) fn subject(
    said: &Object<'_>,
    server: Option<&str>,
    exchange: &Exchange<'_>,
) -> Result<CertificateSubject> {
    if !server
        .is_some_and(|server| server.as_bytes().windows(4).any(|part| part.eq_ignore_ascii_case(b"IMDS")))
    {
        let message =
            format!("{} isn't the instance metadata service (by its header Server).", exchange.host);
        return Err(Error::new(ErrorKind::ProtocolViolation, REQUEST_FAILED, message).into());
    }
    let machine = said.get("cuId").filter(|id| id.object().is_some());
    let Value(machine) = machine.ok_or_else(|| invalid("cuId", exchange))?;
    Ok(CertificateSubject {
        client_id: required(said, "clientId", exchange)?,
        tenant_id: required(said, "tenantId", exchange)?,
        machine: machine.into(),
        attestation_endpoint: said.text("attestationEndpoint").filter(|url| !url.is_empty()),
    })
}

/// The body that asks for the certificate.
pub(super) fn body(made: CertificateRequest) -> String {
    let mut body = String::from("{\"csr\":");
    push_string(&mut body, &STANDARD.encode(made.der));
    if let Some(token) = &made.attestation {
        body.push_str(",\"attestation_token\":");
        push_string(&mut body, token);
    }
    body.push('}');
    body
}

/// The certificate, and where it brings tokens.
///
/// # Errors
///
/// An answer that lacks something, or says it in another form.
pub(super) fn issued(said: &Object<'_>, exchange: &Exchange<'_>) -> Result<NewCertificate> {
    let certificate = required(said, "certificate", exchange)?;
    let tenant_id = required(said, "tenant_id", exchange)?;
    let endpoint = required(said, ENDPOINT, exchange)?;
    let is_tenant = tenant_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    if !is_tenant || !source::is_https(&endpoint) {
        return Err(invalid(if is_tenant { ENDPOINT } else { "tenant_id" }, exchange));
    }
    Ok(NewCertificate {
        der: STANDARD.decode(certificate).map_err(|_| invalid("certificate", exchange))?,
        client_id: required(said, "client_id", exchange)?,
        token_endpoint: format!("{}/{tenant_id}/oauth2/v2.0/token", endpoint.trim_end_matches('/')),
    })
}

/// Says of the refusal of a metadata service without a second version what it means.
pub(super) fn explain(error: &mut Error) {
    if error.status == Some(404) {
        error.kind = ErrorKind::CredentialUnsupported;
        error.code = "mtls_pop_token_not_supported_in_imds_v1".into();
        error.message = "The instance metadata service of this machine gives no certificates to managed identities; ask for a \
                         bearer token."
            .into();
        error.retryable = false;
    }
}

/// The error where what was installed can't be used.
pub(super) fn useless() -> Box<Error> {
    let message =
        "The certificate that the instance metadata service issued can't be used: its validity is over.";
    Error::new(ErrorKind::ProtocolViolation, REQUEST_FAILED, message).into()
}

fn required(said: &Object<'_>, name: &str, exchange: &Exchange<'_>) -> Result<String> {
    said.text(name).filter(|value| !value.trim().is_empty()).ok_or_else(|| invalid(name, exchange))
}

const ENDPOINT: &str = "mtls_authentication_endpoint";
