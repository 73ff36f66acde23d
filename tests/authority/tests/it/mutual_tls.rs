//! Mutual TLS hosts: the certificate of the handshake, the registration and the assertion must agree.

use serde_json::json;
use symbolon_authority::{
    Authority, CertificateRequest, ClientCertificate, ClientCertificateIssuer, FEDERATION_ISSUER,
    FederatedAssertion, KeyKind, Registration,
};

use crate::support::*;

fn app(own: &ClientCertificate) -> Registration {
    Registration::new(CLIENT).certificate(own.certificate().clone()).mtls(true).pop(true)
}

async fn start(app: Registration) -> Authority {
    authority().application(app).start().await.unwrap()
}

fn plain_form() -> Vec<(&'static str, &'static str)> {
    vec![("client_id", CLIENT), ("scope", GRAPH), ("grant_type", "client_credentials")]
}

fn pop_form() -> Vec<(&'static str, &'static str)> {
    let mut form = plain_form();
    form.push(("token_type", "mtls_pop"));
    form
}

fn assertion(own: &ClientCertificate) -> String {
    Assertion::new(CLIENT, &format!("https://{MTLS}{}", token_path()), own).x5c(own).sign(own)
}

#[tokio::test]
async fn bearer_over_mutual_tls() {
    let own = certificate("own");
    let authority = start(app(&own)).await;
    let client = Client::with_certificate(&authority, &own);
    let reply = client.token(MTLS, &assertion_form(CLIENT, &assertion(&own))).await;
    assert_eq!(reply.json()["token_type"], "Bearer");
    assert!(reply.claims().get("cnf").is_none());
    assert_eq!(authority.log()[0].client_certificate, Some(x5t_s256(&own)));
}

#[tokio::test]
async fn the_certificate_alone_is_enough_for_whom_that_is_enabled() {
    let own = certificate("own");
    let authority = start(app(&own)).await;
    let client = Client::with_certificate(&authority, &own);
    assert_refused(&client.token(MTLS, &plain_form()).await, 401, "invalid_client", 7000218);
    authority.register(app(&own).tls_client_auth(true));
    let reply = client.token(MTLS, &plain_form()).await;
    assert_eq!(reply.claims()["azpacr"], "2");
    assert!(reply.claims().get("cnf").is_none());
}

#[tokio::test]
async fn a_token_bound_to_the_certificate() {
    let own = certificate("own");
    let authority = start(app(&own)).await;
    let client = Client::with_certificate(&authority, &own);
    for host in [MTLS, "westus2.mtlsauth.microsoft.com", "mtlsauth.microsoftonline.us"] {
        let reply = client.token(host, &pop_form()).await;
        assert_eq!(reply.claims()["cnf"], json!({ "x5t#S256": x5t_s256(&own) }), "{host}");
        assert_eq!(reply.json()["token_type"], "mtls_pop");
    }
}

#[tokio::test]
async fn a_certificate_by_subject_name_in_the_handshake() {
    let issuer = ClientCertificateIssuer::new("The issuer", NOW).unwrap();
    let request = CertificateRequest::new("app.contoso.test", NOW).key(KeyKind::EllipticCurve);
    let own = issuer.issue(&request).unwrap();
    let app = Registration::new(CLIENT).subject_name("app.contoso.test", "The issuer").mtls(true).pop(true);
    let authority =
        authority().application(app).trusted_issuer(&issuer.pem()).unwrap().start().await.unwrap();
    assert_eq!(Client::with_certificate(&authority, &own).token(MTLS, &pop_form()).await.status, 200);
    let stranger = request.self_signed().unwrap();
    let reply = Client::with_certificate(&authority, &stranger).token(MTLS, &pop_form()).await;
    assert_refused(&reply, 401, "invalid_client", 700030);
}

#[tokio::test]
async fn the_handshake_brings_the_key_of_a_registered_thumbprint() {
    let own = certificate("own");
    let app = Registration::new(CLIENT).certificate_thumbprint(&x5t_s256(&own)).unwrap().mtls(true);
    let authority = start(app).await;
    let plain = Assertion::new(CLIENT, &format!("https://{MTLS}{}", token_path()), &own).sign(&own);
    let client = Client::with_certificate(&authority, &own);
    assert_eq!(client.token(MTLS, &assertion_form(CLIENT, &plain)).await.status, 200);
    let reply = client.token(LOGIN, &assertion_form(CLIENT, &plain)).await;
    assert_refused(&reply, 401, "invalid_client", 700027);
}

