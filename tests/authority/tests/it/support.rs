//! A small client: real TLS, real HTTP, nothing shared with the authority's own code.

use std::{net::SocketAddr, sync::Arc};

use aws_lc_rs::{
    digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest},
    rand::SystemRandom,
    signature::{self, EcdsaKeyPair, RsaKeyPair},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use serde_json::{Map, Value, json};
use symbolon_authority::{
    Authority, AuthorityBuilder, CONTOSO, CertificateRequest, ClientCertificate, Clock, KeyKind,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

pub(crate) const LOGIN: &str = "login.microsoftonline.com";
pub(crate) const MTLS: &str = "mtlsauth.microsoft.com";
pub(crate) const GRAPH: &str = "https://graph.microsoft.com/.default";
pub(crate) const CLIENT: &str = "99999999-0000-4000-8000-000000000001";
pub(crate) const SECRET: &str = "s3cr3t&+ /=é";
pub(crate) const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
pub(crate) const JWT_POP: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-pop";

/// The time that every test authority lives in; TLS lives in the real one.
pub(crate) const NOW: u64 = 1_700_000_000;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// An authority whose clock stands still.
pub(crate) fn authority() -> AuthorityBuilder {
    Authority::builder().clock(Clock::new(|| NOW * 1000))
}

pub(crate) fn token_path() -> String {
    format!("/{CONTOSO}/oauth2/v2.0/token")
}

pub(crate) fn certificate(name: &str) -> ClientCertificate {
    CertificateRequest::new(name, NOW).key(KeyKind::EllipticCurve).self_signed().unwrap()
}

pub(crate) fn rsa_certificate(name: &str) -> ClientCertificate {
    CertificateRequest::new(name, NOW).self_signed().unwrap()
}

/// Connects anew for each request; TLS sessions are kept.
pub(crate) struct Client {
    address: SocketAddr,
    config: ClientConfig,
}

impl Client {
    pub(crate) fn new(authority: &Authority) -> Self {
        Self::build(authority, None)
    }

    pub(crate) fn with_certificate(authority: &Authority, certificate: &ClientCertificate) -> Self {
        Self::with_chain(authority, certificate.chain().to_vec(), certificate.key())
    }

    pub(crate) fn with_chain(
        authority: &Authority,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Self {
        Self::build(authority, Some((chain, key)))
    }

    fn build(
        authority: &Authority,
        own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.ca_pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        };
        Self { address: authority.address(), config }
    }

    pub(crate) fn alpn(mut self, protocols: &[&str]) -> Self {
        self.config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    pub(crate) async fn connect(&self, host: &str) -> Result<TlsStream<TcpStream>, Error> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from(host.to_owned())?;
        Ok(TlsConnector::from(Arc::new(self.config.clone())).connect(name, stream).await?)
    }

    pub(crate) async fn send(&self, host: &str, request: Request<Full<Bytes>>) -> Result<Reply, Error> {
        let stream = self.connect(host).await?;
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let io = TokioIo::new(stream);
        let response = if h2 {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            sender.send_request(request).await?
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
            tokio::spawn(connection);
            sender.send_request(request).await?
        };
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Reply { status: parts.status, headers: parts.headers, body })
    }

    pub(crate) async fn get(&self, host: &str, path: &str) -> Reply {
        self.send(host, request("GET", host, path, &[], String::new())).await.unwrap()
    }

    pub(crate) async fn post(&self, host: &str, path: &str, form: &[(&str, &str)]) -> Result<Reply, Error> {
        self.send(host, request("POST", host, path, &[], encode(form))).await
    }

    /// A token request at the tenant's endpoint.
    pub(crate) async fn token(&self, host: &str, form: &[(&str, &str)]) -> Reply {
        self.post(host, &token_path(), form).await.unwrap()
    }
}

pub(crate) fn encode(form: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

pub(crate) fn request(
    method: &str,
    host: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: String,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(format!("https://{host}{path}"));
    request = request.header("host", host).header("content-type", "application/x-www-form-urlencoded");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(Bytes::from(body))).unwrap()
}

pub(crate) fn secret_form<'a>(client_id: &'a str, secret: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("client_id", client_id),
        ("client_secret", secret),
        ("scope", GRAPH),
        ("grant_type", "client_credentials"),
        ("client_info", "2"),
    ]
}

pub(crate) fn assertion_form<'a>(client_id: &'a str, assertion: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("client_id", client_id),
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", assertion),
        ("scope", GRAPH),
        ("grant_type", "client_credentials"),
    ]
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The claims of the token of a successful answer.
    pub(crate) fn claims(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.json());
        let token = self.json()["access_token"].as_str().unwrap().to_owned();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
    }

    /// Status, `error` and code of a refusal, whose parts are checked against each other.
    pub(crate) fn refusal(&self) -> (u16, String, u64) {
        let body = self.json();
        assert!(!self.status.is_success(), "{body}");
        let code = body["error_codes"][0].as_u64().unwrap();
        let description = body["error_description"].as_str().unwrap();
        assert!(description.starts_with(&format!("AADSTS{code}: ")), "{description}");
        for (label, member) in
            [("Trace ID", "trace_id"), ("Correlation ID", "correlation_id"), ("Timestamp", "timestamp")]
        {
            let expected = format!("{label}: {}", body[member].as_str().unwrap());
            assert!(description.contains(&expected), "{description} lacks {expected}");
        }
        assert_eq!(body["error_uri"], format!("https://login.microsoftonline.com/error?code={code}"));
        (self.status.as_u16(), body["error"].as_str().unwrap().to_owned(), code)
    }
}

