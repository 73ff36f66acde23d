//! Metadata, keys and instance discovery.

use serde_json::{Value, json};

use crate::{
    hosts::{Cloud, Hosts, Service, Site},
    issue::issuers,
    refusal::{self, Refusal},
};

/// OpenID Connect metadata of a tenant; `tenant` is its id, or `common` and the like. `v2` tells
/// `/{tenant}/v2.0/.well-known/…` from `/{tenant}/.well-known/…`.
pub(crate) fn metadata(site: &Site<'_>, host: &str, tenant: &str, v2: bool) -> Value {
    let network = if site.region.is_some() || site.service == Service::MutualTls {
        host
    } else {
        &site.cloud.preferred_network
    };
    let version = if v2 { "/v2.0" } else { "" };
    let tenant_in_issuer = if is_many(tenant) { "{tenantid}" } else { tenant };
    let [v1_issuer, v2_issuer] = issuers(site.cloud, tenant_in_issuer);
    let url = |path: &str| format!("https://{network}/{tenant}/{path}");
    let mut document = json!({
        "token_endpoint": url(&format!("oauth2{version}/token")),
        "token_endpoint_auth_methods_supported":
            ["client_secret_post", "private_key_jwt", "client_secret_basic", "self_signed_tls_client_auth"],
        "jwks_uri": url(&format!("discovery{version}/keys")),
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "issuer": if v2 { v2_issuer } else { v1_issuer },
        "request_uri_parameter_supported": false,
        "authorization_endpoint": url(&format!("oauth2{version}/authorize")),
        "device_authorization_endpoint": url(&format!("oauth2{version}/devicecode")),
        "end_session_endpoint": url(&format!("oauth2{version}/logout")),
        "claims_supported": [
            "sub", "iss", "cloud_instance_name", "cloud_instance_host_name", "cloud_graph_host_name", "msgraph_host",
            "aud", "exp", "iat", "auth_time", "acr", "nonce", "preferred_username", "name", "tid", "ver", "at_hash",
            "c_hash", "email",
        ],
        "cloud_instance_name": cloud_name(site.cloud),
        "tls_client_certificate_bound_access_tokens": site.cloud.mtls.is_some(),
    });
    if let Some(mtls) = &site.cloud.mtls {
        let token = format!("https://{mtls}/{tenant}/oauth2{version}/token");
        document["mtls_endpoint_aliases"] = json!({ "token_endpoint": token });
    }
    document
}

/// Instance discovery: which hosts are names of one authority. `authorization_endpoint` is the parameter of the
/// query.
pub(crate) fn instances(hosts: &Hosts, authorization_endpoint: Option<&str>) -> Result<Value, Refusal> {
    let endpoint = authorization_endpoint.ok_or_else(|| {
        refusal::PARAMETER_MISSING
            .because("The request body must contain the following parameter: 'authorization_endpoint'.")
    })?;
    let unknown = || {
        refusal::INSTANCE_UNKNOWN
            .because(format!("Unknown or invalid instance. The endpoint is '{endpoint}'."))
    };
    let url = url::Url::parse(endpoint).map_err(|_| unknown())?;
    let (host, tenant) = url
        .host_str()
        .zip(url.path_segments().and_then(|mut segments| segments.next()))
        .filter(|_| url.scheme() == "https")
        .ok_or_else(unknown)?;
    let site = hosts.site(host).filter(|site| site.service == Service::Login).ok_or_else(unknown)?;
    let rows = hosts.clouds().iter().map(|cloud| {
        json!({
            "preferred_network": cloud.preferred_network,
            "preferred_cache": cloud.preferred_cache,
            "aliases": cloud.aliases,
        })
    });
    Ok(json!({
        "tenant_discovery_endpoint":
            format!("https://{}/{tenant}/v2.0/.well-known/openid-configuration", site.cloud.preferred_network),
        "api-version": "1.1",
        "metadata": rows.collect::<Vec<_>>(),
    }))
}

/// Whether the tenant of a path stands for many tenants.
pub(crate) fn is_many(tenant: &str) -> bool {
    ["common", "organizations", "consumers"].iter().any(|many| many.eq_ignore_ascii_case(tenant))
}

fn cloud_name(cloud: &Cloud) -> &str {
    let network = cloud.preferred_network.as_str();
    network.strip_prefix("login.").unwrap_or(network)
}