#[tokio::test]
async fn the_handshake_must_bring_a_certificate() {
    let own = certificate("own");
    let authority = start(app(&own)).await;
    let reply = Client::new(&authority).token(MTLS, &assertion_form(CLIENT, &assertion(&own))).await;
    assert_refused(&reply, 401, "invalid_client", 7000218);
    let reply = Client::new(&authority).token(LOGIN, &pop_form()).await;
    assert_refused(&reply, 401, "invalid_client", 7000218);
}

#[tokio::test]
async fn where_demanded_a_handshake_without_certificate_fails() {
    let own = certificate("own");
    let authority = authority().application(app(&own)).demand_client_certificate(true).start().await.unwrap();
    assert!(Client::new(&authority).post(MTLS, &token_path(), &pop_form()).await.is_err());
    assert!(authority.log().is_empty());
    assert_eq!(Client::with_certificate(&authority, &own).token(MTLS, &pop_form()).await.status, 200);
    assert_eq!(Client::new(&authority).get(LOGIN, "/nowhere").await.status, 404);
}

#[tokio::test]
async fn another_certificate() {
    let (own, other) = (certificate("own"), certificate("other"));
    let authority = start(app(&own)).await;
    let client = Client::with_certificate(&authority, &other);
    assert_refused(&client.token(MTLS, &pop_form()).await, 401, "invalid_client", 700027);
    let reply = client.token(MTLS, &assertion_form(CLIENT, &assertion(&own))).await;
    assert_refused(&reply, 401, "invalid_client", 500181);
    // Registered both, and still not the same.
    authority.register(app(&own).certificate(other.certificate().clone()));
    let reply = client.token(MTLS, &assertion_form(CLIENT, &assertion(&own))).await;
    assert_refused(&reply, 401, "invalid_client", 500181);
}

#[tokio::test]
async fn an_expired_certificate_in_the_handshake() {
    let request = CertificateRequest::new("old", NOW).key(KeyKind::EllipticCurve).valid(NOW - 1000, NOW - 1);
    let expired = request.self_signed().unwrap();
    let authority = start(app(&expired)).await;
    let reply = Client::with_certificate(&authority, &expired).token(MTLS, &pop_form()).await;
    assert_refused(&reply, 401, "invalid_client", 1000502);
}

#[tokio::test]
async fn what_is_not_enabled() {
    let own = certificate("own");
    let authority = start(app(&own).mtls(false)).await;
    let client = Client::with_certificate(&authority, &own);
    assert_refused(&client.token(MTLS, &pop_form()).await, 400, "invalid_request", 51000);
    authority.register(app(&own).pop(false).tls_client_auth(true));
    assert_refused(&client.token(MTLS, &pop_form()).await, 400, "invalid_request", 392189);
    assert_eq!(client.token(MTLS, &plain_form()).await.status, 200);
    authority.register(app(&own).secret(SECRET));
    assert_refused(&client.token(MTLS, &secret_form(CLIENT, SECRET)).await, 400, "invalid_request", 392189);
}

#[tokio::test]
async fn a_bound_assertion_of_a_federated_issuer() {
    let (own, other) = (certificate("own"), certificate("other"));
    let audience = "api://AzureADTokenExchange";
    let app = Registration::new(CLIENT)
        .federated_credential(FEDERATION_ISSUER, "main", audience)
        .mtls(true)
        .pop(true);
    let authority = start(app).await;
    let assertion = |bound_to: Option<String>| {
        let assertion = FederatedAssertion::new("main");
        authority.federated_assertion(&match bound_to {
            Some(thumbprint) => assertion.bound_to(&thumbprint),
            None => assertion,
        })
    };
    let client = Client::with_certificate(&authority, &own);
    let send = async |text: String, kind: &str| {
        let mut form = assertion_form(CLIENT, &text);
        form[1].1 = kind;
        form.push(("token_type", "mtls_pop"));
        client.token(MTLS, &form).await
    };
    let reply = send(assertion(Some(x5t_s256(&own))), JWT_POP).await;
    assert_eq!(reply.claims()["cnf"], json!({ "x5t#S256": x5t_s256(&own) }));
    let differs = send(assertion(Some(x5t_s256(&other))), JWT_POP).await;
    assert_refused(&differs, 401, "invalid_client", 500181);
    assert_refused(&send(assertion(None), JWT_POP).await, 401, "invalid_client", 500181);
    assert_refused(&send(assertion(None), JWT_BEARER).await, 401, "invalid_client", 700027);
    let mut form = assertion_form(CLIENT, "e30.e30.");
    form[1].1 = JWT_POP;
    assert_refused(&Client::new(&authority).token(LOGIN, &form).await, 401, "invalid_client", 7000218);
}