#[track_caller]
pub(crate) fn assert_refused(reply: &Reply, status: u16, error: &str, code: u64) {
    assert_eq!(reply.refusal(), (status, error.to_owned(), code), "{}", reply.json()["error_description"]);
}

/// A client assertion, RFC-exact until a test changes something.
#[derive(Clone)]
pub(crate) struct Assertion {
    pub(crate) header: Map<String, Value>,
    pub(crate) claims: Map<String, Value>,
    alg: &'static str,
}

impl Assertion {
    pub(crate) fn new(client_id: &str, audience: &str, certificate: &ClientCertificate) -> Self {
        let ec = matches!(certificate.key(), PrivateKeyDer::Pkcs8(key) if EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_pkcs8_der()).is_ok());
        let alg = if ec { "ES256" } else { "PS256" };
        let object = |value: Value| value.as_object().unwrap().clone();
        let jti = URL_SAFE_NO_PAD
            .encode(aws_lc_rs::rand::generate::<[u8; 16]>(&SystemRandom::new()).unwrap().expose());
        Self {
            header: object(json!({ "alg": alg, "typ": "JWT", "x5t#S256": x5t_s256(certificate) })),
            claims: object(json!({
                "aud": audience, "iss": client_id, "sub": client_id,
                "nbf": NOW, "exp": NOW + 600, "jti": jti,
            })),
            alg,
        }
    }

    pub(crate) fn alg(mut self, alg: &'static str) -> Self {
        self.alg = alg;
        self.header("alg", json!(alg))
    }

    pub(crate) fn header(mut self, name: &str, value: Value) -> Self {
        self.header.insert(name.to_owned(), value);
        self
    }

    pub(crate) fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name).unwrap();
        self
    }

    pub(crate) fn claim(mut self, name: &str, value: Value) -> Self {
        self.claims.insert(name.to_owned(), value);
        self
    }

    pub(crate) fn without_claim(mut self, name: &str) -> Self {
        self.claims.remove(name).unwrap();
        self
    }

    pub(crate) fn x5c(self, certificate: &ClientCertificate) -> Self {
        let chain: Vec<_> = certificate.chain().iter().map(|der| STANDARD.encode(der)).collect();
        self.header("x5c", json!(chain))
    }

    pub(crate) fn sign(&self, certificate: &ClientCertificate) -> String {
        let part = |object: &Map<String, Value>| URL_SAFE_NO_PAD.encode(serde_json::to_vec(object).unwrap());
        let input = format!("{}.{}", part(&self.header), part(&self.claims));
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(sign(self.alg, &certificate.key(), input.as_bytes())))
    }
}

fn sign(alg: &str, key: &PrivateKeyDer<'_>, input: &[u8]) -> Vec<u8> {
    let PrivateKeyDer::Pkcs8(key) = key else { panic!("not PKCS#8") };
    let random = SystemRandom::new();
    let padding: &'static dyn signature::RsaEncoding = match alg {
        "ES256" => {
            let pair =
                EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_pkcs8_der());
            return pair.unwrap().sign(&random, input).unwrap().as_ref().to_vec();
        }
        "RS256" => &signature::RSA_PKCS1_SHA256,
        "PS256" => &signature::RSA_PSS_SHA256,
        other => panic!("{other}"),
    };
    let pair = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
    let mut signed = vec![0; pair.public_modulus_len()];
    pair.sign(padding, &random, input, &mut signed).unwrap();
    signed
}

pub(crate) fn x5t_s256(certificate: &ClientCertificate) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, &certificate.chain()[0]))
}

pub(crate) fn x5t(certificate: &ClientCertificate) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &certificate.chain()[0]))
}

/// The grant type of on-behalf-of.
pub(crate) const OBO: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
pub(crate) const EXCHANGE: &str = "api://AzureADTokenExchange/.default";
/// What MSAL asks for with every user flow, and Microsoft Graph.
pub(crate) const USER_SCOPES: &str = "https://graph.microsoft.com/.default offline_access openid profile";

/// The form with a secret, and these fields.
pub(crate) fn user_form<'a>(fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut form =
        vec![("client_id", CLIENT), ("client_secret", SECRET), ("scope", USER_SCOPES), ("client_info", "1")];
    for (name, value) in fields {
        form.retain(|(other, _)| other != name);
        if !value.is_empty() {
            form.push((name, value));
        }
    }
    form
}

pub(crate) fn on_behalf_of(assertion: &str) -> Vec<(&str, &str)> {
    user_form(&[("grant_type", OBO), ("assertion", assertion), ("requested_token_use", "on_behalf_of")])
}

/// A member of an answer's JSON.
pub(crate) fn member(reply: &Reply, name: &str) -> String {
    let answer = reply.json();
    answer[name].as_str().unwrap_or_else(|| panic!("no {name} in {answer}")).to_owned()
}

/// The payload of a token, or any JSON in base64url.
pub(crate) fn decoded(text: &str) -> Value {
    let part = text.split('.').nth(1).unwrap_or(text);
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}
