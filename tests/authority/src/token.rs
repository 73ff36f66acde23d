//! The token endpoint: what is checked, in which order.

use serde_json::Value;

use crate::{
    Resource, Tenant,
    assertion::Circumstances,
    client,
    directory::{Directory, is_tenant_name},
    hosts::Hosts,
    issue::{self, Grant},
    jwt::SigningKey,
    refusal::{self, Refusal},
    request::{Form, TokenRequest},
};

/// What the endpoint works with.
pub(crate) struct Endpoint<'a> {
    pub(crate) directory: &'a Directory,
    pub(crate) hosts: &'a Hosts,
    pub(crate) key: &'a SigningKey,
    pub(crate) now_unix: u64,
}

impl Endpoint<'_> {
    /// Answers a token request.
    pub(crate) fn answer(&self, request: &TokenRequest<'_>) -> Result<Value, Refusal> {
        if let Some(name) = request.form.repeated() {
            return Err(refusal::REQUEST_MALFORMED.because(format!(
                "Invalid request. Request is malformed or invalid: '{name}' is repeated."
            )));
        }
        let tenant = tenant(self.directory, request.tenant)?;
        match request.form.require("grant_type")? {
            "client_credentials" => self.client_credentials(request, tenant),
            other => Err(refusal::GRANT_UNSUPPORTED
                .because(format!("The app requested an unsupported grant type '{other}'."))),
        }
    }

    fn client_credentials(&self, request: &TokenRequest<'_>, tenant: &Tenant) -> Result<Value, Refusal> {
        let client_id = client_id(request)?;
        let not_found = || {
            refusal::APPLICATION_NOT_FOUND.because(format!(
                "Application with identifier '{client_id}' was not found in the directory '{}'. This can happen if \
                 the application has not been installed by the administrator of the tenant or consented to by any \
                 user in the tenant.",
                tenant.id
            ))
        };
        let application =
            self.directory.application(client_id).filter(|app| app.is_in(tenant)).ok_or_else(not_found)?;
        let circumstances = Circumstances {
            directory: self.directory,
            hosts: self.hosts,
            tenant,
            endpoint: &request.endpoint,
            issuers: issue::issuers(request.cloud, &tenant.id),
            own_key: self.key.certificate(),
            handshake: request.handshake,
            now_unix: self.now_unix,
        };
        let client = client::authenticate(request, &application, &circumstances)?;
        let (resource, identifier) = self.resource(request.form)?;
        let grant = Grant {
            tenant,
            cloud: request.cloud,
            application: &application,
            client: &client,
            resource: &resource,
            identifier: &identifier,
            form: request.form,
            bound: request.wants_bound_token(),
            now_unix: self.now_unix,
        };
        issue::token_response(&grant, self.key)
    }

    /// The resource that the scope names, with the identifier it is named by.
    fn resource(&self, form: &Form) -> Result<(Resource, String), Refusal> {
        let scope = form.require("scope")?;
        // MSAL for Go sends these with every flow; they mean nothing without a user.
        const OF_USERS: [&str; 4] = ["openid", "profile", "offline_access", "email"];
        let mut scopes = scope.split(' ').filter(|one| !one.is_empty() && !OF_USERS.contains(one));
        let invalid = || {
            refusal::SCOPE_INVALID.because(format!(
                "The provided request must include a 'scope' input parameter. The provided value for the input \
                 parameter 'scope' is not valid. The scope {scope} is not valid."
            ))
        };
        let (first, rest) = (scopes.next().ok_or_else(invalid)?, scopes.next());
        if rest.is_some() || first.chars().any(|c| c.is_control() || matches!(c, '"' | '\\')) {
            return Err(invalid());
        }
        let Some(identifier) = first.strip_suffix("/.default").filter(|identifier| !identifier.is_empty())
        else {
            return Err(refusal::SCOPE_NOT_DEFAULT.because(format!(
                "The provided value for scope {first} is not valid. Client credential flows must have a scope value \
                 with /.default suffixed to the resource identifier (application ID URI)."
            )));
        };
        let resource = self.directory.resource(identifier).ok_or_else(|| {
            refusal::RESOURCE_NOT_FOUND.because(format!(
                "The resource principal named {identifier} was not found in the tenant. This can happen if the \
                 application has not been installed by the administrator of the tenant or consented to by any user \
                 in the tenant. You might have sent your authentication request to the wrong tenant."
            ))
        })?;
        Ok((resource, identifier.to_owned()))
    }
}

/// The tenant that the path names.
pub(crate) fn tenant<'a>(directory: &'a Directory, name: &str) -> Result<&'a Tenant, Refusal> {
    if ["common", "organizations", "consumers"].iter().any(|many| many.eq_ignore_ascii_case(name)) {
        return Err(refusal::TENANT_NOT_NAMED.because(
            "No tenant-identifying information found in either the request or implied by any provided credentials.",
        ));
    }
    if !is_tenant_name(name) {
        return Err(refusal::TENANT_MALFORMED.because(format!(
            "Specified tenant identifier '{name}' is neither a valid DNS name, nor a valid external domain."
        )));
    }
    directory.tenant(name).ok_or_else(|| {
        refusal::TENANT_NOT_FOUND.because(format!(
            "Tenant '{name}' not found. Check to make sure you have the correct tenant ID and are signing into the \
             correct cloud. Check with your subscription administrator, this may happen if there are no active \
             subscriptions for the tenant."
        ))
    })
}

/// The client id of the form or of the authorization header, which must agree.
fn client_id<'a>(request: &'a TokenRequest<'_>) -> Result<&'a str, Refusal> {
    let basic = request.basic.as_ref().map(|(id, _)| id.as_str());
    match (request.form.get("client_id"), basic) {
        (Some(form), Some(basic)) if form != basic => Err(refusal::REQUEST_MALFORMED
            .because("Invalid request. The client id of the body and of the authorization header differ.")),
        (Some(id), _) | (None, Some(id)) => Ok(id),
        (None, None) => request.form.require("client_id"),
    }
}
