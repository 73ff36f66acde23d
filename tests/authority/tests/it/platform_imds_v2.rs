//! IMDSv2: a certificate from the machine, and tokens from the authority over mutual TLS.

use std::time::Duration;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{self, KeyPair as _, RsaEncoding, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use symbolon_authority::{
    CONTOSO, Certificate, ClientCertificate, Endpoint, Fault, FaultRule, Platform, Source,
};

use crate::{platform_support::*, support::*};

const REGIONAL: &str = "westus2.mtlsauth.microsoft.com";

fn metadata<'a>() -> Ask<'a> {
    Ask::get(
        "/metadata/identity/getplatformmetadata",
        &[("cred-api-version", "2.0")],
        &[("metadata", "true"), ("x-ms-client-request-id", "1")],
    )
}

fn issue<'a>(csr: &Csr<'_>) -> Ask<'a> {
    issue_with(&json!({ "csr": csr.sign() }))
}

fn issue_with<'a>(body: &Value) -> Ask<'a> {
    metadata()
        .path("/metadata/identity/issuecredential")
        .method("POST")
        .header("content-type", "application/json; charset=utf-8")
        .body(&body.to_string())
}

async fn call(site: &Site, ask: &Ask<'_>) -> Reply {
    site.call(Source::Imds, ask).await
}

async fn machine_of(site: &Site) -> Value {
    call(site, &metadata()).await.json()["cuId"].clone()
}

/// A certification request (RFC 2986), right until a test changes something.
#[derive(Clone)]
struct Csr<'a> {
    own: &'a ClientCertificate,
    subject: Vec<(&'static [u8], String)>,
    attribute: Option<(&'static [u8], String)>,
    algorithm: Vec<u8>,
    padding: &'static dyn RsaEncoding,
    spoilt: bool,
}

impl<'a> Csr<'a> {
    fn new(own: &'a ClientCertificate, client_id: &str, cu_id: &Value) -> Self {
        Self {
            own,
            subject: vec![(COMMON_NAME, client_id.to_owned()), (DOMAIN_COMPONENT, CONTOSO.to_owned())],
            attribute: Some((CU_ID, cu_id.to_string())),
            algorithm: pss(32),
            padding: &signature::RSA_PSS_SHA256,
            spoilt: false,
        }
    }

    fn sign(&self) -> String {
        let PrivateKeyDer::Pkcs8(key) = self.own.key() else { panic!("not PKCS#8") };
        let pair = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
        let name: Vec<u8> = self
            .subject
            .iter()
            .flat_map(|(oid, value)| {
                // Domain components are IA5Strings (RFC 4519 section 2.4).
                let kind = if *oid == DOMAIN_COMPONENT { 0x16 } else { 0x0c };
                der(0x31, &der(0x30, &[der(6, oid), der(kind, value.as_bytes())].concat()))
            })
            .collect();
        let rsa = der(0x30, &[der(6, RSA_ENCRYPTION), der(5, &[])].concat());
        let key = der(0x30, &[rsa, bits(pair.public_key().as_ref())].concat());
        let attributes = self.attribute.as_ref().map_or(Vec::new(), |(oid, value)| {
            der(0x30, &[der(6, oid), der(0x31, &der(0x0c, value.as_bytes()))].concat())
        });
        let info = der(0x30, &[der(2, &[0]), der(0x30, &name), key, der(0xa0, &attributes)].concat());
        let mut signed = vec![0; pair.public_modulus_len()];
        let content: &[u8] = if self.spoilt { b"something else" } else { &info };
        pair.sign(self.padding, &SystemRandom::new(), content, &mut signed).unwrap();
        STANDARD.encode(der(0x30, &[info, self.algorithm.clone(), bits(&signed)].concat()))
    }
}

/// RSASSA-PSS with SHA-256 and so much salt.
fn pss(salt: u8) -> Vec<u8> {
    let sha256 = der(0x30, &[der(6, SHA256), der(5, &[])].concat());
    let mgf1 = der(0x30, &[der(6, MGF1), sha256.clone()].concat());
    let parameters = [der(0xa0, &sha256), der(0xa1, &mgf1), der(0xa2, &der(2, &[salt]))].concat();
    der(0x30, &[der(6, RSASSA_PSS), der(0x30, &parameters)].concat())
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 128 => out.push(short),
        Ok(byte) => out.extend([0x81, byte]),
        Err(_) => out.extend([0x82, (length >> 8) as u8, (length & 0xff) as u8]),
    }
    out.extend(content);
    out
}

fn bits(content: &[u8]) -> Vec<u8> {
    der(3, &[&[0], content].concat())
}

