//! The token endpoint: what is checked, in which order.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    Flow, Registration, Tenant,
    assertion::Circumstances,
    client::{self, Client},
    conditional_access::RequestedClaims,
    directory::{Directory, is_tenant_name},
    encoding::from_base64url,
    grants, issue,
    issue::Scheme,
    refusal::{self, Refusal},
    request::{Form, TokenRequest},
    state::State,
};

/// A token request whose client has proved itself.
pub(crate) struct Call<'a> {
    pub(crate) state: &'a State,
    pub(crate) request: &'a TokenRequest<'a>,
    pub(crate) realm: Realm<'a>,
    pub(crate) application: Arc<Registration>,
    pub(crate) client: Client,
    pub(crate) scheme: Scheme,
    pub(crate) requested: RequestedClaims,
    pub(crate) now_unix: u64,
}

/// Answers a token request.
pub(crate) fn answer(state: &State, request: &TokenRequest<'_>, now_unix: u64) -> Result<Value, Refusal> {
    if let Some(name) = request.form.repeated() {
        return Err(refusal::REQUEST_MALFORMED
            .because(format!("Invalid request. Request is malformed or invalid: '{name}' is repeated.")));
    }
    let realm = Realm::of(&state.directory, request.tenant)?;
    let flow = Flow::of(request.form)?;
    let call = Call::of(state, request, flow, realm, now_unix)?;
    match flow {
        Flow::ClientCredentials => grants::client_credentials::answer(&call),
        Flow::OnBehalfOf => grants::on_behalf_of::answer(&call),
        Flow::RefreshToken => grants::refresh::answer(&call),
        Flow::AuthorizationCode => grants::authorization_code::answer(&call),
        Flow::UserFic => grants::user_fic::answer(&call),
        Flow::Password => grants::password::answer(&call),
    }
}

impl<'a> Call<'a> {
    fn of(
        state: &'a State,
        request: &'a TokenRequest<'a>,
        flow: Flow,
        realm: Realm<'a>,
        now_unix: u64,
    ) -> Result<Self, Refusal> {
        let application = application(&state.directory, client_id(request)?, realm.known())?;
        if flow == Flow::ClientCredentials || application.blueprint.is_some() {
            realm.tenant()?;
        }
        let tenants = match realm {
            Realm::One(tenant) => std::slice::from_ref(tenant),
            Realm::Many => state.directory.tenants.as_slice(),
        };
        let circumstances = Circumstances {
            directory: &state.directory,
            hosts: &state.hosts,
            tenant: realm.known(),
            path_tenant: request.tenant,
            endpoint: &request.endpoint,
            issuers: tenants.iter().flat_map(|tenant| issue::issuers(request.cloud, &tenant.id)).collect(),
            own_key: state.key.certificate(),
            handshake: request.handshake,
            now_unix,
        };
        let client = client::authenticate(request, flow, &application, &circumstances)?;
        let scheme = scheme(request.form, &client)?;
        let requested = RequestedClaims::of(request.form)?;
        Ok(Self { state, request, realm, application, client, scheme, requested, now_unix })
    }

    pub(crate) fn form(&self) -> &'a Form {
        self.request.form
    }

    /// The tenant of the path; else the one of that id, where the application must be registered too.
    pub(crate) fn tenant(&self, home: &str) -> Result<&'a Tenant, Refusal> {
        match self.realm {
            Realm::One(tenant) => Ok(tenant),
            Realm::Many => {
                let tenant = tenant(&self.state.directory, home)?;
                application(&self.state.directory, &self.application.client_id, Some(tenant))?;
                Ok(tenant)
            }
        }
    }
}

/// The tenants that a path stands for.
#[derive(Clone, Copy)]
pub(crate) enum Realm<'a> {
    One(&'a Tenant),
    /// `common` or `organizations`: the home tenant of the user.
    Many,
}

impl<'a> Realm<'a> {
    pub(crate) fn of(directory: &'a Directory, name: &str) -> Result<Self, Refusal> {
        if ["common", "organizations"].iter().any(|many| many.eq_ignore_ascii_case(name)) {
            Ok(Self::Many)
        } else {
            tenant(directory, name).map(Self::One)
        }
    }

    pub(crate) fn known(&self) -> Option<&'a Tenant> {
        match self {
            Self::One(tenant) => Some(tenant),
            Self::Many => None,
        }
    }

    pub(crate) fn tenant(&self) -> Result<&'a Tenant, Refusal> {
        self.known().ok_or_else(tenant_not_named)
    }
}

/// The tenant that the path names.
pub(crate) fn tenant<'a>(directory: &'a Directory, name: &str) -> Result<&'a Tenant, Refusal> {
    if ["common", "organizations", "consumers"].iter().any(|many| many.eq_ignore_ascii_case(name)) {
        return Err(tenant_not_named());
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

fn tenant_not_named() -> Refusal {
    refusal::TENANT_NOT_NAMED.because(
        "No tenant-identifying information found in either the request or implied by any provided credentials.",
    )
}

/// The application of that id, where it is registered in the tenant.
pub(crate) fn application(
    directory: &Directory,
    client_id: &str,
    tenant: Option<&Tenant>,
) -> Result<Arc<Registration>, Refusal> {
    let registered = |app: &Arc<Registration>| tenant.is_none_or(|tenant| app.is_in(tenant));
    directory.application(client_id).filter(registered).ok_or_else(|| {
        refusal::APPLICATION_NOT_FOUND.because(format!(
            "Application with identifier '{client_id}' was not found in the directory '{}'. This can happen if the \
             application has not been installed by the administrator of the tenant or consented to by any user in \
             the tenant.",
            tenant.map_or("Microsoft", |tenant| &tenant.id)
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

/// How the token is to be bound: `token_type`, with `req_cnf` for signed HTTP requests.
fn scheme(form: &Form, client: &Client) -> Result<Scheme, Refusal> {
    let wanted = form.get("token_type").unwrap_or("bearer");
    match (wanted.to_ascii_lowercase().as_str(), &client.binding) {
        ("bearer", _) => Ok(Scheme::Bearer),
        ("mtls_pop", Some(certificate)) => Ok(Scheme::MtlsPop(certificate.x5t_s256())),
        ("pop", _) => key_id(form.require("req_cnf")?).map(Scheme::Pop).ok_or_else(|| {
            refusal::REQUEST_INVALID.because("The value of the parameter 'req_cnf' names no key.")
        }),
        _ => Err(refusal::REQUEST_INVALID
            .because(format!("The value '{wanted}' of the parameter 'token_type' is not supported."))),
    }
}

/// The `kid` of a `req_cnf`: base64url of `{"kid": …}`.
fn key_id(req_cnf: &str) -> Option<String> {
    let json: Value = serde_json::from_slice(&from_base64url(req_cnf)?).ok()?;
    json.get("kid")?.as_str().map(str::to_owned)
}
