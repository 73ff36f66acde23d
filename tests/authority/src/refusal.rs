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
    REPLY_ADDRESS_UNKNOWN = 50011, 400, "invalid_request", "the redirect URI of an authorization request is not registered";
    USER_ASSERTION_SIGNATURE = 50013, 400, "invalid_grant", "the user assertion is no token of this authority, or its signature is wrong";
    USER_NOT_IN_TENANT = 50020, 400, "invalid_grant", "the user is not known in the tenant";
    USER_NOT_FOUND = 50034, 400, "invalid_grant", "no user of that name or object id";
    INSTANCE_UNKNOWN = 50049, 400, "invalid_instance", "instance discovery for a host that is no authority's";
    JWT_MALFORMED = 50027, 401, "invalid_client", "the assertion is no JWT, or breaks a rule of the application's strict mode";
    TENANT_NOT_NAMED = 50059, 400, "invalid_request", "client credentials at `common` or `organizations`, or anything at `consumers`";
    MULTI_FACTOR = 50076, 400, "interaction_required", "conditional access: multi-factor authentication, with a claims challenge";
    PASSWORD_WRONG = 50126, 400, "invalid_grant", "the password is wrong";
    GRANT_REVOKED = 50173, 400, "invalid_grant", "the refresh token was revoked, or used twice where it rotates";
    MTLS_DISABLED = 51000, 400, "invalid_request", "mutual TLS is not enabled for the application";
    DEVICE_NOT_COMPLIANT = 53000, 400, "interaction_required", "conditional access: a device that complies, with a claims challenge";
    ACCESS_BLOCKED = 53003, 400, "interaction_required", "conditional access: blocked";
    CODE_USED = 54005, 400, "invalid_grant", "the authorization code was redeemed before";
    CONSENT_REQUIRED = 65001, 400, "invalid_grant", "no user consented to that resource for the application";
    GRANT_INVALID = 70000, 400, "invalid_grant", "the refresh token, code or token for the exchange is unknown or another client's";
    GRANT_UNSUPPORTED = 70003, 400, "unsupported_grant_type", "`grant_type` is none that the authority knows";
    CODE_EXPIRED = 70008, 400, "invalid_grant", "the authorization code is older than 10 minutes";
    SCOPE_INVALID = 70011, 400, "invalid_scope", "the scope is malformed, empty, or names two resources";
    REQUEST_INVALID = 90023, 400, "invalid_request", "a parameter has a value that nothing accepts";
    TENANT_NOT_FOUND = 90002, 400, "invalid_request", "no tenant of that id or domain (metadata: `invalid_tenant`)";
    ID_TOKEN = 240002, 400, "invalid_request", "the user assertion is an id token";
    MTLS_SCENARIO_DISABLED = 392189, 400, "invalid_request", "mutual TLS is enabled, but not for what is asked: PoP tokens, a client secret, or the flow";
    BINDING_MISMATCH = 500181, 401, "invalid_client", "the certificate of the handshake and of the assertion (or its `cnf`) differ";
    RESOURCE_NOT_FOUND = 500011, 400, "invalid_resource", "no resource of that identifier in the tenant";
    REPLY_ADDRESS_DIFFERS = 500112, 400, "invalid_grant", "the redirect URI is not the one that the code was sent to";
    USER_ASSERTION_AUDIENCE = 500131, 400, "invalid_grant", "the user assertion is for another application";
    USER_ASSERTION_TIME = 500133, 400, "invalid_grant", "the user assertion is expired or not valid yet";
    ROLE_NOT_ASSIGNED = 501051, 400, "invalid_grant", "the application may not call that resource";
    CODE_VERIFIER_WRONG = 501481, 400, "invalid_grant", "the code verifier is missing or does not meet the challenge";
    CODE_CHALLENGE_INVALID = 501491, 400, "invalid_request", "the code challenge is shorter than 43 or longer than 128 characters";
    SCOPE_UNKNOWN = 650053, 400, "invalid_client", "the resource defines no such scope";
    APPLICATION_NOT_FOUND = 700016, 400, "unauthorized_client", "no application of that id in the tenant";
    ASSERTION_ISSUER = 700021, 401, "invalid_client", "the assertion's `iss` and `sub` are not the client id";
    ASSERTION_AUDIENCE = 700023, 401, "invalid_client", "the assertion's `aud` is no form of the token endpoint or issuer";
    ASSERTION_TIME = 700024, 401, "invalid_client", "the assertion is expired, not valid yet, or valid for too long";
    ASSERTION_KEY = 700027, 401, "invalid_client", "the certificate is not registered, or the signature is wrong";
    CERTIFICATE_NAME = 700030, 401, "invalid_client", "the certificate's name or chain is not one that is registered";
    RESPONSE_TYPE_UNSUPPORTED = 700054, 400, "unsupported_response_type", "an authorization request for something else than a code";
    REFRESH_TOKEN_EXPIRED = 700082, 400, "invalid_grant", "the refresh token is expired";
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
    GRANT_MALFORMED = 9002313, 400, "invalid_grant", "the refresh token or code is none that could have been issued";
    CROSS_ORIGIN = 9002326, 400, "invalid_request", "a page in a browser redeems a code that was not given to one";
    SAME_ORIGIN = 9002327, 400, "invalid_request", "a code that was given to a page in a browser is redeemed by something else";
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
