//! Tokens of managed identities that are bound to a certificate: how the certificate is got, kept and renewed, and how it
//! brings tokens.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::result_large_err,
    reason = "a test ends at what it did not expect, and shows the error"
)]

mod common;

use common::host::Host;
use common::*;
use symbolon_protocol::credential::{CredentialError, CredentialErrorKind};
use symbolon_protocol::error::{Error, ErrorKind};
use symbolon_protocol::platform::{CertificateRequest, CertificateSubject, NewCertificate, Platform};
use symbolon_protocol::request::{
    AccessToken, Flow, ManagedIdentityFlow, ManagedIdentityId, Request, TokenSource,
};
use symbolon_protocol::response::{HttpResponse, TransportError, TransportErrorKind};
use symbolon_protocol::token_request::{Method, UrlScheme};

const RESOURCE: &str = "https://management.azure.com";
const DAY: u64 = 24 * 60 * 60;

fn bound(identity: ManagedIdentityId) -> Request {
    Request {
        scopes: vec![RESOURCE.into()],
        ..ask(Flow::ForManagedIdentity(ManagedIdentityFlow { identity }))
    }
    .bound()
}

trait Bound {
    fn bound(self) -> Self;
}

impl Bound for Request {
    fn bound(self) -> Self {
        Request { scheme: pop_request().scheme, ..self }
    }
}

fn system() -> Request {
    bound(ManagedIdentityId::SystemAssigned)
}

fn host() -> Host {
    let mut host = Host::new(secret());
    host.platform = Platform::default();
    host.patience_ms = 90_000;
    host
}

fn from(server: &str, status: u16, body: &str) -> Result<HttpResponse, TransportError> {
    Ok(HttpResponse { server: Some(server.into()), ..answer(status, body)? })
}

const METADATA: &str = r#"{"clientId":"g1","tenantId":"t1","cuId":{"vmId":"v\"1","vmssId":null},"attestationEndpoint":"https://attest"}"#;

fn metadata() -> Result<HttpResponse, TransportError> {
    from("IMDS/150.870.65.1854", 200, METADATA)
}

const ISSUED: &str = r#"{"client_id":"g1","tenant_id":"t1","certificate":"Y2VydA==","identity_type":"SystemAssigned","mtls_authentication_endpoint":"https://centraluseuap.mtlsauth.microsoft.com"}"#;

fn issued() -> Result<HttpResponse, TransportError> {
    answer(200, ISSUED)
}

fn given() -> Result<HttpResponse, TransportError> {
    token("bound-token", "mtls_pop")
}

/// A host where a token was acquired.
fn warm() -> (Host, AccessToken) {
    let mut host = host();
    host.answers.extend([metadata(), issued(), given()]);
    let token = host.acquire(system()).expect("a token");
    (host, token)
}

fn refused(answers: Vec<Result<HttpResponse, TransportError>>) -> (Host, Error) {
    let mut host = host();
    host.answers.extend(answers);
    let error = host.acquire(system()).expect_err("no token");
    assert_eq!(error.correlation_id, CORRELATION);
    assert_eq!(host.actions.last(), Some(&"fail"), "those who wait are told");
    (host, error)
}

