//! What a managed identity's token is asked for, and what of a request applies to it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use crate::error::{Error, ErrorKind};
use crate::parameters::{present, require_unreserved};
use crate::plan::Plan;
use crate::request::{Application, ManagedIdentityId, Options, Request};
use crate::scopes::Scopes;

/// What is asked of the platform.
pub(crate) struct Question {
    pub(super) identity: ManagedIdentityId,
    pub(super) resource: String,
    /// What the client can handle.
    pub(super) capabilities: Vec<String>,
    /// The SHA-256, in lower-case hexadecimal, of the token that a claims challenge refused.
    pub(super) refused_token: Option<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) encoded_query: Vec<(String, String)>,
    pub(super) correlation_id: String,
}

impl Question {
    /// The question that a plan asks the platform. `refused_token` as the member of that name.
    pub(crate) fn new(plan: &Plan, identity: ManagedIdentityId, refused_token: Option<String>) -> Question {
        Question {
            identity,
            resource: plan.scopes.to_request_string(),
            capabilities: plan.application.client_capabilities.clone(),
            refused_token,
            query: plan.query.clone(),
            encoded_query: plan.encoded_query.clone(),
            correlation_id: plan.correlation_id.clone(),
        }
    }

    pub(super) fn client_id(&self) -> &str {
        self.identity.client_id()
    }

    /// The name of the flight that brings the identity's certificate.
    pub(super) fn certificate_flight(&self) -> String {
        String::from("certificate ") + self.identity.kind() + " " + self.client_id()
    }
}

impl ManagedIdentityId {
    /// The client under whose name MSAL keeps the identity's tokens.
    pub(crate) fn client_id(&self) -> &str {
        match self {
            ManagedIdentityId::SystemAssigned => "system_assigned_managed_identity",
            ManagedIdentityId::ClientId(id)
            | ManagedIdentityId::ResourceId(id)
            | ManagedIdentityId::ObjectId(id) => id,
        }
    }

    /// What kind of id it is. MSAL's keys don't tell; ours do.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            ManagedIdentityId::SystemAssigned => "system",
            ManagedIdentityId::ClientId(_) => "client",
            ManagedIdentityId::ResourceId(_) => "resource",
            ManagedIdentityId::ObjectId(_) => "object",
        }
    }
}

/// The request with what applies to a managed identity, and the registration under which MSAL keeps its tokens.
///
/// # Errors
///
/// No resource or several, an identity without an id, a token that shall be bound to a key of the caller's, a query
/// parameter that is the protocol's own.
pub(crate) fn prepare(
    identity: &ManagedIdentityId,
    request: Request,
    application: &Application,
) -> Result<(Request, Application), Error> {
    let Request { flow, scopes, scheme, options } = request;
    let resource = resource(scopes)?;
    let client_id = present(Some(identity.client_id())).ok_or_else(|| {
        Error::invalid_request(
            "managed_identity_id_required",
            "A user-assigned managed identity is asked for without its id.",
        )
    })?;
    if present(options.pop_public_key.as_deref()).is_some() {
        return Err(Error::new(
            ErrorKind::CredentialUnsupported,
            "pop_not_supported_for_managed_identity",
            "Tokens of managed identities can't be bound to a key that signs requests; ask for a bearer token, or for one \
             that is bound to a certificate.",
        ));
    }
    require_unreserved(&options.extra_query_parameters, &RESERVED)?;
    require_unreserved(&options.encoded_query_parameters, &RESERVED)?;
    let application = Application {
        client_id: client_id.to_string(),
        authority: AUTHORITY.into(),
        client_capabilities: application.client_capabilities.clone(),
        ..Application::default()
    };
    let options = Options {
        authority: None,
        tenant_id: None,
        client_claims: None,
        client_assertion_fmi_path: None,
        extra_client_assertion_claims: None,
        extra_body_parameters: Vec::new(),
        extra_headers: Vec::new(),
        ..options
    };
    Ok((Request { flow, scopes: vec![resource], scheme, options }, application))
}

/// The resource that the one scope is for.
fn resource(scopes: Vec<String>) -> Result<String, Error> {
    const DEFAULT: &str = "/.default";
    let scopes = Scopes::new(scopes);
    let mut given = scopes.iter();
    match (given.next(), given.next()) {
        (Some(scope), None) => {
            let end = scope.len().saturating_sub(DEFAULT.len());
            let is_scope = scope.get(end..).is_some_and(|end| end.eq_ignore_ascii_case(DEFAULT));
            let resource = scope.get(..end).filter(|resource| is_scope && !resource.is_empty());
            Ok(resource.unwrap_or(scope).into())
        }
        (None, _) => Err(Error::invalid_request(
            "scopes_required",
            "No resource is given; it says what the token is for, such as https://vault.azure.net.",
        )),
        (Some(_), Some(_)) => Err(Error::invalid_request(
            "exactly_one_scope_expected",
            format!(
                "A managed identity's token is for one resource, and {} are given.",
                scopes.iter().count()
            ),
        )),
    }
}

/// The authority under whose name MSAL keeps the tokens. Nobody asks it.
const AUTHORITY: &str = "https://login.microsoftonline.com/managed_identity";

/// The query parameters that one source or another understands.
const RESERVED: [&str; 10] = [
    "api-version",
    "client_id",
    "clientid",
    "mi_res_id",
    "msi_res_id",
    "object_id",
    "principalid",
    "resource",
    "token_sha256_to_refresh",
    "xms_cc",
];
