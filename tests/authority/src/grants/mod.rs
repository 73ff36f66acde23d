//! One module a grant, and what the grants about users share.

pub(crate) mod authorization_code;
pub(crate) mod client_credentials;
pub(crate) mod on_behalf_of;
pub(crate) mod password;
pub(crate) mod refresh;
mod saml;
pub(crate) mod user_fic;

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    Tenant,
    encoding::{base64url, random},
    issue::{self, Scheme, Subject, Token},
    refresh_token::Session,
    refusal::{self, Refusal},
    scopes::UserScopes,
    token::Call,
    user::Account,
};

pub(crate) use saml::issue as issue_saml;

/// What a grant about a user came to.
struct Granted<'a> {
    account: Arc<Account>,
    /// The scopes of the request, or of what the grant rests on.
    scope: &'a str,
    /// For the id token.
    nonce: Option<&'a str>,
    /// The user is the agent's own.
    of_agent: bool,
    /// The family of the refresh token that was redeemed.
    family: Option<String>,
}

impl<'a> Granted<'a> {
    fn new(account: Arc<Account>, scope: &'a str) -> Self {
        Self { account, scope, nonce: None, of_agent: false, family: None }
    }
}

/// The answer to a granted request about a user.
fn answer(call: &Call<'_>, granted: Granted<'_>) -> Result<Value, Refusal> {
    if matches!(call.scheme, Scheme::MtlsPop(_)) {
        return Err(refusal::MTLS_SCENARIO_DISABLED
            .because("Mutual TLS with a token bound to the certificate is not enabled for users."));
    }
    let (state, application) = (call.state, &*call.application);
    let account = &*granted.account;
    let tenant = call.tenant(&account.home)?;
    let object_id = object_id(account, tenant)?;
    let scopes = UserScopes::parse(granted.scope, application, &state.directory, call.request.cloud)?;
    for policy in application.conditional_access.iter().chain(&scopes.target.resource.conditional_access) {
        policy.check(&call.requested, &scopes.target.resource.app_id)?;
    }
    let token = Token {
        tenant,
        cloud: call.request.cloud,
        client_id: &application.client_id,
        strength: call.client.strength,
        blueprint: application.blueprint.as_deref(),
        target: &scopes.target,
        subject: Subject::User { account, object_id, scopes: &scopes.granted, of_agent: granted.of_agent },
        scheme: &call.scheme,
        requested: &call.requested,
        lifetime: application.token_lifetime.as_secs(),
        now_unix: call.now_unix,
    };
    let mut answer = issue::answer(&token, application, &state.key);
    answer["scope"] = json!(scopes.answered);
    if scopes.openid {
        answer["id_token"] = json!(state.key.sign(&id_claims(&token, account, object_id, granted.nonce)));
    }
    if matches!(call.form().get("client_info"), Some("1" | "2")) {
        let info = json!({ "uid": account.user.object_id, "utid": account.home });
        answer["client_info"] = json!(base64url(info.to_string().as_bytes()));
    }
    if scopes.offline_access || granted.family.is_some() {
        answer["refresh_token"] = json!(refresh_token(call, granted));
    }
    Ok(answer)
}

/// Another refresh token for what was granted.
fn refresh_token(call: &Call<'_>, granted: Granted<'_>) -> String {
    let session = Session {
        client_id: call.application.client_id.clone(),
        user: granted.account.user.object_id.clone(),
        scope: granted.scope.to_owned(),
        of_agent: granted.of_agent,
        browser: call.client.is_browser(),
    };
    let lifetime = call.application.refresh_token_lifetime.as_secs();
    call.state.refresh_tokens.issue(session, granted.family, call.now_unix, lifetime)
}

/// The claims of a version 2 id token.
fn id_claims(token: &Token<'_>, account: &Account, object_id: &str, nonce: Option<&str>) -> Value {
    let [_, issuer] = issue::issuers(token.cloud, &token.tenant.id);
    let mut claims = json!({
        "aud": token.client_id,
        "iss": issuer,
        "iat": token.now_unix,
        "nbf": token.now_unix,
        "exp": token.now_unix + token.lifetime,
        "name": account.user.name,
        "oid": object_id,
        "preferred_username": account.user.user_principal_name,
        "sub": issue::pairwise_subject(object_id, token.client_id),
        "tid": token.tenant.id,
        "uti": base64url(&random::<16>()),
        "ver": "2.0",
    });
    if let Some(nonce) = nonce {
        claims["nonce"] = json!(nonce);
    }
    claims
}

/// The user's object id in the tenant, which must know the user.
fn object_id<'a>(account: &'a Account, tenant: &Tenant) -> Result<&'a str, Refusal> {
    account.object_id_in(tenant).ok_or_else(|| {
        refusal::USER_NOT_IN_TENANT.because(format!(
            "User account '{{EmailHidden}}' from identity provider 'https://sts.windows.net/{}/' does not exist in \
             tenant '{}' and cannot access the application. The account needs to be added as an external user in the \
             tenant first.",
            account.home, tenant.id
        ))
    })
}

/// The user of that object id or user principal name.
fn user(call: &Call<'_>, name: &str) -> Result<Arc<Account>, Refusal> {
    call.state.directory.user(name).ok_or_else(|| user_not_found(call))
}

/// The user of that user principal name, and of nothing else.
fn user_by_name(call: &Call<'_>, name: &str) -> Result<Arc<Account>, Refusal> {
    let account = user(call, name)?;
    let is_name = account.user.user_principal_name.eq_ignore_ascii_case(name);
    if is_name { Ok(account) } else { Err(user_not_found(call)) }
}

fn user_not_found(call: &Call<'_>) -> Refusal {
    refusal::USER_NOT_FOUND.because(format!(
        "The user account {{EmailHidden}} does not exist in the {} directory. To sign into this application, the \
         account must be added to the directory.",
        call.request.tenant
    ))
}