const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const DOMAIN_COMPONENT: &[u8] = &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 0x19];
const CU_ID: &[u8] = &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 0x5a, 2, 0x0a];
const CHALLENGE_PASSWORD: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 7];
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const SHA256_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0b];
const RSASSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0a];
const MGF1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 8];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];

/// The certificate of the answer, on the client's own key.
fn issued(reply: &Reply) -> CertificateDer<'static> {
    assert_eq!(reply.status, 200, "{}", reply.json());
    CertificateDer::from(STANDARD.decode(member(reply, "certificate")).unwrap())
}

fn token_form<'a>(client_id: &'a str, resource: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("client_id", client_id),
        ("grant_type", "client_credentials"),
        ("scope", resource),
        ("token_type", "mtls_pop"),
    ]
}

#[tokio::test]
async fn what_the_machine_says_of_itself() {
    let site = Site::of(
        Platform::builder()
            .system_assigned(system())
            .user_assigned(user())
            .scale_set("5ca1e000-0000-4000-8000-000000000001")
            .attestation_endpoint("https://attest.test"),
    )
    .await;
    let reply = call(&site, &metadata()).await;
    let answer = reply.json();
    assert!(reply.header("server").unwrap().contains("IMDS"));
    assert_eq!((&answer["clientId"], &answer["tenantId"]), (&json!(SYSTEM), &json!(CONTOSO)));
    assert_eq!(answer["attestationEndpoint"], "https://attest.test");
    assert_eq!(answer["cuId"]["vmssId"], "5ca1e000-0000-4000-8000-000000000001");
    assert_eq!(answer["cuId"]["vmId"].as_str().map(str::len), Some(36));
    let other = call(&site, &metadata().query("object_id", USER_OBJECT)).await.json();
    assert_eq!((&other["clientId"], &other["cuId"]), (&json!(USER), &answer["cuId"]));
}

#[tokio::test]
async fn a_bound_token() {
    let site = Site::new().await;
    let own = rsa_certificate("key only");
    let csr = Csr::new(&own, SYSTEM, &machine_of(&site).await);
    let reply = call(&site, &issue(&csr)).await;
    let answer = reply.json();
    assert_eq!((&answer["client_id"], &answer["tenant_id"]), (&json!(SYSTEM), &json!(CONTOSO)));
    assert_eq!(answer["identity_type"], "SystemAssigned");
    assert_eq!(answer["mtls_authentication_endpoint"], format!("https://{REGIONAL}"));
    let leaf = issued(&reply);
    let parsed = Certificate::from_der(&leaf).unwrap();
    assert!(parsed.subject().contains(SYSTEM) && parsed.subject().contains(CONTOSO), "{}", parsed.subject());
    assert_eq!(parsed.not_after_unix(), NOW + 7 * 24 * 60 * 60);

    let client = Client::with_chain(&site.authority, vec![leaf.clone()], own.key());
    let reply = client.token(REGIONAL, &token_form(SYSTEM, GRAPH)).await;
    let claims = reply.claims();
    assert_eq!(reply.json()["token_type"], "mtls_pop");
    assert_eq!(claims["cnf"]["x5t#S256"], parsed.x5t_s256());
    assert_eq!((&claims["oid"], &claims["sub"]), (&json!(SYSTEM_OBJECT), &json!(SYSTEM_OBJECT)));
    assert!(claims["xms_mirid"].as_str().unwrap().contains("/virtualMachines/"), "{claims}");

    // The token is the bound assertion of another application.
    let reply = client.token(REGIONAL, &token_form(SYSTEM, EXCHANGE)).await;
    let assertion = member(&reply, "access_token");
    let mut form = assertion_form(CLIENT, &assertion);
    form[1].1 = JWT_POP;
    assert_eq!(client.token(MTLS, &form).await.claims()["appid"], CLIENT);
    let stranger = rsa_certificate("stranger");
    let reply = Client::with_certificate(&site.authority, &stranger).token(MTLS, &form).await;
    assert_refused(&reply, 401, "invalid_client", 500181);
}

#[tokio::test]
async fn a_user_assigned_identity() {
    let site = Site::new().await;
    let own = rsa_certificate("key only");
    let mut csr = Csr::new(&own, USER, &machine_of(&site).await);
    // .NET writes the parts of a name the other way round.
    csr.subject.reverse();
    let reply = call(&site, &issue(&csr).query("msi_res_id", USER_RESOURCE)).await;
    assert_eq!(reply.json()["identity_type"], "UserAssigned");
    let client = Client::with_chain(&site.authority, vec![issued(&reply)], own.key());
    let claims = client.token(REGIONAL, &token_form(USER, GRAPH)).await.claims();
    assert_eq!((&claims["oid"], &claims["xms_mirid"]), (&json!(USER_OBJECT), &json!(USER_RESOURCE)));
    // The certificate is one identity's.
    let reply = client.token(REGIONAL, &token_form(SYSTEM, GRAPH)).await;
    assert_refused(&reply, 401, "invalid_client", 700030);
}

