//! A vault on this machine, with as much of Key Vault's REST API as a certificate and its key take.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use anyhow::Result;
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivatePkcs8KeyDer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::certificates::Identity;

/// The name of every vault.
pub(crate) const HOST: &str = "contoso.vault.azure.net";

/// Serves vaults under one address: each certificate of them is the PEM file that `content` has for its name, or is
/// forbidden. `server` is what the vaults themselves are known by.
pub(crate) async fn serve(server: &Identity, content: Vec<(String, String)>) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![server.certificate().der().clone()],
            PrivatePkcs8KeyDer::from(server.key_der()).into(),
        )?;
    let (acceptor, content) = (TlsAcceptor::from(Arc::new(config)), Arc::new(content));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, content) = (acceptor.clone(), content.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = answer(request.uri().path(), &content);
                    async move { Ok::<_, Infallible>(answer) }
                });
                // A client that goes away is no failure.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Ok(address)
}

fn answer(path: &str, content: &[(String, String)]) -> Response<Full<Bytes>> {
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
