//! Issuing access tokens.

use serde_json::{Map, Value, json};

use crate::{
    Registration, Resource, Tenant,
    client::Client,
    directory::service_principal_id,
    encoding::{base64url, guid_bytes, random},
    hosts::Cloud,
    jwt::SigningKey,
    refusal::{self, Refusal},
    request::Form,
};

/// What a token is made from.
pub(crate) struct Grant<'a> {
    pub(crate) tenant: &'a Tenant,
    pub(crate) cloud: &'a Cloud,
    pub(crate) application: &'a Registration,
    pub(crate) client: &'a Client,
    pub(crate) resource: &'a Resource,
    /// The resource's identifier as it was asked for.
    pub(crate) identifier: &'a str,
    pub(crate) form: &'a Form,
    pub(crate) bound: bool,
    pub(crate) now_unix: u64,
}

/// The issuers of a tenant's tokens: version 1, version 2.
pub(crate) fn issuers(cloud: &Cloud, tenant_id: &str) -> [String; 2] {
    let v1_host = match cloud.preferred_network.as_str() {
        "login.microsoftonline.com" | "login.microsoftonline.us" => "sts.windows.net",
        "login.partner.microsoftonline.cn" => "sts.chinacloudapi.cn",
        "login.windows-ppe.net" => "sts.windows-ppe.net",
        other => other,
    };
    [
        format!("https://{v1_host}/{tenant_id}/"),
        format!("https://{}/{tenant_id}/v2.0", cloud.preferred_network),
    ]
}

/// The answer to a granted token request.
pub(crate) fn token_response(grant: &Grant<'_>, key: &SigningKey) -> Result<Value, Refusal> {
    let lifetime = grant.application.token_lifetime.as_secs();
    let mut response = json!({
        "token_type": if grant.bound { "mtls_pop" } else { "Bearer" },
        "expires_in": lifetime,
        "ext_expires_in": lifetime,
        "access_token": key.sign(&claims(grant)?),
    });
    if let Some(refresh_in) = grant.application.refresh_in {
        response["refresh_in"] = json!(refresh_in.as_secs());
    }
    Ok(response)
}

fn claims(grant: &Grant<'_>) -> Result<Value, Refusal> {
    let client_id = &grant.application.client_id;
    let object_id = service_principal_id(grant.tenant, client_id);
    let strength = grant.client.strength.to_string();
    let [v1, v2] = issuers(grant.cloud, &grant.tenant.id);
    let (issuer, audience) = match grant.resource.token_version {
        1 => (v1, grant.identifier),
        _ => (v2, grant.resource.app_id.as_str()),
    };
    let mut claims = Map::new();
    let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    put("aud", json!(audience));
    put("iss", json!(issuer));
    put("iat", json!(grant.now_unix));
    put("nbf", json!(grant.now_unix));
    put("exp", json!(grant.now_unix + grant.application.token_lifetime.as_secs()));
    put("appid", json!(client_id));
    put("appidacr", json!(strength));
    put("azp", json!(client_id));
    put("azpacr", json!(strength));
    put("idtyp", json!("app"));
    put("oid", json!(object_id));
    put("sub", json!(subject(grant, &object_id)?));
    put("tid", json!(grant.tenant.id));
    put("uti", json!(base64url(&random::<16>())));
    put("ver", json!(format!("{}.0", grant.resource.token_version)));
    let roles = roles(grant)?;
    if !roles.is_empty() {
        put("roles", json!(roles));
    }
    if let Some(binding) = grant.client.binding.as_ref().filter(|_| grant.bound) {
        put("cnf", json!({ "x5t#S256": binding.x5t_s256() }));
    }
    for name in ["attributes", "attribute_tokens"] {
        if let Some(value) = attribute(grant, name)? {
            put(name, value);
        }
    }
    Ok(Value::Object(claims))
}

/// The service principal's object id, or for an `fmi_path` the path below the application, as Entra ID writes it.
fn subject(grant: &Grant<'_>, object_id: &str) -> Result<String, Refusal> {
    let Some(path) = grant.form.get("fmi_path") else { return Ok(object_id.to_owned()) };
    if grant.application.fmi_paths.as_ref().is_some_and(|paths| !paths.iter().any(|own| own == path)) {
        return Err(refusal::REQUEST_INVALID.because(format!(
            "The value '{path}' of 'fmi_path' is not allowed for the application '{}'.",
            grant.application.client_id
        )));
    }
    let short = |id: &str| base64url(&guid_bytes(id).map_or_else(|| id.as_bytes().to_vec(), microsoft_order));
    let (tenant, application) = (short(&grant.tenant.id), short(&grant.application.client_id));
    Ok(format!("/eid1/c/pub/t/{tenant}/a/{application}/{path}"))
}

/// Microsoft's byte order of a GUID: the first three groups are little-endian.
fn microsoft_order(bytes: [u8; 16]) -> Vec<u8> {
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    ORDER.iter().filter_map(|&at| bytes.get(at).copied()).collect()
}

fn attribute(grant: &Grant<'_>, name: &str) -> Result<Option<Value>, Refusal> {
    let Some(text) = grant.form.get(name) else { return Ok(None) };
    if !grant.application.attributes {
        return Err(refusal::REQUEST_INVALID.because(format!(
            "The parameter '{name}' is not allowed for the application '{}'.",
            grant.application.client_id
        )));
    }
    Ok(Some(serde_json::from_str(text).unwrap_or_else(|_| json!(text))))
}

fn roles(grant: &Grant<'_>) -> Result<Vec<String>, Refusal> {
    let Some(granted) = &grant.application.resources else { return Ok(grant.resource.roles.clone()) };
    let found = granted.iter().find(|granted| grant.resource.is(&granted.resource));
    found.map(|granted| granted.roles.clone()).ok_or_else(|| {
        refusal::ROLE_NOT_ASSIGNED.because(format!(
            "Application '{}'({}) is not assigned to a role for the application '{}'.",
            grant.application.client_id, grant.application.name, grant.identifier
        ))
    })
}