#[tokio::test]
async fn certificates_that_are_good_for_nothing() {
    let site = Site::new().await;
    let own = rsa_certificate("key only");
    let csr = Csr::new(&own, SYSTEM, &machine_of(&site).await);
    let leaf = issued(&call(&site, &issue(&csr)).await);
    let client = Client::with_chain(&site.authority, vec![leaf], own.key());
    site.authority.advance(Duration::from_secs(7 * 24 * 60 * 60 + 1));
    let reply = client.token(REGIONAL, &token_form(SYSTEM, GRAPH)).await;
    assert_refused(&reply, 401, "invalid_client", 1000502);
    // Whoever issues a certificate of that name elsewhere gets nothing for it.
    let reply = Client::with_certificate(&site.authority, &rsa_certificate(SYSTEM))
        .token(REGIONAL, &token_form(SYSTEM, GRAPH))
        .await;
    assert_eq!(reply.refusal().0, 401);
    let other = Site::new().await;
    let csr = Csr::new(&own, SYSTEM, &machine_of(&other).await);
    let foreign = issued(&call(&other, &issue(&csr)).await);
    let client = Client::with_chain(&site.authority, vec![foreign], own.key());
    let reply = client.token(REGIONAL, &token_form(SYSTEM, GRAPH)).await;
    assert_refused(&reply, 401, "invalid_client", 1000502);
    site.authority.reset();
    let reply = client.token(REGIONAL, &token_form(SYSTEM, GRAPH)).await;
    assert_refused(&reply, 401, "invalid_client", 700030);
    // Without a certificate there is no other way in.
    let reply = Client::new(&site.authority).token(REGIONAL, &token_form(SYSTEM, GRAPH)).await;
    assert_refused(&reply, 401, "invalid_client", 7000218);
}

