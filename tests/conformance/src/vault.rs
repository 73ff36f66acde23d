//! A vault on this machine, with as much of Key Vault's REST API as a certificate and its key take.

use std::net::SocketAddr;

use anyhow::Result;
use http_body_util::Full;
use hyper::{Response, body::Bytes};
use serde_json::json;

use crate::{certificates::Identity, server};

/// The name of every vault.
pub(crate) const HOST: &str = "contoso.vault.azure.net";

/// Serves vaults under one address: each certificate of them is the PEM file that `content` has for its name, or is
/// forbidden. `identity` is what the vaults themselves are known by.
pub(crate) async fn serve(identity: &Identity, content: Vec<(String, String)>) -> Result<SocketAddr> {
    server::serve(identity, move |request| answer(&request.target, &content)).await
}

fn answer(target: &str, content: &[(String, String)]) -> Response<Full<Bytes>> {
    let path = target.split('?').next().unwrap_or_default();
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let name = segments.get(1).copied().unwrap_or_default();
    let sid = format!("https://{HOST}/secrets/{name}/1");
    let known = content.iter().find(|(known, _)| known == name);
    let (status, body) = match (segments.first().copied(), known) {
        (Some("certificates"), Some(_)) => (
            200,
            json!({
                "id": format!("https://{HOST}/certificates/{name}/1"),
                "sid": sid,
                "attributes": { "enabled": true },
                "policy": { "key_props": { "exportable": true, "kty": "RSA" } },
            }),
        ),
        (Some("secrets"), Some((_, pem))) => {
            (200, json!({ "id": sid, "value": pem, "contentType": "application/x-pem-file" }))
        }
        _ => (403, json!({ "error": { "code": "Forbidden" } })),
    };
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    response
}
