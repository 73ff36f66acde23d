//! The control port: faults, log and counts over plain HTTP on a loopback address.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use crate::{
    AuthorizationCode, CertificatePolicy, CertificateRequest, FaultRule, FederatedAssertion, StartError,
    UnknownUser, UserToken, Vault, authority::listen, platform, state::State,
};

/// Longer request bodies are refused.
const LONGEST_BODY: usize = 1024 * 1024;

/// Opens the port.
pub(crate) async fn start(
    address: &str,
    state: Arc<State>,
) -> Result<(SocketAddr, JoinHandle<()>), StartError> {
    let (listener, bound) = listen(address).await?;
    if !bound.ip().is_loopback() {
        let source = std::io::Error::other("the control port listens on loopback addresses only");
        return Err(StartError::Listen { address: address.to_owned(), source });
    }
    Ok((bound, tokio::spawn(serve(listener, state))))
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else {
                    sleep(Duration::from_millis(10)).await;
                    continue;
                };
                let state = state.clone();
                let service = service_fn(move |request| {
                    let state = state.clone();
                    async move { Ok::<_, Infallible>(answer(&state, request).await) }
                });
                connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(state: &Arc<State>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, value) = match act(state, request).await {
        Ok(value) => (StatusCode::OK, value),
        Err((status, problem)) => (status, json!({ "error": problem })),
    };
    let mut response = Response::new(Full::new(Bytes::from(format!("{value}\n"))));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

type Failure = (StatusCode, String);

async fn act(state: &Arc<State>, request: Request<Incoming>) -> Result<Value, Failure> {
    // A page in a browser must not reach the port by itself.
    if request.headers().contains_key(header::ORIGIN) {
        return Err((StatusCode::FORBIDDEN, "requests of web pages are not answered".to_owned()));
    }
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, LONGEST_BODY).collect().await;
    let body = body.map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?.to_bytes();
    let path = parts.uri.path().trim_end_matches('/');
    match (parts.method, path.split('/').skip(1).collect::<Vec<_>>().as_slice()) {
        (Method::GET, ["faults"]) => Ok(json!(state.faults.list())),
        (Method::POST, ["faults"]) => Ok(json!({ "id": state.faults.add(read::<FaultRule>(&body)?) })),
        (Method::DELETE, ["faults"]) => {
            state.faults.clear();
            Ok(json!({}))
        }
        (Method::DELETE, ["faults", id]) => match id.parse().is_ok_and(|id| state.faults.remove(id)) {
            true => Ok(json!({})),
            false => Err((StatusCode::NOT_FOUND, format!("no fault has the id '{id}'"))),
        },
        (Method::GET, ["log"]) => Ok(json!(state.log.entries())),
        (Method::GET, ["stats"]) => Ok(json!(state.counters.snapshot())),
        (Method::GET, ["applications"]) => Ok(json!(state.directory.client_ids())),
        (Method::POST, ["reset"]) => {
            state.reset();
            Ok(json!({}))
        }
        (Method::POST, ["clock"]) => {
            state.clock.advance(Duration::from_secs(read::<Advance>(&body)?.advance_seconds));
            Ok(json!({ "nowUnix": state.clock.now_unix() }))
        }
        (Method::POST, ["federated-assertion"]) => {
            let wanted = read::<Assertion>(&body)?.into_assertion();
            Ok(json!({ "assertion": state.federation.issue(&wanted, state.clock.now_unix()) }))
        }
        (Method::POST, ["user-token"]) => {
            let wanted = read::<Token>(&body)?.into_token();
            Ok(json!({ "token": wanted.mint(state).map_err(no_user)? }))
        }
        (Method::POST, ["authorization-code"]) => {
            let wanted = read::<Code>(&body)?.into_code();
            Ok(json!({ "code": wanted.mint(state).map_err(no_user)? }))
        }
        (Method::POST, ["revoke-refresh-tokens"]) => {
            Ok(json!({ "revoked": state.revoke_refresh_tokens(&read::<Revocation>(&body)?.user) }))
        }
        (Method::GET, ["platforms"]) => {
            Ok(json!(platform::running(state).iter().map(|machine| machine.describe()).collect::<Vec<_>>()))
        }
        (Method::POST, ["vault-certificate"]) => read::<VaultCertificate>(&body)?
            .import(state)
            .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
        (method, _) => Err((StatusCode::NOT_FOUND, format!("nothing does {method} {path}"))),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Advance {
    advance_seconds: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Assertion {
    subject: String,
    issuer: Option<String>,
    audience: Option<String>,
    lifetime_seconds: Option<u64>,
    bound_to: Option<String>,
}

impl Assertion {
    fn into_assertion(self) -> FederatedAssertion {
        let mut assertion = FederatedAssertion::new(&self.subject);
        if let Some(issuer) = &self.issuer {
            assertion = assertion.issuer(issuer);
        }
        if let Some(audience) = &self.audience {
            assertion = assertion.audience(audience);
        }
        if let Some(seconds) = self.lifetime_seconds {
            assertion = assertion.lifetime_seconds(seconds);
        }
        match &self.bound_to {
            Some(thumbprint) => assertion.bound_to(thumbprint),
            None => assertion,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Token {
    user: String,
    audience: String,
    scope: Option<String>,
    lifetime_seconds: Option<u64>,
    #[serde(default)]
    claims: Map<String, Value>,
}

impl Token {
    fn into_token(self) -> UserToken {
        let mut token = UserToken::new(&self.user, &self.audience);
        if let Some(scope) = &self.scope {
            token = token.scope(scope);
        }
        if let Some(seconds) = self.lifetime_seconds {
            token = token.lifetime_seconds(seconds);
        }
        self.claims.into_iter().fold(token, |token, (name, value)| token.claim(&name, value))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Code {
    client_id: String,
    user: String,
    redirect_uri: String,
    scope: Option<String>,
    nonce: Option<String>,
    code_challenge: Option<String>,
}

impl Code {
    fn into_code(self) -> AuthorizationCode {
        let mut code = AuthorizationCode::new(&self.client_id, &self.user, &self.redirect_uri);
        if let Some(scope) = &self.scope {
            code = code.scope(scope);
        }
        if let Some(nonce) = &self.nonce {
            code = code.nonce(nonce);
        }
        match &self.code_challenge {
            Some(challenge) => code.code_challenge(challenge),
            None => code,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Revocation {
    user: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct VaultCertificate {
    vault: String,
    name: String,
    common_name: Option<String>,
    lifetime_seconds: Option<u64>,
    #[serde(default)]
    pem: bool,
    exportable: Option<bool>,
}

impl VaultCertificate {
    /// Makes a certificate, imports it as the newest version, and describes its public half.
    fn import(&self, state: &Arc<State>) -> Result<Value, StartError> {
        let now = state.clock.now_unix();
        let mut request = CertificateRequest::new(self.common_name.as_ref().unwrap_or(&self.name), now);
        if let Some(seconds) = self.lifetime_seconds {
            request.not_after_unix = now.saturating_add(seconds);
        }
        let certificate = request.self_signed()?;
        let policy = if self.pem { CertificatePolicy::pem() } else { CertificatePolicy::pkcs12() };
        let policy = policy.exportable(self.exportable.unwrap_or(true));
        let version = Vault::open(state, &self.vault).import(&self.name, &certificate, policy)?;
        Ok(json!({
            "version": version,
            "x5t#S256": certificate.certificate().x5t_s256(),
            "certificate": certificate.certificate_pem(),
        }))
    }
}

fn no_user(error: UnknownUser) -> Failure {
    (StatusCode::BAD_REQUEST, error.to_string())
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    let mut json = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut json).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}
