//! A machine with managed identities, and a client of its endpoints.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::Value;
use symbolon_authority::{
    Authority, CONTOSO, ManagedIdentity, Platform, PlatformBuilder, Registration, Source,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::support::*;

pub(crate) const SYSTEM: &str = "51000000-0000-4000-8000-000000000001";
pub(crate) const SYSTEM_OBJECT: &str = "51000000-0000-4000-8000-0000000000f1";
pub(crate) const USER: &str = "52000000-0000-4000-8000-000000000002";
pub(crate) const USER_OBJECT: &str = "52000000-0000-4000-8000-0000000000f2";
pub(crate) const USER_RESOURCE: &str =
    "/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/worker";
pub(crate) const OTHER: &str = "53000000-0000-4000-8000-000000000003";
pub(crate) const NOBODY: &str = "54000000-0000-4000-8000-000000000004";
pub(crate) const MANAGEMENT: &str = "https://management.azure.com/";
pub(crate) const EXCHANGE_RESOURCE: &str = "api://AzureADTokenExchange";

pub(crate) fn system() -> ManagedIdentity {
    ManagedIdentity::new(SYSTEM, SYSTEM_OBJECT)
}

pub(crate) fn user() -> ManagedIdentity {
    ManagedIdentity::new(USER, USER_OBJECT).resource_id(USER_RESOURCE)
}

/// An authority with a client that trusts both identities, and a machine that has them.
pub(crate) struct Site {
    pub(crate) authority: Authority,
    pub(crate) platform: Platform,
}

impl Site {
    pub(crate) async fn new() -> Self {
        Self::of(Platform::builder().system_assigned(system()).user_assigned(user())).await
    }

    pub(crate) async fn of(builder: PlatformBuilder) -> Self {
        let issuer = format!("https://{LOGIN}/{CONTOSO}/v2.0");
        let app = [SYSTEM_OBJECT, USER_OBJECT]
            .iter()
            .fold(Registration::new(CLIENT).mtls(true).pop(true), |app, subject| {
                app.federated_credential(&issuer, subject, EXCHANGE_RESOURCE)
            });
        let authority = authority().application(app).start().await.unwrap();
        let platform = builder.start(&authority).await.unwrap();
        Self { authority, platform }
    }

    /// The value of an environment variable of the source.
    pub(crate) fn variable(&self, source: Source, name: &str) -> String {
        let found = self.platform.environment(source).into_iter().find(|(own, _)| own == name);
        found.unwrap_or_else(|| panic!("no {name}")).1
    }

    pub(crate) async fn call(&self, source: Source, ask: &Ask<'_>) -> Reply {
        let address = self.platform.address(source);
        let stream = TcpStream::connect(address).await.unwrap();
        if source == Source::ServiceFabric {
            let thumbprint = self.variable(source, "IDENTITY_SERVER_THUMBPRINT");
            return send(pinned(stream, thumbprint).await.unwrap(), address, ask).await.unwrap();
        }
        send(stream, address, ask).await.unwrap()
    }

    /// The token of the answer is a client assertion of [`CLIENT`].
    pub(crate) async fn assert_federates(&self, reply: &Reply) {
        assert_eq!(reply.status, 200, "{}", reply.json());
        let answer = Client::new(&self.authority)
            .token(LOGIN, &assertion_form(CLIENT, &member(reply, "access_token")))
            .await;
        assert_eq!((&answer.claims()["appid"], &answer.claims()["azpacr"]), (&CLIENT.into(), &"2".into()));
    }
}

/// A request, good until a test changes something.
#[derive(Clone)]
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: Vec<(&'a str, &'a str)>,
    pub(crate) headers: Vec<(&'a str, &'a str)>,
    pub(crate) body: String,
}

impl<'a> Ask<'a> {
    pub(crate) fn get(path: &'a str, query: &[(&'a str, &'a str)], headers: &[(&'a str, &'a str)]) -> Self {
        Self { method: "GET", path, query: query.to_vec(), headers: headers.to_vec(), body: String::new() }
    }

    pub(crate) fn method(mut self, method: &'a str) -> Self {
        self.method = method;
        self
    }

    pub(crate) fn path(mut self, path: &'a str) -> Self {
        self.path = path;
        self
    }

    /// Sets a parameter, or removes it where the value is empty.
    pub(crate) fn query(mut self, name: &'a str, value: &'a str) -> Self {
        self.query.retain(|(other, _)| *other != name);
        if !value.is_empty() {
            self.query.push((name, value));
        }
        self
    }

    pub(crate) fn repeated(mut self, name: &'a str) -> Self {
        self.query.extend([(name, "x"), (name, "x")]);
        self
    }

    /// Sets a header, or removes it where the value is empty.
    pub(crate) fn header(mut self, name: &'a str, value: &'a str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        if !value.is_empty() {
            self.headers.push((name, value));
        }
        self
    }

    pub(crate) fn body(mut self, body: &str) -> Self {
        self.body = body.to_owned();
        self
    }
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    address: SocketAddr,
    ask: &Ask<'_>,
) -> Result<Reply, Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let target = if ask.query.is_empty() {
        ask.path.to_owned()
    } else {
        format!("{}?{}", ask.path, encode(&ask.query))
    };
    let mut request = Request::builder().method(ask.method).uri(target).header("host", address.to_string());
    for (name, value) in &ask.headers {
        request = request.header(*name, *value);
    }
    let response = sender.send_request(request.body(Full::new(Bytes::from(ask.body.clone())))?).await?;
    let (parts, body) = response.into_parts();
    Ok(Reply { status: parts.status, headers: parts.headers, body: body.collect().await?.to_bytes() })
}

/// TLS with the server whose certificate has this thumbprint.
pub(crate) async fn pinned(
    stream: TcpStream,
    thumbprint: String,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned(thumbprint)))
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1")?;
    Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
}

#[derive(Debug)]
struct Pinned(String);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, end_entity);
        let shown: String = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        if shown == self.0 {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519]
    }
}

/// The claims of the token of a platform's answer.
pub(crate) fn claims(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    decoded(&member(reply, "access_token"))
}

/// Status and body of a refusal.
#[track_caller]
pub(crate) fn assert_body(reply: &Reply, status: u16, body: &Value) {
    assert_eq!((reply.status.as_u16(), &reply.json()), (status, body));
}