#[tokio::test]
async fn requests_that_are_refused() {
    let site = Site::new().await;
    let own = rsa_certificate("key only");
    let csr = Csr::new(&own, SYSTEM, &machine_of(&site).await);
    let good = || issue(&csr);
    for (ask, status, description) in [
        (metadata().header("metadata", ""), 400, "Required metadata header not specified"),
        (metadata().header("x-forwarded-for", "1"), 400, "The header X-Forwarded-For is not allowed"),
        (metadata().method("POST"), 405, "Method not allowed"),
        (
            metadata().query("cred-api-version", ""),
            400,
            "Required query variable 'cred-api-version' is missing",
        ),
        (metadata().query("cred-api-version", "1.0"), 400, "The cred-api-version '1.0' is not supported."),
        (metadata().query("client_id", NOBODY), 400, "Identity not found"),
        (good().header("metadata", "false"), 400, "Required metadata header not specified"),
        (good().method("GET"), 405, "Method not allowed"),
        (good().query("cred-api-version", ""), 400, "Required query variable 'cred-api-version' is missing"),
        (good().query("client_id", NOBODY), 400, "Identity not found"),
        (good().header("content-type", ""), 400, "The content type is not application/json"),
        (good().body("csr"), 400, "The body is not JSON"),
        (good().body("{}"), 400, "Required member 'csr' is missing"),
        (good().body(r#"{"csr":""}"#), 400, "Required member 'csr' is missing"),
        (
            good().query("client_id", USER),
            400,
            "The subject of the certificate signing request is not the identity",
        ),
    ] {
        let body = json!({ "error": "invalid_request", "error_description": description });
        assert_body(&call(&site, &ask).await, status, &body);
    }
    assert_eq!(call(&site, &good()).await.status, 200);
}

#[tokio::test]
async fn certification_requests_that_are_refused() {
    let site = Site::new().await;
    let (own, elliptic) = (rsa_certificate("key only"), certificate("elliptic"));
    let csr = Csr::new(&own, SYSTEM, &machine_of(&site).await);
    let malformed = |what: &str| format!("The certificate signing request is malformed: {what}");
    let change = |change: &dyn Fn(&mut Csr<'_>)| {
        let mut changed = csr.clone();
        change(&mut changed);
        changed.sign()
    };
    let subject = malformed("the subject is not CN={client id}, DC={tenant id}");
    let algorithm = malformed("the signature algorithm is not RSASSA-PSS with SHA-256");
    let not_the_identity = "The subject of the certificate signing request is not the identity";
    let lacks = "The certificate signing request lacks the attribute 1.3.6.1.4.1.311.90.2.10";
    let not_the_machine =
        "The attribute 1.3.6.1.4.1.311.90.2.10 of the certificate signing request is not the machine's cuId";
    let pkcs1 = der(0x30, &[der(6, SHA256_WITH_RSA), der(5, &[])].concat());
    let pem =
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n", csr.sign());
    for (text, description) in [
        ("%".to_owned(), malformed("not base64")),
        (pem, malformed("not base64")),
        (STANDARD.encode(b"text"), malformed("not a PKCS#10 request")),
        (STANDARD.encode(&elliptic.chain()[0]), malformed("not a PKCS#10 request")),
        (change(&|csr| csr.spoilt = true), malformed("the signature is wrong")),
        (change(&|csr| csr.algorithm = pkcs1.clone()), algorithm.clone()),
        (change(&|csr| csr.algorithm = pss(20)), algorithm),
        (change(&|csr| csr.padding = &signature::RSA_PKCS1_SHA256), malformed("the signature is wrong")),
        (change(&|csr| csr.subject.truncate(1)), subject.clone()),
        (change(&|csr| csr.subject.push((COMMON_NAME, "x".to_owned()))), subject),
        (change(&|csr| csr.subject[0].1 = OTHER.to_owned()), not_the_identity.to_owned()),
        (change(&|csr| csr.subject[1].1 = OTHER.to_owned()), not_the_identity.to_owned()),
        (change(&|csr| csr.attribute = None), lacks.to_owned()),
        (change(&|csr| csr.attribute = Some((CHALLENGE_PASSWORD, "x".to_owned()))), lacks.to_owned()),
        (change(&|csr| csr.attribute = Some((CU_ID, "no JSON".to_owned()))), lacks.to_owned()),
        (
            change(&|csr| csr.attribute = Some((CU_ID, json!({ "vmId": OTHER }).to_string()))),
            not_the_machine.to_owned(),
        ),
    ] {
        let body = json!({ "error": "invalid_request", "error_description": description });
        assert_body(&call(&site, &issue_with(&json!({ "csr": text }))).await, 400, &body);
    }
    // A member that is null is no member.
    let mut id = machine_of(&site).await;
    id["vmssId"] = Value::Null;
    let text = change(&|csr| csr.attribute = Some((CU_ID, id.to_string())));
    assert_eq!(call(&site, &issue_with(&json!({ "csr": text }))).await.status, 200);
}

#[tokio::test]
async fn attestation() {
    let site = Site::of(Platform::builder().system_assigned(system()).demand_attestation(true)).await;
    let own = rsa_certificate("key only");
    let csr = Csr::new(&own, SYSTEM, &machine_of(&site).await).sign();
    let description = "The attestation token is missing or malformed";
    let body = json!({ "error": "invalid_request", "error_description": description });
    for wrong in [Value::Null, json!(""), json!("no token")] {
        let ask = issue_with(&json!({ "csr": csr, "attestation_token": wrong }));
        assert_body(&call(&site, &ask).await, 400, &body);
    }
    let ask = issue_with(&json!({ "csr": csr, "attestation_token": "e30.e30.c2lnbmF0dXJl" }));
    assert_eq!(call(&site, &ask).await.status, 200);
    let log = serde_json::to_string(&site.authority.log()).unwrap();
    assert!(!log.contains("c2lnbmF0dXJl"), "{log}");
}

#[tokio::test]
async fn a_machine_without_it() {
    let site = Site::of(Platform::builder().system_assigned(system()).imds_v2(false)).await;
    let reply = call(&site, &metadata()).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]), (404, &json!("not_found")));
    assert_eq!(call(&site, &issue_with(&json!({}))).await.status, 404);
}

#[tokio::test]
async fn faults_at_each_step() {
    let site = Site::new().await;
    let status = |status| Fault::Status { status, retry_after: None, body: None };
    site.authority.faults().add(FaultRule::once(status(503)).endpoint(Endpoint::PlatformMetadata));
    site.authority.faults().add(FaultRule::once(status(500)).endpoint(Endpoint::IssueCredential));
    let member = Fault::Member { name: "certificate".to_owned(), value: Some(json!("AAAA")) };
    site.authority.faults().add(FaultRule::once(member).endpoint(Endpoint::IssueCredential));
    assert_eq!(call(&site, &metadata()).await.status, 503);
    let own = rsa_certificate("key only");
    let csr = Csr::new(&own, SYSTEM, &machine_of(&site).await);
    assert_eq!(call(&site, &issue(&csr)).await.status, 500);
    assert_eq!(call(&site, &issue(&csr)).await.json()["certificate"], "AAAA");
    assert!(issued(&call(&site, &issue(&csr)).await).len() > 100);
}
