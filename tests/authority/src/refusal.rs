//! Every refusal the authority knows, with Entra ID's status, `error` and AADSTS code.

use http::StatusCode;
use serde_json::{Value, json};

use crate::clock::timestamp;

/// One row of the table of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusalKind {
    /// The number after `AADSTS`.
    pub code: u32,
    /// The HTTP status.
    pub status: u16,
    /// The OAuth `error`.
    pub error: &'static str,
    /// When the authority refuses with it.
    pub when: &'static str,
}

/// A request is refused: what the client gets.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) code: u32,
    pub(crate) status: StatusCode,
    pub(crate) error: String,
    pub(crate) message: String,
    pub(crate) suberror: Option<String>,
    pub(crate) claims: Option<String>,
}

impl RefusalKind {
    /// The refusal with its text (what Entra ID prints after `AADSTSnnn: `).
    pub(crate) fn because(self, message: impl Into<String>) -> Refusal {
        Refusal {
            code: self.code,
            status: StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST),
            error: self.error.to_owned(),
            message: message.into(),
            suberror: None,
            claims: None,
        }
    }
}

impl Refusal {
    /// Entra ID's JSON for the refusal.
    pub(crate) fn body(&self, trace_id: &str, correlation_id: &str, now_unix: u64) -> Value {
        let time = timestamp(now_unix);
        let mut body = json!({
            "error": self.error,
            "error_description": format!(
                "AADSTS{}: {} Trace ID: {trace_id} Correlation ID: {correlation_id} Timestamp: {time}",
                self.code, self.message,
            ),
            "error_codes": [self.code],
            "timestamp": time,
            "trace_id": trace_id,
            "correlation_id": correlation_id,
            "error_uri": format!("https://login.microsoftonline.com/error?code={}", self.code),
        });
        if let Some(suberror) = &self.suberror {
            body["suberror"] = json!(suberror);
        }
        if let Some(claims) = &self.claims {
            body["claims"] = json!(claims);
        }
        body
    }
}

/// Declares a constant per row, and the table of all rows.
macro_rules! table {
    ($($name:ident = $code:literal, $status:literal, $error:literal, $when:literal;)*) => {
        $(pub(crate) const $name: RefusalKind =
            RefusalKind { code: $code, status: $status, error: $error, when: $when };)*

        /// The whole table, by code.
        pub const REFUSALS: &[RefusalKind] = &[$($name),*];
    };
}

table! {
    INSTANCE_UNKNOWN = 50049, 400, "invalid_instance", "instance discovery for a host that is no authority's";
    JWT_MALFORMED = 50027, 401, "invalid_client", "the assertion is no JWT, or breaks a rule of the application's strict mode";
    TENANT_NOT_NAMED = 50059, 400, "invalid_request", "client credentials at `common`, `organizations` or `consumers`";
    MTLS_DISABLED = 51000, 400, "invalid_request", "mutual TLS is not enabled for the application";
    GRANT_UNSUPPORTED = 70003, 400, "unsupported_grant_type", "`grant_type` is none that the authority knows";
    SCOPE_INVALID = 70011, 400, "invalid_scope", "the scope is malformed, empty, or names two resources";
    REQUEST_INVALID = 90023, 400, "invalid_request", "a parameter has a value that nothing accepts";
    TENANT_NOT_FOUND = 90002, 400, "invalid_request", "no tenant of that id or domain (metadata: `invalid_tenant`)";
    MTLS_SCENARIO_DISABLED = 392189, 400, "invalid_request", "mutual TLS is enabled, but not for what is asked: PoP tokens, or a client secret";
    BINDING_MISMATCH = 500181, 401, "invalid_client", "the certificate of the handshake and of the assertion (or its `cnf`) differ";
    RESOURCE_NOT_FOUND = 500011, 400, "invalid_resource", "no resource of that identifier in the tenant";
    ROLE_NOT_ASSIGNED = 501051, 400, "invalid_grant", "the application may not call that resource";
    APPLICATION_NOT_FOUND = 700016, 400, "unauthorized_client", "no application of that id in the tenant";
    ASSERTION_ISSUER = 700021, 401, "invalid_client", "the assertion's `iss` and `sub` are not the client id";
    ASSERTION_AUDIENCE = 700023, 401, "invalid_client", "the assertion's `aud` is no form of the token endpoint or issuer";
    ASSERTION_TIME = 700024, 401, "invalid_client", "the assertion is expired, not valid yet, or valid for too long";
    ASSERTION_KEY = 700027, 401, "invalid_client", "the certificate is not registered, or the signature is wrong";
    CERTIFICATE_NAME = 700030, 401, "invalid_client", "the certificate's name or chain is not one that is registered";
    FEDERATED_ISSUER = 700211, 401, "invalid_client", "no federated credential for the assertion's issuer";
    FEDERATED_AUDIENCE = 700212, 401, "invalid_client", "no federated credential for the assertion's audience";
    FEDERATED_SUBJECT = 700213, 401, "invalid_client", "no federated credential for the assertion's subject";
    TENANT_MALFORMED = 900023, 400, "invalid_request", "the tenant is neither an id nor a domain";
    PARAMETER_MISSING = 900144, 400, "invalid_request", "a parameter is missing";
    POST_ONLY = 900561, 400, "invalid_request", "the token endpoint was called with another method than POST";
    CERTIFICATE_TIME = 1000502, 401, "invalid_client", "the certificate is expired or not valid yet";
    SCOPE_NOT_DEFAULT = 1002012, 400, "invalid_scope", "a scope without `/.default` for client credentials";
    SECRET_WRONG = 7000215, 401, "invalid_client", "the client secret is wrong";
    CREDENTIAL_MISSING = 7000218, 401, "invalid_client", "no client credential, or no client certificate where the handshake must bring one";
    SECRET_EXPIRED = 7000222, 401, "invalid_client", "the client secret is expired";
    REQUEST_MALFORMED = 9002313, 400, "invalid_request", "the request is no form, or repeats a parameter";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_table_is_the_table() {
        let documented: Vec<&str> =
            include_str!("lib.rs").lines().filter(|line| line.starts_with("//! | AADSTS")).collect();
        let rows: Vec<String> = REFUSALS
            .iter()
            .map(|row| {
                format!("//! | AADSTS{} | {} | `{}` | {} |", row.code, row.status, row.error, row.when)
            })
            .collect();
        assert_eq!(documented, rows);
    }

    #[test]
    fn a_body_has_every_member_of_entras() {
        let body = SECRET_WRONG.because("Invalid client secret provided.").body("t", "c", 0);
        assert_eq!(body["error"], "invalid_client");
        assert_eq!(body["error_codes"], json!([7000215]));
        assert_eq!(
            body["error_description"],
            "AADSTS7000215: Invalid client secret provided. Trace ID: t Correlation ID: c Timestamp: 1970-01-01 00:00:00Z"
        );
        assert_eq!(body["timestamp"], "1970-01-01 00:00:00Z");
        assert!(body.get("suberror").is_none() && body.get("claims").is_none());
    }
}