#[test]
fn a_certificate_is_issued_and_brings_the_token() {
    let (host, token) = warm();
    assert_eq!(
        host.actions,
        [
            "issued", "find", "issued", "platform", "send", "request", "send", "install", "issued", "put",
            "find", "issued", "send", "put"
        ]
    );
    let [metadata, credential, tokens] = &host.sent[..] else { panic!("{:?}", host.sent) };
    assert_eq!((metadata.method, metadata.scheme), (Method::Get, UrlScheme::Http));
    assert_eq!(metadata.host, "169.254.169.254");
    assert_eq!(metadata.path, "/metadata/identity/getplatformmetadata?cred-api-version=2.0");
    assert_eq!(metadata.header("Metadata"), Some("true"));
    assert_eq!(metadata.header("x-ms-client-request-id"), Some(CORRELATION));

    let subject = CertificateSubject {
        client_id: "g1".into(),
        tenant_id: "t1".into(),
        machine: r#"{"vmId":"v\"1","vmssId":null}"#.into(),
        attestation_endpoint: Some("https://attest".into()),
    };
    assert_eq!(host.subjects, [subject]);
    assert_eq!((credential.method, &*credential.host), (Method::Post, "169.254.169.254"));
    assert_eq!(credential.path, "/metadata/identity/issuecredential?cred-api-version=2.0");
    assert_eq!(credential.header("content-type"), Some("application/json"));
    assert_eq!(credential.header("Metadata"), Some("true"));
    assert_eq!(credential.body, r#"{"csr":"Y3Ny"}"#);

    let token_endpoint = "https://centraluseuap.mtlsauth.microsoft.com/t1/oauth2/v2.0/token";
    let new = NewCertificate {
        der: b"cert".to_vec(),
        client_id: "g1".into(),
        token_endpoint: token_endpoint.into(),
    };
    assert_eq!(host.installed, [new]);
    assert_eq!((tokens.scheme, tokens.method), (UrlScheme::Https, Method::Post));
    assert_eq!(format!("https://{}{}", tokens.host, tokens.path), token_endpoint);
    assert!(tokens.presentation.certificate && tokens.presentation.secret.is_none());
    assert_eq!(
        tokens.form(),
        format!(
            "client_id=g1\nscope={RESOURCE}/.default\ngrant_type=client_credentials\ntoken_type=mtls_pop"
        )
    );

    assert_eq!((&*token.token, &*token.token_type), ("bound-token", "mtls_pop"));
    assert_eq!(token.key_id.as_deref(), Some("issued-1"));
    assert_eq!(token.token_endpoint.as_deref(), Some(token_endpoint));
    assert_eq!(token.scopes, [RESOURCE]);
}

#[test]
fn the_attestation_goes_with_the_request() {
    let mut host = host();
    host.certificate_request =
        Ok(CertificateRequest { der: b"csr".to_vec(), attestation: Some("a.b.c".into()) });
    host.answers.extend([metadata(), issued(), given()]);
    host.acquire(system()).expect("a token");
    assert_eq!(host.sent[1].body, r#"{"csr":"Y3Ny","attestation_token":"a.b.c"}"#);
    let item = host.cache.access_tokens()[0].clone();
    assert_eq!(item.components.iter().collect::<Vec<_>>(), [("mi_att", "1")]);
}

#[test]
fn a_token_is_kept_by_its_certificate() {
    let (mut host, _) = warm();
    let saved = host.cache.entries.first().expect("an entry");
    assert!(saved.partition_key.starts_with("issued-1system_assigned_managed_identity_managed_identity_"));
    assert!(saved.partition_key.ends_with("_AppTokenCache"), "{}", saved.partition_key);
    assert!(saved.item_key.contains("-atext-system_assigned_managed_identity-managed_identity-"));
    let item = host.cache.access_tokens()[0].clone();
    assert_eq!(item.components.iter().collect::<Vec<_>>(), [("mi_att", "0")]);

    let again = host.acquire(system()).expect("a token");
    assert_eq!((again.source, host.sent.len()), (TokenSource::Cache, 0));
    assert_eq!(host.actions, ["issued", "find"]);
    // Another resource takes the same certificate, and a bearer token none.
    host.answer(given());
    host.acquire(for_scope(&system(), "https://vault.azure.net")).expect("a token");
    assert_eq!(host.sent.len(), 1);
    host.answer(answer(200, r#"{"access_token":"mi-token","expires_on":3600,"token_type":"Bearer"}"#));
    let bearer = Request { scheme: request().scheme, ..system() };
    assert_eq!(host.acquire(bearer).expect("a token").token, "mi-token");
}

#[test]
fn an_identity_is_named_to_both_endpoints() {
    for (identity, parameter) in [
        (ManagedIdentityId::ClientId("id-1".into()), "client_id"),
        (ManagedIdentityId::ResourceId("id-1".into()), "msi_res_id"),
        (ManagedIdentityId::ObjectId("id-1".into()), "object_id"),
    ] {
        let mut host = host();
        host.answers.extend([metadata(), issued(), given()]);
        host.acquire(bound(identity)).expect("a token");
        for sent in &host.sent[..2] {
            assert!(sent.path.ends_with(&format!("?cred-api-version=2.0&{parameter}=id-1")), "{}", sent.path);
        }
        // Certificates of different identities don't wait for each other.
        assert!(host.lookups[0].flight.as_ref().is_some_and(|flight| flight.ends_with(" id-1")));
    }
}

#[test]
fn a_certificate_is_renewed_a_day_before_its_end() {
    let (mut host, _) = warm();
    host.later(6 * DAY - 1);
    host.answer(given());
    assert_eq!(host.acquire(system()).expect("a token").key_id.as_deref(), Some("issued-1"));
    host.later(1);
    host.answers.extend([metadata(), issued(), given()]);
    assert_eq!(host.acquire(system()).expect("a token").key_id.as_deref(), Some("issued-2"));
}

#[test]
fn a_refused_certificate_is_replaced_once() {
    for cause in [
        refusal("invalid_client", "AADSTS1000502: The certificate is outside its validity."),
        fault(TransportErrorKind::Tls, false),
    ] {
        let (mut host, _) = warm();
        host.later(3600);
        host.answers.extend([cause.clone(), metadata(), issued(), given()]);
        let token = host.acquire(system()).expect("a token");
        assert_eq!(token.key_id.as_deref(), Some("issued-2"));

        host.later(3600);
        host.answers.extend([cause.clone(), metadata(), issued(), cause]);
        host.acquire(system()).expect_err("no token");
        assert_eq!(host.sent.len(), 4);
    }
}

#[test]
fn another_acquisitions_new_certificate_is_as_good() {
    let (mut host, _) = warm();
    host.later(3600);
    let before = host.issued.clone();
    host.answers.extend([metadata(), issued(), given()]);
    host.issued = None;
    host.acquire(system()).expect("a token");
    // As if it was looked at before the other one was installed.
    host.stale = before;
    let token = host.acquire(system()).expect("a token");
    assert_eq!((token.key_id.as_deref(), token.source), (Some("issued-2"), TokenSource::Cache));
    assert_eq!(host.actions, ["issued", "find", "issued", "find"]);
}

#[test]
fn a_machine_without_the_second_version_says_so() {
    let (host, error) = refused(vec![from("IMDS/1", 404, r#"{"error":"not_found"}"#)]);
    assert_eq!(
        (&*error.code, error.kind),
        ("mtls_pop_token_not_supported_in_imds_v1", ErrorKind::CredentialUnsupported)
    );
    assert!(!error.retryable && host.waits.is_empty());
}

#[test]
fn other_sources_give_no_certificates() {
    for variables in [
        &[("IDENTITY_ENDPOINT", "http://h/"), ("IDENTITY_HEADER", "?")][..],
        &[("MSI_ENDPOINT", "http://h/")],
        &[("IDENTITY_ENDPOINT", "http://h/"), ("IMDS_ENDPOINT", "http://h/")],
    ] {
        let mut host = host();
        let variable = |(name, value): &(&str, &str)| (name.to_string(), Some(value.to_string()));
        host.platform.variables = variables.iter().map(variable).collect();
        let error = host.acquire(system()).expect_err("no token");
        assert_eq!(
            (&*error.code, error.kind),
            ("mtls_not_supported_for_managed_identity", ErrorKind::CredentialUnsupported)
        );
        assert!(host.sent.is_empty());
    }
}

#[test]
fn a_key_that_can_not_be_attested_ends_it() {
    for (kind, code, expected) in [
        (CredentialErrorKind::Unsupported, "mtls_pop_requires_keyguard", ErrorKind::CredentialUnsupported),
        (
            CredentialErrorKind::Unavailable,
            "managed_identity_request_failed",
            ErrorKind::CredentialUnavailable,
        ),
    ] {
        let mut host = host();
        host.certificate_request =
            Err(CredentialError { kind, message: "not attested".into(), retry_after_ms: None });
        host.answer(metadata());
        let error = host.acquire(system()).expect_err("no token");
        assert_eq!((&*error.code, error.kind, &*error.message), (code, expected, "not attested"));
    }
}

#[test]
fn answers_of_others_and_answers_without_what_they_must_say_are_refused() {
    for (server, body) in [
        ("nginx", METADATA),
        ("IMDS/1", r#"{"tenantId":"t1","cuId":{}}"#),
        ("IMDS/1", r#"{"clientId":"g1","tenantId":" ","cuId":{}}"#),
        ("IMDS/1", r#"{"clientId":"g1","tenantId":"t1","cuId":"v1"}"#),
        ("imds", "no object"),
    ] {
        let (host, error) = refused(vec![from(server, 200, body)]);
        assert_eq!(error.kind, ErrorKind::ProtocolViolation, "{server} {body}");
        assert!(host.subjects.is_empty());
    }
    for (found, instead) in [
        ("Y2VydA==", "no base64"),
        ("\"g1\"", "7"),
        ("t1", "../t1"),
        ("https://centraluseuap", "http://centraluseuap"),
        ("microsoft.com", "microsoft.com/?x"),
        ("mtls_authentication_endpoint", "endpoint"),
    ] {
        let (host, error) = refused(vec![metadata(), answer(200, &ISSUED.replace(found, instead))]);
        assert_eq!(error.kind, ErrorKind::ProtocolViolation, "{instead}");
        assert_eq!(error.code, "invalid_token_provider_response_value");
        assert!(host.installed.is_empty());
    }
}

#[test]
fn each_step_is_tried_again_as_the_metadata_service_is() {
    let unwell = |status| from("IMDS/1", status, "");
    let mut host = host();
    host.answers.extend([unwell(503), unwell(500), metadata(), unwell(404), unwell(410), issued(), given()]);
    host.acquire(system()).expect("a token");
    assert_eq!(host.waits, [1000, 2000, 1000, 10_000]);
    let (host, error) = refused(vec![metadata(), unwell(400)]);
    assert_eq!((&*error.code, error.status), ("managed_identity_request_failed", Some(400)));
    assert!(host.waits.is_empty());
}

#[test]
fn a_token_that_is_not_bound_is_refused() {
    let (mut host, _) = warm();
    host.later(3600);
    host.answer(token("t", "Bearer"));
    assert_eq!(host.acquire(system()).expect_err("no token").code, "token_type_mismatch");
}
